//! What the shards' journals say, replayed, gives what the shards hold: random commands of every family, with deadlines
//! that fall due, transactions and clients that wait, on one connection and on several at once.
//!
//! Checked as well: sequences without a gap, and that every participant of a transaction has one record of it.
//! `JOURNAL_SEED` and `JOURNAL_ROUNDS` choose others; with `JOURNAL_OUT` the last journals are in that file.

#[path = "../support/mod.rs"]
mod support;

#[path = "../differential/generate.rs"]
#[allow(dead_code, reason = "the differential test uses all of it")]
mod generate;

mod replay;
mod rewrites;
mod spice;

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use generate::Generator;
use replay::Replayed;
use spice::Spice;
use support::{Client, SHARD_COUNTS, Server, Value, encode};

type Argv = Vec<Vec<u8>>;

const COMMANDS: usize = 3000;
const CLIENTS: u64 = 4;

#[test]
fn replayed_records_give_what_the_shards_hold() {
    let (seed, rounds) = (setting("JOURNAL_SEED", 1), setting("JOURNAL_ROUNDS", 2));
    for round in 0..rounds {
        for shards in SHARD_COUNTS {
            let seed = seed + round;
            println!("JOURNAL_SEED={seed} JOURNAL_ROUNDS=1, {shards} shard(s), one client");
            check(shards, &[seed]);
        }
    }
}

#[test]
fn also_while_clients_get_in_each_others_way() {
    let (seed, rounds) = (setting("JOURNAL_SEED", 1), setting("JOURNAL_ROUNDS", 2));
    for round in 0..rounds {
        for shards in SHARD_COUNTS {
            let first = (seed + round) * 1000;
            println!("JOURNAL_SEED={} JOURNAL_ROUNDS=1, {shards} shard(s), {CLIENTS} clients", seed + round);
            check(shards, &(first..first + CLIENTS).collect::<Vec<u64>>());
        }
    }
}

fn check(shards: usize, seeds: &[u64]) {
    let server = Server::pinion(shards);
    let mut control = server.connect();
    assert_eq!(control.command(&["DEBUG", "JOURNAL", "START"]).to_string(), "+OK");
    let now_ms = now_ms();
    std::thread::scope(|scope| {
        for seed in seeds {
            let server = &server;
            scope.spawn(move || session(server.connect(), *seed, now_ms));
        }
    });
    control.command(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
    // Whatever was given a short life is dead when this is over.
    let end = now_ms_of(&mut control) + spice::SHORT_MS + 1;
    while now_ms_of(&mut control) <= end {}
    let held = replay::held(&mut control);
    let now = now_ms_of(&mut control);
    let journals = control.command(&["DEBUG", "JOURNAL", "TAKE"]);
    let journals: Vec<Vec<u8>> = journals
        .as_items()
        .expect("by shard")
        .iter()
        .map(|item| item.as_bytes().expect("bytes").to_vec())
        .collect();
    assert_eq!(journals.len(), shards);
    let mut replayed = Replayed::of(&journals);
    replayed.check_participants();
    let wanted = replayed.holds(now);
    compare(&held, &wanted, &replayed);
}

fn session(mut client: Client, seed: u64, now_ms: i64) {
    let table = pinion::commands::table(&[]);
    let mut generator = Generator::new(&table, seed, now_ms);
    let mut spice = Spice::new(seed);
    let mut sent = 0;
    while sent < COMMANDS {
        let mut commands: Vec<Argv> = Vec::new();
        while commands.len() < 40 {
            match spice.next(now_ms) {
                Some(command) => commands.push(command),
                None => commands.extend(generator.next()),
            }
        }
        sent += commands.len();
        client.send_raw(&commands.iter().flat_map(|argv| encode(argv)).collect::<Vec<u8>>());
        for _ in &commands {
            client.receive();
        }
    }
}

fn compare(held: &BTreeMap<String, Value>, replayed: &BTreeMap<String, Value>, all: &Replayed) {
    let keys = held.keys().chain(replayed.keys());
    let wrong: Vec<&String> = keys.filter(|key| held.get(*key) != replayed.get(*key)).collect();
    let Some(key) = wrong.first() else { return };
    let shown = |value: Option<&Value>| value.map_or("nothing".into(), Value::to_string);
    let (database, name) = key.split_once(' ').expect("database, key");
    panic!(
        "{} keys differ, among them {key}\n  held:     {}\n  replayed: {}\n{}",
        wrong.len(),
        shown(held.get(*key)),
        shown(replayed.get(*key)),
        all.history(database, name),
    );
}

pub fn now_ms_of(client: &mut Client) -> i64 {
    let time = client.command(&["TIME"]);
    let parts: Vec<i64> = time
        .as_items()
        .expect("seconds and microseconds")
        .iter()
        .map(|part| part.to_text().parse().expect("a number"))
        .collect();
    parts[0] * 1000 + parts[1] / 1000
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970").as_millis() as i64
}

fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")),
        Err(_) => default,
    }
}
