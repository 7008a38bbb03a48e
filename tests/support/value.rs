//! A reply as a tree, RESP2 and RESP3, keeping what clients can tell apart: the three kinds of nothing, the digits of
//! a double, a simple string from a bulk string.
//!
//! `Display` is the notation of expectations in tests: `+OK`, `-ERR text`, `:1`, `"bulk"`, `nil`, `[…]`, `{k: v}`.

use std::fmt;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    Simple(Vec<u8>),
    Error(Vec<u8>),
    Integer(i64),
    Bulk(Vec<u8>),
    Array(Vec<Value>),
    /// `$-1`
    NullBulk,
    /// `*-1`
    NullArray,
    /// `_`
    Null,
    Boolean(bool),
    /// The digits as sent.
    Double(Vec<u8>),
    BigNumber(Vec<u8>),
    BulkError(Vec<u8>),
    /// The format and the text, as `txt:…`.
    Verbatim(Vec<u8>),
    Map(Vec<(Value, Value)>),
    Set(Vec<Value>),
    Push(Vec<Value>),
    /// Attributes, and the reply that they precede.
    Attributed(Vec<(Value, Value)>, Box<Value>),
}

/// A command as a client library sends it.
pub fn encode<A: AsRef<[u8]>>(argv: &[A]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", argv.len()).into_bytes();
    for argument in argv {
        let argument = argument.as_ref();
        bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        bytes.extend_from_slice(argument);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

impl Value {
    /// The value at the start of `bytes` and its length; None while it is incomplete.
    ///
    /// # Panics
    /// When the bytes are not RESP: the server is at fault, and the test fails here.
    pub fn parse(bytes: &[u8]) -> Option<(Value, usize)> {
        let mut reader = Reader { bytes, at: 0 };
        let value = reader.value()?;
        Some((value, reader.at))
    }

    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Value::Integer(number) => Some(*number),
            _ => None,
        }
    }

    /// The bytes of any kind of string or error.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Value::Simple(bytes) | Value::Bulk(bytes) | Value::Error(bytes) | Value::BulkError(bytes) => {
                Some(bytes)
            }
            Value::Verbatim(bytes) => Some(&bytes[4..]),
            Value::Double(bytes) | Value::BigNumber(bytes) => Some(bytes),
            _ => None,
        }
    }

    pub fn to_text(&self) -> String {
        String::from_utf8_lossy(self.as_bytes().unwrap_or_else(|| panic!("not a string: {self}")))
            .into_owned()
    }

    pub fn as_items(&self) -> Option<&[Value]> {
        match self {
            Value::Array(items) | Value::Set(items) | Value::Push(items) => Some(items),
            _ => None,
        }
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Value::NullBulk | Value::NullArray | Value::Null)
    }

    pub fn is_error(&self) -> bool {
        matches!(self, Value::Error(_) | Value::BulkError(_))
    }

    /// What stands beside a name, in a map or in RESP2's flat array of pairs.
    pub fn get(&self, name: &str) -> Option<&Value> {
        let is_named = |key: &Value| key.as_bytes() == Some(name.as_bytes());
        match self {
            Value::Map(pairs) => pairs.iter().find(|(key, _)| is_named(key)).map(|(_, value)| value),
            Value::Array(items) => items.chunks_exact(2).find(|pair| is_named(&pair[0])).map(|pair| &pair[1]),
            _ => None,
        }
    }

    /// The same reply with the items of its outermost level in order: for replies whose order means nothing.
    pub fn sorted(mut self) -> Value {
        match &mut self {
            Value::Array(items) | Value::Set(items) => items.sort(),
            Value::Map(pairs) => pairs.sort(),
            _ => {}
        }
        self
    }
}

