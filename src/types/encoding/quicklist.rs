//! A long list: listpacks, none too large, one after the other.
//!
//! The nodes are handles of one word in a ring buffer, so finding the node of an index is a walk over neighbours
//! and pushing at either end moves nothing. An element too large for any node has one of its own. Nodes are not
//! compressed: `list-compress-depth` is accepted and changes nothing that a client can see but memory.
//!
//! A listpack moves all its bytes when an entry comes or goes at its front. So the front node is kept small while
//! things happen there: it grows to [`STAGE_BYTES`] and then joins the one behind it, and a large one loses a piece
//! of its front to a node of its own before entries are taken from it.
//!
//! Invariants
//!   Q1  No node is empty.
//!   Q2  `len` is the number of entries of all nodes.

use super::listpack::{Entry, Iter as PackIter, Listpack};
use std::collections::VecDeque;
use std::slice;

/// What `list-max-listpack-size` means.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NodeLimit {
    bytes: usize,
    entries: usize,
}

/// Nodes limited by count still stay within this.
const SAFE_BYTES: usize = 8192;
/// What Redis allows for the head and backlen of an element that it has not encoded yet.
const OVERHEAD_BYTES: usize = 8;
/// Redis keeps the limit in 16 bits with a sign.
const ENTRIES_MAX: i64 = (1 << 15) - 1;

impl NodeLimit {
    /// Positive: that many entries; negative: 4, 8, 16, 32 or 64 KiB for -1 to -5.
    pub fn new(list_max_listpack_size: i64) -> Self {
        match list_max_listpack_size {
            count @ 0.. => Self { bytes: SAFE_BYTES, entries: count.min(ENTRIES_MAX) as usize },
            class => Self { bytes: 4096 << (-(class.max(-5)) - 1), entries: usize::MAX },
        }
    }

    /// Whether a text of this length may join this node.
    #[inline]
    pub fn admits(self, node: &Listpack, length: usize) -> bool {
        node.bytes() + length + OVERHEAD_BYTES <= self.bytes
            && (self.entries == usize::MAX || node.len() < self.entries)
    }

    fn admits_both(self, one: &Listpack, other: &Listpack) -> bool {
        one.bytes() + other.bytes() <= self.bytes
            && (self.entries == usize::MAX || one.len() + other.len() <= self.entries)
    }
}

/// A front node of more bytes is not pushed to. A little less than a power of two: eight of them, with the last
/// small entry of each, fill a node of 8 KiB.
pub const STAGE_BYTES: usize = 1000;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    Front,
    Back,
}

#[derive(Clone, Debug, Default)]
pub struct Quicklist {
    nodes: VecDeque<Listpack>,
    len: usize,
}

/// Where an entry is: the number of its node and its position there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Place {
    node: usize,
    position: usize,
}

impl Quicklist {
    /// Nodes from elsewhere; empty ones are left out.
    pub fn from_nodes(nodes: impl IntoIterator<Item = Listpack>) -> Self {
        let nodes: VecDeque<Listpack> = nodes.into_iter().filter(|node| !node.is_empty()).collect();
        let len = nodes.iter().map(Listpack::len).sum();
        Self { nodes, len }
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    #[inline]
    pub fn nodes(&self) -> Nodes<'_> {
        let (front, back) = self.nodes.as_slices();
        Nodes { front, back }
    }

    /// The only node, if there is but one.
    pub fn into_only_node(mut self) -> Result<Listpack, Self> {
        if self.nodes.len() == 1 { Ok(self.nodes.pop_front().expect("one")) } else { Err(self) }
    }

