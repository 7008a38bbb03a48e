//! Lengths and strings, the two things that everything else consists of.
//!
//! ```text
//! 00nn nnnn                 a length below 64
//! 01nn nnnn nnnn nnnn       below 16384
//! 1000 0000 and 4 bytes     big endian
//! 1000 0001 and 8 bytes     big endian
//! 1100 0000 and 1 byte      no length: the string is an integer; LE
//! 1100 0001 and 2 bytes
//! 1100 0010 and 4 bytes
//! 1100 0011                 the string is packed: two lengths (packed, unpacked), then LZF
//! ```

use super::{Damage, Problem};
use crate::base::lzf;
use crate::base::number::parse_i64;
use std::borrow::Cow;

const LENGTH_32: u8 = 0x80;
const LENGTH_64: u8 = 0x81;
const INT_8: u8 = 0xc0;
const INT_16: u8 = 0xc1;
const INT_32: u8 = 0xc2;
const PACKED: u8 = 0xc3;

/// Longer texts cannot be an integer of 32 bits.
const INT_TEXT_MAX: usize = 11;

/// Shorter strings are not worth packing.
const PACKED_MIN: usize = 21;

/// Bytes that a packed string must save, as Redis asks.
const SAVED_MIN: usize = 4;

// -- Writing

pub fn write_length(length: u64, out: &mut Vec<u8>) {
    match length {
        0..64 => out.push(length as u8),
        64..16384 => out.extend_from_slice(&(0x4000 | length as u16).to_be_bytes()),
        _ => match u32::try_from(length) {
            Ok(length) => {
                out.push(LENGTH_32);
                out.extend_from_slice(&length.to_be_bytes());
            }
            Err(_) => {
                out.push(LENGTH_64);
                out.extend_from_slice(&length.to_be_bytes());
            }
        },
    }
}

/// Writes a string in its shortest form; `compress` allows LZF.
#[inline]
pub fn write_string(text: &[u8], compress: bool, out: &mut Vec<u8>) {
    if text.len() <= INT_TEXT_MAX
        && let Some(value) = parse_i64(text)
        && write_short_int(value, out)
    {
        return;
    }
    if compress && text.len() >= PACKED_MIN && write_packed(text, out) {
        return;
    }
    write_verbatim(text, out);
}

/// Writes an integer as the string that it spells.
#[inline]
pub fn write_int(value: i64, out: &mut Vec<u8>) {
    if !write_short_int(value, out) {
        write_verbatim(itoa::Buffer::new().format(value).as_bytes(), out);
    }
}

#[inline]
fn write_verbatim(text: &[u8], out: &mut Vec<u8>) {
    write_length(text.len() as u64, out);
    out.extend_from_slice(text);
}

/// False if the integer has more than 32 bits: such ones are written as text.
fn write_short_int(value: i64, out: &mut Vec<u8>) -> bool {
    if let Ok(value) = i8::try_from(value) {
        out.extend_from_slice(&[INT_8, value as u8]);
    } else if let Ok(value) = i16::try_from(value) {
        out.push(INT_16);
        out.extend_from_slice(&value.to_le_bytes());
    } else if let Ok(value) = i32::try_from(value) {
        out.push(INT_32);
        out.extend_from_slice(&value.to_le_bytes());
    } else {
        return false;
    }
    true
}

/// Writes a text of `bytes` bytes that is packed already.
pub fn write_compressed(packed: &[u8], bytes: usize, out: &mut Vec<u8>) {
    out.push(PACKED);
    write_length(packed.len() as u64, out);
    write_length(bytes as u64, out);
    out.extend_from_slice(packed);
}

/// False, with nothing written, if packing saves too little.
fn write_packed(text: &[u8], out: &mut Vec<u8>) -> bool {
    // The packed length stands first and is known last; its form depends on it. So the text is packed behind room
    // for the head of the text unpacked, which is never the smaller one, and moved.
    let start = out.len();
    out.push(PACKED);
    write_length(text.len() as u64, out);
    write_length(text.len() as u64, out);
    let body = out.len();
    if !lzf::compress(text, text.len() - SAVED_MIN, out) {
        out.truncate(start);
        return false;
    }
    let packed = out.len() - body;
    let mut head = Vec::with_capacity(19);
    head.push(PACKED);
    write_length(packed as u64, &mut head);
    write_length(text.len() as u64, &mut head);
    let shift = body - start - head.len();
    if shift > 0 {
        out.copy_within(body.., body - shift);
        out.truncate(out.len() - shift);
    }
    out[start..start + head.len()].copy_from_slice(&head);
    true
}

