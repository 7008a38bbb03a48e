//! Requests over several shards that follow each other in one client's pipeline are one transaction.
//!
//! Taking a place on every shard costs two rounds of messages, however much is then done there. So MGETs, MSETs, DELs
//! and their like are collected while they come from one connection without anything between them, and
//! go together: atomic together is more than was promised to each. Their replies fill one slot of the output.

use super::gather;
use super::message::{Batch, Order, Ticket};
use super::procedure::{Caller, Next, Procedure, Work};
use super::run::run_part;
use super::transactions::{Purpose, Running};
use super::{BATCH_BYTES_MAX, Dispatch, Flow, account, take_muted};
use crate::client::{ClientKey, ReplyMode};
use crate::command_table::{Command, Contribution, Merge, ShardHandler};
use crate::resp::{Argv, ArgvBuf, Reply};
use crate::session::CoreState;
use crate::shard::shard_of_key;
use crate::transaction::{Intent, KeySet, Mode};

/// Commands that go together; with more the others would wait too long.
const TOGETHER_MAX: usize = 128;

/// What has been collected of one client's pipeline.
pub struct Forming {
    client: ClientKey,
    caller: Caller,
    slot: u64,
    started_ns: u64,
    /// As they came, for the slow log.
    whole: Batch,
    members: Vec<Member>,
    /// For each key of each member: whose part it went to.
    order: Vec<u16>,
    parts: Vec<Part>,
}

struct Member {
    command: Command,
    merge: Merge,
    /// Where its keys end in `order`.
    order_end: usize,
}

struct Part {
    shard: usize,
    batch: Box<Batch>,
    intents: Vec<Intent>,
    /// The last member that has an item here.
    last: usize,
}

impl Dispatch {
    /// Takes a request whose keys are independent of each other and live on several shards.
    pub(super) fn collect(
        &mut self,
        core: &mut CoreState,
        key: ClientKey,
        command: &Command,
        run: ShardHandler,
        merge: Merge,
        argv: Argv<'_>,
    ) -> Flow {
        if self.forming.as_ref().is_none_or(|forming| forming.is_full()) {
            self.depart(core);
            let client = core.clients.running(key);
            if !client.in_flight.is_idle() {
                return Flow::Stall;
            }
            let alone = client.reply_mode == ReplyMode::SkipNext;
            let muted = take_muted(&mut client.reply_mode);
            let forming = Forming {
                client: key,
                caller: Caller { db: client.db, protocol: client.protocol, no_touch: client.no_touch },
                slot: client.output.open_slot(muted),
                started_ns: core.tick_ns,
                whole: Batch::default(),
                members: Vec::new(),
                order: Vec::new(),
                parts: Vec::new(),
            };
            self.forming = Some(forming);
            self.join(core, key, command, run, merge, argv);
            if alone {
                self.depart(core);
            }
        } else {
            self.join(core, key, command, run, merge, argv);
        }
        Flow::Next
    }

    fn join(
        &mut self,
        core: &mut CoreState,
        key: ClientKey,
        command: &Command,
        run: ShardHandler,
        merge: Merge,
        argv: Argv<'_>,
    ) {
        account::monitor(core, key, command, argv);
        let forming = self.forming.as_mut().expect("the caller has one");
        let Caller { db, protocol, no_touch } = forming.caller;
        let client_id = core.clients.running(key).id;
        let member = forming.members.len();
        let order = || Order {
            command: *command,
            run,
            db,
            protocol,
            no_touch,
            client: key,
            client_id,
            ticket: Ticket::Slot(member as u64),
        };
        let (first, step) = command.spec.keys[0].stride().expect("PerShard keys repeat to the end");
        let mode = if command.is_write() { Mode::Exclusive } else { Mode::Shared };
        for position in (first..argv.len()).step_by(step) {
            let name = argv.get(position).expect("in range");
            let owner = shard_of_key(name, core.cores);
            let index = match forming.parts.iter().position(|part| part.shard == owner) {
                Some(index) => index,
                None => {
                    let batch = self.spare.pop().unwrap_or_default();
                    forming.parts.push(Part { shard: owner, batch, intents: Vec::new(), last: usize::MAX });
                    forming.parts.len() - 1
                }
            };
            let part = &mut forming.parts[index];
            if part.last != member {
                part.last = member;
                part.batch.push(order(), argv.iter().take(first));
            }
            for offset in position..position + step {
                part.batch.add_argument(argv.get(offset).expect("the argument belongs to a key"));
            }
            part.intents.push(Intent { key: core.shard.databases[0].hash(name), mode });
            forming.order.push(index as u16);
        }
        forming.whole.push(order(), argv.iter());
        forming.members.push(Member { command: *command, merge, order_end: forming.order.len() });
    }

