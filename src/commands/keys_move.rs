//! Values that change their key or database: RENAME, COPY, MOVE.
//!
//! Where source and destination live on two shards, the hops of a plan do it. Everything that can fail is
//! checked before the source is touched; the plans are written as if nobody else could change the keys
//! between two hops.

use super::hops::result;
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

#[cfg(test)]
mod tests {
    use crate::commands::testing::check;

    #[test]
    fn rename() {
        check(
            "
            > RENAME a b
            -ERR no such key
            > RENAME a a
            -ERR no such key
            > SET a 1 EX 100
            +OK
            > RENAME a a
            +OK
            > RENAME a b
            +OK
            > EXISTS a
            :0
            > GET b
            $1
            > TTL b
            :100
            > SET c 2
            +OK
            > RENAME c b
            +OK
            > TTL b
            :-1
            > GET b
            $2
            > OBJECT ENCODING b
            $int
            > APPEND b 3
            :2
            > RENAME b longer-name
            +OK
            > OBJECT ENCODING longer-name
            $raw
            > GET longer-name
            $23
            > RENAME longer-name
            -ERR wrong number of arguments for 'rename' command
            > SET x 1 PX 20
            +OK
            @ later 40
            > RENAME x y
            -ERR no such key
            ",
        );
    }

    #[test]
    fn renamenx() {
        check(
            "
            > RENAMENX a b
            -ERR no such key
            > RENAMENX a a
            -ERR no such key
            > SET a 1
            +OK
            > RENAMENX a a
            :0
            > RENAMENX a b
            :1
            > SET c 3
            +OK
            > RENAMENX c b
            :0
            > GET b
            $1
            > GET c
            $3
            > SET x 1 PX 20
            +OK
            @ later 40
            > RENAMENX c x
            :1
            > TTL x
            :-1
            > RENAMENX missing x
            -ERR no such key
            ",
        );
    }

    #[test]
    fn copy() {
        check(
            "
            > COPY a b
            :0
            > SET a hello EX 100
            +OK
            > COPY a b
            :1
            > GET b
            $hello
            > TTL b
            :100
            > TTL a
            :100
            > COPY a b
            :0
            > SET b other
            +OK
            > COPY a b REPLACE
            :1
            > GET b
            $hello
            > COPY a b DB 1
            :1
            > SELECT 1
            +OK
            > GET b
            $hello
            > TTL b
            :100
            > SELECT 0
            +OK
            > COPY a b DB 1
            :0
            > COPY a b DB 1 REPLACE
            :1
            > COPY a b REPLACE DB 1
            :1
            > COPY a a
            -ERR source and destination objects are the same
            > COPY a a DB 0
            -ERR source and destination objects are the same
            > COPY a a DB 2
            :1
            > COPY a b DB 16
            -ERR DB index is out of range
            > COPY a b DB -1
            -ERR DB index is out of range
            > COPY a b DB abc
            -ERR value is not an integer or out of range
            > COPY a b DB 99999999999
            -ERR value is out of range, value must between -2147483648 and 2147483647
            > COPY a b DB
            -ERR syntax error
            > COPY a b FOO
            -ERR syntax error
            > COPY a b DB abc FOO
            -ERR value is not an integer or out of range
            > COPY missing missing
            -ERR source and destination objects are the same
            > COPY missing b DB 16
            -ERR DB index is out of range
            > COPY a
            -ERR wrong number of arguments for 'copy' command
            > APPEND a x
            :6
            > COPY a c
            :1
            > OBJECT ENCODING c
            $raw
            > SET x 1 PX 20
            +OK
            @ later 40
            > COPY x y
            :0
            > COPY a x
            :1
            ",
        );
    }

    #[test]
    fn move_to_a_database() {
        check(
            "
            > MOVE a 1
            :0
            > SET a v EX 100
            +OK
            > MOVE a 0
            -ERR source and destination objects are the same
            > MOVE a 1
            :1
            > EXISTS a
            :0
            > SELECT 1
            +OK
            > GET a
            $v
            > TTL a
            :100
            > SELECT 0
            +OK
            > SET a w
            +OK
            > MOVE a 1
            :0
            > GET a
            $w
            > MOVE a 16
            -ERR DB index is out of range
            > MOVE a -1
            -ERR DB index is out of range
            > MOVE a abc
            -ERR value is not an integer or out of range
            > MOVE a 99999999999
            -ERR value is out of range, value must between -2147483648 and 2147483647
            > MOVE missing 16
            -ERR DB index is out of range
            > MOVE a 0
            -ERR source and destination objects are the same
            > MOVE a
            -ERR wrong number of arguments for 'move' command
            ",
        );
    }
}
