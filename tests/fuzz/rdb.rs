//! Redis' files and payloads, whatever the bytes: refused with a place, or values that are whole.

use crate::scratch;
use bolero::check;
use pinion::base::crc::crc64;
use pinion::base::{UnixMillis, lzf};
use pinion::keyspace::ValueRef;
use pinion::persistence::check::{Outcome, RdbCheck};
use pinion::persistence::load::trial;
use pinion::persistence::rdb::payload::{Refusal, dump, restore};
use pinion::persistence::rdb::reader::{FileDamage, FileReader, Item, Step};
use pinion::persistence::rdb::writer::write_filler;
use pinion::persistence::rdb::{
    Reader, VALKEY_VERSION, VERSION_MAX, WriteOptions, code, length, opcode, read_value, skip_value,
};
use pinion::persistence::snapshot::extent::{BLOCK, INDEX_AT_KEY, INDEX_KEY, push_aux};
use pinion::types::EncodingLimits;

/// Random inputs after the corpus, without an engine.
const ITERATIONS: usize = 5_000;

/// So that few bytes reach every encoding.
fn limits() -> EncodingLimits {
    EncodingLimits {
        list_max_listpack_size: 3,
        hash_max_listpack_entries: 3,
        set_max_intset_entries: 3,
        set_max_listpack_entries: 3,
        zset_max_listpack_entries: 3,
        ..EncodingLimits::default()
    }
}

/// A value that is read has an end that is also found without building it, and is the same after another round.
fn value(type_code: u8, bytes: &[u8]) {
    let mut reader = Reader::new(bytes);
    let Ok(value) = read_value(type_code, &mut reader, &limits()) else { return };
    let mut skipped = Reader::new(bytes);
    assert_eq!(skip_value(type_code, &mut skipped), Ok(()));
    assert_eq!(skipped.position(), reader.position());
    for compress in [false, true] {
        let payload = dump(ValueRef::Boxed(&value), &WriteOptions { compress });
        let again = restore(&payload, &limits(), true).expect("we wrote it");
        // Newer files of streams tell more than what is written can: when consumers were last given anything.
        if !matches!(type_code, code::STREAM_3 | code::STREAM_4) {
            assert_eq!(again, value);
        } else {
            let payload = dump(ValueRef::Boxed(&again), &WriteOptions { compress });
            assert_eq!(restore(&payload, &limits(), true).expect("we wrote it"), again);
        }
    }
}

/// The first byte chooses the type.
#[test]
fn values() {
    check!().with_iterations(ITERATIONS).for_each(|input: &[u8]| {
        let Some((&type_code, bytes)) = input.split_first() else { return };
        value(type_code % (code::HASH_LISTPACK_TTL + 2), bytes);
    });
}

/// The same behind a frame that fits: what is packed gets further than random bytes would.
#[test]
fn packed_values() {
    const CODES: [u8; 9] = [
        code::HASH_ZIPMAP,
        code::LIST_ZIPLIST,
        code::SET_INTSET,
        code::ZSET_ZIPLIST,
        code::HASH_ZIPLIST,
        code::HASH_LISTPACK,
        code::ZSET_LISTPACK,
        code::SET_LISTPACK,
        code::HASH_LISTPACK_TTL_EARLY,
    ];
    check!().with_iterations(ITERATIONS).for_each(|input: &[u8]| {
        let Some((&choice, entries)) = input.split_first() else { return };
        let type_code = CODES[usize::from(choice) % CODES.len()];
        let mut blob = Vec::new();
        match type_code {
            code::LIST_ZIPLIST | code::ZSET_ZIPLIST | code::HASH_ZIPLIST => {
                let total = entries.len() as u32 + 11;
                blob.extend_from_slice(&total.to_le_bytes());
                // The last of these entries begins where this byte says.
                let last = 10 + u32::from(choice) / 9;
                blob.extend_from_slice(&last.to_le_bytes());
                blob.extend_from_slice(&[0xff, 0xff]);
            }
            code::HASH_ZIPMAP => blob.push(254),
            code::SET_INTSET => {
                let len = entries.len() as u32 / 2;
                blob.extend_from_slice(&2_u32.to_le_bytes());
                blob.extend_from_slice(&len.to_le_bytes());
            }
            _ => {
                blob.extend_from_slice(&(entries.len() as u32 + 7).to_le_bytes());
                blob.extend_from_slice(&[0xff, 0xff]);
            }
        }
        blob.extend_from_slice(entries);
        if type_code != code::SET_INTSET {
            blob.push(0xff);
        }
        let mut bytes = Vec::new();
        length::write_string(&blob, false, &mut bytes);
        value(type_code, &bytes);
    });
}

