//! The clients' side: connections, and what a coordinator does for each kind of operation.
//!
//! A connection keeps the server's rules: a request waits while an earlier write is under way on another shard or on
//! several; what touches several shards waits until nothing is under way, and a write waits for an earlier read over
//! several shards, which, if refused, could otherwise see it.

use crate::blocking::Waits;
use crate::checker::Record;
use crate::model::{Cmd, Key, Op, Res};
use crate::workload::{Step, Workload};
use crate::world::{Job, Message, NO_OP, Network, Node, Oracle, Outcome, Unit, Waiter, Work, intents_of};
use pinion::base::random::Random;
use pinion::transaction::{
    ExecPlan, ExecStep, Fault, Faults, Intent, KeySet, Place, Progress, Replies, Request, Sequence, Watching,
};
use std::collections::VecDeque;

pub struct Client {
    pub home: usize,
    pub script: VecDeque<Step>,
    /// Operations under way, in order.
    pub outstanding: Vec<usize>,
    pub watching: Watching<Key>,
    pub gone: bool,
    pub leaves_at: u64,
    /// How many may be under way.
    pub depth: usize,
}

/// A transaction under way and what it is for.
pub struct Drive {
    op: usize,
    plan: Plan,
}

enum Plan {
    MGet(Vec<Key>),
    MSet(Vec<(Key, i32)>),
    Transfer { from: Key, to: Key, amount: i32, decided: bool },
    Exec(Exec),
    Wait { keys: Vec<Key>, served: Option<Key>, stands: bool },
}

struct Exec {
    watched: Vec<(usize, Key)>,
    validates: Vec<usize>,
    cmds: Vec<Cmd>,
    steps: VecDeque<ExecStep>,
    current: Option<ExecStep>,
    replies: Replies<Res>,
}

pub struct World {
    pub random: Random,
    pub workload: Workload,
    pub sequence: Sequence,
    pub nodes: Vec<Node>,
    pub net: Network,
    pub oracle: Oracle,
    pub clients: Vec<Client>,
    /// By core and transaction.
    drives: Vec<Vec<Option<Drive>>>,
    /// By operation: answers missing, and whether all agreed, for operations of several independent commands.
    parts: Vec<(usize, bool)>,
    pub waits: Waits,
    pub faults: Faults,
}

impl World {
    pub fn new(seed: u64, faults: Faults, trace: bool) -> Self {
        let mut random = Random::from_seed(seed);
        let workload = Workload::new(&mut random);
        let cores = workload.shards;
        let node = |index| Node::new(index, cores, workload.start, workload.patience, faults);
        let clients = (0..workload.clients).map(|_| workload.client(&mut random)).collect();
        Self {
            sequence: Sequence::default(),
            nodes: (0..cores).map(node).collect(),
            net: Network::new(cores, &mut random),
            oracle: Oracle::new(cores, workload.clients, trace),
            clients,
            drives: (0..cores).map(|_| Vec::new()).collect(),
            parts: Vec::new(),
            waits: Waits::default(),
            faults,
            random,
            workload,
        }
    }

    fn owner(&self, key: Key) -> usize {
        self.workload.owners[usize::from(key)]
    }

    /// Keys by owner, in order of first mention.
    fn by_owner(&self, keys: &[Key]) -> Vec<(usize, Vec<Key>)> {
        let mut shards: Vec<(usize, Vec<Key>)> = Vec::new();
        for key in keys {
            let owner = self.owner(*key);
            match shards.iter_mut().find(|(shard, _)| *shard == owner) {
                Some((_, keys)) => keys.push(*key),
                None => shards.push((owner, vec![*key])),
            }
        }
        shards
    }

