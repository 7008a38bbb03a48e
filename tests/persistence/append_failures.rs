//! An append-only file that cannot be written or synced: writes are refused in redis-server's words, reads go on, all is
//! well again by itself, and what was acknowledged is there after a restart.

use crate::planted::{Call, Plants, ignoring_file_limits, limit_files};
use crate::support::{Program, SHARD_COUNTS, Server};
use crate::*;

const FULL: &str = "-MISCONF Errors writing to the AOF file: No space left on device";
const LARGE: &str = "-MISCONF Errors writing to the AOF file: File too large";
const BROKEN: &str = "-MISCONF Errors writing to the AOF file: Input/output error";

fn assert_writes_are_refused(client: &mut Client, misconf: &str) {
    wait_until("all cores know", || client.command(&["PING"]).to_string() == misconf);
    for words in
        [&["SET", "a", "2"][..], &["DEL", "a"], &["MSET", "x", "2", "y", "2", "z", "2"], &["FLUSHALL"]]
    {
        assert_eq!(client.command(words).to_string(), misconf, "{words:?}");
    }
    client.command(&["MULTI"]);
    assert_eq!(client.command(&["SET", "a", "4"]).to_string(), misconf);
    assert!(client.command(&["EXEC"]).to_string().starts_with("-EXECABORT"));
    assert_eq!(client.command(&["GET", "a"]).to_text(), "1");
}

/// With `always`, what is asked before the failure is known waits for what it may have seen.
fn wait_for_the_failure(server: &Server) {
    wait_until("the failure is known", || server.log().contains("Writes are refused until it succeeds"));
}

fn assert_writes_are_taken(client: &mut Client) {
    wait_until("writes are taken again", || client.command(&["SET", "later", "1"]).to_string() == "+OK");
    assert_eq!(client.command(&["PING"]).to_string(), "+PONG");
}

/// What is there when the server is told to end is there after the next start.
fn assert_comes_back(server: &mut Server, client: &mut Client) {
    let expected = digest(server);
    client.send(&["SHUTDOWN"]);
    assert!(server.wait_for_exit(PATIENCE).success(), "{:?}", server.program());
    server.restart();
    assert_eq!(digest(server), expected, "{:?}", server.program());
}

/// A file that may not grow is written in part, which redis-server and Pinion take for a full disk.
#[test]
fn a_full_disk_under_the_append_only_file() {
    for program in [Program::Redis, Program::Pinion { shards: 1 }, Program::Pinion { shards: 4 }] {
        let mut server = Server::start_changed(
            program,
            &["--appendonly", "yes", "--appendfsync", "everysec", "--auto-aof-rewrite-percentage", "0"],
            |_| {},
            &|command| {
                if program == Program::Redis {
                    ignoring_file_limits(command);
                }
            },
        );
        let (mut client, mut other) = (server.connect(), server.connect());
        client.command(&["SET", "a", "1"]);
        let big = "x".repeat(1 << 20);
        limit_files(&server, Some(1 << 18));
        // In the second round there is no room even for a part.
        for (round, misconf) in [FULL, LARGE].into_iter().enumerate() {
            // Taken: nobody knows yet.
            assert_eq!(client.command(&["SET", "big", &big]).to_string(), "+OK", "{program:?}");
            assert_writes_are_refused(&mut client, misconf);
            assert_writes_are_refused(&mut other, misconf);
            assert_eq!(info(&mut client, "aof_last_write_status"), "err");
            assert_eq!(client.command(&["STRLEN", "big"]).to_string(), format!(":{}", big.len()));
            limit_files(&server, None);
            assert_writes_are_taken(&mut client);
            assert_eq!(info(&mut client, "aof_last_write_status"), "ok");
            assert_eq!(client.command(&["SET", "round", &round.to_string()]).to_string(), "+OK");
            wait_until("it is written", || info(&mut client, "aof_buffer_length") == "0");
            limit_files(&server, Some(1 << 18));
        }
        limit_files(&server, None);
        assert_comes_back(&mut server, &mut client);
    }
}

/// With `always` redis-server gives up and ends. Here who has written waits for the answer until the disk has room
/// again; all others are told.
#[test]
fn a_full_disk_with_replies_that_wait() {
    for shards in SHARD_COUNTS {
        let mut server = Server::start(
            Program::Pinion { shards },
            &["--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0"],
        );
        let (mut writer, mut other) = (server.connect(), server.connect());
        writer.command(&["SET", "a", "1"]);
        limit_files(&server, Some(1 << 18));
        writer.send(&["SET", "big", &"x".repeat(1 << 20)]);
        wait_for_the_failure(&server);
        assert_writes_are_refused(&mut other, FULL);
        assert!(writer.is_silent_for(Duration::from_millis(50)), "what is not written is not acknowledged");
        limit_files(&server, None);
        assert_eq!(writer.receive().to_string(), "+OK");
        assert_writes_are_taken(&mut other);
        server.restart();
        assert_eq!(server.connect().command(&["STRLEN", "big"]).to_string(), format!(":{}", 1 << 20));
        assert_eq!(server.connect().command(&["GET", "later"]).to_text(), "1");
    }
}

