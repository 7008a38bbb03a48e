//! Errors of the operating system as its users know them.

use std::io;

/// What the system says, as the system says it, and Redis prints it: without Rust's "(os error 2)".
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}
