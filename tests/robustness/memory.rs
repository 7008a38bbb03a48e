//! Large values, and clients that ask for more than they read.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::{Program, SHARD_COUNTS, Server, on_each_shard_count};
use crate::witness::{Witness, eventually, info, resident_bytes};

const MEGABYTE: usize = 1 << 20;

#[test]
fn a_value_of_300_megabytes_goes_in_and_comes_out() {
    let value_bytes = 300 * MEGABYTE;
    let piece: Vec<u8> = (0..MEGABYTE).map(|index| (index % 251) as u8).collect();
    on_each_shard_count(|server| {
        let witness = Witness::start(server);
        let mut client = server.connect();
        client.send_raw(format!("*3\r\n$3\r\nSET\r\n$5\r\nlarge\r\n${value_bytes}\r\n").as_bytes());
        for _ in 0..300 {
            client.send_raw(&piece);
        }
        client.send_raw(b"\r\n");
        assert_eq!(client.receive().to_string(), "+OK");
        assert_eq!(client.command(&["STRLEN", "large"]).as_integer(), Some(value_bytes as i64));
        let mut reader = TcpStream::connect(server.address()).expect("the server accepts");
        reader.set_read_timeout(Some(Duration::from_secs(60))).expect("not zero");
        reader.write_all(b"GET large\r\n").expect("it is open");
        let mut header = vec![0; format!("${value_bytes}\r\n").len()];
        reader.read_exact(&mut header).expect("the reply comes");
        assert_eq!(header, format!("${value_bytes}\r\n").into_bytes());
        let mut got = vec![0; MEGABYTE];
        for number in 0..300 {
            reader.read_exact(&mut got).expect("all of it comes");
            assert!(got == piece, "megabyte {number}");
        }
        drop(reader);
        assert_eq!(client.command(&["DEL", "large"]).to_string(), ":1");
        witness.finish();
        // The value, its request and its reply: no more than a few copies, all given back.
        eventually("the memory is given back", || resident_bytes(server) < 200 * MEGABYTE as u64);
    });
}

#[test]
fn who_asks_for_much_and_never_reads_is_held_back() {
    on_each_shard_count(|server| {
        let mut setter = server.connect();
        let value = "x".repeat(MEGABYTE);
        // On every shard.
        for key in ["big:1", "big:2", "big:3", "big:4"] {
            assert_eq!(setter.command(&["SET", key, &value]).to_string(), "+OK");
        }
        let before = resident_bytes(server);
        let witness = Witness::start(server);
        let mut silent: Vec<_> = (0..3).map(|_| server.connect()).collect();
        let requests = b"GET big:1\r\nGET big:2\r\nGET big:3\r\nGET big:4\r\n".repeat(1000);
        for client in &mut silent {
            // 44 KB of requests, for which 4 GB of replies would be due.
            client.send_raw(&requests);
        }
        let mut most = 0;
        for _ in 0..200 {
            assert_eq!(setter.command(&["PING"]).to_string(), "+PONG");
            most = most.max(resident_bytes(server).saturating_sub(before));
        }
        assert!(most < 1200 * MEGABYTE as u64, "three silent clients cost {most} bytes");
        // One of them begins to read after all: everything comes, in order.
        let patient = &mut silent[0];
        for number in 0..200 {
            let reply = patient.receive();
            assert_eq!(reply.as_bytes().map(<[u8]>::len), Some(MEGABYTE), "reply {number}");
        }
        drop(silent);
        eventually("they are gone", || info(&mut setter, "connected_clients") == 2);
        witness.finish();
    });
}

#[test]
fn limits_of_query_and_output_close_only_who_exceeds_them() {
    for shards in SHARD_COUNTS {
        let flags = ["--client-output-buffer-limit", "normal 4mb 0 0", "--client-query-buffer-limit", "2mb"];
        let server = Server::start(Program::Pinion { shards }, &flags);
        let mut other = server.connect();
        let value = "x".repeat(MEGABYTE);
        assert_eq!(other.command(&["SET", "big", &value]).to_string(), "+OK");
        let witness = Witness::start(&server);
        for round in 1..=10 {
            let mut greedy = server.connect();
            let sent = greedy.try_send_raw(&b"GET big\r\n".repeat(200));
            assert!(sent.is_ok() || sent.is_err(), "the server may close while we send");
            let mut endless = server.connect();
            let sent = endless.try_send_raw(
                format!("*2\r\n$4\r\nECHO\r\n$9000000\r\n{}", "x".repeat(4 * MEGABYTE)).as_bytes(),
            );
            assert!(sent.is_ok() || sent.is_err(), "the server may close while we send");
            let closed = |other: &mut _, name| info(other, name) == round;
            eventually("the one that does not read is closed", || {
                closed(&mut other, "client_output_buffer_limit_disconnections")
            });
            eventually("the one that does not end is closed", || {
                closed(&mut other, "client_query_buffer_limit_disconnections")
            });
            eventually("the others are left", || info(&mut other, "connected_clients") == 2);
        }
        witness.finish();
    }
}
