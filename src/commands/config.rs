//! CONFIG: reads and changes the parameters while the server runs.
//!
//! A change is checked and made on the client's core, under the lock that all changes take; then every core
//! takes the new snapshot over, and only then the client hears OK: what it sends next runs under the new
//! values wherever it runs.

use super::help;
use crate::base::glob::{self, Case};
use crate::base::os_error::reason;
use crate::command_table::{
    Arg, Args, Arity, Asker, CommandSpec, Contribution, DEFAULTS, Flag, Flags, Group, Handler,
};
use crate::config::parameter::*;
use crate::config::update::{Changed, Permission, SetError, Update, set_and_apply};
use crate::config::value::Refusal;
use crate::config::{Config, rewrite};
use crate::observability::{Counters, Level, crash_report, process};
use crate::persistence::place::Move;
use crate::resp::Reply;
use crate::session::{CoreState, ListeningChange, Session, Shared};
use crate::shard::{CommandError, CommandResult, ShardStats};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::Ordering;

pub(super) const COMMANDS: &[&CommandSpec] = &[&CONFIG];

/// Files the server needs besides its clients' sockets, as Redis reserves them.
const RESERVED_FILES: u64 = 32;

const CONFIG: CommandSpec = CommandSpec {
    name: "CONFIG",
    full_name: "config",
    arity: Arity::AtLeast(2),
    group: Group::Server,
    since: "2.0.0",
    complexity: "Depends on subcommand.",
    summary: "The server's parameters.",
    subcommands: &[&GET, &SET, &RESETSTAT, &REWRITE, &HELP],
    ..DEFAULTS
};

const SUBCOMMAND: CommandSpec = CommandSpec {
    flags: Flags::of(&[Flag::Admin, Flag::NoScript, Flag::Loading, Flag::Stale]),
    group: Group::Server,
    since: "2.0.0",
    ..DEFAULTS
};

const GET: CommandSpec = CommandSpec {
    name: "GET",
    full_name: "config|get",
    arity: Arity::AtLeast(3),
    complexity: "O(N) when N is the number of configuration parameters provided.",
    summary: "Shows the parameters whose names match a pattern.",
    args: &[Arg::block("parameter", &[Arg::string("parameter")]).multiple()],
    handler: Handler::Client(get),
    ..SUBCOMMAND
};

fn get(session: &mut Session<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let patterns: Vec<&[u8]> = args.collect();
    let matches = |pattern: &[u8], name: &[u8]| glob::matches(pattern, name, Case::Ignored);
    let found = session.core.config.matching(&patterns, matches);
    reply.map(found.len());
    for (name, value) in found {
        reply.bulk(&name);
        reply.bulk(&value);
    }
    Ok(())
}

const SET: CommandSpec = CommandSpec {
    name: "SET",
    full_name: "config|set",
    arity: Arity::AtLeast(4),
    complexity: "O(N) when N is the number of configuration parameters provided.",
    summary: "Changes parameters: all that are named, or none.",
    args: &[Arg::block("parameter_value", &[Arg::string("parameter"), Arg::string("value")]).multiple()],
    tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
    handler: Handler::EveryCore { begin: set, collect: reload, finish: ok },
    ..SUBCOMMAND
};

