//! A bucket of the hash table: seven pointers and what is needed to reject a wrong key without
//! following any of them, in one cache line.
//!
//! ```text
//! byte  0..7    a tag per slot, 8 hash bits; 0 = the slot is empty
//! byte  7       passed: how many items probed past this bucket because it was full, saturating
//! byte  8..64   slots: 48 bits of pointer, and 16 more hash bits in its upper part
//! ```
//!
//! Invariants
//!   G1  A slot holds an item exactly if its tag is not 0.
//!   G2  `passed == 0` means: an item whose probe starts at or before this bucket and has reached it
//!       is in it or nowhere. A value of 255 is sticky, since it no longer counts.

use std::ptr::NonNull;

pub(super) const SLOTS: usize = 7;
const ALL: u8 = 0x7f;
const POINTER: usize = (1 << 48) - 1;
const SATURATED: u8 = u8::MAX;

/// What the table stores: the address of an entry.
pub(super) type Item = NonNull<u8>;

#[repr(C, align(64))]
pub(super) struct Bucket {
    tags: [u8; SLOTS],
    passed: u8,
    slots: [*mut u8; SLOTS],
}

const _: () = assert!(size_of::<Bucket>() == 64);

#[inline]
fn assert_unchecked_slot(slot: usize) {
    debug_assert!(slot < SLOTS);
    // SAFETY: `Slots` never has a bit beyond `ALL`, and every caller's number comes from there.
    unsafe { std::hint::assert_unchecked(slot < SLOTS) };
}

/// The slots of a bucket for which something holds, one bit each.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Slots(u8);

impl Slots {
    #[inline]
    pub fn first(self) -> Option<usize> {
        (self.0 != 0).then_some(self.0.trailing_zeros() as usize)
    }

    #[inline]
    pub fn count(self) -> usize {
        self.0.count_ones() as usize
    }
}

impl Iterator for Slots {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        let slot = self.first()?;
        self.0 &= self.0 - 1;
        Some(slot)
    }
}

impl Bucket {
    pub const EMPTY: Self = Self { tags: [0; SLOTS], passed: 0, slots: [std::ptr::null_mut(); SLOTS] };

    /// The slots with exactly this tag.
    #[inline]
    pub fn with_tag(&self, tag: u8) -> Slots {
        #[cfg(all(target_arch = "x86_64", target_feature = "sse2", not(miri)))]
        {
            let line: *const Self = self;
            // SAFETY: the first 8 bytes of the bucket are its tags and `passed`, all readable; SSE2 is there.
            Slots(unsafe { equal_bytes(line.cast(), tag) } & ALL)
        }
        #[cfg(not(all(target_arch = "x86_64", target_feature = "sse2", not(miri))))]
        self.with_tag_portable(tag)
    }

    #[allow(dead_code)]
    fn with_tag_portable(&self, tag: u8) -> Slots {
        let mut bits = 0;
        for (slot, &other) in self.tags.iter().enumerate() {
            bits |= u8::from(other == tag) << slot;
        }
        Slots(bits)
    }

    #[inline]
    pub fn vacant(&self) -> Slots {
        self.with_tag(0)
    }

    #[inline]
    pub fn occupied(&self) -> Slots {
        Slots(!self.vacant().0 & ALL)
    }

    #[inline]
    pub fn item(&self, slot: usize) -> Item {
        debug_assert!(self.tags[slot] != 0, "G1");
        let pointer = self.slot(slot).map_addr(|address| address & POINTER);
        // SAFETY: G1, an occupied slot was filled from a `NonNull` below 2^48.
        unsafe { NonNull::new_unchecked(pointer) }
    }

    /// The hash bits kept beside the pointer.
    #[inline]
    pub fn bits(&self, slot: usize) -> u16 {
        (self.slot(slot).addr() >> 48) as u16
    }

    #[inline]
    fn slot(&self, slot: usize) -> *mut u8 {
        // Numbers come from `Slots`, which has bits for the slots only; this tells the compiler.
        assert_unchecked_slot(slot);
        self.slots[slot]
    }

    #[inline]
    pub fn tag(&self, slot: usize) -> u8 {
        self.tags[slot]
    }

    #[inline]
    pub fn fill(&mut self, slot: usize, tag: u8, bits: u16, item: Item) {
        debug_assert!(tag != 0, "G1");
        assert!(item.addr().get() <= POINTER, "user space ends at 2^47");
        self.tags[slot] = tag;
        self.slots[slot] = item.as_ptr().map_addr(|address| address | usize::from(bits) << 48);
    }

    /// Points an occupied slot to another item with the same hash.
    #[inline]
    pub fn replace(&mut self, slot: usize, item: Item) {
        self.fill(slot, self.tags[slot], self.bits(slot), item);
    }

    #[inline]
    pub fn empty(&mut self, slot: usize) {
        debug_assert!(self.tags[slot] != 0, "G1");
        self.tags[slot] = 0;
    }

    #[inline]
    pub fn was_passed(&self) -> bool {
        self.passed != 0
    }

    #[inline]
    pub fn pass(&mut self) {
        self.passed = self.passed.saturating_add(1);
    }

    #[inline]
    pub fn unpass(&mut self) {
        debug_assert!(self.passed > 0, "G2");
        if self.passed != SATURATED {
            self.passed -= 1;
        }
    }
}

/// Which of the 8 bytes at `at` equal `byte`.
///
/// # Safety
/// 8 bytes can be read there.
#[cfg(all(target_arch = "x86_64", target_feature = "sse2", not(miri)))]
#[target_feature(enable = "sse2")]
#[inline]
unsafe fn equal_bytes(at: *const u8, byte: u8) -> u8 {
    use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_loadl_epi64, _mm_movemask_epi8, _mm_set1_epi8};
    // SAFETY: passed on to the caller.
    let bytes = unsafe { _mm_loadl_epi64(at.cast()) };
    _mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(byte as i8))) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_searches_agree() {
        let mut bucket = Bucket::EMPTY;
        for round in 0..1000u32 {
            for slot in 0..SLOTS {
                bucket.tags[slot] = (round.wrapping_mul(2_654_435_761) >> (slot * 3)) as u8 & 3;
            }
            bucket.passed = round as u8 & 3;
            for tag in 0..4 {
                assert_eq!(bucket.with_tag(tag), bucket.with_tag_portable(tag));
                let slow: Vec<usize> = (0..SLOTS).filter(|&slot| bucket.tags[slot] == tag).collect();
                assert_eq!(bucket.with_tag(tag).collect::<Vec<_>>(), slow);
            }
            assert_eq!(bucket.occupied().count() + bucket.vacant().count(), SLOTS);
        }
    }

    #[test]
    fn a_saturated_count_stays() {
        let mut bucket = Bucket::EMPTY;
        (0..300).for_each(|_| bucket.pass());
        (0..300).for_each(|_| bucket.unpass());
        assert!(bucket.was_passed());
    }
}
