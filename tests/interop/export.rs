//! The way back: what Pinion exports, redis-server loads.

use crate::support::{Program, SHARD_COUNTS, Server};
use crate::{Files, assert_equal, facts, filling};
use std::time::Duration;

const APPEND_ONLY: &[&str] = &["--appendonly", "yes", "--auto-aof-rewrite-percentage", "0"];

#[test]
fn what_is_exported_is_loaded_by_redis() {
    let redis = Server::redis();
    filling::every_kind(&redis);
    filling::random(&redis, 20, 1000);
    assert_eq!(redis.connect().command(&["SAVE"]).to_string(), "+OK");
    let snapshot = Files::of(redis.directory());
    let again = Server::start_with(Program::Redis, &[], |directory| snapshot.write(directory));
    let expected = facts(&again);
    for shards in SHARD_COUNTS {
        let flags = ["--export-aof", "out"];
        let mut pinion =
            Server::ended(Program::Pinion { shards }, &flags, |directory| snapshot.write(directory));
        assert!(pinion.wait_for_exit(Duration::ZERO).success(), "{}", pinion.log());
        let exported = Files::of(&pinion.directory().join("out"));
        assert_eq!(exported.0.len(), 2, "{:?}", exported.names());
        let back = Server::start_with(Program::Redis, APPEND_ONLY, |directory| exported.write(directory));
        assert_equal(&expected, &facts(&back), &format!("{shards} shards"));
        // And by Pinion.
        let own = Server::start_with(Program::Pinion { shards: 3 }, &["--appendonly", "yes"], |directory| {
            exported.write(directory);
        });
        assert_equal(&expected, &facts(&own), "our own export");
    }
}

#[test]
fn an_export_needs_something_to_export_and_room_for_it() {
    let pinion = Program::Pinion { shards: 1 };
    let (status, log) = Server::refused(pinion, &["--export-aof", "out"], |_| {});
    assert!(!status.success() && log.contains("There is nothing to export"), "{log}");
    let one = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n";
    let files = Files(vec![
        ("appendonly.aof".into(), one.to_vec()),
        ("out/appendonlydir/appendonly.aof.manifest".into(), Vec::new()),
    ]);
    let flags = ["--appendonly", "yes", "--export-aof", "out"];
    let (status, log) = Server::refused(pinion, &flags, |directory| files.write(directory));
    assert!(!status.success() && log.contains("exists already"), "{log}");
}
