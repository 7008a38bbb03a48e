//! LATENCY: spikes by event, histograms by command, over all cores.

use super::help;
use crate::command_table::{
    Arg, Args, Arity, Asker, CommandSpec, CommandTable, Contribution, DEFAULTS, Flag, Flags, Group, Handler,
};
use crate::observability::latency_report::{self, Circumstances};
use crate::observability::{CommandStats, LatencyEvent, LatencyHistory};
use crate::resp::Reply;
use crate::session::{CoreState, Session};
use crate::shard::{CommandError, CommandResult};
use std::collections::{BTreeMap, BTreeSet};

pub(super) const COMMANDS: &[&CommandSpec] = &[&LATENCY];

const LATENCY: CommandSpec = CommandSpec {
    name: "LATENCY",
    full_name: "latency",
    arity: Arity::AtLeast(2),
    group: Group::Server,
    since: "2.8.13",
    complexity: "Depends on subcommand.",
    summary: "Where time is lost.",
    subcommands: &[&DOCTOR, &GRAPH, &HISTOGRAM, &HISTORY, &LATEST, &RESET, &HELP],
    ..DEFAULTS
};

const SUBCOMMAND: CommandSpec = CommandSpec {
    arity: Arity::Exactly(2),
    flags: Flags::of(&[Flag::Admin, Flag::NoScript, Flag::Loading, Flag::Stale]),
    group: Group::Server,
    since: "2.8.13",
    complexity: "O(1).",
    tips: &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"],
    ..DEFAULTS
};

type Events = Vec<(LatencyEvent, LatencyHistory)>;

fn collect_events(core: &mut CoreState, _: Asker, _: Args<'_>) -> Contribution {
    let events: Events = core.latency.events().map(|(event, history)| (event, history.clone())).collect();
    Box::new(events)
}

/// The cores' histories as one per event.
fn merged(contributions: Vec<Contribution>) -> Events {
    let mut by_event: BTreeMap<LatencyEvent, Vec<LatencyHistory>> = BTreeMap::new();
    for part in contributions {
        for (event, history) in *part.downcast::<Events>().expect("what these commands collect") {
            by_event.entry(event).or_default().push(history);
        }
    }
    by_event.into_iter().map(|(event, histories)| (event, latency_report::merge(histories))).collect()
}

/// The event that the argument names.
fn named(
    args: &mut Args<'_>,
    events: Events,
) -> Result<Option<(LatencyEvent, LatencyHistory)>, CommandError> {
    let name = args.bytes()?;
    Ok(events.into_iter().find(|(event, _)| event.name().as_bytes() == name))
}

const LATEST: CommandSpec = CommandSpec {
    name: "LATEST",
    full_name: "latency|latest",
    summary: "Shows the last spike of each event.",
    handler: Handler::EveryCore { begin: |_, _| Ok(()), collect: collect_events, finish: latest },
    ..SUBCOMMAND
};

fn latest(
    _: &mut Session<'_>,
    _: Args<'_>,
    parts: Vec<Contribution>,
    reply: &mut Reply<'_>,
) -> CommandResult {
    let events = merged(parts);
    reply.array(events.len());
    for (event, history) in events {
        let (at, milliseconds) = history.samples.back().copied().unwrap_or_default();
        reply.array(4);
        reply.bulk(event.name().as_bytes());
        reply.integer(at as i64);
        reply.integer(milliseconds as i64);
        reply.integer(history.worst_ms as i64);
    }
    Ok(())
}

const HISTORY: CommandSpec = CommandSpec {
    name: "HISTORY",
    full_name: "latency|history",
    arity: Arity::Exactly(3),
    summary: "Shows the spikes of an event.",
    args: &[Arg::string("event")],
    handler: Handler::EveryCore { begin: |_, _| Ok(()), collect: collect_events, finish: history },
    ..SUBCOMMAND
};

fn history(
    _: &mut Session<'_>,
    mut args: Args<'_>,
    parts: Vec<Contribution>,
    reply: &mut Reply<'_>,
) -> CommandResult {
    let samples = named(&mut args, merged(parts))?.map(|(_, history)| history.samples).unwrap_or_default();
    reply.array(samples.len());
    for (at, milliseconds) in samples {
        reply.array(2);
        reply.integer(at as i64);
        reply.integer(milliseconds as i64);
    }
    Ok(())
}

const GRAPH: CommandSpec = CommandSpec {
    name: "GRAPH",
    full_name: "latency|graph",
    arity: Arity::Exactly(3),
    summary: "Draws the spikes of an event.",
    args: &[Arg::string("event")],
    handler: Handler::EveryCore { begin: |_, _| Ok(()), collect: collect_events, finish: graph },
    ..SUBCOMMAND
};

fn graph(
    session: &mut Session<'_>,
    mut args: Args<'_>,
    parts: Vec<Contribution>,
    reply: &mut Reply<'_>,
) -> CommandResult {
    let asked = String::from_utf8_lossy(args.peek().unwrap_or_default()).into_owned();
    let Some((event, history)) = named(&mut args, merged(parts))? else {
        return Err(CommandError::built(format!("ERR No samples available for event '{asked}'")));
    };
    let text = latency_report::graph(event.name(), &history, session.core.now.unix.as_secs());
    reply.verbatim(b"txt", text.as_bytes());
    Ok(())
}

