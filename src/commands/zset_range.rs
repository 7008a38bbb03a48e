//! Sorted sets by ranges of ranks, scores and names: ZRANGE and its older forms, ZRANGESTORE, ZCOUNT, ZREMRANGEBY….

use super::hops::refuse;
use super::read_then_write::{Next, ReadThenWrite, fail, integer};
use super::zset::{MembersReply, change_zset, changed_zset, read_zset, store_zset};
use super::zset_query::{By, Form, Query, parse_names, parse_scores};
use crate::command_table::{
    Access, Arg, Args, Arity, CommandSpec, DEFAULTS, Flag, Flags, Group, Handler, KeySpec, Kind, Plan,
};
use crate::resp::{Argv, Reply};
use crate::shard::{CommandError, CommandResult, Context, Event};
use std::ops::ControlFlow;

pub(super) const COMMANDS: &[&CommandSpec] = &[
    &ZRANGE,
    &ZRANGESTORE,
    &ZREVRANGE,
    &ZRANGEBYSCORE,
    &ZREVRANGEBYSCORE,
    &ZRANGEBYLEX,
    &ZREVRANGEBYLEX,
    &ZCOUNT,
    &ZLEXCOUNT,
    &ZREMRANGEBYRANK,
    &ZREMRANGEBYSCORE,
    &ZREMRANGEBYLEX,
];

fn answer(ctx: &mut Context<'_>, mut args: Args<'_>, form: Form, reply: &mut Reply<'_>) -> CommandResult {
    let key = args.bytes()?;
    let query = Query::parse(args, form)?;
    let Some(set) = read_zset(ctx, key)? else {
        reply.array(0);
        return Ok(());
    };
    let ranks = query.ranks(set);
    let mut members = MembersReply::begin(reply, ranks.len(), query.scores);
    set.visit(ranks, query.backwards, |member, score| {
        members.member(member, score);
        ControlFlow::Continue(())
    });
    Ok(())
}

const ZRANGE: CommandSpec = CommandSpec {
    name: "ZRANGE",
    full_name: "zrange",
    arity: Arity::AtLeast(4),
    flags: Flags::of(&[Flag::ReadOnly]),
    group: Group::SortedSet,
    keys: &[KeySpec::at(1, Access::Read, &["access"])],
    since: "1.2.0",
    complexity: "O(log(N)+M) where M is the number of members returned.",
    summary: "Returns the members within a range of ranks, scores or names.",
    args: &[
        Arg::key("key"),
        Arg::string("start"),
        Arg::string("stop"),
        Arg::one_of("sortby", &[Arg::token("byscore", "BYSCORE"), Arg::token("bylex", "BYLEX")])
            .optional()
            .since("6.2.0"),
        Arg::token("rev", "REV").optional().since("6.2.0"),
        Arg::block("offset_count", &[Arg::integer("offset"), Arg::integer("count")])
            .after("LIMIT")
            .optional()
            .since("6.2.0"),
        Arg::token("withscores", "WITHSCORES").optional(),
    ],
    handler: Handler::Shard(zrange),
    ..DEFAULTS
};

fn zrange(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    answer(ctx, args, Form { by: None, backwards: None, stores: false }, reply)
}

const ZREVRANGE: CommandSpec = CommandSpec {
    name: "ZREVRANGE",
    full_name: "zrevrange",
    arity: Arity::AtLeast(4),
    flags: Flags::of(&[Flag::ReadOnly]),
    group: Group::SortedSet,
    keys: &[KeySpec::at(1, Access::Read, &["access"])],
    since: "1.2.0",
    complexity: "O(log(N)+M) where M is the number of members returned.",
    summary: "Returns the members within a range of ranks that count from the end.",
    args: &[
        Arg::key("key"),
        Arg::integer("start"),
        Arg::integer("stop"),
        Arg::token("withscores", "WITHSCORES").optional(),
    ],
    handler: Handler::Shard(zrevrange),
    ..DEFAULTS
};

fn zrevrange(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    answer(ctx, args, Form { by: Some(By::Rank), backwards: Some(true), stores: false }, reply)
}

