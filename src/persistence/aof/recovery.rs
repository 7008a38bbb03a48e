//! What of the segments counts after a crash: the recovery cut.
//!
//! Each open segment is read up to the first place that makes no sense. If a later mark says that this place was durable,
//! the file is damaged, and nothing is loaded before somebody has looked at it; otherwise it is a tail that was being
//! written. Then the cut: of each shard's records the longest prefix in which every transaction is complete in the prefixes
//! of all its participants. It is written into the manifest before anybody is served, so it is final: what was cut away
//! cannot come back with the next recovery.
//!
//! Invariants
//!   V1  Whatever was released by `release.rs` before the crash is inside the cut.
//!   V2  No transaction is inside the cut on one shard and outside on another.
//!   V3  Inside the cut every byte is what was written; a file of which that is not so is refused.

use super::faults::{Fault, Faults};
use super::format::{Header, MARK_BYTES, START, decode_mark, durable_claimed};
use super::manifest::{Generation, Manifest, segment_name};
use crate::disk::Disk;
use crate::shard::journal::record::{Decoded, Record};
use std::collections::HashMap;
use std::io;

#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    #[error("cannot read {file}: {source}")]
    Io { file: String, source: io::Error },
    #[error("{file} is damaged at offset {offset}: {problem}")]
    Damaged { file: String, offset: u64, problem: &'static str },
    /// With `aof-load-truncated no`.
    #[error("{file} is cut off at offset {offset}")]
    Truncated { file: String, offset: u64 },
}

/// What was found, and what is to be done.
#[derive(Debug)]
pub struct Recovered {
    /// All generations closed at the cut; those that hold nothing are gone.
    pub manifest: Manifest,
    /// What to replay, by generation.
    pub segments: Vec<Replay>,
    pub losses: Vec<Loss>,
}

/// A segment, and how much of it counts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Replay {
    pub file: String,
    pub generation: u64,
    pub shard: u32,
    pub shards: u32,
    /// Records stand from [`START`] to here.
    pub end: u64,
}

/// Something that was cut away.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Loss {
    pub file: String,
    /// From here to the end of the file.
    pub offset: u64,
    /// Whole records that are behind it.
    pub records: u64,
    pub reason: Reason,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Reason {
    /// The last write did not come to its end.
    Torn(&'static str),
    /// A transaction over shards has not reached all of them.
    Incomplete { transaction: u64 },
    /// The end of the segment before is missing.
    Gap,
    /// What stands here was durable and is not what was written; only with [`Mercy::ForDamage`].
    Damaged(&'static str),
}

/// What becomes of damage.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mercy {
    /// It is refused.
    None,
    /// It is cut away with all that comes behind it, for a fix that somebody has asked for.
    ForDamage,
}

/// A segment as it was read.
#[derive(Debug, Default)]
pub struct Scan {
    /// Behind the last record or mark that makes sense.
    pub end: u64,
    /// Sequences of the first and the last record.
    pub sequences: Option<(u64, u64)>,
    pub records: u64,
    transactions: Vec<Place>,
    /// Why it ends where it ends, if bytes follow.
    pub torn: Option<&'static str>,
    /// The same, if it is damage that was shown mercy.
    pub damaged: Option<&'static str>,
}

/// Where a transaction's part stands.
#[derive(Clone, Copy, Debug)]
struct Place {
    transaction: u64,
    participants: u32,
    at: u64,
    /// Records before it in the segment.
    index: u64,
}

/// Damage at a place of a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Damage {
    pub offset: u64,
    pub problem: &'static str,
}

