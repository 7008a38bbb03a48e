//! Every declaration against COMMAND INFO and COMMAND DOCS of the reference.

use crate::support::{Client, Server, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Whether a version is later than the reference's: what came with it is not compared.
fn is_newer(version: &str) -> bool {
    let numbers: Vec<u32> = version.split('.').map(|part| part.parse().expect("a version")).collect();
    numbers > vec![7, 0, 15]
}

/// The commands that the reference does not have yet.
fn newer_commands(client: &mut Client) -> BTreeSet<String> {
    let mut newer = BTreeSet::new();
    let mut waiting = vec![client.command(&["COMMAND", "DOCS"])];
    while let Some(docs) = waiting.pop() {
        let Value::Map(commands) = docs else { panic!("a map: {docs}") };
        for (name, docs) in commands {
            if is_newer(&docs.get("since").expect("every command has it").to_text()) {
                newer.insert(name.to_text());
            }
            waiting.extend(docs.get("subcommands").cloned());
        }
    }
    newer
}

/// Command and field of COMMAND INFO that differ on purpose, with the reason beside them.
const INFO_DIFFERS: &[(&str, &str)] = &[
    // WITHSCORE came with 7.2.
    ("zrank", "arity"),
    ("zrevrank", "arity"),
];

/// Fields of COMMAND DOCS that are not compared: `summary` and `complexity` are prose in our own words, and the
/// others, about the history of Redis, are not told.
const DOCS_OMITTED: &[&str] =
    &["summary", "complexity", "history", "doc_flags", "deprecated_since", "replaced_by"];

const FIELDS: [&str; 9] =
    ["arity", "flags", "first key", "last key", "step", "categories", "tips", "key specs", "subcommands"];

/// By name: the fields after it. Subcommands stand beside their containers.
fn facts(client: &mut Client) -> BTreeMap<String, Vec<Value>> {
    let mut all = BTreeMap::new();
    let reply = client.command(&["COMMAND"]);
    let mut waiting: Vec<Value> = reply.as_items().expect("an array").to_vec();
    while let Some(command) = waiting.pop() {
        let fields = command.as_items().expect("an array");
        assert_eq!(fields.len(), 1 + FIELDS.len());
        let subcommands = fields[FIELDS.len()].as_items().expect("an array");
        waiting.extend_from_slice(subcommands);
        all.insert(fields[0].to_text(), fields[1..].to_vec());
    }
    all
}

/// What order means nothing in, sorted; notes left out, since they are prose.
fn comparable(value: &Value) -> Value {
    match value {
        Value::Set(items) => Value::Set(items.iter().map(comparable).collect()).sorted(),
        Value::Array(items) => Value::Array(items.iter().map(comparable).collect()),
        Value::Map(pairs) => {
            let told = pairs.iter().filter(|(key, _)| key.as_bytes() != Some(b"notes"));
            Value::Map(told.map(|(key, value)| (comparable(key), comparable(value))).collect())
        }
        other => other.clone(),
    }
}

#[test]
fn command_info_is_that_of_the_reference() {
    let (redis, pinion) = (Server::redis(), Server::pinion(1));
    let (theirs, ours) = (facts(&mut redis.connect_resp3()), facts(&mut pinion.connect_resp3()));
    let mut differences = Vec::new();
    let newer = newer_commands(&mut pinion.connect_resp3());
    for (name, fields) in ours.iter().filter(|(name, _)| !newer.contains(*name)) {
        let Some(expected) = theirs.get(name) else {
            differences.push(format!("{name}: the reference does not have it"));
            continue;
        };
        for ((field, got), expected) in FIELDS.iter().zip(fields).zip(expected) {
            // Each is compared on its own.
            if *field == "subcommands" || INFO_DIFFERS.contains(&(name, field)) {
                continue;
            }
            let (got, expected) = (comparable(got), comparable(expected));
            if got != expected {
                differences.push(format!("{name}: {field}: {got} instead of {expected}"));
            }
        }
    }
    assert!(differences.is_empty(), "\n{}", differences.join("\n"));
}

#[test]
fn both_protocols_tell_the_same_facts() {
    let server = Server::pinion(1);
    let count = server.connect().command(&["COMMAND", "COUNT"]).as_integer();
    let (resp2, resp3) =
        (server.connect().command(&["COMMAND"]), server.connect_resp3().command(&["COMMAND"]));
    let items = |reply: &Value| reply.as_items().map(<[Value]>::len);
    assert_eq!((items(&resp2), items(&resp3)), (count.map(|count| count as usize), items(&resp2)));
}

/// By path (`client|kill filter new-format client-id`): all fields but those with children.
fn arguments(path: &str, docs: &Value, all: &mut BTreeSet<String>) {
    let Value::Map(pairs) = docs else { panic!("a map: {docs}") };
    for (key, value) in pairs {
        match key.to_text().as_str() {
            "arguments" => {
                let since = |argument: &Value| argument.get("since").map(Value::to_text);
                let known = |argument: &&Value| !since(argument).is_some_and(|since| is_newer(&since));
                for argument in value.as_items().expect("an array").iter().filter(known) {
                    let name = argument.get("name").expect("an argument has a name").to_text();
                    arguments(&format!("{path} {name}"), argument, all);
                }
            }
            "subcommands" => {
                let Value::Map(subcommands) = value else { panic!("a map: {value}") };
                subcommands.iter().for_each(|(name, docs)| arguments(&name.to_text(), docs, all));
            }
            field if DOCS_OMITTED.contains(&field) => {}
            field => {
                all.insert(format!("{path}: {field}={}", comparable(value)));
            }
        }
    }
}

/// BYPOLYGON stands beside FROMMEMBER and BYRADIUS together, so that the arguments of both have another nesting.
const NESTED_ANEW: [&str; 2] = ["geosearch", "geosearchstore"];

#[test]
fn command_docs_are_those_of_the_reference() {
    let (redis, pinion) = (Server::redis(), Server::pinion(1));
    let ours = pinion.connect_resp3().command(&["COMMAND", "DOCS"]);
    let Value::Map(commands) = &ours else { panic!("a map: {ours}") };
    let newer = newer_commands(&mut pinion.connect_resp3());
    let mut client = redis.connect_resp3();
    let mut differences = Vec::new();
    for (name, docs) in commands {
        let name = name.to_text();
        if newer.contains(&name) || NESTED_ANEW.contains(&name.as_str()) {
            continue;
        }
        let reply = client.command(&["COMMAND", "DOCS", &name]);
        let Some(expected) = reply.get(&name) else {
            differences.push(format!("{name}: the reference does not have it"));
            continue;
        };
        let (mut got, mut wanted) = (BTreeSet::new(), BTreeSet::new());
        arguments(&name, docs, &mut got);
        arguments(&name, expected, &mut wanted);
        let ignored = |line: &&String| {
            let command = line.split([' ', ':']).next().unwrap_or_default();
            newer.contains(command)
        };
        let only = |these: &BTreeSet<String>, those: &BTreeSet<String>, mark: &str| -> Vec<String> {
            let only = these.difference(those).filter(|line| !ignored(line));
            only.map(|line| format!("{mark} {line}")).collect()
        };
        differences.extend(only(&got, &wanted, "+"));
        differences.extend(only(&wanted, &got, "-"));
    }
    assert!(differences.is_empty(), "\n{}", differences.join("\n"));
}

#[test]
fn names_by_pattern_and_by_category() {
    let (redis, pinion) = (Server::redis(), Server::pinion(1));
    let names = |client: &mut Client, request: &[&str]| -> BTreeSet<String> {
        let reply = client.command(request);
        reply.as_items().expect("an array").iter().map(Value::to_text).collect()
    };
    let (mut theirs, mut ours) = (redis.connect(), pinion.connect());
    let newer = newer_commands(&mut pinion.connect_resp3());
    let known = names(&mut ours, &["COMMAND", "LIST"]);
    let categories: Vec<String> = names(&mut ours, &["ACL", "CAT"]).into_iter().collect();
    for category in &categories {
        let expected = names(&mut theirs, &["ACL", "CAT", category]);
        let got = names(&mut ours, &["ACL", "CAT", category]);
        assert_eq!(got, names(&mut ours, &["COMMAND", "LIST", "FILTERBY", "ACLCAT", category]));
        assert_eq!(&got - &newer, &expected & &known, "{category}");
    }
    for pattern in ["*", "CLIENT|*", "[gp]*t"] {
        let request = ["COMMAND", "LIST", "FILTERBY", "PATTERN", pattern];
        assert_eq!(&names(&mut ours, &request) - &newer, &names(&mut theirs, &request) & &known, "{pattern}");
    }
}
