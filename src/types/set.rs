//! Sets: an intset while all members are integers and not too many, a listpack while small, else a table.
//!
//! Redis 7.0 has no listpack of members: it calls everything but an intset a hashtable, and so does OBJECT ENCODING.
//!
//! Invariants
//!   S1  No member twice; those of a listpack that spell an integer are kept as one.

use super::encoding::intset::IntsetRef;
use super::encoding::{Entry, Intset, Listpack, PackedSet, listpack};
use super::hash::below;
use super::{Collection, DataType, Encoding, EncodingLimits, Value};
use crate::base::number::parse_i64;

#[derive(Clone, Debug)]
pub enum Set {
    Ints(Intset),
    Packed(Listpack),
    Table(Box<PackedSet>),
}

/// A set wherever it lies: what commands read.
#[derive(Clone, Copy, Debug)]
pub enum SetRef<'a> {
    Ints(IntsetRef<'a>),
    /// The bytes of a listpack.
    Packed(&'a [u8]),
    Table(&'a PackedSet),
}

impl Set {
    /// An empty set in the form that suits so many members, whatever they are.
    pub fn for_len(len: usize, limits: &EncodingLimits) -> Self {
        let mut set = Self::default();
        if len > limits.set_max_intset_entries.max(limits.set_max_listpack_entries) {
            set.convert_to_table(limits);
        }
        set
    }

    #[inline]
    pub fn as_ref(&self) -> SetRef<'_> {
        match self {
            Self::Ints(set) => SetRef::Ints(set.as_ref()),
            Self::Packed(pack) => SetRef::Packed(pack.as_bytes()),
            Self::Table(set) => SetRef::Table(set),
        }
    }

    pub fn len(&self) -> usize {
        self.as_ref().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a member; false if it is there.
    pub fn add(&mut self, member: &[u8], limits: &EncodingLimits) -> bool {
        match self {
            Self::Table(set) => return set.insert(member, b""),
            Self::Ints(set) => {
                if let Some(value) = as_integer(member) {
                    let added = set.insert(value);
                    if added && set.len() > limits.set_max_intset_entries {
                        self.convert_to_table(limits);
                    }
                    return added;
                }
                let members = set.as_ref();
                let longest = members.longest_text();
                if members.len() < limits.set_max_listpack_entries && longest <= limits.set_max_listpack_value
                {
                    let mut pack = Listpack::new();
                    for value in members.iter() {
                        pack.insert(pack.end(), Entry::Int(value));
                    }
                    *self = Self::Packed(pack);
                } else {
                    self.convert_to_table(limits);
                }
            }
            Self::Packed(_) => {}
        }
        if let Self::Packed(pack) = self {
            if pack.find(pack.first(), member, 0).is_some() {
                return false;
            }
            let fits = member.len() <= limits.set_max_listpack_value;
            if fits && pack.len() < limits.set_max_listpack_entries && pack.has_room_for(member.len()) {
                pack.push_back(member);
                return true;
            }
            self.convert_to_table(limits);
        }
        let Self::Table(set) = self else { unreachable!("the other encodings have returned") };
        set.insert(member, b"")
    }

    /// See [`Value::prefetch_member`].
    #[inline]
    pub fn prefetch_member(&self, member: &[u8]) -> Option<u64> {
        if let Self::Table(set) = self { Some(set.prefetch(member)) } else { None }
    }

    #[inline]
    pub fn prefetch_record(&self, hash: u64) {
        if let Self::Table(set) = self {
            set.prefetch_record(hash);
        }
    }

    /// Removes a member; false if it is not there.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        match self {
            Self::Ints(set) => as_integer(member).is_some_and(|value| set.remove(value)),
            Self::Packed(pack) => match pack.find(pack.first(), member, 0) {
                Some(at) => {
                    pack.delete(at);
                    true
                }
                None => false,
            },
            Self::Table(set) => set.remove(member),
        }
    }

    fn convert_to_table(&mut self, limits: &EncodingLimits) {
        let mut table = PackedSet::new(limits.hash_seed);
        self.as_ref().for_each(|member| {
            table.insert(member.as_bytes(&mut itoa::Buffer::new()), b"");
        });
        *self = Self::Table(Box::new(table));
    }

    pub fn encoding(&self) -> Encoding {
        match self {
            Self::Ints(_) => Encoding::Intset,
            Self::Packed(_) | Self::Table(_) => Encoding::Hashtable,
        }
    }

    pub fn heap_bytes(&self, samples: usize) -> usize {
        match self {
            Self::Ints(set) => set.heap_bytes(),
            Self::Packed(pack) => pack.heap_bytes(),
            Self::Table(set) => size_of::<PackedSet>() + set.heap_bytes(samples),
        }
    }

    pub fn free_effort(&self) -> usize {
        if let Self::Table(set) = self { set.free_effort() } else { 1 }
    }

    pub fn free_slice(&mut self, budget: usize) -> usize {
        if let Self::Table(set) = self { set.free_slice(budget) } else { 0 }
    }
}

