//! Byte-level fuzz targets: every reader of bytes from outside.
//!
//! `cargo test` replays the corpora and crashes under `__fuzz__/` and tries some random inputs; `scripts/fuzz.sh` takes the
//! same targets further with libFuzzer, and what it finds joins them.

mod append_only;
mod hyperloglog;
mod listpack;
mod rdb;
mod readers;
mod stream_node;

use std::cell::RefCell;
use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::AsRawFd;
use std::path::PathBuf;

/// A file with these bytes, in memory if there is such a file system; until the next call by the same thread.
fn scratch(bytes: &[u8]) -> PathBuf {
    thread_local! {
        static FILE: RefCell<File> =
            RefCell::new(tempfile::tempfile_in("/dev/shm").or_else(|_| tempfile::tempfile()).expect("a file"));
    }
    FILE.with_borrow_mut(|file| {
        file.rewind().and_then(|()| file.set_len(0)).and_then(|()| file.write_all(bytes)).expect("written");
        PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
    })
}
