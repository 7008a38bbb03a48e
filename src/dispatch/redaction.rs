//! Passwords do not appear in the slow log or before MONITOR clients.

use crate::command_table::Command;
use crate::config::is_sensitive;
use crate::resp::{Argv, ArgvBuf};

const REDACTED: &[u8] = b"(redacted)";

/// The arguments as they may be shown, if some may not.
pub(super) fn redacted(command: &Command, argv: Argv<'_>) -> Option<ArgvBuf> {
    let secret = secrets(command.spec.full_name, argv)?;
    let shown = argv.iter().zip(0..).map(|(arg, index)| if secret.contains(&index) { REDACTED } else { arg });
    Some(shown.collect())
}

/// The positions of what must not be shown. Requests that Redis refuses for their form are shown whole.
fn secrets(full_name: &str, argv: Argv<'_>) -> Option<Vec<usize>> {
    let positions: Vec<usize> = match full_name {
        "auth" if argv.len() <= 3 => (1..argv.len()).collect(),
        "hello" => {
            let is_auth = |arg: &[u8]| arg.eq_ignore_ascii_case(b"auth");
            let found = (2..argv.len()).filter(|index| argv.get(*index).is_some_and(is_auth));
            let complete = found.filter(|index| index + 2 < argv.len());
            complete.flat_map(|index| [index + 1, index + 2]).collect()
        }
        "config|set" => {
            let sensitive = |index: &usize| argv.get(*index).is_some_and(is_sensitive);
            let names = (2..argv.len()).step_by(2).filter(sensitive);
            names.map(|index| index + 1).filter(|index| *index < argv.len()).collect()
        }
        // The options stand after host, port, key, database and timeout.
        "migrate" => {
            let option = |word: &[u8]| {
                (6..argv.len())
                    .find(|index| argv.get(*index).is_some_and(|arg| arg.eq_ignore_ascii_case(word)))
            };
            let password = option(b"auth").map(|index| vec![index + 1]);
            let both = || option(b"auth2").map(|index| vec![index + 1, index + 2]);
            let positions = password.or_else(both).unwrap_or_default();
            positions.into_iter().filter(|index| *index < argv.len()).collect()
        }
        "acl|setuser" => (2..argv.len()).collect(),
        _ => return None,
    };
    (!positions.is_empty()).then_some(positions)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(full_name: &str, request: &str) -> Vec<usize> {
        let argv: ArgvBuf = request.split(' ').collect();
        secrets(full_name, argv.as_argv()).unwrap_or_default()
    }

    #[test]
    fn passwords_and_the_names_beside_them() {
        assert_eq!(shown("auth", "AUTH secret"), [1]);
        assert_eq!(shown("auth", "AUTH default secret"), [1, 2]);
        assert_eq!(shown("auth", "AUTH default secret more"), []);
        assert_eq!(shown("hello", "HELLO 3 SETNAME me auth default secret"), [5, 6]);
        assert_eq!(shown("hello", "HELLO 3 AUTH default"), []);
        assert_eq!(shown("config|set", "CONFIG SET maxclients 1 requirepass x"), [5]);
        assert_eq!(shown("config|set", "CONFIG SET requirepass"), []);
        assert_eq!(shown("get", "GET requirepass"), []);
        assert_eq!(shown("migrate", "MIGRATE host 1 key 0 10 COPY AUTH secret KEYS a b"), [8]);
        assert_eq!(shown("migrate", "MIGRATE host 1 key 0 10 AUTH2 user secret"), [7, 8]);
        assert_eq!(shown("migrate", "MIGRATE auth 1 key 0 10 REPLACE AUTH"), []);
    }
}
