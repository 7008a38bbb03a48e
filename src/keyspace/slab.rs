//! The memory of one shard's entries and hash tables: size classes with almost no rounding, because
//! bytes per key is decided here.
//!
//! ```text
//! region  1 MiB from the global allocator = 16 spans; once there are a few, 2 MiB from `regions` = 32 spans
//! span    64 KiB, aligned to its size: one header line, then objects of one class
//! class   1..=1024 bytes in steps of 8; above, the sizes that divide a span's 1023 lines with
//!         little left over (this is also why table segments have the odd sizes they have)
//! ```
//! Larger requests go to the global allocator. One slab serves all databases of a shard.
//!
//! Invariants
//!   S1  Every object lies in the span its address points into; the span's class gives its size.
//!   S2  `used` of a span counts its live objects; a span with `used == 0` is kept by no class for
//!       longer than one spare per class.
//!   S3  A class's list holds exactly its spans that have room.
//!   S4  `used_bytes` is the sum of the rounded sizes of everything allocated and not yet freed.
//!   S5  An object whose size is a multiple of 64 is aligned to 64, any other to 8.
//!   S6  `free_spans` is the sum of the free spans of all regions.

use super::foresight::Foresight;
use super::region_stock::RegionStock;
use super::regions::{self, REGION_BYTES, Regions};
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::UnsafeCell;
use std::marker::PhantomData;
use std::num::NonZero;
use std::ptr::{self, NonNull};
use std::sync::Arc;

const LINE: usize = 64;
const SPAN_BYTES: usize = 64 << 10;
pub(super) const SPAN_LINES: usize = SPAN_BYTES / LINE - 1;
const SMALL_REGION_SPANS: u32 = 16;
const SMALL_REGION_BYTES: usize = SPAN_BYTES * SMALL_REGION_SPANS as usize;
pub(super) const HUGE_REGION_SPANS: u32 = (REGION_BYTES / SPAN_BYTES) as u32;
/// A shard with less than this many regions does not take another 2 MiB for its next span.
const SMALL_REGIONS: usize = 4;

const FINE_MAX: usize = 1024;
const FINE_CLASSES: usize = FINE_MAX / 8;
/// Objects per span in the first coarse class (17 lines) and in the last (146 lines).
const COARSE_FIRST: usize = SPAN_LINES / (FINE_MAX / LINE + 1);
const COARSE_LAST: usize = 7;
const CLASSES: usize = FINE_CLASSES + COARSE_FIRST - COARSE_LAST + 1;

/// The largest request served from spans.
const SPAN_OBJECT_MAX: usize = SPAN_LINES / COARSE_LAST * LINE;

#[inline]
fn class_of(size: usize) -> Option<usize> {
    debug_assert!(size > 0);
    if size <= FINE_MAX {
        Some((size - 1) / 8)
    } else if size <= SPAN_OBJECT_MAX {
        Some(FINE_CLASSES + COARSE_FIRST - SPAN_LINES / size.div_ceil(LINE))
    } else {
        None
    }
}

#[inline]
fn class_bytes(class: usize) -> usize {
    if class < FINE_CLASSES {
        (class + 1) * 8
    } else {
        SPAN_LINES / (COARSE_FIRST - (class - FINE_CLASSES)) * LINE
    }
}

/// The bytes a request of `size` really occupies. Two sizes that round alike can replace each other
/// in place.
#[inline]
pub(super) fn rounded(size: usize) -> usize {
    class_of(size).map_or(size, class_bytes)
}

#[repr(C, align(64))]
struct Span {
    next: *mut Span,
    previous: *mut Span,
    /// Objects that were freed, linked through their first word.
    free: *mut *mut u8,
    used: u32,
    /// Objects handed out at least once; beyond them the span is untouched memory.
    carved: u32,
    capacity: u32,
    class: u32,
    region: u32,
    /// Free for the owner of a span that belongs to no class.
    note: u32,
}

/// The class of spans that are handed out whole.
const WHOLE: u32 = u32::MAX;

const _: () = assert!(size_of::<Span>() == LINE);

struct Region {
    /// Null while this place in the list is vacant.
    base: *mut u8,
    /// One bit per span that belongs to no class.
    free_spans: u32,
    /// A bit for each span it has.
    all_spans: u32,
    /// Whether it is in `empty_regions`.
    noted: bool,
}

struct Inner {
    /// The first span with room, per class (S3).
    with_room: [*mut Span; CLASSES],
    regions: Vec<Region>,
    huge: Regions,
    /// Regions that have a free span.
    regions_with_room: Vec<u32>,
    vacant_regions: Vec<u32>,
    /// Regions that were empty when they were noted here; [`Slab::release`] looks again.
    empty_regions: Vec<u32>,
    used_bytes: usize,
    reserved_bytes: usize,
    free_spans: usize,
    foresight: Foresight,
}

