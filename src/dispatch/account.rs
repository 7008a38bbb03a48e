//! What is written down about a command: statistics, slow log, latency, MONITOR; and its reply, when it
//! does not go straight to the client's output.
//!
//! A client's core accounts for all its commands, wherever they ran.

use super::gather::Gather;
use super::message::Item;
use super::redaction::redacted;
use super::transactions::Running;
use crate::base::clock;
use crate::client::{ClientKey, ReplyMode};
use crate::command_table::{Command, Flag};
use crate::observability::{CommandStats, Counters, LatencyEvent, SlowCommand, slowlog};
use crate::resp::{Argv, ArgvBuf, Reply};
use crate::session::{CoreState, Seat};
use crate::shard::CommandError;

/// A command has run here; its time is what has passed since the last one ended.
#[inline]
pub(super) fn ran(core: &mut CoreState, key: ClientKey, command: &Command, argv: Argv<'_>, failed: bool) {
    let now = clock::Monotonic::now().0;
    let nanoseconds = now - core.tick_ns;
    core.tick_ns = now;
    record(core, key, command, argv, nanoseconds, failed);
}

#[inline]
fn record(
    core: &mut CoreState,
    key: ClientKey,
    command: &Command,
    argv: Argv<'_>,
    nanoseconds: u64,
    failed: bool,
) {
    core.counters.commands_processed += 1;
    core.command_stats.record(command.id, nanoseconds, core.settings.latency_tracking);
    if failed {
        core.command_stats.failed(command.id);
    }
    if nanoseconds >= core.settings.notable_ns {
        notable(core, key, command, argv, nanoseconds);
    }
}

/// Slow enough for the slow log or the latency monitor, or one of them wants everything.
#[cold]
fn notable(core: &mut CoreState, key: ClientKey, command: &Command, argv: Argv<'_>, nanoseconds: u64) {
    let microseconds = nanoseconds / 1000;
    core.read_clock();
    let unix_seconds = core.now.unix.0 / 1000;
    let threshold = core.settings.latency_threshold_ms;
    if threshold > 0 && microseconds / 1000 >= threshold {
        let fast = command.spec.flags.contains(Flag::Fast);
        let event = if fast { LatencyEvent::FastCommand } else { LatencyEvent::Command };
        core.latency.record(event, unix_seconds, microseconds / 1000);
    }
    let slower_than = core.settings.slowlog_slower_than_us;
    if slower_than >= 0
        && microseconds >= slower_than as u64
        && !command.spec.flags.contains(Flag::SkipSlowlog)
        && let Some(client) = core.clients.get(key)
    {
        let entry = SlowCommand {
            id: core.shared.next_slowlog_id(),
            unix_seconds,
            microseconds,
            arguments: match redacted(command, argv) {
                Some(shown) => slowlog::shorten(shown.as_argv().iter()),
                None => slowlog::shorten(argv.iter()),
            },
            client_address: client.address.clone(),
            client_name: client.name.clone(),
        };
        core.slowlog.push(entry, core.settings.slowlog_length_max);
    }
}

/// Refuses a request before it ran.
#[cold]
pub(super) fn refuse(core: &mut CoreState, key: ClientKey, command: Option<&Command>, error: &CommandError) {
    if let Some(command) = command {
        core.command_stats.rejected(command.id);
    }
    let mut text = error.text();
    if command.is_some_and(|command| command.spec.full_name == "exec") {
        // An EXEC that cannot run ends the transaction all the same; the code of a wrong arity is left out.
        let reason = text.strip_prefix(b"ERR ").unwrap_or(&text);
        text = [b"EXECABORT Transaction discarded because of: ", reason].concat().into();
        core.clients.running(key).multi = None;
        core.release_watches(key);
    }
    core.command_stats.error(&text);
    core.counters.errors_replied += 1;
    let client = core.clients.running(key);
    if let Some(multi) = &mut client.multi {
        multi.fail();
    }
    let muted = super::take_muted(&mut client.reply_mode);
    if !muted {
        Reply::new(client.output.writer(), client.protocol).error(text.as_ref());
        core.unsent.push(key);
    }
}

/// A command of the client itself has run and left its reply in `bytes`. Whether it is heard depends on the
/// reply mode that the command leaves behind: CLIENT REPLY ON is answered, even after SKIP.
pub(super) fn replied(core: &mut CoreState, key: ClientKey, command: &Command, argv: Argv<'_>, bytes: &[u8]) {
    let failed = note_error(&mut core.command_stats, &mut core.counters, bytes);
    if let Some(client) = core.clients.get_mut(key) {
        match client.reply_mode {
            ReplyMode::Skipping => client.reply_mode = ReplyMode::On,
            ReplyMode::Off => {}
            ReplyMode::On | ReplyMode::SkipNext => client.output.writer().extend_from_slice(bytes),
        }
        core.unsent.push(key);
    }
    ran(core, key, command, argv, failed);
}

