//! COMMAND: the command table, told to clients.

use super::help;
use crate::base::glob;
use crate::command_table::docs::{self, FoundKey};
use crate::command_table::{
    Arg, Args, Arity, Category, Command, CommandSpec, CommandTable, DEFAULTS, Flag, Flags, Group, Handler,
    Kind,
};
use crate::resp::Reply;
use crate::session::Session;
use crate::shard::{CommandError, CommandResult};

pub(super) const COMMANDS: &[&CommandSpec] = &[&COMMAND];

const FLAGS: Flags = Flags::of(&[Flag::Loading, Flag::Stale]);
const CATEGORIES: &[Category] = &[Category::Connection];
const ANY_ORDER: &[&str] = &["nondeterministic_output_order"];
const NAMES: &[Arg] = &[Arg::string("command-name").optional().multiple()];

const COMMAND: CommandSpec = CommandSpec {
    name: "COMMAND",
    full_name: "command",
    arity: Arity::AtLeast(1),
    flags: FLAGS,
    group: Group::Server,
    categories: CATEGORIES,
    since: "2.8.13",
    complexity: "O(N) where N is the total number of Redis commands",
    summary: "Describes all commands.",
    tips: ANY_ORDER,
    handler: Handler::Client(all),
    subcommands: &[&COUNT, &DOCS, &GETKEYS, &GETKEYSANDFLAGS, &HELP, &INFO, &LIST],
    ..DEFAULTS
};

fn all(session: &mut Session<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let table = session.core.table;
    reply.array(table.top_level().count());
    for command in table.top_level() {
        docs::write_info(table, command, command.spec.full_name, reply);
    }
    Ok(())
}

const COUNT: CommandSpec = CommandSpec {
    name: "COUNT",
    full_name: "command|count",
    arity: Arity::Exactly(2),
    flags: FLAGS,
    group: Group::Server,
    categories: CATEGORIES,
    since: "2.8.13",
    complexity: "O(1)",
    summary: "Returns the number of commands.",
    handler: Handler::Client(count),
    ..DEFAULTS
};

fn count(session: &mut Session<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    reply.length(session.core.table.top_level().count());
    Ok(())
}

const INFO: CommandSpec = CommandSpec {
    name: "INFO",
    full_name: "command|info",
    arity: Arity::AtLeast(2),
    flags: FLAGS,
    group: Group::Server,
    categories: CATEGORIES,
    since: "2.8.13",
    complexity: "O(N) where N is the number of commands to look up",
    summary: "Describes some commands, or all.",
    args: NAMES,
    tips: ANY_ORDER,
    handler: Handler::Client(info),
    ..DEFAULTS
};

fn info(session: &mut Session<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    if args.remaining() == 0 {
        return all(session, args, reply);
    }
    let table = session.core.table;
    reply.array(args.remaining());
    for name in args {
        match table.find_full(name) {
            Some(command) => docs::write_info(table, command, command.spec.full_name, reply),
            None => reply.null(),
        }
    }
    Ok(())
}

const DOCS: CommandSpec = CommandSpec {
    name: "DOCS",
    full_name: "command|docs",
    arity: Arity::AtLeast(2),
    flags: FLAGS,
    group: Group::Server,
    categories: CATEGORIES,
    since: "7.0.0",
    complexity: "O(N) where N is the number of commands to look up",
    summary: "Explains some commands, or all, and their arguments.",
    args: NAMES,
    tips: ANY_ORDER,
    handler: Handler::Client(explain),
    ..DEFAULTS
};

fn explain(session: &mut Session<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let table = session.core.table;
    let commands: Vec<&Command> = match args.remaining() {
        0 => table.top_level().collect(),
        // Names of no command are passed over.
        _ => args.filter_map(|name| table.find_full(name)).collect(),
    };
    reply.map(commands.len());
    for command in commands {
        reply.bulk(command.spec.full_name.as_bytes());
        docs::write_docs(table, command, reply);
    }
    Ok(())
}

const LIST: CommandSpec = CommandSpec {
    name: "LIST",
    full_name: "command|list",
    arity: Arity::AtLeast(2),
    flags: FLAGS,
    group: Group::Server,
    categories: CATEGORIES,
    since: "7.0.0",
    complexity: "O(N) where N is the total number of Redis commands",
    summary: "Returns the names of the commands, all or some.",
    args: &[Arg::one_of(
        "filterby",
        &[
            Arg::string("module-name").after("MODULE"),
            Arg::string("category").after("ACLCAT"),
            Arg::new("pattern", Kind::Pattern).after("PATTERN"),
        ],
    )
    .after("FILTERBY")
    .optional()],
    tips: ANY_ORDER,
    handler: Handler::Client(list),
    ..DEFAULTS
};

/// Which names COMMAND LIST gives.
enum Filter<'a> {
    None,
    /// There are no modules, so no command is of this one.
    Module,
    /// Nothing is in a category that does not exist.
    Category(Option<Category>),
    Pattern(&'a [u8]),
}

