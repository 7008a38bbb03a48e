//! One core's append-only file: carries the journal's records to the core's own ring, and the news to the other cores.
//!
//! At the end of each turn: records are taken from the journal, what the log wants done is handed to the ring, and those who
//! wait for it are told what has become durable. With `appendfsync always` replies wait for that ([`Acknowledge`]), and a
//! core that has done something on a borrowed shard writes it down there itself: the shard's log is lent with it, and any
//! core's ring can write to any segment. Otherwise a core that is slow to come to its CPU would be waited for twice.
//! What such a write has come to goes to the log if that can be borrowed again, else as an [`Errand`] to its own core.
//!
//! [`Acknowledge`]: crate::session::Acknowledge

use crate::config::choices::AppendFsync;
use crate::config::parameter::{APPENDFSYNC, NO_APPENDFSYNC_ON_REWRITE};
use crate::disk::{AlignedBuffer, WriteSync};
use crate::dispatch::Dispatch;
use crate::net::{FileId, Ring};
use crate::persistence::aof::ahead::{PIECE_BYTES, Zeros};
use crate::persistence::aof::appender::{Appender, Errand};
use crate::persistence::aof::log::Log;
use crate::persistence::aof::segment::{Action, Completion, Policy};
use crate::persistence::append_only::WAITING_BYTES_MAX;
use crate::session::{CoreState, Partition, Shared};
use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

#[derive(Default)]
pub struct AppendOnly {
    files: OpenSegments,
    policy: Option<Policy>,
    failing: bool,
    /// The limit of what may wait is reached here.
    full: bool,
    /// What has come to an end while nobody was to hear of it.
    unheard: Vec<(FileId, Completion)>,
}

/// The segments that are open on this core's ring: the own shard's, and those of shards that were borrowed.
#[derive(Default)]
struct OpenSegments {
    open: Vec<Segment>,
    /// No segment of an earlier generation is open.
    closed_before: u64,
    /// What is written ahead of the records.
    zeros: Option<AlignedBuffer>,
}

struct Segment {
    shard: usize,
    generation: u64,
    file: FileId,
    /// The same file: zeros are written beside the records.
    ahead: FileId,
    /// Operations of this core's ring.
    under_way: u32,
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
    let now_ms = now_ms(core);
    core.shard.appender.begin(generation, run, policy, now_ms);
    core.acknowledge.switch(policy == Policy::Always);
}

impl AppendOnly {
    /// An operation of a segment is over.
    pub fn completed(
        &mut self,
        core: &mut CoreState,
        dispatch: &mut Dispatch,
        ring: &mut Ring,
        file: FileId,
        mut completion: Completion,
    ) {
        if core.shared.append_only.planted_stall.load(Relaxed) {
            self.unheard.push((file, completion));
            return;
        }
        let Some((shard, generation, is_ahead)) = self.files.over(file) else { return };
        let errand = if is_ahead {
            self.files.zeros = completion.buffer;
            Errand::Zeros { generation, written: completion.written }
        } else {
            let planted = core.shared.append_only.planted_sync_error.load(Relaxed);
            if planted != 0 {
                completion.synced = completion.synced.map(|_| Err(planted));
            }
            Errand::Written { generation, completion }
        };
        if shard == core.index {
            let now_ms = now_ms(core);
            carry_out(&mut core.shard.appender, errand, now_ms);
        } else {
            self.carry_out_elsewhere(core, dispatch, ring, shard, errand);
        }
    }

    /// What has happened to a segment of another shard, which is borrowed for it, if that can be had and all is well.
    fn carry_out_elsewhere(
        &mut self,
        core: &mut CoreState,
        dispatch: &mut Dispatch,
        ring: &mut Ring,
        shard: usize,
        errand: Errand,
    ) {
        let now_ms = now_ms(core);
        let shared = &core.shared;
        let waited_for = core.acknowledge.is_on();
        // Its own core waits for the end then.
        let is_ending = !shared.append_only.enabled.load(Relaxed) || shared.shutdown_requested().is_some();
        let done = dispatch.with_borrowed(shard, errand, |partition, errand| {
            let is_simple = match &errand {
                Errand::Written { completion, .. } => {
                    partition.appender.can_be_completed_by_others(completion)
                }
                _ => partition.appender.is_calm(),
            };
            if !is_simple || is_ending {
                return Err(errand);
            }
            carry_out(&mut partition.appender, errand, now_ms);
            let is_well = self.files.write(shared, ring, shard, partition, now_ms);
            Ok((partition.appender.news(waited_for), is_well))
        });
        match done {
            Ok(Ok((news, is_well))) => {
                if let Some(news) = news {
                    dispatch.tell_durable(core, &news);
                }
                if !is_well {
                    dispatch.leave(shard, Errand::Look);
                }
            }
            Ok(Err(errand)) | Err(errand) => dispatch.leave(shard, errand),
        }
        if !core.shard.appender.is_on() {
            // Switched off meanwhile: this was left open for it.
            self.files.close_before(ring, u64::MAX);
        }
    }

