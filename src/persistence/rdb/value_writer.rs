//! A value in the form in which redis-server 7.0 would write it, or, where 7.0 has none, the first Redis that has.
//!
//! Small collections are kept in the bytes of Redis' listpacks and intsets, and written as they are.

use super::length::{write_compressed, write_int, write_length, write_string};
use super::{ENTRIES_READ_UNKNOWN, VERSION, VERSION_OF_FIELD_DEADLINES, code, container};
use crate::base::UnixMillis;
use crate::keyspace::ValueRef;
use crate::types::encoding::Entry;
use crate::types::encoding::listpack::Pack;
use crate::types::encoding::quicklist::Content;
use crate::types::{
    FieldDeadlines, Hash, List, PackedKind, SetRef, SortedSet, Stream, StreamId, StringRef, Value,
};
use std::ops::ControlFlow;

/// Redis keeps elements of this size outside of listpacks.
const PLAIN_MIN: usize = 1 << 30;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct WriteOptions {
    /// `rdbcompression`: strings of more than 20 bytes are packed by LZF.
    pub compress: bool,
}

/// The form in which [`write_value`] writes a value.
#[inline]
pub fn type_code(value: ValueRef<'_>) -> u8 {
    match value {
        ValueRef::Str(_) | ValueRef::Int(_) => code::STRING,
        ValueRef::Packed(packed) => match packed.kind {
            PackedKind::Hash => code::HASH_LISTPACK,
            PackedKind::Ints => code::SET_INTSET,
            // A listpack in our memory; redis-server 7.0 has no such sets.
            PackedKind::Members => code::SET,
        },
        ValueRef::Boxed(value) => match value {
            Value::String(_) => code::STRING,
            Value::List(_) => code::LIST_QUICKLIST_2,
            Value::Hash(Hash::Packed(_)) => code::HASH_LISTPACK,
            Value::Hash(hash) if hash.deadlines().is_some() => code::HASH_TTL,
            Value::Hash(Hash::Table(_)) => code::HASH,
            Value::Set(set) => match set.as_ref() {
                SetRef::Ints(_) => code::SET_INTSET,
                SetRef::Packed(_) | SetRef::Table(_) => code::SET,
            },
            Value::SortedSet(SortedSet::Packed(_)) => code::ZSET_LISTPACK,
            Value::SortedSet(SortedSet::Ranked(_)) => code::ZSET_2,
            Value::Stream(_) => code::STREAM_2,
        },
    }
}

/// The first version of the format that can hold a value. Only deadlines of fields need more than [`VERSION`].
#[inline]
pub fn version_needed(value: ValueRef<'_>) -> u16 {
    match type_code(value) {
        code::HASH_TTL => VERSION_OF_FIELD_DEADLINES,
        _ => VERSION,
    }
}

/// Appends a value without its type code.
pub fn write_value(value: ValueRef<'_>, options: &WriteOptions, out: &mut Vec<u8>) {
    let mut writer = Writer { compress: options.compress, out };
    match value {
        ValueRef::Str(text) => writer.string(text),
        ValueRef::Int(value) => write_int(value, writer.out),
        ValueRef::Packed(packed) => match packed.as_set() {
            Some(SetRef::Packed(_)) => writer.set(packed.as_set().expect("just seen")),
            _ => writer.string(packed.bytes),
        },
        ValueRef::Boxed(value) => match value {
            Value::String(string) => match string.as_ref() {
                StringRef::Bytes(text) => writer.string(text),
                StringRef::Int(value) => write_int(value, writer.out),
            },
            Value::List(list) => writer.list(list),
            Value::Hash(hash) => writer.hash(hash),
            Value::Set(set) => writer.set(set.as_ref()),
            Value::SortedSet(set) => writer.sorted_set(set),
            Value::Stream(stream) => writer.stream(stream),
        },
    }
}

struct Writer<'o> {
    compress: bool,
    out: &'o mut Vec<u8>,
}

