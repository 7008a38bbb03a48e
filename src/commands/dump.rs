//! DUMP and RESTORE: single values in the form of Redis' files.

use crate::base::UnixMillis;
use crate::command_table::{
    Access, Arg, Args, Arity, Category, CommandSpec, DEFAULTS, Flag, Flags, Handler, KeySpec,
};
use crate::keyspace::Detached;
use crate::persistence::rdb::WriteOptions;
use crate::persistence::rdb::payload::{self, Refusal};
use crate::resp::Reply;
use crate::shard::{CommandError, CommandResult, Context, Event};

pub(super) const COMMANDS: &[&CommandSpec] = &[&DUMP, &RESTORE];

/// The LRU clock has 24 bits.
const CLOCK_MASK: u32 = (1 << 24) - 1;

const DUMP: CommandSpec = CommandSpec {
    name: "DUMP",
    full_name: "dump",
    arity: Arity::Exactly(2),
    flags: Flags::of(&[Flag::ReadOnly]),
    keys: &[KeySpec::at(1, Access::Read, &["access"])],
    since: "2.6.0",
    complexity: "O(1) to find the key, O(N*M) for its N elements of M bytes on average.",
    summary: "Returns a value in the form of Redis' files.",
    args: &[Arg::key("key")],
    tips: &["nondeterministic_output"],
    handler: Handler::Shard(dump),
    ..DEFAULTS
};

const RESTORE: CommandSpec = CommandSpec {
    name: "RESTORE",
    full_name: "restore",
    arity: Arity::AtLeast(4),
    flags: Flags::of(&[Flag::Write, Flag::DenyOom]),
    categories: &[Category::Dangerous],
    keys: &[KeySpec::at(1, Access::Overwrite, &["update"])],
    since: "2.6.0",
    complexity: "O(1) to create the key, O(N*M) for N elements of M bytes on average, O(N*M*log(N)) for sorted sets.",
    summary: "Creates a key from what DUMP has returned.",
    args: &[
        Arg::key("key"),
        Arg::integer("ttl"),
        Arg::string("serialized-value"),
        Arg::token("replace", "REPLACE").optional().since("3.0.0"),
        Arg::token("absttl", "ABSTTL").optional().since("5.0.0"),
        Arg::integer("seconds").after("IDLETIME").optional().since("5.0.0"),
        Arg::integer("frequency").after("FREQ").optional().since("5.0.0"),
    ],
    handler: Handler::Shard(restore),
    ..DEFAULTS
};

fn dump(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let key = args.bytes()?;
    let options = WriteOptions { compress: ctx.shard.options.compress };
    ctx.expire_fields(key);
    match ctx.read(key) {
        Some(entry) => reply.bulk(&payload::dump(entry.value(), &options)),
        None => reply.null(),
    }
    Ok(())
}

fn restore(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (key, ttl, payload) = (args.bytes()?, args.bytes()?, args.bytes()?);
    let options = Options::of(&mut args)?;
    if !options.replace && ctx.write(key).is_some() {
        return Err(CommandError::Text("BUSYKEY Target key name already exists."));
    }
    let ttl = crate::base::number::parse_i64(ttl).ok_or(CommandError::NotAnInteger)?;
    let ttl = u64::try_from(ttl).map_err(|_| CommandError::Text("ERR Invalid TTL value, must be >= 0"))?;
    let shard = &ctx.shard.options;
    let value =
        payload::restore(payload, &shard.encoding, shard.verify_dumps).map_err(|refusal| match refusal {
            Refusal::Footer => CommandError::Text("ERR DUMP payload version or checksum are wrong"),
            Refusal::Damaged(_) => CommandError::Text("ERR Bad data format"),
        })?;

    let deadline = match ttl {
        0 => None,
        _ if options.absolute => Some(UnixMillis(ttl)),
        _ => Some(UnixMillis(ctx.now.0.saturating_add(ttl))),
    };
    let replaced = options.replace && ctx.remove(key, ctx.shard.options.lazy_server_del);
    if deadline.is_some_and(|deadline| deadline <= ctx.now) {
        // It would be gone at once; that the old value is gone is all there is to tell.
        if replaced {
            ctx.modified(key, Event::Del);
        }
        reply.ok();
        return Ok(());
    }
    let access = options.access(ctx);
    ctx.put(key, Detached { value, deadline, access });
    ctx.modified(key, Event::Restore);
    reply.ok();
    Ok(())
}

#[derive(Default)]
struct Options {
    replace: bool,
    /// The time to live is a time, Unix in milliseconds.
    absolute: bool,
    idle_s: Option<u64>,
    frequency: Option<u8>,
}

impl Options {
    fn of(args: &mut Args<'_>) -> Result<Self, CommandError> {
        let mut options = Self::default();
        while args.remaining() > 0 {
            // An option that lacks its value is not that option.
            let has_value = args.remaining() > 1;
            if args.option("REPLACE") {
                options.replace = true;
            } else if args.option("ABSTTL") {
                options.absolute = true;
            } else if has_value && options.frequency.is_none() && args.option("IDLETIME") {
                const INVALID: CommandError = CommandError::Text("ERR Invalid IDLETIME value, must be >= 0");
                options.idle_s = Some(args.integer_in(0, i64::MAX, INVALID)? as u64);
            } else if has_value && options.idle_s.is_none() && args.option("FREQ") {
                const INVALID: CommandError =
                    CommandError::Text("ERR Invalid FREQ value, must be >= 0 and <= 255");
                options.frequency = Some(args.integer_in(0, 255, INVALID)? as u8);
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(options)
    }

    /// The access data of the new key. Which of the two options counts is up to the policy.
    fn access(&self, ctx: &Context<'_>) -> u32 {
        let clock = ctx.shard.access_clock;
        match (ctx.shard.options.lfu, self.idle_s, self.frequency) {
            // The upper bits are the minute in which the counter was last looked at.
            (true, _, Some(frequency)) => ((ctx.now.0 / 60_000) as u32 & 0xffff) << 8 | u32::from(frequency),
            (false, Some(idle), _) => clock.wrapping_sub(idle.min(CLOCK_MASK.into()) as u32) & CLOCK_MASK,
            _ => clock,
        }
    }
}
