//! Freeing much in slices: whole databases (FLUSHALL ASYNC, the end of a SWAPDB) and big values wait in a queue,
//! from which each call of [`Keyspace::maintain`] frees a bounded piece.
//!
//! Invariants
//!   L1  No value of more than [`EFFORT_AT_ONCE_MAX`] pieces is freed in one go, whatever the configuration.
//!   L2  What is queued is out of both tables; nobody but the queue can reach it.

use super::Keyspace;
use super::entry::RawEntry;
use super::slab::Slab;
use super::table::Table;
use crate::types::Value;
use std::collections::VecDeque;
use std::rc::Rc;

/// Values that free in fewer pieces are freed at once, as in Redis, even where the configuration asks for later.
const EFFORT_MIN: usize = 64;
/// Values of more pieces are freed later even where it does not: at once, they would stall the core.
pub const EFFORT_AT_ONCE_MAX: usize = 4096;

/// Empty megabytes given back per call of [`Keyspace::maintain`].
const REGIONS_PER_CALL: usize = 1;

#[derive(Default)]
pub(super) struct LazyFree {
    tables: VecDeque<DetachedTable>,
    values: VecDeque<Box<Value>>,
}

/// A table whose entries die with it.
struct DetachedTable {
    table: Table,
    next: usize,
    items: usize,
    slab: Rc<Slab>,
}

impl DetachedTable {
    fn new(table: Table, slab: Rc<Slab>) -> Self {
        Self { items: table.len(), table, next: 0, slab }
    }

    /// Frees the entries of one segment, or some of the table's own memory; returns how many entries these
    /// were, or `None` at the end.
    fn free_slice(&mut self, mut boxed: impl FnMut(Box<Value>)) -> Option<usize> {
        let Some(segment) = self.table.directory.get(self.next) else {
            return self.table.pool.free_slice().then_some(0);
        };
        self.next += 1 << (self.table.depth - segment.depth());
        let mut freed = 0;
        segment.for_each_prefetched(|item| {
            freed += 1;
            if let Some(value) = RawEntry(item).free_but_boxed(&self.slab) {
                boxed(value);
            }
        });
        self.items -= freed;
        Some(freed)
    }
}

impl Drop for DetachedTable {
    fn drop(&mut self) {
        while self.free_slice(drop).is_some() {}
    }
}

impl LazyFree {
    /// Frees a value that nobody has any more, now or later.
    pub fn release(&mut self, value: Box<Value>, lazily: bool) {
        if value.free_effort() > if lazily { EFFORT_MIN } else { EFFORT_AT_ONCE_MAX } {
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
    /// segment of the table (some 700 entries) is never left half freed. Gives emptied memory back, too, so it is
    /// to be called at every tick, lazily removed or not. Returns whether work is left.
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
            match table.free_slice(big) {
                Some(freed) => left = left.saturating_sub(freed.max(64)),
                None => drop(tables.pop_front()),
            }
        }
        let memory_left = self.slab.release(REGIONS_PER_CALL);
        memory_left || self.lazy_pending() > 0
    }

    /// Objects that wait to be freed: INFO's `lazyfree_pending_objects`.
    pub fn lazy_pending(&self) -> usize {
        let waiting: usize = self.lazy.tables.iter().map(|table| table.items.max(1)).sum();
        waiting + self.lazy.values.len()
    }

    fn detach(&mut self) -> DetachedTable {
        self.expires = Table::new(Rc::clone(&self.slab));
        self.expire_position = 0;
        let table = std::mem::replace(&mut self.table, Table::new(Rc::clone(&self.slab)));
        DetachedTable::new(table, Rc::clone(&self.slab))
    }
}

impl Drop for Keyspace {
    fn drop(&mut self) {
        self.clear();
    }
}
