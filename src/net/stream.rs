//! Streams of bytes: receive, send, half-close, close.
//!
//! Receiving is one multishot operation per stream:
//! ```text
//!   Armed ---- end of stream, error ------------------> Over
//!     | ^ \--- no buffer left --> Starved --buffers---> Armed
//!     | +----- resume, or MORE was lost --- Idle
//!     v                                      ^
//!   Cancelling ------- last completion ------+  (or Armed again, if resumed meanwhile)
//! ```
//! A stream that leaves the ring is in `Cancelling` too, and its place is vacated with the last completion, unless
//! something was told of it meanwhile.
//!
//! Sending is one operation at a time; what the kernel took in part is submitted again from where it
//! stopped, and only the whole is told.
//!
//! A quiet send leaves no completion when it succeeds at once, which a small one practically always does:
//! it is submitted with DONTWAIT, WAITALL and CQE_SKIP_SUCCESS, so it is over when `enter` returns, and
//! anything but complete success (a part, EAGAIN, an error) posts a completion. When the sweep after that
//! `enter` has found none, the send has succeeded. This saves more than the completion: an ordinary
//! send's completion ends the wait of the very call that submits it, and each turn enters twice.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use bytes::Bytes;
use io_uring::{cqueue, opcode, squeue, types};

use super::address::StreamAddress;
use super::buffers::GROUP;
use super::operation::{self, Id, Kind};
use super::ring::Ring;
use super::{Event, StreamId, socket};

/// More pieces than this are not taken by one call of the kernel.
const PIECES_MAX: usize = 1024;

/// The kernel cuts longer sends to a page boundary below 2 GiB.
/// Tests take less, so that they see a send go on.
const SEND_BYTES_MAX: usize = if cfg!(test) { 100_000 } else { 0x7fff_f000 };

/// Longer sends do not fit into a socket's buffer often enough to be tried quietly.
const QUIET_BYTES_MAX: usize = 128 * 1024;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Receiving {
    /// A multishot receive is with the kernel.
    Armed,
    /// As `Armed`, and its cancellation is on the way.
    Cancelling,
    /// Waits in `Ring::starved` for a buffer.
    Starved,
    /// Not armed, because receiving is paused.
    Idle,
    /// The peer has ended or reset the stream.
    Over,
}

/// What a send that is in flight refers to; its memory stays where it is until the last completion.
enum Outgoing {
    Plain { buffer: Vec<u8>, sent: usize },
    Vectored(Box<Vectored>),
}

struct Vectored {
    parts: Vec<Bytes>,
    /// One per part; advanced as bytes leave.
    pieces: Vec<libc::iovec>,
    /// The first piece with bytes left.
    first: usize,
    header: libc::msghdr,
}

pub(super) struct Stream {
    socket: OwnedFd,
    receiving: Receiving,
    sending: Option<Outgoing>,
    paused: bool,
    closing: bool,
    shutdown_after_send: bool,
    /// With `Cancelling`: `detach` was called, and nothing has called it off.
    leaving: bool,
    /// The number of the quiet attempt that `sending` is; None when its completion is certain to come.
    quiet: Option<u32>,
}

impl Ring {
    /// Takes over a connected, blocking socket and starts receiving from it.
    pub fn attach(&mut self, socket: OwnedFd) -> StreamId {
        // io_uring answers EAGAIN on a non-blocking socket instead of waiting.
        debug_assert!(!socket::is_nonblocking(socket.as_fd()), "attach wants a blocking socket");
        let id = self.streams.insert(Stream {
            socket,
            receiving: Receiving::Idle,
            sending: None,
            paused: false,
            closing: false,
            shutdown_after_send: false,
            leaving: false,
            quiet: None,
        });
        self.arm_receive(id);
        StreamId(id)
    }

    /// Begins to give the stream up, so that another ring can attach its socket: `Event::Detached` hands that out, and
    /// then the stream is over. Whatever else happens to the stream first calls it off, and the stream stays:
    /// `Received`, `EndOfStream` or `Failed` is told, no buffer was left, something is sent, receiving is paused.
    /// False if it cannot begin now.
    pub fn detach(&mut self, stream: StreamId) -> bool {
        let Some(found) = self.streams.find(stream.0) else { return false };
        if found.closing || found.receiving != Receiving::Armed || found.sending.is_some() {
            return false;
        }
        found.leaving = true;
        found.receiving = Receiving::Cancelling;
        self.cancel(operation::encode(Kind::Receive, stream.0));
        true
    }

    /// Streams that are attached, those being closed included.
    pub fn stream_count(&self) -> usize {
        self.streams.len()
    }

