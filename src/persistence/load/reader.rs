//! A file read in large pieces. A piece ends where what it holds is understood; the rest of it begins the next.
//!
//! Invariants
//!   P1  A piece that has been handed out does not change: places in it stay valid as long as it is held.
//!   P2  What does not fit into a piece makes the next one larger; it is copied a bounded number of times.

use super::LoadError;
use super::batch::Piece;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

const PIECE_BYTES: usize = 1 << 20;

pub struct Reader {
    file: File,
    name: String,
    /// Of the file; less if only a part of it is to be read.
    end: u64,
    /// Where in the file `bytes` begins.
    start: u64,
    bytes: Piece,
    /// All before is understood.
    at: usize,
}

impl Reader {
    /// # Errors
    /// If there is no such file, or it may not be read.
    pub fn open(path: &Path) -> Result<Self, LoadError> {
        let name = path.display().to_string();
        let failed = |source| LoadError::Open { file: name.clone(), source };
        let file = File::open(path).map_err(failed)?;
        let end = file.metadata().map_err(failed)?.len();
        Ok(Self { file, name, end, start: 0, bytes: Piece::default(), at: 0 })
    }

    /// A reader of the same file from one place to another.
    ///
    /// # Errors
    /// If the file cannot be opened a second time.
    pub fn part(&self, start: u64, end: u64) -> Result<Self, LoadError> {
        let failed = |source| LoadError::Open { file: self.name.clone(), source };
        let file = self.file.try_clone().map_err(failed)?;
        Ok(Self { file, name: self.name.clone(), end, start, bytes: Piece::default(), at: 0 })
    }

    /// Some bytes apart from the reading.
    pub fn read_at(&self, offset: u64, length: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, offset).ok().map(|()| bytes)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where in the file the next byte stands.
    pub fn offset(&self) -> u64 {
        self.start + self.at as u64
    }

    pub fn end(&self) -> u64 {
        self.end
    }

    /// Bytes behind the piece.
    pub fn left(&self) -> u64 {
        self.end - self.start - self.bytes.len() as u64
    }

    /// Whether everything is understood.
    pub fn is_at_end(&self) -> bool {
        self.offset() == self.end
    }

    /// Whether the piece reaches to the end of the file.
    pub fn is_last(&self) -> bool {
        self.start + self.bytes.len() as u64 == self.end
    }

    /// What is there and not yet understood.
    #[inline]
    pub fn rest(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    /// Where in the piece the rest begins.
    #[inline]
    pub fn place(&self) -> usize {
        self.at
    }

    /// What is in memory now.
    #[inline]
    pub fn piece(&self) -> &Piece {
        &self.bytes
    }

    #[inline]
    pub fn consume(&mut self, count: usize) {
        self.at += count;
        debug_assert!(self.at <= self.bytes.len());
    }

    /// Goes on to the next piece, with at least `needed` bytes behind what is here if the file has them.
    ///
    /// # Errors
    /// If the file cannot be read, or is shorter than it was.
    pub fn advance(&mut self, needed: usize) -> Result<(), LoadError> {
        let rest = self.bytes.len() - self.at;
        let left = self.left();
        // P2: a request that fills the piece without an end doubles it.
        let wanted = PIECE_BYTES.max(rest).max(needed) as u64;
        let more = wanted.min(left) as usize;
        let mut next = Vec::with_capacity(rest + more);
        next.extend_from_slice(&self.bytes[self.at..]);
        next.resize(rest + more, 0);
        let offset = self.start + self.bytes.len() as u64;
        self.file.read_exact_at(&mut next[rest..], offset).map_err(|source| LoadError::Read {
            file: self.name.clone(),
            offset,
            source,
        })?;
        self.start += self.at as u64;
        self.at = 0;
        self.bytes = Piece::new(next);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_join_to_the_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        let content: Vec<u8> = (0..3 * PIECE_BYTES + 17).map(|index| (index * 7 % 251) as u8).collect();
        std::fs::write(&path, &content).expect("written");
        let mut reader = Reader::open(&path).expect("it is there");
        let mut understood = Vec::new();
        let mut step = 1000;
        while !reader.is_at_end() {
            if reader.rest().len() < step && !reader.is_last() {
                reader.advance(step).expect("read");
            }
            let count = step.min(reader.rest().len());
            assert_eq!(reader.offset(), understood.len() as u64);
            understood.extend_from_slice(&reader.rest()[..count]);
            reader.consume(count);
            step = step * 3 / 2;
        }
        assert!(understood == content);
        let mut part = Reader::open(&path).and_then(|whole| whole.part(5, 9)).expect("opened");
        part.advance(0).expect("read");
        assert_eq!((part.rest(), part.is_last()), (&content[5..9], true));
    }
}
