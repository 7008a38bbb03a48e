//! Directories: read-only ones, one that another server uses, and one in memory.

use crate::planted::without_privileges;
use crate::support::{Program, SHARD_COUNTS, Server};
use crate::*;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

/// A directory that nobody may write into, while this lives.
struct ReadOnly<'a>(&'a Path);

impl<'a> ReadOnly<'a> {
    fn make(directory: &'a Path) -> Self {
        std::fs::set_permissions(directory, Permissions::from_mode(0o555)).expect("it is ours");
        Self(directory)
    }
}

impl Drop for ReadOnly<'_> {
    fn drop(&mut self) {
        std::fs::set_permissions(self.0, Permissions::from_mode(0o755)).expect("it is ours");
    }
}

const PROGRAMS: [Program; 3] = [Program::Redis, Program::Pinion { shards: 1 }, Program::Pinion { shards: 4 }];

#[test]
fn snapshots_into_a_read_only_directory() {
    for program in PROGRAMS {
        let server = Server::start_changed(program, &["--save", "3600 1"], |_| {}, &without_privileges);
        let mut client = server.connect();
        client.command(&["SET", "a", "1"]);
        let read_only = ReadOnly::make(server.directory());
        assert_eq!(client.command(&["SAVE"]).to_string(), "-ERR", "{program:?}");
        client.command(&["BGSAVE"]);
        wait_until("BGSAVE ends", || info(&mut client, "rdb_bgsave_in_progress") == "0");
        assert_eq!(info(&mut client, "rdb_last_bgsave_status"), "err", "{program:?}");
        let log = server.log();
        assert!(log.contains("Failed opening the temp RDB file temp-"), "{program:?}: {log}");
        assert!(log.contains("for saving: Permission denied"), "{program:?}: {log}");
        wait_until("writes are refused", || {
            client
                .command(&["SET", "a", "2"])
                .to_string()
                .starts_with("-MISCONF Redis is configured to save RDB")
        });
        assert_eq!(client.command(&["GET", "a"]).to_text(), "1");
        drop(read_only);
        save_in_background(&mut client);
        wait_until("writes are taken again", || client.command(&["SET", "a", "2"]).to_string() == "+OK");
    }
}

