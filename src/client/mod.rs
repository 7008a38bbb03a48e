//! What the server knows about one client. A client lives on the core that its connection was dealt to.

mod describe;
mod filter;
mod output;
mod registry;

pub use filter::ClientFilter;
pub use output::{Output, Source};
pub use registry::{ClientKey, Clients};

use crate::base::UnixMillis;
use crate::command_table::Command;
use crate::resp::{ArgvBuf, Protocol};
use crate::transaction::{Multi, Watching};

/// The only user there is; the password of `requirepass` is its.
pub const DEFAULT_USER: &str = "default";

pub struct Client {
    /// Unique in the server's life, ascending in the order of arrival.
    pub id: u64,
    pub address: String,
    pub local_address: String,
    /// The socket's number, for CLIENT LIST only.
    pub fd: i32,
    pub is_unix: bool,
    pub name: Vec<u8>,
    pub library_name: Vec<u8>,
    pub library_version: Vec<u8>,
    pub db: usize,
    pub protocol: Protocol,
    pub authenticated: bool,
    pub created_at: UnixMillis,
    pub last_interaction: UnixMillis,
    /// The id of the last command in the command table.
    pub last_command: Option<u16>,
    pub no_evict: bool,
    pub no_touch: bool,
    pub monitor: bool,
    pub reply_mode: ReplyMode,
    pub closing: Closing,
    pub output: Output,
    /// Bytes received and not yet parsed, and the room for more.
    pub query_bytes: usize,
    pub query_room: usize,
    pub arguments_bytes: usize,
    /// Bytes handed to the kernel and not yet confirmed.
    pub sending_bytes: usize,
    pub total_received: u64,
    pub total_sent: u64,
    pub total_commands: u64,
    /// Since when the output has been over its soft limit.
    pub soft_limit_since: Option<UnixMillis>,
    pub in_flight: InFlight,
    /// Between MULTI and EXEC.
    pub multi: Option<Multi<QueuedCommand>>,
    pub watching: Watching<WatchedKey>,
    pub blocked: Option<Blocked>,
}

/// A command inside MULTI.
pub struct QueuedCommand {
    pub command: Command,
    pub argv: ArgvBuf,
}

/// A key of WATCH.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WatchedKey {
    pub db: usize,
    pub key: Box<[u8]>,
}

/// What this client has running on other cores: the rule of ordering needs no more.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct InFlight {
    /// Writes that have not been answered.
    pub writes: u32,
    /// Where they run, while they all run on one shard.
    pub writes_on: Option<usize>,
    /// Commands that run in several places: nothing may overtake them.
    pub barriers: u32,
}

/// Why the client's further requests wait.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Blocked {
    /// By CLIENT PAUSE, until it ends.
    Paused,
    /// It waits for keys; this is the name of the wait.
    OnKeys(u64),
}

/// CLIENT REPLY.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ReplyMode {
    #[default]
    On,
    Off,
    /// The reply of the command after CLIENT REPLY SKIP.
    SkipNext,
    /// That command is running; it may change the mode itself.
    Skipping,
}

/// The kinds that CLIENT LIST TYPE and CLIENT KILL TYPE tell apart.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ClientClass {
    Normal,
    Replica,
    PubSub,
    Master,
}

impl ClientClass {
    /// `slave` is the old name of `replica`.
    pub fn named(name: &[u8]) -> Option<Self> {
        let names: [(&str, Self); 5] = [
            ("normal", Self::Normal),
            ("slave", Self::Replica),
            ("replica", Self::Replica),
            ("pubsub", Self::PubSub),
            ("master", Self::Master),
        ];
        let found = names.iter().find(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes()));
        found.map(|(_, class)| *class)
    }
}

