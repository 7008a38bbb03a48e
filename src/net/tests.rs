//! The promises of `mod.rs`, kept over real sockets of this machine.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;

use super::*;

/// Long enough that only a fault reaches it.
const PATIENCE: Duration = Duration::from_secs(20);

struct Server {
    ring: Ring,
    address: SocketAddr,
    listener: ListenerId,
}

impl Server {
    fn new(options: RingOptions) -> Server {
        Server::on(SocketAddr::from(([127, 0, 0, 1], 0)), options).expect("a loopback port")
    }

    fn on(address: SocketAddr, options: RingOptions) -> Result<Server, ListenError> {
        let mut ring = Ring::new(options).expect("a ring");
        let listener = Listener::tcp(address, &ListenOptions::default())?;
        let StreamAddress::Ip(address) = *listener.address() else { panic!("a TCP listener has a port") };
        let listener = ring.listen(listener);
        Ok(Server { ring, address, listener })
    }

    fn next_event(&mut self) -> Event {
        loop {
            if let Some(event) = self.ring.next_event() {
                return event;
            }
            self.ring.submit_and_wait(Wait::Until(PATIENCE)).expect("a ring that works");
            assert!(self.ring.has_events(), "nothing has happened for {PATIENCE:?}");
        }
    }

    fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).expect("a listening port")
    }

    /// A connected pair: the client's socket and the server's stream.
    fn pair(&mut self) -> (TcpStream, StreamId) {
        let client = self.connect();
        match self.next_event() {
            Event::Accepted { socket, .. } => (client, self.ring.attach(socket)),
            other => panic!("a connection was expected, not {other:?}"),
        }
    }

    fn expect_closed(&mut self, stream: StreamId) {
        match self.next_event() {
            Event::Closed { stream: closed } => assert_eq!(closed, stream),
            other => panic!("Closed was expected, not {other:?}"),
        }
    }

    /// Echoes until `streams` streams were closed; replies coalesce while a send is in flight.
    fn echo(&mut self, streams: usize) {
        let mut outputs: HashMap<StreamId, Vec<u8>> = HashMap::new();
        let mut ended: Vec<StreamId> = Vec::new();
        let mut closed = 0;
        while closed < streams {
            match self.next_event() {
                Event::Accepted { socket, .. } => drop(self.ring.attach(socket)),
                Event::Received { stream, data } => {
                    let output = outputs.entry(stream).or_default();
                    output.extend_from_slice(&data);
                    self.ring.recycle(data);
                    if !self.ring.is_sending(stream) {
                        let output = std::mem::take(output);
                        self.ring.send(stream, output);
                    }
                }
                Event::Sent { stream, buffer } => {
                    assert!(buffer.is_empty() && buffer.capacity() > 0, "the buffer comes back for reuse");
                    let output = outputs.entry(stream).or_default();
                    if !output.is_empty() {
                        let output = std::mem::take(output);
                        self.ring.send(stream, output);
                    } else if ended.contains(&stream) {
                        self.ring.close(stream);
                    }
                }
                Event::EndOfStream { stream } => {
                    ended.push(stream);
                    if !self.ring.is_sending(stream) {
                        self.ring.close(stream);
                    }
                }
                Event::Closed { .. } => closed += 1,
                other => panic!("{other:?} has no place here"),
            }
        }
        assert_eq!(self.ring.stream_count(), 0);
    }
}

fn small_buffers(count: u16, size: u32) -> RingOptions {
    RingOptions { recv_buffer_count: count, recv_buffer_size: size, ..RingOptions::default() }
}

/// Bytes that tell their place, so that loss and disorder show.
fn pattern(seed: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| (at.wrapping_mul(31) ^ (at >> 8) ^ seed.wrapping_mul(131)) as u8).collect()
}

fn shrink_send_buffer(socket: impl AsFd) {
    socket::set_option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_SNDBUF, 4096).expect("a socket option");
}

