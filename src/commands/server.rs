//! The server itself: TIME, LOLWUT, SHUTDOWN, ROLE, REPLICAOF.

use crate::base::clock;
use crate::base::number::parse_i64;
use crate::command_table::{Arg, Args, Arity, Category, CommandSpec, DEFAULTS, Flag, Flags, Group, Handler};
use crate::config::parameter::CLUSTER_ENABLED;
use crate::observability::info::REDIS_VERSION;
use crate::persistence::save::{self, Stop};
use crate::resp::Reply;
use crate::session::{FrozenOrder, Session};
use crate::shard::{CommandError, CommandResult};
use std::sync::atomic::Ordering;

pub(super) const COMMANDS: &[&CommandSpec] = &[&TIME, &LOLWUT, &SHUTDOWN, &ROLE, &REPLICAOF, &SLAVEOF];

const TIME: CommandSpec = CommandSpec {
    name: "TIME",
    full_name: "time",
    arity: Arity::Exactly(1),
    flags: Flags::of(&[Flag::Loading, Flag::Stale, Flag::Fast]),
    group: Group::Server,
    since: "2.6.0",
    complexity: "O(1).",
    summary: "Tells the server's time.",
    tips: &["nondeterministic_output"],
    handler: Handler::Client(|_, _, reply| {
        let micros = clock::UnixMicros::now().0;
        reply.array(2);
        reply.bulk_integer((micros / 1_000_000) as i64);
        reply.bulk_integer((micros % 1_000_000) as i64);
        Ok(())
    }),
    ..DEFAULTS
};

const LOLWUT: CommandSpec = CommandSpec {
    name: "LOLWUT",
    full_name: "lolwut",
    arity: Arity::AtLeast(1),
    flags: Flags::of(&[Flag::ReadOnly, Flag::Fast]),
    group: Group::Server,
    since: "5.0.0",
    complexity: "O(1).",
    summary: "Draws something, and tells the version.",
    args: &[Arg::integer("version").after("VERSION").optional()],
    handler: Handler::Client(lolwut),
    ..DEFAULTS
};

/// A small gear that turns a large one.
const GEARS: &str = r"
     _/\_/\_
   _/       \_    _/\_
   \    o    /\__/    \_
   /_       _/  \  o  _/
     \_   _/     \_  _/
       \_/         \/
";

fn lolwut(_: &mut Session<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    // The version only chose among pictures, and there is one.
    if args.remaining() >= 2 && args.option("VERSION") {
        args.integer()?;
    }
    let text = format!("{GEARS}\nRedis ver. {REDIS_VERSION}\n");
    reply.verbatim(b"txt", text.as_bytes());
    Ok(())
}

const SHUTDOWN: CommandSpec = CommandSpec {
    name: "SHUTDOWN",
    full_name: "shutdown",
    arity: Arity::AtLeast(1),
    flags: Flags::of(&[
        Flag::Admin,
        Flag::NoScript,
        Flag::Loading,
        Flag::Stale,
        Flag::NoMulti,
        Flag::AllowBusy,
    ]),
    group: Group::Server,
    since: "1.0.0",
    complexity: "O(N) when saving, where N is the total number of keys in all databases when saving data, \
                 otherwise O(1).",
    summary: "Stops the server.",
    args: &[
        Arg::one_of("nosave_save", &[Arg::token("nosave", "NOSAVE"), Arg::token("save", "SAVE")]).optional(),
        Arg::token("now", "NOW").optional().since("7.0.0"),
        Arg::token("force", "FORCE").optional().since("7.0.0"),
        Arg::token("abort", "ABORT").optional().since("7.0.0"),
    ],
    handler: Handler::Frozen { prepare: shutdown, in_exec: |_, _, _| unreachable!("not queued") },
    ..DEFAULTS
};

/// The words of a SHUTDOWN; NOW means nothing yet, since there is no replica to wait for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct ShutdownWords {
    save: bool,
    no_save: bool,
    now: bool,
    force: bool,
    abort: bool,
}

fn shutdown_words(mut args: Args<'_>) -> Result<ShutdownWords, CommandError> {
    let mut words = ShutdownWords::default();
    while args.remaining() > 0 {
        let word = if args.option("NOSAVE") {
            &mut words.no_save
        } else if args.option("SAVE") {
            &mut words.save
        } else if args.option("NOW") {
            &mut words.now
        } else if args.option("FORCE") {
            &mut words.force
        } else if args.option("ABORT") {
            &mut words.abort
        } else {
            return Err(CommandError::Syntax);
        };
        *word = true;
    }
    let others = words.save || words.no_save || words.now || words.force;
    if words.abort && others || words.save && words.no_save {
        return Err(CommandError::Syntax);
    }
    Ok(words)
}

