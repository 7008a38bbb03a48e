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

/// Flags of another server in this directory.
fn beside<'a>(directory: &'a str, flags: &[&'a str]) -> Vec<&'a str> {
    [&["--dir", directory, "--unixsocket", ""], flags].concat()
}

const SAVES: [&str; 2] = ["--save", "3600 1"];

/// Two servers with save points ran in one directory and replaced each other's dump.rdb; whichever saved last was what
/// both started with. The second one only warned of it, in a line of its log.
#[test]
fn a_second_server_that_saves_into_the_same_file() {
    let pinion = Program::Pinion { shards: 1 };
    let mut first = Server::start(pinion, &[&SAVES[..], &["--rdb-key-save-delay", "1000000"]].concat());
    let directory = first.directory().display().to_string();
    let dump = first.directory().join("dump.rdb");
    let mut client = first.connect();
    client.command(&["SET", "a", "1"]);
    let told = format!(
        "another server, process {}, saves its snapshots to '{}': each would overwrite the other's data. Give this one \
         another 'dir' or another 'dbfilename', or, if it need not save, no save points (save \"\")",
        first.pid(),
        dump.display()
    );
    for flags in [&SAVES[..], &["--save", "3600 1", "--dbfilename", "dump.rdb", "--appendonly", "yes"]] {
        let (status, log) = Server::refused(pinion, &beside(&directory, flags), |_| {});
        assert!(!status.success());
        assert!(log.contains(&format!("Pinion can't start: {told}")), "{log}");
    }
    // In the background too somebody reads it.
    let (status, log) =
        Server::refused(pinion, &beside(&directory, &["--logfile", "own.log", "--save", "1 1"]), |_| {});
    assert!(!status.success());
    let own = std::fs::read_to_string(first.directory().join("own.log")).expect("it began a log");
    assert!(own.contains(&format!("Can't start: {told}")), "{own} {log}");
    // What replaces nothing may run, and tools may read.
    let other =
        Server::start(pinion, &beside(&directory, &["--save", "3600 1", "--dbfilename", "other.rdb"]));
    let third = beside(&directory, &["--save", "3600 1", "--dbfilename", "other.rdb"]);
    let (_, log) = Server::refused(pinion, &third, |_| {});
    assert!(log.contains(&format!("process {}", other.pid())) && log.contains("/other.rdb'"), "{log}");
    drop(Server::start(pinion, &beside(&directory, &["--save", ""])));
    drop(Server::start(Program::Redis, &beside(&directory, &["--save", ""])));
    // A snapshot that is being written does not keep the place: kill -9 frees it at once.
    client.command(&["BGSAVE"]);
    wait_until("it writes", || !files_named(first.directory(), "temp-").is_empty());
    first.restart();
    first.kill();
    let second = Server::start(pinion, &beside(&directory, &SAVES));
    save_in_background(&mut second.connect());
    assert_check_rdb_is_content(&dump);
    // Who starts one as soon as the other has closed its connections need not wait for the process.
    let mut client = second.connect();
    client.send(&["SHUTDOWN"]);
    client.receive_until_closed();
    let _third = Server::start(pinion, &beside(&directory, &SAVES));
    let (_, log) = Server::refused(pinion, &beside(&directory, &["--export-aof", "out"]), |_| {});
    assert!(log.contains("keys are exported"), "{log}");
    let (status, log) = Server::refused(pinion, &["--check-rdb", &dump.display().to_string()], |_| {});
    assert!(status.success(), "{log}");
}

/// Nothing can be overwritten there.
#[test]
fn several_servers_in_a_read_only_directory() {
    let directory = tempfile::tempdir().expect("a directory");
    let read_only = ReadOnly::make(directory.path());
    let path = directory.path().display().to_string();
    let flags = beside(&path, &SAVES);
    let start = || Server::start_changed(Program::Pinion { shards: 1 }, &flags, |_| {}, &without_privileges);
    let (first, second) = (start(), start());
    drop(read_only);
    // The first snapshot settles whose place it is.
    save_in_background(&mut first.connect());
    let mut client = second.connect();
    client.command(&["SET", "a", "1"]);
    let reply = client.command(&["BGSAVE"]).to_string();
    let expected =
        format!("-ERR Can't save: another server, process {}, saves its snapshots to", first.pid());
    assert!(reply.starts_with(&expected), "{reply}");
    assert!(client.command(&["SET", "a", "2"]).to_string().starts_with("-MISCONF"));
}

/// Who has no save points may run beside one that has, and must not replace its snapshot when it is told to save.
#[test]
fn a_server_without_save_points_that_is_told_to_save() {
    for shards in SHARD_COUNTS {
        let pinion = Program::Pinion { shards };
        let first = Server::start(pinion, &SAVES);
        let directory = first.directory().display().to_string();
        first.connect().command(&["SET", "a", "1"]);
        save_in_background(&mut first.connect());
        let dump = first.directory().join("dump.rdb");
        let before = std::fs::read(&dump).expect("saved");
        let mut second = Server::start(pinion, &beside(&directory, &[]));
        let mut client = second.connect();
        client.command(&["SET", "a", "2"]);
        let told = format!("another server, process {}, saves its snapshots to", first.pid());
        let reply = client.command(&["BGSAVE"]).to_string();
        assert!(reply.starts_with(&format!("-ERR Can't save: {told}")), "{reply}");
        assert_eq!(client.command(&["SAVE"]).to_string(), "-ERR");
        assert!(second.log().contains(&format!("Can't save: {told}")), "{}", second.log());
        assert_eq!(
            client.command(&["SHUTDOWN", "SAVE"]).to_string(),
            "-ERR Errors trying to SHUTDOWN. Check logs."
        );
        assert_eq!(std::fs::read(&dump).expect("still there"), before);
        // Once the place is free it takes it, and keeps it.
        drop(first);
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().display().to_string();
        assert_eq!(client.command(&["CONFIG", "SET", "dir", &path]).to_string(), "+OK");
        drop(Server::start(pinion, &beside(&path, &SAVES)));
        save_in_background(&mut client);
        let (_, log) = Server::refused(pinion, &beside(&path, &SAVES), |_| {});
        assert!(log.contains(&format!("process {}", second.pid())), "{log}");
        client.send(&["SHUTDOWN", "SAVE"]);
        assert!(second.wait_for_exit(PATIENCE).success());
        assert_eq!(
            Server::start(pinion, &beside(&path, &SAVES)).connect().command(&["GET", "a"]).to_text(),
            "2"
        );
    }
}

/// CONFIG SET went wherever it was told to, and the next snapshot replaced that of the server that was there.
#[test]
fn moving_to_the_place_of_another_server() {
    for shards in SHARD_COUNTS {
        let pinion = Program::Pinion { shards };
        let (first, second) = (Server::start(pinion, &SAVES), Server::start(pinion, &SAVES));
        let (home, away) =
            (second.directory().display().to_string(), first.directory().display().to_string());
        let mut client = second.connect();
        client.command(&["SET", "a", "1"]);
        let refused = |client: &mut Client, words: &[&str], related: &str| {
            let reply = client.command(&[&["CONFIG", "SET"], words].concat()).to_string();
            let expected = format!(
                "-ERR CONFIG SET failed (possibly related to argument '{related}') - another server, process {}, saves \
                 its snapshots to '{away}/dump.rdb'",
                first.pid()
            );
            assert!(reply.starts_with(&expected), "{words:?}: {reply}");
        };
        let value = |client: &mut Client, name: &str| client.command(&["CONFIG", "GET", name]).to_string();
        // None of it happens.
        refused(&mut client, &["maxclients", "77", "dir", &away, "timeout", "9", "save", "1 1"], "dir");
        for (name, was) in [("maxclients", "10000"), ("timeout", "0"), ("save", "3600 1"), ("dir", &home)] {
            assert!(value(&mut client, name).contains(&format!("\"{was}\"")), "{name}");
        }
        save_in_background(&mut client);
        assert!(second.directory().join("dump.rdb").exists() && !first.directory().join("dump.rdb").exists());
        // It still holds the place where it is.
        let (_, log) = Server::refused(pinion, &beside(&home, &SAVES), |_| {});
        assert!(log.contains(&format!("process {}", second.pid())), "{log}");
        // Under another name it may go there, by a path as good as any; from there to the other's name it may not.
        let roundabout = format!("{away}/../{}", first.directory().file_name().expect("one").display());
        let moved = client.command(&["CONFIG", "SET", "dbfilename", "own.rdb", "dir", &roundabout]);
        assert_eq!(moved.to_string(), "+OK");
        refused(&mut client, &["dbfilename", "dump.rdb"], "dbfilename");
        save_in_background(&mut client);
        assert!(first.directory().join("own.rdb").exists());
        // A snapshot that is still being written to the place that it leaves is no other server's to find.
        client.command(&["CONFIG", "SET", "rdb-key-save-delay", "10000000"]);
        client.command(&["BGSAVE"]);
        assert_eq!(client.command(&["CONFIG", "SET", "dbfilename", "later.rdb"]).to_string(), "+OK");
        let own = beside(&away, &["--save", "1 1", "--dbfilename", "own.rdb"]);
        assert!(Server::refused(pinion, &own, |_| {}).1.contains(&format!("process {}", second.pid())));
        assert_eq!(client.command(&["CONFIG", "SET", "dbfilename", "own.rdb"]).to_string(), "+OK");
        client.command(&["FLUSHALL"]);
        client.command(&["CONFIG", "SET", "rdb-key-save-delay", "0"]);
        wait_until("the child is gone", || info(&mut client, "rdb_bgsave_in_progress") == "0");
        // The old place is free, the new one is not.
        drop(Server::start(pinion, &beside(&home, &SAVES)));
        assert!(Server::refused(pinion, &own, |_| {}).1.contains(&format!("process {}", second.pid())));
        // Without save points it may be where it likes, and frees what it held; it cannot begin to save there.
        assert_eq!(
            client.command(&["CONFIG", "SET", "save", "", "dbfilename", "dump.rdb"]).to_string(),
            "+OK"
        );
        drop(Server::start(pinion, &own));
        refused(&mut client, &["maxclients", "77", "save", "3600 1"], "save");
        assert_eq!(value(&mut client, "save"), value(&mut second.connect(), "save"));
        // The one that was there has kept its place throughout, and leaves it.
        assert_eq!(
            first.connect().command(&["CONFIG", "SET", "dbfilename", "elsewhere.rdb"]).to_string(),
            "+OK"
        );
        assert_eq!(client.command(&["CONFIG", "SET", "save", "3600 1"]).to_string(), "+OK");
        let elsewhere = beside(&away, &["--save", "1 1", "--dbfilename", "elsewhere.rdb"]);
        assert!(Server::refused(pinion, &elsewhere, |_| {}).1.contains(&format!("process {}", first.pid())));
        // A directory that is not there is no place: as before.
        let reply = client.command(&["CONFIG", "SET", "dir", "nowhere"]).to_string();
        assert!(reply.ends_with("No such file or directory"), "{reply}");
        let back = beside(&away, &SAVES);
        assert!(Server::refused(pinion, &back, |_| {}).1.contains(&format!("process {}", second.pid())));
    }
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