#[test]
fn n5_many_connections_are_echoed() {
    const CLIENTS: usize = 100;
    let mut server = Server::new(RingOptions::default());
    let address = server.address;
    let clients = thread::spawn(move || {
        let mut clients: Vec<TcpStream> =
            (0..CLIENTS).map(|_| TcpStream::connect(address).expect("a listening port")).collect();
        for round in 0..10 {
            for (at, client) in clients.iter_mut().enumerate() {
                client.write_all(&pattern(at + round, 100 + at)).expect("a server that reads");
            }
            for (at, client) in clients.iter_mut().enumerate() {
                let mut answer = vec![0; 100 + at];
                client.read_exact(&mut answer).expect("a server that answers");
                assert_eq!(answer, pattern(at + round, 100 + at));
            }
        }
    });
    server.echo(CLIENTS);
    clients.join().expect("content clients");
}

#[test]
fn n5_a_slow_reader_gets_every_byte_of_a_partial_send() {
    const LEN: usize = 3 << 20;
    let mut server = Server::new(RingOptions::default());
    let (mut client, stream) = server.pair();
    shrink_send_buffer(server.ring.socket(stream).expect("attached"));
    server.ring.send(stream, pattern(1, LEN));
    let reader = thread::spawn(move || {
        let mut all = Vec::new();
        let mut piece = [0; 3001];
        while all.len() < LEN {
            let read = client.read(&mut piece).expect("a server that sends");
            all.extend_from_slice(&piece[..read]);
        }
        assert!(all == pattern(1, LEN));
        client
    });
    match server.next_event() {
        Event::Sent { stream: sent, buffer } => {
            assert_eq!(sent, stream);
            assert!(buffer.is_empty() && buffer.capacity() >= LEN, "it is the same buffer");
        }
        other => panic!("Sent was expected, not {other:?}"),
    }
    drop(reader.join().expect("a content reader"));
}

#[test]
fn a_quiet_send_is_told_without_ending_a_wait() {
    const ROUNDS: u64 = 100;
    let mut server = Server::new(RingOptions::default());
    assert!(server.ring.quiet_sends, "this kernel completes what a quiet send leaves");
    let (mut client, stream) = server.pair();
    let asking = thread::spawn(move || {
        for _ in 0..ROUNDS {
            client.write_all(b"question").expect("a server that reads");
            let mut answer = [0; 6];
            client.read_exact(&mut answer).expect("a server that answers");
            assert_eq!(&answer, b"answer");
        }
    });
    let before = server.ring.counters().enters;
    let (mut asked, mut told, mut ended) = (0, 0, false);
    while !ended || told < ROUNDS {
        match server.next_event() {
            Event::Received { .. } => asked += 1,
            Event::Sent { .. } => told += 1,
            Event::EndOfStream { .. } => ended = true,
            other => panic!("{other:?} has no place here"),
        }
        // The end of the sweep: the next turn's answer, if there was a question.
        if !server.ring.has_events() && asked > told && !server.ring.is_sending(stream) {
            server.ring.send_quietly(stream, b"answer".to_vec());
        }
    }
    assert_eq!((asked, told), (ROUNDS, ROUNDS));
    let entered = server.ring.counters().enters - before;
    assert!(entered <= ROUNDS + 5, "one enter per question, not {entered}");
    asking.join().expect("a content client");
}

#[test]
fn n5_a_quiet_send_that_does_not_fit_goes_on_aloud() {
    let mut server = Server::new(RingOptions::default());
    let (mut client, stream) = server.pair();
    shrink_send_buffer(server.ring.socket(stream).expect("attached"));
    // The peer reads nothing until the kernel takes nothing at all any more: parts first, then EAGAIN.
    let mut sent = Vec::new();
    let mut rounds = 0;
    loop {
        let piece = pattern(rounds, 50_000);
        sent.extend_from_slice(&piece);
        server.ring.send_quietly(stream, piece);
        server.ring.submit_and_wait(Wait::No).expect("a ring that works");
        rounds += 1;
        match server.ring.next_event() {
            Some(Event::Sent { .. }) => {}
            None => break,
            other => panic!("{other:?} has no place here"),
        }
        assert!(rounds < 10_000, "a socket's buffer ends");
    }
    assert!(server.ring.is_sending(stream));
    let len = sent.len();
    let reader = thread::spawn(move || {
        let mut all = vec![0; len];
        client.read_exact(&mut all).expect("a server that sends");
        (client, all)
    });
    assert!(matches!(server.next_event(), Event::Sent { .. }));
    let (client, all) = reader.join().expect("a content reader");
    assert!(all == sent);
    // A quiet send to a peer that is gone fails aloud.
    socket::reset_on_close(client.as_fd()).expect("a socket option");
    drop(client);
    assert!(matches!(server.next_event(), Event::Failed { .. }));
    server.ring.send_quietly(stream, b"lost".to_vec());
    assert!(matches!(server.next_event(), Event::SendFailed { .. }));
    server.ring.close(stream);
    server.expect_closed(stream);
}

