//! One value on its own, as DUMP gives it and RESTORE and MIGRATE take it.
//!
//! ```text
//! type code | value | u16 LE version of the format | u64 LE CRC64 of all before
//! ```

use super::{
    Damage, Problem, Reader, VALKEY_VERSION, VERSION_MAX, WriteOptions, code, read_value, type_code,
    version_needed, write_value,
};
use crate::base::crc::crc64;
use crate::keyspace::ValueRef;
use crate::types::{EncodingLimits, Value};

const CHECKSUM_BYTES: usize = 8;
const VERSION_BYTES: usize = 2;

/// Why a payload is refused.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// Cut, spoilt on its way, or of a version that is too new.
    Footer,
    Damaged(Damage),
}

pub fn dump(value: ValueRef<'_>, options: &WriteOptions) -> Vec<u8> {
    let mut out = vec![type_code(value)];
    write_value(value, options, &mut out);
    out.extend_from_slice(&version_needed(value).to_le_bytes());
    let checksum = crc64(0, &out);
    out.extend_from_slice(&checksum.to_le_bytes());
    out
}

/// `checked` is false where DEBUG has switched the checksum off.
pub fn restore(payload: &[u8], limits: &EncodingLimits, checked: bool) -> Result<Value, Refusal> {
    let (covered, checksum) = payload.split_last_chunk::<CHECKSUM_BYTES>().ok_or(Refusal::Footer)?;
    let (body, version) = covered.split_last_chunk::<VERSION_BYTES>().ok_or(Refusal::Footer)?;
    let version = u16::from_le_bytes(*version);
    if version > VERSION_MAX && version != VALKEY_VERSION
        || checked && crc64(0, covered) != u64::from_le_bytes(*checksum)
    {
        return Err(Refusal::Footer);
    }
    let mut reader = Reader::new(body);
    let value = reader.byte();
    let value = value.and_then(|byte| read_value(code::in_version(byte, version), &mut reader, limits));
    let value = value.map_err(Refusal::Damaged)?;
    match reader.remaining() {
        0 => Ok(value),
        _ => Err(Refusal::Damaged(Damage {
            offset: reader.offset(),
            problem: Problem::Wrong("bytes behind the value"),
        })),
    }
}
