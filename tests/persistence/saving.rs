//! What is written is what there is; who may save, and when.

use crate::support::{Program, SHARD_COUNTS, Server, on_each_shard_count};
use crate::*;

/// What redis-server has filled goes through Pinion's memory and Pinion's file, and comes back to redis-server.
#[test]
fn a_dump_loads_in_redis_with_equal_contents() {
    let redis = Server::redis();
    filling::every_kind(&redis);
    filling::random(&redis, 7, 2000);
    without_streams(&redis);
    assert_eq!(redis.connect().command(&["SAVE"]).to_string(), "+OK");
    let bytes = std::fs::read(redis.directory().join("dump.rdb")).expect("just saved");
    let expected = digest(&redis);
    for (shards, flags) in SHARD_COUNTS.into_iter().zip([&[][..], &["--rdbcompression", "no"]]) {
        let pinion = Server::start_with(Program::Pinion { shards }, flags, |directory| {
            std::fs::write(directory.join("dump.rdb"), &bytes).expect("written");
        });
        let mut client = pinion.connect();
        for command in ["BGSAVE", "SAVE"] {
            match command {
                "BGSAVE" => save_in_background(&mut client),
                _ => assert_eq!(client.command(&["SAVE"]).to_string(), "+OK"),
            }
            let dump = pinion.directory().join("dump.rdb");
            assert_check_rdb_is_content(&dump);
            assert_eq!(digest(&redis_with(&dump)), expected, "{command} with {shards} shards");
        }
        assert_eq!(files_named(pinion.directory(), "temp-"), Vec::<String>::new());
    }
}

/// Streams are not written yet.
fn without_streams(server: &Server) {
    let mut client = server.connect();
    for db in 0..contents::DATABASES {
        client.command(&["SELECT", &db.to_string()]);
        let reply = client.command(&["SCAN", "0", "COUNT", "1000000", "TYPE", "stream"]);
        for key in reply.as_items().expect("two")[1].as_items().expect("keys") {
            client.command(&["DEL".as_bytes(), key.as_bytes().expect("a name")]);
        }
    }
}

#[test]
fn many_keys_in_several_databases_and_an_empty_one() {
    on_each_shard_count(|server| {
        let mut client = server.connect();
        client.command(&["DEBUG", "POPULATE", "50000", "k", "100"]);
        client.command(&["SELECT", "9"]);
        client.command(&["DEBUG", "POPULATE", "3000"]);
        client.command(&["SET", "huge", &"x".repeat(5_000_000)]);
        save_in_background(&mut client);
        let dump = server.directory().join("dump.rdb");
        assert_check_rdb_is_content(&dump);
        assert_eq!(digest(&redis_with(&dump)), digest(server));
        client.command(&["FLUSHALL"]);
        save_in_background(&mut client);
        assert_check_rdb_is_content(&dump);
        assert_eq!(redis_with(&dump).connect().command(&["DBSIZE"]).to_string(), ":0");
    });
}

#[test]
fn changes_are_counted_from_the_moment_of_the_snapshot() {
    on_each_shard_count(|server| {
        let mut client = server.connect();
        for key in ["a", "b", "c"] {
            client.command(&["SET", key, "1"]);
        }
        assert_eq!(info(&mut client, "rdb_changes_since_last_save"), "3");
        client.command(&["CONFIG", "SET", "rdb-key-save-delay", "100000"]);
        assert_eq!(client.command(&["BGSAVE"]).to_string(), "+Background saving started");
        client.command(&["SET", "d", "1"]);
        assert_eq!(info(&mut client, "rdb_changes_since_last_save"), "4", "nothing is saved yet");
        wait_until("BGSAVE ends", || info(&mut client, "rdb_bgsave_in_progress") == "0");
        assert_eq!(info(&mut client, "rdb_changes_since_last_save"), "1");
        let before: i64 = client.command(&["LASTSAVE"]).as_integer().expect("a time");
        assert_eq!(client.command(&["SAVE"]).to_string(), "+OK");
        assert!(client.command(&["LASTSAVE"]).as_integer().expect("a time") >= before);
        assert_eq!(info(&mut client, "rdb_changes_since_last_save"), "0");
        assert_eq!(info(&mut client, "rdb_saves"), "2");
    });
}

