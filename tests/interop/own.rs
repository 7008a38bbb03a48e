//! Our own append-only file: begun behind a Redis's, replayed by other numbers of shards, exported again.

use crate::support::Value;
use crate::support::{Program, Server};
use crate::{Fact, Files, assert_equal, filling};
use std::time::Duration;

const FLAGS: &[&str] = &["--appendonly", "yes"];

/// What a value that was rebuilt from its contents may have lost: that it was appended to, say.
fn facts(server: &Server) -> Vec<Fact> {
    let mut facts = crate::facts(server);
    for fact in &mut facts {
        let of_text = [b"raw".as_slice(), b"int"].map(|name| Value::Bulk(name.to_vec()));
        if fact.argv[0] == b"OBJECT" && of_text.contains(&fact.value) {
            fact.value = Value::Bulk(b"embstr".to_vec());
        }
    }
    facts
}

fn end(mut server: Server) -> Files {
    server.connect().send(&["SHUTDOWN", "NOSAVE"]);
    server.wait_for_exit(Duration::from_secs(30));
    Files::of(server.directory())
}

/// Nothing is lost and nothing is changed from one number of shards to the next.
#[test]
fn with_any_number_of_shards_before_and_after() {
    let redis = Server::start(Program::Redis, FLAGS);
    filling::every_kind(&redis);
    let mut files = end(redis);
    for (seed, shards) in [(30, 4), (31, 1), (32, 3), (33, 2)] {
        let pinion =
            Server::start_with(Program::Pinion { shards }, FLAGS, |directory| files.write(directory));
        filling::random_without_streams(&pinion, seed, 1500);
        filling::every_kind(&pinion);
        let expected = facts(&pinion);
        files = end(pinion);
        for shards in [1, 2, 5] {
            let again =
                Server::start_with(Program::Pinion { shards }, FLAGS, |directory| files.write(directory));
            assert_equal(&expected, &facts(&again), &format!("seed {seed}, then {shards} shards"));
            if again.log().contains("CRITICAL") {
                files.write(std::path::Path::new("/tmp/ownfail"));
            }
            assert!(!again.log().contains("CRITICAL"), "{}", again.log());
        }
    }
    // And back.
    let expected = {
        let last =
            Server::start_with(Program::Pinion { shards: 2 }, FLAGS, |directory| files.write(directory));
        facts(&last)
    };
    let flags = [FLAGS, &["--export-aof", "out"]].concat();
    let pinion = Server::ended(Program::Pinion { shards: 2 }, &flags, |directory| files.write(directory));
    let exported = Files::of(&pinion.directory().join("out"));
    let redis = Server::start_with(Program::Redis, FLAGS, |directory| exported.write(directory));
    // How it is held follows from the numbers of elements, not from what they once were.
    let contents = |facts: Vec<Fact>| -> Vec<Fact> {
        facts.into_iter().filter(|fact| fact.argv[0] != b"OBJECT").collect()
    };
    assert_equal(&contents(expected), &contents(facts(&redis)), "exported");
}

/// DEBUG RELOAD goes through the format of snapshots: the contents are the same, and held as Redis would hold them.
#[test]
fn debug_reload_changes_nothing_but_encodings() {
    let redis = Server::redis();
    filling::every_kind(&redis);
    filling::random(&redis, 40, 1500);
    redis.connect().command(&["SAVE"]);
    let snapshot = Files::of(redis.directory());
    let expected = {
        let again = Server::start_with(Program::Redis, &[], |directory| snapshot.write(directory));
        crate::facts(&again)
    };
    for shards in [1, 4] {
        let pinion =
            Server::start_with(Program::Pinion { shards }, &[], |directory| snapshot.write(directory));
        assert_eq!(pinion.connect().command(&["DEBUG", "RELOAD"]).to_string(), "+OK");
        assert_equal(&expected, &crate::facts(&pinion), &format!("{shards} shards"));
    }
}
