//! INFO: every core contributes its figures, the client's core renders the sections.

use crate::command_table::{
    Arg, Args, Arity, Asker, CommandSpec, Contribution, DEFAULTS, Flag, Flags, Group, Handler,
};
use crate::observability::info::{
    ClientFigures, CoreReport, DatabaseFigures, Report, Selection, ServerFacts, render,
};
use crate::observability::process::{self, Whose};
use crate::resp::Reply;
use crate::session::{CoreState, Session};
use crate::shard::CommandResult;
use std::sync::atomic::Ordering;

pub(super) const COMMANDS: &[&CommandSpec] = &[&INFO];

/// Keys with a deadline that are looked at, per core and database, for the average time to live.
const TTL_SAMPLES: usize = 64;

const INFO: CommandSpec = CommandSpec {
    name: "INFO",
    full_name: "info",
    arity: Arity::AtLeast(1),
    flags: Flags::of(&[Flag::Loading, Flag::Stale]),
    group: Group::Server,
    categories: &[crate::command_table::Category::Dangerous],
    since: "1.0.0",
    complexity: "O(1).",
    summary: "Reports on the server: what it is, what it has done, how it is.",
    args: &[Arg::string("section").optional().multiple()],
    tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
    handler: Handler::EveryCore { begin: |_, _| Ok(()), collect, finish },
    ..DEFAULTS
};

fn collect(core: &mut CoreState, _: Asker, args: Args<'_>) -> Contribution {
    let selection = Selection::of(args);
    let mut report = core_report(core);
    if selection.wants_commands() {
        report.commands = core.command_stats.clone();
    }
    if selection.wants_keyspace() {
        sample_ttls(core, &mut report);
    }
    Box::new(report)
}

fn finish(
    session: &mut Session<'_>,
    args: Args<'_>,
    contributions: Vec<Contribution>,
    reply: &mut Reply<'_>,
) -> CommandResult {
    let core = &*session.core;
    let report = server_report(core, reports(contributions));
    reply.verbatim(b"txt", render(Selection::of(args), &report).as_bytes());
    Ok(())
}

/// What one core has to say, without the figures per command and the samples.
pub(super) fn core_report(core: &CoreState) -> CoreReport {
    let mut clients = ClientFigures { connected: core.clients.len() as u64, ..ClientFigures::default() };
    for (_, client) in core.clients.iter() {
        clients.blocked += u64::from(client.blocked.is_some());
        let buffers = client.query_room + client.arguments_bytes + client.output_bytes();
        clients.bytes += (size_of_val(client) + buffers) as u64;
    }
    let databases = core.shard.databases.iter().map(|keyspace| {
        let (main, expires) = keyspace.table_bytes();
        DatabaseFigures {
            keys: keyspace.len() as u64,
            expires: keyspace.expires_len() as u64,
            main_table_bytes: main as u64,
            expires_table_bytes: expires as u64,
            ..DatabaseFigures::default()
        }
    });
    let databases: Vec<DatabaseFigures> = databases.collect();
    CoreReport {
        clients,
        table_bytes: databases.iter().map(|db| db.main_table_bytes + db.expires_table_bytes).sum(),
        databases,
        counters: core.counters.clone(),
        stats: core.shard.stats,
        rates: core.rates.rates(),
        peaks: core.rates.recent_peaks(),
        cpu: process::cpu_time(Whose::Thread),
        dirty: core.shard.effects.dirty(),
        lazy_pending: core.shard.lazy_pending() as u64,
        ..CoreReport::default()
    }
}

fn sample_ttls(core: &mut CoreState, report: &mut CoreReport) {
    let now = core.now.unix;
    let random = core.shard.random.next_u64();
    for (keyspace, figures) in core.shard.databases.iter().zip(&mut report.databases) {
        keyspace.sample_with_deadline(random, TTL_SAMPLES, |entry| {
            if let Some(deadline) = entry.deadline() {
                figures.ttl_samples += 1;
                figures.ttl_sum_ms += deadline.0.saturating_sub(now.0);
            }
        });
    }
}

pub(super) fn reports(contributions: Vec<Contribution>) -> Vec<CoreReport> {
    let report = |part: Contribution| *part.downcast::<CoreReport>().expect("what this command collects");
    contributions.into_iter().map(report).collect()
}

/// The cores' figures with those of the process.
pub(super) fn server_report(core: &CoreState, cores: Vec<CoreReport>) -> Report<'_> {
    let shared = &core.shared;
    let mut total = CoreReport::default();
    cores.iter().for_each(|core| total.add(core));
    let command_names = (0..core.table.len()).map(|id| core.table.by_id(id as u16).spec.full_name).collect();
    Report {
        server: ServerFacts {
            config: &core.config,
            executable: shared.executable.display().to_string(),
            operating_system: process::operating_system(),
            run_id: &shared.run_id,
            replication_id: shared.replication_id(),
            port: shared.port.load(Ordering::Relaxed),
            started_unix_ms: shared.started_unix_ms,
            now_unix_us: core.now.unix_us,
            loading: core.settings.loading,
            persistence: shared.persistence.figures(core.now.unix.0 / 1000),
            append_only: shared.append_only.figures(),
            load: shared.load_progress.figures(),
            allocator: shared.memory.observe(),
            startup_bytes: shared.memory.startup(),
            peak_bytes: shared.memory.peak(),
            resident_bytes: process::resident_bytes(),
            system_bytes: process::system_bytes(),
            cpu: process::cpu_time(Whose::Process),
            cpu_children: process::cpu_time(Whose::Children),
        },
        total,
        cores,
        command_names,
    }
}
