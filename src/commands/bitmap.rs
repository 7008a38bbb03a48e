//! Strings as arrays of bits: SETBIT, GETBIT, BITCOUNT, BITPOS, BITOP.

use super::hops::refuse;
use super::read_then_write::{Next, ReadThenWrite, fail, integer};
use crate::base::number::parse_i64;
use crate::command_table::{
    Access, Arg, Args, Arity, CommandSpec, DEFAULTS, Flag, Flags, Group, Handler, KeySpec, Kind, Plan,
};
use crate::keyspace::Ttl;
use crate::resp::{Argv, Reply};
use crate::shard::{CommandError, CommandResult, Context, Event};
use crate::types::bitmap::{self, BitOperation};
use crate::types::{HeapString, StringValue, Value};
use std::ops::Range;

pub(super) const COMMANDS: &[&CommandSpec] = &[&SETBIT, &GETBIT, &BITCOUNT, &BITPOS, &BITOP];

const BAD_OFFSET: CommandError = CommandError::Text("ERR bit offset is not an integer or out of range");

/// The place of a bit; `#3` counts in units of `unit` bits, if there are any.
pub(super) fn parse_offset(text: &[u8], unit: Option<u32>, bytes_max: usize) -> Result<usize, CommandError> {
    let offset = match (text, unit) {
        ([b'#', digits @ ..], Some(bits)) => {
            parse_i64(digits).and_then(|offset| offset.checked_mul(i64::from(bits)))
        }
        _ => parse_i64(text),
    };
    let offset = offset.and_then(|offset| usize::try_from(offset).ok());
    offset.filter(|offset| offset / 8 < bytes_max).ok_or(BAD_OFFSET)
}

/// Edits the bytes of a string, which is created or padded so that it has at least `length` of them; tells
/// whether it had to be.
pub(super) fn edit<R>(
    ctx: &mut Context<'_>,
    key: &[u8],
    length: usize,
    change: impl FnOnce(&mut [u8]) -> R,
) -> Result<(R, bool), CommandError> {
    let Some(mut entry) = ctx.write_string(key)? else {
        let mut string = HeapString::default();
        string.grow_to(length);
        let result = change(string.as_mut_bytes());
        ctx.insert(key, Value::String(StringValue::Raw(string)), Ttl::Clear);
        return Ok((result, true));
    };
    let string = entry.string_mut().expect("write_string() found a string");
    let grows = length > string.as_bytes().len();
    string.grow_to(length);
    Ok((change(string.as_mut_bytes()), grows))
}

const SETBIT: CommandSpec = CommandSpec {
    name: "SETBIT",
    full_name: "setbit",
    arity: Arity::Exactly(4),
    flags: Flags::of(&[Flag::Write, Flag::DenyOom]),
    group: Group::Bitmap,
    keys: &[KeySpec::at(1, Access::Update, &["access", "update"])],
    since: "2.2.0",
    complexity: "O(1).",
    summary: "Sets or clears a bit of a string and returns what it was.",
    args: &[Arg::key("key"), Arg::integer("offset"), Arg::integer("value")],
    handler: Handler::Shard(setbit),
    ..DEFAULTS
};

fn setbit(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let key = args.bytes()?;
    let at = parse_offset(args.bytes()?, None, ctx.shard.options.string_bytes_max)?;
    let on = match parse_i64(args.bytes()?) {
        Some(0) => false,
        Some(1) => true,
        _ => return Err(CommandError::Text("ERR bit is not an integer or out of range")),
    };
    let (old, grown) = edit(ctx, key, at / 8 + 1, |bytes| bitmap::set_bit(bytes, at, on))?;
    if grown || old != on {
        ctx.modified(key, Event::SetBit);
    }
    reply.integer(old.into());
    Ok(())
}

