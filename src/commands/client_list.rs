//! CLIENT INFO, LIST, KILL, PAUSE, UNPAUSE and UNBLOCK: what concerns the clients of all cores.

use super::client::{ADMIN, OWN};
use super::help;
use crate::base::number::parse_i64;
use crate::client::{Client, ClientClass, ClientFilter, ClientKey, DEFAULT_USER};
use crate::command_table::{Arg, Args, Arity, Asker, CommandSpec, Contribution, DEFAULTS, Group, Handler};
use crate::resp::Reply;
use crate::session::{CoreState, PauseMode, Session};
use crate::shard::{CommandError, CommandResult};

const CLASSES: &[Arg] = &[
    Arg::token("normal", "NORMAL"),
    Arg::token("master", "MASTER"),
    Arg::token("replica", "REPLICA"),
    Arg::token("pubsub", "PUBSUB"),
];

pub(super) const INFO: CommandSpec = CommandSpec {
    name: "INFO",
    full_name: "client|info",
    arity: Arity::Exactly(2),
    flags: OWN,
    group: Group::Connection,
    since: "6.2.0",
    complexity: "O(1)",
    summary: "Returns this connection's line of the list of clients.",
    tips: &["nondeterministic_output"],
    handler: Handler::Client(info),
    ..DEFAULTS
};

fn info(session: &mut Session<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (now, table) = (session.core.now.unix, session.core.table);
    let client = session.client();
    let command = client.last_command.map(|id| table.by_id(id).spec.full_name);
    let mut line = client.describe(now, command, args.argv().payload_len());
    line.push('\n');
    reply.verbatim(b"txt", line.as_bytes());
    Ok(())
}

pub(super) const LIST: CommandSpec = CommandSpec {
    name: "LIST",
    full_name: "client|list",
    arity: Arity::AtLeast(2),
    flags: ADMIN,
    group: Group::Connection,
    since: "2.4.0",
    complexity: "O(N) where N is the number of client connections",
    summary: "Returns a line for each connected client.",
    args: &[
        Arg::one_of("normal_master_replica_pubsub", CLASSES).after("TYPE").optional().since("5.0.0"),
        Arg::block("id", &[Arg::integer("client-id").multiple()]).after("ID").optional().since("6.2.0"),
    ],
    tips: &["nondeterministic_output"],
    handler: Handler::EveryCore {
        begin: |_, args| Selection::parse(args).map(drop),
        collect: collect_lines,
        finish: finish_list,
    },
    ..DEFAULTS
};

/// Whom CLIENT LIST is about.
#[derive(Debug, Eq, PartialEq)]
enum Selection {
    All,
    Class(ClientClass),
    /// In this order, each as often as it is named.
    Ids(Vec<u64>),
}

impl Selection {
    fn parse(mut args: Args<'_>) -> Result<Self, CommandError> {
        match args.remaining() {
            0 => Ok(Self::All),
            2 if args.option("TYPE") => Ok(Self::Class(class_named(args.bytes()?)?)),
            2.. if args.option("ID") => {
                let invalid = || CommandError::Text("ERR Invalid client ID");
                // Nobody has a negative id, nor 0.
                let id = |text| parse_i64(text).map(|id| u64::try_from(id).unwrap_or(0)).ok_or_else(invalid);
                Ok(Self::Ids(args.map(id).collect::<Result<_, _>>()?))
            }
            _ => Err(CommandError::Syntax),
        }
    }

    fn includes(&self, client: &Client) -> bool {
        match self {
            Self::All => true,
            Self::Class(class) => client.class() == *class,
            Self::Ids(ids) => ids.contains(&client.id),
        }
    }
}

fn class_named(name: &[u8]) -> Result<ClientClass, CommandError> {
    ClientClass::named(name).ok_or_else(|| {
        CommandError::built(format!("ERR Unknown client type '{}'", String::from_utf8_lossy(name)))
    })
}

/// Lines by the id of their client.
type Lines = Vec<(u64, String)>;

