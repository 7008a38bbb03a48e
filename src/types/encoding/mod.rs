//! The packed and ranked forms that the data types are made of. An encoding finds and puts; the rules of a type
//! stand above it and cannot tell which one is in use.

mod block;
pub mod listpack;
pub mod quicklist;

pub use listpack::{Entry, Listpack};
pub use quicklist::{NodeLimit, Quicklist};
