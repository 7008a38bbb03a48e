//! MONITOR: see every command of every client.

use crate::command_table::{
    Args, Arity, Asker, CommandSpec, Contribution, DEFAULTS, Flag, Flags, Group, Handler,
};
use crate::resp::Reply;
use crate::session::{CoreState, Session};
use crate::shard::CommandResult;
use std::sync::atomic::Ordering;

pub(super) const COMMANDS: &[&CommandSpec] = &[&MONITOR];

const MONITOR: CommandSpec = CommandSpec {
    name: "MONITOR",
    full_name: "monitor",
    arity: Arity::Exactly(1),
    flags: Flags::of(&[Flag::Admin, Flag::NoScript, Flag::Loading, Flag::Stale]),
    group: Group::Server,
    since: "1.0.0",
    complexity: "",
    summary: "Shows every command that any client sends, as it runs.",
    handler: Handler::EveryCore { begin: |_, _| Ok(()), collect, finish },
    ..DEFAULTS
};

/// Every core knows of the new monitor before the reply: it shows what is sent after that. Whether this is
/// the client's core and it was no monitor yet.
fn collect(core: &mut CoreState, asker: Asker, _: Args<'_>) -> Contribution {
    let mut asking = core.clients.iter_mut().map(|(_, client)| client);
    let newly = match asking.find(|client| client.id == asker.client_id) {
        Some(client) if !client.monitor => {
            client.monitor = true;
            core.shared.monitors.fetch_add(1, Ordering::SeqCst);
            true
        }
        _ => false,
    };
    core.settings.monitored = true;
    Box::new(newly)
}

/// As in Redis, who is a monitor already gets no reply.
fn finish(
    _: &mut Session<'_>,
    _: Args<'_>,
    newly: Vec<Contribution>,
    reply: &mut Reply<'_>,
) -> CommandResult {
    if newly.iter().any(|one| one.downcast_ref() == Some(&true)) {
        reply.ok();
    }
    Ok(())
}
