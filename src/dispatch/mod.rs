//! From a parsed request to its reply.
//!
//! A request whose keys live here runs at once and its reply is appended to the client's output. For
//! another shard it joins the batch that goes there at the end of the turn; a slot in the output keeps
//! the place of its reply. Several shards are asked in parallel and their replies gathered.
//!
//! Order inside one connection: a command does not start while an earlier *write* of the same client is
//! under way on a different shard (reads may overlap reads). It then *stalls*: the connection keeps the
//! bytes and comes back when the replies have arrived. `pipeline-ordering relaxed` lifts that rule.

mod account;
mod admission;
mod blocking;
mod freeze;
mod gather;
mod message;
mod multi;
mod pipeline;
mod procedure;
mod redaction;
mod reload;
pub mod route;
mod run;
mod serving;
mod transactions;

pub use message::{Batch, Dealt, Message, ReturnTo};

use crate::client::{Blocked, ClientKey, ReplyMode};
use crate::command_table::{Args, Asker, ClientHandler, Command, Contribution, Flag, Handler, ShardHandler};
use crate::mesh::{Lender, Links};
use crate::persistence::aof::appender::News;
use crate::resp::{Argv, Reply};
use crate::session::{CoreState, PauseMode, Session};
use crate::shard::{CommandError, Shard};
use crate::transaction::{KeySet, Mode, Request};
use admission::Situation;
use gather::{Gather, Gathers};
use message::{Order, Ticket};
use pipeline::Forming;
use procedure::{Caller, Everywhere, Planned, Procedure};
use reload::Reload;
use route::Owners;
use run::{run_batch, run_here};
use transactions::Transactions;

/// A batch of this many bytes or commands goes to its queue before the turn ends.
const BATCH_BYTES_MAX: usize = 256 * 1024;
const BATCH_ITEMS_MAX: usize = 1024;
/// Batches kept for reuse.
const SPARE_MAX: usize = 64;

