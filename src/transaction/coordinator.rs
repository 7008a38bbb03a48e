//! The coordinator's part of the protocol: takes a place on every shard, leads the hops, tries again.
//!
//! | phase | until | then |
//! |---|---|---|
//! | held back | the [`Sequence`] admits it | scheduling |
//! | scheduling | a shard refuses | withdrawn everywhere; scheduling again, or held back |
//! | scheduling | every shard has granted or queued, and every read has answered | [`Progress::Scheduled`] |
//! | idle | [`Coordinator::hop`] | in a hop |
//! | in a hop | every shard has answered | [`Progress::Answered`], after the last hop [`Progress::Finished`] |
//! | idle | [`Coordinator::conclude`] | gone |
//!
//! Invariants
//!   C1  Answers to an attempt that was withdrawn are recognised by their number and ignored.
//!   C2  A hop is sent only when the transaction has its place on every shard.
//!   C3  Whoever is held back holds nothing on any shard.
//!   C4  A ticket is given back exactly once, by the transaction that drew it.
//!   C5  No shard is left before all shards with work are held: granted, or reached at the head. One that is waiting in a
//!       queue may still get behind somebody who comes to the shard that was left, and sees there what has not
//!       happened yet here.

use super::{Answer, Fault, Faults, KeySet, Request, Sequence, Txn};
use std::collections::VecDeque;

/// Refusals after which a transaction draws a ticket.
pub const PATIENCE: u32 = 12;

/// `R` is the result of a shard's work.
pub struct Coordinator<R> {
    core: u32,
    cores: u32,
    active: Vec<Option<Active<R>>>,
    free: Vec<u32>,
    /// Those that wait for the [`Sequence`] to admit them, in order of arrival.
    held: VecDeque<u32>,
    /// Of all attempts so far.
    pub refusals: u64,
    /// Transactions so far.
    pub started: u64,
    /// [`PATIENCE`], but for tests that want tickets drawn.
    pub patience: u32,
    faults: Faults,
}

struct Active<R> {
    number: u64,
    parts: Vec<Part<R>>,
    phase: Phase,
    refusals: u32,
    ticket: Option<u64>,
    /// Answers that are still to come.
    missing: usize,
}

struct Part<R> {
    shard: usize,
    keys: KeySet,
    /// An answer to this part is still to come.
    waits: bool,
    /// Nobody is in front of it there: it was granted, or has run at the head and stayed.
    held: bool,
    left: bool,
    reads: bool,
    result: Option<R>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    Held,
    Scheduling,
    Idle,
    Hop { last: bool },
}

/// What an answer has led to.
#[derive(Debug, Eq, PartialEq)]
pub enum Progress<R> {
    /// More answers are to come.
    Nothing,
    /// [`Coordinator::attempt`] is due.
    Again(u32),
    /// All shards hold the intents. The results are those of reads: each with its shard, in the order of the parts.
    /// Next is a hop or the conclusion.
    Scheduled(u32, Vec<(usize, R)>),
    /// A hop has run. Next is another or the conclusion.
    Answered(u32, Vec<(usize, R)>),
    /// The last hop has run; the transaction is no more.
    Finished(u32, Vec<(usize, R)>),
}

impl<R> Coordinator<R> {
    pub fn new(core: usize, cores: usize, faults: Faults) -> Self {
        Self {
            core: core as u32,
            cores: cores as u32,
            active: Vec::new(),
            free: Vec::new(),
            held: VecDeque::new(),
            refusals: 0,
            started: 0,
            patience: PATIENCE,
            faults,
        }
    }

