//! Regions of 2 MiB, each one huge page if the kernel has one, cut from large pieces of address space.
//!
//! They do not come from the global allocator: there every region would be a mapping of its own, and the kernel allows
//! 65530 of them. What is given back loses its pages and keeps its addresses for the next.
//!
//! Huge pages are for the fork of a snapshot, which copies one entry of the page tables for each instead of 512. A
//! write afterwards copies 4 KiB of it, no more.
//!
//! On a machine with several memory nodes, regions are of the node of the core that made the slab, whoever touches
//! them first: another thread that makes them ready, or a core that does the shard's work for a moment. Where the
//! system forbids `mbind`, as containers do without CAP_SYS_NICE, they are of the node of who touches them.
//!
//! A region that should have been ready and is not is taken from a reserve of small pages: the first touch of a huge page
//! clears 2 MiB at once, and a core that grows would stand still for it. The addresses of the reserve are set aside in
//! advance, since a thread that changes the mappings waits for those who are clearing a page. Once all of its regions are
//! in use, the kernel may make huge pages of them, in the background or when the shard has them mended.
//!
//! Invariants
//!   R1  A region is in exactly one place: not carved yet, `returned`, in the stock, in the reserve, or with the slab.
//!   R2  [`bytes_in_use`] is the sum of the regions that slabs have.

use super::region_stock::{Desk, PLACES, RegionStock};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A huge page of this processor family.
pub(super) const REGION_BYTES: usize = 2 << 20;

/// The stock is at most this part of what is in use, or one region: memory ahead of need must not show in the bytes per key.
const STOCK_SHARE: usize = 32;

/// Regions of the first piece of address space, and of the largest.
const PIECE_FIRST: usize = 32;
const PIECE_MAX: usize = 512;

/// Regions that the reserve is extended by. Where memory is not short of processors, 2 to 7 of a thousand come late.
const RESERVE: usize = 64;

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
    reserve: Reserve,
    in_use: usize,
    /// If another thread makes regions ready.
    desk: Option<Desk>,
    /// The memory node that they are to be of.
    node: Option<u32>,
}

/// Regions of small pages.
#[derive(Default)]
struct Reserve {
    pieces: Vec<Piece>,
    /// Those that the slab does not have.
    free: Vec<NonNull<u8>>,
}

impl Reserve {
    fn take(&mut self, node: Option<u32>) -> Option<NonNull<u8>> {
        if self.free.is_empty() {
            self.extend(node);
        }
        self.free.pop()
    }

    fn extend(&mut self, node: Option<u32>) {
        let Some(piece) = Piece::new(RESERVE, node, libc::MADV_NOHUGEPAGE) else { return };
        // SAFETY: the piece has room for so many of them.
        let region = |index| unsafe { piece.first.add(index * REGION_BYTES) };
        self.free.extend((0..RESERVE).rev().map(region));
        if let Some(used) = self.pieces.last() {
            // Each of its regions has been touched, so none begins with a huge page any more.
            used.advise(libc::MADV_HUGEPAGE);
        }
        self.pieces.push(piece);
    }

    fn has_given(&self, region: NonNull<u8>) -> bool {
        let is_of = |piece: &Piece| {
            let start = piece.first.addr().get();
            (start..start + piece.regions * REGION_BYTES).contains(&region.addr().get())
        };
        self.pieces.iter().any(is_of)
    }
}

struct Piece {
    mapping: NonNull<u8>,
    mapping_bytes: usize,
    first: NonNull<u8>,
    regions: usize,
}

impl Regions {
    /// Regions that another thread makes ready, of the memory node of the calling thread's processor.
    pub fn stocked(stock: Arc<RegionStock>) -> Self {
        let mut regions = Self::default();
        (regions.desk, regions.node) = (Some(Desk::new(stock)), own_node());
        regions.reserve.extend(regions.node);
        regions
    }

    /// A region of zeroes, and whether it had to be one that nobody has touched although the stock should have had
    /// one; nothing if the system gives none.
    pub fn take(&mut self) -> Option<(NonNull<u8>, bool)> {
        let mut region = self.desk.as_mut().and_then(Desk::take);
        let late = region.is_none() && self.desk.is_some();
        if let Some(desk) = self.desk.as_ref().filter(|_| late) {
            desk.note_late();
            region = self.reserve.take(self.node);
        }
        let region = match region {
            Some(region) => region,
            None => self.untouched()?,
        };
        self.in_use += 1;
        IN_USE.fetch_add(REGION_BYTES as u64, Ordering::Relaxed);
        Some((region, late))
    }

    /// Has regions made ready until so many are coming; false if nobody makes them.
    pub fn ask(&mut self, regions: usize) -> bool {
        let most = (self.in_use / STOCK_SHARE).clamp(1, PLACES);
        while self.desk.as_ref().is_some_and(|desk| desk.coming() < regions.min(most)) {
            let Some(region) = self.untouched() else { break };
            let desk = self.desk.as_mut().expect("just seen");
            // SAFETY: R1, nobody has the region.
            unsafe { desk.ask(region) };
        }
        self.desk.is_some()
    }

    /// Whether something was asked for that is not ready.
    pub fn is_making(&self) -> bool {
        self.desk.as_ref().is_some_and(|desk| desk.ready() < desk.coming())
    }

    /// Regions that are ready or will be.
    pub fn coming(&self) -> usize {
        self.desk.as_ref().map_or(0, Desk::coming)
    }

