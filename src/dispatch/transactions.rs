//! Requests over several shards, atomically: pumps the pure machines of [`crate::transaction`].
//!
//! While nobody is in the way no message is sent at all: the core borrows every shard that the request needs and
//! does it on the spot, holding them all. Otherwise the coordinator takes a place on each shard and leads
//! the hops. On the shard's side the scheduler decides who may run; while it has anybody in its queue,
//! `Shard::scheduled` is set and commands of one shard have to ask it too.

use super::account;
use super::message::{Message, Participants};
use super::procedure::{Next, Procedure, Work};
use super::serving::Serving;
use super::{Dispatch, take_muted};
use crate::base::slots::Slots;
use crate::client::ClientKey;
use crate::command_table::{Access, Command, Contribution};
use crate::mesh::{Borrowed, Links};
use crate::resp::{Argv, ArgvBuf};
use crate::session::{CoreState, Partition};
use crate::shard::journal::record::Membership;
use crate::shard::{Shard, shard_of_key};
use crate::transaction::{Answer, Coordinator, Faults, Intent, KeySet, Mode, Progress, Request, Txn};
use std::collections::{HashMap, VecDeque};

/// A transaction's client and where its reply belongs.
pub struct Running {
    pub client: ClientKey,
    pub purpose: Purpose,
    pub command: Command,
    pub argv: ArgvBuf,
    pub started_ns: u64,
    pub procedure: Box<dyn Procedure>,
    /// Set when it asks for places, if it changes data.
    pub participants: Option<Participants>,
}

impl Running {
    fn writes(&self) -> bool {
        self.command.is_write() || self.procedure.writes()
    }
}

/// What for.
pub enum Purpose {
    /// A request, whose reply belongs into this slot.
    Reply { slot: u64 },
    /// A duty of this core; nobody waits for a reply.
    Duty,
    /// Several requests of one pipeline; the procedure has put their replies where they belong.
    Pipeline,
    /// Serving a client that waits, because this key of that shard is ready.
    Move { wait: u64, shard: usize, db: usize, key: Box<[u8]> },
}

/// Work for one shard that is all there is to a transaction: it goes there in one message, and its result comes back.
pub struct Whole {
    /// The sender's name for it.
    pub(super) id: usize,
    pub(super) client_id: u64,
    pub(super) keys: KeySet,
    pub(super) work: Work,
}

/// What this core has to do for transactions, as coordinator and as shard.
pub struct Transactions {
    coordinator: Coordinator<Contribution>,
    pub(super) serving: Serving,
    /// By the coordinator's id.
    running: Vec<Option<Running>>,
    /// Those that are on their way to their one shard.
    whole: Slots<Running>,
    /// Messages of this core to itself.
    pub(super) local: VecDeque<Local>,
    /// Over, but for shards that have not told: how many, by the number of the fence.
    fenced: HashMap<u64, (usize, Running, Next)>,
    next_fence: u64,
    /// Those that go on in the next turn.
    later: Vec<u32>,
    /// To be attempted when the turn ends: a number drawn then is on its way at once, so that few arrive out of order.
    due: Vec<u32>,
}

/// The way to all shards, this core's own included.
struct Mailbox<'a> {
    local: &'a mut VecDeque<Local>,
    links: &'a mut Links<Message>,
}

impl Mailbox<'_> {
    fn request(&mut self, shard: usize, request: Request<Work>, participants: Option<Participants>) {
        if shard == self.links.own() {
            self.local.push_back(Local::Request(request, participants));
        } else {
            self.links.send(shard, Message::Request { request, participants });
        }
    }
}

pub(super) enum Local {
    Request(Request<Work>, Option<Participants>),
    Answer(usize, Txn, Answer<Contribution>),
}

impl Transactions {
    pub fn new(core: usize, cores: usize) -> Self {
        Self {
            coordinator: Coordinator::new(core, cores, Faults::NONE),
            serving: Serving::default(),
            running: Vec::new(),
            whole: Slots::default(),
            local: VecDeque::new(),
            fenced: HashMap::new(),
            next_fence: 0,
            later: Vec::new(),
            due: Vec::new(),
        }
    }

    /// Whether the next turn has something to do.
    pub fn is_pressing(&self) -> bool {
        self.serving.is_asked() || !self.due.is_empty() || !self.later.is_empty()
    }
}

