//! Values of every form that Redis up to 7.4 has written, into ours; and where a value ends, without building it.
//!
//! What was packed stays packed while the limits allow the number of its elements; their size is not asked, as Redis
//! does not.

use super::legacy::{ziplist, zipmap};
use super::length::{Reader, Text};
use super::stream_reader::{skip_stream, stream};
use super::{Damage, Problem, code, container};
use crate::base::{UnixMillis, double};
use crate::types::encoding::quicklist::End;
use crate::types::encoding::{Entry, Intset, Listpack};
use crate::types::{ELEMENT_BYTES_MAX, EncodingLimits, Hash, List, Set, SortedSet, StringValue, Value};
use std::cmp::Ordering;

pub(super) const TIME_BYTES: u64 = 8;

/// The latest deadline of a field that Redis can hold.
const FIELD_DEADLINE_MAX: u64 = (1 << 48) - 1;

/// Redis packs up to 1 GiB; what is read may grow a little.
const PACKED_BYTES_MAX: usize = u32::MAX as usize / 2;

/// Up to so many elements are compared with one another, more are sorted.
const COMPARED_MAX: usize = 16;

/// Reads the value that follows a type code (and, in a file, the key).
pub fn read_value(type_code: u8, reader: &mut Reader<'_>, limits: &EncodingLimits) -> Result<Value, Damage> {
    Ok(match type_code {
        code::STRING => Value::String(match reader.string()? {
            Text::Int(value) => StringValue::Int(value),
            Text::Bytes(text) => StringValue::new(&text),
        }),
        code::LIST => Value::List(list(reader, limits)?),
        code::LIST_ZIPLIST => Value::List(list_of_ziplist(reader, limits)?),
        code::LIST_QUICKLIST | code::LIST_QUICKLIST_2 => Value::List(quicklist(type_code, reader, limits)?),
        code::SET => Value::Set(set(reader, limits)?),
        code::SET_INTSET => Value::Set(intset(reader, limits)?),
        code::SET_LISTPACK => Value::Set(set_of_listpack(reader, limits)?),
        code::ZSET | code::ZSET_2 => Value::SortedSet(sorted_set(type_code, reader, limits)?),
        code::ZSET_ZIPLIST | code::ZSET_LISTPACK => {
            Value::SortedSet(packed_sorted_set(type_code, reader, limits)?)
        }
        code::HASH => Value::Hash(hash(reader, limits)?),
        code::HASH_ZIPMAP => Value::Hash(hash_of_zipmap(reader, limits)?),
        code::HASH_ZIPLIST => Value::Hash(hash_of_ziplist(reader, limits)?),
        code::HASH_LISTPACK => Value::Hash(hash_of_listpack(reader, limits)?),
        code::HASH_TTL | code::HASH_TTL_EARLY => Value::Hash(hash_with_deadlines(type_code, reader, limits)?),
        code::HASH_TTL_VALKEY => Value::Hash(hash_of_valkey(reader, limits)?),
        code::HASH_LISTPACK_TTL | code::HASH_LISTPACK_TTL_EARLY => {
            Value::Hash(listpack_with_deadlines(type_code, reader, limits)?)
        }
        code::STREAM | code::STREAM_2 | code::STREAM_3 | code::STREAM_4 => {
            Value::Stream(stream(type_code, reader)?)
        }
        _ => return Err(unreadable(type_code, reader)),
    })
}

