//! Deep pipelines: nothing stands still, and replies come in the order of the requests.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::{Server, Value, encode, on_each_shard_count};
use crate::witness::Witness;

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address()).expect("the server accepts");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("not zero");
    stream.set_write_timeout(Some(Duration::from_secs(60))).expect("not zero");
    stream
}

/// Everything is sent before anything is read, as careless scripts do with redis-server.
#[test]
fn a_million_commands_before_the_first_reply_is_read() {
    const COMMANDS: usize = 1_000_000;
    on_each_shard_count(|server| {
        let witness = Witness::start(server);
        let mut stream = connect(server);
        let mut requests = Vec::with_capacity(COMMANDS * 20);
        let mut expected = Vec::with_capacity(COMMANDS * 8);
        for number in 0..COMMANDS {
            match number % 4 {
                0 => write!(requests, "SET m:{} v\r\n", number % 1000).expect("memory"),
                1 => write!(requests, "GET absent:{}\r\n", number % 1000).expect("memory"),
                2 => requests.extend_from_slice(b"PING\r\n"),
                _ => write!(requests, "ECHO {number:07}\r\n").expect("memory"),
            }
            match number % 4 {
                0 => expected.extend_from_slice(b"+OK\r\n"),
                1 => expected.extend_from_slice(b"$-1\r\n"),
                2 => expected.extend_from_slice(b"+PONG\r\n"),
                _ => write!(expected, "$7\r\n{number:07}\r\n").expect("memory"),
            }
        }
        stream.write_all(&requests).expect("the server goes on reading");
        let mut got = vec![0; expected.len()];
        stream.read_exact(&mut got).expect("all replies come");
        let wrong = got.iter().zip(&expected).position(|(got, expected)| got != expected);
        assert_eq!(wrong, None, "the byte from which replies are wrong");
        witness.finish();
    });
}

/// The same where the replies are more than the server keeps for a client at a time, and the requests more than
/// the sockets' buffers hold: neither side may wait for the other.
#[test]
fn large_replies_wait_until_all_requests_are_sent() {
    const COMMANDS: usize = 400_000;
    on_each_shard_count(|server| {
        let mut setter = server.connect();
        let value = "v".repeat(500);
        let keys: Vec<String> = (0..4).map(|number| format!("{}:{number}", "k".repeat(40))).collect();
        for key in &keys {
            assert_eq!(setter.command(&["SET", key, &value]).to_string(), "+OK");
        }
        let witness = Witness::start(server);
        let mut stream = connect(server);
        let requests: Vec<u8> =
            (0..COMMANDS).flat_map(|number| format!("GET {}\r\n", keys[number % 4]).into_bytes()).collect();
        stream.write_all(&requests).expect("the server goes on reading");
        let reply = format!("$500\r\n{value}\r\n").into_bytes();
        let mut received = vec![0; reply.len() * 1000];
        for _ in 0..COMMANDS / 1000 {
            stream.read_exact(&mut received).expect("all replies come");
            assert!(received.chunks(reply.len()).all(|got| got == reply));
        }
        witness.finish();
    });
}

#[test]
fn replies_of_all_shards_keep_the_order_of_the_requests() {
    const COMMANDS: usize = 100_000;
    on_each_shard_count(|server| {
        let witness = Witness::start(server);
        let stream = connect(server);
        let mut reader = stream.try_clone().expect("a descriptor");
        let mut writer = stream;
        let key = |number: usize| format!("order:{}", number % 97);
        let mut requests = Vec::new();
        let mut expected = Vec::new();
        // What each key holds at each moment: effects keep the order as well.
        let mut counters = vec![0; 97];
        for number in 0..COMMANDS {
            let slot = number * 31 % 97;
            match number % 7 {
                0..=2 => {
                    counters[slot] += 1;
                    requests.extend(encode(&["INCR", &key(slot)]));
                    expected.extend(format!(":{}\r\n", counters[slot]).bytes());
                }
                3 => {
                    requests.extend(encode(&["STRLEN", &format!("absent:{number}")]));
                    expected.extend(b":0\r\n");
                }
                4 => {
                    requests.extend(encode(&["ECHO", &number.to_string()]));
                    let text = number.to_string();
                    expected.extend(format!("${}\r\n{text}\r\n", text.len()).bytes());
                }
                5 => {
                    requests.extend(encode(&["EXISTS", "absent:1", "absent:2", "absent:3", "absent:4"]));
                    expected.extend(b":0\r\n");
                }
                _ => {
                    requests.extend(b"NOSUCH\r\n");
                    expected.extend(b"-ERR unknown command 'NOSUCH', with args beginning with: \r\n");
                }
            }
        }
        let sender = std::thread::spawn(move || {
            writer.write_all(&requests).expect("the server goes on reading");
            writer
        });
        let mut got = vec![0; expected.len()];
        reader.read_exact(&mut got).expect("all replies come");
        let wrong = got.iter().zip(&expected).position(|(got, expected)| got != expected);
        if let Some(at) = wrong {
            let around = at.saturating_sub(80)..(at + 80).min(got.len());
            panic!(
                "from byte {at}: {} instead of {}",
                got[around.clone()].escape_ascii(),
                expected[around].escape_ascii()
            );
        }
        drop(sender.join().expect("all was sent"));
        witness.finish();
    });
}

#[test]
fn the_protocol_changes_in_the_middle_of_a_pipeline() {
    on_each_shard_count(|server| {
        let mut client = server.connect();
        let mut requests = Vec::new();
        for _ in 0..500 {
            for request in
                ["GET absent:1", "HELLO 3", "GET absent:2", "GET absent:3", "HELLO 2", "GET absent:4"]
            {
                requests.extend_from_slice(request.as_bytes());
                requests.extend_from_slice(b"\r\n");
            }
        }
        client.send_raw(&requests);
        for round in 0..500 {
            assert_eq!(client.receive(), Value::NullBulk, "round {round}");
            assert!(matches!(client.receive(), Value::Map(_)), "HELLO 3, round {round}");
            assert_eq!(client.receive(), Value::Null, "round {round}");
            assert_eq!(client.receive(), Value::Null, "round {round}");
            assert!(matches!(client.receive(), Value::Array(_)), "HELLO 2, round {round}");
            assert_eq!(client.receive(), Value::NullBulk, "round {round}");
        }
    });
}

/// The sender has nothing more to say, but what it asked is answered to the end.
#[test]
fn a_half_closed_pipeline_is_answered_to_the_end() {
    on_each_shard_count(|server| {
        let mut client = server.connect();
        let value = "x".repeat(100_000);
        for key in ["a", "b", "c", "d"] {
            client.command(&["SET", key, &value]);
        }
        // 200 MB of replies: more than the server keeps for a client at a time.
        let mut stream = connect(server);
        let rounds = 500;
        stream.write_all(&b"GET a\r\nGET b\r\nGET c\r\nGET d\r\n".repeat(rounds)).expect("small");
        stream.shutdown(std::net::Shutdown::Write).expect("it is open");
        let mut received = 0;
        let mut piece = vec![0; 1 << 20];
        loop {
            match stream.read(&mut piece).expect("the replies come") {
                0 => break,
                count => received += count,
            }
        }
        assert_eq!(received, rounds * 4 * (value.len() + "$100000\r\n\r\n".len()));
    });
}
