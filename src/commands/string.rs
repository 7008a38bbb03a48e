//! Strings: GET, SET and their kin.

use crate::command_table::{
    Access, Arg, Args, Arity, CommandSpec, DEFAULTS, Flag, Flags, Group, Handler, KeySpec, Merge,
};
use crate::keyspace::Ttl;
use crate::resp::Reply;
use crate::shard::{CommandResult, Context, Event};

pub(super) const COMMANDS: &[&CommandSpec] = &[&GET, &SET, &MGET, &MSET];

const GET: CommandSpec = CommandSpec {
    name: "GET",
    full_name: "get",
    arity: Arity::Exactly(2),
    flags: Flags::of(&[Flag::ReadOnly, Flag::Fast]),
    group: Group::String,
    keys: &[KeySpec::at(1, Access::Read, &["access"])],
    since: "1.0.0",
    complexity: "O(1).",
    summary: "Returns the string that a key holds.",
    args: &[Arg::key("key")],
    handler: Handler::Shard(get),
    ..DEFAULTS
};

fn get(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    match ctx.read_string(args.bytes()?)? {
        Some(string) => reply.bulk(string.as_bytes(&mut itoa::Buffer::new())),
        None => reply.null(),
    }
    Ok(())
}

const SET: CommandSpec = CommandSpec {
    name: "SET",
    full_name: "set",
    arity: Arity::AtLeast(3),
    flags: Flags::of(&[Flag::Write, Flag::DenyOom]),
    group: Group::String,
    keys: &[KeySpec::at(1, Access::Overwrite, &["update"])],
    since: "1.0.0",
    complexity: "O(1).",
    summary: "Sets a key to a string.",
    args: &[Arg::key("key"), Arg::string("value")],
    handler: Handler::Shard(set),
    ..DEFAULTS
};

fn set(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (key, value) = (args.bytes()?, args.bytes()?);
    ctx.set_string(key, value, Ttl::Clear);
    ctx.modified(key, Event::Set);
    reply.ok();
    Ok(())
}

const MGET: CommandSpec = CommandSpec {
    name: "MGET",
    full_name: "mget",
    arity: Arity::AtLeast(2),
    flags: Flags::of(&[Flag::ReadOnly, Flag::Fast]),
    group: Group::String,
    keys: &[KeySpec::from(1, 1, Access::Read, &["access"])],
    since: "1.0.0",
    complexity: "O(N) where N is the number of keys.",
    summary: "Returns the strings that several keys hold.",
    args: &[Arg::key("key").multiple()],
    tips: &["request_policy:multi_shard"],
    handler: Handler::PerShard { run: mget, merge: Merge::Interleave },
    ..DEFAULTS
};

fn mget(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    reply.array(args.remaining());
    for key in args {
        // A key of another type is no error here, but a missing value.
        match ctx.read_string(key) {
            Ok(Some(string)) => reply.bulk(string.as_bytes(&mut itoa::Buffer::new())),
            _ => reply.null(),
        }
    }
    Ok(())
}

const MSET: CommandSpec = CommandSpec {
    name: "MSET",
    full_name: "mset",
    arity: Arity::AtLeast(3),
    flags: Flags::of(&[Flag::Write, Flag::DenyOom]),
    group: Group::String,
    keys: &[KeySpec::from(1, 2, Access::Overwrite, &["update"])],
    since: "1.0.1",
    complexity: "O(N) where N is the number of keys.",
    summary: "Sets several keys to strings.",
    args: &[Arg::block("key_value", &[Arg::key("key"), Arg::string("value")]).multiple()],
    tips: &["request_policy:multi_shard", "response_policy:all_succeeded"],
    handler: Handler::PerShard { run: mset, merge: Merge::Same },
    ..DEFAULTS
};

fn mset(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    while let (Some(key), Some(value)) = (args.next(), args.next()) {
        ctx.set_string(key, value, Ttl::Clear);
        ctx.modified(key, Event::Set);
    }
    reply.ok();
    Ok(())
}
