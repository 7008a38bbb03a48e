//! The few things all cores of a server share. Nothing here is touched by a common command.

use super::{ListeningChange, Moving, Positions};
use crate::config::Config;
use crate::keyspace::RegionStock;
use crate::net::Doorbell;
use crate::observability::{Logger, MemoryGauge};
use crate::persistence::Status;
use crate::persistence::append_only::AppendOnly;
use crate::persistence::load::Progress;
use crate::transaction::Sequence;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

pub struct Shared {
    /// The configuration in force. CONFIG SET replaces it under the lock; each core keeps its own `Arc`.
    config: Mutex<Arc<Config>>,
    pub log: Logger,
    pub executable: PathBuf,
    /// 40 hexadecimal digits, new with every start.
    pub run_id: String,
    /// 40 hexadecimal digits: which history of writes this server's data belong to.
    replication_id: Mutex<String>,
    pub memory: MemoryGauge,
    /// On its way to the core that accepts.
    listening: Mutex<Vec<ListeningChange>>,
    /// DEBUG SLEEP: until this moment of the monotonic clock no core serves anybody.
    pub asleep_until_ns: AtomicU64,
    /// The port in force, for INFO: it may have been chosen by the kernel.
    pub port: AtomicUsize,
    pub cpus: Vec<usize>,
    pub started_unix_ms: u64,
    next_client_id: AtomicU64,
    next_slowlog_id: AtomicU64,
    /// Connections of each core, also those on their way to it.
    pub connections: Vec<Connections>,
    pub moving: Arc<Moving>,
    /// Clients in MONITOR mode, over all cores.
    pub monitors: AtomicUsize,
    pub pause: Pause,
    shutdown: AtomicU8,
    pub loading: AtomicBool,
    /// What is saved, when and how.
    pub persistence: Status,
    /// A signal has asked for the end; a core sees to it. The number of the signal, or 0.
    pub stop_signal: AtomicU8,
    /// Since that signal; the next SIGINT ends the server at once.
    pub stopping: AtomicBool,
    /// Nobody is accepted any more: clients may be let go.
    pub refusing: AtomicBool,
    pub load_progress: Arc<Progress>,
    pub append_only: AppendOnly,
    /// How far the journals have come, and who waits for what.
    pub positions: Arc<Positions>,
    /// The cores', once all are there.
    pub doorbells: Arc<OnceLock<Vec<Doorbell>>>,
    /// The numbers of transactions over several shards.
    pub sequence: Sequence,
    /// The shards', if somebody makes memory ready for them.
    pub region_stocks: OnceLock<Vec<Arc<RegionStock>>>,
}

#[repr(align(128))]
#[derive(Default)]
pub struct Connections(pub AtomicUsize);

