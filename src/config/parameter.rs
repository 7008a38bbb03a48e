//! Handles of the parameters that code reads: `config.get(MAXCLIENTS)`.
//!
//! A handle names a declaration of the table and the type of its value. Both are checked while
//! compiling: a handle of an undeclared name, or of another kind, does not build.

use std::marker::PhantomData;

use super::choices::{AppendFsync, LogLevel, PipelineOrdering, ProtectedAction, ShutdownChoices};
use super::special::{Master, OutputLimits, SavePoint};
use super::table::{TABLE, place};
use super::value::{Bytes, BytesOrPercent, Kind, Value};

/// A parameter whose value is read as a `T`.
pub struct Param<T> {
    place: usize,
    reads: PhantomData<fn() -> T>,
}

impl<T> Clone for Param<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Param<T> {}

impl<T: Reading> Param<T> {
    const fn named(name: &str) -> Self {
        let place = place(name);
        assert!(shape_of(TABLE[place].kind) as u8 == T::SHAPE as u8, "the parameter has another type");
        Self { place, reads: PhantomData }
    }
}

impl<T> Param<T> {
    /// Its place in [`TABLE`] and in a snapshot.
    pub const fn place(self) -> usize {
        self.place
    }
}

/// A type in which code reads values.
pub trait Reading {
    const SHAPE: Shape;
    type Out<'a>;

    fn read(value: &Value) -> Self::Out<'_>;
}

/// The variants of [`Value`].
#[derive(Clone, Copy)]
pub enum Shape {
    Bool,
    Integer,
    Bytes,
    BytesOrPercent,
    Choice,
    Choices,
    Text,
    Words,
    SavePoints,
    OutputLimits,
    Events,
    OomScores,
    Percentiles,
    Master,
}

const fn shape_of(kind: Kind) -> Shape {
    match kind {
        Kind::Bool => Shape::Bool,
        Kind::Integer { .. } | Kind::Octal { .. } => Shape::Integer,
        Kind::Memory { .. } => Shape::Bytes,
        Kind::MemoryOrPercent => Shape::BytesOrPercent,
        Kind::Choice(_) => Shape::Choice,
        Kind::Choices(_) => Shape::Choices,
        Kind::Text | Kind::OptionalText => Shape::Text,
        Kind::BindAddresses => Shape::Words,
        Kind::SavePoints => Shape::SavePoints,
        Kind::OutputLimits => Shape::OutputLimits,
        Kind::Events => Shape::Events,
        Kind::OomScores => Shape::OomScores,
        Kind::Percentiles => Shape::Percentiles,
        Kind::Master => Shape::Master,
    }
}

/// Sizes, where a bare integer would be a count.
pub enum Size {}
/// A text that is always there, if only empty.
pub enum Text {}
/// A text that may be missing.
pub enum OptionalText {}
/// A list of words.
pub enum Words {}

/// Declares how values of one shape are read as one type.
macro_rules! reading {
    ($($reads:ty, $shape:ident, $out:ty, $pattern:pat => $result:expr;)*) => {$(
        impl Reading for $reads {
            const SHAPE: Shape = Shape::$shape;
            type Out<'a> = $out;

            fn read(value: &Value) -> Self::Out<'_> {
                match value {
                    $pattern => $result,
                    other => unreachable!("C2: {other:?} where a {} is declared", stringify!($shape)),
                }
            }
        }
    )*};
}

const FITS: &str = "V2: the bounds are within the type";

reading! {
    bool, Bool, bool, Value::Bool(value) => *value;
    i64, Integer, i64, Value::Integer(value) => *value;
    u64, Integer, u64, Value::Integer(value) => u64::try_from(*value).expect(FITS);
    u32, Integer, u32, Value::Integer(value) => u32::try_from(*value).expect(FITS);
    u16, Integer, u16, Value::Integer(value) => u16::try_from(*value).expect(FITS);
    Size, Bytes, u64, Value::Bytes(bytes) => *bytes;
    BytesOrPercent, BytesOrPercent, BytesOrPercent, Value::BytesOrPercent(share) => *share;
    Text, Text, &'a [u8], Value::Text(text) => text.as_deref().unwrap_or_default();
    OptionalText, Text, Option<&'a [u8]>, Value::Text(text) => text.as_deref();
    Words, Words, &'a [Bytes], Value::Words(words) => words;
    SavePoint, SavePoints, &'a [SavePoint], Value::SavePoints(points) => points;
    OutputLimits, OutputLimits, &'a OutputLimits, Value::OutputLimits(limits) => limits;
    Events, Events, Events, Value::Events(events) => Events(*events);
    [i32; 3], OomScores, [i32; 3], Value::OomScores(scores) => *scores;
    f64, Percentiles, &'a [f64], Value::Percentiles(percentiles) => percentiles;
    Master, Master, Option<&'a Master>, Value::Master(master) => master.as_ref();
    LogLevel, Choice, LogLevel, Value::Choice(number) => LogLevel::from_number(*number);
    AppendFsync, Choice, AppendFsync, Value::Choice(number) => AppendFsync::from_number(*number);
    PipelineOrdering, Choice, PipelineOrdering, Value::Choice(number) => PipelineOrdering::from_number(*number);
    ProtectedAction, Choice, ProtectedAction, Value::Choice(number) => ProtectedAction::from_number(*number);
    ShutdownChoices, Choices, ShutdownChoices, Value::Choices(bits) => ShutdownChoices::from_bits(*bits);
}

