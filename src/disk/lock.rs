//! One process per directory.
//!
//! The lock is a record lock, not `flock`: a child that is forked to write a snapshot does not inherit it, so a server
//! that was killed can be started again while its child is still writing.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

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
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        loop {
            let mut wanted = whole_file();
            match lock(&file, libc::F_SETLK, &mut wanted) {
                Ok(()) => return Ok(Self { _file: file }),
                Err(error) if !matches!(error.raw_os_error(), Some(libc::EACCES | libc::EAGAIN)) => {
                    return Err(error.into());
                }
                Err(_) => {}
            }
            let mut holder = whole_file();
            lock(&file, libc::F_GETLK, &mut holder)?;
            // It may have ended between the two calls.
            if holder.l_type != libc::F_UNLCK as libc::c_short {
                return Err(LockError::InUse(holder.l_pid));
            }
        }
    }
}

fn whole_file() -> libc::flock {
    libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

fn lock(file: &File, command: i32, lock: &mut libc::flock) -> io::Result<()> {
    // SAFETY: both commands read and write one `flock`, borrowed for the call; the descriptor is open.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), command, std::ptr::from_mut(lock)) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
