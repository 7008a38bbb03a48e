//! One shard's log: the segment that grows, and those before it until they are durable.
//!
//! A rewrite begins a new segment at one moment on all shards; the old one is written to its end beside it. What stands in
//! the new one counts as durable only when everything in the old one is.

use super::ahead::{PIECE_BYTES, Zeros};
use super::faults::{Fault, Faults};
use super::segment::{Action, Completion, Policy, SegmentWriter};
use crate::disk::AlignedBuffer;
use std::collections::VecDeque;

pub struct Log {
    run: u64,
    policy: Policy,
    faults: Faults,
    zeros_bytes: usize,
    /// By generation; the last one grows. Never empty.
    segments: VecDeque<(u64, SegmentWriter)>,
    syncs_slow: u64,
}

impl Log {
    /// A log whose first segment is fresh. `last` is the sequence of the last record before it.
    pub fn new(run: u64, generation: u64, policy: Policy, last: u64, now_ms: u64, faults: Faults) -> Self {
        let writer = SegmentWriter::new(run, policy, last, now_ms, faults);
        let segments = VecDeque::from([(generation, writer)]);
        Self { run, policy, faults, zeros_bytes: PIECE_BYTES, segments, syncs_slow: 0 }
    }

    /// For tests: smaller pieces of zeros ahead than [`PIECE_BYTES`].
    pub fn set_zeros_bytes(&mut self, bytes: usize) {
        self.zeros_bytes = bytes;
        self.segments.iter_mut().for_each(|(_, writer)| writer.set_zeros_bytes(bytes));
    }

    /// See [`SegmentWriter::set_write_bytes_max`].
    pub fn set_write_bytes_max(&mut self, bytes: usize) {
        self.segments.iter_mut().for_each(|(_, writer)| writer.set_write_bytes_max(bytes));
    }

