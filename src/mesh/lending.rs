//! A core that is in the kernel, asleep or sending, lends its shard.
//!
//! Sending a command to a core that sleeps costs two wake-ups, one there and one back: more than most
//! commands cost altogether. So a core gives its shard out of its hands whenever it enters the kernel, and
//! takes it back when it returns; in between another core that has work for it may do that work itself.
//! There is never a wait for a loan: a shard that is not free is sent a message. Handlers still run one at
//! a time on a shard, so atomicity is what it was.
//!
//! Invariants
//!   L1  A value is touched only by the core that holds it: its owner from `take_back` to `lend`, a borrower
//!       from a successful `borrow` to the drop of what that gave.
//!   L2  An owner that waits for its value is the next to get it: nobody borrows while `wanted` is set.

use std::ops::{Deref, DerefMut};

#[cfg(loom)]
use loom::{
    cell::UnsafeCell,
    sync::Arc,
    sync::atomic::{AtomicBool, Ordering},
};
#[cfg(not(loom))]
use std::{
    cell::UnsafeCell,
    sync::Arc,
    sync::atomic::{AtomicBool, Ordering},
};

/// Tries of an owner before it lets another thread have the processor: the borrower may need it.
#[cfg(not(loom))]
const SPINS: u32 = 128;

#[repr(align(128))]
struct Cell<T> {
    held: AtomicBool,
    wanted: AtomicBool,
    value: UnsafeCell<Option<T>>,
}

// SAFETY: L1, the value is reached by one thread at a time, and `held` orders their accesses.
unsafe impl<T: Send> Sync for Cell<T> {}
// SAFETY: nothing in a cell is tied to a thread but the value, which is `Send`.
unsafe impl<T: Send> Send for Cell<T> {}

/// One core's own value, and its way to those of the others.
pub struct Owned<T> {
    cells: Arc<[Cell<T>]>,
    own: usize,
    held: bool,
}

/// The way to the others' values apart from one's own: several can be held at once with it.
pub struct Lender<T> {
    cells: Arc<[Cell<T>]>,
    own: usize,
}

/// Another core's value, for a moment.
pub struct Borrowed<'a, T> {
    cell: &'a Cell<T>,
}

/// One place for each core; each is held by its core and empty.
pub fn lending<T: Send>(cores: usize) -> Vec<Owned<T>> {
    let cell = |_| Cell {
        held: AtomicBool::new(true),
        wanted: AtomicBool::new(false),
        value: UnsafeCell::new(None),
    };
    let cells: Vec<Cell<T>> = (0..cores).map(cell).collect();
    let cells: Arc<[Cell<T>]> = cells.into();
    (0..cores).map(|own| Owned { cells: cells.clone(), own, held: true }).collect()
}

impl<T: Send> Owned<T> {
    /// Puts the value in its place; made by its own core, so that its memory is near.
    pub fn install(&mut self, value: T) {
        assert!(self.held, "L1");
        let place = self.cells[self.own].value.get();
        // SAFETY: L1, we hold the cell.
        unsafe { *place = Some(value) };
    }

    /// Others may use the value from now on.
    #[inline]
    pub fn lend(&mut self) {
        if self.held {
            self.held = false;
            self.cells[self.own].held.store(false, Ordering::Release);
        }
    }

    /// Waits for a borrower, if there is one, and holds the value again.
    #[inline]
    pub fn take_back(&mut self) {
        if self.held {
            return;
        }
        let cell = &self.cells[self.own];
        if !cell.acquire() {
            cell.wait();
        }
        self.held = true;
    }

    pub fn lender(&self) -> Lender<T> {
        Lender { cells: self.cells.clone(), own: self.own }
    }
}

impl<T: Send> Lender<T> {
    /// The value of another core, if that is not using it.
    #[inline]
    pub fn borrow(&self, core: usize) -> Option<Borrowed<'_, T>> {
        let cell = &self.cells[core];
        let free = core != self.own
            && !cell.wanted.load(Ordering::Relaxed)
            && !cell.held.load(Ordering::Relaxed)
            && cell.acquire();
        // Not `then_some`: that would make the loan first, and dropping it would free what another holds.
        free.then(|| Borrowed { cell })
    }
}

