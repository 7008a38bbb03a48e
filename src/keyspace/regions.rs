//! Regions of 2 MiB, each one huge page if the kernel has one, cut from large pieces of address space.
//!
//! They do not come from the global allocator: there every region would be a mapping of its own, and the kernel allows
//! 65530 of them. What is given back loses its pages and keeps its addresses for the next.
//!
//! Huge pages are for the fork of a snapshot, which copies one entry of the page tables for each instead of 512. A
//! write afterwards copies 4 KiB of it, no more.
//!
//! Invariants
//!   R1  A region is in exactly one place: not carved yet, `returned`, or with the slab.
//!   R2  [`bytes_in_use`] is the sum of the regions that slabs have.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

/// A huge page of this processor family.
pub(super) const REGION_BYTES: usize = 2 << 20;

/// Regions of the first piece of address space, and of the largest.
const PIECE_FIRST: usize = 32;
const PIECE_MAX: usize = 512;

static IN_USE: AtomicU64 = AtomicU64::new(0);

/// Bytes that all slabs of the process have beside those of the global allocator.
pub fn bytes_in_use() -> u64 {
    IN_USE.load(Ordering::Relaxed)
}

#[derive(Default)]
pub(super) struct Regions {
    pieces: Vec<Piece>,
    /// Regions of the last piece that have been handed out at least once.
    carved: usize,
    returned: Vec<NonNull<u8>>,
    in_use: usize,
}

struct Piece {
    mapping: NonNull<u8>,
    mapping_bytes: usize,
    first: NonNull<u8>,
    regions: usize,
}

impl Regions {
    /// A region of zeroes; nothing if the system gives none.
    pub fn take(&mut self) -> Option<NonNull<u8>> {
        let region = match self.returned.pop() {
            Some(region) => region,
            None => self.carve()?,
        };
        self.in_use += 1;
        IN_USE.fetch_add(REGION_BYTES as u64, Ordering::Relaxed);
        Some(region)
    }

    fn carve(&mut self) -> Option<NonNull<u8>> {
        if self.pieces.last().is_none_or(|piece| self.carved == piece.regions) {
            let regions = self.pieces.last().map_or(PIECE_FIRST, |piece| (piece.regions * 2).min(PIECE_MAX));
            self.pieces.push(Piece::new(regions)?);
            self.carved = 0;
        }
        let piece = self.pieces.last().expect("just seen to");
        self.carved += 1;
        // SAFETY: the piece has room for `regions` of them, and `carved` is at most that.
        Some(unsafe { piece.first.add((self.carved - 1) * REGION_BYTES) })
    }

    /// # Safety
    /// The region came from [`Regions::take`] of the same, and nobody uses it any more.
    pub unsafe fn give_back(&mut self, region: NonNull<u8>) {
        self.in_use -= 1;
        IN_USE.fetch_sub(REGION_BYTES as u64, Ordering::Relaxed);
        // SAFETY: the caller has given the region up; its pages may go.
        unsafe { libc::madvise(region.as_ptr().cast(), REGION_BYTES, libc::MADV_DONTNEED) };
        self.returned.push(region);
    }
}

/// Makes one huge page of a region again: writes while a snapshot was taken have left it in small ones, of which some are
/// copies. Copies 2 MiB if there is something to do.
///
/// # Safety
/// The region came from [`Regions::take`] and has not been given back.
pub(super) unsafe fn mend(region: *mut u8) {
    // Kernels before 6.1 cannot, and leave it to their own daemon.
    // SAFETY: passed on to the caller; the contents stay.
    unsafe { libc::madvise(region.cast(), REGION_BYTES, libc::MADV_COLLAPSE) };
}

impl Drop for Regions {
    fn drop(&mut self) {
        IN_USE.fetch_sub((self.in_use * REGION_BYTES) as u64, Ordering::Relaxed);
        for piece in &self.pieces {
            // SAFETY: mapped with this size; the slab, and all that was in it, is gone.
            unsafe { libc::munmap(piece.mapping.as_ptr().cast(), piece.mapping_bytes) };
        }
    }
}

impl Piece {
    #[cfg(miri)]
    fn new(_: usize) -> Option<Self> {
        None
    }

    #[cfg(not(miri))]
    fn new(regions: usize) -> Option<Self> {
        // One more, for the alignment.
        let mapping_bytes = (regions + 1) * REGION_BYTES;
        // SAFETY: a new anonymous mapping, at an address that the kernel chooses.
        let mapping = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                mapping_bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if mapping == libc::MAP_FAILED {
            return None;
        }
        let mapping = NonNull::new(mapping.cast::<u8>()).expect("no mapping begins at address 0");
        let offset = mapping.addr().get().wrapping_neg() % REGION_BYTES;
        // SAFETY: the offset is less than the region that is mapped in addition.
        let first = unsafe { mapping.add(offset) };
        // Without huge pages it is the same memory in small ones.
        // SAFETY: the range lies within the mapping; the advice does not change what is in it.
        unsafe { libc::madvise(first.as_ptr().cast(), regions * REGION_BYTES, libc::MADV_HUGEPAGE) };
        Some(Self { mapping, mapping_bytes, first, regions })
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;

    #[test]
    fn regions_are_aligned_distinct_and_come_back_empty() {
        let mut regions = Regions::default();
        let taken: Vec<NonNull<u8>> =
            (0..PIECE_FIRST + 3).map(|_| regions.take().expect("there is memory")).collect();
        for (index, region) in taken.iter().enumerate() {
            assert!(region.addr().get().is_multiple_of(REGION_BYTES));
            // SAFETY: a region of ours.
            unsafe { region.write(index as u8 + 1) };
        }
        for (index, region) in taken.iter().enumerate() {
            // SAFETY: as above.
            assert_eq!(unsafe { region.read() }, index as u8 + 1, "R1");
        }
        let last = taken[taken.len() - 1];
        // SAFETY: taken above, and not used any more.
        unsafe { regions.give_back(last) };
        let again = regions.take().expect("it was given back");
        assert_eq!(again, last);
        // SAFETY: taken again.
        assert_eq!(unsafe { again.read() }, 0);
    }
}
