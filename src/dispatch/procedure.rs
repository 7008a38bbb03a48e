//! What a request over several shards does, hop by hop: its *procedure*. The coordinator of transactions
//! leads it, and neither knows the other: a procedure names work for shards and gets their results.

use super::gather;
use super::run::append_reply;
use crate::base::UnixMillis;
use crate::client::{Client, ClientKey};
use crate::command_table::{
    Args, Asker, Command, Contribution, Handler, HopWork, Merge, Plan, ShardHandler, Step,
};
use crate::resp::{Argv, ArgvBuf, Protocol, Reply};
use crate::session::{CoreState, Session};
use crate::shard::{Context, Shard, shard_of_key};
use std::sync::Arc;

type ShardWork = dyn FnOnce(&mut Shard, UnixMillis) -> Contribution + Send;

/// Work for one shard in one hop.
pub enum Work {
    /// Only the shard's data: whoever holds the shard may do it.
    Shard(Box<ShardWork>),
    /// Also the core's other state.
    Core(Box<dyn FnOnce(&mut CoreState) -> Contribution + Send>),
}

impl Work {
    pub fn run(self, core: &mut CoreState) -> Contribution {
        match self {
            Self::Shard(run) => run(&mut core.shard, core.now.unix),
            Self::Core(run) => run(core),
        }
    }
}

pub enum Next {
    /// Work by shard; after the `last` hop the transaction is over.
    Hop { work: Vec<(usize, Work)>, last: bool },
    /// Nothing can be done now: it is asked again, without results, in the next turn.
    Later,
    /// The encoded reply.
    Done(Vec<u8>),
    /// The client stands in the lines of this wait.
    Blocked(u64),
}

/// Results of the last hop in, the next hop or the reply out.
pub trait Procedure {
    /// Work that changes nothing and is all there is: it may run as soon as its keys are free. Asked again
    /// when the transaction has to begin again.
    fn read(&self, _shard: usize) -> Option<Work> {
        None
    }

    fn next(&mut self, core: &mut CoreState, client: ClientKey, results: Vec<(usize, Contribution)>) -> Next;

    /// Whether it changes data though its (first) command is not one that does: EXEC, what was collected.
    fn writes(&self) -> bool {
        false
    }

    /// Whether all its work is [`Work::Shard`].
    fn needs_only_shards(&self) -> bool {
        true
    }
}

/// Who asked, as far as handlers need to know.
#[derive(Clone, Copy)]
pub struct Caller {
    pub db: usize,
    pub protocol: Protocol,
    pub no_touch: bool,
}

impl Caller {
    #[inline]
    pub fn of(client: &Client) -> Self {
        Self { db: client.db, protocol: client.protocol, no_touch: client.no_touch }
    }
}

/// Runs a handler on a shard; an error becomes the reply. What it does joins the unit of the journal, which the
/// transaction around it ends.
pub fn run_handler(
    shard: &mut Shard,
    now: UnixMillis,
    caller: Caller,
    run: ShardHandler,
    names: usize,
    argv: Argv<'_>,
) -> Vec<u8> {
    let mut bytes = Vec::new();
    let changes = shard.effects.changes();
    append_reply(shard, now, caller, run, names, argv, &mut bytes);
    shard.journal_command(changes, caller.db, argv);
    bytes
}

fn reply_of(contribution: Contribution) -> Vec<u8> {
    *contribution.downcast().expect("a handler's contribution is its reply")
}

/// A command whose keys are independent of each other (MGET, MSET, DEL): each shard runs it with its own.
pub struct Spread {
    command: Command,
    run: ShardHandler,
    merge: Merge,
    caller: Caller,
    parts: Vec<(usize, Arc<ArgvBuf>)>,
    /// For [`Merge::Interleave`]: whose element each key's is.
    order: Vec<u16>,
    begun: bool,
}

