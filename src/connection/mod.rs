//! One socket that speaks RESP: bytes in, requests to dispatch, replies out.
//!
//! The common case copies nothing: whole requests are parsed and run where the kernel has put them, in a
//! provided buffer. What is left over (half a request, or requests that have to wait for the replies of
//! earlier ones) moves to the connection's query buffer and goes on from there.
//!
//! Why a connection ends: the peer closes or resets (what it asked before is still run and answered), a
//! protocol error or QUIT (after the reply), CLIENT KILL, an idle timeout, a limit on its query or output
//! buffer, shutdown.
//!
//! Invariants
//!   C1  The query buffer holds exactly the bytes that were received and do not belong to a request that
//!       has run; they are processed before bytes that come later.
//!   C2  At most one send per connection is under way; replies written meanwhile leave with the next.

mod accept;
mod moving;
mod query_buffer;

pub use accept::{AcceptPolicy, describe, refusal};

use crate::client::{Blocked, Client, ClientKey, Closing, Source};
use crate::dispatch::{Dispatch, Flow};
use crate::net::{Ring, StreamId};
use crate::observability::{Level, quote};
use crate::resp::{ArgRange, Argv, ArgvBuf, Limits, Progress, ProtocolError, Reply, RequestParser};
use crate::session::{CoreState, Waiting};
use crate::shard::PREFETCH_MAX;
use query_buffer::QueryBuffer;

/// Requests parsed ahead, so that the memory they need is on its way before the first one runs.
const AHEAD: usize = PREFETCH_MAX;
/// A request of more arguments gives their places' memory back.
const KEEP_RANGES: usize = 16 * 1024;
/// Reply bytes that wait for a client which does not read; beyond that its further requests wait.
const UNREAD_REPLIES_MAX: usize = 64 << 20;
/// Request bytes that wait for replies of other shards; beyond that nothing more is read for the moment.
const STALLED_QUERY_MAX: usize = 1 << 20;
/// Request bytes that wait for the client itself, or for others. Clients exist that read the first reply only when
/// they have sent everything: stopping them too early would stop them for good.
const HELD_QUERY_MAX: usize = 64 << 20;
/// Send buffers kept for reuse, and the size beyond which one is given back to the allocator.
const SPARE_BUFFERS_MAX: usize = 256;
const SPARE_BUFFER_BYTES_MAX: usize = 64 * 1024;

struct Connection {
    stream: StreamId,
    client: ClientKey,
    query: QueryBuffer,
    parser: RequestParser,
    /// The arguments so far of the request that `parser` is inside of: nobody else's parsing may touch them.
    partial: Vec<ArgRange>,
    sending: bool,
    /// Too many replies wait to be read: no request starts.
    overfull: bool,
    /// Too many requests wait to start: no more is read.
    crowded: bool,
    /// The peer sends no more.
    ended: bool,
    /// `close` was called; the client has left the registry.
    closing: bool,
    /// The ring was asked to let it go, and where to.
    leaving: Option<usize>,
}

/// The connections of one core.
#[derive(Default)]
pub struct Connections {
    by_stream: Vec<Option<Box<Connection>>>,
    /// By the client's index.
    stream_of: Vec<Option<StreamId>>,
    spare: Vec<Vec<u8>>,
    ahead: Ahead,
    open: usize,
}

/// Requests that were parsed and have not run yet; kept for its allocations.
#[derive(Default)]
struct Ahead {
    requests: Vec<Parsed>,
    len: usize,
}

#[derive(Default)]
struct Parsed {
    start: usize,
    end: usize,
    ranges: Vec<ArgRange>,
    /// An inline request with escapes has its own bytes.
    rewritten: Option<Box<ArgvBuf>>,
    /// Of its key, if that lives here.
    hash: Option<u64>,
}

impl Parsed {
    fn argv<'a>(&'a self, bytes: &'a [u8]) -> Argv<'a> {
        match &self.rewritten {
            None => Argv::new(&bytes[self.start..self.end], &self.ranges),
            Some(argv) => argv.as_argv(),
        }
    }
}

impl Connections {
    /// Begins to serve a stream for a client that has just been registered.
    pub fn open(&mut self, stream: StreamId, client: ClientKey) {
        let connection = Connection::new(stream, client);
        put(&mut self.by_stream, stream.index(), Some(Box::new(connection)));
        put(&mut self.stream_of, client.index as usize, Some(stream));
        self.open += 1;
    }

    /// Connections that have not been closed completely.
    pub fn len(&self) -> usize {
        self.open
    }

