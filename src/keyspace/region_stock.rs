//! Regions on their way between a shard, which has addresses, and a thread that gives them memory.
//!
//! The first touch of a region makes the kernel find and clear 2 MiB: 0.2 ms where memory is at hand, several where a
//! hypervisor or a fragmented machine has to provide it. A shard that grows would stand still for it. So it asks for
//! its next region before it needs it, another thread (the maker) touches that, and the shard takes it when it is
//! ready. It never waits for one: if none is ready, it touches the next one itself.
//!
//! ```text
//! places:   . . . R R R a a . .      taken <= made <= asked
//!                 |     |   `- asked: the shard's
//!                 |     `----- made: the maker's
//!                 `----------- taken: known to the shard alone (`Desk`)
//! ```
//!
//! The fork of a snapshot copies the shard's side into the child, where there is no maker: nothing asked for becomes ready
//! there, nothing waits for it, and no lock is involved. Asked for in the parent at the moment of the fork, a region
//! delays it by what is left of one touch.
//!
//! Invariants
//!   M1  A region is the maker's from `ask` until `made` has passed it, and the shard's before and after.
//!   M2  What the maker touches is mapped: the shard's memory goes only when `end` has returned.

use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};

use super::regions::REGION_BYTES;

/// The most regions of one shard that are asked for or ready.
pub(super) const PLACES: usize = 8;

const PAGE: usize = 4096;

static READY: AtomicU64 = AtomicU64::new(0);
static LATE: AtomicU64 = AtomicU64::new(0);

/// Bytes that have been made ready for the shards of the process and are not used yet.
pub fn bytes_ready() -> u64 {
    READY.load(Ordering::Relaxed)
}

/// How often a shard of the process needed a region when none was ready, although it has a maker.
pub fn late() -> u64 {
    LATE.load(Ordering::Relaxed)
}

/// One shard's regions between it and the maker; both have it.
pub struct RegionStock {
    places: [AtomicPtr<u8>; PLACES],
    asked: AtomicU32,
    made: AtomicU32,
    /// The maker is looking at the places, or touching one.
    working: AtomicBool,
    ended: AtomicBool,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl RegionStock {
    /// `wake` makes the maker call [`RegionStock::make`]; it must neither block nor take a lock.
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            places: [const { AtomicPtr::new(ptr::null_mut()) }; PLACES],
            asked: AtomicU32::new(0),
            made: AtomicU32::new(0),
            working: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            wake: Box::new(wake),
        }
    }

    /// For the maker, of which there is one: touches a region if one is asked for; whether it was.
    pub fn make(&self) -> bool {
        // M2: either `end` sees this, or this sees that it has ended. Both need the one order of all such accesses.
        self.working.store(true, Ordering::SeqCst);
        let made = self.made.load(Ordering::Relaxed);
        let is_asked = !self.ended.load(Ordering::SeqCst) && self.asked.load(Ordering::Acquire) != made;
        if is_asked {
            let region = self.places[made as usize % PLACES].load(Ordering::Relaxed);
            for offset in (0..REGION_BYTES).step_by(PAGE) {
                // SAFETY: M1 and M2, the region is mapped and the maker's. The pages it has no memory for yet read as
                // zeroes, so nothing else changes. Not `madvise`: that would hold a lock on all of the process's
                // memory for as long as it takes.
                unsafe { region.add(offset).write_volatile(0) };
            }
            READY.fetch_add(REGION_BYTES as u64, Ordering::Relaxed);
            self.made.store(made.wrapping_add(1), Ordering::Release);
        }
        self.working.store(false, Ordering::SeqCst);
        is_asked
    }

    /// Whether the shard has gone; there is nothing more to make then.
    pub fn is_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }
}

/// The shard's side.
pub(super) struct Desk {
    stock: Arc<RegionStock>,
    asked: u32,
    taken: u32,
}

impl Desk {
    pub fn new(stock: Arc<RegionStock>) -> Self {
        Self { stock, asked: 0, taken: 0 }
    }

    /// Regions that are ready or will be.
    pub fn coming(&self) -> usize {
        self.asked.wrapping_sub(self.taken) as usize
    }

    pub fn ready(&self) -> usize {
        self.stock.made.load(Ordering::Acquire).wrapping_sub(self.taken) as usize
    }

    /// # Safety
    /// A mapped region that reads as zeroes and that nobody uses; there are fewer than [`PLACES`] coming.
    pub unsafe fn ask(&mut self, region: NonNull<u8>) {
        debug_assert!(self.coming() < PLACES);
        self.stock.places[self.asked as usize % PLACES].store(region.as_ptr(), Ordering::Relaxed);
        self.asked = self.asked.wrapping_add(1);
        self.stock.asked.store(self.asked, Ordering::Release);
        (self.stock.wake)();
    }

    /// A region that is ready.
    pub fn take(&mut self) -> Option<NonNull<u8>> {
        if self.ready() == 0 {
            return None;
        }
        let region = self.stock.places[self.taken as usize % PLACES].load(Ordering::Relaxed);
        self.taken = self.taken.wrapping_add(1);
        READY.fetch_sub(REGION_BYTES as u64, Ordering::Relaxed);
        Some(NonNull::new(region).expect("M1: it was asked for"))
    }

    pub fn note_late(&self) {
        LATE.fetch_add(1, Ordering::Relaxed);
    }

    /// The maker touches nothing of this shard any more when this returns. Waits for at most one region.
    pub fn end(&mut self) {
        self.stock.ended.store(true, Ordering::SeqCst);
        (self.stock.wake)();
        while self.stock.working.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        while self.take().is_some() {}
    }
}
