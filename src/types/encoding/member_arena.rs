//! The members of one large sorted set and their scores, named by 32-bit handles: the index by name and the
//! tree by rank both hold handles, so a member's bytes exist once.
//!
//! ```text
//! block   f64 score | u8 length | the member           up to 254 bytes
//!         f64 score | 255 | u32 place among `large`    longer ones, each in memory of its own
//! ```
//! Blocks are multiples of four bytes, within chunks of 64 KiB. A freed block waits in the list of its
//! size; its first four bytes are the link to the next one.
//!
//! Invariants
//!   A1  A handle is the place of a block in units of four bytes, counted over whole chunks.
//!   A2  No block crosses the end of its chunk.
//!   A3  All chunks but the last are `CHUNK_BYTES` long or end where the next block did not fit.

use crate::base::prefetch;

const UNIT_BYTES: usize = 4;
const CHUNK_UNITS: usize = 1 << 14;
const CHUNK_BYTES: usize = CHUNK_UNITS * UNIT_BYTES;
const SCORE_BYTES: usize = 8;
const HEADER_BYTES: usize = SCORE_BYTES + 1;
const SHORT_MAX: usize = 254;
const LARGE: u8 = 255;
const LARGE_BYTES: usize = HEADER_BYTES + 4;
const CLASSES: usize = (HEADER_BYTES + SHORT_MAX).div_ceil(UNIT_BYTES) + 1;
/// The end of a list of free blocks; no block begins there, since none is that small.
const NONE: u32 = u32::MAX;
/// Chunks grow by at least this much until they are whole.
const GROWTH_BYTES_MIN: usize = 512;

/// The name of a member within its arena.
pub type Handle = u32;

#[derive(Clone, Debug)]
pub struct MemberArena {
    chunks: Vec<Vec<u8>>,
    /// Heads of the lists of free blocks, by size in units.
    free: Box<[u32; CLASSES]>,
    free_bytes: usize,
    large: Vec<Option<Box<[u8]>>>,
    large_free: Vec<u32>,
    large_bytes: usize,
}

impl Default for MemberArena {
    fn default() -> Self {
        Self {
            chunks: Vec::new(),
            free: Box::new([NONE; CLASSES]),
            free_bytes: 0,
            large: Vec::new(),
            large_free: Vec::new(),
            large_bytes: 0,
        }
    }
}

impl MemberArena {
    pub fn insert(&mut self, score: f64, member: &[u8]) -> Handle {
        if member.len() <= SHORT_MAX {
            let handle = self.allocate(units_of(member.len()));
            let block = self.block_mut(handle);
            block[..SCORE_BYTES].copy_from_slice(&score.to_le_bytes());
            block[SCORE_BYTES] = member.len() as u8;
            block[HEADER_BYTES..HEADER_BYTES + member.len()].copy_from_slice(member);
            return handle;
        }
        let place = self.large_free.pop().unwrap_or_else(|| {
            self.large.push(None);
            u32::try_from(self.large.len() - 1).expect("fewer than 2^32 long members")
        });
        self.large[place as usize] = Some(member.into());
        self.large_bytes += member.len();
        let handle = self.allocate(LARGE_BYTES.div_ceil(UNIT_BYTES));
        let block = self.block_mut(handle);
        block[..SCORE_BYTES].copy_from_slice(&score.to_le_bytes());
        block[SCORE_BYTES] = LARGE;
        block[HEADER_BYTES..LARGE_BYTES].copy_from_slice(&place.to_le_bytes());
        handle
    }

    /// Asks the memory for a member and its score.
    #[inline]
    pub fn prefetch(&self, handle: Handle) {
        prefetch(self.block(handle).as_ptr());
    }

    #[inline]
    pub fn member(&self, handle: Handle) -> &[u8] {
        let block = self.block(handle);
        match block[SCORE_BYTES] {
            LARGE => self.large[large_place(block)].as_deref().expect("A1: a long member is at its place"),
            length => &block[HEADER_BYTES..HEADER_BYTES + usize::from(length)],
        }
    }

    #[inline]
    pub fn score(&self, handle: Handle) -> f64 {
        let block = self.block(handle);
        f64::from_le_bytes(block[..SCORE_BYTES].try_into().expect("eight bytes"))
    }

    #[inline]
    pub fn set_score(&mut self, handle: Handle, score: f64) {
        self.block_mut(handle)[..SCORE_BYTES].copy_from_slice(&score.to_le_bytes());
    }

    pub fn remove(&mut self, handle: Handle) {
        let block = self.block(handle);
        let units = match block[SCORE_BYTES] {
            LARGE => {
                let place = large_place(block);
                let member = self.large[place].take().expect("A1: a long member is at its place");
                self.large_bytes -= member.len();
                self.large_free.push(place as u32);
                LARGE_BYTES.div_ceil(UNIT_BYTES)
            }
            length => units_of(usize::from(length)),
        };
        let next = std::mem::replace(&mut self.free[units], handle);
        self.block_mut(handle)[..4].copy_from_slice(&next.to_le_bytes());
        self.free_bytes += units * UNIT_BYTES;
    }