    /// A new transaction and what it intends on each shard, each shard once. Says whether
    /// [`Self::attempt`] is due now; else [`Self::next_held`] will name it.
    pub fn begin(&mut self, sequence: &Sequence, parts: Vec<(usize, KeySet)>) -> (u32, bool) {
        debug_assert!(!parts.is_empty(), "a transaction has a shard");
        let part = |(shard, keys)| Part {
            shard,
            keys,
            waits: false,
            held: false,
            left: false,
            reads: false,
            result: None,
        };
        let active = Active {
            number: 0,
            parts: parts.into_iter().map(part).collect(),
            phase: Phase::Held,
            refusals: 0,
            ticket: None,
            missing: 0,
        };
        let id = match self.free.pop() {
            Some(id) => {
                self.active[id as usize] = Some(active);
                id
            }
            None => {
                self.active.push(Some(active));
                self.active.len() as u32 - 1
            }
        };
        self.started += 1;
        let admitted = sequence.admits(None);
        if !admitted {
            self.held.push_back(id);
        }
        (id, admitted)
    }

    /// Asks all shards for a place. `read` gives each shard work that changes nothing, to be run as soon as its
    /// intents are granted; it is asked again at each attempt.
    pub fn attempt<W>(
        &mut self,
        sequence: &Sequence,
        id: u32,
        mut read: impl FnMut(usize) -> Option<W>,
        send: &mut impl FnMut(usize, Request<W>),
    ) {
        let core = self.core;
        let active = self.active_mut(id);
        assert_eq!(active.phase, Phase::Held, "C3");
        let txn = Txn { number: sequence.number(), coordinator: core, id };
        (active.number, active.phase, active.missing) = (txn.number, Phase::Scheduling, active.parts.len());
        for part in &mut active.parts {
            let read = read(part.shard);
            (part.waits, part.held, part.reads, part.result) = (true, false, read.is_some(), None);
            send(part.shard, Request::Schedule { txn, keys: part.keys.clone(), read });
        }
    }

    /// Takes a shard's answer.
    pub fn answer<W>(
        &mut self,
        sequence: &Sequence,
        shard: usize,
        txn: Txn,
        answer: Answer<R>,
        send: &mut impl FnMut(usize, Request<W>),
    ) -> Progress<R> {
        let early = self.faults.has(Fault::AnsweredByTheFirstShard);
        let Some(active) = self.active.get_mut(txn.id as usize).and_then(Option::as_mut) else {
            return Progress::Nothing;
        };
        if active.number != txn.number || active.phase == Phase::Held {
            return Progress::Nothing; // C1
        }
        let part = active.parts.iter_mut().find(|part| part.shard == shard).expect("it was asked");
        if early && !part.waits {
            return Progress::Nothing;
        }
        assert!(part.waits, "each part answers once");
        match answer {
            Answer::Refused => return self.refused(sequence, txn, shard, send),
            Answer::Queued if part.reads => return Progress::Nothing,
            Answer::Queued => {}
            Answer::Granted(result) => (part.held, part.result) = (true, result),
            Answer::Done(result) => (part.held, part.result) = (true, Some(result)),
        }
        part.waits = false;
        active.missing -= 1;
        let in_hop = matches!(active.phase, Phase::Hop { .. });
        if active.missing > 0 && !(early && in_hop) {
            return Progress::Nothing;
        }
        let phase = std::mem::replace(&mut active.phase, Phase::Idle);
        for part in active.parts.iter_mut().filter(|_| early) {
            part.waits = false;
        }
        let parts = active.parts.iter_mut();
        let results = parts.filter_map(|part| Some((part.shard, part.result.take()?))).collect();
        match phase {
            Phase::Held | Phase::Idle => unreachable!("nothing was asked"),
            Phase::Scheduling => Progress::Scheduled(txn.id, results),
            Phase::Hop { last: false } => Progress::Answered(txn.id, results),
            Phase::Hop { last: true } => {
                for part in active.parts.iter().filter(|part| !part.left) {
                    send(part.shard, Request::Conclude { txn });
                }
                self.finish(sequence, txn.id, send);
                Progress::Finished(txn.id, results)
            }
        }
    }

