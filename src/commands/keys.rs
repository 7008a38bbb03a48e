//! Keys of any type: DEL, EXISTS, TYPE and their kin; WAIT.

use crate::command_table::{
    Access, Arg, Args, Arity, Category, CommandSpec, DEFAULTS, Flag, Flags, Handler, KeySpec, Merge,
};
use crate::resp::Reply;
use crate::session::Session;
use crate::shard::{CommandError, CommandResult, Context, Event};

pub(super) const COMMANDS: &[&CommandSpec] = &[&DEL, &UNLINK, &EXISTS, &TOUCH, &TYPE, &WAIT];

const DEL: CommandSpec = CommandSpec {
    name: "DEL",
    full_name: "del",
    arity: Arity::AtLeast(2),
    flags: Flags::of(&[Flag::Write]),
    keys: &[KeySpec::from(1, 1, Access::Remove, &["delete"])],
    complexity: "O(N) where N is the number of keys, and of the elements of those that are no strings.",
    summary: "Deletes keys.",
    args: &[Arg::key("key").multiple()],
    tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
    handler: Handler::PerShard { run: del, merge: Merge::Sum },
    ..DEFAULTS
};

const UNLINK: CommandSpec = CommandSpec {
    name: "UNLINK",
    full_name: "unlink",
    flags: Flags::of(&[Flag::Write, Flag::Fast]),
    since: "4.0.0",
    complexity: "O(1) for each key; the memory of large values is returned later, in slices.",
    summary: "Deletes keys and returns their memory later.",
    handler: Handler::PerShard { run: unlink, merge: Merge::Sum },
    ..DEL
};

fn del(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let lazily = ctx.shard.options.lazy_user_del;
    delete(ctx, args, lazily, reply)
}

fn unlink(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    delete(ctx, args, true, reply)
}

fn delete(ctx: &mut Context<'_>, args: Args<'_>, lazily: bool, reply: &mut Reply<'_>) -> CommandResult {
    let mut deleted = 0;
    for key in args {
        if ctx.remove(key, lazily) {
            ctx.modified(key, Event::Del);
            deleted += 1;
        }
    }
    reply.integer(deleted);
    Ok(())
}

const EXISTS: CommandSpec = CommandSpec {
    name: "EXISTS",
    full_name: "exists",
    arity: Arity::AtLeast(2),
    flags: Flags::of(&[Flag::ReadOnly, Flag::Fast]),
    keys: &[KeySpec::from(1, 1, Access::Read, &[])],
    complexity: "O(N) where N is the number of keys.",
    summary: "Counts the keys that exist; one that is named twice counts twice.",
    args: &[Arg::key("key").multiple()],
    tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
    handler: Handler::PerShard { run: exists, merge: Merge::Sum },
    ..DEFAULTS
};

fn exists(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    reply.length(args.filter(|key| ctx.inspect(key).is_some()).count());
    Ok(())
}

const TOUCH: CommandSpec = CommandSpec {
    name: "TOUCH",
    full_name: "touch",
    since: "3.2.1",
    summary: "Counts the keys that exist and marks them as just used.",
    handler: Handler::PerShard { run: touch, merge: Merge::Sum },
    ..EXISTS
};

fn touch(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    reply.length(args.filter(|key| ctx.read(key).is_some()).count());
    Ok(())
}

const TYPE: CommandSpec = CommandSpec {
    name: "TYPE",
    full_name: "type",
    arity: Arity::Exactly(2),
    flags: Flags::of(&[Flag::ReadOnly, Flag::Fast]),
    keys: &[KeySpec::at(1, Access::Read, &[])],
    summary: "Names the type of the value that a key holds.",
    args: &[Arg::key("key")],
    handler: Handler::Shard(type_of),
    ..DEFAULTS
};

fn type_of(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    reply.simple(ctx.inspect(args.bytes()?).map_or("none", |entry| entry.type_name().as_str()));
    Ok(())
}

const WAIT: CommandSpec = CommandSpec {
    name: "WAIT",
    full_name: "wait",
    arity: Arity::Exactly(3),
    flags: Flags::of(&[Flag::NoScript]),
    categories: &[Category::Connection],
    since: "3.0.0",
    summary: "Waits until replicas have acknowledged this connection's writes and returns their number.",
    args: &[Arg::integer("numreplicas"), Arg::integer("timeout")],
    tips: &["request_policy:all_shards", "response_policy:agg_min"],
    handler: Handler::Client(wait),
    ..DEFAULTS
};

/// Without replicas there is nobody to wait for.
fn wait(_: &mut Session<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    args.integer()?;
    let not_an_integer = CommandError::Text("ERR timeout is not an integer or out of range");
    if args.integer().map_err(|_| not_an_integer)? < 0 {
        return Err(CommandError::Text("ERR timeout is negative"));
    }
    reply.integer(0);
    Ok(())
}
