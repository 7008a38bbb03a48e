//! XINFO: what streams, groups and consumers are like.

use super::help;
use super::stream_group::no_group;
use super::stream_options::{integer, write_count, write_entry, write_id};
use crate::base::UnixMillis;
use crate::command_table::{
    Access, Arg, Args, Arity, CommandSpec, DEFAULTS, Flag, Flags, Group, Handler, KeySpec,
};
use crate::resp::{Argv, Reply};
use crate::session::Session;
use crate::shard::{CommandError, CommandResult, Context};
use crate::types::stream::{self, EntryRef, Stream};

pub(super) const COMMANDS: &[&CommandSpec] = &[&XINFO];

const XINFO: CommandSpec = CommandSpec {
    name: "XINFO",
    full_name: "xinfo",
    arity: Arity::AtLeast(2),
    group: Group::Stream,
    since: "5.0.0",
    complexity: "Depends on subcommand.",
    summary: "Contains the commands that tell about streams.",
    handler: Handler::Container,
    subcommands: &[&CONSUMERS, &GROUPS, &HELP, &STREAM],
    ..DEFAULTS
};

const STREAM: CommandSpec = CommandSpec {
    name: "STREAM",
    full_name: "xinfo|stream",
    arity: Arity::AtLeast(3),
    flags: Flags::of(&[Flag::ReadOnly]),
    keys: &[KeySpec::at(2, Access::Read, &["access"])],
    complexity: "O(1).",
    summary: "Tells about a stream.",
    args: &[
        Arg::key("key"),
        Arg::block("full", &[Arg::integer("count").after("COUNT").optional()]).after("FULL").optional(),
    ],
    handler: Handler::Shard(stream),
    group: Group::Stream,
    since: "5.0.0",
    ..DEFAULTS
};

const GROUPS: CommandSpec = CommandSpec {
    name: "GROUPS",
    full_name: "xinfo|groups",
    arity: Arity::Exactly(3),
    summary: "Tells about the groups of a stream.",
    args: &[Arg::key("key")],
    handler: Handler::Shard(groups),
    ..STREAM
};

const CONSUMERS: CommandSpec = CommandSpec {
    name: "CONSUMERS",
    full_name: "xinfo|consumers",
    arity: Arity::Exactly(4),
    summary: "Tells about the consumers of a group.",
    args: &[Arg::key("key"), Arg::string("groupname")],
    tips: &["nondeterministic_output"],
    handler: Handler::Shard(consumers),
    ..STREAM
};

const HELP: CommandSpec = CommandSpec {
    name: "HELP",
    full_name: "xinfo|help",
    arity: Arity::Exactly(2),
    flags: Flags::of(&[Flag::Loading, Flag::Stale]),
    group: Group::Stream,
    since: "5.0.0",
    summary: "Lists the subcommands.",
    handler: Handler::Client(show_help),
    ..DEFAULTS
};

fn show_help(_: &mut Session<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let forms: &[(&str, &[&str])] = &[
        ("CONSUMERS <key> <groupname>", &["Tells about the consumers of a group."]),
        ("GROUPS <key>", &["Tells about the groups of a stream."]),
        (
            "STREAM <key> [FULL [COUNT <count>]",
            &[
                "Tells about a stream; FULL with its entries, groups and consumers, COUNT of each",
                "list (10; 0 for all).",
            ],
        ),
    ];
    help::write(reply, "XINFO", forms);
    Ok(())
}

fn stream_at<'c>(ctx: &'c mut Context<'_>, key: &[u8]) -> Result<&'c Stream, CommandError> {
    ctx.read_stream(key)?.ok_or(CommandError::NoSuchKey)
}

/// FULL and how many of each; `None` without FULL.
fn full(argv: Argv<'_>) -> Result<Option<usize>, CommandError> {
    let is = |index: usize, word: &[u8]| argv[index].eq_ignore_ascii_case(word);
    match argv.len() {
        3 => Ok(None),
        4 if is(3, b"FULL") => Ok(Some(10)),
        6 if is(3, b"FULL") && is(4, b"COUNT") => Ok(Some(match integer(&argv[5])? {
            0 => usize::MAX,
            count => usize::try_from(count).unwrap_or(10),
        })),
        _ => Err(help::wrong_arguments(argv)),
    }
}

fn label(name: &str, reply: &mut Reply<'_>) {
    reply.bulk(name.as_bytes());
}

