//! Integers as Redis reads them: no spaces, no plus sign, no leading zeros, no overflow.

/// The longest text of an `i64`, sign included.
pub const I64_TEXT_BYTES_MAX: usize = 20;

/// Parses `text` if it is the canonical form of an `i64`, i.e. the form [`i64::to_string`] emits.
#[inline]
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    match text {
        [b'0'] => Some(0),
        [b'-', digits @ ..] => 0_i64.checked_sub_unsigned(magnitude(digits)?),
        digits => magnitude(digits)?.try_into().ok(),
    }
}

/// Parses `text` if it is the canonical form of a `u64`.
#[inline]
pub fn parse_u64(text: &[u8]) -> Option<u64> {
    if text == b"0" { Some(0) } else { magnitude(text) }
}

/// A `u64` as Redis reads stream ids and the like: where the canonical form fails it asks C's `strtoull`, which
/// takes leading spaces, zeros and a plus sign, and negates what follows a minus sign.
pub fn parse_u64_lenient(text: &[u8]) -> Option<u64> {
    if let Some(value) = parse_i64(text) {
        return value.try_into().ok();
    }
    let text = &text[text.iter().take_while(|byte| matches!(byte, b' ' | b'\t'..=b'\r')).count()..];
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    let (&first, _) = digits.split_first()?;
    let significant = &digits[digits.iter().take_while(|&&byte| byte == b'0').count()..];
    let value = match significant {
        [] if first == b'0' => 0,
        significant => magnitude(significant)?,
    };
    Some(if negative { value.wrapping_neg() } else { value })
}

/// Digits of which the first is not zero. Twenty of them may still overflow, nineteen cannot.
#[inline]
fn magnitude(digits: &[u8]) -> Option<u64> {
    if !matches!(digits, [b'1'..=b'9', ..]) || digits.len() > 20 {
        return None;
    }
    let (head, last) = digits.split_at(digits.len().min(19));
    let mut value: u64 = 0;
    for &byte in head {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + u64::from(digit);
    }
    match last {
        [byte @ b'0'..=b'9'] => value.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
        [] => Some(value),
        _ => None,
    }
}

/// Appends the canonical form of `value`.
#[inline]
pub fn write_i64(value: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Appends the canonical form of `value`.
#[inline]
pub fn write_u64(value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn accepts_exactly_what_it_would_print() {
        for value in [0, 1, -1, 10, 19, i64::MAX, i64::MIN, i64::MIN + 1] {
            assert_eq!(parse_i64(value.to_string().as_bytes()), Some(value));
        }
        for value in [0, 1, 10, u64::MAX, u64::MAX - 9] {
            assert_eq!(parse_u64(value.to_string().as_bytes()), Some(value));
        }
    }

    #[test]
    fn refuses_every_other_spelling() {
        for text in ["", "-", "-0", "+1", " 1", "1 ", "01", "00", "0x1", "1.0", "1:", "1/", "--1", "-01"] {
            assert_eq!(parse_i64(text.as_bytes()), None, "{text:?}");
            assert_eq!(parse_u64(text.as_bytes()), None, "{text:?}");
        }
        for text in
            ["9223372036854775808", "-9223372036854775809", "99999999999999999999", "100000000000000000000"]
        {
            assert_eq!(parse_i64(text.as_bytes()), None, "{text:?}");
        }
        for text in ["18446744073709551616", "99999999999999999999", "100000000000000000000", "-1"] {
            assert_eq!(parse_u64(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn the_lenient_form_takes_what_strtoull_takes() {
        for (text, expected) in [
            ("0", Some(0)),
            ("-1", None),
            ("-0", Some(0)),
            ("+7", Some(7)),
            (" 007", Some(7)),
            ("-01", Some(u64::MAX)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("", None),
            ("+", None),
            ("7 ", None),
        ] {
            assert_eq!(parse_u64_lenient(text.as_bytes()), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_standard_library(text in "-?[0-9]{0,21}") {
            let canonical = text.parse::<i64>().ok().filter(|value| value.to_string() == text);
            prop_assert_eq!(parse_i64(text.as_bytes()), canonical);
            let canonical = text.parse::<u64>().ok().filter(|value| value.to_string() == text);
            prop_assert_eq!(parse_u64(text.as_bytes()), canonical);
        }

        #[test]
        fn what_is_written_is_read(value: i64) {
            let mut out = Vec::new();
            write_i64(value, &mut out);
            prop_assert_eq!(parse_i64(&out), Some(value));
            prop_assert!(out.len() <= I64_TEXT_BYTES_MAX);
        }
    }
}
