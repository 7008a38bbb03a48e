//! A connection leaves its core for another one, and comes there.
//!
//! | on | what happens | the connection is |
//! |---|---|---|
//! | its core | `send_off` finds it at rest, its ring begins to withdraw it | leaving |
//! | its core | anything else is told of it first: bytes, its end | as before |
//! | its core | `detached`: it is no more at rest, or somebody counts the clients | on the ring again, as before |
//! | its core | `detached`: else | gone, in a message |
//! | the other | `take_in` | as before, there |
//!
//! Bytes that come meanwhile stay in the socket, and the other core's ring takes them from there. All that its requests
//! did has been answered, so what it asks for there comes after it.

use super::{Connection, Connections, put};
use crate::client::{Client, ClientKey, Closing, ReplyMode};
use crate::dispatch::Moved;
use crate::net::{Ring, StreamId};
use crate::session::{CoreState, Departures, MoveOrder, WHOLE};
use std::os::fd::OwnedFd;

/// A client that has said nothing for so long does not count when a share of the busy ones is to go.
const BUSY_MS: u64 = 1000;

impl Connections {
    /// At the end of a turn: begins to let go those that are to go and are at rest. True if the core should not sleep,
    /// since more of them will be at rest soon.
    #[inline]
    pub fn send_off(&mut self, core: &mut CoreState, ring: &mut Ring) -> bool {
        if let Some(order) = core.shared.moving.take_order(core.index) {
            self.begin(core, order);
        }
        !core.departures.is_empty() && self.look_for_departures(core, ring)
    }

    #[cold]
    fn begin(&self, core: &mut CoreState, order: MoveOrder) {
        let busy = busy(core).count() as u64;
        let count = (busy * order.share / WHOLE).max(u64::from(order.at_least_one)).min(busy) as usize;
        if count > 0 && order.to < core.cores && order.to != core.index {
            core.departures.some = Some((count, order.to));
            core.departures.looks = Departures::LOOKS;
        }
    }

    #[cold]
    fn look_for_departures(&mut self, core: &mut CoreState, ring: &mut Ring) -> bool {
        if core.shared.shutdown_requested().is_some() {
            core.departures = Departures::default();
            return false;
        }
        let mut named = std::mem::take(&mut core.departures.named);
        named.retain(|(key, to)| {
            let stays = *to != core.index && core.clients.get(*key).is_some();
            if stays {
                self.let_go(core, ring, *key, *to);
            }
            stays
        });
        core.departures.named = named;
        if let Some((mut count, to)) = core.departures.some {
            let keys: Vec<ClientKey> = busy(core).collect();
            for key in keys {
                if count == 0 {
                    break;
                }
                count -= usize::from(self.let_go(core, ring, key, to));
            }
            core.departures.some = (count > 0).then_some((count, to));
        }
        core.departures.looks = core.departures.looks.saturating_sub(1);
        if core.departures.looks == 0 {
            core.departures.some = None;
        }
        core.departures.looks > 0 && !core.departures.is_empty()
    }

    /// Begins to withdraw a connection from the ring, if it is at rest.
    fn let_go(&mut self, core: &CoreState, ring: &mut Ring, key: ClientKey, to: usize) -> bool {
        let Some(stream) = self.find(key).map(|connection| connection.stream) else { return false };
        let Some(connection) = self.by_stream[stream.index()].as_deref_mut() else { return false };
        let Some(client) = core.clients.get(key) else { return false };
        let goes = is_at_rest(connection, client) && ring.detach(stream);
        if goes {
            connection.leaving = Some(to);
        }
        goes
    }

    /// The ring has let go of a stream: the client goes with its socket, and to whom; or it stays after all.
    pub fn detached(
        &mut self,
        core: &mut CoreState,
        ring: &mut Ring,
        stream: StreamId,
        socket: OwnedFd,
    ) -> Option<(usize, Box<Moved>)> {
        let mut connection = self.by_stream.get_mut(stream.index()).and_then(Option::take)?;
        let key = connection.client;
        let rests = core.clients.get(key).is_some_and(|client| is_at_rest(&connection, client));
        let goes = rests && core.shared.shutdown_requested().is_none();
        if let Some(to) = connection.leaving.take().filter(|_| goes)
            && let Some(client) = core.send_away(key, to)
        {
            self.open -= 1;
            self.stream_of[key.index as usize] = None;
            return Some((to, Box::new(Moved { socket, client })));
        }
        let stream = ring.attach(socket);
        connection.stream = stream;
        put(&mut self.by_stream, stream.index(), Some(connection));
        put(&mut self.stream_of, key.index as usize, Some(stream));
        None
    }

    /// A client has come from another core.
    pub fn take_in(&mut self, core: &mut CoreState, ring: &mut Ring, moved: Moved) {
        let Moved { socket, client } = moved;
        let key = core.take_in(client);
        let stream = ring.attach(socket);
        self.open(stream, key);
    }
}

/// Clients that have said something lately.
fn busy(core: &CoreState) -> impl Iterator<Item = ClientKey> {
    let oldest = core.now.unix.0.saturating_sub(BUSY_MS);
    core.clients.iter().filter(move |(_, client)| client.last_interaction.0 >= oldest).map(|(key, _)| key)
}

