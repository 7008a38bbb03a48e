//! How a parameter is declared: a constant, written once, read by everything that knows parameters.

use super::value::{Kind, Names, Refusal, Value};

#[derive(Clone, Copy, Debug)]
pub struct Declaration {
    /// Lower case, as CONFIG GET prints it.
    pub name: &'static str,
    /// A second name for the same parameter, from before Redis renamed it.
    pub alias: Option<&'static str>,
    pub kind: Kind,
    /// As a configuration file would spell it.
    pub default: &'static str,
    pub change: Change,
    pub section: Section,
    pub status: Status,
    /// A password: never logged, never shown by MONITOR or SLOWLOG.
    pub sensitive: bool,
    /// For tests of the server itself: shown only when asked for by its full name.
    pub hidden: bool,
    /// Redis has no such parameter.
    pub own: bool,
    /// Cannot be changed while the dataset is being loaded.
    pub fixed_while_loading: bool,
    /// What the kind alone cannot tell: refuses a value or brings it into bounds.
    pub check: Option<fn(Value) -> Result<Value, Refusal>>,
    /// What it does, in one line.
    pub doc: &'static str,
    /// Values at the edge that must work, for tests that turn every knob.
    pub extremes: &'static [&'static str],
}

/// When a parameter may change.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Change {
    /// By CONFIG SET.
    Live,
    /// By CONFIG SET, if enable-protected-configs allows it to that client.
    Protected,
    /// Only before the server starts.
    AtStart,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Section {
    Process,
    Network,
    Tls,
    Security,
    Clients,
    Memory,
    Types,
    Persistence,
    Replication,
    Cluster,
    Scripting,
    Observability,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Status {
    Implemented,
    /// Accepted, kept and shown, without an effect so far; the start says so in one warning.
    NotYet,
}

/// The largest values of the C types in which Redis keeps its numbers.
pub(super) const INT_MAX: i64 = i32::MAX as i64;
pub(super) const LONG_MAX: i64 = i64::MAX;
const SIZE_MAX: u64 = i64::MAX as u64;

impl Declaration {
    const fn new(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Self {
        Self {
            name,
            alias: None,
            kind,
            default,
            change: Change::Live,
            section: Section::Process,
            status: Status::NotYet,
            sensitive: false,
            hidden: false,
            own: false,
            fixed_while_loading: false,
            check: None,
            doc,
            extremes: &[],
        }
    }

    pub(super) const fn bool(name: &'static str, default: &'static str, doc: &'static str) -> Self {
        Self::new(name, Kind::Bool, default, doc).extremes(&["yes", "no"])
    }

    /// A number of at least 0 that fits in a C `int`, unless [`Self::bounds`] says otherwise.
    pub(super) const fn integer(name: &'static str, default: &'static str, doc: &'static str) -> Self {
        Self::new(name, Kind::Integer { min: 0, max: INT_MAX }, default, doc)
    }

    /// A size in bytes, of at least 0 unless [`Self::at_least`] says otherwise.
    pub(super) const fn memory(name: &'static str, default: &'static str, doc: &'static str) -> Self {
        Self::new(name, Kind::Memory { min: 0, max: SIZE_MAX }, default, doc)
    }

    /// A text that may be empty.
    pub(super) const fn text(name: &'static str, default: &'static str, doc: &'static str) -> Self {
        Self::new(name, Kind::Text, default, doc)
    }

    /// A text that is not set while it is empty; so it is by default.
    pub(super) const fn optional(name: &'static str, doc: &'static str) -> Self {
        Self::new(name, Kind::OptionalText, "", doc)
    }

    pub(super) const fn choice(
        name: &'static str,
        names: Names,
        default: &'static str,
        doc: &'static str,
    ) -> Self {
        Self::new(name, Kind::Choice(names), default, doc)
    }

    pub(super) const fn special(
        name: &'static str,
        kind: Kind,
        default: &'static str,
        doc: &'static str,
    ) -> Self {
        Self::new(name, kind, default, doc)
    }

    pub(super) const fn bounds(mut self, min: i64, max: i64) -> Self {
        self.kind = Kind::Integer { min, max };
        self
    }

    pub(super) const fn at_least(mut self, min: u64) -> Self {
        self.kind = Kind::Memory { min, max: SIZE_MAX };
        self
    }

    /// A size without an upper bound: all of 64 bits.
    pub(super) const fn unbounded(mut self) -> Self {
        self.kind = Kind::Memory { min: 0, max: u64::MAX };
        self
    }

    pub(super) const fn alias(mut self, alias: &'static str) -> Self {
        self.alias = Some(alias);
        self
    }

    pub(super) const fn implemented(mut self) -> Self {
        self.status = Status::Implemented;
        self
    }

    pub(super) const fn at_start(mut self) -> Self {
        self.change = Change::AtStart;
        self
    }

    pub(super) const fn protected(mut self) -> Self {
        self.change = Change::Protected;
        self
    }

    pub(super) const fn sensitive(mut self) -> Self {
        self.sensitive = true;
        self
    }

    pub(super) const fn own(mut self) -> Self {
        self.own = true;
        self
    }

    pub(super) const fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }

    pub(super) const fn fixed_while_loading(mut self) -> Self {
        self.fixed_while_loading = true;
        self
    }

    pub(super) const fn check(mut self, check: fn(Value) -> Result<Value, Refusal>) -> Self {
        self.check = Some(check);
        self
    }

    pub(super) const fn extremes(mut self, extremes: &'static [&'static str]) -> Self {
        self.extremes = extremes;
        self
    }

    pub(super) const fn section(mut self, section: Section) -> Self {
        self.section = section;
        self
    }

    /// Reads a value with all that is declared about it.
    pub fn parse(&self, words: &[&[u8]], current: &Value) -> Result<Value, Refusal> {
        let value = self.kind.parse(words, current)?;
        self.check.map_or(Ok(value.clone()), |check| check(value))
    }

    pub fn default_value(&self) -> Value {
        let words: Vec<&[u8]> = match self.kind.takes_many_words() {
            true => self.default.split(' ').map(str::as_bytes).collect(),
            false => vec![self.default.as_bytes()],
        };
        let nothing = Value::OutputLimits(Default::default());
        self.parse(&words, &nothing).expect("a test reads every default")
    }

    /// What CONFIG GET prints for `value`.
    pub fn format(&self, value: &Value) -> Vec<u8> {
        self.kind.format(value)
    }

    /// The name and the alias.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.alias)
    }
}
