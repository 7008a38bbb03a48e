//! Hashes, sets and streams as commands reach them: wherever they lie, and without the fields that are due.
//!
//! The shard keeps a list of the hashes that have fields with a deadline, by the earliest one, so that active
//! expiry finds them. It may name hashes that are gone or have changed; that shows when one's turn comes.
//!
//! Invariants
//!   F1  A hash with a field deadline is in the list with a time not after its earliest deadline.

use super::{CommandError, Context, Shard, Updated};
use crate::base::UnixMillis;
use crate::keyspace::{EntryMut, ValueRef};
use crate::types::{DataType, EncodingLimits, Hash, HashRef, Set, SetRef, Stream, Value};
use std::collections::BTreeSet;

/// Fields removed at once when a command comes upon a hash with fields that are due. What is left then is hidden.
const DUE_AT_ONCE: usize = 1000;

/// Hashes with field deadlines: time, database, key.
#[derive(Debug, Default)]
pub(super) struct FieldDeadlineList(BTreeSet<(UnixMillis, usize, Box<[u8]>)>);

impl Context<'_> {
    /// The hash that a key holds, for a command that reads.
    #[inline]
    pub fn read_hash(&mut self, key: &[u8]) -> Result<Option<HashRef<'_>>, CommandError> {
        self.expire_fields(key);
        let now = self.now;
        match self.read(key).map(|entry| entry.value()) {
            None => Ok(None),
            Some(value) => value.as_hash(now).map(Some).ok_or(CommandError::WrongType),
        }
    }

    /// [`Context::update`] for a hash.
    pub fn update_hash<R>(
        &mut self,
        key: &[u8],
        create: bool,
        change: impl FnOnce(&mut Hash, &EncodingLimits) -> R,
    ) -> Result<Option<Updated<R>>, CommandError> {
        // With a journal none may stay: where it is replayed nothing is hidden.
        if self.journals() && !self.shard.field_deadlines.0.is_empty() {
            self.expire_some_fields(key, usize::MAX);
        }
        self.expire_fields(key);
        let mut earliest = None;
        let updated = self.update(key, create, |hash: &mut Hash, limits| {
            let before = hash.earliest_deadline();
            let result = change(hash, limits);
            earliest =
                hash.earliest_deadline().filter(|earliest| before.is_none_or(|before| *earliest < before));
            result
        })?;
        if let Some(earliest) = earliest {
            self.shard.field_deadlines.0.insert((earliest, self.db, key.into()));
        }
        Ok(updated)
    }

    /// The set that a key holds, for a command that reads.
    #[inline]
    pub fn read_set(&mut self, key: &[u8]) -> Result<Option<SetRef<'_>>, CommandError> {
        match self.read(key).map(|entry| entry.value()) {
            None => Ok(None),
            Some(value) => value.as_set().map(Some).ok_or(CommandError::WrongType),
        }
    }

    /// [`Context::update`] for a set.
    #[inline]
    pub fn update_set<R>(
        &mut self,
        key: &[u8],
        create: bool,
        change: impl FnOnce(&mut Set, &EncodingLimits) -> R,
    ) -> Result<Option<Updated<R>>, CommandError> {
        self.update(key, create, change)
    }

    /// The stream that a key holds, for a command that reads.
    #[inline]
    pub fn read_stream(&mut self, key: &[u8]) -> Result<Option<&Stream>, CommandError> {
        self.read_value::<Box<Stream>>(key).map(|stream| stream.map(|stream| &**stream))
    }

    /// The stream that a key holds, to be changed in place. It stays when its last entry goes.
    #[inline]
    pub fn write_stream(&mut self, key: &[u8]) -> Result<Option<&mut Stream>, CommandError> {
        match self.write(key).map(EntryMut::into_boxed_mut) {
            None => Ok(None),
            Some(Some(Value::Stream(stream))) => Ok(Some(stream)),
            Some(_) => Err(CommandError::WrongType),
        }
    }

    /// Keeps F1 for a value that is stored whole.
    #[inline]
    pub(super) fn watch_fields(&mut self, key: &[u8], value: &Value) {
        if let Value::Hash(hash) = value
            && let Some(earliest) = hash.earliest_deadline()
        {
            self.shard.field_deadlines.0.insert((earliest, self.db, key.into()));
        }
    }

    /// Removes fields of a hash that are due.
    #[inline]
    pub fn expire_fields(&mut self, key: &[u8]) {
        if !self.shard.field_deadlines.0.is_empty() {
            self.expire_some_fields(key, DUE_AT_ONCE);
        }
    }

    /// Removes up to `count` due fields and returns how many, and when the next one is due.
    fn expire_some_fields(&mut self, key: &[u8], count: usize) -> (usize, Option<UnixMillis>) {
        let now = self.now;
        let lazily = self.shard.options.lazy_expire;
        let Some(mut entry) = self.keyspace().find_mut(key) else { return (0, None) };
        let ValueRef::Boxed(Value::Hash(hash)) = entry.entry().value() else { return (0, None) };
        let earliest = hash.earliest_deadline();
        if earliest.is_none_or(|earliest| earliest >= now) {
            return (0, earliest);
        }
        let hash = entry.value_mut().and_then(Hash::of_mut).expect("just seen");
        let mut names = Vec::new();
        let removed = hash.remove_due(now, count, |field| names.push(field));
        let (earliest, emptied) = (hash.earliest_deadline(), hash.is_empty());
        if emptied {
            entry.remove(lazily);
        }
        self.shard.effects.fields_expired(self.db, key, &names, emptied);
        (removed, earliest)
    }
}