    /// What is intended on each shard; now and then, as by DBSIZE or FLUSHALL, more than needed.
    fn parts_of(&mut self, intents: Vec<Intent>) -> Vec<(usize, KeySet)> {
        let all_keys = self.random.below(16) == 0;
        let mut parts: Vec<(usize, Vec<Intent>)> = Vec::new();
        for intent in intents {
            let owner = self.owner(intent.key as Key);
            match parts.iter_mut().find(|(shard, _)| *shard == owner) {
                Some((_, intents)) => intents.push(intent),
                None => parts.push((owner, vec![intent])),
            }
        }
        let set = |intents: Vec<Intent>| match intents.iter().map(|intent| intent.mode).max() {
            Some(mode) if all_keys => KeySet::whole(mode),
            _ => KeySet::new(intents),
        };
        parts.into_iter().map(|(shard, intents)| (shard, set(intents))).collect()
    }

    /// The only shard an operation touches, if there is only one.
    fn only_shard(&self, client: usize, op: &Op) -> Option<usize> {
        let mut keys = op.keys();
        if matches!(op, Op::Exec(_)) {
            keys.extend(self.clients[client].watching.keys().iter().map(|(_, key)| *key));
        }
        match self.by_owner(&keys)[..] {
            [(shard, _)] => Some(shard),
            _ => None,
        }
    }

    /// Whether the client's next request may start now.
    pub fn may_start(&self, client: usize) -> bool {
        let Client { script, outstanding, gone, depth, .. } = &self.clients[client];
        let Some(step) = script.front().filter(|_| !gone && outstanding.len() < *depth) else { return false };
        let op = match step {
            Step::Op(op) => op,
            Step::Compare { .. } | Step::Decide { .. } => return outstanding.is_empty(),
        };
        if outstanding.is_empty() {
            return true;
        }
        let only = match (op, self.only_shard(client, op)) {
            (Op::Exec(_) | Op::Watch(_) | Op::Wait(_), _) | (_, None) => return false,
            (_, only) => only,
        };
        outstanding.iter().all(|earlier| {
            let earlier = &self.oracle.history.0[*earlier];
            match earlier.shard {
                _ if matches!(earlier.op, Op::Wait(_)) => false,
                Some(_) => earlier.shard == only || !earlier.op.is_write(),
                None if self.faults.has(Fault::WriteOvertakesRead) => !earlier.op.is_write(),
                None => !earlier.op.is_write() && !op.is_write(),
            }
        })
    }

    /// Sends the client's next request.
    pub fn start(&mut self, client: usize) {
        let step = self.clients[client].script.pop_front().expect("may_start");
        let op = match step {
            Step::Op(op) => op,
            Step::Compare { keys, amount } => {
                let gets = keys.iter().map(|key| Step::Op(Op::Cmd(Cmd::Get(*key)))).rev();
                let script = &mut self.clients[client].script;
                script.push_front(Step::Decide { keys: keys.clone(), amount });
                gets.for_each(|get| script.push_front(get));
                Op::Watch(keys)
            }
            Step::Decide { keys, amount } => self.decide(client, &keys, amount),
        };
        let shard = self.only_shard(client, &op);
        let index = self.oracle.history.0.len();
        self.oracle.note(|| format!("client {client} starts operation {index}: {op:?}"));
        let (start, ran) = (self.oracle.now, u64::MAX);
        self.oracle.history.0.push(Record {
            client,
            op: op.clone(),
            shard,
            start,
            end: None,
            result: None,
            ran,
        });
        self.oracle.asked.push(0);
        self.oracle.ran.push(0);
        self.parts.push((0, true));
        self.clients[client].outstanding.push(index);
        self.request(client, index, op, shard);
    }

    /// The EXEC of an optimistic client, from what it has just read.
    fn decide(&self, client: usize, keys: &[Key], amount: i32) -> Op {
        let records = self.oracle.history.0.iter().rev().filter(|record| record.client == client);
        let mut values: Vec<i32> = records
            .take(keys.len())
            .map(|record| match record.result {
                Some(Res::Int(value)) => value,
                _ => unreachable!("it has just read"),
            })
            .collect();
        values.reverse();
        let delta = |index| if index == 0 { amount } else { -amount };
        let set = |(index, (key, value)): (usize, (&Key, i32))| Cmd::Set(*key, value + delta(index));
        Op::Exec(keys.iter().zip(values).enumerate().map(set).collect())
    }

