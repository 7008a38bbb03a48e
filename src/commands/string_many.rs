//! Strings of several keys: MGET, MSET, and those that set all keys or none.

use super::hops::result;
use super::string::{declare_set, propagate_set};
use super::string_options::{Condition, EXPIRATION_ARGS, Expiry, Options, Reader};
use crate::base::UnixMillis;
use crate::base::number::parse_i64;
use crate::command_table::{
    Access, Arg, Args, Arity, CommandSpec, Contribution, DEFAULTS, Find, Flag, Flags, Group, Handler,
    HopWork, KeySpec, Merge, Plan, Step,
};
use crate::keyspace::Ttl;
use crate::resp::{Argv, ArgvBuf, Reply};
use crate::shard::{CommandError, CommandResult, Context, Event};

pub(super) const COMMANDS: &[&CommandSpec] = &[&MGET, &MSET, &MSETNX, &MSETEX];

const MGET: CommandSpec = CommandSpec {
    name: "MGET",
    full_name: "mget",
    arity: Arity::AtLeast(2),
    flags: Flags::of(&[Flag::ReadOnly, Flag::Fast]),
    group: Group::String,
    keys: &[KeySpec::from(1, 1, Access::Read, &["access"])],
    complexity: "O(N) where N is the number of keys.",
    summary: "Returns the strings that several keys hold.",
    args: &[Arg::key("key").multiple()],
    tips: &["request_policy:multi_shard"],
    handler: Handler::PerShard { run: mget, merge: Merge::Interleave },
    ..DEFAULTS
};

fn mget(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    reply.array(args.remaining());
    for key in args {
        // A key of another type is no error here, but a missing value.
        match ctx.read_string(key) {
            Ok(Some(string)) => reply.bulk(string.as_bytes(&mut itoa::Buffer::new())),
            _ => reply.null(),
        }
    }
    Ok(())
}

const PAIRS: Arg = Arg::block("key_value", &[Arg::key("key"), Arg::string("value")]).multiple();

const MSET: CommandSpec = CommandSpec {
    name: "MSET",
    full_name: "mset",
    arity: Arity::AtLeast(3),
    flags: Flags::of(&[Flag::Write, Flag::DenyOom]),
    group: Group::String,
    keys: &[KeySpec::from(1, 2, Access::Overwrite, &["update"])],
    since: "1.0.1",
    complexity: "O(N) where N is the number of keys.",
    summary: "Sets several keys to strings.",
    args: &[PAIRS],
    tips: &["request_policy:multi_shard", "response_policy:all_succeeded"],
    handler: Handler::PerShard { run: mset, merge: Merge::Same },
    ..DEFAULTS
};

fn mset(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    if !args.remaining().is_multiple_of(2) {
        return Err(CommandError::WrongArity("mset"));
    }
    while let (Some(key), Some(value)) = (args.next(), args.next()) {
        ctx.set_string(key, value, Ttl::Clear);
        ctx.modified(key, Event::Set);
    }
    reply.ok();
    Ok(())
}

const MSETNX: CommandSpec = CommandSpec {
    name: "MSETNX",
    full_name: "msetnx",
    keys: &[KeySpec::from(1, 2, Access::Overwrite, &["insert"])],
    summary: "Sets several keys to strings unless one of the keys exists.",
    tips: &["request_policy:multi_shard", "response_policy:agg_min"],
    handler: Handler::Transaction { run: set_all, plan: plan_set_all },
    ..MSET
};

const MSETEX: CommandSpec = CommandSpec {
    name: "MSETEX",
    full_name: "msetex",
    arity: Arity::AtLeast(4),
    keys: &[KeySpec { find: Find::CountedPairs, ..KeySpec::counted(1, Access::Overwrite, &["update"]) }],
    since: "8.4.0",
    summary: "Sets several keys to strings, all or none, with one deadline for all.",
    args: &[
        Arg::integer("numkeys"),
        Arg::block("data", &[Arg::key("key"), Arg::string("value")]).multiple(),
        Arg::one_of("condition", &[Arg::token("nx", "NX"), Arg::token("xx", "XX")]).optional(),
        Arg::one_of("expiration", EXPIRATION_ARGS).optional(),
    ],
    handler: Handler::Transaction { run: set_all, plan: plan_set_all },
    ..MSET
};

/// What MSETNX and MSETEX ask for.
struct Request<'a> {
    pairs: Argv<'a>,
    options: Options<'a>,
    /// MSETEX, which older versions do not know.
    is_new: bool,
}

