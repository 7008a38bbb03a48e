//! Streams, in the four forms that they have had.
//!
//! ```text
//! nodes      number, then of each: its id (a string of 16 bytes, big endian) and its listpack
//! log        entries, last id; since form 2: first id, greatest deleted id, entries ever added
//! groups     number, then of each: name, last id, since form 2 entries read
//!            pending    number, then of each: id (16 bytes), time of delivery, deliveries
//!            consumers  number, then of each: name, time seen, since form 3 time active,
//!                       number of pending entries, their ids (16 bytes each)
//! producers  in form 4: for how long and how many of their messages are remembered; number, then of each: name,
//!            number of messages, of each: name, id of the entry; at last, how many there ever were, and again
//! ```
//! Ids elsewhere are two lengths, times 8 bytes.

use super::value_reader::{TIME_BYTES, each, element, listpack};
use super::{Damage, ENTRIES_READ_UNKNOWN, Reader, code};
use crate::base::UnixMillis;
use crate::types::stream::{GroupBuilder, LogHeader, StreamBuilder};
use crate::types::{Stream, StreamId};

const ID_BYTES: u64 = 16;

/// A consumer that has never been given anything has this as the time of that.
const NEVER: u64 = u64::MAX;

pub fn stream(type_code: u8, reader: &mut Reader<'_>) -> Result<Box<Stream>, Damage> {
    let mut builder = StreamBuilder::new();
    each(reader, |reader| {
        let offset = reader.offset();
        let name = element(reader)?;
        let Ok(id) = <[u8; 16]>::try_from(name.as_bytes(&mut itoa::Buffer::new())) else {
            return reader.wrong(offset, "the id of a stream's node that is none");
        };
        let offset = reader.offset();
        let pack = listpack(reader, "a damaged node of a stream")?;
        builder
            .node(StreamId::from_bytes(id), pack)
            .or_else(|_| reader.wrong(offset, "a node of a stream that is none, or not in order"))
    })?;
    let offset = reader.offset();
    let mut header = LogHeader {
        length: reader.length()?,
        last_id: id_of_lengths(reader)?,
        first_id: builder.first_id(),
        ..LogHeader::default()
    };
    header.entries_added = header.length;
    if type_code != code::STREAM {
        header.first_id = id_of_lengths(reader)?;
        header.max_deleted_id = id_of_lengths(reader)?;
        header.entries_added = reader.length()?;
    }
    builder
        .header(header)
        .or_else(|_| reader.wrong(offset, "the entries of a stream are not as many or as late as it says"))?;
    each(reader, |reader| group(type_code, reader, &mut builder))?;
    if type_code == code::STREAM_4 {
        // Nobody here can ask for them.
        skip_producers(reader)?;
    }
    Ok(builder.finish())
}

fn group(type_code: u8, reader: &mut Reader<'_>, builder: &mut StreamBuilder) -> Result<(), Damage> {
    let start = reader.offset();
    let name = element(reader)?.to_vec();
    let last_id = id_of_lengths(reader)?;
    let entries_read = match type_code {
        code::STREAM => builder.log().distance_from_first_ever(last_id),
        _ => Some(reader.length()?).filter(|read| *read != ENTRIES_READ_UNKNOWN),
    };
    let mut group = GroupBuilder::new(last_id, entries_read);
    each(reader, |reader| {
        let offset = reader.offset();
        let (id, delivered, deliveries) = (raw_id(reader)?, UnixMillis(reader.u64_le()?), reader.length()?);
        group.pending(id, delivered, deliveries).or_else(|_| reader.wrong(offset, "a pending entry twice"))
    })?;
    each(reader, |reader| {
        let offset = reader.offset();
        let name = element(reader)?;
        let seen = UnixMillis(reader.u64_le()?);
        let active = match type_code {
            code::STREAM_3 | code::STREAM_4 => {
                Some(reader.u64_le()?).filter(|active| *active != NEVER).map(UnixMillis)
            }
            // The best that is known.
            _ => Some(seen),
        };
        let consumer = group
            .consumer(name.as_bytes(&mut itoa::Buffer::new()), seen, active)
            .or_else(|_| reader.wrong(offset, "a consumer of a group twice"))?;
        each(reader, |reader| {
            let offset = reader.offset();
            let id = raw_id(reader)?;
            group
                .owns(consumer, id)
                .or_else(|_| reader.wrong(offset, "a consumer's entry that is not pending, or another one's"))
        })
    })?;
    builder
        .group(&name, group)
        .or_else(|_| reader.wrong(start, "a group of a stream twice, or with pending entries of nobody"))
}

fn id_of_lengths(reader: &mut Reader<'_>) -> Result<StreamId, Damage> {
    Ok(StreamId::new(reader.length()?, reader.length()?))
}

fn raw_id(reader: &mut Reader<'_>) -> Result<StreamId, Damage> {
    let bytes = reader.take(ID_BYTES)?;
    Ok(StreamId::from_bytes(bytes.try_into().expect("as many as asked for")))
}

pub fn skip_stream(type_code: u8, reader: &mut Reader<'_>) -> Result<(), Damage> {
    each(reader, |reader| {
        reader.skip_string()?;
        reader.skip_string()
    })?;
    let numbers = if type_code == code::STREAM { 3 } else { 8 };
    for _ in 0..numbers {
        reader.length()?;
    }
    each(reader, |group| {
        group.skip_string()?;
        for _ in 0..if type_code == code::STREAM { 2 } else { 3 } {
            group.length()?;
        }
        each(group, |pending| {
            pending.take(ID_BYTES + TIME_BYTES)?;
            pending.length().map(drop)
        })?;
        each(group, |consumer| {
            consumer.skip_string()?;
            let is_active_told = matches!(type_code, code::STREAM_3 | code::STREAM_4);
            consumer.take(if is_active_told { 2 * TIME_BYTES } else { TIME_BYTES })?;
            each(consumer, |pending| pending.take(ID_BYTES).map(drop))
        })
    })?;
    if type_code == code::STREAM_4 { skip_producers(reader) } else { Ok(()) }
}

fn skip_producers(reader: &mut Reader<'_>) -> Result<(), Damage> {
    reader.length()?;
    reader.length()?;
    each(reader, |producer| {
        producer.skip_string()?;
        each(producer, |message| {
            message.skip_string()?;
            id_of_lengths(message).map(drop)
        })
    })?;
    reader.length()?;
    reader.length().map(drop)
}
