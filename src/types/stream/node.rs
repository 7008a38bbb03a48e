//! Some entries of a stream in one listpack, in the form of Redis, so that dumps take it as it is.
//!
//! ```text
//! master   live, deleted, n, n names, 0              of the whole node: its id is the one it is filed under
//! entry    flags, ms, seq, values…, elements          names as the master's (flag 2): n values
//!          flags, ms, seq, n, (name, value)…, elements    names of its own
//!
//! flags    1 deleted · 2 the names are the master's
//! ms, seq  the entry's id less the node's
//! elements how many stand before this one in the entry: for who comes from the end
//! ```
//!
//! Deleted entries stay until the whole node goes.
//!
//! Invariants
//!   N1  The listpack passes [`Node::validate`]; only [`Node::from_listpack`] lets one in from outside.
//!   N2  Ids grow from entry to entry, deleted ones included, and the first is not before the node's.

use super::StreamId;
use crate::types::encoding::listpack::{Damaged, Entry, HEADER_BYTES, Iter, Listpack};

const DELETED: i64 = 1;
const SAME_NAMES: i64 = 2;
/// Listpack elements of an entry besides its names and values: flags, ms and seq.
const FIXED_ELEMENTS: usize = 3;

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Node {
    pack: Listpack,
}

/// An entry of a stream where it lies.
#[derive(Clone, Debug)]
pub struct EntryRef<'a> {
    pub id: StreamId,
    /// Of the master, or of the entry.
    names: Option<Iter<'a>>,
    values: Iter<'a>,
    len: usize,
}

impl<'a> EntryRef<'a> {
    /// How many pairs of a name and a value it has.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Names and values.
    #[inline]
    pub fn fields(&self) -> Fields<'a> {
        Fields { names: self.names.clone(), values: self.values.clone(), left: self.len }
    }
}

#[derive(Clone, Debug)]
pub struct Fields<'a> {
    names: Option<Iter<'a>>,
    values: Iter<'a>,
    left: usize,
}

impl<'a> Iterator for Fields<'a> {
    type Item = (Entry<'a>, Entry<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let name = match &mut self.names {
            Some(names) => names.next()?,
            None => self.values.next()?,
        };
        Some((name, self.values.next()?))
    }
}

/// An entry with its place in the node.
pub(super) struct Placed<'a> {
    pub entry: EntryRef<'a>,
    flags: i64,
    /// Of its flags.
    start: usize,
    /// Behind it.
    pub end: usize,
}

impl Placed<'_> {
    pub fn is_deleted(&self) -> bool {
        self.flags & DELETED != 0
    }
}

/// What the master says.
struct Master {
    live: u64,
    deleted: u64,
    names: usize,
    /// Of the first name.
    names_at: usize,
}

/// What became of an entry that was to be deleted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Deletion {
    NotFound,
    Deleted,
    /// Nothing is left in the node: it has to go.
    Emptied,
}

fn int(entry: Option<Entry<'_>>) -> i64 {
    match entry {
        Some(Entry::Int(value)) => value,
        _ => unreachable!("N1: a number stands here"),
    }
}

impl Node {
    /// A node of one entry.
    pub fn new<'f, F>(fields: F) -> Self
    where
        F: Iterator<Item = (&'f [u8], &'f [u8])> + Clone,
    {
        let mut pack = Listpack::new();
        let pairs = fields.clone().count();
        let numbers = |numbers: [i64; 3]| numbers.into_iter().map(Entry::Int);
        let names = fields.clone().map(|(name, _)| Entry::of(name));
        pack.extend_encoded(numbers([1, 0, pairs as i64]).chain(names).chain([Entry::Int(0)]));
        push_same(&mut pack, [0, 0], fields, pairs);
        Self { pack }
    }

    /// Takes a node from outside; `id` is the one it is filed under. Tells what is in it.
    pub fn from_listpack(id: StreamId, pack: Listpack) -> Result<(Self, NodeSummary), Damaged> {
        let node = Self { pack };
        let summary = node.validate(id)?;
        Ok((node, summary))
    }

    pub fn listpack(&self) -> &Listpack {
        &self.pack
    }

    #[inline]
    pub fn bytes(&self) -> usize {
        self.pack.bytes()
    }

    #[inline]
    fn master(&self) -> Master {
        let mut elements = self.pack.iter();
        let live = int(elements.next()) as u64;
        let deleted = int(elements.next()) as u64;
        let names = int(elements.next()) as usize;
        Master { live, deleted, names, names_at: elements.position() }
    }

    /// Entries that are not deleted.
    pub fn live(&self) -> u64 {
        int(self.pack.iter().next()) as u64
    }

    /// Entries, deleted ones included.
    #[inline]
    pub fn entries(&self) -> u64 {
        let master = self.master();
        master.live + master.deleted
    }