/// Reads a segment: up to `closed_at`, if it is closed, or as far as it makes sense.
pub fn scan(
    file: &[u8],
    header: &Header,
    closed_at: Option<u64>,
    mercy: Mercy,
    faults: Faults,
) -> Result<Scan, Damage> {
    let limit = closed_at.map_or(file.len(), |end| usize::try_from(end).unwrap_or(usize::MAX));
    if limit > file.len() && mercy == Mercy::ForDamage {
        let scan = self::scan(file, header, Some(file.len() as u64), mercy, faults)?;
        return Ok(Scan { damaged: scan.damaged.or(Some("the file is too short")), ..scan });
    }
    if limit > file.len() {
        return Err(Damage { offset: file.len() as u64, problem: "the file is too short" });
    }
    let mut scan = Scan::default();
    let mut at = START as usize;
    let problem = loop {
        if at >= limit {
            break None;
        }
        let rest = &file[at..limit];
        if let Some(mark) = decode_mark(&file[..limit], at, header.run) {
            // Of the zeros behind it some may not have reached the file.
            let end = (at + mark.bytes).min(limit);
            if file[at + MARK_BYTES..end].iter().any(|byte| *byte != 0) {
                break Some("bytes stand where there were none");
            }
            at = end;
            continue;
        }
        match Record::decode(rest) {
            Decoded::Record(record) => {
                if scan.sequences.is_some_and(|(_, last)| record.sequence != last + 1) {
                    break Some("the sequence of a record is wrong");
                }
                let first = scan.sequences.map_or(record.sequence, |(first, _)| first);
                scan.sequences = Some((first, record.sequence));
                if let Some(membership) = &record.membership {
                    scan.transactions.push(Place {
                        transaction: membership.transaction,
                        participants: membership.participants.len() as u32,
                        at: at as u64,
                        index: scan.records,
                    });
                }
                scan.records += 1;
                at += record.length;
            }
            Decoded::End => break rest.iter().any(|byte| *byte != 0).then_some("bytes are missing"),
            Decoded::Incomplete(_) => break Some("the record is cut off"),
            Decoded::Damaged(problem) => break Some(problem),
        }
    };
    scan.end = at as u64;
    let offset = at as u64;
    if let Some(end) = closed_at
        && offset != end
    {
        let problem = problem.unwrap_or("records are missing");
        if mercy == Mercy::ForDamage {
            scan.damaged = Some(problem);
            return Ok(scan);
        }
        return Err(Damage { offset, problem });
    }
    if closed_at.is_none()
        && let Some(problem) = problem
    {
        let claimed = durable_claimed(file, at, header.run);
        let is_damage = match claimed {
            _ if faults.has(Fault::DamageTakenForTail) => false,
            Some(_) if faults.has(Fault::TailTakenForDamage) => true,
            Some(durable) => durable > offset,
            None => false,
        };
        if is_damage && mercy == Mercy::ForDamage {
            scan.damaged = Some(problem);
            return Ok(scan);
        }
        if is_damage {
            return Err(Damage { offset, problem });
        }
    }
    scan.torn = problem;
    Ok(scan)
}

/// Finds what counts of all that the manifest names.
pub fn recover<D: Disk>(
    disk: &D,
    append_filename: &str,
    manifest: &Manifest,
    faults: Faults,
) -> Result<Recovered, RecoveryError> {
    recover_with(disk, append_filename, manifest, Mercy::None, faults)
}

/// As `recover`, with or without mercy for damage.
pub fn recover_with<D: Disk>(
    disk: &D,
    append_filename: &str,
    manifest: &Manifest,
    mercy: Mercy,
    faults: Faults,
) -> Result<Recovered, RecoveryError> {
    let mut manifest = manifest.clone();
    let mut scans = scan_files(disk, append_filename, &manifest, mercy, faults)?;
    for (index, generation) in manifest.generations.iter().enumerate() {
        let is_damaged = |scanned: &Scanned| scanned.scan.damaged.is_some();
        if generation.ends.is_some() && scans[index].iter().any(is_damaged) {
            // What comes later was written on top of what is lost; this one is cut like an open one.
            manifest.generations.truncate(index + 1);
            scans.truncate(index + 1);
            manifest.generations[index].ends = None;
            break;
        }
    }
    let mut losses = Vec::new();
    let open = manifest.generations.iter().position(|generation| generation.ends.is_none());
    if let Some(open) = open {
        let generations = &manifest.generations[open..];
        check_runs(&scans[open..])?;
        let mut chains = chains(generations, &mut scans[open..], faults)?;
        cut(&mut chains, faults);
        for (shard, chain) in chains.iter().enumerate() {
            chain.apply(shard, &mut scans[open..], &mut losses);
        }
    }
    let mut recovered = Recovered {
        manifest: Manifest { generations: Vec::new(), ..manifest.clone() },
        segments: Vec::new(),
        losses,
    };
    for (generation, scans) in manifest.generations.iter().zip(&scans) {
        if scans.iter().all(|scanned| scanned.scan.end == START) {
            continue;
        }
        let is_settled = generation.ends.is_some() || !faults.has(Fault::CutForgotten);
        let ends = is_settled.then(|| scans.iter().map(|scanned| scanned.scan.end).collect());
        recovered.manifest.generations.push(Generation { ends, ..generation.clone() });
        recovered.segments.extend(scans.iter().zip(0..).map(|(scanned, shard)| Replay {
            file: scanned.file.clone(),
            generation: generation.number,
            shard,
            shards: generation.shards,
            end: scanned.scan.end,
        }));
    }
    Ok(recovered)
}

