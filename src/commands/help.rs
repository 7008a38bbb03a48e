//! The HELP subcommand of containers: a title, then each form with what it does, indented.

use crate::resp::Reply;

/// Forms and explanations; the one of HELP itself is added.
pub(super) fn write(reply: &mut Reply<'_>, container: &str, forms: &[(&str, &[&str])]) {
    let lines: usize = forms.iter().map(|(_, explanation)| 1 + explanation.len()).sum();
    reply.array(lines + 3);
    reply.simple(&format!("{container} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    for (form, explanation) in forms {
        reply.simple(form);
        explanation.iter().for_each(|line| reply.simple(&format!("    {line}")));
    }
    reply.simple("HELP");
    reply.simple("    Shows these lines.");
}

/// The error of a container's command that checks its arguments itself.
pub(super) fn wrong_form(container: &str, name: &[u8]) -> crate::shard::CommandError {
    let name = String::from_utf8_lossy(&name[..name.len().min(128)]).into_owned();
    crate::shard::CommandError::built(format!(
        "ERR unknown subcommand or wrong number of arguments for '{name}'. Try {container} HELP."
    ))
}
