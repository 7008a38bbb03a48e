//! What operators see: logs, slow commands, latencies, notifications.

use crate::config::declaration::{Declaration, LONG_MAX};
use crate::config::value::{Kind, Names};

const LOG_LEVEL: Names = &[("debug", 0), ("verbose", 1), ("notice", 2), ("warning", 3)];
const FACILITY: Names = &[
    ("user", 1),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];

pub(super) const PARAMETERS: &[Declaration] = &[
    Declaration::choice("loglevel", LOG_LEVEL, "notice", "How much is logged.").implemented(),
    Declaration::text("logfile", "", "Where to log; empty is the standard output.").at_start().implemented(),
    Declaration::bool("syslog-enabled", "no", "Log to the system logger too.").at_start(),
    Declaration::text("syslog-ident", "redis", "The name used there.").at_start(),
    Declaration::choice("syslog-facility", FACILITY, "local0", "The facility used there.").at_start(),
    Declaration::bool("crash-log-enabled", "yes", "Log what is known when the server crashes.").implemented(),
    Declaration::bool("crash-memcheck-enabled", "yes", "Test memory after a crash."),
    Declaration::integer(
        "slowlog-log-slower-than",
        "10000",
        "Microseconds from which a command is slow; negative logs none.",
    )
    .bounds(-1, LONG_MAX)
    .implemented()
    .extremes(&["-1", "0"]),
    Declaration::integer("slowlog-max-len", "128", "Slow commands that are remembered.")
        .bounds(0, LONG_MAX)
        .implemented()
        .extremes(&["0"]),
    Declaration::integer(
        "latency-monitor-threshold",
        "0",
        "Milliseconds from which an event is a latency spike.",
    )
    .bounds(0, LONG_MAX)
    .implemented()
    .extremes(&["1"]),
    Declaration::bool("latency-tracking", "yes", "Keep a histogram per command.").implemented(),
    Declaration::special(
        "latency-tracking-info-percentiles",
        Kind::Percentiles,
        "50 99 99.9",
        "The percentiles that INFO shows.",
    )
    .implemented()
    .extremes(&["", "0 100"]),
    Declaration::special(
        "notify-keyspace-events",
        Kind::Events,
        "",
        "Which events are published, one letter per class.",
    )
    .extremes(&["AKE", "KEgm"]),
];
