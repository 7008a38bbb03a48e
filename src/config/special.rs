//! The values with a grammar of their own: save points, output limits, event classes, scores.

use super::units::{format_memory, parse_memory};
use super::value::{Bytes, Refusal};

/// Save after `seconds` if at least `changes` keys changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SavePoint {
    pub seconds: i64,
    pub changes: i32,
}

pub fn parse_save_points(words: &[&[u8]]) -> Result<Vec<SavePoint>, Refusal> {
    const REFUSAL: &str = "Invalid save parameters";
    let words = if let [b""] = words { &[] } else { words };
    let (pairs, []) = words.as_chunks::<2>() else { return Err(REFUSAL.into()) };
    let point = |[seconds, changes]: &[&[u8]; 2]| {
        let seconds = parse_c_integer(seconds).filter(|seconds| *seconds >= 1)?;
        let changes = parse_c_integer(changes).filter(|changes| *changes >= 0)?;
        Some(SavePoint { seconds, changes: i32::try_from(changes).ok()? })
    };
    pairs.iter().map(|pair| point(pair).ok_or(REFUSAL.into())).collect()
}

pub fn format_save_points(points: &[SavePoint]) -> String {
    join(points.iter().map(|SavePoint { seconds, changes }| format!("{seconds} {changes}")))
}

/// `strtoll` of a whole word, as the older parts of redis.conf read numbers: a sign and leading zeros
/// pass, and so does a leading space, which no split leaves behind.
fn parse_c_integer(word: &[u8]) -> Option<i64> {
    str::from_utf8(word).ok()?.parse().ok()
}

fn join(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(" ")
}

/// How much a client may leave unread before it is dropped. Zero is "no limit".
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct OutputLimit {
    pub hard_bytes: u64,
    pub soft_bytes: u64,
    /// How long the soft limit may be exceeded.
    pub soft_seconds: i64,
}

/// One limit for each class of clients, in the order of [`OUTPUT_CLASSES`].
pub type OutputLimits = [OutputLimit; 3];

/// CONFIG GET still calls replicas slaves, because tools parse it.
pub const OUTPUT_CLASSES: [&str; 3] = ["normal", "slave", "pubsub"];

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OutputClass {
    Normal = 0,
    Replica = 1,
    Pubsub = 2,
}

pub fn parse_output_limits(words: &[&[u8]], current: OutputLimits) -> Result<OutputLimits, Refusal> {
    let (groups, []) = words.as_chunks::<4>() else {
        return Err("Wrong number of arguments in buffer limit configuration.".into());
    };
    let mut limits = current;
    for [class, hard, soft, seconds] in groups {
        let class =
            output_class(class).ok_or("Invalid client class specified in buffer limit configuration.")?;
        let limit = output_limit(hard, soft, seconds)
            .ok_or("Error in hard, soft or soft_seconds setting in buffer limit configuration.")?;
        limits[class as usize] = limit;
    }
    Ok(limits)
}

fn output_class(word: &[u8]) -> Option<OutputClass> {
    let classes = [
        ("normal", OutputClass::Normal),
        ("slave", OutputClass::Replica),
        ("replica", OutputClass::Replica),
        ("pubsub", OutputClass::Pubsub),
    ];
    classes.into_iter().find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes())).map(|(_, class)| class)
}

fn output_limit(hard: &[u8], soft: &[u8], seconds: &[u8]) -> Option<OutputLimit> {
    Some(OutputLimit {
        hard_bytes: parse_memory(hard)?,
        soft_bytes: parse_memory(soft)?,
        soft_seconds: parse_c_integer(seconds).filter(|seconds| *seconds >= 0)?,
    })
}

pub fn format_output_limits(limits: &OutputLimits) -> String {
    let line = |(class, limit): (&str, &OutputLimit)| {
        format!("{class} {} {} {}", limit.hard_bytes, limit.soft_bytes, limit.soft_seconds)
    };
    join(OUTPUT_CLASSES.into_iter().zip(limits).map(line))
}

