//! Commands that wait for keys.
//!
//! A blocking command runs like any other; only if it finds nothing, its client joins the lines of its keys, in
//! the same piece of work or under the same intents. What ends the wait comes back as [`WaitEvent`]s of the
//! shards, or from the client's core itself; [`Dispatch::settle_waits`] works that off, several times a turn.

use super::message::Message;
use super::procedure::{Caller, Next, Planned, Procedure, Work, run_handler};
use super::run::{append_reply, journal_unit};
use super::transactions::{Purpose, Running, intentions, whole_key};
use super::{Dispatch, Flow, account, take_muted};
use crate::client::{Blocked, ClientKey, ReplyMode};
use crate::command_table::{Command, Contribution, Handler, WaitOrder};
use crate::resp::{Argv, ArgvBuf, Protocol, Reply};
use crate::session::{Ask, CoreState, Seat};
use crate::shard::{Blocker, Claim, Outcome, WaitEvent, Wish, shard_of_key};
use std::sync::Arc;

/// How all of them say that there was nothing.
fn is_null(reply: &[u8]) -> bool {
    matches!(reply, b"$-1\r\n" | b"*-1\r\n" | b"_\r\n")
}

type Lines = Vec<(usize, Arc<[Box<[u8]>]>)>;

fn lines_of(keys: Vec<Box<[u8]>>, cores: usize) -> Lines {
    let mut by_shard: Vec<(usize, Vec<Box<[u8]>>)> = Vec::new();
    for key in keys {
        let owner = shard_of_key(&key, cores);
        match by_shard.iter_mut().find(|(shard, _)| *shard == owner) {
            Some((_, keys)) => keys.push(key),
            None => by_shard.push((owner, vec![key])),
        }
    }
    by_shard.into_iter().map(|(shard, keys)| (shard, keys.into())).collect()
}

impl Dispatch {
    pub(super) fn blocking(
        &mut self,
        core: &mut CoreState,
        key: ClientKey,
        command: &Command,
        argv: Argv<'_>,
    ) -> Flow {
        let Handler::Blocking { run, wait, .. } = command.spec.handler else {
            unreachable!("called for Blocking only")
        };
        let client = core.clients.running(key);
        if !client.in_flight.is_idle() {
            return Flow::Stall;
        }
        let caller = Caller::of(client);
        account::monitor(core, key, command, argv);
        let parts = intentions(core, command, argv);
        let here = parts.iter().all(|(shard, _)| *shard == core.index);
        if here && !core.shard.scheduled {
            self.blocking_here(core, key, command, argv, caller);
            return Flow::Next;
        }
        let order = match wait(argv) {
            Ok(order) => order,
            Err(error) => {
                account::refuse(core, key, None, &error);
                return Flow::Next;
            }
        };
        let Handler::Blocking { plan, .. } = command.spec.handler else { unreachable!("as above") };
        let inner = match parts.as_slice() {
            [(shard, _)] => Inner::OneShard { shard: *shard, begun: false },
            _ => Inner::Planned(Planned::new(plan(argv), caller, core.cores)),
        };
        let names = usize::from(command.names);
        let procedure = Await {
            inner,
            run,
            names,
            argv: Arc::new(argv.to_owned()),
            caller,
            order: Some(order),
            wait: None,
        };
        self.begin(core, key, command, argv, parts, Box::new(procedure));
        Flow::Next
    }

    /// The common case: all keys live here and nobody is in the way.
    fn blocking_here(
        &mut self,
        core: &mut CoreState,
        key: ClientKey,
        command: &Command,
        argv: Argv<'_>,
        caller: Caller,
    ) {
        let Handler::Blocking { run, wait, .. } = command.spec.handler else { unreachable!("as above") };
        let client = core.clients.running(key);
        let muted = client.reply_mode != ReplyMode::On && take_muted(&mut client.reply_mode);
        let now = core.now.unix;
        let out = client.output.writer();
        let start = out.len();
        let changes = core.shard.effects.changes();
        append_reply(&mut core.shard, now, caller, run, usize::from(command.names), argv, out);
        journal_unit(&mut core.shard, changes, caller.db, argv);
        if is_null(&out[start..]) {
            out.truncate(start);
            let order = wait(argv).expect("it ran, so its arguments are right");
            let slot = client.output.open_slot(muted);
            let further = order.further.is_some();
            debug_assert!(further || !order.keys.is_empty());
            let lines = lines_of(order.keys, core.cores);
            let (id, claim) = core.waits.begin(core.index, key, caller.db, lines.clone(), order.timeout_ms);
            let blocker = blocker(core.index, id, caller, order.wish, false);
            for (_, keys) in &lines {
                core.shard.wait(caller.db, keys, &claim, &blocker);
            }
            let spent_ns = crate::base::Monotonic::now().0.saturating_sub(core.tick_ns);
            let seat = Seat { slot, command: *command, argv: argv.to_owned(), spent_ns };
            take_seat(core, key, id, seat);
            return;
        }
        let failed = account::note_error(&mut core.command_stats, &mut core.counters, &out[start..]);
        if muted {
            out.truncate(start);
        }
        core.shard.serve_ready(now);
        account::ran(core, key, command, argv, failed);
        core.unsent.push(key);
    }

