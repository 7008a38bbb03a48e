//! Contents to be saved: random ones, and one key of every type and encoding.

use crate::contents::{argv, ask};
use crate::generate::{Argv, Generator};
use crate::support::Server;
use std::time::{SystemTime, UNIX_EPOCH};

pub fn random(server: &Server, seed: u64, count: usize) {
    run(server, seed, count, |_| true);
}

/// For journals of ours, which cannot hold streams that move between shards yet.
pub fn random_without_streams(server: &Server, seed: u64, count: usize) {
    run(server, seed, count, |argv| !argv[0].to_ascii_uppercase().starts_with(b"X"));
}

fn run(server: &Server, seed: u64, count: usize, wanted: impl Fn(&Argv) -> bool) {
    let table = pinion::commands::table(&[]);
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).expect("past 1970").as_millis() as i64;
    let mut generator = Generator::new(&table, seed, now_ms);
    let mut client = server.connect();
    let mut commands: Vec<Argv> = Vec::new();
    while commands.len() < count {
        commands.extend(generator.next().into_iter().filter(&wanted));
    }
    for commands in commands.chunks(50) {
        ask(&mut client, commands).expect("the server answers");
    }
}

/// Every type and every encoding, at the sizes where they change; in two databases.
pub fn every_kind(server: &Server) {
    let mut client = server.connect();
    let mut commands: Vec<Argv> = Vec::new();
    for (key, value) in [
        ("int:0", "0"),
        ("int:8", "-128"),
        ("int:16", "32767"),
        ("int:32", "-2147483648"),
        ("int:64", "9223372036854775807"),
        ("text:number", "9223372036854775808"),
        ("text:zero", "007"),
        ("text:empty", ""),
        ("text:short", "hello"),
    ] {
        commands.push(argv(&[b"SET", key.as_bytes(), value.as_bytes()]));
    }
    for length in [19, 20, 44, 45, 63, 64, 16_383, 16_384, 100_000] {
        let key = format!("text:{length}");
        let varied: Vec<u8> = (0..length).map(|index: usize| (index * index % 253) as u8).collect();
        commands.push(argv(&[b"SET", key.as_bytes(), &varied]));
        let key = format!("packed:{length}");
        commands.push(argv(&[b"SET", key.as_bytes(), "abcd".repeat(length / 4 + 1).as_bytes()]));
    }
    for count in [1, 100, 127, 128, 129, 512, 513, 2000] {
        let (list, set, intset, hash, zset) = (
            format!("list:{count}"),
            format!("set:{count}"),
            format!("intset:{count}"),
            format!("hash:{count}"),
            format!("zset:{count}"),
        );
        for index in 0..count {
            let member = format!("member-{index}");
            let number = (i64::from(index) * 7919 - 3000) << (index % 40);
            let (number, score) = (number.to_string(), format!("{}", f64::from(index) / 3.0 - 100.0));
            let value = "v".repeat(index as usize % 70);
            commands.push(argv(&[b"RPUSH", list.as_bytes(), member.as_bytes()]));
            commands.push(argv(&[b"SADD", set.as_bytes(), member.as_bytes()]));
            commands.push(argv(&[b"SADD", intset.as_bytes(), number.as_bytes()]));
            commands.push(argv(&[b"HSET", hash.as_bytes(), member.as_bytes(), value.as_bytes()]));
            commands.push(argv(&[b"ZADD", zset.as_bytes(), score.as_bytes(), member.as_bytes()]));
        }
    }
    let large = "x".repeat(10_000);
    commands.push(argv(&[b"RPUSH", b"list:large", large.as_bytes(), b"small", large.as_bytes()]));
    commands.push(argv(&[b"HSET", b"hash:large", b"field", large.as_bytes()]));
    commands.push(argv(&[b"SADD", b"set:large", large.as_bytes()]));
    commands.push(argv(&[b"ZADD", b"zset:large", b"inf", large.as_bytes(), b"-inf", b"least"]));
    commands.push(argv(&[b"PFADD", b"hll", b"a", b"b", b"c"]));
    commands.push(argv(&[b"SETBIT", b"bits", b"100000", b"1"]));
    commands.push(argv(&[b"GEOADD", b"geo", b"13.361389", b"38.115556", b"Palermo"]));
    commands.push(argv(&[b"SELECT", b"9"]));
    commands.push(argv(&[b"SET", b"{tag}a", b"1", b"EX", b"100000"]));
    commands.push(argv(&[b"SET", b"\x00\xff\r\n binary", b"\x00\r\n"]));
    commands.push(argv(&[b"RPUSH", b"lasting", b"1"]));
    commands.push(argv(&[b"PEXPIREAT", b"lasting", b"4102444800123"]));
    // Keys of several shards that depend on each other, and what happens to all of them.
    for index in 0..20 {
        let key = |name: &str| format!("{name}{index}").into_bytes();
        commands.push(argv(&[b"MSET", &key("a"), b"1", &key("b"), b"2", &key("c"), b"3"]));
        commands.push(argv(&[b"RENAME", &key("a"), &key("d")]));
        commands.push(argv(&[b"SADD", &key("s"), b"1", b"2"]));
        commands.push(argv(&[b"SUNIONSTORE", &key("t"), &key("s"), &key("no")]));
        commands.push(argv(&[b"COPY", &key("t"), &key("u")]));
        commands.push(argv(&[b"MULTI"]));
        commands.push(argv(&[b"DEL", &key("b"), &key("c")]));
        commands.push(argv(&[b"INCR", &key("n")]));
        commands.push(argv(&[b"EXEC"]));
    }
    commands.push(argv(&[b"SWAPDB", b"9", b"3"]));
    commands.push(argv(&[b"SET", b"after", b"swap"]));
    commands.push(argv(&[b"MOVE", b"after", b"4"]));
    for reply in ask(&mut client, &commands).expect("the server answers") {
        assert!(!reply.to_string().starts_with('-'), "{reply}");
    }
}
