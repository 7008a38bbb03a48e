//! Memory that direct I/O takes: whole blocks at block-aligned addresses.
//!
//! Invariants
//!   A1  `blocks` covers `len` bytes; what lies behind `len` is arbitrary until `padded` is asked for.

/// Unit of direct writes: no device wants a larger one.
pub const BLOCK: usize = 4096;

#[derive(Clone)]
#[repr(C, align(4096))]
struct Block([u8; BLOCK]);

/// Bytes in whole blocks.
#[derive(Default)]
pub struct AlignedBuffer {
    blocks: Vec<Block>,
    len: usize,
}

impl AlignedBuffer {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of memory that are kept.
    pub fn capacity(&self) -> usize {
        self.blocks.capacity() * BLOCK
    }

    pub fn clear(&mut self) {
        self.len = 0;
    }

    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        let start = self.len;
        self.len += bytes.len();
        let wanted = self.len.div_ceil(BLOCK);
        if wanted > self.blocks.len() {
            self.blocks.resize(wanted, Block([0; BLOCK]));
        }
        self.all_mut()[start..start + bytes.len()].copy_from_slice(bytes);
    }

    pub fn bytes(&self) -> &[u8] {
        &self.all()[..self.len]
    }

    /// The bytes, with zeros up to the end of their last block.
    pub fn padded(&mut self) -> &[u8] {
        let (len, end) = (self.len, self.padded_len());
        self.all_mut()[len..end].fill(0);
        &self.all()[..end]
    }

    pub fn padded_len(&self) -> usize {
        self.len.next_multiple_of(BLOCK)
    }

    fn all(&self) -> &[u8] {
        // SAFETY: a block is an array of bytes without padding, and blocks of a vector lie side by side.
        unsafe { std::slice::from_raw_parts(self.blocks.as_ptr().cast(), self.blocks.len() * BLOCK) }
    }

    fn all_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `all`; any bytes make a block.
        unsafe { std::slice::from_raw_parts_mut(self.blocks.as_mut_ptr().cast(), self.blocks.len() * BLOCK) }
    }
}

impl std::fmt::Debug for AlignedBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AlignedBuffer({} bytes)", self.len)
    }
}

const _: () = assert!(size_of::<Block>() == BLOCK);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_stay_and_are_padded() {
        let mut buffer = AlignedBuffer::default();
        for round in 0..3u8 {
            buffer.clear();
            let bytes: Vec<u8> = (0..10_000u32).map(|at| at as u8 ^ round | 1).collect();
            for part in bytes.chunks(999) {
                buffer.extend_from_slice(part);
            }
            assert_eq!(buffer.bytes(), bytes);
            let padded = buffer.padded();
            assert_eq!(padded.len(), 12_288);
            assert_eq!(padded.as_ptr() as usize % BLOCK, 0);
            assert!(padded[10_000..].iter().all(|byte| *byte == 0));
        }
        assert_eq!(AlignedBuffer::default().padded(), b"");
    }
}
