//! Which files make the present: a snapshot, Redis's increments if the data came from there, and our own segments.
//!
//! ```text
//! pinion append-only 1
//! base appendonly.aof.2.base.rdb
//! increment appendonly.aof.1.incr.aof
//! generation 3 shards 2 after 0,0 ends 8192,4096
//! generation 4 shards 3 after 0,0,0
//! generation 5 shards 3
//! checksum 1a2b3c4d
//! ```
//!
//! Everything is replayed in this order. A generation is one segment per shard, all begun at the same moment. One that says
//! where its segments end is *closed*: they count up to there, exactly, and what lies behind was cut away by a recovery. The
//! open ones at the end are of one run of the server and continue each other; where they end is for recovery to find. `after`
//! are the sequences of the records before a generation's first ones; where it is missing they follow those of the generation
//! before.
//!
//! The file has the name that Redis gives its own list, so that a redis-server that is started on the directory finds it and
//! refuses (it wants pairs of words on every line) instead of beginning with nothing. Redis's list is read, never written:
//!
//! ```text
//! file appendonly.aof.1.base.rdb seq 1 type b
//! file appendonly.aof.1.incr.aof seq 1 type i
//! ```

use crate::base::crc::crc32c;
use std::fmt::Write;

const TITLE: &str = "pinion append-only 1";
/// As in Redis.
const REDIS_LINE_MAX: usize = 1024;

#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Manifest {
    /// A snapshot, or another file that a Redis base may be.
    pub base: Option<String>,
    /// Redis's, in RESP, in order.
    pub increments: Vec<String>,
    /// Ours, in order.
    pub generations: Vec<Generation>,
    /// Files that only Redis's list names, as history: nobody needs them.
    pub history: Vec<String>,
    /// The highest number that any file of a Redis list has.
    pub number: u64,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Generation {
    pub number: u64,
    pub shards: u32,
    /// The sequence before the first one of each shard's segment, if it is known.
    pub after: Option<Vec<u64>>,
    /// Where each shard's segment ends, if that is settled.
    pub ends: Option<Vec<u64>>,
}

#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ManifestError {
    #[error("line {line}: {problem}")]
    Line { line: usize, problem: &'static str },
    #[error("the checksum does not match")]
    Checksum,
    #[error("it is of a later version of Pinion")]
    Version,
    #[error("{0}")]
    Order(&'static str),
}

/// The list's name, which is also Redis's.
pub fn manifest_name(append_filename: &str) -> String {
    format!("{append_filename}.manifest")
}

pub fn segment_name(append_filename: &str, generation: u64, shard: u32) -> String {
    format!("{append_filename}.{generation}.incr.{shard}.pinion")
}

/// How a base is written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum BaseFormat {
    #[default]
    Snapshot,
    /// The commands that make the data anew, as clients would send them (`aof-use-rdb-preamble no`).
    Commands,
}

pub fn base_name(append_filename: &str, generation: u64, format: BaseFormat) -> String {
    let ending = match format {
        BaseFormat::Snapshot => "rdb",
        BaseFormat::Commands => "aof",
    };
    format!("{append_filename}.{generation}.base.{ending}")
}

impl Manifest {
    /// Reads either kind.
    pub fn parse(text: &[u8]) -> Result<Self, ManifestError> {
        let text = str::from_utf8(text).map_err(|_| line_error(1, "it is no text"))?;
        if text.starts_with("pinion ") { Self::parse_own(text) } else { Self::parse_redis(text) }
    }

