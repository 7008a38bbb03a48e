//! The buffers into which the kernel receives: one ring of provided buffers per core. The kernel
//! takes a buffer only when bytes are there, so ten thousand idle connections hold none.
//!
//! Invariants
//!   B1  Every buffer is in exactly one place: offered to the kernel, in a completion that has not
//!       been reaped, in a `Received`, or returned and waiting for the next publication.
//!   B2  Neither the buffers nor the ring of their addresses is unmapped while the kernel may write to
//!       them: the mapping lives as long as any `Received` and the `Ring`, which gives up the
//!       mapping only after its last receive is over.
//!   B3  What was returned is offered again by one store of the tail per turn (`publish`).
//!   B4  Both mappings are MADV_DONTFORK: the snapshot child neither inherits nor copies them, and the
//!       pinned ring of addresses cannot be separated from the kernel's view by a copy on write.
//!       The child must therefore not touch a `Received`.

use std::cell::Cell;
use std::io;
use std::ops::Deref;
use std::ptr::{self, NonNull};
use std::rc::Rc;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;

/// The one group of provided buffers of a ring.
pub(super) const GROUP: u16 = 0;

/// Anonymous memory from the kernel, page-aligned, not inherited by a fork.
struct Mapping {
    address: NonNull<u8>,
    bytes: usize,
}

