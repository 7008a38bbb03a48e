//! MULTI, WATCH and their ends: a client queues commands, and names keys that must not change meanwhile.
//! [`exec`](super::exec) runs what was queued.

use super::account;
use super::message::Message;
use super::procedure::{Next, Procedure, Work};
use super::transactions::intentions;
use super::{Dispatch, Flow};
use crate::client::{ClientKey, QueuedCommand, WatchedKey};
use crate::command_table::{Command, Contribution, Flag, Handler, TransactionCommand};
use crate::resp::{Argv, Protocol, Reply};
use crate::session::CoreState;
use crate::shard::{CommandError, shard_of_key};
use crate::transaction::Multi;
use std::sync::Arc;

impl Dispatch {
    /// Queues a command inside MULTI; `false` if it is one that runs there too.
    pub(super) fn queue(
        &mut self,
        core: &mut CoreState,
        key: ClientKey,
        command: &Command,
        argv: Argv<'_>,
    ) -> bool {
        let runs = matches!(command.spec.handler, Handler::OfTransaction(which) if !matches!(which, TransactionCommand::Unwatch))
            || matches!(command.spec.name, "QUIT" | "RESET");
        if runs {
            return false;
        }
        if command.spec.flags.contains(Flag::NoMulti) {
            let error = CommandError::Text("ERR Command not allowed inside a transaction");
            account::refuse(core, key, Some(command), &error);
            return true;
        }
        let client = core.clients.running(key);
        let multi = client.multi.as_mut().expect("called inside MULTI");
        multi.queue(QueuedCommand { command: *command, argv: argv.to_owned() });
        if !super::take_muted(&mut client.reply_mode) {
            Reply::new(client.output.writer(), client.protocol).simple("QUEUED");
            core.unsent.push(key);
        }
        true
    }

    pub(super) fn of_transaction(
        &mut self,
        core: &mut CoreState,
        key: ClientKey,
        command: &Command,
        which: TransactionCommand,
        argv: Argv<'_>,
    ) -> Flow {
        let may_start = match which {
            // It touches nothing but the client.
            TransactionCommand::Multi => true,
            TransactionCommand::Exec if self.may_collect_exec(core, key) => true,
            _ => {
                self.depart(core);
                core.clients.running(key).in_flight.is_idle()
            }
        };
        if !may_start {
            return Flow::Stall;
        }
        let client = core.clients.running(key);
        let in_multi = client.multi.is_some();
        let refused = match which {
            TransactionCommand::Multi if in_multi => Some("ERR MULTI calls can not be nested"),
            TransactionCommand::Exec if !in_multi => Some("ERR EXEC without MULTI"),
            TransactionCommand::Discard if !in_multi => Some("ERR DISCARD without MULTI"),
            TransactionCommand::Watch if in_multi => Some("ERR WATCH inside MULTI is not allowed"),
            _ => None,
        };
        if let Some(text) = refused {
            self.say(core, key, command, argv, |reply| reply.error(text));
            return Flow::Next;
        }
        let census = if which == TransactionCommand::Exec && counts_clients(core, key) {
            match core.census(key) {
                None => return Flow::Stall,
                census => census,
            }
        } else {
            None
        };
        match which {
            TransactionCommand::Multi => {
                core.clients.running(key).multi = Some(Multi::default());
                self.say(core, key, command, argv, |reply| reply.ok());
            }
            TransactionCommand::Discard => {
                core.clients.running(key).multi = None;
                core.release_watches(key);
                self.say(core, key, command, argv, |reply| reply.ok());
            }
            TransactionCommand::Unwatch => {
                core.release_watches(key);
                self.say(core, key, command, argv, |reply| reply.ok());
            }
            TransactionCommand::Watch => self.watch(core, key, command, argv),
            TransactionCommand::Exec => self.exec(core, key, command, argv, census),
        }
        Flow::Next
    }

