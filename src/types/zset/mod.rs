//! Sorted sets: members with scores, in the order of (score, member).
//!
//! ```text
//! Packed   a listpack: member, score, member, score, …
//! Ranked   MemberArena <- handles - MemberIndex (by name)
//!                      <- handles - RankedTree  (by rank)
//! ```
//! Both encodings answer in ranks: a range of scores or of names is first turned into a range of ranks, then
//! visited, counted or removed.
//!
//! Invariants
//!   Z1  Members are different, scores are no NaN, and ranks follow (score, member).
//!   Z2  Arena, index and tree of a ranked set hold the same handles.

mod packed;
mod range;
mod ranked;
#[cfg(test)]
mod tests;

pub use range::{LexBound, LexRange, ScoreRange};
pub use ranked::Ranked;

use super::encoding::listpack::{Entry, Listpack};
use super::{Collection, DataType, Encoding, EncodingLimits, Value};
use crate::base::double;
use packed::{insert_packed, pairs, push, score_at};
use std::convert::Infallible;
use std::ops::{Bound, ControlFlow, Range};

#[derive(Clone, Debug)]
pub enum SortedSet {
    Packed(Listpack),
    Ranked(Box<Ranked>),
}

/// What became of a member.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Update {
    pub old: Option<f64>,
    pub new: Option<f64>,
}

impl Default for SortedSet {
    fn default() -> Self {
        Self::Packed(Listpack::new())
    }
}

impl DataType for SortedSet {
    fn of(value: &Value) -> Option<&Self> {
        match value {
            Value::SortedSet(set) => Some(set),
            _ => None,
        }
    }

    fn of_mut(value: &mut Value) -> Option<&mut Self> {
        match value {
            Value::SortedSet(set) => Some(set),
            _ => None,
        }
    }

    fn into_value(self) -> Value {
        Value::SortedSet(self)
    }
}

impl Collection for SortedSet {
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl PartialEq for SortedSet {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.to_vec() == other.to_vec()
    }
}

impl SortedSet {
    /// A set of these members, which are all different, in the encoding that suits them.
    pub fn from_members(mut members: Vec<(Vec<u8>, f64)>, limits: &EncodingLimits) -> Self {
        let longest = members.iter().map(|(member, _)| member.len()).max().unwrap_or(0);
        members.sort_unstable_by(|one, other| {
            one.1.partial_cmp(&other.1).expect("Z1: no NaN").then_with(|| one.0.cmp(&other.0))
        });
        let mut set = Self::default();
        if members.len() > limits.zset_max_listpack_entries || longest > limits.zset_max_listpack_value {
            set = Self::Ranked(Box::new(Ranked::new(limits.hash_seed)));
        }
        for (member, score) in &members {
            match &mut set {
                Self::Packed(pack) => push(pack, member, *score),
                Self::Ranked(ranked) => ranked.add(ranked.hash(member), member, *score),
            }
        }
        set
    }

    /// An empty set in the form that suits so many members.
    pub fn for_len(len: usize, limits: &EncodingLimits) -> Self {
        if len > limits.zset_max_listpack_entries {
            return Self::Ranked(Box::new(Ranked::new(limits.hash_seed)));
        }
        Self::default()
    }

