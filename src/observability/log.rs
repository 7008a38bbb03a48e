//! The server's log: one line per event, on standard output or in `logfile`, in the format that tools for
//! Redis's log expect: `<pid>:M <date> <level> <text>`.

use crate::config::choices::LogLevel;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Level {
    Debug = 0,
    Verbose = 1,
    Notice = 2,
    Warning = 3,
}

impl From<LogLevel> for Level {
    fn from(choice: LogLevel) -> Self {
        match choice {
            LogLevel::Debug => Self::Debug,
            LogLevel::Verbose => Self::Verbose,
            LogLevel::Notice => Self::Notice,
            LogLevel::Warning => Self::Warning,
        }
    }
}

/// Written by any core; a line is written whole.
pub struct Logger {
    level: AtomicU8,
    file: Option<Mutex<File>>,
}

impl Logger {
    /// # Errors
    /// If the log file cannot be opened for appending.
    pub fn new(level: Level, file: Option<&Path>) -> io::Result<Self> {
        let file = file.map(|path| OpenOptions::new().create(true).append(true).open(path)).transpose()?;
        Ok(Self { level: AtomicU8::new(level as u8), file: file.map(Mutex::new) })
    }

    pub fn set_level(&self, level: Level) {
        self.level.store(level as u8, Ordering::Relaxed);
    }

    /// Whether lines of this level are written: ask before making an expensive one.
    pub fn shows(&self, level: Level) -> bool {
        level as u8 >= self.level.load(Ordering::Relaxed)
    }

    pub fn log(&self, level: Level, text: &str) {
        if !self.shows(level) {
            return;
        }
        let mark = match level {
            Level::Debug => '.',
            Level::Verbose => '-',
            Level::Notice => '*',
            Level::Warning => '#',
        };
        let line = format!("{}:M {} {mark} {text}\n", std::process::id(), now());
        // A log that cannot be written must not stop the server.
        let _ = match &self.file {
            Some(file) => file.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes()),
            None => io::stdout().lock().write_all(line.as_bytes()),
        };
    }

    pub fn notice(&self, text: impl AsRef<str>) {
        self.log(Level::Notice, text.as_ref());
    }

    pub fn warning(&self, text: impl AsRef<str>) {
        self.log(Level::Warning, text.as_ref());
    }

    pub fn verbose(&self, text: impl AsRef<str>) {
        self.log(Level::Verbose, text.as_ref());
    }
}

/// `20 Nov 2026 11:53:44.123`, local time.
fn now() -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let micros = crate::base::clock::UnixMicros::now().0;
    let time = crate::base::local_time::LocalTime::of(micros / 1_000_000);
    format!(
        "{:02} {} {} {:02}:{:02}:{:02}.{:03}",
        time.day,
        MONTHS[time.month0 as usize % 12],
        time.year,
        time.hour,
        time.minute,
        time.second,
        micros / 1000 % 1000
    )
}
