//! Reads replies, for when Pinion is the client: the link to a master, MIGRATE, gathering, tests.
//!
//! Invariants
//!   P1  However the bytes are cut into calls, the same values and the same error come out.
//!   P2  No byte is looked at twice because more arrived.
//!   P3  Memory is taken for elements that are there, not for those a length announces.

use std::fmt;

use super::value::Value;
use crate::base::double;
use crate::base::number::parse_i64;

/// Replies nest no deeper than this.
const DEPTH_MAX: usize = 128;

/// What is no reply.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ReplyError {
    UnknownType(u8),
    InvalidLength,
    InvalidNumber,
    MissingLineEnd,
    TooDeep,
}

impl fmt::Display for ReplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownType(byte) => write!(f, "no reply begins with '{}'", byte.escape_ascii()),
            Self::InvalidLength => f.write_str("a reply's length is no number"),
            Self::InvalidNumber => f.write_str("a reply of a number is none"),
            Self::MissingLineEnd => f.write_str("a reply does not end with a line end"),
            Self::TooDeep => f.write_str("a reply nests too deeply"),
        }
    }
}

impl std::error::Error for ReplyError {}

/// The value at the beginning of `bytes`, and the bytes it takes; `None` if it is not all there.
pub fn parse_reply(bytes: &[u8]) -> Result<Option<(Value, usize)>, ReplyError> {
    ReplyParser::new().parse(bytes)
}

/// The length of the value at the beginning of `bytes`, without building it; `None` if it is not all there.
pub fn reply_len(bytes: &[u8]) -> Result<Option<usize>, ReplyError> {
    let (mut at, mut missing) = (0_usize, 1_u64);
    let mut searched = 0;
    while missing > 0 {
        let Some((token, next)) = token(bytes, at, &mut searched)? else { return Ok(None) };
        missing -= 1;
        at = next;
        match token {
            Token::Value(_) => {}
            Token::Text { len, .. } => {
                if !text_is_there(bytes, at, len)? {
                    return Ok(None);
                }
                at += len + 2;
            }
            Token::Open { elements, .. } => missing = missing.saturating_add(elements),
        }
    }
    Ok(Some(at))
}

/// Reads one value after the other. Remembers what it has of a value that is not all there.
#[derive(Debug, Default)]
pub struct ReplyParser {
    at: usize,
    searched: usize,
    /// The header of a text that was read already.
    text: Option<(Text, usize)>,
    /// The containers being filled, the outermost first.
    open: Vec<Frame>,
}

#[derive(Debug)]
struct Frame {
    container: Container,
    elements: u64,
    items: Vec<Value>,
}

#[derive(Clone, Copy, Debug)]
enum Container {
    Array,
    Map,
    Set,
    Push,
    /// Its elements are followed by one more: the value they annotate.
    Attribute,
}

#[derive(Clone, Copy, Debug)]
enum Text {
    Bulk,
    Error,
    Verbatim,
}

/// What a line says.
enum Token {
    Value(Value),
    Text { kind: Text, len: usize },
    Open { container: Container, elements: u64 },
}

impl ReplyParser {
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the value that `bytes` begins with. After `None` call again with the same bytes and more behind them;
    /// after a value drop as many bytes as it took. After an error the stream is of no more use.
    pub fn parse(&mut self, bytes: &[u8]) -> Result<Option<(Value, usize)>, ReplyError> {
        loop {
            let Some(mut value) = self.next_value(bytes)? else { return Ok(None) };
            // A value may be the last of its container, and that of its own.
            loop {
                let Some(frame) = self.open.last_mut() else {
                    let consumed = self.at;
                    *self = Self::default();
                    return Ok(Some((value, consumed)));
                };
                frame.items.push(value);
                if (frame.items.len() as u64) < frame.elements {
                    break;
                }
                let frame = self.open.pop().expect("it was there a moment ago");
                value = close(frame.container, frame.items);
            }
        }
    }