    /// Takes a listpack of members and scores from outside, unless it breaks Z1 or texts that spell integers are
    /// not kept as such.
    pub fn from_pack(pack: Listpack) -> Option<Self> {
        let mut entries = pack.iter();
        let mut before: Option<(f64, Entry<'_>)> = None;
        let (mut scratch, mut other) = (itoa::Buffer::new(), itoa::Buffer::new());
        while let Some(member) = entries.next() {
            let score = match entries.next()? {
                Entry::Int(score) => score as f64,
                Entry::Str(text) => double::parse(text)?,
            };
            let follows = before.is_none_or(|(least, name)| {
                let (name, member) = (name.as_bytes(&mut other), member.as_bytes(&mut scratch));
                least < score || least == score && name < member
            });
            if !follows || !member.is_canonical() {
                return None;
            }
            before = Some((score, member));
        }
        Some(Self::Packed(pack))
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline]
    pub fn len(&self) -> usize {
        match self {
            Self::Packed(pack) => pack.len() / 2,
            Self::Ranked(ranked) => ranked.tree.len(),
        }
    }

    /// See [`Value::prefetch_member`].
    #[inline]
    pub fn prefetch_member(&self, member: &[u8]) -> Option<u64> {
        let Self::Ranked(ranked) = self else { return None };
        let hash = ranked.hash(member);
        ranked.index.prefetch(hash);
        Some(hash)
    }

    #[inline]
    pub fn prefetch_record(&self, hash: u64) {
        if let Self::Ranked(ranked) = self
            && let Some(handle) = ranked.index.first_candidate(hash)
        {
            ranked.arena.prefetch(handle);
        }
    }

    pub fn score(&self, member: &[u8]) -> Option<f64> {
        match self {
            Self::Packed(pack) => {
                let position = pack.find(pack.first(), member, 1)?;
                Some(score_at(pack, pack.next(position).expect("a score follows its member")))
            }
            Self::Ranked(ranked) => {
                let handle = ranked.find(ranked.hash(member), member)?;
                Some(ranked.arena.score(handle))
            }
        }
    }

    /// Gives a member the score that `decide` wants for it, knowing its present one; `None` leaves it alone.
    #[inline]
    pub fn update<E>(
        &mut self,
        member: &[u8],
        limits: &EncodingLimits,
        decide: impl FnOnce(Option<f64>) -> Result<Option<f64>, E>,
    ) -> Result<Update, E> {
        if let Self::Packed(pack) = self {
            let position = pack.find(pack.first(), member, 1);
            let old = position
                .map(|position| score_at(pack, pack.next(position).expect("a score follows its member")));
            let new = decide(old)?;
            let Some(score) = new.filter(|new| old != Some(*new)) else { return Ok(Update { old, new }) };
            if let Some(position) = position {
                pack.delete_from(position, 2);
                insert_packed(pack, member, score);
                return Ok(Update { old, new });
            }
            let fits = pack.len() / 2 < limits.zset_max_listpack_entries
                && member.len() <= limits.zset_max_listpack_value
                && pack.has_room_for(member.len());
            if fits {
                insert_packed(pack, member, score);
                return Ok(Update { old, new });
            }
            *self = Self::Ranked(Box::new(Ranked::from_pack(pack, limits.hash_seed)));
            let Self::Ranked(ranked) = self else { unreachable!("made so above") };
            ranked.add(ranked.hash(member), member, score);
            return Ok(Update { old, new });
        }
        let Self::Ranked(ranked) = self else { unreachable!("the other encoding returned") };
        let hash = ranked.hash(member);
        let Some(handle) = ranked.find(hash, member) else {
            let new = decide(None)?;
            if let Some(score) = new {
                ranked.add(hash, member, score);
            }
            return Ok(Update { old: None, new });
        };
        let old = ranked.arena.score(handle);
        let new = decide(Some(old))?;
        if let Some(score) = new.filter(|new| *new != old) {
            ranked.tree.remove(&ranked.arena, old, member).expect("Z2");
            ranked.arena.set_score(handle, score);
            ranked.tree.insert(&ranked.arena, handle);
        }
        Ok(Update { old: Some(old), new })
    }

    /// Gives a member a score; true if it is new.
    pub fn put(&mut self, member: &[u8], score: f64, limits: &EncodingLimits) -> bool {
        let update = self.update(member, limits, |_| Ok::<_, Infallible>(Some(score)));
        let Ok(update) = update;
        update.old.is_none()
    }

    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        match self {
            Self::Packed(pack) => {
                let position = pack.find(pack.first(), member, 1)?;
                let score = score_at(pack, pack.next(position).expect("a score follows its member"));
                pack.delete_from(position, 2);
                Some(score)
            }
            Self::Ranked(ranked) => {
                let hash = ranked.hash(member);
                let Ranked { arena, index, tree, .. } = &mut **ranked;
                let handle = index.remove(hash, |handle| arena.member(handle) == member)?;
                let score = arena.score(handle);
                tree.remove(arena, score, member).expect("Z2");
                arena.remove(handle);
                Some(score)
            }
        }
    }

    /// A member's rank and score.
    pub fn rank(&self, member: &[u8]) -> Option<(usize, f64)> {
        match self {
            Self::Packed(pack) => {
                let rank = pairs(pack).position(|(other, _)| other == Entry::of(member))?;
                let score = pack.seek(rank as i64 * 2 + 1).map(|position| score_at(pack, position));
                Some((rank, score.expect("a score follows its member")))
            }
            Self::Ranked(ranked) => {
                let handle = ranked.find(ranked.hash(member), member)?;
                let score = ranked.arena.score(handle);
                Some((ranked.tree.rank(&ranked.arena, score, member), score))
            }
        }
    }

    /// The ranks of the members within a range of scores; empty at their place if there are none.
    pub fn ranks_of_scores(&self, range: &ScoreRange) -> Range<usize> {
        let below = |score: f64| match range.low {
            Bound::Included(low) => score < low,
            Bound::Excluded(low) => score <= low,
            Bound::Unbounded => false,
        };
        let within = |score: f64| match range.high {
            Bound::Included(high) => score <= high,
            Bound::Excluded(high) => score < high,
            Bound::Unbounded => true,
        };
        let (start, end) = match self {
            Self::Packed(pack) => {
                let scores = || pairs(pack).map(|(_, score)| score);
                (scores().take_while(|score| below(*score)).count(), {
                    scores().take_while(|score| within(*score)).count()
                })
            }
            Self::Ranked(ranked) => (
                ranked.tree.partition_point(|score, _| below(score)),
                ranked.tree.partition_point(|score, _| within(score)),
            ),
        };
        start..end.max(start)
    }

