//! Snapshots and rewrites whose system calls fail: Pinion says and does what redis-server does, and both recover.

use crate::planted::{Call, Plants};
use crate::support::{Program, SHARD_COUNTS};
use crate::*;

/// The reference stands first: what is expected below is what it does.
const PROGRAMS: [Program; 3] = [Program::Redis, Program::Pinion { shards: 1 }, Program::Pinion { shards: 4 }];

const MISCONF: &str = "-MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to \
                       disk. Commands that may modify the data set are disabled, because this instance is configured \
                       to report errors during writes if RDB snapshotting fails (stop-writes-on-bgsave-error option). \
                       Please check the Redis logs for details about the RDB error.";

/// Reads go on, writes do not.
fn assert_writes_are_refused(client: &mut Client) {
    wait_until("all cores know", || client.command(&["PING"]).to_string() == MISCONF);
    for words in
        [&["SET", "a", "2"][..], &["DEL", "a"], &["MSET", "x", "2", "y", "2", "z", "2"], &["FLUSHALL"]]
    {
        assert_eq!(client.command(words).to_string(), MISCONF, "{words:?}");
    }
    assert_eq!(client.command(&["GET", "a"]).to_text(), "1");
}

#[test]
fn a_fork_that_fails() {
    for program in PROGRAMS {
        let plants = Plants::new();
        let server = plants.start(program, &["--save", "3600 1"]);
        let mut client = server.connect();
        client.command(&["SET", "a", "1"]);
        plants.fail(Call::Fork, libc::EAGAIN);
        assert_eq!(client.command(&["BGSAVE"]).to_string(), "-ERR", "{program:?}");
        assert!(plants.failed(Call::Fork) > 0);
        assert_eq!(info(&mut client, "rdb_last_bgsave_status"), "err", "{program:?}");
        assert_eq!(info(&mut client, "rdb_bgsave_in_progress"), "0");
        let text = "Can't save in background: fork: Resource temporarily unavailable";
        assert!(server.log().contains(text), "{program:?}: {}", server.log());
        assert_writes_are_refused(&mut client);
        // By itself, with the next try at a save point.
        plants.heal();
        client.command(&["CONFIG", "SET", "save", "1 1"]);
        wait_until("writes are taken again", || client.command(&["SET", "a", "2"]).to_string() == "+OK");
        assert_eq!(info(&mut client, "rdb_last_bgsave_status"), "ok", "{program:?}");
        assert!(server.directory().join("dump.rdb").exists());
    }
}

