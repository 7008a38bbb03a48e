//! The socket system calls that std does not offer as we need them, each behind a safe face.

use std::io;
use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::address::StreamAddress;

fn check(result: i32) -> io::Result<i32> {
    if result >= 0 { Ok(result) } else { Err(io::Error::last_os_error()) }
}

/// A blocking stream socket; io_uring waits on it by itself.
pub(super) fn open(family: i32) -> io::Result<OwnedFd> {
    // SAFETY: no memory is passed.
    let fd = check(unsafe { libc::socket(family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: the descriptor is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

pub(super) fn set_option(socket: BorrowedFd<'_>, level: i32, name: i32, value: i32) -> io::Result<()> {
    // SAFETY: the kernel reads the four bytes of `value` during the call.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of::<i32>() as libc::socklen_t,
        )
    })
    .map(drop)
}

#[cfg(test)]
pub(super) fn option(socket: BorrowedFd<'_>, level: i32, name: i32) -> io::Result<i32> {
    let mut value = 0i32;
    let mut len = size_of::<i32>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes to `value` during the call.
    check(unsafe {
        libc::getsockopt(socket.as_raw_fd(), level, name, (&raw mut value).cast(), &raw mut len)
    })?;
    Ok(value)
}

/// An address in the form the kernel reads.
pub(super) struct RawAddress {
    storage: libc::sockaddr_storage,
    len: libc::socklen_t,
}

impl RawAddress {
    fn zeroed() -> RawAddress {
        // SAFETY: all zeroes is a valid `sockaddr_storage` (of family AF_UNSPEC).
        RawAddress { storage: unsafe { mem::zeroed() }, len: 0 }
    }

    /// Writes `address`, one of libc's `sockaddr_*`, over the storage.
    fn from_part<T>(address: T, len: usize) -> RawAddress {
        const { assert!(size_of::<T>() <= size_of::<libc::sockaddr_storage>()) };
        const { assert!(align_of::<T>() <= align_of::<libc::sockaddr_storage>()) };
        let mut raw = RawAddress::zeroed();
        // SAFETY: the storage is large and aligned enough (asserted above) and not otherwise borrowed.
        unsafe { (&raw mut raw.storage).cast::<T>().write(address) };
        raw.len = len as libc::socklen_t;
        raw
    }

    pub(super) fn from_ip(address: SocketAddr) -> RawAddress {
        match address {
            SocketAddr::V4(v4) => RawAddress::from_part(
                libc::sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: v4.port().to_be(),
                    sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
                    sin_zero: [0; 8],
                },
                size_of::<libc::sockaddr_in>(),
            ),
            SocketAddr::V6(v6) => RawAddress::from_part(
                libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as libc::sa_family_t,
                    sin6_port: v6.port().to_be(),
                    sin6_flowinfo: v6.flowinfo(),
                    sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                    sin6_scope_id: v6.scope_id(),
                },
                size_of::<libc::sockaddr_in6>(),
            ),
        }
    }

    pub(super) fn from_path(path: &Path) -> io::Result<RawAddress> {
        let bytes = path.as_os_str().as_bytes();
        let mut address =
            libc::sockaddr_un { sun_family: libc::AF_UNIX as libc::sa_family_t, sun_path: [0; 108] };
        // One byte stays for the terminating zero.
        if bytes.len() >= address.sun_path.len() || bytes.contains(&0) {
            return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
        }
        for (place, byte) in address.sun_path.iter_mut().zip(bytes) {
            *place = *byte as libc::c_char;
        }
        let len = mem::offset_of!(libc::sockaddr_un, sun_path) + bytes.len() + 1;
        Ok(RawAddress::from_part(address, len))
    }

    fn to_address(&self) -> io::Result<StreamAddress> {
        match i32::from(self.storage.ss_family) {
            libc::AF_INET => {
                // SAFETY: the family says what the kernel has written; the storage is large and aligned enough.
                let v4 = unsafe { (&raw const self.storage).cast::<libc::sockaddr_in>().read() };
                let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
                let port = u16::from_be(v4.sin_port);
                Ok(StreamAddress::Ip(SocketAddr::V4(SocketAddrV4::new(ip, port))))
            }
            libc::AF_INET6 => {
                // SAFETY: as above.
                let v6 = unsafe { (&raw const self.storage).cast::<libc::sockaddr_in6>().read() };
                let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
                let port = u16::from_be(v6.sin6_port);
                let address = SocketAddrV6::new(ip, port, v6.sin6_flowinfo, v6.sin6_scope_id);
                Ok(StreamAddress::Ip(SocketAddr::V6(address)))
            }
            libc::AF_UNIX => {
                // SAFETY: as above.
                let unix = unsafe { (&raw const self.storage).cast::<libc::sockaddr_un>().read() };
                let written =
                    (self.len as usize).saturating_sub(mem::offset_of!(libc::sockaddr_un, sun_path));
                let bytes: Vec<u8> =
                    unix.sun_path.iter().take(written).map(|&c| c as u8).take_while(|&b| b != 0).collect();
                Ok(StreamAddress::Unix(PathBuf::from(std::ffi::OsStr::from_bytes(&bytes)).into_boxed_path()))
            }
            _ => Err(io::Error::from_raw_os_error(libc::EAFNOSUPPORT)),
        }
    }
}

