//! How the table's segments grow, split, shrink and merge: each a bounded piece of work at any size of
//! the table, so that no command ever waits for a rehash.
//!
//! ```text
//! full          n < 127: the next size of the ladder; n = 127: two segments, one bit deeper
//! half empty    with its buddy half empty too: one segment, one bit shallower; else a smaller size
//! ```
//! A split needs a directory at least as deep, which doubles then; its entries are 16 bytes per about 600
//! items. Where hashes collide so much that splitting would only deepen the directory, the
//! segment grows beyond the ladder instead.
//!
//! Who knows how many items will come says so in advance ([`Table::reserve`]): the directory is as deep then as they
//! need it at once, and a segment that outgrows its first bucket gets its final size in one step. A segment that stays
//! empty costs one bucket, so that an announcement that does not come true costs little, and one of too few items is
//! only slower. The table afterwards is as it would have become.
//!
//! Invariants: those of `table`; and
//!   R1  A rebuild moves at most the items of two segments, and looks at the items' keys only when the
//!       window of hash bits must move on, at depths divisible by 8.
//!   R2  A reservation is of an empty table, and ends when anything in it shrinks.

use super::group::Item;
use super::table::{DEPTH_MAX, Rehash, Segment, Table, Window, capacity};
use crate::base::prefetch;

/// Numbers of buckets. From 21 on they are the ones of which a whole number fills a slab span.
const LADDER: [usize; 18] = [1, 2, 3, 4, 6, 8, 11, 15, 21, 28, 37, 48, 60, 73, 85, 102, 113, 127];
const LADDER_TOP: usize = LADDER[LADDER.len() - 1];

/// Merging is worth a try below this; a split leaves two of these.
const SPLIT_SIZE: usize = 73;

/// Two segments become one if together they fill about three quarters of the largest.
const MERGED_ITEMS_MAX: usize = 615;

/// Deep enough for ten billion items.
const RESERVED_DEPTH_MAX: u32 = 24;

/// Items per directory place below which the directory does not double.
const ITEMS_PER_PLACE_MIN: usize = 48;

/// The smallest size of the ladder that takes `items`, or beyond its top a size that does.
fn size_for(items: usize) -> usize {
    match LADDER.iter().find(|&&n| capacity(n) >= items) {
        Some(&n) => n,
        None => {
            let mut n = LADDER_TOP;
            while capacity(n) < items {
                n += n / 4;
            }
            n
        }
    }
}

/// What segments become that outgrow their first bucket, if they have this depth.
#[derive(Clone, Copy)]
pub(super) struct Reservation {
    depth: u32,
    n: usize,
}

impl Table {
    /// Prepares an empty table for about so many items. Takes time and memory in proportion to their number, though
    /// far less than the items will: for loading, not for commands.
    pub(super) fn reserve(&mut self, items: usize) {
        let mut depth = 0;
        while items >> depth > capacity(LADDER_TOP) && depth < RESERVED_DEPTH_MAX {
            depth += 1;
        }
        if self.len > 0 || self.depth > 0 {
            return;
        }
        // Segments differ by chance. Few get less than this; the others may have to grow once more.
        let mean = items >> depth;
        let n = size_for(mean.saturating_sub(2 * mean.isqrt()).min(capacity(LADDER_TOP)));
        self.reservation = (n > 1).then_some(Reservation { depth, n });
        if depth == 0 {
            return;
        }
        self.free_segment(self.directory[0], &mut []);
        let mut directory = Vec::with_capacity(1 << depth);
        for place in 0..1u64 << depth {
            directory.push(Segment::new(&mut self.pool, 1, place << (64 - depth), depth));
        }
        (self.directory, self.depth) = (directory, depth);
        self.segments_of_depth[0] = 0;
        self.segments_of_depth[depth as usize] = 1 << depth;
    }

