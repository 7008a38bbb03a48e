//! With `appendfsync always`: what a core says waits until it is true for good.
//!
//! A reply may tell of anything that the shards had when it was made. So at the end of a turn with replies the core notes
//! how far each journal had come, of those whose cores it has heard from or whose shards it has borrowed. Replies that tell
//! of one shard alone, which most do, leave when that is released; others draw a ticket, and leave when all of it is. Turns
//! go on meanwhile: whatever comes together during one sync is written with the next.
//!
//! Who releases tells those who wait for it, and nobody else: on a machine of many cores most have nothing to do with
//! most syncs. A core says what it awaits and then looks what is released; who releases says so and then looks who
//! awaits it. At least one of the two sees the other.
//!
//! Invariants
//!   K1  Tickets are passed in the order in which they were drawn, and those who wait for one shard alone in theirs.
//!   K2  A core stores the position of a shard before it publishes messages, or lets go of the shard; so a position that is
//!       read after a message was received, or by a borrower, covers everything that it has seen.
//!   K3  Whatever a core waits for, it has said so before it looked whether that is released.
//!   K4  A client whose replies wait already waits for everything with the next: its replies keep their order.

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
    /// The last one is of this turn.
    drawn: bool,
    next: u64,
    /// Clients with replies that wait, by ticket.
    clients: VecDeque<Waiting>,
    /// By shard: those who wait for that alone, by the record.
    of_shard: Vec<VecDeque<(u64, Waiting)>>,
    of_shards: usize,
}

