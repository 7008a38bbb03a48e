//! One standard dump.rdb, written by several threads at once.
//!
//! The keys of all shards are cut into pieces, ranges of a table. Each thread takes one piece after the other, fills
//! an [`ExtentBuffer`] and writes it where the file ends at that moment. What a loader sees is an ordinary dump;
//! the checksum over the whole file is combined from those of the extents.
//!
//! With `aof-use-rdb-preamble no` the base of an append-only file is made of commands instead: [`save_as_commands`].
//!
//! Invariants
//!   S1  No two extents overlap, and they leave no gap.
//!   S2  The dump appears under its name complete and synced, or not at all.

mod commands;
pub mod extent;
mod pace;

use crate::base::crc::{crc64, crc64_combine};
use crate::base::os_error::reason;
use crate::keyspace::{Entry, Keyspace};
use crate::persistence::child::Report;
use crate::persistence::rdb::length::{write_length, write_string};
use crate::persistence::rdb::{self, WriteOptions, opcode, type_code, version_needed, write_value};
use crate::shard::Shard;
use extent::{Extent, ExtentBuffer, INDEX_KEY, encode_index, push_aux};
use pace::Pace;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// Pieces are about this many keys.
const PIECE_KEYS: usize = 8192;
const THREADS_MAX: usize = 16;
/// How often the pages that are no longer shared are counted.
const COW_EVERY: Duration = Duration::from_secs(1);

/// A shard that nobody changes.
#[derive(Clone, Copy)]
pub struct Frozen<'a>(&'a Shard);

// SAFETY: as long as it lives the shard is not changed by anybody: it was made of a shared reference, whose owner waits
// (or is another process). Its readers here look at tables and entries, and touch no counter of an `Rc` and no cell.
unsafe impl Send for Frozen<'_> {}
// SAFETY: as above.
unsafe impl Sync for Frozen<'_> {}

impl<'a> Frozen<'a> {
    /// The caller sees to it that nobody has a mutable way to the shard.
    pub fn new(shard: &'a Shard) -> Self {
        Self(shard)
    }

    fn keyspace(self, db: usize) -> &'a Keyspace {
        &self.0.databases[db]
    }
}

/// What is remembered of how often a key is used.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum AccessNotes {
    #[default]
    None,
    /// `maxmemory-policy` is one of the LRU policies: the idle time.
    Idle,
    /// One of the LFU policies: the counter.
    Frequency,
}

/// How to write a dump.
#[derive(Clone, Debug)]
pub struct SnapshotOptions {
    pub compress: bool,
    pub checksum: bool,
    /// The dump is the base of an append-only file.
    pub aof_base: bool,
    pub access: AccessNotes,
    /// Microseconds to sleep per key; negative: once per so many keys.
    pub key_delay_us: i64,
    pub used_memory: u64,
    pub created_s: u64,
    /// The clock of idle times, as the shards have it.
    pub access_clock: u32,
    /// In a process of its own, which measures what it no longer shares.
    pub in_child: bool,
}

/// Why there is no dump, in the words of the log.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("Failed opening the temp RDB file {file} (in server root dir {directory}) for saving: {reason}", file = temporary.display(), directory = directory.display(), reason = reason(source))]
    Open { temporary: PathBuf, directory: PathBuf, source: io::Error },
    #[error("Write error saving DB on disk({operation}): {reason}", reason = reason(source))]
    Write { operation: &'static str, source: io::Error },
    #[error("Error moving temp DB file {from} on the final destination {to} (in server root dir {directory}): {reason}", from = from.display(), to = to.display(), directory = directory.display(), reason = reason(source))]
    Rename { from: PathBuf, to: PathBuf, directory: PathBuf, source: io::Error },
}

