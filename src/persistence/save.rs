//! When a snapshot is taken, by whom, and what becomes of it: SAVE, BGSAVE, the save points, the end of the server.
//!
//! Whoever wants one makes a [`FrozenOrder`]; dispatch brings all shards to rest and carries it out. One core, the
//! first, looks after the child and the save points.
//!
//! Invariants
//!   V1  One snapshot is ordered at a time ([`Reservation`]), and none is begun while a child is at work.
//!   V2  Changes count as saved only when the file is in its place, synced.

use super::child::{self, Child, ChildPlan, Ended, Report};
use super::snapshot::{self, AccessNotes, Frozen, SnapshotOptions};
use super::status::ChildKind;
use crate::base::UnixMillis;
use crate::base::os_error::reason;
use crate::config::Config;
use crate::config::parameter::*;
use crate::session::{CoreState, FrozenOrder, OnShard, Shared, ShutdownMode};
use crate::shard::{CommandError, CommandResult, Shard};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Seconds between two tries after a failure, as Redis.
const RETRY_S: u64 = 5;
/// How often a core that is otherwise idle looks whether the child has ended.
pub const CHILD_LOOK_NS: u64 = 5_000_000;

/// The right to be the next to take a snapshot.
pub struct Reservation(Arc<Shared>);

impl Reservation {
    /// Nothing if somebody else has it.
    pub fn take(shared: &Arc<Shared>) -> Option<Self> {
        (!shared.persistence.ordered.swap(true, Relaxed)).then(|| Self(shared.clone()))
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.0.persistence.ordered.store(false, Relaxed);
    }
}

/// Told whether a child was started.
pub type Started = dyn FnOnce(Result<(), &io::Error>);

/// What a child is to write.
pub struct BackgroundWrite {
    pub kind: ChildKind,
    pub path: PathBuf,
    /// Not as a snapshot, but as commands.
    pub as_commands: bool,
    /// Done to every shard at the moment of the snapshot.
    pub on_shard: Option<Arc<OnShard>>,
    /// Told whether the child was started, while everything is at rest.
    pub started: Option<Box<Started>>,
    /// Told of its end, on the core that looks after it.
    pub done: Option<child::Done>,
}

/// A write in the background; the order replies as BGSAVE does.
pub fn background(core: &CoreState, reservation: Reservation, write: BackgroundWrite) -> FrozenOrder {
    let (shared, config) = (core.shared.clone(), core.config.clone());
    let on_shard = write.on_shard.clone();
    let clock = core.shard.access_clock;
    let kind = write.kind;
    let run = move |shards: &[&Shard], reply: &mut crate::resp::Reply<'_>| -> CommandResult {
        let _reservation = reservation;
        start(&shared, &config, shards, write, clock)?;
        reply.simple(match kind {
            ChildKind::Rdb => "Background saving started",
            ChildKind::AofBase => "Background append only file rewriting started",
        });
        Ok(())
    };
    FrozenOrder { on_shard, run: Box::new(run) }
}

/// BGSAVE's own write.
pub fn dump(config: &Config) -> BackgroundWrite {
    BackgroundWrite {
        kind: ChildKind::Rdb,
        path: dump_path(config),
        as_commands: false,
        on_shard: None,
        started: None,
        done: None,
    }
}

fn dump_path(config: &Config) -> PathBuf {
    PathBuf::from(std::ffi::OsStr::from_bytes(config.get(DBFILENAME)))
}

fn now_s() -> u64 {
    UnixMillis::now().0 / 1000
}

fn temporary(pid: i32) -> PathBuf {
    PathBuf::from(format!("temp-{pid}.rdb"))
}

fn temporary_base(pid: i32) -> PathBuf {
    PathBuf::from(format!("temp-rewriteaof-bg-{pid}.aof"))
}

fn options(shared: &Shared, config: &Config, aof_base: bool, access_clock: u32) -> SnapshotOptions {
    SnapshotOptions {
        compress: config.get(RDBCOMPRESSION),
        checksum: config.get(RDBCHECKSUM),
        aof_base,
        access: AccessNotes::None,
        key_delay_us: config.get(RDB_KEY_SAVE_DELAY),
        in_child: false,
        used_memory: shared.memory.observe().allocated,
        created_s: now_s(),
        access_clock,
    }
}

fn changes(shards: &[&Shard]) -> u64 {
    shards.iter().map(|shard| shard.effects.dirty()).sum()
}