/// One class as a line of a configuration file spells it.
pub fn output_limit_line(class: OutputClass, limit: OutputLimit) -> String {
    let class = if class == OutputClass::Replica { "replica" } else { OUTPUT_CLASSES[class as usize] };
    let (hard, soft) = (format_memory(limit.hard_bytes), format_memory(limit.soft_bytes));
    format!("{class} {hard} {soft} {}", limit.soft_seconds)
}

/// The classes of keyspace notifications, in the order in which they are shown.
pub const EVENT_CLASSES: &[(u8, u32)] = &[
    (b'g', 1 << 2),
    (b'$', 1 << 3),
    (b'l', 1 << 4),
    (b's', 1 << 5),
    (b'h', 1 << 6),
    (b'z', 1 << 7),
    (b'x', 1 << 8),
    (b'e', 1 << 9),
    (b't', 1 << 10),
    (b'd', 1 << 13),
    (b'n', 1 << 14),
    (b'K', 1 << 0),
    (b'E', 1 << 1),
    (b'm', 1 << 11),
];

/// What `A` stands for: every class but `m` (misses) and `n` (new keys), which are too frequent.
pub const ALL_EVENTS: u32 =
    1 << 2 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 13;

const NEW_KEY: u32 = 1 << 14;

pub fn parse_events(word: &[u8]) -> Result<u32, Refusal> {
    word.iter().try_fold(0, |events, letter| {
        if *letter == b'A' {
            return Ok(events | ALL_EVENTS);
        }
        let class = EVENT_CLASSES.iter().find(|(known, _)| known == letter);
        let (_, class) = class.ok_or("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.")?;
        Ok(events | class)
    })
}

/// The canonical form. It drops `n` beside `A`, as Redis 7.0 does.
pub fn format_events(events: u32) -> String {
    let all = events & ALL_EVENTS == ALL_EVENTS;
    let abbreviated = if all { ALL_EVENTS | NEW_KEY } else { 0 };
    let shown = EVENT_CLASSES.iter().filter(|(_, class)| events & class & !abbreviated != 0);
    all.then_some('A').into_iter().chain(shown.map(|(letter, _)| char::from(*letter))).collect()
}

pub fn parse_oom_scores(words: &[&[u8]]) -> Result<[i32; 3], Refusal> {
    let words: &[&[u8]; 3] = words.try_into().map_err(|_| "wrong number of arguments")?;
    let mut scores = [0; 3];
    for (score, word) in scores.iter_mut().zip(words) {
        let value = parse_c_integer(word).filter(|value| (-2000..=2000).contains(value));
        let value = value.ok_or("Invalid oom-score-adj-values, elements must be between -2000 and 2000.")?;
        *score = i32::try_from(value).expect("bounded by 2000");
    }
    Ok(scores)
}

pub fn format_oom_scores(scores: [i32; 3]) -> String {
    join(scores.iter().map(i32::to_string))
}

pub fn parse_percentiles(words: &[&[u8]]) -> Result<Vec<f64>, Refusal> {
    let words = if let [b""] = words { &[] } else { words };
    let percentile = |word: &&[u8]| {
        let value: Option<f64> = str::from_utf8(word).ok().and_then(|word| word.parse().ok());
        let value = value.filter(|value| !value.is_nan());
        let value = value.ok_or("Invalid latency-tracking-info-percentiles parameters")?;
        if !(0.0..=100.0).contains(&value) {
            return Err("latency-tracking-info-percentiles parameters should sit between [0.0,100.0]".into());
        }
        // What is shown is what is used: six digits survive CONFIG GET and REWRITE.
        Ok((value * 1e6).round() / 1e6)
    };
    words.iter().map(percentile).collect()
}

pub fn format_percentiles(percentiles: &[f64]) -> String {
    join(percentiles.iter().map(f64::to_string))
}

/// Whom to replicate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Master {
    pub host: Bytes,
    pub port: u16,
}

