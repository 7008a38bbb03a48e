//! The queue between two cores: one producer, one consumer, no lock.
//!
//! The producer stages elements without touching shared memory beyond their slots and publishes them all
//! with one store, once per turn of its loop; the consumer does the same with what it has taken.
//!
//! Invariants
//!   Q1  Slots in `[head, tail)` hold elements; all others are uninitialised.
//!   Q2  Only the producer writes `tail`, only the consumer writes `head`; both only grow.
//!   Q3  `tail - head <= capacity`, and capacity is a power of two.
//!   Q4  An element staged and not yet published is seen by nobody but the producer.

use std::mem::MaybeUninit;

#[cfg(loom)]
use loom::{
    cell::UnsafeCell,
    sync::Arc,
    sync::atomic::{AtomicUsize, Ordering},
};
#[cfg(not(loom))]
use std::{
    sync::Arc,
    sync::atomic::{AtomicUsize, Ordering},
};

/// `loom` wants to see each access to the cell; the real one costs nothing.
#[cfg(not(loom))]
struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

#[cfg(not(loom))]
impl<T> UnsafeCell<T> {
    fn new(value: T) -> Self {
        Self(std::cell::UnsafeCell::new(value))
    }

    fn with<R>(&self, access: impl FnOnce(*const T) -> R) -> R {
        access(self.0.get())
    }

    fn with_mut<R>(&self, access: impl FnOnce(*mut T) -> R) -> R {
        access(self.0.get())
    }
}

/// Two cache lines: adjacent lines are fetched in pairs.
#[repr(align(128))]
struct Padded<T>(T);

struct Shared<T> {
    head: Padded<AtomicUsize>,
    tail: Padded<AtomicUsize>,
    slots: Box<[UnsafeCell<MaybeUninit<T>>]>,
}

// SAFETY: Q1 and Q2 give every slot exactly one owner at a time; `T` moves from one thread to the other.
unsafe impl<T: Send> Send for Shared<T> {}
// SAFETY: as above; the shared reference is only used through `Producer` and `Consumer`.
unsafe impl<T: Send> Sync for Shared<T> {}

pub struct Producer<T> {
    shared: Arc<Shared<T>>,
    /// Staged up to here; published up to `published`.
    tail: usize,
    published: usize,
    /// The consumer's `head` as last seen.
    head_seen: usize,
}

pub struct Consumer<T> {
    shared: Arc<Shared<T>>,
    head: usize,
    /// The producer's `tail` as last seen.
    tail_seen: usize,
    /// `head` as last published.
    released: usize,
}

/// A queue of at least `capacity` elements.
pub fn queue<T: Send>(capacity: usize) -> (Producer<T>, Consumer<T>) {
    let capacity = capacity.next_power_of_two();
    let slots = (0..capacity).map(|_| UnsafeCell::new(MaybeUninit::uninit())).collect();
    let shared =
        Arc::new(Shared { head: Padded(AtomicUsize::new(0)), tail: Padded(AtomicUsize::new(0)), slots });
    (
        Producer { shared: shared.clone(), tail: 0, published: 0, head_seen: 0 },
        Consumer { shared, head: 0, tail_seen: 0, released: 0 },
    )
}

impl<T> Shared<T> {
    fn slot(&self, position: usize) -> &UnsafeCell<MaybeUninit<T>> {
        &self.slots[position & (self.slots.len() - 1)]
    }
}

impl<T> Producer<T> {
    /// Stages an element; gives it back if the queue is full.
    pub fn stage(&mut self, element: T) -> Result<(), T> {
        if self.tail - self.head_seen == self.shared.slots.len() {
            self.head_seen = self.shared.head.0.load(Ordering::Acquire);
            if self.tail - self.head_seen == self.shared.slots.len() {
                return Err(element);
            }
        }
        self.shared.slot(self.tail).with_mut(|slot| {
            // SAFETY: Q1 and Q3, the slot at `tail` is outside `[head, tail)` and only we write there.
            unsafe { (*slot).write(element) };
        });
        self.tail += 1;
        Ok(())
    }

    /// Whether the consumer has not taken everything yet, as far as it has told.
    pub fn has_unread(&self) -> bool {
        self.shared.head.0.load(Ordering::Relaxed) != self.published
    }