/// Forks, with all shards at rest.
fn start(
    shared: &Arc<Shared>,
    config: &Config,
    shards: &[&Shard],
    write: BackgroundWrite,
    access_clock: u32,
) -> CommandResult {
    let status = &shared.persistence;
    let mut place = status.child();
    if place.is_some() {
        return Err(CommandError::Text("ERR Background save already in progress"));
    }
    let is_rdb = write.kind == ChildKind::Rdb;
    if is_rdb {
        status.tried(now_s());
        if let Err(taken) = status.place.occupy(config) {
            status.set_failed(true);
            shared.log.warning(format!("Can't save in background: {taken}"));
            return Err(CommandError::built(format!("ERR Can't save: {taken}")));
        }
    }
    let keys_total =
        shards.iter().flat_map(|shard| &shard.databases).map(|keyspace| keyspace.len() as u64).sum();
    let plan = ChildPlan {
        kind: write.kind,
        keys_total,
        changes: changes(shards),
        temporary: if is_rdb { temporary } else { temporary_base },
        done: write.done,
        cpus: cpu_list(config, is_rdb),
    };
    let options = SnapshotOptions { in_child: true, ..options(shared, config, !is_rdb, access_clock) };
    let frozen: Vec<Frozen<'_>> = shards.iter().map(|shard| Frozen::new(shard)).collect();
    let (path, as_commands) = (write.path, write.as_commands);
    let forked = child::fork(plan, |report, temporary| {
        let save = if as_commands { snapshot::save_as_commands } else { snapshot::save };
        let saved = save(&frozen, &path, temporary, &options, report);
        report.measure_cow(now_s());
        saved.inspect_err(|error| report.set_error(&error.to_string())).is_ok()
    });
    match forked {
        Ok((child, microseconds)) => {
            status.forked(microseconds, options.used_memory);
            status.began(now_s());
            let what = if is_rdb { "Background saving" } else { "Background append only file rewriting" };
            shared.log.notice(format!("{what} started by pid {}", child.pid));
            status.set_child(&mut place, Some(child));
            if let Some(started) = write.started {
                started(Ok(()));
            }
            Ok(())
        }
        Err(error) => {
            let reason = reason(&error);
            if is_rdb {
                status.place.leave();
                status.set_failed(true);
                shared.log.warning(format!("Can't save in background: fork: {reason}"));
            } else {
                shared.log.warning(format!("Can't rewrite append only file in background: fork: {reason}"));
            }
            if let Some(started) = write.started {
                started(Err(&error));
            }
            // The first is as bare in Redis.
            Err(CommandError::Text(if is_rdb { "ERR" } else { CANNOT_REWRITE }))
        }
    }
}

/// BGREWRITEAOF's answer to whatever the log tells more about.
pub const CANNOT_REWRITE: &str =
    "ERR Can't execute an AOF background rewriting. Please check the server logs for more information.";

fn cpu_list(config: &Config, is_rdb: bool) -> Vec<usize> {
    let list = config.get(if is_rdb { BGSAVE_CPULIST } else { AOF_REWRITE_CPULIST });
    let list = list.map(String::from_utf8_lossy);
    list.and_then(|list| crate::base::cpu_list::parse(&list)).unwrap_or_default()
}

/// SAVE: everybody waits while it is written.
pub fn foreground(core: &CoreState, reservation: Reservation) -> FrozenOrder {
    let (shared, config) = (core.shared.clone(), core.config.clone());
    let clock = core.shard.access_clock;
    FrozenOrder::new(move |shards, reply| {
        let _reservation = reservation;
        if shared.persistence.child_kind() == Some(ChildKind::Rdb) {
            return Err(CommandError::Text("ERR Background save already in progress"));
        }
        shared.persistence.counted();
        if !save_now(&shared, &config, shards, clock) {
            return Err(CommandError::Text("ERR"));
        }
        reply.ok();
        Ok(())
    })
}

/// As SAVE, but whatever a child is doing.
pub fn at_rest(core: &CoreState) -> FrozenOrder {
    let (shared, config) = (core.shared.clone(), core.config.clone());
    let clock = core.shard.access_clock;
    FrozenOrder::new(move |shards, reply| {
        if !save_now(&shared, &config, shards, clock) {
            return Err(CommandError::Text("ERR"));
        }
        reply.ok();
        Ok(())
    })
}

