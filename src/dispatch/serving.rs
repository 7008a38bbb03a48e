//! A shard's part in transactions: who may run here now, what waits, and what its journal hears of it all.

use super::account;
use super::message::{Item, Message, Order, Participants, Ticket};
use super::procedure::Work;
use super::run::run_item;
use super::transactions::{Local, Whole, each_intent};
use super::{Dispatch, Flow};
use crate::client::ClientKey;
use crate::command_table::{Command, Contribution, Flag, ShardHandler};
use crate::resp::{Argv, ArgvBuf};
use crate::session::CoreState;
use crate::shard::journal::record::Membership;
use crate::transaction::{Admission, Answer, Host, Intent, KeySet, Mode, Request, Scheduler, Txn};
use std::collections::HashMap;

/// What this core has to know of transactions as the owner of a shard.
#[derive(Default)]
pub struct Serving {
    scheduler: Scheduler<Work, Waiting>,
    /// By number: the transactions with a place here that change data.
    members: HashMap<u64, Member>,
    /// Those who ask for places, and who give them up, of this turn: served in the order of their numbers.
    asking: Vec<(Request<Work>, Option<Participants>)>,
}

impl Serving {
    pub fn is_asked(&self) -> bool {
        !self.asking.is_empty()
    }
}

/// What a shard's journal has to know of a transaction that has a place here.
struct Member {
    participants: Participants,
    /// What it has done here so far.
    effects: Vec<u8>,
}

/// What has to wait on a shard for transactions.
pub enum Waiting {
    /// A command; `origin` is the core of its client.
    Command { origin: usize, item: Item, argv: ArgvBuf },
    /// Commands that run there one after the other with nothing in between.
    Whole { origin: usize, id: usize, work: Work },
}

/// A command that had to wait, with its reply, on the way back to its client's core.
pub struct Late {
    item: Item,
    argv: ArgvBuf,
    reply: Vec<u8>,
}

/// The intents of a command of one shard; those without keys there (SCAN) look at all of it.
fn intents_here(core: &CoreState, command: &Command, argv: Argv<'_>) -> (Vec<Intent>, Option<Mode>) {
    let mut intents = Vec::new();
    each_intent(core, command, argv, |_, intent| intents.push(intent));
    let whole = match () {
        _ if !command.spec.keys.is_empty() => None,
        _ if command.is_write() => Some(Mode::Exclusive),
        _ => command.spec.flags.contains(Flag::ReadOnly).then_some(Mode::Shared),
    };
    (intents, whole)
}

impl Dispatch {
    /// As a shard: commands that belong together have come.
    pub(super) fn run_whole(&mut self, core: &mut CoreState, origin: usize, whole: Whole) {
        let Whole { id, client_id, keys, work } = whole;
        let scheduler = &mut self.transactions.serving.scheduler;
        if core.shard.scheduled
            && scheduler.admit(client_id, keys.keys(), keys.whole_mode()) == Admission::Defer
        {
            return scheduler.defer(client_id, keys, Waiting::Whole { origin, id, work });
        }
        let result = work.run(core);
        core.shard.effects.journal.seal();
        let now = core.now.unix;
        core.shard.serve_ready(now);
        self.links.send(origin, Message::WholeDone { id, result });
    }

    /// A coordinator asks for a place on this shard, or gives it up.
    pub(super) fn asked(&mut self, request: Request<Work>, participants: Option<Participants>) {
        self.transactions.serving.asking.push((request, participants));
    }

    /// Gives the places that were asked for in this turn.
    pub(super) fn serve_asking(&mut self, core: &mut CoreState) {
        if self.transactions.serving.asking.is_empty() {
            return;
        }
        let mut asking = std::mem::take(&mut self.transactions.serving.asking);
        // Stable: who gives a place up comes behind his own asking.
        asking.sort_by_key(|(request, _)| match request {
            Request::Schedule { txn, .. } | Request::Withdraw { txn } => txn.number,
            _ => unreachable!("the others are not put off"),
        });
        for (request, participants) in asking {
            self.serve(core, request, participants);
        }
        self.pump(core);
    }

    /// As a shard: takes a coordinator's message.
    pub(super) fn serve(
        &mut self,
        core: &mut CoreState,
        request: Request<Work>,
        participants: Option<Participants>,
    ) {
        if matches!(request, Request::SeatFree) {
            return self.retry_held(core);
        }
        let Serving { scheduler, members, .. } = &mut self.transactions.serving;
        match &request {
            Request::Schedule { txn, keys, .. } => {
                core.shard.held.enter(txn.number, keys.clone());
                if let Some(participants) = participants {
                    members.insert(txn.number, Member { participants, effects: Vec::new() });
                }
            }
            // It has done nothing here.
            Request::Withdraw { txn } => {
                core.shard.held.leave(txn.number);
                members.remove(&txn.number);
            }
            _ => {}
        }
        let mut runner = Runner { core, members, answers: Vec::new(), late: Vec::new(), whole: Vec::new() };
        scheduler.receive(request, &mut runner);
        let Runner { answers, late, whole, .. } = runner;
        core.shard.scheduled = !self.transactions.serving.scheduler.is_idle();
        for (txn, answer) in answers {
            if matches!(answer, Answer::Refused) {
                core.shard.held.leave(txn.number);
                self.transactions.serving.members.remove(&txn.number);
            }
            let coordinator = txn.coordinator as usize;
            if coordinator == core.index {
                self.transactions.local.push_back(Local::Answer(core.index, txn, answer));
            } else {
                self.links.send(coordinator, Message::Agreement { shard: core.index, txn, answer });
            }
        }
        for (origin, id, result) in whole {
            self.links.send(origin, Message::WholeDone { id, result });
        }
        for (origin, late) in late {
            if origin == core.index {
                deliver(core, origin, late);
            } else {
                self.links.send(origin, Message::Late(late));
            }
        }
    }

