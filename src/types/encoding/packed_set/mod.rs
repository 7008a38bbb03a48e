//! A hash set or map of byte strings for any number of members, at a few bytes of overhead each.
//!
//! ```text
//! PackedMap   segments, by the low bits of the hash: linear hashing, so that growth and shrinking touch
//!             one segment at a time and there is no directory to double
//! Segment     one allocation:  tag of each record | offset of each record, u16 | records | room
//! record      length of the key, u8 | key | value
//!             value: nothing (W = 0), W bytes, or its length, u8, and its bytes (W = VARIABLE)
//!             255 | u32: the record is longer than 255 bytes and lies by itself in `long`
//! ```
//! A segment holds 16 to 64 records or so. A lookup compares the tags of its segment (8 hash bits each), sixteen at
//! a time, and then as a rule one key. Members are found in no particular order; a scan follows the
//! bit-reversed hash, in which order every segment is a range, however far the table has grown.
//!
//! Invariants
//!   P1  With `2^L <= n < 2^(L+1)` segments, a record is in segment `hash mod 2^(L+1)` if there is one of that
//!       number, else in segment `hash mod 2^L`.
//!   P2  `offsets[i]` is where record `i` begins, counted from the first record; `tags[i]` is its hash's top byte.
//!   P3  `dead` bytes of records are no longer referred to; a segment that is rebuilt has none.
//!   P4  A segment has at most [`RECORDS_MAX`] records of at most [`RECORD_BYTES_MAX`] bytes, so that offsets fit.
//!   P5  Every number in a record with a 255 names one record of `long`, and no other record does.

mod long_records;
mod record;
mod segment;
#[cfg(test)]
mod tests;

use crate::base::prefetch;
use long_records::LongRecords;
use record::{
    LONG, LONG_BYTES, inline_value, long_number, long_parts, long_record, long_value_mut, record_bytes,
    stored_bytes, write_record,
};
use segment::Segment;
use std::hash::{BuildHasher, Hasher};

/// The width of values that bring their own length.
pub const VARIABLE: usize = usize::MAX;

/// A set.
pub type PackedSet = PackedMap<0>;

/// A map from bytes to bytes.
pub type PackedPairs = PackedMap<VARIABLE>;

/// The mean number of records of a segment: above it one segment is split, well below it two are merged.
const LOAD: usize = 32;

const LOAD_MIN: usize = 12;

const RECORDS_MAX: usize = 240;

const RECORD_BYTES_MAX: usize = 255;

const _: () = assert!(RECORDS_MAX * RECORD_BYTES_MAX <= u16::MAX as usize, "P4");

/// Segments are kept in chunks, so that their number grows without moving many.
const CHUNK: usize = 256;

/// A draw is rejected unless it hits one of so many records of its segment.
const DRAW: usize = 96;

/// Bits of a scan's cursor: small enough for clients that keep numbers in doubles.
const CURSOR_BITS: u32 = 48;

const CURSOR_SHIFT: u32 = 64 - CURSOR_BITS;

#[derive(Clone)]
pub struct PackedMap<const W: usize> {
    chunks: Vec<Vec<Segment>>,
    /// Segments in all chunks.
    segments: usize,
    len: usize,
    /// Segments of more than [`DRAW`] records.
    crowded: usize,
    long: LongRecords,
    seed: u64,
    hasher: ahash::RandomState,
}

impl<const W: usize> PackedMap<W> {
    /// `seed` must not be known to clients. Tables of one seed hash alike.
    pub fn new(seed: u64) -> Self {
        Self {
            chunks: vec![vec![Segment::default()]],
            segments: 1,
            len: 0,
            crowded: 0,
            long: LongRecords::default(),
            seed,
            hasher: hasher(seed),
        }
    }

    pub fn seed(&self) -> u64 {
        self.seed
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The hash of a key; other tables of the same seed have the same.
    #[inline]
    pub fn hash(&self, key: &[u8]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(key);
        hasher.finish()
    }

    #[inline]
    pub fn contains(&self, key: &[u8]) -> bool {
        self.get(key).is_some()
    }

    /// The value of a key; of a set's member, nothing.
    #[inline]
    pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
        self.get_hashed(self.hash(key), key)
    }

    /// [`Self::get`] where the hash is known already.
    #[inline]
    pub fn get_hashed(&self, hash: u64, key: &[u8]) -> Option<&[u8]> {
        let segment = self.segment(self.index(hash));
        let slot = segment.find::<W>(tag_of(hash), key, &self.long)?;
        Some(self.record(segment, slot).1)
    }