    fn request(&mut self, client: usize, index: usize, op: Op, shard: Option<usize>) {
        let home = self.clients[client].home;
        let mut watched = Vec::new();
        match &op {
            Op::Watch(keys) => {
                for key in keys {
                    let owner = self.owner(*key);
                    self.clients[client].watching.add(owner, *key);
                }
            }
            Op::Exec(_) => {
                watched = self.clients[client].watching.take();
                if self.faults.has(Fault::WatchReadBeforeScheduling) && !watched.is_empty() {
                    return self.validate_early(client, index, &watched);
                }
            }
            Op::Wait(keys) => self.waits.insert(index, keys.clone()),
            Op::Cmd(_) | Op::Transfer { .. } => {}
        }
        let waiter = Waiter { op: index, home };
        if let Some(shard) = shard {
            let work = match op {
                Op::Cmd(cmd) => Work::Run(vec![cmd]),
                Op::Transfer { from, to, amount } => Work::Transfer { from, to, amount },
                Op::Watch(keys) => Work::Watch { client, keys },
                Op::Wait(keys) => Work::Wait { keys, waiter, claim: self.waits.claim(index) },
                Op::Exec(cmds) => {
                    let watched = watched.into_iter().map(|(_, key)| key).collect();
                    Work::Exec { client, watched, cmds }
                }
            };
            return self.send_unit(client, index, shard, work);
        }
        let (intents, plan) = match op {
            Op::Watch(keys) => {
                // Independent commands: what touches a key between its own registration and the reply may or
                // may not have come before the WATCH.
                let shards = self.by_owner(&keys);
                self.parts[index] = (shards.len(), true);
                for (shard, keys) in shards {
                    self.send_unit(client, index, shard, Work::Watch { client, keys });
                }
                return;
            }
            Op::Cmd(cmd) => {
                let intents = intents_of(&cmd);
                match cmd {
                    Cmd::MGet(keys) => (intents, Plan::MGet(keys)),
                    Cmd::MSet(pairs) => (intents, Plan::MSet(pairs)),
                    _ => unreachable!("it has one key"),
                }
            }
            Op::Transfer { from, to, amount } => (
                vec![Intent::exclusive(u64::from(from)), Intent::exclusive(u64::from(to))],
                Plan::Transfer { from, to, amount, decided: false },
            ),
            Op::Wait(keys) => (
                keys.iter().map(|key| Intent::exclusive(u64::from(*key))).collect(),
                Plan::Wait { keys, served: None, stands: false },
            ),
            Op::Exec(cmds) => self.plan_exec(cmds, watched),
        };
        self.begin(home, Drive { op: index, plan }, intents);
    }

    fn plan_exec(&self, cmds: Vec<Cmd>, watched: Vec<(usize, Key)>) -> (Vec<Intent>, Plan) {
        let mut intents: Vec<Intent> = cmds.iter().flat_map(intents_of).collect();
        intents.extend(watched.iter().map(|(_, key)| Intent::shared(u64::from(*key))));
        let place = |cmd: &Cmd| match self.by_owner(&cmd.keys())[..] {
            [(shard, _)] => Place::Shard(shard),
            _ => Place::Several,
        };
        let places: Vec<Place> = cmds.iter().map(place).collect();
        let shards: Vec<usize> = watched.iter().map(|(shard, _)| *shard).collect();
        let (validate, steps) = match ExecPlan::of(&places, &shards) {
            ExecPlan::Hops { validate, steps } => (validate, steps),
            // Only if a planted bug has taken the watched keys away.
            ExecPlan::Whole { shard } => {
                (vec![], vec![ExecStep::Together(vec![(shard, (0..cmds.len()).collect())])])
            }
            ExecPlan::Client => unreachable!("all commands have keys"),
        };
        let (validates, replies) = (validate, Replies::new(cmds.len()));
        (intents, Plan::Exec(Exec { watched, validates, cmds, steps: steps.into(), current: None, replies }))
    }