impl Writer<'_> {
    #[inline]
    fn string(&mut self, text: &[u8]) {
        write_string(text, self.compress, self.out);
    }

    #[inline]
    fn entry(&mut self, entry: Entry<'_>) {
        match entry {
            Entry::Str(text) => self.string(text),
            Entry::Int(value) => write_int(value, self.out),
        }
    }

    fn length(&mut self, length: usize) {
        write_length(length as u64, self.out);
    }

    fn list(&mut self, list: &List) {
        let nodes = list.nodes();
        self.length(nodes.len());
        for node in nodes.iter() {
            match node.content() {
                // As in Redis, whatever `rdbcompression` says.
                Content::Compressed(packed, bytes) => {
                    write_length(container::PACKED, self.out);
                    write_compressed(packed, bytes, self.out);
                }
                Content::Plain(pack) => match huge_element(pack) {
                    Some(text) => {
                        write_length(container::PLAIN, self.out);
                        self.string(text);
                    }
                    None => {
                        write_length(container::PACKED, self.out);
                        self.string(pack.as_bytes());
                    }
                },
            }
        }
    }

    fn set(&mut self, set: SetRef<'_>) {
        if let SetRef::Ints(ints) = set {
            return self.string(ints.as_bytes());
        }
        self.length(set.len());
        set.for_each(|member| self.entry(member));
    }

    fn hash(&mut self, hash: &Hash) {
        if let Hash::Packed(pack) = hash {
            return self.string(pack.as_bytes());
        }
        // Fields that are due are written, too: whoever reads them knows their deadline.
        let all = hash.at(UnixMillis(0));
        match hash.deadlines() {
            None => {
                self.length(all.len());
                all.for_each(|field, value| {
                    self.entry(field);
                    self.entry(value);
                });
            }
            Some(deadlines) => {
                let earliest = deadlines.earliest().unwrap_or(UnixMillis(0));
                self.out.extend_from_slice(&earliest.0.to_le_bytes());
                self.length(all.len());
                let mut scratch = itoa::Buffer::new();
                all.for_each(|field, value| {
                    let after = after(deadlines, field.as_bytes(&mut scratch), earliest);
                    write_length(after, self.out);
                    self.entry(field);
                    self.entry(value);
                });
            }
        }
    }

    /// Without the times at which consumers were last given something: redis-server 7.0 knows none.
    fn stream(&mut self, stream: &Stream) {
        let log = stream.log();
        self.length(log.nodes().len());
        for (id, pack) in log.nodes() {
            self.string(&id.to_bytes());
            self.string(pack.as_bytes());
        }
        let header = log.header();
        write_length(header.length, self.out);
        for id in [header.last_id, header.first_id, header.max_deleted_id] {
            self.stream_id(id);
        }
        write_length(header.entries_added, self.out);
        self.length(stream.groups().len());
        for (name, group) in stream.groups() {
            self.string(name);
            self.stream_id(group.last_id);
            write_length(group.entries_read.unwrap_or(ENTRIES_READ_UNKNOWN), self.out);
            self.length(group.pending().len());
            for (id, pending) in group.pending() {
                self.out.extend_from_slice(&id.to_bytes());
                self.out.extend_from_slice(&pending.delivered.0.to_le_bytes());
                write_length(pending.deliveries, self.out);
            }
            self.length(group.consumers().len());
            for consumer in group.consumers() {
                self.string(consumer.name());
                self.out.extend_from_slice(&consumer.seen.0.to_le_bytes());
                self.length(consumer.pending().len());
                for id in consumer.pending() {
                    self.out.extend_from_slice(&id.to_bytes());
                }
            }
        }
    }

    fn stream_id(&mut self, id: StreamId) {
        write_length(id.ms, self.out);
        write_length(id.seq, self.out);
    }

    fn sorted_set(&mut self, set: &SortedSet) {
        if let Some(pack) = set.as_pack() {
            return self.string(pack.as_bytes());
        }
        self.length(set.len());
        // From the last to the first, as Redis does: it inserts each at the front of its skiplist.
        set.visit(0..set.len(), true, |member, score| {
            self.string(member);
            self.out.extend_from_slice(&score.to_le_bytes());
            ControlFlow::Continue(())
        });
    }
}

/// The deadline of a field as it is written: zero for none, else counted from the earliest, plus one.
fn after(deadlines: &FieldDeadlines, field: &[u8], earliest: UnixMillis) -> u64 {
    deadlines.get(field).map_or(0, |deadline| deadline.0 - earliest.0 + 1)
}

/// The only element of a node, if Redis would not pack it.
fn huge_element(node: Pack<'_>) -> Option<&[u8]> {
    if node.as_bytes().len() < PLAIN_MIN {
        return None;
    }
    let mut entries = node.iter();
    match (entries.next(), entries.next()) {
        (Some(Entry::Str(text)), None) if text.len() >= PLAIN_MIN => Some(text),
        _ => None,
    }
}
