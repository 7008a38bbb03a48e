//! A disk in memory that behaves as badly as disks are allowed to: for tests.
//!
//! Until a file is synced, each block of each write since then may or may not survive a crash, and a write may be torn at
//! any byte. A call may fail; after a sync that failed, what was not durable before may never be, although it can still be
//! read and the next sync succeeds. Names survive in the order in which they were made, up to some point behind the last
//! sync of the directory.

use super::{BLOCK, Disk};
use crate::base::random::Random;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;

/// Out of a thousand calls, how many fail, and how.
#[derive(Clone, Copy, Debug, Default)]
pub struct FaultRates {
    pub no_space: u64,
    /// Part of the bytes may have been written.
    pub write_error: u64,
    pub short_write: u64,
    pub sync_error: u64,
    /// Of calls on names.
    pub name_error: u64,
}

pub struct SimulatedDisk {
    state: RefCell<State>,
}

struct State {
    random: Random,
    rates: FaultRates,
    files: Vec<File>,
    names: BTreeMap<String, usize>,
    names_durable: BTreeMap<String, usize>,
    /// Since the last sync of the directory.
    changes: Vec<Change>,
}

enum Change {
    Link(String, usize),
    Rename(String, String),
    Unlink(String),
}

#[derive(Default)]
struct File {
    visible: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Write>,
}

struct Write {
    at: usize,
    bytes: Vec<u8>,
    /// A failed sync has dropped it: it will never be durable.
    is_lost: bool,
    /// It has made itself durable, and replaces what earlier writes may still bring.
    is_durable: bool,
}

impl SimulatedDisk {
    pub fn new(seed: u64) -> Self {
        Self {
            state: RefCell::new(State {
                random: Random::from_seed(seed),
                rates: FaultRates::default(),
                files: Vec::new(),
                names: BTreeMap::new(),
                names_durable: BTreeMap::new(),
                changes: Vec::new(),
            }),
        }
    }

    pub fn set_rates(&self, rates: FaultRates) {
        self.state.borrow_mut().rates = rates;
    }

    /// Writes bytes at a place of a file; they may be fewer than wanted.
    pub fn write_at(&self, name: &str, at: u64, bytes: &[u8]) -> io::Result<usize> {
        let state = &mut *self.state.borrow_mut();
        let file = state.find(name)?;
        if state.fails(state.rates.no_space) {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        let at = usize::try_from(at).expect("small files");
        if state.fails(state.rates.write_error) {
            let part = state.random.index(bytes.len() + 1);
            state.files[file].write(at, &bytes[..part]);
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        let mut length = bytes.len();
        if length > 0 && state.fails(state.rates.short_write) {
            length = state.random.index(length.div_ceil(BLOCK)) * BLOCK;
        }
        state.files[file].write(at, &bytes[..length]);
        Ok(length)
    }

    /// As `write_at`; if all of it is written, it survives a crash, and nothing else that was not synced does for that.
    pub fn write_durably_at(&self, name: &str, at: u64, bytes: &[u8]) -> io::Result<usize> {
        let length = self.write_at(name, at, bytes)?;
        let state = &mut *self.state.borrow_mut();
        let file = state.find(name)?;
        if state.fails(state.rates.sync_error) {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        if length > 0
            && let Some(write) = state.files[file].unsynced.last_mut()
        {
            write.is_durable = true;
        }
        Ok(length)
    }

    pub fn sync_file(&self, name: &str) -> io::Result<()> {
        let state = &mut *self.state.borrow_mut();
        let file = state.find(name)?;
        if state.fails(state.rates.sync_error) {
            for write in &mut state.files[file].unsynced {
                write.is_lost |= !write.is_durable && state.random.below(2) == 0;
            }
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        state.files[file].sync();
        Ok(())
    }

    /// The machine stops and starts again.
    pub fn crash(&self) {
        let State { random, files, names, names_durable, changes, .. } = &mut *self.state.borrow_mut();
        for file in files.iter_mut() {
            file.crash(random);
        }
        let kept = random.index(changes.len() + 1);
        changes.drain(..).take(kept).for_each(|change| change.apply(names_durable));
        names.clone_from(names_durable);
    }

    /// Damages one byte where it is stored.
    pub fn corrupt(&self, name: &str, at: usize, mask: u8) {
        let state = &mut *self.state.borrow_mut();
        let file = state.find(name).expect("a file that exists");
        let file = &mut state.files[file];
        for bytes in [&mut file.visible, &mut file.durable] {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= mask;
            }
        }
    }
}

impl State {
    fn fails(&mut self, rate: u64) -> bool {
        rate > 0 && self.random.below(1000) < rate
    }

    fn find(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))
    }

    fn change(&mut self, change: Change) -> io::Result<()> {
        if self.fails(self.rates.name_error) {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        change.apply(&mut self.names);
        self.changes.push(change);
        Ok(())
    }
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Link(name, file) => {
                names.insert(name.clone(), *file);
            }
            Self::Rename(from, to) => {
                let file = names.remove(from).expect("names change in order");
                names.insert(to.clone(), file);
            }
            Self::Unlink(name) => {
                names.remove(name);
            }
        }
    }
}

