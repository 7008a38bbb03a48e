//! Finds the keys of a snapshot and hands them to their owners.

use super::batch::Piece;
use super::entries::{Access, EntryBatch, Places};
use super::feeds::{Feeds, Job};
use super::reader::Reader;
use super::{Delay, LoadError};
use crate::base::UnixMillis;
use crate::base::crc::crc64;
use crate::base::number::parse_i64;
use crate::persistence::rdb::{self, Damage, Problem, Text, VERSION_MAX, code, opcode, skip_value};
use crate::shard::shard_of_key;
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

const HEADER: usize = 9;
const CHECKSUM: usize = 8;
/// Snapshots have had a checksum since this version.
const CHECKSUM_SINCE: u16 = 5;

/// A batch with this many keys is sent before its piece is read.
const ITEMS_MAX: usize = 16_384;

/// How a snapshot is to be taken.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotPolicy {
    pub databases: usize,
    /// `rdbchecksum`
    pub verify: bool,
    /// Keys whose deadline was before this are left out. None for the base of an append-only file: what follows may
    /// be about them.
    pub expired_before: Option<UnixMillis>,
}

/// What a snapshot says of itself.
#[derive(Clone, Debug, Default)]
pub struct About {
    pub version: u16,
    pub made_by: Option<String>,
    pub created_s: Option<u64>,
    pub used_memory: Option<u64>,
    pub is_aof_base: bool,
    pub functions: u64,
    pub keys: u64,
    pub expired: u64,
}

pub struct SnapshotFeeder<'a> {
    reader: &'a mut Reader,
    feeds: &'a Feeds,
    policy: SnapshotPolicy,
    delay: &'a Delay,
    file: Arc<str>,
    batches: Vec<EntryBatch>,
    piece: Piece,
    weight: u64,
    /// Of all before `summed`, a place in the piece.
    checksum: u64,
    summed: usize,
    db: usize,
    deadline: Option<UnixMillis>,
    access: Access,
    about: About,
}

/// Why the records of a piece end.
enum Stop {
    /// So many bytes more belong to the record.
    Incomplete(usize),
    Failed(LoadError),
}

/// What stands at some place.
enum Found<'a> {
    /// Something that needs no more than to be passed over.
    Passed,
    Aux(Text<'a>, Text<'a>),
    Select(u64),
    Deadline(UnixMillis),
    Access(Access),
    Function,
    Key {
        type_code: u8,
        key: Text<'a>,
        value_at: usize,
    },
    End,
}

impl<'a> SnapshotFeeder<'a> {
    pub fn new(reader: &'a mut Reader, feeds: &'a Feeds, policy: SnapshotPolicy, delay: &'a Delay) -> Self {
        let file: Arc<str> = reader.name().into();
        let batches = (0..feeds.shards()).map(|_| EntryBatch::default()).collect();
        let (piece, summed) = (reader.piece().clone(), reader.place());
        Self {
            reader,
            feeds,
            policy,
            delay,
            file,
            batches,
            piece,
            weight: 0,
            checksum: 0,
            summed,
            db: 0,
            deadline: None,
            access: Access::Unknown,
            about: About::default(),
        }
    }

    /// Reads from the header to the checksum.
    ///
    /// # Errors
    /// If the file cannot be read or understood, or loading has stopped.
    pub fn run(mut self) -> Result<About, LoadError> {
        self.header()?;
        while !self.piece()? {}
        self.end()?;
        Ok(self.about)
    }

    fn failed(&self, offset: u64, key: Option<Vec<u8>>, what: impl Into<String>) -> LoadError {
        LoadError::Rdb { file: self.file.to_string(), offset, key, what: what.into() }
    }

    /// Reads on until so many bytes more are there.
    fn more(&mut self, needed: usize) -> Result<(), LoadError> {
        if needed as u64 > self.reader.left() {
            let what = Problem::Incomplete(needed).to_string();
            return Err(self.failed(self.reader.end(), None, what));
        }
        self.sum();
        self.flush()?;
        self.reader.advance(needed)?;
        self.piece = self.reader.piece().clone();
        self.summed = self.reader.place();
        Ok(())
    }

    /// Brings the checksum up to what is understood.
    fn sum(&mut self) {
        let place = self.reader.place();
        if self.policy.verify {
            self.checksum = crc64(self.checksum, &self.piece[self.summed..place]);
        }
        self.summed = place;
    }

