//! What plans of several hops share: how they read a hop's results, and how they refuse.

use crate::command_table::{Contribution, Plan, Step};
use crate::resp::Reply;
use crate::shard::CommandError;

/// The result of one piece of a hop.
pub(super) fn result<R: 'static>(contribution: Contribution) -> R {
    *contribution.downcast().expect("the kind of result that was asked for")
}

/// A plan, or one that says what is wrong with the arguments.
pub(super) fn plan_or_error(plan: Result<Box<dyn Plan>, CommandError>) -> Box<dyn Plan> {
    plan.unwrap_or_else(refuse)
}

/// A plan for arguments that are wrong: no key is looked at.
pub(super) fn refuse(error: CommandError) -> Box<dyn Plan> {
    Box::new(Refused(Some(error)))
}

struct Refused(Option<CommandError>);

impl Plan for Refused {
    fn step(&mut self, _: Vec<Contribution>, _: &mut Reply<'_>) -> Step {
        Step::Done(Err(self.0.take().expect("asked once")))
    }
}