    /// Gives up one that is ready; whether there was one.
    pub fn give_up_ready(&mut self) -> bool {
        let ready = self.desk.as_mut().and_then(Desk::take);
        if let Some(region) = ready {
            // SAFETY: R1, it was the stock's.
            unsafe { self.empty(region) };
        }
        ready.is_some()
    }

    fn untouched(&mut self) -> Option<NonNull<u8>> {
        self.returned.pop().or_else(|| self.carve())
    }

    fn carve(&mut self) -> Option<NonNull<u8>> {
        if self.pieces.last().is_none_or(|piece| self.carved == piece.regions) {
            let regions = self.pieces.last().map_or(PIECE_FIRST, |piece| (piece.regions * 2).min(PIECE_MAX));
            self.pieces.push(Piece::new(regions, self.node, libc::MADV_HUGEPAGE)?);
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
        // SAFETY: passed on to the caller.
        unsafe { self.empty(region) };
    }

    /// # Safety
    /// One of these regions, and nobody uses it.
    unsafe fn empty(&mut self, region: NonNull<u8>) {
        // SAFETY: the region is mapped and nobody's; its pages may go.
        unsafe { libc::madvise(region.as_ptr().cast(), REGION_BYTES, libc::MADV_DONTNEED) };
        match self.reserve.has_given(region) {
            true => self.reserve.free.push(region),
            false => self.returned.push(region),
        }
    }
}

/// The memory node of the processor that the calling thread runs on.
fn own_node() -> Option<u32> {
    if cfg!(miri) {
        return None;
    }
    let (mut cpu, mut node) = (0u32, 0u32);
    // SAFETY: the kernel fills the two numbers; the third argument is unused.
    let result = unsafe {
        libc::syscall(libc::SYS_getcpu, &raw mut cpu, &raw mut node, std::ptr::null_mut::<libc::c_void>())
    };
    (result == 0).then_some(node)
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
        if let Some(desk) = &mut self.desk {
            desk.end();
        }
        for piece in self.pieces.iter().chain(&self.reserve.pieces) {
            // SAFETY: mapped with this size; the slab, and all that was in it, is gone.
            unsafe { libc::munmap(piece.mapping.as_ptr().cast(), piece.mapping_bytes) };
        }
    }
}

impl Piece {
    #[cfg(miri)]
    fn new(_: usize, _: Option<u32>, _: libc::c_int) -> Option<Self> {
        None
    }

    #[cfg(not(miri))]
    fn new(regions: usize, node: Option<u32>, advice: libc::c_int) -> Option<Self> {
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
        if let Some(node) = node {
            prefer_node(mapping, mapping_bytes, node);
        }
        let piece = Self { mapping, mapping_bytes, first, regions };
        piece.advise(advice);
        Some(piece)
    }

    /// About huge pages. Without them it is the same memory in small ones.
    fn advise(&self, advice: libc::c_int) {
        // SAFETY: the range lies within the mapping; the advice does not change what is in it.
        unsafe { libc::madvise(self.first.as_ptr().cast(), self.regions * REGION_BYTES, advice) };
    }
}

/// Pages of the mapping that are touched from now on are of this memory node while it has some. Best effort.
#[cfg(not(miri))]
fn prefer_node(mapping: NonNull<u8>, bytes: usize, node: u32) {
    const NODES: usize = 1024;
    const WORD_BITS: usize = u64::BITS as usize;
    let mut mask = [0u64; NODES / WORD_BITS];
    let Some(word) = mask.get_mut(node as usize / WORD_BITS) else { return };
    *word = 1 << (node as usize % WORD_BITS);
    // One more than there are bits: the kernel takes one off.
    let (mode, bits, flags) = (libc::MPOL_PREFERRED, NODES + 1, 0usize);
    // SAFETY: the mapping is ours, and the mask has as many bits as told. Where it fails, the kernel goes on to take
    // memory near who touches it.
    unsafe { libc::syscall(libc::SYS_mbind, mapping.as_ptr(), bytes, mode, mask.as_ptr(), bits, flags) };
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;

    #[test]
    fn regions_are_aligned_distinct_and_come_back_empty() {
        let mut regions = Regions::default();
        let taken: Vec<NonNull<u8>> =
            (0..PIECE_FIRST + 3).map(|_| regions.take().expect("there is memory").0).collect();
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
        let (again, late) = regions.take().expect("it was given back");
        assert!(!late, "nobody makes any ready");
        assert_eq!(again, last);
        // SAFETY: taken again.
        assert_eq!(unsafe { again.read() }, 0);
    }

    #[test]
    fn late_regions_are_of_the_reserve() {
        // Nobody makes any.
        let mut regions = Regions::stocked(Arc::new(RegionStock::new(|| {})));
        let mut taken = Vec::new();
        for _ in 0..RESERVE + 2 {
            let (region, late) = regions.take().expect("there is memory");
            assert!(late && regions.reserve.has_given(region));
            assert!(region.addr().get().is_multiple_of(REGION_BYTES) && !taken.contains(&region), "R1");
            // SAFETY: a region of ours.
            unsafe { region.write(1) };
            taken.push(region);
        }
        for region in [taken[RESERVE], taken[7]] {
            // SAFETY: taken above, and not used any more.
            unsafe { regions.give_back(region) };
        }
        assert!(regions.returned.is_empty(), "they would be taken for huge ones");
        for expected in [taken[7], taken[RESERVE]] {
            let (again, _) = regions.take().expect("it was given back");
            assert_eq!(again, expected);
            // SAFETY: taken again.
            assert_eq!(unsafe { again.read() }, 0);
        }
    }
}
