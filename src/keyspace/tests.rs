//! The keyspace against obvious models: a `BTreeMap` for what it holds, and the definition of SCAN's promise.

use super::entry::RawEntry;
use super::*;
use crate::types::{Encoding, StringRef, StringValue};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const NOW: UnixMillis = UnixMillis(1_000_000);

type Hash = fn(&[u8]) -> u64;

/// Hash functions from good to hopeless: whatever the hashes, the table must work.
const HASHES: [Option<Hash>; 7] = [
    None,
    Some(|_| 0),
    Some(|_| u64::MAX),
    // All keys share the top 48 bits: splitting never helps.
    Some(|key| 0xabcd_ef01_2345_0000 | good(key) & 0xffff),
    // Only the top 4 bits differ.
    Some(|key| good(key) & 0xf << 60),
    // Eight values that differ in the middle, where windows move on.
    Some(|key| (good(key) & 7) << 37),
    // Half of the keys collide, half are spread.
    Some(|key| if good(key) & 1 == 0 { 1 << 63 } else { good(key) }),
];

fn good(key: &[u8]) -> u64 {
    let mut state = 0;
    key.iter().fold(0, |hash: u64, &byte| {
        state ^= u64::from(byte) ^ hash;
        splitmix(&mut state)
    })
}

fn keyspace_with(crafted: Option<Hash>) -> Keyspace {
    let mut keyspace = Keyspace::new(Rc::new(Slab::new()), [1, 2, 3, 4]);
    keyspace.hasher.crafted = crafted;
    keyspace
}

fn keyspace() -> Keyspace {
    keyspace_with(None)
}

fn key_of(number: u32) -> Vec<u8> {
    format!("key:{number}").into_bytes()
}

fn check(keyspace: &Keyspace) {
    let rehash = |item| keyspace.hash(RawEntry(item).key());
    keyspace.table.check(&rehash);
    keyspace.expires.check(&rehash);
}

/// Scans once around with steps of `count`, calling `between` after each step.
fn scan_all(keyspace: &mut Keyspace, count: usize, mut between: impl FnMut(&mut Keyspace)) -> Vec<Vec<u8>> {
    let mut seen = Vec::new();
    let mut cursor = 0;
    loop {
        let next = keyspace.scan(cursor, count, |entry| seen.push(entry.key().to_vec()));
        assert!(next >> CURSOR_BITS == 0, "C1");
        if next == 0 {
            return seen;
        }
        assert!(next > cursor, "C2");
        cursor = next;
        between(keyspace);
    }
}

/// What the model knows of a key: its text, its deadline, whether it was edited in place.
type Model = BTreeMap<Vec<u8>, (Vec<u8>, Option<u64>, bool)>;

fn agree(keyspace: &Keyspace, model: &Model) {
    assert_eq!(keyspace.len(), model.len());
    assert_eq!(keyspace.expires_len(), model.values().filter(|(_, deadline, _)| deadline.is_some()).count());
    for (key, (text, deadline, edited)) in model {
        let entry = keyspace.find(key).expect("the model has it");
        assert_eq!(entry.key(), key);
        assert_eq!(entry.as_string().expect("a string").to_vec(), *text);
        assert_eq!(entry.deadline().map(|deadline| deadline.0), *deadline);
        let encoding = if *edited {
            Encoding::Raw
        } else {
            match StringValue::new(text) {
                StringValue::Compact(text) if text.len() > 44 => Encoding::Raw,
                value => value.encoding(),
            }
        };
        assert_eq!(entry.encoding(), encoding);
    }
    let keys: BTreeSet<Vec<u8>> = keyspace.iter().map(|entry| entry.key().to_vec()).collect();
    assert!(keys.iter().eq(model.keys()));
}

