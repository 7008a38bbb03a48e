//! Strings of one key: GET, SET and their kin.

use super::string_options::{Condition, Expiry, Options, Reader, Unit};
use crate::command_table::{
    Access, Arg, Args, Arity, CommandSpec, DEFAULTS, Flag, Flags, Group, Handler, KeySpec, Kind,
};
use crate::keyspace::{EntryMut, Ttl};
use crate::resp::Reply;
use crate::shard::{CommandError, CommandResult, Context, Event};

pub(super) const COMMANDS: &[&CommandSpec] = &[&GET, &SET, &SETNX, &SETEX, &PSETEX, &STRLEN];

const GET: CommandSpec = CommandSpec {
    name: "GET",
    full_name: "get",
    arity: Arity::Exactly(2),
    flags: Flags::of(&[Flag::ReadOnly, Flag::Fast]),
    group: Group::String,
    keys: &[KeySpec::at(1, Access::Read, &["access"])],
    summary: "Returns the string that a key holds.",
    args: &[Arg::key("key")],
    handler: Handler::Shard(get),
    ..DEFAULTS
};

fn get(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    match ctx.read_string(args.bytes()?)? {
        Some(string) => reply.bulk(string.as_bytes(&mut itoa::Buffer::new())),
        None => reply.null(),
    }
    Ok(())
}

const SET: CommandSpec = CommandSpec {
    name: "SET",
    full_name: "set",
    arity: Arity::AtLeast(3),
    flags: Flags::of(&[Flag::Write, Flag::DenyOom]),
    group: Group::String,
    keys: &[KeySpec::at(1, Access::Update, &["access", "update", "variable_flags"])],
    summary: "Sets a key to a string, whatever it held; on a condition and with a deadline if asked to.",
    args: &[
        Arg::key("key"),
        Arg::string("value"),
        Arg::one_of(
            "condition",
            &[
                Arg::token("nx", "NX"),
                Arg::token("xx", "XX"),
                Arg::string("ifeq-value").after("IFEQ").since("8.4.0"),
                Arg::string("ifne-value").after("IFNE").since("8.4.0"),
                Arg::string("ifdeq-digest").after("IFDEQ").since("8.4.0"),
                Arg::string("ifdne-digest").after("IFDNE").since("8.4.0"),
            ],
        )
        .optional()
        .since("2.6.12"),
        Arg::token("get", "GET").optional().since("6.2.0"),
        Arg::one_of(
            "expiration",
            &[
                Arg::integer("seconds").after("EX").since("2.6.12"),
                Arg::integer("milliseconds").after("PX").since("2.6.12"),
                Arg::new("unix-time-seconds", Kind::UnixTime).after("EXAT").since("6.2.0"),
                Arg::new("unix-time-milliseconds", Kind::UnixTime).after("PXAT").since("6.2.0"),
                Arg::token("keepttl", "KEEPTTL").since("6.0.0"),
            ],
        )
        .optional(),
    ],
    handler: Handler::Shard(set),
    ..DEFAULTS
};

fn set(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (key, value) = (args.bytes()?, args.bytes()?);
    if args.remaining() > 0 {
        return set_with_options(ctx, key, value, args, reply);
    }
    ctx.set_string(key, value, Ttl::Clear);
    ctx.modified(key, Event::Set);
    reply.ok();
    Ok(())
}

