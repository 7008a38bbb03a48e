//! Streams: entries come in at the end (XADD), are read by their ids, and go from the front (XTRIM) or one by one.

use super::stream_journal;
use super::stream_options::{
    NewId, REFERENCES, TRIM, TrimOptions, ids, integer, interval_start, interval_stop, references, strict_id,
    trim_options, write_entry, write_id,
};
use crate::base::number::parse_i64;
use crate::command_table::{
    Access, Arg, Args, Arity, CommandSpec, DEFAULTS, Flag, Flags, Group, Handler, KeySpec,
};
use crate::keyspace::Ttl;
use crate::resp::{Argv, Reply};
use crate::shard::{CommandError, CommandResult, Context, Event};
use crate::types::stream::{AppendError, References, Removal, Stream};
use crate::types::{EncodingLimits, StreamId, Value};

pub(super) const COMMANDS: &[&CommandSpec] =
    &[&XADD, &XLEN, &XRANGE, &XREVRANGE, &XDEL, &XDELEX, &XTRIM, &XSETID];

const XADD: CommandSpec = CommandSpec {
    name: "XADD",
    full_name: "xadd",
    arity: Arity::AtLeast(5),
    flags: Flags::of(&[Flag::Write, Flag::DenyOom, Flag::Fast]),
    group: Group::Stream,
    keys: &[KeySpec::at(1, Access::Update, &["update"])],
    since: "5.0.0",
    complexity: "O(1) to add an entry, O(N) with N entries trimmed.",
    summary: "Appends an entry to a stream, creating the stream if it is missing.",
    args: &[
        Arg::key("key"),
        Arg::token("nomkstream", "NOMKSTREAM").optional().since("6.2.0"),
        REFERENCES,
        TRIM.optional(),
        Arg::one_of("id_or_auto", &[Arg::token("auto_id", "*"), Arg::string("id")]),
        Arg::block("field_value", &[Arg::string("field"), Arg::string("value")]).multiple(),
    ],
    tips: &["nondeterministic_output"],
    handler: Handler::Shard(xadd),
    ..DEFAULTS
};

const TOO_SMALL: CommandError =
    CommandError::Text("ERR The ID specified in XADD is equal or smaller than the target stream top item");
const EXHAUSTED: CommandError =
    CommandError::Text("ERR The stream has exhausted the last possible ID, unable to add more items");

/// The entry that XADD adds.
struct NewEntry<'a> {
    id: NewId,
    fields: Argv<'a>,
    now_ms: u64,
}

impl NewEntry<'_> {
    fn add_to(&self, stream: &mut Stream, limits: &EncodingLimits) -> Result<StreamId, CommandError> {
        let log = stream.log_mut();
        let last = log.last_id();
        if last == StreamId::MAX {
            return Err(EXHAUSTED);
        }
        let id = match self.id {
            NewId::Auto => log.next_id(self.now_ms).expect("it is not the last one"),
            NewId::Time(ms) if ms == last.ms => StreamId::new(ms, last.seq.checked_add(1).ok_or(TOO_SMALL)?),
            NewId::Time(ms) => StreamId::new(ms, 0),
            NewId::Exact(id) => id,
        };
        let fields = self.fields;
        let pair = |index: usize| (&fields[2 * index], &fields[2 * index + 1]);
        let added = log.append(id, (0..fields.len() / 2).map(pair), limits);
        added.map(|()| id).map_err(|error| match error {
            AppendError::TooSmall => TOO_SMALL,
            AppendError::TooLarge => CommandError::Text("ERR Elements are too large to be stored"),
        })
    }
}

