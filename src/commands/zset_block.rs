//! Sorted sets, waiting: BZPOPMIN, BZPOPMAX, BZMPOP.

use super::hops::refuse;
use super::list_block::always;
use super::timeout;
use super::zset_pop::{End, MultiPop, WritePopped, plan_pop, pop_first, write_popped};
use crate::command_table::{
    Access, Arg, Args, Arity, CommandSpec, DEFAULTS, Flag, Flags, Group, Handler, KeySpec, Kind, Plan,
    WaitOrder,
};
use crate::keyspace::ValueRef;
use crate::resp::{Argv, Reply};
use crate::shard::{CommandError, CommandResult, Context, Wish};
use crate::types::Value;
use std::sync::Arc;

pub(super) const COMMANDS: &[&CommandSpec] = &[&BZPOPMIN, &BZPOPMAX, &BZMPOP];

const BZPOPMIN: CommandSpec = CommandSpec {
    name: "BZPOPMIN",
    full_name: "bzpopmin",
    arity: Arity::AtLeast(3),
    flags: Flags::of(&[Flag::Write, Flag::NoScript, Flag::Blocking, Flag::Fast]),
    group: Group::SortedSet,
    keys: &[KeySpec::range(1, -2, 1, Access::Update, &["access", "delete"])],
    since: "5.0.0",
    complexity: "O(log(N)) where N is the number of members of the sorted set.",
    summary: "Removes and returns the member with the lowest score of the first sorted set that is not missing, or waits for one.",
    args: &[Arg::key("key").multiple(), Arg::new("timeout", Kind::Double)],
    handler: Handler::Blocking { run: bzpopmin, plan: plan_bzpopmin, may_wait: always, wait: wait_bzpopmin },
    ..DEFAULTS
};

const BZPOPMAX: CommandSpec = CommandSpec {
    name: "BZPOPMAX",
    full_name: "bzpopmax",
    summary: "Removes and returns the member with the highest score of the first sorted set that is not missing, or waits for one.",
    handler: Handler::Blocking { run: bzpopmax, plan: plan_bzpopmax, may_wait: always, wait: wait_bzpopmax },
    ..BZPOPMIN
};

const BZMPOP: CommandSpec = CommandSpec {
    name: "BZMPOP",
    full_name: "bzmpop",
    arity: Arity::AtLeast(5),
    flags: Flags::of(&[Flag::Write, Flag::Blocking]),
    group: Group::SortedSet,
    keys: &[KeySpec::counted(2, Access::Update, &["access", "delete"])],
    since: "7.0.0",
    complexity: "O(K) + O(M*log(N)) where K is the number of keys and M the number of members removed.",
    summary: "Removes and returns members from one end of the first sorted set that is not missing, or waits for one.",
    args: &[
        Arg::new("timeout", Kind::Double),
        Arg::integer("numkeys"),
        Arg::key("key").multiple(),
        Arg::one_of("where", &[Arg::token("min", "MIN"), Arg::token("max", "MAX")]),
        Arg::integer("count").after("COUNT").optional(),
    ],
    handler: Handler::Blocking { run: bzmpop, plan: plan_bzmpop, may_wait: always, wait: wait_bzmpop },
    ..DEFAULTS
};

/// What each of the three asks for, in one form.
struct Request<'a> {
    keys: Vec<&'a [u8]>,
    pop: Pop,
    timeout_ms: u64,
}

#[derive(Clone, Copy)]
struct Pop {
    end: End,
    count: usize,
    write: WritePopped,
}

impl<'a> Request<'a> {
    /// `BZPOPMIN key [key …] timeout`
    fn parse_one(argv: Argv<'a>, end: End) -> Result<Self, CommandError> {
        let last = argv.len() - 1;
        let timeout_ms = timeout::parse(&argv[last])?;
        let keys = argv.iter().skip(1).take(last - 1).collect();
        Ok(Self { keys, pop: Pop { end, count: 1, write: write_one }, timeout_ms })
    }

    /// `BZMPOP timeout numkeys key [key …] MIN|MAX [COUNT count]`; Redis looks at the timeout last.
    fn parse_many(argv: Argv<'a>) -> Result<Self, CommandError> {
        let MultiPop { keys, end, count } = MultiPop::parse(Args::new(argv, 2))?;
        let timeout_ms = timeout::parse(&argv[1])?;
        Ok(Self { keys, pop: Pop { end, count, write: write_popped }, timeout_ms })
    }

