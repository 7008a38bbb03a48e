//! Requests over several shards that follow each other in one client's pipeline are one transaction.
//!
//! Taking a place on every shard costs two rounds of messages, however much is then done there. So MGETs, MSETs, DELs
//! and their like, and EXECs of commands that have one shard each, are collected while they come from one connection
//! without anything between them, and go together: atomic together is more than was promised to each. If all their keys
//! turn out to live on one shard, one message takes it all there.

use super::exchange::BATCH_BYTES_MAX;
use super::exec::shard_handler;
use super::message::{Batch, Order, Ticket};
use super::procedure::{Caller, Next, Procedure, Work};
use super::route::{self, Owners};
use super::run::run_part;
use super::transactions::{Purpose, Running, each_intent};
use super::{Dispatch, Flow, account, gather, take_muted};
use crate::client::{ClientKey, QueuedCommand, ReplyMode};
use crate::command_table::{Args, Command, Contribution, Handler, Merge, ShardHandler, TransactionCommand};
use crate::resp::{Argv, ArgvBuf, Reply};
use crate::session::CoreState;
use crate::shard::{CommandResult, Context, shard_of_key};
use crate::transaction::{Intent, KeySet, Mode};

/// Commands that go together; with more the others would wait too long.
const TOGETHER_MAX: usize = 128;

/// What has been collected of one client's pipeline.
pub struct Forming {
    client: ClientKey,
    client_id: u64,
    caller: Caller,
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
    role: Role,
    /// Where its keys end in `order`.
    order_end: usize,
}

#[derive(Clone, Copy)]
enum Role {
    /// Its reply belongs into this slot, or is a part of EXEC's.
    Request { merge: Merge, slot: Option<u64> },
    /// EXEC, whose reply is that of the next so many members.
    Exec { count: usize, slot: u64 },
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
        if !self.may_collect(core, key) {
            return Flow::Stall;
        }
        account::monitor(core, key, command, argv);
        let slot = open_slot(core, key);
        let forming = self.forming(core, key);
        forming.spread(core, command, run, argv);
        forming.close(command, Role::Request { merge, slot: Some(slot) }, argv);
        Flow::Next
    }

    /// Whether EXEC may be collected: each of its commands has one shard to run on, and nothing is watched.
    pub(super) fn may_collect_exec(&mut self, core: &mut CoreState, key: ClientKey) -> bool {
        let client = core.clients.get(key).expect("its request runs");
        if self.forming.is_none() {
            // What the commands are only matters to others that they might join.
            return client.in_flight.is_idle();
        }
        let Some(multi) = &client.multi else { return false };
        let plain = |queued: &QueuedCommand| single_place(core, queued).is_some();
        let fits = !multi.is_empty()
            && client.watching.is_empty()
            && client.reply_mode == ReplyMode::On
            && multi.commands().iter().all(plain);
        fits && self.may_collect(core, key)
    }

    /// Takes an EXEC if it may be collected.
    pub(super) fn collect_exec(
        &mut self,
        core: &mut CoreState,
        key: ClientKey,
        command: &Command,
        argv: Argv<'_>,
        queued: &[QueuedCommand],
    ) -> bool {
        let places = queued.iter().map(|queued| single_place(core, queued)).collect::<Option<Vec<_>>>();
        let Some(places) = places.filter(|places| !places.is_empty()) else { return false };
        if core.clients.running(key).reply_mode != ReplyMode::On {
            return false;
        }
        let slot = open_slot(core, key);
        let forming = self.forming(core, key);
        forming.close(command, Role::Exec { count: queued.len(), slot }, argv);
        for (queued, (owner, run)) in queued.iter().zip(places) {
            let argv = queued.argv.as_argv();
            forming.single(core, &queued.command, run, owner, argv);
            forming.close(&queued.command, Role::Request { merge: Merge::Same, slot: None }, argv);
        }
        true
    }

    /// Whether a request of this client may be collected now; what is full departs, and what is under way holds it back.
    pub(super) fn may_collect(&mut self, core: &mut CoreState, key: ClientKey) -> bool {
        if self.forming.as_ref().is_some_and(Forming::is_full) {
            self.depart(core);
        }
        self.forming.is_some() || core.clients.running(key).in_flight.is_idle()
    }

    pub(super) fn is_collecting(&self) -> bool {
        self.forming.is_some()
    }

    fn forming(&mut self, core: &mut CoreState, key: ClientKey) -> &mut Forming {
        self.forming.get_or_insert_with(|| {
            let client = core.clients.running(key);
            Forming {
                client: key,
                client_id: client.id,
                caller: Caller::of(client),
                started_ns: core.tick_ns,
                whole: Batch::default(),
                members: Vec::new(),
                order: Vec::new(),
                parts: Vec::new(),
            }
        })
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
            purpose: Purpose::Pipeline,
            command: forming.members[0].command,
            argv: ArgvBuf::default(),
            started_ns: forming.started_ns,
            procedure: Box::new(Together { forming, begun: false }),
            participants: None,
        };
        self.launch_in_one(core, running, keys);
    }
}

impl Forming {
    pub fn client(&self) -> ClientKey {
        self.client
    }