/// As RESTORE takes them, without the checksum in the way.
#[test]
fn payloads() {
    check!().with_iterations(ITERATIONS).for_each(|payload: &[u8]| {
        let _ = restore(payload, &limits(), true);
        if let Ok(value) = restore(payload, &limits(), false) {
            dump(ValueRef::Boxed(&value), &WriteOptions { compress: true });
        }
    });
}

/// The same with a version and a checksum that fit, so that every change gets behind them: the first byte chooses the
/// version. What passes with the checksum passes without a look at it, and the other way round.
#[test]
fn sealed_payloads() {
    check!().with_iterations(ITERATIONS).for_each(|input: &[u8]| {
        let Some((&version, body)) = input.split_first() else { return };
        // 80 is Valkey's; beyond is too new.
        let version =
            [u16::from(version) % (VERSION_MAX + 2), VALKEY_VERSION][usize::from(version == u8::MAX)];
        let mut payload = [body, &version.to_le_bytes()].concat();
        payload.extend_from_slice(&crc64(0, &payload).to_le_bytes());
        let restored = restore(&payload, &limits(), true);
        assert_eq!(restored, restore(&payload, &limits(), false));
        if version > VERSION_MAX && version != VALKEY_VERSION {
            assert_eq!(restored, Err(Refusal::Footer));
        }
        let Ok(value) = restored else { return };
        for compress in [false, true] {
            let again = restore(&dump(ValueRef::Boxed(&value), &WriteOptions { compress }), &limits(), true);
            assert!(again.is_ok(), "what was restored is dumped, and restored again");
        }
        let last = payload.len() - 1;
        payload[last] ^= 1;
        assert_eq!(restore(&payload, &limits(), true), Err(Refusal::Footer));
    });
}

/// However a file is cut into pieces, its items are the same, and so is the complaint; the check agrees.
fn file(bytes: &[u8], piece: usize) {
    let whole = items(bytes, bytes.len().max(1));
    assert_eq!(items(bytes, piece), whole);
    let mut check = RdbCheck::new();
    check.feed(bytes, UnixMillis(0));
    if check.into_report().is_whole() {
        assert!(whole.is_done);
    }
}

#[test]
fn files() {
    check!().with_iterations(ITERATIONS).for_each(|input: &[u8]| {
        let Some((&piece, body)) = input.split_first() else { return };
        let framed = [b"REDIS0010", body].concat();
        for bytes in [body, &framed] {
            file(bytes, usize::from(piece % 16) + 1);
        }
    });
}

/// A header and an end that fit around records: what is wrong is in them. It is checked, and loaded as a start loads it.
fn sealed(version: u8, records: &[u8]) -> Vec<u8> {
    let mut file = format!("REDIS{:04}", 5 + version % (VERSION_MAX as u8 - 4)).into_bytes();
    file.extend_from_slice(records);
    file.push(opcode::EOF);
    file.extend_from_slice(&crc64(0, &file).to_le_bytes());
    file
}

/// The opcode and the checksum.
const END_BYTES: usize = 9;

fn fill_block(bytes: &mut Vec<u8>) {
    let gap = bytes.len().next_multiple_of(BLOCK) - bytes.len();
    write_filler(if gap < 16 { gap + BLOCK } else { gap }, bytes);
}

#[test]
fn sealed_files() {
    check!().with_iterations(ITERATIONS).for_each(|input: &[u8]| {
        let Some((&choice, records)) = input.split_first() else { return };
        let bytes = sealed(choice, records);
        file(&bytes, usize::from(choice % 16) + 1);
        let mut check = RdbCheck::new();
        check.feed(&bytes, UnixMillis(0));
        // The records may hold an end of their own.
        if let Outcome::Checksum { told, computed } = check.into_report().outcome {
            assert_ne!(told, computed);
        }
    });
}

/// As a start loads it, by one feeder or by several, as the index in it says.
#[test]
fn loaded_files() {
    check!().with_iterations(ITERATIONS / 10).for_each(|input: &[u8]| {
        let Some((&choice, records)) = input.split_first() else { return };
        let (records, index) = records.split_at(records.len() - records.len().min(usize::from(choice % 32)));
        let mut bytes = sealed(choice, records);
        if choice & 0x20 != 0 {
            // As our own are: the header, the records and the rest each fill whole blocks.
            bytes = sealed(choice, b"");
            bytes.truncate(bytes.len() - END_BYTES);
            fill_block(&mut bytes);
            bytes.extend_from_slice(records);
            fill_block(&mut bytes);
            for _ in 0..2 {
                write_filler(BLOCK, &mut bytes);
            }
            let at = bytes.len() as u64;
            push_aux(&mut bytes, INDEX_KEY, index);
            push_aux(&mut bytes, INDEX_AT_KEY, &at.to_le_bytes());
            bytes.push(opcode::EOF);
            bytes.extend_from_slice(&crc64(0, &bytes).to_le_bytes());
        }
        let path = scratch(&bytes);
        // Several feeders are threads, which take most of the time.
        let shards = if choice & 0x40 != 0 { 4 } else { 1 };
        if let Ok(keys) = trial::snapshot(&path, shards, trial::policy(true)) {
            let unverified = trial::snapshot(&path, shards, trial::policy(false));
            assert_eq!(keys, unverified.expect("it checks less"));
        }
    });
}

