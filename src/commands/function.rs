//! FUNCTION: there are no functions yet. What can be said truly of none is said, the rest is refused.

use super::help;
use crate::base::crc::crc64;
use crate::command_table::{Arg, Args, Arity, CommandSpec, DEFAULTS, Flag, Flags, Group, Handler};
use crate::resp::Reply;
use crate::session::Session;
use crate::shard::{CommandError, CommandResult};

pub(super) const COMMANDS: &[&CommandSpec] = &[&FUNCTION];

const NOT_YET: CommandError =
    CommandError::Text("ERR functions are not available yet in this version of Pinion");

/// Of dumps as redis-server 7.0 writes them.
const RDB_VERSION: u16 = 10;

const FUNCTION: CommandSpec = CommandSpec {
    name: "FUNCTION",
    full_name: "function",
    arity: Arity::AtLeast(2),
    group: Group::Scripting,
    since: "7.0.0",
    complexity: "Depends on subcommand.",
    summary: "Libraries of functions.",
    subcommands: &[&DELETE, &DUMP, &FLUSH, &KILL, &LIST, &LOAD, &RESTORE, &STATS, &HELP],
    ..DEFAULTS
};

const SUBCOMMAND: CommandSpec = CommandSpec {
    arity: Arity::Exactly(2),
    group: Group::Scripting,
    since: "7.0.0",
    complexity: "O(1).",
    ..DEFAULTS
};

const WRITE: Flags = Flags::of(&[Flag::Write, Flag::NoScript]);
const LOADING: Flags = Flags::of(&[Flag::Write, Flag::DenyOom, Flag::NoScript]);
const ALL_SUCCEED: &[&str] = &["request_policy:all_shards", "response_policy:all_succeeded"];

const FLUSH: CommandSpec = CommandSpec {
    name: "FLUSH",
    full_name: "function|flush",
    arity: Arity::AtLeast(2),
    flags: WRITE,
    complexity: "O(N) where N is the number of functions deleted.",
    summary: "Deletes all libraries.",
    args: &[Arg::one_of("async", &[Arg::token("async", "ASYNC"), Arg::token("sync", "SYNC")]).optional()],
    tips: ALL_SUCCEED,
    handler: Handler::Client(flush),
    ..SUBCOMMAND
};

fn flush(_: &mut Session<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    if args.remaining() > 1 {
        return Err(help::wrong_form("FUNCTION", args.argv().get(1).unwrap_or_default()));
    }
    if args.remaining() == 1 && !args.option("SYNC") && !args.option("ASYNC") {
        return Err(CommandError::Text("ERR FUNCTION FLUSH only supports SYNC|ASYNC option"));
    }
    reply.ok();
    Ok(())
}

const LIST: CommandSpec = CommandSpec {
    name: "LIST",
    full_name: "function|list",
    arity: Arity::AtLeast(2),
    flags: Flags::of(&[Flag::NoScript]),
    complexity: "O(N) where N is the number of functions.",
    summary: "Lists the libraries.",
    args: &[
        Arg::string("library-name-pattern").after("LIBRARYNAME").optional(),
        Arg::token("withcode", "WITHCODE").optional(),
    ],
    tips: &["nondeterministic_output_order"],
    handler: Handler::Client(list),
    ..SUBCOMMAND
};

fn list(_: &mut Session<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (mut name, mut code) = (false, false);
    while let Some(word) = args.peek() {
        if !code && args.option("WITHCODE") {
            code = true;
        } else if !name && args.option("LIBRARYNAME") {
            name = true;
            args.next().ok_or(CommandError::Text("ERR library name argument was not given"))?;
        } else {
            let word = String::from_utf8_lossy(word);
            return Err(CommandError::built(format!("ERR Unknown argument {word}")));
        }
    }
    reply.array(0);
    Ok(())
}

const STATS: CommandSpec = CommandSpec {
    name: "STATS",
    full_name: "function|stats",
    flags: Flags::of(&[Flag::NoScript, Flag::AllowBusy]),
    summary: "Tells which function runs, and how many there are.",
    tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
    handler: Handler::Client(|_, _, reply| {
        reply.map(2);
        reply.bulk(b"running_script");
        reply.null();
        reply.bulk(b"engines");
        reply.map(0);
        Ok(())
    }),
    ..SUBCOMMAND
};

