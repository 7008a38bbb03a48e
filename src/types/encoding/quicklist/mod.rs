//! A long list: listpacks, none too large, one after the other.
//!
//! The nodes are handles of one word in a ring buffer, so finding the node of an index is a walk over neighbours
//! and pushing at either end moves nothing. An element too large for any node has one of its own.
//!
//! A listpack moves all its bytes when an entry comes or goes at its front. So the front node is *open* while things
//! happen there: a copy with room around it (`open_node.rs`). Full, it becomes a node as any other; and the first pop
//! from a list's front opens the node there. Whatever else changes the list closes it first.
//!
//! With `list-compress-depth` nodes that are further from both ends are kept compressed (`node.rs`). Reading one
//! unpacks a copy; changing one unpacks it and compresses it again.
//!
//! Invariants
//!   Q1  No node is empty.
//!   Q2  `len` is the number of entries of all nodes.
//!   Q3  If `depth` is 0 all nodes are plain; else at least the first `depth` and the last `depth` are. The open node
//!       counts as the first.

mod node;
mod nodes;
mod open_node;

pub use node::{Content, Node};
pub use nodes::{NodeRef, Nodes};

use super::listpack::{Entry, Listpack, Pack};
use open_node::OpenNode;
use std::collections::VecDeque;
use std::ops::Range;

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

    /// Whether a text of this length may join this listpack.
    #[inline]
    pub fn admits(self, pack: Pack<'_>, length: usize) -> bool {
        self.admits_into(pack.as_bytes().len(), || pack.len(), length)
    }

    #[inline]
    fn admits_to(self, node: &Node, length: usize) -> bool {
        self.admits_into(node.bytes(), || node.len(), length)
    }

    #[inline]
    fn admits_into(self, bytes: usize, entries: impl FnOnce() -> usize, length: usize) -> bool {
        bytes + length + OVERHEAD_BYTES <= self.bytes
            && (self.entries == usize::MAX || entries() < self.entries)
    }

    fn admits_both(self, one: &Node, other: &Node) -> bool {
        one.bytes() + other.bytes() <= self.bytes
            && (self.entries == usize::MAX || one.len() + other.len() <= self.entries)
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    Front,
    Back,
}

impl End {
    pub fn other(self) -> Self {
        match self {
            Self::Front => Self::Back,
            Self::Back => Self::Front,
        }
    }
}

#[derive(Clone, Debug, Default)]
pub struct Quicklist {
    open: OpenNode,
    nodes: VecDeque<Node>,
    len: usize,
    /// Nodes at each end that are never compressed; 0 if none is.
    depth: u16,
}

/// Where an entry is: the number of its node and its index there, from the back if it is negative. Only of a list
/// whose open node is closed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Place {
    node: usize,
    index: i64,
}

impl Quicklist {
    /// Nodes from elsewhere; empty ones are left out. `depth` is `list-compress-depth`.
    pub fn from_nodes(nodes: impl IntoIterator<Item = Listpack>, depth: usize) -> Self {
        let nodes: VecDeque<Node> =
            nodes.into_iter().filter(|node| !node.is_empty()).map(Node::new).collect();
        let len = nodes.iter().map(Node::len).sum();
        let depth = u16::try_from(depth).unwrap_or(u16::MAX);
        let mut list = Self { open: OpenNode::default(), nodes, len, depth };
        list.compress_inner(0..usize::MAX);
        list
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Nodes at each end that are never compressed; 0 if none is.
    pub fn depth(&self) -> usize {
        usize::from(self.depth)
    }

    #[inline]
    pub fn nodes(&self) -> Nodes<'_> {
        let (front, back) = self.nodes.as_slices();
        Nodes { open: self.open.view(), front, back }
    }

    /// The only node, if there is but one.
    pub fn into_only_node(mut self) -> Result<Listpack, Self> {
        self.close();
        if self.nodes.len() == 1 {
            Ok(self.nodes.pop_front().expect("one").into_listpack())
        } else {
            Err(self)
        }
    }

    #[inline]
    pub fn push(&mut self, end: End, text: &[u8], limit: NodeLimit) {
        match end {
            End::Front => match self.open.view() {
                Some(pack) if limit.admits(pack, text.len()) => {
                    self.open.push_front(Entry::of(text), limit.bytes);
                }
                _ => self.push_front_node(text, limit),
            },
            End::Back => match self.nodes.back_mut() {
                // Q3: it is plain.
                Some(node) if limit.admits_to(node, text.len()) => node.expand().push_back(text),
                _ => self.push_back_node(text),
            },
        }
        self.len += 1;
    }

