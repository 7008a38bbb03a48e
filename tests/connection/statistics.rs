//! Where refusals and failures are counted: beside the reference.

use crate::support::{Client, Server, on_each_shard_count};
use std::collections::BTreeMap;

/// Unknown names, wrong numbers of arguments, and failures of commands that ran.
const REQUESTS: &[&[&str]] = &[
    &["nosuch"],
    &["client"],
    &["client", "nosuch"],
    &["client", "id", "x"],
    &["client", "kill", "nobody"],
    &["client", "kill", "id", "x"],
    &["client", "list", "x"],
    &["client", "reply", "x"],
    &["client", "id"],
    &["command", "nosuch"],
    &["command", "count"],
    &["get"],
    &["ping", "a", "b"],
    &["auth", "x"],
    &["auth", "nobody", "x"],
    &["hello", "9"],
    &["select", "99"],
    &["set", "string", "v"],
    &["incr", "string"],
    &["getset", "string"],
];

/// `cmdstat_…` without the times, and `errorstat_…`.
fn counted(client: &mut Client) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for section in ["commandstats", "errorstats"] {
        let text = client.command(&["INFO", section]).to_text();
        for (name, figures) in text.lines().filter_map(|line| line.split_once(':')) {
            let figures = figures.split(',').filter(|figure| !figure.starts_with("usec"));
            all.insert(name.to_owned(), figures.collect::<Vec<_>>().join(","));
        }
    }
    all
}

#[test]
fn refusals_and_failures_are_counted_as_in_the_reference() {
    let of = |server: &Server| {
        let mut client = server.connect();
        assert_eq!(client.command(&["CONFIG", "RESETSTAT"]).to_string(), "+OK");
        for request in REQUESTS {
            client.command(request);
        }
        client.send(&["CLIENT", "REPLY", "OFF"]);
        client.send(&["nosuch"]);
        client.send(&["get", "a", "b"]);
        client.send(&["CLIENT", "REPLY", "ON"]);
        client.receive();
        counted(&mut client)
    };
    let expected = of(&Server::redis());
    on_each_shard_count(|server| assert_eq!(of(server), expected));
}
