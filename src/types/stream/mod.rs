//! Streams: a log of entries and the groups that read it.
//!
//! # For who writes or reads dumps
//!
//! Everything that a dump holds can be reached: [`Log::nodes`] are listpacks in Redis's form, [`Log::header`] is the
//! rest of the log, [`Stream::groups`] gives the groups by name, [`Group::pending`] their pending entries,
//! [`Group::consumers`] the consumers and what belongs to each. As commands: [`Log::iter`] gives the entries.
//!
//! From outside a stream is made by a [`StreamBuilder`], which refuses what no stream can be: first the nodes in
//! order, then the header, then each group: its pending entries by [`GroupBuilder::pending`], then its consumers,
//! each with its ids ([`GroupBuilder::owns`]).
//!
//! Invariants
//!   those of [`log`], [`node`] and [`group`]; a stream may be empty.

mod builder;
mod group;
mod id;
mod log;
pub mod node;
mod radix;

pub use builder::{GroupBuilder, StreamBuilder};
pub use group::{Consumer, ConsumerId, Group, Pending};
pub use id::{IdBuffer, ParsedId, Seq, StreamId};
pub use log::{AppendError, Bound, Log, LogHeader, Range, RangeBack, Trim};
pub use node::{EntryRef, Fields};

use super::{DataType, Value};
use crate::base::UnixMillis;
use std::collections::BTreeMap;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stream {
    log: Log,
    groups: BTreeMap<Box<[u8]>, Group>,
}

/// What a deletion means for groups to which the entry was delivered.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum References {
    /// It stays pending there.
    #[default]
    Keep,
    /// It is pending nowhere any more.
    Delete,
    /// It is deleted only if all groups have read and acknowledged it.
    Acked,
}

/// What became of an entry that was to be deleted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Removal {
    NotFound,
    Removed,
    /// Somebody may still need it.
    Referenced,
}

/// New entries for a consumer of a group.
pub struct Delivery {
    pub consumer: ConsumerId,
    pub count: Option<u64>,
    /// They are not pending afterwards.
    pub noack: bool,
    pub now: UnixMillis,
}

impl Stream {
    #[inline]
    pub fn log(&self) -> &Log {
        &self.log
    }

    #[inline]
    pub fn log_mut(&mut self) -> &mut Log {
        &mut self.log
    }

    /// In the order of their names.
    pub fn groups(&self) -> impl ExactSizeIterator<Item = (&[u8], &Group)> {
        self.groups.iter().map(|(name, group)| (&**name, group))
    }

    pub fn group(&self, name: &[u8]) -> Option<&Group> {
        self.groups.get(name)
    }

    /// A group, and the log that it reads.
    pub fn group_mut(&mut self, name: &[u8]) -> Option<(&Log, &mut Group)> {
        Some((&self.log, self.groups.get_mut(name)?))
    }

    /// Unless there is one of that name.
    pub fn create_group(&mut self, name: &[u8], group: Group) -> bool {
        if self.groups.contains_key(name) {
            return false;
        }
        self.groups.insert(name.into(), group);
        true
    }

    pub fn destroy_group(&mut self, name: &[u8]) -> Option<Group> {
        self.groups.remove(name)
    }

    /// How many entries a group has still to read, if that can be told.
    pub fn lag(&self, group: &Group) -> Option<i64> {
        if self.log.entries_added() == 0 {
            return Some(0);
        }
        let read = group.entries_read.filter(|_| !self.log.has_tombstone_from(group.last_id));
        let read = read.or_else(|| self.log.distance_from_first_ever(group.last_id))?;
        Some(self.log.entries_added().wrapping_sub(read) as i64)
    }