/// Writes all shards into `path`, by way of `temporary`.
///
/// # Errors
/// Why not; nothing is left behind then but what was there before.
pub fn save(
    shards: &[Frozen<'_>],
    path: &Path,
    temporary: &Path,
    options: &SnapshotOptions,
    report: &Report,
) -> Result<(), SnapshotError> {
    save_by(write, shards, path, temporary, options, report)
}

/// As [`save`], but as the commands that make the data anew.
///
/// # Errors
/// As of [`save`].
pub fn save_as_commands(
    shards: &[Frozen<'_>],
    path: &Path,
    temporary: &Path,
    options: &SnapshotOptions,
    report: &Report,
) -> Result<(), SnapshotError> {
    save_by(commands::write, shards, path, temporary, options, report)
}

type Write = fn(&[Frozen<'_>], &Target<'_>, &SnapshotOptions, &Report) -> io::Result<()>;

fn save_by(
    write: Write,
    shards: &[Frozen<'_>],
    path: &Path,
    temporary: &Path,
    options: &SnapshotOptions,
    report: &Report,
) -> Result<(), SnapshotError> {
    let began = std::time::Instant::now();
    let directory = || std::env::current_dir().unwrap_or_default();
    let failed = |error| {
        // It may not be there at all.
        let _ = std::fs::remove_file(temporary);
        error
    };
    let target = Target::create(temporary, report).map_err(|source| SnapshotError::Open {
        temporary: temporary.to_owned(),
        directory: directory(),
        source,
    })?;
    let write_failed = |operation| move |source| SnapshotError::Write { operation, source };
    let written = write(shards, &target, options, report).map_err(write_failed("write"));
    written.and_then(|()| target.file.sync_all().map_err(write_failed("fsync"))).map_err(failed)?;
    drop(target);
    std::fs::rename(temporary, path).map_err(|source| {
        failed(SnapshotError::Rename {
            from: temporary.to_owned(),
            to: path.to_owned(),
            directory: directory(),
            source,
        })
    })?;
    sync_directory(path).map_err(write_failed("fsync of the directory"))?;
    report.write_us.store(began.elapsed().as_micros() as u64, Relaxed);
    Ok(())
}

fn sync_directory(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match File::open(parent)?.sync_all() {
        // Some file systems do not sync directories, and need not.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        synced => synced,
    }
}

/// The file, written directly if the file system lets us.
struct Target<'a> {
    file: File,
    path: &'a Path,
    /// In the place of `file`, once that has refused a direct write.
    buffered: OnceLock<File>,
    report: &'a Report,
}

impl<'a> Target<'a> {
    fn create(path: &'a Path, report: &'a Report) -> io::Result<Self> {
        let open = |flags: i32| {
            OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o644)
                .custom_flags(flags)
                .open(path)
        };
        let (file, direct) = match open(libc::O_DIRECT) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => (open(0)?, false),
            opened => (opened?, true),
        };
        report.buffered.store(!direct, Relaxed);
        Ok(Self { file, path, buffered: OnceLock::new(), report })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if let Some(buffered) = self.buffered.get() {
            return buffered.write_all_at(bytes, offset);
        }
        match self.file.write_all_at(bytes, offset) {
            // Some file systems refuse only now.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                self.report.buffered.store(true, Relaxed);
                let file = OpenOptions::new().write(true).open(self.path)?;
                // Another thread may have been faster.
                self.buffered.get_or_init(|| file).write_all_at(bytes, offset)
            }
            written => written,
        }
    }
}

/// A range of one table.
struct Piece {
    shard: usize,
    db: usize,
    part: usize,
    parts: usize,
}

struct Job<'a> {
    shards: &'a [Frozen<'a>],
    target: &'a Target<'a>,
    options: &'a SnapshotOptions,
    report: &'a Report,
    pieces: Vec<Piece>,
    next_piece: AtomicUsize,
    end: AtomicU64,
    /// What the values need.
    version: AtomicU16,
    extents: Mutex<Vec<Extent>>,
    /// One of the threads has failed: the others need not go on.
    failed: AtomicBool,
}

