//! What a command is, and how its name is found. The commands themselves are in [`crate::commands`].
//!
//! A declaration is a `const` next to its handler; it starts from [`DEFAULTS`] and says where the
//! command runs by its [`Handler`]:
//!
//! | handler | runs |
//! |---|---|
//! | `Shard` | on the owner of its keys |
//! | `ShardOf` | on the shard that its arguments name |
//! | `PerShard` | on each owner its own keys, replies merged |
//! | `Transaction` | on one owner if it has all keys, else in hops |
//! | `EveryCore` | everywhere, finished on the client's core |
//! | `Client` | on the client's core |

mod args;
pub mod docs;
mod grammar;
mod key_spec;
mod lookup;
mod owners;
mod plan;
mod spec;

pub use args::Args;
pub use grammar::{Arg, Kind};
pub use key_spec::{Access, Begin, Find, KeySpec, Reach};
pub use lookup::{Command, CommandTable};
pub use owners::{Owners, is_whole, owners};
pub use plan::{HopWork, Plan, Step};
pub use spec::{
    Arity, Asker, Category, ClientHandler, CommandSpec, Contribution, DEFAULTS, Flag, Flags, Group, Handler,
    Merge, PrepareFrozen, ShardHandler, TransactionCommand, WaitOrder,
};