#[derive(Clone, Debug)]
enum Step {
    Set(u32, Vec<u8>, Option<u64>, bool),
    SetInt(u32, i64),
    Append(u32, Vec<u8>),
    Remove(u32),
    Unlink(u32),
    Deadline(u32, Option<u64>),
    Rename(u32, u32),
    Expire(u64, usize),
    Scan(u64, usize),
    Clear(bool),
    Maintain(usize),
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => proptest::collection::vec(any::<u8>(), 0..100),
        1 => any::<i64>().prop_map(|value| value.to_string().into_bytes()),
        1 => (1000usize..1100).prop_map(|length| vec![b'x'; length]),
    ]
}

fn step(keys: u32) -> impl Strategy<Value = Step> {
    let deadline = || prop_oneof![3 => Just(None), 1 => (NOW.0 - 50..NOW.0 + 50).prop_map(Some)];
    prop_oneof![
        20 => (0..keys, text(), deadline(), any::<bool>()).prop_map(|(k, t, d, keep)| Step::Set(k, t, d, keep)),
        3 => (0..keys, any::<i64>()).prop_map(|(k, v)| Step::SetInt(k, v)),
        3 => (0..keys, text()).prop_map(|(k, t)| Step::Append(k, t)),
        8 => (0..keys).prop_map(Step::Remove),
        3 => (0..keys).prop_map(Step::Unlink),
        5 => (0..keys, deadline()).prop_map(|(k, d)| Step::Deadline(k, d)),
        3 => (0..keys, 0..keys).prop_map(|(a, b)| Step::Rename(a, b)),
        2 => (NOW.0 - 50..NOW.0 + 50, 1usize..40).prop_map(|(now, budget)| Step::Expire(now, budget)),
        2 => (any::<u64>(), 0usize..20).prop_map(|(cursor, count)| Step::Scan(cursor, count)),
        1 => any::<bool>().prop_map(Step::Clear),
        2 => (1usize..50).prop_map(Step::Maintain),
    ]
}

fn apply(keyspace: &mut Keyspace, model: &mut Model, step: Step) {
    match step {
        Step::Set(key, text, deadline, keep) => {
            let key = key_of(key);
            let old = model.get(&key).and_then(|(_, deadline, _)| *deadline);
            let (ttl, deadline) = match deadline {
                Some(deadline) => (Ttl::At(UnixMillis(deadline)), Some(deadline)),
                None if keep => (Ttl::Keep, old),
                None => (Ttl::Clear, None),
            };
            let is_new = keyspace.set_string(&key, &text, ttl);
            assert_eq!(is_new, model.insert(key, (text, deadline, false)).is_none());
        }
        Step::SetInt(key, value) => {
            let key = key_of(key);
            let text = value.to_string().into_bytes();
            match keyspace.find_mut(&key) {
                Some(mut entry) => {
                    entry.set_int(value);
                    let known = model.get_mut(&key).expect("both have it");
                    (known.0, known.2) = (text, false);
                }
                None => {
                    assert!(keyspace.set_int(&key, value, Ttl::Clear));
                    model.insert(key, (text, None, false));
                }
            }
        }
        Step::Append(key, suffix) => {
            let key = key_of(key);
            let Some(mut entry) = keyspace.find_mut(&key) else { return };
            entry.string_mut().expect("a string").append(&suffix);
            let known = model.get_mut(&key).expect("both have it");
            known.0.extend_from_slice(&suffix);
            known.2 = true;
        }
        Step::Remove(key) => {
            let key = key_of(key);
            assert_eq!(keyspace.remove(&key), model.remove(&key).is_some());
        }
        Step::Unlink(key) => {
            let key = key_of(key);
            let known = model.remove(&key).is_some();
            match keyspace.find_mut(&key) {
                Some(entry) if entry.entry().deadline().is_some() => {
                    assert!(known);
                    entry.remove(true);
                }
                _ => assert_eq!(keyspace.unlink(&key), known),
            }
        }
        Step::Deadline(key, deadline) => {
            let key = key_of(key);
            let known = model.get_mut(&key);
            match deadline {
                Some(deadline) => {
                    assert_eq!(keyspace.set_deadline(&key, UnixMillis(deadline)), known.is_some());
                }
                None => {
                    let had = known.as_ref().is_some_and(|(_, deadline, _)| deadline.is_some());
                    assert_eq!(keyspace.clear_deadline(&key), had);
                }
            }
            if let Some(known) = known {
                known.1 = deadline;
            }
        }
        Step::Rename(from, to) => {
            let (from, to) = (key_of(from), key_of(to));
            let Some(detached) = keyspace.take(&from) else {
                assert!(!model.contains_key(&from));
                return;
            };
            keyspace.insert_detached(&to, detached);
            let known = model.remove(&from).expect("both have it");
            model.insert(to, known);
        }
        Step::Expire(now, budget) => {
            let mut gone = Vec::new();
            let step = keyspace.expire_step(UnixMillis(now), budget, |entry, _| {
                assert!(entry.is_expired(UnixMillis(now)));
                gone.push(entry.key().to_vec());
                true
            });
            assert_eq!(step.expired, gone.len());
            for key in gone {
                let (_, deadline, _) = model.remove(&key).expect("both have it");
                assert!(deadline.is_some_and(|deadline| now > deadline));
            }
        }
        Step::Scan(cursor, count) => {
            keyspace.scan(cursor, count, |entry| assert!(model.contains_key(entry.key())));
        }
        Step::Clear(lazily) => {
            if lazily {
                keyspace.clear_lazily();
            } else {
                keyspace.clear();
            }
            model.clear();
        }
        Step::Maintain(budget) => {
            keyspace.maintain(budget);
        }
    }
}

