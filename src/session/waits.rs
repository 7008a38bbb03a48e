//! The clients of one core that wait for keys: by deadline, and with what ends each wait.
//!
//! | a wait | by | to |
//! |---|---|---|
//! | – | [`Waits::begin`], before it stands in a line | begun |
//! | begun | dispatch, when it stands in all lines | seated: it has a deadline, and the client is blocked |
//! | begun, seated | an end that has the claim | ended: dispatch replies and lets it leave its lines |
//!
//! An end that comes before the wait is seated is kept until it is.

use crate::client::ClientKey;
use crate::command_table::Command;
use crate::resp::ArgvBuf;
use crate::shard::{Claim, Outcome, Wish};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

/// The keys a client waits for, by their owner.
pub type Lines = Vec<(usize, Arc<[Box<[u8]>]>)>;

pub struct Wait {
    pub client: ClientKey,
    pub claim: Arc<Claim>,
    pub db: usize,
    /// By shard: the lines in which it stands.
    pub lines: Lines,
    pub timeout_ms: u64,
    pub seat: Option<Seat>,
    deadline_ns: Option<u64>,
}

/// Where the reply belongs, once the client is blocked.
pub struct Seat {
    pub slot: u64,
    pub command: Command,
    pub argv: ArgvBuf,
    /// What the command took before it blocked.
    pub spent_ns: u64,
}

/// A ready key of a shard that only a transaction can serve.
pub struct Ask {
    pub id: u64,
    pub shard: usize,
    pub db: usize,
    pub key: Box<[u8]>,
    pub alone: Option<Arc<dyn Wish>>,
}

#[derive(Default)]
pub struct Waits {
    last: u64,
    all: HashMap<u64, Wait>,
    deadlines: BTreeSet<(u64, u64)>,
    /// Ended, with their replies.
    pub ended: VecDeque<(u64, Vec<u8>)>,
    pub asked: VecDeque<Ask>,
    /// The same, of waits that have no seat yet.
    pub early: Vec<(u64, Vec<u8>)>,
    pub early_asks: Vec<Ask>,
}

impl Waits {
    /// The core's index makes the name unique in the server.
    pub fn begin(
        &mut self,
        core: usize,
        client: ClientKey,
        db: usize,
        lines: Lines,
        timeout_ms: u64,
    ) -> (u64, Arc<Claim>) {
        self.last += 1;
        let id = (core as u64) << 48 | self.last;
        let claim = Arc::new(Claim::default());
        let wait =
            Wait { client, claim: Arc::clone(&claim), db, lines, timeout_ms, seat: None, deadline_ns: None };
        self.all.insert(id, wait);
        (id, claim)
    }

    pub fn get(&self, id: u64) -> Option<&Wait> {
        self.all.get(&id)
    }

    /// It stands in all its lines.
    pub fn seat(&mut self, id: u64, seat: Seat, now_ns: u64) {
        let early = std::mem::take(&mut self.early);
        let (now, later) = early.into_iter().partition(|(other, _)| *other == id);
        self.early = later;
        let now: Vec<(u64, Vec<u8>)> = now;
        self.ended.extend(now);
        let (now, later): (Vec<Ask>, Vec<Ask>) =
            std::mem::take(&mut self.early_asks).into_iter().partition(|ask| ask.id == id);
        self.early_asks = later;
        self.asked.extend(now);
        let wait = self.all.get_mut(&id).expect("it has begun");
        wait.seat = Some(seat);
        if wait.timeout_ms > 0 {
            let due_ns = now_ns.saturating_add(wait.timeout_ms.saturating_mul(1_000_000));
            wait.deadline_ns = Some(due_ns);
            self.deadlines.insert((due_ns, id));
        }
    }

    pub fn remove(&mut self, id: u64) -> Option<Wait> {
        let wait = self.all.remove(&id)?;
        if let Some(due_ns) = wait.deadline_ns {
            self.deadlines.remove(&(due_ns, id));
        }
        Some(wait)
    }

    /// Ends a wait with a reply, unless something else has ended it.
    pub fn end(&mut self, id: u64, outcome: Outcome, reply: Vec<u8>) -> bool {
        let ends = self.all.get(&id).is_some_and(|wait| wait.claim.take(outcome));
        if ends {
            self.ended.push_back((id, reply));
        }
        ends
    }

    pub fn next_deadline(&self) -> Option<u64> {
        self.deadlines.first().map(|(due_ns, _)| *due_ns)
    }

    /// A wait whose time is over.
    pub fn next_due(&mut self, now_ns: u64) -> Option<u64> {
        let (due_ns, id) = *self.deadlines.first()?;
        if due_ns > now_ns {
            return None;
        }
        self.deadlines.pop_first();
        if let Some(wait) = self.all.get_mut(&id) {
            wait.deadline_ns = None;
        }
        Some(id)
    }
}
