//! Memory sizes as redis.conf spells them: `1k` is 1000 bytes, `1kb` is 1024.

const UNITS: &[(&str, u64)] = &[
    ("", 1),
    ("b", 1),
    ("k", 1000),
    ("kb", 1 << 10),
    ("m", 1_000_000),
    ("mb", 1 << 20),
    ("g", 1_000_000_000),
    ("gb", 1 << 30),
];

/// Parses a size. Upper and lower case mean the same; fractions, signs and spaces are refused.
///
/// A missing number reads as zero, as in Redis (`maxmemory ""`). What does not fit in 64 bits is the
/// largest number without a unit, and refused with one: Redis lets the product wrap around.
pub fn parse_memory(text: &[u8]) -> Option<u64> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, unit) = text.split_at(digits);
    let (_, factor) = UNITS.iter().find(|(name, _)| unit.eq_ignore_ascii_case(name.as_bytes()))?;
    if digits >= 128 {
        return None;
    }

    let number =
        number.iter().try_fold(0u64, |sum, digit| sum.checked_mul(10)?.checked_add(u64::from(digit - b'0')));
    match (number, factor) {
        (Some(number), factor) => number.checked_mul(*factor),
        (None, 1) => Some(u64::MAX),
        (None, _) => None,
    }
}

/// The shortest spelling with a binary unit, which [`parse_memory`] reads back.
pub fn format_memory(bytes: u64) -> String {
    match bytes {
        0 => "0".to_owned(),
        _ if bytes.is_multiple_of(1 << 30) => format!("{}gb", bytes >> 30),
        _ if bytes.is_multiple_of(1 << 20) => format!("{}mb", bytes >> 20),
        _ if bytes.is_multiple_of(1 << 10) => format!("{}kb", bytes >> 10),
        _ => bytes.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decimal_and_binary_units_differ() {
        let expected = [
            ("0", 0),
            ("12", 12),
            ("12b", 12),
            ("1k", 1000),
            ("1Kb", 1024),
            ("1m", 1_000_000),
            ("1MB", 1 << 20),
            ("3g", 3_000_000_000),
            ("3GB", 3 << 30),
            ("", 0),
            ("kb", 0),
            ("99999999999999999999", u64::MAX),
        ];
        for (text, bytes) in expected {
            assert_eq!(parse_memory(text.as_bytes()), Some(bytes), "{text:?}");
        }
    }

    #[test]
    fn refuses_what_is_not_a_size() {
        for text in ["-1", "+1", "1.5gb", "1 gb", " 1", "1tb", "abc", "1kbb", "18446744073709551615kb"] {
            assert_eq!(parse_memory(text.as_bytes()), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(bytes: u64, shift in 0u32..40) {
            let bytes = bytes >> shift << shift;
            prop_assert_eq!(parse_memory(format_memory(bytes).as_bytes()), Some(bytes));
        }
    }
}