fn set(session: &mut Session<'_>, args: Args<'_>) -> CommandResult {
    let words: Vec<&[u8]> = args.collect();
    let (pairs, []) = words.as_chunks::<2>() else { return Err(CommandError::Syntax) };
    let pairs: Vec<(&[u8], &[u8])> = pairs.iter().map(|[name, value]| (*name, *value)).collect();
    let is_local = session.client().is_local();
    let core = &*session.core;
    let permission = Permission {
        protected: core.config.get(ENABLE_PROTECTED_CONFIGS).allows(is_local),
        loading: core.settings.loading,
    };
    let mut listening: Option<ListeningChange> = None;
    let mut place: Option<Move> = None;
    let changed = core.shared.change_config(|current| {
        let update = set_and_apply(current, &pairs, permission, |config, changed| {
            if changed.place == PORT.place() || changed.place == BIND.place() {
                return listen(&core.shared, current, config, changed, &mut listening);
            }
            if concerns_place(changed) && place.is_none() && !std::ptr::eq(config, current) {
                // Once for all that concern it, and before one of them enters another directory.
                let prepared = core.shared.persistence.place.prepare(config);
                place = Some(prepared.map_err(|taken| Refusal::from(taken.to_string()))?);
            }
            apply(&core.shared, config, changed)
        });
        let Update { mut config, changed } = update.map_err(|error| error_of(&error))?;
        if changed.iter().any(|changed| changed.place == DIR.place()) {
            enter_shown_directory(&mut config);
        }
        if let Some(place) = place {
            core.shared.persistence.place.go(place);
        }
        Ok::<_, CommandError>((config, changed))
    })?;
    if let Some(change) = listening {
        core.shared.port.store(usize::from(change.port), Ordering::Relaxed);
        core.shared.change_listening(change);
    }
    for changed in changed {
        core.shared.log.verbose(format!("{} changed by CONFIG SET", changed.name));
    }
    Ok(())
}

fn error_of(error: &SetError) -> CommandError {
    let code = if *error == SetError::Loading { "LOADING" } else { "ERR" };
    CommandError::built(format!("{code} {error}"))
}

/// Whether it may lead to another snapshot file, or to a first one.
fn concerns_place(changed: &Changed) -> bool {
    [DIR.place(), DBFILENAME.place(), SAVE.place()].contains(&changed.place)
}

/// What a change entails besides the cores' new snapshot; also the way back, with the old values.
fn apply(shared: &Shared, config: &Config, changed: &Changed) -> Result<(), Refusal> {
    let is = |place: usize| changed.place == place;
    if is(LOGLEVEL.place()) {
        shared.log.set_level(Level::from(config.get(LOGLEVEL)));
    } else if is(CRASH_LOG_ENABLED.place()) {
        crash_report::enable(config.get(CRASH_LOG_ENABLED));
    } else if is(MAXCLIENTS.place()) {
        enough_files(u64::from(config.get(MAXCLIENTS)))?;
    } else if is(DIR.place()) {
        let directory = Path::new(std::ffi::OsStr::from_bytes(config.get(DIR)));
        std::env::set_current_dir(directory).map_err(|error| Refusal::from(reason(&error)))?;
    } else if is(APPENDONLY.place()) && config.get(APPENDONLY) {
        // The base is written in the background; it begins at once.
        shared.append_only.files_or_open(config).map_err(|error| {
            shared.log.warning(format!("Can't turn the append only file on: {error}"));
            Refusal::from("Unable to turn on AOF. Check server logs.")
        })?;
    } else if is(TLS_PORT.place()) && config.get(TLS_PORT) != 0 {
        shared.log.warning("CONFIG SET tls-port: TLS is not available yet");
        return Err("Unable to listen on this port. Check server logs.".into());
    }
    Ok(())
}

/// Port and addresses change together; `listening` holds the sockets until it is certain that they are wanted.
fn listen(
    shared: &Shared,
    current: &Config,
    config: &Config,
    changed: &Changed,
    listening: &mut Option<ListeningChange>,
) -> Result<(), Refusal> {
    if config.get(PORT) == current.get(PORT) && config.get(BIND) == current.get(BIND) {
        // The way back: the old sockets are still open.
        *listening = None;
        return Ok(());
    }
    if listening.is_none() {
        let opened = ListeningChange::open(current, config).map_err(|error| {
            shared.log.warning(format!("CONFIG SET {}: {error}", changed.name));
            match changed.place == PORT.place() {
                true => "Unable to listen on this port. Check server logs.",
                false => "Failed to bind to specified addresses.",
            }
        });
        *listening = Some(opened?);
    }
    Ok(())
}

