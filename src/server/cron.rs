//! The periodic duties of a core: active expiry, freeing, idle clients, `hz` times a second.
//!
//! Each round has a budget of time; what does not fit waits for the next, and meanwhile requests are served.

use crate::base::clock;
use crate::client::ClientKey;
use crate::observability::{BufferPeaks, LatencyEvent};
use crate::persistence::{rewrite, save};
use crate::session::CoreState;
use crate::shard::Maintenance;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Share of a core's time that active expiry may take, in percent, and what each step of effort adds.
const EXPIRE_PERCENT: u64 = 25;
const EXPIRE_PERCENT_PER_EFFORT: u64 = 2;
/// Expiry works in pieces of this length, so that requests wait no longer.
const PIECE_NS: u64 = 500_000;
/// Time of one round for mending memory behind a snapshot.
const MEND_NS: u64 = 1_000_000;
/// A huge page that takes longer to get may be one for which the kernel must move others. If so many of them do in a row,
/// mending is not worth it until the next snapshot; one may have had to wait for something else.
const MEND_LONG_NS: u64 = 5_000_000;
const MEND_LONG_MAX: u32 = 3;

/// How often a core with clients that wait for the append-only file looks whether they may go on.
const WRITES_WAIT_LOOK: Duration = Duration::from_millis(5);

pub struct Cron {
    next_ns: u64,
    /// When clients were last looked at.
    clients_ns: u64,
    /// Time left to expiry in the current round.
    expire_left_ns: u64,
    expire_spent_ns: u64,
    /// The snapshots behind which the memory has been mended, or is being.
    mended: u64,
    mending: Option<Mending>,
}

#[derive(Default)]
struct Mending {
    /// Where it goes on.
    at: usize,
    /// Pages in a row that took long.
    long: u32,
}

impl Mending {
    /// Whether it is worth to go on behind a page that took so long.
    fn goes_on_after(&mut self, nanoseconds: u64) -> bool {
        self.long = if nanoseconds > MEND_LONG_NS { self.long + 1 } else { 0 };
        self.long < MEND_LONG_MAX
    }
}

impl Cron {
    pub fn new(core: &CoreState) -> Self {
        let now = core.now.monotonic_ns;
        Self {
            next_ns: now,
            clients_ns: now,
            expire_left_ns: 0,
            expire_spent_ns: 0,
            mended: 0,
            mending: None,
        }
    }

    /// How long the core may sleep.
    pub fn due_in(&self, core: &CoreState) -> Duration {
        let periodic = Duration::from_nanos(self.next_ns.saturating_sub(core.now.monotonic_ns));
        // Nobody else notices the end of a child.
        let watches = core.index == 0 && core.shared.persistence.child_kind().is_some();
        let periodic =
            if watches { periodic.min(Duration::from_nanos(save::CHILD_LOOK_NS)) } else { periodic };
        let periodic = match core.waits.next_deadline() {
            Some(due_ns) => periodic.min(Duration::from_nanos(due_ns.saturating_sub(core.now.monotonic_ns))),
            None => periodic,
        };
        if core.paused.is_empty() {
            return periodic;
        }
        // Nobody else wakes the core when another one has written what is waited for, or CLIENT PAUSE runs out.
        if core.settings.writes_wait {
            return periodic.min(WRITES_WAIT_LOOK);
        }
        let pause_ms = core.shared.pause.until_ms().saturating_sub(core.now.unix.0);
        periodic.min(Duration::from_millis(pause_ms))
    }

    /// Does what is due; whether there is more that should not wait for the next round.
    pub fn run(&mut self, core: &mut CoreState) -> bool {
        let now = core.now.monotonic_ns;
        core.shared.persistence.tell_changes(core.index, core.shard.effects.dirty());
        if core.index == 0 {
            save::look_after(core);
        }
        if core.cron_paused {
            // The loop goes on, for whoever is served by it.
            self.next_ns = now + 100_000_000;
            return false;
        }
        core.rates.look(now, &core.counters);
        let period = 1_000_000_000 / u64::from(core.settings.hz.max(1));
        if now >= self.next_ns {
            self.next_ns = now + period;
            let effort = u64::from(core.settings.shard.active_expire_effort.saturating_sub(1));
            let percent = EXPIRE_PERCENT + EXPIRE_PERCENT_PER_EFFORT * effort;
            self.expire_left_ns = period / 100 * percent;
            self.expire_spent_ns = 0;
            if core.index == 0 {
                save::look_after_time(core);
                rewrite::look_after_time(core);
            }
            self.mend(core);
            if now >= self.clients_ns + 1_000_000_000 {
                self.clients_ns = now;
                look_after_clients(core);
                core.shard.slab.settle();
            }
        }
        let freeing = core.shard.free_slice() == Maintenance::More;
        // As in Redis, CLIENT PAUSE and loading hold the data still: what expires meanwhile is removed after it.
        let still = core.settings.paused || core.settings.loading;
        (!still && self.expire(core)) || freeing
    }

