//! A core's part in loading: a slice of the jobs in its queue per turn of its loop, so that its clients are told
//! meanwhile that the server is loading.
//!
//! Nothing that is done here is journalled, watched or waited for.

use super::batch::{Clock, CommandBatch, CommandItem};
use super::feeds::{Common, Inbox, Job};
use crate::base::{Monotonic, UnixMillis};
use crate::command_table::{Args, Asker, Handler};
use crate::resp::{Protocol, Reply};
use crate::session::CoreState;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::TryRecvError;

/// After this long the loop goes on to the clients.
const SLICE_NS: u64 = 1_000_000;

/// Replies with an error that are told one by one.
const ERRORS_TOLD: u64 = 10;

/// So many commands ahead the bucket of the key is asked for, and half as many the entry.
const AHEAD: usize = 16;

pub struct Seat {
    inbox: Inbox,
    /// Taken out of the queue to see whether there is one.
    next: Option<Job>,
    reply: Vec<u8>,
}

/// Whether a core has more to load at once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Slice {
    More,
    /// Until the next job comes.
    Waits,
    /// Everything is loaded.
    Over,
}

impl Seat {
    pub fn new(inbox: Inbox) -> Self {
        Self { inbox, next: None, reply: Vec::new() }
    }

    /// Before the core sleeps: whether it may. From here on a job wakes it.
    pub fn may_sleep(&mut self) -> bool {
        if self.next.is_some() {
            return false;
        }
        self.inbox.asleep.store(true, Ordering::SeqCst);
        match self.inbox.jobs.try_recv() {
            Ok(job) => {
                self.inbox.asleep.store(false, Ordering::SeqCst);
                self.next = Some(job);
                false
            }
            Err(TryRecvError::Empty) => true,
            // The end is to be seen at once.
            Err(TryRecvError::Disconnected) => false,
        }
    }

    /// Loads for a while.
    pub fn work(&mut self, core: &mut CoreState) -> Slice {
        let start = Monotonic::now().0;
        self.inbox.asleep.store(false, Ordering::Relaxed);
        let stats = core.shard.stats;
        let slice = loop {
            let job = match self.next.take() {
                Some(job) => job,
                None => match self.inbox.jobs.try_recv() {
                    Ok(job) => job,
                    Err(TryRecvError::Empty) => break Slice::Waits,
                    Err(TryRecvError::Disconnected) => break Slice::Over,
                },
            };
            if !self.inbox.common.has_failed() {
                self.run(core, job);
            }
            if Monotonic::now().0 - start >= SLICE_NS {
                break Slice::More;
            }
        };
        // Lookups of replayed commands are nobody's.
        core.shard.stats = stats;
        slice
    }

    fn run(&mut self, core: &mut CoreState, job: Job) {
        match job {
            Job::Commands(batch) => {
                run_commands(core, &batch, &mut self.reply, &self.inbox.common);
                self.inbox.common.progress.loaded(batch.weight);
            }
            Job::Entries(batch) => {
                match batch.insert_into(&mut core.shard) {
                    Ok(0) => {}
                    Ok(empty) => core
                        .shared
                        .log
                        .warning(format!("{empty} keys of {} without elements are not loaded", batch.file)),
                    Err(error) => self.inbox.common.fail(error),
                }
                self.inbox.common.progress.loaded(batch.weight);
            }
            Job::Reserve { db, keys, expires } => core.shard.databases[db].reserve(keys, expires),
            Job::Hop { db, place, run, result } => {
                let done = run(&mut core.shard.context(db, UnixMillis(0), true));
                // Nobody waits for it if loading has stopped.
                let _ = result.send((place, done));
            }
            Job::Everywhere { command, db, argv } => {
                let Handler::EveryCore { collect, .. } = command.spec.handler else {
                    unreachable!("only EveryCore goes everywhere")
                };
                let asker = Asker { client_id: 0, db, protocol: Protocol::Resp2 };
                collect(core, asker, Args::new(argv.as_argv(), usize::from(command.names)));
            }
            Job::Call(run) => run(core),
            Job::Settled(done) => {
                let _ = done.send(());
            }
        }
    }
}

fn run_commands(core: &mut CoreState, batch: &CommandBatch, reply: &mut Vec<u8>, common: &Arc<Common>) {
    let present = core.now.unix;
    let items = batch.items();
    let mut hashes = [(0, 0); AHEAD];
    for place in 0..items.len() + AHEAD {
        if place >= AHEAD {
            run_command(core, batch, &items[place - AHEAD], present, reply, common);
        }
        if let Some(item) = items.get(place) {
            let db = item.db as usize;
            let hash = batch.argv(item).get(1).map_or(0, |key| core.shard.prefetch(db, key));
            hashes[place % AHEAD] = (db, hash);
        }
        if place >= AHEAD / 2 && place - AHEAD / 2 < items.len() {
            let (db, hash) = hashes[(place - AHEAD / 2) % AHEAD];
            core.shard.prefetch_entry(db, hash);
        }
    }
}

#[inline]
fn run_command(
    core: &mut CoreState,
    batch: &CommandBatch,
    item: &CommandItem,
    present: UnixMillis,
    reply: &mut Vec<u8>,
    common: &Common,
) {
    let now = if item.clock == Clock::Past { UnixMillis(0) } else { present };
    reply.clear();
    let mut context = core.shard.context(item.db as usize, now, true);
    let args = Args::new(batch.argv(item), usize::from(item.command.names));
    let outcome = (item.run)(&mut context, args, &mut Reply::new(reply, Protocol::Resp2));
    if let Err(error) = outcome {
        error.write_over(reply, 0, Protocol::Resp2);
    }
    if reply.first() == Some(&b'-') {
        refused(core, common, item.command.spec.name, item.offset, reply);
    }
}

/// As Redis: a command that fails where it did not before is told, and loading goes on.
#[cold]
fn refused(core: &CoreState, common: &Common, name: &str, offset: u64, reply: &[u8]) {
    if common.progress.errors.fetch_add(1, Ordering::Relaxed) < ERRORS_TOLD {
        let text = String::from_utf8_lossy(reply.trim_ascii_end()).into_owned();
        core.shared.log.warning(format!(
            "== CRITICAL == {name} at offset {offset} of the append only file replied while it was loaded: '{text}'"
        ));
    }
}

/// A slice of loading, if the core loads; whether there is more at once.
pub fn slice(core: &mut CoreState) -> bool {
    let Some(mut seat) = core.load.take() else { return false };
    match seat.work(core) {
        Slice::Over => {
            core.shard.effects.forget_changes();
            false
        }
        slice => {
            core.load = Some(seat);
            slice == Slice::More
        }
    }
}
