//! Bytes from outside: whether they are a listpack.

use super::entry::{
    BACKLEN_BYTES_MAX, INT_16, INT_24, INT_32, INT_64, STRING_32, backlen_bytes, write_backlen,
};
use super::{COUNT_UNKNOWN, END, HEADER_BYTES};
use std::fmt;

/// Why bytes are not a listpack.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Damaged;

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a listpack")
    }
}

impl std::error::Error for Damaged {}

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