    /// What was collected goes its way.
    pub fn depart(&mut self, core: &mut CoreState) {
        let Some(mut forming) = self.forming.take() else { return };
        if let Some(client) = core.clients.get_mut(forming.client) {
            client.in_flight.barriers += 1;
        }
        let keys = forming.parts.iter_mut();
        let keys = keys.map(|part| (part.shard, KeySet::new(std::mem::take(&mut part.intents)))).collect();
        let running = Running {
            client: forming.client,
            purpose: Purpose::Pipeline { slot: forming.slot },
            command: forming.members[0].command,
            argv: ArgvBuf::default(),
            started_ns: forming.started_ns,
            procedure: Box::new(Together { forming, begun: false }),
        };
        self.launch(core, running, keys);
    }
}

impl Forming {
    pub fn client(&self) -> ClientKey {
        self.client
    }

    fn is_full(&self) -> bool {
        self.members.len() >= TOGETHER_MAX || self.whole.size() >= BATCH_BYTES_MAX
    }
}

/// Requests that were collected, as one procedure.
struct Together {
    forming: Forming,
    begun: bool,
}

impl Procedure for Together {
    fn next(&mut self, core: &mut CoreState, key: ClientKey, results: Vec<(usize, Contribution)>) -> Next {
        let Forming { caller, whole, members, order, parts, .. } = &mut self.forming;
        if !std::mem::replace(&mut self.begun, true) {
            let work = parts.iter_mut().map(|part| {
                let mut batch = std::mem::take(&mut part.batch);
                let run = move |shard: &mut crate::shard::Shard, now| -> Contribution {
                    run_part(shard, now, &mut batch);
                    batch
                };
                (part.shard, Work::Shard(Box::new(run)))
            });
            return Next::Hop { work: work.collect(), last: true };
        }
        for (shard, result) in results {
            let part = parts.iter_mut().find(|part| part.shard == shard).expect("it was asked");
            part.batch = result.downcast().expect("a part gives its batch back");
        }
        let mut bytes = Vec::new();
        // By part: its next item.
        let mut next = vec![0; parts.len()];
        let mut order_start = 0;
        let mut replies: Vec<&[u8]> = Vec::with_capacity(parts.len());
        for (index, member) in members.iter().enumerate() {
            let start = bytes.len();
            let mut nanoseconds = 0;
            replies.clear();
            for (part, next) in parts.iter().zip(&mut next) {
                let is_its = *next < part.batch.len() && {
                    let Ticket::Slot(member) = part.batch.item(*next).ticket;
                    member == index as u64
                };
                if is_its {
                    nanoseconds += part.batch.item(*next).nanoseconds;
                    replies.push(part.batch.reply(*next));
                    *next += 1;
                } else {
                    replies.push(&[]);
                }
            }
            let order = &order[order_start..member.order_end];
            order_start = member.order_end;
            gather::merge(member.merge, &replies, order, &mut Reply::new(&mut bytes, caller.protocol));
            account::inside(core, key, &member.command, whole.argv(index), &bytes[start..], nanoseconds);
        }
        Next::Done(bytes)
    }
}