struct Scanned {
    file: String,
    run: u64,
    scan: Scan,
}

/// All segments, by generation and shard.
fn scan_files<D: Disk>(
    disk: &D,
    append_filename: &str,
    manifest: &Manifest,
    mercy: Mercy,
    faults: Faults,
) -> Result<Vec<Vec<Scanned>>, RecoveryError> {
    let generations = manifest.generations.iter();
    let segments: Vec<(&Generation, u32)> = generations
        .flat_map(|generation| (0..generation.shards).map(move |shard| (generation, shard)))
        .collect();
    let name =
        |(generation, shard): &(&Generation, u32)| segment_name(append_filename, generation.number, *shard);
    let names: Vec<String> = segments.iter().map(name).collect();
    let scanned = disk.read_all(&names, |index, bytes| {
        let (generation, shard) = segments[index];
        scan_file(&names[index], bytes, generation, shard, mercy, faults)
    });
    let mut scanned = scanned
        .into_iter()
        .zip(&names)
        .map(|(scanned, file)| scanned.map_err(|source| RecoveryError::Io { file: file.clone(), source })?);
    let of = |generation: &Generation| scanned.by_ref().take(generation.shards as usize).collect();
    manifest.generations.iter().map(of).collect()
}

fn scan_file(
    file: &str,
    bytes: &[u8],
    generation: &Generation,
    shard: u32,
    mercy: Mercy,
    faults: Faults,
) -> Result<Scanned, RecoveryError> {
    let damaged = |offset, problem| RecoveryError::Damaged { file: file.to_owned(), offset, problem };
    let header = Header::decode(bytes).map_err(|problem| damaged(0, problem))?;
    if (header.generation, header.shard, header.shards) != (generation.number, shard, generation.shards) {
        return Err(damaged(0, "the header is that of another segment"));
    }
    let closed_at = generation.ends.as_ref().map(|ends| ends[shard as usize]);
    let scan = scan(bytes, &header, closed_at, mercy, faults);
    let scan = scan.map_err(|Damage { offset, problem }| damaged(offset, problem))?;
    Ok(Scanned { run: header.run, scan, file: file.to_owned() })
}

/// Segments of one run continue each other; others do not.
fn check_runs(scans: &[Vec<Scanned>]) -> Result<(), RecoveryError> {
    let run = scans[0][0].run;
    match scans.iter().flatten().find(|scanned| scanned.run != run) {
        None => Ok(()),
        Some(stranger) => Err(RecoveryError::Damaged {
            file: stranger.file.clone(),
            offset: 0,
            problem: "the header is that of another run",
        }),
    }
}

/// One shard's records over all open generations.
#[derive(Default)]
struct Chain {
    /// In order, with the segment's index.
    transactions: Vec<(usize, Place)>,
    /// How many of the transactions are inside the cut.
    kept: usize,
    /// The segments from this one on do not count: the one before has lost its end.
    gap: Option<usize>,
}