const GETBIT: CommandSpec = CommandSpec {
    name: "GETBIT",
    full_name: "getbit",
    arity: Arity::Exactly(3),
    flags: Flags::of(&[Flag::ReadOnly, Flag::Fast]),
    group: Group::Bitmap,
    keys: &[KeySpec::at(1, Access::Read, &["access"])],
    since: "2.2.0",
    complexity: "O(1).",
    summary: "Returns a bit of a string.",
    args: &[Arg::key("key"), Arg::integer("offset")],
    handler: Handler::Shard(getbit),
    ..DEFAULTS
};

fn getbit(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let key = args.bytes()?;
    let at = parse_offset(args.bytes()?, None, ctx.shard.options.string_bytes_max)?;
    let string = ctx.read_string(key)?;
    let on = string.is_some_and(|string| bitmap::bit(string.as_bytes(&mut itoa::Buffer::new()), at));
    reply.integer(on.into());
    Ok(())
}

/// The unit that positions are given in: true for bits.
fn parse_unit(text: &[u8]) -> Result<bool, CommandError> {
    if text.eq_ignore_ascii_case(b"BIT") {
        Ok(true)
    } else if text.eq_ignore_ascii_case(b"BYTE") {
        Ok(false)
    } else {
        Err(CommandError::Syntax)
    }
}

/// The bits between two positions, both included, negative ones counted from the end.
fn resolve(start: i64, end: i64, in_bits: bool, bytes: usize) -> Range<usize> {
    let (len, unit) = if in_bits { (bytes * 8, 1) } else { (bytes, 8) };
    let len = len as i64;
    let from_front = |at: i64| if at < 0 { at.saturating_add(len).max(0) } else { at };
    let (start, end) = (from_front(start), from_front(end).min(len - 1));
    if start > end { 0..0 } else { start as usize * unit..(end as usize + 1) * unit }
}

const BITCOUNT: CommandSpec = CommandSpec {
    name: "BITCOUNT",
    full_name: "bitcount",
    arity: Arity::AtLeast(2),
    flags: Flags::of(&[Flag::ReadOnly]),
    group: Group::Bitmap,
    keys: &[KeySpec::at(1, Access::Read, &["access"])],
    since: "2.6.0",
    complexity: "O(N) where N is the length of the part.",
    summary: "Counts the bits that are set in a string or a part of it.",
    args: &[
        Arg::key("key"),
        Arg::block(
            "index",
            &[
                Arg::integer("start"),
                Arg::integer("end"),
                Arg::one_of("index_unit", &[Arg::token("byte", "BYTE"), Arg::token("bit", "BIT")])
                    .optional()
                    .since("7.0.0"),
            ],
        )
        .optional(),
    ],
    handler: Handler::Shard(bitcount),
    ..DEFAULTS
};

fn bitcount(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let Some(string) = ctx.read_string(args.bytes()?)? else {
        reply.integer(0);
        return Ok(());
    };
    let mut digits = itoa::Buffer::new();
    let bytes = string.as_bytes(&mut digits);
    let bits = match args.remaining() {
        0 => 0..bytes.len() * 8,
        2 | 3 => {
            let (start, end) = (args.integer()?, args.integer()?);
            // Looked at before the unit, as it happens.
            if start < 0 && end < 0 && start > end {
                reply.integer(0);
                return Ok(());
            }
            let in_bits = args.next().map_or(Ok(false), parse_unit)?;
            resolve(start, end, in_bits, bytes.len())
        }
        _ => return Err(CommandError::Syntax),
    };
    reply.integer(bitmap::count(bytes, bits) as i64);
    Ok(())
}

const BITPOS: CommandSpec = CommandSpec {
    name: "BITPOS",
    full_name: "bitpos",
    arity: Arity::AtLeast(3),
    flags: Flags::of(&[Flag::ReadOnly]),
    group: Group::Bitmap,
    keys: &[KeySpec::at(1, Access::Read, &["access"])],
    since: "2.8.7",
    complexity: "O(N) where N is the length of the part.",
    summary: "Finds the first bit that is set, or clear, in a string or a part of it.",
    args: &[
        Arg::key("key"),
        Arg::integer("bit"),
        Arg::block(
            "index",
            &[
                Arg::integer("start"),
                Arg::block(
                    "end_index",
                    &[
                        Arg::integer("end"),
                        Arg::one_of("index_unit", &[Arg::token("byte", "BYTE"), Arg::token("bit", "BIT")])
                            .optional()
                            .since("7.0.0"),
                    ],
                )
                .optional(),
            ],
        )
        .optional(),
    ],
    handler: Handler::Shard(bitpos),
    ..DEFAULTS
};

