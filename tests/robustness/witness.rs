//! Somebody else: an ordinary client that goes on working while a test misbehaves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};

use crate::support::{Client, Server};

/// Asks commands on keys of all shards, one at a time. A reply that is wrong, or later than the client's patience,
/// fails the test.
pub struct Witness {
    over: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Witness {
    pub fn start(server: &Server) -> Witness {
        let mut client = server.connect();
        let over = Arc::new(AtomicBool::new(false));
        let stop = over.clone();
        let thread = thread::spawn(move || {
            let mut rounds = 0;
            while !stop.load(Relaxed) || rounds == 0 {
                rounds += 1;
                one_round(&mut client, rounds);
                // Not to measure the machine: it has two CPUs, and the test needs them.
                thread::yield_now();
            }
            rounds
        });
        Witness { over, thread }
    }

    /// Ends it: everything it has asked was answered rightly, and it asked something.
    pub fn finish(self) {
        self.over.store(true, Relaxed);
        let rounds = self.thread.join().expect("other clients are served meanwhile");
        assert!(rounds > 0);
    }
}

fn one_round(client: &mut Client, round: u64) {
    let number = round.to_string();
    for key in ["witness:1", "witness:2", "witness:3", "witness:4"] {
        assert_eq!(client.command(&["SET", key, &number]).to_string(), "+OK");
    }
    let values = client.command(&["MGET", "witness:1", "witness:2", "witness:3", "witness:4"]);
    assert!(values.as_items().expect("an array").iter().all(|value| value.to_text() == number), "{values}");
    assert_eq!(client.command(&["PING"]).to_string(), "+PONG");
}

/// What the process has in memory, in bytes.
pub fn resident_bytes(server: &Server) -> u64 {
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("the server is running");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("Linux tells it");
    let kilobytes = line.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok());
    kilobytes.expect("a number of kilobytes") * 1024
}

/// A figure of INFO.
pub fn info(client: &mut Client, name: &str) -> u64 {
    let text = client.command(&["INFO", "everything"]).to_text();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("INFO has no {name}")).trim().parse().expect("a number")
}

/// Asks until it is so: for what the server notices in its own time.
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !is_so() {
        assert!(std::time::Instant::now() < deadline, "not so after 30 s: {what}");
        thread::sleep(std::time::Duration::from_millis(5));
    }
}
