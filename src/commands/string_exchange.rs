//! Strings that are returned and changed at once: GETSET, GETEX, GETDEL.

use super::string::replace;
use super::string_options::{Condition, Expiry, Options, Reader};
use crate::command_table::{
    Access, Arg, Args, Arity, CommandSpec, DEFAULTS, Flag, Flags, Group, Handler, KeySpec, Kind,
};
use crate::keyspace::Ttl;
use crate::resp::Reply;
use crate::shard::{CommandError, CommandResult, Context, Event};

pub(super) const COMMANDS: &[&CommandSpec] = &[&GETSET, &GETEX, &GETDEL];

const GETSET: CommandSpec = CommandSpec {
    name: "GETSET",
    full_name: "getset",
    arity: Arity::Exactly(3),
    flags: Flags::of(&[Flag::Write, Flag::DenyOom, Flag::Fast]),
    group: Group::String,
    keys: &[KeySpec::at(1, Access::Update, &["access", "update"])],
    summary: "Sets a key to a string and returns the one it held before.",
    args: &[Arg::key("key"), Arg::string("value")],
    handler: Handler::Shard(getset),
    ..DEFAULTS
};

fn getset(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (key, value) = (args.bytes()?, args.bytes()?);
    let (found, verdict) = match ctx.write(key) {
        None => (false, Ok(true)),
        Some(mut entry) => (true, replace(&mut entry, value, Ttl::Clear, &Condition::Always, Some(reply))),
    };
    ctx.count_read(found);
    verdict?;
    if !found {
        reply.null();
        ctx.set_string(key, value, Ttl::Clear);
    }
    ctx.modified(key, Event::Set);
    ctx.propagate(&[b"SET", key, value]);
    Ok(())
}

const GETEX: CommandSpec = CommandSpec {
    name: "GETEX",
    full_name: "getex",
    arity: Arity::AtLeast(2),
    flags: Flags::of(&[Flag::Write, Flag::Fast]),
    group: Group::String,
    keys: &[KeySpec::at(1, Access::Update, &["access", "update"])],
    since: "6.2.0",
    summary: "Returns the string that a key holds, and sets or removes the key's deadline.",
    args: &[
        Arg::key("key"),
        Arg::one_of(
            "expiration",
            &[
                Arg::integer("seconds").after("EX"),
                Arg::integer("milliseconds").after("PX"),
                Arg::new("unix-time-seconds", Kind::UnixTime).after("EXAT"),
                Arg::new("unix-time-milliseconds", Kind::UnixTime).after("PXAT"),
                Arg::token("persist", "PERSIST"),
            ],
        )
        .optional(),
    ],
    handler: Handler::Shard(getex),
    ..DEFAULTS
};

fn getex(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let key = args.bytes()?;
    let Options { expiry, .. } = Options::parse(args, Reader::GetEx)?;
    let (now, lazily) = (ctx.now, ctx.shard.options.lazy_server_del);
    let Some(mut entry) = ctx.write(key) else {
        ctx.count_read(false);
        reply.null();
        return Ok(());
    };
    let ttl = match entry.entry().as_string() {
        None => Err(CommandError::WrongType),
        Some(string) => {
            reply.bulk(string.as_bytes(&mut itoa::Buffer::new()));
            expiry.resolve(now, "getex")
        }
    };
    let mut deadline_set = None;
    let event = ttl.map(|ttl| match ttl {
        // A moment that was named and is over; one that was counted from now never is.
        Ttl::At(deadline) if !expiry.is_relative() && deadline <= now => {
            entry.remove(lazily);
            Some(Event::Del)
        }
        Ttl::At(deadline) => {
            entry.set_deadline(Some(deadline));
            deadline_set = Some(deadline);
            Some(Event::Expire)
        }
        _ if expiry == Expiry::Persist && entry.entry().deadline().is_some() => {
            entry.set_deadline(None);
            Some(Event::Persist)
        }
        _ => None,
    });
    ctx.count_read(true);
    if let Some(event) = event? {
        ctx.modified(key, event);
        match (event, deadline_set) {
            (_, Some(deadline)) => {
                ctx.propagate(&[b"PEXPIREAT", key, itoa::Buffer::new().format(deadline.0).as_bytes()]);
            }
            (Event::Persist, _) => ctx.propagate(&[b"PERSIST", key]),
            _ => ctx.propagate_deletion(key, lazily),
        }
    }
    Ok(())
}