const DOCTOR: CommandSpec = CommandSpec {
    name: "DOCTOR",
    full_name: "latency|doctor",
    summary: "Says in words what the samples mean.",
    handler: Handler::EveryCore {
        begin: |_, _| Ok(()),
        collect: collect_events,
        finish: |session, _, parts, reply| {
            let settings = &session.core.settings;
            let now = Circumstances {
                threshold_ms: settings.latency_threshold_ms,
                slowlog_slower_than_us: settings.slowlog_slower_than_us,
            };
            reply.verbatim(b"txt", latency_report::doctor(&merged(parts), now).as_bytes());
            Ok(())
        },
    },
    ..SUBCOMMAND
};

const RESET: CommandSpec = CommandSpec {
    name: "RESET",
    full_name: "latency|reset",
    arity: Arity::AtLeast(2),
    summary: "Forgets the spikes of some events, or of all.",
    args: &[Arg::string("event").optional().multiple()],
    tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
    handler: Handler::EveryCore { begin: |_, _| Ok(()), collect: forget, finish: count_forgotten },
    ..SUBCOMMAND
};

fn forget(core: &mut CoreState, _: Asker, args: Args<'_>) -> Contribution {
    let names: Vec<&[u8]> = args.collect();
    let before: BTreeSet<LatencyEvent> = core.latency.events().map(|(event, _)| event).collect();
    core.latency.reset(&names);
    let after: BTreeSet<LatencyEvent> = core.latency.events().map(|(event, _)| event).collect();
    Box::new(before.difference(&after).copied().collect::<BTreeSet<LatencyEvent>>())
}

/// An event that several cores have seen counts once.
fn count_forgotten(
    _: &mut Session<'_>,
    _: Args<'_>,
    parts: Vec<Contribution>,
    reply: &mut Reply<'_>,
) -> CommandResult {
    let mut forgotten: BTreeSet<LatencyEvent> = BTreeSet::new();
    for part in parts {
        forgotten.extend(*part.downcast::<BTreeSet<LatencyEvent>>().expect("what this collects"));
    }
    reply.length(forgotten.len());
    Ok(())
}

const HISTOGRAM: CommandSpec = CommandSpec {
    name: "HISTOGRAM",
    full_name: "latency|histogram",
    arity: Arity::AtLeast(2),
    since: "7.0.0",
    complexity: "O(N) where N is the number of commands with latency information being retrieved.",
    summary: "Shows how long the calls of some commands took, or of all.",
    args: &[Arg::string("command").optional().multiple()],
    handler: Handler::EveryCore {
        begin: |_, _| Ok(()),
        collect: |core, _, _| Box::new(core.command_stats.clone()),
        finish: histogram,
    },
    ..SUBCOMMAND
};

fn histogram(
    session: &mut Session<'_>,
    args: Args<'_>,
    parts: Vec<Contribution>,
    reply: &mut Reply<'_>,
) -> CommandResult {
    let mut stats = CommandStats::new(session.core.table.len());
    parts.iter().for_each(|part| stats.add(part.downcast_ref().expect("what this collects")));
    let table = session.core.table;
    let all = args.remaining() == 0;
    let ids: Vec<u16> = if all { (0..table.len() as u16).collect() } else { asked(table, args) };
    let map = reply.deferred_map();
    let mut shown = 0;
    for id in ids {
        let Some(histogram) = &stats.by_id(id).histogram else { continue };
        shown += 1;
        reply.bulk(table.by_id(id).spec.full_name.as_bytes());
        reply.map(2);
        reply.bulk(b"calls");
        reply.integer(histogram.len() as i64);
        reply.bulk(b"histogram_usec");
        let buckets = latency_report::cumulative(histogram);
        reply.map(buckets.len());
        for (microseconds, calls) in buckets {
            reply.integer(microseconds as i64);
            reply.integer(calls as i64);
        }
    }
    reply.finish_map(map, shown);
    Ok(())
}

/// The commands named, containers with their subcommands; unknown names are passed over.
fn asked(table: &CommandTable, args: Args<'_>) -> Vec<u16> {
    let mut ids = Vec::new();
    for name in args {
        let mut parts = name.splitn(2, |byte| *byte == b'|');
        let Some(command) = parts.next().and_then(|name| table.find(name)) else { continue };
        match parts.next() {
            Some(sub) => ids.extend(table.subcommand(command, sub).map(|command| command.id)),
            None => {
                // A container's subcommands follow it in the table.
                let subcommands = command.spec.subcommands.len() as u16;
                ids.extend(command.id..=command.id + subcommands);
            }
        }
    }
    ids
}

const HELP: CommandSpec = CommandSpec {
    name: "HELP",
    full_name: "latency|help",
    flags: Flags::of(&[Flag::Loading, Flag::Stale]),
    summary: "Shows the subcommands.",
    tips: &[],
    handler: Handler::Client(|_, _, reply| {
        help::write(
            reply,
            "LATENCY",
            &[
                ("DOCTOR", &["Says in words what the samples mean."]),
                ("GRAPH <event>", &["Draws the samples of <event>."]),
                ("HISTORY <event>", &["The samples of <event>: Unix time and milliseconds."]),
                ("LATEST", &["The last sample and the worst of each event."]),
                ("RESET [<event> ...]", &["Forgets the samples of these events, or of all."]),
                (
                    "HISTOGRAM [COMMAND ...]",
                    &["How many calls of these commands (or of all) took at most how many microseconds."],
                ),
            ],
        );
        Ok(())
    }),
    ..SUBCOMMAND
};
