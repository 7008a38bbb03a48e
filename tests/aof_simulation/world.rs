//! The lives of one seed, and the judge of what each leaves.

use crate::life::{Journal, Life, NAME};
use pinion::base::random::Random;
use pinion::disk::{Disk, FaultRates, SimulatedDisk};
use pinion::persistence::aof::faults::Faults;
use pinion::persistence::aof::format::{Header, MARK_BYTES, START, durable_claimed};
use pinion::persistence::aof::manifest::{Manifest, manifest_name};
use pinion::persistence::aof::recovery::{Mercy, Reason, Recovered, RecoveryError, recover, recover_with};
use pinion::shard::journal::record::{Decoded, Record};
use std::collections::HashMap;

/// What a simulation has gone through.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    pub lives: u64,
    pub records: u64,
    pub acknowledged: u64,
    pub transactions: u64,
    pub torn: u64,
    pub incomplete: u64,
    pub gaps: u64,
    pub rewrites: u64,
    pub zeros: u64,
    /// Lives in which calls failed.
    pub failures: u64,
    /// Damage that was refused.
    pub refused: u64,
    /// Lives that came to rest with everything durable.
    pub drained: u64,
}

impl Seen {
    pub fn add(&mut self, other: &Self) {
        self.lives += other.lives;
        self.records += other.records;
        self.acknowledged += other.acknowledged;
        self.transactions += other.transactions;
        self.torn += other.torn;
        self.incomplete += other.incomplete;
        self.gaps += other.gaps;
        self.rewrites += other.rewrites;
        self.zeros += other.zeros;
        self.failures += other.failures;
        self.refused += other.refused;
        self.drained += other.drained;
    }
}

pub struct World {
    random: Random,
    disk: SimulatedDisk,
    faults: Faults,
    /// Of each life that is over: what has been recovered of it, by shard.
    past: Vec<Vec<Journal>>,
    /// Which life wrote a generation.
    writers: HashMap<u64, usize>,
    generations: u64,
    marks: u64,
    story: Option<Vec<String>>,
    pub seen: Seen,
}

impl World {
    pub fn new(seed: u64, faults: Faults, trace: bool) -> Self {
        let mut random = Random::from_seed(seed);
        Self {
            disk: SimulatedDisk::new(random.next_u64()),
            random,
            faults,
            past: Vec::new(),
            writers: HashMap::new(),
            generations: 0,
            marks: 0,
            story: trace.then(Vec::new),
            seen: Seen::default(),
        }
    }

    pub fn story(&self) -> String {
        self.story.as_ref().map_or(String::new(), |lines| lines.join("\n"))
    }

    fn tell(&mut self, line: impl FnOnce() -> String) {
        if let Some(story) = &mut self.story {
            story.push(line());
        }
    }

    pub fn run(&mut self) -> Result<(), String> {
        let mut manifest = Manifest::default();
        for _ in 0..1 + self.random.index(4) {
            let Some(life) = self.start(&manifest) else {
                // The start has failed: the next one finds what is there.
                self.disk.crash();
                manifest = self.read_manifest()?;
                continue;
            };
            let life = self.live(life)?;
            manifest = self.judge(&life)?;
        }
        Ok(())
    }

    fn start(&mut self, manifest: &Manifest) -> Option<Life> {
        self.generations = self.generations.max(manifest.next_number());
        let generation = self.generations;
        // A life may rewrite a hundred times.
        self.generations += 100;
        let number = self.past.len();
        let rates = if self.random.below(8) == 0 { storm() } else { FaultRates::default() };
        self.disk.set_rates(rates);
        let begun =
            Life::begin(number, &self.disk, &mut self.random, manifest.clone(), generation, self.faults);
        self.disk.set_rates(FaultRates::default());
        self.writers.extend((generation..generation + 100).map(|generation| (generation, number)));
        self.tell(|| format!("life {number}: generation {generation}, begins: {}", begun.is_ok()));
        match begun {
            Ok(life) => Some(life),
            Err(_) => {
                // Its generation may be named by the list, and is empty.
                self.past.push(vec![Vec::new(); 4]);
                None
            }
        }
    }

    fn live(&mut self, mut life: Life) -> Result<Life, String> {
        self.seen.lives += 1;
        let stormy = self.random.below(2) == 0;
        self.seen.failures += u64::from(stormy);
        self.disk.set_rates(if stormy { storm() } else { FaultRates::default() });
        for _ in 0..self.random.index(400) {
            life.step(&self.disk, &mut self.random, &mut self.marks);
        }
        self.disk.set_rates(FaultRates::default());
        if self.random.below(4) == 0 {
            life.drain(&self.disk, &mut self.random, &mut self.marks)?;
            self.seen.drained += 1;
        }
        life.stop(&self.disk, &mut self.random);
        self.disk.crash();
        self.seen.records += life.journals.iter().map(|journal| journal.len() as u64).sum::<u64>();
        self.seen.acknowledged += life.acknowledged.iter().sum::<u64>();
        self.seen.transactions += life.transactions.len() as u64;
        self.seen.rewrites += life.rewrites;
        self.seen.zeros += life.zeros;
        self.tell(|| {
            let journals: Vec<usize> = life.journals.iter().map(Vec::len).collect();
            format!("  {:?}, journalled {journals:?}, acknowledged {:?}", life.policy, life.acknowledged)
        });
        Ok(life)
    }

