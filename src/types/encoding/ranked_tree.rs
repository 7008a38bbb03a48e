//! Handles of members in the order of (score, member), with counts by rank: a B+ tree whose inner nodes know
//! how many members are below each child. Every question about ranks, scores or names is one descent:
//! [`RankedTree::partition_point`]; ranges are ranges of ranks.
//!
//! Members and scores belong to the [`MemberArena`] that every call is given; scores are kept here as well, so
//! that members are only looked at where scores are equal.
//!
//! Invariants
//!   T1  All leaves are at the same depth; none is empty but the root.
//!   T2  A child's `count`, `score` and `handle` are the number of members below it and the first of them.
//!   T3  Scores are no NaN, and the order of (score, member) is strict.

use super::member_arena::{Handle, MemberArena};
use std::cmp::Ordering;
use std::ops::{ControlFlow, Range};

#[cfg(not(test))]
const LEAF_MAX: usize = 63;
#[cfg(not(test))]
const FAN_MAX: usize = 64;
// Small in tests, so that trees get deep.
#[cfg(test)]
const LEAF_MAX: usize = 7;
#[cfg(test)]
const FAN_MAX: usize = 5;

/// Below this a node looks for a neighbour to join.
const LEAF_MIN: usize = LEAF_MAX / 4;
const FAN_MIN: usize = FAN_MAX / 4;

#[derive(Clone, Debug)]
pub struct RankedTree {
    root: Node,
    len: usize,
}

#[derive(Clone, Debug)]
enum Node {
    Leaf(Box<Leaf>),
    Inner(Box<Inner>),
}

#[derive(Clone, Debug)]
struct Leaf {
    scores: [f64; LEAF_MAX],
    handles: [Handle; LEAF_MAX],
    len: u8,
}

#[derive(Clone, Debug)]
struct Inner {
    children: Vec<Child>,
}

#[derive(Clone, Debug)]
struct Child {
    node: Node,
    count: usize,
    score: f64,
    handle: Handle,
}

/// Where an entry stands among all: decides where a full node is split.
#[derive(Clone, Copy)]
struct Edges {
    first: bool,
    last: bool,
}

impl Leaf {
    fn new() -> Box<Self> {
        Box::new(Self { scores: [0.0; LEAF_MAX], handles: [0; LEAF_MAX], len: 0 })
    }

    #[inline]
    fn len(&self) -> usize {
        usize::from(self.len)
    }

    fn insert(&mut self, at: usize, score: f64, handle: Handle) {
        let len = self.len();
        self.scores.copy_within(at..len, at + 1);
        self.handles.copy_within(at..len, at + 1);
        (self.scores[at], self.handles[at]) = (score, handle);
        self.len += 1;
    }

    fn remove(&mut self, at: usize) -> Handle {
        let removed = self.handles[at];
        let len = self.len();
        self.scores.copy_within(at + 1..len, at);
        self.handles.copy_within(at + 1..len, at);
        self.len -= 1;
        removed
    }

    /// Moves what stands from `at` on into a leaf of its own.
    fn split_off(&mut self, at: usize) -> Box<Self> {
        let mut upper = Self::new();
        let moved = self.len() - at;
        upper.scores[..moved].copy_from_slice(&self.scores[at..at + moved]);
        upper.handles[..moved].copy_from_slice(&self.handles[at..at + moved]);
        upper.len = moved as u8;
        self.len = at as u8;
        upper
    }

    fn append(&mut self, other: &Self) {
        let (len, more) = (self.len(), other.len());
        self.scores[len..len + more].copy_from_slice(&other.scores[..more]);
        self.handles[len..len + more].copy_from_slice(&other.handles[..more]);
        self.len += other.len;
    }
}

impl Child {
    fn new(node: Node) -> Self {
        let mut child = Self { node, count: 0, score: 0.0, handle: 0 };
        child.refresh();
        child
    }

