//! Strings compared before they go: DELIFEQ, DELEX, and DIGEST, which makes large values comparable.

use super::string_options::Condition;
use crate::command_table::{
    Access, Arg, Args, Arity, CommandSpec, DEFAULTS, Flag, Flags, Group, Handler, KeySpec,
};
use crate::resp::Reply;
use crate::shard::{CommandError, CommandResult, Context, Event};
use xxhash_rust::xxh3::xxh3_64;

pub(super) const COMMANDS: &[&CommandSpec] = &[&DELIFEQ, &DELEX, &DIGEST];

const DELIFEQ: CommandSpec = CommandSpec {
    name: "DELIFEQ",
    full_name: "delifeq",
    arity: Arity::Exactly(3),
    flags: Flags::of(&[Flag::Write]),
    group: Group::String,
    keys: &[KeySpec::at(1, Access::Remove, &["access", "delete"])],
    since: "9.0.0",
    summary: "Deletes a key if it holds this string.",
    args: &[Arg::key("key"), Arg::string("value")],
    handler: Handler::Shard(delifeq),
    ..DEFAULTS
};

fn delifeq(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (key, value) = (args.bytes()?, args.bytes()?);
    delete_if(ctx, key, CommandError::WrongType, reply, || Ok(Condition::Equals(value)))
}

const DELEX: CommandSpec = CommandSpec {
    name: "DELEX",
    full_name: "delex",
    arity: Arity::AtLeast(2),
    flags: Flags::of(&[Flag::Write, Flag::Fast]),
    group: Group::String,
    keys: &[KeySpec::at(1, Access::Update, &["delete", "variable_flags"])],
    since: "8.4.0",
    complexity: "O(1) for IFEQ and IFNE; O(N) for IFDEQ and IFDNE, where N is the length of the string.",
    summary: "Deletes a key if its string, or the digest of it, is this one or is not.",
    args: &[
        Arg::key("key"),
        Arg::one_of(
            "condition",
            &[
                Arg::string("ifeq-value").after("IFEQ"),
                Arg::string("ifne-value").after("IFNE"),
                Arg::string("ifdeq-digest").after("IFDEQ"),
                Arg::string("ifdne-digest").after("IFDNE"),
            ],
        )
        .optional(),
    ],
    handler: Handler::Shard(delex),
    ..DEFAULTS
};

fn delex(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let key = args.bytes()?;
    let condition = match (args.next(), args.next(), args.next()) {
        (None, ..) => None,
        (Some(option), Some(value), None) => Some((option, value)),
        _ => return Err(CommandError::WrongArity("delex")),
    };
    let Some((option, value)) = condition else {
        let lazily = ctx.shard.options.lazy_user_del;
        let removed = ctx.remove(key, lazily);
        if removed {
            ctx.modified(key, Event::Del);
            ctx.propagate_deletion(key, lazily);
        }
        reply.integer(removed.into());
        return Ok(());
    };
    let other_type = CommandError::Text("ERR Key should be of string type if conditions are specified");
    delete_if(ctx, key, other_type, reply, || {
        let named = |name: &str| option.eq_ignore_ascii_case(name.as_bytes());
        Ok(match () {
            () if named("IFEQ") => Condition::Equals(value),
            () if named("IFNE") => Condition::Differs(value),
            () if named("IFDEQ") => Condition::DigestEquals(value),
            () if named("IFDNE") => Condition::DigestDiffers(value),
            () => return Err(CommandError::Text("ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE")),
        })
    })
}

/// Deletes the key if it holds a string that fulfils the condition, which is only asked for then.
fn delete_if<'c>(
    ctx: &mut Context<'_>,
    key: &[u8],
    other_type: CommandError,
    reply: &mut Reply<'_>,
    condition: impl FnOnce() -> Result<Condition<'c>, CommandError>,
) -> CommandResult {
    let lazily = ctx.shard.options.lazy_server_del;
    let deleted = match ctx.write(key) {
        None => false,
        Some(entry) => {
            let string = entry.entry().as_string().ok_or(other_type)?;
            let verdict = condition()?.allows(Some(string))?;
            if verdict {
                entry.remove(lazily);
            }
            verdict
        }
    };
    if deleted {
        ctx.modified(key, Event::Del);
        ctx.propagate_deletion(key, lazily);
    }
    reply.integer(deleted.into());
    Ok(())
}

