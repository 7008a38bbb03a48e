//! Memory that direct I/O takes: whole blocks at block-aligned addresses.
//!
//! Invariants
//!   A1  `len` is at most `capacity`; what lies behind `len` is arbitrary until `padded` is asked for.

use std::alloc::{self, Layout};
use std::ptr::NonNull;

/// Unit of direct writes: no device wants a larger one.
pub const BLOCK: usize = 4096;

/// Memory from here on is whole huge pages of its own, which neither fault one by one nor are copied after a fork.
const HUGE: usize = 2 << 20;

/// Bytes in whole blocks.
pub struct AlignedBuffer {
    /// All of `capacity` is initialised.
    memory: NonNull<u8>,
    capacity: usize,
    len: usize,
}

// SAFETY: the memory belongs to the buffer alone.
unsafe impl Send for AlignedBuffer {}

impl Default for AlignedBuffer {
    fn default() -> Self {
        Self { memory: NonNull::<Block>::dangling().cast(), capacity: 0, len: 0 }
    }
}

#[repr(C, align(4096))]
struct Block([u8; BLOCK]);

impl AlignedBuffer {
    pub fn with_capacity(bytes: usize) -> Self {
        if bytes == 0 {
            return Self::default();
        }
        let capacity = bytes.next_multiple_of(if bytes >= HUGE { HUGE } else { BLOCK });
        let memory = if capacity >= HUGE { map(capacity) } else { allocate(capacity) };
        Self { memory, capacity, len: 0 }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of memory that are kept.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Forgets what stands behind this many bytes.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Makes room for this many bytes more.
    #[inline]
    pub fn reserve(&mut self, more: usize) {
        if self.capacity - self.len < more {
            self.grow(more);
        }
    }

    #[cold]
    fn grow(&mut self, more: usize) {
        let wanted = self.len.checked_add(more).expect("no memory is that large");
        let mut larger = Self::with_capacity(wanted.max(self.capacity.saturating_mul(2)));
        larger.all_mut()[..self.len].copy_from_slice(self.bytes());
        larger.len = self.len;
        *self = larger;
    }

    #[inline]
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        let start = self.len;
        self.len += bytes.len();
        self.all_mut()[start..start + bytes.len()].copy_from_slice(bytes);
    }

    /// Adds bytes that are written in place: at most this many, of which `write` says how many they are.
    #[inline]
    pub fn extend_with(&mut self, most: usize, write: impl FnOnce(&mut [u8]) -> usize) {
        self.reserve(most);
        let start = self.len;
        let written = write(&mut self.all_mut()[start..start + most]);
        assert!(written <= most, "A1");
        self.len = start + written;
    }

    pub fn bytes(&self) -> &[u8] {
        &self.all()[..self.len]
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let len = self.len;
        &mut self.all_mut()[..len]
    }

    /// The bytes, with zeros up to the end of their last block.
    pub fn padded(&mut self) -> &[u8] {
        let (len, end) = (self.len, self.padded_len());
        self.all_mut()[len..end].fill(0);
        &self.all()[..end]
    }

    pub fn padded_len(&self) -> usize {
        self.len.next_multiple_of(BLOCK)
    }

    #[inline]
    fn all(&self) -> &[u8] {
        // SAFETY: so many bytes are there, and initialised.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr(), self.capacity) }
    }

    #[inline]
    fn all_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `all`, and nobody else has them.
        unsafe { std::slice::from_raw_parts_mut(self.memory.as_ptr(), self.capacity) }
    }
}

impl Drop for AlignedBuffer {
    fn drop(&mut self) {
        if self.capacity >= HUGE {
            // SAFETY: `map` has made it, with this length, and it is used no more.
            unsafe { libc::munmap(self.memory.as_ptr().cast(), self.capacity) };
        } else if self.capacity > 0 {
            // SAFETY: `allocate` has made it, with this layout.
            unsafe { alloc::dealloc(self.memory.as_ptr(), layout(self.capacity)) };
        }
    }
}

