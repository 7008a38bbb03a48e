//! Whether two replies to the same command mean the same.
//!
//! Exactly equal, unless the command leaves something open: an order, a choice, a clock.

use crate::generate::Argv;
use crate::support::Value;

/// Seconds by which two clocks' deadlines may differ; deadlines that differ on purpose are further apart.
const TOLERANCE_SECONDS: i64 = 5;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Rule {
    Exact,
    /// The items in any order.
    Unordered,
    /// Names and values alternate, the pairs in any order.
    UnorderedPairs,
    /// Chance chooses: as many items, of the same kinds.
    Shape,
    /// A cursor and some items: both fail alike, or both give a cursor and items.
    Scan,
    Seconds,
    Milliseconds,
    /// Among other things there are times in it: since a delivery, or of one.
    HasTimes,
}

fn rule(argv: &Argv) -> Rule {
    let name = argv.first().map(|name| name.to_ascii_uppercase()).unwrap_or_default();
    match name.as_slice() {
        b"KEYS" | b"SMEMBERS" | b"SINTER" | b"SUNION" | b"SDIFF" | b"HKEYS" | b"HVALS" => Rule::Unordered,
        b"HGETALL" => Rule::UnorderedPairs,
        b"RANDOMKEY" | b"SRANDMEMBER" | b"HRANDFIELD" | b"ZRANDMEMBER" | b"SPOP" => Rule::Shape,
        b"SCAN" | b"SSCAN" | b"HSCAN" | b"ZSCAN" => Rule::Scan,
        b"TTL" | b"EXPIRETIME" => Rule::Seconds,
        b"PTTL" | b"PEXPIRETIME" => Rule::Milliseconds,
        b"XPENDING" | b"XINFO" => Rule::HasTimes,
        b"SORT" | b"SORT_RO" if is_unsorted(argv) => Rule::Unordered,
        _ => Rule::Exact,
    }
}

/// By a pattern without a star nothing is sorted, and sets have no order of their own.
fn is_unsorted(argv: &Argv) -> bool {
    let by = argv.iter().position(|word| word.eq_ignore_ascii_case(b"BY"));
    by.and_then(|index| argv.get(index + 1)).is_some_and(|pattern| !pattern.contains(&b'*'))
}

/// Looks at keys of its choice, and removes them if they are past their deadlines.
pub fn may_expire_any_key(argv: &Argv) -> bool {
    argv[0].eq_ignore_ascii_case(b"RANDOMKEY") || argv[0].eq_ignore_ascii_case(b"SCAN")
}

pub fn agree(argv: &Argv, redis: &Value, pinion: &Value) -> bool {
    if redis == pinion {
        return true;
    }
    match rule(argv) {
        Rule::Exact => false,
        Rule::Unordered => redis.clone().sorted() == pinion.clone().sorted(),
        Rule::UnorderedPairs => pairs_in_order(redis) == pairs_in_order(pinion),
        Rule::Shape => have_same_shape(redis, pinion),
        Rule::Scan => is_scan_reply(redis) && is_scan_reply(pinion),
        Rule::Seconds => are_near(redis, pinion, TOLERANCE_SECONDS),
        Rule::Milliseconds => are_near(redis, pinion, TOLERANCE_SECONDS * 1000),
        Rule::HasTimes => {
            let (mut theirs, mut ours) = (Vec::new(), Vec::new());
            let equal = without_times(redis, &mut theirs) == without_times(pinion, &mut ours);
            let near =
                |(theirs, ours): (&i64, &i64)| theirs.abs_diff(*ours) <= TOLERANCE_SECONDS as u64 * 1000;
            equal && theirs.iter().zip(&ours).all(near)
        }
    }
}

/// The reply with its times taken out: behind `idle` and `seen-time`, and in entries pending, which are an id,
/// perhaps a consumer, a time and a count.
fn without_times(value: &Value, times: &mut Vec<i64>) -> Value {
    let is_id = |value: &Value| value.as_bytes().is_some_and(|text| text.contains(&b'-'));
    match value {
        Value::Array(items) => {
            let time_at = match items.as_slice() {
                [id, Value::Integer(_), Value::Integer(_)] if is_id(id) => Some(1),
                [id, Value::Bulk(_), Value::Integer(_), Value::Integer(_)] if is_id(id) => Some(2),
                _ => None,
            };
            let kept = items.iter().enumerate().map(|(index, item)| {
                let named = index > 0 && is_name_of_time(&items[index - 1]);
                if named || time_at == Some(index) { take(item, times) } else { without_times(item, times) }
            });
            Value::Array(kept.collect())
        }
        Value::Map(pairs) => {
            let kept = pairs.iter().map(|(name, value)| {
                let value =
                    if is_name_of_time(name) { take(value, times) } else { without_times(value, times) };
                (name.clone(), value)
            });
            Value::Map(kept.collect())
        }
        other => other.clone(),
    }
}

