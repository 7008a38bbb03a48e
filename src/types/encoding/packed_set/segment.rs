//! A segment of a packed set: tags, offsets and records in one allocation.

use super::RECORDS_MAX;
use super::long_records::LongRecords;
use super::record::{LONG, long_number, long_parts, stored_bytes};

/// Tag and offset.
const SLOT_BYTES: usize = 3;

/// Some tens of records in one allocation.
#[derive(Clone, Default)]
pub(super) struct Segment {
    /// Tags, offsets, records, room.
    pub(super) block: Box<[u8]>,
    /// Where the records end, counted from the first.
    end: u16,
    dead: u16,
    len: u8,
    /// For how many records there are tags and offsets; a multiple of 8.
    slots: u8,
}

impl Segment {
    /// A segment for so many records of so many bytes; some room comes with the size of the allocation.
    pub(super) fn with_room(len: usize, bytes: usize) -> Self {
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
    pub(super) fn len(&self) -> usize {
        usize::from(self.len)
    }

    pub(super) fn live(&self) -> usize {
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
    pub(super) fn set_offset(&mut self, slot: usize, offset: usize) {
        let at = usize::from(self.slots) + slot * 2;
        self.block[at..at + 2].copy_from_slice(&(offset as u16).to_le_bytes());
    }

    /// From the record's first byte on.
    #[inline]
    pub(super) fn record(&self, slot: usize) -> &[u8] {
        &self.block[self.base() + self.offset(slot)..]
    }

    #[inline]
    pub(super) fn record_mut(&mut self, slot: usize) -> &mut [u8] {
        let from = self.base() + self.offset(slot);
        &mut self.block[from..]
    }

    #[inline]
    pub(super) fn tail_mut(&mut self, at: usize) -> &mut [u8] {
        let from = self.base() + at;
        &mut self.block[from..]
    }

    #[inline]
    pub(super) fn find<const W: usize>(&self, tag: u8, key: &[u8], long: &LongRecords) -> Option<usize> {
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
    pub(super) fn first_with(&self, tag: u8) -> Option<usize> {
        let (groups, _) = self.block[..usize::from(self.slots)].as_chunks::<16>();
        let hits = groups.iter().map(|tags| equal_bytes(tags, tag));
        let (group, hits) = hits.enumerate().find(|(_, hits)| *hits != 0)?;
        let slot = group * 16 + hits.trailing_zeros() as usize;
        (slot < self.len() && self.offset(slot) != GIVEN_UP).then_some(slot)
    }

    /// Makes room for one more slot and a record of so many bytes, and takes the bytes; returns where they begin.
    pub(super) fn reserve<const W: usize>(&mut self, bytes: usize) -> usize {
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
    pub(super) fn push(&mut self, tag: u8, offset: usize) {
        let slot = self.len();
        self.block[slot] = tag;
        self.len += 1;
        self.set_offset(slot, offset);
    }

    /// Adds a record of another segment as it is; there is room.
    pub(super) fn append<const W: usize>(&mut self, from: &Self, slot: usize) {
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
    pub(super) fn give_up<const W: usize>(&mut self, slot: usize, bytes: usize) {
        if self.offset(slot) + bytes == usize::from(self.end) {
            self.end -= bytes as u16;
        } else {
            self.dead += bytes as u16;
        }
        self.set_offset(slot, GIVEN_UP);
    }

    pub(super) fn remove<const W: usize>(&mut self, slot: usize) {
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
