//! Unions, intersections and differences of sorted sets and of sets, whose members count with score 1.

use super::hops::refuse;
use super::read_then_write::{Answer, Next, ReadThenWrite, fail, integer};
use super::zset::{MembersReply, store_zset};
use crate::base::double;
use crate::base::number::parse_i64;
use crate::command_table::{
    Access, Arg, Args, Arity, CommandSpec, DEFAULTS, Flag, Flags, Group, Handler, KeySpec, Kind, Plan,
};
use crate::keyspace::{Keyspace, ValueRef};
use crate::resp::{Argv, Reply};
use crate::shard::{CommandError, CommandResult, Context, Event};
use crate::types::{SetRef, SortedSet, Value};
use std::collections::HashMap;
use std::ops::ControlFlow;

pub(super) const COMMANDS: &[&CommandSpec] =
    &[&ZUNION, &ZINTER, &ZDIFF, &ZINTERCARD, &ZUNIONSTORE, &ZINTERSTORE, &ZDIFFSTORE];

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Operation {
    Union,
    Intersection,
    Difference,
}

/// A command of this family: what it computes and what becomes of the result.
#[derive(Clone, Copy)]
struct Form {
    operation: Operation,
    /// Where the count of keys stands among the arguments.
    numkeys_at: usize,
    only_counts: bool,
    name: &'static str,
    event: Event,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn join(self, one: f64, other: f64) -> f64 {
        match self {
            Self::Sum => not_nan(one + other),
            // Of the two zeros the first one stays.
            Self::Min => {
                if other < one {
                    other
                } else {
                    one
                }
            }
            Self::Max => {
                if other > one {
                    other
                } else {
                    one
                }
            }
        }
    }
}

/// Infinities that cancel each other out give 0 here.
fn not_nan(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

struct Options {
    weights: Vec<f64>,
    aggregate: Aggregate,
    scores: bool,
    limit: usize,
}

/// The keys of a request, and the arguments after them. Redis looks at the keys before it reads these.
fn parse_keys<'a>(argv: Argv<'a>, form: Form) -> Result<(Vec<&'a [u8]>, Args<'a>), CommandError> {
    let mut args = Args::new(argv, form.numkeys_at);
    let numkeys = args.integer()?;
    if numkeys < 1 {
        let text = format!("ERR at least 1 input key is needed for '{}' command", form.name);
        return Err(CommandError::built(text));
    }
    let numkeys = usize::try_from(numkeys).ok().filter(|count| *count <= args.remaining());
    let numkeys = numkeys.ok_or(CommandError::Syntax)?;
    Ok((args.by_ref().take(numkeys).collect(), args))
}