    /// A transaction has put its client in its lines.
    pub(super) fn seat_client(core: &mut CoreState, running: &Running, id: u64) {
        let Purpose::Reply { slot } = running.purpose else { unreachable!("only requests wait") };
        let now_ns = crate::base::Monotonic::now().0;
        let spent_ns = now_ns.saturating_sub(running.started_ns);
        let argv: ArgvBuf = running.argv.clone();
        if let Some(client) = core.clients.get_mut(running.client) {
            client.in_flight.barriers -= 1;
        }
        take_seat(core, running.client, id, Seat { slot, command: running.command, argv, spent_ns });
    }

    /// Works off what ends waits: replies of shards, timeouts, CLIENT UNBLOCK, clients that have gone.
    pub fn settle_waits(&mut self, core: &mut CoreState) {
        loop {
            while let Some(id) = core.waits.next_due(core.now.monotonic_ns) {
                let mut bytes = Vec::new();
                let protocol = core.waits.get(id).and_then(|wait| core.clients.get(wait.client));
                let protocol = protocol.map_or(Protocol::Resp2, |client| client.protocol);
                Reply::new(&mut bytes, protocol).null_array();
                core.waits.end(id, Outcome::TimedOut, bytes);
            }
            for news in std::mem::take(&mut core.shard.effects.wait_news) {
                let (id, what) = (news.id, news.what);
                if news.core == core.index {
                    note_event(core, id, what);
                } else {
                    let run = Box::new(move |core: &mut CoreState| -> Contribution {
                        note_event(core, id, what);
                        Box::new(())
                    });
                    self.links.send(news.core, Message::Call { run, back: None });
                }
            }
            if let Some((id, reply)) = core.waits.ended.pop_front() {
                self.end_wait(core, id, &reply);
            } else if let Some(ask) = core.waits.asked.pop_front() {
                self.serve_over_shards(core, ask);
            } else if core.shard.effects.wait_news.is_empty() {
                return;
            }
        }
    }

    fn end_wait(&mut self, core: &mut CoreState, id: u64, reply: &[u8]) {
        let Some(wait) = core.waits.get(id) else { return };
        if wait.seat.is_none() {
            // Its lines are still being joined; [`take_seat`] looks here again.
            core.waits.early.push((id, reply.to_vec()));
            return;
        }
        let wait = core.waits.remove(id).expect("just looked at");
        core.acknowledge.hear_write();
        for (shard, keys) in wait.lines {
            let db = wait.db;
            self.on_core(core, shard, move |core| {
                for key in keys.iter() {
                    core.shard.effects.waits().leave(db, key, id);
                }
            });
        }
        if core.clients.get(wait.client).is_some() {
            account::unblocked(core, wait.client, &wait.seat.expect("looked at above"), reply);
        }
    }

    /// Runs something about lines on a core, and serves whom that concerns.
    fn on_core(
        &mut self,
        core: &mut CoreState,
        shard: usize,
        run: impl FnOnce(&mut CoreState) + Send + 'static,
    ) {
        let run = move |core: &mut CoreState| -> Contribution {
            run(core);
            let now = core.now.unix;
            core.shard.serve_again(now);
            Box::new(())
        };
        if shard == core.index {
            run(core);
        } else {
            self.links.send(shard, Message::Call { run: Box::new(run), back: None });
        }
    }