    /// Takes in what other cores have left to this one, and tells those who wait what has become durable.
    pub fn tell(core: &mut CoreState, dispatch: &mut Dispatch) {
        let now_ms = now_ms(core);
        for errand in std::mem::take(&mut core.errands) {
            carry_out(&mut core.shard.appender, errand, now_ms);
        }
        let waited_for = core.acknowledge.is_on();
        if let Some(news) = core.shard.appender.news(waited_for) {
            dispatch.tell_durable(core, &news);
        }
    }

    /// The last thing of a turn; whether something is left to other cores by that.
    pub fn end_turn(&mut self, core: &mut CoreState, dispatch: &mut Dispatch, ring: &mut Ring) -> bool {
        for (file, completion) in std::mem::take(&mut self.unheard) {
            self.completed(core, dispatch, ring, file, completion);
        }
        self.write_own(core, ring);
        self.write_borrowed(core, dispatch, ring)
    }

    fn write_own(&mut self, core: &mut CoreState, ring: &mut Ring) {
        let is_enabled = core.shared.append_only.enabled.load(Relaxed);
        if core.shard.appender.is_on() && !is_enabled {
            return self.drain(core, ring);
        }
        if !core.shard.effects.journal.is_on() || !is_enabled {
            return;
        }
        if !core.shard.appender.is_on() {
            begin(core);
        }
        let policy = policy(core);
        let now_ms = now_ms(core);
        if self.policy.replace(policy) != Some(policy) {
            core.shard.appender.log().expect("it is on").set_policy(policy);
            core.acknowledge.switch(policy == Policy::Always);
        }
        self.files.write(&core.shared, ring, core.index, &mut core.shard, now_ms);
        let log = core.shard.appender.log().expect("it is on");
        self.files.close_before(ring, log.oldest_generation());
        self.show(core);
    }

    /// What was done on borrowed shards, and replies wait for.
    fn write_borrowed(&mut self, core: &mut CoreState, dispatch: &mut Dispatch, ring: &mut Ring) -> bool {
        let now_ms = now_ms(core);
        let mut leaves = false;
        while let Some(shard) = dispatch.next_journalled() {
            let written = dispatch.with_borrowed(shard, (), |partition, ()| {
                partition.appender.is_calm() && self.files.write(&core.shared, ring, shard, partition, now_ms)
            });
            if written != Ok(true) {
                dispatch.leave(shard, Errand::Look);
                leaves = true;
            }
        }
        leaves
    }

    /// The file was switched off: what was journalled before is written to its end.
    fn drain(&mut self, core: &mut CoreState, ring: &mut Ring) {
        self.set_full(core, false);
        let now_ms = now_ms(core);
        if core.shard.effects.journal.is_on() {
            core.shard.collect(true, now_ms);
            core.shard.effects.journal.stop();
            core.shard.appender.log().expect("it is on").hurry();
            core.acknowledge.switch(false);
            core.shared.append_only.cores[core.index].draining.store(true, Relaxed);
        } else {
            // It may have been suspended, and is not to go on.
            core.shard.effects.journal.stop();
        }
        let log = core.shard.appender.log().expect("it is on");
        self.files.act(&core.shared, ring, core.index, log, now_ms);
        // Nobody was promised that what cannot be written will be.
        if !log.is_durable() && log.error().is_none() || log.is_busy() {
            return;
        }
        core.shard.appender.end();
        core.shared.positions.forget(core.index);
        self.policy = None;
        self.failing = false;
        self.files.close_before(ring, u64::MAX);
        self.files.zeros = None;
        let figures = &core.shared.append_only.cores[core.index];
        figures.error.store(0, Relaxed);
        figures.bytes.store(0, Relaxed);
        figures.syncing.store(false, Relaxed);
        figures.draining.store(false, Relaxed);
    }

    /// For INFO and for the guard of writes.
    fn show(&mut self, core: &mut CoreState) {
        let log = core.shard.appender.log().expect("it is on");
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

    /// How long the core may sleep.
    pub fn due_in(&self, core: &mut CoreState) -> Duration {
        let now_ms = now_ms(core);
        let due = core.shard.appender.log().and_then(|log| log.due_at_ms());
        due.map_or(Duration::MAX, |due| Duration::from_millis(due.saturating_sub(now_ms)))
    }

    /// Before the server ends: whether everything is durable, and nobody waits for what this core's ring does.
    pub fn wind_down(&mut self, core: &mut CoreState, dispatch: &mut Dispatch, ring: &mut Ring) -> bool {
        if let Some(log) = core.shard.appender.log() {
            log.hurry();
            self.end_turn(core, dispatch, ring);
        }
        let is_over = |log: &mut Log| log.is_durable() || log.error().is_some();
        core.shard.appender.log().is_none_or(is_over) && !self.files.has_foreign_under_way(core.index)
    }
}

/// Tells a log what has become of its segments.
fn carry_out(appender: &mut Appender, errand: Errand, now_ms: u64) {
    let Some(log) = appender.log() else { return };
    match errand {
        Errand::Written { generation, completion } => log.completed(generation, completion, now_ms),
        Errand::Zeros { generation, written } => log.zeros_written(generation, written, now_ms),
        Errand::Look => {}
    }
}

impl OpenSegments {
    /// An operation is over: which shard's and generation's, and whether it was that of zeros ahead.
    fn over(&mut self, file: FileId) -> Option<(usize, u64, bool)> {
        let is_of = |segment: &&mut Segment| segment.file == file || segment.ahead == file;
        let segment = self.open.iter_mut().find(is_of)?;
        segment.under_way -= 1;
        Some((segment.shard, segment.generation, segment.ahead == file))
    }

