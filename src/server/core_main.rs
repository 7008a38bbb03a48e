//! One core's life: a loop that enters the kernel once per turn.
//!
//! A turn: take in what the ring has (connections, bytes, confirmations) and what the other cores have sent;
//! run it; do a slice of the periodic duties if they are due; hand the replies to the ring and the messages
//! to the mesh; enter the kernel, waiting only if there is nothing left to do.

use super::append_only::{self, AppendOnly};
use super::cron::Cron;
use crate::base::clock;
use crate::client::{Client, ClientKey};
use crate::connection::{self, AcceptPolicy, Connections};
use crate::dispatch::{Dealt, Dispatch, Message};
use crate::mesh::{Links, Owned};
use crate::net::{
    Doorbell, Event, FilesInFlight, Listener, ListenerId, Parking, Ring, RingError, RingOptions,
    StreamAddress, Wait,
};
use crate::persistence::aof::segment::Completion;
use crate::persistence::load::{self, Inbox, Seat};
use crate::session::{CoreState, ListeningChange, Partition, Shared};
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender};

/// Messages waiting for room in the mesh beyond which no more requests are taken in.
const MESH_BACKLOG_MAX: usize = 256;

/// What a core is born with.
pub struct CorePlan {
    pub index: usize,
    pub shared: Arc<Shared>,
    pub links: Links<Message>,
    pub shard: Owned<Partition>,
    pub listeners: Vec<Listener>,
    pub table: &'static crate::command_table::CommandTable,
    /// If there is something to load.
    pub load: Option<Inbox>,
    /// If there is nothing to load before the journal begins.
    pub journals: bool,
    pub seeds: [u64; 4],
    /// Tells the starter of this core's doorbell, or why there is none.
    pub born: Sender<Result<(usize, Doorbell), RingError>>,
    /// All cores' doorbells, once everybody is there; nothing if the start has failed.
    pub doorbells: Receiver<Vec<Doorbell>>,
}

struct Core {
    ring: Ring,
    state: CoreState,
    dispatch: Dispatch,
    connections: Connections,
    doorbells: Vec<Doorbell>,
    cron: Cron,
    append_only: AppendOnly,
    /// On this core's ring.
    listeners: Vec<ListenerId>,
}

/// Runs until shutdown.
pub async fn run(plan: CorePlan) {
    let ring = match Ring::new(RingOptions::default()) {
        Ok(ring) => ring,
        Err(error) => {
            let _ = plan.born.send(Err(error));
            return;
        }
    };
    let _ = plan.born.send(Ok((plan.index, ring.doorbell())));
    // The other cores are started meanwhile; nobody is served before all are there.
    let Ok(doorbells) = plan.doorbells.recv() else { return };
    let lender = plan.shard.lender();
    let mut state = CoreState::new(plan.index, plan.shared, plan.table, plan.shard, plan.seeds);
    state.load = plan.load.map(|inbox| Box::new(Seat::new(inbox)));
    if plan.journals {
        append_only::start(&mut state);
    }
    let mut core = Core {
        ring,
        append_only: AppendOnly::default(),
        cron: Cron::new(&state),
        state,
        dispatch: Dispatch::new(plan.links, lender),
        connections: Connections::default(),
        doorbells,
        listeners: Vec::new(),
    };
    core.listen(plan.listeners);
    core.serve().await;
}

impl Core {
    fn listen(&mut self, listeners: Vec<Listener>) {
        self.listeners.extend(listeners.into_iter().map(|listener| self.ring.listen(listener)));
    }

    async fn serve(&mut self) {
        let files = FilesInFlight::new();
        let mut parking = Parking::new();
        loop {
            let busy = self.turn();
            if self.state.shared.shutdown_requested().is_some() && self.wind_down() {
                return;
            }
            let may_sleep = !busy && self.state.load.as_mut().is_none_or(|seat| seat.may_sleep());
            if may_sleep && self.state.settings.spin_us > 0 && self.spin(&mut parking, &files).await {
                continue;
            }
            let wait = if !may_sleep || !self.dispatch.park() {
                Wait::No
            } else {
                self.state.counters.sleeps += 1;
                let due_in = self.append_only.due_in(&mut self.state);
                Wait::Until(self.cron.due_in(&self.state).min(due_in))
            };
            self.state.shard.lend();
            if let Err(error) = parking.wait(&mut self.ring, wait, &files).await {
                self.state.shared.log.warning(format!("Core {}: {error}", self.state.index));
            }
            self.state.shard.take_back();
            self.dispatch.unpark();
        }
    }

