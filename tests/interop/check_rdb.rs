//! `--check-rdb` of files that redis-server has written, whole and spoilt.

use super::support::{Program, Server};
use std::fs;
use std::path::Path;
use std::process::Command;

struct Told {
    text: String,
    whole: bool,
}

fn check(path: &Path) -> Told {
    let output = Command::new(env!("CARGO_BIN_EXE_pinion-server"))
        .arg("--check-rdb")
        .arg(path)
        .output()
        .expect("the server's binary runs");
    Told { text: String::from_utf8_lossy(&output.stdout).into_owned(), whole: output.status.success() }
}

#[test]
fn files_of_redis() {
    let redis = Server::start(Program::Redis, &["--rdbcompression", "yes"]);
    let mut client = redis.connect();
    client.command(&["SET", "string", &"x".repeat(1000)]);
    client.command(&["SET", "mortal", "1", "EX", "1000"]);
    client.command(&["HSET", "hash", "a", "1", "b", "2"]);
    client.command(&["SADD", "set", "a", "b", "c"]);
    client.command(&["ZADD", "zset", "1", "a", "2", "b"]);
    client.command(&["RPUSH", "list", "a", "b"]);
    client.command(&["XADD", "stream", "*", "a", "b"]);
    client.command(&["XGROUP", "CREATE", "stream", "group", "0"]);
    client.command(&["XREADGROUP", "GROUP", "group", "me", "STREAMS", "stream", ">"]);
    client.command(&[
        "FUNCTION",
        "LOAD",
        "#!lua name=l\nredis.register_function('f', function() return 1 end)",
    ]);
    client.command(&["SELECT", "3"]);
    client.command(&["SET", "far", "away"]);
    assert_eq!(client.command(&["SAVE"]).to_string(), "+OK");
    let path = redis.directory().join("dump.rdb");

    let told = check(&path);
    assert!(told.whole, "{}", told.text);
    for line in [
        "AUX FIELD redis-ver = '7.0.15'",
        "Checksum OK",
        "\\o/ RDB looks OK! \\o/",
        "[info] 8 keys read",
        "[info] 1 expires",
        "[info] 1 libraries of functions",
        "[info] database 0: 7 keys",
        "[info] database 3: 1 keys",
        "[info] 1 keys of type 16 (hash, listpack)",
        "[info] 1 keys of type 19 (stream)",
    ] {
        assert!(told.text.contains(line), "no '{line}' in:\n{}", told.text);
    }

    let file = fs::read(&path).expect("it was just written");
    let spoilt = redis.directory().join("spoilt.rdb");
    fs::write(&spoilt, &file[..file.len() - 20]).expect("the directory is ours");
    assert!(check(&spoilt).text.contains("the file is cut off"));

    let mut bytes = file.clone();
    let at = bytes.windows(4).position(|bytes| bytes == b"away").expect("the value is there");
    bytes[at] ^= 1;
    fs::write(&spoilt, &bytes).expect("the directory is ours");
    let told = check(&spoilt);
    assert!(!told.whole && told.text.contains("bytes have changed"), "{}", told.text);

    let mut bytes = file;
    // The type in front of the key's length and the key.
    let at = bytes.windows(4).position(|bytes| bytes == b"\x03far").expect("the key is there") - 1;
    bytes[at] = 99;
    fs::write(&spoilt, &bytes).expect("the directory is ours");
    let expected = format!("[offset {at}] unknown type 99 of key \"far\" at offset {at}");
    let told = check(&spoilt);
    assert!(!told.whole && told.text.contains(&expected), "no '{expected}' in:\n{}", told.text);

    let missing = check(&redis.directory().join("missing.rdb"));
    assert!(!missing.whole);
}
