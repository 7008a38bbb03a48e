//! Files cut at every byte and damaged in every byte: what is loaded is a prefix, or the file is refused.

use super::feeds::{Feeds, Job};
use super::reader::Reader;
use super::snapshot::SnapshotFeeder;
use super::trial::{self, Commands, DATABASES};
use super::{Delay, LoadError, Progress};
use crate::base::UnixMillis;
use crate::base::crc::crc64;
use crate::command_table::CommandTable;
use crate::keyspace::ValueRef;
use crate::persistence::rdb::{VERSION, WriteOptions, writer};
use crate::shard::{Shard, shard_of_key};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};

fn table() -> &'static CommandTable {
    static TABLE: OnceLock<CommandTable> = OnceLock::new();
    TABLE.get_or_init(|| crate::commands::table(&[]))
}

/// What the cores would get, and where the file was cut off.
fn load(
    path: &Path,
    shards: usize,
    allow_truncated: bool,
) -> (Vec<Commands>, Result<Option<u64>, LoadError>) {
    trial::commands(path, table(), shards, allow_truncated)
}

fn encode(words: &[&str]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", words.len()).into_bytes();
    words.iter().for_each(|word| out.extend(format!("${}\r\n{word}\r\n", word.len()).bytes()));
    out
}

/// Each line with what it means to a loader: commands that take effect with it.
fn lines() -> Vec<(Vec<u8>, Vec<&'static str>)> {
    vec![
        (b"#TS:1700000000\r\n".to_vec(), vec![]),
        (encode(&["SELECT", "3"]), vec![]),
        (encode(&["SET", "a", "1"]), vec!["3 SET a 1"]),
        (encode(&["MSET", "a", "2", "b", "3", "c", "4"]), vec!["3 MSET a 2 b 3 c 4"]),
        (encode(&["MULTI"]), vec![]),
        (encode(&["SET", "x", "1"]), vec![]),
        (b"#TS:1700000001\r\n".to_vec(), vec![]),
        (encode(&["SELECT", "4"]), vec![]),
        (encode(&["INCR", "x"]), vec![]),
        (encode(&["EXEC"]), vec!["3 SET x 1", "4 INCR x"]),
        (encode(&["DEL", "a"]), vec!["4 DEL a"]),
    ]
}

#[test]
fn commands_cut_at_every_byte() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("file");
    let lines = lines();
    let whole: Vec<u8> = lines.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
    let multi = lines[..4].iter().map(|(bytes, _)| bytes.len()).sum::<usize>();
    let exec = lines[..10].iter().map(|(bytes, _)| bytes.len()).sum::<usize>();
    for cut in 0..=whole.len() {
        std::fs::write(&path, &whole[..cut]).expect("written");
        let mut end = 0;
        let mut expected = Vec::new();
        for (bytes, effects) in &lines {
            if end + bytes.len() > cut {
                break;
            }
            end += bytes.len();
            expected.extend(effects.iter().map(|effect| (*effect).to_owned()));
        }
        if end > multi && end < exec {
            end = multi;
        }
        let (commands, tail) = load(&path, 1, true);
        let text = |command: &Vec<Vec<u8>>| {
            command.iter().map(|word| String::from_utf8_lossy(word)).collect::<Vec<_>>().join(" ")
        };
        let commands: Vec<String> = commands[0].iter().map(text).collect();
        assert_eq!(commands, expected, "cut at {cut}");
        let expected = (end != cut).then_some(end as u64);
        assert_eq!(tail.expect("cuts are allowed"), expected, "cut at {cut}");

        let (_, strict) = load(&path, 1, false);
        assert_eq!(strict.is_err(), end != cut, "cut at {cut}");
    }
}

#[test]
fn damaged_commands_are_refused_or_read() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("file");
    let whole: Vec<u8> = lines().iter().flat_map(|(bytes, _)| bytes.clone()).collect();
    for at in 0..whole.len() {
        for bit in [0, 3, 7] {
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << bit;
            std::fs::write(&path, &damaged).expect("written");
            let (_, tail) = load(&path, 3, true);
            if let Err(error) = tail {
                assert!(error.to_string().contains("at offset"), "{error}");
            }
        }
    }
}

