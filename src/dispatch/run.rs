//! Running commands on a shard: one of a client of this core, or a batch of another core's.

use super::account;
use super::message::{Batch, Item};
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
    let out = client.output.writer();
    let start = out.len();
    let mut reply = Reply::new(out, client.protocol);
    let mut context = core.shard.context(client.db, core.now.unix, client.no_touch);
    let result = run(&mut context, Args::new(argv, usize::from(command.names)), &mut reply);
    if let Err(error) = &result {
        out.truncate(start);
        Reply::new(out, client.protocol).error(error.text().as_ref());
    }
    let failed = out.get(start) == Some(&b'-');
    if failed {
        core.command_stats.error(&out[start + 1..]);
        core.counters.errors_replied += 1;
    }
    if muted {
        out.truncate(start);
    }
    let now = core.now.unix;
    core.shard.serve_ready(now);
    account::ran(core, key, command, argv, failed);
    core.unsent.push(key);
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
            shard.serve_ready(now);
            tick = clock::Monotonic::now().0;
            (tick - start, failed)
        });
    }
    tick
}

/// Runs a shard's part of a transaction; who waits for keys is served when that is over.
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
    (clock::Monotonic::now().0 - start, failed)
}

/// Appends the reply of a command; whether it is an error.
#[inline]
fn run_on(shard: &mut Shard, now: UnixMillis, item: &Item, argv: Argv<'_>, replies: &mut Vec<u8>) -> bool {
    let start = replies.len();
    let mut reply = Reply::new(replies, item.protocol);
    let mut context = shard.context(item.db as usize, now, item.no_touch);
    let names = usize::from(item.command.names);
    if let Err(error) = (item.run)(&mut context, Args::new(argv, names), &mut reply) {
        replies.truncate(start);
        Reply::new(replies, item.protocol).error(error.text().as_ref());
    }
    replies.get(start) == Some(&b'-')
}

/// Hints the processor at the data of some commands: first all buckets, then all entries.
fn prefetch_batch(shard: &Shard, batch: &Batch, range: std::ops::Range<usize>) {
    let mut hashes = [0; 16];
    let key = |index| batch.argv(index).get(1);
    for (index, hash) in range.clone().zip(&mut hashes) {
        *hash = key(index).map_or(0, |key| shard.prefetch(batch.item(index).db as usize, key));
    }
    for (index, hash) in range.zip(hashes) {
        shard.prefetch_entry(batch.item(index).db as usize, hash);
    }
}
