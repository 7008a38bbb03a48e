//! What is in an RDB file, or what is wrong with it and where: `--check-rdb`, apart from the file.
//!
//! Every value is built as loading builds it, so that what passes here loads.

use super::rdb::reader::{Entry, FileDamage, FileReader, Item, Step};
use super::rdb::{Problem, Reader, code, read_value};
use crate::base::UnixMillis;
use crate::base::crc::crc64;
use crate::types::EncodingLimits;
use std::collections::BTreeMap;
use std::fmt;

/// The checksum's own bytes, which it does not cover.
const CHECKSUM_BYTES: usize = 8;

/// Takes a file piece by piece.
pub struct RdbCheck {
    reader: FileReader,
    checksum: u64,
    database: u64,
    limits: EncodingLimits,
    report: RdbReport,
}

/// What was found, up to the end or to the damage.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RdbReport {
    pub version: u16,
    /// AUX fields but fillers, in order.
    pub aux: Vec<(Vec<u8>, Vec<u8>)>,
    pub keys: u64,
    /// Keys with a deadline, and those of them whose deadline has passed.
    pub expires: u64,
    pub expired: u64,
    pub functions: u64,
    /// By database.
    pub databases: BTreeMap<u64, u64>,
    /// Keys and bytes of their values, by type code.
    pub types: BTreeMap<u8, (u64, u64)>,
    /// Collections without elements, which loading drops.
    pub empty: u64,
    /// How far it got.
    pub offset: u64,
    pub outcome: Outcome,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub enum Outcome {
    /// The file ends before its end mark.
    #[default]
    CutOff,
    Whole {
        /// False if the file has none.
        checked: bool,
    },
    Checksum {
        told: u64,
        computed: u64,
    },
    Damaged(FileDamage),
}

impl RdbCheck {
    pub fn new() -> Self {
        Self {
            reader: FileReader::new(),
            checksum: 0,
            database: 0,
            limits: EncodingLimits::default(),
            report: RdbReport::default(),
        }
    }

    /// Looks at what the buffer holds of the file behind what was consumed before, and returns how many of its bytes
    /// are done with; `None` when there is nothing more to look for.
    pub fn feed(&mut self, buffer: &[u8], now: UnixMillis) -> Option<usize> {
        let mut consumed = 0;
        loop {
            self.report.offset = self.reader.offset();
            let (item, bytes) = match self.reader.step(&buffer[consumed..]) {
                Ok(Step::More(_)) => return Some(consumed),
                Ok(Step::Item(item, bytes)) => (item, bytes),
                Err(damage) => return self.end(Outcome::Damaged(damage)),
            };
            let mut covered = &buffer[consumed..consumed + bytes];
            consumed += bytes;
            if let Item::End { checksum: Some(_) } = item {
                covered = &covered[..bytes - CHECKSUM_BYTES];
            }
            self.checksum = crc64(self.checksum, covered);
            let report = &mut self.report;
            match item {
                Item::Header(version) => report.version = version,
                Item::Aux { name, value } => {
                    let (name, value) = (name.to_vec(), value.to_vec());
                    if name != b"fill" {
                        report.aux.push((name, value));
                    }
                }
                Item::SelectDb(number) => self.database = number,
                Item::ResizeDb { .. } | Item::SlotInfo => {}
                Item::Function(_) => report.functions += 1,
                Item::Entry(entry) => {
                    if let Err(damage) = self.entry(&entry, now) {
                        return self.end(Outcome::Damaged(damage));
                    }
                }
                Item::End { checksum } => {
                    report.offset = self.reader.offset();
                    let computed = self.checksum;
                    return self.end(match checksum {
                        Some(told) if told != computed => Outcome::Checksum { told, computed },
                        checksum => Outcome::Whole { checked: checksum.is_some() },
                    });
                }
            }
        }
    }

    fn end(&mut self, outcome: Outcome) -> Option<usize> {
        self.report.outcome = outcome;
        None
    }

    fn entry(&mut self, entry: &Entry<'_>, now: UnixMillis) -> Result<(), FileDamage> {
        let report = &mut self.report;
        let mut value = Reader::at(entry.value, entry.value_offset);
        if let Err(damage) = read_value(entry.type_code, &mut value, &self.limits) {
            if damage.problem != Problem::Empty {
                return Err(FileDamage::of_value(damage, &entry.key.to_vec(), entry.type_code));
            }
            report.empty += 1;
        }
        report.keys += 1;
        report.expires += u64::from(entry.deadline.is_some());
        report.expired += u64::from(entry.deadline.is_some_and(|deadline| deadline < now));
        *report.databases.entry(self.database).or_default() += 1;
        let (keys, bytes) = report.types.entry(entry.type_code).or_default();
        *keys += 1;
        *bytes += entry.value.len() as u64;
        Ok(())
    }

    /// The report, when all of the file was shown or nothing more was asked for.
    pub fn into_report(self) -> RdbReport {
        self.report
    }
}

impl Default for RdbCheck {
    fn default() -> Self {
        Self::new()
    }
}

impl RdbReport {
    /// Whether the file would load.
    pub fn is_whole(&self) -> bool {
        matches!(self.outcome, Outcome::Whole { .. })
    }
}

