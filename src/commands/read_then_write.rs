//! The plan of commands that read several keys and finish at one: the algebra of sets and of bits, ranges that
//! are stored, the pop from the first key that has something.
//!
//! Hop 1 reads every key at its owner; what was read decides the reply, or what the owner of one key does in
//! hop 2, with the reply in hand.

use super::hops::result;
use crate::command_table::{Contribution, HopWork, Plan, Step};
use crate::resp::Reply;
use crate::shard::{CommandError, CommandResult, Context};
use std::sync::Arc;

/// Writes the reply.
pub(super) type Answer = Box<dyn FnOnce(&mut Reply<'_>) -> CommandResult + Send>;

/// What follows from what was read.
pub(super) enum Next {
    Answer(Answer),
    /// The owner of this key finishes.
    At {
        key: Box<[u8]>,
        run: Box<dyn FnOnce(&mut Context<'_>) -> Answer + Send>,
    },
}

type Read<R> = dyn Fn(&mut Context<'_>, &[u8]) -> R + Send + Sync;

pub(super) struct ReadThenWrite<R> {
    keys: Vec<Box<[u8]>>,
    read: Arc<Read<R>>,
    stage: Stage<R>,
}

/// `Read -> Decide [-> Finish] -> Done`
enum Stage<R> {
    Read(Box<dyn FnOnce(Vec<R>) -> Next + Send>),
    Decide(Box<dyn FnOnce(Vec<R>) -> Next + Send>),
    Finish,
    Done,
}

impl<R: Send + 'static> ReadThenWrite<R> {
    pub fn plan(
        keys: Vec<Box<[u8]>>,
        read: impl Fn(&mut Context<'_>, &[u8]) -> R + Send + Sync + 'static,
        decide: impl FnOnce(Vec<R>) -> Next + Send + 'static,
    ) -> Box<dyn Plan> {
        Box::new(Self { keys, read: Arc::new(read), stage: Stage::Read(Box::new(decide)) })
    }
}

impl<R: Send + 'static> Plan for ReadThenWrite<R> {
    fn step(&mut self, results: Vec<Contribution>, reply: &mut Reply<'_>) -> Step {
        match std::mem::replace(&mut self.stage, Stage::Done) {
            Stage::Read(decide) => {
                self.stage = Stage::Decide(decide);
                let work = |key: Box<[u8]>| {
                    let read = Arc::clone(&self.read);
                    HopWork::new(&key.clone(), move |ctx| read(ctx, &key))
                };
                Step::Hop(std::mem::take(&mut self.keys).into_iter().map(work).collect())
            }
            Stage::Decide(decide) => match decide(results.into_iter().map(result::<R>).collect()) {
                Next::Answer(answer) => Step::Done(answer(reply)),
                Next::At { key, run } => {
                    self.stage = Stage::Finish;
                    Step::Hop(vec![HopWork::new(&key, run)])
                }
            },
            Stage::Finish => {
                let answer = results.into_iter().next().map(result::<Answer>).expect("one was asked");
                Step::Done(answer(reply))
            }
            Stage::Done => unreachable!("a plan that is done is not asked again"),
        }
    }
}

pub(super) fn fail(error: CommandError) -> Answer {
    Box::new(move |_| Err(error))
}

pub(super) fn integer(value: i64) -> Answer {
    Box::new(move |reply| {
        reply.integer(value);
        Ok(())
    })
}
