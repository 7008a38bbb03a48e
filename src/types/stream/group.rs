//! A consumer group: how far it has read, who of its consumers has been given what, and what of that is pending.
//!
//! Invariants
//!   G1  A pending entry belongs to one consumer of the group, and its id is in that consumer's set; nothing else
//!       is in such a set.
//!   G2  A consumer's place in `slots` is its own until it is deleted; `free` are the others.

use super::StreamId;
use crate::base::UnixMillis;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Names a consumer within its group.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ConsumerId(u32);

/// An entry that was delivered and not acknowledged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Pending {
    pub consumer: ConsumerId,
    pub delivered: UnixMillis,
    pub deliveries: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Consumer {
    name: Arc<[u8]>,
    /// When it last asked for anything.
    pub seen: UnixMillis,
    /// When it was last given anything.
    pub active: Option<UnixMillis>,
    pending: BTreeSet<StreamId>,
}

impl Consumer {
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// The ids of what is pending.
    pub fn pending(&self) -> &BTreeSet<StreamId> {
        &self.pending
    }
}

#[derive(Clone, Debug, Default)]
pub struct Group {
    /// The last entry that was delivered.
    pub last_id: StreamId,
    /// How many entries had been added when that was, if that is known.
    pub entries_read: Option<u64>,
    pending: BTreeMap<StreamId, Pending>,
    names: BTreeMap<Arc<[u8]>, ConsumerId>,
    slots: Vec<Option<Consumer>>,
    free: Vec<ConsumerId>,
}

/// Whichever slots the consumers have.
impl PartialEq for Group {
    fn eq(&self, other: &Self) -> bool {
        let pending = |group: &Self| {
            let of = |(id, pending): (&StreamId, &Pending)| {
                let name = group.consumer(pending.consumer).name.clone();
                (*id, name, pending.delivered, pending.deliveries)
            };
            group.pending.iter().map(of).collect::<Vec<_>>()
        };
        self.last_id == other.last_id
            && self.entries_read == other.entries_read
            && self.consumers().eq(other.consumers())
            && pending(self) == pending(other)
    }
}

impl Group {
    pub fn new(last_id: StreamId, entries_read: Option<u64>) -> Self {
        Self { last_id, entries_read, ..Self::default() }
    }

    // -- Consumers

    pub fn find(&self, name: &[u8]) -> Option<ConsumerId> {
        self.names.get(name).copied()
    }

    pub fn consumer(&self, id: ConsumerId) -> &Consumer {
        self.slots[id.0 as usize].as_ref().expect("G2")
    }

    pub fn consumer_mut(&mut self, id: ConsumerId) -> &mut Consumer {
        self.slots[id.0 as usize].as_mut().expect("G2")
    }

    /// In the order of their names.
    pub fn consumers(&self) -> impl ExactSizeIterator<Item = &Consumer> {
        self.names.values().map(|id| self.consumer(*id))
    }

    pub fn create(&mut self, name: &[u8], now: UnixMillis) -> ConsumerId {
        debug_assert!(self.find(name).is_none());
        let id = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            ConsumerId(u32::try_from(self.slots.len() - 1).expect("fewer consumers"))
        });
        let name: Arc<[u8]> = name.into();
        self.slots[id.0 as usize] =
            Some(Consumer { name: Arc::clone(&name), seen: now, active: None, pending: BTreeSet::new() });
        self.names.insert(name, id);
        id
    }

    /// Deletes a consumer with what is pending for it; returns how much that was.
    pub fn delete(&mut self, id: ConsumerId) -> usize {
        let consumer = self.slots[id.0 as usize].take().expect("G2");
        self.names.remove(&consumer.name);
        self.free.push(id);
        for id in &consumer.pending {
            self.pending.remove(id);
        }
        consumer.pending.len()
    }

    // -- What is pending

    pub fn pending(&self) -> &BTreeMap<StreamId, Pending> {
        &self.pending
    }

    pub fn pending_of(&self, id: StreamId) -> Option<&Pending> {
        self.pending.get(&id)
    }

    /// An entry was delivered to a consumer for the first time, as far as this group goes: whatever was pending
    /// for another begins anew.
    pub fn deliver(&mut self, id: StreamId, consumer: ConsumerId, now: UnixMillis) {
        self.assign(id, Pending { consumer, delivered: now, deliveries: 1 });
    }

    /// Makes an entry pending, in whatever state it was.
    pub fn assign(&mut self, id: StreamId, pending: Pending) {
        let old = match self.pending.entry(id) {
            Entry::Vacant(vacant) => {
                vacant.insert(pending);
                None
            }
            Entry::Occupied(mut occupied) => Some(occupied.insert(pending).consumer),
        };
        if old != Some(pending.consumer) {
            if let Some(old) = old {
                self.consumer_mut(old).pending.remove(&id);
            }
            self.consumer_mut(pending.consumer).pending.insert(id);
        }
    }

    /// One more delivery to whom it belongs.
    pub fn deliver_again(&mut self, id: StreamId, now: UnixMillis) {
        if let Some(pending) = self.pending.get_mut(&id) {
            pending.delivered = now;
            pending.deliveries = pending.deliveries.wrapping_add(1);
        }
    }

    /// Acknowledged, or gone.
    pub fn forget(&mut self, id: StreamId) -> bool {
        let Some(pending) = self.pending.remove(&id) else { return false };
        self.consumer_mut(pending.consumer).pending.remove(&id);
        true
    }

    // -- Memory

    pub(super) fn free_effort(&self) -> usize {
        1 + self.slots.len() + self.pending.len() * 2
    }

    pub(super) fn free_slice(&mut self, budget: usize) -> usize {
        let mut freed = 0;
        while freed < budget && self.pending.pop_first().is_some() {
            freed += 1;
        }
        for consumer in self.slots.iter_mut().flatten() {
            while freed < budget && consumer.pending.pop_first().is_some() {
                freed += 1;
            }
        }
        freed
    }

    pub(super) fn heap_bytes(&self) -> usize {
        // Nodes of the trees are about two thirds full.
        let tree = |entries: usize, bytes: usize| entries * bytes * 3 / 2;
        let consumers = self.slots.len() * size_of::<Option<Consumer>>()
            + self.consumers().map(|consumer| consumer.name.len() + 16 + 24).sum::<usize>();
        let id = size_of::<StreamId>();
        consumers + tree(self.pending.len(), 2 * id + size_of::<Pending>())
    }
}
