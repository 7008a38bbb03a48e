//! Records become data again: each shard's own, in a shard of this process, at a time at which nothing is past its
//! deadline.

use std::collections::BTreeMap;

use pinion::base::UnixMillis;
use pinion::command_table::{Args, CommandTable, Handler, ShardHandler};
use pinion::resp::{ArgvBuf, Protocol, Reply};
use pinion::shard::Shard;
use pinion::shard::journal::record::{Decoded, Record};

use crate::Argv;
use crate::support::{Client, Value};

pub const DATABASES: usize = 16;

/// One effect and the record it comes from.
pub struct Effect {
    pub sequence: u64,
    pub transaction: Option<u64>,
    pub db: usize,
    pub argv: Argv,
}

/// The effects of one shard, and the transactions over several of which it has a part.
pub struct Journal {
    pub effects: Vec<Effect>,
    pub parts: Vec<(u64, Vec<u32>)>,
    pub records: u64,
}

impl Journal {
    pub fn read(bytes: &[u8]) -> Journal {
        Journal::read_from(bytes, Some(1))
    }

    /// Checks the sequences if the first one is known.
    pub fn read_from(mut bytes: &[u8], first: Option<u64>) -> Journal {
        let mut journal = Journal { effects: Vec::new(), parts: Vec::new(), records: 0 };
        while !bytes.is_empty() {
            let Decoded::Record(record) = Record::decode(bytes) else { panic!("only whole records") };
            assert!(first.is_none_or(|first| record.sequence == first + journal.records), "J1");
            journal.records += 1;
            let transaction = record.membership.as_ref().map(|membership| membership.transaction);
            for effect in record.effects() {
                let effect = effect.expect("decoded");
                let argv = effect.arguments().map(<[u8]>::to_vec).collect();
                journal.effects.push(Effect { sequence: record.sequence, transaction, db: effect.db, argv });
            }
            if let Some(membership) = &record.membership {
                journal.parts.push((membership.transaction, membership.participants.to_vec()));
            }
            bytes = &bytes[record.length..];
        }
        journal
    }
}

pub struct Replayed {
    table: CommandTable,
    journals: Vec<Journal>,
    shards: Vec<Shard>,
}

impl Replayed {
    pub fn of(journals: &[Vec<u8>]) -> Replayed {
        let table = pinion::commands::table(&[]);
        let journals: Vec<Journal> = journals.iter().map(|bytes| Journal::read(bytes)).collect();
        let mut replayed = Replayed { table, journals, shards: Vec::new() };
        if let Ok(path) = std::env::var("JOURNAL_OUT") {
            replayed.write_to(&path);
        }
        replayed.shards = replayed.journals.iter().map(|journal| replay(&replayed.table, journal)).collect();
        replayed
    }

    /// Of each transaction every participant has one record, and they agree who takes part.
    pub fn check_participants(&self) {
        let mut parts: BTreeMap<u64, Vec<(u32, &[u32])>> = BTreeMap::new();
        for (shard, journal) in self.journals.iter().enumerate() {
            for (transaction, participants) in &journal.parts {
                parts.entry(*transaction).or_default().push((shard as u32, participants));
            }
        }
        for (transaction, found) in parts {
            let participants = found[0].1;
            let shards: Vec<u32> = found.iter().map(|(shard, _)| *shard).collect();
            assert_eq!(shards, participants, "transaction {transaction}: one record each");
            assert!(
                found.iter().all(|(_, other)| *other == participants),
                "transaction {transaction}: they agree"
            );
        }
    }

