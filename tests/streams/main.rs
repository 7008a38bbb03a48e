//! Waiting for streams, through sockets: who is served by what, with what, and who is told that there is nothing to
//! wait for any more. Each scene is also played on redis-server: there the expectations come from.

#[path = "../support/mod.rs"]
mod support;

use std::time::{Duration, Instant};
use support::{Client, SHARD_COUNTS, Server};

/// Longer than anything here may take.
const PATIENCE: Duration = Duration::from_secs(20);

struct Scene<'a> {
    server: &'a Server,
    main: Client,
    waiting: Vec<Client>,
}

fn words(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

impl Scene<'_> {
    /// A command, and its reply.
    fn run(&mut self, line: &str) -> String {
        self.main.command(&words(line)).to_string()
    }

    /// Commands whose replies do not matter, as long as they are no errors.
    fn given(&mut self, lines: &[&str]) {
        for line in lines {
            let reply = self.run(line);
            assert!(!reply.starts_with('-'), "{line}: {reply}");
        }
    }

    fn blocked(&mut self) -> usize {
        let info = self.main.command(&["INFO", "clients"]).to_text();
        let line = info.lines().find_map(|line| line.strip_prefix("blocked_clients:"));
        line.and_then(|count| count.trim().parse().ok()).expect("INFO tells")
    }

    /// Another client begins to wait; returns its number.
    fn waits(&mut self, line: &str) -> usize {
        let client = self.server.connect();
        self.waits_as(client, line)
    }

    fn waits_as(&mut self, mut client: Client, line: &str) -> usize {
        let before = self.blocked();
        client.send(&words(line));
        self.waiting.push(client);
        self.until_blocked(before + 1);
        self.waiting.len() - 1
    }

    fn until_blocked(&mut self, count: usize) {
        let start = Instant::now();
        while self.blocked() != count {
            assert!(start.elapsed() < PATIENCE, "never {count} clients blocked");
        }
    }

    #[track_caller]
    fn gets(&mut self, who: usize, expected: &str) {
        assert_eq!(self.waiting[who].receive().to_string(), expected);
    }
}

