//! The bugs that the simulator has to find; see [`crate::base::planted`].

/// A mistake that can be switched on in a simulation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// EXEC looks at its watched keys before their intents are held.
    WatchReadBeforeScheduling,
    /// A withdrawn transaction leaves one of its intents behind.
    WithdrawnLeavesIntent,
    /// A withdrawal does not look at the new head of the queue.
    HeadNotPolledAfterWithdrawal,
    /// A concluding message does not look at the new head of the queue.
    HeadNotPolledAfterConclusion,
    /// A hop runs although its transaction is neither granted nor at the head.
    RunsWithoutGrant,
    /// A conflicting transaction that comes too late takes a place behind its number.
    RefusedTreatedAsQueued,
    /// A read that ran while scheduling gives its intents back at once.
    ReadDoesNotHold,
    /// The first hop gives the intents back although more hops follow.
    FirstHopConcludes,
    /// A transaction leaves a shard while it still waits on another.
    ConcludesBeforeAllAreHeld,
    /// A hop counts as answered when its first shard has answered.
    AnsweredByTheFirstShard,
    /// A connection writes while its earlier read over several shards may still have to be tried again.
    WriteOvertakesRead,
    /// A deferred command is overtaken by the same client's next one.
    DeferredOvertaken,
    /// A write that was deferred is not noticed by WATCH.
    DeferredWriteUnwatched,
    /// A shard serves a blocked client without asking the claim cell.
    ServedTwice,
    /// The waiter who came last is served first.
    ServedInWrongOrder,
    /// A client begins to wait only after the intents have been given back.
    WaitsAfterConclusion,
    /// Blocked clients are served after a hop although the transaction goes on.
    ServedBeforeConclusion,
}

/// Which of them is planted, if any.
pub type Faults = crate::base::planted::Faults<Fault>;