    /// Writes what a shard has journalled, as far as that is due; whether all of it could be handed to the ring.
    fn write(
        &mut self,
        shared: &Shared,
        ring: &mut Ring,
        shard: usize,
        partition: &mut Partition,
        now_ms: u64,
    ) -> bool {
        partition.collect(false, now_ms);
        let log = partition.appender.log().expect("it is on");
        self.act(shared, ring, shard, log, now_ms)
    }

    /// Hands the ring what a shard's log wants done; whether all of it could be.
    fn act(&mut self, shared: &Shared, ring: &mut Ring, shard: usize, log: &mut Log, now_ms: u64) -> bool {
        let mut is_well = true;
        while let Some((generation, action)) = log.next(now_ms) {
            match self.segment(shared, ring, shard, generation) {
                Ok(segment) => {
                    segment.under_way += 1;
                    match action {
                        Action::Write { at, buffer, bytes, sync } => {
                            ring.write_file(segment.file, at, buffer, bytes, sync);
                        }
                        Action::Sync => ring.sync_file(segment.file),
                    }
                }
                Err(error) => {
                    is_well = false;
                    log.completed(generation, failed(action, &error), now_ms);
                }
            }
        }
        self.write_zeros(ring, shard, log, now_ms);
        is_well
    }

    /// Ahead of the records, if that is of use and the segment is open.
    fn write_zeros(&mut self, ring: &mut Ring, shard: usize, log: &mut Log, now_ms: u64) {
        let Some(segment) = find(&mut self.open, shard, log.generation()) else { return };
        let Some((_, Zeros { at, bytes })) = log.next_zeros(now_ms) else { return };
        let buffer = self.zeros.take().unwrap_or_else(|| {
            let mut buffer = AlignedBuffer::default();
            buffer.extend_from_slice(&vec![0; PIECE_BYTES]);
            buffer
        });
        segment.under_way += 1;
        ring.write_file(segment.ahead, at, buffer, bytes, WriteSync::Nothing);
    }

    fn segment(
        &mut self,
        shared: &Shared,
        ring: &mut Ring,
        shard: usize,
        generation: u64,
    ) -> io::Result<&mut Segment> {
        if find(&mut self.open, shard, generation).is_none() {
            let files = shared.append_only.files().expect("the file is on");
            let name = files.store.segment_name(generation, shard as u32);
            let opened = files.store.disk().open_for_append(&name)?;
            if !opened.is_direct && shared.append_only.first_buffered() {
                shared.log.warning(
                    "The file system of 'appenddirname' refuses direct writes (O_DIRECT): the append only file \
                     is written through the page cache",
                );
            }
            let ahead = ring.attach_file(opened.file.try_clone()?);
            let file = ring.attach_file(opened.file);
            self.open.push(Segment { shard, generation, file, ahead, under_way: 0 });
        }
        Ok(find(&mut self.open, shard, generation).expect("it is open now"))
    }

    /// Closes what has been replaced, as far as nothing is under way there. The segments of all shards begin and end
    /// together, so the own log tells; should another shard be late with one of its own, that is opened again.
    fn close_before(&mut self, ring: &mut Ring, generation: u64) {
        if self.closed_before == generation {
            return;
        }
        let mut stays = false;
        self.open.retain(|segment| {
            let is_replaced = segment.generation < generation;
            if is_replaced && segment.under_way == 0 {
                ring.close_file(segment.file);
                ring.close_file(segment.ahead);
                return false;
            }
            stays |= is_replaced;
            true
        });
        if !stays {
            self.closed_before = generation;
        }
    }

    /// Whether other cores may wait for what this one's ring does.
    fn has_foreign_under_way(&self, own: usize) -> bool {
        self.open.iter().any(|segment| segment.shard != own && segment.under_way > 0)
    }
}

fn find(open: &mut [Segment], shard: usize, generation: u64) -> Option<&mut Segment> {
    open.iter_mut().find(|segment| segment.shard == shard && segment.generation == generation)
}

/// A segment that cannot be opened is one that cannot be written: the log tries again after a while.
fn failed(action: Action, error: &io::Error) -> Completion {
    let error = error.raw_os_error().unwrap_or(libc::EIO);
    match action {
        Action::Write { buffer, .. } => {
            Completion { buffer: Some(buffer), written: Err(error), synced: None }
        }
        Action::Sync => Completion { buffer: None, written: Ok(0), synced: Some(Err(error)) },
    }
}
