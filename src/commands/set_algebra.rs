//! Several sets: intersections, unions, differences.
//!
//! Where the sets live on several shards, each owner hands over a copy of its own, and the client's core computes;
//! the owner of the destination stores the result.

use super::entry_reply::write_entry;
use super::hops::{refuse, result};
use crate::base::number::parse_i64;
use crate::command_table::{
    Access, Arg, Args, Arity, CommandSpec, Contribution, DEFAULTS, Flag, Flags, Group, Handler, HopWork,
    KeySpec, Kind, Plan, Step,
};
use crate::keyspace::{Keyspace, Ttl};
use crate::resp::{Argv, Reply};
use crate::shard::{CommandError, CommandResult, Context, Event};
use crate::types::encoding::Entry;
use crate::types::{EncodingLimits, Set, SetRef, Value, set};

pub(super) const COMMANDS: &[&CommandSpec] =
    &[&SINTER, &SINTERCARD, &SINTERSTORE, &SUNION, &SUNIONSTORE, &SDIFF, &SDIFFSTORE];

const SINTER: CommandSpec = CommandSpec {
    name: "SINTER",
    full_name: "sinter",
    arity: Arity::AtLeast(2),
    flags: Flags::of(&[Flag::ReadOnly]),
    group: Group::Set,
    keys: &[KeySpec::from(1, 1, Access::Read, &["access"])],
    since: "1.0.0",
    complexity: "O(N*M) at worst, where N is the size of the smallest set and M the number of sets.",
    summary: "Returns the members that several sets have in common.",
    args: &[Arg::key("key").multiple()],
    tips: &["nondeterministic_output_order"],
    handler: Handler::Transaction { run: combine, plan: plan_combine },
    ..DEFAULTS
};

const SINTERCARD: CommandSpec = CommandSpec {
    name: "SINTERCARD",
    full_name: "sintercard",
    arity: Arity::AtLeast(3),
    flags: Flags::of(&[Flag::ReadOnly]),
    group: Group::Set,
    keys: &[KeySpec::counted(1, Access::Read, &["access"])],
    since: "7.0.0",
    complexity: "O(N*M) at worst, where N is the size of the smallest set and M the number of sets.",
    summary: "Returns how many members several sets have in common.",
    args: &[
        Arg::integer("numkeys"),
        Arg::key("key").multiple(),
        Arg::integer("limit").after("LIMIT").optional(),
    ],
    handler: Handler::Transaction { run: combine, plan: plan_combine },
    ..DEFAULTS
};

const SINTERSTORE: CommandSpec = CommandSpec {
    name: "SINTERSTORE",
    full_name: "sinterstore",
    arity: Arity::AtLeast(3),
    flags: Flags::of(&[Flag::Write, Flag::DenyOom]),
    group: Group::Set,
    keys: &[KeySpec::at(1, Access::Update, &["update"]), KeySpec::from(2, 1, Access::Read, &["access"])],
    since: "1.0.0",
    complexity: "O(N*M) at worst, where N is the size of the smallest set and M the number of sets.",
    summary: "Stores the members that several sets have in common.",
    args: &[Arg::key("destination"), Arg::new("key", Kind::Key(1)).multiple()],
    handler: Handler::Transaction { run: combine, plan: plan_combine },
    ..DEFAULTS
};

const SUNION: CommandSpec = CommandSpec {
    name: "SUNION",
    full_name: "sunion",
    complexity: "O(N) where N is the number of members of all sets.",
    summary: "Returns the members that any of several sets has.",
    ..SINTER
};

const SUNIONSTORE: CommandSpec = CommandSpec {
    name: "SUNIONSTORE",
    full_name: "sunionstore",
    keys: &[KeySpec::at(1, Access::Overwrite, &["update"]), KeySpec::from(2, 1, Access::Read, &["access"])],
    complexity: "O(N) where N is the number of members of all sets.",
    summary: "Stores the members that any of several sets has.",
    ..SINTERSTORE
};

const SDIFF: CommandSpec = CommandSpec {
    name: "SDIFF",
    full_name: "sdiff",
    summary: "Returns the members of the first set that no other set has.",
    ..SUNION
};

const SDIFFSTORE: CommandSpec = CommandSpec {
    name: "SDIFFSTORE",
    full_name: "sdiffstore",
    summary: "Stores the members of the first set that no other set has.",
    ..SUNIONSTORE
};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Operation {
    Intersection,
    Union,
    Difference,
}

