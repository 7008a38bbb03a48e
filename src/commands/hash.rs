//! Hashes: HSET, HGET and their kin. Deadlines of fields are in `hash_expire`.

use super::collection_scan::{ScanOptions, parse_cursor, write_cursor};
use crate::base::extended::Extended;
use crate::base::number::parse_i64;
use crate::base::random::Random;
use crate::command_table::{
    Access, Arg, Args, Arity, CommandSpec, DEFAULTS, Flag, Flags, Group, Handler, KeySpec, Kind,
};
use crate::resp::Reply;
use crate::shard::{CommandError, CommandResult, Context, Event};
use crate::types::HashRef;
use crate::types::encoding::{Entry, PackedSet};

pub(super) const COMMANDS: &[&CommandSpec] = &[
    &HSET,
    &HMSET,
    &HSETNX,
    &HGET,
    &HMGET,
    &HGETALL,
    &HDEL,
    &HLEN,
    &HEXISTS,
    &HKEYS,
    &HVALS,
    &HSTRLEN,
    &HINCRBY,
    &HINCRBYFLOAT,
    &HRANDFIELD,
    &HSCAN,
];

/// One reply with this many random elements is more than any client asks for in earnest.
const RANDOM_COUNT_MAX: u64 = 1 << 24;

pub(super) fn write_entry(reply: &mut Reply<'_>, entry: Entry<'_>) {
    match entry {
        Entry::Str(text) => reply.bulk(text),
        Entry::Int(value) => reply.bulk_integer(value),
    }
}

const HSET: CommandSpec = CommandSpec {
    name: "HSET",
    full_name: "hset",
    arity: Arity::AtLeast(4),
    flags: Flags::of(&[Flag::Write, Flag::DenyOom, Flag::Fast]),
    group: Group::Hash,
    keys: &[KeySpec::at(1, Access::Update, &["update"])],
    since: "2.0.0",
    complexity: "O(N) where N is the number of fields given.",
    summary: "Sets fields of a hash, creating it if it is missing.",
    args: &[
        Arg::key("key"),
        Arg::block("field_value", &[Arg::string("field"), Arg::string("value")]).multiple(),
    ],
    handler: Handler::Shard(hset),
    ..DEFAULTS
};

fn hset(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let created = set_fields(ctx, args, "hset")?;
    reply.integer(created);
    Ok(())
}

const HMSET: CommandSpec = CommandSpec {
    name: "HMSET",
    full_name: "hmset",
    arity: Arity::AtLeast(4),
    flags: Flags::of(&[Flag::Write, Flag::DenyOom, Flag::Fast]),
    group: Group::Hash,
    keys: &[KeySpec::at(1, Access::Update, &["update"])],
    since: "2.0.0",
    complexity: "O(N) where N is the number of fields given.",
    summary: "Sets several fields of a hash.",
    args: &[
        Arg::key("key"),
        Arg::block("field_value", &[Arg::string("field"), Arg::string("value")]).multiple(),
    ],
    handler: Handler::Shard(hmset),
    ..DEFAULTS
};

fn hmset(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    set_fields(ctx, args, "hmset")?;
    reply.ok();
    Ok(())
}

/// Returns how many fields are new.
fn set_fields(ctx: &mut Context<'_>, mut args: Args<'_>, command: &'static str) -> Result<i64, CommandError> {
    let key = args.bytes()?;
    if !args.remaining().is_multiple_of(2) {
        return Err(CommandError::WrongArity(command));
    }
    let updated = ctx.update_hash(key, true, |hash, limits| {
        let mut created = 0;
        while let (Some(field), Some(value)) = (args.next(), args.next()) {
            created += i64::from(hash.set(field, value, limits));
        }
        created
    })?;
    ctx.modified(key, Event::HSet);
    Ok(updated.expect("created if it was missing").result)
}

const HSETNX: CommandSpec = CommandSpec {
    name: "HSETNX",
    full_name: "hsetnx",
    arity: Arity::Exactly(4),
    flags: Flags::of(&[Flag::Write, Flag::DenyOom, Flag::Fast]),
    group: Group::Hash,
    keys: &[KeySpec::at(1, Access::Update, &["insert"])],
    since: "2.0.0",
    complexity: "O(1).",
    summary: "Sets a field of a hash unless it exists.",
    args: &[Arg::key("key"), Arg::string("field"), Arg::string("value")],
    handler: Handler::Shard(hsetnx),
    ..DEFAULTS
};

