//! Sorted sets by their members: ZREM, ZSCORE, ZRANK and their kin; and what all commands of sorted sets share.
//! Members come with `zset_add`, ranges are in `zset_range`, walks and random members in `zset_scan`.

use crate::command_table::{
    Access, Arg, Args, Arity, CommandSpec, DEFAULTS, Flag, Flags, Group, Handler, KeySpec,
};
use crate::keyspace::Ttl;
use crate::resp::Reply;
use crate::shard::{CommandError, CommandResult, Context, Event};
use crate::types::{SortedSet, Value};

pub(super) const COMMANDS: &[&CommandSpec] = &[&ZREM, &ZCARD, &ZSCORE, &ZMSCORE, &ZRANK, &ZREVRANK];

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
    summary: "Returns how many members stand after a member.",
    handler: Handler::Shard(zrevrank),
    ..ZRANK
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

#[cfg(test)]
mod tests {
    use crate::commands::testing::check;

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
