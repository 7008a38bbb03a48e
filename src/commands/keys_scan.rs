//! All keys of a database: KEYS, SCAN, RANDOMKEY, DBSIZE.
//!
//! A SCAN cursor is `inner * shards + shard`: the keyspace's own cursor and the shard that it belongs to. Shards
//! are walked one after the other; one that is exhausted hands over to the next with inner cursor 0,
//! so that the first cursors are small and 0 is the beginning of the first shard. An inner cursor
//! has 40 bits, so for up to 8192 shards all cursors are below 2^53.

use super::collection_scan::NO_VALUES_HERE;
use crate::base::glob::{self, Case};
use crate::command_table::{
    Arg, Args, Arity, Asker, Category, CommandSpec, Contribution, DEFAULTS, Flag, Flags, Group, Handler, Kind,
};
use crate::keyspace::{CURSOR_BITS, Entry};
use crate::resp::{Argv, Reply};
use crate::session::{CoreState, Session};
use crate::shard::{CommandError, CommandResult, Context};

pub(super) const COMMANDS: &[&CommandSpec] = &[&KEYS, &SCAN, &RANDOMKEY, &DBSIZE];

const SHARDS_MAX: u64 = 1 << (53 - CURSOR_BITS);

/// Commands that ask every core and need no permission first.
fn no_preparation(_: &mut Session<'_>, _: Args<'_>) -> CommandResult {
    Ok(())
}

/// What the cores contributed, as what it is.
fn parts<T: 'static>(contributions: Vec<Contribution>) -> impl Iterator<Item = T> {
    contributions.into_iter().map(|part| *part.downcast().expect("the kind that was collected"))
}

const KEYS: CommandSpec = CommandSpec {
    name: "KEYS",
    full_name: "keys",
    arity: Arity::Exactly(2),
    flags: Flags::of(&[Flag::ReadOnly]),
    categories: &[Category::Dangerous],
    complexity: "O(N) where N is the number of keys in the database.",
    summary: "Returns all keys that match a pattern.",
    args: &[Arg::new("pattern", Kind::Pattern)],
    tips: &["request_policy:all_shards", "nondeterministic_output_order"],
    handler: Handler::EveryCore { begin: no_preparation, collect: collect_keys, finish: finish_keys },
    ..DEFAULTS
};

/// The number of keys and the keys, encoded as the reply will have them.
type Keys = (usize, Vec<u8>);

fn collect_keys(core: &mut CoreState, asker: Asker, mut args: Args<'_>) -> Contribution {
    let pattern = args.bytes().expect("the arity covers it");
    let now = core.now.unix;
    let keyspace = &core.shard.databases[asker.db];
    let mut encoded = Vec::new();
    let mut reply = Reply::new(&mut encoded, asker.protocol);
    let mut count = 0;
    let mut take = |entry: Entry<'_>| {
        if !entry.is_expired(now) {
            reply.bulk(entry.key());
            count += 1;
        }
    };
    if glob::is_literal(pattern) {
        keyspace.find(pattern).into_iter().for_each(&mut take);
    } else {
        let all = pattern == b"*";
        let matches = |entry: &Entry<'_>| all || glob::matches(pattern, entry.key(), Case::Sensitive);
        keyspace.iter().filter(matches).for_each(&mut take);
    }
    let keys: Keys = (count, encoded);
    Box::new(keys)
}

fn finish_keys(
    _: &mut Session<'_>,
    _: Args<'_>,
    contributions: Vec<Contribution>,
    reply: &mut Reply<'_>,
) -> CommandResult {
    let all: Vec<Keys> = parts(contributions).collect();
    reply.array(all.iter().map(|(count, _)| count).sum());
    all.iter().for_each(|(_, encoded)| reply.raw(encoded));
    Ok(())
}

const SCAN: CommandSpec = CommandSpec {
    name: "SCAN",
    full_name: "scan",
    arity: Arity::AtLeast(2),
    flags: Flags::of(&[Flag::ReadOnly]),
    since: "2.8.0",
    complexity: "O(1) for each call, O(N) for all keys.",
    summary: "Walks through all keys, some with each call.",
    args: &[
        Arg::integer("cursor"),
        Arg::new("pattern", Kind::Pattern).after("MATCH").optional(),
        Arg::integer("count").after("COUNT").optional(),
        Arg::string("type").after("TYPE").optional().since("6.0.0"),
    ],
    tips: &["nondeterministic_output", "request_policy:special"],
    handler: Handler::ShardOf { pick: pick_shard, run: scan },
    ..DEFAULTS
};

