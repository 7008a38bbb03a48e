//! What a range of a sorted set is: bounds by rank, score or name, and which part between them is wanted.

use crate::base::{double, range};
use crate::command_table::Args;
use crate::shard::CommandError;
use crate::types::{LexBound, LexRange, ScoreRange, SortedSet};
use std::ops::{Bound, Range};

/// What the bounds of a range are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum By {
    Rank,
    Score,
    Name,
}

/// What a command has decided before its options are read.
#[derive(Clone, Copy)]
pub(super) struct Form {
    pub by: Option<By>,
    pub backwards: Option<bool>,
    pub stores: bool,
}

/// A range and which part of it is wanted.
#[derive(Clone, Debug)]
pub(super) struct Query {
    pub bounds: Bounds,
    pub backwards: bool,
    pub offset: i64,
    /// Negative for all.
    pub limit: i64,
    pub scores: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Bounds {
    Ranks(i64, i64),
    Scores(ScoreRange),
    Names(LexRange),
}

pub(super) fn parse_scores(low: &[u8], high: &[u8]) -> Result<ScoreRange, CommandError> {
    let bound = |text: &[u8]| {
        let parsed = match text {
            [b'(', rest @ ..] => double::parse_bound(rest).map(Bound::Excluded),
            text => double::parse_bound(text).map(Bound::Included),
        };
        parsed.ok_or(CommandError::Text("ERR min or max is not a float"))
    };
    Ok(ScoreRange { low: bound(low)?, high: bound(high)? })
}

pub(super) fn parse_names(low: &[u8], high: &[u8]) -> Result<LexRange, CommandError> {
    let bound = |text: &[u8]| match text {
        b"-" => Ok(LexBound::Least),
        b"+" => Ok(LexBound::Greatest),
        [b'(', rest @ ..] => Ok(LexBound::Excluded(rest.into())),
        [b'[', rest @ ..] => Ok(LexBound::Included(rest.into())),
        _ => Err(CommandError::Text("ERR min or max not valid string range item")),
    };
    Ok(LexRange { low: bound(low)?, high: bound(high)? })
}

pub(super) fn parse_ranks(start: &[u8], end: &[u8]) -> Result<(i64, i64), CommandError> {
    let number = |text| crate::base::number::parse_i64(text).ok_or(CommandError::NotAnInteger);
    Ok((number(start)?, number(end)?))
}

impl Query {
    pub fn parse(mut args: Args<'_>, form: Form) -> Result<Self, CommandError> {
        let (mut low, mut high) = (args.bytes()?, args.bytes()?);
        let Form { mut by, mut backwards, stores } = form;
        let (mut scores, mut offset, mut limit) = (false, 0, -1);
        while args.remaining() > 0 {
            if !stores && args.option("WITHSCORES") {
                scores = true;
            } else if args.remaining() > 2 && args.option("LIMIT") {
                (offset, limit) = (args.integer()?, args.integer()?);
            } else if backwards.is_none() && args.option("REV") {
                backwards = Some(true);
            } else if by.is_none() && args.option("BYLEX") {
                by = Some(By::Name);
            } else if by.is_none() && args.option("BYSCORE") {
                by = Some(By::Score);
            } else {
                return Err(CommandError::Syntax);
            }
        }
        let (by, backwards) = (by.unwrap_or(By::Rank), backwards.unwrap_or(false));
        if limit != -1 && by == By::Rank {
            return Err(CommandError::Text(
                "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
            ));
        }
        if scores && by == By::Name {
            return Err(CommandError::Text(
                "ERR syntax error, WITHSCORES not supported in combination with BYLEX",
            ));
        }
        if backwards && by != By::Rank {
            (low, high) = (high, low);
        }
        let bounds = match by {
            By::Rank => parse_ranks(low, high).map(|(start, end)| Bounds::Ranks(start, end))?,
            By::Score => Bounds::Scores(parse_scores(low, high)?),
            By::Name => Bounds::Names(parse_names(low, high)?),
        };
        Ok(Self { bounds, backwards, offset, limit, scores })
    }

    /// The ranks, in the order of the set, that answer this.
    pub fn ranks(&self, set: &SortedSet) -> Range<usize> {
        let found = match &self.bounds {
            Bounds::Ranks(start, end) => {
                let len = set.len();
                let range = range::resolve(*start, *end, len);
                return if self.backwards { len - range.end..len - range.start } else { range };
            }
            Bounds::Scores(scores) => set.ranks_of_scores(scores),
            Bounds::Names(names) => set.ranks_of_names(names),
        };
        // An offset that never comes down to zero passes over everything.
        let offset = usize::try_from(self.offset).unwrap_or(usize::MAX).min(found.len());
        let count = usize::try_from(self.limit).unwrap_or(usize::MAX).min(found.len() - offset);
        if self.backwards {
            found.end - offset - count..found.end - offset
        } else {
            found.start + offset..found.start + offset + count
        }
    }
}
