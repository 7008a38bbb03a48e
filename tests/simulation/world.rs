//! The simulated machine: cores with a shard and a coordinator each, and between every two of them a channel
//! that keeps order and takes its time. All chance comes from one seed.
//!
//! Between channels nothing is ordered: which of them delivers next is drawn anew at each step, and some are
//! slow. What the cores do is the server's own code (`pinion::transaction`, `pinion::shard::WaitQueues`).

use crate::checker::History;
use crate::model::{Cmd, Key, LISTS, Res, Store};
use pinion::base::random::Random;
use pinion::shard::{Claim, Fit, Offer, WaitQueues};
use pinion::transaction::{
    Admission, Answer, Coordinator, Existence, Fault, Faults, Host, Intent, KeySet, Request, Scheduler, Txn,
    WatchTable,
};
use std::collections::VecDeque;
use std::sync::Arc;

/// What a shard is asked to do, on behalf of an operation (an index into the history).
#[derive(Clone)]
pub struct Job {
    pub op: usize,
    pub work: Work,
}

#[derive(Clone)]
pub enum Work {
    Run(Vec<Cmd>),
    Transfer {
        from: Key,
        to: Key,
        amount: i32,
    },
    Watch {
        client: usize,
        keys: Vec<Key>,
    },
    Unwatch {
        client: usize,
        keys: Vec<Key>,
    },
    /// Are these untouched?
    Validate {
        client: usize,
        keys: Vec<Key>,
    },
    /// EXEC as one unit.
    Exec {
        client: usize,
        watched: Vec<Key>,
        cmds: Vec<Cmd>,
    },
    /// Which of these lists have something?
    Full(Vec<Key>),
    /// Stand in the lines of these keys.
    Stand {
        keys: Vec<Key>,
        waiter: Waiter,
        claim: Arc<Claim>,
    },
    /// BLPOP as one unit.
    Wait {
        keys: Vec<Key>,
        waiter: Waiter,
        claim: Arc<Claim>,
    },
}

#[derive(Clone, Debug)]
pub enum Outcome {
    Done,
    Replies(Vec<Res>),
    Moved(bool),
    Valid(bool),
    Exec(Option<Vec<Res>>),
    Full(Vec<Key>),
    /// `None`: the client waits now.
    Popped(Option<(Key, u16)>),
}

/// Who waits, and where its coordinator is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Waiter {
    pub op: usize,
    pub home: usize,
}

/// A command of one shard on its way.
#[derive(Clone)]
pub struct Unit {
    pub job: Job,
    pub client: usize,
    pub home: usize,
}

pub enum Message {
    Unit(Unit),
    Request(Request<Job>),
    Answer { txn: Txn, answer: Answer<Outcome> },
    Reply { op: usize, outcome: Outcome },
    Served { op: usize, key: Key, item: u16 },
    Leave { op: usize, keys: Vec<Key> },
}

impl Work {
    pub fn intents(&self) -> Vec<Intent> {
        let exclusive = |keys: &[Key]| keys.iter().map(|key| Intent::exclusive(u64::from(*key))).collect();
        let shared = |keys: &[Key]| keys.iter().map(|key| Intent::shared(u64::from(*key))).collect();
        match self {
            Self::Run(cmds) => cmds.iter().flat_map(intents_of).collect(),
            Self::Transfer { from, to, .. } => exclusive(&[*from, *to]),
            Self::Unwatch { .. } => Vec::new(),
            Self::Watch { keys, .. } | Self::Validate { keys, .. } | Self::Full(keys) => shared(keys),
            Self::Exec { watched, cmds, .. } => {
                let mut intents: Vec<Intent> = shared(watched);
                intents.extend(cmds.iter().flat_map(intents_of));
                intents
            }
            Self::Stand { keys, .. } | Self::Wait { keys, .. } => exclusive(keys),
        }
    }
}

pub fn intents_of(cmd: &Cmd) -> Vec<Intent> {
    let intent = if cmd.is_write() { Intent::exclusive } else { Intent::shared };
    cmd.keys().into_iter().map(|key| intent(u64::from(key))).collect()
}

/// The channels of all ordered pairs of cores.
pub struct Network {
    cores: usize,
    channels: Vec<VecDeque<Message>>,
    /// Channels with something in them, in no order.
    busy: Vec<usize>,
    slow: Vec<bool>,
    /// A core's messages to itself arrive at once, as the direct calls of a server do.
    direct: bool,
}

impl Network {
    pub fn new(cores: usize, random: &mut Random) -> Self {
        let slowness = random.below(4);
        Self {
            cores,
            channels: (0..cores * cores).map(|_| VecDeque::new()).collect(),
            busy: Vec::new(),
            slow: (0..cores * cores).map(|_| random.below(8) < slowness).collect(),
            direct: random.below(2) == 0,
        }
    }

