//! A load generator cheap enough that one client CPU can saturate one server CPU at any pipeline depth, which
//! `redis-benchmark` cannot. `scripts/bench.sh` drives it; by hand:
//!
//! ```text
//! cargo run --release --example load -- --port 6379 --fill --keys 1000000
//! cargo run --release --example load -- --port 6379 --command get --pipeline 16 --seconds 5
//! ```
//!
//! `--request` sends any command with random numbers in it: see `template`.
//!
//! Closed loop: every connection sends a batch of `--pipeline` commands, waits for all their replies, sends the next.
//! The latency of a command is that of its batch, from the first byte sent to the last byte received.
//!
//! Invariants
//!   L1  Every reply is compared byte for byte: each value begins with its own key, so a swapped reply is noticed.
//!       Of `--request` the replies are counted, and each has to begin as `--expect` says.
//!   L2  All commands of a run have the same length: a batch is patched, never built.
//!   L3  Operations, server CPU and client CPU are read at the same two moments; batches outside are not counted.

mod template;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use template::{Scanner, Template};

/// `key:` and twelve digits, as `redis-benchmark` spells its random keys.
const KEY_BYTES: usize = 16;
const SLOWEST_NS: u64 = 60_000_000_000;
const READ_SLACK: usize = 64;

const USAGE: &str = "usage: load [--host H] [--port N] [--command get|set|mset|mget|exec|ping] [--keys N] [--value-bytes N]
            [--multi N] [--pipeline N] [--connections N] [--threads N] [--cpus LIST] [--seconds S] [--warmup S]
            [--server-pid PID] [--seed N] [--slow-ms MS] [--fill] [--request TEMPLATE --expect PREFIX]
  --fill        write every key once, in order, and stop
  --multi       keys per MSET or MGET, SETs of one slot per EXEC, at most 10 (10)
  --server-pid  also report that process's CPU time over the measured interval
  --slow-ms     also report each batch that took longer: when it ended (CLOCK_MONOTONIC, seconds), and its milliseconds";

