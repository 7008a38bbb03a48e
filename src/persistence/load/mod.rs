//! Loading: from the files of a Redis, or our own, to the shards, with all cores in parallel.
//!
//! ```text
//! file ── Reader ── feeder thread ──┬── queue ── Seat of core 0 ── shard 0
//!        pieces     finds commands  ├── queue ── Seat of core 1 ── shard 1
//!                   and entries     └── ...
//! ```
//! A *feeder* reads a file in pieces, finds where commands or entries begin and end, and whose they are; the owners
//! decode and run them, a slice per turn of their loops. Only owners touch their shards. Where a file can be read in
//! parts there are several feeders: the extents of our own snapshots, the segments of a generation.
//!
//! Invariants
//!   O1  Each shard sees what it is sent in the order of its file.
//!   O2  While anything is being loaded `Shared::loading` is set, and no client's command touches data.
//!   O3  A failure anywhere ends the loading everywhere, with one reason.

mod batch;
mod entries;
mod error;
mod extents;
mod feeds;
mod progress;
mod reader;
mod reload;
mod resp;
mod router;
mod seat;
mod segments;
mod snapshot;
mod source;
pub mod trial;

pub use error::{LoadError, Remedy};
pub use feeds::{Feeds, Inbox, Job};
pub use progress::{LoadFigures, Progress};
pub use reload::{Outcome, ReloadOrder, Which};
pub use seat::{Seat, slice};
pub use segments::Segment;
pub use snapshot::SnapshotPolicy;
pub use source::{AppendOnly, Source};

use super::rdb::reader::has_magic;
use crate::base::{Monotonic, UnixMillis};
use crate::command_table::CommandTable;
use crate::config::Config;
use crate::config::parameter::{AOF_LOAD_TRUNCATED, DATABASES, KEY_LOAD_DELAY, RDBCHECKSUM};
use crate::session::Shared;
use reader::Reader;
use resp::{Tail, TailPolicy};
use snapshot::SnapshotFeeder;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// `key-load-delay`, for tests: feeding sleeps for each key.
pub struct Delay(Option<Arc<Shared>>);

impl Delay {
    fn new(shared: &Arc<Shared>) -> Self {
        Self((shared.config().get(KEY_LOAD_DELAY) != 0).then(|| shared.clone()))
    }

    /// Once per key.
    ///
    /// # Errors
    /// If the server stops meanwhile.
    #[inline]
    fn key(&self) -> Result<(), LoadError> {
        self.0.as_ref().map_or(Ok(()), |shared| Self::sleep(shared))
    }

    #[cold]
    fn sleep(shared: &Shared) -> Result<(), LoadError> {
        const STEP_US: u64 = 5000;
        let mut slept = 0;
        loop {
            // Negative: a microsecond for every so many keys, which is nothing.
            let wanted = u64::try_from(shared.config().get(KEY_LOAD_DELAY)).unwrap_or(0);
            if shared.shutdown_requested().is_some() {
                return Err(LoadError::Stopped);
            }
            if slept >= wanted {
                return Ok(());
            }
            let step = STEP_US.min(wanted - slept);
            std::thread::sleep(Duration::from_micros(step));
            slept += step;
        }
    }
}

/// Loads everything; on a thread of its own, while the cores have their seats.
///
/// # Errors
/// The first failure, wherever it was. What has been loaded until then is in the shards.
pub fn load(
    shared: &Arc<Shared>,
    table: &'static CommandTable,
    source: &Source,
    feeds: &Feeds,
) -> Result<(), LoadError> {
    let loaded = load_files(shared, table, source, feeds);
    match loaded {
        Ok(()) => Ok(()),
        Err(error) => Err(feeds.common.failure().unwrap_or(error)),
    }
}

/// As [`load`], of a snapshot; keys that are there already are replaced if `merge` is set.
///
/// # Errors
/// As of [`load`].
pub fn load_snapshot(shared: &Arc<Shared>, path: &Path, merge: bool, feeds: &Feeds) -> Result<(), LoadError> {
    let policy = SnapshotPolicy {
        expired_before: Some(UnixMillis::now()),
        merge,
        ..snapshot_policy(&shared.config())
    };
    let load = || {
        snapshot(&mut Reader::open(path)?, feeds, policy, &Delay::new(shared), shared)?;
        feeds.settle()
    };
    load().map_err(|error| feeds.common.failure().unwrap_or(error))
}

fn load_files(
    shared: &Arc<Shared>,
    table: &'static CommandTable,
    source: &Source,
    feeds: &Feeds,
) -> Result<(), LoadError> {
    let config = shared.config();
    let delay = Delay::new(shared);
    let start = Monotonic::now();
    let seconds = || Monotonic::now().since(start).as_secs_f64();
    match source {
        Source::Snapshot(path) => {
            let policy =
                SnapshotPolicy { expired_before: Some(UnixMillis::now()), ..snapshot_policy(&config) };
            snapshot(&mut Reader::open(path)?, feeds, policy, &delay, shared)?;
            feeds.settle()?;
            shared.log.notice(format!("DB loaded from disk: {:.3} seconds", seconds()));
        }
        Source::AppendOnly(parts) => {
            append_only(shared, table, parts, feeds, &delay)?;
            shared.log.notice(format!("DB loaded from append only file: {:.3} seconds", seconds()));
        }
    }
    Ok(())
}

