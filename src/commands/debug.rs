pub(super) const COMMANDS: &[&crate::command_table::CommandSpec] = &[];