fn collect_lines(core: &mut CoreState, asker: Asker, args: Args<'_>) -> Contribution {
    let arguments_bytes = args.argv().payload_len();
    let Ok(selection) = Selection::parse(args) else { return Box::new(Lines::new()) };
    let chosen = core.clients.iter().filter(|(_, client)| selection.includes(client));
    let lines = chosen.map(|(_, client)| {
        let command = client.last_command.map(|id| core.table.by_id(id).spec.full_name);
        let arguments_bytes = if client.id == asker.client_id { arguments_bytes } else { 0 };
        (client.id, client.describe(core.now.unix, command, arguments_bytes))
    });
    Box::new(lines.collect::<Lines>())
}

fn finish_list(
    _: &mut Session<'_>,
    args: Args<'_>,
    parts: Vec<Contribution>,
    reply: &mut Reply<'_>,
) -> CommandResult {
    let mut lines: Lines = joined(parts);
    lines.sort_unstable_by_key(|(id, _)| *id);
    let mut text = String::new();
    let mut add = |line: &str| {
        text.push_str(line);
        text.push('\n');
    };
    match Selection::parse(args)? {
        Selection::Ids(ids) => {
            let line_of = |id: &u64| lines.binary_search_by_key(id, |(id, _)| *id).ok();
            ids.iter().filter_map(line_of).for_each(|place| add(&lines[place].1));
        }
        Selection::All | Selection::Class(_) => lines.iter().for_each(|(_, line)| add(line)),
    }
    reply.verbatim(b"txt", text.as_bytes());
    Ok(())
}

pub(super) const KILL: CommandSpec = CommandSpec {
    name: "KILL",
    full_name: "client|kill",
    arity: Arity::AtLeast(3),
    flags: ADMIN,
    group: Group::Connection,
    since: "2.4.0",
    complexity: "O(N) where N is the number of client connections",
    summary: "Closes the connections of other clients, or of this one.",
    args: &[Arg::one_of(
        "filter",
        &[
            Arg::string("ip:port"),
            Arg::one_of(
                "new-format",
                &[
                    Arg::integer("client-id").after("ID").optional().since("2.8.12"),
                    Arg::one_of(
                        "normal_master_slave_pubsub",
                        &[
                            Arg::token("normal", "NORMAL"),
                            Arg::token("master", "MASTER").since("3.2.0"),
                            Arg::token("slave", "SLAVE"),
                            Arg::token("replica", "REPLICA").since("5.0.0"),
                            Arg::token("pubsub", "PUBSUB"),
                        ],
                    )
                    .after("TYPE")
                    .optional()
                    .since("2.8.12"),
                    Arg::string("username").after("USER").optional(),
                    Arg::string("ip:port").after("ADDR").optional(),
                    Arg::string("ip:port").after("LADDR").optional().since("6.2.0"),
                    Arg::string("yes/no").after("SKIPME").optional(),
                    Arg::integer("maxage").after("MAXAGE").optional().since("7.4.0"),
                ],
            )
            .multiple(),
        ],
    )],
    handler: Handler::EveryCore {
        begin: |_, args| Verdict::parse(args, 0).map(drop),
        collect: kill,
        finish: finish_kill,
    },
    ..DEFAULTS
};

/// Whom CLIENT KILL closes, and how it answers.
#[derive(Debug)]
struct Verdict {
    filter: ClientFilter,
    /// `CLIENT KILL addr`: it must be there, and the asker may be it.
    old_form: bool,
}

