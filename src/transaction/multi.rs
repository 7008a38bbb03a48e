//! MULTI: the queue of commands, its verdict at EXEC, and how EXEC is carried over the shards.
//!
//! | from | by | to |
//! |---|---|---|
//! | – | MULTI | queueing |
//! | queueing | a command is queued | queueing |
//! | queueing | a command is rejected (unknown, arity, ACL, not allowed here, out of memory) | failed |
//! | queueing | EXEC | [`Verdict::Run`]: over |
//! | failed | EXEC | [`Verdict::Abort`]: over |
//! | either | DISCARD, RESET, disconnect | over |
//!
//! Whatever ends it also ends the client's WATCH. MULTI inside MULTI and WATCH inside MULTI are errors that change
//! nothing. A failed queue outweighs a touched watched key: EXECABORT, not null.

/// The queue of one client between MULTI and EXEC. `C` is a command with its arguments.
#[derive(Debug)]
pub struct Multi<C> {
    commands: Vec<C>,
    failed: bool,
}

/// What EXEC does with the queue.
#[derive(Debug, Eq, PartialEq)]
pub enum Verdict<C> {
    /// EXECABORT.
    Abort,
    /// Run these, if no watched key was touched.
    Run(Vec<C>),
}

impl<C> Default for Multi<C> {
    fn default() -> Self {
        Self { commands: Vec::new(), failed: false }
    }
}

impl<C> Multi<C> {
    /// A queue that failed keeps nothing any more; the reply is QUEUED all the same.
    pub fn queue(&mut self, command: C) {
        if !self.failed {
            self.commands.push(command);
        }
    }

    /// A command was rejected instead of queued.
    pub fn fail(&mut self) {
        self.failed = true;
        self.commands = Vec::new();
    }

    pub fn len(&self) -> usize {
        self.commands.len()
    }

    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    pub fn has_failed(&self) -> bool {
        self.failed
    }

    pub fn commands(&self) -> &[C] {
        &self.commands
    }

    pub fn exec(self) -> Verdict<C> {
        if self.failed { Verdict::Abort } else { Verdict::Run(self.commands) }
    }
}

/// Where a queued command runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Place {
    /// On the client's core (PING, SELECT): it has no key.
    Client,
    Shard(usize),
    /// On several shards, by hops of its own.
    Several,
}

/// How an EXEC is carried out. Commands are named by their index in the queue.
#[derive(Debug, Eq, PartialEq)]
pub enum ExecPlan {
    /// Nothing touches a shard.
    Client,
    /// One message, one unit on that shard: watched keys are validated, then its commands run, all or nothing.
    Whole { shard: usize },
    /// A transaction over several shards. Those of `validate` are asked for their watched keys as they grant their
    /// intents (the `read` of the schedule: the intents stay, so that the answer stays true), and only if all agree
    /// the steps follow; else the transaction concludes without effect.
    Hops { validate: Vec<usize>, steps: Vec<ExecStep> },
}

#[derive(Debug, Eq, PartialEq)]
pub enum ExecStep {
    /// One hop: each shard runs its commands in order.
    Together(Vec<(usize, Vec<usize>)>),
    /// A command that runs its own hops, after all before it and before all behind it.
    Alone(usize),
    /// On the client's core, when the steps before it are done.
    Client(usize),
}

