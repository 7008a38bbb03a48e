//! One core's ring: the owner of everything that is in flight.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::rc::Rc;
use std::time::Duration;

use io_uring::opcode;

use super::buffers::{BufferPool, Received};
use super::doorbell::Doorbell;
use super::file::File;
use super::kernel::{Kernel, Wait};
use super::listener::Accepting;
use super::operation::{self, Id, Kind, Slab};
use super::stream::Stream;
use super::{Event, FileId, ListenerId, RingError, StreamId};

#[derive(Clone, Copy, Debug)]
pub struct RingOptions {
    /// Entries of the submission queue, a power of two; a turn that needs more enters more than once.
    pub entries: u32,
    /// Bytes of one receive buffer.
    pub recv_buffer_size: u32,
    /// Receive buffers, a power of two up to 32768. They are taken only while bytes wait in them, so
    /// this bounds the events of a turn, not the connections.
    pub recv_buffer_count: u16,
}

impl Default for RingOptions {
    fn default() -> RingOptions {
        RingOptions { entries: 1024, recv_buffer_size: 16 * 1024, recv_buffer_count: 256 }
    }
}

/// What the ring has done since it was made.
#[derive(Clone, Copy, Debug, Default)]
pub struct RingCounters {
    /// Calls of `io_uring_enter`.
    pub enters: u64,
    /// Completions reaped.
    pub completions: u64,
    /// Receives that found no buffer and had to be armed again.
    pub receives_starved: u64,
}

/// How long a ring that is dropped waits for the kernel to let go of its memory.
const WITHDRAW_STEP: Duration = Duration::from_millis(10);
const WITHDRAW_ATTEMPTS: u32 = 100;

/// One core's io_uring and the streams on it. Made, used and dropped on one thread.
pub struct Ring {
    pub(super) kernel: Kernel,
    pub(super) buffers: Rc<BufferPool>,
    pub(super) streams: Slab<Stream>,
    pub(super) listeners: Slab<Accepting>,
    pub(super) files: Slab<File>,
    /// Events that no completion brings: closed streams, sends of nothing.
    pub(super) pending: VecDeque<Event>,
    /// Streams that found no receive buffer, in the order of their turn.
    pub(super) starved: VecDeque<Id>,
    pub(super) doorbell: Doorbell,
    /// Keeps the targets' descriptors until the messages are submitted.
    pub(super) bells_rung: Vec<Doorbell>,
    pub(super) counters: RingCounters,
    /// Whether the kernel completes what a quiet send could not do at once (`stream.rs`).
    pub(super) quiet_sends: bool,
    pub(super) quiet_attempts: u32,
    /// Quiet sends of this turn.
    pub(super) quiet_queued: Vec<(Id, u32)>,
    /// Quiet sends that were submitted and whose completions, if any, are in the queue.
    pub(super) quiet_submitted: Vec<(Id, u32)>,
}

impl Ring {
    /// A ring for the calling thread.
    pub fn new(options: RingOptions) -> Result<Ring, RingError> {
        let mut kernel = Kernel::new(options.entries)?;
        let buffers = BufferPool::new(options.recv_buffer_count, options.recv_buffer_size)
            .map_err(|source| RingError::new("mmap of the receive buffers", source))?;
        // SAFETY: `drop` unmaps the pool only when all receives are over, else it leaks it.
        unsafe { kernel.register_buffers(&buffers)? };
        // SAFETY: the descriptor is open: `kernel` lives.
        let descriptor = unsafe { BorrowedFd::borrow_raw(kernel.descriptor()) };
        let doorbell = Doorbell::new(descriptor).map_err(|source| RingError::new("eventfd", source))?;
        let quiet_sends = kernel.completes_what_a_quiet_send_leaves();
        let mut ring = Ring {
            kernel,
            buffers,
            streams: Slab::new(),
            listeners: Slab::new(),
            files: Slab::new(),
            pending: VecDeque::new(),
            starved: VecDeque::new(),
            doorbell,
            bells_rung: Vec::new(),
            counters: RingCounters::default(),
            quiet_sends,
            quiet_attempts: 0,
            quiet_queued: Vec::new(),
            quiet_submitted: Vec::new(),
        };
        ring.arm_doorbell();
        Ok(ring)
    }

