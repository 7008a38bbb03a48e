//! Sockets that listen: how they are opened (as Redis opens them) and how a ring accepts from them.
//!
//! A listener on a ring is in one of three states:
//! ```text
//!   Armed    --completion without MORE-->  Armed again (`arm_accept`), or
//!            --out of descriptors------->  BackingOff  --timer-->  Armed
//!   Stopping --last completion---------->  gone (`Event::ListenerClosed`)
//! ```

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use io_uring::{cqueue, opcode, types};

use super::address::{BindAddress, BindHost, StreamAddress};
use super::operation::{self, Id, Kind};
use super::ring::Ring;
use super::socket::{self, RawAddress};
use super::{Event, ListenerId};

/// How long accepting rests when the process is out of descriptors.
static ACCEPT_REST: types::Timespec = types::Timespec::new().nsec(100_000_000);

/// What a listening socket gives to the streams accepted from it.
#[derive(Clone, Copy, Debug)]
pub struct ListenOptions {
    /// `tcp-backlog`
    pub backlog: u32,
    /// `tcp-keepalive` in seconds; 0 turns it off.
    pub keepalive_seconds: u32,
    /// Several sockets on one port, the kernel chooses among them.
    pub reuse_port: bool,
}

impl Default for ListenOptions {
    fn default() -> ListenOptions {
        ListenOptions { backlog: 511, keepalive_seconds: 300, reuse_port: false }
    }
}

/// Why an address cannot be listened on. `Display` is what Redis logs for it.
#[derive(Debug, thiserror::Error)]
#[error("{address}: {step}: {}", crate::base::os_error::reason(source))]
pub struct ListenError {
    /// `host:port`, or a path.
    pub address: String,
    /// `socket`, `bind`, `listen`, ...
    pub step: &'static str,
    pub source: io::Error,
}

impl ListenError {
    /// Whether somebody listens there already.
    pub fn is_in_use(&self) -> bool {
        self.source.kind() == io::ErrorKind::AddrInUse
    }
}

/// A socket that listens and is not on a ring yet.
#[derive(Debug)]
pub struct Listener {
    socket: OwnedFd,
    address: StreamAddress,
}

/// What became of a `bind` list.
#[derive(Debug, Default)]
pub struct Bound {
    pub listeners: Vec<Listener>,
    /// Addresses that were passed over because they are optional or their family is unsupported.
    pub skipped: Vec<ListenError>,
}

impl Listener {
    /// Opens every address of a `bind` list, or none.
    pub fn bind_all(
        addresses: &[BindAddress],
        port: u16,
        options: &ListenOptions,
    ) -> Result<Bound, ListenError> {
        let mut bound = Bound::default();
        for address in addresses {
            match Listener::bind(address, port, options) {
                Ok(listener) => bound.listeners.push(listener),
                Err(error) if is_passed_over(&error, address.optional) => bound.skipped.push(error),
                Err(error) => return Err(error),
            }
        }
        Ok(bound)
    }

    /// Opens one address of a `bind` list.
    pub fn bind(address: &BindAddress, port: u16, options: &ListenOptions) -> Result<Listener, ListenError> {
        let failed = |step, source| ListenError { address: format!("{address}:{port}"), step, source };
        let mut last = None;
        for candidate in resolve(&address.host, port).map_err(|source| failed("resolve", source))? {
            match Listener::tcp(candidate, options) {
                Ok(listener) => return Ok(listener),
                Err(error) => last = Some(error),
            }
        }
        match last {
            Some(error) => Err(failed(error.step, error.source)),
            None => Err(failed("resolve", io::Error::from_raw_os_error(libc::EADDRNOTAVAIL))),
        }
    }