fn hsetnx(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (key, field, value) = (args.bytes()?, args.bytes()?, args.bytes()?);
    let now = ctx.now;
    let updated = ctx.update_hash(key, true, |hash, limits| {
        let is_new = hash.get(field, now).is_none();
        if is_new {
            hash.set(field, value, limits);
        }
        is_new
    })?;
    let is_new = updated.expect("created if it was missing").result;
    if is_new {
        ctx.modified(key, Event::HSet);
    }
    reply.integer(is_new.into());
    Ok(())
}

const HGET: CommandSpec = CommandSpec {
    name: "HGET",
    full_name: "hget",
    arity: Arity::Exactly(3),
    flags: Flags::of(&[Flag::ReadOnly, Flag::Fast]),
    group: Group::Hash,
    keys: &[KeySpec::at(1, Access::Read, &["access"])],
    since: "2.0.0",
    complexity: "O(1).",
    summary: "Returns the value of a field of a hash.",
    args: &[Arg::key("key"), Arg::string("field")],
    handler: Handler::Shard(hget),
    ..DEFAULTS
};

fn hget(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (key, field) = (args.bytes()?, args.bytes()?);
    write_value(reply, ctx.read_hash(key)?.and_then(|hash| hash.get(field)));
    Ok(())
}

pub(super) fn write_value(reply: &mut Reply<'_>, value: Option<Entry<'_>>) {
    match value {
        Some(value) => write_entry(reply, value),
        None => reply.null(),
    }
}

const HMGET: CommandSpec = CommandSpec {
    name: "HMGET",
    full_name: "hmget",
    arity: Arity::AtLeast(3),
    flags: Flags::of(&[Flag::ReadOnly, Flag::Fast]),
    group: Group::Hash,
    keys: &[KeySpec::at(1, Access::Read, &["access"])],
    since: "2.0.0",
    complexity: "O(N) where N is the number of fields given.",
    summary: "Returns the values of several fields of a hash.",
    args: &[Arg::key("key"), Arg::string("field").multiple()],
    handler: Handler::Shard(hmget),
    ..DEFAULTS
};

fn hmget(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let hash = ctx.read_hash(args.bytes()?)?;
    reply.array(args.remaining());
    args.for_each(|field| write_value(reply, hash.and_then(|hash| hash.get(field))));
    Ok(())
}

const HGETALL: CommandSpec = CommandSpec {
    name: "HGETALL",
    full_name: "hgetall",
    arity: Arity::Exactly(2),
    flags: Flags::of(&[Flag::ReadOnly]),
    group: Group::Hash,
    keys: &[KeySpec::at(1, Access::Read, &["access"])],
    since: "2.0.0",
    complexity: "O(N) where N is the number of fields.",
    summary: "Returns all fields of a hash with their values.",
    args: &[Arg::key("key")],
    tips: &["nondeterministic_output_order"],
    handler: Handler::Shard(hgetall),
    ..DEFAULTS
};

fn hgetall(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    match ctx.read_hash(args.bytes()?)? {
        None => reply.map(0),
        Some(hash) => {
            reply.map(hash.visible_len());
            hash.for_each(|field, value| {
                write_entry(reply, field);
                write_entry(reply, value);
            });
        }
    }
    Ok(())
}

const HDEL: CommandSpec = CommandSpec {
    name: "HDEL",
    full_name: "hdel",
    arity: Arity::AtLeast(3),
    flags: Flags::of(&[Flag::Write, Flag::Fast]),
    group: Group::Hash,
    keys: &[KeySpec::at(1, Access::Update, &["delete"])],
    since: "2.0.0",
    complexity: "O(N) where N is the number of fields given.",
    summary: "Removes fields from a hash, and the hash with its last field.",
    args: &[Arg::key("key"), Arg::string("field").multiple()],
    handler: Handler::Shard(hdel),
    ..DEFAULTS
};

fn hdel(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let key = args.bytes()?;
    let updated =
        ctx.update_hash(key, false, |hash, _| args.map(|field| i64::from(hash.remove(field))).sum::<i64>())?;
    let removed = updated.map_or(0, |updated| updated.result);
    if removed > 0 {
        ctx.modified(key, Event::HDel);
    }
    if updated.is_some_and(|updated| updated.emptied) {
        ctx.announce(key, Event::Del);
    }
    reply.integer(removed);
    Ok(())
}

