//! Deadlines of keys: EXPIRE, TTL and their kin, PERSIST.

use crate::base::UnixMillis;
use crate::command_table::{
    Access, Arg, Args, Arity, CommandSpec, DEFAULTS, Flag, Flags, Handler, KeySpec, Kind,
};
use crate::resp::Reply;
use crate::shard::{CommandError, CommandResult, Context, Event};

pub(super) const COMMANDS: &[&CommandSpec] =
    &[&EXPIRE, &PEXPIRE, &EXPIREAT, &PEXPIREAT, &TTL, &PTTL, &EXPIRETIME, &PEXPIRETIME, &PERSIST];

const CONDITION: Arg = Arg::one_of(
    "condition",
    &[Arg::token("nx", "NX"), Arg::token("xx", "XX"), Arg::token("gt", "GT"), Arg::token("lt", "LT")],
)
.optional()
.since("7.0.0");

const EXPIRE: CommandSpec = CommandSpec {
    name: "EXPIRE",
    full_name: "expire",
    arity: Arity::AtLeast(3),
    flags: Flags::of(&[Flag::Write, Flag::Fast]),
    keys: &[KeySpec::at(1, Access::Update, &["update"])],
    summary: "Sets a key's remaining life in seconds.",
    args: &[Arg::key("key"), Arg::integer("seconds"), CONDITION],
    handler: Handler::Shard(expire),
    ..DEFAULTS
};

const PEXPIRE: CommandSpec = CommandSpec {
    name: "PEXPIRE",
    full_name: "pexpire",
    since: "2.6.0",
    summary: "Sets a key's remaining life in milliseconds.",
    args: &[Arg::key("key"), Arg::integer("milliseconds"), CONDITION],
    handler: Handler::Shard(pexpire),
    ..EXPIRE
};

const EXPIREAT: CommandSpec = CommandSpec {
    name: "EXPIREAT",
    full_name: "expireat",
    since: "1.2.0",
    summary: "Sets a key's deadline as a Unix time in seconds.",
    args: &[Arg::key("key"), Arg::new("unix-time-seconds", Kind::UnixTime), CONDITION],
    handler: Handler::Shard(expireat),
    ..EXPIRE
};

const PEXPIREAT: CommandSpec = CommandSpec {
    name: "PEXPIREAT",
    full_name: "pexpireat",
    since: "2.6.0",
    summary: "Sets a key's deadline as a Unix time in milliseconds.",
    args: &[Arg::key("key"), Arg::new("unix-time-milliseconds", Kind::UnixTime), CONDITION],
    handler: Handler::Shard(pexpireat),
    ..EXPIRE
};

fn expire(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let now = ctx.now.0 as i64;
    set_deadline(ctx, args, 1000, now, "expire", reply)
}

fn pexpire(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let now = ctx.now.0 as i64;
    set_deadline(ctx, args, 1, now, "pexpire", reply)
}

fn expireat(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    set_deadline(ctx, args, 1000, 0, "expireat", reply)
}

fn pexpireat(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    set_deadline(ctx, args, 1, 0, "pexpireat", reply)
}

/// Which present deadlines may be replaced.
#[derive(Clone, Copy, Default)]
struct Conditions {
    absent: bool,
    present: bool,
    greater: bool,
    less: bool,
}

impl Conditions {
    fn parse(args: &mut Args<'_>) -> Result<Self, CommandError> {
        let mut conditions = Self::default();
        while args.remaining() > 0 {
            if args.option("NX") {
                conditions.absent = true;
            } else if args.option("XX") {
                conditions.present = true;
            } else if args.option("GT") {
                conditions.greater = true;
            } else if args.option("LT") {
                conditions.less = true;
            } else {
                let option = String::from_utf8_lossy(args.bytes()?).into_owned();
                return Err(CommandError::built(format!("ERR Unsupported option {option}")));
            }
        }
        if conditions.absent && (conditions.present || conditions.greater || conditions.less) {
            const CLASH: &str = "ERR NX and XX, GT or LT options at the same time are not compatible";
            return Err(CommandError::Text(CLASH));
        }
        if conditions.greater && conditions.less {
            return Err(CommandError::Text("ERR GT and LT options at the same time are not compatible"));
        }
        Ok(conditions)
    }

    /// No deadline counts as an infinite one.
    fn allow(self, old: Option<UnixMillis>, new: i64) -> bool {
        match old.map(|old| old.0 as i64) {
            None => !self.present && !self.greater,
            Some(old) => !(self.absent || self.greater && new <= old || self.less && new >= old),
        }
    }
}

