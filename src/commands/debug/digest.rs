//! DEBUG DIGEST: the same digest for the same data, here and in Redis, whatever the order of the keys.
//!
//! Everything is SHA-1 and exclusive or. What has an order is *mixed*: the hash of a part is xored in and the
//! result hashed again. What has none, the keys of a database, is only xored in. Databases are mixed in by
//! their number, in order, so a core contributes the xor of its keys per database.

use crate::base::UnixMillis;
use crate::base::double;
use crate::base::hash::sha1;
use crate::keyspace::{Entry, Keyspace, ValueRef};
use crate::types::{TypeName, Value};

#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Digest([u8; 20]);

impl Digest {
    fn xor_hash_of(&mut self, part: &[u8]) {
        self.xor(&Self(sha1(part)));
    }

    fn xor(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(mine, theirs)| *mine ^= theirs);
    }

    fn mix(&mut self, part: &[u8]) {
        self.xor_hash_of(part);
        self.0 = sha1(&self.0);
    }

    /// The digest of a value with its deadline, apart from its key.
    pub fn of_value(entry: Entry<'_>) -> Self {
        Self::default().with_value(entry)
    }

    fn of_key_and_value(entry: Entry<'_>) -> Self {
        let mut digest = Self::default();
        digest.mix(entry.key());
        digest.with_value(entry)
    }

    fn with_value(mut self, entry: Entry<'_>) -> Self {
        self.mix(&type_number(entry.type_name()).to_be_bytes());
        if let Some(string) = entry.as_string() {
            self.mix(string.as_bytes(&mut itoa::Buffer::new()));
        }
        if let ValueRef::Boxed(Value::List(list)) = entry.value() {
            list.for_each(|element| self.mix(element.as_bytes(&mut itoa::Buffer::new())));
        }
        if let Some(set) = entry.value().as_set() {
            set.for_each(|member| self.xor_hash_of(member.as_bytes(&mut itoa::Buffer::new())));
        }
        if let ValueRef::Boxed(Value::SortedSet(set)) = entry.value() {
            set.each(|member, score| {
                let (mut pair, mut text) = (Self::default(), Vec::with_capacity(32));
                double::write_g17(score, &mut text);
                pair.mix(member);
                pair.mix(&text);
                self.xor_hash_of(&pair.0);
            });
        }
        if let Some(hash) = entry.value().as_hash(UnixMillis(0)) {
            hash.for_each(|field, value| {
                let mut pair = Self::default();
                pair.mix(field.as_bytes(&mut itoa::Buffer::new()));
                pair.mix(value.as_bytes(&mut itoa::Buffer::new()));
                self.xor_hash_of(&pair.0);
            });
        }
        if let ValueRef::Boxed(Value::Stream(stream)) = entry.value() {
            for record in stream.log().iter() {
                self.mix(format!("{}.{}", record.id.ms, record.id.seq).as_bytes());
                for (field, value) in record.fields() {
                    self.mix(field.as_bytes(&mut itoa::Buffer::new()));
                    self.mix(value.as_bytes(&mut itoa::Buffer::new()));
                }
            }
        }
        if entry.deadline().is_some() {
            self.xor_hash_of(b"!!expire!!");
        }
        self
    }

    pub fn to_hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// As Redis numbers the types.
fn type_number(name: TypeName) -> u32 {
    match name {
        TypeName::String => 0,
        TypeName::List => 1,
        TypeName::Set => 2,
        TypeName::SortedSet => 3,
        TypeName::Hash => 4,
        TypeName::Stream => 6,
    }
}

/// One core's part of a database.
#[derive(Clone, Debug, Default)]
pub struct DatabaseDigest {
    keys: usize,
    xored: Digest,
}

impl DatabaseDigest {
    pub fn of(keyspace: &Keyspace) -> Self {
        let mut xored = Digest::default();
        for entry in keyspace.iter() {
            xored.xor_hash_of(&Digest::of_key_and_value(entry).0);
        }
        Self { keys: keyspace.len(), xored }
    }
}

/// All cores' parts, each by database, as one.
pub fn of_dataset(cores: &[Vec<DatabaseDigest>]) -> Digest {
    let mut digest = Digest::default();
    for database in 0..cores.first().map_or(0, Vec::len) {
        let parts = || cores.iter().map(|core| &core[database]);
        if parts().all(|part| part.keys == 0) {
            continue;
        }
        digest.mix(&(database as u32).to_be_bytes());
        parts().for_each(|part| digest.xor(&part.xored));
    }
    digest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::{Slab, Ttl};
    use std::rc::Rc;

    fn keyspace(pairs: &[(&str, &str)]) -> Keyspace {
        let mut keyspace = Keyspace::new(Rc::new(Slab::new()), [1, 2, 3, 4]);
        for (key, value) in pairs {
            keyspace.set_string(key.as_bytes(), value.as_bytes(), Ttl::Clear);
        }
        keyspace
    }

    fn dataset(cores: &[&[Keyspace]]) -> String {
        let parts: Vec<Vec<DatabaseDigest>> =
            cores.iter().map(|core| core.iter().map(DatabaseDigest::of).collect()).collect();
        of_dataset(&parts).to_hex()
    }

    /// The expected digests come from redis-server 7.0.15.
    #[test]
    fn values_have_the_digests_that_redis_gives_them() {
        let keyspace = keyspace(&[("foo", "bar"), ("n", "12345")]);
        let digest = |key: &[u8]| keyspace.find(key).map(Digest::of_value).expect("set above").to_hex();
        assert_eq!(digest(b"foo"), "68467c70ae30376e7ce005bcc8827f5ba7fd67dc");
        assert_eq!(digest(b"n"), "e1cf90774e995ae03de66e8109dc5cb9d9c2dc83");
    }

    #[test]
    fn cores_together_have_the_digest_of_one() {
        let big = "a".repeat(72);
        let all = [("foo", "bar"), ("n", "12345"), ("big", big.as_str())];
        let one = dataset(&[&[keyspace(&all)]]);
        assert_eq!(one, "c0e1637fc585ab49051698b8abc9eb69232b36a5", "as redis-server 7.0.15 says");
        assert_eq!(dataset(&[&[keyspace(&all[..1])], &[keyspace(&all[1..])]]), one);
        assert_ne!(dataset(&[&[keyspace(&all[1..])]]), one);
        assert_eq!(dataset(&[&[keyspace(&[])]]), "0".repeat(40));
    }

    #[test]
    fn the_database_and_the_deadline_count() {
        let data = || keyspace(&[("foo", "bar")]);
        assert_ne!(dataset(&[&[data(), keyspace(&[])]]), dataset(&[&[keyspace(&[]), data()]]));
        let mut mortal = data();
        mortal.set_deadline(b"foo", UnixMillis(5));
        assert_ne!(dataset(&[&[mortal]]), dataset(&[&[data()]]));
    }
}
