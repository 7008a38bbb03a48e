use super::*;
use crate::base::random::Random;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

fn key(number: u32) -> Vec<u8> {
    match number % 5 {
        0 => number.to_le_bytes().to_vec(),
        1 => vec![b'k'; number as usize % 300],
        2 => format!("{number:0>251}").into_bytes(),
        3 => format!("{number:0>253}").into_bytes(),
        _ => format!("key:{number}").into_bytes(),
    }
}

fn contents<const W: usize>(map: &PackedMap<W>) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let contents: BTreeMap<_, _> = map.iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
    assert_eq!(contents.len(), map.len());
    contents
}

/// Random histories against a map of the standard library; `value` makes one of some length.
fn history<const W: usize>(seed: u64, steps: usize, keys: u64, value: fn(u64) -> Vec<u8>) {
    let mut random = Random::from_seed(seed);
    let mut map = PackedMap::<W>::new(seed);
    let mut model = BTreeMap::new();
    for step in 0..steps {
        let key = key(random.below(keys) as u32);
        // Phases of growth and of decay.
        let growing = (step / (steps / 4).max(1)).is_multiple_of(2);
        if random.below(10) < if growing { 8 } else { 2 } {
            let value = value(random.next_u64());
            assert_eq!(map.insert(&key, &value), model.insert(key.clone(), value).is_none());
        } else {
            assert_eq!(map.remove(&key), model.remove(&key).is_some());
        }
        assert_eq!(map.get(&key), model.get(&key).map(Vec::as_slice));
        if let Some(value) = map.get_mut(&key) {
            value.reverse();
            model.get_mut(&key).expect("as in the map").reverse();
        }
        if step % 997 == 0 {
            map.check();
            assert_eq!(contents(&map), model);
        }
    }
    map.check();
    assert_eq!(contents(&map), model);
    let copy = map.clone();
    assert_eq!(copy, map);
    for key in model.keys() {
        assert!(map.remove(key));
    }
    map.check();
    assert_eq!(map.segments, 1);
    assert!(copy != map || model.is_empty());
}

#[test]
fn a_set_agrees_with_the_model() {
    history::<0>(1, 20_000, 4000, |_| Vec::new());
}

#[test]
fn a_map_of_numbers_agrees_with_the_model() {
    history::<8>(2, 20_000, 4000, |random| random.to_le_bytes().to_vec());
}

#[test]
fn a_map_of_texts_agrees_with_the_model() {
    history::<VARIABLE>(3, 20_000, 2000, |random| vec![random as u8; (random >> 32) as usize % 300]);
    history::<VARIABLE>(4, 3000, 10, |random| vec![random as u8; (random >> 32) as usize % 270]);
}

#[test]
fn a_scan_sees_what_stays_exactly_once_while_the_table_grows_and_shrinks() {
    for (before, after) in [(300, 9000), (9000, 300), (50, 60), (0, 500), (7, 0)] {
        let mut set = PackedSet::new(9);
        let stays: Vec<Vec<u8>> = (0..200).map(|number| format!("stays{number}").into_bytes()).collect();
        stays.iter().for_each(|member| assert!(set.insert(member, b"")));
        let comes = |number: usize| format!("comes{number}").into_bytes();
        (0..before).for_each(|number| assert!(set.insert(&comes(number), b"")));
        let (mut cursor, mut seen, mut size) = (0, Vec::new(), before);
        loop {
            cursor = set.scan(cursor, 10, |member, _| seen.push(member.to_vec()));
            if cursor == 0 {
                break;
            }
            assert!(cursor < 1 << CURSOR_BITS);
            for _ in 0..300 {
                if size < after {
                    assert!(set.insert(&comes(size), b""));
                    size += 1;
                } else if size > after {
                    size -= 1;
                    assert!(set.remove(&comes(size)));
                }
            }
        }
        let counted = seen.len();
        let seen: BTreeSet<Vec<u8>> = seen.into_iter().collect();
        assert_eq!(counted, seen.len(), "nothing twice");
        assert!(stays.iter().all(|member| seen.contains(member)));
    }
}

#[test]
fn any_cursor_is_accepted() {
    let mut set = PackedSet::new(1);
    (0..1000_u32).for_each(|number| assert!(set.insert(&number.to_le_bytes(), b"")));
    let mut random = Random::from_seed(5);
    for _ in 0..1000 {
        let mut visited = 0;
        set.scan(random.next_u64(), 7, |_, _| visited += 1);
        assert!(visited <= 64);
    }
    assert_eq!(set.scan(u64::MAX, 10, |_, _| {}), 0);
}

#[test]
fn random_members_are_about_even() {
    for members in [5_u32, 77, 900] {
        let mut set = PackedSet::new(11);
        (0..members).for_each(|number| assert!(set.insert(&number.to_le_bytes(), b"")));
        let mut random = Random::from_seed(3);
        let mut counts = BTreeMap::<Vec<u8>, u32>::new();
        for _ in 0..members * 200 {
            let (member, _) = set.random(|| random.next_u64()).expect("not empty");
            *counts.entry(member.to_vec()).or_default() += 1;
        }
        assert_eq!(counts.len(), members as usize);
        assert!(counts.values().all(|count| (130..280).contains(count)), "{counts:?}");
    }
    assert!(PackedSet::new(1).random(|| 0).is_none());
}

#[test]
fn freed_in_slices() {
    let mut map = PackedPairs::new(1);
    (0..5000).for_each(|number| assert!(map.insert(&format!("{number}").into_bytes(), &[b'v'; 280])));
    let effort = map.free_effort();
    let mut freed = 0;
    loop {
        match map.free_slice(100) {
            0 => break,
            pieces => {
                assert!(pieces <= 100);
                freed += pieces;
            }
        }
    }
    assert_eq!(freed, effort);
}

#[test]
fn sixteen_byte_members_cost_at_most_ten_bytes_more() {
    let mut set = PackedSet::new(1);
    for number in 0..100_000_u32 {
        set.insert(format!("{number:016}").as_bytes(), b"");
        if number > 1000 && number % 5003 == 0 {
            let bytes = set.heap_bytes(0) as f64 / set.len() as f64;
            assert!(bytes < 26.0, "{bytes} at {number}");
        }
    }
}

proptest! {
    #[test]
    fn small_sets_agree_with_the_model(
        steps in proptest::collection::vec((any::<bool>(), 0u32..60), 0..300), seed: u64,
    ) {
        let mut set = PackedSet::new(seed);
        let mut model = BTreeSet::new();
        for (insert, number) in steps {
            let key = key(number);
            if insert {
                prop_assert_eq!(set.insert(&key, b""), model.insert(key));
            } else {
                prop_assert_eq!(set.remove(&key), model.remove(&key));
            }
        }
        set.check();
        prop_assert_eq!(contents(&set).into_keys().collect::<BTreeSet<_>>(), model);
    }
}