/// Killed while the disk is full: what was refused is not there, what was acknowledged is.
#[test]
fn a_crash_with_a_full_disk() {
    for shards in SHARD_COUNTS {
        let mut server = Server::start(
            Program::Pinion { shards },
            &["--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0"],
        );
        let (mut writer, mut other) = (server.connect(), server.connect());
        for number in 0..100 {
            writer.command(&["MSET", &format!("a:{number}"), "1", &format!("b:{number}"), "1", "last", "1"]);
        }
        writer.command(&["SET", "a", "1"]);
        limit_files(&server, Some(1 << 18));
        let big = "x".repeat(1 << 20);
        writer.send(&["MSET", "big", &big, "beside", "1", "together", "1"]);
        wait_for_the_failure(&server);
        assert_writes_are_refused(&mut other, FULL);
        server.restart();
        let mut client = server.connect();
        assert_eq!(client.command(&["DBSIZE"]).to_string(), ":202", "{shards} shards: {}", server.log());
        assert_eq!(client.command(&["EXISTS", "big", "beside", "together"]).to_string(), ":0");
        assert_writes_are_taken(&mut client);
    }
}

#[test]
fn a_sync_that_fails() {
    for program in [Program::Redis, Program::Pinion { shards: 1 }, Program::Pinion { shards: 4 }] {
        let plants = Plants::new();
        let mut server = plants.start(program, &["--appendonly", "yes", "--appendfsync", "everysec"]);
        let mut client = server.connect();
        client.command(&["SET", "a", "1"]);
        match program {
            Program::Redis => plants.fail(Call::Sync, libc::EIO),
            Program::Pinion { .. } => {
                client.command(&["DEBUG", "AOF-SYNC-ERROR", &libc::EIO.to_string()]);
            }
        }
        assert_eq!(client.command(&["SET", "b", "1"]).to_string(), "+OK");
        assert_writes_are_refused(&mut client, BROKEN);
        assert_eq!(info(&mut client, "aof_last_write_status"), "err", "{program:?}");
        if program == Program::Redis {
            // Nothing makes it sync again, so it refuses writes until it is started anew.
            continue;
        }
        plants.heal();
        client.command(&["DEBUG", "AOF-SYNC-ERROR", "0"]);
        assert_writes_are_taken(&mut client);
        assert_comes_back(&mut server, &mut client);
    }
}

/// What the server has acknowledged and not written does not grow without end: writes wait, and nothing else does.
#[test]
fn a_disk_that_is_slow() {
    const LIMIT: usize = 128 << 20;
    const WRITES: usize = 200;
    for shards in SHARD_COUNTS {
        let flags = ["--appendonly", "yes", "--appendfsync", "everysec"];
        let mut server = Server::start(Program::Pinion { shards }, &flags);
        let (mut client, mut writer, mut queuing) = (server.connect(), server.connect(), server.connect());
        let mut filler = server.connect();
        client.command(&["SET", "a", "1"]);
        client.command(&["DEBUG", "AOF-STALL", "1"]);
        // All on one shard.
        let value = "x".repeat(1 << 20);
        let filling = std::thread::spawn(move || {
            for number in 0..WRITES {
                assert_eq!(
                    filler.command(&["SET", &format!("{{s}}{}", number % 8), &value]).to_string(),
                    "+OK"
                );
            }
        });
        let waiting = |client: &mut Client| -> usize {
            info(client, "aof_buffer_length").parse().expect("a number of bytes")
        };
        wait_until("much waits", || waiting(&mut client) > LIMIT);
        wait_until("the log says so", || server.log().contains("Writes wait until it has caught up"));
        writer.send(&["INCR", "a"]);
        queuing.send(&["MULTI"]);
        assert_eq!(queuing.receive().to_string(), "+OK");
        queuing.send(&["EXEC"]);
        assert_eq!(queuing.receive().to_string(), "[]");
        assert!(writer.is_silent_for(Duration::from_millis(50)), "{shards} shards");
        assert_eq!(client.command(&["GET", "a"]).to_text(), "1");
        assert!(waiting(&mut client) < LIMIT + (8 << 20), "{shards} shards: {}", waiting(&mut client));
        assert!(!filling.is_finished());
        client.command(&["DEBUG", "AOF-STALL", "0"]);
        assert_eq!(writer.receive().to_string(), ":2");
        filling.join().expect("all its writes are taken");
        wait_until("everything is written", || waiting(&mut client) == 0);
        let expected = digest(&server);
        server.restart();
        assert_eq!(digest(&server), expected, "{shards} shards");
    }
}

