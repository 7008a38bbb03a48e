//! The way back: everything that is loaded, written as a multi-part append-only file that redis-server 7.0 loads.
//!
//! ```text
//! DIR/appendonlydir/appendonly.aof.1.base.rdb     all keys, in pieces of the shards as they come
//! DIR/appendonlydir/appendonly.aof.manifest       file appendonly.aof.1.base.rdb seq 1 type b
//! ```
//! Started with `--dir DIR --appendonly yes`, redis-server goes on from there. The list of files is written last: until
//! then there is nothing that anybody would load.
//!
//! Redis 7.0 has no deadlines of hash fields. For it they are left out, and told of; for Redis 7.4 and newer, if that
//! is where the data goes, they are kept. Fields whose time has come are in neither.

use super::load::{Feeds, Job, LoadError};
use super::rdb::writer::{self, Preamble};
use super::rdb::{VERSION, VERSION_OF_FIELD_DEADLINES, WriteOptions, version_needed};
use crate::base::UnixMillis;
use crate::base::crc::crc64;
use crate::config::Config;
use crate::config::parameter::{APPENDDIRNAME, APPENDFILENAME};
use crate::config::quoting::append_quoted;
use crate::keyspace::{Entry, ValueRef};
use crate::session::CoreState;
use crate::shard::Shard;
use crate::types::Value;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};

/// Keys of hashes with lost deadlines that are told by name.
const EXAMPLES: usize = 5;

/// Bytes of entries that travel together.
const PIECE_BYTES: usize = 1 << 20;
/// Pieces that wait to be written.
const QUEUE: usize = 8;

const OPTIONS: WriteOptions = WriteOptions { compress: true };

/// The Redis whose format and types are written.
const REDIS_VERSION: &str = "7.0.15";

#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("Can't write {file}: {source}")]
    Write { file: String, source: io::Error },
    #[error("{0} exists already; export to another directory")]
    Exists(String),
    #[error(transparent)]
    Load(#[from] LoadError),
}

/// What was written.
#[derive(Clone, Debug, Default)]
pub struct Exported {
    pub directory: PathBuf,
    pub keys: u64,
    pub bytes: u64,
    pub lost: Lost,
}

/// Deadlines of hash fields that the target does not know: the fields are written without them.
#[derive(Clone, Debug, Default)]
pub struct Lost {
    pub hashes: u64,
    pub fields: u64,
    /// Some of the hashes, with their databases.
    pub examples: Vec<(usize, Vec<u8>)>,
}

impl Lost {
    fn add(&mut self, other: Lost) {
        self.hashes += other.hashes;
        self.fields += other.fields;
        let room = EXAMPLES - self.examples.len();
        self.examples.extend(other.examples.into_iter().take(room));
    }

    /// For the log, if anything was lost.
    pub fn warning(&self) -> Option<String> {
        if self.hashes == 0 {
            return None;
        }
        let mut text = format!(
            "Redis 7.0 knows no deadlines of hash fields: {} fields of {} hashes are exported without theirs and will \
             not expire (",
            self.fields, self.hashes
        );
        for (number, (db, key)) in self.examples.iter().enumerate() {
            let comma = if number > 0 { ", " } else { "" };
            text.push_str(&format!("{comma}{} in database {db}", key.escape_ascii()));
        }
        if self.hashes > self.examples.len() as u64 {
            text.push_str(", ...");
        }
        text.push_str("). For Redis 7.4 or newer, export with --export-field-deadlines");
        Some(text)
    }
}

/// Entries of one shard, each database begun by its number.
#[derive(Default)]
struct Piece {
    bytes: Vec<u8>,
    keys: u64,
    lost: Lost,
}

/// Writes everything that the cores hold; deadlines of hash fields only if `keeps_field_deadlines`.
///
/// # Errors
/// If a file cannot be written, or there is one already.
pub fn export(
    feeds: &Feeds,
    config: &Config,
    to: &Path,
    keeps_field_deadlines: bool,
    now: UnixMillis,
) -> Result<Exported, ExportError> {
    let directory = to.join(OsStr::from_bytes(config.get(APPENDDIRNAME)));
    let name = config.get(APPENDFILENAME);
    let base_name = [name, b".1.base.rdb"].concat();
    let base = directory.join(OsStr::from_bytes(&base_name));
    let list = directory.join(OsStr::from_bytes(&[name, b".manifest"].concat()));
    let failed = |path: &Path| {
        let file = path.display().to_string();
        move |source| ExportError::Write { file, source }
    };
    for path in [&list, &base] {
        if path.exists() {
            return Err(ExportError::Exists(path.display().to_string()));
        }
    }
    std::fs::create_dir_all(&directory).map_err(failed(&directory))?;
    let mut exported = write_base(feeds, &base, keeps_field_deadlines, now)?;

    let mut line = b"file ".to_vec();
    let plain = base_name.iter().all(|byte| byte.is_ascii_graphic() && !b"\"'\\".contains(byte));
    if plain {
        line.extend_from_slice(&base_name)
    } else {
        append_quoted(&mut line, &base_name)
    }
    line.extend_from_slice(b" seq 1 type b\n");
    let aside = directory.join("temp-export.manifest");
    write_whole(&aside, &line).map_err(failed(&aside))?;
    std::fs::rename(&aside, &list).map_err(failed(&list))?;
    File::open(&directory).and_then(|directory| directory.sync_all()).map_err(failed(&directory))?;
    exported.directory = to.to_owned();
    Ok(exported)
}

fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn write_base(
    feeds: &Feeds,
    path: &Path,
    keeps_field_deadlines: bool,
    now: UnixMillis,
) -> Result<Exported, ExportError> {
    let failed = |source| ExportError::Write { file: path.display().to_string(), source };
    let mut file = File::create_new(path).map_err(failed)?;
    let mut exported = Exported::default();
    let mut checksum = 0;
    let mut write = |bytes: &[u8]| {
        checksum = crc64(checksum, bytes);
        exported.bytes += bytes.len() as u64;
        file.write_all(bytes).map_err(failed)
    };
    let mut frame = Vec::new();
    writer::write_header(
        if keeps_field_deadlines { VERSION_OF_FIELD_DEADLINES } else { VERSION },
        &mut frame,
    );
    let preamble =
        Preamble { redis_version: REDIS_VERSION, created_s: now.as_secs(), used_memory: 0, aof_base: true };
    writer::write_preamble(&preamble, &mut frame);
    write(&frame)?;

    let (sender, pieces) = sync_channel(QUEUE);
    for core in 0..feeds.shards() {
        let sender = sender.clone();
        let visit = move |core: &mut CoreState| visit(&core.shard, keeps_field_deadlines, now, &sender);
        feeds.send(core, Job::Call(Box::new(visit)))?;
    }
    drop(sender);
    let (mut keys, mut lost) = (0, Lost::default());
    for piece in pieces {
        write(&piece.bytes)?;
        keys += piece.keys;
        lost.add(piece.lost);
    }
    feeds.settle()?;

    frame.clear();
    writer::write_end(&mut frame);
    write(&frame)?;
    frame.clear();
    writer::write_checksum(checksum, &mut frame);
    file.write_all(&frame).and_then(|()| file.sync_all()).map_err(failed)?;
    exported.bytes += frame.len() as u64;
    Ok(Exported { keys, lost, ..exported })
}

/// On the shard's core: everything it has, in pieces. Nobody else needs the core meanwhile.
fn visit(shard: &Shard, keeps_field_deadlines: bool, now: UnixMillis, pieces: &SyncSender<Piece>) {
    for (db, keyspace) in shard.databases.iter().enumerate() {
        let mut piece = Piece::default();
        for entry in keyspace.iter() {
            if piece.bytes.is_empty() {
                writer::write_select_db(db, &mut piece.bytes);
            }
            write_entry(entry, db, keeps_field_deadlines, now, &mut piece);
            if piece.bytes.len() >= PIECE_BYTES && pieces.send(std::mem::take(&mut piece)).is_err() {
                // Writing has failed, and says why.
                return;
            }
        }
        if piece.keys > 0 && pieces.send(piece).is_err() {
            return;
        }
    }
}

fn write_entry(entry: Entry<'_>, db: usize, keeps_field_deadlines: bool, now: UnixMillis, piece: &mut Piece) {
    piece.keys += 1;
    let (key, deadline) = (entry.key(), entry.deadline());
    if version_needed(entry.value()) <= VERSION {
        writer::write_entry(key, entry.value(), deadline, None, &OPTIONS, &mut piece.bytes);
        return;
    }
    let mut value = entry.to_value();
    if let Value::Hash(hash) = &mut value {
        hash.remove_due(now, usize::MAX, |_| {});
        if hash.is_empty() {
            piece.keys -= 1;
            return;
        }
        let fields: Vec<Vec<u8>> = hash
            .deadlines()
            .filter(|_| !keeps_field_deadlines)
            .map(|deadlines| deadlines.iter().map(|(field, _)| field.to_vec()).collect())
            .unwrap_or_default();
        for field in &fields {
            hash.persist(field);
        }
        if !fields.is_empty() {
            piece.lost.hashes += 1;
            piece.lost.fields += fields.len() as u64;
            if piece.lost.examples.len() < EXAMPLES {
                piece.lost.examples.push((db, key.to_vec()));
            }
        }
    }
    writer::write_entry(key, ValueRef::Boxed(&value), deadline, None, &OPTIONS, &mut piece.bytes);
}
