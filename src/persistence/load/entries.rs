//! Keys of a snapshot for one shard, as places in a piece of the file; their owner decodes the values.

use super::LoadError;
use super::batch::Piece;
use crate::base::UnixMillis;
use crate::keyspace::Ttl;
use crate::persistence::rdb::reader::Entry;
use crate::persistence::rdb::{Problem, Reader, code, read_value};
use crate::shard::Shard;
use std::ops::Range;
use std::sync::Arc;

/// Entries whose places in the table are asked for ahead.
const AHEAD: usize = 16;

/// Bits of the LRU clock.
const CLOCK_MASK: u32 = 0x00ff_ffff;

#[derive(Default)]
pub struct EntryBatch {
    pub piece: Piece,
    /// Keys that do not lie in the piece as they are.
    copied: Vec<u8>,
    items: Vec<EntryItem>,
    /// Bytes of the file that this batch stands for.
    pub weight: u64,
    /// For complaints.
    pub file: Arc<str>,
    /// Keys that are there already are replaced, and are no damage.
    pub merge: bool,
}

struct EntryItem {
    db: u32,
    type_code: u8,
    key_is_copied: bool,
    deadline: Option<UnixMillis>,
    /// What the snapshot says of how often the key is used.
    idle_s: Option<u64>,
    frequency: Option<u8>,
    key: Range<usize>,
    /// In the piece.
    value: Range<usize>,
    /// Where in the file the value stands.
    offset: u64,
}

impl EntryBatch {
    pub fn new(piece: Piece, file: Arc<str>) -> Self {
        Self { piece, file, ..Self::default() }
    }

    /// An entry whose value is in the piece, and its key too if it is there as it is.
    pub fn push(
        &mut self,
        db: usize,
        entry: &Entry<'_>,
        key_place: Option<Range<usize>>,
        value: Range<usize>,
    ) {
        let key_is_copied = key_place.is_none();
        let key = key_place.unwrap_or_else(|| {
            let start = self.copied.len();
            self.copied.extend_from_slice(entry.key.as_bytes(&mut itoa::Buffer::new()));
            start..self.copied.len()
        });
        self.items.push(EntryItem {
            db: db as u32,
            type_code: entry.type_code,
            key_is_copied,
            deadline: entry.deadline,
            idle_s: entry.idle_s,
            frequency: entry.frequency,
            key,
            value,
            offset: entry.value_offset,
        });
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub fn len(&self) -> usize {
        self.items.len()
    }

    #[inline]
    fn key(&self, item: &EntryItem) -> &[u8] {
        let bytes = if item.key_is_copied { &self.copied } else { self.piece.as_slice() };
        &bytes[item.key.clone()]
    }

    /// Decodes everything into the shard; returns how many keys had a value without elements, which are dropped.
    ///
    /// # Errors
    /// If a value is damaged, or a key comes twice.
    pub fn insert_into(&self, shard: &mut Shard) -> Result<u64, LoadError> {
        let mut empty = 0;
        let mut hashes = [0; AHEAD];
        for place in 0..self.items.len() + AHEAD {
            let hash = &mut hashes[place % AHEAD];
            if let Some(item) = place.checked_sub(AHEAD).map(|before| &self.items[before]) {
                empty += u64::from(!self.insert(shard, item, *hash)?);
            }
            if let Some(item) = self.items.get(place) {
                *hash = shard.prefetch(item.db as usize, self.key(item));
            }
        }
        Ok(empty)
    }

    #[inline]
    fn insert(&self, shard: &mut Shard, item: &EntryItem, hash: u64) -> Result<bool, LoadError> {
        let (db, key) = (item.db as usize, self.key(item));
        let failed = |offset: u64, what: String| LoadError::Rdb {
            file: self.file.to_string(),
            offset,
            key: Some(key.to_vec()),
            what: format!("{what} (type {})", item.type_code),
        };
        let ttl = item.deadline.map_or(Ttl::Clear, Ttl::At);
        let mut reader = Reader::at(&self.piece[item.value.clone()], item.offset);
        let is_new = if item.type_code == code::STRING {
            let text = reader.string().map_err(|damage| failed(damage.offset, damage.problem.to_string()))?;
            let keyspace = &mut shard.databases[db];
            keyspace.set_string_hashed(hash, key, text.as_bytes(&mut itoa::Buffer::new()), ttl)
        } else {
            let value = match read_value(item.type_code, &mut reader, &shard.options.encoding) {
                Ok(value) => value,
                Err(damage) if damage.problem == Problem::Empty => return Ok(false),
                Err(damage) => return Err(failed(damage.offset, damage.problem.to_string())),
            };
            shard.context(db, UnixMillis(0), true).load(key, value, ttl)
        };
        if !is_new && !self.merge {
            return Err(failed(item.offset, "the key comes twice".into()));
        }
        if item.idle_s.is_some() || item.frequency.is_some() {
            note_access(shard, item, hash, key);
        }
        Ok(true)
    }
}

/// What the snapshot knows counts only if the policy keeps the same thing.
#[cold]
fn note_access(shard: &mut Shard, item: &EntryItem, hash: u64, key: &[u8]) {
    let clock = shard.access_clock;
    let access = match (shard.options.lfu, item.idle_s, item.frequency) {
        (false, Some(idle), _) => clock.wrapping_sub(idle.min(CLOCK_MASK.into()) as u32) & CLOCK_MASK,
        // Without the minute in which the counter was last looked at: it falls at the first look.
        (true, _, Some(frequency)) => u32::from(frequency),
        _ => return,
    };
    if let Some(entry) = shard.databases[item.db as usize].find_hashed(hash, key) {
        entry.set_access(access);
    }
}
