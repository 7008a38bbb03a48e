//! Doubles as Redis reads and writes them: C's `strtod` and `%.17g`.

use std::io::Write;

use super::extended::Extended;
use super::float_text::{self, Binary};
use super::number;

/// Parses the whole of `text` as commands do: no spaces, no NaN, neither overflow nor underflow to zero.
///
/// Infinities are spelled `inf` or `infinity`; `0x1.8p3` is a number.
pub fn parse(text: &[u8]) -> Option<f64> {
    match parse_c(text)? {
        Parsed::Exact(value) => Some(value),
        Parsed::OutOfRange(_) => None,
    }
}

/// Parses a bound of a score range, where Redis asks only that nothing is left over: leading spaces are
/// skipped, no digits at all are zero, and what is out of range is an infinity or zero.
pub fn parse_bound(text: &[u8]) -> Option<f64> {
    // Redis walks a C string here.
    let text = text.split(|&byte| byte == 0).next().unwrap_or_default();
    if text.is_empty() {
        return Some(0.0);
    }
    let spaces = text.iter().take_while(|byte| matches!(byte, b' ' | b'\t'..=b'\r')).count();
    match parse_c(&text[spaces..])? {
        Parsed::Exact(value) | Parsed::OutOfRange(value) => Some(value),
    }
}

enum Parsed {
    Exact(f64),
    OutOfRange(f64),
}

fn parse_c(text: &[u8]) -> Option<Parsed> {
    let value = match std::str::from_utf8(text).ok()?.parse::<f64>() {
        Ok(value) => value,
        Err(_) => from_binary(float_text::spell_hexadecimal(text)?),
    };
    let out_of_range = if value.is_infinite() {
        !text.iter().any(|byte| matches!(byte, b'i' | b'I'))
    } else {
        value == 0.0 && !float_text::is_zero(text)
    };
    if value.is_nan() {
        return None;
    }
    Some(if out_of_range { Parsed::OutOfRange(value) } else { Parsed::Exact(value) })
}

/// The nearest double, ties to even; overflow gives an infinity.
fn from_binary(number: Binary) -> f64 {
    let Binary { negative, mantissa, exponent } = number;
    let length = i64::from(u128::BITS - mantissa.leading_zeros());
    let last = (exponent + length - 53).max(-1074);
    let magnitude = if mantissa == 0 {
        0.0
    } else if last > 971 {
        f64::INFINITY
    } else {
        let kept = if last >= exponent {
            float_text::shift_right_to_even(mantissa, last - exponent) as u64
        } else {
            (mantissa as u64) << (exponent - last)
        };
        // A full mantissa's top bit counts itself into the exponent's field, and so does the carry of rounding
        // up to 2^53; a denormal has no such bit and exponent zero.
        f64::from_bits((((last + 1074) as u64) << 52) + kept)
    };
    if negative { -magnitude } else { magnitude }
}

/// Appends `value` as C's `%.17g`: how replies spell a double.
pub fn write_g17(value: f64, out: &mut Vec<u8>) {
    if value.is_nan() {
        return out.extend_from_slice(if value.is_sign_negative() { b"-nan" } else { b"nan" });
    }
    if value.is_infinite() {
        return out.extend_from_slice(if value < 0.0 { b"-inf" } else { b"inf" });
    }
    // Below this, every integer has all its digits among the seventeen.
    if value.abs() < 1e16 && value == value.trunc() {
        if value == 0.0 && value.is_sign_negative() {
            out.push(b'-');
        }
        return number::write_i64(value as i64, out);
    }

    // `d.dddddddddddddddde-308`: the seventeen digits, correctly rounded, and the exponent.
    let mut buffer = [0; 32];
    let mut rest = &mut buffer[..];
    write!(rest, "{:.16e}", value.abs()).expect("at most 23 bytes");
    let unused = rest.len();
    let text = &buffer[..buffer.len() - unused];
    let (mantissa, exponent) = text.split_at(18);
    let exponent = number::parse_i64(&exponent[1..]).expect("an exponent in canonical form");
    let mut digits = [0; 17];
    digits[0] = mantissa[0];
    digits[1..].copy_from_slice(&mantissa[2..]);
    let zeros = digits.iter().rev().take_while(|&&digit| digit == b'0').count();
    let digits = &digits[..17 - zeros];

    if value < 0.0 {
        out.push(b'-');
    }
    if !(-4..17).contains(&exponent) {
        write_point(digits, 1, out);
        out.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
        if exponent.abs() < 10 {
            out.push(b'0');
        }
        number::write_i64(exponent.abs(), out);
    } else if exponent < 0 {
        out.extend_from_slice(&b"0.000"[..exponent.unsigned_abs() as usize + 1]);
        out.extend_from_slice(digits);
    } else {
        write_point(digits, exponent as usize + 1, out);
    }
}

/// Appends `digits` with a point behind the first `integral` of them, if any are left then.
fn write_point(digits: &[u8], integral: usize, out: &mut Vec<u8>) {
    if digits.len() <= integral {
        out.extend_from_slice(digits);
        out.extend(std::iter::repeat_n(b'0', integral - digits.len()));
        return;
    }
    out.extend_from_slice(&digits[..integral]);
    out.push(b'.');
    out.extend_from_slice(&digits[integral..]);
}

