//! The spelling of C's floating-point numbers, for any width: sign, digits, point, exponent; hexadecimal
//! with a binary exponent.

/// A finite number, as spelled: `digits` without their point, times ten (or two) to the `exponent`.
pub(super) struct Decimal {
    pub negative: bool,
    /// Values, not characters; leading zeros are left out.
    pub digits: Vec<u8>,
    pub exponent: i64,
}

/// `mantissa * 2^exponent`. The last bit of a mantissa of more than 116 bits may stand for all below it.
pub(super) struct Binary {
    pub negative: bool,
    pub mantissa: u128,
    pub exponent: i64,
}

/// Larger exponents mean the same, and leave room to compute with.
const EXPONENT_MAX: i64 = 1 << 40;

/// Reads `[sign] digits [. digits] [e [sign] digits]`, all of `text`.
pub(super) fn spell_decimal(text: &[u8]) -> Option<Decimal> {
    let (negative, text) = sign(text);
    spell(negative, text, 10, b'e')
}

/// Reads `[sign] 0x digits [. digits] [p [sign] digits]`, all of `text`; the exponent is one of two.
pub(super) fn spell_hexadecimal(text: &[u8]) -> Option<Binary> {
    let (negative, text) = sign(text);
    let [b'0', b'x' | b'X', text @ ..] = text else { return None };
    let spelled = spell(negative, text, 16, b'p')?;

    // 30 digits are 120 bits, more than is kept; of the others only matters whether all are zeros.
    let (kept, dropped) = spelled.digits.split_at(spelled.digits.len().min(30));
    let mantissa = kept.iter().fold(0, |mantissa: u128, &digit| mantissa << 4 | u128::from(digit));
    let sticky = dropped.iter().any(|&digit| digit != 0);
    let exponent = spelled.exponent + 4 * dropped.len() as i64;
    Some(Binary { negative, mantissa: mantissa | u128::from(sticky), exponent })
}

/// Are all digits before an exponent zeros?
pub(super) fn is_zero(text: &[u8]) -> bool {
    let (_, text) = sign(text);
    let (text, exponent) = match text {
        [b'0', b'x' | b'X', text @ ..] => (text, b'p'),
        text => (text, b'e'),
    };
    let mut digits = text.iter().take_while(|byte| byte.to_ascii_lowercase() != exponent);
    digits.all(|byte| matches!(byte, b'0' | b'.'))
}

pub(super) fn sign(text: &[u8]) -> (bool, &[u8]) {
    match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    }
}

fn spell(negative: bool, text: &[u8], radix: u32, marker: u8) -> Option<Decimal> {
    let bits_per_digit = if radix == 16 { 4 } else { 1 };
    let end = text.iter().position(|byte| byte.to_ascii_lowercase() == marker).unwrap_or(text.len());
    let (mantissa, tail) = text.split_at(end);
    let mut exponent = match tail {
        [] => 0,
        [_, digits @ ..] => spell_exponent(digits)?,
    };
    let mut digits = Vec::with_capacity(mantissa.len());
    let (mut any, mut point) = (false, false);
    for &byte in mantissa {
        if byte == b'.' && !point {
            point = true;
            continue;
        }
        let digit = char::from(byte).to_digit(radix)? as u8;
        any = true;
        exponent -= if point { bits_per_digit } else { 0 };
        if digit != 0 || !digits.is_empty() {
            digits.push(digit);
        }
    }
    any.then_some(Decimal { negative, digits, exponent })
}

fn spell_exponent(text: &[u8]) -> Option<i64> {
    let (negative, digits) = sign(text);
    if digits.is_empty() {
        return None;
    }
    let mut exponent: i64 = 0;
    for byte in digits {
        if !byte.is_ascii_digit() {
            return None;
        }
        exponent = (exponent * 10 + i64::from(byte - b'0')).min(EXPONENT_MAX);
    }
    Some(if negative { -exponent } else { exponent })
}

/// `value / 2^shift`, rounded to the nearest, ties to even.
pub(super) fn shift_right_to_even(value: u128, shift: i64) -> u128 {
    match shift {
        ..=0 => value,
        1..=127 => {
            let (kept, half) = (value >> shift, 1 << (shift - 1));
            let lost = value & ((1 << shift) - 1);
            kept + u128::from(lost > half || lost == half && kept & 1 == 1)
        }
        // Of 128 bits at most: then it is a half or less, or with the top bit set just over it.
        128 => u128::from(value > 1 << 127),
        _ => 0,
    }
}
