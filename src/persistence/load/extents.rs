//! Our own snapshots are made of extents, and their index says where those are: several feeders read one file.
//!
//! The extents lie side by side between a header and a trailer; each begins with the number of its database. So the
//! file can be cut between any two of them. The checksum of the whole follows from those of the parts. A file whose
//! index does not hold is read from its beginning, as any other.

use super::feeds::Feeds;
use super::reader::Reader;
use super::snapshot::{About, SnapshotFeeder, SnapshotPolicy};
use super::{Delay, LoadError};
use crate::base::crc::crc64_combine;
use crate::persistence::rdb::reader::{FileReader, Item, Step};
use crate::persistence::snapshot::extent::{BLOCK, INDEX_AT_KEY, INDEX_KEY, TAIL_BYTES};
use crate::shard::journal::record::read_varint;

/// Shards that one feeder keeps busy.
const SHARDS_PER_FEEDER: usize = 2;
const FEEDERS_MAX: usize = 16;

/// An index beyond this is not ours: it would be of a dump of petabytes.
const INDEX_BYTES_MAX: u64 = 1 << 30;

/// Where the file is cut: each part but the last is followed by the next.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Cuts(Vec<u64>);

/// The cuts that a file's index allows, for so many shards; nothing if one feeder is enough, or there is no index.
pub fn cuts(reader: &Reader, shards: usize) -> Option<Cuts> {
    let feeders = (shards / SHARDS_PER_FEEDER).min(FEEDERS_MAX);
    if feeders < 2 {
        return None;
    }
    let extents = index(reader)?;
    let (first, last) = (extents.first()?, extents.last()?);
    let mut cuts = vec![first.0];
    let bytes = last.0 + last.1 - first.0;
    for (start, _) in &extents {
        let share = bytes * cuts.len() as u64 / feeders as u64;
        if *start >= first.0 + share && *start > *cuts.last().expect("begun with one") {
            cuts.push(*start);
        }
    }
    cuts.push(last.0 + last.1);
    Some(Cuts(cuts))
}

/// Offset and length of each extent, if they lie side by side.
fn index(reader: &Reader) -> Option<Vec<(u64, u64)>> {
    let tail = reader.read_at(reader.end().checked_sub(TAIL_BYTES as u64)?, TAIL_BYTES)?;
    let name_end = 2 + INDEX_AT_KEY.len();
    if tail[2..name_end] != *INDEX_AT_KEY {
        return None;
    }
    let offset = u64::from_le_bytes(*tail[name_end + 1..].first_chunk()?);
    let length = reader.end().checked_sub(offset).filter(|length| *length <= INDEX_BYTES_MAX)?;
    let bytes = reader.read_at(offset, length as usize)?;
    let Ok(Step::Item(Item::Aux { name, value }, _)) = FileReader::resume(1, offset).step(&bytes) else {
        return None;
    };
    if name.to_vec() != INDEX_KEY {
        return None;
    }
    let (value, mut extents) = (value.to_vec(), Vec::new());
    let mut rest = value.as_slice();
    while !rest.is_empty() {
        let mut number = || read_varint(&mut rest);
        let (start, length, _shard, _keys) = (number()?, number()?, number()?, number()?);
        let start = start.checked_mul(BLOCK as u64)?;
        extents.push((start, length.checked_mul(BLOCK as u64)?));
    }
    let ends = |(start, length): &(u64, u64)| start.checked_add(*length);
    let side_by_side = extents.windows(2).all(|pair| ends(&pair[0]) == Some(pair[1].0));
    let inside = extents.last().and_then(ends).is_some_and(|end| end <= offset);
    (side_by_side && inside && extents.first()?.0 > 0).then_some(extents)
}

/// Loads a file in its parts, side by side.
///
/// # Errors
/// As of one that is loaded in one go.
pub fn load(
    reader: &Reader,
    Cuts(cuts): &Cuts,
    feeds: &Feeds,
    policy: SnapshotPolicy,
    delay: &Delay,
) -> Result<About, LoadError> {
    let mut header = reader.part(0, cuts[0])?;
    let (mut about, mut checksum) =
        SnapshotFeeder::new(&mut header, feeds, policy, delay).run_part(FileReader::new())?;
    let version = about.version;
    let parts = std::thread::scope(|scope| {
        let feeders: Vec<_> = cuts
            .windows(2)
            .map(|cut| {
                let (start, end) = (cut[0], cut[1]);
                let feeder = move || {
                    let mut part = reader.part(start, end)?;
                    let records = FileReader::resume(version, start);
                    SnapshotFeeder::new(&mut part, feeds, policy, delay).run_part(records)
                };
                std::thread::Builder::new().name("loader".into()).spawn_scoped(scope, feeder)
            })
            .collect();
        let ended = feeders
            .into_iter()
            .map(|feeder| feeder.map_err(LoadError::Thread)?.join().unwrap_or(Err(LoadError::Stopped)));
        ended.collect::<Vec<Result<(About, u64), LoadError>>>()
    });
    for (part, cut) in parts.into_iter().zip(cuts.windows(2)) {
        let (part, part_checksum) = part?;
        about.add(&part);
        checksum = crc64_combine(checksum, part_checksum, cut[1] - cut[0]);
    }
    let end = cuts[cuts.len() - 1];
    let mut trailer = reader.part(end, reader.end())?;
    let mut feeder = SnapshotFeeder::new(&mut trailer, feeds, policy, delay);
    feeder.continue_checksum(checksum);
    about.add(&feeder.run_rest(FileReader::resume(version, end))?);
    Ok(about)
}
