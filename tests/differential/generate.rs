//! Random commands, sampled from the command table: what is declared is tested, with its own grammar.
//!
//! Invariants
//!   G1  The same seed gives the same commands (deadlines apart, which are relative to `now_ms`).
//!   G2  No deadline falls due while a test runs: it is past already, or more than a day ahead.
//!   G3  Two deadlines that are not meant to be equal are ten seconds apart at least, so that a comparison by
//!       GT or LT does not depend on the millisecond in which each server reads its clock.
//!   G4  No command asks for more than a few megabytes of memory or of reply.

// By path: other tests include this file from elsewhere.
#[path = "generate/streams.rs"]
mod streams;

use pinion::base::random::Random;
use pinion::command_table::{Arg, CommandSpec, CommandTable, Flag, Group, Kind};

use crate::support::REDIS_VERSION;

pub type Argv = Vec<Vec<u8>>;

/// Families whose commands are all sampled, but for `EXCLUDED`.
const GROUPS: &[Group] = &[
    Group::Generic,
    Group::String,
    Group::List,
    Group::Set,
    Group::SortedSet,
    Group::Hash,
    Group::HyperLogLog,
    Group::Geo,
    Group::Stream,
    Group::Bitmap,
    Group::Transactions,
];

/// Of the other families: what shows or changes data and nothing else.
const INCLUDED: &[&str] = &[
    "ping",
    "echo",
    "select",
    "dbsize",
    "flushdb",
    "flushall",
    "swapdb",
    "command|getkeys",
    "command|getkeysandflags",
];

/// Commands that a comparison with another process cannot cover, each with its reason.
const EXCLUDED: &[(&str, &str)] = &[
    ("wait", "there are no replicas; the time it blocks is all that it shows"),
    ("waitaof", "there are no replicas"),
    ("migrate", "needs a third server"),
    ("dump", "compared by DEBUG DIGEST-like contents; the payload names the writer's version"),
    ("restore", "random payloads never pass the checksum; it has tests of its own"),
    ("restore-asking", "as RESTORE"),
    ("spop", "removes what chance chooses"),
    ("object|idletime", "seconds since an access depend on the speed of the test"),
];

/// How often a command comes up, where it is not as often as all others.
fn weight(spec: &CommandSpec) -> u64 {
    match spec.full_name {
        // They end what the other commands build up.
        "flushall" | "flushdb" => 1,
        "select" | "swapdb" => 4,
        "multi" => 3,
        "exec" => 12,
        "discard" => 2,
        "watch" | "unwatch" => 3,
        "ping" | "echo" | "dbsize" | "randomkey" => 4,
        "set" => 40,
        // One of these for each type keeps the types balanced.
        "rpush" | "sadd" | "hset" | "zadd" | "xadd" => 40,
        "del" | "unlink" | "rename" | "renamenx" | "move" => 6,
        _ => 10,
    }
}

pub struct Generator {
    random: Random,
    now_ms: i64,
    choices: Vec<Choice>,
    total_weight: u64,
    /// How often the next repeated argument comes: NUMKEYS has said so, or its sibling.
    repetitions: Option<usize>,
    group: Group,
    /// The full name of the command being made.
    command: &'static str,
    /// The time in the ids of streams: it goes up, so that most entries come behind those before.
    stream_ms: i64,
    /// What the keys' names begin with: one letter for each type that commands make.
    letters: Vec<char>,
}

struct Choice {
    spec: &'static CommandSpec,
    words: Vec<&'static str>,
    weight: u64,
}

impl Generator {
    pub fn new(table: &CommandTable, seed: u64, now_ms: i64) -> Generator {
        let choices = choices(table);
        let total_weight = choices.iter().map(|choice| choice.weight).sum();
        let random = Random::from_seed(seed);
        let mut letters: Vec<char> = choices.iter().filter_map(|choice| letter(choice.spec.group)).collect();
        letters.sort_unstable();
        letters.dedup();
        Generator {
            letters,
            random,
            now_ms,
            choices,
            total_weight,
            repetitions: None,
            group: Group::Generic,
            command: "",
            stream_ms: 1,
        }
    }