    fn validate_early(&mut self, client: usize, index: usize, watched: &[(usize, Key)]) {
        let keys: Vec<Key> = watched.iter().map(|(_, key)| *key).collect();
        let shards = self.by_owner(&keys);
        self.parts[index] = (shards.len(), true);
        for (shard, keys) in shards {
            self.send_unit(client, index, shard, Work::Validate { client, keys: keys.clone() });
            self.send_unit(client, NO_OP, shard, Work::Unwatch { client, keys });
        }
    }

    fn send_unit(&mut self, client: usize, op: usize, shard: usize, work: Work) {
        let home = self.clients[client].home;
        let unit = Unit { job: Job { op, work }, client, home };
        self.net.send(home, shard, Message::Unit(unit));
    }

    fn begin(&mut self, home: usize, drive: Drive, intents: Vec<Intent>) {
        let parts = self.parts_of(intents);
        let (id, admitted) = self.nodes[home].coordinator.begin(&self.sequence, parts);
        let drives = &mut self.drives[home];
        if drives.len() <= id as usize {
            drives.resize_with(id as usize + 1, || None);
        }
        drives[id as usize] = Some(drive);
        if admitted {
            self.attempt(home, id);
        }
    }

    fn attempt(&mut self, home: usize, id: u32) {
        let Drive { op, plan } = self.drives[home][id as usize].as_ref().expect("it is under way");
        let owners = &self.workload.owners;
        let client = self.oracle.history.0[*op].client;
        let read = |shard| {
            let here = |key: &Key| owners[usize::from(*key)] == shard;
            let work = match plan {
                Plan::MGet(keys) => Work::Run(vec![Cmd::MGet(keys.iter().copied().filter(here).collect())]),
                Plan::Exec(exec) if exec.validates.contains(&shard) => {
                    let keys = exec.watched.iter().map(|(_, key)| *key).filter(here).collect();
                    Work::Validate { client, keys }
                }
                _ => return None,
            };
            Some(Job { op: *op, work })
        };
        let net = &mut self.net;
        let mut send = |shard, request| net.send(home, shard, Message::Request(request));
        self.nodes[home].coordinator.attempt(&self.sequence, id, read, &mut send);
    }

    fn hop(&mut self, home: usize, id: u32, work: Vec<(usize, Work)>, last: bool) {
        let op = self.drives[home][id as usize].as_ref().expect("it is under way").op;
        self.oracle.asked[op] += work.len() as u32;
        let work = work.into_iter().map(|(shard, work)| (shard, Job { op, work })).collect();
        let net = &mut self.net;
        let mut send = |shard, request| net.send(home, shard, Message::Request(request));
        self.nodes[home].coordinator.hop(id, work, last, &mut send);
    }

    fn conclude(&mut self, home: usize, id: u32) {
        let net = &mut self.net;
        let mut send = |shard, request| net.send(home, shard, Message::Request(request));
        self.nodes[home].coordinator.conclude(&self.sequence, id, &mut send);
        self.start_held(home);
    }

    fn start_held(&mut self, home: usize) {
        while let Some(id) = self.nodes[home].coordinator.next_held(&self.sequence) {
            self.attempt(home, id);
        }
    }

    /// Takes a message from the network.
    pub fn receive(&mut self, from: usize, to: usize, message: Message) {
        match message {
            Message::Unit(unit) => self.nodes[to].unit(unit, &mut self.net, &mut self.oracle, self.faults),
            Message::Request(Request::SeatFree) => self.start_held(to),
            Message::Request(request) => {
                self.nodes[to].request(request, &mut self.net, &mut self.oracle, self.faults);
            }
            Message::Answer { txn, answer } => {
                let net = &mut self.net;
                let mut send = |shard, request| net.send(to, shard, Message::Request(request));
                let coordinator = &mut self.nodes[to].coordinator;
                let progress = coordinator.answer(&self.sequence, from, txn, answer, &mut send);
                self.progress(to, progress);
                self.start_held(to);
            }
            Message::Reply { op, outcome } => self.replied(op, outcome),
            Message::Served { op, key, item } => self.served(op, key, item),
            Message::Leave { op, keys } => {
                let lines = &mut self.nodes[to].shard.lines;
                keys.iter().for_each(|key| lines.leave(0, &[*key], op as u64));
            }
        }
    }