    /// Submits all that was queued since the last call in one system call and waits as told.
    /// Returns without waiting while there are events to take.
    pub fn submit_and_wait(&mut self, wait: Wait) -> io::Result<()> {
        let wait = self.prepare(wait);
        let result = self.kernel.submit_and_wait(wait);
        self.note_submitted();
        result
    }

    /// As `submit_and_wait(Wait::No)`, but looks at the kernel's queues even if its flags show nothing.
    pub(super) fn submit_and_look(&mut self) -> io::Result<()> {
        self.prepare(Wait::No);
        let result = self.kernel.enter_now();
        self.note_submitted();
        result
    }

    fn note_submitted(&mut self) {
        if self.kernel.is_all_submitted() {
            self.bells_rung.clear();
            self.quiet_submitted.append(&mut self.quiet_queued);
        }
    }

    fn prepare(&mut self, wait: Wait) -> Wait {
        self.buffers.publish();
        if !self.starved.is_empty() {
            self.feed_starved();
        }
        if self.has_events() { Wait::No } else { wait }
    }

    /// Whether `next_event` may have something.
    pub fn has_events(&mut self) -> bool {
        !self.pending.is_empty() || !self.quiet_submitted.is_empty() || self.kernel.has_completions()
    }

    /// The next thing that has happened. None ends the turn's sweep.
    #[inline]
    pub fn next_event(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Some(event);
            }
            let Some(completion) = self.kernel.pop() else { return self.quiet_sent() };
            self.counters.completions += 1;
            let (kind, id) = operation::decode(completion.user_data());
            let event = match kind {
                Kind::Receive => self.receive_completed(id, &completion),
                Kind::Send => self.send_completed(id, completion.result()),
                Kind::Accept => self.accept_completed(id, &completion),
                Kind::AcceptRetry => {
                    self.accept_rested(id);
                    None
                }
                Kind::Doorbell => Some(Event::Doorbell),
                Kind::DoorbellPoll => self.doorbell_polled(&completion),
                Kind::FileWrite | Kind::FileSync => self.file_completed(kind, id, &completion),
                Kind::Ignored => None,
            };
            if event.is_some() {
                return event;
            }
        }
    }

    /// Returns a receive buffer; dropping it does the same. It reaches the kernel with the next
    /// `submit_and_wait`.
    #[inline]
    pub fn recycle(&mut self, received: Received) {
        drop(received);
    }

    pub fn counters(&self) -> RingCounters {
        RingCounters { enters: self.kernel.enters(), ..self.counters }
    }

    /// Withdraws the operation with this `user_data`; it still completes, cancelled or not.
    pub(super) fn cancel(&mut self, user_data: u64) {
        let entry =
            opcode::AsyncCancel::new(user_data).build().user_data(operation::encode_global(Kind::Ignored));
        // SAFETY: the entry names no memory and no descriptor.
        unsafe { self.kernel.push(&entry) };
    }

    /// Completions are told to `eventfd` from now on, while not muted by `tell_eventfd`.
    pub(super) fn register_eventfd(&self, eventfd: RawFd) -> io::Result<()> {
        self.kernel.register_eventfd(eventfd)
    }

    pub(super) fn tell_eventfd(&mut self, tell: bool) {
        self.kernel.tell_eventfd(tell);
    }

    /// Takes back everything the kernel has; false if it did not let go in time.
    fn withdraw_all(&mut self) -> bool {
        for id in self.streams.ids() {
            self.close(StreamId(id));
        }
        for id in self.listeners.ids() {
            self.stop_listening(ListenerId(id));
        }
        for id in self.files.ids() {
            self.close_file(FileId(id));
        }
        for _ in 0..WITHDRAW_ATTEMPTS {
            while self.next_event().is_some() {}
            if self.streams.len() == 0 && self.listeners.len() == 0 && self.files.len() == 0 {
                return true;
            }
            if self.submit_and_wait(Wait::Until(WITHDRAW_STEP)).is_err() {
                return false;
            }
        }
        false
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        if self.withdraw_all() && self.kernel.unregister_buffers().is_ok() {
            return;
        }
        // The kernel may still write to or read from this memory: it stays (N1).
        self.buffers.leak();
        self.streams.leak();
        self.files.leak();
    }
}
