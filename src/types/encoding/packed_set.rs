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

use crate::base::prefetch;
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
const LONG: u8 = 255;
const LONG_BYTES: usize = 5;
const _: () = assert!(RECORDS_MAX * RECORD_BYTES_MAX <= u16::MAX as usize, "P4");

/// Tag and offset.
const SLOT_BYTES: usize = 3;

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

/// Some tens of records in one allocation.
#[derive(Clone, Default)]
struct Segment {
    /// Tags, offsets, records, room.
    block: Box<[u8]>,
    /// Where the records end, counted from the first.
    end: u16,
    dead: u16,
    len: u8,
    /// For how many records there are tags and offsets; a multiple of 8.
    slots: u8,
}

impl Segment {
    /// A segment for so many records of so many bytes; some room comes with the size of the allocation.
    fn with_room(len: usize, bytes: usize) -> Self {
        if len == 0 {
            return Self::default();
        }
        let slots_min = len.next_multiple_of(8);
        let total = allocation_bytes(slots_min * SLOT_BYTES + bytes);
        // What comes in addition is divided as the rest is.
        let mean = bytes.div_ceil(len);
        let slots = (total / (SLOT_BYTES + mean)) & !7;
        let slots =
            slots.clamp(slots_min, RECORDS_MAX).min(((total - bytes) / SLOT_BYTES) & !7).max(slots_min);
        Self { block: vec![0; total].into_boxed_slice(), end: 0, dead: 0, len: 0, slots: slots as u8 }
    }

    #[inline]
    fn len(&self) -> usize {
        usize::from(self.len)
    }

    fn live(&self) -> usize {
        usize::from(self.end - self.dead)
    }

    #[inline]
    fn base(&self) -> usize {
        usize::from(self.slots) * SLOT_BYTES
    }

    #[inline]
    fn offset(&self, slot: usize) -> usize {
        let at = usize::from(self.slots) + slot * 2;
        usize::from(u16::from_le_bytes([self.block[at], self.block[at + 1]]))
    }

    #[inline]
    fn set_offset(&mut self, slot: usize, offset: usize) {
        let at = usize::from(self.slots) + slot * 2;
        self.block[at..at + 2].copy_from_slice(&(offset as u16).to_le_bytes());
    }

    /// From the record's first byte on.
    #[inline]
    fn record(&self, slot: usize) -> &[u8] {
        &self.block[self.base() + self.offset(slot)..]
    }

    #[inline]
    fn record_mut(&mut self, slot: usize) -> &mut [u8] {
        let from = self.base() + self.offset(slot);
        &mut self.block[from..]
    }

    #[inline]
    fn tail_mut(&mut self, at: usize) -> &mut [u8] {
        let from = self.base() + at;
        &mut self.block[from..]
    }

    #[inline]
    fn find<const W: usize>(&self, tag: u8, key: &[u8], long: &LongRecords) -> Option<usize> {
        let is_it = |slot: usize| {
            let record = self.record(slot);
            match record[0] {
                LONG => long_parts(long.get(long_number(record))).0 == key,
                length => usize::from(length) == key.len() && record[1..].starts_with(key),
            }
        };
        let len = self.len();
        let tags = &self.block[..usize::from(self.slots)];
        let (groups, rest) = tags.as_chunks::<16>();
        for (group, tags) in groups.iter().enumerate() {
            let mut hits = equal_bytes(tags, tag);
            while hits != 0 {
                let slot = group * 16 + hits.trailing_zeros() as usize;
                if slot < len && is_it(slot) {
                    return Some(slot);
                }
                hits &= hits - 1;
            }
        }
        let first = groups.len() * 16;
        rest.iter()
            .enumerate()
            .filter(|&(_, &other)| other == tag)
            .map(|(slot, _)| first + slot)
            .find(|&slot| slot < len && is_it(slot))
    }

