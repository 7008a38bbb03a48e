//! Loading without a server, for tests and for fuzzing: the feeders are the real ones. In place of the cores somebody
//! inserts entries and runs hops as a seat does; commands are noted, and not run.

use super::extents;
use super::feeds::{Feeds, Inbox, Job};
use super::reader::Reader;
use super::resp::{Tail, TailPolicy, feed};
use super::snapshot::{SnapshotFeeder, SnapshotPolicy};
use super::{Delay, LoadError, Progress};
use crate::base::UnixMillis;
use crate::command_table::CommandTable;
use crate::shard::Shard;
use std::path::Path;
use std::sync::Arc;

pub const DATABASES: usize = 16;

/// In order, with the database as the first word of each.
pub type Commands = Vec<Vec<Vec<u8>>>;

/// What each core would get of a file of commands, and where it was cut off, if it was.
pub fn commands(
    path: &Path,
    table: &'static CommandTable,
    shards: usize,
    allow_truncated: bool,
) -> (Vec<Commands>, Result<Option<u64>, LoadError>) {
    let policy = TailPolicy { allow_truncated, is_last: true };
    let load = |feeds: &Feeds| {
        let mut reader = Reader::open(path)?;
        feed(&mut reader, feeds, table, DATABASES, policy, &Delay(None))
    };
    // Only commands that cross shards wait for an answer.
    let is_small = path.metadata().is_ok_and(|metadata| metadata.len() < 64 << 10);
    let (cores, tail) =
        if shards == 1 && is_small { without_cores(shards, load) } else { with_cores(shards, load) };
    let cut = |tail| match tail {
        Tail::Whole => None,
        Tail::CutAt(offset) => Some(offset),
    };
    (cores.into_iter().map(|core| core.commands).collect(), tail.map(cut))
}

/// How many keys of a small snapshot are loaded, and how many have expired; by several feeders if there are shards enough and
/// the file's index allows it.
///
/// # Errors
/// Why the file is refused.
pub fn snapshot(path: &Path, shards: usize, policy: SnapshotPolicy) -> Result<(u64, u64), LoadError> {
    let (cores, about) = without_cores(shards, |feeds| {
        let mut reader = Reader::open(path)?;
        match extents::cuts(&reader, shards) {
            None => SnapshotFeeder::new(&mut reader, feeds, policy, &Delay(None)).run(),
            Some(cuts) => extents::load(&reader, &cuts, feeds, policy, &Delay(None)),
        }
    });
    let about = about?;
    let mut keys = 0;
    for core in cores {
        core.failure.map_or(Ok(()), Err)?;
        keys += core.keys;
    }
    Ok((keys, about.expired))
}

/// As `rdbchecksum` says, at a moment of 1970.
pub fn policy(verify: bool) -> SnapshotPolicy {
    SnapshotPolicy { databases: DATABASES, verify, expired_before: Some(UnixMillis(1_000_000)), merge: false }
}

/// What a core was sent.
#[derive(Default)]
struct Core {
    commands: Commands,
    keys: u64,
    failure: Option<LoadError>,
}

/// More than a small file can make: nobody need take jobs while it is read.
const LONG_QUEUE: usize = 4096;

/// Without threads for the cores: for feeders that wait for no answer, and files of a few kilobytes.
fn without_cores<T>(
    shards: usize,
    load: impl FnOnce(&Feeds) -> Result<T, LoadError>,
) -> (Vec<Core>, Result<T, LoadError>) {
    let progress = Arc::new(Progress::default());
    let (feeds, inboxes) = Feeds::with_queues(LONG_QUEUE, shards, Arc::default(), progress);
    let loaded = load(&feeds);
    drop(feeds);
    (inboxes.into_iter().map(work).collect(), loaded)
}

fn with_cores<T>(
    shards: usize,
    load: impl FnOnce(&Feeds) -> Result<T, LoadError>,
) -> (Vec<Core>, Result<T, LoadError>) {
    let (feeds, inboxes) = Feeds::new(shards, Arc::default(), Arc::new(Progress::default()));
    std::thread::scope(|scope| {
        let cores: Vec<_> = inboxes.into_iter().map(|inbox| scope.spawn(move || work(inbox))).collect();
        let loaded = load(&feeds);
        drop(feeds);
        (cores.into_iter().map(|core| core.join().expect("no panic")).collect(), loaded)
    })
}

fn work(inbox: Inbox) -> Core {
    let mut core = Core::default();
    let mut shard = Shard::new(DATABASES, [1, 2, 3, 4]);
    let words = |db: usize, argv: crate::resp::Argv<'_>| {
        std::iter::once(db.to_string().into_bytes()).chain(argv.iter().map(<[u8]>::to_vec)).collect()
    };
    for job in inbox.jobs {
        match job {
            Job::Commands(batch) => {
                let items = batch.items().iter();
                core.commands.extend(items.map(|item| words(item.db as usize, batch.argv(item))));
            }
            Job::Everywhere { db, argv, .. } => core.commands.push(words(db, argv.as_argv())),
            Job::Entries(batch) => core.failure = core.failure.or(batch.insert_into(&mut shard).err()),
            Job::Reserve { db, keys, expires } => shard.databases[db].reserve(keys, expires),
            Job::Hop { db, place, run, result } => {
                let done = run(&mut shard.context(db, UnixMillis(0), true));
                // Nobody waits for it if loading has stopped.
                let _ = result.send((place, done));
            }
            Job::Settled(done) => _ = done.send(()),
            Job::Call(_) => panic!("only a server sends these"),
        }
    }
    core.keys = shard.databases.iter().map(|keyspace| keyspace.len() as u64).sum();
    core
}
