//! The only clock. Whoever decides by time gets it as an argument; the loop of a core reads it once per turn.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch. Always passed in, never read from the clock in place, so
/// that a test or a replica can replay any moment.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct UnixMillis(pub u64);

/// Microseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct UnixMicros(pub u64);

/// Nanoseconds since some moment before the start; never goes back.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Monotonic(pub u64);

impl UnixMillis {
    pub fn now() -> Self {
        UnixMicros::now().as_millis()
    }

    pub fn as_secs(self) -> u64 {
        self.0 / 1000
    }

    pub fn saturating_add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration.as_millis() as u64))
    }
}

impl UnixMicros {
    pub fn now() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(since_epoch.as_micros() as u64)
    }

    pub fn as_millis(self) -> UnixMillis {
        UnixMillis(self.0 / 1000)
    }
}

impl Monotonic {
    /// What [`std::time::Instant`] reads, without the arithmetic around it: this is called for every command.
    #[inline]
    pub fn now() -> Self {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the timespec outlives the call, which cannot fail for this clock.
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
        Self(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
    }

    /// Time passed since `earlier`; zero if that is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    pub fn as_micros(self) -> u64 {
        self.0 / 1000
    }

    pub fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }

    pub fn saturating_add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clocks_agree_with_themselves() {
        let first = Monotonic::now();
        assert!(Monotonic::now() >= first);
        assert_eq!(first.since(Monotonic(first.0 + 5)), Duration::ZERO);
        assert_eq!(first.saturating_add(Duration::from_micros(3)).since(first), Duration::from_nanos(3000));
        // Any day this runs on is after 2020.
        assert!(UnixMillis::now().as_secs() > 1_577_836_800);
        assert_eq!(UnixMicros(1_999_999).as_millis(), UnixMillis(1999));
        assert_eq!(UnixMillis(u64::MAX).saturating_add(Duration::MAX), UnixMillis(u64::MAX));
    }
}
