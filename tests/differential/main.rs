//! The same random commands to Pinion and to the pinned redis-server: same replies, same contents afterwards.
//!
//! Commands come from the command table (`generate`), in sessions of one connection each, half of them in RESP3.
//! A difference fails the test unless `known_differences` gives a reason for it; what is printed is the shortest
//! list of commands that still shows it. `scripts/differential.sh` makes long runs.
//!
//! | variable | meaning |
//! |---|---|
//! | `DIFFERENTIAL_COMMANDS` | how many commands, 50000 if unset |
//! | `DIFFERENTIAL_SEED` | the first session's seed; the message of a failure says which one replays it |
//! | `DIFFERENTIAL_FINDINGS` | after how many different findings to stop, 5 if unset |

#[path = "../support/mod.rs"]
mod support;

mod compare;
mod contents;
mod declarations;
mod generate;
mod known_differences;
mod session;
mod shrink;

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use generate::Generator;
use session::{Servers, Session};
use support::{SHARD_COUNTS, Server};

const COMMANDS: u64 = 50_000;
const COMMANDS_PER_SESSION: usize = 200;
const FIRST_SEED: u64 = 1;
const FINDINGS_MAX: u64 = 5;

#[test]
fn replies_and_contents_are_those_of_the_reference() {
    let table = pinion::commands::table(&[]);
    let commands = setting("DIFFERENTIAL_COMMANDS", COMMANDS);
    let first_seed = setting("DIFFERENTIAL_SEED", FIRST_SEED);
    let findings_max = setting("DIFFERENTIAL_FINDINGS", FINDINGS_MAX);
    let now_ms =
        SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970").as_millis() as i64;

    let mut servers = Servers::start(&SHARD_COUNTS);
    let mut findings: BTreeMap<String, String> = BTreeMap::new();
    for number in 0..commands.div_ceil(COMMANDS_PER_SESSION as u64) {
        let seed = first_seed.wrapping_add(number);
        let session = generate(&mut Generator::new(&table, seed, now_ms));
        let Some(difference) = servers.run(&session) else { continue };
        if findings.contains_key(&difference.kind) {
            continue;
        }
        let shrunk = shrink::shrink(&session, |candidate| {
            servers.run(candidate).is_some_and(|other| other.kind == difference.kind)
        });
        let shown = servers.run(&shrunk).unwrap_or(difference);
        let listed: String =
            shrunk.commands.iter().map(|argv| format!("    {}\n", contents::line(argv))).collect();
        let protocol = if shrunk.resp3 { "RESP3" } else { "RESP2" };
        let protocol = if shrunk.small_nodes { format!("{protocol}, small nodes") } else { protocol.into() };
        let text =
            format!("DIFFERENTIAL_SEED={seed} DIFFERENTIAL_COMMANDS=1, {protocol}\n{listed}  {shown}\n");
        eprintln!("{text}");
        findings.insert(shown.kind, text);
        if findings.len() as u64 >= findings_max {
            break;
        }
    }
    let texts: String = findings.into_values().collect();
    assert!(texts.is_empty(), "differences from redis-server:\n{texts}");
}

/// Each known difference is still one, with every number of shards.
#[test]
fn known_differences_still_show() {
    let mut servers = Servers::start(&SHARD_COUNTS);
    for known in &known_differences::KNOWN {
        let words = |line: &&str| line.split(' ').map(|word| word.as_bytes().to_vec()).collect();
        let session =
            Session { resp3: false, small_nodes: false, commands: known.example.iter().map(words).collect() };
        let before = known.seen();
        let difference = servers.run(&session);
        assert!(difference.is_none(), "{}: not covered: {}", known.reason, difference.expect("there is one"));
        let shown = known.seen() - before;
        assert!(shown >= SHARD_COUNTS.len() as u64, "it no longer shows: {}", known.reason);
    }
}

fn generate(generator: &mut Generator) -> Session {
    let (resp3, small_nodes) = (generator.one_in(2), generator.one_in(2));
    let mut commands = Vec::new();
    while commands.len() < COMMANDS_PER_SESSION {
        commands.extend(generator.next());
    }
    Session { resp3, small_nodes, commands }
}

#[test]
fn the_same_seed_gives_the_same_commands() {
    let table = pinion::commands::table(&[]);
    let session = |seed| generate(&mut Generator::new(&table, seed, 1_700_000_000_000)).commands;
    assert_eq!(session(7), session(7));
    assert_ne!(session(7), session(8));
}

/// A misspelt `since` would sample commands that the reference refuses as unknown, and compare nothing.
#[test]
fn the_reference_knows_what_is_sampled() {
    let server = Server::redis();
    let mut client = server.connect();
    let table = pinion::commands::table(&[]);
    for name in Generator::new(&table, 1, 0).names() {
        let info = client.command(&["COMMAND", "INFO", name]);
        let known = info.as_items().is_some_and(|items| !items[0].is_null());
        assert!(known, "{name} is not a command of the reference");
    }
}

fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")),
        Err(_) => default,
    }
}
