//! Sets: SADD, SPOP and their kin. What involves several sets is in `set_algebra`.

use super::collection_scan::{ScanOptions, parse_cursor, write_cursor};
use super::hash::{RANDOM_COUNT_MAX, random_count, write_entry, write_value};
use crate::base::random::Random;
use crate::command_table::{
    Access, Arg, Args, Arity, CommandSpec, DEFAULTS, Flag, Flags, Group, Handler, KeySpec, Kind,
};
use crate::resp::Reply;
use crate::shard::{CommandError, CommandResult, Context, Event};
use crate::types::SetRef;
use crate::types::encoding::PackedSet;

pub(super) const COMMANDS: &[&CommandSpec] =
    &[&SADD, &SREM, &SISMEMBER, &SMISMEMBER, &SCARD, &SMEMBERS, &SPOP, &SRANDMEMBER, &SSCAN];

const SADD: CommandSpec = CommandSpec {
    name: "SADD",
    full_name: "sadd",
    arity: Arity::AtLeast(3),
    flags: Flags::of(&[Flag::Write, Flag::DenyOom, Flag::Fast]),
    group: Group::Set,
    keys: &[KeySpec::at(1, Access::Update, &["insert"])],
    since: "1.0.0",
    complexity: "O(N) where N is the number of members given.",
    summary: "Adds members to a set, creating it if it is missing.",
    args: &[Arg::key("key"), Arg::string("member").multiple()],
    handler: Handler::Shard(sadd),
    ..DEFAULTS
};

fn sadd(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let key = args.bytes()?;
    let updated = ctx.update_set(key, true, |set, limits| {
        args.map(|member| i64::from(set.add(member, limits))).sum::<i64>()
    })?;
    let added = updated.expect("created if it was missing").result;
    if added > 0 {
        ctx.modified(key, Event::SAdd);
    }
    reply.integer(added);
    Ok(())
}

const SREM: CommandSpec = CommandSpec {
    name: "SREM",
    full_name: "srem",
    arity: Arity::AtLeast(3),
    flags: Flags::of(&[Flag::Write, Flag::Fast]),
    group: Group::Set,
    keys: &[KeySpec::at(1, Access::Update, &["delete"])],
    since: "1.0.0",
    complexity: "O(N) where N is the number of members given.",
    summary: "Removes members from a set, and the set with its last member.",
    args: &[Arg::key("key"), Arg::string("member").multiple()],
    handler: Handler::Shard(srem),
    ..DEFAULTS
};

fn srem(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let key = args.bytes()?;
    let updated =
        ctx.update_set(key, false, |set, _| args.map(|member| i64::from(set.remove(member))).sum::<i64>())?;
    let removed = updated.map_or(0, |updated| updated.result);
    if removed > 0 {
        ctx.modified(key, Event::SRem);
    }
    if updated.is_some_and(|updated| updated.emptied) {
        ctx.announce(key, Event::Del);
    }
    reply.integer(removed);
    Ok(())
}

const SISMEMBER: CommandSpec = CommandSpec {
    name: "SISMEMBER",
    full_name: "sismember",
    arity: Arity::Exactly(3),
    flags: Flags::of(&[Flag::ReadOnly, Flag::Fast]),
    group: Group::Set,
    keys: &[KeySpec::at(1, Access::Read, &[])],
    since: "1.0.0",
    complexity: "O(1).",
    summary: "Tells whether a set has a member.",
    args: &[Arg::key("key"), Arg::string("member")],
    handler: Handler::Shard(sismember),
    ..DEFAULTS
};

fn sismember(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (key, member) = (args.bytes()?, args.bytes()?);
    reply.integer(ctx.read_set(key)?.is_some_and(|set| set.contains(member)).into());
    Ok(())
}

const SMISMEMBER: CommandSpec = CommandSpec {
    name: "SMISMEMBER",
    full_name: "smismember",
    arity: Arity::AtLeast(3),
    flags: Flags::of(&[Flag::ReadOnly, Flag::Fast]),
    group: Group::Set,
    keys: &[KeySpec::at(1, Access::Read, &["access"])],
    since: "6.2.0",
    complexity: "O(N) where N is the number of members given.",
    summary: "Tells of each of several members whether a set has it.",
    args: &[Arg::key("key"), Arg::string("member").multiple()],
    handler: Handler::Shard(smismember),
    ..DEFAULTS
};

