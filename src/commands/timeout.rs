//! The timeout of blocking commands: seconds, with a fraction.

use crate::base::{double, extended::Extended};
use crate::shard::CommandError;

/// In milliseconds, rounded up; 0 is for ever.
pub(super) fn parse(text: &[u8]) -> Result<u64, CommandError> {
    const NO_FLOAT: CommandError = CommandError::Text("ERR timeout is not a float or out of range");
    const NEGATIVE: CommandError = CommandError::Text("ERR timeout is negative");
    Extended::parse(text).ok_or(NO_FLOAT)?;
    // A number that only the wider type can hold is far out of range.
    let seconds = double::parse(text).ok_or(NEGATIVE)?;
    let millis = (seconds * 1000.0).ceil();
    // What does not fit is negative to Redis.
    if millis < 0.0 || millis >= i64::MAX as f64 { Err(NEGATIVE) } else { Ok(millis as u64) }
}