/// What becomes of the members.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Output {
    Reply,
    /// Their number, counted up to a limit; 0 is none.
    Count(usize),
    Store(Box<[u8]>),
}

/// A request, read and checked.
struct Request<'a> {
    operation: Operation,
    keys: Argv<'a>,
    output: Output,
}

impl<'a> Request<'a> {
    fn parse(argv: Argv<'a>) -> Result<Self, CommandError> {
        let name = argv.first().expect("a request has a name").to_ascii_lowercase();
        let operation = match &name[..] {
            [b's', b'i', ..] => Operation::Intersection,
            [b's', b'u', ..] => Operation::Union,
            _ => Operation::Difference,
        };
        if name == b"sintercard" {
            return Self::parse_count(argv);
        }
        if name.ends_with(b"store") {
            let destination = argv.get(1).expect("the arity covers it").into();
            return Ok(Self { operation, keys: argv.from_index(2), output: Output::Store(destination) });
        }
        Ok(Self { operation, keys: argv.from_index(1), output: Output::Reply })
    }

    fn parse_count(argv: Argv<'a>) -> Result<Self, CommandError> {
        let number = argv.get(1).and_then(parse_i64).filter(|number| *number >= 1);
        let number = number.ok_or(CommandError::Text("ERR numkeys should be greater than 0"))? as usize;
        if number > argv.len() - 2 {
            return Err(CommandError::Text("ERR Number of keys can't be greater than number of args"));
        }
        let mut args = Args::new(argv.from_index(2 + number), 0);
        let mut limit = 0;
        while args.remaining() > 0 {
            if args.remaining() < 2 || !args.option("LIMIT") {
                return Err(CommandError::Syntax);
            }
            let value = args.next().and_then(parse_i64).filter(|value| *value >= 0);
            limit = value.ok_or(CommandError::Text("ERR LIMIT can't be negative"))? as usize;
        }
        let keys = argv.slice(2..2 + number);
        Ok(Self { operation: Operation::Intersection, keys, output: Output::Count(limit) })
    }
}

impl Operation {
    fn event(self) -> Event {
        match self {
            Self::Intersection => Event::SInterStore,
            Self::Union => Event::SUnionStore,
            Self::Difference => Event::SDiffStore,
        }
    }

