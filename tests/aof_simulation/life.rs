//! One life of a server: from its start to the moment at which it stops.

use pinion::base::random::Random;
use pinion::disk::{BLOCK, Disk, SimulatedDisk, WriteSync};
use pinion::persistence::aof::ahead::Zeros;
use pinion::persistence::aof::faults::Faults;
use pinion::persistence::aof::format::Header;
use pinion::persistence::aof::log::Log;
use pinion::persistence::aof::manifest::{
    BaseFormat, Generation, Manifest, base_name, manifest_name, segment_name,
};
use pinion::persistence::aof::release::{Part, Release};
use pinion::persistence::aof::segment::{Action, Completion, Policy};
use pinion::shard::journal::record::{Membership, RecordWriter};
use std::collections::VecDeque;
use std::io;

pub const NAME: &str = "a.aof";

/// The server's pieces are larger; how large makes no difference, but time to every seed.
const ZEROS_BYTES: usize = 4 * BLOCK;

/// What a shard has journalled in one life: marks that are unique in a seed, in order.
pub type Journal = Vec<u64>;

pub struct Life {
    pub number: usize,
    pub shards: usize,
    pub policy: Policy,
    pub now_ms: u64,
    pub run: u64,
    pub journals: Vec<Journal>,
    /// By shard: when each record was journalled.
    pub times: Vec<Vec<u64>>,
    /// By shard: how many records have been acknowledged.
    pub acknowledged: Vec<u64>,
    pub transactions: Vec<Transaction>,
    nodes: Vec<Node>,
    /// From and to.
    channels: Vec<Vec<VecDeque<Vec<Part>>>>,
    pub manifest: Manifest,
    rewrite: Rewrite,
    next_generation: u64,
    /// Pieces of zeros that were written ahead.
    pub zeros: u64,
    pub rewrites: u64,
}

pub struct Transaction {
    pub participants: Vec<u32>,
    /// Where it has not ended yet.
    pub pending: Vec<u32>,
    /// Shard and sequence.
    pub parts: Vec<(usize, u64)>,
    pub acknowledged: bool,
}

struct Node {
    log: Log,
    release: Release,
    in_flight: Vec<(u64, Action)>,
    /// Zeros on their way.
    ahead: Option<(u64, Zeros)>,
}

enum Rewrite {
    None,
    Prepared { generation: u64 },
    Frozen { generation: u64, after: Vec<u64> },
    Based { obsolete: Vec<String> },
}

impl Life {
    /// Starts on what recovery has left; a failure leaves the disk as a failed start does.
    pub fn begin(
        number: usize,
        disk: &SimulatedDisk,
        random: &mut Random,
        manifest: Manifest,
        generation: u64,
        faults: Faults,
    ) -> io::Result<Self> {
        let shards = 2 + random.index(3);
        let policy = [Policy::Always, Policy::Always, Policy::EverySecond, Policy::No][random.index(4)];
        let run = random.next_u64();
        let mut manifest = manifest;
        create_segments(disk, run, generation, shards)?;
        let after = Some(vec![0; shards]);
        manifest.generations.push(Generation {
            number: generation,
            shards: shards as u32,
            after,
            ends: None,
        });
        disk.replace(&manifest_name(NAME), manifest.encode().as_bytes())?;
        let write_blocks_max = [usize::MAX, 4, 1][random.index(3)];
        let node = |own| {
            let mut log = Log::new(run, generation, policy, 0, 0, faults);
            log.set_zeros_bytes(ZEROS_BYTES);
            if write_blocks_max < usize::MAX {
                log.set_write_bytes_max(write_blocks_max * BLOCK);
            }
            Node { log, release: Release::new(own, shards, faults), in_flight: Vec::new(), ahead: None }
        };
        Ok(Self {
            number,
            shards,
            policy,
            now_ms: 0,
            run,
            journals: vec![Vec::new(); shards],
            times: vec![Vec::new(); shards],
            acknowledged: vec![0; shards],
            transactions: Vec::new(),
            nodes: (0..shards).map(node).collect(),
            channels: (0..shards).map(|_| (0..shards).map(|_| VecDeque::new()).collect()).collect(),
            next_generation: generation + 1,
            manifest,
            rewrite: Rewrite::None,
            zeros: 0,
            rewrites: 0,
        })
    }

