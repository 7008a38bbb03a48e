//! Declarations as COMMAND INFO and COMMAND DOCS show them, and the keys of a request as COMMAND GETKEYS does.
//!
//! Redis derives some facts from others, and so it is here: the old triple of first key, last key and step,
//! the flag `movablekeys`, and the flags of a key whose meaning depends on the options beside it.

use super::{Access, Arg, Begin, Command, CommandSpec, CommandTable, Find, Flag, KeySpec, Kind};
use crate::resp::{Argv, Reply};

/// What a spec declares when its flags depend on the arguments.
const VARIABLE_FLAGS: &str = "variable_flags";
/// A place that matters for routing only: a channel's name.
const NOT_KEY: &str = "not_key";
/// It does not find all keys.
const INCOMPLETE: &str = "incomplete";

/// One element of the reply to COMMAND INFO; `name` is what clients call it.
pub fn write_info(table: &CommandTable, command: &Command, name: &str, reply: &mut Reply<'_>) {
    let spec = command.spec;
    reply.array(10);
    reply.bulk(name.as_bytes());
    reply.integer(spec.arity.as_redis());
    write_flags(spec, reply);
    let range = LegacyRange::of(spec.keys);
    reply.integer(range.first);
    reply.integer(range.last);
    reply.integer(range.step);
    let categories = spec.all_categories();
    reply.set(categories.len());
    categories.iter().for_each(|category| reply.simple(format!("@{}", category.name())));
    reply.set(spec.tips.len());
    spec.tips.iter().for_each(|tip| reply.bulk(tip.as_bytes()));
    reply.set(spec.keys.len());
    spec.keys.iter().for_each(|key| write_key_spec(key, reply));
    reply.set(spec.subcommands.len());
    for subcommand in table.subcommands_of(command) {
        write_info(table, subcommand, subcommand.spec.full_name, reply);
    }
}

fn write_flags(spec: &CommandSpec, reply: &mut Reply<'_>) {
    // Redis lists it right before `allow_busy`, its last one.
    let movable = LegacyRange::of(spec.keys).movable.then_some("movablekeys");
    // What guards DEBUG and MODULE is not shown, as in Redis.
    let listed = spec.flags.iter().filter(|flag| *flag != Flag::Protected);
    let (last, others): (Vec<Flag>, Vec<Flag>) = listed.partition(|flag| *flag == Flag::AllowBusy);
    let name = |flag: &Flag| flag.name();
    let names: Vec<&str> = others.iter().map(name).chain(movable).chain(last.iter().map(name)).collect();
    reply.set(names.len());
    names.iter().for_each(|name| reply.simple(name));
}

fn write_key_spec(key: &KeySpec, reply: &mut Reply<'_>) {
    if let Begin::Unknown { note, .. } = key.begin
        && !note.is_empty()
    {
        reply.map(4);
        reply.bulk(b"notes");
        reply.bulk(note.as_bytes());
    } else {
        reply.map(3);
    }
    reply.bulk(b"flags");
    reply.set(1 + key.effects.len());
    reply.simple(key.access.flag());
    key.effects.iter().for_each(|effect| reply.simple(effect));
    reply.bulk(b"begin_search");
    match key.begin {
        Begin::Index(index) => {
            write_search("index", 1, reply);
            write_number("index", index as i64, reply);
        }
        Begin::Keyword(word, from) => {
            write_search("keyword", 2, reply);
            reply.bulk(b"keyword");
            reply.bulk(word.as_bytes());
            write_number("startfrom", from, reply);
        }
        Begin::Unknown { .. } => {
            write_search("unknown", 0, reply);
            reply.bulk(b"find_keys");
            write_search("unknown", 0, reply);
            return;
        }
    }
    reply.bulk(b"find_keys");
    match key.find {
        Find::Range { .. } | Find::FirstHalf(_) => {
            let (last, step, limit) = match key.find {
                Find::Range { last, step } => (last, step as i64, 0),
                _ => (-1, 1, 2),
            };
            write_search("range", 3, reply);
            write_number("lastkey", last, reply);
            write_number("keystep", step, reply);
            write_number("limit", limit, reply);
        }
        Find::Counted | Find::CountedPairs => {
            let step = if matches!(key.find, Find::Counted) { 1 } else { 2 };
            write_search("keynum", 3, reply);
            write_number("keynumidx", 0, reply);
            write_number("firstkey", 1, reply);
            write_number("keystep", step, reply);
        }
    }
}

/// The type of a search; its `fields` follow.
fn write_search(kind: &str, fields: usize, reply: &mut Reply<'_>) {
    reply.map(2);
    reply.bulk(b"type");
    reply.bulk(kind.as_bytes());
    reply.bulk(b"spec");
    reply.map(fields);
}

fn write_number(name: &str, value: i64, reply: &mut Reply<'_>) {
    reply.bulk(name.as_bytes());
    reply.integer(value);
}