    /// Makes the full segment whose first place is `first` larger, or two of it.
    #[cold]
    #[inline(never)]
    pub(super) fn make_room(&mut self, first: usize, rehash: Rehash<'_>) {
        let segment = self.directory[first];
        let (n, depth) = (segment.n(), segment.depth());
        let reserved = self.reservation.filter(|reserved| n == 1 && reserved.depth == depth);
        if let Some(reserved) = reserved {
            self.rebuild(first, reserved.n);
        } else if n < LADDER_TOP {
            self.rebuild(first, size_for(capacity(n) + 1));
        } else if depth < self.depth || self.may_double() {
            self.split(first, rehash);
        } else {
            self.rebuild(first, n + n / 4);
        }
    }

    /// Whether a deeper directory is worth its bytes.
    fn may_double(&self) -> bool {
        self.depth < DEPTH_MAX && self.len / ITEMS_PER_PLACE_MIN >= self.directory.len()
    }

    /// Moves the items of a segment to one of `n` buckets.
    fn rebuild(&mut self, first: usize, n: usize) {
        let old = self.directory[first];
        let prefix = self.prefix(first);
        let mut new = Segment::new(&mut self.pool, n, prefix, old.depth());
        old.for_each(|window, item| new.place(window, item));
        debug_assert_eq!(new.len, old.len);
        self.put(first, new);
        self.free_segment(old, &mut []);
    }

    /// The hash that begins with the directory place and ends in zeros.
    fn prefix(&self, first: usize) -> u64 {
        (first as u64) << 1 << (63 - self.depth)
    }

    fn put(&mut self, first: usize, segment: Segment) {
        let places = 1 << (self.depth - segment.depth());
        self.directory[first..first + places].fill(segment);
    }

    fn split(&mut self, mut first: usize, rehash: Rehash<'_>) {
        let old = self.directory[first];
        if old.depth() == self.depth {
            self.double_directory();
            first *= 2;
        }
        let depth = old.depth() + 1;

        let mut upper_len = 0;
        old.for_each(|window, _| upper_len += window.position(old.depth()) as usize >> 15);
        let size_with_room = |items: usize| size_for(items + items / 16 + 1);
        let places = 1 << (self.depth - depth);
        let (lower_prefix, upper_prefix) = (self.prefix(first), self.prefix(first + places));
        let lower_size = size_with_room(old.len as usize - upper_len);
        let mut lower = Segment::new(&mut self.pool, lower_size, lower_prefix, depth);
        let mut upper = Segment::new(&mut self.pool, size_with_room(upper_len), upper_prefix, depth);

        if depth.is_multiple_of(8) {
            // The window moves on by 8 bits, which only the keys can tell (R1).
            let mut items: Vec<(Item, bool)> = Vec::with_capacity(old.len as usize);
            old.for_each(|window, item| {
                prefetch(item.as_ptr());
                items.push((item, window.position(old.depth()) >> 15 != 0));
            });
            for (item, is_upper) in items {
                let half = if is_upper { &mut upper } else { &mut lower };
                half.place(Window::of(rehash(item), depth), item);
            }
        } else {
            old.for_each(|window, item| {
                let is_upper = window.position(old.depth()) >> 15 != 0;
                let half = if is_upper { &mut upper } else { &mut lower };
                half.place(window, item);
            });
        }
        debug_assert_eq!(lower.len + upper.len, old.len);

        self.segments_of_depth[old.depth() as usize] -= 1;
        self.segments_of_depth[depth as usize] += 2;
        self.put(first, lower);
        self.put(first + places, upper);
        self.free_segment(old, &mut []);
    }

    fn double_directory(&mut self) {
        let mut doubled = Vec::with_capacity(self.directory.len() * 2);
        for &segment in &self.directory {
            doubled.push(segment);
            doubled.push(segment);
        }
        self.directory = doubled;
        self.depth += 1;
    }

