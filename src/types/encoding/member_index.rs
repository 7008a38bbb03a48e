//! Finds the handle of a member by its name: extendible hashing over segments of up to 127 handles.
//!
//! ```text
//! directory[top `depth` bits of the hash] --> segment: tags (low byte of the hash), handles, unordered
//! ```
//! It grows by splitting one segment at a time, so no insertion does more than a bounded piece of work (but
//! for the directory itself, half a byte per member, which is copied when it doubles). A lookup compares the
//! tags of a segment with SIMD and follows the handles of those that match.
//!
//! Invariants
//!   I1  A segment of depth d is in the directory at the 2^(depth - d) neighbouring places that share the top
//!       d bits of their number; it holds exactly the handles whose hashes begin with them.
//!   I2  `tags[i]` is the low byte of the hash behind `handles[i]`.
//!   I3  A place in `segments` is empty if and only if it is in `vacant`.

use super::member_arena::Handle;
use crate::base::prefetch;

const SEGMENT_MAX: usize = 127;
/// Two halves of a split segment are joined again when they hold this many together.
const JOIN_MAX: usize = SEGMENT_MAX / 2;
/// Bits of the hash that a scan's cursor is made of.
const CURSOR_BITS: u32 = 48;
/// A hash that sends more than a segment's worth of members one way so often is no hash.
const DEPTH_MAX: u32 = 40;

#[derive(Clone, Debug)]
struct Segment {
    handles: [Handle; SEGMENT_MAX],
    tags: [u8; SEGMENT_MAX],
    len: u8,
    depth: u8,
}

const _: () = assert!(size_of::<Segment>() == 640);

#[derive(Clone, Debug)]
pub struct MemberIndex {
    directory: Vec<u32>,
    depth: u32,
    segments: Vec<Option<Box<Segment>>>,
    vacant: Vec<u32>,
}

impl Default for MemberIndex {
    fn default() -> Self {
        Self { directory: vec![0], depth: 0, segments: vec![Some(Segment::new(0))], vacant: Vec::new() }
    }
}

impl Segment {
    fn new(depth: u8) -> Box<Self> {
        Box::new(Self { handles: [0; SEGMENT_MAX], tags: [0; SEGMENT_MAX], len: 0, depth })
    }

    #[inline]
    fn len(&self) -> usize {
        usize::from(self.len)
    }

    #[inline]
    fn position(&self, tag: u8, mut is_it: impl FnMut(Handle) -> bool) -> Option<usize> {
        memchr::memchr_iter(tag, &self.tags[..self.len()]).find(|&at| is_it(self.handles[at]))
    }

    fn push(&mut self, tag: u8, handle: Handle) {
        let at = self.len();
        (self.tags[at], self.handles[at]) = (tag, handle);
        self.len += 1;
    }

    fn swap_remove(&mut self, at: usize) -> Handle {
        let last = self.len() - 1;
        let removed = self.handles[at];
        (self.tags[at], self.handles[at]) = (self.tags[last], self.handles[last]);
        self.len -= 1;
        removed
    }
}

impl MemberIndex {
    #[inline]
    pub fn find(&self, hash: u64, is_it: impl FnMut(Handle) -> bool) -> Option<Handle> {
        let segment = self.segment(self.segment_of(hash));
        segment.position(hash as u8, is_it).map(|at| segment.handles[at])
    }