    /// The first slot of a tag.
    #[inline]
    fn first_with(&self, tag: u8) -> Option<usize> {
        let (groups, _) = self.block[..usize::from(self.slots)].as_chunks::<16>();
        let hits = groups.iter().map(|tags| equal_bytes(tags, tag));
        let (group, hits) = hits.enumerate().find(|(_, hits)| *hits != 0)?;
        let slot = group * 16 + hits.trailing_zeros() as usize;
        (slot < self.len() && self.offset(slot) != GIVEN_UP).then_some(slot)
    }

    /// Makes room for one more slot and a record of so many bytes, and takes the bytes; returns where they begin.
    fn reserve<const W: usize>(&mut self, bytes: usize) -> usize {
        let fits = self.base() + usize::from(self.end) + bytes <= self.block.len();
        if self.len == self.slots || !fits {
            let live = self.live();
            let mut larger = Self::with_room(self.len() + 1, live + bytes);
            (0..self.len()).for_each(|slot| larger.append::<W>(self, slot));
            *self = larger;
        }
        let at = self.end;
        self.end += bytes as u16;
        usize::from(at)
    }

    /// Adds the record that was written at an offset.
    #[inline]
    fn push(&mut self, tag: u8, offset: usize) {
        let slot = self.len();
        self.block[slot] = tag;
        self.len += 1;
        self.set_offset(slot, offset);
    }

    /// Adds a record of another segment as it is; there is room.
    fn append<const W: usize>(&mut self, from: &Self, slot: usize) {
        // One that has been given up is about to be replaced; it has a slot but no bytes.
        if from.offset(slot) == GIVEN_UP {
            return self.push(from.block[slot], GIVEN_UP);
        }
        let at = usize::from(self.end);
        let record = from.record(slot);
        let bytes = stored_bytes::<W>(record);
        self.end += bytes as u16;
        self.tail_mut(at)[..bytes].copy_from_slice(&record[..bytes]);
        self.push(from.block[slot], at);
    }

    /// Gives the bytes of a record up, while its slot waits for others.
    fn give_up<const W: usize>(&mut self, slot: usize, bytes: usize) {
        if self.offset(slot) + bytes == usize::from(self.end) {
            self.end -= bytes as u16;
        } else {
            self.dead += bytes as u16;
        }
        self.set_offset(slot, GIVEN_UP);
    }

    fn remove<const W: usize>(&mut self, slot: usize) {
        let bytes = stored_bytes::<W>(self.record(slot));
        self.give_up::<W>(slot, bytes);
        let last = self.len() - 1;
        self.block[slot] = self.block[last];
        self.set_offset(slot, self.offset(last));
        self.len -= 1;
        // A segment that is less than half full gives memory back.
        let needed = self.len().next_multiple_of(8) * SLOT_BYTES + self.live();
        if needed * 2 < self.block.len() && self.block.len() > 64 {
            let mut smaller = Self::with_room(self.len(), self.live());
            (0..self.len()).for_each(|slot| smaller.append::<W>(self, slot));
            *self = smaller;
        }
    }
}

/// The offset of a record whose bytes are gone: none begins that far.
const GIVEN_UP: usize = u16::MAX as usize;

/// The size that an allocation of at least so many bytes takes in jemalloc: four classes per doubling.
fn allocation_bytes(bytes: usize) -> usize {
    if bytes <= 128 {
        return bytes.max(1).next_multiple_of(16);
    }
    bytes.next_multiple_of(1 << ((bytes - 1).ilog2() - 2))
}

/// Which of 16 bytes equal `byte`, a bit each.
#[inline]
fn equal_bytes(bytes: &[u8; 16], byte: u8) -> u32 {
    #[cfg(all(target_arch = "x86_64", target_feature = "sse2", not(miri)))]
    {
        use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_set1_epi8};
        // SAFETY: 16 bytes are read, which need no alignment, and SSE2 is there.
        unsafe {
            let line = _mm_loadu_si128(bytes.as_ptr().cast());
            _mm_movemask_epi8(_mm_cmpeq_epi8(line, _mm_set1_epi8(byte as i8))) as u32
        }
    }
    #[cfg(not(all(target_arch = "x86_64", target_feature = "sse2", not(miri))))]
    bytes.iter().enumerate().fold(0, |bits, (index, &other)| bits | u32::from(other == byte) << index)
}

