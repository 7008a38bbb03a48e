//! A slice of the shard's own duties, by budget: active expiry, freeing what was removed lazily.
//!
//! The caller has a clock and decides how many slices fit; a slice is small enough (some ten microseconds)
//! that requests in between do not notice.

use super::Shard;
use crate::base::UnixMillis;

/// Keys looked at, or entries freed, in one slice.
const SLICE: usize = 64;

/// Whether another slice would find work.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Maintenance {
    Rest,
    More,
}

impl Shard {
    /// Removes some keys past their deadline that no transaction holds. Goes on while more than the acceptable share of what it looks
    /// at was due, as Redis does: that share falls from 10% with the effort.
    pub fn expire_slice(&mut self, now: UnixMillis) -> Maintenance {
        let found = self.expire_some(now);
        self.effects.journal.seal();
        found
    }

    fn expire_some(&mut self, now: UnixMillis) -> Maintenance {
        if !self.options.active_expire {
            return Maintenance::Rest;
        }
        if self.expire_fields_slice(now, SLICE) {
            return Maintenance::More;
        }
        let acceptable = 10 / self.options.active_expire_effort.max(1) as usize;
        let databases = self.databases.len();
        // A cycle that finds nothing due anywhere rests after one round over the databases.
        for _ in 0..databases {
            let db = self.expire_db;
            let Shard { databases: all, effects, stats, held, .. } = self;
            let step = all[db].expire_step(now, SLICE, |entry, hash| {
                let free = !held.has(hash);
                if free {
                    stats.expired_keys += 1;
                    effects.expired(db, entry.key());
                }
                free
            });
            if step.examined > 0 && step.expired * 100 > step.examined * acceptable {
                return Maintenance::More;
            }
            self.expire_db = (db + 1) % databases;
        }
        Maintenance::Rest
    }

    /// Frees a piece of what FLUSHALL ASYNC, UNLINK and expiry have left.
    pub fn free_slice(&mut self) -> Maintenance {
        for keyspace in &mut self.databases {
            if keyspace.lazy_pending() > 0 && keyspace.maintain(SLICE * 8) {
                return Maintenance::More;
            }
        }
        Maintenance::Rest
    }

    pub fn lazy_pending(&self) -> usize {
        self.databases.iter().map(|keyspace| keyspace.lazy_pending()).sum()
    }
}