/// A client's replies, and the number by which they are let go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Waiting {
    pub number: u64,
    pub client: ClientKey,
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
            drawn: false,
            next: 1,
            clients: VecDeque::new(),
            of_shard: vec![VecDeque::new(); cores],
            of_shards: 0,
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
            self.let_all_go();
        }
    }

    fn let_all_go(&mut self) {
        self.tickets.clear();
        self.of_shard.iter_mut().flatten().for_each(|(sequence, _)| *sequence = 0);
    }

    /// The journals begin anew.
    pub fn restart(&mut self) {
        self.let_all_go();
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

    /// At the end of a turn with replies: whether any of them has to wait. While the file cannot be written, writes are
    /// refused (`failing`), and reads and refusals do not wait: they acknowledge nothing.
    pub fn look(&mut self, own_sequence: u64, failing: bool) -> bool {
        let heard_write = std::mem::take(&mut self.heard_write);
        if !self.on || failing && !heard_write {
            return false;
        }
        self.drawn = false;
        self.await_record(self.own, own_sequence);
        for shard in 0..self.heard.len() {
            if std::mem::take(&mut self.heard[shard]) && shard != self.own {
                let sequence = self.positions.shards[shard].journalled.load(Ordering::Acquire);
                self.await_record(shard, sequence);
            }
        }
        !self.is_idle() || !self.is_released(&self.seen)
    }

    /// This client's replies tell of one shard alone, and none of it waits so far (K4): the number by which they are let
    /// go, unless they need not wait.
    pub fn wait_for_shard(&mut self, shard: usize, client: ClientKey) -> Option<u64> {
        let sequence = self.seen[shard];
        if sequence <= self.released[shard] {
            return None;
        }
        let number = self.number();
        self.of_shard[shard].push_back((sequence, Waiting { number, client }));
        self.of_shards += 1;
        Some(number)
    }

    /// This client's replies may tell of anything: the number by which they are let go. All of one turn have one ticket.
    pub fn wait_for_all(&mut self, client: ClientKey) -> u64 {
        if !self.drawn {
            self.drawn = true;
            let number = self.number();
            self.tickets.push_back((number, self.seen.clone().into()));
        }
        let (ticket, _) = self.tickets.back().expect("drawn in this turn");
        let number = *ticket;
        self.clients.push_back(Waiting { number, client });
        number
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
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

    /// Somebody whose replies need not wait any more.
    pub fn next_released(&mut self) -> Option<Waiting> {
        while let Some((_, wanted)) = self.tickets.front()
            && self.is_released(wanted)
        {
            self.tickets.pop_front();
        }
        let first = self.tickets.front().map_or(self.next, |(number, _)| *number);
        if self.clients.front().is_some_and(|waiting| waiting.number < first) {
            return self.clients.pop_front();
        }
        if self.of_shards == 0 {
            return None;
        }
        let queues = self.of_shard.iter_mut().zip(&self.released);
        let is_released = |(queue, released): &(&mut VecDeque<(u64, Waiting)>, &u64)| {
            queue.front().is_some_and(|(sequence, _)| sequence <= *released)
        };
        let (queue, _) = { queues }.find(is_released)?;
        self.of_shards -= 1;
        queue.pop_front().map(|(_, waiting)| waiting)
    }

    /// Whether anything waits.
    pub fn is_idle(&self) -> bool {
        self.tickets.is_empty() && self.clients.is_empty() && self.of_shards == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cores(count: usize) -> Vec<Acknowledge> {
        let positions = Arc::new(Positions::new(count));
        (0..count).map(|own| Acknowledge::new(own, positions.clone())).collect()
    }

    fn client(index: u32) -> ClientKey {
        ClientKey { index, generation: 0 }
    }

    /// Looks, and lets a client wait for everything; whether it has to.
    fn waits(core: &mut Acknowledge, own_sequence: u64, index: u32) -> bool {
        let waits = core.look(own_sequence, false);
        if waits {
            core.wait_for_all(client(index));
        }
        waits
    }

    fn released(core: &mut Acknowledge) -> Vec<u32> {
        std::iter::from_fn(|| core.next_released()).map(|waiting| waiting.client.index).collect()
    }

    #[test]
    fn replies_wait_for_what_they_may_have_seen_and_for_nothing_else() {
        let mut all = cores(3);
        assert!(!waits(&mut all[0], 5, 0), "off");
        all[0].switch(true);
        all[1].tell_position(1, 7);
        all[2].tell_position(2, 9);
        assert!(!waits(&mut all[0], 0, 0), "nothing was written");
        assert!(waits(&mut all[0], 1, 1), "it waits for the own record");
        all[0].hear(1);
        assert!(waits(&mut all[0], 1, 2), "and for the other core's");
        assert_eq!(released(&mut all[0]), [0u32; 0]);
        all[0].released(0, 1);
        assert_eq!(released(&mut all[0]), [1]);
        all[0].released(1, 7);
        assert_eq!(released(&mut all[0]), [2]);
        assert!(!waits(&mut all[0], 1, 3));
        assert!(all[0].is_idle());
    }

    #[test]
    fn while_writes_are_refused_only_their_acknowledgements_wait() {
        let mut core = cores(1).pop().expect("one");
        core.switch(true);
        assert!(!core.look(1, true));
        core.hear_write();
        assert!(core.look(1, true));
        assert!(core.look(1, false));
    }

    #[test]
    fn k1_clients_go_in_the_order_of_their_tickets() {
        let mut core = cores(1).pop().expect("one");
        core.switch(true);
        for index in 1..3 {
            assert!(waits(&mut core, u64::from(index), index));
        }
        assert_eq!(released(&mut core), [0u32; 0]);
        core.released(0, 1);
        assert_eq!(released(&mut core), [1]);
        core.switch(false);
        assert_eq!(released(&mut core), [2]);
        assert!(core.is_idle());
    }

    #[test]
    fn who_tells_of_one_shard_waits_for_that_alone() {
        let mut all = cores(2);
        all[0].switch(true);
        all[0].tell_position(1, 4);
        all[0].hear(1);
        assert!(all[0].look(6, false));
        let first = all[0].wait_for_shard(0, client(1)).expect("the sixth record of shard 0");
        let second = all[0].wait_for_shard(1, client(2)).expect("the fourth of shard 1");
        let third = all[0].wait_for_all(client(3));
        assert!(first < second && second < third);
        assert_eq!(all[0].wait_for_all(client(4)), third, "one ticket a turn");
        all[0].released(1, 4);
        assert_eq!(all[0].wait_for_shard(1, client(5)), None, "all of it is released");
        assert_eq!(all[0].next_released(), Some(Waiting { number: second, client: client(2) }));
        assert_eq!(released(&mut all[0]), [0u32; 0]);
        all[0].released(0, 6);
        assert_eq!(released(&mut all[0]), [3, 4, 1]);
        assert!(all[0].is_idle());
    }

    #[test]
    fn who_waits_for_one_shard_is_let_go_when_the_file_is_switched_off_or_begins_anew() {
        for restart in [false, true] {
            let mut core = cores(1).pop().expect("one");
            core.switch(true);
            assert!(core.look(9, false));
            core.wait_for_shard(0, client(1)).expect("it waits");
            if restart {
                core.restart()
            } else {
                core.switch(false)
            }
            assert_eq!(released(&mut core), [1]);
        }
    }

    #[test]
    fn k3_who_releases_tells_those_who_wait_and_nobody_else() {
        let mut all = cores(3);
        all.iter_mut().for_each(|core| core.switch(true));
        // Core 0 has borrowed the shard of core 2, and waits for its fifth record.
        all[0].tell_position(2, 5);
        all[0].hear(2);
        assert!(waits(&mut all[0], 0, 1), "the record is not released");
        assert_eq!(all[2].release(2, 0, 4).collect::<Vec<_>>(), [0], "an earlier ticket may wait for less");
        assert_eq!(all[1].release(2, 4, 5).collect::<Vec<_>>(), [0], "whoever has held the shard may tell");
        assert_eq!(all[2].release(2, 5, 6).collect::<Vec<_>>(), [0usize; 0]);
        assert_eq!(released(&mut all[0]), [0u32; 0], "nobody has told it");
        all[0].released(2, 5);
        assert_eq!(released(&mut all[0]), [1]);
        // What was released before it was awaited is found without being told.
        all[1].hear(2);
        assert!(!waits(&mut all[1], 0, 2));
        all[2].tell_position(2, 7);
        all[1].hear(2);
        assert!(waits(&mut all[1], 0, 3), "the seventh is new");
        assert_eq!(all[0].release(2, 6, 7).collect::<Vec<_>>(), [1]);
        all[1].released(2, 7);
        assert_eq!(released(&mut all[1]), [3]);
    }

    #[test]
    fn a_borrower_can_release_what_the_owner_waits_for() {
        let mut all = cores(2);
        all[1].switch(true);
        assert!(waits(&mut all[1], 3, 1), "it waits for the own record");
        assert_eq!(all[0].release(1, 0, 3).collect::<Vec<_>>(), [1]);
        all[1].released(1, 3);
        assert_eq!(released(&mut all[1]), [1]);
    }
}
