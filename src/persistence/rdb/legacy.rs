//! The ziplist and the zipmap, forms that Redis wrote before 7.0 and that are only read here.
//!
//! ```text
//! ziplist   u32 LE bytes in all | u32 LE offset of the last entry | u16 LE number of entries, 65535 = unknown
//!           entries | 255
//! entry     length of the entry before: u8, or 254 and u32 LE; then
//!           00nn nnnn                a text below 64 bytes      1100 0000 i16 LE   1111 0000 i24 LE
//!           01nn nnnn  u8            below 16384, big endian    1101 0000 i32 LE   1111 1110 i8
//!           10.. ....  u32 BE        any length                 1110 0000 i64 LE   1111 0001 to 1101: 0 to 12
//!
//! zipmap    u8 number of pairs, 254 = unknown | pairs | 255
//! pair      length, field, length, unused bytes: u8, value, the unused bytes
//!           a length is u8 or 254 and u32 LE
//! ```

use crate::types::encoding::Entry;

const END: u8 = 0xff;
const LONG: u8 = 254;
const ZIPLIST_HEADER_BYTES: usize = 10;
const COUNT_UNKNOWN: u16 = u16::MAX;

/// The entries of a ziplist, if the bytes are one through and through.
pub fn ziplist(bytes: &[u8]) -> Option<Vec<Entry<'_>>> {
    let (header, body) = bytes.split_first_chunk::<ZIPLIST_HEADER_BYTES>()?;
    let [a, b, c, d, e, f, g, h, low, high] = *header;
    let (total, last) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
    let body = body.strip_suffix(&[END])?;
    if total as usize != bytes.len() {
        return None;
    }
    let mut entries = Vec::new();
    let (mut rest, mut before, mut position) = (body, 0, ZIPLIST_HEADER_BYTES);
    // The last entry's offset; an empty list has it point to the end.
    let mut tail = position;
    while !rest.is_empty() {
        let (previous, behind) = ziplist_previous(rest)?;
        if previous != before {
            return None;
        }
        let (entry, behind) = ziplist_entry(behind)?;
        entries.push(entry);
        tail = position;
        before = rest.len() - behind.len();
        position += before;
        rest = behind;
    }
    let told = u16::from_le_bytes([low, high]);
    let count_fits = told == COUNT_UNKNOWN || usize::from(told) == entries.len();
    (count_fits && last as usize == tail).then_some(entries)
}

fn ziplist_previous(bytes: &[u8]) -> Option<(usize, &[u8])> {
    match *bytes {
        [LONG, a, b, c, d, ref rest @ ..] => Some((u32::from_le_bytes([a, b, c, d]) as usize, rest)),
        [length @ 0..LONG, ref rest @ ..] => Some((usize::from(length), rest)),
        _ => None,
    }
}

fn ziplist_entry(bytes: &[u8]) -> Option<(Entry<'_>, &[u8])> {
    match *bytes {
        [head @ 0x00..=0x3f, ref rest @ ..] => text(usize::from(head), rest),
        [head @ 0x40..=0x7f, low, ref rest @ ..] => {
            text(usize::from(head & 0x3f) << 8 | usize::from(low), rest)
        }
        [0x80..=0xbf, a, b, c, d, ref rest @ ..] => text(u32::from_be_bytes([a, b, c, d]) as usize, rest),
        [0xc0, a, b, ref rest @ ..] => int(i16::from_le_bytes([a, b]), rest),
        [0xd0, a, b, c, d, ref rest @ ..] => int(i32::from_le_bytes([a, b, c, d]), rest),
        [0xe0, a, b, c, d, e, f, g, h, ref rest @ ..] => {
            int(i64::from_le_bytes([a, b, c, d, e, f, g, h]), rest)
        }
        [0xf0, a, b, c, ref rest @ ..] => int(i32::from_le_bytes([0, a, b, c]) >> 8, rest),
        [0xfe, a, ref rest @ ..] => int(i8::from_le_bytes([a]), rest),
        [head @ 0xf1..=0xfd, ref rest @ ..] => int(head - 0xf1, rest),
        _ => None,
    }
}

fn text(length: usize, rest: &[u8]) -> Option<(Entry<'_>, &[u8])> {
    let (text, rest) = rest.split_at_checked(length)?;
    Some((Entry::Str(text), rest))
}

fn int<'a>(value: impl Into<i64>, rest: &'a [u8]) -> Option<(Entry<'a>, &'a [u8])> {
    Some((Entry::Int(value.into()), rest))
}

/// The fields and values of a zipmap, if the bytes are one through and through.
pub fn zipmap(bytes: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let (&told, body) = bytes.split_first()?;
    let mut rest = body.strip_suffix(&[END])?;
    let mut pairs = Vec::new();
    while !rest.is_empty() {
        let (length, behind) = zipmap_length(rest)?;
        let (field, behind) = behind.split_at_checked(length)?;
        let (length, behind) = zipmap_length(behind)?;
        let (&unused, behind) = behind.split_first()?;
        let (value, behind) = behind.split_at_checked(length)?;
        rest = behind.get(usize::from(unused)..)?;
        pairs.push((field, value));
    }
    (told >= LONG || usize::from(told) == pairs.len()).then_some(pairs)
}

fn zipmap_length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    match *bytes {
        [LONG, a, b, c, d, ref rest @ ..] => {
            let length = u32::from_le_bytes([a, b, c, d]) as usize;
            // Nobody ever wrote a short one so.
            (length >= usize::from(LONG)).then_some((length, rest))
        }
        [length @ 0..LONG, ref rest @ ..] => Some((usize::from(length), rest)),
        _ => None,
    }
}