    /// Everything that is not past its deadline at that time.
    pub fn holds(&mut self, now_ms: i64) -> BTreeMap<String, Value> {
        let now = UnixMillis(now_ms as u64);
        let mut all = BTreeMap::new();
        for shard in &mut self.shards {
            for database in 0..DATABASES {
                let live = shard.databases[database].iter().filter(|entry| !entry.is_expired(now));
                let keys: Vec<Vec<u8>> = live.map(|entry| entry.key().to_vec()).collect();
                for key in keys {
                    let mut ask = |argv: Argv| run(&self.table, shard, database, now, &argv);
                    let value = describe(&key, &mut ask);
                    // A hash whose fields are all past their deadline is none.
                    if ask(words(&["TYPE"], &key)) != Value::Simple(b"none".to_vec()) {
                        all.insert(name(database, &key), value);
                    }
                }
            }
        }
        all
    }

    /// Everything, one effect a line.
    fn write_to(&self, path: &str) {
        let mut text = String::new();
        for (shard, journal) in self.journals.iter().enumerate() {
            for Effect { sequence, transaction, db, argv } in &journal.effects {
                let words: Vec<String> = argv.iter().map(|word| word.escape_ascii().to_string()).collect();
                text += &format!("{shard} {sequence} {transaction:?} db{db}: {}\n", words.join(" "));
            }
        }
        std::fs::write(path, text).expect("the file can be written");
    }

    /// What the journals say about a key, to be read by people: from the end back, for SWAPDB gives it another database.
    pub fn history(&self, database: &str, key: &str) -> String {
        let mut lines: Vec<String> = Vec::new();
        for (shard, journal) in self.journals.iter().enumerate() {
            let mut database: usize = database.parse().expect("a database");
            let mut of_shard: Vec<String> = Vec::new();
            for effect in journal.effects.iter().rev() {
                let words: Vec<String> =
                    effect.argv.iter().map(|word| word.escape_ascii().to_string()).collect();
                let is = |name: &str| words[0].eq_ignore_ascii_case(name);
                let moves = is("MOVE") || is("COPY");
                let shown = is("FLUSHALL") || is("FLUSHDB") && effect.db == database;
                if is("SWAPDB") {
                    let (one, other) =
                        (words[1].parse().expect("a number"), words[2].parse().expect("a number"));
                    database = match database {
                        same if same == one => other,
                        same if same == other => one,
                        same => same,
                    };
                } else if shown || (moves || effect.db == database) && words.iter().any(|word| word == key) {
                    let line: String = words.join(" ").chars().take(200).collect();
                    let Effect { sequence, db, transaction, .. } = effect;
                    of_shard
                        .push(format!("  shard {shard} record {sequence} {transaction:?} db {db}: {line}\n"));
                }
            }
            if of_shard.iter().any(|line| !line.to_uppercase().contains(" FLUSH")) {
                of_shard.truncate(60);
                of_shard.reverse();
                lines.extend(of_shard);
            }
        }
        lines.concat()
    }
}

fn replay(table: &CommandTable, journal: &Journal) -> Shard {
    let mut shard = Shard::new(DATABASES, [1, 2, 3, 4]);
    for Effect { db, argv, sequence, .. } in &journal.effects {
        let number = |index: usize| -> usize {
            String::from_utf8_lossy(&argv[index]).parse().expect("a database's number")
        };
        match argv[0].to_ascii_uppercase().as_slice() {
            b"FLUSHALL" => shard.flush(None, false),
            b"FLUSHDB" => shard.flush(Some(*db), false),
            b"SWAPDB" => shard.swap(number(1), number(2)),
            _ => {
                let reply = run(table, &mut shard, *db, UnixMillis(0), argv);
                let line: Vec<String> = argv.iter().map(|word| word.escape_ascii().to_string()).collect();
                assert!(!reply.is_error(), "record {sequence}: {} replies {reply}", line.join(" "));
            }
        }
    }
    shard
}

