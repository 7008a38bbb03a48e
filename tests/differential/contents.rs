//! Everything that a server holds, asked for with commands and put into an order of its own.

use std::fmt::Write;
use std::io;

use crate::generate::Argv;
use crate::support::{Client, Value, encode};

pub const DATABASES: usize = 16;

/// A question about one key, and what the server says. The order is by database, key and question.
pub struct Fact {
    pub database: usize,
    pub argv: Argv,
    pub value: Value,
}

/// All keys of all databases: what they are, how they are held, when they expire, what is in them.
pub fn read(client: &mut Client) -> io::Result<Vec<Fact>> {
    let mut facts = Vec::new();
    let mut keys_of = Vec::new();
    let questions: Vec<Argv> = (0..DATABASES)
        .flat_map(|database| [argv(&[b"SELECT", &number(database)]), argv(&[b"KEYS", b"*"])])
        .collect();
    for (database, replies) in ask(client, &questions)?.chunks(2).enumerate() {
        let keys = replies[1].clone().sorted();
        facts.push(Fact { database, argv: argv(&[b"KEYS", b"*"]), value: keys.clone() });
        let keys = keys.as_items().unwrap_or_default().to_vec();
        keys_of.extend(keys.iter().filter_map(|key| Some((database, key.as_bytes()?.to_vec()))));
    }

    let types = ask_about(client, &keys_of, |key| argv(&[b"TYPE", key]))?;
    let encodings = ask_about(client, &keys_of, |key| argv(&[b"OBJECT", b"ENCODING", key]))?;
    let deadlines = ask_about(client, &keys_of, |key| argv(&[b"PTTL", key]))?;
    let kinds: Vec<String> = types.iter().map(|fact| fact.value.to_text()).collect();
    let mut kind = kinds.iter();
    let values = ask_about(client, &keys_of, |key| match kind.next().expect("one type per key").as_str() {
        "list" => argv(&[b"LRANGE", key, b"0", b"-1"]),
        "set" => argv(&[b"SMEMBERS", key]),
        "hash" => argv(&[b"HGETALL", key]),
        "zset" => argv(&[b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"]),
        "stream" => argv(&[b"XINFO", b"STREAM", key, b"FULL", b"COUNT", b"0"]),
        _ => argv(&[b"GET", key]),
    })?;
    facts.extend(types.into_iter().chain(encodings).chain(deadlines).chain(values));
    facts.extend(scans(client, &facts_of_keys(&keys_of))?);
    Ok(facts)
}

/// Complete iterations by SCAN, whose single replies cannot be compared.
fn scans(client: &mut Client, databases: &[usize]) -> io::Result<Vec<Fact>> {
    let options: [&[&[u8]]; 3] =
        [&[b"COUNT", b"3"], &[b"MATCH", b"*[st]*:[0-2]"], &[b"TYPE", b"string", b"COUNT", b"100"]];
    let mut facts = Vec::new();
    for &database in databases {
        ask(client, &[argv(&[b"SELECT", &number(database)])])?;
        for options in options {
            let mut found = Vec::new();
            let mut cursor = b"0".to_vec();
            // Far more calls than a few keys can need: one that never comes back to 0 is a finding.
            for call in 0.. {
                assert!(call < 10_000, "SCAN in database {database} does not end");
                let question = argv(&[&[b"SCAN", cursor.as_slice()], options].concat());
                let reply = ask(client, &[question])?.remove(0);
                let Some([next, keys]) = reply.as_items() else { break };
                found.extend(keys.as_items().unwrap_or_default().to_vec());
                cursor = next.as_bytes().unwrap_or_default().to_vec();
                if cursor == b"0" {
                    break;
                }
            }
            found.sort();
            found.dedup();
            let question = argv(&[&[b"SCAN".as_slice(), b"0"], options].concat());
            facts.push(Fact { database, argv: question, value: Value::Array(found) });
        }
    }
    Ok(facts)
}

fn facts_of_keys(keys: &[(usize, Vec<u8>)]) -> Vec<usize> {
    let mut databases: Vec<usize> = keys.iter().map(|(database, _)| *database).collect();
    databases.dedup();
    databases
}

fn ask_about(
    client: &mut Client,
    keys: &[(usize, Vec<u8>)],
    mut question: impl FnMut(&[u8]) -> Argv,
) -> io::Result<Vec<Fact>> {
    let questions: Vec<Argv> = keys
        .iter()
        .flat_map(|(database, key)| [argv(&[b"SELECT", &number(*database)]), question(key)])
        .collect();
    let replies = ask(client, &questions)?;
    let asked_and_replied = questions.chunks(2).zip(replies.chunks(2));
    let facts = keys.iter().zip(asked_and_replied).map(|((database, _), (asked, replied))| Fact {
        database: *database,
        argv: asked[1].clone(),
        value: replied[1].clone(),
    });
    Ok(facts.collect())
}

/// In pieces: a pipeline whose replies fill both sockets before anyone reads would stand still.
pub fn ask(client: &mut Client, commands: &[Argv]) -> io::Result<Vec<Value>> {
    let mut replies = Vec::with_capacity(commands.len());
    for commands in commands.chunks(50) {
        let bytes: Vec<u8> = commands.iter().flat_map(|argv| encode(argv)).collect();
        client.try_send_raw(&bytes)?;
        for _ in commands {
            replies.push(client.try_receive()?);
        }
    }
    Ok(replies)
}

pub fn argv(words: &[&[u8]]) -> Argv {
    words.iter().map(|word| word.to_vec()).collect()
}

fn number(number: usize) -> Vec<u8> {
    number.to_string().into_bytes()
}

/// A command as redis-cli takes it.
pub fn line(argv: &Argv) -> String {
    let mut line = String::new();
    for (index, word) in argv.iter().enumerate() {
        let space = if index == 0 { "" } else { " " };
        let plain =
            !word.is_empty() && word.iter().all(|byte| byte.is_ascii_graphic() && !b"\"'\\".contains(byte));
        let shown = if plain {
            String::from_utf8_lossy(word).into_owned()
        } else {
            format!("\"{}\"", word.escape_ascii())
        };
        write!(line, "{space}{shown}").expect("a String takes everything");
    }
    line
}