fn set_with_options(
    ctx: &mut Context<'_>,
    key: &[u8],
    value: &[u8],
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> CommandResult {
    let name = &args.argv()[0];
    let Options { condition, get, expiry } = Options::parse(args, Reader::Set)?;
    let ttl = expiry.resolve(ctx.now, "set")?;
    if condition == Condition::Absent && !get {
        // How locks are taken.
        if ctx.add_string(key, value, ttl) {
            declare_set(ctx, key, ttl);
            propagate_set(ctx, name, key, value, ttl, condition);
            reply.ok();
        } else {
            reply.null();
        }
        return Ok(());
    }
    let (found, verdict) = match ctx.write(key) {
        None => (false, Ok(condition.allows_absent())),
        Some(mut entry) => (true, replace(&mut entry, value, ttl, &condition, get.then_some(&mut *reply))),
    };
    if get {
        ctx.count_read(found);
    }
    let allowed = verdict?;
    if !found {
        if get {
            reply.null();
        }
        if allowed {
            ctx.set_string(key, value, ttl);
        }
    }
    if allowed {
        declare_set(ctx, key, ttl);
        propagate_set(ctx, name, key, value, ttl, condition);
    }
    match (get, allowed) {
        (true, _) => {}
        (false, true) => reply.ok(),
        (false, false) => reply.null(),
    }
    Ok(())
}

/// Declares a value that was set, and its deadline.
pub(super) fn declare_set(ctx: &mut Context<'_>, key: &[u8], ttl: Ttl) {
    ctx.modified(key, Event::Set);
    if matches!(ttl, Ttl::At(_)) {
        ctx.announce(key, Event::Expire);
    }
}

/// Journals a SET without what it has returned, with its deadline as a time. As in Redis a condition stays if there is no
/// deadline; those that not every version knows do not.
pub(super) fn propagate_set(
    ctx: &mut Context<'_>,
    name: &[u8],
    key: &[u8],
    value: &[u8],
    ttl: Ttl,
    condition: Condition<'_>,
) {
    if !ctx.journals() {
        return;
    }
    let mut argv = vec![name, key, value];
    match condition {
        Condition::Absent if ttl == Ttl::Clear => argv.push(b"NX"),
        Condition::Present if ttl == Ttl::Clear => argv.push(b"XX"),
        _ => {}
    }
    let mut digits = itoa::Buffer::new();
    match ttl {
        Ttl::At(deadline) => argv.extend([b"PXAT", digits.format(deadline.0).as_bytes()]),
        Ttl::Keep => argv.push(b"KEEPTTL"),
        Ttl::Clear => {}
    }
    ctx.propagate(&argv);
}

/// Shows the old value if somebody wants it, then replaces it if the condition allows.
pub(super) fn replace(
    entry: &mut EntryMut<'_>,
    value: &[u8],
    ttl: Ttl,
    condition: &Condition<'_>,
    show: Option<&mut Reply<'_>>,
) -> Result<bool, CommandError> {
    let old = entry.entry().as_string();
    let allowed = condition.allows(old)?;
    if let Some(reply) = show {
        let old = old.ok_or(CommandError::WrongType)?;
        reply.bulk(old.as_bytes(&mut itoa::Buffer::new()));
    }
    if allowed {
        entry.set_string(value, ttl);
    }
    Ok(allowed)
}

const SETNX: CommandSpec = CommandSpec {
    name: "SETNX",
    full_name: "setnx",
    arity: Arity::Exactly(3),
    flags: Flags::of(&[Flag::Write, Flag::DenyOom, Flag::Fast]),
    group: Group::String,
    keys: &[KeySpec::at(1, Access::Overwrite, &["insert"])],
    summary: "Sets a key to a string unless the key exists.",
    args: &[Arg::key("key"), Arg::string("value")],
    handler: Handler::Shard(setnx),
    ..DEFAULTS
};

fn setnx(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (key, value) = (args.bytes()?, args.bytes()?);
    let added = ctx.add_string(key, value, Ttl::Clear);
    if added {
        ctx.modified(key, Event::Set);
    }
    reply.integer(added.into());
    Ok(())
}

const SETEX: CommandSpec = CommandSpec {
    name: "SETEX",
    full_name: "setex",
    arity: Arity::Exactly(4),
    flags: Flags::of(&[Flag::Write, Flag::DenyOom]),
    group: Group::String,
    keys: &[KeySpec::at(1, Access::Overwrite, &["update"])],
    since: "2.0.0",
    summary: "Sets a key to a string that lives for some seconds.",
    args: &[Arg::key("key"), Arg::integer("seconds"), Arg::string("value")],
    handler: Handler::Shard(setex),
    ..DEFAULTS
};

const PSETEX: CommandSpec = CommandSpec {
    name: "PSETEX",
    full_name: "psetex",
    since: "2.6.0",
    summary: "Sets a key to a string that lives for some milliseconds.",
    args: &[Arg::key("key"), Arg::integer("milliseconds"), Arg::string("value")],
    handler: Handler::Shard(psetex),
    ..SETEX
};

fn setex(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    set_for(ctx, args, Unit::Seconds, "setex", reply)
}

fn psetex(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    set_for(ctx, args, Unit::Milliseconds, "psetex", reply)
}

fn set_for(
    ctx: &mut Context<'_>,
    mut args: Args<'_>,
    unit: Unit,
    command: &'static str,
    reply: &mut Reply<'_>,
) -> CommandResult {
    let (key, time, value) = (args.bytes()?, args.bytes()?, args.bytes()?);
    let ttl = Expiry::After(unit, time).resolve(ctx.now, command)?;
    ctx.set_string(key, value, ttl);
    declare_set(ctx, key, ttl);
    propagate_set(ctx, b"SET", key, value, ttl, Condition::Always);
    reply.ok();
    Ok(())
}

const STRLEN: CommandSpec = CommandSpec {
    name: "STRLEN",
    full_name: "strlen",
    arity: Arity::Exactly(2),
    flags: Flags::of(&[Flag::ReadOnly, Flag::Fast]),
    group: Group::String,
    keys: &[KeySpec::at(1, Access::Read, &[])],
    since: "2.2.0",
    summary: "Returns the length of a string.",
    args: &[Arg::key("key")],
    handler: Handler::Shard(strlen),
    ..DEFAULTS
};

fn strlen(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    reply.length(ctx.read_string(args.bytes()?)?.map_or(0, |string| string.len()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::check;

    #[test]
    fn get_and_set_in_every_encoding() {
        check(
            r#"
            > GET k
            nil
            > SET k hello
            +OK
            > GET k
            $hello
            > OBJECT ENCODING k
            $embstr
            > SET k 12345
            +OK
            > GET k
            $12345
            > OBJECT ENCODING k
            $int
            > SET k -9223372036854775808
            +OK
            > OBJECT ENCODING k
            $int
            > SET k 9223372036854775808
            +OK
            > OBJECT ENCODING k
            $embstr
            > SET k 012
            +OK
            > OBJECT ENCODING k
            $embstr
            > SET k ""
            +OK
            > OBJECT ENCODING k
            $embstr
            > GET k
            $
            > SET k aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
            +OK
            > OBJECT ENCODING k
            $embstr
            > SET k aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
            +OK
            > OBJECT ENCODING k
            $raw
            > SET "a\x00b" "\r\n\x00\xff"
            +OK
            > GET "a\x00b"
            $\r\n\x00\xff
            > GET
            -ERR wrong number of arguments for 'get' command
            > SET k
            -ERR wrong number of arguments for 'set' command
            "#,
        );
    }

    #[test]
    fn set_conditions() {
        check(
            "
            > SET k v XX
            nil
            > GET k
            nil
            > SET k v NX
            +OK
            > SET k w nx
            nil
            > GET k
            $v
            > SET k w xx
            +OK
            > SET k v NX XX
            -ERR syntax error
            > SET k v XX NX
            -ERR syntax error
            > SET k v NX NX
            nil
            > SET k v FOO
            -ERR syntax error
            > SET k v GET
            $w
            > SET k u NX GET
            $v
            > GET k
            $v
            > SET k t XX GET
            $v
            > GET k
            $t
            > SET new n GET NX
            nil
            > GET new
            $n
            > SET other n XX GET
            nil
            > GET other
            nil
            > SET k v IFEQ
            -ERR syntax error
            ",
        );
    }

    #[test]
    fn set_deadlines() {
        check(
            "
            > SET k v EX 100
            +OK
            > TTL k
            :100
            > SET k w
            +OK
            > TTL k
            :-1
            > SET k v PX 100000
            +OK
            > TTL k
            :100
            > SET k w KEEPTTL
            +OK
            > TTL k
            :100
            > SET k v EXAT 33177117420
            +OK
            > EXPIRETIME k
            :33177117420
            > SET k v PXAT 33177117420123
            +OK
            > PEXPIRETIME k
            :33177117420123
            > SET k v EX 10 EX 200
            +OK
            > TTL k
            :200
            > SET k v GET EX 300 XX
            $v
            > TTL k
            :300
            > SET k v PXAT 1
            +OK
            > EXISTS k
            :0
            > GET k
            nil
            > SET k v EXAT 1
            +OK
            > SET k w KEEPTTL
            +OK
            > TTL k
            :-1
            > SET k v PX 20
            +OK
            @ later 40
            > GET k
            nil
            > SET k v PX 20
            +OK
            @ later 40
            > SET k w KEEPTTL
            +OK
            > TTL k
            :-1
            > SET k v PX 20
            +OK
            @ later 40
            > SET k w XX
            nil
            > SET k w NX GET
            nil
            ",
        );
    }

    #[test]
    fn set_refuses_in_this_order() {
        check(
            r#"
            > SET k v EX
            -ERR syntax error
            > SET k v EX abc
            -ERR value is not an integer or out of range
            > SET k v EX 10 PX 10
            -ERR syntax error
            > SET k v EX 10 EXAT 10
            -ERR syntax error
            > SET k v EX abc KEEPTTL
            -ERR syntax error
            > SET k v KEEPTTL EX 10
            -ERR syntax error
            > SET k v KEEPTTL KEEPTTL
            +OK
            > SET k v EX 0
            -ERR invalid expire time in 'set' command
            > SET k v EX -1
            -ERR invalid expire time in 'set' command
            > SET k v PX 0
            -ERR invalid expire time in 'set' command
            > SET k v EXAT 0
            -ERR invalid expire time in 'set' command
            > SET k v PXAT -5
            -ERR invalid expire time in 'set' command
            > SET k v EX 9223372036854775807
            -ERR invalid expire time in 'set' command
            > SET k v PX 9223372036854775807
            -ERR invalid expire time in 'set' command
            > SET k v EX 9223372036854775
            -ERR invalid expire time in 'set' command
            > SET k v EX 9223372036854776
            -ERR invalid expire time in 'set' command
            > SET k v EXAT 9223372036854775807
            -ERR invalid expire time in 'set' command
            > SET k v EX 1.5
            -ERR value is not an integer or out of range
            > SET k v EX " 1"
            -ERR value is not an integer or out of range
            > SET k v PERSIST
            -ERR syntax error
            > SET k v EX abc FOO
            -ERR syntax error
            > SET k v XX EX 0
            -ERR invalid expire time in 'set' command
            > GET k
            $v
            "#,
        );
    }

    #[test]
    fn setnx_setex_psetex() {
        check(
            "
            > SETNX k v
            :1
            > SETNX k w
            :0
            > GET k
            $v
            > SETEX k 100 w
            +OK
            > TTL k
            :100
            > SETEX k 0 w
            -ERR invalid expire time in 'setex' command
            > SETEX k -1 w
            -ERR invalid expire time in 'setex' command
            > SETEX k abc w
            -ERR value is not an integer or out of range
            > SETEX k 9223372036854775807 w
            -ERR invalid expire time in 'setex' command
            > PSETEX k 100000 x
            +OK
            > TTL k
            :100
            > PSETEX k 0 w
            -ERR invalid expire time in 'psetex' command
            > PSETEX k 9223372036854775807 w
            -ERR invalid expire time in 'psetex' command
            > GET k
            $x
            > PSETEX k 20 x
            +OK
            @ later 40
            > SETNX k y
            :1
            > TTL k
            :-1
            > SETEX k 10
            -ERR wrong number of arguments for 'setex' command
            > SETEX
            -ERR wrong number of arguments for 'setex' command
            ",
        );
    }
}