fn pick_shard(argv: Argv<'_>, shards: usize) -> usize {
    assert!(shards as u64 <= SHARDS_MAX, "cursors stay below 2^53");
    let cursor = argv.get(1).and_then(|text| parse_cursor(text).ok());
    cursor.map_or(0, |cursor| (cursor % shards as u64) as usize)
}

/// A cursor as C's `strtoul` reads it, but for leading spaces: an empty text is 0, a sign is allowed, a NUL ends it.
pub(super) fn parse_cursor(text: &[u8]) -> Result<u64, CommandError> {
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    let (negative, digits) = match text {
        [] => return Ok(0),
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return Err(CommandError::InvalidCursor);
    }
    let value = digits.iter().try_fold(0u64, |value, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit <= 9).then(|| value.checked_mul(10)?.checked_add(digit.into())).flatten()
    });
    let value = value.ok_or(CommandError::InvalidCursor)?;
    Ok(if negative { value.wrapping_neg() } else { value })
}

fn scan(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let cursor = parse_cursor(args.bytes()?)?;
    let (mut pattern, mut type_name, mut count) = (None, None, 10);
    while args.remaining() > 0 {
        if args.option("COUNT") {
            count = args.integer()?;
            if count < 1 {
                return Err(CommandError::Syntax);
            }
        } else if args.option("MATCH") {
            pattern = Some(args.bytes()?).filter(|pattern| pattern != b"*");
        } else if args.option("TYPE") {
            type_name = Some(args.bytes()?);
        } else if args.option("NOVALUES") {
            return Err(NO_VALUES_HERE);
        } else {
            return Err(CommandError::Syntax);
        }
    }
    let wanted = |entry: &Entry<'_>| {
        pattern.is_none_or(|pattern| glob::matches(pattern, entry.key(), Case::Sensitive))
            && type_name.is_none_or(|name| name.eq_ignore_ascii_case(entry.type_name().as_str().as_bytes()))
    };

    let (now, index, shards) = (ctx.now, ctx.shard.index as u64, ctx.shard.count as u64);
    let mut encoded = Vec::new();
    let mut keys = Reply::new(&mut encoded, reply.protocol());
    let mut found = 0;
    let mut expired: Vec<Box<[u8]>> = Vec::new();
    let count = usize::try_from(count).expect("positive");
    let inner = ctx.keyspace().scan(cursor / shards, count, |entry| {
        if !wanted(&entry) {
            return;
        }
        if entry.is_expired(now) {
            expired.push(entry.key().into());
        } else {
            keys.bulk(entry.key());
            found += 1;
        }
    });
    // Looked at and found dead: they go, as with any other look.
    for key in &expired {
        ctx.peek(key);
    }

    let next = match inner {
        0 if index + 1 < shards => index + 1,
        0 => 0,
        inner => inner * shards + index,
    };
    reply.array(2);
    reply.bulk(itoa::Buffer::new().format(next).as_bytes());
    reply.array(found);
    reply.raw(&encoded);
    Ok(())
}

const RANDOMKEY: CommandSpec = CommandSpec {
    name: "RANDOMKEY",
    full_name: "randomkey",
    arity: Arity::Exactly(1),
    flags: Flags::of(&[Flag::ReadOnly]),
    summary: "Returns a key chosen at random.",
    tips: &["request_policy:all_shards", "nondeterministic_output"],
    handler: Handler::EveryCore { begin: no_preparation, collect: collect_random, finish: finish_random },
    ..DEFAULTS
};

/// One key of this core and how many it stands for.
type Candidate = Option<(usize, Box<[u8]>)>;

fn collect_random(core: &mut CoreState, asker: Asker, _: Args<'_>) -> Contribution {
    let mut ctx = core.shard.context(asker.db, core.now.unix, false);
    let candidate: Candidate = random_key(&mut ctx).map(|key| (ctx.keyspace().len(), key));
    Box::new(candidate)
}