pub fn parse_master(words: &[&[u8]]) -> Result<Option<Master>, Refusal> {
    match words {
        // The value of a master is empty; the words of a configuration line never are.
        [] | [b""] => Err("wrong number of arguments".into()),
        [host, port] if host.eq_ignore_ascii_case(b"no") && port.eq_ignore_ascii_case(b"one") => Ok(None),
        [host, port] => {
            let port = parse_c_integer(port).and_then(|port| u16::try_from(port).ok());
            let port = port.ok_or("Invalid master port")?;
            Ok(Some(Master { host: Bytes::from(*host), port }))
        }
        _ => Err("wrong number of arguments".into()),
    }
}

pub fn format_master(master: Option<&Master>) -> Vec<u8> {
    let Some(Master { host, port }) = master else { return Vec::new() };
    [host, format!(" {port}").as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<&[u8]> {
        text.split(' ').map(str::as_bytes).collect()
    }

    fn save(text: &str) -> Option<String> {
        parse_save_points(&words(text)).ok().map(|points| format_save_points(&points))
    }

    #[test]
    fn save_points_come_in_pairs() {
        assert_eq!(save("3600 1 300 100").as_deref(), Some("3600 1 300 100"));
        assert_eq!(save("10 0").as_deref(), Some("10 0"));
        assert_eq!(save("").as_deref(), Some(""));
        for text in ["100", "0 1", "10 -1", "100 1  200 2", "10 0x1", "a b"] {
            assert_eq!(save(text), None, "{text:?}");
        }
    }

    #[test]
    fn output_limits_keep_the_classes_that_are_not_named() {
        let before = parse_output_limits(&words("normal 1 2 3 slave 4 5 6"), OutputLimits::default());
        let before = before.expect("valid");
        let after = parse_output_limits(&words("PubSub 1mb 2k 3 replica 0 0 0"), before).expect("valid");
        assert_eq!(format_output_limits(&after), "normal 1 2 3 slave 0 0 0 pubsub 1048576 2000 3");
        assert_eq!(output_limit_line(OutputClass::Pubsub, after[2]), "pubsub 1mb 2000 3");
        for text in ["normal 1 2", "master 0 0 0", "normal x 0 0", "normal 0 0 -1"] {
            assert!(parse_output_limits(&words(text), before).is_err(), "{text}");
        }
    }

    #[test]
    fn events_are_shown_in_one_order() {
        let cases = [
            ("An", "A"),
            ("AKEnm", "AKEm"),
            ("g$lshzxetd", "A"),
            ("nKEg", "gnKE"),
            ("mE", "Em"),
            ("tKd", "tdK"),
            ("", ""),
        ];
        for (given, shown) in cases {
            assert_eq!(format_events(parse_events(given.as_bytes()).expect("valid")), shown, "{given}");
        }
        assert!(parse_events(b"q").is_err());
    }

    #[test]
    fn percentiles_keep_six_digits() {
        let shown = |text| parse_percentiles(&words(text)).map(|values| format_percentiles(&values));
        assert_eq!(shown("50.5 99.123456789 1e1").as_deref(), Ok("50.5 99.123457 10"));
        assert_eq!(shown("").as_deref(), Ok(""));
        for text in ["101", "-1", "nan", "inf", "x", "50 x"] {
            assert!(shown(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_master_is_a_host_and_a_port_or_no_one() {
        let shown = |text| parse_master(&words(text)).map(|master| format_master(master.as_ref()));
        assert_eq!(shown("10.0.0.1 6379").as_deref(), Ok(b"10.0.0.1 6379".as_slice()));
        assert_eq!(shown("NO one").as_deref(), Ok(b"".as_slice()));
        assert_eq!(shown("host 65536").expect_err("no such port"), "Invalid master port");
        assert_eq!(shown("host").expect_err("no port"), "wrong number of arguments");
    }

    #[test]
    fn scores_are_three_and_bounded() {
        assert_eq!(parse_oom_scores(&words("0 200 -2000")), Ok([0, 200, -2000]));
        assert!(parse_oom_scores(&words("0 200")).is_err());
        assert!(parse_oom_scores(&words("0 200 2001")).is_err());
    }
}
