//! The writer of one segment: sealed records in, aligned writes and syncs out. It decides; others do.
//!
//! Records collect in the open chunk. A write takes all of them (group commit), adds a mark, and goes on in the block in
//! which the write before has ended; at most one operation is under way. What was written is kept until a sync has
//! succeeded: a sync that fails may have lost any of it, so all of it is written again.
//!
//! ```text
//!   append -> open -> queue -> in flight -> unsynced -> durable
//!                       ^         | failed     | sync failed
//!                       +---------+------------+
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
const BATCH_BYTES: usize = 256 * 1024;
/// ...or this long: what a process that is killed may lose.
const BATCH_MS: u64 = 50;
const SYNC_MS: u64 = 1000;
/// Written bytes that are kept until they are synced.
const UNSYNCED_BYTES_MAX: usize = 32 << 20;
/// After a failure.
const RETRY_MS: u64 = 100;
/// A sync that takes longer is told by `aof_delayed_fsync`.
const SYNC_SLOW_MS: u64 = 2000;
const SPARE_BYTES_MAX: usize = 4 << 20;

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
    /// Since when the open chunk has news.
    open_since_ms: u64,
    /// To be written, in order; more than one only after a failure.
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
        }
    }

    pub fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
    }

    /// Takes whole records, of which the last has this sequence.
    pub fn append(&mut self, records: &[u8], last: u64, now_ms: u64) {
        assert!(last >= self.open.last, "records come in order");
        if !self.open.has_news() {
            self.open_since_ms = now_ms;
        }
        self.open.buffer.extend_from_slice(records);
        self.open.last = last;
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
            let is_followed = !self.queue.is_empty();
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
        self.open.has_news()
            && (self.hurried
                || self.policy == Policy::Always
                || self.open.buffer.len() >= BATCH_BYTES
                || now_ms >= self.open_since_ms + BATCH_MS)
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
        let write = (self.open.has_news() || !self.queue.is_empty())
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

    /// Ends the open chunk with a mark and opens the next one in the block in which it ends.
    fn seal(&mut self) {
        let mark = encode_mark(self.run, self.open.end(), self.durable_end);
        self.open.buffer.extend_from_slice(&mark);
        let whole = self.open.buffer.len() / BLOCK * BLOCK;
        let mut next = Chunk {
            at: self.open.at + whole as u64,
            buffer: self.spare.pop().unwrap_or_default(),
            copied: 0,
            last: self.open.last,
        };
        self.spare_bytes -= next.buffer.capacity();
        if self.faults.has(Fault::PartialBlockForgotten) {
            next.buffer.extend_from_slice(&vec![0; self.open.buffer.len() - whole]);
        } else {
            next.buffer.extend_from_slice(&self.open.buffer.bytes()[whole..]);
        }
        next.copied = next.buffer.len();
        self.queue.push_back(std::mem::replace(&mut self.open, next));
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
        self.unsynced_bytes = 0;
        while let Some(chunk) = self.unsynced.pop_front() {
            (self.durable, self.durable_end) = (chunk.last, chunk.end());
            self.recycle(chunk.buffer);
        }
    }

    fn fail(&mut self, error: i32, now_ms: u64) {
        self.error = Some(error);
        self.retry_at_ms = now_ms + RETRY_MS;
    }

    fn recycle(&mut self, mut buffer: AlignedBuffer) {
        if self.spare_bytes + buffer.capacity() <= SPARE_BYTES_MAX {
            buffer.clear();
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
        !self.open.has_news() && self.queue.is_empty() && self.unsynced.is_empty() && self.in_flight.is_none()
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
        self.open.end()
    }

    /// Bytes in memory that wait to be written.
    pub fn waiting_bytes(&self) -> usize {
        let queued: usize = self.queue.iter().map(|chunk| chunk.buffer.len()).sum();
        self.open.buffer.len() - self.open.copied + queued
    }

    /// Syncs that have taken longer than two seconds.
    pub fn syncs_slow(&self) -> u64 {
        self.syncs_slow
    }
}

const _: () = assert!(MARK_BYTES < BLOCK);

#[cfg(test)]
mod tests {
    use super::*;

    const OK: Option<Result<(), i32>> = Some(Ok(()));

    fn writer(policy: Policy) -> SegmentWriter {
        SegmentWriter::new(1, policy, 0, 0, Faults::NONE)
    }

    fn write(action: Option<Action>) -> (u64, AlignedBuffer, usize, WriteSync) {
        let Some(Action::Write { at, buffer, bytes, sync }) = action else { panic!("{action:?}") };
        (at, buffer, bytes, sync)
    }

    fn ended(buffer: AlignedBuffer, written: usize, synced: Option<Result<(), i32>>) -> Completion {
        Completion { buffer: Some(buffer), written: Ok(written), synced }
    }

    #[test]
    fn always_writes_and_syncs_what_has_come_together() {
        let mut writer = writer(Policy::Always);
        writer.append(b"one", 1, 0);
        let (at, buffer, bytes, sync) = write(writer.next(0));
        assert_eq!((at, bytes, sync, &buffer.bytes()[..3]), (START, BLOCK, WriteSync::Written, &b"one"[..]));
        writer.append(b"two", 2, 0);
        writer.append(b"three", 3, 0);
        assert!(writer.next(0).is_none(), "one at a time");
        writer.completed(ended(buffer, bytes, OK), 1);
        assert_eq!(writer.durable(), 1);
        let (at, buffer, ..) = write(writer.next(1));
        let mark = encode_mark(1, START + 3, START);
        assert_eq!((at, buffer.bytes()[..43].to_vec()), (START, [b"one", &mark[..], b"twothree"].concat()));
        writer.completed(ended(buffer, BLOCK, OK), 1);
        assert_eq!((writer.durable(), writer.is_durable(), writer.next(9)), (3, true, None));
    }

    impl PartialEq for Action {
        fn eq(&self, _: &Self) -> bool {
            false
        }
    }

    #[test]
    fn every_second_waits_for_more() {
        let mut writer = writer(Policy::EverySecond);
        writer.append(b"one", 1, 10);
        assert_eq!((writer.next(10), writer.due_at_ms()), (None, Some(60)));
        let (_, buffer, bytes, sync) = write(writer.next(60));
        assert_eq!(sync, WriteSync::Nothing);
        writer.completed(ended(buffer, bytes, None), 61);
        assert_eq!((writer.durable(), writer.due_at_ms()), (0, Some(1000)));
        assert!(matches!(writer.next(1000), Some(Action::Sync)));
        writer.completed(Completion { buffer: None, written: Ok(0), synced: OK }, 1001);
        assert_eq!((writer.durable(), writer.due_at_ms()), (1, None));
    }

    #[test]
    fn w3_after_a_failed_sync_everything_is_written_again() {
        let mut writer = writer(Policy::Always);
        writer.append(&[1; 5000], 1, 0);
        let (_, buffer, bytes, _) = write(writer.next(0));
        writer.append(b"two", 2, 0);
        writer.completed(ended(buffer, bytes, Some(Err(libc::EIO))), 0);
        assert_eq!((writer.durable(), writer.error()), (0, Some(libc::EIO)));
        assert!(writer.next(RETRY_MS - 1).is_none());
        let (at, buffer, bytes, _) = write(writer.next(RETRY_MS));
        assert_eq!((at, bytes, &buffer.bytes()[..5000]), (START, 2 * BLOCK, &[1; 5000][..]));
        writer.completed(ended(buffer, bytes, OK), RETRY_MS);
        assert_eq!((writer.durable(), writer.error()), (1, None));
        let (at, ..) = write(writer.next(RETRY_MS));
        assert_eq!(at, START + BLOCK as u64);
    }

    #[test]
    fn a_short_write_is_tried_again_and_tells_that_space_is_gone() {
        let mut writer = writer(Policy::Always);
        writer.append(&[1; 9000], 1, 0);
        let (_, buffer, ..) = write(writer.next(0));
        writer.completed(ended(buffer, BLOCK, None), 0);
        assert_eq!((writer.durable(), writer.error()), (0, Some(libc::ENOSPC)));
        let (at, buffer, bytes, sync) = write(writer.next(RETRY_MS));
        assert_eq!((at, bytes, sync), (START, 3 * BLOCK, WriteSync::Written));
        writer.completed(ended(buffer, bytes, OK), RETRY_MS);
        assert!(writer.is_durable() && writer.error().is_none());
    }
}
