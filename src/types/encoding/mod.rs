//! How values lie in memory: the encodings that types choose from.

mod block;
pub mod listpack;
pub mod member_arena;
pub mod member_index;
pub mod ranked_tree;

pub use listpack::Listpack;