    /// What the list on the disk and what it names come to, settled; everything else must be as it was.
    fn read_manifest(&mut self) -> Result<Manifest, String> {
        let Ok(bytes) = self.disk.read(&manifest_name(NAME)) else { return Ok(Manifest::default()) };
        let manifest = Manifest::parse(&bytes).map_err(|error| format!("the manifest: {error}"))?;
        let recovered =
            recover(&self.disk, NAME, &manifest, self.faults).map_err(|error| error.to_string())?;
        let content = self.replay(&recovered, None)?;
        for (number, past) in self.past.iter().enumerate() {
            if content.get(number).is_some_and(|found| !same(found, past)) {
                return Err(format!("what is left of life {number} has changed"));
            }
        }
        Ok(recovered.manifest)
    }

    fn judge(&mut self, life: &Life) -> Result<Manifest, String> {
        if self.random.below(4) == 0 {
            self.damage()?;
        }
        let bytes = self.disk.read(&manifest_name(NAME)).map_err(|error| format!("the manifest: {error}"))?;
        let manifest = Manifest::parse(&bytes).map_err(|error| format!("the manifest: {error}"))?;
        let recovered = recover(&self.disk, NAME, &manifest, self.faults)
            .map_err(|error| format!("refused without need: {error}"))?;
        for loss in &recovered.losses {
            match loss.reason {
                Reason::Torn(_) => self.seen.torn += 1,
                Reason::Incomplete { .. } => self.seen.incomplete += 1,
                Reason::Gap => self.seen.gaps += 1,
                Reason::Damaged(_) => return Err("mercy without need".to_owned()),
            }
            self.tell(|| format!("  {loss:?}"));
        }
        let content = self.replay(&recovered, Some(life))?;
        for (number, past) in self.past.iter().enumerate() {
            if !same(&content[number], past) {
                return Err(format!("what is left of life {number} has changed"));
            }
        }
        let kept = &content[life.number];
        check(life, kept)?;
        self.past.push(kept.clone());
        Ok(recovered.manifest)
    }

    /// What a server that loads this has: by life and shard.
    fn replay(&self, recovered: &Recovered, life: Option<&Life>) -> Result<Vec<Vec<Journal>>, String> {
        let mut content: Vec<Vec<Journal>> = (0..=self.past.len()).map(|_| vec![Vec::new(); 4]).collect();
        if let Some(base) = &recovered.manifest.base {
            let text = self.disk.read(base).map_err(|error| format!("{base}: {error}"))?;
            let text = String::from_utf8(text).map_err(|_| "the base is damaged".to_owned())?;
            let (number, counts) = text.split_once(' ').ok_or("the base is damaged")?;
            let number: usize = number.parse().map_err(|_| "the base is damaged")?;
            content[..number].clone_from_slice(&self.past[..number]);
            for (shard, count) in counts.split(',').enumerate() {
                let count: usize = count.parse().map_err(|_| "the base is damaged")?;
                let whole = match life {
                    Some(life) if life.number == number => &life.journals[shard],
                    _ => &self.past[number][shard],
                };
                content[number][shard] =
                    whole.get(..count).ok_or("the base has more than there was")?.to_vec();
            }
        }
        for segment in &recovered.segments {
            let bytes = self.disk.read(&segment.file).map_err(|error| error.to_string())?;
            let run = Header::decode(&bytes)?.run;
            let number = self.writers[&segment.generation];
            let journal = &mut content[number][segment.shard as usize];
            let mut at = START as usize;
            while (at as u64) < segment.end {
                if let Some(mark) = pinion::persistence::aof::format::decode_mark(&bytes, at, run) {
                    at += mark.bytes;
                    continue;
                }
                let Decoded::Record(record) = Record::decode(&bytes[at..]) else {
                    return Err(format!("{} at {at}: no record", segment.file));
                };
                let effect = record.effects().next().flatten().ok_or("an empty record")?;
                let mark = effect.arguments().nth(1).ok_or("a short effect")?;
                journal.push(u64::from_le_bytes(mark.try_into().map_err(|_| "no mark")?));
                at += record.length;
            }
        }
        Ok(content)
    }

