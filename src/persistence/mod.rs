//! What survives a crash.

pub mod aof;
pub mod load;
pub mod rdb;
