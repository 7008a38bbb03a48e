//! Lists, waiting: BLPOP, BRPOP, BLMOVE, BRPOPLPUSH, BLMPOP.

use super::hops::{plan_or_error, result};
use super::list::{list_at, pop_many, pop_one, propagate_popped, write_entry};
use super::list_move::{ENDS, Move, MultiPop, plan_move, plan_multi_pop, run_multi_pop};
use super::timeout;
use crate::command_table::{
    Access, Arg, Args, Arity, CommandSpec, Contribution, DEFAULTS, Flag, Flags, Group, Handler, HopWork,
    KeySpec, Kind, Plan, Step, WaitOrder,
};
use crate::keyspace::ValueRef;
use crate::resp::{Argv, Reply};
use crate::shard::{CommandError, CommandResult, Context, Wish};
use crate::types::Value;
use crate::types::encoding::quicklist::End;
use std::sync::Arc;

pub(super) const COMMANDS: &[&CommandSpec] = &[&BLPOP, &BRPOP, &BLMOVE, &BRPOPLPUSH, &BLMPOP];

const BLPOP: CommandSpec = CommandSpec {
    name: "BLPOP",
    full_name: "blpop",
    arity: Arity::AtLeast(3),
    flags: Flags::of(&[Flag::Write, Flag::NoScript, Flag::Blocking]),
    group: Group::List,
    keys: &[KeySpec::range(1, -2, 1, Access::Update, &["access", "delete"])],
    since: "2.0.0",
    complexity: "O(N) where N is the number of keys.",
    summary: "Removes and returns the first element of the first list that is not missing, or waits for one.",
    args: &[Arg::key("key").multiple(), Arg::new("timeout", Kind::Double)],
    handler: Handler::Blocking { run: blpop, plan: plan_blpop, may_wait: always, wait: wait_blpop },
    ..DEFAULTS
};

const BRPOP: CommandSpec = CommandSpec {
    name: "BRPOP",
    full_name: "brpop",
    summary: "Removes and returns the last element of the first list that is not missing, or waits for one.",
    handler: Handler::Blocking { run: brpop, plan: plan_brpop, may_wait: always, wait: wait_brpop },
    ..BLPOP
};

fn blpop(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    pop_first(ctx, args.argv(), reply, End::Front)
}

fn brpop(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    pop_first(ctx, args.argv(), reply, End::Back)
}

/// They all wait if there is nothing.
pub(super) fn always(_: Argv<'_>) -> bool {
    true
}

fn keys_of<'a>(argv: Argv<'a>) -> impl Iterator<Item = &'a [u8]> {
    argv.iter().skip(1).take(argv.len() - 2)
}

fn pop_first(ctx: &mut Context<'_>, argv: Argv<'_>, reply: &mut Reply<'_>, end: End) -> CommandResult {
    timeout::parse(&argv[argv.len() - 1])?;
    for key in keys_of(argv) {
        if list_at(ctx, key)?.is_some() {
            return Pop(end).serve(ctx, key, reply);
        }
    }
    reply.null_array();
    Ok(())
}

/// BLPOP and BRPOP.
struct Pop(End);

fn is_list(value: ValueRef<'_>) -> bool {
    matches!(value, ValueRef::Boxed(Value::List(_)))
}

impl Wish for Pop {
    fn wants(&self, value: ValueRef<'_>) -> bool {
        is_list(value)
    }

    fn serve(&self, ctx: &mut Context<'_>, key: &[u8], reply: &mut Reply<'_>) -> CommandResult {
        reply.array(2);
        reply.bulk(key);
        pop_one(ctx, key, self.0, |entry| write_entry(entry, reply))?;
        propagate_popped(ctx, key, self.0, None);
        Ok(())
    }
}

fn wait_pop(argv: Argv<'_>, end: End) -> Result<WaitOrder, CommandError> {
    let timeout_ms = timeout::parse(&argv[argv.len() - 1])?;
    let keys = keys_of(argv).map(Box::from).collect();
    Ok(WaitOrder { wish: Arc::new(Pop(end)), keys, further: None, timeout_ms })
}

fn wait_blpop(argv: Argv<'_>) -> Result<WaitOrder, CommandError> {
    wait_pop(argv, End::Front)
}

fn wait_brpop(argv: Argv<'_>) -> Result<WaitOrder, CommandError> {
    wait_pop(argv, End::Back)
}

fn plan_blpop(argv: Argv<'_>) -> Box<dyn Plan> {
    plan_pop(argv, End::Front)
}

fn plan_brpop(argv: Argv<'_>) -> Box<dyn Plan> {
    plan_pop(argv, End::Back)
}

fn plan_pop(argv: Argv<'_>, end: End) -> Box<dyn Plan> {
    plan_or_error(timeout::parse(&argv[argv.len() - 1]).map(|_| {
        let keys = keys_of(argv).map(Box::from).collect();
        let plan: Box<dyn Plan> = Box::new(PopPlan { keys, end, stage: Stage::Look });
        plan
    }))
}

