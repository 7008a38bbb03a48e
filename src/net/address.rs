//! Where streams come from and where we listen: addresses as Redis writes them, and the entries of a
//! `bind` list as Redis reads them.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;

/// One end of a stream.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum StreamAddress {
    Ip(SocketAddr),
    /// The path is empty for the connecting end of a unix socket, which has no name.
    Unix(Box<Path>),
}

impl StreamAddress {
    /// Whether the peer is on this machine, so that protected mode lets it in.
    pub fn is_local(&self) -> bool {
        match self {
            StreamAddress::Ip(address) => address.ip().is_loopback(),
            StreamAddress::Unix(_) => true,
        }
    }

    pub fn is_unix(&self) -> bool {
        matches!(self, StreamAddress::Unix(_))
    }

    /// The port, 0 for a unix socket.
    pub fn port(&self) -> u16 {
        match self {
            StreamAddress::Ip(address) => address.port(),
            StreamAddress::Unix(_) => 0,
        }
    }
}

/// As in CLIENT LIST: `127.0.0.1:1234`, `[::1]:1234`, `/run/redis.sock:0`.
impl fmt::Display for StreamAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StreamAddress::Ip(SocketAddr::V4(v4)) => write!(f, "{}:{}", v4.ip(), v4.port()),
            // The zone of a link-local address is left out, as Redis leaves it out.
            StreamAddress::Ip(SocketAddr::V6(v6)) => write!(f, "[{}]:{}", v6.ip(), v6.port()),
            StreamAddress::Unix(path) => write!(f, "{}:0", path.display()),
        }
    }
}

/// One entry of a `bind` list.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BindAddress {
    pub host: BindHost,
    /// Written with a leading `-`: an address that this machine does not have is passed over.
    pub optional: bool,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum BindHost {
    /// `*`
    AnyV4,
    /// `::*`
    AnyV6,
    /// An address or a name; one with a colon is an IPv6 address.
    Named(String),
}

impl BindAddress {
    pub fn parse(text: &str) -> BindAddress {
        let (text, optional) = match text.strip_prefix('-') {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        let host = match text {
            "*" => BindHost::AnyV4,
            "::*" => BindHost::AnyV6,
            named => BindHost::Named(named.to_owned()),
        };
        BindAddress { host, optional }
    }
}

/// As it was written, without the `-`.
impl fmt::Display for BindAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.host {
            BindHost::AnyV4 => "*",
            BindHost::AnyV6 => "::*",
            BindHost::Named(name) => name,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_as_in_client_list() {
        let ip = |text: &str| StreamAddress::Ip(text.parse().expect("an address"));
        assert_eq!(ip("127.0.0.1:1234").to_string(), "127.0.0.1:1234");
        assert_eq!(ip("[::1]:1234").to_string(), "[::1]:1234");
        assert_eq!(ip("[fe80::1%3]:6379").to_string(), "[fe80::1]:6379");
        assert_eq!(ip("[::ffff:1.2.3.4]:1").to_string(), "[::ffff:1.2.3.4]:1");
        let unix = StreamAddress::Unix(Path::new("/run/redis.sock").into());
        assert_eq!(unix.to_string(), "/run/redis.sock:0");
        assert_eq!(unix.port(), 0);
    }

    #[test]
    fn loopback_and_unix_are_local() {
        let ip = |text: &str| StreamAddress::Ip(text.parse().expect("an address"));
        assert!(ip("127.0.0.1:1").is_local());
        assert!(ip("127.9.9.9:1").is_local());
        assert!(ip("[::1]:1").is_local());
        assert!(!ip("10.0.0.1:1").is_local());
        assert!(!ip("[::2]:1").is_local());
        assert!(StreamAddress::Unix(Path::new("").into()).is_local());
    }

    #[test]
    fn bind_entries() {
        let parsed = |text| {
            let entry = BindAddress::parse(text);
            (entry.host, entry.optional)
        };
        assert_eq!(parsed("*"), (BindHost::AnyV4, false));
        assert_eq!(parsed("-::*"), (BindHost::AnyV6, true));
        assert_eq!(parsed("::1"), (BindHost::Named("::1".into()), false));
        assert_eq!(parsed("-::1"), (BindHost::Named("::1".into()), true));
        assert_eq!(BindAddress::parse("-10.0.0.1").to_string(), "10.0.0.1");
    }
}
