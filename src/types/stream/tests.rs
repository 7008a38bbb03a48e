//! The log against a map, and damage to nodes.

use super::*;
use crate::types::EncodingLimits;
use crate::types::encoding::Listpack;
use proptest::prelude::*;

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;
type Model = BTreeMap<StreamId, Pairs>;

#[derive(Clone, Debug)]
enum Step {
    /// The distance from the last id, and the fields.
    Append(u64, u64, Pairs),
    /// The index of an entry.
    Delete(usize),
    /// How many to leave.
    TrimTo(u64),
    /// Up to the entry with this index.
    TrimBelow(usize),
    Approximately(u64),
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(b"name".to_vec()),
        Just(b"f".to_vec()),
        any::<i16>().prop_map(|number| number.to_string().into_bytes()),
        prop::collection::vec(any::<u8>(), 0..80),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let pairs = prop::collection::vec((prop_oneof![Just(b"name".to_vec()), text()], text()), 1..4);
    prop_oneof![
        8 => (0_u64..3, 0_u64..300, pairs).prop_map(|(ms, seq, pairs)| Step::Append(ms, seq, pairs)),
        3 => (0_usize..30).prop_map(Step::Delete),
        1 => (0_u64..20).prop_map(Step::TrimTo),
        1 => (0_usize..30).prop_map(Step::TrimBelow),
        1 => (0_u64..20).prop_map(Step::Approximately),
    ]
}

fn append(log: &mut Log, id: StreamId, pairs: &Pairs, limits: &EncodingLimits) -> Result<(), AppendError> {
    log.append(id, pairs.iter().map(|(name, value)| (&**name, &**value)), limits)
}

fn read(entry: &EntryRef<'_>) -> (StreamId, Pairs) {
    (entry.id, entry.fields().map(|(name, value)| (name.to_vec(), value.to_vec())).collect())
}

fn exact(bound: Bound) -> Trim {
    Trim { bound, approximate: false, limit: 0 }
}

/// Applies a step to both; how many entries went must agree.
fn apply(log: &mut Log, model: &mut Model, step: &Step, limits: &EncodingLimits) {
    let id_at = |model: &Model, index: usize| model.keys().nth(index).copied();
    match step {
        Step::Append(ms, seq, pairs) => {
            let last = log.last_id();
            let id = StreamId::new(last.ms + ms, if *ms == 0 { last.seq + seq } else { *seq });
            let added = append(log, id, pairs, limits);
            assert_eq!(added.is_ok(), id > last);
            if added.is_ok() {
                model.insert(id, pairs.clone());
            }
        }
        Step::Delete(index) => {
            let id = id_at(model, *index).unwrap_or(StreamId::new(0, *index as u64));
            assert_eq!(log.delete(id), model.remove(&id).is_some());
        }
        Step::TrimTo(left) => {
            let deleted = log.trim(exact(Bound::MaxLen(*left)));
            assert_eq!(deleted, (model.len() as u64).saturating_sub(*left));
            while model.len() as u64 > *left {
                model.pop_first();
            }
        }
        Step::TrimBelow(index) => {
            let id = id_at(model, *index).unwrap_or(log.last_id());
            let rest = model.split_off(&id);
            assert_eq!(log.trim(exact(Bound::MinId(id))), model.len() as u64);
            *model = rest;
        }
        Step::Approximately(left) => {
            let trim = Trim { bound: Bound::MaxLen(*left), approximate: true, limit: 8 };
            let deleted = log.trim(trim);
            assert!(deleted <= 8 && deleted <= (model.len() as u64).saturating_sub(*left));
            for _ in 0..deleted {
                model.pop_first();
            }
        }
    }
}

