//! Saving: nothing is saved yet, and the commands say so.

use crate::command_table::{Arg, Args, Arity, Category, CommandSpec, DEFAULTS, Flag, Flags, Group, Handler};
use crate::resp::Reply;
use crate::session::Session;
use crate::shard::{CommandError, CommandResult};

pub(super) const COMMANDS: &[&CommandSpec] = &[&SAVE, &BGSAVE, &BGREWRITEAOF, &LASTSAVE];

const NOT_YET: CommandError =
    CommandError::Text("ERR persistence is not available yet in this version of Pinion");

const SAVE: CommandSpec = CommandSpec {
    name: "SAVE",
    full_name: "save",
    arity: Arity::Exactly(1),
    flags: Flags::of(&[Flag::Admin, Flag::NoScript, Flag::NoAsyncLoading, Flag::NoMulti]),
    group: Group::Server,
    since: "1.0.0",
    complexity: "O(N) where N is the total number of keys in all databases.",
    summary: "Writes a snapshot, and lets all clients wait for it.",
    handler: Handler::Client(|_, _, _| Err(NOT_YET)),
    ..DEFAULTS
};

const BGSAVE: CommandSpec = CommandSpec {
    name: "BGSAVE",
    full_name: "bgsave",
    arity: Arity::AtLeast(1),
    flags: Flags::of(&[Flag::Admin, Flag::NoScript, Flag::NoAsyncLoading]),
    group: Group::Server,
    since: "1.0.0",
    complexity: "O(1).",
    summary: "Writes a snapshot in the background.",
    args: &[Arg::token("schedule", "SCHEDULE").optional().since("3.2.2")],
    handler: Handler::Client(background_save),
    ..DEFAULTS
};

fn background_save(_: &mut Session<'_>, mut args: Args<'_>, _: &mut Reply<'_>) -> CommandResult {
    if args.remaining() > 0 && !(args.option("SCHEDULE") && args.remaining() == 0) {
        return Err(CommandError::Syntax);
    }
    Err(NOT_YET)
}

const BGREWRITEAOF: CommandSpec = CommandSpec {
    name: "BGREWRITEAOF",
    full_name: "bgrewriteaof",
    arity: Arity::Exactly(1),
    flags: Flags::of(&[Flag::Admin, Flag::NoScript, Flag::NoAsyncLoading]),
    group: Group::Server,
    since: "1.0.0",
    complexity: "O(1).",
    summary: "Writes the append-only file anew in the background.",
    handler: Handler::Client(|_, _, _| Err(NOT_YET)),
    ..DEFAULTS
};

const LASTSAVE: CommandSpec = CommandSpec {
    name: "LASTSAVE",
    full_name: "lastsave",
    arity: Arity::Exactly(1),
    flags: Flags::of(&[Flag::Loading, Flag::Stale, Flag::Fast]),
    group: Group::Server,
    categories: &[Category::Admin, Category::Dangerous],
    since: "1.0.0",
    complexity: "O(1).",
    summary: "Tells when the last snapshot was written; the start counts as one.",
    tips: &["nondeterministic_output"],
    handler: Handler::Client(|session, _, reply| {
        reply.integer((session.core.shared.started_unix_ms / 1000) as i64);
        Ok(())
    }),
    ..DEFAULTS
};
