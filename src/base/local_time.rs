//! Date and time in the time zone of the process.

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

impl LocalTime {
    pub fn of(unix_seconds: u64) -> Self {
        let seconds = unix_seconds as libc::time_t;
        // SAFETY: all-zero bytes are a valid `tm`.
        let mut time: libc::tm = unsafe { std::mem::zeroed() };
        // SAFETY: both pointers name valid structures for the length of the call.
        unsafe { libc::localtime_r(&seconds, &mut time) };
        Self {
            year: time.tm_year + 1900,
            month0: time.tm_mon as u32,
            day: time.tm_mday as u32,
            hour: time.tm_hour as u32,
            minute: time.tm_min as u32,
            second: time.tm_sec as u32,
        }
    }
}
