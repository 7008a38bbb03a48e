//! A blocking client that hides nothing: whole commands, pipelines, or any bytes a test wants to send.
//!
//! Every wait has an end: a server that does not answer fails the test instead of hanging it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::{Value, encode};

const PATIENCE: Duration = Duration::from_secs(30);

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

pub struct Client {
    stream: Stream,
    received: Vec<u8>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> io::Result<Client> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Client { stream: Stream::Tcp(stream), received: Vec::new() })
    }

    pub fn connect_unix(path: &Path) -> io::Result<Client> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Client { stream: Stream::Unix(stream), received: Vec::new() })
    }

    /// One command and its reply.
    pub fn command<A: AsRef<[u8]>>(&mut self, argv: &[A]) -> Value {
        self.send(argv);
        self.receive()
    }

    /// As `command`, of a server that may end.
    pub fn try_command<A: AsRef<[u8]>>(&mut self, argv: &[A]) -> io::Result<Value> {
        self.try_send_raw(&encode(argv))?;
        self.try_receive()
    }

    /// All commands in one write, then all replies.
    pub fn pipeline<A: AsRef<[u8]>>(&mut self, commands: &[Vec<A>]) -> Vec<Value> {
        let bytes: Vec<u8> = commands.iter().flat_map(|argv| encode(argv)).collect();
        self.send_raw(&bytes);
        commands.iter().map(|_| self.receive()).collect()
    }

    pub fn send<A: AsRef<[u8]>>(&mut self, argv: &[A]) {
        self.send_raw(&encode(argv));
    }

    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.try_send_raw(bytes).expect("the server takes what is sent");
    }

    /// For tests in which the server may close first.
    pub fn try_send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            Stream::Tcp(stream) => stream.write_all(bytes),
            Stream::Unix(stream) => stream.write_all(bytes),
        }
    }

    pub fn receive(&mut self) -> Value {
        self.try_receive().expect("the server replies")
    }

    /// The next reply; an error when the connection ends before it is complete.
    pub fn try_receive(&mut self) -> io::Result<Value> {
        self.next_reply().map(|(value, _)| value)
    }

    /// The next reply exactly as it came.
    pub fn receive_raw(&mut self) -> Vec<u8> {
        self.next_reply().expect("the server replies").1
    }

    fn next_reply(&mut self) -> io::Result<(Value, Vec<u8>)> {
        loop {
            if let Some((value, length)) = Value::parse(&self.received) {
                return Ok((value, self.received.drain(..length).collect()));
            }
            if self.read_more()? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Everything until the server closes the connection.
    pub fn receive_until_closed(&mut self) -> Vec<u8> {
        loop {
            match self.read_more() {
                Ok(0) => return std::mem::take(&mut self.received),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                    return std::mem::take(&mut self.received);
                }
                Err(error) => panic!("the server did not close the connection: {error}"),
            }
        }
    }

    /// No more bytes from this side; the server may still answer.
    pub fn finish_sending(&mut self) {
        let finished = match &self.stream {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
        };
        finished.expect("the connection is open");
    }

    /// Reads for a bounded time: whether the server said anything. Only for what must *not* arrive.
    pub fn is_silent_for(&mut self, time: Duration) -> bool {
        self.set_read_timeout(time);
        let outcome = self.read_more();
        self.set_read_timeout(PATIENCE);
        self.received.is_empty()
            && matches!(outcome, Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
    }

    fn set_read_timeout(&self, time: Duration) {
        let set = match &self.stream {
            Stream::Tcp(stream) => stream.set_read_timeout(Some(time)),
            Stream::Unix(stream) => stream.set_read_timeout(Some(time)),
        };
        set.expect("the time is not zero");
    }

    fn read_more(&mut self) -> io::Result<usize> {
        let mut chunk = [0; 64 * 1024];
        loop {
            let read = match &mut self.stream {
                Stream::Tcp(stream) => stream.read(&mut chunk),
                Stream::Unix(stream) => stream.read(&mut chunk),
            };
            match read {
                Ok(count) => {
                    self.received.extend_from_slice(&chunk[..count]);
                    return Ok(count);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
