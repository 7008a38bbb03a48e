//! A real directory.

use super::{Disk, Mapped};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// A directory that exists.
#[derive(Clone, Debug)]
pub struct Directory {
    path: PathBuf,
}

/// A file that a ring writes to.
#[derive(Debug)]
pub struct Appendable {
    pub file: OwnedFd,
    /// Whether writes go past the page cache; if not, this file system refuses that.
    pub is_direct: bool,
}

impl Directory {
    /// Opens a directory, after creating it if it is missing.
    pub fn open_or_create(path: &Path) -> io::Result<Self> {
        match std::fs::create_dir(path) {
            Ok(()) => {
                let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
                File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        Self::open(path)
    }

    pub fn open(path: &Path) -> io::Result<Self> {
        if !std::fs::metadata(path)?.is_dir() {
            return Err(io::Error::from_raw_os_error(libc::ENOTDIR));
        }
        // CONFIG SET dir changes what relative paths mean.
        Ok(Self { path: path.canonicalize()? })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Opens a file that exists for writes of aligned blocks.
    pub fn open_for_append(&self, name: &str) -> io::Result<Appendable> {
        let open = |flags: i32| OpenOptions::new().write(true).custom_flags(flags).open(self.path_of(name));
        match open(libc::O_DIRECT) {
            Ok(file) => Ok(Appendable { file: file.into(), is_direct: true }),
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                Ok(Appendable { file: open(0)?.into(), is_direct: false })
            }
            Err(error) => Err(error),
        }
    }
}

impl Disk for Directory {
    type Contents = Mapped;

    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            names.extend(entry?.file_name().into_string().ok());
        }
        names.sort();
        Ok(names)
    }

    fn read(&self, name: &str) -> io::Result<Mapped> {
        Mapped::open(&self.path_of(name))
    }

    /// A thread per CPU at most; what is read is mapped, so the memory it takes is the page cache's.
    fn read_all<T: Send>(
        &self,
        names: &[String],
        make: impl Fn(usize, &[u8]) -> T + Sync,
    ) -> Vec<io::Result<T>> {
        let next = AtomicUsize::new(0);
        let made: Mutex<BTreeMap<usize, io::Result<T>>> = Mutex::default();
        let work = || {
            while let Some((index, name)) = take_next(names, &next) {
                let one = self.read(name).map(|contents| make(index, &contents));
                made.lock().unwrap_or_else(PoisonError::into_inner).insert(index, one);
            }
        };
        let threads = std::thread::available_parallelism().map_or(1, |cpus| cpus.get()).min(names.len());
        std::thread::scope(|scope| {
            for _ in 1..threads {
                // Without the further threads it takes longer.
                let _ = std::thread::Builder::new().name("reader".into()).spawn_scoped(scope, work);
            }
            work();
        });
        made.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()
    }

    fn create(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o644)
            .open(self.path_of(name))?;
        file.write_all(bytes)?;
        file.sync_all()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path_of(from), self.path_of(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path_of(name))
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

fn take_next<'a>(names: &'a [String], next: &AtomicUsize) -> Option<(usize, &'a String)> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    names.get(index).map(|name| (index, name))
}