/// Plays a scene on the reference and on Pinion with each number of shards.
fn on_all(play: impl Fn(&mut Scene<'_>)) {
    let servers = std::iter::once(Server::redis()).chain(SHARD_COUNTS.map(Server::pinion));
    for server in servers {
        play(&mut Scene { server: &server, main: server.connect(), waiting: Vec::new() });
    }
}

#[test]
fn one_entry_serves_all_who_read() {
    on_all(|scene| {
        scene.given(&["XADD a 1-1 f 1", "XADD c 5-5 f 5"]);
        let all: Vec<usize> =
            (0..3).map(|_| scene.waits("XREAD BLOCK 0 STREAMS a b c d $ $ 5-5 0")).collect();
        let later = scene.waits("XREAD BLOCK 0 STREAMS b 7");
        scene.given(&["XADD b 2-1 f 2"]);
        for who in all {
            scene.gets(who, r#"[["b", [["2-1", ["f", "2"]]]]]"#);
        }
        assert_eq!(scene.blocked(), 1, "nothing is above 7 yet");
        scene.given(&["XADD b 7-1 f 7"]);
        scene.gets(later, r#"[["b", [["7-1", ["f", "7"]]]]]"#);
    });
}

#[test]
fn the_last_id_is_that_of_the_beginning() {
    on_all(|scene| {
        scene.given(&["XADD a 1-1 f 1", "XADD a 2-1 f 1"]);
        let who = scene.waits("XREAD BLOCK 0 COUNT 1 STREAMS b a $ $");
        let other = scene.waits("XREAD BLOCK 0 STREAMS missing $");
        scene.given(&["MULTI", "XADD a 3-1 f 1", "XADD a 4-1 f 1", "XADD missing 0-1 f 1", "EXEC"]);
        scene.gets(who, r#"[["a", [["3-1", ["f", "1"]]]]]"#);
        scene.gets(other, r#"[["missing", [["0-1", ["f", "1"]]]]]"#);
    });
}

#[test]
fn each_entry_goes_to_one_consumer() {
    on_all(|scene| {
        scene.given(&["XGROUP CREATE a g $ MKSTREAM", "XGROUP CREATE b g $ MKSTREAM"]);
        let first = scene.waits("XREADGROUP GROUP g one BLOCK 0 STREAMS a b > >");
        let second = scene.waits("XREADGROUP GROUP g two BLOCK 0 NOACK STREAMS b a > >");
        scene.given(&["XADD b 1-1 f 1"]);
        scene.gets(first, r#"[["b", [["1-1", ["f", "1"]]]]]"#);
        assert_eq!(scene.blocked(), 1);
        scene.given(&["XADD b 2-1 f 2"]);
        scene.gets(second, r#"[["b", [["2-1", ["f", "2"]]]]]"#);
        assert_eq!(scene.run("XPENDING b g"), r#"[:1, "1-1", "1-1", [["one", "1"]]]"#);
        assert_eq!(scene.run("XPENDING a g"), "[:0, nil, nil, nil array]");
    });
}

#[test]
fn who_reads_for_a_group_is_told_when_key_or_group_goes() {
    const GONE: &str = "-UNBLOCKED the stream key no longer exists";
    const NO_GROUP: &str = "-NOGROUP the consumer group this client was blocked on no longer exists";
    let ends: &[(&[&str], &str)] = &[
        (&["XGROUP DESTROY a g"], NO_GROUP),
        (&["DEL a"], GONE),
        (&["UNLINK x a"], GONE),
        (&["SET a value"], GONE),
        (&["RENAME a elsewhere"], GONE),
        (&["MOVE a 3"], GONE),
        (&["FLUSHALL"], GONE),
        (&["FLUSHDB ASYNC"], GONE),
        (&["SWAPDB 0 5"], GONE),
        (&["PEXPIRE a 1"], GONE),
        (&["SET list:x 1", "DEL list:x", "RPUSH list:x 1", "COPY list:x a REPLACE"], GONE),
        (&["MULTI", "DEL a", "XADD a 5-5 f v", "EXEC"], NO_GROUP),
        (&["MULTI", "DEL a", "SADD a member", "EXEC"], GONE),
    ];
    on_all(|scene| {
        for (lines, expected) in ends {
            scene.given(&["FLUSHALL", "XGROUP CREATE a g $ MKSTREAM", "XGROUP CREATE b g $ MKSTREAM"]);
            let reader = scene.waits("XREAD BLOCK 0 STREAMS b a $ $");
            let who = scene.waits("XREADGROUP GROUP g one BLOCK 0 STREAMS b a > >");
            scene.given(lines);
            scene.gets(who, expected);
            scene.given(&["DEL a b"]);
            scene.given(&["XADD b 9-9 f v"]);
            let got = scene.waiting[reader].receive().to_string();
            assert!(got == r#"[["b", [["9-9", ["f", "v"]]]]]"# || got.contains("5-5"), "{lines:?}: {got}");
        }
    });
}

#[test]
fn what_changes_nothing_wakes_nobody() {
    on_all(|scene| {
        scene.given(&["XADD a 1-1 f 1", "XGROUP CREATE a g $"]);
        let who = scene.waits("XREADGROUP GROUP g one BLOCK 0 STREAMS a >");
        let reader = scene.waits("XREAD BLOCK 0 STREAMS a $");
        scene.given(&[
            "XGROUP SETID a g 0",
            "PEXPIRE a 100000000",
            "PERSIST a",
            "XDEL a 1-1",
            "XTRIM a MAXLEN 0",
            "XGROUP CREATE a h 0",
            "XGROUP DESTROY a none",
            "XSETID a 7-7",
        ]);
        assert_eq!(scene.blocked(), 2);
        scene.given(&["MULTI", "XADD a 8-1 f 1", "XDEL a 8-1", "EXEC"]);
        // As redis-server 7.0 does: what was added counts, not what is left of it.
        scene.gets(who, r#"[["a", []]]"#);
        scene.gets(reader, r#"[["a", []]]"#);
    });
}

#[test]
fn waits_end_by_time_by_command_and_not_inside_of_multi() {
    on_all(|scene| {
        scene.given(&["XGROUP CREATE a g $ MKSTREAM"]);
        let mut other = scene.server.connect();
        assert_eq!(other.command(&words("XREAD BLOCK 1 STREAMS a b $ $")).to_string(), "nil array");
        let replies = other.pipeline(&[
            words("MULTI"),
            words("XREADGROUP GROUP g c BLOCK 0 STREAMS a >"),
            words("XREAD BLOCK 0 STREAMS a b $ $"),
            words("EXEC"),
        ]);
        assert_eq!(replies[3].to_string(), "[nil array, nil array]");
        let id = other.command(&["CLIENT", "ID"]).as_integer().expect("a number");
        let who = scene.waits_as(other, "XREADGROUP GROUP g c BLOCK 0 STREAMS a >");
        assert_eq!(scene.run(&format!("CLIENT UNBLOCK {id} ERROR")), ":1");
        scene.gets(who, "-UNBLOCKED client unblocked via CLIENT UNBLOCK");
        let resp3 = scene.server.connect_resp3();
        let who = scene.waits_as(resp3, "XREAD BLOCK 0 STREAMS a b $ $");
        scene.given(&["XADD b 3-3 f v"]);
        scene.gets(who, r#"{"b": [["3-3", ["f", "v"]]]}"#);
    });
}

/// A list and then a stream under one key, and waiters for both in one line.
#[test]
fn lists_and_streams_in_one_line() {
    on_all(|scene| {
        let move_on = scene.waits("BLMOVE a list:z LEFT RIGHT 0");
        let reader = scene.waits("XREAD BLOCK 0 STREAMS a $");
        scene.given(&["RPUSH a 1"]);
        scene.gets(move_on, "\"1\"");
        scene.given(&["XADD a 1-1 f v"]);
        scene.gets(reader, r#"[["a", [["1-1", ["f", "v"]]]]]"#);
    });
}

/// The text without what stands behind `seen-time`, which the journal does not keep.
fn without_seen_times(text: &str) -> String {
    let mut parts = text.split("\"seen-time\", :");
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        kept.push_str(part.trim_start_matches(|letter: char| letter.is_ascii_digit()));
    }
    kept
}

/// What the journal says of streams and groups makes the same ones again.
#[test]
fn streams_come_back_from_the_journal() {
    for shards in SHARD_COUNTS {
        let flags = ["--appendonly", "yes", "--appendfsync", "always", "--stream-node-max-entries", "3"];
        let mut server = Server::start(support::Program::Pinion { shards }, &flags);
        let before = {
            let mut scene = Scene { server: &server, main: server.connect(), waiting: Vec::new() };
            for number in 1..=20 {
                scene.given(&[&format!("XADD a {number}-1 f {number} g x"), "XADD b * f v"]);
            }
            scene.given(&[
                "XGROUP CREATE a g 0",
                "XGROUP CREATE b g 0",
                "XGROUP CREATE a noack 3",
                "XGROUP CREATECONSUMER a g idle",
                "XREADGROUP GROUP g one COUNT 4 STREAMS a b > >",
                "XREADGROUP GROUP noack one COUNT 2 NOACK STREAMS a >",
                "XREADGROUP GROUP g one COUNT 2 STREAMS a 0",
                "XACK a g 2-1",
                "XDEL a 3-1 9-1",
                "XTRIM a MAXLEN ~ 12",
                "XADD b MAXLEN ~ 7 * f v",
                "XADD c MINID ~ 5 * f v",
                "XCLAIM a g two 0 4-1 3-1 IDLE 500000 RETRYCOUNT 9",
                "XREADGROUP GROUP g three COUNT 3 STREAMS a >",
                "XAUTOCLAIM a g two 0 - COUNT 5 JUSTID",
                "XADD e 5-5 f v",
                "XGROUP CREATE e g 0",
                "XREADGROUP GROUP g c STREAMS e >",
                "XDEL e 5-5",
                "XADD f 7-7 f v",
                "XSETID f 8-8 ENTRIESADDED 12 MAXDELETEDID 5-5",
                "XADD d ACKED MAXLEN ~ 2 1-1 f v",
                "XGROUP CREATE d g $ MKSTREAM",
            ]);
            scene.given(&["XGROUP CREATE c g $"]);
            let who = scene.waits("XREADGROUP GROUP g waited BLOCK 0 STREAMS d c > >");
            scene.given(&["XADD d 2-2 f v", "COPY a copy", "RENAME f g"]);
            let _ = scene.waiting[who].receive();
            facts(&mut scene)
        };
        server.connect().send(&["SHUTDOWN", "NOSAVE"]);
        server.wait_for_exit(PATIENCE);
        server.restart();
        let mut scene = Scene { server: &server, main: server.connect(), waiting: Vec::new() };
        assert_eq!(facts(&mut scene), before, "{shards} shards");
    }
}

fn facts(scene: &mut Scene<'_>) -> Vec<String> {
    let keys = ["a", "b", "c", "copy", "d", "e", "g"];
    keys.iter()
        .map(|key| without_seen_times(&scene.run(&format!("XINFO STREAM {key} FULL COUNT 0"))))
        .collect()
}
