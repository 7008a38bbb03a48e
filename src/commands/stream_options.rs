//! What the commands of streams have in common: ids and intervals, the options of XADD and XTRIM, entries in replies.

use crate::base::number::parse_i64;
use crate::command_table::Arg;
use crate::command_table::{Args, Kind};
use crate::resp::{Argv, Reply};
use crate::shard::CommandError;
use crate::types::StreamId;
use crate::types::stream::{Bound, EntryRef, IdBuffer, References, Seq, Trim};

pub(super) const INVALID_ID: CommandError =
    CommandError::Text("ERR Invalid stream ID specified as stream command argument");
const INVALID_START: CommandError = CommandError::Text("ERR invalid start ID for the interval");
const INVALID_END: CommandError = CommandError::Text("ERR invalid end ID for the interval");

/// An id as such; a missing number is 0.
pub(super) fn strict_id(text: &[u8]) -> Result<StreamId, CommandError> {
    StreamId::parse(text).and_then(|parsed| parsed.complete(0)).ok_or(INVALID_ID)
}

/// An id, or `-` or `+` for the first and the last there can be.
pub(super) fn loose_id(text: &[u8], missing: u64) -> Result<StreamId, CommandError> {
    match text {
        b"-" => Ok(StreamId::MIN),
        b"+" => Ok(StreamId::MAX),
        _ => StreamId::parse(text).and_then(|parsed| parsed.complete(missing)).ok_or(INVALID_ID),
    }
}

/// One end of an interval, and whether it is outside of it.
fn interval_end(text: &[u8], missing: u64) -> Result<(StreamId, bool), CommandError> {
    match text {
        [b'(', rest @ ..] if !rest.is_empty() => {
            let id = StreamId::parse(rest).and_then(|parsed| parsed.complete(missing));
            Ok((id.ok_or(INVALID_ID)?, true))
        }
        _ => Ok((loose_id(text, missing)?, false)),
    }
}

pub(super) fn interval_start(text: &[u8]) -> Result<StreamId, CommandError> {
    match interval_end(text, 0)? {
        (id, true) => id.next().ok_or(INVALID_START),
        (id, false) => Ok(id),
    }
}

pub(super) fn interval_stop(text: &[u8]) -> Result<StreamId, CommandError> {
    match interval_end(text, u64::MAX)? {
        (id, true) => id.previous().ok_or(INVALID_END),
        (id, false) => Ok(id),
    }
}

pub(super) fn integer(text: &[u8]) -> Result<i64, CommandError> {
    parse_i64(text).ok_or(CommandError::NotAnInteger)
}

/// All arguments from one on, as ids.
pub(super) fn ids(argv: Argv<'_>, first: usize) -> Result<Vec<StreamId>, CommandError> {
    argv.iter().skip(first).map(strict_id).collect()
}

// -- Replies

pub(super) fn write_id(id: StreamId, reply: &mut Reply<'_>) {
    reply.bulk(id.write(&mut IdBuffer::new()));
}

/// An id and the array of names and values.
pub(super) fn write_entry(entry: &EntryRef<'_>, reply: &mut Reply<'_>) {
    reply.array(2);
    write_id(entry.id, reply);
    reply.array(entry.len() * 2);
    let mut digits = itoa::Buffer::new();
    for (name, value) in entry.fields() {
        reply.bulk(name.as_bytes(&mut digits));
        reply.bulk(value.as_bytes(&mut digits));
    }
}

/// `None` where nothing can be said.
pub(super) fn write_count(count: Option<i64>, reply: &mut Reply<'_>) {
    match count {
        Some(count) => reply.integer(count),
        None => reply.null(),
    }
}

// -- Deleting

/// KEEPREF, DELREF or ACKED, if the next argument is one of them.
pub(super) fn references(word: &[u8]) -> Option<References> {
    let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
    match () {
        _ if is(b"KEEPREF") => Some(References::Keep),
        _ if is(b"DELREF") => Some(References::Delete),
        _ if is(b"ACKED") => Some(References::Acked),
        _ => None,
    }
}

pub(super) const REFERENCES: Arg = Arg::one_of(
    "condition",
    &[Arg::token("keepref", "KEEPREF"), Arg::token("delref", "DELREF"), Arg::token("acked", "ACKED")],
)
.optional()
.since("8.2.0");