impl<T> Cell<T> {
    #[inline]
    fn acquire(&self) -> bool {
        self.held.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    #[cold]
    fn wait(&self) {
        self.wanted.store(true, Ordering::Relaxed);
        #[cfg(not(loom))]
        let mut tries = 0;
        while !self.acquire() {
            #[cfg(loom)]
            loom::thread::yield_now();
            #[cfg(not(loom))]
            {
                tries += 1;
                if tries < SPINS { std::hint::spin_loop() } else { std::thread::yield_now() }
            }
        }
        self.wanted.store(false, Ordering::Relaxed);
    }
}

impl<T> Deref for Owned<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        assert!(self.held, "L1");
        // SAFETY: L1, we hold the cell, and the reference borrows `self`, without which it cannot be lent.
        let value = unsafe { &*self.cells[self.own].value.get() };
        value.as_ref().expect("installed before anything else")
    }
}

impl<T> DerefMut for Owned<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        assert!(self.held, "L1");
        // SAFETY: as in `deref`; `&mut self` makes the reference the only one.
        let value = unsafe { &mut *self.cells[self.own].value.get() };
        value.as_mut().expect("installed before anything else")
    }
}

impl<T> Deref for Borrowed<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: L1, a `Borrowed` holds the cell until it is dropped.
        let value = unsafe { &*self.cell.value.get() };
        value.as_ref().expect("lent after it was installed")
    }
}

impl<T> DerefMut for Borrowed<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`; `&mut self` makes the reference the only one.
        let value = unsafe { &mut *self.cell.value.get() };
        value.as_mut().expect("lent after it was installed")
    }
}

impl<T> Drop for Borrowed<'_, T> {
    fn drop(&mut self) {
        self.cell.held.store(false, Ordering::Release);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_lent_can_be_borrowed_and_only_once() {
        let mut cores = lending::<u32>(2);
        let mut b = cores.pop().expect("two");
        let a = cores.pop().expect("two").lender();
        b.install(7);
        assert!(a.borrow(1).is_none(), "its core holds it");
        b.lend();
        let mut borrowed = a.borrow(1).expect("lent");
        *borrowed += 1;
        assert!(a.borrow(1).is_none(), "one at a time");
        drop(borrowed);
        b.take_back();
        assert_eq!(*b, 8);
        assert!(a.borrow(1).is_none(), "taken back");
    }

    #[test]
    #[should_panic(expected = "L1")]
    fn an_owner_does_not_touch_what_it_has_lent() {
        let mut core = lending::<u32>(1).pop().expect("one");
        core.install(7);
        core.lend();
        let _ = *core;
    }

    /// Unsynchronised additions would be lost.
    #[test]
    fn owner_and_borrowers_exclude_each_other() {
        let rounds = if cfg!(miri) { 50 } else { 20_000 };
        let threads: Vec<_> = lending::<u64>(3)
            .into_iter()
            .enumerate()
            .map(|(own, mut core)| {
                std::thread::spawn(move || {
                    core.install(0);
                    let lender = core.lender();
                    let mut done = 0u64;
                    for round in 0..rounds {
                        core.lend();
                        if let Some(mut other) = lender.borrow((own + 1 + round % 2) % 3) {
                            *other += 1;
                            done += 1;
                        }
                        core.take_back();
                        *core += 1;
                        done += 1;
                    }
                    core.lend();
                    (core, done)
                })
            })
            .collect();
        let ended: Vec<_> = threads.into_iter().map(|thread| thread.join().expect("ends")).collect();
        let done: u64 = ended.iter().map(|(_, done)| done).sum();
        let total: u64 = ended
            .into_iter()
            .map(|(mut core, _)| {
                core.take_back();
                *core
            })
            .sum();
        assert_eq!(total, done, "L1");
    }
}