    /// Appends an entry; the node's id is `node_id`.
    #[inline]
    pub fn append<'f, F>(&mut self, node_id: StreamId, id: StreamId, fields: F)
    where
        F: Iterator<Item = (&'f [u8], &'f [u8])> + Clone,
    {
        let master = self.master();
        let pairs = fields.clone().count();
        let delta = [id.ms.wrapping_sub(node_id.ms) as i64, id.seq.wrapping_sub(node_id.seq) as i64];
        let mut names = self.pack.iter_from(master.names_at);
        let same = master.names == pairs
            && fields.clone().all(|(name, _)| names.next().is_some_and(|own| is_text(own, name)));
        if same {
            push_same(&mut self.pack, delta, fields, pairs);
        } else {
            let head = [0, delta[0], delta[1], pairs as i64].into_iter().map(Entry::Int);
            let texts = fields.flat_map(|(name, value)| [Entry::of(name), Entry::of(value)]);
            let elements = (FIXED_ELEMENTS + 1 + 2 * pairs) as i64;
            self.pack.extend_encoded(head.chain(texts).chain([Entry::Int(elements)]));
        }
        self.pack.replace(HEADER_BYTES, Entry::Int(master.live as i64 + 1));
    }

    // -- Walking

    /// Where the first entry is.
    fn first_at(&self, master: &Master) -> usize {
        let mut elements = self.pack.iter_from(master.names_at);
        for _ in 0..=master.names {
            elements.next();
        }
        elements.position()
    }

    /// From the first entry, deleted ones included.
    pub(super) fn forward(&self, node_id: StreamId) -> Forward<'_> {
        let master = self.master();
        let at = self.first_at(&master);
        Forward { walk: Walk { node: self, node_id, master }, at }
    }

    /// From the last entry, deleted ones included.
    pub(super) fn backward(&self, node_id: StreamId) -> Backward<'_> {
        let master = self.master();
        let first = self.first_at(&master);
        Backward { walk: Walk { node: self, node_id, master }, at: self.pack.end(), first }
    }

    /// The id of the last entry, be it deleted.
    pub fn last_id(&self, node_id: StreamId) -> StreamId {
        self.backward(node_id).next().expect("a node has entries").entry.id
    }

    // -- Deleting

    pub(super) fn delete(&mut self, node_id: StreamId, id: StreamId) -> Deletion {
        let found = self.forward(node_id).find(|placed| placed.entry.id >= id);
        match found {
            Some(placed) if placed.entry.id == id && !placed.is_deleted() => {
                let at = (placed.start, placed.flags);
                self.mark(&[at])
            }
            _ => Deletion::NotFound,
        }
    }

    /// Deletes live entries from the front: those that `judge` says, until it says stop. Returns how many.
    pub(super) fn delete_where(
        &mut self,
        node_id: StreamId,
        mut judge: impl FnMut(StreamId, bool) -> Judgement,
    ) -> (u64, Deletion) {
        let mut places = Vec::new();
        for placed in self.forward(node_id) {
            match judge(placed.entry.id, placed.is_deleted()) {
                Judgement::Delete => places.push((placed.start, placed.flags)),
                Judgement::Keep => {}
                Judgement::Stop => break,
            }
        }
        let count = places.len() as u64;
        if count == 0 { (0, Deletion::NotFound) } else { (count, self.mark(&places)) }
    }

    /// Flags entries as deleted, given their places. The flags keep their size, so that places stay.
    fn mark(&mut self, places: &[(usize, i64)]) -> Deletion {
        for &(at, flags) in places {
            debug_assert!(flags & DELETED == 0);
            self.pack.replace(at, Entry::Int(flags | DELETED));
        }
        let (master, count) = (self.master(), places.len() as u64);
        let live = master.live - count;
        let behind = self.pack.replace(HEADER_BYTES, Entry::Int(live as i64));
        self.pack.replace(behind, Entry::Int((master.deleted + count) as i64));
        if live == 0 { Deletion::Emptied } else { Deletion::Deleted }
    }

    // -- Checking

    /// N1 and N2 of bytes that are a listpack but may be anything else.
    fn validate(&self, node_id: StreamId) -> Result<NodeSummary, Damaged> {
        let total = self.pack.len();
        let mut elements = self.pack.iter();
        let count = |value: i64| usize::try_from(value).ok().filter(|count| *count <= total).ok_or(Damaged);
        let live = count(next_int(&mut elements)?)?;
        let deleted = count(next_int(&mut elements)?)?;
        let names = count(next_int(&mut elements)?)?;
        skip(&mut elements, names)?;
        if next_int(&mut elements)? != 0 {
            return Err(Damaged);
        }
        let (mut seen_live, mut seen_deleted, mut last) = (0, 0, None);
        while let Some(flags) = elements.next() {
            let Entry::Int(flags @ 0..=3) = flags else { return Err(Damaged) };
            let (ms, seq) = (next_int(&mut elements)?, next_int(&mut elements)?);
            let id = StreamId::new(node_id.ms.wrapping_add(ms as u64), node_id.seq.wrapping_add(seq as u64));
            if id < node_id || last.is_some_and(|last| id <= last) {
                return Err(Damaged);
            }
            let own = if flags & SAME_NAMES != 0 {
                names
            } else {
                let pairs = count(next_int(&mut elements)?)?;
                1 + 2 * pairs
            };
            skip(&mut elements, own - usize::from(flags & SAME_NAMES == 0))?;
            if next_int(&mut elements)? != (FIXED_ELEMENTS + own) as i64 {
                return Err(Damaged);
            }
            *(if flags & DELETED == 0 { &mut seen_live } else { &mut seen_deleted }) += 1;
            last = Some(id);
        }
        let last = last.ok_or(Damaged)?;
        if (seen_live, seen_deleted) != (live, deleted) {
            return Err(Damaged);
        }
        Ok(NodeSummary { live: live as u64, last })
    }
}

