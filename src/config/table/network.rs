//! Where the server listens and how it treats sockets.

use crate::config::declaration::{Declaration, INT_MAX};
use crate::config::value::Kind;

pub(super) const PARAMETERS: &[Declaration] = &[
    Declaration::special(
        "bind",
        Kind::BindAddresses,
        "* -::*",
        "Addresses to listen on; one with a dash may be missing on this machine.",
    )
    .implemented()
    .extremes(&["127.0.0.1 -::1", "*"]),
    Declaration::optional("bind-source-addr", "The address from which this server connects to others."),
    Declaration::integer("port", "6379", "TCP port; 0 listens on none.")
        .bounds(0, 65535)
        .implemented()
        .extremes(&["0"]),
    Declaration::optional("unixsocket", "Path of a socket for clients of this machine.")
        .at_start()
        .implemented(),
    Declaration::special(
        "unixsocketperm",
        Kind::Octal { max: 0o777 },
        "0",
        "Permissions of that socket in octal; 0 leaves them to the umask.",
    )
    .at_start()
    .implemented()
    .extremes(&["777"]),
    Declaration::integer("tcp-backlog", "511", "Connections that may wait to be accepted.")
        .at_start()
        .implemented()
        .extremes(&["1"]),
    Declaration::integer("tcp-keepalive", "300", "Seconds of silence before a peer is probed; 0 never does.")
        .bounds(0, INT_MAX)
        .implemented()
        .extremes(&["0"]),
    Declaration::integer("socket-mark-id", "0", "Mark of listening sockets for the packet filter.")
        .bounds(0, u32::MAX as i64)
        .at_start(),
];