    /// T2, after anything below has changed.
    fn refresh(&mut self) {
        (self.count, self.score, self.handle) = match &self.node {
            Node::Leaf(leaf) => (leaf.len(), leaf.scores[0], leaf.handles[0]),
            Node::Inner(inner) => {
                let count = inner.children.iter().map(|child| child.count).sum();
                inner.children.first().map_or((0, 0.0, 0), |first| (count, first.score, first.handle))
            }
        };
    }
}

/// Whether (score, handle's member) stands before (`score`, `member`).
#[inline]
fn is_before(arena: &MemberArena, score: f64, handle: Handle, key: (f64, &[u8])) -> bool {
    match score.partial_cmp(&key.0) {
        Some(Ordering::Less) => true,
        Some(Ordering::Equal) => arena.member(handle) < key.1,
        _ => false,
    }
}

impl Default for RankedTree {
    fn default() -> Self {
        Self { root: Node::Leaf(Leaf::new()), len: 0 }
    }
}

impl RankedTree {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The number of entries for which `before` is true; it must be true for the first ones and for them only.
    #[inline]
    pub fn partition_point(&self, mut before: impl FnMut(f64, Handle) -> bool) -> usize {
        let (mut node, mut rank) = (&self.root, 0);
        loop {
            match node {
                Node::Leaf(leaf) => {
                    let (mut low, mut high) = (0, leaf.len());
                    while low < high {
                        let middle = (low + high) / 2;
                        if before(leaf.scores[middle], leaf.handles[middle]) {
                            low = middle + 1;
                        } else {
                            high = middle;
                        }
                    }
                    return rank + low;
                }
                Node::Inner(inner) => {
                    let children = &inner.children;
                    let at = children.partition_point(|child| before(child.score, child.handle));
                    // The border is within the last child whose first entry stands before it.
                    let Some(at) = at.checked_sub(1) else { return rank };
                    rank += children[..at].iter().map(|child| child.count).sum::<usize>();
                    node = &children[at].node;
                }
            }
        }
    }

    /// How many entries stand before (score, member): its rank, if it is there.
    #[inline]
    pub fn rank(&self, arena: &MemberArena, score: f64, member: &[u8]) -> usize {
        self.partition_point(|other, handle| is_before(arena, other, handle, (score, member)))
    }

    /// Adds a handle whose (score, member) is not in the tree.
    pub fn insert(&mut self, arena: &MemberArena, handle: Handle) {
        let (score, member) = (arena.score(handle), arena.member(handle));
        debug_assert!(!score.is_nan(), "T3");
        let edges = Edges { first: true, last: true };
        let before = |other, handle| is_before(arena, other, handle, (score, member));
        let split = insert_below(&mut self.root, edges, &before, score, handle);
        self.len += 1;
        let Some(upper) = split else { return };
        let lower = std::mem::replace(&mut self.root, Node::Leaf(Leaf::new()));
        let mut children = Vec::with_capacity(FAN_MAX + 1);
        children.extend([Child::new(lower), Child::new(upper)]);
        self.root = Node::Inner(Box::new(Inner { children }));
    }

    /// Removes (score, member) and returns its handle.
    pub fn remove(&mut self, arena: &MemberArena, score: f64, member: &[u8]) -> Option<Handle> {
        let rank = self.rank(arena, score, member);
        let found = self.get(rank)?;
        (arena.score(found) == score && arena.member(found) == member).then(|| self.remove_at(rank))
    }

    /// The handle at a rank.
    pub fn get(&self, rank: usize) -> Option<Handle> {
        let (mut node, mut rank) = (&self.root, rank);
        loop {
            match node {
                Node::Leaf(leaf) => return leaf.handles[..leaf.len()].get(rank).copied(),
                Node::Inner(inner) => {
                    let mut children = inner.children.iter();
                    node = loop {
                        let child = children.next()?;
                        if rank < child.count {
                            break &child.node;
                        }
                        rank -= child.count;
                    };
                }
            }
        }
    }

