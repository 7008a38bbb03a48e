//! The test support itself, against the reference: what the other test crates trust must be able to fail here.

mod support;

use std::time::Duration;

use support::{Program, Server, Value, encode};

#[test]
fn every_type_of_reply_is_read_whole_or_not_at_all() {
    let cases: &[(&[u8], &str)] = &[
        (b"+OK\r\n", "+OK"),
        (b"-ERR no\r\n", "-ERR no"),
        (b":-42\r\n", ":-42"),
        (b"$5\r\na\r\nbc\r\n", r#""a\r\nbc""#),
        (b"$0\r\n\r\n", r#""""#),
        (b"$-1\r\n", "nil"),
        (b"*-1\r\n", "nil array"),
        (b"*0\r\n", "[]"),
        (b"*2\r\n:1\r\n*1\r\n$1\r\nx\r\n", r#"[:1, ["x"]]"#),
        (b"_\r\n", "null"),
        (b"#t\r\n", "#true"),
        (b",1.5\r\n", ",1.5"),
        (b"(123456789012345678901234567890\r\n", "(123456789012345678901234567890"),
        (b"!5\r\nERR x\r\n", "!ERR x"),
        (b"=7\r\ntxt:abc\r\n", "=txt:abc"),
        (b"%1\r\n+a\r\n:1\r\n", "{+a: :1}"),
        (b"~1\r\n:1\r\n", "~[:1]"),
        (b">1\r\n+x\r\n", ">[+x]"),
        (b"|1\r\n+a\r\n:1\r\n+OK\r\n", "|{+a: :1} +OK"),
    ];
    for (bytes, shown) in cases {
        for length in 0..bytes.len() {
            assert_eq!(Value::parse(&bytes[..length]), None, "{} bytes of {shown}", length);
        }
        let followed = [bytes, &b"+NEXT\r\n"[..]].concat();
        let (value, length) = Value::parse(&followed).expect("the reply is complete");
        assert_eq!((value.to_string().as_str(), length), (*shown, bytes.len()));
    }
}

#[test]
fn the_reference_answers_in_both_protocols_and_over_both_sockets() {
    let server = Server::redis();
    let mut client = server.connect();
    assert_eq!(client.command(&["SET", "key", "value"]).to_string(), "+OK");
    assert_eq!(client.command(&["GET", "absent"]), Value::NullBulk);
    assert_eq!(server.connect_resp3().command(&["GET", "absent"]), Value::Null);
    assert_eq!(server.connect_unix().command(&["GET", "key"]).to_string(), r#""value""#);

    let replies = client.pipeline(&[vec!["INCR", "n"], vec!["INCR", "key"], vec!["INCR", "n"]]);
    assert_eq!(
        replies.iter().map(Value::to_string).collect::<Vec<_>>(),
        [":1", "-ERR value is not an integer or out of range", ":2"]
    );
}

#[test]
fn bytes_go_out_and_come_back_as_they_are() {
    let server = Server::redis();
    let mut client = server.connect();
    let (first, second) = (&encode(&["ECHO", "x"])[..7], &encode(&["ECHO", "x"])[7..]);
    client.send_raw(first);
    assert!(client.is_silent_for(Duration::from_millis(20)));
    client.send_raw(second);
    assert_eq!(client.receive_raw(), b"$1\r\nx\r\n");
    client.send_raw(b"*1\r\n$zz\r\n");
    assert_eq!(client.receive_until_closed(), b"-ERR Protocol error: invalid bulk length\r\n");
}

#[test]
fn flags_reach_the_server_and_it_can_end_and_start_again() {
    let mut server = Server::start(Program::Redis, &["--requirepass", "secret"]);
    let denied = server.connect().command(&["GET", "key"]);
    assert_eq!(denied.to_string(), "-NOAUTH Authentication required.");
    server.restart();
    let mut client = server.connect();
    assert_eq!(client.command(&["AUTH", "secret"]).to_string(), "+OK");
    client.send(&["SHUTDOWN", "NOSAVE"]);
    assert!(server.wait_for_exit(Duration::from_secs(10)).success());
}

/// The port of a killed server is free until it is there again, and other tests' servers take any free port. One was taken for
/// the restarted server once, and its data for data that were lost.
#[test]
fn a_stranger_on_the_port_is_not_taken_for_the_server() {
    let mut server = Server::pinion(1);
    server.kill();
    // The kernel lets go of a killed process's ring a moment after the process.
    let listener = std::iter::repeat_with(|| std::net::TcpListener::bind(server.address()))
        .inspect(|bound| std::thread::sleep(Duration::from_millis(u64::from(bound.is_err()))))
        .take(1000)
        .find_map(Result::ok)
        .expect("nobody listens there any more");
    let log = server.directory().join("log");
    let stranger = std::thread::spawn(move || {
        listener.set_nonblocking(true).expect("a listener can be so");
        // Until the server has found the port taken.
        while !std::fs::read_to_string(&log).expect("it is there").contains("Address already in use") {
            if let Ok((mut stream, _)) = listener.accept() {
                std::io::Write::write_all(&mut stream, b"+PONG\r\n").expect("who asks is still there");
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    server.restart();
    stranger.join().expect("the stranger was polite");
    let info = server.connect().command(&["INFO", "server"]).to_text();
    assert!(info.contains(&format!("process_id:{}\r\n", server.pid())), "{info}");
}