    #[inline]
    pub fn push(&mut self, end: End, text: &[u8], limit: NodeLimit) {
        if end == End::Front && self.nodes.front().is_some_and(|front| front.bytes() > STAGE_BYTES) {
            self.leave_stage(limit);
            self.nodes.push_front(node_of(Entry::of(text)));
            self.len += 1;
            return;
        }
        let node = match end {
            End::Front => self.nodes.front_mut(),
            End::Back => self.nodes.back_mut(),
        };
        match (node, end) {
            (Some(node), End::Front) if limit.admits(node, text.len()) => node.push_front(text),
            (Some(node), End::Back) if limit.admits(node, text.len()) => node.push_back(text),
            (_, End::Front) => self.nodes.push_front(node_of(Entry::of(text))),
            (_, End::Back) => self.nodes.push_back(node_of(Entry::of(text))),
        }
        self.len += 1;
    }

    /// Removes the entry at an end, after showing it.
    #[inline]
    pub fn pop<R>(&mut self, end: End, show: impl FnOnce(Entry<'_>) -> R) -> Option<R> {
        if end == End::Front && self.nodes.front().is_some_and(|front| front.bytes() > 2 * STAGE_BYTES) {
            self.enter_stage();
        }
        let node = match end {
            End::Front => self.nodes.front_mut(),
            End::Back => self.nodes.back_mut(),
        }?;
        let position = match end {
            End::Front => node.first(),
            End::Back => node.last(),
        }
        .expect("Q1");
        let shown = show(node.at(position));
        node.delete(position);
        self.len -= 1;
        if node.is_empty() {
            match end {
                End::Front => self.nodes.pop_front(),
                End::Back => self.nodes.pop_back(),
            };
        }
        Some(shown)
    }

    /// The front node has grown: it joins the next one, if there is room.
    #[cold]
    fn leave_stage(&mut self, limit: NodeLimit) {
        if let Some(next) = self.nodes.get(1)
            && limit.admits_both(&self.nodes[0], next)
        {
            let mut front = self.nodes.pop_front().expect("more than one");
            front.append(&self.nodes[0]);
            self.nodes[0] = front;
        }
    }

    /// Cuts a piece off the large front node; less than a full stage, so that going to and fro costs nothing.
    #[cold]
    fn enter_stage(&mut self) {
        let front = &mut self.nodes[0];
        let (mut position, mut kept) = (front.first().expect("Q1"), 0);
        while position < STAGE_BYTES / 2 {
            position = front.next(position).unwrap_or(front.end());
            kept += 1;
        }
        if position < front.end() {
            let rest = front.split_off_behind(position, kept);
            self.nodes.insert(1, rest);
        }
    }

    pub fn seek(&self, index: usize) -> Option<Place> {
        self.nodes().seek(index, self.len)
    }

    /// Puts an entry before the one at `place`, or behind it.
    pub fn insert(&mut self, place: Place, behind: bool, entry: Entry<'_>, limit: NodeLimit) {
        let Place { node, position } = place;
        let target = &self.nodes[node];
        let position = if behind { target.next(position).unwrap_or(target.end()) } else { position };
        self.insert_at(node, position, entry, limit);
    }

    /// `position` may be the end of the node.
    fn insert_at(&mut self, node: usize, position: usize, entry: Entry<'_>, limit: NodeLimit) {
        let target = &self.nodes[node];
        let length = entry.encoded_bytes();
        let (at_front, at_back) = (Some(position) == target.first(), position == target.end());
        self.len += 1;
        if limit.admits(target, length) {
            self.nodes[node].insert(position, entry);
        } else if at_back && self.nodes.get(node + 1).is_some_and(|next| limit.admits(next, length)) {
            let next = &mut self.nodes[node + 1];
            next.insert(next.first().expect("Q1"), entry);
        } else if at_front && node > 0 && limit.admits(&self.nodes[node - 1], length) {
            let before = &mut self.nodes[node - 1];
            before.insert(before.end(), entry);
        } else if at_front || at_back {
            self.nodes.insert(node + usize::from(at_back), node_of(entry));
        } else {
            let tail = self.nodes[node].split_off(position);
            self.nodes.insert(node + 1, tail);
            let halves = [node, node + 1];
            match halves.into_iter().find(|&half| limit.admits(&self.nodes[half], length)) {
                Some(half) => {
                    let front_half = half == node;
                    let half = &mut self.nodes[half];
                    let position = if front_half { half.end() } else { half.first().expect("Q1") };
                    half.insert(position, entry);
                }
                None => self.nodes.insert(node + 1, node_of(entry)),
            }
            self.merge_around(node, limit);
        }
    }

    pub fn replace(&mut self, place: Place, entry: Entry<'_>, limit: NodeLimit) {
        let node = &mut self.nodes[place.node];
        let old = node.at(place.position).encoded_bytes();
        let new = entry.encoded_bytes();
        // A node that is large already may hold an element that is large alone.
        if new <= old || node.len() == 1 || node.bytes() - old + new <= limit.bytes {
            node.replace(place.position, entry);
        } else {
            // Q1: there are others in this node.
            node.delete(place.position);
            self.len -= 1;
            self.insert_at(place.node, place.position, entry, limit);
        }
    }

    /// Joins nodes that a split has left small.
    fn merge_around(&mut self, node: usize, limit: NodeLimit) {
        let first = node.saturating_sub(1);
        for left in (first..=node + 2).rev() {
            if left + 1 < self.nodes.len() && limit.admits_both(&self.nodes[left], &self.nodes[left + 1]) {
                let right = self.nodes.remove(left + 1).expect("looked at above");
                self.nodes[left].append(&right);
            }
        }
    }

    /// Removes entries from an end on; at most all.
    pub fn trim(&mut self, end: End, mut count: usize) {
        count = count.min(self.len);
        self.len -= count;
        while count > 0 {
            let node = match end {
                End::Front => self.nodes.front_mut(),
                End::Back => self.nodes.back_mut(),
            }
            .expect("Q2");
            let entries = node.len();
            if entries <= count {
                match end {
                    End::Front => self.nodes.pop_front(),
                    End::Back => self.nodes.pop_back(),
                };
                count -= entries;
            } else {
                let from = if end == End::Front { 0 } else { -(count as i64) };
                node.delete_range(from, count);
                count = 0;
            }
        }
    }

    /// Removes up to `most` entries equal to `text`, from one end on; returns how many.
    pub fn remove(&mut self, from: End, text: &[u8], most: usize) -> usize {
        let mut removed = 0;
        let numbers = 0..self.nodes.len();
        let mut emptied = false;
        for number in numbers {
            let number = if from == End::Front { number } else { self.nodes.len() - 1 - number };
            let node = &mut self.nodes[number];
            removed += remove_from(node, from, text, most - removed);
            emptied |= node.is_empty();
            if removed == most {
                break;
            }
        }
        self.len -= removed;
        if emptied {
            self.nodes.retain(|node| !node.is_empty());
        }
        removed
    }

    pub fn heap_bytes(&self, samples: usize) -> usize {
        let handles = self.nodes.capacity() * size_of::<Listpack>();
        let taken = if samples == 0 { self.nodes.len() } else { samples.min(self.nodes.len()) };
        if taken == 0 {
            return handles;
        }
        let sampled: usize = self.nodes.iter().take(taken).map(Listpack::heap_bytes).sum();
        handles + sampled * self.nodes.len() / taken
    }

    /// Frees up to `budget` nodes and returns how many.
    pub fn free_slice(&mut self, budget: usize) -> usize {
        let freed = budget.min(self.nodes.len());
        self.nodes.truncate(self.nodes.len() - freed);
        freed
    }
}

/// Removes up to `most` entries equal to `text` from one listpack, from one end on; returns how many.
pub fn remove_from(pack: &mut Listpack, from: End, text: &[u8], most: usize) -> usize {
    let mut removed = 0;
    match from {
        End::Front => {
            let mut position = pack.first();
            while removed < most
                && let Some(found) = pack.find(position, text, 0)
            {
                pack.delete(found);
                removed += 1;
                position = (found < pack.end()).then_some(found);
            }
        }
        End::Back => {
            let needle = Entry::of(text);
            let mut position = pack.last();
            while removed < most
                && let Some(here) = position
            {
                position = pack.prev(here);
                if pack.at(here) == needle {
                    pack.delete(here);
                    removed += 1;
                }
            }
        }
    }
    removed
}

fn node_of(entry: Entry<'_>) -> Listpack {
    let mut node = Listpack::new();
    node.insert(node.end(), entry);
    node
}

/// The nodes of a list, however they are kept.
#[derive(Clone, Copy, Debug)]
pub struct Nodes<'a> {
    front: &'a [Listpack],
    back: &'a [Listpack],
}

