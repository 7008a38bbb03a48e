//! Commands about the cores themselves (CLIENT LIST, INFO, FLUSHALL, DBSIZE): every core contributes its part, and
//! the client's core makes one reply of them.

use super::gather::Gather;
use super::message::{Message, ReturnTo};
use super::procedure::Everywhere;
use super::reload::Reload;
use super::{Dispatch, Flow, account, take_muted};
use crate::client::{ClientKey, ReplyMode};
use crate::command_table::{Args, Asker, Command, Contribution, Flag, Handler};
use crate::resp::{Argv, Reply};
use crate::session::{CoreState, Session};
use crate::transaction::{KeySet, Mode};

impl Dispatch {
    pub(super) fn on_every_core(
        &mut self,
        core: &mut CoreState,
        key: ClientKey,
        command: &Command,
        argv: Argv<'_>,
    ) -> Flow {
        let Handler::EveryCore { begin, collect, .. } = command.spec.handler else {
            unreachable!("called for EveryCore only")
        };
        let client = core.clients.running(key);
        if !client.in_flight.is_idle() {
            return Flow::Stall;
        }
        let about_data = command.is_write() || command.spec.flags.contains(Flag::ReadOnly);
        // Before anything is done: it may have to be offered again.
        let census = if about_data || core.cores == 1 { None } else { core.census(key) };
        if census.is_none() && !about_data && core.cores > 1 {
            return Flow::Stall;
        }
        let client = core.clients.running(key);
        let started_ns = core.tick_ns;
        let asker = Asker { client_id: client.id, db: client.db, protocol: client.protocol };
        account::monitor(core, key, command, argv);
        let args = Args::new(argv, usize::from(command.names));
        if let Err(error) = begin(&mut Session { core, key }, args) {
            let client = core.clients.running(key);
            if client.reply_mode == ReplyMode::SkipNext {
                client.reply_mode = ReplyMode::Skipping;
            }
            let mut bytes = Vec::new();
            error.write_over(&mut bytes, 0, asker.protocol);
            account::replied(core, key, command, argv, &bytes);
            return Flow::Next;
        }
        if let Some(order) = core.reload.take() {
            let parts = (0..core.cores).map(|shard| (shard, KeySet::whole(Mode::Exclusive))).collect();
            self.begin(core, key, command, argv, parts, Box::new(Reload::new(order, asker.protocol)));
            return Flow::Next;
        }
        if about_data && core.cores > 1 {
            let mode = if command.is_write() { Mode::Exclusive } else { Mode::Shared };
            let parts = (0..core.cores).map(|shard| (shard, KeySet::whole(mode))).collect();
            let procedure = Box::new(Everywhere::new(*command, asker, argv, core.cores));
            self.begin(core, key, command, argv, parts, procedure);
            return Flow::Next;
        }
        let own = collect(core, asker, args);
        if command.is_write() {
            core.shard.journal_always(asker.db, argv);
        }
        core.shard.effects.journal.seal();
        let now = core.now.unix;
        core.shard.serve_ready(now);
        let client = core.clients.running(key);
        client.in_flight.barriers += 1;
        let muted = take_muted(&mut client.reply_mode);
        let slot = client.output.open_slot(muted);
        let mut contributions: Vec<Option<Contribution>> = (0..core.cores).map(|_| None).collect();
        contributions[core.index] = Some(own);
        let gather = Gather {
            client: key,
            slot,
            command: *command,
            argv: argv.to_owned(),
            started_ns,
            missing: core.cores - 1,
            _census: census,
            contributions,
        };
        if core.cores == 1 {
            self.conclude(core, gather);
            return Flow::Next;
        }
        let shared_argv = std::sync::Arc::new(gather.argv.clone());
        let index = self.gathers.insert(gather);
        let names = usize::from(command.names);
        for other in (0..core.cores).filter(|other| *other != core.index) {
            let argv = shared_argv.clone();
            let run =
                Box::new(move |core: &mut CoreState| collect(core, asker, Args::new(argv.as_argv(), names)));
            let back = Some(ReturnTo { core: core.index, gather: index, part: other });
            self.links.send(other, Message::Call { run, back });
        }
        Flow::Next
    }

    /// Everything has arrived: the reply is made and delivered.
    pub(super) fn conclude(&mut self, core: &mut CoreState, mut gather: Gather) {
        let protocol =
            core.clients.get(gather.client).map_or_else(Default::default, |client| client.protocol);
        let mut bytes = Vec::new();
        let all = gather.contributions.drain(..).map(|part| part.expect("all have arrived")).collect();
        let Handler::EveryCore { finish, .. } = gather.command.spec.handler else {
            unreachable!("only EveryCore asks the cores")
        };
        if core.clients.get(gather.client).is_some() {
            let args = Args::new(gather.argv.as_argv(), usize::from(gather.command.names));
            let mut reply = Reply::new(&mut bytes, protocol);
            let mut session = Session { core, key: gather.client };
            if let Err(error) = finish(&mut session, args, all, &mut reply) {
                error.write_over(&mut bytes, 0, protocol);
            }
        }
        account::gathered(core, &gather, &bytes);
    }
}
