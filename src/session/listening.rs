//! CONFIG SET port and bind: the sockets to listen on from now on.
//!
//! The sockets are opened where the command runs, so that a failure is its reply, and taken over by the core
//! that accepts. An address that stays keeps its socket; one that goes is closed only after the new ones are
//! open. So an address cannot take the place of one that covers it (`*` and `127.0.0.1`, same port).

use crate::config::Config;
use crate::config::parameter::{BIND, PORT, TCP_BACKLOG, TCP_KEEPALIVE};
use crate::net::{BindAddress, ListenError, ListenOptions, Listener};
use std::net::SocketAddr;

/// What the accepting core has to do.
#[derive(Debug)]
pub struct ListeningChange {
    pub port: u16,
    /// Sockets that are open and accept nobody yet.
    pub add: Vec<Listener>,
    /// All other addresses are closed.
    pub keep: Vec<SocketAddr>,
}

impl ListeningChange {
    /// Opens what `new` listens on and `old` does not.
    ///
    /// # Errors
    /// If an address cannot be opened; then nothing has changed.
    pub fn open(old: &Config, new: &Config) -> Result<Self, ListenError> {
        let port = new.get(PORT);
        let mut change = Self { port, add: Vec::new(), keep: Vec::new() };
        if port == 0 {
            return Ok(change);
        }
        let same_port = old.get(PORT) == port;
        let (stay, come): (Vec<_>, Vec<_>) =
            new.get(BIND).iter().partition(|word| same_port && old.get(BIND).contains(word));
        let parse = |word: &[u8]| BindAddress::parse(&String::from_utf8_lossy(word));
        change.keep =
            stay.into_iter().flat_map(|word| parse(word).resolve(port).unwrap_or_default()).collect();
        let addresses: Vec<BindAddress> = come.into_iter().map(|word| parse(word)).collect();
        change.add = Listener::bind_all(&addresses, port, &listen_options(new))?.listeners;
        Ok(change)
    }
}

pub fn listen_options(config: &Config) -> ListenOptions {
    ListenOptions {
        backlog: config.get(TCP_BACKLOG),
        keepalive_seconds: config.get(TCP_KEEPALIVE),
        ..ListenOptions::default()
    }
}