fn main() {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(message) => {
            eprintln!("load: {message}\n{USAGE}");
            std::process::exit(2);
        }
    };
    match run(&options) {
        Ok(report) => println!("{report}"),
        Err(message) => {
            eprintln!("load: {message}");
            std::process::exit(1);
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Verb {
    Get,
    Set,
    MultiSet,
    MultiGet,
    Exec,
    Ping,
}

struct Options {
    address: String,
    verb: Verb,
    keys: u64,
    value_bytes: usize,
    multi: usize,
    pipeline: usize,
    connections: usize,
    threads: usize,
    cpus: Vec<usize>,
    seconds: f64,
    warmup: f64,
    server_pid: Option<i32>,
    seed: u64,
    /// Batches that take longer are told one by one.
    slow: Option<Duration>,
    fill: bool,
    template: Option<Template>,
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Options, String> {
        let mut given: HashMap<String, String> = HashMap::new();
        while let Some(name) = args.next() {
            let value = match name.as_str() {
                "--fill" => String::new(),
                "--help" | "-h" => return Err("a closed-loop load generator".into()),
                _ if name.starts_with("--") => args.next().ok_or(format!("{name} needs a value"))?,
                _ => return Err(format!("unexpected argument {name}")),
            };
            given.insert(name, value);
        }

        let fill = given.remove("--fill").is_some();
        let command = given.remove("--command").unwrap_or(if fill { "set".into() } else { "get".into() });
        let verb = match command.as_str() {
            "get" => Verb::Get,
            "set" => Verb::Set,
            "mset" => Verb::MultiSet,
            "mget" => Verb::MultiGet,
            "exec" => Verb::Exec,
            "ping" => Verb::Ping,
            other => return Err(format!("unknown command {other}")),
        };
        let expected = given.remove("--expect").unwrap_or_default();
        let template =
            given.remove("--request").map(|words| Template::parse(&words, &expected)).transpose()?;
        let cpus: String = given.remove("--cpus").unwrap_or_default();
        let cpus: Result<Vec<usize>, _> =
            cpus.split(',').filter(|cpu| !cpu.is_empty()).map(str::parse).collect();
        let host = given.remove("--host").unwrap_or("127.0.0.1".into());
        let options = Options {
            address: format!("{host}:{}", number(&mut given, "--port", 6379u16)?),
            verb,
            keys: number(&mut given, "--keys", 1_000_000)?,
            value_bytes: number(&mut given, "--value-bytes", 64)?,
            multi: number(&mut given, "--multi", 10)?,
            pipeline: number(&mut given, "--pipeline", if fill { 64 } else { 1 })?,
            connections: number(&mut given, "--connections", if fill { 8 } else { 50 })?,
            threads: number(&mut given, "--threads", 1)?,
            cpus: cpus.map_err(|error| format!("--cpus: {error}"))?,
            seconds: number(&mut given, "--seconds", 5.0)?,
            warmup: number(&mut given, "--warmup", 0.5)?,
            server_pid: given.remove("--server-pid").map(|pid| pid.parse()).transpose().map_err(|error| {
                let error: std::num::ParseIntError = error;
                format!("--server-pid: {error}")
            })?,
            seed: number(&mut given, "--seed", 1)?,
            slow: match number(&mut given, "--slow-ms", 0.0)? {
                0.0 => None,
                milliseconds => Some(
                    Duration::try_from_secs_f64(milliseconds / 1e3)
                        .map_err(|error| format!("--slow-ms: {error}"))?,
                ),
            },
            fill,
            template,
        };
        if let Some(name) = given.keys().next() {
            return Err(format!("unknown option {name}"));
        }
        if options.pipeline == 0 || options.threads == 0 || options.multi == 0 || options.keys == 0 {
            return Err("pipeline, threads, multi and keys begin at 1".into());
        }
        if options.connections < options.threads {
            return Err("every thread needs a connection".into());
        }
        Ok(options)
    }
}

fn number<T: std::str::FromStr>(
    given: &mut HashMap<String, String>,
    name: &str,
    default: T,
) -> Result<T, String> {
    match given.remove(name) {
        None => Ok(default),
        Some(text) => text.parse().map_err(|_| format!("{name}: not a number: {text}")),
    }
}

/// What all threads share.
struct Shared {
    plan: Plan,
    measuring: AtomicBool,
    stop: AtomicBool,
    next_key: AtomicU64,
}

fn run(options: &Options) -> Result<String, String> {
    let server_clock = options.server_pid.map(process_clock).transpose()?;
    let shared = Shared {
        plan: Plan::new(options),
        measuring: AtomicBool::new(false),
        stop: AtomicBool::new(false),
        next_key: AtomicU64::new(0),
    };
    let counters: Vec<AtomicU64> = (0..options.threads).map(|_| AtomicU64::new(0)).collect();

    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..options.threads)
            .map(|index| {
                let (shared, counter) = (&shared, &counters[index]);
                scope.spawn(move || {
                    let outcome = work(options, shared, counter, index);
                    // A failed thread ends the run at once: its report is the result.
                    if outcome.is_err() {
                        shared.stop.store(true, Ordering::Relaxed);
                    }
                    outcome
                })
            })
            .collect();

        let before;
        let after;
        if options.fill {
            before = Moment::now(server_clock, &counters);
            while workers.iter().any(|worker| !worker.is_finished()) {
                std::thread::sleep(Duration::from_millis(1));
            }
            after = Moment::now(server_clock, &counters);
        } else {
            pause(options.warmup, &shared.stop);
            shared.measuring.store(true, Ordering::Relaxed);
            before = Moment::now(server_clock, &counters);
            pause(options.seconds, &shared.stop);
            after = Moment::now(server_clock, &counters);
            shared.measuring.store(false, Ordering::Relaxed);
            shared.stop.store(true, Ordering::Relaxed);
        }

        let mut all = Tally::new();
        for worker in workers {
            let tally = worker.join().map_err(|_| "a thread panicked".to_string())??;
            all.latencies.add(tally.latencies).expect("all histograms have the same bounds");
            all.slow.extend(tally.slow);
        }
        Ok(report(options, &before, &after, &all))
    })
}

/// Sleeps in short pieces, so that a failed thread ends the run early.
fn pause(seconds: f64, stop: &AtomicBool) {
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    while !stop.load(Ordering::Relaxed) {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        std::thread::sleep(left.min(Duration::from_millis(50)));
    }
}

