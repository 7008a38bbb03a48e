//! Keys of this shard that transactions hold, as far as the shard's own duties have to know: what transactions hold is not
//! to vanish under them. A command that would be in the way is not let in by the scheduler; a duty leaves such keys alone,
//! and the journal relies on that: what a transaction does is written down at its end.
//!
//! The scheduler counts intents, too, but other ones: also those of commands that wait, and by mode. And it belongs to
//! the core, not to the shard, which another core may borrow. The sets are shared, not copied.

use crate::transaction::{KeySet, Mode};

#[derive(Default)]
pub struct Held {
    /// By number.
    transactions: Vec<(u64, KeySet)>,
}

impl Held {
    /// A transaction has asked for a place.
    pub fn enter(&mut self, transaction: u64, keys: KeySet) {
        self.transactions.push((transaction, keys));
    }

    pub fn leave(&mut self, transaction: u64) {
        self.transactions.retain(|(other, _)| *other != transaction);
    }

    /// Whether a transaction intends something with the key of this hash.
    #[inline]
    pub fn has(&self, hash: u64) -> bool {
        !self.transactions.is_empty() && self.finds(hash)
    }

    fn finds(&self, hash: u64) -> bool {
        self.transactions.iter().any(|(_, keys)| {
            keys.whole_mode() == Some(Mode::Exclusive)
                || keys.keys().binary_search_by_key(&hash, |intent| intent.key).is_ok()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::Intent;

    #[test]
    fn keys_are_held_until_the_last_transaction_leaves() {
        let mut held = Held::default();
        held.enter(1, KeySet::new(vec![Intent::shared(7), Intent::exclusive(9)]));
        held.enter(2, KeySet::new(vec![Intent::shared(7)]));
        assert!(held.has(7) && held.has(9) && !held.has(8));
        held.leave(1);
        assert!(held.has(7) && !held.has(9));
        held.enter(3, KeySet::whole(Mode::Shared));
        assert!(!held.has(8));
        held.enter(4, KeySet::whole(Mode::Exclusive));
        held.leave(2);
        assert!(held.has(8));
    }
}
