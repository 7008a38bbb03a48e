//! With `appendfsync always`: what a core says waits until it is true for good.
//!
//! A reply may tell of anything that the shards had when it was made. So at the end of a turn with replies the core notes
//! how far each journal had come, of those whose cores it has heard from or whose shards it has borrowed; the replies leave
//! when all of that is released. Turns go on meanwhile: whatever comes together during one sync is written with the next.
//!
//! Who releases tells those who wait for it, and nobody else: on a machine of many cores most have nothing to do with
//! most syncs. A core says what it awaits and then looks what is released; who releases says so and then looks who
//! awaits it. At least one of the two sees the other.
//!
//! Invariants
//!   K1  Tickets are passed in the order in which they were drawn.
//!   K2  A core stores the position of a shard before it publishes messages, or lets go of the shard; so a position that is
//!       read after a message was received, or by a borrower, covers everything that it has seen.
//!   K3  Whatever a core waits for, it has said so before it looked whether that is released.

use crate::client::ClientKey;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How far the journals have come, and who waits for what; shared by all cores.
pub struct Positions {
    shards: Box<[Position]>,
    /// By core and shard: the last record that the core waits for.
    awaited: Box<[Box<[AtomicU64]>]>,
}

/// Written by whoever holds the shard.
#[repr(align(128))]
#[derive(Debug, Default)]
struct Position {
    journalled: AtomicU64,
    released: AtomicU64,
}

impl Positions {
    pub fn new(cores: usize) -> Self {
        let none = || (0..cores).map(|_| AtomicU64::new(0)).collect();
        Self {
            shards: (0..cores).map(|_| Position::default()).collect(),
            awaited: (0..cores).map(|_| none()).collect(),
        }
    }

    /// The file is off: the journal of this shard begins anew when it is on again.
    pub fn forget(&self, shard: usize) {
        self.shards[shard].released.store(0, Ordering::SeqCst);
    }
}

pub struct Acknowledge {
    own: usize,
    on: bool,
    positions: Arc<Positions>,
    /// By shard: the last record that is known to be released.
    released: Vec<u64>,
    /// By shard: whether a message of its core has come, or it was borrowed, since the last ticket.
    heard: Vec<bool>,
    /// Since the last ticket a reply has come from another core that may acknowledge a write.
    heard_write: bool,
    /// By shard: what earlier tickets wait for.
    seen: Vec<u64>,
    /// Numbers of tickets, with what they wait for.
    tickets: VecDeque<(u64, Box<[u64]>)>,
    next: u64,
    /// Clients with replies that wait, by ticket.
    clients: VecDeque<(u64, ClientKey)>,
}

impl Acknowledge {
    pub fn new(own: usize, positions: Arc<Positions>) -> Self {
        let cores = positions.shards.len();
        Self {
            own,
            on: false,
            positions,
            released: vec![0; cores],
            heard: vec![false; cores],
            heard_write: false,
            seen: vec![0; cores],
            tickets: VecDeque::new(),
            next: 1,
            clients: VecDeque::new(),
        }
    }

