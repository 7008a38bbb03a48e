//! A node of a stream, whatever the bytes: refused, or a node that can be read from both ends, and deleted from.

use bolero::check;
use pinion::types::encoding::Listpack;
use pinion::types::encoding::listpack::Entry;
use pinion::types::stream::{EntryRef, LogHeader, StreamBuilder};
use pinion::types::{EncodingLimits, StreamId};

const NODE: StreamId = StreamId::new(1000, 5);

fn node(pack: Listpack) {
    let mut builder = StreamBuilder::new();
    if builder.node(NODE, pack).is_err() {
        return;
    }
    let log = builder.log();
    let header = LogHeader { length: log.len(), last_id: log.last_id(), ..LogHeader::default() };
    builder.header(header).expect("it tells of itself");
    let mut stream = builder.finish();
    let log = stream.log_mut();
    let read = |entry: EntryRef<'_>| (entry.id, entry.fields().count());
    let forward: Vec<_> = log.iter().map(read).collect();
    let mut backward: Vec<_> = log.range_back(StreamId::MIN, StreamId::MAX).map(read).collect();
    backward.reverse();
    assert_eq!(forward, backward);
    assert_eq!(forward.len() as u64, log.len());
    assert!(forward.is_sorted_by(|before, after| before.0 < after.0));
    if let Some(next) = log.last_id().next() {
        let fields = [(&b"name"[..], &b"value"[..])];
        log.append(next, fields.into_iter(), &EncodingLimits::default()).expect("ids grow");
        assert!(log.delete(next));
    }
    for (id, _) in forward {
        assert!(log.delete(id) && log.get(id).is_none());
    }
    assert!(log.is_empty());
}

/// As they are, and as numbers and texts of a listpack that is one: more of these get past its own checks.
#[test]
fn bytes_from_outside() {
    check!().with_iterations(5_000).for_each(|input: &[u8]| {
        if let Ok(pack) = Listpack::from_bytes(input) {
            node(pack);
        }
        let mut pack = Listpack::new();
        for byte in input {
            let end = pack.end();
            pack.insert(end, if *byte < 250 { Entry::Int(i64::from(*byte) - 8) } else { Entry::Str(b"x") });
        }
        node(pack);
    });
}
