//! Taking members from the ends of sorted sets: ZPOPMIN, ZPOPMAX, ZMPOP.

use super::hops::refuse;
use super::read_then_write::{Answer, Next, ReadThenWrite, fail};
use super::zset::{MembersReply, change_zset, changed_zset, read_zset};
use crate::base::number::parse_i64;
use crate::command_table::{
    Access, Arg, Args, Arity, CommandSpec, DEFAULTS, Flag, Flags, Group, Handler, KeySpec, Plan,
};
use crate::resp::{Argv, Reply};
use crate::shard::{CommandError, CommandResult, Context, Event};
use std::ops::ControlFlow;

pub(super) const COMMANDS: &[&CommandSpec] = &[&ZPOPMIN, &ZPOPMAX, &ZMPOP];

/// Which end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum End {
    Min,
    Max,
}

impl End {
    fn event(self) -> Event {
        match self {
            Self::Min => Event::ZPopMin,
            Self::Max => Event::ZPopMax,
        }
    }
}

/// Members with their scores.
type Members = Vec<(Vec<u8>, f64)>;

/// Takes up to `count` members from one end; `None` if there is no such key.
pub(super) fn pop(
    ctx: &mut Context<'_>,
    key: &[u8],
    end: End,
    count: usize,
) -> Result<Option<Members>, CommandError> {
    let popped = change_zset(ctx, key, |set| {
        let len = set.len();
        let count = count.min(len);
        let ranks = if end == End::Min { 0..count } else { len - count..len };
        let mut members = Vec::with_capacity(count);
        set.visit(ranks.clone(), end == End::Max, |member, score| {
            members.push((member.to_vec(), score));
            ControlFlow::Continue(())
        });
        set.remove_ranks(ranks);
        members
    })?;
    let Some((members, emptied)) = popped else { return Ok(None) };
    if !members.is_empty() {
        changed_zset(ctx, key, end.event(), emptied);
        ctx.shard.effects.add_dirty(members.len() as u64 - 1);
    }
    Ok(Some(members))
}

const ZPOPMIN: CommandSpec = CommandSpec {
    name: "ZPOPMIN",
    full_name: "zpopmin",
    arity: Arity::AtLeast(2),
    flags: Flags::of(&[Flag::Write, Flag::Fast]),
    group: Group::SortedSet,
    keys: &[KeySpec::at(1, Access::Update, &["access", "delete"])],
    since: "5.0.0",
    complexity: "O(M*log(N)) where M is the number of members removed.",
    summary: "Removes and returns the members with the lowest scores.",
    args: &[Arg::key("key"), Arg::integer("count").optional()],
    handler: Handler::Shard(zpopmin),
    ..DEFAULTS
};

fn zpopmin(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    pop_from_one(ctx, args, End::Min, reply)
}

const ZPOPMAX: CommandSpec = CommandSpec {
    name: "ZPOPMAX",
    full_name: "zpopmax",
    summary: "Removes and returns the members with the highest scores.",
    handler: Handler::Shard(zpopmax),
    ..ZPOPMIN
};

fn zpopmax(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    pop_from_one(ctx, args, End::Max, reply)
}

fn pop_from_one(ctx: &mut Context<'_>, mut args: Args<'_>, end: End, reply: &mut Reply<'_>) -> CommandResult {
    let key = args.bytes()?;
    if args.remaining() > 1 {
        return Err(CommandError::Syntax);
    }
    let counted = args.remaining() == 1;
    let count = match args.next() {
        None => 1,
        Some(text) => {
            let count = parse_i64(text).and_then(|count| usize::try_from(count).ok());
            count.ok_or(CommandError::NotPositive)?
        }
    };
    let members = pop(ctx, key, end, count)?.unwrap_or_default();
    if counted {
        let mut out = MembersReply::begin(reply, members.len(), true);
        members.iter().for_each(|(member, score)| out.member(member, *score));
    } else {
        reply.array(members.len() * 2);
        members.iter().for_each(|(member, score)| {
            reply.bulk(member);
            reply.double(*score);
        });
    }
    Ok(())
}

const ZMPOP: CommandSpec = CommandSpec {
    name: "ZMPOP",
    full_name: "zmpop",
    arity: Arity::AtLeast(4),
    flags: Flags::of(&[Flag::Write]),
    group: Group::SortedSet,
    keys: &[KeySpec::counted(1, Access::Update, &["access", "delete"])],
    since: "7.0.0",
    complexity: "O(K) + O(M*log(N)) where K is the number of keys and M the number of members removed.",
    summary: "Removes and returns members from one end of the first sorted set that has any.",
    args: &[
        Arg::integer("numkeys"),
        Arg::key("key").multiple(),
        Arg::one_of("where", &[Arg::token("min", "MIN"), Arg::token("max", "MAX")]),
        Arg::integer("count").after("COUNT").optional(),
    ],
    handler: Handler::Transaction { run: zmpop, plan: plan_zmpop },
    ..DEFAULTS
};

pub(super) struct MultiPop<'a> {
    pub keys: Vec<&'a [u8]>,
    pub end: End,
    pub count: usize,
}

