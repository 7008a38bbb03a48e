//! Strings: an integer when the text is the canonical form of one, else bytes; bytes that were edited
//! in place are kept apart, since Redis calls them `raw` however short they are.

use super::{DataType, Encoding, Value};
use crate::base::number::parse_i64;

/// The longest string Redis keeps in one allocation with its object header and calls `embstr`.
pub const EMBSTR_MAX: usize = 44;

/// proto-max-bulk-len's default and the limit of APPEND, SETRANGE and SETBIT.
pub const STRING_BYTES_MAX: usize = 512 << 20;

/// Beyond this a growing string reserves this much more, below it doubles, as Redis's strings do.
const GROWTH_STEP_BYTES: usize = 1 << 20;

/// The longest text an `i64` can have.
const INT_TEXT_MAX: usize = 20;

/// A string on its own.
///
/// Invariant: a text that spells a canonical integer may be `Compact` or `Raw` only after an edit;
/// [`StringValue::new`] always chooses the most compact form.
#[derive(Clone, Debug, PartialEq)]
pub enum StringValue {
    Int(i64),
    /// As given by SET: `embstr` or, when long, `raw`.
    Compact(Box<[u8]>),
    /// Grown or patched in place: `raw` at any length.
    Raw(HeapString),
}

impl StringValue {
    pub fn new(text: &[u8]) -> Self {
        match parse_int(text) {
            Some(value) => Self::Int(value),
            None => Self::Compact(text.into()),
        }
    }

    /// The string without a copy.
    pub fn as_ref(&self) -> StringRef<'_> {
        match self {
            Self::Int(value) => StringRef::Int(*value),
            Self::Compact(bytes) => StringRef::Bytes(bytes),
            Self::Raw(string) => StringRef::Bytes(string.as_bytes()),
        }
    }

    /// The string as bytes that can be edited; from then on its encoding is `raw`.
    pub fn make_raw(&mut self) -> &mut HeapString {
        if !matches!(self, Self::Raw(_)) {
            *self = Self::Raw(match std::mem::take(self) {
                Self::Int(value) => HeapString::from(itoa::Buffer::new().format(value).as_bytes()),
                Self::Compact(bytes) => HeapString(bytes.into_vec()),
                Self::Raw(string) => string,
            });
        }
        let Self::Raw(string) = self else { unreachable!("made raw above") };
        string
    }

    pub fn encoding(&self) -> Encoding {
        match self {
            Self::Int(_) => Encoding::Int,
            Self::Compact(bytes) => encoding_of_set(bytes.len()),
            Self::Raw(_) => Encoding::Raw,
        }
    }

    pub fn heap_bytes(&self) -> usize {
        match self {
            Self::Int(_) => 0,
            Self::Compact(bytes) => bytes.len(),
            Self::Raw(string) => string.0.capacity(),
        }
    }
}

impl Default for StringValue {
    fn default() -> Self {
        Self::Compact(Box::default())
    }
}

impl DataType for StringValue {
    fn of(value: &Value) -> Option<&Self> {
        match value {
            Value::String(string) => Some(string),
            _ => None,
        }
    }

    fn of_mut(value: &mut Value) -> Option<&mut Self> {
        match value {
            Value::String(string) => Some(string),
            _ => None,
        }
    }

    fn into_value(self) -> Value {
        Value::String(self)
    }
}

/// The encoding of a string that was set whole.
pub fn encoding_of_set(length: usize) -> Encoding {
    if length <= EMBSTR_MAX { Encoding::Embstr } else { Encoding::Raw }
}

/// The integer that is stored instead of this text, if any.
#[inline]
pub fn parse_int(text: &[u8]) -> Option<i64> {
    match text {
        [b'0'..=b'9' | b'-', ..] if text.len() <= INT_TEXT_MAX => parse_i64(text),
        _ => None,
    }
}

/// A string wherever it lies: what commands read.
#[derive(Clone, Copy, Debug)]
pub enum StringRef<'a> {
    Bytes(&'a [u8]),
    Int(i64),
}

impl<'a> StringRef<'a> {
    /// The text; an integer is written into `scratch`.
    #[inline]
    pub fn as_bytes<'b>(self, scratch: &'b mut itoa::Buffer) -> &'b [u8]
    where
        'a: 'b,
    {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Int(value) => scratch.format(value).as_bytes(),
        }
    }

    /// The length of the text. (STRLEN; an empty string does exist as a value.)
    #[allow(clippy::len_without_is_empty)]
    pub fn len(self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Int(value) => itoa::Buffer::new().format(value).len(),
        }
    }

    /// The integer this string spells, as INCR reads it.
    pub fn as_i64(self) -> Option<i64> {
        match self {
            Self::Bytes(bytes) => parse_int(bytes),
            Self::Int(value) => Some(value),
        }
    }

    pub fn to_vec(self) -> Vec<u8> {
        self.as_bytes(&mut itoa::Buffer::new()).to_vec()
    }
}

