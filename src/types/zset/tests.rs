use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn limits(entries: usize) -> EncodingLimits {
    EncodingLimits { zset_max_listpack_entries: entries, ..EncodingLimits::default() }
}

fn model_members(model: &BTreeMap<Vec<u8>, i32>) -> Vec<(Vec<u8>, f64)> {
    let mut members: Vec<_> = model.iter().map(|(member, score)| (*score, member.clone())).collect();
    members.sort();
    members.into_iter().map(|(score, member)| (member, f64::from(score))).collect()
}

proptest! {
    /// Against a map that is sorted anew for each question; the threshold is crossed on the way.
    #[test]
    fn agrees_with_a_map(
        steps in proptest::collection::vec((0..5_u8, 0..60_u32, -3..3_i32), 0..200),
        entries in 0..40_usize,
        low in -4..4_i32, high in -4..4_i32, exclude: (bool, bool), from in 0..60_u32, to in 0..60_u32,
    ) {
        let limits = limits(entries);
        let mut set = SortedSet::default();
        let mut model = BTreeMap::new();
        for (what, number, score) in steps {
            // Integers, texts and long members.
            let member = match number % 3 {
                0 => number.to_string().into_bytes(),
                1 => format!("m{number}").into_bytes(),
                _ => format!("{number:070}").into_bytes(),
            };
            match what {
                0 => prop_assert_eq!(set.remove(&member), model.remove(&member).map(f64::from)),
                1 if !model.is_empty() => {
                    let start = number as usize % model.len();
                    let end = (start + 3).min(model.len());
                    for (member, _) in &model_members(&model)[start..end] {
                        model.remove(member);
                    }
                    set.remove_ranks(start..end);
                }
                _ => {
                    let is_new = set.put(&member, f64::from(score), &limits);
                    prop_assert_eq!(is_new, model.insert(member, score).is_none());
                }
            }
            prop_assert_eq!(set.len(), model.len());
        }
        let members = model_members(&model);
        prop_assert_eq!(set.to_vec(), members.clone());
        for (rank, (member, score)) in members.iter().enumerate() {
            prop_assert_eq!(set.rank(member), Some((rank, *score)));
            prop_assert_eq!(set.score(member), Some(*score));
        }
        prop_assert_eq!(set.score(b"none"), None);

        let bound = |value: i32, excluded| {
            if excluded { Bound::Excluded(f64::from(value)) } else { Bound::Included(f64::from(value)) }
        };
        let range = ScoreRange { low: bound(low, exclude.0), high: bound(high, exclude.1) };
        let wanted: Vec<usize> = members.iter().enumerate().filter(|(_, (_, score))| {
            let score = *score as i32;
            (score > low || score == low && !exclude.0) && (score < high || score == high && !exclude.1)
        }).map(|(rank, _)| rank).collect();
        prop_assert_eq!(set.ranks_of_scores(&range).collect::<Vec<_>>(), wanted);

        let mut backwards = Vec::new();
        let start = members.len() / 3;
        set.visit(start..members.len(), true, |member, score| {
            backwards.push((member.to_vec(), score));
            ControlFlow::Continue(())
        });
        backwards.reverse();
        prop_assert_eq!(&backwards, &members[start..]);

        // Names, with one score for all.
        let equal: Vec<_> = members.iter().map(|(member, _)| (member.clone(), 0.0)).collect();
        let set = SortedSet::from_members(equal, &limits);
        let (low, high) = (format!("m{from}").into_bytes(), format!("m{to}").into_bytes());
        let names: Vec<_> = set.to_vec().into_iter().map(|(member, _)| member).collect();
        let wanted: Vec<usize> = (0..names.len())
            .filter(|&rank| names[rank] > low && names[rank] <= high)
            .collect();
        let range = LexRange { low: LexBound::Excluded(low.into()), high: LexBound::Included(high.into()) };
        prop_assert_eq!(set.ranks_of_names(&range).collect::<Vec<_>>(), wanted);
    }

    #[test]
    fn scans_see_all(count in 1..300_usize, step in 1..20_usize) {
        let mut set = SortedSet::default();
        for number in 0..count {
            set.put(number.to_string().as_bytes(), 1.0, &limits(5));
        }
        let (mut seen, mut cursor) = (Vec::new(), 0);
        loop {
            cursor = set.scan(cursor, step, |member, _| seen.push(member.to_vec()));
            if cursor == 0 {
                break;
            }
        }
        seen.sort();
        seen.dedup();
        prop_assert_eq!(seen.len(), count);
    }
}

#[test]
fn thresholds() {
    let mut set = SortedSet::default();
    for number in 0..128_u32 {
        set.put(&number.to_be_bytes(), 1.5, &limits(128));
    }
    assert_eq!(set.encoding(), Encoding::Listpack);
    set.put(b"one more", f64::NEG_INFINITY, &limits(128));
    assert_eq!((set.encoding(), set.len()), (Encoding::Skiplist, 129));
    assert_eq!(set.rank(b"one more"), Some((0, f64::NEG_INFINITY)));
    let mut set = SortedSet::default();
    set.put(&[b'x'; 65], 1.0, &limits(128));
    assert_eq!(set.encoding(), Encoding::Skiplist);
    let mut set = SortedSet::default();
    set.put(b"x", -0.0, &limits(128));
    assert!(set.score(b"x").is_some_and(|score| score.is_sign_positive()));
    set.put(b"x", -0.0, &limits(0));
    set.put(b"y", -0.0, &limits(0));
    assert!(set.score(b"y").is_some_and(|score| score.is_sign_negative()));
}

#[test]
fn a_large_set_is_freed_in_slices() {
    let mut set = SortedSet::default();
    for number in 0..20_000_u32 {
        set.put(&number.to_be_bytes(), f64::from(number % 100), &limits(128));
    }
    assert_eq!(set.clone(), set);
    assert!(set.free_effort() > 300);
    let mut slices = 0;
    while set.free_slice(50) > 0 {
        slices += 1;
    }
    assert!(slices > 10);
}