impl Default for Set {
    fn default() -> Self {
        Self::Ints(Intset::new())
    }
}

impl DataType for Set {
    fn of(value: &Value) -> Option<&Self> {
        if let Value::Set(set) = value { Some(set) } else { None }
    }

    fn of_mut(value: &mut Value) -> Option<&mut Self> {
        if let Value::Set(set) = value { Some(set) } else { None }
    }

    fn into_value(self) -> Value {
        Value::Set(self)
    }
}

impl Collection for Set {
    #[inline]
    fn is_empty(&self) -> bool {
        self.is_empty()
    }
}

/// Equal members, in whatever encoding.
impl PartialEq for Set {
    fn eq(&self, other: &Self) -> bool {
        let mut equal = self.len() == other.len();
        self.as_ref().for_each(|member| {
            equal = equal && other.as_ref().contains(member.as_bytes(&mut itoa::Buffer::new()));
        });
        equal
    }
}

impl<'a> SetRef<'a> {
    #[inline]
    pub fn len(self) -> usize {
        match self {
            Self::Ints(set) => set.len(),
            Self::Packed(bytes) => listpack::len_of(bytes),
            Self::Table(set) => set.len(),
        }
    }

    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    #[inline]
    pub fn contains(self, member: &[u8]) -> bool {
        match self {
            Self::Ints(set) => as_integer(member).is_some_and(|value| set.contains(value)),
            Self::Packed(bytes) => {
                let needle = Entry::of(member);
                listpack::Iter::over(bytes).any(|member| member == needle)
            }
            Self::Table(set) => set.contains(member),
        }
    }

    /// [`SetRef::contains`] for a member of another set.
    #[inline]
    pub fn contains_entry(self, member: Entry<'_>) -> bool {
        match (self, member) {
            (Self::Ints(set), Entry::Int(value)) => set.contains(value),
            (Self::Packed(bytes), Entry::Int(_)) => listpack::Iter::over(bytes).any(|other| other == member),
            _ => self.contains(member.as_bytes(&mut itoa::Buffer::new())),
        }
    }

    #[inline]
    pub fn for_each(self, mut visit: impl FnMut(Entry<'a>)) {
        self.all(|member| {
            visit(member);
            true
        });
    }

    /// Calls `go_on` with the members until it returns false; whether it never did.
    #[inline]
    pub fn all(self, mut go_on: impl FnMut(Entry<'a>) -> bool) -> bool {
        match self {
            Self::Ints(set) => set.iter().all(|value| go_on(Entry::Int(value))),
            Self::Packed(bytes) => listpack::Iter::over(bytes).all(go_on),
            Self::Table(set) => set.iter().all(|(member, _)| go_on(Entry::Str(member))),
        }
    }

    /// Calls `visit` with about `count` members from `cursor` on; returns the next cursor, 0 at the end. Only a table
    /// is visited in pieces.
    pub fn scan(self, cursor: u64, count: usize, mut visit: impl FnMut(Entry<'_>)) -> u64 {
        match self {
            Self::Table(set) => set.scan(cursor, count, |member, _| visit(Entry::Str(member))),
            _ => {
                self.for_each(visit);
                0
            }
        }
    }

    /// A member, each as likely as any other; `next` yields random numbers.
    pub fn random(self, mut next: impl FnMut() -> u64) -> Option<Entry<'a>> {
        match self {
            Self::Table(set) => set.random(next).map(|(member, _)| Entry::Str(member)),
            _ if self.is_empty() => None,
            Self::Ints(set) => Some(Entry::Int(set.get(below(next(), set.len())))),
            Self::Packed(bytes) => listpack::Iter::over(bytes).nth(below(next(), listpack::len_of(bytes))),
        }
    }

    /// The members, owned, each followed by nothing: how sets travel between cores.
    pub fn to_set(self) -> Set {
        match self {
            Self::Ints(set) => Set::Ints(Intset::from_own_bytes(set.as_bytes())),
            Self::Packed(bytes) => Set::Packed(Listpack::from_own_bytes(bytes)),
            Self::Table(set) => Set::Table(Box::new(set.clone())),
        }
    }
}

/// Calls `go_on` with the members that all of the sets have, until it returns false. The sets are sorted by size.
pub fn intersection<'a>(sets: &mut [SetRef<'a>], mut go_on: impl FnMut(Entry<'a>) -> bool) {
    sets.sort_by_key(|set| set.len());
    let Some((smallest, others)) = sets.split_first() else { return };
    // Tables of one seed hash a member alike: it is hashed once for all of them.
    if let SetRef::Table(first) = smallest
        && others.iter().all(|other| matches!(other, SetRef::Table(other) if other.seed() == first.seed()))
    {
        for (member, _) in first.iter() {
            let hash = first.hash(member);
            let in_all = others.iter().all(|other| match other {
                SetRef::Table(other) => other.get_hashed(hash, member).is_some(),
                _ => unreachable!("just checked"),
            });
            if in_all && !go_on(Entry::Str(member)) {
                return;
            }
        }
        return;
    }
    smallest.all(|member| !others.iter().all(|other| other.contains_entry(member)) || go_on(member));
}

/// Calls `visit` with the members of the first set that no other one has.
pub fn difference<'a>(sets: &[SetRef<'a>], mut visit: impl FnMut(Entry<'a>)) {
    let Some((first, others)) = sets.split_first() else { return };
    first.for_each(|member| {
        if !others.iter().any(|other| other.contains_entry(member)) {
            visit(member);
        }
    });
}

