//! One process per directory, or per name in a directory.
//!
//! The locks are record locks, not `flock`: a child that is forked to write a snapshot does not inherit them, so a server
//! that was killed can be started again while its child is still writing. The files they are on are empty, and stay: what
//! counts is whether a process that lives has locked them.

use crate::base::crc::crc64;
use std::ffi::{CString, OsStr};
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

/// Held until it is dropped or the process ends. At most one per process and file: a second one's end would end both.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: File,
}

#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("it is in use by the process {0}")]
    InUse(i32),
    #[error("cannot lock it: {0}")]
    Io(#[from] io::Error),
}

impl DirectoryLock {
    /// Takes the lock on the file with this path, which is made if it is missing and stays.
    pub fn take(path: &Path) -> Result<Self, LockError> {
        let file = open(path)?;
        acquire(&file, Range::WHOLE)?;
        Ok(Self { _file: file })
    }
}

/// The lock on one of many names; held until the last copy is dropped or the process ends.
///
/// Each name has a byte of the file. A process that closes a file loses all its locks in it, so whoever wants another
/// name shows what it has.
#[derive(Clone, Debug)]
pub struct NameLock(Arc<Held>);

#[derive(Debug)]
struct Held {
    file: Arc<File>,
    range: Range,
}

impl NameLock {
    /// Takes the lock on a name in the file with this path, which is made if it is missing and stays. `held` is all that
    /// this process holds already; of what is among them it is a copy.
    pub fn take<'a>(
        path: &Path,
        name: &OsStr,
        held: impl IntoIterator<Item = &'a Self>,
    ) -> Result<Self, LockError> {
        let range = Range::of_name(name);
        let mut beside: Option<&Arc<File>> = None;
        for lock in held.into_iter().filter(|lock| lock.is_in(path)) {
            if lock.0.range == range {
                return Ok(lock.clone());
            }
            beside = Some(&lock.0.file);
        }
        let file = match beside {
            Some(file) => file.clone(),
            None => Arc::new(open_for_lock(path, range)?),
        };
        acquire(&file, range)?;
        Ok(Self(Arc::new(Held { file, range })))
    }

    /// However the path is written.
    fn is_in(&self, path: &Path) -> bool {
        let id =
            |metadata: io::Result<Metadata>| metadata.ok().map(|metadata| (metadata.dev(), metadata.ino()));
        id(self.0.file.metadata()).is_some_and(|own| id(path.metadata()) == Some(own))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Another name may be locked in the same file. What cannot be unlocked ends with the process.
        let _ = lock(&self.file, libc::F_SETLK, &mut self.range.with(libc::F_UNLCK));
    }
}

/// A file of another user's cannot be locked, but whether somebody holds the name is seen nevertheless.
fn open_for_lock(path: &Path, range: Range) -> Result<File, LockError> {
    let error = match open(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => error,
        opened => return Ok(opened?),
    };
    match holder(&File::open(path)?, range)? {
        Some(pid) => Err(LockError::InUse(pid)),
        None => Err(error.into()),
    }
}

/// Whether this process may make and replace files in a directory.
pub fn is_writable(directory: &Path) -> bool {
    let Ok(path) = CString::new(directory.as_os_str().as_bytes()) else { return false };
    // SAFETY: the path ends with a zero and outlives the call.
    unsafe { libc::faccessat(libc::AT_FDCWD, path.as_ptr(), libc::W_OK, libc::AT_EACCESS) == 0 }
}

/// Bytes of a lock file; they need not exist.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Range {
    start: i64,
    /// 0: to the end.
    length: i64,
}

impl Range {
    const WHOLE: Self = Self { start: 0, length: 0 };

    /// Part of what is agreed between versions: two servers must find the same byte. That two names share one of 2⁶²
    /// does not happen.
    fn of_name(name: &OsStr) -> Self {
        Self { start: (crc64(0, name.as_bytes()) >> 2) as i64, length: 1 }
    }

    fn with(self, kind: i32) -> libc::flock {
        libc::flock {
            l_type: kind as libc::c_short,
            l_whence: libc::SEEK_SET as libc::c_short,
            l_start: self.start,
            l_len: self.length,
            l_pid: 0,
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

fn acquire(file: &File, range: Range) -> Result<(), LockError> {
    loop {
        match lock(file, libc::F_SETLK, &mut range.with(libc::F_WRLCK)) {
            Ok(()) => return Ok(()),
            Err(error) if !matches!(error.raw_os_error(), Some(libc::EACCES | libc::EAGAIN)) => {
                return Err(error.into());
            }
            Err(_) => {}
        }
        // It may have ended between the two calls.
        if let Some(pid) = holder(file, range)? {
            return Err(LockError::InUse(pid));
        }
    }
}

/// The other process that holds a part of the range.
fn holder(file: &File, range: Range) -> io::Result<Option<i32>> {
    let mut found = range.with(libc::F_WRLCK);
    lock(file, libc::F_GETLK, &mut found)?;
    Ok((found.l_type != libc::F_UNLCK as libc::c_short).then_some(found.l_pid))
}

fn lock(file: &File, command: i32, lock: &mut libc::flock) -> io::Result<()> {
    // SAFETY: both commands read and write one `flock`, borrowed for the call; the descriptor is open.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), command, std::ptr::from_mut(lock)) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
