//! The figures and the state of saving, shared by all cores: what INFO persistence shows, and who may save now.
//!
//! Invariants
//!   P1  At most one child writes at a time; it is known here from the fork until it has been waited for.
//!   P2  `saved_changes` is at most the sum of what the shards have counted: the difference is what a crash would lose.

use super::child::Child;
use super::place::Place;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a child writes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ChildKind {
    /// The dump of BGSAVE.
    Rdb,
    /// The base of an append-only file.
    AofBase,
}

pub struct Status {
    /// Where snapshots are written to, and nobody else may write.
    pub place: Place,
    /// By core: changes as its shard has counted them, told at every round of its duties.
    changes: Box<[Told]>,
    /// The sum of them at the last save.
    saved_changes: AtomicU64,
    last_save_s: AtomicU64,
    last_try_s: AtomicU64,
    last_failed: AtomicBool,
    last_duration_s: AtomicI64,
    started_s: AtomicI64,
    saves: AtomicU64,
    /// BGSAVE SCHEDULE: as soon as it is possible.
    pub scheduled: AtomicBool,
    /// A core is about to freeze the server for a save, so that no other need begin.
    pub ordered: AtomicBool,
    /// No reply leaves any more: the final snapshot has been written.
    sealed: AtomicBool,
    /// Snapshots that are over, by a child: behind each the memory is mended.
    pub children_over: AtomicU64,
    /// The warning about files that take no direct writes was given.
    warned_buffered: AtomicBool,
    /// The last snapshot of each kind of writer.
    pub last_cow_bytes: AtomicU64,
    pub aof_last_cow_bytes: AtomicU64,
    pub last_bytes: AtomicU64,
    pub last_write_us: AtomicU64,
    pub forks: AtomicU64,
    pub fork_us: AtomicU64,
    /// Gigabytes of resident memory per second, in thousandths.
    pub fork_rate_milli: AtomicU64,
    pub freeze_us: AtomicU64,
    pub freeze_us_max: AtomicU64,
    /// A fork that the latency monitor has not heard of, in milliseconds + 1.
    unheard_fork_ms: AtomicU64,
    child: Mutex<Option<Child>>,
    /// The same, readable without the lock: 0 none, 1 RDB, 2 base of an AOF.
    child_kind: AtomicU64,
}

#[repr(align(64))]
#[derive(Default)]
struct Told(AtomicU64);

/// What INFO shows of a child at work.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Progress {
    pub kind: Option<ChildKind>,
    pub keys_done: u64,
    pub keys_total: u64,
    pub bytes: u64,
    pub cow_bytes: u64,
    pub cow_peak_bytes: u64,
    pub cow_age_s: u64,
}

/// The figures at one moment.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Figures {
    pub saved_changes: u64,
    pub last_save_s: u64,
    pub last_failed: bool,
    pub last_duration_s: i64,
    /// When the save under way began, or -1.
    pub started_s: i64,
    pub saves: u64,
    pub last_cow_bytes: u64,
    pub aof_last_cow_bytes: u64,
    pub last_bytes: u64,
    pub last_write_us: u64,
    pub forks: u64,
    pub fork_us: u64,
    pub freeze_us: u64,
    pub freeze_us_max: u64,
    pub progress: Progress,
}

impl Status {
    /// The start counts as a save.
    pub fn new(cores: usize, now_s: u64) -> Self {
        Self {
            place: Place::default(),
            changes: (0..cores).map(|_| Told::default()).collect(),
            saved_changes: AtomicU64::new(0),
            last_save_s: AtomicU64::new(now_s),
            last_try_s: AtomicU64::new(0),
            last_failed: AtomicBool::new(false),
            last_duration_s: AtomicI64::new(-1),
            started_s: AtomicI64::new(-1),
            saves: AtomicU64::new(0),
            scheduled: AtomicBool::new(false),
            ordered: AtomicBool::new(false),
            sealed: AtomicBool::new(false),
            children_over: AtomicU64::new(0),
            warned_buffered: AtomicBool::new(false),
            last_cow_bytes: AtomicU64::new(0),
            aof_last_cow_bytes: AtomicU64::new(0),
            last_bytes: AtomicU64::new(0),
            last_write_us: AtomicU64::new(0),
            forks: AtomicU64::new(0),
            fork_us: AtomicU64::new(0),
            fork_rate_milli: AtomicU64::new(0),
            freeze_us: AtomicU64::new(0),
            freeze_us_max: AtomicU64::new(0),
            unheard_fork_ms: AtomicU64::new(0),
            child: Mutex::new(None),
            child_kind: AtomicU64::new(0),
        }
    }

    /// A core tells how many changes its shard has seen.
    #[inline]
    pub fn tell_changes(&self, core: usize, changes: u64) {
        self.changes[core].0.store(changes, Relaxed);
    }

    /// Changes since the last save, as far as the cores have told.
    pub fn unsaved_changes(&self) -> u64 {
        let sum: u64 = self.changes.iter().map(|told| told.0.load(Relaxed)).sum();
        sum.saturating_sub(self.saved_changes.load(Relaxed))
    }

    pub fn last_save_s(&self) -> u64 {
        self.last_save_s.load(Relaxed)
    }

