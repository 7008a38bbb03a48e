//! One io_uring instance: set up, enter, push, pop. The only file that speaks to `io_uring_enter`.
//!
//! Invariants
//!   K1  Only the thread that made the instance uses it (SINGLE_ISSUER); `Kernel` is not `Send`.
//!   K2  An entry whose completion nobody waits for names no memory of this process.
//!   K3  Completions appear only while this thread is inside `enter` (DEFER_TASKRUN), so a sweep of
//!       the queue ends.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue, types};

use super::RingError;
use super::buffers::{BufferPool, GROUP};

/// How long a turn may wait for its first event.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wait {
    /// Not at all; the system call is avoided when there is nothing to submit and nothing to reap.
    No,
    /// At most this long.
    Until(Duration),
    /// Until something happens.
    Forever,
}

const ENTER_GETEVENTS: u32 = 1 << 0;
const ENTER_EXT_ARG: u32 = 1 << 3;
const ENTER_REGISTERED_RING: u32 = 1 << 4;

const REGISTER_RING_FDS: u32 = 20;
const UNREGISTER_RING_FDS: u32 = 21;

/// The kernel's `io_uring_rsrc_update`.
#[repr(C)]
struct RingDescriptor {
    offset: u32,
    reserved: u32,
    data: u64,
}

pub(super) struct Kernel {
    uring: IoUring,
    /// What `io_uring_enter` takes: the index of the registered descriptor, or the descriptor.
    enter_on: i32,
    enter_flags: u32,
    enters: u64,
    /// K1
    not_send: PhantomData<*const ()>,
}

impl Kernel {
    pub(super) fn new(entries: u32) -> Result<Kernel, RingError> {
        let uring = IoUring::builder()
            .dontfork()
            .setup_cqsize(entries.saturating_mul(4))
            .setup_clamp()
            .setup_submit_all()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .build(entries)
            .map_err(|source| RingError::new("io_uring_setup", source))?;
        let mut kernel =
            Kernel { enter_on: uring.as_raw_fd(), enter_flags: 0, uring, enters: 0, not_send: PhantomData };
        // Not fatal where the limit of registered rings per thread is reached.
        if let Ok(index) = kernel.register_own_descriptor() {
            kernel.enter_on = index;
            kernel.enter_flags = ENTER_REGISTERED_RING;
        }
        Ok(kernel)
    }

    /// Spares `io_uring_enter` the look-up of the descriptor. Made by hand because the crate keeps the
    /// index inside a borrow of the ring.
    fn register_own_descriptor(&self) -> io::Result<i32> {
        let fd = self.uring.as_raw_fd();
        let mut update = RingDescriptor { offset: u32::MAX, reserved: 0, data: fd as u64 };
        self.register_ring_fds(REGISTER_RING_FDS, &mut update)?;
        Ok(update.offset as i32)
    }

