//! The architecture, checked: who may know whom, which modules are pure, and where `unsafe` may stand.
//!
//! Layers are listed bottom first; a module may name modules of its own layer or of a lower one, never of a
//! higher one. Unit tests are exempt. Style is not checked here, only structure.

use pinion::config::Status;
use std::fs;
use std::path::{Path, PathBuf};

/// The same list stands in the documentation of the crate.
const LAYERS: &[&[&str]] = &[
    &["base"],
    &["resp", "types", "net", "disk"],
    &["keyspace", "mesh", "transaction"],
    &["shard"],
    &["config", "observability", "client", "session", "command_table", "persistence"],
    &["commands"],
    &["dispatch"],
    &["connection"],
    &["server"],
];

/// Same arguments, same result: these get time, randomness and bytes as arguments. A path names a module or
/// a single file.
const PURE: &[&str] = &[
    "base",
    "resp",
    "types",
    "keyspace",
    "shard",
    "command_table",
    "transaction",
    "client",
    "config",
    "persistence/aof",
    "persistence/rdb",
];

/// The places in pure modules where the world comes in on purpose.
const DOORS: &[&str] = &["base/clock.rs", "config/rewrite.rs"];

const OUTSIDE_WORLD: &[&str] = &[
    "Instant::now",
    "SystemTime::now",
    "UnixMillis::now",
    "UnixMicros::now",
    "Monotonic::now",
    "glommio::",
    "io_uring::",
    "std::env::",
    "std::fs",
    "std::net::Tcp",
    "std::thread::spawn",
    "std::thread::sleep",
    "thread_local!",
    "getrandom::",
];

/// The only files that may contain `unsafe`, each behind a safe face of its own.
const UNSAFE: &[&str] = &[
    "base/clock.rs",
    "base/local_time.rs",
    "base/prefetch.rs",
    "disk/aligned.rs",
    "disk/lock.rs",
    "disk/mapped.rs",
    "keyspace/entry.rs",
    "keyspace/entry_mut.rs",
    "keyspace/group.rs",
    "keyspace/region_stock.rs",
    "keyspace/regions.rs",
    "keyspace/segment_pool.rs",
    "keyspace/slab.rs",
    "keyspace/table.rs",
    "mesh/gate.rs",
    "mesh/lending.rs",
    "mesh/spsc.rs",
    "net/buffers.rs",
    "net/doorbell.rs",
    "net/file.rs",
    "net/kernel.rs",
    "net/listener.rs",
    "net/ring.rs",
    "net/socket.rs",
    "net/stream.rs",
    "net/wake.rs",
    "observability/crash_report.rs",
    "observability/memory.rs",
    "observability/process.rs",
    "persistence/child.rs",
    "persistence/snapshot/mod.rs",
    "server/process.rs",
    "server/signals.rs",
    "shard/mod.rs",
    "types/encoding/block.rs",
    "types/encoding/packed_set/segment.rs",
];

#[test]
fn dependencies_point_downwards() {
    let mut violations = Vec::new();
    for (path, code) in sources() {
        let Some(own) = layer_of(&path) else {
            continue; // lib.rs and main.rs see everything
        };
        // A link in a comment is no dependency.
        for named in without_comments(&code).split("crate::").skip(1) {
            if layer_of(named).is_some_and(|layer| layer > own) {
                let named: String = named.chars().take_while(|c| !matches!(c, ';' | '(' | ' ')).collect();
                violations.push(format!("{path} names {named}"));
            }
        }
    }
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn every_module_has_a_layer() {
    for (path, _) in sources() {
        let known = layer_of(&path).is_some() || matches!(path.as_str(), "lib.rs" | "main.rs");
        assert!(known, "{path} belongs to no layer");
    }
}

#[test]
fn pure_modules_do_not_touch_the_outside_world() {
    let mut violations = Vec::new();
    for (path, code) in sources() {
        let is_pure = PURE.iter().any(|module| path.starts_with(&format!("{module}/")));
        if !is_pure || DOORS.contains(&path.as_str()) {
            continue;
        }
        for name in OUTSIDE_WORLD.iter().filter(|name| without_comments(&code).contains(**name)) {
            violations.push(format!("{path} is pure but names {name}"));
        }
    }
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn unsafe_code_stands_only_where_it_is_fenced() {
    for (path, code) in sources() {
        let found = without_comments(&code).contains("unsafe ");
        let allowed = UNSAFE.contains(&path.as_str());
        assert!(allowed || !found, "{path} contains unsafe code");
    }
}

#[test]
fn the_lists_name_files_that_exist() {
    let paths: Vec<String> = sources().into_iter().map(|(path, _)| path).collect();
    for file in UNSAFE.iter().chain(DOORS) {
        assert!(paths.iter().any(|path| path == file), "{file} is listed here but does not exist");
    }
}

/// A parameter that is said to be implemented is read by somebody.
#[test]
fn implemented_parameters_are_read() {
    let sources = sources();
    for declaration in pinion::config::TABLE.iter().filter(|one| one.status == Status::Implemented) {
        let constant = declaration.name.to_uppercase().replace('-', "_");
        let names_it = |code: &str| {
            code.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(|word| word == constant)
        };
        let read = sources.iter().any(|(path, code)| !path.starts_with("config/") && names_it(code));
        assert!(read, "nobody reads {}", declaration.name);
    }
}

/// Files grow where nobody looks; a file that is larger than this wants to be two.
#[test]
fn no_file_is_a_home_for_everything() {
    const LINES_MAX: usize = 800;
    for (path, code) in sources() {
        let lines = code.lines().count();
        assert!(lines <= LINES_MAX, "{path} has {lines} lines without its tests");
    }
}

fn without_comments(code: &str) -> String {
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The layer of the module a path (`types/string.rs`, `types::StringValue`) starts with.
fn layer_of(path: &str) -> Option<usize> {
    let is_name = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
    let module: String = path.chars().take_while(is_name).collect();
    LAYERS.iter().position(|layer| layer.contains(&module.as_str()))
}

/// Every file under `src` by its path from there, without its unit tests.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = Vec::new();
    for file in rust_files(&root) {
        let path = file.strip_prefix(&root).expect("under src").to_string_lossy().into_owned();
        // Files that hold only tests are declared behind cfg(test).
        if path.ends_with("tests.rs") || path.ends_with("testing.rs") {
            continue;
        }
        let text = fs::read_to_string(&file).expect("readable");
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        sources.push((path, code.to_owned()));
    }
    sources
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}