fn append_only(
    shared: &Arc<Shared>,
    table: &'static CommandTable,
    parts: &AppendOnly,
    feeds: &Feeds,
    delay: &Delay,
) -> Result<(), LoadError> {
    let config = shared.config();
    let policy = snapshot_policy(&config);
    for loss in &parts.losses {
        shared.log.warning(loss);
    }
    let count = parts.files.len() + parts.generations.len();
    let told = |what: &str, name: &str, start: Monotonic| {
        if count > 1 {
            let seconds = Monotonic::now().since(start).as_secs_f64();
            shared.log.notice(format!("DB loaded from {what} {name}: {seconds:.3} seconds"));
        }
    };
    for (index, path) in parts.files.iter().enumerate() {
        let start = Monotonic::now();
        let tail =
            TailPolicy { allow_truncated: config.get(AOF_LOAD_TRUNCATED), is_last: index + 1 == count };
        redis_aof_file(path, feeds, table, policy, tail, delay, shared)?;
        feeds.settle()?;
        told(if index == 0 { "base file" } else { "incr file" }, &path.display().to_string(), start);
    }
    for segments in &parts.generations {
        let start = Monotonic::now();
        segments::replay(segments, feeds, table, policy.databases, delay)?;
        feeds.settle()?;
        let name = segments.first().map(|segment| segment.path.display().to_string()).unwrap_or_default();
        told(&format!("{} segments from", segments.len()), &name, start);
    }
    Ok(())
}

/// A file of commands, perhaps with a snapshot before them.
fn redis_aof_file(
    path: &Path,
    feeds: &Feeds,
    table: &'static CommandTable,
    policy: SnapshotPolicy,
    tail: TailPolicy,
    delay: &Delay,
    shared: &Shared,
) -> Result<(), LoadError> {
    let mut reader = Reader::open(path)?;
    reader.advance(0)?;
    if has_magic(reader.rest()) {
        snapshot(&mut reader, feeds, policy, delay, shared)?;
    }
    if let Tail::CutAt(offset) = resp::feed(&mut reader, feeds, table, policy.databases, tail, delay)? {
        let file = path.display();
        shared.log.warning(format!("!!! Warning: short read while loading the AOF file {file}!!!"));
        shared.log.warning(format!(
            "AOF {file} loaded anyway because aof-load-truncated is enabled; what follows offset {offset} is ignored"
        ));
    }
    Ok(())
}

fn snapshot_policy(config: &Config) -> SnapshotPolicy {
    SnapshotPolicy {
        databases: config.get(DATABASES) as usize,
        verify: config.get(RDBCHECKSUM),
        expired_before: None,
        merge: false,
    }
}

fn snapshot(
    reader: &mut Reader,
    feeds: &Feeds,
    policy: SnapshotPolicy,
    delay: &Delay,
    shared: &Shared,
) -> Result<(), LoadError> {
    // The base of an append-only file may be followed by commands; a dump of ours is cut into parts.
    let cuts = policy.expired_before.and_then(|_| extents::cuts(reader, feeds.shards()));
    let about = match &cuts {
        None => SnapshotFeeder::new(reader, feeds, policy, delay).run()?,
        Some(cuts) => extents::load(reader, cuts, feeds, policy, delay)?,
    };
    let progress = &feeds.common.progress;
    progress.keys_loaded.store(about.keys, Ordering::Relaxed);
    progress.keys_expired.store(about.expired, Ordering::Relaxed);
    let log = &shared.log;
    if let Some(version) = &about.made_by {
        log.notice(format!("Loading RDB produced by version {version}"));
    }
    if let Some(created) = about.created_s {
        log.notice(format!("RDB age {} seconds", now_s().saturating_sub(created)));
    }
    if let Some(bytes) = about.used_memory {
        log.notice(format!("RDB memory usage when created {:.2} Mb", bytes as f64 / f64::from(1 << 20)));
    }
    if about.is_aof_base {
        log.notice("RDB is base AOF");
    }
    if about.functions > 0 {
        log.warning(format!(
            "{} libraries of functions are not loaded: there are no functions yet",
            about.functions
        ));
    }
    log.notice(format!("Done loading RDB, keys loaded: {}, keys expired: {}.", about.keys, about.expired));
    Ok(())
}

/// Unix seconds, for [`Progress::begin`].
pub fn now_s() -> u64 {
    UnixMillis::now().as_secs()
}

#[cfg(test)]
mod tests;
