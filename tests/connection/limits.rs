//! Why the server closes a connection on its own, and what it says about that.

use crate::monitor::shown;
use crate::support::{Client, Program, Server};

fn pinion(flags: &[&str]) -> Server {
    let flags: Vec<&str> = flags.iter().copied().chain(["--loglevel", "verbose"]).collect();
    Server::start(Program::Pinion { shards: 2 }, &flags)
}

#[test]
fn a_protocol_error_is_answered_and_logged() {
    let server = pinion(&[]);
    let mut client = server.connect();
    client.send_raw(b"PING\r\n*1\r\n+nonsense\x01\r\nPING\r\n");
    let replies = client.receive_until_closed();
    assert_eq!(String::from_utf8_lossy(&replies), "+PONG\r\n-ERR Protocol error: expected '$', got '+'\r\n");
    let log = server.log();
    let line = log.lines().find(|line| line.contains("Protocol error")).expect("it is logged");
    assert!(line.contains("Protocol error (expected '$', got '+') from client: id="), "{line}");
    assert!(line.ends_with("+nonsense...PING..'"), "{line}");
}

#[test]
fn connections_beyond_maxclients_are_told_so() {
    let server = pinion(&["--maxclients", "4"]);
    // What the start of the server left behind has gone when all of these are served.
    let served = |client: &mut Client| {
        client.send(&["PING"]);
        client.receive_raw() == b"+PONG\r\n"
    };
    let mut clients: Vec<Client> = Vec::new();
    while clients.len() < 4 {
        let mut client = server.connect();
        if served(&mut client) {
            clients.push(client);
        }
    }
    let refused = server.connect().receive_until_closed();
    assert_eq!(String::from_utf8_lossy(&refused), "-ERR max number of clients reached\r\n");
    assert_eq!(clients[0].command(&["PING"]).to_string(), "+PONG");
}

#[test]
fn an_idle_client_is_closed_but_not_a_monitor() {
    let server = pinion(&["--timeout", "1"]);
    let mut monitor = server.connect();
    monitor.send(&["MONITOR"]);
    assert_eq!(monitor.receive().to_string(), "+OK");
    let mut idle = server.connect();
    assert_eq!(idle.receive_until_closed(), b"");
    assert!(server.log().contains("Closing idle client"));
    server.connect().command(&["ECHO", "still there"]);
    assert_eq!(shown(&mut monitor), r#"[0] "ECHO" "still there""#);
}

#[test]
fn a_client_that_does_not_read_is_closed_at_the_hard_limit() {
    let server = pinion(&["--client-output-buffer-limit", "normal", "200000", "0", "0"]);
    let mut client = server.connect();
    client.command(&["SET", "large", &"x".repeat(100_000)]);
    // The kernel's buffers take some of the replies; what is beyond them counts.
    let request = b"GET large\r\n".repeat(1000);
    let sent = client.try_send_raw(&request);
    assert!(sent.is_ok() || sent.is_err(), "the server may close while we send");
    let mut other = server.connect();
    while other.command(&["CLIENT", "LIST"]).to_text().lines().count() > 1 {}
    let log = server.log();
    let line = log.lines().find(|line| line.contains("output buffer limits")).expect("it is logged");
    assert!(line.contains("Client id=") && line.contains(" scheduled to be closed ASAP"), "{line}");
}

#[test]
fn an_endless_request_is_closed_at_the_query_limit() {
    let server = pinion(&["--client-query-buffer-limit", "1mb"]);
    let mut client = server.connect();
    let mut bytes = b"*1\r\n$100000000\r\n".to_vec();
    bytes.resize(3 << 20, b'x');
    let sent = client.try_send_raw(&bytes);
    assert!(sent.is_ok() || sent.is_err(), "the server may close while we send");
    let mut other = server.connect();
    while other.command(&["CLIENT", "LIST"]).to_text().lines().count() > 1 {}
    let log = server.log();
    let line = log.lines().find(|line| line.contains("max query buffer length")).expect("it is logged");
    assert!(line.contains(r#"(qbuf initial bytes: "*1\r\n$100000000\r\nxxx"#), "{line}");
}
