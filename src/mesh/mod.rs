//! The only way from one core to another: bounded queues between every ordered pair, published once per
//! turn of the loop. What crosses must be `Send` and is moved; nothing is shared. What the messages say
//! is [`crate::dispatch`]'s business.

mod links;
mod spsc;

pub use links::{Links, mesh};
