//! The connection itself: PING, ECHO, SELECT, HELLO, AUTH, RESET, QUIT.

use crate::client::{ReplyMode, is_valid_attribute};
use crate::command_table::{Arg, Args, Arity, CommandSpec, DEFAULTS, Flag, Flags, Group, Handler};
use crate::resp::{Protocol, Reply};
use crate::session::Session;
use crate::shard::{CommandError, CommandResult};
use std::sync::atomic::Ordering;

pub(super) const COMMANDS: &[&CommandSpec] = &[&PING, &ECHO, &SELECT, &HELLO, &AUTH, &RESET, &QUIT];

/// The version of Redis whose behaviour this server has. Client libraries choose their features by it.
const COMPATIBLE_VERSION: &[u8] = b"7.0.15";

/// A client that may not do anything else may send these, at any time.
const ALWAYS: Flags =
    Flags::of(&[Flag::NoScript, Flag::Loading, Flag::Stale, Flag::Fast, Flag::NoAuth, Flag::AllowBusy]);

const PING: CommandSpec = CommandSpec {
    name: "PING",
    full_name: "ping",
    arity: Arity::AtLeast(1),
    flags: Flags::of(&[Flag::Fast]),
    group: Group::Connection,
    since: "1.0.0",
    complexity: "O(1)",
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

const ECHO: CommandSpec = CommandSpec {
    name: "ECHO",
    full_name: "echo",
    arity: Arity::Exactly(2),
    flags: Flags::of(&[Flag::Loading, Flag::Stale, Flag::Fast]),
    group: Group::Connection,
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Sends back what it was given.",
    args: &[Arg::string("message")],
    handler: Handler::Client(echo),
    ..DEFAULTS
};

fn echo(_: &mut Session<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    reply.bulk(args.bytes()?);
    Ok(())
}

const SELECT: CommandSpec = CommandSpec {
    name: "SELECT",
    full_name: "select",
    arity: Arity::Exactly(2),
    flags: Flags::of(&[Flag::Loading, Flag::Stale, Flag::Fast]),
    group: Group::Connection,
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Changes the database of this connection.",
    args: &[Arg::integer("index")],
    handler: Handler::Client(select),
    ..DEFAULTS
};

fn select(session: &mut Session<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    const NO_INT: CommandError =
        CommandError::Text("ERR value is out of range, value must between -2147483648 and 2147483647");
    let index = args.integer_in(i32::MIN.into(), i32::MAX.into(), NO_INT)?;
    let databases = session.core.settings.databases;
    let index = usize::try_from(index).ok().filter(|index| *index < databases);
    session.client().db = index.ok_or(CommandError::DbIndexOutOfRange)?;
    reply.ok();
    Ok(())
}

const HELLO: CommandSpec = CommandSpec {
    name: "HELLO",
    full_name: "hello",
    arity: Arity::AtLeast(1),
    flags: ALWAYS,
    group: Group::Connection,
    since: "6.0.0",
    complexity: "O(1)",
    summary: "Agrees on the protocol's version, and introduces the two sides to each other.",
    args: &[Arg::block(
        "arguments",
        &[
            Arg::integer("protover"),
            Arg::block("username_password", &[Arg::string("username"), Arg::string("password")])
                .after("AUTH")
                .optional(),
            Arg::string("clientname").after("SETNAME").optional(),
        ],
    )
    .optional()],
    handler: Handler::Client(hello),
    ..DEFAULTS
};

fn hello(session: &mut Session<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let mut version = None;
    if args.remaining() > 0 {
        let not_integer = CommandError::Text("ERR Protocol version is not an integer or out of range");
        version = Some(match args.integer().map_err(|_| not_integer)? {
            2 => Protocol::Resp2,
            3 => Protocol::Resp3,
            _ => return Err(CommandError::Text("NOPROTO unsupported protocol version")),
        });
    }
    let (mut credentials, mut name) = (None, None);
    while let Some(option) = args.peek() {
        let values = args.remaining() - 1;
        if values >= 2 && args.option("AUTH") {
            credentials = Some((args.bytes()?, args.bytes()?));
        } else if values >= 1 && args.option("SETNAME") {
            name = Some(valid_name(args.bytes()?)?);
        } else {
            let option = String::from_utf8_lossy(option);
            return Err(CommandError::built(format!("ERR Syntax error in HELLO option '{option}'")));
        }
    }
    if let Some((user, password)) = credentials {
        session.authenticate(user, password)?;
    }
    if session.core.settings.password_required && !session.client().authenticated {
        return Err(CommandError::Text(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> \
             <pass> option can be used to authenticate the client and select the RESP protocol version at the \
             same time",
        ));
    }
    let client = session.client();
    if let Some(name) = name {
        client.name = name.to_vec();
    }
    if let Some(version) = version {
        client.protocol = version;
        reply.set_protocol(version);
    }
    reply.map(7);
    reply.bulk(b"server");
    reply.bulk(b"redis");
    reply.bulk(b"version");
    reply.bulk(COMPATIBLE_VERSION);
    reply.bulk(b"proto");
    reply.integer(if client.protocol == Protocol::Resp3 { 3 } else { 2 });
    reply.bulk(b"id");
    reply.integer(client.id as i64);
    reply.bulk(b"mode");
    reply.bulk(b"standalone");
    reply.bulk(b"role");
    reply.bulk(b"master");
    reply.bulk(b"modules");
    reply.array(0);
    Ok(())
}

/// A name that CLIENT LIST can show.
pub(super) fn valid_name(name: &[u8]) -> Result<&[u8], CommandError> {
    if is_valid_attribute(name) {
        return Ok(name);
    }
    Err(CommandError::Text("ERR Client names cannot contain spaces, newlines or special characters."))
}

const AUTH: CommandSpec = CommandSpec {
    name: "AUTH",
    full_name: "auth",
    arity: Arity::AtLeast(2),
    flags: ALWAYS,
    group: Group::Connection,
    since: "1.0.0",
    complexity: "O(N) where N is the number of passwords defined for the user",
    summary: "Says who the client is, and proves it.",
    args: &[Arg::string("username").optional().since("6.0.0"), Arg::string("password")],
    handler: Handler::Client(auth),
    ..DEFAULTS
};

fn auth(session: &mut Session<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (user, password) = match (args.next(), args.next(), args.next()) {
        (Some(password), None, _) => {
            if !session.core.settings.password_required {
                return Err(CommandError::Text(
                    "ERR AUTH <password> called without any password configured for the default user. Are you \
                     sure your configuration is correct?",
                ));
            }
            (crate::client::DEFAULT_USER.as_bytes(), password)
        }
        (Some(user), Some(password), None) => (user, password),
        _ => return Err(CommandError::Syntax),
    };
    session.authenticate(user, password)?;
    reply.ok();
    Ok(())
}

const RESET: CommandSpec = CommandSpec {
    name: "RESET",
    full_name: "reset",
    arity: Arity::Exactly(1),
    flags: ALWAYS,
    group: Group::Connection,
    since: "6.2.0",
    complexity: "O(1)",
    summary: "Makes the connection like a new one.",
    handler: Handler::Client(reset),
    ..DEFAULTS
};

fn reset(session: &mut Session<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let authenticated = !session.core.settings.password_required;
    let client = session.client();
    client.db = 0;
    client.protocol = Protocol::Resp2;
    client.name = Vec::new();
    client.authenticated = authenticated;
    client.reply_mode = ReplyMode::On;
    client.no_evict = false;
    client.no_touch = false;
    client.multi = None;
    let key = session.key;
    session.core.release_watches(key);
    let client = session.client();
    if std::mem::take(&mut client.monitor) {
        session.core.shared.monitors.fetch_sub(1, Ordering::Relaxed);
    }
    reply.set_protocol(Protocol::Resp2);
    reply.simple("RESET");
    Ok(())
}

const QUIT: CommandSpec = CommandSpec {
    name: "QUIT",
    full_name: "quit",
    arity: Arity::AtLeast(1),
    flags: ALWAYS,
    group: Group::Connection,
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Closes the connection when all replies have been sent.",
    handler: Handler::Client(quit),
    ..DEFAULTS
};

fn quit(session: &mut Session<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    session.client().close_after_reply();
    reply.ok();
    Ok(())
}
