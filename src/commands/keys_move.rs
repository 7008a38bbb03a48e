//! Values that change their key or database: RENAME, COPY, MOVE.
//!
//! Where source and destination live on two shards, the hops of a plan do it. Everything that can fail is
//! checked before the source is touched; the plans are written as if nobody else could change the keys
//! between two hops.

use crate::base::number::parse_i64;
use crate::command_table::{
    Access, Arg, Args, Arity, CommandSpec, Contribution, DEFAULTS, Flag, Flags, Handler, HopWork, KeySpec,
    Kind, Plan, Step,
};
use crate::keyspace::Detached;
use crate::resp::{Argv, ArgvBuf, Reply};
use crate::shard::{CommandError, CommandResult, Context, Event};

pub(super) const COMMANDS: &[&CommandSpec] = &[&RENAME, &RENAMENX, &COPY, &MOVE];

const RENAME: CommandSpec = CommandSpec {
    name: "RENAME",
    full_name: "rename",
    arity: Arity::Exactly(3),
    flags: Flags::of(&[Flag::Write]),
    keys: &[
        KeySpec::at(1, Access::Update, &["access", "delete"]),
        KeySpec::at(2, Access::Overwrite, &["update"]),
    ],
    summary: "Renames a key; one that has the new name already is replaced.",
    args: &[Arg::key("key"), Arg::new("newkey", Kind::Key(1))],
    handler: Handler::Transaction { run: rename, plan: plan_rename },
    ..DEFAULTS
};

const RENAMENX: CommandSpec = CommandSpec {
    name: "RENAMENX",
    full_name: "renamenx",
    flags: Flags::of(&[Flag::Write, Flag::Fast]),
    keys: &[
        KeySpec::at(1, Access::Update, &["access", "delete"]),
        KeySpec::at(2, Access::Overwrite, &["insert"]),
    ],
    summary: "Renames a key unless another one has the new name already.",
    handler: Handler::Transaction { run: renamenx, plan: plan_renamenx },
    ..RENAME
};

fn rename(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (from, to) = (args.bytes()?, args.bytes()?);
    if from == to {
        ctx.write(from).ok_or(CommandError::NoSuchKey)?;
    } else {
        let value = take(ctx, from).ok_or(CommandError::NoSuchKey)?;
        put_renamed(ctx, to, value);
    }
    reply.ok();
    Ok(())
}

fn renamenx(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (from, to) = (args.bytes()?, args.bytes()?);
    ctx.write(from).ok_or(CommandError::NoSuchKey)?;
    // Renamed onto itself: the new name is taken.
    let free = ctx.write(to).is_none();
    if free {
        let value = take(ctx, from).expect("looked at above");
        put_renamed(ctx, to, value);
    }
    reply.integer(free.into());
    Ok(())
}

fn take(ctx: &mut Context<'_>, key: &[u8]) -> Option<Detached> {
    let value = ctx.write(key)?.take();
    // RENAME counts as one change; the other half is `rename_to`.
    ctx.announce(key, Event::RenameFrom);
    Some(value)
}

fn put_renamed(ctx: &mut Context<'_>, key: &[u8], value: Detached) {
    ctx.put(key, value);
    ctx.modified(key, Event::RenameTo);
}

fn plan_rename(argv: Argv<'_>) -> Box<dyn Plan> {
    Box::new(Rename {
        from: argument(argv, 1),
        to: argument(argv, 2),
        stage: RenameStage::Take,
        only_free: false,
    })
}

fn plan_renamenx(argv: Argv<'_>) -> Box<dyn Plan> {
    Box::new(Rename {
        from: argument(argv, 1),
        to: argument(argv, 2),
        stage: RenameStage::Look,
        only_free: true,
    })
}

fn argument(argv: Argv<'_>, index: usize) -> Box<[u8]> {
    argv.get(index).expect("the arity covers it").into()
}

/// The result of one piece of a hop.
fn result<R: 'static>(contribution: Contribution) -> R {
    *contribution.downcast().expect("the kind of result that was asked for")
}

struct Rename {
    from: Box<[u8]>,
    to: Box<[u8]>,
    /// RENAMENX.
    only_free: bool,
    stage: RenameStage,
}

