//! A value as the commands that make it anew: how a value that has moved between shards stands in the journal, and
//! how an append-only file is rewritten as commands.

use crate::base::{UnixMillis, double};
use crate::keyspace::{Entry, ValueRef};
use crate::resp::{Argv, ArgvBuf};
use crate::types::stream::{IdBuffer, Stream};
use crate::types::{StreamId, Value};

/// Elements per command, as in Redis.
const CHUNK: usize = 64;

/// Gives out the commands that make a key what it is, provided that it does not exist. Deadlines of fields are set by
/// HPEXPIREAT, which redis-server 7.0 does not know.
pub fn rebuild(entry: Entry<'_>, mut each: impl FnMut(Argv<'_>)) {
    let key = entry.key();
    let mut chunks = Chunks { key, argv: ArgvBuf::new(), elements: 0, each: &mut each };
    let mut scratch = itoa::Buffer::new();
    if let Some(string) = entry.as_string() {
        chunks.once(&[b"SET", key, string.as_bytes(&mut scratch)]);
    } else if let Some(set) = entry.value().as_set() {
        set.for_each(|member| chunks.element(b"SADD", &[member.as_bytes(&mut itoa::Buffer::new())]));
    } else if let Some(hash) = entry.value().as_hash(UnixMillis(0)) {
        hash.for_each(|field, value| {
            let (mut one, mut other) = (itoa::Buffer::new(), itoa::Buffer::new());
            chunks.element(b"HSET", &[field.as_bytes(&mut one), value.as_bytes(&mut other)]);
        });
        chunks.flush();
        if let ValueRef::Boxed(Value::Hash(hash)) = entry.value() {
            for (field, deadline) in hash.deadlines().into_iter().flat_map(|deadlines| deadlines.iter()) {
                let at = scratch.format(deadline.0);
                chunks.once(&[b"HPEXPIREAT", key, at.as_bytes(), b"FIELDS", b"1", field]);
            }
        }
    } else {
        match entry.value() {
            ValueRef::Boxed(Value::List(list)) => {
                list.iter().for_each(|element| chunks.element(b"RPUSH", &[element.as_bytes(&mut scratch)]));
            }
            ValueRef::Boxed(Value::SortedSet(set)) => {
                let mut text = Vec::with_capacity(32);
                set.each(|member, score| {
                    text.clear();
                    double::write_g17(score, &mut text);
                    chunks.element(b"ZADD", &[&text, member]);
                });
            }
            ValueRef::Boxed(Value::Stream(stream)) => rebuild_stream(key, stream, chunks.each),
            _ => unreachable!("every type has its commands"),
        }
    }
    chunks.flush();
    if let Some(deadline) = entry.deadline() {
        chunks.once(&[b"PEXPIREAT", key, scratch.format(deadline.0).as_bytes()]);
    }
}

/// A stream entry by entry, then what else it counts, then its groups. What is pending although it was deleted does
/// not come back, as in Redis.
fn rebuild_stream(key: &[u8], stream: &Stream, each: &mut impl FnMut(Argv<'_>)) {
    let mut say = |words: &[&[u8]]| each(ArgvBuf::from_iter(words.iter().copied()).as_argv());
    let (log, mut buffer) = (stream.log(), IdBuffer::new());
    for entry in log.iter() {
        let mut argv: Vec<Vec<u8>> =
            vec![b"XADD".to_vec(), key.to_vec(), entry.id.write(&mut buffer).to_vec()];
        argv.extend(entry.fields().flat_map(|(name, value)| [name.to_vec(), value.to_vec()]));
        let words: Vec<&[u8]> = argv.iter().map(Vec::as_slice).collect();
        say(&words);
    }
    if log.is_empty() {
        // Nothing makes an empty stream but to add something and to take it away at once.
        let id = log.last_id().max(StreamId::new(0, 1));
        say(&[b"XADD", key, b"MAXLEN", b"0", id.write(&mut buffer), b"x", b"y"]);
    }
    let (mut other, mut number) = (IdBuffer::new(), itoa::Buffer::new());
    say(&[
        b"XSETID",
        key,
        log.last_id().write(&mut buffer),
        b"ENTRIESADDED",
        number.format(log.entries_added() as i64).as_bytes(),
        b"MAXDELETEDID",
        // XSETID may have left it beyond the last id, but accepts it no second time.
        log.max_deleted_id().min(log.last_id()).write(&mut other),
    ]);
    for (name, group) in stream.groups() {
        let read = number.format(group.entries_read.map_or(-1, |count| count as i64)).as_bytes();
        say(&[b"XGROUP", b"CREATE", key, name, group.last_id.write(&mut buffer), b"ENTRIESREAD", read]);
        for consumer in group.consumers() {
            say(&[b"XGROUP", b"CREATECONSUMER", key, name, consumer.name()]);
            for id in consumer.pending() {
                let pending = group.pending_of(*id).expect("what a consumer has is pending for its group");
                let (mut time, mut count) = (itoa::Buffer::new(), itoa::Buffer::new());
                say(&[
                    b"XCLAIM",
                    key,
                    name,
                    consumer.name(),
                    b"0",
                    id.write(&mut buffer),
                    b"TIME",
                    time.format(pending.delivered.0).as_bytes(),
                    b"RETRYCOUNT",
                    count.format(pending.deliveries as i64).as_bytes(),
                    b"JUSTID",
                    b"FORCE",
                ]);
            }
        }
    }
}

/// Collects elements into commands of [`CHUNK`].
struct Chunks<'a, F: FnMut(Argv<'_>)> {
    key: &'a [u8],
    argv: ArgvBuf,
    elements: usize,
    each: &'a mut F,
}

impl<F: FnMut(Argv<'_>)> Chunks<'_, F> {
    fn element(&mut self, command: &[u8], words: &[&[u8]]) {
        if self.elements == 0 {
            self.argv.push(command);
            self.argv.push(self.key);
        }
        words.iter().for_each(|word| self.argv.push(word));
        self.elements += 1;
        if self.elements == CHUNK {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if self.elements > 0 {
            (self.each)(self.argv.as_argv());
            self.argv.clear();
            self.elements = 0;
        }
    }

    fn once(&mut self, words: &[&[u8]]) {
        words.iter().for_each(|word| self.argv.push(word));
        (self.each)(self.argv.as_argv());
        self.argv.clear();
    }
}
