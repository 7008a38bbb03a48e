//! What survives a crash.

pub mod aof;
pub mod rdb;