/// The classes of keyspace notifications, as bits of [`super::special::EVENT_CLASSES`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Events(pub u32);

// The process.
pub const SHARDS: Param<u32> = Param::named("shards");
pub const PIPELINE_ORDERING: Param<PipelineOrdering> = Param::named("pipeline-ordering");
pub const SPIN_MICROSECONDS: Param<u32> = Param::named("spin-microseconds");
pub const CONNECTION_BALANCING: Param<bool> = Param::named("connection-balancing");
pub const SERVER_CPULIST: Param<OptionalText> = Param::named("server_cpulist");
pub const DIR: Param<Text> = Param::named("dir");
pub const PIDFILE: Param<OptionalText> = Param::named("pidfile");
pub const DAEMONIZE: Param<bool> = Param::named("daemonize");
pub const SET_PROC_TITLE: Param<bool> = Param::named("set-proc-title");
pub const PROC_TITLE_TEMPLATE: Param<Text> = Param::named("proc-title-template");
pub const DATABASES: Param<u32> = Param::named("databases");
pub const HZ: Param<u32> = Param::named("hz");
pub const DYNAMIC_HZ: Param<bool> = Param::named("dynamic-hz");
pub const SHUTDOWN_ON_SIGINT: Param<ShutdownChoices> = Param::named("shutdown-on-sigint");
pub const SHUTDOWN_ON_SIGTERM: Param<ShutdownChoices> = Param::named("shutdown-on-sigterm");
pub const SHUTDOWN_TIMEOUT: Param<u32> = Param::named("shutdown-timeout");
pub const OOM_SCORE_ADJ_VALUES: Param<[i32; 3]> = Param::named("oom-score-adj-values");

// Sockets.
pub const BIND: Param<Words> = Param::named("bind");
pub const PORT: Param<u16> = Param::named("port");
pub const UNIXSOCKET: Param<OptionalText> = Param::named("unixsocket");
pub const UNIXSOCKETPERM: Param<u32> = Param::named("unixsocketperm");
pub const TCP_BACKLOG: Param<u32> = Param::named("tcp-backlog");
pub const TCP_KEEPALIVE: Param<u32> = Param::named("tcp-keepalive");
pub const TLS_PORT: Param<u16> = Param::named("tls-port");

// Rights.
pub const PROTECTED_MODE: Param<bool> = Param::named("protected-mode");
pub const REQUIREPASS: Param<OptionalText> = Param::named("requirepass");
pub const ENABLE_PROTECTED_CONFIGS: Param<ProtectedAction> = Param::named("enable-protected-configs");
pub const ENABLE_DEBUG_COMMAND: Param<ProtectedAction> = Param::named("enable-debug-command");

// Clients.
pub const MAXCLIENTS: Param<u32> = Param::named("maxclients");
pub const TIMEOUT: Param<u32> = Param::named("timeout");
pub const CLIENT_OUTPUT_BUFFER_LIMIT: Param<OutputLimits> = Param::named("client-output-buffer-limit");
pub const CLIENT_QUERY_BUFFER_LIMIT: Param<Size> = Param::named("client-query-buffer-limit");
pub const PROTO_MAX_BULK_LEN: Param<Size> = Param::named("proto-max-bulk-len");
pub const MAXMEMORY_CLIENTS: Param<BytesOrPercent> = Param::named("maxmemory-clients");

// Memory.
pub const MAXMEMORY: Param<Size> = Param::named("maxmemory");
pub const ACTIVE_EXPIRE_EFFORT: Param<u32> = Param::named("active-expire-effort");
pub const ACTIVEREHASHING: Param<bool> = Param::named("activerehashing");
pub const LAZYFREE_LAZY_EVICTION: Param<bool> = Param::named("lazyfree-lazy-eviction");
pub const LAZYFREE_LAZY_EXPIRE: Param<bool> = Param::named("lazyfree-lazy-expire");
pub const LAZYFREE_LAZY_SERVER_DEL: Param<bool> = Param::named("lazyfree-lazy-server-del");
pub const LAZYFREE_LAZY_USER_DEL: Param<bool> = Param::named("lazyfree-lazy-user-del");
pub const LAZYFREE_LAZY_USER_FLUSH: Param<bool> = Param::named("lazyfree-lazy-user-flush");

