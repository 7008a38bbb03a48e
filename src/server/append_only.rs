//! One core's append-only file: carries the journal's records to the core's own ring, and the news to the other cores.
//!
//! At the end of each turn: records are taken from the journal, what the log wants done is handed to the ring, and the other
//! cores are told what has become durable. With `appendfsync always` replies wait for that ([`Acknowledge`]), and the
//! core lends its shard to nobody: a borrower would reply to its client before this core has written.
//!
//! [`Acknowledge`]: crate::session::Acknowledge

use crate::config::choices::AppendFsync;
use crate::config::parameter::{APPENDFSYNC, NO_APPENDFSYNC_ON_REWRITE};
use crate::disk::{AlignedBuffer, WriteSync};
use crate::dispatch::Dispatch;
use crate::net::{FileId, Ring};
use crate::persistence::aof::ahead::{PIECE_BYTES, Zeros};
use crate::persistence::aof::segment::{Action, Completion, Policy};
use crate::persistence::append_only::WAITING_BYTES_MAX;
use crate::session::CoreState;
use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// After a failure to open a segment.
const REOPEN_MS: u64 = 1000;

#[derive(Default)]
pub struct AppendOnly {
    /// The segments that are open.
    files: Vec<Segment>,
    /// What is written ahead of the records.
    zeros: Option<AlignedBuffer>,
    policy: Option<Policy>,
    failing: bool,
    /// The limit of what may wait is reached here.
    full: bool,
    /// What has come to an end while nobody was to hear of it.
    unheard: Vec<(FileId, Completion)>,
    /// A segment could not be opened: until when nothing is tried, and what was to be done.
    postponed: Option<(u64, u64, Action)>,
}

struct Segment {
    generation: u64,
    file: FileId,
    /// The same file: zeros are written beside the records.
    ahead: FileId,
}

fn policy(core: &CoreState) -> Policy {
    let rewriting =
        core.config.get(NO_APPENDFSYNC_ON_REWRITE) && core.shared.persistence.child_kind().is_some();
    match core.config.get(APPENDFSYNC) {
        _ if rewriting => Policy::No,
        AppendFsync::Always => Policy::Always,
        AppendFsync::EverySecond => Policy::EverySecond,
        AppendFsync::No => Policy::No,
    }
}

fn now_ms(core: &CoreState) -> u64 {
    core.now.monotonic_ns / 1_000_000
}

/// Begins the journal and the file with it.
pub fn start(core: &mut CoreState) {
    core.shard.effects.journal.start(0);
    begin(core);
}

/// The file is on from the next record on: to be called before anything is journalled, with the journal started.
pub fn begin(core: &mut CoreState) {
    let (generation, run) = {
        let shared = &core.shared.append_only;
        (shared.generation.load(Relaxed), shared.run.load(Relaxed))
    };
    let policy = policy(core);
    core.acknowledge.restart();
    core.appender.begin(generation, run, policy, now_ms(core));
    core.acknowledge.switch(policy == Policy::Always);
}

impl Segment {
    fn close(self, ring: &mut Ring) {
        ring.close_file(self.file);
        ring.close_file(self.ahead);
    }
}

impl AppendOnly {
    /// An operation of a segment is over.
    pub fn completed(
        &mut self,
        core: &mut CoreState,
        ring: &mut Ring,
        file: FileId,
        mut completion: Completion,
    ) {
        if core.shared.append_only.planted_stall.load(Relaxed) {
            self.unheard.push((file, completion));
            return;
        }
        let is_of = |segment: &&Segment| segment.file == file || segment.ahead == file;
        let Some(&Segment { generation, ahead, .. }) = self.files.iter().find(is_of) else { return };
        if file == ahead {
            self.zeros = completion.buffer;
            let now_ms = now_ms(core);
            if let Some(log) = core.appender.log() {
                log.zeros_written(generation, completion.written, now_ms);
            }
            return;
        }
        let planted = core.shared.append_only.planted_sync_error.load(Relaxed);
        if planted != 0 {
            completion.synced = completion.synced.map(|_| Err(planted));
        }
        let now_ms = now_ms(core);
        for complete in core.appender.completed(generation, completion, now_ms) {
            self.close(ring, complete);
        }
    }