const HLEN: CommandSpec = CommandSpec {
    name: "HLEN",
    full_name: "hlen",
    arity: Arity::Exactly(2),
    flags: Flags::of(&[Flag::ReadOnly, Flag::Fast]),
    group: Group::Hash,
    keys: &[KeySpec::at(1, Access::Read, &[])],
    since: "2.0.0",
    complexity: "O(1).",
    summary: "Returns the number of fields of a hash.",
    args: &[Arg::key("key")],
    handler: Handler::Shard(hlen),
    ..DEFAULTS
};

fn hlen(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    reply.length(ctx.read_hash(args.bytes()?)?.map_or(0, HashRef::len));
    Ok(())
}

const HEXISTS: CommandSpec = CommandSpec {
    name: "HEXISTS",
    full_name: "hexists",
    arity: Arity::Exactly(3),
    flags: Flags::of(&[Flag::ReadOnly, Flag::Fast]),
    group: Group::Hash,
    keys: &[KeySpec::at(1, Access::Read, &[])],
    since: "2.0.0",
    complexity: "O(1).",
    summary: "Tells whether a hash has a field.",
    args: &[Arg::key("key"), Arg::string("field")],
    handler: Handler::Shard(hexists),
    ..DEFAULTS
};

fn hexists(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (key, field) = (args.bytes()?, args.bytes()?);
    reply.integer(ctx.read_hash(key)?.is_some_and(|hash| hash.contains(field)).into());
    Ok(())
}

const HKEYS: CommandSpec = CommandSpec {
    name: "HKEYS",
    full_name: "hkeys",
    arity: Arity::Exactly(2),
    flags: Flags::of(&[Flag::ReadOnly]),
    group: Group::Hash,
    keys: &[KeySpec::at(1, Access::Read, &["access"])],
    since: "2.0.0",
    complexity: "O(N) where N is the number of fields.",
    summary: "Returns the names of all fields of a hash.",
    args: &[Arg::key("key")],
    tips: &["nondeterministic_output_order"],
    handler: Handler::Shard(hkeys),
    ..DEFAULTS
};

fn hkeys(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    match ctx.read_hash(args.bytes()?)? {
        None => reply.array(0),
        Some(hash) => {
            reply.array(hash.visible_len());
            hash.for_each(|field, _| write_entry(reply, field));
        }
    }
    Ok(())
}

const HVALS: CommandSpec = CommandSpec {
    name: "HVALS",
    full_name: "hvals",
    arity: Arity::Exactly(2),
    flags: Flags::of(&[Flag::ReadOnly]),
    group: Group::Hash,
    keys: &[KeySpec::at(1, Access::Read, &["access"])],
    since: "2.0.0",
    complexity: "O(N) where N is the number of fields.",
    summary: "Returns the values of all fields of a hash.",
    args: &[Arg::key("key")],
    tips: &["nondeterministic_output_order"],
    handler: Handler::Shard(hvals),
    ..DEFAULTS
};

fn hvals(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    match ctx.read_hash(args.bytes()?)? {
        None => reply.array(0),
        Some(hash) => {
            reply.array(hash.visible_len());
            hash.for_each(|_, value| write_entry(reply, value));
        }
    }
    Ok(())
}

const HSTRLEN: CommandSpec = CommandSpec {
    name: "HSTRLEN",
    full_name: "hstrlen",
    arity: Arity::Exactly(3),
    flags: Flags::of(&[Flag::ReadOnly, Flag::Fast]),
    group: Group::Hash,
    keys: &[KeySpec::at(1, Access::Read, &[])],
    since: "3.2.0",
    complexity: "O(1).",
    summary: "Returns the length of a field's value.",
    args: &[Arg::key("key"), Arg::string("field")],
    handler: Handler::Shard(hstrlen),
    ..DEFAULTS
};

fn hstrlen(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (key, field) = (args.bytes()?, args.bytes()?);
    let value = ctx.read_hash(key)?.and_then(|hash| hash.get(field));
    reply.length(value.map_or(0, |value| value.as_bytes(&mut itoa::Buffer::new()).len()));
    Ok(())
}

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
    arity: Arity::Exactly(4),
    flags: Flags::of(&[Flag::Write, Flag::DenyOom, Flag::Fast]),
    group: Group::Hash,
    keys: &[KeySpec::at(1, Access::Update, &["access", "update"])],
    since: "2.6.0",
    complexity: "O(1).",
    summary: "Adds a number to the number in a field; a missing one counts as 0.",
    args: &[Arg::key("key"), Arg::string("field"), Arg::new("increment", Kind::Double)],
    handler: Handler::Shard(hincrbyfloat),
    ..DEFAULTS
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