    /// When a save was last begun, and whether it failed.
    pub fn last_try(&self) -> (u64, bool) {
        (self.last_try_s.load(Relaxed), self.last_failed.load(Relaxed))
    }

    #[inline]
    pub fn has_failed(&self) -> bool {
        self.last_failed.load(Relaxed)
    }

    pub fn set_failed(&self, failed: bool) {
        self.last_failed.store(failed, Relaxed);
    }

    /// A save in the background begins.
    pub fn tried(&self, now_s: u64) {
        self.saves.fetch_add(1, Relaxed);
        self.last_try_s.store(now_s, Relaxed);
    }

    /// SAVE: no background, no time of its own.
    pub fn counted(&self) {
        self.saves.fetch_add(1, Relaxed);
    }

    pub fn began(&self, now_s: u64) {
        self.started_s.store(now_s as i64, Relaxed);
    }

    /// The background save is over.
    pub fn ended(&self, now_s: u64) {
        let started = self.started_s.swap(-1, Relaxed);
        self.last_duration_s.store(now_s as i64 - started, Relaxed);
    }

    /// Everything up to these changes is on the disk.
    pub fn saved(&self, changes: u64, now_s: u64) {
        self.saved_changes.store(changes, Relaxed);
        self.last_save_s.store(now_s, Relaxed);
        self.last_failed.store(false, Relaxed);
    }

    pub fn forked(&self, microseconds: u64, resident_bytes: u64) {
        self.forks.fetch_add(1, Relaxed);
        self.fork_us.store(microseconds, Relaxed);
        let rate = (resident_bytes as f64 / (1u64 << 30) as f64) / (microseconds.max(1) as f64 / 1e6);
        self.fork_rate_milli.store((rate * 1000.0) as u64, Relaxed);
        self.unheard_fork_ms.store(microseconds / 1000 + 1, Relaxed);
    }

    /// For the latency monitor: a fork it has not heard of, in milliseconds.
    pub fn take_fork_ms(&self) -> Option<u64> {
        self.unheard_fork_ms.swap(0, Relaxed).checked_sub(1)
    }

    pub fn froze(&self, microseconds: u64) {
        self.freeze_us.store(microseconds, Relaxed);
        self.freeze_us_max.fetch_max(microseconds, Relaxed);
    }

    /// CONFIG RESETSTAT.
    pub fn reset(&self) {
        for figure in
            [&self.forks, &self.fork_us, &self.fork_rate_milli, &self.freeze_us, &self.freeze_us_max]
        {
            figure.store(0, Relaxed);
        }
    }

    /// Whether the warning about buffered writes is still to be given.
    pub fn first_buffered(&self) -> bool {
        !self.warned_buffered.swap(true, Relaxed)
    }

    /// From now on no reply may leave: what it acknowledges would not be saved.
    pub fn seal(&self) {
        self.sealed.store(true, std::sync::atomic::Ordering::SeqCst);
    }

    #[inline]
    pub fn is_sealed(&self) -> bool {
        self.sealed.load(std::sync::atomic::Ordering::Acquire)
    }

    pub fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The child that is known from now on.
    pub fn set_child(&self, place: &mut Option<Child>, child: Option<Child>) {
        let kind = match &child {
            None => 0,
            Some(child) if child.kind == ChildKind::Rdb => 1,
            Some(_) => 2,
        };
        *place = child;
        self.child_kind.store(kind, Relaxed);
    }

    #[inline]
    pub fn child_kind(&self) -> Option<ChildKind> {
        match self.child_kind.load(Relaxed) {
            0 => None,
            1 => Some(ChildKind::Rdb),
            _ => Some(ChildKind::AofBase),
        }
    }

    pub fn figures(&self, now_s: u64) -> Figures {
        Figures {
            saved_changes: self.saved_changes.load(Relaxed),
            last_save_s: self.last_save_s.load(Relaxed),
            last_failed: self.last_failed.load(Relaxed),
            last_duration_s: self.last_duration_s.load(Relaxed),
            started_s: self.started_s.load(Relaxed),
            saves: self.saves.load(Relaxed),
            last_cow_bytes: self.last_cow_bytes.load(Relaxed),
            aof_last_cow_bytes: self.aof_last_cow_bytes.load(Relaxed),
            last_bytes: self.last_bytes.load(Relaxed),
            last_write_us: self.last_write_us.load(Relaxed),
            forks: self.forks.load(Relaxed),
            fork_us: self.fork_us.load(Relaxed),
            freeze_us: self.freeze_us.load(Relaxed),
            freeze_us_max: self.freeze_us_max.load(Relaxed),
            progress: self.child().as_ref().map(|child| child.progress(now_s)).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_since_the_save_are_what_remains() {
        let status = Status::new(2, 100);
        status.tell_changes(0, 5);
        status.tell_changes(1, 7);
        assert_eq!((status.unsaved_changes(), status.last_save_s()), (12, 100));
        status.saved(10, 200);
        assert_eq!((status.unsaved_changes(), status.last_save_s()), (2, 200), "P2");
    }

    #[test]
    fn a_fork_is_heard_of_once() {
        let status = Status::new(1, 0);
        assert_eq!(status.take_fork_ms(), None);
        status.forked(900, 1 << 30);
        assert_eq!((status.take_fork_ms(), status.take_fork_ms()), (Some(0), None));
    }
}