    fn close(&mut self, ring: &mut Ring, generation: u64) {
        if let Some(index) = self.files.iter().position(|segment| segment.generation == generation) {
            self.files.swap_remove(index).close(ring);
        }
    }

    /// The last thing of a turn.
    pub fn end_turn(&mut self, core: &mut CoreState, ring: &mut Ring) {
        let is_enabled = core.shared.append_only.enabled.load(Relaxed);
        if !self.unheard.is_empty() {
            std::mem::take(&mut self.unheard)
                .into_iter()
                .for_each(|(file, completion)| self.completed(core, ring, file, completion));
        }
        if core.appender.is_on() && !is_enabled {
            return self.drain(core, ring);
        }
        if !core.shard.effects.journal.is_on() || !is_enabled {
            return;
        }
        if !core.appender.is_on() {
            begin(core);
        }
        let policy = policy(core);
        let now_ms = now_ms(core);
        let CoreState { appender, shard, .. } = core;
        if self.policy.replace(policy) != Some(policy) {
            appender.log().expect("it is on").set_policy(policy);
            core.acknowledge.switch(policy == Policy::Always);
        }
        appender.collect(&mut shard.effects.journal, false, now_ms);
        self.act(core, ring, now_ms);
        self.write_zeros(core, ring, now_ms);
        self.show(core);
    }

    /// The file was switched off: what was journalled before is written to its end.
    fn drain(&mut self, core: &mut CoreState, ring: &mut Ring) {
        self.set_full(core, false);
        let now_ms = now_ms(core);
        let CoreState { appender, shard, .. } = core;
        let journal = &mut shard.effects.journal;
        if journal.is_on() {
            appender.collect(journal, true, now_ms);
            journal.stop();
            appender.log().expect("it is on").hurry();
            core.acknowledge.switch(false);
            core.shared.append_only.cores[core.index].draining.store(true, Relaxed);
        } else {
            // It may have been suspended, and is not to go on.
            journal.stop();
        }
        self.act(core, ring, now_ms);
        let log = core.appender.log().expect("it is on");
        // Nobody was promised that what cannot be written will be.
        if !log.is_durable() && log.error().is_none() || log.is_busy() {
            return;
        }
        core.appender.end();
        self.policy = None;
        self.postponed = None;
        self.failing = false;
        self.files.drain(..).for_each(|segment| segment.close(ring));
        self.zeros = None;
        let figures = &core.shared.append_only.cores[core.index];
        figures.error.store(0, Relaxed);
        figures.bytes.store(0, Relaxed);
        figures.syncing.store(false, Relaxed);
        figures.draining.store(false, Relaxed);
    }

    fn act(&mut self, core: &mut CoreState, ring: &mut Ring, now_ms: u64) {
        loop {
            let (generation, action) = match self.postponed.take() {
                Some((until_ms, generation, action)) if until_ms > now_ms => {
                    self.postponed = Some((until_ms, generation, action));
                    return;
                }
                Some((_, generation, action)) => (generation, action),
                None => match core.appender.log().expect("it is on").next(now_ms) {
                    Some(next) => next,
                    None => return,
                },
            };
            match self.file(core, ring, generation) {
                Ok(file) => match action {
                    Action::Write { at, buffer, bytes, sync } => {
                        ring.write_file(file, at, buffer, bytes, sync);
                    }
                    Action::Sync => ring.sync_file(file),
                },
                Err(error) => {
                    let text = format!("Can't open a segment of the append only file: {error}");
                    core.shared.log.warning(text);
                    self.postponed = Some((now_ms + REOPEN_MS, generation, action));
                    return;
                }
            }
        }
    }

