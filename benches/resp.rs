//! The request parser and the reply writer, per request of a pipeline of sixteen.

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use pinion::resp::{Argv, Limits, Progress, Protocol, Reply, RequestParser};

fn main() {
    divan::main();
}

const PIPELINE: usize = 16;

fn request(args: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = Reply::new(&mut bytes, Protocol::Resp2);
    writer.array(args.len());
    args.iter().for_each(|arg| writer.bulk(arg));
    bytes
}

fn parse_all(bencher: Bencher<'_, '_>, request: &[u8]) {
    let pipeline = request.repeat(PIPELINE);
    let limits = Limits::default();
    let (mut parser, mut ranges) = (RequestParser::new(), Vec::new());
    bencher.counter(ItemsCount::new(PIPELINE)).bench_local(|| {
        let mut rest = black_box(&pipeline[..]);
        let mut bytes = 0;
        while !rest.is_empty() {
            match parser.parse(rest, &mut ranges, &limits) {
                Ok(Progress::Complete { consumed }) => {
                    bytes += Argv::new(rest, &ranges)[0].len();
                    rest = &rest[consumed..];
                }
                other => panic!("{other:?}"),
            }
        }
        bytes
    });
}

#[divan::bench]
fn parse_get(bencher: Bencher<'_, '_>) {
    parse_all(bencher, &request(&[b"GET", b"key:000000012345"]));
}

#[divan::bench(args = [3, 64, 1024])]
fn parse_set(bencher: Bencher<'_, '_>, value: usize) {
    parse_all(bencher, &request(&[b"SET", b"key:000000012345", &vec![b'v'; value]]));
}

#[divan::bench]
fn parse_mset_of_ten(bencher: Bencher<'_, '_>) {
    let mut args: Vec<&[u8]> = vec![b"MSET"];
    (0..10).for_each(|_| args.extend([&b"key:000000012345"[..], &[b'v'; 64]]));
    parse_all(bencher, &request(&args));
}

#[divan::bench]
fn parse_inline(bencher: Bencher<'_, '_>) {
    parse_all(bencher, b"SET key:000000012345 value\r\n");
}

/// Lengths that the branch predictor cannot learn.
#[divan::bench]
fn parse_set_of_mixed_lengths(bencher: Bencher<'_, '_>) {
    let mut random = pinion::base::random::Random::from_seed(1);
    let mut count = 0_usize;
    let mut stream = Vec::new();
    while count < 4096 {
        let (key, value) = (vec![b'k'; 4 + random.index(30)], vec![b'v'; random.index(300)]);
        stream.extend(request(&[b"SET", &key, &value]));
        count += 1;
    }
    let limits = Limits::default();
    let (mut parser, mut ranges) = (RequestParser::new(), Vec::new());
    bencher.counter(ItemsCount::new(count)).bench_local(|| {
        let mut rest = black_box(&stream[..]);
        while let Ok(Progress::Complete { consumed }) = parser.parse(rest, &mut ranges, &limits) {
            rest = &rest[consumed..];
        }
        assert!(rest.is_empty());
    });
}

fn write_all(bencher: Bencher<'_, '_>, write: impl Fn(&mut Reply<'_>)) {
    let mut out = Vec::with_capacity(1 << 16);
    bencher.counter(ItemsCount::new(PIPELINE)).bench_local(|| {
        out.clear();
        for _ in 0..PIPELINE {
            write(&mut Reply::new(black_box(&mut out), Protocol::Resp2));
        }
        out.len()
    });
}

#[divan::bench]
fn write_ok(bencher: Bencher<'_, '_>) {
    write_all(bencher, |reply| reply.ok());
}

#[divan::bench(args = [3, 64, 1024])]
fn write_bulk(bencher: Bencher<'_, '_>, len: usize) {
    let payload = vec![b'v'; len];
    write_all(bencher, |reply| reply.bulk(black_box(&payload)));
}

#[divan::bench(args = [1, 12_345, i64::MIN])]
fn write_integer(bencher: Bencher<'_, '_>, value: i64) {
    write_all(bencher, |reply| reply.integer(black_box(value)));
}

#[divan::bench]
fn write_double(bencher: Bencher<'_, '_>) {
    write_all(bencher, |reply| reply.double(black_box(3.15)));
}

#[divan::bench]
fn slot_of_key(bencher: Bencher<'_, '_>) {
    bencher.bench_local(|| pinion::base::crc::slot_of_key(black_box(b"key:000000012345")));
}
