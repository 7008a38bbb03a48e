//! Files of the pinned redis-server load with equal contents, and ours load there.
//!
//! Contents come from the differential test's generator, and from a list with every type and encoding; they are
//! compared as there: every key of every database, what it is, how it is held, when it expires, what is in it.

#[path = "../support/mod.rs"]
mod support;

#[path = "../differential/compare.rs"]
#[allow(dead_code)]
mod compare;
#[path = "../differential/contents.rs"]
#[allow(dead_code)]
mod contents;
#[path = "../differential/declarations.rs"]
#[allow(dead_code)]
mod declarations;
#[path = "../differential/generate.rs"]
#[allow(dead_code)]
mod generate;

mod aof;
mod check_rdb;
mod damage;
mod export;
mod filling;
mod loading;
mod own;
mod snapshot;
mod values;

use contents::Fact;
use std::fs;
use std::path::{Path, PathBuf};
use support::{Program, SHARD_COUNTS, Server, Value};

/// Files of one server, to start another one with.
#[derive(Clone, Default)]
struct Files(Vec<(PathBuf, Vec<u8>)>);

impl Files {
    /// Those of a directory and of its directories.
    fn of(directory: &Path) -> Files {
        let mut files = Files::default();
        files.collect(directory, Path::new(""));
        files
    }

    fn collect(&mut self, root: &Path, below: &Path) {
        for entry in fs::read_dir(root.join(below)).expect("a directory") {
            let entry = entry.expect("an entry");
            let path = below.join(entry.file_name());
            let kind = entry.file_type().expect("it has a type");
            if kind.is_dir() {
                self.collect(root, &path);
            } else if kind.is_file() && path != Path::new("log") {
                self.0.push((path.clone(), fs::read(root.join(&path)).expect("readable")));
            }
        }
    }

    fn one(path: &str, bytes: &[u8]) -> Files {
        Files(vec![(path.into(), bytes.to_vec())])
    }

    fn write(&self, directory: &Path) {
        for (path, bytes) in &self.0 {
            let path = directory.join(path);
            fs::create_dir_all(path.parent().expect("it is in a directory")).expect("made");
            fs::write(path, bytes).expect("written");
        }
    }

    /// The one file whose name contains this.
    fn named(&self, part: &str) -> &[u8] {
        let mut found = self.0.iter().filter(|(path, _)| path.to_string_lossy().contains(part));
        let (_, bytes) = found.next().unwrap_or_else(|| panic!("no file {part} among {:?}", self.names()));
        assert!(found.next().is_none(), "several files {part}: {:?}", self.names());
        bytes
    }

    fn names(&self) -> Vec<&Path> {
        self.0.iter().map(|(path, _)| path.as_path()).collect()
    }
}

/// With deadlines as times: servers are asked one after the other.
fn facts(server: &Server) -> Vec<Fact> {
    let mut client = server.connect();
    let mut facts = contents::read(&mut client).expect("the server answers");
    facts.iter_mut().for_each(|fact| forget_times(&mut fact.value));
    for fact in facts.iter_mut().filter(|fact| fact.argv[0] == b"PTTL") {
        fact.argv[0] = b"PEXPIRETIME".to_vec();
        client.command(&["SELECT", &fact.database.to_string()]);
        fact.value = client.command(&fact.argv);
    }
    facts
}

/// When a consumer was last seen is not always in the files; then it is the time of loading.
fn forget_times(value: &mut Value) {
    let Value::Array(items) = value else { return };
    for index in 0..items.len() {
        if items[index] == Value::Bulk(b"seen-time".to_vec()) {
            let seen = items[index + 1].as_integer().expect("a time");
            items[index + 1] = Value::Integer(i64::from(seen > 1_600_000_000_000));
        }
    }
    items.iter_mut().for_each(forget_times);
}

fn assert_equal(expected: &[Fact], found: &[Fact], what: &str) {
    for (expected, found) in expected.iter().zip(found) {
        assert!(
            expected.argv == found.argv && compare::agree(&expected.argv, &expected.value, &found.value),
            "{what}, database {}: {}\n  expected {}\n  found    {} -> {}",
            expected.database,
            contents::line(&expected.argv),
            expected.value,
            contents::line(&found.argv),
            found.value
        );
    }
    assert_eq!(expected.len(), found.len(), "{what}");
}

/// Pinion loads these files, with each number of shards, to these contents.
fn assert_loads(files: &Files, flags: &[&str], expected: &[Fact], what: &str) {
    for shards in SHARD_COUNTS {
        let server =
            Server::start_with(Program::Pinion { shards }, flags, |directory| files.write(directory));
        assert_equal(expected, &facts(&server), &format!("{what}, {shards} shards"));
        assert!(!server.log().contains("CRITICAL"), "{what}: {}", server.log());
    }
}
