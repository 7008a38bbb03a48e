//! Snapshots that fail: writes are refused with Redis's words, reads go on, and all is well again by itself.

use crate::support::{Program, SHARD_COUNTS, Server};
use crate::*;

const MISCONF: &str = "-MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to \
                       disk. Commands that may modify the data set are disabled, because this instance is configured \
                       to report errors during writes if RDB snapshotting fails (stop-writes-on-bgsave-error option). \
                       Please check the Redis logs for details about the RDB error.";

fn fails_in_background(client: &mut Client) {
    assert_eq!(client.command(&["BGSAVE"]).to_string(), "+Background saving started");
    wait_until("BGSAVE ends", || info(client, "rdb_bgsave_in_progress") == "0");
    assert_eq!(info(client, "rdb_last_bgsave_status"), "err");
}

#[test]
fn writes_are_refused_until_a_snapshot_succeeds() {
    for shards in SHARD_COUNTS {
        let server = Server::start(Program::Pinion { shards }, &["--save", "3600 1"]);
        let mut client = server.connect();
        client.command(&["SET", "a", "1"]);
        // A directory is in the place of the dump.
        let place = server.directory().join("dump.rdb");
        std::fs::create_dir(&place).expect("made");
        assert_eq!(client.command(&["SAVE"]).to_string(), "-ERR");
        assert_eq!(client.command(&["SET", "a", "2"]).to_string(), "+OK", "SAVE has told who asked");
        fails_in_background(&mut client);
        let mut other = server.connect();
        for client in [&mut client, &mut other] {
            wait_until("all cores know", || client.command(&["PING"]).to_string() == MISCONF);
            for words in [
                &["SET", "a", "3"][..],
                &["MSET", "a", "3", "b", "3", "c", "3"],
                &["DEL", "a"],
                &["FLUSHALL"],
            ] {
                assert_eq!(client.command(words).to_string(), MISCONF, "{words:?}");
            }
            assert_eq!(client.command(&["GET", "a"]).to_text(), "2");
            client.command(&["MULTI"]);
            assert_eq!(client.command(&["SET", "a", "4"]).to_string(), MISCONF);
            assert!(client.command(&["EXEC"]).to_string().starts_with("-EXECABORT"));
        }
        assert_eq!(files_named(server.directory(), "temp-"), Vec::<String>::new());
        assert!(server.log().contains("Error moving temp DB file"), "{}", server.log());
        std::fs::remove_dir(&place).expect("empty");
        save_in_background(&mut client);
        wait_until("writes are taken again", || !client.command(&["SET", "a", "5"]).is_error());
    }
}

#[test]
fn without_save_points_or_by_configuration_writes_go_on() {
    for flags in [&["--save", ""][..], &["--save", "3600 1", "--stop-writes-on-bgsave-error", "no"]] {
        let server = Server::start(Program::Pinion { shards: 2 }, flags);
        let mut client = server.connect();
        std::fs::create_dir(server.directory().join("dump.rdb")).expect("made");
        fails_in_background(&mut client);
        assert_eq!(client.command(&["SET", "a", "1"]).to_string(), "+OK");
    }
}

/// A child that is killed has failed; its file goes.
#[test]
fn a_child_that_dies() {
    let server = Server::pinion(2);
    let mut client = server.connect();
    client.command(&["SET", "a", "1"]);
    client.command(&["CONFIG", "SET", "rdb-key-save-delay", "10000000"]);
    assert_eq!(client.command(&["BGSAVE"]).to_string(), "+Background saving started");
    let log = server.log();
    let child = log.split("Background saving started by pid ").nth(1).expect("it is logged");
    let child = child.split_whitespace().next().expect("a number");
    wait_until("it writes", || !files_named(server.directory(), "temp-").is_empty());
    assert!(Command::new("kill").args(["-9", child]).status().expect("kill is there").success());
    wait_until("it is gone", || info(&mut client, "rdb_bgsave_in_progress") == "0");
    assert_eq!(info(&mut client, "rdb_last_bgsave_status"), "err");
    assert_eq!(files_named(server.directory(), "temp-"), Vec::<String>::new());
    assert!(server.log().contains("Background saving terminated by signal 9"));
}

/// A disk of one megabyte.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// Nothing where mounting is not allowed.
    fn new() -> Option<Self> {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
            .arg(directory.path())
            .stderr(std::process::Stdio::null())
            .status();
        mounted.is_ok_and(|status| status.success()).then(|| Self(directory))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a server may still be in it.
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk() {
    let Some(disk) = SmallDisk::new() else {
        println!("skipped: mounting is not allowed here");
        return;
    };
    for shards in SHARD_COUNTS {
        let server =
            Server::start(Program::Pinion { shards }, &["--save", "3600 1", "--rdbcompression", "no"]);
        let mut client = server.connect();
        let set = client.command(&["CONFIG", "SET", "dir", &disk.0.path().to_string_lossy()]);
        assert_eq!(set.to_string(), "+OK");
        client.command(&["DEBUG", "POPULATE", "20000", "k", "200"]);
        fails_in_background(&mut client);
        assert!(
            server.log().contains("Write error saving DB on disk(write): No space left on device"),
            "{}",
            server.log()
        );
        assert_eq!(client.command(&["SET", "a", "1"]).to_string(), MISCONF);
        assert_eq!(client.command(&["EXISTS", "k:1"]).to_string(), ":1");
        assert_eq!(files_named(disk.0.path(), "rdb"), Vec::<String>::new());
        // Space comes back: here by having less to save.
        assert_eq!(
            client.command(&["CONFIG", "SET", "stop-writes-on-bgsave-error", "no"]).to_string(),
            "+OK"
        );
        wait_until("writes are taken", || !client.command(&["FLUSHALL"]).is_error());
        assert_eq!(
            client.command(&["CONFIG", "SET", "stop-writes-on-bgsave-error", "yes"]).to_string(),
            "+OK"
        );
        save_in_background(&mut client);
        wait_until("writes are taken again", || !client.command(&["SET", "a", "1"]).is_error());
        std::fs::remove_file(disk.0.path().join("dump.rdb")).expect("just saved");
    }
}
