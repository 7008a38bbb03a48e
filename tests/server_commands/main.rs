//! The commands about the server itself, over a socket: INFO, CONFIG, SLOWLOG, LATENCY, MEMORY, DEBUG, SHUTDOWN.
//! With one core and with several; where Redis's reply is a fact of its own, beside redis-server.

#[path = "../support/mod.rs"]
mod support;

use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::time::Duration;
use support::{Client, Program, Server, Value, on_each_shard_count};

fn info(client: &mut Client, section: &str) -> String {
    client.command(&["INFO", section]).to_text()
}

/// The value of a line of INFO.
fn field(client: &mut Client, section: &str, name: &str) -> String {
    let text = info(client, section);
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("{name} is not in {text}")).to_owned()
}

fn number(client: &mut Client, section: &str, name: &str) -> u64 {
    field(client, section, name).parse().expect("a count")
}

fn ok(client: &mut Client, argv: &[&str]) {
    assert_eq!(client.command(argv).to_string(), "+OK", "{argv:?}");
}

fn refused(client: &mut Client, argv: &[&str], text: &str) {
    assert_eq!(client.command(argv).to_string(), format!("-{text}"), "{argv:?}");
}

/// Names of the lines of each section.
fn shape(client: &mut Client) -> Vec<(String, Vec<String>)> {
    let text = info(client, "everything");
    let mut sections: Vec<(String, Vec<String>)> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        match line.strip_prefix("# ") {
            Some(title) => sections.push((title.to_owned(), Vec::new())),
            None => {
                let name = line.split(':').next().unwrap_or_default().to_owned();
                sections.last_mut().expect("a title comes first").1.push(name);
            }
        }
    }
    sections
}

#[test]
fn info_has_every_line_that_redis_has_in_its_order() {
    /// Their lines are named after what was called, or is stored.
    const VARYING: [&str; 4] = ["Commandstats", "Errorstats", "Latencystats", "Keyspace"];
    let expected = shape(&mut Server::redis().connect());
    on_each_shard_count(|server| {
        let ours = shape(&mut server.connect());
        let titles = |sections: &[(String, Vec<String>)]| -> Vec<String> {
            sections.iter().map(|(title, _)| title.clone()).collect()
        };
        assert_eq!(titles(&ours[..expected.len()]), titles(&expected));
        assert_eq!(titles(&ours[expected.len()..]), ["Cores"], "our own come last");
        for ((title, names), (_, expected)) in ours.iter().zip(&expected) {
            if VARYING.contains(&title.as_str()) {
                continue;
            }
            let known: Vec<&String> = names.iter().filter(|name| expected.contains(name)).collect();
            assert_eq!(known, expected.iter().collect::<Vec<_>>(), "{title}");
        }
    });
}

#[test]
fn info_adds_the_cores_up() {
    on_each_shard_count(|server| {
        let mut client = server.connect();
        for index in 0..100 {
            ok(&mut client, &["SET", &format!("key:{index}"), "value"]);
        }
        ok(&mut client, &["SELECT", "3"]);
        ok(&mut client, &["SET", "other", "value"]);
        for index in 0..10 {
            client.command(&["GET", &format!("missing:{index}")]);
        }
        client.command(&["GET", "other"]);
        assert_eq!(field(&mut client, "keyspace", "db0"), "keys=100,expires=0,avg_ttl=0");
        assert_eq!(field(&mut client, "keyspace", "db3"), "keys=1,expires=0,avg_ttl=0");
        assert_eq!(number(&mut client, "stats", "keyspace_hits"), 1);
        assert_eq!(number(&mut client, "stats", "keyspace_misses"), 10);
        assert_eq!(number(&mut client, "persistence", "rdb_changes_since_last_save"), 101);
        let calls = field(&mut client, "commandstats", "cmdstat_set");
        assert!(calls.starts_with("calls=101,usec="), "{calls}");
        assert!(field(&mut client, "latencystats", "latency_percentiles_usec_set").starts_with("p50="));
        client.command(&["SET", "k"]);
        client.command(&["NOSUCH"]);
        assert_eq!(field(&mut client, "errorstats", "errorstat_ERR"), "count=2");
        assert!(
            field(&mut client, "commandstats", "cmdstat_set").contains("rejected_calls=1,failed_calls=0")
        );

        ok(&mut client, &["CONFIG", "RESETSTAT"]);
        assert_eq!(number(&mut client, "stats", "keyspace_misses"), 0);
        assert_eq!(info(&mut client, "errorstats"), "# Errorstats\r\n");
        assert!(!info(&mut client, "commandstats").contains("cmdstat_set"));
        assert_eq!(field(&mut client, "keyspace", "db0"), "keys=100,expires=0,avg_ttl=0");
    });
}