#[test]
fn each_shard_gets_its_own_in_order() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("file");
    let mut bytes = Vec::new();
    for round in 0..20_000 {
        let (key, value) = (format!("k{}", round % 97), format!("{round}"));
        bytes.extend(encode(&["SET", &key, &value]));
        bytes.extend(encode(&["MSET", &key, &value, "other", &value]));
    }
    // Larger than several pieces.
    bytes.extend(encode(&["SET", "big", &"x".repeat(5 << 20)]));
    bytes.extend(encode(&["SET", "k1", "last"]));
    std::fs::write(&path, &bytes).expect("written");
    for shards in [1, 2, 5] {
        let (commands, tail) = load(&path, shards, false);
        assert_eq!(tail.expect("whole"), None);
        let mut last: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        for (shard, commands) in commands.iter().enumerate() {
            for command in commands {
                for pair in command[2..].chunks(2) {
                    assert_eq!(shard_of_key(&pair[0], shards), shard);
                    last.insert(pair[0].clone(), pair[1].clone());
                }
            }
        }
        assert_eq!(last.len(), 99);
        assert_eq!(last[&b"other"[..]], b"19999");
        assert_eq!(last[&b"k1"[..]], b"last");
        assert_eq!(last[&b"big"[..]].len(), 5 << 20);
    }
}

fn load_snapshot(path: &Path, verify: bool) -> Result<(Shard, u64), LoadError> {
    let (feeds, mut inboxes) = Feeds::new(1, Arc::default(), Arc::new(Progress::default()));
    let inbox = inboxes.remove(0);
    let mut shard = Shard::new(DATABASES, [1, 2, 3, 4]);
    std::thread::scope(|scope| {
        let feeder = scope.spawn(move || {
            let mut reader = Reader::open(path).expect("it was written");
            SnapshotFeeder::new(&mut reader, &feeds, trial::policy(verify), &Delay(None)).run()
        });
        let mut failure = None;
        for job in inbox.jobs {
            match job {
                Job::Entries(batch) => failure = failure.or(batch.insert_into(&mut shard).err()),
                Job::Reserve { db, keys, expires } => shard.databases[db].reserve(keys, expires),
                _ => panic!("nothing else is sent"),
            }
        }
        let about = feeder.join().expect("no panic")?;
        failure.map_or(Ok((shard, about.expired)), Err)
    })
}

fn snapshot() -> Vec<u8> {
    let options = WriteOptions { compress: true };
    let mut out = Vec::new();
    writer::write_header(VERSION, &mut out);
    writer::write_aux(b"redis-ver", b"7.0.15", &mut out);
    writer::write_select_db(0, &mut out);
    writer::write_resize_db(3, 1, &mut out);
    writer::write_entry(b"key", ValueRef::Str(b"value"), None, None, &options, &mut out);
    writer::write_entry(b"12", ValueRef::Int(300), Some(UnixMillis(999_999)), None, &options, &mut out);
    writer::write_entry(b"13", ValueRef::Int(300), Some(UnixMillis(1_000_000)), None, &options, &mut out);
    writer::write_select_db(15, &mut out);
    writer::write_entry(&[b'k'; 60], ValueRef::Str(&[b'v'; 200]), None, None, &options, &mut out);
    writer::write_end(&mut out);
    let checksum = crc64(0, &out);
    writer::write_checksum(checksum, &mut out);
    out
}

#[test]
fn snapshots_cut_and_damaged_anywhere_are_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("file");
    let whole = snapshot();
    let write = |bytes: &[u8]| std::fs::write(&path, bytes).expect("written");
    write(&whole);
    let (shard, expired) = load_snapshot(&path, true).expect("whole");
    assert_eq!((shard.databases[0].len(), shard.databases[15].len(), expired), (2, 1, 1));
    let entry = shard.databases[0].find(b"13").expect("loaded");
    assert_eq!(entry.deadline(), Some(UnixMillis(1_000_000)), "it has not passed");
    assert!(shard.databases[15].contains(&[b'k'; 60]));
    for cut in 0..whole.len() {
        write(&whole[..cut]);
        let error = load_snapshot(&path, true).err().expect("it is cut").to_string();
        assert!(error.contains("offset") && error.contains("--check-rdb"), "cut at {cut}: {error}");
    }
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        write(&damaged);
        assert!(load_snapshot(&path, true).is_err(), "byte {at}");
        // Without the checksum anything may come out of it, but no panic.
        let _ = load_snapshot(&path, false);
    }
    // What follows the end is no part of it; and a file may do without a checksum.
    let bare = [&whole[..whole.len() - 8], &[0; 8], b"more"].concat();
    write(&bare);
    assert!(load_snapshot(&path, true).is_ok());
}

