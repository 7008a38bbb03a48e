//! The bytes of one record, in its segment or by itself.

use super::long_records::LongRecords;
use super::{RECORD_BYTES_MAX, VARIABLE};

pub(super) const LONG: u8 = 255;

pub(super) const LONG_BYTES: usize = 5;

/// The bytes of a key with its value if they are not too long for a segment.
#[inline]
fn inline_bytes<const W: usize>(key: &[u8], value: &[u8]) -> usize {
    1 + key.len() + usize::from(W == VARIABLE) + value.len()
}

/// The bytes of a record in its segment.
#[inline]
pub(super) fn record_bytes<const W: usize>(key: &[u8], value: &[u8]) -> usize {
    debug_assert!(W == VARIABLE || W == value.len());
    let bytes = inline_bytes::<W>(key, value);
    if bytes <= RECORD_BYTES_MAX { bytes } else { LONG_BYTES }
}

/// Where the value of a record begins that is not long, and its length.
#[inline]
pub(super) fn inline_value<const W: usize>(record: &[u8]) -> (usize, usize) {
    let end = 1 + usize::from(record[0]);
    if W == VARIABLE { (end + 1, usize::from(record[end])) } else { (end, W) }
}

#[inline]
pub(super) fn stored_bytes<const W: usize>(record: &[u8]) -> usize {
    if record[0] == LONG {
        return LONG_BYTES;
    }
    let (from, bytes) = inline_value::<W>(record);
    from + bytes
}

#[inline]
pub(super) fn write_record<const W: usize>(at: &mut [u8], long: &mut LongRecords, key: &[u8], value: &[u8]) {
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

pub(super) fn long_number(record: &[u8]) -> u32 {
    u32::from_le_bytes([record[1], record[2], record[3], record[4]])
}

/// `u32` length of the key, key, value.
pub(super) fn long_record(key: &[u8], value: &[u8]) -> Box<[u8]> {
    let length = u32::try_from(key.len()).expect("requests have no arguments of 4 GB");
    [&length.to_le_bytes()[..], key, value].concat().into_boxed_slice()
}

pub(super) fn long_parts(record: &[u8]) -> (&[u8], &[u8]) {
    let (length, rest) = record.split_first_chunk::<4>().expect("written by long_record");
    rest.split_at(u32::from_le_bytes(*length) as usize)
}

pub(super) fn long_value_mut(record: &mut [u8]) -> &mut [u8] {
    let (length, rest) = record.split_first_chunk_mut::<4>().expect("written by long_record");
    rest.split_at_mut(u32::from_le_bytes(*length) as usize).1
}
