//! May this command run now? The guards stand in the order clients observe: the first refusal wins.

use crate::command_table::{CommandSpec, Flag};
use crate::shard::CommandError;

/// What admission needs to know; small, so that every guard can be tested in isolation.
#[derive(Clone, Copy, Debug, Default)]
pub struct Situation {
    pub authenticated: bool,
    pub loading: bool,
    /// `enable-debug-command` and `enable-module-command` forbid it to this client.
    pub protected: bool,
    /// A snapshot has failed, and this is a write (or PING, which tells of it).
    pub writes_refused: bool,
    /// The append-only file cannot be written, and this is such a command: the system's error, or 0.
    pub append_error: i32,
}

type Guard = fn(&CommandSpec, Situation) -> Result<(), CommandError>;

const GUARDS: &[Guard] = &[not_protected, authenticated, saved, appended, loaded];

/// # Errors
/// Redis's own text for the first reason to refuse.
#[inline]
pub fn admit(spec: &CommandSpec, situation: Situation) -> Result<(), CommandError> {
    GUARDS.iter().try_for_each(|guard| guard(spec, situation))
}

fn not_protected(spec: &CommandSpec, now: Situation) -> Result<(), CommandError> {
    if !now.protected || !spec.flags.contains(Flag::Protected) {
        return Ok(());
    }
    let name = spec.name;
    let option = name.to_ascii_lowercase();
    Err(CommandError::built(format!(
        "ERR {name} command not allowed. If the enable-{option}-command option is set to \"local\", you can \
         run it from a local connection, otherwise you need to set this option in the configuration file, \
         and then restart the server."
    )))
}

fn authenticated(spec: &CommandSpec, now: Situation) -> Result<(), CommandError> {
    if now.authenticated || spec.flags.contains(Flag::NoAuth) {
        return Ok(());
    }
    Err(CommandError::Text("NOAUTH Authentication required."))
}

/// The text of Redis; its first word is what clients look for.
const MISCONF: &str = "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. \
                       Commands that may modify the data set are disabled, because this instance is configured to \
                       report errors during writes if RDB snapshotting fails (stop-writes-on-bgsave-error option). \
                       Please check the Redis logs for details about the RDB error.";

fn saved(_: &CommandSpec, now: Situation) -> Result<(), CommandError> {
    if now.writes_refused { Err(CommandError::Text(MISCONF)) } else { Ok(()) }
}

fn appended(_: &CommandSpec, now: Situation) -> Result<(), CommandError> {
    if now.append_error == 0 {
        return Ok(());
    }
    let reason = crate::base::os_error::reason(&std::io::Error::from_raw_os_error(now.append_error));
    Err(CommandError::built(format!("MISCONF Errors writing to the AOF file: {reason}")))
}

fn loaded(spec: &CommandSpec, now: Situation) -> Result<(), CommandError> {
    if !now.loading || spec.flags.contains(Flag::Loading) {
        return Ok(());
    }
    Err(CommandError::Text("LOADING Redis is loading the dataset in memory"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command_table::{DEFAULTS, Flags};

    #[test]
    fn the_first_refusal_wins() {
        let debug = CommandSpec { name: "DEBUG", flags: Flags::of(&[Flag::Protected]), ..DEFAULTS };
        let worst = Situation {
            authenticated: false,
            loading: true,
            protected: true,
            writes_refused: true,
            append_error: libc::ENOSPC,
        };
        let refusal = |situation| admit(&debug, situation).expect_err("refused").to_string();
        assert!(refusal(worst).starts_with("ERR DEBUG command not allowed."));
        let better = Situation { protected: false, ..worst };
        assert!(refusal(better).starts_with("NOAUTH "));
        let better = Situation { authenticated: true, ..better };
        assert!(refusal(better).starts_with("MISCONF "));
        let better = Situation { writes_refused: false, ..better };
        assert_eq!(refusal(better), "MISCONF Errors writing to the AOF file: No space left on device");
        let better = Situation { append_error: 0, ..better };
        assert!(refusal(better).starts_with("LOADING "));
        assert_eq!(admit(&debug, Situation { loading: false, ..better }), Ok(()));
    }

    #[test]
    fn commands_declare_their_exemptions() {
        let hello = CommandSpec { flags: Flags::of(&[Flag::NoAuth, Flag::Loading]), ..DEFAULTS };
        assert_eq!(admit(&hello, Situation { loading: true, ..Situation::default() }), Ok(()));
    }
}