/// L3: everything that is divided by something else is read here.
struct Moment {
    at: Instant,
    operations: u64,
    server_ns: Option<u64>,
    client_ns: u64,
}

impl Moment {
    fn now(server_clock: Option<libc::clockid_t>, counters: &[AtomicU64]) -> Moment {
        Moment {
            at: Instant::now(),
            operations: counters.iter().map(|counter| counter.load(Ordering::Relaxed)).sum(),
            server_ns: server_clock.map(read_clock),
            client_ns: read_clock(libc::CLOCK_PROCESS_CPUTIME_ID),
        }
    }
}

fn report(options: &Options, before: &Moment, after: &Moment, tally: &Tally) -> String {
    let seconds = (after.at - before.at).as_secs_f64();
    let operations = after.operations - before.operations;
    let per_operation = |ns: u64| ns as f64 / operations.max(1) as f64;
    let mut json = format!(
        "{{\"operations\": {operations}, \"seconds\": {seconds:.6}, \"per_second\": {:.1}, \
         \"pipeline\": {}, \"connections\": {}",
        operations as f64 / seconds,
        options.pipeline,
        options.connections,
    );
    if !options.fill {
        for (name, quantile) in [("p50_us", 0.5), ("p99_us", 0.99), ("p999_us", 0.999), ("max_us", 1.0)] {
            let _ =
                write!(json, ", \"{name}\": {:.1}", tally.latencies.value_at_quantile(quantile) as f64 / 1e3);
        }
    }
    let client_ns = after.client_ns - before.client_ns;
    let _ = write!(
        json,
        ", \"client_cpu_us\": {:.4}, \"client_busy\": {:.3}",
        per_operation(client_ns) / 1e3,
        client_ns as f64 / 1e9 / seconds
    );
    if let (Some(before), Some(after)) = (before.server_ns, after.server_ns) {
        let _ = write!(
            json,
            ", \"server_cpu_us\": {:.4}, \"server_busy\": {:.3}",
            per_operation(after - before) / 1e3,
            (after - before) as f64 / 1e9 / seconds
        );
    }
    if options.slow.is_some() {
        let batches: Vec<String> = tally
            .slow
            .iter()
            .map(|slow| format!("[{:.6}, {:.3}]", slow.ended_ns as f64 / 1e9, slow.ns as f64 / 1e6))
            .collect();
        let _ = write!(json, ", \"slow_ms\": [{}]", batches.join(", "));
    }
    json.push('}');
    json
}

/// What a thread has measured.
struct Tally {
    latencies: Histogram<u64>,
    slow: Vec<SlowBatch>,
}

/// One that took longer than `--slow-ms`.
struct SlowBatch {
    /// Of the clock that other processes read too.
    ended_ns: u64,
    ns: u64,
}

impl Tally {
    fn new() -> Tally {
        Tally { latencies: new_histogram(), slow: Vec::new() }
    }

    fn record(&mut self, elapsed: Duration, options: &Options) {
        let ns = elapsed.as_nanos() as u64;
        self.latencies.saturating_record_n(ns.max(1), options.pipeline as u64);
        if options.slow.is_some_and(|slow| elapsed > slow) {
            self.slow.push(SlowBatch { ended_ns: read_clock(libc::CLOCK_MONOTONIC), ns });
        }
    }
}

fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, SLOWEST_NS, 3).expect("the bounds are valid")
}

/// One command and its reply with holes where keys go (L2).
struct Plan {
    request: Vec<u8>,
    reply: Vec<u8>,
    /// (offset, which of the command's keys)
    request_holes: Vec<(usize, usize)>,
    reply_holes: Vec<(usize, usize)>,
    keys_per_command: usize,
    /// How much of a key fits at the beginning of a value.
    echo_bytes: usize,
}

