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

use super::block::Block;
use crate::base::number::parse_i64;
use std::fmt;

pub const HEADER_BYTES: usize = 6;
const EMPTY: [u8; HEADER_BYTES + 1] = [HEADER_BYTES as u8 + 1, 0, 0, 0, 0, 0, END];
const END: u8 = 0xff;
const COUNT_UNKNOWN: u16 = u16::MAX;
const STRING_32: u8 = 0xf0;
const INT_16: u8 = 0xf1;
const INT_24: u8 = 0xf2;
const INT_32: u8 = 0xf3;
const INT_64: u8 = 0xf4;
/// The head of a 64-bit integer.
const HEAD_BYTES_MAX: usize = 9;
const BACKLEN_BYTES_MAX: usize = 5;

/// Beyond this nothing is added: Redis refuses it as well, far below what 32 bits could count.
pub const BYTES_MAX: usize = 1 << 30;

/// An element as it is kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Entry<'a> {
    Int(i64),
    Str(&'a [u8]),
}

impl<'a> Entry<'a> {
    /// The form in which a text is kept.
    #[inline]
    pub fn of(text: &'a [u8]) -> Self {
        match text {
            [b'0'..=b'9' | b'-', ..] => parse_i64(text).map_or(Self::Str(text), Self::Int),
            _ => Self::Str(text),
        }
    }

    /// The text; an integer is written into `scratch`.
    #[inline]
    pub fn as_bytes<'b>(self, scratch: &'b mut itoa::Buffer) -> &'b [u8]
    where
        'a: 'b,
    {
        match self {
            Self::Str(text) => text,
            Self::Int(value) => scratch.format(value).as_bytes(),
        }
    }

    pub fn to_vec(self) -> Vec<u8> {
        self.as_bytes(&mut itoa::Buffer::new()).to_vec()
    }

    /// Whether this is how its text is kept: one that spells an integer as the integer. Bytes from outside may have it
    /// otherwise.
    pub fn is_canonical(self) -> bool {
        match self {
            Self::Int(_) => true,
            Self::Str(text) => Self::of(text) == self,
        }
    }

    /// The bytes this takes in a listpack.
    #[inline]
    pub fn encoded_bytes(self) -> usize {
        let length = match self {
            Self::Str(text) => text_head_bytes(text.len()) + text.len(),
            Self::Int(value) => int_bytes(value),
        };
        length + backlen_bytes(length)
    }
}

impl From<i64> for Entry<'_> {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

/// Why bytes are not a listpack.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Damaged;

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a listpack")
    }
}

impl std::error::Error for Damaged {}

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

/// Whether bytes are a listpack through and through: every length leads to the next entry, every backlen to the
/// one before, and the header tells the truth. Returns the number of entries.
pub fn validate(bytes: &[u8]) -> Result<usize, Damaged> {
    let (header, entries) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(Damaged)?;
    let [size @ .., low, high] = *header;
    let [entries @ .., END] = entries else { return Err(Damaged) };
    if u32::from_le_bytes(size) as usize != bytes.len() {
        return Err(Damaged);
    }
    let (mut rest, mut count) = (entries, 0);
    while !rest.is_empty() {
        let length = checked_length(rest)?;
        let backlen = backlen_bytes(length);
        let mut expected = [0; BACKLEN_BYTES_MAX];
        write_backlen(length, &mut expected[..backlen]);
        let behind = rest.get(length..).ok_or(Damaged)?;
        rest = behind.strip_prefix(&expected[..backlen]).ok_or(Damaged)?;
        count += 1;
    }
    match u16::from_le_bytes([low, high]) {
        COUNT_UNKNOWN => Ok(count),
        told if usize::from(told) == count => Ok(count),
        _ => Err(Damaged),
    }
}

/// The length of the entry that untrusted bytes begin with, without its backlen. It may lead beyond their end.
fn checked_length(bytes: &[u8]) -> Result<usize, Damaged> {
    Ok(match *bytes {
        [0x00..=0x7f, ..] => 1,
        [head @ 0x80..=0xbf, ..] => 1 + usize::from(head & 0x3f),
        [0xc0..=0xdf, ..] => 2,
        [head @ 0xe0..=0xef, low, ..] => 2 + (usize::from(head & 0x0f) << 8 | usize::from(low)),
        [STRING_32, a, b, c, d, ..] => {
            let length = u32::from_le_bytes([a, b, c, d]) as usize;
            if length > u32::MAX as usize - 16 {
                return Err(Damaged);
            }
            5 + length
        }
        [INT_16, ..] => 3,
        [INT_24, ..] => 4,
        [INT_32, ..] => 5,
        [INT_64, ..] => 9,
        _ => return Err(Damaged),
    })
}

