//! Replays our own segments: those of one generation side by side, for their keys are disjoint, whatever the number of
//! shards was then and is now.
//!
//! What is about all keys (FLUSHALL, FLUSHDB, SWAPDB) stands in the segment of every shard. It is done once, when all
//! segments have come to it; nothing behind it is fed before.

use super::feeds::Feeds;
use super::router::{Arguments, Router};
use super::{Delay, LoadError};
use crate::command_table::{CommandTable, Handler};
use crate::disk::Mapped;
use crate::persistence::aof::format::{Header, MARK_BYTES, START, decode_mark};
use crate::persistence::aof::recovery::Replay;
use crate::resp::{ArgRange, Argv, ArgvBuf};
use crate::shard::journal::record::{Decoded, Effect, Record};
use std::path::Path;

/// One segment and how far it has been fed.
struct Cursor<'a> {
    segment: &'a Replay,
    file: Mapped,
    run: u64,
    at: usize,
    /// Effects of the record at `at` that have been fed.
    fed: usize,
}

/// Why a cursor stands.
enum Stop {
    End,
    /// At an effect about all keys.
    Barrier {
        db: usize,
        argv: ArgvBuf,
    },
}

/// Loads the segments, which are in the order of their generations.
///
/// # Errors
/// If one cannot be read, or says what cannot be run.
pub fn feed(
    directory: &Path,
    segments: &[Replay],
    feeds: &Feeds,
    table: &'static CommandTable,
    databases: usize,
    delay: &Delay,
) -> Result<(), LoadError> {
    for generation in segments.chunk_by(|a, b| a.generation == b.generation) {
        let open = |segment| Cursor::open(directory, segment);
        let mut cursors = generation.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        loop {
            let stops = advance_all(&mut cursors, feeds, table, databases, delay)?;
            let Some(barrier) = stops.iter().position(|stop| matches!(stop, Stop::Barrier { .. })) else {
                break;
            };
            for (cursor, stop) in cursors.iter_mut().zip(&stops) {
                match (stop, &stops[barrier]) {
                    (Stop::Barrier { db, argv }, Stop::Barrier { db: other_db, argv: other })
                        if db == other_db && argv.as_argv().iter().eq(other.as_argv().iter()) =>
                    {
                        cursor.fed += 1;
                    }
                    _ => {
                        return Err(
                            cursor.damaged("another segment has an effect on all keys that is missing here")
                        );
                    }
                }
            }
            let Stop::Barrier { db, argv } = &stops[barrier] else { unreachable!("just found") };
            let first = &cursors[barrier];
            let mut router = Router::new(feeds.clone(), table, databases, &first.segment.file);
            let command = router.resolve(argv.as_argv(), first.at as u64)?;
            router.take(&command, *db, first.at as u64, Arguments::Apart(argv.as_argv()))?;
        }
    }
    Ok(())
}

/// Each on a thread of its own, up to its end or to the next effect on all keys.
fn advance_all(
    cursors: &mut [Cursor<'_>],
    feeds: &Feeds,
    table: &'static CommandTable,
    databases: usize,
    delay: &Delay,
) -> Result<Vec<Stop>, LoadError> {
    std::thread::scope(|scope| {
        let started: Vec<_> = cursors
            .iter_mut()
            .map(|cursor| {
                let router = Router::new(feeds.clone(), table, databases, &cursor.segment.file);
                scope.spawn(move || cursor.advance(router, delay))
            })
            .collect();
        let ended: Vec<_> =
            started.into_iter().map(|thread| thread.join().expect("it does not panic")).collect();
        ended.into_iter().collect()
    })
}

impl<'a> Cursor<'a> {
    fn open(directory: &Path, segment: &'a Replay) -> Result<Self, LoadError> {
        let path = directory.join(&segment.file);
        let failed = |source| LoadError::Open { file: path.display().to_string(), source };
        let file = Mapped::open(&path).map_err(failed)?;
        let mut cursor = Self { segment, file, run: 0, at: START as usize, fed: 0 };
        cursor.run = Header::decode(&cursor.file).map_err(|problem| cursor.damaged(problem))?.run;
        Ok(cursor)
    }

    fn damaged(&self, what: &str) -> LoadError {
        LoadError::AofFormat {
            file: self.segment.file.clone(),
            offset: self.at as u64,
            what: what.to_owned(),
            remedy: super::Remedy::CheckAof,
        }
    }

    fn advance(&mut self, mut router: Router, delay: &Delay) -> Result<Stop, LoadError> {
        let end = self.segment.end as usize;
        let mut ranges: Vec<ArgRange> = Vec::new();
        while self.at < end {
            if decode_mark(&self.file, self.at, self.run).is_some() {
                self.at += MARK_BYTES;
                router.weigh(MARK_BYTES as u64);
                continue;
            }
            let Decoded::Record(record) = Record::decode(&self.file[self.at..end]) else {
                return Err(self.damaged("the record has changed since it was checked"));
            };
            let effects: Vec<Effect<'_>> = record.effects().skip(self.fed).flatten().collect();
            for effect in effects {
                let argv = argv(&effect, &mut ranges);
                let offset = self.at as u64;
                let command = router.resolve(argv, offset)?;
                if matches!(command.spec.handler, Handler::EveryCore { .. }) {
                    let stop = Stop::Barrier { db: effect.db, argv: argv.to_owned() };
                    router.flush()?;
                    return Ok(stop);
                }
                router.take(&command, effect.db, offset, Arguments::Apart(argv))?;
                delay.key()?;
                self.fed += 1;
            }
            router.weigh(record.length as u64);
            self.at += record.length;
            self.fed = 0;
        }
        router.flush()?;
        Ok(Stop::End)
    }
}

fn argv<'a>(effect: &Effect<'a>, ranges: &'a mut Vec<ArgRange>) -> Argv<'a> {
    ranges.clear();
    ranges.extend(effect.places().map(|place| ArgRange::new(place.start, place.len())));
    Argv::new(effect.bytes(), ranges)
}
