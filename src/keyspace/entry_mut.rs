//! An entry that is being changed. It may move in memory when its new value has another size; whoever
//! holds an `EntryMut` does not notice.

use super::entry::{Entry, Payload, RawEntry, ValueRef, payload_of, payload_of_text};
use super::table::Place;
use super::{Detached, Keyspace, Ttl};
use crate::base::UnixMillis;
use crate::types::{HeapString, StringValue, Value};

/// A key and its value, borrowed mutably from the keyspace.
pub struct EntryMut<'a> {
    keyspace: &'a mut Keyspace,
    place: Place,
    hash: u64,
}

impl<'a> EntryMut<'a> {
    #[inline]
    pub(super) fn new(keyspace: &'a mut Keyspace, place: Place, hash: u64) -> Self {
        Self { keyspace, place, hash }
    }

    #[inline]
    pub fn entry(&self) -> Entry<'_> {
        Entry::new(self.raw())
    }

    #[inline]
    fn raw(&self) -> RawEntry {
        RawEntry(self.place.item())
    }

    /// Makes the value this integer; the deadline stays.
    #[inline]
    pub fn set_int(&mut self, value: i64) {
        self.keyspace.overwrite(self.place, self.hash, Payload::Int(value), Ttl::Keep);
    }

    /// Makes the value this string in its most compact form.
    pub fn set_string(&mut self, text: &[u8], ttl: Ttl) {
        self.keyspace.overwrite(self.place, self.hash, payload_of_text(text), ttl);
    }

    /// Replaces the value by one of any type.
    pub fn set_value(&mut self, mut value: Value, ttl: Ttl) {
        self.keyspace.overwrite(self.place, self.hash, payload_of(&mut value), ttl);
    }

    /// The string as bytes that can be edited, `None` if the key holds another type. From then on the
    /// string is on the heap and its encoding `raw`.
    pub fn string_mut(&mut self) -> Option<&mut HeapString> {
        let raw_string = match self.entry().value() {
            ValueRef::Boxed(_) | ValueRef::Packed(_) => None,
            ValueRef::Str(text) => Some(HeapString::from(text)),
            ValueRef::Int(value) => Some(HeapString::from(itoa::Buffer::new().format(value).as_bytes())),
        };
        if let Some(string) = raw_string {
            let value = Box::new(Value::String(StringValue::Raw(string)));
            self.keyspace.overwrite(self.place, self.hash, Payload::Boxed(value), Ttl::Keep);
        }
        match self.value_mut() {
            Some(Value::String(string)) => Some(string.make_raw()),
            _ => None,
        }
    }

    /// The value, unless it is a string that lies in its entry. A small collection leaves its entry for the heap
    /// by this, and stays there until it is stored by [`EntryMut::set_value`].
    #[inline]
    pub fn value_mut(&mut self) -> Option<&mut Value> {
        if let ValueRef::Packed(packed) = self.entry().value() {
            let value = Box::new(packed.to_value());
            self.keyspace.overwrite(self.place, self.hash, Payload::Boxed(value), Ttl::Keep);
        }
        self.raw().boxed_mut()
    }

    /// The value for as long as the keyspace was borrowed, if it is on the heap already.
    #[inline]
    pub fn into_boxed_mut(self) -> Option<&'a mut Value> {
        self.raw().boxed_mut()
    }

    /// Sets, replaces or clears the deadline.
    pub fn set_deadline(&mut self, deadline: Option<UnixMillis>) {
        let old = self.raw();
        let had = old.deadline().is_some();
        let new = if old.put_deadline(deadline) {
            old
        } else {
            let new = old.with_deadline(&self.keyspace.slab, deadline);
            self.place.replace(new.0);
            new
        };
        self.keyspace.index_deadline(self.hash, old, had, new, deadline.is_some());
        if new != old {
            old.free_memory(&self.keyspace.slab);
        }
    }

    /// The entry for as long as the keyspace was borrowed.
    #[inline]
    pub fn into_entry(self) -> Entry<'a> {
        Entry::new(self.raw())
    }

    /// Removes the key; a value that takes long to free is freed later if `lazily`.
    pub fn remove(self, lazily: bool) {
        let raw = self.raw();
        self.keyspace.unhook_entry(self.hash, raw);
        self.keyspace.free_entry(raw, lazily);
    }

    /// Removes the key and returns what it held.
    pub fn take(self) -> Detached {
        let raw = self.raw();
        self.keyspace.unhook_entry(self.hash, raw);
        self.keyspace.detach_entry(raw)
    }
}
