//! Hashes by their fields: HSET, HGET, HDEL and their kin. Numbers in fields are in `hash_counter`, walks and random
//! fields in `hash_scan`, deadlines of fields in `hash_expire` and `hash_exchange`.

use super::entry_reply::{write_entry, write_value};
use crate::command_table::{
    Access, Arg, Args, Arity, CommandSpec, DEFAULTS, Flag, Flags, Group, Handler, KeySpec,
};
use crate::resp::Reply;
use crate::shard::{CommandError, CommandResult, Context, Event};
use crate::types::HashRef;

pub(super) const COMMANDS: &[&CommandSpec] =
    &[&HSET, &HMSET, &HSETNX, &HGET, &HMGET, &HGETALL, &HDEL, &HLEN, &HEXISTS, &HKEYS, &HVALS, &HSTRLEN];

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
    summary: "Sets several fields of a hash.",
    handler: Handler::Shard(hmset),
    ..HSET
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
    summary: "Returns the values of all fields of a hash.",
    handler: Handler::Shard(hvals),
    ..HKEYS
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

#[cfg(test)]
mod tests {
    use crate::commands::testing::check;

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
}