    fn parse_own(text: &str) -> Result<Self, ManifestError> {
        let end = text.rfind("checksum ").ok_or(ManifestError::Checksum)?;
        if text[end..] != checksum_line(&text[..end]) {
            return Err(ManifestError::Checksum);
        }
        let mut manifest = Self::default();
        for (index, line) in text[..end].lines().enumerate() {
            let problem = |problem| line_error(index + 1, problem);
            if index == 0 {
                if line != TITLE {
                    return Err(ManifestError::Version);
                }
                continue;
            }
            let (kind, rest) = line.split_once(' ').ok_or(problem("it has one word"))?;
            match kind {
                "base" | "increment" if !is_file_name(rest) => return Err(problem("the file name is none")),
                "base" if manifest.base.is_some() => return Err(problem("a second base")),
                "base" => manifest.base = Some(rest.to_owned()),
                "increment" => manifest.increments.push(rest.to_owned()),
                "generation" => {
                    let generation =
                        parse_generation(rest).ok_or(problem("the generation is not readable"))?;
                    manifest.generations.push(generation);
                }
                _ => return Err(problem("the first word is unknown")),
            }
        }
        manifest.check_order()?;
        Ok(manifest)
    }

    fn check_order(&self) -> Result<(), ManifestError> {
        let ascending = self.generations.is_sorted_by(|a, b| a.number < b.number);
        let closed_first = self.generations.is_sorted_by_key(|generation| generation.ends.is_none());
        let mut open = self.generations.iter().filter(|generation| generation.ends.is_none()).peekable();
        let begins = open.peek().is_none_or(|first| first.after.is_some());
        let same_shards = open.is_sorted_by(|a, b| a.shards == b.shards);
        let problems = [
            (ascending, "generations are not in order"),
            (closed_first, "an open generation is followed by a closed one"),
            (begins, "it is not known where the first open generation begins"),
            (same_shards, "open generations have different shards"),
        ];
        let problem = problems.iter().find(|(is_well, _)| !is_well);
        problem.map_or(Ok(()), |(_, problem)| Err(ManifestError::Order(problem)))
    }

    fn parse_redis(text: &str) -> Result<Self, ManifestError> {
        let mut manifest = Self::default();
        let mut last_increment = 0;
        if text.is_empty() {
            return Err(line_error(1, "the list is empty"));
        }
        for (index, line) in text.split_inclusive('\n').enumerate() {
            let problem = |problem| line_error(index + 1, problem);
            let line = line.strip_suffix('\n').ok_or(problem("it is cut off"))?;
            if line.starts_with('#') {
                continue;
            }
            if line.len() >= REDIS_LINE_MAX {
                return Err(problem("it is too long"));
            }
            let (file, number, kind) = parse_redis_line(line).ok_or(problem("it is not readable"))?;
            if !is_file_name(&file) {
                return Err(problem("the file name is none"));
            }
            manifest.number = manifest.number.max(number);
            match kind {
                b'b' if manifest.base.is_some() => return Err(problem("a second base")),
                b'b' => manifest.base = Some(file),
                b'h' => manifest.history.push(file),
                b'i' if number <= last_increment => {
                    return Err(problem("increments are not in order"));
                }
                b'i' => {
                    last_increment = number;
                    manifest.increments.push(file);
                }
                _ => return Err(problem("the type is unknown")),
            }
        }
        Ok(manifest)
    }

    pub fn encode(&self) -> String {
        let mut text = format!("{TITLE}\n");
        let files = self.base.iter().map(|file| ("base", file));
        for (kind, file) in files.chain(self.increments.iter().map(|file| ("increment", file))) {
            let _ = writeln!(text, "{kind} {file}");
        }
        for Generation { number, shards, after, ends } in &self.generations {
            let _ = write!(text, "generation {number} shards {shards}");
            for (word, numbers) in [("after", after), ("ends", ends)] {
                if let Some(numbers) = numbers {
                    let numbers: Vec<String> = numbers.iter().map(u64::to_string).collect();
                    let _ = write!(text, " {word} {}", numbers.join(","));
                }
            }
            text.push('\n');
        }
        text += &checksum_line(&text);
        text
    }

    /// A number for the next generation: none of its files exist.
    pub fn next_number(&self) -> u64 {
        self.generations.iter().map(|generation| generation.number).chain([self.number]).max().unwrap_or(0)
            + 1
    }