impl<'a> Nodes<'a> {
    pub fn of_one(node: &'a Listpack) -> Self {
        Self { front: slice::from_ref(node), back: &[] }
    }

    pub fn len(&self) -> usize {
        self.front.len() + self.back.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn iter(self) -> impl DoubleEndedIterator<Item = &'a Listpack> {
        self.front.iter().chain(self.back)
    }

    #[inline]
    fn get(self, number: usize) -> Option<&'a Listpack> {
        self.front.get(number).or_else(|| self.back.get(number - self.front.len()))
    }

    /// The place of an index among `len` entries; walks from the nearer end.
    fn seek(self, index: usize, len: usize) -> Option<Place> {
        if index >= len {
            return None;
        }
        if index <= len / 2 {
            let mut rest = index;
            for (number, node) in self.iter().enumerate() {
                let entries = node.len();
                if rest < entries {
                    return Some(Place { node: number, position: node.seek(rest as i64).expect("within") });
                }
                rest -= entries;
            }
        } else {
            let mut rest = len - 1 - index;
            let mut number = self.len();
            for node in self.iter().rev() {
                number -= 1;
                let entries = node.len();
                if rest < entries {
                    let position = node.seek(-1 - rest as i64).expect("within");
                    return Some(Place { node: number, position });
                }
                rest -= entries;
            }
        }
        None
    }

    /// The entries from an index on, towards the back.
    pub fn iter_from(self, index: usize, len: usize) -> Forward<'a> {
        match self.seek(index, len) {
            Some(Place { node, position }) => {
                let entries = self.get(node).expect("just found").iter_from(position);
                Forward { nodes: self, node, entries: Some(entries) }
            }
            None => Forward { nodes: self, node: 0, entries: None },
        }
    }

    /// The entries from an index on, towards the front.
    pub fn iter_back_from(self, index: usize, len: usize) -> Backward<'a> {
        match self.seek(index, len) {
            Some(Place { node, position }) => {
                let pack = self.get(node).expect("just found");
                let behind = pack.next(position).unwrap_or(pack.end());
                Backward { nodes: self, node, entries: Some(pack.iter_until(behind)) }
            }
            None => Backward { nodes: self, node: 0, entries: None },
        }
    }

    pub fn entry(self, index: usize, len: usize) -> Option<Entry<'a>> {
        let place = self.seek(index, len)?;
        Some(self.get(place.node)?.at(place.position))
    }
}

/// Entries towards the back.
pub struct Forward<'a> {
    nodes: Nodes<'a>,
    node: usize,
    entries: Option<PackIter<'a>>,
}

impl<'a> Iterator for Forward<'a> {
    type Item = Entry<'a>;

    #[inline]
    fn next(&mut self) -> Option<Entry<'a>> {
        loop {
            if let Some(entry) = self.entries.as_mut()?.next() {
                return Some(entry);
            }
            self.node += 1;
            self.entries = self.nodes.get(self.node).map(Listpack::iter);
        }
    }
}

/// Entries towards the front.
pub struct Backward<'a> {
    nodes: Nodes<'a>,
    node: usize,
    entries: Option<PackIter<'a>>,
}

impl<'a> Iterator for Backward<'a> {
    type Item = Entry<'a>;

    #[inline]
    fn next(&mut self) -> Option<Entry<'a>> {
        loop {
            if let Some(entry) = self.entries.as_mut()?.next_back() {
                return Some(entry);
            }
            self.node = self.node.checked_sub(1)?;
            self.entries = self.nodes.get(self.node).map(Listpack::iter);
        }
    }
}