    /// Something happens.
    pub fn step(&mut self, disk: &SimulatedDisk, random: &mut Random, marks: &mut u64) {
        match random.below(20) {
            0..=4 => {
                let shard = random.index(self.shards);
                self.journal(random, marks, shard, None);
            }
            5 | 6 => self.begin_transaction(random),
            7..=10 => self.end_part(random, marks),
            11..=14 => {
                let shard = random.index(self.shards);
                self.act(shard);
            }
            15..=17 => {
                let shard = random.index(self.shards);
                self.complete(disk, random, shard);
            }
            18 => self.deliver(random),
            _ => match random.below(4) {
                0 => self.go_on_rewriting(disk),
                1 if random.below(4) == 0 => self.change_policy(random),
                _ => self.now_ms += random.below(400),
            },
        }
    }

    /// CONFIG SET appendfsync, or a rewrite during which nothing is synced.
    fn change_policy(&mut self, random: &mut Random) {
        self.policy = [Policy::Always, Policy::EverySecond, Policy::No][random.index(3)];
        self.nodes.iter_mut().for_each(|node| node.log.set_policy(self.policy));
    }

    fn journal(&mut self, random: &mut Random, marks: &mut u64, shard: usize, transaction: Option<usize>) {
        *marks += 1;
        let journal = &mut self.journals[shard];
        journal.push(*marks);
        let sequence = journal.len() as u64;
        self.times[shard].push(self.now_ms);
        let membership = transaction.map(|index| Membership {
            transaction: index as u64 + 1,
            participants: self.transactions[index].participants[..].into(),
        });
        let filler = match random.below(8) {
            0 => random.index(20_000),
            1 | 2 => random.index(4000),
            _ => random.index(100),
        };
        let mut bytes = Vec::new();
        let mut writer = RecordWriter::new(&mut bytes, sequence, membership.as_ref());
        let arguments = [&b"SET"[..], &marks.to_le_bytes(), &vec![b'x'; filler]];
        writer.effect(0, arguments.into_iter());
        writer.seal();
        let node = &mut self.nodes[shard];
        if random.below(2) == 0 {
            let mut memory = node.log.lend(false);
            memory.extend_from_slice(&bytes);
            node.log.offer(bytes.len(), self.now_ms);
            node.log.hand_over(memory, sequence, self.now_ms);
        } else {
            node.log.append(&bytes, sequence, self.now_ms);
        }
        if let Some(membership) = membership {
            node.release.journalled(sequence, &membership);
        }
        if let Some(index) = transaction {
            self.transactions[index].parts.push((shard, sequence));
        }
    }

    fn begin_transaction(&mut self, random: &mut Random) {
        // A freeze waits for all of them.
        if self.transactions.iter().filter(|one| !one.pending.is_empty()).count() >= 4 {
            return;
        }
        let mut participants: Vec<u32> = (0..self.shards as u32).collect();
        while participants.len() > 2 && random.below(2) == 0 {
            participants.remove(random.index(participants.len()));
        }
        self.transactions.push(Transaction {
            pending: participants.clone(),
            participants,
            parts: Vec::new(),
            acknowledged: false,
        });
    }

    fn end_part(&mut self, random: &mut Random, marks: &mut u64) {
        let running: Vec<usize> = (0..self.transactions.len())
            .filter(|index| !self.transactions[*index].pending.is_empty())
            .collect();
        if running.is_empty() {
            return;
        }
        let index = running[random.index(running.len())];
        let pending = &mut self.transactions[index].pending;
        let shard = pending.remove(random.index(pending.len()));
        self.journal(random, marks, shard as usize, Some(index));
    }

    fn act(&mut self, shard: usize) -> bool {
        let node = &mut self.nodes[shard];
        let action = node.log.next(self.now_ms);
        if node.ahead.is_none() {
            node.ahead = node.log.next_zeros(self.now_ms);
        }
        let acts = action.is_some();
        node.in_flight.extend(action);
        acts
    }

    fn complete(&mut self, disk: &SimulatedDisk, random: &mut Random, shard: usize) {
        self.complete_zeros(disk, random, shard);
        let node = &mut self.nodes[shard];
        if node.in_flight.is_empty() {
            return;
        }
        let index = random.index(node.in_flight.len());
        let (generation, action) = node.in_flight.swap_remove(index);
        let completion = perform(disk, &segment_name(NAME, generation, shard as u32), action);
        node.log.completed(generation, completion, self.now_ms);
        let durable = node.log.durable();
        let parts = node.release.durable(durable);
        if !parts.is_empty() {
            for other in (0..self.shards).filter(|other| *other != shard) {
                self.channels[shard][other].push_back(parts.clone());
            }
        }
        self.settle(shard);
    }

