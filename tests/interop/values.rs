//! DUMP here, RESTORE there; DUMP there, RESTORE here: every type, with thresholds on both sides of every encoding.
//!
//! `INTEROP_KEYS` says how many random keys go each way (400 if unset), `INTEROP_SEED` the first seed.

use super::support::{Client, Program, Server, Value};
use pinion::base::random::Random;

/// Small thresholds, so that few elements reach every encoding; both servers have the same.
const FLAGS: &[&str] = &[
    "--hash-max-listpack-entries",
    "16",
    "--set-max-intset-entries",
    "16",
    "--zset-max-listpack-entries",
    "16",
    "--list-max-listpack-size",
    "8",
    "--list-compress-depth",
    "1",
];

type Argv = Vec<Vec<u8>>;

/// Makes values of which the same seed makes the same.
struct Maker(Random);

impl Maker {
    fn below(&mut self, bound: u64) -> u64 {
        self.0.next_u64() % bound
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    fn text(&mut self) -> Vec<u8> {
        const LENGTHS: [usize; 12] = [0, 1, 5, 11, 20, 21, 44, 63, 64, 65, 300, 20_000];
        match self.below(4) {
            0 => self.integer().to_string().into_bytes(),
            1 => {
                let length = self.one_of(&LENGTHS[..10]);
                (0..length).map(|_| self.0.next_u64() as u8).collect()
            }
            2 => {
                let length = self.one_of(&LENGTHS);
                let phrase = self.one_of(&[&b"ab"[..], b"hello world ", b"x"]);
                phrase.iter().copied().cycle().take(length).collect()
            }
            _ => {
                let length = self.one_of(&LENGTHS);
                (0..length).map(|_| b'a' + (self.0.next_u64() % 2) as u8).collect()
            }
        }
    }

    /// Around every width that an integer is kept in.
    fn integer(&mut self) -> i64 {
        let edge = self.one_of(&[0, 13, 1 << 6, 1 << 7, 1 << 12, 1 << 15, 1 << 23, 1 << 31, i64::MAX]);
        let near = self.below(3) as i64 - 1;
        let value = edge.saturating_add(near);
        if self.below(2) == 0 { value } else { value.wrapping_neg() }
    }

    fn score(&mut self) -> &'static str {
        self.one_of(&[
            "0",
            "-0",
            "1",
            "-1",
            "1.5",
            "inf",
            "-inf",
            "1e300",
            "-1e-300",
            "3.14159",
            "9007199254740993",
            "4611686018427387904",
            "9223372036854775808",
            "0.1",
        ])
    }

    /// Entries, some of them deleted; two groups with consumers that have read and acknowledged some.
    fn stream(&mut self, key: &[u8], len: usize) -> Vec<Argv> {
        let command = |words: &[&[u8]]| words.iter().map(|word| word.to_vec()).collect::<Argv>();
        let mut commands = Vec::new();
        let id = |number: usize| format!("{}-{}", 1000 + number / 3, number % 3 + 1).into_bytes();
        for number in 0..len {
            let mut argv = command(&[b"XADD", key, &id(number)]);
            for field in 0..=self.below(3) {
                argv.extend([self.one_of(&[&b"a"[..], b"b", b"12"]).to_vec(), self.text()]);
                if field == 1 {
                    argv.extend([self.text(), self.text()]);
                }
            }
            commands.push(argv);
        }
        let deleted: Vec<Vec<u8>> = (0..self.below(4)).map(|_| id(self.below(len as u64) as usize)).collect();
        for id in &deleted {
            commands.push(command(&[b"XDEL", key, id]));
        }
        for group in [&b"one"[..], b"other"] {
            commands.push(command(&[b"XGROUP", b"CREATE", key, group, b"0"]));
            commands.push(command(&[b"XGROUP", b"CREATECONSUMER", key, group, b"idle"]));
            for consumer in [&b"c1"[..], b"c2"] {
                commands.push(command(&[
                    b"XREADGROUP",
                    b"GROUP",
                    group,
                    consumer,
                    b"COUNT",
                    b"4",
                    b"STREAMS",
                    key,
                    b">",
                ]));
            }
            commands.push(command(&[b"XACK", key, group, &id(0), &id(2)]));
        }
        commands
    }

    fn value(&mut self, key: &[u8]) -> Vec<Argv> {
        let len = self.one_of(&[1, 2, 5, 16, 17, 60]);
        let command =
            |name: &str, rest: Vec<Vec<u8>>| [vec![name.as_bytes().to_vec(), key.to_vec()], rest].concat();
        match self.below(8) {
            7 => self.stream(key, len),
            0 => vec![command("SET", vec![self.text()])],
            1 => vec![command("SET", vec![self.text()]), command("APPEND", vec![self.text()])],
            2 => vec![command("RPUSH", (0..len).map(|_| self.text()).collect())],
            3 => vec![command("SADD", (0..len).map(|_| self.text()).collect())],
            4 => vec![command("SADD", (0..len).map(|_| self.integer().to_string().into_bytes()).collect())],
            5 => vec![command("HSET", (0..2 * len).map(|_| self.text()).collect())],
            _ => vec![command("ZADD", (0..len).flat_map(|_| [self.score().into(), self.text()]).collect())],
        }
    }
}

/// A number from the environment.
fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")),
        Err(_) => default,
    }
}

