//! MEMORY: what keys cost, and what the allocator says.

use super::{help, info};
use crate::command_table::{
    Access, Arg, Args, Arity, Asker, CommandSpec, Contribution, DEFAULTS, Flag, Flags, Group, Handler,
    KeySpec,
};
use crate::observability::Allocator;
use crate::observability::info::Report;
use crate::resp::Reply;
use crate::session::CoreState;
use crate::shard::{CommandError, CommandResult, Context};

pub(super) const COMMANDS: &[&CommandSpec] = &[&MEMORY];

const SAMPLES_BY_DEFAULT: usize = 5;

const MEMORY: CommandSpec = CommandSpec {
    name: "MEMORY",
    full_name: "memory",
    arity: Arity::AtLeast(2),
    group: Group::Server,
    since: "4.0.0",
    complexity: "Depends on subcommand.",
    summary: "Where memory goes.",
    subcommands: &[&DOCTOR, &MALLOC_STATS, &PURGE, &STATS, &USAGE, &HELP],
    ..DEFAULTS
};

const SUBCOMMAND: CommandSpec = CommandSpec {
    arity: Arity::Exactly(2),
    group: Group::Server,
    since: "4.0.0",
    complexity: "O(1).",
    tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
    ..DEFAULTS
};

const USAGE: CommandSpec = CommandSpec {
    name: "USAGE",
    full_name: "memory|usage",
    arity: Arity::AtLeast(3),
    flags: Flags::of(&[Flag::ReadOnly]),
    keys: &[KeySpec::at(2, Access::Read, &[])],
    complexity: "O(N) where N is the number of samples.",
    summary: "Tells how many bytes a key and its value take.",
    args: &[Arg::key("key"), Arg::integer("count").after("SAMPLES").optional()],
    tips: &[],
    handler: Handler::Shard(usage),
    ..SUBCOMMAND
};

fn usage(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let key = args.bytes()?;
    let mut samples = SAMPLES_BY_DEFAULT;
    while args.remaining() > 0 {
        if !args.option("SAMPLES") {
            return Err(CommandError::Syntax);
        }
        // 0 measures all elements.
        samples = usize::try_from(args.integer()?).map_err(|_| CommandError::Syntax)?;
    }
    match ctx.peek(key) {
        Some(entry) => reply.length(entry.memory_bytes(samples)),
        None => reply.null(),
    }
    Ok(())
}

fn collect(core: &mut CoreState, _: Asker, _: Args<'_>) -> Contribution {
    Box::new(info::core_report(core))
}

const STATS: CommandSpec = CommandSpec {
    name: "STATS",
    full_name: "memory|stats",
    summary: "Shows the server's memory in figures.",
    handler: Handler::EveryCore {
        begin: |_, _| Ok(()),
        collect,
        finish: |session, _, parts, reply| {
            let report = info::server_report(session.core, info::reports(parts));
            stats(&report, reply);
            Ok(())
        },
    },
    ..SUBCOMMAND
};

fn stats(report: &Report<'_>, reply: &mut Reply<'_>) {
    let server = &report.server;
    let Allocator { allocated, active, resident } = server.allocator;
    let keys: u64 = report.total.databases.iter().map(|database| database.keys).sum();
    let since_start = allocated.saturating_sub(server.startup_bytes);

    let map = reply.deferred_map();
    let mut pairs = 0;
    let mut integer = |reply: &mut Reply<'_>, name: &str, value: i64| {
        reply.bulk(name.as_bytes());
        reply.integer(value);
        pairs += 1;
    };
    integer(reply, "peak.allocated", server.peak_bytes as i64);
    integer(reply, "total.allocated", allocated as i64);
    integer(reply, "startup.allocated", server.startup_bytes as i64);
    integer(reply, "replication.backlog", 0);
    integer(reply, "clients.slaves", 0);
    integer(reply, "clients.normal", report.total.clients.bytes as i64);
    integer(reply, "cluster.links", 0);
    integer(reply, "aof.buffer", 0);
    integer(reply, "lua.caches", 0);
    integer(reply, "functions.caches", 0);
    let mut databases = 0;
    for (index, database) in report.total.databases.iter().enumerate().filter(|(_, db)| db.keys > 0) {
        databases += 1;
        reply.bulk(format!("db.{index}").as_bytes());
        reply.map(3);
        reply.bulk(b"overhead.hashtable.main");
        reply.integer(database.main_table_bytes as i64);
        reply.bulk(b"overhead.hashtable.expires");
        reply.integer(database.expires_table_bytes as i64);
        reply.bulk(b"overhead.hashtable.slot-to-keys");
        reply.integer(0);
    }
    integer(reply, "overhead.total", report.overhead_bytes() as i64);
    integer(reply, "keys.count", keys as i64);
    integer(reply, "keys.bytes-per-key", since_start.checked_div(keys).unwrap_or(0) as i64);
    integer(reply, "dataset.bytes", report.dataset_bytes() as i64);
    let mut doubles = 0;
    let mut double = |reply: &mut Reply<'_>, name: &str, value: f64| {
        reply.bulk(name.as_bytes());
        reply.double(value);
        doubles += 1;
    };
    double(reply, "dataset.percentage", report.dataset_percent());
    double(reply, "peak.percentage", report.peak_percent());
    integer(reply, "allocator.allocated", allocated as i64);
    integer(reply, "allocator.active", active as i64);
    integer(reply, "allocator.resident", resident as i64);
    let rss = server.resident_bytes;
    for (name, part, of) in [
        ("allocator-fragmentation", active, allocated),
        ("allocator-rss", resident, active),
        ("rss-overhead", rss, resident),
    ] {
        double(reply, &format!("{name}.ratio"), part as f64 / of.max(1) as f64);
        integer(reply, &format!("{name}.bytes"), part as i64 - of as i64);
    }
    double(reply, "fragmentation", rss as f64 / allocated.max(1) as f64);
    integer(reply, "fragmentation.bytes", rss as i64 - allocated as i64);
    reply.finish_map(map, pairs + doubles + databases);
}