    /// Full names of what is sampled.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.choices.iter().map(|choice| choice.spec.full_name)
    }

    /// The next command; now and then two, of which the first makes the second's reply checkable.
    pub fn next(&mut self) -> Vec<Argv> {
        if self.one_in(200) {
            return vec![self.nonsense()];
        }
        let argv = self.command();
        let shows_all_keys: &[&[u8]] = &[b"KEYS", b"*"];
        if argv[0].eq_ignore_ascii_case(b"RANDOMKEY") && argv.len() == 1 {
            return vec![shows_all_keys.iter().map(|word| word.to_vec()).collect(), argv];
        }
        vec![argv]
    }

    fn command(&mut self) -> Argv {
        let mut place = self.random.below(self.total_weight);
        let chosen = self.choices.iter().position(|choice| match place.checked_sub(choice.weight) {
            Some(rest) => {
                place = rest;
                false
            }
            None => true,
        });
        let choice = &self.choices[chosen.expect("the place is below the sum of the weights")];
        let spec = choice.spec;
        let mut argv: Argv = choice.words.iter().map(|word| word.as_bytes().to_vec()).collect();
        let names = argv.len();
        self.group = spec.group;
        self.command = spec.full_name;
        if matches!(spec.full_name, "command|getkeys" | "command|getkeysandflags") {
            let nested = self.command();
            argv.extend(nested);
            return argv;
        }
        self.list(spec.args, &mut argv);
        if self.one_in(10) {
            self.break_somehow(spec, names, &mut argv);
        }
        if self.one_in(4) {
            let name = &mut argv[0];
            name.make_ascii_lowercase();
        }
        argv
    }

    /// Arguments in order; options next to each other are in any order, as clients send them.
    fn list(&mut self, args: &'static [Arg], out: &mut Argv) {
        // In one command of eight most options appear at once: they contradict each other.
        let eager = self.one_in(8);
        let mut sampled: Vec<(bool, Argv)> = Vec::new();
        self.repetitions = None;
        for arg in args.iter().filter(exists) {
            let mut words = Argv::new();
            if !arg.optional || self.one_in(if eager { 1 } else { 3 }) {
                self.one(arg, &mut words);
            }
            if !arg.multiple && arg.name != "numkeys" {
                self.repetitions = None;
            }
            sampled.push((arg.optional, words));
        }
        if self.one_in(3) {
            for run in sampled.chunk_by_mut(|before, after| before.0 && after.0) {
                for last in (1..run.len()).rev() {
                    run.swap(last, self.random.index(last + 1));
                }
            }
        }
        out.extend(sampled.into_iter().flat_map(|(_, words)| words));
    }

    fn one(&mut self, arg: &'static Arg, out: &mut Argv) {
        let times = match (arg.multiple, self.repetitions) {
            (false, _) => 1,
            (true, Some(times)) => times,
            (true, None) => 1 + self.random.index(3),
        };
        if arg.multiple {
            self.repetitions = Some(times);
        }
        for time in 0..times {
            if let Some(token) = arg.token.filter(|_| time == 0 || arg.multiple_token) {
                out.push(self.any_case(token));
            }
            match arg.kind {
                Kind::PureToken => {}
                Kind::OneOf(choices) => {
                    // "*" asks for an id made of the clock.
                    let usable: Vec<&Arg> =
                        choices.iter().filter(|arg| exists(arg) && arg.token != Some("*")).collect();
                    let choice = usable[self.random.index(usable.len())];
                    self.one(choice, out);
                }
                Kind::Block(parts) => {
                    let outer = self.repetitions;
                    self.list(parts, out);
                    self.repetitions = outer;
                }
                _ => {
                    let value = self.value(arg);
                    if arg.name == "numkeys" {
                        let count = 1 + self.random.index(3);
                        self.repetitions = Some(count);
                        let told = if self.one_in(20) { value } else { count.to_string().into_bytes() };
                        out.push(told);
                    } else {
                        out.push(value);
                    }
                }
            }
        }
    }

    fn value(&mut self, arg: &Arg) -> Vec<u8> {
        if self.one_in(60) {
            return self.not_a_number();
        }
        if self.group == Group::Stream
            && let Some(value) = self.stream_value(arg)
        {
            return value;
        }
        let text = match (arg.kind, arg.name) {
            (Kind::Key(_), _) => return self.key(),
            (Kind::Pattern, _) => self.pick(&[
                "*", "s*", "*:1", "?:[0-2]", "[^s]*", "{t}*", "s:\\0", "", "[", "nothing", "*:*:*", "[z-a]:?",
            ]),
            (Kind::UnixTime, name) if name.contains("milli") => return text(self.unix_time_ms()),
            (Kind::UnixTime, _) => return text(self.unix_time()),
            (_, "milliseconds") if arg.token == Some("BLOCK") => self.pick(&["1", "5", "-1"]),
            (_, "seconds") => return text(self.seconds()),
            (_, "milliseconds" | "ttl") => return text(self.milliseconds()),
            // Of blocking commands, in seconds.
            (_, "timeout") => self.pick(&["0.001", "0.01", "0.005", "-1", "1e400", "abc", "-0.1"]),
            (_, "db" | "index" | "index1" | "index2" | "destination-db") if !self.is_list() => {
                self.pick(&["0", "0", "0", "1", "1", "2", "3", "15", "16", "-1", "2147483648"])
            }
            (_, "cursor") => self.pick(&["0", "0", "0", "0", "0", "0", "abc", "-1", "18446744073709551616"]),
            (_, "offset") if self.one_in(8) => {
                self.pick(&["-1", "4294967296", "9223372036854775807", "-9223372036854775808", "536870912"])
            }
            (_, "offset") => return self.number(0, 70),
            (_, "bit") => self.pick(&["0", "1", "1", "1", "2"]),
            (_, "count" | "len" | "maxlen" | "rank") if self.one_in(8) => {
                self.pick(&["9223372036854775807", "-9223372036854775808", "1000", "0"])
            }
            (_, "count" | "len" | "maxlen" | "rank") => return self.number(-5, 20),
            (Kind::String, "type") => {
                self.pick(&["string", "string", "list", "set", "zset", "hash", "stream", "String", "none"])
            }
            (Kind::String | Kind::Double, "min" | "max" | "start" | "stop") => self.pick(&[
                "-inf", "+inf", "0", "1", "-1", "2", "(1", "(2.5", "[a", "[c", "(b", "-", "+", "3", "10",
                "nan",
            ]),
            (Kind::String, "encoding") => {
                self.pick(&["u8", "i8", "u1", "i16", "u63", "i64", "u64", "i65", "u0", "x8"])
            }
            (Kind::Double, "longitude") => {
                self.pick(&["13.361389", "15.087269", "-180", "181", "0", "179.9"])
            }
            (Kind::Double, "latitude") => self.pick(&["38.115556", "37.502669", "-85.05", "86", "0", "10"]),
            (Kind::Double, _) => self.float(),
            (Kind::String, "increment") => self.float(),
            (Kind::Integer, _) if self.one_in(6) => self.edge(),
            (Kind::Integer, _) => return self.number(-10, 20),
            (_, "member" | "field" | "element" | "pivot" | "group" | "consumer" | "member1" | "member2") => {
                return self.member();
            }
            _ => return self.string(),
        };
        text.as_bytes().to_vec()
    }

    /// Few enough to collide, on several shards, some tied together by a hash tag. Three of four are of the
    /// command's own family, so that most commands meet the type they are for.
    fn key(&mut self) -> Vec<u8> {
        let own = letter(self.group);
        let letter = own.unwrap_or_else(|| self.letters[self.random.index(self.letters.len())]);
        let letter = if self.one_in(8) { 's' } else { letter };
        let number = self.random.below(4);
        match self.random.below(40) {
            0 => Vec::new(),
            1 => b"binary\0\r\n\xff".to_vec(),
            2..=9 => format!("{{t}}{letter}:{number}").into_bytes(),
            _ => format!("{letter}:{number}").into_bytes(),
        }
    }

    fn string(&mut self) -> Vec<u8> {
        match self.random.below(24) {
            0 => Vec::new(),
            1 => b"\0\xff\r\n$1 ".to_vec(),
            2 => vec![b'x'; 44],
            3 => vec![b'y'; 45],
            4 => (0..700).map(|index| b'a' + (index % 26) as u8).collect(),
            5 => vec![b'z'; 20_000],
            6..=9 => self.edge().as_bytes().to_vec(),
            10..=12 => self.float().as_bytes().to_vec(),
            13..=17 => self.number(-20, 1000),
            18 => self.not_a_number(),
            _ => self
                .pick(&["a", "b", "abc", "hello world", "ohmytext", "mynewtext", "foobar"])
                .as_bytes()
                .to_vec(),
        }
    }

    fn member(&mut self) -> Vec<u8> {
        match self.random.below(12) {
            0 => self.string(),
            1..=5 => self.number(0, 6),
            _ => self.pick(&["a", "b", "c", "d", "e", "f"]).as_bytes().to_vec(),
        }
    }

    fn number(&mut self, low: i64, high: i64) -> Vec<u8> {
        text(low + self.random.below((high - low + 1) as u64) as i64)
    }

    fn edge(&mut self) -> &'static str {
        self.pick(&[
            "9223372036854775807",
            "-9223372036854775808",
            "9223372036854775806",
            "-9223372036854775807",
            "9223372036854775808",
            "-9223372036854775809",
            "9223372036854775800",
            "4294967296",
            "-2147483649",
            "0",
            "-1",
        ])
    }

    fn float(&mut self) -> &'static str {
        self.pick(&[
            "0",
            "1",
            "-1",
            "1.5",
            "-2.25",
            "3.0",
            "0.1",
            "1e3",
            "1e-7",
            "1e17",
            "123456789.123456789",
            "1e308",
            "-1e308",
            "1.7976931348623157e308",
            "inf",
            "-inf",
            "nan",
            "5e-324",
            "0x1p3",
            "3.14",
            "10.5000",
            "-0",
            "+5",
            "1e5000",
            ".5",
            "5.",
            "100",
            "7",
        ])
    }

    fn not_a_number(&mut self) -> Vec<u8> {
        let odd: [&[u8]; 14] = [
            b"abc",
            b"",
            b" 1",
            b"1 ",
            b"+1",
            b"01",
            b"-0",
            b"1.0",
            b"1e2",
            b"--1",
            b"0x10",
            b"12a",
            b"1\0",
            b"123456789012345678901234567890",
        ];
        odd[self.random.index(odd.len())].to_vec()
    }

    fn seconds(&mut self) -> i64 {
        match self.random.below(20) {
            0 => 0,
            1 => -1,
            2 => -100_000,
            3 => i64::MAX,
            4 => i64::MAX / 1000,
            5 => i64::MIN,
            6 => 9_223_372_036_854_776,
            _ => 100_000 + 10 * self.random.below(100_000) as i64,
        }
    }

    fn milliseconds(&mut self) -> i64 {
        match self.random.below(20) {
            0 => 0,
            1 => -1,
            2 => -100_000,
            3 => i64::MAX,
            4 => i64::MIN,
            _ => 100_000_000 + 10_000 * self.random.below(100_000) as i64,
        }
    }

    fn unix_time(&mut self) -> i64 {
        let now = self.now_ms / 1000;
        match self.random.below(20) {
            0 => self.seconds(),
            1 => 1,
            2 => now - 1000,
            // Exactly the same one again, for GT and LT.
            3..=6 => now + 500_000,
            _ => now + 100_000 + 10 * self.random.below(100_000) as i64,
        }
    }

    fn unix_time_ms(&mut self) -> i64 {
        match self.random.below(20) {
            0 => self.milliseconds(),
            1 => 1,
            2 => self.now_ms - 1000,
            3..=6 => self.now_ms / 1000 * 1000 + 500_000_000,
            _ => self.now_ms + 100_000_000 + 10_000 * self.random.below(100_000) as i64,
        }
    }

    /// A mistake that clients make: an argument too few, too many, misspelt, twice.
    fn break_somehow(&mut self, spec: &CommandSpec, names: usize, argv: &mut Argv) {
        // A value in a deadline's place would be a deadline (G2); in a count's place, a giant reply (G4).
        let numbers_matter = has_delicate_number(spec.args);
        match self.random.below(6) {
            0 if argv.len() > 1 => {
                argv.pop();
            }
            1 => argv.push(b"extra".to_vec()),
            2 if argv.len() > names && !numbers_matter => {
                argv.remove(names + self.random.index(argv.len() - names));
            }
            3 if argv.len() > names && !numbers_matter => {
                let place = names + self.random.index(argv.len() - names);
                argv.insert(place, argv[place].clone());
            }
            4 if argv.len() > names => {
                let place = names + self.random.index(argv.len() - names);
                argv[place] = b"NOSUCHTOKEN".to_vec();
            }
            _ => {
                let token =
                    self.pick(&["NX", "XX", "GT", "LT", "KEEPTTL", "GET", "COUNT", "LIMIT", "EX", "BLOCK "]);
                argv.push(token.as_bytes().to_vec());
            }
        }
    }

    fn nonsense(&mut self) -> Argv {
        let lines: &[&[&[u8]]] = &[
            &[b"NOSUCHCOMMAND"],
            &[b"nosuch", b"with", b"arguments \r\n and \xff"],
            &[b""],
            &[b"OBJECT"],
            &[b"OBJECT", b"NOSUCH", b"key"],
            &[b"object", b"freq"],
            &[b"GET"],
            &[b"COMMAND", b"GETKEYS"],
            &[b"COMMAND", b"GETKEYS", b"nosuch", b"a"],
            &[b"COMMAND", b"NOSUCH"],
            &[b"a-name-that-is-much-longer-than-the-name-of-any-command-there-will-ever-be", b"x"],
        ];
        lines[self.random.index(lines.len())].iter().map(|word| word.to_vec()).collect()
    }

    fn is_list(&self) -> bool {
        self.group == Group::List
    }

    fn any_case(&mut self, token: &str) -> Vec<u8> {
        if self.one_in(5) { token.to_lowercase().into_bytes() } else { token.as_bytes().to_vec() }
    }

    fn pick(&mut self, choices: &[&'static str]) -> &'static str {
        choices[self.random.index(choices.len())]
    }

    pub fn one_in(&mut self, count: u64) -> bool {
        self.random.below(count) == 0
    }
}

fn letter(group: Group) -> Option<char> {
    Some(match group {
        Group::String | Group::Bitmap => 's',
        Group::List => 'l',
        Group::Set => 'u',
        Group::Hash => 'h',
        Group::SortedSet => 'z',
        // Not those of sorted sets: what a score is as a position that is none, C leaves undefined.
        Group::Geo => 'g',
        Group::Stream => 'x',
        Group::HyperLogLog => 'p',
        _ => return None,
    })
}

fn text(number: i64) -> Vec<u8> {
    number.to_string().into_bytes()
}

/// What the reference knows too.
fn choices(table: &CommandTable) -> Vec<Choice> {
    let mut choices = Vec::new();
    for command in table.top_level() {
        let spec = command.spec;
        if spec.subcommands.is_empty() {
            choices.extend(choice(spec, vec![spec.name]));
        }
        for subcommand in table.subcommands_of(command) {
            choices.extend(choice(subcommand.spec, vec![spec.name, subcommand.spec.name]));
        }
    }
    // The table's order is that of a hash: another command there must not change every other one here (G1).
    choices.sort_by_key(|choice| choice.spec.full_name);
    choices
}

fn choice(spec: &'static CommandSpec, words: Vec<&'static str>) -> Option<Choice> {
    let name = spec.full_name;
    let wanted = GROUPS.contains(&spec.group) || INCLUDED.contains(&name);
    let excluded = EXCLUDED.iter().any(|(excluded, _)| *excluded == name);
    // The texts of HELP are our own words.
    let help = name.ends_with("|help");
    // A session is one client: what it waits for, nobody brings. Blocking commands have tests of their own, but
    // for those that need not wait.
    let blocks = spec.flags.contains(Flag::Blocking) && !matches!(name, "xread" | "xreadgroup");
    let monitors = spec.flags.contains(Flag::Admin) || spec.flags.contains(Flag::PubSub);
    (wanted && !excluded && !help && !monitors && !blocks && reference_has(spec.since)).then(|| Choice {
        spec,
        words,
        weight: weight(spec),
    })
}

fn exists(arg: &&Arg) -> bool {
    arg.since.is_none_or(reference_has)
}

fn reference_has(since: &str) -> bool {
    let parts =
        |version: &str| version.split('.').map(|part| part.parse().unwrap_or(0)).collect::<Vec<u32>>();
    parts(since) <= parts(REDIS_VERSION)
}

fn has_delicate_number(args: &[Arg]) -> bool {
    args.iter().any(|arg| match arg.kind {
        Kind::OneOf(parts) | Kind::Block(parts) => has_delicate_number(parts),
        Kind::UnixTime => true,
        _ => matches!(arg.name, "seconds" | "milliseconds" | "timeout" | "count" | "offset" | "ttl"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNTED: &[Arg] = &[
        Arg::new("numkeys", Kind::Integer),
        Arg::key("key").multiple(),
        Arg::integer("weight").after("WEIGHTS").optional().multiple(),
        Arg::integer("count").after("COUNT").optional(),
    ];
    const STREAMS: &[Arg] =
        &[Arg::block("streams", &[Arg::key("key").multiple(), Arg::string("id").multiple()])
            .after("STREAMS")];
    const PAIRS: &[Arg] = &[
        Arg::block("key_value", &[Arg::key("key"), Arg::string("value")]).multiple(),
        Arg::token("later", "X").since("8.0.0"),
    ];

    fn samples(args: &'static [Arg]) -> Vec<Argv> {
        let table = pinion::commands::table(&[]);
        let mut generator = Generator::new(&table, 5, 0);
        (0..400)
            .map(|_| {
                let mut argv = Argv::new();
                generator.list(args, &mut argv);
                argv
            })
            .collect()
    }

    #[test]
    fn as_many_keys_as_the_count_says() {
        let (mut right, mut weighted) = (0, 0);
        for argv in samples(COUNTED) {
            let count = String::from_utf8_lossy(&argv[0]).parse::<usize>().unwrap_or(usize::MAX);
            let end = argv
                .iter()
                .position(|word| matches!(word.to_ascii_uppercase().as_slice(), b"WEIGHTS" | b"COUNT"));
            right += usize::from(end.unwrap_or(argv.len()) == count.saturating_add(1));
            weighted += usize::from(end.is_some());
        }
        // The rest is wrong on purpose.
        assert!((340..400).contains(&right), "{right}");
        assert!((100..300).contains(&weighted), "{weighted}");
    }

    #[test]
    fn siblings_that_repeat_come_equally_often() {
        for argv in samples(STREAMS) {
            assert!(argv[0].eq_ignore_ascii_case(b"STREAMS"));
            assert!(argv.len() % 2 == 1, "{argv:?}");
        }
    }

    #[test]
    fn blocks_repeat_as_a_whole_and_later_arguments_are_left_out() {
        let samples = samples(PAIRS);
        assert!(samples.iter().all(|argv| argv.len().is_multiple_of(2) && !argv.is_empty()));
        assert!(samples.iter().any(|argv| argv.len() > 2));
    }

    /// G2
    #[test]
    fn no_deadline_falls_due_during_a_test() {
        let now = 1_700_000_000_000;
        let table = pinion::commands::table(&[]);
        let mut generator = Generator::new(&table, 6, now);
        for _ in 0..2000 {
            for seconds in [generator.seconds(), generator.unix_time().saturating_sub(now / 1000)] {
                assert!(seconds <= 0 || seconds >= 100_000, "{seconds} s from now");
            }
            for milliseconds in [generator.milliseconds(), generator.unix_time_ms().saturating_sub(now)] {
                assert!(milliseconds <= 0 || milliseconds >= 100_000_000, "{milliseconds} ms from now");
            }
        }
    }
}
