//! One key with everything that belongs to it, in one allocation.
//!
//! ```text
//! u32     bits 0..24 access data (LRU clock or LFU counter, as Redis packs them)
//!         bits 24..26 what the payload is; bit 26: a deadline field follows
//! [u64]   deadline, Unix time in ms; u64::MAX = none (the field outlives PERSIST)
//! varint  length of the key, then the key
//! payload Inline: varint length, bytes | Int: i64 | Boxed: pointer to a `Value` of its own
//!         Packed: kind of small collection, varint length, bytes
//! ```
//! Nothing in it is aligned: a 16-byte key with a 64-byte value is 4 + 1 + 16 + 1 + 64 = 86 bytes.
//!
//! Invariants
//!   E1  A [`RawEntry`] points to memory of the shard's slab laid out as above, and is used by the
//!       keyspace only between [`RawEntry::create`] and [`RawEntry::free`].
//!   E2  The size computed from the content rounds to the size that was allocated.
//!   E3  A `Boxed` payload owns its `Value`.

use super::Detached;
use super::slab::{self, Slab};
use crate::base::UnixMillis;
use crate::types::{
    Encoding, HashRef, HeapString, PackedRef, SetRef, StringRef, StringValue, TypeName, Value,
    encoding_of_set,
};
use std::marker::PhantomData;
use std::ptr::NonNull;

/// Up to this length a string lies inside its entry.
pub const INLINE_MAX: usize = 1024;

/// Up to this length a small collection does, too. Every change to one copies it.
const PACKED_MAX: usize = 512;

const ACCESS: u32 = (1 << 24) - 1;
const KIND_SHIFT: u32 = 24;
const KIND_MASK: u32 = 3 << KIND_SHIFT;
const KIND_INLINE: u32 = 0 << KIND_SHIFT;
const KIND_INT: u32 = 1 << KIND_SHIFT;
const KIND_BOXED: u32 = 2 << KIND_SHIFT;
const KIND_PACKED: u32 = 3 << KIND_SHIFT;
const HAS_DEADLINE: u32 = 1 << 26;
const HEADER_BYTES: usize = 4;
const DEADLINE_BYTES: usize = 8;
const NO_DEADLINE: u64 = u64::MAX;

/// What is stored for a key, before it has a place in memory.
pub(super) enum Payload<'a> {
    Inline(&'a [u8]),
    Int(i64),
    Boxed(Box<Value>),
    Packed(PackedRef<'a>),
}

impl Payload<'_> {
    fn kind(&self) -> u32 {
        match self {
            Self::Inline(_) => KIND_INLINE,
            Self::Int(_) => KIND_INT,
            Self::Boxed(_) => KIND_BOXED,
            Self::Packed(_) => KIND_PACKED,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Inline(text) => varint_bytes(text.len()) + text.len(),
            Self::Int(_) | Self::Boxed(_) => 8,
            Self::Packed(packed) => 1 + varint_bytes(packed.bytes.len()) + packed.bytes.len(),
        }
    }
}

/// What a key holds, as its readers see it.
#[derive(Clone, Copy, Debug)]
pub enum ValueRef<'a> {
    Str(&'a [u8]),
    Int(i64),
    Boxed(&'a Value),
    Packed(PackedRef<'a>),
}

impl<'a> ValueRef<'a> {
    /// The hash as it is at a moment, unless this is another type.
    #[inline]
    pub fn as_hash(self, now: UnixMillis) -> Option<HashRef<'a>> {
        match self {
            Self::Packed(packed) => packed.as_hash(),
            Self::Boxed(Value::Hash(hash)) => Some(hash.at(now)),
            _ => None,
        }
    }

    /// The set, unless this is another type.
    #[inline]
    pub fn as_set(self) -> Option<SetRef<'a>> {
        match self {
            Self::Packed(packed) => packed.as_set(),
            Self::Boxed(Value::Set(set)) => Some(set.as_ref()),
            _ => None,
        }
    }
}

/// A key and its value, borrowed from the keyspace.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    raw: RawEntry,
    _keyspace: PhantomData<&'a ()>,
}

impl<'a> Entry<'a> {
    /// The caller ties the lifetime to a borrow of the keyspace that holds the entry.
    #[inline]
    pub(super) fn new(raw: RawEntry) -> Self {
        Self { raw, _keyspace: PhantomData }
    }

