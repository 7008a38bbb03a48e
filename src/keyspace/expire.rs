//! Active expiry: keys that nobody asks for must go as well.
//!
//! Entries with a deadline are in a table of their own, which is walked in the order of hashes, a bounded
//! piece per call. Redis samples at random and repeats where many keys were due; a walk sees every key once
//! before it sees one twice. The caller repeats the step while it has time and much was due.

use super::Keyspace;
use super::entry::{Entry, RawEntry};
use crate::base::UnixMillis;
use crate::base::prefetch;

/// Items looked at together, so that their cache lines are fetched together.
const BATCH: usize = 16;

/// What one step of active expiry did.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ExpireStep {
    pub examined: usize,
    pub expired: usize,
    /// The walk reached the end of the table and begins anew.
    pub wrapped: bool,
    /// Sum of the remaining times of the keys that live on, for INFO's `avg_ttl`.
    pub ttl_sum_ms: u64,
}

impl Keyspace {
    /// Examines at most about `budget` keys with a deadline and removes those that are due at `now`. Before it
    /// goes, each is shown to `on_expired` with its hash, so that its removal can be recorded, or prevented by `false`.
    /// Values that take long to free are left to [`Keyspace::maintain`].
    pub fn expire_step(
        &mut self,
        now: UnixMillis,
        budget: usize,
        mut on_expired: impl FnMut(Entry<'_>, u64) -> bool,
    ) -> ExpireStep {
        let mut step = ExpireStep::default();
        let mut batch = std::mem::take(&mut self.expire_scratch);
        while step.examined < budget && !step.wrapped && self.expires_len() > 0 {
            let start = self.expire_position;
            let end = self.expires.walk_end(start, BATCH.min(budget - step.examined));
            batch.clear();
            self.expires.visit_range(start, end, |item| {
                prefetch(item.as_ptr());
                batch.push(item);
            });
            step.examined += batch.len().max(1);
            for &item in &batch {
                let entry = Entry::new(RawEntry(item));
                let deadline = entry.deadline().expect("K2");
                if now > deadline {
                    let hash = self.hash(entry.key());
                    if on_expired(entry, hash) {
                        step.expired += 1;
                        self.unhook_entry(hash, entry.raw());
                        self.free_entry(entry.raw(), true);
                    }
                } else {
                    step.ttl_sum_ms += deadline.0 - now.0;
                }
            }
            self.expire_position = end.unwrap_or(0);
            step.wrapped = end.is_none();
        }
        self.expire_scratch = batch;
        step
    }
}
