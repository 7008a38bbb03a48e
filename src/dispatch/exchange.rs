//! What goes to the other cores and comes back: batches of commands, requests of transactions, calls.
//!
//! Commands for another core are collected during the turn and leave together at its end; a core that sleeps need not
//! be woken for them where its shard can be borrowed.

use super::message::{Batch, Dealt, Message, Moved, Order, Ticket};
use super::run::run_batch;
use super::{Dispatch, account, serving};
use crate::command_table::Contribution;
use crate::persistence::aof::appender::{Errand, News};
use crate::session::{CoreState, Partition};
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
        core.acknowledge.tell_position(core.index, core.shard.effects.journal.last_sequence());
        self.publish(wake);
    }

    /// What was sent since leaves as well.
    pub fn publish(&mut self, wake: impl FnMut(usize)) {
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
                self.returned(core, from, batch);
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
            Message::Durable(news) => core.hear_durable(&news),
            Message::Errand(errand) => core.errands.push(errand),
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
            Message::Late(late) => serving::deliver(core, from, late),
            Message::Connection(dealt) => self.dealt.push(dealt),
            Message::Moved(moved) => self.moved.push(*moved),
        }
    }

    /// Takes in the replies of a batch.
    fn returned(&mut self, core: &mut CoreState, shard: usize, mut batch: Box<Batch>) {
        for index in 0..batch.len() {
            let item = *batch.item(index);
            if item.command.is_write() {
                core.acknowledge.hear_write();
            }
            if !item.deferred {
                let Ticket::Slot(slot) = item.ticket;
                account::returned(core, shard, &item, slot, batch.argv(index), batch.reply(index));
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
    ///
    /// Where replies wait until the disk has it, the borrower writes it down at the end of the turn ([`Self::next_journalled`]).
    pub fn run_borrowed(&mut self, core: &mut CoreState) {
        let waits = core.acknowledge.is_on();
        for other in 0..self.outgoing.len() {
            if self.outgoing[other].is_none() || self.in_flight[other] > 0 {
                continue;
            }
            let Some(mut shard) = self.lender.borrow(other) else { continue };
            // Those who wait are served by the shard's own core.
            if shard.scheduled || shard.effects.has_waiters() || waits && !shard.appender.is_calm() {
                continue;
            }
            let mut batch = self.outgoing[other].take().expect("looked at above");
            core.counters.commands_borrowed += batch.len() as u64;
            let ended = run_batch(&mut shard, core.now.unix, &mut batch);
            if waits {
                core.acknowledge.tell_position(other, shard.effects.journal.last_sequence());
                core.acknowledge.hear(other);
                if !self.journalled.contains(&other) {
                    self.journalled.push(other);
                }
            }
            drop(shard);
            core.tick_ns = ended;
            self.returned(core, other, batch);
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

    /// One of the shards that were borrowed in this turn and have something to write.
    pub fn next_journalled(&mut self) -> Option<usize> {
        self.journalled.pop()
    }

    /// Does something with another core's shard, if that can be borrowed now; else the core is given back what to do.
    pub fn with_borrowed<T, R>(
        &mut self,
        other: usize,
        task: T,
        run: impl FnOnce(&mut Partition, T) -> R,
    ) -> Result<R, T> {
        match self.lender.borrow(other) {
            Some(mut shard) => Ok(run(&mut shard, task)),
            None => Err(task),
        }
    }

    /// Leaves something to another core.
    pub fn leave(&mut self, other: usize, errand: Errand) {
        self.links.send(other, Message::Errand(errand));
    }

    /// Tells the other cores what has become durable: all of them of parts of transactions, else those who wait for it.
    pub fn tell_durable(&mut self, core: &mut CoreState, news: &News) {
        let waiting = core.acknowledge.release(news.shard, news.before, news.released);
        if news.parts.is_empty() {
            waiting.for_each(|other| self.links.send(other, Message::Durable(news.clone())));
            return;
        }
        let own = self.links.own();
        for other in (0..self.links.cores()).filter(|other| *other != own) {
            self.links.send(other, Message::Durable(news.clone()));
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
