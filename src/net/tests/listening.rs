//! Listeners and doorbells.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread;

use super::*;

#[test]
fn a_burst_of_connections_is_accepted_with_their_options() {
    const CLIENTS: usize = 300;
    let mut server = Server::new(RingOptions::default());
    let clients: Vec<TcpStream> = (0..CLIENTS).map(|_| server.connect()).collect();
    let mut peers: Vec<String> = Vec::new();
    for _ in 0..CLIENTS {
        let Event::Accepted { listener, socket, peer } = server.next_event() else {
            panic!("a connection was expected")
        };
        assert_eq!(listener, server.listener);
        assert!(peer.is_local() && !peer.is_unix());
        let option = |level, name| socket::option(socket.as_fd(), level, name).expect("an option");
        assert_ne!(option(libc::IPPROTO_TCP, libc::TCP_NODELAY), 0);
        assert_ne!(option(libc::SOL_SOCKET, libc::SO_KEEPALIVE), 0);
        assert_eq!(option(libc::IPPROTO_TCP, libc::TCP_KEEPIDLE), 300);
        assert_eq!(option(libc::IPPROTO_TCP, libc::TCP_KEEPINTVL), 100);
        assert_eq!(option(libc::IPPROTO_TCP, libc::TCP_KEEPCNT), 3);
        peers.push(peer.to_string());
    }
    let mut expected: Vec<String> =
        clients.iter().map(|client| client.local_addr().expect("connected").to_string()).collect();
    expected.sort();
    peers.sort();
    assert_eq!(peers, expected);
}

#[test]
fn a_stopped_listener_refuses() {
    let mut server = Server::new(RingOptions::default());
    let (mut client, stream) = server.pair();
    server.ring.stop_listening(server.listener);
    assert!(matches!(server.next_event(), Event::ListenerClosed { .. }));
    assert!(TcpStream::connect(server.address).is_err());
    client.write_all(b"still here").expect("a server that reads");
    assert!(matches!(server.next_event(), Event::Received { stream: heard, .. } if heard == stream));
}

#[test]
fn a_socket_accepted_here_is_served_by_another_core() {
    let mut server = Server::new(RingOptions::default());
    let mut client = server.connect();
    let Event::Accepted { socket, .. } = server.next_event() else { panic!("a connection was expected") };
    let (hand, taken) = mpsc::channel::<OwnedFd>();
    let other = thread::spawn(move || {
        let mut other = Server::new(RingOptions::default());
        other.ring.attach(taken.recv().expect("a socket"));
        other.echo(1);
    });
    hand.send(socket).expect("a core that takes it");
    client.write_all(b"who is there").expect("a server that reads");
    client.shutdown(Shutdown::Write).expect("a connected socket");
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).expect("a server that answers");
    assert_eq!(answer, b"who is there");
    other.join().expect("a content core");
}

#[test]
fn doorbells_wake_a_sleeping_ring() {
    const RINGS: usize = 50;
    let (give, take) = mpsc::channel::<Doorbell>();
    let sleeper = thread::spawn(move || {
        let mut sleeper = Server::new(RingOptions::default());
        for _ in 0..RINGS {
            give.send(sleeper.ring.doorbell()).expect("someone who rings");
            assert!(matches!(sleeper.next_event(), Event::Doorbell));
        }
    });
    let mut ringer = Server::new(RingOptions::default());
    for at in 0..RINGS {
        let bell = take.recv().expect("a bell");
        if at % 2 == 0 {
            ringer.ring.ring_doorbell(&bell);
            ringer.ring.submit_and_wait(Wait::No).expect("a ring that works");
        } else {
            bell.ring_from_any_thread();
        }
    }
    sleeper.join().expect("a sleeper that woke");
    assert!(ringer.ring.next_event().is_none(), "a bell that rang is not told to who rang it");
}

#[test]
fn a_doorbell_of_a_ring_that_is_gone_is_harmless() {
    let bell = thread::spawn(|| Server::new(RingOptions::default()).ring.doorbell()).join().expect("a bell");
    let mut server = Server::new(RingOptions::default());
    server.ring.ring_doorbell(&bell);
    bell.ring_from_any_thread();
    let (mut client, stream) = server.pair();
    client.write_all(b"on").expect("a server that reads");
    assert!(matches!(server.next_event(), Event::Received { stream: heard, .. } if heard == stream));
}