/// Writes the dump here and now; a failure is in the log.
fn save_now(shared: &Shared, config: &Config, shards: &[&Shard], access_clock: u32) -> bool {
    let frozen: Vec<Frozen<'_>> = shards.iter().map(|shard| Frozen::new(shard)).collect();
    let options = options(shared, config, false, access_clock);
    write_now(shared, config, &frozen, &options, changes(shards))
}

fn write_now(
    shared: &Shared,
    config: &Config,
    shards: &[Frozen<'_>],
    options: &SnapshotOptions,
    changes: u64,
) -> bool {
    if let Err(taken) = shared.persistence.place.occupy(config) {
        shared.log.warning(format!("Can't save: {taken}"));
        return false;
    }
    let report = Report::default();
    let own = temporary(std::process::id() as i32);
    let saved = snapshot::save(shards, &dump_path(config), &own, options, &report);
    shared.persistence.place.leave();
    warn_of_buffering(shared, report.buffered.load(Relaxed));
    match saved {
        Ok(()) => {
            shared.log.notice("DB saved on disk");
            let status = &shared.persistence;
            status.last_bytes.store(report.bytes.load(Relaxed), Relaxed);
            status.last_write_us.store(report.write_us.load(Relaxed), Relaxed);
            status.saved(changes, now_s());
            true
        }
        Err(error) => {
            shared.log.warning(error.to_string());
            false
        }
    }
}

fn warn_of_buffering(shared: &Shared, buffered: bool) {
    if buffered && shared.persistence.first_buffered() {
        shared.log.warning(
            "The file system of 'dir' refuses direct writes (O_DIRECT): snapshots are written through the page cache",
        );
    }
}

/// FLUSHALL has emptied everything, at which point the shards had counted these changes: with save points the dump
/// becomes empty too, and a dump of what was there before is not wanted any more.
pub fn flushed_all(core: &CoreState, changes: u64) {
    let shared = &core.shared;
    kill_dump(shared);
    if !core.config.get(SAVE).is_empty() {
        let options = options(shared, &core.config, false, core.shard.access_clock);
        write_now(shared, &core.config, &[], &options, changes);
    }
}

/// The child that writes a dump is told to stop, if there is one.
fn kill_dump(shared: &Shared) {
    if let Some(child) = shared.persistence.child().as_ref().filter(|child| child.kind == ChildKind::Rdb) {
        child.kill();
    }
}

/// How to stop.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Stop {
    pub save: bool,
    pub no_save: bool,
    /// Even if saving fails.
    pub force: bool,
}

/// Ends the server: at once, or with the order that writes a last snapshot first.
pub fn stop(core: &CoreState, stop: Stop) -> Option<FrozenOrder> {
    let shared = core.shared.clone();
    let wanted = stop.save || !stop.no_save && !core.config.get(SAVE).is_empty();
    if !wanted || core.settings.loading {
        end_child(&shared);
        let mode = if stop.no_save { ShutdownMode::NoSave } else { ShutdownMode::Default };
        shared.request_shutdown(mode);
        return None;
    }
    let config = core.config.clone();
    let clock = core.shard.access_clock;
    Some(FrozenOrder::new(move |shards, _| {
        end_child(&shared);
        shared.log.notice("Saving the final RDB snapshot before exiting.");
        if !save_now(&shared, &config, shards, clock) {
            if !stop.force {
                shared.stopping.store(false, Relaxed);
                shared.log.warning("Error trying to save the DB, can't exit.");
                shared
                    .log
                    .warning("Errors trying to shut down the server. Check the logs for more information.");
                return Err(CommandError::Text("ERR Errors trying to SHUTDOWN. Check logs."));
            }
            shared.log.warning("Error trying to save the DB. Exit anyway.");
        }
        shared.persistence.seal();
        shared.request_shutdown(ShutdownMode::Save);
        Ok(())
    }))
}

/// The end of the server is the end of its child.
pub fn end_child(shared: &Shared) {
    let status = &shared.persistence;
    let mut place = status.child();
    let Some(child) = place.take() else { return };
    status.set_child(&mut place, None);
    drop(place);
    if child.kind == ChildKind::Rdb {
        shared.log.warning("There is a child saving an .rdb. Killing it!");
    } else {
        shared.log.warning("There is a child rewriting the AOF. Killing it!");
    }
    child.kill();
    child.join();
    // It may have been renamed already.
    let _ = std::fs::remove_file(&child.temporary);
    status.place.leave();
}