/// Hop 1 looks at all keys, hop 2 pops from the first list.
struct PopPlan {
    keys: Vec<Box<[u8]>>,
    end: End,
    stage: Stage,
}

enum Stage {
    Look,
    Judge,
    Done,
}

impl Plan for PopPlan {
    fn step(&mut self, results: Vec<Contribution>, reply: &mut Reply<'_>) -> Step {
        match self.stage {
            Stage::Look => {
                self.stage = Stage::Judge;
                let look = |key: &[u8]| {
                    let name = Box::<[u8]>::from(key);
                    HopWork::new(key, move |ctx| list_at(ctx, &name).map(|list| list.is_some()))
                };
                Step::Hop(self.keys.iter().map(|key| look(key)).collect())
            }
            Stage::Judge => {
                let found = results.into_iter().map(result::<Result<bool, CommandError>>);
                let first = found.zip(&self.keys).find(|(found, _)| !matches!(found, Ok(false)));
                let key = match first {
                    None => {
                        reply.null_array();
                        return Step::Done(Ok(()));
                    }
                    Some((Err(error), _)) => return Step::Done(Err(error)),
                    Some((Ok(_), key)) => key.clone(),
                };
                self.stage = Stage::Done;
                let (end, name, protocol) = (self.end, key.clone(), reply.protocol());
                Step::Hop(vec![HopWork::new(&key, move |ctx| {
                    let mut bytes = Vec::new();
                    let mut reply = Reply::new(&mut bytes, protocol);
                    // Its deadline may have passed since it was looked at.
                    match list_at(ctx, &name)? {
                        Some(_) => Pop(end).serve(ctx, &name, &mut reply)?,
                        None => reply.null_array(),
                    }
                    Ok::<_, CommandError>(bytes)
                })])
            }
            Stage::Done => {
                let popped = results.into_iter().next().map(result::<Result<Vec<u8>, CommandError>>);
                Step::Done(popped.expect("asked").map(|bytes| reply.raw(&bytes)))
            }
        }
    }
}

const BLMOVE: CommandSpec = CommandSpec {
    name: "BLMOVE",
    full_name: "blmove",
    arity: Arity::Exactly(6),
    flags: Flags::of(&[Flag::Write, Flag::DenyOom, Flag::NoScript, Flag::Blocking]),
    group: Group::List,
    keys: &[
        KeySpec::at(1, Access::Update, &["access", "delete"]),
        KeySpec::at(2, Access::Update, &["insert"]),
    ],
    since: "6.2.0",
    summary: "Moves an element from an end of one list to an end of another and returns it, or waits for one.",
    args: &[
        Arg::key("source"),
        Arg::new("destination", Kind::Key(1)),
        Arg::one_of("wherefrom", ENDS),
        Arg::one_of("whereto", ENDS),
        Arg::new("timeout", Kind::Double),
    ],
    handler: Handler::Blocking { run: blmove, plan: plan_blmove, may_wait: always, wait: wait_blmove },
    ..DEFAULTS
};

const BRPOPLPUSH: CommandSpec = CommandSpec {
    name: "BRPOPLPUSH",
    full_name: "brpoplpush",
    arity: Arity::Exactly(4),
    since: "2.2.0",
    summary: "Moves the last element of a list before the first one of another and returns it, or waits for one.",
    args: &[Arg::key("source"), Arg::new("destination", Kind::Key(1)), Arg::new("timeout", Kind::Double)],
    handler: Handler::Blocking {
        run: brpoplpush,
        plan: plan_brpoplpush,
        may_wait: always,
        wait: wait_brpoplpush,
    },
    ..BLMOVE
};

fn parse_blmove(argv: Argv<'_>) -> Result<(Move<'_>, u64), CommandError> {
    let moved = Move::parse_lmove(Args::new(argv, 1))?;
    Ok((moved, timeout::parse(&argv[5])?))
}

fn parse_brpoplpush(argv: Argv<'_>) -> Result<(Move<'_>, u64), CommandError> {
    let timeout_ms = timeout::parse(&argv[3])?;
    Ok((Move::parse_rpoplpush(Args::new(argv, 1))?, timeout_ms))
}

fn blmove(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    parse_blmove(args.argv())?.0.run(ctx, reply)
}

fn brpoplpush(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    parse_brpoplpush(args.argv())?.0.run(ctx, reply)
}

fn plan_blmove(argv: Argv<'_>) -> Box<dyn Plan> {
    plan_or_error(parse_blmove(argv).map(|(moved, _)| plan_move(&moved)))
}

fn plan_brpoplpush(argv: Argv<'_>) -> Box<dyn Plan> {
    plan_or_error(parse_brpoplpush(argv).map(|(moved, _)| plan_move(&moved)))
}

