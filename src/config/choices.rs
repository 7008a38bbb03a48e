//! The enumerations that code decides on.

/// How much is logged; a message below the level is not.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum LogLevel {
    Debug,
    Verbose,
    Notice,
    Warning,
}

impl LogLevel {
    pub(super) const fn from_number(number: u32) -> Self {
        match number {
            0 => Self::Debug,
            1 => Self::Verbose,
            2 => Self::Notice,
            _ => Self::Warning,
        }
    }
}

/// Whether the commands of one pipeline keep their order across shards.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PipelineOrdering {
    /// A command for one shard waits for the earlier ones for others.
    Strict,
    /// Only replies keep their order.
    Relaxed,
}

impl PipelineOrdering {
    pub(super) const fn from_number(number: u32) -> Self {
        match number {
            0 => Self::Strict,
            _ => Self::Relaxed,
        }
    }
}

/// When writes reach the disk.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AppendFsync {
    /// When somebody else sees to it.
    No,
    Always,
    EverySecond,
}

impl AppendFsync {
    pub(super) const fn from_number(number: u32) -> Self {
        match number {
            0 => Self::No,
            1 => Self::Always,
            _ => Self::EverySecond,
        }
    }
}

/// Who may do what is dangerous.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ProtectedAction {
    Nobody,
    Everybody,
    /// Clients of this machine.
    Local,
}

impl ProtectedAction {
    pub(super) const fn from_number(number: u32) -> Self {
        match number {
            0 => Self::Nobody,
            1 => Self::Everybody,
            _ => Self::Local,
        }
    }

    pub fn allows(self, local_client: bool) -> bool {
        match self {
            Self::Nobody => false,
            Self::Everybody => true,
            Self::Local => local_client,
        }
    }
}

/// How to shut down on a signal.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ShutdownChoices {
    pub save: bool,
    pub no_save: bool,
    /// Without waiting for replicas.
    pub now: bool,
    /// Even if saving fails.
    pub force: bool,
}

impl ShutdownChoices {
    pub(super) const fn from_bits(bits: u32) -> Self {
        Self { save: bits & 1 != 0, no_save: bits & 2 != 0, now: bits & 4 != 0, force: bits & 8 != 0 }
    }
}
