//! Who intends to read or write which key of a shard. Nobody waits on an intent: it only tells those who
//! come later whether they may run now.
//!
//! A key is known by a fingerprint of database and name. Two keys with one fingerprint look like one key:
//! they wait for each other without need, and nothing else happens.
//!
//! Invariants
//!   I1  A count is the number of key sets taken and not given back that name the key in that mode.
//!   I2  A fingerprint whose counts are both zero is not in the table.
//!   I3  `exclusive` and `shared` are the sums of the counts, and `held` is those and the counts of the
//!       whole shard: it is zero exactly when nothing is intended here.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Mode {
    Shared,
    Exclusive,
}

/// One key and what is intended with it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Intent {
    pub key: u64,
    pub mode: Mode,
}

impl Intent {
    pub fn shared(key: u64) -> Self {
        Self { key, mode: Mode::Shared }
    }

    pub fn exclusive(key: u64) -> Self {
        Self { key, mode: Mode::Exclusive }
    }
}

/// What one piece of work intends on one shard: some keys, and perhaps all of them (DBSIZE, KEYS, FLUSHALL).
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    keys: Arc<[Intent]>,
    whole: Option<Mode>,
}

impl KeySet {
    /// Each key once, in its strongest mode.
    pub fn new(mut keys: Vec<Intent>) -> Self {
        keys.sort_unstable_by(|a, b| (a.key, b.mode).cmp(&(b.key, a.mode)));
        keys.dedup_by_key(|intent| intent.key);
        Self { keys: keys.into(), whole: None }
    }

    /// Every key of the shard, also those that do not exist yet.
    pub fn whole(mode: Mode) -> Self {
        Self { keys: Arc::new([]), whole: Some(mode) }
    }

    /// The same keys and the whole shard.
    pub fn and_whole(self, mode: Mode) -> Self {
        Self { whole: self.whole.max(Some(mode)), ..self }
    }

    pub fn keys(&self) -> &[Intent] {
        &self.keys
    }

    pub fn whole_mode(&self) -> Option<Mode> {
        self.whole
    }
}

/// Fingerprints are hashes already.
#[derive(Clone, Copy, Default)]
struct Fingerprint(u64);

impl Hasher for Fingerprint {
    fn write(&mut self, _: &[u8]) {
        unreachable!("a fingerprint is an integer")
    }

    fn write_u64(&mut self, fingerprint: u64) {
        self.0 = fingerprint;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Counts {
    shared: u32,
    exclusive: u32,
}

impl Counts {
    fn of(&mut self, mode: Mode) -> &mut u32 {
        match mode {
            Mode::Shared => &mut self.shared,
            Mode::Exclusive => &mut self.exclusive,
        }
    }

    fn conflicts(self, mode: Mode) -> bool {
        self.exclusive > 0 || mode == Mode::Exclusive && self.shared > 0
    }
}

#[derive(Default)]
pub struct Intents {
    table: HashMap<u64, Counts, BuildHasherDefault<Fingerprint>>,
    /// The sums over all keys.
    keys: Counts,
    /// Of those who intend something with every key.
    whole: Counts,
}

impl Intents {
    pub fn is_empty(&self) -> bool {
        self.keys == Counts::default() && self.whole == Counts::default()
    }

    /// Whether somebody already intends what these keys cannot be shared with.
    pub fn conflict(&self, set: &KeySet) -> bool {
        self.conflict_with(&set.keys, set.whole)
    }

    pub fn conflict_with(&self, keys: &[Intent], whole: Option<Mode>) -> bool {
        if let Some(mode) = whole
            && (self.keys.conflicts(mode) || self.whole.conflicts(mode))
        {
            return true;
        }
        keys.iter().any(|intent| {
            self.whole.conflicts(intent.mode)
                || self.table.get(&intent.key).is_some_and(|counts| counts.conflicts(intent.mode))
        })
    }

    pub fn take(&mut self, set: &KeySet) {
        for Intent { key, mode } in set.keys.iter().copied() {
            *self.table.entry(key).or_default().of(mode) += 1;
            *self.keys.of(mode) += 1;
        }
        if let Some(mode) = set.whole {
            *self.whole.of(mode) += 1;
        }
    }

    pub fn give_back(&mut self, set: &KeySet) {
        for intent in set.keys.iter() {
            self.give_back_key(*intent);
        }
        if let Some(mode) = set.whole {
            *self.whole.of(mode) -= 1;
        }
    }

    fn give_back_key(&mut self, Intent { key, mode }: Intent) {
        let Entry::Occupied(mut counts) = self.table.entry(key) else {
            panic!("I1: an intent that was never taken is given back");
        };
        *counts.get_mut().of(mode) -= 1;
        if *counts.get() == Counts::default() {
            counts.remove();
        }
        *self.keys.of(mode) -= 1;
    }

    /// Planted bug: the first key stays.
    pub(super) fn give_back_but_one(&mut self, set: &KeySet) {
        for intent in set.keys.iter().skip(1) {
            self.give_back_key(*intent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sets() -> impl Strategy<Value = (Vec<(u64, bool)>, Option<bool>)> {
        (prop::collection::vec((0_u64..4, any::<bool>()), 0..4), prop::option::weighted(0.2, any::<bool>()))
    }

    fn mode(exclusive: bool) -> Mode {
        if exclusive { Mode::Exclusive } else { Mode::Shared }
    }

    fn set_of((keys, whole): &(Vec<(u64, bool)>, Option<bool>)) -> KeySet {
        let keys = keys.iter().map(|(key, exclusive)| Intent { key: *key, mode: mode(*exclusive) }).collect();
        let set = KeySet::new(keys);
        whole.map_or(set.clone(), |exclusive| set.and_whole(mode(exclusive)))
    }

    /// The obvious thing: compare with every set that is held.
    fn pairwise(a: &KeySet, b: &KeySet) -> bool {
        let clash = |a: Mode, b: Mode| a == Mode::Exclusive || b == Mode::Exclusive;
        let keys = a.keys().iter().any(|x| b.keys().iter().any(|y| x.key == y.key && clash(x.mode, y.mode)));
        let across = |whole: &KeySet, other: &KeySet| {
            whole.whole_mode().is_some_and(|mode| {
                other.keys().iter().any(|intent| clash(intent.mode, mode))
                    || other.whole_mode().is_some_and(|other| clash(mode, other))
            })
        };
        keys || across(a, b) || across(b, a)
    }

    proptest! {
        #[test]
        fn conflicts_are_those_of_the_sets_held(held in prop::collection::vec(sets(), 0..5), gone in any::<u8>(), asked in sets()) {
            let held: Vec<KeySet> = held.iter().map(set_of).collect();
            let mut intents = Intents::default();
            held.iter().for_each(|set| intents.take(set));
            let mut left = Vec::new();
            for (index, set) in held.iter().enumerate() {
                if gone >> index & 1 == 1 { intents.give_back(set) } else { left.push(set) }
            }
            let asked = set_of(&asked);
            prop_assert_eq!(intents.conflict(&asked), left.iter().any(|set| pairwise(set, &asked)));
            left.into_iter().for_each(|set| intents.give_back(set));
            prop_assert!(intents.is_empty() && intents.table.is_empty(), "I2, I3");
        }
    }

    #[test]
    fn a_key_named_twice_counts_once_in_its_strongest_mode() {
        let set = KeySet::new(vec![Intent::shared(7), Intent::exclusive(7), Intent::shared(3)]);
        assert_eq!(set.keys(), [Intent::shared(3), Intent::exclusive(7)]);
    }
}
