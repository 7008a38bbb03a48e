//! The RDB format's pure parts: what a core or the child of a snapshot can do without a disk.
//!
//! `cargo bench --bench rdb`; times are per batch of [`BATCH`] entries of a 16-byte key and a 64-byte value.

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use pinion::base::{crc::crc64, lzf};
use pinion::keyspace::ValueRef;
use pinion::persistence::rdb::reader::{FileReader, Item, Step};
use pinion::persistence::rdb::writer::write_entry;
use pinion::persistence::rdb::{Reader, WriteOptions, read_value};
use pinion::types::EncodingLimits;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const BATCH: usize = 1000;

fn main() {
    divan::main();
}

/// Values that LZF cannot pack, that it can, and JSON of some kind.
fn value(kind: &str, number: usize) -> Vec<u8> {
    let mut state = number as u64 + 1;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    match kind {
        "random" => (0..64).map(|_| random()).collect(),
        "run" => vec![b'x'; 64],
        _ => format!("{{\"id\":{number},\"name\":\"user {number}\",\"tags\":[\"a\",\"b\"],\"ok\":true}}")
            .into_bytes(),
    }
}

fn entries(kind: &str, compress: bool) -> Vec<u8> {
    let mut out = Vec::new();
    for number in 0..BATCH {
        let key = format!("key:{number:012}");
        let value = value(kind, number);
        write_entry(key.as_bytes(), ValueRef::Str(&value), None, None, &WriteOptions { compress }, &mut out);
    }
    out
}

#[divan::bench(args = ["random", "run", "json"], consts = [false, true])]
fn write<const COMPRESS: bool>(bencher: Bencher<'_, '_>, kind: &str) {
    let values: Vec<(String, Vec<u8>)> =
        (0..BATCH).map(|number| (format!("key:{number:012}"), value(kind, number))).collect();
    let mut out = Vec::new();
    bencher.bench_local(|| {
        out.clear();
        for (key, value) in &values {
            let options = WriteOptions { compress: COMPRESS };
            write_entry(key.as_bytes(), ValueRef::Str(value), None, None, &options, &mut out);
        }
        black_box(out.len())
    });
}

/// Finds where each entry ends: what the one does who hands them out to cores.
#[divan::bench(args = ["random", "run"])]
fn split(bencher: Bencher<'_, '_>, kind: &str) {
    let bytes = entries(kind, true);
    bencher.bench_local(|| walk(&bytes, false));
}

/// And builds the values.
#[divan::bench(args = ["random", "run"])]
fn read(bencher: Bencher<'_, '_>, kind: &str) {
    let bytes = entries(kind, true);
    bencher.bench_local(|| walk(&bytes, true));
}

fn walk(bytes: &[u8], build: bool) -> usize {
    let limits = EncodingLimits::default();
    let mut reader = FileReader::resume(10, 0);
    let (mut at, mut count) = (0, 0);
    while at < bytes.len() {
        match reader.step(&bytes[at..]) {
            Ok(Step::Item(Item::Entry(entry), consumed)) => {
                at += consumed;
                count += 1;
                if build {
                    let value = read_value(entry.type_code, &mut Reader::new(entry.value), &limits);
                    black_box(value.is_ok());
                }
            }
            other => panic!("{other:?}"),
        }
    }
    count
}

#[divan::bench]
fn checksum(bencher: Bencher<'_, '_>) {
    let bytes = vec![7; 1 << 20];
    bencher.counter(BytesCount::new(bytes.len())).bench_local(|| crc64(0, black_box(&bytes)));
}

#[divan::bench(args = ["random", "run", "json"])]
fn compress(bencher: Bencher<'_, '_>, kind: &str) {
    let text: Vec<u8> = (0..200).flat_map(|number| value(kind, number)).collect();
    let mut out = Vec::new();
    bencher.counter(BytesCount::new(text.len())).bench_local(|| {
        out.clear();
        black_box(lzf::compress(&text, text.len(), &mut out))
    });
}
