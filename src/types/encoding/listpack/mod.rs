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
mod view;

pub use entry::Entry;
pub use validate::{Damaged, validate};
pub use view::{Iter, Pack, len_of};

use super::block::Block;
pub(super) use entry::Encoded;
use entry::after;
use std::fmt;

pub const HEADER_BYTES: usize = 6;
pub(super) const EMPTY: [u8; HEADER_BYTES + 1] = [HEADER_BYTES as u8 + 1, 0, 0, 0, 0, 0, END];
pub(super) const END: u8 = 0xff;
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

    /// A listpack of bytes that may be none: only [`Node`](super::quicklist::Node) keeps such, and to itself.
    pub(super) fn of_any_bytes(bytes: &[u8]) -> Self {
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

    /// To read it; what is below in this part is that, for short.
    #[inline]
    pub fn view(&self) -> Pack<'_> {
        Pack::new(self.as_bytes())
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.view().is_empty()
    }

    /// The number of entries: at once below 65535, else by counting.
    #[inline]
    pub fn len(&self) -> usize {
        self.view().len()
    }

    #[inline]
    pub fn first(&self) -> Option<usize> {
        self.view().first()
    }

    #[inline]
    pub fn last(&self) -> Option<usize> {
        self.view().last()
    }

    /// Where an entry after the last one would stand.
    #[inline]
    pub fn end(&self) -> usize {
        self.view().end()
    }

    #[inline]
    pub fn next(&self, position: usize) -> Option<usize> {
        self.view().next(position)
    }

    #[inline]
    pub fn prev(&self, position: usize) -> Option<usize> {
        self.view().prev(position)
    }

    /// The entry at a position.
    #[inline]
    pub fn at(&self, position: usize) -> Entry<'_> {
        self.view().at(position)
    }

    /// The position of the entry with this index; negative ones count from the end.
    #[inline]
    pub fn seek(&self, index: i64) -> Option<usize> {
        self.view().seek(index)
    }

    /// The entry with this index; negative ones count from the end.
    #[inline]
    pub fn get(&self, index: i64) -> Option<Entry<'_>> {
        self.view().get(index)
    }

    /// The first entry equal to `text` from `position` on, looking at one and passing over `skip` in turn.
    #[inline]
    pub fn find(&self, position: Option<usize>, text: &[u8], skip: usize) -> Option<usize> {
        self.view().find(position, text, skip)
    }

    #[inline]
    pub fn iter(&self) -> Iter<'_> {
        self.view().iter()
    }

    /// The entries from a position on; with [`Iterator::rev`] still ending there.
    #[inline]
    pub fn iter_from(&self, position: usize) -> Iter<'_> {
        self.view().iter_from(position)
    }

    /// The entries before a position.
    #[inline]
    pub fn iter_until(&self, position: usize) -> Iter<'_> {
        self.view().iter_until(position)
    }

    fn count(&self) -> u16 {
        self.view().count()
    }

    fn set_count(&mut self, count: usize) {
        let count = u16::try_from(count).unwrap_or(COUNT_UNKNOWN);
        self.block.bytes_mut()[..2].copy_from_slice(&count.to_le_bytes());
    }

    // -- Changes

    #[inline]
    pub fn push_back(&mut self, text: &[u8]) {
        // Nothing follows that would have to move.
        let encoded = Encoded::new(Entry::of(text));
        assert!(self.bytes() + encoded.bytes() < u32::MAX as usize, "a listpack below 4 GiB");
        let tail = self.block.extend(encoded.bytes());
        let (entry, end) = tail.split_at_mut(encoded.bytes());
        encoded.write(entry);
        end[0] = END;
        self.count_one_more();
    }

    #[inline]
    pub fn push_front(&mut self, text: &[u8]) {
        self.insert(HEADER_BYTES, Entry::of(text));
    }

    /// Puts an entry before all others.
    pub fn insert_first(&mut self, entry: Entry<'_>) -> usize {
        self.insert(HEADER_BYTES, entry)
    }

    /// Puts an entry before the one at `position`, or at the end; returns the position behind the new one.
    #[inline]
    pub fn insert(&mut self, position: usize, entry: Entry<'_>) -> usize {
        let after = self.put(position, 0, entry);
        self.count_one_more();
        after
    }

    #[inline]
    fn count_one_more(&mut self) {
        match self.count() {
            COUNT_UNKNOWN => {}
            count => self.set_count(usize::from(count) + 1),
        }
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
            let encoded = Encoded::new(entry);
            let (this, rest) = gap.split_at_mut(encoded.bytes());
            encoded.write(this);
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
        let encoded = Encoded::new(entry);
        assert!(self.bytes() + encoded.bytes() < u32::MAX as usize, "a listpack below 4 GiB");
        encoded.write(self.block.splice(position, old, encoded.bytes()));
        position + encoded.bytes()
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

#[cfg(test)]
mod tests;