    /// The next value that is not a container with something in it; those are opened on the way.
    fn next_value(&mut self, bytes: &[u8]) -> Result<Option<Value>, ReplyError> {
        loop {
            if let Some((kind, len)) = self.text {
                if !text_is_there(bytes, self.at, len)? {
                    return Ok(None);
                }
                let text = &bytes[self.at..self.at + len];
                self.at += len + 2;
                self.text = None;
                return text_value(kind, text).map(Some);
            }
            let Some((token, next)) = token(bytes, self.at, &mut self.searched)? else { return Ok(None) };
            self.at = next;
            match token {
                Token::Value(value) => return Ok(Some(value)),
                Token::Text { kind, len } => self.text = Some((kind, len)),
                Token::Open { container, elements: 0 } => return Ok(Some(close(container, Vec::new()))),
                Token::Open { .. } if self.open.len() == DEPTH_MAX => return Err(ReplyError::TooDeep),
                Token::Open { container, elements } => {
                    // P3: an element takes three bytes or more.
                    let there = (bytes.len() - next) as u64 / 3;
                    let items = Vec::with_capacity(elements.min(there) as usize);
                    self.open.push(Frame { container, elements, items });
                }
            }
        }
    }
}

/// Reads the line at `at`: what it says, and where it ends. `searched` spares a second look at its bytes.
fn token(bytes: &[u8], at: usize, searched: &mut usize) -> Result<Option<(Token, usize)>, ReplyError> {
    let Some(&kind) = bytes.get(at) else { return Ok(None) };
    // Before the line has ended, so that the error does not depend on how much of it is there (P1).
    if !b"+-:$*!=%~>|_#,(".contains(&kind) {
        return Err(ReplyError::UnknownType(kind));
    }
    let from = at.max(*searched);
    let Some(end) = memchr::memchr(b'\r', &bytes[from..]).map(|index| from + index) else {
        *searched = bytes.len();
        return Ok(None);
    };
    *searched = end;
    match bytes.get(end + 1) {
        None => return Ok(None),
        Some(b'\n') => {}
        Some(_) => return Err(ReplyError::MissingLineEnd),
    }
    let line = &bytes[at + 1..end];
    let container = |container, per_element: u64| {
        let len = length(line)?.ok_or(ReplyError::InvalidLength)? as u64;
        let elements = len.checked_mul(per_element).ok_or(ReplyError::InvalidLength)?;
        Ok(Token::Open { container, elements })
    };
    let text = |kind| {
        let len = length(line)?.ok_or(ReplyError::InvalidLength)?;
        Ok(Token::Text { kind, len })
    };
    let token = match kind {
        b'+' => Token::Value(Value::Simple(line.to_vec())),
        b'-' => Token::Value(Value::Error(line.to_vec())),
        b':' => Token::Value(Value::Integer(parse_i64(line).ok_or(ReplyError::InvalidNumber)?)),
        b'$' if length(line)?.is_none() => Token::Value(Value::Null),
        b'*' if length(line)?.is_none() => Token::Value(Value::NullArray),
        b'$' => text(Text::Bulk)?,
        b'!' => text(Text::Error)?,
        b'=' => text(Text::Verbatim)?,
        b'*' => container(Container::Array, 1)?,
        b'%' => container(Container::Map, 2)?,
        b'~' => container(Container::Set, 1)?,
        b'>' => container(Container::Push, 1)?,
        b'|' => match container(Container::Attribute, 2)? {
            Token::Open { container, elements } => {
                Token::Open { container, elements: elements.checked_add(1).ok_or(ReplyError::InvalidLength)? }
            }
            other => other,
        },
        b'_' => Token::Value(Value::Null),
        b'#' => match line {
            b"t" => Token::Value(Value::Boolean(true)),
            b"f" => Token::Value(Value::Boolean(false)),
            _ => return Err(ReplyError::InvalidNumber),
        },
        b',' => Token::Value(Value::Double(match line {
            b"nan" | b"-nan" => f64::NAN,
            line => double::parse(line).ok_or(ReplyError::InvalidNumber)?,
        })),
        b'(' => Token::Value(Value::BigNumber(line.to_vec())),
        other => return Err(ReplyError::UnknownType(other)),
    };
    Ok(Some((token, end + 2)))
}

/// A length; `None` is the -1 of nulls.
fn length(line: &[u8]) -> Result<Option<usize>, ReplyError> {
    match parse_i64(line) {
        Some(-1) => Ok(None),
        // Within 48 bits, offsets into memory add up without overflow.
        Some(len @ 0..=0xffff_ffff_ffff) => Ok(Some(len as usize)),
        _ => Err(ReplyError::InvalidLength),
    }
}

fn text_is_there(bytes: &[u8], at: usize, len: usize) -> Result<bool, ReplyError> {
    match bytes.get(at + len..at + len + 2) {
        None => Ok(false),
        Some(b"\r\n") => Ok(true),
        Some(_) => Err(ReplyError::MissingLineEnd),
    }
}

