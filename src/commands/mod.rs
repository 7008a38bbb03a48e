//! What each command does, one file per family. A file declares its commands next to their code; this
//! file only joins the families.

mod acl;
mod client;
mod client_list;
mod command;
mod config;
mod connection;
mod debug;
mod function;
mod help;
mod info;
mod latency;
mod memory;
mod monitor;
mod persistence;
mod server;
mod slowlog;
mod string;

use crate::command_table::{CommandSpec, CommandTable};

const FAMILIES: &[&[&CommandSpec]] = &[
    acl::COMMANDS,
    client::COMMANDS,
    command::COMMANDS,
    connection::COMMANDS,
    monitor::COMMANDS,
    config::COMMANDS,
    debug::COMMANDS,
    function::COMMANDS,
    info::COMMANDS,
    latency::COMMANDS,
    memory::COMMANDS,
    persistence::COMMANDS,
    server::COMMANDS,
    slowlog::COMMANDS,
    string::COMMANDS,
];

/// All commands; `renamed` is what `rename-command` says.
pub fn table(renamed: &[(String, String)]) -> CommandTable {
    CommandTable::new(FAMILIES.iter().flat_map(|family| family.iter().copied()), renamed)
}
