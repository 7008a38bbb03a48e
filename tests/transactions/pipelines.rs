//! Whatever a pipeline mixes, its replies are those of a server that runs one command after the other.

use super::support::{Client, Server, on_each_shard_count};

/// Pipelines of each client.
const PIPELINES: usize = if cfg!(debug_assertions) { 60 } else { 600 };
const CLIENTS: usize = 6;
/// Few, so that the commands of a pipeline meet.
const KEYS: u64 = 12;

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// The keys of a client are its own: what others do meanwhile does not show in its replies.
fn key(client: usize, random: &mut Random) -> String {
    format!("{client}:{}", random.below(KEYS))
}

fn keyed(name: &str, client: usize, random: &mut Random, values: bool) -> Vec<String> {
    let mut argv = vec![name.to_owned()];
    for _ in 0..=random.below(6) {
        argv.push(key(client, random));
        if values {
            argv.push(random.below(1000).to_string());
        }
    }
    argv
}

fn command(client: usize, random: &mut Random) -> Vec<String> {
    let one = |name: &str, rest: &[&str], random: &mut Random| {
        let mut argv = vec![name.to_owned(), key(client, random)];
        argv.extend(rest.iter().map(|word| (*word).to_owned()));
        argv
    };
    match random.below(16) {
        0..=3 => keyed("MSET", client, random, true),
        4..=6 => keyed("MGET", client, random, false),
        7 => keyed("DEL", client, random, false),
        8 => keyed("EXISTS", client, random, false),
        9 => keyed("UNLINK", client, random, false),
        10 => one("SET", &["7"], random),
        11 => one("GET", &[], random),
        12 => one("INCR", &[], random),
        13 => one("LPUSH", &["x"], random),
        14 => keyed("MSETNX", client, random, true),
        _ => vec!["PING".to_owned()],
    }
}

fn word(text: &str) -> Vec<String> {
    vec![text.to_owned()]
}

fn pipeline(client: usize, random: &mut Random) -> Vec<Vec<String>> {
    let mut commands = Vec::new();
    for _ in 0..=random.below(30) {
        match random.below(12) {
            0 | 1 => {
                commands.push(word("MULTI"));
                for _ in 0..random.below(5) {
                    commands.push(command(client, random));
                }
                match random.below(10) {
                    0 => commands.push(word("DISCARD")),
                    1 => commands.extend([word("NONSENSE"), word("EXEC")]),
                    _ => commands.push(word("EXEC")),
                }
            }
            2 => commands.push(word("EXEC")),
            3 => commands.push(word("MSET")),
            4 => commands.push(vec!["WATCH".to_owned(), key(client, random)]),
            _ => commands.push(command(client, random)),
        }
    }
    commands
}

#[test]
fn pipelines_are_answered_as_if_one_by_one() {
    let reference = Server::redis();
    on_each_shard_count(|server: &Server| {
        reference.connect().command(&["FLUSHALL"]);
        std::thread::scope(|scope| {
            for client in 0..CLIENTS {
                let (ours, theirs) = (server.connect(), reference.connect());
                scope.spawn(move || play(client, ours, theirs));
            }
        });
    });
}

fn play(client: usize, mut ours: Client, mut theirs: Client) {
    let mut random = Random(client as u64 + 1);
    for _ in 0..PIPELINES {
        let commands = pipeline(client, &mut random);
        let (got, wanted) = (ours.pipeline(&commands), theirs.pipeline(&commands));
        for (index, (got, wanted)) in got.iter().zip(&wanted).enumerate() {
            assert_eq!(got, wanted, "reply {index} of {commands:?}");
        }
        let all: Vec<String> = (0..KEYS).map(|number| format!("{client}:{number}")).collect();
        for key in all {
            for command in [["TYPE", &key], ["GET", &key], ["LLEN", &key]] {
                assert_eq!(ours.command(&command), theirs.command(&command), "{key} after {commands:?}");
            }
        }
    }
}

/// Everybody's keys are the same and everything spans shards: whoever held one and waited for another the wrong way
/// round would never answer.
#[test]
fn pipelines_of_ten_thousand_commands_end() {
    const COMMANDS: usize = 10_000;
    on_each_shard_count(|server: &Server| {
        std::thread::scope(|scope| {
            for client in 0..CLIENTS as u64 {
                let mut connection = server.connect();
                scope.spawn(move || {
                    let mut random = Random(client + 77);
                    let mut commands = Vec::with_capacity(COMMANDS + 40);
                    while commands.len() < COMMANDS {
                        commands.extend(pipeline(0, &mut random));
                    }
                    assert_eq!(connection.pipeline(&commands).len(), commands.len());
                    // A MULTI may have been left open; nothing else is.
                    connection.command(&["DISCARD"]);
                    assert_eq!(connection.command(&["PING"]).to_text(), "PONG");
                });
            }
        });
    });
}