/// A key that lives; the dead ones that come up on the way are removed.
fn random_key(ctx: &mut Context<'_>) -> Option<Box<[u8]>> {
    loop {
        let (now, random) = (ctx.now, ctx.random());
        let entry = ctx.keyspace().random_key(random)?;
        let key: Box<[u8]> = entry.key().into();
        if !entry.is_expired(now) {
            return Some(key);
        }
        ctx.peek(&key);
    }
}

fn finish_random(
    session: &mut Session<'_>,
    _: Args<'_>,
    contributions: Vec<Contribution>,
    reply: &mut Reply<'_>,
) -> CommandResult {
    let candidates: Vec<(usize, Box<[u8]>)> = parts::<Candidate>(contributions).flatten().collect();
    let total: usize = candidates.iter().map(|(keys, _)| keys).sum();
    if total == 0 {
        reply.null();
        return Ok(());
    }
    let mut chosen = session.core.shard.random.index(total);
    for (keys, key) in &candidates {
        if chosen < *keys {
            reply.bulk(key);
            break;
        }
        chosen -= keys;
    }
    Ok(())
}

const DBSIZE: CommandSpec = CommandSpec {
    name: "DBSIZE",
    full_name: "dbsize",
    arity: Arity::Exactly(1),
    flags: Flags::of(&[Flag::ReadOnly, Flag::Fast]),
    group: Group::Server,
    categories: &[Category::Keyspace],
    summary: "Returns the number of keys in the database.",
    tips: &["request_policy:all_shards", "response_policy:agg_sum"],
    handler: Handler::EveryCore { begin: no_preparation, collect: collect_size, finish: finish_size },
    ..DEFAULTS
};

fn collect_size(core: &mut CoreState, asker: Asker, _: Args<'_>) -> Contribution {
    Box::new(core.shard.databases[asker.db].len())
}

