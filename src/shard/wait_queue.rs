//! Clients blocked on keys of this shard, in order of arrival.
//!
//! A client that blocks on keys of several shards stands in a line on each of them. What ends its wait is
//! decided by one cell that all of them share, the [`Claim`]: a shard that can serve it, its timeout, CLIENT
//! UNBLOCK and its disconnection each try to take the cell, and one succeeds. The lines it still stands in hear
//! of it later by a message ([`WaitQueues::leave`]); until then they pass over it.
//!
//! Clients are served right after the command that made a key ready, before any other command: the shard
//! asks [`WaitQueues::next_ready`] until it finds nothing, and for each key [`WaitQueues::offer`] until nobody
//! can be served. Keys made ready in the middle of a transaction are set aside until it has ended.
//!
//! | claim | by | to |
//! |---|---|---|
//! | waiting | `offer`, timeout, CLIENT UNBLOCK, disconnect: the first | taken, with the [`Outcome`] |
//! | taken | anybody | taken: the others find nothing to do |
//!
//! Invariants
//!   B1  Of those in a line that can be served and still wait, the one who came first is served.
//!   B2  A line that is empty is not kept.
//!   B3  A key is in `ready` or in one `aside` at most once, and only while it has a line (`Line::ready`).
//!   B4  While somebody has been asked elsewhere, nobody in his line is served.
//!   B5  `waiters` is the number of places in all lines.

use ahash::RandomState;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// What ended a wait.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Outcome {
    Served = 1,
    TimedOut,
    /// CLIENT UNBLOCK, a role change, or a key that can never become ready again.
    Unblocked,
    /// The client has gone.
    Gone,
}

/// Decides, once, what ends a client's wait. Shared by all shards on which it waits.
#[derive(Debug, Default)]
pub struct Claim(AtomicU8);

impl Claim {
    const WAITING: u8 = 0;

    /// Whether the caller is the one.
    pub fn take(&self, outcome: Outcome) -> bool {
        // What goes with the outcome travels in messages, which order themselves.
        self.0.compare_exchange(Self::WAITING, outcome as u8, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    pub fn is_waiting(&self) -> bool {
        self.0.load(Ordering::Acquire) == Self::WAITING
    }

    pub fn outcome(&self) -> Option<Outcome> {
        [Outcome::Served, Outcome::TimedOut, Outcome::Unblocked, Outcome::Gone]
            .into_iter()
            .find(|outcome| *outcome as u8 == self.0.load(Ordering::Acquire))
    }
}

/// How a key suits somebody who waits for it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fit {
    /// He can be served here and now.
    Serve,
    /// He can be served only by a transaction of his coordinator (BLMOVE to another shard).
    Elsewhere,
    /// Not he: he waits for another type. Those behind him may be.
    Pass,
    /// The key has nothing for anybody.
    Stop,
}

/// Who is to be served with a ready key.
#[derive(Debug, Eq, PartialEq)]
pub enum Offer<T> {
    /// Claimed, and out of the line: he must be served now.
    Serve(T),
    /// Not claimed and still the first: his coordinator is to be asked, and says [`WaitQueues::tried`].
    Ask(T),
    Nobody,
}

/// A database and a key in it.
type Name = (usize, Box<[u8]>);

/// `T` is what a shard has to know to serve somebody.
pub struct WaitQueues<T> {
    databases: Vec<HashMap<Box<[u8]>, Line<T>, RandomState>>,
    waiters: usize,
    /// Keys with a line, in the order in which they became ready.
    ready: VecDeque<Name>,
    /// By transaction number: keys that are ready once it has ended.
    aside: Vec<(u64, VecDeque<Name>)>,
}

struct Line<T> {
    waiters: VecDeque<Waiter<T>>,
    ready: bool,
    /// Who of them has been asked elsewhere.
    asked: Option<u64>,
}

struct Waiter<T> {
    id: u64,
    claim: Arc<Claim>,
    what: T,
}

impl<T: Clone> WaitQueues<T> {
    /// `seeds` must not be known to clients.
    pub fn new(databases: usize, seeds: [u64; 4]) -> Self {
        let [a, b, c, d] = seeds;
        let lines = || HashMap::with_hasher(RandomState::with_seeds(a, b, c, d));
        Self {
            databases: (0..databases).map(|_| lines()).collect(),
            waiters: 0,
            ready: VecDeque::new(),
            aside: Vec::new(),
        }
    }

    /// Whether changes need not be reported: the common case.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.waiters == 0
    }

    pub fn waiters(&self) -> usize {
        self.waiters
    }