const ZRANGEBYSCORE: CommandSpec = CommandSpec {
    name: "ZRANGEBYSCORE",
    full_name: "zrangebyscore",
    arity: Arity::AtLeast(4),
    flags: Flags::of(&[Flag::ReadOnly]),
    group: Group::SortedSet,
    keys: &[KeySpec::at(1, Access::Read, &["access"])],
    since: "1.0.5",
    complexity: "O(log(N)+M) where M is the number of members returned.",
    summary: "Returns the members within a range of scores.",
    args: &[
        Arg::key("key"),
        Arg::new("min", Kind::Double),
        Arg::new("max", Kind::Double),
        Arg::token("withscores", "WITHSCORES").optional().since("2.0.0"),
        Arg::block("offset_count", &[Arg::integer("offset"), Arg::integer("count")])
            .after("LIMIT")
            .optional(),
    ],
    handler: Handler::Shard(zrangebyscore),
    ..DEFAULTS
};

fn zrangebyscore(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    answer(ctx, args, Form { by: Some(By::Score), backwards: Some(false), stores: false }, reply)
}

const ZREVRANGEBYSCORE: CommandSpec = CommandSpec {
    name: "ZREVRANGEBYSCORE",
    full_name: "zrevrangebyscore",
    since: "2.2.0",
    summary: "Returns the members within a range of scores, highest first.",
    args: &[
        Arg::key("key"),
        Arg::new("max", Kind::Double),
        Arg::new("min", Kind::Double),
        Arg::token("withscores", "WITHSCORES").optional(),
        Arg::block("offset_count", &[Arg::integer("offset"), Arg::integer("count")])
            .after("LIMIT")
            .optional(),
    ],
    handler: Handler::Shard(zrevrangebyscore),
    ..ZRANGEBYSCORE
};

fn zrevrangebyscore(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    answer(ctx, args, Form { by: Some(By::Score), backwards: Some(true), stores: false }, reply)
}

const ZRANGEBYLEX: CommandSpec = CommandSpec {
    name: "ZRANGEBYLEX",
    full_name: "zrangebylex",
    arity: Arity::AtLeast(4),
    flags: Flags::of(&[Flag::ReadOnly]),
    group: Group::SortedSet,
    keys: &[KeySpec::at(1, Access::Read, &["access"])],
    since: "2.8.9",
    complexity: "O(log(N)+M) where M is the number of members returned.",
    summary: "Returns the members within a range of names, where all scores are equal.",
    args: &[
        Arg::key("key"),
        Arg::string("min"),
        Arg::string("max"),
        Arg::block("offset_count", &[Arg::integer("offset"), Arg::integer("count")])
            .after("LIMIT")
            .optional(),
    ],
    handler: Handler::Shard(zrangebylex),
    ..DEFAULTS
};

fn zrangebylex(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    answer(ctx, args, Form { by: Some(By::Name), backwards: Some(false), stores: false }, reply)
}

const ZREVRANGEBYLEX: CommandSpec = CommandSpec {
    name: "ZREVRANGEBYLEX",
    full_name: "zrevrangebylex",
    summary: "Returns the members within a range of names, last first, where all scores are equal.",
    args: &[
        Arg::key("key"),
        Arg::string("max"),
        Arg::string("min"),
        Arg::block("offset_count", &[Arg::integer("offset"), Arg::integer("count")])
            .after("LIMIT")
            .optional(),
    ],
    handler: Handler::Shard(zrevrangebylex),
    ..ZRANGEBYLEX
};

fn zrevrangebylex(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    answer(ctx, args, Form { by: Some(By::Name), backwards: Some(true), stores: false }, reply)
}

const ZRANGESTORE: CommandSpec = CommandSpec {
    name: "ZRANGESTORE",
    full_name: "zrangestore",
    arity: Arity::AtLeast(5),
    flags: Flags::of(&[Flag::Write, Flag::DenyOom]),
    group: Group::SortedSet,
    keys: &[KeySpec::at(1, Access::Overwrite, &["update"]), KeySpec::at(2, Access::Read, &["access"])],
    since: "6.2.0",
    complexity: "O(log(N)+M) where M is the number of members stored.",
    summary: "Stores the members within a range at another key.",
    args: &[
        Arg::key("dst"),
        Arg::new("src", Kind::Key(1)),
        Arg::string("min"),
        Arg::string("max"),
        Arg::one_of("sortby", &[Arg::token("byscore", "BYSCORE"), Arg::token("bylex", "BYLEX")]).optional(),
        Arg::token("rev", "REV").optional(),
        Arg::block("offset_count", &[Arg::integer("offset"), Arg::integer("count")])
            .after("LIMIT")
            .optional(),
    ],
    handler: Handler::Transaction { run: zrangestore, plan: plan_zrangestore },
    ..DEFAULTS
};

