//! A new base for the append-only file: BGREWRITEAOF, growth, and switching the file on at run time.
//!
//! ```text
//! prepare    files of the next generation, named in the list         the directory, no core waits
//! freeze     each journal is cut; the child is forked                 `FrozenOrder`
//! done       the list names the base and what came behind the cut     then the old files go
//! ```
//!
//! Switched on, the journals begin at the freeze, and nothing is named before there is a base; so a crash before that finds
//! what was there before. What `appendonly` says and what is done about it meet in [`look_after_time`], where a failure is
//! tried again, too.

use super::aof::manifest::BaseFormat;
use super::append_only::AppendOnlyFiles;
use super::child::Ended;
use super::save::{BackgroundWrite, Reservation, background};
use super::status::ChildKind;
use crate::config::parameter::{
    AOF_USE_RDB_PREAMBLE, APPENDONLY, AUTO_AOF_REWRITE_MIN_SIZE, AUTO_AOF_REWRITE_PERCENTAGE,
};
use crate::session::{CoreState, FrozenOrder, OnShard};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Seconds between two tries after a failure.
const RETRY_S: u64 = 5;

/// Why there is no rewrite now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NotNow {
    InProgress,
    /// Another child is at work: it will follow.
    Later,
    /// The log says why.
    Failed,
}

/// Begins a rewrite; with the file off, only a base is written, unless it is to be switched on.
pub fn order(core: &CoreState, switches_on: bool) -> Result<FrozenOrder, NotNow> {
    let shared = &core.shared;
    match shared.persistence.child_kind() {
        Some(ChildKind::AofBase) => return Err(NotNow::InProgress),
        Some(ChildKind::Rdb) => return Err(NotNow::Later),
        None => {}
    }
    let reservation = Reservation::take(shared).ok_or(NotNow::Later)?;
    let file = &shared.append_only;
    let is_on = file.enabled.load(Relaxed);
    let failed = |reason: String| {
        shared.log.warning(format!("Can't rewrite the append only file: {reason}"));
        file.rewrite_failed(now_s(core));
        NotNow::Failed
    };
    let files = file.files_or_open(&core.config).map_err(|error| failed(error.to_string()))?;
    let run = if is_on { None } else { Some(getrandom::u64().map_err(|error| failed(error.to_string()))?) };
    let generation = if is_on || switches_on {
        let prepared = files.store.prepare(core.cores as u32, run);
        prepared.map_err(|error| failed(error.to_string()))?
    } else {
        files.store.reserve()
    };
    let cuts: Arc<[AtomicU64]> = (0..core.cores).map(|_| AtomicU64::new(0)).collect();
    let on_shard: Arc<OnShard> = {
        let (cuts, shared) = (cuts.clone(), shared.clone());
        Arc::new(move |shard| {
            let journal = &mut shard.effects.journal;
            match run {
                None => journal.cut(generation),
                Some(run) if switches_on => {
                    journal.start(0);
                    shared.append_only.enable(generation, run);
                }
                Some(_) => {}
            }
            cuts[shard.index].store(journal.last_sequence(), Relaxed);
        })
    };
    let format =
        if core.config.get(AOF_USE_RDB_PREAMBLE) { BaseFormat::Snapshot } else { BaseFormat::Commands };
    file.rewrite_began(now_s(core));
    let started = {
        let shared = shared.clone();
        let now_s = now_s(core);
        move |result: Result<(), &std::io::Error>| {
            if result.is_err() {
                over(&shared.append_only, switches_on && run.is_some(), false, now_s);
            }
        }
    };
    let path = files.store.disk().path_of(&files.store.base_name(generation, format));
    let done = move |core: &mut CoreState, ended: &Ended| {
        finish(
            core,
            &files,
            (generation, format),
            &cuts,
            ended,
            switches_on && run.is_some(),
            run.is_none() || switches_on,
        );
    };
    let write = BackgroundWrite {
        kind: ChildKind::AofBase,
        as_commands: format == BaseFormat::Commands,
        path,
        on_shard: Some(on_shard),
        started: Some(Box::new(started)),
        done: Some(Box::new(done)),
    };
    Ok(background(core, reservation, write))
}