fn finish_size(
    _: &mut Session<'_>,
    _: Args<'_>,
    contributions: Vec<Contribution>,
    reply: &mut Reply<'_>,
) -> CommandResult {
    reply.length(parts::<usize>(contributions).sum());
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::{Cores, check};
    use crate::resp::Value;
    use std::collections::HashSet;

    #[test]
    fn keys_and_dbsize() {
        check(
            r#"
            > KEYS *
            []
            > DBSIZE
            :0
            > MSET hello 1 hallo 2 hxllo 3 world 4 "a*b" 5 axb 6 "" 7
            +OK
            > DBSIZE
            :7
            > KEYS *
            [$, $a*b, $axb, $hallo, $hello, $hxllo, $world]
            > KEYS h?llo
            [$hallo, $hello, $hxllo]
            > KEYS h[ae]llo
            [$hallo, $hello]
            > KEYS h[^e]llo
            [$hallo, $hxllo]
            > KEYS world
            [$world]
            > KEYS missing
            []
            > KEYS "a\\*b"
            [$a*b]
            > KEYS "a*b"
            [$a*b, $axb]
            > KEYS ""
            [$]
            > KEYS **
            [$a*b, $axb, $hallo, $hello, $hxllo, $world]
            > SET hello 1 PX 20
            +OK
            @ later 40
            > KEYS h*
            [$hallo, $hxllo]
            > KEYS hello
            []
            > SELECT 1
            +OK
            > KEYS *
            []
            > DBSIZE
            :0
            > KEYS
            -ERR wrong number of arguments for 'keys' command
            "#,
        );
    }

    #[test]
    fn randomkey() {
        check(
            "
            > RANDOMKEY
            nil
            > SET k v
            +OK
            > RANDOMKEY
            $k
            > SELECT 1
            +OK
            > RANDOMKEY
            nil
            > SELECT 0
            +OK
            > SET k v PX 20
            +OK
            @ later 40
            > RANDOMKEY
            nil
            > DBSIZE
            :0
            @ resp3
            > RANDOMKEY
            nil
            ",
        );
    }

    #[test]
    fn scan_errors() {
        check(
            r#"
            > SCAN
            -ERR wrong number of arguments for 'scan' command
            > SCAN a
            -ERR invalid cursor
            > SCAN -
            -ERR invalid cursor
            > SCAN +
            -ERR invalid cursor
            > SCAN " 1"
            -ERR invalid cursor
            > SCAN "1 "
            -ERR invalid cursor
            > SCAN 1.5
            -ERR invalid cursor
            > SCAN 18446744073709551616
            -ERR invalid cursor
            > SCAN 99999999999999999999999
            -ERR invalid cursor
            > SCAN 0 COUNT
            -ERR syntax error
            > SCAN 0 COUNT 0
            -ERR syntax error
            > SCAN 0 COUNT -1
            -ERR syntax error
            > SCAN 0 COUNT abc
            -ERR value is not an integer or out of range
            > SCAN 0 COUNT 0 FOO
            -ERR syntax error
            > SCAN 0 MATCH
            -ERR syntax error
            > SCAN 0 FOO bar
            -ERR syntax error
            > SCAN 0 FOO
            -ERR syntax error
            > SCAN 0 TYPE
            -ERR syntax error
            > SCAN a FOO
            -ERR invalid cursor
            "#,
        );
    }

    /// All keys of a scan with these options, and how many steps it took.
    fn scan_all(cores: &mut Cores, options: &[&str]) -> (Vec<Vec<u8>>, usize) {
        let (mut cursor, mut keys, mut steps) = ("0".to_owned(), Vec::new(), 0);
        loop {
            let reply = cores.run(&[&["SCAN", &cursor], options].concat());
            let [Value::Bulk(next), Value::Array(found)] = reply.as_elements().expect("an array") else {
                panic!("{reply:?}")
            };
            keys.extend(found.iter().map(|key| key.as_bytes().expect("a key").to_vec()));
            steps += 1;
            cursor = String::from_utf8(next.clone()).expect("digits");
            let number: u64 = cursor.parse().expect("a number");
            assert!(number < 1 << 53, "exact in a double");
            if number == 0 {
                return (keys, steps);
            }
        }
    }

    #[test]
    fn a_scan_finds_every_key_once_on_any_number_of_shards() {
        for shards in [1, 2, 3, 8] {
            let mut cores = Cores::new(shards);
            assert_eq!(scan_all(&mut cores, &[]), (vec![], shards));
            for index in 0..1000 {
                cores.run(&["SET", &format!("key:{index}"), "v"]);
            }
            cores.run(&["SET", "dead", "v", "PX", "10"]);
            cores.later(20);
            for count in ["1", "10", "9223372036854775807"] {
                let (keys, steps) = scan_all(&mut cores, &["COUNT", count]);
                assert_eq!(keys.len(), 1000, "{shards} shards");
                assert_eq!(keys.iter().collect::<HashSet<_>>().len(), 1000);
                assert_eq!(steps == shards, count.len() > 2, "{steps} steps of {count}");
            }
            assert_eq!(cores.run(&["DBSIZE"]), Value::Integer(1000), "the dead key was looked at");
            assert_eq!(scan_all(&mut cores, &["MATCH", "key:99?"]).0.len(), 10);
            assert_eq!(scan_all(&mut cores, &["MATCH", "*", "TYPE", "STRING"]).0.len(), 1000);
            assert_eq!(scan_all(&mut cores, &["TYPE", "list"]).0.len(), 0);
            assert_eq!(scan_all(&mut cores, &["TYPE", "what?"]).0.len(), 0);
        }
    }

    #[test]
    fn any_number_is_a_cursor() {
        let mut cores = Cores::new(3);
        for cursor in ["", "-1", "+5", "007", "18446744073709551615", "-18446744073709551615"] {
            assert!(cores.run(&["SCAN", cursor]).as_elements().is_some(), "{cursor:?}");
        }
    }

    #[test]
    fn random_keys_come_from_every_core() {
        let mut cores = Cores::new(4);
        (0..40).for_each(|index| drop(cores.run(&["SET", &index.to_string(), "v"])));
        let mut seen = HashSet::new();
        for _ in 0..2000 {
            seen.insert(cores.run(&["RANDOMKEY"]).as_bytes().expect("a key").to_vec());
        }
        assert_eq!(seen.len(), 40);
    }
}
