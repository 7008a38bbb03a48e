//! EXEC: the queued commands run as one step over however many shards.
//!
//! Keys of all queued commands, and those that are watched, are held together. Commands of one shard go there in
//! one hop; a command that spans shards has hops of its own; commands without keys run on the client's core in
//! between. What is where is [`ExecPlan`]'s to decide.

use super::account;
use super::procedure::{Caller, Everywhere, Next, Planned, Procedure, Spread, Work, run_handler};
use super::run::run_here;
use super::transactions::intentions;
use super::{Dispatch, route};
use crate::base::{Monotonic, UnixMillis};
use crate::client::{ClientKey, QueuedCommand, ReplyMode, WatchedKey};
use crate::command_table::{Args, Asker, Command, Contribution, Handler, ShardHandler};
use crate::resp::{Argv, ArgvBuf, Protocol, Reply};
use crate::session::{Census, CoreState, Session};
use crate::shard::{CommandError, Shard};
use crate::transaction::{ExecPlan, ExecStep, KeySet, Mode, Place, Replies, Verdict};
use route::Owners;
use std::collections::VecDeque;
use std::sync::Arc;

impl Dispatch {
    pub(super) fn exec(
        &mut self,
        core: &mut CoreState,
        key: ClientKey,
        command: &Command,
        argv: Argv<'_>,
        census: Option<Census>,
    ) {
        let client = core.clients.running(key);
        let multi = client.multi.take().expect("checked before");
        let commands = match multi.exec() {
            Verdict::Run(commands) => commands,
            Verdict::Abort => {
                core.release_watches(key);
                let text = "EXECABORT Transaction discarded because of previous errors.";
                return self.say(core, key, command, argv, |reply| reply.error(text));
            }
        };
        for queued in &commands {
            account::monitor(core, key, &queued.command, queued.argv.as_argv());
        }
        account::monitor(core, key, command, argv);
        if core.clients.running(key).watching.is_empty()
            && (self.exec_here(core, key, command, argv, &commands)
                || self.collect_exec(core, key, command, argv, &commands))
        {
            return;
        }
        let client = core.clients.running(key);
        let watcher = client.watching.watcher(client.id);
        let watched = client.watching.take();
        let exec = Exec { _census: census, ..Exec::new(core, key, watcher, commands, watched) };
        let parts = exec.parts(core);
        if parts.is_empty() {
            // Nothing but PING and the like.
            let mut exec = exec;
            let Next::Done(bytes) = exec.next(core, key, Vec::new()) else {
                unreachable!("without keys there are no hops")
            };
            return account::replied(core, key, command, argv, &bytes);
        }
        self.begin(core, key, command, argv, parts, Box::new(exec));
    }

    /// The common case: no watched key, all keys live here and no transaction is under way here. The commands run
    /// one after the other, straight into the client's output. `false` if that is not the case.
    fn exec_here(
        &mut self,
        core: &mut CoreState,
        key: ClientKey,
        command: &Command,
        argv: Argv<'_>,
        commands: &[QueuedCommand],
    ) -> bool {
        let own = Place::Shard(core.index);
        let is_here = |queued: &QueuedCommand| {
            !matches!(queued.command.spec.handler, Handler::ShardOf { .. })
                && place(core, &queued.command, queued.argv.as_argv()) == own
        };
        let client = core.clients.get(key).expect("its request runs");
        // Clients that wait for a key are served behind the whole of it, which this would not do.
        let unheard = core.shard.scheduled || core.shard.effects.has_waiters() || self.is_collecting();
        if unheard || client.reply_mode != ReplyMode::On || !commands.iter().all(is_here) {
            return false;
        }
        let client = core.clients.running(key);
        let caller = Caller::of(client);
        Reply::new(client.output.writer(), caller.protocol).array(commands.len());
        core.shard.effects.journal.hold();
        for QueuedCommand { command, argv } in commands {
            let run = shard_handler(command).expect("placed on a shard");
            run_here(core, key, command, run, argv.as_argv());
        }
        core.shard.effects.journal.release();
        core.unsent.push(key);
        account::ran(core, key, command, argv, false);
        true
    }
}

/// A queued command, with what planning has found out.
struct Planning {
    command: Command,
    argv: Arc<ArgvBuf>,
    caller: Caller,
}

/// One reply of a shard: the bytes and the nanoseconds.
type ShardReply = (Vec<u8>, u64);

