//! A record of the journal as bytes: what one command, one transaction or one duty has changed on one shard.
//!
//! ```text
//! u32 le   the lower four bytes of the body's length
//! u32 le   CRC32C of everything behind this field
//! u56 le   sequence: the first record of a shard's journal has 1, each next one more
//! u8       the fifth byte of the body's length
//! body:
//!   varint   0, or the number of the transaction over several shards that this is a part of
//!   if one:  varint   how many shards take part, and then each of them as a varint, this one included
//!   effects until the end of the body:
//!     varint   database
//!     varint   number of arguments, at least 1
//!     each:    varint length, bytes
//! ```
//!
//! An effect is a command that, run on the state before, gives the state after, wherever and whenever it is run:
//! deadlines are absolute, random choices are spelt out. A part of a transaction may have no effects: it says that
//! the transaction has ended here too. Varints are LEB128.
//!
//! Invariants
//!   R1  Decoding never reads beyond the bytes given, and never allocates.
//!   R2  What is decoded and encoded again is the same bytes.

use crate::base::crc::crc32c;

/// Length, checksum and sequence.
pub const HEADER: usize = 16;

/// What five bytes can say, which is more than a unit can have in memory.
pub const BODY_MAX: u64 = (1 << 40) - 1;

/// What seven bytes can say.
pub const SEQUENCE_MAX: u64 = (1 << 56) - 1;

/// Which transaction over several shards a record belongs to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Membership {
    /// Never 0.
    pub transaction: u64,
    /// In ascending order; each of them has a record of this transaction.
    pub participants: Box<[u32]>,
}

/// Writes one record at the end of a buffer.
pub struct RecordWriter<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    sequence: u64,
}

impl<'a> RecordWriter<'a> {
    pub fn new(out: &'a mut Vec<u8>, sequence: u64, membership: Option<&Membership>) -> Self {
        let start = out.len();
        out.resize(start + HEADER, 0);
        match membership {
            None => out.push(ALONE),
            Some(membership) => membership.encode(out),
        }
        Self { out, start, sequence }
    }

    pub fn effect<'b>(&mut self, db: usize, arguments: impl ExactSizeIterator<Item = &'b [u8]> + Clone) {
        let start = self.out.len();
        self.out.resize(start + effect_bytes_max(arguments.clone()), 0);
        let length = put_effect(&mut self.out[start..], db, arguments);
        self.out.truncate(start + length);
    }

    /// Ends the record; without this its header is void.
    pub fn seal(self) {
        let record = &mut self.out[self.start..];
        number(record, self.sequence);
        sum(record);
    }
}

/// Begins the body of a record that is no part of a transaction over several shards.
pub const ALONE: u8 = 0;

impl Membership {
    /// Appends what a body begins with.
    pub fn encode(&self, out: &mut Vec<u8>) {
        write_varint(out, self.transaction);
        write_varint(out, self.participants.len() as u64);
        self.participants.iter().for_each(|shard| write_varint(out, u64::from(*shard)));
    }
}

/// Writes the header of a record whose body stands behind it, but for the checksum.
#[inline]
pub fn number(record: &mut [u8], sequence: u64) {
    let body = (record.len() - HEADER) as u64;
    assert!(body <= BODY_MAX && sequence <= SEQUENCE_MAX, "neither can be reached");
    let [low, high] = [body as u32, (body >> 32) as u32];
    record[..4].copy_from_slice(&low.to_le_bytes());
    record[8..HEADER].copy_from_slice(&(sequence | u64::from(high) << 56).to_le_bytes());
}

/// Writes the checksums of numbered records, back to back.
///
/// Not with the number: bytes that were stored one by one a moment ago cannot be loaded eight at a time before they
/// have left the processor's store buffer, which cost 49 ns for a record of 100 bytes. Later they can, and the
/// sums of several records are computed side by side: 11 ns.
pub fn sum(mut records: &mut [u8]) {
    while let Some(header) = records.first_chunk() {
        let (body, ..) = read_header(header);
        let (record, behind) = records.split_at_mut(HEADER + body as usize);
        let checksum = crc32c(&record[8..]);
        record[4..8].copy_from_slice(&checksum.to_le_bytes());
        records = behind;
    }
}

/// Length of the body, checksum and sequence.
#[inline]
fn read_header(header: &[u8; HEADER]) -> (u64, u32, u64) {
    let [low, checksum] =
        [0, 4].map(|at| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]));
    let last = u64::from_le_bytes(*header.last_chunk().expect("it is longer"));
    (u64::from(low) | last >> 56 << 32, checksum, last & SEQUENCE_MAX)
}

/// What a varint takes at most.
const VARINT_MAX: usize = 10;

