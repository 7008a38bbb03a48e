//! How much a slice of background work may still do: units of work, checked against a deadline the caller reads.
//! Pure: time is an argument, asked for once every few units, since a look at the clock costs more than a unit.

use std::time::Duration;

use super::clock::Monotonic;

/// Ends when the units are spent or the deadline has passed, whichever is first.
#[derive(Clone, Debug)]
pub struct Budget {
    deadline: Monotonic,
    units: u64,
    spent: u64,
    look_every: u64,
    next_look: u64,
}

impl Budget {
    /// As many units as fit into `duration` from `now`.
    pub fn of_time(now: Monotonic, duration: Duration) -> Self {
        Self::new(now.saturating_add(duration), u64::MAX)
    }

    /// So many units, however long they take.
    pub fn of_units(units: u64) -> Self {
        Self::new(Monotonic(u64::MAX), units)
    }

    pub fn new(deadline: Monotonic, units: u64) -> Self {
        Self { deadline, units, spent: 0, look_every: 16, next_look: 16 }
    }

    /// The clock is asked only once per so many units.
    #[must_use]
    pub fn look_every(mut self, units: u64) -> Self {
        self.look_every = units.max(1);
        self.next_look = self.spent + self.look_every;
        self
    }

    /// Takes `units` for the work about to be done. False if it must not be done any more.
    #[inline]
    pub fn take(&mut self, units: u64, now: impl FnOnce() -> Monotonic) -> bool {
        if self.spent >= self.units {
            return false;
        }
        if self.spent >= self.next_look {
            self.next_look = self.spent + self.look_every;
            if now() >= self.deadline {
                self.units = self.spent;
                return false;
            }
        }
        self.spent += units;
        true
    }

    pub fn spent(&self) -> u64 {
        self.spent
    }

    pub fn is_exhausted(&self) -> bool {
        self.spent >= self.units
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_end_it() {
        let mut budget = Budget::of_units(3);
        let mut done = 0;
        while budget.take(1, || unreachable!("three units are below the first look")) {
            done += 1;
        }
        assert_eq!((done, budget.spent(), budget.is_exhausted()), (3, 3, true));
    }

    #[test]
    fn time_ends_it_at_the_next_look() {
        let mut now = 0;
        let mut budget = Budget::of_time(Monotonic(0), Duration::from_nanos(25)).look_every(10);
        let mut done = 0;
        while budget.take(1, || Monotonic(now)) {
            done += 1;
            now += 1;
        }
        assert_eq!(done, 30);
        assert!(!budget.take(1, || Monotonic(0)), "what has ended does not begin again");
    }
}
