//! The directory of the append-only file and the list of what counts in it: shared by all cores, touched rarely.

use super::faults::Faults;
use super::format::Header;
use super::manifest::{
    BaseFormat, Generation, Manifest, ManifestError, base_name, manifest_name, segment_name,
};
use super::recovery::{Recovered, RecoveryError, recover};
use crate::disk::{Disk, LockError};
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("Can't open or create the append only directory {directory}: {source}")]
    Directory { directory: String, source: io::Error },
    #[error("Another server uses the append only directory {directory}: {source}")]
    Lock { directory: String, source: LockError },
    #[error("Can't read the list of append only files {file}: {source}")]
    ReadManifest { file: String, source: io::Error },
    #[error("The list of append only files {file} is not readable: {source}")]
    Manifest { file: String, source: ManifestError },
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    #[error("Can't {attempted} in the append only directory: {source}")]
    Write { attempted: &'static str, source: io::Error },
}

/// What the list says, and what is known of it.
#[derive(Debug, Default)]
struct State {
    manifest: Manifest,
    /// Of the generations that are open.
    run: u64,
    /// Numbers below were used, perhaps by files that no list names.
    next: u64,
    /// Bytes of the base.
    base_bytes: u64,
}

pub struct Store<D> {
    disk: D,
    name: String,
    state: Mutex<State>,
}

impl<D: Disk> Store<D> {
    /// Reads the list, which may be Redis's or missing.
    pub fn open(disk: D, append_filename: &str) -> Result<Self, StoreError> {
        let manifest = read_manifest(&disk, append_filename)?;
        let state = State { next: manifest.next_number(), manifest, ..State::default() };
        Ok(Self { disk, name: append_filename.to_owned(), state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn disk(&self) -> &D {
        &self.disk
    }

    pub fn manifest(&self) -> Manifest {
        self.state().manifest.clone()
    }

    pub fn segment_name(&self, generation: u64, shard: u32) -> String {
        segment_name(&self.name, generation, shard)
    }

    pub fn base_name(&self, generation: u64, format: BaseFormat) -> String {
        base_name(&self.name, generation, format)
    }

    /// What counts after the last end of the server.
    pub fn recover(&self) -> Result<Recovered, StoreError> {
        Ok(recover(&self.disk, &self.name, &self.state().manifest, Faults::NONE)?)
    }

    /// Opens a generation behind everything that the list names so far, or behind what recovery has left of it.
    /// The journals begin with their first records.
    pub fn begin(&self, mut manifest: Manifest, run: u64, shards: u32) -> Result<u64, StoreError> {
        let mut state = self.state();
        let number = state.next.max(manifest.next_number());
        state.next = number + 1;
        self.create_segments(run, number, shards)?;
        manifest.generations.push(Generation {
            number,
            shards,
            after: Some(vec![0; shards as usize]),
            ends: None,
        });
        manifest.history.clear();
        self.replace(&manifest)?;
        state.manifest = manifest;
        state.run = run;
        Ok(number)
    }

    /// A number that no file has: for a base with nothing behind it.
    pub fn reserve(&self) -> u64 {
        let mut state = self.state();
        state.next += 1;
        state.next - 1
    }

    /// Makes the files of the next generation and names them in the list, so that the cores can go on in them from a
    /// moment of their choice on. With the file off (`run` is new then) they are not named before there is a base.
    pub fn prepare(&self, shards: u32, new_run: Option<u64>) -> Result<u64, StoreError> {
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        if let Some(run) = new_run {
            state.run = run;
        }
        self.create_segments(state.run, number, shards)?;
        if new_run.is_none() {
            let mut manifest = state.manifest.clone();
            manifest.generations.push(Generation { number, shards, after: None, ends: None });
            self.replace(&manifest)?;
            state.manifest = manifest;
        } else {
            self.disk
                .sync()
                .map_err(|source| StoreError::Write { attempted: "make files durable", source })?;
        }
        Ok(number)
    }

    /// A snapshot of the moment at which the segments of a generation were begun is complete: it replaces everything
    /// before; nothing follows it if the journals are off. Returns how many files were removed; nothing is removed
    /// before the list is durable.
    pub fn rebase(
        &self,
        generation: u64,
        format: BaseFormat,
        after: Option<Vec<u64>>,
        base_bytes: u64,
    ) -> Result<usize, StoreError> {
        let mut state = self.state();
        let mut manifest = Manifest { base: Some(self.base_name(generation, format)), ..Manifest::default() };
        if let Some(after) = after {
            let shards = after.len() as u32;
            manifest.generations.push(Generation {
                number: generation,
                shards,
                after: Some(after),
                ends: None,
            });
        }
        self.replace(&manifest)?;
        let needed = manifest.files(&self.name);
        let old = std::mem::replace(&mut state.manifest, manifest);
        state.base_bytes = base_bytes;
        let obsolete = old.files(&self.name).into_iter().chain(old.history);
        Ok(obsolete.filter(|file| !needed.contains(file) && self.disk.remove(file).is_ok()).count())
    }

    pub fn set_base_bytes(&self, bytes: u64) {
        self.state().base_bytes = bytes;
    }

    pub fn base_bytes(&self) -> u64 {
        self.state().base_bytes
    }

    fn create_segments(&self, run: u64, generation: u64, shards: u32) -> Result<(), StoreError> {
        for shard in 0..shards {
            let header = Header { shard, shards, generation, run };
            let created = self.disk.create(&self.segment_name(generation, shard), &header.encode());
            created.map_err(|source| StoreError::Write { attempted: "create a file", source })?;
        }
        Ok(())
    }

    fn replace(&self, manifest: &Manifest) -> Result<(), StoreError> {
        let replaced = self.disk.replace(&manifest_name(&self.name), manifest.encode().as_bytes());
        replaced.map_err(|source| StoreError::Write { attempted: "replace the list of files", source })
    }
}

fn read_manifest<D: Disk>(disk: &D, append_filename: &str) -> Result<Manifest, StoreError> {
    let file = manifest_name(append_filename);
    match disk.read(&file) {
        Ok(bytes) => Manifest::parse(&bytes).map_err(|source| StoreError::Manifest { file, source }),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(Manifest::default()),
        Err(source) => Err(StoreError::ReadManifest { file, source }),
    }
}