    /// Ahead of the records, if that is of use and the segment is open.
    fn write_zeros(&mut self, core: &mut CoreState, ring: &mut Ring, now_ms: u64) {
        let log = core.appender.log().expect("it is on");
        let Some(segment) = self.files.iter().find(|segment| segment.generation == log.generation()) else {
            return;
        };
        let Some((_, Zeros { at, bytes })) = log.next_zeros(now_ms) else { return };
        let buffer = self.zeros.take().unwrap_or_else(|| {
            let mut buffer = AlignedBuffer::default();
            buffer.extend_from_slice(&vec![0; PIECE_BYTES]);
            buffer
        });
        ring.write_file(segment.ahead, at, buffer, bytes, WriteSync::Nothing);
    }

    fn file(&mut self, core: &CoreState, ring: &mut Ring, generation: u64) -> io::Result<FileId> {
        if let Some(segment) = self.files.iter().find(|segment| segment.generation == generation) {
            return Ok(segment.file);
        }
        let shared = &core.shared.append_only;
        let files = shared.files().expect("the file is on");
        let name = files.store.segment_name(generation, core.index as u32);
        let opened = files.store.disk().open_for_append(&name)?;
        if !opened.is_direct && shared.first_buffered() {
            core.shared.log.warning(
                "The file system of 'appenddirname' refuses direct writes (O_DIRECT): the append only file is \
                 written through the page cache",
            );
        }
        let ahead = ring.attach_file(opened.file.try_clone()?);
        let file = ring.attach_file(opened.file);
        self.files.push(Segment { generation, file, ahead });
        Ok(file)
    }

    /// For INFO and for the guard of writes.
    fn show(&mut self, core: &mut CoreState) {
        let log = core.appender.log().expect("it is on");
        let figures = &core.shared.append_only.cores[core.index];
        figures.bytes.store(log.size(), Relaxed);
        let waiting_bytes = log.waiting_bytes() as u64;
        figures.waiting_bytes.store(waiting_bytes, Relaxed);
        figures.syncing.store(log.is_syncing(), Relaxed);
        figures.syncs_slow.store(log.syncs_slow(), Relaxed);
        let error = log.error().unwrap_or(0);
        figures.error.store(error, Relaxed);
        let least = if self.full { WAITING_BYTES_MAX / 2 } else { WAITING_BYTES_MAX };
        self.set_full(core, waiting_bytes > least);
        let is_failing = error != 0;
        if is_failing != self.failing {
            self.failing = is_failing;
            let index = core.index;
            core.shared.log.warning(if is_failing {
                let reason = io::Error::from_raw_os_error(error);
                format!("Core {index}: writing the append only file has failed: {reason}. Writes are refused until it succeeds")
            } else {
                format!("Core {index}: the append only file is written again")
            });
        }
    }

    fn set_full(&mut self, core: &CoreState, full: bool) {
        if std::mem::replace(&mut self.full, full) == full {
            return;
        }
        core.shared.append_only.set_full(full);
        if full {
            core.shared.log.notice(format!(
                "Core {}: the append only file is {} MB behind (disk is busy?). Writes wait until it has caught up",
                core.index,
                WAITING_BYTES_MAX >> 20
            ));
        }
    }

    /// Tells the other cores, and this one's clients, what has become durable.
    pub fn tell(core: &mut CoreState, dispatch: &mut Dispatch) {
        let Some(news) = core.appender.news(core.acknowledge.is_on()) else { return };
        let released = core.appender.released();
        core.acknowledge.released(core.index, released);
        dispatch.tell_durable(&news);
    }

    /// How long the core may sleep.
    pub fn due_in(&self, core: &mut CoreState) -> Duration {
        if let Some((until_ms, ..)) = self.postponed {
            return Duration::from_millis(until_ms.saturating_sub(now_ms(core)).max(1));
        }
        let now_ms = now_ms(core);
        let due = core.appender.log().and_then(|log| log.due_at_ms());
        due.map_or(Duration::MAX, |due| Duration::from_millis(due.saturating_sub(now_ms)))
    }

    /// Before the server ends: whether everything is durable.
    pub fn wind_down(&mut self, core: &mut CoreState, ring: &mut Ring) -> bool {
        if !core.appender.is_on() {
            return true;
        }
        if let Some(log) = core.appender.log() {
            log.hurry();
        }
        self.end_turn(core, ring);
        core.appender.log().is_none_or(|log| log.is_durable() || log.error().is_some())
    }
}