/// EXEC.
struct Exec {
    client: u64,
    watcher: u64,
    cores: usize,
    protocol: Protocol,
    commands: Vec<Planning>,
    watched: Vec<(usize, WatchedKey)>,
    steps: VecDeque<ExecStep>,
    replies: Replies<Vec<u8>>,
    validated: bool,
    /// The commands of the hop under way, by shard.
    together: Vec<(usize, Vec<usize>)>,
    /// The command under way that has hops of its own.
    alone: Option<(usize, Box<dyn Procedure>)>,
    /// When that one began.
    alone_since: Monotonic,
    /// Until its end no client moves, if it asks about all of them.
    _census: Option<Census>,
}

impl Exec {
    fn new(
        core: &mut CoreState,
        key: ClientKey,
        watcher: u64,
        queued: Vec<QueuedCommand>,
        watched: Vec<(usize, WatchedKey)>,
    ) -> Self {
        let client = core.clients.running(key);
        let (id, protocol) = (client.id, client.protocol);
        let mut caller = Caller::of(client);
        let mut commands = Vec::with_capacity(queued.len());
        let mut places = Vec::with_capacity(queued.len());
        for QueuedCommand { command, argv } in queued {
            places.push(place(core, &command, argv.as_argv()));
            let selected = selected_db(&command, argv.as_argv(), core.settings.databases);
            commands.push(Planning { command, argv: Arc::new(argv), caller });
            caller.db = selected.unwrap_or(caller.db);
        }
        let mut shards: Vec<usize> = watched.iter().map(|(owner, _)| *owner).collect();
        shards.sort_unstable();
        shards.dedup();
        let in_order = |kind: Place| {
            let all = places.iter().enumerate().filter(move |(_, place)| **place == kind);
            all.map(|(index, _)| index).collect::<Vec<usize>>()
        };
        let mut steps: Vec<ExecStep> = in_order(Place::Client).into_iter().map(ExecStep::Client).collect();
        match ExecPlan::of(&places, &shards) {
            ExecPlan::Client => {}
            ExecPlan::Whole { shard } => {
                let own = in_order(Place::Shard(shard));
                if !own.is_empty() {
                    steps.push(ExecStep::Together(vec![(shard, own)]));
                }
            }
            ExecPlan::Hops { steps: planned, .. } => steps = planned,
        }
        let replies = Replies::new(commands.len());
        Self {
            client: id,
            watcher,
            cores: core.cores,
            protocol,
            commands,
            watched,
            steps: steps.into(),
            replies,
            validated: false,
            together: Vec::new(),
            alone: None,
            alone_since: Monotonic(0),
            _census: None,
        }
    }

    /// All keys of all commands, and those that are watched.
    fn parts(&self, core: &CoreState) -> Vec<(usize, KeySet)> {
        let mut by_shard: Vec<(usize, Vec<crate::transaction::Intent>, Option<Mode>)> = Vec::new();
        let mut add =
            |shard: usize, intents: &[crate::transaction::Intent], whole: Option<Mode>| match by_shard
                .iter_mut()
                .find(|(other, ..)| *other == shard)
            {
                Some((_, all, mode)) => {
                    all.extend_from_slice(intents);
                    *mode = (*mode).max(whole);
                }
                None => by_shard.push((shard, intents.to_vec(), whole)),
            };
        for queued in &self.commands {
            let argv = queued.argv.as_argv();
            match queued.command.spec.handler {
                Handler::EveryCore { .. } => {
                    let mode = if queued.command.is_write() { Mode::Exclusive } else { Mode::Shared };
                    (0..self.cores).for_each(|shard| add(shard, &[], Some(mode)));
                }
                Handler::ShardOf { pick, .. } => {
                    add(pick(argv, self.cores).min(self.cores - 1), &[], Some(Mode::Shared))
                }
                Handler::Client(_) | Handler::Frozen { .. } | Handler::OfTransaction(_) => {}
                _ => {
                    let parts = intentions(core, &queued.command, argv);
                    if parts.is_empty() {
                        add(core.index, &[], Some(Mode::Shared));
                    }
                    for (shard, keys) in parts {
                        add(shard, keys.keys(), None);
                    }
                }
            }
        }
        for (owner, WatchedKey { key, .. }) in &self.watched {
            let fingerprint = core.shard.databases[0].hash(key);
            add(*owner, &[crate::transaction::Intent::shared(fingerprint)], None);
        }
        let set = |(shard, intents, whole): (usize, Vec<crate::transaction::Intent>, Option<Mode>)| {
            let keys = KeySet::new(intents);
            (shard, if let Some(mode) = whole { keys.and_whole(mode) } else { keys })
        };
        by_shard.into_iter().map(set).collect()
    }

