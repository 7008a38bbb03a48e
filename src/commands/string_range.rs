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

#[cfg(test)]
mod tests {
    use crate::commands::testing::check;

    #[test]
    fn append() {
        check(
            r#"
            > APPEND k 12
            :2
            > OBJECT ENCODING k
            $int
            > APPEND k 3
            :3
            > OBJECT ENCODING k
            $raw
            > GET k
            $123
            > APPEND k ""
            :3
            > APPEND e ""
            :0
            > OBJECT ENCODING e
            $embstr
            > EXISTS e
            :1
            > APPEND e abc
            :3
            > OBJECT ENCODING e
            $raw
            > SET k v EX 100
            +OK
            > APPEND k w
            :2
            > TTL k
            :100
            > GET k
            $vw
            > SET k 5
            +OK
            > APPEND k ""
            :1
            > OBJECT ENCODING k
            $raw
            > APPEND k
            -ERR wrong number of arguments for 'append' command
            "#,
        );
    }

    #[test]
    fn setrange() {
        check(
            r#"
            > SETRANGE k 0 ""
            :0
            > EXISTS k
            :0
            > SETRANGE k 5 abc
            :8
            > OBJECT ENCODING k
            $raw
            > GET k
            $\x00\x00\x00\x00\x00abc
            > SETRANGE k 0 XY
            :8
            > GET k
            $XY\x00\x00\x00abc
            > SETRANGE k 100 ""
            :8
            > SETRANGE k -1 x
            -ERR offset is out of range
            > SETRANGE k -1 ""
            -ERR offset is out of range
            > SETRANGE k abc x
            -ERR value is not an integer or out of range
            > SETRANGE k 536870911 xy
            -ERR string exceeds maximum allowed size (proto-max-bulk-len)
            > SETRANGE k 536870912 x
            -ERR string exceeds maximum allowed size (proto-max-bulk-len)
            > SETRANGE k 9223372036854775807 x
            -ERR string exceeds maximum allowed size (proto-max-bulk-len)
            > SETRANGE k 536870912 ""
            :8
            > SETRANGE new 536870912 x
            -ERR string exceeds maximum allowed size (proto-max-bulk-len)
            > EXISTS new
            :0
            > SET n 1234 EX 100
            +OK
            > SETRANGE n 1 9
            :4
            > GET n
            $1934
            > OBJECT ENCODING n
            $raw
            > TTL n
            :100
            > SETRANGE n 10 ""
            :4
            > SET n 7
            +OK
            > SETRANGE n 3 ""
            :1
            > OBJECT ENCODING n
            $int
            "#,
        );
    }

    #[test]
    fn getrange() {
        check(
            r#"
            > SET k "Hello World"
            +OK
            > GETRANGE k 0 4
            $Hello
            > GETRANGE k -5 -1
            $World
            > GETRANGE k 0 -1
            $Hello World
            > GETRANGE k 3 3
            $l
            > GETRANGE k 5 3
            $
            > GETRANGE k -1 -5
            $
            > GETRANGE k -100 100
            $Hello World
            > GETRANGE k 11 20
            $
            > GETRANGE k 0 -100
            $H
            > GETRANGE k -100 -100
            $H
            > GETRANGE k -50 -100
            $
            > GETRANGE k 1 -100
            $
            > GETRANGE k 9223372036854775807 -1
            $
            > GETRANGE k -9223372036854775808 9223372036854775807
            $Hello World
            > GETRANGE missing 0 -1
            $
            > GETRANGE k a 1
            -ERR value is not an integer or out of range
            > GETRANGE k 0 b
            -ERR value is not an integer or out of range
            > GETRANGE missing a b
            -ERR value is not an integer or out of range
            > SET n 123456
            +OK
            > GETRANGE n 1 3
            $234
            > SUBSTR n -2 -1
            $56
            > SET e ""
            +OK
            > GETRANGE e 0 -1
            $
            > GETRANGE e 0 0
            $
            "#,
        );
    }
}
