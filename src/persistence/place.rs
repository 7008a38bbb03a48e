//! Whose snapshot it is: of the servers that save into one file, only one runs.
//!
//! Two servers with the same `dir` and the same `dbfilename` would replace each other's snapshots, and each would start
//! with the other's data. Another name in the same directory is a place of its own, as with Redis. A lock on the name
//! tells who is there; it ends with the process, however that ends.
//!
//! Who has save points takes the place when it starts, since it will write. Who has none takes it with the first snapshot
//! that is asked for, since most such servers never write one: any number of caches may run in one directory.
//!
//! Invariants
//!   W1  A server with save points holds its place. What cannot be locked is held by nobody: mostly a directory where
//!       we may not write, and so replace nothing either.
//!   W2  No snapshot is written to a place that another server holds.

use crate::config::Config;
use crate::config::parameter::{DBFILENAME, DIR, SAVE};
use crate::disk::{LockError, NameLock, is_writable};
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// In `dir`. Redis has no such file; two of our versions must agree on it.
pub const LOCK_FILE: &str = "pinion-snapshots.lock";

/// Another server holds the place.
#[derive(Debug, Eq, PartialEq)]
pub struct Taken {
    file: PathBuf,
    /// None if it cannot be seen from here, as from another container.
    pid: Option<i32>,
}

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        match self.pid {
            Some(pid) => write!(f, "another server, process {pid}, saves its snapshots to '{file}'")?,
            None => write!(f, "another server saves its snapshots to '{file}'")?,
        }
        f.write_str(
            ": each would overwrite the other's data. Give this one another 'dir' or another 'dbfilename', or, if it \
             need not save, no save points (save \"\")",
        )
    }
}

impl std::error::Error for Taken {}

/// What this server holds.
#[derive(Debug, Default)]
pub struct Place(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    place: Option<NameLock>,
    /// Where snapshots are being written, also if the server has moved away meanwhile.
    written: Vec<NameLock>,
}

/// The place of a new configuration; by default none.
#[derive(Debug, Default)]
pub struct Move(Option<NameLock>);

/// Why a place was not taken.
#[derive(Debug)]
enum Refusal {
    Taken(Taken),
    /// Nobody can: not a directory that we may write to, or a file system without locks.
    Impossible,
}

impl Place {
    /// Takes what this configuration wants, beside what is held now; nothing changes before [`Place::go`]. A relative
    /// `dir` is one in the current directory.
    ///
    /// # Errors
    /// If it has save points, and another server holds the place.
    pub fn prepare(&self, config: &Config) -> Result<Move, Taken> {
        if config.get(SAVE).is_empty() {
            return Ok(Move(None));
        }
        match self.held().take(config) {
            Ok(place) => Ok(Move(Some(place))),
            Err(Refusal::Taken(taken)) => Err(taken),
            Err(Refusal::Impossible) => Ok(Move(None)),
        }
    }

    /// The configuration has changed: the old place is free.
    pub fn go(&self, Move(place): Move) {
        self.held().place = place;
    }

    /// A snapshot is about to be written.
    ///
    /// # Errors
    /// If another server holds the place.
    pub fn occupy(&self, config: &Config) -> Result<(), Taken> {
        let mut held = self.held();
        match held.take(config) {
            Ok(place) => {
                held.place.get_or_insert_with(|| place.clone());
                held.written.push(place);
                Ok(())
            }
            Err(Refusal::Taken(taken)) => Err(taken),
            Err(Refusal::Impossible) => Ok(()),
        }
    }

    /// Nothing is being written any more.
    pub fn leave(&self) {
        self.held().written.clear();
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// The place of this configuration.
    fn take(&self, config: &Config) -> Result<NameLock, Refusal> {
        let directory = match config.get(DIR) {
            [] => Path::new("."),
            directory => Path::new(OsStr::from_bytes(directory)),
        };
        let name = OsStr::from_bytes(config.get(DBFILENAME));
        if !is_writable(directory) {
            return Err(Refusal::Impossible);
        }
        let held = self.place.iter().chain(&self.written);
        let taken = NameLock::take(&directory.join(LOCK_FILE), name, held);
        taken.map_err(|error| match error {
            LockError::InUse(pid) => Refusal::Taken(Taken {
                file: std::path::absolute(directory).unwrap_or(directory.to_owned()).join(name),
                pid: Some(pid).filter(|pid| *pid > 0),
            }),
            LockError::Io(_) => Refusal::Impossible,
        })
    }
}