fn enough_files(clients: u64) -> Result<(), Refusal> {
    let files = process::raise_open_files(clients + RESERVED_FILES);
    if files >= clients + RESERVED_FILES {
        return Ok(());
    }
    let possible = files.saturating_sub(RESERVED_FILES);
    Err(format!(
        "The operating system is not able to handle the specified number of clients, try with {possible}"
    )
    .into())
}

/// A relative path is shown as the place it led to.
fn enter_shown_directory(config: &mut Config) {
    if let Ok(directory) = std::env::current_dir() {
        config.set_directory(directory.as_os_str().as_bytes());
    }
}

fn reload(core: &mut CoreState, _: Asker, _: Args<'_>) -> Contribution {
    core.reload_config();
    // The first core accepts for all.
    if core.index == 0 {
        core.listening.extend(core.shared.take_listening());
    }
    Box::new(())
}

fn ok(_: &mut Session<'_>, _: Args<'_>, _: Vec<Contribution>, reply: &mut Reply<'_>) -> CommandResult {
    reply.ok();
    Ok(())
}

const RESETSTAT: CommandSpec = CommandSpec {
    name: "RESETSTAT",
    full_name: "config|resetstat",
    arity: Arity::Exactly(2),
    complexity: "O(1).",
    summary: "Sets the figures of INFO back to zero.",
    handler: Handler::EveryCore { begin: |_, _| Ok(()), collect: reset_statistics, finish: ok },
    ..SUBCOMMAND
};

fn reset_statistics(core: &mut CoreState, _: Asker, _: Args<'_>) -> Contribution {
    core.counters = Counters::default();
    core.shard.stats = ShardStats::default();
    core.command_stats.reset();
    core.rates.reset();
    core.shared.persistence.reset();
    Box::new(())
}

const REWRITE: CommandSpec = CommandSpec {
    name: "REWRITE",
    full_name: "config|rewrite",
    arity: Arity::Exactly(2),
    since: "2.8.0",
    complexity: "O(1).",
    summary: "Writes the parameters in force into the configuration file.",
    handler: Handler::Client(|session, _, reply| {
        rewrite_file(session.core, rewrite::rewrite)?;
        reply.ok();
        Ok(())
    }),
    ..SUBCOMMAND
};

/// Writes the configuration file anew; `rewrite` makes the new text from the old one.
pub(super) fn rewrite_file(core: &CoreState, rewrite: fn(&[u8], &Config) -> Vec<u8>) -> CommandResult {
    let Some(path) = core.config.directives.file.as_deref() else {
        return Err(CommandError::Text("ERR The server is running without a config file"));
    };
    let old = match std::fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read,
    };
    let written = old.and_then(|old| rewrite::replace_file(path, &rewrite(&old, &core.config)));
    written.map_err(|error| {
        let reason = reason(&error);
        core.shared.log.warning(format!("CONFIG REWRITE failed: {reason}"));
        CommandError::built(format!("ERR Rewriting config file: {reason}"))
    })?;
    core.shared.log.notice("CONFIG REWRITE executed with success.");
    Ok(())
}

const HELP: CommandSpec = CommandSpec {
    name: "HELP",
    full_name: "config|help",
    arity: Arity::Exactly(2),
    flags: Flags::of(&[Flag::Loading, Flag::Stale]),
    since: "5.0.0",
    complexity: "O(1).",
    summary: "Shows the subcommands.",
    handler: Handler::Client(|_, _, reply| {
        help::write(
            reply,
            "CONFIG",
            &[
                ("GET <pattern>", &["The parameters whose names match <pattern>, with their values."]),
                ("SET <directive> <value>", &["Changes a parameter; several pairs are changed together."]),
                ("RESETSTAT", &["Sets the figures of INFO back to zero."]),
                ("REWRITE", &["Writes what is in force into the configuration file."]),
            ],
        );
        Ok(())
    }),
    ..SUBCOMMAND
};