#[test]
fn a_count_that_cannot_be_is_not_believed() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("file");
    let mut out = Vec::new();
    writer::write_header(VERSION, &mut out);
    for db in 0..DATABASES {
        writer::write_select_db(db, &mut out);
        writer::write_resize_db(usize::MAX, usize::MAX, &mut out);
    }
    let options = WriteOptions { compress: true };
    writer::write_entry(b"key", ValueRef::Str(b"value"), None, None, &options, &mut out);
    writer::write_end(&mut out);
    writer::write_checksum(crc64(0, &out), &mut out);
    std::fs::write(&path, &out).expect("written");
    let (shard, _) = load_snapshot(&path, true).expect("whole");
    let bytes: usize = shard.databases.iter().map(|keyspace| keyspace.table_shape().bytes).sum();
    assert!(bytes < DATABASES * 1024, "{bytes}");
    assert_eq!(shard.databases[DATABASES - 1].len(), 1);
}

#[test]
fn a_key_that_comes_twice_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("file");
    let mut bytes = b"REDIS0003\xfe\x00".to_vec();
    bytes.extend_from_slice(b"\x00\x01k\x01v\x00\x01k\x01w\xff");
    std::fs::write(&path, &bytes).expect("written");
    let error = load_snapshot(&path, true).err().expect("twice").to_string();
    assert!(error.contains("key 'k'") && error.contains("twice"), "{error}");
}

mod segments {
    use super::super::segments::{Segment, replay};
    use super::*;
    use crate::disk::BLOCK;
    use crate::persistence::aof::format::{Header, MARK_BYTES, START, encode_mark};
    use crate::resp::Argv;
    use crate::shard::journal::record::{Membership, RecordWriter};

    const RUN: u64 = 77;

    /// A segment of one shard, written record by record.
    struct Written {
        bytes: Vec<u8>,
        sequence: u64,
    }

    impl Written {
        fn new(shard: u32, shards: u32) -> Self {
            let header = Header { shard, shards, generation: 1, run: RUN };
            Self { bytes: header.encode(), sequence: 0 }
        }

        fn record(&mut self, transaction: Option<u64>, participants: u32, effects: &[&str]) {
            self.sequence += 1;
            let membership = transaction
                .map(|transaction| Membership { transaction, participants: (0..participants).collect() });
            let mut writer = RecordWriter::new(&mut self.bytes, self.sequence, membership.as_ref());
            for effect in effects {
                let (db, words) = effect.split_once(' ').expect("a database and a command");
                let words: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
                writer.effect(db.parse().expect("a number"), words.into_iter());
            }
            writer.seal();
        }

        fn mark(&mut self) {
            let at = self.bytes.len();
            let zeros = if self.sequence.is_multiple_of(2) {
                0
            } else {
                (at + MARK_BYTES).next_multiple_of(BLOCK) - at - MARK_BYTES
            };
            self.bytes.extend_from_slice(&encode_mark(RUN, at as u64, START, zeros as u32));
            self.bytes.resize(self.bytes.len() + zeros, 0);
        }
    }

