//! Byte-level fuzz targets: every reader of bytes from outside.
//!
//! `cargo test` replays the corpora under `__fuzz__/` and tries some random inputs; a fuzzing engine takes the same
//! targets further, and what it finds joins the corpus.

mod hyperloglog;
mod listpack;
mod rdb;
mod readers;
mod stream_node;
