//! Clients on their way from one core to another, and who must not miss them.
//!
//! A client that moves is for a moment on no core: in a message. Requests that ask every core about its clients
//! (CLIENT LIST, CLIENT KILL, INFO) would miss it, or see it twice. So they take a *census* first: while it lives
//! nobody sets off, and it begins when nobody is under way. Both sides say first what they want and look then at what
//! the other wants, so that one of them sees the other; who moves gives way, since it can move later.
//!
//! Invariants
//!   M1  While a census that was ready lives, every client is on exactly one core, and stays there or goes for good.
//!   M2  `under_way` counts the clients that have left the registry of one core and have not entered that of
//!       the other.
//!   M3  `Shared::connections` counts a client that is under way for the core that it goes to.

use crate::client::ClientKey;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// Parts of a whole, in which orders count.
pub const WHOLE: u64 = 1000;

/// Shared by the cores and whoever balances them.
#[derive(Default)]
pub struct Moving {
    /// M2.
    under_way: AtomicUsize,
    /// Censuses that live.
    counting: AtomicUsize,
    /// By core.
    cores: Vec<OfCore>,
}

#[repr(align(128))]
#[derive(Default)]
struct OfCore {
    /// A [`MoveOrder`] that the core has not seen yet, or 0.
    order: AtomicU64,
    /// Somebody else has the core's CPU: it gets no new connections.
    taken: AtomicBool,
}

/// Some of a core's busy connections are to go to another core.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MoveOrder {
    pub to: usize,
    /// How many of its busy connections, in parts of [`WHOLE`].
    pub share: u64,
    /// Even if that is less than one.
    pub at_least_one: bool,
}

/// An order in 64 bits; the lowest one says that there is one.
const ORDERED: u64 = 1;
const AT_LEAST_ONE: u64 = 2;
const SHARE_SHIFT: u32 = 2;
const TO_SHIFT: u32 = 32;

/// While it lives nobody sets off.
pub struct Census(Arc<Moving>);

impl Moving {
    pub fn new(cores: usize) -> Arc<Self> {
        Arc::new(Self { cores: (0..cores).map(|_| OfCore::default()).collect(), ..Self::default() })
    }

    /// A client is about to leave the registry of its core; false if it has to stay for now.
    pub fn set_off(&self) -> bool {
        self.under_way.fetch_add(1, Ordering::SeqCst);
        let may_go = self.counting.load(Ordering::SeqCst) == 0;
        if !may_go {
            self.arrived();
        }
        may_go
    }

    /// It has entered another core's.
    pub fn arrived(&self) {
        self.under_way.fetch_sub(1, Ordering::SeqCst);
    }

    pub fn census(self: &Arc<Self>) -> Census {
        self.counting.fetch_add(1, Ordering::SeqCst);
        Census(self.clone())
    }

    /// Takes the place of what was ordered before and not seen.
    pub fn order(&self, core: usize, order: MoveOrder) {
        let at_least_one = if order.at_least_one { AT_LEAST_ONE } else { 0 };
        let share = order.share.min(WHOLE) << SHARE_SHIFT;
        let bits = (order.to as u64) << TO_SHIFT | share | at_least_one | ORDERED;
        self.cores[core].order.store(bits, Ordering::Relaxed);
    }

    /// What a core was ordered since it looked last. One load if that is nothing.
    #[inline]
    pub fn take_order(&self, core: usize) -> Option<MoveOrder> {
        let place = &self.cores[core].order;
        if place.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let bits = place.swap(0, Ordering::Relaxed);
        let share = (bits & (u64::from(u32::MAX))) >> SHARE_SHIFT;
        let to = (bits >> TO_SHIFT) as usize;
        (bits != 0).then_some(MoveOrder { to, share, at_least_one: bits & AT_LEAST_ONE != 0 })
    }

    pub fn set_taken(&self, core: usize, taken: bool) {
        self.cores[core].taken.store(taken, Ordering::Relaxed);
    }

    pub fn is_taken(&self, core: usize) -> bool {
        self.cores[core].taken.load(Ordering::Relaxed)
    }
}

impl Census {
    /// Nobody is under way.
    pub fn is_ready(&self) -> bool {
        self.0.under_way.load(Ordering::SeqCst) == 0
    }
}

impl Drop for Census {
    fn drop(&mut self) {
        self.0.counting.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What a core has been told and has not done yet.
#[derive(Default)]
pub struct Departures {
    /// By name (DEBUG PINION-MOVE-CLIENT): they go when they are at rest, however long that takes.
    pub named: Vec<(ClientKey, usize)>,
    /// How many, and where to.
    pub some: Option<(usize, usize)>,
    /// In how many more turns the core looks for those that are at rest, without sleeping.
    pub looks: u32,
}

impl Departures {
    /// A connection whose reply is being sent is at rest in the next turn, or in the one after that. One that is never
    /// seen at rest in so many turns stays, and the core may sleep again.
    pub const LOOKS: u32 = 16;

    pub fn is_empty(&self) -> bool {
        self.named.is_empty() && self.some.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m1_who_counts_and_who_moves_exclude_each_other() {
        let moving = Moving::new(2);
        assert!(moving.set_off());
        let census = moving.census();
        assert!(!census.is_ready(), "somebody is under way");
        assert!(!moving.set_off(), "and nobody else sets off");
        assert!(!census.is_ready());
        moving.arrived();
        assert!(census.is_ready());
        let second = moving.census();
        drop(census);
        assert!(second.is_ready() && !moving.set_off());
        drop(second);
        assert!(moving.set_off());
    }

    /// Threads that move and threads that count: no census that is ready sees anybody under way.
    #[test]
    fn m1_holds_between_threads() {
        let moving = Moving::new(1);
        let present = Arc::new(AtomicUsize::new(2));
        let movers: Vec<_> = (0..2)
            .map(|_| {
                let (moving, present) = (moving.clone(), present.clone());
                std::thread::spawn(move || {
                    for _ in 0..2000 {
                        if moving.set_off() {
                            present.fetch_sub(1, Ordering::Relaxed);
                            present.fetch_add(1, Ordering::Relaxed);
                            moving.arrived();
                        }
                    }
                })
            })
            .collect();
        for _ in 0..2000 {
            let census = moving.census();
            while !census.is_ready() {
                std::thread::yield_now();
            }
            assert_eq!(present.load(Ordering::Relaxed), 2);
        }
        movers.into_iter().for_each(|mover| mover.join().expect("it ends"));
    }

    #[test]
    fn an_order_is_taken_once() {
        let moving = Moving::new(2);
        for (to, share, at_least_one) in [(0, 0, true), (1, WHOLE, false), (4095, 1, true)] {
            let order = MoveOrder { to, share, at_least_one };
            moving.order(1, order);
            assert_eq!(moving.take_order(0), None);
            assert_eq!(moving.take_order(1), Some(order));
            assert_eq!(moving.take_order(1), None);
        }
    }
}
