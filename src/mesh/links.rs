//! One core's ends of the N × N queues.
//!
//! Messages are staged during a turn of the core's loop and published together at its end. A core that
//! goes to sleep says so first and looks once more; a core that publishes looks afterwards whether the
//! receiver sleeps. Between them a sequentially consistent fence on both sides makes sure that at least
//! one of them sees the other, so no message waits for a core that sleeps.
//!
//! Invariants
//!   M1  Messages from one core to another arrive in the order in which they were sent.
//!   M2  After `flush`, every core that has something to read is awake or named to the caller.

use super::spsc::{Consumer, Producer, queue};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

/// Messages under way between two cores; more wait on the sender's side.
const QUEUE_CAPACITY: usize = 1024;

#[repr(align(128))]
#[derive(Default)]
struct Parked(AtomicBool);

/// One core's view of the mesh.
pub struct Links<T> {
    own: usize,
    /// By core; our own place is empty.
    peers: Vec<Option<Peer<T>>>,
    parked: Arc<[Parked]>,
}

struct Peer<T> {
    to: Producer<T>,
    from: Consumer<T>,
    /// What did not fit; goes first, so that order is kept.
    backlog: VecDeque<T>,
}

/// All cores' ends; the element at `index` goes to the core of that index.
pub fn mesh<T: Send>(cores: usize) -> Vec<Links<T>> {
    let parked: Arc<[Parked]> = (0..cores).map(|_| Parked::default()).collect();
    let mut links: Vec<Links<T>> = (0..cores)
        .map(|own| Links { own, peers: (0..cores).map(|_| None).collect(), parked: parked.clone() })
        .collect();
    for a in 0..cores {
        for b in a + 1..cores {
            let (a_to_b, b_from_a) = queue(QUEUE_CAPACITY);
            let (b_to_a, a_from_b) = queue(QUEUE_CAPACITY);
            links[a].peers[b] = Some(Peer { to: a_to_b, from: a_from_b, backlog: VecDeque::new() });
            links[b].peers[a] = Some(Peer { to: b_to_a, from: b_from_a, backlog: VecDeque::new() });
        }
    }
    links
}

impl<T: Send> Links<T> {
    /// This core's index.
    pub fn own(&self) -> usize {
        self.own
    }

    pub fn cores(&self) -> usize {
        self.peers.len()
    }

    /// Sends at the end of this turn.
    ///
    /// # Panics
    /// If a core sends to itself: it should have done the work in place.
    pub fn send(&mut self, core: usize, message: T) {
        let peer = self.peers[core].as_mut().expect("a core does not send to itself");
        if !peer.backlog.is_empty() {
            peer.backlog.push_back(message);
        } else if let Err(message) = peer.to.stage(message) {
            peer.backlog.push_back(message);
        }
    }

    /// Publishes what was sent and names each sleeping core that has to be woken.
    pub fn flush(&mut self, mut wake: impl FnMut(usize)) {
        let mut published = false;
        for peer in self.peers.iter_mut().flatten() {
            while let Some(message) = peer.backlog.pop_front() {
                if let Err(message) = peer.to.stage(message) {
                    peer.backlog.push_front(message);
                    break;
                }
            }
            peer.from.release();
            let now = peer.to.publish();
            published |= now;
        }
        if !published {
            return;
        }
        fence(Ordering::SeqCst);
        for (core, parked) in self.parked.iter().enumerate() {
            // The first to take the flag down wakes; the others need not.
            if core != self.own
                && parked.0.load(Ordering::Relaxed)
                && self.peers[core].as_ref().is_some_and(|peer| peer.to.has_unread())
                && parked.0.swap(false, Ordering::AcqRel)
            {
                wake(core);
            }
        }
    }

    /// The next message from `core`.
    pub fn receive(&mut self, core: usize) -> Option<T> {
        self.peers[core].as_mut()?.from.pop()
    }

    /// Messages that wait for room in a full queue: a reason to take in less work.
    pub fn backlog(&self) -> usize {
        self.peers.iter().flatten().map(|peer| peer.backlog.len()).sum()
    }

    /// Whether another core has sent something.
    pub fn has_unread(&self) -> bool {
        self.peers.iter().flatten().any(|peer| peer.from.is_ready())
    }

    /// Declares this core asleep. Returns false, and leaves it awake, if there is something to read.
    pub fn park(&self) -> bool {
        let parked = &self.parked[self.own].0;
        parked.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if self.has_unread() {
            parked.store(false, Ordering::Relaxed);
            return false;
        }
        true
    }

    pub fn unpark(&self) {
        self.parked[self.own].0.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_keep_their_order_even_when_the_queue_is_full() {
        let mut links = mesh::<usize>(2);
        let total = QUEUE_CAPACITY * 2 + 5;
        for number in 0..total {
            links[0].send(1, number);
        }
        assert_eq!(links[0].backlog(), total - QUEUE_CAPACITY);
        let mut received = Vec::new();
        while received.len() < total {
            links[0].flush(|_| {});
            while let Some(number) = links[1].receive(0) {
                received.push(number);
            }
            links[1].flush(|_| {});
        }
        assert!(received.into_iter().eq(0..total), "M1");
    }

    #[test]
    fn a_parked_core_is_named_once_and_only_if_it_has_something_to_read() {
        let mut links = mesh::<u8>(3);
        assert!(links[1].park());
        assert!(links[2].park());
        links[0].send(1, 7);
        let mut woken = Vec::new();
        links[0].flush(|core| woken.push(core));
        assert_eq!(woken, [1], "M2");
        links[0].send(1, 8);
        links[0].flush(|core| woken.push(core));
        assert_eq!(woken, [1], "it is awake already");
        assert_eq!(links[1].receive(0), Some(7));
    }

    #[test]
    fn a_core_with_something_to_read_does_not_park() {
        let mut links = mesh::<u8>(2);
        links[0].send(1, 7);
        assert!(links[1].park(), "not yet published");
        links[1].unpark();
        links[0].flush(|_| {});
        assert!(!links[1].park());
        assert_eq!(links[1].receive(0), Some(7));
        assert!(links[1].park());
    }
}