impl fmt::Display for Value {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Simple(text) => write!(out, "+{}", text.escape_ascii()),
            Value::Error(text) => write!(out, "-{}", String::from_utf8_lossy(text)),
            Value::BulkError(text) => write!(out, "!{}", String::from_utf8_lossy(text)),
            Value::Integer(number) => write!(out, ":{number}"),
            Value::Bulk(bytes) => write!(out, "\"{}\"", bytes.escape_ascii()),
            Value::NullBulk => out.write_str("nil"),
            Value::NullArray => out.write_str("nil array"),
            Value::Null => out.write_str("null"),
            Value::Boolean(truth) => write!(out, "#{truth}"),
            Value::Double(digits) => write!(out, ",{}", digits.escape_ascii()),
            Value::BigNumber(digits) => write!(out, "({}", digits.escape_ascii()),
            Value::Verbatim(text) => write!(out, "={}", text.escape_ascii()),
            Value::Array(items) => write_items(out, "[", items, "]"),
            Value::Set(items) => write_items(out, "~[", items, "]"),
            Value::Push(items) => write_items(out, ">[", items, "]"),
            Value::Map(pairs) => write_pairs(out, pairs),
            Value::Attributed(pairs, value) => {
                out.write_str("|")?;
                write_pairs(out, pairs)?;
                write!(out, " {value}")
            }
        }
    }
}

fn write_items(out: &mut fmt::Formatter<'_>, open: &str, items: &[Value], close: &str) -> fmt::Result {
    out.write_str(open)?;
    for (index, item) in items.iter().enumerate() {
        write!(out, "{}{item}", if index == 0 { "" } else { ", " })?;
    }
    out.write_str(close)
}

fn write_pairs(out: &mut fmt::Formatter<'_>, pairs: &[(Value, Value)]) -> fmt::Result {
    out.write_str("{")?;
    for (index, (key, value)) in pairs.iter().enumerate() {
        write!(out, "{}{key}: {value}", if index == 0 { "" } else { ", " })?;
    }
    out.write_str("}")
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn value(&mut self) -> Option<Value> {
        let line = self.line()?;
        let (kind, rest) = line.split_first().expect("a reply line begins with its type");
        Some(match kind {
            b'+' => Value::Simple(rest.to_vec()),
            b'-' => Value::Error(rest.to_vec()),
            b':' => Value::Integer(number(rest)),
            b'$' if rest == b"-1" => Value::NullBulk,
            b'*' if rest == b"-1" => Value::NullArray,
            b'_' => {
                assert!(rest.is_empty(), "a null carries nothing: {}", line.escape_ascii());
                Value::Null
            }
            b'#' => Value::Boolean(match rest {
                b"t" => true,
                b"f" => false,
                _ => panic!("not a boolean: {}", line.escape_ascii()),
            }),
            b',' => Value::Double(rest.to_vec()),
            b'(' => Value::BigNumber(rest.to_vec()),
            b'$' => Value::Bulk(self.body(rest)?),
            b'!' => Value::BulkError(self.body(rest)?),
            b'=' => {
                let text = self.body(rest)?;
                assert!(
                    text.len() >= 4 && text[3] == b':',
                    "verbatim without format: {}",
                    text.escape_ascii()
                );
                Value::Verbatim(text)
            }
            b'*' => Value::Array(self.items(rest)?),
            b'~' => Value::Set(self.items(rest)?),
            b'>' => Value::Push(self.items(rest)?),
            b'%' => Value::Map(self.pairs(rest)?),
            b'|' => Value::Attributed(self.pairs(rest)?, Box::new(self.value()?)),
            _ => panic!("not RESP: {}", line.escape_ascii()),
        })
    }

    fn line(&mut self) -> Option<Vec<u8>> {
        let rest = &self.bytes[self.at..];
        let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
        self.at += end + 2;
        Some(rest[..end].to_vec())
    }

    fn body(&mut self, length: &[u8]) -> Option<Vec<u8>> {
        let length = count(length);
        let body = self.bytes.get(self.at..self.at + length + 2)?;
        assert_eq!(&body[length..], b"\r\n", "a body ends where its length says");
        self.at += length + 2;
        Some(body[..length].to_vec())
    }

    fn items(&mut self, length: &[u8]) -> Option<Vec<Value>> {
        (0..count(length)).map(|_| self.value()).collect()
    }

    fn pairs(&mut self, length: &[u8]) -> Option<Vec<(Value, Value)>> {
        (0..count(length)).map(|_| Some((self.value()?, self.value()?))).collect()
    }
}

fn number(digits: &[u8]) -> i64 {
    let text = std::str::from_utf8(digits).ok();
    text.and_then(|text| text.parse().ok())
        .unwrap_or_else(|| panic!("not a number: {}", digits.escape_ascii()))
}

fn count(digits: &[u8]) -> usize {
    usize::try_from(number(digits)).unwrap_or_else(|_| panic!("not a length: {}", digits.escape_ascii()))
}
