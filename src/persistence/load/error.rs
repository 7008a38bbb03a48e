//! Why the data could not be loaded: which file, where in it, what is there, and what to do about it.

use crate::persistence::aof::recovery::RecoveryError;
use std::fmt;
use std::io;

/// What an operator can do about a damaged file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Remedy {
    CheckRdb,
    CheckAof,
    /// The last command is cut off, and `aof-load-truncated` is off.
    CheckAofOrAllowTruncation,
    None,
}

#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("Can't open {file} to load it: {source}")]
    Open { file: String, source: io::Error },
    #[error("Can't read {file} at offset {offset}: {source}")]
    Read { file: String, offset: u64, source: io::Error },
    #[error("Bad file format reading the append only file {file} at offset {offset}: {what}.{}", Advice(*.remedy, file))]
    AofFormat { file: String, offset: u64, what: String, remedy: Remedy },
    #[error(
        "Unexpected end of file reading the append only file {file} at offset {offset}.{}",
        Advice(Remedy::CheckAofOrAllowTruncation, file)
    )]
    AofTruncated { file: String, offset: u64 },
    #[error(
        "Fatal error: the truncated file {file} is not the last of the append only files.{}",
        Advice(Remedy::CheckAof, file)
    )]
    TruncatedInTheMiddle { file: String },
    #[error("Error reading the AOF manifest {file}: {what}")]
    Manifest { file: String, what: String },
    #[error("The append only file can't be used: {0}. To see more: pinion-server --check-aof MANIFEST")]
    Recovery(#[from] RecoveryError),
    #[error("Bad file format reading the snapshot {file} at offset {offset}{}: {what}.{}", OfKey(.key), Advice(Remedy::CheckRdb, file))]
    Rdb { file: String, offset: u64, key: Option<Vec<u8>>, what: String },
    #[error("Can't load {file}: {what}")]
    Unsupported { file: String, what: String },
    #[error("There is no append only file to load")]
    NoAppendOnlyFile,
    #[error("{0}")]
    GoOn(String),
    #[error("Can't start a thread to load the data: {0}")]
    Thread(io::Error),
    /// The server stops before everything is loaded, or another thread has failed and says why.
    #[error("loading was interrupted")]
    Stopped,
}

struct OfKey<'a>(&'a Option<Vec<u8>>);

impl fmt::Display for OfKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => Ok(()),
            Some(key) => write!(f, ", key '{}'", key.escape_ascii()),
        }
    }
}

struct Advice<'a>(Remedy, &'a str);

impl fmt::Display for Advice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.1;
        match self.0 {
            Remedy::None => Ok(()),
            Remedy::CheckRdb => write!(f, " To see what is damaged: pinion-server --check-rdb {file}"),
            Remedy::CheckAof => {
                write!(f, " Make a backup of it, then use: pinion-server --check-aof --fix {file}")
            }
            Remedy::CheckAofOrAllowTruncation => write!(
                f,
                " You can: 1) Make a backup of it, then use: pinion-server --check-aof --fix {file}  2) Set \
                 'aof-load-truncated yes' and start again."
            ),
        }
    }
}