impl Mapping {
    fn new(bytes: usize) -> io::Result<Mapping> {
        // SAFETY: a new anonymous mapping; nothing else refers to the address the kernel chooses.
        let address = unsafe {
            libc::mmap(
                ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let mapping = Mapping {
            address: NonNull::new(address.cast()).expect("mmap without MAP_FIXED does not map page zero"),
            bytes,
        };
        mapping.advise(libc::MADV_DONTFORK)?; // B4
        Ok(mapping)
    }

    fn advise(&self, advice: i32) -> io::Result<()> {
        // SAFETY: the range is exactly this mapping; none of the advices used discards contents.
        let result = unsafe { libc::madvise(self.address.as_ptr().cast(), self.bytes, advice) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: B2, nobody refers to the mapping any more; its length is what was mapped.
        unsafe { libc::munmap(self.address.as_ptr().cast(), self.bytes) };
    }
}

/// The provided buffers of one ring.
pub(super) struct BufferPool {
    addresses: Mapping,
    memory: Mapping,
    buffer_size: u32,
    mask: u16,
    /// The tail as the kernel knows it; entries behind it are filled when buffers are returned.
    published: Cell<u16>,
    /// The tail including what was returned since.
    filled: Cell<u16>,
    /// Buffers the kernel may take, as far as the reaped completions tell.
    available: Cell<u32>,
}

impl BufferPool {
    /// A pool of `count` buffers, a power of two, of `buffer_size` bytes.
    pub(super) fn new(count: u16, buffer_size: u32) -> io::Result<Rc<BufferPool>> {
        assert!(count.is_power_of_two() && count <= 1 << 15, "the kernel wants a power of two up to 32768");
        assert!(buffer_size > 0);
        let pool = BufferPool {
            addresses: Mapping::new(usize::from(count) * size_of::<BufRingEntry>())?,
            memory: Mapping::new(usize::from(count) * buffer_size as usize)?,
            buffer_size,
            mask: count - 1,
            published: Cell::new(0),
            filled: Cell::new(0),
            available: Cell::new(0),
        };
        for buffer in 0..count {
            pool.give_back(buffer);
        }
        Ok(Rc::new(pool))
    }

    pub(super) fn ring_address(&self) -> u64 {
        self.addresses.address.as_ptr() as u64
    }

    pub(super) fn count(&self) -> u16 {
        self.mask + 1
    }

    /// Buffers that are offered to the kernel; an upper bound, since it may have filled some that
    /// were not reaped yet.
    pub(super) fn available(&self) -> u32 {
        self.available.get()
    }

    fn give_back(&self, buffer: u16) {
        debug_assert!(buffer <= self.mask);
        let place = usize::from(self.filled.get() & self.mask);
        let offset = usize::from(buffer) * self.buffer_size as usize;
        // SAFETY: `place` is at most `mask`, and the mapping holds `mask + 1` entries.
        let entry = unsafe { self.addresses.address.cast::<BufRingEntry>().add(place) };
        // SAFETY: B1 and the mask: at most `count` buffers exist, so this entry is one the kernel has
        // consumed or never saw; it reads it only after `publish`. Fields are written one by one because
        // the reserved field of the first entry is the tail.
        let entry = unsafe { &mut *entry.as_ptr() };
        entry.set_addr(self.memory.address.as_ptr() as u64 + offset as u64);
        entry.set_len(self.buffer_size);
        entry.set_bid(buffer);
        self.filled.set(self.filled.get().wrapping_add(1));
    }

    /// Offers to the kernel what was returned since the last call (B3).
    #[inline]
    pub(super) fn publish(&self) {
        let (published, filled) = (self.published.get(), self.filled.get());
        if published == filled {
            return;
        }
        self.available.set(self.available.get() + u32::from(filled.wrapping_sub(published)));
        // SAFETY: the address is that of the first entry of a live, initialised buffer ring.
        let tail = unsafe { BufRingEntry::tail(self.addresses.address.as_ptr().cast()) };
        // SAFETY: the tail is two aligned bytes inside the mapping, shared with the kernel; nobody
        // in this process holds a reference to them.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        tail.store(filled, Ordering::Release);
        self.published.set(filled);
    }

    /// The bytes of a reaped completion.
    #[inline]
    pub(super) fn received(self: &Rc<Self>, buffer: u16, len: u32) -> Received {
        assert!(buffer <= self.mask && len <= self.buffer_size, "the kernel names a buffer of this pool");
        self.available.set(self.available.get().saturating_sub(1));
        Received { pool: Rc::clone(self), buffer, len }
    }

    /// Keeps the mappings for the rest of the process (B2 for a ring that could not be emptied).
    pub(super) fn leak(self: &Rc<Self>) {
        std::mem::forget(Rc::clone(self));
    }
}

/// Bytes that have arrived, still in the buffer the kernel wrote. Dropping it (or
/// `Ring::recycle`) returns the buffer; hold it for the turn, not longer.
#[must_use]
pub struct Received {
    pool: Rc<BufferPool>,
    buffer: u16,
    len: u32,
}

impl Deref for Received {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        let offset = usize::from(self.buffer) * self.pool.buffer_size as usize;
        // SAFETY: `received` checked that the buffer lies inside the mapping.
        let start = unsafe { self.pool.memory.address.add(offset) };
        // SAFETY: the kernel has written `len` bytes and, B1, does not write again before the buffer
        // is returned; the mapping outlives `self` by its `Rc` (B2).
        unsafe { std::slice::from_raw_parts(start.as_ptr(), self.len as usize) }
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        self.pool.give_back(self.buffer);
    }
}

impl std::fmt::Debug for Received {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Received").field("buffer", &self.buffer).field("len", &self.len).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b1_buffers_go_round() {
        let pool = BufferPool::new(4, 64).expect("memory");
        assert_eq!(pool.available(), 0, "nothing is offered before it is published");
        pool.publish();
        assert_eq!(pool.available(), 4);
        let held: Vec<Received> = (0..4).map(|buffer| pool.received(buffer, 64)).collect();
        assert_eq!(pool.available(), 0);
        let starts: Vec<_> = held.iter().map(|bytes| bytes.as_ptr() as usize).collect();
        assert!(starts.windows(2).all(|pair| pair[1] - pair[0] == 64), "buffers do not overlap");
        drop(held);
        assert_eq!(pool.available(), 0, "B3: returned is not yet published");
        pool.publish();
        assert_eq!(pool.available(), 4);
    }

    #[test]
    fn b2_bytes_outlive_the_owner_of_the_pool() {
        let pool = BufferPool::new(2, 16).expect("memory");
        let received = pool.received(1, 16);
        drop(pool);
        assert_eq!(&*received, &[0; 16]);
    }

    #[test]
    #[should_panic(expected = "a buffer of this pool")]
    fn a_buffer_the_pool_does_not_have_is_refused() {
        let pool = BufferPool::new(2, 16).expect("memory");
        let _ = pool.received(2, 1);
    }
}