fn agree(log: &Log, model: &Model) {
    assert_eq!(log.len(), model.len() as u64, "L1");
    assert_eq!(log.first_id(), model.keys().next().copied().unwrap_or_default());
    let entries: Vec<_> = log.iter().map(|entry| read(&entry)).collect();
    assert!(entries.iter().map(|(id, pairs)| (id, pairs)).eq(model), "L2");
    let back = log.range_back(StreamId::MIN, StreamId::MAX).map(|entry| entry.id);
    assert!(back.eq(model.keys().rev().copied()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_log_is_a_map(
        steps in prop::collection::vec(step(), 1..60),
        entries_max in 0_usize..6,
        bytes_max in prop_oneof![Just(0_usize), 20_usize..200],
    ) {
        let limits = EncodingLimits {
            stream_node_max_entries: entries_max,
            stream_node_max_bytes: bytes_max,
            ..Default::default()
        };
        let (mut log, mut model) = (Log::default(), Model::new());
        for step in &steps {
            apply(&mut log, &mut model, step, &limits);
            agree(&log, &model);
        }
        let ids: Vec<StreamId> = model.keys().copied().collect();
        for (index, id) in ids.iter().enumerate().step_by(3) {
            let found: Vec<_> = log.range(*id, ids[ids.len() - 1]).map(|entry| entry.id).collect();
            prop_assert_eq!(&found[..], &ids[index..]);
            let found: Vec<_> = log.range_back(ids[0], *id).map(|entry| entry.id).collect();
            prop_assert!(found.iter().eq(ids[..=index].iter().rev()));
            prop_assert!(log.get(*id).is_some());
        }
        // What a dump holds makes the same log again.
        let mut builder = StreamBuilder::new();
        for (id, pack) in log.nodes() {
            let pack = Listpack::from_bytes(pack.as_bytes()).expect("it is one");
            builder.node(id, pack).expect("N1, N2");
        }
        builder.header(log.header()).expect("L1");
        let made = builder.finish();
        prop_assert_eq!(made.log(), &log);
    }

    /// Trimming entry by entry with nothing to keep is trimming.
    #[test]
    fn asking_for_each_entry_changes_nothing_of_an_exact_trim(
        steps in prop::collection::vec(step(), 1..60),
        left in 0_u64..30,
        approximate: bool,
    ) {
        let limits = EncodingLimits { stream_node_max_entries: 4, ..Default::default() };
        let (mut log, mut model) = (Log::default(), Model::new());
        steps.iter().for_each(|step| apply(&mut log, &mut model, step, &limits));
        let trim = Trim { bound: Bound::MaxLen(left), approximate: false, limit: 0 };
        let mut other = log.clone();
        let asking = Trim { approximate, ..trim };
        prop_assert_eq!(log.trim(trim), other.trim_where(asking, |_| true));
        prop_assert!(log.iter().map(|entry| entry.id).eq(other.iter().map(|entry| entry.id)));
    }

    /// A damaged node is refused, or is another node that can be read.
    #[test]
    fn damage_is_refused_or_harmless(at in 0_usize..200, value: u8, cut in 0_usize..200) {
        let mut log = Log::default();
        for number in 1..6_u64 {
            let pairs = vec![(b"name".to_vec(), number.to_string().into_bytes()), (b"b".to_vec(), b"x".to_vec())];
            append(&mut log, StreamId::new(number, 0), &pairs, &EncodingLimits::default()).expect("grows");
        }
        log.delete(StreamId::new(3, 0));
        let (id, pack) = log.nodes().next().expect("there is one");
        let mut bytes = pack.as_bytes().to_vec();
        let at = at % bytes.len();
        bytes[at] = value;
        bytes.truncate(bytes.len() - if cut < 100 { 0 } else { cut % bytes.len() });
        if let Ok(pack) = Listpack::from_bytes(&bytes)
            && let Ok((node, summary)) = node::Node::from_listpack(id, pack)
        {
            let mut log = Log::default();
            log.push_node(id, node.listpack().clone()).expect("just checked");
            let entries: Vec<_> = log.iter().map(|entry| read(&entry)).collect();
            prop_assert_eq!(entries.len() as u64, summary.live);
            prop_assert_eq!(log.range_back(StreamId::MIN, StreamId::MAX).count() as u64, summary.live);
        }
    }
}

fn filled(count: u64) -> Stream {
    let mut stream = Stream::default();
    for number in 1..=count {
        let pairs = vec![(b"f".to_vec(), number.to_string().into_bytes())];
        append(stream.log_mut(), StreamId::new(number, 0), &pairs, &EncodingLimits::default())
            .expect("grows");
    }
    stream
}

fn deliver(stream: &mut Stream, group: &[u8], consumer: &[u8], count: u64) -> u64 {
    let now = UnixMillis(100);
    let (_, own) = stream.group_mut(group).expect("there");
    let consumer = own.find(consumer).unwrap_or_else(|| own.create(consumer, now));
    stream.deliver(group, &Delivery { consumer, count: Some(count), noack: false, now }, |_| ())
}

#[test]
fn groups_read_and_acknowledge() {
    let mut stream = filled(10);
    assert!(stream.create_group(b"g", Group::new(StreamId::MIN, None)));
    assert!(!stream.create_group(b"g", Group::default()));
    assert_eq!(deliver(&mut stream, b"g", b"a", 3), 3);
    assert_eq!(deliver(&mut stream, b"g", b"b", 3), 3);
    let lag = |stream: &Stream| stream.lag(stream.group(b"g").expect("there"));
    assert_eq!(lag(&stream), Some(4));
    let (_, group) = stream.group_mut(b"g").expect("there");
    assert_eq!((group.entries_read, group.pending().len()), (Some(6), 6));
    assert!(group.forget(StreamId::new(1, 0)) && !group.forget(StreamId::new(1, 0)));
    let (a, b) = (group.find(b"a").expect("made"), group.find(b"b").expect("made"));
    // G1: it moves.
    group.assign(StreamId::new(2, 0), Pending { consumer: b, delivered: UnixMillis(1), deliveries: 9 });
    assert_eq!((group.consumer(a).pending().len(), group.consumer(b).pending().len()), (1, 4));
    assert_eq!(group.delete(b), 4);
    assert_eq!(group.pending().len(), 1);
    let c = group.create(b"c", UnixMillis(2));
    assert_eq!((group.consumer(c).name(), group.consumers().count()), (&b"c"[..], 2));
    stream.log_mut().delete(StreamId::new(8, 0));
    assert_eq!(lag(&stream), None, "nobody knows how many it has still to read");
}

#[test]
fn an_entry_goes_when_nobody_needs_it() {
    let mut stream = filled(5);
    stream.create_group(b"g", Group::new(StreamId::MIN, None));
    stream.create_group(b"h", Group::new(StreamId::new(2, 0), None));
    deliver(&mut stream, b"g", b"a", 3);
    let id = |number| StreamId::new(number, 0);
    assert_eq!(stream.remove(id(1), References::Acked), Removal::Referenced, "pending");
    assert_eq!(stream.remove(id(5), References::Acked), Removal::Referenced, "not read");
    assert_eq!(stream.remove(id(9), References::Acked), Removal::Referenced, "nor may it be when it comes");
    stream.group_mut(b"g").expect("there").1.forget(id(1));
    assert_eq!(stream.remove(id(1), References::Acked), Removal::Removed);
    assert_eq!(stream.remove(id(2), References::Keep), Removal::Removed);
    assert_eq!(stream.group(b"g").expect("there").pending().len(), 2);
    assert_eq!(stream.remove(id(2), References::Delete), Removal::NotFound);
    assert_eq!(stream.group(b"g").expect("there").pending().len(), 1, "what was left behind goes");
    let all = Trim { bound: Bound::MaxLen(0), approximate: false, limit: 0 };
    assert_eq!(stream.trim(all, References::Acked), 0);
    stream.group_mut(b"g").expect("there").1.forget(id(3));
    deliver(&mut stream, b"h", b"a", 1);
    stream.group_mut(b"h").expect("there").1.forget(id(3));
    assert_eq!(stream.trim(all, References::Acked), 1);
    assert_eq!(stream.trim(all, References::Delete), 2);
    assert!(stream.log().is_empty());
}

#[test]
fn freed_in_slices() {
    let mut stream = filled(1000);
    stream.create_group(b"g", Group::new(StreamId::MIN, None));
    deliver(&mut stream, b"g", b"a", 500);
    assert!(stream.free_effort() > 1000 && stream.heap_bytes(5) > 1000);
    let mut slices = 0;
    while stream.free_slice(100) > 0 {
        slices += 1;
    }
    assert!((10..13).contains(&slices), "{slices}");
    assert!(stream.log().nodes().next().is_none() && stream.groups().next().is_none());
}