    /// `spin-microseconds`: looks for work for a while before the core sleeps; whether there is some.
    async fn spin(&mut self, parking: &mut Parking, files: &FilesInFlight) -> bool {
        /// Looks between two readings of the clock, which are also offers of the CPU to whoever wants it.
        const LOOKS: u32 = 32;
        let begin_ns = clock::Monotonic::now().0;
        let due_in = self.append_only.due_in(&mut self.state).min(self.cron.due_in(&self.state));
        let limit_ns = (self.state.settings.spin_us * 1000).min(due_in.as_nanos() as u64);
        // As while it sleeps: others may do the shard's work, and then nobody has to come here with it.
        self.state.shard.lend();
        let found = 'spin: loop {
            for _ in 0..LOOKS {
                // No system call unless the kernel has something to tell.
                if let Err(error) = parking.wait(&mut self.ring, Wait::No, files).await {
                    self.state.shared.log.warning(format!("Core {}: {error}", self.state.index));
                }
                if self.ring.has_events() || self.dispatch.has_unread() {
                    break 'spin true;
                }
                std::hint::spin_loop();
            }
            if clock::Monotonic::now().0 - begin_ns >= limit_ns {
                break false;
            }
            std::thread::yield_now();
        };
        self.state.shard.take_back();
        found
    }

    /// One turn; whether there is more to do at once.
    fn turn(&mut self) -> bool {
        let Self { ring, state, dispatch, connections, cron, append_only, listeners, .. } = self;
        state.read_clock();
        state.tick_ns = state.now.monotonic_ns;
        state.refresh_shared();
        state.counters.turns += 1;
        if state.freezing.is_some() {
            Dispatch::lead_freeze(state);
        }
        while let Some(event) = ring.next_event() {
            match event {
                Event::Received { stream, data } => {
                    connections.received(state, dispatch, ring, stream, &data);
                    ring.recycle(data);
                }
                Event::Sent { stream, buffer } => connections.sent(state, stream, buffer),
                Event::EndOfStream { stream } => connections.ended(state, ring, stream, false),
                Event::Failed { stream, .. } => connections.ended(state, ring, stream, true),
                Event::SendFailed { stream, .. } => connections.send_failed(state, ring, stream),
                Event::Closed { stream } => connections.closed(stream),
                Event::Detached { stream, socket } => {
                    if let Some((core, moved)) = connections.detached(state, ring, stream, socket) {
                        dispatch.move_on(core, moved);
                    }
                }
                Event::Accepted { socket, peer, .. } => accept(state, dispatch, socket, &peer),
                Event::AcceptFailed { error, .. } => {
                    state.shared.log.warning(format!("Accepting client connection: {error}"));
                }
                Event::SentVectored { .. } | Event::ListenerClosed { .. } | Event::Doorbell => {}
                Event::FileDone { file, buffer, written, synced } => {
                    append_only.completed(
                        state,
                        dispatch,
                        ring,
                        file,
                        Completion { buffer, written, synced },
                    );
                }
            }
        }
        dispatch.receive(state);
        dispatch.go_on_later(state);
        while let Some(dealt) = dispatch.dealt.pop() {
            admit(state, ring, connections, dealt);
        }
        while let Some(moved) = dispatch.moved.pop() {
            connections.take_in(state, ring, moved);
        }
        let counting = state.resume_counting();
        // Replies of shards that could be borrowed let stalled clients go on, perhaps to other shards.
        loop {
            dispatch.settle_waits(state);
            for key in std::mem::take(&mut state.resumed) {
                connections.resume(state, dispatch, ring, key);
            }
            dispatch.depart(state);
            dispatch.run_borrowed(state);
            dispatch.settle_waits(state);
            if state.resumed.is_empty() {
                break;
            }
        }
        let more = load::slice(state) | cron.run(state);
        if let Some(order) = state.frozen_order.take() {
            dispatch.freeze(state, order);
        }
        if state.shared.persistence.is_sealed() {
            // What has run since the final snapshot must not be acknowledged.
            return true;
        }
        if !state.monitor_feed.is_empty() {
            let feed: Arc<[u8]> = std::mem::take(&mut state.monitor_feed).into();
            let at = state.now.unix_us;
            dispatch.tell_others(|| {
                let feed = feed.clone();
                Box::new(move |core| {
                    core.monitor_news.push((at, feed));
                    Box::new(())
                })
            });
            state.monitor_news.push((at, feed));
        }
        if !state.monitor_news.is_empty() {
            state.show_monitors();
        }
        AppendOnly::tell(state, dispatch);
        connections.end_turn(state, ring);
        let leaving = connections.send_off(state, ring);
        for change in state.listening.drain(..) {
            change_listening(ring, listeners, change);
        }
        dispatch.release_watches(state);
        dispatch.settle_waits(state);
        let doorbells = &self.doorbells;
        dispatch.flush(state, |core| ring.ring_doorbell(&doorbells[core]));
        if append_only.end_turn(state, dispatch, ring) {
            dispatch.publish(|core| ring.ring_doorbell(&doorbells[core]));
        }
        more || leaving
            || counting
            || state.freezing.is_some()
            || !state.resumed.is_empty()
            || !state.unsent.is_empty()
            || !state.unsent_of_shard.is_empty()
            || dispatch.backlog() > MESH_BACKLOG_MAX
    }

    /// After a request to shut down: closes what is open; true when nothing is left.
    fn wind_down(&mut self) -> bool {
        let refusing = &self.state.shared.refusing;
        if self.state.index == 0 {
            self.listeners.iter().for_each(|listener| self.ring.refuse_connections(*listener));
            refusing.store(true, Ordering::SeqCst);
        } else if !refusing.load(Ordering::SeqCst) {
            // A client that sees the end must not find the server still there.
            return false;
        }
        let keys: Vec<ClientKey> = self.state.clients.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.connections.close_client(&mut self.state, &mut self.ring, key);
        }
        self.append_only.wind_down(&mut self.state, &mut self.dispatch, &mut self.ring)
    }
}