    fn consume(&mut self, count: usize) {
        self.reader.consume(count);
        self.weight += count as u64;
    }

    fn header(&mut self) -> Result<(), LoadError> {
        if self.reader.rest().len() < HEADER {
            self.more(HEADER - self.reader.rest().len())?;
        }
        let header = &self.reader.rest()[..HEADER];
        let version = header.strip_prefix(super::RDB_MAGIC).and_then(parse_version);
        let Some(version) = version else {
            return Err(self.failed(
                self.reader.offset(),
                None,
                "Wrong signature trying to load DB from file",
            ));
        };
        if !(1..=VERSION_MAX).contains(&version) {
            let what = format!("Can't handle RDB format version {version}");
            return Err(self.failed(self.reader.offset(), None, what));
        }
        self.about.version = version;
        self.consume(HEADER);
        Ok(())
    }

    /// The records that lie whole in the piece, and then the next piece; whether there are no more.
    fn piece(&mut self) -> Result<bool, LoadError> {
        let piece = self.piece.clone();
        loop {
            let (place, offset) = (self.reader.place(), self.reader.offset());
            let mut bytes = rdb::Reader::at(&piece[place..], offset);
            match look(&mut bytes) {
                Ok(found) => match self.found(found, &mut bytes, place, offset) {
                    Ok(false) => self.consume(bytes.position()),
                    Ok(true) => {
                        self.consume(bytes.position());
                        return Ok(true);
                    }
                    Err(Stop::Incomplete(needed)) => return self.more(needed).map(|()| false),
                    Err(Stop::Failed(error)) => return Err(error),
                },
                Err(Damage { problem: Problem::Incomplete(needed), .. }) => {
                    return self.more(needed).map(|()| false);
                }
                Err(damage) => return Err(self.failed(damage.offset, None, damage.problem.to_string())),
            }
        }
    }

    /// Takes what was found; whether it was the end.
    fn found(
        &mut self,
        found: Found<'_>,
        bytes: &mut rdb::Reader<'_>,
        place: usize,
        offset: u64,
    ) -> Result<bool, Stop> {
        match found {
            Found::End => return Ok(true),
            Found::Passed => {}
            Found::Aux(name, value) => self.aux(&name.to_vec(), &value.to_vec()),
            Found::Select(db) if db >= self.policy.databases as u64 => {
                let databases = self.policy.databases;
                let what = format!(
                    "Data file was created with a Redis server configured to handle more than {databases} databases"
                );
                return Err(Stop::Failed(self.failed(offset, None, what)));
            }
            Found::Select(db) => self.db = db as usize,
            Found::Deadline(deadline) => self.deadline = Some(deadline),
            Found::Access(access) => self.access = access,
            Found::Function => self.about.functions += 1,
            Found::Key { type_code, key, value_at } => {
                match skip_value(type_code, bytes) {
                    Ok(()) => {}
                    Err(Damage { problem: Problem::Incomplete(needed), .. }) => {
                        return Err(Stop::Incomplete(needed));
                    }
                    Err(damage) => {
                        let what = format!("{} (type {type_code})", damage.problem);
                        return Err(Stop::Failed(self.failed(damage.offset, Some(key.to_vec()), what)));
                    }
                }
                let value = place + value_at..place + bytes.position();
                let key_place = match &key {
                    // Keys end where their values begin.
                    Text::Bytes(Cow::Borrowed(key)) => Some(value.start - key.len()..value.start),
                    _ => None,
                };
                let places = Places { key: &key, key_place, value, offset: offset + value_at as u64 };
                self.key(type_code, places).map_err(Stop::Failed)?;
            }
        }
        Ok(false)
    }

    #[inline]
    fn key(&mut self, type_code: u8, places: Places<'_>) -> Result<(), LoadError> {
        let (deadline, access) = (self.deadline.take(), std::mem::take(&mut self.access));
        self.delay.key()?;
        if let (Some(deadline), Some(now)) = (deadline, self.policy.expired_before)
            && deadline < now
        {
            self.about.expired += 1;
            return Ok(());
        }
        self.about.keys += 1;
        let shards = self.batches.len();
        let mut scratch = itoa::Buffer::new();
        let shard = shard_of_key(places.key.as_bytes(&mut scratch), shards);
        let batch = &mut self.batches[shard];
        batch.push(self.db, type_code, deadline, access, places);
        if batch.len() >= ITEMS_MAX { self.send(shard) } else { Ok(()) }
    }