/// Nothing is lost, writes go on, and the next rewrite succeeds.
#[test]
fn a_fork_that_fails_for_a_rewrite() {
    for program in PROGRAMS {
        let plants = Plants::new();
        let mut server = plants.start(program, &["--appendonly", "yes"]);
        let mut client = server.connect();
        client.command(&["SET", "a", "1"]);
        plants.fail(Call::Fork, libc::ENOMEM);
        let reply = client.command(&["BGREWRITEAOF"]).to_string();
        let expected = "-ERR Can't execute an AOF background rewriting. Please check the server logs for more \
                        information.";
        assert_eq!(reply, expected, "{program:?}");
        assert_eq!(info(&mut client, "aof_last_bgrewrite_status"), "err");
        let text = "Can't rewrite append only file in background: fork: Cannot allocate memory";
        assert!(server.log().contains(text), "{program:?}: {}", server.log());
        assert_eq!(client.command(&["SET", "b", "2"]).to_string(), "+OK", "{program:?}");
        plants.heal();
        let reply = client.command(&["BGREWRITEAOF"]).to_string();
        assert_eq!(reply, "+Background append only file rewriting started", "{program:?}");
        wait_until("it ends", || info(&mut client, "aof_rewrite_in_progress") == "0");
        assert_eq!(info(&mut client, "aof_last_bgrewrite_status"), "ok");
        client.command(&["SET", "c", "3"]);
        client.send(&["SHUTDOWN", "NOSAVE"]);
        server.wait_for_exit(PATIENCE);
        server.restart();
        let kept = server.connect().command(&["MGET", "a", "b", "c"]).to_string();
        assert_eq!(kept, r#"["1", "2", "3"]"#, "{program:?}");
    }
}

#[test]
fn a_child_that_cannot_write() {
    let failures = [
        (Call::Create, libc::EROFS, " for saving: Read-only file system"),
        (Call::Write, libc::ENOSPC, "Write error saving DB on disk(write): No space left on device"),
        (Call::Write, libc::EIO, "Write error saving DB on disk(write): Input/output error"),
        (Call::Sync, libc::EIO, "Write error saving DB on disk(fsync): Input/output error"),
        (Call::Rename, libc::EACCES, "on the final destination dump.rdb (in server root dir "),
    ];
    for program in PROGRAMS {
        let plants = Plants::new();
        let server = plants.start(program, &["--save", "3600 1"]);
        let mut client = server.connect();
        client.command(&["SET", "a", "1"]);
        for (call, error, text) in failures {
            // What redis-server writes with is what it replies with, too.
            if program == Program::Redis && call == Call::Write {
                continue;
            }
            let (before, logged) = (plants.failed(call), server.log().matches(text).count());
            plants.fail(call, error);
            assert_eq!(client.command(&["BGSAVE"]).to_string(), "+Background saving started");
            wait_until("BGSAVE ends", || info(&mut client, "rdb_bgsave_in_progress") == "0");
            assert!(plants.failed(call) > before);
            assert_eq!(info(&mut client, "rdb_last_bgsave_status"), "err", "{program:?} {call:?}");
            assert_eq!(server.log().matches(text).count(), logged + 1, "{program:?}: {}", server.log());
            assert_writes_are_refused(&mut client);
            assert_eq!(files_named(server.directory(), "temp-"), Vec::<String>::new());
            plants.heal();
            save_in_background(&mut client);
            wait_until("writes are taken again", || client.command(&["SET", "a", "1"]).to_string() == "+OK");
            assert_check_rdb_is_content(&server.directory().join("dump.rdb"));
            std::fs::remove_file(server.directory().join("dump.rdb")).expect("just saved");
        }
    }
}

/// The base that could not be written is not named, and what was there before still counts.
#[test]
fn a_rewrite_that_cannot_write() {
    for program in PROGRAMS {
        for (call, error) in [(Call::Sync, libc::EIO), (Call::Rename, libc::EACCES)] {
            let plants = Plants::new();
            let mut server = plants.start(program, &["--appendonly", "yes", "--appendfsync", "no"]);
            let mut client = server.connect();
            client.command(&["MSET", "a", "1", "b", "2", "c", "3"]);
            client.command(&["CONFIG", "SET", "rdb-key-save-delay", "200000"]);
            assert!(client.command(&["BGREWRITEAOF"]).to_string().starts_with("+Background"));
            plants.fail(call, error);
            client.command(&["SET", "d", "4"]);
            wait_until("it ends", || info(&mut client, "aof_rewrite_in_progress") == "0");
            assert!(plants.failed(call) > 0);
            assert_eq!(info(&mut client, "aof_last_bgrewrite_status"), "err", "{program:?} {call:?}");
            plants.heal();
            assert_eq!(client.command(&["SET", "e", "5"]).to_string(), "+OK");
            client.send(&["SHUTDOWN", "NOSAVE"]);
            server.wait_for_exit(PATIENCE);
            server.restart();
            let kept = server.connect().command(&["MGET", "a", "b", "c", "d", "e"]).to_string();
            assert_eq!(kept, r#"["1", "2", "3", "4", "5"]"#, "{program:?} {call:?}");
        }
    }
}

/// A file system that refuses direct writes when files are opened, or only when they are written.
#[test]
fn direct_writes_that_are_refused() {
    const SNAPSHOT: &str = "snapshots are written through the page cache";
    const APPEND: &str = "the append only file is written through the page cache";
    for shards in SHARD_COUNTS {
        for (call, times) in [(Call::OpenDirect, i32::MAX), (Call::Write, 1)] {
            let plants = Plants::new();
            plants.fail_times(call, libc::EINVAL, times);
            let mut server =
                plants.start(Program::Pinion { shards }, &["--appendonly", "yes", "--appendfsync", "always"]);
            let mut client = server.connect();
            client.command(&["DEBUG", "POPULATE", "30000", "k", "100"]);
            for round in 0..3 {
                assert_eq!(client.command(&["SET", "round", &round.to_string()]).to_string(), "+OK");
                save_in_background(&mut client);
                assert_check_rdb_is_content(&server.directory().join("dump.rdb"));
                plants.fail_times(call, libc::EINVAL, times);
            }
            let log = server.log();
            let told = (log.matches(SNAPSHOT).count(), log.matches(APPEND).count());
            assert_eq!(told, (1, usize::from(call == Call::OpenDirect)), "{call:?}: {log}");
            let expected = digest(&server);
            server.restart();
            assert_eq!(digest(&server), expected, "{call:?}, {shards} shards");
        }
    }
}