    /// Called when the segment is half empty: merges it with its buddy, or makes it smaller.
    #[cold]
    #[inline(never)]
    pub(super) fn give_room_back(&mut self, mut first: usize) {
        self.reservation = None;
        if self.directory[first].n() <= SPLIT_SIZE {
            // A merged segment may be nearly empty still; two steps per removal are enough to keep up.
            for _ in 0..2 {
                match self.merge(first) {
                    Some(merged) => first = merged,
                    None => break,
                }
            }
        }
        if self.halve_directory() {
            first /= 2;
        }
        let segment = self.directory[first];
        let n = size_for(segment.len as usize + segment.len as usize / 4);
        if (segment.len as usize) * 2 < capacity(segment.n()) && n < segment.n() {
            self.rebuild(first, n);
        }
    }

    /// Merges a segment with its buddy if both are as deep and together small; returns the first place of
    /// the merged one.
    fn merge(&mut self, first: usize) -> Option<usize> {
        let segment = self.directory[first];
        let depth = segment.depth();
        if depth == 0 {
            return None;
        }
        let places = 1 << (self.depth - depth);
        let (lower_at, upper_at) = (first & !places, first | places);
        let (lower, mut upper) = (self.directory[lower_at], self.directory[upper_at]);
        let items = lower.len as usize + upper.len as usize;
        if lower.depth() != depth || upper.depth() != depth || items > MERGED_ITEMS_MAX {
            return None;
        }

        let size = size_for(items + items / 4);
        let prefix = self.prefix(lower_at);
        let mut merged = Segment::new(&mut self.pool, size, prefix, depth - 1);
        for (at, half) in [(lower_at, lower), (upper_at, upper)] {
            // The window moves back if its first bit is now the one that told the halves apart.
            let before = (at / places) as u8;
            half.for_each(|window, item| {
                let window = if depth.is_multiple_of(8) { window.widened(before) } else { window };
                merged.place(window, item);
            });
        }
        debug_assert_eq!(merged.len as usize, items);
        self.segments_of_depth[depth as usize] -= 2;
        self.segments_of_depth[depth as usize - 1] += 1;
        self.free_segment(lower, &mut [&mut upper, &mut merged]);
        self.free_segment(upper, &mut [&mut merged]);
        self.put(lower_at, merged);
        Some(lower_at)
    }

    /// Halves the directory once it is four times deeper than needed.
    fn halve_directory(&mut self) -> bool {
        let depth = self.depth as usize;
        if depth < 2 || self.segments_of_depth[depth] > 0 || self.segments_of_depth[depth - 1] > 0 {
            return false;
        }
        self.directory = self.directory.iter().step_by(2).copied().collect();
        self.depth -= 1;
        true
    }

    /// Checks T1 and T2 for every item.
    #[cfg(test)]
    pub(super) fn check(&self, rehash: Rehash<'_>) {
        assert_eq!(self.directory.len(), 1 << self.depth);
        let mut total = 0;
        let mut of_depth = [0; DEPTH_MAX as usize + 1];
        for (first, segment) in self.segments() {
            of_depth[segment.depth() as usize] += 1;
            let (start, places) = self.places(first);
            assert_eq!(start, first, "T1");
            for place in first..first + places {
                assert_eq!(self.directory[place].buckets, segment.buckets, "T1");
            }
            let mut len = 0;
            segment.for_each(|window, item| {
                let hash = rehash(item);
                let expected = Window::of(hash, segment.depth());
                assert_eq!((window.bits, window.tag), (expected.bits, expected.tag));
                assert_eq!(self.places(self.index(hash)).0, first, "T2");
                assert!(self.find(hash, |other| other == item).is_some(), "T2");
                len += 1;
            });
            assert_eq!(len, segment.len as usize, "T1");
            assert!(len <= capacity(segment.n()), "T4");
            total += len;
        }
        assert_eq!(total, self.len);
        assert_eq!(of_depth, self.segments_of_depth);
    }
}
