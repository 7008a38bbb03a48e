//! Elements that move between lists, and pops from the first of several lists: LMOVE, RPOPLPUSH, LMPOP.
//!
//! Over several shards everything that can fail is checked in a first hop that changes nothing; the second one
//! does all the changes.

use super::hops::{plan_or_error, result};
use super::list::{list_at, pop_event, pop_many, pop_one, propagate_popped, push_event};
use crate::base::number::parse_i64;
use crate::command_table::{
    Access, Arg, Args, Arity, CommandSpec, Contribution, DEFAULTS, Flag, Flags, Group, Handler, HopWork,
    KeySpec, Kind, Plan, Step,
};
use crate::resp::{Argv, ArgvBuf, Reply, Value};
use crate::shard::{CommandError, CommandResult, Context};
use crate::types::List;
use crate::types::encoding::quicklist::End;

pub(super) const COMMANDS: &[&CommandSpec] = &[&LMOVE, &RPOPLPUSH, &LMPOP];

const LMOVE: CommandSpec = CommandSpec {
    name: "LMOVE",
    full_name: "lmove",
    arity: Arity::Exactly(5),
    flags: Flags::of(&[Flag::Write, Flag::DenyOom]),
    group: Group::List,
    keys: &[
        KeySpec::at(1, Access::Update, &["access", "delete"]),
        KeySpec::at(2, Access::Update, &["insert"]),
    ],
    since: "6.2.0",
    summary: "Moves an element from an end of one list to an end of another, and returns it.",
    args: &[
        Arg::key("source"),
        Arg::new("destination", Kind::Key(1)),
        Arg::one_of("wherefrom", ENDS),
        Arg::one_of("whereto", ENDS),
    ],
    handler: Handler::Transaction { run: lmove, plan: plan_lmove },
    ..DEFAULTS
};

const RPOPLPUSH: CommandSpec = CommandSpec {
    name: "RPOPLPUSH",
    full_name: "rpoplpush",
    arity: Arity::Exactly(3),
    since: "1.2.0",
    summary: "Moves the last element of a list before the first one of another, and returns it.",
    args: &[Arg::key("source"), Arg::new("destination", Kind::Key(1))],
    handler: Handler::Transaction { run: rpoplpush, plan: plan_rpoplpush },
    ..LMOVE
};

pub(super) const ENDS: &[Arg] = &[Arg::token("left", "LEFT"), Arg::token("right", "RIGHT")];

/// LEFT or RIGHT.
pub(super) fn end(args: &mut Args<'_>) -> Result<End, CommandError> {
    if args.option("LEFT") {
        Ok(End::Front)
    } else if args.option("RIGHT") {
        Ok(End::Back)
    } else {
        Err(CommandError::Syntax)
    }
}

fn end_name(end: End) -> &'static [u8] {
    match end {
        End::Front => b"LEFT",
        End::Back => b"RIGHT",
    }
}

pub(super) struct Move<'a> {
    pub source: &'a [u8],
    pub destination: &'a [u8],
    pub from: End,
    pub to: End,
}

impl<'a> Move<'a> {
    pub fn parse_lmove(mut args: Args<'a>) -> Result<Self, CommandError> {
        let (source, destination) = (args.bytes()?, args.bytes()?);
        Ok(Self { source, destination, from: end(&mut args)?, to: end(&mut args)? })
    }

    pub fn parse_rpoplpush(mut args: Args<'a>) -> Result<Self, CommandError> {
        Ok(Self { source: args.bytes()?, destination: args.bytes()?, from: End::Back, to: End::Front })
    }

    pub fn run(&self, ctx: &mut Context<'_>, reply: &mut Reply<'_>) -> CommandResult {
        let Some(element) = look(ctx, self.source, self.from)? else {
            reply.null();
            return Ok(());
        };
        list_at(ctx, self.destination)?;
        reply.bulk(&element);
        if self.source == self.destination {
            // In place, so that a list of one element does not vanish in between.
            let rotated = ctx.update(self.source, false, |list: &mut List, limits| {
                list.push(self.to, &element, limits);
                list.pop(self.from, limits, |_| ());
            });
            rotated?;
            ctx.announce(self.destination, push_event(self.to));
            ctx.modified(self.source, pop_event(self.from));
        } else {
            put(ctx, self.destination, self.to, &element)?;
            take(ctx, self.source, self.from)?;
        }
        if (self.from, self.to) == (End::Back, End::Front) {
            ctx.propagate(&[b"RPOPLPUSH", self.source, self.destination]);
        } else {
            let (from, to) = (end_name(self.from), end_name(self.to));
            ctx.propagate(&[b"LMOVE", self.source, self.destination, from, to]);
        }
        Ok(())
    }

