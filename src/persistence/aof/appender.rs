//! One shard's part in the append-only file: takes the journal's records, and tells what may be acknowledged.
//!
//! The loop of a core performs what the log wants done and carries the news to the other cores; everything else is here.
//! It is the loop of whoever holds the shard: its own core, or one that has borrowed it and writes down what it has done.
//! What a write has come to is a borrower's business only if nothing is to be done about it ([`Appender::is_calm`]);
//! else the shard's own core hears of it ([`Errand`]).

use super::faults::Faults;
use super::log::Log;
use super::release::{Part, Release};
use super::segment::{Completion, Policy};
use crate::shard::journal::{Cut, Journal, Sealed};

/// A turn with more than this is followed by more.
const MANY_BYTES: usize = 64 * 1024;

/// What the other cores are told when something of a shard has become durable.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct News {
    /// News of an earlier time in which the file was on are nobody's.
    pub epoch: u64,
    pub shard: usize,
    /// For everybody, in the order of the journal. Only the shard's own core tells of any.
    pub parts: Vec<Part>,
    /// The last record that may be acknowledged now, and the one that could be before: for those who wait for it.
    pub released: u64,
    pub before: u64,
}

/// What another core leaves to a shard's own core.
#[derive(Debug)]
pub enum Errand {
    /// A write or sync of the segment of this generation is over.
    Written { generation: u64, completion: Completion },
    /// So are zeros ahead of the records.
    Zeros { generation: u64, written: Result<usize, i32> },
    /// There may be something to write.
    Look,
}

pub struct Appender {
    own: usize,
    shards: usize,
    /// While the file is on.
    log: Option<Log>,
    /// The generation with which the file was switched on last.
    epoch: u64,
    /// Listens before the own log begins: another core may be first.
    release: Release,
    told: u64,
}

impl Appender {
    pub fn new(own: usize, shards: usize) -> Self {
        Self { own, shards, log: None, epoch: 0, release: Release::new(own, shards, Faults::NONE), told: 0 }
    }

    fn enter(&mut self, epoch: u64) {
        if epoch > self.epoch {
            self.epoch = epoch;
            self.release = Release::new(self.own, self.shards, Faults::NONE);
            self.told = 0;
        }
    }

    /// The file is on from the next record of the journal on.
    pub fn begin(&mut self, generation: u64, run: u64, policy: Policy, now_ms: u64) {
        self.enter(generation);
        self.log = Some(Log::new(run, generation, policy, 0, now_ms, Faults::NONE));
    }

    /// The file is off: what was not written is lost.
    pub fn end(&mut self) {
        self.log = None;
    }

    pub fn log(&mut self) -> Option<&mut Log> {
        self.log.as_mut()
    }

    pub fn is_on(&self) -> bool {
        self.log.is_some()
    }

    /// Takes what the journal has, if it is to be written now, or `all` is to be.
    pub fn collect(&mut self, journal: &mut Journal, all: bool, now_ms: u64) {
        let Some(log) = &mut self.log else { return };
        for (sequence, membership) in journal.take_parts() {
            self.release.journalled(sequence, &membership);
        }
        journal.sum();
        let cut = journal.take_cut();
        let bytes = journal.sealed_bytes();
        if !log.offer(bytes, now_ms) && !all && cut.is_none() {
            return;
        }
        let sealed = (bytes > 0).then(|| log.lend(bytes >= MANY_BYTES)).and_then(|next| journal.take(next));
        match (cut, sealed) {
            (None, None) => {}
            (Some(Cut { generation, .. }), None) => log.rotate(generation, now_ms),
            (None, Some(Sealed { bytes, last })) => log.hand_over(bytes, last, now_ms),
            (Some(Cut { sequence, at, generation }), Some(Sealed { bytes, last })) => {
                let (before, behind) = bytes.bytes().split_at(at);
                if !before.is_empty() {
                    log.append(before, sequence, now_ms);
                }
                log.rotate(generation, now_ms);
                if !behind.is_empty() {
                    log.append(behind, last, now_ms);
                }
            }
        }
    }

    /// Whether the file is on and all is well, so that a borrower may write down what it does here.
    pub fn is_calm(&self) -> bool {
        self.log.as_ref().is_some_and(|log| log.error().is_none())
    }

    /// Whether what a write has come to can be taken in by a core that has borrowed the shard. Transactions over several
    /// shards are told of in the order of the journal, and only one core can keep that order.
    pub fn can_be_completed_by_others(&self, completion: &Completion) -> bool {
        let is_well = completion.written.is_ok() && completion.synced.as_ref().is_none_or(Result::is_ok);
        is_well && self.is_calm() && self.release.is_idle()
    }

    /// Another core has news.
    pub fn hear(&mut self, news: &News) {
        self.enter(news.epoch);
        if news.epoch == self.epoch {
            self.release.told(news.shard, &news.parts);
        }
    }

    /// What the other cores are to be told, if anything. `waited_for`: whether replies wait for that.
    pub fn news(&mut self, waited_for: bool) -> Option<News> {
        let durable = self.log.as_ref()?.durable();
        let parts = self.release.durable(durable);
        self.release.settle();
        let released = self.release.released();
        if parts.is_empty() && (released == self.told || !waited_for) {
            return None;
        }
        let before = std::mem::replace(&mut self.told, released);
        Some(News { epoch: self.epoch, shard: self.own, parts, released, before })
    }

    pub fn epoch(&self) -> u64 {
        self.epoch
    }
}

#[cfg(test)]
mod tests {
    use super::super::segment::Action;
    use super::*;

    /// A rewrite began while the first records since the last write were still to come: the old segment believed that
    /// they were its own and was never complete, so that the server did not end.
    #[test]
    fn what_waits_behind_a_cut_is_not_of_the_segment_before() {
        for before in [0, 1] {
            let (mut journal, mut appender) = (Journal::default(), Appender::new(0, 1));
            journal.start(0);
            appender.begin(1, 7, Policy::EverySecond, 0);
            let set = |journal: &mut Journal| {
                journal.effect(0, [&b"SET"[..], b"k", b"v"].into_iter());
                journal.seal();
            };
            (0..before).for_each(|_| set(&mut journal));
            appender.collect(&mut journal, false, 0);
            assert!(!appender.log().expect("it is on").is_durable() || before == 0);
            journal.cut(2);
            set(&mut journal);
            appender.collect(&mut journal, false, 0);
            assert!(!journal.has_sealed());
            appender.log().expect("it is on").hurry();
            let mut written = Vec::new();
            while let Some((generation, action)) = appender.log().and_then(|log| log.next(0)) {
                let Action::Write { buffer, bytes, .. } = action else { panic!("writes are synced at once") };
                written.push(generation);
                let completion =
                    Completion { buffer: Some(buffer), written: Ok(bytes), synced: Some(Ok(())) };
                appender.log().expect("it is on").completed(generation, completion, 0);
            }
            let log = appender.log().expect("it is on");
            assert!(log.is_durable() && log.oldest_generation() == 2, "{before} before");
            assert_eq!((written.len(), log.durable()), (before + 1, before as u64 + 1));
        }
    }
}
