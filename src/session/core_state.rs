//! What one core owns besides its sockets.

use super::Shared;
use crate::base::UnixMillis;
use crate::client::{ClientKey, Clients};
use crate::command_table::CommandTable;
use crate::config::Config;
use crate::observability::{CommandStats, Counters, LatencyMonitor, Slowlog};
use crate::shard::Shard;
use std::sync::Arc;

pub struct CoreState {
    pub index: usize,
    pub cores: usize,
    pub shard: Shard,
    pub clients: Clients,
    pub table: &'static CommandTable,
    pub config: Arc<Config>,
    /// What the hot path needs of `config`.
    pub settings: Settings,
    pub shared: Arc<Shared>,
    pub counters: Counters,
    pub command_stats: CommandStats,
    pub slowlog: Slowlog,
    pub latency: LatencyMonitor,
    /// Read once per turn of the loop and after each slow command.
    pub now: Moment,
    /// Clients with replies that have not been handed to the ring; may hold a client twice.
    pub unsent: Vec<ClientKey>,
    /// Clients to be closed at the end of this turn.
    pub doomed: Vec<ClientKey>,
    /// Clients whose earlier requests have been answered: what they sent since may go on.
    pub resumed: Vec<ClientKey>,
    /// Clients held back by CLIENT PAUSE.
    pub paused: Vec<ClientKey>,
    /// Lines for MONITOR clients of other cores, sent at the end of this turn.
    pub monitor_feed: Vec<u8>,
}

/// One instant on both clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moment {
    pub unix: UnixMillis,
    pub unix_us: u64,
    /// Microseconds since an arbitrary start; never goes back.
    pub monotonic_us: u64,
}

/// Plain values taken out of the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Microseconds; negative switches the slow log off.
    pub slowlog_slower_than_us: i64,
    pub latency_tracking: bool,
    /// Milliseconds; 0 switches the latency monitor off.
    pub latency_threshold_ms: u64,
    pub relaxed_ordering: bool,
    pub password_required: bool,
    pub proto_max_bulk_len: usize,
    pub query_buffer_max: usize,
    pub hz: u32,
    pub timeout_s: u64,
    pub output_hard_limit: usize,
    pub output_soft_limit: usize,
    pub output_soft_seconds: u64,
    pub databases: usize,
}
