//! The x87's 80-bit extended precision in software: INCRBYFLOAT of Redis on x86 adds in it, and shows that
//! in the last digits.
//!
//! A finite number is `mantissa * 2^exponent`, rounded to the nearest, ties to even.
//!
//! Invariants
//!   E1  The mantissa's top bit is set, or the exponent is the least there is (zero and denormals).
//!   E2  The exponent is within `EXPONENT_MIN..=EXPONENT_MAX`.

use super::big_natural::BigNatural;
use super::float_text::{self, Binary, Decimal, shift_right_to_even};
use super::number;

const EXPONENT_MIN: i64 = -16_445;
const EXPONENT_MAX: i64 = 16_383 - 63;

/// Redis copies the text into a buffer of this size, terminator included.
const TEXT_BYTES_MAX: usize = 5 * 1024 - 1;

/// Decimals that are shown.
const DECIMALS: u32 = 17;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Extended {
    negative: bool,
    magnitude: Magnitude,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Magnitude {
    Finite { mantissa: u64, exponent: i64 },
    Infinite,
    NotANumber,
}

const ZERO: Magnitude = Magnitude::Finite { mantissa: 0, exponent: EXPONENT_MIN };

impl Extended {
    /// Parses the whole of `text` as C's `strtold` in the hands of INCRBYFLOAT: no spaces, no NaN, neither
    /// overflow nor underflow to zero, less than 5 KiB.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.is_empty() || text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let (negative, unsigned) = float_text::sign(text);
        if unsigned.eq_ignore_ascii_case(b"inf") || unsigned.eq_ignore_ascii_case(b"infinity") {
            return Some(Self { negative, magnitude: Magnitude::Infinite });
        }
        let value = match float_text::spell_decimal(text) {
            Some(spelled) => Self::from_decimal(&spelled),
            None => {
                let Binary { negative, mantissa, exponent } = float_text::spell_hexadecimal(text)?;
                Self::round(negative, mantissa, exponent)
            }
        };
        match value.magnitude {
            Magnitude::Finite { mantissa, .. } if mantissa != 0 || float_text::is_zero(text) => Some(value),
            _ => None,
        }
    }

    pub fn from_f64(value: f64) -> Self {
        let negative = value.is_sign_negative();
        if value.is_nan() {
            return Self { negative, magnitude: Magnitude::NotANumber };
        }
        if value.is_infinite() {
            return Self { negative, magnitude: Magnitude::Infinite };
        }
        let bits = value.to_bits();
        let (fraction, biased) = (bits & ((1 << 52) - 1), (bits >> 52 & 0x7ff) as i64);
        let (mantissa, biased) = if biased == 0 { (fraction, 1) } else { (fraction | 1 << 52, biased) };
        Self::round(negative, mantissa.into(), biased - 1075)
    }

    /// The sum, or `None` if it is an infinity or no number.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        use Magnitude::Finite;
        let (
            Finite { mantissa: left_mantissa, exponent: left_exponent },
            Finite { mantissa: right_mantissa, exponent: right_exponent },
        ) = (self.magnitude, other.magnitude)
        else {
            return None;
        };
        // Both scaled to the larger exponent, with 62 bits below it and one above for the carry. Of what falls
        // off below those only matters that it is not zero (then the larger one is normal by E1, and its
        // last bit is far above).
        let exponent = left_exponent.max(right_exponent);
        let scale = |mantissa: u64, own: i64| -> i128 {
            let wide = u128::from(mantissa) << 62;
            let shift = exponent - own;
            let kept = if shift < 128 { wide >> shift } else { 0 };
            let exact = shift < 128 && kept << shift == wide;
            (kept | u128::from(!exact)) as i128
        };
        let signed = |value: i128, negative: bool| if negative { -value } else { value };
        let sum = signed(scale(left_mantissa, left_exponent), self.negative)
            + signed(scale(right_mantissa, right_exponent), other.negative);
        // A zero is negative only if both were.
        let negative = if sum == 0 { self.negative && other.negative } else { sum < 0 };
        let sum = Self::round(negative, sum.unsigned_abs(), exponent - 62);
        matches!(sum.magnitude, Finite { .. }).then_some(sum)
    }

    /// Appends the number with up to 17 decimals, no trailing zeros and no exponent.
    pub fn write_human(self, out: &mut Vec<u8>) {
        let (mantissa, exponent) = match self.magnitude {
            Magnitude::Finite { mantissa, exponent } => (mantissa, exponent),
            Magnitude::Infinite => {
                return out.extend_from_slice(if self.negative { b"-inf" } else { b"inf" });
            }
            Magnitude::NotANumber => {
                return out.extend_from_slice(if self.negative { b"-nan" } else { b"nan" });
            }
        };
        if exponent >= 0 {
            if self.negative {
                out.push(b'-');
            }
            return BigNatural::from_shifted(mantissa, exponent as u32).write_decimal(out);
        }
        // Less than 2^64, so that with its decimals it fits 121 bits.
        let unit = 10_u64.pow(DECIMALS);
        let scaled = shift_right_to_even(u128::from(mantissa) * u128::from(unit), -exponent);
        let (integral, decimals) = (scaled / u128::from(unit), (scaled % u128::from(unit)) as u64);
        if self.negative && scaled != 0 {
            out.push(b'-');
        }
        number::write_u64(integral as u64, out);
        if decimals != 0 {
            out.push(b'.');
            let mut digits = [b'0'; DECIMALS as usize];
            let mut rest = decimals;
            for digit in digits.iter_mut().rev() {
                *digit = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
            let zeros = digits.iter().rev().take_while(|&&digit| digit == b'0').count();
            out.extend_from_slice(&digits[..digits.len() - zeros]);
        }
    }

    /// The number nearest to `mantissa * 2^exponent`. The last bit of a mantissa of more than 66 bits may stand
    /// for all that was lost below it.
    fn round(negative: bool, mantissa: u128, exponent: i64) -> Self {
        if mantissa == 0 {
            return Self { negative, magnitude: ZERO };
        }
        let length = i64::from(u128::BITS - mantissa.leading_zeros());
        let last = (exponent + length - 64).max(EXPONENT_MIN);
        if last > EXPONENT_MAX {
            return Self { negative, magnitude: Magnitude::Infinite };
        }
        let (mantissa, exponent) = if last > exponent {
            (shift_right_to_even(mantissa, last - exponent), last)
        } else {
            (mantissa << (exponent - last), last)
        };
        // Rounded up to the next power of two.
        let (mantissa, exponent) =
            if mantissa == 1 << 64 { (1 << 63, exponent + 1) } else { (mantissa as u64, exponent) };
        if exponent > EXPONENT_MAX {
            return Self { negative, magnitude: Magnitude::Infinite };
        }
        debug_assert!(mantissa >> 63 == 1 || exponent == EXPONENT_MIN, "E1");
        Self { negative, magnitude: Magnitude::Finite { mantissa, exponent } }
    }

    fn from_decimal(spelled: &Decimal) -> Self {
        let Decimal { negative, ref digits, exponent } = *spelled;
        let power = digits.len() as i64 + exponent;
        // Far out of range, where 10^exponent would only cost time and memory.
        if digits.is_empty() || power < -5_000 {
            return Self { negative, magnitude: ZERO };
        }
        if power > 5_000 {
            return Self { negative, magnitude: Magnitude::Infinite };
        }
        let mut numerator = BigNatural::from_digits(digits);
        if exponent >= 0 {
            numerator.multiply_by_power_of_ten(exponent as u32);
            let (mantissa, exponent) = numerator.leading_bits();
            return Self::round(negative, mantissa, exponent);
        }
        let mut denominator = BigNatural::one();
        denominator.multiply_by_power_of_ten(exponent.unsigned_abs() as u32);
        let (mantissa, exponent) = numerator.quotient_bits(denominator);
        Self::round(negative, mantissa, exponent)
    }
}

