//! What survives a crash: snapshots and the append-only file.
//!
//! [`save`] decides when a snapshot is taken and what becomes of it, [`child`] is the process that writes it,
//! [`snapshot`] the file, [`place`] whose file it is, [`status`] what everybody may see of all that.

pub mod aof;
pub mod append_only;
pub mod check;
pub mod check_aof;
pub mod child;
pub mod export;
pub mod load;
pub mod place;
pub mod rdb;
pub mod rewrite;
pub mod save;
pub mod snapshot;
pub mod status;

pub use status::{ChildKind, Status};
