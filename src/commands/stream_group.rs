//! Groups that read a stream together: XGROUP, and the end of what they were given: XACK, XACKDEL.

use super::help;
use super::stream::{IDS, changed, parse_removal, write_removal};
use super::stream_options::{REFERENCES, ids, integer, loose_id, strict_id};
use crate::command_table::{
    Access, Arg, Args, Arity, CommandSpec, DEFAULTS, Flag, Flags, Group, Handler, KeySpec,
};
use crate::keyspace::Ttl;
use crate::resp::Reply;
use crate::session::Session;
use crate::shard::{CommandError, CommandResult, Context, Event};
use crate::types::stream::{self, Removal, Stream};
use crate::types::{StreamId, Value};

pub(super) const COMMANDS: &[&CommandSpec] = &[&XGROUP, &XACK, &XACKDEL];

const XGROUP: CommandSpec = CommandSpec {
    name: "XGROUP",
    full_name: "xgroup",
    arity: Arity::AtLeast(2),
    group: Group::Stream,
    since: "5.0.0",
    complexity: "Depends on subcommand.",
    summary: "Contains the commands about groups of consumers.",
    handler: Handler::Container,
    subcommands: &[&CREATE, &CREATECONSUMER, &DELCONSUMER, &DESTROY, &HELP, &SETID],
    ..DEFAULTS
};

const NEW_ID: Arg = Arg::one_of("id", &[Arg::string("id"), Arg::token("new_id", "$")]);
const ENTRIES_READ: Arg = Arg::integer("entries_read").after("ENTRIESREAD").optional();

const CREATE: CommandSpec = CommandSpec {
    name: "CREATE",
    full_name: "xgroup|create",
    arity: Arity::AtLeast(5),
    flags: Flags::of(&[Flag::Write, Flag::DenyOom]),
    keys: &[KeySpec::at(2, Access::Update, &["insert"])],
    complexity: "O(1).",
    summary: "Creates a group of consumers.",
    args: &[
        Arg::key("key"),
        Arg::string("groupname"),
        NEW_ID,
        Arg::token("mkstream", "MKSTREAM").optional(),
        ENTRIES_READ,
    ],
    handler: Handler::Shard(create),
    group: Group::Stream,
    since: "5.0.0",
    ..DEFAULTS
};

const SETID: CommandSpec = CommandSpec {
    name: "SETID",
    full_name: "xgroup|setid",
    flags: Flags::of(&[Flag::Write]),
    keys: &[KeySpec::at(2, Access::Update, &["update"])],
    summary: "Sets what a group counts as delivered.",
    args: &[Arg::key("key"), Arg::string("groupname"), NEW_ID, ENTRIES_READ],
    handler: Handler::Shard(set_id),
    ..CREATE
};

const DESTROY: CommandSpec = CommandSpec {
    name: "DESTROY",
    full_name: "xgroup|destroy",
    arity: Arity::Exactly(4),
    flags: Flags::of(&[Flag::Write]),
    keys: &[KeySpec::at(2, Access::Update, &["delete"])],
    complexity: "O(N) with N entries pending.",
    summary: "Deletes a group with its consumers and what is pending for them.",
    args: &[Arg::key("key"), Arg::string("groupname")],
    handler: Handler::Shard(destroy),
    ..CREATE
};

const CREATECONSUMER: CommandSpec = CommandSpec {
    name: "CREATECONSUMER",
    full_name: "xgroup|createconsumer",
    arity: Arity::Exactly(5),
    since: "6.2.0",
    summary: "Creates a consumer in a group.",
    args: &[Arg::key("key"), Arg::string("groupname"), Arg::string("consumername")],
    handler: Handler::Shard(create_consumer),
    ..CREATE
};

const DELCONSUMER: CommandSpec = CommandSpec {
    name: "DELCONSUMER",
    full_name: "xgroup|delconsumer",
    flags: Flags::of(&[Flag::Write]),
    keys: &[KeySpec::at(2, Access::Update, &["delete"])],
    since: "5.0.0",
    summary: "Deletes a consumer and what is pending for it.",
    handler: Handler::Shard(delete_consumer),
    ..CREATECONSUMER
};

const HELP: CommandSpec = CommandSpec {
    name: "HELP",
    full_name: "xgroup|help",
    arity: Arity::Exactly(2),
    flags: Flags::of(&[Flag::Loading, Flag::Stale]),
    group: Group::Stream,
    since: "5.0.0",
    summary: "Lists the subcommands.",
    handler: Handler::Client(show_help),
    ..DEFAULTS
};