/// Where the keys are, as it was told before key specs existed. The name is 0; `last` counts from the end if
/// it is negative.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct LegacyRange {
    first: i64,
    last: i64,
    step: i64,
    /// The triple is not the whole truth: ask COMMAND GETKEYS.
    movable: bool,
}

impl LegacyRange {
    fn of(keys: &[KeySpec]) -> Self {
        let incomplete = |key: &KeySpec| key.effects.contains(&INCOMPLETE);
        if let [only] = keys
            && let (Begin::Index(first), Find::Range { last, step }) = (only.begin, only.find)
        {
            let first = first as i64;
            let last = if last >= 0 { first + last } else { last };
            return Self { first, last, step: step as i64, movable: incomplete(only) };
        }
        // Of several, those that follow each other without gaps count as one.
        let mut range = Self::default();
        for key in keys {
            let (Begin::Index(first), Find::Range { last, step: 1 }) = (key.begin, key.find) else {
                range.movable = true;
                continue;
            };
            let first = first as i64;
            if range.first > 0 && range.last != first - 1 {
                range.movable = true;
                continue;
            }
            range.movable |= incomplete(key);
            range.first = if range.first > 0 { range.first.min(first) } else { first };
            range.last = if last >= 0 { first + last } else { last };
            range.step = 1;
        }
        range
    }
}

/// One value of the map that COMMAND DOCS replies with; its key is `spec.full_name`.
pub fn write_docs(table: &CommandTable, command: &Command, reply: &mut Reply<'_>) {
    let spec = command.spec;
    let texts = [
        ("summary", spec.summary),
        ("since", spec.since),
        ("group", spec.group.name()),
        ("complexity", spec.complexity),
    ];
    let texts = || texts.iter().filter(|(_, text)| !text.is_empty());
    let lists = usize::from(!spec.args.is_empty()) + usize::from(!spec.subcommands.is_empty());
    reply.map(texts().count() + lists);
    for (name, text) in texts() {
        reply.bulk(name.as_bytes());
        reply.bulk(text.as_bytes());
    }
    if !spec.args.is_empty() {
        write_arguments(spec.args, reply);
    }
    if !spec.subcommands.is_empty() {
        reply.bulk(b"subcommands");
        reply.map(spec.subcommands.len());
        for subcommand in table.subcommands_of(command) {
            reply.bulk(subcommand.spec.full_name.as_bytes());
            write_docs(table, subcommand, reply);
        }
    }
}

fn write_arguments(args: &[Arg], reply: &mut Reply<'_>) {
    reply.bulk(b"arguments");
    reply.array(args.len());
    args.iter().for_each(|arg| write_argument(arg, reply));
}

fn write_argument(arg: &Arg, reply: &mut Reply<'_>) {
    let key_spec = match arg.kind {
        Kind::Key(index) | Kind::KeyPattern(index) => Some(index),
        _ => None,
    };
    let flags = [
        (arg.optional, "optional"),
        (arg.multiple || arg.multiple_token, "multiple"),
        (arg.multiple_token, "multiple_token"),
    ];
    let flags: Vec<&str> = flags.iter().filter(|(on, _)| *on).map(|(_, name)| *name).collect();
    let parts = match arg.kind {
        Kind::OneOf(parts) | Kind::Block(parts) => parts,
        _ => &[],
    };
    let fields =
        [key_spec.is_some(), arg.token.is_some(), arg.since.is_some(), !flags.is_empty(), !parts.is_empty()];
    reply.map(2 + fields.iter().filter(|present| **present).count());
    let text = |name: &str, text: &str, reply: &mut Reply<'_>| {
        reply.bulk(name.as_bytes());
        reply.bulk(text.as_bytes());
    };
    text("name", arg.name, reply);
    text("type", arg.kind.name(), reply);
    if let Some(index) = key_spec {
        write_number("key_spec_index", index as i64, reply);
    }
    if let Some(token) = arg.token {
        text("token", token, reply);
    }
    if let Some(since) = arg.since {
        text("since", since, reply);
    }
    if !flags.is_empty() {
        reply.bulk(b"flags");
        reply.set(flags.len());
        flags.iter().for_each(|flag| reply.simple(flag));
    }
    if !parts.is_empty() {
        write_arguments(parts, reply);
    }
}

/// A key of a request: its position, and what the command does to it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FoundKey {
    pub position: usize,
    pub flags: Vec<&'static str>,
}

/// Whether a command of this declaration can have keys at all.
pub fn has_keys(spec: &CommandSpec) -> bool {
    spec.keys.iter().any(is_key)
}

fn is_key(key: &KeySpec) -> bool {
    !key.effects.contains(&NOT_KEY)
}

/// The keys of a request; `None` if its arguments do not have the shape that the declaration expects.
pub fn keys_of(spec: &CommandSpec, argv: Argv<'_>) -> Option<Vec<FoundKey>> {
    let mut keys = Vec::new();
    for key in spec.keys.iter().filter(|key| is_key(key)) {
        let flags = flags_of(spec, key, argv);
        let found = key.each(argv, |position| keys.push(FoundKey { position, flags: flags.clone() }));
        // A word that is not there introduces no keys; a position always does.
        if found.is_none() && matches!(key.begin, Begin::Index(_)) {
            return None;
        }
    }
    Some(keys)
}