#[test]
fn what_is_used_shows_in_the_memory_and_goes_again() {
    on_each_shard_count(|server| {
        let mut client = server.connect();
        let before = number(&mut client, "memory", "used_memory");
        ok(&mut client, &["DEBUG", "POPULATE", "64", "big", "1000000"]);
        let full = number(&mut client, "memory", "used_memory");
        assert!(full > before + 60_000_000, "{before} then {full}");
        ok(&mut client, &["DEBUG", "POPULATE", "64", "big", "1"]);
        assert_eq!(client.command(&["GET", "big:63"]).to_text().len(), 1_000_000, "what exists stays");
        let usage = client.command(&["MEMORY", "USAGE", "big:63"]).as_integer().expect("it exists");
        assert!(usage > 1_000_000, "{usage}");
        assert_eq!(client.command(&["MEMORY", "USAGE", "nosuch"]), Value::NullBulk);
        for index in 0..64 {
            ok(&mut client, &["SET", &format!("big:{index}"), ""]);
        }
        assert!(number(&mut client, "memory", "used_memory") < full - 60_000_000);
        assert!(number(&mut client, "memory", "used_memory_peak") >= full);
        ok(&mut client, &["MEMORY", "PURGE"]);
    });
}

#[test]
fn a_setting_holds_on_every_core_once_it_is_confirmed() {
    on_each_shard_count(|server| {
        let mut clients: Vec<Client> = (0..8).map(|_| server.connect()).collect();
        let pairs = ["CONFIG", "SET", "slowlog-log-slower-than", "0", "slowlog-max-len", "5"];
        ok(&mut clients[0], &pairs);
        for client in &mut clients {
            assert_eq!(
                client.command(&["CONFIG", "GET", "slowlog-max-len"]).to_string(),
                r#"["slowlog-max-len", "5"]"#
            );
            client.command(&["PING", "a"]);
        }
        // All of them were slow enough, wherever they ran; the newest five are kept.
        let Value::Array(entries) = clients[0].command(&["SLOWLOG", "GET", "-1"]) else { panic!("a list") };
        let ids: Vec<i64> = entries
            .iter()
            .map(|entry| match entry {
                Value::Array(fields) => fields[0].as_integer().expect("an id"),
                other => panic!("{other}"),
            })
            .collect();
        assert_eq!(ids.len(), 5);
        assert!(ids.windows(2).all(|pair| pair[0] > pair[1]), "{ids:?}");
        assert_eq!(clients[0].command(&["SLOWLOG", "LEN"]), Value::Integer(5));
        ok(&mut clients[0], &["CONFIG", "SET", "slowlog-log-slower-than", "-1"]);
        ok(&mut clients[0], &["SLOWLOG", "RESET"]);
        assert_eq!(clients[0].command(&["SLOWLOG", "LEN"]), Value::Integer(0));
    });
}