    /// Shows the consumer everything staged; tells whether there was anything.
    pub fn publish(&mut self) -> bool {
        if self.published == self.tail {
            return false;
        }
        self.shared.tail.0.store(self.tail, Ordering::Release);
        self.published = self.tail;
        true
    }
}

impl<T> Consumer<T> {
    pub fn pop(&mut self) -> Option<T> {
        if self.head == self.tail_seen {
            self.tail_seen = self.shared.tail.0.load(Ordering::Acquire);
            if self.head == self.tail_seen {
                return None;
            }
        }
        let element = self.shared.slot(self.head).with(|slot| {
            // SAFETY: Q1, the slot at `head` is inside `[head, tail)`; moving `head` on gives it up.
            unsafe { (*slot).assume_init_read() }
        });
        self.head += 1;
        Some(element)
    }

    /// Gives the slots of what was popped back to the producer.
    pub fn release(&mut self) {
        if self.released != self.head {
            self.shared.head.0.store(self.head, Ordering::Release);
            self.released = self.head;
        }
    }

    /// Whether the producer has published something that was not popped.
    pub fn is_ready(&self) -> bool {
        self.head != self.shared.tail.0.load(Ordering::SeqCst)
    }
}

impl<T> Drop for Producer<T> {
    fn drop(&mut self) {
        // What was staged belongs to the consumer from now on, so that exactly one side drops it.
        self.publish();
    }
}

impl<T> Drop for Consumer<T> {
    fn drop(&mut self) {
        while self.pop().is_some() {}
        self.release();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn nothing_is_seen_before_it_is_published() {
        let (mut producer, mut consumer) = queue(4);
        producer.stage(1).expect("room");
        assert_eq!(consumer.pop(), None, "Q4");
        assert!(producer.publish());
        assert!(!producer.publish(), "nothing new");
        assert_eq!(consumer.pop(), Some(1));
    }

    #[test]
    fn a_full_queue_gives_the_element_back_and_goes_on_after_release() {
        let (mut producer, mut consumer) = queue(2);
        producer.stage(1).expect("room");
        producer.stage(2).expect("room");
        assert_eq!(producer.stage(3), Err(3));
        producer.publish();
        assert_eq!(consumer.pop(), Some(1));
        assert_eq!(producer.stage(3), Err(3), "popped but not yet released");
        consumer.release();
        producer.stage(3).expect("room again");
        producer.publish();
        assert_eq!((consumer.pop(), consumer.pop(), consumer.pop()), (Some(2), Some(3), None));
    }

    #[test]
    fn every_element_is_dropped_once() {
        let token = Arc::new(());
        let (mut producer, mut consumer) = queue(8);
        for _ in 0..5 {
            producer.stage(token.clone()).expect("room");
        }
        producer.publish();
        drop(consumer.pop());
        producer.stage(token.clone()).expect("room");
        drop(producer);
        drop(consumer);
        assert_eq!(Arc::strong_count(&token), 1);
    }

    #[test]
    fn two_threads_see_every_element_in_order() {
        let total = if cfg!(miri) { 500 } else { 200_000u64 };
        let (mut producer, mut consumer) = queue(64);
        let sender = std::thread::spawn(move || {
            for number in 0..total {
                while producer.stage(number).is_err() {
                    producer.publish();
                    std::thread::yield_now();
                }
                if number % 7 == 0 {
                    producer.publish();
                }
            }
        });
        let mut next = 0;
        while next < total {
            match consumer.pop() {
                Some(number) => {
                    assert_eq!(number, next);
                    next += 1;
                }
                None => {
                    consumer.release();
                    std::thread::yield_now();
                }
            }
        }
        sender.join().expect("the sender ends");
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;

    /// Run with `RUSTFLAGS="--cfg loom" cargo test --lib --release mesh`.
    #[test]
    fn all_interleavings_deliver_in_order() {
        loom::model(|| {
            let (mut producer, mut consumer) = queue(2);
            let sender = loom::thread::spawn(move || {
                let mut number = 0;
                while number < 3 {
                    if producer.stage(number).is_ok() {
                        number += 1;
                    } else {
                        loom::thread::yield_now();
                    }
                    producer.publish();
                }
            });
            let mut next = 0;
            while next < 3 {
                match consumer.pop() {
                    Some(number) => {
                        assert_eq!(number, next);
                        next += 1;
                    }
                    None => {
                        consumer.release();
                        loom::thread::yield_now();
                    }
                }
            }
            sender.join().expect("the sender ends");
        });
    }
}