/// CONFIG SET port or bind.
fn change_listening(ring: &mut Ring, listeners: &mut Vec<ListenerId>, change: ListeningChange) {
    listeners.retain(|listener| {
        let stays = match ring.listener_address(*listener) {
            Some(StreamAddress::Ip(address)) => change.keep.contains(address),
            Some(StreamAddress::Unix(_)) => true,
            None => false,
        };
        if !stays {
            ring.stop_listening(*listener);
        }
        stays
    });
    listeners.extend(change.add.into_iter().map(|listener| ring.listen(listener)));
}

/// A connection has come: it is refused, or goes to the core with the fewest.
fn accept(state: &mut CoreState, dispatch: &mut Dispatch, socket: OwnedFd, peer: &StreamAddress) {
    use crate::config::parameter::{MAXCLIENTS, PROTECTED_MODE};
    let policy = AcceptPolicy {
        clients: state.shared.total_connections(),
        clients_max: state.config.get(MAXCLIENTS) as usize,
        protected: state.config.get(PROTECTED_MODE) && !state.settings.password_required,
    };
    if let Some(line) = connection::refusal(peer, policy) {
        state.counters.connections_rejected += 1;
        let mut socket = std::fs::File::from(socket);
        // The socket's buffer is empty: the line fits, or the peer has gone.
        let _ = socket.write_all(line.as_bytes());
        return;
    }
    state.counters.connections_received += 1;
    let core = state.shared.least_loaded_core();
    state.shared.connections[core].0.fetch_add(1, Ordering::Relaxed);
    let dealt = connection::describe(socket, peer);
    if core == state.index { dispatch.dealt.push(dealt) } else { dispatch.deal(core, dealt) }
}

fn admit(state: &mut CoreState, ring: &mut Ring, connections: &mut Connections, dealt: Dealt) {
    let mut client = Client::new(state.shared.next_client_id(), state.now.unix);
    client.fd = dealt.socket.as_raw_fd();
    client.is_unix = dealt.is_unix;
    client.authenticated = !state.settings.password_required;
    let stream = ring.attach(dealt.socket);
    client.local_address = ring.local_address(stream).map_or_else(String::new, |address| address.to_string());
    // The connecting end of a unix socket has no name; Redis shows the path for both.
    client.address = if client.is_unix { client.local_address.clone() } else { dealt.address };
    state.shared.log.verbose(format!("Accepted {}", client.address));
    let key = state.clients.insert(client);
    connections.open(stream, key);
}