    #[inline]
    pub fn key(&self) -> &'a [u8] {
        self.raw.key()
    }

    #[inline]
    pub fn value(&self) -> ValueRef<'a> {
        let payload = self.raw.payload();
        match self.raw.kind() {
            // SAFETY: E1, the payload is as its kind says and lives as long as the borrow.
            KIND_INLINE => ValueRef::Str(unsafe { read_text(payload) }),
            // SAFETY: as above.
            KIND_INT => ValueRef::Int(unsafe { payload.cast::<i64>().read_unaligned() }),
            KIND_PACKED => {
                // SAFETY: as above; the kind, then the bytes.
                let (kind, bytes) = unsafe { (*payload, read_text(payload.add(1))) };
                ValueRef::Packed(PackedRef::stored(kind, bytes))
            }
            // SAFETY: as above; E3, nobody else has a mutable reference to it.
            _ => ValueRef::Boxed(unsafe { payload.cast::<NonNull<Value>>().read_unaligned().as_ref() }),
        }
    }

    /// The string, unless the key holds another type.
    #[inline]
    pub fn as_string(&self) -> Option<StringRef<'a>> {
        match self.value() {
            ValueRef::Str(text) => Some(StringRef::Bytes(text)),
            ValueRef::Int(value) => Some(StringRef::Int(value)),
            ValueRef::Boxed(Value::String(string)) => Some(string.as_ref()),
            ValueRef::Boxed(_) | ValueRef::Packed(_) => None,
        }
    }

    #[inline]
    pub fn deadline(&self) -> Option<UnixMillis> {
        self.raw.deadline()
    }

    /// At the deadline itself the key still lives, as in Redis: its PTTL is then 0, not -2.
    #[inline]
    pub fn is_expired(&self, now: UnixMillis) -> bool {
        self.deadline().is_some_and(|deadline| now > deadline)
    }

    /// The 24 bits of access data (LRU clock, or LFU time and counter).
    #[inline]
    pub fn access(&self) -> u32 {
        self.raw.header() & ACCESS
    }

    /// Access data is not part of the value: reading a key updates it.
    #[inline]
    pub fn set_access(&self, access: u32) {
        self.raw.set_header(self.raw.header() & !ACCESS | access & ACCESS);
    }

    pub fn type_name(&self) -> TypeName {
        match self.value() {
            ValueRef::Str(_) | ValueRef::Int(_) => TypeName::String,
            ValueRef::Boxed(value) => value.type_name(),
            ValueRef::Packed(packed) => packed.type_name(),
        }
    }

    pub fn encoding(&self) -> Encoding {
        match self.value() {
            ValueRef::Str(text) => encoding_of_set(text.len()),
            ValueRef::Int(_) => Encoding::Int,
            ValueRef::Boxed(value) => value.encoding(),
            ValueRef::Packed(packed) => packed.encoding(),
        }
    }

    /// A deep copy of the value (COPY, and RENAME to another core).
    pub fn to_value(&self) -> Value {
        match self.value() {
            ValueRef::Str(text) => Value::String(StringValue::Compact(text.into())),
            ValueRef::Int(value) => Value::String(StringValue::Int(value)),
            ValueRef::Boxed(value) => value.clone(),
            ValueRef::Packed(packed) => packed.to_value(),
        }
    }

    /// A deep copy with deadline and access data.
    pub fn to_detached(&self) -> Detached {
        Detached { value: self.to_value(), deadline: self.deadline(), access: self.access() }
    }

    #[inline]
    pub(super) fn raw(&self) -> RawEntry {
        self.raw
    }
}

/// The address of an entry; its methods rely on E1.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) struct RawEntry(pub NonNull<u8>);

impl RawEntry {
    pub fn create(
        slab: &Slab,
        key: &[u8],
        payload: Payload<'_>,
        deadline: Option<UnixMillis>,
        access: u32,
    ) -> Self {
        let deadline_bytes = if deadline.is_some() { DEADLINE_BYTES } else { 0 };
        let payload_at = HEADER_BYTES + deadline_bytes + varint_bytes(key.len()) + key.len();
        let entry = Self(slab.allocate(payload_at + payload.bytes()));
        let flags = if deadline.is_some() { HAS_DEADLINE } else { 0 };
        entry.set_header(payload.kind() | flags | access & ACCESS);
        // SAFETY: the allocation has room for every part in turn.
        unsafe {
            if let Some(deadline) = deadline {
                entry.at(HEADER_BYTES).cast::<u64>().write_unaligned(deadline.0);
            }
            write_text(entry.at(HEADER_BYTES + deadline_bytes), key);
            entry.write_payload(entry.at(payload_at), payload);
        }
        entry
    }

    /// Frees the entry; its boxed value, if it has one, goes to the caller.
    pub fn free_but_boxed(self, slab: &Slab) -> Option<Box<Value>> {
        let boxed = self.boxed();
        self.free_memory(slab);
        // SAFETY: E3, and the entry that owned it is gone.
        boxed.map(|value| unsafe { Box::from_raw(value.as_ptr()) })
    }

    #[inline]
    pub fn header(self) -> u32 {
        // SAFETY: E1. Slab memory is aligned to 8.
        unsafe { self.0.cast::<u32>().read() }
    }

