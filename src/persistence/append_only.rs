//! The append-only file as all cores of the server share it: the directory, and what INFO and the guards want to know.

use super::aof::store::{Store, StoreError};
use crate::config::Config;
use crate::config::parameter::{APPENDDIRNAME, APPENDFILENAME};
use crate::disk::{Directory, DirectoryLock};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// What a shard has journalled and its disk has not taken, in bytes of memory: beyond this, commands that write wait, on
/// all cores, until half of it is written. Redis' write blocks by then, and its one thread with it.
pub const WAITING_BYTES_MAX: u64 = 128 << 20;

/// In the directory, so that no second server uses it.
pub const LOCK_FILE: &str = "pinion.lock";

pub struct AppendOnlyFiles {
    pub store: Store<Directory>,
    _lock: DirectoryLock,
}

impl AppendOnlyFiles {
    /// Opens the directory, for this process alone.
    pub fn open(config: &Config) -> Result<Self, StoreError> {
        let path = Path::new(OsStr::from_bytes(config.get(APPENDDIRNAME)));
        let name = String::from_utf8_lossy(config.get(APPENDFILENAME));
        let shown = || std::path::absolute(path).unwrap_or(path.to_owned()).display().to_string();
        let failed = |source| StoreError::Directory { directory: shown(), source };
        let directory = Directory::open_or_create(path).map_err(failed)?;
        let lock = DirectoryLock::take(&directory.path_of(LOCK_FILE));
        let lock = lock.map_err(|source| StoreError::Lock { directory: shown(), source })?;
        Ok(Self { store: Store::open(directory, &name)?, _lock: lock })
    }
}

/// One core's figures; each is written by its core only.
#[repr(align(128))]
#[derive(Debug, Default)]
pub struct CoreFigures {
    /// Of the segment that grows.
    pub bytes: AtomicU64,
    pub waiting_bytes: AtomicU64,
    pub syncing: AtomicBool,
    pub syncs_slow: AtomicU64,
    /// What writing fails with, or 0.
    pub error: AtomicI32,
    /// The file was switched off, and the last records are being written.
    pub draining: AtomicBool,
}

pub struct AppendOnly {
    /// Once the file has been on.
    files: Mutex<Option<Arc<AppendOnlyFiles>>>,
    pub cores: Box<[CoreFigures]>,
    pub enabled: AtomicBool,
    /// The generation and run with which the file was switched on last.
    pub generation: AtomicU64,
    pub run: AtomicU64,
    /// Closed files, the base among them, and what the file had when it was rewritten last.
    closed_bytes: AtomicU64,
    rewritten_bytes: AtomicU64,
    /// BGREWRITEAOF while another child was at work.
    pub scheduled: AtomicBool,
    /// Seconds of the clock; 0: none.
    rewrite_began_s: AtomicU64,
    rewrite_failed_s: AtomicU64,
    /// -1: there was none.
    rewrite_seconds: AtomicI64,
    rewrites: AtomicU64,
    failures: AtomicU64,
    warned_of_buffering: AtomicBool,
    /// For tests: what each sync fails with although it succeeds, or 0. The disk of a test never fails by itself, and
    /// what goes through a ring is seen by nobody who could make it fail.
    pub planted_sync_error: AtomicI32,
    /// For tests: whether nobody hears that a write or sync is over.
    pub planted_stall: AtomicBool,
    /// How many cores have more than [`WAITING_BYTES_MAX`] to write.
    full: AtomicUsize,
}

/// What INFO shows.
#[derive(Clone, Copy, Debug, Default)]
pub struct AppendOnlyFigures {
    pub enabled: bool,
    pub bytes: u64,
    pub base_bytes: u64,
    pub waiting_bytes: u64,
    pub syncing: u64,
    pub syncs_slow: u64,
    pub failed: bool,
    pub scheduled: bool,
    /// When the rewrite under way began.
    pub rewrite_began_s: Option<u64>,
    pub rewrite_failed: bool,
    pub rewrite_seconds: i64,
    pub rewrites: u64,
    pub failures: u64,
}

impl AppendOnly {
    pub fn new(cores: usize) -> Self {
        Self {
            files: Mutex::default(),
            cores: (0..cores).map(|_| CoreFigures::default()).collect(),
            enabled: AtomicBool::new(false),
            generation: AtomicU64::new(0),
            run: AtomicU64::new(0),
            closed_bytes: AtomicU64::new(0),
            rewritten_bytes: AtomicU64::new(0),
            scheduled: AtomicBool::new(false),
            rewrite_began_s: AtomicU64::new(0),
            rewrite_failed_s: AtomicU64::new(0),
            rewrite_seconds: AtomicI64::new(-1),
            rewrites: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            warned_of_buffering: AtomicBool::new(false),
            planted_sync_error: AtomicI32::new(0),
            planted_stall: AtomicBool::new(false),
            full: AtomicUsize::new(0),
        }
    }