// -- Reading

/// Walks over bytes; every method says where they are damaged, or how many are missing.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The offset of the first byte, in the file that damage is reported of.
    base: u64,
}

/// A string as it was written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Text<'a> {
    Int(i64),
    /// Owned where it had to be unpacked.
    Bytes(Cow<'a, [u8]>),
}

impl Text<'_> {
    /// The text; an integer is written into `scratch`.
    #[inline]
    pub fn as_bytes<'b>(&'b self, scratch: &'b mut itoa::Buffer) -> &'b [u8] {
        match self {
            Self::Int(value) => scratch.format(*value).as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }

    pub fn to_vec(&self) -> Vec<u8> {
        self.as_bytes(&mut itoa::Buffer::new()).to_vec()
    }
}

/// A length, or what stands in its place before a string.
enum Head {
    Length(u64),
    Int(i64),
    Packed,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self::at(bytes, 0)
    }

    /// Of a piece of a file that begins there.
    pub fn at(bytes: &'a [u8], base: u64) -> Self {
        Self { bytes, at: 0, base }
    }

    /// How many bytes have been read.
    pub fn position(&self) -> usize {
        self.at
    }

    /// The same in the file.
    pub fn offset(&self) -> u64 {
        self.base + self.at as u64
    }

    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Complains about what has just been read.
    pub fn wrong<T>(&self, offset: u64, problem: &'static str) -> Result<T, Damage> {
        Err(Damage { offset, problem: Problem::Wrong(problem) })
    }

    #[inline]
    pub fn take(&mut self, length: u64) -> Result<&'a [u8], Damage> {
        let rest = &self.bytes[self.at..];
        match usize::try_from(length).ok().and_then(|length| rest.get(..length)) {
            Some(taken) => {
                self.at += taken.len();
                Ok(taken)
            }
            None => {
                let missing = usize::try_from(length - rest.len() as u64).unwrap_or(usize::MAX);
                Err(Damage { offset: self.offset(), problem: Problem::Incomplete(missing) })
            }
        }
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Damage> {
        Ok(self.take(N as u64)?.try_into().expect("as many as asked for"))
    }

    #[inline]
    pub fn byte(&mut self) -> Result<u8, Damage> {
        Ok(self.array::<1>()?[0])
    }

    pub fn u16_le(&mut self) -> Result<u16, Damage> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub fn u32_le(&mut self) -> Result<u32, Damage> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub fn u64_le(&mut self) -> Result<u64, Damage> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub fn f64_le(&mut self) -> Result<f64, Damage> {
        Ok(f64::from_le_bytes(self.array()?))
    }

    #[inline]
    fn head(&mut self) -> Result<Head, Damage> {
        let offset = self.offset();
        let first = self.byte()?;
        Ok(match first {
            0x00..=0x3f => Head::Length(u64::from(first)),
            0x40..=0x7f => Head::Length(u64::from(first & 0x3f) << 8 | u64::from(self.byte()?)),
            LENGTH_32 => Head::Length(u64::from(u32::from_be_bytes(self.array()?))),
            LENGTH_64 => Head::Length(u64::from_be_bytes(self.array()?)),
            INT_8 => Head::Int(i64::from(i8::from_le_bytes(self.array()?))),
            INT_16 => Head::Int(i64::from(i16::from_le_bytes(self.array()?))),
            INT_32 => Head::Int(i64::from(i32::from_le_bytes(self.array()?))),
            PACKED => Head::Packed,
            _ => return self.wrong(offset, "no length and no string begins like this"),
        })
    }

    #[inline]
    pub fn length(&mut self) -> Result<u64, Damage> {
        let offset = self.offset();
        match self.head()? {
            Head::Length(length) => Ok(length),
            Head::Int(_) | Head::Packed => self.wrong(offset, "a string where a length should be"),
        }
    }

    #[inline]
    pub fn string(&mut self) -> Result<Text<'a>, Damage> {
        let offset = self.offset();
        Ok(match self.head()? {
            Head::Length(length) => Text::Bytes(Cow::Borrowed(self.take(length)?)),
            Head::Int(value) => Text::Int(value),
            Head::Packed => {
                let (packed, length) = (self.length()?, self.length()?);
                let packed = self.take(packed)?;
                let unpacked =
                    usize::try_from(length).ok().and_then(|length| lzf::decompress(packed, length).ok());
                match unpacked {
                    Some(text) => Text::Bytes(Cow::Owned(text)),
                    None => return self.wrong(offset, "a string that cannot be unpacked"),
                }
            }
        })
    }

    /// Passes over a string without unpacking it.
    #[inline]
    pub fn skip_string(&mut self) -> Result<(), Damage> {
        match self.head()? {
            Head::Length(length) => self.take(length).map(drop),
            Head::Int(_) => Ok(()),
            Head::Packed => {
                let (packed, _) = (self.length()?, self.length()?);
                self.take(packed).map(drop)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(text: &[u8], compress: bool) -> Vec<u8> {
        let mut out = Vec::new();
        write_string(text, compress, &mut out);
        out
    }

    /// Read off DUMP of redis-server 7.0.15.
    #[test]
    fn the_bytes_are_those_of_redis() {
        assert_eq!(written(b"abc", true), b"\x03abc");
        assert_eq!(written(b"", true), b"\x00");
        assert_eq!(written(b"-1", true), b"\xc0\xff");
        assert_eq!(written(b"128", true), b"\xc1\x80\x00");
        assert_eq!(written(b"-32769", true), b"\xc2\xff\x7f\xff\xff");
        assert_eq!(written(b"2147483648", true), b"\x0a2147483648");
        assert_eq!(written(b"012", true), b"\x03012");
        assert_eq!(written(&[b'a'; 64], false)[..3], *b"\x40\x40a");
        assert_eq!(written(&[b'a'; 20], true).len(), 21);
        assert_eq!(written(&[b'a'; 100], true)[..4], b"\xc3\x05\x40\x64"[..]);
    }

    #[test]
    fn lengths() {
        for (length, bytes) in [(0, 1), (63, 1), (64, 2), (16383, 2), (16384, 5), (u64::from(u32::MAX), 5)] {
            let mut out = Vec::new();
            write_length(length, &mut out);
            assert_eq!(out.len(), bytes, "{length}");
            assert_eq!(Reader::new(&out).length(), Ok(length));
        }
        let mut out = Vec::new();
        write_length(u64::MAX, &mut out);
        assert_eq!((out.len(), Reader::new(&out).length()), (9, Ok(u64::MAX)));
        for wrong in [0x82, 0xbf, 0xc4, 0xff] {
            assert_eq!(Reader::at(&[wrong], 7).length().map_err(|damage| damage.offset), Err(7));
        }
        assert!(Reader::new(b"\xc0\x01").length().is_err());
    }

    #[test]
    fn a_missing_rest_is_told() {
        let missing = |bytes| Reader::new(bytes).string().map_err(|damage| damage.missing());
        assert_eq!(missing(b""), Err(Some(1)));
        assert_eq!(missing(b"\x05ab"), Err(Some(3)));
        assert_eq!(missing(b"\x80\x00"), Err(Some(3)));
        assert_eq!(missing(b"\x81\xff\xff\xff\xff\xff\xff\xff\xff"), Err(Some(usize::MAX)));
        assert_eq!(missing(b"\xc3\x05\x08"), Err(Some(5)));
        // More than those bytes could ever unpack to.
        assert_eq!(missing(b"\xc3\x01\x80\xff\xff\xff\xff\x00"), Err(None));
    }

    proptest! {
        #[test]
        fn strings_there_and_back(
            text in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..100),
                proptest::collection::vec(0_u8..3, 0..2000),
                any::<i64>().prop_map(|value| value.to_string().into_bytes()),
                any::<i32>().prop_map(|value| value.to_string().into_bytes()),
            ],
            compress in any::<bool>(),
        ) {
            let mut bytes = written(&text, compress);
            prop_assert!(bytes.len() <= text.len() + 5);
            let end = bytes.len();
            for cut in 0..end {
                let damage = Reader::new(&bytes[..cut]).string().expect_err("it is cut");
                let more = damage.missing().expect("nothing else is wrong");
                prop_assert!(more <= end - cut);
                prop_assert_eq!(Reader::new(&bytes[..cut]).skip_string().map_err(|damage| damage.missing()), Err(Some(more)));
            }
            bytes.extend_from_slice(b"behind");
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(reader.string().expect("whole").to_vec(), text);
            prop_assert_eq!(reader.position(), end);
            let mut reader = Reader::new(&bytes);
            reader.skip_string().expect("whole");
            prop_assert_eq!(reader.position(), end);
        }
    }
}