    /// A transaction that serves a client whose command reaches over several shards.
    fn serve_over_shards(&mut self, core: &mut CoreState, ask: Ask) {
        let Some(wait) = core.waits.get(ask.id) else { return };
        let Some(seat) = &wait.seat else {
            core.waits.early_asks.push(ask);
            return;
        };
        let Handler::Blocking { plan, .. } = seat.command.spec.handler else { unreachable!("it blocked") };
        let Some(client) = core.clients.get(wait.client) else { return };
        let caller = Caller { db: wait.db, ..Caller::of(client) };
        let argv = seat.argv.as_argv();
        let claim = Arc::clone(&wait.claim);
        let (procedure, parts): (Box<dyn Procedure>, _) = match &ask.alone {
            Some(wish) => {
                let (key, wish) = (ask.key.clone(), Arc::clone(wish));
                let parts = vec![(ask.shard, whole_key(core, &key))];
                (Box::new(ServeThere { shard: ask.shard, key, wish, claim, caller, begun: false }), parts)
            }
            None => {
                let planned = Planned::new(plan(argv), caller, core.cores);
                let parts = intentions(core, &seat.command, argv);
                (Box::new(Moving { planned, claim, hops: 0, claimed: false }), parts)
            }
        };
        let running = Running {
            client: wait.client,
            purpose: Purpose::Move { wait: ask.id, shard: ask.shard, db: ask.db, key: ask.key },
            command: seat.command,
            argv: seat.argv.clone(),
            started_ns: core.tick_ns,
            procedure,
            participants: None,
        };
        self.launch(core, running, parts);
    }

    /// Such a transaction is over; without a reply it has found nothing to do.
    pub(super) fn moved(&mut self, core: &mut CoreState, purpose: &Purpose, reply: Vec<u8>) {
        let Purpose::Move { wait, shard, db, key } = purpose else { unreachable!("checked by the caller") };
        if !reply.is_empty() {
            core.waits.ended.push_back((*wait, reply));
            return;
        }
        let (wait, db, key) = (*wait, *db, key.clone());
        self.on_core(core, *shard, move |core| core.shard.effects.waits().tried(db, &key, wait));
    }
}

fn note_event(core: &mut CoreState, id: u64, what: WaitEvent) {
    match what {
        WaitEvent::Served(reply) => core.waits.ended.push_back((id, reply)),
        WaitEvent::Ask { shard, db, key, alone } => {
            core.waits.asked.push_back(Ask { id, shard, db, key, alone });
        }
    }
}

fn blocker(core: usize, id: u64, caller: Caller, wish: Arc<dyn Wish>, elsewhere: bool) -> Blocker {
    Blocker { core, id, protocol: caller.protocol, no_touch: caller.no_touch, wish, elsewhere }
}

/// The client is blocked from here on; what has ended its wait already is looked at now.
fn take_seat(core: &mut CoreState, key: ClientKey, id: u64, seat: Seat) {
    core.waits.seat(id, seat, core.now.monotonic_ns);
    match core.clients.get_mut(key) {
        Some(client) => {
            client.blocked = Some(Blocked::OnKeys(id));
            // A connection that has ended meanwhile is closed.
            core.unsent.push(key);
        }
        None => {
            core.waits.end(id, Outcome::Gone, Vec::new());
        }
    }
}

/// A blocking command that does not run in one piece on this core.
struct Await {
    inner: Inner,
    run: crate::command_table::ShardHandler,
    names: usize,
    argv: Arc<ArgvBuf>,
    caller: Caller,
    order: Option<WaitOrder>,
    /// It is joining its lines.
    wait: Option<u64>,
}

enum Inner {
    /// Runs and, if it finds nothing, joins the lines, at once.
    OneShard {
        shard: usize,
        begun: bool,
    },
    Planned(Planned),
}

impl Await {
    fn begin_wait(
        &mut self,
        core: &mut CoreState,
        client: ClientKey,
        elsewhere: bool,
    ) -> (Lines, Arc<Claim>, Blocker) {
        let order = self.order.take().expect("a command waits once");
        let lines = lines_of(order.keys, core.cores);
        let (id, claim) =
            core.waits.begin(core.index, client, self.caller.db, lines.clone(), order.timeout_ms);
        self.wait = Some(id);
        let elsewhere = elsewhere && order.further.is_some();
        (lines, claim, blocker(core.index, id, self.caller, order.wish, elsewhere))
    }
}

