//! CLIENT: what a client says and asks about itself. What concerns other clients is in `client_list`.

use super::client_list;
use super::connection::valid_name;
use super::help;
use crate::client::{ReplyMode, is_valid_attribute};
use crate::command_table::{Arg, Args, Arity, CommandSpec, DEFAULTS, Flag, Flags, Group, Handler};
use crate::resp::Reply;
use crate::session::Session;
use crate::shard::{CommandError, CommandResult};

pub(super) const COMMANDS: &[&CommandSpec] = &[&CLIENT];

const CLIENT: CommandSpec = CommandSpec {
    name: "CLIENT",
    full_name: "client",
    arity: Arity::AtLeast(2),
    group: Group::Connection,
    since: "2.4.0",
    complexity: "Depends on subcommand.",
    summary: "Contains the commands about client connections.",
    subcommands: &[
        &CACHING,
        &GETNAME,
        &GETREDIR,
        &HELP,
        &ID,
        &client_list::INFO,
        &client_list::KILL,
        &client_list::LIST,
        &NO_EVICT,
        &NO_TOUCH,
        &client_list::PAUSE,
        &REPLY,
        &SETINFO,
        &SETNAME,
        &TRACKING,
        &TRACKINGINFO,
        &client_list::UNBLOCK,
        &client_list::UNPAUSE,
    ],
    ..DEFAULTS
};

/// Of most subcommands about the client itself.
pub(super) const OWN: Flags = Flags::of(&[Flag::NoScript, Flag::Loading, Flag::Stale]);
/// Of those that reach beyond it.
pub(super) const ADMIN: Flags = Flags::of(&[Flag::Admin, Flag::NoScript, Flag::Loading, Flag::Stale]);

const ON_OFF: Arg = Arg::one_of("enabled", &[Arg::token("on", "ON"), Arg::token("off", "OFF")]);

const CACHING: CommandSpec = CommandSpec {
    name: "CACHING",
    full_name: "client|caching",
    arity: Arity::Exactly(3),
    flags: OWN,
    group: Group::Connection,
    since: "6.0.0",
    complexity: "O(1)",
    summary: "Says whether the keys of the next command are tracked.",
    args: &[Arg::one_of("mode", &[Arg::token("yes", "YES"), Arg::token("no", "NO")])],
    handler: Handler::Client(caching),
    ..DEFAULTS
};

fn caching(_: &mut Session<'_>, _: Args<'_>, _: &mut Reply<'_>) -> CommandResult {
    // No client is in a tracking mode; the text is Redis's for that case.
    Err(CommandError::Text(
        "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode \
         enabled",
    ))
}

const GETNAME: CommandSpec = CommandSpec {
    name: "GETNAME",
    full_name: "client|getname",
    arity: Arity::Exactly(2),
    flags: OWN,
    group: Group::Connection,
    since: "2.6.9",
    complexity: "O(1)",
    summary: "Returns the name of this connection.",
    handler: Handler::Client(getname),
    ..DEFAULTS
};

fn getname(session: &mut Session<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    match session.client().name.as_slice() {
        b"" => reply.null(),
        name => reply.bulk(name),
    }
    Ok(())
}

const GETREDIR: CommandSpec = CommandSpec {
    name: "GETREDIR",
    full_name: "client|getredir",
    arity: Arity::Exactly(2),
    flags: OWN,
    group: Group::Connection,
    since: "6.0.0",
    complexity: "O(1)",
    summary: "Returns the client that gets the invalidations meant for this one.",
    handler: Handler::Client(getredir),
    ..DEFAULTS
};

fn getredir(_: &mut Session<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    reply.integer(-1); // not tracking
    Ok(())
}

const ID: CommandSpec = CommandSpec {
    name: "ID",
    full_name: "client|id",
    arity: Arity::Exactly(2),
    flags: OWN,
    group: Group::Connection,
    since: "5.0.0",
    complexity: "O(1)",
    summary: "Returns the number of this connection.",
    handler: Handler::Client(id),
    ..DEFAULTS
};

fn id(session: &mut Session<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    reply.integer(session.client().id as i64);
    Ok(())
}

const NO_EVICT: CommandSpec = CommandSpec {
    name: "NO-EVICT",
    full_name: "client|no-evict",
    arity: Arity::Exactly(3),
    flags: ADMIN,
    group: Group::Connection,
    since: "7.0.0",
    complexity: "O(1)",
    summary: "Keeps this connection when clients are dropped to save memory.",
    args: &[ON_OFF],
    handler: Handler::Client(no_evict),
    ..DEFAULTS
};