fn is_name_of_time(value: &Value) -> bool {
    matches!(value.as_bytes(), Some(b"idle" | b"seen-time"))
}

fn take(time: &Value, times: &mut Vec<i64>) -> Value {
    times.extend(time.as_integer());
    Value::Null
}

fn pairs_in_order(value: &Value) -> Value {
    match value {
        Value::Array(items) if items.len().is_multiple_of(2) => {
            let mut pairs: Vec<Value> = items.chunks(2).map(|pair| Value::Array(pair.to_vec())).collect();
            pairs.sort();
            Value::Array(pairs)
        }
        _ => value.clone().sorted(),
    }
}

fn have_same_shape(redis: &Value, pinion: &Value) -> bool {
    match (redis, pinion) {
        (Value::Error(redis), Value::Error(pinion)) => redis == pinion,
        (Value::Array(redis), Value::Array(pinion)) => {
            redis.len() == pinion.len()
                && redis.iter().zip(pinion).all(|(redis, pinion)| have_same_shape(redis, pinion))
        }
        _ => std::mem::discriminant(redis) == std::mem::discriminant(pinion),
    }
}

fn is_scan_reply(value: &Value) -> bool {
    matches!(value.as_items(), Some([Value::Bulk(_), Value::Array(_)]))
}

fn are_near(redis: &Value, pinion: &Value, tolerance: i64) -> bool {
    match (redis.as_integer(), pinion.as_integer()) {
        (Some(redis), Some(pinion)) => {
            // Negative ones are not times but answers: no key, no deadline.
            redis >= 0 && pinion >= 0 && redis.abs_diff(pinion) <= tolerance.unsigned_abs()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agrees(command: &str, redis: &[u8], pinion: &[u8]) -> bool {
        let argv: Argv = command.split(' ').map(|word| word.as_bytes().to_vec()).collect();
        let value = |bytes| Value::parse(bytes).expect("a whole reply").0;
        agree(&argv, &value(redis), &value(pinion))
    }

    #[test]
    fn only_what_a_command_leaves_open_may_differ() {
        assert!(agrees("GET k", b"$1\r\na\r\n", b"$1\r\na\r\n"));
        assert!(!agrees("GET k", b"$1\r\na\r\n", b"+a\r\n"));
        assert!(!agrees("GET k", b"$-1\r\n", b"_\r\n"));
        assert!(agrees("keys *", b"*2\r\n:1\r\n:2\r\n", b"*2\r\n:2\r\n:1\r\n"));
        assert!(!agrees("MGET a b", b"*2\r\n:1\r\n:2\r\n", b"*2\r\n:2\r\n:1\r\n"));
        assert!(agrees("HGETALL h", b"*4\r\n+a\r\n+1\r\n+b\r\n+2\r\n", b"*4\r\n+b\r\n+2\r\n+a\r\n+1\r\n"));
        assert!(!agrees("HGETALL h", b"*4\r\n+a\r\n+1\r\n+b\r\n+2\r\n", b"*4\r\n+a\r\n+2\r\n+b\r\n+1\r\n"));
        assert!(agrees("PTTL k", b":5000\r\n", b":9000\r\n"));
        assert!(!agrees("PTTL k", b":5000\r\n", b":10001\r\n"));
        assert!(!agrees("TTL k", b":0\r\n", b":-1\r\n"));
        assert!(agrees("RANDOMKEY", b"$1\r\na\r\n", b"$1\r\nb\r\n"));
        assert!(!agrees("RANDOMKEY", b"$1\r\na\r\n", b"$-1\r\n"));
        assert!(!agrees("SCAN x", b"-ERR invalid cursor\r\n", b"*2\r\n$1\r\n0\r\n*0\r\n"));
    }
}
