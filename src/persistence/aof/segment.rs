//! The writer of one segment: sealed records in, aligned writes and syncs out. It decides; others do.
//!
//! Records collect outside, in the memory in which the journal has written them, until `offer` wants them: then that
//! memory becomes the open chunk as it is. A write takes all of it (group commit) and adds a mark; at most one operation is
//! under way. With `always` the next write goes on in the block in which the one before has ended; else the mark fills its
//! block with zeros, so that no write has anything of another. What was written is kept until a sync has succeeded: a
//! sync that fails may have lost any of it, so all of it is written again.
//!
//! ```text
//!   outside -> open -> queue -> in flight -> unsynced -> durable
//!                        ^         | failed     | sync failed
//!                        +---------+------------+
//! ```
//!
//! Invariants
//!   W1  A byte of the file that is durable is never written with another value.
//!   W2  `durable()` covers exactly what the last successful sync covers, and what was written before that began.
//!   W3  After a failure everything behind `durable()` is written again before anything more counts as durable.
//!   W4  Chunks follow each other without a gap: each begins with the block in which the one before ends.

use super::ahead::{Ahead, SMALL_BYTES, Zeros};
use super::faults::{Fault, Faults};
use super::format::{MARK_BYTES, START, encode_mark};
use crate::disk::{AlignedBuffer, BLOCK, WriteSync};
use std::collections::VecDeque;

/// Without `always`, a write waits for this many bytes...
const BATCH_BYTES: usize = LARGE_BYTES - 256 * 1024;
/// ...or this long: what a process that is killed may lose.
const BATCH_MS: u64 = 50;
const SYNC_MS: u64 = 1000;
/// Written bytes that are kept until they are synced.
const UNSYNCED_BYTES_MAX: usize = 16 << 20;
/// After a failure.
const RETRY_MS: u64 = 100;
/// A sync that takes longer is told by `aof_delayed_fsync`.
const SYNC_SLOW_MS: u64 = 2000;
/// Small memory that is kept.
const SPARE_BYTES_MAX: usize = 1 << 20;
/// Memory for records while many are written: what a batch has by then, and a turn adds to it.
const LARGE_BYTES: usize = 2 << 20;
/// One write; the kernel takes somewhat less than 2 GiB at once.
const WRITE_BYTES_MAX: usize = 1 << 30;

/// `appendfsync`
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Policy {
    Always,
    EverySecond,
    No,
}

/// What is to be done now; the answer goes to `completed`.
#[derive(Debug)]
pub enum Action {
    /// Writes the padded bytes; if all of them were written, makes durable what is told.
    Write {
        at: u64,
        buffer: AlignedBuffer,
        bytes: usize,
        sync: WriteSync,
    },
    Sync,
}

/// How an action has ended. Errors are those of the operating system.
#[derive(Debug)]
pub struct Completion {
    /// Of a write: comes back.
    pub buffer: Option<AlignedBuffer>,
    /// Of a write: how many bytes were written.
    pub written: Result<usize, i32>,
    /// Nothing if no sync was wanted, or the write before it has failed.
    pub synced: Option<Result<(), i32>>,
}

/// Bytes of the file from a block's beginning on.
#[derive(Debug, Default)]
struct Chunk {
    at: u64,
    buffer: AlignedBuffer,
    /// Of these the first are a copy of the end of the chunk before.
    copied: usize,
    last: u64,
    /// It ends within a record, which the next one has the rest of: when it is durable, nothing more is to be read.
    goes_on: bool,
}

impl Chunk {
    fn end(&self) -> u64 {
        self.at + self.buffer.len() as u64
    }

    fn has_news(&self) -> bool {
        self.buffer.len() > self.copied
    }
}

struct InFlight {
    /// Without its buffer.
    chunk: Option<Chunk>,
    bytes: usize,
    sync: WriteSync,
    since_ms: u64,
    is_slow: bool,
}

