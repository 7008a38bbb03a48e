//! A client's replies on their way out, in the order of its requests.
//!
//! Most replies are written straight to the end of `ready`. A command that runs on another core opens a
//! *slot*: its reply comes later, and the replies of the commands behind it wait in that slot's `after`.
//!
//! Invariants
//!   O1  Bytes leave in request order: `ready`, then slot by slot its reply and its `after`.
//!   O2  The first slot, if there is one, is still waiting; a completed first slot is moved to `ready`.
//!   O3  `held` counts the slots' bytes but for the `after` of the last one, which may still grow.

use std::collections::VecDeque;

#[derive(Debug, Default)]
pub struct Output {
    ready: Vec<u8>,
    slots: VecDeque<Slot>,
    /// The number of `slots[0]`.
    first: u64,
    /// Bytes in slots (O3).
    held: usize,
    /// Bytes of `ready` that have to wait, by the ticket that lets them go: where they end. Empty unless replies wait until
    /// they are true for good.
    waiting: VecDeque<(u64, usize)>,
    /// With `waiting`: bytes of `ready` before the first of them.
    free: usize,
    source: Source,
}

/// Whose data the replies tell of that have not been held or sent.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Source {
    #[default]
    Nothing,
    Shard(usize),
    Anything,
}

#[derive(Debug, Default)]
struct Slot {
    reply: Option<Vec<u8>>,
    after: Vec<u8>,
    /// Under CLIENT REPLY OFF or SKIP: its reply is thrown away.
    muted: bool,
}

impl Output {
    /// Where the next reply in request order has to be written.
    #[inline]
    pub fn writer(&mut self) -> &mut Vec<u8> {
        match self.slots.back_mut() {
            None => &mut self.ready,
            Some(slot) => &mut slot.after,
        }
    }

    /// Whether replies written now leave at once.
    pub fn is_in_order(&self) -> bool {
        self.slots.is_empty()
    }

    /// Promises a reply; [`complete`](Self::complete) keeps the promise.
    pub fn open_slot(&mut self, muted: bool) -> u64 {
        self.held += self.last_after();
        self.slots.push_back(Slot { muted, ..Slot::default() });
        self.first + self.slots.len() as u64 - 1
    }

    /// Delivers the reply of a slot. Returns whether `ready` has grown.
    ///
    /// # Panics
    /// If the slot is not open: a reply was delivered twice.
    pub fn complete(&mut self, number: u64, reply: &[u8]) -> bool {
        let index = number.checked_sub(self.first).expect("a slot is completed once") as usize;
        let slot = &mut self.slots[index];
        assert!(slot.reply.is_none(), "a slot is completed once");
        let reply = if slot.muted { &[] } else { reply };
        if index > 0 {
            self.held += reply.len();
            slot.reply = Some(reply.to_vec());
            return false;
        }
        let before = self.ready.len();
        self.ready.extend_from_slice(reply);
        slot.reply = Some(Vec::new());
        while let Some(slot) = self.slots.front_mut() {
            let Some(reply) = slot.reply.take() else { break };
            self.held -= reply.len();
            self.ready.extend_from_slice(&reply);
            self.ready.extend_from_slice(&slot.after);
            let after = slot.after.len();
            self.slots.pop_front();
            self.first += 1;
            self.held -= if self.slots.is_empty() { 0 } else { after };
        }
        self.ready.len() > before
    }

    /// A reply has been written, or a slot been completed, that tells of this shard alone.
    #[inline]
    pub fn tells_of(&mut self, shard: usize) {
        self.source = match self.source {
            Source::Nothing => Source::Shard(shard),
            Source::Shard(other) if other == shard => Source::Shard(shard),
            _ => Source::Anything,
        };
    }

    /// The same, and it may tell of anything.
    pub fn tells_of_anything(&mut self) {
        self.source = Source::Anything;
    }

    /// What is ready and not held tells of this. Replies in slots may be ready later, and tell of more.
    pub fn take_source(&mut self) -> Source {
        if !self.slots.is_empty() {
            self.source = Source::Anything;
            return Source::Anything;
        }
        std::mem::take(&mut self.source)
    }

    /// Whether something has become ready since the last time something was held.
    pub fn has_news(&self) -> bool {
        self.ready.len() > self.waiting.back().map_or(0, |(_, end)| *end)
    }