const NO_KEY: CommandError = CommandError::Text(
    "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the \
     MKSTREAM option to create an empty stream automatically.",
);

/// `NOGROUP …`, of texts and names in turn. To Redis a name in an error ends at its first zero byte.
pub(super) fn no_group(parts: [&[u8]; 5]) -> CommandError {
    CommandError::built(parts.map(until_zero).concat())
}

pub(super) fn until_zero(name: &[u8]) -> &[u8] {
    name.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn no_group_at(group: &[u8], key: &[u8]) -> CommandError {
    no_group([b"NOGROUP No such consumer group '", group, b"' for key name '", key, b"'"])
}

/// MKSTREAM and ENTRIESREAD behind the id.
struct Options {
    mkstream: bool,
    entries_read: Option<u64>,
}

fn options(mut args: Args<'_>, is_create: bool) -> Result<Options, CommandError> {
    let mut options = Options { mkstream: false, entries_read: None };
    while let Some(word) = args.next() {
        if is_create && word.eq_ignore_ascii_case(b"MKSTREAM") {
            options.mkstream = true;
        } else if word.eq_ignore_ascii_case(b"ENTRIESREAD") && args.remaining() > 0 {
            options.entries_read =
                match integer(args.bytes()?)? {
                    -1 => None,
                    count => Some(u64::try_from(count).map_err(|_| {
                        CommandError::Text("ERR value for ENTRIESREAD must be positive or -1")
                    })?),
                };
        } else {
            return Err(help::wrong_arguments(args.argv()));
        }
    }
    Ok(options)
}

fn create(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (key, name, id) = (args.bytes()?, args.bytes()?, args.bytes()?);
    let Options { mkstream, entries_read } = options(args, true)?;
    let stream = ctx.write_stream(key)?;
    if stream.is_none() && !mkstream {
        return Err(NO_KEY);
    }
    if args.argv().len() > 8 {
        return Err(help::wrong_arguments(args.argv()));
    }
    let last = stream.as_ref().map_or(StreamId::MIN, |stream| stream.log().last_id());
    let id = if id == b"$" { last } else { strict_id(id)? };
    let group = stream::Group::new(id, entries_read);
    match stream {
        None => {
            let mut stream = Box::<Stream>::default();
            stream.create_group(name, group);
            ctx.insert(key, Value::Stream(stream), Ttl::Clear);
        }
        Some(stream) => {
            if !stream.create_group(name, group) {
                return Err(CommandError::Text("BUSYGROUP Consumer Group name already exists"));
            }
        }
    }
    reply.ok();
    ctx.modified(key, Event::XGroupCreate);
    Ok(())
}

/// The group that a subcommand is about; both must exist.
fn group_at<'c>(
    ctx: &'c mut Context<'_>,
    key: &[u8],
    name: &[u8],
) -> Result<(&'c stream::Log, &'c mut stream::Group), CommandError> {
    let stream = ctx.write_stream(key)?.ok_or(NO_KEY)?;
    stream.group_mut(name).ok_or_else(|| no_group_at(name, key))
}

fn set_id(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (key, name, id) = (args.bytes()?, args.bytes()?, args.bytes()?);
    let Options { entries_read, .. } = options(args, false)?;
    let (log, group) = group_at(ctx, key, name)?;
    if !matches!(args.argv().len(), 5 | 7) {
        return Err(help::wrong_arguments(args.argv()));
    }
    group.last_id = if id == b"$" { log.last_id() } else { loose_id(id, 0)? };
    group.entries_read = entries_read;
    reply.ok();
    ctx.modified(key, Event::XGroupSetId);
    Ok(())
}

fn destroy(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (key, name) = (args.bytes()?, args.bytes()?);
    let destroyed = ctx.write_stream(key)?.ok_or(NO_KEY)?.destroy_group(name).is_some();
    reply.integer(i64::from(destroyed));
    if destroyed {
        ctx.modified(key, Event::XGroupDestroy);
    }
    Ok(())
}

fn create_consumer(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (key, name, consumer) = (args.bytes()?, args.bytes()?, args.bytes()?);
    let now = ctx.now;
    let (_, group) = group_at(ctx, key, name)?;
    let is_new = group.find(consumer).is_none();
    if is_new {
        group.create(consumer, now);
        ctx.modified(key, Event::XGroupCreateConsumer);
    }
    reply.integer(i64::from(is_new));
    Ok(())
}

