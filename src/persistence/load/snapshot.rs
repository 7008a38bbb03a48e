//! Finds the keys of a snapshot and hands them to their owners.

use super::batch::Piece;
use super::entries::EntryBatch;
use super::feeds::{Feeds, Job};
use super::reader::Reader;
use super::{Delay, LoadError};
use crate::base::UnixMillis;
use crate::base::crc::crc64;
use crate::base::number::parse_i64;
use crate::persistence::rdb::reader::{Entry, FileDamage, FileProblem, FileReader, Item, Step};
use crate::persistence::rdb::{Problem, Text};
use crate::shard::shard_of_key;
use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Bytes of the checksum at the end of a file.
const CHECKSUM: usize = 8;

/// A batch with this many keys is sent before its piece is read.
const ITEMS_MAX: usize = 16_384;

/// Keys are reserved for as if each took no more of the file than this. Most take more; a count beyond is not believed.
const KEY_BYTES: u64 = 8;

/// How a snapshot is to be taken.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotPolicy {
    pub databases: usize,
    /// `rdbchecksum`
    pub verify: bool,
    /// Keys whose deadline was before this are left out. None for the base of an append-only file: what follows may
    /// be about them.
    pub expired_before: Option<UnixMillis>,
    /// Keys that are there already are replaced.
    pub merge: bool,
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

impl About {
    /// What another part of the same file has come to.
    pub fn add(&mut self, other: &Self) {
        self.keys += other.keys;
        self.expired += other.expired;
        self.functions += other.functions;
    }
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
    /// Keys that the rest of the file may hold beyond those that are reserved for.
    reservable: u64,
    /// The bytes end where another part begins.
    is_part: bool,
    about: About,
}

