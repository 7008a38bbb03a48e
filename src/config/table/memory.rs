//! Memory: its limit, what goes first, and freeing it without a pause.

use crate::config::declaration::{Declaration, INT_MAX, LONG_MAX};
use crate::config::value::Names;

const POLICY: Names = &[
    ("volatile-lru", 0),
    ("volatile-lfu", 1),
    ("volatile-random", 2),
    ("volatile-ttl", 3),
    ("allkeys-lru", 4),
    ("allkeys-lfu", 5),
    ("allkeys-random", 6),
    ("noeviction", 7),
];

pub(super) const PARAMETERS: &[Declaration] = &[
    Declaration::memory("maxmemory", "0", "Memory for the dataset; 0 sets no limit.").unbounded(),
    Declaration::choice("maxmemory-policy", POLICY, "noeviction", "What is evicted at the limit."),
    Declaration::integer("maxmemory-samples", "5", "Keys compared to choose one to evict.")
        .bounds(1, INT_MAX),
    Declaration::integer("lfu-log-factor", "10", "How slowly the counter of accesses grows."),
    Declaration::integer("lfu-decay-time", "1", "Minutes after which that counter is halved."),
    Declaration::integer("active-expire-effort", "1", "How hard expired keys are looked for.")
        .bounds(1, 10)
        .implemented()
        .extremes(&["10"]),
    Declaration::bool("lazyfree-lazy-eviction", "no", "Free evicted values in the background."),
    Declaration::bool("lazyfree-lazy-expire", "no", "Free expired values in the background.").implemented(),
    Declaration::bool("lazyfree-lazy-server-del", "no", "Free overwritten values in the background.")
        .implemented(),
    Declaration::bool("lazyfree-lazy-user-del", "no", "Let DEL free like UNLINK.").implemented(),
    Declaration::bool(
        "lazyfree-lazy-user-flush",
        "no",
        "Let FLUSHDB and FLUSHALL be asynchronous by default.",
    )
    .implemented(),
    Declaration::bool("activerehashing", "yes", "Move on with growing tables while the server is idle."),
    Declaration::bool("activedefrag", "no", "Move values to reduce fragmentation."),
    Declaration::memory("active-defrag-ignore-bytes", "100mb", "Fragmentation too small to act on.")
        .at_least(1),
    Declaration::integer("active-defrag-threshold-lower", "10", "Per cent of fragmentation to start at.")
        .bounds(0, 1000),
    Declaration::integer("active-defrag-threshold-upper", "100", "Per cent that deserves the full effort.")
        .bounds(0, 1000),
    Declaration::integer("active-defrag-cycle-min", "1", "Per cent of a CPU to start with.").bounds(1, 99),
    Declaration::integer("active-defrag-cycle-max", "25", "Per cent of a CPU at the full effort.")
        .bounds(1, 99),
    Declaration::integer("active-defrag-max-scan-fields", "1000", "Elements of a value visited at once.")
        .bounds(1, LONG_MAX),
    Declaration::bool("jemalloc-bg-thread", "yes", "Let the allocator return memory in the background."),
];