/// Passes over the value that follows a type code. It is not looked into further than finding its end needs.
pub fn skip_value(type_code: u8, reader: &mut Reader<'_>) -> Result<(), Damage> {
    match type_code {
        code::STRING
        | code::LIST_ZIPLIST
        | code::SET_INTSET
        | code::SET_LISTPACK
        | code::ZSET_ZIPLIST
        | code::ZSET_LISTPACK
        | code::HASH_ZIPMAP
        | code::HASH_ZIPLIST
        | code::HASH_LISTPACK
        | code::HASH_LISTPACK_TTL_EARLY => reader.skip_string(),
        code::LIST | code::SET | code::LIST_QUICKLIST => each(reader, |reader| reader.skip_string()),
        code::HASH => each(reader, |reader| {
            reader.skip_string()?;
            reader.skip_string()
        }),
        code::ZSET => each(reader, |reader| {
            reader.skip_string()?;
            text_double(reader).map(drop)
        }),
        code::ZSET_2 => each(reader, |reader| {
            reader.skip_string()?;
            reader.take(8).map(drop)
        }),
        code::LIST_QUICKLIST_2 => each(reader, |reader| {
            reader.length()?;
            reader.skip_string()
        }),
        code::HASH_TTL | code::HASH_TTL_EARLY => {
            if type_code == code::HASH_TTL {
                reader.take(TIME_BYTES)?;
            }
            each(reader, |reader| {
                reader.length()?;
                reader.skip_string()?;
                reader.skip_string()
            })
        }
        code::HASH_TTL_VALKEY => each(reader, |reader| {
            reader.skip_string()?;
            reader.skip_string()?;
            reader.take(TIME_BYTES).map(drop)
        }),
        code::HASH_LISTPACK_TTL => {
            reader.take(TIME_BYTES)?;
            reader.skip_string()
        }
        code::STREAM | code::STREAM_2 | code::STREAM_3 | code::STREAM_4 => skip_stream(type_code, reader),
        _ => Err(unreadable(type_code, reader)),
    }
}

pub(super) fn each(
    reader: &mut Reader<'_>,
    mut skip: impl FnMut(&mut Reader<'_>) -> Result<(), Damage>,
) -> Result<(), Damage> {
    let count = reader.length()?;
    (0..count).try_for_each(|_| skip(reader))
}

fn unreadable(type_code: u8, reader: &mut Reader<'_>) -> Damage {
    let offset = reader.offset();
    let problem = match type_code {
        code::MODULE | code::MODULE_2 => match reader.length() {
            Ok(id) => Problem::Module(module_name(id)),
            Err(damage) => return damage,
        },
        _ => Problem::UnknownType(type_code),
    };
    Damage { offset, problem }
}

/// Nine letters of six bits each, in the upper bits of a module's id.
pub fn module_name(id: u64) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    (0..9).map(|letter| char::from(LETTERS[(id >> (58 - 6 * letter) & 63) as usize])).collect()
}

fn not_empty(offset: u64, len: u64) -> Result<usize, Damage> {
    match usize::try_from(len) {
        Ok(1..) => Ok(len as usize),
        Ok(0) => Err(Damage { offset, problem: Problem::Empty }),
        Err(_) => Err(Damage { offset, problem: Problem::Incomplete(usize::MAX) }),
    }
}

/// The number of elements that follow, at least one. It is no promise: nothing may be reserved for it.
fn elements(reader: &mut Reader<'_>) -> Result<usize, Damage> {
    let offset = reader.offset();
    not_empty(offset, reader.length()?)
}

/// A string that is part of a collection.
pub(super) fn element<'a>(reader: &mut Reader<'a>) -> Result<Text<'a>, Damage> {
    let offset = reader.offset();
    match reader.string()? {
        Text::Bytes(text) if text.len() > ELEMENT_BYTES_MAX => {
            reader.wrong(offset, "an element too large for a collection")
        }
        text => Ok(text),
    }
}

/// A string that is a whole collection. What is larger than any that Redis packs is not looked at.
fn blob<'a>(reader: &mut Reader<'a>) -> Result<Text<'a>, Damage> {
    let offset = reader.offset();
    match reader.string()? {
        Text::Bytes(text) if text.len() > PACKED_BYTES_MAX => {
            reader.wrong(offset, "a packed collection that is too large")
        }
        text => Ok(text),
    }
}

// -- Lists

fn list(reader: &mut Reader<'_>, limits: &EncodingLimits) -> Result<List, Damage> {
    let len = elements(reader)?;
    let mut list = List::default();
    let mut scratch = itoa::Buffer::new();
    for _ in 0..len {
        list.push(End::Back, element(reader)?.as_bytes(&mut scratch), limits);
    }
    Ok(list)
}

fn list_of_ziplist(reader: &mut Reader<'_>, limits: &EncodingLimits) -> Result<List, Damage> {
    let offset = reader.offset();
    let bytes = blob(reader)?.to_vec();
    let Some(entries) = ziplist(&bytes) else { return reader.wrong(offset, "a damaged ziplist of a list") };
    not_empty(offset, entries.len() as u64)?;
    let mut list = List::default();
    let mut scratch = itoa::Buffer::new();
    for entry in entries {
        list.push(End::Back, entry.as_bytes(&mut scratch), limits);
    }
    Ok(list)
}

