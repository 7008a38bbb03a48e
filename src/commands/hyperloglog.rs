//! Estimates of how many different elements there were: PFADD, PFCOUNT, PFMERGE, PFDEBUG, PFSELFTEST.

use super::read_then_write::{Answer, Next, ReadThenWrite, fail};
use crate::command_table::{
    Access, Arg, Args, Arity, CommandSpec, DEFAULTS, Flag, Flags, Group, Handler, KeySpec, Kind, Plan,
};
use crate::keyspace::Ttl;
use crate::resp::{Argv, Reply};
use crate::session::Session;
use crate::shard::{CommandError, CommandResult, Context, Event};
use crate::types::hyperloglog::{self as hll, Corrupted, REGISTERS, Run};
use crate::types::{HeapString, StringValue, Value};

pub(super) const COMMANDS: &[&CommandSpec] = &[&PFADD, &PFCOUNT, &PFMERGE, &PFDEBUG, &PFSELFTEST];

const NOT_ONE: CommandError = CommandError::Text("WRONGTYPE Key is not a valid HyperLogLog string value.");

fn corrupted(_: Corrupted) -> CommandError {
    CommandError::Text("INVALIDOBJ Corrupted HLL object detected")
}

/// The bytes of a key that is read; `None` if there is no such key.
fn read(ctx: &mut Context<'_>, key: &[u8]) -> Result<Option<Vec<u8>>, CommandError> {
    let Some(string) = ctx.read_string(key)? else { return Ok(None) };
    let bytes = string.to_vec();
    if hll::check(&bytes) { Ok(Some(bytes)) } else { Err(NOT_ONE) }
}

/// Changes the bytes of a key; with `create` a missing one begins empty, else `None` says that it is missing.
fn change<R>(
    ctx: &mut Context<'_>,
    key: &[u8],
    create: bool,
    change: impl FnOnce(&mut Vec<u8>, bool) -> Result<R, Corrupted>,
) -> Result<Option<R>, CommandError> {
    let Some(mut entry) = ctx.write_string(key)? else {
        if !create {
            return Ok(None);
        }
        let mut bytes = hll::empty();
        let result = change(&mut bytes, true).map_err(corrupted)?;
        ctx.insert(key, Value::String(StringValue::Raw(HeapString::from(bytes))), Ttl::Clear);
        return Ok(Some(result));
    };
    let string = entry.entry().as_string().expect("write_string() found a string");
    if !hll::check(string.as_bytes(&mut itoa::Buffer::new())) {
        return Err(NOT_ONE);
    }
    let string = entry.string_mut().expect("it is a string");
    let mut bytes = std::mem::take(string).into_vec();
    let result = change(&mut bytes, false);
    *string = HeapString::from(bytes);
    result.map(Some).map_err(corrupted)
}

const PFADD: CommandSpec = CommandSpec {
    name: "PFADD",
    full_name: "pfadd",
    arity: Arity::AtLeast(2),
    flags: Flags::of(&[Flag::Write, Flag::DenyOom, Flag::Fast]),
    group: Group::HyperLogLog,
    keys: &[KeySpec::at(1, Access::Update, &["insert"])],
    since: "2.8.9",
    complexity: "O(1) for each element.",
    summary: "Adds elements to a HyperLogLog.",
    args: &[Arg::key("key"), Arg::string("element").optional().multiple()],
    handler: Handler::Shard(pfadd),
    ..DEFAULTS
};

fn pfadd(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let key = args.bytes()?;
    let sparse_max = ctx.shard.options.encoding.hll_sparse_max_bytes;
    let updated = change(ctx, key, true, |bytes, is_new| {
        let mut updated = u64::from(is_new);
        for element in args {
            updated += u64::from(hll::add(bytes, element, sparse_max)?);
        }
        if updated > 0 {
            hll::invalidate_estimate(bytes);
        }
        Ok(updated)
    })?
    .expect("created if missing");
    if updated > 0 {
        ctx.modified(key, Event::PfAdd);
        ctx.shard.effects.add_dirty(updated - 1);
    }
    reply.integer((updated > 0).into());
    Ok(())
}

