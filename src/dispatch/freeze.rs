//! Every shard at rest at the same moment, between two commands and with no transaction half done.
//!
//! If all other cores are in the kernel their shards are borrowed, and what is to be done is done at once. Otherwise
//! it is a transaction with exclusive intents on everything: when it holds all shards, the other cores are told to hold
//! still ([`Gate`]), and the core that leads it comes last, at the beginning of its next turn, when those messages
//! have certainly left.

use super::account;
use super::procedure::{Next, Procedure, Work};
use super::transactions::{Purpose, Running};
use super::{Dispatch, Flow};
use crate::base::Monotonic;
use crate::client::{ClientKey, ReplyMode};
use crate::command_table::{Args, Command, CommandTable, Contribution, PrepareFrozen};
use crate::mesh::{Borrowed, Gate};
use crate::observability::LatencyEvent;
use crate::resp::{Argv, ArgvBuf, Protocol, Reply};
use crate::session::{AtRest, CoreState, Freezing, FrozenOrder, OnShard, Partition, Session};
use crate::shard::Shard;
use crate::transaction::{KeySet, Mode};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

impl Dispatch {
    /// A command that needs all shards at rest.
    pub(super) fn on_frozen(
        &mut self,
        core: &mut CoreState,
        key: ClientKey,
        command: &Command,
        prepare: PrepareFrozen,
        argv: Argv<'_>,
    ) -> Flow {
        let client = core.clients.running(key);
        if !client.in_flight.is_idle() {
            return Flow::Stall;
        }
        let protocol = client.protocol;
        account::monitor(core, key, command, argv);
        let mut bytes = Vec::new();
        let args = Args::new(argv, usize::from(command.names));
        let prepared = prepare(&mut Session { core, key }, args, &mut Reply::new(&mut bytes, protocol));
        let order = match prepared {
            Ok(order) => order,
            Err(error) => {
                error.write_over(&mut bytes, 0, protocol);
                None
            }
        };
        let Some(order) = order else {
            self.answer_at_once(core, key, command, argv, &bytes);
            return Flow::Next;
        };
        match self.freeze_at_once(core, order, protocol) {
            Ok(bytes) => self.answer_at_once(core, key, command, argv, &bytes),
            Err(order) => {
                let (parts, procedure) = everything_held(core, order, protocol);
                self.begin(core, key, command, argv, parts, procedure);
            }
        }
        Flow::Next
    }

    fn answer_at_once(
        &mut self,
        core: &mut CoreState,
        key: ClientKey,
        command: &Command,
        argv: Argv<'_>,
        bytes: &[u8],
    ) {
        let client = core.clients.running(key);
        if client.reply_mode == ReplyMode::SkipNext {
            client.reply_mode = ReplyMode::Skipping;
        }
        account::replied(core, key, command, argv, bytes);
    }

    /// Carries out what a duty of this core has ordered.
    pub fn freeze(&mut self, core: &mut CoreState, order: FrozenOrder) {
        let protocol = Protocol::default();
        let Err(order) = self.freeze_at_once(core, order, protocol) else { return };
        let (parts, procedure) = everything_held(core, order, protocol);
        let running = Running {
            client: ClientKey { index: u32::MAX, generation: u32::MAX },
            purpose: Purpose::Duty,
            command: harmless(core.table),
            argv: ArgvBuf::default(),
            started_ns: core.tick_ns,
            procedure,
            participants: None,
        };
        self.launch(core, running, parts);
    }