/// The allocator of one shard, shared by its databases through an `Rc`.
pub struct Slab {
    inner: UnsafeCell<Inner>,
    /// Neither `Send` nor `Sync`: one core's memory.
    _one_core: PhantomData<*mut ()>,
}

impl Slab {
    pub fn new() -> Self {
        Self::of(Regions::default())
    }

    /// One whose regions another thread makes ready ahead of need; to be called on the shard's own core.
    pub fn stocked(stock: Arc<RegionStock>) -> Self {
        Self::of(Regions::stocked(stock))
    }

    fn of(huge: Regions) -> Self {
        Self {
            inner: UnsafeCell::new(Inner {
                with_room: [ptr::null_mut(); CLASSES],
                huge,
                regions: Vec::new(),
                regions_with_room: Vec::new(),
                vacant_regions: Vec::new(),
                empty_regions: Vec::new(),
                used_bytes: 0,
                reserved_bytes: 0,
                free_spans: 0,
                foresight: Foresight::default(),
            }),
            _one_core: PhantomData,
        }
    }

    /// Bytes in use, rounded as they are allocated (S4).
    pub fn used_bytes(&self) -> usize {
        self.inner().used_bytes
    }

    /// Bytes held from the global allocator: what is in use and what waits to be used.
    pub fn reserved_bytes(&self) -> usize {
        self.inner().reserved_bytes
    }

    /// Gives at most so many empty regions back; one is kept. Returns whether
    /// there may be more. To be called regularly: freeing alone gives nothing back.
    pub fn release(&self, regions_max: usize) -> bool {
        self.inner().release(regions_max)
    }

    /// To be called about once a second: a shard that has stopped growing gives up what was made ready for it.
    pub fn settle(&self) {
        let Inner { foresight, huge, free_spans, .. } = self.inner();
        if let Some(regions) = foresight.settle(*free_spans) {
            while huge.coming() > regions && huge.give_up_ready() {}
        }
    }

    /// After a snapshot: makes the memory of the next region one huge page again. `position` is where it goes on, at
    /// first 0; false when it has seen all.
    pub fn mend(&self, position: &mut usize) -> bool {
        let regions = &self.inner().regions;
        let is_mendable = |region: &Region| region.is_huge() && !region.base.is_null();
        let found = regions.iter().enumerate().skip(*position).find(|(_, region)| is_mendable(region));
        let Some((index, region)) = found else { return false };
        *position = index + 1;
        // SAFETY: the slab has the region.
        unsafe { regions::mend(region.base) };
        true
    }

    #[allow(clippy::mut_from_ref)]
    #[inline]
    fn inner(&self) -> &mut Inner {
        // SAFETY: the slab stays on one core, and no method calls back into it while it holds this
        // reference, so there is never a second one.
        unsafe { &mut *self.inner.get() }
    }

    /// Memory for `size` bytes, uninitialised, aligned as S5 says.
    #[inline]
    pub(super) fn allocate(&self, size: usize) -> NonNull<u8> {
        self.inner().allocate(size)
    }

    /// # Safety
    /// `object` came from [`Slab::allocate`] of this slab with a size that rounds to the same, and
    /// nobody uses it any more.
    #[inline]
    pub(super) unsafe fn free(&self, object: NonNull<u8>, size: usize) {
        // SAFETY: passed on to the caller.
        unsafe { self.inner().free(object, size) }
    }

    /// A whole span with a note in it. Its first line is the slab's; `SPAN_LINES` lines follow.
    pub(super) fn allocate_span(&self, note: u32) -> NonNull<u8> {
        let inner = self.inner();
        let span = inner.take_span(WHOLE, 0);
        inner.used_bytes += SPAN_BYTES;
        // SAFETY: a fresh span of this slab.
        unsafe {
            (*span).note = note;
            NonNull::new_unchecked(span.cast())
        }
    }

    /// # Safety
    /// `span` came from [`Slab::allocate_span`] and has not been freed.
    pub(super) unsafe fn span_note(&self, span: NonNull<u8>) -> u32 {
        // SAFETY: passed on to the caller.
        unsafe { span.cast::<Span>().as_ref().note }
    }

    /// # Safety
    /// As for [`Slab::span_note`]; and nobody uses the span any more.
    pub(super) unsafe fn free_span(&self, span: NonNull<u8>) {
        let inner = self.inner();
        inner.used_bytes -= SPAN_BYTES;
        inner.return_span(span.as_ptr().cast());
    }
}

