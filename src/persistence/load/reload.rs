//! DEBUG RELOAD and DEBUG LOADAOF: the files are loaded again while the server runs and all shards are held.

use super::{Feeds, Inbox, LoadError, Seat, Source, load, load_snapshot};
use crate::command_table::CommandTable;
use crate::config::parameter::{APPENDONLY, DBFILENAME};
use crate::persistence::status::ChildKind;
use crate::persistence::{rewrite, save};
use crate::session::{CoreState, FrozenOrder, Shared};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock};

/// What is to be loaded again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Which {
    /// `merge`: keys that are there already are replaced, and are no damage.
    Snapshot { flush: bool, merge: bool },
    /// After everything that was journalled has been written.
    AppendOnly,
}

/// To be carried out by dispatch, with all shards held.
pub struct ReloadOrder {
    /// The snapshot is written first.
    pub save: bool,
    pub which: Which,
}

impl ReloadOrder {
    /// What is done first, with all shards at rest; a reply that is an error ends it all. A snapshot; or the append-only
    /// file is switched on, if that was wanted and has not been done yet.
    pub fn first(&self, core: &CoreState) -> Option<FrozenOrder> {
        let file = &core.shared.append_only;
        match self.which {
            Which::Snapshot { .. } => self.save.then(|| save::at_rest(core)),
            Which::AppendOnly => {
                let is_due =
                    core.config.get(APPENDONLY) && !file.enabled.load(Relaxed) && !file.is_draining();
                // If there is none, another child is at work: then nothing is switched on soon.
                is_due.then(|| rewrite::order(core, true).ok()).flatten()
            }
        }
    }
}

/// Loading under way, seen from outside.
pub type Outcome = Arc<OnceLock<Result<(), LoadError>>>;

impl Which {
    /// What is found on disk.
    ///
    /// # Errors
    /// If there is nothing, or nothing that can be understood.
    pub fn find(self, shared: &Shared) -> Result<Source, LoadError> {
        let config = shared.config();
        match self {
            Self::Snapshot { .. } => {
                Ok(Source::Snapshot(PathBuf::from(OsStr::from_bytes(config.get(DBFILENAME)))))
            }
            Self::AppendOnly => Source::find_append_only(&config)?.ok_or(LoadError::NoAppendOnlyFile),
        }
    }

    /// On each core: whether what was journalled has been written; asked again at the next turn if not.
    ///
    /// # Errors
    /// What writing fails with.
    pub fn settle(self, core: &mut CoreState) -> Result<bool, i32> {
        if self != Self::AppendOnly {
            return Ok(true);
        }
        // Its end changes which files there are, and it may be what switches the file on.
        if core.shared.persistence.child_kind() == Some(ChildKind::AofBase) {
            return Ok(false);
        }
        let figures = &core.shared.append_only;
        let is_expected = figures.enabled.load(Relaxed) && core.shard.effects.journal.is_on();
        let has_more = core.shard.effects.journal.has_sealed();
        match core.shard.appender.log() {
            None => Ok(!is_expected),
            Some(log) => {
                log.hurry();
                match log.error() {
                    Some(error) => Err(error),
                    None => Ok(log.is_durable() && !has_more),
                }
            }
        }
    }

    /// On each core: the journal is put aside, and jobs are taken from here on.
    pub fn begin(self, core: &mut CoreState, inbox: Inbox) {
        core.shard.effects.journal.suspend();
        if !matches!(self, Self::Snapshot { flush: false, .. }) {
            core.shard.flush(None, false);
        }
        core.load = Some(Box::new(Seat::new(inbox)));
    }

    /// Loads on a thread of its own.
    ///
    /// # Errors
    /// If there is no thread.
    pub fn start(
        self,
        shared: Arc<Shared>,
        table: &'static CommandTable,
        source: Source,
        feeds: Feeds,
    ) -> Result<Outcome, LoadError> {
        let outcome = Outcome::default();
        let told = outcome.clone();
        let work = move || {
            let loaded = match &source {
                Source::Snapshot(path) => {
                    let merge = matches!(self, Self::Snapshot { merge: true, .. });
                    load_snapshot(&shared, path, merge, &feeds)
                }
                source @ Source::AppendOnly(_) => load(&shared, table, source, &feeds),
            };
            // Nobody else sets it.
            let _ = told.set(loaded);
        };
        let thread = std::thread::Builder::new().name("loader".into()).spawn(work);
        thread.map(|_| outcome).map_err(LoadError::Thread)
    }

    /// On each core: everything is as before, but for the data.
    pub fn end(core: &mut CoreState) {
        core.load = None;
        core.shard.effects.forget_changes();
        core.shard.effects.journal.resume();
    }
}
