//! The RDB format, as Redis writes and reads it: snapshots, the bases of append-only files, what a replica is sent,
//! and (one value at a time) the payloads of DUMP.
//!
//! ```text
//! 52 45 44 49 53 30 30 31 30              "REDIS0010": the version in four digits
//! FA 09 redis-ver 05 7.0.15               AUX: any name and value; loaders skip those they do not know
//! FE 00                                   SELECTDB 0
//! FB 02 01                                RESIZEDB: 2 keys, 1 of which has a deadline (hints)
//! FC A0 86 01 00 00 00 00 00              the next key's deadline: Unix time in ms, 8 bytes LE
//! F8 05                                   the next key's idle time in seconds (F9 nn: its LFU counter)
//! 00 03 key C0 7B                         type 0, the key, its value: a string that is the 8-bit integer 123
//! 01 01 l 02 01 a 01 b                    type 1, key "l", 2 elements: "a" and "b"
//! FF 0B 4A ... 8 bytes                    EOF and the CRC64 of all before, LE; zero where it was switched off
//! ```
//! A length takes 1, 2, 5 or 9 bytes ([`length`]); a string is its length and its bytes, or an integer, or packed by
//! LZF. Which form a value has is its type code ([`code`]): the plain forms are lists of strings, the others one
//! string that is the value's own memory in Redis (ziplist, listpack, intset).
//!
//! Everything here is pure: bytes in, values out, and the other way round.
//!
//! Invariants
//!   R1  Whatever the bytes: no panic, no read beyond them, and no allocation that they could not fill (LZF unpacks a
//!       byte to 88 at most).
//!   R2  A value that was read is what its type promises: no duplicates, no NaN, sorted where it must be, texts that
//!       spell integers kept as integers. Bytes of which that is not true are refused or rebuilt, never trusted.

mod legacy;
pub mod length;
pub mod payload;
pub mod reader;
mod stream_reader;
pub mod value_reader;
pub mod value_writer;
pub mod writer;

pub use length::{Reader, Text};
pub use value_reader::{read_value, skip_value};
pub use value_writer::{WriteOptions, type_code, version_needed, write_value};

#[cfg(test)]
mod file_tests;
#[cfg(test)]
mod tests;

use std::fmt;

/// What is written unless a value needs a later one: that of Redis 7.0.
pub const VERSION: u16 = 10;

/// The latest of Redis that is read: that of Redis 8.6.
pub const VERSION_MAX: u16 = 13;

/// The first that holds deadlines of fields: that of Redis 7.4.
pub const VERSION_OF_FIELD_DEADLINES: u16 = 12;

/// The one of Valkey 9, which counts apart from Redis since then: the format of Redis 7.2, with a type of its own for
/// deadlines of fields. Files say `VALKEY080`.
pub const VALKEY_VERSION: u16 = 80;

/// What the first byte of a key's record says about its value.
pub mod code {
    pub const STRING: u8 = 0;
    pub const LIST: u8 = 1;
    pub const SET: u8 = 2;
    /// Scores as text.
    pub const ZSET: u8 = 3;
    pub const HASH: u8 = 4;
    /// Scores as doubles.
    pub const ZSET_2: u8 = 5;
    pub const MODULE: u8 = 6;
    pub const MODULE_2: u8 = 7;
    pub const HASH_ZIPMAP: u8 = 9;
    pub const LIST_ZIPLIST: u8 = 10;
    pub const SET_INTSET: u8 = 11;
    pub const ZSET_ZIPLIST: u8 = 12;
    pub const HASH_ZIPLIST: u8 = 13;
    /// A list of ziplists.
    pub const LIST_QUICKLIST: u8 = 14;
    pub const STREAM: u8 = 15;
    pub const HASH_LISTPACK: u8 = 16;
    pub const ZSET_LISTPACK: u8 = 17;
    /// A list of listpacks, and of elements too large for one.
    pub const LIST_QUICKLIST_2: u8 = 18;
    /// With what XADD's counters need.
    pub const STREAM_2: u8 = 19;
    pub const SET_LISTPACK: u8 = 20;
    /// With the time at which a consumer was last active.
    pub const STREAM_3: u8 = 21;
    /// Fields with deadlines, as release candidates of Redis 7.4 wrote them.
    pub const HASH_TTL_EARLY: u8 = 22;
    pub const HASH_LISTPACK_TTL_EARLY: u8 = 23;
    pub const HASH_TTL: u8 = 24;
    pub const HASH_LISTPACK_TTL: u8 = 25;
    /// With what an idempotent producer has sent, since Redis 8.6; read, and forgotten.
    pub const STREAM_4: u8 = 26;
    /// Fields with deadlines as Valkey writes them. Its own code is 22, see [`in_version`].
    pub const HASH_TTL_VALKEY: u8 = 122;
    const VALKEY_22: u8 = 22;