/// `[Look -> Judge ->] Take -> Put -> Done`: RENAMENX looks first.
enum RenameStage {
    Look,
    Judge,
    Take,
    Put,
    Done,
}

impl Plan for Rename {
    fn step(&mut self, results: Vec<Contribution>, reply: &mut Reply<'_>) -> Step {
        let (from, to) = (self.from.clone(), self.to.clone());
        match self.stage {
            RenameStage::Look => {
                self.stage = RenameStage::Judge;
                Step::Hop(vec![
                    HopWork::new(&self.from, move |ctx| ctx.write(&from).is_some()),
                    HopWork::new(&self.to, move |ctx| ctx.write(&to).is_some()),
                ])
            }
            RenameStage::Judge => {
                let mut exist = results.into_iter().map(result::<bool>);
                if exist.next() != Some(true) {
                    return Step::Done(Err(CommandError::NoSuchKey));
                }
                if exist.next() != Some(false) {
                    reply.integer(0);
                    return Step::Done(Ok(()));
                }
                self.stage = RenameStage::Take;
                self.step(Vec::new(), reply)
            }
            RenameStage::Take => {
                self.stage = RenameStage::Put;
                Step::Hop(vec![HopWork::new(&self.from, move |ctx| take(ctx, &from))])
            }
            RenameStage::Put => {
                let taken = results.into_iter().next().and_then(result::<Option<Detached>>);
                let Some(value) = taken else { return Step::Done(Err(CommandError::NoSuchKey)) };
                self.stage = RenameStage::Done;
                Step::Hop(vec![HopWork::new(&self.to, move |ctx| put_renamed(ctx, &to, value))])
            }
            RenameStage::Done => {
                if self.only_free {
                    reply.integer(1);
                } else {
                    reply.ok();
                }
                Step::Done(Ok(()))
            }
        }
    }
}

const COPY: CommandSpec = CommandSpec {
    name: "COPY",
    full_name: "copy",
    arity: Arity::AtLeast(3),
    flags: Flags::of(&[Flag::Write, Flag::DenyOom]),
    keys: &[KeySpec::at(1, Access::Read, &["access"]), KeySpec::at(2, Access::Overwrite, &["update"])],
    since: "6.2.0",
    complexity: "O(N) where N is the number of elements; O(1) for strings.",
    summary: "Copies a key's value and deadline to another key, also of another database.",
    args: &[
        Arg::key("source"),
        Arg::new("destination", Kind::Key(1)),
        Arg::integer("destination-db").after("DB").optional(),
        Arg::token("replace", "REPLACE").optional(),
    ],
    handler: Handler::Transaction { run: copy, plan: plan_copy },
    ..DEFAULTS
};

struct CopyOptions {
    db: usize,
    replace: bool,
}