/// Whether nothing ties a connection to its core. Everything that a connection and a client have is named here, so that
/// whoever adds something has to say what becomes of it.
fn is_at_rest(connection: &Connection, client: &Client) -> bool {
    let Connection {
        stream: _,
        client: _,
        query,
        parser,
        // The arguments of a request that the parser is inside of, else nothing.
        partial: _,
        sending,
        overfull,
        crowded,
        ended,
        closing,
        // Whether it is, the ring knows.
        leaving: _,
    } = connection;
    // Requests that have not run, and what receiving waits for.
    let nothing_asked = query.is_empty() && parser.is_idle() && !overfull && !crowded && !ended && !closing;
    let Client {
        // Who it is, and what it has said of itself: it is the same on every core.
        id: _,
        address: _,
        local_address: _,
        fd: _,
        is_unix: _,
        name: _,
        library_name: _,
        library_version: _,
        db: _,
        protocol: _,
        authenticated: _,
        created_at: _,
        last_interaction: _,
        last_command: _,
        no_evict: _,
        no_touch: _,
        // Each core shows its own MONITOR clients what has happened.
        monitor,
        // OFF and SKIP are about requests that are to come; they are rare, and stay.
        reply_mode,
        closing: client_closing,
        // Also what waits until it is durable here (`appendfsync always`).
        output,
        query_bytes: _,
        query_room: _,
        arguments_bytes: _,
        sending_bytes,
        total_received: _,
        total_sent: _,
        total_commands: _,
        soft_limit_since: _,
        // Commands under way on other cores: their replies come to this one.
        in_flight,
        // Queued commands, and watches, whose end this core tells the keys' owners.
        multi,
        watching,
        // In this core's list of those that wait.
        blocked,
    } = client;
    let nothing_owed =
        !sending && *sending_bytes == 0 && output.open_slots() == 0 && output.pending_bytes() == 0;
    let nothing_begun = in_flight.is_idle() && multi.is_none() && watching.is_empty() && blocked.is_none();
    nothing_asked
        && nothing_owed
        && nothing_begun
        && !monitor
        && *reply_mode == ReplyMode::On
        && *client_closing == Closing::No
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::UnixMillis;
    use crate::client::{Blocked, WatchedKey};
    use crate::net::{Ring, RingOptions};
    use crate::resp::{ArgRange, Limits};
    use crate::transaction::Multi;
    use std::os::unix::net::UnixStream;

    /// One after the other: whatever a connection can be in the middle of keeps it.
    #[test]
    fn whatever_a_client_is_in_the_middle_of_keeps_it() {
        let mut ring = Ring::new(RingOptions::default()).expect("a ring");
        let (socket, _peer) = UnixStream::pair().expect("a pair");
        let stream = ring.attach(socket.into());
        let key = ClientKey { index: 0, generation: 0 };
        type Change = fn(&mut Connection, &mut Client);
        let reasons: &[(&str, Change)] = &[
            ("bytes", |connection, _| connection.query.append(b"PI")),
            ("a request", |connection, _| {
                let limits = Limits { bulk_bytes_max: 512 << 20, authenticated: true };
                let mut ranges: Vec<ArgRange> = Vec::new();
                let _ = connection.parser.parse(b"*2\r\n$3\r\nGET\r\n", &mut ranges, &limits);
            }),
            ("a send", |connection, _| connection.sending = true),
            ("sent bytes", |_, client| client.sending_bytes = 1),
            ("unread replies", |connection, _| connection.overfull = true),
            ("waiting requests", |connection, _| connection.crowded = true),
            ("its end", |connection, _| connection.ended = true),
            ("its closing", |connection, _| connection.closing = true),
            ("CLIENT KILL", |_, client| client.closing = Closing::Now),
            ("QUIT", |_, client| client.close_after_reply()),
            ("a reply", |_, client| client.output.writer().push(b'+')),
            ("a reply to come", |_, client| assert_eq!(client.output.open_slot(false), 0)),
            ("a held reply", |_, client| {
                client.output.writer().push(b'+');
                assert!(client.output.hold(1));
            }),
            ("a write", |_, client| client.in_flight.write_sent(1)),
            ("a transaction", |_, client| client.in_flight.barriers = 1),
            ("MULTI", |_, client| client.multi = Some(Multi::default())),
            ("WATCH", |_, client| {
                client.watching.add(1, WatchedKey { db: 0, key: b"k"[..].into() });
            }),
            ("CLIENT PAUSE", |_, client| client.blocked = Some(Blocked::Paused)),
            ("BLPOP", |_, client| client.blocked = Some(Blocked::OnKeys(1))),
            ("MONITOR", |_, client| client.monitor = true),
            ("CLIENT REPLY OFF", |_, client| client.reply_mode = ReplyMode::Off),
            ("CLIENT REPLY SKIP", |_, client| client.reply_mode = ReplyMode::SkipNext),
        ];
        for (reason, change) in reasons {
            let mut client = Client::new(1, UnixMillis(0));
            let mut connection = Connection::new(stream, key);
            assert!(is_at_rest(&connection, &client));
            change(&mut connection, &mut client);
            assert!(!is_at_rest(&connection, &client), "{reason} keeps it");
        }
    }
}
