//! The declaration of a command: the one place from which arity checks, routing, ACL, redirection,
//! COMMAND, COMMAND DOCS and the generators of the tests are all derived.

use super::{Arg, Args, KeySpec, Plan};
use crate::resp::{Argv, Protocol, Reply};
use crate::session::{CoreState, FrozenOrder, Session};
use crate::shard::{CommandError, CommandResult, Context, Wish};
use std::any::Any;
use std::sync::Arc;

pub struct CommandSpec {
    /// Upper case. A subcommand carries its own name only (`GET` of `CONFIG GET`).
    pub name: &'static str,
    /// As error messages and COMMAND spell it: lower case, `config|get`.
    pub full_name: &'static str,
    pub arity: Arity,
    pub flags: Flags,
    pub group: Group,
    /// Only what does not follow from `group` and `flags`.
    pub categories: &'static [Category],
    pub keys: &'static [KeySpec],
    pub since: &'static str,
    pub complexity: &'static str,
    pub summary: &'static str,
    pub args: &'static [Arg],
    /// Hints for client libraries, as COMMAND INFO lists them (`request_policy:all_shards`).
    pub tips: &'static [&'static str],
    pub handler: Handler,
    pub subcommands: &'static [&'static CommandSpec],
}

/// The rest of a declaration: `CommandSpec { name: …, ..DEFAULTS }`.
pub const DEFAULTS: CommandSpec = CommandSpec {
    name: "",
    full_name: "",
    arity: Arity::AtLeast(1),
    flags: Flags::NONE,
    group: Group::Generic,
    categories: &[],
    keys: &[],
    since: "1.0.0",
    complexity: "O(1).",
    summary: "",
    args: &[],
    tips: &[],
    handler: Handler::Container,
    subcommands: &[],
};

