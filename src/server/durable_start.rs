//! The start with `appendonly yes`: whose files are there, what of them counts, and where this server goes on.
//!
//! Nothing in the directory is changed before everything has been loaded: a server that cannot load leaves the files as it
//! found them.

use super::StartError;
use crate::config::Config;
use crate::config::parameter::{AOF_LOAD_TRUNCATED, APPENDDIRNAME, APPENDFILENAME};
use crate::persistence::aof::manifest::Manifest;
use crate::persistence::aof::store::StoreError;
use crate::persistence::append_only::AppendOnlyFiles;
use crate::persistence::load::{AppendOnly, LoadError, Source};
use crate::session::Shared;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The directory, opened and locked, and what is behind its list.
pub struct Beginning {
    files: Arc<AppendOnlyFiles>,
    /// What the list says before the segments of this server; all of it is closed.
    manifest: Manifest,
    /// A single file of an old Redis that moves into the directory.
    moves: Option<PathBuf>,
    run: u64,
    /// Of everything that was found.
    bytes: u64,
}

impl Beginning {
    /// What there is to load, and how it will go on.
    pub fn find(config: &Config) -> Result<(Self, Option<Source>), StartError> {
        let files = Arc::new(AppendOnlyFiles::open(config)?);
        let manifest = files.store.manifest();
        let run = getrandom::u64().map_err(|error| StartError::Random(error.to_string()))?;
        let mut beginning = Self { files, manifest, moves: None, run, bytes: 0 };
        if beginning.manifest.generations.is_empty() {
            let source = Source::find(config)?;
            beginning.look_for_a_single_file(config, source.as_ref());
            beginning.bytes = source.as_ref().map_or(Ok(0), Source::bytes)?;
            return Ok((beginning, source));
        }
        let directory = beginning.files.store.disk().path().to_owned();
        let recovered = beginning.files.store.recover().map_err(|error| match error {
            StoreError::Recovery(damage) => StartError::Load(damage.into()),
            other => other.into(),
        })?;
        for loss in &recovered.losses {
            let file = directory.join(&loss.file).display().to_string();
            if !config.get(AOF_LOAD_TRUNCATED) {
                return Err(LoadError::AofTruncated { file, offset: loss.offset }.into());
            }
        }
        let source = Source::AppendOnly(AppendOnly::recovered(&directory, &recovered));
        beginning.manifest = recovered.manifest;
        beginning.bytes = source.bytes()?;
        Ok((beginning, Some(source)))
    }

    fn look_for_a_single_file(&mut self, config: &Config, source: Option<&Source>) {
        let name = Path::new(OsStr::from_bytes(config.get(APPENDFILENAME)));
        if let Some(Source::AppendOnly(parts)) = source
            && parts.files[..] == [name]
        {
            self.moves = Some(name.to_owned());
            self.manifest.base = Some(name.display().to_string());
        }
    }

    /// Everything is loaded: from here on the journals are written.
    pub fn begin(self, shared: &Shared, shards: usize) -> Result<(), StoreError> {
        let store = &self.files.store;
        if let Some(file) = &self.moves {
            let inside = Path::new(OsStr::from_bytes(shared.config().get(APPENDDIRNAME))).join(file);
            let moved = std::fs::rename(file, inside);
            moved.map_err(|source| StoreError::Write {
                attempted: "move the file of an older Redis",
                source,
            })?;
        }
        let base_bytes = self.manifest.files("").first().map_or(0, |file| {
            std::fs::metadata(store.disk().path_of(file)).map_or(0, |metadata| metadata.len())
        });
        store.set_base_bytes(base_bytes);
        shared.append_only.found(self.bytes);
        let generation = store.begin(self.manifest, self.run, shards as u32)?;
        shared.append_only.install(self.files.clone());
        shared.append_only.enable(generation, self.run);
        Ok(())
    }
}
