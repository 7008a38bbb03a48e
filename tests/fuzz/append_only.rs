//! The files of the append-only directory, whatever the bytes: refused with a place, or read to an end that holds.

use crate::scratch;
use bolero::check;
use pinion::base::crc::crc32c;
use pinion::command_table::CommandTable;
use pinion::persistence::aof::faults::Faults;
use pinion::persistence::aof::format::{Header, START, encode_mark};
use pinion::persistence::aof::manifest::Manifest;
use pinion::persistence::aof::recovery::{Mercy, scan};
use pinion::persistence::check_aof::check_commands;
use pinion::persistence::load::trial;
use pinion::shard::journal::record::{self, Decoded, Membership, Record, RecordWriter, number, sum};
use std::sync::OnceLock;

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

/// Commands as Redis writes them, of which the input says which, and then what is spoilt.
fn commands_of(input: &[u8]) -> Vec<u8> {
    const LINES: &[&[u8]] = &[
        b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n",
        b"*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n",
        b"*1\r\n$5\r\nMULTI\r\n",
        b"*1\r\n$4\r\nEXEC\r\n",
        b"#TS:1700000000\r\n",
        b"*5\r\n$4\r\nMSET\r\n$1\r\na\r\n$1\r\n2\r\n$1\r\nb\r\n$1\r\n3\r\n",
        b"*3\r\n$6\r\nRENAME\r\n$1\r\na\r\n$1\r\nb\r\n",
        b"*1\r\n$8\r\nFLUSHALL\r\n",
        b"*3\r\n$3\r\nDEL\r\n$1\r\na\r\n$1\r\nc\r\n",
        b"*4\r\n$7\r\nPEXPIRE\r\n$1\r\na\r\n$3\r\n100\r\n$2\r\nNX\r\n",
    ];
    let (script, spoils) = input.split_at(input.len() / 2);
    let mut file: Vec<u8> =
        script.iter().flat_map(|step| LINES[usize::from(*step) % LINES.len()]).copied().collect();
    for spoil in spoils.as_chunks::<4>().0 {
        if file.is_empty() {
            break;
        }
        let at = usize::from(u16::from_le_bytes([spoil[0], spoil[1]])) % file.len();
        match spoil[2] % 8 {
            0 => file.truncate(at),
            1..4 => file[at] = spoil[3],
            4 => file[at] ^= 1 << (spoil[3] % 8),
            5 => file.insert(at, spoil[3]),
            _ => _ = file.remove(at),
        }
    }
    file
}

/// A file of commands is whole up to a place, and up to there it stays so.
#[test]
fn commands() {
    check!().with_iterations(ITERATIONS).for_each(|input: &[u8]| {
        for file in [input, &commands_of(input)] {
            let report = check_commands(file);
            assert!(report.size == file.len() as u64 && report.valid <= report.size);
            assert!(report.problem.is_some() || report.valid == report.size);
            let whole = check_commands(&file[..report.valid as usize]);
            assert_eq!((whole.valid, whole.problem), (report.valid, None));
        }
    });
}

/// The same as a start loads them, for one shard and for several: what is kept of a file that is cut off is what a file
/// has that ends there, and the check finds no fault with it.
#[test]
fn loaded_commands() {
    static TABLE: OnceLock<CommandTable> = OnceLock::new();
    let table = TABLE.get_or_init(|| pinion::commands::table(&[]));
    check!().with_iterations(ITERATIONS / 10).for_each(|input: &[u8]| {
        for file in [input, &commands_of(input)] {
            // Several shards are threads, which take most of the time.
            let several = input.len().is_multiple_of(16).then_some(3);
            for shards in [Some(1), several].into_iter().flatten() {
                let (kept, tail) = trial::commands(&scratch(file), table, shards, true);
                let Ok(cut) = tail else { continue };
                let end = cut.unwrap_or(file.len() as u64) as usize;
                let (again, tail) = trial::commands(&scratch(&file[..end]), table, shards, false);
                assert_eq!(tail.expect("nothing is cut off any more"), None);
                assert_eq!(again, kept);
                if cut.is_some() {
                    assert!(trial::commands(&scratch(file), table, shards, false).1.is_err());
                    assert!(check_commands(file).problem.is_some());
                }
            }
        }
    });
}