impl Default for Slab {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Slab {
    fn drop(&mut self) {
        let inner = self.inner.get_mut();
        debug_assert!(
            inner.used_bytes == 0 || std::thread::panicking(),
            "S4: everything was freed before its slab"
        );
        for region in inner.regions.iter().filter(|region| !region.base.is_null()) {
            if !region.is_huge() {
                // SAFETY: the region was allocated with this layout and is freed once, here. `huge` frees its own.
                unsafe { dealloc(region.base, small_layout()) };
            }
        }
    }
}

impl Region {
    fn is_huge(&self) -> bool {
        self.all_spans.count_ones() == HUGE_REGION_SPANS
    }

    fn bytes(&self) -> usize {
        self.all_spans.count_ones() as usize * SPAN_BYTES
    }

    fn is_empty(&self) -> bool {
        self.free_spans == self.all_spans
    }
}

fn small_layout() -> Layout {
    Layout::from_size_align(SMALL_REGION_BYTES, SPAN_BYTES).expect("powers of two")
}

fn large_layout(size: usize) -> Layout {
    Layout::from_size_align(size, LINE).expect("a size below isize::MAX")
}

/// The span that holds `object` (S1); the provenance stays that of the region.
#[inline]
pub(super) fn span_start(object: NonNull<u8>) -> NonNull<u8> {
    object.map_addr(|address| {
        NonZero::new(address.get() & !(SPAN_BYTES - 1)).expect("no span begins at address 0")
    })
}

impl Inner {
    #[inline]
    fn allocate(&mut self, size: usize) -> NonNull<u8> {
        let Some(class) = class_of(size) else { return self.allocate_large(size) };
        let bytes = class_bytes(class);
        let mut span = self.with_room[class];
        if span.is_null() {
            span = self.new_span(class);
        }
        self.used_bytes += bytes;
        // SAFETY: S3, the span is live, has room, and only this slab refers to it. Its free list
        // links free objects of this span; beyond `carved` lie untouched ones below `capacity`.
        unsafe {
            let object = if (*span).free.is_null() {
                let offset = LINE + (*span).carved as usize * bytes;
                (*span).carved += 1;
                span.cast::<u8>().add(offset)
            } else {
                let object = (*span).free;
                (*span).free = (*object).cast();
                object.cast()
            };
            (*span).used += 1;
            if (*span).used == (*span).capacity {
                self.unlink(span);
            }
            NonNull::new_unchecked(object)
        }
    }

    #[inline]
    unsafe fn free(&mut self, object: NonNull<u8>, size: usize) {
        let Some(class) = class_of(size) else {
            // SAFETY: such sizes come from `allocate_large` with the same layout.
            return unsafe { self.free_large(object, size) };
        };
        self.used_bytes -= class_bytes(class);
        let span: *mut Span = span_start(object).as_ptr().cast();
        // SAFETY: S1, the header of a live span; the object is dead, so its first word is ours.
        unsafe {
            debug_assert_eq!((*span).class as usize, class, "S1");
            let link: *mut *mut u8 = object.as_ptr().cast();
            link.write((*span).free.cast());
            (*span).free = link;
            (*span).used -= 1;
            if (*span).used + 1 == (*span).capacity {
                self.link(span);
            }
            if (*span).used == 0 {
                self.span_emptied(span);
            }
        }
    }

    #[cold]
    fn allocate_large(&mut self, size: usize) -> NonNull<u8> {
        let layout = large_layout(size);
        // SAFETY: the size is not zero.
        let memory = unsafe { alloc(layout) };
        let Some(memory) = NonNull::new(memory) else { handle_alloc_error(layout) };
        self.used_bytes += size;
        self.reserved_bytes += size;
        memory
    }

    #[cold]
    unsafe fn free_large(&mut self, object: NonNull<u8>, size: usize) {
        self.used_bytes -= size;
        self.reserved_bytes -= size;
        // SAFETY: the caller vouches for object and size.
        unsafe { dealloc(object.as_ptr(), large_layout(size)) };
    }

    #[cold]
    fn new_span(&mut self, class: usize) -> *mut Span {
        let capacity = (SPAN_BYTES - LINE) / class_bytes(class);
        let span = self.take_span(class as u32, capacity as u32);
        self.link(span);
        span
    }

    /// A free span of some region, with its header written.
    fn take_span(&mut self, class: u32, capacity: u32) -> *mut Span {
        let region_index = match self.regions_with_room.last() {
            Some(&index) => index,
            None => self.new_region(),
        };
        let region = &mut self.regions[region_index as usize];
        let place = region.free_spans.trailing_zeros() as usize;
        region.free_spans &= region.free_spans - 1;
        if region.free_spans == 0 {
            self.regions_with_room.pop();
        }
        let base = region.base;
        self.free_spans -= 1;
        self.ask_ahead();
        // SAFETY: `place` is one of its spans, so the span lies in the region, and it is free.
        unsafe {
            let span: *mut Span = base.add(place * SPAN_BYTES).cast();
            span.write(Span {
                next: ptr::null_mut(),
                previous: ptr::null_mut(),
                free: ptr::null_mut(),
                used: 0,
                carved: 0,
                capacity,
                class,
                region: region_index,
                note: 0,
            });
            span
        }
    }

