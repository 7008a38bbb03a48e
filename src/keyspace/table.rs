//! The hash table: extendible hashing over small segments, in the order of the hash.
//!
//! ```text
//! hash     | directory index: top `depth` bits | position: next 16 bits | ...
//! window   24 hash bits from the last multiple of 8 at or before the segment's depth: 16 are kept beside
//!          the pointer, 8 are the tag; so a segment grows and splits without touching its entries
//!          (except for every eighth split, when the window moves on)
//! segment  `n` buckets of 7 slots; home bucket = position * n / 2^16; a full bucket overflows into the
//!          next ones, around the end of the segment
//! ```
//! The table only stores addresses; who owns the entries says how to compare and hash them. How
//! segments grow, split, shrink and merge is in `resize`.
//!
//! Invariants
//!   T1  A segment of depth `d` is named by exactly the `2^(depth - d)` directory places that share its
//!       top `d` bits; the first of them holds its true `len`.
//!   T2  An item lies in the segment of its hash, in its home bucket or, past full buckets, after it; every
//!       bucket it passed has counted it.
//!   T3  Items of one segment never leave it but by a split or merge: homes are ordered as hashes are.
//!   T4  A segment has at least one vacant slot, or room is made before an insertion.

use super::group::{Bucket, Item, SLOTS};
use super::resize::Reservation;
use super::segment_pool::SegmentPool;
use super::slab::Slab;
use crate::base::prefetch;
use std::ptr::NonNull;
use std::rc::Rc;

/// Up to here a window of 24 bits lies within the hash.
pub(super) const DEPTH_MAX: u32 = 40;
const DEPTH_BITS: u32 = 6;

/// Computes the hash of a stored item.
pub(super) type Rehash<'a> = &'a dyn Fn(Item) -> u64;

#[derive(Clone, Copy)]
pub(super) struct Segment {
    pub buckets: NonNull<Bucket>,
    /// Items; only true in the segment's first directory place (T1).
    pub len: u32,
    /// Buckets, above 6 bits of depth.
    shape: u32,
}

impl Segment {
    /// A segment without items, of the hashes whose top `depth` bits are those of `prefix`.
    pub fn new(pool: &mut SegmentPool, n: usize, prefix: u64, depth: u32) -> Self {
        Self { buckets: pool.allocate(n, prefix), len: 0, shape: (n as u32) << DEPTH_BITS | depth }
    }

    #[inline]
    pub fn n(&self) -> usize {
        (self.shape >> DEPTH_BITS) as usize
    }

    #[inline]
    pub fn depth(&self) -> u32 {
        self.shape & ((1 << DEPTH_BITS) - 1)
    }

    #[inline]
    pub fn bucket(&self, index: usize) -> *mut Bucket {
        debug_assert!(index < self.n());
        // SAFETY: the index is below `n`.
        unsafe { self.buckets.add(index).as_ptr() }
    }

    #[inline]
    fn next(&self, index: usize) -> usize {
        if index + 1 == self.n() { 0 } else { index + 1 }
    }

    #[inline]
    pub fn home(&self, position: u32) -> usize {
        (position as usize * self.n()) >> 16
    }

    /// Puts an item into the first vacant slot from its home on; there must be one (T4).
    #[inline]
    pub fn place(&mut self, window: Window, item: Item) {
        let mut index = self.home(window.position(self.depth()));
        loop {
            // SAFETY: `bucket` is in range, and the table is borrowed mutably.
            let bucket = unsafe { &mut *self.bucket(index) };
            if let Some(slot) = bucket.vacant().first() {
                bucket.fill(slot, window.tag, window.bits, item);
                break;
            }
            bucket.pass();
            index = self.next(index);
        }
        self.len += 1;
    }

    /// Calls `visit` with every item, whose first cache line has been asked for in advance.
    pub fn for_each_prefetched(&self, mut visit: impl FnMut(Item)) {
        const AHEAD: usize = 2;
        for index in 0..self.n() + AHEAD {
            if index < self.n() {
                // SAFETY: in range; the table is borrowed.
                let bucket = unsafe { &*self.bucket(index) };
                for slot in bucket.occupied() {
                    let item = bucket.item(slot).as_ptr();
                    prefetch(item);
                    prefetch(item.wrapping_add(64));
                }
            }
            if index >= AHEAD {
                // SAFETY: as above.
                let bucket = unsafe { &*self.bucket(index - AHEAD) };
                bucket.occupied().for_each(|slot| visit(bucket.item(slot)));
            }
        }
    }

    /// Calls `visit` with every item.
    pub fn for_each(&self, mut visit: impl FnMut(Window, Item)) {
        for index in 0..self.n() {
            // SAFETY: in range; the table is borrowed.
            let bucket = unsafe { &*self.bucket(index) };
            for slot in bucket.occupied() {
                visit(Window::stored(bucket, slot), bucket.item(slot));
            }
        }
    }
}