    #[inline]
    pub fn set_header(self, header: u32) {
        // SAFETY: E1; no reference to the header is ever made.
        unsafe { self.0.cast::<u32>().write(header) };
    }

    #[inline]
    fn kind(self) -> u32 {
        self.header() & KIND_MASK
    }

    #[inline]
    fn key_at(self) -> usize {
        HEADER_BYTES + if self.header() & HAS_DEADLINE != 0 { DEADLINE_BYTES } else { 0 }
    }

    #[inline]
    pub fn key<'a>(self) -> &'a [u8] {
        // SAFETY: E1; keys are never changed in place.
        unsafe { read_text(self.at(self.key_at())) }
    }

    #[inline]
    pub fn deadline(self) -> Option<UnixMillis> {
        if self.header() & HAS_DEADLINE == 0 {
            return None;
        }
        // SAFETY: E1, the flag says that the field is there.
        let deadline = unsafe { self.at(HEADER_BYTES).cast::<u64>().read_unaligned() };
        (deadline != NO_DEADLINE).then_some(UnixMillis(deadline))
    }

    /// Sets or clears the deadline in place; returns false if the entry has no room for one.
    #[inline]
    pub fn put_deadline(self, deadline: Option<UnixMillis>) -> bool {
        if self.header() & HAS_DEADLINE == 0 {
            return deadline.is_none();
        }
        let deadline = deadline.map_or(NO_DEADLINE, |deadline| deadline.0);
        // SAFETY: E1, the flag says that the field is there.
        unsafe { self.at(HEADER_BYTES).cast::<u64>().write_unaligned(deadline) };
        true
    }

    /// Whether this deadline can be put in place.
    #[inline]
    pub fn has_room_for(self, deadline: Option<UnixMillis>) -> bool {
        deadline.is_none() || self.header() & HAS_DEADLINE != 0
    }

    /// A new entry with the same content and a deadline; it takes the boxed value over, so that of the old
    /// one only the memory is to be freed ([`RawEntry::free_memory`]).
    pub fn with_deadline(self, slab: &Slab, deadline: Option<UnixMillis>) -> Self {
        let payload = match Entry::new(self).value() {
            ValueRef::Str(text) => Payload::Inline(text),
            ValueRef::Int(value) => Payload::Int(value),
            ValueRef::Packed(packed) => Payload::Packed(packed),
            ValueRef::Boxed(_) => {
                let value = self.boxed().expect("the kind says so");
                // SAFETY: E3, ownership moves to the new entry.
                Payload::Boxed(unsafe { Box::from_raw(value.as_ptr()) })
            }
        };
        Self::create(slab, self.key(), payload, deadline, self.header())
    }

    /// Frees the entry but not what it owns.
    pub fn free_memory(self, slab: &Slab) {
        // SAFETY: E2; E1, the keyspace has removed it from its tables.
        unsafe { slab.free(self.0, self.bytes()) };
    }

    /// Replaces the payload in place if the new one rounds to the same size (E2), and returns the
    /// boxed value that was replaced; else gives the payload back.
    #[inline]
    pub fn overwrite<'p>(self, payload: Payload<'p>) -> Result<Option<Box<Value>>, Payload<'p>> {
        let at = self.payload();
        let before = at.addr() - self.0.addr().get();
        // SAFETY: E1.
        let old_bytes = before + unsafe { payload_bytes(at, self.kind()) };
        if slab::rounded(before + payload.bytes()) != slab::rounded(old_bytes) {
            return Err(payload);
        }
        // SAFETY: E3, the box changes hands here.
        let boxed = self.boxed().map(|value| unsafe { Box::from_raw(value.as_ptr()) });
        self.set_header(self.header() & !KIND_MASK | payload.kind());
        // SAFETY: the payload fits, as just checked.
        unsafe { self.write_payload(at, payload) };
        Ok(boxed)
    }

    /// The boxed value, for its one mutable borrower.
    #[inline]
    pub fn boxed(self) -> Option<NonNull<Value>> {
        (self.kind() == KIND_BOXED).then(|| {
            // SAFETY: E1, the payload is a pointer.
            unsafe { self.payload().cast::<NonNull<Value>>().read_unaligned() }
        })
    }

    /// The boxed value to be changed; the caller ties the lifetime to a mutable borrow of the keyspace.
    #[inline]
    pub fn boxed_mut<'a>(self) -> Option<&'a mut Value> {
        // SAFETY: E3, and whoever borrows the keyspace mutably is the only one to reach the value.
        self.boxed().map(|mut value| unsafe { value.as_mut() })
    }

    /// The bytes of the entry as laid out; the slab rounds them.
    #[inline]
    pub fn bytes(self) -> usize {
        let payload = self.payload();
        // SAFETY: E1.
        payload.addr() - self.0.addr().get() + unsafe { payload_bytes(payload, self.kind()) }
    }

    #[inline]
    fn payload(self) -> *mut u8 {
        let key = self.key();
        // SAFETY: E1, the payload follows the key. The pointer is derived from the entry, not from the
        // key's slice, which must not be written through.
        unsafe { self.at(key.as_ptr().addr() - self.0.addr().get() + key.len()) }
    }

    /// # Safety
    /// `offset` lies within the entry.
    #[inline]
    unsafe fn at(self, offset: usize) -> *mut u8 {
        // SAFETY: passed on to the caller.
        unsafe { self.0.as_ptr().add(offset) }
    }

    /// # Safety
    /// There is room for the payload at `at`.
    #[inline]
    unsafe fn write_payload(self, at: *mut u8, payload: Payload<'_>) {
        // SAFETY: passed on to the caller.
        unsafe {
            match payload {
                Payload::Inline(text) => write_text(at, text),
                Payload::Int(value) => at.cast::<i64>().write_unaligned(value),
                Payload::Boxed(value) => at.cast::<*mut Value>().write_unaligned(Box::into_raw(value)),
                Payload::Packed(packed) => {
                    at.write(packed.kind as u8);
                    write_text(at.add(1), packed.bytes);
                }
            }
        }
    }
}

