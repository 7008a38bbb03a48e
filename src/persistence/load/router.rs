//! From a command of an append-only file to the shards that it is about.
//!
//! Nobody looks at the data while they are loaded, so all that counts is that each shard sees its commands in their
//! order. A command of one shard joins that shard's batch; one whose keys are independent of each other (MSET, DEL) is
//! split into parts; FLUSHALL and its like are done by every shard at its place in the order. Only a command whose
//! keys depend on each other over several shards (RENAME) is led through its hops from here, each of which waits in
//! the shards' queues for what came before.

use super::batch::{Clock, CommandBatch, CommandOrder, Piece};
use super::feeds::{Feeds, Job};
use super::{LoadError, Remedy};
use crate::command_table::{
    Command, CommandTable, Contribution, Handler, HopWork, Owners, Plan, Step, is_whole, owners,
};
use crate::resp::{ArgRange, Argv, ArgvBuf, Protocol, Reply};
use crate::shard::shard_of_key;
use std::sync::Arc;
use std::sync::mpsc::channel;

/// A batch with this many commands, or with this many bytes of its own, is sent before its piece is read.
const ITEMS_MAX: usize = 16_384;
const COPIED_MAX: usize = 1 << 20;

/// Where a command's arguments are.
#[derive(Clone, Copy)]
pub enum Arguments<'a> {
    /// In the piece that is being read.
    Placed { piece: &'a [u8], start: usize, ranges: &'a [ArgRange] },
    /// Elsewhere.
    Apart(Argv<'a>),
}

impl<'a> Arguments<'a> {
    pub fn argv(self) -> Argv<'a> {
        match self {
            Self::Placed { piece, start, ranges } => Argv::new(&piece[start..], ranges),
            Self::Apart(argv) => argv,
        }
    }
}

pub struct Router {
    pub feeds: Feeds,
    table: &'static CommandTable,
    /// By shard: what is collected for it.
    batches: Vec<CommandBatch>,
    piece: Piece,
    weight: u64,
    file: String,
    databases: usize,
}

impl Router {
    pub fn new(feeds: Feeds, table: &'static CommandTable, databases: usize, file: &str) -> Self {
        let batches = (0..feeds.shards()).map(|_| CommandBatch::default()).collect();
        Self { feeds, table, batches, piece: Piece::default(), weight: 0, file: file.to_owned(), databases }
    }

    pub fn databases(&self) -> usize {
        self.databases
    }

    /// The command of this name and arity.
    ///
    /// # Errors
    /// If there is none: the file is not ours to understand.
    pub fn resolve(&self, argv: Argv<'_>, offset: u64) -> Result<Command, LoadError> {
        let found = self.table.resolve(argv);
        found.copied().map_err(|error| self.format(offset, &String::from_utf8_lossy(&error.text())))
    }

    pub fn format(&self, offset: u64, what: &str) -> LoadError {
        LoadError::AofFormat { file: self.file.clone(), offset, what: what.to_owned(), remedy: Remedy::None }
    }

    /// Takes the next command of a file.
    ///
    /// # Errors
    /// If it cannot be run while loading, or if loading has stopped.
    pub fn take(
        &mut self,
        command: &Command,
        db: usize,
        offset: u64,
        arguments: Arguments<'_>,
    ) -> Result<(), LoadError> {
        let argv = arguments.argv();
        if let Some(shorter) = without_limit(command, argv) {
            return self.take(command, db, offset, Arguments::Apart(shorter.as_argv()));
        }
        let order = |run| CommandOrder { command: *command, run, db, clock: clock_of(command, argv), offset };
        match command.spec.handler {
            Handler::Shard(run) => {
                let owner = if let Owners::One(owner) = self.owners(command, argv) { owner } else { 0 };
                self.push(owner, order(run), arguments)
            }
            Handler::PerShard { run, .. } => match self.owners(command, argv) {
                Owners::One(owner) => self.push(owner, order(run), arguments),
                Owners::Several if is_whole(command, argv) => self.split(order(run), argv),
                _ => self.push(0, order(run), arguments),
            },
            Handler::Transaction { run, plan } | Handler::Blocking { run, plan, .. } => {
                match self.owners(command, argv) {
                    Owners::One(owner) => self.push(owner, order(run), arguments),
                    Owners::None => self.push(0, order(run), arguments),
                    Owners::Several => self.lead(plan(argv), db),
                }
            }
            Handler::EveryCore { .. } if command.is_write() => {
                self.flush()?;
                let argv = Arc::new(argv.to_owned());
                for core in 0..self.feeds.shards() {
                    self.feeds.send(core, Job::Everywhere { command: *command, db, argv: argv.clone() })?;
                }
                Ok(())
            }
            _ if !command.is_write() => Ok(()),
            _ => Err(LoadError::Unsupported {
                file: self.file.clone(),
                what: format!(
                    "{} at offset {offset} is not supported yet; let Redis rewrite the file (BGREWRITEAOF) without it",
                    command.spec.name
                ),
            }),
        }
    }

    /// What is taken from now on lies in this piece.
    ///
    /// # Errors
    /// If loading has stopped.
    pub fn begin_piece(&mut self, piece: &Piece) -> Result<(), LoadError> {
        self.flush()?;
        self.piece = piece.clone();
        Ok(())
    }

    /// Counts bytes of the file that are understood; they are loaded when a batch with what they say is.
    pub fn weigh(&mut self, bytes: u64) {
        self.weight += bytes;
    }

