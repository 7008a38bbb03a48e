//! Append-only files of Redis, in each of their forms.

use crate::support::{Program, Server};
use crate::{Files, assert_loads, facts, filling};

const FLAGS: &[&str] = &["--appendonly", "yes"];

fn redis(flags: &[&str]) -> Server {
    let flags = [FLAGS, flags, &["--auto-aof-rewrite-percentage", "0"]].concat();
    Server::start(Program::Redis, &flags)
}

fn rewrite(server: &Server) {
    let mut client = server.connect();
    client.command(&["BGREWRITEAOF"]);
    loop {
        let info = client.command(&["INFO", "persistence"]).to_text();
        if info.contains("aof_rewrite_in_progress:0") && info.contains("aof_rewrite_scheduled:0") {
            assert!(info.contains("aof_last_bgrewrite_status:ok"), "{info}");
            return;
        }
    }
}

/// Ends the server in order, so that everything is in its files; and what Redis itself makes of them.
fn files_of(mut server: Server) -> (Files, Vec<crate::Fact>) {
    server.connect().send(&["SHUTDOWN", "NOSAVE"]);
    server.wait_for_exit(std::time::Duration::from_secs(30));
    let files = Files::of(server.directory());
    let flags = [FLAGS, &["--auto-aof-rewrite-percentage", "0"]].concat();
    let again = Server::start_with(Program::Redis, &flags, |directory| files.write(directory));
    (files, facts(&again))
}

/// As one file, as before Redis 7.0.
fn joined(files: &Files) -> Files {
    let manifest = String::from_utf8_lossy(files.named(".manifest")).into_owned();
    let names = manifest.lines().filter(|line| !line.ends_with(" h")).map(|line| line.split(' ').nth(1));
    let parts: Vec<&[u8]> = names.map(|name| files.named(name.expect("file NAME seq ..."))).collect();
    Files::one("appendonly.aof", &parts.concat())
}

#[test]
fn commands_as_they_came() {
    let server = redis(&["--aof-timestamp-enabled", "yes"]);
    filling::every_kind(&server);
    filling::random(&server, 1, 3000);
    filling::every_kind(&server);
    let (files, facts) = files_of(server);
    assert_loads(&files, FLAGS, &facts, "several files");
    assert_loads(&joined(&files), FLAGS, &facts, "one file");
}

#[test]
fn rewritten_as_commands() {
    let server = redis(&["--aof-use-rdb-preamble", "no"]);
    filling::every_kind(&server);
    filling::random(&server, 2, 2000);
    rewrite(&server);
    filling::random(&server, 3, 500);
    let (files, facts) = files_of(server);
    assert!(files.named("base").starts_with(b"*"), "commands");
    assert_loads(&files, FLAGS, &facts, "several files");
    assert_loads(&joined(&files), FLAGS, &facts, "one file");
}

/// Without `appendonly` nobody looks at them.
#[test]
fn append_only_files_are_loaded_on_demand() {
    let files = Files::one("appendonly.aof", b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n");
    let server = Server::start_with(Program::Pinion { shards: 1 }, &[], |directory| files.write(directory));
    assert_eq!(server.connect().command(&["DBSIZE"]).to_string(), ":0");
}