fn smismember(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let set = ctx.read_set(args.bytes()?)?;
    reply.array(args.remaining());
    args.for_each(|member| reply.integer(set.is_some_and(|set| set.contains(member)).into()));
    Ok(())
}

const SCARD: CommandSpec = CommandSpec {
    name: "SCARD",
    full_name: "scard",
    arity: Arity::Exactly(2),
    flags: Flags::of(&[Flag::ReadOnly, Flag::Fast]),
    group: Group::Set,
    keys: &[KeySpec::at(1, Access::Read, &[])],
    since: "1.0.0",
    complexity: "O(1).",
    summary: "Returns the number of members of a set.",
    args: &[Arg::key("key")],
    handler: Handler::Shard(scard),
    ..DEFAULTS
};

fn scard(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    reply.length(ctx.read_set(args.bytes()?)?.map_or(0, SetRef::len));
    Ok(())
}

const SMEMBERS: CommandSpec = CommandSpec {
    name: "SMEMBERS",
    full_name: "smembers",
    arity: Arity::Exactly(2),
    flags: Flags::of(&[Flag::ReadOnly]),
    group: Group::Set,
    keys: &[KeySpec::at(1, Access::Read, &["access"])],
    since: "1.0.0",
    complexity: "O(N) where N is the number of members.",
    summary: "Returns all members of a set.",
    args: &[Arg::key("key")],
    tips: &["nondeterministic_output_order"],
    handler: Handler::Shard(smembers),
    ..DEFAULTS
};

fn smembers(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    match ctx.read_set(args.bytes()?)? {
        None => reply.set(0),
        Some(set) => {
            reply.set(set.len());
            set.for_each(|member| write_entry(reply, member));
        }
    }
    Ok(())
}

const SPOP: CommandSpec = CommandSpec {
    name: "SPOP",
    full_name: "spop",
    arity: Arity::AtLeast(2),
    flags: Flags::of(&[Flag::Write, Flag::Fast]),
    group: Group::Set,
    keys: &[KeySpec::at(1, Access::Update, &["access", "delete"])],
    since: "1.0.0",
    complexity: "O(1) without a count, else O(N) where N is the count.",
    summary: "Removes members chosen at random and returns them.",
    args: &[Arg::key("key"), Arg::integer("count").optional().since("3.2.0")],
    tips: &["nondeterministic_output"],
    handler: Handler::Shard(spop),
    ..DEFAULTS
};

fn spop(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let key = args.bytes()?;
    let mut random = Random::from_seed(ctx.random());
    if args.remaining() > 0 {
        let count = args.integer_in(0, i64::MAX, CommandError::NotPositive)?;
        args.end()?;
        return pop_many(ctx, key, count as usize, random, reply);
    }
    let updated = ctx.update_set(key, false, |set, _| {
        let member = set.as_ref().random(|| random.next_u64()).expect("a set has members").to_vec();
        set.remove(&member);
        member
    })?;
    let Some(updated) = updated else {
        reply.null();
        return Ok(());
    };
    popped(ctx, key, updated.emptied);
    reply.bulk(&updated.result);
    Ok(())
}

fn popped(ctx: &mut Context<'_>, key: &[u8], emptied: bool) {
    ctx.modified(key, Event::SPop);
    if emptied {
        ctx.announce(key, Event::Del);
    }
}

fn pop_many(
    ctx: &mut Context<'_>,
    key: &[u8],
    count: usize,
    mut random: Random,
    reply: &mut Reply<'_>,
) -> CommandResult {
    let Some(set) = ctx.read_set(key)? else {
        reply.set(0);
        return Ok(());
    };
    if count == 0 {
        reply.set(0);
        return Ok(());
    }
    if count >= set.len() {
        reply.set(set.len());
        set.for_each(|member| write_entry(reply, member));
        let lazily = ctx.shard.options.lazy_server_del;
        ctx.remove(key, lazily);
        popped(ctx, key, true);
        return Ok(());
    }
    reply.set(count);
    ctx.update_set(key, false, |set, _| {
        for _ in 0..count {
            let member =
                set.as_ref().random(|| random.next_u64()).expect("more members than wanted").to_vec();
            set.remove(&member);
            reply.bulk(&member);
        }
    })?;
    popped(ctx, key, false);
    Ok(())
}

