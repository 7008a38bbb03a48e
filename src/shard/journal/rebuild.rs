//! A value as the commands that make it anew: how a value that has moved between shards stands in the journal, and
//! how an append-only file is rewritten as commands.

use crate::base::{UnixMillis, double};
use crate::keyspace::{Entry, ValueRef};
use crate::resp::{Argv, ArgvBuf};
use crate::types::stream::{IdBuffer, Stream};
use crate::types::{StreamId, Value};

/// Elements per command, as in Redis...
const CHUNK: usize = 64;
/// ...and fewer if they are large: a command's arguments have places of four bytes.
const CHUNK_BYTES: usize = 64 << 20;

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
                list.for_each(|element| chunks.element(b"RPUSH", &[element.as_bytes(&mut scratch)]));
            }
            ValueRef::Boxed(Value::SortedSet(set)) => {
                let mut text = Vec::with_capacity(32);
                set.each(|member, score| {
                    text.clear();
                    double::write_g17(score, &mut text);
                    chunks.element(b"ZADD", &[&text, member]);
                });
            }
            ValueRef::Boxed(Value::Stream(stream)) => rebuild_stream(stream, &mut chunks),
            _ => unreachable!("every type has its commands"),
        }
    }
    chunks.flush();
    if let Some(deadline) = entry.deadline() {
        chunks.once(&[b"PEXPIREAT", key, scratch.format(deadline.0).as_bytes()]);
    }
}

/// What is pending though its entry was deleted is lost, as in Redis: no command can say it.
fn rebuild_stream<F: FnMut(Argv<'_>)>(stream: &Stream, chunks: &mut Chunks<'_, F>) {
    let key = chunks.key;
    let (mut buffer, mut digits) = (IdBuffer::new(), itoa::Buffer::new());
    let log = stream.log();
    for entry in log.iter() {
        chunks.argv.push(b"XADD");
        chunks.argv.push(key);
        chunks.argv.push(entry.id.write(&mut buffer));
        let (mut one, mut other) = (itoa::Buffer::new(), itoa::Buffer::new());
        for (name, value) in entry.fields() {
            chunks.argv.push(name.as_bytes(&mut one));
            chunks.argv.push(value.as_bytes(&mut other));
        }
        chunks.once(&[]);
    }
    if log.is_empty() {
        // There is no other way to an empty stream that has no groups.
        let id = log.last_id().max(StreamId::new(0, 1));
        chunks.once(&[b"XADD", key, b"MAXLEN", b"=", b"0", id.write(&mut buffer), b"x", b"y"]);
    }
    let mut deleted = IdBuffer::new();
    chunks.once(&[
        b"XSETID",
        key,
        log.last_id().write(&mut buffer),
        b"ENTRIESADDED",
        digits.format(log.entries_added()).as_bytes(),
        b"MAXDELETEDID",
        log.max_deleted_id().write(&mut deleted),
    ]);
    for (name, group) in stream.groups() {
        let last = group.last_id.write(&mut buffer);
        match group.entries_read {
            Some(count) => {
                let count = digits.format(count).as_bytes();
                chunks.once(&[b"XGROUP", b"CREATE", key, name, last, b"ENTRIESREAD", count]);
            }
            None => chunks.once(&[b"XGROUP", b"CREATE", key, name, last]),
        }
        for consumer in group.consumers() {
            chunks.once(&[b"XGROUP", b"CREATECONSUMER", key, name, consumer.name()]);
        }
        for (id, pending) in group.pending().iter().filter(|(id, _)| log.get(**id).is_some()) {
            let consumer = group.consumer(pending.consumer).name();
            let mut time = itoa::Buffer::new();
            chunks.once(&[
                b"XCLAIM",
                key,
                name,
                consumer,
                b"0",
                id.write(&mut buffer),
                b"TIME",
                time.format(pending.delivered.0).as_bytes(),
                b"RETRYCOUNT",
                digits.format(pending.deliveries).as_bytes(),
                b"JUSTID",
                b"FORCE",
            ]);
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
        if self.elements == CHUNK || self.argv.payload_bytes() >= CHUNK_BYTES {
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