fn run(table: &CommandTable, shard: &mut Shard, db: usize, now: UnixMillis, argv: &Argv) -> Value {
    let argv: ArgvBuf = argv.iter().collect();
    let argv = argv.as_argv();
    let command = table.resolve(argv).expect("a command");
    let run: ShardHandler = match command.spec.handler {
        Handler::Shard(run)
        | Handler::ShardOf { run, .. }
        | Handler::PerShard { run, .. }
        | Handler::Transaction { run, .. }
        | Handler::Blocking { run, .. } => run,
        _ => panic!("{} is no effect on a shard", command.spec.full_name),
    };
    let mut bytes = Vec::new();
    let mut reply = Reply::new(&mut bytes, Protocol::Resp2);
    let result =
        run(&mut shard.context(db, now, false), Args::new(argv, usize::from(command.names)), &mut reply);
    if let Err(error) = result {
        bytes.clear();
        Reply::new(&mut bytes, Protocol::Resp2).error(error.text().as_ref());
    }
    Value::parse(&bytes).expect("one reply").0
}

/// What a server holds, by database and key.
pub fn held(client: &mut Client) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    for database in 0..DATABASES {
        client.command(&["SELECT", &database.to_string()]);
        let keys = client.command(&["KEYS", "*"]);
        for key in keys.as_items().expect("keys") {
            let key = key.as_bytes().expect("a name");
            let mut ask = |argv: Argv| client.command(&argv);
            let value = describe(key, &mut ask);
            if ask(words(&["TYPE"], key)) != Value::Simple(b"none".to_vec()) {
                all.insert(name(database, key), value);
            }
        }
    }
    client.command(&["SELECT", "0"]);
    all
}

/// Type, deadline, contents, and the deadlines of fields.
fn describe(key: &[u8], ask: &mut dyn FnMut(Argv) -> Value) -> Value {
    let kind = ask(words(&["TYPE"], key));
    let deadline = ask(words(&["PEXPIRETIME"], key));
    let with = |before: &[&str], after: &[&str]| {
        let mut argv = words(before, key);
        argv.extend(after.iter().map(|word| word.as_bytes().to_vec()));
        argv
    };
    let contents = match kind.to_text().as_str() {
        "list" => ask(with(&["LRANGE"], &["0", "-1"])),
        "set" => ask(words(&["SMEMBERS"], key)).sorted(),
        "zset" => ask(with(&["ZRANGE"], &["0", "-1", "WITHSCORES"])),
        "hash" => {
            let flat = ask(words(&["HGETALL"], key));
            let mut fields = Vec::new();
            for pair in flat.as_items().expect("fields and values").chunks(2) {
                let mut argv = with(&["HPEXPIRETIME"], &["FIELDS", "1"]);
                argv.push(pair[0].as_bytes().expect("a field").to_vec());
                fields.push(Value::Array(vec![pair[0].clone(), pair[1].clone(), ask(argv)]));
            }
            Value::Array(fields).sorted()
        }
        "string" => ask(words(&["GET"], key)),
        "stream" => {
            let entries = ask(with(&["XRANGE"], &["-", "+"]));
            Value::Array(vec![entries, lasting(ask(with(&["XINFO", "STREAM"], &["FULL", "COUNT", "0"])))])
        }
        other => Value::Bulk(other.into()),
    };
    Value::Array(vec![kind, deadline, contents])
}

/// XINFO STREAM FULL without what depends on the moment, on how entries are stored, and on who has looked when.
fn lasting(value: Value) -> Value {
    const PASSING: [&[u8]; 6] =
        [b"seen-time", b"active-time", b"radix-tree-keys", b"radix-tree-nodes", b"entries", b"idle"];
    let Value::Array(items) = value else { return value };
    let mut kept = Vec::new();
    let mut items = items.into_iter();
    while let Some(item) = items.next() {
        if item.as_bytes().is_some_and(|name| PASSING.contains(&name)) {
            items.next();
        } else {
            kept.push(lasting(item));
        }
    }
    Value::Array(kept)
}

fn words(before: &[&str], key: &[u8]) -> Argv {
    let mut argv: Argv = before.iter().map(|word| word.as_bytes().to_vec()).collect();
    argv.push(key.to_vec());
    argv
}

fn name(database: usize, key: &[u8]) -> String {
    format!("{database} {}", key.escape_ascii())
}