    /// Joins the line of a key. `id` names this wait and nothing else; a key named twice is joined once.
    pub fn wait(&mut self, db: usize, key: &[u8], id: u64, claim: Arc<Claim>, what: T) {
        let lines = &mut self.databases[db];
        if !lines.contains_key(key) {
            lines.insert(key.into(), Line { waiters: VecDeque::new(), ready: false, asked: None });
        }
        let line = lines.get_mut(key).expect("just made sure");
        if line.waiters.iter().any(|waiter| waiter.id == id) {
            return;
        }
        line.waiters.push_back(Waiter { id, claim, what });
        self.waiters += 1;
    }

    /// Leaves the line of a key, for whatever reason, perhaps long after the claim was taken.
    pub fn leave(&mut self, db: usize, key: &[u8], id: u64) {
        let Some(line) = self.databases[db].get_mut(key) else { return };
        let Some(index) = line.waiters.iter().position(|waiter| waiter.id == id) else { return };
        line.waiters.remove(index);
        self.waiters -= 1;
        self.tried(db, key, id);
    }

    /// A command has given a key something that somebody may wait for.
    pub fn ready(&mut self, db: usize, key: &[u8]) {
        if self.is_empty() {
            return;
        }
        if let Some(line) = self.databases[db].get_mut(key)
            && !std::mem::replace(&mut line.ready, true)
        {
            self.ready.push_back((db, key.into()));
        }
    }

    /// All keys of a database may have something new.
    pub fn all_ready(&mut self, db: usize) {
        for (key, line) in &mut self.databases[db] {
            if !std::mem::replace(&mut line.ready, true) {
                self.ready.push_back((db, key.clone()));
            }
        }
    }

    /// What the hop just run has made ready waits for the end of its transaction, as inside MULTI.
    pub fn set_aside(&mut self, number: u64) {
        if self.ready.is_empty() {
            return;
        }
        let ready = std::mem::take(&mut self.ready);
        match self.aside.iter_mut().find(|(other, _)| *other == number) {
            Some((_, keys)) => keys.extend(ready),
            None => self.aside.push((number, ready)),
        }
    }

    /// The transaction has ended here.
    pub fn resume(&mut self, number: u64) {
        if let Some(index) = self.aside.iter().position(|(other, _)| *other == number) {
            let (_, mut keys) = self.aside.swap_remove(index);
            keys.append(&mut self.ready);
            self.ready = keys;
        }
    }

    /// The key that became ready first.
    pub fn next_ready(&mut self) -> Option<(usize, Box<[u8]>)> {
        let (db, key) = self.ready.pop_front()?;
        if let Some(line) = self.databases[db].get_mut(&*key) {
            line.ready = false;
        }
        Some((db, key))
    }

    /// Who is to be served with this key. `fit` is asked in order of arrival, only for those who still wait.
    pub fn offer(&mut self, db: usize, key: &[u8], mut fit: impl FnMut(&T) -> Fit) -> Offer<T> {
        let lines = &mut self.databases[db];
        let Some(line) = lines.get_mut(key) else { return Offer::Nobody };
        if line.asked.is_some() {
            return Offer::Nobody; // B4
        }
        let mut offer = Offer::Nobody;
        let mut index = 0;
        while let Some(waiter) = line.waiters.get(index) {
            let fit = if waiter.claim.is_waiting() { fit(&waiter.what) } else { Fit::Serve };
            match fit {
                Fit::Serve => {
                    let waiter = line.waiters.remove(index).expect("just looked at");
                    self.waiters -= 1;
                    if waiter.claim.take(Outcome::Served) {
                        offer = Offer::Serve(waiter.what);
                        break;
                    }
                }
                Fit::Elsewhere => {
                    line.asked = Some(waiter.id);
                    offer = Offer::Ask(waiter.what.clone());
                    break;
                }
                Fit::Pass => index += 1,
                Fit::Stop => break,
            }
        }
        if line.waiters.is_empty() && !line.ready {
            lines.remove(key); // B2
        }
        offer
    }

    /// Whoever was asked elsewhere has tried, with whatever result: the line moves again.
    pub fn tried(&mut self, db: usize, key: &[u8], id: u64) {
        let Some(line) = self.databases[db].get_mut(key) else { return };
        if line.asked == Some(id) {
            line.asked = None;
            self.ready(db, key);
        }
        let lines = &mut self.databases[db];
        if lines.get(key).is_some_and(|line| line.waiters.is_empty() && !line.ready) {
            lines.remove(key);
        }
    }