fn chains(
    generations: &[Generation],
    scans: &mut [Vec<Scanned>],
    faults: Faults,
) -> Result<Vec<Chain>, RecoveryError> {
    let shards = generations[0].shards as usize;
    let mut chains: Vec<Chain> = Vec::with_capacity(shards);
    for shard in 0..shards {
        let mut chain = Chain::default();
        let first = scans[0][shard].scan.sequences.map_or(1, |(first, _)| first);
        // Only a closed one may lack it, and is here only if it is damaged.
        let mut last = generations[0].after.as_ref().map_or(first.wrapping_sub(1), |after| after[shard]);
        for (index, generation) in generations.iter().enumerate() {
            let Scanned { file, scan, .. } = &mut scans[index][shard];
            let after = generation.after.as_ref().map(|after| after[shard]);
            let first = scan.sequences.map(|(first, _)| first);
            let before = after.or(first.map(|first| first.wrapping_sub(1))).unwrap_or(last);
            let follows = first.is_none_or(|first| first == before.wrapping_add(1));
            if !follows || before < last {
                return Err(RecoveryError::Damaged {
                    file: file.clone(),
                    offset: START,
                    problem: "the sequence of the first record is wrong",
                });
            }
            if before > last && !faults.has(Fault::GapUnnoticed) {
                if index == 0 {
                    return Err(RecoveryError::Damaged {
                        file: file.clone(),
                        offset: START,
                        problem: "the first records are missing",
                    });
                }
                chain.gap = Some(index);
                break;
            }
            let placed = std::mem::take(&mut scan.transactions);
            chain.transactions.extend(placed.into_iter().map(|place| (index, place)));
            last = scan.sequences.map_or(before, |(_, last)| last);
        }
        chain.kept = chain.transactions.len();
        chains.push(chain);
    }
    Ok(chains)
}

/// Shortens the chains until each transaction is in all its participants' or in none.
fn cut(chains: &mut [Chain], faults: Faults) {
    // How many participants' records of a transaction are missing from the prefixes; below zero is impossible.
    let mut missing: HashMap<u64, u32> = HashMap::new();
    for (_, place) in chains.iter().flat_map(|chain| &chain.transactions) {
        let missing = missing.entry(place.transaction).or_insert(place.participants);
        *missing = missing.saturating_sub(1);
    }
    loop {
        let mut is_stable = true;
        for chain in chains.iter_mut() {
            let is_out = |(_, place): &(usize, Place)| missing[&place.transaction] > 0;
            let Some(first) = chain.transactions[..chain.kept].iter().position(is_out) else { continue };
            for (_, place) in &chain.transactions[first..chain.kept] {
                *missing.get_mut(&place.transaction).expect("counted above") += 1;
            }
            chain.kept = first;
            is_stable = false;
        }
        if is_stable || faults.has(Fault::CutOnce) {
            return;
        }
    }
}

impl Chain {
    /// Shortens the shard's scans to the cut, and tells what is lost.
    fn apply(&self, shard: usize, scans: &mut [Vec<Scanned>], losses: &mut Vec<Loss>) {
        let cut = self.transactions.get(self.kept).copied();
        for (index, scans) in scans.iter_mut().enumerate() {
            let Scanned { file, scan, .. } = &mut scans[shard];
            let mut lose = |offset, records, reason| {
                losses.push(Loss { file: file.clone(), offset, records, reason });
            };
            match cut {
                Some((segment, place)) if segment == index => {
                    let reason = Reason::Incomplete { transaction: place.transaction };
                    lose(place.at, scan.records - place.index, reason);
                    scan.end = place.at;
                }
                Some((segment, place)) if segment < index => {
                    if scan.records > 0 {
                        lose(START, scan.records, Reason::Incomplete { transaction: place.transaction });
                    }
                    scan.end = START;
                }
                _ if self.gap.is_some_and(|gap| gap <= index) => {
                    if scan.records > 0 {
                        lose(START, scan.records, Reason::Gap);
                    }
                    scan.end = START;
                }
                _ => {
                    if let Some(problem) = scan.damaged {
                        lose(scan.end, 0, Reason::Damaged(problem));
                    } else if let Some(problem) = scan.torn {
                        lose(scan.end, 0, Reason::Torn(problem));
                    }
                }
            }
        }
    }
}