impl Procedure for Await {
    fn next(
        &mut self,
        core: &mut CoreState,
        client: ClientKey,
        mut results: Vec<(usize, Contribution)>,
    ) -> Next {
        let planned = match &mut self.inner {
            Inner::OneShard { shard, begun } => {
                let shard = *shard;
                if std::mem::replace(begun, true) {
                    let (_, result) = results.pop().expect("one shard was asked");
                    let reply: Option<Vec<u8>> = *result.downcast().expect("it gives a reply or waits");
                    let id = self.wait.expect("begun with the hop");
                    return match reply {
                        None => Next::Blocked(id),
                        Some(reply) => {
                            core.waits.remove(id);
                            Next::Done(reply)
                        }
                    };
                }
                let (lines, claim, blocker) = self.begin_wait(core, client, false);
                let (run, names, argv, caller) = (self.run, self.names, self.argv.clone(), self.caller);
                let work = Work::Shard(Box::new(move |shard, now| -> Contribution {
                    let reply = run_handler(shard, now, caller, run, names, argv.as_argv());
                    if !is_null(&reply) {
                        return Box::new(Some(reply));
                    }
                    for (_, keys) in &lines {
                        shard.wait(caller.db, keys, &claim, &blocker);
                    }
                    Box::new(None::<Vec<u8>>)
                }));
                return Next::Hop { work: vec![(shard, work)], last: true };
            }
            Inner::Planned(planned) => planned,
        };
        if let Some(id) = self.wait {
            return Next::Blocked(id);
        }
        let reply = match planned.next(core, client, results) {
            Next::Done(reply) if is_null(&reply) => reply,
            other => return other,
        };
        drop(reply);
        let (lines, claim, blocker) = self.begin_wait(core, client, true);
        let db = self.caller.db;
        let work = lines.into_iter().map(|(shard, keys)| {
            let (claim, blocker) = (Arc::clone(&claim), blocker.clone());
            let join = move |shard: &mut crate::shard::Shard, _| -> Contribution {
                shard.wait(db, &keys, &claim, &blocker);
                Box::new(())
            };
            (shard, Work::Shard(Box::new(join)))
        });
        // Not the last hop: shards that it does not reach (of a destination) are let go by the conclusion.
        Next::Hop { work: work.collect(), last: false }
    }
}

/// Serves a waiting client with one key of one shard, which may be held by others just now.
struct ServeThere {
    shard: usize,
    key: Box<[u8]>,
    wish: Arc<dyn Wish>,
    claim: Arc<Claim>,
    caller: Caller,
    begun: bool,
}

impl Procedure for ServeThere {
    fn next(&mut self, _: &mut CoreState, _: ClientKey, mut results: Vec<(usize, Contribution)>) -> Next {
        if std::mem::replace(&mut self.begun, true) {
            let (_, result) = results.pop().expect("one shard was asked");
            return Next::Done(*result.downcast().expect("it gives a reply, empty if he was not served"));
        }
        let (key, wish, claim) = (self.key.clone(), Arc::clone(&self.wish), Arc::clone(&self.claim));
        let caller = self.caller;
        let serve = move |shard: &mut crate::shard::Shard, now| -> Contribution {
            let served = shard.serve_held((caller.db, &key), (&*wish, &claim), caller.protocol, now);
            Box::new(served.unwrap_or_default())
        };
        Next::Hop { work: vec![(self.shard, Work::Shard(Box::new(serve)))], last: true }
    }
}

/// Serves a waiting client across shards. The claim is taken between looking and changing.
struct Moving {
    planned: Planned,
    claim: Arc<Claim>,
    hops: u32,
    claimed: bool,
}

impl Procedure for Moving {
    fn next(&mut self, core: &mut CoreState, client: ClientKey, results: Vec<(usize, Contribution)>) -> Next {
        let next = self.planned.next(core, client, results);
        self.hops += 1;
        let ends = match &next {
            Next::Hop { .. } => self.hops > 1,
            Next::Done(reply) => !is_null(reply),
            Next::Blocked(_) | Next::Later => unreachable!("a plan does not wait"),
        };
        if ends && !self.claimed {
            self.claimed = self.claim.take(Outcome::Served);
            if !self.claimed {
                return Next::Done(Vec::new());
            }
        }
        match next {
            Next::Done(_) if !self.claimed => Next::Done(Vec::new()),
            next => next,
        }
    }
}
