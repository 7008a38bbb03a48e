//! What is written is read back, whatever the encoding and wherever it is cut; old forms by hand.

use super::payload::{Refusal, dump, restore};
use super::*;
use crate::base::UnixMillis;
use crate::keyspace::ValueRef;
use crate::types::encoding::quicklist::End;
use crate::types::{EncodingLimits, Hash, List, Set, SortedSet, StringValue, Value};
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
            let again = dump(value_ref(&read), &WriteOptions { compress: false });
            prop_assert_eq!(restore(&again, &small_limits(), true), Ok(read));
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
    later[3] = 13;
    assert_eq!(restore(&later, &limits(), false), Err(Refusal::Footer));
}