    pub fn is_empty(&self) -> bool {
        self.open == 0
    }

    /// Bytes have arrived: runs what is complete.
    pub fn received(
        &mut self,
        core: &mut CoreState,
        dispatch: &mut Dispatch,
        ring: &mut Ring,
        stream: StreamId,
        data: &[u8],
    ) {
        let Some(connection) = self.by_stream.get_mut(stream.index()).and_then(Option::as_deref_mut) else {
            return;
        };
        if connection.closing {
            return;
        }
        core.counters.net_input_bytes += data.len() as u64;
        core.counters.reads_processed += 1;
        let now = core.now.unix;
        if let Some(client) = core.clients.get_mut(connection.client) {
            client.last_interaction = now;
            client.total_received += data.len() as u64;
        }
        if connection.query.is_empty() {
            let used = connection.process(core, dispatch, &mut self.ahead, data);
            connection.query.append(&data[used..]);
        } else {
            connection.query.append(data);
            connection.process_query(core, dispatch, &mut self.ahead);
        }
        connection.after_input(core, ring);
    }

    /// The replies that a client's further requests waited for have arrived.
    pub fn resume(
        &mut self,
        core: &mut CoreState,
        dispatch: &mut Dispatch,
        ring: &mut Ring,
        client: ClientKey,
    ) {
        let Some(connection) = self.find(client) else { return };
        let stream = connection.stream;
        let Some(connection) = self.by_stream[stream.index()].as_deref_mut() else { return };
        connection.process_query(core, dispatch, &mut self.ahead);
        connection.after_input(core, ring);
    }

    /// The peer sends no more, or the connection has failed.
    pub fn ended(&mut self, core: &mut CoreState, ring: &mut Ring, stream: StreamId, failed: bool) {
        let Some(connection) = self.by_stream.get_mut(stream.index()).and_then(Option::as_deref_mut) else {
            return;
        };
        connection.ended = true;
        let key = connection.client;
        if core.shared.log.shows(Level::Verbose) {
            let text = if failed { "Reading from client failed: " } else { "Client closed connection " };
            core.shared.log.verbose(format!("{text}{}", core.describe(key)));
        }
        // Who is held back by CLIENT PAUSE has not begun to be served: its requests go with it. Who waits for
        // keys waits no more.
        let held = core.clients.get(key).is_some_and(|client| client.blocked.is_some());
        if failed || held {
            close(connection, core, ring, &mut self.stream_of);
            return;
        }
        // What was asked before is still answered.
        let waits = !connection.query.is_empty();
        let Some(client) = core.clients.get_mut(key) else { return };
        let busy = !client.in_flight.is_idle()
            || client.output.open_slots() > 0
            || client.blocked.is_some()
            || connection.overfull;
        if !(waits && busy) {
            client.close_after_reply();
        }
        core.unsent.push(key);
    }

    /// All that was handed to the kernel has left.
    pub fn sent(&mut self, core: &mut CoreState, stream: StreamId, mut buffer: Vec<u8>) {
        if self.spare.len() < SPARE_BUFFERS_MAX && buffer.capacity() <= SPARE_BUFFER_BYTES_MAX {
            buffer.clear();
            self.spare.push(buffer);
        }
        let Some(connection) = self.by_stream.get_mut(stream.index()).and_then(Option::as_deref_mut) else {
            return;
        };
        connection.sending = false;
        let key = connection.client;
        let Some(client) = core.clients.get_mut(key) else { return };
        client.total_sent += client.sending_bytes as u64;
        client.last_interaction = core.now.unix;
        client.sending_bytes = 0;
        if connection.overfull && client.output_bytes() < UNREAD_REPLIES_MAX / 2 {
            connection.overfull = false;
            core.resumed.push(key);
        }
        // Also finishes a close that waited for this.
        if client.output.sendable_bytes() > 0 || client.closing != Closing::No || connection.ended {
            core.unsent.push(key);
        }
    }

    pub fn send_failed(&mut self, core: &mut CoreState, ring: &mut Ring, stream: StreamId) {
        let Some(connection) = self.by_stream.get_mut(stream.index()).and_then(Option::as_deref_mut) else {
            return;
        };
        connection.sending = false;
        close(connection, core, ring, &mut self.stream_of);
    }

    /// The ring has let go of the stream.
    pub fn closed(&mut self, stream: StreamId) {
        if let Some(place) = self.by_stream.get_mut(stream.index())
            && place.take().is_some()
        {
            self.open -= 1;
        }
    }