    /// A piece of what a snapshot leaves to do: pages that were copied on write become huge pages again, so that the
    /// next fork is as short as the last.
    fn mend(&mut self, core: &CoreState) {
        let over = core.shared.persistence.children_over.load(Ordering::Relaxed);
        if over != self.mended {
            (self.mended, self.mending) = (over, Some(Mending::default()));
        }
        let Some(mending) = &mut self.mending else { return };
        // A child that shares the pages keeps them from being mended.
        if core.shared.persistence.child_kind().is_some() {
            return;
        }
        let start = clock::Monotonic::now().0;
        let mut before = start;
        while core.shard.slab.mend(&mut mending.at) {
            let now = clock::Monotonic::now().0;
            if !mending.goes_on_after(now - before) {
                break;
            }
            if now - start > MEND_NS {
                return;
            }
            before = now;
        }
        self.mending = None;
    }

    /// A piece of active expiry; whether another piece would find work.
    fn expire(&mut self, core: &mut CoreState) -> bool {
        if self.expire_left_ns == 0 {
            return false;
        }
        let start = clock::Monotonic::now().0;
        let budget = self.expire_left_ns.min(PIECE_NS);
        loop {
            let more = core.shard.expire_slice(core.now.unix) == Maintenance::More;
            // Somebody may wait for a stream that has just expired.
            if core.shard.effects.is_minded() {
                core.shard.serve_again(core.now.unix);
            }
            let spent = clock::Monotonic::now().0 - start;
            if more && spent < budget {
                continue;
            }
            self.expire_spent_ns += spent;
            core.counters.expire_cycle_ns += spent;
            self.expire_left_ns = if more { self.expire_left_ns.saturating_sub(spent) } else { 0 };
            if more && self.expire_left_ns == 0 {
                core.shard.stats.expired_time_cap_reached += 1;
            }
            if self.expire_left_ns == 0 {
                self.note_latency(core);
            }
            return self.expire_left_ns > 0;
        }
    }

    fn note_latency(&self, core: &mut CoreState) {
        let milliseconds = self.expire_spent_ns / 1_000_000;
        let threshold = core.settings.latency_threshold_ms;
        if threshold > 0 && milliseconds >= threshold {
            core.latency.record(LatencyEvent::ExpireCycle, core.now.unix.0 / 1000, milliseconds);
        }
    }
}

/// Once a second: clients that have been idle for longer than `timeout`, and soft output limits.
fn look_after_clients(core: &mut CoreState) {
    let (now, timeout_s) = (core.now.unix, core.settings.timeout_s);
    let (mut gone, mut over_limit): (Vec<ClientKey>, Vec<ClientKey>) = Default::default();
    let settings = &core.settings;
    let mut peaks = BufferPeaks::default();
    for (key, client) in core.clients.iter_mut() {
        // In whole seconds, as Redis counts them.
        let idle_s = (now.0 / 1000).saturating_sub(client.last_interaction.0 / 1000);
        let waits = client.monitor || client.blocked.is_some() || !client.in_flight.is_idle();
        let idle = timeout_s > 0 && idle_s > timeout_s && !waits;
        let pending = client.output_bytes();
        peaks.input = peaks.input.max((client.query_room + client.arguments_bytes) as u64);
        peaks.output = peaks.output.max(pending as u64);
        let over = settings.output_limit_reached(client, pending, now);
        if over {
            core.counters.client_output_buffer_limit_disconnections += 1;
        }
        if idle || over {
            if over {
                over_limit.push(key);
            } else {
                core.shared.log.verbose("Closing idle client");
            }
            gone.push(key);
        }
    }
    over_limit.into_iter().for_each(|key| core.log_output_limit(key));
    core.rates.note_peaks(now.0 / 1000, peaks);
    for key in gone {
        core.doom(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mending_ends_where_the_kernel_has_no_huge_pages_left_but_not_for_one_delay() {
        let mut mending = Mending::default();
        let (short, long) = (MEND_LONG_NS, MEND_LONG_NS + 1);
        for took in [long, long, short, long, long, short] {
            assert!(mending.goes_on_after(took));
        }
        assert!(mending.goes_on_after(long) && mending.goes_on_after(long));
        assert!(!mending.goes_on_after(long));
    }
}
