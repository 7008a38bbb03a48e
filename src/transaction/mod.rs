//! Atomicity over shards: every command, EXEC and script that touches several shards is one step to
//! everybody who looks. Pure: messages in, messages out; the server pumps it over the mesh, the simulator
//! (`tests/simulation`) over channels that delay and reorder.
//!
//! # The protocol
//!
//! A transaction has a *coordinator* (the core of its client), a *number* from one shared counter
//! ([`Sequence`]), and all its keys are declared beforehand.
//!
//! ```text
//! coordinator                                   each shard involved ([`Scheduler`])
//!   Schedule{number, keys, read?}  ----------->   intents taken;  no conflict: may run at any time
//!                                                 conflict, number behind the tail: waits for the head
//!                                                 conflict, number in front of it: intents given back
//!   <----------- Granted(result?) | Queued | Refused
//!   one Refused: Withdraw to all, again with a new number
//!   all Granted or Queued: it has its places
//!   Hop{work, last}                ----------->   runs when granted or at the head
//!   <----------- Done(result)
//!   a hop with `last`, or Conclude, gives the intents back; the new head runs what is armed there
//! ```
//!
//! A single-shard command has no number. If the queue is empty it just runs, and that question is all it
//! pays; if it conflicts with nobody who holds the shard it runs too, in front of those who only wait: they have not
//! happened yet; else it takes a place behind the tail with intents of its own. Once a client has a command waiting on a
//! shard its later ones there wait behind it.
//!
//! # Why it is right
//!
//! *Isolation*. Of two conflicting transactions on a shard one took its intents first, and the other,
//! not being granted, stands behind it and runs after it has left the queue. A transaction *holds* a shard once it is
//! granted there or has run there at the head, until it leaves; it leaves none before it holds all on which it
//! runs. The moment when it comes to hold the last is the moment at which it happens: what it has done elsewhere nobody
//! has seen yet, for the intents are still there. Having a place is not enough for that: who waits on
//! one shard and has left another is in front of those who come there now, perhaps the very ones for whom it waits.
//! Reads of one hop run at scheduling time and keep their intents until all of them have run.
//!
//! *No deadlock*. On a shard one waits only for those in front, and they have smaller numbers (a command counts
//! with the number it stands behind). A transaction that holds one shard while it waits on another waits there for
//! smaller numbers too. So no circle closes.
//!
//! *No starvation*. A place in a queue is reached: in front of it stand only smaller numbers, and of these
//! there are finitely many. A refusal needs somebody with a greater number, so that among all that
//! contend the greatest is never refused: somebody always gets on. He who has been refused [`PATIENCE`]
//! times draws a ticket from [`Sequence`]; while tickets are out, nobody else begins or retries, and ticket
//! holders go one after the other. What was under way is finite and, once refused, holds nothing and waits. So
//! the holder is refused finitely often, and then by nobody.

mod coordinator;
mod faults;
mod intents;
mod multi;
mod queue;
mod scheduler;
mod watch;

pub use coordinator::{Coordinator, PATIENCE, Progress};
pub use faults::{Fault, Faults};
pub use intents::{Intent, Intents, KeySet, Mode};
pub use multi::{ExecPlan, ExecStep, Multi, Place, Replies, Verdict};
pub use scheduler::{Admission, Host, Ready, Schedule, Scheduler, SchedulerStats};
pub use watch::{Existence, WatchTable, Watching};

use std::sync::atomic::{AtomicU64, Ordering};

/// One attempt of a transaction.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Txn {
    /// Used once in the life of the process.
    pub number: u64,
    /// The core that drives it.
    pub coordinator: u32,
    /// The coordinator's name for it, the same in every attempt.
    pub id: u32,
}

/// From a coordinator to another core.
#[derive(Clone, Debug)]
pub enum Request<W> {
    /// Take a place. `read` is work that changes nothing and may run at once; the intents stay.
    Schedule { txn: Txn, keys: KeySet, read: Option<W> },
    /// Run this when it is allowed; `last`: and leave.
    Hop { txn: Txn, work: W, last: bool },
    /// Leave.
    Conclude { txn: Txn },
    /// Leave, if it is there at all.
    Withdraw { txn: Txn },
    /// To the coordinator of that core: those held back may look at the [`Sequence`] again.
    SeatFree,
}

/// From a shard to the coordinator.
#[derive(Clone, Debug)]
pub enum Answer<R> {
    Granted(Option<R>),
    Queued,
    Refused,
    Done(R),
}

/// What all coordinators share: the counter of numbers, and the tickets of those who had no luck.
#[derive(Debug, Default)]
pub struct Sequence {
    last: AtomicU64,
    tickets: AtomicU64,
    served: AtomicU64,
}

impl Sequence {
    /// Greater than every number drawn before.
    pub fn number(&self) -> u64 {
        self.last.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Numbers up to this one have been used, in the life of another process.
    pub fn raise(&self, number: u64) {
        self.last.fetch_max(number, Ordering::Relaxed);
    }

    /// Whether a transaction may begin or try again now.
    pub fn admits(&self, ticket: Option<u64>) -> bool {
        let served = self.served.load(Ordering::Acquire);
        served == ticket.unwrap_or_else(|| self.tickets.load(Ordering::Acquire))
    }

    /// Drawn so far.
    pub fn tickets(&self) -> u64 {
        self.tickets.load(Ordering::Relaxed)
    }

    fn draw_ticket(&self) -> u64 {
        self.tickets.fetch_add(1, Ordering::AcqRel)
    }

    fn leave(&self, ticket: u64) {
        let served = self.served.fetch_add(1, Ordering::AcqRel);
        assert_eq!(served, ticket, "tickets are served in order");
    }
}
