//! Clients that wait for keys of this shard, and how they are served.
//!
//! A shard serves right after the command, or the transaction, that made a key ready; the reply joins the
//! shard's news, which its core carries to the client's.

use super::wait_queue::Claim;
use super::{Context, Fit, Offer, Outcome, Shard};
use crate::base::UnixMillis;
use crate::keyspace::ValueRef;
use crate::resp::{Protocol, Reply};
use std::sync::Arc;

/// What a blocked command does once a key has something for it.
pub trait Wish: Send + Sync {
    /// Whether it waits for a value like this.
    fn wants(&self, value: ValueRef<'_>) -> bool;

    /// Whether it is served, with an error, when its key is gone.
    fn minds_absence(&self) -> bool {
        false
    }

    /// What it waits for at this key, if that depends on what the key holds now, when it begins to wait (`$`).
    fn at_start(&self, _key: &[u8], _value: Option<ValueRef<'_>>) -> Option<Arc<dyn Wish>> {
        None
    }

    /// Whether serving it touches other keys than the one that is ready.
    fn reaches_further(&self) -> bool {
        false
    }

    /// Takes what it wants; an error is the reply, and then nothing has been taken.
    fn serve(&self, ctx: &mut Context<'_>, key: &[u8], reply: &mut Reply<'_>) -> super::CommandResult;
}

/// A client in a line, as far as a shard has to know it.
#[derive(Clone)]
pub struct Blocker {
    /// The core of its client, and that core's name for this wait.
    pub core: usize,
    pub id: u64,
    pub protocol: Protocol,
    pub no_touch: bool,
    pub wish: Arc<dyn Wish>,
    /// Serving it needs keys of several shards.
    pub elsewhere: bool,
}

/// What the core of a waiting client has to be told.
pub struct WaitNews {
    pub core: usize,
    pub id: u64,
    pub what: WaitEvent,
}

pub enum WaitEvent {
    /// Its reply.
    Served(Vec<u8>),
    /// This key is ready, and a transaction has to serve it: with this key `alone`, or as its command says.
    Ask { shard: usize, db: usize, key: Box<[u8]>, alone: Option<Arc<dyn Wish>> },
}

impl Shard {
    /// Lines up a client at keys of this shard.
    pub fn wait(&mut self, db: usize, keys: &[Box<[u8]>], claim: &Arc<Claim>, blocker: &Blocker) {
        for key in keys {
            let value = self.databases[db].find(key).map(|entry| entry.value());
            let wish = blocker.wish.at_start(key, value).unwrap_or_else(|| Arc::clone(&blocker.wish));
            self.effects.wait(db, key, Arc::clone(claim), Blocker { wish, ..blocker.clone() });
        }
    }

    /// Serves those who wait for what has become ready.
    #[inline]
    pub fn serve_ready(&mut self, now: UnixMillis) {
        if self.effects.is_attentive() {
            self.serve_all(now, false);
        }
    }

    /// The same after somebody has left a line. Then nobody has just run who held the key, and a transaction may
    /// hold it: in that case those who wait are served by transactions too.
    pub fn serve_again(&mut self, now: UnixMillis) {
        self.serve_all(now, self.scheduled);
    }

    #[cold]
    fn serve_all(&mut self, now: UnixMillis, held: bool) {
        while let Some((db, key)) = self.effects.waits().next_ready() {
            while self.serve_one(db, &key, now, held) {}
        }
        // Keys that were past their deadline.
        self.effects.journal.seal();
        self.effects.look_around();
    }

    fn serve_one(&mut self, db: usize, key: &[u8], now: UnixMillis, held: bool) -> bool {
        // Removes it if it is past its deadline.
        if !self.held.has(self.databases[db].hash(key)) {
            self.context(db, now, true).peek(key);
        }
        let (index, scheduled) = (self.index, self.scheduled);
        let Self { databases, effects, .. } = self;
        let entry = databases[db].find(key).filter(|entry| !entry.is_expired(now));
        let minded = effects.is_minded();
        let fit = |blocker: &Blocker| match &entry {
            None if !minded => Fit::Stop,
            None if !blocker.wish.minds_absence() => Fit::Pass,
            Some(entry) if !blocker.wish.wants(entry.value()) => Fit::Pass,
            // Keys that transactions hold must not be touched in passing.
            _ if held || blocker.elsewhere || scheduled && blocker.wish.reaches_further() => Fit::Elsewhere,
            _ => Fit::Serve,
        };
        match effects.waits().offer(db, key, fit) {
            Offer::Nobody => false,
            Offer::Ask(Blocker { core, id, wish, elsewhere, .. }) => {
                let alone = (!elsewhere && !wish.reaches_further()).then_some(wish);
                let what = WaitEvent::Ask { shard: index, db, key: key.into(), alone };
                effects.wait_news.push(WaitNews { core, id, what });
                false
            }
            Offer::Serve(Blocker { core, id, protocol, no_touch, wish, .. }) => {
                let bytes = self.journal_piece(|shard| {
                    fulfil(&*wish, &mut shard.context(db, now, no_touch), key, protocol)
                });
                self.effects.journal.seal();
                self.effects.wait_news.push(WaitNews { core, id, what: WaitEvent::Served(bytes) });
                true
            }
        }
    }

    /// Serves one who waits with a key that a transaction holds for him, if it still suits him and he still waits.
    pub fn serve_held(
        &mut self,
        (db, key): (usize, &[u8]),
        (wish, claim): (&dyn Wish, &Claim),
        protocol: Protocol,
        now: UnixMillis,
    ) -> Option<Vec<u8>> {
        let suits = match self.context(db, now, true).peek(key) {
            None => wish.minds_absence(),
            Some(entry) => wish.wants(entry.value()),
        };
        let serves = suits && claim.take(Outcome::Served);
        serves.then(|| {
            self.journal_piece(|shard| fulfil(wish, &mut shard.context(db, now, true), key, protocol))
        })
    }
}

/// The reply to who has waited.
fn fulfil(wish: &dyn Wish, ctx: &mut Context<'_>, key: &[u8], protocol: Protocol) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Err(error) = wish.serve(ctx, key, &mut Reply::new(&mut bytes, protocol)) {
        error.write_over(&mut bytes, 0, protocol);
    }
    bytes
}