fn quicklist(type_code: u8, reader: &mut Reader<'_>, limits: &EncodingLimits) -> Result<List, Damage> {
    let start = reader.offset();
    let len = elements(reader)?;
    let mut nodes = Vec::new();
    for _ in 0..len {
        let kind = match type_code {
            code::LIST_QUICKLIST => None,
            _ => Some(reader.length()?),
        };
        let offset = reader.offset();
        let text = if kind == Some(container::PLAIN) { element(reader)? } else { blob(reader)? };
        let mut scratch = itoa::Buffer::new();
        let bytes = text.as_bytes(&mut scratch);
        let node = match kind {
            _ if bytes.is_empty() => return reader.wrong(offset, "an empty node of a list"),
            Some(container::PACKED) => canonical(bytes),
            Some(container::PLAIN) => Some(pack_of([Entry::of(bytes)])),
            Some(_) => return reader.wrong(offset, "a node of a list of an unknown kind"),
            None => ziplist(bytes).map(pack_of),
        };
        let Some(node) = node else { return reader.wrong(offset, "a damaged node of a list") };
        // Old versions left nodes without elements; they are dropped.
        if !node.is_empty() {
            nodes.push(node);
        }
    }
    not_empty(start, nodes.len() as u64)?;
    Ok(List::from_nodes(nodes, limits))
}

/// The listpack that bytes from outside are, with every text in the form in which we would keep it.
fn canonical(bytes: &[u8]) -> Option<Listpack> {
    let pack = Listpack::from_bytes(bytes).ok()?;
    if pack.iter().all(Entry::is_canonical) { Some(pack) } else { Some(pack_of(pack.iter())) }
}

/// Its size is that of what the entries were read from, about: entries of no kind of node grow.
fn pack_of<'a>(entries: impl IntoIterator<Item = Entry<'a>>) -> Listpack {
    let mut pack = Listpack::new();
    let mut scratch = itoa::Buffer::new();
    for entry in entries {
        pack.push_back(entry.as_bytes(&mut scratch));
    }
    pack
}

// -- Sets

fn set(reader: &mut Reader<'_>, limits: &EncodingLimits) -> Result<Set, Damage> {
    let len = elements(reader)?;
    let mut set = Set::for_len(len, limits);
    let mut scratch = itoa::Buffer::new();
    for _ in 0..len {
        let offset = reader.offset();
        if !set.add(element(reader)?.as_bytes(&mut scratch), limits) {
            return reader.wrong(offset, "a member of a set twice");
        }
    }
    Ok(set)
}

fn intset(reader: &mut Reader<'_>, limits: &EncodingLimits) -> Result<Set, Damage> {
    let offset = reader.offset();
    let text = blob(reader)?;
    let Ok(ints) = Intset::from_bytes(text.as_bytes(&mut itoa::Buffer::new())) else {
        return reader.wrong(offset, "a damaged intset");
    };
    not_empty(offset, ints.len() as u64)?;
    if ints.len() <= limits.set_max_intset_entries {
        return Ok(Set::Ints(ints));
    }
    let mut set = Set::for_len(usize::MAX, limits);
    let mut scratch = itoa::Buffer::new();
    for value in ints.as_ref().iter() {
        set.add(scratch.format(value).as_bytes(), limits);
    }
    Ok(set)
}

fn set_of_listpack(reader: &mut Reader<'_>, limits: &EncodingLimits) -> Result<Set, Damage> {
    let offset = reader.offset();
    let pack = listpack(reader, "a damaged listpack of a set")?;
    let members: Vec<Entry<'_>> = pack.iter().collect();
    let len = not_empty(offset, members.len() as u64)?;
    if !all_different(members) {
        return reader.wrong(offset, "a member of a set twice");
    }
    if len <= limits.set_max_listpack_entries {
        return Ok(Set::Packed(pack));
    }
    let mut set = Set::for_len(usize::MAX, limits);
    let mut scratch = itoa::Buffer::new();
    for member in &pack {
        set.add(member.as_bytes(&mut scratch), limits);
    }
    Ok(set)
}

