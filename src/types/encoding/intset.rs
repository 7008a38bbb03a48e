//! The intset: a set of integers in ascending order, in the bytes of Redis, so that dumps and replicas take it as it is.
//!
//! ```text
//! u32 LE   width of each integer: 2, 4 or 8 bytes
//! u32 LE   their number
//! i16 LE, i32 LE or i64 LE each, ascending
//! ```
//!
//! Invariants
//!   I1  The bytes pass [`validate`]; only [`Intset::from_bytes`] lets bytes from outside in.
//!   I2  The width is that of the widest integer ever added: it never falls, as in Redis.

use std::cmp::Ordering;

const HEADER_BYTES: usize = 8;

/// Why bytes are not an intset.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Damaged;

/// An intset wherever its bytes lie.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct IntsetRef<'a>(&'a [u8]);

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Intset(Vec<u8>);

impl<'a> IntsetRef<'a> {
    /// Takes bytes that [`Intset::as_bytes`] gave.
    #[inline]
    pub fn of(bytes: &'a [u8]) -> Self {
        debug_assert_eq!(validate(bytes), Ok(()), "I1");
        Self(bytes)
    }

    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// The bytes of the longest member's text.
    pub fn longest_text(self) -> usize {
        let mut scratch = (itoa::Buffer::new(), itoa::Buffer::new());
        match self.len() {
            0 => 0,
            len => scratch.0.format(self.get(0)).len().max(scratch.1.format(self.get(len - 1)).len()),
        }
    }

    #[inline]
    fn width(self) -> usize {
        usize::from(self.0[0])
    }

    #[inline]
    pub fn len(self) -> usize {
        (self.0.len() - HEADER_BYTES) / self.width()
    }

    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The integer with this index, which is below `len`.
    #[inline]
    pub fn get(self, index: usize) -> i64 {
        read(&self.0[HEADER_BYTES..], self.width(), index)
    }

    #[inline]
    pub fn contains(self, value: i64) -> bool {
        self.search(value).is_ok()
    }

    /// The index of an integer, or where it would stand.
    #[inline]
    fn search(self, value: i64) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = (low + high) / 2;
            match self.get(middle).cmp(&value) {
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
                Ordering::Equal => return Ok(middle),
            }
        }
        Err(low)
    }

    /// In ascending order.
    #[inline]
    pub fn iter(self) -> impl ExactSizeIterator<Item = i64> + 'a {
        (0..self.len()).map(move |index| self.get(index))
    }
}

impl Intset {
    pub fn new() -> Self {
        Self(vec![2, 0, 0, 0, 0, 0, 0, 0])
    }

    /// Takes bytes from outside, if they are an intset.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Damaged> {
        validate(bytes)?;
        Ok(Self(bytes.to_vec()))
    }

    /// Takes bytes that [`Intset::as_bytes`] gave.
    pub fn from_own_bytes(bytes: &[u8]) -> Self {
        debug_assert_eq!(validate(bytes), Ok(()), "I1");
        Self(bytes.to_vec())
    }

    /// What goes to disk.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    #[inline]
    pub fn as_ref(&self) -> IntsetRef<'_> {
        IntsetRef(&self.0)
    }

    pub fn len(&self) -> usize {
        self.as_ref().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn heap_bytes(&self) -> usize {
        self.0.capacity()
    }

    /// Adds an integer; false if it is there.
    pub fn insert(&mut self, value: i64) -> bool {
        let needed = width_of(value);
        if needed > self.as_ref().width() {
            self.widen(needed);
        }
        let set = self.as_ref();
        let width = set.width();
        // Ascending insertion is common.
        let at = match set.len() {
            0 => 0,
            len if set.get(len - 1) < value => len,
            _ => match set.search(value) {
                Ok(_) => return false,
                Err(at) => at,
            },
        };
        let position = HEADER_BYTES + at * width;
        let old = self.0.len();
        if old + width > self.0.capacity() {
            self.0.reserve_exact((old / 4).next_multiple_of(width).max(width));
        }
        self.0.resize(old + width, 0);
        self.0.copy_within(position..old, position + width);
        self.0[position..position + width].copy_from_slice(&value.to_le_bytes()[..width]);
        self.write_len();
        true
    }

    /// Removes an integer; false if it is not there.
    pub fn remove(&mut self, value: i64) -> bool {
        let Ok(at) = self.as_ref().search(value) else { return false };
        let width = self.as_ref().width();
        let position = HEADER_BYTES + at * width;
        self.0.drain(position..position + width);
        if self.0.capacity() > 64 && self.0.len() * 2 < self.0.capacity() {
            self.0.shrink_to(self.0.len() * 5 / 4);
        }
        self.write_len();
        true
    }

    fn write_len(&mut self) {
        let len = self.len() as u32;
        self.0[4..8].copy_from_slice(&len.to_le_bytes());
    }

    fn widen(&mut self, width: usize) {
        let old = self.as_ref();
        let mut new = Vec::with_capacity(HEADER_BYTES + (old.len() + 1) * width);
        new.extend_from_slice(&(width as u32).to_le_bytes());
        new.extend_from_slice(&self.0[4..8]);
        old.iter().for_each(|value| new.extend_from_slice(&value.to_le_bytes()[..width]));
        self.0 = new;
    }
}

