//! Small collections that are one piece of bytes: the keyspace keeps them inside their entry, where they cost no
//! allocation of their own, and commands read them there.

use super::encoding::intset::IntsetRef;
use super::encoding::{Intset, Listpack};
use super::{Encoding, Hash, HashRef, Set, SetRef, TypeName, Value};

/// What packed bytes are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum PackedKind {
    /// A listpack of fields and values.
    Hash,
    /// An intset.
    Ints,
    /// A listpack of members.
    Members,
}

/// A packed value wherever it lies.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PackedRef<'a> {
    pub kind: PackedKind,
    pub bytes: &'a [u8],
}

impl Value {
    /// The value as one piece of bytes, if it is one.
    #[inline]
    pub fn as_packed(&self) -> Option<PackedRef<'_>> {
        let (kind, bytes) = match self {
            Self::Hash(Hash::Packed(pack)) => (PackedKind::Hash, pack.as_bytes()),
            Self::Set(Set::Ints(set)) => (PackedKind::Ints, set.as_bytes()),
            Self::Set(Set::Packed(pack)) => (PackedKind::Members, pack.as_bytes()),
            _ => return None,
        };
        Some(PackedRef { kind, bytes })
    }
}

impl<'a> PackedRef<'a> {
    /// Takes the number that a kind was stored as.
    #[inline]
    pub fn stored(kind: u8, bytes: &'a [u8]) -> Self {
        let kinds = [PackedKind::Hash, PackedKind::Ints, PackedKind::Members];
        Self { kind: kinds[usize::from(kind)], bytes }
    }

    pub fn type_name(self) -> TypeName {
        match self.kind {
            PackedKind::Hash => TypeName::Hash,
            PackedKind::Ints | PackedKind::Members => TypeName::Set,
        }
    }

    pub fn encoding(self) -> Encoding {
        match self.kind {
            PackedKind::Hash => Encoding::Listpack,
            PackedKind::Ints => Encoding::Intset,
            PackedKind::Members => Encoding::Hashtable,
        }
    }

    #[inline]
    pub fn as_hash(self) -> Option<HashRef<'a>> {
        (self.kind == PackedKind::Hash).then_some(HashRef::Packed(self.bytes))
    }

    #[inline]
    pub fn as_set(self) -> Option<SetRef<'a>> {
        match self.kind {
            PackedKind::Ints => Some(SetRef::Ints(IntsetRef::of(self.bytes))),
            PackedKind::Members => Some(SetRef::Packed(self.bytes)),
            PackedKind::Hash => None,
        }
    }

    /// The value on its own, to be changed or to travel.
    #[inline]
    pub fn to_value(self) -> Value {
        let listpack = || Listpack::from_own_bytes(self.bytes);
        match self.kind {
            PackedKind::Hash => Value::Hash(Hash::Packed(listpack())),
            PackedKind::Ints => Value::Set(Set::Ints(Intset::from_own_bytes(self.bytes))),
            PackedKind::Members => Value::Set(Set::Packed(listpack())),
        }
    }
}