fn now_s(core: &CoreState) -> u64 {
    core.now.unix.0 / 1000
}

/// The child has ended.
fn finish(
    core: &mut CoreState,
    files: &AppendOnlyFiles,
    (generation, format): (u64, BaseFormat),
    cuts: &[AtomicU64],
    ended: &Ended,
    was_switching_on: bool,
    has_segments: bool,
) {
    let log = &core.shared.log;
    let mut succeeded = ended.succeeded;
    if succeeded {
        let after = has_segments.then(|| cuts.iter().map(|cut| cut.load(Relaxed)).collect());
        match files.store.rebase(generation, format, after, ended.bytes) {
            Ok(removed) => {
                log.notice("Background AOF rewrite terminated with success");
                log.verbose(format!("{removed} files of the append only file are not needed any more"));
            }
            Err(error) => {
                succeeded = false;
                log.warning(format!("The append only file was rewritten in vain: {error}"));
            }
        }
    } else if let Some(signal) = ended.signal {
        log.warning(format!("Background AOF rewrite terminated by signal {signal}"));
    } else {
        log.warning(format!("Background AOF rewrite terminated with error: {}", ended.error));
    }
    if !ended.succeeded {
        // Nobody names it; after a list that could not be made durable somebody may.
        let base = files.store.base_name(generation, format);
        let _ = crate::disk::Disk::remove(files.store.disk(), &base);
    }
    over(&core.shared.append_only, was_switching_on, succeeded, now_s(core));
}

fn over(file: &super::append_only::AppendOnly, was_switching_on: bool, succeeded: bool, now_s: u64) {
    file.rewrite_ended(succeeded, now_s);
    if was_switching_on && !succeeded {
        file.enabled.store(false, Relaxed);
    }
}

/// What is due by time, on the core that looks after children.
pub fn look_after_time(core: &mut CoreState) {
    let shared = core.shared.clone();
    let file = &shared.append_only;
    let (wanted, is_on) = (core.config.get(APPENDONLY), file.enabled.load(Relaxed));
    if is_on && !wanted {
        file.enabled.store(false, Relaxed);
        file.scheduled.store(false, Relaxed);
        if let Some(child) =
            shared.persistence.child().as_ref().filter(|child| child.kind == ChildKind::AofBase)
        {
            child.kill();
        }
        return;
    }
    // Cores that still write the end of what was switched off do so undisturbed.
    let is_draining = !is_on && file.is_draining();
    let busy = core.settings.loading || core.frozen_order.is_some() || is_draining;
    if busy || shared.persistence.child_kind().is_some() || shared.shutdown_requested().is_some() {
        return;
    }
    let now_s = now_s(core);
    if file.failed_at_s().is_some_and(|failed_s| now_s.saturating_sub(failed_s) < RETRY_S) {
        return;
    }
    let due = (wanted && !is_on) || file.scheduled.load(Relaxed) || is_on && has_grown(core);
    if due && let Ok(order) = order(core, wanted) {
        file.scheduled.store(false, Relaxed);
        core.frozen_order = Some(order);
    }
}

fn has_grown(core: &CoreState) -> bool {
    let percentage = core.config.get(AUTO_AOF_REWRITE_PERCENTAGE);
    let figures = core.shared.append_only.figures();
    if percentage <= 0 || figures.bytes <= core.config.get(AUTO_AOF_REWRITE_MIN_SIZE) {
        return false;
    }
    let growth = figures.bytes * 100 / figures.base_bytes.max(1);
    let grown = growth >= 100 + percentage as u64;
    if grown {
        let text = format!("Starting automatic rewriting of AOF on {}% growth", growth - 100);
        core.shared.log.notice(text);
    }
    grown
}