    /// Bytes in blocks that are free, and in all blocks.
    pub fn waste(&self) -> (usize, usize) {
        let held = self.chunks.len().saturating_sub(1) * CHUNK_BYTES + self.chunks.last().map_or(0, Vec::len);
        (self.free_bytes, held)
    }

    pub fn heap_bytes(&self) -> usize {
        let chunks: usize = match self.chunks.as_slice() {
            [whole @ .., last] => whole.len() * CHUNK_BYTES + last.capacity(),
            [] => 0,
        };
        chunks
            + self.chunks.capacity() * size_of::<Vec<u8>>()
            + size_of_val(&*self.free)
            + self.large_bytes
            + self.large.capacity() * size_of::<Option<Box<[u8]>>>()
            + self.large_free.capacity() * 4
    }

    /// Pieces of memory.
    pub fn pieces(&self) -> usize {
        self.chunks.len() + self.large.len() - self.large_free.len()
    }

    /// Frees up to `budget` pieces, long members first; what is left cannot be used any more.
    pub fn free_slice(&mut self, budget: usize) -> usize {
        let large = budget.min(self.large.len());
        self.large.truncate(self.large.len() - large);
        let chunks = (budget - large).min(self.chunks.len());
        self.chunks.truncate(self.chunks.len() - chunks);
        large + chunks
    }

    fn allocate(&mut self, units: usize) -> Handle {
        let head = self.free[units];
        if head != NONE {
            let block = self.block(head);
            self.free[units] = u32::from_le_bytes(block[..4].try_into().expect("four bytes"));
            self.free_bytes -= units * UNIT_BYTES;
            return head;
        }
        let bytes = units * UNIT_BYTES;
        // A2.
        if self.chunks.last().is_none_or(|chunk| chunk.len() + bytes > CHUNK_BYTES) {
            // The first chunk grows with the set; when there are several, they are whole at once.
            let capacity = if self.chunks.is_empty() { 0 } else { CHUNK_BYTES };
            self.chunks.push(Vec::with_capacity(capacity));
        }
        let index = self.chunks.len() - 1;
        let chunk = &mut self.chunks[index];
        if chunk.len() + bytes > chunk.capacity() {
            let growth = (chunk.len() / 2).max(GROWTH_BYTES_MIN).min(CHUNK_BYTES - chunk.len());
            chunk.reserve_exact(growth.max(bytes));
        }
        let place = index * CHUNK_UNITS + chunk.len() / UNIT_BYTES;
        chunk.resize(chunk.len() + bytes, 0);
        Handle::try_from(place).expect("a sorted set of less than 16 GiB")
    }

    #[inline]
    fn block(&self, handle: Handle) -> &[u8] {
        let (chunk, offset) = place_of(handle);
        &self.chunks[chunk][offset..]
    }

    #[inline]
    fn block_mut(&mut self, handle: Handle) -> &mut [u8] {
        let (chunk, offset) = place_of(handle);
        &mut self.chunks[chunk][offset..]
    }
}

#[inline]
fn place_of(handle: Handle) -> (usize, usize) {
    let place = handle as usize;
    (place / CHUNK_UNITS, place % CHUNK_UNITS * UNIT_BYTES)
}

fn units_of(member_bytes: usize) -> usize {
    (HEADER_BYTES + member_bytes).div_ceil(UNIT_BYTES)
}

fn large_place(block: &[u8]) -> usize {
    u32::from_le_bytes(block[HEADER_BYTES..LARGE_BYTES].try_into().expect("four bytes")) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against a vector of what was put; sizes around every border.
        #[test]
        fn keeps_what_it_was_given(
            steps in proptest::collection::vec((any::<bool>(), 0..600_usize, any::<u8>(), -9.0..9.0_f64), 0..200),
        ) {
            let mut arena = MemberArena::default();
            let mut model: Vec<(Handle, f64, Vec<u8>)> = Vec::new();
            for (insert, size, fill, score) in steps {
                if insert || model.is_empty() {
                    let member = vec![fill; size];
                    model.push((arena.insert(score, &member), score, member));
                } else {
                    let (handle, ..) = model.swap_remove(size % model.len());
                    arena.remove(handle);
                }
                if let Some((handle, old, _)) = model.first_mut() {
                    *old = score;
                    arena.set_score(*handle, score);
                }
            }
            for (handle, score, member) in &model {
                prop_assert_eq!(arena.score(*handle), *score);
                prop_assert_eq!(arena.member(*handle), &member[..]);
            }
        }
    }

    #[test]
    fn many_chunks_and_reuse() {
        let mut arena = MemberArena::default();
        let handles: Vec<Handle> = (0..10_000_u32).map(|n| arena.insert(1.0, &n.to_le_bytes())).collect();
        assert!(handles.iter().zip(0_u32..).all(|(handle, n)| arena.member(*handle) == n.to_le_bytes()));
        let before = arena.heap_bytes();
        handles.iter().for_each(|handle| arena.remove(*handle));
        assert_eq!(arena.waste().0, 160_000);
        (0..10_000_u32).for_each(|n| _ = arena.insert(1.0, &n.to_be_bytes()));
        assert_eq!((arena.heap_bytes(), arena.waste().0), (before, 0));
        while arena.free_slice(3) > 0 {}
    }
}