    /// The answer to a command of one shard.
    fn replied(&mut self, op: usize, outcome: Outcome) {
        let Record { client, op: asked, .. } = &self.oracle.history.0[op];
        let (client, home) = (*client, self.clients[*client].home);
        let result = match (outcome, asked) {
            (Outcome::Replies(mut replies), _) => replies.remove(0),
            (Outcome::Moved(moved), _) => Res::Moved(moved),
            (Outcome::Exec(replies), _) => Res::Exec(replies),
            (Outcome::Popped(None), _) => return self.stands(op),
            (Outcome::Popped(popped), _) => Res::Popped(popped),
            (Outcome::Valid(valid), Op::Exec(cmds)) => {
                let (missing, agreed) = &mut self.parts[op];
                *missing -= 1;
                *agreed &= valid;
                match (*missing, *agreed) {
                    (0, true) => {
                        let (intents, plan) = self.plan_exec(cmds.clone(), Vec::new());
                        return self.begin(home, Drive { op, plan }, intents);
                    }
                    (0, false) => Res::Exec(None),
                    _ => return,
                }
            }
            (Outcome::Done, Op::Watch(_)) => {
                let missing = &mut self.parts[op].0;
                *missing = missing.saturating_sub(1);
                if *missing > 0 {
                    return;
                }
                Res::Ok
            }
            // The planted bug stands in line by commands of its own.
            (Outcome::Done, _) => return,
            (Outcome::Valid(_) | Outcome::Full(_), _) => unreachable!("only EXEC and BLPOP ask"),
        };
        debug_assert!(!self.clients[client].outstanding.is_empty() || self.clients[client].gone);
        self.complete(op, result);
    }

    /// What the client sees.
    pub fn complete(&mut self, op: usize, result: Res) {
        let record = &mut self.oracle.history.0[op];
        if record.end.is_some() {
            self.oracle.object(|| format!("operation {op} was answered twice"));
            return;
        }
        let client = &mut self.clients[record.client];
        if client.gone {
            return;
        }
        record.end = Some(self.oracle.now);
        client.outstanding.retain(|other| *other != op);
        if result == Res::Exec(None) {
            self.workload.retry(&mut self.random, &mut client.script);
        }
        self.oracle.note(|| format!("operation {op} => {result:?}"));
        self.oracle.history.0[op].result = Some(result);
    }

    fn progress(&mut self, home: usize, progress: Progress<Outcome>) {
        let (id, results, is_over) = match progress {
            Progress::Nothing => return,
            Progress::Again(id) => return self.attempt(home, id),
            Progress::Scheduled(id, results) | Progress::Answered(id, results) => (id, results, false),
            Progress::Finished(id, results) => (id, results, true),
        };
        let mut drive = self.drives[home][id as usize].take().expect("it is under way");
        let op = drive.op;
        if self.oracle.ran[op] < self.oracle.asked[op] {
            self.oracle.object(|| format!("operation {op} goes on before all its parts have run"));
            return;
        }
        if let Plan::Exec(exec) = &mut drive.plan {
            // The watched keys have answered. From here on nothing is watched any more.
            let client = self.oracle.history.0[op].client;
            for (shard, key) in std::mem::take(&mut exec.watched) {
                self.send_unit(client, NO_OP, shard, Work::Unwatch { client, keys: vec![key] });
            }
        }
        let result = self.advance(home, &mut drive, results);
        if let Some((hop, last)) = result.hop {
            self.drives[home][id as usize] = Some(drive);
            self.hop(home, id, hop, last);
            return;
        }
        if !is_over {
            self.conclude(home, id);
        }
        match (result.reply, drive.plan) {
            (Some(reply), _) => self.complete(op, reply),
            (None, Plan::Wait { keys, .. }) => {
                if self.faults.has(Fault::WaitsAfterConclusion) {
                    let client = self.oracle.history.0[op].client;
                    let waiter = Waiter { op, home };
                    for (shard, keys) in self.by_owner(&keys) {
                        let claim = self.waits.claim(op);
                        self.send_unit(client, op, shard, Work::Stand { keys, waiter, claim });
                    }
                }
                self.stands(op);
            }
            _ => unreachable!("everything else has a reply"),
        }
    }