    /// The socket of a stream, for options and addresses.
    pub fn socket(&mut self, stream: StreamId) -> Option<BorrowedFd<'_>> {
        self.streams.find(stream.0).map(|stream| stream.socket.as_fd())
    }

    /// The other end's address; None if the stream or the connection is gone.
    pub fn peer_address(&mut self, stream: StreamId) -> Option<StreamAddress> {
        socket::peer_address(self.socket(stream)?).ok()
    }

    /// This end's address.
    pub fn local_address(&mut self, stream: StreamId) -> Option<StreamAddress> {
        socket::local_address(self.socket(stream)?).ok()
    }

    /// Stops taking bytes from the socket. Bytes taken before are still told; none is lost.
    pub fn pause_receiving(&mut self, stream: StreamId) {
        let Some(found) = self.streams.find(stream.0) else { return };
        if found.closing || std::mem::replace(&mut found.paused, true) {
            return;
        }
        found.leaving = false;
        if found.receiving == Receiving::Armed {
            found.receiving = Receiving::Cancelling;
            self.cancel(operation::encode(Kind::Receive, stream.0));
        }
    }

    /// Takes bytes again. After `EndOfStream` or `Failed` there is nothing to resume.
    pub fn resume_receiving(&mut self, stream: StreamId) {
        let Some(found) = self.streams.find(stream.0) else { return };
        found.paused = false;
        // While the cancellation is on the way its completion arms again.
        if found.receiving == Receiving::Idle && !found.closing {
            self.arm_receive(stream.0);
        }
    }

    /// Sends all of `buffer`; `Event::Sent` gives it back. One send at a time per stream.
    pub fn send(&mut self, stream: StreamId, buffer: Vec<u8>) {
        if buffer.is_empty() {
            self.pending.push_back(Event::Sent { stream, buffer });
            return;
        }
        self.start_send(stream, Outgoing::Plain { buffer, sent: 0 }, false);
    }

    /// As `send`, at lower cost, for what ends a turn: `Event::Sent` is no reason for the next
    /// `submit_and_wait` to return, it is told at the end of the sweep in which something else is. Use
    /// `send` when more is waiting to be sent behind this buffer already.
    pub fn send_quietly(&mut self, stream: StreamId, buffer: Vec<u8>) {
        if buffer.is_empty() || buffer.len() > QUIET_BYTES_MAX || !self.quiet_sends {
            return self.send(stream, buffer);
        }
        self.start_send(stream, Outgoing::Plain { buffer, sent: 0 }, true);
    }

    /// Sends all of `parts` in order, without copying them together; `Event::SentVectored` gives
    /// the emptied vector back.
    pub fn send_vectored(&mut self, stream: StreamId, parts: Vec<Bytes>) {
        let outgoing = Vectored::new(parts);
        if outgoing.is_sent() {
            self.pending.push_back(Event::SentVectored { stream, parts: outgoing.into_parts() });
            return;
        }
        self.start_send(stream, Outgoing::Vectored(outgoing), false);
    }

    /// Whether a send is in flight.
    pub fn is_sending(&mut self, stream: StreamId) -> bool {
        self.streams.find(stream.0).is_some_and(|found| found.sending.is_some())
    }

    /// Tells the peer that nothing more will come, after the send in flight if there is one.
    /// Receiving goes on.
    pub fn shutdown_write(&mut self, stream: StreamId) {
        let Some(found) = self.streams.find(stream.0) else { return };
        if found.sending.is_some() {
            found.shutdown_after_send = true;
        } else {
            // Fails only where the peer is gone, which receiving will tell.
            let _ = socket::shutdown_write(found.socket.as_fd());
        }
    }

    /// Withdraws what is in flight and closes the socket. The only event of this stream that follows is
    /// `Event::Closed`. What a completed send has handed to the kernel still reaches the peer.
    pub fn close(&mut self, stream: StreamId) {
        let Some(found) = self.streams.find(stream.0) else { return };
        if std::mem::replace(&mut found.closing, true) {
            return;
        }
        let cancel_receive = found.receiving == Receiving::Armed;
        if cancel_receive {
            found.receiving = Receiving::Cancelling;
        }
        let cancel_send = found.sending.is_some();
        if cancel_receive {
            self.cancel(operation::encode(Kind::Receive, stream.0));
        }
        if cancel_send {
            self.cancel(operation::encode(Kind::Send, stream.0));
        }
        self.finish_closing(stream.0);
    }

    fn arm_receive(&mut self, id: Id) {
        let stream = self.streams.find(id).expect("only a present stream is armed");
        stream.receiving = Receiving::Armed;
        let entry = opcode::RecvMulti::new(types::Fd(stream.socket.as_raw_fd()), GROUP)
            .build()
            .user_data(operation::encode(Kind::Receive, id));
        // SAFETY: the entry names no memory, the group's lives as B2 says; N3 for the descriptor.
        unsafe { self.kernel.push(&entry) };
    }

    /// Arms as many starved streams as there are buffers, the longest waiting first. More would only
    /// starve again.
    pub(super) fn feed_starved(&mut self) {
        let mut available = self.buffers.available();
        while available > 0 {
            let Some(id) = self.starved.pop_front() else { return };
            let Some(stream) = self.streams.find(id) else { continue };
            if stream.closing || stream.receiving != Receiving::Starved {
                continue;
            }
            if stream.paused {
                stream.receiving = Receiving::Idle;
                continue;
            }
            self.arm_receive(id);
            available -= 1;
        }
    }

    #[inline]
    pub(super) fn receive_completed(&mut self, id: Id, completion: &cqueue::Entry) -> Option<Event> {
        let (result, flags) = (completion.result(), completion.flags());
        // First of all, so that the buffer is returned on every path (B1).
        let received =
            cqueue::buffer_select(flags).map(|buffer| self.buffers.received(buffer, result.max(0) as u32));
        let stream = self.streams.find(id);
        debug_assert!(stream.is_some(), "N2: a stream outlives its operations");
        let stream = stream?;
        // Only a receive that has ended with nothing to tell lets the stream go (N8).
        let withdrawn = matches!(-result, libc::ECANCELED | libc::EINTR | libc::EAGAIN);
        let leaves = std::mem::take(&mut stream.leaving) && withdrawn && !stream.closing;
        let event = if stream.closing {
            None
        } else if result > 0 {
            received.map(|data| Event::Received { stream: StreamId(id), data })
        } else {
            None
        };
        if cqueue::more(flags) {
            return event;
        }
        // The multishot is over.
        if result > 0 || withdrawn {
            stream.receiving = Receiving::Idle;
            if stream.closing {
                self.finish_closing(id);
            } else if leaves {
                return self.detached(id);
            } else if !stream.paused {
                self.arm_receive(id);
            }
            return event;
        }
        if result == -libc::ENOBUFS {
            stream.receiving = Receiving::Starved;
            if stream.closing {
                self.finish_closing(id);
            } else {
                self.starved.push_back(id);
                self.counters.receives_starved += 1;
            }
            return None;
        }
        stream.receiving = Receiving::Over;
        if stream.closing {
            self.finish_closing(id);
            return None;
        }
        let stream = StreamId(id);
        Some(match result {
            0 => Event::EndOfStream { stream },
            _ => Event::Failed { stream, error: io::Error::from_raw_os_error(-result) },
        })
    }

    fn start_send(&mut self, stream: StreamId, outgoing: Outgoing, quiet: bool) {
        let found = self.streams.find(stream.0).expect("only an attached stream is sent to");
        assert!(!found.closing, "a closing stream is not sent to");
        assert!(found.sending.is_none(), "one send at a time per stream");
        found.leaving = false;
        found.sending = Some(outgoing);
        if quiet {
            self.quiet_attempts = self.quiet_attempts.wrapping_add(1);
            found.quiet = Some(self.quiet_attempts);
            self.quiet_queued.push((stream.0, self.quiet_attempts));
        }
        self.submit_send(stream.0);
    }

    fn submit_send(&mut self, id: Id) {
        let stream = self.streams.find(id).expect("only a present stream sends");
        let fd = types::Fd(stream.socket.as_raw_fd());
        let outgoing = stream.sending.as_mut().expect("a send was started");
        let entry = outgoing.entry(fd, stream.quiet.is_some()).user_data(operation::encode(Kind::Send, id));
        // SAFETY: N1, the memory is owned by `sending` and left alone until the completion; N3.
        unsafe { self.kernel.push(&entry) };
    }

    #[inline]
    pub(super) fn send_completed(&mut self, id: Id, result: i32) -> Option<Event> {
        let found = self.streams.find(id);
        debug_assert!(found.is_some(), "N2: a stream outlives its operations");
        let found = found?;
        let outgoing = found.sending.as_mut().expect("a completion of a send that was started");
        found.quiet = None; // it was not quiet: from here on its completion is certain
        if found.closing {
            found.sending = None;
            self.finish_closing(id);
            return None;
        }
        let stream = StreamId(id);
        match result {
            1.. => {
                if !outgoing.advance(result as usize) {
                    self.submit_send(id);
                    return None;
                }
            }
            _ if matches!(-result, libc::EAGAIN | libc::EINTR) => {
                self.submit_send(id);
                return None;
            }
            _ => {
                found.sending = None;
                // Nothing was sent of something: the socket takes no more.
                let errno = if result == 0 { libc::EPIPE } else { -result };
                return Some(Event::SendFailed { stream, error: io::Error::from_raw_os_error(errno) });
            }
        }
        found.sent(stream)
    }

    /// Tells the quiet sends that were submitted and have left no completion. To be called when the
    /// completion queue has been swept.
    pub(super) fn quiet_sent(&mut self) -> Option<Event> {
        // A failure may wait where the completion queue has overflowed to.
        if self.quiet_submitted.is_empty() || self.kernel.has_overflowed() {
            return None;
        }
        while let Some((id, attempt)) = self.quiet_submitted.pop() {
            let Some(found) = self.streams.find(id) else { continue };
            if found.quiet != Some(attempt) {
                continue; // a completion came; the send went on, or is another by now
            }
            found.quiet = None;
            if found.closing {
                found.sending = None;
                self.finish_closing(id);
                return self.pending.pop_front();
            }
            return found.sent(StreamId(id));
        }
        None
    }

    /// Nothing that names the stream is with the kernel any more.
    #[cold]
    fn detached(&mut self, id: Id) -> Option<Event> {
        let Stream { socket, .. } = self.streams.remove(id)?;
        Some(Event::Detached { stream: StreamId(id), socket })
    }

    fn finish_closing(&mut self, id: Id) {
        let Some(stream) = self.streams.find(id) else { return };
        debug_assert!(stream.closing);
        if stream.is_in_flight() {
            return;
        }
        drop(self.streams.remove(id)); // N3: closes the descriptor
        self.pending.push_back(Event::Closed { stream: StreamId(id) });
    }
}

