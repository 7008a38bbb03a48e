//! Some fields of a hash: at random (HRANDFIELD), or a few with each call (HSCAN).

use super::collection_random::{random_count, refuse_endless};
use super::collection_scan::{ScanOptions, parse_cursor, write_cursor};
use super::entry_reply::{write_entry, write_value};
use crate::base::random::Random;
use crate::command_table::{
    Access, Arg, Args, Arity, CommandSpec, DEFAULTS, Flag, Flags, Group, Handler, KeySpec, Kind,
};
use crate::resp::Reply;
use crate::shard::{CommandError, CommandResult, Context};
use crate::types::HashRef;
use crate::types::encoding::{Entry, PackedSet};

pub(super) const COMMANDS: &[&CommandSpec] = &[&HRANDFIELD, &HSCAN];

const HRANDFIELD: CommandSpec = CommandSpec {
    name: "HRANDFIELD",
    full_name: "hrandfield",
    arity: Arity::AtLeast(2),
    flags: Flags::of(&[Flag::ReadOnly]),
    group: Group::Hash,
    keys: &[KeySpec::at(1, Access::Read, &["access"])],
    since: "6.2.0",
    complexity: "O(N) where N is the number of fields returned.",
    summary: "Returns fields of a hash chosen at random.",
    args: &[
        Arg::key("key"),
        Arg::block("options", &[Arg::integer("count"), Arg::token("withvalues", "WITHVALUES").optional()])
            .optional(),
    ],
    tips: &["nondeterministic_output"],
    handler: Handler::Shard(hrandfield),
    ..DEFAULTS
};

fn hrandfield(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let key = args.bytes()?;
    let mut random = Random::from_seed(ctx.random());
    if args.remaining() == 0 {
        let hash = ctx.read_hash(key)?;
        write_value(reply, hash.and_then(|hash| hash.random(|| random.next_u64())).map(|(field, _)| field));
        return Ok(());
    }
    let count = random_count(&mut args)?;
    let bytes_max = ctx.reply_bytes_max;
    let with_values = args.option("WITHVALUES");
    args.end()?;
    if with_values && count.unsigned_abs() > i64::MAX as u64 / 2 {
        return Err(CommandError::OutOfRange);
    }
    let Some(hash) = ctx.read_hash(key)? else {
        reply.array(0);
        return Ok(());
    };
    // With RESP3 each field comes in an array with its value.
    let (nested, seed) = (with_values && reply.is_resp3(), random.next_u64());
    let begin = |reply: &mut Reply<'_>, count: usize| {
        reply.array(if with_values && !nested { count * 2 } else { count });
    };
    let write = |reply: &mut Reply<'_>, field: Entry<'_>, value: Entry<'_>| {
        if nested {
            reply.array(2);
        }
        write_entry(reply, field);
        if with_values {
            write_entry(reply, value);
        }
    };

    let len = hash.visible_len();
    let wanted = count.unsigned_abs() as usize;
    if len == 0 || count == 0 {
        reply.array(0);
    } else if count < 0 {
        refuse_endless(count, bytes_max)?;
        begin(reply, wanted);
        for _ in 0..wanted {
            if reply.bytes() > bytes_max {
                break;
            }
            let (field, value) = hash.random(|| random.next_u64()).expect("not empty");
            write(reply, field, value);
        }
    } else if wanted >= len {
        begin(reply, len);
        hash.for_each(|field, value| write(reply, field, value));
    } else if matches!(hash, HashRef::Packed(_)) || wanted > len / 3 {
        begin(reply, wanted);
        let mut all = Vec::with_capacity(len);
        hash.for_each(|field, value| all.push((field, value)));
        for place in 0..wanted {
            all.swap(place, place + random.index(len - place));
            let (field, value) = all[place];
            write(reply, field, value);
        }
    } else {
        begin(reply, wanted);
        let mut seen = PackedSet::new(seed);
        while seen.len() < wanted {
            let (field, value) = hash.random(|| random.next_u64()).expect("not empty");
            if seen.insert(field.as_bytes(&mut itoa::Buffer::new()), b"") {
                write(reply, field, value);
            }
        }
    }
    Ok(())
}

const HSCAN: CommandSpec = CommandSpec {
    name: "HSCAN",
    full_name: "hscan",
    arity: Arity::AtLeast(3),
    flags: Flags::of(&[Flag::ReadOnly]),
    group: Group::Hash,
    keys: &[KeySpec::at(1, Access::Read, &["access"])],
    since: "2.8.0",
    complexity: "O(1) for each call, O(N) for all fields.",
    summary: "Walks through the fields of a hash, some with each call.",
    args: &[
        Arg::key("key"),
        Arg::integer("cursor"),
        Arg::new("pattern", Kind::Pattern).after("MATCH").optional(),
        Arg::integer("count").after("COUNT").optional(),
        Arg::token("novalues", "NOVALUES").optional().since("7.4.0"),
    ],
    tips: &["nondeterministic_output"],
    handler: Handler::Shard(hscan),
    ..DEFAULTS
};

