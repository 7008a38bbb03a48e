//! INFO: which sections were asked for, and their lines. Pure: every figure comes in a [`Report`], to which
//! each core contributes a [`CoreReport`] of plain numbers.
//!
//! Invariants
//!   I1  Sections appear in the order of [`SECTIONS`], whatever order they were asked for in, and once.
//!   I2  Names and order of the lines are Redis's; lines of our own follow behind them.

mod report;
mod sections;

pub use report::{ClientFigures, CoreReport, DatabaseFigures, Report, ServerFacts};
pub use sections::REDIS_VERSION;

use std::fmt::{Display, Write};

/// A section: how it is asked for, when it is shown unasked, and who writes it.
struct Section {
    name: &'static str,
    title: &'static str,
    shown: Shown,
    write: fn(&Report<'_>, &mut Lines),
}

/// The widest request that shows a section.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Shown {
    ByDefault,
    InAll,
    InEverything,
}

const fn section(
    name: &'static str,
    title: &'static str,
    shown: Shown,
    write: fn(&Report<'_>, &mut Lines),
) -> Section {
    Section { name, title, shown, write }
}

const SECTIONS: &[Section] = &[
    section("server", "Server", Shown::ByDefault, sections::server),
    section("clients", "Clients", Shown::ByDefault, sections::clients),
    section("memory", "Memory", Shown::ByDefault, sections::memory),
    section("persistence", "Persistence", Shown::ByDefault, sections::persistence),
    section("stats", "Stats", Shown::ByDefault, sections::stats),
    section("replication", "Replication", Shown::ByDefault, sections::replication),
    section("cpu", "CPU", Shown::ByDefault, sections::cpu),
    section("modules", "Modules", Shown::ByDefault, sections::modules),
    section("commandstats", "Commandstats", Shown::InAll, sections::command_stats),
    section("errorstats", "Errorstats", Shown::ByDefault, sections::error_stats),
    section("latencystats", "Latencystats", Shown::InAll, sections::latency_stats),
    section("cluster", "Cluster", Shown::ByDefault, sections::cluster),
    section("keyspace", "Keyspace", Shown::ByDefault, sections::keyspace),
    section("cores", "Cores", Shown::InEverything, sections::cores),
];

/// The sections that a request names.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Selection(u32);

impl Selection {
    /// Without names the default ones; a name that nobody knows shows nothing.
    pub fn of<'a>(names: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut names = names.into_iter().peekable();
        if names.peek().is_none() {
            return Self::up_to(Shown::ByDefault);
        }
        names.fold(Self::default(), |selection, name| Self(selection.0 | Self::named(name).0))
    }

    fn named(name: &[u8]) -> Self {
        let is = |word: &str| name.eq_ignore_ascii_case(word.as_bytes());
        if is("default") {
            Self::up_to(Shown::ByDefault)
        } else if is("all") {
            Self::up_to(Shown::InAll)
        } else if is("everything") {
            Self::up_to(Shown::InEverything)
        } else {
            // The list of modules has a second name, from its place in Redis's source.
            Self::filter(|section| is(section.name) || is("module_list") && section.name == "modules")
        }
    }

    fn up_to(shown: Shown) -> Self {
        Self::filter(|section| section.shown <= shown)
    }

    fn filter(wanted: impl Fn(&Section) -> bool) -> Self {
        let bits = SECTIONS.iter().enumerate().map(|(bit, section)| u32::from(wanted(section)) << bit);
        Self(bits.sum())
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether the sections need the figures per command, which are many.
    pub fn wants_commands(self) -> bool {
        const PER_COMMAND: [&str; 3] = ["commandstats", "errorstats", "latencystats"];
        self.0 & Self::filter(|section| PER_COMMAND.contains(&section.name)).0 != 0
    }

    /// Whether they need a look into the databases.
    pub fn wants_keyspace(self) -> bool {
        self.0 & Self::filter(|section| section.name == "keyspace").0 != 0
    }
}

/// The text of the selected sections.
pub fn render(selection: Selection, report: &Report<'_>) -> String {
    let mut lines = Lines { text: String::with_capacity(4096) };
    for (bit, section) in SECTIONS.iter().enumerate() {
        if selection.0 & 1 << bit == 0 {
            continue;
        }
        if !lines.text.is_empty() {
            lines.text.push_str("\r\n");
        }
        // Writing to a String does not fail.
        let _ = write!(lines.text, "# {}\r\n", section.title);
        (section.write)(report, &mut lines);
    }
    lines.text
}

/// The lines of a section, `name:value`.
pub struct Lines {
    text: String,
}

impl Lines {
    fn add(&mut self, name: impl Display, value: impl Display) {
        let _ = write!(self.text, "{name}:{value}\r\n");
    }

    /// Bytes, and then in units for people.
    fn add_bytes(&mut self, name: &str, bytes: u64) {
        self.add(name, bytes);
        self.add_human(name, bytes);
    }

    fn add_human(&mut self, name: &str, bytes: u64) {
        self.add(format_args!("{name}_human"), human(bytes));
    }
}

/// `894.95K`, as Redis shortens sizes.
pub fn human(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["K", "M", "G", "T", "P"];
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    let mut amount = bytes as f64 / 1024.0;
    let mut unit = 0;
    while amount >= 1024.0 && unit + 1 < UNITS.len() {
        amount /= 1024.0;
        unit += 1;
    }
    format!("{amount:.2}{}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(names: &[&str]) -> Vec<&'static str> {
        let Selection(bits) = Selection::of(names.iter().map(|name| name.as_bytes()));
        let sections = SECTIONS.iter().enumerate();
        sections.filter(|(bit, _)| bits & 1 << bit != 0).map(|(_, section)| section.name).collect()
    }

    #[test]
    fn names_add_up_in_any_case_and_unknown_ones_add_nothing() {
        assert_eq!(selected(&["KEYSPACE", "server", "server"]), ["server", "keyspace"], "I1");
        assert_eq!(selected(&["nosuch"]), [""; 0]);
        assert_eq!(selected(&[]), selected(&["default"]));
        assert!(!selected(&[]).contains(&"commandstats") && selected(&["all"]).contains(&"commandstats"));
        assert!(!selected(&["all"]).contains(&"cores"), "tools that ask for all know Redis's sections only");
        assert_eq!(selected(&["everything"]).len(), SECTIONS.len());
        assert_eq!(selected(&["module_list", "cores"]), ["modules", "cores"]);
    }

    #[test]
    fn sizes_for_people() {
        let expected =
            [(0, "0B"), (1023, "1023B"), (1024, "1.00K"), (916_432, "894.95K"), (1 << 20, "1.00M")];
        assert!(expected.into_iter().all(|(bytes, text)| human(bytes) == text));
        assert_eq!(human(25_276_502_016), "23.54G");
    }
}
