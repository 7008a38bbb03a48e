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

use super::encoding::listpack::{Entry, Listpack};
use super::encoding::member_arena::{Handle, MemberArena};
use super::encoding::member_index::MemberIndex;
use super::encoding::ranked_tree::RankedTree;
use super::{Collection, DataType, Encoding, EncodingLimits, Value};
use crate::base::double;
use std::convert::Infallible;
use std::hash::{BuildHasher, Hasher};
use std::ops::{Bound, ControlFlow, Range};

#[derive(Clone, Debug)]
pub enum SortedSet {
    Packed(Listpack),
    Ranked(Box<Ranked>),
}

/// A set of any size.
#[derive(Clone, Debug)]
pub struct Ranked {
    arena: MemberArena,
    index: MemberIndex,
    tree: RankedTree,
    hasher: ahash::RandomState,
}

/// What became of a member.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Update {
    pub old: Option<f64>,
    pub new: Option<f64>,
}

/// Scores between two bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreRange {
    pub low: Bound<f64>,
    pub high: Bound<f64>,
}

/// One end of a range of names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LexBound {
    /// Before all names.
    Least,
    /// After all names.
    Greatest,
    Included(Box<[u8]>),
    Excluded(Box<[u8]>),
}

/// Names between two bounds; they stand together only where all scores are equal.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LexRange {
    pub low: LexBound,
    pub high: LexBound,
}

impl LexBound {
    /// Whether a name stands before what this allows as the lower end.
    fn is_above(&self, member: &[u8]) -> bool {
        match self {
            Self::Least => false,
            Self::Greatest => true,
            Self::Included(low) => member < &**low,
            Self::Excluded(low) => member <= &**low,
        }
    }

    /// Whether a name is not beyond this as the upper end.
    fn admits(&self, member: &[u8]) -> bool {
        match self {
            Self::Least => false,
            Self::Greatest => true,
            Self::Included(high) => member <= &**high,
            Self::Excluded(high) => member < &**high,
        }
    }
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
    /// [`MemberIndex::scan`]. A packed set is visited as a whole.
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

impl Ranked {
    fn new(seed: u64) -> Self {
        let hasher = ahash::RandomState::with_seeds(seed, seed.rotate_left(32), !seed, 0x7a73_6574);
        let (arena, index, tree) = (MemberArena::default(), MemberIndex::default(), RankedTree::default());
        Self { arena, index, tree, hasher }
    }

    fn from_pack(pack: &Listpack, seed: u64) -> Self {
        let mut ranked = Self::new(seed);
        let mut scratch = itoa::Buffer::new();
        for (member, score) in pairs(pack) {
            let member = member.as_bytes(&mut scratch);
            ranked.add(ranked.hash(member), member, score);
        }
        ranked
    }

    #[inline]
    fn hash(&self, member: &[u8]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(member);
        hasher.finish()
    }

    #[inline]
    fn find(&self, hash: u64, member: &[u8]) -> Option<Handle> {
        self.index.find(hash, |handle| self.arena.member(handle) == member)
    }

