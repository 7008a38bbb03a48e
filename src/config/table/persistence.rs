//! Snapshots and the append-only file.

use crate::config::declaration::{Declaration, INT_MAX};
use crate::config::value::{Kind, Names, Refusal, Value};

const FSYNC: Names = &[("everysec", 2), ("always", 1), ("no", 0)];
const SANITIZE: Names = &[("no", 0), ("yes", 1), ("clients", 2)];

pub(super) const PARAMETERS: &[Declaration] = &[
    Declaration::special(
        "save",
        Kind::SavePoints,
        "3600 1 300 100 60 10000",
        "Write a snapshot after so many seconds with at least so many changes.",
    )
    .extremes(&["", "1 0"])
    .implemented(),
    Declaration::bool("stop-writes-on-bgsave-error", "yes", "Refuse writes while snapshots fail.")
        .implemented(),
    Declaration::bool("rdbcompression", "yes", "Compress strings in snapshots.").implemented(),
    Declaration::bool("rdbchecksum", "yes", "End snapshots with a checksum.").at_start().implemented(),
    Declaration::choice("sanitize-dump-payload", SANITIZE, "no", "Check loaded values in depth."),
    Declaration::text("dbfilename", "dump.rdb", "Name of the snapshot.")
        .protected()
        .check(database_name)
        .implemented(),
    Declaration::bool("rdb-del-sync-files", "no", "Remove snapshots that only served replication."),
    Declaration::bool("rdb-save-incremental-fsync", "yes", "Sync snapshots as they are written."),
    Declaration::integer("rdb-key-save-delay", "0", "Microseconds to sleep per key written.")
        .implemented()
        .bounds(i32::MIN as i64, INT_MAX)
        .hidden(),
    Declaration::integer("key-load-delay", "0", "Microseconds to sleep per key loaded.")
        .bounds(i32::MIN as i64, INT_MAX)
        .implemented()
        .hidden(),
    Declaration::integer(
        "loading-process-events-interval-bytes",
        "2097152",
        "Bytes loaded between two looks at the clients.",
    )
    .bounds(1024, INT_MAX)
    .hidden(),
    Declaration::bool("appendonly", "no", "Keep a file of every write.").fixed_while_loading().implemented(),
    Declaration::text("appendfilename", "appendonly.aof", "Base of the names of that file's parts.")
        .at_start()
        .check(append_file_name)
        .implemented(),
    Declaration::text("appenddirname", "appendonlydir", "Directory of those parts.")
        .at_start()
        .check(append_directory_name)
        .implemented(),
    Declaration::choice("appendfsync", FSYNC, "everysec", "When writes reach the disk.").implemented(),
    Declaration::bool("no-appendfsync-on-rewrite", "no", "Do not sync while a rewrite is running.")
        .implemented(),
    Declaration::integer("auto-aof-rewrite-percentage", "100", "Growth in per cent that starts a rewrite.")
        .implemented(),
    Declaration::memory("auto-aof-rewrite-min-size", "64mb", "Size below which nothing is rewritten.")
        .implemented(),
    Declaration::bool("aof-rewrite-incremental-fsync", "yes", "Sync a rewrite as it is written."),
    Declaration::bool("aof-load-truncated", "yes", "Load a file whose last command is cut off.")
        .implemented(),
    Declaration::bool("aof-use-rdb-preamble", "yes", "Begin rewritten files with a snapshot.").implemented(),
    Declaration::bool("aof-timestamp-enabled", "no", "Note the time between commands."),
    Declaration::bool("aof-disable-auto-gc", "no", "Keep parts that are no longer used."),
];

fn is_path(value: &Value) -> bool {
    matches!(value, Value::Text(Some(text)) if text.contains(&b'/'))
}

fn is_empty(value: &Value) -> bool {
    matches!(value, Value::Text(Some(text)) if text.is_empty())
}

fn database_name(value: Value) -> Result<Value, Refusal> {
    if is_path(&value) {
        return Err("dbfilename can't be a path, just a filename".into());
    }
    Ok(value)
}

fn append_file_name(value: Value) -> Result<Value, Refusal> {
    if is_empty(&value) {
        return Err("appendfilename can't be empty".into());
    }
    if is_path(&value) {
        return Err("appendfilename can't be a path, just a filename".into());
    }
    Ok(value)
}

fn append_directory_name(value: Value) -> Result<Value, Refusal> {
    if is_empty(&value) {
        return Err("appenddirname can't be empty".into());
    }
    if is_path(&value) {
        return Err("appenddirname can't be a path, just a dirname".into());
    }
    Ok(value)
}