impl<'a> Request<'a> {
    fn parse(argv: Argv<'a>) -> Result<Self, CommandError> {
        let name = argv.first().expect("a request has a name");
        if !name.eq_ignore_ascii_case(b"msetex") {
            if argv.len().is_multiple_of(2) {
                return Err(CommandError::WrongArity("msetnx"));
            }
            let options = Options { condition: Condition::Absent, get: false, expiry: Expiry::Unsaid };
            return Ok(Self { pairs: argv.from_index(1), options, is_new: false });
        }
        let count = argv.get(1).and_then(parse_i64).filter(|count| (1..=i32::MAX.into()).contains(count));
        let count = count.ok_or(CommandError::Text("ERR invalid numkeys value"))? as usize;
        if argv.len() < 2 + count * 2 {
            return Err(CommandError::Text("ERR wrong number of key-value pairs"));
        }
        let options = Options::parse(Args::new(argv, 2 + count * 2), Reader::MSetEx)?;
        Ok(Self { pairs: argv.slice(2..2 + count * 2), options, is_new: true })
    }

    /// Wrong numbers are refused before anything is looked up.
    fn ttl(&self, now: UnixMillis) -> Result<Ttl, CommandError> {
        self.options.expiry.resolve(now, "msetex")
    }

    fn pairs(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let pairs = self.pairs;
        (0..pairs.len() / 2).map(move |pair| {
            let argument = |index| pairs.get(index).expect("pairs are whole");
            (argument(pair * 2), argument(pair * 2 + 1))
        })
    }

    /// Whether a key that exists, or does not, stands in the way.
    fn forbids(&self, exists: bool) -> bool {
        match self.options.condition {
            Condition::Absent => exists,
            Condition::Present => !exists,
            _ => false,
        }
    }
}

fn set_all(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let request = Request::parse(args.argv())?;
    let ttl = request.ttl(ctx.now)?;
    let free = request.pairs().all(|(key, _)| !request.forbids(ctx.write(key).is_some()));
    if free {
        for (key, value) in request.pairs() {
            set_one(ctx, key, value, ttl);
            if request.is_new {
                propagate_set(ctx, b"SET", key, value, ttl, Condition::Always);
            }
        }
    }
    reply.integer(free.into());
    Ok(())
}

fn set_one(ctx: &mut Context<'_>, key: &[u8], value: &[u8], ttl: Ttl) {
    if ttl == Ttl::Keep {
        // A deadline that has passed is not to be kept.
        ctx.peek(key);
    }
    ctx.set_string(key, value, ttl);
    declare_set(ctx, key, ttl);
}

fn plan_set_all(argv: Argv<'_>) -> Box<dyn Plan> {
    Box::new(SetAll { argv: argv.to_owned(), stage: Stage::Looking })
}

/// Hop 1 asks every owner whether its keys stand in the way, and one of them for the time; hop 2 sets.
struct SetAll {
    argv: ArgvBuf,
    stage: Stage,
}

enum Stage {
    Looking,
    Judging,
    Setting,
}

impl Plan for SetAll {
    fn step(&mut self, results: Vec<Contribution>, reply: &mut Reply<'_>) -> Step {
        self.next(results, reply).unwrap_or_else(|error| Step::Done(Err(error)))
    }
}

