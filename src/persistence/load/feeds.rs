//! The way from the threads that read files to the cores: a bounded queue per core.
//!
//! Feeders wait where a core's queue is full; a core that finds its queue empty may sleep, and is woken by the next
//! job. What one feeder sends to one core arrives in order.

use super::LoadError;
use super::batch::CommandBatch;
use super::entries::EntryBatch;
use super::progress::Progress;
use crate::command_table::{Command, Contribution};
use crate::net::Doorbell;
use crate::resp::ArgvBuf;
use crate::session::CoreState;
use crate::shard::Context;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Jobs that wait for a core: a few pieces of a file, so that it never runs dry while the feeder has something.
const QUEUE: usize = 4;

pub type HopResult = (usize, Contribution);

/// Work for one core.
pub enum Job {
    Commands(CommandBatch),
    Entries(EntryBatch),
    /// About so many keys are to come.
    Reserve {
        db: usize,
        keys: usize,
        expires: usize,
    },
    /// One shard's work in one hop of a command over several shards.
    Hop {
        db: usize,
        place: usize,
        run: Box<dyn FnOnce(&mut Context<'_>) -> Contribution + Send>,
        result: Sender<HopResult>,
    },
    /// A command about the data of all cores (FLUSHALL), done by each at its place in the order.
    Everywhere {
        command: Command,
        db: usize,
        argv: Arc<ArgvBuf>,
    },
    /// Something that the core does at this place in the order.
    Call(Box<dyn FnOnce(&mut CoreState) + Send>),
    /// Everything before has been done.
    Settled(Sender<()>),
}

/// What the cores and the feeders of one loading tell each other.
pub struct Common {
    pub progress: Arc<Progress>,
    failure: Mutex<Option<LoadError>>,
    failed: AtomicBool,
}

impl Common {
    /// The first failure is the one that is told.
    pub fn fail(&self, error: LoadError) {
        if matches!(error, LoadError::Stopped) {
            return;
        }
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.failed.store(true, Ordering::Release);
    }

    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    pub fn failure(&self) -> Option<LoadError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A core's end of its queue.
pub struct Inbox {
    pub(super) jobs: Receiver<Job>,
    pub(super) asleep: Arc<AtomicBool>,
    pub(super) common: Arc<Common>,
}

/// The feeders' ends of all queues.
#[derive(Clone)]
pub struct Feeds {
    cores: Arc<[(SyncSender<Job>, Arc<AtomicBool>)]>,
    doorbells: Arc<OnceLock<Vec<Doorbell>>>,
    pub common: Arc<Common>,
}

impl Feeds {
    /// One queue per core. A core is woken by its doorbell, as soon as there are doorbells.
    pub fn new(
        shards: usize,
        doorbells: Arc<OnceLock<Vec<Doorbell>>>,
        progress: Arc<Progress>,
    ) -> (Self, Vec<Inbox>) {
        Self::with_queues(QUEUE, shards, doorbells, progress)
    }

    /// With queues of this length.
    pub(super) fn with_queues(
        queue: usize,
        shards: usize,
        doorbells: Arc<OnceLock<Vec<Doorbell>>>,
        progress: Arc<Progress>,
    ) -> (Self, Vec<Inbox>) {
        let common = Arc::new(Common { progress, failure: Mutex::default(), failed: AtomicBool::new(false) });
        let (mut cores, mut inboxes) = (Vec::new(), Vec::new());
        for _ in 0..shards {
            let (sender, jobs) = sync_channel(queue);
            let asleep = Arc::new(AtomicBool::new(false));
            cores.push((sender, asleep.clone()));
            inboxes.push(Inbox { jobs, asleep, common: common.clone() });
        }
        (Self { cores: cores.into(), doorbells, common }, inboxes)
    }

    pub fn shards(&self) -> usize {
        self.cores.len()
    }

    /// # Errors
    /// If the core has stopped, or loading has failed elsewhere.
    pub fn send(&self, core: usize, job: Job) -> Result<(), LoadError> {
        if self.common.has_failed() {
            return Err(LoadError::Stopped);
        }
        let (sender, asleep) = &self.cores[core];
        match sender.try_send(job) {
            Ok(()) => {}
            // A core with a full queue is not asleep, or is being woken.
            Err(TrySendError::Full(job)) => sender.send(job).map_err(|_| LoadError::Stopped)?,
            Err(TrySendError::Disconnected(_)) => return Err(LoadError::Stopped),
        }
        if asleep.swap(false, Ordering::SeqCst)
            && let Some(doorbells) = self.doorbells.get()
        {
            doorbells[core].ring_from_any_thread();
        }
        Ok(())
    }

    /// Waits until all cores have done everything that was sent before.
    ///
    /// # Errors
    /// If a core has stopped or failed.
    pub fn settle(&self) -> Result<(), LoadError> {
        let (done, all) = channel();
        for core in 0..self.shards() {
            self.send(core, Job::Settled(done.clone()))?;
        }
        drop(done);
        for _ in 0..self.shards() {
            all.recv().map_err(|_| LoadError::Stopped)?;
        }
        if self.common.has_failed() { Err(LoadError::Stopped) } else { Ok(()) }
    }
}
