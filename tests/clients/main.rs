//! Client libraries as people use them: pools, pipelines, RESP3, options, iterators, errors, reconnects.
//!
//! redis-py and ioredis run as scripts in their own language beside this file; the `redis` crate runs in here. Each
//! runs against Pinion with one and with four shards, and against the reference, so that a wrong expectation is
//! found out.

mod redis_rs;
#[path = "../support/mod.rs"]
mod support;

use std::path::Path;
use std::process::Command;

use support::{Program, SHARD_COUNTS, Server};

const INSTALL: &str = "scripts/install_test_clients.sh";

#[test]
fn redis_py() {
    on_every_program(|server| run_script("python/bin/python", "redis_py.py", server));
}

#[test]
fn ioredis() {
    on_every_program(|server| run_script("node", "ioredis.mjs", server));
}

#[test]
fn redis_crate_blocking() {
    on_every_program(redis_rs::blocking);
}

#[test]
fn redis_crate_async() {
    on_every_program(redis_rs::asynchronous);
}

fn on_every_program(test: impl Fn(&Server)) {
    let pinion = SHARD_COUNTS.map(|shards| Program::Pinion { shards });
    for program in [&[Program::Redis], &pinion[..]].concat() {
        println!("{program:?}");
        test(&Server::start(program, &[]));
    }
}

/// Scripts take the port and the path of the unix socket; they succeed or say what differed.
fn run_script(interpreter: &str, script: &str, server: &Server) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let installed = root.join("target/test-clients");
    assert!(installed.join("installed").exists(), "the client libraries are missing: run {INSTALL}");
    // node itself comes from the system, its modules from the installation.
    let own = installed.join(interpreter);
    let program = if own.is_file() { own } else { interpreter.into() };
    let output = Command::new(&program)
        .arg(root.join("tests/clients").join(script))
        .arg(server.port().to_string())
        .arg(server.unix_socket())
        .env("TEST_CLIENTS", &installed)
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}; run {INSTALL}", program.display()));
    assert!(
        output.status.success(),
        "{script} against {:?}:\n{}{}",
        server.program(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
