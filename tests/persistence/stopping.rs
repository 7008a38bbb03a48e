//! The end of the server: what is saved, and that nothing acknowledged is missing from it.

use crate::support::{Program, SHARD_COUNTS, Server};
use crate::*;

fn signal(server: &Server, name: &str) {
    let sent = Command::new("kill").args([name, &server.pid().to_string()]).status().expect("kill is there");
    assert!(sent.success());
}

#[test]
fn shutdown_and_signals_save_as_configured() {
    type End = fn(&Server, &mut Client);
    let ends: [(&[&str], End, bool); 8] = [
        (&["--save", "3600 1"], |server, _| signal(server, "-TERM"), true),
        (&["--save", "3600 1"], |server, _| signal(server, "-INT"), true),
        (&["--save", ""], |server, _| signal(server, "-TERM"), false),
        (&["--save", "", "--shutdown-on-sigterm", "save"], |server, _| signal(server, "-TERM"), true),
        (
            &["--save", "3600 1", "--shutdown-on-sigterm", "nosave"],
            |server, _| signal(server, "-TERM"),
            false,
        ),
        (&["--save", ""], |_, client| client.send(&["SHUTDOWN", "SAVE"]), true),
        (&["--save", "3600 1"], |_, client| client.send(&["SHUTDOWN", "NOSAVE"]), false),
        (&["--save", "3600 1"], |_, client| client.send(&["SHUTDOWN"]), true),
    ];
    for (number, (flags, end, saves)) in ends.into_iter().enumerate() {
        let shards = SHARD_COUNTS[number % 2];
        let mut server = Server::start(Program::Pinion { shards }, flags);
        let mut client = server.connect();
        client.command(&["MSET", "a", "1", "b", "2", "c", "3"]);
        end(&server, &mut client);
        assert!(server.wait_for_exit(PATIENCE).success(), "{flags:?}");
        assert_eq!(client.receive_until_closed(), b"", "{flags:?}");
        let dump = server.directory().join("dump.rdb");
        assert_eq!(dump.exists(), saves, "{flags:?}: {}", server.log());
        if saves {
            assert_eq!(redis_with(&dump).connect().command(&["DBSIZE"]).to_string(), ":3");
        }
    }
}

/// Clients that count get no answer for what the last snapshot does not have.
#[test]
fn nothing_acknowledged_is_missing_after_shutdown() {
    for shards in SHARD_COUNTS {
        for round in 0..3 {
            let mut server = Server::start(Program::Pinion { shards }, &["--save", "3600 1"]);
            let counted: Vec<i64> = std::thread::scope(|scope| {
                let counters: Vec<_> = (0..6)
                    .map(|number| {
                        let mut client = server.connect();
                        scope.spawn(move || {
                            let key = format!("counter:{number}");
                            let mut last = 0;
                            while client.try_send_raw(&support::encode(&["INCR", &key])).is_ok()
                                && let Ok(reply) = client.try_receive()
                            {
                                last = reply.as_integer().expect("INCR counts");
                            }
                            last
                        })
                    })
                    .collect();
                let mut client = server.connect();
                // Some are under way by now, on every core.
                wait_until("they count", || {
                    (0..6).all(|number| !client.command(&["GET", &format!("counter:{number}")]).is_null())
                });
                if round == 0 {
                    signal(&server, "-TERM")
                } else {
                    client.send(&["SHUTDOWN"])
                }
                counters.into_iter().map(|counter| counter.join().expect("counts")).collect()
            });
            assert!(server.wait_for_exit(PATIENCE).success());
            let redis = redis_with(&server.directory().join("dump.rdb"));
            let mut judge = redis.connect();
            for (number, counted) in counted.into_iter().enumerate() {
                let saved = judge.command(&["GET", &format!("counter:{number}")]).to_text();
                let saved: i64 = saved.parse().expect("a number");
                assert!(saved >= counted, "{shards} shards: {counted} was acknowledged, {saved} is saved");
            }
        }
    }
}

/// A server that cannot save does not end, unless it is forced to.
#[test]
fn a_save_that_fails_keeps_the_server_alive() {
    for shards in SHARD_COUNTS {
        let mut server = Server::start(Program::Pinion { shards }, &["--save", "3600 1"]);
        let mut client = server.connect();
        client.command(&["SET", "a", "1"]);
        std::fs::create_dir(server.directory().join("dump.rdb")).expect("made");
        assert_eq!(client.command(&["SHUTDOWN"]).to_string(), "-ERR Errors trying to SHUTDOWN. Check logs.");
        signal(&server, "-TERM");
        wait_until("the signal was heard", || server.log().matches("can't exit").count() == 2);
        assert_eq!(client.command(&["GET", "a"]).to_text(), "1");
        client.send(&["SHUTDOWN", "SAVE", "FORCE"]);
        assert!(server.wait_for_exit(PATIENCE).success());
    }
}

/// The end of the server is the end of its child, whose file goes.
#[test]
fn a_child_does_not_outlive_its_server() {
    for end in ["NOSAVE", "SAVE"] {
        let mut server = Server::pinion(2);
        let mut client = server.connect();
        client.command(&["SET", "a", "1"]);
        client.command(&["CONFIG", "SET", "rdb-key-save-delay", "10000000"]);
        assert_eq!(client.command(&["BGSAVE"]).to_string(), "+Background saving started");
        wait_until("it writes", || !files_named(server.directory(), "temp-").is_empty());
        client.command(&["CONFIG", "SET", "rdb-key-save-delay", "0"]);
        client.send(&["SHUTDOWN", end]);
        assert!(server.wait_for_exit(PATIENCE).success());
        assert!(server.log().contains("There is a child saving an .rdb. Killing it!"));
        assert_eq!(files_named(server.directory(), "temp-"), Vec::<String>::new());
        assert_eq!(server.directory().join("dump.rdb").exists(), end == "SAVE");
    }
}
