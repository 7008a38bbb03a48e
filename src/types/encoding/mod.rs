//! The packed and ranked forms that the data types are made of. An encoding finds and puts; the rules of a type
//! stand above it and cannot tell which one is in use.

mod block;
pub mod intset;
pub mod listpack;
pub mod member_arena;
pub mod member_index;
pub mod packed_set;
pub mod quicklist;
pub mod ranked_tree;

pub use intset::Intset;
pub use listpack::{Entry, Listpack};
pub use packed_set::{PackedMap, PackedPairs, PackedSet};
pub use quicklist::{NodeLimit, Quicklist};