/// CLIENT PAUSE is server-wide.
#[derive(Default)]
pub struct Pause {
    /// Unix milliseconds; 0 when nothing is paused.
    until_ms: AtomicU64,
    writes_only: AtomicBool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PauseMode {
    Writes,
    All,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ShutdownMode {
    /// As `save` says.
    Default,
    Save,
    NoSave,
}

impl Shared {
    pub fn new(config: Arc<Config>, cpus: Vec<usize>, log: Logger, run_id: String, now_unix_ms: u64) -> Self {
        Self {
            config: Mutex::new(config),
            log,
            executable: std::env::current_exe().unwrap_or_default(),
            run_id,
            replication_id: Mutex::default(),
            memory: MemoryGauge::default(),
            listening: Mutex::default(),
            asleep_until_ns: AtomicU64::new(0),
            port: AtomicUsize::new(0),
            append_only: AppendOnly::new(cpus.len()),
            positions: Arc::new(Positions::new(cpus.len())),
            persistence: Status::new(cpus.len(), now_unix_ms / 1000),
            stop_signal: AtomicU8::new(0),
            stopping: AtomicBool::new(false),
            refusing: AtomicBool::new(false),
            connections: cpus.iter().map(|_| Connections::default()).collect(),
            moving: Moving::new(cpus.len()),
            cpus,
            started_unix_ms: now_unix_ms,
            next_client_id: AtomicU64::new(1),
            next_slowlog_id: AtomicU64::new(0),
            monitors: AtomicUsize::new(0),
            pause: Pause::default(),
            shutdown: AtomicU8::new(0),
            loading: AtomicBool::new(false),
            load_progress: Arc::default(),
            doorbells: Arc::default(),
            sequence: Sequence::default(),
            region_stocks: OnceLock::new(),
        }
    }

    pub fn config(&self) -> Arc<Config> {
        self.config.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the configuration by what `change` makes of it, or leaves it if that fails. One change at
    /// a time, so two clients cannot lose each other's.
    pub fn change_config<R, E>(
        &self,
        change: impl FnOnce(&Config) -> Result<(Config, R), E>,
    ) -> Result<R, E> {
        let mut config = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        let (new, result) = change(&config)?;
        *config = Arc::new(new);
        Ok(result)
    }

    pub fn change_listening(&self, change: ListeningChange) {
        self.listening.lock().unwrap_or_else(PoisonError::into_inner).push(change);
    }

    /// In the order in which they were made: each builds on the ones before.
    pub fn take_listening(&self) -> Vec<ListeningChange> {
        std::mem::take(&mut *self.listening.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn replication_id(&self) -> String {
        self.replication_id.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set_replication_id(&self, id: String) {
        *self.replication_id.lock().unwrap_or_else(PoisonError::into_inner) = id;
    }

    pub fn next_client_id(&self) -> u64 {
        self.next_client_id.fetch_add(1, Ordering::Relaxed)
    }

    pub fn next_slowlog_id(&self) -> u64 {
        self.next_slowlog_id.fetch_add(1, Ordering::Relaxed)
    }

    pub fn total_connections(&self) -> usize {
        self.connections.iter().map(|core| core.0.load(Ordering::Relaxed)).sum()
    }

    /// The core with the fewest connections, the first of equals, among those that have their CPU; if none has,
    /// among all.
    pub fn least_loaded_core(&self) -> usize {
        let loads = self.connections.iter().map(|core| core.0.load(Ordering::Relaxed)).enumerate();
        loads.min_by_key(|(core, load)| (self.moving.is_taken(*core), *load)).map_or(0, |(core, _)| core)
    }

    pub fn request_shutdown(&self, mode: ShutdownMode) {
        let code = match mode {
            ShutdownMode::Default => 1,
            ShutdownMode::Save => 2,
            ShutdownMode::NoSave => 3,
        };
        self.shutdown.store(code, Ordering::SeqCst);
        for doorbell in self.doorbells.get().into_iter().flatten() {
            doorbell.ring_from_any_thread();
        }
    }

    pub fn shutdown_requested(&self) -> Option<ShutdownMode> {
        match self.shutdown.load(Ordering::Relaxed) {
            0 => None,
            2 => Some(ShutdownMode::Save),
            3 => Some(ShutdownMode::NoSave),
            _ => Some(ShutdownMode::Default),
        }
    }

    pub fn cancel_shutdown(&self) {
        self.shutdown.store(0, Ordering::SeqCst);
    }
}

impl Pause {
    /// As Redis: the later end and the stronger mode of two overlapping pauses hold.
    pub fn extend(&self, until_ms: u64, mode: PauseMode, now_ms: u64) {
        let running = self.mode(now_ms);
        let writes_only = mode == PauseMode::Writes && running != Some(PauseMode::All);
        self.writes_only.store(writes_only, Ordering::SeqCst);
        self.until_ms.fetch_max(until_ms, Ordering::SeqCst);
    }

    pub fn end(&self) {
        self.until_ms.store(0, Ordering::SeqCst);
    }

    #[inline]
    pub fn mode(&self, now_ms: u64) -> Option<PauseMode> {
        let until = self.until_ms.load(Ordering::Relaxed);
        if until == 0 || until <= now_ms {
            return None;
        }
        let writes_only = self.writes_only.load(Ordering::Relaxed);
        Some(if writes_only { PauseMode::Writes } else { PauseMode::All })
    }

    pub fn until_ms(&self) -> u64 {
        self.until_ms.load(Ordering::Relaxed)
    }
}
