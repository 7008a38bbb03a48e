//! Differences from the reference that are meant, each with its reason. One that no longer shows fails the test.

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
    pub name: &'static str,
    #[expect(dead_code, reason = "for the reader")]
    pub reason: &'static str,
    pub covers: fn(&Observation<'_>) -> bool,
    seen: AtomicU64,
}

static KNOWN: &[KnownDifference] = &[];

/// Whether one of the known differences covers it; that one counts as used.
pub fn covers(observation: &Observation<'_>) -> bool {
    let known = KNOWN.iter().find(|known| (known.covers)(observation));
    if let Some(known) = known {
        known.seen.fetch_add(1, Relaxed);
    }
    known.is_some()
}

pub fn unused() -> Vec<&'static str> {
    KNOWN.iter().filter(|known| known.seen.load(Relaxed) == 0).map(|known| known.name).collect()
}
