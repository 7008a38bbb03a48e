//! The append-only file as all cores of the server share it: the directory, and what INFO and the guards want to know.

use super::aof::store::{Store, StoreError};
use crate::config::Config;
use crate::config::parameter::{APPENDDIRNAME, APPENDFILENAME};
use crate::disk::{Directory, DirectoryLock};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// In the directory, so that no second server uses it.
const LOCK_FILE: &str = "pinion.lock";

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
}

pub struct AppendOnly {
    /// Once the file has been on.
    files: Mutex<Option<Arc<AppendOnlyFiles>>>,
    pub cores: Box<[CoreFigures]>,
    pub enabled: AtomicBool,
    /// The generation and run with which the file was switched on last.
    pub generation: AtomicU64,
    pub run: AtomicU64,
    /// A child writes, a dump or a base.
    pub child_writes: AtomicBool,
    warned_of_buffering: AtomicBool,
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
}

impl AppendOnly {
    pub fn new(cores: usize) -> Self {
        Self {
            files: Mutex::default(),
            cores: (0..cores).map(|_| CoreFigures::default()).collect(),
            enabled: AtomicBool::new(false),
            generation: AtomicU64::new(0),
            run: AtomicU64::new(0),
            child_writes: AtomicBool::new(false),
            warned_of_buffering: AtomicBool::new(false),
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

    /// What writing fails with on some core.
    #[inline]
    pub fn error(&self) -> Option<i32> {
        self.cores.iter().map(|core| core.error.load(Relaxed)).find(|error| *error != 0)
    }

    /// Whether this is the first time that somebody asks.
    pub fn first_buffered(&self) -> bool {
        !self.warned_of_buffering.swap(true, Relaxed)
    }

    pub fn figures(&self) -> AppendOnlyFigures {
        let sum = |figure: fn(&CoreFigures) -> u64| self.cores.iter().map(figure).sum::<u64>();
        let base_bytes = self.files().map_or(0, |files| files.store.base_bytes());
        AppendOnlyFigures {
            enabled: self.enabled.load(Relaxed),
            bytes: base_bytes + sum(|core| core.bytes.load(Relaxed)),
            base_bytes,
            waiting_bytes: sum(|core| core.waiting_bytes.load(Relaxed)),
            syncing: sum(|core| u64::from(core.syncing.load(Relaxed))),
            syncs_slow: sum(|core| core.syncs_slow.load(Relaxed)),
            failed: self.error().is_some(),
        }
    }
}
