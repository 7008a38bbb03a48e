//! Replays commands as Redis journals them: requests one after the other, SELECT where the database changes, MULTI and
//! EXEC around what was atomic, lines with `#` as notes in between.
//!
//! What was atomic is done whole or not at all: it is kept back until its EXEC has come.

use super::feeds::Feeds;
use super::reader::Reader;
use super::router::{Arguments, Router};
use super::{Delay, LoadError, Remedy};
use crate::base::number::parse_i64;
use crate::command_table::{Command, CommandTable, Handler, TransactionCommand};
use crate::resp::{ArgRange, Argv, ArgvBuf, Limits, Progress as RequestProgress, RequestParser};

/// How the end of a file is to be taken.
#[derive(Clone, Copy, Debug)]
pub struct TailPolicy {
    /// `aof-load-truncated`: the last command may be cut off.
    pub allow_truncated: bool,
    /// No other file follows.
    pub is_last: bool,
}

/// What a file of commands came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tail {
    Whole,
    /// Everything from this offset on was dropped.
    CutAt(u64),
}

/// A transaction whose EXEC has not come yet.
struct Open {
    /// Where its MULTI stands.
    offset: u64,
    commands: Vec<(Command, usize, u64, ArgvBuf)>,
}

/// Loads the rest of a file.
///
/// # Errors
/// If it cannot be read, understood or run, or ends in the middle of a command where it must not.
pub fn feed(
    reader: &mut Reader,
    feeds: &Feeds,
    table: &'static CommandTable,
    databases: usize,
    tail: TailPolicy,
    delay: &Delay,
) -> Result<Tail, LoadError> {
    let mut router = Router::new(feeds.clone(), table, databases, reader.name());
    let limits = Limits { bulk_bytes_max: usize::MAX, authenticated: true };
    let mut parser = RequestParser::new();
    let mut ranges: Vec<ArgRange> = Vec::new();
    let mut db = 0;
    let mut open: Option<Open> = None;
    // What begins an advance is read already, or nothing is.
    router.begin_piece(reader.piece())?;
    loop {
        let offset = reader.offset();
        let format = |what: String| LoadError::AofFormat {
            file: reader.name().to_owned(),
            offset,
            what,
            remedy: Remedy::CheckAof,
        };
        let mut needed = 0;
        let consumed = match reader.rest().first() {
            None => None,
            Some(b'#') => memchr::memchr(b'\n', reader.rest()).map(|end| end + 1),
            Some(b'*') => match parser.parse(reader.rest(), &mut ranges, &limits) {
                Ok(RequestProgress::Complete { consumed }) => {
                    let place =
                        Arguments::Placed { piece: reader.piece(), start: reader.place(), ranges: &ranges };
                    step(&mut router, &mut db, &mut open, offset, place)?;
                    delay.key()?;
                    Some(consumed)
                }
                Ok(RequestProgress::Empty { .. }) => {
                    return Err(format("a command without a name".into()));
                }
                Ok(RequestProgress::Rewritten { .. }) => unreachable!("it begins with a star"),
                Ok(RequestProgress::Incomplete { needed: more }) => {
                    needed = more.unwrap_or(0);
                    None
                }
                Err(error) => {
                    let text = error.to_string();
                    let text = text.strip_prefix("ERR Protocol error: ").unwrap_or(&text);
                    return Err(format(text.to_owned()));
                }
            },
            Some(byte) => {
                return Err(format(format!(
                    "a command begins with '{}' and not with '*'",
                    byte.escape_ascii()
                )));
            }
        };
        if let Some(consumed) = consumed {
            reader.consume(consumed);
            router.weigh(consumed as u64);
            continue;
        }
        // What cannot come is not read to see that it does not: a damaged length asks for anything.
        if !reader.is_last() && needed as u64 <= reader.left() {
            reader.advance(needed)?;
            router.begin_piece(reader.piece())?;
            continue;
        }
        router.flush()?;
        let valid = open.map_or(offset, |open| open.offset);
        return if valid == reader.end() {
            Ok(Tail::Whole)
        } else if !tail.allow_truncated {
            Err(LoadError::AofTruncated { file: reader.name().to_owned(), offset: valid })
        } else if !tail.is_last {
            Err(LoadError::TruncatedInTheMiddle { file: reader.name().to_owned() })
        } else {
            Ok(Tail::CutAt(valid))
        };
    }
}

fn step(
    router: &mut Router,
    db: &mut usize,
    open: &mut Option<Open>,
    offset: u64,
    arguments: Arguments<'_>,
) -> Result<(), LoadError> {
    let argv = arguments.argv();
    let command = router.resolve(argv, offset)?;
    match command.spec.handler {
        Handler::OfTransaction(TransactionCommand::Multi) => {
            open.get_or_insert(Open { offset, commands: Vec::new() });
            Ok(())
        }
        Handler::OfTransaction(TransactionCommand::Exec) => {
            for (command, db, offset, argv) in open.take().into_iter().flat_map(|open| open.commands) {
                router.take(&command, db, offset, Arguments::Apart(argv.as_argv()))?;
            }
            Ok(())
        }
        Handler::OfTransaction(TransactionCommand::Discard) => {
            *open = None;
            Ok(())
        }
        Handler::OfTransaction(_) => Ok(()),
        _ if command.spec.name == "SELECT" => {
            // A SELECT inside a transaction holds for what follows it there, and afterwards.
            *db = selected(argv, router.databases())
                .ok_or_else(|| router.format(offset, "no such database"))?;
            Ok(())
        }
        _ => match open {
            Some(open) => {
                open.commands.push((command, *db, offset, argv.to_owned()));
                Ok(())
            }
            None => router.take(&command, *db, offset, arguments),
        },
    }
}

fn selected(argv: Argv<'_>, databases: usize) -> Option<usize> {
    let index = usize::try_from(parse_i64(argv.get(1)?)?).ok()?;
    (index < databases).then_some(index)
}
