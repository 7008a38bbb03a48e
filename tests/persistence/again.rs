//! Loading again in a running server (DEBUG RELOAD, DEBUG LOADAOF), and append-only files made of commands.

use crate::support::{Program, SHARD_COUNTS, Server};
use crate::*;

const ON: [&str; 4] = ["--appendonly", "yes", "--save", ""];

/// What redis-server has made of everything it can hold, with its digest.
fn filled() -> (Vec<u8>, String) {
    let redis = Server::redis();
    filling::every_kind(&redis);
    filling::random(&redis, 11, 2000);
    assert_eq!(redis.connect().command(&["SAVE"]).to_string(), "+OK");
    (std::fs::read(redis.directory().join("dump.rdb")).expect("just saved"), digest(&redis))
}

fn rewrite(client: &mut Client) {
    let reply = client.command(&["BGREWRITEAOF"]).to_string();
    assert_eq!(reply, "+Background append only file rewriting started");
    wait_until("BGREWRITEAOF ends", || info(client, "aof_rewrite_in_progress") == "0");
    assert_eq!(info(client, "aof_last_bgrewrite_status"), "ok");
}

fn base(server: &Server, ending: &str) -> std::path::PathBuf {
    let directory = server.directory().join("appendonlydir");
    let names = files_named(&directory, ".base.");
    assert!(names.len() == 1 && names[0].ends_with(ending), "{names:?}");
    directory.join(&names[0])
}

/// The commands mean to redis-server what they mean to us.
#[test]
fn a_base_of_commands() {
    let (dump, expected) = filled();
    for shards in SHARD_COUNTS {
        let mut pinion =
            Server::start_with(Program::Pinion { shards }, &["--aof-use-rdb-preamble", "no"], |directory| {
                std::fs::write(directory.join("dump.rdb"), &dump).expect("written");
            });
        let mut client = pinion.connect();
        assert_eq!(digest(&pinion), expected);
        rewrite(&mut client);
        let commands = std::fs::read(base(&pinion, ".base.aof")).expect("just written");
        assert!(commands.starts_with(b"*2\r\n$6\r\nSELECT\r\n"));
        let redis = Server::start_with(Program::Redis, &["--appendonly", "yes"], |directory| {
            std::fs::write(directory.join("appendonly.aof"), &commands).expect("written");
        });
        assert_eq!(digest(&redis), expected, "redis-server, {shards} shards");
        assert_eq!(client.command(&["CONFIG", "SET", "appendonly", "yes"]).to_string(), "+OK");
        wait_until("the file is on", || {
            info(&mut client, "aof_enabled") == "1" && info(&mut client, "aof_rewrite_in_progress") == "0"
        });
        client.command(&["SET", "after", "1"]);
        let expected = digest(&pinion);
        assert_eq!(client.command(&["DEBUG", "LOADAOF"]).to_string(), "+OK");
        assert_eq!(digest(&pinion), expected, "loaded again, {shards} shards");
        // And back.
        client.command(&["CONFIG", "SET", "aof-use-rdb-preamble", "yes"]);
        rewrite(&mut client);
        base(&pinion, ".base.rdb");
        assert_eq!(client.command(&["DEBUG", "LOADAOF"]).to_string(), "+OK");
        assert_eq!(digest(&pinion), expected, "from a snapshot, {shards} shards");
        pinion.kill();
    }
}

#[test]
fn loading_the_append_only_file_again() {
    for shards in SHARD_COUNTS {
        let mut server = Server::start(Program::Pinion { shards }, &ON);
        let mut client = server.connect();
        filling::every_kind(&server);
        for round in 0..20 {
            let number = round.to_string();
            client.command(&["MSET", "a", &number, "b", &number, "c", &number]);
            client.command(&["EXPIRE", "b", "1000"]);
            let expected = digest(&server);
            assert_eq!(client.command(&["DEBUG", "LOADAOF"]).to_string(), "+OK");
            assert_eq!(digest(&server), expected, "round {round}");
        }
        // What follows is journalled, and the numbers go on.
        client.command(&["SET", "last", "1"]);
        client.command(&["DEBUG", "LOADAOF"]);
        let expected = digest(&server);
        server.restart();
        assert_eq!(digest(&server), expected, "{shards} shards");
    }
}

/// Whoever writes meanwhile is told to wait or waits: nothing acknowledged is lost.
#[test]
fn clients_wait_for_the_append_only_file() {
    for shards in SHARD_COUNTS {
        let server = Server::start(Program::Pinion { shards }, &ON);
        let mut client = server.connect();
        client.command(&["DEBUG", "POPULATE", "30000"]);
        let counts: Vec<i64> = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..3)
                .map(|number| {
                    let mut client = server.connect();
                    scope.spawn(move || {
                        let replies = (0..600)
                            .map(|_| client.command(&["INCR", &format!("counter:{number}")]).to_string());
                        replies.filter(|reply| !reply.starts_with("-LOADING")).count() as i64
                    })
                })
                .collect();
            for _ in 0..5 {
                assert_eq!(client.command(&["DEBUG", "LOADAOF"]).to_string(), "+OK");
            }
            writers.into_iter().map(|writer| writer.join().expect("no panic")).collect()
        });
        for (number, count) in counts.iter().enumerate() {
            let value = client.command(&["GET", &format!("counter:{number}")]).to_text();
            assert_eq!(value, count.to_string(), "{shards} shards");
        }
    }
}

#[test]
fn nothing_to_load_keeps_the_data() {
    let server = Server::pinion(2);
    let mut client = server.connect();
    client.command(&["SET", "a", "1"]);
    assert!(client.command(&["DEBUG", "LOADAOF"]).to_string().starts_with("-ERR"));
    assert_eq!(client.command(&["GET", "a"]).to_text(), "1");
}

/// As redis-server does it, but that a key which comes twice does not end the server.
#[test]
fn the_options_of_reload() {
    for shards in SHARD_COUNTS {
        let server = Server::pinion(shards);
        let mut client = server.connect();
        let mut expect = |words: &[&str], reply: &str| {
            let got = client.command(words).to_string();
            assert!(got.starts_with(reply), "{words:?}: {got}, {shards} shards");
        };
        expect(&["DEBUG", "RELOAD", "NOSAVE"], "-ERR Error trying to load the RDB dump");
        expect(&["MSET", "a", "1", "b", "1", "c", "1"], "+OK");
        expect(&["DEBUG", "RELOAD"], "+OK");
        assert!(server.directory().join("dump.rdb").exists());
        expect(&["SET", "a", "2"], "+OK");
        expect(&["SET", "new", "2"], "+OK");
        expect(&["DEBUG", "RELOAD", "NOSAVE", "NOFLUSH"], "-ERR Error trying to load the RDB dump");
        expect(&["DEBUG", "RELOAD", "nosave", "noflush", "merge"], "+OK");
        expect(&["EXISTS", "a", "b", "c", "new"], ":4");
        expect(&["INCR", "a"], ":2");
        expect(&["DEBUG", "RELOAD", "NOSAVE"], "+OK");
        expect(&["EXISTS", "new"], ":0");
        expect(&["DBSIZE"], ":3");
        expect(
            &["DEBUG", "RELOAD", "WRONG"],
            "-ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE",
        );
        expect(&["MULTI"], "+OK");
        expect(&["DEBUG", "RELOAD"], "+QUEUED");
        expect(&["INCR", "a"], "+QUEUED");
        expect(&["EXEC"], "");
        expect(&["GET", "a"], "");
        expect(&["INCR", "a"], ":3");
    }
}