/// What reading a file comes to.
#[derive(Debug, PartialEq)]
struct Items<'f> {
    items: Vec<Item<'f>>,
    is_done: bool,
    damage: Option<FileDamage>,
}

/// A piece that is too short for an item doubles, as the readers of files do it: else it is walked anew for each piece.
fn items(file: &[u8], piece: usize) -> Items<'_> {
    let (mut reader, mut end, mut grows) = (FileReader::new(), 0, piece);
    let mut found = Items { items: Vec::new(), is_done: false, damage: None };
    while !reader.is_done() {
        let start = reader.offset() as usize;
        match reader.step(&file[start..end]) {
            Ok(Step::Item(item, consumed)) => {
                assert!(0 < consumed && consumed <= end - start);
                found.items.push(item);
                grows = piece;
            }
            Ok(Step::More(more)) => {
                assert!(more > 0);
                if end == file.len() {
                    return found;
                }
                end = file.len().min(end + grows);
                grows *= 2;
            }
            Err(damage) => {
                assert!(!damage.to_string().is_empty());
                found.damage = Some(damage);
                return found;
            }
        }
    }
    found.is_done = true;
    found
}

/// What unpacks has the length that was told; what is packed unpacks to itself.
#[test]
fn compression() {
    check!().with_iterations(ITERATIONS).for_each(|input: &[u8]| {
        let Some((&length, bytes)) = input.split_first() else { return };
        for length in [usize::from(length), bytes.len(), bytes.len() * 4] {
            if let Ok(text) = lzf::decompress(bytes, length) {
                assert_eq!(text.len(), length);
            }
        }
        let text = bytes.repeat(usize::from(length % 8));
        let mut packed = Vec::new();
        if lzf::compress(&text, text.len(), &mut packed) {
            assert_eq!(lzf::decompress(&packed, text.len()), Ok(text));
        }
    });
}