/// The end of one segment.
pub struct SegmentWriter {
    run: u64,
    policy: Policy,
    faults: Faults,
    open: Chunk,
    /// Bytes of records that have not been handed over.
    outside: usize,
    /// Since when the open chunk has news, or there are records outside.
    open_since_ms: u64,
    /// To be written, in order; more than one only after a failure, if the disk is slow, or if one write was too large.
    queue: VecDeque<Chunk>,
    in_flight: Option<InFlight>,
    ahead: Ahead,
    /// Bytes of the last write.
    group_bytes: usize,
    /// Written, in order.
    unsynced: VecDeque<Chunk>,
    unsynced_bytes: usize,
    synced_at_ms: u64,
    durable: u64,
    durable_end: u64,
    error: Option<i32>,
    /// Only a sync that succeeds ends such an error.
    sync_failed: bool,
    retry_at_ms: u64,
    /// Everything is to be written and synced without delay.
    hurried: bool,
    syncs_slow: u64,
    spare: Vec<AlignedBuffer>,
    spare_bytes: usize,
    large: Vec<AlignedBuffer>,
    write_bytes_max: usize,
}

impl InFlight {
    fn syncs(&self) -> bool {
        self.sync != WriteSync::Nothing
    }
}

impl SegmentWriter {
    /// A writer behind the header of a fresh segment. `last` is the sequence of the last record before it.
    pub fn new(run: u64, policy: Policy, last: u64, now_ms: u64, faults: Faults) -> Self {
        Self {
            run,
            policy,
            faults,
            open: Chunk { at: START, last, ..Chunk::default() },
            outside: 0,
            open_since_ms: now_ms,
            queue: VecDeque::new(),
            in_flight: None,
            ahead: Ahead::default(),
            group_bytes: usize::MAX,
            unsynced: VecDeque::new(),
            unsynced_bytes: 0,
            synced_at_ms: now_ms,
            durable: last,
            durable_end: START,
            error: None,
            sync_failed: false,
            retry_at_ms: 0,
            hurried: false,
            syncs_slow: 0,
            spare: Vec::new(),
            spare_bytes: 0,
            large: Vec::new(),
            write_bytes_max: WRITE_BYTES_MAX,
        }
    }

    /// Lets writes be smaller than the kernel's limit asks for, in whole blocks.
    pub fn set_write_bytes_max(&mut self, bytes: usize) {
        assert!(bytes > 0 && bytes.is_multiple_of(BLOCK), "whole blocks");
        self.write_bytes_max = bytes;
    }

    /// See [`Ahead::set_piece_bytes`].
    pub fn set_zeros_bytes(&mut self, bytes: usize) {
        self.ahead.set_piece_bytes(bytes);
    }

