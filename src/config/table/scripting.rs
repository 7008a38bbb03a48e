//! Scripts and functions.

use crate::config::declaration::{Declaration, LONG_MAX};

pub(super) const PARAMETERS: &[Declaration] = &[Declaration::integer(
    "busy-reply-threshold",
    "5000",
    "Milliseconds until a script makes others wait aloud.",
)
.bounds(0, LONG_MAX)
.alias("lua-time-limit")];
