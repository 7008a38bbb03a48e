//! Hashes: a listpack of fields and values while small, else a table.
//!
//! A hash one of whose fields has a deadline is a table at any size.
//!
//! Invariants
//!   H1  A listpack holds field, value, field, value; no field twice.
//!   H2  `deadlines` names only fields of the table, and is `None` rather than empty.

use super::encoding::{Entry, Listpack, PackedPairs, listpack};
use super::hash_ttl::FieldDeadlines;
use super::{Collection, DataType, Encoding, EncodingLimits, Value};
use crate::base::UnixMillis;

#[derive(Clone, Debug)]
pub enum Hash {
    Packed(Listpack),
    Table(Box<HashTable>),
}

#[derive(Clone, Debug)]
pub struct HashTable {
    pairs: PackedPairs,
    deadlines: Option<Box<FieldDeadlines>>,
}

/// A hash wherever it lies: what commands read.
#[derive(Clone, Copy, Debug)]
pub enum HashRef<'a> {
    /// The bytes of a listpack.
    Packed(&'a [u8]),
    /// Fields that are due at this time are there no more.
    Table(&'a HashTable, UnixMillis),
}

impl Hash {
    /// An empty hash in the form that suits so many fields.
    pub fn for_len(len: usize, limits: &EncodingLimits) -> Self {
        let mut hash = Self::default();
        if len > limits.hash_max_listpack_entries {
            hash.table_mut(limits);
        }
        hash
    }

    /// The hash as it is at a moment.
    #[inline]
    pub fn at(&self, now: UnixMillis) -> HashRef<'_> {
        match self {
            Self::Packed(pack) => HashRef::Packed(pack.as_bytes()),
            Self::Table(table) => HashRef::Table(table, now),
        }
    }

    /// All fields, due or not.
    fn whole(&self) -> HashRef<'_> {
        self.at(UnixMillis(0))
    }

    /// How many fields there are; those past their deadline count until they are removed.
    pub fn len(&self) -> usize {
        self.whole().len()
    }

    pub fn is_empty(&self) -> bool {
        match self {
            Self::Packed(pack) => pack.is_empty(),
            Self::Table(table) => table.pairs.is_empty(),
        }
    }

    pub fn get(&self, field: &[u8], now: UnixMillis) -> Option<Entry<'_>> {
        self.at(now).get(field)
    }

    /// See [`Value::prefetch_member`].
    #[inline]
    pub fn prefetch_field(&self, field: &[u8]) -> Option<u64> {
        if let Self::Table(table) = self { Some(table.pairs.prefetch(field)) } else { None }
    }

    #[inline]
    pub fn prefetch_record(&self, hash: u64) {
        if let Self::Table(table) = self {
            table.pairs.prefetch_record(hash);
        }
    }

    /// Sets a field, which loses its deadline; returns whether it is new.
    pub fn set(&mut self, field: &[u8], value: &[u8], limits: &EncodingLimits) -> bool {
        let is_new = self.put(field, value, limits);
        if !is_new {
            self.persist(field);
        }
        is_new
    }

    /// Sets a field, which keeps its deadline; returns whether it is new.
    pub fn put(&mut self, field: &[u8], value: &[u8], limits: &EncodingLimits) -> bool {
        if let Self::Packed(pack) = self {
            let longest = limits.hash_max_listpack_value;
            if field.len() <= longest
                && value.len() <= longest
                && pack.has_room_for(field.len() + value.len())
            {
                if let Some(at) = pack.find(pack.first(), field, 1) {
                    let at = pack.next(at).expect("H1");
                    let value = Entry::of(value);
                    if pack.at(at) != value {
                        pack.replace(at, value);
                    }
                    return false;
                }
                if pack.len() / 2 < limits.hash_max_listpack_entries {
                    pack.push_back(field);
                    pack.push_back(value);
                    return true;
                }
            }
        }
        self.table_mut(limits).pairs.insert(field, value)
    }

    /// Removes a field; false if it is not there.
    pub fn remove(&mut self, field: &[u8]) -> bool {
        match self {
            Self::Packed(pack) => {
                let Some(at) = pack.find(pack.first(), field, 1) else { return false };
                pack.delete_from(at, 2);
                true
            }
            Self::Table(table) => {
                let removed = table.pairs.remove(field);
                if removed {
                    self.persist(field);
                }
                removed
            }
        }
    }

    /// The table, into which a listpack is converted.
    fn table_mut(&mut self, limits: &EncodingLimits) -> &mut HashTable {
        if let Self::Packed(pack) = self {
            let mut pairs = PackedPairs::new(limits.hash_seed);
            for_each_pair(pack.as_bytes(), |field, value| {
                let (mut scratch, mut value_scratch) = Default::default();
                pairs.insert(field.as_bytes(&mut scratch), value.as_bytes(&mut value_scratch));
            });
            *self = Self::Table(Box::new(HashTable { pairs, deadlines: None }));
        }
        let Self::Table(table) = self else { unreachable!("just converted") };
        table
    }

    // -- Deadlines of fields

    /// When the first of the fields is due, if one has a deadline.
    #[inline]
    pub fn earliest_deadline(&self) -> Option<UnixMillis> {
        match self {
            Self::Packed(_) => None,
            Self::Table(table) => table.deadlines.as_ref()?.earliest(),
        }
    }

    pub fn deadline(&self, field: &[u8]) -> Option<UnixMillis> {
        match self {
            Self::Packed(_) => None,
            Self::Table(table) => table.deadlines.as_ref()?.get(field),
        }
    }

    /// Gives a field that is there a deadline.
    pub fn set_deadline(&mut self, field: &[u8], deadline: UnixMillis, limits: &EncodingLimits) {
        let table = self.table_mut(limits);
        debug_assert!(table.pairs.contains(field), "H2");
        let seed = table.pairs.seed();
        table.deadlines.get_or_insert_with(|| Box::new(FieldDeadlines::new(seed))).set(field, deadline);
    }

    /// Takes a field's deadline away; true if it had one.
    pub fn persist(&mut self, field: &[u8]) -> bool {
        let Self::Table(table) = self else { return false };
        let Some(deadlines) = &mut table.deadlines else { return false };
        let had = deadlines.remove(field);
        if deadlines.is_empty() {
            table.deadlines = None;
        }
        had
    }

    /// Removes up to `count` fields that are due, and names each; returns how many.
    pub fn remove_due(&mut self, now: UnixMillis, count: usize, mut visit: impl FnMut(Box<[u8]>)) -> usize {
        let Self::Table(table) = self else { return 0 };
        let HashTable { pairs, deadlines } = &mut **table;
        let mut removed = 0;
        if let Some(deadlines) = deadlines {
            while removed < count
                && let Some(field) = deadlines.pop_due(now)
            {
                let was_there = pairs.remove(&field);
                debug_assert!(was_there, "H2");
                visit(field);
                removed += 1;
            }
        }
        if deadlines.as_ref().is_some_and(|deadlines| deadlines.is_empty()) {
            *deadlines = None;
        }
        removed
    }

    pub fn deadlines(&self) -> Option<&FieldDeadlines> {
        match self {
            Self::Packed(_) => None,
            Self::Table(table) => table.deadlines.as_deref(),
        }
    }

    // -- What a value must be able to do

    pub fn encoding(&self) -> Encoding {
        match self {
            Self::Packed(_) => Encoding::Listpack,
            Self::Table(_) => Encoding::Hashtable,
        }
    }

    pub fn heap_bytes(&self, samples: usize) -> usize {
        match self {
            Self::Packed(pack) => pack.heap_bytes(),
            Self::Table(table) => {
                let deadlines = table.deadlines.as_ref().map_or(0, |deadlines| deadlines.heap_bytes(samples));
                size_of::<HashTable>() + table.pairs.heap_bytes(samples) + deadlines
            }
        }
    }

    pub fn free_effort(&self) -> usize {
        match self {
            Self::Packed(_) => 1,
            Self::Table(table) => {
                table.pairs.free_effort()
                    + table.deadlines.as_ref().map_or(0, |deadlines| deadlines.free_effort())
            }
        }
    }

    pub fn free_slice(&mut self, budget: usize) -> usize {
        match self {
            Self::Packed(_) => 0,
            Self::Table(table) => match &mut table.deadlines {
                Some(deadlines) => match deadlines.free_slice(budget) {
                    0 => table.pairs.free_slice(budget),
                    freed => freed,
                },
                None => table.pairs.free_slice(budget),
            },
        }
    }
}

