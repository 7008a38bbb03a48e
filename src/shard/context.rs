//! What a command handler may touch: one database of one shard, at one moment.
//!
//! A handler never awaits, so it is atomic by construction. Lookups cannot see a key past its deadline:
//! they remove it, and say so to those who listen.

use super::effects::Event;
use super::{CommandError, Shard};
use crate::base::UnixMillis;
use crate::keyspace::{Detached, Entry, EntryMut, Keyspace, Ttl, ValueRef};
use crate::types::{Collection, DataType, EncodingLimits, StringRef, Value};

pub struct Context<'a> {
    pub shard: &'a mut Shard,
    pub db: usize,
    pub now: UnixMillis,
    /// CLIENT NO-TOUCH: lookups leave the access data alone.
    pub no_touch: bool,
    /// A client whose reply grows beyond this is closed and not sent any of it: the rest need not be written. Without
    /// limit for replies that are read by somebody else.
    pub reply_bytes_max: usize,
}

/// What [`Context::update`] did.
#[derive(Clone, Copy, Debug)]
pub struct Updated<R> {
    pub result: R,
    /// Nothing was left, so that the key is gone: an event `del` is due.
    pub emptied: bool,
}

impl Context<'_> {
    /// The entry of a key, for a command that reads: counts a hit or a miss and touches the access data.
    #[inline]
    pub fn read(&mut self, key: &[u8]) -> Option<Entry<'_>> {
        let clock = self.shard.access_clock;
        let Shard { databases, effects, stats, expiry_paused, .. } = &mut *self.shard;
        let (entry, expired) = databases[self.db].live(key, self.now, *expiry_paused);
        if expired {
            stats.expired_keys += 1;
            effects.expired(self.db, key);
        }
        match entry {
            Some(entry) => {
                stats.hits += 1;
                if !self.no_touch && entry.access() != clock {
                    entry.set_access(clock);
                }
                Some(entry)
            }
            None => {
                stats.misses += 1;
                None
            }
        }
    }

    /// The string of a key, for a command that reads.
    #[inline]
    pub fn read_string(&mut self, key: &[u8]) -> Result<Option<StringRef<'_>>, CommandError> {
        match self.read(key) {
            None => Ok(None),
            Some(entry) => entry.as_string().map(Some).ok_or(CommandError::WrongType),
        }
    }

    /// The entry of a key, for a command that reads about it and not its value (TTL, TYPE, EXISTS, OBJECT):
    /// counts a hit or a miss and leaves the access data alone.
    pub fn inspect(&mut self, key: &[u8]) -> Option<Entry<'_>> {
        let Shard { databases, effects, stats, expiry_paused, .. } = &mut *self.shard;
        let (entry, expired) = databases[self.db].live(key, self.now, *expiry_paused);
        if expired {
            stats.expired_keys += 1;
            effects.expired(self.db, key);
        }
        match entry {
            Some(_) => stats.hits += 1,
            None => stats.misses += 1,
        }
        entry
    }

    /// Counts a lookup that was made by [`Context::write`] but also answers with the value (SET … GET).
    pub fn count_read(&mut self, found: bool) {
        let stats = &mut self.shard.stats;
        *(if found { &mut stats.hits } else { &mut stats.misses }) += 1;
    }

    /// The entry of a key, without a trace: no hit, no miss, no touch.
    pub fn peek(&mut self, key: &[u8]) -> Option<Entry<'_>> {
        let Shard { databases, effects, stats, expiry_paused, .. } = &mut *self.shard;
        let (entry, expired) = databases[self.db].live(key, self.now, *expiry_paused);
        if expired {
            stats.expired_keys += 1;
            effects.expired(self.db, key);
        }
        entry
    }

    /// The entry of a key, for a command that changes it.
    #[inline]
    pub fn write(&mut self, key: &[u8]) -> Option<EntryMut<'_>> {
        let clock = self.shard.access_clock;
        let Shard { databases, effects, stats, .. } = &mut *self.shard;
        let (entry, expired) = databases[self.db].live_mut(key, self.now);
        if expired {
            stats.expired_keys += 1;
            effects.expired(self.db, key);
        }
        if let Some(entry) = &entry
            && !self.no_touch
        {
            entry.entry().set_access(clock);
        }
        entry
    }

    /// The string of a key, to be changed in place by means of the entry.
    pub fn write_string(&mut self, key: &[u8]) -> Result<Option<EntryMut<'_>>, CommandError> {
        match self.write(key) {
            None => Ok(None),
            Some(entry) if entry.entry().as_string().is_some() => Ok(Some(entry)),
            Some(_) => Err(CommandError::WrongType),
        }
    }

    /// The value of a key that is never packed into its entry, for a command that reads.
    #[inline]
    pub fn read_value<T: DataType>(&mut self, key: &[u8]) -> Result<Option<&T>, CommandError> {
        match self.read(key).map(|entry| entry.value()) {
            None => Ok(None),
            Some(ValueRef::Boxed(value)) => T::of(value).map(Some).ok_or(CommandError::WrongType),
            Some(_) => Err(CommandError::WrongType),
        }
    }

    /// Changes the collection that a key holds by `change`, where it lies or, if it is packed into its entry, in a
    /// copy that replaces it. With `create` a missing one begins empty; else `None` says that it is missing.
    /// One that is empty afterwards is gone.
    pub fn update<T: Collection, R>(
        &mut self,
        key: &[u8],
        create: bool,
        change: impl FnOnce(&mut T, &EncodingLimits) -> R,
    ) -> Result<Option<Updated<R>>, CommandError> {
        let limits = self.shard.options.encoding;
        let lazily = self.shard.options.lazy_server_del;
        let Some(mut entry) = self.write(key) else {
            if !create {
                return Ok(None);
            }
            let mut new = T::default();
            let result = change(&mut new, &limits);
            let emptied = new.is_empty();
            if !emptied {
                self.insert(key, new.into_value(), Ttl::Clear);
            }
            return Ok(Some(Updated { result, emptied }));
        };
        let (result, emptied) = match entry.entry().value() {
            ValueRef::Packed(packed) => {
                let mut value = packed.to_value();
                let collection = T::of_mut(&mut value).ok_or(CommandError::WrongType)?;
                let result = change(collection, &limits);
                let emptied = collection.is_empty();
                if !emptied && value.as_packed() != Some(packed) {
                    entry.set_value(value, Ttl::Keep);
                }
                (result, emptied)
            }
            ValueRef::Boxed(_) => {
                let value = entry.value_mut().expect("it is on the heap");
                let collection = T::of_mut(value).ok_or(CommandError::WrongType)?;
                let result = change(collection, &limits);
                (result, collection.is_empty())
            }
            _ => return Err(CommandError::WrongType),
        };
        if emptied {
            entry.remove(lazily);
        }
        Ok(Some(Updated { result, emptied }))
    }

    /// The database itself, for what has no method here.
    pub fn keyspace(&mut self) -> &mut Keyspace {
        &mut self.shard.databases[self.db]
    }

    /// SET's own path: one probe, in place where it fits.
    #[inline]
    pub fn set_string(&mut self, key: &[u8], value: &[u8], ttl: Ttl) {
        let is_new = self.shard.databases[self.db].set_string(key, value, ttl);
        if is_new {
            self.created(key);
        }
    }

    /// Stores a value that came from elsewhere (RENAME, COPY, MOVE, RESTORE).
    pub fn put(&mut self, key: &[u8], detached: Detached) {
        self.watch_fields(key, &detached.value);
        if self.shard.databases[self.db].insert_detached(key, detached) {
            self.created(key);
        }
    }

    /// Removes a key that is not past its deadline; a large value is freed later if `lazily`.
    pub fn remove(&mut self, key: &[u8], lazily: bool) -> bool {
        let Shard { databases, effects, stats, .. } = &mut *self.shard;
        match databases[self.db].remove_at(key, self.now, lazily) {
            Some(false) => {
                stats.expired_keys += 1;
                effects.expired(self.db, key);
                false
            }
            removed => removed.is_some(),
        }
    }

    /// Sets a string unless the key exists; tells whether it did.
    #[inline]
    pub fn add_string(&mut self, key: &[u8], value: &[u8], ttl: Ttl) -> bool {
        let clock = self.shard.access_clock;
        let Shard { databases, effects, stats, .. } = &mut *self.shard;
        match databases[self.db].add_string(key, value, ttl, self.now) {
            Ok(expired) => {
                if expired {
                    stats.expired_keys += 1;
                    effects.expired(self.db, key);
                }
                self.created(key);
                true
            }
            Err(entry) => {
                if !self.no_touch {
                    entry.set_access(clock);
                }
                false
            }
        }
    }

    /// Sets an integer, as [`Context::set_string`] does a text.
    pub fn set_int(&mut self, key: &[u8], value: i64, ttl: Ttl) {
        if self.shard.databases[self.db].set_int(key, value, ttl) {
            self.created(key);
        }
    }

    /// Stores a value of any type.
    pub fn insert(&mut self, key: &[u8], value: Value, ttl: Ttl) {
        self.watch_fields(key, &value);
        if self.shard.databases[self.db].insert(key, value, ttl) {
            self.created(key);
        }
    }

    /// Stores a value while data are loaded: nobody is told. False if the key was there already.
    pub fn load(&mut self, key: &[u8], value: Value, ttl: Ttl) -> bool {
        self.watch_fields(key, &value);
        self.shard.databases[self.db].insert(key, value, ttl)
    }

    /// The same context on another database of this shard.
    pub fn on(&mut self, db: usize) -> Context<'_> {
        let reply_bytes_max = self.reply_bytes_max;
        Context { shard: self.shard, db, now: self.now, no_touch: self.no_touch, reply_bytes_max }
    }

    /// Declares a change, once; who must hear of it is [`super::Effects`]' business.
    #[inline]
    pub fn modified(&mut self, key: &[u8], event: Event) {
        self.shard.effects.record(self.db, key, event);
    }

    /// Declares an event that comes with a change declared by [`Context::modified`] and is not one of its own.
    #[inline]
    pub fn announce(&mut self, key: &[u8], event: Event) {
        self.shard.effects.announce(self.db, key, event);
    }

    /// Whether [`Context::propagate`] is heard: a reason to make its arguments.
    #[inline]
    pub fn journals(&self) -> bool {
        self.shard.effects.journal.is_on()
    }

    /// Journals this in place of the command that runs, which is not to be repeated word for word: because its effect
    /// depends on the moment or on chance, or is cheaper to say in another way. May be said several times. An effect
    /// is replayed at a time at which nothing is past its deadline.
    pub fn propagate(&mut self, argv: &[&[u8]]) {
        if self.journals() {
            self.shard.effects.journal.say(self.db, argv.iter().copied());
        }
    }

    /// Journals that the command that runs has removed a key.
    pub fn propagate_deletion(&mut self, key: &[u8], lazily: bool) {
        self.propagate(&[if lazily { b"UNLINK" } else { b"DEL" }, key]);
    }

    /// The command that runs has no effect beside those that it has said.
    pub fn propagate_nothing(&mut self) {
        self.shard.effects.journal.say_nothing();
    }

    /// A new key; told before the event of the command that made it, and not a change of its own.
    fn created(&mut self, key: &[u8]) {
        self.shard.effects.announce(self.db, key, Event::NewKey);
    }

    /// A number that no client can foresee.
    pub fn random(&mut self) -> u64 {
        self.shard.random.next_u64()
    }
}
