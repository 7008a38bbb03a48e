//! The figures that INFO is made of.

use crate::config::Config;
use crate::observability::process::CpuTime;
use crate::observability::{Allocator, BufferPeaks, CommandStats, Counters, Rates};
use crate::persistence::append_only::AppendOnlyFigures;
use crate::persistence::load::LoadFigures;
use crate::shard::ShardStats;

/// What one core contributes; [`CoreReport::add`] makes the server's figures of them.
#[derive(Clone, Debug, Default)]
pub struct CoreReport {
    pub clients: ClientFigures,
    /// By database.
    pub databases: Vec<DatabaseFigures>,
    pub counters: Counters,
    pub stats: ShardStats,
    pub rates: Rates,
    pub peaks: BufferPeaks,
    /// Empty if not asked for.
    pub commands: CommandStats,
    /// Of the core's thread.
    pub cpu: CpuTime,
    /// Bytes of the hash tables.
    pub table_bytes: u64,
    /// Changes since the last save.
    pub dirty: u64,
    pub lazy_pending: u64,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ClientFigures {
    pub connected: u64,
    pub blocked: u64,
    /// Bytes of their buffers.
    pub bytes: u64,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct DatabaseFigures {
    pub keys: u64,
    pub expires: u64,
    /// Of a sample of the keys with a deadline: how many, and their remaining times added up.
    pub ttl_samples: u64,
    pub ttl_sum_ms: u64,
    pub main_table_bytes: u64,
    pub expires_table_bytes: u64,
}

impl DatabaseFigures {
    pub fn average_ttl_ms(&self) -> u64 {
        self.ttl_sum_ms.checked_div(self.ttl_samples).unwrap_or(0)
    }

    fn add(&mut self, other: &Self) {
        self.keys += other.keys;
        self.main_table_bytes += other.main_table_bytes;
        self.expires_table_bytes += other.expires_table_bytes;
        // A core counts for its keys, not for its sample: each sample is scaled to what it stands for.
        let stands_for = |figures: &Self| {
            let sum = u128::from(figures.ttl_sum_ms) * u128::from(figures.expires);
            sum.checked_div(u128::from(figures.ttl_samples)).unwrap_or(0)
        };
        let sum = stands_for(self) + stands_for(other);
        self.expires += other.expires;
        self.ttl_samples = self.expires;
        self.ttl_sum_ms = u64::try_from(sum).unwrap_or(u64::MAX);
    }
}

impl CoreReport {
    /// Adds another core's figures.
    pub fn add(&mut self, other: &Self) {
        self.clients.connected += other.clients.connected;
        self.clients.blocked += other.clients.blocked;
        self.clients.bytes += other.clients.bytes;
        if self.databases.len() < other.databases.len() {
            self.databases.resize(other.databases.len(), DatabaseFigures::default());
        }
        for (mine, theirs) in self.databases.iter_mut().zip(&other.databases) {
            mine.add(theirs);
        }
        self.counters.add(&other.counters);
        self.stats.hits += other.stats.hits;
        self.stats.misses += other.stats.misses;
        self.stats.expired_keys += other.stats.expired_keys;
        self.stats.expired_time_cap_reached += other.stats.expired_time_cap_reached;
        self.stats.expired_stale_millis =
            self.stats.expired_stale_millis.max(other.stats.expired_stale_millis);
        self.rates.commands += other.rates.commands;
        self.rates.input_bytes += other.rates.input_bytes;
        self.rates.output_bytes += other.rates.output_bytes;
        self.peaks.input = self.peaks.input.max(other.peaks.input);
        self.peaks.output = self.peaks.output.max(other.peaks.output);
        self.commands.add(&other.commands);
        self.cpu.add(other.cpu);
        self.table_bytes += other.table_bytes;
        self.dirty += other.dirty;
        self.lazy_pending += other.lazy_pending;
    }
}

/// What is the same for all cores.
pub struct ServerFacts<'a> {
    pub config: &'a Config,
    pub executable: String,
    pub operating_system: String,
    pub run_id: &'a str,
    pub replication_id: String,
    pub port: usize,
    pub started_unix_ms: u64,
    pub now_unix_us: u64,
    pub loading: bool,
    pub persistence: crate::persistence::status::Figures,
    pub append_only: AppendOnlyFigures,
    pub load: LoadFigures,
    pub allocator: Allocator,
    pub startup_bytes: u64,
    pub peak_bytes: u64,
    pub resident_bytes: u64,
    pub system_bytes: u64,
    pub cpu: CpuTime,
    pub cpu_children: CpuTime,
}

/// Everything.
pub struct Report<'a> {
    pub server: ServerFacts<'a>,
    pub total: CoreReport,
    pub cores: Vec<CoreReport>,
    /// The full names of the commands, by their ids.
    pub command_names: Vec<&'static str>,
}

impl Report<'_> {
    /// What is no data: the empty server, tables, buffers.
    pub fn overhead_bytes(&self) -> u64 {
        self.server.startup_bytes + self.total.table_bytes + self.total.clients.bytes
    }

    pub fn dataset_bytes(&self) -> u64 {
        self.server.allocator.allocated.saturating_sub(self.overhead_bytes())
    }

    /// The data's share of what the server has taken since it started, in percent.
    pub fn dataset_percent(&self) -> f64 {
        let since_start = self.server.allocator.allocated.saturating_sub(self.server.startup_bytes);
        100.0 * self.dataset_bytes() as f64 / since_start.max(1) as f64
    }

    pub fn peak_percent(&self) -> f64 {
        100.0 * self.server.allocator.allocated as f64 / self.server.peak_bytes.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_average_ttl_weighs_cores_by_their_keys() {
        let core = |expires, ttl_samples, ttl_sum_ms| CoreReport {
            databases: vec![DatabaseFigures {
                keys: 10,
                expires,
                ttl_samples,
                ttl_sum_ms,
                ..Default::default()
            }],
            ..CoreReport::default()
        };
        let mut total = CoreReport::default();
        // 30 keys that live 100 ms longer, and 10 that live 500 ms longer.
        total.add(&core(30, 3, 300));
        total.add(&core(10, 10, 5000));
        let database = total.databases[0];
        assert_eq!((database.keys, database.expires, database.average_ttl_ms()), (20, 40, 200));
        assert_eq!(DatabaseFigures::default().average_ttl_ms(), 0);
    }
}