const PFCOUNT: CommandSpec = CommandSpec {
    name: "PFCOUNT",
    full_name: "pfcount",
    arity: Arity::AtLeast(2),
    flags: Flags::of(&[Flag::ReadOnly]),
    group: Group::HyperLogLog,
    keys: &[KeySpec::from(1, 1, Access::Update, &["access"])],
    since: "2.8.9",
    complexity: "O(1) for one key, O(N) for several.",
    summary: "Estimates how many different elements were added to HyperLogLogs.",
    args: &[Arg::key("key").multiple()],
    handler: Handler::Transaction { run: pfcount, plan: plan_pfcount },
    ..DEFAULTS
};

fn pfcount(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    if args.remaining() > 1 {
        let all: Result<Vec<_>, _> = args.map(|key| read(ctx, key)).collect();
        reply.integer(count_all(&all?)?);
        return Ok(());
    }
    let key = args.argv().last().expect("the arity covers it");
    let string = ctx.read_string(key)?;
    let estimate = match string {
        None => Some(0),
        Some(string) => {
            let mut digits = itoa::Buffer::new();
            let bytes = string.as_bytes(&mut digits);
            if !hll::check(bytes) {
                return Err(NOT_ONE);
            }
            hll::cached_estimate(bytes)
        }
    };
    let estimate = match estimate {
        Some(estimate) => estimate,
        None => {
            let estimate = change(ctx, key, false, |bytes, _| {
                let estimate = hll::estimate(bytes)?;
                hll::cache_estimate(bytes, estimate);
                Ok(estimate)
            })?;
            // The cache is part of the value, so replicas have to hear of it.
            ctx.shard.effects.add_dirty(1);
            estimate.expect("found above")
        }
    };
    reply.integer(estimate as i64);
    Ok(())
}

fn count_all(all: &[Option<Vec<u8>>]) -> Result<i64, CommandError> {
    let mut registers = Box::new([0; REGISTERS]);
    all.iter().flatten().try_for_each(|bytes| hll::merge_into(bytes, &mut registers)).map_err(corrupted)?;
    Ok(hll::estimate_registers(&registers) as i64)
}

fn plan_pfcount(argv: Argv<'_>) -> Box<dyn Plan> {
    let keys = argv.from_index(1).iter().map(Box::from).collect();
    ReadThenWrite::plan(keys, read, |all| {
        let count = all.into_iter().collect::<Result<Vec<_>, _>>().and_then(|all| count_all(&all));
        Next::Answer(match count {
            Err(error) => fail(error),
            Ok(count) => super::read_then_write::integer(count),
        })
    })
}

const PFMERGE: CommandSpec = CommandSpec {
    name: "PFMERGE",
    full_name: "pfmerge",
    arity: Arity::AtLeast(2),
    flags: Flags::of(&[Flag::Write, Flag::DenyOom]),
    group: Group::HyperLogLog,
    keys: &[
        KeySpec::at(1, Access::Update, &["access", "insert"]),
        KeySpec::from(2, 1, Access::Read, &["access"]),
    ],
    since: "2.8.9",
    complexity: "O(N) where N is the number of HyperLogLogs.",
    summary: "Joins HyperLogLogs into one.",
    args: &[Arg::key("destkey"), Arg::new("sourcekey", Kind::Key(1)).multiple()],
    handler: Handler::Transaction { run: pfmerge, plan: plan_pfmerge },
    ..DEFAULTS
};

/// The joined registers, and whether any of the sources was dense.
type Merged = (Box<[u8; REGISTERS]>, bool);

fn merge(all: &[Option<Vec<u8>>]) -> Result<Merged, CommandError> {
    let mut registers = Box::new([0; REGISTERS]);
    for bytes in all.iter().flatten() {
        hll::merge_into(bytes, &mut registers).map_err(corrupted)?;
    }
    Ok((registers, all.iter().flatten().any(|bytes| !hll::is_sparse(bytes))))
}

