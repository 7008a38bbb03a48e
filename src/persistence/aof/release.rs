//! What may be acknowledged: of each shard's journal, what no crash can take away any more.
//!
//! Recovery keeps of each segment the longest prefix in which every transaction over shards is complete in the prefixes of
//! all its participants. So a record is safe when it is durable and would be kept by that cut, whatever else is durable:
//! a record behind a transaction of which another shard's part is missing is not. Nor is one behind a transaction that is
//! durable everywhere but stands, on another shard, behind one that is not: hence the cut itself is computed here, over
//! what is known to be durable on all shards.
//!
//! Each core tells all others which transactions have become durable in its own journal, in that order; that is all the
//! others need. Transactions may stand in different orders on two shards, so waiting for each other's prefixes to be
//! released would never end; the cut is the greatest solution, not the least.
//!
//! Invariants
//!   L1  `released()` only grows, and is at most what is durable here.
//!   L2  What is released is kept by the recovery cut of any state of the disks from then on.
//!   L3  When all participants have told of a transaction and of all before it, it is released: nothing waits forever.

use super::faults::{Fault, Faults};
use crate::shard::journal::record::Membership;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// A transaction that has become durable on some shard.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Part {
    pub transaction: u64,
    pub participants: Arc<[u32]>,
}

/// One core's view of all journals.
pub struct Release {
    own: usize,
    faults: Faults,
    /// Parts of transactions in the own journal that are not durable, with their sequences.
    journalled: VecDeque<(u64, Part)>,
    durable: u64,
    /// By shard: transactions that are durable there and not safe yet, in the order of its journal.
    waiting: Vec<VecDeque<u64>>,
    /// The sequences of `waiting[own]`.
    sequences: VecDeque<u64>,
    transactions: HashMap<u64, Waiting>,
    /// Something has come since the cut was computed.
    is_stale: bool,
}

struct Waiting {
    participants: Arc<[u32]>,
    /// Shards on which it is durable.
    durable_on: usize,
    /// Not in the cut that is being computed.
    is_out: bool,
}

impl Release {
    pub fn new(own: usize, shards: usize, faults: Faults) -> Self {
        Self {
            own,
            faults,
            journalled: VecDeque::new(),
            durable: 0,
            waiting: (0..shards).map(|_| VecDeque::new()).collect(),
            sequences: VecDeque::new(),
            transactions: HashMap::new(),
            is_stale: false,
        }
    }

    /// A part of a transaction has been written to the own journal.
    pub fn journalled(&mut self, sequence: u64, membership: &Membership) {
        let part = Part {
            transaction: membership.transaction,
            participants: Arc::from(&membership.participants[..]),
        };
        debug_assert!(part.participants.contains(&(self.own as u32)));
        self.journalled.push_back((sequence, part));
    }

    /// The own journal is durable up to here; what all other cores are to be told, if anything.
    pub fn durable(&mut self, sequence: u64) -> Vec<Part> {
        assert!(sequence >= self.durable, "L1");
        self.durable = sequence;
        let mut parts = Vec::new();
        while let Some((at, _)) = self.journalled.front()
            && *at <= sequence
        {
            let (at, part) = self.journalled.pop_front().expect("just seen");
            self.sequences.push_back(at);
            self.note(self.own, &part);
            parts.push(part);
        }
        parts
    }

    /// Another core has told what has become durable there.
    pub fn told(&mut self, shard: usize, parts: &[Part]) {
        parts.iter().for_each(|part| self.note(shard, part));
    }

    fn note(&mut self, shard: usize, part: &Part) {
        self.is_stale = true;
        self.waiting[shard].push_back(part.transaction);
        let waiting = self.transactions.entry(part.transaction).or_insert_with(|| Waiting {
            participants: part.participants.clone(),
            durable_on: 0,
            is_out: false,
        });
        waiting.durable_on += 1;
    }

    /// Transactions that have become safe: their replies may leave.
    pub fn settle(&mut self) -> Vec<u64> {
        if !std::mem::take(&mut self.is_stale) {
            return Vec::new();
        }
        let cuts = self.cuts();
        let mut safe = Vec::new();
        for (shard, cut) in cuts.into_iter().enumerate() {
            for transaction in self.waiting[shard].drain(..cut) {
                if shard == self.own {
                    self.sequences.pop_front();
                }
                let waiting = self.transactions.get_mut(&transaction).expect("counted by `note`");
                waiting.durable_on -= 1;
                if waiting.durable_on == 0 {
                    self.transactions.remove(&transaction);
                    safe.push(transaction);
                }
            }
        }
        safe
    }