/// A command comes back from another shard.
pub(super) fn returned(
    core: &mut CoreState,
    shard: usize,
    item: &Item,
    slot: u64,
    argv: Argv<'_>,
    bytes: &[u8],
) {
    if item.failed {
        note_error(&mut core.command_stats, &mut core.counters, bytes);
    }
    record(core, item.client, &item.command, argv, item.nanoseconds, item.failed);
    let Some(client) = core.clients.get_mut(item.client) else { return };
    client.output.tells_of(shard);
    if client.output.complete(slot, bytes) {
        core.unsent_of_shard.push(item.client);
    }
    if item.command.is_write() {
        client.in_flight.write_done();
        if client.in_flight.is_idle() {
            core.resumed.push(item.client);
        }
    }
}

/// A command that asked all cores has its reply.
pub(super) fn gathered(core: &mut CoreState, gather: &Gather, bytes: &[u8]) {
    ended(core, gather.client, gather.slot, &gather.command, gather.argv.as_argv(), gather.started_ns, bytes);
}

/// A transaction over several shards has its reply.
pub(super) fn concluded(core: &mut CoreState, running: &Running, bytes: &[u8]) {
    let argv = running.argv.as_argv();
    let super::transactions::Purpose::Reply { slot } = running.purpose else {
        unreachable!("only requests have replies")
    };
    ended(core, running.client, slot, &running.command, argv, running.started_ns, bytes);
}

/// A command that waited has its reply.
pub(super) fn unblocked(core: &mut CoreState, key: ClientKey, seat: &Seat, bytes: &[u8]) {
    let failed = note_error(&mut core.command_stats, &mut core.counters, bytes);
    record(core, key, &seat.command, seat.argv.as_argv(), seat.spent_ns, failed);
    let Some(client) = core.clients.get_mut(key) else { return };
    client.blocked = None;
    client.output.complete(seat.slot, bytes);
    core.unsent.push(key);
    core.resumed.push(key);
}

/// A command has run as a part of something: EXEC, or requests that went together. Its reply goes with the whole.
pub(super) fn ran_as_part(
    core: &mut CoreState,
    key: ClientKey,
    command: &Command,
    argv: Argv<'_>,
    bytes: &[u8],
    nanoseconds: u64,
) {
    let failed = note_error(&mut core.command_stats, &mut core.counters, bytes);
    record(core, key, command, argv, nanoseconds, failed);
}

/// A command that held its client's further requests back is over.
fn ended(
    core: &mut CoreState,
    key: ClientKey,
    slot: u64,
    command: &Command,
    argv: Argv<'_>,
    started_ns: u64,
    bytes: &[u8],
) {
    let failed = note_error(&mut core.command_stats, &mut core.counters, bytes);
    // The work for it is not charged to the next command.
    core.tick_ns = clock::Monotonic::now().0;
    let nanoseconds = core.tick_ns.saturating_sub(started_ns);
    record(core, key, command, argv, nanoseconds, failed);
    if let Some(client) = core.clients.get_mut(key) {
        client.output.complete(slot, bytes);
    }
    released(core, key);
}

/// A client has the reply for which its further requests were held back.
pub(super) fn released(core: &mut CoreState, key: ClientKey) {
    let Some(client) = core.clients.get_mut(key) else { return };
    client.in_flight.barriers -= 1;
    core.unsent.push(key);
    core.resumed.push(key);
}

/// Whether a reply is an error, which is counted then.
#[inline]
pub(super) fn note_error(stats: &mut CommandStats, counters: &mut Counters, reply: &[u8]) -> bool {
    let failed = reply.first() == Some(&b'-');
    if failed {
        stats.error(&reply[1..]);
        counters.errors_replied += 1;
    }
    failed
}

/// Whether `enable-debug-command` or `enable-module-command` keeps this client from the command.
pub(super) fn is_protected(core: &mut CoreState, key: ClientKey, command: &Command) -> bool {
    let policy = match command.spec.name {
        "MODULE" => core.settings.module_command,
        _ => core.settings.debug_command,
    };
    !policy.allows(core.clients.running(key).is_local())
}

/// Shows the request to MONITOR clients, here and on the other cores.
#[inline]
pub(super) fn monitor(core: &mut CoreState, key: ClientKey, command: &Command, argv: Argv<'_>) {
    if core.settings.monitored {
        feed_monitors(core, key, command, argv);
    }
}

#[cold]
fn feed_monitors(core: &mut CoreState, key: ClientKey, command: &Command, argv: Argv<'_>) {
    let flags = command.spec.flags;
    if flags.contains(Flag::SkipMonitor) || flags.contains(Flag::Admin) {
        return;
    }
    let client = core.clients.running(key);
    let unix_address = client.is_unix.then(|| {
        let path = client.address.strip_suffix(":0").unwrap_or(&client.address);
        format!("unix:{path}")
    });
    let address = unix_address.as_deref().unwrap_or(&client.address);
    let shown = redacted(command, argv);
    let argv = shown.as_ref().map_or(argv, ArgvBuf::as_argv);
    let line = crate::observability::monitor_line(core.now.unix_us, client.db, address, argv.iter());
    core.monitor_feed.extend_from_slice(&line);
}
