//! The listpack: a list of strings and integers in one piece of memory, in the bytes of Redis 7, so that dumps and
//! replicas take it as it is.
//!
//! ```text
//! u32 LE   bytes of all, header and end included
//! u16 LE   entries; 65535 = that many or more, count them
//! entries  each: head, text if it is a string, then the length of both backwards ("backlen")
//! 0xFF     the end
//!
//! head 0vvvvvvv                     integer 0..=127
//!      10llllll                     string of up to 63 bytes
//!      110vvvvv v                   integer of 13 bits, signed
//!      1110llll l                   string of up to 4095 bytes
//!      F0 l l l l (LE)              longer string
//!      F1 F2 F3 F4, 2 3 4 8 bytes   integer of 16, 24, 32, 64 bits, signed, LE
//! backlen                           1 to 5 groups of 7 bits, most significant first; the top bit of a
//!                                   byte says that another one stands before it
//! ```
//!
//! A text that is the canonical form of an `i64` is kept as the integer, in the shortest form that holds it.
//!
//! Entries are addressed by *positions*: the offset of their head. A position lives until the next change at or
//! before it.
//!
//! Invariants
//!   P1  The bytes pass [`validate`]; only [`Listpack::from_bytes`] lets bytes from outside in.
//!   P2  The count in the header is exact or 65535; it is never 65535 for fewer entries, unless entries have
//!       been removed since.

mod entry;
mod validate;

pub use entry::Entry;
pub use validate::{Damaged, validate};

use super::block::Block;
use entry::{BACKLEN_BYTES_MAX, HEAD_BYTES_MAX, after, backlen_bytes, before, decode, encode, write_backlen};
use std::fmt;

pub const HEADER_BYTES: usize = 6;
const EMPTY: [u8; HEADER_BYTES + 1] = [HEADER_BYTES as u8 + 1, 0, 0, 0, 0, 0, END];
const END: u8 = 0xff;
const COUNT_UNKNOWN: u16 = u16::MAX;

/// Beyond this nothing is added: Redis refuses it as well, far below what 32 bits could count.
pub const BYTES_MAX: usize = 1 << 30;

#[derive(Clone, Eq, PartialEq)]
pub struct Listpack {
    block: Block,
}

impl Default for Listpack {
    fn default() -> Self {
        Self::new()
    }
}

impl Listpack {
    pub fn new() -> Self {
        Self { block: Block::new(&EMPTY) }
    }

