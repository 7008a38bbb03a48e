//! The only clocks of the server. Everything that decides by time gets it as an argument.

use super::UnixMillis;
use std::time::{SystemTime, UNIX_EPOCH};

/// Microseconds since the Unix epoch.
#[inline]
pub fn unix_micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |duration| duration.as_micros() as u64)
}

pub fn unix_millis() -> UnixMillis {
    UnixMillis(unix_micros() / 1000)
}

/// Nanoseconds since an arbitrary start; never goes back.
#[inline]
pub fn monotonic_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel fills in the structure that the pointer names.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Date and time in the time zone of the process.
#[derive(Clone, Copy, Debug)]
pub struct LocalTime {
    pub year: i32,
    /// 0 for January.
    pub month0: u32,
    pub day: u32,
    pub hour: u32,
    pub minute: u32,
    pub second: u32,
}

pub fn local_time(unix_seconds: u64) -> LocalTime {
    let seconds = unix_seconds as libc::time_t;
    // SAFETY: all-zero bytes are a valid `tm`.
    let mut time: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers name valid structures for the length of the call.
    unsafe { libc::localtime_r(&seconds, &mut time) };
    LocalTime {
        year: time.tm_year + 1900,
        month0: time.tm_mon as u32,
        day: time.tm_mday as u32,
        hour: time.tm_hour as u32,
        minute: time.tm_min as u32,
        second: time.tm_sec as u32,
    }
}