const SRANDMEMBER: CommandSpec = CommandSpec {
    name: "SRANDMEMBER",
    full_name: "srandmember",
    arity: Arity::AtLeast(2),
    flags: Flags::of(&[Flag::ReadOnly]),
    group: Group::Set,
    keys: &[KeySpec::at(1, Access::Read, &["access"])],
    since: "1.0.0",
    complexity: "O(1) without a count, else O(N) where N is the absolute count.",
    summary: "Returns members of a set chosen at random.",
    args: &[Arg::key("key"), Arg::integer("count").optional().since("2.6.0")],
    tips: &["nondeterministic_output"],
    handler: Handler::Shard(srandmember),
    ..DEFAULTS
};

fn srandmember(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let key = args.bytes()?;
    let mut random = Random::from_seed(ctx.random());
    if args.remaining() == 0 {
        let set = ctx.read_set(key)?;
        write_value(reply, set.and_then(|set| set.random(|| random.next_u64())));
        return Ok(());
    }
    let count = random_count(&mut args)?;
    args.end()?;
    let Some(set) = ctx.read_set(key)? else {
        reply.array(0);
        return Ok(());
    };
    let (len, wanted) = (set.len(), count.unsigned_abs() as usize);
    if count < 0 {
        if count.unsigned_abs() > RANDOM_COUNT_MAX {
            return Err(CommandError::OutOfRange);
        }
        reply.array(wanted);
        for _ in 0..wanted {
            write_entry(reply, set.random(|| random.next_u64()).expect("a set has members"));
        }
    } else if wanted >= len {
        reply.array(len);
        set.for_each(|member| write_entry(reply, member));
    } else if !matches!(set, SetRef::Table(_)) || wanted > len / 3 {
        reply.array(wanted);
        let mut all = Vec::with_capacity(len);
        set.for_each(|member| all.push(member));
        for place in 0..wanted {
            all.swap(place, place + random.index(len - place));
            write_entry(reply, all[place]);
        }
    } else {
        reply.array(wanted);
        let mut seen = PackedSet::new(random.next_u64());
        while seen.len() < wanted {
            let member = set.random(|| random.next_u64()).expect("a set has members");
            if seen.insert(member.as_bytes(&mut itoa::Buffer::new()), b"") {
                write_entry(reply, member);
            }
        }
    }
    Ok(())
}

const SSCAN: CommandSpec = CommandSpec {
    name: "SSCAN",
    full_name: "sscan",
    arity: Arity::AtLeast(3),
    flags: Flags::of(&[Flag::ReadOnly]),
    group: Group::Set,
    keys: &[KeySpec::at(1, Access::Read, &["access"])],
    since: "2.8.0",
    complexity: "O(1) for each call, O(N) for all members.",
    summary: "Walks through the members of a set, some with each call.",
    args: &[
        Arg::key("key"),
        Arg::integer("cursor"),
        Arg::new("pattern", Kind::Pattern).after("MATCH").optional(),
        Arg::integer("count").after("COUNT").optional(),
    ],
    tips: &["nondeterministic_output"],
    handler: Handler::Shard(sscan),
    ..DEFAULTS
};

fn sscan(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let key = args.bytes()?;
    let cursor = parse_cursor(args.bytes()?)?;
    let Some(set) = ctx.read_set(key)? else {
        write_cursor(reply, 0);
        reply.array(0);
        return Ok(());
    };
    let options = ScanOptions::parse(args, false)?;
    let mut encoded = Vec::new();
    let mut members = Reply::new(&mut encoded, reply.protocol());
    let mut found = 0;
    let next = set.scan(cursor, options.count, |member| {
        if options.matches(member.as_bytes(&mut itoa::Buffer::new())) {
            write_entry(&mut members, member);
            found += 1;
        }
    });
    write_cursor(reply, next);
    reply.array(found);
    reply.raw(&encoded);
    Ok(())
}
