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

/// Redis 7.0 knows no deadlines of hash fields: what has expired is gone, the others are told of; for a newer one they
/// are kept.
#[test]
fn deadlines_of_hash_fields() {
    let pinion = Server::start(Program::Pinion { shards: 2 }, &[]);
    let mut client = pinion.connect();
    client.command(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
    for number in 0..7 {
        let key = format!("hash:{number}");
        client.command(&["HSET", &key, "a", "1", "b", "2", "c", "3"]);
        client.command(&["HPEXPIREAT", &key, "33177117420000", "FIELDS", "2", "a", "b"]);
    }
    client.command(&["HSET", "due", "a", "1", "kept", "2"]);
    client.command(&["HSET", "all due", "a", "1"]);
    for key in ["due", "all due"] {
        client.command(&["HPEXPIRE", key, "1", "FIELDS", "1", "a"]);
    }
    for key in ["due", "all due"] {
        while client.command(&["HPTTL", key, "FIELDS", "1", "a"]).to_string() == "[:0]"
            || client.command(&["HPTTL", key, "FIELDS", "1", "a"]).to_string() == "[:1]"
        {}
    }
    assert_eq!(client.command(&["SAVE"]).to_string(), "+OK");
    let snapshot = Files::of(pinion.directory());
    // It is in the dump, which is therefore for newer ones.
    let dump = std::fs::read(pinion.directory().join("dump.rdb")).expect("just saved");
    assert!(dump.starts_with(b"REDIS0012"));

    let export = |flags: &[&str]| {
        let ended =
            Server::ended(Program::Pinion { shards: 3 }, flags, |directory| snapshot.write(directory));
        (Files::of(&ended.directory().join("out")), ended.log())
    };
    let (files, log) = export(&["--export-aof", "out"]);
    assert!(log.contains("14 fields of 7 hashes are exported without theirs"), "{log}");
    let named = (0..7).filter(|number| log.contains(&format!("hash:{number} in database 0"))).count();
    assert_eq!(named, 5, "{log}");
    let redis = Server::start_with(Program::Redis, APPEND_ONLY, |directory| files.write(directory));
    let mut judge = redis.connect();
    assert_eq!(judge.command(&["DBSIZE"]).to_string(), ":8");
    assert_eq!(judge.command(&["HGETALL", "due"]).to_string(), r#"["kept", "2"]"#);
    assert_eq!(judge.command(&["HLEN", "hash:3"]).to_string(), ":3");

    let (files, log) = export(&["--export-aof", "out", "--export-field-deadlines"]);
    assert!(!log.contains("are exported without theirs"), "{log}");
    let base = files.0.iter().find(|(name, _)| name.to_string_lossy().ends_with(".base.rdb"));
    assert!(base.expect("there is a base").1.starts_with(b"REDIS0012"));
    let again = Server::start_with(Program::Pinion { shards: 1 }, &["--appendonly", "yes"], |directory| {
        files.write(directory);
    });
    let mut client = again.connect();
    assert_eq!(client.command(&["DBSIZE"]).to_string(), ":8");
    let deadlines = client.command(&["HPEXPIRETIME", "hash:3", "FIELDS", "3", "a", "b", "c"]).to_string();
    assert_eq!(deadlines, "[:33177117420000, :33177117420000, :-1]");
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