    fn plan(&self) -> Box<dyn Plan> {
        Box::new(MovePlan {
            source: self.source.into(),
            destination: self.destination.into(),
            from: self.from,
            to: self.to,
            stage: MoveStage::Look,
            element: Vec::new(),
        })
    }
}

pub(super) fn plan_move(moved: &Move<'_>) -> Box<dyn Plan> {
    moved.plan()
}

/// The element that would move.
fn look(ctx: &mut Context<'_>, key: &[u8], end: End) -> Result<Option<Vec<u8>>, CommandError> {
    Ok(list_at(ctx, key)?.and_then(|list| list.peek(end, |entry| entry.to_vec())))
}

/// Both halves are one change: the other one declares it.
fn put(ctx: &mut Context<'_>, key: &[u8], end: End, element: &[u8]) -> CommandResult {
    ctx.update(key, true, |list: &mut List, limits| list.push(end, element, limits))?;
    ctx.announce(key, push_event(end));
    Ok(())
}

fn take(ctx: &mut Context<'_>, key: &[u8], end: End) -> CommandResult {
    pop_one(ctx, key, end, |_| ()).map(drop)
}

fn lmove(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    Move::parse_lmove(args)?.run(ctx, reply)
}

fn rpoplpush(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    Move::parse_rpoplpush(args)?.run(ctx, reply)
}

fn plan_lmove(argv: Argv<'_>) -> Box<dyn Plan> {
    plan_or_error(Move::parse_lmove(Args::new(argv, 1)).map(|parsed| parsed.plan()))
}

fn plan_rpoplpush(argv: Argv<'_>) -> Box<dyn Plan> {
    plan_or_error(Move::parse_rpoplpush(Args::new(argv, 1)).map(|parsed| parsed.plan()))
}

/// Hop 1 looks at both lists, hop 2 changes both.
struct MovePlan {
    source: Box<[u8]>,
    destination: Box<[u8]>,
    from: End,
    to: End,
    stage: MoveStage,
    element: Vec<u8>,
}

enum MoveStage {
    Look,
    Judge,
    Done,
}

type Looked = Result<Option<Vec<u8>>, CommandError>;

impl Plan for MovePlan {
    fn step(&mut self, results: Vec<Contribution>, reply: &mut Reply<'_>) -> Step {
        let (source, destination) = (self.source.clone(), self.destination.clone());
        let (from, to) = (self.from, self.to);
        match self.stage {
            MoveStage::Look => {
                self.stage = MoveStage::Judge;
                Step::Hop(vec![
                    HopWork::new(&self.source, move |ctx| look(ctx, &source, from)),
                    HopWork::new(&self.destination, move |ctx| look(ctx, &destination, to)),
                ])
            }
            MoveStage::Judge => {
                let mut looked = results.into_iter().map(result::<Looked>);
                let (at_source, at_destination) = (looked.next(), looked.next());
                let element = match at_source.expect("asked") {
                    Err(error) => return Step::Done(Err(error)),
                    Ok(None) => {
                        reply.null();
                        return Step::Done(Ok(()));
                    }
                    Ok(Some(element)) => element,
                };
                if let Err(error) = at_destination.expect("asked") {
                    return Step::Done(Err(error));
                }
                self.element.clone_from(&element);
                self.stage = MoveStage::Done;
                Step::Hop(vec![
                    HopWork::new(&self.destination, move |ctx| {
                        let name: &[u8] = if to == End::Front { b"LPUSH" } else { b"RPUSH" };
                        put(ctx, &destination, to, &element)?;
                        ctx.propagate(&[name, &destination, &element]);
                        Ok::<_, CommandError>(())
                    }),
                    HopWork::new(&self.source, move |ctx| {
                        take(ctx, &source, from)?;
                        propagate_popped(ctx, &source, from, None);
                        Ok::<_, CommandError>(())
                    }),
                ])
            }
            MoveStage::Done => {
                let done = results.into_iter().try_for_each(result::<CommandResult>);
                reply.bulk(&self.element);
                Step::Done(done)
            }
        }
    }
}

