//! What each command does, one file per family. A file declares its commands next to their code; this
//! file only joins the families.

mod acl;
mod bitfield;
mod bitmap;
mod client;
mod client_list;
mod collection_random;
mod collection_scan;
mod command;
mod config;
mod connection;
mod debug;
mod dump;
mod entry_reply;
mod function;
mod geo;
mod geo_query;
mod geo_search;
mod hash;
mod hash_counter;
mod hash_deadline;
mod hash_exchange;
mod hash_expire;
mod hash_field_options;
mod hash_scan;
mod help;
mod hops;
mod hyperloglog;
mod info;
mod keys;
mod keys_expire;
mod keys_flush;
mod keys_move;
mod keys_scan;
mod keys_sort;
mod latency;
mod list;
mod list_block;
mod list_edit;
mod list_move;
mod list_read;
mod memory;
mod monitor;
mod object;
mod persistence;
mod read_then_write;
mod server;
mod set;
mod set_algebra;
mod set_move;
mod slowlog;
mod stream;
mod stream_claim;
mod stream_group;
mod stream_info;
mod stream_journal;
mod stream_options;
mod stream_read;
mod string;
mod string_compare;
mod string_counter;
mod string_exchange;
mod string_lcs;
mod string_many;
mod string_options;
mod string_range;
mod timeout;
mod transaction;
mod zset;
mod zset_add;
mod zset_algebra;
mod zset_block;
mod zset_pop;
mod zset_query;
mod zset_range;
mod zset_scan;

#[cfg(test)]
mod testing;

use crate::command_table::{CommandSpec, CommandTable};

const FAMILIES: &[&[&CommandSpec]] = &[
    acl::COMMANDS,
    client::COMMANDS,
    command::COMMANDS,
    connection::COMMANDS,
    monitor::COMMANDS,
    config::COMMANDS,
    debug::COMMANDS,
    dump::COMMANDS,
    function::COMMANDS,
    info::COMMANDS,
    latency::COMMANDS,
    memory::COMMANDS,
    persistence::COMMANDS,
    server::COMMANDS,
    slowlog::COMMANDS,
    string::COMMANDS,
    keys::COMMANDS,
    keys_expire::COMMANDS,
    keys_flush::COMMANDS,
    keys_move::COMMANDS,
    keys_scan::COMMANDS,
    keys_sort::COMMANDS,
    list::COMMANDS,
    list_read::COMMANDS,
    list_edit::COMMANDS,
    list_move::COMMANDS,
    list_block::COMMANDS,
    object::COMMANDS,
    string_compare::COMMANDS,
    string_counter::COMMANDS,
    string_exchange::COMMANDS,
    string_lcs::COMMANDS,
    string_many::COMMANDS,
    string_range::COMMANDS,
    transaction::COMMANDS,
    hash::COMMANDS,
    hash_counter::COMMANDS,
    hash_exchange::COMMANDS,
    hash_expire::COMMANDS,
    hash_scan::COMMANDS,
    set::COMMANDS,
    set_algebra::COMMANDS,
    set_move::COMMANDS,
    bitfield::COMMANDS,
    bitmap::COMMANDS,
    stream::COMMANDS,
    stream_claim::COMMANDS,
    stream_group::COMMANDS,
    stream_info::COMMANDS,
    stream_read::COMMANDS,
    geo::COMMANDS,
    geo_search::COMMANDS,
    hyperloglog::COMMANDS,
    zset::COMMANDS,
    zset_add::COMMANDS,
    zset_algebra::COMMANDS,
    zset_block::COMMANDS,
    zset_pop::COMMANDS,
    zset_range::COMMANDS,
    zset_scan::COMMANDS,
];

