//! The data types. Each file holds one type: its encodings and the moves between them.
//!
//! A type knows nothing of keys, clients or commands; commands are written in terms of its methods
//! and cannot tell which encoding is in use. Small strings and integers live inside their entry in
//! the keyspace; every other value is a [`Value`] on the heap. A `Value` owns all it needs, so it can
//! travel to another core.

pub mod bitfield;
pub mod bitmap;
pub mod encoding;
pub mod geohash;
mod hash;
mod hash_ttl;
pub mod hyperloglog;
mod limits;
mod list;
mod packed;
pub mod set;
pub mod stream;
mod string;
mod zset;

pub use hash::{Hash, HashRef};
pub use hash_ttl::FieldDeadlines;
pub use limits::EncodingLimits;
pub use list::{ELEMENT_BYTES_MAX, List};
pub use packed::{PackedKind, PackedRef};
pub use set::{Set, SetRef};
pub use stream::{Stream, StreamId};
pub use string::{
    EMBSTR_MAX, HeapString, STRING_BYTES_MAX, StringRef, StringValue, encoding_of_set, parse_int,
};
pub use zset::{LexBound, LexRange, ScoreRange, SortedSet, Update};

/// A value apart from its key.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    String(StringValue),
    List(List),
    Hash(Hash),
    Set(Set),
    SortedSet(SortedSet),
    Stream(Box<Stream>),
}

const _: () = assert!(size_of::<Value>() <= 32);

const _: () = {
    const fn travels<T: Send>() {}
    travels::<Value>();
};

impl Value {
    /// Stage 1 of looking up members of a large collection ahead of time: asks the memory for where a member is
    /// noted. The result is for [`Value::prefetch_record`], a few members later.
    #[inline]
    pub fn prefetch_member(&self, member: &[u8]) -> Option<u64> {
        match self {
            Self::Set(set) => set.prefetch_member(member),
            Self::Hash(hash) => hash.prefetch_field(member),
            Self::SortedSet(set) => set.prefetch_member(member),
            _ => None,
        }
    }

    /// Stage 2: asks for the member itself.
    #[inline]
    pub fn prefetch_record(&self, hash: u64) {
        match self {
            Self::Set(set) => set.prefetch_record(hash),
            Self::Hash(pairs) => pairs.prefetch_record(hash),
            Self::SortedSet(set) => set.prefetch_record(hash),
            _ => {}
        }
    }
}

/// A Rust type that is the payload of one [`Value`] variant.
pub trait DataType: Default {
    fn of(value: &Value) -> Option<&Self>;
    fn of_mut(value: &mut Value) -> Option<&mut Self>;
    fn into_value(self) -> Value;
}

/// A type that exists only while it has elements: the key of an emptied one is deleted.
pub trait Collection: DataType {
    fn is_empty(&self) -> bool;
}

/// What TYPE answers and SCAN … TYPE filters by.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum TypeName {
    String,
    List,
    Set,
    SortedSet,
    Hash,
    Stream,
}

impl TypeName {
    pub const ALL: [Self; 6] =
        [Self::String, Self::List, Self::Set, Self::SortedSet, Self::Hash, Self::Stream];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::List => "list",
            Self::Set => "set",
            Self::SortedSet => "zset",
            Self::Hash => "hash",
            Self::Stream => "stream",
        }
    }
}

/// What OBJECT ENCODING answers.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Encoding {
    Int,
    Embstr,
    Raw,
    Intset,
    Listpack,
    Quicklist,
    Hashtable,
    Skiplist,
    Stream,
}

impl Encoding {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Int => "int",
            Self::Embstr => "embstr",
            Self::Raw => "raw",
            Self::Intset => "intset",
            Self::Listpack => "listpack",
            Self::Quicklist => "quicklist",
            Self::Hashtable => "hashtable",
            Self::Skiplist => "skiplist",
            Self::Stream => "stream",
        }
    }
}

impl Value {
    pub fn type_name(&self) -> TypeName {
        match self {
            Self::String(_) => TypeName::String,
            Self::List(_) => TypeName::List,
            Self::Hash(_) => TypeName::Hash,
            Self::Set(_) => TypeName::Set,
            Self::SortedSet(_) => TypeName::SortedSet,
            Self::Stream(_) => TypeName::Stream,
        }
    }

    pub fn encoding(&self) -> Encoding {
        match self {
            Self::String(string) => string.encoding(),
            Self::List(list) => list.encoding(),
            Self::Hash(hash) => hash.encoding(),
            Self::Set(set) => set.encoding(),
            Self::SortedSet(set) => set.encoding(),
            Self::Stream(_) => Encoding::Stream,
        }
    }

    /// Bytes allocated beyond `size_of::<Value>()`, for MEMORY USAGE. `samples` bounds the elements
    /// of a collection that are looked at; 0 means all.
    pub fn heap_bytes(&self, samples: usize) -> usize {
        match self {
            Self::String(string) => string.heap_bytes(),
            Self::List(list) => list.heap_bytes(samples),
            Self::Hash(hash) => hash.heap_bytes(samples),
            Self::Set(set) => set.heap_bytes(samples),
            Self::SortedSet(set) => set.heap_bytes(),
            Self::Stream(stream) => stream.heap_bytes(samples),
        }
    }

    /// About how many pieces of memory freeing this value returns: what decides whether it is freed
    /// at once or in slices.
    pub fn free_effort(&self) -> usize {
        match self {
            Self::String(_) => 1,
            Self::List(list) => list.free_effort(),
            Self::Hash(hash) => hash.free_effort(),
            Self::Set(set) => set.free_effort(),
            Self::SortedSet(set) => set.free_effort(),
            Self::Stream(stream) => stream.free_effort(),
        }
    }

    /// Frees at most about `budget` pieces and returns how many; with nothing left inside, 0. The
    /// value is no longer of use to anyone but the one who drops it.
    pub fn free_slice(&mut self, budget: usize) -> usize {
        match self {
            Self::String(_) => 0,
            Self::List(list) => list.free_slice(budget),
            Self::Hash(hash) => hash.free_slice(budget),
            Self::Set(set) => set.free_slice(budget),
            Self::SortedSet(set) => set.free_slice(budget),
            Self::Stream(stream) => stream.free_slice(budget),
        }
    }
}
