//! Sorted sets by their members: ZADD, ZREM, ZSCORE, ZRANK and their kin.

use super::hash::refuse_endless;
use super::keys_scan::parse_cursor;
use crate::base::double;
use crate::base::glob::{self, Case};
use crate::command_table::{
    Access, Arg, Args, Arity, CommandSpec, DEFAULTS, Flag, Flags, Group, Handler, KeySpec, Kind,
};
use crate::keyspace::Ttl;
use crate::resp::Reply;
use crate::shard::{CommandError, CommandResult, Context, Event};
use crate::types::{Encoding, SortedSet, Update, Value};
use std::collections::HashSet;
use std::ops::ControlFlow;

pub(super) const COMMANDS: &[&CommandSpec] =
    &[&ZADD, &ZINCRBY, &ZREM, &ZCARD, &ZSCORE, &ZMSCORE, &ZRANK, &ZREVRANK, &ZRANDMEMBER, &ZSCAN];

/// The sorted set of a key, for a command that reads.
pub(super) fn read_zset<'c>(
    ctx: &'c mut Context<'_>,
    key: &[u8],
) -> Result<Option<&'c SortedSet>, CommandError> {
    ctx.read_value(key)
}

/// Changes the sorted set of a key, if there is one; tells as well whether that has emptied it.
pub(super) fn change_zset<R>(
    ctx: &mut Context<'_>,
    key: &[u8],
    change: impl FnOnce(&mut SortedSet) -> R,
) -> Result<Option<(R, bool)>, CommandError> {
    let updated = ctx.update(key, false, |set: &mut SortedSet, _| change(set))?;
    Ok(updated.map(|updated| (updated.result, updated.emptied)))
}

/// Declares a change of a sorted set, and that the key went if nothing was left.
pub(super) fn changed_zset(ctx: &mut Context<'_>, key: &[u8], event: Event, emptied: bool) {
    ctx.modified(key, event);
    if emptied {
        ctx.announce(key, Event::Del);
    }
}

/// Stores a sorted set as the whole value of a key; an empty one deletes the key. Returns its length.
pub(super) fn store_zset(
    ctx: &mut Context<'_>,
    key: &[u8],
    members: Vec<(Vec<u8>, f64)>,
    event: Event,
) -> usize {
    let len = members.len();
    if len == 0 {
        let lazily = ctx.shard.options.lazy_server_del;
        if ctx.remove(key, lazily) {
            ctx.modified(key, Event::Del);
        }
        return 0;
    }
    let set = SortedSet::from_members(members, &ctx.shard.options.encoding);
    // An overwritten value of another kind may be large.
    ctx.remove(key, ctx.shard.options.lazy_server_del);
    ctx.insert(key, Value::SortedSet(set), Ttl::Clear);
    ctx.modified(key, event);
    len
}

/// Members with scores: pairs of their own in RESP3 if `nested`, else in turn.
pub(super) struct MembersReply<'r, 'o> {
    pub reply: &'r mut Reply<'o>,
    pub scores: bool,
    pub nested: bool,
}

impl<'r, 'o> MembersReply<'r, 'o> {
    /// Announces `count` members.
    pub fn begin(reply: &'r mut Reply<'o>, count: usize, scores: bool) -> Self {
        let nested = scores && reply.is_resp3();
        reply.array(if scores && !nested { count * 2 } else { count });
        Self { reply, scores, nested }
    }

    #[inline]
    pub fn member(&mut self, member: &[u8], score: f64) {
        if self.nested {
            self.reply.array(2);
        }
        self.reply.bulk(member);
        if self.scores {
            self.reply.double(score);
        }
    }
}

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

const ZREM: CommandSpec = CommandSpec {
    name: "ZREM",
    full_name: "zrem",
    arity: Arity::AtLeast(3),
    flags: Flags::of(&[Flag::Write, Flag::Fast]),
    group: Group::SortedSet,
    keys: &[KeySpec::at(1, Access::Update, &["delete"])],
    since: "1.2.0",
    complexity: "O(M*log(N)) where N is the size of the sorted set and M the number of members given.",
    summary: "Removes members from a sorted set.",
    args: &[Arg::key("key"), Arg::string("member").multiple()],
    handler: Handler::Shard(zrem),
    ..DEFAULTS
};