const LMPOP: CommandSpec = CommandSpec {
    name: "LMPOP",
    full_name: "lmpop",
    arity: Arity::AtLeast(4),
    flags: Flags::of(&[Flag::Write]),
    group: Group::List,
    keys: &[KeySpec::counted(1, Access::Update, &["access", "delete"])],
    since: "7.0.0",
    complexity: "O(N+M) where N is the number of keys and M the number of elements returned.",
    summary: "Removes and returns elements of the first list that is not missing.",
    args: &[
        Arg::integer("numkeys"),
        Arg::key("key").multiple(),
        Arg::one_of("where", ENDS),
        Arg::integer("count").after("COUNT").optional(),
    ],
    handler: Handler::Transaction { run: lmpop, plan: plan_lmpop },
    ..DEFAULTS
};

const NUMKEYS: CommandError = CommandError::Text("ERR numkeys should be greater than 0");
const COUNT: CommandError = CommandError::Text("ERR count should be greater than 0");

/// What LMPOP's arguments say. BLMPOP has the same behind its timeout.
pub(super) struct MultiPop {
    /// The keys are these arguments.
    pub keys: std::ops::Range<usize>,
    pub end: End,
    pub count: usize,
}

impl MultiPop {
    /// `numkeys` is the place of that argument.
    pub fn parse(argv: Argv<'_>, numkeys: usize) -> Result<Self, CommandError> {
        let positive = |text: &[u8]| parse_i64(text).filter(|value| *value > 0).map(|value| value as usize);
        let keys = positive(argv.get(numkeys).ok_or(CommandError::Syntax)?).ok_or(NUMKEYS)?;
        let first = numkeys + 1;
        let behind =
            first.checked_add(keys).filter(|&behind| behind < argv.len()).ok_or(CommandError::Syntax)?;
        let mut args = Args::new(argv, behind);
        let end = end(&mut args)?;
        let mut count = None;
        while args.remaining() > 0 {
            if count.is_some() || args.remaining() < 2 || !args.option("COUNT") {
                return Err(CommandError::Syntax);
            }
            count = Some(positive(args.bytes()?).ok_or(COUNT)?);
        }
        Ok(Self { keys: first..behind, end, count: count.unwrap_or(1) })
    }
}

fn lmpop(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let argv = args.argv();
    run_multi_pop(ctx, argv, MultiPop::parse(argv, 1)?, reply)
}

pub(super) fn run_multi_pop(
    ctx: &mut Context<'_>,
    argv: Argv<'_>,
    MultiPop { keys, end, count }: MultiPop,
    reply: &mut Reply<'_>,
) -> CommandResult {
    for key in keys.map(|index| &argv[index]) {
        if list_at(ctx, key)?.is_some() {
            reply.array(2);
            reply.bulk(key);
            let popped = pop_many(ctx, key, end, count, reply)?;
            propagate_popped(ctx, key, end, Some(popped));
            return Ok(());
        }
    }
    reply.null_array();
    Ok(())
}

fn plan_lmpop(argv: Argv<'_>) -> Box<dyn Plan> {
    plan_multi_pop(argv, 1)
}

pub(super) fn plan_multi_pop(argv: Argv<'_>, numkeys: usize) -> Box<dyn Plan> {
    plan_or_error(MultiPop::parse(argv, numkeys).map(|parsed| {
        let plan: Box<dyn Plan> =
            Box::new(MultiPopPlan { argv: argv.to_owned(), parsed, stage: PopStage::Look });
        plan
    }))
}

/// Hop 1 looks at all keys, hop 2 pops from the first list.
struct MultiPopPlan {
    argv: ArgvBuf,
    parsed: MultiPop,
    stage: PopStage,
}

enum PopStage {
    Look,
    Judge,
    Done(usize),
}