impl Plan {
    fn new(options: &Options) -> Plan {
        let mut plan = Plan {
            request: Vec::new(),
            reply: Vec::new(),
            request_holes: Vec::new(),
            reply_holes: Vec::new(),
            keys_per_command: 1,
            echo_bytes: options.value_bytes.min(KEY_BYTES),
        };
        match options.verb {
            Verb::Ping => {
                plan.keys_per_command = 0;
                plan.request = b"*1\r\n$4\r\nPING\r\n".to_vec();
                plan.reply = b"+PONG\r\n".to_vec();
            }
            Verb::Get => {
                plan.request.extend_from_slice(b"*2\r\n$3\r\nGET\r\n");
                plan.add_key(0);
                plan.add_reply_value(options.value_bytes, 0);
            }
            Verb::Set => {
                plan.request.extend_from_slice(b"*3\r\n$3\r\nSET\r\n");
                plan.add_key(0);
                plan.add_value(options.value_bytes, 0);
                plan.reply = b"+OK\r\n".to_vec();
            }
            Verb::MultiSet => {
                plan.keys_per_command = options.multi;
                plan.request = format!("*{}\r\n$4\r\nMSET\r\n", 1 + 2 * options.multi).into_bytes();
                for key in 0..options.multi {
                    plan.add_key(key);
                    plan.add_value(options.value_bytes, key);
                }
                plan.reply = b"+OK\r\n".to_vec();
            }
            Verb::Exec => {
                plan.request = b"*1\r\n$5\r\nMULTI\r\n".to_vec();
                for index in 0..options.multi {
                    let length = KEY_BYTES + "{}:0".len();
                    plan.request.extend_from_slice(format!("*3\r\n$3\r\nSET\r\n${length}\r\n{{").as_bytes());
                    plan.request_holes.push((plan.request.len(), 0));
                    plan.request.extend_from_slice(&[b'k'; KEY_BYTES]);
                    plan.request.extend_from_slice(format!("}}:{}\r\n", index % 10).as_bytes());
                    plan.add_value(options.value_bytes, 0);
                }
                plan.request.extend_from_slice(b"*1\r\n$4\r\nEXEC\r\n");
                let (queued, done) = ("+QUEUED\r\n".repeat(options.multi), "+OK\r\n".repeat(options.multi));
                plan.reply = format!("+OK\r\n{queued}*{}\r\n{done}", options.multi).into_bytes();
            }
            Verb::MultiGet => {
                plan.keys_per_command = options.multi;
                plan.request = format!("*{}\r\n$4\r\nMGET\r\n", 1 + options.multi).into_bytes();
                plan.reply = format!("*{}\r\n", options.multi).into_bytes();
                for key in 0..options.multi {
                    plan.add_key(key);
                    plan.add_reply_value(options.value_bytes, key);
                }
            }
        }
        plan
    }

    fn add_key(&mut self, key: usize) {
        self.request.extend_from_slice(format!("${KEY_BYTES}\r\n").as_bytes());
        self.request_holes.push((self.request.len(), key));
        self.request.extend_from_slice(&[b'k'; KEY_BYTES]);
        self.request.extend_from_slice(b"\r\n");
    }

    fn add_value(&mut self, value_bytes: usize, key: usize) {
        let offset = append_value(&mut self.request, value_bytes);
        self.request_holes.push((offset, key));
    }

    fn add_reply_value(&mut self, value_bytes: usize, key: usize) {
        let offset = append_value(&mut self.reply, value_bytes);
        self.reply_holes.push((offset, key));
    }

    /// Whether the bytes are the reply to a command with these keys (L1).
    fn accepts(&self, bytes: &[u8], keys: &[[u8; KEY_BYTES]]) -> bool {
        let mut from = 0;
        for &(hole, key) in &self.reply_holes {
            let end = hole + self.echo_bytes;
            if bytes[from..hole] != self.reply[from..hole] || bytes[hole..end] != keys[key][..self.echo_bytes]
            {
                return false;
            }
            from = end;
        }
        bytes[from..] == self.reply[from..]
    }
}

/// Appends a bulk string and returns where its content begins.
fn append_value(buffer: &mut Vec<u8>, value_bytes: usize) -> usize {
    buffer.extend_from_slice(format!("${value_bytes}\r\n").as_bytes());
    let offset = buffer.len();
    buffer.extend(std::iter::repeat_n(b'x', value_bytes));
    buffer.extend_from_slice(b"\r\n");
    offset
}

