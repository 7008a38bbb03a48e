//! Pinion: a Redis-compatible in-memory data server. One thread per core, nothing shared.
//!
//! # The life of a request
//!
//! The modules are declared in the order in which a request meets them; reading them in that order is
//! reading the server.
//!
//! 1. [`net`] receives bytes into a buffer that the kernel has chosen.
//! 2. [`connection`] finds the requests in them; [`resp`] knows the format.
//! 3. [`command_table`] knows what the command is, [`dispatch`] whether it may run and where.
//! 4. [`mesh`] carries it to another core if its keys live there.
//! 5. [`shard`] runs the handler ([`commands`]) on the owner's data ([`keyspace`], [`types`]).
//! 6. The reply goes back the same way, and leaves with the turn's other replies.
//!
//! # Who may know whom
//!
//! Each module may name those of its own line and of the lines above it (`tests/architecture.rs`):
//!
//! ```text
//! base
//! resp  types  net  disk
//! keyspace  mesh  transaction
//! shard
//! config  observability  client  session  command_table  persistence
//! commands
//! dispatch
//! connection
//! server
//! ```

/// Byte streams over this core's io_uring. Knows nothing of Redis.
pub mod net;

/// One socket that speaks RESP.
pub mod connection;

/// What the server knows about one client.
pub mod client;

/// The wire format, RESP2 and RESP3.
pub mod resp;

/// What a command is.
pub mod command_table;

/// From a parsed request to its reply.
pub mod dispatch;

/// What a command on the client's own core may touch.
pub mod session;

/// The only way from one core to another.
pub mod mesh;

/// Atomicity over shards.
pub mod transaction;

/// One core's data and the consequences of changing it.
pub mod shard;

/// What each command does, one file per family.
pub mod commands;

/// Key to value, with expiry.
pub mod keyspace;

/// The data types and their encodings.
pub mod types;

/// Every parameter, declared once.
pub mod config;

/// What survives a crash.
pub mod persistence;

/// Files that survive one.
pub mod disk;

/// What operators see.
pub mod observability;

/// Starts and stops everything.
pub mod server;

/// Leaves that know nothing of Redis.
pub mod base;