// -- Reading

/// The entry at a position and its length without the backlen.
#[inline]
fn decode(bytes: &[u8], position: usize) -> (Entry<'_>, usize) {
    let entry = &bytes[position..];
    match *entry {
        [value @ 0x00..=0x7f, ..] => (Entry::Int(i64::from(value)), 1),
        [head @ 0x80..=0xbf, ref text @ ..] => {
            let length = usize::from(head & 0x3f);
            (Entry::Str(&text[..length]), 1 + length)
        }
        [high @ 0xc0..=0xdf, low, ..] => {
            // Five bits of the first byte and all of the second, sign extended.
            let value = i16::from_be_bytes([high << 3, 0]) >> 3 | i16::from(low);
            (Entry::Int(i64::from(value)), 2)
        }
        [head @ 0xe0..=0xef, low, ref text @ ..] => {
            let length = usize::from(head & 0x0f) << 8 | usize::from(low);
            (Entry::Str(&text[..length]), 2 + length)
        }
        [STRING_32, a, b, c, d, ref text @ ..] => {
            let length = u32::from_le_bytes([a, b, c, d]) as usize;
            (Entry::Str(&text[..length]), 5 + length)
        }
        [INT_16, a, b, ..] => (Entry::Int(i64::from(i16::from_le_bytes([a, b]))), 3),
        [INT_24, a, b, c, ..] => (Entry::Int(i64::from(i32::from_le_bytes([0, a, b, c]) >> 8)), 4),
        [INT_32, a, b, c, d, ..] => (Entry::Int(i64::from(i32::from_le_bytes([a, b, c, d]))), 5),
        [INT_64, a, b, c, d, e, f, g, h, ..] => (Entry::Int(i64::from_le_bytes([a, b, c, d, e, f, g, h])), 9),
        _ => unreachable!("P1: no entry begins like this"),
    }
}

/// The position behind the entry at `position`.
#[inline]
fn after(bytes: &[u8], position: usize) -> usize {
    let length = match bytes[position] {
        0x00..=0x7f => 1,
        head @ 0x80..=0xbf => 1 + usize::from(head & 0x3f),
        0xc0..=0xdf => 2,
        head @ 0xe0..=0xef => 2 + (usize::from(head & 0x0f) << 8 | usize::from(bytes[position + 1])),
        _ => decode(bytes, position).1,
    };
    position + length + backlen_bytes(length)
}

/// The position of the entry that ends before `position`.
#[inline]
fn before(bytes: &[u8], position: usize) -> usize {
    let last = bytes[position - 1];
    if last & 0x80 == 0 {
        return position - 1 - usize::from(last);
    }
    let (mut length, mut shift, mut at) = (0, 0, position);
    loop {
        at -= 1;
        length |= usize::from(bytes[at] & 0x7f) << shift;
        if bytes[at] & 0x80 == 0 {
            return at - length;
        }
        shift += 7;
    }
}

// -- Writing

#[inline]
fn text_head_bytes(length: usize) -> usize {
    match length {
        0..64 => 1,
        64..4096 => 2,
        _ => 5,
    }
}

#[inline]
fn int_bytes(value: i64) -> usize {
    match value {
        0..=127 => 1,
        -4096..=4095 => 2,
        -0x8000..=0x7fff => 3,
        -0x80_0000..=0x7f_ffff => 4,
        -0x8000_0000..=0x7fff_ffff => 5,
        _ => 9,
    }
}

/// Writes the head of an entry; returns its length and the text that follows.
#[inline]
fn encode<'a>(entry: Entry<'a>, head: &mut [u8; HEAD_BYTES_MAX]) -> (usize, &'a [u8]) {
    match entry {
        Entry::Str(text) => {
            let bytes = text_head_bytes(text.len());
            match bytes {
                1 => head[0] = 0x80 | text.len() as u8,
                2 => head[..2].copy_from_slice(&(0xe000 | text.len() as u16).to_be_bytes()),
                _ => {
                    let length = u32::try_from(text.len()).expect("a text below 4 GiB");
                    head[0] = STRING_32;
                    head[1..5].copy_from_slice(&length.to_le_bytes());
                }
            }
            (bytes, text)
        }
        Entry::Int(value) => {
            let bytes = int_bytes(value);
            match bytes {
                1 => head[0] = value as u8,
                2 => head[..2].copy_from_slice(&(0xc000 | value as u16 & 0x1fff).to_be_bytes()),
                _ => {
                    head[0] = match bytes {
                        3 => INT_16,
                        4 => INT_24,
                        5 => INT_32,
                        _ => INT_64,
                    };
                    head[1..bytes].copy_from_slice(&value.to_le_bytes()[..bytes - 1]);
                }
            }
            (bytes, &[])
        }
    }
}