impl Verdict {
    fn parse(mut args: Args<'_>, asker: u64) -> Result<Self, CommandError> {
        let mut filter = ClientFilter::default();
        if args.remaining() == 1 {
            filter.address = args.next().map(<[u8]>::to_vec);
            return Ok(Self { filter, old_form: true });
        }
        let mut skip_me = true;
        while args.remaining() >= 2 {
            if args.option("ID") {
                let id = parse_i64(args.bytes()?).and_then(|id| u64::try_from(id).ok()).filter(|id| *id > 0);
                filter.id = Some(id.ok_or(CommandError::Text("ERR client-id should be greater than 0"))?);
            } else if args.option("TYPE") {
                filter.class = Some(class_named(args.bytes()?)?);
            } else if args.option("ADDR") {
                filter.address = Some(args.bytes()?.to_vec());
            } else if args.option("LADDR") {
                filter.local_address = Some(args.bytes()?.to_vec());
            } else if args.option("USER") {
                let name = args.bytes()?;
                if name != DEFAULT_USER.as_bytes() {
                    let name = String::from_utf8_lossy(name);
                    return Err(CommandError::built(format!("ERR No such user '{name}'")));
                }
                filter.user = Some(name.to_vec());
            } else if args.option("SKIPME") {
                let word = args.bytes()?.to_ascii_lowercase();
                skip_me = match word.as_slice() {
                    b"yes" => true,
                    b"no" => false,
                    _ => return Err(CommandError::Syntax),
                };
            } else if args.option("MAXAGE") {
                let not_integer = CommandError::Text("ERR maxage is not an integer or out of range");
                let age = args.integer().map_err(|_| not_integer)?;
                let age = u64::try_from(age).ok().filter(|age| *age > 0);
                filter.age_min_s =
                    Some(age.ok_or(CommandError::Text("ERR maxage should be greater than 0"))?);
            } else {
                return Err(CommandError::Syntax);
            }
        }
        args.end()?;
        filter.except = skip_me.then_some(asker);
        Ok(Self { filter, old_form: false })
    }
}

/// What a core did for CLIENT KILL.
#[derive(Default)]
struct Killed {
    count: usize,
    /// The asker is among them: it goes after its reply.
    asker: bool,
}

fn kill(core: &mut CoreState, asker: Asker, args: Args<'_>) -> Contribution {
    let mut killed = Killed::default();
    let Ok(verdict) = Verdict::parse(args, asker.client_id) else { return Box::new(killed) };
    let now = core.now.unix;
    let matching = core.clients.iter().filter(|(_, client)| verdict.filter.matches(client, now));
    let condemned: Vec<(ClientKey, u64)> = matching.map(|(key, client)| (key, client.id)).collect();
    killed.count = condemned.len();
    for (key, id) in condemned {
        if id == asker.client_id {
            killed.asker = true;
        } else {
            core.doom(key);
        }
    }
    Box::new(killed)
}

fn finish_kill(
    session: &mut Session<'_>,
    args: Args<'_>,
    parts: Vec<Contribution>,
    reply: &mut Reply<'_>,
) -> CommandResult {
    let mut count = 0;
    for part in parts {
        let killed = part.downcast::<Killed>().expect("what kill() contributes");
        count += killed.count;
        if killed.asker {
            session.client().close_after_reply();
        }
    }
    if !Verdict::parse(args, 0)?.old_form {
        reply.length(count);
    } else if count == 0 {
        return Err(CommandError::Text("ERR No such client"));
    } else {
        reply.ok();
    }
    Ok(())
}

pub(super) const PAUSE: CommandSpec = CommandSpec {
    name: "PAUSE",
    full_name: "client|pause",
    arity: Arity::AtLeast(3),
    flags: ADMIN,
    group: Group::Connection,
    since: "2.9.50",
    complexity: "O(1)",
    summary: "Holds back the commands of all clients for some time.",
    args: &[
        Arg::integer("timeout"),
        Arg::one_of("mode", &[Arg::token("write", "WRITE"), Arg::token("all", "ALL")])
            .optional()
            .since("6.2.0"),
    ],
    handler: Handler::EveryCore { begin: pause, collect: look_at_pause, finish: ok },
    ..DEFAULTS
};

