//! Very many connections, and connections that come and go quickly.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;

use crate::support::{Program, SHARD_COUNTS, Server, on_each_shard_count};
use crate::witness::{Witness, eventually, info, resident_bytes};

const MANY: usize = 10_000;

#[test]
fn ten_thousand_connections() {
    let (_, hard) = rlimit::Resource::NOFILE.get().expect("the limit can be read");
    if hard < MANY as u64 + 200 {
        println!("skipped: the hard limit of open files is {hard}");
        return;
    }
    rlimit::Resource::NOFILE.set(hard, hard).expect("up to the hard limit is allowed");
    for shards in SHARD_COUNTS {
        let server =
            Server::start(Program::Pinion { shards }, &["--maxclients", "10100", "--tcp-backlog", "4096"]);
        let witness = Witness::start(&server);
        let before = resident_bytes(&server);
        let mut clients = Vec::with_capacity(MANY);
        for _ in 0..MANY {
            clients.push(TcpStream::connect(server.address()).expect("there is room for it"));
        }
        for client in &mut clients {
            client.write_all(b"PING\r\n").expect("it is open");
        }
        for client in &mut clients {
            let mut reply = [0; 7];
            client.read_exact(&mut reply).expect("each is answered");
            assert_eq!(&reply, b"+PONG\r\n");
        }
        let mut other = server.connect();
        assert_eq!(info(&mut other, "connected_clients"), MANY as u64 + 2);
        let grown = resident_bytes(&server).saturating_sub(before);
        assert!(grown < MANY as u64 * 8 * 1024, "{} bytes per connection", grown / MANY as u64);
        drop(clients);
        eventually("they are gone", || info(&mut other, "connected_clients") == 2);
        witness.finish();
    }
}

#[test]
fn storms_of_connections_that_leave_at_once() {
    on_each_shard_count(|server| {
        let witness = Witness::start(server);
        let address = server.address();
        let storms: Vec<_> = (0..4)
            .map(|kind| {
                thread::spawn(move || {
                    for _ in 0..500 {
                        let mut stream = TcpStream::connect(address).expect("the server accepts");
                        let sent: &[u8] = match kind {
                            0 => b"",
                            1 => b"PING\r\nSET storm:1 x\r\nGET storm:2\r\nMGET storm:1 storm:2 storm:3\r\n",
                            2 => b"*2\r\n$4\r\nMGET\r\n$300\r\nhalf",
                            _ => b"QUIT\r\nPING\r\n",
                        };
                        // The server may have closed already: then there is nobody to hear it.
                        let _ = stream.write_all(sent);
                    }
                })
            })
            .collect();
        for storm in storms {
            storm.join().expect("all connections were accepted");
        }
        let mut other = server.connect();
        eventually("they are gone", || info(&mut other, "connected_clients") == 2);
        assert!(info(&mut other, "total_connections_received") >= 2002);
        witness.finish();
    });
}

#[test]
fn storms_of_client_kill() {
    on_each_shard_count(|server| {
        let address = server.address();
        let mut killer = server.connect();
        let mine = killer.command(&["CLIENT", "ID"]).to_string();
        assert!(mine.starts_with(':'));
        let victims: Vec<_> = (0..4)
            .map(|_| {
                thread::spawn(move || {
                    let mut lost = 0;
                    let mut served = 0;
                    while lost < 20 {
                        let Ok(mut stream) = TcpStream::connect(address) else { continue };
                        // Until it is killed, in the middle of work on all shards.
                        loop {
                            let request = b"SET k:1 a\r\nSET k:2 b\r\nSET k:3 c\r\nMGET k:1 k:2 k:3\r\n";
                            let mut reply = [0; 4096];
                            match stream.write_all(request).and_then(|()| stream.read(&mut reply)) {
                                Ok(1..) => served += 1,
                                _ => break,
                            }
                        }
                        lost += 1;
                    }
                    served
                })
            })
            .collect();
        while victims.iter().any(|victim| !victim.is_finished()) {
            let killed = killer.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
            assert!(killed.as_integer().is_some(), "{killed}");
        }
        let served: u64 = victims.into_iter().map(|victim| victim.join().expect("no victim panics")).sum();
        assert!(served > 0);
        eventually("only the killer is left", || info(&mut killer, "connected_clients") == 1);
        assert_eq!(killer.command(&["PING"]).to_string(), "+PONG");
    });
}
