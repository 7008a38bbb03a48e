//! What the clients of a simulation want, drawn from its seed.

use crate::model::{Cmd, Key, LIST_KEYS, LIST_MAX, LISTS, Op, Store};
use crate::transactions::Client;
use pinion::base::random::Random;
use pinion::transaction::Watching;
use std::cell::Cell;
use std::collections::VecDeque;

/// A step of a client's script.
pub enum Step {
    Op(Op),
    /// WATCH, GET, and EXEC of what follows: `amount` goes from the other keys to the first.
    Compare {
        keys: Vec<Key>,
        amount: i32,
    },
    /// Its EXEC.
    Decide {
        keys: Vec<Key>,
        amount: i32,
    },
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Numbers of all sorts: SET, INCRBY, MSET, MGET, EXEC.
    Registers,
    /// Transfers in all ways there are; the sum stays.
    Bank,
    /// Lists and those who wait for them.
    Lists,
    Mixed,
}

pub struct Workload {
    pub kind: Kind,
    pub shards: usize,
    pub clients: usize,
    pub owners: Vec<usize>,
    /// Refusals after which a transaction draws a ticket.
    pub patience: u32,
    pub start: Store,
    ints: u8,
    lists: u8,
    steps: u64,
    depth: usize,
    leavers: bool,
    pushed: Cell<[u8; LIST_KEYS]>,
    item: Cell<u16>,
    value: Cell<i32>,
    retries: Cell<u32>,
}

const BALANCE: i32 = 100;

impl Workload {
    pub fn new(random: &mut Random) -> Self {
        let kinds = [Kind::Registers, Kind::Bank, Kind::Lists, Kind::Mixed];
        let kind = kinds[random.index(kinds.len())];
        // Too long for the checker: only the cheap checks.
        let is_storm = random.below(16) == 0;
        let shards = 2 + random.index(3);
        let clients = if is_storm { 8 } else { 2 + random.index(5) };
        let operations = if is_storm { 160 } else { 10 + random.below(16) };
        let mut start = Store::default();
        let ints = 2 + random.below(4) as u8;
        if kind == Kind::Bank {
            start.ints[..usize::from(ints)].fill(BALANCE);
        }
        Self {
            kind,
            shards,
            clients,
            owners: (0..usize::from(LISTS) + LIST_KEYS).map(|_| random.index(shards)).collect(),
            start,
            patience: [1, 2, 3, 12][random.index(4)],
            ints,
            lists: 1 + random.below(LIST_KEYS as u64) as u8,
            steps: operations / clients as u64,
            depth: [1, 1, 3, 8][random.index(4)],
            leavers: random.below(4) == 0,
            pushed: Cell::default(),
            item: Cell::new(0),
            value: Cell::new(0),
            retries: Cell::new(4),
        }
    }

    /// The sum of all accounts, if nothing changes it.
    pub fn sum(&self) -> Option<i32> {
        (self.kind == Kind::Bank).then_some(BALANCE * i32::from(self.ints))
    }

    pub fn accounts(&self) -> usize {
        usize::from(self.ints)
    }

    pub fn client(&self, random: &mut Random) -> Client {
        Client {
            home: random.index(self.shards),
            script: (0..self.steps).map(|_| self.step(random)).collect(),
            outstanding: Vec::new(),
            watching: Watching::default(),
            gone: false,
            leaves_at: if self.leavers && random.below(3) == 0 { random.below(120) } else { u64::MAX },
            depth: self.depth,
        }
    }

    /// An optimistic client that failed may try again.
    pub fn retry(&self, random: &mut Random, script: &mut VecDeque<Step>) {
        let left = self.retries.get();
        if left > 0 {
            self.retries.set(left - 1);
            script.push_front(self.compare(random));
        }
    }

    fn step(&self, random: &mut Random) -> Step {
        match self.kind {
            Kind::Registers => self.register_step(random),
            Kind::Bank => self.bank_step(random),
            Kind::Lists => self.list_step(random),
            Kind::Mixed if random.below(2) == 0 => self.list_step(random),
            Kind::Mixed => self.register_step(random),
        }
    }