fn set_deadline(
    ctx: &mut Context<'_>,
    mut args: Args<'_>,
    factor: i64,
    base: i64,
    command: &'static str,
    reply: &mut Reply<'_>,
) -> CommandResult {
    let (key, time) = (args.bytes()?, args.bytes()?);
    let conditions = Conditions::parse(&mut args)?;
    let time = crate::base::number::parse_i64(time).ok_or(CommandError::NotAnInteger)?;
    let deadline = time.checked_mul(factor).and_then(|millis| millis.checked_add(base));
    let deadline = deadline.ok_or(CommandError::InvalidExpire(command))?;

    let (now, lazily) = (ctx.now, ctx.shard.options.lazy_server_del);
    let event = match ctx.write(key) {
        Some(mut entry) if conditions.allow(entry.entry().deadline(), deadline) => {
            match u64::try_from(deadline).map(UnixMillis) {
                Ok(deadline) if deadline > now => {
                    entry.set_deadline(Some(deadline));
                    Some(Event::Expire)
                }
                // It is over already.
                _ => {
                    entry.remove(lazily);
                    Some(Event::Del)
                }
            }
        }
        _ => None,
    };
    if let Some(event) = event {
        ctx.modified(key, event);
    }
    reply.integer(event.is_some().into());
    Ok(())
}

const TTL: CommandSpec = CommandSpec {
    name: "TTL",
    full_name: "ttl",
    arity: Arity::Exactly(2),
    flags: Flags::of(&[Flag::ReadOnly, Flag::Fast]),
    keys: &[KeySpec::at(1, Access::Read, &["access"])],
    summary: "Returns a key's remaining life in seconds.",
    args: &[Arg::key("key")],
    tips: &["nondeterministic_output"],
    handler: Handler::Shard(ttl),
    ..DEFAULTS
};

const PTTL: CommandSpec = CommandSpec {
    name: "PTTL",
    full_name: "pttl",
    since: "2.6.0",
    summary: "Returns a key's remaining life in milliseconds.",
    handler: Handler::Shard(pttl),
    ..TTL
};

const EXPIRETIME: CommandSpec = CommandSpec {
    name: "EXPIRETIME",
    full_name: "expiretime",
    since: "7.0.0",
    summary: "Returns a key's deadline as a Unix time in seconds.",
    tips: &[],
    handler: Handler::Shard(expiretime),
    ..TTL
};

const PEXPIRETIME: CommandSpec = CommandSpec {
    name: "PEXPIRETIME",
    full_name: "pexpiretime",
    since: "7.0.0",
    summary: "Returns a key's deadline as a Unix time in milliseconds.",
    tips: &[],
    handler: Handler::Shard(pexpiretime),
    ..TTL
};

fn ttl(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let now = ctx.now.0;
    show_deadline(ctx, args, reply, |deadline| rounded_seconds(deadline.saturating_sub(now)))
}

fn pttl(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let now = ctx.now.0;
    show_deadline(ctx, args, reply, |deadline| deadline.saturating_sub(now))
}

fn expiretime(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    show_deadline(ctx, args, reply, rounded_seconds)
}

fn pexpiretime(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    show_deadline(ctx, args, reply, |deadline| deadline)
}

fn rounded_seconds(millis: u64) -> u64 {
    (millis + 500) / 1000
}

/// -2 for a missing key, -1 for one without a deadline.
fn show_deadline(
    ctx: &mut Context<'_>,
    mut args: Args<'_>,
    reply: &mut Reply<'_>,
    show: impl FnOnce(u64) -> u64,
) -> CommandResult {
    reply.integer(match ctx.inspect(args.bytes()?) {
        None => -2,
        Some(entry) => entry.deadline().map_or(-1, |deadline| show(deadline.0) as i64),
    });
    Ok(())
}

const PERSIST: CommandSpec = CommandSpec {
    name: "PERSIST",
    full_name: "persist",
    arity: Arity::Exactly(2),
    flags: Flags::of(&[Flag::Write, Flag::Fast]),
    keys: &[KeySpec::at(1, Access::Update, &["update"])],
    since: "2.2.0",
    summary: "Removes a key's deadline.",
    args: &[Arg::key("key")],
    handler: Handler::Shard(persist),
    ..DEFAULTS
};

fn persist(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let key = args.bytes()?;
    let had_deadline = match ctx.write(key) {
        Some(mut entry) if entry.entry().deadline().is_some() => {
            entry.set_deadline(None);
            true
        }
        _ => false,
    };
    if had_deadline {
        ctx.modified(key, Event::Persist);
    }
    reply.integer(had_deadline.into());
    Ok(())
}