#[test]
fn one_snapshot_at_a_time() {
    on_each_shard_count(|server| {
        let mut client = server.connect();
        client.command(&["SET", "a", "1"]);
        client.command(&["CONFIG", "SET", "rdb-key-save-delay", "10000000"]);
        assert_eq!(client.command(&["BGSAVE"]).to_string(), "+Background saving started");
        for words in [&["BGSAVE"][..], &["BGSAVE", "SCHEDULE"], &["SAVE"]] {
            let reply = client.command(words).to_string();
            assert_eq!(reply, "-ERR Background save already in progress", "{words:?}");
        }
        assert_eq!(client.command(&["BGSAVE", "NOW"]).to_string(), "-ERR syntax error");
        assert_eq!(info(&mut client, "rdb_bgsave_in_progress"), "1");
        assert_eq!(info(&mut client, "current_save_keys_total"), "1");
        // FLUSHALL wants no dump of what was there before; that is no failure.
        assert_eq!(client.command(&["FLUSHALL"]).to_string(), "+OK");
        wait_until("the child is gone", || info(&mut client, "rdb_bgsave_in_progress") == "0");
        assert_eq!(info(&mut client, "rdb_last_bgsave_status"), "ok");
        assert_eq!(files_named(server.directory(), ".rdb"), Vec::<String>::new());
        // Inside EXEC it is put off, not begun.
        client.command(&["CONFIG", "SET", "rdb-key-save-delay", "0"]);
        client.command(&["MULTI"]);
        client.command(&["SET", "b", "1"]);
        assert_eq!(client.command(&["BGSAVE"]).to_string(), "+QUEUED");
        assert_eq!(client.command(&["EXEC"]).to_string(), "[+OK, +Background saving scheduled]");
        wait_until("it was done", || !files_named(server.directory(), "dump.rdb").is_empty());
    });
}

#[test]
fn save_points() {
    for shards in SHARD_COUNTS {
        let server = Server::start(Program::Pinion { shards }, &["--save", "1 2"]);
        let mut client = server.connect();
        client.command(&["SET", "a", "1"]);
        client.command(&["SET", "b", "1"]);
        wait_until("the save point is reached", || info(&mut client, "rdb_saves") == "1");
        wait_until("it is saved", || info(&mut client, "rdb_changes_since_last_save") == "0");
        assert!(server.log().contains("2 changes in 1 seconds. Saving..."), "{}", server.log());
        // FLUSHALL saves that there is nothing.
        client.command(&["FLUSHALL"]);
        assert_eq!(info(&mut client, "rdb_changes_since_last_save"), "0");
        let redis = redis_with(&server.directory().join("dump.rdb"));
        assert_eq!(redis.connect().command(&["DBSIZE"]).to_string(), ":0");
    }
}

#[test]
fn the_figures_of_a_fork() {
    on_each_shard_count(|server| {
        let mut client = server.connect();
        client.command(&["CONFIG", "SET", "latency-monitor-threshold", "1"]);
        client.command(&["DEBUG", "POPULATE", "20000"]);
        save_in_background(&mut client);
        let number = |client: &mut Client, name: &str| info(client, name).parse::<u64>().expect("a number");
        assert_eq!(number(&mut client, "total_forks"), 1);
        assert!(number(&mut client, "latest_fork_usec") > 0);
        assert!(number(&mut client, "pinion_freeze_usec") >= number(&mut client, "latest_fork_usec"));
        assert!(number(&mut client, "rdb_last_cow_size") > 0);
        let bytes = std::fs::metadata(server.directory().join("dump.rdb")).expect("there").len();
        assert_eq!(number(&mut client, "pinion_rdb_last_bytes"), bytes);
    });
}