    /// Takes bytes from outside, if they are a listpack through and through.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Damaged> {
        validate(bytes)?;
        Ok(Self { block: Block::new(bytes) })
    }

    /// Takes bytes that [`Listpack::as_bytes`] gave.
    #[inline]
    pub fn from_own_bytes(bytes: &[u8]) -> Self {
        debug_assert!(validate(bytes).is_ok(), "P1");
        Self { block: Block::new(bytes) }
    }

    /// What goes to disk.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        self.block.as_bytes()
    }

    /// The size in bytes, as in the header.
    #[inline]
    pub fn bytes(&self) -> usize {
        self.block.len()
    }

    pub fn heap_bytes(&self) -> usize {
        self.block.heap_bytes()
    }

    /// Whether `more` bytes (of texts, before encoding) can still be added.
    #[inline]
    pub fn has_room_for(&self, more: usize) -> bool {
        self.bytes() + more <= BYTES_MAX
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.bytes() == EMPTY.len()
    }

    /// The number of entries: at once below 65535, else by counting.
    #[inline]
    pub fn len(&self) -> usize {
        match self.count() {
            COUNT_UNKNOWN => self.iter().count(),
            count => usize::from(count),
        }
    }

    fn count(&self) -> u16 {
        let bytes = self.as_bytes();
        u16::from_le_bytes([bytes[4], bytes[5]])
    }

    fn set_count(&mut self, count: usize) {
        let count = u16::try_from(count).unwrap_or(COUNT_UNKNOWN);
        self.block.bytes_mut()[..2].copy_from_slice(&count.to_le_bytes());
    }

    // -- Positions

    #[inline]
    pub fn first(&self) -> Option<usize> {
        self.here(HEADER_BYTES)
    }

    #[inline]
    pub fn last(&self) -> Option<usize> {
        self.prev(self.end())
    }

    /// Where an entry after the last one would stand.
    #[inline]
    pub fn end(&self) -> usize {
        self.bytes() - 1
    }

    #[inline]
    pub fn next(&self, position: usize) -> Option<usize> {
        self.here(after(self.as_bytes(), position))
    }

    #[inline]
    pub fn prev(&self, position: usize) -> Option<usize> {
        (position > HEADER_BYTES).then(|| before(self.as_bytes(), position))
    }

    #[inline]
    fn here(&self, position: usize) -> Option<usize> {
        (position < self.end()).then_some(position)
    }

    /// The entry at a position.
    #[inline]
    pub fn at(&self, position: usize) -> Entry<'_> {
        decode(self.as_bytes(), position).0
    }

    /// The position of the entry with this index; negative ones count from the end. Walks from the nearer end.
    pub fn seek(&self, index: i64) -> Option<usize> {
        let count = self.count();
        if count != COUNT_UNKNOWN {
            let count = i64::from(count);
            let index = if index < 0 { index + count } else { index };
            if !(0..count).contains(&index) {
                return None;
            }
            return if index < count / 2 {
                self.seek_forward(index as u64)
            } else {
                self.seek_backward((count - 1 - index) as u64)
            };
        }
        if index < 0 { self.seek_backward(-(index + 1) as u64) } else { self.seek_forward(index as u64) }
    }

    fn seek_forward(&self, steps: u64) -> Option<usize> {
        let mut position = self.first()?;
        for _ in 0..steps {
            position = self.next(position)?;
        }
        Some(position)
    }

    fn seek_backward(&self, steps: u64) -> Option<usize> {
        let mut position = self.last()?;
        for _ in 0..steps {
            position = self.prev(position)?;
        }
        Some(position)
    }

    /// The entry with this index; negative ones count from the end.
    pub fn get(&self, index: i64) -> Option<Entry<'_>> {
        Some(self.at(self.seek(index)?))
    }

    /// The first entry equal to `text` from `position` on, looking at one and passing over `skip` in turn.
    #[inline]
    pub fn find(&self, position: Option<usize>, text: &[u8], skip: usize) -> Option<usize> {
        let bytes = self.as_bytes();
        let end = self.end();
        let mut position = position?;
        let needle = Entry::of(text);
        while position < end {
            let (entry, length) = decode(bytes, position);
            if entry == needle {
                return Some(position);
            }
            position += length + backlen_bytes(length);
            for _ in 0..skip {
                if position >= end {
                    return None;
                }
                position = after(bytes, position);
            }
        }
        None
    }

    #[inline]
    pub fn iter(&self) -> Iter<'_> {
        Iter { bytes: self.as_bytes(), front: HEADER_BYTES, back: self.end() }
    }

    /// The entries from a position on; with [`Iterator::rev`] still ending there.
    #[inline]
    pub fn iter_from(&self, position: usize) -> Iter<'_> {
        Iter { bytes: self.as_bytes(), front: position, back: self.end() }
    }

    /// The entries before a position.
    #[inline]
    pub fn iter_until(&self, position: usize) -> Iter<'_> {
        Iter { bytes: self.as_bytes(), front: HEADER_BYTES, back: position }
    }

    // -- Changes

    #[inline]
    pub fn push_back(&mut self, text: &[u8]) {
        self.insert(self.end(), Entry::of(text));
    }

    #[inline]
    pub fn push_front(&mut self, text: &[u8]) {
        self.insert(HEADER_BYTES, Entry::of(text));
    }

    /// Puts an entry before the one at `position`, or at the end; returns the position behind the new one.
    #[inline]
    pub fn insert(&mut self, position: usize, entry: Entry<'_>) -> usize {
        let after = self.put(position, 0, entry);
        match self.count() {
            COUNT_UNKNOWN => {}
            count => self.set_count(usize::from(count) + 1),
        }
        after
    }

    /// Puts an entry behind the one at `position`; returns the position behind the new one.
    pub fn insert_after(&mut self, position: usize, entry: Entry<'_>) -> usize {
        self.insert(after(self.as_bytes(), position), entry)
    }

    /// Adds entries at the end, all at once: the bytes are moved and counted once for all of them.
    pub fn extend_encoded<'e>(&mut self, entries: impl Iterator<Item = Entry<'e>> + Clone) {
        let (mut bytes, mut count) = (0, 0);
        for entry in entries.clone() {
            bytes += entry.encoded_bytes();
            count += 1;
        }
        assert!(self.bytes() + bytes < u32::MAX as usize, "a listpack below 4 GiB");
        let mut gap = self.block.splice(self.end(), 0, bytes);
        for entry in entries {
            let mut head = [0; HEAD_BYTES_MAX];
            let (head_bytes, text) = encode(entry, &mut head);
            let length = head_bytes + text.len();
            let (this, rest) = gap.split_at_mut(length + backlen_bytes(length));
            this[..head_bytes].copy_from_slice(&head[..head_bytes]);
            this[head_bytes..length].copy_from_slice(text);
            write_backlen(length, &mut this[length..]);
            gap = rest;
        }
        match self.count() {
            COUNT_UNKNOWN => {}
            old => self.set_count(usize::from(old) + count),
        }
    }

    /// Replaces the entry at `position`; returns the position behind it.
    pub fn replace(&mut self, position: usize, entry: Entry<'_>) -> usize {
        let old = after(self.as_bytes(), position) - position;
        self.put(position, old, entry)
    }

    fn put(&mut self, position: usize, old: usize, entry: Entry<'_>) -> usize {
        let mut head = [0; HEAD_BYTES_MAX];
        let (head_bytes, text) = encode(entry, &mut head);
        let length = head_bytes + text.len();
        let backlen = backlen_bytes(length);
        assert!(self.bytes() + length < u32::MAX as usize - BACKLEN_BYTES_MAX, "a listpack below 4 GiB");
        let gap = self.block.splice(position, old, length + backlen);
        gap[..head_bytes].copy_from_slice(&head[..head_bytes]);
        gap[head_bytes..length].copy_from_slice(text);
        write_backlen(length, &mut gap[length..]);
        position + length + backlen
    }

    /// Removes the entry at `position`; the one after it, if any, is then there.
    #[inline]
    pub fn delete(&mut self, position: usize) {
        self.delete_from(position, 1);
    }

    /// Removes up to `count` entries from `position` on; returns how many. What follows is then at `position`.
    pub fn delete_from(&mut self, position: usize, count: usize) -> usize {
        let (mut end, mut removed) = (position, 0);
        while removed < count && end < self.end() {
            end = after(self.as_bytes(), end);
            removed += 1;
        }
        self.cut(position, end, removed);
        removed
    }

    /// Removes up to `count` entries from the one with this index on; returns how many.
    pub fn delete_range(&mut self, index: i64, count: usize) -> usize {
        match self.seek(index) {
            Some(position) if count > 0 => self.delete_from(position, count),
            _ => 0,
        }
    }

    fn cut(&mut self, start: usize, end: usize, removed: usize) {
        self.block.splice(start, end - start, 0);
        if self.is_empty() {
            self.set_count(0);
        } else if self.count() != COUNT_UNKNOWN {
            self.set_count(usize::from(self.count()) - removed);
        }
    }

    /// Moves the entries from `position` on into a listpack of their own.
    pub fn split_off(&mut self, position: usize) -> Self {
        let kept = self.iter_until(position).count();
        self.split_off_behind(position, kept)
    }

    /// [`Listpack::split_off`] where `kept` entries are known to stand before `position`.
    pub fn split_off_behind(&mut self, position: usize, kept: usize) -> Self {
        let tail = &self.as_bytes()[position..self.end()];
        let mut bytes = Vec::with_capacity(HEADER_BYTES + tail.len() + 1);
        bytes.extend_from_slice(&EMPTY[..HEADER_BYTES]);
        bytes.extend_from_slice(tail);
        bytes.push(END);
        let mut other = Self { block: Block::new(&bytes) };
        other.set_count(self.len() - kept);
        self.block.splice(position, self.end() - position, 0);
        self.set_count(kept);
        other
    }

    /// Adds the entries of `other` behind the own ones.
    pub fn append(&mut self, other: &Self) {
        let (ours, theirs) = (self.len(), other.len());
        let entries = &other.as_bytes()[HEADER_BYTES..other.end()];
        self.block.splice(self.end(), 0, entries.len()).copy_from_slice(entries);
        self.set_count(ours + theirs);
    }
}

