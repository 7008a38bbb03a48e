//! The append-only file over a disk that tears, loses and refuses.
//!
//! One seed is several lives of a server on one simulated disk. In each, some shards journal records and transactions, write
//! and sync them, tell each other, acknowledge, rewrite, and stop at any moment; then what recovery finds is compared with
//! what was acknowledged. Writer, release, manifest and recovery are those of the server.
//!
//! ```text
//! cargo test --release --test aof_simulation                           3000 seeds
//! AOF_SEEDS=100000 cargo test --release --test aof_simulation          more of them
//! AOF_SEED=17 cargo test --test aof_simulation                         one, with its story
//! cargo test --release --features planted-bugs --test aof_simulation   are planted bugs found?
//! ```

mod life;
mod world;

#[cfg(feature = "planted-bugs")]
mod planted;

use pinion::persistence::aof::faults::Faults;
use world::{Seen, World};

fn simulate(seed: u64, faults: Faults, trace: bool) -> Result<Seen, String> {
    let mut world = World::new(seed, faults, trace);
    match world.run() {
        Ok(()) => Ok(world.seen),
        Err(complaint) => Err(format!("seed {seed}: {complaint}\n{}", world.story())),
    }
}

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn what_is_acknowledged_is_kept_and_nothing_is_half() {
    if let Some(seed) = from_environment("AOF_SEED") {
        match simulate(seed, Faults::NONE, true) {
            Ok(seen) => println!("seed {seed}: {seen:?}"),
            Err(complaint) => panic!("{complaint}"),
        }
        return;
    }
    let seeds = from_environment("AOF_SEEDS").unwrap_or(3000);
    let mut all = Seen::default();
    for seed in 0..seeds {
        match simulate(seed, Faults::NONE, false) {
            Ok(seen) => all.add(&seen),
            Err(complaint) => panic!("{complaint}\nreplay: AOF_SEED={seed}"),
        }
    }
    println!("{seeds} seeds: {all:?}");
    // A simulation in which nothing happens proves nothing.
    let all_seen =
        [all.torn, all.incomplete, all.failures, all.rewrites, all.zeros, all.refused, all.drained];
    assert!(all_seen.iter().all(|count| *count > seeds / 20), "{all:?}");
}