fn delete_consumer(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (key, name, consumer) = (args.bytes()?, args.bytes()?, args.bytes()?);
    let (_, group) = group_at(ctx, key, name)?;
    let pending = group.find(consumer).map(|consumer| group.delete(consumer));
    reply.length(pending.unwrap_or(0));
    if pending.is_some() {
        ctx.modified(key, Event::XGroupDelConsumer);
    }
    Ok(())
}

fn show_help(_: &mut Session<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let forms: &[(&str, &[&str])] = &[
        (
            "CREATE <key> <groupname> <id|$> [MKSTREAM] [ENTRIESREAD entries_read]",
            &[
                "Makes a group that reads what comes behind an id; $ is the last one there is.",
                "MKSTREAM makes the stream, too, if it is missing. ENTRIESREAD says how many",
                "entries the group counts as read.",
            ],
        ),
        ("CREATECONSUMER <key> <groupname> <consumer>", &["Makes a consumer; says whether it is new."]),
        (
            "DELCONSUMER <key> <groupname> <consumer>",
            &["Deletes a consumer; says how many entries were pending for it."],
        ),
        ("DESTROY <key> <groupname>", &["Deletes a group."]),
        (
            "SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
            &["Lets a group go on behind another id."],
        ),
    ];
    help::write(reply, "XGROUP", forms);
    Ok(())
}

const XACK: CommandSpec = CommandSpec {
    name: "XACK",
    full_name: "xack",
    arity: Arity::AtLeast(4),
    flags: Flags::of(&[Flag::Write, Flag::Fast]),
    group: Group::Stream,
    keys: &[KeySpec::at(1, Access::Update, &["update"])],
    since: "5.0.0",
    complexity: "O(1) for each id.",
    summary: "Says that a group is done with entries that were delivered to it.",
    args: &[Arg::key("key"), Arg::string("group"), Arg::string("id").multiple()],
    handler: Handler::Shard(xack),
    ..DEFAULTS
};

fn xack(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (key, name) = (args.bytes()?, args.bytes()?);
    let stream = ctx.write_stream(key)?;
    let Some((_, group)) = stream.and_then(|stream| stream.group_mut(name)) else {
        reply.integer(0);
        return Ok(());
    };
    let ids = ids(args.argv(), 3)?;
    let acknowledged = ids.into_iter().filter(|id| group.forget(*id)).count();
    changed(ctx, key, Event::XAck, acknowledged as u64);
    reply.length(acknowledged);
    Ok(())
}

const XACKDEL: CommandSpec = CommandSpec {
    name: "XACKDEL",
    full_name: "xackdel",
    arity: Arity::AtLeast(6),
    since: "8.2.0",
    summary: "Says that a group is done with entries, and deletes them.",
    args: &[Arg::key("key"), Arg::string("group"), REFERENCES, IDS],
    keys: &[KeySpec::at(1, Access::Update, &["delete"])],
    handler: Handler::Shard(xackdel),
    ..XACK
};

fn xackdel(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (key, name) = (args.bytes()?, args.bytes()?);
    // The type comes first, the ids last.
    let is_there = ctx.write_stream(key)?.is_some_and(|stream| stream.group(name).is_some());
    let (kind, texts) = parse_removal(&mut args, "xackdel")?;
    if !is_there {
        reply.array(texts.len());
        texts.iter().for_each(|_| reply.integer(-1));
        return Ok(());
    }
    let ids = ids(texts, 0)?;
    reply.array(ids.len());
    let stream = ctx.write_stream(key)?.expect("looked up above");
    let (mut acknowledged, mut removed) = (0, 0);
    for id in ids {
        if !stream.group_mut(name).expect("looked up above").1.forget(id) {
            reply.integer(-1);
            continue;
        }
        acknowledged += 1;
        let removal = stream.remove(id, kind);
        removed += u64::from(removal == Removal::Removed);
        // What was deleted before is gone, too.
        write_removal(if removal == Removal::NotFound { Removal::Removed } else { removal }, reply);
    }
    changed(ctx, key, Event::XAck, acknowledged);
    changed(ctx, key, Event::XDel, removed);
    Ok(())
}

#[cfg(test)]
#[path = "stream_group_tests.rs"]
mod tests;