impl<'a> SnapshotFeeder<'a> {
    pub fn new(reader: &'a mut Reader, feeds: &'a Feeds, policy: SnapshotPolicy, delay: &'a Delay) -> Self {
        let file: Arc<str> = reader.name().into();
        let batches = (0..feeds.shards()).map(|_| EntryBatch::default()).collect();
        let (piece, summed) = (reader.piece().clone(), reader.place());
        let reservable = reader.file_bytes() / KEY_BYTES;
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
            reservable,
            is_part: false,
            about: About::default(),
        }
    }

    /// Reads from the header to the checksum.
    ///
    /// # Errors
    /// If the file cannot be read or understood, or loading has stopped.
    pub fn run(self) -> Result<About, LoadError> {
        self.run_rest(FileReader::new())
    }

    /// Reads from where the records say to the checksum.
    ///
    /// # Errors
    /// As of [`SnapshotFeeder::run`].
    pub fn run_rest(mut self, mut records: FileReader) -> Result<About, LoadError> {
        assert_eq!(self.reader.offset(), records.offset(), "both stand at the same place");
        while !self.records(&mut records)? {}
        self.flush()?;
        Ok(self.about)
    }

    /// Reads a part of a file, which has no end of its own; with the checksum of the part.
    ///
    /// # Errors
    /// As of [`SnapshotFeeder::run`].
    pub fn run_part(mut self, mut records: FileReader) -> Result<(About, u64), LoadError> {
        assert_eq!(self.reader.offset(), records.offset(), "both stand at the same place");
        self.is_part = true;
        while !self.records(&mut records)? {}
        self.sum(self.reader.place());
        self.flush()?;
        Ok((self.about, self.checksum))
    }

    /// What is read now comes behind bytes with this checksum.
    pub fn continue_checksum(&mut self, checksum: u64) {
        self.checksum = checksum;
    }

    fn failed(&self, offset: u64, key: Option<Vec<u8>>, what: impl Into<String>) -> LoadError {
        LoadError::Rdb { file: self.file.to_string(), offset, key, what: what.into() }
    }

    /// Reads on until so many bytes more are there.
    fn more(&mut self, needed: usize) -> Result<(), LoadError> {
        // What cannot come is not read to see that it does not: a damaged length asks for anything.
        if needed as u64 > self.reader.left() {
            return Err(self.failed(self.reader.end(), None, Problem::Incomplete(needed).to_string()));
        }
        self.sum(self.reader.place());
        self.flush()?;
        self.reader.advance(needed)?;
        self.piece = self.reader.piece().clone();
        self.summed = self.reader.place();
        Ok(())
    }

    /// Brings the checksum up to a place in the piece.
    fn sum(&mut self, place: usize) {
        if self.policy.verify {
            self.checksum = crc64(self.checksum, &self.piece[self.summed..place]);
        }
        self.summed = place;
    }

    /// The records that lie whole in the piece, and then the next piece; whether there are no more.
    fn records(&mut self, records: &mut FileReader) -> Result<bool, LoadError> {
        let piece = self.piece.clone();
        loop {
            let place = self.reader.place();
            if self.is_part && self.reader.is_at_end() {
                return Ok(true);
            }
            let (item, consumed) = match records.step(&piece[place..]) {
                Ok(Step::Item(item, consumed)) => (item, consumed),
                Ok(Step::More(needed)) => return self.more(needed).map(|()| false),
                Err(FileDamage { damage, entry: Some((key, _)), kind: FileProblem::Damaged }) => {
                    return Err(self.failed(damage.offset, Some(key), damage.problem.to_string()));
                }
                Err(damage) => return Err(self.failed(damage.damage.offset, None, damage.to_string())),
            };
            let end = place + consumed;
            self.weight += consumed as u64;
            let over = matches!(item, Item::End { .. });
            match item {
                Item::Entry(entry) => {
                    let value = end - entry.value.len()..end;
                    let key_place = match &entry.key {
                        // Keys end where their values begin.
                        Text::Bytes(Cow::Borrowed(key)) => Some(value.start - key.len()..value.start),
                        _ => None,
                    };
                    self.entry(&entry, key_place, value)?;
                }
                Item::End { .. } if self.is_part => {
                    let what = "the end stands before what the index names";
                    return Err(self.failed(self.reader.offset(), None, what));
                }
                Item::End { checksum } => self.check(checksum, end)?,
                item => self.other(&item)?,
            }
            self.reader.consume(consumed);
            if over {
                return Ok(true);
            }
        }
    }

    fn other(&mut self, item: &Item<'_>) -> Result<(), LoadError> {
        match item {
            Item::Header(version) => self.about.version = *version,
            Item::Aux { name, value } => self.aux(&name.to_vec(), &value.to_vec()),
            Item::SelectDb(db) => {
                if *db >= self.policy.databases as u64 {
                    let databases = self.policy.databases;
                    let what = format!(
                        "Data file was created with a Redis server configured to handle more than {databases} databases"
                    );
                    return Err(self.failed(self.reader.offset(), None, what));
                }
                self.db = *db as usize;
            }
            Item::Function(_) => self.about.functions += 1,
            Item::ResizeDb { keys, expires } => self.reserve(*keys, *expires)?,
            Item::SlotInfo => {}
            Item::Entry(_) | Item::End { .. } => unreachable!("taken by the caller"),
        }
        Ok(())
    }

    /// Announces to each shard its part of what a database has.
    fn reserve(&mut self, keys: u64, expires: u64) -> Result<(), LoadError> {
        let keys = keys.min(self.reservable);
        self.reservable -= keys;
        let (db, shards) = (self.db, self.feeds.shards());
        let part = |count: u64| (count / shards as u64) as usize;
        let (keys, expires) = (part(keys), part(expires.min(keys)));
        (0..shards).try_for_each(|shard| self.feeds.send(shard, Job::Reserve { db, keys, expires }))
    }

    /// The checksum stands in the last bytes before `end`.
    fn check(&mut self, stored: Option<u64>, end: usize) -> Result<(), LoadError> {
        let Some(stored) = stored else { return Ok(()) };
        self.sum(end - CHECKSUM);
        self.summed = end;
        if self.policy.verify && stored != self.checksum {
            let what = format!("Wrong RDB checksum expected: ({:x}) but got ({stored:x})", self.checksum);
            return Err(self.failed(self.reader.offset(), None, what));
        }
        Ok(())
    }

    #[inline]
    fn entry(
        &mut self,
        entry: &Entry<'_>,
        key_place: Option<Range<usize>>,
        value: Range<usize>,
    ) -> Result<(), LoadError> {
        self.delay.key()?;
        if let (Some(deadline), Some(now)) = (entry.deadline, self.policy.expired_before)
            && deadline < now
        {
            self.about.expired += 1;
            return Ok(());
        }
        self.about.keys += 1;
        let mut scratch = itoa::Buffer::new();
        let shard = shard_of_key(entry.key.as_bytes(&mut scratch), self.batches.len());
        let batch = &mut self.batches[shard];
        batch.push(self.db, entry, key_place, value);
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
        batch.merge = self.policy.merge;
        batch.weight = std::mem::take(&mut self.weight);
        self.feeds.send(shard, Job::Entries(batch))
    }
}
