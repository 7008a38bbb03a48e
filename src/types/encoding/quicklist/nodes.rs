//! Reading a list: its nodes in order, however they are kept.

use super::super::listpack::{Entry, Pack};
use super::End;
use super::node::{Content, Node};

/// The nodes of a list. The first may be the open one, or a list's only listpack.
#[derive(Clone, Copy)]
pub struct Nodes<'a> {
    pub(super) open: Option<Pack<'a>>,
    pub(super) front: &'a [Node],
    pub(super) back: &'a [Node],
}

/// One of them.
#[derive(Clone, Copy)]
pub enum NodeRef<'a> {
    Open(Pack<'a>),
    Node(&'a Node),
}

impl<'a> NodeRef<'a> {
    /// Entries.
    #[inline]
    pub fn len(self) -> usize {
        match self {
            Self::Open(pack) => pack.len(),
            Self::Node(node) => node.len(),
        }
    }

    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Bytes of the listpack.
    pub fn bytes(self) -> usize {
        match self {
            Self::Open(pack) => pack.as_bytes().len(),
            Self::Node(node) => node.bytes(),
        }
    }

    #[inline]
    pub fn content(self) -> Content<'a> {
        match self {
            Self::Open(pack) => Content::Plain(pack),
            Self::Node(node) => node.content(),
        }
    }

    /// The listpack; a compressed one is unpacked into `scratch`.
    #[inline]
    pub fn read<'s>(self, scratch: &'s mut Vec<u8>) -> Pack<'s>
    where
        'a: 's,
    {
        match self {
            Self::Open(pack) => pack,
            Self::Node(node) => node.read(scratch),
        }
    }
}

impl<'a> Nodes<'a> {
    pub fn of_one(pack: Pack<'a>) -> Self {
        Self { open: Some(pack), front: &[], back: &[] }
    }

    pub fn len(self) -> usize {
        usize::from(self.open.is_some()) + self.front.len() + self.back.len()
    }

    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    pub fn iter(self) -> impl DoubleEndedIterator<Item = NodeRef<'a>> {
        let kept = self.front.iter().chain(self.back).map(NodeRef::Node);
        self.open.map(NodeRef::Open).into_iter().chain(kept)
    }

    #[inline]
    fn get(self, number: usize) -> Option<NodeRef<'a>> {
        let number = match self.open {
            Some(pack) if number == 0 => return Some(NodeRef::Open(pack)),
            open => number - usize::from(open.is_some()),
        };
        let node = self.front.get(number).or_else(|| self.back.get(number - self.front.len()));
        node.map(NodeRef::Node)
    }

    /// The number of the node of an index among `len` entries, and the index there, from the back if it is negative.
    /// Walks from the nearer end.
    pub(super) fn seek(self, index: usize, len: usize) -> Option<(usize, i64)> {
        if index >= len {
            return None;
        }
        if index <= len / 2 {
            let mut rest = index;
            for (number, node) in self.iter().enumerate() {
                let entries = node.len();
                if rest < entries {
                    return Some((number, rest as i64));
                }
                rest -= entries;
            }
        } else {
            let mut rest = len - 1 - index;
            let mut number = self.len();
            for node in self.iter().rev() {
                number -= 1;
                let entries = node.len();
                if rest < entries {
                    return Some((number, -1 - rest as i64));
                }
                rest -= entries;
            }
        }
        None
    }

    /// Shows the entry with this index among `len`.
    pub fn show<R>(self, index: usize, len: usize, show: impl FnOnce(Entry<'_>) -> R) -> Option<R> {
        let (number, index) = self.seek(index, len)?;
        let mut scratch = Vec::new();
        self.get(number)?.read(&mut scratch).get(index).map(show)
    }

    /// Shows the entries from an index on, towards an end, until `go_on` says no.
    #[inline]
    pub fn visit(self, index: usize, len: usize, towards: End, mut go_on: impl FnMut(Entry<'_>) -> bool) {
        let Some((first, index)) = self.seek(index, len) else { return };
        let (mut number, mut index) = (first, Some(index));
        let mut scratch = Vec::new();
        while let Some(node) = self.get(number) {
            let pack = node.read(&mut scratch);
            // Only the first node is entered in the middle.
            let position = index.take().map(|index| pack.seek(index).expect("within"));
            match towards {
                End::Back => {
                    let mut entries = position.map_or(pack.iter(), |position| pack.iter_from(position));
                    if !entries.all(&mut go_on) {
                        return;
                    }
                    number += 1;
                }
                End::Front => {
                    let behind = position.map_or(pack.end(), |at| pack.next(at).unwrap_or(pack.end()));
                    if !pack.iter_until(behind).rev().all(&mut go_on) || number == 0 {
                        return;
                    }
                    number -= 1;
                }
            }
        }
    }
}
