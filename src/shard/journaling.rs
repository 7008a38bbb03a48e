//! How the work of a shard gets into its journal.

use super::Shard;
use super::journal::rebuild::rebuild;
use crate::resp::Argv;

impl Shard {
    /// A handler has run that began with so many changes counted: the command joins the unit if it has changed
    /// something and has not said what is to stand in its place.
    #[inline]
    pub fn journal_command(&mut self, changes: u64, db: usize, argv: Argv<'_>) {
        if self.effects.journal.is_on() {
            self.note_command(changes, db, argv);
        }
    }

    #[inline(never)]
    fn note_command(&mut self, changes: u64, db: usize, argv: Argv<'_>) {
        let changed = self.effects.changes() != changes;
        let journal = &mut self.effects.journal;
        if !journal.end_work() && changed {
            journal.effect(db, argv.iter());
        }
    }

    /// A command that is journalled whatever it has changed here (FLUSHALL).
    pub fn journal_always(&mut self, db: usize, argv: Argv<'_>) {
        let journal = &mut self.effects.journal;
        if journal.is_on() {
            journal.end_work();
            journal.effect(db, argv.iter());
        }
    }

    /// Runs work that has no arguments of its own: a hop of a plan, or what a client has waited for. If it does not say
    /// what it does, the keys that it changes are journalled as they are afterwards.
    pub fn journal_piece<R>(&mut self, work: impl FnOnce(&mut Self) -> R) -> R {
        if !self.effects.journal.is_on() {
            return work(self);
        }
        let changes = self.effects.changes();
        self.effects.trace();
        let result = work(self);
        let touched = self.effects.traced();
        let Self { databases, effects, .. } = self;
        let changed = effects.changes() != changes;
        let journal = &mut effects.journal;
        if journal.end_work() {
            return result;
        }
        assert!(!changed || !touched.is_empty(), "a change names its key");
        for (db, key) in touched {
            match databases[db].find(&key) {
                None => journal.effect(db, [&b"DEL"[..], &key].into_iter()),
                Some(entry) => {
                    // SET replaces whatever there was.
                    if entry.as_string().is_none() {
                        journal.effect(db, [&b"DEL"[..], &key].into_iter());
                    }
                    rebuild(entry, |argv| journal.effect(db, argv.iter()));
                }
            }
        }
        result
    }
}