impl File {
    fn write(&mut self, at: usize, bytes: &[u8]) {
        put(&mut self.visible, at, bytes);
        self.unsynced.push(Write { at, bytes: bytes.to_vec(), is_lost: false, is_durable: false });
    }

    fn sync(&mut self) {
        for write in self.unsynced.drain(..).filter(|write| !write.is_lost) {
            put(&mut self.durable, write.at, &write.bytes);
        }
    }

    fn crash(&mut self, random: &mut Random) {
        for write in self.unsynced.drain(..).filter(|write| !write.is_lost) {
            match random.below(4) {
                _ if write.is_durable => put(&mut self.durable, write.at, &write.bytes),
                0 => put(&mut self.durable, write.at, &write.bytes),
                1 => {
                    let end = random.index(write.bytes.len() + 1);
                    put(&mut self.durable, write.at, &write.bytes[..end]);
                }
                2 => {
                    for (index, block) in write.bytes.chunks(BLOCK).enumerate() {
                        if random.below(2) == 0 {
                            put(&mut self.durable, write.at + index * BLOCK, block);
                        }
                    }
                }
                _ => {}
            }
        }
        self.visible.clone_from(&self.durable);
    }
}

fn put(file: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    let end = at + bytes.len();
    if end > file.len() {
        file.resize(end, 0);
    }
    file[at..end].copy_from_slice(bytes);
}

impl Disk for SimulatedDisk {
    type Contents = Vec<u8>;

    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.state.borrow().names.keys().cloned().collect())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let state = self.state.borrow();
        Ok(state.files[state.find(name)?].visible.clone())
    }

    fn create(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        {
            let state = &mut *self.state.borrow_mut();
            let file = state.files.len();
            state.files.push(File::default());
            state.change(Change::Link(name.to_owned(), file))?;
        }
        if self.write_at(name, 0, bytes)? < bytes.len() {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        self.sync_file(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let state = &mut *self.state.borrow_mut();
        state.find(from)?;
        state.change(Change::Rename(from.to_owned(), to.to_owned()))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let state = &mut *self.state.borrow_mut();
        state.find(name)?;
        state.change(Change::Unlink(name.to_owned()))
    }

    fn sync(&self) -> io::Result<()> {
        let state = &mut *self.state.borrow_mut();
        if state.fails(state.rates.name_error) {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        let State { changes, names_durable, .. } = state;
        changes.drain(..).for_each(|change| change.apply(names_durable));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_synced_survives_and_the_rest_may() {
        let (mut kept, mut lost, mut torn) = (0, 0, 0);
        for seed in 0..100 {
            let disk = SimulatedDisk::new(seed);
            disk.create("a", b"safe").expect("no faults");
            disk.sync().expect("no faults");
            disk.write_at("a", 4, &[1; 2 * BLOCK]).expect("no faults");
            assert_eq!(disk.read("a").expect("it is there").len(), 4 + 2 * BLOCK);
            disk.crash();
            let after = disk.read("a").expect("its name is durable");
            assert_eq!(&after[..4], b"safe");
            match after[4..].iter().filter(|byte| **byte == 1).count() {
                0 => lost += 1,
                all if all == 2 * BLOCK => kept += 1,
                _ => torn += 1,
            }
        }
        assert!(kept > 0 && lost > 0 && torn > 0);
    }

    #[test]
    fn a_write_that_is_durable_itself_saves_nothing_else() {
        let (mut kept, mut lost) = (0, 0);
        for seed in 0..100 {
            let disk = SimulatedDisk::new(seed);
            disk.create("a", &[0; 2 * BLOCK]).expect("no faults");
            disk.sync().expect("no faults");
            disk.write_at("a", 0, &[1; 2 * BLOCK]).expect("no faults");
            disk.write_durably_at("a", BLOCK as u64, &[2; BLOCK]).expect("no faults");
            disk.crash();
            let after = disk.read("a").expect("its name is durable");
            assert_eq!(after[BLOCK..], [2; BLOCK]);
            *if after[..BLOCK] == [1; BLOCK] { &mut kept } else { &mut lost } += 1;
        }
        assert!(kept > 0 && lost > 0);
    }

    #[test]
    fn a_replacement_is_whole_or_not_at_all() {
        let (mut old, mut new) = (0, 0);
        for seed in 0..200 {
            let disk = SimulatedDisk::new(seed);
            disk.replace("list", b"old").expect("no faults");
            disk.set_rates(FaultRates {
                no_space: 50,
                write_error: 50,
                short_write: 50,
                sync_error: 50,
                name_error: 100,
            });
            let done = disk.replace("list", b"new").is_ok();
            disk.crash();
            let after = disk.read("list").expect("its name is durable");
            match &after[..] {
                b"old" if !done => old += 1,
                b"new" => new += 1,
                other => panic!("seed {seed}: {other:?}"),
            }
        }
        assert!(old > 0 && new > 0, "D1");
    }
}
