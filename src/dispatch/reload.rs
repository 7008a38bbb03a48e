//! DEBUG RELOAD and DEBUG LOADAOF: the data are loaded again in a running server.
//!
//! A transaction holds all shards until it is over; whoever wants to do something with the data waits. It saves, lets
//! the journals be written to their end, and begins to load as at the start, with the cores in their loops.

use super::freeze::{hold_all, nothing};
use super::procedure::{Next, Procedure, Work};
use crate::client::ClientKey;
use crate::command_table::Contribution;
use crate::persistence::load::{self, Feeds, Outcome, ReloadOrder, Source, Which};
use crate::resp::{Protocol, Reply};
use crate::session::{CoreState, ShutdownMode};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::Ordering;

/// Loading that takes longer is told to clients, instead of letting them wait.
const PATIENCE_NS: u64 = 100_000_000;

pub struct Reload {
    order: ReloadOrder,
    reply: Rc<RefCell<Vec<u8>>>,
    protocol: Protocol,
    step: Step,
    /// What is loaded, and the way to the cores.
    source: Option<(Source, Feeds)>,
    began_ns: u64,
}

enum Step {
    Hold,
    First,
    Begun,
    /// Asks whether everything is written.
    Settle,
    Settling,
    Start,
    Loading(Outcome),
    End,
}

impl Reload {
    pub fn new(order: ReloadOrder, protocol: Protocol) -> Self {
        Self { order, reply: Rc::default(), protocol, step: Step::Hold, source: None, began_ns: 0 }
    }

    fn failed(&self, text: &str) -> Next {
        let mut bytes = Vec::new();
        Reply::new(&mut bytes, self.protocol).error(text.as_bytes());
        Next::Done(bytes)
    }

    /// The reply to a failure to load, which the log has in full.
    fn not_loaded(&self) -> Vec<u8> {
        let text = match self.order.which {
            Which::Snapshot { .. } => "ERR Error trying to load the RDB dump, check server logs.",
            Which::AppendOnly => "ERR Error trying to load the append only file, check server logs.",
        };
        let mut bytes = Vec::new();
        Reply::new(&mut bytes, self.protocol).error(text.as_bytes());
        bytes
    }

    /// What comes first is done.
    fn begun(&mut self, core: &CoreState) -> Next {
        let has_failed = self.reply.borrow().first() == Some(&b'-');
        if has_failed { Next::Done(self.reply.take()) } else { self.ask_whether_settled(core) }
    }

    fn ask_whether_settled(&mut self, core: &CoreState) -> Next {
        self.step = Step::Settling;
        let which = self.order.which;
        let ask = move |core: &mut CoreState| -> Contribution { Box::new(which.settle(core)) };
        let work = (0..core.cores).map(|shard| (shard, Work::Core(Box::new(ask)))).collect();
        Next::Hop { work, last: false }
    }

    /// The files are looked for; each core takes its place.
    fn begin(&mut self, core: &CoreState) -> Next {
        let shared = &core.shared;
        let which = self.order.which;
        let source = match which.find(shared) {
            Ok(source) => source,
            Err(error) => {
                shared.log.warning(format!("Nothing is loaded: {error}"));
                return Next::Done(self.not_loaded());
            }
        };
        // A file that is not there is missed when it is loaded.
        shared.load_progress.begin(load::now_s(), source.bytes().unwrap_or(0));
        let (feeds, inboxes) = Feeds::new(core.cores, shared.doorbells.clone(), shared.load_progress.clone());
        self.source = Some((source, feeds));
        self.began_ns = core.now.monotonic_ns;
        self.step = Step::Start;
        let begin = |inbox| {
            Work::Core(Box::new(move |core: &mut CoreState| -> Contribution {
                which.begin(core, inbox);
                Box::new(())
            }))
        };
        Next::Hop { work: inboxes.into_iter().map(begin).enumerate().collect(), last: false }
    }

    fn end(&mut self, core: &CoreState, reply: Vec<u8>) -> Next {
        self.reply.replace(reply);
        self.step = Step::End;
        let end = |core: &mut CoreState| -> Contribution {
            Which::end(core);
            Box::new(())
        };
        let work = (0..core.cores).map(|shard| (shard, Work::Core(Box::new(end)))).collect();
        Next::Hop { work, last: false }
    }

    fn loaded(&mut self, core: &CoreState, error: Option<&load::LoadError>) -> Next {
        let log = &core.shared.log;
        let Some(error) = error else {
            if self.order.which == Which::AppendOnly {
                log.warning("Append Only File loaded by DEBUG LOADAOF");
            }
            let mut bytes = Vec::new();
            Reply::new(&mut bytes, self.protocol).ok();
            return self.end(core, bytes);
        };
        log.warning(format!("Loading again has failed: {error}"));
        if self.order.which == Which::AppendOnly {
            // What is in memory is not what the file says, and must not be written behind it.
            core.shared.request_shutdown(ShutdownMode::NoSave);
        }
        let reply = self.not_loaded();
        self.end(core, reply)
    }
}

impl Procedure for Reload {
    fn next(&mut self, core: &mut CoreState, _: ClientKey, results: Vec<(usize, Contribution)>) -> Next {
        match &self.step {
            Step::Hold => {
                self.step = Step::First;
                Next::Hop { work: nothing(core.cores), last: false }
            }
            Step::First => {
                self.step = Step::Begun;
                let order = self.order.first(core);
                match order.and_then(|order| hold_all(core, order, &self.reply, self.protocol)) {
                    Some(work) => Next::Hop { work, last: false },
                    None => self.begun(core),
                }
            }
            Step::Begun => self.begun(core),
            Step::Settle => self.ask_whether_settled(core),
            Step::Settling => {
                let mut settled = true;
                for (_, answer) in results {
                    match *answer.downcast::<Result<bool, i32>>().expect("what each core is asked") {
                        Ok(is) => settled &= is,
                        Err(_) => {
                            return self
                                .failed("ERR The append only file can't be written, check server logs.");
                        }
                    }
                }
                if settled {
                    return self.begin(core);
                }
                self.step = Step::Settle;
                Next::Later
            }
            Step::Start => {
                let (source, feeds) = self.source.take().expect("this step comes once");
                match self.order.which.start(core.shared.clone(), core.table, source, feeds) {
                    Ok(outcome) => {
                        self.step = Step::Loading(outcome);
                        Next::Later
                    }
                    Err(error) => self.loaded(core, Some(&error)),
                }
            }
            Step::Loading(outcome) => {
                let outcome = outcome.clone();
                match outcome.get() {
                    None => {
                        if core.now.monotonic_ns.saturating_sub(self.began_ns) > PATIENCE_NS {
                            core.shared.loading.store(true, Ordering::SeqCst);
                        }
                        Next::Later
                    }
                    Some(loaded) => self.loaded(core, loaded.as_ref().err()),
                }
            }
            Step::End => {
                core.shared.loading.store(false, Ordering::SeqCst);
                Next::Done(self.reply.take())
            }
        }
    }

    fn needs_only_shards(&self) -> bool {
        false
    }
}
