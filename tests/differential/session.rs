//! One connection's commands, sent to every server, and the first difference that shows.

use std::fmt;
use std::io;

use crate::compare;
use crate::contents::{self, Fact, ask};
use crate::generate::Argv;
use crate::known_differences::{self, Observation};
use crate::support::{Client, Server, Value};

#[derive(Clone)]
pub struct Session {
    pub resp3: bool,
    /// Nodes of streams hold very little.
    pub small_nodes: bool,
    pub commands: Vec<Argv>,
}

/// The reference, and Pinion with each number of shards.
pub struct Servers {
    pub redis: Server,
    pub pinions: Vec<(usize, Server)>,
}

pub struct Difference {
    pub shards: usize,
    pub asked: String,
    /// The command's name: differences of one kind are shown once.
    pub kind: String,
    pub redis: String,
    pub pinion: String,
}

struct Outcome {
    replies: Vec<Value>,
    facts: Vec<Fact>,
    /// Why it ended early.
    failure: Option<String>,
}

impl Servers {
    pub fn start(shard_counts: &[usize]) -> Servers {
        let pinions = shard_counts.iter().map(|&shards| (shards, Server::pinion(shards))).collect();
        Servers { redis: Server::redis(), pinions }
    }

    pub fn run(&mut self, session: &Session) -> Option<Difference> {
        let redis = run_on(&self.redis, session);
        assert!(redis.failure.is_none(), "the reference fails: {:?}", redis.failure);
        for (shards, server) in &mut self.pinions {
            let pinion = run_on(server, session);
            let failed = pinion.failure.is_some();
            let difference = first_difference(session, *shards, &redis, &pinion);
            if failed {
                server.restart();
            }
            if difference.is_some() {
                return difference;
            }
        }
        None
    }
}

fn run_on(server: &Server, session: &Session) -> Outcome {
    let mut outcome = Outcome { replies: Vec::new(), facts: Vec::new(), failure: None };
    let failure = try_run_on(server, session, &mut outcome).err();
    outcome.failure = failure.map(|error| format!("{error}; {}", panic_message(&server.log())));
    outcome
}

/// Where the process ended itself and what it said, if that is why the connection is lost.
fn panic_message(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    let start = lines.iter().rposition(|line| line.contains("panicked at"));
    start.map_or_else(
        || "no panic in its log".into(),
        |start| lines[start..].iter().take(3).copied().collect::<Vec<_>>().join(" "),
    )
}

fn try_run_on(server: &Server, session: &Session, outcome: &mut Outcome) -> io::Result<()> {
    let mut client = Client::connect(server.address())?;
    // Keys that are past their deadline but not yet gone count in DBSIZE; both servers keep them then.
    let (entries, bytes): (&[u8], &[u8]) =
        if session.small_nodes { (b"3", b"100") } else { (b"100", b"4096") };
    let (list_entries, depth): (&[u8], &[u8]) =
        if session.small_nodes { (b"4", b"1") } else { (b"-2", b"0") };
    let before: &[Argv] = &[
        contents::argv(&[b"DEBUG", b"SET-ACTIVE-EXPIRE", b"0"]),
        contents::argv(&[b"FLUSHALL"]),
        contents::argv(&[b"CONFIG", b"SET", b"stream-node-max-entries", entries]),
        contents::argv(&[b"CONFIG", b"SET", b"stream-node-max-bytes", bytes]),
        contents::argv(&[b"CONFIG", b"SET", b"list-max-listpack-size", list_entries]),
        contents::argv(&[b"CONFIG", b"SET", b"list-compress-depth", depth]),
    ];
    ask(&mut client, before)?;
    if session.resp3 {
        ask(&mut client, &[contents::argv(&[b"HELLO", b"3"])])?;
    }
    for commands in session.commands.chunks(50) {
        outcome.replies.extend(ask(&mut client, commands)?);
    }
    let mut reader = Client::connect(server.address())?;
    outcome.facts = contents::read(&mut reader)?;
    Ok(())
}

