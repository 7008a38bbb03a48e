//! What survives a crash.

pub mod aof;
pub mod export;
pub mod load;
pub mod rdb;
