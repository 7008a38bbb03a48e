//! Reading a listpack, wherever its bytes are.

use super::entry::{Entry, after, backlen_bytes, before, decode};
use super::{COUNT_UNKNOWN, HEADER_BYTES};

/// The bytes of a listpack; see P1.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Pack<'a>(&'a [u8]);

impl<'a> Pack<'a> {
    /// Takes bytes that a listpack gave, or that have passed [`validate`](super::validate).
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    #[inline]
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    #[inline]
    pub fn is_empty(self) -> bool {
        self.0.len() == HEADER_BYTES + 1
    }

    /// The number of entries: at once below 65535, else by counting.
    #[inline]
    pub fn len(self) -> usize {
        match self.count() {
            COUNT_UNKNOWN => self.iter().count(),
            count => usize::from(count),
        }
    }

    /// The header's number of entries; 65535 is that many or more.
    #[inline]
    pub(in super::super) fn count(self) -> u16 {
        u16::from_le_bytes([self.0[4], self.0[5]])
    }

    /// What the header says when some have gone.
    #[inline]
    pub(in super::super) fn count_without(self, removed: usize) -> u16 {
        match self.count() {
            COUNT_UNKNOWN => COUNT_UNKNOWN,
            count => (usize::from(count) - removed) as u16,
        }
    }

    /// Whether the header tells the number of entries.
    pub fn is_counted(self) -> bool {
        self.count() != COUNT_UNKNOWN
    }

    #[inline]
    pub fn first(self) -> Option<usize> {
        self.here(HEADER_BYTES)
    }

    #[inline]
    pub fn last(self) -> Option<usize> {
        self.prev(self.end())
    }

    /// Where an entry after the last one would stand.
    #[inline]
    pub fn end(self) -> usize {
        self.0.len() - 1
    }

    #[inline]
    pub fn next(self, position: usize) -> Option<usize> {
        self.here(after(self.0, position))
    }

    #[inline]
    pub fn prev(self, position: usize) -> Option<usize> {
        (position > HEADER_BYTES).then(|| before(self.0, position))
    }

    #[inline]
    fn here(self, position: usize) -> Option<usize> {
        (position < self.end()).then_some(position)
    }

    /// The entry at a position.
    #[inline]
    pub fn at(self, position: usize) -> Entry<'a> {
        decode(self.0, position).0
    }

    /// The position of the entry with this index; negative ones count from the end. Walks from the nearer end.
    pub fn seek(self, index: i64) -> Option<usize> {
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

    fn seek_forward(self, steps: u64) -> Option<usize> {
        let mut position = self.first()?;
        for _ in 0..steps {
            position = self.next(position)?;
        }
        Some(position)
    }

    fn seek_backward(self, steps: u64) -> Option<usize> {
        let mut position = self.last()?;
        for _ in 0..steps {
            position = self.prev(position)?;
        }
        Some(position)
    }

    /// The entry with this index; negative ones count from the end.
    pub fn get(self, index: i64) -> Option<Entry<'a>> {
        Some(self.at(self.seek(index)?))
    }

    /// The first entry equal to `text` from `position` on, looking at one and passing over `skip` in turn.
    #[inline]
    pub fn find(self, position: Option<usize>, text: &[u8], skip: usize) -> Option<usize> {
        let end = self.end();
        let mut position = position?;
        let needle = Entry::of(text);
        while position < end {
            let (entry, length) = decode(self.0, position);
            if entry == needle {
                return Some(position);
            }
            position += length + backlen_bytes(length);
            for _ in 0..skip {
                if position >= end {
                    return None;
                }
                position = after(self.0, position);
            }
        }
        None
    }

    #[inline]
    pub fn iter(self) -> Iter<'a> {
        Iter { bytes: self.0, front: HEADER_BYTES, back: self.end() }
    }

    /// The entries from a position on; with [`Iterator::rev`] still ending there.
    #[inline]
    pub fn iter_from(self, position: usize) -> Iter<'a> {
        Iter { bytes: self.0, front: position, back: self.end() }
    }

    /// The entries before a position.
    #[inline]
    pub fn iter_until(self, position: usize) -> Iter<'a> {
        Iter { bytes: self.0, front: HEADER_BYTES, back: position }
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
    Pack::new(bytes).len()
}

impl<'a> Iter<'a> {
    /// The entries of bytes that [`Listpack::as_bytes`](super::Listpack::as_bytes) gave.
    #[inline]
    pub fn over(bytes: &'a [u8]) -> Self {
        Pack::new(bytes).iter()
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
