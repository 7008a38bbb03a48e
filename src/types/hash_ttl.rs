//! Deadlines of single fields of a hash.
//!
//! Invariants
//!   D1  `order` has exactly one element for each field in `of`, with its deadline.
//!   D2  Every field in `of` is a field of the hash; the hash sees to that.

use super::encoding::PackedMap;
use crate::base::UnixMillis;
use std::collections::BTreeSet;

/// A deadline, little endian.
const WIDTH: usize = 8;

#[derive(Clone, Debug, PartialEq)]
pub struct FieldDeadlines {
    of: PackedMap<WIDTH>,
    /// In the order in which they are due.
    order: BTreeSet<(u64, Box<[u8]>)>,
}

impl FieldDeadlines {
    pub fn new(seed: u64) -> Self {
        Self { of: PackedMap::new(seed), order: BTreeSet::new() }
    }

    pub fn len(&self) -> usize {
        self.of.len()
    }

    pub fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    pub fn get(&self, field: &[u8]) -> Option<UnixMillis> {
        let bytes = self.of.get(field)?;
        Some(UnixMillis(u64::from_le_bytes(bytes.try_into().expect("the map's width"))))
    }

    /// The earliest of all.
    pub fn earliest(&self) -> Option<UnixMillis> {
        self.order.first().map(|(deadline, _)| UnixMillis(*deadline))
    }

    pub fn set(&mut self, field: &[u8], deadline: UnixMillis) {
        self.remove(field);
        self.of.insert(field, &deadline.0.to_le_bytes());
        self.order.insert((deadline.0, field.into()));
    }

    /// True if the field had a deadline.
    pub fn remove(&mut self, field: &[u8]) -> bool {
        let Some(deadline) = self.get(field) else { return false };
        self.of.remove(field);
        let removed = self.order.remove(&(deadline.0, field.into()));
        debug_assert!(removed, "D1");
        true
    }

    /// Whether a field is past its deadline; at the deadline itself it is still there, as keys are.
    pub fn is_due(&self, field: &[u8], now: UnixMillis) -> bool {
        self.get(field).is_some_and(|deadline| deadline < now)
    }

    /// How many fields are past their deadline.
    pub fn due_len(&self, now: UnixMillis) -> usize {
        self.order.iter().take_while(|(deadline, _)| *deadline < now.0).count()
    }

    /// Takes the deadline that is due first, with its field.
    pub fn pop_due(&mut self, now: UnixMillis) -> Option<Box<[u8]>> {
        if self.earliest()? >= now {
            return None;
        }
        let (_, field) = self.order.pop_first()?;
        self.of.remove(&field);
        Some(field)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&[u8], UnixMillis)> {
        self.order.iter().map(|(deadline, field)| (&field[..], UnixMillis(*deadline)))
    }

    pub fn heap_bytes(&self, samples: usize) -> usize {
        let fields: usize = self.order.iter().take(64).map(|(_, field)| field.len()).sum();
        let mean = fields / self.order.len().clamp(1, 64);
        // A B-tree's nodes are two thirds full.
        let element = size_of::<(u64, Box<[u8]>)>() * 3 / 2;
        self.of.heap_bytes(samples) + self.order.len() * (element + mean)
    }

    pub fn free_effort(&self) -> usize {
        self.of.free_effort() + self.order.len()
    }

    /// Frees at most about `budget` pieces and returns how many; 0 when nothing is left.
    pub fn free_slice(&mut self, budget: usize) -> usize {
        let mut freed = 0;
        while freed < budget && self.order.pop_first().is_some() {
            freed += 1;
        }
        if freed > 0 { freed } else { self.of.free_slice(budget) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn agrees_with_the_model(
            steps in proptest::collection::vec((0_u8..3, 0_u8..9, 0_u64..20), 0..100),
        ) {
            let mut deadlines = FieldDeadlines::new(1);
            let mut model: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
            for (step, field, time) in steps {
                let name = vec![field];
                match step {
                    0 => { deadlines.set(&name, UnixMillis(time)); model.insert(name, time); }
                    1 => prop_assert_eq!(deadlines.remove(&name), model.remove(&name).is_some()),
                    _ => {
                        let due = deadlines.pop_due(UnixMillis(time));
                        prop_assert_eq!(due.is_some(), model.values().any(|&deadline| deadline < time));
                        if let Some(field) = due {
                            let deadline = model.remove(&field.into_vec()).expect("it had one");
                            prop_assert!(model.values().all(|&other| deadline <= other));
                        }
                    }
                }
                prop_assert_eq!(deadlines.len(), model.len());
                prop_assert_eq!(deadlines.earliest().map(|first| first.0), model.values().min().copied());
                for (field, &deadline) in &model {
                    prop_assert_eq!(deadlines.get(field), Some(UnixMillis(deadline)));
                    prop_assert!(!deadlines.is_due(field, UnixMillis(deadline)));
                    prop_assert!(deadlines.is_due(field, UnixMillis(deadline + 1)));
                }
            }
        }
    }
}