impl Spread {
    /// The keys of `argv` repeat to its end.
    pub fn new(
        command: Command,
        run: ShardHandler,
        merge: Merge,
        caller: Caller,
        argv: Argv<'_>,
        shards: usize,
    ) -> Self {
        let (first, step) = command.spec.keys[0].stride().expect("PerShard keys repeat to the end");
        let mut part_of_shard = vec![u16::MAX; shards];
        let mut parts: Vec<(usize, ArgvBuf)> = Vec::new();
        let mut order = Vec::with_capacity(argv.len() / step);
        for position in (first..argv.len()).step_by(step) {
            let owner = shard_of_key(argv.get(position).expect("in range"), shards);
            if part_of_shard[owner] == u16::MAX {
                part_of_shard[owner] = parts.len() as u16;
                parts.push((owner, argv.slice(0..first).iter().collect()));
            }
            let part = part_of_shard[owner];
            order.push(part);
            for index in position..position + step {
                parts[usize::from(part)].1.push(argv.get(index).expect("the argument belongs to a key"));
            }
        }
        let parts = parts.into_iter().map(|(shard, argv)| (shard, Arc::new(argv))).collect();
        Self { command, run, merge, caller, parts, order, begun: false }
    }

    fn work(&self, part: &(usize, Arc<ArgvBuf>)) -> Work {
        let (run, caller, names) = (self.run, self.caller, usize::from(self.command.names));
        let argv = part.1.clone();
        Work::Shard(Box::new(move |shard, now| {
            Box::new(run_handler(shard, now, caller, run, names, argv.as_argv()))
        }))
    }
}

impl Procedure for Spread {
    fn read(&self, shard: usize) -> Option<Work> {
        if self.command.is_write() {
            return None;
        }
        self.parts.iter().find(|(owner, _)| *owner == shard).map(|part| self.work(part))
    }

    fn next(&mut self, _: &mut CoreState, _: ClientKey, results: Vec<(usize, Contribution)>) -> Next {
        if self.command.is_write() && !self.begun {
            self.begun = true;
            let work = self.parts.iter().map(|part| (part.0, self.work(part))).collect();
            return Next::Hop { work, last: true };
        }
        let mut replies: Vec<Vec<u8>> = vec![Vec::new(); self.parts.len()];
        for (shard, result) in results {
            let part = self.parts.iter().position(|(owner, _)| *owner == shard).expect("it was asked");
            replies[part] = reply_of(result);
        }
        let mut bytes = Vec::new();
        gather::merge(self.merge, &replies, &self.order, &mut Reply::new(&mut bytes, self.caller.protocol));
        Next::Done(bytes)
    }
}

/// A command that goes by a [`Plan`] (RENAME, COPY, MSETNX).
pub struct Planned {
    plan: Box<dyn Plan>,
    caller: Caller,
    shards: usize,
    /// Where the results of the current hop belong: their places, by shard.
    places: Vec<(usize, Vec<usize>)>,
}

impl Planned {
    pub fn new(plan: Box<dyn Plan>, caller: Caller, shards: usize) -> Self {
        Self { plan, caller, shards, places: Vec::new() }
    }

    /// The results of a hop in the order of its work.
    fn in_order(&mut self, results: Vec<(usize, Contribution)>) -> Vec<Contribution> {
        let count = self.places.iter().map(|(_, places)| places.len()).sum();
        let mut all: Vec<Option<Contribution>> = (0..count).map(|_| None).collect();
        for (shard, result) in results {
            let of_shard: Vec<Contribution> = *result.downcast().expect("a hop gives one list per shard");
            let (_, places) = self.places.iter().find(|(owner, _)| *owner == shard).expect("it was asked");
            for (place, result) in places.iter().zip(of_shard) {
                all[*place] = Some(result);
            }
        }
        self.places.clear();
        all.into_iter().map(|result| result.expect("every piece of work has a result")).collect()
    }
}