/// How many keys, and how many with a deadline, are announced: seldom what comes.
fn reservation() -> impl Strategy<Value = (usize, usize)> {
    let count = || prop_oneof![Just(0), 0usize..2000, 0usize..40_000];
    (count(), count())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// K1, K2, T1, T2 under random histories, for good and for bad hashes.
    #[test]
    fn any_history_agrees_with_the_model(
        hash in 0..HASHES.len(),
        reserved in reservation(),
        steps in prop_oneof![
            proptest::collection::vec(step(8), 0..200),
            proptest::collection::vec(step(2000), 0..900),
        ],
    ) {
        let mut keyspace = keyspace_with(HASHES[hash]);
        let slab = Rc::clone(&keyspace.slab);
        keyspace.reserve(reserved.0, reserved.1);
        let mut model = Model::new();
        for step in steps {
            apply(&mut keyspace, &mut model, step);
        }
        agree(&keyspace, &model);
        check(&keyspace);
        let scanned = scan_all(&mut keyspace, 7, |_| {});
        prop_assert_eq!(scanned.len(), model.len(), "exactly once");
        drop(keyspace);
        prop_assert_eq!(slab.used_bytes(), 0, "K3");
    }

    /// C2 and SCAN's promise: what stays is returned exactly once, while the table grows and shrinks.
    #[test]
    fn scan_returns_what_stays_exactly_once(
        hash in 0..HASHES.len(),
        reserved in reservation(),
        stay in 1u32..1500,
        count in 1usize..50,
        churn in proptest::collection::vec((any::<bool>(), 1u32..2000), 0..30),
    ) {
        // Hopeless hashes are slow, so fewer keys there.
        let scale = if hash == 0 { 1 } else { 10 };
        let stay = stay / scale + 1;
        let mut keyspace = keyspace_with(HASHES[hash]);
        keyspace.reserve(reserved.0, reserved.1);
        for number in 0..stay {
            keyspace.set_string(&key_of(number), b"x", Ttl::Clear);
        }
        let mut churn = churn.into_iter();
        let (mut low, mut high) = (stay, stay);
        let seen = scan_all(&mut keyspace, count, |keyspace| match churn.next() {
            Some((true, many)) => {
                let many = many / scale;
                for number in high..high + many {
                    keyspace.set_string(&key_of(number), b"y", Ttl::Clear);
                }
                high += many;
            }
            Some((false, many)) => {
                let many = many / scale;
                for number in low..(low + many).min(high) {
                    keyspace.remove(&key_of(number));
                }
                low = (low + many).min(high);
            }
            None => {}
        });
        check(&keyspace);
        let mut times: BTreeMap<&[u8], u32> = BTreeMap::new();
        seen.iter().for_each(|key| *times.entry(key).or_default() += 1);
        prop_assert!(times.values().all(|&times| times == 1), "what goes may be missed, never doubled");
        for number in 0..stay {
            prop_assert!(times.contains_key(&key_of(number)[..]));
        }
    }
}

