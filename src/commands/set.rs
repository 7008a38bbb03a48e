//! Sets: SADD, SPOP and their kin. What involves several sets is in `set_algebra`.

use super::collection_random::{random_count, refuse_endless};
use super::collection_scan::{ScanOptions, parse_cursor, write_cursor};
use super::entry_reply::{write_entry, write_value};
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
        let count = args.integer_in(0, i64::MAX, CommandError::NotPositive);
        let count = count.map_err(|_| CommandError::NotPositive)?;
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
    ctx.propagate(&[b"SREM", key, &updated.result]);
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
        ctx.propagate_deletion(key, lazily);
        return Ok(());
    }
    reply.set(count);
    let journals = ctx.journals();
    let mut gone: Vec<Vec<u8>> = Vec::new();
    ctx.update_set(key, false, |set, _| {
        for _ in 0..count {
            let member =
                set.as_ref().random(|| random.next_u64()).expect("more members than wanted").to_vec();
            set.remove(&member);
            reply.bulk(&member);
            if journals {
                gone.push(member);
            }
        }
    })?;
    popped(ctx, key, false);
    let members = gone.iter().map(Vec::as_slice);
    ctx.propagate(&[b"SREM", key].into_iter().chain(members).collect::<Vec<&[u8]>>());
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
    if args.remaining() > 1 {
        return Err(CommandError::Syntax);
    }
    let count = random_count(&mut args)?;
    let bytes_max = ctx.reply_bytes_max;
    let Some(set) = ctx.read_set(key)? else {
        reply.array(0);
        return Ok(());
    };
    let (len, wanted) = (set.len(), count.unsigned_abs() as usize);
    if count < 0 {
        refuse_endless(count, bytes_max)?;
        reply.array(wanted);
        for _ in 0..wanted {
            if reply.bytes() > bytes_max {
                break;
            }
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

#[cfg(test)]
mod tests {
    use crate::commands::testing::{Cores, check};
    use crate::resp::Value;
    use std::collections::HashSet;

    fn run(cores: &mut Cores, line: &str) -> Value {
        cores.run(&line.split(' ').collect::<Vec<_>>())
    }

    #[test]
    fn members_come_and_go() {
        check(
            r#"
            > SADD s 3 1 2 1
            :3
            > SADD s 1
            :0
            > OBJECT ENCODING s
            $intset
            > TYPE s
            +set
            > SMEMBERS s
            [$1, $2, $3]
            > SADD s abc ""
            :2
            > OBJECT ENCODING s
            $hashtable
            > SMEMBERS s
            [$, $1, $2, $3, $abc]
            > SCARD s
            :5
            > SCARD missing
            :0
            > SISMEMBER s abc
            :1
            > SISMEMBER s 01
            :0
            > SISMEMBER missing a
            :0
            > SMISMEMBER s 1 x abc
            [:1, :0, :1]
            > SMISMEMBER missing a b
            [:0, :0]
            > SMEMBERS missing
            []
            > SREM s abc x ""
            :2
            > SREM missing a
            :0
            > SREM s 1 2 3
            :3
            > EXISTS s
            :0
            > SADD s a
            :1
            @ resp3
            > SMEMBERS s
            set[$a]
            > SMEMBERS missing
            set[]
            > SPOP missing 3
            set[]
            > SPOP s 0
            set[]
            > SRANDMEMBER s 5
            [$a]
            > SPOP s 5
            set[$a]
            "#,
        );
    }

    #[test]
    fn random_members() {
        check(
            "
            > SPOP missing
            nil
            > SPOP missing 1
            []
            > SRANDMEMBER missing
            nil
            > SRANDMEMBER missing 1
            []
            > SADD s a
            :1
            > SRANDMEMBER s
            $a
            > SRANDMEMBER s -3
            [$a, $a, $a]
            > SRANDMEMBER s 0
            []
            > SRANDMEMBER s x
            -ERR value is not an integer or out of range
            > SRANDMEMBER s 1 2
            -ERR syntax error
            > SRANDMEMBER s -9223372036854775808
            -ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807
            > SPOP s -1
            -ERR value is out of range, must be positive
            > SPOP s x
            -ERR value is out of range, must be positive
            > SPOP s 1 2
            -ERR syntax error
            > SPOP s
            $a
            > EXISTS s
            :0
            > SADD s a b c
            :3
            > SPOP s 3
            [$a, $b, $c]
            > EXISTS s
            :0
            > SET text v
            +OK
            > SPOP text
            -WRONGTYPE Operation against a key holding the wrong kind of value
            > SPOP text 0
            -WRONGTYPE Operation against a key holding the wrong kind of value
            > SRANDMEMBER text
            -WRONGTYPE Operation against a key holding the wrong kind of value
            > SMEMBERS text
            -WRONGTYPE Operation against a key holding the wrong kind of value
            > SISMEMBER text a
            -WRONGTYPE Operation against a key holding the wrong kind of value
            > SMISMEMBER text a
            -WRONGTYPE Operation against a key holding the wrong kind of value
            > SCARD text
            -WRONGTYPE Operation against a key holding the wrong kind of value
            > SREM text a
            -WRONGTYPE Operation against a key holding the wrong kind of value
            > SSCAN text 0
            -WRONGTYPE Operation against a key holding the wrong kind of value
            ",
        );
    }

    #[test]
    fn scans() {
        check(
            "
            > SSCAN missing 0
            [$0, []]
            > SADD s 1 2 13
            :3
            > SSCAN s 0 MATCH 1*
            [$0, [$1, $13]]
            > SSCAN s 0 NOVALUES
            -ERR NOVALUES option can only be used in HSCAN
            > SSCAN s x
            -ERR invalid cursor
            ",
        );
    }

    #[test]
    fn a_large_set_is_walked_and_drained_completely() {
        let mut cores = Cores::new(1);
        for number in 0..3000 {
            run(&mut cores, &format!("SADD s member{number}"));
        }
        let mut cursor = "0".to_owned();
        let mut seen = HashSet::new();
        loop {
            let reply = run(&mut cores, &format!("SSCAN s {cursor}"));
            let Value::Array(parts) = reply else { panic!("{reply:?}") };
            let [Value::Bulk(next), Value::Array(elements)] = &parts[..] else { panic!("{parts:?}") };
            assert!(elements.iter().all(|member| seen.insert(format!("{member:?}"))));
            cursor = String::from_utf8(next.to_vec()).expect("digits");
            if cursor == "0" {
                break;
            }
        }
        assert_eq!(seen.len(), 3000);
        for count in [10, 2900] {
            let Value::Array(elements) = run(&mut cores, &format!("SRANDMEMBER s {count}")) else {
                panic!("an array")
            };
            let different: HashSet<String> = elements.iter().map(|element| format!("{element:?}")).collect();
            assert_eq!(different.len(), count);
        }
        let mut popped = HashSet::new();
        while popped.len() < 3000 {
            let Value::Array(elements) = run(&mut cores, "SPOP s 700") else { panic!("an array") };
            assert!(elements.iter().all(|member| popped.insert(format!("{member:?}"))));
        }
        assert_eq!(run(&mut cores, "EXISTS s"), Value::Integer(0));
        assert_eq!(popped, seen);
    }
}
