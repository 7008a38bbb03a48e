//! Random bytes at the socket: whatever comes, the server answers, closes, or waits for more.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use pinion::base::random::Random;

use crate::support::{encode, on_each_shard_count};
use crate::witness::{Witness, eventually, info, resident_bytes};

const CONNECTIONS: u64 = 400;

/// Pieces of requests in any order, so that some of it is understood, and bytes that nobody understands.
fn bytes(random: &mut Random) -> Vec<u8> {
    let pieces: [&[u8]; 24] = [
        b"*3\r\n",
        b"*1\r\n",
        b"*0\r\n",
        b"*-1\r\n",
        b"$3\r\n",
        b"$0\r\n",
        b"$-1\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b"SET",
        b"GET k\r\n",
        b"PING\r\n",
        b"\"",
        b"'",
        b"$3\r\nSET\r\n",
        b"$1\r\nk\r\n",
        b"$5\r\nvalue\r\n",
        b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n",
        b" ",
        b"MGET a b c d\r\n",
        b"HELLO 3\r\n",
        b"CLIENT REPLY SKIP\r\n",
    ];
    let mut bytes = Vec::new();
    for _ in 0..1 + random.index(60) {
        match random.below(8) {
            0 => {
                let mut noise = vec![0; random.index(40)];
                random.fill(&mut noise);
                bytes.extend(noise);
            }
            1 => bytes.extend(encode(&["SET", "k", "value"])),
            2 => {
                // A whole request with one byte changed.
                let mut request = encode(&["MSET", "a", "1", "b", "2", "c", "3"]);
                let place = random.index(request.len());
                request[place] = random.next_u64() as u8;
                bytes.extend(request);
            }
            _ => bytes.extend(pieces[random.index(pieces.len())]),
        }
    }
    bytes
}

#[test]
fn random_bytes_do_no_harm() {
    on_each_shard_count(|server| {
        let witness = Witness::start(server);
        let before = resident_bytes(server);
        for seed in 0..CONNECTIONS {
            let mut random = Random::from_seed(seed);
            let sent = bytes(&mut random);
            let mut stream = TcpStream::connect(server.address()).expect("the server accepts");
            stream.set_read_timeout(Some(Duration::from_secs(30))).expect("not zero");
            let size = 1 + random.index(sent.len());
            // The server may close in the middle: that is one of the right answers.
            let taken = sent.chunks(size).try_for_each(|piece| stream.write_all(piece));
            if taken.is_ok() && stream.shutdown(std::net::Shutdown::Write).is_ok() {
                let mut replies = Vec::new();
                match stream.read_to_end(&mut replies) {
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
                    Err(error) => panic!("seed {seed}: the server neither answers nor closes: {error}"),
                }
            }
        }
        let mut other = server.connect();
        eventually("they are gone", || info(&mut other, "connected_clients") == 2);
        let grown = resident_bytes(server).saturating_sub(before);
        assert!(grown < 64 << 20, "{grown} bytes more than before");
        witness.finish();
    });
}