    /// A byte changes where it is stored: what was durable and is not as it was is refused, and nothing wrong is read.
    fn damage(&mut self) -> Result<(), String> {
        let bytes = self.disk.read(&manifest_name(NAME)).map_err(|error| error.to_string())?;
        let manifest = Manifest::parse(&bytes).map_err(|error| error.to_string())?;
        let files = manifest.files(NAME);
        let file = &files[self.random.index(files.len())];
        if Some(file) == manifest.base.as_ref() {
            return Ok(());
        }
        let before = self.disk.read(file).map_err(|error| error.to_string())?;
        let whole = recover(&self.disk, NAME, &manifest, self.faults)
            .map_err(|error| format!("refused without need: {error}"))?;
        let end =
            whole.segments.iter().find(|segment| segment.file == *file).map_or(START, |segment| segment.end);
        let run = Header::decode(&before)?.run;
        if end <= START {
            return Ok(());
        }
        let at = self.random.index((end - START) as usize) + START as usize;
        // A mark that is damaged itself tells nothing.
        let claimed = durable_claimed(&before, at + MARK_BYTES, run).unwrap_or(0);
        let is_closed = { &manifest.generations }.iter().any(|generation| {
            generation.ends.is_some() && file.contains(&format!(".{}.incr.", generation.number))
        });
        self.disk.corrupt(file, at, 1 << self.random.below(8));
        let result = recover(&self.disk, NAME, &manifest, self.faults);
        self.tell(|| format!("  damage of {file} at {at}, claimed {claimed}: {result:?}"));
        let after = self.disk.read(file).map_err(|error| error.to_string())?;
        let mask = before[at] ^ after[at];
        let verdict = match result {
            Err(RecoveryError::Damaged { offset, .. }) if offset <= at as u64 => {
                self.seen.refused += 1;
                self.mend(&manifest, file, at)
            }
            Err(error) => Err(format!("{file}, damaged at {at}: {error}")),
            Ok(_) if claimed > at as u64 || is_closed => {
                Err(format!("damage of {file} at {at} is not refused"))
            }
            // It may be the tail that was being written.
            Ok(recovered) => match recovered.segments.iter().find(|segment| segment.file == *file) {
                Some(segment) if segment.end > at as u64 => Err(format!("damage of {file} at {at} is read")),
                _ => Ok(()),
            },
        };
        self.disk.corrupt(file, at, mask);
        verdict
    }

    /// A fix cuts before the damage, and what it leaves loads.
    fn mend(&self, manifest: &Manifest, file: &str, at: usize) -> Result<(), String> {
        let mended = recover_with(&self.disk, NAME, manifest, Mercy::ForDamage, self.faults)
            .map_err(|error| format!("no fix: {error}"))?;
        let end =
            mended.segments.iter().find(|segment| segment.file == file).map_or(START, |found| found.end);
        if end > at as u64 || !mended.losses.iter().any(|loss| loss.file == file) {
            return Err(format!("a fix leaves the damage of {file} at {at}"));
        }
        let again = recover(&self.disk, NAME, &mended.manifest, self.faults);
        let again = again.map_err(|error| format!("what is fixed does not load: {error}"))?;
        if again.losses.is_empty() { Ok(()) } else { Err("what is fixed loses more".to_owned()) }
    }
}

/// The judge: V1, V2 and V3 of `recovery.rs`.
fn check(life: &Life, kept: &[Journal]) -> Result<(), String> {
    for (shard, journal) in life.journals.iter().enumerate() {
        let kept = &kept[shard];
        if !journal.starts_with(kept) {
            return Err(format!("shard {shard}: what is read is not what was written"));
        }
        let acknowledged = life.acknowledged[shard];
        if acknowledged > kept.len() as u64 {
            return Err(format!("shard {shard}: {acknowledged} acknowledged, {} kept", kept.len()));
        }
    }
    for (index, transaction) in life.transactions.iter().enumerate() {
        let is_kept = |(shard, sequence): &(usize, u64)| *sequence <= kept[*shard].len() as u64;
        let count = transaction.parts.iter().filter(|part| is_kept(part)).count();
        if count != 0 && count != transaction.participants.len() {
            return Err(format!("transaction {} is half there", index + 1));
        }
        if transaction.acknowledged && count == 0 {
            return Err(format!("transaction {} was acknowledged and is lost", index + 1));
        }
    }
    Ok(())
}

fn same(found: &[Journal], past: &[Journal]) -> bool {
    let longest = found.len().max(past.len());
    (0..longest).all(|shard| {
        found.get(shard).map_or(&[][..], Vec::as_slice) == past.get(shard).map_or(&[][..], Vec::as_slice)
    })
}

fn storm() -> FaultRates {
    FaultRates { no_space: 60, write_error: 60, short_write: 60, sync_error: 100, name_error: 60 }
}
