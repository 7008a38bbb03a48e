//! The bugs that the simulation of the disk has to find; see [`crate::base::planted`].

/// A mistake that can be switched on in a simulation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// What was written counts as durable before it is synced.
    DurableBeforeSync,
    /// After a failed sync another sync is tried, and nothing is written again.
    SyncTriedAgain,
    /// A write that makes itself durable counts as a sync of all writes before it.
    WrittenTakenForFile,
    /// Zeros are written ahead where records may be on their way.
    ZerosOverRecords,
    /// A write begins its first block with what is new in it.
    PartialBlockForgotten,
    /// A short write counts as a whole one.
    ShortWriteUnnoticed,
    /// The segment before the current one is not waited for.
    PreviousSegmentForgotten,
    /// A record is released as soon as it is durable here.
    ParticipantsNotAwaited,
    /// A transaction counts as safe when its own records are durable, whatever stands before them elsewhere.
    OthersPrefixesIgnored,
    /// The recovery cut looks at each transaction once.
    CutOnce,
    /// Recovery takes every damage for a torn tail.
    DamageTakenForTail,
    /// Recovery takes every torn tail for damage if anything readable follows.
    TailTakenForDamage,
    /// What recovery has cut away is not remembered.
    CutForgotten,
    /// A gap between two segments is not noticed.
    GapUnnoticed,
}

/// Which of them is planted, if any.
pub type Faults = crate::base::planted::Faults<Fault>;
