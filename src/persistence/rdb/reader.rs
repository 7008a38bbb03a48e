//! A file item by item, from bytes that come as they come.
//!
//! The caller keeps a buffer that begins where [`FileReader::offset`] says, and drops from its front what each step has
//! consumed. A step that lacks bytes has changed nothing: it is taken again when there are more. What is missing is
//! known of strings, not of collections, which are walked anew each time: a buffer that is full should double.
//!
//! ```text
//! Header --"REDIS" or "VALKEY", and version--> Items --EOF--> Done
//! ```
//! Values are only delimited here ([`skip_value`]); [`super::read_value`] builds them, elsewhere and at once for many.

use super::value_reader::module_name;
use super::{Damage, Problem, Reader, Text, VALKEY_VERSION, VERSION_MAX, code, opcode, skip_value};
use crate::base::UnixMillis;
use std::fmt;

const MAGIC: &[u8] = b"REDIS";
/// That of Valkey since its version 9.
const VALKEY_MAGIC: &[u8] = b"VALKEY";
/// Of either: the digits fill it.
const HEADER_BYTES: usize = 9;
/// Files of older versions end without a checksum.
const CHECKSUM_SINCE: u16 = 5;

#[derive(Clone, Debug, Default)]
pub struct FileReader {
    stage: Stage,
    offset: u64,
    version: u16,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Stage {
    #[default]
    Header,
    Items,
    Done,
}

/// What a step came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Step<'b> {
    /// At least so many bytes more are needed.
    More(usize),
    /// An item, and the bytes of the buffer that it took.
    Item(Item<'b>, usize),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Item<'b> {
    /// The version of the format.
    Header(u16),
    Aux {
        name: Text<'b>,
        value: Text<'b>,
    },
    SelectDb(u64),
    ResizeDb {
        keys: u64,
        expires: u64,
    },
    /// How many keys a cluster's slot has; for those who want to reserve.
    SlotInfo,
    /// The source of a library.
    Function(Text<'b>),
    Entry(Entry<'b>),
    /// The checksum of all before its eight bytes, unless the version has none or it was switched off.
    End {
        checksum: Option<u64>,
    },
}

/// A key with what belongs to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry<'b> {
    pub key: Text<'b>,
    pub deadline: Option<UnixMillis>,
    pub idle_s: Option<u64>,
    pub frequency: Option<u8>,
    pub type_code: u8,
    /// What [`super::read_value`] reads.
    pub value: &'b [u8],
    /// Where that begins in the file.
    pub value_offset: u64,
}

/// Why a file cannot be read further.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FileDamage {
    pub damage: Damage,
    /// Key and type code of the entry in which it is, if it got that far.
    pub entry: Option<(Vec<u8>, u8)>,
    pub kind: FileProblem,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum FileProblem {
    /// See the damage.
    Damaged,
    /// Not a file of this format at all.
    NoMagic,
    /// A version that is not known, as the file says it.
    Version(Vec<u8>),
    ValkeyVersion(Vec<u8>),
    /// Data of a module outside of any key.
    ModuleAux(String),
    /// Functions in a form that only release candidates of Redis 7.0 wrote.
    EarlyFunction,
}

/// Whether a file begins as those of this format do.
pub fn has_magic(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC) || bytes.starts_with(VALKEY_MAGIC)
}

impl FileReader {
    pub fn new() -> Self {
        Self::default()
    }

    /// Where the buffer must begin.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Goes on in the middle of a file of this version, where an item begins.
    pub fn resume(version: u16, offset: u64) -> Self {
        Self { stage: Stage::Items, offset, version }
    }

    /// Whether the end was seen. What follows it, if anything, is no part of the file.
    pub fn is_done(&self) -> bool {
        self.stage == Stage::Done
    }

    /// The next item; not to be asked for after the end.
    pub fn step<'b>(&mut self, buffer: &'b [u8]) -> Result<Step<'b>, FileDamage> {
        let mut reader = Reader::at(buffer, self.offset);
        let item = match self.stage {
            Stage::Header => header(&mut reader),
            Stage::Items => item(&mut reader, buffer, self.version),
            Stage::Done => panic!("nothing follows the end of a file"),
        };
        let item = match item {
            Ok(item) => item,
            Err(FileDamage { damage: Damage { problem: Problem::Incomplete(more), .. }, .. }) => {
                return Ok(Step::More(more));
            }
            Err(damage) => return Err(damage),
        };
        match item {
            Item::Header(version) => (self.version, self.stage) = (version, Stage::Items),
            Item::End { .. } => self.stage = Stage::Done,
            _ => {}
        }
        let consumed = reader.position();
        self.offset += consumed as u64;
        Ok(Step::Item(item, consumed))
    }
}

fn header<'b>(reader: &mut Reader<'b>) -> Result<Item<'b>, FileDamage> {
    let offset = reader.offset();
    // What is there is looked at before more is asked for: most files that are none are found out by a byte.
    let there = reader.clone().take(reader.remaining().min(VALKEY_MAGIC.len()) as u64)?;
    let refuse =
        |kind| Err(FileDamage { damage: Damage { offset, problem: Problem::Wrong("") }, entry: None, kind });
    let begins = |magic: &[u8]| magic.starts_with(&there[..there.len().min(magic.len())]);
    let (magic, versions) = match () {
        () if begins(MAGIC) => (MAGIC, 1..=VERSION_MAX),
        () if begins(VALKEY_MAGIC) => (VALKEY_MAGIC, VALKEY_VERSION..=VALKEY_VERSION),
        () => return refuse(FileProblem::NoMagic),
    };
    let digits = &reader.take(HEADER_BYTES as u64)?[magic.len()..];
    let version = str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
    match version.filter(|version| versions.contains(version)) {
        Some(version) => Ok(Item::Header(version)),
        None if magic == MAGIC => refuse(FileProblem::Version(digits.to_vec())),
        None => refuse(FileProblem::ValkeyVersion(digits.to_vec())),
    }
}

