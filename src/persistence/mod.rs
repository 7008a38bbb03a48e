//! What survives a crash.

pub mod aof;
pub mod append_only;
pub mod check;
pub mod load;
pub mod rdb;
