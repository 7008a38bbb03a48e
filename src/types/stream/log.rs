//! The entries of a stream: nodes by the id of their first entry, and what is remembered of entries that are gone.
//!
//! Invariants
//!   L1  `length` is the number of entries that are not deleted.
//!   L2  The ids of a node's entries lie between its own and the next node's, and none is above `last_id`.
//!   L3  No node is empty of live entries, but for the first after a trim by id that stopped in it.

use super::StreamId;
use super::node::{Backward, Deletion, EntryRef, Forward, Judgement, Node, NodeSummary};
use crate::types::EncodingLimits;
use crate::types::encoding::Listpack;
use crate::types::encoding::listpack::Damaged;
use std::collections::BTreeMap;
use std::collections::btree_map;

/// More than this no entry may hold, and no node.
pub const ENTRY_BYTES_MAX: usize = 1 << 30;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Log {
    pub(super) nodes: BTreeMap<StreamId, Node>,
    length: u64,
    last_id: StreamId,
    /// Of the first entry; zero if there is none.
    first_id: StreamId,
    max_deleted_id: StreamId,
    entries_added: u64,
}

/// Why an entry cannot be added.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AppendError {
    /// Its id is not above the last one.
    TooSmall,
    TooLarge,
}

/// How far a trim goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Bound {
    MaxLen(u64),
    MinId(StreamId),
}

/// What XADD and XTRIM cut off.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Trim {
    pub bound: Bound,
    /// Whole nodes only.
    pub approximate: bool,
    /// At most about so many entries; 0 for all.
    pub limit: u64,
}

/// What is known of a log beside its nodes, as dumps hold it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct LogHeader {
    pub length: u64,
    pub last_id: StreamId,
    pub first_id: StreamId,
    pub max_deleted_id: StreamId,
    pub entries_added: u64,
}

impl Log {
    #[inline]
    pub fn len(&self) -> u64 {
        self.length
    }

    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    #[inline]
    pub fn last_id(&self) -> StreamId {
        self.last_id
    }

    pub fn first_id(&self) -> StreamId {
        self.first_id
    }

    pub fn max_deleted_id(&self) -> StreamId {
        self.max_deleted_id
    }

    /// All entries ever added.
    pub fn entries_added(&self) -> u64 {
        self.entries_added
    }

    pub fn header(&self) -> LogHeader {
        LogHeader {
            length: self.length,
            last_id: self.last_id,
            first_id: self.first_id,
            max_deleted_id: self.max_deleted_id,
            entries_added: self.entries_added,
        }
    }