fn layout(capacity: usize) -> Layout {
    Layout::from_size_align(capacity, BLOCK).expect("below the size of huge pages")
}

fn allocate(capacity: usize) -> NonNull<u8> {
    // SAFETY: the layout is not empty.
    let memory = unsafe { alloc::alloc_zeroed(layout(capacity)) };
    NonNull::new(memory).unwrap_or_else(|| alloc::handle_alloc_error(layout(capacity)))
}

/// Zeroed memory that begins with a huge page. A child of a fork does without it.
fn map(capacity: usize) -> NonNull<u8> {
    let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    let length = capacity.checked_add(HUGE).expect("no memory is that large");
    // SAFETY: a fresh mapping replaces nothing.
    let whole = unsafe { libc::mmap(std::ptr::null_mut(), length, access, flags, -1, 0) };
    if whole == libc::MAP_FAILED {
        alloc::handle_alloc_error(Layout::from_size_align(capacity, 1).expect("it has been mapped"));
    }
    let before = whole.addr().next_multiple_of(HUGE) - whole.addr();
    let memory: *mut libc::c_void = whole.wrapping_byte_add(before);
    for (start, bytes) in [(whole, before), (memory.wrapping_byte_add(capacity), HUGE - before)] {
        if bytes > 0 {
            // SAFETY: the part of the mapping that is not wanted, which nobody has seen.
            unsafe { libc::munmap(start, bytes) };
        }
    }
    for advice in [libc::MADV_HUGEPAGE, libc::MADV_DONTFORK] {
        // SAFETY: the memory is there. Without huge pages it is as good, only slower.
        unsafe { libc::madvise(memory, capacity, advice) };
    }
    NonNull::new(memory.cast()).expect("a mapping has an address")
}

impl std::fmt::Debug for AlignedBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AlignedBuffer({} bytes)", self.len)
    }
}

const _: () = assert!(size_of::<Block>() == BLOCK && align_of::<Block>() == BLOCK);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_stay_and_are_padded() {
        let mut buffer = AlignedBuffer::default();
        for round in 0..3u8 {
            buffer.clear();
            let bytes: Vec<u8> = (0..10_000u32).map(|at| at as u8 ^ round | 1).collect();
            for part in bytes.chunks(999) {
                buffer.extend_from_slice(part);
            }
            assert_eq!(buffer.bytes(), bytes);
            let padded = buffer.padded();
            assert_eq!(padded.len(), 12_288);
            assert_eq!(padded.as_ptr() as usize % BLOCK, 0);
            assert!(padded[10_000..].iter().all(|byte| *byte == 0));
        }
        assert_eq!(AlignedBuffer::default().padded(), b"");
    }

    #[test]
    fn memory_of_any_size_is_aligned_and_what_stands_in_it_moves_along() {
        let mut buffer = AlignedBuffer::with_capacity(100);
        assert_eq!(buffer.capacity(), BLOCK);
        for expected in [3 * BLOCK, HUGE - BLOCK, HUGE, 2 * HUGE, 4 * HUGE] {
            let before = buffer.bytes().to_vec();
            let more = expected - buffer.len();
            buffer.extend_with(more, |room| {
                room.fill(expected.ilog2() as u8);
                more - 1
            });
            assert_eq!(buffer.bytes()[..before.len()], before);
            assert_eq!(buffer.bytes().last(), Some(&(expected.ilog2() as u8)));
            assert_eq!(buffer.padded_len(), expected);
            let unit = if expected < HUGE { BLOCK } else { HUGE };
            assert!(buffer.capacity().is_multiple_of(unit) && buffer.capacity() >= expected);
            assert!((buffer.padded().as_ptr() as usize).is_multiple_of(unit));
        }
        buffer.truncate(7);
        assert_eq!(buffer.padded()[7..], [0; BLOCK - 7]);
    }
}