/// Through every size of the ladder, several splits and a moving window, and all the way back.
#[test]
fn a_table_grows_and_shrinks_through_all_depths() {
    const KEYS: u32 = 300_000;
    let mut keyspace = keyspace();
    for number in 0..KEYS {
        assert!(keyspace.set_string(&key_of(number), b"value", Ttl::Clear));
        if number.is_power_of_two() {
            check(&keyspace);
        }
    }
    check(&keyspace);
    let full = keyspace.table_shape();
    assert!(full.keys as f64 / full.slots as f64 > 0.7, "{full:?}");
    assert!(keyspace.table.depth > 8, "a window has moved");
    assert!((0..KEYS).all(|number| keyspace.contains(&key_of(number))));
    assert!(!keyspace.contains(b"missing"));

    for number in 0..KEYS {
        assert!(keyspace.remove(&key_of(number)));
        if (KEYS - number).is_power_of_two() {
            check(&keyspace);
        }
    }
    check(&keyspace);
    let empty = keyspace.table_shape();
    assert!(empty.bytes < 4096, "memory comes back: {empty:?}");
}

/// What is announced ends as what comes unannounced: as deep, and as large within one percent.
#[test]
fn a_reserved_table_becomes_what_it_would_have_become() {
    let filled = |keys: u32, reserved: usize| {
        let mut keyspace = keyspace();
        keyspace.reserve(reserved, reserved / 2);
        for number in 0..keys {
            let ttl = if number % 2 == 0 { Ttl::At(NOW) } else { Ttl::Clear };
            keyspace.set_string(&key_of(number), b"value", ttl);
        }
        check(&keyspace);
        (keyspace.table.depth, keyspace.table_shape().bytes, keyspace.slab.used_bytes())
    };
    for keys in [100, 800, 1000, 10_000, 33_000, 50_000, 64_000, 100_000] {
        let (expected, found) = (filled(keys, 0), filled(keys, keys as usize));
        let close = |one: usize, other: usize| one.abs_diff(other) * 100 <= one.max(other) + 100 * 64;
        assert!(close(expected.1, found.1), "{keys}: {expected:?} {found:?}");
        assert!(close(expected.2, found.2), "{keys}: {expected:?} {found:?}");
        assert!(found.0 <= expected.0 + 1, "{keys}: {expected:?} {found:?}");
    }
}

/// A count that is not true costs one bucket and its place in the directory for hundreds of keys that do not come.
#[test]
fn what_does_not_come_costs_little() {
    const ANNOUNCED: usize = 1_000_000;
    let mut keyspace = keyspace();
    keyspace.reserve(ANNOUNCED, 0);
    let bytes = keyspace.table_shape().bytes;
    assert!((1024..ANNOUNCED / 4).contains(&bytes), "{bytes}");
    keyspace.reserve(usize::MAX, usize::MAX / 2);
    assert_eq!(keyspace.table_shape().bytes, bytes, "once");
    for number in 0..1000 {
        keyspace.set_string(&key_of(number), b"value", Ttl::Clear);
    }
    check(&keyspace);
    for number in 0..1000 {
        assert!(keyspace.remove(&key_of(number)));
    }
    check(&keyspace);
    let empty = keyspace.table_shape().bytes;
    assert!(empty <= bytes, "{empty}");
}

