//! The keys of one database on one core: a hash table of compact entries, the index of those that have
//! a deadline, and the memory both live in.
//!
//! ```text
//! Keyspace -- table ----> segments of 64-byte buckets --> Entry: key, deadline, access data, small value
//!          `- expires --> the same, only entries with a deadline   `--> types::Value, if not small
//! ```
//! Nothing here reads a clock: lookups find a key whether or not its deadline has passed, and the caller,
//! who knows the time and whether it is a replica, asks [`Entry::is_expired`].
//!
//! Invariants
//!   K1  Every entry is in `table` exactly once, under the hash of its key; no two have the same key.
//!   K2  `expires` holds exactly the entries whose deadline is not `None`.
//!   K3  Every entry and every boxed value is owned by the keyspace, or by its queue of what is to be freed.

mod entry;
mod entry_mut;
mod expire;
mod foresight;
mod group;
mod lazy_free;
mod memory;
mod region_stock;
mod regions;
mod resize;
mod scan;
mod segment_pool;
mod slab;
mod table;

#[cfg(test)]
mod tests;

pub use entry::{Entry, INLINE_MAX, ValueRef};
pub use entry_mut::EntryMut;
pub use expire::ExpireStep;
pub use lazy_free::EFFORT_AT_ONCE_MAX;
pub use memory::TableShape;
pub use region_stock::{RegionStock, bytes_ready as region_bytes_ready, late as regions_late};
pub use regions::bytes_in_use as region_bytes_in_use;
pub use scan::CURSOR_BITS;
pub use slab::Slab;

use crate::base::UnixMillis;
use crate::types::Value;
use entry::{Payload, RawEntry, payload_of, payload_of_text};
use group::Item;
use lazy_free::LazyFree;
use std::hash::{BuildHasher, Hasher};
use std::rc::Rc;
use table::{Place, Table};

/// One database of one core.
pub struct Keyspace {
    table: Table,
    expires: Table,
    hasher: KeyHasher,
    slab: Rc<Slab>,
    lazy: LazyFree,
    /// The access data of new entries, and of overwritten ones unless `keep_access`.
    fresh_access: u32,
    keep_access: bool,
    /// Where active expiry goes on: a hash.
    expire_position: u64,
    expire_scratch: Vec<Item>,
}

/// What becomes of a key's deadline when its value is replaced.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ttl {
    Clear,
    Keep,
    At(UnixMillis),
}

/// A value apart from its key, owned, on its way to another key, database or core.
#[derive(Clone, Debug, PartialEq)]
pub struct Detached {
    pub value: Value,
    pub deadline: Option<UnixMillis>,
    pub access: u32,
}

/// Hashes keys with the seeds of the process.
struct KeyHasher {
    state: ahash::RandomState,
    #[cfg(test)]
    crafted: Option<fn(&[u8]) -> u64>,
}

impl KeyHasher {
    #[inline]
    fn hash(&self, key: &[u8]) -> u64 {
        #[cfg(test)]
        if let Some(crafted) = self.crafted {
            return crafted(key);
        }
        let mut hasher = self.state.build_hasher();
        hasher.write(key);
        hasher.finish()
    }
}

impl Keyspace {
    /// `seeds` must not be known to clients (hash flooding). All databases of a core share its `slab`.
    pub fn new(slab: Rc<Slab>, seeds: [u64; 4]) -> Self {
        Self {
            table: Table::new(Rc::clone(&slab)),
            expires: Table::new(Rc::clone(&slab)),
            hasher: KeyHasher {
                state: ahash::RandomState::with_seeds(seeds[0], seeds[1], seeds[2], seeds[3]),
                #[cfg(test)]
                crafted: None,
            },
            slab,
            lazy: LazyFree::default(),
            fresh_access: 0,
            keep_access: false,
            expire_position: 0,
            expire_scratch: Vec::new(),
        }
    }

    /// Announces that an empty keyspace will get about so many keys, and how many of them with a deadline: what they
    /// are then inserted into has its final size already. Without effect on one that is not empty.
    pub fn reserve(&mut self, keys: usize, with_deadline: usize) {
        self.table.reserve(keys);
        self.expires.reserve(with_deadline);
    }

    pub fn len(&self) -> usize {
        self.table.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many keys have a deadline.
    pub fn expires_len(&self) -> usize {
        self.expires.len()
    }

    /// The access data that keys set from now on begin with (LRU: the clock; LFU: the initial counter). With
    /// `keep_on_overwrite` a key that is overwritten keeps its own, as under LFU policies.
    pub fn set_fresh_access(&mut self, access: u32, keep_on_overwrite: bool) {
        self.fresh_access = access;
        self.keep_access = keep_on_overwrite;
    }

    #[inline]
    pub fn hash(&self, key: &[u8]) -> u64 {
        self.hasher.hash(key)
    }

    /// First stage of looking up many keys: asks the memory for the key's bucket.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        self.table.prefetch_bucket(hash);
    }

