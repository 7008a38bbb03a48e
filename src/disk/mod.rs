//! Files: direct writes, atomic replacement, and a disk in memory that tears, loses and refuses. Knows nothing of Redis.
//!
//! A [`Disk`] is one directory. What is done to it rarely (a file is created, a list of files replaced) goes through the
//! trait, at once; a running core appends through its own ring instead, from an [`AlignedBuffer`] to a file that
//! [`Directory::open_for_append`] has opened.
//!
//! Invariants
//!   D1  `replace` leaves the old content or the new one, whenever the machine stops.
//!   D2  What `create`, `replace` and `sync` have reported done survives a crash; `create` and `rename` together with
//!       the next `sync`.

mod aligned;
mod directory;
mod lock;
mod mapped;
mod simulated;

pub use aligned::{AlignedBuffer, BLOCK};
pub use directory::{Appendable, Directory};
pub use lock::{DirectoryLock, LockError, NameLock, is_writable};
pub use mapped::{Mapped, place_of};
pub use simulated::{FaultRates, SimulatedDisk};

use std::io;
use std::ops::Deref;

/// What is durable when a write is over that was done whole.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum WriteSync {
    Nothing,
    /// What it has written, and nothing else: writes before it may still be lost.
    Written,
    /// The whole file.
    File,
}

/// One directory and the files in it.
pub trait Disk {
    type Contents: Deref<Target = [u8]>;

    fn names(&self) -> io::Result<Vec<String>>;
    fn read(&self, name: &str) -> io::Result<Self::Contents>;

    /// Reads these files, perhaps several at once, and makes something of each; in their order, up to the first that
    /// could not be read.
    fn read_all<T: Send>(
        &self,
        names: &[String],
        make: impl Fn(usize, &[u8]) -> T + Sync,
    ) -> Vec<io::Result<T>> {
        let mut made = Vec::with_capacity(names.len());
        for (index, name) in names.iter().enumerate() {
            made.push(self.read(name).map(|contents| make(index, &contents)));
            if made[index].is_err() {
                break;
            }
        }
        made
    }

    /// Creates or empties a file, writes it and makes its bytes durable, but not yet its name.
    fn create(&self, name: &str, bytes: &[u8]) -> io::Result<()>;
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes the names durable.
    fn sync(&self) -> io::Result<()>;

    /// D1
    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let aside = format!("temp-{name}");
        self.create(&aside, bytes)?;
        self.rename(&aside, name)?;
        self.sync()
    }
}