const KILL: CommandSpec = CommandSpec {
    name: "KILL",
    full_name: "function|kill",
    flags: Flags::of(&[Flag::NoScript, Flag::AllowBusy]),
    summary: "Stops the function that runs.",
    tips: &["request_policy:all_shards", "response_policy:one_succeeded"],
    handler: Handler::Client(|_, _, _| Err(CommandError::Text("NOTBUSY No scripts in execution right now."))),
    ..SUBCOMMAND
};

const DELETE: CommandSpec = CommandSpec {
    name: "DELETE",
    full_name: "function|delete",
    arity: Arity::Exactly(3),
    flags: WRITE,
    summary: "Deletes a library.",
    args: &[Arg::string("library-name")],
    tips: ALL_SUCCEED,
    handler: Handler::Client(|_, _, _| Err(CommandError::Text("ERR Library not found"))),
    ..SUBCOMMAND
};

const LOAD: CommandSpec = CommandSpec {
    name: "LOAD",
    full_name: "function|load",
    arity: Arity::AtLeast(3),
    flags: LOADING,
    complexity: "O(1) (considering compilation time is redundant).",
    summary: "Adds a library.",
    args: &[Arg::token("replace", "REPLACE").optional(), Arg::string("function-code")],
    tips: ALL_SUCCEED,
    handler: Handler::Client(|_, _, _| Err(NOT_YET)),
    ..SUBCOMMAND
};

const DUMP: CommandSpec = CommandSpec {
    name: "DUMP",
    full_name: "function|dump",
    flags: Flags::of(&[Flag::NoScript]),
    complexity: "O(N) where N is the number of functions.",
    summary: "Serialises all libraries.",
    handler: Handler::Client(|_, _, reply| {
        // No library: the version of the format, and the checksum that ends every dump.
        let mut dump = RDB_VERSION.to_le_bytes().to_vec();
        dump.extend_from_slice(&crc64(0, &dump).to_le_bytes());
        reply.bulk(&dump);
        Ok(())
    }),
    ..SUBCOMMAND
};

const RESTORE: CommandSpec = CommandSpec {
    name: "RESTORE",
    full_name: "function|restore",
    arity: Arity::AtLeast(3),
    flags: LOADING,
    complexity: "O(N) where N is the number of functions on the payload.",
    summary: "Restores serialised libraries.",
    args: &[
        Arg::string("serialized-value"),
        Arg::one_of(
            "policy",
            &[Arg::token("flush", "FLUSH"), Arg::token("append", "APPEND"), Arg::token("replace", "REPLACE")],
        )
        .optional(),
    ],
    tips: ALL_SUCCEED,
    handler: Handler::Client(|_, _, _| Err(NOT_YET)),
    ..SUBCOMMAND
};

const HELP: CommandSpec = CommandSpec {
    name: "HELP",
    full_name: "function|help",
    flags: Flags::of(&[Flag::Loading, Flag::Stale]),
    summary: "Shows the subcommands.",
    handler: Handler::Client(|_, _, reply| {
        help::write(
            reply,
            "FUNCTION",
            &[
                ("LOAD [REPLACE] <FUNCTION CODE>", &["Not available yet."]),
                ("DELETE <LIBRARY NAME>", &["Deletes a library."]),
                ("LIST [LIBRARYNAME PATTERN] [WITHCODE]", &["Lists the libraries."]),
                ("STATS", &["Which function runs, and the engines."]),
                ("KILL", &["Stops the function that runs."]),
                ("FLUSH [ASYNC|SYNC]", &["Deletes all libraries."]),
                ("DUMP", &["Serialises all libraries."]),
                ("RESTORE <PAYLOAD> [FLUSH|APPEND|REPLACE]", &["Not available yet."]),
            ],
        );
        Ok(())
    }),
    ..SUBCOMMAND
};
