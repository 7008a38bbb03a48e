//! The connection itself: PING, ECHO, SELECT, QUIT.

use crate::command_table::{Arg, Args, Arity, CommandSpec, DEFAULTS, Flag, Flags, Group, Handler};
use crate::resp::Reply;
use crate::session::Session;
use crate::shard::{CommandError, CommandResult};

pub(super) const COMMANDS: &[&CommandSpec] = &[&PING, &SELECT];

const PING: CommandSpec = CommandSpec {
    name: "PING",
    full_name: "ping",
    arity: Arity::AtLeast(1),
    flags: Flags::of(&[Flag::Fast]),
    group: Group::Connection,
    since: "1.0.0",
    complexity: "O(1).",
    summary: "Answers, to show that the server is there.",
    args: &[Arg::string("message").optional()],
    tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
    handler: Handler::Client(ping),
    ..DEFAULTS
};

fn ping(_: &mut Session<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    if args.remaining() > 1 {
        return Err(CommandError::WrongArity("ping"));
    }
    match args.next() {
        Some(message) => reply.bulk(message),
        None => reply.simple("PONG"),
    }
    Ok(())
}

const SELECT: CommandSpec = CommandSpec {
    name: "SELECT",
    full_name: "select",
    arity: Arity::Exactly(2),
    flags: Flags::of(&[Flag::Loading, Flag::Stale, Flag::Fast]),
    group: Group::Connection,
    since: "1.0.0",
    complexity: "O(1).",
    summary: "Changes the database of this connection.",
    args: &[Arg::integer("index")],
    handler: Handler::Client(select),
    ..DEFAULTS
};

fn select(session: &mut Session<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let index = args.integer()?;
    let databases = session.core.settings.databases;
    let index = usize::try_from(index).ok().filter(|index| *index < databases);
    session.client().db = index.ok_or(CommandError::DbIndexOutOfRange)?;
    reply.ok();
    Ok(())
}