#[test]
fn n4_a_stream_is_closed_over_a_quiet_send() {
    let mut server = Server::new(RingOptions::default());
    let (mut client, stream) = server.pair();
    server.ring.send_quietly(stream, b"good bye".to_vec());
    server.ring.close(stream);
    server.expect_closed(stream);
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).expect("a server that sends");
    assert_eq!(answer, b"good bye");
}

#[test]
fn parts_leave_in_order_however_many_there_are() {
    let mut server = Server::new(RingOptions::default());
    let (mut client, stream) = server.pair();
    shrink_send_buffer(server.ring.socket(stream).expect("attached"));
    // More parts than one call takes, some of them empty, some larger than the socket's buffer.
    let parts: Vec<Bytes> = (0..2500).map(|at| Bytes::from(pattern(at, [0, 7, 900, 1][at % 4]))).collect();
    let parts: Vec<Bytes> = parts.into_iter().chain([Bytes::from(pattern(9, 300_000))]).collect();
    let expected: Vec<u8> = parts.concat();
    let len = expected.len();
    server.ring.send_vectored(stream, parts);
    let reader = thread::spawn(move || {
        let mut all = vec![0; len];
        client.read_exact(&mut all).expect("a server that sends");
        (client, all)
    });
    match server.next_event() {
        Event::SentVectored { stream: sent, parts } => assert!(sent == stream && parts.is_empty()),
        other => panic!("SentVectored was expected, not {other:?}"),
    }
    let (_client, all) = reader.join().expect("a content reader");
    assert!(all == expected);
}

#[test]
fn nothing_to_send_is_sent_at_once() {
    let mut server = Server::new(RingOptions::default());
    let (_client, stream) = server.pair();
    server.ring.send(stream, Vec::new());
    assert!(matches!(server.next_event(), Event::Sent { .. }));
    server.ring.send_vectored(stream, vec![Bytes::new()]);
    assert!(matches!(server.next_event(), Event::SentVectored { .. }));
}

#[test]
fn each_direction_ends_by_itself() {
    let mut server = Server::new(RingOptions::default());
    let (mut client, stream) = server.pair();
    client.write_all(b"last words").expect("a server that reads");
    client.shutdown(Shutdown::Write).expect("a connected socket");
    let mut heard = Vec::new();
    loop {
        match server.next_event() {
            Event::Received { data, .. } => heard.extend_from_slice(&data),
            Event::EndOfStream { stream: ended } => {
                assert_eq!(ended, stream);
                break;
            }
            other => panic!("{other:?} has no place here"),
        }
    }
    assert_eq!(heard, b"last words");
    server.ring.send(stream, b"answer".to_vec());
    server.ring.shutdown_write(stream); // after the send in flight
    assert!(matches!(server.next_event(), Event::Sent { .. }));
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).expect("a server that sends");
    assert_eq!(answer, b"answer");
    server.ring.close(stream);
    server.expect_closed(stream);
}

#[test]
fn a_reset_is_told_as_a_failure() {
    let mut server = Server::new(RingOptions::default());
    let (client, stream) = server.pair();
    socket::reset_on_close(client.as_fd()).expect("a socket option");
    server.ring.submit_and_wait(Wait::No).expect("a ring that works");
    drop(client);
    match server.next_event() {
        Event::Failed { stream: failed, error } => {
            assert_eq!((failed, error.raw_os_error()), (stream, Some(libc::ECONNRESET)));
        }
        other => panic!("Failed was expected, not {other:?}"),
    }
    server.ring.send(stream, b"into the void".to_vec());
    assert!(matches!(server.next_event(), Event::SendFailed { .. }));
    server.ring.close(stream);
    server.expect_closed(stream);
}

