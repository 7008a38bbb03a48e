//! The journal of a shard: numbered effects of every command, in order. Its readers are the append-only file and,
//! later, replicas and the migration of slots.
//!
//! What belongs together is a *unit* and becomes one record: a command with the keys that it found to be past their
//! deadline; one EXEC; one shard's part of a transaction over several shards; a slice of active expiry.
//!
//! ```text
//! handler runs        Effects::expired            a DEL joins the unit
//!                     Context::propagate          an effect joins the unit, and stands in place of the command
//! it has run          Shard::journal_command      the command itself joins, if it has changed something
//!                     or Shard::journal_piece     work without arguments: what it touched is rebuilt, unless it has spoken
//! the unit is over    Journal::seal               one more record
//! a hop is over       Journal::take_unit          kept with the transaction until that ends here, then `seal_part`
//! ```
//!
//! What a transaction has done is written down at its end, and until then nobody else touches what it holds: neither a
//! command, which the scheduler keeps out, nor a duty of the shard ([`super::Held`]). So the records' order is the order
//! of what happened, key by key.
//!
//! An effect is replayed at a time at which nothing is past its deadline: with a clock of zero. What is, says so by
//! an effect of its own.
//!
//! A command's bytes are copied once: an effect is written where its record will stand, behind room for the header, and the
//! memory with all records since the last time is what the reader takes over and writes to the disk.
//!
//! Invariants
//!   J1  Each record's sequence is one more than that of the one before.
//!   J2  While it is off nothing is collected, and a unit costs one predictable branch.
//!   J3  Every change of the shard is in the unit before another unit begins; what a reader takes ends with a whole unit.

pub mod rebuild;
pub mod record;

use crate::disk::AlignedBuffer;
use record::{ALONE, HEADER, Membership};

/// Before the effects of a unit there is room for the header of a record, and what it begins with if it is no part of
/// a transaction.
const ROOM: [u8; HEADER + 1] = {
    let mut room = [0; HEADER + 1];
    room[HEADER] = ALONE;
    room
};

#[derive(Default)]
pub struct Journal {
    on: bool,
    /// It was on, and will be again.
    suspended: bool,
    /// Deletions of keys past their deadline are written as UNLINK (`lazyfree-lazy-expire`).
    unlinks: bool,
    /// The work in progress has said what stands in its place.
    said: bool,
    /// The work in progress has no arguments: the keys that it touches are noted.
    tracing: bool,
    touched: Vec<(usize, Box<[u8]>)>,
    /// Several commands are one unit (EXEC).
    held: bool,
    /// Records that no reader has taken yet, and behind them the unit in progress.
    bytes: AlignedBuffer,
    /// Where the records end. Behind it, if anything, [`ROOM`] and the effects of the unit.
    sealed: usize,
    /// Up to here they have their checksums.
    summed: usize,
    last: u64,
    /// The records that are parts of transactions, since the reader has asked for them last.
    parts: Vec<(u64, Membership)>,
    /// A snapshot has everything up to this record; what follows belongs to this generation of files.
    cut: Option<Cut>,
}

/// A place in the journal at which a snapshot was taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Cut {
    /// The last record that the snapshot has.
    pub sequence: u64,
    /// Where it ends, in bytes of what is given out next.
    pub at: usize,
    pub generation: u64,
}

/// Records that a reader takes over.
#[derive(Debug)]
pub struct Sealed {
    /// Whole records, back to back, as [`record`] describes them.
    pub bytes: AlignedBuffer,
    pub last: u64,
}

impl Journal {
    #[inline]
    pub fn is_on(&self) -> bool {
        self.on
    }

    /// Begins to write; the first record has the number behind `sequence`. No transaction may be under way here.
    pub fn start(&mut self, sequence: u64) {
        *self = Self { on: true, unlinks: self.unlinks, last: sequence, ..Self::default() };
    }

    /// Ends it; what nobody has taken is lost.
    pub fn stop(&mut self) {
        *self = Self { unlinks: self.unlinks, ..Self::default() };
    }

    /// Nothing is collected until [`Journal::resume`]. Everything has been taken, and no unit is in progress.
    pub fn suspend(&mut self) {
        self.suspended = self.on;
        self.on = false;
    }

    /// Goes on where it was suspended, if it was.
    pub fn resume(&mut self) {
        self.on |= std::mem::take(&mut self.suspended);
    }

    pub fn set_unlinks(&mut self, unlinks: bool) {
        self.unlinks = unlinks;
    }

    /// The number of the last record, or of the one before the first.
    pub fn last_sequence(&self) -> u64 {
        self.last
    }