    /// Whether nothing was ever written.
    pub fn is_empty(&self) -> bool {
        self.base.is_none() && self.increments.is_empty() && self.generations.is_empty()
    }

    /// The names of all files that are needed, the list itself apart.
    pub fn files(&self, append_filename: &str) -> Vec<String> {
        let segments = self.generations.iter().flat_map(|generation| {
            (0..generation.shards).map(|shard| segment_name(append_filename, generation.number, shard))
        });
        self.base.iter().chain(&self.increments).cloned().chain(segments).collect()
    }
}

fn line_error(line: usize, problem: &'static str) -> ManifestError {
    ManifestError::Line { line, problem }
}

fn checksum_line(text: &str) -> String {
    format!("checksum {:08x}\n", crc32c(text.as_bytes()))
}

/// `3 shards 2 after 0,0 ends 8192,4096`
fn parse_generation(text: &str) -> Option<Generation> {
    let mut words = text.split(' ');
    let number = words.next()?.parse().ok()?;
    if words.next()? != "shards" {
        return None;
    }
    let shards: u32 =
        words.next()?.parse().ok().filter(|shards| (1..=u32::from(u16::MAX)).contains(shards))?;
    let mut generation = Generation { number, shards, after: None, ends: None };
    while let Some(word) = words.next() {
        let numbers: Vec<u64> =
            words.next()?.split(',').map(|one| one.parse().ok()).collect::<Option<_>>()?;
        let place = match word {
            "after" => &mut generation.after,
            "ends" => &mut generation.ends,
            _ => return None,
        };
        if numbers.len() != shards as usize || place.replace(numbers).is_some() {
            return None;
        }
    }
    Some(generation)
}

/// Pairs of words in any order; unknown pairs are of later versions.
fn parse_redis_line(line: &str) -> Option<(String, u64, u8)> {
    let words = split_words(line)?;
    if words.len() < 6 || words.len() % 2 == 1 {
        return None;
    }
    let (mut file, mut number, mut kind) = (None, None, None);
    for pair in words.chunks_exact(2) {
        match pair[0].to_ascii_lowercase().as_str() {
            "file" => file = Some(pair[1].clone()),
            "seq" => number = pair[1].parse().ok().filter(|number| *number > 0),
            "type" => kind = pair[1].as_bytes().first().copied(),
            _ => {}
        }
    }
    Some((file?, number?, kind?))
}

/// As Redis quotes: names with spaces or unprintable bytes stand in double quotes.
fn split_words(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut rest = line.trim_ascii_start();
    while !rest.is_empty() {
        let Some(quoted) = rest.strip_prefix('"') else {
            let end = rest.find(|c: char| c.is_ascii_whitespace()).unwrap_or(rest.len());
            words.push(rest[..end].to_owned());
            rest = rest[end..].trim_ascii_start();
            continue;
        };
        let (word, behind) = unquote(quoted)?;
        words.push(word);
        if !behind.is_empty() && !behind.starts_with(|c: char| c.is_ascii_whitespace()) {
            return None;
        }
        rest = behind.trim_ascii_start();
    }
    Some(words)
}

fn unquote(text: &str) -> Option<(String, &str)> {
    let mut word = Vec::new();
    let bytes = text.as_bytes();
    let mut at = 0;
    loop {
        match bytes.get(at)? {
            b'"' => return Some((String::from_utf8(word).ok()?, &text[at + 1..])),
            b'\\' => {
                at += 1;
                match bytes.get(at)? {
                    b'x' => {
                        let digits = text.get(at + 1..at + 3)?;
                        word.push(u8::from_str_radix(digits, 16).ok()?);
                        at += 2;
                    }
                    b'n' => word.push(b'\n'),
                    b'r' => word.push(b'\r'),
                    b't' => word.push(b'\t'),
                    b'b' => word.push(8),
                    b'a' => word.push(7),
                    other => word.push(*other),
                }
            }
            other => word.push(*other),
        }
        at += 1;
    }
}