    /// One step of a plan: the next hop, or the reply, or (for those who wait) neither.
    fn advance(&self, home: usize, drive: &mut Drive, results: Vec<(usize, Outcome)>) -> Advance {
        let op = drive.op;
        match &mut drive.plan {
            Plan::MGet(keys) => Advance::reply(Res::Ints(self.in_order(keys, results))),
            Plan::MSet(_) if self.oracle.asked[op] > 0 => Advance::reply(Res::Ok),
            Plan::MSet(pairs) => Advance::hop(self.mset(pairs), true),
            Plan::Transfer { decided: true, .. } => Advance::reply(Res::Moved(true)),
            Plan::Transfer { from, to, .. } if results.is_empty() => {
                let get = |key: Key| (self.owner(key), Work::Run(vec![Cmd::Get(key)]));
                Advance::hop(vec![get(*from), get(*to)], false)
            }
            Plan::Transfer { from, to, amount, decided } => {
                let value = |key| match replies_of(&results, self.owner(key))[..] {
                    [Res::Int(value)] => value,
                    _ => unreachable!("a GET"),
                };
                let (a, b) = (value(*from), value(*to));
                if a < *amount {
                    return Advance::reply(Res::Moved(false));
                }
                *decided = true;
                let set = |key: Key, value| (self.owner(key), Work::Run(vec![Cmd::Set(key, value)]));
                Advance::hop(vec![set(*from, a - *amount), set(*to, b + *amount)], true)
            }
            Plan::Exec(exec) => self.advance_exec(exec, results),
            Plan::Wait { keys, served, stands } => {
                self.advance_wait(op, home, keys, (served, stands), results)
            }
        }
    }

    fn mset(&self, pairs: &[(Key, i32)]) -> Vec<(usize, Work)> {
        let keys: Vec<Key> = pairs.iter().map(|(key, _)| *key).collect();
        let of = |keys: Vec<Key>| pairs.iter().copied().filter(|(key, _)| keys.contains(key)).collect();
        let work = |(shard, keys)| (shard, Work::Run(vec![Cmd::MSet(of(keys))]));
        self.by_owner(&keys).into_iter().map(work).collect()
    }

    /// Values that came by shard, in the order of the keys.
    fn in_order(&self, keys: &[Key], results: Vec<(usize, Outcome)>) -> Vec<i32> {
        let mut values: Vec<(usize, VecDeque<i32>)> = results
            .into_iter()
            .map(|(shard, outcome)| match outcome {
                Outcome::Replies(mut replies) => match replies.remove(0) {
                    Res::Ints(values) => (shard, values.into()),
                    _ => unreachable!("an MGET"),
                },
                _ => unreachable!("an MGET"),
            })
            .collect();
        let next = |key: &Key| {
            let (_, values) = values.iter_mut().find(|(shard, _)| *shard == self.owner(*key)).expect("asked");
            values.pop_front().expect("one per key")
        };
        keys.iter().map(next).collect()
    }

    fn advance_exec(&self, exec: &mut Exec, results: Vec<(usize, Outcome)>) -> Advance {
        if results.iter().any(|(_, outcome)| matches!(outcome, Outcome::Valid(false))) {
            return Advance::reply(Res::Exec(None));
        }
        match exec.current.take() {
            None => {}
            Some(ExecStep::Together(parts)) => {
                for (shard, commands) in parts {
                    exec.replies.put_all(&commands, replies_of(&results, shard));
                }
            }
            Some(ExecStep::Alone(index)) => {
                let reply = match &exec.cmds[index] {
                    Cmd::MGet(keys) => Res::Ints(self.in_order(keys, results)),
                    _ => Res::Ok,
                };
                exec.replies.put(index, reply);
            }
            Some(ExecStep::Client(_)) => unreachable!("all commands have keys"),
        }
        let Some(step) = exec.steps.pop_front() else {
            let replies = std::mem::replace(&mut exec.replies, Replies::new(0));
            return Advance::reply(Res::Exec(Some(replies.into_replies())));
        };
        let work = match &step {
            ExecStep::Together(parts) => {
                let cmds =
                    |indices: &[usize]| indices.iter().map(|index| exec.cmds[*index].clone()).collect();
                parts.iter().map(|(shard, indices)| (*shard, Work::Run(cmds(indices)))).collect()
            }
            ExecStep::Alone(index) => match &exec.cmds[*index] {
                Cmd::MGet(keys) => {
                    let work = |(shard, keys)| (shard, Work::Run(vec![Cmd::MGet(keys)]));
                    self.by_owner(keys).into_iter().map(work).collect()
                }
                Cmd::MSet(pairs) => self.mset(pairs),
                _ => unreachable!("it spans shards"),
            },
            ExecStep::Client(_) => unreachable!("all commands have keys"),
        };
        exec.current = Some(step);
        Advance::hop(work, exec.steps.is_empty())
    }