/// What a command intends with its keys, by shard. Databases are not told apart: a key of the same name in
/// another one is held as well, which costs little and covers COPY and MOVE.
pub fn intentions(core: &CoreState, command: &Command, argv: Argv<'_>) -> Vec<(usize, KeySet)> {
    let mut by_shard: Vec<(usize, Vec<Intent>)> = Vec::new();
    let anywhere = command.spec.keys.iter().any(|spec| spec.reaches_anywhere(argv));
    if anywhere {
        by_shard.extend((0..core.cores).map(|shard| (shard, Vec::new())));
    }
    each_intent(core, command, argv, |shard, intent| {
        match by_shard.iter_mut().find(|(other, _)| *other == shard) {
            Some((_, intents)) => intents.push(intent),
            None => by_shard.push((shard, vec![intent])),
        }
    });
    let key_set = |intents| {
        let keys = KeySet::new(intents);
        if anywhere { keys.and_whole(Mode::Shared) } else { keys }
    };
    by_shard.into_iter().map(|(shard, intents)| (shard, key_set(intents))).collect()
}

/// What a change of this key alone needs of its shard.
pub fn whole_key(core: &CoreState, key: &[u8]) -> KeySet {
    KeySet::new(vec![Intent { key: core.shard.databases[0].hash(key), mode: Mode::Exclusive }])
}

pub(super) fn each_intent(
    core: &CoreState,
    command: &Command,
    argv: Argv<'_>,
    mut each: impl FnMut(usize, Intent),
) {
    for spec in command.spec.keys {
        let mode = if spec.access == Access::Read { Mode::Shared } else { Mode::Exclusive };
        // Arguments of another shape: what was found is all there is.
        let _ = spec.each(argv, |position| {
            if let Some(key) = argv.get(position) {
                let fingerprint = core.shard.databases[0].hash(key);
                each(shard_of_key(key, core.cores), Intent { key: fingerprint, mode });
            }
        });
    }
}

impl Dispatch {
    /// Begins what a request does over several shards.
    pub(super) fn begin(
        &mut self,
        core: &mut CoreState,
        key: ClientKey,
        command: &Command,
        argv: Argv<'_>,
        parts: Vec<(usize, KeySet)>,
        procedure: Box<dyn Procedure>,
    ) {
        let client = core.clients.running(key);
        client.in_flight.barriers += 1;
        let muted = take_muted(&mut client.reply_mode);
        let slot = client.output.open_slot(muted);
        let running = Running {
            client: key,
            purpose: Purpose::Reply { slot },
            command: *command,
            argv: argv.to_owned(),
            started_ns: core.tick_ns,
            procedure,
            participants: None,
        };
        self.launch(core, running, parts);
    }

    pub(super) fn launch(&mut self, core: &mut CoreState, running: Running, parts: Vec<(usize, KeySet)>) {
        core.counters.transactions += 1;
        if let Some(mut running) = self.at_once(core, running, &parts) {
            if running.writes() {
                let mut participants: Vec<u32> = parts.iter().map(|(shard, _)| *shard as u32).collect();
                participants.sort_unstable();
                running.participants = Some(participants.into());
            }
            let (id, due) = self.transactions.coordinator.begin(&core.shared.sequence, parts);
            let all = &mut self.transactions.running;
            if all.len() <= id as usize {
                all.resize_with(id as usize + 1, || None);
            }
            all[id as usize] = Some(running);
            if due {
                self.transactions.due.push(id);
            }
        }
    }

    /// Launches what has one hop. If that is for one other shard, it needs no place in a line that others know of.
    pub(super) fn launch_in_one(
        &mut self,
        core: &mut CoreState,
        running: Running,
        mut parts: Vec<(usize, KeySet)>,
    ) {
        if parts.len() != 1 || parts[0].0 == core.index {
            return self.launch(core, running, parts);
        }
        core.counters.transactions += 1;
        let Some(mut running) = self.at_once(core, running, &parts) else { return };
        let (shard, keys) = parts.pop().expect("there is one");
        let Next::Hop { mut work, last: true } = running.procedure.next(core, running.client, Vec::new())
        else {
            unreachable!("it has one hop")
        };
        let (_, work) = work.pop().expect("a hop has work");
        let client_id = core.clients.get(running.client).map_or(0, |client| client.id);
        let id = self.transactions.whole.insert(running);
        // Earlier commands of the same client may still wait to be sent; they must not be overtaken.
        self.send_outgoing();
        self.links.send(shard, Message::Whole(Box::new(Whole { id, client_id, keys, work })));
    }

    /// As a coordinator: they have run.
    pub(super) fn whole_done(&mut self, core: &mut CoreState, from: usize, id: usize, result: Contribution) {
        let mut running = self.transactions.whole.remove(id);
        let end = running.procedure.next(core, running.client, vec![(from, result)]);
        self.over(core, &running, end);
    }

