//! Masters and replicas.

use crate::config::declaration::{Declaration, INT_MAX, LONG_MAX};
use crate::config::value::{Kind, Names};

const DISKLESS_LOAD: Names = &[("disabled", 0), ("on-empty-db", 1), ("swapdb", 2)];
const PROPAGATION_ERROR: Names = &[("ignore", 0), ("panic", 1), ("panic-on-replicas", 2)];

pub(super) const PARAMETERS: &[Declaration] = &[
    Declaration::special("replicaof", Kind::Master, "no one", "The master to copy: host and port.")
        .alias("slaveof")
        .at_start(),
    Declaration::optional("masterauth", "Password for the master.").sensitive(),
    Declaration::optional("masteruser", "User on the master.").sensitive(),
    Declaration::bool("replica-serve-stale-data", "yes", "Answer reads while the master is away.")
        .alias("slave-serve-stale-data"),
    Declaration::bool("replica-read-only", "yes", "Refuse writes of clients on a replica.")
        .alias("slave-read-only"),
    Declaration::bool("replica-ignore-maxmemory", "yes", "Leave eviction to the master.")
        .alias("slave-ignore-maxmemory"),
    Declaration::bool("replica-lazy-flush", "no", "Drop the old dataset in the background.")
        .alias("slave-lazy-flush"),
    Declaration::integer("replica-priority", "100", "Rank for promotion by Sentinel; 0 is never promoted.")
        .alias("slave-priority"),
    Declaration::bool("replica-announced", "yes", "Let Sentinel report this replica."),
    Declaration::optional("replica-announce-ip", "Address reported to the master.")
        .alias("slave-announce-ip"),
    Declaration::integer("replica-announce-port", "0", "Port reported to the master.")
        .bounds(0, 65535)
        .alias("slave-announce-port"),
    Declaration::bool("replica-ignore-disk-write-errors", "no", "Go on as a replica when the disk fails."),
    Declaration::bool("repl-diskless-sync", "yes", "Send snapshots over the socket without a file."),
    Declaration::integer("repl-diskless-sync-delay", "5", "Seconds to wait for more replicas to join."),
    Declaration::integer("repl-diskless-sync-max-replicas", "0", "Replicas that end that wait early."),
    Declaration::choice("repl-diskless-load", DISKLESS_LOAD, "disabled", "Load a snapshot as it arrives.")
        .fixed_while_loading(),
    Declaration::integer("repl-ping-replica-period", "10", "Seconds between pings to replicas.")
        .bounds(1, INT_MAX)
        .alias("repl-ping-slave-period"),
    Declaration::integer("repl-timeout", "60", "Seconds of silence that break a link.").bounds(1, INT_MAX),
    Declaration::bool("repl-disable-tcp-nodelay", "no", "Save bandwidth to replicas at the cost of delay."),
    Declaration::memory(
        "repl-backlog-size",
        "1mb",
        "How much of the stream is kept for replicas that return.",
    )
    .at_least(1)
    .extremes(&["1", "16kb"]),
    Declaration::integer("repl-backlog-ttl", "3600", "Seconds after which it is dropped without replicas.")
        .bounds(0, LONG_MAX),
    Declaration::integer(
        "min-replicas-to-write",
        "0",
        "Replicas that must be near for writes to be accepted.",
    )
    .alias("min-slaves-to-write"),
    Declaration::integer("min-replicas-max-lag", "10", "Seconds of lag that still count as near.")
        .alias("min-slaves-max-lag"),
    Declaration::choice(
        "propagation-error-behavior",
        PROPAGATION_ERROR,
        "ignore",
        "What to do when a replicated command fails.",
    ),
];
