//! Files: what the writer writes, the reader reads, however the bytes come; and what it says of damaged ones.

use super::reader::{Entry, FileReader, Item, Step};
use super::writer::*;
use super::*;
use crate::base::UnixMillis;
use crate::base::crc::crc64;
use crate::keyspace::ValueRef;
use std::borrow::Cow;

const OPTIONS: WriteOptions = WriteOptions { compress: true };

fn file() -> Vec<u8> {
    let mut out = Vec::new();
    write_header(VERSION, &mut out);
    let preamble =
        Preamble { redis_version: "7.0.15", created_s: 1_700_000_000, used_memory: 12345, aof_base: false };
    write_preamble(&preamble, &mut out);
    write_function(
        b"#!lua name=x\nredis.register_function('x', function() return 1 end)",
        &OPTIONS,
        &mut out,
    );
    write_select_db(0, &mut out);
    write_resize_db(3, 1, &mut out);
    write_entry(b"plain", ValueRef::Str(b"text"), None, None, &OPTIONS, &mut out);
    let deadline = Some(UnixMillis(1_800_000_000_000));
    write_entry(b"mortal", ValueRef::Int(5), deadline, Some(Access::IdleSeconds(300)), &OPTIONS, &mut out);
    write_filler(*FILLER_BYTES.start(), &mut out);
    write_select_db(9, &mut out);
    write_entry(b"12", ValueRef::Str(&[b'x'; 100]), None, Some(Access::Frequency(7)), &OPTIONS, &mut out);
    write_end(&mut out);
    let checksum = crc64(0, &out);
    write_checksum(checksum, &mut out);
    out
}

/// All items as text, from pieces of the file of at most so many bytes.
fn items(file: &[u8], piece: usize) -> Result<Vec<String>, String> {
    let (mut reader, mut items) = (FileReader::new(), Vec::new());
    let mut end = 0;
    while !reader.is_done() {
        let start = reader.offset() as usize;
        match reader.step(&file[start..end]) {
            Ok(Step::Item(item, consumed)) => {
                assert_eq!(reader.offset() as usize, start + consumed);
                items.push(format!("{item:?}"));
            }
            Ok(Step::More(more)) => {
                assert!(more > 0);
                if end == file.len() {
                    return Err(format!("cut off at {start}"));
                }
                end = file.len().min(end + piece);
            }
            Err(damage) => return Err(damage.to_string()),
        }
    }
    Ok(items)
}

#[test]
fn there_and_back() {
    let file = file();
    let whole = items(&file, file.len()).expect("whole");
    assert_eq!(whole.len(), 15);
    for piece in 1..40 {
        assert_eq!(items(&file, piece).as_ref(), Ok(&whole), "{piece}");
    }
    for cut in 0..file.len() {
        assert!(items(&file[..cut], cut.max(1)).is_err_and(|told| told.starts_with("cut off")), "{cut}");
    }

    let mut reader = FileReader::new();
    let mut entries = Vec::new();
    while !reader.is_done() {
        let start = reader.offset() as usize;
        match reader.step(&file[start..]) {
            Ok(Step::Item(Item::Entry(entry), _)) => entries.push(entry),
            Ok(Step::Item(Item::End { checksum }, _)) => {
                assert_eq!(checksum, Some(crc64(0, &file[..file.len() - 8])));
            }
            Ok(Step::Item(..)) => {}
            other => panic!("{other:?}"),
        }
    }
    let [plain, mortal, packed] = &entries[..] else { panic!("three entries") };
    let expected = Entry {
        key: Text::Bytes(Cow::Borrowed(b"plain")),
        deadline: None,
        idle_s: None,
        frequency: None,
        type_code: code::STRING,
        value: b"\x04text",
        value_offset: plain.value_offset,
    };
    assert_eq!(plain, &expected);
    assert_eq!(file[plain.value_offset as usize..][..5], *b"\x04text");
    assert_eq!((mortal.deadline, mortal.idle_s), (Some(UnixMillis(1_800_000_000_000)), Some(300)));
    assert_eq!((&packed.key, packed.frequency), (&Text::Int(12), Some(7)));
}

