//! The data of the simulated server and what its commands do, as a sequential program. The shards run it on
//! their own keys; the checker runs it on all.

use std::fmt;

/// Keys from [`LISTS`] on are lists, the others numbers.
pub type Key = u8;
pub const LISTS: Key = 8;
pub const LIST_KEYS: usize = 3;
pub const LIST_MAX: usize = 20;
pub const CLIENTS: usize = 8;

#[derive(Clone, Eq, PartialEq)]
pub enum Cmd {
    Get(Key),
    Set(Key, i32),
    Add(Key, i32),
    MGet(Vec<Key>),
    MSet(Vec<(Key, i32)>),
    Push(Key, u16),
    Pop(Key),
    Len(Key),
}

#[derive(Clone, Eq, PartialEq)]
pub enum Op {
    Cmd(Cmd),
    /// Moves an amount if it is there: reads in one hop, writes in the next.
    Transfer {
        from: Key,
        to: Key,
        amount: i32,
    },
    Watch(Vec<Key>),
    Exec(Vec<Cmd>),
    /// BLPOP.
    Wait(Vec<Key>),
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Res {
    Ok,
    Nil,
    Int(i32),
    Ints(Vec<i32>),
    Moved(bool),
    /// `None`: a watched key was touched.
    Exec(Option<Vec<Res>>),
    /// `None`: the time was over.
    Popped(Option<(Key, u16)>),
}

#[derive(Clone, Copy, Default, Eq, Hash, PartialEq)]
pub struct List {
    len: u8,
    items: [u16; LIST_MAX],
}

impl List {
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn items(&self) -> &[u16] {
        &self.items[..usize::from(self.len)]
    }

    fn push(&mut self, item: u16) {
        self.items[usize::from(self.len)] = item;
        self.len += 1;
    }

    pub fn pop(&mut self) -> Option<u16> {
        let first = *self.items().first()?;
        self.items.copy_within(1.., 0);
        self.len -= 1;
        self.items[usize::from(self.len)] = 0;
        Some(first)
    }
}

#[derive(Clone, Copy, Default, Eq, Hash, PartialEq)]
pub struct Store {
    pub ints: [i32; LISTS as usize],
    pub lists: [List; LIST_KEYS],
}

impl Store {
    pub fn list(&mut self, key: Key) -> &mut List {
        &mut self.lists[usize::from(key - LISTS)]
    }

    /// Runs a command; `changed` hears of every key that was modified.
    pub fn run(&mut self, cmd: &Cmd, mut changed: impl FnMut(Key)) -> Res {
        match cmd {
            Cmd::Get(key) => Res::Int(self.ints[usize::from(*key)]),
            Cmd::Set(key, value) => {
                self.ints[usize::from(*key)] = *value;
                changed(*key);
                Res::Ok
            }
            Cmd::Add(key, delta) => {
                let value = &mut self.ints[usize::from(*key)];
                *value += delta;
                changed(*key);
                Res::Int(*value)
            }
            Cmd::MGet(keys) => Res::Ints(keys.iter().map(|key| self.ints[usize::from(*key)]).collect()),
            Cmd::MSet(pairs) => {
                for (key, value) in pairs {
                    self.ints[usize::from(*key)] = *value;
                    changed(*key);
                }
                Res::Ok
            }
            Cmd::Push(key, item) => {
                let list = self.list(*key);
                list.push(*item);
                let len = list.items().len();
                changed(*key);
                Res::Int(len as i32)
            }
            Cmd::Pop(key) => match self.list(*key).pop() {
                Some(item) => {
                    changed(*key);
                    Res::Int(i32::from(item))
                }
                None => Res::Nil,
            },
            Cmd::Len(key) => Res::Int(self.list(*key).items().len() as i32),
        }
    }
}

impl Cmd {
    pub fn keys(&self) -> Vec<Key> {
        match self {
            Self::Get(key) | Self::Set(key, _) | Self::Add(key, _) => vec![*key],
            Self::Push(key, _) | Self::Pop(key) | Self::Len(key) => vec![*key],
            Self::MGet(keys) => keys.clone(),
            Self::MSet(pairs) => pairs.iter().map(|(key, _)| *key).collect(),
        }
    }

    pub fn is_write(&self) -> bool {
        !matches!(self, Self::Get(_) | Self::MGet(_) | Self::Len(_))
    }
}

impl Op {
    pub fn keys(&self) -> Vec<Key> {
        match self {
            Self::Cmd(cmd) => cmd.keys(),
            Self::Transfer { from, to, .. } => vec![*from, *to],
            Self::Watch(keys) | Self::Wait(keys) => keys.clone(),
            Self::Exec(cmds) => cmds.iter().flat_map(Cmd::keys).collect(),
        }
    }