    /// An item for the member that is being added.
    fn order(&self, command: &Command, run: ShardHandler) -> Order {
        let Caller { db, protocol, no_touch } = self.caller;
        Order {
            command: *command,
            run,
            db,
            protocol,
            no_touch,
            client: self.client,
            client_id: self.client_id,
            ticket: Ticket::Slot(self.members.len() as u64),
        }
    }

    fn part(&mut self, shard: usize) -> usize {
        let known = self.parts.iter().position(|part| part.shard == shard);
        known.unwrap_or_else(|| {
            self.parts.push(Part { shard, batch: Box::default(), intents: Vec::new(), last: usize::MAX });
            self.parts.len() - 1
        })
    }

    /// Gives each shard its share of a request whose keys are independent of each other.
    fn spread(&mut self, core: &CoreState, command: &Command, run: ShardHandler, argv: Argv<'_>) {
        let member = self.members.len();
        let (first, step) = command.spec.keys[0].stride().expect("PerShard keys repeat to the end");
        let mode = if command.is_write() { Mode::Exclusive } else { Mode::Shared };
        for position in (first..argv.len()).step_by(step) {
            let name = argv.get(position).expect("in range");
            let index = self.part(shard_of_key(name, core.cores));
            if self.parts[index].last != member {
                let order = self.order(command, run);
                self.parts[index].last = member;
                self.parts[index].batch.push(order, argv.iter().take(first));
            }
            let part = &mut self.parts[index];
            for offset in position..position + step {
                part.batch.add_argument(argv.get(offset).expect("the argument belongs to a key"));
            }
            part.intents.push(Intent { key: core.shard.databases[0].hash(name), mode });
            self.order.push(index as u16);
        }
    }

    /// Gives a shard a whole command.
    fn single(
        &mut self,
        core: &CoreState,
        command: &Command,
        run: ShardHandler,
        owner: usize,
        argv: Argv<'_>,
    ) {
        let index = self.part(owner);
        let order = self.order(command, run);
        let part = &mut self.parts[index];
        part.batch.push(order, argv.iter());
        each_intent(core, command, argv, |_, intent| part.intents.push(intent));
    }

    fn close(&mut self, command: &Command, role: Role, argv: Argv<'_>) {
        self.whole.push(self.order(command, nothing), argv.iter());
        self.members.push(Member { command: *command, role, order_end: self.order.len() });
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
        let mut exec: Option<Inside> = None;
        for (index, member) in members.iter().enumerate() {
            let (merge, slot) = match member.role {
                Role::Request { merge, slot } => (merge, slot),
                Role::Exec { count, slot } => {
                    Reply::new(&mut bytes, caller.protocol).array(count);
                    exec = Some(Inside { member: index, slot, left: count, nanoseconds: 0 });
                    continue;
                }
            };
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
            gather::merge(merge, &replies, order, &mut Reply::new(&mut bytes, caller.protocol));
            account::ran_as_part(core, key, &member.command, whole.argv(index), &bytes[start..], nanoseconds);
            let ended = match &mut exec {
                None => slot,
                Some(exec) => exec.answered(nanoseconds).then(|| {
                    let Inside { member, slot, nanoseconds, .. } = *exec;
                    let command = &members[member].command;
                    account::ran_as_part(core, key, command, whole.argv(member), &[], nanoseconds);
                    slot
                }),
            };
            if let Some(slot) = ended {
                exec = None;
                if let Some(client) = core.clients.get_mut(key) {
                    client.output.complete(slot, &bytes);
                }
                bytes.clear();
            }
        }
        Next::Done(bytes)
    }

    fn writes(&self) -> bool {
        self.forming.members.iter().any(|member| member.command.is_write())
    }
}

/// An EXEC whose commands are being answered.
struct Inside {
    member: usize,
    slot: u64,
    left: usize,
    nanoseconds: u64,
}

impl Inside {
    /// One more of its commands; whether it was the last.
    fn answered(&mut self, nanoseconds: u64) -> bool {
        self.nanoseconds += nanoseconds;
        self.left -= 1;
        self.left == 0
    }
}

/// Keeps the place of a reply.
fn open_slot(core: &mut CoreState, key: ClientKey) -> u64 {
    let client = core.clients.running(key);
    let muted = take_muted(&mut client.reply_mode);
    client.output.open_slot(muted)
}

/// Whether what was collected may stay while this command is looked at.
pub(super) fn may_join(command: &Command) -> bool {
    use TransactionCommand::{Exec, Multi};
    matches!(command.spec.handler, Handler::PerShard { .. } | Handler::OfTransaction(Multi | Exec))
}

/// Where a queued command runs, if that is one shard, by its keys.
fn single_place(core: &CoreState, queued: &QueuedCommand) -> Option<(usize, ShardHandler)> {
    let argv = queued.argv.as_argv();
    let run = match queued.command.spec.handler {
        Handler::ShardOf { .. } => return None,
        _ => shard_handler(&queued.command)?,
    };
    match route::owners(&queued.command, argv, core.cores) {
        Owners::One(owner) => Some((owner, run)),
        Owners::None | Owners::Several => None,
    }
}

/// For the copy of a request that is kept for the slow log.
fn nothing(_: &mut Context<'_>, _: Args<'_>, _: &mut Reply<'_>) -> CommandResult {
    unreachable!("it is only looked at")
}
