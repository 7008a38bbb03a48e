//! The HELP subcommand of containers: a title, then each form with what it does, indented.

use crate::resp::{Argv, Reply};
use crate::shard::{CommandError, CommandResult};

/// Forms and explanations; the one of HELP itself is added.
pub(super) fn write(reply: &mut Reply<'_>, container: &str, forms: &[(&str, &[&str])]) {
    let lines: usize = forms.iter().map(|(_, explanation)| 1 + explanation.len()).sum();
    reply.array(lines + 3);
    reply.simple(format!("{container} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    for (form, explanation) in forms {
        reply.simple(form);
        explanation.iter().for_each(|line| reply.simple(format!("    {line}")));
    }
    reply.simple("HELP");
    reply.simple("    Shows these lines.");
}

/// The error of a container's command that checks its arguments itself.
pub(super) fn wrong_form(container: &str, name: &[u8]) -> CommandError {
    let name = &name[..name.len().min(128)];
    let parts: [&[u8]; 5] = [
        b"ERR unknown subcommand or wrong number of arguments for '",
        name,
        b"'. Try ",
        container.as_bytes(),
        b" HELP.",
    ];
    CommandError::built(parts.concat())
}

/// The same for lines that are written out already.
pub(super) fn lines(reply: &mut Reply<'_>, container: &str, lines: &[&str]) -> CommandResult {
    reply.array(lines.len() + 3);
    reply.simple(format!("{container} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    lines.iter().for_each(|line| reply.simple(line));
    reply.simple("HELP");
    reply.simple("    Prints this help.");
    Ok(())
}

/// For a subcommand whose declared arity admits more arguments than it takes.
pub(super) fn wrong_arguments(argv: Argv<'_>) -> CommandError {
    let container = String::from_utf8_lossy(argv.first().unwrap_or_default()).to_ascii_uppercase();
    wrong_form(&container, argv.get(1).unwrap_or_default())
}
