//! One shard's part of the protocol: who may run now.
//!
//! | from | by | to |
//! |---|---|---|
//! | – | [`Scheduler::schedule`] | granted, waiting, or refused (and forgotten) |
//! | granted | [`Scheduler::hop`] | runs at once |
//! | waiting, not at the head | `hop` | armed |
//! | waiting, at the head | `hop` | runs at once |
//! | armed | [`Scheduler::next`], at the head | runs |
//! | any | last hop, [`Scheduler::conclude`], [`Scheduler::withdraw`] | gone; then `next` until it finds nothing |
//! | – | [`Scheduler::defer`] | a waiting command; runs by `next`, at the head |
//!
//! Invariants
//!   S1  The intents held are those of the entries of the queue.
//!   S2  A granted entry conflicts with nobody who was in the queue before it.
//!   S3  Who conflicts with an entry and came after it stands behind it.
//!   S4  When the shard comes to rest, the head is a transaction with nothing armed, or there is none.
//!   S6  `held` has the intents of those who hold this shard: granted, or run at the head and stayed. A transaction that
//!       only waits has not happened anywhere, so a command of one shard may run in front of it.
//!   S5  While a command of a client waits here, `admit` lets none of that client pass: they run in their order.

use super::intents::{Intent, Intents, KeySet, Mode};
use super::queue::Queue;
use super::{Answer, Fault, Faults, Request, Txn};
use std::collections::HashMap;

/// `W` is the work of a hop, `D` what the shard needs to run a deferred command.
pub struct Scheduler<W, D> {
    intents: Intents,
    held: Intents,
    queue: Queue<Entry<W, D>>,
    /// By client: how many of its commands wait here.
    deferred: HashMap<u64, u32>,
    pub stats: SchedulerStats,
    faults: Faults,
}

struct Entry<W, D> {
    keys: KeySet,
    what: What<W, D>,
}

enum What<W, D> {
    /// `holds`: granted, or run at the head and stayed.
    Transaction {
        txn: Txn,
        holds: bool,
        armed: Option<Armed<W>>,
    },
    Command {
        client: u64,
        command: D,
    },
}

impl<W, D> Entry<W, D> {
    fn holds(&self) -> bool {
        matches!(self.what, What::Transaction { holds: true, .. })
    }
}

struct Armed<W> {
    work: W,
    last: bool,
}

/// The answer to a request for a place.
#[derive(Debug, Eq, PartialEq)]
pub enum Schedule<W> {
    /// It may run; here is its read to be run now.
    Granted(Option<W>),
    Queued,
    Refused,
}

/// Whether a single-shard command may run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Admission {
    Run,
    Defer,
}

/// What may run now.
#[derive(Debug, Eq, PartialEq)]
pub enum Ready<W, D> {
    /// With `last` its transaction has just left the queue.
    Hop {
        txn: Txn,
        work: W,
        last: bool,
    },
    Command(D),
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SchedulerStats {
    pub granted: u64,
    pub queued: u64,
    pub refused: u64,
    pub deferred: u64,
}

/// Who runs the work that [`Scheduler::receive`] releases. Each call runs to completion before it returns.
pub trait Host<W, D> {
    type Result;

    /// Runs work of a transaction. If it `concludes`, blocked clients are served before this returns; if not, the keys
    /// it made ready are set aside until [`Host::concluded`] or a hop that concludes.
    fn run(&mut self, txn: Txn, work: W, concludes: bool) -> Self::Result;

    /// A transaction has ended here without a last piece of work. Keys it set aside are served now.
    fn concluded(&mut self, txn: Txn);

    /// Runs a command that waited, replies, serves blocked clients.
    fn command(&mut self, command: D);

    /// To be sent to the coordinator.
    fn answer(&mut self, txn: Txn, answer: Answer<Self::Result>);
}

impl<W, D> Default for Scheduler<W, D> {
    fn default() -> Self {
        Self::new(Faults::NONE)
    }
}

impl<W, D> Scheduler<W, D> {
    pub fn new(faults: Faults) -> Self {
        Self {
            intents: Intents::default(),
            held: Intents::default(),
            queue: Queue::default(),
            deferred: HashMap::new(),
            stats: SchedulerStats::default(),
            faults,
        }
    }