const STORES: Form = Form { by: None, backwards: None, stores: true };

fn take_range(ctx: &mut Context<'_>, key: &[u8], query: &Query) -> Result<Vec<(Vec<u8>, f64)>, CommandError> {
    let mut members = Vec::new();
    if let Some(set) = read_zset(ctx, key)? {
        set.visit(query.ranks(set), query.backwards, |member, score| {
            members.push((member.to_vec(), score));
            ControlFlow::Continue(())
        });
    }
    Ok(members)
}

fn zrangestore(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (to, from) = (args.bytes()?, args.bytes()?);
    let query = Query::parse(args, STORES)?;
    let members = take_range(ctx, from, &query)?;
    reply.length(store_zset(ctx, to, members, Event::ZRangeStore));
    Ok(())
}

fn plan_zrangestore(argv: Argv<'_>) -> Box<dyn Plan> {
    let (to, from): (Box<[u8]>, Box<[u8]>) = (argv[1].into(), argv[2].into());
    let query = match Query::parse(Args::new(argv, 3), STORES) {
        Ok(query) => query,
        Err(error) => return refuse(error),
    };
    ReadThenWrite::plan(
        vec![from],
        move |ctx, key| take_range(ctx, key, &query),
        |mut read| match read.pop().expect("one key is read") {
            Err(error) => Next::Answer(fail(error)),
            Ok(members) => Next::At {
                key: to.clone(),
                run: Box::new(move |ctx| integer(store_zset(ctx, &to, members, Event::ZRangeStore) as i64)),
            },
        },
    )
}

const ZCOUNT: CommandSpec = CommandSpec {
    name: "ZCOUNT",
    full_name: "zcount",
    arity: Arity::Exactly(4),
    flags: Flags::of(&[Flag::ReadOnly, Flag::Fast]),
    group: Group::SortedSet,
    keys: &[KeySpec::at(1, Access::Read, &["access"])],
    since: "2.0.0",
    complexity: "O(log(N)).",
    summary: "Counts the members within a range of scores.",
    args: &[Arg::key("key"), Arg::new("min", Kind::Double), Arg::new("max", Kind::Double)],
    handler: Handler::Shard(zcount),
    ..DEFAULTS
};

fn zcount(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let key = args.bytes()?;
    let scores = parse_scores(args.bytes()?, args.bytes()?)?;
    reply.length(read_zset(ctx, key)?.map_or(0, |set| set.ranks_of_scores(&scores).len()));
    Ok(())
}

const ZLEXCOUNT: CommandSpec = CommandSpec {
    name: "ZLEXCOUNT",
    full_name: "zlexcount",
    since: "2.8.9",
    summary: "Counts the members within a range of names, where all scores are equal.",
    args: &[Arg::key("key"), Arg::string("min"), Arg::string("max")],
    handler: Handler::Shard(zlexcount),
    ..ZCOUNT
};

fn zlexcount(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let key = args.bytes()?;
    let names = parse_names(args.bytes()?, args.bytes()?)?;
    reply.length(read_zset(ctx, key)?.map_or(0, |set| set.ranks_of_names(&names).len()));
    Ok(())
}

const ZREMRANGEBYRANK: CommandSpec = CommandSpec {
    name: "ZREMRANGEBYRANK",
    full_name: "zremrangebyrank",
    arity: Arity::Exactly(4),
    flags: Flags::of(&[Flag::Write]),
    group: Group::SortedSet,
    keys: &[KeySpec::at(1, Access::Update, &["delete"])],
    since: "2.0.0",
    complexity: "O(M*log(N)) where M is the number of members removed.",
    summary: "Removes the members within a range of ranks.",
    args: &[Arg::key("key"), Arg::integer("start"), Arg::integer("stop")],
    handler: Handler::Shard(zremrangebyrank),
    ..DEFAULTS
};

fn zremrangebyrank(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    remove(ctx, args, By::Rank, Event::ZRemRangeByRank, reply)
}

