//! What goes to the other cores and comes back: batches of commands, requests of transactions, calls.
//!
//! Commands for another core are collected during the turn and leave together at its end; a core that sleeps need not
//! be woken for them where its shard can be borrowed.

use super::message::{Batch, Dealt, Message, Moved, Order, Ticket};
use super::run::run_batch;
use super::{Dispatch, account, serving};
use crate::command_table::Contribution;
use crate::persistence::aof::appender::News;
use crate::session::CoreState;
use crate::transaction::Request;

/// A batch of this many bytes or commands goes to its queue before the turn ends.
pub(super) const BATCH_BYTES_MAX: usize = 256 * 1024;
const BATCH_ITEMS_MAX: usize = 1024;
/// Batches kept for reuse.
const SPARE_MAX: usize = 64;

impl Dispatch {
    /// Adds a command to the batch for a core.
    pub(super) fn order<'a>(&mut self, core: usize, order: Order, arguments: impl Iterator<Item = &'a [u8]>) {
        let batch = self.outgoing[core].get_or_insert_with(|| self.spare.pop().unwrap_or_default());
        batch.push(order, arguments);
        if batch.size() >= BATCH_BYTES_MAX || batch.len() >= BATCH_ITEMS_MAX {
            let batch = self.outgoing[core].take().expect("just filled");
            self.in_flight[core] += 1;
            self.links.send(core, Message::Work(batch));
        }
    }

    /// Hands the collected commands to the mesh.
    pub(super) fn send_outgoing(&mut self) {
        for core in 0..self.outgoing.len() {
            if let Some(batch) = self.outgoing[core].take() {
                self.in_flight[core] += 1;
                self.links.send(core, Message::Work(batch));
            }
        }
    }

    /// Ends the turn: everything collected leaves. Names each sleeping core that has to be woken.
    pub fn flush(&mut self, core: &mut CoreState, wake: impl FnMut(usize)) {
        self.attempt_all(core);
        self.send_outgoing();
        core.acknowledge.tell_position(core.shard.effects.journal.last_sequence());
        self.links.flush(wake);
    }

    /// Takes in what the other cores have sent; tells whether there was anything.
    pub fn receive(&mut self, core: &mut CoreState) -> bool {
        let mut any = false;
        for from in 0..core.cores {
            while let Some(message) = self.links.receive(from) {
                any = true;
                core.acknowledge.hear(from);
                self.message(core, from, message);
            }
        }
        self.serve_asking(core);
        any
    }

    fn message(&mut self, core: &mut CoreState, from: usize, message: Message) {
        match message {
            Message::Work(mut batch) => {
                core.counters.commands_for_others += batch.len() as u64;
                if core.shard.scheduled {
                    self.run_contended(core, from, &mut batch);
                } else {
                    core.tick_ns = run_batch(&mut core.shard, core.now.unix, &mut batch);
                }
                self.links.send(from, Message::Done(batch));
            }
            Message::Done(batch) => {
                self.in_flight[from] -= 1;
                self.returned(core, batch);
            }
            Message::Call { run, back } => {
                let contribution = run(core);
                core.tick_ns = crate::base::Monotonic::now().0;
                if let Some(to) = back {
                    self.links.send(to.core, Message::Answer { to, contribution });
                }
            }
            Message::Answer { to, contribution } => {
                if let Some(gather) = self.gathers.contribution(to, contribution) {
                    self.conclude(core, gather);
                }
            }
            Message::Request {
                request: request @ (Request::Schedule { .. } | Request::Withdraw { .. }),
                participants,
            } => self.asked(request, participants),
            Message::Request { request, .. } => {
                self.serve(core, request, None);
                self.pump(core);
            }
            Message::Agreement { shard, txn, answer } => {
                self.answered(core, shard, txn, answer);
                self.pump(core);
            }
            Message::Fence(id) => self.links.send(from, Message::Passed(id)),
            Message::Passed(id) => self.passed(core, id),
            Message::Durable(news) => {
                core.hear_durable(from, &news);
            }
            Message::Unwatch { client, key } => {
                core.shard.effects.unwatch(client, key.db, &key.key);
                self.links.send(from, Message::Unwatched);
            }
            Message::Unwatched => self.in_flight[from] -= 1,
            Message::Whole(whole) => self.run_whole(core, from, *whole),
            Message::WholeDone { id, result } => {
                core.acknowledge.hear_write();
                self.whole_done(core, from, id, result);
            }
            Message::Late(late) => serving::deliver(core, late),
            Message::Connection(dealt) => self.dealt.push(dealt),
            Message::Moved(moved) => self.moved.push(*moved),
        }
    }

    /// Takes in the replies of a batch.
    fn returned(&mut self, core: &mut CoreState, mut batch: Box<Batch>) {
        for index in 0..batch.len() {
            let item = *batch.item(index);
            if item.command.is_write() {
                core.acknowledge.hear_write();
            }
            if !item.deferred {
                let Ticket::Slot(slot) = item.ticket;
                account::returned(core, &item, slot, batch.argv(index), batch.reply(index));
            }
        }
        batch.clear();
        if self.spare.len() < SPARE_MAX {
            self.spare.push(batch);
        }
    }

    /// Does the work collected for other cores here, as far as their shards can be borrowed: those cores
    /// are in the kernel, and a message would have to wait for them. A shard that still has a batch of ours
    /// is left alone: what a client sends to one shard must run in order.
    pub fn run_borrowed(&mut self, core: &mut CoreState) {
        for other in 0..self.outgoing.len() {
            if self.outgoing[other].is_none() || self.in_flight[other] > 0 {
                continue;
            }
            let Some(mut shard) = self.lender.borrow(other) else { continue };
            // Those who wait are served by the shard's own core.
            if shard.scheduled || shard.effects.has_waiters() {
                continue;
            }
            let mut batch = self.outgoing[other].take().expect("looked at above");
            core.counters.commands_borrowed += batch.len() as u64;
            let ended = run_batch(&mut shard, core.now.unix, &mut batch);
            drop(shard);
            core.tick_ns = ended;
            self.returned(core, batch);
        }
    }

    /// Hands a connection to another core.
    pub fn deal(&mut self, core: usize, dealt: Dealt) {
        self.links.send(core, Message::Connection(dealt));
    }

    /// Hands a client to another core.
    pub fn move_on(&mut self, core: usize, moved: Box<Moved>) {
        self.links.send(core, Message::Moved(moved));
    }

    /// Runs something on every other core, without an answer.
    pub fn tell_others(
        &mut self,
        mut make: impl FnMut() -> Box<dyn FnOnce(&mut CoreState) -> Contribution + Send>,
    ) {
        let own = self.links.own();
        for core in (0..self.links.cores()).filter(|core| *core != own) {
            self.links.send(core, Message::Call { run: make(), back: None });
        }
    }

    /// Tells every other core what has become durable here.
    pub fn tell_durable(&mut self, news: &News) {
        let own = self.links.own();
        for core in (0..self.links.cores()).filter(|core| *core != own) {
            self.links.send(core, Message::Durable(news.clone()));
        }
    }

    /// Messages that found no room: a reason to take in less work.
    pub fn backlog(&self) -> usize {
        self.links.backlog()
    }

    pub fn park(&self) -> bool {
        !self.transactions.is_pressing() && self.links.park()
    }

    pub fn unpark(&self) {
        self.links.unpark();
    }

    /// Whether another core has sent something.
    pub fn has_unread(&self) -> bool {
        self.links.has_unread()
    }
}