    /// The work of one shard: its commands, in order.
    fn shard_work(&self, indices: &[usize]) -> Work {
        let mut list: Vec<(ShardHandler, usize, Caller, Arc<ArgvBuf>)> = Vec::with_capacity(indices.len());
        for index in indices {
            let Planning { command, argv, caller } = &self.commands[*index];
            let run = shard_handler(command).expect("planned for a shard");
            list.push((run, usize::from(command.names), *caller, argv.clone()));
        }
        Work::Shard(Box::new(move |shard: &mut Shard, now: UnixMillis| -> Contribution {
            let mut replies: Vec<ShardReply> = Vec::with_capacity(list.len());
            for (run, names, caller, argv) in list {
                let start = crate::base::Monotonic::now().0;
                let bytes = run_handler(shard, now, caller, run, names, argv.as_argv());
                replies.push((bytes, crate::base::Monotonic::now().0 - start));
            }
            Box::new(replies)
        }))
    }

    /// Begins a command that has hops of its own.
    fn begin_alone(
        &self,
        core: &mut CoreState,
        key: ClientKey,
        index: usize,
    ) -> Result<Box<dyn Procedure>, CommandError> {
        let Planning { command, argv, caller } = &self.commands[index];
        let arguments = argv.as_argv();
        Ok(match command.spec.handler {
            Handler::PerShard { run, merge } => {
                Box::new(Spread::new(*command, run, merge, *caller, arguments, self.cores))
            }
            Handler::Transaction { plan, .. } | Handler::Blocking { plan, .. } => {
                Box::new(Planned::new(plan(arguments), *caller, self.cores))
            }
            Handler::EveryCore { begin, .. } => {
                begin(&mut Session { core, key }, Args::new(arguments, usize::from(command.names)))?;
                if core.reload.take().is_some() {
                    return Err(CommandError::Text("ERR data are not loaded again inside a transaction"));
                }
                let asker = Asker { client_id: self.client, db: caller.db, protocol: caller.protocol };
                Box::new(Everywhere::new(*command, asker, arguments, self.cores))
            }
            _ => unreachable!("planned alone"),
        })
    }

    /// Runs a command of the client itself.
    fn run_client(&mut self, core: &mut CoreState, key: ClientKey, index: usize) {
        let Planning { command, argv, .. } = &self.commands[index];
        let mut bytes = Vec::new();
        let started = Monotonic::now();
        if let Handler::OfTransaction(_) = command.spec.handler {
            // UNWATCH: EXEC has released the watched keys already.
            let protocol = core.clients.get(key).map_or(Protocol::Resp2, |client| client.protocol);
            Reply::new(&mut bytes, protocol).ok();
            account::ran_as_part(core, key, command, argv.as_argv(), &bytes, 0);
            return self.replies.put(index, bytes);
        }
        let (Handler::Client(run) | Handler::Frozen { in_exec: run, .. }) = command.spec.handler else {
            unreachable!("planned for the client")
        };
        if let Some(client) = core.clients.get(key) {
            let protocol = client.protocol;
            let args = Args::new(argv.as_argv(), usize::from(command.names));
            let mut session = Session { core, key };
            if let Err(error) = run(&mut session, args, &mut Reply::new(&mut bytes, protocol)) {
                error.write_over(&mut bytes, 0, protocol);
            }
        }
        let took = Monotonic::now().since(started).as_nanos() as u64;
        account::ran_as_part(core, key, command, argv.as_argv(), &bytes, took);
        self.replies.put(index, bytes);
    }

    fn take_results(&mut self, core: &mut CoreState, key: ClientKey, results: Vec<(usize, Contribution)>) {
        for (shard, result) in results {
            let replies: Vec<ShardReply> = *result.downcast().expect("a shard gives its replies");
            let (_, indices) = self.together.iter().find(|(owner, _)| *owner == shard).expect("it was asked");
            for (index, (bytes, nanoseconds)) in indices.iter().zip(replies) {
                let Planning { command, argv, .. } = &self.commands[*index];
                account::ran_as_part(core, key, command, argv.as_argv(), &bytes, nanoseconds);
                self.replies.put(*index, bytes);
            }
        }
        self.together.clear();
    }

    /// The reply of all, and the end of the watches.
    fn done(&mut self, core: &mut CoreState, touched: bool) -> Next {
        for (owner, key) in std::mem::take(&mut self.watched) {
            core.unwatched.push((self.watcher, owner, key));
        }
        let mut bytes = Vec::new();
        let mut reply = Reply::new(&mut bytes, self.protocol);
        if touched {
            reply.null_array();
        } else {
            let replies = std::mem::replace(&mut self.replies, Replies::new(0)).into_replies();
            reply.array(replies.len());
            replies.iter().for_each(|encoded| reply.raw(encoded));
        }
        Next::Done(bytes)
    }
}