/// P1: segments stay packed while tables grow and shrink at random, and all memory comes back.
#[test]
fn segments_stay_packed_in_memory() {
    let slab = Rc::new(Slab::new());
    let mut keyspace = Keyspace::new(Rc::clone(&slab), [1, 2, 3, 4]);
    let (mut low, mut high, mut state) = (0, 0, 1);
    for round in 0..60 {
        let many = (splitmix(&mut state) % 8000) as u32;
        if splitmix(&mut state) % 5 < if round < 30 { 4 } else { 1 } {
            for number in high..high + many {
                keyspace.set_string(&key_of(number), b"", Ttl::At(NOW));
            }
            high += many;
        } else {
            let end = (low + many).min(high);
            (low..end).for_each(|number| assert!(keyspace.remove(&key_of(number))));
            low = end;
        }
        check(&keyspace);
        assert!((low..high).all(|number| keyspace.contains(&key_of(number))));
    }
    keyspace.clear_lazily();
    while keyspace.maintain(100) {}
    drop(keyspace);
    assert_eq!(slab.used_bytes(), 0);
}

/// Ten thousand keys with one hash are slow, but neither loop nor deepen the directory without end.
#[test]
fn equal_hashes_share_one_segment() {
    for hash in HASHES {
        let mut keyspace = keyspace_with(hash);
        for number in 0..2000 {
            keyspace.set_string(&key_of(number), b"", Ttl::Clear);
        }
        check(&keyspace);
        assert!(keyspace.table_shape().directory <= 128);
        for number in (0..2000).step_by(2) {
            assert!(keyspace.remove(&key_of(number)));
        }
        check(&keyspace);
        for number in 0..2000 {
            assert_eq!(keyspace.contains(&key_of(number)), number % 2 == 1);
        }
    }
}

#[test]
fn an_entry_of_the_headline_size_is_88_bytes() {
    let mut keyspace = keyspace();
    let before = keyspace.slab.used_bytes();
    keyspace.set_string(&[b'k'; 16], &[b'v'; 64], Ttl::Clear);
    assert_eq!(keyspace.slab.used_bytes() - before, 88);
    let entry = keyspace.find(&[b'k'; 16]).expect("just set");
    assert_eq!(entry.memory_bytes(5), 88 + 10);
}

#[test]
fn strings_are_encoded_as_redis_names_them() {
    let mut keyspace = keyspace();
    let mut encoding = |text: &[u8]| {
        keyspace.set_string(b"k", text, Ttl::Clear);
        keyspace.find(b"k").expect("just set").encoding()
    };
    assert_eq!(encoding(b"123"), Encoding::Int);
    assert_eq!(encoding(&[b'x'; 44]), Encoding::Embstr);
    assert_eq!(encoding(&[b'x'; 45]), Encoding::Raw);
    assert_eq!(encoding(&[b'x'; 5000]), Encoding::Raw);
    assert_eq!(encoding(b""), Encoding::Embstr);

    let mut entry = keyspace.find_mut(b"k").expect("there");
    entry.string_mut().expect("a string").append(b"7");
    assert_eq!(entry.entry().encoding(), Encoding::Raw);
    assert_eq!(entry.entry().as_string().and_then(StringRef::as_i64), Some(7));
    entry.set_int(8);
    assert_eq!(entry.entry().encoding(), Encoding::Int);
}

#[test]
fn access_data_follows_the_policy() {
    let mut keyspace = keyspace();
    keyspace.set_fresh_access(0xff_ffff, false);
    keyspace.set_string(b"k", b"v", Ttl::Clear);
    let access = |keyspace: &Keyspace| keyspace.find(b"k").expect("there").access();
    assert_eq!(access(&keyspace), 0xff_ffff);
    keyspace.find(b"k").expect("there").set_access(5);
    keyspace.set_fresh_access(7, true);
    keyspace.set_string(b"k", &[b'w'; 200], Ttl::At(NOW));
    assert_eq!(access(&keyspace), 5, "LFU keeps it");
    keyspace.set_fresh_access(7, false);
    keyspace.set_string(b"k", b"v", Ttl::Clear);
    assert_eq!(access(&keyspace), 7, "LRU renews it");
}