    /// Marks this place, with all shards at rest.
    pub fn cut(&mut self, generation: u64) {
        self.cut = Some(Cut { sequence: self.last, at: self.sealed, generation });
    }

    /// To be asked before `take`: where the records that it gives out are to be divided.
    pub fn take_cut(&mut self) -> Option<Cut> {
        self.cut.take()
    }

    /// Whether there is something to take.
    #[inline]
    pub fn has_sealed(&self) -> bool {
        self.sealed > 0
    }

    /// Bytes that wait for a reader.
    pub fn sealed_bytes(&self) -> usize {
        self.sealed
    }

    /// Gives out the records since the last time; `spare` is a buffer to go on with.
    pub fn take(&mut self, mut spare: AlignedBuffer) -> Option<Sealed> {
        debug_assert!(!self.held && !self.tracing, "J3");
        if self.sealed == 0 {
            return None;
        }
        self.sum();
        spare.clear();
        spare.extend_from_slice(&self.bytes.bytes()[self.sealed..]);
        let mut bytes = std::mem::replace(&mut self.bytes, spare);
        bytes.truncate(self.sealed);
        (self.sealed, self.summed) = (0, 0);
        Some(Sealed { bytes, last: self.last })
    }

    /// Sums up what has been sealed: better at the end of a turn, while all of it is near, than when it is taken.
    #[inline]
    pub fn sum(&mut self) {
        if self.summed < self.sealed {
            record::sum(&mut self.bytes.bytes_mut()[self.summed..self.sealed]);
            self.summed = self.sealed;
        }
    }

    /// The records that are parts of transactions, since the last time, by number; they need not have been given out.
    pub fn take_parts(&mut self) -> impl Iterator<Item = (u64, Membership)> {
        self.parts.drain(..)
    }

    /// An effect of the unit.
    pub fn effect<'a>(&mut self, db: usize, arguments: impl ExactSizeIterator<Item = &'a [u8]> + Clone) {
        debug_assert!(self.on, "J2");
        self.write_effect(db, arguments);
    }

    #[inline]
    fn write_effect<'a>(&mut self, db: usize, arguments: impl ExactSizeIterator<Item = &'a [u8]> + Clone) {
        let begins = self.unit_is_empty();
        let most = ROOM.len() + record::effect_bytes_max(arguments.clone());
        self.bytes.extend_with(most, |room| {
            let mut at = 0;
            if begins {
                room[..ROOM.len()].copy_from_slice(&ROOM);
                at = ROOM.len();
            }
            at + record::put_effect(&mut room[at..], db, arguments)
        });
    }

    /// An effect in place of the command that is running.
    pub fn say<'a>(&mut self, db: usize, arguments: impl ExactSizeIterator<Item = &'a [u8]> + Clone) {
        self.said = true;
        self.effect(db, arguments);
    }

    /// The command that is running has no effect but those that it says.
    pub fn say_nothing(&mut self) {
        self.said = true;
    }

    pub(super) fn expired(&mut self, db: usize, key: &[u8]) {
        let name: &[u8] = if self.unlinks { b"UNLINK" } else { b"DEL" };
        self.write_effect(db, [name, key].into_iter());
    }

    pub(super) fn fields_expired(&mut self, db: usize, key: &[u8], fields: &[Box<[u8]>]) {
        let arguments: Vec<&[u8]> =
            [b"HDEL", key].into_iter().chain(fields.iter().map(|field| &**field)).collect();
        self.write_effect(db, arguments.into_iter());
    }

    pub(super) fn touch(&mut self, db: usize, key: &[u8]) {
        if self.tracing && !self.touched.iter().any(|(other, name)| *other == db && **name == *key) {
            self.touched.push((db, key.into()));
        }
    }

    /// Ends a piece of work; whether it has said what stands in its place.
    pub(super) fn end_work(&mut self) -> bool {
        std::mem::take(&mut self.said)
    }

    pub(super) fn trace(&mut self, tracing: bool) {
        self.tracing = tracing;
        self.touched.clear();
    }

    pub(super) fn take_touched(&mut self) -> Vec<(usize, Box<[u8]>)> {
        self.tracing = false;
        std::mem::take(&mut self.touched)
    }

    /// Until [`Journal::release`] everything is one unit.
    pub fn hold(&mut self) {
        self.held = self.on;
    }

    pub fn release(&mut self) {
        self.held = false;
        self.seal();
    }

    /// Ends a unit; one without effects leaves no record.
    #[inline]
    pub fn seal(&mut self) {
        if !self.unit_is_empty() && !self.held {
            self.end_record();
        }
    }

    #[inline]
    pub fn unit_is_empty(&self) -> bool {
        self.bytes.len() == self.sealed
    }

    /// The effects of the unit in progress.
    fn unit(&self) -> &[u8] {
        self.bytes.bytes()[self.sealed..].get(ROOM.len()..).unwrap_or_default()
    }

    /// Ends this shard's part of a transaction over several; it leaves a record in any case.
    pub fn seal_part(&mut self, membership: &Membership) {
        debug_assert!(
            membership.participants.len() > 1 && membership.participants.is_sorted(),
            "a part of several"
        );
        if self.on {
            let mut body = Vec::new();
            membership.encode(&mut body);
            self.take_unit(&mut body);
            self.bytes.extend_from_slice(&ROOM[..HEADER]);
            self.bytes.extend_from_slice(&body);
            self.end_record();
            self.parts.push((self.last, membership.clone()));
        }
    }

    /// Takes the effects of the unit out, to be put back when their transaction ends here.
    pub fn take_unit(&mut self, into: &mut Vec<u8>) {
        into.extend_from_slice(self.unit());
        self.bytes.truncate(self.sealed);
    }

    pub fn put_unit(&mut self, effects: &[u8]) {
        if self.on && !effects.is_empty() {
            if self.unit_is_empty() {
                self.bytes.extend_from_slice(&ROOM);
            }
            self.bytes.extend_from_slice(effects);
        }
    }

    #[inline]
    fn end_record(&mut self) {
        self.last += 1;
        record::number(&mut self.bytes.bytes_mut()[self.sealed..], self.last);
        self.sealed = self.bytes.len();
    }
}