    /// A command of a client of this core for this shard, while transactions are under way here: whether it had
    /// to be put in their line.
    pub(super) fn defer_here(
        &mut self,
        core: &mut CoreState,
        key: ClientKey,
        command: &Command,
        run: ShardHandler,
        argv: Argv<'_>,
    ) -> Option<Flow> {
        let (intents, whole) = intents_here(core, command, argv);
        let client_id = core.clients.running(key).id;
        if self.transactions.serving.scheduler.admit(client_id, &intents, whole) == Admission::Run {
            return None;
        }
        let owner = core.index;
        let order = Order::of_client(core, key, command, run, owner);
        let waiting = Waiting::Command { origin: owner, item: Item::new(order), argv: argv.to_owned() };
        self.transactions.serving.scheduler.defer(client_id, key_set(intents, whole), waiting);
        Some(Flow::Next)
    }

    /// A batch of another core, while transactions are under way here.
    pub(super) fn run_contended(&mut self, core: &mut CoreState, origin: usize, batch: &mut super::Batch) {
        for index in 0..batch.len() {
            let item = *batch.item(index);
            let (intents, whole) = intents_here(core, &item.command, batch.argv(index));
            let admission = self.transactions.serving.scheduler.admit(item.client_id, &intents, whole);
            if admission == Admission::Defer {
                let waiting = Waiting::Command { origin, item, argv: batch.argv(index).to_owned() };
                self.transactions.serving.scheduler.defer(item.client_id, key_set(intents, whole), waiting);
                batch.set_deferred(index);
                continue;
            }
            let now = core.now.unix;
            let shard = &mut core.shard;
            batch.run(index..index + 1, |item, argv, replies| {
                let result = run_item(shard, now, item, argv, replies);
                shard.serve_ready(now);
                result
            });
        }
    }
}

fn key_set(intents: Vec<Intent>, whole: Option<Mode>) -> KeySet {
    let set = KeySet::new(intents);
    match whole {
        Some(mode) => set.and_whole(mode),
        None => set,
    }
}

/// The reply of a command that had to wait has come to its client's core.
#[expect(clippy::boxed_local, reason = "it comes in its box from another core")]
pub fn deliver(core: &mut CoreState, shard: usize, late: Box<Late>) {
    if late.item.command.is_write() {
        core.acknowledge.hear_write();
    }
    let Ticket::Slot(slot) = late.item.ticket;
    account::returned(core, shard, &late.item, slot, late.argv.as_argv(), &late.reply);
}

/// Runs what the scheduler releases.
struct Runner<'a> {
    core: &'a mut CoreState,
    members: &'a mut HashMap<u64, Member>,
    answers: Vec<(Txn, Answer<Contribution>)>,
    late: Vec<(usize, Box<Late>)>,
    whole: Vec<(usize, usize, Contribution)>,
}

impl Runner<'_> {
    /// A piece of a transaction's work has run here, or it has ended: what it has done waits for its end, which makes
    /// it one record.
    fn journal(&mut self, txn: Txn, concludes: bool) {
        if concludes {
            self.core.shard.held.leave(txn.number);
        }
        let journal = &mut self.core.shard.effects.journal;
        let Some(member) = self.members.get_mut(&txn.number) else { return journal.seal() };
        journal.take_unit(&mut member.effects);
        if concludes {
            let Member { participants, effects } = self.members.remove(&txn.number).expect("just looked at");
            journal.put_unit(&effects);
            if participants.len() == 1 {
                return journal.seal();
            }
            let participants = participants.iter().copied().collect();
            journal.seal_part(&Membership { transaction: txn.number, participants });
        }
    }

    fn serve_waiting(&mut self, txn: Txn) {
        let now = self.core.now.unix;
        if self.core.shard.effects.is_attentive() {
            self.core.shard.effects.waits().resume(txn.number);
            self.core.shard.serve_ready(now);
        }
    }
}

impl Host<Work, Waiting> for Runner<'_> {
    type Result = Contribution;

    fn run(&mut self, txn: Txn, work: Work, concludes: bool) -> Contribution {
        let result = work.run(self.core);
        self.journal(txn, concludes);
        if !self.core.shard.effects.is_attentive() {
        } else if concludes {
            self.serve_waiting(txn);
        } else {
            self.core.shard.effects.waits().set_aside(txn.number);
        }
        result
    }

    fn concluded(&mut self, txn: Txn) {
        self.journal(txn, true);
        self.serve_waiting(txn);
    }

    fn command(&mut self, waiting: Waiting) {
        let now = self.core.now.unix;
        let (origin, mut item, argv) = match waiting {
            Waiting::Command { origin, item, argv } => (origin, item, argv),
            Waiting::Whole { origin, id, work } => {
                let result = work.run(self.core);
                self.core.shard.effects.journal.seal();
                self.core.shard.serve_ready(now);
                self.whole.push((origin, id, result));
                return;
            }
        };
        let mut reply = Vec::new();
        (item.nanoseconds, item.failed) =
            run_item(&mut self.core.shard, now, &item, argv.as_argv(), &mut reply);
        self.core.shard.serve_ready(now);
        self.late.push((origin, Box::new(Late { item, argv, reply })));
    }

    fn answer(&mut self, txn: Txn, answer: Answer<Contribution>) {
        self.answers.push((txn, answer));
    }
}
