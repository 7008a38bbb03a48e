//! Plays transcripts against shards, without a server, a socket or a clock.
//!
//! ```text
//! > SET k v            a request, quoted as redis-cli quotes
//! +OK                  its reply: +status  -error  :integer  $bulk  nil  [element, …]  {key: value, …}  set[member, …]
//! @ later 30           the clock advances, in milliseconds
//! @ resp3              the client speaks RESP3 from here on
//! ~:100                an integer near this one: what depends on the time that passes
//! ```
//! Every transcript is played on one shard and on several, where the keys of one request may live apart; and
//! with `TRANSCRIPT_REDIS=/path/to/socket` in the environment also on the redis-server there, whose
//! data are deleted. That is how the expectations were verified:
//! `redis-server --port 0 --unixsocket /tmp/r.sock & TRANSCRIPT_REDIS=/tmp/r.sock cargo test --lib commands::`

use super::table;
use crate::base::UnixMillis;
use crate::client::{Client, ClientKey};
use crate::command_table::{Args, Asker, Command, CommandTable, Handler, HopWork, Merge, ShardHandler, Step};
use crate::config::Config;
use crate::config::update::{Permission, set};
use crate::mesh::lending;
use crate::observability::{Level, Logger};
use crate::resp::{Argv, ArgvBuf, Protocol, Reply, Value, inline, parse_reply};
use crate::session::{CoreState, Session, Shared};
use crate::shard::{CommandResult, Context, shard_of_key};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

static TABLE: LazyLock<CommandTable> = LazyLock::new(|| table(&[]));

/// An arbitrary moment.
const START: UnixMillis = UnixMillis(1_700_000_000_123);

/// Their replies are sorted before they are compared.
const UNORDERED: &[&str] = &["KEYS", "SMEMBERS", "SINTER ", "SUNION ", "SDIFF ", "SPOP ", "SRANDMEMBER "];

/// Plays a transcript here and, if there is one, on a redis-server.
#[track_caller]
pub(super) fn check(transcript: &str) {
    check_new(transcript);
    if let Some(path) = std::env::var_os("TRANSCRIPT_REDIS") {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let mut redis = Redis { stream: UnixStream::connect(path).expect("a redis-server") };
        redis.request(&ArgvBuf::from_iter(["FLUSHALL"]));
        play(transcript, &mut redis, "redis-server");
    }
}

/// Plays a transcript of commands that the reference redis-server does not know.
#[track_caller]
pub(super) fn check_new(transcript: &str) {
    play(transcript, &mut Cores::new(1), "one shard");
    play(transcript, &mut Cores::new(5), "five shards");
}

/// Who answers.
trait Player {
    fn request(&mut self, argv: &ArgvBuf) -> Value;
    fn later(&mut self, millis: u64);
    fn resp3(&mut self);
}

#[track_caller]
fn play(transcript: &str, player: &mut dyn Player, name: &str) {
    let mut lines = transcript.lines().map(str::trim).filter(|line| !line.is_empty());
    while let Some(line) = lines.next() {
        if let Some(millis) = line.strip_prefix("@ later ") {
            player.later(millis.parse().expect("milliseconds"));
        } else if line == "@ resp3" {
            player.resp3();
        } else {
            let command = line.strip_prefix("> ").expect("a command line");
            let argv = inline::split_words(command.as_bytes()).expect("quotes are balanced");
            let mut value = player.request(&argv);
            if let Value::Array(elements) | Value::Set(elements) = &mut value
                && UNORDERED.iter().any(|name| command.starts_with(name))
            {
                elements.sort_by_key(readable);
            }
            let wanted = lines.next().expect("a reply line");
            let reply = readable(&value);
            assert!(agree(&reply, wanted), "{name}: {command}\n  replied {reply}\n  wanted  {wanted}");
        }
    }
}

fn agree(reply: &str, wanted: &str) -> bool {
    let number = |text: &str| text.strip_prefix(':').and_then(|digits| digits.parse::<i64>().ok());
    match wanted.strip_prefix('~') {
        Some(near) => {
            let (reply, near) = (number(reply), number(near).expect("an integer"));
            reply.is_some_and(|reply| (near - 500..=near + 500).contains(&reply))
        }
        None => reply == wanted,
    }
}