fn shutdown(
    session: &mut Session<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<Option<FrozenOrder>, CommandError> {
    let words = shutdown_words(args)?;
    let shared = &session.core.shared;
    if words.abort {
        let by_signal = shared.stop_signal.swap(0, Ordering::SeqCst) != 0;
        if !by_signal && shared.shutdown_requested().is_none() {
            return Err(CommandError::Text("ERR No shutdown in progress."));
        }
        shared.cancel_shutdown();
        shared.stopping.store(false, Ordering::SeqCst);
        shared.log.notice("Shutdown manually aborted.");
        reply.ok();
        return Ok(None);
    }
    // Whoever asks for the end hears nothing more than that the connection is closed.
    Ok(save::stop(session.core, Stop { save: words.save, no_save: words.no_save, force: words.force }))
}

const ROLE: CommandSpec = CommandSpec {
    name: "ROLE",
    full_name: "role",
    arity: Arity::Exactly(1),
    flags: Flags::of(&[Flag::NoScript, Flag::Loading, Flag::Stale, Flag::Fast]),
    group: Group::Server,
    categories: &[Category::Admin, Category::Dangerous],
    since: "2.8.12",
    complexity: "O(1).",
    summary: "Tells the server's part in replication.",
    handler: Handler::Client(|_, _, reply| {
        reply.array(3);
        reply.bulk(b"master");
        reply.integer(0);
        reply.array(0);
        Ok(())
    }),
    ..DEFAULTS
};

const REPLICATION_ARGS: &[Arg] = &[Arg::one_of(
    "args",
    &[
        Arg::block("host-port", &[Arg::string("host"), Arg::integer("port")]),
        Arg::block("no-one", &[Arg::token("no", "NO"), Arg::token("one", "ONE")]),
    ],
)];

const REPLICAOF: CommandSpec = CommandSpec {
    name: "REPLICAOF",
    full_name: "replicaof",
    arity: Arity::Exactly(3),
    flags: Flags::of(&[Flag::Admin, Flag::NoScript, Flag::Stale, Flag::NoAsyncLoading]),
    group: Group::Server,
    since: "5.0.0",
    complexity: "O(1).",
    summary: "Follows another server, or none.",
    args: REPLICATION_ARGS,
    handler: Handler::Client(replica_of),
    ..DEFAULTS
};

const SLAVEOF: CommandSpec =
    CommandSpec { name: "SLAVEOF", full_name: "slaveof", since: "1.0.0", ..REPLICAOF };

fn replica_of(session: &mut Session<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    if session.core.config.get(CLUSTER_ENABLED) {
        return Err(CommandError::Text("ERR REPLICAOF not allowed in cluster mode."));
    }
    let (host, port) = (args.bytes()?, args.bytes()?);
    if host.eq_ignore_ascii_case(b"no") && port.eq_ignore_ascii_case(b"one") {
        reply.ok();
        return Ok(());
    }
    if !parse_i64(port).is_some_and(|port| (0..=65_535).contains(&port)) {
        return Err(CommandError::Text("ERR Invalid master port"));
    }
    Err(CommandError::Text("ERR replication is not available yet in this version of Pinion"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::ArgvBuf;

    fn words(text: &str) -> Result<ShutdownWords, CommandError> {
        let argv: ArgvBuf = text.split(' ').map(str::as_bytes).collect();
        shutdown_words(Args::new(argv.as_argv(), 1))
    }

    #[test]
    fn some_words_exclude_each_other() {
        assert_eq!(words("shutdown"), Ok(ShutdownWords::default()));
        assert_eq!(words("shutdown abort"), Ok(ShutdownWords { abort: true, ..Default::default() }));
        let all = ShutdownWords { no_save: true, now: true, force: true, ..Default::default() };
        assert_eq!(words("shutdown NOW nosave Force"), Ok(all));
        for text in ["shutdown save nosave", "shutdown abort now", "shutdown x", "shutdown nosave save now"] {
            assert_eq!(words(text), Err(CommandError::Syntax), "{text}");
        }
    }
}