    /// What others can see or depend on.
    pub fn is_write(&self) -> bool {
        !matches!(self, Self::Cmd(cmd) if !cmd.is_write())
    }
}

/// Everything that decides about replies: the data and who watches what.
#[derive(Clone, Copy, Default, Eq, Hash, PartialEq)]
pub struct State {
    pub store: Store,
    pub watched: [u16; CLIENTS],
    pub touched: [bool; CLIENTS],
}

impl State {
    /// How many ways there are for an operation to go: more than one only if nobody has seen its result.
    pub fn ways(op: &Op, result: Option<&Res>) -> usize {
        match (op, result) {
            (Op::Wait(keys), None) => keys.len(),
            _ => 1,
        }
    }

    /// The state after the operation, if its result is right here.
    pub fn after(&self, client: usize, op: &Op, result: Option<&Res>, way: usize) -> Option<Self> {
        let mut next = *self;
        let mut touched = 0_u16;
        let got =
            match op {
                Op::Cmd(cmd) => next.store.run(cmd, |key| touched |= 1 << key),
                Op::Transfer { from, to, amount } => {
                    let enough = next.store.ints[usize::from(*from)] >= *amount;
                    if enough {
                        next.store.ints[usize::from(*from)] -= amount;
                        next.store.ints[usize::from(*to)] += amount;
                        touched = 1 << from | 1 << to;
                    }
                    Res::Moved(enough)
                }
                Op::Watch(keys) => {
                    next.watched[client] |= keys.iter().fold(0, |mask, key| mask | 1 << key);
                    Res::Ok
                }
                Op::Exec(cmds) => {
                    let failed = next.touched[client];
                    (next.watched[client], next.touched[client]) = (0, false);
                    Res::Exec((!failed).then(|| {
                        cmds.iter().map(|cmd| next.store.run(cmd, |key| touched |= 1 << key)).collect()
                    }))
                }
                Op::Wait(keys) => {
                    let key = match result {
                        Some(Res::Popped(Some((key, _)))) => Some(*key),
                        Some(_) => None,
                        None => Some(keys[way]),
                    };
                    match key {
                        // Served, at once or later: an element of one of its keys.
                        Some(key) if keys.contains(&key) => {
                            let item = next.store.list(key).pop()?;
                            touched = 1 << key;
                            Res::Popped(Some((key, item)))
                        }
                        Some(_) => return None,
                        // Who waits in vain found all his keys empty when he began.
                        None if keys.iter().all(|key| next.store.list(*key).is_empty()) => Res::Popped(None),
                        None => return None,
                    }
                }
            };
        if result.is_some_and(|result| *result != got) {
            return None;
        }
        for other in 0..CLIENTS {
            next.touched[other] |= next.watched[other] & touched != 0;
        }
        Some(next)
    }
}

pub fn name(key: Key) -> String {
    if key < LISTS { format!("n{key}") } else { format!("list{}", key - LISTS) }
}

fn names(keys: &[Key]) -> String {
    keys.iter().map(|key| name(*key)).collect::<Vec<_>>().join(" ")
}

impl fmt::Debug for Cmd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Get(key) => write!(f, "GET {}", name(*key)),
            Self::Set(key, value) => write!(f, "SET {} {value}", name(*key)),
            Self::Add(key, delta) => write!(f, "INCRBY {} {delta}", name(*key)),
            Self::MGet(keys) => write!(f, "MGET {}", names(keys)),
            Self::MSet(pairs) => {
                write!(f, "MSET")?;
                pairs.iter().try_for_each(|(key, value)| write!(f, " {} {value}", name(*key)))
            }
            Self::Push(key, item) => write!(f, "RPUSH {} {item}", name(*key)),
            Self::Pop(key) => write!(f, "LPOP {}", name(*key)),
            Self::Len(key) => write!(f, "LLEN {}", name(*key)),
        }
    }
}

impl fmt::Debug for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cmd(cmd) => cmd.fmt(f),
            Self::Transfer { from, to, amount } => {
                write!(f, "TRANSFER {amount} {} -> {}", name(*from), name(*to))
            }
            Self::Watch(keys) => write!(f, "WATCH {}", names(keys)),
            Self::Exec(cmds) => write!(f, "EXEC {cmds:?}"),
            Self::Wait(keys) => write!(f, "BLPOP {}", names(keys)),
        }
    }
}