/// Files stand in the directory itself, and a name fits on a line.
fn is_file_name(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\n', '\r', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn redis_lists_are_read() {
        let text = "file appendonly.aof.2.base.rdb seq 2 type b\n\
                    # a comment\n\
                    file \"append only.aof.1.incr.aof\" seq 1 type h\n\
                    file appendonly.aof.3.incr.aof seq 3 type i startoffset 12\n\
                    file appendonly.aof.4.incr.aof seq 4 type i\n";
        let manifest = Manifest::parse(text.as_bytes()).expect("valid");
        assert_eq!(manifest.base.as_deref(), Some("appendonly.aof.2.base.rdb"));
        assert_eq!(manifest.increments, ["appendonly.aof.3.incr.aof", "appendonly.aof.4.incr.aof"]);
        assert_eq!(manifest.history, ["append only.aof.1.incr.aof"]);
        assert_eq!(manifest.next_number(), 5);
        for bad in [
            "",
            "\n",
            "file a seq 1 type b",
            "file a seq 1\n",
            "file a seq 1 type x\n",
            "file a/b seq 1 type b\n",
            "file a seq 0 type b\n",
            "file a seq 1 type b\nfile b seq 2 type b\n",
            "file a seq 2 type i\nfile b seq 1 type i\n",
        ] {
            assert!(Manifest::parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn redis_would_refuse_ours() {
        let manifest = Manifest { base: Some("a b".to_owned()), ..Manifest::default() };
        let text = manifest.encode();
        assert!(Manifest::parse_redis(&text).is_err());
        assert_eq!(Manifest::parse(text.as_bytes()), Ok(manifest));
    }

    #[test]
    fn what_is_not_in_order_is_refused() {
        let generation =
            |number, shards, ends| Generation { number, shards, after: Some(vec![0; shards as usize]), ends };
        for generations in [
            vec![generation(2, 1, None), generation(1, 1, None)],
            vec![generation(1, 1, None), generation(2, 1, Some(vec![4096]))],
            vec![generation(1, 1, None), generation(2, 2, None)],
            vec![generation(1, 2, Some(vec![4096]))],
            vec![generation(1, 0, None)],
            vec![Generation { after: None, ..generation(1, 1, None) }],
        ] {
            let manifest = Manifest { generations, ..Manifest::default() };
            assert!(Manifest::parse(manifest.encode().as_bytes()).is_err(), "{}", manifest.encode());
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_no_damage_goes_unseen(
            base in proptest::option::of("[a-z .]{1,20}x"),
            increments in proptest::collection::vec("[a-z]{1,9}", 0..3),
            closed in proptest::collection::vec((1..5u64, proptest::collection::vec(any::<u64>(), 1..4)), 0..3),
            open in proptest::collection::vec(1..5u64, 0..3),
            shards in 1..9u32,
            flip in any::<proptest::sample::Index>(),
            bit in 0..7u8,
        ) {
            let mut number = 0;
            let mut next = |step: u64| { number += step; number };
            let mut generations: Vec<Generation> = closed.into_iter().map(|(step, ends)| {
                Generation { number: next(step), shards: ends.len() as u32, after: None, ends: Some(ends) }
            }).collect();
            generations.extend(open.into_iter().enumerate().map(|(index, step)| {
                let after = (index == 0).then(|| vec![7; shards as usize]);
                Generation { number: next(step), shards, after, ends: None }
            }));
            let manifest = Manifest { base, increments, generations, ..Manifest::default() };
            let text = manifest.encode();
            prop_assert_eq!(Manifest::parse(text.as_bytes()), Ok(manifest));
            let mut damaged = text.into_bytes();
            let at = flip.index(damaged.len());
            damaged[at] ^= 1 << bit;
            prop_assert!(Manifest::parse(&damaged).is_err());
        }

        #[test]
        fn any_bytes_are_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Manifest::parse(&bytes);
            let _ = Manifest::parse(&[b"pinion ", &bytes[..]].concat());
        }
    }
}