struct Connection {
    stream: TcpStream,
    request: Vec<u8>,
    sent: usize,
    /// The keys of the batch under way, in the order of the commands.
    keys: Vec<[u8; KEY_BYTES]>,
    input: Vec<u8>,
    received: usize,
    checked: usize,
    started: Instant,
    wants_write: bool,
    done: bool,
    scanner: Scanner,
}

fn work(options: &Options, shared: &Shared, operations: &AtomicU64, index: usize) -> Result<Tally, String> {
    if !options.cpus.is_empty() {
        pin(options.cpus[index % options.cpus.len()])?;
    }
    let plan = &shared.plan;
    let template = options.template.as_ref();
    let command: &[u8] = template.map_or(&plan.request, |template| &template.request);
    let share =
        options.connections / options.threads + usize::from(index < options.connections % options.threads);
    let mut keys = KeySource::new(options, shared, index as u64);
    let mut tally = Tally::new();
    let poll = Poll::new()?;

    let mut connections = Vec::with_capacity(share);
    for token in 0..share {
        let stream = TcpStream::connect(&options.address)
            .map_err(|error| format!("connect {}: {error}", options.address))?;
        stream
            .set_nodelay(true)
            .and_then(|()| stream.set_nonblocking(true))
            .map_err(|error| error.to_string())?;
        poll.add(stream.as_raw_fd(), token)?;
        connections.push(Connection {
            stream,
            request: command.repeat(options.pipeline),
            sent: 0,
            keys: vec![[0; KEY_BYTES]; plan.keys_per_command * options.pipeline],
            input: vec![0; plan.reply.len() * options.pipeline + READ_SLACK],
            received: 0,
            checked: 0,
            started: Instant::now(),
            wants_write: false,
            done: false,
            scanner: Scanner::default(),
        });
    }

    let mut running = share;
    for (token, connection) in connections.iter_mut().enumerate() {
        if connection.begin(plan, template, &mut keys, Instant::now()) {
            connection.flush(&poll, token)?;
        } else {
            connection.done = true;
            running -= 1;
        }
    }

    let mut events = vec![libc::epoll_event { events: 0, u64: 0 }; 1024];
    while running > 0 && !shared.stop.load(Ordering::Relaxed) {
        for event in poll.wait(&mut events)? {
            let token = event.u64 as usize;
            let connection = &mut connections[token];
            if connection.done {
                continue;
            }
            if connection.wants_write {
                connection.flush(&poll, token)?;
            }
            let complete = match template {
                None => connection.receive(plan, options.pipeline)?,
                Some(template) => connection.count_replies(template, options.pipeline)?,
            };
            if !complete {
                continue;
            }
            let now = Instant::now();
            operations.store(operations.load(Ordering::Relaxed) + options.pipeline as u64, Ordering::Relaxed);
            if shared.measuring.load(Ordering::Relaxed) {
                tally.record(now - connection.started, options);
            }
            if connection.begin(plan, template, &mut keys, now) {
                connection.flush(&poll, token)?;
            } else {
                connection.done = true;
                running -= 1;
            }
        }
    }
    Ok(tally)
}

impl Connection {
    /// Patches the next batch's keys into the request; false when there are no more keys.
    fn begin(
        &mut self,
        plan: &Plan,
        template: Option<&Template>,
        source: &mut KeySource<'_>,
        now: Instant,
    ) -> bool {
        if source.is_exhausted() {
            return false;
        }
        if let Some(template) = template {
            for request in self.request.chunks_exact_mut(template.request.len()) {
                source.patch(template, request);
            }
            (self.sent, self.received, self.started) = (0, 0, now);
            self.scanner = Scanner::default();
            return true;
        }
        for key in &mut self.keys {
            source.next_into(key);
        }
        let keys_per_command = plan.keys_per_command;
        for (command, request) in self.request.chunks_exact_mut(plan.request.len()).enumerate() {
            let keys = &self.keys[command * keys_per_command..][..keys_per_command];
            // A key and the value that begins with it share the index; only a short value cuts the copy.
            let mut previous = usize::MAX;
            for &(offset, key) in &plan.request_holes {
                let length = if key == previous { plan.echo_bytes } else { KEY_BYTES };
                request[offset..offset + length].copy_from_slice(&keys[key][..length]);
                previous = key;
            }
        }
        self.sent = 0;
        self.received = 0;
        self.checked = 0;
        self.started = now;
        true
    }

