//! Clients that wait for keys of this shard, and how they are served.
//!
//! A shard serves right after the command, or the transaction, that made a key ready; the reply joins the
//! shard's news, which its core carries to the client's.

use super::wait_queue::Claim;
use super::{Context, Fit, Offer, Shard};
use crate::base::UnixMillis;
use crate::keyspace::ValueRef;
use crate::resp::{Protocol, Reply};
use std::sync::Arc;

/// What a blocked command does once a key has something for it.
pub trait Wish: Send + Sync {
    /// Whether it waits for a value like this.
    fn wants(&self, value: ValueRef<'_>) -> bool;

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
    /// This key is ready, and a transaction has to serve it.
    Ask { shard: usize, db: usize, key: Box<[u8]> },
}

impl Shard {
    /// Lines up a client at keys of this shard.
    pub fn wait(&mut self, db: usize, keys: &[Box<[u8]>], claim: &Arc<Claim>, blocker: &Blocker) {
        for key in keys {
            self.effects.wait(db, key, Arc::clone(claim), blocker.clone());
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
        let fit = |blocker: &Blocker| match &entry {
            None => Fit::Stop,
            Some(entry) if !blocker.wish.wants(entry.value()) => Fit::Pass,
            // Keys that transactions hold must not be touched in passing.
            Some(_) if held || blocker.elsewhere || scheduled && blocker.wish.reaches_further() => {
                Fit::Elsewhere
            }
            Some(_) => Fit::Serve,
        };
        match effects.waits().offer(db, key, fit) {
            Offer::Nobody => false,
            Offer::Ask(Blocker { core, id, .. }) => {
                let what = WaitEvent::Ask { shard: index, db, key: key.into() };
                effects.wait_news.push(WaitNews { core, id, what });
                false
            }
            Offer::Serve(Blocker { core, id, protocol, no_touch, wish, .. }) => {
                let mut bytes = Vec::new();
                let mut reply = Reply::new(&mut bytes, protocol);
                let result = self.journal_piece(|shard| {
                    wish.serve(&mut shard.context(db, now, no_touch), key, &mut reply)
                });
                self.effects.journal.seal();
                if let Err(error) = result {
                    bytes.clear();
                    Reply::new(&mut bytes, protocol).error(error.text().as_ref());
                }
                self.effects.wait_news.push(WaitNews { core, id, what: WaitEvent::Served(bytes) });
                true
            }
        }
    }
}