    /// Stage 1 of a lookup ahead of time: asks for the tags and offsets of the key's segment.
    #[inline]
    pub fn prefetch(&self, key: &[u8]) -> u64 {
        let hash = self.hash(key);
        let block = self.segment(self.index(hash)).block.as_ptr();
        prefetch(block);
        prefetch(block.wrapping_add(64));
        hash
    }

    /// Stage 2, once those have arrived: asks for the record that is probably the one.
    #[inline]
    pub fn prefetch_record(&self, hash: u64) {
        let segment = self.segment(self.index(hash));
        if let Some(slot) = segment.first_with(tag_of(hash)) {
            prefetch(segment.record(slot).as_ptr());
        }
    }

    /// The value of a key, to be changed in place without changing its length.
    pub fn get_mut(&mut self, key: &[u8]) -> Option<&mut [u8]> {
        let hash = self.hash(key);
        let index = self.index(hash);
        let segment = &mut self.chunks[index / CHUNK][index % CHUNK];
        let slot = segment.find::<W>(tag_of(hash), key, &self.long)?;
        let record = segment.record_mut(slot);
        if record[0] == LONG {
            return Some(long_value_mut(self.long.get_mut(long_number(record))));
        }
        let (from, bytes) = inline_value::<W>(record);
        Some(&mut record[from..from + bytes])
    }

    /// Stores a key with its value, and returns whether the key is new.
    pub fn insert(&mut self, key: &[u8], value: &[u8]) -> bool {
        let hash = self.hash(key);
        let tag = tag_of(hash);
        let index = self.index(hash);
        let segment = &mut self.chunks[index / CHUNK][index % CHUNK];
        if let Some(slot) = segment.find::<W>(tag, key, &self.long) {
            if W != 0 {
                Self::replace(segment, &mut self.long, slot, key, value);
            }
            return false;
        }
        if segment.len() == RECORDS_MAX {
            self.make_room(hash);
            return self.insert(key, value);
        }
        let at = segment.reserve::<W>(record_bytes::<W>(key, value));
        write_record::<W>(segment.tail_mut(at), &mut self.long, key, value);
        segment.push(tag, at);
        self.crowded += usize::from(segment.len() == DRAW + 1);
        self.len += 1;
        if self.len > self.segments * LOAD {
            self.split();
        }
        true
    }

    /// Removes a key; false if it is not there.
    pub fn remove(&mut self, key: &[u8]) -> bool {
        let hash = self.hash(key);
        let index = self.index(hash);
        let segment = &mut self.chunks[index / CHUNK][index % CHUNK];
        let Some(slot) = segment.find::<W>(tag_of(hash), key, &self.long) else { return false };
        self.crowded -= usize::from(segment.len() == DRAW + 1);
        let record = segment.record(slot);
        if record[0] == LONG {
            self.long.free(long_number(record));
        }
        segment.remove::<W>(slot);
        self.len -= 1;
        if self.segments > 1 && self.len < self.segments * LOAD_MIN {
            self.merge();
        }
        true
    }

