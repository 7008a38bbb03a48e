//! What each command does, one file per family. A file declares its commands next to their code; this
//! file only joins the families.

mod acl;
mod client;
mod client_list;
mod command;
mod connection;
mod monitor;
mod string;

use crate::command_table::{CommandSpec, CommandTable};
use crate::resp::{Argv, Reply};
use crate::shard::{CommandError, CommandResult};

const FAMILIES: &[&[&CommandSpec]] = &[
    acl::COMMANDS,
    client::COMMANDS,
    command::COMMANDS,
    connection::COMMANDS,
    monitor::COMMANDS,
    string::COMMANDS,
];

/// All commands; `renamed` is what `rename-command` says.
pub fn table(renamed: &[(String, String)]) -> CommandTable {
    CommandTable::new(FAMILIES.iter().flat_map(|family| family.iter().copied()), renamed)
}

/// The reply of a container's HELP: a title, `lines`, and itself.
fn help(reply: &mut Reply<'_>, container: &str, lines: &[&str]) -> CommandResult {
    reply.array(lines.len() + 3);
    reply.simple(format!("{container} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    lines.iter().for_each(|line| reply.simple(line));
    reply.simple("HELP");
    reply.simple("    Prints this help.");
    Ok(())
}

/// For a subcommand whose declared arity admits more arguments than it takes.
fn wrong_subcommand_arguments(argv: Argv<'_>) -> CommandError {
    let text = |index| String::from_utf8_lossy(argv.get(index).unwrap_or_default());
    let (container, subcommand) = (text(0).to_ascii_uppercase(), text(1));
    CommandError::built(format!(
        "ERR unknown subcommand or wrong number of arguments for '{subcommand}'. Try {container} HELP."
    ))
}