/// What is open is still written; what has to be made is not, and that is told.
#[test]
fn rewrites_in_a_read_only_directory() {
    for program in PROGRAMS {
        let mut server =
            Server::start_changed(program, &["--appendonly", "yes"], |_| {}, &without_privileges);
        let mut client = server.connect();
        client.command(&["SET", "a", "1"]);
        let inside = server.directory().join("appendonlydir");
        let (outer, inner) = (ReadOnly::make(server.directory()), ReadOnly::make(&inside));
        let reply = client.command(&["BGREWRITEAOF"]).to_string();
        let expected = "-ERR Can't execute an AOF background rewriting. Please check the server logs for more \
                        information.";
        assert_eq!(reply, expected, "{program:?}");
        assert!(server.log().contains("Permission denied"), "{program:?}: {}", server.log());
        assert_eq!(info(&mut client, "aof_last_bgrewrite_status"), "err", "{program:?}");
        assert_eq!(client.command(&["SET", "b", "2"]).to_string(), "+OK", "{program:?}");
        drop((outer, inner));
        // redis-server puts the next try off after failures.
        wait_until("it is rewritten", || {
            client.command(&["BGREWRITEAOF"]);
            info(&mut client, "aof_last_bgrewrite_status") == "ok"
        });
        client.send(&["SHUTDOWN", "NOSAVE"]);
        server.wait_for_exit(PATIENCE);
        server.restart();
        assert_eq!(server.connect().command(&["MGET", "a", "b"]).to_string(), r#"["1", "2"]"#, "{program:?}");
    }
}

#[test]
fn a_start_in_a_read_only_directory() {
    for program in PROGRAMS {
        let flags = ["--appendonly", "yes", "--dir", "inside", "--logfile", "", "--unixsocket", ""];
        let prepare = |directory: &Path| {
            let inside = directory.join("inside");
            std::fs::create_dir(&inside).expect("made");
            std::fs::set_permissions(&inside, Permissions::from_mode(0o555)).expect("it is ours");
        };
        let (status, log) = Server::refused_changed(program, &flags, prepare, &without_privileges);
        assert!(!status.success(), "{program:?}");
        assert!(log.contains("appendonlydir") && log.contains("Permission denied"), "{program:?}: {log}");
    }
}

/// redis-server would write into the same files.
#[test]
fn a_second_server_on_the_same_append_only_file() {
    for shards in SHARD_COUNTS {
        let flags = ["--appendonly", "yes", "--appendfsync", "always"];
        let mut first = Server::start(Program::Pinion { shards }, &flags);
        let mut client = first.connect();
        client.command(&["SET", "a", "1"]);
        let before = files_named(&first.directory().join("appendonlydir"), "");
        let directory = first.directory().display().to_string();
        let (status, log) = Server::refused(
            Program::Pinion { shards },
            &["--dir", &directory, "--unixsocket", "", "--appendonly", "yes"],
            |_| {},
        );
        assert!(!status.success());
        let text = format!("it is in use by the process {}", first.pid());
        assert!(
            log.contains("Another server uses the append only directory") && log.contains(&text),
            "{log}"
        );
        assert_eq!(files_named(&first.directory().join("appendonlydir"), ""), before);
        // One that has started without the file cannot switch it on, and goes on.
        let second = Server::start(Program::Pinion { shards }, &["--dir", &directory, "--unixsocket", ""]);
        let mut other = second.connect();
        other.command(&["CONFIG", "SET", "appendonly", "yes"]);
        wait_until("it has tried", || second.log().contains("Another server uses the append only directory"));
        assert_eq!(info(&mut other, "aof_enabled"), "0");
        assert_eq!(other.command(&["SET", "b", "1"]).to_string(), "+OK");
        drop(second);
        // The first one's end frees the directory, however it ends.
        assert_eq!(client.command(&["SET", "c", "1"]).to_string(), "+OK");
        first.restart();
        assert_eq!(first.connect().command(&["EXISTS", "a", "b", "c"]).to_string(), ":2");
    }
}

/// As with redis-server both run, but the second one tells what will come of it.
#[test]
fn a_second_server_that_saves_into_the_same_directory() {
    const TOLD: &str = "Another server that saves snapshots runs in this directory";
    let pinion = Program::Pinion { shards: 1 };
    let mut first = Server::start(pinion, &["--save", "3600 1"]);
    let directory = first.directory().display().to_string();
    let start = |save: &str| {
        Server::start(pinion, &["--dir", &directory, "--unixsocket", "", "--save", save]).log().contains(TOLD)
    };
    assert!(!first.log().contains(TOLD));
    assert!(start("3600 1"));
    assert!(!start(""), "it saves nothing");
    first.kill();
    assert!(!start("3600 1"), "nobody is there any more");
}

/// Whether a file system in memory takes direct writes depends on the kernel; nothing else does.
#[test]
fn a_directory_in_memory() {
    let Ok(memory) = tempfile::tempdir_in("/dev/shm") else {
        println!("skipped: there is no /dev/shm to write to");
        return;
    };
    for shards in SHARD_COUNTS {
        let directory = memory.path().join(shards.to_string());
        std::fs::create_dir(&directory).expect("made");
        let directory = directory.display().to_string();
        let flags =
            ["--dir", &directory, "--appendonly", "yes", "--appendfsync", "always", "--save", "3600 1"];
        let mut server = Server::start(Program::Pinion { shards }, &flags);
        let mut client = server.connect();
        client.command(&["DEBUG", "POPULATE", "20000", "k", "100"]);
        client.command(&["MSET", "a", "1", "b", "1", "c", "1"]);
        save_in_background(&mut client);
        save_in_background(&mut client);
        assert_check_rdb_is_content(&Path::new(&directory).join("dump.rdb"));
        assert!(server.log().matches("refuses direct writes").count() <= 2, "{}", server.log());
        let expected = digest(&server);
        server.restart();
        assert_eq!(digest(&server), expected, "{shards} shards");
    }
}
