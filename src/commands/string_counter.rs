//! Strings as numbers: INCR and DECR, INCRBYFLOAT.

use crate::base::extended::Extended;
use crate::command_table::{
    Access, Arg, Args, Arity, CommandSpec, DEFAULTS, Flag, Flags, Group, Handler, KeySpec, Kind,
};
use crate::keyspace::Ttl;
use crate::resp::Reply;
use crate::shard::{CommandError, CommandResult, Context, Event};
use crate::types::{StringRef, StringValue, Value};

pub(super) const COMMANDS: &[&CommandSpec] = &[&INCR, &DECR, &INCRBY, &DECRBY, &INCRBYFLOAT];

const INCR: CommandSpec = CommandSpec {
    name: "INCR",
    full_name: "incr",
    arity: Arity::Exactly(2),
    flags: Flags::of(&[Flag::Write, Flag::DenyOom, Flag::Fast]),
    group: Group::String,
    keys: &[KeySpec::at(1, Access::Update, &["access", "update"])],
    summary: "Adds one to the integer that a key holds; a missing key counts as zero.",
    args: &[Arg::key("key")],
    handler: Handler::Shard(incr),
    ..DEFAULTS
};

const DECR: CommandSpec = CommandSpec {
    name: "DECR",
    full_name: "decr",
    summary: "Takes one from the integer that a key holds; a missing key counts as zero.",
    handler: Handler::Shard(decr),
    ..INCR
};

const INCRBY: CommandSpec = CommandSpec {
    name: "INCRBY",
    full_name: "incrby",
    arity: Arity::Exactly(3),
    summary: "Adds a number to the integer that a key holds; a missing key counts as zero.",
    args: &[Arg::key("key"), Arg::integer("increment")],
    handler: Handler::Shard(incrby),
    ..INCR
};

const DECRBY: CommandSpec = CommandSpec {
    name: "DECRBY",
    full_name: "decrby",
    arity: Arity::Exactly(3),
    summary: "Takes a number from the integer that a key holds; a missing key counts as zero.",
    args: &[Arg::key("key"), Arg::integer("decrement")],
    handler: Handler::Shard(decrby),
    ..INCR
};

fn incr(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    add(ctx, args.bytes()?, 1, reply)
}

fn decr(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    add(ctx, args.bytes()?, -1, reply)
}

fn incrby(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (key, increment) = (args.bytes()?, args.integer()?);
    add(ctx, key, increment, reply)
}

fn decrby(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (key, decrement) = (args.bytes()?, args.integer()?);
    // The least integer has no opposite.
    let increment = decrement.checked_neg().ok_or(CommandError::Text("ERR decrement would overflow"))?;
    add(ctx, key, increment, reply)
}

fn add(ctx: &mut Context<'_>, key: &[u8], increment: i64, reply: &mut Reply<'_>) -> CommandResult {
    let sum = match ctx.write_string(key)? {
        None => {
            ctx.set_int(key, increment, Ttl::Clear);
            increment
        }
        Some(mut entry) => {
            let old = entry.entry().as_string().and_then(StringRef::as_i64);
            let old = old.ok_or(CommandError::NotAnInteger)?;
            let sum = old.checked_add(increment).ok_or(CommandError::Overflow)?;
            entry.set_int(sum);
            sum
        }
    };
    ctx.modified(key, Event::IncrBy);
    reply.integer(sum);
    Ok(())
}

const INCRBYFLOAT: CommandSpec = CommandSpec {
    name: "INCRBYFLOAT",
    full_name: "incrbyfloat",
    arity: Arity::Exactly(3),
    since: "2.6.0",
    summary: "Adds a number with decimals to the number that a key holds; a missing key counts as zero.",
    args: &[Arg::key("key"), Arg::new("increment", Kind::Double)],
    handler: Handler::Shard(incrbyfloat),
    ..INCR
};

fn incrbyfloat(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (key, increment) = (args.bytes()?, args.bytes()?);
    let parse = |text| Extended::parse(text).ok_or(CommandError::NotAFloat);
    let add = |old: Extended| -> Result<Vec<u8>, CommandError> {
        let sum = old.checked_add(parse(increment)?).ok_or(CommandError::NanOrInfinity)?;
        let mut text = Vec::with_capacity(32);
        sum.write_human(&mut text);
        Ok(text)
    };
    // Redis keeps the sum as a text even if it is an integer: its encoding is not `int`.
    let as_text = |text: &[u8]| Value::String(StringValue::Compact(text.into()));
    let text = match ctx.write_string(key)? {
        None => {
            let text = add(Extended::from(0))?;
            ctx.insert(key, as_text(&text), Ttl::Clear);
            text
        }
        Some(mut entry) => {
            let old = match entry.entry().as_string().expect("write_string() found a string") {
                StringRef::Int(value) => Extended::from(value),
                StringRef::Bytes(text) => parse(text)?,
            };
            let text = add(old)?;
            entry.set_value(as_text(&text), Ttl::Keep);
            text
        }
    };
    ctx.modified(key, Event::IncrByFloat);
    reply.bulk(&text);
    Ok(())
}