fn bitpos(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let key = args.bytes()?;
    let bit = match args.integer()? {
        0 => false,
        1 => true,
        _ => return Err(CommandError::Text("ERR The bit argument must be 1 or 0.")),
    };
    let Some(string) = ctx.read_string(key)? else {
        // It is an endless row of zeros.
        reply.integer(if bit { -1 } else { 0 });
        return Ok(());
    };
    let mut digits = itoa::Buffer::new();
    let bytes = string.as_bytes(&mut digits);
    let ends = args.remaining() >= 2;
    let bits = match args.remaining() {
        0 => 0..bytes.len() * 8,
        1..=3 => {
            let start = args.integer()?;
            let unit = args.argv().get(5).map_or(Ok(false), parse_unit)?;
            let end = if ends { args.integer()? } else { -1 };
            resolve(start, end, unit, bytes.len())
        }
        _ => return Err(CommandError::Syntax),
    };
    let position = match bitmap::find(bytes, bit, bits.clone()) {
        Some(position) => position as i64,
        // Unless the end was given, zeros follow.
        None if !bit && !ends && !bits.is_empty() => bits.end as i64,
        None => -1,
    };
    reply.integer(position);
    Ok(())
}

const BITOP: CommandSpec = CommandSpec {
    name: "BITOP",
    full_name: "bitop",
    arity: Arity::AtLeast(4),
    flags: Flags::of(&[Flag::Write, Flag::DenyOom]),
    group: Group::Bitmap,
    keys: &[KeySpec::at(2, Access::Overwrite, &["update"]), KeySpec::from(3, 1, Access::Read, &["access"])],
    since: "2.6.0",
    complexity: "O(N) where N is the length of all strings.",
    summary: "Joins strings bit by bit and stores the result.",
    args: &[Arg::string("operation"), Arg::key("destkey"), Arg::new("key", Kind::Key(1)).multiple()],
    handler: Handler::Transaction { run: bitop, plan: plan_bitop },
    ..DEFAULTS
};

/// The operation and the number of its strings, checked.
fn parse_operation(argv: Argv<'_>) -> Result<BitOperation, CommandError> {
    use BitOperation::*;
    let operations = [
        ("AND", And),
        ("OR", Or),
        ("XOR", Xor),
        ("NOT", Not),
        ("DIFF", Diff),
        ("DIFF1", Diff1),
        ("ANDOR", AndOr),
        ("ONE", One),
    ];
    let found = operations.iter().find(|(name, _)| argv[1].eq_ignore_ascii_case(name.as_bytes()));
    let (name, operation) = found.ok_or(CommandError::Syntax)?;
    match operation {
        Not if argv.len() != 4 => {
            Err(CommandError::Text("ERR BITOP NOT must be called with a single source key."))
        }
        Diff | Diff1 | AndOr if argv.len() < 5 => {
            let text = format!("ERR BITOP {name} must be called with at least two source keys.");
            Err(CommandError::built(text))
        }
        _ => Ok(*operation),
    }
}

fn read_input(ctx: &mut Context<'_>, key: &[u8]) -> Result<Vec<u8>, CommandError> {
    Ok(ctx.read_string(key)?.map(|string| string.to_vec()).unwrap_or_default())
}

fn combine(operation: BitOperation, inputs: &[Vec<u8>]) -> Vec<u8> {
    let inputs: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
    bitmap::combine(operation, &inputs)
}

