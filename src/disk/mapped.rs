//! Files that are read as memory.
//!
//! What the kernel cannot read of such a file comes as a signal (SIGBUS) in place of an error. So that a report of it can
//! name the file, [`place_of`] knows what is mapped where.
//!
//! Invariants
//!   F1  What stands in `LISTED` is never freed, so that a signal handler can read it whenever it comes.

use std::fs::File;
use std::io;
use std::ops::{Deref, Range};
use std::path::Path;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// More are mapped, but not listed. A server maps one per core and generation, while it loads.
const LISTED_MAX: usize = 256;

static LISTED: [AtomicPtr<Place>; LISTED_MAX] = [const { AtomicPtr::new(ptr::null_mut()) }; LISTED_MAX];

struct Place {
    addresses: Range<usize>,
    path: Box<str>,
}

/// The file that is mapped at an address, and the offset there. Fit for a signal handler.
pub fn place_of(address: usize) -> Option<(&'static str, usize)> {
    LISTED.iter().find_map(|listed| {
        // SAFETY: null or an entry that F1 keeps.
        let place: &'static Place = unsafe { listed.load(Ordering::Acquire).as_ref() }?;
        place.addresses.contains(&address).then(|| (&*place.path, address - place.addresses.start))
    })
}

/// A file's bytes as the kernel has them.
#[derive(Debug)]
pub struct Mapped {
    /// An empty file cannot be mapped.
    map: Option<memmap2::Mmap>,
    listed: Option<usize>,
}

impl Mapped {
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        if file.metadata()?.len() == 0 {
            return Ok(Self { map: None, listed: None });
        }
        // SAFETY: the files read in this way are the server's own, in a directory it has locked, and are not
        // changed while they are read; that somebody else truncates one is beyond what a process can guard against.
        let map = unsafe { memmap2::Mmap::map(&file)? };
        let listed = list(&map, path);
        Ok(Self { map: Some(map), listed })
    }
}

/// Its place in the list, if there is room.
fn list(map: &[u8], path: &Path) -> Option<usize> {
    let start = map.as_ptr().addr();
    let place = Place { addresses: start..start + map.len(), path: path.to_string_lossy().into() };
    // F1: some bytes for each file that is ever mapped.
    let place = ptr::from_mut(Box::leak(Box::new(place)));
    LISTED.iter().position(|listed| {
        listed.compare_exchange(ptr::null_mut(), place, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    })
}

impl Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.map.as_deref().unwrap_or_default()
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        if let Some(index) = self.listed {
            LISTED[index].store(ptr::null_mut(), Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapped_file_is_known_by_its_addresses_while_it_is_mapped() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("segment");
        std::fs::write(&path, vec![7; 10_000]).expect("it is writable");
        let mapped = Mapped::open(&path).expect("it is there");
        let address = mapped[9_999..].as_ptr().addr();
        assert_eq!(place_of(address), Some((path.to_str().expect("plain text"), 9_999)));
        assert_eq!(place_of(address + 1), None);
        drop(mapped);
        assert_eq!(place_of(address), None);
    }
}