fn hscan(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let key = args.bytes()?;
    let cursor = parse_cursor(args.bytes()?)?;
    let Some(hash) = ctx.read_hash(key)? else {
        write_cursor(reply, 0);
        reply.array(0);
        return Ok(());
    };
    let options = ScanOptions::parse(args, true)?;
    let mut encoded = Vec::new();
    let mut fields = Reply::new(&mut encoded, reply.protocol());
    let mut found = 0;
    let next = hash.scan(cursor, options.count, |field, value| {
        if options.matches(field.as_bytes(&mut itoa::Buffer::new())) {
            write_entry(&mut fields, field);
            found += 1;
            if !options.no_values {
                write_entry(&mut fields, value);
                found += 1;
            }
        }
    });
    write_cursor(reply, next);
    reply.array(found);
    reply.raw(&encoded);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::{Cores, check, check_new};
    use crate::resp::Value;
    use std::collections::HashSet;

    fn run(cores: &mut Cores, line: &str) -> Value {
        cores.run(&line.split(' ').collect::<Vec<_>>())
    }

    #[test]
    fn random_fields() {
        check(
            "
            > HRANDFIELD missing
            nil
            > HRANDFIELD missing 3
            []
            > HSET h a 1
            :1
            > HRANDFIELD h
            $a
            > HRANDFIELD h 3
            [$a]
            > HRANDFIELD h 0
            []
            > HRANDFIELD h -3
            [$a, $a, $a]
            > HRANDFIELD h 3 WITHVALUES
            [$a, $1]
            > HRANDFIELD h -2 withvalues
            [$a, $1, $a, $1]
            > HRANDFIELD h x
            -ERR value is not an integer or out of range
            > HRANDFIELD h 1 values
            -ERR syntax error
            > HRANDFIELD h 1 withvalues x
            -ERR syntax error
            > HRANDFIELD h -9223372036854775808
            -ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807
            > HRANDFIELD h -9223372036854770000 WITHVALUES
            -ERR value is out of range
            @ resp3
            > HRANDFIELD h -2 WITHVALUES
            [[$a, $1], [$a, $1]]
            > HRANDFIELD h 2 WITHVALUES
            [[$a, $1]]
            > HRANDFIELD missing 2 WITHVALUES
            []
            ",
        );
    }

    #[test]
    fn scans() {
        check(
            "
            > HSCAN missing 0
            [$0, []]
            > HSCAN missing 0 COUNT x
            [$0, []]
            > HSET h aa 1 ab 2 b 3
            :3
            > HSCAN h 0
            [$0, [$aa, $1, $ab, $2, $b, $3]]
            > HSCAN h 0 MATCH a* COUNT 1
            [$0, [$aa, $1, $ab, $2]]
            > HSCAN h 0 COUNT 0
            -ERR syntax error
            > HSCAN h 0 COUNT x
            -ERR value is not an integer or out of range
            > HSCAN h 0 TYPE hash
            -ERR syntax error
            > HSCAN h 0 MATCH
            -ERR syntax error
            > HSCAN h abc
            -ERR invalid cursor
            ",
        );
        check_new(
            "
            > HSET h aa 1 ab 2 b 3
            :3
            > HSCAN h 0 MATCH a* NOVALUES
            [$0, [$aa, $ab]]
            ",
        );
    }

    #[test]
    fn a_large_hash_is_walked_completely() {
        let mut cores = Cores::new(1);
        for number in 0..2000 {
            run(&mut cores, &format!("HSET h field{number} value{number}"));
        }
        let mut cursor = "0".to_owned();
        let mut seen = HashSet::new();
        loop {
            let reply = run(&mut cores, &format!("HSCAN h {cursor} COUNT 20"));
            let Value::Array(parts) = reply else { panic!("{reply:?}") };
            let [Value::Bulk(next), Value::Array(elements)] = &parts[..] else { panic!("{parts:?}") };
            for pair in elements.chunks(2) {
                assert!(seen.insert(format!("{:?}", pair[0])));
            }
            cursor = String::from_utf8(next.to_vec()).expect("digits");
            if cursor == "0" {
                break;
            }
        }
        assert_eq!(seen.len(), 2000);
        let Value::Array(some) = run(&mut cores, "HRANDFIELD h 100") else { panic!("an array") };
        let Value::Array(many) = run(&mut cores, "HRANDFIELD h 1900") else { panic!("an array") };
        for (elements, count) in [(some, 100), (many, 1900)] {
            let different: HashSet<String> = elements.iter().map(|element| format!("{element:?}")).collect();
            assert_eq!(different.len(), count);
        }
    }
}
