//! With `appendfsync always`: what a core says waits until it is true for good.
//!
//! A reply may tell of anything that the shards had when it was made. So at the end of a turn with replies the core notes
//! how far each journal had come, of those whose cores it has heard from; the replies leave when all of that is released.
//! Turns go on meanwhile: whatever comes together during one sync is written with the next.
//!
//! Invariants
//!   K1  Tickets are passed in the order in which they were drawn.
//!   K2  A core stores its position before it publishes messages, so a position that is read after a message was received
//!       covers everything that the message tells.

use crate::client::ClientKey;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How far a core's journal has come; read by the others.
#[repr(align(128))]
#[derive(Debug, Default)]
pub struct Position(AtomicU64);

pub struct Acknowledge {
    own: usize,
    on: bool,
    positions: Arc<[Position]>,
    /// By core: the last record that is known to be released.
    released: Vec<u64>,
    /// By core: whether a message has come since the last ticket.
    heard: Vec<bool>,
    /// Since the last ticket a reply has come from another core that may acknowledge a write.
    heard_write: bool,
    /// By core: what earlier tickets wait for.
    seen: Vec<u64>,
    /// Numbers of tickets, with what they wait for.
    tickets: VecDeque<(u64, Box<[u64]>)>,
    next: u64,
    /// Clients with replies that wait, by ticket.
    clients: VecDeque<(u64, ClientKey)>,
}

impl Acknowledge {
    pub fn new(own: usize, positions: Arc<[Position]>) -> Self {
        let cores = positions.len();
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
    }

    /// A message of another core has come.
    #[inline]
    pub fn hear(&mut self, core: usize) {
        self.heard[core] = true;
    }

    /// A reply to a write has come from another core.
    #[inline]
    pub fn hear_write(&mut self) {
        self.heard_write = true;
    }

    pub fn released(&mut self, core: usize, sequence: u64) {
        self.released[core] = self.released[core].max(sequence);
    }

    /// Before messages are published: K2.
    #[inline]
    pub fn tell_position(&self, sequence: u64) {
        self.positions[self.own].0.store(sequence, Ordering::Release);
    }

    /// A ticket for what is to be said now, unless it may be said at once. While the file cannot be written, writes are
    /// refused (`failing`), and reads and refusals do not wait: they acknowledge nothing.
    pub fn draw(&mut self, own_sequence: u64, failing: bool) -> Option<u64> {
        let heard_write = std::mem::take(&mut self.heard_write);
        if !self.on || failing && !heard_write {
            return None;
        }
        self.seen[self.own] = own_sequence;
        for core in 0..self.heard.len() {
            if std::mem::take(&mut self.heard[core]) && core != self.own {
                self.seen[core] = self.positions[core].0.load(Ordering::Acquire);
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
        let positions: Arc<[Position]> = (0..count).map(|_| Position::default()).collect();
        (0..count).map(|own| Acknowledge::new(own, positions.clone())).collect()
    }

    #[test]
    fn replies_wait_for_what_they_may_have_seen_and_for_nothing_else() {
        let mut all = cores(3);
        assert_eq!(all[0].draw(5, false), None, "off");
        all[0].switch(true);
        all[1].tell_position(7);
        all[2].tell_position(9);
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
}
