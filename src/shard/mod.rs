//! One core's data and the consequences of changing it. Synchronous; the only way in from other cores is
//! a message that the core's loop runs here.

mod collections;
mod context;
mod effects;
mod error;
mod held;
pub mod journal;
mod journaling;
mod maintenance;
mod route;
mod wait_queue;
mod waiting;

pub use context::{Context, Updated};
pub use effects::{Change, Class, Effects, Event};
pub use error::{CommandError, CommandResult};
pub use held::Held;
pub use maintenance::Maintenance;
pub use route::{shard_of_key, shard_of_slot};
pub use wait_queue::{Claim, Fit, Offer, Outcome, WaitQueues};
pub use waiting::{Blocker, WaitEvent, WaitNews, Wish};

use crate::base::UnixMillis;
use crate::base::random::Random;
use crate::keyspace::{Keyspace, Slab, ValueRef};
use crate::transaction::Existence;
use crate::types::{EncodingLimits, Value};
use collections::FieldDeadlineList;
use std::rc::Rc;

/// How many requests ahead the memory is asked at most.
pub const PREFETCH_MAX: usize = 16;

/// A shard: this core's slice of every database.
pub struct Shard {
    /// Which of the server's `count` shards this is.
    pub index: usize,
    pub count: usize,
    pub databases: Vec<Keyspace>,
    pub effects: Effects,
    pub stats: ShardStats,
    pub slab: Rc<Slab>,
    pub random: Random,
    /// What lookups write into an entry's access data: the LRU clock, in seconds modulo 2^24.
    pub access_clock: u32,
    pub options: ShardOptions,
    /// Transactions over several shards have a place here: commands have to ask before they run. Set by the
    /// shard's own core, which knows them.
    pub scheduled: bool,
    /// What those transactions hold.
    pub held: Held,
    /// As the clock was last set.
    now: UnixMillis,
    /// Where active expiry goes on.
    expire_db: usize,
    /// While clients are paused nothing expires: what is past its deadline is out of sight and stays.
    pub expiry_paused: bool,
    field_deadlines: FieldDeadlineList,
}

/// What the shard needs of the configuration, as plain values.
#[derive(Clone, Copy, Debug)]
pub struct ShardOptions {
    pub lazy_user_del: bool,
    pub lazy_server_del: bool,
    pub lazy_expire: bool,
    pub lazy_user_flush: bool,
    pub string_bytes_max: usize,
    /// The hard limit of clients' output buffers.
    pub reply_bytes_max: usize,
    /// Access data are LFU counters and not the LRU clock.
    pub lfu: bool,
    /// DEBUG SET-ACTIVE-EXPIRE.
    pub active_expire: bool,
    /// 1 to 10.
    pub active_expire_effort: u32,
    /// DUMP packs long strings.
    pub compress: bool,
    /// RESTORE compares checksums; DEBUG may switch that off.
    pub verify_dumps: bool,
    pub encoding: EncodingLimits,
}

impl Default for ShardOptions {
    fn default() -> Self {
        Self {
            lazy_user_del: false,
            lazy_server_del: false,
            lazy_expire: false,
            lazy_user_flush: false,
            string_bytes_max: 512 << 20,
            reply_bytes_max: usize::MAX,
            lfu: false,
            active_expire: true,
            active_expire_effort: 1,
            compress: true,
            verify_dumps: true,
            encoding: EncodingLimits::default(),
        }
    }
}

/// What the shard has counted since the start or CONFIG RESETSTAT.
#[derive(Clone, Copy, Debug, Default)]
pub struct ShardStats {
    pub hits: u64,
    pub misses: u64,
    pub expired_keys: u64,
    /// Expiry cycles that stopped because their time was over.
    pub expired_time_cap_reached: u64,
    /// Estimated share of keys past their deadline, in thousandths of a percent.
    pub expired_stale_millis: u64,
}

// SAFETY: what is not `Send` in a shard are the `Rc`s of its slab, and they are all inside the shard: its
// databases hold them and hand none out. So they move from core to core together, one core at a time.
unsafe impl Send for Shard {}

impl Shard {
    /// The only shard of a server; `index` and `count` say otherwise where there are more. `seeds` must not
    /// be known to clients.
    pub fn new(databases: usize, seeds: [u64; 4]) -> Self {
        Self::with_slab(databases, seeds, Slab::new())
    }