impl<'a> Filter<'a> {
    fn parse(mut args: Args<'a>) -> Result<Self, CommandError> {
        if args.remaining() == 0 {
            return Ok(Self::None);
        }
        if args.remaining() != 3 || !args.option("FILTERBY") {
            return Err(CommandError::Syntax);
        }
        if args.option("MODULE") {
            Ok(Self::Module)
        } else if args.option("ACLCAT") {
            Ok(Self::Category(category_named(args.bytes()?)))
        } else if args.option("PATTERN") {
            Ok(Self::Pattern(args.bytes()?))
        } else {
            Err(CommandError::Syntax)
        }
    }

    fn admits(&self, spec: &CommandSpec) -> bool {
        match self {
            Self::None => true,
            Self::Module => false,
            Self::Category(category) => {
                category.is_some_and(|category| spec.all_categories().contains(&category))
            }
            Self::Pattern(pattern) => glob::matches(pattern, spec.full_name.as_bytes(), glob::Case::Ignored),
        }
    }
}

fn list(session: &mut Session<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let filter = Filter::parse(args)?;
    write_names(session.core.table, |spec| filter.admits(spec), reply);
    Ok(())
}

/// An array of the names of all commands and subcommands that are chosen.
pub(super) fn write_names(
    table: &CommandTable,
    chosen: impl Fn(&CommandSpec) -> bool,
    reply: &mut Reply<'_>,
) {
    let names: Vec<&str> = table
        .reachable()
        .map(|command| command.spec)
        .filter(|spec| chosen(spec))
        .map(|spec| spec.full_name)
        .collect();
    reply.array(names.len());
    names.iter().for_each(|name| reply.bulk(name.as_bytes()));
}

/// The ACL category of this name, in any case.
pub(super) fn category_named(name: &[u8]) -> Option<Category> {
    let same = |category: &&Category| category.name().as_bytes().eq_ignore_ascii_case(name);
    Category::ALL.iter().find(same).copied()
}

const GETKEYS: CommandSpec = CommandSpec {
    name: "GETKEYS",
    full_name: "command|getkeys",
    arity: Arity::AtLeast(4),
    flags: FLAGS,
    group: Group::Server,
    categories: CATEGORIES,
    since: "2.8.13",
    complexity: "O(N) where N is the number of arguments to the command",
    summary: "Returns the keys among the arguments of a command.",
    handler: Handler::Client(getkeys),
    ..DEFAULTS
};

fn getkeys(session: &mut Session<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let keys = keys_of(session, args)?;
    reply.array(keys.len());
    for (key, _) in keys {
        reply.bulk(key);
    }
    Ok(())
}

const GETKEYSANDFLAGS: CommandSpec = CommandSpec {
    name: "GETKEYSANDFLAGS",
    full_name: "command|getkeysandflags",
    since: "7.0.0",
    summary: "Returns the keys among the arguments of a command, and what it does to them.",
    handler: Handler::Client(getkeys_and_flags),
    ..GETKEYS
};

fn getkeys_and_flags(session: &mut Session<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let keys = keys_of(session, args)?;
    reply.array(keys.len());
    for (key, found) in keys {
        reply.array(2);
        reply.bulk(key);
        reply.set(found.flags.len());
        found.flags.iter().for_each(|flag| reply.simple(flag));
    }
    Ok(())
}

/// The keys of the request that is this one's argument.
fn keys_of<'a>(session: &Session<'_>, args: Args<'a>) -> Result<Vec<(&'a [u8], FoundKey)>, CommandError> {
    let request = args.argv().from_index(2);
    let table = session.core.table;
    let command = table.meant_by(request);
    let spec = command.ok_or(CommandError::Text("ERR Invalid command specified"))?.spec;
    if !docs::has_keys(spec) {
        return Err(CommandError::Text("ERR The command has no key arguments"));
    }
    if !spec.arity.admits(request.len()) {
        return Err(CommandError::Text("ERR Invalid number of arguments specified for command"));
    }
    let found = docs::keys_of(spec, request).unwrap_or_default();
    if found.is_empty() && !spec.flags.contains(Flag::NoMandatoryKeys) {
        return Err(CommandError::Text("ERR Invalid arguments specified for command"));
    }
    Ok(found.into_iter().map(|key| (request.get(key.position).unwrap_or_default(), key)).collect())
}

const HELP: CommandSpec = CommandSpec {
    name: "HELP",
    full_name: "command|help",
    arity: Arity::Exactly(2),
    flags: FLAGS,
    group: Group::Server,
    categories: CATEGORIES,
    since: "5.0.0",
    complexity: "O(1)",
    summary: "Lists the subcommands.",
    handler: Handler::Client(|_, _, reply| help::lines(reply, "COMMAND", HELP_TEXT)),
    ..DEFAULTS
};

const HELP_TEXT: &[&str] = &[
    "(no subcommand)",
    "    Facts about all commands: arity, flags, keys, categories.",
    "COUNT",
    "    How many commands there are.",
    "LIST [FILTERBY (MODULE <module-name>|ACLCAT <category>|PATTERN <pattern>)]",
    "    The names of all commands, or of some.",
    "INFO [<command-name> ...]",
    "    Facts about these commands, or about all.",
    "DOCS [<command-name> ...]",
    "    Explanations of these commands, or of all, with the shape of their arguments.",
    "GETKEYS <full-command>",
    "    The keys among the arguments of a command.",
    "GETKEYSANDFLAGS <full-command>",
    "    The same, with what the command does to each.",
];