impl Default for Hash {
    fn default() -> Self {
        Self::Packed(Listpack::new())
    }
}

impl DataType for Hash {
    fn of(value: &Value) -> Option<&Self> {
        if let Value::Hash(hash) = value { Some(hash) } else { None }
    }

    fn of_mut(value: &mut Value) -> Option<&mut Self> {
        if let Value::Hash(hash) = value { Some(hash) } else { None }
    }

    fn into_value(self) -> Value {
        Value::Hash(self)
    }
}

impl Collection for Hash {
    #[inline]
    fn is_empty(&self) -> bool {
        self.is_empty()
    }
}

/// Equal fields with equal values and deadlines, in whatever encoding.
impl PartialEq for Hash {
    fn eq(&self, other: &Self) -> bool {
        let mut equal = self.len() == other.len();
        self.whole().for_each(|field, value| {
            let mut scratch = itoa::Buffer::new();
            let field = field.as_bytes(&mut scratch);
            equal = equal
                && other.whole().get(field).is_some_and(|theirs| theirs.to_vec() == value.to_vec())
                && self.deadline(field) == other.deadline(field);
        });
        equal
    }
}

impl<'a> HashRef<'a> {
    /// How many fields there are; those past their deadline count until they are removed.
    #[inline]
    pub fn len(self) -> usize {
        match self {
            Self::Packed(bytes) => listpack::len_of(bytes) / 2,
            Self::Table(table, _) => table.pairs.len(),
        }
    }

    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// How many fields [`HashRef::for_each`] visits.
    #[inline]
    pub fn visible_len(self) -> usize {
        match self {
            Self::Table(HashTable { deadlines: Some(deadlines), pairs }, now) => {
                pairs.len() - deadlines.due_len(now)
            }
            _ => self.len(),
        }
    }

