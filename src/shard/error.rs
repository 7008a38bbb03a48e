//! Why a command was refused. The texts are part of the protocol: clients match on them.

use crate::resp::{Protocol, Reply};
use std::borrow::Cow;
use std::fmt;

/// `Ok` means that the handler has written exactly one reply; after `Err` whatever it had written
/// is taken back and the error is the reply.
pub type CommandResult = Result<(), CommandError>;

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CommandError {
    Syntax,
    NotAnInteger,
    NotAFloat,
    NotPositive,
    OutOfRange,
    Overflow,
    NanOrInfinity,
    WrongType,
    NoSuchKey,
    StringTooLong,
    InvalidCursor,
    SameObject,
    IndexOutOfRange,
    DbIndexOutOfRange,
    OutOfMemory,
    /// `invalid expire time in 'set' command`; the command's name in lower case.
    InvalidExpire(&'static str),
    /// `wrong number of arguments for 'get' command`; the name in lower case, subcommands as `config|get`.
    WrongArity(&'static str),
    /// A text that belongs to one command only, with its code (`ERR …`).
    Text(&'static str),
    /// The same, where a part of the text comes from the request: any bytes.
    Built(Box<[u8]>),
}

impl CommandError {
    pub fn built(text: impl Into<Vec<u8>>) -> Self {
        Self::Built(text.into().into_boxed_slice())
    }

    /// The whole error line without `-` and line end.
    pub fn text(&self) -> Cow<'_, [u8]> {
        let text: &str = match self {
            Self::Syntax => "ERR syntax error",
            Self::NotAnInteger => "ERR value is not an integer or out of range",
            Self::NotAFloat => "ERR value is not a valid float",
            Self::NotPositive => "ERR value is out of range, must be positive",
            Self::OutOfRange => "ERR value is out of range",
            Self::Overflow => "ERR increment or decrement would overflow",
            Self::NanOrInfinity => "ERR increment would produce NaN or Infinity",
            Self::WrongType => "WRONGTYPE Operation against a key holding the wrong kind of value",
            Self::NoSuchKey => "ERR no such key",
            Self::StringTooLong => "ERR string exceeds maximum allowed size (proto-max-bulk-len)",
            Self::InvalidCursor => "ERR invalid cursor",
            Self::SameObject => "ERR source and destination objects are the same",
            Self::IndexOutOfRange => "ERR index out of range",
            Self::DbIndexOutOfRange => "ERR DB index is out of range",
            Self::OutOfMemory => "OOM command not allowed when used memory > 'maxmemory'.",
            Self::InvalidExpire(name) => {
                return Cow::Owned(format!("ERR invalid expire time in '{name}' command").into_bytes());
            }
            Self::WrongArity(name) => {
                return Cow::Owned(
                    format!("ERR wrong number of arguments for '{name}' command").into_bytes(),
                );
            }
            Self::Text(text) => text,
            Self::Built(text) => return Cow::Borrowed(text),
        };
        Cow::Borrowed(text.as_bytes())
    }

    /// The error as the reply, in place of what its command had written from `start` on.
    #[cold]
    pub fn write_over(&self, out: &mut Vec<u8>, start: usize, protocol: Protocol) {
        out.truncate(start);
        Reply::new(out, protocol).error(self.text().as_ref());
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.text()))
    }
}

impl std::error::Error for CommandError {}