// Encodings.
pub const HASH_MAX_LISTPACK_ENTRIES: Param<u64> = Param::named("hash-max-listpack-entries");
pub const HASH_MAX_LISTPACK_VALUE: Param<Size> = Param::named("hash-max-listpack-value");
pub const LIST_MAX_LISTPACK_SIZE: Param<i64> = Param::named("list-max-listpack-size");
pub const LIST_COMPRESS_DEPTH: Param<u64> = Param::named("list-compress-depth");
pub const SET_MAX_INTSET_ENTRIES: Param<u64> = Param::named("set-max-intset-entries");
pub const ZSET_MAX_LISTPACK_ENTRIES: Param<u64> = Param::named("zset-max-listpack-entries");
pub const ZSET_MAX_LISTPACK_VALUE: Param<Size> = Param::named("zset-max-listpack-value");
pub const HLL_SPARSE_MAX_BYTES: Param<Size> = Param::named("hll-sparse-max-bytes");
pub const STREAM_NODE_MAX_BYTES: Param<Size> = Param::named("stream-node-max-bytes");
pub const STREAM_NODE_MAX_ENTRIES: Param<u64> = Param::named("stream-node-max-entries");

// Persistence, replication, cluster.
pub const SAVE: Param<SavePoint> = Param::named("save");
pub const STOP_WRITES_ON_BGSAVE_ERROR: Param<bool> = Param::named("stop-writes-on-bgsave-error");
pub const RDBCOMPRESSION: Param<bool> = Param::named("rdbcompression");
pub const RDBCHECKSUM: Param<bool> = Param::named("rdbchecksum");
pub const DBFILENAME: Param<Text> = Param::named("dbfilename");
pub const RDB_KEY_SAVE_DELAY: Param<i64> = Param::named("rdb-key-save-delay");
pub const BGSAVE_CPULIST: Param<OptionalText> = Param::named("bgsave_cpulist");
pub const BIO_CPULIST: Param<OptionalText> = Param::named("bio_cpulist");
pub const AOF_REWRITE_CPULIST: Param<OptionalText> = Param::named("aof_rewrite_cpulist");
pub const APPENDONLY: Param<bool> = Param::named("appendonly");
pub const APPENDDIRNAME: Param<Text> = Param::named("appenddirname");
pub const APPENDFILENAME: Param<Text> = Param::named("appendfilename");
pub const APPENDFSYNC: Param<AppendFsync> = Param::named("appendfsync");
pub const NO_APPENDFSYNC_ON_REWRITE: Param<bool> = Param::named("no-appendfsync-on-rewrite");
pub const AUTO_AOF_REWRITE_PERCENTAGE: Param<i64> = Param::named("auto-aof-rewrite-percentage");
pub const AUTO_AOF_REWRITE_MIN_SIZE: Param<Size> = Param::named("auto-aof-rewrite-min-size");
pub const AOF_LOAD_TRUNCATED: Param<bool> = Param::named("aof-load-truncated");
pub const AOF_USE_RDB_PREAMBLE: Param<bool> = Param::named("aof-use-rdb-preamble");
pub const KEY_LOAD_DELAY: Param<i64> = Param::named("key-load-delay");
pub const REPLICAOF: Param<Master> = Param::named("replicaof");
pub const CLUSTER_ENABLED: Param<bool> = Param::named("cluster-enabled");

// What operators see.
pub const LOGLEVEL: Param<LogLevel> = Param::named("loglevel");
pub const LOGFILE: Param<Text> = Param::named("logfile");
pub const SLOWLOG_LOG_SLOWER_THAN: Param<i64> = Param::named("slowlog-log-slower-than");
pub const SLOWLOG_MAX_LEN: Param<u64> = Param::named("slowlog-max-len");
pub const LATENCY_MONITOR_THRESHOLD: Param<u64> = Param::named("latency-monitor-threshold");
pub const CRASH_LOG_ENABLED: Param<bool> = Param::named("crash-log-enabled");
pub const LATENCY_TRACKING: Param<bool> = Param::named("latency-tracking");
pub const LATENCY_TRACKING_INFO_PERCENTILES: Param<f64> = Param::named("latency-tracking-info-percentiles");
pub const NOTIFY_KEYSPACE_EVENTS: Param<Events> = Param::named("notify-keyspace-events");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    /// A handle of a narrow type must hold whatever its declaration allows.
    #[test]
    fn numbers_fit_their_handles_at_both_bounds() {
        fn check<T: Reading>(parameter: Param<T>) {
            let Kind::Integer { min, max } = TABLE[parameter.place()].kind else { return };
            let mut config = Config::default();
            for number in [min, max] {
                config.put(parameter.place(), Value::Integer(number));
                let _ = config.get(parameter);
            }
        }
        for parameter in [SHARDS, SPIN_MICROSECONDS, DATABASES, HZ, SHUTDOWN_TIMEOUT, TCP_BACKLOG] {
            check(parameter);
        }
        for parameter in [TCP_KEEPALIVE, MAXCLIENTS, TIMEOUT, ACTIVE_EXPIRE_EFFORT] {
            check(parameter);
        }
        [PORT, TLS_PORT].into_iter().for_each(check);
        [SLOWLOG_MAX_LEN, LATENCY_MONITOR_THRESHOLD].into_iter().for_each(check);
        check(SLOWLOG_LOG_SLOWER_THAN);
    }
}
