//! OBJECT: how a value is kept.

use super::help;
use crate::command_table::{Access, Arg, Args, Arity, CommandSpec, DEFAULTS, Flag, Flags, Handler, KeySpec};
use crate::keyspace::{Entry, ValueRef};
use crate::resp::Reply;
use crate::session::Session;
use crate::shard::{CommandError, CommandResult, Context};

pub(super) const COMMANDS: &[&CommandSpec] = &[&OBJECT];

/// Integers below this are one shared object each in Redis, which then counts no references.
const SHARED_INTEGERS: i64 = 10_000;
const SHARED_REFERENCES: i64 = i32::MAX as i64;

const OBJECT: CommandSpec = CommandSpec {
    name: "OBJECT",
    full_name: "object",
    arity: Arity::AtLeast(2),
    since: "2.2.3",
    complexity: "O(1) for each of its subcommands.",
    summary: "Contains the commands that tell how values are kept.",
    handler: Handler::Container,
    subcommands: &[&ENCODING, &FREQ, &HELP, &IDLETIME, &REFCOUNT],
    ..DEFAULTS
};

const ENCODING: CommandSpec = CommandSpec {
    name: "ENCODING",
    full_name: "object|encoding",
    arity: Arity::Exactly(3),
    flags: Flags::of(&[Flag::ReadOnly]),
    keys: &[KeySpec::at(2, Access::Read, &[])],
    since: "2.2.3",
    summary: "Names the internal form of a value.",
    args: &[Arg::key("key")],
    tips: &["nondeterministic_output"],
    handler: Handler::Shard(encoding),
    ..DEFAULTS
};

const FREQ: CommandSpec = CommandSpec {
    name: "FREQ",
    full_name: "object|freq",
    since: "4.0.0",
    summary: "Returns the logarithmic counter of a key's accesses.",
    handler: Handler::Shard(freq),
    ..ENCODING
};

const IDLETIME: CommandSpec = CommandSpec {
    name: "IDLETIME",
    full_name: "object|idletime",
    summary: "Returns how many seconds ago a key was last used.",
    handler: Handler::Shard(idletime),
    ..ENCODING
};

const REFCOUNT: CommandSpec = CommandSpec {
    name: "REFCOUNT",
    full_name: "object|refcount",
    summary: "Returns how many references to a value Redis would count.",
    handler: Handler::Shard(refcount),
    ..ENCODING
};

const HELP: CommandSpec = CommandSpec {
    name: "HELP",
    full_name: "object|help",
    arity: Arity::Exactly(2),
    flags: Flags::of(&[Flag::Loading, Flag::Stale]),
    since: "6.2.0",
    summary: "Lists the subcommands.",
    handler: Handler::Client(show_help),
    ..DEFAULTS
};

fn encoding(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    show(ctx, args, reply, |_, entry, reply| {
        reply.bulk(entry.encoding().as_str().as_bytes());
        Ok(())
    })
}

fn refcount(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    show(ctx, args, reply, |_, entry, reply| {
        let shared = matches!(entry.value(), ValueRef::Int(0..SHARED_INTEGERS));
        reply.integer(if shared { SHARED_REFERENCES } else { 1 });
        Ok(())
    })
}

fn idletime(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    show(ctx, args, reply, |moment, entry, reply| {
        if moment.lfu {
            return Err(CommandError::Text(
                "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when \
                 switching between policies at runtime LRU and LFU data will take some time to adjust.",
            ));
        }
        // The clock has 24 bits and begins anew after half a year.
        reply.integer((moment.clock.wrapping_sub(entry.access()) & 0x00ff_ffff).into());
        Ok(())
    })
}

fn freq(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    show(ctx, args, reply, |moment, entry, reply| {
        if !moment.lfu {
            return Err(CommandError::Text(
                "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that \
                 when switching between policies at runtime LRU and LFU data will take some time to adjust.",
            ));
        }
        reply.integer((entry.access() & 0xff).into());
        Ok(())
    })
}

/// How the access data of entries is to be read.
struct Moment {
    clock: u32,
    lfu: bool,
}

/// A missing key is null, whatever is asked about it.
fn show(
    ctx: &mut Context<'_>,
    mut args: Args<'_>,
    reply: &mut Reply<'_>,
    show: impl FnOnce(Moment, Entry<'_>, &mut Reply<'_>) -> CommandResult,
) -> CommandResult {
    let moment = Moment { clock: ctx.shard.access_clock, lfu: ctx.shard.options.lfu };
    match ctx.inspect(args.bytes()?) {
        Some(entry) => show(moment, entry, reply),
        None => {
            reply.null();
            Ok(())
        }
    }
}

fn show_help(_: &mut Session<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    const FORMS: &[(&str, &[&str])] = &[
        ("ENCODING <key>", &["The internal form in which the value of <key> is kept."]),
        ("FREQ <key>", &["How often <key> is used, on a logarithmic scale (LFU policies only)."]),
        ("IDLETIME <key>", &["For about how many seconds <key> has not been used."]),
        ("REFCOUNT <key>", &["The number of references to the value of <key>."]),
    ];
    help::write(reply, "OBJECT", FORMS);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::check;

    #[test]
    fn object() {
        check(
            "
            > OBJECT ENCODING k
            nil
            > OBJECT FREQ k
            nil
            > OBJECT IDLETIME k
            nil
            > OBJECT REFCOUNT k
            nil
            > SET k v
            +OK
            > OBJECT ENCODING k
            $embstr
            > OBJECT FREQ k
            -ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.
            > OBJECT IDLETIME k
            :0
            > OBJECT REFCOUNT k
            :1
            > SET k 9999
            +OK
            > OBJECT REFCOUNT k
            :2147483647
            > SET k 10000
            +OK
            > OBJECT REFCOUNT k
            :1
            > SET k -1
            +OK
            > OBJECT REFCOUNT k
            :1
            > OBJECT
            -ERR wrong number of arguments for 'object' command
            > OBJECT FOO k
            -ERR unknown subcommand 'FOO'. Try OBJECT HELP.
            > OBJECT ENCODING
            -ERR wrong number of arguments for 'object|encoding' command
            > OBJECT ENCODING k k
            -ERR wrong number of arguments for 'object|encoding' command
            > OBJECT HELP k
            -ERR wrong number of arguments for 'object|help' command
            @ resp3
            > OBJECT ENCODING missing
            nil
            ",
        );
    }
}