    fn aux(&mut self, name: &[u8], value: &[u8]) {
        let text = || Some(String::from_utf8_lossy(value).into_owned());
        let number = || parse_i64(value).and_then(|number| u64::try_from(number).ok());
        match name {
            b"redis-ver" | b"valkey-ver" => self.about.made_by = text(),
            b"ctime" => self.about.created_s = number(),
            b"used-mem" => {
                self.about.used_memory = number();
                let used = number().unwrap_or(0);
                self.feeds.common.progress.rdb_used_memory.store(used, Ordering::Relaxed);
            }
            b"aof-preamble" | b"aof-base" => self.about.is_aof_base = value == b"1",
            _ => {}
        }
    }

    /// The checksum behind the last record.
    fn end(&mut self) -> Result<(), LoadError> {
        self.sum();
        if self.about.version >= CHECKSUM_SINCE {
            if self.reader.rest().len() < CHECKSUM {
                self.more(CHECKSUM - self.reader.rest().len())?;
            }
            let stored = self.reader.rest().first_chunk().expect("as many bytes are there");
            let stored = u64::from_le_bytes(*stored);
            if self.policy.verify && stored != 0 && stored != self.checksum {
                let what =
                    format!("Wrong RDB checksum expected: ({:016x}) but got ({stored:016x})", self.checksum);
                return Err(self.failed(self.reader.offset(), None, what));
            }
            self.consume(CHECKSUM);
        }
        self.flush()
    }

    fn flush(&mut self) -> Result<(), LoadError> {
        (0..self.batches.len()).try_for_each(|shard| self.send(shard))
    }

    fn send(&mut self, shard: usize) -> Result<(), LoadError> {
        if self.batches[shard].is_empty() {
            return Ok(());
        }
        let mut batch = std::mem::take(&mut self.batches[shard]);
        batch.piece = self.piece.clone();
        batch.file = self.file.clone();
        batch.weight = std::mem::take(&mut self.weight);
        self.feeds.send(shard, Job::Entries(batch))
    }
}

fn parse_version(digits: &[u8]) -> Option<u16> {
    digits.iter().all(u8::is_ascii_digit).then(|| parse_number(digits))
}

fn parse_number(digits: &[u8]) -> u16 {
    digits.iter().fold(0, |number, digit| number * 10 + u16::from(digit - b'0'))
}

/// What the bytes begin with. A key's value is not passed over yet.
#[inline]
fn look<'b>(bytes: &mut rdb::Reader<'b>) -> Result<Found<'b>, Damage> {
    let offset = bytes.offset();
    let type_code = bytes.byte()?;
    Ok(match type_code {
        opcode::EOF => Found::End,
        opcode::SELECT_DB => Found::Select(bytes.length()?),
        opcode::RESIZE_DB => {
            bytes.length()?;
            bytes.length()?;
            Found::Passed
        }
        opcode::SLOT_INFO => {
            for _ in 0..3 {
                bytes.length()?;
            }
            Found::Passed
        }
        opcode::AUX => Found::Aux(bytes.string()?, bytes.string()?),
        opcode::EXPIRE_MS => {
            // Before the epoch: long gone.
            Found::Deadline(UnixMillis(u64::try_from(bytes.u64_le()? as i64).unwrap_or(0)))
        }
        opcode::EXPIRE_SECONDS => {
            let seconds = u64::try_from(bytes.u32_le()? as i32).unwrap_or(0);
            Found::Deadline(UnixMillis(seconds * 1000))
        }
        opcode::IDLE => Found::Access(Access::IdleSeconds(bytes.length()?)),
        opcode::FREQ => Found::Access(Access::Frequency(bytes.byte()?)),
        opcode::FUNCTION => {
            bytes.skip_string()?;
            Found::Function
        }
        opcode::FUNCTION_EARLY => {
            return bytes
                .wrong(offset, "a function in the form of a release candidate, which no release reads");
        }
        opcode::MODULE_AUX => return bytes.wrong(offset, "data of a module, which cannot be loaded"),
        code::MODULE | code::MODULE_2 => {
            bytes.string()?;
            return bytes.wrong(offset, "a value of a module type, which cannot be loaded");
        }
        _ => {
            let key = bytes.string()?;
            let at = bytes.position();
            Found::Key { type_code, key, value_at: at }
        }
    })
}