    /// The nodes as dumps hold them.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = (StreamId, &Listpack)> {
        self.nodes.iter().map(|(id, node)| (*id, node.listpack()))
    }

    /// XSETID.
    pub fn set_last_id(&mut self, id: StreamId) {
        self.last_id = id;
    }

    pub fn set_entries_added(&mut self, count: u64) {
        self.entries_added = count;
    }

    pub fn set_max_deleted_id(&mut self, id: StreamId) {
        self.max_deleted_id = id;
    }

    // -- Appending

    /// The id of an entry added at this time, unless none is left.
    #[inline]
    pub fn next_id(&self, now_ms: u64) -> Option<StreamId> {
        if now_ms > self.last_id.ms { Some(StreamId::new(now_ms, 0)) } else { self.last_id.next() }
    }

    #[inline]
    pub fn append<'f, F>(
        &mut self,
        id: StreamId,
        fields: F,
        limits: &EncodingLimits,
    ) -> Result<(), AppendError>
    where
        F: Iterator<Item = (&'f [u8], &'f [u8])> + Clone,
    {
        if id <= self.last_id {
            return Err(AppendError::TooSmall);
        }
        let bytes: usize = fields.clone().map(|(name, value)| name.len() + value.len()).sum();
        if bytes > ENTRY_BYTES_MAX {
            return Err(AppendError::TooLarge);
        }
        match self.nodes.last_entry() {
            Some(mut last) if has_room(last.get(), bytes, limits) => {
                let node_id = *last.key();
                last.get_mut().append(node_id, id, fields);
            }
            _ => {
                self.nodes.insert(id, Node::new(fields));
            }
        }
        self.length += 1;
        self.entries_added += 1;
        self.last_id = id;
        if self.length == 1 {
            self.first_id = id;
        }
        Ok(())
    }

    // -- Looking

    /// The node in which an id would be.
    fn node_of(&self, id: StreamId) -> Option<(StreamId, &Node)> {
        self.nodes.range(..=id).next_back().map(|(id, node)| (*id, node))
    }

    /// Entries with ids from `start` to `end`, in order.
    pub fn range(&self, start: StreamId, end: StreamId) -> Range<'_> {
        let first = self.node_of(start).map_or(start, |(id, _)| id);
        Range { nodes: self.nodes.range(first..), node: None, start, end }
    }

    /// The same from the end.
    pub fn range_back(&self, start: StreamId, end: StreamId) -> RangeBack<'_> {
        RangeBack { nodes: self.nodes.range(..=end), node: None, start, end }
    }

    pub fn iter(&self) -> Range<'_> {
        self.range(StreamId::MIN, StreamId::MAX)
    }

    pub fn get(&self, id: StreamId) -> Option<EntryRef<'_>> {
        self.range(id, id).next()
    }

    pub fn first(&self) -> Option<EntryRef<'_>> {
        self.iter().next()
    }

    pub fn last(&self) -> Option<EntryRef<'_>> {
        self.range_back(StreamId::MIN, StreamId::MAX).next()
    }

    // -- Deleting

    pub fn delete(&mut self, id: StreamId) -> bool {
        let Some((node_id, node)) = self.nodes.range_mut(..=id).next_back() else { return false };
        let node_id = *node_id;
        match node.delete(node_id, id) {
            Deletion::NotFound => return false,
            Deletion::Deleted => {}
            Deletion::Emptied => {
                self.nodes.remove(&node_id);
            }
        }
        self.length -= 1;
        self.max_deleted_id = self.max_deleted_id.max(id);
        if self.length == 0 || id == self.first_id {
            self.find_first();
        }
        true
    }

    fn find_first(&mut self) {
        self.first_id = self.first().map_or(StreamId::MIN, |entry| entry.id);
    }

    /// Cuts off the oldest entries; returns how many.
    pub fn trim(&mut self, trim: Trim) -> u64 {
        let mut deleted = 0;
        while let Some(mut first) = self.nodes.first_entry() {
            if matches!(trim.bound, Bound::MaxLen(length) if self.length <= length) {
                break;
            }
            let node_id = *first.key();
            let live = first.get().live();
            if trim.limit > 0 && deleted + live > trim.limit {
                break;
            }
            let whole = match trim.bound {
                Bound::MaxLen(length) => self.length - live >= length,
                Bound::MinId(id) => first.get().last_id(node_id) < id,
            };
            if whole {
                first.remove();
                self.length -= live;
                deleted += live;
                continue;
            }
            if trim.approximate {
                break;
            }
            let mut left = self.length;
            let (count, _) = first.get_mut().delete_where(node_id, |id, is_deleted| {
                let stop = match trim.bound {
                    Bound::MaxLen(length) => left <= length,
                    Bound::MinId(bound) => id >= bound,
                };
                match (stop, is_deleted) {
                    (true, _) => Judgement::Stop,
                    (false, true) => Judgement::Keep,
                    (false, false) => {
                        left -= 1;
                        Judgement::Delete
                    }
                }
            });
            self.length -= count;
            deleted += count;
            break;
        }
        if deleted > 0 {
            self.find_first();
        }
        deleted
    }

    /// [`Log::trim`] where each entry is asked for before it goes: `may_go` may keep it. An entry that is kept does
    /// not count as cut off, and those behind it are looked at all the same. As in Redis, a trim that may be
    /// approximate is exact here, but for its limit, which counts nodes.
    pub fn trim_where(&mut self, trim: Trim, mut may_go: impl FnMut(StreamId) -> bool) -> u64 {
        let mut deleted = 0;
        let mut next = StreamId::MIN;
        while let Some((node_id, node)) = self.nodes.range_mut(next..).next() {
            let (node_id, live) = (*node_id, node.live());
            let done = match trim.bound {
                Bound::MaxLen(length) => self.length <= length,
                Bound::MinId(id) => node_id >= id,
            };
            if done || trim.limit > 0 && deleted + live > trim.limit {
                break;
            }
            let mut left = self.length;
            let (count, result) = node.delete_where(node_id, |id, is_deleted| {
                let stop = match trim.bound {
                    Bound::MaxLen(length) => left <= length,
                    Bound::MinId(bound) => id >= bound,
                };
                if stop {
                    Judgement::Stop
                } else if is_deleted || !may_go(id) {
                    Judgement::Keep
                } else {
                    left -= 1;
                    Judgement::Delete
                }
            });
            if result == Deletion::Emptied {
                self.nodes.remove(&node_id);
            }
            self.length -= count;
            deleted += count;
            let Some(behind) = node_id.next() else { break };
            next = behind;
        }
        if deleted > 0 {
            self.find_first();
        }
        deleted
    }

    // -- How far somebody has read

    /// Whether an entry was deleted among those from an id on.
    pub(super) fn has_tombstone_from(&self, start: StreamId) -> bool {
        self.length > 0 && self.max_deleted_id > StreamId::MIN && start <= self.max_deleted_id
    }

    /// How many entries had been added when this one was, if that can be told.
    pub fn distance_from_first_ever(&self, id: StreamId) -> Option<u64> {
        if self.entries_added == 0 {
            return Some(0);
        }
        if self.length == 0 && id <= self.last_id {
            return Some(self.entries_added);
        }
        if id != StreamId::MIN && id < self.max_deleted_id || id > self.last_id {
            return None;
        }
        if id == self.last_id {
            return Some(self.entries_added);
        }
        if self.max_deleted_id == StreamId::MIN || self.max_deleted_id < self.first_id {
            if id < self.first_id {
                return Some(self.entries_added.wrapping_sub(self.length));
            }
            if id == self.first_id {
                return Some(self.entries_added.wrapping_sub(self.length).wrapping_add(1));
            }
        }
        None
    }

    // -- Coming from a dump

    /// Adds a node at the end, from outside.
    pub(super) fn push_node(&mut self, id: StreamId, pack: Listpack) -> Result<NodeSummary, Damaged> {
        let (node, summary) = Node::from_listpack(id, pack)?;
        if !self.nodes.is_empty() && id <= self.last_id {
            return Err(Damaged);
        }
        self.nodes.insert(id, node);
        self.last_id = summary.last;
        self.length += summary.live;
        Ok(summary)
    }

    pub(super) fn set_header(&mut self, header: LogHeader) -> Result<(), Damaged> {
        let nodes_end = if self.nodes.is_empty() { StreamId::MIN } else { self.last_id };
        if header.length != self.length || header.last_id < nodes_end {
            return Err(Damaged);
        }
        self.last_id = header.last_id;
        self.max_deleted_id = header.max_deleted_id;
        self.entries_added = header.entries_added;
        self.find_first();
        Ok(())
    }
}