/// A reply in one line.
pub(super) fn readable(value: &Value) -> String {
    let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
    let joined = |elements: &[Value]| elements.iter().map(readable).collect::<Vec<_>>().join(", ");
    match value {
        Value::Simple(line) => format!("+{}", text(line)),
        Value::Error(line) => format!("-{}", String::from_utf8_lossy(line)),
        Value::Integer(number) => format!(":{number}"),
        Value::Bulk(bytes) => format!("${}", text(bytes)),
        Value::Null => "nil".into(),
        Value::Array(elements) => format!("[{}]", joined(elements)),
        Value::Set(elements) => format!("set[{}]", joined(elements)),
        Value::Map(pairs) => {
            let pair = |(key, value): &(Value, Value)| format!("{}: {}", readable(key), readable(value));
            format!("{{{}}}", pairs.iter().map(pair).collect::<Vec<_>>().join(", "))
        }
        other => format!("{other:?}"),
    }
}

/// Whether every key comes with its value.
fn is_whole(command: &Command, argv: Argv<'_>) -> bool {
    let (first, step) = command.spec.keys[0].stride().expect("PerShard keys repeat to the end");
    (argv.len() - first).is_multiple_of(step)
}

/// A server's cores without anything around them; one client is connected to the first.
pub(super) struct Cores {
    pub cores: Vec<CoreState>,
    client: ClientKey,
    now: UnixMillis,
}

impl Cores {
    pub fn new(count: usize) -> Self {
        let log = Logger::new(Level::Warning, None).expect("without a file nothing can fail");
        let shared = Arc::new(Shared::new(Arc::new(unsaved()), vec![0; count], log, String::new(), START.0));
        let core = |(index, place)| {
            CoreState::new(index, Arc::clone(&shared), &TABLE, place, [1, 2, 3, index as u64])
        };
        let mut cores: Vec<CoreState> = lending(count).into_iter().enumerate().map(core).collect();
        let client = cores[0].clients.insert(Client::new(1, START));
        let mut all = Self { cores, client, now: START };
        all.later(0);
        all
    }

    pub fn run(&mut self, words: &[&str]) -> Value {
        self.request(&ArgvBuf::from_iter(words))
    }

    pub fn later(&mut self, millis: u64) {
        self.now = UnixMillis(self.now.0 + millis);
        for core in &mut self.cores {
            core.now.unix = self.now;
            core.shard.set_clock(self.now);
        }
    }

    fn owner(&self, key: &[u8]) -> usize {
        shard_of_key(key, self.cores.len())
    }

    fn handle(&mut self, command: &Command, argv: Argv<'_>, reply: &mut Reply<'_>) -> CommandResult {
        let (db, client) = (self.cores[0].clients.running(self.client).db, self.client);
        let names = usize::from(command.names);
        let mut owners = Vec::new();
        for spec in command.spec.keys {
            let _ = spec.each(argv, |position| owners.push(self.owner(&argv[position])));
        }
        let anywhere = command.spec.keys.iter().any(|spec| spec.reaches_anywhere(argv));
        let apart = anywhere || owners.windows(2).any(|pair| pair[0] != pair[1]);
        let owner = owners.first().copied().unwrap_or(0);
        let asker = Asker { client_id: 1, db, protocol: reply.protocol() };
        match command.spec.handler {
            Handler::PerShard { run, merge } if apart && is_whole(command, argv) => {
                self.per_key(command, run, merge, argv, reply)
            }
            Handler::Transaction { plan, .. } | Handler::Blocking { plan, .. } if apart => {
                let mut plan = plan(argv);
                let mut results = Vec::new();
                loop {
                    match plan.step(results, reply) {
                        Step::Done(result) => return result,
                        Step::Hop(hop) => {
                            let run = |work: HopWork| {
                                let owner = self.owner(&work.key);
                                (work.run)(&mut self.cores[owner].shard.context(db, self.now, false))
                            };
                            results = hop.into_iter().map(run).collect();
                        }
                    }
                }
            }
            Handler::Shard(run)
            | Handler::PerShard { run, .. }
            | Handler::Blocking { run, .. }
            | Handler::Transaction { run, .. } => {
                run(&mut self.context(owner, db), Args::new(argv, names), reply)
            }
            Handler::ShardOf { pick, run } => {
                let owner = pick(argv, self.cores.len());
                run(&mut self.context(owner, db), Args::new(argv, names), reply)
            }
            Handler::EveryCore { begin, collect, finish } => {
                let args = Args::new(argv, names);
                begin(&mut Session { core: &mut self.cores[0], key: client }, args)?;
                let parts = self.cores.iter_mut().map(|core| collect(core, asker, args)).collect();
                finish(&mut Session { core: &mut self.cores[0], key: client }, args, parts, reply)
            }
            Handler::Client(run) => {
                run(&mut Session { core: &mut self.cores[0], key: client }, Args::new(argv, names), reply)
            }
            Handler::Frozen { prepare, .. } => {
                let session = &mut Session { core: &mut self.cores[0], key: client };
                let Some(order) = prepare(session, Args::new(argv, names), reply)? else { return Ok(()) };
                let all: Vec<&crate::shard::Shard> = self.cores.iter().map(|core| &**core.shard).collect();
                (order.run)(&all, reply)
            }
            Handler::OfTransaction(_) => unreachable!("transcripts have no transactions"),
            Handler::Container => unreachable!("resolve() names a subcommand"),
        }
    }