fn no_evict(session: &mut Session<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    session.client().no_evict = on_or_off(args.bytes()?)?;
    reply.ok();
    Ok(())
}

const NO_TOUCH: CommandSpec = CommandSpec {
    name: "NO-TOUCH",
    full_name: "client|no-touch",
    arity: Arity::Exactly(3),
    flags: OWN,
    group: Group::Connection,
    since: "7.2.0",
    complexity: "O(1)",
    summary: "Lets this connection read keys without making them look used.",
    args: &[ON_OFF],
    handler: Handler::Client(no_touch),
    ..DEFAULTS
};

fn no_touch(session: &mut Session<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    session.client().no_touch = on_or_off(args.bytes()?)?;
    reply.ok();
    Ok(())
}

fn on_or_off(word: &[u8]) -> Result<bool, CommandError> {
    match word {
        word if word.eq_ignore_ascii_case(b"on") => Ok(true),
        word if word.eq_ignore_ascii_case(b"off") => Ok(false),
        _ => Err(CommandError::Syntax),
    }
}

const REPLY: CommandSpec = CommandSpec {
    name: "REPLY",
    full_name: "client|reply",
    arity: Arity::Exactly(3),
    flags: OWN,
    group: Group::Connection,
    since: "3.2.0",
    complexity: "O(1)",
    summary: "Says whether this connection wants replies.",
    args: &[Arg::one_of(
        "on_off_skip",
        &[Arg::token("on", "ON"), Arg::token("off", "OFF"), Arg::token("skip", "SKIP")],
    )],
    handler: Handler::Client(reply_mode),
    ..DEFAULTS
};

fn reply_mode(session: &mut Session<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let mode = &mut session.client().reply_mode;
    if args.option("ON") {
        *mode = ReplyMode::On;
        reply.ok();
    } else if args.option("OFF") {
        *mode = ReplyMode::Off;
    } else if args.option("SKIP") {
        // Where nothing is answered there is nothing to skip.
        if *mode != ReplyMode::Off {
            *mode = ReplyMode::SkipNext;
        }
    } else {
        return Err(CommandError::Syntax);
    }
    Ok(())
}

const SETINFO: CommandSpec = CommandSpec {
    name: "SETINFO",
    full_name: "client|setinfo",
    arity: Arity::Exactly(4),
    flags: OWN,
    group: Group::Connection,
    since: "7.2.0",
    complexity: "O(1)",
    summary: "Tells which library the client uses.",
    args: &[Arg::one_of(
        "attr",
        &[Arg::string("libname").after("LIB-NAME"), Arg::string("libver").after("LIB-VER")],
    )],
    handler: Handler::Client(setinfo),
    ..DEFAULTS
};

fn setinfo(session: &mut Session<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (attribute, value) = (args.bytes()?, args.bytes()?);
    let client = session.client();
    let place = match attribute.to_ascii_lowercase().as_slice() {
        b"lib-name" => &mut client.library_name,
        b"lib-ver" => &mut client.library_version,
        _ => {
            let attribute = String::from_utf8_lossy(attribute);
            return Err(CommandError::built(format!("ERR Unrecognized option '{attribute}'")));
        }
    };
    if !is_valid_attribute(value) {
        let attribute = String::from_utf8_lossy(attribute);
        let text = format!("ERR {attribute} cannot contain spaces, newlines or special characters.");
        return Err(CommandError::built(text));
    }
    *place = value.to_vec();
    reply.ok();
    Ok(())
}

const SETNAME: CommandSpec = CommandSpec {
    name: "SETNAME",
    full_name: "client|setname",
    arity: Arity::Exactly(3),
    flags: OWN,
    group: Group::Connection,
    since: "2.6.9",
    complexity: "O(1)",
    summary: "Names this connection, for people who look at the list of clients.",
    args: &[Arg::string("connection-name")],
    handler: Handler::Client(setname),
    ..DEFAULTS
};

fn setname(session: &mut Session<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    session.client().name = valid_name(args.bytes()?)?.to_vec();
    reply.ok();
    Ok(())
}

