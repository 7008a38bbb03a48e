//! Running commands on a shard: one of a client of this core, or a batch of another core's.

use super::account;
use super::message::{Batch, Item};
use super::procedure::Caller;
use super::take_muted;
use crate::base::{UnixMillis, clock};
use crate::client::{ClientKey, ReplyMode};
use crate::command_table::{Args, Command, ShardHandler};
use crate::resp::{Argv, Reply};
use crate::session::CoreState;
use crate::shard::Shard;

/// The common case: a command whose keys live here.
#[inline]
pub(super) fn run_here(
    core: &mut CoreState,
    key: ClientKey,
    command: &Command,
    run: ShardHandler,
    argv: Argv<'_>,
) {
    let client = core.clients.running(key);
    let muted = client.reply_mode != ReplyMode::On && take_muted(&mut client.reply_mode);
    let caller = Caller::of(client);
    client.output.tells_of(core.index);
    let out = client.output.writer();
    let start = out.len();
    let (shard, now) = (&mut *core.shard, core.now.unix);
    let changes = shard.effects.changes();
    append_reply(shard, now, caller, run, usize::from(command.names), argv, out);
    journal_unit(shard, changes, caller.db, argv);
    let failed = account::note_error(&mut core.command_stats, &mut core.counters, &out[start..]);
    if muted {
        out.truncate(start);
    }
    shard.serve_ready(now);
    account::ran(core, key, command, argv, failed);
    core.unsent_of_shard.push(key);
}

/// Runs a handler and appends its reply; an error takes the place of what it has written. What it changes is for the
/// caller to journal.
#[inline(always)]
pub(super) fn append_reply(
    shard: &mut Shard,
    now: UnixMillis,
    caller: Caller,
    run: ShardHandler,
    names: usize,
    argv: Argv<'_>,
    out: &mut Vec<u8>,
) {
    let start = out.len();
    let mut context = shard.context(caller.db, now, caller.no_touch);
    context.reply_bytes_max = context.shard.options.reply_bytes_max;
    let mut reply = Reply::new(out, caller.protocol);
    if let Err(error) = run(&mut context, Args::new(argv, names), &mut reply) {
        error.write_over(out, start, caller.protocol);
    }
}

/// Runs commands of another core's clients on a shard; returns when the last one ended.
pub(super) fn run_batch(shard: &mut Shard, now: UnixMillis, batch: &mut Batch) -> u64 {
    const AHEAD: usize = 16;
    let mut tick = clock::Monotonic::now().0;
    for first in (0..batch.len()).step_by(AHEAD) {
        let range = first..batch.len().min(first + AHEAD);
        prefetch_batch(shard, batch, range.clone());
        batch.run(range, |item, argv, replies| {
            let start = tick;
            let failed = run_on(shard, now, item, argv, replies);
            shard.effects.journal.seal();
            shard.serve_ready(now);
            tick = clock::Monotonic::now().0;
            (tick - start, failed)
        });
    }
    tick
}

/// Runs a shard's part of a transaction, which ends the unit of the journal; who waits for keys is served when that is over.
pub(super) fn run_part(shard: &mut Shard, now: UnixMillis, batch: &mut Batch) {
    let mut tick = clock::Monotonic::now().0;
    batch.run(0..batch.len(), |item, argv, replies| {
        let start = tick;
        let failed = run_on(shard, now, item, argv, replies);
        tick = clock::Monotonic::now().0;
        (tick - start, failed)
    });
}

/// Runs one command apart from a batch; the time it took, and whether it failed.
pub(super) fn run_item(
    shard: &mut Shard,
    now: UnixMillis,
    item: &Item,
    argv: Argv<'_>,
    replies: &mut Vec<u8>,
) -> (u64, bool) {
    let start = clock::Monotonic::now().0;
    let failed = run_on(shard, now, item, argv, replies);
    shard.effects.journal.seal();
    (clock::Monotonic::now().0 - start, failed)
}

/// Appends the reply of a command; whether it is an error. It joins the unit of the journal, which the caller ends.
#[inline]
fn run_on(shard: &mut Shard, now: UnixMillis, item: &Item, argv: Argv<'_>, replies: &mut Vec<u8>) -> bool {
    let start = replies.len();
    let caller = Caller { db: item.db as usize, protocol: item.protocol, no_touch: item.no_touch };
    let changes = shard.effects.changes();
    append_reply(shard, now, caller, item.run, usize::from(item.command.names), argv, replies);
    shard.journal_command(changes, caller.db, argv);
    replies.get(start) == Some(&b'-')
}

/// A command has run for itself: one unit of the journal.
#[inline]
pub(super) fn journal_unit(shard: &mut Shard, changes: u64, db: usize, argv: Argv<'_>) {
    if shard.effects.journal.is_on() {
        write_unit(shard, changes, db, argv);
    }
}

/// Apart, so that the common case stays small where there is no journal.
#[inline(never)]
fn write_unit(shard: &mut Shard, changes: u64, db: usize, argv: Argv<'_>) {
    shard.journal_command(changes, db, argv);
    shard.effects.journal.seal();
}

/// Hints the processor at the data of some commands: first all buckets, then all entries.
fn prefetch_batch(shard: &Shard, batch: &Batch, range: std::ops::Range<usize>) {
    let mut hashes = [0; 16];
    let key = |index| batch.argv(index).get(1);
    for (index, hash) in range.clone().zip(&mut hashes) {
        *hash = key(index).map_or(0, |key| shard.prefetch(batch.item(index).db as usize, key));
    }
    for (index, hash) in range.clone().zip(hashes) {
        shard.prefetch_entry(batch.item(index).db as usize, hash);
    }
    // Of the first database only: batches of several are rare.
    let db = batch.item(range.start).db;
    if let Some(place) = batch.item(range.start).command.names_member {
        let named = range.zip(hashes).filter_map(|(index, hash)| {
            let (item, argv) = (batch.item(index), batch.argv(index));
            (item.db == db && item.command.names_member == Some(place)).then_some((
                hash,
                argv.get(1)?,
                argv.get(usize::from(place))?,
            ))
        });
        shard.prefetch_members(db as usize, named);
    }
}