    fn complete_zeros(&mut self, disk: &SimulatedDisk, random: &mut Random, shard: usize) {
        let node = &mut self.nodes[shard];
        if node.ahead.is_some() && random.below(2) == 0 {
            let (generation, zeros) = node.ahead.take().expect("just seen");
            let written = write_zeros(disk, &segment_name(NAME, generation, shard as u32), zeros);
            node.log.zeros_written(generation, written, self.now_ms);
            self.zeros += 1;
        }
    }

    fn deliver(&mut self, random: &mut Random) {
        let (from, to) = (random.index(self.shards), random.index(self.shards));
        if let Some(parts) = self.channels[from][to].pop_front() {
            self.nodes[to].release.told(from, &parts);
            self.settle(to);
        }
    }

    /// What one core believes is enough to answer its clients.
    fn settle(&mut self, shard: usize) {
        let release = &mut self.nodes[shard].release;
        let safe = release.settle();
        let released = release.released();
        if self.policy == Policy::Always {
            for transaction in safe {
                self.transactions[transaction as usize - 1].acknowledged = true;
            }
            let acknowledged = &mut self.acknowledged[shard];
            assert!(released >= *acknowledged, "L1");
            *acknowledged = released;
        }
    }

    fn go_on_rewriting(&mut self, disk: &SimulatedDisk) {
        self.rewrite = match std::mem::replace(&mut self.rewrite, Rewrite::None) {
            Rewrite::None => {
                let generation = self.next_generation;
                let mut manifest = self.manifest.clone();
                let shards = self.shards as u32;
                manifest.generations.push(Generation { number: generation, shards, after: None, ends: None });
                let created = create_segments(disk, self.run, generation, self.shards)
                    .and_then(|()| disk.replace(&manifest_name(NAME), manifest.encode().as_bytes()));
                self.next_generation += 1;
                match created {
                    Ok(()) => {
                        self.manifest = manifest;
                        Rewrite::Prepared { generation }
                    }
                    // Whether the list on the disk names it is not known: it may, so its files stay.
                    Err(_) => Rewrite::None,
                }
            }
            Rewrite::Prepared { generation } => {
                if self.transactions.iter().any(|transaction| !transaction.pending.is_empty()) {
                    self.rewrite = Rewrite::Prepared { generation };
                    return;
                }
                for node in &mut self.nodes {
                    node.log.rotate(generation, self.now_ms);
                }
                let after = self.journals.iter().map(|journal| journal.len() as u64).collect();
                Rewrite::Frozen { generation, after }
            }
            Rewrite::Frozen { generation, after } => match self.rebase(disk, generation, &after) {
                Ok(obsolete) => {
                    self.rewrites += 1;
                    Rewrite::Based { obsolete }
                }
                // Whether the list on the disk names the base is not known: it stays as it is, and the next rewrite
                // makes another.
                Err(_) => Rewrite::None,
            },
            Rewrite::Based { obsolete } => {
                if self.nodes.iter().any(|node| node.in_flight.len() + usize::from(node.log.is_behind()) > 1)
                {
                    self.rewrite = Rewrite::Based { obsolete };
                    return;
                }
                if self.nodes.iter().all(|node| !node.log.is_behind()) {
                    obsolete.iter().for_each(|file| drop(disk.remove(file)));
                    Rewrite::None
                } else {
                    Rewrite::Based { obsolete }
                }
            }
        }
    }

    /// A snapshot of what was there when the segments of `generation` were begun.
    fn rebase(&mut self, disk: &SimulatedDisk, generation: u64, after: &[u64]) -> io::Result<Vec<String>> {
        let counts: Vec<String> = after.iter().map(u64::to_string).collect();
        let base = base_name(NAME, generation, BaseFormat::Snapshot);
        disk.create(&base, format!("{} {}", self.number, counts.join(",")).as_bytes())?;
        let mut manifest = Manifest { base: Some(base), ..Manifest::default() };
        manifest.generations.push(Generation {
            number: generation,
            shards: self.shards as u32,
            after: Some(after.to_vec()),
            ends: None,
        });
        disk.replace(&manifest_name(NAME), manifest.encode().as_bytes())?;
        let needed = manifest.files(NAME);
        let obsolete = self.manifest.files(NAME).into_iter().filter(|file| !needed.contains(file)).collect();
        self.manifest = manifest;
        Ok(obsolete)
    }

