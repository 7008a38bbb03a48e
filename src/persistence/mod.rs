//! What survives a crash.

pub mod aof;
pub mod check;
pub mod load;
pub mod rdb;
