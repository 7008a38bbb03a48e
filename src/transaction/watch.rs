//! WATCH: which keys of this shard are watched by whom, and who of them has to fail at EXEC.
//!
//! Watched keys are registered with their owner, and there EXEC asks, under its intents. The rules are those of
//! Redis 7.0:
//!
//! | since WATCH | EXEC |
//! |---|---|
//! | the key was changed, created, deleted, evicted | fails |
//! | the key expired, removed yet or not | fails |
//! | the key was past its deadline already, and was removed | goes on |
//! | FLUSHDB or FLUSHALL removed it; there was none | fails; goes on |
//! | SWAPDB: it lives on one side or the other; on none | fails; goes on |
//!
//! Invariants
//!   W1  `watchers` is the number of records in all databases; while it is zero nothing has to be noticed.
//!   W2  A key without watchers is not in the table.
//!   W3  A client has at most one record per key and round; it keeps the first.
//!   W4  A round ends with EXEC, DISCARD, UNWATCH; what an owner hears late about one says nothing about the next.

use ahash::RandomState;
use std::collections::HashMap;

/// The watched keys of a shard.
pub struct WatchTable {
    databases: Vec<HashMap<Box<[u8]>, Vec<Watcher>, RandomState>>,
    watchers: usize,
}

#[derive(Clone, Copy, Debug)]
struct Watcher {
    client: u64,
    /// The key was past its deadline, but still there, when the watch began: it counts as missing.
    expired: bool,
    touched: bool,
}

/// How a key stands in a database.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Existence {
    Missing,
    /// Past its deadline and not yet removed.
    Expired,
    Live,
}

impl WatchTable {
    /// `seeds` must not be known to clients.
    pub fn new(databases: usize, seeds: [u64; 4]) -> Self {
        let [a, b, c, d] = seeds;
        let table = || HashMap::with_hasher(RandomState::with_seeds(a, b, c, d));
        Self { databases: (0..databases).map(|_| table()).collect(), watchers: 0 }
    }

    /// Whether changes need not be reported: the common case.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.watchers == 0
    }

    pub fn watchers(&self) -> usize {
        self.watchers
    }

    /// WATCH.
    pub fn watch(&mut self, client: u64, db: usize, key: &[u8], existence: Existence) {
        let table = &mut self.databases[db];
        if !table.contains_key(key) {
            table.insert(key.into(), Vec::new());
        }
        let watchers = table.get_mut(key).expect("just made sure");
        if watchers.iter().any(|watcher| watcher.client == client) {
            return; // W3
        }
        watchers.push(Watcher { client, expired: existence == Existence::Expired, touched: false });
        self.watchers += 1;
    }

    /// UNWATCH, DISCARD, EXEC, RESET, disconnect.
    pub fn unwatch(&mut self, client: u64, db: usize, key: &[u8]) {
        let table = &mut self.databases[db];
        let Some(watchers) = table.get_mut(key) else { return };
        let before = watchers.len();
        watchers.retain(|watcher| watcher.client != client);
        self.watchers -= before - watchers.len();
        if watchers.is_empty() {
            table.remove(key);
        }
    }

    /// Whether EXEC may go on as far as this key is concerned. `existence` is how the key stands now.
    pub fn is_untouched(&self, client: u64, db: usize, key: &[u8], existence: Existence) -> bool {
        let watchers = self.databases[db].get(key).map_or(&[][..], Vec::as_slice);
        match watchers.iter().find(|watcher| watcher.client == client) {
            // At EXEC a key past its deadline has expired, whether or not somebody has looked.
            Some(watcher) => !watcher.touched && (watcher.expired || existence != Existence::Expired),
            None => false,
        }
    }

    /// A command has changed the key: wrote, created or deleted it.
    pub fn changed(&mut self, db: usize, key: &[u8]) {
        if self.is_empty() {
            return;
        }
        for watcher in self.databases[db].get_mut(key).into_iter().flatten() {
            watcher.touched = true;
        }
    }

    /// The key was removed because its deadline had passed.
    pub fn expired(&mut self, db: usize, key: &[u8]) {
        if self.is_empty() {
            return;
        }
        for watcher in self.databases[db].get_mut(key).into_iter().flatten() {
            // For those who came after the deadline the key was missing and still is.
            watcher.touched |= !watcher.expired;
            watcher.expired = false;
        }
    }

    /// A database is about to be emptied. `existence` tells how a key stands before.
    pub fn flushed(&mut self, db: usize, existence: impl Fn(&[u8]) -> Existence) {
        for (key, watchers) in &mut self.databases[db] {
            if existence(key) == Existence::Missing {
                continue;
            }
            for watcher in watchers {
                watcher.touched |= !watcher.expired;
                watcher.expired = false;
            }
        }
    }

    /// Two databases are about to change places. `existence` tells how a key stands in a database before. Watches
    /// stay with the number of the database.
    pub fn swapped(&mut self, a: usize, b: usize, existence: impl Fn(usize, &[u8]) -> Existence) {
        if a == b {
            return;
        }
        for (db, other) in [(a, b), (b, a)] {
            for (key, watchers) in &mut self.databases[db] {
                let (before, after) = (existence(db, key), existence(other, key));
                for watcher in watchers {
                    match (watcher.expired, before, after) {
                        (_, Existence::Missing, Existence::Missing) => {}
                        (true, _, Existence::Missing) => watcher.expired = false,
                        (true, _, Existence::Expired) => {}
                        (false, Existence::Missing, Existence::Expired) => watcher.expired = true,
                        _ => watcher.touched = true,
                    }
                }
            }
        }
    }
}

