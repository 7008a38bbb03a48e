//! SMOVE: a member goes from one set to another, which may be another shard's.

use super::hops::result;
use crate::command_table::{
    Access, Arg, Args, Arity, CommandSpec, Contribution, DEFAULTS, Flag, Flags, Group, Handler, HopWork,
    KeySpec, Kind, Plan, Step,
};
use crate::resp::{Argv, Reply};
use crate::shard::{CommandError, CommandResult, Context, Event};

pub(super) const COMMANDS: &[&CommandSpec] = &[&SMOVE];

const SMOVE: CommandSpec = CommandSpec {
    name: "SMOVE",
    full_name: "smove",
    arity: Arity::Exactly(4),
    flags: Flags::of(&[Flag::Write, Flag::Fast]),
    group: Group::Set,
    keys: &[
        KeySpec::at(1, Access::Update, &["access", "delete"]),
        KeySpec::at(2, Access::Update, &["insert"]),
    ],
    since: "1.0.0",
    complexity: "O(1).",
    summary: "Moves a member from one set to another.",
    args: &[Arg::key("source"), Arg::new("destination", Kind::Key(1)), Arg::string("member")],
    handler: Handler::Transaction { run: smove, plan: plan_smove },
    ..DEFAULTS
};

fn smove(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (from, to, member) = (args.bytes()?, args.bytes()?, args.bytes()?);
    let Some(has) = look(ctx, from, member)? else {
        reply.integer(0);
        return Ok(());
    };
    look(ctx, to, member)?;
    if has && from != to {
        take(ctx, from, member)?;
        add(ctx, to, member)?;
    }
    reply.integer(has.into());
    Ok(())
}

/// Whether a set has a member; `None` if there is no such key.
fn look(ctx: &mut Context<'_>, key: &[u8], member: &[u8]) -> Result<Option<bool>, CommandError> {
    Ok(ctx.read_set(key)?.map(|set| set.contains(member)))
}

fn take(ctx: &mut Context<'_>, key: &[u8], member: &[u8]) -> CommandResult {
    let updated = ctx.update_set(key, false, |set, _| set.remove(member))?;
    ctx.modified(key, Event::SRem);
    if updated.is_some_and(|updated| updated.emptied) {
        ctx.announce(key, Event::Del);
    }
    Ok(())
}

fn add(ctx: &mut Context<'_>, key: &[u8], member: &[u8]) -> CommandResult {
    let updated = ctx.update_set(key, true, |set, limits| set.add(member, limits))?;
    if updated.is_some_and(|updated| updated.result) {
        ctx.modified(key, Event::SAdd);
    }
    Ok(())
}

/// The halves of a move from shard to shard, each for its own journal.
fn take_there(ctx: &mut Context<'_>, key: &[u8], member: &[u8]) -> CommandResult {
    take(ctx, key, member)?;
    ctx.propagate(&[b"SREM", key, member]);
    Ok(())
}

fn add_there(ctx: &mut Context<'_>, key: &[u8], member: &[u8]) -> CommandResult {
    add(ctx, key, member)?;
    ctx.propagate(&[b"SADD", key, member]);
    Ok(())
}

fn plan_smove(argv: Argv<'_>) -> Box<dyn Plan> {
    let argument = |index: usize| -> Box<[u8]> { argv.get(index).expect("the arity covers it").into() };
    Box::new(Move { from: argument(1), to: argument(2), member: argument(3), stage: MoveStage::Look })
}

/// `Look -> Judge -> Done`. The keys are different ones, since they have different owners.
struct Move {
    from: Box<[u8]>,
    to: Box<[u8]>,
    member: Box<[u8]>,
    stage: MoveStage,
}

enum MoveStage {
    Look,
    Judge,
    Done,
}

type Looked = Result<Option<bool>, CommandError>;

impl Plan for Move {
    fn step(&mut self, results: Vec<Contribution>, reply: &mut Reply<'_>) -> Step {
        let work = |key: &[u8], run: fn(&mut Context<'_>, &[u8], &[u8]) -> CommandResult| {
            let (owned, member): (Box<[u8]>, Box<[u8]>) = (key.into(), self.member.clone());
            HopWork::new(key, move |ctx| run(ctx, &owned, &member))
        };
        match self.stage {
            MoveStage::Look => {
                self.stage = MoveStage::Judge;
                let look_at = |key: &[u8]| {
                    let (owned, member): (Box<[u8]>, Box<[u8]>) = (key.into(), self.member.clone());
                    HopWork::new(key, move |ctx| look(ctx, &owned, &member))
                };
                Step::Hop(vec![look_at(&self.from), look_at(&self.to)])
            }
            MoveStage::Judge => {
                let mut looked = results.into_iter().map(result::<Looked>);
                let (from, to) = (looked.next().expect("two looks"), looked.next().expect("two looks"));
                match from.and_then(|has| if has.is_some() { to.map(|_| has) } else { Ok(has) }) {
                    Err(error) => Step::Done(Err(error)),
                    Ok(Some(true)) => {
                        self.stage = MoveStage::Done;
                        Step::Hop(vec![work(&self.from, take_there), work(&self.to, add_there)])
                    }
                    Ok(_) => {
                        reply.integer(0);
                        Step::Done(Ok(()))
                    }
                }
            }
            MoveStage::Done => {
                let failed = results.into_iter().find_map(|done| result::<CommandResult>(done).err());
                reply.integer(1);
                Step::Done(failed.map_or(Ok(()), Err))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::check;

    #[test]
    fn moves() {
        check(
            "
            > SADD a 1 x
            :2
            > SADD b 7
            :1
            > SMOVE a b x
            :1
            > SMOVE a b x
            :0
            > SMEMBERS b
            [$7, $x]
            > SMOVE a a 1
            :1
            > SMOVE a a 2
            :0
            > SMOVE a new 1
            :1
            > EXISTS a
            :0
            > SMOVE missing b x
            :0
            > SET text v
            +OK
            > SMOVE missing text x
            :0
            > SMOVE b text x
            -WRONGTYPE Operation against a key holding the wrong kind of value
            > SMOVE b text absent
            -WRONGTYPE Operation against a key holding the wrong kind of value
            > SMOVE text b x
            -WRONGTYPE Operation against a key holding the wrong kind of value
            > SADD c x
            :1
            > SMOVE c b x
            :1
            > EXISTS c
            :0
            > SMEMBERS b
            [$7, $x]
            ",
        );
    }
}
