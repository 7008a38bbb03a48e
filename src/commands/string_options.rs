//! The options that SET, GETEX and MSETEX share: a condition, and what becomes of the deadline.
//!
//! Options are read first and judged later, as Redis does: a conflict anywhere is a syntax error before the
//! number of seconds is looked at.

use crate::base::UnixMillis;
use crate::base::number::parse_i64;
use crate::command_table::{Arg, Args, Kind};
use crate::keyspace::Ttl;
use crate::shard::CommandError;
use crate::types::StringRef;
use std::mem::discriminant;
use xxhash_rust::xxh3::xxh3_64;

pub(super) const EXPIRATION_ARGS: &[Arg] = &[
    Arg::integer("seconds").after("EX"),
    Arg::integer("milliseconds").after("PX"),
    Arg::new("unix-time-seconds", Kind::UnixTime).after("EXAT"),
    Arg::new("unix-time-milliseconds", Kind::UnixTime).after("PXAT"),
    Arg::token("keepttl", "KEEPTTL"),
];

/// When the write happens.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Condition<'a> {
    Always,
    Absent,
    Present,
    Equals(&'a [u8]),
    Differs(&'a [u8]),
    DigestEquals(&'a [u8]),
    DigestDiffers(&'a [u8]),
}

impl Condition<'_> {
    /// Whether a key that is not there fulfils it.
    pub fn allows_absent(self) -> bool {
        !matches!(self, Self::Present | Self::Equals(_) | Self::DigestEquals(_))
    }

    /// Whether it looks at the value, which must be a string then.
    pub fn compares(self) -> bool {
        !matches!(self, Self::Always | Self::Absent | Self::Present)
    }

    /// Whether this value, `None` if it is of another type, fulfils it.
    pub fn allows(self, value: Option<StringRef<'_>>) -> Result<bool, CommandError> {
        if !self.compares() {
            return Ok(self != Self::Absent);
        }
        let value = value.ok_or(CommandError::WrongType)?;
        let mut digits = itoa::Buffer::new();
        let value = value.as_bytes(&mut digits);
        Ok(match self {
            Self::Equals(other) => value == other,
            Self::Differs(other) => value != other,
            Self::DigestEquals(text) => is_digest_of(text, value)?,
            Self::DigestDiffers(text) => !is_digest_of(text, value)?,
            Self::Always | Self::Absent | Self::Present => unreachable!("these compare nothing"),
        })
    }
}

/// Whether this is what DIGEST writes for a value, in either case. Of a wrong digest only the length is refused.
fn is_digest_of(text: &[u8], value: &[u8]) -> Result<bool, CommandError> {
    if text.len() != 16 {
        return Err(CommandError::Text("ERR must be exactly 16 hexadecimal characters"));
    }
    Ok(text.eq_ignore_ascii_case(format!("{:016x}", xxh3_64(value)).as_bytes()))
}

/// What becomes of the deadline.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Expiry<'a> {
    Unsaid,
    Keep,
    Persist,
    After(Unit, &'a [u8]),
    At(Unit, &'a [u8]),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Unit {
    Seconds,
    Milliseconds,
}

impl Expiry<'_> {
    /// Whether it is only known when it is known what time it is.
    pub fn is_relative(self) -> bool {
        matches!(self, Self::After(..))
    }

    /// The deadline that a new value gets; `command` is named by the error.
    pub fn resolve(self, now: UnixMillis, command: &'static str) -> Result<Ttl, CommandError> {
        let invalid = CommandError::InvalidExpire(command);
        let (unit, text) = match self {
            Self::Unsaid | Self::Persist => return Ok(Ttl::Clear),
            Self::Keep => return Ok(Ttl::Keep),
            Self::After(unit, text) | Self::At(unit, text) => (unit, text),
        };
        let amount = parse_i64(text).ok_or(CommandError::NotAnInteger)?;
        let factor = if unit == Unit::Seconds { 1000 } else { 1 };
        let base = if self.is_relative() { now.0 as i64 } else { 0 };
        let deadline = amount.checked_mul(factor).and_then(|millis| millis.checked_add(base));
        match deadline {
            Some(deadline) if amount > 0 => Ok(Ttl::At(UnixMillis(deadline as u64))),
            _ => Err(invalid),
        }
    }

    fn same_option(self, other: Self) -> bool {
        match (self, other) {
            (Self::After(ours, _), Self::After(theirs, _)) | (Self::At(ours, _), Self::At(theirs, _)) => {
                ours == theirs
            }
            (ours, theirs) => ours == theirs,
        }
    }
}

/// Who reads the options: not all take all.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Reader {
    Set,
    GetEx,
    MSetEx,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Options<'a> {
    pub condition: Condition<'a>,
    pub get: bool,
    pub expiry: Expiry<'a>,
}

impl<'a> Options<'a> {
    pub fn parse(mut args: Args<'a>, reader: Reader) -> Result<Self, CommandError> {
        let mut options = Self { condition: Condition::Always, get: false, expiry: Expiry::Unsaid };
        let (set, writes) = (reader == Reader::Set, reader != Reader::GetEx);
        while args.remaining() > 0 {
            if writes && args.option("NX") {
                options.condition(Condition::Absent)?;
            } else if writes && args.option("XX") {
                options.condition(Condition::Present)?;
            } else if set && args.option("GET") {
                options.get = true;
            } else if set && args.option("IFEQ") {
                options.condition(Condition::Equals(args.bytes()?))?;
            } else if set && args.option("IFNE") {
                options.condition(Condition::Differs(args.bytes()?))?;
            } else if set && args.option("IFDEQ") {
                options.condition(Condition::DigestEquals(args.bytes()?))?;
            } else if set && args.option("IFDNE") {
                options.condition(Condition::DigestDiffers(args.bytes()?))?;
            } else if writes && args.option("KEEPTTL") {
                options.expiry(Expiry::Keep)?;
            } else if !writes && args.option("PERSIST") {
                options.expiry(Expiry::Persist)?;
            } else if args.option("EX") {
                options.expiry(Expiry::After(Unit::Seconds, args.bytes()?))?;
            } else if args.option("PX") {
                options.expiry(Expiry::After(Unit::Milliseconds, args.bytes()?))?;
            } else if args.option("EXAT") {
                options.expiry(Expiry::At(Unit::Seconds, args.bytes()?))?;
            } else if args.option("PXAT") {
                options.expiry(Expiry::At(Unit::Milliseconds, args.bytes()?))?;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(options)
    }

    /// A condition may be repeated, and the last one counts, but no two conditions combined.
    fn condition(&mut self, condition: Condition<'a>) -> Result<(), CommandError> {
        if self.condition != Condition::Always && discriminant(&self.condition) != discriminant(&condition) {
            return Err(CommandError::Syntax);
        }
        self.condition = condition;
        Ok(())
    }

    /// The same option may be repeated, and the last one counts.
    fn expiry(&mut self, expiry: Expiry<'a>) -> Result<(), CommandError> {
        if self.expiry != Expiry::Unsaid && !self.expiry.same_option(expiry) {
            return Err(CommandError::Syntax);
        }
        self.expiry = expiry;
        Ok(())
    }
}