impl From<i64> for Extended {
    fn from(value: i64) -> Self {
        Self::round(value < 0, value.unsigned_abs().into(), 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sum(left: &str, right: &str) -> Option<String> {
        let sum = Extended::parse(left.as_bytes())?.checked_add(Extended::parse(right.as_bytes())?)?;
        let mut out = Vec::new();
        sum.write_human(&mut out);
        Some(String::from_utf8(out).expect("numbers are ASCII"))
    }

    /// `SET k left`, `INCRBYFLOAT k right` and the reply of redis-server 7.0.15 on x86-64; `-` where a text is
    /// no number, `nan` where the sum is none.
    #[test]
    fn sums_are_those_of_redis() {
        for line in include_str!("extended_sums.txt").lines() {
            let [left, right, expected] = line.split('|').collect::<Vec<_>>()[..] else {
                panic!("not three fields: {line}");
            };
            let valid = |text: &str| Extended::parse(text.as_bytes()).is_some();
            let invalid = if valid(left) && valid(right) { "nan" } else { "-" };
            assert_eq!(sum(left, right).as_deref().unwrap_or(invalid), expected, "{left} + {right}");
        }
    }

    proptest! {
        /// Doubles are exact in extended precision, and few of their digits are cut off.
        #[test]
        fn doubles_are_shown_exactly(value in -1e15..1e15) {
            let mut out = Vec::new();
            Extended::from_f64(value).write_human(&mut out);
            let model = format!("{value:.17}");
            let model = model.trim_end_matches('0').trim_end_matches('.');
            prop_assert_eq!(std::str::from_utf8(&out), Ok(model));
        }

        /// Rounding to 64 bits and then to 53 differs from rounding once only in ties, which few digits avoid.
        #[test]
        fn few_digits_parse_as_doubles_do(text in "-?[0-9]{1,9}(\\.[0-9]{1,6})?") {
            let nearest: f64 = text.parse().expect("a number");
            let parsed = Extended::parse(text.as_bytes()).expect("a number");
            let rest = parsed.checked_add(Extended::from_f64(-nearest)).expect("finite");
            let mut out = Vec::new();
            rest.write_human(&mut out);
            let rest: f64 = String::from_utf8(out).expect("ASCII").parse().expect("a number");
            prop_assert!(rest.abs() <= nearest.abs() * f64::EPSILON);
        }

        #[test]
        fn integers_add_exactly(left in -(1_i64 << 62)..1 << 62, right in -(1_i64 << 62)..1 << 62) {
            prop_assert_eq!(sum(&left.to_string(), &right.to_string()), Some((left + right).to_string()));
            let (left, right) = (Extended::from(left), Extended::from(right));
            prop_assert_eq!(left.checked_add(right), right.checked_add(left));
        }

        #[test]
        fn garbage_is_refused_quietly(text in proptest::collection::vec(any::<u8>(), 0..20)) {
            Extended::parse(&text);
        }
    }
}