/// Lines that begin as those of redis-check-rdb do, which scripts look for.
impl fmt::Display for RdbReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let offset = self.offset;
        for (name, value) in &self.aux {
            writeln!(f, "[info] AUX FIELD {} = '{}'", name.escape_ascii(), value.escape_ascii())?;
        }
        match &self.outcome {
            Outcome::Whole { checked } => {
                writeln!(f, "[offset {offset}] {}", if *checked { "Checksum OK" } else { "No checksum" })?;
                writeln!(f, "[offset {offset}] \\o/ RDB looks OK! \\o/")?;
            }
            Outcome::CutOff => {
                writeln!(f, "--- RDB ERROR DETECTED ---")?;
                writeln!(
                    f,
                    "[offset {offset}] the file is cut off: the item that begins here is not complete"
                )?;
            }
            Outcome::Checksum { told, computed } => {
                writeln!(f, "--- RDB ERROR DETECTED ---")?;
                writeln!(
                    f,
                    "[offset {offset}] the checksum is {computed:016x}, and the file says {told:016x}: \
                     bytes have changed since it was written"
                )?;
            }
            Outcome::Damaged(damage) => {
                writeln!(f, "--- RDB ERROR DETECTED ---")?;
                writeln!(f, "[offset {}] {damage}", damage.damage.offset)?;
            }
        }
        writeln!(f, "[info] version {} of the format", self.version)?;
        writeln!(f, "[info] {} keys read", self.keys)?;
        writeln!(f, "[info] {} expires", self.expires)?;
        writeln!(f, "[info] {} already expired", self.expired)?;
        if self.empty > 0 {
            writeln!(f, "[info] {} empty collections, which loading drops", self.empty)?;
        }
        if self.functions > 0 {
            writeln!(f, "[info] {} libraries of functions", self.functions)?;
        }
        for (database, keys) in &self.databases {
            writeln!(f, "[info] database {database}: {keys} keys")?;
        }
        for (type_code, (keys, bytes)) in &self.types {
            writeln!(
                f,
                "[info] {keys} keys of type {} ({}): {bytes} bytes",
                code::byte(*type_code),
                code::name(*type_code)
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::ValueRef;
    use crate::persistence::rdb::WriteOptions;
    use crate::persistence::rdb::writer::*;

    const NOW: UnixMillis = UnixMillis(1000);

    fn file() -> Vec<u8> {
        let options = WriteOptions { compress: true };
        let mut out = Vec::new();
        write_header(10, &mut out);
        write_aux(b"redis-ver", b"7.0.15", &mut out);
        write_filler(100, &mut out);
        write_select_db(3, &mut out);
        write_entry(b"a", ValueRef::Str(b"text"), Some(UnixMillis(999)), None, &options, &mut out);
        write_entry(b"b", ValueRef::Int(1), Some(UnixMillis(1000)), None, &options, &mut out);
        out.extend_from_slice(b"\x01\x05empty\x00");
        write_end(&mut out);
        let checksum = crc64(0, &out);
        write_checksum(checksum, &mut out);
        out
    }

    fn report(file: &[u8], piece: usize) -> RdbReport {
        let mut check = RdbCheck::new();
        let (mut begin, mut end) = (0, 0);
        while let Some(consumed) = check.feed(&file[begin..end], NOW) {
            begin += consumed;
            if end == file.len() {
                break;
            }
            end = file.len().min(end + piece);
        }
        check.into_report()
    }

    #[test]
    fn a_whole_file() {
        let file = file();
        let found = report(&file, file.len());
        for piece in 1..50 {
            assert_eq!(report(&file, piece), found);
        }
        assert!(found.is_whole());
        assert_eq!((found.keys, found.expires, found.expired, found.empty), (3, 2, 1, 1));
        let text = found.to_string();
        for line in [
            "[info] AUX FIELD redis-ver = '7.0.15'",
            "Checksum OK",
            "\\o/ RDB looks OK! \\o/",
            "[info] 3 keys read",
            "[info] database 3: 3 keys",
            "[info] 2 keys of type 0 (string): 7 bytes",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }

    #[test]
    fn damaged_files() {
        let file = file();
        for cut in 0..file.len() {
            assert_eq!(report(&file[..cut], 7).outcome, Outcome::CutOff);
        }
        let mut spoilt = file.clone();
        let at = file.windows(4).position(|bytes| bytes == b"text").expect("there");
        spoilt[at] = b'T';
        assert!(matches!(report(&spoilt, 7).outcome, Outcome::Checksum { .. }));
        let mut unchecked = spoilt;
        let length = unchecked.len();
        unchecked[length - 8..].fill(0);
        assert_eq!(report(&unchecked, 7).outcome, Outcome::Whole { checked: false });

        let twice = b"REDIS0010\xfe\x00\x02\x01s\x02\x01a\x01a\xff";
        let found = report(twice, 3);
        assert!(!found.is_whole());
        let text = found.to_string();
        assert!(
            text.contains("[offset 17] a member of a set twice of key \"s\" of type 2 (set) at offset 17"),
            "{text}"
        );
    }
}