#[test]
fn a_flushed_table_is_freed_in_slices() {
    let mut keyspace = keyspace();
    for number in 0..10_000 {
        keyspace.set_string(&key_of(number), &[b'v'; 100], Ttl::At(NOW));
    }
    let before = keyspace.slab.used_bytes();
    keyspace.clear_lazily();
    assert_eq!((keyspace.len(), keyspace.expires_len(), keyspace.lazy_pending()), (0, 0, 10_000));
    keyspace.set_string(b"new", b"life", Ttl::Clear);
    assert!(keyspace.maintain(1));
    assert!(keyspace.lazy_pending() > 9_000, "a slice is small");
    assert!(keyspace.slab.used_bytes() < before);
    let mut slices = 1;
    while keyspace.maintain(1000) {
        slices += 1;
    }
    assert!(slices >= 5);
    assert_eq!(keyspace.lazy_pending(), 0);
    assert_eq!(keyspace.len(), 1);
}

/// Every key comes up, and none of them much more often than the others.
#[test]
fn random_keys_are_fair() {
    for keys in [1u32, 2, 10, 1000] {
        let mut keyspace = keyspace();
        for number in 0..keys {
            keyspace.set_string(&key_of(number), b"", Ttl::Clear);
        }
        let mut drawn: BTreeMap<Vec<u8>, u32> = BTreeMap::new();
        let mut state = 42;
        for _ in 0..keys * 100 {
            let entry = keyspace.random_key(splitmix(&mut state)).expect("not empty");
            *drawn.entry(entry.key().to_vec()).or_default() += 1;
        }
        assert_eq!(drawn.len(), keys as usize);
        assert!(drawn.values().all(|&times| (40..200).contains(&times)), "{keys}");
    }
    assert!(keyspace().random_key(1).is_none());
}

#[test]
fn samples_have_the_asked_size_and_no_repetition() {
    let mut keyspace = keyspace();
    for number in 0..500 {
        keyspace.set_string(&key_of(number), b"", if number % 2 == 0 { Ttl::At(NOW) } else { Ttl::Clear });
    }
    let mut state = 3;
    for _ in 0..200 {
        let mut sample = Vec::new();
        keyspace.sample(splitmix(&mut state), 5, |entry| sample.push(entry.key().to_vec()));
        assert_eq!(sample.iter().collect::<BTreeSet<_>>().len(), 5);
        keyspace.sample_with_deadline(splitmix(&mut state), 5, |entry| assert!(entry.deadline().is_some()));
    }
}

/// At the deadline itself a key lives; active expiry removes exactly what lazy expiry hides.
#[test]
fn active_expiry_reaches_every_due_key() {
    let mut keyspace = keyspace();
    for number in 0..5000u32 {
        keyspace.set_string(&key_of(number), b"v", Ttl::At(UnixMillis(u64::from(number))));
    }
    let now = UnixMillis(2500);
    let (mut expired, mut steps) = (0, 0);
    loop {
        let step = keyspace.expire_step(now, 100, |entry, _| entry.is_expired(now));
        assert!(step.examined < 150, "bounded");
        expired += step.expired;
        steps += 1;
        if step.wrapped {
            break;
        }
    }
    assert!(steps > 10);
    assert_eq!(expired, 2500);
    assert_eq!((keyspace.len(), keyspace.expires_len()), (2500, 2500));
    assert!(keyspace.contains(&key_of(2500)));
    check(&keyspace);
}

/// Keys and values of any length, also beyond what the slab serves itself.
#[test]
fn long_keys_and_values() {
    let mut keyspace = keyspace();
    let slab = Rc::clone(&keyspace.slab);
    for length in [0, 1, 127, 128, 1023, 1024, 1025, 16_383, 16_384, 100_000, 3_000_000] {
        let key = vec![b'k'; length];
        keyspace.set_string(&key, &key, Ttl::At(NOW));
        keyspace.set_string(&key, &key, Ttl::Keep);
        let entry = keyspace.find(&key).expect("just set");
        assert_eq!(entry.key(), key);
        assert_eq!(entry.as_string(), Some(StringRef::Bytes(&key)));
        assert_eq!(entry.deadline(), Some(NOW));
        assert!(entry.memory_bytes(0) >= 2 * length);
    }
    drop(keyspace);
    assert_eq!(slab.used_bytes(), 0);
}