#[test]
fn unix_sockets_have_a_mode_and_replace_stale_files() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("server.sock");
    std::fs::write(&path, "stale").expect("a file");
    let listener = Listener::unix(&path, Some(0o700), &ListenOptions::default()).expect("a unix socket");
    assert_eq!(std::fs::metadata(&path).expect("bound").permissions().mode() & 0o777, 0o700);
    assert_eq!(listener.unix_path().as_deref(), Some(path.as_path()));
    let mut server = Server::new(RingOptions::default());
    server.ring.listen(listener);
    let mut client = UnixStream::connect(&path).expect("a listening socket");
    let Event::Accepted { socket, peer, .. } = server.next_event() else {
        panic!("a connection was expected")
    };
    assert!(peer.is_unix() && peer.is_local());
    let stream = server.ring.attach(socket);
    let local = server.ring.local_address(stream).expect("attached");
    assert_eq!(local.to_string(), format!("{}:0", path.display()));
    client.write_all(b"hello").expect("a server that reads");
    assert!(matches!(server.next_event(), Event::Received { data, .. } if &*data == b"hello"));

    let long = directory.path().join("x".repeat(200));
    let error = Listener::unix(&long, None, &ListenOptions::default()).expect_err("108 bytes at most");
    assert_eq!(error.step, "bind");
}

#[test]
fn ipv6_is_served_where_there_is_any() {
    let Ok(address) = "[::1]:0".parse() else { panic!("an address") };
    let mut server = match Server::on(address, RingOptions::default()) {
        Ok(server) => server,
        Err(error) => {
            let errno = error.source.raw_os_error();
            assert!(matches!(errno, Some(libc::EADDRNOTAVAIL | libc::EAFNOSUPPORT)), "{error}");
            return;
        }
    };
    let client = server.connect();
    let Event::Accepted { peer, .. } = server.next_event() else { panic!("a connection was expected") };
    assert_eq!(peer.to_string(), format!("[::1]:{}", client.local_addr().expect("connected").port()));
    assert!(peer.is_local());
}

#[test]
fn bind_lists_are_read_as_redis_reads_them() {
    let options = ListenOptions::default();
    let bind = |entries: &[&str], port| {
        let entries: Vec<BindAddress> = entries.iter().map(|entry| BindAddress::parse(entry)).collect();
        Listener::bind_all(&entries, port, &options)
    };
    // 192.0.2.0/24 is for documentation; no machine has it.
    let bound = bind(&["127.0.0.1", "-192.0.2.1"], 0).expect("an optional address may be missing");
    assert_eq!((bound.listeners.len(), bound.skipped.len()), (1, 1));
    let error = bind(&["127.0.0.1", "192.0.2.1"], 0).expect_err("this one may not");
    assert_eq!(error.to_string(), "192.0.2.1:0: bind: Cannot assign requested address");

    let taken = bound.listeners[0].address().port();
    let error = bind(&["127.0.0.1"], taken).expect_err("the port is taken");
    assert_eq!(error.to_string(), format!("127.0.0.1:{taken}: bind: Address already in use"));
    let any = bind(&["*"], 0).expect("any address");
    assert!(matches!(any.listeners[0].address(), StreamAddress::Ip(ip) if ip.ip().is_unspecified()));
    assert_eq!(bind(&[], 0).expect("nothing to bind").listeners.len(), 0);
}

#[test]
fn a_ring_that_cannot_be_says_what_to_do() {
    for errno in [libc::ENOSYS, libc::EPERM, libc::ENOMEM, libc::EINVAL, libc::EMFILE, libc::ENFILE] {
        let error = RingError::new("io_uring_setup", std::io::Error::from_raw_os_error(errno));
        assert_eq!(error.errno(), Some(errno));
        assert!(error.to_string().starts_with("io_uring_setup failed: "));
        assert!(!error.remedy().contains("unexpected"), "{error}");
    }
}

/// The limit of descriptors belongs to the process, so this runs in one of its own.
#[test]
fn accepting_rests_when_descriptors_run_out() {
    let output = std::process::Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "net::tests::listening::out_of_descriptors", "--ignored", "--test-threads=1"])
        .output()
        .expect("this test runs again");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
}

#[test]
#[ignore = "lowers the limit of descriptors of its process; run by the test above"]
fn out_of_descriptors() {
    // The kernel notes the limit when the accept is armed.
    socket::limit_descriptors(64).expect("a lower limit");
    let mut server = Server::new(RingOptions::default());
    server.ring.submit_and_wait(Wait::No).expect("a ring that works");
    let mut ballast: Vec<OwnedFd> = Vec::new();
    let mut client = None;
    while let Ok(fd) = socket::eventfd() {
        ballast.push(fd);
        if client.is_none() && ballast.len() == 4 {
            client = Some(server.connect());
        }
    }
    let error = match server.next_event() {
        Event::AcceptFailed { error, .. } => error,
        other => panic!("no descriptor is left, yet {other:?}"),
    };
    assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
    let enters = server.ring.counters().enters;
    server.ring.submit_and_wait(Wait::Until(Duration::from_millis(5))).expect("a ring that works");
    assert!(server.ring.next_event().is_none());
    assert!(server.ring.counters().enters <= enters + 1, "it rests");
    ballast.clear();
    // The same connection, still in the backlog, is accepted after the rest.
    loop {
        match server.next_event() {
            Event::Accepted { .. } => break,
            Event::AcceptFailed { .. } => {}
            other => panic!("{other:?} has no place here"),
        }
    }
}