/// What one client watches, kept with the client. `K` names a database and key.
#[derive(Debug)]
pub struct Watching<K> {
    /// With their owners, in the order of WATCH.
    keys: Vec<(usize, K)>,
    /// How many rounds have ended.
    rounds: u64,
}

impl<K> Default for Watching<K> {
    fn default() -> Self {
        Self { keys: Vec::new(), rounds: 0 }
    }
}

impl<K: PartialEq> Watching<K> {
    /// Whether it was not watched yet: only then the owner has to be told.
    pub fn add(&mut self, owner: usize, key: K) -> bool {
        let is_new = !self.keys.iter().any(|(_, other)| *other == key);
        if is_new {
            self.keys.push((owner, key));
        }
        is_new
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub fn keys(&self) -> &[(usize, K)] {
        &self.keys
    }

    /// What owners know this client by in this round (W4).
    pub fn watcher(&self, client: u64) -> u64 {
        const ROUND_BITS: u32 = 24;
        client << ROUND_BITS | self.rounds & ((1 << ROUND_BITS) - 1)
    }

    /// The end of all watches: what each owner has to be told.
    pub fn take(&mut self) -> Vec<(usize, K)> {
        self.rounds += u64::from(!self.keys.is_empty());
        std::mem::take(&mut self.keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Existence::{Expired, Live, Missing};

    const ME: u64 = 1;
    const OTHER: u64 = 2;

    fn watching(existence: Existence) -> WatchTable {
        let mut table = WatchTable::new(2, [1, 2, 3, 4]);
        table.watch(ME, 0, b"k", existence);
        table
    }

    fn goes_on(table: &WatchTable, existence: Existence) -> bool {
        table.is_untouched(ME, 0, b"k", existence)
    }

    #[test]
    fn changes_are_noticed_in_their_database_only() {
        let mut table = watching(Missing);
        table.changed(1, b"k");
        table.changed(0, b"other");
        assert!(goes_on(&table, Missing));
        table.changed(0, b"k");
        assert!(!goes_on(&table, Live));
        table.watch(ME, 0, b"k", Live);
        assert!(!goes_on(&table, Live), "W3");
    }

    #[test]
    fn expiry_counts_unless_it_came_before_the_watch() {
        let mut table = watching(Live);
        table.watch(OTHER, 0, b"k", Expired);
        assert!(!goes_on(&table, Expired), "expired in between, not yet removed");
        table.expired(0, b"k");
        assert!(!goes_on(&table, Missing));
        assert!(table.is_untouched(OTHER, 0, b"k", Missing));
        table.changed(0, b"k");
        assert!(!table.is_untouched(OTHER, 0, b"k", Live));
        assert!(goes_on(&watching(Expired), Expired));
    }

    #[test]
    fn a_key_created_after_an_old_expiry_may_expire_again_with_consequences() {
        let mut table = watching(Expired);
        table.expired(0, b"k");
        assert!(goes_on(&table, Missing));
        assert!(!goes_on(&table, Expired), "this is another key with another deadline");
    }

    #[test]
    fn a_flush_touches_what_was_there() {
        for (at_watch, at_flush, ok) in
            [(Live, Live, false), (Missing, Missing, true), (Expired, Expired, true), (Live, Expired, false)]
        {
            let mut table = watching(at_watch);
            table.flushed(1, |_| Live);
            table.flushed(0, |_| at_flush);
            assert_eq!(goes_on(&table, Missing), ok, "{at_watch:?} {at_flush:?}");
        }
    }

    /// As redis-server 7.0.15's touchAllWatchedKeysInDb decides.
    #[test]
    fn a_swap_touches_what_lives_on_either_side() {
        for (at_watch, other_side, ok) in [
            (Missing, Missing, true),
            (Missing, Live, false),
            (Missing, Expired, true),
            (Live, Missing, false),
            (Live, Live, false),
            (Expired, Missing, true),
            (Expired, Expired, true),
            (Expired, Live, false),
        ] {
            let mut table = watching(at_watch);
            table.swapped(1, 0, |db, _| if db == 0 { at_watch } else { other_side });
            assert_eq!(goes_on(&table, other_side), ok, "{at_watch:?} {other_side:?}");
        }
        let mut table = watching(Live);
        table.swapped(0, 0, |_, _| Live);
        assert!(goes_on(&table, Live), "nothing moves");
    }

    #[test]
    fn who_unwatches_leaves_nothing() {
        let mut table = watching(Live);
        table.watch(OTHER, 0, b"k", Live);
        table.unwatch(ME, 0, b"k");
        table.unwatch(ME, 0, b"missing");
        assert!(!goes_on(&table, Live) && table.watchers() == 1);
        table.unwatch(OTHER, 0, b"k");
        assert!(table.is_empty() && table.databases[0].is_empty(), "W1, W2");
    }

    #[test]
    fn a_client_names_each_key_once() {
        let mut watching = Watching::default();
        assert!(watching.add(3, (0, "k")) && watching.add(3, (1, "k")) && !watching.add(3, (0, "k")));
        assert_eq!(watching.take(), [(3, (0, "k")), (3, (1, "k"))]);
        assert!(watching.is_empty());
    }

    /// EXEC wrote the key that it watched; the next WATCH reached the owner before the end of the first did, and
    /// was taken for the first: its EXEC failed although nobody had touched the key.
    #[test]
    fn the_end_of_a_round_that_is_heard_late_leaves_the_next_alone() {
        let (mut watching, mut table) = (Watching::default(), WatchTable::new(1, [1, 2, 3, 4]));
        watching.add(0, "k");
        let first = watching.watcher(ME);
        table.watch(first, 0, b"k", Live);
        table.changed(0, b"k");
        watching.take();
        watching.add(0, "k");
        let second = watching.watcher(ME);
        table.watch(second, 0, b"k", Live);
        table.unwatch(first, 0, b"k");
        assert!(table.is_untouched(second, 0, b"k", Live));
        assert_eq!(table.watchers(), 1);
    }
}