    /// Ends the turn: replies leave, limits are applied, clients that have to go are closed.
    pub fn end_turn(&mut self, core: &mut CoreState, ring: &mut Ring) {
        let mut unsent = std::mem::take(&mut core.unsent);
        let mut of_shard = std::mem::take(&mut core.unsent_of_shard);
        let own = core.shard.effects.journal.last_sequence();
        if !(unsent.is_empty() && of_shard.is_empty())
            && core.acknowledge.look(own, core.settings.append_error != 0)
        {
            for key in &unsent {
                if let Some(client) = core.clients.get_mut(*key) {
                    client.output.tells_of_anything();
                }
            }
            unsent.iter().chain(&of_shard).for_each(|key| hold(core, *key));
        }
        for key in unsent.drain(..).chain(of_shard.drain(..)) {
            self.send(core, ring, key);
        }
        (core.unsent, core.unsent_of_shard) = (unsent, of_shard);
        self.send_released(core, ring);
        while let Some(key) = core.doomed.pop() {
            self.close_client(core, ring, key);
        }
    }

    /// What had to wait until it is true for good.
    fn send_released(&mut self, core: &mut CoreState, ring: &mut Ring) {
        while let Some(Waiting { number, client: key }) = core.acknowledge.next_released() {
            if let Some(client) = core.clients.get_mut(key) {
                client.output.let_go(number);
                self.send(core, ring, key);
            }
        }
    }

    #[inline]
    fn send(&mut self, core: &mut CoreState, ring: &mut Ring, key: ClientKey) {
        let Some(client) = core.clients.get_mut(key) else { return };
        let Some(stream) = self.stream_of.get(key.index as usize).copied().flatten() else { return };
        let Some(connection) = self.by_stream[stream.index()].as_deref_mut() else { return };
        // Before anything leaves: of a client over its limit not even the first replies are sent.
        let pending = client.output_bytes();
        if core.settings.output_limit_reached(client, pending, core.now.unix) {
            // Once: a client that is on its way out already is not told of again.
            if client.closing != Closing::Now {
                client.closing = Closing::Now;
                core.counters.client_output_buffer_limit_disconnections += 1;
                core.log_output_limit(key);
            }
            core.doomed.push(key);
            return;
        }
        if client.output.sendable_bytes() > 0 && !connection.sending {
            let spare = self.spare.pop().unwrap_or_default();
            let buffer = client.output.take_ready(spare);
            client.sending_bytes = buffer.len();
            core.counters.net_output_bytes += buffer.len() as u64;
            core.counters.writes_processed += 1;
            connection.sending = true;
            ring.send_quietly(stream, buffer);
        }
        let idle = client.output.open_slots() == 0 && client.output.ready_bytes() == 0;
        // It ended while its command was on the way to block.
        let waits = matches!(client.blocked, Some(Blocked::OnKeys(_)));
        let done = match client.closing {
            Closing::No => {
                connection.ended && (waits || idle && client.in_flight.is_idle() && client.blocked.is_none())
            }
            Closing::AfterReply => (idle || waits) && !connection.sending,
            Closing::Now => true,
        };
        if done && !connection.sending {
            core.doomed.push(key);
        }
    }

    /// Closes a client, whatever it is doing.
    pub fn close_client(&mut self, core: &mut CoreState, ring: &mut Ring, key: ClientKey) {
        let Some(stream) = self.find(key).map(|connection| connection.stream) else { return };
        let Some(connection) = self.by_stream[stream.index()].as_deref_mut() else { return };
        close(connection, core, ring, &mut self.stream_of);
    }

    fn find(&self, key: ClientKey) -> Option<&Connection> {
        let stream = self.stream_of.get(key.index as usize).copied().flatten()?;
        let connection = self.by_stream[stream.index()].as_deref()?;
        (connection.client == key).then_some(connection)
    }
}

/// A client's replies of this turn wait until what they tell of is true for good.
fn hold(core: &mut CoreState, key: ClientKey) {
    let Some(client) = core.clients.get_mut(key) else { return };
    if !client.output.has_news() {
        return;
    }
    let number = match client.output.take_source() {
        Source::Shard(shard) if !client.output.is_held() => core.acknowledge.wait_for_shard(shard, key),
        _ => Some(core.acknowledge.wait_for_all(key)),
    };
    if let Some(number) = number {
        client.output.hold(number);
    }
}