    fn register_step(&self, random: &mut Random) -> Step {
        let op = match random.below(12) {
            0..=6 => Op::Cmd(self.number_cmd(random)),
            7 => Op::Watch(self.ints(random, 2)),
            8 | 9 => Op::Exec((0..1 + random.below(3)).map(|_| self.number_cmd(random)).collect()),
            10 => return self.compare(random),
            _ => self.transfer(random, 3),
        };
        Step::Op(op)
    }

    fn bank_step(&self, random: &mut Random) -> Step {
        let all = || (0..self.ints).collect();
        let op = match random.below(10) {
            0..=2 => self.transfer(random, 60),
            3 | 4 => {
                let keys = self.ints(random, 2);
                let amount = random.below(50) as i32;
                match keys[..] {
                    [from, to] => Op::Exec(vec![Cmd::Add(from, -amount), Cmd::Add(to, amount)]),
                    _ => Op::Cmd(Cmd::Get(keys[0])),
                }
            }
            5 => return self.compare(random),
            6 => Op::Exec(vec![Cmd::MGet(all())]),
            _ => Op::Cmd(Cmd::MGet(all())),
        };
        Step::Op(op)
    }

    fn list_step(&self, random: &mut Random) -> Step {
        let op = match random.below(12) {
            0..=2 => Op::Cmd(self.push(random)),
            3 | 4 => Op::Cmd(self.list_cmd(random)),
            5..=8 => Op::Wait(self.some(random, LISTS, self.lists, 3)),
            9 => Op::Exec((0..1 + random.below(3)).map(|_| self.list_cmd(random)).collect()),
            _ => {
                let push = self.push(random);
                let again = match push {
                    Cmd::Push(key, _) if random.below(2) == 0 => Cmd::Pop(key),
                    _ => self.push(random),
                };
                Op::Exec(vec![push, Cmd::MGet(self.ints(random, 3)), again])
            }
        };
        Step::Op(op)
    }

    fn number_cmd(&self, random: &mut Random) -> Cmd {
        let key = random.below(u64::from(self.ints)) as Key;
        match random.below(8) {
            0 | 1 => Cmd::Get(key),
            2 | 3 => Cmd::Set(key, self.value()),
            4 => Cmd::Add(key, 1 + random.below(3) as i32),
            5 | 6 => Cmd::MGet(self.ints(random, 3)),
            _ => Cmd::MSet(self.ints(random, 3).into_iter().map(|key| (key, self.value())).collect()),
        }
    }

    fn list_cmd(&self, random: &mut Random) -> Cmd {
        let key = LISTS + random.below(u64::from(self.lists)) as Key;
        match random.below(4) {
            0 => Cmd::Len(key),
            1 | 2 => Cmd::Pop(key),
            _ => self.push(random),
        }
    }

    fn push(&self, random: &mut Random) -> Cmd {
        let list = random.index(usize::from(self.lists));
        let key = LISTS + list as Key;
        let mut pushed = self.pushed.get();
        if usize::from(pushed[list]) == LIST_MAX {
            return Cmd::Pop(key);
        }
        pushed[list] += 1;
        self.pushed.set(pushed);
        self.item.set(self.item.get() + 1);
        Cmd::Push(key, self.item.get())
    }

    fn transfer(&self, random: &mut Random, most: u64) -> Op {
        match self.ints(random, 2)[..] {
            [from, to] => Op::Transfer { from, to, amount: random.below(most) as i32 },
            _ => Op::Cmd(Cmd::Get(0)),
        }
    }

    fn compare(&self, random: &mut Random) -> Step {
        let mut keys = self.ints(random, 2);
        let amount = random.below(20) as i32;
        if self.kind == Kind::Bank && keys.len() == 1 {
            keys.push((keys[0] + 1) % self.ints);
        }
        Step::Compare { keys, amount }
    }

    /// Never the same twice: who reads it knows who wrote it.
    fn value(&self) -> i32 {
        self.value.set(self.value.get() + 1000);
        self.value.get()
    }

    fn ints(&self, random: &mut Random, most: u64) -> Vec<Key> {
        self.some(random, 0, self.ints, most)
    }

    /// Some different keys in any order, at least one.
    fn some(&self, random: &mut Random, first: Key, count: u8, most: u64) -> Vec<Key> {
        let mut keys = Vec::new();
        for _ in 0..1 + random.below(most) {
            let key = first + random.below(u64::from(count)) as Key;
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        keys
    }
}