    /// Replies to a command that is done already.
    pub(super) fn say(
        &mut self,
        core: &mut CoreState,
        key: ClientKey,
        command: &Command,
        argv: Argv<'_>,
        write: impl FnOnce(&mut Reply<'_>),
    ) {
        account::monitor(core, key, command, argv);
        let protocol = core.clients.running(key).protocol;
        let mut bytes = Vec::new();
        write(&mut Reply::new(&mut bytes, protocol));
        account::replied(core, key, command, argv, &bytes);
    }

    fn watch(&mut self, core: &mut CoreState, key: ClientKey, command: &Command, argv: Argv<'_>) {
        let (cores, client) = (core.cores, core.clients.running(key));
        let (db, protocol, id) = (client.db, client.protocol, client.watching.watcher(client.id));
        let mut by_shard: Vec<(usize, Vec<Box<[u8]>>)> = Vec::new();
        for name in argv.iter().skip(1) {
            let owner = shard_of_key(name, cores);
            if !client.watching.add(owner, WatchedKey { db, key: name.into() }) {
                continue;
            }
            match by_shard.iter_mut().find(|(shard, _)| *shard == owner) {
                Some((_, keys)) => keys.push(name.into()),
                None => by_shard.push((owner, vec![name.into()])),
            }
        }
        if by_shard.is_empty() {
            return self.say(core, key, command, argv, |reply| reply.ok());
        }
        // What these keys were before is forgotten only when that has reached their owners.
        self.release_watches(core);
        account::monitor(core, key, command, argv);
        let parts = intentions(core, command, argv);
        let by_shard = by_shard.into_iter().map(|(shard, keys)| (shard, keys.into())).collect();
        self.begin(core, key, command, argv, parts, Box::new(Watch { watcher: id, db, protocol, by_shard }));
    }

    /// Tells the owners of watched keys that their watchers have gone. Until that has arrived their shards count as
    /// busy: a WATCH of the same key must not get there first.
    pub fn release_watches(&mut self, core: &mut CoreState) {
        for (client, owner, key) in std::mem::take(&mut core.unwatched) {
            if owner == core.index {
                core.shard.effects.unwatch(client, key.db, &key.key);
            } else {
                self.in_flight[owner] += 1;
                self.links.send(owner, Message::Unwatch { client, key });
            }
        }
    }
}

/// Whether EXEC asks every core about something that is not its data, perhaps its clients.
fn counts_clients(core: &mut CoreState, key: ClientKey) -> bool {
    let asks = |queued: &QueuedCommand| {
        let command = &queued.command;
        let about_data = command.is_write() || command.spec.flags.contains(Flag::ReadOnly);
        matches!(command.spec.handler, Handler::EveryCore { .. }) && !about_data
    };
    let several = core.cores > 1;
    let multi = &core.clients.running(key).multi;
    several && multi.as_ref().is_some_and(|multi| multi.commands().iter().any(asks))
}

/// Keys for another thread, which may be asked for more than once.
type SharedKeys = Arc<[Box<[u8]>]>;

/// WATCH: registers keys with their owners.
struct Watch {
    watcher: u64,
    db: usize,
    protocol: Protocol,
    by_shard: Vec<(usize, SharedKeys)>,
}

impl Procedure for Watch {
    fn read(&self, shard: usize) -> Option<Work> {
        let (_, keys) = self.by_shard.iter().find(|(owner, _)| *owner == shard)?;
        let (keys, watcher, db) = (keys.clone(), self.watcher, self.db);
        Some(Work::Shard(Box::new(move |shard, now| {
            for key in keys.iter() {
                shard.watch(watcher, db, key, now);
            }
            Box::new(())
        })))
    }

    fn next(&mut self, _: &mut CoreState, _: ClientKey, _: Vec<(usize, Contribution)>) -> Next {
        let mut bytes = Vec::new();
        Reply::new(&mut bytes, self.protocol).ok();
        Next::Done(bytes)
    }
}