    #[inline(never)]
    fn push_front_node(&mut self, text: &[u8], limit: NodeLimit) {
        let entry = Entry::of(text);
        self.close();
        match self.nodes.front() {
            Some(front) if limit.admits_to(front, text.len()) => {
                self.open_front();
                return self.open.push_front(entry, limit.bytes);
            }
            _ if entry.encoded_bytes() + OVERHEAD_BYTES > limit.bytes => {
                self.nodes.push_front(Node::of(entry))
            }
            _ => self.open.push_front(entry, limit.bytes),
        }
        self.settle_end(End::Front);
    }

    #[inline(never)]
    fn push_back_node(&mut self, text: &[u8]) {
        self.nodes.push_back(Node::of(Entry::of(text)));
        self.settle_end(End::Back);
    }

    /// Removes the entry at an end, after showing it.
    #[inline]
    pub fn pop<R>(&mut self, end: End, show: impl FnOnce(Entry<'_>) -> R) -> Option<R> {
        if self.len == 0 {
            return None;
        }
        self.len -= 1;
        let shown = match end {
            End::Front => {
                if self.open.is_empty() {
                    self.open_front();
                }
                let shown = self.open.pop_front(show);
                if self.open.is_empty() {
                    self.settle_end(End::Front);
                }
                shown
            }
            End::Back => match self.nodes.back_mut() {
                None => self.open.pop_back(show),
                Some(node) => {
                    // Q3: it is plain.
                    let node = node.expand();
                    let position = node.last().expect("Q1");
                    let shown = show(node.at(position));
                    node.delete(position);
                    if node.is_empty() {
                        self.nodes.pop_back();
                        self.settle_end(End::Back);
                    }
                    shown
                }
            },
        };
        Some(shown)
    }

    /// The front node becomes the open one.
    #[inline(never)]
    fn open_front(&mut self) {
        let mut front = self.nodes.pop_front().expect("Q2: the entries are somewhere");
        self.open = OpenNode::of(front.expand().view());
    }

    /// The open node becomes one as any other.
    #[inline]
    fn close(&mut self) {
        if let Some(node) = self.open.take() {
            self.nodes.push_front(Node::new(node));
        }
    }

    // -- The depth

    /// Q3, and the nodes that an end has pushed inwards compressed.
    #[inline]
    fn settle_end(&mut self, end: End) {
        if self.depth > 0 {
            let (depth, total) = (usize::from(self.depth), self.nodes().len());
            match end {
                End::Front => self.compress_inner(depth..depth + 1),
                End::Back => self.compress_inner(total.saturating_sub(depth + 1)..total),
            }
        }
    }

    /// Q3, and these nodes compressed, and those next to the outer ones, all as far as they are inner ones.
    #[inline]
    fn settle(&mut self, near: Range<usize>) {
        if self.depth > 0 {
            self.compress_inner(near);
            self.settle_end(End::Front);
            self.settle_end(End::Back);
        }
    }

    #[cold]
    #[inline(never)]
    fn compress_inner(&mut self, near: Range<usize>) {
        if self.depth == 0 {
            return;
        }
        // The open node has a number and no place in the ring.
        let open = usize::from(!self.open.is_empty());
        let (depth, total) = (usize::from(self.depth), open + self.nodes.len());
        let (first, end) = (depth, total.saturating_sub(depth));
        for number in (open..depth.min(total)).chain(end.max(open)..total) {
            self.nodes[number - open].expand();
        }
        for number in near.start.max(first)..near.end.min(end) {
            self.nodes[number - open].compress();
        }
    }

    // -- Anywhere in the list

    pub fn seek(&mut self, index: usize) -> Option<Place> {
        self.close();
        let (node, index) = self.nodes().seek(index, self.len)?;
        Some(Place { node, index })
    }

    /// The node of a place, plain, and the position there.
    fn enter(&mut self, place: Place) -> (&mut Listpack, usize) {
        let node = self.nodes[place.node].expand();
        let position = node.seek(place.index).expect("a place of this list");
        (node, position)
    }

    /// Puts an entry before the one at `place`, or behind it.
    pub fn insert(&mut self, place: Place, behind: bool, entry: Entry<'_>, limit: NodeLimit) {
        let (target, position) = self.enter(place);
        let position = if behind { target.next(position).unwrap_or(target.end()) } else { position };
        self.insert_at(place.node, position, entry, limit);
    }

    /// `position` may be the end of the node, which is plain.
    fn insert_at(&mut self, node: usize, position: usize, entry: Entry<'_>, limit: NodeLimit) {
        let target = self.nodes[node].expand();
        let length = entry.encoded_bytes();
        let (at_front, at_back) = (Some(position) == target.first(), position == target.end());
        self.len += 1;
        if limit.admits(target.view(), length) {
            target.insert(position, entry);
        } else if at_back && self.nodes.get(node + 1).is_some_and(|next| limit.admits_to(next, length)) {
            self.nodes[node + 1].expand().insert_first(entry);
        } else if at_front && node > 0 && limit.admits_to(&self.nodes[node - 1], length) {
            let before = self.nodes[node - 1].expand();
            before.insert(before.end(), entry);
        } else if at_front || at_back {
            self.nodes.insert(node + usize::from(at_back), Node::of(entry));
        } else {
            let tail = self.nodes[node].expand().split_off(position);
            self.nodes.insert(node + 1, Node::new(tail));
            let halves = [node, node + 1];
            match halves.into_iter().find(|&half| limit.admits_to(&self.nodes[half], length)) {
                Some(half) => {
                    let front_half = half == node;
                    let half = self.nodes[half].expand();
                    if front_half {
                        half.insert(half.end(), entry)
                    } else {
                        half.insert_first(entry)
                    };
                }
                None => self.nodes.insert(node + 1, Node::of(entry)),
            }
            self.merge_around(node, limit);
        }
        self.settle(node.saturating_sub(1)..node + 4);
    }

    pub fn replace(&mut self, place: Place, entry: Entry<'_>, limit: NodeLimit) {
        let (node, position) = self.enter(place);
        let old = node.at(position).encoded_bytes();
        let new = entry.encoded_bytes();
        // A node that is large already may hold an element that is large alone.
        if new <= old || node.len() == 1 || node.bytes() - old + new <= limit.bytes {
            node.replace(position, entry);
            self.settle(place.node..place.node + 1);
        } else {
            // Q1: there are others in this node.
            node.delete(position);
            self.len -= 1;
            self.insert_at(place.node, position, entry, limit);
        }
    }

    /// Joins nodes that a split has left small.
    fn merge_around(&mut self, node: usize, limit: NodeLimit) {
        let first = node.saturating_sub(1);
        for left in (first..=node + 2).rev() {
            if left + 1 < self.nodes.len() && limit.admits_both(&self.nodes[left], &self.nodes[left + 1]) {
                let mut right = self.nodes.remove(left + 1).expect("looked at above");
                self.nodes[left].expand().append(right.expand());
            }
        }
    }

    /// Removes entries from an end on; at most all.
    pub fn trim(&mut self, end: End, mut count: usize) {
        count = count.min(self.len);
        self.len -= count;
        while count > 0 {
            let has_open = !self.open.is_empty();
            let use_open = has_open && (end == End::Front || self.nodes.is_empty());
            let entries = match (use_open, end) {
                (true, _) => self.open.view().map_or(0, Pack::len),
                (false, End::Front) => self.nodes.front().expect("Q2").len(),
                (false, End::Back) => self.nodes.back().expect("Q2").len(),
            };
            match (use_open, end) {
                (true, _) if entries <= count => self.open.clear(),
                (true, End::Front) => self.open.drop_front(count),
                (true, End::Back) => self.open.drop_back(count),
                (false, End::Front) if entries <= count => drop(self.nodes.pop_front()),
                (false, End::Back) if entries <= count => drop(self.nodes.pop_back()),
                (false, End::Front) => {
                    self.nodes[0].expand().delete_range(0, count);
                }
                (false, End::Back) => {
                    let last = self.nodes.len() - 1;
                    self.nodes[last].expand().delete_range(-(count as i64), count);
                }
            }
            count -= entries.min(count);
        }
        self.settle(0..0);
    }

    /// Removes up to `most` entries equal to `text`, from one end on; returns how many.
    pub fn remove(&mut self, from: End, text: &[u8], most: usize) -> usize {
        self.close();
        let mut removed = 0;
        let mut emptied = false;
        let mut scratch = Vec::new();
        for number in 0..self.nodes.len() {
            let number = if from == End::Front { number } else { self.nodes.len() - 1 - number };
            if removed == most {
                break;
            }
            let node = &mut self.nodes[number];
            let compressed = node.is_compressed();
            if compressed {
                let pack = node.read(&mut scratch);
                if pack.find(pack.first(), text, 0).is_none() {
                    continue;
                }
            }
            let pack = node.expand();
            removed += remove_from(pack, from, text, most - removed);
            emptied |= pack.is_empty();
            if compressed {
                node.compress();
            }
        }
        self.len -= removed;
        if emptied {
            self.nodes.retain(|node| !node.is_empty());
        }
        self.settle(0..0);
        removed
    }

    pub fn heap_bytes(&self, samples: usize) -> usize {
        let handles = self.nodes.capacity() * size_of::<Node>() + self.open.heap_bytes();
        let taken = if samples == 0 { self.nodes.len() } else { samples.min(self.nodes.len()) };
        if taken == 0 {
            return handles;
        }
        let sampled: usize = self.nodes.iter().take(taken).map(Node::heap_bytes).sum();
        handles + sampled * self.nodes.len() / taken
    }

    /// Frees up to `budget` nodes and returns how many.
    pub fn free_slice(&mut self, budget: usize) -> usize {
        let freed = budget.min(self.nodes.len());
        self.nodes.truncate(self.nodes.len() - freed);
        if freed < budget && !self.open.is_empty() {
            self.open.clear();
            return freed + 1;
        }
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