/// The server ends in the middle of what it does: no half-written file is left.
pub fn abandon(shared: &Shared) {
    end_child(shared);
    // There is one if a core was saving.
    let _ = std::fs::remove_file(temporary(std::process::id() as i32));
}

/// The duties of the core that looks after saving; to be called once per turn.
pub fn look_after(core: &mut CoreState) {
    let status = &core.shared.persistence;
    if status.child_kind().is_some() {
        reap(core);
    }
    if core.shared.stop_signal.load(Relaxed) != 0 && !core.cron_paused {
        let signal = core.shared.stop_signal.swap(0, Relaxed);
        core.frozen_order = stop_on_signal(core, signal);
    }
}

/// Its rarer part, `hz` times a second: what is due by time.
pub fn look_after_time(core: &mut CoreState) {
    let status = &core.shared.persistence;
    if status.child_kind().is_some() || core.settings.loading || core.frozen_order.is_some() {
        return;
    }
    let now = core.now.unix.0 / 1000;
    let (tried_s, failed) = status.last_try();
    if failed && now.saturating_sub(tried_s) <= RETRY_S {
        return;
    }
    if status.scheduled.load(Relaxed) {
        if order_dump(core) {
            core.shared.persistence.scheduled.store(false, Relaxed);
        }
        return;
    }
    let (changes, since_s) = (status.unsaved_changes(), now.saturating_sub(status.last_save_s()));
    let points = core.config.get(SAVE);
    let due = points
        .iter()
        .find(|point| changes >= point.changes.max(0) as u64 && since_s > point.seconds.max(0) as u64);
    if let Some(point) = due {
        core.shared.log.notice(format!("{} changes in {} seconds. Saving...", point.changes, point.seconds));
        order_dump(core);
    }
}

fn order_dump(core: &mut CoreState) -> bool {
    let Some(reservation) = Reservation::take(&core.shared) else { return false };
    core.frozen_order = Some(background(core, reservation, dump(&core.config)));
    true
}

fn stop_on_signal(core: &CoreState, signal: u8) -> Option<FrozenOrder> {
    let choices = match i32::from(signal) {
        libc::SIGINT => core.config.get(SHUTDOWN_ON_SIGINT),
        _ => core.config.get(SHUTDOWN_ON_SIGTERM),
    };
    stop(core, Stop { save: choices.save, no_save: choices.no_save, force: choices.force })
}

/// Sees whether the child has ended, and what that means.
fn reap(core: &mut CoreState) {
    let shared = core.shared.clone();
    let status = &shared.persistence;
    let mut place = status.child();
    let Some(ended) = place.as_ref().and_then(Child::poll) else { return };
    let child = place.take().expect("it has just been asked");
    status.children_over.fetch_add(1, Relaxed);
    status.set_child(&mut place, None);
    drop(place);
    if !ended.succeeded {
        let _ = std::fs::remove_file(&child.temporary);
    }
    warn_of_buffering(&shared, ended.buffered);
    let cow_place = match child.kind {
        ChildKind::Rdb => &status.last_cow_bytes,
        ChildKind::AofBase => &status.aof_last_cow_bytes,
    };
    cow_place.store(ended.cow_bytes, Relaxed);
    if child.kind == ChildKind::Rdb {
        status.place.leave();
        dump_ended(&shared, &child, &ended);
    }
    if let Some(done) = child.done {
        done(core, &ended);
    }
}

fn dump_ended(shared: &Shared, child: &Child, ended: &Ended) {
    let status = &shared.persistence;
    let now = now_s();
    status.ended(now);
    if ended.succeeded {
        let megabytes = ended.cow_bytes >> 20;
        shared
            .log
            .notice(format!("Background saving terminated with success ({megabytes} MB copied on write)"));
        status.last_bytes.store(ended.bytes, Relaxed);
        status.last_write_us.store(ended.write_us, Relaxed);
        status.saved(child.changes, now);
        return;
    }
    if !ended.error.is_empty() {
        shared.log.warning(&ended.error);
    }
    match ended.signal {
        Some(signal) => shared.log.warning(format!("Background saving terminated by signal {signal}")),
        None => shared.log.warning("Background saving error"),
    }
    if !ended.killed {
        status.set_failed(true);
    }
}
