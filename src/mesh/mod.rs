//! The only way from one core to another: bounded queues between every ordered pair, published once per
//! turn of the loop. What crosses must be `Send` and is moved. What the messages say is
//! [`crate::dispatch`]'s business. A core that is in the kernel lends its shard meanwhile ([`Owned`]).

mod gate;
mod lending;
mod links;
mod spsc;

pub use gate::Gate;
pub use lending::{Borrowed, Lender, Owned, lending};
pub use links::{Links, mesh};
