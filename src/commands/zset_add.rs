//! Members and scores of sorted sets as they come and change: ZADD, ZINCRBY.

use crate::base::double;
use crate::command_table::{
    Access, Arg, Args, Arity, CommandSpec, DEFAULTS, Flag, Flags, Group, Handler, KeySpec, Kind,
};
use crate::resp::Reply;
use crate::shard::{CommandError, CommandResult, Context, Event};
use crate::types::{SortedSet, Update};

pub(super) const COMMANDS: &[&CommandSpec] = &[&ZADD, &ZINCRBY];

const ZADD: CommandSpec = CommandSpec {
    name: "ZADD",
    full_name: "zadd",
    arity: Arity::AtLeast(4),
    flags: Flags::of(&[Flag::Write, Flag::DenyOom, Flag::Fast]),
    group: Group::SortedSet,
    keys: &[KeySpec::at(1, Access::Update, &["update"])],
    since: "1.2.0",
    complexity: "O(log(N)) for each member, where N is the size of the sorted set.",
    summary: "Adds members to a sorted set, or changes their scores.",
    args: &[
        Arg::key("key"),
        Arg::one_of("condition", &[Arg::token("nx", "NX"), Arg::token("xx", "XX")]).optional().since("3.0.2"),
        Arg::one_of("comparison", &[Arg::token("gt", "GT"), Arg::token("lt", "LT")])
            .optional()
            .since("6.2.0"),
        Arg::token("change", "CH").optional().since("3.0.2"),
        Arg::token("increment", "INCR").optional().since("3.0.2"),
        Arg::block("score_member", &[Arg::new("score", Kind::Double), Arg::string("member")]).multiple(),
    ],
    handler: Handler::Shard(zadd),
    ..DEFAULTS
};

#[derive(Clone, Copy, Default)]
pub(super) struct AddOptions {
    pub only_new: bool,
    pub only_old: bool,
    greater: bool,
    less: bool,
    pub changed: bool,
    increment: bool,
}

impl AddOptions {
    fn parse(args: &mut Args<'_>) -> Self {
        let mut options = Self::default();
        loop {
            let option = if args.option("NX") {
                &mut options.only_new
            } else if args.option("XX") {
                &mut options.only_old
            } else if args.option("CH") {
                &mut options.changed
            } else if args.option("INCR") {
                &mut options.increment
            } else if args.option("GT") {
                &mut options.greater
            } else if args.option("LT") {
                &mut options.less
            } else {
                return options;
            };
            *option = true;
        }
    }

    fn check(self, words: usize) -> Result<(), CommandError> {
        if words == 0 || !words.is_multiple_of(2) {
            return Err(CommandError::Syntax);
        }
        let text = if self.only_new && self.only_old {
            "ERR XX and NX options at the same time are not compatible"
        } else if u8::from(self.greater) + u8::from(self.less) + u8::from(self.only_new) > 1 {
            "ERR GT, LT, and/or NX options at the same time are not compatible"
        } else if self.increment && words > 2 {
            "ERR INCR option supports a single increment-element pair"
        } else {
            return Ok(());
        };
        Err(CommandError::Text(text))
    }

    /// The score that a member gets, given its present one; `None` leaves it alone.
    #[inline]
    fn verdict(self, old: Option<f64>, given: f64) -> Result<Option<f64>, CommandError> {
        let Some(old) = old else { return Ok((!self.only_old).then_some(given)) };
        if self.only_new {
            return Ok(None);
        }
        let score = if self.increment { old + given } else { given };
        if score.is_nan() {
            return Err(CommandError::Text("ERR resulting score is not a number (NaN)"));
        }
        let refused = self.less && score >= old || self.greater && score <= old;
        Ok((!refused).then_some(score))
    }
}

fn zadd(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let key = args.bytes()?;
    let options = AddOptions::parse(&mut args);
    options.check(args.remaining())?;
    add(ctx, key, options, args, reply)
}

fn add(
    ctx: &mut Context<'_>,
    key: &[u8],
    options: AddOptions,
    mut args: Args<'_>,
    reply: &mut Reply<'_>,
) -> CommandResult {
    // All scores are read before anything changes.
    let mut scores = args;
    let first = score(scores.bytes()?)?;
    scores.next();
    while let Some(text) = scores.next() {
        score(text)?;
        scores.next();
    }

    args.next();
    let mut next = Some(first);
    let pairs = std::iter::from_fn(move || {
        let given = next?;
        let member = args.next()?;
        // The first score has been read; the others are read again.
        next = args.next().map(|text| score(text).expect("read above"));
        Some((given, member))
    });
    add_all(ctx, key, options, pairs, reply)
}

