//! Records that are too long for a segment.

use super::CHUNK;

/// Records that are too long for a segment, by number, in chunks that never move.
#[derive(Clone, Default)]
pub(super) struct LongRecords {
    chunks: Vec<Vec<Box<[u8]>>>,
    free: Vec<u32>,
    pub(super) bytes: usize,
}

impl LongRecords {
    pub(super) fn len(&self) -> usize {
        self.chunks.iter().map(Vec::len).sum::<usize>() - self.free.len()
    }

    pub(super) fn get(&self, number: u32) -> &[u8] {
        &self.chunks[number as usize / CHUNK][number as usize % CHUNK]
    }

    pub(super) fn get_mut(&mut self, number: u32) -> &mut [u8] {
        &mut self.chunks[number as usize / CHUNK][number as usize % CHUNK]
    }

    pub(super) fn add(&mut self, record: Box<[u8]>) -> u32 {
        if let Some(number) = self.free.pop() {
            self.put(number, record);
            return number;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Vec::new());
        }
        let before = (self.chunks.len() - 1) * CHUNK;
        let chunk = self.chunks.last_mut().expect("just pushed");
        self.bytes += record.len() + size_of::<Box<[u8]>>();
        chunk.push(record);
        (before + chunk.len() - 1) as u32
    }

    pub(super) fn put(&mut self, number: u32, record: Box<[u8]>) {
        let place = &mut self.chunks[number as usize / CHUNK][number as usize % CHUNK];
        self.bytes = self.bytes + record.len() - place.len();
        *place = record;
    }

    pub(super) fn free(&mut self, number: u32) {
        self.put(number, Box::default());
        self.free.push(number);
    }

    pub(super) fn free_slice(&mut self, budget: usize) -> usize {
        let Some(chunk) = self.chunks.last_mut() else { return 0 };
        let keep = chunk.len().saturating_sub(budget);
        let freed = chunk.len() - keep;
        chunk.truncate(keep);
        if keep == 0 {
            self.chunks.pop();
        }
        // What is left of the numbers is of no use any more.
        self.free = Vec::new();
        freed
    }
}
