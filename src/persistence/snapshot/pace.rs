//! How a child that writes shares the CPUs with those who serve meanwhile.
//!
//! A thread that is only nice keeps a core which wakes up waiting for the rest of its slice, some milliseconds; and each
//! page that a core changes while the child lives is copied first, so that a child in a hurry costs as much as a slow one.
//! So all threads of a child but one run only where a CPU has nothing else to do (SCHED_IDLE): a core that wakes up takes
//! the CPU at once. The first goes on in steps even where no CPU is ever idle, so that every snapshot comes to its end;
//! between its steps it sleeps.
//!
//! The longer it rests, the less it costs those who serve, and the more pages are copied until it has come to its end. Measured
//! with 2 million keys and SETs of 50 connections that leave 2 CPUs idle for a tenth of the time: throughput, pages copied
//! and duration of a snapshot, in parts of redis-server's.
//!
//! | | throughput | copied | duration |
//! |---|---|---|---|
//! | without all this | 1.1 | 0.30 | 0.2 |
//! | steps of 1.5 ms, rests of 2 ms | 1.6 | 0.43 | 0.3 |
//! | 1 ms, 2 ms | 1.9 | 0.51 | 0.45 |
//! | 1 ms, 6 ms | 2.3 | 0.56 | 0.7 |
//! | no first thread: only where a CPU is idle | 2.5 | 0.57 | 1.3 |

use super::SnapshotOptions;
use std::time::{Duration, Instant};

/// The longest that the first thread keeps a CPU which others may want.
const STEP: Duration = Duration::from_micros(1500);
/// Between two steps.
const REST: Duration = Duration::from_millis(2);
/// Keys between two looks at the clock.
const LOOK_KEYS: u32 = 16;
/// Less than this for each shard, of which an empty one has half, is written by one thread, which does not rest: the others
/// have to get a CPU at least to end.
const ALONE_BYTES: u64 = 4 << 20;

/// How many threads are to write so many shards, of at most `threads`.
pub fn threads(threads: usize, shards: usize, options: &SnapshotOptions) -> usize {
    let is_little = options.used_memory < ALONE_BYTES * shards as u64;
    let is_alone = options.key_delay_us != 0 || options.in_child && is_little;
    if is_alone { 1 } else { threads.max(1) }
}

/// The steps of one thread.
pub struct Pace {
    /// None: it does not rest.
    began: Option<Instant>,
    keys: u32,
}

impl Pace {
    /// `rests`: whether it is the thread that takes CPUs from others.
    pub fn new(rests: bool) -> Self {
        Self { began: rests.then(Instant::now), keys: 0 }
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
        if let Some(began) = &mut self.began
            && began.elapsed() >= STEP
        {
            std::thread::sleep(REST);
            *began = Instant::now();
        }
    }
}