    /// Sends everything that is collected.
    ///
    /// # Errors
    /// If loading has stopped.
    pub fn flush(&mut self) -> Result<(), LoadError> {
        (0..self.batches.len()).try_for_each(|shard| self.send(shard))
    }

    fn send(&mut self, shard: usize) -> Result<(), LoadError> {
        if self.batches[shard].is_empty() {
            return Ok(());
        }
        let mut batch = std::mem::take(&mut self.batches[shard]);
        batch.piece = self.piece.clone();
        batch.weight = std::mem::take(&mut self.weight);
        self.feeds.send(shard, Job::Commands(batch))
    }

    fn owners(&self, command: &Command, argv: Argv<'_>) -> Owners {
        let shards = self.feeds.shards();
        if shards == 1 { Owners::One(0) } else { owners(command, argv, shards) }
    }

    fn push(&mut self, shard: usize, order: CommandOrder, arguments: Arguments<'_>) -> Result<(), LoadError> {
        let batch = &mut self.batches[shard];
        match arguments {
            Arguments::Placed { start, ranges, .. } => batch.push_placed(order, start, ranges),
            Arguments::Apart(argv) => batch.push_copied(order, argv.iter()),
        }
        if batch.len() >= ITEMS_MAX || batch.copied_bytes() >= COPIED_MAX {
            self.send(shard)?;
        }
        Ok(())
    }

    /// Each key with what belongs to it goes to its owner.
    fn split(&mut self, order: CommandOrder, argv: Argv<'_>) -> Result<(), LoadError> {
        let shards = self.feeds.shards();
        let (first, step) =
            order.command.spec.keys.first().and_then(|keys| keys.stride()).expect("keys repeat to the end");
        let mut parts: Vec<Option<ArgvBuf>> = vec![None; shards];
        for position in (first..argv.len()).step_by(step) {
            let owner = shard_of_key(&argv[position], shards);
            let part = parts[owner].get_or_insert_with(|| argv.slice(0..first).to_owned());
            argv.slice(position..position + step).iter().for_each(|argument| part.push(argument));
        }
        for (shard, part) in parts.into_iter().enumerate() {
            if let Some(part) = part {
                self.push(shard, order, Arguments::Apart(part.as_argv()))?;
            }
        }
        Ok(())
    }

    /// Leads a command over several shards through its hops.
    fn lead(&mut self, mut plan: Box<dyn Plan>, db: usize) -> Result<(), LoadError> {
        self.flush()?;
        let mut results: Vec<Contribution> = Vec::new();
        let mut reply = Vec::new();
        loop {
            let step = plan.step(std::mem::take(&mut results), &mut Reply::new(&mut reply, Protocol::Resp2));
            let Step::Hop(hop) = step else { return Ok(()) };
            let (done, all) = channel();
            let count = hop.len();
            for (place, HopWork { key, run }) in hop.into_iter().enumerate() {
                let owner = shard_of_key(&key, self.feeds.shards());
                self.feeds.send(owner, Job::Hop { db, place, run, result: done.clone() })?;
            }
            drop(done);
            let mut arrived: Vec<(usize, Contribution)> = all.iter().take(count).collect();
            if arrived.len() < count {
                return Err(LoadError::Stopped);
            }
            arrived.sort_by_key(|(place, _)| *place);
            results = arrived.into_iter().map(|(_, result)| result).collect();
        }
    }
}

/// Redis journals what an approximate trim has come to as an exact one, and leaves its LIMIT in place, which clients
/// may not say together. An exact trim needs no limit.
fn without_limit(command: &Command, argv: Argv<'_>) -> Option<ArgvBuf> {
    if !matches!(command.spec.name, "XADD" | "XTRIM") {
        return None;
    }
    let is =
        |at: usize, word: &str| argv.get(at).is_some_and(|found| found.eq_ignore_ascii_case(word.as_bytes()));
    let (mut at, mut limit) = (2, None);
    loop {
        if is(at, "NOMKSTREAM") {
            at += 1;
        } else if is(at, "LIMIT") {
            limit = Some(at);
            at += 2;
        } else if is(at, "MAXLEN") || is(at, "MINID") {
            if is(at + 1, "~") {
                return None;
            }
            at += if is(at + 1, "=") { 3 } else { 2 };
        } else {
            break;
        }
    }
    let limit = limit?;
    let kept = argv.iter().enumerate().filter(|(index, _)| !(limit..limit + 2).contains(index));
    Some(kept.map(|(_, argument)| argument).collect())
}

/// Commands with a deadline relative to now see the present, the others do not.
fn clock_of(command: &Command, argv: Argv<'_>) -> Clock {
    let has = |from: usize, words: &[&str]| {
        let mut options = argv.iter().skip(from);
        options.any(|option| words.iter().any(|word| option.eq_ignore_ascii_case(word.as_bytes())))
    };
    let relative = match command.spec.name {
        "EXPIRE" | "PEXPIRE" | "SETEX" | "PSETEX" | "HEXPIRE" | "HPEXPIRE" => true,
        // When a consumer was last seen is not in the file: now, as in Redis.
        "CREATECONSUMER" | "XREADGROUP" | "XCLAIM" | "XAUTOCLAIM" => true,
        "SET" => argv.len() >= 5 && has(3, &["EX", "PX"]),
        "GETEX" => has(2, &["EX", "PX"]),
        "HGETEX" | "HSETEX" => has(2, &["EX", "PX"]),
        _ => false,
    };
    if relative { Clock::Present } else { Clock::Past }
}