/// Room that an effect needs for sure.
#[inline]
pub fn effect_bytes_max<'a>(arguments: impl Iterator<Item = &'a [u8]>) -> usize {
    2 * VARINT_MAX + arguments.map(|argument| VARINT_MAX + argument.len()).sum::<usize>()
}

/// Writes one effect, for a body; how long it is. There is room for it.
#[inline]
pub fn put_effect<'a>(
    room: &mut [u8],
    db: usize,
    arguments: impl ExactSizeIterator<Item = &'a [u8]>,
) -> usize {
    let mut at = put_varint(room, 0, db as u64);
    at = put_varint(room, at, arguments.len() as u64);
    for argument in arguments {
        at = put_varint(room, at, argument.len() as u64);
        room[at..at + argument.len()].copy_from_slice(argument);
        at += argument.len();
    }
    at
}

#[inline]
fn put_varint(room: &mut [u8], mut at: usize, mut value: u64) -> usize {
    while value >= 0x80 {
        room[at] = value as u8 | 0x80;
        value >>= 7;
        at += 1;
    }
    room[at] = value as u8;
    at + 1
}

pub fn write_varint(out: &mut Vec<u8>, value: u64) {
    let mut bytes = [0; VARINT_MAX];
    let length = put_varint(&mut bytes, 0, value);
    out.extend_from_slice(&bytes[..length]);
}

/// A record that lies whole in some bytes.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    pub sequence: u64,
    pub membership: Option<Membership>,
    /// Bytes of the whole record, header included.
    pub length: usize,
    effects: &'a [u8],
}

/// What the bytes at some place are.
#[derive(Clone, Debug)]
pub enum Decoded<'a> {
    Record(Record<'a>),
    /// The record goes on behind the end of the bytes; this many are needed in all.
    Incomplete(usize),
    /// A length of zero: nothing has been written here.
    End,
    /// No record, or a damaged one.
    Damaged(&'static str),
}

impl<'a> Record<'a> {
    /// What stands at the beginning of some bytes.
    pub fn decode(bytes: &'a [u8]) -> Decoded<'a> {
        let Some(header) = bytes.first_chunk::<HEADER>() else {
            let blank = bytes.iter().all(|byte| *byte == 0);
            return if blank { Decoded::End } else { Decoded::Incomplete(HEADER) };
        };
        if header.iter().all(|byte| *byte == 0) {
            return Decoded::End;
        }
        let (length, checksum, sequence) = read_header(header);
        let Some(length) = usize::try_from(length).ok().filter(|length| *length > 0) else {
            return Decoded::Damaged("the length is impossible");
        };
        let Some(record) = bytes.get(..HEADER + length) else {
            return Decoded::Incomplete(HEADER + length);
        };
        if crc32c(&record[8..]) != checksum {
            return Decoded::Damaged("the checksum does not match");
        }
        let mut body = &record[HEADER..];
        let Some(membership) = read_membership(&mut body) else {
            return Decoded::Damaged("the transaction is not readable");
        };
        let record = Self { sequence, membership, length: record.len(), effects: body };
        if record.effects().all(|effect| effect.is_some()) {
            Decoded::Record(record)
        } else {
            Decoded::Damaged("an effect is not readable")
        }
    }

    /// What has changed, in order; an item is `None` where the bytes make no sense, which `decode` has excluded.
    pub fn effects(&self) -> impl Iterator<Item = Option<Effect<'a>>> + use<'a> {
        let mut rest = self.effects;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let effect = read_effect(&mut rest);
            if effect.is_none() {
                rest = &[];
            }
            Some(effect)
        })
    }
}

fn read_membership(body: &mut &[u8]) -> Option<Option<Membership>> {
    let transaction = read_varint(body)?;
    if transaction == 0 {
        return Some(None);
    }
    let count = usize::try_from(read_varint(body)?).ok()?;
    if count > body.len() {
        return None;
    }
    let mut participants = Vec::with_capacity(count);
    for _ in 0..count {
        participants.push(u32::try_from(read_varint(body)?).ok()?);
    }
    Some(Some(Membership { transaction, participants: participants.into() }))
}

/// One command of a record.
#[derive(Clone, Copy, Debug)]
pub struct Effect<'a> {
    pub db: usize,
    count: usize,
    arguments: &'a [u8],
}

impl<'a> Effect<'a> {
    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The arguments with their lengths before them.
    pub fn bytes(&self) -> &'a [u8] {
        self.arguments
    }

    /// Where in `bytes` the arguments stand.
    pub fn places(&self) -> impl Iterator<Item = std::ops::Range<usize>> + use<'a> {
        let all = self.arguments.len();
        let mut rest = self.arguments;
        let next = move || {
            let argument = read_bytes(&mut rest).expect("checked when the effect was read");
            let end = all - rest.len();
            end - argument.len()..end
        };
        std::iter::repeat_with(next).take(self.count)
    }

    pub fn arguments(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut rest = self.arguments;
        std::iter::repeat_with(move || read_bytes(&mut rest).expect("checked when the effect was read"))
            .take(self.count)
    }
}

