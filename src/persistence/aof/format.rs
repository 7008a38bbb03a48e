//! The bytes of a segment around its records.
//!
//! ```text
//! 0     8 bytes  "PINIONAF"
//! 8     u32 le   version of the format: 2
//! 12    u32 le   shard whose journal this is
//! 16    u32 le   how many shards there are
//! 20    u32 le   0
//! 24    u64 le   generation
//! 32    u64 le   run: random, the same for all segments that one process has written
//! 40    u32 le   CRC32C of the bytes before
//!       zeros up to 4096
//! 4096  records and marks, then zeros
//! ```
//!
//! Each write ends with a mark, which says how far the segment was durable when the write began:
//!
//! ```text
//! u32 le   0xffffffff, which is no length of a record
//! u32 le   CRC32C of everything behind this field
//! u64 le   run
//! u64 le   place of this mark in the file
//! u64 le   everything before this place was durable
//! u32 le   so many zeros follow, up to the end of a block
//! u32 le   0
//! ```
//!
//! A mark is what tells a torn tail from damage: bytes that cannot be read are a tail that was being written when the
//! machine stopped, unless a later mark says that they were durable. No client can forge one: it does not know the run.

use crate::base::crc::crc32c;
use crate::disk::BLOCK;

/// Where the first record is.
pub const START: u64 = BLOCK as u64;

pub const MARK_BYTES: usize = 40;

const MAGIC: &[u8; 8] = b"PINIONAF";
const VERSION: u32 = 2;
const CHECKSUM_AT: usize = 40;
/// What a mark begins with.
pub const MARK_TAG: [u8; 4] = [0xff; 4];

/// What a segment says of itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Header {
    pub shard: u32,
    pub shards: u32,
    pub generation: u64,
    pub run: u64,
}

impl Header {
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(BLOCK);
        bytes.extend_from_slice(MAGIC);
        for word in [VERSION, self.shard, self.shards, 0] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        bytes.extend_from_slice(&self.generation.to_le_bytes());
        bytes.extend_from_slice(&self.run.to_le_bytes());
        assert_eq!(bytes.len(), CHECKSUM_AT);
        let checksum = crc32c(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes.resize(BLOCK, 0);
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, &'static str> {
        if !bytes.starts_with(MAGIC) {
            return Err("this is no segment of Pinion");
        }
        if bytes.len() < BLOCK {
            return Err("the header is cut off");
        }
        if u32_at(bytes, CHECKSUM_AT) != crc32c(&bytes[..CHECKSUM_AT]) {
            return Err("the checksum of the header does not match");
        }
        match u32_at(bytes, 8) {
            VERSION => {}
            1 => return Err("the segment is of a version of Pinion before the first release"),
            _ => return Err("the segment is of a later version of Pinion"),
        }
        Ok(Self {
            shard: u32_at(bytes, 12),
            shards: u32_at(bytes, 16),
            generation: u64_at(bytes, 24),
            run: u64_at(bytes, 32),
        })
    }

    /// Whether a file begins as a segment does.
    pub fn is_segment(bytes: &[u8]) -> bool {
        bytes.starts_with(MAGIC)
    }
}

/// What a mark says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Mark {
    /// How far the file was durable when it was written.
    pub durable: u64,
    /// Its own bytes, and the zeros behind it.
    pub bytes: usize,
}

/// A mark for a place, to be followed by so many zeros.
pub fn encode_mark(run: u64, at: u64, durable: u64, zeros: u32) -> [u8; MARK_BYTES] {
    let mut mark = [0; MARK_BYTES];
    mark[..4].copy_from_slice(&MARK_TAG);
    mark[8..16].copy_from_slice(&run.to_le_bytes());
    mark[16..24].copy_from_slice(&at.to_le_bytes());
    mark[24..32].copy_from_slice(&durable.to_le_bytes());
    mark[32..36].copy_from_slice(&zeros.to_le_bytes());
    let checksum = crc32c(&mark[8..]);
    mark[4..8].copy_from_slice(&checksum.to_le_bytes());
    mark
}

/// The mark at a place of a file, if one is there.
pub fn decode_mark(file: &[u8], at: usize, run: u64) -> Option<Mark> {
    let mark = file.get(at..)?.first_chunk::<MARK_BYTES>()?;
    if u64_at(mark, 8) != run || u64_at(mark, 16) != at as u64 {
        return None;
    }
    mark_bytes(mark).map(|bytes| Mark { durable: u64_at(mark, 24), bytes })
}

/// How long a mark is with the zeros behind it, if these bytes are one, of whatever place and run.
pub fn mark_bytes(mark: &[u8; MARK_BYTES]) -> Option<usize> {
    let zeros = u32_at(mark, 32) as usize;
    let is_mark = mark[..4] == MARK_TAG && zeros < BLOCK && u32_at(mark, 4) == crc32c(&mark[8..]);
    is_mark.then_some(MARK_BYTES + zeros)
}

/// The highest claim of all marks behind a place: everything before it was durable.
pub fn durable_claimed(file: &[u8], from: usize, run: u64) -> Option<u64> {
    let tail = file.get(from..)?;
    let finder = memchr::memmem::Finder::new(&run.to_le_bytes()).into_owned();
    let marks = finder.find_iter(tail).filter_map(|at| decode_mark(file, (from + at).checked_sub(8)?, run));
    marks.map(|mark| mark.durable).max()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(*bytes[at..].first_chunk().expect("the caller has looked"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(*bytes[at..].first_chunk().expect("the caller has looked"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_come_back_and_damage_is_seen() {
        let header = Header { shard: 3, shards: 8, generation: 17, run: 0xdead_beef_1234 };
        let bytes = header.encode();
        assert_eq!(Header::decode(&bytes), Ok(header));
        assert!(Header::decode(&bytes[..BLOCK - 1]).is_err());
        for at in 0..CHECKSUM_AT + 4 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 4;
            assert!(Header::decode(&damaged).is_err(), "byte {at}");
        }
        for (version, problem) in [(1, "before the first release"), (VERSION + 1, "a later version")] {
            let mut other = bytes.clone();
            other[8..12].copy_from_slice(&u32::to_le_bytes(version));
            let checksum = crc32c(&other[..CHECKSUM_AT]);
            other[CHECKSUM_AT..CHECKSUM_AT + 4].copy_from_slice(&checksum.to_le_bytes());
            assert!(Header::decode(&other).is_err_and(|error| error.contains(problem)));
        }
    }

    #[test]
    fn marks_count_only_where_they_were_written() {
        let mut file = vec![7; 100];
        file.extend_from_slice(&encode_mark(99, 100, 50, 9));
        file.extend_from_slice(&[0; 9]);
        assert_eq!(decode_mark(&file, 100, 99), Some(Mark { durable: 50, bytes: MARK_BYTES + 9 }));
        assert_eq!(decode_mark(&file, 100, 98), None);
        assert_eq!((durable_claimed(&file, 0, 99), durable_claimed(&file, 92, 99)), (Some(50), Some(50)));
        assert_eq!(durable_claimed(&file, 110, 99), None);
        let moved = &file[1..];
        assert_eq!(durable_claimed(moved, 0, 99), None);
    }
}
