//! The base of an append-only file as commands, which every Redis reads, and people too.
//!
//! Written through the page cache: lines have no blocks. A thread fills a buffer with the commands of some keys, begun by
//! a SELECT, and writes it where the file ends at that moment; keys do not depend on each other.

use super::pace::{self, Pace};
use super::{COW_EVERY, Frozen, Piece, SnapshotOptions, Target, delay, pieces};
use crate::persistence::child::Report;
use crate::resp::Argv;
use crate::shard::journal::rebuild::rebuild;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

/// A buffer beyond this is written.
const BUFFER_BYTES: usize = 1 << 20;
const THREADS_MAX: usize = 4;

struct Job<'a> {
    shards: &'a [Frozen<'a>],
    options: &'a SnapshotOptions,
    report: &'a Report,
    file: File,
    pieces: Vec<Piece>,
    next_piece: AtomicUsize,
    end: AtomicU64,
}

pub(super) fn write(
    shards: &[Frozen<'_>],
    target: &Target<'_>,
    options: &SnapshotOptions,
    report: &Report,
) -> io::Result<()> {
    let job = Job {
        shards,
        options,
        report,
        // Without O_DIRECT.
        file: OpenOptions::new().write(true).open(target.path)?,
        pieces: pieces(shards),
        next_piece: AtomicUsize::new(0),
        end: AtomicU64::new(0),
    };
    let cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get());
    let threads = cpus.min(THREADS_MAX).min(job.pieces.len());
    pace::in_threads(threads, shards.len(), options, |pace| job.run(pace))?;
    job.file.sync_all()
}

impl Job<'_> {
    /// Works off pieces until there are none.
    fn run(&self, mut pace: Pace) -> io::Result<()> {
        let mut out = Vec::with_capacity(BUFFER_BYTES * 2);
        let mut measured = Instant::now();
        while let Some(piece) = self.pieces.get(self.next_piece.fetch_add(1, Relaxed)) {
            let mut keys = 0;
            let mut written = Ok(());
            self.shards[piece.shard].keyspace(piece.db).visit_part(piece.part, piece.parts, |entry| {
                if written.is_err() {
                    return;
                }
                if out.is_empty() {
                    push_command(
                        &mut out,
                        [b"SELECT", itoa::Buffer::new().format(piece.db).as_bytes()].into_iter(),
                    );
                }
                rebuild(entry, |argv: Argv<'_>| push_command(&mut out, argv.iter()));
                keys += 1;
                if self.options.key_delay_us != 0 {
                    delay(self.options.key_delay_us, self.report.keys_done.fetch_add(1, Relaxed) + 1);
                }
                if out.len() >= BUFFER_BYTES {
                    written = self.put(&mut out);
                }
                pace.step();
            });
            written?;
            // The next piece may be of another database.
            self.put(&mut out)?;
            if self.options.key_delay_us == 0 {
                self.report.keys_done.fetch_add(keys, Relaxed);
            }
            if self.options.in_child && measured.elapsed() >= COW_EVERY {
                measured = Instant::now();
                self.report.measure_cow(crate::base::UnixMillis::now().0 / 1000);
            }
        }
        Ok(())
    }

    fn put(&self, out: &mut Vec<u8>) -> io::Result<()> {
        let offset = self.end.fetch_add(out.len() as u64, Relaxed);
        self.file.write_all_at(out, offset)?;
        self.report.bytes.fetch_add(out.len() as u64, Relaxed);
        out.clear();
        Ok(())
    }
}

fn push_command<'a>(out: &mut Vec<u8>, words: impl ExactSizeIterator<Item = &'a [u8]>) {
    let mut digits = itoa::Buffer::new();
    out.push(b'*');
    out.extend_from_slice(digits.format(words.len()).as_bytes());
    out.extend_from_slice(b"\r\n");
    for word in words {
        out.push(b'$');
        out.extend_from_slice(digits.format(word.len()).as_bytes());
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::push_command;

    #[test]
    fn a_command_is_a_request() {
        let mut out = Vec::new();
        push_command(&mut out, [&b"SET"[..], b"a", b""].into_iter());
        assert_eq!(out, b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$0\r\n\r\n");
    }
}
