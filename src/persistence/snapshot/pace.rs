//! How a child that writes shares the CPUs with those who serve meanwhile.
//!
//! A thread that is only nice keeps a core which wakes up waiting for the rest of its slice, some milliseconds; and each
//! page that a core changes while the child lives is copied first, so that a child in a hurry costs as much as a slow one.
//! So all threads of a child but one run only where a CPU has nothing else to do (SCHED_IDLE). The first goes on in steps
//! even where no CPU is ever idle, so that every snapshot comes to its end; between its steps it sleeps, and before the
//! first one: the core that forked goes on.
//!
//! Nor may any of them run for long without entering the kernel. With lazy preemption (Linux 6.13) who wakes up does not
//! interrupt the thread it is to replace: that one goes on until its next system call or until the tick, up to 4 ms. And with
//! EEVDF a core that has had more than its share waits until even a SCHED_IDLE thread has got its own, also some
//! milliseconds, unless that one yields. So they do one or the other every tenth of a millisecond.
//!
//! The less the first thread gets, the less it costs those who serve, and the more pages are copied until it has come to its
//! end. Measured with 2 million keys and SETs of 50 connections that leave 2 CPUs idle for a tenth of the time: throughput,
//! pages copied and duration of a snapshot, in parts of redis-server's.
//!
//! | | throughput | copied | duration |
//! |---|---|---|---|
//! | without all this | 1.1 | 0.30 | 0.2 |
//! | steps of 1.5 ms, rests of 2 ms, nice 0 | 1.7 | 0.42 | 0.3 |
//! | steps of 1.5 ms, rests of 1.5 ms, nice 5 | 1.7 | 0.45 | 0.3 |
//! | steps of 1.5 ms, rests of 2 ms, nice 10 | 2.0 | 0.52 | 0.4 |
//! | no first thread: only where a CPU is idle | 2.5 | 0.57 | 1.3 |
//!
//! Where no CPU is idle at all, pipelined SETs that grow an append-only file over its limit again and again keep 0.66, 0.74 and
//! 0.85 of their throughput with the three in the middle.

use super::SnapshotOptions;
use crate::persistence::child;
use std::io;
use std::time::{Duration, Instant};

/// What of a CPU that others may want the first thread uses without a rest.
const STEP: Duration = Duration::from_micros(1500);
/// Between two steps.
const REST: Duration = Duration::from_micros(1500);
/// The longest that any of them keeps one from who has woken up.
const BREATH: Duration = Duration::from_micros(100);
/// Keys between two looks at the clock.
const LOOK_KEYS: u32 = 16;
/// Less than this for each shard, of which an empty one has half, is written by one thread, which does not rest: the others
/// have to get a CPU at least to end.
const ALONE_BYTES: u64 = 4 << 20;

/// How many threads are to write so many shards, of at most `threads`.
fn count(threads: usize, shards: usize, options: &SnapshotOptions) -> usize {
    let is_little = options.used_memory < ALONE_BYTES * shards as u64;
    let is_alone = options.key_delay_us != 0 || options.in_child && is_little;
    if is_alone { 1 } else { threads.max(1) }
}

/// Runs `work`, which writes so many shards, in at most `threads` threads, of which the calling one is the first, each at its
/// pace.
///
/// # Errors
/// That of the first which has one.
pub fn in_threads(
    threads: usize,
    shards: usize,
    options: &SnapshotOptions,
    work: impl Fn(Pace) -> io::Result<()> + Sync,
) -> io::Result<()> {
    let threads = count(threads, shards, options);
    let first = if options.in_child && threads > 1 { Manner::InSteps } else { Manner::Steady };
    let further = || {
        if options.in_child {
            return work(Pace::new(Manner::WhenIdle));
        }
        child::leave_core();
        work(Pace::new(Manner::Steady))
    };
    std::thread::scope(|scope| {
        let start = |_| std::thread::Builder::new().name("pinion-bgsave".into()).spawn_scoped(scope, further);
        // Without those that cannot be started it takes longer.
        let others: Vec<_> = (1..threads).filter_map(|index| start(index).ok()).collect();
        let own = work(Pace::new(first));
        let panicked = |_| Err(io::Error::other("a thread that writes has panicked"));
        others.into_iter().fold(own, |all, other| all.and(other.join().unwrap_or_else(panicked)))
    })
}

/// How a thread that writes makes room for others.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Manner {
    /// Not at all: nobody waits for its CPU, or everybody for its end.
    Steady,
    /// The first of a child's threads: it takes CPUs from others, in steps.
    InSteps,
    /// A further one.
    WhenIdle,
}

/// The steps of one thread.
pub struct Pace {
    manner: Manner,
    /// What of the processor the thread had used when this step began.
    began: Duration,
    /// When it has entered the kernel last.
    breathed: Instant,
    keys: u32,
}

impl Pace {
    /// Of the calling thread, which is about to begin.
    fn new(manner: Manner) -> Self {
        match manner {
            Manner::Steady => {}
            Manner::InSteps => std::thread::sleep(REST),
            Manner::WhenIdle => child::run_when_idle(),
        }
        Self { manner, began: child::processor_time(), breathed: Instant::now(), keys: 0 }
    }

    /// A key has been written.
    #[inline]
    pub fn step(&mut self) {
        self.keys += 1;
        if self.keys >= LOOK_KEYS {
            self.keys = 0;
            self.look();
        }
    }

    fn look(&mut self) {
        if self.manner == Manner::Steady || self.breathed.elapsed() < BREATH {
            return;
        }
        if self.manner == Manner::WhenIdle {
            std::thread::yield_now();
        // A system call, and one that tells of the thread's own work: while others have the CPU it does not come nearer its end.
        } else if child::processor_time() - self.began >= STEP {
            std::thread::sleep(REST);
            self.began = child::processor_time();
        }
        self.breathed = Instant::now();
    }
}
