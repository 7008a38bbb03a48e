//! Natural numbers of any size, as far as exact conversion between decimal and binary needs them.
//!
//! Invariant
//!   N1  Limbs of 64 bits, least first; the last one is not zero. Zero has none.

use std::cmp::Ordering;

#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct BigNatural {
    limbs: Vec<u64>,
}

/// The largest power of ten in a limb.
const LIMB_DIGITS: u32 = 19;

impl BigNatural {
    pub fn one() -> Self {
        Self { limbs: vec![1] }
    }

    /// Of decimal digits, as values, the most significant first.
    pub fn from_digits(digits: &[u8]) -> Self {
        let mut number = Self::default();
        for chunk in digits.chunks(LIMB_DIGITS as usize) {
            let value = chunk.iter().fold(0, |value, &digit| value * 10 + u64::from(digit));
            number.multiply_add(10_u64.pow(chunk.len() as u32), value);
        }
        number
    }

    /// `value * 2^shift`
    pub fn from_shifted(value: u64, shift: u32) -> Self {
        let mut number = Self { limbs: vec![value] };
        number.trim();
        number.shift_left(shift);
        number
    }

    pub fn multiply_by_power_of_ten(&mut self, mut power: u32) {
        while power > 0 {
            let step = power.min(LIMB_DIGITS);
            self.multiply_add(10_u64.pow(step), 0);
            power -= step;
        }
    }

    /// The first 127 bits and the exponent that goes with them; the last of them stands for all that follow.
    pub fn leading_bits(&self) -> (u128, i64) {
        let dropped = self.bit_len().saturating_sub(127);
        let (limb, bit) = ((dropped / 64) as usize, dropped % 64);
        let at = |index: usize| u128::from(self.limbs.get(index).copied().unwrap_or(0));
        let low = at(limb) | at(limb + 1) << 64;
        let kept = if bit == 0 { low } else { low >> bit | at(limb + 2) << (128 - bit) };
        let rest = self.limbs[..limb].iter().any(|&limb| limb != 0) || at(limb) & ((1 << bit) - 1) != 0;
        (kept | u128::from(rest), i64::from(dropped))
    }

    /// The first 70 bits or so of `self / divisor`, and the exponent that goes with them; the last of them stands
    /// for all that follow.
    pub fn quotient_bits(mut self, mut divisor: Self) -> (u128, i64) {
        // Both scaled to the same length: the quotient is then between a half and two.
        let exponent = i64::from(self.bit_len()) - i64::from(divisor.bit_len());
        if exponent < 0 {
            self.shift_left(exponent.unsigned_abs() as u32);
        } else {
            divisor.shift_left(exponent as u32);
        }
        const STEPS: i64 = 70;
        let mut quotient: u128 = 0;
        for _ in 0..STEPS {
            quotient <<= 1;
            if self.compare(&divisor) != Ordering::Less {
                self.subtract(&divisor);
                quotient |= 1;
            }
            self.shift_left(1);
        }
        (quotient << 1 | u128::from(!self.limbs.is_empty()), exponent - STEPS)
    }

    /// Appends the decimal digits.
    pub fn write_decimal(mut self, out: &mut Vec<u8>) {
        let mut chunks = Vec::new();
        while !self.limbs.is_empty() {
            chunks.push(self.divide_by(10_u64.pow(LIMB_DIGITS)));
        }
        let Some(first) = chunks.pop() else {
            return out.push(b'0');
        };
        super::number::write_u64(first, out);
        while let Some(mut chunk) = chunks.pop() {
            let mut digits = [b'0'; LIMB_DIGITS as usize];
            for digit in digits.iter_mut().rev() {
                *digit += (chunk % 10) as u8;
                chunk /= 10;
            }
            out.extend_from_slice(&digits);
        }
    }

    fn bit_len(&self) -> u32 {
        self.limbs.last().map_or(0, |last| self.limbs.len() as u32 * 64 - last.leading_zeros())
    }

    fn multiply_add(&mut self, factor: u64, addend: u64) {
        let mut carry = u128::from(addend);
        for limb in &mut self.limbs {
            carry += u128::from(*limb) * u128::from(factor);
            *limb = carry as u64;
            carry >>= 64;
        }
        if carry != 0 {
            self.limbs.push(carry as u64);
        }
    }

    fn shift_left(&mut self, shift: u32) {
        let (limbs, bits) = ((shift / 64) as usize, shift % 64);
        if bits > 0 {
            let mut carry = 0;
            for limb in &mut self.limbs {
                let next = *limb >> (64 - bits);
                *limb = *limb << bits | carry;
                carry = next;
            }
            if carry != 0 {
                self.limbs.push(carry);
            }
        }
        if limbs > 0 && !self.limbs.is_empty() {
            self.limbs.splice(0..0, std::iter::repeat_n(0, limbs));
        }
    }

    fn compare(&self, other: &Self) -> Ordering {
        let by_limbs = || self.limbs.iter().rev().cmp(other.limbs.iter().rev());
        self.limbs.len().cmp(&other.limbs.len()).then_with(by_limbs)
    }

    /// `other` is not the larger one.
    fn subtract(&mut self, other: &Self) {
        let mut borrow = false;
        for (index, limb) in self.limbs.iter_mut().enumerate() {
            let (value, first) = limb.overflowing_sub(other.limbs.get(index).copied().unwrap_or(0));
            let (value, second) = value.overflowing_sub(u64::from(borrow));
            *limb = value;
            borrow = first || second;
        }
        debug_assert!(!borrow, "subtracted a larger number");
        self.trim();
    }

    /// Divides in place; returns the remainder.
    fn divide_by(&mut self, divisor: u64) -> u64 {
        let mut remainder: u64 = 0;
        for limb in self.limbs.iter_mut().rev() {
            let dividend = u128::from(remainder) << 64 | u128::from(*limb);
            *limb = (dividend / u128::from(divisor)) as u64;
            remainder = (dividend % u128::from(divisor)) as u64;
        }
        self.trim();
        remainder
    }

    fn trim(&mut self) {
        while self.limbs.last() == Some(&0) {
            self.limbs.pop();
        }
    }
}
