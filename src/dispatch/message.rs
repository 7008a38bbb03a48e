//! What crosses the mesh.

use super::procedure::Work;
use super::serving::Late;
use super::take_muted;
use super::transactions::Whole;
use crate::client::{Client, ClientKey, WatchedKey};
use crate::command_table::{Command, Contribution, ShardHandler};
use crate::persistence::aof::appender::{Errand, News};
use crate::resp::{ArgRange, Argv, Protocol};
use crate::session::CoreState;
use crate::transaction::{Answer, Request, Txn};
use std::os::fd::OwnedFd;
use std::sync::Arc;

pub enum Message {
    /// Commands for the receiver's shard, of all clients of the sender that had some in this turn.
    Work(Box<Batch>),
    /// The same batch, with the replies.
    Done(Box<Batch>),
    /// Something rare, to be run on the receiving core.
    Call {
        run: Box<dyn FnOnce(&mut CoreState) -> Contribution + Send>,
        back: Option<ReturnTo>,
    },
    /// The result of a `Call`.
    Answer {
        to: ReturnTo,
        contribution: Contribution,
    },
    /// From the coordinator of a transaction to a shard, and the shard's answer.
    Request {
        request: Request<Work>,
        /// With the request for a place, if the transaction changes data.
        participants: Option<Participants>,
    },
    Agreement {
        shard: usize,
        txn: Txn,
        answer: Answer<Contribution>,
    },
    /// Asks to be answered when everything before has been done; the answer.
    Fence(u64),
    Passed(u64),
    /// What has become durable of a shard.
    Durable(News),
    /// What is left to do for the receiver's part of the append-only file.
    Errand(Errand),
    /// A client watches a key no more.
    Unwatch {
        client: u64,
        key: WatchedKey,
    },
    Unwatched,
    /// Commands that run on the receiver's shard with nothing in between, and their result.
    Whole(Box<Whole>),
    WholeDone {
        id: usize,
        result: Contribution,
    },
    /// The reply of a command that had to wait for transactions.
    Late(Box<Late>),
    /// A connection dealt to the receiver.
    Connection(Dealt),
    /// A client goes on on the receiver.
    Moved(Box<Moved>),
}

/// The shards on which a transaction has a place, in ascending order.
pub type Participants = Arc<[u32]>;

/// A socket on its way to the core that will serve it.
pub struct Dealt {
    pub socket: OwnedFd,
    pub address: String,
    pub is_unix: bool,
}

/// A client that was at rest on its core, on its way to another one.
pub struct Moved {
    pub socket: OwnedFd,
    pub client: Box<Client>,
}

/// Which part of which gathering on which core.
#[derive(Clone, Copy, Debug)]
pub struct ReturnTo {
    pub core: usize,
    pub gather: usize,
    pub part: usize,
}

/// Commands on their way to a shard and their replies on the way back, in one reusable allocation.
#[derive(Default)]
pub struct Batch {
    items: Vec<Item>,
    bytes: Vec<u8>,
    ranges: Vec<ArgRange>,
    replies: Vec<u8>,
}

/// One command of a [`Batch`].
#[derive(Clone, Copy)]
pub struct Item {
    pub command: Command,
    pub run: ShardHandler,
    pub db: u32,
    pub protocol: Protocol,
    pub no_touch: bool,
    pub client: ClientKey,
    pub client_id: u64,
    pub ticket: Ticket,
    bytes_start: usize,
    bytes_len: usize,
    ranges_start: usize,
    ranges_len: usize,
    /// Set by the shard that ran it.
    pub nanoseconds: u64,
    pub failed: bool,
    /// It waits for transactions; its reply comes apart from the batch.
    pub deferred: bool,
    reply_end: usize,
}

/// What the reply of an item completes.
#[derive(Clone, Copy, Debug)]
pub enum Ticket {
    /// A slot of the client's output.
    Slot(u64),
}

/// What a new item needs besides its arguments.
pub struct Order {
    pub command: Command,
    pub run: ShardHandler,
    pub db: usize,
    pub protocol: Protocol,
    pub no_touch: bool,
    pub client: ClientKey,
    pub client_id: u64,
    pub ticket: Ticket,
}

