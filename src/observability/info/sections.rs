//! The sections of INFO, line by line.

use super::{Lines, Report, human};
use crate::config::parameter::*;
use crate::config::{Config, find};
use crate::keyspace::{region_bytes_ready, regions_late};
use crate::observability::process::CpuTime;
use crate::observability::{Allocator, latency_report};
use crate::persistence::ChildKind;

/// The version whose behaviour this server has; client libraries and tools decide by it.
pub const REDIS_VERSION: &str = "7.0.15";

pub(super) fn server(report: &Report<'_>, lines: &mut Lines) {
    let server = &report.server;
    let config = server.config;
    let uptime = (server.now_unix_us / 1000).saturating_sub(server.started_unix_ms) / 1000;
    let hz = config.get(HZ);
    lines.add("redis_version", REDIS_VERSION);
    lines.add("redis_git_sha1", "00000000");
    lines.add("redis_git_dirty", 0);
    lines.add("redis_build_id", "0000000000000000");
    lines.add("redis_mode", if config.get(CLUSTER_ENABLED) { "cluster" } else { "standalone" });
    lines.add("os", &server.operating_system);
    lines.add("arch_bits", usize::BITS);
    lines.add("monotonic_clock", "POSIX clock_gettime");
    lines.add("multiplexing_api", "io_uring");
    lines.add("atomicvar_api", "c11-builtin");
    lines.add("gcc_version", "0.0.0");
    lines.add("process_id", std::process::id());
    lines.add("process_supervised", "no");
    lines.add("run_id", server.run_id);
    lines.add("tcp_port", server.port);
    lines.add("server_time_usec", server.now_unix_us);
    lines.add("uptime_in_seconds", uptime);
    lines.add("uptime_in_days", uptime / 86_400);
    lines.add("hz", hz);
    lines.add("configured_hz", hz);
    lines.add("lru_clock", (server.now_unix_us / 1_000_000) & 0x00ff_ffff);
    lines.add("executable", &server.executable);
    let file = config.directives.file.as_deref();
    lines.add("config_file", file.map(|path| path.display().to_string()).unwrap_or_default());
    lines.add("io_threads_active", 0);
    lines.add("pinion_version", env!("CARGO_PKG_VERSION"));
    lines.add("shards", report.cores.len());
}

pub(super) fn clients(report: &Report<'_>, lines: &mut Lines) {
    let total = &report.total;
    lines.add("connected_clients", total.clients.connected);
    lines.add("cluster_connections", 0);
    lines.add("maxclients", report.server.config.get(MAXCLIENTS));
    lines.add("client_recent_max_input_buffer", total.peaks.input);
    lines.add("client_recent_max_output_buffer", total.peaks.output);
    lines.add("blocked_clients", total.clients.blocked);
    lines.add("tracking_clients", 0);
    lines.add("clients_in_timeout_table", 0);
}

