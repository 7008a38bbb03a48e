//! A server with an append-only file is killed at random moments and started again with another number of shards, now and then
//! killed once more while it recovers. What it had acknowledged is there, and of what belongs together all or nothing.
//!
//! ```text
//! cargo test --test crash                            a dozen rounds
//! CRASH_ROUNDS=200 cargo test --release --test crash more of them (scripts/crash.sh)
//! ```

#[path = "../support/mod.rs"]
mod support;

mod writer;

use pinion::base::random::Random;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use support::{Client, Program, Server};
use writer::Writer;

const WRITERS: usize = 8;

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn rounds() -> u64 {
    from_environment("CRASH_ROUNDS").unwrap_or(12)
}

/// Lets everybody write until a moment, kills the server, and looks at what the next one has.
fn round(
    server: &mut Server,
    writers: &mut [Writer],
    random: &mut Random,
    length: Duration,
    grace: Duration,
) {
    let stop = AtomicBool::new(false);
    let killed = std::thread::scope(|scope| {
        let address = server.address();
        for writer in writers.iter_mut() {
            let stop = &stop;
            scope.spawn(move || writer.write(address, stop));
        }
        let is_over = &stop;
        scope.spawn(move || move_connections(address, is_over));
        // Rewrites and dumps are under way, or are not: what it says does not matter.
        let saving = ["BGREWRITEAOF", "BGSAVE", "PING"][random.index(3)];
        let before = random.below(length.as_millis() as u64);
        std::thread::sleep(Duration::from_millis(before));
        server.connect().command(&[saving]);
        std::thread::sleep(length - Duration::from_millis(before));
        server.kill();
        stop.store(true, Ordering::Relaxed);
        Instant::now()
    });
    for _ in 0..random.below(3) {
        server.launch_again();
        std::thread::sleep(Duration::from_micros(random.below(150_000)));
    }
    server.restart_as(Program::Pinion { shards: 1 + random.index(4) });
    let mut client = server.connect();
    let old_enough = killed.checked_sub(grace).expect("the machine runs longer than that");
    for writer in writers.iter_mut() {
        writer.check(&mut client, old_enough);
    }
}

/// Connections go from core to core while they write.
fn move_connections(address: SocketAddr, stop: &AtomicBool) {
    let Ok(mut client) = Client::connect(address) else { return };
    let mut core = 0;
    while !stop.load(Ordering::Relaxed) {
        let Ok(reply) = client.try_command(&["CLIENT", "LIST"]) else { return };
        let text = reply.to_text();
        for id in text.lines().filter_map(|line| line.strip_prefix("id=")?.split(' ').next()) {
            core += 1;
            // There may be only one core, or the connection may have ended: what it says does not matter.
            let target = (core % 4).to_string();
            if client.try_command(&["DEBUG", "PINION-MOVE-CLIENT", id, &target]).is_err() {
                return;
            }
        }
    }
}

fn start(fsync: &str) -> (Server, Vec<Writer>, Random) {
    let seed = from_environment("CRASH_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("CRASH_SEED={seed}");
    let flags = ["--appendonly", "yes", "--appendfsync", fsync];
    let mut server = Server::start(Program::Pinion { shards: 2 }, &flags);
    server.keep_files_of_a_failure();
    let writers = (0..WRITERS).map(|number| Writer::new(number, seed)).collect();
    (server, writers, Random::from_seed(seed))
}

#[test]
fn what_was_acknowledged_is_there() {
    let (mut server, mut writers, mut random) = start("always");
    for _ in 0..rounds() {
        let length = Duration::from_millis(20 + random.below(300));
        round(&mut server, &mut writers, &mut random, length, Duration::ZERO);
    }
    let acknowledged: u64 = writers.iter().map(Writer::acknowledged).sum();
    println!("{acknowledged} writes acknowledged");
    assert!(acknowledged > 10 * rounds(), "nothing was tried");
}

#[test]
fn every_second_keeps_what_is_older_than_two() {
    let (mut server, mut writers, mut random) = start("everysec");
    for _ in 0..rounds().div_ceil(6) {
        let length = Duration::from_millis(2200 + random.below(1500));
        round(&mut server, &mut writers, &mut random, length, Duration::from_secs(2));
    }
}