    /// Removes the entry at a rank, which exists.
    pub fn remove_at(&mut self, rank: usize) -> Handle {
        assert!(rank < self.len, "no entry {rank} among {}", self.len);
        let removed = remove_below(&mut self.root, rank);
        self.len -= 1;
        // A root with one child is none; a leaf may stay empty.
        while let Node::Inner(inner) = &mut self.root
            && inner.children.len() == 1
        {
            let only = inner.children.pop().expect("one child");
            self.root = only.node;
        }
        removed
    }

    /// Visits the entries of a range of ranks in order, or from its end backwards, until told to stop.
    #[inline]
    pub fn visit(
        &self,
        range: Range<usize>,
        backwards: bool,
        mut visit: impl FnMut(f64, Handle) -> ControlFlow<()>,
    ) {
        debug_assert!(range.end <= self.len);
        if !range.is_empty() {
            let _ = visit_below(&self.root, range, backwards, &mut visit);
        }
    }

    pub fn heap_bytes(&self) -> usize {
        let (leaves, inners) = count_nodes(&self.root);
        let inner_bytes = size_of::<Inner>() + (FAN_MAX + 1) * size_of::<Child>();
        leaves * size_of::<Leaf>() + inners * inner_bytes
    }

    /// Pieces of memory, about.
    pub fn pieces(&self) -> usize {
        self.len / (LEAF_MAX / 2) + 1
    }

    /// Frees about `budget` pieces; what is left cannot be used any more.
    pub fn free_slice(&mut self, budget: usize) -> usize {
        let mut freed = 0;
        while freed < budget && free_last_leaf(&mut self.root) {
            freed += 1;
        }
        self.len = 0;
        freed
    }
}

/// Frees the last leaf below a node; false if there is none but the node itself.
fn free_last_leaf(node: &mut Node) -> bool {
    let Node::Inner(inner) = node else { return false };
    match inner.children.last_mut() {
        None => false,
        Some(last) => {
            if !free_last_leaf(&mut last.node) {
                inner.children.pop();
            }
            true
        }
    }
}

fn count_nodes(node: &Node) -> (usize, usize) {
    match node {
        Node::Leaf(_) => (1, 0),
        Node::Inner(inner) => inner.children.iter().fold((0, 1), |(leaves, inners), child| {
            let below = count_nodes(&child.node);
            (leaves + below.0, inners + below.1)
        }),
    }
}

/// Inserts below `node`; if it had to be split, its new right neighbour.
fn insert_below(
    node: &mut Node,
    edges: Edges,
    before: &impl Fn(f64, Handle) -> bool,
    score: f64,
    handle: Handle,
) -> Option<Node> {
    match node {
        Node::Leaf(leaf) => {
            let scores = &leaf.scores[..leaf.len()];
            let (mut low, mut high) = (0, scores.len());
            while low < high {
                let middle = (low + high) / 2;
                if before(scores[middle], leaf.handles[middle]) { low = middle + 1 } else { high = middle }
            }
            if leaf.len() < LEAF_MAX {
                leaf.insert(low, score, handle);
                return None;
            }
            // Scores that only grow (or fall) fill leaves to the brim: there the new one begins a leaf.
            let middle = match (edges, low) {
                (Edges { last: true, .. }, LEAF_MAX) => LEAF_MAX,
                (Edges { first: true, .. }, 0) => 0,
                _ => LEAF_MAX / 2,
            };
            let mut upper = leaf.split_off(middle);
            if low < middle || middle == 0 {
                leaf.insert(low, score, handle);
            } else {
                upper.insert(low - middle, score, handle);
            }
            Some(Node::Leaf(upper))
        }
        Node::Inner(inner) => {
            let children = &mut inner.children;
            let at = children.partition_point(|child| before(child.score, child.handle)).saturating_sub(1);
            let below = Edges { first: edges.first && at == 0, last: edges.last && at + 1 == children.len() };
            let child = &mut children[at];
            let split = insert_below(&mut child.node, below, before, score, handle);
            match split {
                None => {
                    child.count += 1;
                    // Only at the very front is the new entry the first one.
                    if before(child.score, child.handle) {
                        return None;
                    }
                    child.refresh();
                    return None;
                }
                Some(upper) => {
                    child.refresh();
                    children.insert(at + 1, Child::new(upper));
                }
            }
            if children.len() <= FAN_MAX {
                return None;
            }
            let middle = match below {
                Edges { last: true, .. } => FAN_MAX,
                Edges { first: true, .. } => 1,
                _ => children.len() / 2,
            };
            let mut upper = Vec::with_capacity(FAN_MAX + 1);
            upper.extend(children.drain(middle..));
            Some(Node::Inner(Box::new(Inner { children: upper })))
        }
    }
}