impl Connection {
    fn new(stream: StreamId, client: ClientKey) -> Self {
        Self {
            stream,
            client,
            query: QueryBuffer::default(),
            parser: RequestParser::default(),
            partial: Vec::new(),
            sending: false,
            overfull: false,
            crowded: false,
            ended: false,
            closing: false,
            leaving: None,
        }
    }

    fn process_query(&mut self, core: &mut CoreState, dispatch: &mut Dispatch, ahead: &mut Ahead) {
        // Out of `self` for as long as requests borrow from it.
        let mut query = std::mem::take(&mut self.query);
        let used = self.process(core, dispatch, ahead, query.bytes());
        query.consume(used);
        query.expect(self.query.expected());
        self.query = query;
    }

    /// Runs the complete requests at the beginning of `bytes`; returns how many bytes they were.
    fn process(
        &mut self,
        core: &mut CoreState,
        dispatch: &mut Dispatch,
        ahead: &mut Ahead,
        bytes: &[u8],
    ) -> usize {
        let hard_limit = core.settings.output_hard_limit;
        let mut at = 0;
        while at < bytes.len() {
            let Some(client) = core.clients.get_mut(self.client) else { return bytes.len() };
            // For CLIENT LIST: as in Redis, with the requests that run now.
            client.query_bytes = bytes.len();
            if !may_go_on(client, hard_limit) || self.overfull {
                // Bytes after QUIT or a protocol error are nobody's.
                return if client.closing == Closing::No { at } else { bytes.len() };
            }
            let limits = Limits {
                bulk_bytes_max: core.settings.proto_max_bulk_len,
                authenticated: client.authenticated || !core.settings.password_required,
            };
            let db = client.db;
            // Clients that pipeline do the same again and again.
            let member = client.last_command.and_then(|id| core.table.by_id(id).names_member);
            ahead.len = 0;
            let mut end = at;
            let mut failure = None;
            // An unauthenticated client's limits change with its next request: one at a time.
            let count = if limits.authenticated { AHEAD } else { 1 };
            while ahead.len < count && end < bytes.len() {
                let parsed = ahead.next();
                if !self.parser.is_idle() {
                    parsed.ranges = std::mem::take(&mut self.partial);
                }
                match self.parser.parse(&bytes[end..], &mut parsed.ranges, &limits) {
                    Ok(Progress::Complete { consumed }) => {
                        (parsed.start, parsed.end) = (end, end + consumed);
                        parsed.rewritten = None;
                        end += consumed;
                        ahead.len += 1;
                    }
                    Ok(Progress::Rewritten { consumed, argv }) => {
                        (parsed.start, parsed.end) = (end, end + consumed);
                        parsed.rewritten = Some(argv);
                        end += consumed;
                        ahead.len += 1;
                    }
                    Ok(Progress::Empty { consumed }) => end += consumed,
                    Ok(Progress::Incomplete { needed }) => {
                        // Other connections' requests are read into `ahead` before this one's rest comes.
                        self.partial = std::mem::take(&mut parsed.ranges);
                        self.query.expect(needed.unwrap_or(0));
                        break;
                    }
                    Err(error) => {
                        failure = Some(error);
                        break;
                    }
                }
            }
            let waits_for_more = ahead.len < count && failure.is_none();
            if ahead.len > 1 {
                let requests = &mut ahead.requests[..ahead.len];
                for request in requests.iter_mut() {
                    request.hash = dispatch.prefetch(core, db, request.argv(bytes));
                }
                for hash in requests.iter().filter_map(|request| request.hash) {
                    core.shard.prefetch_entry(db, hash);
                }
                if let Some(place) = member {
                    let named = requests.iter().filter_map(|request| {
                        let argv = request.argv(bytes);
                        Some((request.hash?, argv.get(1)?, argv.get(usize::from(place))?))
                    });
                    core.shard.prefetch_members(db, named);
                }
            }
            for index in 0..ahead.len {
                let request = &ahead.requests[index];
                let argv = request.argv(bytes);
                if index > 0
                    && !core.clients.get(self.client).is_some_and(|client| may_go_on(client, hard_limit))
                    || dispatch.request(core, self.client, argv) == Flow::Stall
                {
                    // It is offered again from its first byte.
                    self.parser = RequestParser::default();
                    let gone =
                        core.clients.get(self.client).is_none_or(|client| client.closing != Closing::No);
                    return if gone { bytes.len() } else { request.start };
                }
            }
            at = end;
            if let Some(error) = failure {
                self.protocol_error(core, &error, &bytes[end..]);
                return bytes.len();
            }
            if waits_for_more {
                break;
            }
        }
        at
    }

