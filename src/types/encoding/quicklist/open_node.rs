//! The front node of a list while entries come and go there: a listpack with room around it, so that neither end
//! moves the rest.
//!
//! ```text
//! buffer   ....... [header] [entries] [FF] ....
//!                  ^ start                 ^ end
//! ```
//! Most of the room is in front; behind is what pops from the back have left.
//!
//! Invariants
//!   O1  `buffer[start..end]` is a listpack of at least one entry, or `start == end` and there is none.

use super::super::block;
use super::super::listpack::{EMPTY, Encoded, Entry, HEADER_BYTES, Listpack, Pack};

/// A buffer of at most this many bytes is kept for the next entries.
const KEPT_BYTES: usize = 512;
/// Nothing is given back while the buffer is smaller.
const SHRUNK_MIN: usize = 2048;

#[derive(Clone, Debug, Default)]
pub(super) struct OpenNode {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

impl OpenNode {
    /// A copy of a listpack.
    pub fn of(pack: Pack<'_>) -> Self {
        debug_assert!(!pack.is_empty(), "O1");
        let buffer: Box<[u8]> = pack.as_bytes().into();
        Self { start: 0, end: buffer.len(), buffer }
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// The listpack, unless it is empty.
    #[inline]
    pub fn view(&self) -> Option<Pack<'_>> {
        (!self.is_empty()).then(|| Pack::new(&self.buffer[self.start..self.end]))
    }

    #[inline]
    fn pack(&self) -> Pack<'_> {
        self.view().expect("O1")
    }

    pub fn heap_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// `bytes_max` is what the node may grow to.
    #[inline]
    pub fn push_front(&mut self, entry: Entry<'_>, bytes_max: usize) {
        let encoded = Encoded::new(entry);
        if self.start < EMPTY.len() + encoded.bytes() {
            self.make_room(EMPTY.len() + encoded.bytes(), bytes_max);
        }
        if self.is_empty() {
            self.start = self.end - EMPTY.len();
            self.buffer[self.start..self.end].copy_from_slice(&EMPTY);
        }
        let count = self.pack().count();
        self.start -= encoded.bytes();
        let entry_start = self.start + HEADER_BYTES;
        encoded.write(&mut self.buffer[entry_start..entry_start + encoded.bytes()]);
        self.set_header(count.saturating_add(1));
    }