#[test]
fn n4_close_withdraws_a_send_that_would_block_for_ever() {
    let mut server = Server::new(RingOptions::default());
    let (mut client, stream) = server.pair();
    let (mut other, other_stream) = server.pair();
    server.ring.send(stream, vec![b'x'; 64 << 20]);
    server.ring.submit_and_wait(Wait::No).expect("a ring that works");
    assert!(server.ring.is_sending(stream), "64 MiB do not fit into socket buffers");
    client.write_all(b"never told").expect("a server that is there");
    server.ring.close(stream);
    server.ring.close(stream); // a second time changes nothing
    server.expect_closed(stream);
    // The others are not disturbed.
    other.write_all(b"hello").expect("a server that reads");
    assert!(matches!(server.next_event(), Event::Received { stream, .. } if stream == other_stream));
    drop(client);
}

#[test]
fn n1_a_ring_is_dropped_with_everything_in_flight() {
    let mut server = Server::new(RingOptions::default());
    let (client, stream) = server.pair();
    let (mut sender, second) = server.pair();
    sender.write_all(b"kept").expect("a server that reads");
    let kept = match server.next_event() {
        Event::Received { stream, data } if stream == second => data,
        other => panic!("Received was expected, not {other:?}"),
    };
    server.ring.send(stream, vec![b'x'; 64 << 20]);
    server.ring.submit_and_wait(Wait::No).expect("a ring that works");
    server.ring.send(second, b"queued, never submitted".to_vec());
    drop(server);
    assert_eq!(&*kept, b"kept", "N6: a buffer outlives its ring");
    drop((client, sender));
}

#[test]
fn n5_streams_that_find_no_buffer_wait_for_one() {
    const STREAMS: usize = 30;
    const LEN: usize = 5_000;
    let mut server = Server::new(small_buffers(2, 64));
    let mut clients = Vec::new();
    let mut heard: HashMap<StreamId, (usize, Vec<u8>)> = HashMap::new();
    for at in 0..STREAMS {
        let (client, stream) = server.pair();
        clients.push(client);
        heard.insert(stream, (at, Vec::new()));
        server.ring.pause_receiving(stream); // so that all begin together
    }
    server.ring.submit_and_wait(Wait::No).expect("a ring that works");
    for (at, client) in clients.iter_mut().enumerate() {
        client.write_all(&pattern(at, LEN)).expect("room in socket buffers");
        client.shutdown(Shutdown::Write).expect("a connected socket");
    }
    heard.keys().for_each(|&stream| server.ring.resume_receiving(stream));
    let mut ended = 0;
    while ended < STREAMS {
        match server.next_event() {
            Event::Received { stream, data } => {
                let (_, bytes) = heard.get_mut(&stream).expect("a stream of ours");
                bytes.extend_from_slice(&data);
            }
            Event::EndOfStream { .. } => ended += 1,
            other => panic!("{other:?} has no place here"),
        }
    }
    for (at, bytes) in heard.values() {
        assert!(*bytes == pattern(*at, LEN), "stream {at} is whole and in order");
    }
    assert!(server.ring.counters().receives_starved > 0, "the test is about starving");
}

#[test]
fn n5_buffers_held_by_the_caller_stall_receiving_without_loss() {
    let mut server = Server::new(small_buffers(2, 16));
    let (mut client, _stream) = server.pair();
    let sent = pattern(3, 160);
    client.write_all(&sent).expect("room in socket buffers");
    let mut held = Vec::new();
    while held.len() < 2 {
        match server.next_event() {
            Event::Received { data, .. } => held.push(data),
            other => panic!("{other:?} has no place here"),
        }
    }
    // No buffer is left: nothing is told, and nothing spins.
    let enters = server.ring.counters().enters;
    server.ring.submit_and_wait(Wait::Until(Duration::from_millis(5))).expect("a ring that works");
    let event = server.ring.next_event();
    assert!(event.is_none(), "{event:?} without a buffer");
    server.ring.submit_and_wait(Wait::Until(Duration::from_millis(5))).expect("a ring that works");
    assert!(server.ring.counters().enters <= enters + 2);
    let mut heard: Vec<u8> = held.drain(..).flat_map(|data| data.to_vec()).collect();
    while heard.len() < sent.len() {
        match server.next_event() {
            Event::Received { data, .. } => heard.extend_from_slice(&data),
            other => panic!("{other:?} has no place here"),
        }
    }
    assert_eq!(heard, sent);
}