    /// Whether every single-shard command may just run. The common case, and all that it pays.
    #[inline]
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether a single-shard command may run now. If not, it has to be given to [`Self::defer`].
    pub fn admit(&self, client: u64, keys: &[Intent], whole: Option<Mode>) -> Admission {
        let behind_its_own =
            self.deferred.contains_key(&client) && !self.faults.has(Fault::DeferredOvertaken);
        if self.is_idle() || !behind_its_own && !self.held.conflict_with(keys, whole) {
            Admission::Run
        } else {
            Admission::Defer
        }
    }

    /// A command that may not run yet takes a place behind everybody.
    pub fn defer(&mut self, client: u64, keys: KeySet, command: D) {
        assert!(!self.is_idle(), "an idle shard runs everything at once");
        self.stats.deferred += 1;
        self.intents.take(&keys);
        *self.deferred.entry(client).or_default() += 1;
        self.queue.append(Entry { keys, what: What::Command { client, command } });
    }

    /// A transaction asks for a place. A read that is granted is for the caller to run now; one that has to wait
    /// comes out of [`Self::next`].
    pub fn schedule(&mut self, txn: Txn, keys: KeySet, read: Option<W>) -> Schedule<W> {
        let granted = !self.intents.conflict(&keys);
        if !granted && self.queue.is_late(txn.number) && !self.faults.has(Fault::RefusedTreatedAsQueued) {
            self.stats.refused += 1;
            return Schedule::Refused;
        }
        self.intents.take(&keys);
        let is_pure = keys.keys().iter().all(|intent| intent.mode == Mode::Shared);
        let (armed, answer) = if granted {
            self.stats.granted += 1;
            self.held.take(&keys);
            (None, Schedule::Granted(read))
        } else {
            self.stats.queued += 1;
            (read.map(|work| Armed { work, last: false }), Schedule::Queued)
        };
        self.queue.insert(txn.number, Entry { keys, what: What::Transaction { txn, holds: granted, armed } });
        if self.faults.has(Fault::ReadDoesNotHold) && is_pure && matches!(answer, Schedule::Granted(Some(_)))
        {
            self.conclude(txn);
        }
        answer
    }

    /// Work of a scheduled transaction: given back if it may run now, else kept until the head is reached.
    pub fn hop(&mut self, txn: Txn, work: W, last: bool) -> Option<W> {
        let at_head = self.queue.is_head(txn.number);
        let free = self.faults.has(Fault::RunsWithoutGrant);
        let entry = self.queue.find(txn.number).expect("a hop follows its scheduling");
        let What::Transaction { holds, armed, .. } = &mut entry.what else {
            unreachable!("Q2: a number is a transaction's")
        };
        assert!(armed.is_none(), "the next hop follows the answer to the one before");
        if !(*holds || at_head || free) {
            *armed = Some(Armed { work, last });
            return None;
        }
        if last {
            self.leave(txn);
        } else if self.faults.has(Fault::FirstHopConcludes) {
            let keys = std::mem::take(&mut entry.keys);
            if *holds {
                self.held.give_back(&keys);
            }
            self.intents.give_back(&keys);
        } else if !std::mem::replace(holds, true) {
            self.held.take(&entry.keys);
        }
        Some(work)
    }

    /// The end of a transaction without further work here.
    pub fn conclude(&mut self, txn: Txn) {
        let forgiven = self.faults.has(Fault::ReadDoesNotHold);
        assert!(self.leave(txn) || forgiven, "a transaction concludes once");
    }

    /// A transaction that was refused elsewhere goes. Says whether it was here: it was not if it was refused
    /// here too.
    pub fn withdraw(&mut self, txn: Txn) -> bool {
        if self.faults.has(Fault::WithdrawnLeavesIntent)
            && let Some(entry) = self.queue.remove(txn.number)
        {
            if entry.holds() {
                self.held.give_back(&entry.keys);
            }
            self.intents.give_back_but_one(&entry.keys);
            return true;
        }
        self.leave(txn)
    }

