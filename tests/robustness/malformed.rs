//! Requests that are not: cut off, with wrong lengths, with counts that nobody means.

use crate::support::{Server, on_each_shard_count};
use crate::witness::{Witness, eventually, info, resident_bytes};

const MEGABYTE: u64 = 1 << 20;

/// What is sent, and what comes back before the server closes.
const REFUSED: &[(&[u8], &[u8])] = &[
    (b"*2147483648\r\n", b"-ERR Protocol error: invalid multibulk length\r\n"),
    (b"*99999999999999999999\r\n", b"-ERR Protocol error: invalid multibulk length\r\n"),
    (b"*abc\r\n", b"-ERR Protocol error: invalid multibulk length\r\n"),
    (b"*1\r\n$536870913\r\n", b"-ERR Protocol error: invalid bulk length\r\n"),
    (b"*1\r\n$-1\r\n", b"-ERR Protocol error: invalid bulk length\r\n"),
    (b"*1\r\n$99999999999999999999\r\n", b"-ERR Protocol error: invalid bulk length\r\n"),
    (b"*1\r\n$x\r\n", b"-ERR Protocol error: invalid bulk length\r\n"),
    (b"*1\r\n:4\r\nPING\r\n", b"-ERR Protocol error: expected '$', got ':'\r\n"),
    (b"*2\r\n$4\r\nECHO\r\nx\r\n", b"-ERR Protocol error: expected '$', got 'x'\r\n"),
    // A length that is too short: the rest of the argument stands where the next header should be.
    (b"*2\r\n$3\r\nECHO\r\n$1\r\nx\r\n", b"-ERR Protocol error: expected '$', got '\n'\r\n"),
    (b"SET k \"unbalanced\r\n", b"-ERR Protocol error: unbalanced quotes in request\r\n"),
    (b"'a'b\r\n", b"-ERR Protocol error: unbalanced quotes in request\r\n"),
    // What came before is answered first.
    (
        b"PING\r\n*1\r\n$4\r\nPING\r\n*-x\r\n",
        b"+PONG\r\n+PONG\r\n-ERR Protocol error: invalid multibulk length\r\n",
    ),
];

fn compare_refusals(server: &Server) {
    for (sent, expected) in REFUSED {
        let mut client = server.connect();
        client.send_raw(sent);
        let got = client.receive_until_closed();
        // The byte that is quoted may be a line end, which an error reply cannot hold.
        let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let expected = shown(expected).replace("got '\n'", "got ' '");
        assert_eq!(shown(&got), expected, "{}", sent.escape_ascii());
    }
}

#[test]
fn wrong_lengths_and_counts_are_refused_with_the_references_words() {
    compare_refusals(&Server::redis());
    on_each_shard_count(|server| {
        let witness = Witness::start(server);
        compare_refusals(server);
        witness.finish();
    });
}

#[test]
fn lines_without_an_end_are_refused() {
    on_each_shard_count(|server| {
        for (begin, error) in [
            (&b"x"[..], "-ERR Protocol error: too big inline request\r\n"),
            (b"*1", "-ERR Protocol error: too big mbulk count string\r\n"),
            (b"*1\r\n$1", "-ERR Protocol error: too big bulk count string\r\n"),
        ] {
            let mut client = server.connect();
            client.send_raw(begin);
            let sent = client.try_send_raw(&vec![b'1'; 70_000]);
            assert!(sent.is_ok() || sent.is_err(), "the server may close while we send");
            assert_eq!(String::from_utf8_lossy(&client.receive_until_closed()), error);
        }
    });
}