impl Options {
    fn parse(mut args: Args<'_>, form: Form, keys: usize) -> Result<Self, CommandError> {
        let stores = form.numkeys_at == 2;
        let joins = form.operation != Operation::Difference && !form.only_counts;
        let mut options =
            Self { weights: vec![1.0; keys], aggregate: Aggregate::Sum, scores: false, limit: usize::MAX };
        while args.remaining() > 0 {
            if joins && args.remaining() > keys && args.option("WEIGHTS") {
                for weight in &mut options.weights {
                    let error = CommandError::Text("ERR weight value is not a float");
                    *weight = double::parse(args.bytes()?).ok_or(error)?;
                }
            } else if joins && args.remaining() > 1 && args.option("AGGREGATE") {
                options.aggregate = if args.option("SUM") {
                    Aggregate::Sum
                } else if args.option("MIN") {
                    Aggregate::Min
                } else if args.option("MAX") {
                    Aggregate::Max
                } else {
                    return Err(CommandError::Syntax);
                };
            } else if !stores && !form.only_counts && args.option("WITHSCORES") {
                options.scores = true;
            } else if form.only_counts && args.remaining() > 1 && args.option("LIMIT") {
                let limit = parse_i64(args.bytes()?).and_then(|limit| usize::try_from(limit).ok());
                let limit = limit.ok_or(CommandError::Text("ERR LIMIT can't be negative"))?;
                options.limit = if limit == 0 { usize::MAX } else { limit };
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(options)
    }
}

/// What a key contributes.
#[derive(Clone, Copy)]
enum Source<'a> {
    Nothing,
    Sorted(&'a SortedSet),
    /// Every member has score 1.
    Plain(SetRef<'a>),
}

impl<'a> Source<'a> {
    fn of(value: Option<ValueRef<'a>>) -> Result<Self, CommandError> {
        match value {
            None => Ok(Self::Nothing),
            Some(ValueRef::Boxed(Value::SortedSet(set))) => Ok(Self::Sorted(set)),
            Some(ValueRef::Boxed(Value::Set(set))) => Ok(Self::Plain(set.as_ref())),
            Some(ValueRef::Packed(packed)) => packed.as_set().map(Self::Plain).ok_or(CommandError::WrongType),
            Some(_) => Err(CommandError::WrongType),
        }
    }

    fn len(self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Sorted(set) => set.len(),
            Self::Plain(set) => set.len(),
        }
    }

    fn score(self, member: &[u8]) -> Option<f64> {
        match self {
            Self::Nothing => None,
            Self::Sorted(set) => set.score(member),
            Self::Plain(set) => set.contains(member).then_some(1.0),
        }
    }

    /// Visits all members until told to stop.
    fn visit(self, mut visit: impl FnMut(&[u8], f64) -> ControlFlow<()>) {
        match self {
            Self::Nothing => {}
            Self::Sorted(set) => set.visit(0..set.len(), false, &mut visit),
            Self::Plain(set) => {
                let mut scratch = itoa::Buffer::new();
                set.all(|member| visit(member.as_bytes(&mut scratch), 1.0).is_continue());
            }
        }
    }
}

type Members = Vec<(Vec<u8>, f64)>;

/// Each source with its weight.
type Weighted<'a> = Vec<(Source<'a>, f64)>;

fn compute(form: Form, sources: &[Source<'_>], options: &Options) -> Members {
    let mut weighted: Weighted<'_> = sources.iter().copied().zip(options.weights.iter().copied()).collect();
    match form.operation {
        Operation::Difference => difference(&weighted),
        operation => {
            // The order of additions shows in the last digits; this is Redis's, smallest first.
            weighted.sort_by_key(|(source, _)| source.len());
            if operation == Operation::Union {
                union(&weighted, options)
            } else {
                intersection(&weighted, options)
            }
        }
    }
}

fn union(sources: &Weighted<'_>, options: &Options) -> Members {
    let mut places: HashMap<Vec<u8>, f64> =
        HashMap::with_capacity(sources.last().map_or(0, |(source, _)| source.len()));
    for (source, weight) in sources {
        source.visit(|member, score| {
            let score = not_nan(weight * score);
            match places.get_mut(member) {
                Some(sum) => *sum = options.aggregate.join(*sum, score),
                None => _ = places.insert(member.to_vec(), score),
            }
            ControlFlow::Continue(())
        });
    }
    places.into_iter().collect()
}

fn intersection(sources: &Weighted<'_>, options: &Options) -> Members {
    let mut members = Vec::new();
    let Some(((smallest, weight), others)) = sources.split_first() else { return members };
    smallest.visit(|member, score| {
        let joined = others.iter().try_fold(not_nan(weight * score), |joined, (source, weight)| {
            // A set that is given twice is asked again, which gives what it just gave.
            Some(options.aggregate.join(joined, not_nan(weight * source.score(member)?)))
        });
        if let Some(joined) = joined {
            members.push((member.to_vec(), joined));
        }
        ControlFlow::Continue(())
    });
    members
}

fn difference(sources: &Weighted<'_>) -> Members {
    let mut members = Vec::new();
    let Some(((first, _), others)) = sources.split_first() else { return members };
    first.visit(|member, score| {
        if others.iter().all(|(source, _)| source.score(member).is_none()) {
            members.push((member.to_vec(), score));
        }
        ControlFlow::Continue(())
    });
    members
}

fn count_common(sources: &[Source<'_>], limit: usize) -> usize {
    let mut sources = sources.to_vec();
    sources.sort_by_key(|source| source.len());
    let Some((smallest, others)) = sources.split_first() else { return 0 };
    let mut count = 0;
    smallest.visit(|member, _| {
        count += usize::from(others.iter().all(|source| source.score(member).is_some()));
        if count < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    count
}

/// What a command answers: a result, or its size.
enum Outcome {
    Members(Members),
    Count(usize),
}

fn outcome(
    form: Form,
    values: &[Option<ValueRef<'_>>],
    options: Args<'_>,
) -> Result<(Outcome, bool), CommandError> {
    let sources: Vec<Source<'_>> = values.iter().map(|value| Source::of(*value)).collect::<Result<_, _>>()?;
    let options = Options::parse(options, form, sources.len())?;
    if form.only_counts {
        return Ok((Outcome::Count(count_common(&sources, options.limit)), false));
    }
    Ok((Outcome::Members(compute(form, &sources, &options)), options.scores))
}

fn write(reply: &mut Reply<'_>, mut members: Members, scores: bool) {
    members.sort_unstable_by(|one, other| {
        one.1.partial_cmp(&other.1).expect("scores are no NaN").then_with(|| one.0.cmp(&other.0))
    });
    let mut out = MembersReply::begin(reply, members.len(), scores);
    members.iter().for_each(|(member, score)| out.member(member, *score));
}

/// The value of a key that was looked up before.
fn value_of<'a>(keyspace: &'a Keyspace, key: &[u8]) -> Option<ValueRef<'a>> {
    keyspace.find(key).map(|entry| entry.value())
}

fn run(ctx: &mut Context<'_>, args: Args<'_>, form: Form, reply: &mut Reply<'_>) -> CommandResult {
    let argv = args.argv();
    let (keys, options) = parse_keys(argv, form)?;
    // Looked up one by one first, for what a lookup entails; then all are borrowed together.
    for key in &keys {
        ctx.read(key);
    }
    let keyspace = &*ctx.keyspace();
    let values: Vec<_> = keys.iter().map(|key| value_of(keyspace, key)).collect();
    let (outcome, scores) = outcome(form, &values, options)?;
    match outcome {
        Outcome::Count(count) => reply.length(count),
        Outcome::Members(members) if form.numkeys_at == 2 => {
            reply.length(store_zset(ctx, &argv[1], members, form.event));
        }
        Outcome::Members(members) => write(reply, members, scores),
    }
    Ok(())
}

fn plan(argv: Argv<'_>, form: Form) -> Box<dyn Plan> {
    let keys = match parse_keys(argv, form) {
        Ok((keys, _)) => keys,
        Err(error) => return refuse(error),
    };
    let (argv, count) = (argv.to_owned(), keys.len());
    ReadThenWrite::plan(
        keys.into_iter().map(Box::from).collect(),
        |ctx, key| ctx.read(key).map(|entry| entry.to_value()),
        move |read: Vec<Option<Value>>| {
            let argv = argv.as_argv();
            let values: Vec<_> = read.iter().map(|value| value.as_ref().map(ValueRef::Boxed)).collect();
            let options = Args::new(argv, form.numkeys_at + 1 + count);
            match outcome(form, &values, options) {
                Err(error) => Next::Answer(fail(error)),
                Ok((Outcome::Count(count), _)) => Next::Answer(integer(count as i64)),
                Ok((Outcome::Members(members), _)) if form.numkeys_at == 2 => {
                    let key: Box<[u8]> = argv[1].into();
                    let run = {
                        let key = key.clone();
                        move |ctx: &mut Context<'_>| -> Answer {
                            integer(store_zset(ctx, &key, members, form.event) as i64)
                        }
                    };
                    Next::At { key, run: Box::new(run) }
                }
                Ok((Outcome::Members(members), scores)) => Next::Answer(Box::new(move |reply| {
                    write(reply, members, scores);
                    Ok(())
                })),
            }
        },
    )
}

macro_rules! forms {
    ($($run:ident $plan:ident $form:ident: $operation:ident $numkeys_at:literal $only_counts:literal $name:literal $event:ident;)*) => {
        $(
            const $form: Form = Form {
                operation: Operation::$operation,
                numkeys_at: $numkeys_at,
                only_counts: $only_counts,
                name: $name,
                event: Event::$event,
            };

            fn $run(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
                run(ctx, args, $form, reply)
            }

            fn $plan(argv: Argv<'_>) -> Box<dyn Plan> {
                plan(argv, $form)
            }
        )*
    };
}

forms! {
    zunion plan_zunion UNION: Union 1 false "zunion" ZUnionStore;
    zinter plan_zinter INTER: Intersection 1 false "zinter" ZInterStore;
    zdiff plan_zdiff DIFF: Difference 1 false "zdiff" ZDiffStore;
    zintercard plan_zintercard INTERCARD: Intersection 1 true "zintercard" ZInterStore;
    zunionstore plan_zunionstore UNIONSTORE: Union 2 false "zunionstore" ZUnionStore;
    zinterstore plan_zinterstore INTERSTORE: Intersection 2 false "zinterstore" ZInterStore;
    zdiffstore plan_zdiffstore DIFFSTORE: Difference 2 false "zdiffstore" ZDiffStore;
}

const ZUNION: CommandSpec = CommandSpec {
    name: "ZUNION",
    full_name: "zunion",
    arity: Arity::AtLeast(3),
    flags: Flags::of(&[Flag::ReadOnly]),
    group: Group::SortedSet,
    keys: &[KeySpec::counted(1, Access::Read, &["access"])],
    since: "6.2.0",
    complexity: "O(N)+O(M*log(M)) where N is the number of members of all sorted sets and M the number of members returned.",
    summary: "Returns all members of several sorted sets, with joined scores.",
    args: &[
        Arg::integer("numkeys"),
        Arg::key("key").multiple(),
        Arg::integer("weight").after("WEIGHTS").optional().multiple(),
        Arg::one_of(
            "aggregate",
            &[Arg::token("sum", "SUM"), Arg::token("min", "MIN"), Arg::token("max", "MAX")],
        )
        .after("AGGREGATE")
        .optional(),
        Arg::token("withscores", "WITHSCORES").optional(),
    ],
    handler: Handler::Transaction { run: zunion, plan: plan_zunion },
    ..DEFAULTS
};

const ZINTER: CommandSpec = CommandSpec {
    name: "ZINTER",
    full_name: "zinter",
    complexity: "O(N*K)+O(M*log(M)) where N is the size of the smallest of K sorted sets and M the number of members returned.",
    summary: "Returns the members that several sorted sets share, with joined scores.",
    handler: Handler::Transaction { run: zinter, plan: plan_zinter },
    ..ZUNION
};

const ZDIFF: CommandSpec = CommandSpec {
    name: "ZDIFF",
    full_name: "zdiff",
    complexity: "O(N*K)+O(M*log(M)) where N is the size of the first of K sorted sets and M the number of members returned.",
    summary: "Returns the members of the first sorted set that are in no other one.",
    args: &[
        Arg::integer("numkeys"),
        Arg::key("key").multiple(),
        Arg::token("withscores", "WITHSCORES").optional(),
    ],
    handler: Handler::Transaction { run: zdiff, plan: plan_zdiff },
    ..ZUNION
};

const ZINTERCARD: CommandSpec = CommandSpec {
    name: "ZINTERCARD",
    full_name: "zintercard",
    arity: Arity::AtLeast(3),
    flags: Flags::of(&[Flag::ReadOnly]),
    group: Group::SortedSet,
    keys: &[KeySpec::counted(1, Access::Read, &["access"])],
    since: "7.0.0",
    complexity: "O(N*K) where N is the size of the smallest of K sorted sets.",
    summary: "Counts the members that several sorted sets share.",
    args: &[
        Arg::integer("numkeys"),
        Arg::key("key").multiple(),
        Arg::integer("limit").after("LIMIT").optional(),
    ],
    handler: Handler::Transaction { run: zintercard, plan: plan_zintercard },
    ..DEFAULTS
};

const ZUNIONSTORE: CommandSpec = CommandSpec {
    name: "ZUNIONSTORE",
    full_name: "zunionstore",
    arity: Arity::AtLeast(4),
    flags: Flags::of(&[Flag::Write, Flag::DenyOom]),
    group: Group::SortedSet,
    keys: &[KeySpec::at(1, Access::Overwrite, &["update"]), KeySpec::counted(2, Access::Read, &["access"])],
    since: "2.0.0",
    complexity: "O(N)+O(M*log(M)) where N is the number of members of all sorted sets and M the number of members stored.",
    summary: "Stores all members of several sorted sets, with joined scores.",
    args: &[
        Arg::key("destination"),
        Arg::integer("numkeys"),
        Arg::new("key", Kind::Key(1)).multiple(),
        Arg::integer("weight").after("WEIGHTS").optional().multiple(),
        Arg::one_of(
            "aggregate",
            &[Arg::token("sum", "SUM"), Arg::token("min", "MIN"), Arg::token("max", "MAX")],
        )
        .after("AGGREGATE")
        .optional(),
    ],
    handler: Handler::Transaction { run: zunionstore, plan: plan_zunionstore },
    ..DEFAULTS
};

const ZINTERSTORE: CommandSpec = CommandSpec {
    name: "ZINTERSTORE",
    full_name: "zinterstore",
    complexity: "O(N*K)+O(M*log(M)) where N is the size of the smallest of K sorted sets and M the number of members stored.",
    summary: "Stores the members that several sorted sets share, with joined scores.",
    handler: Handler::Transaction { run: zinterstore, plan: plan_zinterstore },
    ..ZUNIONSTORE
};

const ZDIFFSTORE: CommandSpec = CommandSpec {
    name: "ZDIFFSTORE",
    full_name: "zdiffstore",
    arity: Arity::AtLeast(4),
    flags: Flags::of(&[Flag::Write, Flag::DenyOom]),
    group: Group::SortedSet,
    keys: &[KeySpec::at(1, Access::Overwrite, &["update"]), KeySpec::counted(2, Access::Read, &["access"])],
    since: "6.2.0",
    complexity: "O(N*K)+O(M*log(M)) where N is the size of the first of K sorted sets and M the number of members stored.",
    summary: "Stores the members of the first sorted set that are in no other one.",
    args: &[Arg::key("destination"), Arg::integer("numkeys"), Arg::new("key", Kind::Key(1)).multiple()],
    handler: Handler::Transaction { run: zdiffstore, plan: plan_zdiffstore },
    ..DEFAULTS
};

#[cfg(test)]
mod tests {
    use crate::commands::testing::check;

    #[test]
    fn unions_and_intersections() {
        check(
            r#"
            > ZADD a 1 x 2 y 3 z
            :3
            > ZADD b 10 y 20 z 30 w
            :3
            > SADD s y z q
            :3
            > ZUNION 2 a b WITHSCORES
            [$x, $1, $y, $12, $z, $23, $w, $30]
            > ZUNION 3 a b s WEIGHTS 1 2 3 AGGREGATE MAX WITHSCORES
            [$x, $1, $q, $3, $y, $20, $z, $40, $w, $60]
            > ZINTER 3 a b s WITHSCORES
            [$y, $13, $z, $24]
            > ZINTER 2 a none
            []
            > ZDIFF 2 a b WITHSCORES
            [$x, $1]
            > ZINTERCARD 2 a b
            :2
            > ZINTERCARD 2 a b LIMIT 1
            :1
            > ZINTERCARD 2 a b LIMIT -1
            -ERR LIMIT can't be negative
            > ZUNIONSTORE d 2 a b WEIGHTS 2 1
            :4
            > ZRANGE d 0 -1 WITHSCORES
            [$x, $2, $y, $14, $z, $26, $w, $30]
            > ZINTERSTORE d 2 a b AGGREGATE MIN
            :2
            > ZRANGE d 0 -1 WITHSCORES
            [$y, $2, $z, $3]
            > ZDIFFSTORE d 2 a a
            :0
            > EXISTS d
            :0
            > ZUNION 0 a
            -ERR at least 1 input key is needed for 'zunion' command
            > ZUNION x a
            -ERR value is not an integer or out of range
            > ZUNION 3 a b
            -ERR syntax error
            > ZUNION 2 a b WEIGHTS 1 x
            -ERR weight value is not a float
            > ZUNION 2 a b AGGREGATE avg
            -ERR syntax error
            > ZUNIONSTORE d 1 a WITHSCORES
            -ERR syntax error
            > SET t x
            +OK
            > ZUNION 2 a t
            -WRONGTYPE Operation against a key holding the wrong kind of value
            > ZADD i inf m
            :1
            > ZADD j -inf m
            :1
            > ZUNION 2 i j WITHSCORES
            [$m, $0]
            "#,
        );
    }
}