/// The 24 bits of hash that are kept with an item.
#[derive(Clone, Copy)]
pub(super) struct Window {
    pub bits: u16,
    pub tag: u8,
}

impl Window {
    #[inline]
    pub fn of(hash: u64, depth: u32) -> Self {
        let shifted = hash << (depth & !7);
        let tag = (shifted >> 40) as u8;
        // Tag 0 means vacant (G1). The bit given up is never part of a position.
        Self { bits: (shifted >> 48) as u16, tag: tag + u8::from(tag == 0) }
    }

    #[inline]
    pub fn stored(bucket: &Bucket, slot: usize) -> Self {
        Self { bits: bucket.bits(slot), tag: bucket.tag(slot) }
    }

    /// The 16 bits of hash after the segment's depth.
    #[inline]
    pub fn position(self, depth: u32) -> u32 {
        let window = u32::from(self.bits) << 8 | u32::from(self.tag);
        (window << (depth & 7)) >> 8 & 0xffff
    }

    /// The window one step of 8 bits earlier, given the 8 bits before this one.
    pub fn widened(self, before: u8) -> Self {
        let tag = self.bits as u8;
        Self { bits: u16::from(before) << 8 | self.bits >> 8, tag: tag + u8::from(tag == 0) }
    }
}

/// Where an item is.
#[derive(Clone, Copy)]
pub(super) struct Place {
    bucket: NonNull<Bucket>,
    slot: u8,
}

impl Place {
    #[inline]
    pub fn item(self) -> Item {
        // SAFETY: a place is used only while the table it came from is unchanged.
        unsafe { self.bucket.as_ref() }.item(usize::from(self.slot))
    }

    /// Puts another item with the same hash there.
    #[inline]
    pub fn replace(mut self, item: Item) {
        // SAFETY: as above; whoever calls this has the table borrowed mutably.
        unsafe { self.bucket.as_mut() }.replace(usize::from(self.slot), item);
    }
}

pub(super) struct Table {
    pub directory: Vec<Segment>,
    /// The directory has `2^depth` places.
    pub depth: u32,
    pub len: usize,
    /// How many segments have each depth.
    pub segments_of_depth: [u32; DEPTH_MAX as usize + 1],
    pub pool: SegmentPool,
    pub reservation: Option<Reservation>,
}