/// The bytes of a key with its value if they are not too long for a segment.
#[inline]
fn inline_bytes<const W: usize>(key: &[u8], value: &[u8]) -> usize {
    1 + key.len() + usize::from(W == VARIABLE) + value.len()
}

/// The bytes of a record in its segment.
#[inline]
fn record_bytes<const W: usize>(key: &[u8], value: &[u8]) -> usize {
    debug_assert!(W == VARIABLE || W == value.len());
    let bytes = inline_bytes::<W>(key, value);
    if bytes <= RECORD_BYTES_MAX { bytes } else { LONG_BYTES }
}

/// Where the value of a record begins that is not long, and its length.
#[inline]
fn inline_value<const W: usize>(record: &[u8]) -> (usize, usize) {
    let end = 1 + usize::from(record[0]);
    if W == VARIABLE { (end + 1, usize::from(record[end])) } else { (end, W) }
}

#[inline]
fn stored_bytes<const W: usize>(record: &[u8]) -> usize {
    if record[0] == LONG {
        return LONG_BYTES;
    }
    let (from, bytes) = inline_value::<W>(record);
    from + bytes
}

#[inline]
fn write_record<const W: usize>(at: &mut [u8], long: &mut LongRecords, key: &[u8], value: &[u8]) {
    let bytes = inline_bytes::<W>(key, value);
    if bytes > RECORD_BYTES_MAX {
        at[0] = LONG;
        at[1..LONG_BYTES].copy_from_slice(&long.add(long_record(key, value)).to_le_bytes());
        return;
    }
    at[0] = key.len() as u8;
    at[1..1 + key.len()].copy_from_slice(key);
    let mut end = 1 + key.len();
    if W == VARIABLE {
        at[end] = value.len() as u8;
        end += 1;
    }
    at[end..end + value.len()].copy_from_slice(value);
}

fn long_number(record: &[u8]) -> u32 {
    u32::from_le_bytes([record[1], record[2], record[3], record[4]])
}

/// `u32` length of the key, key, value.
fn long_record(key: &[u8], value: &[u8]) -> Box<[u8]> {
    let length = u32::try_from(key.len()).expect("requests have no arguments of 4 GB");
    [&length.to_le_bytes()[..], key, value].concat().into_boxed_slice()
}

fn long_parts(record: &[u8]) -> (&[u8], &[u8]) {
    let (length, rest) = record.split_first_chunk::<4>().expect("written by long_record");
    rest.split_at(u32::from_le_bytes(*length) as usize)
}

fn long_value_mut(record: &mut [u8]) -> &mut [u8] {
    let (length, rest) = record.split_first_chunk_mut::<4>().expect("written by long_record");
    rest.split_at_mut(u32::from_le_bytes(*length) as usize).1
}

/// Records that are too long for a segment, by number, in chunks that never move.
#[derive(Clone, Default)]
struct LongRecords {
    chunks: Vec<Vec<Box<[u8]>>>,
    free: Vec<u32>,
    bytes: usize,
}

impl LongRecords {
    fn len(&self) -> usize {
        self.chunks.iter().map(Vec::len).sum::<usize>() - self.free.len()
    }

    fn get(&self, number: u32) -> &[u8] {
        &self.chunks[number as usize / CHUNK][number as usize % CHUNK]
    }

    fn get_mut(&mut self, number: u32) -> &mut [u8] {
        &mut self.chunks[number as usize / CHUNK][number as usize % CHUNK]
    }