fn write(
    shards: &[Frozen<'_>],
    target: &Target<'_>,
    options: &SnapshotOptions,
    report: &Report,
) -> io::Result<()> {
    let mut buffer = ExtentBuffer::default();
    write_header(buffer.raw(), shards, options);
    let header_bytes = buffer.seal().len() as u64;
    let job = Job {
        shards,
        target,
        options,
        report,
        pieces: pieces(shards),
        next_piece: AtomicUsize::new(0),
        end: AtomicU64::new(header_bytes),
        version: AtomicU16::new(rdb::VERSION),
        extents: Mutex::new(Vec::new()),
        failed: AtomicBool::new(false),
    };
    // While some wait for the disk the others work.
    let cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get());
    let threads = (2 * cpus).min(THREADS_MAX).min(job.pieces.len());
    pace::in_threads(threads, shards.len(), options, |pace| job.run(pace))?;
    let mut extents = job.extents.into_inner().unwrap_or_else(PoisonError::into_inner);
    // The header comes last: only now it is known which version the values need.
    let header = buffer.seal_header(job.version.into_inner());
    let header_crc = place(header, 0, options).crc;
    target.write_at(header, 0)?;
    report.bytes.fetch_add(header_bytes, Relaxed);
    extents.sort_unstable_by_key(|extent| extent.offset);
    let mut at = header_bytes;
    let mut crc = header_crc;
    for extent in &extents {
        assert_eq!(extent.offset, at, "S1");
        at += extent.bytes;
        if options.checksum {
            crc = crc64_combine(crc, extent.crc, extent.bytes);
        }
    }
    buffer.clear();
    push_aux(buffer.raw(), INDEX_KEY, &encode_index(&extents));
    let trailer = buffer.seal_trailer(at, options.checksum.then_some(crc));
    target.write_at(trailer, at)?;
    report.bytes.fetch_add(trailer.len() as u64, Relaxed);
    Ok(())
}

fn place(bytes: &[u8], offset: u64, options: &SnapshotOptions) -> Extent {
    let crc = if options.checksum { crc64(0, bytes) } else { 0 };
    Extent { offset, bytes: bytes.len() as u64, crc, shard: 0, keys: 0 }
}

