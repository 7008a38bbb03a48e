//! What is written is read back, whatever the encoding and wherever it is cut; old forms by hand.

use super::payload::{Refusal, dump, restore};
use super::*;
use crate::base::UnixMillis;
use crate::keyspace::ValueRef;
use crate::types::encoding::quicklist::End;
use crate::types::stream::{Group, Pending, References};
use crate::types::{EncodingLimits, Hash, List, Set, SortedSet, Stream, StreamId, StringValue, Value};
use proptest::prelude::*;

fn limits() -> EncodingLimits {
    EncodingLimits::default()
}

/// Few elements per encoding, so that every one of them occurs.
fn small_limits() -> EncodingLimits {
    EncodingLimits {
        list_max_listpack_size: 3,
        hash_max_listpack_entries: 4,
        hash_max_listpack_value: 30,
        set_max_intset_entries: 4,
        set_max_listpack_entries: 4,
        set_max_listpack_value: 30,
        zset_max_listpack_entries: 4,
        zset_max_listpack_value: 30,
        hash_seed: 1,
        ..limits()
    }
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        (-3_i64..200).prop_map(|value| value.to_string().into_bytes()),
        any::<i64>().prop_map(|value| value.to_string().into_bytes()),
        proptest::collection::vec(any::<u8>(), 0..40),
        proptest::collection::vec(0_u8..2, 0..300),
    ]
}

fn score() -> impl Strategy<Value = f64> {
    prop_oneof![
        (-5_i32..5).prop_map(f64::from),
        any::<f64>().prop_filter("no number", |score| !score.is_nan()),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![2 => stream(), 7 => simple_value()]
}

fn simple_value() -> impl Strategy<Value = Value> {
    let texts = || proptest::collection::vec(text(), 1..12);
    prop_oneof![
        text().prop_map(|text| Value::String(StringValue::new(&text))),
        text().prop_map(|text| {
            let mut string = StringValue::new(&text);
            string.make_raw().append(b"");
            Value::String(string)
        }),
        texts().prop_map(|texts| {
            let mut list = List::default();
            texts.iter().for_each(|text| list.push(End::Back, text, &small_limits()));
            Value::List(list)
        }),
        texts().prop_map(|texts| {
            let mut set = Set::default();
            texts.iter().for_each(|text| _ = set.add(text, &small_limits()));
            Value::Set(set)
        }),
        proptest::collection::vec(any::<i32>(), 1..6).prop_map(|members| {
            let mut set = Set::default();
            members.iter().for_each(|member| _ = set.add(member.to_string().as_bytes(), &small_limits()));
            Value::Set(set)
        }),
        proptest::collection::vec((text(), score()), 1..12).prop_map(|members| {
            let mut set = SortedSet::default();
            members.iter().for_each(|(member, score)| _ = set.put(member, *score, &small_limits()));
            Value::SortedSet(set)
        }),
        proptest::collection::vec((text(), text(), 0_u64..3), 1..12).prop_map(|fields| {
            let mut hash = Hash::default();
            for (field, value, deadline) in fields {
                hash.set(&field, &value, &small_limits());
                if deadline == 1 {
                    hash.set_deadline(
                        &field,
                        UnixMillis(1_700_000_000_000 + value.len() as u64),
                        &small_limits(),
                    );
                }
            }
            Value::Hash(hash)
        }),
    ]
}

fn stream() -> impl Strategy<Value = Value> {
    let entry = (proptest::collection::vec((0_u8..3, text()), 1..4), 0_u64..3, any::<bool>());
    let group = proptest::collection::vec((0_u8..3, 0_usize..9, any::<u32>(), 0_u64..300), 0..8);
    (proptest::collection::vec(entry, 0..9), proptest::collection::vec(group, 0..3), any::<bool>()).prop_map(
        |(entries, groups, told)| {
            let limits = EncodingLimits { stream_node_max_entries: 3, ..limits() };
            let mut stream = Box::new(Stream::default());
            let (mut id, mut ids) = (StreamId::new(1_700_000_000_000, 1), Vec::new());
            for (fields, step, deleted) in entries {
                id = StreamId::new(id.ms + step, id.seq + 1);
                let fields = fields.iter().map(|(name, value)| (std::slice::from_ref(name), &value[..]));
                stream.log_mut().append(id, fields, &limits).expect("ids grow");
                ids.push(id);
                if deleted {
                    stream.remove(id, References::Keep);
                }
            }
            for (number, pending) in groups.into_iter().enumerate() {
                let mut group = Group::new(id, told.then_some(number as u64));
                let consumers = [b"a", b"b", b"c"].map(|name| {
                    let seen = UnixMillis(number as u64 + 1);
                    let consumer = group.create(name, seen);
                    group.consumer_mut(consumer).active = Some(seen);
                    consumer
                });
                for (consumer, which, delivered, deliveries) in pending {
                    let Some(id) = ids.get(which) else { continue };
                    let consumer = consumers[usize::from(consumer)];
                    let delivered = UnixMillis(delivered.into());
                    group.assign(*id, Pending { consumer, delivered, deliveries });
                }
                stream.create_group(format!("group {number}").as_bytes(), group);
            }
            Value::Stream(stream)
        },
    )
}

fn value_ref(value: &Value) -> ValueRef<'_> {
    match value.as_packed() {
        Some(packed) => ValueRef::Packed(packed),
        None => ValueRef::Boxed(value),
    }
}