pub(super) fn memory(report: &Report<'_>, lines: &mut Lines) {
    let server = &report.server;
    let Allocator { allocated, active, resident } = server.allocator;
    let rss = server.resident_bytes;
    let ratio = |part: u64, of: u64| format!("{:.2}", part as f64 / of.max(1) as f64);
    let surplus = |part: u64, of: u64| part as i64 - of as i64;
    lines.add_bytes("used_memory", allocated);
    lines.add_bytes("used_memory_rss", rss);
    lines.add_bytes("used_memory_peak", server.peak_bytes);
    lines.add("used_memory_peak_perc", format_args!("{:.2}%", report.peak_percent()));
    lines.add("used_memory_overhead", report.overhead_bytes());
    lines.add("used_memory_startup", server.startup_bytes);
    lines.add("used_memory_dataset", report.dataset_bytes());
    lines.add("used_memory_dataset_perc", format_args!("{:.2}%", report.dataset_percent()));
    lines.add("allocator_allocated", allocated);
    lines.add("allocator_active", active);
    lines.add("allocator_resident", resident);
    lines.add_bytes("total_system_memory", server.system_bytes);
    // No script engine: nothing is used by one.
    lines.add("used_memory_lua", 0);
    lines.add("used_memory_vm_eval", 0);
    lines.add_human("used_memory_lua", 0);
    lines.add("used_memory_scripts_eval", 0);
    lines.add("number_of_cached_scripts", 0);
    lines.add("number_of_functions", 0);
    lines.add("number_of_libraries", 0);
    lines.add("used_memory_vm_functions", 0);
    lines.add_bytes("used_memory_vm_total", 0);
    lines.add("used_memory_functions", 0);
    lines.add_bytes("used_memory_scripts", 0);
    let maxmemory = server.config.get(MAXMEMORY);
    lines.add("maxmemory", maxmemory);
    lines.add("maxmemory_human", human(maxmemory));
    lines.add("maxmemory_policy", shown(server.config, "maxmemory-policy"));
    lines.add("allocator_frag_ratio", ratio(active, allocated));
    lines.add("allocator_frag_bytes", surplus(active, allocated));
    lines.add("allocator_rss_ratio", ratio(resident, active));
    lines.add("allocator_rss_bytes", surplus(resident, active));
    lines.add("rss_overhead_ratio", ratio(rss, resident));
    lines.add("rss_overhead_bytes", surplus(rss, resident));
    lines.add("mem_fragmentation_ratio", ratio(rss, allocated));
    lines.add("mem_fragmentation_bytes", surplus(rss, allocated));
    lines.add("mem_not_counted_for_evict", 0);
    lines.add("mem_replication_backlog", 0);
    lines.add("mem_total_replication_buffers", 0);
    lines.add("mem_clients_slaves", 0);
    lines.add("mem_clients_normal", report.total.clients.bytes);
    lines.add("mem_cluster_links", 0);
    lines.add("mem_aof_buffer", report.server.append_only.waiting_bytes);
    lines.add("mem_allocator", Allocator::name());
    lines.add("mem_regions_ready", region_bytes_ready());
    lines.add("mem_regions_late", regions_late());
    lines.add("active_defrag_running", 0);
    lines.add("lazyfree_pending_objects", report.total.lazy_pending);
    lines.add("lazyfreed_objects", 0);
}

