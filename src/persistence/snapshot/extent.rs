//! An extent: a piece of a dump that can be written anywhere in it, and the frame around all of them.
//!
//! ```text
//! dump     header extent | extents in any order | trailer
//! header   REDIS<version>, AUX fields, the sizes of the databases, filler
//! extent   SELECTDB, whole records, (SELECTDB, whole records)*, filler
//! trailer  AUX pinion-extents <index>, filler, AUX pinion-index <u64 le: offset of the index's AUX field>,
//!          EOF opcode, u64 le CRC64
//! index    for each extent, in the order of the offsets: varint offset/4096, varint length/4096, varint shard,
//!          varint keys
//! filler   AUX pad <zero bytes>: every loader skips what it does not know
//! ```
//!
//! Every extent and the trailer begin and end on a multiple of 4096, as direct writes need it; so `pinion-index`,
//! whose size is fixed, lies at a fixed distance from the end of the file.
//!
//! Invariants
//!   X1  The bytes of an extent begin at an address that is a multiple of 4096.
//!   X2  A sealed extent is a multiple of 4096 long.

use crate::base::crc::crc64;
use crate::persistence::rdb::length::{write_length, write_string};
use crate::persistence::rdb::opcode;

/// What direct writes are aligned to: offsets, lengths and addresses.
pub const BLOCK: usize = 4096;

/// An extent is sealed when it has grown to this.
pub const EXTENT_BYTES: usize = 1 << 20;
/// Room for the last record and the filler.
const SLACK: usize = 64 << 10;

const FILLER_KEY: &[u8] = b"pad";
pub const INDEX_KEY: &[u8] = b"pinion-extents";
pub const INDEX_AT_KEY: &[u8] = b"pinion-index";
/// Opcode, key and length of the value.
const FILLER_MIN: usize = 1 + 1 + FILLER_KEY.len() + 2;
/// The AUX field that says where the index is, the end of file opcode and the checksum.
pub const TAIL_BYTES: usize = 1 + 1 + INDEX_AT_KEY.len() + 1 + 8 + 1 + 8;

/// Where an extent lies and what is in it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Extent {
    pub offset: u64,
    pub bytes: u64,
    pub crc: u64,
    pub shard: u32,
    pub keys: u64,
}

/// The extent being filled.
pub struct ExtentBuffer {
    memory: Vec<u8>,
    start: usize,
    db: Option<usize>,
    pub keys: u64,
}

impl Default for ExtentBuffer {
    fn default() -> Self {
        let mut buffer =
            Self { memory: Vec::with_capacity(EXTENT_BYTES + SLACK), start: 0, db: None, keys: 0 };
        buffer.clear();
        buffer
    }
}

impl ExtentBuffer {
    /// Begins anew. The memory of a very large record is given back.
    pub fn clear(&mut self) {
        if self.memory.capacity() > 2 * (EXTENT_BYTES + SLACK) {
            self.memory = Vec::with_capacity(EXTENT_BYTES + SLACK);
        }
        self.memory.clear();
        self.start = self.misalignment();
        self.memory.resize(self.start, 0);
        (self.db, self.keys) = (None, 0);
    }

    /// Bytes before the first aligned address.
    fn misalignment(&self) -> usize {
        self.memory.as_ptr().addr().wrapping_neg() % BLOCK
    }