#[inline]
fn has_room(node: &Node, bytes: usize, limits: &EncodingLimits) -> bool {
    let bytes_max = match limits.stream_node_max_bytes {
        0 => ENTRY_BYTES_MAX,
        bytes_max => bytes_max.min(ENTRY_BYTES_MAX),
    };
    let entries_max = limits.stream_node_max_entries as u64;
    node.bytes() + bytes < bytes_max && (entries_max == 0 || node.entries() < entries_max)
}

/// Entries in order.
pub struct Range<'a> {
    nodes: btree_map::Range<'a, StreamId, Node>,
    node: Option<Forward<'a>>,
    start: StreamId,
    end: StreamId,
}

impl<'a> Iterator for Range<'a> {
    type Item = EntryRef<'a>;

    fn next(&mut self) -> Option<EntryRef<'a>> {
        loop {
            let Some(node) = &mut self.node else {
                let (id, node) = self.nodes.next().filter(|(id, _)| **id <= self.end)?;
                self.node = Some(node.forward(*id));
                continue;
            };
            match node.next() {
                None => self.node = None,
                Some(placed) if placed.entry.id > self.end => return None,
                Some(placed) if placed.entry.id < self.start || placed.is_deleted() => {}
                Some(placed) => return Some(placed.entry),
            }
        }
    }
}

/// Entries from the last one on.
pub struct RangeBack<'a> {
    nodes: btree_map::Range<'a, StreamId, Node>,
    node: Option<Backward<'a>>,
    start: StreamId,
    end: StreamId,
}

impl<'a> Iterator for RangeBack<'a> {
    type Item = EntryRef<'a>;

    fn next(&mut self) -> Option<EntryRef<'a>> {
        loop {
            let Some(node) = &mut self.node else {
                let (id, node) = self.nodes.next_back()?;
                self.node = Some(node.backward(*id));
                continue;
            };
            match node.next() {
                None => self.node = None,
                Some(placed) if placed.entry.id < self.start => return None,
                Some(placed) if placed.entry.id > self.end || placed.is_deleted() => {}
                Some(placed) => return Some(placed.entry),
            }
        }
    }
}
