//! What the commands that return random elements have in common.

use crate::command_table::Args;
use crate::shard::{CommandError, CommandResult};

/// One reply with this many random elements is more than any client asks for in earnest.
const RANDOM_COUNT_MAX: u64 = 1 << 24;

/// How many random elements are wanted; a negative number allows the same one several times.
pub(super) fn random_count(args: &mut Args<'_>) -> Result<i64, CommandError> {
    const OUT_OF_RANGE: CommandError = CommandError::Text(
        "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
    );
    args.integer_in(-i64::MAX, i64::MAX, OUT_OF_RANGE)
}

/// A reply of so many random elements would not end, unless its client's output limit ends it.
pub(super) fn refuse_endless(count: i64, bytes_max: usize) -> CommandResult {
    if count.unsigned_abs() > RANDOM_COUNT_MAX && bytes_max == usize::MAX {
        return Err(CommandError::OutOfRange);
    }
    Ok(())
}
