//! A shard written as a snapshot and read again: what DEBUG RELOAD does to the data, without a file.

use super::LoadError;
use super::batch::Piece;
use super::entries::EntryBatch;
use crate::base::UnixMillis;
use crate::persistence::rdb::reader::{FileReader, Item, Step};
use crate::persistence::rdb::{Text, VERSION_MAX, WriteOptions, writer};
use crate::shard::Shard;
use std::borrow::Cow;

const OPTIONS: WriteOptions = WriteOptions { compress: true };

/// Keys past their deadline go, and everything else takes the form in which it would be loaded.
///
/// # Errors
/// If what was written cannot be read: then that is lost, and the rest is there.
pub fn reload(shard: &mut Shard, now: UnixMillis) -> Result<(), LoadError> {
    for db in 0..shard.databases.len() {
        let mut bytes = Vec::new();
        let mut expired: Vec<Vec<u8>> = Vec::new();
        for entry in shard.databases[db].iter() {
            match entry.deadline() {
                Some(deadline) if now > deadline => expired.push(entry.key().to_vec()),
                deadline => {
                    writer::write_entry(entry.key(), entry.value(), deadline, None, &OPTIONS, &mut bytes);
                }
            }
        }
        expired.iter().for_each(|key| shard.effects.expired(db, key));
        writer::write_end(&mut bytes);
        writer::write_checksum(0, &mut bytes);
        shard.databases[db].clear();
        read(shard, db, bytes)?;
    }
    Ok(())
}

fn read(shard: &mut Shard, db: usize, bytes: Vec<u8>) -> Result<(), LoadError> {
    let mut batch = EntryBatch::new(Piece::new(bytes), "DEBUG RELOAD".into());
    let piece = batch.piece.clone();
    let mut records = FileReader::resume(VERSION_MAX, 0);
    let failed = |what: String| LoadError::Rdb { file: "DEBUG RELOAD".into(), offset: 0, key: None, what };
    let mut at = 0;
    while !records.is_done() {
        match records.step(&piece[at..]) {
            Ok(Step::Item(item, consumed)) => {
                at += consumed;
                if let Item::Entry(entry) = item {
                    let value = at - entry.value.len()..at;
                    let key = match &entry.key {
                        Text::Bytes(Cow::Borrowed(key)) => Some(value.start - key.len()..value.start),
                        _ => None,
                    };
                    batch.push(db, &entry, key, value);
                }
            }
            Ok(Step::More(_)) => return Err(failed("it ends too early".into())),
            Err(damage) => return Err(failed(damage.to_string())),
        }
    }
    batch.insert_into(shard).map(drop)
}
