//! Whole databases: FLUSHDB, FLUSHALL, SWAPDB.

use crate::base::number::parse_i64;
use crate::command_table::{
    Arg, Args, Arity, Asker, Category, CommandSpec, Contribution, DEFAULTS, Flag, Flags, Group, Handler,
};
use crate::persistence::save;
use crate::resp::Reply;
use crate::session::{CoreState, Session};
use crate::shard::{CommandError, CommandResult};

pub(super) const COMMANDS: &[&CommandSpec] = &[&FLUSHDB, &FLUSHALL, &SWAPDB];

const FLUSHDB: CommandSpec = CommandSpec {
    name: "FLUSHDB",
    full_name: "flushdb",
    arity: Arity::AtLeast(1),
    flags: Flags::of(&[Flag::Write]),
    group: Group::Server,
    categories: &[Category::Keyspace, Category::Dangerous],
    complexity: "O(N) where N is the number of keys in the database.",
    summary: "Deletes all keys of the database.",
    args: &[Arg::one_of(
        "async",
        &[Arg::token("async", "ASYNC").since("4.0.0"), Arg::token("sync", "SYNC").since("6.2.0")],
    )
    .optional()],
    tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
    handler: Handler::EveryCore { begin: check_mode, collect: flush_database, finish: say_ok },
    ..DEFAULTS
};

const FLUSHALL: CommandSpec = CommandSpec {
    name: "FLUSHALL",
    full_name: "flushall",
    complexity: "O(N) where N is the number of keys in all databases.",
    summary: "Deletes all keys of all databases.",
    handler: Handler::EveryCore { begin: check_mode, collect: flush_everything, finish: save_nothing },
    ..FLUSHDB
};

/// Whether memory is to be freed later, if it is said.
fn mode(mut args: Args<'_>) -> Result<Option<bool>, CommandError> {
    let lazily = if args.remaining() == 0 {
        None
    } else if args.option("SYNC") {
        Some(false)
    } else if args.option("ASYNC") {
        Some(true)
    } else {
        return Err(CommandError::Syntax);
    };
    args.end()?;
    Ok(lazily)
}

fn check_mode(_: &mut Session<'_>, args: Args<'_>) -> CommandResult {
    mode(args).map(drop)
}

fn flush_database(core: &mut CoreState, asker: Asker, args: Args<'_>) -> Contribution {
    flush(core, Some(asker.db), args)
}

fn flush_everything(core: &mut CoreState, _: Asker, args: Args<'_>) -> Contribution {
    flush(core, None, args)
}

fn flush(core: &mut CoreState, db: Option<usize>, args: Args<'_>) -> Contribution {
    let said = mode(args).expect("checked at the beginning");
    let lazily = said.unwrap_or(core.shard.options.lazy_user_flush);
    core.shard.flush(db, lazily);
    Box::new(core.shard.effects.dirty())
}

/// FLUSHALL also empties what is saved.
fn save_nothing(
    session: &mut Session<'_>,
    _: Args<'_>,
    cores: Vec<Contribution>,
    reply: &mut Reply<'_>,
) -> CommandResult {
    let changes = cores.into_iter().map(|part| *part.downcast::<u64>().expect("what flushing tells")).sum();
    save::flushed_all(session.core, changes);
    reply.ok();
    Ok(())
}

fn say_ok(_: &mut Session<'_>, _: Args<'_>, _: Vec<Contribution>, reply: &mut Reply<'_>) -> CommandResult {
    reply.ok();
    Ok(())
}

const SWAPDB: CommandSpec = CommandSpec {
    name: "SWAPDB",
    full_name: "swapdb",
    arity: Arity::Exactly(3),
    flags: Flags::of(&[Flag::Write, Flag::Fast]),
    group: Group::Server,
    categories: &[Category::Keyspace, Category::Dangerous],
    since: "4.0.0",
    complexity: "O(1) for each core.",
    summary: "Swaps two databases: clients of one see the keys of the other.",
    args: &[Arg::integer("index1"), Arg::integer("index2")],
    handler: Handler::EveryCore { begin: check_databases, collect: swap, finish: say_ok },
    ..DEFAULTS
};

fn databases(core: &CoreState, mut args: Args<'_>) -> Result<(usize, usize), CommandError> {
    let mut index = |error| {
        let index = args.bytes().ok().and_then(parse_i64).and_then(|index| i32::try_from(index).ok());
        index.ok_or(CommandError::Text(error))
    };
    let (first, second) = (index("ERR invalid first DB index")?, index("ERR invalid second DB index")?);
    let existing = |index: i32| {
        let index = usize::try_from(index).ok().filter(|index| *index < core.settings.databases);
        index.ok_or(CommandError::DbIndexOutOfRange)
    };
    Ok((existing(first)?, existing(second)?))
}

fn check_databases(session: &mut Session<'_>, args: Args<'_>) -> CommandResult {
    databases(session.core, args).map(drop)
}

fn swap(core: &mut CoreState, _: Asker, args: Args<'_>) -> Contribution {
    let (first, second) = databases(core, args).expect("checked at the beginning");
    core.shard.swap(first, second);
    Box::new(())
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::check;

    #[test]
    fn flush() {
        check(
            "
            > MSET a 1 b 2
            +OK
            > SELECT 1
            +OK
            > SET c 3
            +OK
            > FLUSHDB
            +OK
            > DBSIZE
            :0
            > SELECT 0
            +OK
            > DBSIZE
            :2
            > FLUSHDB ASYNC
            +OK
            > DBSIZE
            :0
            > SET a 1
            +OK
            > SELECT 3
            +OK
            > SET a 1
            +OK
            > FLUSHALL sync
            +OK
            > DBSIZE
            :0
            > SELECT 0
            +OK
            > DBSIZE
            :0
            > SET a 1
            +OK
            > FLUSHALL ASYNC
            +OK
            > DBSIZE
            :0
            > FLUSHALL
            +OK
            > FLUSHALL FOO
            -ERR syntax error
            > FLUSHALL SYNC ASYNC
            -ERR syntax error
            > FLUSHDB ASYNC ASYNC
            -ERR syntax error
            > FLUSHDB FOO
            -ERR syntax error
            ",
        );
    }

    #[test]
    fn swapdb() {
        check(
            "
            > SET a 1 EX 100
            +OK
            > SELECT 1
            +OK
            > SET b 2
            +OK
            > SWAPDB 0 1
            +OK
            > GET a
            $1
            > TTL a
            :100
            > GET b
            nil
            > SELECT 0
            +OK
            > GET b
            $2
            > SWAPDB 0 0
            +OK
            > GET b
            $2
            > SWAPDB 0 16
            -ERR DB index is out of range
            > SWAPDB 16 0
            -ERR DB index is out of range
            > SWAPDB -1 0
            -ERR DB index is out of range
            > SWAPDB a 0
            -ERR invalid first DB index
            > SWAPDB 0 a
            -ERR invalid second DB index
            > SWAPDB a b
            -ERR invalid first DB index
            > SWAPDB 99999999999 0
            -ERR invalid first DB index
            > SWAPDB 0
            -ERR wrong number of arguments for 'swapdb' command
            ",
        );
    }
}