    pub fn send(&mut self, from: usize, to: usize, message: Message) {
        let channel = from * self.cores + to;
        if self.channels[channel].is_empty() {
            self.busy.push(channel);
        }
        self.channels[channel].push_back(message);
    }

    pub fn is_silent(&self) -> bool {
        self.busy.is_empty()
    }

    pub fn busy(&self) -> usize {
        self.busy.len()
    }

    /// The next message to arrive: from, to, and what.
    pub fn deliver(&mut self, random: &mut Random) -> Option<(usize, usize, Message)> {
        if self.busy.is_empty() {
            return None;
        }
        let own = |channel: &usize| channel / self.cores == channel % self.cores;
        let index = match self.busy.iter().position(own) {
            Some(index) if self.direct => index,
            _ => {
                let mut index = random.index(self.busy.len());
                if self.slow[self.busy[index]] && random.below(8) > 0 {
                    index = random.index(self.busy.len());
                }
                index
            }
        };
        let channel = self.busy[index];
        let message = self.channels[channel].pop_front().expect("it is busy");
        if self.channels[channel].is_empty() {
            self.busy.swap_remove(index);
        }
        Some((channel / self.cores, channel % self.cores, message))
    }
}

/// What an all-seeing observer notes and objects to.
#[derive(Default)]
pub struct Oracle {
    pub history: History,
    pub now: u64,
    /// By operation: parts of transactions asked for in hops, and run.
    pub asked: Vec<u32>,
    pub ran: Vec<u32>,
    /// By shard and client: the last command that ran.
    last: Vec<Vec<usize>>,
    /// By list: who stands in line, in order of arrival.
    lines: Vec<Vec<(usize, Arc<Claim>)>>,
    /// Elements given to blocked clients.
    pub taken: Vec<(u16, usize)>,
    pub objection: Option<String>,
    pub trace: Option<Vec<String>>,
}

/// The operation of what is done for nobody's request.
pub const NO_OP: usize = usize::MAX;

impl Oracle {
    pub fn new(shards: usize, clients: usize, trace: bool) -> Self {
        Self {
            last: vec![vec![0; clients]; shards],
            lines: vec![Vec::new(); crate::model::LIST_KEYS],
            trace: trace.then(Vec::new),
            ..Self::default()
        }
    }

    pub fn object(&mut self, objection: impl FnOnce() -> String) {
        if self.objection.is_none() {
            self.objection = Some(objection());
        }
    }

    pub fn note(&mut self, line: impl FnOnce() -> String) {
        let now = self.now;
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{now:>6} {}", line()));
        }
    }

    fn ran(&mut self, op: usize) {
        if op != NO_OP {
            self.history.0[op].ran = self.now;
        }
    }

    /// Order of effects inside one connection.
    fn unit_ran(&mut self, shard: usize, unit: &Unit) {
        self.ran(unit.job.op);
        if unit.job.op == NO_OP {
            return;
        }
        let last = &mut self.last[shard][unit.client];
        if *last > unit.job.op {
            let (last, op, client) = (*last, unit.job.op, unit.client);
            self.object(|| format!("client {client}: operation {op} ran after {last} on shard {shard}"));
        } else {
            *last = unit.job.op;
        }
    }

    fn stands(&mut self, key: Key, op: usize, claim: &Arc<Claim>) {
        self.lines[usize::from(key - LISTS)].push((op, Arc::clone(claim)));
    }

    fn served(&mut self, key: Key, op: usize, item: u16) {
        self.taken.push((item, op));
        let line = &mut self.lines[usize::from(key - LISTS)];
        if let Some((_, claim)) = line.iter().find(|(other, _)| *other == op) {
            // Taken already, but for the planted bug that does not ask.
            claim.take(pinion::shard::Outcome::Served);
        }
        let ahead: Vec<usize> = line
            .iter()
            .take_while(|(other, _)| *other != op)
            .filter(|(_, claim)| claim.is_waiting())
            .map(|(other, _)| *other)
            .collect();
        line.retain(|(_, claim)| claim.is_waiting());
        if let [first, ..] = ahead[..] {
            self.object(|| format!("operation {op} was served before {first}, who came earlier"));
        }
    }
}

/// One core's data.
pub struct Shard {
    pub index: usize,
    pub store: Store,
    pub watch: WatchTable,
    pub lines: WaitQueues<Waiter>,
}

pub struct Node {
    pub shard: Shard,
    pub scheduler: Scheduler<Job, Unit>,
    pub coordinator: Coordinator<Outcome>,
}

