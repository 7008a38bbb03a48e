//! Commands and options that are newer than the pinned reference: Pinion replies as the server that has them.
//!
//! `redis.txt` and `valkey.txt` are transcripts of real servers, written by `scripts/record_replies.py`; their first
//! lines name the versions. Where Redis and Valkey disagree Pinion follows Redis, and `valkey.txt` has what is
//! Valkey's alone or common to both.
//!
//! ```text
//! == a heading            an empty database and a new connection, that says HELLO 3 if the heading ends with RESP3
//! > HTTL h FIELDS 1 a     a command
//! [:100]                  the reply, as tests/support/value.rs shows it
//! % why                   Pinion's reply is meant to be another: the next line
//! ```
//!
//! | variable | meaning |
//! |---|---|
//! | `NEWER_REDIS` | a redis-server that is asked instead of `redis.txt`, whose commands it is sent |
//! | `NEWER_VALKEY` | the same for `valkey.txt` |

#[path = "../support/mod.rs"]
mod support;

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use pinion::resp::inline;
use support::{SHARD_COUNTS, Server, Value};

#[test]
fn redis() {
    compare("redis.txt", "NEWER_REDIS");
}

#[test]
fn valkey() {
    compare("valkey.txt", "NEWER_VALKEY");
}

struct Section {
    heading: String,
    exchanges: Vec<Exchange>,
}

struct Exchange {
    command: String,
    reply: String,
    /// What Pinion replies, where that is meant.
    other: Option<String>,
}

fn compare(name: &str, variable: &str) {
    let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/newer").join(name);
    let scratch = tempfile::tempdir().expect("a temporary directory can be made");
    let transcript = match std::env::var_os(variable) {
        Some(program) => record_anew(Path::new(&program), &recorded, &scratch.path().join(name)),
        None => recorded,
    };
    let sections = read(&transcript);
    let mut differences = String::new();
    for shards in SHARD_COUNTS {
        let server = Server::pinion(shards);
        for section in &sections {
            play(section, &server, shards, &mut differences);
        }
    }
    assert!(differences.is_empty(), "{name}:\n{differences}");
}

/// The transcript with the replies of another server.
fn record_anew(program: &Path, transcript: &Path, output: &Path) -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/record_replies.py");
    let status = Command::new("python3")
        .args([&script, program, transcript, Path::new("--output"), output])
        .status()
        .expect("python3 can be run");
    assert!(status.success(), "{} with {}: {status}", script.display(), program.display());
    output.to_owned()
}

fn read(transcript: &Path) -> Vec<Section> {
    let text = std::fs::read_to_string(transcript).expect("the transcript can be read");
    let mut sections: Vec<Section> = Vec::new();
    let mut lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    while let Some(line) = lines.next() {
        let mut following = || lines.next().expect("a line that says it is not alone").to_owned();
        match line.split_at(line.len().min(2)) {
            ("==", heading) => {
                sections.push(Section { heading: heading.trim().to_owned(), exchanges: Vec::new() });
            }
            ("> ", command) => {
                let exchange = Exchange { command: command.to_owned(), reply: following(), other: None };
                sections.last_mut().expect("a heading comes first").exchanges.push(exchange);
            }
            ("% ", _) => {
                let section = sections.last_mut().expect("a heading comes first");
                section.exchanges.last_mut().expect("a command comes first").other = Some(following());
            }
            _ => panic!("{}: not understood: {line}", transcript.display()),
        }
    }
    sections
}

fn play(section: &Section, server: &Server, shards: usize, differences: &mut String) {
    let mut client = server.connect();
    client.command(&["FLUSHALL"]);
    if section.heading.ends_with(" RESP3") {
        client.command(&["HELLO", "3"]);
    }
    for Exchange { command, reply, other } in &section.exchanges {
        let words = inline::split_words(command.as_bytes()).expect("quotes are balanced");
        let argv: Vec<&[u8]> = words.as_argv().iter().collect();
        let said = client.command(&argv);
        let problem = match other {
            Some(other) if reply == other => "no difference is left here",
            Some(other) if !agree(&argv, other, &said) => "another difference than the one that is meant",
            None if !agree(&argv, reply, &said) => "differs",
            _ => continue,
        };
        let Section { heading, .. } = section;
        writeln!(
            differences,
            "{heading}, {shards} shard(s): {problem}\n  > {command}\n  {reply}\n  Pinion: {said}"
        )
        .expect("a String takes all");
    }
}

/// Whether a reply is the one of the transcript, but for the order of items that have none and time that has passed.
fn agree(argv: &[&[u8]], wanted: &str, said: &Value) -> bool {
    let is = |names: &[&str]| names.iter().any(|name| argv[0].eq_ignore_ascii_case(name.as_bytes()));
    if is(&["HGETALL", "HKEYS", "HVALS"])
        && let Value::Array(items) = said
    {
        let mut items: Vec<String> = items.iter().map(Value::to_string).collect();
        items.sort();
        return wanted == format!("[{}]", items.join(", "));
    }
    if is(&["TTL", "HTTL"]) {
        let seconds = |text: &str| -> Option<Vec<i64>> {
            let numbers = text.trim_matches(['[', ']']).split(", ");
            numbers.map(|number| number.strip_prefix(':')?.parse().ok()).collect()
        };
        // As long as a test may hang on a machine that is busy with others.
        const PASSED_MAX: i64 = 60;
        if let (Some(wanted), Some(said)) = (seconds(wanted), seconds(&said.to_string())) {
            let is_near = |(wanted, said): (&i64, &i64)| {
                wanted == said || *said > 0 && (wanted - PASSED_MAX..=*wanted).contains(said)
            };
            return wanted.len() == said.len() && wanted.iter().zip(&said).all(is_near);
        }
    }
    said.to_string() == wanted
}