/// All commands; `renamed` is what `rename-command` says.
pub fn table(renamed: &[(String, String)]) -> CommandTable {
    CommandTable::new(FAMILIES.iter().flat_map(|family| family.iter().copied()), renamed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command_table::{Access, Begin, Category, Find, Flag, Handler, KeySpec};
    use crate::resp::ArgvBuf;
    use std::collections::HashSet;

    fn is_sentence(text: &str) -> bool {
        text.starts_with(|first: char| first.is_uppercase()) && text.ends_with('.')
    }

    /// One test guards every declaration; a new command is covered by being listed.
    #[test]
    fn every_declaration_is_coherent() {
        let table = table(&[]);
        for command in table.iter() {
            let spec = command.spec;
            let name = spec.full_name;
            let own_name = name.rsplit('|').next().expect("split gives one part at least");
            assert_eq!(spec.name.to_ascii_lowercase(), own_name, "{name}: both names");
            assert_eq!(spec.name, spec.name.to_ascii_uppercase(), "{name}: upper case");
            assert_eq!(usize::from(command.names), name.split('|').count(), "{name}: names its container");
            assert!(is_sentence(spec.summary), "{name}: a summary is a sentence");
            let container = matches!(spec.handler, Handler::Container);
            // Redis gives some commands none (MONITOR).
            let known = ["O(", "Depends on "].iter().any(|start| spec.complexity.starts_with(start));
            assert!(known || spec.complexity.is_empty(), "{name}: complexity");
            assert_eq!(spec.since.split('.').count(), 3, "{name}: a version has three parts");
            assert!(spec.arity.minimum() >= usize::from(command.names), "{name}: the arity counts the names");

            let flag = |flag| spec.flags.contains(flag);
            assert!(!(flag(Flag::Write) && flag(Flag::ReadOnly)), "{name}: it writes or it only reads");
            assert!(!flag(Flag::DenyOom) || flag(Flag::Write), "{name}: only writes need memory");
            assert!(!(flag(Flag::Fast) && flag(Flag::Blocking) && flag(Flag::ReadOnly)), "{name}: flags");
            // WATCH neither reads nor writes what its keys hold.
            let about_commands = matches!(spec.handler, Handler::OfTransaction(_));
            if !spec.keys.is_empty() && !about_commands {
                assert!(flag(Flag::Write) || flag(Flag::ReadOnly), "{name}: has keys");
                let modifies = spec.keys.iter().any(|key| key.access.modifies());
                // PFCOUNT keeps its estimate in the key and is a read all the same.
                assert!(
                    flag(Flag::Write) == modifies || name == "pfcount",
                    "{name}: key specs say otherwise"
                );
            }
            for category in spec.categories {
                let plain = CommandSpec { categories: &[], ..*spec };
                assert!(!plain.all_categories().contains(category), "{name}: {category:?} follows anyway");
            }
            assert_eq!(
                spec.all_categories().contains(&Category::Fast),
                flag(Flag::Fast),
                "{name}: fast or slow"
            );
            keys_fit_the_handler(spec);
            keys_fit_the_arity(spec);

            let subcommands: HashSet<&str> = spec.subcommands.iter().map(|sub| sub.name).collect();
            assert_eq!(subcommands.len(), spec.subcommands.len(), "{name}: a subcommand twice");
            assert!(!container || !subcommands.is_empty(), "{name}: contains nothing");
        }
    }

    fn keys_fit_the_handler(spec: &CommandSpec) {
        let name = spec.full_name;
        let single = |key: &KeySpec| matches!(key.find, Find::Range { last: 0, .. });
        match spec.handler {
            Handler::Shard(_) => {
                assert!(matches!(spec.keys, [key] if single(key)), "{name}: exactly one key")
            }
            Handler::PerShard { .. } => {
                assert!(spec.keys.len() == 1 && spec.keys[0].stride().is_some(), "{name}: keys to the end");
            }
            Handler::Transaction { .. } | Handler::Blocking { .. } => {
                assert!(!spec.keys.iter().all(single) || spec.keys.len() > 1, "{name}: several keys");
            }
            Handler::ShardOf { .. } | Handler::EveryCore { .. } | Handler::Container => {
                assert!(spec.keys.is_empty(), "{name}: keys would not be routed");
            }
            Handler::Client(_) | Handler::Frozen { .. } | Handler::OfTransaction(_) => {}
        }
    }

    /// The shortest request that the arity admits has its keys where the declaration says.
    fn keys_fit_the_arity(spec: &CommandSpec) {
        let words = spec.arity.minimum();
        for key in spec.keys {
            if matches!(key.begin, Begin::Keyword(..) | Begin::Unknown { .. }) {
                continue;
            }
            // "1" is a key as good as any, and the count where there is one.
            let argv: ArgvBuf = std::iter::repeat_n("1", words).collect();
            let mut found = 0;
            let fits = key.each(argv.as_argv(), |position| {
                assert!(position > 0 && position < words);
                found += 1;
            });
            // PFMERGE without sources is a request, too.
            let may_be_missing = spec.full_name == "pfmerge" && key.stride().is_some();
            assert!(
                may_be_missing || fits.is_some() && found > 0,
                "{}: keys lie beyond its arity",
                spec.full_name
            );
            assert!(key.access != Access::Read || !key.effects.contains(&"delete"), "{}", spec.full_name);
        }
    }
}