impl Node {
    pub fn new(index: usize, cores: usize, store: Store, patience: u32, faults: Faults) -> Self {
        let mut coordinator = Coordinator::new(index, cores, faults);
        coordinator.patience = patience;
        Self {
            coordinator,
            shard: Shard {
                index,
                store,
                watch: WatchTable::new(1, [1, 2, 3, 4]),
                lines: WaitQueues::new(1, [1, 2, 3, 4]),
            },
            scheduler: Scheduler::new(faults),
        }
    }

    pub fn unit(&mut self, unit: Unit, net: &mut Network, oracle: &mut Oracle, faults: Faults) {
        let intents = unit.job.work.intents();
        let scheduler = &mut self.scheduler;
        if scheduler.is_idle() || scheduler.admit(unit.client as u64, &intents, None) == Admission::Run {
            oracle.note(|| format!("shard {} runs operation {}", self.shard.index, unit.job.op as isize));
            ShardHost { shard: &mut self.shard, net, oracle, faults }.run_unit(unit, false);
        } else {
            oracle.note(|| format!("shard {} defers operation {}", self.shard.index, unit.job.op as isize));
            scheduler.defer(unit.client as u64, KeySet::new(intents), unit);
        }
        self.at_rest(oracle);
    }

    pub fn request(&mut self, request: Request<Job>, net: &mut Network, oracle: &mut Oracle, faults: Faults) {
        let index = self.shard.index;
        oracle.note(|| match &request {
            Request::Schedule { txn, read, .. } => {
                format!("shard {index}: schedule {txn:?}{}", if read.is_some() { ", read" } else { "" })
            }
            Request::Hop { txn, work, last } => {
                format!("shard {index}: hop of operation {}, {txn:?}, last {last}", work.op)
            }
            Request::Conclude { txn } => format!("shard {index}: conclude {txn:?}"),
            Request::Withdraw { txn } => format!("shard {index}: withdraw {txn:?}"),
            Request::SeatFree => String::new(),
        });
        let mut host = ShardHost { shard: &mut self.shard, net, oracle, faults };
        self.scheduler.receive(request, &mut host);
        self.at_rest(oracle);
    }

    /// Nobody waits in front of a list that has something, once the shard is at rest.
    fn at_rest(&mut self, oracle: &mut Oracle) {
        if !self.scheduler.is_idle() || self.shard.lines.is_empty() {
            return;
        }
        for key in LISTS..LISTS + crate::model::LIST_KEYS as Key {
            if !self.shard.store.list(key).is_empty()
                && let Some(waiter) = self.shard.lines.line(0, &[key]).next()
            {
                let op = waiter.op;
                oracle.object(|| format!("operation {op} waits although list{} has something", key - LISTS));
            }
        }
    }
}

/// Runs work on a shard.
struct ShardHost<'a> {
    shard: &'a mut Shard,
    net: &'a mut Network,
    oracle: &'a mut Oracle,
    faults: Faults,
}

impl Host<Job, Unit> for ShardHost<'_> {
    type Result = Outcome;

    fn run(&mut self, txn: Txn, job: Job, concludes: bool) -> Outcome {
        self.oracle.ran(job.op);
        // Reads at scheduling time may run again.
        self.oracle.ran[job.op] += u32::from(!matches!(job.work, Work::Validate { .. }));
        let outcome = self.execute(job, false);
        self.oracle.note(|| format!("shard {} ran {txn:?}: {outcome:?}", self.shard.index));
        if concludes {
            self.concluded(txn);
        } else if self.faults.has(Fault::ServedBeforeConclusion) {
            self.serve();
        } else {
            self.shard.lines.set_aside(txn.number);
        }
        outcome
    }

    fn concluded(&mut self, txn: Txn) {
        self.shard.lines.resume(txn.number);
        self.serve();
    }

    fn command(&mut self, unit: Unit) {
        self.oracle
            .note(|| format!("shard {} runs deferred operation {}", self.shard.index, unit.job.op as isize));
        self.run_unit(unit, true);
    }

    fn answer(&mut self, txn: Txn, answer: Answer<Outcome>) {
        self.oracle.note(|| format!("shard {} answers {txn:?}: {answer:?}", self.shard.index));
        self.net.send(self.shard.index, txn.coordinator as usize, Message::Answer { txn, answer });
    }
}