impl PartialEq for StringRef<'_> {
    fn eq(&self, other: &Self) -> bool {
        let (mut ours, mut theirs) = (itoa::Buffer::new(), itoa::Buffer::new());
        self.as_bytes(&mut ours) == other.as_bytes(&mut theirs)
    }
}

/// The bytes of a string that is edited in place (APPEND, SETRANGE, SETBIT, PFADD).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct HeapString(Vec<u8>);

impl HeapString {
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// To edit bytes without changing the length.
    pub fn as_mut_bytes(&mut self) -> &mut [u8] {
        &mut self.0
    }

    pub fn into_vec(self) -> Vec<u8> {
        self.0
    }

    pub fn append(&mut self, suffix: &[u8]) {
        self.reserve(suffix.len());
        self.0.extend_from_slice(suffix);
    }

    /// Writes `patch` at `offset`; what lies between the old end and `offset` becomes zeros.
    pub fn set_range(&mut self, offset: usize, patch: &[u8]) {
        let end = offset + patch.len();
        self.grow_to(end);
        self.0[offset..end].copy_from_slice(patch);
    }

    /// Pads with zeros up to `length`; never shortens.
    pub fn grow_to(&mut self, length: usize) {
        if length > self.0.len() {
            self.reserve(length - self.0.len());
            self.0.resize(length, 0);
        }
    }

    /// Replaces the content, keeping the memory unless far too large.
    pub fn assign(&mut self, bytes: &[u8]) {
        if self.0.capacity() < bytes.len() || self.0.capacity() > bytes.len() * 2 {
            self.0 = bytes.to_vec();
        } else {
            self.0.clear();
            self.0.extend_from_slice(bytes);
        }
    }

    fn reserve(&mut self, more: usize) {
        let needed = self.0.len() + more;
        if needed > self.0.capacity() {
            let spare = needed.min(GROWTH_STEP_BYTES);
            self.0.reserve_exact(more + spare);
        }
    }
}

impl From<&[u8]> for HeapString {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl From<Vec<u8>> for HeapString {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn set_chooses_the_most_compact_form() {
        assert_eq!(StringValue::new(b"12").encoding(), Encoding::Int);
        assert_eq!(StringValue::new(b"-9223372036854775808").encoding(), Encoding::Int);
        for text in ["", "012", "1.5", "-0", "9223372036854775808"] {
            assert_eq!(StringValue::new(text.as_bytes()).encoding(), Encoding::Embstr, "{text}");
        }
        assert_eq!(StringValue::new(&[b'x'; 44]).encoding(), Encoding::Embstr);
        assert_eq!(StringValue::new(&[b'x'; 45]).encoding(), Encoding::Raw);
    }

    #[test]
    fn an_edited_string_is_raw_and_still_counts_as_a_number() {
        let mut string = StringValue::new(b"12");
        string.make_raw().append(b"3");
        assert_eq!(string.encoding(), Encoding::Raw);
        assert_eq!(string.as_ref().as_i64(), Some(123));
        assert_eq!(string.as_ref(), StringRef::Int(123));
    }

    proptest! {
        /// APPEND and SETRANGE against their definition on a plain vector.
        #[test]
        fn edits_agree_with_a_vector(
            start in proptest::collection::vec(any::<u8>(), 0..40),
            edits in proptest::collection::vec(
                (any::<bool>(), 0usize..100, proptest::collection::vec(any::<u8>(), 0..30)), 0..20),
        ) {
            let mut model = start.clone();
            let mut string = StringValue::new(&start);
            for (append, offset, patch) in edits {
                let raw = string.make_raw();
                if append {
                    raw.append(&patch);
                    model.extend_from_slice(&patch);
                } else {
                    raw.set_range(offset, &patch);
                    for (index, &byte) in patch.iter().enumerate() {
                        if model.len() <= offset + index {
                            model.resize(offset + index + 1, 0);
                        }
                        model[offset + index] = byte;
                    }
                    if model.len() < offset { model.resize(offset, 0); }
                }
                prop_assert_eq!(raw.as_bytes(), &model[..]);
            }
            prop_assert_eq!(string.as_ref().len(), model.len());
            prop_assert_eq!(string.as_ref().to_vec(), model);
        }
    }
}