fn remove_below(node: &mut Node, rank: usize) -> Handle {
    match node {
        Node::Leaf(leaf) => leaf.remove(rank),
        Node::Inner(inner) => {
            let (mut at, mut rank) = (0, rank);
            while rank >= inner.children[at].count {
                rank -= inner.children[at].count;
                at += 1;
            }
            let removed = remove_below(&mut inner.children[at].node, rank);
            inner.children[at].refresh();
            inner.join_at(at);
            removed
        }
    }
}

impl Inner {
    /// Joins a child that has become small with a neighbour, if both fit well into one node.
    fn join_at(&mut self, at: usize) {
        let (size, least, most) = match &self.children[at].node {
            Node::Leaf(leaf) => (leaf.len(), LEAF_MIN, LEAF_MAX),
            Node::Inner(inner) => (inner.children.len(), FAN_MIN, FAN_MAX),
        };
        if size == 0 {
            self.children.remove(at);
            return;
        }
        if size > least {
            return;
        }
        let fits = |other: &Child| {
            let other = match &other.node {
                Node::Leaf(leaf) => leaf.len(),
                Node::Inner(inner) => inner.children.len(),
            };
            // With some room left, so that the next insertion does not split it again.
            other + size <= most * 3 / 4
        };
        let left = match at {
            _ if self.children.get(at + 1).is_some_and(fits) => at,
            1.. if fits(&self.children[at - 1]) => at - 1,
            _ => return,
        };
        let right = self.children.remove(left + 1);
        match (&mut self.children[left].node, right.node) {
            (Node::Leaf(left), Node::Leaf(right)) => left.append(&right),
            (Node::Inner(left), Node::Inner(mut right)) => left.children.append(&mut right.children),
            _ => unreachable!("T1: neighbours are of one kind"),
        }
        self.children[left].refresh();
    }
}