/// # Safety
/// `at` points to a payload of this kind.
#[inline]
unsafe fn payload_bytes(at: *mut u8, kind: u32) -> usize {
    let text: &[u8] = match kind {
        // SAFETY: passed on to the caller.
        KIND_INLINE => unsafe { read_text(at) },
        // SAFETY: as above, the text follows the kind.
        KIND_PACKED => unsafe { read_text(at.add(1)) },
        _ => return 8,
    };
    text.as_ptr().addr() - at.addr() + text.len()
}

fn varint_bytes(value: usize) -> usize {
    let mut bytes = 1;
    let mut rest = value >> 7;
    while rest != 0 {
        bytes += 1;
        rest >>= 7;
    }
    bytes
}

/// # Safety
/// `at` points to a length and that many bytes, unchanged for `'a`.
#[inline]
unsafe fn read_text<'a>(at: *const u8) -> &'a [u8] {
    // SAFETY: passed on to the caller.
    unsafe {
        let first = *at;
        if first < 0x80 {
            return std::slice::from_raw_parts(at.add(1), usize::from(first));
        }
        let (mut length, mut used) = (usize::from(first & 0x7f), 1);
        loop {
            let byte = *at.add(used);
            length |= usize::from(byte & 0x7f) << (7 * used);
            used += 1;
            if byte < 0x80 {
                return std::slice::from_raw_parts(at.add(used), length);
            }
        }
    }
}

/// # Safety
/// There is room for the length and the bytes at `at`.
#[inline]
unsafe fn write_text(at: *mut u8, text: &[u8]) {
    // SAFETY: passed on to the caller.
    unsafe {
        let mut cursor = at;
        let mut rest = text.len();
        while rest >= 0x80 {
            cursor.write(rest as u8 | 0x80);
            cursor = cursor.add(1);
            rest >>= 7;
        }
        cursor.write(rest as u8);
        std::ptr::copy_nonoverlapping(text.as_ptr(), cursor.add(1), text.len());
    }
}

/// Where a value is stored: in the entry if it is small and was set whole.
pub(super) fn payload_of(value: &mut Value) -> Payload<'_> {
    match value {
        Value::String(StringValue::Int(value)) => return Payload::Int(*value),
        Value::String(StringValue::Compact(text)) if text.len() > INLINE_MAX => {
            let text = HeapString::from(std::mem::take(text).into_vec());
            *value = Value::String(StringValue::Raw(text));
        }
        _ => {}
    }
    if value.as_packed().is_some_and(|packed| packed.bytes.len() <= PACKED_MAX) {
        return Payload::Packed(value.as_packed().expect("just checked"));
    }
    if !matches!(value, Value::String(StringValue::Compact(_))) {
        let value = std::mem::replace(value, Value::String(StringValue::default()));
        return Payload::Boxed(Box::new(value));
    }
    let Value::String(StringValue::Compact(text)) = value else { unreachable!("just checked") };
    Payload::Inline(text)
}

/// Where a string given by SET is stored.
#[inline]
pub(super) fn payload_of_text(text: &[u8]) -> Payload<'_> {
    if let Some(value) = crate::types::parse_int(text) {
        Payload::Int(value)
    } else if text.len() <= INLINE_MAX {
        Payload::Inline(text)
    } else {
        Payload::Boxed(Box::new(Value::String(StringValue::Raw(HeapString::from(text)))))
    }
}