impl Stream {
    fn is_in_flight(&self) -> bool {
        matches!(self.receiving, Receiving::Armed | Receiving::Cancelling) || self.sending.is_some()
    }

    /// The send is over and whole.
    fn sent(&mut self, stream: StreamId) -> Option<Event> {
        let outgoing = self.sending.take().expect("only a send that was started is over");
        if std::mem::take(&mut self.shutdown_after_send) {
            let _ = socket::shutdown_write(self.socket.as_fd());
        }
        Some(match outgoing {
            Outgoing::Plain { mut buffer, .. } => {
                buffer.clear();
                Event::Sent { stream, buffer }
            }
            Outgoing::Vectored(vectored) => Event::SentVectored { stream, parts: vectored.into_parts() },
        })
    }
}

impl Outgoing {
    fn entry(&mut self, fd: types::Fd, quiet: bool) -> squeue::Entry {
        // WAITALL lets the kernel go on by itself after a part; a cancelled send tells its part.
        let flags = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
        match self {
            Outgoing::Plain { buffer, sent } => {
                let rest = &buffer[*sent..];
                let len = rest.len().min(SEND_BYTES_MAX) as u32;
                let send = opcode::Send::new(fd, rest.as_ptr(), len);
                if quiet {
                    send.flags(flags | libc::MSG_DONTWAIT).build().flags(squeue::Flags::SKIP_SUCCESS)
                } else {
                    send.flags(flags).build()
                }
            }
            Outgoing::Vectored(vectored) => {
                opcode::SendMsg::new(fd, vectored.header()).flags(flags as u32).build()
            }
        }
    }