    /// The disk works again: everything comes to its end.
    pub fn drain(
        &mut self,
        disk: &SimulatedDisk,
        random: &mut Random,
        marks: &mut u64,
    ) -> Result<(), String> {
        while self.transactions.iter().any(|transaction| !transaction.pending.is_empty()) {
            self.end_part(random, marks);
        }
        self.settle_down(disk, random);
        for (shard, node) in self.nodes.iter().enumerate() {
            let journalled = self.journals[shard].len() as u64;
            let log = &node.log;
            if self.policy != Policy::No && !log.is_durable() {
                return Err(format!("shard {shard} never becomes durable"));
            }
            if let Some(error) = log.error() {
                return Err(format!("shard {shard} does not recover from error {error}"));
            }
            let is_released = node.release.is_idle() && node.release.released() == journalled;
            if self.policy != Policy::No && !is_released {
                return Err(format!("shard {shard}: {} of {journalled} released", node.release.released()));
            }
        }
        Ok(())
    }

    /// Some seconds without faults and without new work.
    fn settle_down(&mut self, disk: &SimulatedDisk, random: &mut Random) {
        for _ in 0..60 {
            self.now_ms += 100;
            for shard in 0..self.shards {
                while self.act(shard)
                    || !self.nodes[shard].in_flight.is_empty()
                    || self.nodes[shard].ahead.is_some()
                {
                    self.complete(disk, random, shard);
                }
            }
            let shards = self.shards;
            for (from, to) in (0..shards * shards).map(|pair| (pair / shards, pair % shards)) {
                while let Some(parts) = self.channels[from][to].pop_front() {
                    self.nodes[to].release.told(from, &parts);
                    self.settle(to);
                }
            }
        }
    }

    /// The process is killed: what was under way may still reach the disk, or some of it.
    pub fn stop(&mut self, disk: &SimulatedDisk, random: &mut Random) {
        for (shard, node) in self.nodes.iter_mut().enumerate() {
            if let Some((generation, zeros)) = node.ahead.take()
                && random.below(2) == 0
            {
                let _ = write_zeros(disk, &segment_name(NAME, generation, shard as u32), zeros);
            }
            for (generation, action) in node.in_flight.drain(..) {
                if random.below(2) == 0 {
                    perform(disk, &segment_name(NAME, generation, shard as u32), action);
                }
            }
        }
    }
}

fn create_segments(disk: &SimulatedDisk, run: u64, generation: u64, shards: usize) -> io::Result<()> {
    for shard in 0..shards as u32 {
        let header = Header { shard, shards: shards as u32, generation, run };
        disk.create(&segment_name(NAME, generation, shard), &header.encode())?;
    }
    Ok(())
}

fn write_zeros(disk: &SimulatedDisk, name: &str, zeros: Zeros) -> Result<usize, i32> {
    let written = disk.write_at(name, zeros.at, &vec![0; zeros.bytes]);
    written.map_err(|error| error.raw_os_error().expect("an error of the system"))
}

fn perform(disk: &SimulatedDisk, name: &str, action: Action) -> Completion {
    let errno = |error: io::Error| error.raw_os_error().expect("an error of the system");
    match action {
        Action::Sync => {
            Completion { buffer: None, written: Ok(0), synced: Some(disk.sync_file(name).map_err(errno)) }
        }
        Action::Write { at, mut buffer, bytes, sync } => {
            let padded = &buffer.padded()[..bytes];
            let written = match sync {
                WriteSync::Written => disk.write_durably_at(name, at, padded),
                WriteSync::Nothing | WriteSync::File => disk.write_at(name, at, padded),
            };
            let written = written.map_err(errno);
            let is_whole = written == Ok(bytes);
            let synced = match sync {
                WriteSync::Written if is_whole => Some(Ok(())),
                WriteSync::File if is_whole => Some(disk.sync_file(name).map_err(errno)),
                _ => None,
            };
            Completion { buffer: Some(buffer), written, synced }
        }
    }
}