impl Plan for MultiPopPlan {
    fn step(&mut self, results: Vec<Contribution>, reply: &mut Reply<'_>) -> Step {
        let argv = self.argv.as_argv();
        match self.stage {
            PopStage::Look => {
                self.stage = PopStage::Judge;
                let look = |index: usize| {
                    let key: Box<[u8]> = argv[index].into();
                    HopWork::new(&argv[index], move |ctx| list_at(ctx, &key).map(|list| list.is_some()))
                };
                Step::Hop(self.parsed.keys.clone().map(look).collect())
            }
            PopStage::Judge => {
                let found = results.into_iter().map(result::<Result<bool, CommandError>>);
                let first =
                    found.zip(self.parsed.keys.clone()).find(|(found, _)| !matches!(found, Ok(false)));
                let index = match first {
                    None => {
                        reply.null_array();
                        return Step::Done(Ok(()));
                    }
                    Some((Err(error), _)) => return Step::Done(Err(error)),
                    Some((Ok(_), index)) => index,
                };
                self.stage = PopStage::Done(index);
                let (end, count) = (self.parsed.end, self.parsed.count);
                let key: Box<[u8]> = argv[index].into();
                Step::Hop(vec![HopWork::new(&argv[index], move |ctx| pop_owned(ctx, &key, end, count))])
            }
            PopStage::Done(index) => {
                let popped = results.into_iter().next().map(result::<Result<Vec<Vec<u8>>, CommandError>>);
                match popped.expect("asked") {
                    Err(error) => Step::Done(Err(error)),
                    Ok(elements) if elements.is_empty() => {
                        reply.null_array();
                        Step::Done(Ok(()))
                    }
                    Ok(elements) => {
                        reply.array(2);
                        reply.bulk(&argv[index]);
                        reply.array(elements.len());
                        elements.iter().for_each(|element| reply.bulk(element));
                        Step::Done(Ok(()))
                    }
                }
            }
        }
    }
}

/// Pops elements to take them to another core; none if the list's deadline has passed since it was looked at.
fn pop_owned(
    ctx: &mut Context<'_>,
    key: &[u8],
    end: End,
    count: usize,
) -> Result<Vec<Vec<u8>>, CommandError> {
    let mut bytes = Vec::new();
    let popped = pop_many(ctx, key, end, count, &mut Reply::new(&mut bytes, crate::resp::Protocol::Resp2))?;
    if popped == 0 {
        return Ok(Vec::new());
    }
    propagate_popped(ctx, key, end, Some(popped));
    let (value, _) = crate::resp::parse_reply(&bytes).expect("a reply").expect("whole");
    let elements = value.as_elements().unwrap_or_default();
    let text = |element: &Value| element.as_bytes().expect("a bulk string").to_vec();
    Ok(elements.iter().map(text).collect())
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::check;

    #[test]
    fn moves() {
        check(
            r#"
            > RPUSH a 1 2 3
            :3
            > LMOVE a b LEFT RIGHT
            $1
            > LMOVE a b right left
            $3
            > LRANGE b 0 -1
            [$3, $1]
            > RPOPLPUSH a b
            $2
            > EXISTS a
            :0
            > LMOVE b b LEFT RIGHT
            $2
            > LMOVE b b LEFT LEFT
            $3
            > LRANGE b 0 -1
            [$3, $1, $2]
            > RPOPLPUSH missing b
            nil
            > LMOVE a b UP LEFT
            -ERR syntax error
            > SET s x
            +OK
            > RPOPLPUSH b s
            -WRONGTYPE Operation against a key holding the wrong kind of value
            > RPOPLPUSH s b
            -WRONGTYPE Operation against a key holding the wrong kind of value
            > RPOPLPUSH missing s
            nil
            > LMPOP 3 x y b LEFT
            [$b, [$3]]
            > LMPOP 2 x b RIGHT COUNT 5
            [$b, [$2, $1]]
            > LMPOP 2 x b RIGHT COUNT 5
            NullArray
            > LMPOP 2 x s RIGHT
            -WRONGTYPE Operation against a key holding the wrong kind of value
            > LMPOP 0 x RIGHT
            -ERR numkeys should be greater than 0
            > LMPOP 2 x RIGHT
            -ERR syntax error
            > LMPOP 1 x UP
            -ERR syntax error
            > LMPOP 1 x LEFT COUNT 0
            -ERR count should be greater than 0
            > LMPOP 1 x LEFT COUNT 1 COUNT 1
            -ERR syntax error
            "#,
        );
    }
}
