//! Integers of 1 to 64 bits anywhere in a string.

/// `i16`, `u8`: an integer of so many bits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FieldType {
    pub signed: bool,
    /// 1 to 64, or to 63 if unsigned.
    pub bits: u32,
}

/// What happens to a value that does not fit.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Overflow {
    #[default]
    Wrap,
    Saturate,
    Fail,
}

impl FieldType {
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (signed, digits) = match text {
            [b'i', digits @ ..] => (true, digits),
            [b'u', digits @ ..] => (false, digits),
            _ => return None,
        };
        let bits = crate::base::number::parse_i64(digits)?;
        let most = if signed { 64 } else { 63 };
        (1..=most).contains(&bits).then_some(Self { signed, bits: bits as u32 })
    }

    fn bounds(self) -> (i128, i128) {
        if self.signed {
            (-(1_i128 << (self.bits - 1)), (1_i128 << (self.bits - 1)) - 1)
        } else {
            (0, (1_i128 << self.bits) - 1)
        }
    }

    /// The field that begins at a bit; what lies behind the string is zeros.
    pub fn read(self, bytes: &[u8], at: usize) -> i64 {
        // At most 64 bits and seven before them: nine bytes.
        let first = at / 8;
        let mut wide = 0_u128;
        for index in first..first + 9 {
            wide = wide << 8 | u128::from(bytes.get(index).copied().unwrap_or(0));
        }
        let raw = (wide >> (72 - at as u32 % 8 - self.bits)) as u64;
        let shift = 64 - self.bits;
        if self.signed { (raw << shift) as i64 >> shift } else { (raw << shift >> shift) as i64 }
    }

    /// Writes the low bits of `value` at a bit; the string is long enough.
    pub fn write(self, bytes: &mut [u8], at: usize, value: i64) {
        for bit in 0..self.bits as usize {
            let set = value >> (self.bits as usize - 1 - bit) & 1 == 1;
            super::bitmap::set_bit(bytes, at + bit, set);
        }
    }

    /// `value + increment` as this type holds it; `None` if it does not fit and shall fail. The sum of what
    /// an unsigned type is to hold is taken of the bits of `value`.
    pub fn add(self, value: i64, increment: i64, overflow: Overflow) -> Option<i64> {
        let (low, high) = self.bounds();
        let value = if self.signed { i128::from(value) } else { i128::from(value as u64) };
        let sum = value + i128::from(increment);
        if (low..=high).contains(&sum) {
            return Some(sum as i64);
        }
        match overflow {
            Overflow::Fail => None,
            Overflow::Saturate => {
                // A value so low that its distance to the highest one is beyond 64 bits ends there: as in Redis,
                // which subtracts in 64 bits.
                let far_below = self.signed && self.bits < 64 && high - value > i128::from(i64::MAX);
                Some(if sum > high || far_below { high as i64 } else { low as i64 })
            }
            Overflow::Wrap => {
                let shift = 64 - self.bits;
                let raw = (sum as u64) << shift;
                Some(if self.signed { raw as i64 >> shift } else { (raw >> shift) as i64 })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn types() {
        for (text, signed, bits) in [("i1", true, 1), ("i64", true, 64), ("u63", false, 63), ("u8", false, 8)]
        {
            assert_eq!(FieldType::parse(text.as_bytes()), Some(FieldType { signed, bits }));
        }
        for text in ["u64", "i65", "i0", "x8", "i", "", "u08", "i-1", "U8"] {
            assert_eq!(FieldType::parse(text.as_bytes()), None, "{text}");
        }
    }

    /// Every sum of every small type, by the definition of each rule.
    #[test]
    fn sums_of_small_types() {
        for signed in [true, false] {
            for bits in 1..=4 {
                let field = FieldType { signed, bits };
                let (low, high) = field.bounds();
                for value in low..=high {
                    for increment in -20..=20_i64 {
                        let sum = value + i128::from(increment);
                        let fits = sum >= low && sum <= high;
                        let wrapped = (sum - low).rem_euclid(high - low + 1) + low;
                        let add = |rule| field.add(value as i64, increment, rule);
                        assert_eq!(add(Overflow::Wrap), Some(wrapped as i64));
                        assert_eq!(add(Overflow::Saturate), Some(sum.clamp(low, high) as i64));
                        assert_eq!(add(Overflow::Fail), fits.then_some(sum as i64));
                    }
                }
            }
        }
    }

    #[test]
    fn extremes() {
        let field = FieldType { signed: true, bits: 64 };
        assert_eq!(field.add(i64::MAX, 1, Overflow::Wrap), Some(i64::MIN));
        assert_eq!(field.add(i64::MIN, -1, Overflow::Saturate), Some(i64::MIN));
        let field = FieldType { signed: true, bits: 58 };
        assert_eq!(field.add(i64::MIN, 0, Overflow::Saturate), Some((1 << 57) - 1));
        let field = FieldType { signed: false, bits: 63 };
        assert_eq!(field.add(-1, 0, Overflow::Saturate), Some(i64::MAX));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            bytes in proptest::collection::vec(any::<u8>(), 20), at in 0..90_usize, bits in 1..=64_u32,
            signed: bool, value: i64,
        ) {
            let field = FieldType { signed, bits: if signed { bits } else { bits.min(63) } };
            let wanted = field.add(value, 0, Overflow::Wrap).expect("wrapping never fails");
            let mut changed = bytes.clone();
            field.write(&mut changed, at, value);
            prop_assert_eq!(field.read(&changed, at), wanted);
            for bit in (0..160).filter(|bit| !(at..at + field.bits as usize).contains(bit)) {
                prop_assert_eq!(super::super::bitmap::bit(&bytes, bit), super::super::bitmap::bit(&changed, bit));
            }
        }
    }
}
