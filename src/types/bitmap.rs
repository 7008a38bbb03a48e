//! Strings as arrays of bits. Bit 0 is the highest one of the first byte.

use std::ops::Range;

/// What BITOP computes, bit by bit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BitOperation {
    And,
    Or,
    Xor,
    Not,
    /// In the first and in no other.
    Diff,
    /// In another and not in the first.
    Diff1,
    /// In the first and in another.
    AndOr,
    /// In exactly one.
    One,
}

#[inline]
pub fn bit(bytes: &[u8], at: usize) -> bool {
    bytes.get(at / 8).is_some_and(|byte| byte >> (7 - at % 8) & 1 == 1)
}

/// Sets a bit that is there; returns what it was.
#[inline]
pub fn set_bit(bytes: &mut [u8], at: usize, value: bool) -> bool {
    let (byte, mask) = (&mut bytes[at / 8], 0x80 >> (at % 8));
    let old = *byte & mask != 0;
    *byte = if value { *byte | mask } else { *byte & !mask };
    old
}

/// The bits that are set within a range of bits, which exists.
pub fn count(bytes: &[u8], bits: Range<usize>) -> u64 {
    if bits.is_empty() {
        return 0;
    }
    let (first, last) = (bits.start / 8, (bits.end - 1) / 8);
    let before = u32::from(bytes[first] & !(0xff >> (bits.start % 8))).count_ones();
    let behind = u32::from(bytes[last] & (0x7f >> ((bits.end - 1) % 8))).count_ones();
    let (words, rest) = bytes[first..=last].as_chunks::<8>();
    let in_words: u64 = words.iter().map(|word| u64::from(u64::from_ne_bytes(*word).count_ones())).sum();
    let in_rest: u64 = rest.iter().map(|byte| u64::from(byte.count_ones())).sum();
    in_words + in_rest - u64::from(before) - u64::from(behind)
}

/// The first bit of this value within a range of bits, which exists.
pub fn find(bytes: &[u8], value: bool, bits: Range<usize>) -> Option<usize> {
    if bits.is_empty() {
        return None;
    }
    let skipped = if value { 0 } else { 0xff };
    let (first, last) = (bits.start / 8, (bits.end - 1) / 8);
    let mut at = first;
    while at <= last {
        // Whole words that hold nothing else are passed over.
        if let Some(word) = bytes[at..=last].first_chunk::<8>()
            && *word == [skipped; 8]
        {
            at += 8;
            continue;
        }
        let mut wanted = bytes[at] ^ skipped;
        if at == first {
            wanted &= 0xff >> (bits.start % 8);
        }
        if wanted != 0 {
            let found = at * 8 + wanted.leading_zeros() as usize;
            return (found < bits.end).then_some(found);
        }
        at += 1;
    }
    None
}

/// Joins strings bit by bit; shorter ones go on with zeros.
pub fn combine(operation: BitOperation, inputs: &[&[u8]]) -> Vec<u8> {
    let length = inputs.iter().map(|input| input.len()).max().unwrap_or(0);
    let mut result = vec![0; length];
    let Some((first, others)) = inputs.split_first() else { return result };
    let put_first = |result: &mut [u8]| result[..first.len()].copy_from_slice(first);
    let or_others = |result: &mut [u8]| {
        others.iter().for_each(|other| zip(result, other, |byte, other| *byte |= other));
    };
    match operation {
        BitOperation::Not => zip(&mut result, first, |byte, other| *byte = !other),
        BitOperation::And => {
            put_first(&mut result);
            for other in others {
                zip(&mut result, other, |byte, other| *byte &= other);
                result[other.len().min(length)..].fill(0);
            }
        }
        BitOperation::Or => {
            put_first(&mut result);
            or_others(&mut result);
        }
        BitOperation::Xor => {
            inputs.iter().for_each(|input| zip(&mut result, input, |byte, other| *byte ^= other));
        }
        BitOperation::Diff => {
            or_others(&mut result);
            zip(&mut result, first, |byte, first| *byte = first & !*byte);
            result[first.len()..].fill(0);
        }
        BitOperation::Diff1 => {
            or_others(&mut result);
            zip(&mut result, first, |byte, first| *byte &= !first);
        }
        BitOperation::AndOr => {
            or_others(&mut result);
            zip(&mut result, first, |byte, first| *byte &= first);
            result[first.len()..].fill(0);
        }
        BitOperation::One => {
            let mut twice = vec![0; length];
            for input in inputs {
                for (at, byte) in input.iter().enumerate() {
                    twice[at] |= result[at] & byte;
                    result[at] |= byte;
                }
            }
            zip(&mut result, &twice, |byte, twice| *byte &= !twice);
        }
    }
    result
}

#[inline]
fn zip(result: &mut [u8], other: &[u8], join: impl Fn(&mut u8, u8)) {
    result.iter_mut().zip(other).for_each(|(byte, other)| join(byte, *other));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn counting_and_finding_agree_with_single_bits(
            bytes in proptest::collection::vec(prop_oneof![Just(0_u8), Just(255), any::<u8>()], 1..40),
            from in 0..320_usize, to in 0..320_usize, value: bool,
        ) {
            let len = bytes.len() * 8;
            let range = from.min(len)..to.min(len);
            let wanted = range.clone().filter(|at| bit(&bytes, *at)).count() as u64;
            prop_assert_eq!(count(&bytes, range.clone()), wanted);
            prop_assert_eq!(find(&bytes, value, range.clone()), range.clone().find(|at| bit(&bytes, *at) == value));
            let mut changed = bytes.clone();
            if let Some(at) = range.clone().next() {
                prop_assert_eq!(set_bit(&mut changed, at, value), bit(&bytes, at));
                prop_assert_eq!(bit(&changed, at), value);
            }
        }

        #[test]
        fn combinations_agree_with_single_bits(
            inputs in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..12), 1..4),
        ) {
            use BitOperation::*;
            let inputs: Vec<&[u8]> = inputs.iter().map(|input| &input[..]).collect();
            let length = inputs.iter().map(|input| input.len()).max().unwrap_or(0);
            for operation in [And, Or, Xor, Not, Diff, Diff1, AndOr, One] {
                let result = combine(operation, &inputs);
                prop_assert_eq!(result.len(), length);
                for at in 0..length * 8 {
                    let bits: Vec<bool> = inputs.iter().map(|input| bit(input, at)).collect();
                    let set = bits.iter().filter(|bit| **bit).count();
                    let others = bits[1..].contains(&true);
                    let wanted = match operation {
                        And => set == bits.len(),
                        Or => set > 0,
                        Xor => set % 2 == 1,
                        // Beyond the only string it has, nothing is set.
                        Not => !bits[0] && at < inputs[0].len() * 8,
                        Diff => bits[0] && !others,
                        Diff1 => !bits[0] && others,
                        AndOr => bits[0] && others,
                        One => set == 1,
                    };
                    prop_assert_eq!(bit(&result, at), wanted, "{:?} {}", operation, at);
                }
            }
        }
    }
}