/// Redis's thresholds: from the second on one below what the groups could hold.
#[inline]
fn backlen_bytes(length: usize) -> usize {
    match length {
        0..=127 => 1,
        128..16_383 => 2,
        16_383..2_097_151 => 3,
        2_097_151..268_435_455 => 4,
        _ => 5,
    }
}

/// Fills `out`, which is [`backlen_bytes`] long.
#[inline]
fn write_backlen(length: usize, out: &mut [u8]) {
    let mut rest = length;
    for byte in out.iter_mut().rev() {
        *byte = (rest & 0x7f) as u8 | 0x80;
        rest >>= 7;
    }
    out[0] &= 0x7f;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packed(texts: &[&[u8]]) -> Listpack {
        let mut pack = Listpack::new();
        pack.extend(texts.iter().copied());
        pack
    }

    fn texts(pack: &Listpack) -> Vec<Vec<u8>> {
        pack.iter().map(Entry::to_vec).collect()
    }

    /// What holds of every listpack.
    fn check(pack: &Listpack, model: &[Vec<u8>]) {
        assert_eq!(texts(pack), model);
        assert_eq!(validate(pack.as_bytes()), Ok(model.len()), "P1");
        assert_eq!(pack.len(), model.len());
        assert_eq!(pack.is_empty(), model.is_empty());
        let mut backward: Vec<_> = pack.iter().rev().map(Entry::to_vec).collect();
        backward.reverse();
        assert_eq!(backward, model);
        assert_eq!(Listpack::from_bytes(pack.as_bytes()).as_ref(), Ok(pack));
    }

    /// Bytes as Redis 7.0.15 dumps them (`DUMP` of a list, hash or zset of these elements).
    #[test]
    fn the_bytes_are_those_of_redis() {
        let pack = packed(&[b"1", b"-1", b"4095", b"-4096", b"4096", b"abc", b""]);
        assert_eq!(
            pack.as_bytes(),
            b"\x1d\0\0\0\x07\0\x01\x01\xdf\xff\x02\xcf\xff\x02\xd0\0\x02\xf1\0\x10\x03\x83abc\x04\x80\x01\xff"
        );
        let pack = packed(&[b"8388607", b"-8388608", b"8388608", b"-2147483648", b"2147483648"]);
        assert_eq!(
            pack.as_bytes(),
            b"\x27\0\0\0\x05\0\xf2\xff\xff\x7f\x04\xf2\0\0\x80\x04\xf3\0\0\x80\0\x05\xf3\0\0\0\x80\x05\
              \xf4\0\0\0\x80\0\0\0\0\x09\xff"
        );
        let long = vec![b'x'; 200];
        let pack = packed(&[&long]);
        assert_eq!(&pack.as_bytes()[6..8], b"\xe0\xc8");
        assert_eq!(&pack.as_bytes()[208..], b"\x01\xca\xff");
    }

    #[test]
    fn integers_at_every_border_come_back() {
        let borders = [0, 127, 128, 4095, 4096, 32767, 32768, 8_388_607, 8_388_608, 2_147_483_647, i64::MAX];
        for border in borders {
            for value in [border, border.wrapping_neg(), (-border).wrapping_sub(1), border.wrapping_add(1)] {
                let mut pack = Listpack::new();
                pack.insert(pack.end(), Entry::Int(value));
                assert_eq!(pack.get(0), Some(Entry::Int(value)));
                assert_eq!(pack.bytes(), 7 + Entry::Int(value).encoded_bytes());
                check(&pack, &[value.to_string().into_bytes()]);
            }
        }
    }

    #[test]
    fn only_canonical_integers_become_integers() {
        for text in ["01", "-0", "+1", " 1", "1 ", "1.0", "9223372036854775808", "-", ""] {
            assert_eq!(Entry::of(text.as_bytes()), Entry::Str(text.as_bytes()));
        }
        assert_eq!(Entry::of(b"-9223372036854775808"), Entry::Int(i64::MIN));
    }

    #[test]
    fn strings_at_every_border_come_back() {
        for length in [0, 1, 63, 64, 125, 126, 127, 4095, 4096, 16_378, 16_379, 2_097_146, 2_097_147] {
            let text = vec![b'a'; length];
            let mut pack = packed(&[b"before", &text, b"after"]);
            check(&pack, &[b"before".to_vec(), text.clone(), b"after".to_vec()]);
            assert_eq!(pack.find(pack.first(), &text, 0), pack.seek(1));
            pack.replace(pack.seek(1).expect("three entries"), Entry::Int(7));
            check(&pack, &[b"before".to_vec(), b"7".to_vec(), b"after".to_vec()]);
        }
    }

    #[test]
    fn more_entries_than_the_header_can_count() {
        let mut pack = Listpack::new();
        (0..70_000).for_each(|value| pack.push_back(value.to_string().as_bytes()));
        assert_eq!(pack.len(), 70_000);
        assert_eq!(pack.get(69_999), Some(Entry::Int(69_999)));
        assert_eq!(pack.get(-70_000), Some(Entry::Int(0)));
        assert_eq!((pack.get(-70_001), pack.get(70_000)), (None, None));
        assert_eq!(validate(pack.as_bytes()), Ok(70_000));
        let tail = pack.split_off(pack.seek(69_000).expect("there"));
        assert_eq!((pack.len(), tail.len()), (69_000, 1000));
        assert_eq!(pack.delete_range(0, 69_000), 69_000);
        check(&pack, &[]);
    }

    #[test]
    fn finds_with_a_stride() {
        let pack = packed(&[b"a", b"b", b"b", b"a", b"1", b"b"]);
        assert_eq!(pack.find(pack.first(), b"b", 1), pack.seek(2));
        assert_eq!(pack.find(pack.first(), b"1", 1), pack.seek(4));
        assert_eq!(pack.find(pack.first(), b"1", 2), None);
        assert_eq!(pack.find(pack.seek(1), b"a", 0), pack.seek(3));
    }

    /// Every single damaged byte is found or is no damage to the structure; and nothing panics.
    #[test]
    fn a_damaged_byte_never_leads_astray() {
        let long = vec![b'y'; 300];
        let pack = packed(&[b"1", b"-77", b"abc", &long, b"99999999999", b"70000"]);
        let bytes = pack.as_bytes().to_vec();
        for at in 0..bytes.len() {
            for value in 0..=255 {
                let mut damaged = bytes.clone();
                damaged[at] = value;
                if let Ok(pack) = Listpack::from_bytes(&damaged) {
                    assert_eq!(pack.iter().count(), pack.iter().rev().count());
                }
            }
            assert_eq!(Listpack::from_bytes(&bytes[..at]), Err(Damaged));
        }
    }

    fn text() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            any::<i64>().prop_map(|value| value.to_string().into_bytes()),
            (-5000_i64..5000).prop_map(|value| value.to_string().into_bytes()),
            proptest::collection::vec(any::<u8>(), 0..20),
            (60_usize..70).prop_map(|length| vec![b'z'; length]),
            (4090_usize..4100).prop_map(|length| vec![b'z'; length]),
        ]
    }

    proptest! {
        #[test]
        fn agrees_with_a_vector(
            changes in proptest::collection::vec((0_u8..8, any::<u16>(), text()), 0..60),
        ) {
            let (mut pack, mut model): (Listpack, Vec<Vec<u8>>) = Default::default();
            for (change, at, text) in changes {
                let index = usize::from(at) % (model.len() + 1);
                let position = pack.seek(index as i64);
                prop_assert_eq!(position.is_some(), index < model.len());
                let entry = Entry::of(&text);
                match (change, position) {
                    (0, _) => { pack.push_front(&text); model.insert(0, text) }
                    (1, _) | (_, None) => { pack.push_back(&text); model.push(text) }
                    (2, Some(at)) => { pack.insert(at, entry); model.insert(index, text) }
                    (3, Some(at)) => { pack.insert_after(at, entry); model.insert(index + 1, text) }
                    (4, Some(at)) => { pack.replace(at, entry); model[index] = text }
                    (5, Some(at)) => { pack.delete(at); model.remove(index); }
                    (6, Some(_)) => {
                        let removed = pack.delete_range(index as i64 - model.len() as i64, text.len());
                        let end = model.len().min(index + text.len());
                        prop_assert_eq!(removed, model.drain(index..end).count());
                    }
                    (_, Some(at)) => {
                        let tail = pack.split_off(at);
                        check(&tail, &model[index..]);
                        let front = std::mem::replace(&mut pack, tail);
                        pack.append(&front);
                        model.rotate_left(index);
                    }
                }
                check(&pack, &model);
                for (index, expected) in model.iter().enumerate() {
                    let found = pack.get(index as i64).map(Entry::to_vec);
                    prop_assert_eq!(found.as_deref(), Some(&expected[..]));
                }
            }
        }
    }
}