    /// The ranks of the members within a range of names.
    pub fn ranks_of_names(&self, range: &LexRange) -> Range<usize> {
        let (start, end) = match self {
            Self::Packed(pack) => {
                let count = |keep: &dyn Fn(&[u8]) -> bool| {
                    let mut scratch = itoa::Buffer::new();
                    pairs(pack).take_while(|(member, _)| keep(member.as_bytes(&mut scratch))).count()
                };
                (count(&|member| range.low.is_above(member)), count(&|member| range.high.admits(member)))
            }
            Self::Ranked(ranked) => {
                let arena = &ranked.arena;
                (
                    ranked.tree.partition_point(|_, handle| range.low.is_above(arena.member(handle))),
                    ranked.tree.partition_point(|_, handle| range.high.admits(arena.member(handle))),
                )
            }
        };
        start..end.max(start)
    }

    /// Visits the members of a range of ranks, which exist, in order or from its end backwards.
    #[inline]
    pub fn visit(
        &self,
        ranks: Range<usize>,
        backwards: bool,
        mut visit: impl FnMut(&[u8], f64) -> ControlFlow<()>,
    ) {
        if ranks.is_empty() {
            return;
        }
        match self {
            Self::Ranked(ranked) => {
                let arena = &ranked.arena;
                ranked.tree.visit(ranks, backwards, |score, handle| visit(arena.member(handle), score));
            }
            Self::Packed(pack) => {
                let mut scratch = itoa::Buffer::new();
                let first = if backwards { ranks.end - 1 } else { ranks.start };
                let mut position = pack.seek(first as i64 * 2);
                for _ in ranks {
                    let member = position.expect("as many members as ranks");
                    let at = pack.next(member).expect("a score follows its member");
                    if visit(pack.at(member).as_bytes(&mut scratch), score_at(pack, at)).is_break() {
                        return;
                    }
                    position = if backwards {
                        pack.prev(member).and_then(|score| pack.prev(score))
                    } else {
                        pack.next(at)
                    };
                }
            }
        }
    }

    /// Visits all members in order.
    #[inline]
    pub fn each(&self, mut visit: impl FnMut(&[u8], f64)) {
        self.visit(0..self.len(), false, |member, score| {
            visit(member, score);
            ControlFlow::Continue(())
        });
    }

    pub fn to_vec(&self) -> Vec<(Vec<u8>, f64)> {
        let mut members = Vec::with_capacity(self.len());
        self.each(|member, score| members.push((member.to_vec(), score)));
        members
    }

    /// Removes the members of a range of ranks, which exist.
    pub fn remove_ranks(&mut self, ranks: Range<usize>) {
        match self {
            Self::Packed(pack) => {
                pack.delete_range(ranks.start as i64 * 2, ranks.len() * 2);
            }
            Self::Ranked(ranked) => {
                for _ in ranks.clone() {
                    let handle = ranked.tree.remove_at(ranks.start);
                    let hash = ranked.hash(ranked.arena.member(handle));
                    ranked.index.remove(hash, |other| other == handle).expect("Z2");
                    ranked.arena.remove(handle);
                }
            }
        }
    }

    /// Visits about `count` members from `cursor` on and returns where to go on, 0 at the end; see
    /// [`MemberIndex::scan`](super::encoding::member_index::MemberIndex::scan). A packed set is visited as a whole.
    pub fn scan(&self, cursor: u64, count: usize, mut visit: impl FnMut(&[u8], f64)) -> u64 {
        match self {
            Self::Packed(_) => {
                self.each(visit);
                0
            }
            Self::Ranked(ranked) => {
                let arena = &ranked.arena;
                let hash_of = |handle| ranked.hash(arena.member(handle));
                ranked.index.scan(cursor, count, hash_of, |handle| {
                    visit(arena.member(handle), arena.score(handle));
                })
            }
        }
    }

    pub fn encoding(&self) -> Encoding {
        match self {
            Self::Packed(_) => Encoding::Listpack,
            Self::Ranked(_) => Encoding::Skiplist,
        }
    }

    pub fn heap_bytes(&self) -> usize {
        match self {
            Self::Packed(pack) => pack.heap_bytes(),
            Self::Ranked(ranked) => {
                size_of::<Ranked>()
                    + ranked.arena.heap_bytes()
                    + ranked.index.heap_bytes()
                    + ranked.tree.heap_bytes()
            }
        }
    }

    pub fn free_effort(&self) -> usize {
        match self {
            Self::Packed(_) => 1,
            Self::Ranked(ranked) => ranked.arena.pieces() + ranked.index.pieces() + ranked.tree.pieces(),
        }
    }

    pub fn free_slice(&mut self, budget: usize) -> usize {
        let Self::Ranked(ranked) = self else { return 0 };
        let mut freed = ranked.tree.free_slice(budget);
        freed += ranked.index.free_slice(budget - freed);
        freed + ranked.arena.free_slice(budget - freed)
    }

    /// The listpack of a packed set, as DUMP writes it.
    pub fn as_pack(&self) -> Option<&Listpack> {
        match self {
            Self::Packed(pack) => Some(pack),
            Self::Ranked(_) => None,
        }
    }
}