    /// Stage 1 of a lookup ahead of time: asks for the tags of a hash's segment.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        let tags = self.segment(self.segment_of(hash)).tags.as_ptr();
        prefetch(tags);
        prefetch(tags.wrapping_add(64));
        prefetch(tags.wrapping_add(SEGMENT_MAX));
    }

    /// Stage 2, once those have arrived: the handle that is probably the one.
    #[inline]
    pub fn first_candidate(&self, hash: u64) -> Option<Handle> {
        let segment = self.segment(self.segment_of(hash));
        segment.position(hash as u8, |_| true).map(|at| segment.handles[at])
    }

    /// Adds a handle that is not in it; `hash_of` gives the hash of those that are.
    pub fn insert(&mut self, hash: u64, handle: Handle, hash_of: impl Fn(Handle) -> u64) {
        let mut id = self.segment_of(hash);
        while self.segment(id).len() == SEGMENT_MAX {
            self.split(id, hash, &hash_of);
            id = self.segment_of(hash);
        }
        self.segment_mut(id).push(hash as u8, handle);
    }

    pub fn remove(&mut self, hash: u64, is_it: impl FnMut(Handle) -> bool) -> Option<Handle> {
        let id = self.segment_of(hash);
        let segment = self.segment_mut(id);
        let removed = segment.position(hash as u8, is_it).map(|at| segment.swap_remove(at))?;
        if segment.len() <= JOIN_MAX / 2 {
            self.join(id, hash);
        }
        Some(removed)
    }

    /// Visits members in the order of their hashes from `cursor` on until `count` were visited, and returns where
    /// to go on, 0 at the end. Whatever is there during a whole scan is visited exactly once, since a hash
    /// never changes; members that share a position are visited together.
    pub fn scan(
        &self,
        cursor: u64,
        count: usize,
        hash_of: impl Fn(Handle) -> u64,
        mut visit: impl FnMut(Handle),
    ) -> u64 {
        let mut cursor = cursor & ((1 << CURSOR_BITS) - 1);
        let mut left = count.max(1);
        let mut found = Vec::new();
        loop {
            let id = self.segment_of(cursor << (64 - CURSOR_BITS));
            let segment = self.segment(id);
            found.clear();
            let handles = segment.handles[..segment.len()].iter();
            found.extend(handles.map(|&handle| (hash_of(handle) >> (64 - CURSOR_BITS), handle)));
            found.retain(|&(position, _)| position >= cursor);
            found.sort_unstable();
            for group in found.chunk_by(|one, other| one.0 == other.0) {
                if left == 0 {
                    return group[0].0;
                }
                group.iter().for_each(|&(_, handle)| visit(handle));
                left = left.saturating_sub(group.len());
            }
            let width = CURSOR_BITS - u32::from(segment.depth);
            cursor = ((cursor >> width) + 1) << width;
            if cursor >> CURSOR_BITS != 0 {
                return 0;
            }
            if left == 0 {
                return cursor;
            }
        }
    }

    pub fn heap_bytes(&self) -> usize {
        (self.segments.len() - self.vacant.len()) * size_of::<Segment>()
            + self.segments.capacity() * size_of::<Option<Box<Segment>>>()
            + (self.directory.capacity() + self.vacant.capacity()) * 4
    }

    /// Pieces of memory.
    pub fn pieces(&self) -> usize {
        self.segments.len() - self.vacant.len()
    }

    /// Frees up to `budget` pieces; what is left cannot be used any more.
    pub fn free_slice(&mut self, budget: usize) -> usize {
        let freed = budget.min(self.segments.len());
        self.segments.truncate(self.segments.len() - freed);
        freed
    }

    #[inline]
    fn place_of(&self, hash: u64) -> usize {
        // In two steps, since a shift by 64 is none.
        (hash >> 1 >> (63 - self.depth)) as usize
    }

    #[inline]
    fn segment_of(&self, hash: u64) -> u32 {
        self.directory[self.place_of(hash)]
    }

    #[inline]
    fn segment(&self, id: u32) -> &Segment {
        self.segments[id as usize].as_deref().expect("I3")
    }

    #[inline]
    fn segment_mut(&mut self, id: u32) -> &mut Segment {
        self.segments[id as usize].as_deref_mut().expect("I3")
    }

    /// Splits the segment that the hash belongs to by the next bit.
    fn split(&mut self, id: u32, hash: u64, hash_of: &impl Fn(Handle) -> u64) {
        let depth = u32::from(self.segment(id).depth);
        if depth == self.depth {
            assert!(depth < DEPTH_MAX, "hashes of members differ in their first {DEPTH_MAX} bits");
            let mut doubled = Vec::with_capacity(self.directory.len() * 2);
            self.directory.iter().for_each(|&id| doubled.extend([id, id]));
            self.directory = doubled;
            self.depth += 1;
        }
        let mut upper = Segment::new(depth as u8 + 1);
        let lower = self.segment_mut(id);
        lower.depth += 1;
        let mut at = 0;
        while at < lower.len() {
            let hash = hash_of(lower.handles[at]);
            if hash >> (63 - depth) & 1 == 1 {
                upper.push(hash as u8, lower.swap_remove(at));
            } else {
                at += 1;
            }
        }
        let new = self.vacant.pop().unwrap_or_else(|| {
            self.segments.push(None);
            u32::try_from(self.segments.len() - 1).expect("fewer than 2^32 segments")
        });
        self.segments[new as usize] = Some(upper);
        let span = self.span(hash, depth + 1, 1);
        self.directory[span].fill(new);
    }

    /// The places of the segment of this depth that the hash belongs to, with the last bit of their
    /// shared prefix replaced by `bit` (I1).
    fn span(&self, hash: u64, depth: u32, bit: usize) -> std::ops::Range<usize> {
        let width = self.depth - depth;
        let prefix = self.place_of(hash) >> width & !1 | bit;
        prefix << width..(prefix + 1) << width
    }

    /// Joins a segment with its other half if both are nearly empty; again, while it goes.
    fn join(&mut self, mut id: u32, hash: u64) {
        loop {
            let depth = u32::from(self.segment(id).depth);
            if depth == 0 {
                return;
            }
            let bit = self.place_of(hash) >> (self.depth - depth) & 1;
            let span = self.span(hash, depth, 1 - bit);
            let other = self.directory[span.start];
            let buddy = self.segment(other);
            if u32::from(buddy.depth) != depth || buddy.len() + self.segment(id).len() > JOIN_MAX {
                return;
            }
            let buddy = self.segments[other as usize].take().expect("I3");
            self.vacant.push(other);
            self.directory[span].fill(id);
            let segment = self.segment_mut(id);
            (0..buddy.len()).for_each(|at| segment.push(buddy.tags[at], buddy.handles[at]));
            segment.depth -= 1;
            id = self.directory[self.place_of(hash)];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// Multiplicative, so that neighbours part early.
    fn hash_of(handle: Handle) -> u64 {
        u64::from(handle).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn scan_all(index: &MemberIndex, count: usize) -> Vec<Handle> {
        let (mut all, mut cursor) = (Vec::new(), 0);
        loop {
            cursor = index.scan(cursor, count, hash_of, |handle| all.push(handle));
            if cursor == 0 {
                return all;
            }
        }
    }

    proptest! {
        #[test]
        fn agrees_with_a_set(
            steps in proptest::collection::vec((any::<bool>(), 0..3000_u32), 0..3000), count in 1..50_usize,
        ) {
            let mut index = MemberIndex::default();
            let mut model = BTreeSet::new();
            for (insert, handle) in steps {
                let hash = hash_of(handle);
                if insert {
                    if model.insert(handle) {
                        index.insert(hash, handle, hash_of);
                    }
                } else {
                    let removed = index.remove(hash, |other| other == handle);
                    prop_assert_eq!(removed.is_some(), model.remove(&handle));
                }
            }
            for handle in 0..3000 {
                let found = index.find(hash_of(handle), |other| other == handle);
                prop_assert_eq!(found.is_some(), model.contains(&handle));
            }
            let scanned = scan_all(&index, count);
            prop_assert_eq!(scanned.len(), model.len());
            prop_assert_eq!(scanned.into_iter().collect::<BTreeSet<_>>(), model);
        }
    }

    #[test]
    fn it_shrinks_when_emptied() {
        let mut index = MemberIndex::default();
        (0..20_000).for_each(|handle| index.insert(hash_of(handle), handle, hash_of));
        assert!(index.pieces() > 150);
        for handle in 0..20_000 {
            assert_eq!(index.remove(hash_of(handle), |other| other == handle), Some(handle));
        }
        assert!(index.pieces() < 10, "{}", index.pieces());
    }

    /// A scan that is interrupted by growth and by removals still sees all that stays.
    #[test]
    fn scans_survive_changes() {
        let mut index = MemberIndex::default();
        (0..500).for_each(|handle| index.insert(hash_of(handle), handle, hash_of));
        let (mut seen, mut cursor, mut next) = (Vec::new(), 0, 1000);
        loop {
            cursor = index.scan(cursor, 7, hash_of, |handle| seen.push(handle));
            if cursor == 0 {
                break;
            }
            // Not for ever, or the scan would never catch up.
            for _ in 0..if next < 6000 { 200 } else { 0 } {
                index.insert(hash_of(next), next, hash_of);
                next += 1;
            }
        }
        (1000..next).for_each(|handle| _ = index.remove(hash_of(handle), |other| other == handle));
        let stayed: BTreeSet<Handle> = seen.iter().copied().filter(|handle| *handle < 500).collect();
        assert_eq!(stayed.len(), 500);
        assert_eq!(seen.iter().filter(|handle| **handle < 500).count(), 500, "once each");
    }
}