fn visit_below(
    node: &Node,
    range: Range<usize>,
    backwards: bool,
    visit: &mut impl FnMut(f64, Handle) -> ControlFlow<()>,
) -> ControlFlow<()> {
    match node {
        Node::Leaf(leaf) => {
            let mut entries = range.map(|at| (leaf.scores[at], leaf.handles[at]));
            if backwards {
                entries.rev().try_for_each(|(score, handle)| visit(score, handle))
            } else {
                entries.try_for_each(|(score, handle)| visit(score, handle))
            }
        }
        Node::Inner(inner) => {
            let within = |child: &Child, start: usize| {
                let clamp = |rank: usize| rank.clamp(start, start + child.count) - start;
                clamp(range.start)..clamp(range.end)
            };
            if backwards {
                let mut start = inner.children.iter().map(|child| child.count).sum();
                for child in inner.children.iter().rev() {
                    start -= child.count;
                    let range = within(child, start);
                    if !range.is_empty() {
                        visit_below(&child.node, range, true, visit)?;
                    }
                }
            } else {
                let mut start = 0;
                for child in &inner.children {
                    let range = within(child, start);
                    if !range.is_empty() {
                        visit_below(&child.node, range, false, visit)?;
                    }
                    start += child.count;
                }
            }
            ControlFlow::Continue(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// T1 and T2; the depth.
    fn check(node: &Node, is_root: bool) -> usize {
        match node {
            Node::Leaf(leaf) => {
                assert!(is_root || leaf.len() > 0, "T1");
                0
            }
            Node::Inner(inner) => {
                assert!(inner.children.len() > usize::from(is_root) && inner.children.len() <= FAN_MAX);
                let mut depths = inner.children.iter().map(|child| {
                    let mut fresh = child.clone();
                    fresh.refresh();
                    let same =
                        (fresh.count, fresh.score, fresh.handle) == (child.count, child.score, child.handle);
                    assert!(same, "T2");
                    check(&child.node, false)
                });
                let depth = depths.next().expect("a child");
                assert!(depths.all(|other| other == depth), "T1");
                depth + 1
            }
        }
    }

    proptest! {
        /// Against a sorted vector: few scores and members, so that there are ties.
        #[test]
        fn agrees_with_a_sorted_vector(
            steps in proptest::collection::vec((0..3_u8, -3..4_i32, 0..200_u8), 0..600),
            from in 0..300_usize, count in 0..100_usize,
        ) {
            let mut arena = MemberArena::default();
            let mut tree = RankedTree::default();
            let mut model: Vec<(i32, u8)> = Vec::new();
            for (what, score, member) in steps {
                let place = model.binary_search(&(score, member));
                match (what, place) {
                    (0 | 1, Err(place)) => {
                        let handle = arena.insert(f64::from(score), &[member]);
                        tree.insert(&arena, handle);
                        model.insert(place, (score, member));
                    }
                    (2, Ok(place)) => {
                        let handle = tree.remove(&arena, f64::from(score), &[member]).expect("it is there");
                        arena.remove(handle);
                        model.remove(place);
                    }
                    (2, Err(_)) => {
                        prop_assert_eq!(tree.remove(&arena, f64::from(score), &[member]), None);
                        if !model.is_empty() {
                            let rank = usize::from(member) % model.len();
                            let handle = tree.remove_at(rank);
                            prop_assert_eq!(arena.member(handle), &[model.remove(rank).1]);
                            arena.remove(handle);
                        }
                    }
                    (_, Ok(place)) => {
                        prop_assert_eq!(tree.rank(&arena, f64::from(score), &[member]), place);
                    }
                    _ => unreachable!(),
                }
                prop_assert_eq!(tree.len(), model.len());
            }
            check(&tree.root, true);
            for (rank, entry) in model.iter().enumerate() {
                let handle = tree.get(rank).expect("a rank");
                prop_assert_eq!((arena.score(handle) as i32, arena.member(handle)[0]), *entry);
            }
            prop_assert_eq!(tree.get(model.len()), None);
            let start = from.min(model.len());
            let range = start..(start + count).min(model.len());
            for backwards in [false, true] {
                let mut wanted = model[range.clone()].to_vec();
                if backwards {
                    wanted.reverse();
                }
                let mut seen = Vec::new();
                tree.visit(range.clone(), backwards, |score, handle| {
                    seen.push((score as i32, arena.member(handle)[0]));
                    ControlFlow::Continue(())
                });
                prop_assert_eq!(seen, wanted);
            }
        }
    }

    #[test]
    fn growing_scores_fill_the_leaves() {
        for factor in [1.0, -1.0] {
            let mut arena = MemberArena::default();
            let mut tree = RankedTree::default();
            for n in 0..1000_u32 {
                let handle = arena.insert(f64::from(n) * factor, &n.to_le_bytes());
                tree.insert(&arena, handle);
            }
            let depth = check(&tree.root, true);
            assert!(count_nodes(&tree.root).0 <= 1000 / LEAF_MAX + 1, "{:?}", count_nodes(&tree.root));
            assert!(depth <= 5, "{depth}");
            while tree.free_slice(3) > 0 {}
        }
    }
}
