//! The coordinator's side of clients that wait: one claim per wait, timeouts, and leaving the lines.

use crate::model::{Key, Res};
use crate::transactions::World;
use pinion::shard::{Claim, Outcome};
use std::sync::Arc;

/// The waits of all clients, by operation.
#[derive(Default)]
pub struct Waits(Vec<Wait>);

struct Wait {
    op: usize,
    keys: Vec<Key>,
    claim: Arc<Claim>,
    /// It stands in all its lines: those who end it may tell them so.
    stands: bool,
    deadline: Option<u64>,
}

impl Waits {
    pub fn insert(&mut self, op: usize, keys: Vec<Key>) {
        self.0.push(Wait { op, keys, claim: Arc::default(), stands: false, deadline: None });
    }

    pub fn claim(&self, op: usize) -> Arc<Claim> {
        Arc::clone(&self.find(op).expect("it waits").claim)
    }

    fn find(&self, op: usize) -> Option<&Wait> {
        self.0.iter().find(|wait| wait.op == op)
    }

    fn find_mut(&mut self, op: usize) -> Option<&mut Wait> {
        self.0.iter_mut().find(|wait| wait.op == op)
    }

    /// The earliest timeout.
    pub fn next_deadline(&self) -> Option<(u64, usize)> {
        self.0.iter().filter_map(|wait| Some((wait.deadline?, wait.op))).min()
    }

    /// Operations that took an element which their client, being gone, never saw.
    pub fn was_served(&self, op: usize) -> bool {
        self.find(op).is_some_and(|wait| wait.claim.outcome() == Some(Outcome::Served))
    }
}

impl World {
    /// A client stands in all its lines now.
    pub fn stands(&mut self, op: usize) {
        let deadline = self.oracle.now + 1 + self.random.below(120);
        let wait = self.waits.find_mut(op).expect("it waits");
        wait.stands = true;
        if wait.claim.is_waiting() {
            wait.deadline = Some(deadline);
        } else {
            self.leave_lines(op);
        }
    }

    fn leave_lines(&mut self, op: usize) {
        let wait = self.waits.find_mut(op).expect("it waits");
        wait.deadline = None;
        // If it does not stand yet, it leaves as soon as it does: what makes it stand is still on its way.
        if wait.stands {
            let keys = wait.keys.clone();
            self.send_leave(op, &keys);
        }
    }

    /// A shard has served it.
    pub fn served(&mut self, op: usize, key: Key, item: u16) {
        self.complete(op, Res::Popped(Some((key, item))));
        self.leave_lines(op);
    }

    /// Its time is over, or it was unblocked.
    pub fn time_out(&mut self, op: usize) {
        let wait = self.waits.find_mut(op).expect("it waits");
        wait.deadline = None;
        if wait.claim.take(Outcome::TimedOut) {
            self.complete(op, Res::Popped(None));
            self.leave_lines(op);
        }
    }

    /// Its client has gone.
    pub fn gives_up(&mut self, op: usize) {
        if let Some(wait) = self.waits.find(op)
            && wait.claim.take(Outcome::Gone)
        {
            self.leave_lines(op);
        }
    }
}