    pub fn len(&self) -> usize {
        self.memory.len() - self.start
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn is_full(&self) -> bool {
        self.len() >= EXTENT_BYTES - SLACK / 4
    }

    /// Room for the next record of a database.
    #[inline]
    pub fn record(&mut self, db: usize) -> &mut Vec<u8> {
        if self.db != Some(db) {
            self.memory.push(opcode::SELECT_DB);
            write_length(db as u64, &mut self.memory);
            self.db = Some(db);
        }
        self.keys += 1;
        &mut self.memory
    }

    /// For what is no record.
    pub fn raw(&mut self) -> &mut Vec<u8> {
        &mut self.memory
    }

    /// The sealed bytes: filled up to a multiple of a block (X2), at an aligned address (X1).
    pub fn seal(&mut self) -> &[u8] {
        let length = self.len();
        push_filler(&mut self.memory, filler_bytes(length));
        self.align();
        &self.memory[self.start..]
    }

    /// The sealed header, with its version.
    pub fn seal_header(&mut self, version: u16) -> &[u8] {
        let digits = self.start + b"REDIS".len();
        self.memory[digits..digits + 4].copy_from_slice(format!("{version:04}").as_bytes());
        &self.memory[self.start..]
    }

    /// The same for the last bytes of a dump, whose checksum covers everything before them; `before` is the CRC64 of
    /// that, or nothing if the dump goes without.
    pub fn seal_trailer(&mut self, index_offset: u64, before: Option<u64>) -> &[u8] {
        let length = self.len();
        push_filler(&mut self.memory, filler_bytes(length + TAIL_BYTES));
        push_aux(&mut self.memory, INDEX_AT_KEY, &index_offset.to_le_bytes());
        self.memory.push(opcode::EOF);
        let crc = before.map_or(0, |before| crc64(before, &self.memory[self.start..]));
        self.memory.extend_from_slice(&crc.to_le_bytes());
        self.align();
        &self.memory[self.start..]
    }

    /// X1 again, after a record that made the memory move.
    fn align(&mut self) {
        if self.memory.as_ptr().wrapping_add(self.start).addr().is_multiple_of(BLOCK) {
            return;
        }
        let length = self.len();
        self.memory.reserve(BLOCK);
        let start = self.misalignment();
        self.memory.resize(self.start.max(start) + length, 0);
        self.memory.copy_within(self.start..self.start + length, start);
        self.memory.truncate(start + length);
        self.start = start;
    }
}

/// How long the filler behind `length` bytes is: 0 or at least the least.
fn filler_bytes(length: usize) -> usize {
    match length.next_multiple_of(BLOCK) - length {
        0 => 0,
        gap if gap < FILLER_MIN => gap + BLOCK,
        gap => gap,
    }
}

/// A field that loaders skip, of exactly this many bytes.
fn push_filler(out: &mut Vec<u8>, bytes: usize) {
    if bytes == 0 {
        return;
    }
    let value = bytes - FILLER_MIN;
    out.push(opcode::AUX);
    write_string(FILLER_KEY, false, out);
    // Always in the form for 14 bits, so that the size of the field does not depend on its length.
    out.extend_from_slice(&[0x40 | (value >> 8) as u8, value as u8]);
    out.resize(out.len() + value, 0);
}

pub fn push_aux(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    out.push(opcode::AUX);
    write_string(key, false, out);
    write_string(value, false, out);
}

/// The value of the index field; `extents` in the order of their offsets.
pub fn encode_index(extents: &[Extent]) -> Vec<u8> {
    let mut out = Vec::with_capacity(extents.len() * 10);
    for extent in extents {
        let blocks = |bytes: u64| bytes / BLOCK as u64;
        for number in [blocks(extent.offset), blocks(extent.bytes), u64::from(extent.shard), extent.keys] {
            push_varint(&mut out, number);
        }
    }
    out
}

fn push_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fillers_reach_the_next_block_from_everywhere() {
        for length in 0..3 * BLOCK {
            let mut out = vec![1; length];
            push_filler(&mut out, filler_bytes(length));
            assert!(out.len().is_multiple_of(BLOCK), "X2");
            if out.len() > length {
                let value = usize::from(out[length + 5] & 0x3f) << 8 | usize::from(out[length + 6]);
                assert_eq!(out[length..length + 5], *b"\xfa\x03pad");
                assert_eq!(out.len(), length + FILLER_MIN + value);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        /// X1 and X2, also after records for which the memory has to grow.
        #[test]
        fn extents_are_aligned_and_keep_their_bytes(
            records in proptest::collection::vec((0usize..3, 1usize..200_000), 1..30)
        ) {
            let mut buffer = ExtentBuffer::default();
            for round in 0..2 {
                let mut expected = Vec::new();
                let mut last = None;
                for (db, size) in &records {
                    if last != Some(*db) {
                        expected.extend_from_slice(&[opcode::SELECT_DB, *db as u8]);
                        last = Some(*db);
                    }
                    let record = vec![*size as u8 ^ round; *size];
                    expected.extend_from_slice(&record);
                    buffer.record(*db).extend_from_slice(&record);
                }
                prop_assert_eq!(buffer.keys, records.len() as u64);
                let sealed = buffer.seal();
                prop_assert!(sealed.as_ptr().addr().is_multiple_of(BLOCK), "X1");
                prop_assert!(sealed.len().is_multiple_of(BLOCK), "X2");
                prop_assert_eq!(&sealed[..expected.len()], &expected[..]);
                buffer.clear();
            }
        }
    }

    #[test]
    fn a_trailer_ends_with_the_place_of_the_index_and_the_checksum() {
        let mut buffer = ExtentBuffer::default();
        push_aux(buffer.raw(), INDEX_KEY, b"...");
        let sealed = buffer.seal_trailer(0x1234_5000, Some(77)).to_vec();
        assert!(sealed.len().is_multiple_of(BLOCK), "X2");
        let tail = &sealed[sealed.len() - TAIL_BYTES..];
        assert_eq!(tail[..14], *b"\xfa\x0cpinion-index");
        assert_eq!(tail[14..23], [8, 0x00, 0x50, 0x34, 0x12, 0, 0, 0, 0]);
        let body = &sealed[..sealed.len() - 8];
        assert_eq!(tail[23], opcode::EOF);
        assert_eq!(tail[24..], crc64(77, body).to_le_bytes());
    }

    #[test]
    fn the_index_is_short() {
        let extent = Extent { offset: 4096, bytes: 1 << 20, crc: 0, shard: 3, keys: 300 };
        assert_eq!(encode_index(&[extent]), [1, 0x80, 2, 3, 0xac, 2]);
    }
}
