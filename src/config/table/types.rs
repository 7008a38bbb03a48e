//! How large a value may grow in its compact encoding.

use crate::config::declaration::{Declaration, INT_MAX, LONG_MAX};

pub(super) const PARAMETERS: &[Declaration] = &[
    Declaration::integer("hash-max-listpack-entries", "512", "Fields of a compact hash.")
        .bounds(0, LONG_MAX)
        .alias("hash-max-ziplist-entries")
        .extremes(&["0", "1"])
        .implemented(),
    Declaration::memory("hash-max-listpack-value", "64", "The longest field or value of a compact hash.")
        .alias("hash-max-ziplist-value")
        .extremes(&["0", "1gb"])
        .implemented(),
    Declaration::integer("list-max-listpack-size", "-2", "Elements of a list node, or its size if negative.")
        .bounds(i32::MIN as i64, INT_MAX)
        .alias("list-max-ziplist-size")
        .extremes(&["-5", "-1", "1"])
        .implemented(),
    Declaration::integer("list-compress-depth", "0", "Nodes at each end of a list that stay uncompressed.")
        .extremes(&["1"])
        .implemented(),
    Declaration::integer("set-max-intset-entries", "512", "Members of a set of integers only.")
        .bounds(0, LONG_MAX)
        .extremes(&["0"])
        .implemented(),
    Declaration::integer("zset-max-listpack-entries", "128", "Members of a compact sorted set.")
        .bounds(0, LONG_MAX)
        .alias("zset-max-ziplist-entries")
        .extremes(&["0", "1"])
        .implemented(),
    Declaration::memory("zset-max-listpack-value", "64", "The longest member of a compact sorted set.")
        .alias("zset-max-ziplist-value")
        .extremes(&["0", "1gb"])
        .implemented(),
    Declaration::memory("hll-sparse-max-bytes", "3000", "The largest sparse HyperLogLog.")
        .extremes(&["0"])
        .implemented(),
    Declaration::memory("stream-node-max-bytes", "4096", "The largest node of a stream.")
        .extremes(&["0"])
        .implemented(),
    Declaration::integer("stream-node-max-entries", "100", "Entries of a node of a stream.")
        .bounds(0, LONG_MAX)
        .extremes(&["0", "1"])
        .implemented(),
];