#[cfg(test)]
mod tests {
    use super::record::{Decoded, Record};
    use super::*;

    fn set(journal: &mut Journal, key: &[u8]) {
        journal.effect(0, [&b"SET"[..], key, b"v"].into_iter());
    }

    fn sequences(mut bytes: &[u8]) -> Vec<(u64, usize)> {
        let mut found = Vec::new();
        while let Decoded::Record(record) = Record::decode(bytes) {
            found.push((record.sequence, record.effects().count()));
            bytes = &bytes[record.length..];
        }
        assert!(bytes.is_empty());
        found
    }

    #[test]
    fn units_are_records_and_readers_miss_none() {
        let mut journal = Journal::default();
        journal.seal();
        assert!(!journal.is_on() && journal.take(AlignedBuffer::default()).is_none(), "J2");
        journal.start(7);
        set(&mut journal, b"a");
        journal.seal();
        journal.seal();
        journal.hold();
        set(&mut journal, b"b");
        journal.seal();
        set(&mut journal, b"c");
        journal.release();
        assert!(journal.has_sealed());
        set(&mut journal, b"not over");
        let Sealed { bytes, last } = journal.take(AlignedBuffer::default()).expect("two units");
        assert_eq!((last, sequences(bytes.bytes())), (9, vec![(8, 1), (9, 2)]), "J1, J3");
        assert!(!journal.has_sealed() && !journal.unit_is_empty());
        journal.seal();
        let membership = Membership { transaction: 3, participants: [0, 2].into() };
        journal.seal_part(&membership);
        let Sealed { bytes, last } = journal.take(bytes).expect("a part without effects");
        assert_eq!((last, sequences(bytes.bytes())), (11, vec![(10, 1), (11, 0)]));
        assert_eq!(journal.take_parts().collect::<Vec<_>>(), [(11, membership)]);
        assert_eq!(journal.take_parts().count(), 0);
    }

    #[test]
    fn what_a_transaction_does_waits_for_its_end() {
        let mut journal = Journal::default();
        journal.start(0);
        let mut kept = Vec::new();
        set(&mut journal, b"hop 1");
        journal.take_unit(&mut kept);
        set(&mut journal, b"between");
        journal.seal();
        set(&mut journal, b"hop 2");
        journal.take_unit(&mut kept);
        journal.put_unit(&kept);
        journal.seal_part(&Membership { transaction: 1, participants: [0, 1].into() });
        journal.cut(5);
        set(&mut journal, b"behind");
        journal.seal();
        let cut = journal.take_cut().expect("it is there");
        let sealed = journal.take(AlignedBuffer::default()).expect("three");
        assert_eq!(sequences(&sealed.bytes.bytes()[..cut.at]), [(1, 1), (2, 2)]);
        assert_eq!((cut.sequence, sequences(&sealed.bytes.bytes()[cut.at..])), (2, vec![(3, 1)]));
    }
}