pub(super) fn listpack(reader: &mut Reader<'_>, complaint: &'static str) -> Result<Listpack, Damage> {
    let offset = reader.offset();
    let text = blob(reader)?;
    match canonical(text.as_bytes(&mut itoa::Buffer::new())) {
        Some(pack) => Ok(pack),
        None => reader.wrong(offset, complaint),
    }
}

/// Whether no two of these entries, which are in canonical form, are the same.
fn all_different(mut entries: Vec<Entry<'_>>) -> bool {
    if entries.len() <= COMPARED_MAX {
        return (1..entries.len()).all(|index| !entries[..index].contains(&entries[index]));
    }
    entries.sort_unstable_by(|one, other| match (one, other) {
        (Entry::Int(one), Entry::Int(other)) => one.cmp(other),
        (Entry::Str(one), Entry::Str(other)) => one.cmp(other),
        (Entry::Int(_), Entry::Str(_)) => Ordering::Less,
        (Entry::Str(_), Entry::Int(_)) => Ordering::Greater,
    });
    entries.windows(2).all(|pair| pair[0] != pair[1])
}

// -- Sorted sets

fn sorted_set(type_code: u8, reader: &mut Reader<'_>, limits: &EncodingLimits) -> Result<SortedSet, Damage> {
    const TWICE: &str = "a member of a sorted set twice";
    let start = reader.offset();
    let len = elements(reader)?;
    let mut scratch = itoa::Buffer::new();
    if len > limits.zset_max_listpack_entries {
        let mut set = SortedSet::for_len(len, limits);
        for _ in 0..len {
            let offset = reader.offset();
            let (member, score) = member_and_score(type_code, reader)?;
            if !set.put(member.as_bytes(&mut scratch), score, limits) {
                return reader.wrong(offset, TWICE);
            }
        }
        return Ok(set);
    }
    // Few: whether they fit a listpack shows when all are known, and a negative zero would not survive one.
    let mut members = Vec::new();
    for _ in 0..len {
        let (member, score) = member_and_score(type_code, reader)?;
        members.push((member.to_vec(), score));
    }
    let mut names: Vec<&[u8]> = members.iter().map(|(member, _)| &member[..]).collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        return reader.wrong(start, TWICE);
    }
    Ok(SortedSet::from_members(members, limits))
}

fn member_and_score<'a>(type_code: u8, reader: &mut Reader<'a>) -> Result<(Text<'a>, f64), Damage> {
    let member = element(reader)?;
    let offset = reader.offset();
    let score = if type_code == code::ZSET { text_double(reader)? } else { reader.f64_le()? };
    if score.is_nan() { reader.wrong(offset, "a score that is no number") } else { Ok((member, score)) }
}

/// A double as text: its length in a byte, of which the last three values stand for what has no digits.
fn text_double(reader: &mut Reader<'_>) -> Result<f64, Damage> {
    let offset = reader.offset();
    match reader.byte()? {
        255 => Ok(f64::NEG_INFINITY),
        254 => Ok(f64::INFINITY),
        253 => Ok(f64::NAN),
        0 => reader.wrong(offset, "a score that is no number"),
        length => match double::parse_bound(reader.take(length.into())?) {
            Some(score) => Ok(score),
            None => reader.wrong(offset, "a score that is no number"),
        },
    }
}

fn packed_sorted_set(
    type_code: u8,
    reader: &mut Reader<'_>,
    limits: &EncodingLimits,
) -> Result<SortedSet, Damage> {
    let offset = reader.offset();
    let text = blob(reader)?;
    let mut scratch = itoa::Buffer::new();
    let bytes = text.as_bytes(&mut scratch);
    let (pack, entries);
    if type_code == code::ZSET_LISTPACK {
        let Ok(read) = Listpack::from_bytes(bytes) else {
            return reader.wrong(offset, "a damaged listpack of a sorted set");
        };
        pack = read;
        entries = pack.iter().collect();
    } else {
        pack = Listpack::new();
        let Some(read) = ziplist(bytes) else {
            return reader.wrong(offset, "a damaged ziplist of a sorted set");
        };
        entries = read;
    }
    let (pairs, odd) = entries.as_chunks::<2>();
    if !odd.is_empty() {
        return reader.wrong(offset, "a member of a sorted set without a score");
    }
    let len = not_empty(offset, pairs.len() as u64)?;
    let mut members: Vec<Entry<'_>> = pairs.iter().map(|[member, _]| *member).collect();
    let canonical = members.iter().all(|member| member.is_canonical());
    members.iter_mut().for_each(|member| *member = canonical_entry(*member));
    if !all_different(members) {
        return reader.wrong(offset, "a member of a sorted set twice");
    }
    if canonical && type_code == code::ZSET_LISTPACK && len <= limits.zset_max_listpack_entries {
        let pack = Listpack::from_own_bytes(pack.as_bytes());
        if let Some(set) = SortedSet::from_pack(pack) {
            return Ok(set);
        }
    }
    let mut set = SortedSet::for_len(len, limits);
    for [member, score] in pairs {
        let score = match score {
            Entry::Int(score) => Some(*score as f64),
            Entry::Str(text) => double::parse_bound(text),
        };
        let Some(score) = score else { return reader.wrong(offset, "a score that is no number") };
        set.put(member.as_bytes(&mut itoa::Buffer::new()), score, limits);
    }
    Ok(set)
}

