//! The RESP wire format. Pure: bytes in, bytes out, no socket in sight.

mod argv;
pub mod inline;
mod reply;
mod request;

pub use argv::{ArgRange, Argv, ArgvBuf, ArgvIter};
pub use reply::{Deferred, Mark, Protocol, Reply};
pub use request::{Limits, Progress, ProtocolError, RequestParser};