fn xadd(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let limits = ctx.shard.options.encoding;
    let key = args.bytes()?;
    let (options, id) = trim_options(&mut args, true, limits.stream_node_max_entries)?;
    let count = args.remaining();
    let argv = args.argv();
    // Without an id there are no fields either.
    let id = id.filter(|_| count >= 2 && count.is_multiple_of(2)).ok_or(CommandError::WrongArity("xadd"))?;
    if id == NewId::Exact(StreamId::MIN) {
        return Err(CommandError::Text("ERR The ID specified in XADD must be greater than 0-0"));
    }
    let TrimOptions { trim, references, no_mkstream } = options;
    let references = references.unwrap_or_default();
    let new = NewEntry { id, fields: argv.slice(argv.len() - count..argv.len()), now_ms: ctx.now.0 };
    let trimmed = |stream: &mut Stream| trim.map_or(0, |trim| stream.trim(trim, references));
    let (id, trimmed) = match ctx.write_stream(key)? {
        Some(stream) => (new.add_to(stream, &limits)?, trimmed(stream)),
        None if no_mkstream => {
            reply.null();
            return Ok(());
        }
        None => {
            let mut stream = Box::<Stream>::default();
            let id = new.add_to(&mut stream, &limits)?;
            let trimmed = trimmed(&mut stream);
            ctx.insert(key, Value::Stream(stream), Ttl::Clear);
            (id, trimmed)
        }
    };
    write_id(id, reply);
    ctx.modified(key, Event::XAdd);
    if trimmed > 0 {
        ctx.announce(key, Event::XTrim);
    }
    stream_journal::added(
        ctx,
        key,
        id,
        new.fields,
        trim.filter(|_| trimmed > 0).map(|trim| (trim, references)),
    );
    Ok(())
}

const XLEN: CommandSpec = CommandSpec {
    name: "XLEN",
    full_name: "xlen",
    arity: Arity::Exactly(2),
    flags: Flags::of(&[Flag::ReadOnly, Flag::Fast]),
    group: Group::Stream,
    keys: &[KeySpec::at(1, Access::Read, &[])],
    since: "5.0.0",
    summary: "Returns how many entries a stream has.",
    args: &[Arg::key("key")],
    handler: Handler::Shard(xlen),
    ..DEFAULTS
};

fn xlen(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let stream = ctx.read_stream(args.bytes()?)?;
    reply.integer(stream.map_or(0, |stream| stream.log().len() as i64));
    Ok(())
}

const XRANGE: CommandSpec = CommandSpec {
    name: "XRANGE",
    full_name: "xrange",
    arity: Arity::AtLeast(4),
    flags: Flags::of(&[Flag::ReadOnly]),
    group: Group::Stream,
    keys: &[KeySpec::at(1, Access::Read, &["access"])],
    since: "5.0.0",
    complexity: "O(N) with N entries returned.",
    summary: "Returns the entries whose ids lie in an interval.",
    args: &[
        Arg::key("key"),
        Arg::string("start"),
        Arg::string("end"),
        Arg::integer("count").after("COUNT").optional(),
    ],
    handler: Handler::Shard(xrange),
    ..DEFAULTS
};

const XREVRANGE: CommandSpec = CommandSpec {
    name: "XREVRANGE",
    full_name: "xrevrange",
    summary: "Returns the entries whose ids lie in an interval, the last one first.",
    args: &[
        Arg::key("key"),
        Arg::string("end"),
        Arg::string("start"),
        Arg::integer("count").after("COUNT").optional(),
    ],
    handler: Handler::Shard(xrevrange),
    ..XRANGE
};

fn xrange(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    range(ctx, args, reply, false)
}

fn xrevrange(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    range(ctx, args, reply, true)
}

fn range(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>, back: bool) -> CommandResult {
    let (key, first, second) = (args.bytes()?, args.bytes()?, args.bytes()?);
    let (start, end) = if back { (second, first) } else { (first, second) };
    let (start, end) = (interval_start(start)?, interval_stop(end)?);
    let mut count = None;
    while let Some(option) = args.next() {
        if !option.eq_ignore_ascii_case(b"COUNT") || args.remaining() == 0 {
            return Err(CommandError::Syntax);
        }
        count = Some(args.integer()?.max(0) as usize);
    }
    let Some(stream) = ctx.read_stream(key)? else {
        reply.array(0);
        return Ok(());
    };
    if count == Some(0) {
        reply.null_array();
        return Ok(());
    }
    let (array, mut written) = (reply.deferred_array(), 0);
    let count = count.unwrap_or(usize::MAX);
    let mut show = |entry| {
        write_entry(&entry, reply);
        written += 1;
    };
    if start <= end {
        if back {
            stream.log().range_back(start, end).take(count).for_each(&mut show);
        } else {
            stream.log().range(start, end).take(count).for_each(&mut show);
        }
    }
    reply.finish(array, written);
    Ok(())
}

