//! Commands whose keys live on several shards and depend on each other: a plan of hops.
//!
//! A hop is work for some shards, done by each on its own; its results decide the next hop. The transaction around a
//! plan holds the keys from its first hop to its last.

use super::Contribution;
use crate::resp::Reply;
use crate::shard::{CommandResult, Context};

/// What a plan asks of one shard in one hop.
pub struct HopWork {
    /// The owner of this key does the work.
    pub key: Box<[u8]>,
    pub run: Box<dyn FnOnce(&mut Context<'_>) -> Contribution + Send>,
}

pub enum Step {
    /// Next, this; the results come in the same order.
    Hop(Vec<HopWork>),
    /// The reply is written (or the error is the reply).
    Done(CommandResult),
}

/// A state machine: results in, the next hop or the reply out.
pub trait Plan: Send {
    /// First called with no results.
    fn step(&mut self, results: Vec<Contribution>, reply: &mut Reply<'_>) -> Step;
}

impl HopWork {
    pub fn new<R: Send + 'static>(
        key: &[u8],
        run: impl FnOnce(&mut Context<'_>) -> R + Send + 'static,
    ) -> Self {
        Self { key: key.into(), run: Box::new(|context| Box::new(run(context))) }
    }
}
