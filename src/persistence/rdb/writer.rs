//! The file around the values. Each function appends one item to bytes that somebody else carries to the disk, so that
//! several threads can write pieces of one file.
//!
//! A file is: [`write_header`], AUX fields, then per database [`write_select_db`], [`write_resize_db`] and its entries,
//! then [`write_end`] and [`write_checksum`]. AUX fields may stand between any two items, and a database may be
//! selected again.

use super::length::{write_int, write_length, write_string};
use super::{WriteOptions, opcode, type_code, write_value};
use crate::base::UnixMillis;
use crate::keyspace::ValueRef;

/// What a file tells of itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Preamble<'a> {
    /// The Redis whose format and commands this is.
    pub redis_version: &'a str,
    pub created_s: u64,
    pub used_memory: u64,
    /// The file begins an append-only file.
    pub aof_base: bool,
}

/// How lately or how often a key was used, where the eviction policy asks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Access {
    IdleSeconds(u64),
    Frequency(u8),
}

/// Bytes that [`write_filler`] can make, at least and at most.
pub const FILLER_BYTES: std::ops::RangeInclusive<usize> = FILLER_HEAD_BYTES..=FILLER_HEAD_BYTES + 0x3fff;
const FILLER_NAME: &[u8] = b"fill";
const FILLER_HEAD_BYTES: usize = 1 + 1 + FILLER_NAME.len() + 2;

pub fn write_header(version: u16, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("REDIS{version:04}").as_bytes());
}

pub fn write_preamble(preamble: &Preamble<'_>, out: &mut Vec<u8>) {
    write_aux(b"redis-ver", preamble.redis_version.as_bytes(), out);
    write_aux_int(b"redis-bits", usize::BITS.into(), out);
    write_aux_int(b"ctime", preamble.created_s as i64, out);
    write_aux_int(b"used-mem", preamble.used_memory as i64, out);
    write_aux_int(b"aof-base", preamble.aof_base.into(), out);
}

pub fn write_aux(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.push(opcode::AUX);
    write_string(name, false, out);
    write_string(value, false, out);
}

pub fn write_aux_int(name: &[u8], value: i64, out: &mut Vec<u8>) {
    out.push(opcode::AUX);
    write_string(name, false, out);
    write_int(value, out);
}

/// An AUX field that takes exactly so many bytes and says nothing.
pub fn write_filler(bytes: usize, out: &mut Vec<u8>) {
    assert!(FILLER_BYTES.contains(&bytes), "{bytes} bytes are no filler");
    out.extend_from_slice(&[opcode::AUX, FILLER_NAME.len() as u8]);
    out.extend_from_slice(FILLER_NAME);
    let zeros = bytes - FILLER_HEAD_BYTES;
    // Two bytes even for a short length, so that every size can be had.
    out.extend_from_slice(&(0x4000 | zeros as u16).to_be_bytes());
    out.resize(out.len() + zeros, 0);
}

/// The source of a library of functions.
pub fn write_function(source: &[u8], options: &WriteOptions, out: &mut Vec<u8>) {
    out.push(opcode::FUNCTION);
    write_string(source, options.compress, out);
}

pub fn write_select_db(db: usize, out: &mut Vec<u8>) {
    out.push(opcode::SELECT_DB);
    write_length(db as u64, out);
}

/// How many keys are to come, and how many of them have a deadline: a hint.
pub fn write_resize_db(keys: usize, expires: usize, out: &mut Vec<u8>) {
    out.push(opcode::RESIZE_DB);
    write_length(keys as u64, out);
    write_length(expires as u64, out);
}

pub fn write_entry(
    key: &[u8],
    value: ValueRef<'_>,
    deadline: Option<UnixMillis>,
    access: Option<Access>,
    options: &WriteOptions,
    out: &mut Vec<u8>,
) {
    if let Some(deadline) = deadline {
        out.push(opcode::EXPIRE_MS);
        out.extend_from_slice(&deadline.0.to_le_bytes());
    }
    match access {
        None => {}
        Some(Access::IdleSeconds(seconds)) => {
            out.push(opcode::IDLE);
            write_length(seconds, out);
        }
        Some(Access::Frequency(frequency)) => out.extend_from_slice(&[opcode::FREQ, frequency]),
    }
    out.push(type_code(value));
    write_string(key, options.compress, out);
    write_value(value, options, out);
}

/// Behind it stands nothing but the checksum of all up to here, this included.
pub fn write_end(out: &mut Vec<u8>) {
    out.push(opcode::EOF);
}

/// Zero says that there is none.
pub fn write_checksum(checksum: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(&checksum.to_le_bytes());
}
