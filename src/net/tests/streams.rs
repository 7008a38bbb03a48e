//! Streams: N1 to N7 of `net/mod.rs`.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::thread;

use bytes::Bytes;

use super::*;

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