fn zrem(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let key = args.bytes()?;
    let removed = change_zset(ctx, key, |set| args.filter(|member| set.remove(member).is_some()).count())?;
    let (count, emptied) = removed.unwrap_or((0, false));
    if count > 0 {
        changed_zset(ctx, key, Event::ZRem, emptied);
        ctx.shard.effects.add_dirty(count as u64 - 1);
    }
    reply.length(count);
    Ok(())
}

const ZCARD: CommandSpec = CommandSpec {
    name: "ZCARD",
    full_name: "zcard",
    arity: Arity::Exactly(2),
    flags: Flags::of(&[Flag::ReadOnly, Flag::Fast]),
    group: Group::SortedSet,
    keys: &[KeySpec::at(1, Access::Read, &[])],
    since: "1.2.0",
    complexity: "O(1).",
    summary: "Returns the number of members.",
    args: &[Arg::key("key")],
    handler: Handler::Shard(zcard),
    ..DEFAULTS
};

fn zcard(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    reply.length(read_zset(ctx, args.bytes()?)?.map_or(0, SortedSet::len));
    Ok(())
}

const ZSCORE: CommandSpec = CommandSpec {
    name: "ZSCORE",
    full_name: "zscore",
    arity: Arity::Exactly(3),
    flags: Flags::of(&[Flag::ReadOnly, Flag::Fast]),
    group: Group::SortedSet,
    keys: &[KeySpec::at(1, Access::Read, &["access"])],
    since: "1.2.0",
    complexity: "O(1).",
    summary: "Returns the score of a member.",
    args: &[Arg::key("key"), Arg::string("member")],
    handler: Handler::Shard(zscore),
    ..DEFAULTS
};

fn zscore(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let set = read_zset(ctx, args.bytes()?)?;
    let member = args.bytes()?;
    match set.and_then(|set| set.score(member)) {
        Some(score) => reply.double(score),
        None => reply.null(),
    }
    Ok(())
}

const ZMSCORE: CommandSpec = CommandSpec {
    name: "ZMSCORE",
    full_name: "zmscore",
    arity: Arity::AtLeast(3),
    flags: Flags::of(&[Flag::ReadOnly, Flag::Fast]),
    group: Group::SortedSet,
    keys: &[KeySpec::at(1, Access::Read, &["access"])],
    since: "6.2.0",
    complexity: "O(N) where N is the number of members given.",
    summary: "Returns the scores of several members.",
    args: &[Arg::key("key"), Arg::string("member").multiple()],
    handler: Handler::Shard(zmscore),
    ..DEFAULTS
};

fn zmscore(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let set = read_zset(ctx, args.bytes()?)?;
    reply.array(args.remaining());
    for member in args {
        match set.and_then(|set| set.score(member)) {
            Some(score) => reply.double(score),
            None => reply.null(),
        }
    }
    Ok(())
}

const ZRANK: CommandSpec = CommandSpec {
    name: "ZRANK",
    full_name: "zrank",
    arity: Arity::AtLeast(3),
    flags: Flags::of(&[Flag::ReadOnly, Flag::Fast]),
    group: Group::SortedSet,
    keys: &[KeySpec::at(1, Access::Read, &["access"])],
    since: "2.0.0",
    complexity: "O(log(N)).",
    summary: "Returns how many members stand before a member.",
    args: &[
        Arg::key("key"),
        Arg::string("member"),
        Arg::token("withscore", "WITHSCORE").optional().since("7.2.0"),
    ],
    handler: Handler::Shard(zrank),
    ..DEFAULTS
};

fn zrank(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    rank(ctx, args, false, "zrank", reply)
}

const ZREVRANK: CommandSpec = CommandSpec {
    name: "ZREVRANK",
    full_name: "zrevrank",
    arity: Arity::AtLeast(3),
    flags: Flags::of(&[Flag::ReadOnly, Flag::Fast]),
    group: Group::SortedSet,
    keys: &[KeySpec::at(1, Access::Read, &["access"])],
    since: "2.0.0",
    complexity: "O(log(N)).",
    summary: "Returns how many members stand after a member.",
    args: &[
        Arg::key("key"),
        Arg::string("member"),
        Arg::token("withscore", "WITHSCORE").optional().since("7.2.0"),
    ],
    handler: Handler::Shard(zrevrank),
    ..DEFAULTS
};

fn zrevrank(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    rank(ctx, args, true, "zrevrank", reply)
}