/// Appends `value` as a score is stored: an integer in full where it is one (up to 2^62), else as [`write_g17`].
pub fn write_score(value: f64, out: &mut Vec<u8>) {
    const INTEGER_MAX: f64 = (i64::MAX / 2) as f64;
    if value.is_nan() {
        out.extend_from_slice(b"nan");
    } else if value != 0.0 && value.abs() <= INTEGER_MAX && value == value.trunc() {
        number::write_i64(value as i64, out);
    } else {
        write_g17(value, out);
    }
}

/// Appends `value` with up to 17 decimals and no exponent, as GEOPOS and others show doubles to people.
pub fn write_human(value: f64, out: &mut Vec<u8>) {
    Extended::from_f64(value).write_human(out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(write: fn(f64, &mut Vec<u8>), value: f64) -> String {
        let mut out = Vec::new();
        write(value, &mut out);
        String::from_utf8(out).expect("numbers are ASCII")
    }

    /// The left column was read from ZSCORE of redis-server 7.0.15.
    #[test]
    fn g17() {
        for (expected, value) in [
            ("0", 0.0),
            ("-0", -0.0),
            ("0.10000000000000001", 0.1),
            ("1.5", 1.5),
            ("-3.1000000000000001", -3.1),
            ("0.0001", 0.0001),
            ("1.0000000000000001e-05", 0.00001),
            ("1000000000000000", 1e15),
            ("10000000000000000", 1e16),
            ("1e+17", 1e17),
            ("1.2345678901234568e+18", 1234567890123456789.0),
            ("2251799813685249.5", 2251799813685249.5),
            ("9.9998886718268301e-321", 1e-320),
            ("1.7976931348623157e+308", f64::MAX),
            ("inf", f64::INFINITY),
            ("-inf", f64::NEG_INFINITY),
            ("0.012", 0.012),
            ("123.456", 123.456),
        ] {
            assert_eq!(text(write_g17, value), expected);
        }
    }

    #[test]
    fn scores() {
        for (expected, value) in [
            ("0", 0.0),
            ("-0", -0.0),
            ("100000000000000000", 1e17),
            ("4611686018427387904", 4611686018427387904.0),
            ("-4611686018427387904", -4611686018427387904.0),
            ("4.6116860184273889e+18", 4611686018427388928.0),
            ("1e+20", 1e20),
            ("0.5", 0.5),
            ("nan", f64::NAN),
        ] {
            assert_eq!(text(write_score, value), expected);
        }
    }

    /// Each was given to ZADD of redis-server 7.0.15.
    #[test]
    fn parses_what_zadd_takes() {
        for (text, expected) in [
            ("1", Some(1.0)),
            ("+1", Some(1.0)),
            (".5", Some(0.5)),
            ("5.", Some(5.0)),
            ("1e3", Some(1000.0)),
            ("0x10", Some(16.0)),
            ("-0x1p3", Some(-8.0)),
            ("0x.8", Some(0.5)),
            ("inf", Some(f64::INFINITY)),
            ("-Infinity", Some(f64::NEG_INFINITY)),
            ("1e-320", Some(1e-320)),
            ("0e-400", Some(0.0)),
            ("1e400", None),
            ("1e-400", None),
            ("0x1p-1080", None),
            ("0x1p1024", None),
            ("nan", None),
            ("nan(12)", None),
            (" 1", None),
            ("1 ", None),
            ("", None),
            ("+", None),
            ("1e", None),
            ("0x", None),
            ("0x.", None),
            ("0x1p", None),
            ("1\0", None),
        ] {
            assert_eq!(parse(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn bounds_are_read_with_less_care() {
        for (text, expected) in [
            ("", Some(0.0)),
            (" 1", Some(1.0)),
            ("1 ", None),
            ("1e400", Some(f64::INFINITY)),
            ("-1e400", Some(f64::NEG_INFINITY)),
            ("1e-400", Some(0.0)),
            ("nan", None),
            ("x", None),
            (" ", None),
        ] {
            assert_eq!(parse_bound(text.as_bytes()), expected, "{text:?}");
        }
    }

    /// Hexadecimal is exact, so what is written bit by bit comes back, whatever its size.
    #[test]
    fn hexadecimal_of_every_size() {
        for (text, expected) in [
            ("0x1.fffffffffffffp1023", Some(f64::MAX)),
            ("0x1.fffffffffffff8p1023", None),
            ("0x1.fffffffffffff7ffp1023", Some(f64::MAX)),
            ("0x0.0000000000001p-1022", Some(f64::from_bits(1))),
            ("0x1p-1075", None),
            ("0x1.8p-1075", Some(f64::from_bits(1))),
            ("0x0.fffffffffffffp-1022", Some(f64::from_bits((1 << 52) - 1))),
            ("0x0.fffffffffffff8p-1022", Some(f64::MIN_POSITIVE)),
            // A tie, and what just exceeds one by a bit that sixty-four bits would not hold.
            ("0x1.00000000000008", Some(1.0)),
            ("0x1.00000000000008000000000000000000000000000000001", Some(1.0 + f64::EPSILON)),
            ("0X.8P+1", Some(1.0)),
            ("-0x0", Some(-0.0)),
        ] {
            assert_eq!(parse(text.as_bytes()), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn seventeen_digits_say_all(bits: u64) {
            let value = f64::from_bits(bits);
            prop_assume!(!value.is_nan());
            prop_assert_eq!(parse(text(write_g17, value).as_bytes()), Some(value));
            prop_assert_eq!(parse(text(write_score, value).as_bytes()), Some(value));
        }

        #[test]
        fn garbage_is_refused_quietly(text in proptest::collection::vec(any::<u8>(), 0..20)) {
            parse(&text);
            parse_bound(&text);
        }
    }
}