impl CopyOptions {
    fn parse(ctx: &Context<'_>, mut args: Args<'_>) -> Result<Self, CommandError> {
        let mut options = Self { db: ctx.db, replace: false };
        while args.remaining() > 0 {
            if args.option("REPLACE") {
                options.replace = true;
            } else if args.option("DB") {
                options.db = database(ctx, args.bytes()?)?;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(options)
    }
}

/// The number of a database that exists.
fn database(ctx: &Context<'_>, text: &[u8]) -> Result<usize, CommandError> {
    let index = parse_i64(text).ok_or(CommandError::NotAnInteger)?;
    if i32::try_from(index).is_err() {
        let (low, high) = (i32::MIN, i32::MAX);
        let text = format!("ERR value is out of range, value must between {low} and {high}");
        return Err(CommandError::built(text));
    }
    let index = usize::try_from(index).ok().filter(|index| *index < ctx.shard.databases.len());
    index.ok_or(CommandError::DbIndexOutOfRange)
}

fn copy(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (from, to) = (args.bytes()?, args.bytes()?);
    let options = CopyOptions::parse(ctx, args)?;
    if from == to && options.db == ctx.db {
        return Err(CommandError::SameObject);
    }
    let source = ctx.read(from).is_some();
    let copied = source && (options.replace || ctx.on(options.db).write(to).is_none());
    if copied {
        let value = ctx.peek(from).expect("looked at above").to_detached();
        put_copied(&mut ctx.on(options.db), to, value);
    }
    reply.integer(copied.into());
    Ok(())
}

fn put_copied(ctx: &mut Context<'_>, key: &[u8], mut value: Detached) {
    value.access = ctx.shard.access_clock;
    ctx.put(key, value);
    ctx.modified(key, Event::CopyTo);
}

fn plan_copy(argv: Argv<'_>) -> Box<dyn Plan> {
    Box::new(Copy { argv: argv.to_owned(), stage: CopyStage::Look })
}

/// Hop 1 copies the source and looks at the destination, hop 2 puts the copy there.
struct Copy {
    argv: ArgvBuf,
    stage: CopyStage,
}

enum CopyStage {
    Look,
    Judge,
    Done,
}

type Copied = Result<Option<Detached>, CommandError>;
/// The database the copy goes to, and whether it may.
type Room = Result<(usize, bool), CommandError>;

impl Plan for Copy {
    fn step(&mut self, results: Vec<Contribution>, reply: &mut Reply<'_>) -> Step {
        match self.stage {
            CopyStage::Look => {
                self.stage = CopyStage::Judge;
                Step::Hop(self.look())
            }
            CopyStage::Judge => {
                let mut results = results.into_iter();
                let (Some(copied), Some(room)) = (results.next(), results.next()) else {
                    unreachable!("two were asked")
                };
                self.stage = CopyStage::Done;
                match (result::<Copied>(copied), result::<Room>(room)) {
                    (Err(error), _) | (_, Err(error)) => Step::Done(Err(error)),
                    (Ok(Some(value)), Ok((db, true))) => {
                        let to = argument(self.argv.as_argv(), 2);
                        let put =
                            move |ctx: &mut Context<'_>, to: &[u8]| put_copied(&mut ctx.on(db), to, value);
                        Step::Hop(vec![HopWork::new(&to.clone(), move |ctx| put(ctx, &to))])
                    }
                    _ => {
                        reply.integer(0);
                        Step::Done(Ok(()))
                    }
                }
            }
            CopyStage::Done => {
                reply.integer(1);
                Step::Done(Ok(()))
            }
        }
    }
}

impl Copy {
    fn look(&self) -> Vec<HopWork> {
        let argv = self.argv.as_argv();
        let (from, to) = (argument(argv, 1), argument(argv, 2));
        let (for_source, for_destination) = (self.argv.clone(), self.argv.clone());
        vec![
            HopWork::new(&from.clone(), move |ctx| -> Copied {
                CopyOptions::parse(ctx, Args::new(for_source.as_argv(), 3))?;
                Ok(ctx.read(&from).map(|entry| entry.to_detached()))
            }),
            HopWork::new(&to.clone(), move |ctx| -> Room {
                let options = CopyOptions::parse(ctx, Args::new(for_destination.as_argv(), 3))?;
                let room = options.replace || ctx.on(options.db).write(&to).is_none();
                Ok((options.db, room))
            }),
        ]
    }
}

const MOVE: CommandSpec = CommandSpec {
    name: "MOVE",
    full_name: "move",
    arity: Arity::Exactly(3),
    flags: Flags::of(&[Flag::Write, Flag::Fast]),
    keys: &[KeySpec::at(1, Access::Update, &["access", "update"])],
    summary: "Moves a key to another database unless it exists there.",
    args: &[Arg::key("key"), Arg::integer("db")],
    handler: Handler::Shard(move_key),
    ..DEFAULTS
};

/// The same key has the same slot, and so the same shard, in every database.
fn move_key(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let key = args.bytes()?;
    let db = database(ctx, args.bytes()?)?;
    if db == ctx.db {
        return Err(CommandError::SameObject);
    }
    let movable = ctx.write(key).is_some() && ctx.on(db).write(key).is_none();
    if movable {
        let value = ctx.write(key).expect("looked at above").take();
        ctx.announce(key, Event::MoveFrom);
        ctx.on(db).put(key, value);
        ctx.on(db).modified(key, Event::MoveTo);
    }
    reply.integer(movable.into());
    Ok(())
}
