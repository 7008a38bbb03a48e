//! Planted bugs: realistic mistakes that the simulation of the disk has to find. In a server nothing of this exists:
//! [`Faults`] is then a type without content, and every question a constant `false`.

/// A mistake that can be switched on in a simulation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// What was written counts as durable before it is synced.
    DurableBeforeSync,
    /// After a failed sync another sync is tried, and nothing is written again.
    SyncTriedAgain,
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

#[cfg(any(test, feature = "planted-bugs"))]
mod switch {
    use super::Fault;

    /// Which mistake is planted, if any.
    #[derive(Clone, Copy, Debug, Default)]
    pub struct Faults(Option<Fault>);

    impl Faults {
        pub const NONE: Self = Self(None);

        pub const fn plant(fault: Fault) -> Self {
            Self(Some(fault))
        }

        #[inline]
        pub fn has(self, fault: Fault) -> bool {
            self.0 == Some(fault)
        }
    }
}

#[cfg(not(any(test, feature = "planted-bugs")))]
mod switch {
    use super::Fault;

    /// No mistake can be planted in this build.
    #[derive(Clone, Copy, Debug, Default)]
    pub struct Faults(());

    impl Faults {
        pub const NONE: Self = Self(());

        #[inline]
        pub const fn has(self, _: Fault) -> bool {
            false
        }
    }
}

pub use switch::Faults;
