//! The process: how it starts, where it runs, how it stops, and the work it does by itself.

use crate::config::declaration::{Declaration, LONG_MAX};
use crate::config::value::{Kind, Names, Refusal, Value};

const SUPERVISED: Names = &[("upstart", 3), ("systemd", 2), ("auto", 1), ("no", 0)];
const OOM_SCORE: Names = &[("no", 0), ("yes", 1), ("relative", 1), ("absolute", 2)];
const SHUTDOWN: Names = &[("default", 0), ("save", 1), ("nosave", 2), ("now", 4), ("force", 8)];
const ORDERING: Names = &[("strict", 0), ("relaxed", 1)];

pub(super) const PARAMETERS: &[Declaration] = &[
    Declaration::integer("shards", "0", "Cores that hold data; 0 takes every CPU the process may use.")
        .bounds(0, 4096)
        .own()
        .at_start()
        .implemented()
        // Tools set what CONFIG GET * shows to the values that it shows; this one cannot be set.
        .hidden()
        .extremes(&["1", "4"]),
    Declaration::choice(
        "pipeline-ordering",
        ORDERING,
        "strict",
        "Whether commands of one pipeline take effect in order even when they are for different shards.",
    )
    .own()
    .implemented()
    .extremes(&["strict", "relaxed"]),
    Declaration::integer("spin-microseconds", "0", "How long an idle core looks for work before it sleeps.")
        .bounds(0, 1_000_000)
        .own()
        .implemented()
        .extremes(&["0", "50"]),
    Declaration::bool(
        "connection-balancing",
        "yes",
        "Move connections from a core whose CPU others use to one that has time.",
    )
    .own()
    .implemented(),
    Declaration::bool("daemonize", "no", "Run in the background.").at_start().implemented(),
    Declaration::choice("supervised", SUPERVISED, "no", "Tell a supervisor when the server is ready.")
        .at_start(),
    Declaration::optional("pidfile", "Where to write the process id.").at_start().implemented(),
    Declaration::text("dir", "", "The working directory, where files are written.")
        .protected()
        .fixed_while_loading()
        .implemented(),
    Declaration::bool("set-proc-title", "yes", "Show what the process serves in its title.").at_start(),
    Declaration::text(
        "proc-title-template",
        "{title} {listen-addr} {server-mode}",
        "What the process title says, with variables in braces.",
    )
    .check(known_variables),
    Declaration::bool("always-show-logo", "no", "Print a logo at the start even into a log file.").at_start(),
    Declaration::integer("databases", "16", "Numbered databases that SELECT offers.")
        .bounds(1, i32::MAX as i64)
        .at_start()
        .implemented()
        .extremes(&["1", "1000"]),
    Declaration::integer("hz", "10", "How often per second periodic duties run.")
        .check(clamp_hz)
        .implemented()
        .extremes(&["1", "500"]),
    Declaration::bool(
        "dynamic-hz",
        "yes",
        "Run periodic duties more often while many clients are connected.",
    ),
    Declaration::integer("io-threads", "1", "Threads that serve sockets; here every shard serves its own.")
        .bounds(1, 128)
        .at_start(),
    Declaration::bool("io-threads-do-reads", "no", "Whether those threads also read.").at_start(),
    Declaration::optional("server_cpulist", "CPUs that shards may run on, like 0-7:2.")
        .at_start()
        .implemented(),
    Declaration::optional("bio_cpulist", "CPUs for threads in the background.").at_start().implemented(),
    Declaration::optional("aof_rewrite_cpulist", "CPUs for rewriting the append-only file.")
        .at_start()
        .implemented(),
    Declaration::optional("bgsave_cpulist", "CPUs for writing snapshots.").at_start().implemented(),
    Declaration::special(
        "shutdown-on-sigint",
        Kind::Choices(SHUTDOWN),
        "default",
        "How SIGINT shuts the server down.",
    )
    .implemented()
    .check(save_or_not),
    Declaration::special(
        "shutdown-on-sigterm",
        Kind::Choices(SHUTDOWN),
        "default",
        "How SIGTERM shuts the server down.",
    )
    .implemented()
    .check(save_or_not),
    Declaration::integer(
        "shutdown-timeout",
        "10",
        "Seconds for which a shutdown waits for lagging replicas.",
    ),
    Declaration::choice("oom-score-adj", OOM_SCORE, "no", "Tell the kernel which process to kill first."),
    Declaration::special(
        "oom-score-adj-values",
        Kind::OomScores,
        "0 200 800",
        "The scores of a master, a replica and a child process.",
    ),
    Declaration::bool("disable-thp", "yes", "Keep transparent huge pages off for this process.").at_start(),
    Declaration::text("ignore-warnings", "", "Warnings about the machine that do not stop the start."),
    Declaration::integer("watchdog-period", "0", "Milliseconds after which a stuck server logs its stack.")
        .hidden(),
    Declaration::bool("use-exit-on-panic", "no", "End with exit() instead of abort() on a failed assertion.")
        .hidden(),
    Declaration::integer(
        "maxmemory-eviction-tenacity",
        "10",
        "How much time one round of eviction may take.",
    )
    .bounds(0, 100),
    Declaration::integer("tracking-table-max-keys", "1000000", "Keys remembered for client-side caches.")
        .bounds(0, LONG_MAX),
];

/// Out of range values are brought into it instead of being refused, as in Redis.
fn clamp_hz(value: Value) -> Result<Value, Refusal> {
    let Value::Integer(hz) = value else { unreachable!("hz is a number") };
    Ok(Value::Integer(hz.clamp(1, 500)))
}

fn save_or_not(value: Value) -> Result<Value, Refusal> {
    const BOTH: u32 = 1 | 2;
    match value {
        Value::Choices(bits) if bits & BOTH == BOTH => {
            Err("shutdown options SAVE and NOSAVE can't be used simultaneously".into())
        }
        value => Ok(value),
    }
}

/// The variables that a process title may name.
pub const TITLE_VARIABLES: [&str; 7] =
    ["title", "listen-addr", "server-mode", "port", "tls-port", "unixsocket", "config-file"];

fn known_variables(value: Value) -> Result<Value, Refusal> {
    const REFUSAL: &str = "template format is invalid or contains unknown variables";
    let Value::Text(Some(template)) = &value else { unreachable!("a title is a text") };
    let mut rest: &[u8] = template;
    let mut says_something = false;
    while let [first, after @ ..] = rest {
        rest = after;
        says_something |= !first.is_ascii_whitespace();
        if *first == b'{' && rest.first() == Some(&b'{') {
            rest = &rest[1..];
        } else if *first == b'{' {
            let end = rest.iter().position(|byte| *byte == b'}').ok_or(REFUSAL)?;
            let known = TITLE_VARIABLES.iter().any(|name| name.as_bytes() == &rest[..end]);
            if !known {
                return Err(REFUSAL.into());
            }
            rest = &rest[end + 1..];
        }
    }
    if says_something { Ok(value) } else { Err(REFUSAL.into()) }
}