const DIGEST: CommandSpec = CommandSpec {
    name: "DIGEST",
    full_name: "digest",
    arity: Arity::Exactly(2),
    flags: Flags::of(&[Flag::ReadOnly, Flag::Fast]),
    group: Group::String,
    keys: &[KeySpec::at(1, Access::Read, &["access"])],
    since: "8.4.0",
    complexity: "O(N) where N is the length of the string.",
    summary: "Returns the XXH3 digest of a string in hexadecimal.",
    args: &[Arg::key("key")],
    handler: Handler::Shard(digest),
    ..DEFAULTS
};

fn digest(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    match ctx.read_string(args.bytes()?)? {
        Some(string) => {
            let digest = xxh3_64(string.as_bytes(&mut itoa::Buffer::new()));
            reply.bulk(format!("{digest:016x}").as_bytes());
        }
        None => reply.null(),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::check_new;

    #[test]
    fn delifeq() {
        check_new(
            "
            > DELIFEQ k v
            :0
            > SET k v
            +OK
            > DELIFEQ k w
            :0
            > DELIFEQ k v
            :1
            > EXISTS k
            :0
            > SET k 10
            +OK
            > DELIFEQ k 010
            :0
            > DELIFEQ k 10
            :1
            > SET k v PX 20
            +OK
            @ later 40
            > DELIFEQ k v
            :0
            > DELIFEQ k
            -ERR wrong number of arguments for 'delifeq' command
            ",
        );
    }

    #[test]
    fn delex() {
        check_new(
            "
            > SET k v
            +OK
            > DELEX k IFEQ w
            :0
            > DELEX k IFNE v
            :0
            > DELEX k ifeq v
            :1
            > DELEX k IFEQ v
            :0
            > DELEX k IFNE v
            :0
            > SET k v
            +OK
            > DELEX k IFNE w
            :1
            > SET k v
            +OK
            > DELEX k
            :1
            > DELEX k
            :0
            > DELEX k FOO bar
            :0
            > SET k v
            +OK
            > DELEX k FOO bar
            -ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE
            > DELEX k IFEQ
            -ERR wrong number of arguments for 'delex' command
            > DELEX k IFEQ v IFNE v
            -ERR wrong number of arguments for 'delex' command
            > DELEX k IFDEQ abc
            -ERR must be exactly 16 hexadecimal characters
            > DELEX k IFDEQ 000000000000000g
            :0
            > DELEX k IFDEQ 0000000000000000
            :0
            > DELEX k IFDNE 0000000000000000
            :1
            ",
        );
    }

    /// The digest of no bytes is one of the algorithm's published test vectors.
    #[test]
    fn digests() {
        check_new(
            r#"
            > DIGEST k
            nil
            > SET k ""
            +OK
            > DIGEST k
            $2d06800538d394c2
            > SET k 1 IFDEQ 2D06800538D394C2
            +OK
            > SET k 2 IFDEQ 2d06800538d394c2
            nil
            > SET k "" IFDNE 2d06800538d394c2
            +OK
            > SET k 2 IFDNE 2d06800538d394c2
            nil
            > DELEX k IFDNE 2d06800538d394c2
            :0
            > DELEX k IFDEQ 2D06800538D394C2
            :1
            > SET k 2 IFDEQ 2d06800538d394c2
            nil
            > SET k 2 IFDNE 2d06800538d394c2
            +OK
            > SET k 2 IFDEQ 2d06
            -ERR must be exactly 16 hexadecimal characters
            > DIGEST
            -ERR wrong number of arguments for 'digest' command
            "#,
        );
    }

    #[test]
    fn set_compares_first() {
        check_new(
            "
            > SET k v IFEQ v
            nil
            > SET k v IFEQ v GET
            nil
            > EXISTS k
            :0
            > SET k v IFNE v
            +OK
            > SET k w IFEQ x
            nil
            > SET k w IFEQ v EX 100
            +OK
            > TTL k
            :100
            > SET k 10 ifeq w KEEPTTL
            +OK
            > TTL k
            :100
            > SET k x IFEQ y GET
            $10
            > SET k x IFEQ 10 GET
            $10
            > TTL k
            :-1
            > SET k y IFNE x
            nil
            > SET k y IFNE w
            +OK
            > SET k v IFEQ
            -ERR syntax error
            > SET k v IFEQ y NX
            -ERR syntax error
            > SET k v XX IFEQ y
            -ERR syntax error
            > SET k v IFEQ y IFNE x
            -ERR syntax error
            > SET k y IFEQ x IFEQ y
            +OK
            > SET k v IFEQ y EX 0
            -ERR invalid expire time in 'set' command
            > GET k
            $y
            ",
        );
    }
}