    pub fn with_slab(databases: usize, seeds: [u64; 4], slab: Slab) -> Self {
        let slab = Rc::new(slab);
        Self {
            index: 0,
            count: 1,
            databases: (0..databases).map(|_| Keyspace::new(Rc::clone(&slab), seeds)).collect(),
            effects: Effects::new(databases, seeds),
            stats: ShardStats::default(),
            slab,
            random: Random::from_seed(seeds[0] ^ seeds[3].rotate_left(32)),
            access_clock: 0,
            scheduled: false,
            held: Held::default(),
            now: UnixMillis(0),
            options: ShardOptions {
                encoding: EncodingLimits {
                    hash_seed: seeds[1] ^ seeds[2].rotate_left(7),
                    ..Default::default()
                },
                ..ShardOptions::default()
            },
            expire_db: 0,
            expiry_paused: false,
            field_deadlines: FieldDeadlineList::default(),
        }
    }

    #[inline]
    pub fn context(&mut self, db: usize, now: UnixMillis, no_touch: bool) -> Context<'_> {
        Context { shard: self, db, now, no_touch, reply_bytes_max: usize::MAX }
    }

    /// Asks the memory for a key's bucket; the result is for [`Shard::prefetch_entry`], a few keys later.
    #[inline]
    pub fn prefetch(&self, db: usize, key: &[u8]) -> u64 {
        let keyspace = &self.databases[db];
        let hash = keyspace.hash(key);
        keyspace.prefetch(hash);
        hash
    }

    /// Asks the memory for the entry that the key's bucket points to.
    #[inline]
    pub fn prefetch_entry(&self, db: usize, hash: u64) {
        self.databases[db].prefetch_entry(hash);
    }

    /// Stage 3, for commands that name a member of a collection, each with the hash of its key, its key and the
    /// member: asks for what will be looked at in large collections. At most [`PREFETCH_MAX`] are.
    pub fn prefetch_members<'a>(&self, db: usize, named: impl Iterator<Item = (u64, &'a [u8], &'a [u8])>) {
        let mut ahead: [Option<(&Value, u64)>; PREFETCH_MAX] = [None; PREFETCH_MAX];
        let mut last: Option<(u64, &Value)> = None;
        for (place, (hash, key, member)) in ahead.iter_mut().zip(named) {
            let value = match last {
                Some((other, value)) if other == hash => value,
                _ => match self.databases[db].find_hashed(hash, key).map(|entry| entry.value()) {
                    Some(ValueRef::Boxed(value)) => value,
                    // Small collections lie in their entries; where one is, the next ones are small too.
                    _ => break,
                },
            };
            last = Some((hash, value));
            *place = value.prefetch_member(member).map(|hash| (value, hash));
        }
        ahead.iter().flatten().for_each(|(value, hash)| value.prefetch_record(*hash));
    }

    /// Once per turn or so: the clock that new entries and lookups are stamped with.
    pub fn set_clock(&mut self, now: UnixMillis) {
        self.now = now;
        let clock = (now.0 / 1000) as u32 & 0x00ff_ffff;
        if clock != self.access_clock {
            self.access_clock = clock;
            for keyspace in &mut self.databases {
                keyspace.set_fresh_access(clock, false);
            }
        }
    }

    /// Empties a database, or all.
    pub fn flush(&mut self, db: Option<usize>, lazily: bool) {
        let range = db.map_or(0..self.databases.len(), |db| db..db + 1);
        for db in range.clone() {
            let (keyspace, now) = (&self.databases[db], self.now);
            self.effects.watched().flushed(db, |key| existence(keyspace, key, now));
            self.effects.flushed(db);
        }
        for keyspace in &mut self.databases[range] {
            self.effects.add_dirty(keyspace.len() as u64);
            if lazily { keyspace.clear_lazily() } else { keyspace.clear() }
        }
    }

    /// WATCH.
    pub fn watch(&mut self, client: u64, db: usize, key: &[u8], now: UnixMillis) {
        let existence = existence(&self.databases[db], key, now);
        self.effects.watch(client, db, key, existence);
    }

    /// Whether EXEC may go on as far as this watched key is concerned.
    pub fn is_untouched(&mut self, client: u64, db: usize, key: &[u8], now: UnixMillis) -> bool {
        let existence = existence(&self.databases[db], key, now);
        self.effects.watched().is_untouched(client, db, key, existence)
    }

    pub fn swap(&mut self, a: usize, b: usize) {
        let (databases, now) = (&self.databases, self.now);
        self.effects.watched().swapped(a, b, |db, key| existence(&databases[db], key, now));
        self.databases.swap(a, b);
        self.swap_field_deadlines(a, b);
        self.effects.swapped(a, b);
        // One change of the server, in which every shard takes part.
        self.effects.add_dirty(u64::from(self.index == 0));
    }
}

/// How a key stands, without touching it.
fn existence(keyspace: &Keyspace, key: &[u8], now: UnixMillis) -> Existence {
    match keyspace.find(key) {
        None => Existence::Missing,
        Some(entry) if entry.is_expired(now) => Existence::Expired,
        Some(_) => Existence::Live,
    }
}
