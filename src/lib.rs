//! Pinion: a Redis-compatible in-memory data server. One thread per core, nothing shared.

pub mod net;

pub mod resp;

pub mod keyspace;

pub mod types;

pub mod config;

pub mod base;

pub mod server;
