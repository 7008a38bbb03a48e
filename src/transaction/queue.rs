//! A shard's queue, ordered by transaction number.
//!
//! A command of a single shard that has to wait has no number of its own: it stands behind the last one in
//! the queue and in front of whatever number comes next.
//!
//! Invariants
//!   Q1  Places grow strictly from the head to the tail.
//!   Q2  A place with `step` zero is that of a transaction; the others are those of commands.

use std::collections::VecDeque;

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Place {
    number: u64,
    step: u64,
}

impl Place {
    pub fn of(number: u64) -> Self {
        Self { number, step: 0 }
    }
}

pub struct Queue<T> {
    /// Sorted. Numbers grow with time, so that nearly all come at the tail and leave near the head.
    entries: VecDeque<(Place, T)>,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { entries: VecDeque::new() }
    }
}

impl<T> Queue<T> {
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether a transaction of this number would stand in front of somebody.
    pub fn is_late(&self, number: u64) -> bool {
        self.entries.back().is_some_and(|(tail, _)| *tail > Place::of(number))
    }

    pub fn insert(&mut self, number: u64, entry: T) {
        let place = Place::of(number);
        let index = self.position(place).expect_err("a number is used once");
        self.entries.insert(index, (place, entry));
    }

    /// Behind everybody.
    pub fn append(&mut self, entry: T) {
        let place = match self.entries.back() {
            Some((tail, _)) => Place { step: tail.step + 1, ..*tail },
            None => Place { number: 0, step: 1 },
        };
        self.entries.push_back((place, entry));
    }

    pub fn remove(&mut self, number: u64) -> Option<T> {
        let index = self.position(Place::of(number)).ok()?;
        self.entries.remove(index).map(|(_, entry)| entry)
    }

    pub fn find(&mut self, number: u64) -> Option<&mut T> {
        let index = self.position(Place::of(number)).ok()?;
        Some(&mut self.entries[index].1)
    }

    pub fn is_head(&self, number: u64) -> bool {
        self.entries.front().is_some_and(|(head, _)| *head == Place::of(number))
    }

    pub fn head(&mut self) -> Option<&mut T> {
        self.entries.front_mut().map(|(_, entry)| entry)
    }

    pub fn pop(&mut self) -> Option<T> {
        self.entries.pop_front().map(|(_, entry)| entry)
    }

    /// From head to tail.
    #[cfg(test)]
    fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().map(|(_, entry)| entry)
    }

    fn position(&self, place: Place) -> Result<usize, usize> {
        // Nearly always the tail or the head.
        match self.entries.back() {
            None => return Err(0),
            Some((tail, _)) if *tail < place => return Err(self.entries.len()),
            _ => {}
        }
        self.entries.binary_search_by_key(&place, |(place, _)| *place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_stand_behind_the_tail_of_their_time() {
        let mut queue = Queue::default();
        queue.insert(7, "t7");
        queue.append("first");
        queue.append("second");
        assert!(queue.is_late(6) && queue.is_late(7) && !queue.is_late(8));
        queue.insert(8, "t8");
        queue.insert(5, "t5");
        assert!(queue.is_head(5) && !queue.is_head(7));
        assert!(queue.iter().eq(&["t5", "t7", "first", "second", "t8"]), "Q1");
        assert_eq!(queue.remove(7), Some("t7"));
        assert_eq!((queue.remove(7), queue.find(6)), (None, None));
        assert_eq!((queue.pop(), queue.pop()), (Some("t5"), Some("first")));
        assert_eq!(queue.len(), 2);
    }
}
