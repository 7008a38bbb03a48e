//! Snapshots of a running server, its end, and what goes wrong: real processes, and redis-server as the judge of what
//! was written.

#[path = "../support/mod.rs"]
mod support;

#[path = "../differential/contents.rs"]
#[allow(dead_code)]
mod contents;
#[path = "../differential/declarations.rs"]
#[allow(dead_code)]
mod declarations;
#[path = "../interop/filling.rs"]
#[allow(dead_code)]
mod filling;
#[path = "../differential/generate.rs"]
#[allow(dead_code)]
mod generate;

mod again;
mod append_failures;
mod directories;
mod failures;
mod moments;
mod planted;
mod planted_failures;
mod saving;
mod stopping;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use support::{Client, Program, Server};

const PATIENCE: Duration = Duration::from_secs(60);

/// A line of INFO.
fn info(client: &mut Client, name: &str) -> String {
    let text = client.command(&["INFO", "everything"]).to_text();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("INFO has no {name}:\n{text}")).to_owned()
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// BGSAVE, and its success.
fn save_in_background(client: &mut Client) {
    assert_eq!(client.command(&["BGSAVE"]).to_string(), "+Background saving started");
    wait_until("BGSAVE ends", || info(client, "rdb_bgsave_in_progress") == "0");
    assert_eq!(info(client, "rdb_last_bgsave_status"), "ok");
}

/// redis-server with a copy of this dump.
fn redis_with(dump: &Path) -> Server {
    let bytes = std::fs::read(dump).expect("there is a dump");
    Server::start_with(Program::Redis, &[], |directory| {
        std::fs::write(directory.join("dump.rdb"), &bytes).expect("written");
    })
}

fn assert_check_rdb_is_content(dump: &Path) {
    let output = Command::new("redis-check-rdb").arg(dump).output().expect("redis-check-rdb is there");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("Checksum OK") && text.contains("RDB looks OK!"), "{text}");
}

fn digest(server: &Server) -> String {
    server.connect().command(&["DEBUG", "DIGEST"]).to_string()
}

fn files_named(directory: &Path, part: &str) -> Vec<String> {
    let names = std::fs::read_dir(directory)
        .expect("a directory")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    names.filter(|name| name.contains(part)).collect()
}