fn wait_blmove(argv: Argv<'_>) -> Result<WaitOrder, CommandError> {
    parse_blmove(argv).map(|(moved, timeout_ms)| wait_move(&moved, timeout_ms))
}

fn wait_brpoplpush(argv: Argv<'_>) -> Result<WaitOrder, CommandError> {
    parse_brpoplpush(argv).map(|(moved, timeout_ms)| wait_move(&moved, timeout_ms))
}

struct MoveHere {
    destination: Box<[u8]>,
    from: End,
    to: End,
}

impl Wish for MoveHere {
    fn wants(&self, value: ValueRef<'_>) -> bool {
        is_list(value)
    }

    fn reaches_further(&self) -> bool {
        true
    }

    fn serve(&self, ctx: &mut Context<'_>, key: &[u8], reply: &mut Reply<'_>) -> CommandResult {
        Move { source: key, destination: &self.destination, from: self.from, to: self.to }.run(ctx, reply)
    }
}

fn wait_move(moved: &Move<'_>, timeout_ms: u64) -> WaitOrder {
    let destination: Box<[u8]> = moved.destination.into();
    WaitOrder {
        wish: Arc::new(MoveHere { destination: destination.clone(), from: moved.from, to: moved.to }),
        keys: vec![moved.source.into()],
        further: Some(destination),
        timeout_ms,
    }
}

const BLMPOP: CommandSpec = CommandSpec {
    name: "BLMPOP",
    full_name: "blmpop",
    arity: Arity::AtLeast(5),
    flags: Flags::of(&[Flag::Write, Flag::Blocking]),
    group: Group::List,
    keys: &[KeySpec::counted(2, Access::Update, &["access", "delete"])],
    since: "7.0.0",
    complexity: "O(N+M) where N is the number of keys and M the number of elements returned.",
    summary: "Removes and returns elements of the first list that is not missing, or waits for one.",
    args: &[
        Arg::new("timeout", Kind::Double),
        Arg::integer("numkeys"),
        Arg::key("key").multiple(),
        Arg::one_of("where", ENDS),
        Arg::integer("count").after("COUNT").optional(),
    ],
    handler: Handler::Blocking { run: blmpop, plan: plan_blmpop, may_wait: always, wait: wait_blmpop },
    ..DEFAULTS
};

fn blmpop(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let argv = args.argv();
    MultiPop::parse(argv, 2)?;
    timeout::parse(&argv[1])?;
    run_multi_pop(ctx, argv, MultiPop::parse(argv, 2)?, reply)
}

fn plan_blmpop(argv: Argv<'_>) -> Box<dyn Plan> {
    let checked = MultiPop::parse(argv, 2).and_then(|_| timeout::parse(&argv[1]));
    plan_or_error(checked.map(|_| plan_multi_pop(argv, 2)))
}

struct PopMany {
    end: End,
    count: usize,
}

impl Wish for PopMany {
    fn wants(&self, value: ValueRef<'_>) -> bool {
        is_list(value)
    }

    fn serve(&self, ctx: &mut Context<'_>, key: &[u8], reply: &mut Reply<'_>) -> CommandResult {
        reply.array(2);
        reply.bulk(key);
        let popped = pop_many(ctx, key, self.end, self.count, reply)?;
        propagate_popped(ctx, key, self.end, Some(popped));
        Ok(())
    }
}

fn wait_blmpop(argv: Argv<'_>) -> Result<WaitOrder, CommandError> {
    MultiPop::parse(argv, 2)?;
    let timeout_ms = timeout::parse(&argv[1])?;
    let MultiPop { keys, end, count } = MultiPop::parse(argv, 2)?;
    let keys = keys.map(|index| Box::from(&argv[index])).collect();
    Ok(WaitOrder { wish: Arc::new(PopMany { end, count }), keys, further: None, timeout_ms })
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::check;

    #[test]
    fn with_something_there_they_do_not_wait() {
        check(
            r#"
            > RPUSH a 1 2 3 4
            :4
            > BLPOP x a y 0
            [$a, $1]
            > BRPOP x a y 0.5
            [$a, $4]
            > BLMOVE a b LEFT RIGHT 0
            $2
            > BRPOPLPUSH b a 0
            $2
            > BLMPOP 0 2 x a LEFT COUNT 9
            [$a, [$2, $3]]
            > BLPOP a x
            -ERR timeout is not a float or out of range
            > BLPOP a -1
            -ERR timeout is negative
            > BLPOP a 99999999999999999999
            -ERR timeout is negative
            > BLMOVE a b UP LEFT x
            -ERR syntax error
            > BLMPOP x 1 a LEFT
            -ERR timeout is not a float or out of range
            > BLMPOP x 0 a LEFT
            -ERR numkeys should be greater than 0
            > BLMPOP 0 0 a LEFT
            -ERR numkeys should be greater than 0
            > SET s x
            +OK
            > BLPOP x s 0
            -WRONGTYPE Operation against a key holding the wrong kind of value
            "#,
        );
    }
}