/// What a node from outside holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NodeSummary {
    pub live: u64,
    /// Be it deleted.
    pub last: StreamId,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Judgement {
    Delete,
    Keep,
    Stop,
}

fn skip(elements: &mut Iter<'_>, count: usize) -> Result<(), Damaged> {
    (0..count).try_for_each(|_| elements.next().map(drop).ok_or(Damaged))
}

fn next_int(elements: &mut Iter<'_>) -> Result<i64, Damaged> {
    match elements.next() {
        Some(Entry::Int(value)) => Ok(value),
        _ => Err(Damaged),
    }
}

/// Whether a listpack's element is this text.
#[inline]
fn is_text(element: Entry<'_>, text: &[u8]) -> bool {
    match element {
        Entry::Str(own) => own == text,
        Entry::Int(_) => element == Entry::of(text),
    }
}

/// Appends an entry whose names are the master's.
#[inline]
fn push_same<'f, F>(pack: &mut Listpack, delta: [i64; 2], fields: F, pairs: usize)
where
    F: Iterator<Item = (&'f [u8], &'f [u8])> + Clone,
{
    let head = [SAME_NAMES, delta[0], delta[1]].into_iter().map(Entry::Int);
    let values = fields.map(|(_, value)| Entry::of(value));
    let elements = (FIXED_ELEMENTS + pairs) as i64;
    pack.extend_encoded(head.chain(values).chain([Entry::Int(elements)]));
}

struct Walk<'a> {
    node: &'a Node,
    node_id: StreamId,
    master: Master,
}

impl<'a> Walk<'a> {
    /// The entry whose flags are at `start`.
    #[inline]
    fn at(&self, start: usize) -> Placed<'a> {
        let pack = &self.node.pack;
        let mut elements = pack.iter_from(start);
        let flags = int(elements.next());
        let (ms, seq) = (int(elements.next()), int(elements.next()));
        let id =
            StreamId::new(self.node_id.ms.wrapping_add(ms as u64), self.node_id.seq.wrapping_add(seq as u64));
        let same = flags & SAME_NAMES != 0;
        let len = if same { self.master.names } else { int(elements.next()) as usize };
        let values = elements.clone();
        for _ in 0..if same { len } else { 2 * len } {
            elements.next();
        }
        elements.next();
        let names = same.then(|| pack.iter_from(self.master.names_at));
        let entry = EntryRef { id, names, values, len };
        Placed { entry, flags, start, end: elements.position() }
    }
}

pub(super) struct Forward<'a> {
    walk: Walk<'a>,
    at: usize,
}

impl<'a> Iterator for Forward<'a> {
    type Item = Placed<'a>;

    #[inline]
    fn next(&mut self) -> Option<Placed<'a>> {
        if self.at >= self.walk.node.pack.end() {
            return None;
        }
        let placed = self.walk.at(self.at);
        self.at = placed.end;
        Some(placed)
    }
}

pub(super) struct Backward<'a> {
    walk: Walk<'a>,
    at: usize,
    first: usize,
}

impl<'a> Iterator for Backward<'a> {
    type Item = Placed<'a>;

    #[inline]
    fn next(&mut self) -> Option<Placed<'a>> {
        if self.at <= self.first {
            return None;
        }
        let mut elements = self.walk.node.pack.iter_until(self.at);
        for _ in 0..int(elements.next_back()) {
            elements.next_back();
        }
        let start = elements.end_position();
        self.at = start;
        Some(self.walk.at(start))
    }
}
