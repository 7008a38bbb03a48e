//! Snapshots of Redis.

use crate::support::{Program, Server};
use crate::{Files, assert_equal, assert_loads, facts, filling};

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

/// Our own snapshot: cut into parts at its extents where there are shards enough, and an ordinary dump to Redis.
#[test]
fn our_own_by_any_number_of_shards_and_by_redis() {
    let redis = Server::redis();
    filling::every_kind(&redis);
    filling::random(&redis, 50, 1000);
    let mut client = redis.connect();
    // Several extents per part.
    client.command(&["SELECT", "7"]);
    client.command(&["DEBUG", "POPULATE", "20000", "many", "400"]);
    client.command(&["SAVE"]);
    let theirs = Files::of(redis.directory());
    let expected = {
        let again = Server::start_with(Program::Redis, &[], |directory| theirs.write(directory));
        facts(&again)
    };
    for shards in [1, 4] {
        let pinion = Server::start_with(Program::Pinion { shards }, &[], |directory| theirs.write(directory));
        assert_eq!(pinion.connect().command(&["SAVE"]).to_string(), "+OK");
        let ours = Files::of(pinion.directory());
        drop(pinion);
        for program in [
            Program::Redis,
            Program::Pinion { shards: 1 },
            Program::Pinion { shards: 4 },
            Program::Pinion { shards: 9 },
        ] {
            let again = Server::start_with(program, &[], |directory| ours.write(directory));
            assert_equal(
                &expected,
                &facts(&again),
                &format!("saved by {shards} shards, loaded by {program:?}"),
            );
        }
    }
}

/// A part that is damaged ends the loading, as the whole would.
#[test]
fn our_own_damaged_anywhere_is_refused() {
    let pinion = Server::pinion(4);
    pinion.connect().command(&["DEBUG", "POPULATE", "20000", "many", "400"]);
    assert_eq!(pinion.connect().command(&["SAVE"]).to_string(), "+OK");
    let whole = Files::of(pinion.directory()).named("dump.rdb").to_vec();
    for share in [1, 3, 5, 7, 9] {
        let mut damaged = whole.clone();
        let at = damaged.len() * share / 10;
        damaged[at] ^= 0x10;
        let files = Files::one("dump.rdb", &damaged);
        let program = Program::Pinion { shards: 8 };
        let (status, log) = Server::refused(program, &[], |directory| files.write(directory));
        assert_eq!(status.code(), Some(1), "{log}");
        assert!(log.contains("dump.rdb at offset") && !log.contains("panicked"), "{log}");
    }
}