type ContextWork = Box<dyn FnOnce(&mut Context<'_>) -> Contribution + Send>;

impl Procedure for Planned {
    fn next(&mut self, _: &mut CoreState, _: ClientKey, results: Vec<(usize, Contribution)>) -> Next {
        let mut results = self.in_order(results);
        let mut bytes = Vec::new();
        let hop = loop {
            let mut reply = Reply::new(&mut bytes, self.caller.protocol);
            match self.plan.step(std::mem::take(&mut results), &mut reply) {
                // A hop that asks nobody has its results.
                Step::Hop(hop) if hop.is_empty() => {}
                Step::Hop(hop) => break hop,
                Step::Done(Ok(())) => return Next::Done(bytes),
                Step::Done(Err(error)) => {
                    error.write_over(&mut bytes, 0, self.caller.protocol);
                    return Next::Done(bytes);
                }
            }
        };
        let mut by_shard: Vec<(usize, Vec<ContextWork>)> = Vec::new();
        for (place, HopWork { key, run }) in hop.into_iter().enumerate() {
            let owner = shard_of_key(&key, self.shards);
            match by_shard.iter().position(|(shard, _)| *shard == owner) {
                Some(index) => {
                    by_shard[index].1.push(run);
                    self.places[index].1.push(place);
                }
                None => {
                    by_shard.push((owner, vec![run]));
                    self.places.push((owner, vec![place]));
                }
            }
        }
        let caller = self.caller;
        let work = by_shard.into_iter().map(|(shard, runs)| {
            let all = move |shard: &mut Shard, now| -> Contribution {
                let mut run_one = |run: ContextWork| {
                    shard.journal_piece(|shard| run(&mut shard.context(caller.db, now, caller.no_touch)))
                };
                let results: Vec<Contribution> = runs.into_iter().map(&mut run_one).collect();
                Box::new(results)
            };
            (shard, Work::Shard(Box::new(all)))
        });
        Next::Hop { work: work.collect(), last: false }
    }
}

/// A command about the data of all cores (FLUSHALL, DBSIZE, KEYS).
pub struct Everywhere {
    command: Command,
    asker: Asker,
    argv: Arc<ArgvBuf>,
    cores: usize,
    begun: bool,
}

impl Everywhere {
    pub fn new(command: Command, asker: Asker, argv: Argv<'_>, cores: usize) -> Self {
        Self { command, asker, argv: Arc::new(argv.to_owned()), cores, begun: false }
    }

    fn work(&self) -> Work {
        let Handler::EveryCore { collect, .. } = self.command.spec.handler else {
            unreachable!("only EveryCore goes everywhere")
        };
        let (argv, asker, names) = (self.argv.clone(), self.asker, usize::from(self.command.names));
        let writes = self.command.is_write();
        Work::Core(Box::new(move |core| {
            let contribution = collect(core, asker, Args::new(argv.as_argv(), names));
            if writes {
                core.shard.journal_always(asker.db, argv.as_argv());
            }
            contribution
        }))
    }
}

impl Procedure for Everywhere {
    fn read(&self, _: usize) -> Option<Work> {
        (!self.command.is_write()).then(|| self.work())
    }

    fn next(
        &mut self,
        core: &mut CoreState,
        client: ClientKey,
        mut results: Vec<(usize, Contribution)>,
    ) -> Next {
        if self.command.is_write() && !self.begun {
            self.begun = true;
            return Next::Hop {
                work: (0..self.cores).map(|shard| (shard, self.work())).collect(),
                last: true,
            };
        }
        let Handler::EveryCore { finish, .. } = self.command.spec.handler else {
            unreachable!("only EveryCore goes everywhere")
        };
        let mut bytes = Vec::new();
        if core.clients.get(client).is_some() {
            results.sort_by_key(|(shard, _)| *shard);
            let contributions = results.into_iter().map(|(_, result)| result).collect();
            let args = Args::new(self.argv.as_argv(), usize::from(self.command.names));
            let mut reply = Reply::new(&mut bytes, self.asker.protocol);
            let mut session = Session { core, key: client };
            if let Err(error) = finish(&mut session, args, contributions, &mut reply) {
                error.write_over(&mut bytes, 0, self.asker.protocol);
            }
        }
        Next::Done(bytes)
    }

    fn needs_only_shards(&self) -> bool {
        false
    }
}