fn item<'b>(reader: &mut Reader<'b>, buffer: &'b [u8], version: u16) -> Result<Item<'b>, FileDamage> {
    let (mut deadline, mut idle_s, mut frequency) = (None, None, None);
    loop {
        let offset = reader.offset();
        let first = reader.byte()?;
        let in_front_of_key = deadline.is_some() || idle_s.is_some() || frequency.is_some();
        let refuse = |kind| {
            Err(FileDamage { damage: Damage { offset, problem: Problem::Wrong("") }, entry: None, kind })
        };
        return Ok(match first {
            // Not signed here: a time before 1970 is one that has passed either way.
            opcode::EXPIRE_SECONDS => {
                let seconds = (reader.u32_le()? as i32).max(0) as u64;
                deadline = Some(UnixMillis(seconds * 1000));
                continue;
            }
            opcode::EXPIRE_MS => {
                deadline = Some(UnixMillis((reader.u64_le()? as i64).max(0) as u64));
                continue;
            }
            opcode::IDLE => {
                idle_s = Some(reader.length()?);
                continue;
            }
            opcode::FREQ => {
                frequency = Some(reader.byte()?);
                continue;
            }
            opcode::SLOT_INFO..=opcode::EOF if in_front_of_key => {
                return Err(reader
                    .wrong::<Item<'_>>(offset, "a key should follow")
                    .expect_err("wrong")
                    .into());
            }
            opcode::AUX => Item::Aux { name: reader.string()?, value: reader.string()? },
            opcode::SELECT_DB => Item::SelectDb(reader.length()?),
            opcode::RESIZE_DB => Item::ResizeDb { keys: reader.length()?, expires: reader.length()? },
            opcode::SLOT_INFO => {
                for _ in 0..3 {
                    reader.length()?;
                }
                Item::SlotInfo
            }
            opcode::FUNCTION => Item::Function(reader.string()?),
            opcode::FUNCTION_EARLY => return refuse(FileProblem::EarlyFunction),
            opcode::MODULE_AUX => return refuse(FileProblem::ModuleAux(module_name(reader.length()?))),
            opcode::EOF if version < CHECKSUM_SINCE => Item::End { checksum: None },
            opcode::EOF => Item::End { checksum: Some(reader.u64_le()?).filter(|checksum| *checksum != 0) },
            byte => {
                let type_code = code::in_version(byte, version);
                let key = reader.string()?;
                let (start, value_offset) = (reader.position(), reader.offset());
                if let Err(mut damage) = skip_value(type_code, reader) {
                    // What is said of the type is said of where it stands.
                    if matches!(damage.problem, Problem::UnknownType(_) | Problem::Module(_)) {
                        damage.offset = offset;
                    }
                    return Err(FileDamage {
                        damage,
                        entry: Some((key.to_vec(), type_code)),
                        kind: FileProblem::Damaged,
                    });
                }
                let value = &buffer[start..reader.position()];
                Item::Entry(Entry { key, deadline, idle_s, frequency, type_code, value, value_offset })
            }
        });
    }
}

impl From<Damage> for FileDamage {
    fn from(damage: Damage) -> Self {
        Self { damage, entry: None, kind: FileProblem::Damaged }
    }
}

impl FileDamage {
    /// Of the value of an entry, found when it was read.
    pub fn of_value(damage: Damage, key: &[u8], type_code: u8) -> Self {
        Self { damage, entry: Some((key.to_vec(), type_code)), kind: FileProblem::Damaged }
    }
}

impl fmt::Display for FileDamage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let offset = self.damage.offset;
        match &self.kind {
            FileProblem::NoMagic => f.write_str("not an RDB file: it does not begin with REDIS or VALKEY"),
            FileProblem::Version(digits) => write!(
                f,
                "version {} of the RDB format is not known, only versions 1 to {VERSION_MAX} are",
                digits.escape_ascii()
            ),
            FileProblem::ValkeyVersion(digits) => write!(
                f,
                "version {} of Valkey's RDB format is not known, only version {VALKEY_VERSION} is",
                digits.escape_ascii()
            ),
            FileProblem::ModuleAux(name) => {
                write!(f, "data of the module {name:?}, which needs its module, at offset {offset}")
            }
            FileProblem::EarlyFunction => write!(
                f,
                "functions as a release candidate of Redis 7.0 wrote them, which no release reads, at offset {offset}"
            ),
            FileProblem::Damaged => {
                write!(f, "{}", self.damage.problem)?;
                if let Some((key, type_code)) = &self.entry {
                    write!(f, " of key \"{}\"", key.escape_ascii())?;
                    if !matches!(self.damage.problem, Problem::UnknownType(_) | Problem::Module(_)) {
                        write!(f, " of type {} ({})", code::byte(*type_code), code::name(*type_code))?;
                    }
                }
                write!(f, " at offset {offset}")
            }
        }
    }
}

impl std::error::Error for FileDamage {}