#[test]
fn n5_pausing_loses_nothing() {
    const LEN: usize = 200_000;
    let mut server = Server::new(small_buffers(8, 256));
    let (mut client, stream) = server.pair();
    let writer = thread::spawn(move || {
        client.write_all(&pattern(4, LEN)).expect("a server that reads");
        client
    });
    let mut heard: Vec<u8> = Vec::new();
    let mut turns = 0;
    while heard.len() < LEN {
        match server.next_event() {
            Event::Received { data, .. } => heard.extend_from_slice(&data),
            other => panic!("{other:?} has no place here"),
        }
        turns += 1;
        match turns % 5 {
            0 => server.ring.pause_receiving(stream),
            1 => server.ring.resume_receiving(stream), // while the cancellation is on the way
            2 => {
                server.ring.pause_receiving(stream);
                // Drain until the cancellation is over: then nothing comes until it is resumed.
                loop {
                    server.ring.submit_and_wait(Wait::Until(Duration::from_millis(1))).expect("a ring");
                    let mut quiet = true;
                    while let Some(event) = server.ring.next_event() {
                        quiet = false;
                        match event {
                            Event::Received { data, .. } => heard.extend_from_slice(&data),
                            other => panic!("{other:?} has no place here"),
                        }
                    }
                    if quiet {
                        break;
                    }
                }
                server.ring.resume_receiving(stream);
            }
            _ => {}
        }
    }
    assert!(heard == pattern(4, LEN));
    drop(writer.join().expect("a content writer"));
}

#[test]
fn a_paused_stream_is_silent() {
    let mut server = Server::new(RingOptions::default());
    let (mut client, stream) = server.pair();
    let (mut other, other_stream) = server.pair();
    server.ring.pause_receiving(stream);
    // A turn, so that the cancellation is over before the client writes.
    other.write_all(b"1").expect("a server that reads");
    assert!(matches!(server.next_event(), Event::Received { stream, .. } if stream == other_stream));
    client.write_all(b"early").expect("a server that is there");
    for _ in 0..10 {
        other.write_all(b"2").expect("a server that reads");
        assert!(matches!(server.next_event(), Event::Received { stream, .. } if stream == other_stream));
    }
    server.ring.resume_receiving(stream);
    match server.next_event() {
        Event::Received { stream: heard, data } => assert_eq!((heard, &*data), (stream, &b"early"[..])),
        other => panic!("Received was expected, not {other:?}"),
    }
}

#[test]
fn n2_ids_of_closed_streams_find_nothing() {
    let mut server = Server::new(RingOptions::default());
    let (_first_client, first) = server.pair();
    server.ring.close(first);
    server.expect_closed(first);
    let (mut client, second) = server.pair();
    assert_eq!(first.index(), second.index(), "the place is reused");
    assert_ne!(first, second);
    server.ring.close(first);
    server.ring.pause_receiving(first);
    server.ring.shutdown_write(first);
    assert!(server.ring.socket(first).is_none());
    assert!(!server.ring.is_sending(first));
    client.write_all(b"alive").expect("a server that reads");
    assert!(matches!(server.next_event(), Event::Received { stream, .. } if stream == second));
}

#[test]
fn a_burst_of_connections_is_accepted_with_their_options() {
    const CLIENTS: usize = 300;
    let mut server = Server::new(RingOptions::default());
    let clients: Vec<TcpStream> = (0..CLIENTS).map(|_| server.connect()).collect();
    let mut peers: Vec<String> = Vec::new();
    for _ in 0..CLIENTS {
        let Event::Accepted { listener, socket, peer } = server.next_event() else {
            panic!("a connection was expected")
        };
        assert_eq!(listener, server.listener);
        assert!(peer.is_local() && !peer.is_unix());
        let option = |level, name| socket::option(socket.as_fd(), level, name).expect("an option");
        assert_ne!(option(libc::IPPROTO_TCP, libc::TCP_NODELAY), 0);
        assert_ne!(option(libc::SOL_SOCKET, libc::SO_KEEPALIVE), 0);
        assert_eq!(option(libc::IPPROTO_TCP, libc::TCP_KEEPIDLE), 300);
        assert_eq!(option(libc::IPPROTO_TCP, libc::TCP_KEEPINTVL), 100);
        assert_eq!(option(libc::IPPROTO_TCP, libc::TCP_KEEPCNT), 3);
        peers.push(peer.to_string());
    }
    let mut expected: Vec<String> =
        clients.iter().map(|client| client.local_addr().expect("connected").to_string()).collect();
    expected.sort();
    peers.sort();
    assert_eq!(peers, expected);
}