    fn register_ring_fds(&self, operation: u32, update: &mut RingDescriptor) -> io::Result<()> {
        let (fd, update) = (self.uring.as_raw_fd(), std::ptr::from_mut(update));
        // SAFETY: the kernel reads and writes one `io_uring_rsrc_update`, which `RingDescriptor` is, during
        // the call.
        let result = unsafe { libc::syscall(libc::SYS_io_uring_register, fd, operation, update, 1) };
        if result == 1 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Makes `pool` the group of buffers that receives choose from.
    ///
    /// # Safety
    /// The pool's mappings must live until every receive of this ring is over and the group is
    /// unregistered or the ring is gone.
    pub(super) unsafe fn register_buffers(&self, pool: &BufferPool) -> Result<(), RingError> {
        let submitter = self.uring.submitter();
        // SAFETY: the address and count describe the pool's ring; its lifetime is the caller's promise.
        unsafe { submitter.register_buf_ring_with_flags(pool.ring_address(), pool.count(), GROUP, 0) }
            .map_err(|source| RingError::new("io_uring_register(REGISTER_PBUF_RING)", source))
    }

    /// Fails only if the kernel does not know the group.
    pub(super) fn unregister_buffers(&self) -> io::Result<()> {
        self.uring.submitter().unregister_buf_ring(GROUP)
    }

    /// Every completion is told to `eventfd` from now on, unless muted.
    pub(super) fn register_eventfd(&self, eventfd: RawFd) -> io::Result<()> {
        self.uring.submitter().register_eventfd(eventfd)
    }

    /// Whether completions are told to the registered eventfd.
    pub(super) fn tell_eventfd(&mut self, tell: bool) {
        let queue = self.uring.completion();
        if tell {
            queue.enable_eventfd();
            // The flag is seen before the kernel's queues are looked at for the last time.
            std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
        } else {
            queue.disable_eventfd();
        }
    }

    /// Queues an entry for the next `enter`; enters at once where the queue is full.
    ///
    /// # Safety
    /// Memory that the entry names must stay valid, and unmoved, until its completion has been popped;
    /// its descriptor must stay open until the entry has been submitted.
    #[inline]
    pub(super) unsafe fn push(&mut self, entry: &squeue::Entry) {
        // SAFETY: the caller's promise is what `push` asks for.
        while unsafe { self.uring.submission().push(entry) }.is_err() {
            self.make_room();
        }
    }

    /// Queues entries of which each waits for the one before: they have to be submitted together.
    ///
    /// # Safety
    /// As for `push`.
    pub(super) unsafe fn push_linked(&mut self, entries: &[squeue::Entry]) {
        // SAFETY: the caller's promise is what `push_multiple` asks for; it queues all or none.
        while unsafe { self.uring.submission().push_multiple(entries) }.is_err() {
            self.make_room();
        }
    }

    #[cold]
    fn make_room(&mut self) {
        // The kernel refuses to submit only for want of memory or while completions overflow; it keeps
        // both off by itself, so this ends.
        self.enter(0, None).expect("the submission queue is full and the kernel does not take it");
    }

    pub(super) fn pop(&mut self) -> Option<cqueue::Entry> {
        self.uring.completion().next()
    }

    pub(super) fn has_completions(&mut self) -> bool {
        !self.uring.completion().is_empty()
    }

    pub(super) fn is_all_submitted(&mut self) -> bool {
        self.uring.submission().is_empty()
    }

    /// Whether completions wait outside the queue until there is room.
    pub(super) fn has_overflowed(&mut self) -> bool {
        self.uring.submission().cq_overflow()
    }

    /// Tries what quiet sends rely on: a send with DONTWAIT, WAITALL and CQE_SKIP_SUCCESS that can only
    /// be done in part must post a completion that tells the part. To be called on an idle instance.
    pub(super) fn completes_what_a_quiet_send_leaves(&mut self) -> bool {
        const BYTES: u32 = 1 << 20;
        let Ok((near, _far)) = UnixStream::pair() else { return false };
        let excess = vec![0u8; BYTES as usize];
        let entry = opcode::Send::new(types::Fd(near.as_raw_fd()), excess.as_ptr(), BYTES)
            .flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL | libc::MSG_DONTWAIT)
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS);
        // SAFETY: DONTWAIT, the send is over when `enter` returns; buffer and socket live longer.
        unsafe { self.push(&entry) };
        if self.enter_now().is_err() {
            return false;
        }
        self.pop().is_some_and(|completion| (1..BYTES as i32).contains(&completion.result()))
    }

    /// Submits what was pushed and waits as told. A signal and an expired wait are no errors.
    #[inline]
    pub(super) fn submit_and_wait(&mut self, wait: Wait) -> io::Result<()> {
        match wait {
            Wait::No => {
                let submission = self.uring.submission();
                if submission.is_empty() && !submission.taskrun() && !submission.cq_overflow() {
                    return Ok(());
                }
                drop(submission);
                self.enter(0, None)
            }
            Wait::Until(limit) => self.enter(1, Some(limit)),
            Wait::Forever => self.enter(1, None),
        }
    }

    /// Submits, runs what the kernel has deferred, and looks at its queues, whatever the flags say.
    pub(super) fn enter_now(&mut self) -> io::Result<()> {
        self.enter(0, None)
    }

    fn enter(&mut self, wanted: u32, limit: Option<Duration>) -> io::Result<()> {
        let to_submit = self.uring.submission().len() as u32;
        self.enters += 1;
        let result = match limit {
            None => self.enter_with::<libc::sigset_t>(to_submit, wanted, ENTER_GETEVENTS, None),
            Some(limit) => {
                let timespec = Timespec::from(limit);
                let arguments = SubmitArgs::new().timespec(&timespec);
                self.enter_with(to_submit, wanted, ENTER_GETEVENTS | ENTER_EXT_ARG, Some(&arguments))
            }
        };
        match result {
            Ok(()) => Ok(()),
            Err(error) => match error.raw_os_error() {
                // EBUSY: completions overflow and must be reaped first. EAGAIN: no memory for the
                // requests just now; they stay queued.
                Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => Ok(()),
                _ => Err(error),
            },
        }
    }

    #[inline]
    fn enter_with<T>(
        &self,
        to_submit: u32,
        wanted: u32,
        flags: u32,
        arguments: Option<&T>,
    ) -> io::Result<()> {
        let arguments_address = arguments.map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: `io_uring_enter` reads `size_of::<T>()` bytes of arguments, borrowed for the call; what the
        // queued entries name was promised at `push`.
        let result = unsafe {
            libc::syscall(
                libc::SYS_io_uring_enter,
                self.enter_on,
                to_submit,
                wanted,
                flags | self.enter_flags,
                arguments_address,
                size_of::<T>(),
            )
        };
        if result >= 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    pub(super) fn enters(&self) -> u64 {
        self.enters
    }

    pub(super) fn descriptor(&self) -> RawFd {
        self.uring.as_raw_fd()
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        if self.enter_flags & ENTER_REGISTERED_RING != 0 {
            // The registration would keep the instance alive for as long as the thread.
            let mut update = RingDescriptor { offset: self.enter_on as u32, reserved: 0, data: 0 };
            let _ = self.register_ring_fds(UNREGISTER_RING_FDS, &mut update);
        }
    }
}