#[test]
fn half_a_command_leaves_nothing_behind() {
    let whole = b"*3\r\n$3\r\nSET\r\n$4\r\nhalf\r\n$5\r\nvalue\r\n";
    on_each_shard_count(|server| {
        let witness = Witness::start(server);
        let mut other = server.connect();
        for length in 0..whole.len() {
            let mut client = server.connect();
            client.send_raw(&whole[..length]);
            client.finish_sending();
            assert_eq!(client.receive_until_closed(), b"", "{length} bytes are no command");
            assert_eq!(other.command(&["EXISTS", "half"]).to_string(), ":0", "after {length} bytes");
        }
        // The whole one counts, although its sender has left before the reply.
        let mut client = server.connect();
        client.send_raw(whole);
        drop(client);
        eventually("the command has run", || other.command(&["EXISTS", "half"]).to_string() == ":1");
        // Its connection and the witness's.
        eventually("the others are gone", || info(&mut other, "connected_clients") == 2);
        witness.finish();
    });
}

#[test]
fn announcing_much_costs_nothing() {
    on_each_shard_count(|server| {
        let witness = Witness::start(server);
        let before = resident_bytes(server);
        let announcements: [&[u8]; 5] = [
            b"*2147483647\r\n",
            b"*2147483647\r\n$4\r\nMGET\r\n$1\r\nk\r\n",
            b"*1048577\r\n$3\r\nDEL\r\n",
            b"*2\r\n$3\r\nGET\r\n$536870912\r\n",
            b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\nbeginning",
        ];
        let mut clients = Vec::new();
        for index in 0..100 {
            let mut client = server.connect();
            client.send_raw(announcements[index % announcements.len()]);
            clients.push(client);
        }
        // All of them have been read when a later connection of each core is answered.
        for _ in 0..8 {
            assert_eq!(server.connect().command(&["PING"]).to_string(), "+PONG");
        }
        let grown = resident_bytes(server).saturating_sub(before);
        assert!(grown < 64 * MEGABYTE, "100 announcements cost {grown} bytes");
        witness.finish();
    });
}

#[test]
fn bytes_one_by_one_are_a_command_too() {
    on_each_shard_count(|server| {
        let mut client = server.connect();
        let request = b"*3\r\n$3\r\nSET\r\n$4\r\nslow\r\n$5\r\nvalue\r\nGET slow\r\n*1\r\n$4\r\nPING\r\n";
        for byte in request {
            client.send_raw(&[*byte]);
            // Another client's commands run between any two bytes.
            assert_eq!(server.connect().command(&["SET", "other", "x"]).to_string(), "+OK");
        }
        let replies: Vec<String> = (0..3).map(|_| client.receive().to_string()).collect();
        assert_eq!(replies, ["+OK", "\"value\"", "+PONG"]);
    });
}

/// What the parser knew of a request that came in pieces was once kept where the requests of other connections
/// overwrote it: with pieces of several connections in turns, arguments were mixed up and the server ended.
#[test]
fn requests_in_pieces_are_not_mixed_up() {
    on_each_shard_count(|server| {
        let mut clients: Vec<_> = (0..8).map(|_| server.connect()).collect();
        for round in 0..20 {
            let requests: Vec<Vec<u8>> = (0..clients.len())
                .map(|index| {
                    let value = vec![b'a' + index as u8; 5000 + round * 997];
                    let key = format!("piece:{index}");
                    let set = crate::support::encode(&[b"SET".as_slice(), key.as_bytes(), value.as_slice()]);
                    let get = crate::support::encode(&[b"GETRANGE".as_slice(), key.as_bytes(), b"0", b"2"]);
                    [crate::support::encode(&["PING"]), set, get].concat()
                })
                .collect();
            for piece in 0..5 {
                for (client, request) in clients.iter_mut().zip(&requests) {
                    let size = request.len().div_ceil(5);
                    client.send_raw(&request[piece * size..request.len().min((piece + 1) * size)]);
                }
            }
            for (index, client) in clients.iter_mut().enumerate() {
                assert_eq!(client.receive().to_string(), "+PONG");
                assert_eq!(client.receive().to_string(), "+OK");
                let letter = char::from(b'a' + index as u8);
                assert_eq!(client.receive().to_text(), letter.to_string().repeat(3));
            }
        }
    });
}
