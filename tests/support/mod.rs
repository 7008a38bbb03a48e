//! What tests that start real processes share: a server that ends with the test, and a client that shows every byte.
//!
//! ```ignore
//! mod support;
//! use support::{Server, on_each_shard_count};
//!
//! on_each_shard_count(|server| {
//!     let mut client = server.connect();
//!     assert_eq!(client.command(&["SET", "k", "v"]).to_string(), "+OK");
//! });
//! ```

// Every test crate includes this module and uses the part that it needs.
#![allow(dead_code, unused_imports)]

mod client;
mod server;
mod value;

pub use client::Client;
pub use server::{Program, REDIS_VERSION, SHARD_COUNTS, Server, on_each_shard_count};
pub use value::{Value, encode};