    /// Notes that `bytes` have left; true if nothing is left.
    fn advance(&mut self, bytes: usize) -> bool {
        match self {
            Outgoing::Plain { buffer, sent } => {
                *sent += bytes;
                assert!(*sent <= buffer.len(), "the kernel sends no more than it was given");
                *sent == buffer.len()
            }
            Outgoing::Vectored(vectored) => {
                vectored.advance(bytes);
                vectored.is_sent()
            }
        }
    }
}

impl Vectored {
    fn new(parts: Vec<Bytes>) -> Box<Vectored> {
        let piece =
            |part: &Bytes| libc::iovec { iov_base: part.as_ptr().cast_mut().cast(), iov_len: part.len() };
        let pieces = parts.iter().filter(|part| !part.is_empty()).map(piece).collect();
        // SAFETY: all zeroes is a valid `msghdr`: no name, no pieces, no control data.
        let header = unsafe { std::mem::zeroed() };
        Box::new(Vectored { parts, pieces, first: 0, header })
    }

    fn is_sent(&self) -> bool {
        self.first == self.pieces.len()
    }

    fn header(&mut self) -> *const libc::msghdr {
        let rest = &mut self.pieces[self.first..];
        self.header.msg_iov = rest.as_mut_ptr();
        self.header.msg_iovlen = rest.len().min(PIECES_MAX);
        &raw const self.header
    }

    fn advance(&mut self, mut bytes: usize) {
        while bytes > 0 {
            let piece = self.pieces.get_mut(self.first).expect("the kernel sends no more than it was given");
            let taken = bytes.min(piece.iov_len);
            piece.iov_base = piece.iov_base.wrapping_byte_add(taken);
            piece.iov_len -= taken;
            bytes -= taken;
            if piece.iov_len == 0 {
                self.first += 1;
            }
        }
    }

    fn into_parts(mut self) -> Vec<Bytes> {
        self.parts.clear();
        std::mem::take(&mut self.parts)
    }
}