impl ExecPlan {
    /// `watched` are the shards where the client watches keys.
    ///
    /// Commands of different shards cannot see each other, so that between two barriers each shard gets its part of the
    /// queue in one hop. A command of the client's own core is a barrier only to what it can see: nothing. It runs
    /// before the hop in which it stands.
    pub fn of(places: &[Place], watched: &[usize]) -> Self {
        let mut shards: Vec<usize> = watched.to_vec();
        let mut steps = Vec::new();
        let mut together: Vec<(usize, Vec<usize>)> = Vec::new();
        for (index, place) in places.iter().enumerate() {
            match *place {
                Place::Client => steps.push(ExecStep::Client(index)),
                Place::Shard(shard) => {
                    shards.push(shard);
                    match together.iter_mut().find(|(other, _)| *other == shard) {
                        Some((_, commands)) => commands.push(index),
                        None => together.push((shard, vec![index])),
                    }
                }
                Place::Several => {
                    shards.push(usize::MAX);
                    if !together.is_empty() {
                        steps.push(ExecStep::Together(std::mem::take(&mut together)));
                    }
                    steps.push(ExecStep::Alone(index));
                }
            }
        }
        if !together.is_empty() {
            steps.push(ExecStep::Together(together));
        }
        shards.sort_unstable();
        shards.dedup();
        match shards[..] {
            [] => Self::Client,
            [shard] if shard != usize::MAX => Self::Whole { shard },
            _ => {
                let mut validate = watched.to_vec();
                validate.sort_unstable();
                validate.dedup();
                Self::Hops { validate, steps }
            }
        }
    }
}

/// The replies of an EXEC, put back in the order of the queue.
#[derive(Debug)]
pub struct Replies<R> {
    replies: Vec<Option<R>>,
}

impl<R> Replies<R> {
    pub fn new(commands: usize) -> Self {
        Self { replies: (0..commands).map(|_| None).collect() }
    }

    pub fn put(&mut self, command: usize, reply: R) {
        let before = self.replies[command].replace(reply);
        assert!(before.is_none(), "a queued command runs once");
    }

    /// The replies of the commands that one shard ran in one hop.
    pub fn put_all(&mut self, commands: &[usize], replies: Vec<R>) {
        assert_eq!(commands.len(), replies.len(), "one reply per command");
        commands.iter().zip(replies).for_each(|(command, reply)| self.put(*command, reply));
    }

    pub fn into_replies(self) -> Vec<R> {
        self.replies.into_iter().map(|reply| reply.expect("every queued command has run")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_queue_aborts_whatever_came_before_or_after() {
        let mut multi = Multi::default();
        multi.queue("SET");
        multi.fail();
        multi.queue("GET");
        assert!(multi.is_empty() && multi.has_failed());
        assert_eq!(multi.exec(), Verdict::Abort);
        assert_eq!(Multi::<&str>::default().exec(), Verdict::Run(vec![]));
    }

    #[test]
    fn commands_of_one_shard_travel_together_up_to_a_barrier() {
        use Place::{Client, Several, Shard};
        let places = [Shard(1), Shard(0), Client, Shard(1), Several, Shard(1), Shard(1)];
        let steps = vec![
            ExecStep::Client(2),
            ExecStep::Together(vec![(1, vec![0, 3]), (0, vec![1])]),
            ExecStep::Alone(4),
            ExecStep::Together(vec![(1, vec![5, 6])]),
        ];
        assert_eq!(ExecPlan::of(&places, &[3, 1, 3]), ExecPlan::Hops { validate: vec![1, 3], steps });
    }

    #[test]
    fn what_touches_one_shard_is_shipped_whole() {
        use Place::{Client, Several, Shard};
        assert_eq!(ExecPlan::of(&[Shard(2), Client, Shard(2)], &[2]), ExecPlan::Whole { shard: 2 });
        assert_eq!(ExecPlan::of(&[Client], &[1]), ExecPlan::Whole { shard: 1 });
        assert_eq!(ExecPlan::of(&[Client], &[]), ExecPlan::Client);
        assert!(matches!(ExecPlan::of(&[Shard(2)], &[1]), ExecPlan::Hops { .. }));
        assert!(matches!(ExecPlan::of(&[Several], &[]), ExecPlan::Hops { .. }));
    }

    #[test]
    fn replies_return_in_the_order_of_the_queue() {
        let mut replies = Replies::new(4);
        replies.put_all(&[0, 3], vec!['a', 'd']);
        replies.put(2, 'c');
        replies.put_all(&[1], vec!['b']);
        assert_eq!(replies.into_replies(), ['a', 'b', 'c', 'd']);
    }
}
