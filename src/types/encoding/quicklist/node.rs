//! A node of a quicklist: a listpack, plain or compressed by LZF.
//!
//! ```text
//! compressed  u32 LE  bytes of all of this
//!             u16 LE  entries, where a listpack has them
//!             u32 LE  bytes of the listpack
//!             LZF of the listpack, header included: what an RDB file holds
//!             00      where a listpack has FF
//! ```
//! A node is one word either way, and its entries are counted without a look at which it is.
//!
//! Invariants
//!   N1  `pack` is a listpack if its last byte is FF; else it is the above, and no one outside of this file sees it.
//!   N2  A compressed node has fewer than 65535 entries: its header tells how many.

use super::super::listpack::{END, Entry, Listpack, Pack, len_of};
use crate::base::lzf;

/// Smaller ones are not worth it.
const COMPRESSED_MIN: usize = 48;
/// What must be saved at least.
const SAVED_MIN: usize = 8;
/// The length, the entries, the bytes of the listpack; and the end.
const HEAD_BYTES: usize = 10;
const TAIL: u8 = 0;

#[derive(Clone)]
pub struct Node {
    pack: Listpack,
}

/// What a node is made of.
pub enum Content<'a> {
    Plain(Pack<'a>),
    /// LZF, and the bytes of the listpack that it yields.
    Compressed(&'a [u8], usize),
}

impl Node {
    pub(super) fn new(pack: Listpack) -> Self {
        Self { pack }
    }

    pub(super) fn of(entry: Entry<'_>) -> Self {
        let mut pack = Listpack::new();
        pack.insert(pack.end(), entry);
        Self { pack }
    }

    #[inline]
    pub fn content(&self) -> Content<'_> {
        let bytes = self.pack.as_bytes();
        match bytes {
            [.., END] => Content::Plain(Pack::new(bytes)),
            [_, _, _, _, _, _, a, b, c, d, packed @ .., _] => {
                Content::Compressed(packed, u32::from_le_bytes([*a, *b, *c, *d]) as usize)
            }
            _ => unreachable!("N1"),
        }
    }

    pub fn is_compressed(&self) -> bool {
        matches!(self.content(), Content::Compressed(..))
    }

    /// Bytes of the listpack.
    #[inline]
    pub fn bytes(&self) -> usize {
        match self.content() {
            Content::Plain(pack) => pack.as_bytes().len(),
            Content::Compressed(_, bytes) => bytes,
        }
    }

    /// Entries of the listpack.
    #[inline]
    pub fn len(&self) -> usize {
        // N2: only a plain one is ever counted entry by entry.
        len_of(self.pack.as_bytes())
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn heap_bytes(&self) -> usize {
        self.pack.heap_bytes()
    }

    /// The listpack; a compressed one is unpacked into `scratch`.
    #[inline]
    pub fn read<'s>(&'s self, scratch: &'s mut Vec<u8>) -> Pack<'s> {
        match self.content() {
            Content::Plain(pack) => pack,
            Content::Compressed(packed, bytes) => {
                *scratch = unpack(packed, bytes);
                Pack::new(scratch)
            }
        }
    }

    /// To change it; it stays plain until [`Node::compress`].
    #[inline]
    pub(super) fn expand(&mut self) -> &mut Listpack {
        if let Content::Compressed(packed, bytes) = self.content() {
            self.pack = Listpack::from_own_bytes(&unpack(packed, bytes));
        }
        &mut self.pack
    }

    pub(super) fn into_listpack(mut self) -> Listpack {
        self.expand();
        self.pack
    }

    /// Compresses it, if it is not and if that saves anything.
    pub(super) fn compress(&mut self) {
        let Content::Plain(pack) = self.content() else { return };
        let plain = pack.as_bytes();
        if plain.len() < COMPRESSED_MIN || !pack.is_counted() {
            return;
        }
        let mut packed = Vec::with_capacity(plain.len());
        packed.extend_from_slice(&[0; 4]);
        packed.extend_from_slice(&plain[4..6]);
        packed.extend_from_slice(&(plain.len() as u32).to_le_bytes());
        debug_assert_eq!(packed.len(), HEAD_BYTES);
        if lzf::compress(plain, plain.len() - SAVED_MIN - HEAD_BYTES - 1, &mut packed) {
            packed.push(TAIL);
            self.pack = Listpack::of_any_bytes(&packed);
        }
    }
}

fn unpack(packed: &[u8], bytes: usize) -> Vec<u8> {
    lzf::decompress(packed, bytes).expect("N1: it was packed here")
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.read(&mut Vec::new()).iter()).finish()
    }
}
