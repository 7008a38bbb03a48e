//! Deadlines of single fields: what their commands read, what they do to a field, and how they tell of it.

use crate::base::UnixMillis;
use crate::base::number::parse_i64;
use crate::command_table::{Arg, Args};
use crate::shard::{CommandError, Context, Event};
use crate::types::{EncodingLimits, Hash};

/// Redis keeps deadlines of fields in 46 bits.
const DEADLINE_MAX: i64 = 0x0000_ffff_ffff_ffff >> 2;

const MISSING_FIELDS: CommandError =
    CommandError::Text("ERR Mandatory argument FIELDS is missing or not at the right position");

const WRONG_NUMBER: CommandError =
    CommandError::Text("ERR The `numfields` parameter must match the number of arguments");

pub(super) const NOT_GREATER: &str = "ERR Parameter `numFields` should be greater than 0";

pub(super) const NOT_POSITIVE: &str = "ERR Number of fields must be a positive integer";

pub(super) const FIELDS: Arg =
    Arg::block("fields", &[Arg::integer("numfields"), Arg::string("field").multiple()]).after("FIELDS");

/// `FIELDS numfields field …` to the end.
pub(super) fn fields<'a>(args: &mut Args<'a>, bad_number: &'static str) -> Result<Args<'a>, CommandError> {
    if !args.option("FIELDS") {
        return Err(MISSING_FIELDS);
    }
    let number = args.next().and_then(parse_i64).filter(|number| *number > 0);
    let number = number.ok_or(CommandError::Text(bad_number))?;
    if number != args.remaining() as i64 {
        return Err(WRONG_NUMBER);
    }
    Ok(*args)
}

/// How a time is given: from now on or since 1970, in units of so many milliseconds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Time {
    After(i64),
    At(i64),
}

impl Time {
    pub fn parse(
        self,
        text: &[u8],
        now: UnixMillis,
        command: &'static str,
    ) -> Result<UnixMillis, CommandError> {
        let amount = parse_i64(text).ok_or(CommandError::NotAnInteger)?;
        if amount < 0 {
            return Err(CommandError::Text("ERR invalid expire time, must be >= 0"));
        }
        let (unit, base) = match self {
            Self::After(unit) => (unit, now.0 as i64),
            Self::At(unit) => (unit, 0),
        };
        let deadline = amount.checked_mul(unit).and_then(|millis| millis.checked_add(base));
        match deadline {
            Some(deadline) if deadline <= DEADLINE_MAX => Ok(UnixMillis(deadline as u64)),
            _ => Err(CommandError::InvalidExpire(command)),
        }
    }
}

/// Which present deadlines may be replaced.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Condition {
    Always,
    Absent,
    Present,
    Greater,
    Less,
}

impl Condition {
    pub fn named(word: &[u8]) -> Option<Self> {
        let conditions =
            [("NX", Self::Absent), ("XX", Self::Present), ("GT", Self::Greater), ("LT", Self::Less)];
        let found = conditions.into_iter().find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes()));
        found.map(|(_, condition)| condition)
    }

    /// No deadline counts as an infinite one.
    fn allows(self, old: Option<UnixMillis>, new: UnixMillis) -> bool {
        match self {
            Self::Always => true,
            Self::Absent => old.is_none(),
            Self::Present => old.is_some(),
            Self::Greater => old.is_some_and(|old| new > old),
            Self::Less => old.is_none_or(|old| new < old),
        }
    }
}

/// What became of a field, as the replies tell it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Outcome {
    NoField = -2,
    NotAllowed = 0,
    Set = 1,
    /// The deadline is over already.
    Deleted = 2,
}

pub(super) fn set_deadline(
    hash: &mut Hash,
    field: &[u8],
    deadline: UnixMillis,
    condition: Condition,
    now: UnixMillis,
    limits: &EncodingLimits,
) -> Outcome {
    if !hash.at(now).contains(field) {
        Outcome::NoField
    } else if !condition.allows(hash.deadline(field), deadline) {
        Outcome::NotAllowed
    } else if deadline <= now {
        hash.remove(field);
        Outcome::Deleted
    } else {
        hash.set_deadline(field, deadline, limits);
        Outcome::Set
    }
}

/// Tells what happened to a hash, and that it is gone if it is.
pub(super) fn tell(ctx: &mut Context<'_>, key: &[u8], events: &[(bool, Event)], emptied: bool) {
    let mut happened = events.iter().filter(|(happened, _)| *happened).map(|(_, event)| *event);
    if let Some(first) = happened.next() {
        ctx.modified(key, first);
    }
    happened.for_each(|event| ctx.announce(key, event));
    if emptied {
        ctx.announce(key, Event::Del);
    }
}

/// Fields that something has happened to, for the journal.
#[derive(Default)]
pub(super) struct Happened<'a> {
    set: Vec<&'a [u8]>,
    pub deleted: Vec<&'a [u8]>,
    pub persisted: Vec<&'a [u8]>,
}

impl<'a> Happened<'a> {
    pub fn note(&mut self, outcome: Outcome, field: &'a [u8]) {
        match outcome {
            Outcome::Set => self.set.push(field),
            Outcome::Deleted => self.deleted.push(field),
            Outcome::NoField | Outcome::NotAllowed => {}
        }
    }

    /// Tells what has happened, and journals it, deadlines as times.
    pub fn tell(self, ctx: &mut Context<'_>, key: &[u8], deadline: Option<UnixMillis>, emptied: bool) {
        let Self { set, deleted, persisted } = self;
        let events = [
            (!set.is_empty(), Event::HExpire),
            (!deleted.is_empty(), Event::HDel),
            (!persisted.is_empty(), Event::HPersist),
        ];
        tell(ctx, key, &events, emptied);
        if !ctx.journals() {
            return;
        }
        let (mut digits, mut number) = (itoa::Buffer::new(), itoa::Buffer::new());
        if let (false, Some(deadline)) = (set.is_empty(), deadline) {
            let at = digits.format(deadline.0).as_bytes();
            let head = [b"HPEXPIREAT", key, at, b"FIELDS", number.format(set.len()).as_bytes()];
            ctx.propagate(&head.into_iter().chain(set).collect::<Vec<&[u8]>>());
        }
        if !deleted.is_empty() {
            ctx.propagate(&[b"HDEL", key].into_iter().chain(deleted).collect::<Vec<&[u8]>>());
        }
        if !persisted.is_empty() {
            let head = [b"HPERSIST", key, b"FIELDS", number.format(persisted.len()).as_bytes()];
            ctx.propagate(&head.into_iter().chain(persisted).collect::<Vec<&[u8]>>());
        }
    }
}