    fn add(&mut self, record: Box<[u8]>) -> u32 {
        if let Some(number) = self.free.pop() {
            self.put(number, record);
            return number;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Vec::new());
        }
        let before = (self.chunks.len() - 1) * CHUNK;
        let chunk = self.chunks.last_mut().expect("just pushed");
        self.bytes += record.len() + size_of::<Box<[u8]>>();
        chunk.push(record);
        (before + chunk.len() - 1) as u32
    }

    fn put(&mut self, number: u32, record: Box<[u8]>) {
        let place = &mut self.chunks[number as usize / CHUNK][number as usize % CHUNK];
        self.bytes = self.bytes + record.len() - place.len();
        *place = record;
    }

    fn free(&mut self, number: u32) {
        self.put(number, Box::default());
        self.free.push(number);
    }

    fn free_slice(&mut self, budget: usize) -> usize {
        let Some(chunk) = self.chunks.last_mut() else { return 0 };
        let keep = chunk.len().saturating_sub(budget);
        let freed = chunk.len() - keep;
        chunk.truncate(keep);
        if keep == 0 {
            self.chunks.pop();
        }
        // What is left of the numbers is of no use any more.
        self.free = Vec::new();
        freed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn key(number: u32) -> Vec<u8> {
        match number % 5 {
            0 => number.to_le_bytes().to_vec(),
            1 => vec![b'k'; number as usize % 300],
            2 => format!("{number:0>251}").into_bytes(),
            3 => format!("{number:0>253}").into_bytes(),
            _ => format!("key:{number}").into_bytes(),
        }
    }

    fn contents<const W: usize>(map: &PackedMap<W>) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let contents: BTreeMap<_, _> =
            map.iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
        assert_eq!(contents.len(), map.len());
        contents
    }

    /// Random histories against a map of the standard library; `value` makes one of some length.
    fn history<const W: usize>(seed: u64, steps: usize, keys: u64, value: fn(u64) -> Vec<u8>) {
        let mut random = Random::from_seed(seed);
        let mut map = PackedMap::<W>::new(seed);
        let mut model = BTreeMap::new();
        for step in 0..steps {
            let key = key(random.below(keys) as u32);
            // Phases of growth and of decay.
            let growing = (step / (steps / 4).max(1)).is_multiple_of(2);
            if random.below(10) < if growing { 8 } else { 2 } {
                let value = value(random.next_u64());
                assert_eq!(map.insert(&key, &value), model.insert(key.clone(), value).is_none());
            } else {
                assert_eq!(map.remove(&key), model.remove(&key).is_some());
            }
            assert_eq!(map.get(&key), model.get(&key).map(Vec::as_slice));
            if let Some(value) = map.get_mut(&key) {
                value.reverse();
                model.get_mut(&key).expect("as in the map").reverse();
            }
            if step % 997 == 0 {
                map.check();
                assert_eq!(contents(&map), model);
            }
        }
        map.check();
        assert_eq!(contents(&map), model);
        let copy = map.clone();
        assert_eq!(copy, map);
        for key in model.keys() {
            assert!(map.remove(key));
        }
        map.check();
        assert_eq!(map.segments, 1);
        assert!(copy != map || model.is_empty());
    }

    #[test]
    fn a_set_agrees_with_the_model() {
        history::<0>(1, 20_000, 4000, |_| Vec::new());
    }

    #[test]
    fn a_map_of_numbers_agrees_with_the_model() {
        history::<8>(2, 20_000, 4000, |random| random.to_le_bytes().to_vec());
    }

    #[test]
    fn a_map_of_texts_agrees_with_the_model() {
        history::<VARIABLE>(3, 20_000, 2000, |random| vec![random as u8; (random >> 32) as usize % 300]);
        history::<VARIABLE>(4, 3000, 10, |random| vec![random as u8; (random >> 32) as usize % 270]);
    }

    #[test]
    fn a_scan_sees_what_stays_exactly_once_while_the_table_grows_and_shrinks() {
        for (before, after) in [(300, 9000), (9000, 300), (50, 60), (0, 500), (7, 0)] {
            let mut set = PackedSet::new(9);
            let stays: Vec<Vec<u8>> = (0..200).map(|number| format!("stays{number}").into_bytes()).collect();
            stays.iter().for_each(|member| assert!(set.insert(member, b"")));
            let comes = |number: usize| format!("comes{number}").into_bytes();
            (0..before).for_each(|number| assert!(set.insert(&comes(number), b"")));
            let (mut cursor, mut seen, mut size) = (0, Vec::new(), before);
            loop {
                cursor = set.scan(cursor, 10, |member, _| seen.push(member.to_vec()));
                if cursor == 0 {
                    break;
                }
                assert!(cursor < 1 << CURSOR_BITS);
                for _ in 0..300 {
                    if size < after {
                        assert!(set.insert(&comes(size), b""));
                        size += 1;
                    } else if size > after {
                        size -= 1;
                        assert!(set.remove(&comes(size)));
                    }
                }
            }
            let counted = seen.len();
            let seen: BTreeSet<Vec<u8>> = seen.into_iter().collect();
            assert_eq!(counted, seen.len(), "nothing twice");
            assert!(stays.iter().all(|member| seen.contains(member)));
        }
    }

    #[test]
    fn any_cursor_is_accepted() {
        let mut set = PackedSet::new(1);
        (0..1000_u32).for_each(|number| assert!(set.insert(&number.to_le_bytes(), b"")));
        let mut random = Random::from_seed(5);
        for _ in 0..1000 {
            let mut visited = 0;
            set.scan(random.next_u64(), 7, |_, _| visited += 1);
            assert!(visited <= 64);
        }
        assert_eq!(set.scan(u64::MAX, 10, |_, _| {}), 0);
    }

    #[test]
    fn random_members_are_about_even() {
        for members in [5_u32, 77, 900] {
            let mut set = PackedSet::new(11);
            (0..members).for_each(|number| assert!(set.insert(&number.to_le_bytes(), b"")));
            let mut random = Random::from_seed(3);
            let mut counts = BTreeMap::<Vec<u8>, u32>::new();
            for _ in 0..members * 200 {
                let (member, _) = set.random(|| random.next_u64()).expect("not empty");
                *counts.entry(member.to_vec()).or_default() += 1;
            }
            assert_eq!(counts.len(), members as usize);
            assert!(counts.values().all(|count| (130..280).contains(count)), "{counts:?}");
        }
        assert!(PackedSet::new(1).random(|| 0).is_none());
    }

    #[test]
    fn freed_in_slices() {
        let mut map = PackedPairs::new(1);
        (0..5000).for_each(|number| assert!(map.insert(&format!("{number}").into_bytes(), &[b'v'; 280])));
        let effort = map.free_effort();
        let mut freed = 0;
        loop {
            match map.free_slice(100) {
                0 => break,
                pieces => {
                    assert!(pieces <= 100);
                    freed += pieces;
                }
            }
        }
        assert_eq!(freed, effort);
    }

    #[test]
    fn sixteen_byte_members_cost_at_most_ten_bytes_more() {
        let mut set = PackedSet::new(1);
        for number in 0..100_000_u32 {
            set.insert(format!("{number:016}").as_bytes(), b"");
            if number > 1000 && number % 5003 == 0 {
                let bytes = set.heap_bytes(0) as f64 / set.len() as f64;
                assert!(bytes < 26.0, "{bytes} at {number}");
            }
        }
    }

    proptest! {
        #[test]
        fn small_sets_agree_with_the_model(
            steps in proptest::collection::vec((any::<bool>(), 0u32..60), 0..300), seed: u64,
        ) {
            let mut set = PackedSet::new(seed);
            let mut model = BTreeSet::new();
            for (insert, number) in steps {
                let key = key(number);
                if insert {
                    prop_assert_eq!(set.insert(&key, b""), model.insert(key));
                } else {
                    prop_assert_eq!(set.remove(&key), model.remove(&key));
                }
            }
            set.check();
            prop_assert_eq!(contents(&set).into_keys().collect::<BTreeSet<_>>(), model);
        }
    }
}
