//! Parts of strings: APPEND, SETRANGE, GETRANGE.

use crate::command_table::{
    Access, Arg, Args, Arity, CommandSpec, DEFAULTS, Flag, Flags, Group, Handler, KeySpec,
};
use crate::keyspace::Ttl;
use crate::resp::Reply;
use crate::shard::{CommandError, CommandResult, Context, Event};
use crate::types::{HeapString, StringValue, Value};
use std::ops::Range;

pub(super) const COMMANDS: &[&CommandSpec] = &[&APPEND, &SETRANGE, &GETRANGE, &SUBSTR];

const APPEND: CommandSpec = CommandSpec {
    name: "APPEND",
    full_name: "append",
    arity: Arity::Exactly(3),
    flags: Flags::of(&[Flag::Write, Flag::DenyOom, Flag::Fast]),
    group: Group::String,
    keys: &[KeySpec::at(1, Access::Update, &["insert"])],
    since: "2.0.0",
    complexity: "O(1) on average, since the room for a growing string doubles.",
    summary: "Appends to the string that a key holds, or sets the key if it is missing.",
    args: &[Arg::key("key"), Arg::string("value")],
    handler: Handler::Shard(append),
    ..DEFAULTS
};

fn append(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (key, suffix) = (args.bytes()?, args.bytes()?);
    let limit = ctx.shard.options.string_bytes_max;
    let length = match ctx.write_string(key)? {
        None => {
            ctx.set_string(key, suffix, Ttl::Clear);
            suffix.len()
        }
        Some(mut entry) => {
            let old = entry.entry().as_string().expect("write_string() found a string").len();
            fits(old as u64, suffix.len(), limit)?;
            entry.string_mut().expect("it is a string").append(suffix);
            old + suffix.len()
        }
    };
    ctx.modified(key, Event::Append);
    reply.length(length);
    Ok(())
}

const SETRANGE: CommandSpec = CommandSpec {
    name: "SETRANGE",
    full_name: "setrange",
    arity: Arity::Exactly(4),
    flags: Flags::of(&[Flag::Write, Flag::DenyOom]),
    group: Group::String,
    keys: &[KeySpec::at(1, Access::Update, &["update"])],
    since: "2.2.0",
    complexity: "O(M) where M is the length of the value; O(1) on average if that is small.",
    summary: "Writes over a part of a string, filling up with zero bytes before it if need be.",
    args: &[Arg::key("key"), Arg::integer("offset"), Arg::string("value")],
    handler: Handler::Shard(setrange),
    ..DEFAULTS
};

fn setrange(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (key, offset, patch) = (args.bytes()?, args.integer()?, args.bytes()?);
    let offset = u64::try_from(offset).map_err(|_| CommandError::Text("ERR offset is out of range"))?;
    let limit = ctx.shard.options.string_bytes_max;
    let length = match ctx.write_string(key)? {
        None if patch.is_empty() => 0,
        None => {
            fits(offset, patch.len(), limit)?;
            let mut string = HeapString::default();
            string.set_range(offset as usize, patch);
            let length = string.as_bytes().len();
            ctx.insert(key, Value::String(StringValue::Raw(string)), Ttl::Clear);
            length
        }
        Some(entry) if patch.is_empty() => {
            entry.entry().as_string().expect("write_string() found a string").len()
        }
        Some(mut entry) => {
            fits(offset, patch.len(), limit)?;
            let string = entry.string_mut().expect("write_string() found a string");
            string.set_range(offset as usize, patch);
            string.as_bytes().len()
        }
    };
    if !patch.is_empty() {
        ctx.modified(key, Event::SetRange);
    }
    reply.length(length);
    Ok(())
}

/// Whether a string of `base` bytes can take `more`.
fn fits(base: u64, more: usize, limit: usize) -> CommandResult {
    let total = base.checked_add(more as u64);
    if total.is_some_and(|total| total <= limit as u64) { Ok(()) } else { Err(CommandError::StringTooLong) }
}

const GETRANGE: CommandSpec = CommandSpec {
    name: "GETRANGE",
    full_name: "getrange",
    arity: Arity::Exactly(4),
    flags: Flags::of(&[Flag::ReadOnly]),
    group: Group::String,
    keys: &[KeySpec::at(1, Access::Read, &["access"])],
    since: "2.4.0",
    complexity: "O(N) where N is the length of the part that is returned.",
    summary: "Returns the part of a string between two positions.",
    args: &[Arg::key("key"), Arg::integer("start"), Arg::integer("end")],
    handler: Handler::Shard(getrange),
    ..DEFAULTS
};

const SUBSTR: CommandSpec = CommandSpec {
    name: "SUBSTR",
    full_name: "substr",
    since: "1.0.0",
    summary: "Returns the part of a string between two positions; the older name of GETRANGE.",
    ..GETRANGE
};

fn getrange(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (key, start, end) = (args.bytes()?, args.integer()?, args.integer()?);
    match ctx.read_string(key)? {
        Some(string) => {
            let mut digits = itoa::Buffer::new();
            let bytes = string.as_bytes(&mut digits);
            reply.bulk(&bytes[resolve(start, end, bytes.len())]);
        }
        None => reply.bulk(b""),
    }
    Ok(())
}

/// Unlike other ranges, one that ends before the beginning still holds the first byte, unless both its ends
/// are counted from the end and in the wrong order.
fn resolve(start: i64, end: i64, length: usize) -> Range<usize> {
    if length == 0 || start < 0 && end < 0 && start > end {
        return 0..0;
    }
    let length = length as i64;
    let from_front = |index: i64| if index < 0 { (index + length).max(0) } else { index };
    let (start, end) = (from_front(start), from_front(end).min(length - 1));
    if start > end { 0..0 } else { start as usize..end as usize + 1 }
}