    /// Does it with borrowed shards, if they can all be had now; else gives it back.
    fn freeze_at_once(
        &mut self,
        core: &mut CoreState,
        order: FrozenOrder,
        protocol: Protocol,
    ) -> Result<Vec<u8>, FrozenOrder> {
        if core.shard.scheduled || core.freezing.is_some() {
            return Err(order);
        }
        let began = Monotonic::now().0;
        let mut borrowed: Vec<(usize, Borrowed<'_, Partition>)> = Vec::with_capacity(core.cores);
        for shard in (0..core.cores).filter(|shard| *shard != core.index) {
            match self.lender.borrow(shard) {
                Some(other) if !other.scheduled => borrowed.push((shard, other)),
                _ => return Err(order),
            }
        }
        let FrozenOrder { on_shard, run } = order;
        if let Some(on_shard) = &on_shard {
            borrowed.iter_mut().for_each(|(_, shard)| on_shard(shard));
            on_shard(&mut core.shard);
        }
        let own = core.index;
        let mut others = borrowed.iter();
        let all: Vec<&Shard> = (0..core.cores)
            .map(|shard| if shard == own { &**core.shard } else { &**others.next().expect("in order").1 })
            .collect();
        let bytes = at_rest(run, &all, protocol);
        drop(borrowed);
        over(core, began);
        Ok(bytes)
    }

    /// At the beginning of a turn: the others have been told to hold still in the one before.
    pub fn lead_freeze(core: &mut CoreState) {
        let Some(Freezing { gate, order, reply, protocol }) = core.freezing.take() else { return };
        let began = Monotonic::now().0;
        let FrozenOrder { on_shard, run } = order;
        if let Some(on_shard) = &on_shard {
            on_shard(&mut core.shard);
        }
        let shared = core.shared.clone();
        let bytes = gate.with_all(
            core.index,
            &mut core.shard,
            || shared.shutdown_requested().is_some(),
            |all| at_rest(run, all, protocol),
        );
        *reply.borrow_mut() = bytes.unwrap_or_default();
        // Another core may have waited for this one.
        over(core, gate.held_since_ns().map_or(began, |first_ns| first_ns.min(began)));
    }
}

/// The last step before everybody holds still, with all shards held. Nothing for a single core: there it is done
/// already, and the reply is there.
pub(super) fn hold_all(
    core: &mut CoreState,
    order: FrozenOrder,
    reply: &Rc<RefCell<Vec<u8>>>,
    protocol: Protocol,
) -> Option<Vec<(usize, Work)>> {
    if core.cores == 1 {
        let FrozenOrder { on_shard, run } = order;
        if let Some(on_shard) = on_shard {
            on_shard(&mut core.shard);
        }
        *reply.borrow_mut() = at_rest(run, &[&*core.shard], protocol);
        return None;
    }
    let gate = Arc::new(Gate::new(core.cores));
    let on_shard = order.on_shard.clone();
    let others = (0..core.cores).filter(|shard| *shard != core.index);
    let work = others.map(|shard| (shard, Work::Core(hold_still(gate.clone(), on_shard.clone())))).collect();
    core.freezing = Some(Freezing { gate, order, reply: reply.clone(), protocol });
    Some(work)
}

/// A hop that does nothing: after it the transaction is the only one at work on every shard.
pub(super) fn nothing(cores: usize) -> Vec<(usize, Work)> {
    let nothing = |_: &mut CoreState| -> Contribution { Box::new(()) };
    (0..cores).map(|shard| (shard, Work::Core(Box::new(nothing)))).collect()
}

fn at_rest(run: Box<AtRest>, all: &[&Shard], protocol: Protocol) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Err(error) = run(all, &mut Reply::new(&mut bytes, protocol)) {
        error.write_over(&mut bytes, 0, protocol);
    }
    bytes
}

/// A command that changes nothing, for a transaction that has none of its own: whatever is left by `rename-command`.
fn harmless(table: &CommandTable) -> Command {
    let all = (0..table.len()).map(|id| *table.by_id(id as u16));
    all.into_iter().find(|command| !command.is_write()).expect("no server has writes only")
}

/// All go on; what it cost is noted.
fn over(core: &mut CoreState, began_ns: u64) {
    core.read_clock();
    let nanoseconds = core.now.monotonic_ns.saturating_sub(began_ns);
    core.tick_ns = core.now.monotonic_ns;
    core.shared.persistence.froze(nanoseconds / 1000);
    let threshold = core.settings.latency_threshold_ms;
    if let Some(milliseconds) = core.shared.persistence.take_fork_ms()
        && threshold > 0
        && milliseconds >= threshold
    {
        core.latency.record(LatencyEvent::Fork, core.now.unix.0 / 1000, milliseconds);
    }
}

fn everything_held(
    core: &CoreState,
    order: FrozenOrder,
    protocol: Protocol,
) -> (Vec<(usize, KeySet)>, Box<dyn Procedure>) {
    let parts = (0..core.cores).map(|shard| (shard, KeySet::whole(Mode::Exclusive))).collect();
    let (reply, step) = (Rc::default(), Step::Hold);
    (parts, Box::new(Freeze { order: Some(order), reply, protocol, step }))
}

/// The transaction that holds all shards.
struct Freeze {
    order: Option<FrozenOrder>,
    reply: Rc<RefCell<Vec<u8>>>,
    protocol: Protocol,
    step: Step,
}

enum Step {
    /// To be the only one at work on every shard.
    Hold,
    HoldStill,
    Done,
}

impl Procedure for Freeze {
    fn next(&mut self, core: &mut CoreState, _: ClientKey, _: Vec<(usize, Contribution)>) -> Next {
        match self.step {
            Step::Hold => {
                self.step = Step::HoldStill;
                Next::Hop { work: nothing(core.cores), last: false }
            }
            Step::HoldStill => {
                self.step = Step::Done;
                let order = self.order.take().expect("this step comes once");
                match hold_all(core, order, &self.reply, self.protocol) {
                    Some(work) => Next::Hop { work, last: false },
                    None => Next::Done(self.reply.take()),
                }
            }
            Step::Done => Next::Done(self.reply.take()),
        }
    }

    fn needs_only_shards(&self) -> bool {
        false
    }
}

fn hold_still(
    gate: Arc<Gate<Shard>>,
    on_shard: Option<Arc<OnShard>>,
) -> Box<dyn FnOnce(&mut CoreState) -> Contribution + Send> {
    Box::new(move |core| {
        if let Some(on_shard) = on_shard {
            on_shard(&mut core.shard);
        }
        let shared = core.shared.clone();
        gate.hold_still(core.index, &mut core.shard, || shared.shutdown_requested().is_some());
        // The time that has passed is nobody's command's.
        core.read_clock();
        core.tick_ns = core.now.monotonic_ns;
        Box::new(())
    })
}