#[test]
fn a_stopped_listener_refuses() {
    let mut server = Server::new(RingOptions::default());
    let (mut client, stream) = server.pair();
    server.ring.stop_listening(server.listener);
    assert!(matches!(server.next_event(), Event::ListenerClosed { .. }));
    assert!(TcpStream::connect(server.address).is_err());
    client.write_all(b"still here").expect("a server that reads");
    assert!(matches!(server.next_event(), Event::Received { stream: heard, .. } if heard == stream));
}

#[test]
fn a_socket_accepted_here_is_served_by_another_core() {
    let mut server = Server::new(RingOptions::default());
    let mut client = server.connect();
    let Event::Accepted { socket, .. } = server.next_event() else { panic!("a connection was expected") };
    let (hand, taken) = mpsc::channel::<OwnedFd>();
    let other = thread::spawn(move || {
        let mut other = Server::new(RingOptions::default());
        other.ring.attach(taken.recv().expect("a socket"));
        other.echo(1);
    });
    hand.send(socket).expect("a core that takes it");
    client.write_all(b"who is there").expect("a server that reads");
    client.shutdown(Shutdown::Write).expect("a connected socket");
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).expect("a server that answers");
    assert_eq!(answer, b"who is there");
    other.join().expect("a content core");
}

#[test]
fn doorbells_wake_a_sleeping_ring() {
    const RINGS: usize = 50;
    let (give, take) = mpsc::channel::<Doorbell>();
    let sleeper = thread::spawn(move || {
        let mut sleeper = Server::new(RingOptions::default());
        for _ in 0..RINGS {
            give.send(sleeper.ring.doorbell()).expect("someone who rings");
            assert!(matches!(sleeper.next_event(), Event::Doorbell));
        }
    });
    let mut ringer = Server::new(RingOptions::default());
    for at in 0..RINGS {
        let bell = take.recv().expect("a bell");
        if at % 2 == 0 {
            ringer.ring.ring_doorbell(&bell);
            ringer.ring.submit_and_wait(Wait::No).expect("a ring that works");
        } else {
            bell.ring_from_any_thread();
        }
    }
    sleeper.join().expect("a sleeper that woke");
    assert!(ringer.ring.next_event().is_none(), "a bell that rang is not told to who rang it");
}

#[test]
fn a_doorbell_of_a_ring_that_is_gone_is_harmless() {
    let bell = thread::spawn(|| Server::new(RingOptions::default()).ring.doorbell()).join().expect("a bell");
    let mut server = Server::new(RingOptions::default());
    server.ring.ring_doorbell(&bell);
    bell.ring_from_any_thread();
    let (mut client, stream) = server.pair();
    client.write_all(b"on").expect("a server that reads");
    assert!(matches!(server.next_event(), Event::Received { stream: heard, .. } if heard == stream));
}

#[test]
fn unix_sockets_have_a_mode_and_replace_stale_files() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("server.sock");
    std::fs::write(&path, "stale").expect("a file");
    let listener = Listener::unix(&path, Some(0o700), &ListenOptions::default()).expect("a unix socket");
    assert_eq!(std::fs::metadata(&path).expect("bound").permissions().mode() & 0o777, 0o700);
    assert_eq!(listener.unix_path().as_deref(), Some(path.as_path()));
    let mut server = Server::new(RingOptions::default());
    server.ring.listen(listener);
    let mut client = UnixStream::connect(&path).expect("a listening socket");
    let Event::Accepted { socket, peer, .. } = server.next_event() else {
        panic!("a connection was expected")
    };
    assert!(peer.is_unix() && peer.is_local());
    let stream = server.ring.attach(socket);
    let local = server.ring.local_address(stream).expect("attached");
    assert_eq!(local.to_string(), format!("{}:0", path.display()));
    client.write_all(b"hello").expect("a server that reads");
    assert!(matches!(server.next_event(), Event::Received { data, .. } if &*data == b"hello"));

    let long = directory.path().join("x".repeat(200));
    let error = Listener::unix(&long, None, &ListenOptions::default()).expect_err("108 bytes at most");
    assert_eq!(error.step, "bind");
}