/// A string that was edited is `raw`; one that is read is as if it had just been set.
fn as_set(value: Value) -> Value {
    match value {
        Value::String(string) => Value::String(StringValue::new(&string.as_ref().to_vec())),
        other => other,
    }
}

proptest! {
    #[test]
    fn there_and_back(value in value(), compress in any::<bool>()) {
        let options = WriteOptions { compress };
        let payload = dump(value_ref(&value), &options);
        prop_assert_eq!(&payload, &dump(ValueRef::Boxed(&value), &options));
        let value = as_set(value);
        let read = restore(&payload, &small_limits(), true);
        prop_assert_eq!(read.as_ref(), Ok(&value));
        prop_assert_eq!(read.map(|read| read.encoding()), Ok(value.encoding()));
        // Other limits, other encodings, the same content.
        let other = restore(&payload, &limits(), true);
        prop_assert_eq!(other.as_ref(), Ok(&value));

        let body = &payload[1..payload.len() - 10];
        for cut in 0..body.len() {
            let mut reader = Reader::new(&body[..cut]);
            let damage = read_value(payload[0], &mut reader, &limits()).expect_err("it is cut");
            let more = damage.missing().expect("nothing else is wrong");
            prop_assert!(more <= body.len() - cut);
            let skipped = skip_value(payload[0], &mut Reader::new(&body[..cut]));
            prop_assert_eq!(skipped.map_err(|damage| damage.missing().is_some()), Err(true));
        }
        let mut behind = body.to_vec();
        behind.extend_from_slice(b"behind");
        let mut reader = Reader::new(&behind);
        skip_value(payload[0], &mut reader).expect("it is whole");
        prop_assert_eq!(reader.position(), body.len());
    }

    /// A spoilt byte is refused or gives a value that is whole: it can be written and read again.
    #[test]
    fn spoilt_bytes(value in value(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut payload = dump(value_ref(&value), &WriteOptions { compress: at.index(2) == 0 });
        let at = at.index(payload.len() - 10);
        payload[at] = byte;
        if let Ok(read) = restore(&payload, &small_limits(), false) {
            let plain = WriteOptions { compress: false };
            // Two rounds: the bytes may name consumers in another order than ours, which is by name.
            let once = restore(&dump(value_ref(&read), &plain), &small_limits(), true).expect("written by us");
            let twice = restore(&dump(value_ref(&once), &plain), &small_limits(), true);
            prop_assert_eq!(twice.as_ref(), Ok(&once));
            if !matches!(read, Value::Stream(_)) {
                prop_assert_eq!(once, read);
            }
        }
    }
}

#[test]
fn footers() {
    let value = Value::String(StringValue::Int(1));
    let payload = dump(value_ref(&value), &WriteOptions { compress: true });
    // As redis-server 7.0.15 answers DUMP.
    assert_eq!(payload, b"\x00\xc0\x01\n\x00&x\xe7\xb6\xd1\x01\x11\xfc");
    assert_eq!(restore(&payload, &limits(), true), Ok(value));
    for cut in 0..payload.len() {
        assert_eq!(restore(&payload[..cut], &limits(), true), Err(Refusal::Footer));
    }
    let mut later = payload.clone();
    for unknown in [14, 79, 81] {
        later[3] = unknown;
        assert_eq!(restore(&later, &limits(), false), Err(Refusal::Footer));
    }
}

fn read(type_code: u8, bytes: &[u8]) -> Result<Value, Damage> {
    let mut skipped = Reader::new(bytes);
    let whole = skip_value(type_code, &mut skipped).map(|()| skipped.position());
    let mut reader = Reader::new(bytes);
    let value = read_value(type_code, &mut reader, &limits());
    if value.is_ok() {
        assert_eq!((reader.remaining(), whole), (0, Ok(bytes.len())));
    }
    value
}

/// Nodes that are kept compressed go to a dump as they are, also where nothing else is to be compressed.
#[test]
fn compressed_nodes_of_lists() {
    let limits = EncodingLimits { list_compress_depth: 1, list_max_listpack_size: 4, ..limits() };
    let mut list = List::default();
    (0..40).for_each(|_| list.push(End::Back, &[b'x'; 100], &limits));
    let value = Value::List(list);
    for compress in [false, true] {
        let payload = dump(value_ref(&value), &WriteOptions { compress });
        assert!(payload.len() < 40 * 100 / 3, "{} with {compress}", payload.len());
        let restored = restore(&payload, &limits, true).expect("our own");
        assert_eq!(restored, value);
        let Value::List(list) = restored else { unreachable!("equal to a list") };
        assert!(list.is_compressing());
    }
}

fn problem(type_code: u8, bytes: &[u8]) -> String {
    read(type_code, bytes).expect_err("damaged").to_string()
}

fn string(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    length::write_length(bytes.len() as u64, &mut out);
    out.extend_from_slice(bytes);
    out
}

fn list_of(texts: &[&[u8]]) -> Value {
    let mut list = List::default();
    texts.iter().for_each(|text| list.push(End::Back, text, &limits()));
    Value::List(list)
}

fn set_of(members: &[&[u8]]) -> Value {
    let mut set = Set::default();
    members.iter().for_each(|member| assert!(set.add(member, &limits())));
    Value::Set(set)
}

fn sorted_set_of(members: &[(&[u8], f64)]) -> Value {
    let mut set = SortedSet::default();
    members.iter().for_each(|(member, score)| assert!(set.put(member, *score, &limits())));
    Value::SortedSet(set)
}

fn hash_of(fields: &[(&[u8], &[u8])]) -> Value {
    let mut hash = Hash::default();
    fields.iter().for_each(|(field, value)| assert!(hash.set(field, value, &limits())));
    Value::Hash(hash)
}

/// `a`, 2, -5000, 1234567, a long text: an entry of each common kind.
const ZIPLIST: &[u8] = b"\x22\0\0\0\x18\0\0\0\x05\0\
    \0\x01a\x03\xf3\x02\xc0\x78\xec\x04\xf0\x87\xd6\x12\x05\x07a text.\xff";

#[test]
fn plain_forms() {
    assert_eq!(read(code::STRING, b"\x03abc"), Ok(Value::String(StringValue::new(b"abc"))));
    assert_eq!(read(code::STRING, b"\xc1\x00\x01"), Ok(Value::String(StringValue::Int(256))));
    assert_eq!(read(code::LIST, b"\x03\x01a\xc0\x07\x01a"), Ok(list_of(&[b"a", b"7", b"a"])));
    assert_eq!(read(code::SET, b"\x02\x01a\xc0\x07"), Ok(set_of(&[b"a", b"7"])));
    assert_eq!(read(code::HASH, b"\x01\x01a\xc0\x07"), Ok(hash_of(&[(b"a", b"7")])));
    assert_eq!(
        read(code::ZSET, b"\x04\x01a\x031.5\x01b\xfe\x01c\xff\x01d\x07-12e-01"),
        Ok(sorted_set_of(&[(b"a", 1.5), (b"b", f64::INFINITY), (b"c", f64::NEG_INFINITY), (b"d", -1.2)]))
    );
    assert_eq!(read(code::ZSET_2, b"\x01\x01a\0\0\0\0\0\0\xf8\x3f"), Ok(sorted_set_of(&[(b"a", 1.5)])));
}

#[test]
fn ziplists_and_zipmaps() {
    let texts: &[&[u8]] = &[b"a", b"2", b"-5000", b"1234567", b"a text."];
    assert_eq!(read(code::LIST_ZIPLIST, &string(ZIPLIST)), Ok(list_of(texts)));
    let quicklist = [&[1][..], &string(ZIPLIST)].concat();
    assert_eq!(read(code::LIST_QUICKLIST, &quicklist), Ok(list_of(texts)));
    let pairs = b"\x10\0\0\0\x0d\0\0\0\x02\0\0\x01a\x03\xf3\xff";
    assert_eq!(read(code::HASH_ZIPLIST, &string(pairs)), Ok(hash_of(&[(b"a", b"2")])));
    assert_eq!(read(code::ZSET_ZIPLIST, &string(pairs)), Ok(sorted_set_of(&[(b"a", 2.0)])));
    let zipmap = b"\x02\x01a\x01\x02b__\x02cd\x00\x00\xff";
    assert_eq!(read(code::HASH_ZIPMAP, &string(zipmap)), Ok(hash_of(&[(b"a", b"b"), (b"cd", b"")])));

    for (at, byte) in [(0, 0x20), (4, 0x14), (8, 4), (10, 1), (11, 0x3f), (13, 4), (33, 0)] {
        let mut damaged = ZIPLIST.to_vec();
        damaged[at] = byte;
        let told = problem(code::LIST_ZIPLIST, &string(&damaged));
        assert_eq!(told, "a damaged ziplist of a list at offset 0", "{at}");
    }
    assert_eq!(
        problem(code::HASH_ZIPLIST, &string(ZIPLIST)),
        "a field of a hash without a value at offset 0"
    );
    for damaged in [
        &b""[..],
        b"\x01\xff",
        b"\x01\x01a\x01\x00b",
        b"\x01\x01a\x01\x05b\xff",
        b"\x00\xff\xff",
        b"\x01\x01a\xfe\x01\0\0\0\0b\xff",
    ] {
        assert_eq!(problem(code::HASH_ZIPMAP, &string(damaged)), "a damaged zipmap at offset 0");
    }
    let twice = b"\x02\x01a\x01\x00b\x01a\x01\x00c\xff";
    assert_eq!(problem(code::HASH_ZIPMAP, &string(twice)), "a field of a hash twice at offset 0");
}

#[test]
fn fields_with_deadlines() {
    let mut hash = Hash::default();
    hash.set(b"a", b"1", &limits());
    hash.set(b"b", b"2", &limits());
    hash.set_deadline(b"b", UnixMillis(1000), &limits());
    hash.set_deadline(b"a", UnixMillis(1005), &limits());
    hash.set(b"c", b"x", &limits());
    let hash = Value::Hash(hash);

    let plain = b"\xe8\x03\0\0\0\0\0\0\x03\x06\x01a\xc0\x01\x01\x01b\xc0\x02\x00\x01c\x01x";
    assert_eq!(read(code::HASH_TTL, plain).as_ref(), Ok(&hash));
    let early = b"\x03\x43\xed\x01a\xc0\x01\x43\xe8\x01b\xc0\x02\x00\x01c\x01x";
    assert_eq!(read(code::HASH_TTL_EARLY, early).as_ref(), Ok(&hash));
    let mut pack = crate::types::encoding::Listpack::new();
    pack.extend([&b"b"[..], b"2", b"1000", b"a", b"1", b"1005", b"c", b"x", b"0"]);
    let packed = string(pack.as_bytes());
    assert_eq!(read(code::HASH_LISTPACK_TTL_EARLY, &packed).as_ref(), Ok(&hash));
    let packed = [&1000_u64.to_le_bytes()[..], &packed].concat();
    assert_eq!(read(code::HASH_LISTPACK_TTL, &packed).as_ref(), Ok(&hash));

    assert_eq!(version_needed(ValueRef::Boxed(&hash)), 12);
    let payload = dump(ValueRef::Boxed(&hash), &WriteOptions { compress: true });
    assert_eq!(payload[payload.len() - 10..][..2], [12, 0]);
    assert_eq!(restore(&payload, &limits(), true).as_ref(), Ok(&hash));

    let valkey = b"\x03\x01a\xc0\x01\xed\x03\0\0\0\0\0\0\x01b\xc0\x02\xe8\x03\0\0\0\0\0\0\x01c\x01x\xff\xff\xff\xff\xff\xff\xff\xff";
    assert_eq!(read(code::HASH_TTL_VALKEY, valkey).as_ref(), Ok(&hash));
    assert_eq!(
        problem(code::HASH_TTL_VALKEY, b"\x01\x01a\x01x\xfe\xff\xff\xff\xff\xff\xff\xff"),
        "a deadline of a field that is none at offset 1"
    );

    let beyond = b"\0\0\0\0\0\0\x01\0\x01\x02\x01a\xc0\x01";
    assert_eq!(problem(code::HASH_TTL, beyond), "a deadline of a field that is none at offset 9");
}

#[test]
fn what_no_type_allows_is_refused() {
    for (type_code, bytes, told) in [
        (code::LIST, &b"\0"[..], "a collection without elements at offset 0"),
        (code::SET, b"\x02\x01a\x01a", "a member of a set twice at offset 3"),
        (code::SET, b"\x02\xc0\x01\x011", "a member of a set twice at offset 3"),
        (code::HASH, b"\x02\x01a\x01b\x01a\x01c", "a field of a hash twice at offset 5"),
        (code::ZSET, b"\x01\x01a\xfd", "a score that is no number at offset 3"),
        (code::ZSET, b"\x01\x01a\x03abc", "a score that is no number at offset 3"),
        (code::ZSET_2, b"\x01\x01a\0\0\0\0\0\0\xf8\x7f", "a score that is no number at offset 3"),
        (
            code::ZSET_2,
            b"\x02\x01a\0\0\0\0\0\0\0\0\x01a\0\0\0\0\0\0\0\0",
            "a member of a sorted set twice at offset 0",
        ),
        (code::LIST_QUICKLIST_2, b"\x01\x03\x01a", "a node of a list of an unknown kind at offset 2"),
        (code::LIST_QUICKLIST_2, b"\x01\x02\x01a", "a damaged node of a list at offset 2"),
        (code::LIST_QUICKLIST_2, b"\x01\x01\x00", "an empty node of a list at offset 2"),
        (code::SET_INTSET, b"\x08\x02\0\0\0\0\0\0\0", "a collection without elements at offset 0"),
        (code::SET_INTSET, b"\x07\x02\0\0\0\0\0\0", "a damaged intset at offset 0"),
        (code::HASH, b"\xc0\x01", "a string where a length should be at offset 0"),
        (8, b"", "unknown type 8 at offset 0"),
        (27, b"", "unknown type 27 at offset 0"),
        (
            code::MODULE_2,
            b"\x81\x53\x98\x4e\x31\x45\x24\x9c\x01",
            "data of the module type \"U5hOMUUkn\", which needs its module at offset 0",
        ),
    ] {
        assert_eq!(problem(type_code, bytes), told, "{type_code} {bytes:?}");
    }
}

/// Texts that spell integers, kept as texts: Redis never writes them so, and our own search would not find them.
#[test]
fn listpacks_in_another_form_are_rebuilt() {
    let crafted = b"\x0f\0\0\0\x02\0\x81\x37\x02\x81\x38\x02\xff";
    assert_eq!(crafted.len(), 13);
    let mut crafted = crafted.to_vec();
    crafted[0] = 13;
    let hash = read(code::HASH_LISTPACK, &string(&crafted)).expect("a hash");
    assert_eq!(hash, hash_of(&[(b"7", b"8")]));
    let Value::Hash(hash) = hash else { panic!("a hash") };
    assert!(hash.get(b"7", UnixMillis(0)).is_some());
    let set = read(code::SET_LISTPACK, &string(&crafted)).expect("a set");
    assert_eq!(set, set_of(&[b"7", b"8"]));
    let sorted = read(code::ZSET_LISTPACK, &string(&crafted)).expect("a sorted set");
    assert_eq!(sorted, sorted_set_of(&[(b"7", 8.0)]));
    // And a sorted set in the wrong order.
    let mut pack = crate::types::encoding::Listpack::new();
    pack.extend([&b"b"[..], b"2", b"a", b"1"]);
    let sorted = read(code::ZSET_LISTPACK, &string(pack.as_bytes())).expect("a sorted set");
    assert_eq!(sorted, sorted_set_of(&[(b"a", 1.0), (b"b", 2.0)]));
}

/// Two entries, a group that has read the first, a consumer with that one pending: in each of the three forms.
#[test]
fn forms_of_streams() {
    let first = StreamId::new(1000, 1);
    let mut stream = Box::new(Stream::default());
    for id in [first, StreamId::new(1000, 2)] {
        stream
            .log_mut()
            .append(id, [(&b"name"[..], &b"value"[..])].into_iter(), &limits())
            .expect("ids grow");
    }
    let mut group = Group::new(first, Some(1));
    let consumer = group.create(b"me", UnixMillis(77));
    group.consumer_mut(consumer).active = Some(UnixMillis(77));
    group.assign(first, Pending { consumer, delivered: UnixMillis(70), deliveries: 3 });
    stream.create_group(b"readers", group);

    let written = |type_code: u8| {
        let mut out = vec![1];
        let (id, pack) = stream.log().nodes().next().expect("a node");
        out.extend(string(&id.to_bytes()));
        out.extend(string(pack.as_bytes()));
        let id = |ms: u64, seq: u64, out: &mut Vec<u8>| {
            length::write_length(ms, out);
            length::write_length(seq, out);
        };
        out.push(2);
        id(1000, 2, &mut out);
        if type_code != code::STREAM {
            id(1000, 1, &mut out);
            id(0, 0, &mut out);
            out.push(2);
        }
        out.push(1);
        out.extend(string(b"readers"));
        id(1000, 1, &mut out);
        if type_code != code::STREAM {
            out.push(1);
        }
        out.push(1);
        out.extend_from_slice(&first.to_bytes());
        out.extend_from_slice(&70_u64.to_le_bytes());
        out.push(3);
        out.push(1);
        out.extend(string(b"me"));
        out.extend_from_slice(&77_u64.to_le_bytes());
        if type_code == code::STREAM_3 {
            out.extend_from_slice(&77_u64.to_le_bytes());
        }
        out.push(1);
        out.extend_from_slice(&first.to_bytes());
        out
    };
    let expected = Value::Stream(stream.clone());
    for type_code in [code::STREAM, code::STREAM_2, code::STREAM_3] {
        assert_eq!(read(type_code, &written(type_code)).as_ref(), Ok(&expected), "{type_code}");
    }
    let mut out = Vec::new();
    write_value(ValueRef::Boxed(&expected), &WriteOptions { compress: false }, &mut out);
    assert_eq!(out, written(code::STREAM_2));

    let spoilt = |place: usize, byte: u8| {
        let mut bytes = written(code::STREAM_2);
        bytes[place] = byte;
        problem(code::STREAM_2, &bytes)
    };
    let end = out.len();
    assert_eq!(spoilt(1, 15), "the id of a stream's node that is none at offset 1");
    assert!(spoilt(end - 1, 2).starts_with("a consumer's entry that is not pending"));
    // No entries of consumers: then the pending one is nobody's.
    let mut nobody = written(code::STREAM_2);
    nobody.truncate(end - 16);
    *nobody.last_mut().expect("a count") = 0;
    assert!(problem(code::STREAM_2, &nobody).starts_with("a group of a stream twice, or with pending"));
}