    pub fn files(&self) -> Option<Arc<AppendOnlyFiles>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn install(&self, files: Arc<AppendOnlyFiles>) {
        *self.files.lock().unwrap_or_else(PoisonError::into_inner) = Some(files);
    }

    /// The cores write from here on.
    pub fn enable(&self, generation: u64, run: u64) {
        self.generation.store(generation, Relaxed);
        self.run.store(run, Relaxed);
        self.enabled.store(true, Relaxed);
    }

    /// The directory, which is opened with the first use.
    ///
    /// # Errors
    /// If it cannot be used, or another server uses it.
    pub fn files_or_open(&self, config: &Config) -> Result<Arc<AppendOnlyFiles>, StoreError> {
        let mut place = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(files) = &*place {
            return Ok(files.clone());
        }
        let files = Arc::new(AppendOnlyFiles::open(config)?);
        Ok(place.insert(files).clone())
    }

    /// The file as it was found at the start.
    pub fn found(&self, bytes: u64) {
        self.closed_bytes.store(bytes, Relaxed);
        self.rewritten_bytes.store(bytes, Relaxed);
    }

    pub fn rewrite_began(&self, now_s: u64) {
        self.rewrite_began_s.store(now_s, Relaxed);
    }

    pub fn rewrite_failed(&self, now_s: u64) {
        self.rewrite_failed_s.store(now_s, Relaxed);
        self.failures.fetch_add(1, Relaxed);
    }

    pub fn rewrite_ended(&self, succeeded: bool, now_s: u64) {
        let began_s = self.rewrite_began_s.swap(0, Relaxed);
        self.rewrite_seconds.store(now_s.saturating_sub(began_s) as i64, Relaxed);
        self.rewrites.fetch_add(1, Relaxed);
        if !succeeded {
            return self.rewrite_failed(now_s);
        }
        self.rewrite_failed_s.store(0, Relaxed);
        self.failures.store(0, Relaxed);
        let base_bytes = self.files().map_or(0, |files| files.store.base_bytes());
        self.closed_bytes.store(base_bytes, Relaxed);
        self.rewritten_bytes.store(self.figures().bytes, Relaxed);
    }

    /// When a rewrite has failed, if the last one has.
    pub fn failed_at_s(&self) -> Option<u64> {
        Some(self.rewrite_failed_s.load(Relaxed)).filter(|failed_s| *failed_s > 0)
    }

    /// Whether a core still writes what was journalled before the file was switched off.
    pub fn is_draining(&self) -> bool {
        self.cores.iter().any(|core| core.draining.load(Relaxed))
    }

    /// What writing fails with on some core, or 0.
    #[inline]
    pub fn error(&self) -> i32 {
        if !self.enabled.load(Relaxed) {
            return 0;
        }
        self.cores.iter().map(|core| core.error.load(Relaxed)).find(|error| *error != 0).unwrap_or(0)
    }

    /// A core has come to its limit, or is over it.
    pub fn set_full(&self, full: bool) {
        if full {
            self.full.fetch_add(1, Relaxed);
        } else {
            self.full.fetch_sub(1, Relaxed);
        }
    }

    /// Whether commands that write are to wait for the disk.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.full.load(Relaxed) > 0
    }

    /// Whether this is the first time that somebody asks.
    pub fn first_buffered(&self) -> bool {
        !self.warned_of_buffering.swap(true, Relaxed)
    }

    pub fn figures(&self) -> AppendOnlyFigures {
        let sum = |figure: fn(&CoreFigures) -> u64| self.cores.iter().map(figure).sum::<u64>();
        AppendOnlyFigures {
            enabled: self.enabled.load(Relaxed),
            bytes: self.closed_bytes.load(Relaxed) + sum(|core| core.bytes.load(Relaxed)),
            base_bytes: self.rewritten_bytes.load(Relaxed),
            waiting_bytes: sum(|core| core.waiting_bytes.load(Relaxed)),
            syncing: sum(|core| u64::from(core.syncing.load(Relaxed))),
            syncs_slow: sum(|core| core.syncs_slow.load(Relaxed)),
            failed: self.error() != 0,
            scheduled: self.scheduled.load(Relaxed),
            rewrite_began_s: Some(self.rewrite_began_s.load(Relaxed)).filter(|began_s| *began_s > 0),
            rewrite_failed: self.failed_at_s().is_some(),
            rewrite_seconds: self.rewrite_seconds.load(Relaxed),
            rewrites: self.rewrites.load(Relaxed),
            failures: self.failures.load(Relaxed),
        }
    }
}