const XDEL: CommandSpec = CommandSpec {
    name: "XDEL",
    full_name: "xdel",
    arity: Arity::AtLeast(3),
    flags: Flags::of(&[Flag::Write, Flag::Fast]),
    group: Group::Stream,
    keys: &[KeySpec::at(1, Access::Update, &["delete"])],
    since: "5.0.0",
    complexity: "O(1) for each id.",
    summary: "Deletes entries of a stream by their ids.",
    args: &[Arg::key("key"), Arg::string("id").multiple()],
    handler: Handler::Shard(xdel),
    ..DEFAULTS
};

fn xdel(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let key = args.bytes()?;
    let Some(stream) = ctx.write_stream(key)? else {
        reply.integer(0);
        return Ok(());
    };
    let ids = ids(args.argv(), 2)?;
    let deleted = ids.into_iter().filter(|id| stream.log_mut().delete(*id)).count();
    changed(ctx, key, Event::XDel, deleted as u64);
    reply.length(deleted);
    Ok(())
}

/// Declares the deletion of so many entries, if there were any.
pub(super) fn changed(ctx: &mut Context<'_>, key: &[u8], event: Event, count: u64) {
    if let Some(more) = count.checked_sub(1) {
        ctx.modified(key, event);
        ctx.shard.effects.add_dirty(more);
    }
}

const XDELEX: CommandSpec = CommandSpec {
    name: "XDELEX",
    full_name: "xdelex",
    arity: Arity::AtLeast(5),
    since: "8.2.0",
    summary: "Deletes entries of a stream, with or without what groups remember of them.",
    args: &[Arg::key("key"), REFERENCES, IDS],
    handler: Handler::Shard(xdelex),
    ..XDEL
};

pub(super) const IDS: Arg =
    Arg::block("ids", &[Arg::integer("numids"), Arg::string("id").multiple()]).after("IDS");

/// Reads `[KEEPREF|DELREF|ACKED] IDS numids id…`, options in any order; the ids are still to be read.
pub(super) fn parse_removal<'a>(
    args: &mut Args<'a>,
    name: &'static str,
) -> Result<(References, Argv<'a>), CommandError> {
    let (mut kind, mut found) = (None, None);
    while let Some(word) = args.next() {
        if let (None, Some(references)) = (kind, references(word)) {
            kind = Some(references);
        } else if word.eq_ignore_ascii_case(b"IDS") && args.remaining() > 0 {
            let count = parse_i64(args.bytes()?).and_then(|count| usize::try_from(count).ok());
            let count = count.filter(|count| *count > 0);
            let count = count.ok_or(CommandError::Text("ERR Number of IDs must be a positive integer"))?;
            if count > args.remaining() {
                return Err(CommandError::Text(
                    "ERR The `numids` parameter must match the number of arguments",
                ));
            }
            let argv = args.argv();
            let first = argv.len() - args.remaining();
            found = Some(argv.slice(first..first + count));
            args.nth(count - 1);
        } else {
            return Err(CommandError::Syntax);
        }
    }
    found.map(|ids| (kind.unwrap_or_default(), ids)).ok_or(CommandError::WrongArity(name))
}

fn xdelex(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let key = args.bytes()?;
    // The type comes first, the ids last.
    let is_there = ctx.write_stream(key)?.is_some();
    let (kind, texts) = parse_removal(&mut args, "xdelex")?;
    if !is_there {
        reply.array(texts.len());
        texts.iter().for_each(|_| reply.integer(-1));
        return Ok(());
    }
    let ids = ids(texts, 0)?;
    reply.array(ids.len());
    let stream = ctx.write_stream(key)?.expect("looked up above");
    let mut removed = 0;
    for id in ids {
        let removal = stream.remove(id, kind);
        removed += u64::from(removal == Removal::Removed);
        write_removal(removal, reply);
    }
    changed(ctx, key, Event::XDel, removed);
    Ok(())
}