pub(super) fn persistence(report: &Report<'_>, lines: &mut Lines) {
    let server = &report.server;
    let figures = &server.persistence;
    let progress = &figures.progress;
    let status = |failed: bool| if failed { "err" } else { "ok" };
    let seconds_since =
        |start: i64| if start < 0 { -1 } else { (server.now_unix_us / 1_000_000) as i64 - start };
    let percent = match progress.keys_total {
        0 => 0.0,
        total => progress.keys_done as f64 * 100.0 / total as f64,
    };
    let rdb = progress.kind == Some(ChildKind::Rdb);
    lines.add("loading", u8::from(server.loading));
    lines.add("async_loading", 0);
    lines.add("current_cow_peak", progress.cow_peak_bytes);
    lines.add("current_cow_size", progress.cow_bytes);
    lines.add("current_cow_size_age", progress.cow_age_s);
    lines.add("current_fork_perc", format_args!("{percent:.2}"));
    lines.add("current_save_keys_processed", progress.keys_done);
    lines.add("current_save_keys_total", progress.keys_total);
    lines.add("rdb_changes_since_last_save", report.total.dirty.saturating_sub(figures.saved_changes));
    lines.add("rdb_bgsave_in_progress", u8::from(rdb));
    lines.add("rdb_last_save_time", figures.last_save_s);
    lines.add("rdb_last_bgsave_status", status(figures.last_failed));
    lines.add("rdb_last_bgsave_time_sec", figures.last_duration_s);
    lines.add("rdb_current_bgsave_time_sec", if rdb { seconds_since(figures.started_s) } else { -1 });
    lines.add("rdb_saves", figures.saves);
    lines.add("rdb_last_cow_size", figures.last_cow_bytes);
    lines.add("rdb_last_load_keys_expired", server.load.keys_expired);
    lines.add("rdb_last_load_keys_loaded", server.load.keys_loaded);
    let aof = &server.append_only;
    let rewrites = figures.progress.kind == Some(ChildKind::AofBase);
    let status = |failed: bool| if failed { "err" } else { "ok" };
    lines.add("aof_enabled", u8::from(aof.enabled));
    lines.add("aof_rewrite_in_progress", u8::from(rewrites));
    lines.add("aof_rewrite_scheduled", u8::from(aof.scheduled));
    lines.add("aof_last_rewrite_time_sec", aof.rewrite_seconds);
    let began_s = aof.rewrite_began_s.filter(|_| rewrites);
    lines.add(
        "aof_current_rewrite_time_sec",
        began_s.map_or(-1, |began_s| (server.now_unix_us / 1_000_000).saturating_sub(began_s) as i64),
    );
    lines.add("aof_last_bgrewrite_status", status(aof.rewrite_failed));
    lines.add("aof_rewrites", aof.rewrites);
    lines.add("aof_rewrites_consecutive_failures", aof.failures);
    lines.add("aof_last_write_status", status(aof.failed));
    lines.add("aof_last_cow_size", figures.aof_last_cow_bytes);
    lines.add("module_fork_in_progress", 0);
    lines.add("module_fork_last_cow_size", 0);
    if aof.enabled {
        lines.add("aof_current_size", aof.bytes);
        lines.add("aof_base_size", aof.base_bytes);
        lines.add("aof_pending_rewrite", u8::from(aof.scheduled));
        lines.add("aof_buffer_length", aof.waiting_bytes);
        lines.add("aof_pending_bio_fsync", aof.syncing);
        lines.add("aof_delayed_fsync", aof.syncs_slow);
    }
    if server.loading {
        let load = &server.load;
        lines.add("loading_start_time", load.start_time);
        lines.add("loading_total_bytes", load.total_bytes);
        lines.add("loading_rdb_used_mem", load.rdb_used_memory);
        lines.add("loading_loaded_bytes", load.loaded_bytes);
        lines.add("loading_loaded_perc", format_args!("{:.2}", load.percent()));
        lines.add("loading_eta_seconds", load.eta_s(server.now_unix_us / 1_000_000));
    }
    lines.add("pinion_rdb_last_bytes", figures.last_bytes);
    lines.add("pinion_rdb_last_usec", figures.last_write_us);
    lines.add("pinion_rdb_current_bytes", progress.bytes);
    lines.add("pinion_freeze_usec", figures.freeze_us);
    lines.add("pinion_freeze_usec_max", figures.freeze_us_max);
}

