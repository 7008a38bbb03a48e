//! Numbers in fields of hashes: HINCRBY, HINCRBYFLOAT.

use crate::base::extended::Extended;
use crate::base::number::parse_i64;
use crate::command_table::{
    Access, Arg, Args, Arity, CommandSpec, DEFAULTS, Flag, Flags, Group, Handler, KeySpec, Kind,
};
use crate::resp::Reply;
use crate::shard::{CommandError, CommandResult, Context, Event};
use crate::types::encoding::Entry;

pub(super) const COMMANDS: &[&CommandSpec] = &[&HINCRBY, &HINCRBYFLOAT];

const HINCRBY: CommandSpec = CommandSpec {
    name: "HINCRBY",
    full_name: "hincrby",
    arity: Arity::Exactly(4),
    flags: Flags::of(&[Flag::Write, Flag::DenyOom, Flag::Fast]),
    group: Group::Hash,
    keys: &[KeySpec::at(1, Access::Update, &["access", "update"])],
    since: "2.0.0",
    complexity: "O(1).",
    summary: "Adds an integer to the integer in a field; a missing one counts as 0.",
    args: &[Arg::key("key"), Arg::string("field"), Arg::integer("increment")],
    handler: Handler::Shard(hincrby),
    ..DEFAULTS
};

fn hincrby(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    const NO_INTEGER: CommandError = CommandError::Text("ERR hash value is not an integer");
    let (key, field, increment) = (args.bytes()?, args.bytes()?, args.integer()?);
    let now = ctx.now;
    let updated = ctx.update_hash(key, true, |hash, limits| {
        let old = match hash.get(field, now) {
            None => 0,
            Some(Entry::Int(value)) => value,
            Some(Entry::Str(text)) => parse_i64(text).ok_or(NO_INTEGER)?,
        };
        let sum = old.checked_add(increment).ok_or(CommandError::Overflow)?;
        hash.put(field, itoa::Buffer::new().format(sum).as_bytes(), limits);
        Ok(sum)
    })?;
    let sum = updated.expect("created if it was missing").result?;
    ctx.modified(key, Event::HIncrBy);
    reply.integer(sum);
    Ok(())
}

const HINCRBYFLOAT: CommandSpec = CommandSpec {
    name: "HINCRBYFLOAT",
    full_name: "hincrbyfloat",
    since: "2.6.0",
    summary: "Adds a number to the number in a field; a missing one counts as 0.",
    args: &[Arg::key("key"), Arg::string("field"), Arg::new("increment", Kind::Double)],
    handler: Handler::Shard(hincrbyfloat),
    ..HINCRBY
};

fn hincrbyfloat(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    const NO_FLOAT: CommandError = CommandError::Text("ERR hash value is not a float");
    let (key, field, increment) = (args.bytes()?, args.bytes()?, args.bytes()?);
    let increment = Extended::parse(increment).ok_or(CommandError::NotAFloat)?;
    // An infinity has no sum.
    if increment.checked_add(Extended::from(0)).is_none() {
        return Err(CommandError::Text("ERR value is NaN or Infinity"));
    }
    let now = ctx.now;
    let updated = ctx.update_hash(key, true, |hash, limits| {
        let old = match hash.get(field, now) {
            None => Extended::from(0),
            Some(Entry::Int(value)) => Extended::from(value),
            Some(Entry::Str(text)) => Extended::parse(text).ok_or(NO_FLOAT)?,
        };
        let sum = old.checked_add(increment).ok_or(CommandError::NanOrInfinity)?;
        let mut text = Vec::with_capacity(32);
        sum.write_human(&mut text);
        hash.put(field, &text, limits);
        Ok((text, hash.deadline(field).is_some()))
    })?;
    let (sum, has_deadline) = updated.expect("created if it was missing").result?;
    ctx.modified(key, Event::HIncrByFloat);
    if has_deadline {
        // HSET would take it away.
        ctx.propagate(&[b"HSETEX", key, b"KEEPTTL", b"FIELDS", b"1", field, &sum]);
    } else {
        ctx.propagate(&[b"HSET", key, field, &sum]);
    }
    reply.bulk(&sum);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::check;

    #[test]
    fn numbers_in_fields() {
        check(
            r#"
            > HINCRBY h n 5
            :5
            > HINCRBY h n -7
            :-2
            > HSET h text abc big 9223372036854775807 space " 11"
            :3
            > HINCRBY h text 1
            -ERR hash value is not an integer
            > HINCRBY h space 1
            -ERR hash value is not an integer
            > HINCRBY h big 1
            -ERR increment or decrement would overflow
            > HINCRBY h n 1.5
            -ERR value is not an integer or out of range
            > HINCRBYFLOAT h n 0.25
            $-1.75
            > HINCRBYFLOAT h f 1e3
            $1000
            > HINCRBYFLOAT h text 1
            -ERR hash value is not a float
            > HINCRBYFLOAT h space 1
            -ERR hash value is not a float
            > HINCRBYFLOAT h n x
            -ERR value is not a valid float
            > HINCRBYFLOAT h n inf
            -ERR value is NaN or Infinity
            > HINCRBYFLOAT new n -inf
            -ERR value is NaN or Infinity
            > HINCRBY new n x
            -ERR value is not an integer or out of range
            > EXISTS new
            :0
            > HINCRBYFLOAT h pi 3.141592653589793238
            $3.14159265358979324
            > HGET h pi
            $3.14159265358979324
            "#,
        );
    }
}