    pub fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
        self.segments.iter_mut().for_each(|(_, writer)| writer.set_policy(policy));
    }

    /// So many bytes of records wait outside; whether they are to be handed over now.
    #[inline]
    pub fn offer(&mut self, bytes: usize, now_ms: u64) -> bool {
        self.current_mut().offer(bytes, now_ms)
    }

    /// Takes whole records, of which the last has this sequence, with the memory in which they stand.
    pub fn hand_over(&mut self, records: AlignedBuffer, last: u64, now_ms: u64) {
        self.current_mut().hand_over(records, last, now_ms);
    }

    /// Memory for records, to be handed over with them. `many`: as much as a batch takes.
    pub fn lend(&mut self, many: bool) -> AlignedBuffer {
        self.current_mut().lend(many)
    }

    /// Takes whole records, of which the last has this sequence.
    pub fn append(&mut self, records: &[u8], last: u64, now_ms: u64) {
        self.current_mut().append(records, last, now_ms);
    }

    /// From here on records go to the segment of another generation.
    pub fn rotate(&mut self, generation: u64, now_ms: u64) {
        assert!(generation > self.generation(), "generations are in order");
        // What is outside now is for the next segment.
        self.current_mut().offer(0, now_ms);
        self.current_mut().hurry();
        let mut writer = SegmentWriter::new(self.run, self.policy, self.taken(), now_ms, self.faults);
        writer.set_zeros_bytes(self.zeros_bytes);
        self.segments.push_back((generation, writer));
        // Where there was nothing left to write, no completion would come to tell.
        self.let_complete_go();
    }

    /// Writes and syncs everything without delay.
    pub fn hurry(&mut self) {
        self.segments.iter_mut().for_each(|(_, writer)| writer.hurry());
    }

    /// What to do now, if anything, and in which generation's segment. One action per segment can be under way.
    pub fn next(&mut self, now_ms: u64) -> Option<(u64, Action)> {
        self.segments.iter_mut().find_map(|(generation, writer)| Some((*generation, writer.next(now_ms)?)))
    }

    /// Zeros to be written ahead of the records, if any, and in which generation's segment. They may be under way beside
    /// an action.
    pub fn next_zeros(&mut self, now_ms: u64) -> Option<(u64, Zeros)> {
        Some((self.generation(), self.current_mut().next_zeros(now_ms)?))
    }

    pub fn zeros_written(&mut self, generation: u64, written: Result<usize, i32>, now_ms: u64) {
        // A segment that is complete has no need of them.
        if let Some((_, writer)) = self.segments.iter_mut().find(|(number, _)| *number == generation) {
            writer.zeros_written(written, now_ms);
        }
    }

    /// An action is over.
    pub fn completed(&mut self, generation: u64, completion: Completion, now_ms: u64) {
        let found = self.segments.iter_mut().find(|(number, _)| *number == generation);
        let (_, writer) = found.expect("a segment stays until it is durable");
        writer.completed(completion, now_ms);
        self.let_complete_go();
    }

    fn let_complete_go(&mut self) {
        while self.segments.len() > 1 && self.segments[0].1.is_durable() {
            let (_, writer) = self.segments.pop_front().expect("just seen");
            self.syncs_slow += writer.syncs_slow();
        }
    }

    /// The sequence of the last record that survives whatever happens.
    pub fn durable(&self) -> u64 {
        let first =
            if self.faults.has(Fault::PreviousSegmentForgotten) { self.segments.len() - 1 } else { 0 };
        self.segments[first].1.durable()
    }

    /// The sequence of the last record that was taken in.
    pub fn taken(&self) -> u64 {
        self.current().taken()
    }

    pub fn generation(&self) -> u64 {
        self.segments.back().expect("never empty").0
    }

    /// Segments before this one are complete, and their files can be closed.
    pub fn oldest_generation(&self) -> u64 {
        self.segments.front().expect("never empty").0
    }

    /// Whether a segment before the current one is not complete.
    pub fn is_behind(&self) -> bool {
        self.segments.len() > 1
    }

    /// Whether everything that was taken in is durable.
    pub fn is_durable(&self) -> bool {
        self.segments.iter().all(|(_, writer)| writer.is_durable())
    }

    /// Until when there is nothing to do, unless something happens.
    pub fn due_at_ms(&self) -> Option<u64> {
        self.segments.iter().filter_map(|(_, writer)| writer.due_at_ms()).min()
    }

    /// What writes fail with at the moment.
    pub fn error(&self) -> Option<i32> {
        self.segments.iter().find_map(|(_, writer)| writer.error())
    }

    pub fn is_busy(&self) -> bool {
        self.segments.iter().any(|(_, writer)| writer.is_busy())
    }

    pub fn is_syncing(&self) -> bool {
        self.segments.iter().any(|(_, writer)| writer.is_syncing())
    }

    /// Bytes of the segment that grows.
    pub fn size(&self) -> u64 {
        self.current().size()
    }

    pub fn waiting_bytes(&self) -> usize {
        self.segments.iter().map(|(_, writer)| writer.waiting_bytes()).sum()
    }

    pub fn syncs_slow(&self) -> u64 {
        self.syncs_slow + self.segments.iter().map(|(_, writer)| writer.syncs_slow()).sum::<u64>()
    }

    fn current(&self) -> &SegmentWriter {
        &self.segments.back().expect("never empty").1
    }

    fn current_mut(&mut self) -> &mut SegmentWriter {
        &mut self.segments.back_mut().expect("never empty").1
    }
}

#[cfg(test)]
mod tests {
    use super::super::segment::Action;
    use super::*;
    use crate::disk::WriteSync;

    /// Performs everything that is to be done.
    fn perform(log: &mut Log, now_ms: u64) {
        while let Some((generation, action)) = log.next(now_ms) {
            let (buffer, written, syncs) = match action {
                Action::Write { buffer, bytes, sync, .. } => {
                    (Some(buffer), bytes, sync != WriteSync::Nothing)
                }
                Action::Sync => (None, 0, true),
            };
            let completion = Completion { buffer, written: Ok(written), synced: syncs.then_some(Ok(())) };
            log.completed(generation, completion, now_ms);
        }
    }

    /// A core that had nothing to write was asked to begin the next segment in the turn in which it got its first record.
    /// The old segment went on waiting for that record, was never complete, and nothing was acknowledged any more.
    #[test]
    fn what_waits_outside_belongs_to_the_next_segment() {
        let mut log = Log::new(7, 1, Policy::EverySecond, 0, 0, Faults::NONE);
        assert!(!log.offer(100, 0));
        log.rotate(2, 0);
        assert_eq!(log.oldest_generation(), 2, "the first has nothing to wait for");
        log.append(&[1; 100], 1, 0);
        log.hurry();
        perform(&mut log, 1);
        assert!(log.is_durable());
        assert_eq!(log.durable(), 1);
    }
}
