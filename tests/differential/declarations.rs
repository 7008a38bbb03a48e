//! The declarations themselves: COMMAND INFO and COMMAND DOCS of every command that the reference has too.

use crate::support::{Server, Value};

/// Sets of words whose order means nothing.
fn in_order(value: &Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.iter().map(in_order).collect()),
        Value::Set(items) => {
            let mut items: Vec<Value> = items.iter().map(in_order).collect();
            items.sort();
            Value::Set(items)
        }
        Value::Map(pairs) => {
            let mut pairs: Vec<_> =
                pairs.iter().map(|(name, value)| (name.clone(), in_order(value))).collect();
            // The words of the documentation are our own.
            pairs.retain(|(name, _)| {
                !matches!(name.as_bytes(), Some(b"summary" | b"complexity" | b"notes" | b"history"))
            });
            pairs.sort();
            Value::Map(pairs)
        }
        _ => value.clone(),
    }
}

/// Subcommands come in the order of a hash.
fn subcommands_in_order(info: Value) -> Value {
    match info {
        Value::Array(mut parts) if parts.len() == 10 => {
            if let Value::Array(subcommands) | Value::Set(subcommands) = &mut parts[9] {
                subcommands.sort();
            }
            Value::Array(parts)
        }
        other => other,
    }
}

#[test]
fn command_info_is_that_of_the_reference() {
    let (redis, pinion) = (Server::redis(), Server::pinion(1));
    let (mut redis, mut pinion) = (redis.connect_resp3(), pinion.connect_resp3());
    let table = pinion::commands::table(&[]);
    let mut names: Vec<&str> = table.reachable().map(|command| command.spec.full_name).collect();
    names.sort_unstable();
    let mut differences = String::new();
    for name in names {
        let ask = |client: &mut crate::support::Client| {
            let reply = client.command(&["COMMAND", "INFO", name]);
            let info = reply.as_items().expect("COMMAND INFO returns an array")[0].clone();
            subcommands_in_order(in_order(&info))
        };
        let (redis, pinion) = (ask(&mut redis), ask(&mut pinion));
        // A container may have subcommands of later versions; each subcommand is compared by its own name.
        let comparable = |info: &Value| match info {
            Value::Array(parts) => Value::Array(parts.iter().take(9).cloned().collect()),
            other => other.clone(),
        };
        // Their WITHSCORE came with 7.2, and with it another arity.
        let grown = matches!(name, "zrank" | "zrevrank");
        if !redis.is_null() && !grown && comparable(&redis) != comparable(&pinion) {
            differences +=
                &format!("{name}\n  redis:  {}\n  pinion: {}\n", comparable(&redis), comparable(&pinion));
        }
    }
    assert!(differences.is_empty(), "declarations that differ:\n{differences}");
}
