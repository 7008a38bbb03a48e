//! Saving: SAVE, BGSAVE, LASTSAVE.

use crate::command_table::{Arg, Args, Arity, Category, CommandSpec, DEFAULTS, Flag, Flags, Group, Handler};
use crate::persistence::rewrite::{self, NotNow};
use crate::persistence::save::{self, Reservation};
use crate::persistence::{ChildKind, Status};
use crate::resp::Reply;
use crate::session::{FrozenOrder, Session};
use crate::shard::{CommandError, CommandResult};
use std::sync::atomic::Ordering;

pub(super) const COMMANDS: &[&CommandSpec] = &[&SAVE, &BGSAVE, &BGREWRITEAOF, &LASTSAVE];

const SAVE: CommandSpec = CommandSpec {
    name: "SAVE",
    full_name: "save",
    arity: Arity::Exactly(1),
    flags: Flags::of(&[Flag::Admin, Flag::NoScript, Flag::NoAsyncLoading, Flag::NoMulti]),
    group: Group::Server,
    since: "1.0.0",
    complexity: "O(N) where N is the total number of keys in all databases.",
    summary: "Writes a snapshot, and lets all clients wait for it.",
    handler: Handler::Frozen { prepare: prepare_save, in_exec: |_, _, _| unreachable!("not queued") },
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
    handler: Handler::Frozen { prepare: prepare_background_save, in_exec: schedule_save },
    ..DEFAULTS
};

const IN_PROGRESS: CommandError = CommandError::Text("ERR Background save already in progress");

fn prepare_save(
    session: &mut Session<'_>,
    _: Args<'_>,
    _: &mut Reply<'_>,
) -> Result<Option<FrozenOrder>, CommandError> {
    let core = &*session.core;
    if core.shared.persistence.child_kind() == Some(ChildKind::Rdb) {
        return Err(IN_PROGRESS);
    }
    let reservation = Reservation::take(&core.shared).ok_or(IN_PROGRESS)?;
    Ok(Some(save::foreground(core, reservation)))
}

/// Whether it may be put off.
fn schedule_option(mut args: Args<'_>) -> Result<bool, CommandError> {
    match args.remaining() {
        0 => Ok(false),
        1 if args.option("SCHEDULE") => Ok(true),
        _ => Err(CommandError::Syntax),
    }
}

fn prepare_background_save(
    session: &mut Session<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<Option<FrozenOrder>, CommandError> {
    let schedule = schedule_option(args)?;
    let core = &*session.core;
    let status = &core.shared.persistence;
    match status.child_kind() {
        Some(ChildKind::Rdb) => Err(IN_PROGRESS),
        Some(ChildKind::AofBase) if schedule => {
            put_off(status, reply);
            Ok(None)
        }
        Some(ChildKind::AofBase) => Err(CommandError::Text(
            "ERR Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE SCHEDULE in order to \
             schedule a BGSAVE whenever possible.",
        )),
        None => {
            let reservation = Reservation::take(&core.shared).ok_or(IN_PROGRESS)?;
            Ok(Some(save::background(core, reservation, save::dump(&core.config))))
        }
    }
}

/// Inside EXEC nothing can rest: the snapshot is taken right behind it.
fn schedule_save(session: &mut Session<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    schedule_option(args)?;
    let status = &session.core.shared.persistence;
    if status.child_kind() == Some(ChildKind::Rdb) {
        return Err(IN_PROGRESS);
    }
    put_off(status, reply);
    Ok(())
}

fn put_off(status: &Status, reply: &mut Reply<'_>) {
    status.scheduled.store(true, Ordering::Relaxed);
    reply.simple("Background saving scheduled");
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
    handler: Handler::Frozen { prepare: prepare_rewrite, in_exec: schedule_rewrite },
    ..DEFAULTS
};

const REWRITE_IN_PROGRESS: CommandError =
    CommandError::Text("ERR Background append only file rewriting already in progress");

fn prepare_rewrite(
    session: &mut Session<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<Option<FrozenOrder>, CommandError> {
    match rewrite::order(session.core, false) {
        Ok(order) => Ok(Some(order)),
        Err(NotNow::InProgress) => Err(REWRITE_IN_PROGRESS),
        Err(NotNow::Later) => schedule_rewrite(session, args, reply).map(|()| None),
        Err(NotNow::Failed) => Err(CommandError::Text(save::CANNOT_REWRITE)),
    }
}

/// Inside EXEC nothing can rest either.
fn schedule_rewrite(session: &mut Session<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let shared = &session.core.shared;
    if shared.persistence.child_kind() == Some(ChildKind::AofBase) {
        return Err(REWRITE_IN_PROGRESS);
    }
    shared.append_only.scheduled.store(true, Ordering::Relaxed);
    reply.simple("Background append only file rewriting scheduled");
    Ok(())
}

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
        reply.integer(session.core.shared.persistence.last_save_s() as i64);
        Ok(())
    }),
    ..DEFAULTS
};
