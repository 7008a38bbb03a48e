//! What one core owns besides its sockets.

use super::{
    Acknowledge, Census, Departures, Freezing, FrozenOrder, ListeningChange, Partition, Settings, Shared,
    Waits,
};
use crate::base::UnixMillis;
use crate::base::clock;
use crate::client::{Blocked, Client, ClientKey, Clients, Closing, WatchedKey};
use crate::command_table::CommandTable;
use crate::config::Config;
use crate::keyspace::Slab;
use crate::mesh::Owned;
use crate::observability::{CommandStats, Counters, LatencyMonitor, RateMeter, Slowlog};
use crate::persistence::aof::appender::{Appender, Errand, News};
use crate::persistence::load::{ReloadOrder, Seat};
use crate::resp::Reply;
use crate::shard::{Outcome, Shard};
use std::sync::Arc;
use std::sync::atomic::Ordering;

pub struct CoreState {
    pub index: usize,
    pub cores: usize,
    /// This core's own, with its part of the append-only file; lent while the core is in the kernel.
    pub shard: Owned<Partition>,
    pub clients: Clients,
    pub table: &'static CommandTable,
    pub config: Arc<Config>,
    /// What the hot path needs of `config`.
    pub settings: Settings,
    pub shared: Arc<Shared>,
    pub counters: Counters,
    pub command_stats: CommandStats,
    pub slowlog: Slowlog,
    pub latency: LatencyMonitor,
    pub rates: RateMeter,
    /// For the loop of the core that accepts.
    pub listening: Vec<ListeningChange>,
    /// DEBUG PAUSE-CRON.
    pub cron_paused: bool,
    /// What others have done, or tried, for this core's part of the append-only file.
    pub errands: Vec<Errand>,
    /// What waits until it is durable.
    pub acknowledge: Acknowledge,
    /// What a duty of this core wants done with all shards at rest.
    pub frozen_order: Option<FrozenOrder>,
    /// The same, when the others have been told to hold still.
    pub freezing: Option<Freezing>,
    /// What a client wants loaded again (DEBUG RELOAD): dispatch goes on with it when the command has begun.
    pub reload: Option<ReloadOrder>,
    /// While data are loaded.
    pub load: Option<Box<Seat>>,
    /// Read once per turn of the loop and after each slow command.
    pub now: Moment,
    /// When the last command ended, on the monotonic clock; the next one's time counts from there.
    pub tick_ns: u64,
    /// Clients with replies that have not been handed to the ring; may hold a client twice.
    pub unsent: Vec<ClientKey>,
    /// The same, where the replies tell of one shard alone each, and of which the output knows.
    pub unsent_of_shard: Vec<ClientKey>,
    /// Clients to be closed at the end of this turn.
    pub doomed: Vec<ClientKey>,
    /// Clients whose earlier requests have been answered: what they sent since may go on.
    pub resumed: Vec<ClientKey>,
    /// Watched keys whose watchers have gone, with their owners: told them at the end of this turn.
    pub unwatched: Vec<(u64, usize, WatchedKey)>,
    /// Clients held back by CLIENT PAUSE, or by an append-only file that is far behind.
    pub paused: Vec<ClientKey>,
    /// This core's clients that wait for keys.
    pub waits: Waits,
    /// Clients whose requests about all clients wait until none of those is under way.
    pub counting: Vec<(ClientKey, Census)>,
    /// Clients that are to go to other cores.
    pub departures: Departures,
    /// What this core's clients did in this turn, as MONITOR shows it; told to everybody at its end.
    pub monitor_feed: Vec<u8>,
    /// What MONITOR clients of this core have not been shown yet, by the time of the turn it comes from.
    pub monitor_news: Vec<(u64, Arc<[u8]>)>,
}

/// One instant on both clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moment {
    pub unix: UnixMillis,
    pub unix_us: u64,
    /// Nanoseconds since an arbitrary start; never goes back.
    pub monotonic_ns: u64,
}

impl CoreState {
    pub fn new(
        index: usize,
        shared: Arc<Shared>,
        table: &'static CommandTable,
        mut shard: Owned<Partition>,
        seeds: [u64; 4],
    ) -> Self {
        let config = shared.config();
        let settings = Settings::new(&config);
        let slab = match shared.region_stocks.get() {
            Some(stocks) => Slab::stocked(stocks[index].clone()),
            None => Slab::new(),
        };
        let (cores, positions) = (shared.cpus.len(), shared.positions.clone());
        shard.install(Partition::new(
            Shard::with_slab(settings.databases, seeds, slab),
            Appender::new(index, cores),
        ));
        let mut core = Self {
            index,
            cores,
            shard,
            clients: Clients::default(),
            table,
            config,
            settings,
            shared,
            counters: Counters::default(),
            command_stats: CommandStats::new(table.len()),
            slowlog: Slowlog::default(),
            latency: LatencyMonitor::default(),
            rates: RateMeter::default(),
            listening: Vec::new(),
            cron_paused: false,
            errands: Vec::new(),
            acknowledge: Acknowledge::new(index, positions),
            frozen_order: None,
            freezing: None,
            reload: None,
            load: None,
            now: Moment::default(),
            tick_ns: 0,
            unsent: Vec::new(),
            unsent_of_shard: Vec::new(),
            doomed: Vec::new(),
            resumed: Vec::new(),
            unwatched: Vec::new(),
            paused: Vec::new(),
            waits: Waits::default(),
            counting: Vec::new(),
            departures: Departures::default(),
            monitor_feed: Vec::new(),
            monitor_news: Vec::new(),
        };
        core.shard.index = index;
        core.shard.count = core.cores;
        core.apply_settings();
        core.read_clock();
        core
    }

