//! Bytes that say in their own first four how many they are, behind a pointer of one word.
//!
//! Small collections are many, so what a handle costs counts: no capacity is kept, it follows from the length.
//!
//! Invariants
//!   B1  `start` owns an allocation of `capacity(length)` bytes aligned to [`ALIGN`], of which the first
//!       `length` are initialised.
//!   B2  The first four bytes are `length`, little endian, and it is at least four.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error, realloc};
use std::fmt;
use std::ptr::NonNull;

const ALIGN: usize = 8;
const LENGTH_BYTES: usize = 4;

pub struct Block {
    start: NonNull<u8>,
}

// SAFETY: B1, a block owns its memory, and shares nothing.
unsafe impl Send for Block {}
// SAFETY: as above; without a mutable reference nothing changes.
unsafe impl Sync for Block {}

/// The sizes an allocator hands out anyway: four to a doubling. Asking for no other lets a block grow within
/// its class without a call, and tells the capacity from the length.
pub(super) fn capacity(length: usize) -> usize {
    if length <= 128 {
        return length.next_multiple_of(16);
    }
    let step = (length - 1).ilog2() - 2;
    length.next_multiple_of(1 << step)
}

fn layout(length: usize) -> Layout {
    Layout::from_size_align(capacity(length), ALIGN).expect("below 4 GiB")
}

impl Block {
    /// A copy of `bytes`; their first four are overwritten by their length.
    pub fn new(bytes: &[u8]) -> Self {
        assert!(bytes.len() >= LENGTH_BYTES && u32::try_from(bytes.len()).is_ok());
        let layout = layout(bytes.len());
        // SAFETY: the layout has a size.
        let Some(start) = NonNull::new(unsafe { alloc(layout) }) else { handle_alloc_error(layout) };
        // SAFETY: B1, there is room for all bytes, and a new allocation overlaps nothing.
        unsafe { start.copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len()) };
        let mut block = Self { start };
        block.set_length(bytes.len());
        block
    }

    #[inline]
    pub fn len(&self) -> usize {
        // SAFETY: B2; the allocation is aligned to more than four bytes.
        u32::from_le(unsafe { self.start.cast::<u32>().read() }) as usize
    }

    fn set_length(&mut self, length: usize) {
        // SAFETY: B1, the first four bytes exist; aligned as above.
        unsafe { self.start.cast::<u32>().write((length as u32).to_le()) };
    }

    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        // SAFETY: B1, this many bytes are initialised; the borrow keeps them.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len()) }
    }

    /// To edit anything but the first four bytes.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let length = self.len() - LENGTH_BYTES;
        // SAFETY: B1; the length itself stays out of reach, so B2 holds whatever is written.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr().add(LENGTH_BYTES), length) }
    }

    /// Puts `new` bytes of unspecified content in the place of `old` bytes at `at`, behind the length.
    #[inline]
    pub fn splice(&mut self, at: usize, old: usize, new: usize) -> &mut [u8] {
        let length = self.len();
        assert!(at >= LENGTH_BYTES && at <= length && old <= length - at, "a splice outside of the block");
        let tail = at + old..length;
        if new > old {
            self.resize(length + (new - old));
            let bytes = self.bytes_mut();
            bytes.copy_within(tail.start - LENGTH_BYTES..tail.end - LENGTH_BYTES, at + new - LENGTH_BYTES);
        } else if new < old {
            let bytes = self.bytes_mut();
            bytes.copy_within(tail.start - LENGTH_BYTES..tail.end - LENGTH_BYTES, at + new - LENGTH_BYTES);
            self.resize(length - (old - new));
        }
        &mut self.bytes_mut()[at - LENGTH_BYTES..at + new - LENGTH_BYTES]
    }

    /// Adds `more` zeroes at the end; returns them and the byte before them.
    #[inline]
    pub fn extend(&mut self, more: usize) -> &mut [u8] {
        let length = self.len();
        self.resize(length + more);
        &mut self.bytes_mut()[length - LENGTH_BYTES - 1..]
    }

    fn resize(&mut self, length: usize) {
        assert!(length >= LENGTH_BYTES && u32::try_from(length).is_ok(), "a block below 4 GiB");
        let old_length = self.len();
        let (old, new) = (capacity(old_length), capacity(length));
        if old != new {
            // SAFETY: B1, the old layout is that of the allocation; the new size is not zero.
            let moved = unsafe { realloc(self.start.as_ptr(), layout(old_length), new) };
            let Some(start) = NonNull::new(moved) else { handle_alloc_error(layout(length)) };
            self.start = start;
        }
        if length > old_length {
            // B1: what is new must be initialised before anyone can see it.
            // SAFETY: `length` is within the capacity.
            unsafe { self.start.add(old_length).write_bytes(0, length - old_length) };
        }
        self.set_length(length);
    }

    pub fn heap_bytes(&self) -> usize {
        capacity(self.len())
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let layout = layout(self.len());
        // SAFETY: B1, and nobody uses it from here on.
        unsafe { dealloc(self.start.as_ptr(), layout) };
    }
}

impl Clone for Block {
    fn clone(&self) -> Self {
        Self::new(self.as_bytes())
    }
}

impl PartialEq for Block {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Block {}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Block({} bytes)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn capacities_hold_their_length_and_grow_in_quarters() {
        for length in 1..100_000 {
            let capacity = capacity(length);
            assert!(capacity >= length && capacity.is_multiple_of(8));
            assert!(length <= 128 || (capacity - length) * 4 < length, "{length} in {capacity}");
            assert_eq!(super::capacity(capacity), capacity);
        }
        assert_eq!(std::mem::size_of::<Option<Block>>(), 8);
    }

    proptest! {
        #[test]
        fn splices_agree_with_a_vector(
            splices in proptest::collection::vec((any::<u16>(), 0_usize..90, 0_usize..90), 1..30),
        ) {
            let mut block = Block::new(&[0; 7]);
            let mut model = vec![0; 3];
            for (turn, (at, old, new)) in splices.into_iter().enumerate() {
                let at = usize::from(at) % (model.len() + 1);
                let old = old.min(model.len() - at);
                let content = vec![turn as u8; new];
                block.splice(at + 4, old, new).copy_from_slice(&content);
                model.splice(at..at + old, content);
                prop_assert_eq!(&block.as_bytes()[4..], &model[..]);
                prop_assert_eq!(block.len(), model.len() + 4);
                prop_assert_eq!(&block.clone(), &block);
            }
        }
    }
}