const TRACKING: CommandSpec = CommandSpec {
    name: "TRACKING",
    full_name: "client|tracking",
    arity: Arity::AtLeast(3),
    flags: OWN,
    group: Group::Connection,
    since: "6.0.0",
    complexity: "O(1). Some options may introduce additional complexity.",
    summary: "Begins or ends invalidation messages for a cache on the client's side.",
    args: &[
        Arg::one_of("status", &[Arg::token("on", "ON"), Arg::token("off", "OFF")]),
        Arg::integer("client-id").after("REDIRECT").optional(),
        Arg { multiple_token: true, ..Arg::string("prefix").after("PREFIX").optional().multiple() },
        Arg::token("bcast", "BCAST").optional(),
        Arg::token("optin", "OPTIN").optional(),
        Arg::token("optout", "OPTOUT").optional(),
        Arg::token("noloop", "NOLOOP").optional(),
    ],
    handler: Handler::Client(tracking),
    ..DEFAULTS
};

/// OFF changes nothing, since nobody is tracking; ON is refused, so that no client trusts a cache that
/// nobody invalidates.
fn tracking(_: &mut Session<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let on = on_or_off(args.bytes()?)?;
    while args.peek().is_some() {
        if args.option("REDIRECT") {
            args.integer()?;
        } else if args.option("PREFIX") {
            args.bytes()?;
        } else if !["BCAST", "OPTIN", "OPTOUT", "NOLOOP"].into_iter().any(|flag| args.option(flag)) {
            return Err(CommandError::Syntax);
        }
    }
    if on {
        return Err(CommandError::Text("ERR client side caching is not supported by this server"));
    }
    reply.ok();
    Ok(())
}

const TRACKINGINFO: CommandSpec = CommandSpec {
    name: "TRACKINGINFO",
    full_name: "client|trackinginfo",
    arity: Arity::Exactly(2),
    flags: OWN,
    group: Group::Connection,
    since: "6.2.0",
    complexity: "O(1)",
    summary: "Tells how this connection tracks keys.",
    handler: Handler::Client(trackinginfo),
    ..DEFAULTS
};

fn trackinginfo(_: &mut Session<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    reply.map(3);
    reply.bulk(b"flags");
    reply.set(1);
    reply.bulk(b"off");
    reply.bulk(b"redirect");
    reply.integer(-1);
    reply.bulk(b"prefixes");
    reply.array(0);
    Ok(())
}

const HELP: CommandSpec = CommandSpec {
    name: "HELP",
    full_name: "client|help",
    arity: Arity::Exactly(2),
    flags: Flags::of(&[Flag::Loading, Flag::Stale]),
    group: Group::Connection,
    since: "5.0.0",
    complexity: "O(1)",
    summary: "Lists the subcommands.",
    handler: Handler::Client(|_, _, reply| help::lines(reply, "CLIENT", HELP_TEXT)),
    ..DEFAULTS
};

const HELP_TEXT: &[&str] = &[
    "CACHING (YES|NO)",
    "    Track the keys of the next command, or do not (OPTIN and OPTOUT modes).",
    "GETREDIR",
    "    The client that gets this one's invalidation messages.",
    "GETNAME",
    "    The name of this connection.",
    "ID",
    "    The number of this connection.",
    "INFO",
    "    This connection's line of CLIENT LIST.",
    "KILL <ip:port>",
    "    Close the connection from this address.",
    "KILL <option> <value> [<option> <value> [...]]",
    "    Close all connections that match all options:",
    "    * ID <client-id>",
    "    * ADDR (<ip:port>|<unixsocket>:0), the client's end",
    "    * LADDR (<ip:port>|<unixsocket>:0), the server's end",
    "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
    "    * USER <username>",
    "    * MAXAGE <seconds>, at least so old",
    "    * SKIPME (YES|NO), spare this connection (default: yes)",
    "LIST [options ...]",
    "    One line per connection. Options:",
    "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
    "    * ID <client-id> [<client-id> ...]",
    "UNPAUSE",
    "    End a pause at once.",
    "PAUSE <timeout> [WRITE|ALL]",
    "    Hold back all commands, or those that write, for <timeout> milliseconds.",
    "REPLY (ON|OFF|SKIP)",
    "    Whether this connection gets replies.",
    "SETINFO (LIB-NAME|LIB-VER) <value>",
    "    Tell which library this client uses.",
    "SETNAME <name>",
    "    Name this connection.",
    "UNBLOCK <clientid> [TIMEOUT|ERROR]",
    "    End the wait of a blocked client, as if by timeout or with an error.",
    "TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]]",
    "         [OPTIN] [OPTOUT] [NOLOOP]",
    "    Invalidation messages for a cache on the client's side.",
    "TRACKINGINFO",
    "    How this connection tracks keys.",
    "NO-EVICT (ON|OFF)",
    "    Keep this connection when clients are dropped to save memory.",
    "NO-TOUCH (ON|OFF)",
    "    Leave the keys' access times alone.",
];
