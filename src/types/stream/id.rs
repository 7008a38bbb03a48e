//! The id of a stream's entry: a time in milliseconds and a number that tells apart what has the same time.

use crate::base::number::parse_u64_lenient;
use std::fmt;

#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct StreamId {
    pub ms: u64,
    pub seq: u64,
}

/// The longest text of an id.
const TEXT_BYTES_MAX: usize = 41;

impl StreamId {
    pub const MIN: Self = Self { ms: 0, seq: 0 };
    pub const MAX: Self = Self { ms: u64::MAX, seq: u64::MAX };

    pub const fn new(ms: u64, seq: u64) -> Self {
        Self { ms, seq }
    }

    /// The one right after it, unless it is the last.
    pub fn next(self) -> Option<Self> {
        match self.seq.checked_add(1) {
            Some(seq) => Some(Self { seq, ..self }),
            None => Some(Self { ms: self.ms.checked_add(1)?, seq: 0 }),
        }
    }

    /// The one right before it, unless it is the first.
    pub fn previous(self) -> Option<Self> {
        match self.seq.checked_sub(1) {
            Some(seq) => Some(Self { seq, ..self }),
            None => Some(Self { ms: self.ms.checked_sub(1)?, seq: u64::MAX }),
        }
    }

    /// The order of the bytes is the order of the ids.
    pub fn to_bytes(self) -> [u8; 16] {
        ((u128::from(self.ms) << 64) | u128::from(self.seq)).to_be_bytes()
    }

    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        let both = u128::from_be_bytes(bytes);
        Self { ms: (both >> 64) as u64, seq: both as u64 }
    }

    /// Reads `ms-seq`, or `ms` alone. C ends the text at its first zero byte, and so does this.
    pub fn parse(text: &[u8]) -> Option<ParsedId> {
        if text.len() > 127 {
            return None;
        }
        let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
        let Some(dash) = text.iter().position(|byte| *byte == b'-') else {
            return Some(ParsedId { ms: parse_u64_lenient(text)?, seq: Seq::Missing });
        };
        let (ms, seq) = (parse_u64_lenient(&text[..dash])?, &text[dash + 1..]);
        let seq = if seq == b"*" { Seq::Auto } else { Seq::Given(parse_u64_lenient(seq)?) };
        Some(ParsedId { ms, seq })
    }

    /// The text in `buffer`.
    #[inline]
    pub fn write(self, buffer: &mut IdBuffer) -> &[u8] {
        let (mut ms, mut seq) = (itoa::Buffer::new(), itoa::Buffer::new());
        let (ms, seq) = (ms.format(self.ms).as_bytes(), seq.format(self.seq).as_bytes());
        let len = ms.len() + 1 + seq.len();
        buffer.0[..ms.len()].copy_from_slice(ms);
        buffer.0[ms.len()] = b'-';
        buffer.0[ms.len() + 1..len].copy_from_slice(seq);
        &buffer.0[..len]
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

/// Room for the text of an id.
pub struct IdBuffer([u8; TEXT_BYTES_MAX]);

impl IdBuffer {
    pub fn new() -> Self {
        Self([0; TEXT_BYTES_MAX])
    }
}

impl Default for IdBuffer {
    fn default() -> Self {
        Self::new()
    }
}

/// What the text of an id says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ParsedId {
    pub ms: u64,
    pub seq: Seq,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Seq {
    Missing,
    Given(u64),
    /// `ms-*`
    Auto,
}

impl ParsedId {
    /// As an id, where `*` has no meaning and a missing number means `missing`.
    pub fn complete(self, missing: u64) -> Option<StreamId> {
        match self.seq {
            Seq::Missing => Some(StreamId::new(self.ms, missing)),
            Seq::Given(seq) => Some(StreamId::new(self.ms, seq)),
            Seq::Auto => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_and_bytes() {
        assert_eq!(StreamId::MAX.next(), None);
        assert_eq!(StreamId::MIN.previous(), None);
        assert_eq!(StreamId::new(5, u64::MAX).next(), Some(StreamId::new(6, 0)));
        assert_eq!(StreamId::new(6, 0).previous(), Some(StreamId::new(5, u64::MAX)));
        for id in [StreamId::MIN, StreamId::MAX, StreamId::new(1, 2), StreamId::new(u64::MAX, 0)] {
            assert_eq!(StreamId::from_bytes(id.to_bytes()), id);
            assert_eq!(id.write(&mut IdBuffer::new()), id.to_string().as_bytes());
        }
        assert!(StreamId::new(1, 300).to_bytes() < StreamId::new(2, 0).to_bytes());
    }

    #[test]
    fn texts() {
        let given = |ms, seq| Some(ParsedId { ms, seq: Seq::Given(seq) });
        assert_eq!(StreamId::parse(b"5-7"), given(5, 7));
        assert_eq!(StreamId::parse(b" 05-+7"), given(5, 7));
        assert_eq!(StreamId::parse(b"5- -1"), given(5, u64::MAX), "strtoull negates");
        assert_eq!(StreamId::parse(b"5-7\0-9"), given(5, 7));
        assert_eq!(StreamId::parse(b"5"), Some(ParsedId { ms: 5, seq: Seq::Missing }));
        assert_eq!(StreamId::parse(b"5-*"), Some(ParsedId { ms: 5, seq: Seq::Auto }));
        for wrong in
            [&b""[..], b"-", b"+", b"5-", b"-5", b"5--3", b"a", b"5-a", b"5-1-1", b"5-**", &[b'0'; 128]]
        {
            assert_eq!(StreamId::parse(wrong), None, "{wrong:?}");
        }
    }
}