/// One core's way to its own shard and to all others.
pub struct Dispatch {
    links: Links<Message>,
    /// By core: the commands collected for it in this turn.
    outgoing: Vec<Option<Box<Batch>>>,
    #[expect(clippy::vec_box, reason = "the mesh moves the box, so the box is what is kept")]
    spare: Vec<Box<Batch>>,
    /// By core: batches, and ends of WATCH, that it has not yet confirmed.
    in_flight: Vec<u32>,
    gathers: Gathers,
    lender: Lender<Shard>,
    transactions: Transactions,
    /// Requests over several shards that are being collected.
    forming: Option<Forming>,
    /// Sockets dealt to this core.
    pub dealt: Vec<Dealt>,
    scratch: Vec<u8>,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Flow {
    /// It ran or is under way; the next one may be looked at.
    Next,
    /// It could not start yet and has to be offered again.
    Stall,
}

impl Dispatch {
    pub fn new(links: Links<Message>, lender: Lender<Shard>) -> Self {
        let (links_own, cores) = (links.own(), links.cores());
        Self {
            links,
            outgoing: (0..cores).map(|_| None).collect(),
            spare: Vec::new(),
            in_flight: vec![0; cores],
            gathers: Gathers::default(),
            lender,
            transactions: Transactions::new(links_own, cores),
            forming: None,
            dealt: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// Takes one request of a client.
    pub fn request(&mut self, core: &mut CoreState, key: ClientKey, argv: Argv<'_>) -> Flow {
        if self.forming.as_ref().is_some_and(|forming| forming.client() != key) {
            self.depart(core);
        }
        let command = match core.table.resolve(argv) {
            Ok(command) => *command,
            Err(error) => {
                let meant = core.table.meant_by(argv).copied();
                core.clients.running(key).last_command = meant.map(|command| command.id);
                account::refuse(core, key, meant.as_ref(), &error);
                return Flow::Next;
            }
        };
        let client = core.clients.running(key);
        client.last_command = Some(command.id);
        let situation = Situation {
            authenticated: client.authenticated || !core.settings.password_required,
            loading: core.settings.loading,
            writes_refused: core.settings.writes_refused && self.writes(core, key, &command),
            append_error: if core.settings.append_error != 0 && self.writes(core, key, &command) {
                core.settings.append_error
            } else {
                0
            },
            protected: command.spec.flags.contains(Flag::Protected)
                && account::is_protected(core, key, &command),
        };
        if let Err(error) = admission::admit(command.spec, situation) {
            account::refuse(core, key, Some(&command), &error);
            return Flow::Next;
        }
        if core.settings.paused && hold_if_paused(core, key, &command) {
            return Flow::Stall;
        }
        if core.clients.running(key).multi.is_some() && self.queue(core, key, &command, argv) {
            return Flow::Next;
        }
        if self.is_collecting() && !pipeline::may_join(&command) {
            self.depart(core);
        }
        let shards = core.cores;
        let flow = match command.spec.handler {
            Handler::Shard(run) => {
                let owner = match self.owner(core, &command, argv) {
                    Owners::One(owner) => owner,
                    // A key spec that finds no key in these arguments: the handler says what is wrong.
                    _ => core.index,
                };
                self.on_one_shard(core, key, &command, run, owner, argv)
            }
            Handler::ShardOf { pick, run } => {
                let owner = pick(argv, core.cores).min(core.cores - 1);
                self.on_one_shard(core, key, &command, run, owner, argv)
            }
            Handler::PerShard { run, merge } => {
                let owner = match self.owner(core, &command, argv) {
                    // Keys without their values (MSET): the handler says what is wrong.
                    Owners::Several if route::is_whole(&command, argv) => None,
                    Owners::One(owner) => Some(owner),
                    _ => Some(core.index),
                };
                match owner {
                    None => self.collect(core, key, &command, run, merge, argv),
                    Some(owner) => {
                        self.depart(core);
                        self.on_one_shard(core, key, &command, run, owner, argv)
                    }
                }
            }
            Handler::Blocking { may_wait, .. } if may_wait(argv) => self.blocking(core, key, &command, argv),
            Handler::Transaction { run, plan } | Handler::Blocking { run, plan, .. } => {
                match self.owner(core, &command, argv) {
                    Owners::One(owner) => self.on_one_shard(core, key, &command, run, owner, argv),
                    Owners::None => self.on_one_shard(core, key, &command, run, core.index, argv),
                    Owners::Several => self.over_shards(core, key, &command, argv, |caller| {
                        Box::new(Planned::new(plan(argv), caller, shards))
                    }),
                }
            }
            Handler::Client(run) => self.on_client(core, key, &command, run, argv),
            Handler::EveryCore { .. } => self.on_every_core(core, key, &command, argv),
            Handler::Frozen { prepare, .. } => self.on_frozen(core, key, &command, prepare, argv),
            Handler::OfTransaction(which) => self.of_transaction(core, key, &command, which, argv),
            Handler::Container => unreachable!("resolve() names a subcommand"),
        };
        if flow == Flow::Next
            && let Some(client) = core.clients.get_mut(key)
        {
            client.total_commands += 1;
        }
        flow
    }

    /// Whether a failed snapshot concerns the command: a write, or PING, from which monitoring is to hear of it.
    #[cold]
    fn writes(&self, core: &mut CoreState, key: ClientKey, command: &Command) -> bool {
        let queued = core.clients.running(key).multi.as_ref().filter(|_| command.spec.name == "EXEC");
        command.is_write()
            || command.spec.name == "PING"
            || queued.is_some_and(|multi| multi.commands().iter().any(|queued| queued.command.is_write()))
    }

    /// Hints the processor at the data of a request that will run soon, if it lives here.
    #[inline]
    pub fn prefetch(&self, core: &CoreState, db: usize, argv: Argv<'_>) -> Option<u64> {
        let key = argv.get(1)?;
        let here = core.cores == 1 || route::shard_of_key(key, core.cores) == core.index;
        here.then(|| core.shard.prefetch(db, key))
    }

    #[inline]
    fn owner(&self, core: &CoreState, command: &Command, argv: Argv<'_>) -> Owners {
        if core.cores == 1 { Owners::One(0) } else { route::owners(command, argv, core.cores) }
    }

    #[inline]
    fn on_one_shard(
        &mut self,
        core: &mut CoreState,
        key: ClientKey,
        command: &Command,
        run: ShardHandler,
        owner: usize,
        argv: Argv<'_>,
    ) -> Flow {
        let client = core.clients.running(key);
        if !client.in_flight.allows(owner) && !core.settings.relaxed_ordering {
            return Flow::Stall;
        }
        if owner == core.index {
            account::monitor(core, key, command, argv);
            if core.shard.scheduled
                && let Some(flow) = self.defer_here(core, key, command, run, argv)
            {
                return flow;
            }
            run_here(core, key, command, run, argv);
            return Flow::Next;
        }
        account::monitor(core, key, command, argv);
        let order = Order::of_client(core, key, command, run, owner);
        self.order(owner, order, argv.iter());
        Flow::Next
    }

    /// Adds a command to the batch for a core.
    fn order<'a>(&mut self, core: usize, order: Order, arguments: impl Iterator<Item = &'a [u8]>) {
        let batch = self.outgoing[core].get_or_insert_with(|| self.spare.pop().unwrap_or_default());
        batch.push(order, arguments);
        if batch.size() >= BATCH_BYTES_MAX || batch.len() >= BATCH_ITEMS_MAX {
            let batch = self.outgoing[core].take().expect("just filled");
            self.in_flight[core] += 1;
            self.links.send(core, Message::Work(batch));
        }
    }

    /// A request whose keys live on several shards: one transaction.
    fn over_shards(
        &mut self,
        core: &mut CoreState,
        key: ClientKey,
        command: &Command,
        argv: Argv<'_>,
        make: impl FnOnce(Caller) -> Box<dyn Procedure>,
    ) -> Flow {
        let client = core.clients.running(key);
        if !client.in_flight.is_idle() {
            return Flow::Stall;
        }
        let caller = Caller { db: client.db, protocol: client.protocol, no_touch: client.no_touch };
        account::monitor(core, key, command, argv);
        let parts = transactions::intentions(core, command, argv);
        self.begin(core, key, command, argv, parts, make(caller));
        Flow::Next
    }

    fn on_client(
        &mut self,
        core: &mut CoreState,
        key: ClientKey,
        command: &Command,
        run: ClientHandler,
        argv: Argv<'_>,
    ) -> Flow {
        if !core.clients.running(key).in_flight.is_idle() && !core.settings.relaxed_ordering {
            return Flow::Stall;
        }
        let client = core.clients.running(key);
        if client.reply_mode == ReplyMode::SkipNext {
            client.reply_mode = ReplyMode::Skipping;
        }
        let protocol = client.protocol;
        let mut bytes = std::mem::take(&mut self.scratch);
        let mut reply = Reply::new(&mut bytes, protocol);
        let mut session = Session { core, key };
        let result = run(&mut session, Args::new(argv, usize::from(command.names)), &mut reply);
        if let Err(error) = result {
            bytes.clear();
            Reply::new(&mut bytes, protocol).error(error.text().as_ref());
        }
        account::replied(core, key, command, argv, &bytes);
        // Afterwards, as in Redis: SELECT is shown with the database it has chosen.
        account::monitor(core, key, command, argv);
        bytes.clear();
        self.scratch = bytes;
        Flow::Next
    }

    fn on_every_core(
        &mut self,
        core: &mut CoreState,
        key: ClientKey,
        command: &Command,
        argv: Argv<'_>,
    ) -> Flow {
        let Handler::EveryCore { begin, collect, .. } = command.spec.handler else {
            unreachable!("called for EveryCore only")
        };
        let client = core.clients.running(key);
        if !client.in_flight.is_idle() {
            return Flow::Stall;
        }
        let started_ns = core.tick_ns;
        let asker = Asker { client_id: client.id, db: client.db, protocol: client.protocol };
        account::monitor(core, key, command, argv);
        let args = Args::new(argv, usize::from(command.names));
        if let Err(error) = begin(&mut Session { core, key }, args) {
            let client = core.clients.running(key);
            if client.reply_mode == ReplyMode::SkipNext {
                client.reply_mode = ReplyMode::Skipping;
            }
            let mut bytes = Vec::new();
            Reply::new(&mut bytes, asker.protocol).error(error.text().as_ref());
            account::replied(core, key, command, argv, &bytes);
            return Flow::Next;
        }
        if let Some(order) = core.reload.take() {
            let parts = (0..core.cores).map(|shard| (shard, KeySet::whole(Mode::Exclusive))).collect();
            self.begin(core, key, command, argv, parts, Box::new(Reload::new(order, asker.protocol)));
            return Flow::Next;
        }
        let about_data = command.is_write() || command.spec.flags.contains(Flag::ReadOnly);
        if about_data && core.cores > 1 {
            let mode = if command.is_write() { Mode::Exclusive } else { Mode::Shared };
            let parts = (0..core.cores).map(|shard| (shard, KeySet::whole(mode))).collect();
            let procedure = Box::new(Everywhere::new(*command, asker, argv, core.cores));
            self.begin(core, key, command, argv, parts, procedure);
            return Flow::Next;
        }
        let own = collect(core, asker, args);
        if command.is_write() {
            core.shard.journal_always(asker.db, argv);
        }
        core.shard.effects.journal.seal();
        let now = core.now.unix;
        core.shard.serve_ready(now);
        let client = core.clients.running(key);
        client.in_flight.barriers += 1;
        let muted = take_muted(&mut client.reply_mode);
        let slot = client.output.open_slot(muted);
        let mut contributions: Vec<Option<Contribution>> = (0..core.cores).map(|_| None).collect();
        contributions[core.index] = Some(own);
        let gather = Gather {
            client: key,
            slot,
            command: *command,
            argv: argv.to_owned(),
            started_ns,
            missing: core.cores - 1,
            contributions,
        };
        if core.cores == 1 {
            self.conclude(core, gather);
            return Flow::Next;
        }
        let shared_argv = std::sync::Arc::new(gather.argv.clone());
        let index = self.gathers.insert(gather);
        let names = usize::from(command.names);
        for other in (0..core.cores).filter(|other| *other != core.index) {
            let argv = shared_argv.clone();
            let run =
                Box::new(move |core: &mut CoreState| collect(core, asker, Args::new(argv.as_argv(), names)));
            let back = Some(ReturnTo { core: core.index, gather: index, part: other });
            self.links.send(other, Message::Call { run, back });
        }
        Flow::Next
    }

    /// Everything has arrived: the reply is made and delivered.
    fn conclude(&mut self, core: &mut CoreState, mut gather: Gather) {
        let protocol =
            core.clients.get(gather.client).map_or_else(Default::default, |client| client.protocol);
        let mut bytes = Vec::new();
        let all = gather.contributions.drain(..).map(|part| part.expect("all have arrived")).collect();
        let Handler::EveryCore { finish, .. } = gather.command.spec.handler else {
            unreachable!("only EveryCore asks the cores")
        };
        if core.clients.get(gather.client).is_some() {
            let args = Args::new(gather.argv.as_argv(), usize::from(gather.command.names));
            let mut reply = Reply::new(&mut bytes, protocol);
            let mut session = Session { core, key: gather.client };
            if let Err(error) = finish(&mut session, args, all, &mut reply) {
                bytes.clear();
                Reply::new(&mut bytes, protocol).error(error.text().as_ref());
            }
        }
        account::gathered(core, &gather, &bytes);
    }

    /// Takes in what the other cores have sent; tells whether there was anything.
    pub fn receive(&mut self, core: &mut CoreState) -> bool {
        let mut any = false;
        for from in 0..core.cores {
            while let Some(message) = self.links.receive(from) {
                any = true;
                core.acknowledge.hear(from);
                self.message(core, from, message);
            }
        }
        self.serve_asking(core);
        any
    }

    fn message(&mut self, core: &mut CoreState, from: usize, message: Message) {
        match message {
            Message::Work(mut batch) => {
                core.counters.commands_for_others += batch.len() as u64;
                if core.shard.scheduled {
                    self.run_contended(core, from, &mut batch);
                } else {
                    core.tick_ns = run_batch(&mut core.shard, core.now.unix, &mut batch);
                }
                self.links.send(from, Message::Done(batch));
            }
            Message::Done(batch) => {
                self.in_flight[from] -= 1;
                self.returned(core, batch);
            }
            Message::Call { run, back } => {
                let contribution = run(core);
                core.tick_ns = crate::base::Monotonic::now().0;
                if let Some(to) = back {
                    self.links.send(to.core, Message::Answer { to, contribution });
                }
            }
            Message::Answer { to, contribution } => {
                if let Some(gather) = self.gathers.contribution(to, contribution) {
                    self.conclude(core, gather);
                }
            }
            Message::Request {
                request: request @ (Request::Schedule { .. } | Request::Withdraw { .. }),
                participants,
            } => self.asked(request, participants),
            Message::Request { request, .. } => {
                self.serve(core, request, None);
                self.pump(core);
            }
            Message::Agreement { shard, txn, answer } => {
                self.answered(core, shard, txn, answer);
                self.pump(core);
            }
            Message::Fence(id) => self.links.send(from, Message::Passed(id)),
            Message::Passed(id) => self.passed(core, id),
            Message::Durable(news) => {
                core.hear_durable(from, &news);
            }
            Message::Unwatch { client, key } => {
                core.shard.effects.unwatch(client, key.db, &key.key);
                self.links.send(from, Message::Unwatched);
            }
            Message::Unwatched => self.in_flight[from] -= 1,
            Message::Whole(whole) => self.run_whole(core, from, *whole),
            Message::WholeDone { id, result } => {
                core.acknowledge.hear_write();
                self.whole_done(core, from, id, result);
            }
            Message::Late(late) => serving::deliver(core, late),
            Message::Connection(dealt) => self.dealt.push(dealt),
        }
    }

    /// Takes in the replies of a batch.
    fn returned(&mut self, core: &mut CoreState, mut batch: Box<Batch>) {
        for index in 0..batch.len() {
            let item = *batch.item(index);
            if item.command.is_write() {
                core.acknowledge.hear_write();
            }
            if !item.deferred {
                let Ticket::Slot(slot) = item.ticket;
                account::returned(core, &item, slot, batch.argv(index), batch.reply(index));
            }
        }
        batch.clear();
        if self.spare.len() < SPARE_MAX {
            self.spare.push(batch);
        }
    }

    /// Does the work collected for other cores here, as far as their shards can be borrowed: those cores
    /// are in the kernel, and a message would have to wait for them. A shard that still has a batch of ours
    /// is left alone: what a client sends to one shard must run in order.
    pub fn run_borrowed(&mut self, core: &mut CoreState) {
        for other in 0..self.outgoing.len() {
            if self.outgoing[other].is_none() || self.in_flight[other] > 0 {
                continue;
            }
            let Some(mut shard) = self.lender.borrow(other) else { continue };
            // Those who wait are served by the shard's own core.
            if shard.scheduled || shard.effects.has_waiters() {
                continue;
            }
            let mut batch = self.outgoing[other].take().expect("looked at above");
            core.counters.commands_borrowed += batch.len() as u64;
            let ended = run_batch(&mut shard, core.now.unix, &mut batch);
            drop(shard);
            core.tick_ns = ended;
            self.returned(core, batch);
        }
    }

    /// Hands a connection to another core.
    pub fn deal(&mut self, core: usize, dealt: Dealt) {
        self.links.send(core, Message::Connection(dealt));
    }

    /// Runs something on every other core, without an answer.
    pub fn tell_others(
        &mut self,
        mut make: impl FnMut() -> Box<dyn FnOnce(&mut CoreState) -> Contribution + Send>,
    ) {
        let own = self.links.own();
        for core in (0..self.links.cores()).filter(|core| *core != own) {
            self.links.send(core, Message::Call { run: make(), back: None });
        }
    }

    /// Tells every other core what has become durable here.
    pub fn tell_durable(&mut self, news: &News) {
        let own = self.links.own();
        for core in (0..self.links.cores()).filter(|core| *core != own) {
            self.links.send(core, Message::Durable(news.clone()));
        }
    }

    /// Ends the turn: everything collected leaves. Names each sleeping core that has to be woken.
    pub fn flush(&mut self, core: &mut CoreState, wake: impl FnMut(usize)) {
        self.attempt_all(core);
        self.send_outgoing();
        core.acknowledge.tell_position(core.shard.effects.journal.last_sequence());
        self.links.flush(wake);
    }

    /// Hands the collected commands to the mesh.
    fn send_outgoing(&mut self) {
        for core in 0..self.outgoing.len() {
            if let Some(batch) = self.outgoing[core].take() {
                self.in_flight[core] += 1;
                self.links.send(core, Message::Work(batch));
            }
        }
    }

    /// Messages that found no room: a reason to take in less work.
    pub fn backlog(&self) -> usize {
        self.links.backlog()
    }

    pub fn park(&self) -> bool {
        !self.transactions.is_pressing() && self.links.park()
    }

    pub fn unpark(&self) {
        self.links.unpark();
    }

    /// Whether another core has sent something.
    pub fn has_unread(&self) -> bool {
        self.links.has_unread()
    }
}

/// CLIENT PAUSE: the client waits if the pause is about this command.
fn hold_if_paused(core: &mut CoreState, key: ClientKey, command: &Command) -> bool {
    let writes = |command: &Command| command.is_write() || command.spec.flags.contains(Flag::MayReplicate);
    let held = match core.shared.pause.mode(core.now.unix.0) {
        None => false,
        Some(PauseMode::All) => true,
        Some(PauseMode::Writes) => {
            // EXEC is what its commands are.
            let queued =
                core.clients.running(key).multi.as_ref().filter(|_| command.spec.full_name == "exec");
            writes(command)
                || queued.is_some_and(|multi| multi.commands().iter().any(|queued| writes(&queued.command)))
        }
    };
    if held {
        core.clients.running(key).blocked = Some(Blocked::Paused);
        core.paused.push(key);
    }
    held
}

/// Whether the reply of the command that starts now is thrown away (CLIENT REPLY).
fn take_muted(mode: &mut ReplyMode) -> bool {
    match *mode {
        ReplyMode::On => false,
        ReplyMode::Off => true,
        ReplyMode::SkipNext => {
            *mode = ReplyMode::On;
            true
        }
        ReplyMode::Skipping => unreachable!("only while a command of the client itself runs"),
    }
}

/// What an error reply looks like, for those who must write one without a handler.
pub fn write_error(error: &CommandError, reply: &mut Reply<'_>) {
    reply.error(error.text().as_ref());
}