impl Shard {
    /// Removes up to about `budget` fields past their deadline from hashes that no transaction holds; whether more are due.
    pub(super) fn expire_fields_slice(&mut self, now: UnixMillis, budget: usize) -> bool {
        let mut left = budget;
        let mut held = Vec::new();
        let mut more = false;
        while let Some((due, ..)) = self.field_deadlines.0.first()
            && *due < now
        {
            if left == 0 {
                more = true;
                break;
            }
            let (due, db, key) = self.field_deadlines.0.pop_first().expect("just seen");
            if self.held.has(self.databases[db].hash(&key)) {
                held.push((due, db, key));
                continue;
            }
            let (removed, next) = self.context(db, now, true).expire_some_fields(&key, left);
            if let Some(next) = next {
                self.field_deadlines.0.insert((next, db, key));
            }
            left = left.saturating_sub(removed.max(1));
        }
        self.field_deadlines.0.extend(held);
        more
    }

    /// SWAPDB takes the hashes of both databases along.
    pub(super) fn swap_field_deadlines(&mut self, a: usize, b: usize) {
        let other = |db: usize| {
            if db == a {
                b
            } else if db == b {
                a
            } else {
                db
            }
        };
        let list = std::mem::take(&mut self.field_deadlines.0);
        self.field_deadlines.0 = list.into_iter().map(|(due, db, key)| (due, other(db), key)).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::Detached;
    use crate::shard::Maintenance;

    fn shard_with_hash(fields: u64) -> Shard {
        let mut shard = Shard::new(2, [1, 2, 3, 4]);
        shard
            .context(0, UnixMillis(100), false)
            .update_hash(b"h", true, |hash, limits| {
                for field in 0..fields {
                    let name = field.to_string().into_bytes();
                    hash.set(&name, b"v", limits);
                    hash.set_deadline(&name, UnixMillis(200 + field), limits);
                }
            })
            .expect("a hash");
        shard
    }

    fn len(shard: &Shard, db: usize, key: &[u8]) -> Option<usize> {
        let entry = shard.databases[db].find(key)?;
        entry.value().as_hash(UnixMillis(0)).map(HashRef::len)
    }

    #[test]
    fn due_fields_go_in_slices_without_being_looked_at() {
        let mut shard = shard_with_hash(1000);
        assert_eq!(shard.expire_slice(UnixMillis(200)), Maintenance::Rest);
        assert_eq!(len(&shard, 0, b"h"), Some(1000), "at the deadline it is still there");
        assert!(shard.expire_fields_slice(UnixMillis(700), 64));
        assert_eq!(len(&shard, 0, b"h"), Some(936));
        while shard.expire_slice(UnixMillis(700)) == Maintenance::More {}
        assert_eq!(len(&shard, 0, b"h"), Some(500));
        while shard.expire_slice(UnixMillis(5000)) == Maintenance::More {}
        assert_eq!(len(&shard, 0, b"h"), None, "an empty hash is none");
        assert!(shard.field_deadlines.0.is_empty());
    }

    #[test]
    fn hashes_that_move_keep_their_deadlines() {
        let mut shard = shard_with_hash(3);
        let moved: Detached = shard.databases[0].take(b"h").expect("there");
        shard.context(0, UnixMillis(100), false).put(b"moved", moved);
        shard.swap(0, 1);
        while shard.expire_slice(UnixMillis(202)) == Maintenance::More {}
        assert_eq!(len(&shard, 1, b"moved"), Some(1));
        let mut context = shard.context(1, UnixMillis(300), false);
        assert!(context.read_hash(b"moved").expect("a hash").is_none(), "who looks removes it");
    }
}
