//! Every parameter, declared once; [`Config`] is the snapshot of their values that a core reads.
//!
//! A change makes a new snapshot (`update`), which is handed to every core; nobody sees half of one.
//! `file` reads redis.conf and the command line, `rewrite` writes a file back.
//!
//! Invariants
//!   C1  A snapshot holds one value for each declaration of [`TABLE`], in its order.
//!   C2  The value has the kind that is declared, and is within its bounds.
//!   C3  A snapshot never changes.

use std::path::PathBuf;

pub mod choices;
pub mod command_line;
pub mod declaration;
pub mod file;
pub mod parameter;
pub mod quoting;
pub mod rewrite;
pub mod special;
mod table;
pub mod units;
pub mod update;
pub mod value;

pub use declaration::{Change, Declaration, Section, Status};
pub use parameter::{Param, Reading};
pub use table::{TABLE, find};
use value::{Bytes, Value};

/// The values of all parameters at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    values: Box<[Value]>,
    /// What only a file or the command line says.
    pub directives: Directives,
}

/// The directives that are not parameters: they have no single value and CONFIG GET does not show them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Directives {
    /// The configuration file, absolute; CONFIG REWRITE writes to it.
    pub file: Option<PathBuf>,
    pub renamed_commands: Vec<RenamedCommand>,
    /// The words of each `user` line behind that word.
    pub users: Vec<Vec<Bytes>>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct RenamedCommand {
    pub from: Bytes,
    /// Empty: the command is gone.
    pub to: Bytes,
}

impl Default for Config {
    fn default() -> Self {
        let values = TABLE.iter().map(Declaration::default_value).collect();
        Self { values, directives: Directives::default() }
    }
}

/// Whether the value of the parameter of this name must not be shown (a password).
pub fn is_sensitive(name: &[u8]) -> bool {
    let named = |declaration: &&Declaration| {
        declaration.names().any(|known| known.as_bytes().eq_ignore_ascii_case(name))
    };
    TABLE.iter().find(named).is_some_and(|declaration| declaration.sensitive)
}

impl Config {
    /// The value of a parameter, in its own type: `config.get(MAXCLIENTS)`.
    pub fn get<T: Reading>(&self, parameter: Param<T>) -> T::Out<'_> {
        T::read(&self.values[parameter.place()])
    }

    /// The value at a place of [`TABLE`].
    pub fn value(&self, place: usize) -> &Value {
        &self.values[place]
    }

    /// Puts a value that [`Declaration::parse`] gave. Only those who build a new snapshot may.
    pub(super) fn put(&mut self, place: usize, value: Value) {
        self.values[place] = value;
    }

    /// The directory the process works in; the server tells after it went there.
    pub fn set_directory(&mut self, path: &[u8]) {
        self.put(parameter::DIR.place(), Value::Text(Some(path.into())));
    }

    /// As many clients as the limit of open files leaves room for, found out at the start.
    pub fn lower_maxclients(&mut self, clients: u32) {
        let lowered = u32::min(clients, self.get(parameter::MAXCLIENTS)).max(1);
        self.put(parameter::MAXCLIENTS.place(), Value::Integer(lowered.into()));
    }

    /// CONFIG GET: what matches any of the patterns, with the names to show, in the order of the table.
    ///
    /// A name without wildcards is shown as it was asked for. Hidden parameters answer only to that.
    pub fn matching<'a>(
        &self,
        patterns: &[&'a [u8]],
        matches: impl Fn(&[u8], &[u8]) -> bool,
    ) -> Vec<(std::borrow::Cow<'a, [u8]>, Vec<u8>)> {
        let is_pattern = |text: &&&[u8]| text.iter().any(|byte| b"[*?".contains(byte));
        let names = TABLE
            .iter()
            .enumerate()
            .flat_map(|(place, declaration)| declaration.names().map(move |name| (place, name)));

        let mut found = Vec::new();
        for (place, name) in names {
            let shown = |name| (name, TABLE[place].format(&self.values[place]));
            let exact = patterns.iter().filter(|text| !is_pattern(text));
            let asked = exact.into_iter().find(|text| text.eq_ignore_ascii_case(name.as_bytes()));
            let matched =
                || patterns.iter().filter(is_pattern).any(|pattern| matches(pattern, name.as_bytes()));
            if let Some(asked) = asked {
                found.push(shown((*asked).into()));
            } else if !TABLE[place].hidden && matched() {
                found.push(shown(name.as_bytes().into()));
            }
        }
        found
    }

    /// The parameters without an effect so far that are not at their default, by name.
    pub fn without_effect(&self) -> impl Iterator<Item = &'static str> {
        let not_yet = TABLE.iter().zip(&self.values).filter(|(declaration, value)| {
            declaration.status == Status::NotYet && declaration.default_value() != **value
        });
        not_yet.map(|(declaration, _)| declaration.name)
    }
}

#[cfg(test)]
mod tests {
    use super::parameter::*;
    use super::*;

    fn prefix(pattern: &[u8], name: &[u8]) -> bool {
        name.starts_with(pattern.strip_suffix(b"*").expect("a prefix pattern"))
    }

    fn get(patterns: &[&str]) -> Vec<(String, String)> {
        let patterns: Vec<&[u8]> = patterns.iter().map(|pattern| pattern.as_bytes()).collect();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("ASCII");
        let found = Config::default().matching(&patterns, prefix);
        found.into_iter().map(|(name, value)| (text(&name), text(&value))).collect()
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn parameters_read_in_their_own_types() {
        let config = Config::default();
        assert_eq!(config.get(PORT), 6379);
        assert_eq!(config.get(MAXCLIENTS), 10_000);
        assert_eq!(config.get(PROTO_MAX_BULK_LEN), 512 << 20);
        assert_eq!(config.get(REQUIREPASS), None);
        assert_eq!(config.get(BIND).len(), 2);
        assert!(config.get(PROTECTED_MODE));
        assert_eq!(config.get(CLIENT_OUTPUT_BUFFER_LIMIT)[1].soft_seconds, 60);
    }

    #[test]
    fn a_full_name_is_shown_as_asked_for_and_once() {
        assert_eq!(get(&["PORT", "port"]), [pair("PORT", "6379")]);
        assert_eq!(get(&["por*", "port"]), [pair("port", "6379")]);
        assert_eq!(get(&["nosuch"]), []);
    }

    #[test]
    fn aliases_are_shown_beside_the_names() {
        let expected = [pair("busy-reply-threshold", "5000"), pair("lua-time-limit", "5000")];
        assert_eq!(get(&["busy*", "lua*"]), expected);
    }

    #[test]
    fn hidden_parameters_answer_to_their_full_name_only() {
        assert_eq!(get(&["watchdog*"]), []);
        assert_eq!(get(&["watchdog-period"]), [pair("watchdog-period", "0")]);
    }

    #[test]
    fn what_has_no_effect_is_told_only_when_set() {
        let mut config = Config::default();
        assert_eq!(config.without_effect().count(), 0);
        config.put(find(b"cluster-enabled").expect("declared").0, Value::Bool(true));
        assert_eq!(config.without_effect().collect::<Vec<_>>(), ["cluster-enabled"]);
    }
}