#[test]
fn config_set_changes_all_or_nothing() {
    on_each_shard_count(|server| {
        let mut client = server.connect();
        let reason = "argument couldn't be parsed into an integer";
        refused(
            &mut client,
            &["CONFIG", "SET", "hz", "50", "timeout", "x"],
            &format!("ERR CONFIG SET failed (possibly related to argument 'timeout') - {reason}"),
        );
        assert_eq!(client.command(&["CONFIG", "GET", "hz"]).to_string(), r#"["hz", "10"]"#);
        refused(&mut client, &["CONFIG", "SET", "hz", "50", "x"], "ERR syntax error");
        refused(
            &mut client,
            &["CONFIG", "SET", "databases", "3"],
            "ERR CONFIG SET failed (possibly related to argument 'databases') - can't set immutable config",
        );
        refused(
            &mut client,
            &["CONFIG", "SET", "dir", "/nosuch"],
            "ERR CONFIG SET failed (possibly related to argument 'dir') - No such file or directory",
        );
        let impossible = client.command(&["CONFIG", "SET", "maxclients", "4000000000"]).to_text();
        assert!(impossible.contains("The operating system is not able to handle"), "{impossible}");
        assert_eq!(
            client.command(&["CONFIG", "GET", "maxclients"]).to_string(),
            r#"["maxclients", "10000"]"#
        );
    });
}

#[test]
fn the_port_and_the_addresses_change_while_connections_stay() {
    for shards in support::SHARD_COUNTS {
        let server = Server::start(Program::Pinion { shards }, &["--bind", "127.0.0.1"]);
        let mut client = server.connect();
        // Redis's own helper for a port that is free a moment ago.
        let free =
            std::net::TcpListener::bind("127.0.0.1:0").expect("there is one").local_addr().expect("bound");
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("there is one");
        let second = std::net::SocketAddr::from(([127, 0, 0, 2], server.port()));
        ok(&mut client, &["CONFIG", "SET", "bind", "127.0.0.1 127.0.0.2"]);
        assert_eq!(server.connect().command(&["PING"]).to_string(), "+PONG", "the address stays");
        let mut other = Client::connect(second).expect("the address came");
        assert_eq!(other.command(&["PING"]).to_string(), "+PONG");
        ok(&mut client, &["CONFIG", "SET", "port", &free.port().to_string()]);
        assert_eq!(field(&mut client, "server", "tcp_port"), free.port().to_string());
        let mut moved = Client::connect(free).expect("it listens there now");
        assert_eq!(moved.command(&["PING"]).to_string(), "+PONG");
        let taken = taken.local_addr().expect("bound").port().to_string();
        refused(
            &mut client,
            &["CONFIG", "SET", "hz", "20", "port", &taken],
            "ERR CONFIG SET failed (possibly related to argument 'port') - Unable to listen on this port. Check \
             server logs.",
        );
        refused(
            &mut client,
            &["CONFIG", "SET", "bind", "999.999.999.999"],
            "ERR CONFIG SET failed (possibly related to argument 'bind') - Failed to bind to specified addresses.",
        );
        assert_eq!(client.command(&["CONFIG", "GET", "hz"]).to_string(), r#"["hz", "10"]"#);
        assert!(Client::connect(free).is_ok(), "still there");
        let old = server.address();
        assert!(
            (0..100).any(|_| {
                client.command(&["PING"]);
                std::net::TcpStream::connect(old).is_err()
            }),
            "the old port is closed"
        );
    }
}

#[test]
fn config_rewrite_needs_a_file() {
    let server = Server::pinion(1);
    refused(&mut server.connect(), &["CONFIG", "REWRITE"], "ERR The server is running without a config file");
}

#[test]
fn a_password_is_wanted_from_those_who_come_later() {
    on_each_shard_count(|server| {
        let mut client = server.connect();
        ok(&mut client, &["CONFIG", "SET", "requirepass", "secret"]);
        ok(&mut client, &["SET", "k", "v"]);
        for _ in 0..5 {
            refused(&mut server.connect(), &["GET", "k"], "NOAUTH Authentication required.");
        }
        ok(&mut client, &["CONFIG", "SET", "requirepass", ""]);
        assert_eq!(server.connect().command(&["GET", "k"]).to_string(), r#""v""#);
    });
}

#[test]
fn debug_sleep_stops_all_cores_and_is_a_latency_spike() {
    on_each_shard_count(|server| {
        let mut client = server.connect();
        let mut others: Vec<Client> = (0..4).map(|_| server.connect()).collect();
        ok(
            &mut client,
            &["CONFIG", "SET", "latency-monitor-threshold", "100", "slowlog-log-slower-than", "100000"],
        );
        let start = std::time::Instant::now();
        client.send(&["DEBUG", "SLEEP", "0.3"]);
        // The first of them may have been served before the sleep began; all together cannot.
        while start.elapsed() < Duration::from_millis(300) {
            others.iter_mut().for_each(|other| assert_eq!(other.command(&["PING"]).to_string(), "+PONG"));
        }
        assert_eq!(client.receive().to_string(), "+OK");
        assert!(start.elapsed() >= Duration::from_millis(300));
        let Value::Array(events) = client.command(&["LATENCY", "LATEST"]) else { panic!("a list") };
        assert!(events[0].to_string().starts_with(r#"["command", "#), "{}", events[0]);
        assert!(client.command(&["LATENCY", "GRAPH", "command"]).to_text().starts_with("command - high 3"));
        assert!(client.command(&["LATENCY", "DOCTOR"]).to_text().contains("1. command: 1 latency spikes"));
        let Value::Array(slow) = client.command(&["SLOWLOG", "GET"]) else { panic!("a list") };
        assert!(slow[0].to_string().contains(r#"["DEBUG", "SLEEP", "0.3"]"#), "{}", slow[0]);
        assert_eq!(client.command(&["LATENCY", "RESET"]), Value::Integer(1));
        assert_eq!(client.command(&["LATENCY", "HISTORY", "command"]).to_string(), "[]");
        let Value::Array(histogram) = client.command(&["LATENCY", "HISTOGRAM", "debug", "nosuch"]) else {
            panic!("a map")
        };
        assert_eq!(histogram[0].to_text(), "debug");
    });
}

#[test]
fn equal_data_have_the_digest_that_redis_gives_them() {
    let redis = Server::redis();
    let mut reference = redis.connect();
    let fill = |client: &mut Client| {
        for index in 0..50 {
            ok(client, &["SET", &format!("key:{index}"), &format!("{}", index * 7919 % 13)]);
        }
        ok(client, &["SELECT", "9"]);
        ok(client, &["DEBUG", "POPULATE", "200", "filled", "100"]);
    };
    fill(&mut reference);
    let expected = reference.command(&["DEBUG", "DIGEST"]);
    let values = ["DEBUG", "DIGEST-VALUE", "filled:1", "nosuch", "filled:199"];
    let expected_values = reference.command(&values);
    on_each_shard_count(|server| {
        let mut client = server.connect();
        assert_eq!(client.command(&["DEBUG", "DIGEST"]).to_text(), "0".repeat(40));
        fill(&mut client);
        assert_eq!(client.command(&["DEBUG", "DIGEST"]), expected);
        assert_eq!(client.command(&values), expected_values);
        ok(&mut client, &["DEBUG", "RELOAD"]);
        assert_eq!(client.command(&["DEBUG", "DIGEST"]), expected);
    });
}

#[test]
fn debug_is_for_those_it_is_enabled_for() {
    let server = Server::start(Program::Pinion { shards: 2 }, &["--enable-debug-command", "no"]);
    let text = server.connect().command(&["DEBUG", "JMAP"]).to_text();
    assert!(text.starts_with("ERR DEBUG command not allowed."), "{text}");
}

/// Replies that hold no time, address or size, in both protocols.
#[test]
fn replies_are_those_of_redis() {
    const COMMANDS: &[&str] = &[
        "INFO nosuch",
        "INFO cluster",
        "INFO modules",
        "CONFIG GET maxmemory",
        "CONFIG GET nosuch",
        "CONFIG GET MaxMemory",
        "CONFIG GET",
        "CONFIG SET maxmemory",
        "CONFIG SET nosuch 1",
        "CONFIG nosuch",
        "CONFIG RESETSTAT",
        "SLOWLOG GET x",
        "SLOWLOG GET -2",
        "SLOWLOG GET 1 2",
        "SLOWLOG nosuch",
        "LATENCY LATEST",
        "LATENCY HISTORY command",
        "LATENCY GRAPH nosuch",
        "LATENCY RESET a b",
        "LATENCY HISTOGRAM nosuch",
        "MEMORY USAGE k SAMPLES -1",
        "MEMORY USAGE k SAMPLES x",
        "MEMORY USAGE k foo 1",
        "MEMORY USAGE nosuch SAMPLES 0",
        "MEMORY nosuch",
        "TIME x",
        "LOLWUT VERSION x",
        "ROLE",
        "REPLICAOF NO ONE",
        "SLAVEOF no one",
        "REPLICAOF host x",
        "SHUTDOWN NOSAVE SAVE",
        "SHUTDOWN ABORT NOW",
        "SHUTDOWN ABORT",
        "SHUTDOWN x",
        "BGSAVE x",
        "FUNCTION LIST",
        "FUNCTION LIST x",
        "FUNCTION LIST LIBRARYNAME",
        "FUNCTION FLUSH",
        "FUNCTION FLUSH x",
        "FUNCTION FLUSH SYNC ASYNC",
        "FUNCTION DUMP",
        "FUNCTION KILL",
        "FUNCTION DELETE x",
        "DEBUG",
        "DEBUG nosuch",
        "DEBUG OBJECT nosuch",
        "DEBUG SLEEP",
        "DEBUG SLEEP 0",
        "DEBUG SET-ACTIVE-EXPIRE 1",
        "DEBUG CHANGE-REPL-ID",
        "DEBUG POPULATE x",
        "DEBUG ERROR MYERROR",
        "DEBUG RELOAD x",
        "DEBUG HTSTATS 99",
        "DEBUG HTSTATS-KEY nosuch",
        "DEBUG LISTPACK nosuch",
        "DEBUG QUICKLIST-PACKED-THRESHOLD 100b",
        "DEBUG QUICKLIST-PACKED-THRESHOLD x",
        "DEBUG PROTOCOL string",
        "DEBUG PROTOCOL integer",
        "DEBUG PROTOCOL double",
        "DEBUG PROTOCOL bignum",
        "DEBUG PROTOCOL null",
        "DEBUG PROTOCOL array",
        "DEBUG PROTOCOL set",
        "DEBUG PROTOCOL map",
        "DEBUG PROTOCOL attrib",
        "DEBUG PROTOCOL verbatim",
        "DEBUG PROTOCOL true",
        "DEBUG PROTOCOL false",
        "DEBUG PROTOCOL x",
    ];
    let redis = Server::redis();
    on_each_shard_count(|server| {
        let ours = [server.connect(), server.connect_resp3()];
        let references = [redis.connect(), redis.connect_resp3()];
        for (mut client, mut reference) in ours.into_iter().zip(references) {
            for line in COMMANDS {
                let argv: Vec<&str> = line.split(' ').collect();
                client.send(&argv);
                reference.send(&argv);
                let (got, expected) = (client.receive_raw(), reference.receive_raw());
                assert_eq!(got.escape_ascii().to_string(), expected.escape_ascii().to_string(), "{line}");
            }
        }
    });
}

#[test]
fn shutdown_ends_the_process() {
    for shards in [1, 4] {
        let mut server = Server::pinion(shards);
        let mut client = server.connect();
        // A directory is in the way of the file.
        let file = server.directory().join("dump.rdb");
        std::fs::create_dir(&file).expect("the directory is the server's");
        refused(&mut client, &["SHUTDOWN", "SAVE"], "ERR Errors trying to SHUTDOWN. Check logs.");
        client.send(&["SHUTDOWN", "NOSAVE"]);
        assert_eq!(client.receive_until_closed(), b"");
        assert!(server.wait_for_exit(Duration::from_secs(10)).success());
        assert!(file.is_dir());
    }
}

/// `crash-log-enabled`: redis-server has the same line.
#[test]
fn a_crash_is_told_in_the_log() {
    for program in [Program::Redis, Program::Pinion { shards: 1 }, Program::Pinion { shards: 4 }] {
        for enabled in ["yes", "no"] {
            let mut server = Server::start(program, &["--logfile", "the.log", "--crash-log-enabled", "yes"]);
            ok(&mut server.connect(), &["CONFIG", "SET", "crash-log-enabled", enabled]);
            let sent = Command::new("kill").args(["-SEGV", &server.pid().to_string()]).status();
            assert!(sent.expect("kill is there").success());
            let status = server.wait_for_exit(Duration::from_secs(20));
            assert_eq!(status.signal(), Some(11), "{program:?}");
            let log = std::fs::read_to_string(server.directory().join("the.log")).expect("it is there");
            assert_eq!(log.contains("crashed by signal: 11"), enabled == "yes", "{program:?}: {log}");
        }
    }
}
