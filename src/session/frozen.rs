//! Work that needs every shard at rest: for a snapshot of one moment.

use crate::mesh::Gate;
use crate::resp::Reply;
use crate::shard::{CommandResult, Shard};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

/// What is done to each shard at that moment, by whoever holds it.
pub type OnShard = dyn Fn(&mut Shard) + Send + Sync;

/// Work for that moment, on the core that asked for it; it leaves the reply, if somebody waits for one.
pub type AtRest = dyn FnOnce(&[&Shard], &mut Reply<'_>) -> CommandResult;

/// To be carried out by dispatch: between two commands of every core, with no transaction half done.
pub struct FrozenOrder {
    /// Before `run`; a journal that goes on in a new segment, say.
    pub on_shard: Option<Arc<OnShard>>,
    pub run: Box<AtRest>,
}

/// An order that waits for the cores to stand still: its own core comes last.
pub struct Freezing {
    pub gate: Arc<Gate<Shard>>,
    pub order: FrozenOrder,
    /// Where the reply is left.
    pub reply: Rc<RefCell<Vec<u8>>>,
    pub protocol: crate::resp::Protocol,
}

impl FrozenOrder {
    pub fn new(run: impl FnOnce(&[&Shard], &mut Reply<'_>) -> CommandResult + 'static) -> Self {
        Self { on_shard: None, run: Box::new(run) }
    }
}
