//! What follows from a write: a handler declares the change once; this file knows who must hear.
//!
//! The listeners are the counter behind `rdb_changes_since_last_save`, WATCH, clients that wait for keys, the journal
//! and, once they exist, keyspace notifications and tracking. While nobody listens a change costs one addition.

use super::journal::Journal;
use super::wait_queue::{Claim, WaitQueues};
use super::waiting::{Blocker, WaitNews};
use crate::transaction::{Existence, WatchTable};
use std::sync::Arc;

/// The names are the ones subscribers to keyspace notifications see.
macro_rules! events {
    ($($class:ident { $($event:ident = $name:literal,)* })*) => {
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum Event { $($($event,)*)* }

        impl Event {
            /// As in `__keyevent@0__:<name>`.
            pub fn name(self) -> &'static str {
                match self { $($(Self::$event => $name,)*)* }
            }

            pub fn class(self) -> Class {
                match self { $($(Self::$event => Class::$class,)*)* }
            }
        }
    };
}

/// The classes of `notify-keyspace-events`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Class {
    /// `g`
    Generic,
    /// `$`
    String,
    /// `l`
    List,
    /// `h`
    Hash,
    /// `s`
    Set,
    /// `x`
    Expired,
    /// `e`
    Evicted,
    /// `z`
    SortedSet,
    /// `n`, new keys; not part of `A`
    New,
    /// `t`
    Stream,
    /// Changes that Redis tells no subscriber of.
    Quiet,
}

events! {
    Generic {
        Del = "del",
        Expire = "expire",
        Persist = "persist",
        RenameFrom = "rename_from",
        RenameTo = "rename_to",
        CopyTo = "copy_to",
        MoveFrom = "move_from",
        MoveTo = "move_to",
        Restore = "restore",
    }
    String {
        Set = "set",
        SetRange = "setrange",
        Append = "append",
        IncrBy = "incrby",
        IncrByFloat = "incrbyfloat",
        SetBit = "setbit",
        PfAdd = "pfadd",
    }
    SortedSet {
        ZAdd = "zadd",
        ZIncr = "zincr",
        ZRem = "zrem",
        ZRemRangeByRank = "zremrangebyrank",
        ZRemRangeByScore = "zremrangebyscore",
        ZRemRangeByLex = "zremrangebylex",
        ZPopMin = "zpopmin",
        ZPopMax = "zpopmax",
        ZRangeStore = "zrangestore",
        ZUnionStore = "zunionstore",
        ZInterStore = "zinterstore",
        ZDiffStore = "zdiffstore",
        GeoSearchStore = "geosearchstore",
        GeoRadiusStore = "georadiusstore",
    }
    List {
        LPush = "lpush",
        RPush = "rpush",
        LPop = "lpop",
        RPop = "rpop",
        LSet = "lset",
        LInsert = "linsert",
        LRem = "lrem",
        LTrim = "ltrim",
        SortStore = "sortstore",
    }
    Hash {
        HSet = "hset",
        HDel = "hdel",
        HIncrBy = "hincrby",
        HIncrByFloat = "hincrbyfloat",
        HExpire = "hexpire",
        HPersist = "hpersist",
        HExpired = "hexpired",
    }
    Set {
        SAdd = "sadd",
        SRem = "srem",
        SPop = "spop",
        SInterStore = "sinterstore",
        SUnionStore = "sunionstore",
        SDiffStore = "sdiffstore",
    }
    Stream {
        XAdd = "xadd",
        XDel = "xdel",
        XTrim = "xtrim",
        XSetId = "xsetid",
        XGroupCreate = "xgroup-create",
        XGroupSetId = "xgroup-setid",
        XGroupDestroy = "xgroup-destroy",
        XGroupCreateConsumer = "xgroup-createconsumer",
        XGroupDelConsumer = "xgroup-delconsumer",
    }
    Quiet {
        XReadGroup = "xreadgroup",
        XAck = "xack",
        XClaim = "xclaim",
    }
    Expired { Expired = "expired", }
    Evicted { Evicted = "evicted", }
    New { NewKey = "new", }
}