    fn flush(&mut self, poll: &Poll, token: usize) -> Result<(), String> {
        while self.sent < self.request.len() {
            match self.stream.write(&self.request[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("send: {error}")),
            }
        }
        let wants_write = self.sent < self.request.len();
        if wants_write != self.wants_write {
            self.wants_write = wants_write;
            poll.modify(self.stream.as_raw_fd(), token, wants_write)?;
        }
        Ok(())
    }

    /// Takes in what is there; false if there was nothing.
    fn read(&mut self) -> Result<bool, String> {
        match self.stream.read(&mut self.input[self.received..]) {
            Ok(0) => Err("the server closed the connection".into()),
            Ok(count) => {
                self.received += count;
                Ok(true)
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(false),
            Err(error) => Err(format!("receive: {error}")),
        }
    }

    /// Reads what is there; true when the batch is complete and every reply was the right one.
    fn receive(&mut self, plan: &Plan, pipeline: usize) -> Result<bool, String> {
        if !self.read()? {
            return Ok(false);
        }
        let reply_bytes = plan.reply.len();
        while self.checked < pipeline && (self.checked + 1) * reply_bytes <= self.received {
            let reply = &self.input[self.checked * reply_bytes..][..reply_bytes];
            let keys = &self.keys[self.checked * plan.keys_per_command..][..plan.keys_per_command];
            if !plan.accepts(reply, keys) {
                return Err(self.wrong_reply(plan));
            }
            self.checked += 1;
        }
        let rest = self.received - self.checked * reply_bytes;
        if self.checked == pipeline {
            return if rest == 0 { Ok(true) } else { Err(self.wrong_reply(plan)) };
        }
        // A shorter reply than expected (an error, a missing key) would otherwise be waited for forever.
        let known = plan.reply_holes.first().map_or(reply_bytes, |&(offset, _)| offset).min(rest);
        if self.input[self.checked * reply_bytes..][..known] != plan.reply[..known] {
            return Err(self.wrong_reply(plan));
        }
        Ok(false)
    }

    /// The same by the form of the replies alone.
    fn count_replies(&mut self, template: &Template, pipeline: usize) -> Result<bool, String> {
        if self.input.len() - self.received < 16 * 1024 {
            self.input.resize(self.input.len() + 64 * 1024, 0);
        }
        if !self.read()? {
            return Ok(false);
        }
        let passed = self.scanner.scan(&self.input[..self.received], &template.expected)?;
        self.input.copy_within(passed..self.received, 0);
        self.received -= passed;
        Ok(self.scanner.replies == pipeline)
    }

    fn wrong_reply(&self, plan: &Plan) -> String {
        let from = self.checked * plan.reply.len();
        let until = self.received.min(from + plan.reply.len().min(200));
        format!("unexpected reply: {:?}", String::from_utf8_lossy(&self.input[from..until]))
    }
}

/// Which keys come next: uniformly random ones for ever, or all of them once.
struct KeySource<'a> {
    keys: u64,
    state: u64,
    sequence: Option<&'a AtomicU64>,
    /// 0000 to 9999: three copies spell twelve digits.
    digits: Vec<[u8; 4]>,
}