    #[inline]
    pub fn get(self, field: &[u8]) -> Option<Entry<'a>> {
        match self {
            Self::Packed(bytes) => {
                let needle = Entry::of(field);
                let mut entries = listpack::Iter::over(bytes);
                while let (Some(field), Some(value)) = (entries.next(), entries.next()) {
                    if field == needle {
                        return Some(value);
                    }
                }
                None
            }
            Self::Table(table, now) => {
                let value = table.pairs.get(field)?;
                table.is_visible(field, now).then_some(Entry::Str(value))
            }
        }
    }

    pub fn contains(self, field: &[u8]) -> bool {
        self.get(field).is_some()
    }

    /// Calls `visit` with every field and its value.
    #[inline]
    pub fn for_each(self, mut visit: impl FnMut(Entry<'a>, Entry<'a>)) {
        match self {
            Self::Packed(bytes) => for_each_pair(bytes, visit),
            Self::Table(table, now) => {
                for (field, value) in table.pairs.iter() {
                    if table.is_visible(field, now) {
                        visit(Entry::Str(field), Entry::Str(value));
                    }
                }
            }
        }
    }

    /// Calls `visit` with about `count` fields from `cursor` on; returns the next cursor, 0 at the end. A listpack is
    /// visited whole.
    pub fn scan(self, cursor: u64, count: usize, mut visit: impl FnMut(Entry<'_>, Entry<'_>)) -> u64 {
        match self {
            Self::Packed(_) => {
                self.for_each(visit);
                0
            }
            Self::Table(table, now) => table.pairs.scan(cursor, count, |field, value| {
                if table.is_visible(field, now) {
                    visit(Entry::Str(field), Entry::Str(value));
                }
            }),
        }
    }

    /// A field with its value, each as likely as any other; `next` yields random numbers.
    pub fn random(self, mut next: impl FnMut() -> u64) -> Option<(Entry<'a>, Entry<'a>)> {
        match self {
            Self::Packed(bytes) => {
                let len = listpack::len_of(bytes) / 2;
                if len == 0 {
                    return None;
                }
                let mut entries = listpack::Iter::over(bytes).skip(2 * below(next(), len));
                entries.next().zip(entries.next())
            }
            Self::Table(table, now) => {
                // Those that are due are few: whoever looks has just removed some.
                for _ in 0..100 {
                    let (field, value) = table.pairs.random(&mut next)?;
                    if table.is_visible(field, now) {
                        return Some((Entry::Str(field), Entry::Str(value)));
                    }
                }
                let mut pairs = table.pairs.iter();
                let (field, value) = pairs.find(|(field, _)| table.is_visible(field, now))?;
                Some((Entry::Str(field), Entry::Str(value)))
            }
        }
    }

    pub fn deadline(self, field: &[u8]) -> Option<UnixMillis> {
        match self {
            Self::Packed(_) => None,
            Self::Table(table, _) => table.deadlines.as_ref()?.get(field),
        }
    }
}

impl HashTable {
    #[inline]
    fn is_visible(&self, field: &[u8], now: UnixMillis) -> bool {
        match &self.deadlines {
            None => true,
            Some(deadlines) => !deadlines.is_due(field, now),
        }
    }
}

#[inline]
fn for_each_pair<'a>(bytes: &'a [u8], mut visit: impl FnMut(Entry<'a>, Entry<'a>)) {
    let mut entries = listpack::Iter::over(bytes);
    while let (Some(field), Some(value)) = (entries.next(), entries.next()) {
        visit(field, value);
    }
}

