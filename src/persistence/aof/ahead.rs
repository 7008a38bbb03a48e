//! Zeros ahead of what a segment has, so that a sync of small writes is only that.
//!
//! A write that makes a file longer, or that is the first in its place, changes what the file system knows of the file: a
//! sync then writes that too, several times as much as the record itself. So with `always` zeros are written ahead, in large
//! pieces beside the records' writes; a record that replaces zeros costs one write and one flush.
//!
//! Nobody waits for zeros, and nothing depends on them: where they are missing the records' writes make the file longer as
//! they would without. Recovery reads zeros as the end, as it reads those behind any last record. Large writes are left
//! alone: they would only be written twice.
//!
//! Invariants
//!   Z1  Zeros are written only where no record was placed, and no record is placed there before that is over.

use crate::disk::BLOCK;

/// Pieces that are kept ahead.
const PIECES: u64 = 4;
/// What is written at a time: the records' writes may have to wait for as long as that takes.
pub const PIECE_BYTES: usize = 1 << 20;
/// A group of records beyond this does not need them.
pub const SMALL_BYTES: usize = 64 << 10;
/// After a failure, of which the records' writes tell if it lasts.
const RETRY_MS: u64 = 1000;

/// Zeros to be written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Zeros {
    pub at: u64,
    pub bytes: usize,
}

#[derive(Debug)]
pub struct Ahead {
    piece_bytes: usize,
    /// Up to here the file is written; or less, if records have come further.
    prepared: u64,
    in_flight: Option<Zeros>,
    retry_at_ms: u64,
}

impl Default for Ahead {
    fn default() -> Self {
        Self { piece_bytes: PIECE_BYTES, prepared: 0, in_flight: None, retry_at_ms: 0 }
    }
}

impl Ahead {
    /// For tests: smaller pieces than [`PIECE_BYTES`].
    pub fn set_piece_bytes(&mut self, bytes: usize) {
        self.piece_bytes = bytes;
    }

    /// What to write now, if anything; records end at `end`, those included that are not written yet.
    pub fn next(&mut self, end: u64, now_ms: u64) -> Option<Zeros> {
        let at = self.prepared.max(end.next_multiple_of(BLOCK as u64));
        if self.in_flight.is_some()
            || now_ms < self.retry_at_ms
            || at + self.piece_bytes as u64 > end + PIECES * self.piece_bytes as u64
        {
            return None;
        }
        self.in_flight = Some(Zeros { at, bytes: self.piece_bytes });
        self.in_flight
    }

    pub fn written(&mut self, written: Result<usize, i32>, now_ms: u64) {
        let zeros = self.in_flight.take().expect("zeros were under way");
        if written == Ok(zeros.bytes) {
            self.prepared = zeros.at + zeros.bytes as u64;
        } else {
            self.retry_at_ms = now_ms + RETRY_MS;
        }
    }

    /// Whether records up to this place have to wait: Z1.
    pub fn is_in_the_way(&self, end: u64) -> bool {
        self.in_flight.is_some_and(|zeros| end > zeros.at)
    }

    pub fn is_busy(&self) -> bool {
        self.in_flight.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIECE: u64 = PIECE_BYTES as u64;

    #[test]
    fn pieces_follow_each_other_up_to_a_distance() {
        let mut ahead = Ahead::default();
        let mut places = Vec::new();
        while let Some(zeros) = ahead.next(5000, 0) {
            assert!(ahead.next(5000, 0).is_none(), "one at a time");
            places.push(zeros.at);
            ahead.written(Ok(zeros.bytes), 0);
        }
        assert_eq!(places, [8192, 8192 + PIECE, 8192 + 2 * PIECE]);
        assert_eq!(ahead.next(5000 + PIECE, 0), Some(Zeros { at: 8192 + 3 * PIECE, bytes: PIECE_BYTES }));
    }

    #[test]
    fn z1_records_wait_for_zeros_in_their_place() {
        let mut ahead = Ahead::default();
        let zeros = ahead.next(4096, 0).expect("nothing is there");
        assert!(!ahead.is_in_the_way(zeros.at) && ahead.is_in_the_way(zeros.at + 1));
        ahead.written(Err(libc::ENOSPC), 7);
        assert!(!ahead.is_in_the_way(zeros.at + 1));
        assert!(ahead.next(4096, 7).is_none(), "not at once");
        let zeros = ahead.next(50_000, 7 + RETRY_MS).expect("some time later");
        assert_eq!(zeros.at, 53_248, "records have come further");
    }
}
