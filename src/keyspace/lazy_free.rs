//! Freeing much in slices: whole databases (FLUSHALL ASYNC, the end of a SWAPDB) and big values wait in a queue,
//! from which each call of [`Keyspace::maintain`] frees a bounded piece.
//!
//! Invariants
//!   L1  What is queued is out of both tables; nobody but the queue can reach it.

use super::Keyspace;
use super::entry::RawEntry;
use super::slab::Slab;
use super::table::{Segment, Table};
use crate::types::Value;
use std::collections::VecDeque;
use std::rc::Rc;

/// Values that free in fewer pieces are freed at once, as in Redis.
const EFFORT_MIN: usize = 64;

#[derive(Default)]
pub(super) struct LazyFree {
    tables: VecDeque<DetachedTable>,
    values: VecDeque<Box<Value>>,
}

/// A table whose entries die with it.
struct DetachedTable {
    segments: Vec<Segment>,
    depth: u32,
    next: usize,
    items: usize,
    slab: Rc<Slab>,
}

impl DetachedTable {
    fn new(mut table: Table) -> Self {
        Self {
            depth: table.depth,
            items: table.len,
            slab: Rc::clone(&table.slab),
            // The table that is dropped here has no segments left to free.
            segments: std::mem::take(&mut table.directory),
            next: 0,
        }
    }

    /// Frees one segment with its entries; returns how many these were, or `None` at the end.
    fn free_segment(&mut self, mut boxed: impl FnMut(Box<Value>)) -> Option<usize> {
        let segment = *self.segments.get(self.next)?;
        self.next += 1 << (self.depth - segment.depth());
        let mut freed = 0;
        segment.for_each_prefetched(|item| {
            freed += 1;
            if let Some(value) = RawEntry(item).free_but_boxed(&self.slab) {
                boxed(value);
            }
        });
        segment.free(&self.slab);
        self.items -= freed;
        Some(freed)
    }
}

impl Drop for DetachedTable {
    fn drop(&mut self) {
        while self.free_segment(drop).is_some() {}
    }
}

impl LazyFree {
    /// Frees a value, now or later.
    pub fn push_value(&mut self, value: Box<Value>) {
        if value.free_effort() > EFFORT_MIN {
            self.values.push_back(value);
        }
    }
}

impl Keyspace {
    /// FLUSHDB SYNC: removes and frees everything.
    pub fn clear(&mut self) {
        drop(self.detach());
    }

    /// FLUSHDB ASYNC: removes everything now, frees it in the course of [`Keyspace::maintain`].
    pub fn clear_lazily(&mut self) {
        let table = self.detach();
        self.lazy.tables.push_back(table);
    }

    /// Frees about `budget` entries or pieces of values of what was removed lazily; a little more, since a
    /// segment of the table (some 700 entries) is never left half freed. Returns whether work is left.
    pub fn maintain(&mut self, budget: usize) -> bool {
        let mut left = budget;
        while left > 0 {
            if let Some(value) = self.lazy.values.front_mut() {
                match value.free_slice(left) {
                    0 => drop(self.lazy.values.pop_front()),
                    freed => left = left.saturating_sub(freed),
                }
                continue;
            }
            let LazyFree { tables, values } = &mut self.lazy;
            let Some(table) = tables.front_mut() else { break };
            let big = |value: Box<Value>| {
                if value.free_effort() > EFFORT_MIN {
                    values.push_back(value);
                }
            };
            match table.free_segment(big) {
                Some(freed) => left = left.saturating_sub(freed.max(1)),
                None => drop(tables.pop_front()),
            }
        }
        self.lazy_pending() > 0
    }

    /// Objects that wait to be freed: INFO's `lazyfree_pending_objects`.
    pub fn lazy_pending(&self) -> usize {
        let waiting: usize = self.lazy.tables.iter().map(|table| table.items.max(1)).sum();
        waiting + self.lazy.values.len()
    }

    fn detach(&mut self) -> DetachedTable {
        self.expires = Table::new(Rc::clone(&self.slab));
        self.expire_position = 0;
        DetachedTable::new(std::mem::replace(&mut self.table, Table::new(Rc::clone(&self.slab))))
    }
}

impl Drop for Keyspace {
    fn drop(&mut self) {
        self.clear();
    }
}
