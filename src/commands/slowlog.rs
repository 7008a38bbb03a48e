//! SLOWLOG: every core keeps the slow commands of its clients; asked for, they become one list.

use super::help;
use crate::base::number::parse_i64;
use crate::command_table::{
    Arg, Args, Arity, Asker, CommandSpec, Contribution, DEFAULTS, Flag, Flags, Group, Handler,
};
use crate::observability::SlowCommand;
use crate::resp::Reply;
use crate::session::{CoreState, Session};
use crate::shard::{CommandError, CommandResult};

pub(super) const COMMANDS: &[&CommandSpec] = &[&SLOWLOG];

const SHOWN_BY_DEFAULT: usize = 10;

const SLOWLOG: CommandSpec = CommandSpec {
    name: "SLOWLOG",
    full_name: "slowlog",
    arity: Arity::AtLeast(2),
    group: Group::Server,
    since: "2.2.12",
    complexity: "Depends on subcommand.",
    summary: "Commands that took long.",
    subcommands: &[&GET, &LEN, &RESET, &HELP],
    ..DEFAULTS
};

const ADMIN: Flags = Flags::of(&[Flag::Admin, Flag::Loading, Flag::Stale]);

const GET: CommandSpec = CommandSpec {
    name: "GET",
    full_name: "slowlog|get",
    arity: Arity::AtLeast(2),
    flags: ADMIN,
    group: Group::Server,
    since: "2.2.12",
    complexity: "O(N) where N is the number of entries returned.",
    summary: "Lists the newest slow commands.",
    args: &[Arg::integer("count").optional()],
    tips: &["request_policy:all_nodes", "nondeterministic_output"],
    handler: Handler::EveryCore {
        begin: |_, args| count_wanted(args).map(drop),
        collect: |core, _, args| {
            let count = count_wanted(args).unwrap_or(0);
            Box::new(core.slowlog.entries().take(count).cloned().collect::<Vec<SlowCommand>>())
        },
        finish: get,
    },
    ..DEFAULTS
};

/// `usize::MAX` for all.
fn count_wanted(mut args: Args<'_>) -> Result<usize, CommandError> {
    if args.remaining() > 1 {
        return Err(help::wrong_form("SLOWLOG", args.argv().get(1).unwrap_or_default()));
    }
    let Some(count) = args.next() else { return Ok(SHOWN_BY_DEFAULT) };
    match parse_i64(count) {
        Some(-1) => Ok(usize::MAX),
        Some(count @ 0..) => Ok(count as usize),
        _ => Err(CommandError::Text("ERR count should be greater than or equal to -1")),
    }
}

fn get(
    session: &mut Session<'_>,
    args: Args<'_>,
    contributions: Vec<Contribution>,
    reply: &mut Reply<'_>,
) -> CommandResult {
    let lists = contributions.into_iter().map(|part| part.downcast::<Vec<SlowCommand>>());
    let mut entries: Vec<SlowCommand> = lists.flat_map(|list| *list.expect("what this collects")).collect();
    entries.sort_unstable_by_key(|entry| std::cmp::Reverse(entry.id));
    // Each core keeps as many as all together may have.
    entries.truncate(count_wanted(args)?.min(session.core.settings.slowlog_length_max));
    reply.array(entries.len());
    for entry in &entries {
        reply.array(6);
        reply.integer(entry.id as i64);
        reply.integer(entry.unix_seconds as i64);
        reply.integer(entry.microseconds as i64);
        reply.array(entry.arguments.len());
        entry.arguments.iter().for_each(|argument| reply.bulk(argument));
        reply.bulk(entry.client_address.as_bytes());
        reply.bulk(&entry.client_name);
    }
    Ok(())
}

const LEN: CommandSpec = CommandSpec {
    name: "LEN",
    full_name: "slowlog|len",
    arity: Arity::Exactly(2),
    flags: ADMIN,
    group: Group::Server,
    since: "2.2.12",
    complexity: "O(1).",
    summary: "Counts the slow commands that are remembered.",
    tips: &["request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"],
    handler: Handler::EveryCore {
        begin: |_, _| Ok(()),
        collect: |core, _, _| Box::new(core.slowlog.len()),
        finish: |session, _, contributions, reply| {
            let lengths = contributions.into_iter().map(|part| part.downcast::<usize>());
            let length: usize = lengths.map(|length| *length.expect("what this collects")).sum();
            reply.length(length.min(session.core.settings.slowlog_length_max));
            Ok(())
        },
    },
    ..DEFAULTS
};

const RESET: CommandSpec = CommandSpec {
    name: "RESET",
    full_name: "slowlog|reset",
    arity: Arity::Exactly(2),
    flags: ADMIN,
    group: Group::Server,
    since: "2.2.12",
    complexity: "O(N) where N is the number of entries in the slowlog.",
    summary: "Forgets the slow commands.",
    tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
    handler: Handler::EveryCore {
        begin: |_, _| Ok(()),
        collect: reset,
        finish: |_, _, _, reply| {
            reply.ok();
            Ok(())
        },
    },
    ..DEFAULTS
};

fn reset(core: &mut CoreState, _: Asker, _: Args<'_>) -> Contribution {
    core.slowlog.clear();
    Box::new(())
}

const HELP: CommandSpec = CommandSpec {
    name: "HELP",
    full_name: "slowlog|help",
    arity: Arity::Exactly(2),
    flags: Flags::of(&[Flag::Loading, Flag::Stale]),
    group: Group::Server,
    since: "6.2.0",
    complexity: "O(1).",
    summary: "Shows the subcommands.",
    handler: Handler::Client(|_, _, reply| {
        help::write(
            reply,
            "SLOWLOG",
            &[
                (
                    "GET [<count>]",
                    &[
                        "The newest <count> entries of the slow log (10 by default, -1 for all): id,",
                        "Unix time, microseconds, arguments, address and name of the client.",
                    ],
                ),
                ("LEN", &["How many entries there are."]),
                ("RESET", &["Removes all entries."]),
            ],
        );
        Ok(())
    }),
    ..DEFAULTS
};
