//! Every parameter, declared once, section by section.
//!
//! Invariants
//!   T1  Names and aliases are unique and in lower case.
//!   T2  Every default and every extreme value parses.
//!   T3  What is implemented is marked so; whatever else is set is named in one warning at the start.

use super::declaration::{Declaration, Section};

mod clients;
mod cluster;
mod memory;
mod network;
mod observability;
mod persistence;
mod process;
mod replication;
mod scripting;
mod security;
mod tls;
mod types;

const SECTIONS: &[(Section, &[Declaration])] = &[
    (Section::Process, process::PARAMETERS),
    (Section::Network, network::PARAMETERS),
    (Section::Tls, tls::PARAMETERS),
    (Section::Security, security::PARAMETERS),
    (Section::Clients, clients::PARAMETERS),
    (Section::Memory, memory::PARAMETERS),
    (Section::Types, types::PARAMETERS),
    (Section::Persistence, persistence::PARAMETERS),
    (Section::Replication, replication::PARAMETERS),
    (Section::Cluster, cluster::PARAMETERS),
    (Section::Scripting, scripting::PARAMETERS),
    (Section::Observability, observability::PARAMETERS),
];

const COUNT: usize = {
    let (mut count, mut section) = (0, 0);
    while section < SECTIONS.len() {
        count += SECTIONS[section].1.len();
        section += 1;
    }
    count
};

/// All declarations; a parameter's place here is its place in a snapshot.
pub static TABLE: [Declaration; COUNT] = flatten();

const fn flatten() -> [Declaration; COUNT] {
    let mut table = [SECTIONS[0].1[0]; COUNT];
    let (mut at, mut section) = (0, 0);
    while section < SECTIONS.len() {
        let (name, parameters) = SECTIONS[section];
        let mut parameter = 0;
        while parameter < parameters.len() {
            table[at] = parameters[parameter].section(name);
            at += 1;
            parameter += 1;
        }
        section += 1;
    }
    table
}

/// The place of a parameter by its full name, at compile time: a misspelt one does not build.
pub(super) const fn place(name: &str) -> usize {
    let table = &TABLE;
    let mut at = 0;
    while at < COUNT {
        if same(table[at].name.as_bytes(), name.as_bytes()) {
            return at;
        }
        at += 1;
    }
    panic!("no such parameter");
}

const fn same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let mut at = 0;
    while at < one.len() {
        if one[at] != other[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// The place of a parameter by its name or alias in any case, and that name in lower case.
pub fn find(name: &[u8]) -> Option<(usize, &'static str)> {
    TABLE.iter().enumerate().find_map(|(place, declaration)| {
        let name = declaration.names().find(|known| known.as_bytes().eq_ignore_ascii_case(name))?;
        Some((place, name))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::declaration::Status;
    use crate::config::value::{Kind, Value};

    #[test]
    fn names_are_unique_and_in_lower_case() {
        let mut seen = BTreeSet::new();
        for name in TABLE.iter().flat_map(Declaration::names) {
            assert!(seen.insert(name), "T1: {name} is declared twice");
            assert_eq!(name, name.to_lowercase(), "T1");
        }
    }

    #[test]
    fn defaults_and_extremes_parse_and_read_back() {
        for declaration in &TABLE {
            let default = declaration.default_value();
            let extremes = declaration.extremes.iter().map(|text| {
                let words = words(declaration, text.as_bytes());
                declaration.parse(&words, &default).unwrap_or_else(|refusal| {
                    panic!("T2: {} cannot be {text:?}: {refusal}", declaration.name)
                })
            });
            for value in extremes.chain([default.clone()]) {
                // Not replicating anyone is shown as nothing, and set by other means than a value.
                if value == Value::Master(None) {
                    continue;
                }
                for text in [declaration.format(&value), declaration.kind.format_for_file(&value)] {
                    let again = declaration.parse(&words(declaration, &text), &default);
                    assert_eq!(again.as_ref(), Ok(&value), "V1: {}", declaration.name);
                }
            }
        }
    }

    fn words<'a>(declaration: &Declaration, text: &'a [u8]) -> Vec<&'a [u8]> {
        match declaration.kind.takes_many_words() {
            true => text.split(|byte| *byte == b' ').collect(),
            false => vec![text],
        }
    }

    #[test]
    fn the_edges_of_every_number_are_its_bounds() {
        for declaration in TABLE.iter().filter(|declaration| declaration.check.is_none()) {
            let takes = |number: i128| {
                let text = match declaration.kind {
                    Kind::Octal { .. } => format!("{number:o}"),
                    _ => number.to_string(),
                };
                declaration.parse(&[text.as_bytes()], &declaration.default_value()).is_ok()
            };
            let (min, max) = match declaration.kind {
                Kind::Integer { min, max } => (i128::from(min), i128::from(max)),
                Kind::Octal { max } => (0, i128::from(max)),
                Kind::Memory { min, max } => (i128::from(min), i128::from(max)),
                _ => continue,
            };
            let name = declaration.name;
            assert!(takes(min) && takes(max), "{name} takes its bounds");
            assert!(!takes(min - 1), "{name} takes less than {min}");
            // A memory size beyond 64 bits reads as the largest one, as in Redis.
            assert!(max == i128::from(u64::MAX) || !takes(max + 1), "{name} takes more than {max}");
        }
    }

    #[test]
    fn every_enumeration_offers_its_names() {
        for declaration in &TABLE {
            for (name, number) in declaration.kind.names() {
                let value = declaration.parse(&[name.as_bytes()], &declaration.default_value());
                let shown = String::from_utf8(declaration.format(&value.expect("an offered name")));
                let shown = shown.expect("names are ASCII");
                let synonyms = declaration.kind.names().iter().filter(|(_, other)| other == number);
                assert!(synonyms.into_iter().any(|(name, _)| *name == shown), "{}", declaration.name);
            }
        }
    }

    #[test]
    fn every_parameter_says_what_it_does() {
        for declaration in &TABLE {
            let doc = declaration.doc;
            assert!(doc.ends_with('.') && !doc.contains('\n'), "{}: {doc:?}", declaration.name);
        }
        assert!(TABLE.iter().any(|declaration| declaration.status == Status::Implemented));
    }

    #[test]
    fn any_case_and_any_name_finds_a_parameter() {
        let (place, name) = find(b"Hash-Max-Ziplist-Entries").expect("an alias");
        assert_eq!((TABLE[place].name, name), ("hash-max-listpack-entries", "hash-max-ziplist-entries"));
        assert_eq!(find(b"no-such"), None);
    }
}
