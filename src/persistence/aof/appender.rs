//! One core's part in the append-only file: takes the journal's records, and tells what may be acknowledged.
//!
//! The core's loop performs what the log wants done and carries the news to the other cores; everything else is here.

use super::faults::Faults;
use super::log::Log;
use super::release::{Part, Release};
use super::segment::{Completion, Policy};
use crate::shard::journal::{Cut, Journal, Sealed};

/// A turn with more than this is followed by more.
const MANY_BYTES: usize = 64 * 1024;

/// What a core tells all others when something has become durable.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct News {
    /// News of an earlier time in which the file was on are nobody's.
    pub epoch: u64,
    pub parts: Vec<Part>,
    /// The last record of the teller that may be acknowledged.
    pub released: u64,
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

    /// An action of the log is over; the generations whose segments are complete now.
    pub fn completed(&mut self, generation: u64, completion: Completion, now_ms: u64) -> Vec<u64> {
        let Some(log) = &mut self.log else { return Vec::new() };
        log.completed(generation, completion, now_ms)
    }

    /// Another core has news.
    pub fn hear(&mut self, from: usize, news: &News) {
        self.enter(news.epoch);
        if news.epoch == self.epoch {
            self.release.told(from, &news.parts);
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
        self.told = released;
        Some(News { epoch: self.epoch, parts, released })
    }

    /// The last record that may be acknowledged.
    pub fn released(&self) -> u64 {
        self.release.released()
    }

    pub fn epoch(&self) -> u64 {
        self.epoch
    }
}