    /// Whether anything is held.
    pub fn is_held(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Bytes in order, whether they have to wait or not.
    pub fn ready_bytes(&self) -> usize {
        self.ready.len()
    }

    /// Bytes that can be sent now.
    #[inline]
    pub fn sendable_bytes(&self) -> usize {
        if self.waiting.is_empty() { self.ready.len() } else { self.free }
    }

    /// What has become ready since the last time waits for this ticket; whether there is anything.
    pub fn hold(&mut self, ticket: u64) -> bool {
        if !self.has_news() {
            return false;
        }
        if self.waiting.is_empty() {
            self.free = 0;
        }
        self.waiting.push_back((ticket, self.ready.len()));
        true
    }

    /// Lets go what waits for tickets up to this one.
    pub fn let_go(&mut self, ticket: u64) {
        while let Some((number, end)) = self.waiting.front()
            && *number <= ticket
        {
            self.free = *end;
            self.waiting.pop_front();
        }
    }

    /// Takes what can be sent; `spare` is an empty buffer to go on with.
    pub fn take_ready(&mut self, spare: Vec<u8>) -> Vec<u8> {
        debug_assert!(spare.is_empty());
        let mut taken = std::mem::replace(&mut self.ready, spare);
        if !self.waiting.is_empty() {
            self.ready.extend_from_slice(&taken[self.free..]);
            taken.truncate(self.free);
            self.waiting.iter_mut().for_each(|(_, end)| *end -= taken.len());
            self.free = 0;
        }
        taken
    }

    /// Bytes that wait, sendable or not.
    pub fn pending_bytes(&self) -> usize {
        self.ready.len() + self.held + self.last_after()
    }

    fn last_after(&self) -> usize {
        self.slots.back().map_or(0, |slot| slot.after.len())
    }

    /// Bytes allocated for what can be sent.
    pub fn room(&self) -> usize {
        self.ready.capacity()
    }

    pub fn open_slots(&self) -> usize {
        self.slots.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every byte that waits, one by one.
    fn counted(output: &Output) -> usize {
        let slot = |slot: &Slot| slot.after.len() + slot.reply.as_ref().map_or(0, Vec::len);
        output.ready.len() + output.slots.iter().map(slot).sum::<usize>()
    }

    #[test]
    fn replies_leave_in_the_order_of_the_requests_in_whatever_order_they_come() {
        // Requests: a (here), b (away), c (here), d (away), e (here), f (away).
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut output = Output::default();
            output.writer().extend_from_slice(b"a");
            let b = output.open_slot(false);
            output.writer().extend_from_slice(b"c");
            let d = output.open_slot(false);
            output.writer().extend_from_slice(b"e");
            let f = output.open_slot(false);
            let away = [(b, b"b"), (d, b"d"), (f, b"f")];
            for index in order {
                let (slot, reply) = away[index];
                assert_eq!(output.pending_bytes(), counted(&output), "O3");
                output.complete(slot, reply);
            }
            assert!(output.is_in_order());
            assert_eq!(output.pending_bytes(), 6);
            assert_eq!(output.take_ready(Vec::new()), b"abcdef", "O1, order {order:?}");
        }
    }

    #[test]
    fn what_waits_leaves_with_its_ticket() {
        let mut output = Output::default();
        output.writer().extend_from_slice(b"a");
        assert!(output.hold(1) && !output.hold(2));
        output.writer().extend_from_slice(b"b");
        assert!(output.hold(3));
        assert_eq!(output.sendable_bytes(), 0);
        output.let_go(2);
        assert_eq!(output.sendable_bytes(), 1);
        output.writer().extend_from_slice(b"c");
        assert_eq!(output.take_ready(Vec::new()), b"a");
        assert_eq!((output.sendable_bytes(), output.ready_bytes()), (0, 2));
        assert!(output.hold(4));
        output.let_go(3);
        assert_eq!(output.take_ready(Vec::new()), b"b");
        output.let_go(4);
        assert_eq!(output.take_ready(Vec::new()), b"c");
        output.writer().extend_from_slice(b"d");
        assert_eq!(output.take_ready(Vec::new()), b"d");
    }

    #[test]
    fn a_muted_slot_says_nothing_but_keeps_its_place() {
        let mut output = Output::default();
        let muted = output.open_slot(true);
        output.writer().extend_from_slice(b"x");
        assert!(output.complete(muted, b"unheard"));
        assert_eq!(output.take_ready(Vec::new()), b"x");
    }

    #[test]
    fn what_has_been_in_a_slot_may_tell_of_anything() {
        let mut output = Output::default();
        assert_eq!(output.take_source(), Source::Nothing);
        output.tells_of(1);
        output.tells_of(1);
        assert_eq!(output.take_source(), Source::Shard(1));
        output.tells_of(1);
        output.tells_of(2);
        assert_eq!(output.take_source(), Source::Anything);
        // The second reply comes first, and is ready only with the first.
        let (first, second) = (output.open_slot(false), output.open_slot(false));
        output.tells_of(1);
        assert!(!output.complete(second, b"b"));
        assert_eq!(output.take_source(), Source::Anything);
        output.tells_of(2);
        assert!(output.complete(first, b"a"));
        assert_eq!(output.take_source(), Source::Anything);
        assert_eq!(output.take_source(), Source::Nothing);
    }
}
