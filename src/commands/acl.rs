//! ACL, as far as one user goes: `default` may do everything, and `requirepass` is its password.
//!
//! Whatever would make, change or remember users is refused, so that nobody relies on a restriction that is
//! not there.

use super::command::{category_named, write_names};
use super::help;
use crate::client::DEFAULT_USER;
use crate::command_table::{
    Arg, Args, Arity, Category, ClientHandler, CommandSpec, DEFAULTS, Flag, Flags, Group, Handler,
};
use crate::resp::Reply;
use crate::session::Session;
use crate::shard::{CommandError, CommandResult};

pub(super) const COMMANDS: &[&CommandSpec] = &[&ACL];

const OWN: Flags = Flags::of(&[Flag::NoScript, Flag::Loading, Flag::Stale]);
const ADMIN: Flags = Flags::of(&[Flag::Admin, Flag::NoScript, Flag::Loading, Flag::Stale]);
const PER_USER: &str = "O(N). Where N is the number of configured users.";

const ACL: CommandSpec = CommandSpec {
    name: "ACL",
    full_name: "acl",
    arity: Arity::AtLeast(2),
    group: Group::Server,
    since: "6.0.0",
    complexity: "Depends on subcommand.",
    summary: "Contains the commands about users and their rights.",
    subcommands: &[
        &CAT, &DELUSER, &DRYRUN, &GENPASS, &GETUSER, &HELP, &LIST, &LOAD, &LOG, &SAVE, &SETUSER, &USERS,
        &WHOAMI,
    ],
    ..DEFAULTS
};

const fn subcommand(
    name: &'static str,
    full_name: &'static str,
    arity: Arity,
    flags: Flags,
    complexity: &'static str,
    summary: &'static str,
    run: ClientHandler,
) -> CommandSpec {
    let (group, handler) = (Group::Server, Handler::Client(run));
    CommandSpec {
        name,
        full_name,
        arity,
        flags,
        group,
        since: "6.0.0",
        complexity,
        summary,
        handler,
        ..DEFAULTS
    }
}

const CAT: CommandSpec = CommandSpec {
    args: &[Arg::string("categoryname").optional()],
    ..subcommand(
        "CAT",
        "acl|cat",
        Arity::AtLeast(2),
        OWN,
        "O(1) since the categories and commands are a fixed set.",
        "Returns the categories of commands, or the commands of one.",
        cat,
    )
};

fn cat(session: &mut Session<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    if args.remaining() > 1 {
        return Err(help::wrong_arguments(args.argv()));
    }
    let Some(name) = args.next() else {
        reply.array(Category::ALL.len());
        Category::ALL.iter().for_each(|category| reply.bulk(category.name().as_bytes()));
        return Ok(());
    };
    let category = category_named(name).ok_or_else(|| {
        CommandError::built(format!("ERR Unknown category '{}'", String::from_utf8_lossy(name)))
    })?;
    write_names(session.core.table, |spec| spec.all_categories().contains(&category), reply);
    Ok(())
}

const DRYRUN: CommandSpec = CommandSpec {
    since: "7.0.0",
    args: &[Arg::string("username"), Arg::string("command"), Arg::string("arg").optional().multiple()],
    ..subcommand(
        "DRYRUN",
        "acl|dryrun",
        Arity::AtLeast(4),
        ADMIN,
        "O(1).",
        "Tells whether a user may run a command, without running it.",
        dryrun,
    )
};

fn dryrun(session: &mut Session<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let user = args.bytes()?;
    if user != DEFAULT_USER.as_bytes() {
        let user = String::from_utf8_lossy(user);
        return Err(CommandError::built(format!("ERR User '{user}' not found")));
    }
    let request = args.argv().from_index(3);
    let Some(command) = session.core.table.meant_by(request) else {
        let name = String::from_utf8_lossy(request.first().unwrap_or_default());
        return Err(CommandError::built(format!("ERR Command '{name}' not found")));
    };
    if !command.spec.arity.admits(request.len()) {
        return Err(CommandError::WrongArity(command.spec.full_name));
    }
    reply.ok();
    Ok(())
}

const GENPASS: CommandSpec = CommandSpec {
    args: &[Arg::integer("bits").optional()],
    ..subcommand("GENPASS", "acl|genpass", Arity::AtLeast(2), OWN, "O(1)", "Makes up a password.", genpass)
};

fn genpass(_: &mut Session<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    const BITS_MAX: i64 = 4096;
    if args.remaining() > 1 {
        return Err(help::wrong_arguments(args.argv()));
    }
    let bits = if args.remaining() == 0 { 256 } else { args.integer()? };
    if !(1..=BITS_MAX).contains(&bits) {
        return Err(CommandError::Text(
            "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to \
             4096",
        ));
    }
    // Whole digits of four bits.
    let digits = (bits as usize).div_ceil(4);
    let mut random = vec![0; digits.div_ceil(2)];
    if getrandom::fill(&mut random).is_err() {
        return Err(CommandError::Text("ERR the operating system has no random numbers"));
    }
    let mut text: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    text.truncate(digits);
    reply.bulk(text.as_bytes());
    Ok(())
}

const GETUSER: CommandSpec = CommandSpec {
    args: &[Arg::string("username")],
    ..subcommand(
        "GETUSER",
        "acl|getuser",
        Arity::Exactly(3),
        ADMIN,
        "O(N). Where N is the number of password, command and pattern rules that the user has.",
        "Returns the rights of a user.",
        getuser,
    )
};

