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
        _ => Rule::Exact,
    }
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
    }
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
