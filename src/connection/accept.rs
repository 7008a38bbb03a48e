//! A socket becomes a client, or is told why not.

use crate::dispatch::Dealt;
use crate::net::StreamAddress;
use std::os::fd::OwnedFd;

/// What accepting needs to know of the configuration.
#[derive(Clone, Copy, Debug)]
pub struct AcceptPolicy {
    pub clients: usize,
    pub clients_max: usize,
    /// `protected-mode` is on and the default user has no password.
    pub protected: bool,
}

const TOO_MANY: &str = "-ERR max number of clients reached\r\n";
const PROTECTED: &str = "-DENIED Pinion is running in protected mode because protected mode is enabled and no \
     password is set for the default user. In this mode connections are only accepted from the loopback \
     interface. To connect from other hosts: 1) set a password with CONFIG SET requirepass from the loopback \
     interface, or with the requirepass directive in the configuration file; or 2) disable protected mode \
     with CONFIG SET protected-mode no from the loopback interface, but only on a host that is not reachable \
     from the Internet; follow it by CONFIG REWRITE to make it permanent; or 3) start the server with \
     --protected-mode no.\r\n";

/// Why this peer is not served, as the line it is sent before the socket is closed.
pub fn refusal(peer: &StreamAddress, policy: AcceptPolicy) -> Option<&'static str> {
    if policy.clients >= policy.clients_max {
        return Some(TOO_MANY);
    }
    if policy.protected && !peer.is_local() { Some(PROTECTED) } else { None }
}

/// The socket with what CLIENT LIST tells of it.
pub fn describe(socket: OwnedFd, peer: &StreamAddress) -> Dealt {
    Dealt { socket, address: peer.to_string(), is_unix: peer.is_unix() }
}