fn store(ctx: &mut Context<'_>, key: &[u8], result: Vec<u8>) -> i64 {
    let length = result.len();
    if length == 0 {
        if ctx.remove(key, ctx.shard.options.lazy_server_del) {
            ctx.modified(key, Event::Del);
        }
        return 0;
    }
    ctx.insert(key, Value::String(StringValue::Raw(result.into())), Ttl::Clear);
    ctx.modified(key, Event::Set);
    length as i64
}

fn bitop(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let argv = args.argv();
    let operation = parse_operation(argv)?;
    let inputs: Result<Vec<_>, _> = argv.from_index(3).iter().map(|key| read_input(ctx, key)).collect();
    let result = combine(operation, &inputs?);
    reply.integer(store(ctx, &argv[2], result));
    Ok(())
}

fn plan_bitop(argv: Argv<'_>) -> Box<dyn Plan> {
    let operation = match parse_operation(argv) {
        Ok(operation) => operation,
        Err(error) => return refuse(error),
    };
    let to: Box<[u8]> = argv[2].into();
    ReadThenWrite::plan(
        argv.from_index(3).iter().map(Box::from).collect(),
        read_input,
        move |read| match read.into_iter().collect::<Result<Vec<_>, _>>() {
            Err(error) => Next::Answer(fail(error)),
            Ok(inputs) => {
                let result = combine(operation, &inputs);
                Next::At { key: to.clone(), run: Box::new(move |ctx| integer(store(ctx, &to, result))) }
            }
        },
    )
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::check;

    #[test]
    fn bits() {
        check(
            r#"
            > SETBIT k 7 1
            :0
            > SETBIT k 7 0
            :1
            > SETBIT k 100 1
            :0
            > STRLEN k
            :13
            > GETBIT k 100
            :1
            > GETBIT k 1000
            :0
            > GETBIT none 5
            :0
            > SETBIT k -1 1
            -ERR bit offset is not an integer or out of range
            > SETBIT k 4294967296 1
            -ERR bit offset is not an integer or out of range
            > SETBIT k 1 2
            -ERR bit is not an integer or out of range
            > SET n 12
            +OK
            > SETBIT n 6 1
            :0
            > GET n
            $32
            > SET f foobar
            +OK
            > BITCOUNT f
            :26
            > BITCOUNT f 1 1
            :6
            > BITCOUNT f 5 30 BIT
            :17
            > BITCOUNT f 0 -5 BYTE
            :10
            > BITCOUNT f 1
            -ERR syntax error
            > BITCOUNT f 0 1 FOO
            -ERR syntax error
            > BITCOUNT none
            :0
            > BITPOS f 1
            :1
            > BITPOS f 0 1
            :8
            > BITPOS f 1 7 -1 BIT
            :9
            > SET o "\xff"
            +OK
            > BITPOS none 0
            :0
            > BITPOS none 1
            :-1
            > BITPOS f 2
            -ERR The bit argument must be 1 or 0.
            > ZADD z 1 a
            :1
            > BITCOUNT z
            -WRONGTYPE Operation against a key holding the wrong kind of value
            > GETBIT z 1
            -WRONGTYPE Operation against a key holding the wrong kind of value
            "#,
        );
    }

    #[test]
    fn operations() {
        check(
            r#"
            > SET a abc
            +OK
            > SET b ABCDE
            +OK
            > BITOP AND d a b
            :5
            > GET d
            $ABC\x00\x00
            > BITOP OR d a b
            :5
            > GET d
            $abcDE
            > BITOP XOR d a b
            :5
            > GET d
            $   DE
            > BITOP NOT d a
            :3
            > BITOP NOT d a b
            -ERR BITOP NOT must be called with a single source key.
            > BITOP FOO d a
            -ERR syntax error
            > BITOP AND d none
            :0
            > EXISTS d
            :0
            > ZADD z 1 a
            :1
            > BITOP OR d a z
            -WRONGTYPE Operation against a key holding the wrong kind of value
            "#,
        );
    }
}
