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
