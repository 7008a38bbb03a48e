//! A client as CLIENT LIST, CLIENT INFO and the log show it: the fields of Redis 7.0, in its order, then
//! those that 7.2 added.
//!
//! Redis tells of a fixed reply buffer and a list behind it. Here there is one growing buffer; what is in it
//! is told in those terms, so that tools which watch `obl` and `omem` see what they expect.

use super::{Client, Closing};
use crate::base::UnixMillis;
use crate::resp::Protocol;
use std::fmt::Write;

/// The size of Redis's fixed reply buffer: replies beyond it count as `omem`.
const FIXED_BUFFER_BYTES: usize = 16 * 1024;

impl Client {
    /// One line, without its end. `command` is the full name of the last command, `arguments_bytes` the size
    /// of the arguments of the one that runs now.
    pub fn describe(&self, now: UnixMillis, command: Option<&str>, arguments_bytes: usize) -> String {
        let mut line = String::with_capacity(320);
        let seconds = |since: UnixMillis| (now.0 / 1000).saturating_sub(since.0 / 1000);
        // What the kernel has taken at once is confirmed a turn later; it does not wait.
        let pending = self.output.pending_bytes() + self.slow_sending_bytes();
        let fixed = pending.min(FIXED_BUFFER_BYTES);
        let beyond = pending - fixed;
        let room = self.output.room();
        // `write!` to a `String` cannot fail; the results of the three pieces are one.
        let written = write!(
            line,
            "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={} db={} sub=0 psub=0 ssub=0 multi={}",
            self.id,
            self.address,
            self.local_address,
            self.fd,
            String::from_utf8_lossy(&self.name),
            seconds(self.created_at),
            seconds(self.last_interaction),
            self.flags(),
            self.db,
            self.multi.as_ref().map_or(-1, |multi| multi.len() as i64),
        )
        .and_then(|()| {
            write!(
                line,
                " qbuf={} qbuf-free={} argv-mem={} multi-mem=0 rbs={} rbp={} obl={} oll={} omem={} tot-mem={}",
                self.query_bytes,
                self.query_room,
                arguments_bytes,
                room,
                room.max(self.sending_bytes),
                fixed,
                beyond.div_ceil(FIXED_BUFFER_BYTES),
                beyond,
                self.memory_bytes() + arguments_bytes,
            )
        })
        .and_then(|()| {
            write!(
                line,
                " events={} cmd={} user={} redir=-1 resp={} lib-name={} lib-ver={}",
                if self.slow_sending_bytes() > 0 { "rw" } else { "r" },
                command.unwrap_or("NULL"),
                super::DEFAULT_USER,
                if self.protocol == Protocol::Resp3 { 3 } else { 2 },
                String::from_utf8_lossy(&self.library_name),
                String::from_utf8_lossy(&self.library_version),
            )
        });
        written.expect("a String takes every write");
        line
    }

    /// A letter for each state that people look for; `N` for none.
    fn flags(&self) -> String {
        let states = [
            (self.monitor, 'O'),
            (self.multi.is_some(), 'x'),
            (self.blocked.is_some(), 'b'),
            (self.closing == Closing::AfterReply, 'c'),
            (self.closing == Closing::Now, 'A'),
            (self.is_unix, 'U'),
            (self.no_evict, 'e'),
            (self.no_touch, 'T'),
        ];
        let letters: String = states.iter().filter(|(on, _)| *on).map(|(_, letter)| *letter).collect();
        if letters.is_empty() { "N".into() } else { letters }
    }

    /// About how much memory this client costs.
    pub fn memory_bytes(&self) -> usize {
        let texts = [&self.name, &self.library_name, &self.library_version];
        let texts: usize = texts.iter().map(|text| text.capacity()).sum();
        let addresses = self.address.capacity() + self.local_address.capacity();
        let replies = self.output_bytes().max(self.output.room());
        size_of::<Self>() + texts + addresses + replies + self.query_bytes + self.query_room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client() -> Client {
        let mut client = Client::new(7, UnixMillis(1_999));
        client.address = "127.0.0.1:5000".into();
        client.local_address = "127.0.0.1:6379".into();
        client.fd = 9;
        client
    }

    #[test]
    fn the_fields_and_their_order() {
        let line = client().describe(UnixMillis(4_000), Some("client|list"), 10);
        let names: Vec<&str> = line.split(' ').map(|field| field.split('=').next().unwrap_or("")).collect();
        let expected = "id addr laddr fd name age idle flags db sub psub ssub multi qbuf qbuf-free argv-mem \
                        multi-mem rbs rbp obl oll omem tot-mem events cmd user redir resp lib-name lib-ver";
        assert_eq!(names, expected.split_whitespace().collect::<Vec<_>>());
        assert!(line.starts_with(
            "id=7 addr=127.0.0.1:5000 laddr=127.0.0.1:6379 fd=9 name= age=3 idle=3 flags=N db=0 "
        ));
        assert!(line.ends_with(" events=r cmd=client|list user=default redir=-1 resp=2 lib-name= lib-ver="));
        assert!(
            client().describe(UnixMillis(0), None, 0).contains(" age=0 idle=0 "),
            "a clock that went back"
        );
        assert!(client().describe(UnixMillis(0), None, 0).contains(" cmd=NULL "));
    }

    #[test]
    fn each_state_has_its_letter() {
        let flags = |change: fn(&mut Client)| {
            let mut client = client();
            change(&mut client);
            client.flags()
        };
        assert_eq!(flags(|_| ()), "N");
        assert_eq!(flags(|client| client.monitor = true), "O");
        assert_eq!(flags(|client| client.blocked = Some(crate::client::Blocked::Paused)), "b");
        assert_eq!(flags(|client| client.closing = Closing::AfterReply), "c");
        assert_eq!(flags(|client| client.closing = Closing::Now), "A");
        assert_eq!(
            flags(|client| (client.is_unix, client.no_evict, client.no_touch) = (true, true, true)),
            "UeT"
        );
    }

    #[test]
    fn replies_beyond_the_fixed_buffer_count_as_omem() {
        let mut client = client();
        client.output.writer().extend_from_slice(&vec![b'x'; FIXED_BUFFER_BYTES]);
        assert!(client.describe(UnixMillis(0), None, 0).contains(" obl=16384 oll=0 omem=0 "));
        client.output.writer().push(b'y');
        assert!(client.describe(UnixMillis(0), None, 0).contains(" obl=16384 oll=1 omem=1 "));
    }
}