pub(super) fn stats(report: &Report<'_>, lines: &mut Lines) {
    let total = &report.total;
    let (counters, stats) = (&total.counters, &total.stats);
    let kilobytes = |bytes: u64| format!("{:.2}", bytes as f64 / 1024.0);
    lines.add("total_connections_received", counters.connections_received);
    lines.add("total_commands_processed", counters.commands_processed);
    lines.add("instantaneous_ops_per_sec", total.rates.commands);
    lines.add("total_net_input_bytes", counters.net_input_bytes);
    lines.add("total_net_output_bytes", counters.net_output_bytes);
    lines.add("total_net_repl_input_bytes", 0);
    lines.add("total_net_repl_output_bytes", 0);
    lines.add("instantaneous_input_kbps", kilobytes(total.rates.input_bytes));
    lines.add("instantaneous_output_kbps", kilobytes(total.rates.output_bytes));
    lines.add("instantaneous_input_repl_kbps", "0.00");
    lines.add("instantaneous_output_repl_kbps", "0.00");
    lines.add("rejected_connections", counters.connections_rejected);
    lines.add("sync_full", 0);
    lines.add("sync_partial_ok", 0);
    lines.add("sync_partial_err", 0);
    lines.add("expired_keys", stats.expired_keys);
    lines.add("expired_stale_perc", format_args!("{:.2}", stats.expired_stale_millis as f64 / 1000.0));
    lines.add("expired_time_cap_reached_count", stats.expired_time_cap_reached);
    lines.add("expire_cycle_cpu_milliseconds", counters.expire_cycle_ns / 1_000_000);
    lines.add("evicted_keys", 0);
    lines.add("evicted_clients", 0);
    lines.add("total_eviction_exceeded_time", 0);
    lines.add("current_eviction_exceeded_time", 0);
    lines.add("keyspace_hits", stats.hits);
    lines.add("keyspace_misses", stats.misses);
    lines.add("pubsub_channels", 0);
    lines.add("pubsub_patterns", 0);
    lines.add("pubsubshard_channels", 0);
    lines.add("latest_fork_usec", report.server.persistence.fork_us);
    lines.add("total_forks", report.server.persistence.forks);
    lines.add("migrate_cached_sockets", 0);
    lines.add("slave_expires_tracked_keys", 0);
    lines.add("active_defrag_hits", 0);
    lines.add("active_defrag_misses", 0);
    lines.add("active_defrag_key_hits", 0);
    lines.add("active_defrag_key_misses", 0);
    lines.add("total_active_defrag_time", 0);
    lines.add("current_active_defrag_time", 0);
    lines.add("tracking_total_keys", 0);
    lines.add("tracking_total_items", 0);
    lines.add("tracking_total_prefixes", 0);
    lines.add("unexpected_error_replies", 0);
    lines.add("total_error_replies", counters.errors_replied);
    lines.add("dump_payload_sanitizations", 0);
    lines.add("total_reads_processed", counters.reads_processed);
    lines.add("total_writes_processed", counters.writes_processed);
    lines.add("pinion_transactions", counters.transactions);
    lines.add("pinion_transactions_at_once", counters.transactions_at_once);
    lines.add("pinion_transactions_refused", counters.transactions_refused);
    lines.add("pinion_commands_borrowed", counters.commands_borrowed);
    lines.add("pinion_connections_moved", counters.connections_moved);
    lines.add("io_threaded_reads_processed", 0);
    lines.add("io_threaded_writes_processed", 0);
    lines.add("reply_buffer_shrinks", 0);
    lines.add("reply_buffer_expands", 0);
    // Redis has these two from 7.2 on.
    lines.add("client_query_buffer_limit_disconnections", counters.client_query_buffer_limit_disconnections);
    lines
        .add("client_output_buffer_limit_disconnections", counters.client_output_buffer_limit_disconnections);
}

pub(super) fn replication(report: &Report<'_>, lines: &mut Lines) {
    lines.add("role", "master");
    lines.add("connected_slaves", 0);
    lines.add("master_failover_state", "no-failover");
    lines.add("master_replid", &report.server.replication_id);
    lines.add("master_replid2", "0".repeat(40));
    lines.add("master_repl_offset", 0);
    lines.add("second_repl_offset", -1);
    lines.add("repl_backlog_active", 0);
    lines.add("repl_backlog_size", shown(report.server.config, "repl-backlog-size"));
    lines.add("repl_backlog_first_byte_offset", 0);
    lines.add("repl_backlog_histlen", 0);
}

pub(super) fn cpu(report: &Report<'_>, lines: &mut Lines) {
    let mut add = |name: &str, time: CpuTime| {
        let seconds = |micros: u64| format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
        lines.add(format_args!("used_cpu_sys{name}"), seconds(time.system_us));
        lines.add(format_args!("used_cpu_user{name}"), seconds(time.user_us));
    };
    add("", report.server.cpu);
    add("_children", report.server.cpu_children);
    // The threads that do what Redis's main thread does.
    add("_main_thread", report.total.cpu);
}

