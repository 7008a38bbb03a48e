//! What operators see. Every core counts for itself; a report asks all of them and adds up.

mod command_stats;
mod counters;
mod latency_monitor;
mod log;
mod monitor;
pub mod slowlog;

pub use command_stats::{CommandStat, CommandStats};
pub use counters::Counters;
pub use latency_monitor::{LatencyEvent, LatencyMonitor};
pub use log::{Level, Logger};
pub use monitor::{monitor_line, quote};
pub use slowlog::{SlowCommand, Slowlog};