const HRANDFIELD: CommandSpec = CommandSpec {
    name: "HRANDFIELD",
    full_name: "hrandfield",
    arity: Arity::AtLeast(2),
    flags: Flags::of(&[Flag::ReadOnly]),
    group: Group::Hash,
    keys: &[KeySpec::at(1, Access::Read, &["access"])],
    since: "6.2.0",
    complexity: "O(N) where N is the number of fields returned.",
    summary: "Returns fields of a hash chosen at random.",
    args: &[
        Arg::key("key"),
        Arg::block("options", &[Arg::integer("count"), Arg::token("withvalues", "WITHVALUES").optional()])
            .optional(),
    ],
    tips: &["nondeterministic_output"],
    handler: Handler::Shard(hrandfield),
    ..DEFAULTS
};

fn hrandfield(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let key = args.bytes()?;
    let mut random = Random::from_seed(ctx.random());
    if args.remaining() == 0 {
        let hash = ctx.read_hash(key)?;
        write_value(reply, hash.and_then(|hash| hash.random(|| random.next_u64())).map(|(field, _)| field));
        return Ok(());
    }
    let count = random_count(&mut args)?;
    let bytes_max = ctx.reply_bytes_max;
    let with_values = args.option("WITHVALUES");
    args.end()?;
    if with_values && count.unsigned_abs() > i64::MAX as u64 / 2 {
        return Err(CommandError::OutOfRange);
    }
    let Some(hash) = ctx.read_hash(key)? else {
        reply.array(0);
        return Ok(());
    };
    // With RESP3 each field comes in an array with its value.
    let (nested, seed) = (with_values && reply.is_resp3(), random.next_u64());
    let begin = |reply: &mut Reply<'_>, count: usize| {
        reply.array(if with_values && !nested { count * 2 } else { count });
    };
    let write = |reply: &mut Reply<'_>, field: Entry<'_>, value: Entry<'_>| {
        if nested {
            reply.array(2);
        }
        write_entry(reply, field);
        if with_values {
            write_entry(reply, value);
        }
    };

    let len = hash.visible_len();
    let wanted = count.unsigned_abs() as usize;
    if len == 0 || count == 0 {
        reply.array(0);
    } else if count < 0 {
        refuse_endless(count, bytes_max)?;
        begin(reply, wanted);
        for _ in 0..wanted {
            if reply.bytes() > bytes_max {
                break;
            }
            let (field, value) = hash.random(|| random.next_u64()).expect("not empty");
            write(reply, field, value);
        }
    } else if wanted >= len {
        begin(reply, len);
        hash.for_each(|field, value| write(reply, field, value));
    } else if matches!(hash, HashRef::Packed(_)) || wanted > len / 3 {
        begin(reply, wanted);
        let mut all = Vec::with_capacity(len);
        hash.for_each(|field, value| all.push((field, value)));
        for place in 0..wanted {
            all.swap(place, place + random.index(len - place));
            let (field, value) = all[place];
            write(reply, field, value);
        }
    } else {
        begin(reply, wanted);
        let mut seen = PackedSet::new(seed);
        while seen.len() < wanted {
            let (field, value) = hash.random(|| random.next_u64()).expect("not empty");
            if seen.insert(field.as_bytes(&mut itoa::Buffer::new()), b"") {
                write(reply, field, value);
            }
        }
    }
    Ok(())
}

/// How many random elements are wanted; a negative number allows the same one several times.
pub(super) fn random_count(args: &mut Args<'_>) -> Result<i64, CommandError> {
    const OUT_OF_RANGE: CommandError = CommandError::Text(
        "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
    );
    args.integer_in(-i64::MAX, i64::MAX, OUT_OF_RANGE)
}

/// A reply of so many random elements would not end, unless its client's output limit ends it.
pub(super) fn refuse_endless(count: i64, bytes_max: usize) -> CommandResult {
    if count.unsigned_abs() > RANDOM_COUNT_MAX && bytes_max == usize::MAX {
        return Err(CommandError::OutOfRange);
    }
    Ok(())
}