fn write_header(out: &mut Vec<u8>, shards: &[Frozen<'_>], options: &SnapshotOptions) {
    out.extend_from_slice(b"REDIS0000");
    let mut aux = |key: &str, value: &str| push_aux(out, key.as_bytes(), value.as_bytes());
    aux("redis-ver", crate::observability::info::REDIS_VERSION);
    aux("redis-bits", "64");
    aux("ctime", &options.created_s.to_string());
    aux("used-mem", &options.used_memory.to_string());
    aux("aof-base", if options.aof_base { "1" } else { "0" });
    aux("pinion-ver", env!("CARGO_PKG_VERSION"));
    aux("pinion-shards", &shards.len().to_string());
    let databases = shards.first().map_or(0, |shard| shard.0.databases.len());
    for db in 0..databases {
        let keys: usize = shards.iter().map(|shard| shard.keyspace(db).len()).sum();
        let expires: usize = shards.iter().map(|shard| shard.keyspace(db).expires_len()).sum();
        if keys > 0 {
            out.push(opcode::SELECT_DB);
            write_length(db as u64, out);
            out.push(opcode::RESIZE_DB);
            write_length(keys as u64, out);
            write_length(expires as u64, out);
        }
    }
}

fn pieces(shards: &[Frozen<'_>]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for (shard, frozen) in shards.iter().enumerate() {
        for (db, keyspace) in
            frozen.0.databases.iter().enumerate().filter(|(_, keyspace)| !keyspace.is_empty())
        {
            let parts = keyspace.len().div_ceil(PIECE_KEYS);
            pieces.extend((0..parts).map(|part| Piece { shard, db, part, parts }));
        }
    }
    pieces
}

impl Job<'_> {
    /// Works off pieces until there are none, or somebody has failed.
    fn run(&self, pace: Pace) -> io::Result<()> {
        self.run_pieces(pace).inspect_err(|_| self.failed.store(true, Relaxed))
    }

    fn run_pieces(&self, mut pace: Pace) -> io::Result<()> {
        let mut buffer = ExtentBuffer::default();
        let mut shard = 0;
        let mut failure = Ok(());
        while let Some(piece) = self.pieces.get(self.next_piece.fetch_add(1, Relaxed)) {
            if piece.shard != shard {
                self.put(&mut buffer, shard)?;
                shard = piece.shard;
            }
            let keyspace = self.shards[shard].keyspace(piece.db);
            keyspace.visit_part(piece.part, piece.parts, |entry| {
                if failure.is_err() || self.failed.load(Relaxed) {
                    return;
                }
                let version = write_record(buffer.record(piece.db), entry, self.options);
                if version > rdb::VERSION {
                    self.version.fetch_max(version, Relaxed);
                }
                if self.options.key_delay_us != 0 {
                    delay(self.options.key_delay_us, self.report.keys_done.load(Relaxed));
                }
                if buffer.is_full() {
                    failure = self.put(&mut buffer, shard);
                }
                pace.step();
            });
            std::mem::replace(&mut failure, Ok(()))?;
            if self.failed.load(Relaxed) {
                return Ok(());
            }
        }
        self.put(&mut buffer, shard)
    }

    /// Writes an extent to the end of the file, and begins the next.
    fn put(&self, buffer: &mut ExtentBuffer, shard: usize) -> io::Result<()> {
        if buffer.is_empty() {
            return Ok(());
        }
        let keys = buffer.keys;
        let bytes = buffer.seal();
        let offset = self.end.fetch_add(bytes.len() as u64, Relaxed);
        let extent = Extent { shard: shard as u32, keys, ..place(bytes, offset, self.options) };
        self.target.write_at(bytes, offset)?;
        self.report.bytes.fetch_add(extent.bytes, Relaxed);
        self.report.keys_done.fetch_add(keys, Relaxed);
        self.extents.lock().unwrap_or_else(PoisonError::into_inner).push(extent);
        buffer.clear();
        if self.options.in_child {
            self.measure_cow();
        }
        Ok(())
    }

    fn measure_cow(&self) {
        let now_s = crate::base::UnixMillis::now().0 / 1000;
        let last = self.report.cow_at_s.load(Relaxed);
        // Whoever of the threads is the first in this interval.
        if now_s >= last + COW_EVERY.as_secs()
            && self.report.cow_at_s.compare_exchange(last, now_s, Relaxed, Relaxed).is_ok()
            && last != 0
        {
            self.report.measure_cow(now_s);
        }
    }
}

/// `rdb-key-save-delay`, so that tests can watch a save.
fn delay(microseconds: i64, keys_done: u64) {
    if microseconds > 0 {
        std::thread::sleep(Duration::from_micros(microseconds as u64));
    } else if keys_done.is_multiple_of(microseconds.unsigned_abs()) {
        std::thread::sleep(Duration::from_micros(1));
    }
}

/// One key with its value and what belongs to it. Returns the version of the format that the value needs.
#[inline]
fn write_record(out: &mut Vec<u8>, entry: Entry<'_>, options: &SnapshotOptions) -> u16 {
    if let Some(deadline) = entry.deadline() {
        out.push(opcode::EXPIRE_MS);
        out.extend_from_slice(&deadline.0.to_le_bytes());
    }
    match options.access {
        AccessNotes::None => {}
        AccessNotes::Idle => {
            out.push(opcode::IDLE);
            write_length(u64::from(options.access_clock.wrapping_sub(entry.access()) & 0x00ff_ffff), out);
        }
        AccessNotes::Frequency => out.extend_from_slice(&[opcode::FREQ, entry.access() as u8]),
    }
    let value = entry.value();
    out.push(type_code(value));
    write_string(entry.key(), options.compress, out);
    write_value(value, &WriteOptions { compress: options.compress }, out);
    version_needed(value)
}