impl SetAll {
    fn next(&mut self, results: Vec<Contribution>, reply: &mut Reply<'_>) -> Result<Step, CommandError> {
        let request = Request::parse(self.argv.as_argv())?;
        match self.stage {
            Stage::Looking => {
                self.stage = Stage::Judging;
                let look = |ctx: &mut Context<'_>, key: &[u8]| (ctx.write(key).is_some(), ctx.now);
                let hop = request.pairs().map(|(key, _)| {
                    let owned: Box<[u8]> = key.into();
                    HopWork::new(key, move |ctx| look(ctx, &owned))
                });
                Ok(Step::Hop(hop.collect()))
            }
            Stage::Judging => {
                let looks: Vec<(bool, UnixMillis)> = results.into_iter().map(result).collect();
                let now = looks.iter().map(|(_, now)| *now).max().unwrap_or_default();
                let ttl = request.ttl(now)?;
                if looks.iter().any(|(exists, _)| request.forbids(*exists)) {
                    reply.integer(0);
                    return Ok(Step::Done(Ok(())));
                }
                self.stage = Stage::Setting;
                let hop = request.pairs().map(|(key, value)| {
                    let (owned, value): (Box<[u8]>, Box<[u8]>) = (key.into(), value.into());
                    HopWork::new(key, move |ctx| {
                        set_one(ctx, &owned, &value, ttl);
                        propagate_set(ctx, b"SET", &owned, &value, ttl, Condition::Always);
                    })
                });
                Ok(Step::Hop(hop.collect()))
            }
            Stage::Setting => {
                reply.integer(1);
                Ok(Step::Done(Ok(())))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::{check, check_new};

    #[test]
    fn mset_and_mget() {
        check(
            r#"
            > MSET a 1 b two c ""
            +OK
            > MGET a b c d a
            [$1, $two, $, nil, $1]
            > OBJECT ENCODING a
            $int
            > MSET a x a y
            +OK
            > GET a
            $y
            > MSET a
            -ERR wrong number of arguments for 'mset' command
            > MSET a 1 b
            -ERR wrong number of arguments for 'mset' command
            > MSET a 1 b 2 c
            -ERR wrong number of arguments for 'mset' command
            > GET b
            $two
            > SET a 1 EX 100
            +OK
            > MSET a 2
            +OK
            > TTL a
            :-1
            > MGET
            -ERR wrong number of arguments for 'mget' command
            @ resp3
            > MGET a missing
            [$2, nil]
            "#,
        );
    }

    #[test]
    fn msetnx_sets_all_or_none() {
        check(
            "
            > MSETNX a 1 b 2 c 3
            :1
            > MGET a b c
            [$1, $2, $3]
            > MSETNX d 4 a 5
            :0
            > EXISTS d
            :0
            > MSETNX d 4 d 5 e 6
            :1
            > MGET d e
            [$5, $6]
            > MSETNX a
            -ERR wrong number of arguments for 'msetnx' command
            > MSETNX a 1 b
            -ERR wrong number of arguments for 'msetnx' command
            > SET x 1 PX 20
            +OK
            @ later 40
            > MSETNX x 2 y 3
            :1
            > TTL x
            :-1
            ",
        );
    }

    #[test]
    fn msetex() {
        check_new(
            "
            > MSETEX 2 a 1 b 2
            :1
            > TTL a
            :-1
            > MSETEX 2 a 3 b 4 EX 100
            :1
            > TTL a
            :100
            > TTL b
            :100
            > MSETEX 2 a 5 b 6 KEEPTTL
            :1
            > TTL b
            :100
            > MSETEX 2 b 7 c 8 NX EX 50
            :0
            > MSETEX 2 b 7 c 8 EX 50 XX
            :0
            > MGET a b c
            [$5, $6, nil]
            > MSETEX 2 a 7 b 8 PX 50000 XX
            :1
            > TTL b
            :50
            > MSETEX 3 d 1 e 2 f 3 NX EXAT 33177117420
            :1
            > EXPIRETIME f
            :33177117420
            > MSETEX 1 g 1 PXAT 33177117420123
            :1
            > PEXPIRETIME g
            :33177117420123
            > MSETEX 2 a 1 b 2 PX 20
            :1
            @ later 40
            > MSETEX 2 a 1 b 2 KEEPTTL
            :1
            > TTL a
            :-1
            > MSETEX 1 EX
            -ERR wrong number of arguments for 'msetex' command
            > MSETEX 0 a 1
            -ERR invalid numkeys value
            > MSETEX -1 a 1
            -ERR invalid numkeys value
            > MSETEX a a 1
            -ERR invalid numkeys value
            > MSETEX 2147483648 a 1
            -ERR invalid numkeys value
            > MSETEX 2 a 1
            -ERR wrong number of key-value pairs
            > MSETEX 1 a 1 b 2
            -ERR syntax error
            > MSETEX 2 a 1 b 2 GET
            -ERR syntax error
            > MSETEX 2 a 1 b 2 NX XX
            -ERR syntax error
            > MSETEX 2 a 1 b 2 EX 10 PX 10
            -ERR syntax error
            > MSETEX 2 a 1 b 2 EX 10 KEEPTTL
            -ERR syntax error
            > MSETEX 2 a 1 b 2 EX 0
            -ERR invalid expire time in 'msetex' command
            > MSETEX 2 a 1 b 2 NX EX 0
            -ERR invalid expire time in 'msetex' command
            > MSETEX 2 a 1 b 2 EX abc
            -ERR value is not an integer or out of range
            > MGET a b
            [$1, $2]
            ",
        );
    }
}
