//! What survives a crash.

pub mod aof;
pub mod append_only;
pub mod load;
pub mod rdb;