    fn context(&mut self, core: usize, db: usize) -> Context<'_> {
        self.cores[core].shard.context(db, self.now, false)
    }

    /// As if every key lived on a shard of its own.
    fn per_key(
        &mut self,
        command: &Command,
        run: ShardHandler,
        merge: Merge,
        argv: Argv<'_>,
        reply: &mut Reply<'_>,
    ) -> CommandResult {
        let (first, step) = command.spec.keys[0].stride().expect("PerShard keys repeat to the end");
        let db = self.cores[0].clients.running(self.client).db;
        let mut values = Vec::new();
        for position in (first..argv.len()).step_by(step) {
            let part: ArgvBuf =
                (0..first).chain(position..position + step).map(|index| &argv[index]).collect();
            let owner = self.owner(&argv[position]);
            let mut bytes = Vec::new();
            let mut partial = Reply::new(&mut bytes, reply.protocol());
            run(&mut self.context(owner, db), Args::new(part.as_argv(), first), &mut partial)?;
            values.push(parse_reply(&bytes).expect("a reply").expect("a whole one").0);
        }
        match merge {
            Merge::Sum => reply.integer(values.iter().filter_map(Value::as_integer).sum()),
            Merge::Same => values[0].write(reply),
            Merge::Interleave => {
                reply.array(values.len());
                values
                    .iter()
                    .flat_map(|value| value.as_elements().expect("an array"))
                    .for_each(|value| value.write(reply));
            }
        }
        Ok(())
    }
}

impl Player for Cores {
    fn request(&mut self, argv: &ArgvBuf) -> Value {
        let protocol = self.cores[0].clients.running(self.client).protocol;
        let mut bytes = Vec::new();
        let mut reply = Reply::new(&mut bytes, protocol);
        let command = TABLE.resolve(argv.as_argv()).copied();
        let result = command.and_then(|command| self.handle(&command, argv.as_argv(), &mut reply));
        if let Err(error) = result {
            error.write_over(&mut bytes, 0, protocol);
        }
        let (value, length) = parse_reply(&bytes).expect("a reply").expect("a whole one");
        assert_eq!(length, bytes.len(), "one reply");
        value
    }

    fn later(&mut self, millis: u64) {
        Cores::later(self, millis);
    }

    fn resp3(&mut self) {
        self.cores[0].clients.running(self.client).protocol = Protocol::Resp3;
    }
}

struct Redis {
    stream: UnixStream,
}

impl Player for Redis {
    fn request(&mut self, argv: &ArgvBuf) -> Value {
        let mut request = format!("*{}\r\n", argv.len()).into_bytes();
        for arg in argv.as_argv() {
            request.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
            request.extend_from_slice(arg);
            request.extend_from_slice(b"\r\n");
        }
        self.stream.write_all(&request).expect("redis-server listens");
        let mut bytes = Vec::new();
        loop {
            if let Some((value, _)) = parse_reply(&bytes).expect("redis-server speaks RESP") {
                return value;
            }
            let mut chunk = [0; 4096];
            let length = self.stream.read(&mut chunk).expect("redis-server answers");
            assert!(length > 0, "redis-server has closed the connection");
            bytes.extend_from_slice(&chunk[..length]);
        }
    }

    fn later(&mut self, millis: u64) {
        std::thread::sleep(Duration::from_millis(millis));
    }

    fn resp3(&mut self) {
        self.request(&ArgvBuf::from_iter(["HELLO", "3"]));
    }
}

/// The defaults, but FLUSHALL leaves no file behind.
fn unsaved() -> Config {
    let pairs: [(&[u8], &[u8]); 1] = [(b"save", b"")];
    set(&Config::default(), &pairs, Permission::default()).expect("a valid value").config
}