    fn leave(&mut self, txn: Txn) -> bool {
        match self.queue.remove(txn.number) {
            Some(entry) => {
                if entry.holds() {
                    self.held.give_back(&entry.keys);
                }
                self.intents.give_back(&entry.keys);
                true
            }
            None => false,
        }
    }

    /// What has become free to run at the head. To be asked, and what it gives to be run, until it finds
    /// nothing, whenever somebody has left.
    // It is not an iterator: between two calls the shard changes.
    #[expect(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Option<Ready<W, D>> {
        let head = self.queue.head()?;
        match &mut head.what {
            What::Transaction { txn, armed, holds } => {
                let Armed { work, last } = armed.take()?;
                let txn = *txn;
                if last {
                    self.leave(txn);
                } else if !std::mem::replace(holds, true) {
                    self.held.take(&head.keys);
                }
                Some(Ready::Hop { txn, work, last })
            }
            What::Command { .. } => {
                let Entry { keys, what: What::Command { client, command } } =
                    self.queue.pop().expect("it has a head")
                else {
                    unreachable!("just looked at")
                };
                self.intents.give_back(&keys);
                let left = self.deferred.get_mut(&client).expect("S5");
                *left -= 1;
                if *left == 0 {
                    self.deferred.remove(&client);
                }
                Some(Ready::Command(command))
            }
        }
    }

    /// Takes one message of the protocol and runs everything that it makes free to run.
    pub fn receive<H: Host<W, D>>(&mut self, request: Request<W>, host: &mut H) {
        match request {
            Request::Schedule { txn, keys, read } => {
                let answer = match self.schedule(txn, keys, read) {
                    Schedule::Granted(read) => Answer::Granted(read.map(|read| host.run(txn, read, false))),
                    Schedule::Queued => Answer::Queued,
                    Schedule::Refused => Answer::Refused,
                };
                host.answer(txn, answer);
            }
            Request::Hop { txn, work, last } => {
                if let Some(work) = self.hop(txn, work, last) {
                    let result = host.run(txn, work, last);
                    host.answer(txn, Answer::Done(result));
                    if last {
                        self.run_ready(host);
                    }
                }
            }
            Request::Conclude { txn } => {
                self.conclude(txn);
                host.concluded(txn);
                if !self.faults.has(Fault::HeadNotPolledAfterConclusion) {
                    self.run_ready(host);
                }
            }
            Request::Withdraw { txn } => {
                if self.withdraw(txn) && !self.faults.has(Fault::HeadNotPolledAfterWithdrawal) {
                    self.run_ready(host);
                }
            }
            Request::SeatFree => unreachable!("for the coordinator"),
        }
    }

    fn run_ready<H: Host<W, D>>(&mut self, host: &mut H) {
        while let Some(ready) = self.next() {
            match ready {
                Ready::Hop { txn, work, last } => {
                    let result = host.run(txn, work, last);
                    host.answer(txn, Answer::Done(result));
                }
                Ready::Command(command) => host.command(command),
            }
        }
    }

    pub fn intents(&self) -> &Intents {
        &self.intents
    }

