//! Is a history strictly serializable? Searches for one order of all operations that respects who was
//! answered before whom was asked, and in which the sequential model gives every answer that was seen
//! (Wing and Gong's search, with the dead ends remembered).

use crate::model::{Op, Res, State};
use std::collections::HashSet;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

/// One request of one client.
#[derive(Clone, Debug)]
pub struct Record {
    pub client: usize,
    pub op: Op,
    /// The only shard it touches, if there is only one.
    pub shard: Option<usize>,
    pub start: u64,
    pub end: Option<u64>,
    pub result: Option<Res>,
    /// When its last part ran: where the search looks first.
    pub ran: u64,
}

#[derive(Default)]
pub struct History(pub Vec<Record>);

/// A mask has a bit per operation.
pub const CHECKED_MAX: usize = 64;

/// More dead ends than this and the search says that it does not know.
const DEAD_ENDS_MAX: usize = 2_000_000;

impl History {
    /// Whether `a` has to come before `b` in every order.
    ///
    /// Between clients: `a` was answered before `b` was asked. Inside one connection requests may be under way
    /// together; their order is that of Redis but for a read on one shard, which may happen later than what
    /// follows it on another.
    fn precedes(a: &Record, b: &Record, a_is_first: bool) -> bool {
        a.end.is_some_and(|end| end < b.start)
            || a.client == b.client
                && a_is_first
                && match (a.shard, b.shard) {
                    _ if a.op.is_write() => true,
                    (Some(_), None) => true,
                    (None, _) => b.op.is_write(),
                    (Some(one), Some(other)) => one == other,
                }
    }

    pub fn is_strictly_serializable(&self, start: State) -> bool {
        let records = &self.0;
        assert!(records.len() <= CHECKED_MAX);
        let before_of = |(index, b): (usize, &Record)| {
            let bit = |(other, a): (usize, &Record)| {
                u64::from(other != index && Self::precedes(a, b, other < index)) << other
            };
            records.iter().enumerate().map(bit).fold(0, |mask, bit| mask | bit)
        };
        let before = records.iter().enumerate().map(before_of).collect();
        let answered = records.iter().enumerate().filter(|(_, record)| record.end.is_some());
        let must = answered.fold(0, |mask, (index, _)| mask | 1_u64 << index);
        let mut order: Vec<usize> = (0..records.len()).collect();
        // What nobody has seen the result of is tried last: it may never have happened.
        order.sort_by_key(|index| (records[*index].end.is_none(), records[*index].ran));
        Search { records, before, must, order, dead_ends: HashSet::new() }.explore(0, &start)
    }
}

struct Search<'a> {
    records: &'a [Record],
    before: Vec<u64>,
    must: u64,
    order: Vec<usize>,
    dead_ends: HashSet<(u64, u64)>,
}

fn place(done: u64, state: &State) -> (u64, u64) {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    (done, hasher.finish())
}

impl Search<'_> {
    fn explore(&mut self, done: u64, state: &State) -> bool {
        if self.must & !done == 0 {
            return true;
        }
        if !self.dead_ends.is_empty() && self.dead_ends.contains(&place(done, state)) {
            return false;
        }
        for position in 0..self.order.len() {
            let index = self.order[position];
            if done >> index & 1 == 1 || self.before[index] & !done != 0 {
                continue;
            }
            let Record { client, op, result, .. } = &self.records[index];
            for way in 0..State::ways(op, result.as_ref()) {
                if let Some(next) = state.after(*client, op, result.as_ref(), way)
                    && self.explore(done | 1 << index, &next)
                {
                    return true;
                }
            }
        }
        assert!(self.dead_ends.len() < DEAD_ENDS_MAX, "the history is too entangled to be judged");
        self.dead_ends.insert(place(done, state));
        false
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, record) in self.0.iter().enumerate() {
            let Record { client, op, start, end, result, ran, shard } = record;
            let end = end.map_or("-".to_owned(), |end| end.to_string());
            let place = shard.map_or("several".to_owned(), |shard| format!("shard {shard}"));
            let result = result.as_ref().map_or("?".to_owned(), |result| format!("{result:?}"));
            write!(f, "{index:>3}  client {client}  {start:>5}..{end:<5} ran {ran:<5} {place:<8} ")?;
            writeln!(f, "{op:?}  =>  {result}")?;
        }
        Ok(())
    }
}

mod tests {
    use super::*;
    use crate::model::Cmd;

    fn record(client: usize, op: Op, span: (u64, Option<u64>), result: Option<Res>) -> Record {
        Record { client, op, shard: Some(0), start: span.0, end: span.1, result, ran: span.0 }
    }

    fn get(client: usize, start: u64, end: u64, value: i32) -> Record {
        record(client, Op::Cmd(Cmd::Get(0)), (start, Some(end)), Some(Res::Int(value)))
    }

    fn set(client: usize, start: u64, end: Option<u64>, value: i32) -> Record {
        record(client, Op::Cmd(Cmd::Set(0, value)), (start, end), end.map(|_| Res::Ok))
    }

    fn judge(records: Vec<Record>) -> bool {
        History(records).is_strictly_serializable(State::default())
    }

    #[test]
    fn a_read_during_a_write_sees_either_value_but_not_back_and_forth() {
        assert!(judge(vec![set(0, 1, Some(9), 5), get(1, 2, 3, 0), get(1, 4, 5, 5)]));
        assert!(!judge(vec![set(0, 1, Some(9), 5), get(1, 2, 3, 5), get(2, 4, 5, 0)]));
        assert!(!judge(vec![set(0, 1, Some(2), 5), get(1, 3, 4, 0)]), "it is in the past");
    }

    #[test]
    fn what_was_never_answered_may_have_happened_or_not() {
        assert!(judge(vec![set(0, 1, None, 5), get(1, 2, 3, 0), get(1, 8, 9, 5)]));
        assert!(judge(vec![set(0, 1, None, 5), get(1, 2, 3, 0), get(1, 8, 9, 0)]));
        assert!(!judge(vec![set(0, 1, None, 5), get(1, 2, 3, 5), get(1, 8, 9, 0)]));
    }

    #[test]
    fn exec_fails_exactly_if_a_watched_key_was_touched() {
        let watch = record(0, Op::Watch(vec![0]), (1, Some(2)), Some(Res::Ok));
        let exec = |done: Option<Vec<Res>>| record(0, Op::Exec(vec![]), (5, Some(6)), Some(Res::Exec(done)));
        assert!(judge(vec![watch.clone(), set(1, 3, Some(4), 1), exec(None)]));
        assert!(!judge(vec![watch.clone(), set(1, 3, Some(4), 1), exec(Some(vec![]))]));
        assert!(!judge(vec![watch.clone(), get(1, 3, 4, 0), exec(None)]));
        assert!(judge(vec![watch, set(1, 3, Some(9), 1), exec(Some(vec![]))]));
    }

    #[test]
    fn waiting_in_vain_needs_empty_keys() {
        let push = record(1, Op::Cmd(Cmd::Push(8, 7)), (1, Some(2)), Some(Res::Int(1)));
        let wait = |start, result| record(0, Op::Wait(vec![8]), (start, Some(9)), Some(Res::Popped(result)));
        assert!(judge(vec![push.clone(), wait(3, Some((8, 7)))]));
        assert!(!judge(vec![push.clone(), wait(3, None)]));
        assert!(judge(vec![wait(1, None), push]));
    }
}