impl Default for Intset {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether bytes are an intset: of a known width, with the number of integers that the header tells, ascending.
pub fn validate(bytes: &[u8]) -> Result<(), Damaged> {
    let (header, integers) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(Damaged)?;
    let &[width @ (2 | 4 | 8), 0, 0, 0, ref len @ ..] = header else { return Err(Damaged) };
    let (width, len) = (usize::from(width), u32::from_le_bytes(*len) as usize);
    if integers.len() != len.checked_mul(width).ok_or(Damaged)? {
        return Err(Damaged);
    }
    let ascending = (1..len).all(|index| read(integers, width, index - 1) < read(integers, width, index));
    if ascending { Ok(()) } else { Err(Damaged) }
}

/// The bytes that an integer needs.
fn width_of(value: i64) -> usize {
    if i16::try_from(value).is_ok() {
        2
    } else if i32::try_from(value).is_ok() {
        4
    } else {
        8
    }
}

#[inline]
fn read(integers: &[u8], width: usize, index: usize) -> i64 {
    let bytes = &integers[index * width..][..width];
    match *bytes {
        [a, b] => i64::from(i16::from_le_bytes([a, b])),
        [a, b, c, d] => i64::from(i32::from_le_bytes([a, b, c, d])),
        [a, b, c, d, e, f, g, h] => i64::from_le_bytes([a, b, c, d, e, f, g, h]),
        _ => unreachable!("I1: the width is 2, 4 or 8"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// Bytes as Redis 7.0.15 dumps them.
    #[test]
    fn the_bytes_are_those_of_redis() {
        let mut set = Intset::new();
        [5, -1, 300].iter().for_each(|&value| assert!(set.insert(value)));
        assert_eq!(set.as_bytes(), b"\x02\0\0\0\x03\0\0\0\xff\xff\x05\0\x2c\x01");
        assert!(set.insert(70_000));
        assert_eq!(
            set.as_bytes(),
            b"\x04\0\0\0\x04\0\0\0\xff\xff\xff\xff\x05\0\0\0\x2c\x01\0\0\x70\x11\x01\0"
        );
        assert!(set.remove(70_000) && !set.remove(70_000));
        assert_eq!(set.as_bytes()[0], 4, "I2");
    }

    #[test]
    fn damaged_bytes_are_refused() {
        let mut set = Intset::new();
        [1, 2, 70_000].iter().for_each(|&value| assert!(set.insert(value)));
        let bytes = set.as_bytes();
        assert_eq!(Intset::from_bytes(bytes).as_ref(), Ok(&set));
        for length in 0..bytes.len() {
            assert!(validate(&bytes[..length]).is_err());
        }
        for at in 0..bytes.len() {
            for value in 0..=255 {
                let mut damaged = bytes.to_vec();
                damaged[at] = value;
                if let Ok(set) = Intset::from_bytes(&damaged) {
                    assert_eq!(set.as_ref().iter().collect::<BTreeSet<_>>().len(), set.len());
                }
            }
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_model(
            steps in proptest::collection::vec(
                (any::<bool>(), prop_oneof![-9_i64..9, -40_000_i64..40_000, any::<i64>()]), 0..80),
        ) {
            let (mut set, mut model) = (Intset::new(), BTreeSet::new());
            for (insert, value) in steps {
                if insert {
                    prop_assert_eq!(set.insert(value), model.insert(value));
                } else {
                    prop_assert_eq!(set.remove(value), model.remove(&value));
                }
                prop_assert_eq!(set.as_ref().contains(value), insert);
                prop_assert_eq!(validate(set.as_bytes()), Ok(()));
                prop_assert!(set.as_ref().iter().eq(model.iter().copied()));
            }
        }
    }
}
