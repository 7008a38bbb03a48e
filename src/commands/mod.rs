//! What each command does, one file per family. A file declares its commands next to their code; this
//! file only joins the families.

mod connection;
mod string;

use crate::command_table::{CommandSpec, CommandTable};

const FAMILIES: &[&[&CommandSpec]] = &[connection::COMMANDS, string::COMMANDS];

/// All commands; `renamed` is what `rename-command` says.
pub fn table(renamed: &[(String, String)]) -> CommandTable {
    CommandTable::new(FAMILIES.iter().flat_map(|family| family.iter().copied()), renamed)
}
