//! MULTI, EXEC, DISCARD, WATCH, UNWATCH: declared here; dispatch runs them, since a transaction is about the
//! commands around it.

use crate::command_table::{
    Access, Arg, Arity, CommandSpec, DEFAULTS, Flag, Flags, Group, Handler, KeySpec, TransactionCommand,
};

pub(super) const COMMANDS: &[&CommandSpec] = &[&MULTI, &EXEC, &DISCARD, &WATCH, &UNWATCH];

const MULTI: CommandSpec = CommandSpec {
    name: "MULTI",
    full_name: "multi",
    arity: Arity::Exactly(1),
    flags: Flags::of(&[Flag::NoScript, Flag::Loading, Flag::Stale, Flag::Fast, Flag::AllowBusy]),
    group: Group::Transactions,
    since: "1.2.0",
    complexity: "O(1)",
    summary: "Begins a transaction: the commands that follow are queued.",
    handler: Handler::OfTransaction(TransactionCommand::Multi),
    ..DEFAULTS
};

const EXEC: CommandSpec = CommandSpec {
    name: "EXEC",
    full_name: "exec",
    arity: Arity::Exactly(1),
    flags: Flags::of(&[Flag::NoScript, Flag::Loading, Flag::Stale, Flag::SkipSlowlog]),
    group: Group::Transactions,
    since: "1.2.0",
    complexity: "Depends on commands in the transaction",
    summary: "Runs the queued commands, all of them or none.",
    handler: Handler::OfTransaction(TransactionCommand::Exec),
    ..DEFAULTS
};

const DISCARD: CommandSpec = CommandSpec {
    name: "DISCARD",
    full_name: "discard",
    arity: Arity::Exactly(1),
    flags: Flags::of(&[Flag::NoScript, Flag::Loading, Flag::Stale, Flag::Fast, Flag::AllowBusy]),
    group: Group::Transactions,
    since: "2.0.0",
    complexity: "O(N), when N is the number of queued commands",
    summary: "Forgets the queued commands and the watched keys.",
    handler: Handler::OfTransaction(TransactionCommand::Discard),
    ..DEFAULTS
};

const WATCH: CommandSpec = CommandSpec {
    name: "WATCH",
    full_name: "watch",
    arity: Arity::AtLeast(2),
    flags: Flags::of(&[Flag::NoScript, Flag::Loading, Flag::Stale, Flag::Fast, Flag::AllowBusy]),
    group: Group::Transactions,
    keys: &[KeySpec::from(1, 1, Access::Read, &[])],
    since: "2.2.0",
    complexity: "O(1) for every key.",
    summary: "Lets the next EXEC run only if these keys have not been changed by then.",
    args: &[Arg::key("key").multiple()],
    handler: Handler::OfTransaction(TransactionCommand::Watch),
    ..DEFAULTS
};

const UNWATCH: CommandSpec = CommandSpec {
    name: "UNWATCH",
    full_name: "unwatch",
    arity: Arity::Exactly(1),
    flags: Flags::of(&[Flag::NoScript, Flag::Loading, Flag::Stale, Flag::Fast, Flag::AllowBusy]),
    group: Group::Transactions,
    since: "2.2.0",
    complexity: "O(1)",
    summary: "Forgets the watched keys.",
    handler: Handler::OfTransaction(TransactionCommand::Unwatch),
    ..DEFAULTS
};