fn rank(
    ctx: &mut Context<'_>,
    mut args: Args<'_>,
    from_end: bool,
    name: &'static str,
    reply: &mut Reply<'_>,
) -> CommandResult {
    let (key, member) = (args.bytes()?, args.bytes()?);
    if args.remaining() > 1 {
        return Err(CommandError::WrongArity(name));
    }
    let with_score = args.remaining() == 1;
    if with_score && !args.option("WITHSCORE") {
        return Err(CommandError::Syntax);
    }
    let found = read_zset(ctx, key)?.and_then(|set| Some((set.rank(member)?, set.len())));
    let Some(((rank, score), len)) = found else {
        if with_score {
            reply.null_array();
        } else {
            reply.null();
        }
        return Ok(());
    };
    let rank = if from_end { len - 1 - rank } else { rank };
    if with_score {
        reply.array(2);
    }
    reply.length(rank);
    if with_score {
        reply.double(score);
    }
    Ok(())
}

const ZRANDMEMBER: CommandSpec = CommandSpec {
    name: "ZRANDMEMBER",
    full_name: "zrandmember",
    arity: Arity::AtLeast(2),
    flags: Flags::of(&[Flag::ReadOnly]),
    group: Group::SortedSet,
    keys: &[KeySpec::at(1, Access::Read, &["access"])],
    since: "6.2.0",
    complexity: "O(M*log(N)) where M is the number of members returned.",
    summary: "Returns members chosen at random.",
    args: &[
        Arg::key("key"),
        Arg::block("options", &[Arg::integer("count"), Arg::token("withscores", "WITHSCORES").optional()])
            .optional(),
    ],
    tips: &["nondeterministic_output"],
    handler: Handler::Shard(zrandmember),
    ..DEFAULTS
};

fn zrandmember(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let key = args.bytes()?;
    let Some(text) = args.next() else { return one_at_random(ctx, key, reply) };
    let count = crate::base::number::parse_i64(text).ok_or(CommandError::NotAnInteger)?;
    if count == i64::MIN {
        let text = format!("ERR value is out of range, value must between -{0} and {0}", i64::MAX);
        return Err(CommandError::built(text));
    }
    let with_scores = args.remaining() == 1 && args.option("WITHSCORES");
    args.end()?;
    if with_scores && count.unsigned_abs() > i64::MAX as u64 / 2 {
        return Err(CommandError::OutOfRange);
    }
    // The random numbers are drawn from a generator of its own, since the set is borrowed from the shard.
    let mut random = crate::base::random::Random::from_seed(ctx.random());
    let bytes_max = ctx.reply_bytes_max;
    let Some(set) = read_zset(ctx, key)?.filter(|_| count != 0) else {
        reply.array(0);
        return Ok(());
    };
    let len = set.len();
    let wanted = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    if count > 0 && wanted >= len {
        let mut members = MembersReply::begin(reply, len, with_scores);
        // From the end, as in Redis.
        set.visit(0..len, true, |member, score| {
            members.member(member, score);
            ControlFlow::Continue(())
        });
        return Ok(());
    }
    if count < 0 {
        refuse_endless(count, bytes_max)?;
    }
    let mut members = MembersReply::begin(reply, wanted, with_scores);
    let mut emit = |rank: usize| {
        set.visit(rank..rank + 1, false, |member, score| {
            members.member(member, score);
            ControlFlow::Continue(())
        });
        members.reply.bytes() <= bytes_max
    };
    if count < 0 {
        (0..wanted).all(|_| emit(random.index(len)));
        return Ok(());
    }
    // Floyd's way to draw different numbers; then shuffled, since it favours the order.
    let mut chosen = HashSet::with_capacity(wanted);
    let mut ranks = Vec::with_capacity(wanted);
    for top in len - wanted..len {
        let drawn = random.index(top + 1);
        let rank = if chosen.insert(drawn) { drawn } else { top };
        chosen.insert(rank);
        ranks.push(rank);
    }
    for at in (1..ranks.len()).rev() {
        ranks.swap(at, random.index(at + 1));
    }
    ranks.into_iter().all(emit);
    Ok(())
}

fn one_at_random(ctx: &mut Context<'_>, key: &[u8], reply: &mut Reply<'_>) -> CommandResult {
    let mut random = crate::base::random::Random::from_seed(ctx.random());
    let Some(set) = read_zset(ctx, key)? else {
        reply.null();
        return Ok(());
    };
    let rank = random.index(set.len());
    set.visit(rank..rank + 1, false, |member, _| {
        reply.bulk(member);
        ControlFlow::Continue(())
    });
    Ok(())
}