    /// Delivers the entries behind those that the group has read. `show` gets each.
    pub fn deliver(&mut self, group: &[u8], delivery: &Delivery, mut show: impl FnMut(&EntryRef<'_>)) -> u64 {
        let Self { log, groups } = self;
        let group = groups.get_mut(group).expect("the caller has looked it up");
        let Some(start) = group.last_id.next() else { return 0 };
        let mut count = 0;
        for entry in log.range(start, StreamId::MAX) {
            let known = group.entries_read.filter(|_| !log.has_tombstone_from(entry.id));
            match known {
                Some(read) => group.entries_read = Some(read + 1),
                None if log.entries_added() > 0 => {
                    group.entries_read = log.distance_from_first_ever(entry.id);
                }
                None => {}
            }
            group.last_id = entry.id;
            if !delivery.noack {
                group.deliver(entry.id, delivery.consumer, delivery.now);
            }
            show(&entry);
            count += 1;
            if delivery.count == Some(count) {
                break;
            }
        }
        if count > 0 {
            group.consumer_mut(delivery.consumer).active = Some(delivery.now);
        }
        count
    }

    // -- Deleting with regard to groups

    /// Whether a group has still to read or to acknowledge an entry.
    pub fn is_referenced(&self, id: StreamId) -> bool {
        is_referenced(&self.groups, id)
    }

    /// Makes an entry pending nowhere.
    fn forget(&mut self, id: StreamId) {
        for group in self.groups.values_mut() {
            group.forget(id);
        }
    }

    pub fn remove(&mut self, id: StreamId, references: References) -> Removal {
        if references == References::Acked && self.is_referenced(id) {
            return Removal::Referenced;
        }
        if references == References::Delete {
            self.forget(id);
        }
        if self.log.delete(id) { Removal::Removed } else { Removal::NotFound }
    }

    pub fn trim(&mut self, trim: Trim, references: References) -> u64 {
        let Self { log, groups } = self;
        match references {
            References::Keep => log.trim(trim),
            References::Delete => log.trim_where(trim, |id| {
                for group in groups.values_mut() {
                    group.forget(id);
                }
                true
            }),
            References::Acked => log.trim_where(trim, |id| !is_referenced(groups, id)),
        }
    }

    // -- What it costs

    /// The keys and the nodes that Redis's radix tree would have.
    pub fn radix_tree(&self) -> (u64, u64) {
        (self.log.nodes.len() as u64, radix::tree_nodes(self.log.nodes.keys().copied()))
    }

    pub fn heap_bytes(&self, samples: usize) -> usize {
        let nodes = self.log.nodes.len();
        let samples = if samples == 0 { nodes } else { samples.min(nodes) };
        let sampled: usize =
            self.log.nodes.values().take(samples).map(|node| node.listpack().heap_bytes()).sum();
        let packs =
            if samples == 0 { 0 } else { (sampled as u128 * nodes as u128 / samples as u128) as usize };
        // Nodes of a tree that grows at its end are half full.
        let index = nodes * (size_of::<StreamId>() + size_of::<node::Node>()) * 2;
        let groups: usize = self
            .groups
            .iter()
            .map(|(name, group)| name.len() + size_of::<Group>() + group.heap_bytes())
            .sum();
        size_of::<Self>() + packs + index + groups
    }

    pub fn free_effort(&self) -> usize {
        self.log.nodes.len() + self.groups.values().map(Group::free_effort).sum::<usize>()
    }

    pub fn free_slice(&mut self, budget: usize) -> usize {
        let mut freed = 0;
        while freed < budget && self.log.nodes.pop_first().is_some() {
            freed += 1;
        }
        while freed < budget
            && let Some(mut group) = self.groups.first_entry()
        {
            match group.get_mut().free_slice(budget - freed) {
                0 => {
                    group.remove();
                    freed += 1;
                }
                count => freed += count,
            }
        }
        freed
    }
}

fn is_referenced(groups: &BTreeMap<Box<[u8]>, Group>, id: StreamId) -> bool {
    groups.values().any(|group| id > group.last_id || group.pending_of(id).is_some())
}

impl DataType for Box<Stream> {
    fn of(value: &Value) -> Option<&Self> {
        if let Value::Stream(stream) = value { Some(stream) } else { None }
    }

    fn of_mut(value: &mut Value) -> Option<&mut Self> {
        if let Value::Stream(stream) = value { Some(stream) } else { None }
    }

    fn into_value(self) -> Value {
        Value::Stream(self)
    }
}

#[cfg(test)]
mod tests;