    /// Second stage, a few keys later: asks for the entry that the bucket points to.
    #[inline]
    pub fn prefetch_entry(&self, hash: u64) {
        self.table.prefetch_item(hash);
    }

    #[inline]
    pub fn find(&self, key: &[u8]) -> Option<Entry<'_>> {
        self.find_hashed(self.hash(key), key)
    }

    /// [`Keyspace::find`] where the hash is known already.
    #[inline]
    pub fn find_hashed(&self, hash: u64, key: &[u8]) -> Option<Entry<'_>> {
        self.place(hash, key).map(|place| Entry::new(RawEntry(place.item())))
    }

    #[inline]
    pub fn contains(&self, key: &[u8]) -> bool {
        self.find(key).is_some()
    }

    #[inline]
    pub fn find_mut(&mut self, key: &[u8]) -> Option<EntryMut<'_>> {
        self.find_mut_hashed(self.hash(key), key)
    }

    #[inline]
    pub fn find_mut_hashed(&mut self, hash: u64, key: &[u8]) -> Option<EntryMut<'_>> {
        let place = self.place(hash, key)?;
        Some(EntryMut::new(self, place, hash))
    }

    /// The entry of a key, unless its deadline has passed: then it is removed and the second value is true, or,
    /// if it is to be `kept`, just not shown.
    #[inline]
    pub fn live(&mut self, key: &[u8], now: UnixMillis, kept: bool) -> (Option<Entry<'_>>, bool) {
        let hash = self.hash(key);
        let Some(place) = self.place(hash, key) else { return (None, false) };
        let entry = Entry::new(RawEntry(place.item()));
        if !entry.is_expired(now) {
            return (Some(entry), false);
        }
        if !kept {
            self.unlink(key);
        }
        (None, !kept)
    }

    /// [`Keyspace::live`] for a change.
    #[inline]
    pub fn live_mut(&mut self, key: &[u8], now: UnixMillis) -> (Option<EntryMut<'_>>, bool) {
        let hash = self.hash(key);
        match self.live_place(hash, key, now) {
            Ok(place) => (Some(EntryMut::new(self, place, hash)), false),
            Err(expired) => (None, expired),
        }
    }

    /// The place of a key that lives, or whether it has just been removed.
    #[inline]
    fn live_place(&mut self, hash: u64, key: &[u8], now: UnixMillis) -> Result<Place, bool> {
        let place = self.place(hash, key).ok_or(false)?;
        if Entry::new(RawEntry(place.item())).is_expired(now) {
            self.unlink(key);
            return Err(true);
        }
        Ok(place)
    }

    /// SET: stores the string in its most compact form; returns whether the key is new.
    #[inline]
    pub fn set_string(&mut self, key: &[u8], text: &[u8], ttl: Ttl) -> bool {
        self.set_string_hashed(self.hash(key), key, text, ttl)
    }

    #[inline]
    pub fn set_string_hashed(&mut self, hash: u64, key: &[u8], text: &[u8], ttl: Ttl) -> bool {
        self.set(hash, key, payload_of_text(text), ttl)
    }

    /// SETNX: stores the string unless the key lives at `now`, with a single look at the table. Returns whether a
    /// dead key made room, or the entry that stands in the way.
    #[inline]
    pub fn add_string(
        &mut self,
        key: &[u8],
        text: &[u8],
        ttl: Ttl,
        now: UnixMillis,
    ) -> Result<bool, Entry<'_>> {
        let hash = self.hash(key);
        match self.live_place(hash, key, now) {
            Ok(place) => Err(Entry::new(RawEntry(place.item()))),
            Err(expired) => {
                self.add(hash, key, payload_of_text(text), ttl);
                Ok(expired)
            }
        }
    }

    /// Stores an integer string; returns whether the key is new.
    pub fn set_int(&mut self, key: &[u8], value: i64, ttl: Ttl) -> bool {
        self.set(self.hash(key), key, Payload::Int(value), ttl)
    }

    /// Stores a value of any type; returns whether the key is new.
    pub fn insert(&mut self, key: &[u8], mut value: Value, ttl: Ttl) -> bool {
        self.set(self.hash(key), key, payload_of(&mut value), ttl)
    }

    /// Stores what [`Keyspace::take`] or [`Entry::to_detached`] returned, with its deadline and access data.
    pub fn insert_detached(&mut self, key: &[u8], mut detached: Detached) -> bool {
        let hash = self.hash(key);
        let ttl = detached.deadline.map_or(Ttl::Clear, Ttl::At);
        let is_new = self.set(hash, key, payload_of(&mut detached.value), ttl);
        if let Some(entry) = self.find_hashed(hash, key) {
            entry.set_access(detached.access);
        }
        is_new
    }

    /// Removes a key and frees its value at once, unless that would take long.
    pub fn remove(&mut self, key: &[u8]) -> bool {
        let raw = self.unhook(key);
        if let Some(raw) = raw {
            self.free_entry(raw, false);
        }
        raw.is_some()
    }

    /// UNLINK: removes a key; a value that takes long to free is freed by [`Keyspace::maintain`].
    pub fn unlink(&mut self, key: &[u8]) -> bool {
        let raw = self.unhook(key);
        if let Some(raw) = raw {
            self.free_entry(raw, true);
        }
        raw.is_some()
    }

    /// Removes a key with a single look at the table; tells whether it still lived at `now`.
    pub fn remove_at(&mut self, key: &[u8], now: UnixMillis, lazily: bool) -> Option<bool> {
        let raw = self.unhook(key)?;
        let lived = !Entry::new(raw).is_expired(now);
        self.free_entry(raw, lazily);
        Some(lived)
    }

    /// Removes a key and returns what it held.
    pub fn take(&mut self, key: &[u8]) -> Option<Detached> {
        let raw = self.unhook(key)?;
        Some(self.detach_entry(raw))
    }

    /// Takes the value out of an entry that is in no table any more.
    fn detach_entry(&mut self, raw: RawEntry) -> Detached {
        let entry = Entry::new(raw);
        let (deadline, access) = (entry.deadline(), entry.access());
        let small = match entry.value() {
            ValueRef::Boxed(_) => None,
            _ => Some(entry.to_value()),
        };
        let boxed = raw.free_but_boxed(&self.slab);
        let value = small.or(boxed.map(|value| *value)).expect("a value is small or boxed");
        Detached { value, deadline, access }
    }

    /// Frees an entry that is in no table any more.
    fn free_entry(&mut self, raw: RawEntry, lazily: bool) {
        if let Some(value) = raw.free_but_boxed(&self.slab) {
            self.lazy.release(value, lazily);
        }
    }

    /// Takes an entry out of both tables; the caller owns it then.
    fn unhook_entry(&mut self, hash: u64, raw: RawEntry) {
        let removed = self.table.remove(hash, |item| item == raw.0);
        assert!(removed.is_some(), "K1");
        self.index_deadline(hash, raw, raw.deadline().is_some(), raw, false);
    }

    /// Sets or replaces a key's deadline; false if there is no such key.
    pub fn set_deadline(&mut self, key: &[u8], deadline: UnixMillis) -> bool {
        self.find_mut(key).map(|mut entry| entry.set_deadline(Some(deadline))).is_some()
    }

    /// PERSIST: true if the key had a deadline.
    pub fn clear_deadline(&mut self, key: &[u8]) -> bool {
        let Some(mut entry) = self.find_mut(key) else { return false };
        let had = entry.entry().deadline().is_some();
        entry.set_deadline(None);
        had
    }

    /// A key chosen about evenly; `random` is the only source of chance.
    pub fn random_key(&self, random: u64) -> Option<Entry<'_>> {
        random_item(&self.table, random)
    }

    /// A key with a deadline, chosen about evenly (volatile-* eviction).
    pub fn random_key_with_deadline(&self, random: u64) -> Option<Entry<'_>> {
        random_item(&self.expires, random)
    }

    /// Calls `visit` with about `count` neighbouring keys from a random place on: eviction's sample.
    pub fn sample(&self, random: u64, count: usize, visit: impl FnMut(Entry<'_>)) {
        sample_items(&self.table, random, count, visit);
    }

    /// [`Keyspace::sample`] among the keys with a deadline.
    pub fn sample_with_deadline(&self, random: u64, count: usize, visit: impl FnMut(Entry<'_>)) {
        sample_items(&self.expires, random, count, visit);
    }

    /// Every entry, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = Entry<'_>> {
        self.table.iter().map(|item| Entry::new(RawEntry(item)))
    }

    /// Calls `visit` with every entry of one of `parts` about equal parts, which together hold each entry once.
    /// Nothing is written to any memory of the keyspace.
    pub fn visit_part(&self, part: usize, parts: usize, mut visit: impl FnMut(Entry<'_>)) {
        self.table.visit_part(part, parts, |item| visit(Entry::new(RawEntry(item))));
    }

    #[inline]
    fn place(&self, hash: u64, key: &[u8]) -> Option<Place> {
        self.table.find(hash, |item| RawEntry(item).key() == key)
    }

    #[inline]
    fn set(&mut self, hash: u64, key: &[u8], payload: Payload<'_>, ttl: Ttl) -> bool {
        if let Some(place) = self.place(hash, key) {
            if !self.keep_access {
                Entry::new(RawEntry(place.item())).set_access(self.fresh_access);
            }
            self.overwrite(place, hash, payload, ttl);
            return false;
        }
        self.add(hash, key, payload, ttl);
        true
    }

    /// Stores what is in neither table.
    #[inline]
    fn add(&mut self, hash: u64, key: &[u8], payload: Payload<'_>, ttl: Ttl) {
        let deadline = if let Ttl::At(deadline) = ttl { Some(deadline) } else { None };
        let raw = RawEntry::create(&self.slab, key, payload, deadline, self.fresh_access);
        let hasher = &self.hasher;
        let rehash = |item| hasher.hash(RawEntry(item).key());
        self.table.insert(hash, raw.0, &rehash);
        if deadline.is_some() {
            self.expires.insert(hash, raw.0, &rehash);
        }
    }

    /// Replaces the payload and deadline of the entry at `place`, in place if that is possible. Returns the
    /// entry, which may have moved.
    #[inline]
    fn overwrite(&mut self, place: Place, hash: u64, mut payload: Payload<'_>, ttl: Ttl) -> RawEntry {
        let old = RawEntry(place.item());
        let deadline = match ttl {
            Ttl::Clear => None,
            Ttl::Keep => old.deadline(),
            Ttl::At(deadline) => Some(deadline),
        };
        let had_deadline = old.deadline().is_some();
        if old.has_room_for(deadline) {
            match old.overwrite(payload) {
                Ok(replaced) => {
                    if let Some(value) = replaced {
                        self.lazy.release(value, false);
                    }
                    old.put_deadline(deadline);
                    self.index_deadline(hash, old, had_deadline, old, deadline.is_some());
                    return old;
                }
                Err(unfitting) => payload = unfitting,
            }
        }
        let new = RawEntry::create(&self.slab, old.key(), payload, deadline, old.header());
        self.index_deadline(hash, old, had_deadline, new, deadline.is_some());
        place.replace(new.0);
        self.free_entry(old, false);
        new
    }

    /// Keeps K2 when an entry is changed or replaced.
    #[inline]
    fn index_deadline(&mut self, hash: u64, old: RawEntry, had: bool, new: RawEntry, has: bool) {
        match (had, has) {
            (false, false) => {}
            (true, true) if old == new => {}
            (true, true) => {
                let place = self.expires.find(hash, |item| item == old.0).expect("K2");
                place.replace(new.0);
            }
            (true, false) => {
                let removed = self.expires.remove(hash, |item| item == old.0);
                assert!(removed.is_some(), "K2");
            }
            (false, true) => {
                let hasher = &self.hasher;
                self.expires.insert(hash, new.0, &|item| hasher.hash(RawEntry(item).key()));
            }
        }
    }

    /// Takes an entry out of both tables; the caller owns it then.
    fn unhook(&mut self, key: &[u8]) -> Option<RawEntry> {
        let hash = self.hash(key);
        let raw = RawEntry(self.table.remove(hash, |item| RawEntry(item).key() == key)?);
        self.index_deadline(hash, raw, raw.deadline().is_some(), raw, false);
        Some(raw)
    }
}

fn random_item(table: &Table, random: u64) -> Option<Entry<'_>> {
    let mut state = random;
    table.random(|| splitmix(&mut state)).map(|item| Entry::new(RawEntry(item)))
}

fn sample_items(table: &Table, random: u64, count: usize, mut visit: impl FnMut(Entry<'_>)) {
    if table.len() == 0 {
        return;
    }
    let mut left = count;
    let mut at = splitmix(&mut { random });
    // Once around at most: from the random place to the end, then from the beginning.
    for _ in 0..2 {
        loop {
            let end = table.walk_end(at, left);
            table.visit_range(at, end, |item| {
                if left > 0 {
                    left -= 1;
                    visit(Entry::new(RawEntry(item)));
                }
            });
            match end {
                Some(end) if left > 0 => at = end,
                Some(_) => return,
                None => break,
            }
        }
        at = 0;
    }
}

/// SplitMix64: many numbers from one.
fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
