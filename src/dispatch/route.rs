//! From the keys of a request to the shards that own them.

pub use crate::command_table::{Owners, is_whole, owners};
pub use crate::shard::{shard_of_key, shard_of_slot};
