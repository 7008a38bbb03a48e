//! Byte streams over one core's own io_uring. It knows nothing of Redis.
//!
//! A core's loop enters the kernel once per turn: the call submits everything the last turn has queued
//! (sends, cancellations, doorbells) and waits for the first thing to happen. Then the loop takes the events
//! one by one and acts on each. No future per operation, no allocation per event, no map: a completion names its
//! stream by place and generation.
//!
//! ```text
//!   loop {
//!       ring.submit_and_wait(wait)?;                    // one io_uring_enter
//!       while let Some(event) = ring.next_event() {     // a sweep over the completion queue
//!           ...ring.send(stream, buffer)...             // queued for the next enter
//!       }
//!   }
//! ```
//!
//! Sockets must be blocking: io_uring waits on them itself, and answers EAGAIN on others. The limit of open
//! files is noted by the kernel when a listener is armed, so it is raised before `listen`.
//!
//! Invariants: who owns memory and descriptors while the kernel has them
//!   N1  A buffer given to `send` belongs to the ring from the call to the event that gives it back (or to
//!       `Closed`). It is neither moved, written nor freed in between, not even when the stream is
//!       closed or the ring is dropped: a ring that cannot take its operations back leaks their memory.
//!   N2  A stream's place is vacated, and `Closed` told, only when every operation that names the
//!       stream has completed. A completion therefore never meets a later stream.
//!   N3  A descriptor is closed only when no entry, submitted or queued, names it.
//!   N4  After `close` the only event of a stream is `Closed`; after `Closed` there is none, nor after `Detached`.
//!   N5  Bytes are told in the order of the stream and none is lost: not when buffers run out, not
//!       when receiving is paused, not when the kernel ends a multishot by itself.
//!   N6  A `Received` owns its buffer; see `buffers.rs` (B1 to B4).
//!   N7  `Sent` of a quiet send is told in the next sweep that begins after the `submit_and_wait` that
//!       submitted it, whatever ended that wait, and does not end a wait itself.
//!   N8  The socket of `Detached` is whole: what was taken from it has been told, what has not is still in it, and
//!       nothing with this ring's kernel names it.
//!
//! What was tried, and what it gave: PING echo, 50 connections, redis-benchmark on the other CPU of a 2 vCPU VM
//! with Linux 6.18, server CPU (schedstat) per request, lower quartile of 5 to 8 alternating runs. The machine was
//! shared with builds; differences below 3% are noise.
//!   - This ring 5.57 us at P=1 against redis-server 7.0.15's 6.22 (0.90); medians at P=16 0.44 against 0.56 (0.79).
//!   - Receive buffers of 4 KiB instead of 16, or 64 instead of 256 of them: no difference.
//!   - Registered files for sends 5.50, NO_SQARRAY 5.49, without TASKRUN_FLAG 5.41, unregistered ring descriptor
//!     5.49: each within the noise, and their sum too. Not adopted; the ring's descriptor is registered since that
//!     costs nothing else.
//!   - Waiting a minimum time for more events (min_wait_usec): 10 us for 8 events 6.47, 30 us for 16 events 5.67.
//!     The timer costs more than the batch saves, and a lone client would pay the latency. Rejected.
//!   - Quiet sends (`stream.rs`): between 12% better and 2% worse than ordinary ones; offered beside them.
//!   - Not measured yet: receive bundles, SENDMSG_ZC (loopback copies anyway, so it wants a real network).

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;

use crate::disk::AlignedBuffer;
use bytes::Bytes;

pub mod address;
mod buffers;
mod doorbell;
mod file;
mod kernel;
pub mod listener;
mod operation;
mod ring;
mod socket;
mod stream;
pub mod wake;

#[cfg(test)]
mod tests;

pub use address::{BindAddress, BindHost, StreamAddress};
pub use buffers::Received;
pub use doorbell::Doorbell;
pub use kernel::Wait;
pub use listener::{Bound, ListenError, ListenOptions, Listener};
pub use ring::{Ring, RingCounters, RingOptions};
pub use wake::{FilesInFlight, Parking};