impl Order {
    /// A command of one shard that is not run on the spot: it counts as under way from here on, and the place of its
    /// reply is kept.
    pub fn of_client(
        core: &mut CoreState,
        key: ClientKey,
        command: &Command,
        run: ShardHandler,
        owner: usize,
    ) -> Self {
        let client = core.clients.running(key);
        if command.is_write() {
            if core.settings.relaxed_ordering {
                client.in_flight.writes += 1;
            } else {
                client.in_flight.write_sent(owner);
            }
        }
        let muted = take_muted(&mut client.reply_mode);
        Self {
            command: *command,
            run,
            db: client.db,
            protocol: client.protocol,
            no_touch: client.no_touch,
            client: key,
            client_id: client.id,
            ticket: Ticket::Slot(client.output.open_slot(muted)),
        }
    }
}

impl Item {
    /// Without arguments so far.
    pub fn new(order: Order) -> Self {
        Self {
            command: order.command,
            run: order.run,
            db: order.db as u32,
            protocol: order.protocol,
            no_touch: order.no_touch,
            client: order.client,
            client_id: order.client_id,
            ticket: order.ticket,
            bytes_start: 0,
            bytes_len: 0,
            ranges_start: 0,
            ranges_len: 0,
            nanoseconds: 0,
            failed: false,
            deferred: false,
            reply_end: 0,
        }
    }
}

impl Batch {
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Bytes of arguments: a reason to send a batch before the turn ends.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    pub fn push<'a>(&mut self, order: Order, arguments: impl Iterator<Item = &'a [u8]>) {
        let (bytes_start, ranges_start) = (self.bytes.len(), self.ranges.len());
        for argument in arguments {
            self.ranges.push(ArgRange::new(self.bytes.len() - bytes_start, argument.len()));
            self.bytes.extend_from_slice(argument);
        }
        let mut item = Item::new(order);
        (item.bytes_start, item.bytes_len) = (bytes_start, self.bytes.len() - bytes_start);
        (item.ranges_start, item.ranges_len) = (ranges_start, self.ranges.len() - ranges_start);
        self.items.push(item);
    }

    /// One more argument of the last item.
    pub fn add_argument(&mut self, argument: &[u8]) {
        let item = self.items.last_mut().expect("an argument belongs to an item");
        self.ranges.push(ArgRange::new(item.bytes_len, argument.len()));
        self.bytes.extend_from_slice(argument);
        item.bytes_len += argument.len();
        item.ranges_len += 1;
    }

    pub fn argv(&self, index: usize) -> Argv<'_> {
        let item = &self.items[index];
        Argv::new(
            &self.bytes[item.bytes_start..item.bytes_start + item.bytes_len],
            &self.ranges[item.ranges_start..item.ranges_start + item.ranges_len],
        )
    }

    pub fn item(&self, index: usize) -> &Item {
        &self.items[index]
    }

    /// Runs these items in order; `run` writes the reply and returns the time it took and whether it failed.
    pub fn run(
        &mut self,
        range: std::ops::Range<usize>,
        mut run: impl FnMut(&Item, Argv<'_>, &mut Vec<u8>) -> (u64, bool),
    ) {
        let mut replies = std::mem::take(&mut self.replies);
        for index in range {
            let (nanoseconds, failed) = run(&self.items[index], self.argv(index), &mut replies);
            let item = &mut self.items[index];
            (item.nanoseconds, item.failed, item.reply_end) = (nanoseconds, failed, replies.len());
        }
        self.replies = replies;
    }

    pub fn set_deferred(&mut self, index: usize) {
        let item = &mut self.items[index];
        (item.deferred, item.reply_end) = (true, self.replies.len());
    }

    pub fn reply(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.items[index - 1].reply_end };
        &self.replies[start..self.items[index].reply_end]
    }

    /// Empties it for the next use; one that was very large gives its memory back.
    pub fn clear(&mut self) {
        const KEEP: usize = 256 * 1024;
        self.items.clear();
        self.ranges.clear();
        for buffer in [&mut self.bytes, &mut self.replies] {
            if buffer.capacity() > KEEP {
                *buffer = Vec::new();
            }
            buffer.clear();
        }
    }
}