    /// Listens on one address; port 0 lets the kernel choose.
    pub fn tcp(address: SocketAddr, options: &ListenOptions) -> Result<Listener, ListenError> {
        let failed = |step| move |source| ListenError { address: address.to_string(), step, source };
        let family = if address.is_ipv6() { libc::AF_INET6 } else { libc::AF_INET };
        let socket = socket::open(family).map_err(failed("socket"))?;
        let fd = socket.as_fd();
        let set =
            |level, name, value| socket::set_option(fd, level, name, value).map_err(failed("setsockopt"));
        if address.is_ipv6() {
            set(libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1)?;
        }
        set(libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
        if options.reuse_port {
            set(libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)?;
        }
        // Accepted sockets inherit these from the listening one, which spares five calls per accept.
        set(libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)?;
        set_keepalive(fd, options.keepalive_seconds).map_err(failed("setsockopt"))?;
        socket::bind(fd, &RawAddress::from_ip(address)).map_err(failed("bind"))?;
        socket::listen(fd, backlog(options)).map_err(failed("listen"))?;
        let address = socket::local_address(fd).map_err(failed("getsockname"))?;
        Ok(Listener { socket, address })
    }

    /// Listens on a unix socket. Whatever a former process left at `path` is removed first, as Redis does;
    /// `mode` is `unixsocketperm`.
    pub fn unix(path: &Path, mode: Option<u32>, options: &ListenOptions) -> Result<Listener, ListenError> {
        let failed = |step| move |source| ListenError { address: path.display().to_string(), step, source };
        let address = RawAddress::from_path(path).map_err(failed("bind"))?;
        match std::fs::remove_file(path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // What cannot be removed makes `bind` fail with the reason an operator understands.
            Err(_) => {}
        }
        let socket = socket::open(libc::AF_UNIX).map_err(failed("socket"))?;
        socket::bind(socket.as_fd(), &address).map_err(failed("bind"))?;
        if let Some(mode) = mode {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(failed("chmod"))?;
        }
        socket::listen(socket.as_fd(), backlog(options)).map_err(failed("listen"))?;
        Ok(Listener { socket, address: StreamAddress::Unix(path.into()) })
    }

    pub fn address(&self) -> &StreamAddress {
        &self.address
    }

    /// The path to remove when the server ends.
    pub fn unix_path(&self) -> Option<PathBuf> {
        match &self.address {
            StreamAddress::Unix(path) => Some(path.to_path_buf()),
            StreamAddress::Ip(_) => None,
        }
    }
}

fn backlog(options: &ListenOptions) -> i32 {
    i32::try_from(options.backlog).unwrap_or(i32::MAX)
}

impl BindAddress {
    /// The socket addresses it stands for.
    ///
    /// # Errors
    /// What the system's resolver says.
    pub fn resolve(&self, port: u16) -> io::Result<Vec<SocketAddr>> {
        resolve(&self.host, port)
    }
}

fn resolve(host: &BindHost, port: u16) -> io::Result<Vec<SocketAddr>> {
    match host {
        BindHost::AnyV4 => Ok(vec![SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port)]),
        BindHost::AnyV6 => Ok(vec![SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port)]),
        BindHost::Named(name) => {
            let v6 = name.contains(':');
            let all = (name.as_str(), port).to_socket_addrs()?;
            Ok(all.filter(|address| address.is_ipv6() == v6).collect())
        }
    }
}

/// Redis goes on without an optional address that the machine lacks, and without any address whose
/// family the kernel does not know.
fn is_passed_over(error: &ListenError, optional: bool) -> bool {
    match error.source.raw_os_error() {
        Some(libc::EADDRNOTAVAIL) => optional,
        Some(
            libc::ENOPROTOOPT
            | libc::EPROTONOSUPPORT
            | libc::ESOCKTNOSUPPORT
            | libc::EPFNOSUPPORT
            | libc::EAFNOSUPPORT,
        ) => true,
        _ => false,
    }
}

/// Probes an idle peer after `seconds`, then three times at a third of that; 0 turns it off.
pub fn set_keepalive(socket: BorrowedFd<'_>, seconds: u32) -> io::Result<()> {
    socket::set_option(socket, libc::SOL_SOCKET, libc::SO_KEEPALIVE, i32::from(seconds > 0))?;
    if seconds == 0 {
        return Ok(());
    }
    let idle = i32::try_from(seconds).unwrap_or(i32::MAX);
    socket::set_option(socket, libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, idle)?;
    socket::set_option(socket, libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, (idle / 3).max(1))?;
    socket::set_option(socket, libc::IPPROTO_TCP, libc::TCP_KEEPCNT, 3)
}

/// For sockets this process has opened: what accepted ones inherit from their listener.
pub fn set_stream_options(socket: BorrowedFd<'_>, keepalive_seconds: u32) -> io::Result<()> {
    socket::set_option(socket, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)?;
    set_keepalive(socket, keepalive_seconds)
}

/// A listener on a ring.
pub(super) struct Accepting {
    listener: Listener,
    state: AcceptState,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum AcceptState {
    Armed,
    BackingOff,
    Stopping,
}

impl Ring {
    /// Accepts from `listener` until `stop_listening`.
    pub fn listen(&mut self, listener: Listener) -> ListenerId {
        let id = self.listeners.insert(Accepting { listener, state: AcceptState::Armed });
        self.arm_accept(id);
        ListenerId(id)
    }