fn ok(client: &mut Client, argv: &[&[u8]]) -> Value {
    let reply = client.command(argv);
    assert!(
        !reply.is_error(),
        "{:?} replied {reply}",
        argv.iter().map(|word| word.escape_ascii().to_string()).collect::<Vec<_>>()
    );
    reply
}

fn dumped(client: &mut Client, key: &[u8]) -> Vec<u8> {
    ok(client, &[b"DUMP", key]).as_bytes().expect("the key is there").to_vec()
}

/// What a value is apart from how it is kept.
fn content(client: &mut Client, key: &[u8]) -> String {
    let mut content = ok(client, &[b"DEBUG", b"DIGEST-VALUE", key]).to_string();
    if ok(client, &[b"TYPE", key]).to_string() == "+stream" {
        // The digest knows nothing of groups.
        content += &ok(client, &[b"XINFO", b"GROUPS", key]).to_string();
        for group in [b"one", &b"other"[..]] {
            content += &client.command(&[b"XPENDING", key, group]).to_string();
        }
    }
    content
}

#[test]
fn values_travel_both_ways() {
    let (keys, seed) = (setting("INTEROP_KEYS", 400), setting("INTEROP_SEED", 1));
    let here = Server::start(Program::Pinion { shards: 2 }, FLAGS);
    let there = Server::start(Program::Redis, FLAGS);
    let mut clients = [here.connect(), there.connect()];
    for number in 0..keys {
        for maker in 0..2 {
            let case = format!("INTEROP_SEED={} INTEROP_KEYS=1, made by {maker}", seed + number);
            let key = format!("key:{number}:{maker}").into_bytes();
            let back = [&key[..], b":back"].concat();
            for argv in Maker(Random::from_seed(seed + number)).value(&key) {
                let words: Vec<&[u8]> = argv.iter().map(Vec::as_slice).collect();
                ok(&mut clients[maker], &words);
            }
            let other = 1 - maker;
            let payload = dumped(&mut clients[maker], &key);
            ok(&mut clients[other], &[b"RESTORE", &key, b"0", &payload]);
            let payload = dumped(&mut clients[other], &key);
            ok(&mut clients[maker], &[b"RESTORE", &back, b"0", &payload]);
            let made = content(&mut clients[maker], &key);
            assert_eq!(content(&mut clients[other], &key), made, "{case}");
            assert_eq!(content(&mut clients[maker], &back), made, "{case}, and back");
            // Every encoding is chosen alike. (Strings that were edited are raw where they were edited.)
            let ours = ok(&mut clients[maker], &[b"OBJECT", b"ENCODING", &back]).to_string();
            let theirs = ok(&mut clients[other], &[b"OBJECT", b"ENCODING", &key]).to_string();
            assert_eq!(theirs, ours, "{case}");
        }
    }
}

/// What is kept in Redis' own bytes is dumped in them.
#[test]
fn packed_values_are_dumped_alike() {
    let here = Server::start(Program::Pinion { shards: 1 }, &["--rdbcompression", "no"]);
    let there = Server::start(Program::Redis, &["--rdbcompression", "no"]);
    let commands: [&[&str]; 8] = [
        &["SET", "key", "some text"],
        &["SET", "key", "-70000"],
        &["RPUSH", "key", "a", "1", "-1", "5000", "70000", "3000000000", "012", ""],
        &["SADD", "key", "1", "-5", "70000"],
        &["HSET", "key", "field", "value", "number", "12"],
        &["ZADD", "key", "1", "a", "2.5", "b", "-inf", "c", "1e100", "d", "-0", "e"],
        &["SETBIT", "key", "100", "1"],
        &["PFADD", "key", "a", "b", "c"],
    ];
    for command in commands {
        let dumps = [&here, &there].map(|server| {
            let mut client = server.connect();
            client.command(&["FLUSHALL"]);
            client.command(command);
            dumped(&mut client, b"key")
        });
        assert_eq!(dumps[0].escape_ascii().to_string(), dumps[1].escape_ascii().to_string(), "{command:?}");
    }
}

/// Payloads of either server with a byte changed, all places in turn: none harms the server, and what is accepted is
/// whole.
#[test]
fn spoilt_payloads_are_survived() {
    let here = Server::start(Program::Pinion { shards: 1 }, FLAGS);
    let there = Server::start(Program::Redis, FLAGS);
    let (mut ours, mut theirs) = (here.connect(), there.connect());
    ok(&mut ours, &[b"DEBUG", b"SET-SKIP-CHECKSUM-VALIDATION", b"1"]);
    let mut random = Random::from_seed(setting("INTEROP_SEED", 1));
    for number in 0..40 {
        let key = format!("key:{number}").into_bytes();
        for argv in Maker(Random::from_seed(number)).value(&key) {
            let words: Vec<&[u8]> = argv.iter().map(Vec::as_slice).collect();
            ok(&mut theirs, &words);
        }
        let payload = dumped(&mut theirs, &key);
        for at in 0..payload.len().min(200) {
            let mut spoilt = payload.clone();
            spoilt[at] = random.next_u64() as u8;
            let reply = ours.command(&[b"RESTORE", &b"spoilt"[..], b"0", &spoilt, b"REPLACE"]);
            if !reply.is_error() {
                content(&mut ours, b"spoilt");
                let again = dumped(&mut ours, b"spoilt");
                ok(&mut ours, &[b"RESTORE", b"again", b"0", &again, b"REPLACE"]);
            }
        }
    }
    assert_eq!(ours.command(&["PING"]).to_string(), "+PONG");
}
