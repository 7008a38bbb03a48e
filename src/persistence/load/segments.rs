//! Replays our own segments: all those of one generation side by side, each with a feeder of its own.
//!
//! Segments of different shards are about different keys, so nothing orders them but what is about all keys (FLUSHALL,
//! FLUSHDB, SWAPDB). Those have a record in every segment: when all feeders have come to it, it is done once. How many
//! shards there are now does not matter: a command goes where its keys live today.
//!
//! The recovery has read the segments before and settled where they end; what is here is whole.
//!
//! Invariants
//!   G1  At a meeting every feeder has sent what stands before it; none sends what stands behind it before the work of
//!       the meeting is sent.

use super::feeds::Feeds;
use super::reader::Reader;
use super::router::{Arguments, Router};
use super::{Delay, LoadError, Remedy};
use crate::command_table::{CommandTable, Handler};
use crate::persistence::aof::format::{MARK_BYTES, MARK_TAG, mark_bytes};
use crate::resp::{ArgRange, Argv};
use crate::shard::journal::record::{Decoded, Effect, Record};
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, PoisonError};

/// A segment, or the part of it that counts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Segment {
    pub path: PathBuf,
    /// Where the first record is.
    pub start: u64,
    /// Behind the last one.
    pub end: u64,
}

/// Replays the segments of one generation.
///
/// # Errors
/// If one of them is not what the recovery has seen, or loading has stopped.
pub fn replay(
    segments: &[Segment],
    feeds: &Feeds,
    table: &'static CommandTable,
    databases: usize,
    delay: &Delay,
) -> Result<(), LoadError> {
    let meeting = Meeting::new(segments.len());
    std::thread::scope(|scope| {
        let feeders: Vec<_> = segments
            .iter()
            .map(|segment| {
                let feeder = || {
                    let result = feed(segment, feeds, table, databases, &meeting, delay);
                    meeting.leave(result.is_err());
                    result
                };
                std::thread::Builder::new().name("loader".into()).spawn_scoped(scope, feeder)
            })
            .collect();
        let results: Vec<Result<(), LoadError>> = feeders
            .into_iter()
            .map(|feeder| match feeder {
                Ok(feeder) => feeder.join().unwrap_or(Err(LoadError::Stopped)),
                Err(error) => {
                    meeting.leave(true);
                    Err(LoadError::Thread(error))
                }
            })
            .collect();
        // Others stop because of the first; that one knows why.
        let stopped = |result: &Result<(), LoadError>| matches!(result, Err(LoadError::Stopped));
        let (stopped, telling): (Vec<_>, Vec<_>) = results.into_iter().partition(stopped);
        telling.into_iter().chain(stopped).collect()
    })
}

fn feed(
    segment: &Segment,
    feeds: &Feeds,
    table: &'static CommandTable,
    databases: usize,
    meeting: &Meeting,
    delay: &Delay,
) -> Result<(), LoadError> {
    let mut reader = Reader::open(&segment.path)?;
    let damaged = |offset, what: &str| LoadError::AofFormat {
        file: segment.path.display().to_string(),
        offset,
        what: what.to_owned(),
        remedy: Remedy::CheckAof,
    };
    if segment.end > reader.end() {
        return Err(damaged(reader.end(), "the file is too short"));
    }
    reader = reader.part(segment.start, segment.end)?;
    let mut router = Router::new(feeds.clone(), table, databases, reader.name());
    let mut ranges = Vec::new();
    while !reader.is_at_end() {
        let rest = reader.rest();
        let is_mark = rest.starts_with(&MARK_TAG);
        let mark = rest.first_chunk().filter(|_| is_mark).and_then(mark_bytes);
        let needed = if is_mark && rest.len() < MARK_BYTES && !reader.is_last() {
            MARK_BYTES - rest.len()
        } else if let Some(bytes) = mark {
            // Of the zeros behind the last one some may be missing.
            let bytes = (bytes as u64).min(rest.len() as u64 + reader.left()) as usize;
            if bytes <= rest.len() {
                reader.consume(bytes);
                continue;
            }
            bytes - rest.len()
        } else {
            match Record::decode(rest) {
                Decoded::Record(record) => {
                    for effect in record.effects() {
                        let effect = effect.expect("the record is decoded");
                        take(&mut router, &reader, &effect, &mut ranges, meeting)?;
                        delay.key()?;
                    }
                    let length = record.length;
                    reader.consume(length);
                    router.weigh(length as u64);
                    continue;
                }
                Decoded::Incomplete(length) => length - rest.len(),
                // A few bytes of zeros may be the beginning of a record's end; the recovery has excluded others.
                Decoded::End if !reader.is_last() => 1,
                Decoded::End => return Err(damaged(reader.offset(), "records are missing")),
                Decoded::Damaged(what) => return Err(damaged(reader.offset(), what)),
            }
        };
        if needed as u64 > reader.left() {
            return Err(damaged(reader.offset(), "the record is cut off"));
        } else {
            reader.advance(needed)?;
            router.begin_piece(reader.piece())?;
        }
    }
    router.flush()
}

fn take(
    router: &mut Router,
    reader: &Reader,
    effect: &Effect<'_>,
    ranges: &mut Vec<ArgRange>,
    meeting: &Meeting,
) -> Result<(), LoadError> {
    // Places in the piece: an effect lies in the record, the record in the piece. From the beginning of the effect,
    // since a record may be longer than places can say.
    let start = effect.bytes().as_ptr() as usize - reader.piece().as_ptr() as usize;
    ranges.clear();
    ranges.extend(effect.places().map(|place| ArgRange::new(place.start, place.len())));
    let arguments = Arguments::Placed { piece: reader.piece(), start, ranges };
    let argv: Argv<'_> = arguments.argv();
    let command = router.resolve(argv, reader.offset())?;
    if effect.db >= router.databases() {
        let databases = router.databases();
        let what = format!("database {} is used, and there are only {databases} databases", effect.db);
        return Err(router.format(reader.offset(), &what));
    }
    if meeting.parties > 1 && matches!(command.spec.handler, Handler::EveryCore { .. }) {
        router.flush()?;
        let together = meeting.meet(|| router.take(&command, effect.db, reader.offset(), arguments))?;
        let alone = "other segments end before what is about all keys";
        return if together { Ok(()) } else { Err(router.format(reader.offset(), alone)) };
    }
    router.take(&command, effect.db, reader.offset(), arguments)
}

/// Where feeders wait for one another.
struct Meeting {
    parties: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: usize,
    held: u64,
    left: usize,
    failed: bool,
}

impl Meeting {
    fn new(parties: usize) -> Self {
        Self { parties, state: Mutex::default(), changed: Condvar::new() }
    }

    /// Waits until all are here; the last does the work (G1). False if some will never come.
    fn meet(&self, work: impl FnOnce() -> Result<(), LoadError>) -> Result<bool, LoadError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.waiting += 1;
        if state.waiting == self.parties {
            work()?;
            state.waiting = 0;
            state.held += 1;
            self.changed.notify_all();
            return Ok(true);
        }
        let held = state.held;
        while state.held == held {
            if state.failed {
                return Err(LoadError::Stopped);
            }
            if state.left > 0 {
                return Ok(false);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(true)
    }

    /// Somebody will not come any more.
    fn leave(&self, failed: bool) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.left += 1;
        state.failed |= failed;
        drop(state);
        self.changed.notify_all();
    }
}