fn put_merged(ctx: &mut Context<'_>, key: &[u8], (registers, dense): Merged) -> CommandResult {
    let sparse_max = ctx.shard.options.encoding.hll_sparse_max_bytes;
    change(ctx, key, true, |bytes, _| {
        if dense {
            hll::make_dense(bytes)?;
        }
        for (index, value) in registers.iter().enumerate().filter(|(_, value)| **value > 0) {
            hll::raise(bytes, index, *value, sparse_max)?;
        }
        hll::invalidate_estimate(bytes);
        Ok(())
    })?;
    ctx.modified(key, Event::PfAdd);
    Ok(())
}

fn pfmerge(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let all: Result<Vec<_>, _> = args.map(|key| read(ctx, key)).collect();
    put_merged(ctx, &args.argv()[1], merge(&all?)?)?;
    reply.ok();
    Ok(())
}

fn plan_pfmerge(argv: Argv<'_>) -> Box<dyn Plan> {
    let to: Box<[u8]> = argv[1].into();
    // The destination is one of the sources.
    let keys = argv.from_index(1).iter().map(Box::from).collect();
    ReadThenWrite::plan(keys, read, move |all| {
        match all.into_iter().collect::<Result<Vec<_>, _>>().and_then(|all| merge(&all)) {
            Err(error) => Next::Answer(fail(error)),
            Ok(merged) => Next::At {
                key: to.clone(),
                run: Box::new(move |ctx| -> Answer {
                    let result = put_merged(ctx, &to, merged);
                    Box::new(move |reply| {
                        result?;
                        reply.ok();
                        Ok(())
                    })
                }),
            },
        }
    })
}

const PFDEBUG: CommandSpec = CommandSpec {
    name: "PFDEBUG",
    full_name: "pfdebug",
    arity: Arity::Exactly(3),
    flags: Flags::of(&[Flag::Write, Flag::DenyOom, Flag::Admin]),
    group: Group::HyperLogLog,
    keys: &[KeySpec::at(2, Access::Update, &["access"])],
    since: "2.8.9",
    complexity: "O(N) where N is the number of registers.",
    summary: "Shows the inside of a HyperLogLog.",
    args: &[Arg::string("subcommand"), Arg::key("key")],
    handler: Handler::Shard(pfdebug),
    ..DEFAULTS
};

fn pfdebug(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (what, key) = (args.bytes()?, args.bytes()?);
    let is = |name: &str| what.eq_ignore_ascii_case(name.as_bytes());
    let missing = CommandError::Text("ERR The specified key does not exist");
    let mut bytes = read(ctx, key)?.ok_or(missing)?;
    if is("GETREG") || is("TODENSE") {
        let converted = change(ctx, key, false, |stored, _| {
            let converted = hll::make_dense(stored)?;
            bytes.clone_from(stored);
            Ok(converted)
        })?;
        let converted = converted == Some(true);
        if converted {
            ctx.shard.effects.add_dirty(1);
        }
        if is("TODENSE") {
            reply.integer(converted.into());
            return Ok(());
        }
        let mut registers = Box::new([0; REGISTERS]);
        hll::merge_into(&bytes, &mut registers).map_err(corrupted)?;
        reply.array(REGISTERS);
        registers.iter().for_each(|register| reply.integer(i64::from(*register)));
    } else if is("DECODE") {
        if !hll::is_sparse(&bytes) {
            return Err(CommandError::Text("ERR HLL encoding is not sparse"));
        }
        let show = |run: Result<Run, Corrupted>| {
            run.map(|run| match run {
                Run::Zero(len) => format!("z:{len}"),
                Run::LongZero(len) => format!("Z:{len}"),
                Run::Value(value, len) => format!("v:{value},{len}"),
            })
        };
        let shown: Vec<String> = hll::runs(&bytes).map(show).collect::<Result<_, _>>().map_err(corrupted)?;
        reply.bulk(shown.join(" ").as_bytes());
    } else if is("ENCODING") {
        reply.simple(if hll::is_sparse(&bytes) { "sparse" } else { "dense" });
    } else {
        let text = format!("ERR Unknown PFDEBUG subcommand '{}'", String::from_utf8_lossy(what));
        return Err(CommandError::built(text));
    }
    Ok(())
}