    /// `rest` begins with the request that is wrong.
    fn protocol_error(&mut self, core: &mut CoreState, error: &ProtocolError, rest: &[u8]) {
        let text = error.text();
        if core.shared.log.shows(Level::Verbose) {
            let client = core.describe(self.client);
            core.shared.log.verbose(wrong_request(&String::from_utf8_lossy(&text), &client, rest));
        }
        let Some(client) = core.clients.get_mut(self.client) else { return };
        core.command_stats.error(&text);
        core.counters.errors_replied += 1;
        Reply::new(client.output.writer(), client.protocol).error(&text);
        client.close_after_reply();
        core.unsent.push(self.client);
    }

    fn after_input(&mut self, core: &mut CoreState, ring: &mut Ring) {
        let Some(client) = core.clients.get_mut(self.client) else { return };
        client.query_bytes = self.query.len();
        client.query_room = self.query.room();
        if self.query.len() > core.settings.query_buffer_max {
            core.counters.client_query_buffer_limit_disconnections += 1;
            client.closing = Closing::Now;
            let begin = &self.query.bytes()[..self.query.len().min(64)];
            let mut quoted = Vec::new();
            quote(begin, &mut quoted);
            core.shared.log.warning(format!(
                "Closing client that reached max query buffer length: {} (qbuf initial bytes: {})",
                core.describe(self.client),
                String::from_utf8_lossy(&quoted),
            ));
            core.doomed.push(self.client);
            return;
        }
        self.overfull |= client.output_bytes() > UNREAD_REPLIES_MAX;
        let waits = self.overfull || !client.may_start();
        let held = self.overfull || client.blocked.is_some();
        let most = if held { HELD_QUERY_MAX } else { STALLED_QUERY_MAX };
        // What has to wait on our account must not meet the limit for requests without end.
        let crowded = waits && self.query.len() > most.min(core.settings.query_buffer_max / 2);
        let changed = std::mem::replace(&mut self.crowded, crowded) != crowded;
        // The socket's buffer fills, and that tells the client.
        match crowded {
            _ if !changed || self.ended => {}
            true => ring.pause_receiving(self.stream),
            false => ring.resume_receiving(self.stream),
        }
        if self.ended {
            core.unsent.push(self.client);
        }
    }
}

/// Whether the next request of a client may begin. One received buffer can ask for gigabytes of replies.
/// A client over its hard limit is closed at the end of the turn.
fn may_go_on(client: &Client, hard_limit: usize) -> bool {
    client.may_start() && client.output_bytes() <= UNREAD_REPLIES_MAX.min(hard_limit)
}

/// The log's line about a protocol error: who, and a sample of what was sent.
fn wrong_request(error: &str, client: &str, rest: &[u8]) -> String {
    const SHOWN: usize = 128;
    let printable = |bytes: &[u8]| -> String {
        let shown = |byte: &u8| if matches!(byte, b' '..=b'~') { char::from(*byte) } else { '.' };
        bytes.iter().map(shown).collect()
    };
    let error = error.strip_prefix("ERR Protocol error: ").unwrap_or(error);
    let sample = if rest.len() < SHOWN {
        format!("'{}'", printable(rest))
    } else {
        let (begin, end) = (&rest[..SHOWN / 2], &rest[rest.len() - SHOWN / 2..]);
        let more = rest.len() - SHOWN;
        format!("'{}' (... more {more} bytes ...) '{}'", printable(begin), printable(end))
    };
    format!("Protocol error ({error}) from client: {client}. Query buffer during protocol error: {sample}")
}

impl Ahead {
    fn next(&mut self) -> &mut Parsed {
        if self.len == self.requests.len() {
            self.requests.push(Parsed::default());
        }
        let next = &mut self.requests[self.len];
        if next.ranges.capacity() > KEEP_RANGES {
            next.ranges = Vec::new();
        }
        next
    }
}

fn close(
    connection: &mut Connection,
    core: &mut CoreState,
    ring: &mut Ring,
    stream_of: &mut [Option<StreamId>],
) {
    if connection.closing {
        return;
    }
    connection.closing = true;
    stream_of[connection.client.index as usize] = None;
    core.client_left(connection.client);
    ring.close(connection.stream);
}

fn put<T>(places: &mut Vec<Option<T>>, index: usize, value: Option<T>) {
    if index >= places.len() {
        places.resize_with(index + 1, || None);
    }
    places[index] = value;
}