const ZREMRANGEBYSCORE: CommandSpec = CommandSpec {
    name: "ZREMRANGEBYSCORE",
    full_name: "zremrangebyscore",
    since: "1.2.0",
    summary: "Removes the members within a range of scores.",
    args: &[Arg::key("key"), Arg::new("min", Kind::Double), Arg::new("max", Kind::Double)],
    handler: Handler::Shard(zremrangebyscore),
    ..ZREMRANGEBYRANK
};

fn zremrangebyscore(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    remove(ctx, args, By::Score, Event::ZRemRangeByScore, reply)
}

const ZREMRANGEBYLEX: CommandSpec = CommandSpec {
    name: "ZREMRANGEBYLEX",
    full_name: "zremrangebylex",
    since: "2.8.9",
    summary: "Removes the members within a range of names, where all scores are equal.",
    args: &[Arg::key("key"), Arg::string("min"), Arg::string("max")],
    handler: Handler::Shard(zremrangebylex),
    ..ZREMRANGEBYSCORE
};

fn zremrangebylex(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    remove(ctx, args, By::Name, Event::ZRemRangeByLex, reply)
}

fn remove(
    ctx: &mut Context<'_>,
    mut args: Args<'_>,
    by: By,
    event: Event,
    reply: &mut Reply<'_>,
) -> CommandResult {
    let key = args.bytes()?;
    let query = Query::parse(args, Form { by: Some(by), backwards: Some(false), stores: true })?;
    let removed = change_zset(ctx, key, |set| {
        let ranks = query.ranks(set);
        set.remove_ranks(ranks.clone());
        ranks.len()
    })?;
    let (count, emptied) = removed.unwrap_or((0, false));
    if count > 0 {
        changed_zset(ctx, key, event, emptied);
        ctx.shard.effects.add_dirty(count as u64 - 1);
    }
    reply.length(count);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::check;

    #[test]
    fn ranges() {
        check(
            r#"
            > ZADD z 1 a 2 b 3 c 4 d 5 e
            :5
            > ZRANGE z 1 -2
            [$b, $c, $d]
            > ZRANGE z 0 -1 REV WITHSCORES
            [$e, $5, $d, $4, $c, $3, $b, $2, $a, $1]
            > ZRANGE z (1 (4 BYSCORE
            [$b, $c]
            > ZRANGE z 4 2 BYSCORE REV LIMIT 1 1
            [$c]
            > ZRANGE z 0 1 LIMIT 1 1
            -ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX
            > ZRANGE z - + BYLEX WITHSCORES
            -ERR syntax error, WITHSCORES not supported in combination with BYLEX
            > ZRANGE z 0 -1 REV REV
            -ERR syntax error
            > ZRANGE z a 1
            -ERR value is not an integer or out of range
            > ZRANGE z x 1 BYSCORE
            -ERR min or max is not a float
            > ZRANGE z a b BYLEX
            -ERR min or max not valid string range item
            > ZREVRANGE z 0 1
            [$e, $d]
            > ZRANGEBYSCORE z -inf (3 WITHSCORES
            [$a, $1, $b, $2]
            > ZRANGEBYSCORE z 1 5 LIMIT -1 2
            []
            > ZREVRANGEBYSCORE z +inf 3 LIMIT 1 -1
            [$d, $c]
            > ZCOUNT z (1 4
            :3
            > ZRANGESTORE d z 1 2
            :2
            > ZRANGE d 0 -1 WITHSCORES
            [$b, $2, $c, $3]
            > ZRANGESTORE d none 0 -1
            :0
            > EXISTS d
            :0
            > ZREMRANGEBYRANK z -1 -1
            :1
            > ZREMRANGEBYSCORE z (1 2
            :1
            > ZRANGE z 0 -1
            [$a, $c, $d]
            > ZREMRANGEBYRANK z 0 -1
            :3
            > EXISTS z
            :0
            "#,
        );
    }

    #[test]
    fn names() {
        check(
            r#"
            > ZADD z 0 a 0 b 0 c 0 d 0 10
            :5
            > ZRANGE z [b + BYLEX
            [$b, $c, $d]
            > ZRANGEBYLEX z - (c
            [$10, $a, $b]
            > ZREVRANGEBYLEX z + [b LIMIT 1 1
            [$c]
            > ZLEXCOUNT z [10 [b
            :3
            > ZLEXCOUNT z + -
            :0
            > ZREMRANGEBYLEX z (a (d
            :2
            > ZRANGE z 0 -1
            [$10, $a, $d]
            "#,
        );
    }
}