    fn load(segments: &[Segment], shards: usize) -> Result<Vec<Commands>, LoadError> {
        let (feeds, inboxes) = Feeds::new(shards, Arc::default(), Arc::new(Progress::default()));
        std::thread::scope(|scope| {
            let cores: Vec<_> = inboxes
                .into_iter()
                .map(|inbox| {
                    scope.spawn(move || {
                        let mut commands: Commands = Vec::new();
                        let mut push = |db: usize, argv: Argv<'_>| {
                            let db = db.to_string().into_bytes();
                            commands
                                .push(std::iter::once(db).chain(argv.iter().map(<[u8]>::to_vec)).collect());
                        };
                        for job in inbox.jobs {
                            match job {
                                Job::Commands(batch) => {
                                    let items = batch.items().iter();
                                    items.for_each(|item| push(item.db as usize, batch.argv(item)));
                                }
                                Job::Everywhere { db, argv, .. } => push(db, argv.as_argv()),
                                _ => panic!("nothing else is sent"),
                            }
                        }
                        commands
                    })
                })
                .collect();
            let result = replay(segments, &feeds, table(), DATABASES, &Delay(None));
            drop(feeds);
            let commands = cores.into_iter().map(|core| core.join().expect("no panic")).collect();
            result.map(|()| commands)
        })
    }

    fn write(directory: &Path, written: &[&Written]) -> Vec<Segment> {
        let write = |(index, written): (usize, &&Written)| {
            let path = directory.join(format!("segment-{index}"));
            std::fs::write(&path, [&written.bytes[..], &[0; 5000]].concat()).expect("written");
            Segment { path, start: START, end: written.bytes.len() as u64 }
        };
        written.iter().enumerate().map(write).collect()
    }

    fn texts(commands: &[Commands]) -> Vec<Vec<String>> {
        let text = |command: &Vec<Vec<u8>>| {
            command.iter().map(|word| String::from_utf8_lossy(word)).collect::<Vec<_>>().join(" ")
        };
        commands.iter().map(|commands| commands.iter().map(text).collect()).collect()
    }

    #[test]
    fn what_is_about_everything_is_done_once_and_between_all_else() {
        let directory = tempfile::tempdir().expect("a directory");
        let (mut one, mut other) = (Written::new(0, 2), Written::new(1, 2));
        for round in 0..300 {
            one.record(None, 0, &["0 SET a 1", "3 SET b 2"]);
            one.mark();
            one.record(Some(round + 1), 2, &["0 SET c 3", "0 FLUSHALL", "0 SET d 4"]);
            other.record(Some(round + 1), 2, &["0 FLUSHALL"]);
            other.record(None, 0, &["5 SET e 5"]);
            other.mark();
        }
        let segments = write(directory.path(), &[&one, &other]);
        for shards in [1, 2, 3, 5] {
            let commands = texts(&load(&segments, shards).expect("whole"));
            for commands in &commands {
                assert_eq!(commands.iter().filter(|command| *command == "0 FLUSHALL").count(), 300);
                for between in commands.split(|command| command == "0 FLUSHALL") {
                    let mut sorted = between.to_vec();
                    sorted.sort();
                    sorted.dedup();
                    assert_eq!(sorted.len(), between.len(), "each once between two meetings: {between:?}");
                }
            }
            assert_eq!(commands.iter().map(Vec::len).sum::<usize>(), 300 * (5 + shards));
        }
    }

    #[test]
    fn segments_that_do_not_meet_are_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let (mut one, mut other) = (Written::new(0, 2), Written::new(1, 2));
        one.record(Some(1), 2, &["0 FLUSHALL"]);
        other.record(None, 0, &["0 SET e 5"]);
        let segments = write(directory.path(), &[&one, &other]);
        let error = load(&segments, 2).expect_err("the other one is missing").to_string();
        assert!(
            error.contains("segment-0 at offset 4096") && error.contains("other segments end"),
            "{error}"
        );
    }

    #[test]
    fn damage_is_told_and_ends_it_everywhere() {
        let directory = tempfile::tempdir().expect("a directory");
        let (mut one, mut other) = (Written::new(0, 2), Written::new(1, 2));
        one.record(Some(1), 2, &["0 FLUSHALL"]);
        other.record(None, 0, &["0 SET e 5"]);
        other.record(Some(1), 2, &["0 FLUSHALL"]);
        let end = other.bytes.len();
        for at in START as usize..end {
            let mut damaged = Written { bytes: other.bytes.clone(), sequence: 0 };
            damaged.bytes[at] ^= 1;
            let segments = write(directory.path(), &[&one, &damaged]);
            let error = load(&segments, 2).expect_err("damaged").to_string();
            assert!(error.contains("segment-"), "{error}");
        }
        let mut segments = write(directory.path(), &[&one, &other]);
        segments[1].end = end as u64 + 10_000;
        assert!(load(&segments, 2).expect_err("too short").to_string().contains("too short"));
    }
}