    /// The next hop: work for some of the shards, at least one. After the `last` all shards are left, also those that
    /// have no work in it: at once where nothing else has to be waited for (C5), else when all have answered.
    pub fn hop<W>(
        &mut self,
        id: u32,
        work: Vec<(usize, W)>,
        last: bool,
        send: &mut impl FnMut(usize, Request<W>),
    ) {
        let core = self.core;
        let hasty = self.faults.has(Fault::ConcludesBeforeAllAreHeld);
        let active = self.active_mut(id);
        assert_eq!(active.phase, Phase::Idle, "C2");
        assert!(!work.is_empty(), "a hop without work is a conclusion");
        let txn = Txn { number: active.number, coordinator: core, id };
        (active.phase, active.missing) = (Phase::Hop { last }, work.len());
        for (shard, _) in &work {
            let part = active.part_mut(*shard);
            assert!(!std::mem::replace(&mut part.waits, true), "one piece of work per shard and hop");
        }
        let unheld = active.parts.iter().filter(|part| part.waits && !part.held).count();
        for (shard, work) in work {
            let part = active.part_mut(shard);
            // C5: this shard may be left with its work if all the others are held.
            part.left = last && (unheld == usize::from(!part.held) || hasty);
            send(shard, Request::Hop { txn, work, last: part.left });
        }
        for part in active.parts.iter_mut().filter(|part| last && !part.waits && (unheld == 0 || hasty)) {
            part.left = true;
            send(part.shard, Request::Conclude { txn });
        }
    }

    /// The end without further work. The shards do not answer.
    pub fn conclude<W>(&mut self, sequence: &Sequence, id: u32, send: &mut impl FnMut(usize, Request<W>)) {
        let core = self.core;
        let active = self.active_mut(id);
        assert_eq!(active.phase, Phase::Idle, "a transaction concludes between two hops");
        let txn = Txn { number: active.number, coordinator: core, id };
        for part in &active.parts {
            send(part.shard, Request::Conclude { txn });
        }
        self.finish(sequence, id, send);
    }

    /// One of those held back that may try now, if any: [`Self::attempt`] is due for it. To be asked until it finds
    /// nothing, after [`Request::SeatFree`] and after every end of a transaction here.
    pub fn next_held(&mut self, sequence: &Sequence) -> Option<u32> {
        if self.held.is_empty() {
            return None;
        }
        let admitted = |id: &u32| {
            let active = self.active[*id as usize].as_ref().expect("held back means alive");
            sequence.admits(active.ticket)
        };
        let index = self.held.iter().position(admitted)?;
        self.held.remove(index)
    }

    /// Transactions under way or held back.
    pub fn active(&self) -> usize {
        self.active.len() - self.free.len()
    }

    fn refused<W, R2>(
        &mut self,
        sequence: &Sequence,
        txn: Txn,
        refusing: usize,
        send: &mut impl FnMut(usize, Request<W>),
    ) -> Progress<R2> {
        self.refusals += 1;
        let patience = self.patience;
        let active = self.active_mut(txn.id);
        assert_eq!(active.phase, Phase::Scheduling, "only a place is refused");
        active.phase = Phase::Held;
        // Also where the answer is still on its way: the withdrawal follows the request on the same channel.
        for part in &active.parts {
            if part.shard != refusing {
                send(part.shard, Request::Withdraw { txn });
            }
        }
        active.refusals += 1;
        if active.refusals >= patience && active.ticket.is_none() {
            active.ticket = Some(sequence.draw_ticket());
        }
        if sequence.admits(active.ticket) {
            Progress::Again(txn.id)
        } else {
            self.held.push_back(txn.id);
            Progress::Nothing
        }
    }

    fn finish<W>(&mut self, sequence: &Sequence, id: u32, send: &mut impl FnMut(usize, Request<W>)) {
        let active = self.active[id as usize].take().expect("it finishes once");
        self.free.push(id);
        if let Some(ticket) = active.ticket {
            sequence.leave(ticket);
            for core in (0..self.cores).filter(|core| *core != self.core) {
                send(core as usize, Request::SeatFree);
            }
        }
    }

    fn active_mut(&mut self, id: u32) -> &mut Active<R> {
        self.active[id as usize].as_mut().expect("a transaction under way")
    }
}

