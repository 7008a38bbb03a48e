//! What each command does, one file per family. A file declares its commands next to their code; this
//! file only joins the families.

mod connection;
mod keys;
mod keys_expire;
mod keys_flush;
mod keys_move;
mod keys_scan;
mod object;
mod string;
mod string_compare;
mod string_counter;
mod string_lcs;
mod string_many;
mod string_options;
mod string_range;

use crate::command_table::{CommandSpec, CommandTable};

const FAMILIES: &[&[&CommandSpec]] = &[
    connection::COMMANDS,
    keys::COMMANDS,
    keys_expire::COMMANDS,
    keys_flush::COMMANDS,
    keys_move::COMMANDS,
    keys_scan::COMMANDS,
    object::COMMANDS,
    string::COMMANDS,
    string_compare::COMMANDS,
    string_counter::COMMANDS,
    string_lcs::COMMANDS,
    string_many::COMMANDS,
    string_range::COMMANDS,
];

/// All commands; `renamed` is what `rename-command` says.
pub fn table(renamed: &[(String, String)]) -> CommandTable {
    CommandTable::new(FAMILIES.iter().flat_map(|family| family.iter().copied()), renamed)
}
