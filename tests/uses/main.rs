//! What people use Redis for, each use as an application has it: written with redis-py in `uses.py`, one function
//! per use, and judged by what the use promises: a limit that holds while many clients try at once, a job that
//! exactly one worker gets, a lock that one holds at a time.
//!
//! All uses run against Pinion with one and with four shards, and against the reference, so that a wrong
//! expectation is found out. Still to come, with what they need:
//!
//! | use | needs |
//! |---|---|
//! | notifications to subscribers of a channel or a pattern | publish and subscribe |
//! | release of a lock, and a rate limit, as one script | scripting |
//! | a cache that stays within `maxmemory` | eviction |

#[path = "../support/mod.rs"]
mod support;

use std::path::Path;
use std::process::Command;

use support::{Program, Server};

const INSTALL: &str = "scripts/install_test_clients.sh";

#[test]
fn on_the_reference() {
    run_all(Program::Redis);
}

#[test]
fn on_one_shard() {
    run_all(Program::Pinion { shards: 1 });
}

#[test]
fn on_four_shards() {
    run_all(Program::Pinion { shards: 4 });
}

fn run_all(program: Program) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join("target/test-clients/python/bin/python");
    assert!(python.is_file(), "redis-py is missing: run {INSTALL}");
    let server = Server::start(program, &[]);
    let output = Command::new(python)
        .arg(root.join("tests/uses/uses.py"))
        .arg(server.port().to_string())
        .output()
        .unwrap_or_else(|error| panic!("{error}; run {INSTALL}"));
    assert!(
        output.status.success(),
        "{program:?}:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