const PFSELFTEST: CommandSpec = CommandSpec {
    name: "PFSELFTEST",
    full_name: "pfselftest",
    arity: Arity::Exactly(1),
    flags: Flags::of(&[Flag::Admin]),
    group: Group::HyperLogLog,
    keys: &[],
    since: "2.8.9",
    complexity: "O(N) where N is some hundred thousand.",
    summary: "Checks the HyperLogLog code against itself.",
    args: &[],
    handler: Handler::Client(pfselftest),
    ..DEFAULTS
};

fn pfselftest(session: &mut Session<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let shard = &mut session.core.shard;
    let (sparse_max, seed) = (shard.options.encoding.hll_sparse_max_bytes, shard.random.next_u64());
    self_test(seed, sparse_max).map_err(corrupted)?.map_err(CommandError::built)?;
    reply.ok();
    Ok(())
}

/// Sparse and dense must agree with each other and with the number of elements, within what the method allows.
fn self_test(seed: u64, sparse_max: usize) -> Result<Result<(), String>, Corrupted> {
    let (mut sparse, mut dense) = (hll::empty(), hll::empty());
    hll::make_dense(&mut dense)?;
    let mut checkpoint = 1;
    for number in 1..=100_000_u64 {
        let element = (seed ^ number).to_le_bytes();
        hll::add(&mut sparse, &element, sparse_max)?;
        hll::add(&mut dense, &element, sparse_max)?;
        if number < checkpoint {
            continue;
        }
        checkpoint *= 10;
        let (one, other) = (hll::estimate(&sparse)?, hll::estimate(&dense)?);
        if one != other {
            return Ok(Err("TESTFAILED dense/sparse disagree".into()));
        }
        // Six times the standard error of 1.04 / sqrt(16384), and some room for small numbers.
        let error = one.abs_diff(number);
        if error > number * 6 * 104 / 12_800 + 2 {
            return Ok(Err(format!("TESTFAILED Too big error. card:{number} abserr:{error}")));
        }
    }
    Ok(Ok(()))
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::check;

    #[test]
    fn estimates() {
        check(
            r#"
            > PFADD h a b c
            :1
            > PFADD h a b c
            :0
            > PFADD empty
            :1
            > PFADD empty
            :0
            > PFCOUNT h
            :3
            > PFCOUNT none
            :0
            > PFADD other c d e f
            :1
            > PFCOUNT h other none
            :6
            > PFMERGE m h other
            +OK
            > PFCOUNT m
            :6
            > PFDEBUG ENCODING m
            +sparse
            > PFDEBUG DECODE m
            $Z:1646 v:1,1 Z:5645 v:1,1 Z:1143 v:1,1 Z:4274 v:2,1 Z:2445 v:1,1 Z:622 v:1,1 Z:603
            > PFDEBUG TODENSE m
            :1
            > PFDEBUG ENCODING m
            +dense
            > PFCOUNT m
            :6
            > PFDEBUG DECODE m
            -ERR HLL encoding is not sparse
            > PFDEBUG FOO m
            -ERR Unknown PFDEBUG subcommand 'FOO'
            > PFDEBUG ENCODING none
            -ERR The specified key does not exist
            > SET s hello
            +OK
            > PFADD s a
            -WRONGTYPE Key is not a valid HyperLogLog string value.
            > PFCOUNT s
            -WRONGTYPE Key is not a valid HyperLogLog string value.
            > PFCOUNT s h
            -WRONGTYPE Key is not a valid HyperLogLog string value.
            > ZADD z 1 a
            :1
            > PFADD z a
            -WRONGTYPE Operation against a key holding the wrong kind of value
            > GET h
            $HYLL\x01\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00`\xf3\x80P\xb1\x84K\xfb\x80BZ
            > STRLEN m
            :12304
            > PFSELFTEST
            +OK
            "#,
        );
    }
}