pub(super) fn bind(socket: BorrowedFd<'_>, address: &RawAddress) -> io::Result<()> {
    let start = (&raw const address.storage).cast();
    // SAFETY: the kernel reads `len` bytes of the storage, which holds at least as many.
    check(unsafe { libc::bind(socket.as_raw_fd(), start, address.len) }).map(drop)
}

pub(super) fn listen(socket: BorrowedFd<'_>, backlog: i32) -> io::Result<()> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::listen(socket.as_raw_fd(), backlog) }).map(drop)
}

type NameCall = unsafe extern "C" fn(i32, *mut libc::sockaddr, *mut libc::socklen_t) -> i32;

fn name(socket: BorrowedFd<'_>, call: NameCall) -> io::Result<StreamAddress> {
    let mut raw = RawAddress::zeroed();
    raw.len = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes to the storage, and the length.
    check(unsafe { call(socket.as_raw_fd(), (&raw mut raw.storage).cast(), &raw mut raw.len) })?;
    raw.to_address()
}

pub(super) fn local_address(socket: BorrowedFd<'_>) -> io::Result<StreamAddress> {
    name(socket, libc::getsockname)
}

pub(super) fn peer_address(socket: BorrowedFd<'_>) -> io::Result<StreamAddress> {
    name(socket, libc::getpeername)
}

/// No more bytes will be sent; the peer sees the end of the stream.
pub(super) fn shutdown_write(socket: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::shutdown(socket.as_raw_fd(), libc::SHUT_WR) }).map(drop)
}

/// A listening socket refuses from now on, whoever else has it open.
pub(super) fn refuse_connections(socket: BorrowedFd<'_>) {
    // SAFETY: no memory is passed. A socket that cannot do it is closed a moment later.
    unsafe { libc::shutdown(socket.as_raw_fd(), libc::SHUT_RDWR) };
}

pub(super) fn is_nonblocking(socket: BorrowedFd<'_>) -> bool {
    // SAFETY: no memory is passed.
    let flags = unsafe { libc::fcntl(socket.as_raw_fd(), libc::F_GETFL) };
    flags >= 0 && flags & libc::O_NONBLOCK != 0
}

/// A counter that wakes whoever polls or reads it.
pub(super) fn eventfd() -> io::Result<OwnedFd> {
    // SAFETY: no memory is passed.
    let fd = check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) })?;
    // SAFETY: the descriptor is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Adds one to an eventfd.
pub(super) fn signal(eventfd: BorrowedFd<'_>) {
    let one = 1u64;
    // SAFETY: the kernel reads eight bytes of `one`. The call blocks only at 2^64 - 1 signals.
    let result = unsafe { libc::write(eventfd.as_raw_fd(), (&raw const one).cast(), size_of::<u64>()) };
    debug_assert_eq!(result, 8, "an eventfd takes eight bytes");
}

/// A received descriptor of a completion.
///
/// # Safety
/// The kernel must have handed `fd` to this process, and nobody else may own it.
pub(super) unsafe fn adopt(fd: i32) -> OwnedFd {
    // SAFETY: the caller's promise.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Makes the next close of `socket` a reset.
#[cfg(test)]
pub(super) fn reset_on_close(socket: BorrowedFd<'_>) -> io::Result<()> {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    // SAFETY: the kernel reads `linger` during the call.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            size_of::<libc::linger>() as libc::socklen_t,
        )
    })
    .map(drop)
}

#[cfg(test)]
pub(super) fn limit_descriptors(count: u64) -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: count, rlim_max: count };
    // SAFETY: the kernel reads `limit` during the call.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }).map(drop)
}