    /// Every key with its value.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.all_segments()
            .flat_map(move |segment| (0..segment.len()).map(move |slot| self.record(segment, slot)))
    }

    /// A record, each as likely as any other; `next` yields random numbers.
    pub fn random(&self, mut next: impl FnMut() -> u64) -> Option<(&[u8], &[u8])> {
        if self.len == 0 {
            return None;
        }
        let draw = if self.crowded == 0 && self.segments > 1 { DRAW } else { RECORDS_MAX };
        let bound = if self.segments == 1 { self.len } else { draw };
        loop {
            let random = next();
            let below = |bits: u64, bound: usize| (((bits & 0xffff_ffff) * bound as u64) >> 32) as usize;
            let segment = self.segment(below(random >> 32, self.segments));
            let slot = below(random, bound);
            if slot < segment.len() {
                return Some(self.record(segment, slot));
            }
        }
    }

    /// Visits about `count` records from `cursor` on and returns the next cursor, 0 at the end. What is in the
    /// table from the first step to the last is visited exactly once, however the table changes.
    pub fn scan(&self, cursor: u64, count: usize, mut visit: impl FnMut(&[u8], &[u8])) -> u64 {
        let mut at = cursor << CURSOR_SHIFT;
        let mut left = count.max(1);
        let mut found: Vec<(u64, usize)> = Vec::new();
        loop {
            let index = self.index(at.reverse_bits());
            let segment = self.segment(index);
            let bits = self.bits_of(index);
            let last = at | u64::MAX.checked_shr(bits).unwrap_or(0);
            found.clear();
            found.extend((0..segment.len()).filter_map(|slot| {
                let position = self.hash(self.record(segment, slot).0).reverse_bits();
                (position >= at).then_some((position, slot))
            }));
            let mut end = last.checked_add(1);
            if found.len() > left {
                found.sort_unstable();
                // The step ends before the first one too many, but never where it began.
                let cut = found[left].0 >> CURSOR_SHIFT;
                let cut = cut.max((at >> CURSOR_SHIFT) + 1);
                end = (cut < 1 << CURSOR_BITS).then_some(cut << CURSOR_SHIFT);
            }
            for &(position, slot) in found.iter().filter(|found| end.is_none_or(|end| found.0 < end)) {
                debug_assert!(position >= at);
                let (key, value) = self.record(segment, slot);
                visit(key, value);
                left = left.saturating_sub(1);
            }
            match end {
                None => return 0,
                Some(end) if left == 0 || end <= last => return end >> CURSOR_SHIFT,
                Some(end) => at = end,
            }
        }
    }

    /// Bytes on the heap; `samples` segments are measured at most, 0 means all.
    pub fn heap_bytes(&self, samples: usize) -> usize {
        let measured = if samples == 0 { self.segments } else { samples.min(self.segments) };
        let blocks: usize = self.all_segments().take(measured).map(|segment| segment.block.len()).sum();
        let chunks: usize = self.chunks.iter().map(|chunk| chunk.capacity() * size_of::<Segment>()).sum();
        blocks * self.segments / measured.max(1)
            + chunks
            + self.chunks.capacity() * size_of::<Vec<Segment>>()
            + self.long.bytes
    }

    /// Pieces of memory.
    pub fn free_effort(&self) -> usize {
        self.segments + self.long.len()
    }

    /// Frees at most about `budget` pieces and returns how many; 0 when nothing is left. Of no use afterwards but
    /// to be dropped.
    pub fn free_slice(&mut self, budget: usize) -> usize {
        let freed = self.long.free_slice(budget);
        if freed > 0 {
            return freed;
        }
        let mut freed = 0;
        while freed < budget
            && let Some(chunk) = self.chunks.last_mut()
        {
            let keep = chunk.len().saturating_sub(budget - freed);
            freed += chunk.len() - keep;
            chunk.truncate(keep);
            if keep == 0 {
                self.chunks.pop();
            }
        }
        self.segments -= freed.min(self.segments);
        freed
    }

    fn replace(segment: &mut Segment, long: &mut LongRecords, slot: usize, key: &[u8], value: &[u8]) {
        let record = segment.record_mut(slot);
        let bytes = record_bytes::<W>(key, value);
        let old_bytes = stored_bytes::<W>(record);
        if record[0] == LONG {
            let number = long_number(record);
            if bytes == LONG_BYTES {
                long.put(number, long_record(key, value));
                return;
            }
            long.free(number);
        } else if bytes == old_bytes && bytes > LONG_BYTES || bytes < old_bytes && W != VARIABLE {
            let (from, bytes) = inline_value::<W>(record);
            if bytes == value.len() {
                record[from..from + bytes].copy_from_slice(value);
                return;
            }
        }
        segment.give_up::<W>(slot, old_bytes);
        let at = segment.reserve::<W>(bytes);
        write_record::<W>(segment.tail_mut(at), long, key, value);
        segment.set_offset(slot, at);
    }

    /// The number of the segment of a hash (P1).
    #[inline]
    fn index(&self, hash: u64) -> usize {
        let half = 1 << self.segments.ilog2();
        let index = hash as usize & (2 * half - 1);
        if index < self.segments { index } else { index & (half - 1) }
    }

    /// How many bits of hash the records of a segment share.
    fn bits_of(&self, index: usize) -> u32 {
        let level = self.segments.ilog2();
        let half = 1 << level;
        // Those already split, and what was split off.
        if index >= half || index + half < self.segments { level + 1 } else { level }
    }

    #[inline]
    fn segment(&self, index: usize) -> &Segment {
        &self.chunks[index / CHUNK][index % CHUNK]
    }

    fn all_segments(&self) -> impl Iterator<Item = &Segment> {
        self.chunks.iter().flatten()
    }

    #[inline]
    fn record<'a>(&'a self, segment: &'a Segment, slot: usize) -> (&'a [u8], &'a [u8]) {
        let record = segment.record(slot);
        if record[0] == LONG {
            return long_parts(self.long.get(long_number(record)));
        }
        let (from, bytes) = inline_value::<W>(record);
        (&record[1..1 + usize::from(record[0])], &record[from..from + bytes])
    }

    /// Splits until the segment of a hash has room. That a segment fills up although the mean is [`LOAD`]
    /// takes a hash that does not spread.
    #[cold]
    fn make_room(&mut self, hash: u64) {
        while self.segment(self.index(hash)).len() == RECORDS_MAX {
            self.split();
        }
    }

    /// Splits the segment whose turn it is.
    fn split(&mut self) {
        let level = self.segments.ilog2();
        let source = self.segments - (1 << level);
        let old = std::mem::take(&mut self.chunks[source / CHUNK][source % CHUNK]);
        let mut upper = [0_u64; RECORDS_MAX.div_ceil(64)];
        let (mut counts, mut bytes) = ([0; 2], [0; 2]);
        for slot in 0..old.len() {
            let is_upper = self.hash(self.record(&old, slot).0) >> level & 1;
            upper[slot / 64] |= is_upper << (slot % 64);
            counts[is_upper as usize] += 1;
            bytes[is_upper as usize] += stored_bytes::<W>(old.record(slot));
        }
        let mut halves = [0, 1].map(|half| Segment::with_room(counts[half], bytes[half]));
        for slot in 0..old.len() {
            halves[(upper[slot / 64] >> (slot % 64) & 1) as usize].append::<W>(&old, slot);
        }
        let [lower, upper] = halves;
        self.crowded -= usize::from(old.len() > DRAW);
        self.crowded += usize::from(lower.len() > DRAW) + usize::from(upper.len() > DRAW);
        self.chunks[source / CHUNK][source % CHUNK] = lower;
        if self.segments.is_multiple_of(CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        self.chunks[self.segments / CHUNK].push(upper);
        self.segments += 1;
    }

    /// Undoes the last split, unless too much would come together.
    fn merge(&mut self) {
        let last = self.segments - 1;
        let source = last - (1 << last.ilog2());
        let (lower, upper) = (self.segment(source), self.segment(last));
        let len = lower.len() + upper.len();
        if len > RECORDS_MAX {
            return;
        }
        let mut merged = Segment::with_room(len, lower.live() + upper.live());
        for half in [lower, upper] {
            (0..half.len()).for_each(|slot| merged.append::<W>(half, slot));
        }
        let crowded = usize::from(lower.len() > DRAW) + usize::from(upper.len() > DRAW);
        self.crowded = self.crowded + usize::from(len > DRAW) - crowded;
        self.chunks[source / CHUNK][source % CHUNK] = merged;
        let chunk = &mut self.chunks[last / CHUNK];
        chunk.pop();
        if chunk.is_empty() {
            self.chunks.pop();
        }
        self.segments -= 1;
    }

    /// Checks P1 to P5.
    #[cfg(test)]
    fn check(&self) {
        let (mut len, mut crowded, mut long) = (0, 0, 0);
        assert_eq!(self.all_segments().count(), self.segments);
        for (index, segment) in self.all_segments().enumerate() {
            let mut live = 0;
            for slot in 0..segment.len() {
                let (key, _) = self.record(segment, slot);
                let hash = self.hash(key);
                assert_eq!(self.index(hash), index, "P1");
                assert_eq!(segment.block[slot], tag_of(hash), "P2");
                live += stored_bytes::<W>(segment.record(slot));
                long += usize::from(segment.record(slot)[0] == LONG);
            }
            assert_eq!(segment.live(), live, "P3");
            len += segment.len();
            crowded += usize::from(segment.len() > DRAW);
        }
        assert_eq!((self.len, self.crowded, self.long.len()), (len, crowded, long));
    }
}

impl<const W: usize> PartialEq for PackedMap<W> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().all(|(key, value)| other.get(key) == Some(value))
    }
}

impl<const W: usize> std::fmt::Debug for PackedMap<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PackedMap({} of {} bytes)", self.len, self.heap_bytes(0))
    }
}

fn hasher(seed: u64) -> ahash::RandomState {
    ahash::RandomState::with_seeds(seed, seed.rotate_left(23), !seed, seed.rotate_right(17))
}

/// The bits that segments are not chosen by.
#[inline]
fn tag_of(hash: u64) -> u8 {
    (hash >> 56) as u8
}