impl<'a> KeySource<'a> {
    fn new(options: &Options, shared: &'a Shared, thread: u64) -> KeySource<'a> {
        let digits = (0..10_000).map(|n: u32| {
            let text = format!("{n:04}");
            text.as_bytes().try_into().expect("four digits")
        });
        KeySource {
            keys: options.keys,
            // Any odd multiplier keeps the threads' states apart and away from zero.
            state: (options.seed * 64 + thread + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            sequence: options.fill.then_some(&shared.next_key),
            digits: digits.collect(),
        }
    }

    fn is_exhausted(&self) -> bool {
        self.sequence.is_some_and(|sequence| sequence.load(Ordering::Relaxed) >= self.keys)
    }

    fn patch(&mut self, template: &Template, request: &mut [u8]) {
        let command = self.sequence.map(|sequence| sequence.fetch_add(1, Ordering::Relaxed) % self.keys);
        let state = &mut self.state;
        template.patch(request, &self.digits, |below| match command {
            Some(command) => command % below,
            None => random_below(state, below),
        });
    }

    fn next_into(&mut self, key: &mut [u8; KEY_BYTES]) {
        let number = match self.sequence {
            // A batch that reaches beyond the last key is filled up with the first ones again.
            Some(sequence) => sequence.fetch_add(1, Ordering::Relaxed) % self.keys,
            None => random_below(&mut self.state, self.keys),
        };
        key[..4].copy_from_slice(b"key:");
        key[4..8].copy_from_slice(&self.digits[(number / 100_000_000 % 10_000) as usize]);
        key[8..12].copy_from_slice(&self.digits[(number / 10_000 % 10_000) as usize]);
        key[12..].copy_from_slice(&self.digits[(number % 10_000) as usize]);
    }
}

/// xorshift64*, the high half scaled to the range.
fn random_below(state: &mut u64, below: u64) -> u64 {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    let random = state.wrapping_mul(0x2545_F491_4F6C_DD1D);
    ((u128::from(random) * u128::from(below)) >> 64) as u64
}

struct Poll(RawFd);

impl Poll {
    fn new() -> Result<Poll, String> {
        // SAFETY: no pointers are passed; the result is checked.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 { Err(last_error("epoll_create1")) } else { Ok(Poll(fd)) }
    }

    fn add(&self, fd: RawFd, token: usize) -> Result<(), String> {
        self.control(libc::EPOLL_CTL_ADD, fd, token, false)
    }

    fn modify(&self, fd: RawFd, token: usize, writable: bool) -> Result<(), String> {
        self.control(libc::EPOLL_CTL_MOD, fd, token, writable)
    }

    fn control(&self, operation: i32, fd: RawFd, token: usize, writable: bool) -> Result<(), String> {
        let interest = libc::EPOLLIN | if writable { libc::EPOLLOUT } else { 0 };
        let mut event = libc::epoll_event { events: interest as u32, u64: token as u64 };
        // SAFETY: the event outlives the call, which copies it.
        let result = unsafe { libc::epoll_ctl(self.0, operation, fd, &raw mut event) };
        if result < 0 { Err(last_error("epoll_ctl")) } else { Ok(()) }
    }

    fn wait<'a>(&self, events: &'a mut [libc::epoll_event]) -> Result<&'a [libc::epoll_event], String> {
        // SAFETY: the kernel writes at most `len` events into the slice.
        let count = unsafe { libc::epoll_wait(self.0, events.as_mut_ptr(), events.len() as i32, 100) };
        if count >= 0 {
            return Ok(&events[..count as usize]);
        }
        match std::io::Error::last_os_error().kind() {
            ErrorKind::Interrupted => Ok(&[]),
            _ => Err(last_error("epoll_wait")),
        }
    }
}

impl Drop for Poll {
    fn drop(&mut self) {
        // SAFETY: the descriptor is ours and is not used after this.
        unsafe { libc::close(self.0) };
    }
}

fn pin(cpu: usize) -> Result<(), String> {
    // SAFETY: an all-zero cpu_set_t is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    if cpu >= libc::CPU_SETSIZE as usize {
        return Err(format!("--cpus: no CPU {cpu}"));
    }
    // SAFETY: the index was checked against the size of the set.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: the set outlives the call; 0 is the calling thread.
    let result = unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) };
    if result < 0 { Err(last_error(&format!("pin to CPU {cpu}"))) } else { Ok(()) }
}

fn process_clock(pid: i32) -> Result<libc::clockid_t, String> {
    let mut clock = 0;
    // SAFETY: the clock id outlives the call.
    match unsafe { libc::clock_getcpuclockid(pid, &raw mut clock) } {
        0 => Ok(clock),
        error => Err(format!("CPU clock of process {pid}: {}", std::io::Error::from_raw_os_error(error))),
    }
}

/// A process that has gone reads as zero: its connections report that first.
fn read_clock(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the timespec outlives the call.
    let result = unsafe { libc::clock_gettime(clock, &raw mut time) };
    if result < 0 { 0 } else { time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64 }
}

fn last_error(what: &str) -> String {
    format!("{what}: {}", std::io::Error::last_os_error())
}