    /// The address a listener of this ring listens on.
    pub fn listener_address(&mut self, listener: ListenerId) -> Option<&StreamAddress> {
        self.listeners.find(listener.0).map(|accepting| &accepting.listener.address)
    }

    /// For connections accepted from now on (CONFIG SET tcp-keepalive).
    pub fn set_listener_keepalive(&mut self, listener: ListenerId, seconds: u32) -> io::Result<()> {
        match self.listeners.find(listener.0) {
            Some(accepting) if !accepting.listener.address.is_unix() => {
                set_keepalive(accepting.listener.socket.as_fd(), seconds)
            }
            _ => Ok(()),
        }
    }

    /// Whoever comes from now on is refused at once; the listener is still to be stopped.
    pub fn refuse_connections(&mut self, listener: ListenerId) {
        if let Some(accepting) = self.listeners.find(listener.0) {
            super::socket::refuse_connections(accepting.listener.socket.as_fd());
        }
    }

    /// Stops accepting; `Event::ListenerClosed` says when the socket is closed. Connections that
    /// were accepted before are still told.
    pub fn stop_listening(&mut self, listener: ListenerId) {
        let Some(accepting) = self.listeners.find(listener.0) else { return };
        let pending = match accepting.state {
            AcceptState::Armed => Kind::Accept,
            AcceptState::BackingOff => Kind::AcceptRetry,
            AcceptState::Stopping => return,
        };
        accepting.state = AcceptState::Stopping;
        self.cancel(operation::encode(pending, listener.0));
    }

    fn arm_accept(&mut self, id: Id) {
        let accepting = self.listeners.find(id).expect("only a present listener is armed");
        accepting.state = AcceptState::Armed;
        let entry = opcode::AcceptMulti::new(types::Fd(accepting.listener.socket.as_raw_fd()))
            .flags(libc::SOCK_CLOEXEC)
            .build()
            .user_data(operation::encode(Kind::Accept, id));
        // SAFETY: the entry names no memory; the socket is closed only after its last completion.
        unsafe { self.kernel.push(&entry) };
    }

    pub(super) fn accept_completed(&mut self, id: Id, completion: &cqueue::Entry) -> Option<Event> {
        let result = completion.result();
        let listener = ListenerId(id);
        let stopping =
            self.listeners.find(id).map(|accepting| accepting.state) == Some(AcceptState::Stopping);

        let event = if result >= 0 {
            // SAFETY: a successful accept hands over a new descriptor that nobody else knows.
            let socket = unsafe { socket::adopt(result) };
            // A peer that is gone already has no address; its end will be seen by the first receive.
            let peer = socket::peer_address(socket.as_fd())
                .unwrap_or(StreamAddress::Ip(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0)));
            Some(Event::Accepted { listener, socket, peer })
        } else if result == -libc::ECANCELED || stopping || is_peers_fault(-result) {
            None
        } else {
            Some(Event::AcceptFailed { listener, error: io::Error::from_raw_os_error(-result) })
        };

        if !cqueue::more(completion.flags()) {
            if stopping {
                self.listener_over(id);
            } else if event.as_ref().is_some_and(|event| matches!(event, Event::AcceptFailed { .. })) {
                self.rest_accept(id);
            } else {
                self.arm_accept(id);
            }
        }
        event
    }

    /// Out of descriptors or memory: trying at once would only spin.
    fn rest_accept(&mut self, id: Id) {
        let accepting = self.listeners.find(id).expect("only a present listener rests");
        accepting.state = AcceptState::BackingOff;
        let entry = opcode::Timeout::new(&raw const ACCEPT_REST)
            .build()
            .user_data(operation::encode(Kind::AcceptRetry, id));
        // SAFETY: the entry names a static.
        unsafe { self.kernel.push(&entry) };
    }

    pub(super) fn accept_rested(&mut self, id: Id) {
        match self.listeners.find(id).map(|accepting| accepting.state) {
            Some(AcceptState::Stopping) => self.listener_over(id),
            Some(_) => self.arm_accept(id),
            None => {}
        }
    }

    fn listener_over(&mut self, id: Id) {
        drop(self.listeners.remove(id));
        self.pending.push_back(Event::ListenerClosed { listener: ListenerId(id) });
    }
}

/// Failures of one connection that say nothing about the next.
fn is_peers_fault(errno: i32) -> bool {
    matches!(
        errno,
        libc::ECONNABORTED
            | libc::EINTR
            | libc::EAGAIN
            | libc::EPROTO
            | libc::ENETDOWN
            | libc::ENOPROTOOPT
            | libc::EHOSTDOWN
            | libc::ENONET
            | libc::EHOSTUNREACH
            | libc::ENETUNREACH
    )
}
