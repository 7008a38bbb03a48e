//! What the hot path needs of the configuration, as plain values; derived anew after each CONFIG SET.

use crate::base::UnixMillis;
use crate::client::Client;
use crate::config::Config;
use crate::config::choices::{PipelineOrdering, ProtectedAction};
use crate::config::parameter::*;
use crate::config::special::OutputClass;
use crate::shard::ShardOptions;
use crate::types::EncodingLimits;

/// Bytes of replies that may wait for a client that has not authenticated: Redis's reply buffer and the
/// kilobyte that it allows beyond.
const UNAUTHENTICATED_OUTPUT_MAX: usize = 17 * 1024;

#[derive(Clone, Debug)]
pub struct Settings {
    /// A command that takes this long, or longer, interests the slow log or the latency monitor.
    pub notable_ns: u64,
    /// Negative switches the slow log off.
    pub slowlog_slower_than_us: i64,
    pub slowlog_length_max: usize,
    pub latency_tracking: bool,
    /// 0 switches the latency monitor off.
    pub latency_threshold_ms: u64,
    pub relaxed_ordering: bool,
    pub password_required: bool,
    pub proto_max_bulk_len: usize,
    pub query_buffer_max: usize,
    pub hz: u32,
    pub timeout_s: u64,
    pub databases: usize,
    pub debug_command: ProtectedAction,
    pub module_command: ProtectedAction,
    pub output_hard_limit: usize,
    pub output_soft_limit: usize,
    pub output_soft_seconds: u64,
    /// The smaller of the two, or `usize::MAX`: one comparison for the common case.
    pub output_limit_least: usize,
    pub spin_us: u64,
    pub shard: ShardOptions,
    /// Somebody, somewhere, is in MONITOR mode.
    pub monitored: bool,
    pub paused: bool,
    /// The append-only file is far behind: nothing more is to be written.
    pub writes_wait: bool,
    pub loading: bool,
    /// A snapshot that failed stops writes: `stop-writes-on-bgsave-error`, and there are save points.
    pub stop_writes_on_error: bool,
    /// ... and one has.
    pub writes_refused: bool,
    /// What writing the append-only file fails with, or 0.
    pub append_error: i32,
}

fn encoding_limits(config: &Config) -> EncodingLimits {
    let defaults = EncodingLimits::default();
    EncodingLimits {
        list_max_listpack_size: config.get(LIST_MAX_LISTPACK_SIZE),
        list_compress_depth: config.get(LIST_COMPRESS_DEPTH) as usize,
        hash_max_listpack_entries: config.get(HASH_MAX_LISTPACK_ENTRIES) as usize,
        hash_max_listpack_value: config.get(HASH_MAX_LISTPACK_VALUE) as usize,
        set_max_intset_entries: config.get(SET_MAX_INTSET_ENTRIES) as usize,
        set_max_listpack_entries: defaults.set_max_listpack_entries,
        set_max_listpack_value: defaults.set_max_listpack_value,
        zset_max_listpack_entries: config.get(ZSET_MAX_LISTPACK_ENTRIES) as usize,
        zset_max_listpack_value: config.get(ZSET_MAX_LISTPACK_VALUE) as usize,
        stream_node_max_bytes: config.get(STREAM_NODE_MAX_BYTES) as usize,
        stream_node_max_entries: config.get(STREAM_NODE_MAX_ENTRIES) as usize,
        hll_sparse_max_bytes: config.get(HLL_SPARSE_MAX_BYTES) as usize,
        // The shard keeps its own.
        hash_seed: defaults.hash_seed,
    }
}