impl Event {
    /// Whether a key may now have something that somebody waits for. Redis 7.0 looks at new keys only, so that a
    /// client is never served when its key appears over a value of another type (SORT STORE, ZUNIONSTORE).
    fn gives(self) -> bool {
        use Event::*;
        let keys = matches!(self, RenameTo | CopyTo | MoveTo | Restore | NewKey);
        let lists = matches!(self, LPush | RPush | SortStore);
        let sorted_sets = matches!(self, ZAdd | ZIncr | ZRangeStore | ZUnionStore | ZInterStore | ZDiffStore);
        let streams = matches!(self, XAdd | XGroupDestroy);
        keys || lists || sorted_sets || streams || matches!(self, GeoSearchStore | GeoRadiusStore)
    }

    /// Whether a key may now hold something else than before, or nothing.
    fn takes(self) -> bool {
        let about_deadlines = matches!(self, Self::Expire | Self::Persist);
        !about_deadlines && !matches!(self.class(), Class::Stream | Class::Quiet)
    }

    /// Whether WATCH and tracking are about it. What a group does is not to Redis, nor is XSETID.
    fn touches(self) -> bool {
        use Event::{XAdd, XDel, XTrim};
        match self.class() {
            Class::Stream => matches!(self, XAdd | XDel | XTrim),
            Class::Quiet => false,
            _ => true,
        }
    }
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Change {
    pub db: usize,
    pub key: Box<[u8]>,
    pub event: Event,
}

/// The changes of the command in progress, in order. Drained after it returns.
pub struct Effects {
    changes: Vec<Change>,
    /// Whether anybody wants to hear of single changes.
    listening: bool,
    /// The keys of this shard that clients watch.
    watch: WatchTable,
    /// The clients that wait for keys of this shard.
    waits: WaitQueues<Blocker>,
    /// For the cores of clients that waited; carried there by this shard's core.
    pub wait_news: Vec<WaitNews>,
    /// Whether somebody listens, watches or waits: one test for the common case.
    attentive: bool,
    /// Somebody may wait for a key that must not go ([`Wish::minds_absence`](super::Wish::minds_absence)).
    minded: bool,
    /// Changes since the last save.
    dirty: u64,
    /// How many of them were deadlines that were over, and no command's doing.
    expirations: u64,
    pub journal: Journal,
}

impl Effects {
    /// `seeds` must not be known to clients.
    pub fn new(databases: usize, seeds: [u64; 4]) -> Self {
        let watch = WatchTable::new(databases, seeds);
        Self {
            changes: Vec::new(),
            listening: false,
            watch,
            waits: WaitQueues::new(databases, seeds),
            wait_news: Vec::new(),
            attentive: false,
            minded: false,
            dirty: 0,
            expirations: 0,
            journal: Journal::default(),
        }
    }

    #[inline]
    pub fn record(&mut self, db: usize, key: &[u8], event: Event) {
        self.dirty += 1;
        if self.attentive {
            self.tell(db, key, event);
        }
    }

    /// A key was past its deadline and has been removed.
    #[cold]
    pub fn expired(&mut self, db: usize, key: &[u8]) {
        self.record(db, key, Event::Expired);
        self.expirations += 1;
        if self.journal.is_on() {
            self.journal.expired(db, key);
        }
    }

    /// Fields of a hash were past their deadline and have been removed; the hash too if it is `emptied`.
    #[cold]
    pub(super) fn fields_expired(&mut self, db: usize, key: &[u8], fields: &[Box<[u8]>], emptied: bool) {
        self.record(db, key, Event::HExpired);
        self.expirations += 1;
        if emptied {
            self.announce(db, key, Event::Del);
        }
        if self.journal.is_on() {
            self.journal.fields_expired(db, key, fields);
        }
    }

    #[cold]
    fn tell(&mut self, db: usize, key: &[u8], event: Event) {
        if event == Event::Expired {
            self.watch.expired(db, key);
        } else if event.touches() {
            self.watch.changed(db, key);
            self.journal.touch(db, key);
        }
        if event.gives() || self.minded && event.takes() {
            self.waits.ready(db, key);
        }
        if self.listening {
            self.changes.push(Change { db, key: key.into(), event });
        }
    }

