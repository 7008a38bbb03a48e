//! The append-only file: one segment per core, and what survives of them.
//!
//! ```text
//!   journal -> segment (writer) -> disk        release: what may be acknowledged
//!   manifest: which files count                recovery: what of them, after a crash
//! ```
//!
//! All of this is pure: bytes and completions in, decisions out. `tests/aof_simulation` runs it over a disk that tears and
//! loses, with shards that crash at any moment.

pub mod ahead;
pub mod appender;
pub mod faults;
pub mod format;
pub mod log;
pub mod manifest;
pub mod recovery;
pub mod release;
pub mod segment;
pub mod store;