const HSCAN: CommandSpec = CommandSpec {
    name: "HSCAN",
    full_name: "hscan",
    arity: Arity::AtLeast(3),
    flags: Flags::of(&[Flag::ReadOnly]),
    group: Group::Hash,
    keys: &[KeySpec::at(1, Access::Read, &["access"])],
    since: "2.8.0",
    complexity: "O(1) for each call, O(N) for all fields.",
    summary: "Walks through the fields of a hash, some with each call.",
    args: &[
        Arg::key("key"),
        Arg::integer("cursor"),
        Arg::new("pattern", Kind::Pattern).after("MATCH").optional(),
        Arg::integer("count").after("COUNT").optional(),
        Arg::token("novalues", "NOVALUES").optional().since("7.4.0"),
    ],
    tips: &["nondeterministic_output"],
    handler: Handler::Shard(hscan),
    ..DEFAULTS
};

fn hscan(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let key = args.bytes()?;
    let cursor = parse_cursor(args.bytes()?)?;
    let Some(hash) = ctx.read_hash(key)? else {
        write_cursor(reply, 0);
        reply.array(0);
        return Ok(());
    };
    let options = ScanOptions::parse(args, true)?;
    let mut encoded = Vec::new();
    let mut fields = Reply::new(&mut encoded, reply.protocol());
    let mut found = 0;
    let next = hash.scan(cursor, options.count, |field, value| {
        if options.matches(field.as_bytes(&mut itoa::Buffer::new())) {
            write_entry(&mut fields, field);
            found += 1;
            if !options.no_values {
                write_entry(&mut fields, value);
                found += 1;
            }
        }
    });
    write_cursor(reply, next);
    reply.array(found);
    reply.raw(&encoded);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::{Cores, check, check_new};
    use crate::resp::Value;
    use std::collections::HashSet;

    fn run(cores: &mut Cores, line: &str) -> Value {
        cores.run(&line.split(' ').collect::<Vec<_>>())
    }

    #[test]
    fn fields_are_set_and_read() {
        check(
            r#"
            > HSET h a 1 b 2
            :2
            > HSET h a 3 c 4
            :1
            > HGET h a
            $3
            > HGET h missing
            nil
            > HGET missing a
            nil
            > HSET h a
            -ERR wrong number of arguments for 'hset' command
            > HSET h a 1 b
            -ERR wrong number of arguments for 'hset' command
            > HMSET h a 1 b
            -ERR wrong number of arguments for 'hmset' command
            > hMsEt h d 5
            +OK
            > HMGET h a x d
            [$3, nil, $5]
            > HMGET missing a b
            [nil, nil]
            > HGETALL h
            [$a, $3, $b, $2, $c, $4, $d, $5]
            > HKEYS h
            [$a, $b, $c, $d]
            > HVALS h
            [$3, $2, $4, $5]
            > HGETALL missing
            []
            > HKEYS missing
            []
            > HVALS missing
            []
            > HLEN h
            :4
            > HLEN missing
            :0
            > HEXISTS h a
            :1
            > HEXISTS h x
            :0
            > HEXISTS missing x
            :0
            > HSTRLEN h a
            :1
            > HSTRLEN h x
            :0
            > HSETNX h a 9
            :0
            > HSETNX h e ""
            :1
            > HGET h e
            $
            > OBJECT ENCODING h
            $listpack
            > TYPE h
            +hash
            > HDEL h a x a e
            :2
            > HDEL h b c d
            :3
            > EXISTS h
            :0
            > HDEL h b
            :0
            > HSET h a 1
            :1
            @ resp3
            > HGETALL h
            {$a: $1}
            > HGETALL missing
            {}
            > HKEYS h
            [$a]
            "#,
        );
    }

    #[test]
    fn other_types_are_refused() {
        check(
            "
            > SET s v
            +OK
            > HSET s a 1
            -WRONGTYPE Operation against a key holding the wrong kind of value
            > HMSET s a 1
            -WRONGTYPE Operation against a key holding the wrong kind of value
            > HSETNX s a 1
            -WRONGTYPE Operation against a key holding the wrong kind of value
            > HGET s a
            -WRONGTYPE Operation against a key holding the wrong kind of value
            > HMGET s a b
            -WRONGTYPE Operation against a key holding the wrong kind of value
            > HGETALL s
            -WRONGTYPE Operation against a key holding the wrong kind of value
            > HDEL s a
            -WRONGTYPE Operation against a key holding the wrong kind of value
            > HLEN s
            -WRONGTYPE Operation against a key holding the wrong kind of value
            > HEXISTS s a
            -WRONGTYPE Operation against a key holding the wrong kind of value
            > HSTRLEN s a
            -WRONGTYPE Operation against a key holding the wrong kind of value
            > HINCRBY s a 1
            -WRONGTYPE Operation against a key holding the wrong kind of value
            > HINCRBY s a x
            -ERR value is not an integer or out of range
            > HINCRBYFLOAT s a 1
            -WRONGTYPE Operation against a key holding the wrong kind of value
            > HRANDFIELD s
            -WRONGTYPE Operation against a key holding the wrong kind of value
            > HRANDFIELD s 2
            -WRONGTYPE Operation against a key holding the wrong kind of value
            > HSCAN s 0
            -WRONGTYPE Operation against a key holding the wrong kind of value
            > HSCAN s x
            -ERR invalid cursor
            > SADD s a
            -WRONGTYPE Operation against a key holding the wrong kind of value
            > HSET h a 1
            :1
            > GET h
            -WRONGTYPE Operation against a key holding the wrong kind of value
            > APPEND h x
            -WRONGTYPE Operation against a key holding the wrong kind of value
            > SADD h x
            -WRONGTYPE Operation against a key holding the wrong kind of value
            ",
        );
    }

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

    #[test]
    fn random_fields() {
        check(
            "
            > HRANDFIELD missing
            nil
            > HRANDFIELD missing 3
            []
            > HSET h a 1
            :1
            > HRANDFIELD h
            $a
            > HRANDFIELD h 3
            [$a]
            > HRANDFIELD h 0
            []
            > HRANDFIELD h -3
            [$a, $a, $a]
            > HRANDFIELD h 3 WITHVALUES
            [$a, $1]
            > HRANDFIELD h -2 withvalues
            [$a, $1, $a, $1]
            > HRANDFIELD h x
            -ERR value is not an integer or out of range
            > HRANDFIELD h 1 values
            -ERR syntax error
            > HRANDFIELD h 1 withvalues x
            -ERR syntax error
            > HRANDFIELD h -9223372036854775808
            -ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807
            > HRANDFIELD h -9223372036854770000 WITHVALUES
            -ERR value is out of range
            @ resp3
            > HRANDFIELD h -2 WITHVALUES
            [[$a, $1], [$a, $1]]
            > HRANDFIELD h 2 WITHVALUES
            [[$a, $1]]
            > HRANDFIELD missing 2 WITHVALUES
            []
            ",
        );
    }

    #[test]
    fn scans() {
        check(
            "
            > HSCAN missing 0
            [$0, []]
            > HSCAN missing 0 COUNT x
            [$0, []]
            > HSET h aa 1 ab 2 b 3
            :3
            > HSCAN h 0
            [$0, [$aa, $1, $ab, $2, $b, $3]]
            > HSCAN h 0 MATCH a* COUNT 1
            [$0, [$aa, $1, $ab, $2]]
            > HSCAN h 0 COUNT 0
            -ERR syntax error
            > HSCAN h 0 COUNT x
            -ERR value is not an integer or out of range
            > HSCAN h 0 TYPE hash
            -ERR syntax error
            > HSCAN h 0 MATCH
            -ERR syntax error
            > HSCAN h abc
            -ERR invalid cursor
            ",
        );
        check_new(
            "
            > HSET h aa 1 ab 2 b 3
            :3
            > HSCAN h 0 MATCH a* NOVALUES
            [$0, [$aa, $ab]]
            ",
        );
    }

    #[test]
    fn a_large_hash_is_walked_completely() {
        let mut cores = Cores::new(1);
        for number in 0..2000 {
            run(&mut cores, &format!("HSET h field{number} value{number}"));
        }
        let mut cursor = "0".to_owned();
        let mut seen = HashSet::new();
        loop {
            let reply = run(&mut cores, &format!("HSCAN h {cursor} COUNT 20"));
            let Value::Array(parts) = reply else { panic!("{reply:?}") };
            let [Value::Bulk(next), Value::Array(elements)] = &parts[..] else { panic!("{parts:?}") };
            for pair in elements.chunks(2) {
                assert!(seen.insert(format!("{:?}", pair[0])));
            }
            cursor = String::from_utf8(next.to_vec()).expect("digits");
            if cursor == "0" {
                break;
            }
        }
        assert_eq!(seen.len(), 2000);
        let Value::Array(some) = run(&mut cores, "HRANDFIELD h 100") else { panic!("an array") };
        let Value::Array(many) = run(&mut cores, "HRANDFIELD h 1900") else { panic!("an array") };
        for (elements, count) in [(some, 100), (many, 1900)] {
            let different: HashSet<String> = elements.iter().map(|element| format!("{element:?}")).collect();
            assert_eq!(different.len(), count);
        }
    }
}