/// Gives members their scores, as far as the options allow.
pub(super) fn add_all<'a>(
    ctx: &mut Context<'_>,
    key: &[u8],
    options: AddOptions,
    mut pairs: impl Iterator<Item = (f64, &'a [u8])>,
    reply: &mut Reply<'_>,
) -> CommandResult {
    let mut last = Update { old: None, new: None };
    let (mut added, mut updated) = (0, 0);
    let done = ctx.update(key, !options.only_old, |set: &mut SortedSet, limits| {
        pairs.try_for_each(|(given, member)| {
            last = set.update(member, limits, |old| options.verdict(old, given))?;
            if let Some(new) = last.new {
                added += i64::from(last.old.is_none());
                updated += i64::from(last.old.is_some_and(|old| old != new));
            }
            Ok::<_, CommandError>(())
        })
    })?;
    done.map_or(Ok(()), |done| done.result)?;
    if added + updated > 0 {
        ctx.modified(key, if options.increment { Event::ZIncr } else { Event::ZAdd });
        ctx.shard.effects.add_dirty((added + updated - 1) as u64);
    }
    if options.increment {
        match last.new {
            Some(score) => reply.double(score),
            None => reply.null(),
        }
    } else {
        reply.integer(if options.changed { added + updated } else { added });
    }
    Ok(())
}

#[inline]
fn score(text: &[u8]) -> Result<f64, CommandError> {
    match crate::base::number::parse_i64(text) {
        // Beyond this an integer is rounded, and parsing it as a double rounds once.
        Some(value) if value.unsigned_abs() <= 1 << 53 => Ok(value as f64),
        _ => double::parse(text).ok_or(CommandError::NotAFloat),
    }
}

const ZINCRBY: CommandSpec = CommandSpec {
    name: "ZINCRBY",
    full_name: "zincrby",
    arity: Arity::Exactly(4),
    flags: Flags::of(&[Flag::Write, Flag::DenyOom, Flag::Fast]),
    group: Group::SortedSet,
    keys: &[KeySpec::at(1, Access::Update, &["access", "update"])],
    since: "1.2.0",
    complexity: "O(log(N)) where N is the size of the sorted set.",
    summary: "Adds to the score of a member, which is added with it if it is missing.",
    args: &[Arg::key("key"), Arg::integer("increment"), Arg::string("member")],
    handler: Handler::Shard(zincrby),
    ..DEFAULTS
};

fn zincrby(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let key = args.bytes()?;
    add(ctx, key, AddOptions { increment: true, ..AddOptions::default() }, args, reply)
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::check;

    #[test]
    fn adding() {
        check(
            r#"
            > ZADD z 1 a 2 b
            :2
            > ZADD z CH 1 a 3 b 4 c
            :2
            > ZADD z NX 9 a 5 d
            :1
            > ZADD z XX CH 9 a 5 e
            :1
            > ZADD z GT CH 1 a 10 b
            :1
            > ZADD z LT CH 1 a 20 b
            :1
            > ZADD z INCR 5 a
            $6
            > ZADD z NX INCR 5 a
            nil
            > ZADD z XX INCR 5 none
            nil
            > ZINCRBY z 2.5 a
            $8.5
            > ZADD z INCR inf a
            $inf
            > ZADD z INCR -inf a
            -ERR resulting score is not a number (NaN)
            > ZADD z NX XX 1 a
            -ERR XX and NX options at the same time are not compatible
            > ZADD z GT LT 1 a
            -ERR GT, LT, and/or NX options at the same time are not compatible
            > ZADD z GT NX 1 a
            -ERR GT, LT, and/or NX options at the same time are not compatible
            > ZADD z INCR 1 a 2 b
            -ERR INCR option supports a single increment-element pair
            > ZADD z 1
            -ERR wrong number of arguments for 'zadd' command
            > ZADD z 1 a x b
            -ERR value is not a valid float
            > ZADD z nan a
            -ERR value is not a valid float
            > ZADD none XX 1 a
            :0
            > EXISTS none
            :0
            > SET s x
            +OK
            > ZADD s 1 a
            -WRONGTYPE Operation against a key holding the wrong kind of value
            > ZRANGE z 0 -1 WITHSCORES
            [$c, $4, $d, $5, $b, $10, $a, $inf]
            "#,
        );
    }
}