fn flags_of(spec: &CommandSpec, key: &KeySpec, argv: Argv<'_>) -> Vec<&'static str> {
    if !key.effects.contains(&VARIABLE_FLAGS) {
        return std::iter::once(key.access.flag()).chain(key.effects.iter().copied()).collect();
    }
    let mut options = argv.iter().skip(2);
    let mut any = |words: &[&str]| {
        options.any(|arg| words.iter().any(|word| arg.eq_ignore_ascii_case(word.as_bytes())))
    };
    match spec.name {
        "SET" if any(&["GET"]) => vec![Access::Update.flag(), "access", "update"],
        "SET" => vec![Access::Overwrite.flag(), "update"],
        "BITFIELD" if !any(&["SET", "INCRBY"]) => vec![Access::Read.flag(), "access"],
        _ => vec![key.access.flag(), "access", "update"],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::ArgvBuf;

    const fn spec(begin: Begin, find: Find, effects: &'static [&'static str]) -> KeySpec {
        KeySpec { begin, find, access: Access::Read, effects }
    }

    const FIRST: KeySpec = KeySpec::at(1, Access::Read, &[]);
    const SECOND: KeySpec = KeySpec::at(2, Access::Read, &[]);

    /// The triples that COMMAND INFO of redis-server 7.0.15 gives for commands of these shapes.
    #[test]
    fn the_old_triple_follows_from_the_specs() {
        let triple = |keys: &[KeySpec]| {
            let range = LegacyRange::of(keys);
            (range.first, range.last, range.step, range.movable)
        };
        assert_eq!(triple(&[]), (0, 0, 0, false), "PING");
        assert_eq!(triple(&[FIRST]), (1, 1, 1, false), "GET");
        assert_eq!(triple(&[KeySpec::from(1, 1, Access::Read, &[])]), (1, -1, 1, false), "MGET");
        assert_eq!(triple(&[KeySpec::from(1, 2, Access::Read, &[])]), (1, -1, 2, false), "MSET");
        assert_eq!(triple(&[FIRST, SECOND]), (1, 2, 1, false), "RENAME");
        assert_eq!(triple(&[FIRST, KeySpec::from(2, 1, Access::Read, &[])]), (1, -1, 1, false), "SDIFFSTORE");
        assert_eq!(triple(&[FIRST, KeySpec::counted(2, Access::Read, &[])]), (1, 1, 1, true), "ZUNIONSTORE");
        assert_eq!(triple(&[KeySpec::counted(1, Access::Read, &[])]), (0, 0, 0, true), "ZUNION");
        let incomplete = spec(Begin::Index(1), Find::Range { last: 0, step: 1 }, &[INCOMPLETE]);
        assert_eq!(triple(&[incomplete]), (1, 1, 1, true));
        let keyword = spec(Begin::Keyword("STREAMS", 1), Find::Range { last: -1, step: 1 }, &[]);
        assert_eq!(triple(&[keyword]), (0, 0, 0, true), "XREAD");
    }

    #[test]
    fn keys_of_requests_and_what_happens_to_them() {
        const KEYS: &[KeySpec] = &[
            FIRST,
            KeySpec::counted(2, Access::Read, &["access"]),
            spec(Begin::Keyword("STORE", 3), Find::Range { last: 0, step: 1 }, &["update"]),
        ];
        const SPEC: CommandSpec = CommandSpec { name: "X", keys: KEYS, ..super::super::DEFAULTS };
        let positions = |request: &str| {
            let argv: ArgvBuf = request.split(' ').collect();
            let keys = keys_of(&SPEC, argv.as_argv())?;
            Some(keys.iter().map(|key| key.position).collect::<Vec<_>>())
        };
        assert_eq!(positions("x a 2 b c"), Some(vec![1, 3, 4]));
        assert_eq!(positions("x a 1 b store d"), Some(vec![1, 3, 5]));
        assert_eq!(positions("x a 3 b c"), None, "the count is a lie");
    }

    #[test]
    fn flags_that_depend_on_options() {
        const KEYS: &[KeySpec] = &[KeySpec::at(1, Access::Update, &["access", "update", VARIABLE_FLAGS])];
        let flags = |name: &'static str, request: &str| {
            let argv: ArgvBuf = request.split(' ').collect();
            let spec = CommandSpec { name, keys: KEYS, ..super::super::DEFAULTS };
            keys_of(&spec, argv.as_argv()).expect("one key").remove(0).flags
        };
        assert_eq!(flags("SET", "set get v"), ["OW", "update"]);
        assert_eq!(flags("SET", "set k v Get"), ["RW", "access", "update"]);
        assert_eq!(flags("BITFIELD", "bitfield k get u8 0"), ["RO", "access"]);
        assert_eq!(flags("BITFIELD", "bitfield k get u8 0 incrby u8 0 1"), ["RW", "access", "update"]);
    }
}