    fn advance_wait(
        &self,
        op: usize,
        home: usize,
        keys: &[Key],
        (served, stands): (&mut Option<Key>, &mut bool),
        results: Vec<(usize, Outcome)>,
    ) -> Advance {
        let by_owner = || self.by_owner(keys).into_iter();
        if let Some(key) = *served {
            let Some(Res::Int(item)) = replies_of(&results, self.owner(key)).pop() else {
                unreachable!("the list was full, and is held")
            };
            return Advance::reply(Res::Popped(Some((key, item as u16))));
        }
        if *stands {
            return Advance { hop: None, reply: None };
        }
        if results.is_empty() {
            return Advance::hop(by_owner().map(|(shard, keys)| (shard, Work::Full(keys))).collect(), false);
        }
        let full: Vec<Key> = results
            .into_iter()
            .flat_map(|(_, outcome)| match outcome {
                Outcome::Full(keys) => keys,
                _ => unreachable!("asked for full lists"),
            })
            .collect();
        if let Some(key) = keys.iter().find(|key| full.contains(key)) {
            *served = Some(*key);
            return Advance::hop(vec![(self.owner(*key), Work::Run(vec![Cmd::Pop(*key)]))], true);
        }
        *stands = true;
        if self.faults.has(Fault::WaitsAfterConclusion) {
            return Advance { hop: None, reply: None };
        }
        let waiter = Waiter { op, home };
        let work = |(shard, keys)| (shard, Work::Stand { keys, waiter, claim: self.waits.claim(op) });
        Advance::hop(by_owner().map(work).collect(), true)
    }

    /// The connection is closed, in the middle of whatever it does.
    pub fn disconnect(&mut self, client: usize) {
        let Client { home, watching, outstanding, gone, .. } = &mut self.clients[client];
        *gone = true;
        let (home, watched, outstanding) = (*home, watching.take(), std::mem::take(outstanding));
        self.oracle.note(|| format!("client {client} leaves"));
        for (shard, key) in watched {
            let job = Job { op: NO_OP, work: Work::Unwatch { client, keys: vec![key] } };
            self.net.send(home, shard, Message::Unit(Unit { job, client, home }));
        }
        outstanding.into_iter().for_each(|op| self.gives_up(op));
    }

    pub fn send_leave(&mut self, op: usize, keys: &[Key]) {
        let home = self.clients[self.oracle.history.0[op].client].home;
        for (shard, keys) in self.by_owner(keys) {
            self.net.send(home, shard, Message::Leave { op, keys });
        }
    }
}

struct Advance {
    hop: Option<(Vec<(usize, Work)>, bool)>,
    reply: Option<Res>,
}

impl Advance {
    fn hop(work: Vec<(usize, Work)>, last: bool) -> Self {
        Self { hop: Some((work, last)), reply: None }
    }

    fn reply(reply: Res) -> Self {
        Self { hop: None, reply: Some(reply) }
    }
}

fn replies_of(results: &[(usize, Outcome)], shard: usize) -> Vec<Res> {
    match results.iter().find(|(other, _)| *other == shard) {
        Some((_, Outcome::Replies(replies))) => replies.clone(),
        _ => unreachable!("that shard ran commands"),
    }
}