    /// Asks for the places of all transactions that are due; the last thing of a turn.
    pub(super) fn attempt_all(&mut self, core: &mut CoreState) {
        for id in std::mem::take(&mut self.transactions.due) {
            self.attempt(core, id);
        }
        self.pump(core);
    }

    /// Does it all with borrowed shards, if they can all be had now; else gives it back.
    fn at_once(
        &mut self,
        core: &mut CoreState,
        mut running: Running,
        parts: &[(usize, KeySet)],
    ) -> Option<Running> {
        if !running.procedure.needs_only_shards() || core.shard.scheduled {
            return Some(running);
        }
        let mut borrowed: Vec<(usize, Borrowed<'_, Partition>)> = Vec::with_capacity(parts.len());
        for (shard, _) in parts.iter().filter(|(shard, _)| *shard != core.index) {
            // What the client has sent there before must not be overtaken.
            // Where replies wait for the disk, each shard's part is told of by its own core.
            let busy =
                self.in_flight[*shard] > 0 || self.outgoing[*shard].is_some() || core.acknowledge.is_on();
            match (!busy).then(|| self.lender.borrow(*shard)).flatten() {
                // Those who wait are served by the shard's own core.
                Some(other) if !other.scheduled && !other.effects.has_waiters() => {
                    borrowed.push((*shard, other))
                }
                _ => return Some(running),
            }
        }
        core.counters.transactions_at_once += 1;
        let now = core.now.unix;
        let own = core.index;
        let mut on = |core: &mut CoreState, shard: usize, work: Work| match work {
            Work::Shard(run) if shard == own => run(&mut core.shard, now),
            Work::Shard(run) => {
                let place = borrowed.iter_mut().find(|(other, _)| *other == shard);
                run(&mut place.expect("a transaction works where it has a place").1, now)
            }
            Work::Core(_) => unreachable!("needs_only_shards"),
        };
        let mut results: Vec<(usize, Contribution)> = Vec::new();
        for (shard, _) in parts {
            if let Some(work) = running.procedure.read(*shard) {
                results.push((*shard, on(core, *shard, work)));
            }
        }
        let end = loop {
            match running.procedure.next(core, running.client, std::mem::take(&mut results)) {
                Next::Hop { work, .. } => {
                    results = work.into_iter().map(|(shard, work)| (shard, on(core, shard, work))).collect();
                }
                end => break end,
            }
        };
        if core.shard.effects.journal.is_on() {
            let writes = running.writes();
            journal_at_once(core, borrowed.iter_mut().map(|(index, shard)| (*index, &mut ***shard)), writes);
        }
        drop(borrowed);
        core.shard.serve_ready(now);
        self.over(core, &running, end);
        None
    }

    /// A transaction has ended.
    fn over(&mut self, core: &mut CoreState, running: &Running, end: Next) {
        if running.writes() {
            core.acknowledge.hear_write();
        }
        match (end, &running.purpose) {
            (Next::Done(_), Purpose::Duty) => {}
            (Next::Done(reply), Purpose::Reply { .. }) => account::concluded(core, running, &reply),
            (Next::Done(_), Purpose::Pipeline) => account::released(core, running.client),
            (Next::Done(reply), purpose) => self.moved(core, purpose, reply),
            (Next::Blocked(id), _) => Self::seat_client(core, running, id),
            (Next::Hop { .. } | Next::Later, _) => unreachable!("that is no end"),
        }
    }

    fn attempt(&mut self, core: &mut CoreState, id: u32) {
        // Earlier reads of the same client may still wait to be sent; they must not be overtaken.
        self.send_outgoing();
        let Transactions { coordinator, running, local, .. } = &mut self.transactions;
        let Running { procedure, participants, .. } = running[id as usize].as_ref().expect("it is under way");
        let mut mailbox = Mailbox { local, links: &mut self.links };
        coordinator.attempt(
            &core.shared.sequence,
            id,
            |shard| procedure.read(shard),
            &mut |shard, request| mailbox.request(shard, request, participants.clone()),
        );
    }

    /// Works off what this core has to tell itself.
    pub(super) fn pump(&mut self, core: &mut CoreState) {
        while let Some(local) = self.transactions.local.pop_front() {
            match local {
                Local::Request(
                    request @ (Request::Schedule { .. } | Request::Withdraw { .. }),
                    participants,
                ) => self.asked(request, participants),
                Local::Request(request, _) => self.serve(core, request, None),
                Local::Answer(shard, txn, answer) => self.answered(core, shard, txn, answer),
            }
        }
    }

    /// As a coordinator: takes a shard's answer.
    pub(super) fn answered(
        &mut self,
        core: &mut CoreState,
        shard: usize,
        txn: Txn,
        answer: Answer<Contribution>,
    ) {
        let progress = {
            let Transactions { coordinator, local, .. } = &mut self.transactions;
            let mut mailbox = Mailbox { local, links: &mut self.links };
            let mut send = |shard, request| mailbox.request(shard, request, None);
            coordinator.answer(&core.shared.sequence, shard, txn, answer, &mut send)
        };
        core.counters.transactions_refused = self.transactions.coordinator.refusals;
        let (id, results, over) = match progress {
            Progress::Nothing => return,
            Progress::Again(id) => return self.transactions.due.push(id),
            Progress::Scheduled(id, results) | Progress::Answered(id, results) => (id, results, false),
            Progress::Finished(id, results) => (id, results, true),
        };
        self.go_on(core, id, results, over);
    }

    /// Lets those go on that had to wait for the next turn.
    pub fn go_on_later(&mut self, core: &mut CoreState) {
        if self.transactions.later.is_empty() {
            return;
        }
        for id in std::mem::take(&mut self.transactions.later) {
            self.go_on(core, id, Vec::new(), false);
        }
        self.pump(core);
    }

    fn go_on(&mut self, core: &mut CoreState, id: u32, results: Vec<(usize, Contribution)>, over: bool) {
        let running = self.transactions.running[id as usize].as_mut().expect("it is under way");
        let next = running.procedure.next(core, running.client, results);
        if matches!(next, Next::Later) {
            return self.transactions.later.push(id);
        }
        let Transactions { coordinator, local, running, .. } = &mut self.transactions;
        let mut mailbox = Mailbox { local, links: &mut self.links };
        let mut send = |shard, request| mailbox.request(shard, request, None);
        match next {
            Next::Hop { work, last } => {
                assert!(!over, "nothing follows the last hop");
                coordinator.hop(id, work, last, &mut send);
            }
            end => {
                if !over {
                    coordinator.conclude(&core.shared.sequence, id, &mut send);
                }
                let running = running[id as usize].take().expect("it is under way");
                // The shards write down what it has done when they hear of its end.
                if !over && core.acknowledge.is_on() && matches!(end, Next::Done(_)) {
                    self.end_behind_fences(core, running, end);
                } else {
                    self.over(core, &running, end);
                }
                self.retry_held(core);
            }
        }
    }

    /// A transaction is over when all its shards have written down what it has done there: they are asked.
    fn end_behind_fences(&mut self, core: &mut CoreState, running: Running, end: Next) {
        let others = running.participants.iter().flat_map(|all| all.iter());
        let others: Vec<usize> =
            others.map(|shard| *shard as usize).filter(|shard| *shard != core.index).collect();
        if others.is_empty() {
            return self.over(core, &running, end);
        }
        let id = self.transactions.next_fence;
        self.transactions.next_fence += 1;
        for shard in &others {
            self.links.send(*shard, Message::Fence(id));
        }
        self.transactions.fenced.insert(id, (others.len(), running, end));
    }

    /// A shard has done everything that was sent before the fence.
    pub(super) fn passed(&mut self, core: &mut CoreState, id: u64) {
        let fenced = &mut self.transactions.fenced;
        let (missing, ..) = fenced.get_mut(&id).expect("each shard answers once");
        *missing -= 1;
        if *missing == 0 {
            let (_, running, end) = fenced.remove(&id).expect("just seen");
            self.over(core, &running, end);
        }
    }

    pub(super) fn retry_held(&mut self, core: &mut CoreState) {
        while let Some(id) = self.transactions.coordinator.next_held(&core.shared.sequence) {
            self.transactions.due.push(id);
        }
    }
}

/// A transaction has run on shards that were all held: those that it has changed get a record each.
#[cold]
fn journal_at_once<'a>(
    core: &'a mut CoreState,
    borrowed: impl Iterator<Item = (usize, &'a mut Shard)>,
    writes: bool,
) {
    let own = core.index;
    let CoreState { shard, shared, .. } = core;
    let all = std::iter::once((own, &mut ***shard)).chain(borrowed);
    let mut changed: Vec<_> = all.filter(|(_, shard)| !shard.effects.journal.unit_is_empty()).collect();
    if !writes || changed.len() < 2 {
        return changed.iter_mut().for_each(|(_, shard)| shard.effects.journal.seal());
    }
    changed.sort_unstable_by_key(|(index, _)| *index);
    let participants = changed.iter().map(|(index, _)| *index as u32).collect();
    let membership = Membership { transaction: shared.sequence.number(), participants };
    changed.iter_mut().for_each(|(_, shard)| shard.effects.journal.seal_part(&membership));
}