pub(super) fn write_removal(removal: Removal, reply: &mut Reply<'_>) {
    reply.integer(match removal {
        Removal::NotFound => -1,
        Removal::Removed => 1,
        Removal::Referenced => 2,
    });
}

const XTRIM: CommandSpec = CommandSpec {
    name: "XTRIM",
    full_name: "xtrim",
    arity: Arity::AtLeast(4),
    flags: Flags::of(&[Flag::Write]),
    group: Group::Stream,
    keys: &[KeySpec::at(1, Access::Update, &["delete"])],
    since: "5.0.0",
    complexity: "O(N) with N entries trimmed; whole nodes cost little.",
    summary: "Deletes the oldest entries of a stream beyond a length or below an id.",
    args: &[Arg::key("key"), TRIM, REFERENCES],
    tips: &["nondeterministic_output"],
    handler: Handler::Shard(xtrim),
    ..DEFAULTS
};

fn xtrim(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let key = args.bytes()?;
    let entries_max = ctx.shard.options.encoding.stream_node_max_entries;
    let (TrimOptions { trim, references, .. }, _) = trim_options(&mut args, false, entries_max)?;
    let (trim, references) = (trim.expect("required of XTRIM"), references.unwrap_or_default());
    let deleted = ctx.write_stream(key)?.map_or(0, |stream| stream.trim(trim, references));
    changed(ctx, key, Event::XTrim, deleted);
    if deleted > 0 {
        stream_journal::trimmed(ctx, key, trim, references);
    }
    reply.integer(deleted as i64);
    Ok(())
}

const XSETID: CommandSpec = CommandSpec {
    name: "XSETID",
    full_name: "xsetid",
    arity: Arity::AtLeast(3),
    flags: Flags::of(&[Flag::Write, Flag::DenyOom, Flag::Fast]),
    group: Group::Stream,
    keys: &[KeySpec::at(1, Access::Update, &["update"])],
    since: "5.0.0",
    summary: "Sets the last id of a stream and what it has counted.",
    args: &[
        Arg::key("key"),
        Arg::string("last-id"),
        Arg::integer("entries_added").after("ENTRIESADDED").optional().since("7.0.0"),
        Arg::string("max_deleted_entry_id").after("MAXDELETEDID").optional().since("7.0.0"),
    ],
    handler: Handler::Shard(xsetid),
    ..DEFAULTS
};

fn xsetid(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (key, id) = (args.bytes()?, strict_id(args.bytes()?)?);
    let (mut entries_added, mut max_deleted) = (None, StreamId::MIN);
    while let Some(option) = args.next() {
        if args.remaining() > 0 && option.eq_ignore_ascii_case(b"ENTRIESADDED") {
            let count = integer(args.bytes()?)?;
            let negative = CommandError::Text("ERR entries_added must be positive");
            entries_added = Some(u64::try_from(count).map_err(|_| negative)?);
        } else if args.remaining() > 0 && option.eq_ignore_ascii_case(b"MAXDELETEDID") {
            max_deleted = strict_id(args.bytes()?)?;
            if id < max_deleted {
                return Err(CommandError::Text(
                    "ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id",
                ));
            }
        } else {
            return Err(CommandError::Syntax);
        }
    }
    let log = ctx.write_stream(key)?.ok_or(CommandError::NoSuchKey)?.log_mut();
    if let Some(last) = log.last() {
        if id < last.id {
            return Err(CommandError::Text(
                "ERR The ID specified in XSETID is smaller than the target stream top item",
            ));
        }
        if entries_added.is_some_and(|count| count < log.len()) {
            return Err(CommandError::Text(
                "ERR The entries_added specified in XSETID is smaller than the target stream length",
            ));
        }
    }
    log.set_last_id(id);
    if let Some(count) = entries_added {
        log.set_entries_added(count);
    }
    if max_deleted > StreamId::MIN {
        log.set_max_deleted_id(max_deleted);
    }
    reply.ok();
    ctx.modified(key, Event::XSetId);
    Ok(())
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