    fn new_region(&mut self) -> u32 {
        let huge = if self.next_is_small() { None } else { self.huge.take() };
        let (base, spans) = match huge {
            Some((base, late)) => {
                if late {
                    self.foresight.was_late();
                }
                (base.as_ptr(), HUGE_REGION_SPANS)
            }
            None => {
                let layout = small_layout();
                // SAFETY: the size is not zero.
                let base = unsafe { alloc(layout) };
                if base.is_null() {
                    handle_alloc_error(layout);
                }
                (base, SMALL_REGION_SPANS)
            }
        };
        let all_spans = u32::MAX >> (u32::BITS - spans);
        let region = Region { base, free_spans: all_spans, all_spans, noted: false };
        self.reserved_bytes += region.bytes();
        self.free_spans += spans as usize;
        let index = match self.vacant_regions.pop() {
            Some(index) => {
                self.regions[index as usize] = region;
                index
            }
            None => {
                self.regions.push(region);
                (self.regions.len() - 1) as u32
            }
        };
        self.regions_with_room.push(index);
        index
    }

    fn next_is_small(&self) -> bool {
        self.regions.len() - self.vacant_regions.len() < SMALL_REGIONS
    }

    /// Sees to it that the next regions will be ready when they are needed.
    fn ask_ahead(&mut self) {
        let pending = self.foresight.is_waiting() && self.huge.is_making();
        let regions = self.foresight.span_taken(self.free_spans, pending);
        if regions > self.huge.coming() && !self.next_is_small() && self.huge.ask(regions) {
            self.foresight.has_asked();
        }
    }

    /// One empty span per class is kept, so that a key set and deleted in turn costs nothing.
    #[cold]
    fn span_emptied(&mut self, span: *mut Span) {
        // SAFETY: the caller passes a live span of this slab.
        let alone = unsafe { (*span).next.is_null() && (*span).previous.is_null() };
        if !alone {
            self.unlink(span);
            self.return_span(span);
        }
    }

    /// Gives a span back to its region.
    fn return_span(&mut self, span: *mut Span) {
        // SAFETY: the caller passes a live span of this slab.
        let region_index = unsafe { (*span).region };
        let region = &mut self.regions[region_index as usize];
        let had_room = region.free_spans != 0;
        let place = (span.addr() - region.base.addr()) / SPAN_BYTES;
        region.free_spans |= 1 << place;
        self.free_spans += 1;
        if !had_room {
            self.regions_with_room.push(region_index);
        }
        // A flush empties all regions at almost the same moment, so that giving each back here would be one
        // long pause.
        if region.is_empty() && !region.noted {
            region.noted = true;
            self.empty_regions.push(region_index);
        }
    }

    fn release(&mut self, regions_max: usize) -> bool {
        for _ in 0..regions_max {
            let Some(index) = self.empty_regions.pop() else { return false };
            let region = &mut self.regions[index as usize];
            region.noted = false;
            if !region.is_empty() || self.regions_with_room.len() == 1 {
                continue;
            }
            let (is_huge, bytes) = (region.is_huge(), region.bytes());
            let base = std::mem::replace(&mut region.base, ptr::null_mut());
            self.free_spans -= region.free_spans.count_ones() as usize;
            region.free_spans = 0;
            if is_huge {
                // SAFETY: it came from there; none of its spans is in use.
                unsafe { self.huge.give_back(NonNull::new_unchecked(base)) };
            } else {
                // SAFETY: allocated with this layout; none of its spans is in use.
                unsafe { dealloc(base, small_layout()) };
            }
            self.reserved_bytes -= bytes;
            self.regions_with_room.retain(|&other| other != index);
            self.vacant_regions.push(index);
        }
        !self.empty_regions.is_empty()
    }

    fn link(&mut self, span: *mut Span) {
        // SAFETY: the span and the spans of the class's list are live (S3).
        unsafe {
            let first = &mut self.with_room[(*span).class as usize];
            (*span).next = *first;
            (*span).previous = ptr::null_mut();
            if !first.is_null() {
                (**first).previous = span;
            }
            *first = span;
        }
    }

    fn unlink(&mut self, span: *mut Span) {
        // SAFETY: as in `link`; the span is in its class's list.
        unsafe {
            if (*span).previous.is_null() {
                self.with_room[(*span).class as usize] = (*span).next;
            } else {
                (*(*span).previous).next = (*span).next;
            }
            if !(*span).next.is_null() {
                (*(*span).next).previous = (*span).previous;
            }
            (*span).next = ptr::null_mut();
            (*span).previous = ptr::null_mut();
        }
    }
}

#[cfg(test)]
mod tests;
