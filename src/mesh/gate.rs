//! All cores show what they have to one of them, and hold still until it has looked.
//!
//! For the snapshot: the core that forks has to see every shard at a point where none is being changed.
//!
//! | state | by | to |
//! |---|---|---|
//! | gathering | [`Gate::hold_still`] of the last place | gathering, complete |
//! | gathering, complete | [`Gate::with_all`] | looking |
//! | looking | the end of `with_all` | open |
//! | gathering | anybody who gives up | abandoned |
//!
//! Invariants
//!   G1  While the gate is `looking`, everybody who has shown a value waits inside `hold_still`, so that the
//!       value is where it was and nobody changes it.
//!   G2  Nobody leaves `hold_still` but by `open` or `abandoned`, and these two are final.

use crate::base::Monotonic;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU8, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

const GATHERING: u8 = 0;
const LOOKING: u8 = 1;
const OPEN: u8 = 2;
const ABANDONED: u8 = 3;

/// Tries before the thread lets others have the processor, and before it sleeps.
const SPINS: u32 = 200;
const YIELDS: u32 = 200;
/// How often one who sleeps asks whether to give up.
const LOOK: Duration = Duration::from_millis(5);

pub struct Gate<T> {
    state: AtomicU8,
    /// When the first began to hold still, on the monotonic clock; 0 before.
    first_ns: AtomicU64,
    places: Box<[AtomicPtr<T>]>,
    lock: Mutex<()>,
    changed: Condvar,
}

impl<T: Send> Gate<T> {
    pub fn new(places: usize) -> Self {
        Self {
            state: AtomicU8::new(GATHERING),
            first_ns: AtomicU64::new(0),
            places: (0..places).map(|_| AtomicPtr::new(ptr::null_mut())).collect(),
            lock: Mutex::new(()),
            changed: Condvar::new(),
        }
    }

    /// Shows a value and waits until the gate is open; `give_up` says when not to wait for the gathering any longer.
    pub fn hold_still(&self, place: usize, value: &mut T, give_up: impl Fn() -> bool) {
        let now_ns = Monotonic::now().0.max(1);
        // Only the first may set it.
        let _ = self.first_ns.compare_exchange(0, now_ns, Ordering::Relaxed, Ordering::Relaxed);
        let before = self.places[place].swap(value, Ordering::Release);
        assert!(before.is_null(), "each place is taken once");
        self.wait(|| self.is_final(), &give_up);
    }

    /// Waits for all others and looks at everything, in the order of the places; then all go on. Nothing if somebody
    /// gave up before.
    pub fn with_all<R>(
        &self,
        place: usize,
        value: &mut T,
        give_up: impl Fn() -> bool,
        look: impl FnOnce(&[&T]) -> R,
    ) -> Option<R> {
        self.places[place].store(value, Ordering::Release);
        self.wait(|| self.is_final() || self.is_complete(), &give_up);
        if self.state.compare_exchange(GATHERING, LOOKING, Ordering::AcqRel, Ordering::Acquire).is_err() {
            return None;
        }
        // Opens even if `look` unwinds.
        let open = Opener(self);
        let all: Vec<&T> = self
            .places
            .iter()
            // SAFETY: G1, the pointers come from exclusive references that are not used before the gate is open.
            .map(|place| unsafe { &*place.load(Ordering::Acquire) })
            .collect();
        let result = look(&all);
        drop(open);
        Some(result)
    }

    /// When the first began to hold still, if anybody has.
    pub fn held_since_ns(&self) -> Option<u64> {
        Some(self.first_ns.load(Ordering::Relaxed)).filter(|first_ns| *first_ns > 0)
    }

    fn is_complete(&self) -> bool {
        self.places.iter().all(|place| !place.load(Ordering::Acquire).is_null())
    }

    fn is_final(&self) -> bool {
        matches!(self.state.load(Ordering::Acquire), OPEN | ABANDONED)
    }

    fn wait(&self, over: impl Fn() -> bool, give_up: &impl Fn() -> bool) {
        for round in 0..SPINS + YIELDS {
            if over() {
                return;
            }
            if round < SPINS { std::hint::spin_loop() } else { std::thread::yield_now() }
        }
        while !over() {
            if give_up() {
                // In the middle of a look it fails, and the wait goes on.
                let _ =
                    self.state.compare_exchange(GATHERING, ABANDONED, Ordering::AcqRel, Ordering::Acquire);
            }
            let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
            if !over() {
                drop(self.changed.wait_timeout(guard, LOOK));
            }
        }
    }
}

struct Opener<'a, T>(&'a Gate<T>);

impl<T> Drop for Opener<'_, T> {
    fn drop(&mut self) {
        self.0.state.store(OPEN, Ordering::Release);
        drop(self.0.lock.lock().unwrap_or_else(PoisonError::into_inner));
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn one_sees_all_at_rest() {
        let rounds = if cfg!(miri) { 3 } else { 300 };
        for round in 0..rounds {
            let gate = Arc::new(Gate::<u64>::new(3));
            let others: Vec<_> = (1..3)
                .map(|place| {
                    let gate = gate.clone();
                    std::thread::spawn(move || {
                        let mut value = round * 10 + place as u64;
                        gate.hold_still(place, &mut value, || false);
                        value += 1;
                        value
                    })
                })
                .collect();
            let seen = gate.with_all(
                0,
                &mut (round * 10),
                || false,
                |all| all.iter().map(|value| **value).collect::<Vec<u64>>(),
            );
            assert_eq!(seen, Some((0..3).map(|place| round * 10 + place).collect()), "G1");
            let after: u64 = others.into_iter().map(|thread| thread.join().expect("ends")).sum();
            assert_eq!(after, 2 * round * 10 + 3 + 2, "everybody goes on");
        }
    }

    #[test]
    fn who_gives_up_lets_all_go() {
        let gate = Arc::new(Gate::<u64>::new(3));
        let waits = {
            let gate = gate.clone();
            std::thread::spawn(move || gate.hold_still(1, &mut 1, || false))
        };
        assert_eq!(gate.with_all(0, &mut 0, || true, |_| ()), None, "the third never comes");
        waits.join().expect("G2");
    }
}