fn canonical_entry(entry: Entry<'_>) -> Entry<'_> {
    match entry {
        Entry::Int(_) => entry,
        Entry::Str(text) => Entry::of(text),
    }
}

// -- Hashes

fn hash(reader: &mut Reader<'_>, limits: &EncodingLimits) -> Result<Hash, Damage> {
    let len = elements(reader)?;
    let mut hash = Hash::for_len(len, limits);
    let (mut scratch, mut other) = (itoa::Buffer::new(), itoa::Buffer::new());
    for _ in 0..len {
        let offset = reader.offset();
        let (field, value) = (element(reader)?, element(reader)?);
        if !hash.put(field.as_bytes(&mut scratch), value.as_bytes(&mut other), limits) {
            return reader.wrong(offset, FIELD_TWICE);
        }
    }
    Ok(hash)
}

const FIELD_TWICE: &str = "a field of a hash twice";

fn hash_of_zipmap(reader: &mut Reader<'_>, limits: &EncodingLimits) -> Result<Hash, Damage> {
    let offset = reader.offset();
    let bytes = blob(reader)?.to_vec();
    let Some(pairs) = zipmap(&bytes) else { return reader.wrong(offset, "a damaged zipmap") };
    let mut hash = Hash::for_len(not_empty(offset, pairs.len() as u64)?, limits);
    for (field, value) in pairs {
        if !hash.put(field, value, limits) {
            return reader.wrong(offset, FIELD_TWICE);
        }
    }
    Ok(hash)
}

fn hash_of_ziplist(reader: &mut Reader<'_>, limits: &EncodingLimits) -> Result<Hash, Damage> {
    let offset = reader.offset();
    let bytes = blob(reader)?.to_vec();
    let Some(entries) = ziplist(&bytes) else { return reader.wrong(offset, "a damaged ziplist of a hash") };
    hash_of_entries(&entries, reader, offset, limits)
}

fn hash_of_listpack(reader: &mut Reader<'_>, limits: &EncodingLimits) -> Result<Hash, Damage> {
    let offset = reader.offset();
    let pack = listpack(reader, "a damaged listpack of a hash")?;
    let entries: Vec<Entry<'_>> = pack.iter().collect();
    let (pairs, odd) = entries.as_chunks::<2>();
    if !odd.is_empty() || pairs.is_empty() || pairs.len() > limits.hash_max_listpack_entries {
        return hash_of_entries(&entries, reader, offset, limits);
    }
    if !all_different(pairs.iter().map(|[field, _]| *field).collect()) {
        return reader.wrong(offset, FIELD_TWICE);
    }
    Ok(Hash::Packed(pack))
}

fn hash_of_entries(
    entries: &[Entry<'_>],
    reader: &Reader<'_>,
    offset: u64,
    limits: &EncodingLimits,
) -> Result<Hash, Damage> {
    let (pairs, odd) = entries.as_chunks::<2>();
    if !odd.is_empty() {
        return reader.wrong(offset, "a field of a hash without a value");
    }
    let mut hash = Hash::for_len(not_empty(offset, pairs.len() as u64)?, limits);
    let (mut scratch, mut other) = (itoa::Buffer::new(), itoa::Buffer::new());
    for [field, value] in pairs {
        if !hash.put(field.as_bytes(&mut scratch), value.as_bytes(&mut other), limits) {
            return reader.wrong(offset, FIELD_TWICE);
        }
    }
    Ok(hash)
}

fn hash_with_deadlines(
    type_code: u8,
    reader: &mut Reader<'_>,
    limits: &EncodingLimits,
) -> Result<Hash, Damage> {
    let earliest = if type_code == code::HASH_TTL { Some(reader.u64_le()?) } else { None };
    let len = elements(reader)?;
    let mut hash = Hash::for_len(len, limits);
    let (mut scratch, mut other) = (itoa::Buffer::new(), itoa::Buffer::new());
    for _ in 0..len {
        let offset = reader.offset();
        let told = reader.length()?;
        let deadline = match earliest {
            _ if told == 0 => Some(0),
            Some(earliest) => (told - 1).checked_add(earliest),
            None => Some(told),
        };
        let (field, value) = (element(reader)?, element(reader)?);
        put_with_deadline(
            &mut hash,
            field.as_bytes(&mut scratch),
            value.as_bytes(&mut other),
            deadline,
            limits,
        )
        .or_else(|complaint| reader.wrong(offset, complaint))?;
    }
    Ok(hash)
}

/// Each field with its value and a signed deadline, -1 for none.
fn hash_of_valkey(reader: &mut Reader<'_>, limits: &EncodingLimits) -> Result<Hash, Damage> {
    let len = elements(reader)?;
    let mut hash = Hash::for_len(len, limits);
    let (mut scratch, mut other) = (itoa::Buffer::new(), itoa::Buffer::new());
    for _ in 0..len {
        let offset = reader.offset();
        let (field, value) = (element(reader)?, element(reader)?);
        let deadline = match reader.u64_le()? as i64 {
            -1 => Some(0),
            // There the end of time is later. A zero would be none here.
            told => u64::try_from(told).ok().map(|told| told.clamp(1, FIELD_DEADLINE_MAX)),
        };
        let (field, value) = (field.as_bytes(&mut scratch), value.as_bytes(&mut other));
        put_with_deadline(&mut hash, field, value, deadline, limits)
            .or_else(|complaint| reader.wrong(offset, complaint))?;
    }
    Ok(hash)
}

/// Fields, values and deadlines in turn.
fn listpack_with_deadlines(
    type_code: u8,
    reader: &mut Reader<'_>,
    limits: &EncodingLimits,
) -> Result<Hash, Damage> {
    if type_code == code::HASH_LISTPACK_TTL {
        // The earliest deadline, which the listpack has, too.
        reader.take(TIME_BYTES)?;
    }
    let offset = reader.offset();
    let pack = listpack(reader, "a damaged listpack of a hash")?;
    let entries: Vec<Entry<'_>> = pack.iter().collect();
    let (triples, odd) = entries.as_chunks::<3>();
    if !odd.is_empty() {
        return reader.wrong(offset, "a field of a hash without a value or a deadline");
    }
    let mut hash = Hash::for_len(not_empty(offset, triples.len() as u64)?, limits);
    let (mut scratch, mut other) = (itoa::Buffer::new(), itoa::Buffer::new());
    for [field, value, deadline] in triples {
        let deadline = match deadline {
            Entry::Int(deadline) => u64::try_from(*deadline).ok(),
            Entry::Str(_) => None,
        };
        let (field, value) = (field.as_bytes(&mut scratch), value.as_bytes(&mut other));
        put_with_deadline(&mut hash, field, value, deadline, limits)
            .or_else(|complaint| reader.wrong(offset, complaint))?;
    }
    Ok(hash)
}

/// A deadline of zero is none, and `None` one that cannot be.
fn put_with_deadline(
    hash: &mut Hash,
    field: &[u8],
    value: &[u8],
    deadline: Option<u64>,
    limits: &EncodingLimits,
) -> Result<(), &'static str> {
    let Some(deadline) = deadline.filter(|deadline| *deadline <= FIELD_DEADLINE_MAX) else {
        return Err("a deadline of a field that is none");
    };
    if !hash.put(field, value, limits) {
        return Err(FIELD_TWICE);
    }
    if deadline != 0 {
        hash.set_deadline(field, UnixMillis(deadline), limits);
    }
    Ok(())
}