/// A stream of a ring. Ids of closed streams find nothing.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct StreamId(operation::Id);

impl StreamId {
    /// A small number that is this stream's until `Closed`, then another's: a place in a vector.
    #[inline]
    pub fn index(self) -> usize {
        self.0.index as usize
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0.index, self.0.generation)
    }
}

/// A listener of a ring.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct ListenerId(operation::Id);

/// A file of a ring.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct FileId(operation::Id);

/// What has happened.
#[derive(Debug)]
pub enum Event {
    /// A connection, on no ring yet: `attach` it here or hand it to another core.
    Accepted { listener: ListenerId, socket: OwnedFd, peer: StreamAddress },
    /// The process or the system is out of descriptors or memory; accepting rests and goes on by itself.
    AcceptFailed { listener: ListenerId, error: io::Error },
    /// The listener's socket is closed.
    ListenerClosed { listener: ListenerId },
    /// Bytes have arrived.
    Received { stream: StreamId, data: Received },
    /// The peer sends no more; it may still read. Nothing more is received.
    EndOfStream { stream: StreamId },
    /// Receiving has failed, as when the peer resets. Nothing more is received.
    Failed { stream: StreamId, error: io::Error },
    /// All of the buffer has left; it comes back empty, for reuse.
    Sent { stream: StreamId, buffer: Vec<u8> },
    /// All parts have left; their vector comes back empty, for reuse.
    SentVectored { stream: StreamId, parts: Vec<Bytes> },
    /// The send has failed, perhaps after a part; the stream is of no more use but to `close`.
    SendFailed { stream: StreamId, error: io::Error },
    /// The stream that was closed is over; its descriptor is closed.
    Closed { stream: StreamId },
    /// A file's operation is over. Errors are the system's; of a sync nothing is told if the write before it failed.
    FileDone {
        file: FileId,
        buffer: Option<AlignedBuffer>,
        written: Result<usize, i32>,
        synced: Option<Result<(), i32>>,
    },
    /// The stream has left this ring, as `detach` wanted; its socket can be attached to another one.
    Detached { stream: StreamId, socket: OwnedFd },
    /// Someone has rung this ring's doorbell.
    Doorbell,
}

/// Why a core has no ring, and what the operator can do.
#[derive(Debug, thiserror::Error)]
#[error("{attempted} failed: {source}. {}", self.remedy())]
pub struct RingError {
    pub attempted: &'static str,
    pub source: io::Error,
}

impl RingError {
    fn new(attempted: &'static str, source: io::Error) -> RingError {
        RingError { attempted, source }
    }

    pub fn errno(&self) -> Option<i32> {
        self.source.raw_os_error()
    }

    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self.errno() {
            Some(libc::ENOSYS) => {
                "The kernel has no io_uring, or a seccomp filter hides it: run Linux 6.1 or newer built with \
                 CONFIG_IO_URING, and in a container allow io_uring_setup, io_uring_enter and io_uring_register \
                 (docker run --security-opt seccomp=...)"
            }
            Some(libc::EPERM | libc::EACCES) => {
                "io_uring is forbidden here: set `sysctl -w kernel.io_uring_disabled=0` (1 allows only \
                 processes with CAP_SYS_ADMIN or of kernel.io_uring_group), and in a container allow io_uring_setup, \
                 io_uring_enter and io_uring_register in the seccomp profile"
            }
            Some(libc::ENOMEM) => {
                "Not enough lockable memory: raise the limit with `ulimit -l unlimited`, LimitMEMLOCK=infinity in \
                 the systemd unit, or --ulimit memlock=-1 for a container"
            }
            Some(libc::EINVAL) => "The kernel is too old: Linux 6.1 or newer is needed",
            Some(libc::EMFILE) => {
                "The limit of open files is reached: raise it with `ulimit -n`, or LimitNOFILE in the systemd unit"
            }
            Some(libc::ENFILE) => "The system is out of open files: raise fs.file-max",
            _ => "This is unexpected; please report it together with the kernel's version",
        }
    }
}
