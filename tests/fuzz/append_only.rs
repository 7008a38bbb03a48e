//! The files of the append-only directory, whatever the bytes: refused with a place, or read to an end that holds.

use bolero::check;
use pinion::base::crc::crc32c;
use pinion::persistence::aof::faults::Faults;
use pinion::persistence::aof::format::{Header, START, encode_mark};
use pinion::persistence::aof::manifest::Manifest;
use pinion::persistence::aof::recovery::{Mercy, scan};
use pinion::shard::journal::record::{self, Decoded, Membership, Record, RecordWriter, number, sum};

/// Random inputs after the corpus, without an engine.
const ITERATIONS: usize = 3_000;

const HEADER: Header = Header { shard: 0, shards: 2, generation: 1, run: 0x0706_0504_0302_0100 };

/// What is read as a record is whole: its effects can be walked, and it is no longer than the bytes.
fn record(bytes: &[u8]) {
    let Decoded::Record(record) = Record::decode(bytes) else { return };
    assert!(record.length <= bytes.len());
    for effect in record.effects() {
        let effect = effect.expect("the record was decoded");
        assert_eq!(effect.arguments().count(), effect.len());
        for (argument, place) in effect.arguments().zip(effect.places()) {
            assert_eq!(argument, &effect.bytes()[place]);
        }
    }
}

/// As they are, and sealed, so that what is behind the checksum is reached.
#[test]
fn records() {
    check!().with_iterations(ITERATIONS).for_each(|input: &[u8]| {
        record(input);
        let mut sealed = vec![0; record::HEADER];
        sealed.extend_from_slice(input);
        number(&mut sealed, 1);
        sum(&mut sealed);
        record(&sealed);
    });
}

/// Records and marks as a writer would leave them, of which the input says how many, and then what is spoilt.
fn segment(input: &[u8]) -> Vec<u8> {
    let mut file = HEADER.encode();
    let (script, spoils) = input.split_at(input.len() / 2);
    let mut sequence = 0;
    for step in script.chunks(3) {
        match step[0] % 8 {
            0 => {
                let place = file.len() as u64;
                let durable = place.saturating_sub(u64::from(step[step.len() - 1]));
                // Half of them without the zeros that they tell of.
                let zeros = usize::from(step[0] / 8);
                file.extend_from_slice(&encode_mark(HEADER.run, place, durable, zeros as u32));
                file.resize(file.len() + zeros * usize::from(step[0] % 16 == 0), 0);
            }
            1 => file.extend_from_slice(&vec![0; usize::from(step[step.len() - 1])]),
            kind => {
                sequence += u64::from(step[0] != 2);
                let membership = Membership {
                    transaction: u64::from(step[step.len() - 1]) + 1,
                    participants: [0, 1].into(),
                };
                let of = (kind == 3).then_some(&membership);
                let mut writer = RecordWriter::new(&mut file, sequence, of);
                writer.effect(0, [&b"SET"[..], step, step].into_iter());
                writer.seal();
            }
        }
    }
    for spoil in spoils.as_chunks::<4>().0 {
        let at = usize::from(u16::from_le_bytes([spoil[0], spoil[1]])) % file.len();
        match spoil[2] % 4 {
            0 => file.truncate(at),
            1 => file[at] = spoil[3],
            2 => file[at] ^= 1 << (spoil[3] % 8),
            _ => file.resize(file.len() + usize::from(spoil[3]), 0),
        }
        if file.is_empty() {
            break;
        }
    }
    file
}

/// A scan ends inside the file; closed there, the same records are found and nothing is torn or damaged; and mercy
/// finds no less than its absence.
fn scanned(file: &[u8], closed_at: Option<u64>) {
    let strict = scan(file, &HEADER, closed_at, Mercy::None, Faults::NONE);
    let Ok(merciful) = scan(file, &HEADER, closed_at, Mercy::ForDamage, Faults::NONE) else {
        panic!("mercy refuses nothing");
    };
    match &strict {
        Ok(scan) => assert_eq!((scan.end, scan.records), (merciful.end, merciful.records)),
        Err(damage) => {
            assert!(merciful.damaged.is_some());
            assert!(damage.offset <= file.len() as u64);
        }
    }
    assert!(START <= merciful.end && merciful.end <= (file.len() as u64).max(START));
    if file.len() as u64 >= START {
        let again =
            scan(file, &HEADER, Some(merciful.end), Mercy::None, Faults::NONE).expect("it ends there");
        assert_eq!((again.records, again.sequences), (merciful.records, merciful.sequences));
        assert!(again.torn.is_none());
    }
}

#[test]
fn segments() {
    check!().with_iterations(ITERATIONS).for_each(|input: &[u8]| {
        let raw = [&HEADER.encode()[..], input].concat();
        let made = segment(input);
        for file in [&raw, &made] {
            if Header::decode(file) == Ok(HEADER) {
                scanned(file, None);
                scanned(file, Some(file.len() as u64));
                scanned(file, Some(START + u64::from(input.first().copied().unwrap_or(0))));
            }
        }
        let _ = Header::decode(input);
    });
}

/// What is taken for a list of files is written down again as a list that means the same.
#[test]
fn manifests() {
    check!().with_iterations(ITERATIONS).for_each(|input: &[u8]| {
        let mut framed = [b"pinion append-only 1\n", input, b"\n"].concat();
        let checksum = format!("checksum {:08x}\n", crc32c(&framed));
        framed.extend_from_slice(checksum.as_bytes());
        let redis = [b"file a.1.base.rdb seq 1 type b\n", input].concat();
        for text in [input, &framed, &redis] {
            let Ok(manifest) = Manifest::parse(text) else { continue };
            let again = Manifest::parse(manifest.encode().as_bytes()).expect("we wrote it");
            assert_eq!(again.files("name"), manifest.files("name"));
            assert_eq!(again.generations, manifest.generations);
        }
    });
}
