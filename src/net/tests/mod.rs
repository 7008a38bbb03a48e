//! The promises of `mod.rs`, kept over real sockets of this machine.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use super::*;

mod files;
mod leaving;
mod listening;
mod streams;

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
