//! SLOWLOG: the last commands that took longer than `slowlog-log-slower-than`, of the clients of one core.
//! The ids come from a counter of the server, so that the cores' lists merge into one.

use std::collections::VecDeque;

/// As Redis: an entry keeps at most so many arguments, and so much of each.
pub const ARGUMENTS_MAX: usize = 32;
pub const ARGUMENT_BYTES_MAX: usize = 128;

#[derive(Clone, Debug)]
pub struct SlowCommand {
    pub id: u64,
    pub unix_seconds: u64,
    pub microseconds: u64,
    pub arguments: Vec<Vec<u8>>,
    pub client_address: String,
    pub client_name: Vec<u8>,
}

#[derive(Clone, Debug, Default)]
pub struct Slowlog {
    /// The newest first.
    entries: VecDeque<SlowCommand>,
}

impl Slowlog {
    pub fn push(&mut self, entry: SlowCommand, length_max: usize) {
        self.entries.push_front(entry);
        self.entries.truncate(length_max);
    }

    /// After `slowlog-max-len` has changed.
    pub fn shorten(&mut self, length_max: usize) {
        self.entries.truncate(length_max);
    }

    pub fn entries(&self) -> impl Iterator<Item = &SlowCommand> {
        self.entries.iter()
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn clear(&mut self) {
        self.entries.clear();
    }
}

/// The arguments as the log keeps them: long ones cut, the rest counted.
pub fn shorten<'a>(arguments: impl ExactSizeIterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    let total = arguments.len();
    let mut kept = Vec::with_capacity(total.min(ARGUMENTS_MAX));
    for (index, argument) in arguments.enumerate() {
        if total > ARGUMENTS_MAX && index == ARGUMENTS_MAX - 1 {
            let more = total - ARGUMENTS_MAX + 1;
            kept.push(format!("... ({more} more arguments)").into_bytes());
            break;
        }
        if argument.len() > ARGUMENT_BYTES_MAX {
            let more = argument.len() - ARGUMENT_BYTES_MAX;
            let mut cut = argument[..ARGUMENT_BYTES_MAX].to_vec();
            cut.extend_from_slice(format!("... ({more} more bytes)").as_bytes());
            kept.push(cut);
        } else {
            kept.push(argument.to_vec());
        }
    }
    kept
}