impl<R> Active<R> {
    fn part_mut(&mut self, shard: usize) -> &mut Part<R> {
        let part = self.parts.iter_mut().find(|part| part.shard == shard);
        part.expect("a hop goes where the transaction has a place")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::Intent;

    type Sent = Vec<(usize, Request<&'static str>)>;

    fn parts() -> Vec<(usize, KeySet)> {
        [2, 5].map(|shard| (shard, KeySet::new(vec![Intent::exclusive(shard as u64)]))).to_vec()
    }

    fn txn_of(request: &Request<&'static str>) -> Txn {
        match request {
            Request::Schedule { txn, .. }
            | Request::Hop { txn, .. }
            | Request::Conclude { txn }
            | Request::Withdraw { txn } => *txn,
            Request::SeatFree => panic!("no transaction"),
        }
    }

    /// Sends into a list that is emptied by each call.
    fn with<T>(run: impl FnOnce(&mut dyn FnMut(usize, Request<&'static str>)) -> T) -> (T, Sent) {
        let mut sent = Sent::new();
        let result = run(&mut |shard, request| sent.push((shard, request)));
        (result, sent)
    }

    #[test]
    fn a_plan_of_two_hops() {
        let (sequence, mut coordinator) = (Sequence::default(), Coordinator::<i32>::new(1, 8, Faults::NONE));
        let (id, admitted) = coordinator.begin(&sequence, parts());
        assert!(admitted);
        let ((), sent) = with(|mut send| coordinator.attempt(&sequence, id, |_| None, &mut send));
        let txn = txn_of(&sent[0].1);
        assert_eq!(sent.iter().map(|(shard, _)| *shard).collect::<Vec<_>>(), [2, 5]);
        let mut answer =
            |shard, answer| with(|mut send| coordinator.answer(&sequence, shard, txn, answer, &mut send)).0;
        assert_eq!(answer(5, Answer::Queued), Progress::Nothing);
        assert_eq!(answer(2, Answer::Granted(None)), Progress::Scheduled(id, vec![]));
        let ((), sent) = with(|mut send| coordinator.hop(id, vec![(5, "look")], false, &mut send));
        assert!(matches!(sent[..], [(5, Request::Hop { work: "look", last: false, .. })]));
        let progress = with(|mut send| coordinator.answer(&sequence, 5, txn, Answer::Done(1), &mut send)).0;
        assert_eq!(progress, Progress::Answered(id, vec![(5, 1)]));
        let ((), sent) = with(|mut send| coordinator.hop(id, vec![(2, "do")], true, &mut send));
        assert!(matches!(sent[..], [(2, Request::Hop { last: true, .. }), (5, Request::Conclude { .. })]));
        let progress = with(|mut send| coordinator.answer(&sequence, 2, txn, Answer::Done(2), &mut send)).0;
        assert_eq!((progress, coordinator.active()), (Progress::Finished(id, vec![(2, 2)]), 0));
    }

    /// The simulator's first find: a transaction that waited on one shard had already left another, where somebody with a
    /// smaller number, for whom it waited, came after it.
    #[test]
    fn no_shard_is_left_while_two_are_waited_for() {
        for (answers, lasts) in [
            ([Answer::Granted(None), Answer::Granted(None)], [true, true]),
            ([Answer::Granted(None), Answer::Queued], [false, true]),
            ([Answer::Queued, Answer::Queued], [false, false]),
        ] {
            let (sequence, mut coordinator) =
                (Sequence::default(), Coordinator::<i32>::new(1, 8, Faults::NONE));
            let (id, _) = coordinator.begin(&sequence, parts());
            let ((), sent) = with(|mut send| coordinator.attempt(&sequence, id, |_| None, &mut send));
            let txn = txn_of(&sent[0].1);
            for (shard, answer) in [2, 5].into_iter().zip(answers) {
                with(|mut send| coordinator.answer(&sequence, shard, txn, answer, &mut send));
            }
            let ((), sent) = with(|mut send| coordinator.hop(id, vec![(2, "a"), (5, "b")], true, &mut send));
            let flags = |(_, request): &(usize, Request<&str>)| match request {
                Request::Hop { last, .. } => *last,
                _ => panic!("two hops"),
            };
            assert_eq!(sent.iter().map(flags).collect::<Vec<_>>(), lasts, "C5");
            let done = |shard| Answer::Done(shard);
            with(|mut send| coordinator.answer(&sequence, 2, txn, done(2), &mut send));
            let (progress, sent) = with(|mut send| coordinator.answer(&sequence, 5, txn, done(5), &mut send));
            assert_eq!(progress, Progress::Finished(id, vec![(2, 2), (5, 5)]));
            let left: Vec<usize> = sent.iter().map(|(shard, _)| *shard).collect();
            let expected = [2, 5].into_iter().zip(lasts).filter(|(_, last)| !last).map(|(shard, _)| shard);
            assert!(left.into_iter().eq(expected));
        }
    }

    #[test]
    fn a_refusal_withdraws_and_old_answers_are_ignored() {
        let (sequence, mut coordinator) = (Sequence::default(), Coordinator::<i32>::new(1, 8, Faults::NONE));
        let (id, _) = coordinator.begin(&sequence, parts());
        let ((), sent) = with(|mut send| coordinator.attempt(&sequence, id, |_| Some("get"), &mut send));
        let old = txn_of(&sent[0].1);
        let (progress, sent) =
            with(|mut send| coordinator.answer(&sequence, 2, old, Answer::Refused, &mut send));
        assert_eq!(progress, Progress::Again(id));
        assert!(matches!(sent[..], [(5, Request::Withdraw { txn })] if txn == old));
        let ((), sent) = with(|mut send| coordinator.attempt(&sequence, id, |_| Some("get"), &mut send));
        let new = txn_of(&sent[0].1);
        assert!(new.number > old.number);
        let mut answer = |shard, txn, answer| {
            with(|mut send| coordinator.answer(&sequence, shard, txn, answer, &mut send)).0
        };
        assert_eq!(answer(5, old, Answer::Granted(Some(13))), Progress::Nothing, "C1");
        assert_eq!(answer(5, new, Answer::Queued), Progress::Nothing);
        assert_eq!(answer(2, new, Answer::Granted(Some(1))), Progress::Nothing);
        assert_eq!(answer(5, new, Answer::Done(2)), Progress::Scheduled(id, vec![(2, 1), (5, 2)]));
        let ((), sent) = with(|mut send| coordinator.conclude(&sequence, id, &mut send));
        assert!(matches!(sent[..], [(2, Request::Conclude { .. }), (5, Request::Conclude { .. })]));
    }

    #[test]
    fn who_is_refused_too_often_gets_the_field_to_himself() {
        let (sequence, mut unlucky) = (Sequence::default(), Coordinator::<i32>::new(0, 2, Faults::NONE));
        let mut other = Coordinator::<i32>::new(1, 2, Faults::NONE);
        let (id, _) = unlucky.begin(&sequence, parts());
        let mut txn = Txn { number: 0, coordinator: 0, id };
        for refusal in 1..=PATIENCE {
            let ((), sent) = with(|mut send| unlucky.attempt(&sequence, id, |_| None, &mut send));
            txn = txn_of(&sent[0].1);
            assert!(sequence.admits(None), "{refusal}");
            let progress = with(|mut send| unlucky.answer(&sequence, 2, txn, Answer::Refused, &mut send)).0;
            assert_eq!(progress, Progress::Again(id));
        }
        let (late, admitted) = other.begin(&sequence, parts());
        assert!(!admitted && other.next_held(&sequence).is_none());
        let ((), sent) = with(|mut send| unlucky.attempt(&sequence, id, |_| None, &mut send));
        txn.number = txn_of(&sent[0].1).number;
        for shard in [2, 5] {
            with(|mut send| unlucky.answer(&sequence, shard, txn, Answer::Queued, &mut send));
        }
        let ((), sent) = with(|mut send| unlucky.conclude(&sequence, id, &mut send));
        assert!(matches!(sent[2], (1, Request::SeatFree)), "C4");
        assert_eq!((other.next_held(&sequence), other.next_held(&sequence)), (Some(late), None));
    }
}