impl ShardHost<'_> {
    fn run_unit(&mut self, unit: Unit, was_deferred: bool) {
        self.oracle.unit_ran(self.shard.index, &unit);
        let (op, home) = (unit.job.op, unit.home);
        let outcome = self.execute(unit.job, was_deferred);
        if op != NO_OP {
            self.net.send(self.shard.index, home, Message::Reply { op, outcome });
        }
        self.serve();
    }

    fn execute(&mut self, job: Job, was_deferred: bool) -> Outcome {
        match job.work {
            Work::Run(cmds) => Outcome::Replies(self.commands(&cmds, was_deferred)),
            Work::Transfer { from, to, amount } => {
                let enough = self.shard.store.ints[usize::from(from)] >= amount;
                if enough {
                    self.commands(&[Cmd::Add(from, -amount), Cmd::Add(to, amount)], was_deferred);
                }
                Outcome::Moved(enough)
            }
            Work::Watch { client, keys } => {
                for key in keys {
                    self.shard.watch.watch(client as u64, 0, &[key], Existence::Live);
                }
                Outcome::Done
            }
            Work::Unwatch { client, keys } => {
                self.unwatch(client, &keys);
                Outcome::Done
            }
            Work::Validate { client, keys } => Outcome::Valid(self.is_valid(client, &keys)),
            Work::Exec { client, watched, cmds } => {
                let valid = self.is_valid(client, &watched);
                self.unwatch(client, &watched);
                Outcome::Exec(valid.then(|| self.commands(&cmds, was_deferred)))
            }
            Work::Full(keys) => {
                let full = |key: &Key| !self.shard.store.list(*key).is_empty();
                Outcome::Full(keys.into_iter().filter(full).collect())
            }
            Work::Stand { keys, waiter, claim } => {
                self.stand(&keys, waiter, &claim);
                Outcome::Done
            }
            Work::Wait { keys, waiter, claim } => {
                match keys.iter().find(|key| !self.shard.store.list(**key).is_empty()) {
                    Some(key) => {
                        let Res::Int(item) = self.commands(&[Cmd::Pop(*key)], was_deferred).remove(0) else {
                            unreachable!("it is not empty")
                        };
                        Outcome::Popped(Some((*key, item as u16)))
                    }
                    None => {
                        self.stand(&keys, waiter, &claim);
                        Outcome::Popped(None)
                    }
                }
            }
        }
    }

    fn commands(&mut self, cmds: &[Cmd], was_deferred: bool) -> Vec<Res> {
        let Shard { store, watch, lines, .. } = &mut *self.shard;
        let unnoticed = was_deferred && self.faults.has(Fault::DeferredWriteUnwatched);
        let changed = |key: Key| {
            if !unnoticed {
                watch.changed(0, &[key]);
            }
            if key >= LISTS {
                lines.ready(0, &[key]);
            }
        };
        let mut changed = changed;
        cmds.iter().map(|cmd| store.run(cmd, &mut changed)).collect()
    }

    fn is_valid(&self, client: usize, keys: &[Key]) -> bool {
        let watch = &self.shard.watch;
        keys.iter().all(|key| watch.is_untouched(client as u64, 0, &[*key], Existence::Live))
    }

    fn unwatch(&mut self, client: usize, keys: &[Key]) {
        let watch = &mut self.shard.watch;
        keys.iter().for_each(|key| watch.unwatch(client as u64, 0, &[*key]));
    }

    fn stand(&mut self, keys: &[Key], waiter: Waiter, claim: &Arc<Claim>) {
        for key in keys {
            self.oracle.stands(*key, waiter.op, claim);
            let own = self.faults.has(Fault::ServedTwice);
            let claim = if own { Arc::default() } else { Arc::clone(claim) };
            self.shard.lines.wait(0, &[*key], waiter.op as u64, claim, waiter);
        }
    }

    /// Serves blocked clients until no key is ready.
    fn serve(&mut self) {
        let Shard { store, watch, lines, index } = &mut *self.shard;
        while let Some((_, name)) = lines.next_ready() {
            let key = name[0];
            loop {
                let skip = self.faults.has(Fault::ServedInWrongOrder) && lines.line(0, &name).count() > 1;
                let mut seen = 0;
                let fit = |_: &Waiter| {
                    seen += 1;
                    match (store.list(key).is_empty(), skip && seen == 1) {
                        (true, _) => Fit::Stop,
                        (false, true) => Fit::Pass,
                        (false, false) => Fit::Serve,
                    }
                };
                let Offer::Serve(Waiter { op, home }) = lines.offer(0, &name, fit) else { break };
                let item = store.list(key).pop().expect("it was not empty");
                watch.changed(0, &name);
                self.oracle.served(key, op, item);
                self.oracle.ran(op);
                self.oracle.note(|| format!("shard {index} serves operation {op} with {item}"));
                self.net.send(*index, home, Message::Served { op, key, item });
            }
        }
    }
}
