//! Differences from the reference that are meant, each with its reason and with commands that show it: one that no
//! longer shows fails the test.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::generate::Argv;
use crate::support::Value;

/// A command, the reference's reply and Pinion's.
pub struct Observation<'a> {
    pub argv: &'a Argv,
    pub redis: &'a Value,
    pub pinion: &'a Value,
    pub shards: usize,
}

pub struct KnownDifference {
    pub reason: &'static str,
    /// Commands, words separated by single spaces.
    pub example: &'static [&'static str],
    covers: fn(&Observation<'_>) -> bool,
    seen: AtomicU64,
}

pub static KNOWN: [KnownDifference; 5] = [
    KnownDifference {
        reason: "whether a small integer is a shared object depends in Redis on the command that wrote it last",
        example: &["SET n 5", "DECR n", "COPY n m", "OBJECT REFCOUNT m"],
        covers: |observation| {
            let both_are_counts =
                observation.redis.as_integer().is_some() && observation.pinion.as_integer().is_some();
            is(observation.argv, "OBJECT REFCOUNT") && both_are_counts && observation.shards > 0
        },
        seen: AtomicU64::new(0),
    },
    KnownDifference {
        reason: "ZRANK and ZREVRANK take WITHSCORE since 7.2; before, a further argument was one too many",
        example: &["ZRANK z m extra"],
        covers: |observation| {
            let is_rank = is(observation.argv, "ZRANK") || is(observation.argv, "ZREVRANK");
            let Value::Error(text) = observation.redis else { return false };
            is_rank && observation.argv.len() == 4 && text.starts_with(b"ERR wrong number of arguments")
        },
        seen: AtomicU64::new(0),
    },
    KnownDifference {
        reason: "XREAD takes + for the last entry since 7.4; before, it was no id",
        example: &["XADD s 1-1 f v", "XREAD STREAMS s +"],
        covers: |observation| {
            let reads = is(observation.argv, "XREAD") || is(observation.argv, "XREADGROUP");
            let Value::Error(text) = observation.redis else { return false };
            reads
                && observation.argv.iter().any(|word| word == b"+")
                && text.starts_with(b"ERR Invalid stream ID")
        },
        seen: AtomicU64::new(0),
    },
    KnownDifference {
        reason: "in Redis, SORT changes the encoding of the sorted set that it reads",
        example: &["ZADD z 1 a", "SORT z ALPHA", "OBJECT ENCODING z"],
        covers: |observation| {
            is(observation.argv, "OBJECT ENCODING")
                && observation.redis.as_bytes() == Some(b"skiplist")
                && observation.pinion.as_bytes() == Some(b"listpack")
        },
        seen: AtomicU64::new(0),
    },
    KnownDifference {
        reason: "in Redis, a number out of range, in whatever command, makes later SORTs of numbers fail",
        example: &["SADD u 5", "INCRBYFLOAT s 1e5000", "SORT u"],
        covers: |observation| {
            let Value::Error(text) = observation.redis else { return false };
            (is(observation.argv, "SORT") || is(observation.argv, "SORT_RO"))
                && text.starts_with(b"ERR One or more scores can't be converted")
        },
        seen: AtomicU64::new(0),
    },
];

/// Whether a command begins with these words.
fn is(argv: &Argv, words: &str) -> bool {
    let words: Vec<&str> = words.split(' ').collect();
    argv.len() >= words.len()
        && words.iter().zip(argv).all(|(word, arg)| arg.eq_ignore_ascii_case(word.as_bytes()))
}

/// Whether one of the known differences covers it; that one counts as seen.
pub fn covers(observation: &Observation<'_>) -> bool {
    let known = KNOWN.iter().find(|known| (known.covers)(observation));
    if let Some(known) = known {
        known.seen.fetch_add(1, Relaxed);
    }
    known.is_some()
}

impl KnownDifference {
    pub fn seen(&self) -> u64 {
        self.seen.load(Relaxed)
    }
}