/// Runs on one shard, start to finish, without awaiting.
pub type ShardHandler = fn(&mut Context<'_>, Args<'_>, &mut Reply<'_>) -> CommandResult;

/// Runs on the client's own core.
pub type ClientHandler = fn(&mut Session<'_>, Args<'_>, &mut Reply<'_>) -> CommandResult;

/// What a command wants done with all shards at rest; nothing if it has replied.
pub type PrepareFrozen =
    fn(&mut Session<'_>, Args<'_>, &mut Reply<'_>) -> Result<Option<FrozenOrder>, CommandError>;

/// What a blocking command waits for.
pub struct WaitOrder {
    pub wish: Arc<dyn Wish>,
    pub keys: Vec<Box<[u8]>>,
    /// Keys that serving it changes besides.
    pub further: Option<Box<[u8]>>,
    /// 0: for ever.
    pub timeout_ms: u64,
}

/// What one core contributes to a command that asks all of them.
pub type Contribution = Box<dyn Any + Send>;

/// Who asks, for [`Handler::EveryCore`]: the client itself is on one core only.
#[derive(Clone, Copy, Debug)]
pub struct Asker {
    pub client_id: u64,
    pub db: usize,
    pub protocol: Protocol,
}

/// Where a command runs.
#[derive(Clone, Copy)]
pub enum Handler {
    /// On the shard that owns its keys.
    Shard(ShardHandler),
    /// On a shard that the arguments name in another way than by a key (SCAN).
    ShardOf { pick: fn(Argv<'_>, usize) -> usize, run: ShardHandler },
    /// Split by the owners of its keys; each runs its part, then the replies are merged.
    PerShard { run: ShardHandler, merge: Merge },
    /// Keys of several shards that depend on each other (RENAME, COPY, MSETNX): `run` where one shard
    /// owns them all, else the hops of the plan.
    Transaction { run: ShardHandler, plan: fn(Argv<'_>) -> Box<dyn Plan> },
    /// May wait for keys. `run` and `plan` do not: they reply with a null if there is nothing, and only
    /// then, outside of MULTI, the client waits for what `wait` makes of the arguments. Where these do not
    /// ask it to wait (XREAD without BLOCK) it is a `Transaction`.
    Blocking {
        run: ShardHandler,
        plan: fn(Argv<'_>) -> Box<dyn Plan>,
        may_wait: fn(Argv<'_>) -> bool,
        wait: fn(Argv<'_>) -> Result<WaitOrder, CommandError>,
    },
    /// Every core contributes; the client's core begins (it may refuse) and finishes, with the
    /// contributions by core.
    EveryCore {
        begin: fn(&mut Session<'_>, Args<'_>) -> CommandResult,
        collect: fn(&mut CoreState, Asker, Args<'_>) -> Contribution,
        finish: fn(&mut Session<'_>, Args<'_>, Vec<Contribution>, &mut Reply<'_>) -> CommandResult,
    },
    /// On the client's core, without keys.
    Client(ClientHandler),
    /// With all shards at rest: for that moment `prepare` makes an order, or it replies itself. Inside EXEC, where
    /// nothing can rest, `in_exec` runs on the client's core.
    Frozen { prepare: PrepareFrozen, in_exec: ClientHandler },
    /// About the commands around it: run by dispatch.
    OfTransaction(TransactionCommand),
    /// Only its subcommands run.
    Container,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TransactionCommand {
    Multi,
    Exec,
    Discard,
    Watch,
    Unwatch,
}

/// How the partial replies of a [`Handler::PerShard`] command become one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Merge {
    /// Integers are added (DEL, EXISTS).
    Sum,
    /// Arrays with one element per key, put back into the order of the keys (MGET).
    Interleave,
    /// All say the same (MSET: OK); an error wins.
    Same,
}

/// Counts the command's name (and its subcommand's), as Redis does.
#[derive(Clone, Copy, Debug)]
pub enum Arity {
    Exactly(usize),
    AtLeast(usize),
}

impl Arity {
    pub fn admits(self, argument_count: usize) -> bool {
        match self {
            Self::Exactly(count) => argument_count == count,
            Self::AtLeast(count) => argument_count >= count,
        }
    }

    pub fn minimum(self) -> usize {
        match self {
            Self::Exactly(count) | Self::AtLeast(count) => count,
        }
    }

    /// As COMMAND INFO gives it: negative for a minimum.
    pub fn as_redis(self) -> i64 {
        match self {
            Self::Exactly(count) => count as i64,
            Self::AtLeast(count) => -(count as i64),
        }
    }
}

/// A set of [`Flag`]s that can be written in a `const` and tested with one instruction.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Flags(u32);

impl Flags {
    pub const NONE: Self = Self(0);

    pub const fn of(flags: &[Flag]) -> Self {
        let (mut bits, mut index) = (0, 0);
        while index < flags.len() {
            bits |= 1 << flags[index] as u32;
            index += 1;
        }
        Self(bits)
    }

    pub const fn contains(self, flag: Flag) -> bool {
        self.0 & (1 << flag as u32) != 0
    }

    pub fn iter(self) -> impl Iterator<Item = Flag> {
        Flag::ALL.iter().copied().filter(move |flag| self.contains(*flag))
    }
}

macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$item_doc:meta])* $item:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum $name { $($(#[$item_doc])* $item,)* }

        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$item,)*];

            /// As COMMAND spells it.
            pub fn name(self) -> &'static str {
                match self { $(Self::$item => $text,)* }
            }
        }
    };
}

named! {
    /// In the order in which COMMAND INFO lists them.
    Flag {
        Write = "write",
        ReadOnly = "readonly",
        DenyOom = "denyoom",
        Module = "module",
        Admin = "admin",
        PubSub = "pubsub",
        NoScript = "noscript",
        Blocking = "blocking",
        Loading = "loading",
        Stale = "stale",
        SkipMonitor = "skip_monitor",
        SkipSlowlog = "skip_slowlog",
        Asking = "asking",
        Fast = "fast",
        NoAuth = "no_auth",
        MayReplicate = "may_replicate",
        NoMandatoryKeys = "no_mandatory_keys",
        Protected = "protected",
        NoAsyncLoading = "no_async_loading",
        NoMulti = "no_multi",
        AllowBusy = "allow_busy",
    }
}

named! {
    /// The chapter of the documentation a command belongs to, as COMMAND DOCS names it.
    Group {
        Generic = "generic",
        String = "string",
        List = "list",
        Set = "set",
        SortedSet = "sorted-set",
        Hash = "hash",
        PubSub = "pubsub",
        Transactions = "transactions",
        Connection = "connection",
        Server = "server",
        Scripting = "scripting",
        HyperLogLog = "hyperloglog",
        Cluster = "cluster",
        Geo = "geo",
        Stream = "stream",
        Bitmap = "bitmap",
    }
}

named! {
    /// ACL categories.
    Category {
        Keyspace = "keyspace",
        Read = "read",
        Write = "write",
        Set = "set",
        SortedSet = "sortedset",
        List = "list",
        Hash = "hash",
        String = "string",
        Bitmap = "bitmap",
        HyperLogLog = "hyperloglog",
        Geo = "geo",
        Stream = "stream",
        PubSub = "pubsub",
        Admin = "admin",
        Fast = "fast",
        Slow = "slow",
        Blocking = "blocking",
        Dangerous = "dangerous",
        Connection = "connection",
        Transaction = "transaction",
        Scripting = "scripting",
    }
}

impl CommandSpec {
    pub fn is_write(&self) -> bool {
        self.flags.contains(Flag::Write)
    }

    /// All ACL categories: those declared, and those that follow from group and flags as in Redis.
    pub fn all_categories(&self) -> Vec<Category> {
        let flag = |flag| self.flags.contains(flag);
        let follows = |category| match category {
            Category::Write => flag(Flag::Write),
            Category::Read => flag(Flag::ReadOnly) && !self.categories.contains(&Category::Scripting),
            Category::Admin => flag(Flag::Admin),
            Category::Dangerous => flag(Flag::Admin),
            Category::PubSub => flag(Flag::PubSub),
            Category::Fast => flag(Flag::Fast),
            Category::Slow => !flag(Flag::Fast),
            Category::Blocking => flag(Flag::Blocking),
            // Containers have no category but their speed; WAIT is documented with the keys, but is about
            // the connection.
            _ if matches!(self.handler, Handler::Container) => false,
            Category::Keyspace if self.categories.contains(&Category::Connection) => false,
            // SORT belongs to the types that it sorts.
            Category::Keyspace if self.categories.contains(&Category::List) => false,
            _ => Self::category_of(self.group) == Some(category),
        };
        Category::ALL
            .iter()
            .copied()
            .filter(|category| follows(*category) || self.categories.contains(category))
            .collect()
    }

    fn category_of(group: Group) -> Option<Category> {
        Some(match group {
            Group::Generic => Category::Keyspace,
            Group::String => Category::String,
            Group::List => Category::List,
            Group::Set => Category::Set,
            Group::SortedSet => Category::SortedSet,
            Group::Hash => Category::Hash,
            Group::PubSub => Category::PubSub,
            Group::Transactions => Category::Transaction,
            Group::Connection => Category::Connection,
            Group::Scripting => Category::Scripting,
            Group::HyperLogLog => Category::HyperLogLog,
            Group::Geo => Category::Geo,
            Group::Stream => Category::Stream,
            Group::Bitmap => Category::Bitmap,
            Group::Server | Group::Cluster => return None,
        })
    }
}