    /// Calls `go_on` with each member of the result until it returns false; `sets` has `None` for missing keys.
    fn run(
        self,
        sets: &[Option<SetRef<'_>>],
        limits: &EncodingLimits,
        mut go_on: impl FnMut(Entry<'_>) -> bool,
    ) {
        let mut present: Vec<SetRef<'_>> = sets.iter().flatten().copied().collect();
        match self {
            Self::Intersection if present.len() < sets.len() => {}
            Self::Intersection => set::intersection(&mut present, go_on),
            Self::Difference if sets[0].is_none() => {}
            Self::Difference => set::difference(&present, |member| {
                go_on(member);
            }),
            Self::Union => {
                set::union(&present, limits).as_ref().all(go_on);
            }
        }
    }

    fn collect(self, sets: &[Option<SetRef<'_>>], limits: &EncodingLimits) -> Set {
        let present = || -> Vec<SetRef<'_>> { sets.iter().flatten().copied().collect() };
        if self == Self::Union {
            return set::union(&present(), limits);
        }
        let mut result = Set::default();
        self.run(sets, limits, |member| {
            result.add(member.as_bytes(&mut itoa::Buffer::new()), limits);
            true
        });
        result
    }

    fn write(self, sets: &[Option<SetRef<'_>>], limits: &EncodingLimits, reply: &mut Reply<'_>) {
        let deferred = reply.deferred_set();
        let mut members = 0;
        self.run(sets, limits, |member| {
            write_entry(reply, member);
            members += 1;
            true
        });
        reply.finish(deferred, members);
    }

    fn count(self, sets: &[Option<SetRef<'_>>], limits: &EncodingLimits, limit: usize) -> usize {
        let mut members = 0;
        self.run(sets, limits, |_| {
            members += 1;
            members != limit
        });
        members
    }
}

/// Looks the keys up as a command that reads does, and checks that they are sets.
fn check(ctx: &mut Context<'_>, keys: Argv<'_>) -> CommandResult {
    keys.iter().try_for_each(|key| ctx.read_set(key).map(drop))
}

/// The sets of keys that [`check`] has seen.
fn sets<'a>(keyspace: &'a Keyspace, keys: Argv<'_>) -> Vec<Option<SetRef<'a>>> {
    let set = |key| keyspace.find(key)?.value().as_set();
    keys.iter().map(set).collect()
}

fn store(ctx: &mut Context<'_>, operation: Operation, key: &[u8], result: Set) -> usize {
    let members = result.len();
    if members > 0 {
        ctx.insert(key, Value::Set(result), Ttl::Clear);
        ctx.modified(key, operation.event());
    } else {
        let lazily = ctx.shard.options.lazy_server_del;
        if ctx.remove(key, lazily) {
            ctx.modified(key, Event::Del);
        }
    }
    members
}

/// All of these commands, where one shard has all keys.
fn combine(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let Request { operation, keys, output } = Request::parse(args.argv())?;
    check(ctx, keys)?;
    let limits = ctx.shard.options.encoding;
    match output {
        Output::Reply => operation.write(&sets(ctx.keyspace(), keys), &limits, reply),
        Output::Count(limit) => reply.length(operation.count(&sets(ctx.keyspace(), keys), &limits, limit)),
        Output::Store(key) => {
            let result = operation.collect(&sets(ctx.keyspace(), keys), &limits);
            reply.length(store(ctx, operation, &key, result));
        }
    }
    Ok(())
}

fn plan_combine(argv: Argv<'_>) -> Box<dyn Plan> {
    match Request::parse(argv) {
        Ok(Request { operation, keys, output }) => {
            Box::new(Combine { operation, output, stage: Stage::Read(keys.iter().map(Box::from).collect()) })
        }
        Err(error) => refuse(error),
    }
}

/// `Read -> Compute [-> Stored]`.
struct Combine {
    operation: Operation,
    output: Output,
    stage: Stage,
}

enum Stage {
    Read(Vec<Box<[u8]>>),
    Compute,
    Stored,
}

/// A copy of a set, and the limits that its owner goes by.
type ReadSet = Result<(Option<Set>, EncodingLimits), CommandError>;

impl Plan for Combine {
    fn step(&mut self, results: Vec<Contribution>, reply: &mut Reply<'_>) -> Step {
        match std::mem::replace(&mut self.stage, Stage::Compute) {
            Stage::Read(keys) => Step::Hop(keys.iter().map(|key| HopWork::new(key, reader(key))).collect()),
            Stage::Compute => {
                let mut limits = EncodingLimits::default();
                let mut owned = Vec::with_capacity(results.len());
                for read in results.into_iter().map(result::<ReadSet>) {
                    match read {
                        Ok((set, theirs)) => {
                            limits = theirs;
                            owned.push(set);
                        }
                        Err(error) => return Step::Done(Err(error)),
                    }
                }
                let sets: Vec<_> = owned.iter().map(|set| set.as_ref().map(Set::as_ref)).collect();
                match &self.output {
                    Output::Reply => self.operation.write(&sets, &limits, reply),
                    Output::Count(limit) => reply.length(self.operation.count(&sets, &limits, *limit)),
                    Output::Store(key) => {
                        let set = self.operation.collect(&sets, &limits);
                        let (key, operation) = (key.clone(), self.operation);
                        self.stage = Stage::Stored;
                        let owner = key.clone();
                        return Step::Hop(vec![HopWork::new(&owner, move |ctx| {
                            store(ctx, operation, &key, set)
                        })]);
                    }
                }
                Step::Done(Ok(()))
            }
            Stage::Stored => {
                let members = results.into_iter().map(result::<usize>).next().expect("one piece of work");
                reply.length(members);
                Step::Done(Ok(()))
            }
        }
    }
}

fn reader(key: &[u8]) -> impl FnOnce(&mut Context<'_>) -> ReadSet + Send + use<> {
    let key: Box<[u8]> = key.into();
    move |ctx| {
        let limits = ctx.shard.options.encoding;
        Ok((ctx.read_set(&key)?.map(SetRef::to_set), limits))
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::{Cores, check};
    use crate::resp::Value;
    use std::collections::BTreeSet;

    fn run(cores: &mut Cores, line: &str) -> Value {
        cores.run(&line.split(' ').collect::<Vec<_>>())
    }

    #[test]
    fn combinations() {
        check(
            "
            > SADD ints 1 2 3 4
            :4
            > SADD mixed 2 4 x
            :3
            > SADD texts x y 4
            :3
            > SINTER ints mixed
            [$2, $4]
            > SINTER ints mixed texts
            [$4]
            > SINTER ints missing
            []
            > SINTER ints
            [$1, $2, $3, $4]
            > SUNION ints mixed missing texts
            [$1, $2, $3, $4, $x, $y]
            > SDIFF ints mixed
            [$1, $3]
            > SDIFF mixed ints texts
            []
            > SDIFF missing ints
            []
            > SDIFF ints ints
            []
            > SDIFF ints missing
            [$1, $2, $3, $4]
            > SINTERSTORE to ints mixed
            :2
            > SMEMBERS to
            [$2, $4]
            > OBJECT ENCODING to
            $intset
            > SUNIONSTORE to ints texts
            :6
            > OBJECT ENCODING to
            $hashtable
            > SDIFFSTORE to to ints
            :2
            > SMEMBERS to
            [$x, $y]
            > SINTERSTORE to ints missing
            :0
            > EXISTS to
            :0
            > SET to text
            +OK
            > SUNIONSTORE to missing
            :0
            > EXISTS to
            :0
            > SET to text EX 100
            +OK
            > SUNIONSTORE to ints
            :4
            > TTL to
            :-1
            > SET text v
            +OK
            > SINTER missing text
            -WRONGTYPE Operation against a key holding the wrong kind of value
            > SUNION ints text
            -WRONGTYPE Operation against a key holding the wrong kind of value
            > SDIFF missing text
            -WRONGTYPE Operation against a key holding the wrong kind of value
            > SINTERSTORE to ints text
            -WRONGTYPE Operation against a key holding the wrong kind of value
            > SCARD to
            :4
            @ resp3
            > SINTER ints mixed
            set[$2, $4]
            > SINTER missing
            set[]
            ",
        );
    }

    #[test]
    fn counting() {
        check(
            "
            > SADD a 1 2 3 x
            :4
            > SADD b 2 3 x y
            :4
            > SINTERCARD 2 a b
            :3
            > SINTERCARD 1 a
            :4
            > SINTERCARD 2 a b LIMIT 2
            :2
            > SINTERCARD 2 a b LIMIT 0
            :3
            > SINTERCARD 2 a b limit 9
            :3
            > SINTERCARD 2 a missing
            :0
            > SINTERCARD 0 a
            -ERR numkeys should be greater than 0
            > SINTERCARD x a
            -ERR numkeys should be greater than 0
            > SINTERCARD 9223372036854775807 a
            -ERR Number of keys can't be greater than number of args
            > SINTERCARD 3 a b
            -ERR Number of keys can't be greater than number of args
            > SINTERCARD 2 a b c
            -ERR syntax error
            > SINTERCARD 2 a b LIMIT
            -ERR syntax error
            > SINTERCARD 2 a b LIMIT -1
            -ERR LIMIT can't be negative
            > SINTERCARD 2 a b LIMIT x
            -ERR LIMIT can't be negative
            ",
        );
    }

    /// Tables, where a member is hashed once for all sets.
    #[test]
    fn large_sets() {
        for cores in [1, 3] {
            let mut cores = Cores::new(cores);
            let (evens, threes): (Vec<u32>, Vec<u32>) =
                ((0..900).step_by(2).collect(), (0..900).step_by(3).collect());
            for (key, members) in [("even", &evens), ("three", &threes)] {
                for member in members {
                    run(&mut cores, &format!("SADD {key} member{member}"));
                }
            }
            let count = |cores: &mut Cores, command: &str| match run(cores, command) {
                Value::Array(elements) => {
                    elements.iter().map(|element| format!("{element:?}")).collect::<BTreeSet<_>>().len()
                }
                other => panic!("{other:?}"),
            };
            assert_eq!(count(&mut cores, "SINTER even three"), 150);
            assert_eq!(count(&mut cores, "SUNION even three"), 600);
            assert_eq!(count(&mut cores, "SDIFF even three"), 300);
            assert_eq!(run(&mut cores, "SINTERCARD 2 three even LIMIT 100"), Value::Integer(100));
            assert_eq!(run(&mut cores, "SUNIONSTORE even even three"), Value::Integer(600));
        }
    }
}