fn read_effect<'a>(rest: &mut &'a [u8]) -> Option<Effect<'a>> {
    let db = usize::try_from(read_varint(rest)?).ok()?;
    let count = usize::try_from(read_varint(rest)?).ok()?;
    if count == 0 || count > rest.len() {
        return None;
    }
    let start = *rest;
    for _ in 0..count {
        read_bytes(rest)?;
    }
    Some(Effect { db, count, arguments: &start[..start.len() - rest.len()] })
}

fn read_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(read_varint(rest)?).ok()?;
    let (bytes, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    Some(bytes)
}

/// Takes a varint off the front; nothing if it does not end, or does not fit.
pub fn read_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for (index, byte) in rest.iter().take(10).enumerate() {
        let bits = u64::from(byte & 0x7f);
        value |= bits.checked_shl(7 * index as u32).filter(|shifted| shifted >> (7 * index) == bits)?;
        if byte & 0x80 == 0 {
            // One form for each value.
            if index > 0 && *byte == 0 {
                return None;
            }
            *rest = &rest[index + 1..];
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Effects = Vec<(usize, Vec<Vec<u8>>)>;

    fn encode(sequence: u64, membership: Option<&Membership>, effects: &Effects) -> Vec<u8> {
        let mut out = Vec::new();
        let mut writer = RecordWriter::new(&mut out, sequence, membership);
        for (db, arguments) in effects {
            writer.effect(*db, arguments.iter().map(Vec::as_slice));
        }
        writer.seal();
        out
    }

    fn read(record: &Record<'_>) -> Effects {
        let effects = record.effects().map(|effect| effect.expect("decoded"));
        let both = effects.inspect(|effect| {
            let placed = effect.places().map(|place| &effect.bytes()[place]);
            assert!(placed.eq(effect.arguments()));
        });
        both.map(|effect| (effect.db, effect.arguments().map(<[u8]>::to_vec).collect())).collect()
    }

    #[test]
    fn nothing_written_is_the_end() {
        for blank in [0, 1, HEADER, 100] {
            assert!(matches!(Record::decode(&vec![0; blank]), Decoded::End));
        }
    }

    #[test]
    fn a_length_beyond_four_bytes_comes_back() {
        for length in [1, u64::from(u32::MAX), u64::from(u32::MAX) + 1, 5 << 32 | 7, BODY_MAX] {
            let mut header = [0; HEADER];
            header[..4].copy_from_slice(&(length as u32).to_le_bytes());
            header[8..].copy_from_slice(&(SEQUENCE_MAX | length >> 32 << 56).to_le_bytes());
            assert_eq!(read_header(&header), (length, 0, SEQUENCE_MAX));
            let wanted = HEADER + length as usize;
            assert!(matches!(Record::decode(&header), Decoded::Incomplete(found) if found == wanted));
        }
    }

    proptest! {
        #[test]
        fn a_record_comes_back_and_no_damage_goes_unseen(
            sequence in 1..=SEQUENCE_MAX,
            transaction in proptest::option::of((1..=u64::MAX, proptest::collection::vec(any::<u32>(), 0..4))),
            effects in proptest::collection::vec(
                (0..300usize, proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 1..4)),
                0..4,
            ),
            flip in any::<proptest::sample::Index>(),
            bit in 0..8u8,
        ) {
            let membership = transaction.map(|(transaction, participants)| {
                Membership { transaction, participants: participants.into() }
            });
            let bytes = encode(sequence, membership.as_ref(), &effects);
            let followed = [&bytes[..], b"more"].concat();
            let Decoded::Record(record) = Record::decode(&followed) else { panic!("it is whole") };
            prop_assert_eq!((record.sequence, record.length), (sequence, bytes.len()));
            prop_assert_eq!(&record.membership, &membership);
            prop_assert_eq!(read(&record), effects);
            for cut in 1..bytes.len() {
                prop_assert!(matches!(Record::decode(&bytes[..cut]), Decoded::Incomplete(_) | Decoded::End));
            }
            let mut damaged = bytes.clone();
            damaged[flip.index(bytes.len())] ^= 1 << bit;
            prop_assert!(!matches!(Record::decode(&damaged), Decoded::Record(_)));
        }

        #[test]
        fn any_bytes_are_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let mut rest = &bytes[..];
            if let Some(value) = read_varint(&mut rest) {
                let mut again = Vec::new();
                write_varint(&mut again, value);
                prop_assert_eq!(&bytes[..bytes.len() - rest.len()], &again[..], "R2");
            }
            let mut body = &bytes[..];
            while !body.is_empty() && read_effect(&mut body).is_some() {}
        }
    }
}