#[test]
fn a_reader_resumes_at_an_item() {
    let file = file();
    let at = file.windows(5).position(|bytes| bytes == b"plain").expect("there") - 2;
    let mut reader = FileReader::resume(10, at as u64);
    let step = reader.step(&file[at..]).expect("an entry");
    assert!(matches!(step, Step::Item(Item::Entry(_), 12)));
}

#[test]
fn fillers_have_every_size() {
    for bytes in [8, 9, 71, 72, 4096, 16391] {
        let mut out = b"REDIS0010".to_vec();
        write_filler(bytes, &mut out);
        assert_eq!(out.len(), 9 + bytes);
        write_end(&mut out);
        write_checksum(0, &mut out);
        let items = items(&out, out.len()).expect("whole");
        assert_eq!(items.len(), 3);
        assert_eq!(items[2], "End { checksum: None }");
    }
}

#[test]
fn old_files() {
    // Version 1 had no checksum, and deadlines in seconds.
    let old = b"REDIS0001\xfe\x00\xfd\x00\x10\x00\x00\x00\x01k\x01v\xff";
    let items = items(old, 1).expect("whole");
    assert_eq!(items.len(), 4);
    assert!(items[2].contains("UnixMillis(4096000)"), "{}", items[2]);
}

#[test]
fn files_of_valkey() {
    let body = b"\xfe\x00\x16\x01h\x01\x01f\x01v\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0\0\0\0\0";
    let told = items(&[&b"VALKEY080"[..], body].concat(), 1).expect("whole");
    assert!(told[0].contains("Header(80)") && told[2].contains("type_code: 122"), "{told:?}");
    // What Redis means by the same code is read to another end.
    assert!(items(&[&b"REDIS0012"[..], body].concat(), 1).is_err());
    assert_eq!(items(b"VALKEY08", 1), Err("cut off at 0".into()));
}

#[test]
fn damage_is_told_with_its_place() {
    let told = |body: &[u8]| items(&[&b"REDIS0010"[..], body].concat(), 1).expect_err("damaged");
    assert_eq!(items(b"hello", 1), Err("not an RDB file: it does not begin with REDIS or VALKEY".into()));
    assert_eq!(items(b"REDISX", 1), Err("cut off at 0".into()));
    for version in ["0000", "0014", "0080", "abcd", "9999"] {
        let file = format!("REDIS{version}");
        let expected = format!("version {version} of the RDB format is not known, only versions 1 to 13 are");
        assert_eq!(items(file.as_bytes(), 1), Err(expected));
    }
    for version in ["079", "081", "x80"] {
        let expected = format!("version {version} of Valkey's RDB format is not known, only version 80 is");
        assert_eq!(items(format!("VALKEY{version}").as_bytes(), 1), Err(expected));
    }
    assert_eq!(told(b"\xfe\x00\x1e\x03key\x00"), "unknown type 30 of key \"key\" at offset 11");
    assert_eq!(
        told(b"\x07\x01\xff\x81\x53\x98\x4e\x31\x45\x24\x9c\x01"),
        "data of the module type \"U5hOMUUkn\", which needs its module of key \"\\xff\" at offset 9"
    );
    assert_eq!(
        told(b"\xf7\x81\x53\x98\x4e\x31\x45\x24\x9c\x01"),
        "data of the module \"U5hOMUUkn\", which needs its module, at offset 9"
    );
    assert!(told(b"\xf6").starts_with("functions as a release candidate"));
    assert_eq!(told(b"\xfe\xc0\x01"), "a string where a length should be at offset 10");
    assert_eq!(
        told(b"\x01\x01k\xc0\x01"),
        "a string where a length should be of key \"k\" of type 1 (list) at offset 12"
    );
    assert_eq!(told(b"\xf9\x05\xff"), "a key should follow at offset 11");
}