    /// WATCH; `existence` is how the key stands now.
    pub fn watch(&mut self, client: u64, db: usize, key: &[u8], existence: Existence) {
        self.watch.watch(client, db, key, existence);
        self.attentive = true;
    }

    pub fn unwatch(&mut self, client: u64, db: usize, key: &[u8]) {
        self.watch.unwatch(client, db, key);
        self.look_around();
    }

    /// Sees whether anybody is left who wants to hear of changes.
    pub fn look_around(&mut self) {
        self.attentive = self.listening || !self.watch.is_empty() || !self.waits.is_empty();
        self.minded &= !self.waits.is_empty();
    }

    /// From here on the journal hears which keys change.
    pub(super) fn trace(&mut self) {
        self.journal.trace(true);
        self.attentive = true;
    }

    /// The keys that have changed since.
    pub(super) fn traced(&mut self) -> Vec<(usize, Box<[u8]>)> {
        self.look_around();
        self.journal.take_touched()
    }

    #[inline]
    pub fn is_attentive(&self) -> bool {
        self.attentive
    }

    /// A client joins the line of a key.
    pub fn wait(&mut self, db: usize, key: &[u8], claim: Arc<Claim>, blocker: Blocker) {
        self.minded |= blocker.wish.minds_absence();
        self.waits.wait(db, key, blocker.id, claim, blocker);
        self.attentive = true;
    }

    /// Whether somebody may have to be told that a key is gone.
    pub fn is_minded(&self) -> bool {
        self.minded
    }

    /// A database has been emptied.
    pub fn flushed(&mut self, db: usize) {
        if self.minded {
            self.waits.all_ready(db);
        }
    }

    pub fn waits(&mut self) -> &mut WaitQueues<Blocker> {
        &mut self.waits
    }

    /// Whether clients wait for keys of this shard: then only its own core may change it, for it serves them.
    pub fn has_waiters(&self) -> bool {
        !self.waits.is_empty()
    }

    /// Two databases have changed places; those who wait have not.
    pub fn swapped(&mut self, a: usize, b: usize) {
        self.waits.all_ready(a);
        self.waits.all_ready(b);
    }

    /// What clients watch, to tell it of more than one key, or to ask it.
    pub fn watched(&mut self) -> &mut WatchTable {
        &mut self.watch
    }

    /// An event beside the change itself, such as `new`.
    #[inline]
    pub fn announce(&mut self, db: usize, key: &[u8], event: Event) {
        if self.attentive {
            // It may be about another key than the change itself (the destination of LMOVE).
            self.tell(db, key, event);
        }
    }

    /// Changes that have no event of their own, such as those of FLUSHDB.
    pub fn add_dirty(&mut self, count: u64) {
        self.dirty += count;
    }

    pub fn dirty(&self) -> u64 {
        self.dirty
    }

    /// Changes that commands have made, by which a command is known to have made some.
    #[inline]
    pub fn changes(&self) -> u64 {
        self.dirty - self.expirations
    }

    /// What has changed so far was loading, and is on disk.
    pub fn forget_changes(&mut self) {
        self.dirty = 0;
        self.expirations = 0;
    }

    pub fn listen(&mut self, listening: bool) {
        self.listening = listening;
        self.look_around();
        self.changes.clear();
    }

    pub fn drain(&mut self) -> impl Iterator<Item = Change> + '_ {
        self.changes.drain(..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_kept_for_listeners_only_but_always_counted() {
        let mut effects = Effects::new(4, [1, 2, 3, 4]);
        effects.record(0, b"k", Event::Set);
        assert_eq!((effects.drain().count(), effects.dirty()), (0, 1));
        effects.listen(true);
        effects.record(3, b"k", Event::Del);
        let heard: Vec<Change> = effects.drain().collect();
        assert_eq!(heard, [Change { db: 3, key: b"k"[..].into(), event: Event::Del }]);
        assert_eq!(effects.dirty(), 2);
    }
}
