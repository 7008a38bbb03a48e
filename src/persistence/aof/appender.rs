//! One core's part in the append-only file: takes the journal's records, and tells what may be acknowledged.
//!
//! The core's loop performs what the log wants done and carries the news to the other cores; everything else is here.

use super::faults::Faults;
use super::log::Log;
use super::release::{Part, Release};
use super::segment::{Completion, Policy};
use crate::shard::journal::record::passing;
use crate::shard::journal::{Cut, Journal};

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
    spare: Vec<u8>,
}

impl Appender {
    pub fn new(own: usize, shards: usize) -> Self {
        Self {
            own,
            shards,
            log: None,
            epoch: 0,
            release: Release::new(own, shards, Faults::NONE),
            told: 0,
            spare: Vec::new(),
        }
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

    /// Takes what the journal has.
    pub fn collect(&mut self, journal: &mut Journal, now_ms: u64) {
        let Some(log) = &mut self.log else { return };
        let cut = journal.take_cut();
        let spare = std::mem::take(&mut self.spare);
        let Some(sealed) = journal.take(spare) else {
            if let Some(Cut { generation, .. }) = cut {
                log.rotate(generation, now_ms);
            }
            return;
        };
        let (mut before, mut last_before) = (0, sealed.first - 1);
        for record in passing(&sealed.bytes) {
            if let Some(membership) = &record.membership {
                self.release.journalled(record.sequence, membership);
            }
            if cut.is_some_and(|cut| record.sequence <= cut.sequence) {
                (before, last_before) = (before + record.length, record.sequence);
            }
        }
        if let Some(Cut { generation, .. }) = cut {
            if before > 0 {
                log.append(&sealed.bytes[..before], last_before, now_ms);
            }
            log.rotate(generation, now_ms);
        }
        if before < sealed.bytes.len() {
            log.append(&sealed.bytes[before..], sealed.last, now_ms);
        }
        self.spare = sealed.bytes;
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
