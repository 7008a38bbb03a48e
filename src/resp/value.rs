//! A reply as a tree, for where one has to be kept or looked into: EXEC, scripts, gathering, tests.

use super::reply::Reply;

/// Any RESP2 or RESP3 value. Texts are bytes: nobody promised UTF-8.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Simple(Vec<u8>),
    /// With its code, without the leading `-`.
    Error(Vec<u8>),
    Integer(i64),
    Bulk(Vec<u8>),
    /// RESP2's `$-1` or RESP3's `_`.
    Null,
    /// RESP2's `*-1`.
    NullArray,
    Array(Vec<Value>),
    Map(Vec<(Value, Value)>),
    Set(Vec<Value>),
    Push(Vec<Value>),
    Double(f64),
    Boolean(bool),
    BigNumber(Vec<u8>),
    Verbatim {
        format: [u8; 3],
        text: Vec<u8>,
    },
    Attributed {
        attributes: Vec<(Value, Value)>,
        value: Box<Value>,
    },
}

impl Value {
    pub fn bulk(bytes: impl Into<Vec<u8>>) -> Self {
        Self::Bulk(bytes.into())
    }

    pub fn is_error(&self) -> bool {
        matches!(self, Self::Error(_))
    }

    /// The bytes of any kind of string.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Simple(text)
            | Self::Error(text)
            | Self::Bulk(text)
            | Self::BigNumber(text)
            | Self::Verbatim { text, .. } => Some(text),
            _ => None,
        }
    }

    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Self::Integer(value) => Some(*value),
            _ => None,
        }
    }

    /// The elements of any kind of sequence.
    pub fn as_elements(&self) -> Option<&[Value]> {
        match self {
            Self::Array(elements) | Self::Set(elements) | Self::Push(elements) => Some(elements),
            _ => None,
        }
    }

    /// Writes the value in the protocol of `reply`, as if a command had replied it there.
    pub fn write(&self, reply: &mut Reply<'_>) {
        let all = |reply: &mut Reply<'_>, elements: &[Value]| {
            elements.iter().for_each(|element| element.write(reply));
        };
        let pairs = |reply: &mut Reply<'_>, pairs: &[(Value, Value)]| {
            pairs.iter().for_each(|(key, value)| {
                key.write(reply);
                value.write(reply);
            });
        };
        match self {
            Self::Simple(text) => reply.simple(text),
            Self::Error(text) => reply.error(text),
            Self::Integer(value) => reply.integer(*value),
            Self::Bulk(bytes) => reply.bulk(bytes),
            Self::Null => reply.null(),
            Self::NullArray => reply.null_array(),
            Self::Double(value) => reply.double(*value),
            Self::Boolean(value) => reply.boolean(*value),
            Self::BigNumber(digits) => reply.big_number(digits),
            Self::Verbatim { format, text } => reply.verbatim(format, text),
            Self::Array(elements) => {
                reply.array(elements.len());
                all(reply, elements);
            }
            Self::Set(elements) => {
                reply.set(elements.len());
                all(reply, elements);
            }
            Self::Push(elements) => {
                reply.push(elements.len());
                all(reply, elements);
            }
            Self::Map(entries) => {
                reply.map(entries.len());
                pairs(reply, entries);
            }
            Self::Attributed { attributes, value } => {
                if reply.attribute(attributes.len()) {
                    pairs(reply, attributes);
                }
                value.write(reply);
            }
        }
    }
}
