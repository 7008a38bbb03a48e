//! The journal of a shard: numbered effects of every command, in order. Its readers are the append-only file and, later, replicas
//! and the migration of slots.

pub mod record;