    /// Takes over the configuration that is in force now.
    pub fn reload_config(&mut self) {
        self.config = self.shared.config();
        let settings = Settings::new(&self.config);
        self.settings = Settings {
            monitored: self.settings.monitored,
            paused: self.settings.paused,
            loading: self.settings.loading,
            ..settings
        };
        self.apply_settings();
    }

    fn apply_settings(&mut self) {
        self.shard.options = crate::shard::ShardOptions {
            active_expire: self.shard.options.active_expire,
            verify_dumps: self.shard.options.verify_dumps,
            encoding: crate::types::EncodingLimits {
                hash_seed: self.shard.options.encoding.hash_seed,
                ..self.settings.shard.encoding
            },
            ..self.settings.shard
        };
        self.shard.effects.journal.set_unlinks(self.settings.shard.lazy_expire);
        self.slowlog.shorten(self.settings.slowlog_length_max);
    }

    pub fn read_clock(&mut self) {
        let unix_us = clock::UnixMicros::now().0;
        let unix = UnixMillis(unix_us / 1000);
        self.now = Moment { unix, unix_us, monotonic_ns: clock::Monotonic::now().0 };
        self.shard.set_clock(unix);
    }

    /// Cheap looks at what the cores share, once per turn.
    pub fn refresh_shared(&mut self) {
        self.sleep_if_told();
        self.settings.monitored = self.shared.monitors.load(Ordering::Relaxed) > 0;
        self.settings.paused = self.shared.pause.mode(self.now.unix.0).is_some();
        self.shard.expiry_paused = self.settings.paused;
        self.settings.writes_refused =
            self.settings.stop_writes_on_error && self.shared.persistence.has_failed();
        self.settings.append_error = self.shared.append_only.error();
        self.settings.loading = self.shared.loading.load(Ordering::Relaxed);
        // Where writing fails they are refused instead.
        self.settings.writes_wait = self.shared.append_only.is_full() && self.settings.append_error == 0;
        if !self.settings.paused && !self.settings.writes_wait && !self.paused.is_empty() {
            self.release_paused();
        }
    }

    /// DEBUG SLEEP stops the whole server, as one thread of Redis does.
    #[inline]
    pub fn sleep_if_told(&mut self) {
        let until = self.shared.asleep_until_ns.load(Ordering::Relaxed);
        if until > self.now.monotonic_ns {
            self.sleep_until(until);
        }
    }

    #[cold]
    fn sleep_until(&mut self, until_ns: u64) {
        self.read_clock();
        let left = until_ns.saturating_sub(self.now.monotonic_ns);
        std::thread::sleep(std::time::Duration::from_nanos(left));
        self.read_clock();
        // The next command is not charged with it.
        self.tick_ns = self.now.monotonic_ns;
    }

    fn release_paused(&mut self) {
        for key in std::mem::take(&mut self.paused) {
            if let Some(client) = self.clients.get_mut(key) {
                client.blocked = None;
                self.resumed.push(key);
            }
        }
    }

    /// CLIENT UNBLOCK: ends the wait of a client in a blocking command; whether it was in one. What holds a
    /// client back during CLIENT PAUSE is no such command.
    pub fn unblock(&mut self, id: u64, with_error: bool) -> bool {
        let found = self.clients.iter().find(|(_, client)| client.id == id);
        let Some((_, Client { blocked: Some(Blocked::OnKeys(wait)), protocol, .. })) = found else {
            return false;
        };
        let mut bytes = Vec::new();
        let mut reply = Reply::new(&mut bytes, *protocol);
        if with_error {
            reply.error("UNBLOCKED client unblocked via CLIENT UNBLOCK");
        } else {
            reply.null_array();
        }
        let wait = *wait;
        self.waits.end(wait, Outcome::Unblocked, bytes)
    }

    /// A client as the log shows it.
    pub fn describe(&self, key: ClientKey) -> String {
        let Some(client) = self.clients.get(key) else { return String::new() };
        let command = client.last_command.map(|id| self.table.by_id(id).spec.full_name);
        client.describe(self.now.unix, command, 0)
    }

