//! A set of small integers, a bit each: slots of a node, cores to be woken, clients seen.
//!
//! Invariant
//!   S1  `count` is the number of bits set, all of them below `capacity`.

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BitSet {
    words: Box<[u64]>,
    capacity: usize,
    count: usize,
}

impl BitSet {
    /// An empty set of integers below `capacity`.
    pub fn new(capacity: usize) -> Self {
        Self { words: vec![0; capacity.div_ceil(64)].into_boxed_slice(), capacity, count: 0 }
    }

    pub fn capacity(&self) -> usize {
        self.capacity
    }

    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    #[inline]
    pub fn contains(&self, index: usize) -> bool {
        assert!(index < self.capacity, "S1: {index} of {}", self.capacity);
        self.words[index / 64] >> (index % 64) & 1 == 1
    }

    /// Adds `index`; false if it was there already.
    #[inline]
    pub fn insert(&mut self, index: usize) -> bool {
        let new = !self.contains(index);
        self.words[index / 64] |= 1 << (index % 64);
        self.count += usize::from(new);
        new
    }

    /// Takes `index` away; false if it was not there.
    #[inline]
    pub fn remove(&mut self, index: usize) -> bool {
        let old = self.contains(index);
        self.words[index / 64] &= !(1 << (index % 64));
        self.count -= usize::from(old);
        old
    }

    pub fn clear(&mut self) {
        self.words.fill(0);
        self.count = 0;
    }

    /// The least member that is `from` or more.
    pub fn next_from(&self, from: usize) -> Option<usize> {
        if from >= self.capacity {
            return None;
        }
        let first = self.words[from / 64] & (u64::MAX << (from % 64));
        let later = self.words.iter().enumerate().skip(from / 64 + 1).map(|(index, &word)| (index, word));
        std::iter::once((from / 64, first))
            .chain(later)
            .find(|&(_, word)| word != 0)
            .map(|(index, word)| index * 64 + word.trailing_zeros() as usize)
    }

    /// The members, ascending.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        std::iter::successors(self.next_from(0), |&index| self.next_from(index + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn agrees_with_a_tree(steps in proptest::collection::vec((any::<bool>(), 0..130_usize), 0..200)) {
            let mut set = BitSet::new(130);
            let mut model = BTreeSet::new();
            for (insert, index) in steps {
                if insert {
                    prop_assert_eq!(set.insert(index), model.insert(index));
                } else {
                    prop_assert_eq!(set.remove(index), model.remove(&index));
                }
                prop_assert_eq!(set.contains(index), model.contains(&index));
                prop_assert_eq!(set.len(), model.len());
            }
            prop_assert!(set.iter().eq(model.iter().copied()));
            for from in 0..131 {
                prop_assert_eq!(set.next_from(from), model.range(from..).next().copied());
            }
            set.clear();
            prop_assert!(set.is_empty() && set.iter().next().is_none());
        }
    }
}