fn text_value(kind: Text, text: &[u8]) -> Result<Value, ReplyError> {
    Ok(match kind {
        Text::Bulk => Value::Bulk(text.to_vec()),
        Text::Error => Value::Error(text.to_vec()),
        Text::Verbatim => match text {
            &[a, b, c, b':', ref text @ ..] => Value::Verbatim { format: [a, b, c], text: text.to_vec() },
            _ => return Err(ReplyError::InvalidLength),
        },
    })
}

fn close(container: Container, mut items: Vec<Value>) -> Value {
    match container {
        Container::Array => Value::Array(items),
        Container::Set => Value::Set(items),
        Container::Push => Value::Push(items),
        Container::Map => Value::Map(pairs(items)),
        Container::Attribute => {
            let value = Box::new(items.pop().expect("one element more than the pairs"));
            Value::Attributed { attributes: pairs(items), value }
        }
    }
}

fn pairs(items: Vec<Value>) -> Vec<(Value, Value)> {
    let mut pairs = Vec::with_capacity(items.len() / 2);
    let mut items = items.into_iter();
    while let (Some(key), Some(value)) = (items.next(), items.next()) {
        pairs.push((key, value));
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::{Protocol, Reply};
    use proptest::prelude::*;

    fn read(bytes: &[u8]) -> Value {
        let (value, consumed) = parse_reply(bytes).expect("a reply").expect("a whole one");
        assert_eq!(consumed, bytes.len());
        value
    }

    #[test]
    fn each_type() {
        let bulk = Value::bulk;
        for (bytes, expected) in [
            ("+OK\r\n", Value::Simple(b"OK".to_vec())),
            ("-ERR no\r\n", Value::Error(b"ERR no".to_vec())),
            ("!6\r\nERR no\r\n", Value::Error(b"ERR no".to_vec())),
            (":-12\r\n", Value::Integer(-12)),
            ("$4\r\na\r\nb\r\n", bulk("a\r\nb")),
            ("$0\r\n\r\n", bulk("")),
            ("$-1\r\n", Value::Null),
            ("*-1\r\n", Value::NullArray),
            ("_\r\n", Value::Null),
            ("#t\r\n", Value::Boolean(true)),
            (",1.5\r\n", Value::Double(1.5)),
            (",-inf\r\n", Value::Double(f64::NEG_INFINITY)),
            ("(123\r\n", Value::BigNumber(b"123".to_vec())),
            ("=6\r\ntxt:hi\r\n", Value::Verbatim { format: *b"txt", text: b"hi".to_vec() }),
            ("*2\r\n*0\r\n:1\r\n", Value::Array(vec![Value::Array(vec![]), Value::Integer(1)])),
            ("%1\r\n+k\r\n~1\r\n:1\r\n", {
                Value::Map(vec![(Value::Simple(b"k".to_vec()), Value::Set(vec![Value::Integer(1)]))])
            }),
            (">1\r\n$1\r\nx\r\n", Value::Push(vec![bulk("x")])),
            ("|1\r\n$1\r\nk\r\n:1\r\n*1\r\n:2\r\n", {
                let value = Box::new(Value::Array(vec![Value::Integer(2)]));
                Value::Attributed { attributes: vec![(bulk("k"), Value::Integer(1))], value }
            }),
        ] {
            assert_eq!(read(bytes.as_bytes()), expected, "{bytes:?}");
        }
    }

    #[test]
    fn what_is_no_reply() {
        for (bytes, expected) in [
            ("x", ReplyError::UnknownType(b'x')),
            ("\r\n", ReplyError::UnknownType(b'\r')),
            ("*1\r\nx", ReplyError::UnknownType(b'x')),
            (":x\r\n", ReplyError::InvalidNumber),
            ("#x\r\n", ReplyError::InvalidNumber),
            (",x\r\n", ReplyError::InvalidNumber),
            ("$x\r\n", ReplyError::InvalidLength),
            ("$-2\r\n", ReplyError::InvalidLength),
            ("%-1\r\n", ReplyError::InvalidLength),
            ("=2\r\nhi\r\n", ReplyError::InvalidLength),
            ("$9223372036854775807\r\n", ReplyError::InvalidLength),
            ("$1\r\nabc", ReplyError::MissingLineEnd),
            ("+a\rb", ReplyError::MissingLineEnd),
        ] {
            assert_eq!(parse_reply(bytes.as_bytes()), Err(expected), "{bytes:?}");
        }
        assert_eq!(parse_reply(&b"*1\r\n".repeat(DEPTH_MAX + 1)), Err(ReplyError::TooDeep));
        assert_eq!(parse_reply(&b"*1\r\n".repeat(DEPTH_MAX)), Ok(None));
    }

    /// P3: by not running out of memory.
    #[test]
    fn a_large_length_alone_takes_no_memory() {
        assert_eq!(parse_reply(b"*281474976710655\r\n:1\r\n"), Ok(None));
        assert_eq!(reply_len(b"%281474976710655\r\n:1\r\n"), Ok(None));
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..20);
        let line = || "[ -~]{0,12}".prop_map(String::into_bytes);
        let leaf = prop_oneof![
            line().prop_map(Value::Simple),
            line().prop_map(Value::Error),
            any::<i64>().prop_map(Value::Integer),
            bytes().prop_map(Value::Bulk),
            Just(Value::Null),
            any::<bool>().prop_map(Value::Boolean),
            any::<i32>().prop_map(|value| Value::Double(f64::from(value) / 8.0)),
            "-?[1-9][0-9]{0,30}".prop_map(|digits| Value::BigNumber(digits.into_bytes())),
            bytes().prop_map(|text| Value::Verbatim { format: *b"txt", text }),
        ];
        leaf.prop_recursive(4, 30, 5, |inner| {
            let list = || proptest::collection::vec(inner.clone(), 0..5);
            let map = || proptest::collection::vec((inner.clone(), inner.clone()), 0..4);
            prop_oneof![
                list().prop_map(Value::Array),
                list().prop_map(Value::Set),
                list().prop_map(Value::Push),
                map().prop_map(Value::Map),
                (map(), inner.clone())
                    .prop_map(|(attributes, value)| Value::Attributed { attributes, value: Box::new(value) }),
            ]
        })
    }

    proptest! {
        /// What the writer writes, this reads: whole, or a byte at a time (P1).
        #[test]
        fn what_is_written_is_read(values in proptest::collection::vec(any_value(), 1..4)) {
            let mut bytes = Vec::new();
            let mut reply = Reply::new(&mut bytes, Protocol::Resp3);
            values.iter().for_each(|value| value.write(&mut reply));

            let mut parser = ReplyParser::new();
            let (mut begin, mut got) = (0, Vec::new());
            for end in 0..=bytes.len() {
                if let Some((value, consumed)) = parser.parse(&bytes[begin..end]).expect("replies") {
                    prop_assert_eq!(parse_reply(&bytes[begin..]), Ok(Some((value.clone(), consumed))));
                    got.push(value);
                    begin += consumed;
                }
                // An attribute belongs to the value after it, so a whole number of values is there just then.
                prop_assert_eq!(reply_len(&bytes[begin..end]), Ok(None));
            }
            prop_assert_eq!(got, values);
            prop_assert_eq!(begin, bytes.len());
        }

        /// W2 of the writer: what a RESP2 client gets, an old reader understands.
        #[test]
        fn resp2_has_the_old_types_only(value in any_value()) {
            let mut bytes = Vec::new();
            value.write(&mut Reply::new(&mut bytes, Protocol::Resp2));
            fn old(value: &Value) -> bool {
                match value {
                    Value::Array(elements) => elements.iter().all(old),
                    Value::Simple(_) | Value::Error(_) | Value::Integer(_) | Value::Bulk(_) => true,
                    Value::Null | Value::NullArray => true,
                    _ => false,
                }
            }
            prop_assert!(old(&read(&bytes)));
        }

        #[test]
        fn garbage_is_survived(bytes in "[-+:$*!=%~>|_#,(0-9a\r\n]{0,40}") {
            let bytes = bytes.into_bytes();
            let whole = parse_reply(&bytes);
            let mut parser = ReplyParser::new();
            let pieces = (0..=bytes.len())
                .map(|end| parser.parse(&bytes[..end]))
                .find(|result| *result != Ok(None))
                .unwrap_or(Ok(None));
            if let (Ok(Some((one, _))), Ok(Some((other, _)))) = (&whole, &pieces) {
                // NaN is not equal to itself; its text is.
                prop_assert_eq!(format!("{one:?}"), format!("{other:?}"));
            } else {
                prop_assert_eq!(&whole, &pieces);
            }
            if let Ok(Some((_, consumed))) = whole {
                prop_assert_eq!(reply_len(&bytes), Ok(Some(consumed)));
            }
        }
    }
}