    /// What a byte of a file or payload of this version means: Redis and Valkey have given 22 to different forms, and
    /// 122 is nobody's.
    pub fn in_version(byte: u8, version: u16) -> u8 {
        match byte {
            VALKEY_22 if version >= super::VALKEY_VERSION => HASH_TTL_VALKEY,
            HASH_TTL_VALKEY => u8::MAX,
            _ => byte,
        }
    }

    /// The byte that a file has for it.
    pub fn byte(code: u8) -> u8 {
        if code == HASH_TTL_VALKEY { VALKEY_22 } else { code }
    }

    /// The type and the form, for people.
    pub fn name(code: u8) -> &'static str {
        match code {
            STRING => "string",
            LIST => "list",
            SET => "set",
            ZSET | ZSET_2 => "zset",
            HASH => "hash",
            MODULE | MODULE_2 => "module",
            HASH_ZIPMAP => "hash, zipmap",
            LIST_ZIPLIST => "list, ziplist",
            SET_INTSET => "set, intset",
            ZSET_ZIPLIST => "zset, ziplist",
            HASH_ZIPLIST => "hash, ziplist",
            LIST_QUICKLIST | LIST_QUICKLIST_2 => "list, quicklist",
            STREAM | STREAM_2 | STREAM_3 | STREAM_4 => "stream",
            HASH_LISTPACK => "hash, listpack",
            ZSET_LISTPACK => "zset, listpack",
            SET_LISTPACK => "set, listpack",
            HASH_TTL | HASH_TTL_EARLY | HASH_TTL_VALKEY => "hash with field deadlines",
            HASH_LISTPACK_TTL | HASH_LISTPACK_TTL_EARLY => "hash with field deadlines, listpack",
            _ => "unknown",
        }
    }
}

/// What else may stand where a type code stands.
pub mod opcode {
    pub const SLOT_INFO: u8 = 244;
    pub const FUNCTION: u8 = 245;
    /// As release candidates of Redis 7.0 wrote it; no release reads it.
    pub const FUNCTION_EARLY: u8 = 246;
    pub const MODULE_AUX: u8 = 247;
    pub const IDLE: u8 = 248;
    pub const FREQ: u8 = 249;
    pub const AUX: u8 = 250;
    pub const RESIZE_DB: u8 = 251;
    pub const EXPIRE_MS: u8 = 252;
    pub const EXPIRE_SECONDS: u8 = 253;
    pub const SELECT_DB: u8 = 254;
    pub const EOF: u8 = 255;
}

/// How the nodes of a list are kept.
mod container {
    pub const PLAIN: u64 = 1;
    pub const PACKED: u64 = 2;
}

/// In place of how many entries of a stream a group has read, where that is not known.
const ENTRIES_READ_UNKNOWN: u64 = u64::MAX;

/// What is wrong, and where.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Damage {
    /// Counted from where the reader's bytes begin, and from where it was told that they do.
    pub offset: u64,
    pub problem: Problem,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Problem {
    /// The bytes end; at least so many more belong to what was begun.
    Incomplete(usize),
    /// A collection without elements. Old bugs of Redis wrote such keys; its loader drops them, RESTORE refuses them.
    Empty,
    UnknownType(u8),
    /// Data of a module, by name.
    Module(String),
    Wrong(&'static str),
}

impl Damage {
    /// How many bytes are missing at least, if that is all.
    pub fn missing(&self) -> Option<usize> {
        match self.problem {
            Problem::Incomplete(more) => Some(more),
            _ => None,
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at offset {}", self.problem, self.offset)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Incomplete(1) => f.write_str("the data end too early: a byte is missing"),
            Self::Incomplete(more) => write!(f, "the data end too early: {more} bytes are missing"),
            Self::Empty => f.write_str("a collection without elements"),
            Self::UnknownType(code) => write!(f, "unknown type {code}"),
            Self::Module(name) => write!(f, "data of the module type {name:?}, which needs its module"),
            Self::Wrong(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Damage {}