fn pause(session: &mut Session<'_>, mut args: Args<'_>) -> CommandResult {
    if args.remaining() > 2 {
        return Err(help::wrong_arguments(args.argv()));
    }
    let timeout = args.bytes()?;
    let mode = match args.peek() {
        None => PauseMode::All,
        Some(_) if args.option("ALL") => PauseMode::All,
        Some(_) if args.option("WRITE") => PauseMode::Writes,
        Some(_) => return Err(CommandError::Text("ERR CLIENT PAUSE mode must be WRITE or ALL")),
    };
    let not_integer = CommandError::Text("ERR timeout is not an integer or out of range");
    let timeout = parse_i64(timeout).ok_or(not_integer)?;
    let timeout = u64::try_from(timeout).map_err(|_| CommandError::Text("ERR timeout is negative"))?;
    let now = session.core.now.unix.0;
    let until = now.checked_add(timeout).filter(|until| i64::try_from(*until).is_ok());
    let until = until.ok_or(CommandError::Text("ERR timeout is out of range"))?;
    session.core.shared.pause.extend(until, mode, now);
    Ok(())
}

/// The reply means that the pause holds, or has ended, on every core.
fn look_at_pause(core: &mut CoreState, _: Asker, _: Args<'_>) -> Contribution {
    core.refresh_shared();
    Box::new(())
}

fn ok(_: &mut Session<'_>, _: Args<'_>, _: Vec<Contribution>, reply: &mut Reply<'_>) -> CommandResult {
    reply.ok();
    Ok(())
}

pub(super) const UNPAUSE: CommandSpec = CommandSpec {
    name: "UNPAUSE",
    full_name: "client|unpause",
    arity: Arity::Exactly(2),
    flags: ADMIN,
    group: Group::Connection,
    since: "6.2.0",
    complexity: "O(N) Where N is the number of paused clients",
    summary: "Ends a pause at once.",
    handler: Handler::EveryCore { begin: unpause, collect: look_at_pause, finish: ok },
    ..DEFAULTS
};

fn unpause(session: &mut Session<'_>, _: Args<'_>) -> CommandResult {
    session.core.shared.pause.end();
    Ok(())
}

pub(super) const UNBLOCK: CommandSpec = CommandSpec {
    name: "UNBLOCK",
    full_name: "client|unblock",
    arity: Arity::AtLeast(3),
    flags: ADMIN,
    group: Group::Connection,
    since: "5.0.0",
    complexity: "O(log N) where N is the number of client connections",
    summary: "Ends the wait of a client in a blocking command.",
    args: &[
        Arg::integer("client-id"),
        Arg::one_of("timeout_error", &[Arg::token("timeout", "TIMEOUT"), Arg::token("error", "ERROR")])
            .optional(),
    ],
    handler: Handler::EveryCore {
        begin: |_, args| parse_unblock(args).map(drop),
        collect: unblock,
        finish: finish_unblock,
    },
    ..DEFAULTS
};

/// The id, and whether the blocked command fails instead of timing out.
fn parse_unblock(mut args: Args<'_>) -> Result<(u64, bool), CommandError> {
    if args.remaining() > 2 {
        return Err(help::wrong_arguments(args.argv()));
    }
    let id = args.bytes()?;
    let with_error = match args.peek() {
        None => false,
        Some(_) if args.option("TIMEOUT") => false,
        Some(_) if args.option("ERROR") => true,
        Some(_) => return Err(CommandError::Text("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")),
    };
    let id = parse_i64(id).ok_or(CommandError::NotAnInteger)?;
    Ok((u64::try_from(id).unwrap_or(0), with_error))
}

fn unblock(core: &mut CoreState, _: Asker, args: Args<'_>) -> Contribution {
    let done = parse_unblock(args).is_ok_and(|(id, with_error)| core.unblock(id, with_error));
    Box::new(done)
}

fn finish_unblock(
    _: &mut Session<'_>,
    _: Args<'_>,
    parts: Vec<Contribution>,
    reply: &mut Reply<'_>,
) -> CommandResult {
    reply.integer(i64::from(parts.iter().any(|part| part.downcast_ref() == Some(&true))));
    Ok(())
}