impl<'a> Extend<&'a [u8]> for Listpack {
    fn extend<T: IntoIterator<Item = &'a [u8]>>(&mut self, texts: T) {
        texts.into_iter().for_each(|text| self.push_back(text));
    }
}

impl fmt::Debug for Listpack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a> IntoIterator for &'a Listpack {
    type Item = Entry<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// Entries from both ends.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    bytes: &'a [u8],
    front: usize,
    back: usize,
}

/// The number of entries of a listpack's own bytes.
#[inline]
pub fn len_of(bytes: &[u8]) -> usize {
    match u16::from_le_bytes([bytes[4], bytes[5]]) {
        COUNT_UNKNOWN => Iter::over(bytes).count(),
        count => usize::from(count),
    }
}

impl<'a> Iter<'a> {
    /// The entries of bytes that [`Listpack::as_bytes`] gave.
    #[inline]
    pub fn over(bytes: &'a [u8]) -> Self {
        Self { bytes, front: HEADER_BYTES, back: bytes.len() - 1 }
    }
}

impl Iter<'_> {
    /// The position of the entry that comes next from the front, if any is left.
    pub fn position(&self) -> usize {
        self.front
    }

    /// The position behind the entry that comes next from the back, if any is left.
    pub fn end_position(&self) -> usize {
        self.back
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = Entry<'a>;

    #[inline]
    fn next(&mut self) -> Option<Entry<'a>> {
        if self.front >= self.back {
            return None;
        }
        let (entry, length) = decode(self.bytes, self.front);
        self.front += length + backlen_bytes(length);
        Some(entry)
    }
}

impl DoubleEndedIterator for Iter<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.front >= self.back {
            return None;
        }
        self.back = before(self.bytes, self.back);
        Some(decode(self.bytes, self.back).0)
    }
}

#[cfg(test)]
mod tests;