    pub fn log_output_limit(&self, key: ClientKey) {
        let client = self.describe(key);
        let text =
            format!("Client {client} scheduled to be closed ASAP for overcoming of output buffer limits.");
        self.shared.log.warning(text);
    }

    /// Another core tells what has become durable.
    pub fn hear_durable(&mut self, news: &News) {
        if news.epoch > self.shard.appender.epoch() {
            self.acknowledge.restart();
        }
        self.shard.appender.hear(news);
        self.acknowledge.released(news.shard, news.released);
    }

    /// Closes a client at the end of this turn, whatever it is doing.
    pub fn doom(&mut self, key: ClientKey) {
        if let Some(client) = self.clients.get_mut(key) {
            client.closing = Closing::Now;
            self.doomed.push(key);
        }
    }

    /// The end of all of a client's watches.
    pub fn release_watches(&mut self, key: ClientKey) {
        let Some(client) = self.clients.get_mut(key) else { return };
        let id = client.watching.watcher(client.id);
        self.unwatched.extend(client.watching.take().into_iter().map(|(owner, key)| (id, owner, key)));
    }

    /// For a client's request about the clients of all cores, before it begins. None if it has to wait: then
    /// the client is among those that are resumed, when it can go on.
    pub fn census(&mut self, key: ClientKey) -> Option<Census> {
        let census = match self.counting.iter().position(|(waiting, _)| *waiting == key) {
            Some(place) => self.counting.swap_remove(place).1,
            None => self.shared.moving.census(),
        };
        if census.is_ready() {
            return Some(census);
        }
        self.counting.push((key, census));
        None
    }

    /// Once per turn: lets those go on that wait for a census. True if some go on waiting: nobody wakes this core for
    /// them, but it is only for the time of a message.
    #[inline]
    pub fn resume_counting(&mut self) -> bool {
        if self.counting.is_empty() {
            return false;
        }
        // Who is held back by something else meanwhile (CLIENT PAUSE) takes another one later.
        self.counting.retain(|(key, _)| self.clients.get(*key).is_some_and(Client::may_start));
        for (key, census) in &self.counting {
            if census.is_ready() {
                self.resumed.push(*key);
            }
        }
        !self.counting.is_empty()
    }

    /// The client with this id is to go to another core as soon as it is at rest, if it is one of this core's.
    pub fn order_away(&mut self, id: u64, to: usize) -> bool {
        let found = self.clients.iter().find(|(_, client)| client.id == id);
        let Some((key, _)) = found else { return false };
        self.departures.named.retain(|(other, _)| *other != key);
        self.departures.named.push((key, to));
        self.departures.looks = Departures::LOOKS;
        true
    }

    /// A client that is at rest leaves for another core; None if it may not leave now.
    pub fn send_away(&mut self, key: ClientKey, to: usize) -> Option<Box<Client>> {
        let moving = &self.shared.moving;
        if !moving.set_off() {
            return None;
        }
        let Some(client) = self.clients.remove(key) else {
            moving.arrived();
            return None;
        };
        self.shared.connections[to].0.fetch_add(1, Ordering::Relaxed);
        self.shared.connections[self.index].0.fetch_sub(1, Ordering::Relaxed);
        self.counters.connections_moved += 1;
        Some(client)
    }

    /// It has come here.
    pub fn take_in(&mut self, mut client: Box<Client>) -> ClientKey {
        // The query buffer stays where it was.
        (client.query_bytes, client.query_room) = (0, 0);
        let key = self.clients.insert_boxed(client);
        self.shared.moving.arrived();
        key
    }

    /// A connection is over: its client leaves the registry.
    pub fn client_left(&mut self, key: ClientKey) -> Option<Box<Client>> {
        self.release_watches(key);
        if let Some(Blocked::OnKeys(wait)) = self.clients.get(key)?.blocked {
            self.waits.end(wait, Outcome::Gone, Vec::new());
        }
        let client = self.clients.remove(key)?;
        self.counting.retain(|(waiting, _)| *waiting != key);
        self.shared.connections[self.index].0.fetch_sub(1, Ordering::Relaxed);
        if client.monitor {
            self.shared.monitors.fetch_sub(1, Ordering::Relaxed);
        }
        Some(client)
    }

    /// Shows what has happened to the MONITOR clients of this core, at the end of a turn.
    ///
    /// A core tells the others before it replies, and looks for what they tell after it has run its
    /// requests: of two commands of which one was sent after the reply to the other, the earlier is shown
    /// first, wherever they ran.
    pub fn show_monitors(&mut self) {
        self.monitor_news.sort_by_key(|(unix_us, _)| *unix_us);
        for (_, lines) in self.monitor_news.drain(..) {
            for (key, client) in self.clients.iter_mut().filter(|(_, client)| client.monitor) {
                client.output.writer().extend_from_slice(&lines);
                self.unsent.push(key);
            }
        }
    }
}
