//! The server's log: one line per event, on standard output or in `logfile`, in the format that tools for
//! Redis's log expect: `<pid>:M <date> <level> <text>`.
//!
//! A log file that was renamed or removed (logrotate without `copytruncate`, as it is set up for Redis) is created again by
//! the next line.

use crate::config::choices::LogLevel;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
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
    file: Option<Mutex<LogFile>>,
}

struct LogFile {
    /// Absolute: the server changes its directory.
    path: PathBuf,
    file: File,
}

impl LogFile {
    fn open(path: PathBuf) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        Ok(Self { path, file })
    }

    fn write(&mut self, line: &str) -> io::Result<()> {
        let own = self.file.metadata()?;
        let is_own = |named: std::fs::Metadata| (named.dev(), named.ino()) == (own.dev(), own.ino());
        if !std::fs::metadata(&self.path).is_ok_and(is_own)
            && let Ok(again) = Self::open(self.path.clone())
        {
            *self = again;
        }
        self.file.write_all(line.as_bytes())
    }
}

impl Logger {
    /// # Errors
    /// If the log file cannot be opened for appending.
    pub fn new(level: Level, file: Option<&Path>) -> io::Result<Self> {
        let file = file.map(|path| LogFile::open(std::path::absolute(path)?)).transpose()?;
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
            Some(file) => file.lock().unwrap_or_else(PoisonError::into_inner).write(&line),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_was_rotated_is_created_again() {
        let directory = tempfile::tempdir().expect("a directory");
        let (path, rotated) = (directory.path().join("log"), directory.path().join("log.1"));
        let log = Logger::new(Level::Notice, Some(&path)).expect("it can be created");
        log.notice("first");
        log.notice("second");
        std::fs::rename(&path, &rotated).expect("it is there");
        log.notice("third");
        let lines = |path: &Path| std::fs::read_to_string(path).expect("it is there").lines().count();
        assert_eq!((lines(&rotated), lines(&path)), (2, 1));
        std::fs::remove_file(&path).expect("it is there");
        log.notice("fourth");
        assert_eq!(lines(&path), 1);
    }
}
