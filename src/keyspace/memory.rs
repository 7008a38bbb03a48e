//! How many bytes keys cost: for MEMORY USAGE, MEMORY STATS, DEBUG HTSTATS and eviction.

use super::Keyspace;
use super::entry::{Entry, ValueRef};
use super::group::{Bucket, SLOTS};
use super::slab::rounded;
use crate::types::Value;

/// A key's share of the hash table when it is full.
const SLOT_BYTES: usize = size_of::<Bucket>().div_ceil(SLOTS);

/// The hash tables in figures.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct TableShape {
    pub keys: usize,
    pub slots: usize,
    pub segments: usize,
    pub directory: usize,
    pub bytes: usize,
}

impl Entry<'_> {
    /// Bytes of key, value and their place in the table. `samples` bounds the elements of a collection that
    /// are measured, 0 measures all.
    pub fn memory_bytes(&self, samples: usize) -> usize {
        let heap = match self.value() {
            ValueRef::Boxed(value) => size_of::<Value>() + value.heap_bytes(samples),
            ValueRef::Str(_) | ValueRef::Int(_) | ValueRef::Packed(_) => 0,
        };
        let slots = if self.deadline().is_some() { 2 } else { 1 };
        rounded(self.raw().bytes()) + heap + slots * SLOT_BYTES
    }
}

impl Keyspace {
    /// Bytes of the two hash tables: what MEMORY STATS calls `overhead.hashtable.main` and `.expires`.
    pub fn table_bytes(&self) -> (usize, usize) {
        (self.table.bytes(), self.expires.bytes())
    }

    /// The main table in figures.
    pub fn table_shape(&self) -> TableShape {
        let (segments, buckets) = self.table.shape();
        TableShape {
            keys: self.len(),
            slots: buckets * SLOTS,
            segments,
            directory: self.table.directory.len(),
            bytes: self.table.bytes(),
        }
    }
}