    /// Those who stand in the line of a key and still wait, in order.
    pub fn line(&self, db: usize, key: &[u8]) -> impl Iterator<Item = &T> {
        let line = self.databases[db].get(key);
        let waiters = line.into_iter().flat_map(|line| &line.waiters);
        waiters.filter(|waiter| waiter.claim.is_waiting()).map(|waiter| &waiter.what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Lines = WaitQueues<&'static str>;

    fn lines(key: &[u8], names: &[&'static str]) -> (Lines, Vec<Arc<Claim>>) {
        let mut lines = Lines::new(2, [1, 2, 3, 4]);
        let claims: Vec<_> = names.iter().map(|_| Arc::new(Claim::default())).collect();
        for (id, (name, claim)) in names.iter().zip(&claims).enumerate() {
            lines.wait(0, key, id as u64, Arc::clone(claim), name);
        }
        (lines, claims)
    }

    fn serve(lines: &mut Lines, key: &[u8]) -> Offer<&'static str> {
        lines.offer(0, key, |_| Fit::Serve)
    }

    #[test]
    fn first_come_first_served_and_only_those_who_wait() {
        let (mut lines, claims) = lines(b"k", &["a", "b", "c"]);
        lines.wait(0, b"k", 2, Arc::clone(&claims[2]), "c again");
        assert!(claims[0].take(Outcome::TimedOut) && !claims[0].take(Outcome::Served));
        assert_eq!(serve(&mut lines, b"k"), Offer::Serve("b"));
        assert_eq!(claims[1].outcome(), Some(Outcome::Served));
        assert_eq!(serve(&mut lines, b"k"), Offer::Serve("c"), "B1");
        assert_eq!(serve(&mut lines, b"k"), Offer::Nobody);
        assert!(lines.is_empty() && lines.databases[0].is_empty(), "B2, B5");
    }

    #[test]
    fn two_shards_and_one_claim() {
        let (mut here, claims) = lines(b"here", &["w"]);
        let mut there = Lines::new(1, [0; 4]);
        there.wait(0, b"there", 0, Arc::clone(&claims[0]), "w");
        assert_eq!(serve(&mut here, b"here"), Offer::Serve("w"));
        assert_eq!(serve(&mut there, b"there"), Offer::Nobody);
        there.leave(0, b"there", 0);
        assert!(there.is_empty());
    }

    #[test]
    fn another_type_is_passed_over_and_an_empty_key_ends_it() {
        let (mut lines, _) = lines(b"k", &["zset", "list", "list2"]);
        let fit = |name: &&str| if name.starts_with("list") { Fit::Serve } else { Fit::Pass };
        assert_eq!(lines.offer(0, b"k", fit), Offer::Serve("list"));
        assert_eq!(lines.offer(0, b"k", |_| Fit::Stop), Offer::Nobody);
        assert!(lines.line(0, b"k").eq(&["zset", "list2"]));
    }

    #[test]
    fn keys_are_ready_once_in_order_and_only_if_somebody_waits() {
        let (mut lines, claims) = lines(b"k", &["a"]);
        lines.wait(0, b"l", 0, Arc::clone(&claims[0]), "a");
        for key in [b"l", b"k", b"l", b"m"] {
            lines.ready(0, key);
            lines.ready(1, key);
        }
        assert_eq!(lines.next_ready(), Some((0, b"l"[..].into())));
        lines.ready(0, b"l");
        assert_eq!(lines.next_ready(), Some((0, b"k"[..].into())));
        assert_eq!(lines.next_ready(), Some((0, b"l"[..].into())));
        assert_eq!(lines.next_ready(), None, "B3");
    }

    #[test]
    fn a_transaction_keeps_its_ready_keys_to_itself_until_it_ends() {
        let (mut lines, claims) = lines(b"k", &["a"]);
        lines.wait(0, b"l", 0, Arc::clone(&claims[0]), "a");
        lines.ready(0, b"k");
        lines.set_aside(7);
        lines.ready(0, b"k");
        assert_eq!(lines.next_ready(), None);
        lines.ready(0, b"l");
        lines.resume(8);
        lines.resume(7);
        assert_eq!(lines.next_ready(), Some((0, b"k"[..].into())));
        assert_eq!(lines.next_ready(), Some((0, b"l"[..].into())));
    }

    #[test]
    fn who_is_asked_elsewhere_keeps_his_place() {
        let (mut lines, claims) = lines(b"k", &["mover", "b"]);
        let fit = |name: &&str| if *name == "mover" { Fit::Elsewhere } else { Fit::Serve };
        assert_eq!(lines.offer(0, b"k", fit), Offer::Ask("mover"));
        assert_eq!(lines.offer(0, b"k", fit), Offer::Nobody, "B4");
        lines.tried(0, b"k", 0);
        assert!(lines.next_ready().is_some(), "it was taken before he came; now the line is asked again");
        assert_eq!(lines.offer(0, b"k", fit), Offer::Ask("mover"));
        assert!(claims[0].take(Outcome::Served));
        lines.leave(0, b"k", 0);
        assert!(lines.next_ready().is_some());
        assert_eq!(lines.offer(0, b"k", fit), Offer::Serve("b"));
        assert!(lines.is_empty());
    }
}