fn first_difference(
    session: &Session,
    shards: usize,
    redis: &Outcome,
    pinion: &Outcome,
) -> Option<Difference> {
    let difference = |asked, kind, redis, pinion| Some(Difference { shards, asked, kind, redis, pinion });
    let mut queued: Vec<&Argv> = Vec::new();
    let replies = session.commands.iter().zip(redis.replies.iter().zip(&pinion.replies));
    for (index, (argv, (redis_says, pinion_says))) in replies.enumerate() {
        let may_have_expired = session.commands[..index].iter().any(compare::may_expire_any_key);
        let is_exec = argv[0].eq_ignore_ascii_case(b"EXEC");
        let agree = if is_exec {
            exec_agrees(&queued, redis_says, pinion_says, shards, may_have_expired)
        } else {
            (is_uncertain(argv, may_have_expired) || agree(argv, redis_says, pinion_says, shards))
                && is_one_of_the_keys(session, index, redis, pinion)
        };
        if !agree {
            let kind = String::from_utf8_lossy(&argv[0]).to_uppercase();
            return difference(contents::line(argv), kind, redis_says.to_string(), pinion_says.to_string());
        }
        if matches!(redis_says, Value::Simple(text) if text == b"QUEUED") {
            queued.push(argv);
        } else if is_exec || argv[0].eq_ignore_ascii_case(b"DISCARD") {
            queued.clear();
        }
    }
    if let Some(error) = &pinion.failure {
        let place = pinion.replies.len();
        let asked = format!("commands {place} to {}, or the contents", place + 49);
        return difference(asked, "FAILURE".into(), "replies".into(), format!("connection lost: {error}"));
    }
    for (redis, pinion) in redis.facts.iter().zip(&pinion.facts) {
        if redis.argv != pinion.argv || !agree(&redis.argv, &redis.value, &pinion.value, shards) {
            let asked =
                format!("afterwards, in database {}: {}", redis.database, contents::line(&redis.argv));
            let kind = format!("contents {}", String::from_utf8_lossy(&redis.argv[0]));
            let pinion_says = format!("{} -> {}", contents::line(&pinion.argv), pinion.value);
            return difference(asked, kind, redis.value.to_string(), pinion_says);
        }
    }
    None
}

fn agree(argv: &Argv, redis: &Value, pinion: &Value, shards: usize) -> bool {
    compare::agree(argv, redis, pinion)
        || known_differences::covers(&Observation { argv, redis, pinion, shards })
}

/// DBSIZE counts keys past their deadlines; how many of them an earlier command has come across is chance.
fn is_uncertain(argv: &Argv, may_have_expired: bool) -> bool {
    may_have_expired && argv[0].eq_ignore_ascii_case(b"DBSIZE")
}

/// What EXEC returns is compared command by command: some of them return their items in any order.
fn exec_agrees(
    queued: &[&Argv],
    redis: &Value,
    pinion: &Value,
    shards: usize,
    may_have_expired: bool,
) -> bool {
    match (redis, pinion) {
        (Value::Array(redis), Value::Array(pinion))
            if redis.len() == queued.len() && pinion.len() == queued.len() =>
        {
            let mut replies = queued.iter().zip(redis.iter().zip(pinion));
            replies.all(|(argv, (redis, pinion))| {
                is_uncertain(argv, may_have_expired) || agree(argv, redis, pinion, shards)
            })
        }
        _ => redis == pinion,
    }
}

/// RANDOMKEY returns a key that KEYS, sent right before it, has listed.
fn is_one_of_the_keys(session: &Session, index: usize, redis: &Outcome, pinion: &Outcome) -> bool {
    let Some(before) = index.checked_sub(1) else { return true };
    if !session.commands[index][0].eq_ignore_ascii_case(b"RANDOMKEY")
        || session.commands[before] != contents::argv(&[b"KEYS", b"*"])
    {
        return true;
    }
    [redis, pinion].iter().all(|outcome| match (&outcome.replies[before], &outcome.replies[index]) {
        (Value::Array(keys), Value::Bulk(_)) => keys.contains(&outcome.replies[index]),
        _ => true,
    })
}

impl fmt::Display for Difference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{} shard(s), {}", self.shards, self.asked)?;
        writeln!(out, "  redis:  {}", shortened(&self.redis))?;
        write!(out, "  pinion: {}", shortened(&self.pinion))
    }
}

fn shortened(text: &str) -> String {
    const SHOWN: usize = 600;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}… ({} characters)", &text[..end], text.chars().count()),
        None => text.to_owned(),
    }
}
