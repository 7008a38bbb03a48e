//! Sizes of memory as redis.conf spells them: `1k` is 1000 bytes, `1kb` is 1024.

/// Parses digits and an optional unit, in either case: `b`, `k`, `kb`, `m`, `mb`, `g`, `gb`.
///
/// As in Redis no digits at all are zero. What exceeds 64 bits is their maximum; Redis wraps around there.
pub fn parse_bytes(text: &[u8]) -> Option<u64> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match &unit.to_ascii_lowercase()[..] {
        b"" | b"b" => 1,
        b"k" => 1000,
        b"kb" => 1 << 10,
        b"m" => 1000 * 1000,
        b"mb" => 1 << 20,
        b"g" => 1000 * 1000 * 1000,
        b"gb" => 1 << 30,
        _ => return None,
    };
    let append = |value: u64, digit: &u8| value.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
    Some(number.iter().fold(0, append).saturating_mul(factor))
}

/// Shows a size as INFO's `*_human` fields do: `512B`, `1.50K`, `2.00G`.
pub fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["K", "M", "G", "T", "P"];
    if !(1 << 10..1 << 60).contains(&bytes) {
        return format!("{bytes}B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.2}{}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, expected) in [
            ("0", Some(0)),
            ("1024", Some(1024)),
            ("10b", Some(10)),
            ("1k", Some(1000)),
            ("1Kb", Some(1024)),
            ("2m", Some(2_000_000)),
            ("100MB", Some(100 << 20)),
            ("1g", Some(1_000_000_000)),
            ("5GB", Some(5 << 30)),
            ("18446744073709551615", Some(u64::MAX)),
            ("20000000000000000000", Some(u64::MAX)),
            ("17179869184gb", Some(u64::MAX)),
            ("", Some(0)),
            ("mb", Some(0)),
            ("0007", Some(7)),
            ("+1", None),
            ("-1", None),
            ("1t", None),
            ("1 mb", None),
            ("1mbb", None),
            ("1.5gb", None),
        ] {
            assert_eq!(parse_bytes(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn shown_to_people() {
        for (bytes, expected) in [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1.00K"),
            (1_572_864, "1.50M"),
            (5 << 30, "5.00G"),
            (u64::MAX, "18446744073709551615B"),
        ] {
            assert_eq!(human_bytes(bytes), expected);
        }
    }
}