/// Whether CLIENT SETNAME and CLIENT SETINFO take this text: it must not break the lines of CLIENT LIST.
pub fn is_valid_attribute(text: &[u8]) -> bool {
    text.iter().all(|byte| matches!(byte, b'!'..=b'~'))
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Closing {
    #[default]
    No,
    /// When what was written has left (QUIT, protocol errors).
    AfterReply,
    /// At the end of this turn (CLIENT KILL, limits).
    Now,
}

impl InFlight {
    /// Whether a command for `shard` may start now: not while an earlier write of the same client is
    /// under way on a different shard. Reads may overlap reads.
    #[inline]
    pub fn allows(&self, shard: usize) -> bool {
        self.barriers == 0 && (self.writes == 0 || self.writes_on == Some(shard))
    }

    #[inline]
    pub fn is_idle(&self) -> bool {
        self.barriers == 0 && self.writes == 0
    }

    pub fn write_sent(&mut self, shard: usize) {
        debug_assert!(self.writes == 0 || self.writes_on == Some(shard));
        self.writes += 1;
        self.writes_on = Some(shard);
    }

    pub fn write_done(&mut self) {
        self.writes = self.writes.checked_sub(1).expect("a write is answered once");
    }
}

impl Client {
    pub fn new(id: u64, now: UnixMillis) -> Self {
        Self {
            id,
            address: String::new(),
            local_address: String::new(),
            fd: -1,
            is_unix: false,
            name: Vec::new(),
            library_name: Vec::new(),
            library_version: Vec::new(),
            db: 0,
            protocol: Protocol::Resp2,
            authenticated: false,
            created_at: now,
            last_interaction: now,
            last_command: None,
            no_evict: false,
            no_touch: false,
            monitor: false,
            reply_mode: ReplyMode::On,
            closing: Closing::No,
            output: Output::default(),
            query_bytes: 0,
            query_room: 0,
            arguments_bytes: 0,
            sending_bytes: 0,
            total_received: 0,
            total_sent: 0,
            total_commands: 0,
            soft_limit_since: None,
            in_flight: InFlight::default(),
            multi: None,
            watching: Watching::default(),
            blocked: None,
        }
    }

    /// Whether the client's next request may start, as far as its earlier ones are concerned.
    #[inline]
    pub fn may_start(&self) -> bool {
        self.in_flight.barriers == 0 && self.blocked.is_none() && self.closing == Closing::No
    }

    /// Bytes handed to the kernel that are more than it takes at once.
    pub fn slow_sending_bytes(&self) -> usize {
        const TAKEN_AT_ONCE: usize = 16 * 1024;
        if self.sending_bytes > TAKEN_AT_ONCE { self.sending_bytes } else { 0 }
    }

    /// Bytes of replies that have not left.
    pub fn output_bytes(&self) -> usize {
        self.output.pending_bytes() + self.sending_bytes
    }

    pub fn class(&self) -> ClientClass {
        ClientClass::Normal
    }

    /// On this machine: over loopback or a unix socket.
    pub fn is_local(&self) -> bool {
        self.is_unix || self.address.starts_with("127.") || self.address.starts_with("[::1]")
    }

    pub fn close_after_reply(&mut self) {
        if self.closing == Closing::No {
            self.closing = Closing::AfterReply;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_have_no_spaces_and_classes_two_names_for_replicas() {
        assert!(is_valid_attribute(b"") && is_valid_attribute(b"!~az"));
        for bad in [&b"a b"[..], b"a\n", b"\x7f", b"\xc3\xa9", b"\0"] {
            assert!(!is_valid_attribute(bad), "{bad:?}");
        }
        assert_eq!(ClientClass::named(b"Slave"), ClientClass::named(b"REPLICA"));
        assert_eq!(ClientClass::named(b"normals"), None);
    }

    #[test]
    fn a_write_under_way_holds_back_commands_for_other_shards_only() {
        let mut in_flight = InFlight::default();
        assert!(in_flight.allows(0) && in_flight.allows(1));
        in_flight.write_sent(1);
        assert!(!in_flight.allows(0), "its effect could be seen first");
        assert!(in_flight.allows(1), "the queue to one shard keeps order");
        in_flight.write_sent(1);
        in_flight.write_done();
        assert!(!in_flight.allows(0));
        in_flight.write_done();
        assert!(in_flight.allows(0));
    }
}
