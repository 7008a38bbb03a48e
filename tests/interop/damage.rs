//! Files that are cut off or damaged: cut where that is allowed, refused with the place and a remedy where not.

use crate::Files;
use crate::support::{Program, Server};

const PINION: Program = Program::Pinion { shards: 2 };
const SET: &str = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n";

fn refusal(files: &Files, flags: &[&str]) -> String {
    let flags = [&["--appendonly", "yes"], flags].concat();
    let (status, log) = Server::refused(PINION, &flags, |directory| files.write(directory));
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(!log.contains("panicked"), "{log}");
    log
}

#[test]
fn a_cut_off_command_is_dropped_if_that_is_allowed() {
    let cut = Files::one("appendonly.aof", format!("{SET}*3\r\n$3\r\nSET\r\n$1\r\nl").as_bytes());
    let server = Server::start_with(PINION, &["--appendonly", "yes"], |directory| cut.write(directory));
    assert_eq!(server.connect().command(&["DBSIZE"]).to_string(), ":1");
    assert!(server.log().contains("short read"), "{}", server.log());

    let log = refusal(&cut, &["--aof-load-truncated", "no"]);
    let told =
        format!("Unexpected end of file reading the append only file appendonly.aof at offset {}", SET.len());
    assert!(log.contains(&told) && log.contains("--check-aof --fix"), "{log}");
}

#[test]
fn a_transaction_without_its_end_is_dropped_whole() {
    let text = format!("{SET}*1\r\n$5\r\nMULTI\r\n{}", SET.replace("$1\r\nk", "$1\r\nl"));
    let files = Files::one("appendonly.aof", text.as_bytes());
    let server = Server::start_with(PINION, &["--appendonly", "yes"], |directory| files.write(directory));
    assert_eq!(server.connect().command(&["EXISTS", "k", "l"]).to_string(), ":1");
    assert!(refusal(&files, &["--aof-load-truncated", "no"]).contains("Unexpected end of file"));
}

#[test]
fn what_is_no_command_is_refused() {
    for (text, told) in [
        (format!("{SET}!\r\n{SET}"), "begins with '!'"),
        (format!("{SET}\0\0\0\0"), "begins with '\\x00'"),
        (format!("{SET}*1\r\n$x\r\n{SET}"), "invalid bulk length"),
        (format!("{SET}*0\r\n{SET}"), "without a name"),
        (format!("{SET}*1\r\n$5\r\nNOPE!\r\n"), "unknown command 'NOPE!'"),
        (format!("{SET}*1\r\n$3\r\nSET\r\n"), "wrong number of arguments"),
        (format!("{SET}*2\r\n$6\r\nSELECT\r\n$2\r\n99\r\n"), "no such database"),
    ] {
        let log = refusal(&Files::one("appendonly.aof", text.as_bytes()), &[]);
        let place = format!("appendonly.aof at offset {}", SET.len());
        assert!(log.contains(told) && log.contains(&place), "{told}: {log}");
    }
}

#[test]
fn manifests_that_do_not_hold_are_refused() {
    let manifest = |text: &str| Files::one("appendonlydir/appendonly.aof.manifest", text.as_bytes());
    assert!(refusal(&manifest(""), &[]).contains("the list is empty"));
    let missing = refusal(&manifest("file gone seq 1 type b\n"), &[]);
    assert!(missing.contains("appendonlydir/gone"), "{missing}");
    let mut files = manifest("file a seq 1 type b\nfile b seq 1 type i\n");
    files.0.push(("appendonlydir/a".into(), SET.as_bytes()[..10].to_vec()));
    files.0.push(("appendonlydir/b".into(), SET.into()));
    assert!(refusal(&files, &[]).contains("is not the last"));
}