#[test]
fn a_sync_that_fails_with_replies_that_wait() {
    for shards in SHARD_COUNTS {
        let mut server =
            Server::start(Program::Pinion { shards }, &["--appendonly", "yes", "--appendfsync", "always"]);
        let (mut writer, mut other) = (server.connect(), server.connect());
        writer.command(&["SET", "a", "1"]);
        other.command(&["DEBUG", "AOF-SYNC-ERROR", &libc::EIO.to_string()]);
        writer.send(&["MSET", "b", "1", "c", "1", "d", "1"]);
        wait_for_the_failure(&server);
        assert_writes_are_refused(&mut other, BROKEN);
        assert!(writer.is_silent_for(Duration::from_millis(50)), "what is not durable is not acknowledged");
        other.command(&["DEBUG", "AOF-SYNC-ERROR", "0"]);
        assert_eq!(writer.receive().to_string(), "+OK");
        assert_writes_are_taken(&mut other);
        server.restart();
        assert_eq!(server.connect().command(&["EXISTS", "a", "b", "c", "d", "later"]).to_string(), ":5");
    }
}

/// SIGTERM: everything acknowledged is in the file, whatever `appendfsync` says, and in the dump if there are save points.
#[test]
fn a_signal_ends_the_server_with_everything_written() {
    for program in [Program::Redis, Program::Pinion { shards: 1 }, Program::Pinion { shards: 4 }] {
        for (policy, save) in [("no", ""), ("everysec", "3600 1"), ("always", "")] {
            let flags = ["--appendonly", "yes", "--appendfsync", policy, "--save", save];
            let mut server = Server::start(program, &flags);
            let mut client = server.connect();
            for number in 0..500 {
                client.command(&["SET", &format!("k:{number}"), "1"]);
            }
            let expected = digest(&server);
            let sent = Command::new("kill").args(["-TERM", &server.pid().to_string()]).status();
            assert!(sent.expect("kill is there").success());
            assert!(server.wait_for_exit(PATIENCE).success(), "{program:?} {policy}");
            assert_eq!(
                server.directory().join("dump.rdb").exists(),
                !save.is_empty(),
                "{program:?} {policy}"
            );
            server.restart();
            assert_eq!(digest(&server), expected, "{program:?} {policy}");
        }
    }
}

fn borrowed(client: &mut Client) -> u64 {
    info(client, "pinion_commands_borrowed").parse().expect("a number of commands")
}

/// Writes keys of all shards, one after the other, so that the other cores are asleep: until some were borrowed.
fn write_on_borrowed_shards(client: &mut Client, keys: usize) {
    let before = borrowed(client);
    wait_until("shards are borrowed", || {
        for number in 0..keys {
            assert_eq!(client.command(&["SET", &format!("k:{number}"), "1"]).to_string(), "+OK");
        }
        borrowed(client) > before
    });
}

/// A core that does something on a borrowed shard writes it down there itself, and what it says waits for that too.
#[test]
fn replies_about_borrowed_shards_wait() {
    const KEYS: usize = 16;
    let flags = ["--appendonly", "yes", "--appendfsync", "always"];
    let mut server = Server::start(Program::Pinion { shards: 4 }, &flags);
    let mut client = server.connect();
    write_on_borrowed_shards(&mut client, KEYS);
    // On all cores.
    let mut writers: Vec<Client> = (0..8).map(|_| server.connect()).collect();
    let before = borrowed(&mut client);
    for number in 0..KEYS {
        client.command(&["DEBUG", "AOF-STALL", "1"]);
        // Only one shard, so that most cores have nothing else to wait for.
        for writer in &mut writers {
            writer.send(&["INCR", &format!("k:{number}")]);
        }
        for writer in &mut writers {
            assert!(writer.is_silent_for(Duration::from_millis(2)), "nothing is durable");
        }
        client.send(&["DEBUG", "AOF-STALL", "0"]);
        let mut values: Vec<String> = writers.iter_mut().map(|writer| writer.receive().to_string()).collect();
        values.sort();
        assert_eq!(values, [":2", ":3", ":4", ":5", ":6", ":7", ":8", ":9"]);
        assert_eq!(client.receive().to_string(), "+OK");
    }
    assert!(borrowed(&mut client) > before, "that is what is tested");
    server.kill();
    server.restart();
    let mut client = server.connect();
    for number in 0..KEYS {
        assert_eq!(client.command(&["GET", &format!("k:{number}")]).to_text(), "9");
    }
}

/// A core that has written to a borrowed shard's segment lets go of the file when a rewrite has replaced it.
#[test]
fn replaced_segments_are_closed_by_all_cores() {
    let flags = ["--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0"];
    let server = Server::start(Program::Pinion { shards: 4 }, &flags);
    let mut client = server.connect();
    let removed_and_open = || {
        let files = std::fs::read_dir(format!("/proc/{}/fd", server.pid())).expect("a process that runs");
        let files = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
        files.filter(|path| path.to_string_lossy().contains(".pinion (deleted)")).count()
    };
    for _ in 0..2 {
        write_on_borrowed_shards(&mut client, 24);
        assert!(client.command(&["BGREWRITEAOF"]).to_string().starts_with("+Background"));
        wait_until("the file is rewritten", || info(&mut client, "aof_rewrite_in_progress") == "0");
        wait_until("no core keeps an old one open", || removed_and_open() == 0);
    }
}