pub(super) const TRIM: Arg = Arg::block(
    "trim",
    &[
        Arg::one_of(
            "strategy",
            &[Arg::token("maxlen", "MAXLEN"), Arg::token("minid", "MINID").since("6.2.0")],
        ),
        Arg::one_of("operator", &[Arg::token("equal", "="), Arg::token("approximately", "~")]).optional(),
        Arg::new("threshold", Kind::String),
        Arg::integer("count").after("LIMIT").optional().since("6.2.0"),
    ],
);

/// The options of XADD and XTRIM.
#[derive(Debug, Default)]
pub(super) struct TrimOptions {
    pub trim: Option<Trim>,
    /// What may be said once.
    pub references: Option<References>,
    pub no_mkstream: bool,
}

/// The id that XADD is given.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum NewId {
    /// `*`
    Auto,
    /// `ms-*`
    Time(u64),
    Exact(StreamId),
}

const BOTH_STRATEGIES: CommandError =
    CommandError::Text("ERR syntax error, MAXLEN and MINID options at the same time are not compatible");

/// Reads the options behind the key, and for XADD the id behind them.
#[inline]
pub(super) fn trim_options(
    args: &mut Args<'_>,
    is_xadd: bool,
    node_entries_max: usize,
) -> Result<(TrimOptions, Option<NewId>), CommandError> {
    let mut options = TrimOptions::default();
    let (mut limit, mut id) = (None, None);
    let (mut bound, mut approximate) = (None, false);
    while let Some(word) = args.next() {
        let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
        let more = args.remaining() > 0;
        if is_xadd && word == b"*" {
            id = Some(NewId::Auto);
            break;
        } else if more && (is(b"MAXLEN") || is(b"MINID")) {
            if bound.is_some() {
                return Err(BOTH_STRATEGIES);
            }
            let operator = args.peek().filter(|word| args.remaining() >= 2 && matches!(*word, b"~" | b"="));
            approximate = operator == Some(b"~");
            if operator.is_some() {
                args.next();
            }
            bound = Some(if is(b"MAXLEN") {
                let length = args.integer()?;
                let negative = CommandError::Text("ERR The MAXLEN argument must be >= 0.");
                Bound::MaxLen(length.try_into().map_err(|_| negative)?)
            } else {
                Bound::MinId(strict_id(args.bytes()?)?)
            });
        } else if more && is(b"LIMIT") {
            let count = args.integer()?;
            let negative = CommandError::Text("ERR The LIMIT argument must be >= 0.");
            limit = Some(u64::try_from(count).map_err(|_| negative)?);
        } else if is_xadd && is(b"NOMKSTREAM") {
            options.no_mkstream = true;
        } else if let (None, Some(references)) = (options.references, references(word)) {
            options.references = Some(references);
        } else if is_xadd {
            id = Some(new_id(word)?);
            break;
        } else {
            return Err(CommandError::Syntax);
        }
    }
    let Some(bound) = bound else {
        return match limit {
            Some(1..) => Err(CommandError::Text(
                "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy",
            )),
            _ if !is_xadd => {
                Err(CommandError::Text("ERR syntax error, XTRIM must be called with a trimming strategy"))
            }
            // A LIMIT of 0 is refused for want of a `~`.
            Some(0) => Err(LIMIT_WITHOUT_TILDE),
            None => Ok((options, id)),
        };
    };
    let limit = match limit {
        Some(_) if !approximate => return Err(LIMIT_WITHOUT_TILDE),
        Some(limit) => limit,
        // So that no trim takes too long: what a hundred nodes hold.
        None if approximate => match node_entries_max as u64 {
            0 => 10_000,
            entries => entries.saturating_mul(100).min(1_000_000),
        },
        None => 0,
    };
    options.trim = Some(Trim { bound, approximate, limit });
    Ok((options, id))
}

const LIMIT_WITHOUT_TILDE: CommandError =
    CommandError::Text("ERR syntax error, LIMIT cannot be used without the special ~ option");

fn new_id(text: &[u8]) -> Result<NewId, CommandError> {
    let parsed = StreamId::parse(text).ok_or(INVALID_ID)?;
    Ok(match parsed.seq {
        Seq::Auto => NewId::Time(parsed.ms),
        Seq::Given(seq) => NewId::Exact(StreamId::new(parsed.ms, seq)),
        Seq::Missing => NewId::Exact(StreamId::new(parsed.ms, 0)),
    })
}