fn stream(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let argv = args.argv();
    let stream = stream_at(ctx, &argv[2])?;
    let full = full(argv)?;
    reply.map(if full.is_some() { 9 } else { 10 });
    let log = stream.log();
    let (keys, nodes) = stream.radix_tree();
    label("length", reply);
    reply.integer(log.len() as i64);
    label("radix-tree-keys", reply);
    reply.integer(keys as i64);
    label("radix-tree-nodes", reply);
    reply.integer(nodes as i64);
    label("last-generated-id", reply);
    write_id(log.last_id(), reply);
    label("max-deleted-entry-id", reply);
    write_id(log.max_deleted_id(), reply);
    label("entries-added", reply);
    reply.integer(log.entries_added() as i64);
    label("recorded-first-entry-id", reply);
    write_id(log.first_id(), reply);
    match full {
        Some(count) => write_full(stream, count, reply),
        None => {
            label("groups", reply);
            reply.length(stream.groups().len());
            label("first-entry", reply);
            write_or_null(log.first(), reply);
            label("last-entry", reply);
            write_or_null(log.last(), reply);
        }
    }
    Ok(())
}

fn write_or_null(entry: Option<EntryRef<'_>>, reply: &mut Reply<'_>) {
    match entry {
        Some(entry) => write_entry(&entry, reply),
        None => reply.null(),
    }
}

fn write_full(stream: &Stream, count: usize, reply: &mut Reply<'_>) {
    label("entries", reply);
    let (array, mut written) = (reply.deferred_array(), 0);
    for entry in stream.log().iter().take(count) {
        write_entry(&entry, reply);
        written += 1;
    }
    reply.finish(array, written);
    label("groups", reply);
    reply.array(stream.groups().len());
    for (name, group) in stream.groups() {
        reply.map(7);
        label("name", reply);
        reply.bulk(name);
        label("last-delivered-id", reply);
        write_id(group.last_id, reply);
        write_progress(stream, group, reply);
        label("pel-count", reply);
        reply.length(group.pending().len());
        label("pending", reply);
        reply.array(group.pending().len().min(count));
        for (id, pending) in group.pending().iter().take(count) {
            reply.array(4);
            write_id(*id, reply);
            reply.bulk(group.consumer(pending.consumer).name());
            reply.integer(pending.delivered.0 as i64);
            reply.integer(pending.deliveries as i64);
        }
        label("consumers", reply);
        reply.array(group.consumers().len());
        for consumer in group.consumers() {
            reply.map(4);
            label("name", reply);
            reply.bulk(consumer.name());
            label("seen-time", reply);
            reply.integer(consumer.seen.0 as i64);
            label("pel-count", reply);
            reply.length(consumer.pending().len());
            label("pending", reply);
            reply.array(consumer.pending().len().min(count));
            for id in consumer.pending().iter().take(count) {
                let pending = group.pending_of(*id).expect("G1");
                reply.array(3);
                write_id(*id, reply);
                reply.integer(pending.delivered.0 as i64);
                reply.integer(pending.deliveries as i64);
            }
        }
    }
}

/// How far a group has read and how far it has still to go.
fn write_progress(stream: &Stream, group: &stream::Group, reply: &mut Reply<'_>) {
    label("entries-read", reply);
    write_count(group.entries_read.map(|count| count as i64), reply);
    label("lag", reply);
    write_count(stream.lag(group), reply);
}

fn groups(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let stream = stream_at(ctx, &args.argv()[2])?;
    reply.array(stream.groups().len());
    for (name, group) in stream.groups() {
        reply.map(6);
        label("name", reply);
        reply.bulk(name);
        label("consumers", reply);
        reply.length(group.consumers().len());
        label("pending", reply);
        reply.length(group.pending().len());
        label("last-delivered-id", reply);
        write_id(group.last_id, reply);
        write_progress(stream, group, reply);
    }
    Ok(())
}

fn consumers(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let argv = args.argv();
    let (key, name, now) = (&argv[2], &argv[3], ctx.now);
    let group = stream_at(ctx, key)?.group(name).ok_or_else(|| {
        no_group([b"NOGROUP No such consumer group '", name, b"' for key name '", key, b"'"])
    })?;
    reply.array(group.consumers().len());
    for consumer in group.consumers() {
        reply.map(3);
        label("name", reply);
        reply.bulk(consumer.name());
        label("pending", reply);
        reply.length(consumer.pending().len());
        label("idle", reply);
        reply.integer(idle_since(now, consumer.seen));
    }
    Ok(())
}

fn idle_since(now: UnixMillis, seen: UnixMillis) -> i64 {
    now.0.saturating_sub(seen.0) as i64
}