impl Procedure for Exec {
    /// Whether the watched keys of a shard are as they were.
    fn read(&self, shard: usize) -> Option<Work> {
        let watcher = self.watcher;
        let mine = self.watched.iter().filter(|(owner, _)| *owner == shard);
        let keys: Vec<WatchedKey> = mine.map(|(_, key)| key.clone()).collect();
        (!keys.is_empty()).then(|| {
            Work::Shard(Box::new(move |shard, now| -> Contribution {
                Box::new(keys.iter().all(|WatchedKey { db, key }| shard.is_untouched(watcher, *db, key, now)))
            }))
        })
    }

    fn next(
        &mut self,
        core: &mut CoreState,
        key: ClientKey,
        mut results: Vec<(usize, Contribution)>,
    ) -> Next {
        if !self.validated {
            self.validated = true;
            let untouched = std::mem::take(&mut results)
                .into_iter()
                .all(|(_, verdict)| *verdict.downcast::<bool>().expect("validation gives a verdict"));
            if !untouched {
                return self.done(core, true);
            }
        } else if self.alone.is_none() {
            self.take_results(core, key, std::mem::take(&mut results));
        }
        loop {
            if let Some((index, mut procedure)) = self.alone.take() {
                match procedure.next(core, key, std::mem::take(&mut results)) {
                    Next::Blocked(_) | Next::Later => unreachable!("nothing waits inside EXEC"),
                    Next::Hop { work, .. } => {
                        self.alone = Some((index, procedure));
                        return Next::Hop { work, last: false };
                    }
                    Next::Done(bytes) => {
                        let Planning { command, argv, .. } = &self.commands[index];
                        let took = Monotonic::now().since(self.alone_since).as_nanos() as u64;
                        account::ran_as_part(core, key, command, argv.as_argv(), &bytes, took);
                        self.replies.put(index, bytes);
                    }
                }
            }
            match self.steps.pop_front() {
                None => return self.done(core, false),
                Some(ExecStep::Client(index)) => self.run_client(core, key, index),
                Some(ExecStep::Together(together)) => {
                    let work = together.iter().map(|(shard, all)| (*shard, self.shard_work(all))).collect();
                    self.together = together;
                    return Next::Hop { work, last: self.steps.is_empty() };
                }
                Some(ExecStep::Alone(index)) => {
                    self.alone_since = Monotonic::now();
                    match self.begin_alone(core, key, index) {
                        Err(error) => {
                            let mut bytes = Vec::new();
                            error.write_over(&mut bytes, 0, self.protocol);
                            self.replies.put(index, bytes);
                        }
                        Ok(procedure) => {
                            let reads: Vec<(usize, Work)> = (0..self.cores)
                                .filter_map(|shard| Some((shard, procedure.read(shard)?)))
                                .collect();
                            self.alone = Some((index, procedure));
                            if !reads.is_empty() {
                                return Next::Hop { work: reads, last: false };
                            }
                        }
                    }
                }
            }
        }
    }

    fn writes(&self) -> bool {
        self.commands.iter().any(|queued| queued.command.is_write())
    }

    fn needs_only_shards(&self) -> bool {
        !self.commands.iter().any(|queued| matches!(queued.command.spec.handler, Handler::EveryCore { .. }))
    }
}

/// What runs on a shard for a command whose keys are all there.
pub(super) fn shard_handler(command: &Command) -> Option<ShardHandler> {
    match command.spec.handler {
        Handler::Shard(run)
        | Handler::ShardOf { run, .. }
        | Handler::PerShard { run, .. }
        | Handler::Transaction { run, .. }
        | Handler::Blocking { run, .. } => Some(run),
        _ => None,
    }
}

fn place(core: &CoreState, command: &Command, argv: Argv<'_>) -> Place {
    let owners = |core: &CoreState| {
        if core.cores == 1 { Owners::One(0) } else { route::owners(command, argv, core.cores) }
    };
    match command.spec.handler {
        Handler::Client(_) | Handler::Frozen { .. } | Handler::OfTransaction(_) | Handler::Container => {
            Place::Client
        }
        Handler::ShardOf { pick, .. } => Place::Shard(pick(argv, core.cores).min(core.cores - 1)),
        Handler::EveryCore { .. } => Place::Several,
        Handler::PerShard { .. } if !route::is_whole(command, argv) => Place::Shard(core.index),
        _ => match owners(core) {
            Owners::One(owner) => Place::Shard(owner),
            Owners::None => Place::Shard(core.index),
            Owners::Several => Place::Several,
        },
    }
}

/// The database that the commands behind a SELECT mean.
fn selected_db(command: &Command, argv: Argv<'_>, databases: usize) -> Option<usize> {
    if command.spec.name != "SELECT" {
        return None;
    }
    let index = crate::base::number::parse_i64(argv.get(1)?)?;
    usize::try_from(index).ok().filter(|index| *index < databases)
}