    pub fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
    }

    /// So many bytes of records wait outside; whether they are to be handed over now.
    #[inline]
    pub fn offer(&mut self, bytes: usize, now_ms: u64) -> bool {
        if self.outside == 0 && !self.open.has_news() {
            self.open_since_ms = now_ms;
        }
        self.outside = bytes;
        // A disk that is slow does not make one chunk of everything, which would have to move again and again.
        let is_full = bytes >= BATCH_BYTES && self.policy != Policy::Always;
        bytes > 0 && (is_full || self.in_flight.is_none() && self.is_due(bytes, now_ms))
    }

    /// Takes whole records, of which the last has this sequence, with the memory in which they stand.
    pub fn hand_over(&mut self, records: AlignedBuffer, last: u64, now_ms: u64) {
        if !self.open.buffer.is_empty() {
            self.append(records.bytes(), last, now_ms);
            self.recycle(records);
            return;
        }
        self.take_in(last, now_ms);
        let before = std::mem::replace(&mut self.open.buffer, records);
        self.recycle(before);
        if self.open.buffer.len() >= BATCH_BYTES && self.policy != Policy::Always {
            self.seal();
        }
    }

    /// Takes whole records, of which the last has this sequence.
    pub fn append(&mut self, records: &[u8], last: u64, now_ms: u64) {
        self.take_in(last, now_ms);
        self.open.buffer.extend_from_slice(records);
    }

    fn take_in(&mut self, last: u64, now_ms: u64) {
        assert!(last >= self.open.last, "records come in order");
        if self.outside == 0 && !self.open.has_news() {
            self.open_since_ms = now_ms;
        }
        self.outside = 0;
        self.open.last = last;
    }

    /// Memory for records, to be handed over with them. `many`: as much as a batch takes.
    pub fn lend(&mut self, many: bool) -> AlignedBuffer {
        let wanted = if many { LARGE_BYTES } else { 0 };
        self.large.pop().unwrap_or_else(|| AlignedBuffer::with_capacity(wanted))
    }

    /// Writes and syncs everything as soon as it can, whatever the policy.
    pub fn hurry(&mut self) {
        self.hurried = true;
    }

    /// What to do now, if anything: W4.
    pub fn next(&mut self, now_ms: u64) -> Option<Action> {
        if let Some(in_flight) = &mut self.in_flight {
            if in_flight.syncs() && !in_flight.is_slow && now_ms > in_flight.since_ms + SYNC_SLOW_MS {
                in_flight.is_slow = true;
                self.syncs_slow += 1;
            }
            return None;
        }
        if self.error.is_some() && now_ms < self.retry_at_ms {
            return None;
        }
        if self.queue.is_empty() && self.is_write_due(now_ms) {
            self.seal();
        }
        while let Some(mut chunk) = self.queue.pop_front() {
            // What the next chunk has too, in its first block, is left to it: zeros would replace it.
            let is_followed = !self.queue.is_empty() && !chunk.buffer.len().is_multiple_of(BLOCK);
            let bytes =
                if is_followed { chunk.buffer.len() / BLOCK * BLOCK } else { chunk.buffer.padded().len() };
            if bytes == 0 {
                self.recycle(chunk.buffer);
                continue;
            }
            if self.ahead.is_in_the_way(chunk.at + bytes as u64) && !self.faults.has(Fault::ZerosOverRecords)
            {
                self.queue.push_front(chunk);
                return None;
            }
            let sync = match !is_followed && self.is_sync_due(now_ms, bytes) {
                false => WriteSync::Nothing,
                true if self.written_is_all() => WriteSync::Written,
                true => WriteSync::File,
            };
            self.group_bytes = bytes;
            let (at, buffer) = (chunk.at, std::mem::take(&mut chunk.buffer));
            self.fly(Some(chunk), bytes, sync, now_ms);
            return Some(Action::Write { at, buffer, bytes, sync });
        }
        if !self.unsynced.is_empty() && self.is_sync_due(now_ms, 0) {
            self.fly(None, 0, WriteSync::File, now_ms);
            return Some(Action::Sync);
        }
        None
    }

    fn fly(&mut self, chunk: Option<Chunk>, bytes: usize, sync: WriteSync, now_ms: u64) {
        self.in_flight = Some(InFlight { chunk, bytes, sync, since_ms: now_ms, is_slow: false });
    }

    /// Whether nothing but the next write is to be made durable. That is cheaper than a sync; without `always` there is
    /// more, or time.
    fn written_is_all(&self) -> bool {
        let is_alone = self.unsynced.is_empty() || self.faults.has(Fault::WrittenTakenForFile);
        self.policy == Policy::Always && is_alone && !self.sync_failed
    }

    /// Zeros to be written now, if any, beside whatever else is under way.
    pub fn next_zeros(&mut self, now_ms: u64) -> Option<Zeros> {
        let are_worth_it = self.policy == Policy::Always && self.group_bytes <= SMALL_BYTES;
        if !are_worth_it || self.hurried || self.error.is_some() {
            return None;
        }
        let end = if self.faults.has(Fault::ZerosOverRecords) { self.durable_end } else { self.open.end() };
        self.ahead.next(end, now_ms)
    }

    /// Zeros have been written, or not.
    pub fn zeros_written(&mut self, written: Result<usize, i32>, now_ms: u64) {
        self.ahead.written(written, now_ms);
    }

    fn is_write_due(&self, now_ms: u64) -> bool {
        self.open.has_news() && self.is_due(self.open.buffer.len(), now_ms)
    }

    /// Whether so many bytes are to be written now.
    fn is_due(&self, bytes: usize, now_ms: u64) -> bool {
        self.hurried
            || self.policy == Policy::Always
            || bytes >= BATCH_BYTES
            || now_ms >= self.open_since_ms + BATCH_MS
    }

    fn is_sync_due(&self, now_ms: u64, more: usize) -> bool {
        self.hurried
            || self.sync_failed
            || self.unsynced_bytes + more > UNSYNCED_BYTES_MAX
            || match self.policy {
                Policy::Always => true,
                Policy::EverySecond => now_ms >= self.synced_at_ms + SYNC_MS,
                Policy::No => false,
            }
    }

    /// Until when there is nothing to do, unless something happens.
    pub fn due_at_ms(&self) -> Option<u64> {
        if let Some(in_flight) = &self.in_flight {
            return (in_flight.syncs() && !in_flight.is_slow).then(|| in_flight.since_ms + SYNC_SLOW_MS + 1);
        }
        if self.queue.front().is_some_and(|chunk| self.ahead.is_in_the_way(chunk.end())) {
            // Their end is an event.
            return None;
        }
        let now = self.hurried || self.policy == Policy::Always;
        let write = (self.open.has_news() || self.outside > 0 || !self.queue.is_empty())
            .then(|| if now || !self.queue.is_empty() { 0 } else { self.open_since_ms + BATCH_MS });
        let sync = match self.policy {
            _ if self.unsynced.is_empty() => None,
            _ if now => Some(0),
            _ if self.sync_failed => Some(0),
            Policy::No => None,
            _ => Some(self.synced_at_ms + SYNC_MS),
        };
        let due = write.into_iter().chain(sync).min()?;
        Some(if self.error.is_some() { due.max(self.retry_at_ms) } else { due })
    }

    /// Ends the open chunk with a mark, and opens the next one behind it, or in the block in which it ends.
    fn seal(&mut self) {
        let with_mark = self.open.buffer.len() + MARK_BYTES;
        let zeros =
            if self.policy == Policy::Always { 0 } else { with_mark.next_multiple_of(BLOCK) - with_mark };
        if self.open.buffer.capacity() >= LARGE_BYTES && with_mark < LARGE_BYTES / 2 {
            // Large memory is for those who fill it.
            let mut small = self.spare.pop().unwrap_or_default();
            self.spare_bytes -= small.capacity();
            small.reserve(with_mark + zeros);
            small.extend_from_slice(self.open.buffer.bytes());
            let large = std::mem::replace(&mut self.open.buffer, small);
            self.recycle(large);
        }
        let mark = encode_mark(self.run, self.open.end(), self.durable_end, zeros as u32);
        self.open.buffer.reserve(with_mark + zeros - self.open.buffer.len());
        self.open.buffer.extend_from_slice(&mark);
        self.open.buffer.extend_from_slice(&[0; BLOCK][..zeros]);
        let whole = self.open.buffer.len() / BLOCK * BLOCK;
        let mut next = Chunk {
            at: self.open.at + whole as u64,
            buffer: AlignedBuffer::default(),
            copied: 0,
            last: self.open.last,
            goes_on: false,
        };
        if whole < self.open.buffer.len() {
            next.buffer = self.spare.pop().unwrap_or_default();
            self.spare_bytes -= next.buffer.capacity();
        }
        if self.faults.has(Fault::PartialBlockForgotten) {
            next.buffer.extend_from_slice(&vec![0; self.open.buffer.len() - whole]);
        } else {
            next.buffer.extend_from_slice(&self.open.buffer.bytes()[whole..]);
        }
        next.copied = next.buffer.len();
        let mut chunk = std::mem::replace(&mut self.open, next);
        while chunk.buffer.len() > self.write_bytes_max {
            let (piece, behind) = chunk.buffer.bytes().split_at(self.write_bytes_max);
            let [mut buffer, mut rest] = [piece, behind].map(|part| AlignedBuffer::with_capacity(part.len()));
            buffer.extend_from_slice(piece);
            rest.extend_from_slice(behind);
            let (at, copied) = (chunk.at, chunk.copied.min(piece.len()));
            self.queue.push_back(Chunk { at, buffer, copied, last: chunk.last, goes_on: true });
            let at = at + self.write_bytes_max as u64;
            chunk = Chunk { at, buffer: rest, copied: 0, last: chunk.last, goes_on: false };
        }
        self.queue.push_back(chunk);
    }

    /// An action is over.
    pub fn completed(&mut self, completion: Completion, now_ms: u64) {
        let InFlight { chunk, bytes, sync, .. } = self.in_flight.take().expect("an action was under way");
        if let Some(mut chunk) = chunk {
            chunk.buffer = completion.buffer.expect("a write gives its buffer back");
            let failure = match completion.written {
                Err(error) => Some(error),
                Ok(written) if written < bytes && !self.faults.has(Fault::ShortWriteUnnoticed) => {
                    Some(libc::ENOSPC)
                }
                Ok(_) => None,
            };
            if let Some(error) = failure {
                // Which of the two has failed is not told.
                self.sync_failed |= completion.written.is_err() && sync == WriteSync::Written;
                self.queue.push_front(chunk);
                self.fail(error, now_ms);
                return;
            }
            if self.faults.has(Fault::DurableBeforeSync) {
                (self.durable, self.durable_end) = (chunk.last, chunk.end());
            }
            self.unsynced_bytes += chunk.buffer.len();
            self.unsynced.push_back(chunk);
        }
        match completion.synced {
            Some(Ok(())) => self.synced(now_ms),
            Some(Err(error)) => {
                self.sync_failed = true;
                if !self.faults.has(Fault::SyncTriedAgain) {
                    // W3
                    while let Some(chunk) = self.unsynced.pop_back() {
                        self.queue.push_front(chunk);
                    }
                    self.unsynced_bytes = 0;
                }
                self.fail(error, now_ms);
            }
            None if !self.sync_failed => self.error = None,
            None => {}
        }
    }

    fn synced(&mut self, now_ms: u64) {
        self.synced_at_ms = now_ms;
        self.error = None;
        self.sync_failed = false;
        let covered = std::mem::take(&mut self.unsynced_bytes);
        while let Some(chunk) = self.unsynced.pop_front() {
            if !chunk.goes_on {
                (self.durable, self.durable_end) = (chunk.last, chunk.end());
            }
            self.recycle(chunk.buffer);
        }
        // As much as is used up to the next sync, if as much comes.
        self.large.truncate(1 + covered.div_ceil(LARGE_BYTES));
    }

    fn fail(&mut self, error: i32, now_ms: u64) {
        self.error = Some(error);
        self.retry_at_ms = now_ms + RETRY_MS;
    }

    fn recycle(&mut self, mut buffer: AlignedBuffer) {
        buffer.clear();
        if buffer.capacity() >= LARGE_BYTES {
            // What one turn or one unit has needed is not needed by the next.
            if buffer.capacity() <= 4 * LARGE_BYTES {
                self.large.push(buffer);
            }
        } else if buffer.capacity() > 0 && self.spare_bytes + buffer.capacity() <= SPARE_BYTES_MAX {
            self.spare_bytes += buffer.capacity();
            self.spare.push(buffer);
        }
    }

    /// The sequence of the last record that survives whatever happens: W2.
    pub fn durable(&self) -> u64 {
        self.durable
    }

    /// The sequence of the last record that was taken in.
    pub fn taken(&self) -> u64 {
        self.open.last
    }

    /// Whether everything that was taken in is durable.
    pub fn is_durable(&self) -> bool {
        !self.open.has_news()
            && self.outside == 0
            && self.queue.is_empty()
            && self.unsynced.is_empty()
            && self.in_flight.is_none()
    }

    pub fn is_busy(&self) -> bool {
        self.in_flight.is_some()
    }

    pub fn is_syncing(&self) -> bool {
        self.in_flight.as_ref().is_some_and(|in_flight| in_flight.syncs())
    }

    /// What writes fail with at the moment.
    pub fn error(&self) -> Option<i32> {
        self.error
    }

    /// Bytes that the file has or will have, with its header.
    pub fn size(&self) -> u64 {
        self.open.end() + self.outside as u64
    }

    /// Bytes in memory that wait to be written.
    pub fn waiting_bytes(&self) -> usize {
        let queued: usize = self.queue.iter().map(|chunk| chunk.buffer.len()).sum();
        self.outside + self.open.buffer.len() - self.open.copied + queued
    }

    /// Syncs that have taken longer than two seconds.
    pub fn syncs_slow(&self) -> u64 {
        self.syncs_slow
    }
}

const _: () = assert!(MARK_BYTES < BLOCK);

#[cfg(test)]
mod tests;
