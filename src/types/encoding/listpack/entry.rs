//! One entry of a listpack: its value, and its bytes.

use crate::base::number::parse_i64;

pub(super) const STRING_32: u8 = 0xf0;
pub(super) const INT_16: u8 = 0xf1;
pub(super) const INT_24: u8 = 0xf2;
pub(super) const INT_32: u8 = 0xf3;
pub(super) const INT_64: u8 = 0xf4;
/// The head of a 64-bit integer.
const HEAD_BYTES_MAX: usize = 9;
pub(super) const BACKLEN_BYTES_MAX: usize = 5;

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

// -- Reading

/// The entry at a position and its length without the backlen.
#[inline]
pub(super) fn decode(bytes: &[u8], position: usize) -> (Entry<'_>, usize) {
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
pub(super) fn after(bytes: &[u8], position: usize) -> usize {
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
pub(super) fn before(bytes: &[u8], position: usize) -> usize {
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

/// An entry about to be written.
pub struct Encoded<'a> {
    head: [u8; HEAD_BYTES_MAX],
    head_bytes: usize,
    text: &'a [u8],
    backlen: usize,
}

impl<'a> Encoded<'a> {
    #[inline]
    pub fn new(entry: Entry<'a>) -> Self {
        let mut head = [0; HEAD_BYTES_MAX];
        let (head_bytes, text) = encode(entry, &mut head);
        Self { head, head_bytes, text, backlen: backlen_bytes(head_bytes + text.len()) }
    }

    /// All of it, with the backlen.
    #[inline]
    pub fn bytes(&self) -> usize {
        self.head_bytes + self.text.len() + self.backlen
    }

    /// Fills `out`, which is [`Encoded::bytes`] long.
    #[inline]
    pub fn write(&self, out: &mut [u8]) {
        let length = self.head_bytes + self.text.len();
        out[..self.head_bytes].copy_from_slice(&self.head[..self.head_bytes]);
        out[self.head_bytes..length].copy_from_slice(self.text);
        write_backlen(length, &mut out[length..]);
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
pub(super) fn backlen_bytes(length: usize) -> usize {
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
pub(super) fn write_backlen(length: usize, out: &mut [u8]) {
    let mut rest = length;
    for byte in out.iter_mut().rev() {
        *byte = (rest & 0x7f) as u8 | 0x80;
        rest >>= 7;
    }
    out[0] &= 0x7f;
}