#[test]
fn ipv6_is_served_where_there_is_any() {
    let Ok(address) = "[::1]:0".parse() else { panic!("an address") };
    let mut server = match Server::on(address, RingOptions::default()) {
        Ok(server) => server,
        Err(error) => {
            let errno = error.source.raw_os_error();
            assert!(matches!(errno, Some(libc::EADDRNOTAVAIL | libc::EAFNOSUPPORT)), "{error}");
            return;
        }
    };
    let client = server.connect();
    let Event::Accepted { peer, .. } = server.next_event() else { panic!("a connection was expected") };
    assert_eq!(peer.to_string(), format!("[::1]:{}", client.local_addr().expect("connected").port()));
    assert!(peer.is_local());
}

#[test]
fn bind_lists_are_read_as_redis_reads_them() {
    let options = ListenOptions::default();
    let bind = |entries: &[&str], port| {
        let entries: Vec<BindAddress> = entries.iter().map(|entry| BindAddress::parse(entry)).collect();
        Listener::bind_all(&entries, port, &options)
    };
    // 192.0.2.0/24 is for documentation; no machine has it.
    let bound = bind(&["127.0.0.1", "-192.0.2.1"], 0).expect("an optional address may be missing");
    assert_eq!((bound.listeners.len(), bound.skipped.len()), (1, 1));
    let error = bind(&["127.0.0.1", "192.0.2.1"], 0).expect_err("this one may not");
    assert_eq!(error.to_string(), "192.0.2.1:0: bind: Cannot assign requested address");

    let taken = bound.listeners[0].address().port();
    let error = bind(&["127.0.0.1"], taken).expect_err("the port is taken");
    assert_eq!(error.to_string(), format!("127.0.0.1:{taken}: bind: Address already in use"));
    let any = bind(&["*"], 0).expect("any address");
    assert!(matches!(any.listeners[0].address(), StreamAddress::Ip(ip) if ip.ip().is_unspecified()));
    assert_eq!(bind(&[], 0).expect("nothing to bind").listeners.len(), 0);
}

#[test]
fn a_ring_that_cannot_be_says_what_to_do() {
    for errno in [libc::ENOSYS, libc::EPERM, libc::ENOMEM, libc::EINVAL, libc::EMFILE, libc::ENFILE] {
        let error = RingError::new("io_uring_setup", std::io::Error::from_raw_os_error(errno));
        assert_eq!(error.errno(), Some(errno));
        assert!(error.to_string().starts_with("io_uring_setup failed: "));
        assert!(!error.remedy().contains("unexpected"), "{error}");
    }
}

/// The limit of descriptors belongs to the process, so this runs in one of its own.
#[test]
fn accepting_rests_when_descriptors_run_out() {
    let output = std::process::Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "net::tests::out_of_descriptors", "--ignored", "--test-threads=1"])
        .output()
        .expect("this test runs again");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
}

#[test]
#[ignore = "lowers the limit of descriptors of its process; run by the test above"]
fn out_of_descriptors() {
    // The kernel notes the limit when the accept is armed.
    socket::limit_descriptors(64).expect("a lower limit");
    let mut server = Server::new(RingOptions::default());
    server.ring.submit_and_wait(Wait::No).expect("a ring that works");
    let mut ballast: Vec<OwnedFd> = Vec::new();
    let mut client = None;
    while let Ok(fd) = socket::eventfd() {
        ballast.push(fd);
        if client.is_none() && ballast.len() == 4 {
            client = Some(server.connect());
        }
    }
    let error = match server.next_event() {
        Event::AcceptFailed { error, .. } => error,
        other => panic!("no descriptor is left, yet {other:?}"),
    };
    assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
    let enters = server.ring.counters().enters;
    server.ring.submit_and_wait(Wait::Until(Duration::from_millis(5))).expect("a ring that works");
    assert!(server.ring.next_event().is_none());
    assert!(server.ring.counters().enters <= enters + 1, "it rests");
    ballast.clear();
    // The same connection, still in the backlog, is accepted after the rest.
    loop {
        match server.next_event() {
            Event::Accepted { .. } => break,
            Event::AcceptFailed { .. } => {}
            other => panic!("{other:?} has no place here"),
        }
    }
}