pub(super) fn modules(_: &Report<'_>, _: &mut Lines) {}

pub(super) fn command_stats(report: &Report<'_>, lines: &mut Lines) {
    for (name, stat) in commands(report) {
        if stat.calls == 0 && stat.failed == 0 && stat.rejected == 0 {
            continue;
        }
        let micros = stat.nanoseconds / 1000;
        let per_call = if stat.calls == 0 { 0.0 } else { micros as f64 / stat.calls as f64 };
        let (calls, rejected, failed) = (stat.calls, stat.rejected, stat.failed);
        lines.add(
            format_args!("cmdstat_{name}"),
            format_args!(
                "calls={calls},usec={micros},usec_per_call={per_call:.2},rejected_calls={rejected},\
                 failed_calls={failed}"
            ),
        );
    }
}

pub(super) fn error_stats(report: &Report<'_>, lines: &mut Lines) {
    for (code, count) in report.total.commands.errors() {
        lines.add(format_args!("errorstat_{code}"), format_args!("count={count}"));
    }
}

pub(super) fn latency_stats(report: &Report<'_>, lines: &mut Lines) {
    let config = report.server.config;
    if !config.get(LATENCY_TRACKING) {
        return;
    }
    for (name, stat) in commands(report) {
        let Some(histogram) = &stat.histogram else { continue };
        let percentiles =
            latency_report::percentiles(histogram, config.get(LATENCY_TRACKING_INFO_PERCENTILES));
        lines.add(format_args!("latency_percentiles_usec_{name}"), percentiles);
    }
}

fn commands<'r>(
    report: &'r Report<'_>,
) -> impl Iterator<Item = (&'static str, &'r crate::observability::CommandStat)> {
    report.command_names.iter().copied().zip(report.total.commands.iter())
}

pub(super) fn cluster(report: &Report<'_>, lines: &mut Lines) {
    lines.add("cluster_enabled", u8::from(report.server.config.get(CLUSTER_ENABLED)));
}

pub(super) fn keyspace(report: &Report<'_>, lines: &mut Lines) {
    for (index, database) in report.total.databases.iter().enumerate() {
        if database.keys > 0 {
            let (keys, expires) = (database.keys, database.expires);
            let average = database.average_ttl_ms();
            lines.add(
                format_args!("db{index}"),
                format_args!("keys={keys},expires={expires},avg_ttl={average}"),
            );
        }
    }
}

/// Our own: what each core does, to see whether the load is even.
pub(super) fn cores(report: &Report<'_>, lines: &mut Lines) {
    for (index, core) in report.cores.iter().enumerate() {
        let counters = &core.counters;
        let keys: u64 = core.databases.iter().map(|database| database.keys).sum();
        let cpu_ms = core.cpu.total_us() / 1000;
        lines.add(
            format_args!("core{index}"),
            format_args!(
                "clients={},keys={keys},commands={},ops_per_sec={},for_others={},turns={},sleeps={},\
                 net_input_bytes={},net_output_bytes={},cpu_ms={cpu_ms}",
                core.clients.connected,
                counters.commands_processed,
                core.rates.commands,
                counters.commands_for_others,
                counters.turns,
                counters.sleeps,
                counters.net_input_bytes,
                counters.net_output_bytes,
            ),
        );
    }
}

/// A parameter as CONFIG GET shows it.
fn shown(config: &Config, name: &str) -> String {
    let (place, _) = find(name.as_bytes()).expect("the names here are declared");
    String::from_utf8_lossy(&crate::config::TABLE[place].format(config.value(place))).into_owned()
}

#[cfg(test)]
mod tests {
    use crate::config::Config;
    use crate::observability::info::{CoreReport, DatabaseFigures, Report, Selection, ServerFacts, render};
    use crate::observability::process::CpuTime;
    use crate::observability::{Allocator, CommandStats};
    use crate::persistence::load::LoadFigures;