    fn run(self, ctx: &mut Context<'_>, reply: &mut Reply<'_>) -> CommandResult {
        let Pop { end, count, write } = self.pop;
        pop_first(ctx, self.keys, end, count, write, reply)
    }

    fn owned_keys(&self) -> Vec<Box<[u8]>> {
        self.keys.iter().map(|key| Box::from(*key)).collect()
    }

    fn wait(self) -> WaitOrder {
        WaitOrder {
            keys: self.owned_keys(),
            wish: Arc::new(self.pop),
            further: None,
            timeout_ms: self.timeout_ms,
        }
    }
}

fn plan(request: Result<Request<'_>, CommandError>) -> Box<dyn Plan> {
    match request {
        Ok(request) => {
            let Pop { end, count, write } = request.pop;
            plan_pop(request.owned_keys(), end, count, write)
        }
        Err(error) => refuse(error),
    }
}

/// `[key, member, score]`, flat in both protocols.
fn write_one(reply: &mut Reply<'_>, key: &[u8], members: &[(Vec<u8>, f64)]) {
    let (member, score) = members.first().expect("a sorted set is never empty");
    reply.array(3);
    reply.bulk(key);
    reply.bulk(member);
    reply.double(*score);
}

impl Wish for Pop {
    fn wants(&self, value: ValueRef<'_>) -> bool {
        matches!(value, ValueRef::Boxed(Value::SortedSet(_)))
    }

    fn serve(&self, ctx: &mut Context<'_>, key: &[u8], reply: &mut Reply<'_>) -> CommandResult {
        pop_first(ctx, [key], self.end, self.count, self.write, reply)
    }
}

fn bzpopmin(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    Request::parse_one(args.argv(), End::Min)?.run(ctx, reply)
}

fn bzpopmax(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    Request::parse_one(args.argv(), End::Max)?.run(ctx, reply)
}

fn bzmpop(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    Request::parse_many(args.argv())?.run(ctx, reply)
}

fn plan_bzpopmin(argv: Argv<'_>) -> Box<dyn Plan> {
    plan(Request::parse_one(argv, End::Min))
}

fn plan_bzpopmax(argv: Argv<'_>) -> Box<dyn Plan> {
    plan(Request::parse_one(argv, End::Max))
}

fn plan_bzmpop(argv: Argv<'_>) -> Box<dyn Plan> {
    plan(Request::parse_many(argv))
}

fn wait_bzpopmin(argv: Argv<'_>) -> Result<WaitOrder, CommandError> {
    Request::parse_one(argv, End::Min).map(Request::wait)
}

fn wait_bzpopmax(argv: Argv<'_>) -> Result<WaitOrder, CommandError> {
    Request::parse_one(argv, End::Max).map(Request::wait)
}

fn wait_bzmpop(argv: Argv<'_>) -> Result<WaitOrder, CommandError> {
    Request::parse_many(argv).map(Request::wait)
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::check;

    #[test]
    fn with_something_there_they_do_not_wait() {
        check(
            r#"
            > ZADD z 1 a 2 b 3 c 4 d 5 e
            :5
            > BZPOPMIN x z y 0
            [$z, $a, $1]
            > BZPOPMAX x z y 0.5
            [$z, $e, $5]
            > BZMPOP 0 2 x z MAX COUNT 2
            [$z, [[$d, $4], [$c, $3]]]
            > BZMPOP 0 1 z MIN
            [$z, [[$b, $2]]]
            > EXISTS z
            :0
            > BZPOPMIN z x
            -ERR timeout is not a float or out of range
            > BZPOPMIN z -1
            -ERR timeout is negative
            > BZMPOP x 0 z MIN
            -ERR numkeys should be greater than 0
            > BZMPOP x 1 z MID
            -ERR syntax error
            > BZMPOP x 1 z MIN COUNT 0
            -ERR count should be greater than 0
            > BZMPOP x 1 z MIN
            -ERR timeout is not a float or out of range
            > BZMPOP -1 1 z MIN
            -ERR timeout is negative
            > SET s x
            +OK
            > BZPOPMIN x s 0
            -WRONGTYPE Operation against a key holding the wrong kind of value
            > BZMPOP 0 2 x s MIN
            -WRONGTYPE Operation against a key holding the wrong kind of value
            "#,
        );
    }
}