    /// Whether replies wait.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.on
    }

    /// From here on replies wait, or do not; what waits is then let go.
    pub fn switch(&mut self, on: bool) {
        self.on = on;
        if !on {
            self.tickets.clear();
        }
    }

    /// The journals begin anew.
    pub fn restart(&mut self) {
        self.tickets.clear();
        self.released.fill(0);
        self.seen.fill(0);
        self.positions.awaited[self.own].iter().for_each(|awaited| awaited.store(0, Ordering::SeqCst));
    }

    /// A message of another core has come, or its shard was borrowed.
    #[inline]
    pub fn hear(&mut self, core: usize) {
        self.heard[core] = true;
    }

    /// A reply to a write has come from another core.
    #[inline]
    pub fn hear_write(&mut self) {
        self.heard_write = true;
    }

    /// Another core tells that a shard's records up to this one are released.
    pub fn released(&mut self, shard: usize, sequence: u64) {
        self.released[shard] = self.released[shard].max(sequence);
    }

    /// The records of a shard behind `before` and up to `sequence` may be acknowledged: the other cores that wait for
    /// some of them, and have to be told.
    pub fn release(&mut self, shard: usize, before: u64, sequence: u64) -> impl Iterator<Item = usize> {
        self.released(shard, sequence);
        // The news of two who held the shard one after the other may come here in either order.
        self.positions.shards[shard].released.fetch_max(sequence, Ordering::SeqCst);
        let (positions, own) = (self.positions.clone(), self.own);
        (0..self.heard.len()).filter(move |core| {
            *core != own && positions.awaited[*core][shard].load(Ordering::SeqCst) > before
        })
    }

    /// How far a shard's journal has come: K2.
    #[inline]
    pub fn tell_position(&self, shard: usize, sequence: u64) {
        self.positions.shards[shard].journalled.store(sequence, Ordering::Release);
    }

    /// A ticket for what is to be said now, unless it may be said at once. While the file cannot be written, writes are
    /// refused (`failing`), and reads and refusals do not wait: they acknowledge nothing.
    pub fn draw(&mut self, own_sequence: u64, failing: bool) -> Option<u64> {
        let heard_write = std::mem::take(&mut self.heard_write);
        if !self.on || failing && !heard_write {
            return None;
        }
        self.await_record(self.own, own_sequence);
        for shard in 0..self.heard.len() {
            if std::mem::take(&mut self.heard[shard]) && shard != self.own {
                let sequence = self.positions.shards[shard].journalled.load(Ordering::Acquire);
                self.await_record(shard, sequence);
            }
        }
        if self.tickets.is_empty() && self.is_released(&self.seen) {
            return None;
        }
        let number = self.next;
        self.next += 1;
        self.tickets.push_back((number, self.seen.clone().into()));
        Some(number)
    }

    /// What is said from now on waits for this: K3.
    #[inline]
    fn await_record(&mut self, shard: usize, sequence: u64) {
        if self.seen[shard] == sequence {
            return;
        }
        self.seen[shard] = sequence;
        self.positions.awaited[self.own][shard].store(sequence, Ordering::SeqCst);
        self.released(shard, self.positions.shards[shard].released.load(Ordering::SeqCst));
    }

    fn is_released(&self, wanted: &[u64]) -> bool {
        wanted.iter().zip(&self.released).all(|(wanted, released)| wanted <= released)
    }

    /// This client's replies wait for this ticket.
    pub fn wait(&mut self, ticket: u64, client: ClientKey) {
        self.clients.push_back((ticket, client));
    }

    /// Up to which ticket everything may be said.
    pub fn passed(&mut self) -> u64 {
        while let Some((_, wanted)) = self.tickets.front()
            && self.is_released(wanted)
        {
            self.tickets.pop_front();
        }
        self.tickets.front().map_or(self.next, |(number, _)| *number) - 1
    }

    /// The next client whose replies need not wait any more.
    pub fn next_client(&mut self, passed: u64) -> Option<ClientKey> {
        let (ticket, client) = *self.clients.front()?;
        (ticket <= passed).then(|| {
            self.clients.pop_front();
            client
        })
    }

    /// Whether anything waits.
    pub fn is_idle(&self) -> bool {
        self.tickets.is_empty() && self.clients.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cores(count: usize) -> Vec<Acknowledge> {
        let positions = Arc::new(Positions::new(count));
        (0..count).map(|own| Acknowledge::new(own, positions.clone())).collect()
    }

    #[test]
    fn replies_wait_for_what_they_may_have_seen_and_for_nothing_else() {
        let mut all = cores(3);
        assert_eq!(all[0].draw(5, false), None, "off");
        all[0].switch(true);
        all[1].tell_position(1, 7);
        all[2].tell_position(2, 9);
        assert_eq!(all[0].draw(0, false), None, "nothing was written");
        let first = all[0].draw(1, false).expect("it waits for the own record");
        all[0].hear(1);
        let second = all[0].draw(1, false).expect("and for the other core's");
        assert_eq!(all[0].passed(), first - 1);
        all[0].released(0, 1);
        assert_eq!(all[0].passed(), first);
        all[0].released(1, 7);
        assert_eq!(all[0].passed(), second);
        assert_eq!(all[0].draw(1, false), None);
    }

    #[test]
    fn while_writes_are_refused_only_their_acknowledgements_wait() {
        let mut core = cores(1).pop().expect("one");
        core.switch(true);
        assert_eq!(core.draw(1, true), None);
        core.hear_write();
        assert!(core.draw(1, true).is_some());
        assert!(core.draw(1, false).is_some());
    }

    #[test]
    fn k1_clients_go_in_the_order_of_their_tickets() {
        let mut core = cores(1).pop().expect("one");
        core.switch(true);
        let keys = [1, 2].map(|index| ClientKey { index, generation: 0 });
        for (sequence, key) in (1..).zip(keys) {
            let ticket = core.draw(sequence, false).expect("it waits");
            core.wait(ticket, key);
        }
        let passed = core.passed();
        assert_eq!(core.next_client(passed), None);
        core.released(0, 1);
        let passed = core.passed();
        assert_eq!((core.next_client(passed), core.next_client(passed)), (Some(keys[0]), None));
        core.switch(false);
        let passed = core.passed();
        assert_eq!(core.next_client(passed), Some(keys[1]));
        assert!(core.is_idle());
    }

    #[test]
    fn k3_who_releases_tells_those_who_wait_and_nobody_else() {
        let mut all = cores(3);
        all.iter_mut().for_each(|core| core.switch(true));
        // Core 0 has borrowed the shard of core 2, and waits for its fifth record.
        all[0].tell_position(2, 5);
        all[0].hear(2);
        let ticket = all[0].draw(0, false).expect("the record is not released");
        assert_eq!(all[2].release(2, 0, 4).collect::<Vec<_>>(), [0], "an earlier ticket may wait for less");
        assert_eq!(all[1].release(2, 4, 5).collect::<Vec<_>>(), [0], "whoever has held the shard may tell");
        assert_eq!(all[2].release(2, 5, 6).collect::<Vec<_>>(), [0usize; 0]);
        assert_eq!(all[0].passed(), ticket - 1, "nobody has told it");
        all[0].released(2, 5);
        assert_eq!(all[0].passed(), ticket);
        // What was released before it was awaited is found without being told.
        all[1].hear(2);
        assert_eq!(all[1].draw(0, false), None);
        all[2].tell_position(2, 7);
        all[1].hear(2);
        let ticket = all[1].draw(0, false).expect("the seventh is new");
        assert_eq!(all[0].release(2, 6, 7).collect::<Vec<_>>(), [1]);
        all[1].released(2, 7);
        assert_eq!(all[1].passed(), ticket);
    }

    #[test]
    fn a_borrower_can_release_what_the_owner_waits_for() {
        let mut all = cores(2);
        all[1].switch(true);
        let ticket = all[1].draw(3, false).expect("it waits for the own record");
        assert_eq!(all[0].release(1, 0, 3).collect::<Vec<_>>(), [1]);
        all[1].released(1, 3);
        assert_eq!(all[1].passed(), ticket);
    }
}