/// A random number below `bound`, from one of 64 bits; the bias does not show.
#[inline]
pub(super) fn below(random: u64, bound: usize) -> usize {
    ((u128::from(random) * bound as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    const NOW: UnixMillis = UnixMillis(1000);

    fn limits(entries: usize, value: usize) -> EncodingLimits {
        EncodingLimits {
            hash_max_listpack_entries: entries,
            hash_max_listpack_value: value,
            ..EncodingLimits::default()
        }
    }

    fn contents(hash: &Hash) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut contents = BTreeMap::new();
        hash.at(NOW).for_each(|field, value| {
            assert!(contents.insert(field.to_vec(), value.to_vec()).is_none(), "H1");
        });
        contents
    }

    #[test]
    fn converts_at_the_thresholds_and_never_back() {
        let limits = limits(2, 4);
        let mut hash = Hash::default();
        assert!(hash.set(b"a", b"1", &limits) && hash.set(b"b", b"2", &limits));
        assert!(!hash.set(b"a", b"1234", &limits));
        assert_eq!(hash.encoding(), Encoding::Listpack);
        let mut long = hash.clone();
        assert!(!long.set(b"a", b"12345", &limits));
        assert_eq!((long.encoding(), long.len()), (Encoding::Hashtable, 2));
        assert!(hash.set(b"c", b"3", &limits));
        assert_eq!(hash.encoding(), Encoding::Hashtable);
        assert!(hash.remove(b"c") && hash.remove(b"b") && !hash.remove(b"b"));
        assert_eq!(hash.encoding(), Encoding::Hashtable);
        assert_eq!(hash.get(b"a", NOW), Some(Entry::Str(b"1234")));
        let mut packed = Hash::default();
        packed.set(b"a", b"1234", &limits);
        assert_eq!(hash, packed, "whatever the encoding");
    }

    #[test]
    fn fields_that_are_due_are_not_there() {
        let limits = EncodingLimits::default();
        let mut hash = Hash::default();
        for field in [b"a", b"b", b"c"] {
            assert!(hash.set(field, b"v", &limits));
        }
        hash.set_deadline(b"a", UnixMillis(999), &limits);
        hash.set_deadline(b"b", UnixMillis(1000), &limits);
        assert_eq!(hash.earliest_deadline(), Some(UnixMillis(999)));
        assert_eq!(hash.at(NOW).get(b"a"), None);
        assert_eq!(contents(&hash).len(), 2);
        let mut visited = 0;
        assert_eq!(hash.at(NOW).scan(0, 10, |_, _| visited += 1), 0);
        assert_eq!(visited, 2);
        assert_eq!(hash.len(), 3, "until it is removed");
        assert_eq!(hash.remove_due(NOW, 10, drop), 1);
        assert!(!hash.set(b"b", b"w", &limits));
        assert_eq!((hash.deadline(b"b"), hash.earliest_deadline()), (None, None));
        hash.set_deadline(b"b", UnixMillis(500), &limits);
        hash.set_deadline(b"c", UnixMillis(500), &limits);
        assert!(hash.at(NOW).random(|| 7).is_none());
        assert_eq!(hash.remove_due(NOW, 10, drop), 2);
        assert!(hash.is_empty());
    }

    proptest! {
        #[test]
        fn agrees_with_the_model(
            steps in proptest::collection::vec((0_u8..4, 0_u8..12, "[0-9a-z]{0,6}", 990_u64..1010), 0..80),
            entries in 0_usize..12,
        ) {
            let limits = limits(entries, 4);
            let mut hash = Hash::default();
            let mut model: BTreeMap<Vec<u8>, (Vec<u8>, Option<u64>)> = BTreeMap::new();
            for (step, field, value, time) in steps {
                let field = format!("{field}").into_bytes();
                let value = value.into_bytes();
                match step {
                    0 | 1 => {
                        let is_new = hash.set(&field, &value, &limits);
                        prop_assert_eq!(is_new, model.insert(field, (value, None)).is_none());
                    }
                    2 => prop_assert_eq!(hash.remove(&field), model.remove(&field).is_some()),
                    _ => if let Some((_, deadline)) = model.get_mut(&field) {
                        *deadline = Some(time);
                        hash.set_deadline(&field, UnixMillis(time), &limits);
                    }
                }
                prop_assert_eq!(hash.len(), model.len());
            }
            let visible: BTreeMap<_, _> = model
                .iter()
                .filter(|(_, (_, deadline))| deadline.is_none_or(|deadline| deadline >= NOW.0))
                .map(|(field, (value, _))| (field.clone(), value.clone()))
                .collect();
            prop_assert_eq!(contents(&hash), visible.clone());
            prop_assert_eq!(&hash.clone(), &hash);
            for (field, value) in &visible {
                prop_assert_eq!(hash.get(field, NOW).map(Entry::to_vec), Some(value.clone()));
            }
            hash.remove_due(NOW, usize::MAX, drop);
            prop_assert_eq!(hash.len(), visible.len());
            let mut random = 0_u64;
            let mut seen = BTreeSet::new();
            for _ in 0..300 {
                random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
                if let Some((field, _)) = hash.at(NOW).random(|| random) {
                    seen.insert(field.to_vec());
                }
                if hash.is_empty() { break; }
            }
            prop_assert!(seen.iter().all(|field| visible.contains_key(field)));
        }
    }
}