    /// Removes the first entry, after showing it.
    #[inline]
    pub fn pop_front<R>(&mut self, show: impl FnOnce(Entry<'_>) -> R) -> R {
        let pack = self.pack();
        let shown = show(pack.at(HEADER_BYTES));
        match pack.next(HEADER_BYTES) {
            Some(next) => self.cut_front(next, 1),
            None => self.clear(),
        }
        shown
    }

    /// Removes the last entry, after showing it.
    #[inline]
    pub fn pop_back<R>(&mut self, show: impl FnOnce(Entry<'_>) -> R) -> R {
        let pack = self.pack();
        let last = pack.last().expect("O1");
        let shown = show(pack.at(last));
        self.cut_back(last, 1);
        shown
    }

    /// Removes that many entries from the front, fewer than all.
    pub fn drop_front(&mut self, count: usize) {
        let kept = self.pack().seek(count as i64).expect("fewer than all");
        self.cut_front(kept, count);
    }

    /// Removes that many entries from the back, fewer than all.
    pub fn drop_back(&mut self, count: usize) {
        let first = self.pack().seek(-(count as i64)).expect("as many are there");
        self.cut_back(first, count);
    }

    pub fn clear(&mut self) {
        if self.buffer.len() > KEPT_BYTES {
            self.buffer = Box::default();
        }
        (self.start, self.end) = (self.buffer.len(), self.buffer.len());
    }

    /// What it holds, for a node of its own; it is empty then.
    pub fn take(&mut self) -> Option<Listpack> {
        let taken = Listpack::from_own_bytes(self.view()?.as_bytes());
        self.clear();
        Some(taken)
    }

    /// The entry at this position becomes the first one.
    fn cut_front(&mut self, position: usize, removed: usize) {
        let count = self.pack().count_without(removed);
        self.start += position - HEADER_BYTES;
        self.set_header(count);
        self.shrink();
    }

    /// The entry at this position is the first that goes.
    fn cut_back(&mut self, position: usize, removed: usize) {
        if position == HEADER_BYTES {
            return self.clear();
        }
        let count = self.pack().count_without(removed);
        self.end = self.start + position + 1;
        self.buffer[self.end - 1] = EMPTY[EMPTY.len() - 1];
        self.set_header(count);
        self.shrink();
    }

    fn set_header(&mut self, count: u16) {
        let bytes = self.end - self.start;
        let header = &mut self.buffer[self.start..self.start + HEADER_BYTES];
        header[..4].copy_from_slice(&(bytes as u32).to_le_bytes());
        header[4..].copy_from_slice(&count.to_le_bytes());
    }

    /// Sees to `more` bytes in front.
    #[cold]
    #[inline(never)]
    fn make_room(&mut self, more: usize, bytes_max: usize) {
        let used = self.end - self.start;
        // A third free is enough to pay for moving the rest.
        if self.buffer.len() >= used + more && (self.buffer.len() - used) * 3 >= self.buffer.len() {
            let end = self.buffer.len();
            self.buffer.copy_within(self.start..self.end, end - used);
            (self.start, self.end) = (end - used, end);
            return;
        }
        // By little: of many lists each has such a buffer.
        let wanted = block::capacity((used + used / 8).max(KEPT_BYTES)).min(bytes_max);
        self.reallocate(wanted.max(used + more));
    }

    /// Gives back what has become far too large.
    #[inline]
    fn shrink(&mut self) {
        let used = self.end - self.start;
        if self.buffer.len() > SHRUNK_MIN && self.buffer.len() / 4 > used {
            self.reallocate(block::capacity(used + used / 8));
        }
    }

    #[inline(never)]
    fn reallocate(&mut self, bytes: usize) {
        let used = self.end - self.start;
        let mut buffer = vec![0; bytes].into_boxed_slice();
        buffer[bytes - used..].copy_from_slice(&self.buffer[self.start..self.end]);
        (self.buffer, self.start, self.end) = (buffer, bytes - used, bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::listpack::validate;
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    fn check(node: &OpenNode, model: &VecDeque<Vec<u8>>) {
        assert_eq!(node.is_empty(), model.is_empty(), "O1");
        let Some(pack) = node.view() else { return };
        assert_eq!(validate(pack.as_bytes()), Ok(model.len()), "O1");
        assert!(pack.iter().map(Entry::to_vec).eq(model.iter().cloned()));
    }

    #[derive(Clone, Debug)]
    enum Change {
        Push(Vec<u8>),
        PopFront,
        PopBack,
        DropFront(u8),
        DropBack(u8),
        Reopen,
    }

    fn change() -> impl Strategy<Value = Change> {
        let text = prop_oneof![
            (0_u32..100_000).prop_map(|value| value.to_string().into_bytes()),
            proptest::collection::vec(any::<u8>(), 0..20),
            Just(vec![b'x'; 200]),
        ];
        prop_oneof![
            6 => text.prop_map(Change::Push),
            1 => Just(Change::PopFront),
            2 => Just(Change::PopBack),
            1 => any::<u8>().prop_map(Change::DropFront),
            1 => any::<u8>().prop_map(Change::DropBack),
            1 => Just(Change::Reopen),
        ]
    }

    proptest! {
        #[test]
        fn agrees_with_a_deque(changes in proptest::collection::vec(change(), 0..200)) {
            let (mut node, mut model) = (OpenNode::default(), VecDeque::<Vec<u8>>::new());
            for change in changes {
                match change {
                    Change::Push(text) => {
                        node.push_front(Entry::of(&text), 8192);
                        model.push_front(text);
                    }
                    Change::PopFront if !model.is_empty() => {
                        prop_assert_eq!(Some(node.pop_front(|entry| entry.to_vec())), model.pop_front());
                    }
                    Change::PopBack if !model.is_empty() => {
                        prop_assert_eq!(Some(node.pop_back(|entry| entry.to_vec())), model.pop_back());
                    }
                    Change::DropFront(count) if model.len() > 1 => {
                        let count = 1 + usize::from(count) % (model.len() - 1);
                        node.drop_front(count);
                        model.drain(..count);
                    }
                    Change::DropBack(count) if model.len() > 1 => {
                        let count = 1 + usize::from(count) % (model.len() - 1);
                        node.drop_back(count);
                        model.truncate(model.len() - count);
                    }
                    Change::Reopen => {
                        if let Some(pack) = node.take() {
                            node = OpenNode::of(pack.view());
                        }
                    }
                    _ => {}
                }
                check(&node, &model);
            }
        }
    }

    /// A queue: what comes in at the front leaves at the back, and the buffer stays as large as what is in it asks.
    #[test]
    fn a_queue_stays_small() {
        let mut node = OpenNode::default();
        for value in 0_i64..10_000 {
            node.push_front(Entry::Int(1_000_000 + value), 8192);
            if value >= 100 {
                assert_eq!(node.pop_back(|entry| entry.to_vec()), (999_900 + value).to_string().into_bytes());
            }
        }
        let used = node.view().expect("100 entries").as_bytes().len();
        assert!(node.heap_bytes() < 3 * used, "{} for {used}", node.heap_bytes());
    }

    /// What has become small again gives its memory back.
    #[test]
    fn pops_give_memory_back() {
        let mut node = OpenNode::default();
        (0..1000).for_each(|_| node.push_front(Entry::Str(b"xxxxxx"), 8192));
        assert!(node.heap_bytes() > 8000);
        (0..990).for_each(|_| node.pop_front(|_| ()));
        assert!(node.heap_bytes() <= SHRUNK_MIN, "{}", node.heap_bytes());
    }
}