    /// Adds a member that is not there.
    fn add(&mut self, hash: u64, member: &[u8], score: f64) {
        let handle = self.arena.insert(score, member);
        let Self { arena, index, tree, hasher } = self;
        index.insert(hash, handle, |handle| {
            let mut hasher = hasher.build_hasher();
            hasher.write(arena.member(handle));
            hasher.finish()
        });
        tree.insert(arena, handle);
    }
}

/// Members and scores of a listpack.
fn pairs(pack: &Listpack) -> impl Iterator<Item = (Entry<'_>, f64)> {
    let mut entries = pack.iter();
    std::iter::from_fn(move || {
        let member = entries.next()?;
        let score = entries.next().expect("a score follows its member");
        Some((member, score_of(score)))
    })
}

#[inline]
fn score_at(pack: &Listpack, position: usize) -> f64 {
    score_of(pack.at(position))
}

#[inline]
fn score_of(entry: Entry<'_>) -> f64 {
    match entry {
        Entry::Int(score) => score as f64,
        Entry::Str(text) => double::parse_bound(text).unwrap_or(0.0),
    }
}

fn push(pack: &mut Listpack, member: &[u8], score: f64) {
    let at = pack.insert(pack.end(), Entry::of(member));
    put_score(pack, at, score);
}

fn put_score(pack: &mut Listpack, at: usize, score: f64) {
    let mut text = Vec::with_capacity(24);
    // Among integers there is no negative zero.
    double::write_score(score + 0.0, &mut text);
    pack.insert(at, Entry::of(&text));
}

/// Adds a member that is not there, at its place.
fn insert_packed(pack: &mut Listpack, member: &[u8], score: f64) {
    let mut scratch = itoa::Buffer::new();
    let mut position = pack.first();
    while let Some(at) = position {
        let score_position = pack.next(at).expect("a score follows its member");
        let other = score_at(pack, score_position);
        if other > score || other == score && pack.at(at).as_bytes(&mut scratch) > member {
            let at = pack.insert(at, Entry::of(member));
            return put_score(pack, at, score);
        }
        position = pack.next(score_position);
    }
    push(pack, member, score);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn limits(entries: usize) -> EncodingLimits {
        EncodingLimits { zset_max_listpack_entries: entries, ..EncodingLimits::default() }
    }

    fn model_members(model: &BTreeMap<Vec<u8>, i32>) -> Vec<(Vec<u8>, f64)> {
        let mut members: Vec<_> = model.iter().map(|(member, score)| (*score, member.clone())).collect();
        members.sort();
        members.into_iter().map(|(score, member)| (member, f64::from(score))).collect()
    }

    proptest! {
        /// Against a map that is sorted anew for each question; the threshold is crossed on the way.
        #[test]
        fn agrees_with_a_map(
            steps in proptest::collection::vec((0..5_u8, 0..60_u32, -3..3_i32), 0..200),
            entries in 0..40_usize,
            low in -4..4_i32, high in -4..4_i32, exclude: (bool, bool), from in 0..60_u32, to in 0..60_u32,
        ) {
            let limits = limits(entries);
            let mut set = SortedSet::default();
            let mut model = BTreeMap::new();
            for (what, number, score) in steps {
                // Integers, texts and long members.
                let member = match number % 3 {
                    0 => number.to_string().into_bytes(),
                    1 => format!("m{number}").into_bytes(),
                    _ => format!("{number:070}").into_bytes(),
                };
                match what {
                    0 => prop_assert_eq!(set.remove(&member), model.remove(&member).map(f64::from)),
                    1 if !model.is_empty() => {
                        let start = number as usize % model.len();
                        let end = (start + 3).min(model.len());
                        for (member, _) in &model_members(&model)[start..end] {
                            model.remove(member);
                        }
                        set.remove_ranks(start..end);
                    }
                    _ => {
                        let is_new = set.put(&member, f64::from(score), &limits);
                        prop_assert_eq!(is_new, model.insert(member, score).is_none());
                    }
                }
                prop_assert_eq!(set.len(), model.len());
            }
            let members = model_members(&model);
            prop_assert_eq!(set.to_vec(), members.clone());
            for (rank, (member, score)) in members.iter().enumerate() {
                prop_assert_eq!(set.rank(member), Some((rank, *score)));
                prop_assert_eq!(set.score(member), Some(*score));
            }
            prop_assert_eq!(set.score(b"none"), None);

            let bound = |value: i32, excluded| {
                if excluded { Bound::Excluded(f64::from(value)) } else { Bound::Included(f64::from(value)) }
            };
            let range = ScoreRange { low: bound(low, exclude.0), high: bound(high, exclude.1) };
            let wanted: Vec<usize> = members.iter().enumerate().filter(|(_, (_, score))| {
                let score = *score as i32;
                (score > low || score == low && !exclude.0) && (score < high || score == high && !exclude.1)
            }).map(|(rank, _)| rank).collect();
            prop_assert_eq!(set.ranks_of_scores(&range).collect::<Vec<_>>(), wanted);

            let mut backwards = Vec::new();
            let start = members.len() / 3;
            set.visit(start..members.len(), true, |member, score| {
                backwards.push((member.to_vec(), score));
                ControlFlow::Continue(())
            });
            backwards.reverse();
            prop_assert_eq!(&backwards, &members[start..]);

            // Names, with one score for all.
            let equal: Vec<_> = members.iter().map(|(member, _)| (member.clone(), 0.0)).collect();
            let set = SortedSet::from_members(equal, &limits);
            let (low, high) = (format!("m{from}").into_bytes(), format!("m{to}").into_bytes());
            let names: Vec<_> = set.to_vec().into_iter().map(|(member, _)| member).collect();
            let wanted: Vec<usize> = (0..names.len())
                .filter(|&rank| names[rank] > low && names[rank] <= high)
                .collect();
            let range = LexRange { low: LexBound::Excluded(low.into()), high: LexBound::Included(high.into()) };
            prop_assert_eq!(set.ranks_of_names(&range).collect::<Vec<_>>(), wanted);
        }

        #[test]
        fn scans_see_all(count in 1..300_usize, step in 1..20_usize) {
            let mut set = SortedSet::default();
            for number in 0..count {
                set.put(number.to_string().as_bytes(), 1.0, &limits(5));
            }
            let (mut seen, mut cursor) = (Vec::new(), 0);
            loop {
                cursor = set.scan(cursor, step, |member, _| seen.push(member.to_vec()));
                if cursor == 0 {
                    break;
                }
            }
            seen.sort();
            seen.dedup();
            prop_assert_eq!(seen.len(), count);
        }
    }

    #[test]
    fn thresholds() {
        let mut set = SortedSet::default();
        for number in 0..128_u32 {
            set.put(&number.to_be_bytes(), 1.5, &limits(128));
        }
        assert_eq!(set.encoding(), Encoding::Listpack);
        set.put(b"one more", f64::NEG_INFINITY, &limits(128));
        assert_eq!((set.encoding(), set.len()), (Encoding::Skiplist, 129));
        assert_eq!(set.rank(b"one more"), Some((0, f64::NEG_INFINITY)));
        let mut set = SortedSet::default();
        set.put(&[b'x'; 65], 1.0, &limits(128));
        assert_eq!(set.encoding(), Encoding::Skiplist);
        let mut set = SortedSet::default();
        set.put(b"x", -0.0, &limits(128));
        assert!(set.score(b"x").is_some_and(|score| score.is_sign_positive()));
        set.put(b"x", -0.0, &limits(0));
        set.put(b"y", -0.0, &limits(0));
        assert!(set.score(b"y").is_some_and(|score| score.is_sign_negative()));
    }

    #[test]
    fn a_large_set_is_freed_in_slices() {
        let mut set = SortedSet::default();
        for number in 0..20_000_u32 {
            set.put(&number.to_be_bytes(), f64::from(number % 100), &limits(128));
        }
        assert_eq!(set.clone(), set);
        assert!(set.free_effort() > 300);
        let mut slices = 0;
        while set.free_slice(50) > 0 {
            slices += 1;
        }
        assert!(slices > 10);
    }
}