impl<'a> MultiPop<'a> {
    /// `numkeys key [key …] MIN|MAX [COUNT count]`
    pub fn parse(mut args: Args<'a>) -> Result<Self, CommandError> {
        let positive = |text: &[u8], error: &'static str| {
            let value = parse_i64(text).filter(|value| *value > 0);
            value.map(|value| value as usize).ok_or(CommandError::Text(error))
        };
        let numkeys = positive(args.bytes()?, "ERR numkeys should be greater than 0")?;
        if numkeys >= args.remaining() {
            return Err(CommandError::Syntax);
        }
        let keys = args.by_ref().take(numkeys).collect();
        let end = if args.option("MIN") {
            End::Min
        } else if args.option("MAX") {
            End::Max
        } else {
            return Err(CommandError::Syntax);
        };
        let mut count = None;
        while args.remaining() > 0 {
            if count.is_none() && args.remaining() > 1 && args.option("COUNT") {
                count = Some(positive(args.bytes()?, "ERR count should be greater than 0")?);
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(Self { keys, end, count: count.unwrap_or(1) })
    }
}

/// `[key, [[member, score], …]]`, nested in both protocols.
pub(super) fn write_popped(reply: &mut Reply<'_>, key: &[u8], members: &[(Vec<u8>, f64)]) {
    reply.array(2);
    reply.bulk(key);
    reply.array(members.len());
    for (member, score) in members {
        reply.array(2);
        reply.bulk(member);
        reply.double(*score);
    }
}

fn zmpop(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let MultiPop { keys, end, count } = MultiPop::parse(args)?;
    pop_first(ctx, keys, end, count, write_popped, reply)
}

/// Pops from the first of these keys that is not missing.
pub(super) fn pop_first<'a>(
    ctx: &mut Context<'_>,
    keys: impl IntoIterator<Item = &'a [u8]>,
    end: End,
    count: usize,
    write: WritePopped,
    reply: &mut Reply<'_>,
) -> CommandResult {
    for key in keys {
        if let Some(members) = pop(ctx, key, end, count)? {
            propagate_popped(ctx, key, end, members.len());
            write(reply, key, &members);
            return Ok(());
        }
    }
    reply.null_array();
    Ok(())
}

/// Journals that so many members were taken.
fn propagate_popped(ctx: &mut Context<'_>, key: &[u8], end: End, count: usize) {
    let name: &[u8] = match end {
        End::Min => b"ZPOPMIN",
        End::Max => b"ZPOPMAX",
    };
    ctx.propagate(&[name, key, itoa::Buffer::new().format(count).as_bytes()]);
}

fn plan_zmpop(argv: Argv<'_>) -> Box<dyn Plan> {
    match MultiPop::parse(Args::new(argv, 1)) {
        Ok(MultiPop { keys, end, count }) => {
            plan_pop(keys.into_iter().map(Box::from).collect(), end, count, write_popped)
        }
        Err(error) => refuse(error),
    }
}

/// How what was popped is told.
pub(super) type WritePopped = fn(&mut Reply<'_>, &[u8], &[(Vec<u8>, f64)]);

/// Hop 1 looks at all keys, hop 2 pops from the first sorted set.
pub(super) fn plan_pop(keys: Vec<Box<[u8]>>, end: End, count: usize, write: WritePopped) -> Box<dyn Plan> {
    ReadThenWrite::plan(
        keys.clone(),
        |ctx, key| read_zset(ctx, key).map(|set| set.is_some()),
        move |read| {
            for (key, found) in keys.into_iter().zip(read) {
                match found {
                    Err(error) => return Next::Answer(fail(error)),
                    Ok(false) => {}
                    Ok(true) => {
                        let name = key.clone();
                        return Next::At {
                            key,
                            run: Box::new(move |ctx| pop_answer(ctx, name, end, count, write)),
                        };
                    }
                }
            }
            Next::Answer(Box::new(|reply| {
                reply.null_array();
                Ok(())
            }))
        },
    )
}

fn pop_answer(ctx: &mut Context<'_>, key: Box<[u8]>, end: End, count: usize, write: WritePopped) -> Answer {
    let popped = pop(ctx, &key, end, count);
    if let Ok(Some(members)) = &popped {
        propagate_popped(ctx, &key, end, members.len());
    }
    Box::new(move |reply| {
        match popped? {
            Some(members) => write(reply, &key, &members),
            None => reply.null_array(),
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::check;

    #[test]
    fn popping() {
        check(
            r#"
            > ZADD z 1 a 2 b 3 c 4 d 5 e
            :5
            > ZPOPMIN z
            [$a, $1]
            > ZPOPMAX z 2
            [$e, $5, $d, $4]
            > ZPOPMIN z 0
            []
            > ZPOPMIN z -1
            -ERR value is out of range, must be positive
            > ZPOPMIN z x
            -ERR value is out of range, must be positive
            > ZPOPMIN none
            []
            > ZMPOP 2 none z MAX COUNT 5
            [$z, [[$c, $3], [$b, $2]]]
            > EXISTS z
            :0
            > ZMPOP 1 z MIN
            NullArray
            > ZMPOP 0 z MIN
            -ERR numkeys should be greater than 0
            > ZMPOP 1 z MID
            -ERR syntax error
            > ZMPOP 1 z MIN COUNT 0
            -ERR count should be greater than 0
            > SET s x
            +OK
            > ZMPOP 2 s z MIN
            -WRONGTYPE Operation against a key holding the wrong kind of value
            > ZPOPMIN s
            -WRONGTYPE Operation against a key holding the wrong kind of value
            "#,
        );
    }
}
