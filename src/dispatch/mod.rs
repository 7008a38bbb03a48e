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
mod every_core;
mod exchange;
mod exec;
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

pub use message::{Batch, Dealt, Message, Moved, ReturnTo};

use crate::client::{Blocked, ClientKey, ReplyMode};
use crate::command_table::{Args, ClientHandler, Command, Flag, Handler, ShardHandler};
use crate::mesh::{Lender, Links};
use crate::resp::{Argv, Reply};
use crate::session::{CoreState, Partition, PauseMode, Session};
use admission::Situation;
use gather::Gathers;
use message::Order;
use pipeline::Forming;
use procedure::{Caller, Planned, Procedure};
use route::Owners;
use run::run_here;
use transactions::Transactions;

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
    lender: Lender<Partition>,
    /// Shards that were borrowed in this turn and have something to write.
    journalled: Vec<usize>,
    transactions: Transactions,
    /// Requests over several shards that are being collected.
    forming: Option<Forming>,
    /// Sockets dealt to this core.
    pub dealt: Vec<Dealt>,
    /// Clients that have come from other cores.
    pub moved: Vec<Moved>,
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
    pub fn new(links: Links<Message>, lender: Lender<Partition>) -> Self {
        let (links_own, cores) = (links.own(), links.cores());
        Self {
            links,
            outgoing: (0..cores).map(|_| None).collect(),
            spare: Vec::new(),
            in_flight: vec![0; cores],
            gathers: Gathers::default(),
            lender,
            journalled: Vec::new(),
            transactions: Transactions::new(links_own, cores),
            forming: None,
            dealt: Vec::new(),
            moved: Vec::new(),
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
        if (core.settings.paused || core.settings.writes_wait) && hold_if_paused(core, key, &command) {
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
        let caller = Caller::of(client);
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
            error.write_over(&mut bytes, 0, protocol);
        }
        account::replied(core, key, command, argv, &bytes);
        // Afterwards, as in Redis: SELECT is shown with the database it has chosen.
        account::monitor(core, key, command, argv);
        bytes.clear();
        self.scratch = bytes;
        Flow::Next
    }
}

/// CLIENT PAUSE: the client waits if the pause is about this command.
fn hold_if_paused(core: &mut CoreState, key: ClientKey, command: &Command) -> bool {
    let writes = |command: &Command| command.is_write() || command.spec.flags.contains(Flag::MayReplicate);
    let wait = core.settings.writes_wait.then_some(PauseMode::Writes);
    let held = match core.shared.pause.mode(core.now.unix.0).or(wait) {
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
