//! Clients: how many, for how long, and how much they may make the server hold for them.

use crate::config::declaration::Declaration;
use crate::config::value::Kind;

pub(super) const PARAMETERS: &[Declaration] = &[
    Declaration::integer("maxclients", "10000", "Connections at the same time.")
        .bounds(1, u32::MAX as i64)
        .implemented()
        .extremes(&["1"]),
    Declaration::integer("timeout", "0", "Seconds of idleness before a client is dropped; 0 never drops.")
        .implemented()
        .extremes(&["1"]),
    Declaration::special(
        "client-output-buffer-limit",
        Kind::OutputLimits,
        "normal 0 0 0 slave 256mb 64mb 60 pubsub 32mb 8mb 60",
        "How much a client may leave unread, by class: hard limit, soft limit, seconds above the soft one.",
    )
    .implemented()
    .extremes(&["normal 1mb 512kb 1"]),
    Declaration::memory("client-query-buffer-limit", "1gb", "How much of an unfinished request is kept.")
        .at_least(1 << 20)
        .implemented()
        .extremes(&["1mb"]),
    Declaration::memory("proto-max-bulk-len", "512mb", "The longest argument of a request.")
        .at_least(1 << 20)
        .implemented()
        .extremes(&["1mb"]),
    Declaration::special(
        "maxmemory-clients",
        Kind::MemoryOrPercent,
        "0",
        "Memory for all clients together; beyond it the heaviest are dropped.",
    ),
];