    fn report(config: &Config) -> Report<'_> {
        let mut core = CoreReport { commands: CommandStats::new(2), ..CoreReport::default() };
        core.commands.record(1, 2_500_000, true);
        core.commands.record(1, 500_000, true);
        core.commands.rejected(0);
        core.commands.error(b"WRONGTYPE no");
        core.databases = vec![DatabaseFigures::default(), DatabaseFigures { keys: 3, ..Default::default() }];
        let mut total = CoreReport::default();
        total.add(&core);
        total.add(&core);
        let server = ServerFacts {
            config,
            executable: "/bin/pinion-server".into(),
            operating_system: "Linux".into(),
            run_id: "id",
            replication_id: "repl".into(),
            port: 7,
            started_unix_ms: 1_000_000,
            append_only: Default::default(),
            now_unix_us: 87_401_000_000,
            persistence: Default::default(),
            loading: false,
            load: LoadFigures::default(),
            allocator: Allocator { allocated: 1000, active: 1500, resident: 3000 },
            startup_bytes: 600,
            peak_bytes: 2000,
            resident_bytes: 4000,
            system_bytes: 1 << 30,
            cpu: CpuTime { user_us: 1_000_002, system_us: 3 },
            cpu_children: CpuTime::default(),
        };
        Report { server, total, cores: vec![core.clone(), core], command_names: vec!["get", "config|set"] }
    }

    fn text(sections: &[&str]) -> String {
        let config = Config::default();
        render(Selection::of(sections.iter().map(|name| name.as_bytes())), &report(&config))
    }

    #[test]
    fn sections_are_parted_by_an_empty_line() {
        let expected = "# CPU\r\nused_cpu_sys:0.000003\r\nused_cpu_user:1.000002\r\n\
                        used_cpu_sys_children:0.000000\r\nused_cpu_user_children:0.000000\r\n\
                        used_cpu_sys_main_thread:0.000000\r\nused_cpu_user_main_thread:0.000000\r\n\
                        \r\n# Keyspace\r\ndb1:keys=6,expires=0,avg_ttl=0\r\n";
        assert_eq!(text(&["keyspace", "cpu"]), expected);
        assert_eq!(text(&["nosuch"]), "");
        assert_eq!(text(&["modules"]), "# Modules\r\n");
    }

    #[test]
    fn commands_that_were_never_asked_for_are_not_shown() {
        let expected = "# Commandstats\r\n\
            cmdstat_get:calls=0,usec=0,usec_per_call=0.00,rejected_calls=2,failed_calls=0\r\n\
            cmdstat_config|set:calls=4,usec=6000,usec_per_call=1500.00,rejected_calls=0,failed_calls=0\r\n";
        assert_eq!(text(&["commandstats"]), expected);
        assert_eq!(text(&["errorstats"]), "# Errorstats\r\nerrorstat_WRONGTYPE:count=2\r\n");
        let latency = text(&["latencystats"]);
        assert!(latency.contains("latency_percentiles_usec_config|set:p50="), "{latency}");
        assert!(!latency.contains("_get:"), "{latency}");
    }

    #[test]
    fn memory_adds_up() {
        let memory = text(&["memory"]);
        for line in [
            "used_memory:1000\r\nused_memory_human:1000B",
            "used_memory_peak_perc:50.00%",
            "used_memory_dataset:400",
            "used_memory_dataset_perc:100.00%",
            "mem_fragmentation_ratio:4.00",
            "allocator_frag_bytes:500",
        ] {
            assert!(memory.contains(line), "{line} in {memory}");
        }
        let server = text(&["server"]);
        assert!(server.contains("uptime_in_seconds:86401\r\nuptime_in_days:1\r\n"), "{server}");
    }
}
