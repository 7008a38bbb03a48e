//! Arguments of the commands of streams: ids that are mostly right, few groups and consumers, and times that no
//! test can come near to.

use super::{Generator, text};
use pinion::command_table::{Arg, Kind};

/// No entry is ever idle for about as long while a test runs: it has just been delivered, or long ago (G2).
const IDLE_TIMES: &[&str] = &["0", "0", "0", "-1", "100000000", "9223372036854775807"];

impl Generator {
    pub(super) fn stream_value(&mut self, arg: &Arg) -> Option<Vec<u8>> {
        Some(match (arg.kind, arg.name) {
            (_, "id") if self.command == "xadd" => self.new_id(),
            (Kind::String, "id" | "last-id" | "max_deleted_entry_id") => self.id(),
            (Kind::String, "start" | "end") => match self.random.below(6) {
                0 | 1 => b"-".to_vec(),
                2 | 3 => b"+".to_vec(),
                4 => [b"(".to_vec(), self.id()].concat(),
                _ => self.id(),
            },
            (_, "threshold") => match self.random.below(3) {
                0 => self.id(),
                _ => self.number(-1, 12),
            },
            (_, "group" | "groupname") => self.pick(&["g", "g", "g", "h", "i"]).as_bytes().to_vec(),
            (_, "consumer" | "consumername") => self.pick(&["a", "a", "b", "c"]).as_bytes().to_vec(),
            (_, "min-idle-time" | "ms") => self.pick(IDLE_TIMES).as_bytes().to_vec(),
            _ => return None,
        })
    }

    /// An id for XADD. Most are larger than all before.
    fn new_id(&mut self) -> Vec<u8> {
        self.stream_ms += i64::from(self.one_in(2));
        let ms = self.stream_ms;
        match self.random.below(30) {
            0 => self.id(),
            1 => b"18446744073709551615-18446744073709551614".to_vec(),
            2 | 3 => text(ms),
            4..=9 => format!("{ms}-{}", self.random.below(400)).into_bytes(),
            _ => format!("{ms}-*").into_bytes(),
        }
    }

    /// An id that there may be.
    fn id(&mut self) -> Vec<u8> {
        let ms = (self.stream_ms - self.random.below(8) as i64).max(0);
        match self.random.below(24) {
            0 => self
                .pick(&[
                    "0-0",
                    "$",
                    ">",
                    "-",
                    "+",
                    "5-*",
                    "1-",
                    " 7-07",
                    "18446744073709551615-18446744073709551615",
                ])
                .as_bytes()
                .to_vec(),
            1..=3 => b"0".to_vec(),
            4..=7 if self.command == "xreadgroup" => b">".to_vec(),
            4 | 5 if matches!(self.command, "xread" | "xgroup|create" | "xgroup|setid") => b"$".to_vec(),
            4..=8 => text(ms),
            9..=10 if self.command == "xreadgroup" => b">".to_vec(),
            9..=18 => format!("{ms}-0").into_bytes(),
            _ => format!("{ms}-{}", self.random.below(3)).into_bytes(),
        }
    }
}
