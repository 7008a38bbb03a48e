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