const GETDEL: CommandSpec = CommandSpec {
    name: "GETDEL",
    full_name: "getdel",
    arity: Arity::Exactly(2),
    flags: Flags::of(&[Flag::Write, Flag::Fast]),
    group: Group::String,
    keys: &[KeySpec::at(1, Access::Update, &["access", "delete"])],
    since: "6.2.0",
    summary: "Returns the string that a key holds and deletes the key.",
    args: &[Arg::key("key")],
    handler: Handler::Shard(getdel),
    ..DEFAULTS
};

fn getdel(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let key = args.bytes()?;
    let Some(entry) = ctx.write(key) else {
        ctx.count_read(false);
        reply.null();
        return Ok(());
    };
    let is_string = match entry.entry().as_string() {
        None => false,
        Some(string) => {
            reply.bulk(string.as_bytes(&mut itoa::Buffer::new()));
            entry.remove(false);
            true
        }
    };
    ctx.count_read(true);
    if !is_string {
        return Err(CommandError::WrongType);
    }
    ctx.modified(key, Event::Del);
    ctx.propagate_deletion(key, false);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::check;

    #[test]
    fn getset() {
        check(
            "
            > GETSET k a
            nil
            > GETSET k 1
            $a
            > OBJECT ENCODING k
            $int
            > EXPIRE k 100
            :1
            > GETSET k b
            $1
            > TTL k
            :-1
            > GETSET k
            -ERR wrong number of arguments for 'getset' command
            ",
        );
    }

    #[test]
    fn getex() {
        check(
            "
            > GETEX k
            nil
            > GETEX k EX 10
            nil
            > SET k 5
            +OK
            > GETEX k
            $5
            > TTL k
            :-1
            > GETEX k EX 100
            $5
            > TTL k
            :100
            > GETEX k PX 200000
            $5
            > TTL k
            :200
            > GETEX k
            $5
            > TTL k
            :200
            > GETEX k EXAT 33177117420
            $5
            > EXPIRETIME k
            :33177117420
            > GETEX k PXAT 33177117420123
            $5
            > PEXPIRETIME k
            :33177117420123
            > GETEX k PERSIST
            $5
            > TTL k
            :-1
            > GETEX k PERSIST
            $5
            > GETEX k PERSIST EX 10
            -ERR syntax error
            > GETEX k EX 10 PERSIST
            -ERR syntax error
            > GETEX k EX 10 PX 10
            -ERR syntax error
            > GETEX k KEEPTTL
            -ERR syntax error
            > GETEX k EX
            -ERR syntax error
            > GETEX k EX 0
            -ERR invalid expire time in 'getex' command
            > GETEX k EX abc
            -ERR value is not an integer or out of range
            > GETEX k PX 9223372036854775807
            -ERR invalid expire time in 'getex' command
            > GETEX k NX
            -ERR syntax error
            > TTL k
            :-1
            > GETEX k EXAT 1
            $5
            > EXISTS k
            :0
            > SET k v
            +OK
            > GETEX k PXAT 1
            $v
            > EXISTS k
            :0
            > GETEX missing EX 0
            nil
            > SET k v
            +OK
            > GETEX k PX 20
            $v
            @ later 40
            > GETEX k
            nil
            ",
        );
    }

    #[test]
    fn getdel_and_strlen() {
        check(
            r#"
            > GETDEL k
            nil
            > SET k 10
            +OK
            > GETDEL k
            $10
            > EXISTS k
            :0
            > SET k v EX 100
            +OK
            > GETDEL k
            $v
            > SET k w
            +OK
            > TTL k
            :-1
            > STRLEN k
            :1
            > SET k 12345
            +OK
            > STRLEN k
            :5
            > SET k -1
            +OK
            > STRLEN k
            :2
            > STRLEN missing
            :0
            > SET k ""
            +OK
            > STRLEN k
            :0
            > GETDEL k
            $
            > GETDEL k
            nil
            "#,
        );
    }
}