    pub fn waiting(&self) -> usize {
        self.queue.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Plain = Scheduler<&'static str, &'static str>;

    fn txn(number: u64) -> Txn {
        Txn { number, coordinator: 0, id: number as u32 }
    }

    fn write(keys: &[u64]) -> KeySet {
        KeySet::new(keys.iter().map(|key| Intent::exclusive(*key)).collect())
    }

    fn read(keys: &[u64]) -> KeySet {
        KeySet::new(keys.iter().map(|key| Intent::shared(*key)).collect())
    }

    fn admitted(shard: &Plain, client: u64, set: &KeySet) -> bool {
        shard.admit(client, set.keys(), set.whole_mode()) == Admission::Run
    }

    #[test]
    fn the_granted_run_out_of_order_and_the_others_at_the_head() {
        let mut shard = Plain::default();
        assert_eq!(shard.schedule(txn(2), write(&[1]), None), Schedule::Granted(None));
        assert_eq!(shard.schedule(txn(3), write(&[1, 2]), None), Schedule::Queued);
        assert_eq!(shard.schedule(txn(4), write(&[9]), None), Schedule::Granted(None));
        assert_eq!(shard.hop(txn(4), "four", false), Some("four"));
        assert_eq!(shard.hop(txn(3), "three", true), None);
        assert_eq!(shard.next(), None);
        assert_eq!(shard.hop(txn(2), "two", true), Some("two"));
        assert_eq!(shard.next(), Some(Ready::Hop { txn: txn(3), work: "three", last: true }));
        assert_eq!(shard.next(), None, "S4: four has nothing armed");
        shard.conclude(txn(4));
        assert!(shard.is_idle() && shard.intents().is_empty(), "S1");
    }

    #[test]
    fn too_late_is_refused_only_with_a_conflict() {
        let mut shard = Plain::default();
        shard.schedule(txn(5), write(&[1]), None);
        assert_eq!(shard.schedule(txn(3), write(&[1]), None), Schedule::Refused);
        assert_eq!(shard.schedule(txn(4), write(&[2]), None), Schedule::Granted(None));
        assert!(shard.withdraw(txn(5)) && !shard.withdraw(txn(3)));
        assert!(admitted(&shard, 0, &write(&[1])), "a refused schedule leaves nothing");
    }

    #[test]
    fn a_read_that_waits_runs_at_the_head_and_stays() {
        let mut shard = Plain::default();
        shard.schedule(txn(1), write(&[1]), None);
        assert_eq!(shard.schedule(txn(2), read(&[2]), Some("free")), Schedule::Granted(Some("free")));
        assert_eq!(shard.schedule(txn(3), read(&[1]), Some("waits")), Schedule::Queued);
        shard.conclude(txn(2));
        shard.conclude(txn(1));
        assert_eq!(shard.next(), Some(Ready::Hop { txn: txn(3), work: "waits", last: false }));
        assert!(!admitted(&shard, 0, &write(&[1])) && admitted(&shard, 0, &read(&[1])));
    }

    #[test]
    fn a_client_with_a_deferred_command_overtakes_nobody() {
        let mut shard = Plain::default();
        let (one, two) = (write(&[1]), write(&[2]));
        shard.schedule(txn(1), one.clone(), None);
        assert!(!admitted(&shard, 7, &one) && admitted(&shard, 7, &two));
        shard.defer(7, one.clone(), "first");
        assert!(!admitted(&shard, 7, &two), "S5");
        assert!(admitted(&shard, 8, &two));
        shard.defer(7, two.clone(), "second");
        assert!(admitted(&shard, 8, &two), "S6: it holds nothing");
        assert_eq!(shard.schedule(txn(2), two.clone(), None), Schedule::Queued);
        shard.conclude(txn(1));
        assert_eq!(shard.next(), Some(Ready::Command("first")));
        assert_eq!(shard.next(), Some(Ready::Command("second")));
        assert_eq!(shard.next(), None);
        assert!(admitted(&shard, 7, &one) && admitted(&shard, 7, &two), "S6: it has a place and no more");
        assert_eq!(shard.hop(txn(2), "stays", false), Some("stays"));
        assert!(admitted(&shard, 7, &one) && !admitted(&shard, 7, &two), "S6: it has run");
        shard.conclude(txn(2));
        assert!(shard.is_idle() && shard.held.is_empty());
    }

    #[test]
    fn the_whole_shard_is_a_key_too() {
        let mut shard = Plain::default();
        assert_eq!(
            shard.schedule(txn(1), KeySet::whole(Mode::Shared), Some("count")),
            Schedule::Granted(Some("count"))
        );
        assert!(admitted(&shard, 0, &read(&[1])) && !admitted(&shard, 0, &write(&[1])));
        assert_eq!(shard.schedule(txn(2), KeySet::whole(Mode::Exclusive), None), Schedule::Queued);
        assert!(admitted(&shard, 0, &read(&[1])), "S6");
        shard.conclude(txn(1));
        assert_eq!(shard.hop(txn(2), "counts", false), Some("counts"));
        assert!(!admitted(&shard, 0, &read(&[1])), "S6");
    }
}
