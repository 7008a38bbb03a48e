//! Snapshots of Redis.

use crate::support::{Program, Server};
use crate::{Files, assert_loads, facts, filling};

/// What a server has saved, and what Redis itself makes of it.
fn saved(server: &Server) -> (Files, Vec<crate::Fact>) {
    let mut client = server.connect();
    assert_eq!(client.command(&["SAVE"]).to_string(), "+OK");
    let files = Files::of(server.directory());
    let again = Server::start_with(Program::Redis, &[], |directory| files.write(directory));
    (files, facts(&again))
}

#[test]
fn every_kind_in_every_form() {
    for flags in
        [&[][..], &["--rdbcompression", "no"], &["--rdbchecksum", "no"], &["--list-compress-depth", "1"]]
    {
        let server = Server::start(Program::Redis, flags);
        filling::every_kind(&server);
        let (files, facts) = saved(&server);
        assert_loads(&files, &[], &facts, &flags.join(" "));
    }
}

#[test]
fn random_contents() {
    for seed in 10..14 {
        let server = Server::redis();
        filling::random(&server, seed, 2000);
        let (files, facts) = saved(&server);
        assert_loads(&files, &[], &facts, &format!("seed {seed}"));
    }
}

/// Keys past their deadline are left out; the figures say so.
#[test]
fn expired_keys_are_left_out_and_counted() {
    let server = Server::redis();
    let mut client = server.connect();
    client.command(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
    for (key, deadline) in [("gone", "1000"), ("late", "4102444800123")] {
        client.command(&["SET", key, "v"]);
        // EXPIREAT in the past would delete it at once.
        let soon = client.command(&["TIME"]).as_items().expect("two")[0].to_text();
        let at = if key == "gone" { format!("{soon}999") } else { deadline.to_owned() };
        client.command(&["PEXPIREAT", key, &at]);
    }
    client.command(&["SAVE"]);
    let files = Files::of(server.directory());
    // One second later at most.
    while client.command(&["EXISTS", "gone"]).to_string() != ":0" {}
    let pinion = Server::start_with(Program::Pinion { shards: 2 }, &[], |directory| files.write(directory));
    let mut client = pinion.connect();
    assert_eq!(client.command(&["DBSIZE"]).to_string(), ":1");
    let info = client.command(&["INFO", "persistence"]).to_text();
    assert!(info.contains("rdb_last_load_keys_expired:1\r\nrdb_last_load_keys_loaded:1\r\n"), "{info}");
}
