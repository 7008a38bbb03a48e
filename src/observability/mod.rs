//! What operators see. Every core counts for itself; a report asks all of them and adds up.

mod command_stats;
mod counters;
pub mod crash_report;
pub mod info;
mod latency_monitor;
pub mod latency_report;
mod log;
mod memory;
mod monitor;
pub mod process;
mod rates;
pub mod slowlog;

pub use command_stats::{CommandStat, CommandStats};
pub use counters::Counters;
pub use latency_monitor::{LatencyEvent, LatencyHistory, LatencyMonitor};
pub use log::{Level, Logger};
pub use memory::{Allocator, MemoryGauge};
pub use monitor::{monitor_line, quote};
pub use rates::{BufferPeaks, RateMeter, Rates};
pub use slowlog::{SlowCommand, Slowlog};
