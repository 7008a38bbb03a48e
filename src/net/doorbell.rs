//! How one thread wakes another core's ring.
//!
//! A core that has a ring sends a message to the other ring (`Ring::ring_doorbell`); the message leaves
//! with the core's next `enter`. Any other thread writes to an eventfd that the target's ring polls.
//! Either way the target gets `Event::Doorbell`; rings that arrive together may be told once or each.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use io_uring::{cqueue, opcode, squeue, types};

use super::operation::{self, Kind};
use super::ring::Ring;
use super::{Event, socket};

/// POLLIN
const READABLE: u32 = libc::POLLIN as u32;

/// A handle to a ring's bell, for any thread.
#[derive(Clone, Debug)]
pub struct Doorbell {
    target: Arc<Target>,
}

#[derive(Debug)]
struct Target {
    /// A duplicate of the ring's descriptor: messages to a ring that is gone fail, and never reach
    /// whatever has got its number since.
    ring: OwnedFd,
    eventfd: OwnedFd,
}

impl Doorbell {
    pub(super) fn new(ring: BorrowedFd<'_>) -> io::Result<Doorbell> {
        let target = Target { ring: ring.try_clone_to_owned()?, eventfd: socket::eventfd()? };
        Ok(Doorbell { target: Arc::new(target) })
    }

    /// Wakes the target from a thread that has no ring, at the price of a system call.
    pub fn ring_from_any_thread(&self) {
        socket::signal(self.target.eventfd.as_fd());
    }
}

impl Ring {
    /// The bell of this ring.
    pub fn doorbell(&self) -> Doorbell {
        self.doorbell.clone()
    }

    /// Wakes another core; leaves with this ring's next `submit_and_wait`.
    pub fn ring_doorbell(&mut self, target: &Doorbell) {
        let ring = types::Fd(target.target.ring.as_raw_fd());
        let entry = opcode::MsgRingData::new(ring, 0, operation::encode_global(Kind::Doorbell), None)
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS)
            .user_data(operation::encode_global(Kind::Ignored));
        self.bells_rung.push(target.clone());
        // SAFETY: the entry names no memory; `bells_rung` keeps the descriptor until it is submitted.
        unsafe { self.kernel.push(&entry) };
    }

    /// Watches the eventfd. It is never read: each write is a new wake-up for a multishot poll, and
    /// its counter does not fill up before 2^64 of them.
    pub(super) fn arm_doorbell(&mut self) {
        let eventfd = types::Fd(self.doorbell.target.eventfd.as_raw_fd());
        let entry = opcode::PollAdd::new(eventfd, READABLE)
            .multi(true)
            .build()
            .user_data(operation::encode_global(Kind::DoorbellPoll));
        // SAFETY: the entry names no memory; the ring owns a handle to the eventfd.
        unsafe { self.kernel.push(&entry) };
    }

    pub(super) fn doorbell_polled(&mut self, completion: &cqueue::Entry) -> Option<Event> {
        if completion.result() == -libc::ECANCELED {
            return None;
        }
        if !cqueue::more(completion.flags()) {
            self.arm_doorbell();
        }
        Some(Event::Doorbell)
    }
}