const DOCTOR: CommandSpec = CommandSpec {
    name: "DOCTOR",
    full_name: "memory|doctor",
    summary: "Says in words what is remarkable about the memory.",
    handler: Handler::EveryCore {
        begin: |_, _| Ok(()),
        collect,
        finish: |session, _, parts, reply| {
            let report = info::server_report(session.core, info::reports(parts));
            reply.verbatim(b"txt", doctor(&report).as_bytes());
            Ok(())
        },
    },
    ..SUBCOMMAND
};

/// Thresholds as in Redis, where they have an equal here.
fn doctor(report: &Report<'_>) -> String {
    const LITTLE: u64 = 5 << 20;
    const NOTABLE_SURPLUS: i64 = 10 << 20;
    let server = &report.server;
    let Allocator { allocated, active, resident } = server.allocator;
    // An empty server takes some memory for each of its cores.
    if allocated.saturating_sub(server.startup_bytes) < LITTLE {
        return "Hi Sam, this instance is empty or uses very little memory: there is nothing to be learned from \
                its figures. Fill it with data and ask again.\n"
            .into();
    }
    let exceeds = |part: u64, of: u64, ratio: f64| {
        part as f64 / of.max(1) as f64 > ratio && part as i64 - of as i64 > NOTABLE_SURPLUS
    };
    let per_client = report.total.clients.bytes.checked_div(report.total.clients.connected).unwrap_or(0);
    let remarks = [
        (
            server.peak_bytes as f64 / allocated as f64 > 1.5,
            "Peak memory: the server once used more than 150% of what it uses now. The allocator may keep pages \
             from that time, so the fragmentation looks worse than it is. MEMORY PURGE gives back what is unused.",
        ),
        (
            exceeds(server.resident_bytes, allocated, 1.4),
            "High total memory: the process holds more than 1.4 times the memory its data were given.",
        ),
        (
            exceeds(active, allocated, 1.1),
            "High fragmentation: pages that are in use are filled by less than nine tenths.",
        ),
        (
            exceeds(resident, active, 1.1),
            "Unreturned pages: the allocator holds pages that nobody uses. MEMORY PURGE returns them.",
        ),
        (
            exceeds(server.resident_bytes, resident, 1.1),
            "Overhead of the process: memory that does not come from the allocator, such as rings and stacks.",
        ),
        (
            per_client > 200 << 10,
            "Big client buffers: a client takes more than 200 kB on average. Large pipelines, or clients that do not \
             read their replies.",
        ),
    ];
    let remarks: Vec<&str> =
        remarks.into_iter().filter(|(applies, _)| *applies).map(|(_, text)| text).collect();
    if remarks.is_empty() {
        return "Hi Sam, I can't find any memory issue in your instance.\n".into();
    }
    let list: Vec<String> = remarks.iter().map(|text| format!(" * {text}\n")).collect();
    format!("Sam, I detected a few issues in this instance's memory:\n\n{}", list.join("\n"))
}

const PURGE: CommandSpec = CommandSpec {
    name: "PURGE",
    full_name: "memory|purge",
    complexity: "O(N) where N is the memory that the allocator holds.",
    summary: "Lets the allocator return what is unused.",
    tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
    handler: Handler::Client(|_, _, reply| {
        if !Allocator::purge() {
            return Err(CommandError::Text("ERR Error purging dirty pages"));
        }
        reply.ok();
        Ok(())
    }),
    ..SUBCOMMAND
};

const MALLOC_STATS: CommandSpec = CommandSpec {
    name: "MALLOC-STATS",
    full_name: "memory|malloc-stats",
    complexity: "O(N) where N is the memory that the allocator holds.",
    summary: "Shows the allocator's own report.",
    handler: Handler::Client(|_, _, reply| {
        reply.verbatim(b"txt", &Allocator::report());
        Ok(())
    }),
    ..SUBCOMMAND
};

const HELP: CommandSpec = CommandSpec {
    name: "HELP",
    full_name: "memory|help",
    flags: Flags::of(&[Flag::Loading, Flag::Stale]),
    summary: "Shows the subcommands.",
    tips: &[],
    handler: Handler::Client(|_, _, reply| {
        help::write(
            reply,
            "MEMORY",
            &[
                ("DOCTOR", &["Says in words what is remarkable about the memory."]),
                ("MALLOC-STATS", &["The allocator's own report."]),
                ("PURGE", &["Lets the allocator return what is unused."]),
                ("STATS", &["The server's memory in figures."]),
                (
                    "USAGE <key> [SAMPLES <count>]",
                    &[
                        "Bytes of <key> and its value. Of a collection <count> elements are measured",
                        "(5 by default, 0 for all).",
                    ],
                ),
            ],
        );
        Ok(())
    }),
    ..SUBCOMMAND
};