impl Settings {
    pub fn new(config: &Config) -> Self {
        let slower_than_us = config.get(SLOWLOG_LOG_SLOWER_THAN);
        let threshold_ms = config.get(LATENCY_MONITOR_THRESHOLD);
        let slow_ns = u64::try_from(slower_than_us).map_or(u64::MAX, |us| us.saturating_mul(1000));
        let late_ns = if threshold_ms == 0 { u64::MAX } else { threshold_ms.saturating_mul(1_000_000) };
        let normal = config.get(CLIENT_OUTPUT_BUFFER_LIMIT)[OutputClass::Normal as usize];
        let limit = |bytes: u64| if bytes == 0 { usize::MAX } else { bytes as usize };
        let (hard, soft) = (limit(normal.hard_bytes), limit(normal.soft_bytes));
        Self {
            notable_ns: slow_ns.min(late_ns),
            slowlog_slower_than_us: slower_than_us,
            slowlog_length_max: config.get(SLOWLOG_MAX_LEN) as usize,
            latency_tracking: config.get(LATENCY_TRACKING),
            latency_threshold_ms: threshold_ms,
            relaxed_ordering: config.get(PIPELINE_ORDERING) == PipelineOrdering::Relaxed,
            password_required: config.get(REQUIREPASS).is_some(),
            proto_max_bulk_len: config.get(PROTO_MAX_BULK_LEN) as usize,
            query_buffer_max: config.get(CLIENT_QUERY_BUFFER_LIMIT) as usize,
            hz: config.get(HZ),
            timeout_s: u64::from(config.get(TIMEOUT)),
            databases: config.get(DATABASES) as usize,
            debug_command: config.get(ENABLE_DEBUG_COMMAND),
            module_command: ProtectedAction::Nobody,
            output_hard_limit: hard,
            output_soft_limit: soft,
            output_soft_seconds: normal.soft_seconds.max(0) as u64,
            output_limit_least: hard.min(soft),
            spin_us: u64::from(config.get(SPIN_MICROSECONDS)),
            shard: ShardOptions {
                lazy_user_del: config.get(LAZYFREE_LAZY_USER_DEL),
                lazy_server_del: config.get(LAZYFREE_LAZY_SERVER_DEL),
                lazy_expire: config.get(LAZYFREE_LAZY_EXPIRE),
                lazy_user_flush: config.get(LAZYFREE_LAZY_USER_FLUSH),
                string_bytes_max: config.get(PROTO_MAX_BULK_LEN) as usize,
                reply_bytes_max: hard,
                // Until there is eviction, all policies keep the clock.
                lfu: false,
                active_expire: true,
                active_expire_effort: config.get(ACTIVE_EXPIRE_EFFORT),
                compress: config.get(RDBCOMPRESSION),
                verify_dumps: true,
                encoding: encoding_limits(config),
            },
            monitored: false,
            paused: false,
            writes_wait: false,
            loading: false,
            stop_writes_on_error: config.get(STOP_WRITES_ON_BGSAVE_ERROR) && !config.get(SAVE).is_empty(),
            writes_refused: false,
            append_error: 0,
        }
    }

    /// `client-output-buffer-limit`: over the hard limit at once, over the soft one for long enough.
    #[inline]
    pub fn output_limit_reached(&self, client: &mut Client, pending: usize, now: UnixMillis) -> bool {
        if pending <= self.output_limit_least.min(UNAUTHENTICATED_OUTPUT_MAX) {
            client.soft_limit_since = None;
            return false;
        }
        self.over_a_limit(client, pending, now)
    }

    fn over_a_limit(&self, client: &mut Client, pending: usize, now: UnixMillis) -> bool {
        let unauthenticated = self.password_required && !client.authenticated;
        if pending > self.output_hard_limit || unauthenticated && pending > UNAUTHENTICATED_OUTPUT_MAX {
            return true;
        }
        if pending <= self.output_soft_limit {
            client.soft_limit_since = None;
            return false;
        }
        let since = *client.soft_limit_since.get_or_insert(now);
        now.0.saturating_sub(since.0) > self.output_soft_seconds * 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::update::{Permission, set};

    /// A soft limit of 2000 bytes for 3 seconds, and 5000 at once.
    fn settings() -> Settings {
        let limits: &[(&[u8], &[u8])] = &[(b"client-output-buffer-limit", b"normal 5000 2000 3")];
        let update = set(&Config::default(), limits, Permission::default()).expect("valid");
        Settings::new(&update.config)
    }

    #[test]
    fn the_hard_limit_is_reached_at_once_and_the_soft_one_in_time() {
        let settings = settings();
        let mut client = Client::new(1, UnixMillis(0));
        client.authenticated = true;
        let mut reached = |bytes, now| settings.output_limit_reached(&mut client, bytes, UnixMillis(now));
        assert!(!reached(2000, 0), "at the limit is not over it");
        assert!(reached(5001, 0));
        // 5001 was over the soft limit as well, but that was not looked at; the time begins now.
        assert!(!reached(2001, 10_000));
        assert!(!reached(5000, 13_000), "not more than three seconds");
        assert!(reached(2001, 13_001));
        // What is read in between begins it anew.
        assert!(!reached(2000, 13_002));
        assert!(!reached(2001, 20_000));
        assert!(!reached(2001, 22_999));
        assert!(reached(2001, 23_001));
    }
}