/// The members that any of the sets has.
pub fn union(sets: &[SetRef<'_>], limits: &EncodingLimits) -> Set {
    let mut union = Set::default();
    for set in sets {
        set.for_each(|member| {
            union.add(member.as_bytes(&mut itoa::Buffer::new()), limits);
        });
    }
    union
}

#[inline]
fn as_integer(member: &[u8]) -> Option<i64> {
    match member {
        [b'0'..=b'9' | b'-', ..] => parse_i64(member),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn limits(ints: usize, entries: usize, value: usize) -> EncodingLimits {
        EncodingLimits {
            set_max_intset_entries: ints,
            set_max_listpack_entries: entries,
            set_max_listpack_value: value,
            ..EncodingLimits::default()
        }
    }

    fn contents(set: SetRef<'_>) -> BTreeSet<Vec<u8>> {
        let mut contents = BTreeSet::new();
        set.for_each(|member| assert!(contents.insert(member.to_vec()), "S1"));
        contents
    }

    #[test]
    fn integers_stay_an_intset_up_to_the_threshold() {
        let limits = limits(3, 8, 8);
        let mut set = Set::default();
        for member in ["1", "2", "3"] {
            assert!(set.add(member.as_bytes(), &limits));
        }
        assert_eq!(set.encoding(), Encoding::Intset);
        assert!(!set.add(b"3", &limits));
        let mut mixed = set.clone();
        assert!(set.add(b"4", &limits) && mixed.add(b"x", &limits));
        assert_eq!((set.encoding(), mixed.encoding()), (Encoding::Hashtable, Encoding::Hashtable));
        assert!(matches!((&set, &mixed), (Set::Table(_), Set::Packed(_))));
        assert!(mixed.remove(b"x") && mixed.add(b"4", &limits));
        assert_eq!(set, mixed);
    }

    #[test]
    fn texts_that_only_look_like_integers_are_members_of_their_own() {
        let mut set = Set::default();
        for member in ["1", "01", "+1", "1 ", "-0", "0"] {
            assert!(set.add(member.as_bytes(), &EncodingLimits::default()));
        }
        assert_eq!(set.len(), 6);
    }

    proptest! {
        #[test]
        fn agrees_with_the_model(
            steps in proptest::collection::vec((any::<bool>(), "-?[0-9]{1,2}|[a-c]{0,3}"), 0..100),
            ints in 0_usize..12, entries in 0_usize..12, value in 0_usize..4,
        ) {
            let limits = limits(ints, entries, value);
            let (mut set, mut model) = (Set::default(), BTreeSet::new());
            for (add, member) in steps {
                let member = member.into_bytes();
                if add {
                    prop_assert_eq!(set.add(&member, &limits), model.insert(member.clone()));
                } else {
                    prop_assert_eq!(set.remove(&member), model.remove(&member));
                }
                prop_assert_eq!(set.as_ref().contains(&member), add);
            }
            prop_assert_eq!(contents(set.as_ref()), model.clone());
            prop_assert_eq!(&set.as_ref().to_set(), &set);
            let mut scanned = BTreeSet::new();
            let mut cursor = 0;
            loop {
                cursor = set.as_ref().scan(cursor, 3, |member| { scanned.insert(member.to_vec()); });
                if cursor == 0 { break; }
            }
            prop_assert_eq!(&scanned, &model);
            let mut state = 1_u64;
            let random = set.as_ref().random(|| {
                state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                state
            });
            prop_assert_eq!(random.is_some(), !model.is_empty());
            prop_assert!(random.is_none_or(|member| model.contains(&member.to_vec())));
        }
    }
}
