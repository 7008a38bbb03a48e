//! SCAN: cursors that survive growth and shrinking.
//!
//! A cursor is a position in the space of hashes, and the table is ordered by hash. A step returns every
//! entry whose hash lies between the cursor and the next cursor, and nothing else. So a key that is present
//! from the first step to the last is returned exactly once, however the segments change in between: its
//! hash does not move. Redis promises at least once.
//!
//! Invariants
//!   C1  A cursor has [`CURSOR_BITS`] bits, so that an outer cursor has room for a core's number below
//!       2^53, where clients that keep numbers in doubles are still exact.
//!   C2  The steps' ranges are consecutive, do not overlap, and cover all hashes.

use super::Keyspace;
use super::entry::{Entry, RawEntry};
use super::group::Item;
use crate::base::prefetch;

/// The size of a cursor: the top bits of a hash.
pub const CURSOR_BITS: u32 = 40;
const LOW_BITS: u32 = 64 - CURSOR_BITS;

impl Keyspace {
    /// Visits about `count` entries from `cursor` on and returns the next cursor, 0 at the end. Any cursor is
    /// accepted; bits beyond [`CURSOR_BITS`] are ignored.
    pub fn scan(&self, cursor: u64, count: usize, mut visit: impl FnMut(Entry<'_>)) -> u64 {
        let start = cursor << LOW_BITS;
        let end = self
            .table
            .walk_end(start, count.max(1))
            // Rounded up, since a cursor has no lower bits; a few more entries belong to the step then.
            .and_then(|end| end.checked_add((1 << LOW_BITS) - 1))
            .map(|end| end >> LOW_BITS << LOW_BITS);

        let mut items: Vec<Item> = Vec::with_capacity(count.min(1024) + 16);
        self.table.visit_range(start, end, |item| {
            prefetch(item.as_ptr());
            items.push(item);
        });
        for item in items {
            let entry = Entry::new(RawEntry(item));
            let hash = self.hash(entry.key());
            if hash >= start && end.is_none_or(|end| hash < end) {
                visit(entry);
            }
        }
        end.map_or(0, |end| end >> LOW_BITS)
    }
}