/// One value of every form, as Redis wrote them.
const SAMPLES: &[(u8, &[u8])] = &[
    (code::STRING, b"\xc3\x09\x40\x40\x01ab\xe0\x33\x01\x01ab"),
    (code::LIST, b"\x04\x01a\xc0\x07\x01a\x40\x41aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
    (code::SET, b"\x05\x01a\xc0\x07\x02bc\xc1\x00\x10\xc2\x00\x00\x10\x00"),
    (code::ZSET, b"\x04\x01a\x031.5\x01b\xfe\x01c\xff\x01d\x07-12e-01"),
    (code::ZSET_2, b"\x02\x01a\0\0\0\0\0\0\xf8\x3f\x01b\0\0\0\0\0\0\0\xc0"),
    (code::HASH, b"\x02\x01a\xc0\x07\x01b\x02cd"),
    (code::HASH_ZIPMAP, b"\x11\x02\x01a\x01\x02b__\x02cd\x03\x00efg\xff"),
    (code::LIST_ZIPLIST, ZIPLIST),
    (code::SET_INTSET, b"\x10\x02\0\0\0\x04\0\0\0\xff\xff\x01\0\x02\0\x00\x10"),
    (code::ZSET_ZIPLIST, b"\x15\x15\0\0\0\x12\0\0\0\x04\0\0\x01a\x03\xf3\x02\x01b\x03\xf4\xff"),
    (code::HASH_ZIPLIST, b"\x15\x15\0\0\0\x12\0\0\0\x04\0\0\x01a\x03\xf3\x02\x01b\x03\xf4\xff"),
    (code::LIST_QUICKLIST, b"\x01\x22\x22\0\0\0\x18\0\0\0\x05\0\0\x01a\x03\xf3\x02\xc0\x78\xec\x04\xf0\x87\xd6\x12\x05\x07a text.\xff"),
    (code::HASH_LISTPACK, b"\x17\x17\0\0\0\x06\0\x81a\x02\x01\x01\x81b\x02\x82cd\x03\x05\x01\x06\x01\xff"),
    (code::ZSET_LISTPACK, b"\x14\x14\0\0\0\x04\0\x81a\x02\x01\x01\x81b\x02\x833.5\x04\xff"),
    (code::LIST_QUICKLIST_2, b"\x02\x01\x05large\x02\x0c\x0c\0\0\0\x02\0\x81a\x02\x01\x01\xff"),
    (code::SET_LISTPACK, b"\x0f\x0f\0\0\0\x03\0\x81a\x02\x01\x01\x81b\x02\xff"),
    (code::HASH_TTL, b"\xe8\x03\0\0\0\0\0\0\x03\x06\x01a\xc0\x01\x01\x01b\xc0\x02\x00\x01c\x01x"),
    (code::HASH_TTL_EARLY, b"\x03\x43\xed\x01a\xc0\x01\x43\xe8\x01b\xc0\x02\x00\x01c\x01x"),
    (code::STREAM_2, STREAM),
    (code::HASH_LISTPACK_TTL, b"\x01\0\0\0\0\0\0\0\x15\x15\0\0\0\x06\0\x81a\x02\x01\x01\x05\x01\x81b\x02\x02\x01\0\x01\xff"),
];

const ZIPLIST: &[u8] =
    b"\x22\x22\0\0\0\x18\0\0\0\x05\0\0\x01a\x03\xf3\x02\xc0\x78\xec\x04\xf0\x87\xd6\x12\x05\x07a text.\xff";

/// Three entries, the second one deleted; a group whose consumer has not acknowledged the others.
const STREAM: &[u8] = b"\
    \x01\x10\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00\x01\x3d\x3d\x00\x00\x00\x18\
    \x00\x02\x01\x01\x01\x01\x01\x81\x61\x02\x00\x01\x02\x01\x00\x01\x00\x01\x01\x01\x04\x01\x03\x01\
    \x00\x01\x01\x01\x81\x78\x02\x04\x01\x00\x01\x00\x01\x02\x01\x02\x01\x81\x62\x02\x81\x78\x02\x81\
    \x63\x02\x81\x79\x02\x08\x01\xff\x02\x05\x03\x05\x01\x05\x02\x03\x01\x01\x67\x05\x03\x03\x02\x00\
    \x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00\x01\xac\x5d\xa3\xf9\xa1\x01\x00\x00\x01\
    \x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00\x03\xac\x5d\xa3\xf9\xa1\x01\x00\x00\
    \x01\x01\x02\x6d\x65\xac\x5d\xa3\xf9\xa1\x01\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\
    \x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00\x03";

/// Small changes to what is right: they get further than anything random. Each three bytes of `changes` are one.
fn spoil(bytes: &mut Vec<u8>, changes: &[u8]) {
    for change in changes.as_chunks::<3>().0 {
        let &[what, place, byte] = change;
        if bytes.is_empty() {
            return;
        }
        let at = usize::from(place) % bytes.len();
        match what % 8 {
            0 | 1 => bytes[at] = byte,
            2 => bytes[at] = bytes[at].wrapping_add(1),
            3 => bytes[at] = bytes[at].wrapping_sub(1),
            4 => bytes.insert(at, byte),
            5 => _ = bytes.remove(at),
            6 => {
                let end = bytes.len().min(at + usize::from(byte % 16));
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
            _ => bytes[at] ^= 1 << (byte % 8),
        }
    }
}

#[test]
fn the_samples_are_right() {
    for (type_code, bytes) in SAMPLES {
        let mut reader = Reader::new(bytes);
        let read = read_value(*type_code, &mut reader, &limits());
        assert!(read.is_ok(), "{type_code}: {read:?}");
        assert_eq!(reader.remaining(), 0, "{type_code}");
        value(*type_code, bytes);
    }
}

#[test]
fn spoilt_values() {
    check!().with_iterations(ITERATIONS).for_each(|input: &[u8]| {
        let Some((&choice, changes)) = input.split_first() else { return };
        let (type_code, sample) = SAMPLES[usize::from(choice) % SAMPLES.len()];
        let mut bytes = sample.to_vec();
        spoil(&mut bytes, &changes[..changes.len().min(12)]);
        value(type_code, &bytes);
    });
}

#[test]
fn spoilt_files() {
    check!().with_iterations(ITERATIONS).for_each(|input: &[u8]| {
        let Some((&choice, changes)) = input.split_first() else { return };
        let mut file = b"REDIS0010\xfa\x03ver\x017\xfe\x00\xfb\x02\x00".to_vec();
        for (number, (type_code, sample)) in SAMPLES.iter().enumerate() {
            if number % 4 == usize::from(choice % 4) {
                file.extend_from_slice(&[0xfc, 0, 1, 2, 3, 0, 0, 0, 0, 0xf8, 5, *type_code, 1, b'k']);
                file.extend_from_slice(sample);
            }
        }
        file.extend_from_slice(b"\xff\0\0\0\0\0\0\0\0");
        spoil(&mut file, &changes[..changes.len().min(12)]);
        let whole = items(&file, file.len().max(1));
        assert_eq!(items(&file, usize::from(choice % 16) + 1), whole);
        RdbCheck::new().feed(&file, UnixMillis(0));
    });
}