fn joined<T: 'static>(parts: Vec<Contribution>) -> Vec<T> {
    let lists = parts.into_iter().map(|part| part.downcast::<Vec<T>>().expect("all contribute the same"));
    lists.flat_map(|list| *list).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::ArgvBuf;

    fn with_args<R>(request: &str, run: impl FnOnce(Args<'_>) -> R) -> R {
        let argv: ArgvBuf = request.split(' ').collect();
        run(Args::new(argv.as_argv(), 2))
    }

    #[test]
    fn client_list_selects_all_or_a_class_or_ids() {
        let parse = |request| with_args(request, Selection::parse);
        let refusal = |request| parse(request).expect_err("refused").to_string();
        assert_eq!(parse("CLIENT LIST"), Ok(Selection::All));
        assert_eq!(parse("CLIENT LIST type Slave"), Ok(Selection::Class(ClientClass::Replica)));
        assert_eq!(parse("CLIENT LIST ID 3 1 3 -7"), Ok(Selection::Ids(vec![3, 1, 3, 0])));
        assert_eq!(refusal("CLIENT LIST ID 1 x"), "ERR Invalid client ID");
        assert_eq!(refusal("CLIENT LIST TYPE x"), "ERR Unknown client type 'x'");
        for wrong in ["CLIENT LIST ID", "CLIENT LIST TYPE", "CLIENT LIST TYPE normal x", "CLIENT LIST x y"] {
            assert_eq!(parse(wrong), Err(CommandError::Syntax), "{wrong}");
        }
    }

    #[test]
    fn client_kill_has_two_forms() {
        let parse = |request| with_args(request, |args| Verdict::parse(args, 9));
        let old = parse("CLIENT KILL 1.2.3.4:5").expect("the old form");
        assert!(old.old_form && old.filter.except.is_none(), "it may close the asker");
        let new = parse("CLIENT KILL TYPE normal ID 4 MAXAGE 60").expect("the new form");
        let expected = ClientFilter {
            id: Some(4),
            class: Some(ClientClass::Normal),
            age_min_s: Some(60),
            except: Some(9),
            ..ClientFilter::default()
        };
        assert!(!new.old_form && new.filter == expected);
        let spares = |request| parse(request).expect("valid").filter.except;
        assert_eq!(spares("CLIENT KILL SKIPME no ID 4"), None);
        assert_eq!(spares("CLIENT KILL SKIPME yes ID 4"), Some(9));
    }

    #[test]
    fn refusals_of_client_kill() {
        let refusal = |request| {
            let error = with_args(request, |args| Verdict::parse(args, 9)).expect_err("refused");
            error.to_string()
        };
        assert_eq!(refusal("CLIENT KILL ID 0"), "ERR client-id should be greater than 0");
        assert_eq!(refusal("CLIENT KILL ID x"), "ERR client-id should be greater than 0");
        assert_eq!(refusal("CLIENT KILL USER nobody"), "ERR No such user 'nobody'");
        assert_eq!(refusal("CLIENT KILL MAXAGE 0"), "ERR maxage should be greater than 0");
        assert_eq!(refusal("CLIENT KILL MAXAGE x"), "ERR maxage is not an integer or out of range");
        for wrong in ["CLIENT KILL ID 1 ADDR", "CLIENT KILL SKIPME maybe", "CLIENT KILL what ever"] {
            assert_eq!(refusal(wrong), "ERR syntax error", "{wrong}");
        }
    }

    #[test]
    fn client_unblock_checks_the_reason_before_the_id() {
        let parse = |request| with_args(request, parse_unblock);
        assert_eq!(parse("CLIENT UNBLOCK 7"), Ok((7, false)));
        assert_eq!(parse("CLIENT UNBLOCK 7 error"), Ok((7, true)));
        let refusal = |request| parse(request).expect_err("refused").to_string();
        assert_eq!(refusal("CLIENT UNBLOCK x y"), "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
        assert_eq!(refusal("CLIENT UNBLOCK x"), "ERR value is not an integer or out of range");
        assert_eq!(
            refusal("client unblock 1 error x"),
            "ERR unknown subcommand or wrong number of arguments for 'unblock'. Try CLIENT HELP."
        );
    }
}
