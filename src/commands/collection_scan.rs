//! What HSCAN, SSCAN and ZSCAN have in common.

use crate::base::glob::{self, Case};
use crate::command_table::Args;
use crate::resp::Reply;
use crate::shard::CommandError;

pub(super) use super::keys_scan::parse_cursor;

/// What follows the cursor.
pub(super) struct ScanOptions<'a> {
    pattern: Option<&'a [u8]>,
    pub count: usize,
    /// HSCAN's NOVALUES.
    pub no_values: bool,
}

pub(super) const NO_VALUES_HERE: CommandError =
    CommandError::Text("ERR NOVALUES option can only be used in HSCAN");

impl<'a> ScanOptions<'a> {
    pub fn parse(mut args: Args<'a>, has_values: bool) -> Result<Self, CommandError> {
        let mut options = Self { pattern: None, count: 10, no_values: false };
        while args.remaining() > 0 {
            if args.option("COUNT") {
                let count = args.integer()?;
                options.count =
                    usize::try_from(count).ok().filter(|count| *count > 0).ok_or(CommandError::Syntax)?;
            } else if args.option("MATCH") {
                options.pattern = Some(args.bytes()?).filter(|pattern| pattern != b"*");
            } else if args.option("NOVALUES") {
                if !has_values {
                    return Err(NO_VALUES_HERE);
                }
                options.no_values = true;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(options)
    }

    pub fn matches(&self, text: &[u8]) -> bool {
        self.pattern.is_none_or(|pattern| glob::matches(pattern, text, Case::Sensitive))
    }
}

/// Begins the reply: the next cursor; the elements follow.
pub(super) fn write_cursor(reply: &mut Reply<'_>, cursor: u64) {
    reply.array(2);
    reply.bulk(itoa::Buffer::new().format(cursor).as_bytes());
}