fn getuser(session: &mut Session<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    if args.bytes()? != DEFAULT_USER.as_bytes() {
        reply.null();
        return Ok(());
    }
    let digest = session.core.password_digest();
    let texts = |texts: &[&str], reply: &mut Reply<'_>| {
        texts.iter().for_each(|text| reply.bulk(text.as_bytes()));
    };
    reply.map(6);
    reply.bulk(b"flags");
    let flags: &[&str] = if digest.is_some() { &["on"] } else { &["on", "nopass"] };
    reply.set(flags.len());
    texts(flags, reply);
    reply.bulk(b"passwords");
    reply.array(digest.iter().count());
    digest.iter().for_each(|digest| reply.bulk(digest.as_bytes()));
    texts(&["commands", "+@all", "keys", "~*", "channels", "&*", "selectors"], reply);
    reply.array(0);
    Ok(())
}

const LIST: CommandSpec = subcommand(
    "LIST",
    "acl|list",
    Arity::Exactly(2),
    ADMIN,
    PER_USER,
    "Returns the rules of all users.",
    list,
);

fn list(session: &mut Session<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let password = session.core.password_digest().map_or("nopass".into(), |digest| format!("#{digest}"));
    reply.array(1);
    reply.bulk(format!("user {DEFAULT_USER} on {password} ~* &* +@all").as_bytes());
    Ok(())
}

const USERS: CommandSpec = subcommand(
    "USERS",
    "acl|users",
    Arity::Exactly(2),
    ADMIN,
    PER_USER,
    "Returns the names of all users.",
    users,
);

fn users(_: &mut Session<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    reply.array(1);
    reply.bulk(DEFAULT_USER.as_bytes());
    Ok(())
}

const WHOAMI: CommandSpec = subcommand(
    "WHOAMI",
    "acl|whoami",
    Arity::Exactly(2),
    OWN,
    "O(1)",
    "Returns the name of this connection's user.",
    whoami,
);

fn whoami(_: &mut Session<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    reply.bulk(DEFAULT_USER.as_bytes());
    Ok(())
}

const DELUSER: CommandSpec = CommandSpec {
    args: &[Arg::string("username").multiple()],
    ..subcommand(
        "DELUSER",
        "acl|deluser",
        Arity::AtLeast(3),
        ADMIN,
        "O(1) amortized time considering the typical user.",
        "Deletes users and closes their connections.",
        deluser,
    )
};

fn deluser(_: &mut Session<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    if args.any(|name| name == DEFAULT_USER.as_bytes()) {
        return Err(CommandError::Text("ERR The 'default' user cannot be removed"));
    }
    // Nobody of these names was there.
    reply.integer(0);
    Ok(())
}

const SETUSER: CommandSpec = CommandSpec {
    args: &[Arg::string("username"), Arg::string("rule").optional().multiple()],
    ..subcommand(
        "SETUSER",
        "acl|setuser",
        Arity::AtLeast(3),
        ADMIN,
        "O(N). Where N is the number of rules provided.",
        "Makes a user or changes its rights.",
        only_the_default_user,
    )
};

const LOG: CommandSpec = CommandSpec {
    args: &[Arg::one_of("operation", &[Arg::integer("count"), Arg::token("reset", "RESET")]).optional()],
    ..subcommand(
        "LOG",
        "acl|log",
        Arity::AtLeast(2),
        ADMIN,
        "O(N) with N being the number of entries shown.",
        "Returns the latest refusals for lack of rights.",
        |_, _, _| Err(CommandError::Text("ERR ACL LOG is not supported by this server")),
    )
};

const LOAD: CommandSpec = subcommand(
    "LOAD",
    "acl|load",
    Arity::Exactly(2),
    ADMIN,
    PER_USER,
    "Reads the users from their file again.",
    only_the_default_user,
);

const SAVE: CommandSpec = subcommand(
    "SAVE",
    "acl|save",
    Arity::Exactly(2),
    ADMIN,
    PER_USER,
    "Writes the users to their file.",
    only_the_default_user,
);

fn only_the_default_user(_: &mut Session<'_>, _: Args<'_>, _: &mut Reply<'_>) -> CommandResult {
    Err(CommandError::Text(
        "ERR this server has only the user 'default', who may do everything; its password is set by CONFIG SET \
         requirepass",
    ))
}

const HELP: CommandSpec = CommandSpec {
    name: "HELP",
    full_name: "acl|help",
    arity: Arity::Exactly(2),
    flags: Flags::of(&[Flag::Loading, Flag::Stale]),
    group: Group::Server,
    since: "6.0.0",
    complexity: "O(1)",
    summary: "Lists the subcommands.",
    handler: Handler::Client(|_, _, reply| help::lines(reply, "ACL", HELP_TEXT)),
    ..DEFAULTS
};

const HELP_TEXT: &[&str] = &[
    "CAT [<category>]",
    "    The categories of commands, or the commands of one.",
    "DRYRUN <username> <command> [<arg> ...]",
    "    Whether this user may run this command.",
    "GETUSER <username>",
    "    The rights of a user.",
    "GENPASS [<bits>]",
    "    A new random password, of 256 bits if no number is given.",
    "LIST",
    "    The rules of all users, as in a file of users.",
    "USERS",
    "    The names of all users.",
    "WHOAMI",
    "    The user of this connection.",
];
