//! Some members of a sorted set: at random (ZRANDMEMBER), or a few with each call (ZSCAN).

use super::collection_random::{random_count, refuse_endless};
use super::collection_scan::{ScanOptions, parse_cursor, write_cursor};
use super::zset::{MembersReply, read_zset};
use crate::base::double;
use crate::command_table::{
    Access, Arg, Args, Arity, CommandSpec, DEFAULTS, Flag, Flags, Group, Handler, KeySpec, Kind,
};
use crate::resp::Reply;
use crate::shard::{CommandError, CommandResult, Context};
use crate::types::Encoding;
use std::collections::HashSet;
use std::ops::ControlFlow;

pub(super) const COMMANDS: &[&CommandSpec] = &[&ZRANDMEMBER, &ZSCAN];

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
    if args.remaining() == 0 {
        return one_at_random(ctx, key, reply);
    }
    let count = random_count(&mut args)?;
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
        write_cursor(reply, 0);
        reply.array(0);
        return Ok(());
    };
    let options = ScanOptions::parse(args, false)?;
    let mut encoded = Vec::new();
    let mut members = Reply::new(&mut encoded, reply.protocol());
    let mut found = 0;
    // Redis shows the scores of a packed set as they are stored.
    let packed = set.encoding() == Encoding::Listpack;
    let mut text = Vec::with_capacity(32);
    let next = set.scan(cursor, options.count, |member, score| {
        if !options.matches(member) {
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
    write_cursor(reply, next);
    reply.array(found);
    reply.raw(&encoded);
    Ok(())
}
