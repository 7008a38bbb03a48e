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
                return Err(CommandError::built([b"ERR Unsupported option ", args.bytes()?].concat()));
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
    let options = args;
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
        if event == Event::Del {
            ctx.propagate_deletion(key, lazily);
        } else if ctx.journals() {
            let mut digits = itoa::Buffer::new();
            let head = [&b"PEXPIREAT"[..], key, digits.format(deadline).as_bytes()];
            ctx.propagate(&head.into_iter().chain(options).collect::<Vec<&[u8]>>());
        }
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

#[cfg(test)]
mod tests {
    use crate::commands::testing::check;

    #[test]
    fn expire_and_ttl() {
        check(
            "
            > TTL k
            :-2
            > PTTL k
            :-2
            > EXPIRETIME k
            :-2
            > EXPIRE k 100
            :0
            > SET k v
            +OK
            > TTL k
            :-1
            > PTTL k
            :-1
            > EXPIRETIME k
            :-1
            > PEXPIRETIME k
            :-1
            > EXPIRE k 100
            :1
            > TTL k
            :100
            > PTTL k
            ~:100000
            > PEXPIRE k 200400
            :1
            > TTL k
            :200
            > EXPIREAT k 33177117420
            :1
            > EXPIRETIME k
            :33177117420
            > PEXPIREAT k 33177117420500
            :1
            > EXPIRETIME k
            :33177117421
            > PEXPIRETIME k
            :33177117420500
            > PEXPIREAT k 33177117420499
            :1
            > EXPIRETIME k
            :33177117420
            > PERSIST k
            :1
            > TTL k
            :-1
            > PERSIST k
            :0
            > PERSIST missing
            :0
            > PEXPIRE k 20
            :1
            @ later 40
            > TTL k
            :-2
            > PERSIST k
            :0
            ",
        );
    }

    #[test]
    fn a_deadline_in_the_past_deletes() {
        check(
            "
            > SET k v
            +OK
            > EXPIRE k 0
            :1
            > EXISTS k
            :0
            > SET k v
            +OK
            > EXPIRE k -1
            :1
            > EXISTS k
            :0
            > SET k v
            +OK
            > PEXPIRE k -9223372036854775808
            :1
            > EXISTS k
            :0
            > SET k v
            +OK
            > EXPIREAT k 1
            :1
            > EXISTS k
            :0
            > SET k v
            +OK
            > PEXPIREAT k -1
            :1
            > EXISTS k
            :0
            > SET k v EX 100
            +OK
            > EXPIREAT k 0 GT
            :0
            > EXISTS k
            :1
            > EXPIREAT k 0 LT
            :1
            > EXISTS k
            :0
            ",
        );
    }

    #[test]
    fn conditions() {
        check(
            "
            > SET k v
            +OK
            > EXPIRE k 100 XX
            :0
            > EXPIRE k 100 GT
            :0
            > EXPIRE k 100 NX
            :1
            > EXPIRE k 200 NX
            :0
            > TTL k
            :100
            > EXPIRE k 200 XX
            :1
            > TTL k
            :200
            > EXPIRE k 300 gt
            :1
            > EXPIRE k 200 GT
            :0
            > TTL k
            :300
            > EXPIRE k 100 LT
            :1
            > EXPIRE k 200 LT
            :0
            > TTL k
            :100
            > PERSIST k
            :1
            > EXPIRE k 100 LT
            :1
            > EXPIRE k 200 XX GT
            :1
            > EXPIRE k 100 XX LT
            :1
            > EXPIRE k 100 XX XX
            :1
            > TTL k
            :100
            > PEXPIREAT k 33177117420000
            :1
            > PEXPIREAT k 33177117420000 GT
            :0
            > PEXPIREAT k 33177117420000 LT
            :0
            > PEXPIREAT k 33177117420001 GT
            :1
            > EXPIRE missing 100 NX
            :0
            ",
        );
    }

    #[test]
    fn expire_refuses_in_this_order() {
        check(
            "
            > EXPIRE k abc
            -ERR value is not an integer or out of range
            > EXPIRE k abc FOO
            -ERR Unsupported option FOO
            > EXPIRE k 10 FOO
            -ERR Unsupported option FOO
            > EXPIRE k abc NX XX
            -ERR NX and XX, GT or LT options at the same time are not compatible
            > EXPIRE k 10 NX GT
            -ERR NX and XX, GT or LT options at the same time are not compatible
            > EXPIRE k 10 NX LT
            -ERR NX and XX, GT or LT options at the same time are not compatible
            > EXPIRE k 10 GT LT
            -ERR GT and LT options at the same time are not compatible
            > EXPIRE k 10 NX XX FOO
            -ERR Unsupported option FOO
            > EXPIRE k 9223372036854775807
            -ERR invalid expire time in 'expire' command
            > EXPIRE k -9223372036854775808
            -ERR invalid expire time in 'expire' command
            > EXPIRE k 9223372036854775
            -ERR invalid expire time in 'expire' command
            > PEXPIRE k 9223372036854775807
            -ERR invalid expire time in 'pexpire' command
            > EXPIREAT k 9223372036854775807
            -ERR invalid expire time in 'expireat' command
            > EXPIREAT k 9223372036854776
            -ERR invalid expire time in 'expireat' command
            > PEXPIREAT k 9223372036854775807
            :0
            > EXPIRE k 1.5
            -ERR value is not an integer or out of range
            > SET k v
            +OK
            > PEXPIREAT k 9223372036854775807
            :1
            > PEXPIRETIME k
            :9223372036854775807
            > EXPIREAT k 9223372036854775
            :1
            > EXPIRETIME k
            :9223372036854775
            > EXPIRE k
            -ERR wrong number of arguments for 'expire' command
            > TTL k k
            -ERR wrong number of arguments for 'ttl' command
            ",
        );
    }
}
