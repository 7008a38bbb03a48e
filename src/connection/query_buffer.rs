//! Bytes received and not yet run: half a request, or requests that wait.
//!
//! Invariants
//!   U1  `bytes()` begins with the first byte that does not belong to a request that has run.
//!   U2  Appending n bytes in any number of pieces moves O(n) bytes in total.

/// A buffer larger than this is given back as soon as it is empty.
const KEEP_BYTES: usize = 16 * 1024;

#[derive(Debug, Default)]
pub struct QueryBuffer {
    buffer: Vec<u8>,
    start: usize,
    /// Bytes the request at the beginning is known to need, from its first one.
    expected: usize,
}

impl QueryBuffer {
    pub fn is_empty(&self) -> bool {
        self.start == self.buffer.len()
    }

    pub fn len(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// Bytes allocated and not used.
    pub fn room(&self) -> usize {
        self.buffer.capacity() - self.buffer.len()
    }

    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// A large request has announced how much of it is still missing.
    pub fn expect(&mut self, missing: usize) {
        self.expected = missing;
    }

    pub fn expected(&self) -> usize {
        self.expected
    }

    pub fn append(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        // Moving the rest to the front pays only when it is small beside what has been consumed (U2).
        if self.start > 0 && self.start >= self.len() {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        let expected = std::mem::take(&mut self.expected);
        // A client can announce 512 MB and send nothing: memory follows what arrives, doubling.
        let ahead = expected.min((self.len() + bytes.len()) * 2);
        self.buffer.reserve(bytes.len().max(ahead));
        self.buffer.extend_from_slice(bytes);
    }

    pub fn consume(&mut self, count: usize) {
        self.start += count;
        debug_assert!(self.start <= self.buffer.len());
        if self.is_empty() {
            self.start = 0;
            self.buffer.clear();
            if self.buffer.capacity() > KEEP_BYTES {
                self.buffer = Vec::new();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_appended_comes_out_in_order() {
        let mut query = QueryBuffer::default();
        let mut expected = Vec::new();
        let mut next = 0u8;
        for round in 0..2000usize {
            let bytes: Vec<u8> = (0..(round % 7) as u8).map(|index| next.wrapping_add(index)).collect();
            next = next.wrapping_add(bytes.len() as u8);
            query.append(&bytes);
            expected.extend_from_slice(&bytes);
            assert_eq!(query.bytes(), expected, "U1");
            let take = query.len().min(round % 5);
            query.consume(take);
            expected.drain(..take);
        }
    }

    #[test]
    fn an_announced_giant_does_not_take_memory_before_it_comes() {
        let mut query = QueryBuffer::default();
        query.append(b"*2\r\n$3\r\nGET\r\n$536870912\r\n");
        query.expect(512 << 20);
        query.append(b"x");
        assert!(query.buffer.capacity() < 4096);
    }
}