const ZSCAN: CommandSpec = CommandSpec {
    name: "ZSCAN",
    full_name: "zscan",
    arity: Arity::AtLeast(3),
    flags: Flags::of(&[Flag::ReadOnly]),
    group: Group::SortedSet,
    keys: &[KeySpec::at(1, Access::Read, &["access"])],
    since: "2.8.0",
    complexity: "O(1) for each call, O(N) for all members.",
    summary: "Walks through the members of a sorted set, some with each call.",
    args: &[
        Arg::key("key"),
        Arg::integer("cursor"),
        Arg::new("pattern", Kind::Pattern).after("MATCH").optional(),
        Arg::integer("count").after("COUNT").optional(),
    ],
    tips: &["nondeterministic_output"],
    handler: Handler::Shard(zscan),
    ..DEFAULTS
};

fn zscan(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let key = args.bytes()?;
    let cursor = parse_cursor(args.bytes()?)?;
    let Some(set) = read_zset(ctx, key)? else {
        reply.array(2);
        reply.bulk(b"0");
        reply.array(0);
        return Ok(());
    };
    let (mut pattern, mut count) = (None, 10);
    while args.remaining() > 0 {
        if args.remaining() > 1 && args.option("COUNT") {
            count = args.integer()?;
            if count < 1 {
                return Err(CommandError::Syntax);
            }
        } else if args.remaining() > 1 && args.option("MATCH") {
            pattern = Some(args.bytes()?).filter(|pattern| pattern != b"*");
        } else {
            return Err(CommandError::Syntax);
        }
    }
    let mut encoded = Vec::new();
    let mut members = Reply::new(&mut encoded, reply.protocol());
    let mut found = 0;
    // Redis shows the scores of a packed set as they are stored.
    let packed = set.encoding() == Encoding::Listpack;
    let mut text = Vec::with_capacity(32);
    let next = set.scan(cursor, usize::try_from(count).expect("positive"), |member, score| {
        if pattern.is_some_and(|pattern| !glob::matches(pattern, member, Case::Sensitive)) {
            return;
        }
        text.clear();
        if packed {
            double::write_score(score, &mut text);
        } else {
            double::write_g17(score, &mut text);
        }
        members.bulk(member);
        members.bulk(&text);
        found += 2;
    });
    reply.array(2);
    reply.bulk(itoa::Buffer::new().format(next).as_bytes());
    reply.array(found);
    reply.raw(&encoded);
    Ok(())
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

    #[test]
    fn members() {
        check(
            r#"
            > ZADD z 1 a 2 b 3 c 1.5 d
            :4
            > ZCARD z
            :4
            > ZSCORE z d
            $1.5
            > ZSCORE z x
            nil
            > ZMSCORE z a x c
            [$1, nil, $3]
            > ZRANK z d
            :1
            > ZREVRANK z d
            :2
            > ZRANK z x
            nil
            > ZRANK none x
            nil
            > ZREM z a x d
            :2
            > ZREM z b c
            :2
            > EXISTS z
            :0
            > SET s x
            +OK
            > ZCARD s
            -WRONGTYPE Operation against a key holding the wrong kind of value
            > ZREM s x
            -WRONGTYPE Operation against a key holding the wrong kind of value
            > ZSCAN s 0
            -WRONGTYPE Operation against a key holding the wrong kind of value
            > ZSCAN none 0 COUNT x
            [$0, []]
            > ZADD z 1e17 big 0.1 small
            :2
            > ZSCAN z 0
            [$0, [$small, $0.10000000000000001, $big, $100000000000000000]]
            > ZSCAN z 0 MATCH b*
            [$0, [$big, $100000000000000000]]
            > ZSCAN z 0 COUNT 0
            -ERR syntax error
            > ZSCAN z x
            -ERR invalid cursor
            > ZRANDMEMBER none
            nil
            > ZRANDMEMBER none 5
            []
            > ZRANDMEMBER z 5 WITHSCORES
            [$big, $1e+17, $small, $0.10000000000000001]
            > ZRANDMEMBER z 1 x
            -ERR syntax error
            > OBJECT ENCODING z
            $listpack
            "#,
        );
    }
}