    /// By shard: how many of its waiting transactions are safe.
    fn cuts(&mut self) -> Vec<usize> {
        for waiting in self.transactions.values_mut() {
            waiting.is_out = waiting.durable_on < waiting.participants.len();
        }
        let mut cuts: Vec<usize> = self.waiting.iter().map(VecDeque::len).collect();
        loop {
            let mut is_stable = true;
            for (shard, cut) in cuts.iter_mut().enumerate() {
                let inside = self.waiting[shard].iter().take(*cut);
                let first_out =
                    { inside }.position(|transaction| self.transactions[transaction].is_out).unwrap_or(*cut);
                if first_out == *cut {
                    continue;
                }
                if !self.faults.has(Fault::OthersPrefixesIgnored) {
                    for transaction in self.waiting[shard].range(first_out..*cut) {
                        let waiting = self.transactions.get_mut(transaction).expect("counted by `note`");
                        is_stable &= waiting.is_out;
                        waiting.is_out = true;
                    }
                }
                *cut = first_out;
            }
            if is_stable {
                return cuts;
            }
        }
    }

    /// The last record of the own journal that may be acknowledged.
    pub fn released(&self) -> u64 {
        if self.faults.has(Fault::ParticipantsNotAwaited) {
            return self.durable;
        }
        self.sequences.front().map_or(self.durable, |sequence| sequence - 1)
    }

    /// Whether every transaction that was journalled or told of is safe.
    pub fn is_idle(&self) -> bool {
        self.journalled.is_empty() && self.transactions.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(own: usize, shards: usize) -> Release {
        Release::new(own, shards, Faults::NONE)
    }

    fn part(transaction: u64, participants: &[u32]) -> Part {
        Part { transaction, participants: participants.into() }
    }

    fn journalled(release: &mut Release, sequence: u64, part: &Part) {
        let Part { transaction, participants } = part;
        let membership = Membership { transaction: *transaction, participants: participants[..].into() };
        release.journalled(sequence, &membership);
    }

    #[test]
    fn what_is_alone_is_released_when_it_is_durable() {
        let mut release = release(0, 2);
        assert_eq!(release.durable(7), []);
        assert_eq!((release.released(), release.settle()), (7, vec![]));
    }

    #[test]
    fn a_transaction_holds_back_what_stands_behind_it() {
        let mut release = release(0, 2);
        let part = part(9, &[0, 1]);
        journalled(&mut release, 3, &part);
        assert_eq!(release.durable(5), std::slice::from_ref(&part));
        assert_eq!((release.settle(), release.released()), (vec![], 2));
        release.told(1, &[part]);
        assert_eq!((release.settle(), release.released()), (vec![9], 5));
        assert!(release.is_idle());
    }

    #[test]
    fn l2_a_complete_transaction_behind_an_incomplete_one_of_strangers_is_not_safe() {
        let (mine, theirs) = (part(1, &[0, 1]), part(2, &[1, 2]));
        let mut release = release(0, 3);
        journalled(&mut release, 1, &mine);
        release.durable(1);
        release.told(1, &[theirs.clone(), mine]);
        assert_eq!((release.settle(), release.released()), (vec![], 0));
        release.told(2, &[theirs]);
        let mut safe = release.settle();
        safe.sort_unstable();
        assert_eq!((safe, release.released()), (vec![1, 2], 1));
    }

    #[test]
    fn l3_opposite_orders_do_not_wait_for_each_other() {
        let (a, b) = (part(1, &[0, 1]), part(2, &[0, 1]));
        let mut release = release(0, 2);
        journalled(&mut release, 1, &a);
        journalled(&mut release, 2, &b);
        release.durable(2);
        release.told(1, &[b]);
        assert_eq!(release.settle(), []);
        release.told(1, &[a]);
        let mut safe = release.settle();
        safe.sort_unstable();
        assert_eq!((safe, release.released()), (vec![1, 2], 2));
    }
}