impl Table {
    pub fn new(slab: Rc<Slab>) -> Self {
        let mut pool = SegmentPool::new(slab);
        let directory = vec![Segment::new(&mut pool, 1, 0, 0)];
        let mut segments_of_depth = [0; DEPTH_MAX as usize + 1];
        segments_of_depth[0] = 1;
        Self { directory, depth: 0, len: 0, segments_of_depth, pool, reservation: None }
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The directory place of a hash.
    #[inline]
    pub fn index(&self, hash: u64) -> usize {
        // Two shifts, since the depth may be 0.
        (hash >> 1 >> (63 - self.depth)) as usize
    }

    /// The first directory place of the segment found at `index`, and how many it has (T1).
    #[inline]
    pub fn places(&self, index: usize) -> (usize, usize) {
        let places = 1 << (self.depth - self.directory[index].depth());
        (index & !(places - 1), places)
    }

    #[inline]
    fn segment(&self, hash: u64) -> &Segment {
        let index = self.index(hash);
        debug_assert!(index < self.directory.len());
        // SAFETY: the index has `depth` bits, and the directory 2^depth places.
        unsafe { self.directory.get_unchecked(index) }
    }

    /// Stage 1 of a lookup ahead of time: asks for the bucket's cache line.
    #[inline]
    pub fn prefetch_bucket(&self, hash: u64) {
        let segment = self.segment(hash);
        let window = Window::of(hash, segment.depth());
        prefetch(segment.bucket(segment.home(window.position(segment.depth()))));
    }

    /// Stage 2, once the bucket has arrived: asks for the entries that may be the one.
    #[inline]
    pub fn prefetch_item(&self, hash: u64) {
        let segment = self.segment(hash);
        let window = Window::of(hash, segment.depth());
        // SAFETY: in range; the table is borrowed.
        let bucket = unsafe { &*segment.bucket(segment.home(window.position(segment.depth()))) };
        for slot in bucket.with_tag(window.tag) {
            if bucket.bits(slot) == window.bits {
                let item = bucket.item(slot).as_ptr();
                prefetch(item);
                prefetch(item.wrapping_add(64));
            }
        }
    }

    #[inline]
    pub fn find(&self, hash: u64, is_it: impl Fn(Item) -> bool) -> Option<Place> {
        self.search(hash, is_it).map(|(place, _)| place)
    }

    /// The place of an item, and the index of its bucket in the segment.
    #[inline]
    fn search(&self, hash: u64, is_it: impl Fn(Item) -> bool) -> Option<(Place, usize)> {
        let segment = self.segment(hash);
        let window = Window::of(hash, segment.depth());
        let home = segment.home(window.position(segment.depth()));
        let mut index = home;
        loop {
            let bucket = segment.bucket(index);
            // SAFETY: in range; the table is borrowed.
            let (line, bucket) = unsafe { (&*bucket, NonNull::new_unchecked(bucket)) };
            for slot in line.with_tag(window.tag) {
                if line.bits(slot) == window.bits && is_it(line.item(slot)) {
                    return Some((Place { bucket, slot: slot as u8 }, index));
                }
            }
            if !line.was_passed() {
                return None;
            }
            index = segment.next(index);
            if index == home {
                return None;
            }
        }
    }

    /// Adds an item that is not in the table.
    #[inline]
    pub fn insert(&mut self, hash: u64, item: Item, rehash: Rehash<'_>) {
        loop {
            let index = self.index(hash);
            let (first, _) = self.places(index);
            let segment = &mut self.directory[first];
            if (segment.len as usize) < capacity(segment.n()) {
                segment.place(Window::of(hash, segment.depth()), item);
                self.len += 1;
                return;
            }
            self.make_room(first, rehash);
        }
    }

    /// Removes the item for which `is_it` holds.
    #[inline]
    pub fn remove(&mut self, hash: u64, is_it: impl Fn(Item) -> bool) -> Option<Item> {
        let (place, found) = self.search(hash, is_it)?;
        let item = place.item();
        let (first, _) = self.places(self.index(hash));
        let segment = &mut self.directory[first];
        let mut index = segment.home(Window::of(hash, segment.depth()).position(segment.depth()));
        while index != found {
            // SAFETY: in range; the table is borrowed mutably.
            unsafe { &mut *segment.bucket(index) }.unpass();
            index = segment.next(index);
        }
        // SAFETY: as above.
        unsafe { &mut *segment.bucket(found) }.empty(usize::from(place.slot));
        segment.len -= 1;
        self.len -= 1;
        let (len, n) = (segment.len as usize, segment.n());
        if len * 2 < capacity(n) && (n > 1 || len == 0 && self.depth > 0) {
            self.give_room_back(first);
        }
        Some(item)
    }

    /// Frees a segment. The one that takes its place in memory is one of `unlisted`, or else found through
    /// the directory.
    pub fn free_segment(&mut self, segment: Segment, unlisted: &mut [&mut Segment]) {
        // SAFETY: it came from this pool, is freed once, and the directory is about to forget it or has.
        let Some(moved) = (unsafe { self.pool.free(segment.buckets, segment.n()) }) else { return };
        if let Some(other) = unlisted.iter_mut().find(|other| other.buckets == moved.from) {
            other.buckets = moved.to;
            return;
        }
        let (first, places) = self.places(self.index(moved.prefix));
        for place in &mut self.directory[first..first + places] {
            debug_assert_eq!(place.buckets, moved.from, "P2");
            place.buckets = moved.to;
        }
    }

    /// The segments, each once, with the index of their first directory place.
    pub fn segments(&self) -> impl Iterator<Item = (usize, &Segment)> {
        let mut index = 0;
        std::iter::from_fn(move || {
            let segment = self.directory.get(index)?;
            let first = index;
            index += 1 << (self.depth - segment.depth());
            Some((first, segment))
        })
    }

    /// Every item, in about the order of the hashes.
    pub fn iter(&self) -> impl Iterator<Item = Item> {
        self.segments().flat_map(|(_, segment)| {
            (0..segment.n()).flat_map(|index| {
                // SAFETY: in range; the table is borrowed as long as the iterator lives.
                let bucket = unsafe { &*segment.bucket(index) };
                bucket.occupied().map(|slot| bucket.item(slot))
            })
        })
    }

    /// Calls `visit` with the items of the segments whose first directory place lies in this part of the directory.
    pub fn visit_part(&self, part: usize, parts: usize, mut visit: impl FnMut(Item)) {
        let border = |part: usize| (self.directory.len() as u128 * part as u128 / parts as u128) as usize;
        let (mut index, end) = (border(part), border(part + 1));
        while index < end {
            let (first, places) = self.places(index);
            if first == index {
                self.directory[first].for_each_prefetched(&mut visit);
            }
            index = first + places;
        }
    }

    /// Where a walk from `start` that sees about `count` items (and a bounded number of buckets) ends:
    /// the first hash it does not cover, or `None` at the end of the table. Always after `start`.
    pub fn walk_end(&self, start: u64, count: usize) -> Option<u64> {
        let mut seen = 0;
        let mut buckets_left = count.saturating_mul(4).saturating_add(8);
        let mut at = start;
        loop {
            let segment = self.segment(at);
            let depth = segment.depth();
            let mut index = segment.home(Window::of(at, depth).position(depth));
            let base = at >> 1 >> (63 - depth) << 1 << (63 - depth);
            while index < segment.n() {
                // SAFETY: in range; the table is borrowed.
                seen += unsafe { &*segment.bucket(index) }.occupied().count();
                buckets_left -= 1;
                index += 1;
                if index < segment.n() && (seen >= count || buckets_left == 0) {
                    let position = (index << 16).div_ceil(segment.n()) as u64;
                    return Some(base | position << (48 - depth));
                }
            }
            // The next segment begins where this one's prefix ends; past the last there is none.
            let width = 1u64.checked_shl(64 - depth)?;
            at = base.checked_add(width)?;
            if seen >= count || buckets_left == 0 {
                return Some(at);
            }
        }
    }

    /// Calls `visit` once with every item whose hash is in `start..end` (`None`: to the end), and with the
    /// others of the first and of the last one's home bucket.
    pub fn visit_range(&self, start: u64, end: Option<u64>, mut visit: impl FnMut(Item)) {
        let last = end.map_or(u64::MAX, |end| end - 1);
        let mut at = start;
        loop {
            let segment = self.segment(at);
            let depth = segment.depth();
            let base = at >> 1 >> (63 - depth) << 1 << (63 - depth);
            let top = base | u64::MAX.checked_shr(depth).unwrap_or(0);
            let from = segment.home(Window::of(at, depth).position(depth));
            let to = segment.home(Window::of(last.min(top), depth).position(depth));
            let mut index = from;
            for step in 0..segment.n() {
                // SAFETY: in range; the table is borrowed.
                let bucket = unsafe { &*segment.bucket(index) };
                for slot in bucket.occupied() {
                    let home = segment.home(Window::stored(bucket, slot).position(depth));
                    if (from..=to).contains(&home) {
                        visit(bucket.item(slot));
                    }
                }
                // Beyond the last home bucket lie those that overflowed it (T2).
                if from + step >= to && !bucket.was_passed() {
                    break;
                }
                index = segment.next(index);
            }
            if last <= top {
                return;
            }
            at = top + 1;
        }
    }

    /// An item, chosen about evenly; `next` yields random numbers.
    pub fn random(&self, mut next: impl FnMut() -> u64) -> Option<Item> {
        if self.len == 0 {
            return None;
        }
        // Every slot of the table is as likely as any other of its load; vacant ones are drawn again.
        for _ in 0..128 {
            let hash = next();
            let segment = self.segment(hash);
            let index = segment.home(Window::of(hash, segment.depth()).position(segment.depth()));
            // SAFETY: in range; the table is borrowed.
            let bucket = unsafe { &*segment.bucket(index) };
            let slot = ((next() >> 32) as usize * SLOTS) >> 32;
            if let Some(slot) = bucket.occupied().find(|&occupied| occupied == slot) {
                return Some(bucket.item(slot));
            }
        }
        // Nearly empty: the first item from a random place on.
        let hash = next();
        let found = |start: u64| {
            let mut at = start;
            loop {
                let end = self.walk_end(at, 1);
                let mut first = None;
                self.visit_range(at, end, |item| first = first.or(Some(item)));
                match (first, end) {
                    (Some(item), _) => return Some(item),
                    (None, Some(end)) => at = end,
                    (None, None) => return None,
                }
            }
        };
        found(hash).or_else(|| found(0))
    }

    /// Bytes of buckets and directory.
    pub fn bytes(&self) -> usize {
        let buckets: usize = self.segments().map(|(_, segment)| segment.n()).sum();
        buckets * size_of::<Bucket>() + self.directory.capacity() * size_of::<Segment>()
    }

    /// Segments and buckets, for DEBUG HTSTATS.
    pub fn shape(&self) -> (usize, usize) {
        self.segments()
            .fold((0, 0), |(segments, buckets), (_, segment)| (segments + 1, buckets + segment.n()))
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        let mut index = 0;
        while let Some(segment) = self.directory.get(index) {
            if !SegmentPool::holds(segment.n()) {
                // SAFETY: each segment once; nobody can reach the table any more.
                unsafe { self.pool.free(segment.buckets, segment.n()) };
            }
            index += 1 << (self.depth - segment.depth());
        }
    }
}

/// How many items a segment of `n` buckets takes before it grows: 92% of its slots. Small segments,
/// which are cheap to rebuild, fill up.
#[inline]
pub(super) fn capacity(n: usize) -> usize {
    let slots = n * SLOTS;
    slots - slots / 13
}
