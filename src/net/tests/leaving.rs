//! Streams that go from one ring to another: N8 of `net/mod.rs`.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::thread;

use super::*;

fn other_ring() -> Ring {
    Ring::new(RingOptions::default()).expect("a ring")
}

fn expect_detached(server: &mut Server, stream: StreamId) -> OwnedFd {
    match server.next_event() {
        Event::Detached { stream: left, socket } => {
            assert_eq!(left, stream);
            socket
        }
        other => panic!("Detached was expected, not {other:?}"),
    }
}

fn next_event_of(ring: &mut Ring) -> Event {
    loop {
        if let Some(event) = ring.next_event() {
            return event;
        }
        ring.submit_and_wait(Wait::Until(PATIENCE)).expect("a ring that works");
        assert!(ring.has_events(), "nothing has happened for {PATIENCE:?}");
    }
}

#[test]
fn n8_a_stream_at_rest_goes_on_on_another_ring() {
    let mut server = Server::new(RingOptions::default());
    let (mut client, stream) = server.pair();
    assert!(server.ring.detach(stream));
    assert!(!server.ring.detach(stream), "it is on its way");
    let socket = expect_detached(&mut server, stream);
    assert_eq!(server.ring.stream_count(), 0);
    assert!(!server.ring.detach(stream) && server.ring.socket(stream).is_none(), "it is over here");
    // What comes while it is on no ring waits in the socket.
    client.write_all(b"question").expect("an open socket");
    let mut other = other_ring();
    let there = other.attach(socket);
    match next_event_of(&mut other) {
        Event::Received { stream, data } => assert!(stream == there && &*data == b"question"),
        event => panic!("{event:?} has no place here"),
    }
    other.send(there, b"answer".to_vec());
    let mut answer = [0; 6];
    assert!(matches!(next_event_of(&mut other), Event::Sent { .. }));
    client.read_exact(&mut answer).expect("a ring that sends");
    assert_eq!(&answer, b"answer");
}

/// Somebody writes without a pause while the stream goes to and fro: bytes come before the cancellation is submitted,
/// between that and its end, and while nobody receives.
#[test]
fn n8_no_byte_is_lost_or_told_twice_whenever_it_comes() {
    const LEN: usize = 4 << 20;
    let mut rings = [Server::new(small_buffers(4, 1000)), Server::new(small_buffers(64, 4096))];
    let (mut client, mut stream) = rings[0].pair();
    let writer = thread::spawn(move || {
        let all = pattern(3, LEN);
        let mut at = 0;
        for round in 0.. {
            let end = LEN.min(at + 1 + round * 7 % 5000);
            client.write_all(&all[at..end]).expect("a server that reads");
            at = end;
            if round % 4 == 0 {
                thread::yield_now();
            }
            if at == LEN {
                return;
            }
        }
    });
    let (mut on, mut moves, mut called_off, mut asked) = (0, 0, 0, false);
    let mut received: Vec<u8> = Vec::new();
    loop {
        if !asked && received.len() < LEN {
            asked = rings[on].ring.detach(stream);
        }
        match rings[on].next_event() {
            Event::Received { stream: of, data } => {
                assert_eq!(of, stream);
                received.extend_from_slice(&data);
                called_off += usize::from(std::mem::take(&mut asked));
            }
            Event::Detached { stream: left, socket } => {
                assert_eq!(left, stream);
                asked = false;
                moves += 1;
                on = 1 - on;
                stream = rings[on].ring.attach(socket);
            }
            Event::EndOfStream { .. } => break,
            other => panic!("{other:?} has no place here"),
        }
    }
    writer.join().expect("a content writer");
    assert!(received == pattern(3, LEN), "{} of {LEN} bytes, or in disorder", received.len());
    assert!(moves > 0, "{moves} moves, {called_off} called off");
}

/// A small store of buffers: a stream that waits for one has bytes to come, and stays.
#[test]
fn n8_whatever_happens_to_it_first_keeps_the_stream() {
    let mut server = Server::new(RingOptions::default());
    let (mut client, stream) = server.pair();

    // It is sending.
    server.ring.send(stream, b"a".to_vec());
    assert!(!server.ring.detach(stream));
    assert!(matches!(server.next_event(), Event::Sent { .. }));

    // It begins to send.
    assert!(server.ring.detach(stream));
    server.ring.send(stream, b"b".to_vec());
    assert!(matches!(server.next_event(), Event::Sent { .. }));
    server.ring.submit_and_wait(Wait::No).expect("a ring that works");
    client.write_all(b"c").expect("an open socket");
    assert!(matches!(server.next_event(), Event::Received { .. }), "it was armed again");

    // Receiving is paused, and resumed.
    assert!(server.ring.detach(stream));
    server.ring.pause_receiving(stream);
    server.ring.submit_and_wait(Wait::No).expect("a ring that works");
    assert!(server.ring.next_event().is_none(), "it stays");
    assert!(!server.ring.detach(stream), "who is paused does not leave");
    server.ring.resume_receiving(stream);
    client.write_all(b"d").expect("an open socket");
    assert!(matches!(server.next_event(), Event::Received { .. }));

    // The peer ends it.
    assert!(server.ring.detach(stream));
    let mut two = [0; 2];
    client.read_exact(&mut two).expect("both were sent");
    drop(client);
    match server.next_event() {
        Event::EndOfStream { .. } => server.ring.close(stream),
        // The cancellation was first: the end waits in the socket.
        Event::Detached { socket, .. } => {
            let stream = server.ring.attach(socket);
            assert!(matches!(server.next_event(), Event::EndOfStream { .. }));
            server.ring.close(stream);
        }
        other => panic!("{other:?} has no place here"),
    }
    assert!(matches!(server.next_event(), Event::Closed { .. }));
}

#[test]
fn n4_a_stream_that_is_leaving_is_closed() {
    let mut server = Server::new(RingOptions::default());
    let (mut client, stream) = server.pair();
    assert!(server.ring.detach(stream));
    server.ring.close(stream);
    server.expect_closed(stream);
    assert_eq!(client.read(&mut [0; 1]).expect("an end"), 0);
    assert_eq!(server.ring.stream_count(), 0);
}
