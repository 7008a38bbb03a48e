//! Lists: one listpack while a single node holds it all, else a quicklist. OBJECT ENCODING calls both `quicklist`,
//! as Redis 7.0 does.

use super::encoding::listpack::{Entry, Listpack};
use super::encoding::quicklist::{End, NodeLimit, Nodes, Quicklist, remove_from};
use super::{Collection, DataType, Encoding, EncodingLimits, Value};
use std::ops::Range;

/// Entries come and go at the front of a larger listpack as in a quicklist: without moving the rest.
const PACKED_FRONT_BYTES: usize = 1000;

/// Longer texts than this no list can hold; far more than any request may carry by default.
pub const ELEMENT_BYTES_MAX: usize = u32::MAX as usize - 64;

#[derive(Clone, Debug)]
pub enum List {
    Packed(Listpack),
    Quick(Box<Quicklist>),
}

impl Default for List {
    fn default() -> Self {
        Self::Packed(Listpack::new())
    }
}

impl List {
    /// Nodes as they were dumped.
    pub fn from_nodes(nodes: Vec<Listpack>, limits: &EncodingLimits) -> Self {
        match Quicklist::from_nodes(nodes, limits.list_compress_depth).into_only_node() {
            Ok(node) => Self::Packed(node),
            Err(list) if list.is_empty() => Self::default(),
            Err(list) => Self::Quick(Box::new(list)),
        }
    }

    /// The listpacks it is made of, as a dump holds them.
    pub fn nodes(&self) -> Nodes<'_> {
        match self {
            Self::Packed(pack) => Nodes::of_one(pack.view()),
            Self::Quick(list) => list.nodes(),
        }
    }

    #[inline]
    pub fn len(&self) -> usize {
        match self {
            Self::Packed(pack) => pack.len(),
            Self::Quick(list) => list.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        match self {
            Self::Packed(pack) => pack.is_empty(),
            Self::Quick(list) => list.is_empty(),
        }
    }

    /// The index that a client means: negative ones count from the end.
    pub fn resolve(&self, index: i64) -> Option<usize> {
        let len = self.len();
        let index = if index < 0 { index.checked_add(len as i64)? } else { index };
        usize::try_from(index).ok().filter(|index| *index < len)
    }

    /// Shows the entry with this index.
    pub fn show<R>(&self, index: usize, show: impl FnOnce(Entry<'_>) -> R) -> Option<R> {
        self.nodes().show(index, self.len(), show)
    }

    /// Shows the entry at an end.
    pub fn peek<R>(&self, end: End, show: impl FnOnce(Entry<'_>) -> R) -> Option<R> {
        match end {
            End::Front => self.show(0, show),
            End::Back => self.show(self.len().checked_sub(1)?, show),
        }
    }

    /// Shows all entries in order.
    pub fn for_each(&self, mut show: impl FnMut(Entry<'_>)) {
        self.visit(0, End::Back, |entry| {
            show(entry);
            true
        });
    }

    /// Shows up to `count` entries from an index on, towards an end.
    #[inline]
    pub fn for_each_of(&self, index: usize, towards: End, count: usize, mut show: impl FnMut(Entry<'_>)) {
        if count == 0 {
            return;
        }
        let mut left = count;
        self.visit(index, towards, |entry| {
            show(entry);
            left -= 1;
            left > 0
        });
    }

    /// Shows the entries from an index on, towards an end, until `go_on` says no.
    #[inline]
    pub fn visit(&self, index: usize, towards: End, go_on: impl FnMut(Entry<'_>) -> bool) {
        self.nodes().visit(index, self.len(), towards, go_on);
    }

    #[inline]
    pub fn push(&mut self, end: End, text: &[u8], limits: &EncodingLimits) {
        let limit = NodeLimit::new(limits.list_max_listpack_size);
        if let Self::Packed(pack) = self
            && (limit.admits(pack.view(), text.len()) || pack.is_empty())
            && (end == End::Back || pack.bytes() <= PACKED_FRONT_BYTES)
        {
            return match end {
                End::Front => pack.push_front(text),
                End::Back => pack.push_back(text),
            };
        }
        self.make_quick(limits).push(end, text, limit);
    }

    /// Removes the entry at an end, after showing it.
    #[inline]
    pub fn pop<R>(
        &mut self,
        end: End,
        limits: &EncodingLimits,
        show: impl FnOnce(Entry<'_>) -> R,
    ) -> Option<R> {
        match self {
            Self::Packed(pack) if end == End::Front && pack.bytes() > 2 * PACKED_FRONT_BYTES => {
                self.make_quick(limits).pop(end, show)
            }
            Self::Packed(pack) => {
                let position = match end {
                    End::Front => pack.first(),
                    End::Back => pack.last(),
                }?;
                let shown = show(pack.at(position));
                pack.delete(position);
                Some(shown)
            }
            Self::Quick(list) => list.pop(end, show),
        }
    }

    /// LSET; false if there is no such index.
    pub fn set(&mut self, index: usize, text: &[u8], limits: &EncodingLimits) -> bool {
        let entry = Entry::of(text);
        let limit = NodeLimit::new(limits.list_max_listpack_size);
        if let Self::Packed(pack) = self {
            let Some(position) = pack.seek(index as i64) else { return false };
            if limit.admits(pack.view(), text.len()) || pack.len() == 1 {
                pack.replace(position, entry);
                return true;
            }
        }
        let list = self.make_quick(limits);
        let Some(place) = list.seek(index) else { return false };
        list.replace(place, entry, limit);
        self.settle();
        true
    }

    /// LINSERT: puts `text` next to the first entry equal to `pivot`; false if there is none.
    pub fn insert(&mut self, pivot: &[u8], behind: bool, text: &[u8], limits: &EncodingLimits) -> bool {
        let limit = NodeLimit::new(limits.list_max_listpack_size);
        if let Self::Packed(pack) = self {
            let Some(position) = pack.find(pack.first(), pivot, 0) else { return false };
            if limit.admits(pack.view(), text.len()) {
                if behind {
                    pack.insert_after(position, Entry::of(text));
                } else {
                    pack.insert(position, Entry::of(text));
                }
                return true;
            }
        }
        let needle = Entry::of(pivot);
        let (mut index, mut found) = (0, false);
        self.visit(0, End::Back, |entry| {
            found = entry == needle;
            index += usize::from(!found);
            !found
        });
        if !found {
            return false;
        }
        let list = self.make_quick(limits);
        let place = list.seek(index).expect("just found");
        list.insert(place, behind, Entry::of(text), limit);
        true
    }

    /// LREM: removes up to `most` entries equal to `text`, from one end on; returns how many.
    pub fn remove(&mut self, from: End, text: &[u8], most: usize) -> usize {
        let removed = match self {
            Self::Packed(pack) => remove_from(pack, from, text, most),
            Self::Quick(list) => list.remove(from, text, most),
        };
        self.settle();
        removed
    }

    /// LTRIM: keeps only these indices.
    pub fn trim(&mut self, kept: Range<usize>) {
        let behind = self.len() - kept.end;
        match self {
            Self::Packed(pack) => {
                pack.delete_range(kept.end as i64, behind);
                pack.delete_range(0, kept.start);
            }
            Self::Quick(list) => {
                list.trim(End::Back, behind);
                list.trim(End::Front, kept.start);
            }
        }
        self.settle();
    }

    /// The depth is the one of now and stays, as in Redis.
    fn make_quick(&mut self, limits: &EncodingLimits) -> &mut Quicklist {
        if let Self::Packed(pack) = self {
            let nodes = [std::mem::take(pack)];
            *self = Self::Quick(Box::new(Quicklist::from_nodes(nodes, limits.list_compress_depth)));
        }
        let Self::Quick(list) = self else { unreachable!("made so above") };
        list
    }

    /// Back to one listpack where one is left, unless it is large: entries may go on to come and go at its front. Not
    /// after a pop: lists that hover around a node's size would go to and fro.
    fn settle(&mut self) {
        if let Self::Quick(list) = self {
            let nodes = list.nodes();
            let small = nodes
                .iter()
                .next()
                .is_none_or(|node| node.len() == 1 || node.bytes() <= PACKED_FRONT_BYTES / 2);
            if nodes.len() <= 1 && small {
                let node = std::mem::take(&mut **list).into_only_node().unwrap_or_default();
                *self = Self::Packed(node);
            }
        }
    }

    /// Whether inner nodes are kept compressed.
    pub fn is_compressing(&self) -> bool {
        matches!(self, Self::Quick(list) if list.depth() > 0)
    }

    pub fn encoding(&self) -> Encoding {
        Encoding::Quicklist
    }

    pub fn heap_bytes(&self, samples: usize) -> usize {
        match self {
            Self::Packed(pack) => pack.heap_bytes(),
            Self::Quick(list) => size_of::<Quicklist>() + list.heap_bytes(samples),
        }
    }

    pub fn free_effort(&self) -> usize {
        self.nodes().len()
    }

    pub fn free_slice(&mut self, budget: usize) -> usize {
        match self {
            Self::Packed(_) => 0,
            Self::Quick(list) => list.free_slice(budget),
        }
    }
}

/// The same elements in the same order, however they are packed.
impl PartialEq for List {
    fn eq(&self, other: &Self) -> bool {
        let (mut ours, mut theirs) = (Vec::with_capacity(self.len()), Vec::with_capacity(other.len()));
        self.for_each(|entry| ours.push(entry.to_vec()));
        other.for_each(|entry| theirs.push(entry.to_vec()));
        ours == theirs
    }
}

impl DataType for List {
    fn of(value: &Value) -> Option<&Self> {
        match value {
            Value::List(list) => Some(list),
            _ => None,
        }
    }

    fn of_mut(value: &mut Value) -> Option<&mut Self> {
        match value {
            Value::List(list) => Some(list),
            _ => None,
        }
    }

    fn into_value(self) -> Value {
        Value::List(self)
    }
}

impl Collection for List {
    fn is_empty(&self) -> bool {
        List::is_empty(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::encoding::listpack::validate;
    use crate::types::encoding::quicklist::{Content, NodeRef};
    use proptest::prelude::*;
    use std::collections::VecDeque;

    fn limits(size: i64) -> EncodingLimits {
        EncodingLimits { list_max_listpack_size: size, ..EncodingLimits::default() }
    }

    fn texts_from(list: &List, index: usize, towards: End) -> Vec<Vec<u8>> {
        let mut texts = Vec::new();
        list.for_each_of(index, towards, usize::MAX, |entry| texts.push(entry.to_vec()));
        texts
    }

    fn texts(list: &List) -> Vec<Vec<u8>> {
        texts_from(list, 0, End::Back)
    }

    /// The listpacks, as a dump would hold them.
    fn packs(list: &List) -> Vec<Listpack> {
        let mut scratch = Vec::new();
        list.nodes().iter().map(|node| Listpack::from_own_bytes(node.read(&mut scratch).as_bytes())).collect()
    }

    fn check(list: &List, model: &VecDeque<Vec<u8>>) {
        let model: Vec<Vec<u8>> = model.iter().cloned().collect();
        assert_eq!(texts(list), model);
        assert_eq!((list.len(), list.is_empty()), (model.len(), model.is_empty()));
        for (index, text) in model.iter().enumerate() {
            assert_eq!(list.show(index, |entry| entry.to_vec()).as_ref(), Some(text), "{index}");
            assert_eq!(texts_from(list, index, End::Back), model[index..]);
            let mut backward = texts_from(list, index, End::Front);
            backward.reverse();
            assert_eq!(backward, model[..=index]);
        }
        assert_eq!(list.show(model.len(), |entry| entry.to_vec()), None);
        if let List::Quick(quick) = list {
            assert!(quick.nodes().iter().all(|node| !node.is_empty()), "Q1");
            assert_eq!(quick.nodes().iter().map(NodeRef::len).sum::<usize>(), quick.len(), "Q2");
        }
        for (node, pack) in list.nodes().iter().zip(packs(list)) {
            assert_eq!((node.len(), node.bytes()), (pack.len(), pack.bytes()));
            assert_eq!(validate(pack.as_bytes()), Ok(pack.len()));
        }
        assert_eq!(&List::from_nodes(packs(list), &limits(-2)), list);
    }

    /// Q3, and whatever is further inside is compressed if that saves anything.
    fn check_compression(list: &List, depth: usize) {
        let total = list.nodes().len();
        for (number, node) in list.nodes().iter().enumerate() {
            let compressed = matches!(node.content(), Content::Compressed(..));
            let inner = depth > 0 && number >= depth && number + depth < total;
            assert!(inner || !compressed, "Q3: {number} of {total}");
            let pack = packs(list)[number].clone();
            let uniform = pack.bytes() > 200 && matches!(pack.get(0), Some(Entry::Str([b'm' | b'l', ..])));
            assert!(!inner || compressed || !uniform, "{number} of {total} is plain: {pack:?}");
        }
    }

    #[test]
    fn a_node_is_as_large_as_the_limit_says() {
        for (size, nodes) in [(1, 100), (2, 50), (7, 15), (0, 100), (-1, 1)] {
            let mut list = List::default();
            (0..100).for_each(|value| list.push(End::Back, value.to_string().as_bytes(), &limits(size)));
            assert_eq!(list.nodes().len(), nodes, "{size}");
        }
        let (mut list, text) = (List::default(), [b'x'; 1000]);
        (0..100).for_each(|_| list.push(End::Front, &text, &limits(-2)));
        assert!(list.nodes().iter().all(|node| node.bytes() <= 8192 && node.len() <= 8));
        assert_eq!(list.nodes().len(), 100_usize.div_ceil(8), "nodes that leave the front are full");
    }

    #[test]
    fn large_elements_stand_alone() {
        let (limits, large) = (limits(-1), vec![b'x'; 10_000]);
        let mut list = List::default();
        for text in [&b"a"[..], &large, b"b"] {
            list.push(End::Back, text, &limits);
        }
        assert_eq!(list.nodes().len(), 3);
        assert!(list.set(0, &large, &limits));
        assert!(list.set(2, &large, &limits));
        assert_eq!(list.remove(End::Back, &large, 2), 2);
        check(&list, &VecDeque::from([large]));
        assert!(matches!(list, List::Packed(_)));
    }

    /// What is pushed to the front is packed as well as what is pushed to the back, and comes back in order.
    #[test]
    fn the_front_is_open() {
        let limits = limits(-2);
        let mut list = List::default();
        for value in 0..20_000 {
            list.push(End::Front, format!("value {value}").as_bytes(), &limits);
        }
        let bytes: usize = list.nodes().iter().map(NodeRef::bytes).sum();
        assert!(bytes / list.nodes().len() > 8000, "{bytes} in {}", list.nodes().len());
        for value in (0..20_000).rev() {
            let popped = list.pop(End::Front, &limits, |entry| entry.to_vec());
            assert_eq!(popped, Some(format!("value {value}").into_bytes()));
            assert_eq!(list.len(), value);
        }
        assert!(list.is_empty());
    }

    /// As in Redis, where CONFIG SET list-compress-depth is for the lists that begin afterwards.
    #[test]
    fn the_depth_is_the_one_a_list_began_with() {
        let text = [b'x'; 200];
        for (begun_with, changed_to) in [(0, 1), (1, 0), (2, 1)] {
            let with = |depth| EncodingLimits { list_compress_depth: depth, ..limits(1) };
            let mut list = List::default();
            (0..5).for_each(|_| list.push(End::Back, &text, &with(begun_with)));
            for to in [End::Front, End::Back] {
                (0..5).for_each(|_| list.push(to, &text, &with(changed_to)));
            }
            check_compression(&list, begun_with);
            assert_eq!(list.is_compressing(), begun_with > 0);
        }
    }

    /// What is inside is compressed, and plain again when what was outside has gone.
    #[test]
    fn compressed_nodes_cost_less_and_come_back() {
        let with = |depth| EncodingLimits { list_compress_depth: depth, ..limits(-2) };
        let text = |value: u32| format!("some text that is much alike, number {value}").into_bytes();
        let mut lists = [0, 1, 2].map(|depth| {
            let mut list = List::default();
            (0..10_000).for_each(|value| list.push(End::Back, &text(value), &with(depth)));
            check_compression(&list, depth);
            list
        });
        let [plain, one, two] = lists.each_ref().map(|list| list.heap_bytes(0));
        assert!(one * 2 < plain && one < two && two < plain, "{plain} {one} {two}");
        for (depth, list) in lists.iter_mut().enumerate() {
            for value in 0..4900 {
                list.pop(End::Front, &with(depth), |entry| assert_eq!(entry.to_vec(), text(value)));
                list.pop(End::Back, &with(depth), |entry| assert_eq!(entry.to_vec(), text(9999 - value)));
            }
            list.trim(20..180);
            check_compression(list, depth);
            assert_eq!(list.show(0, |entry| entry.to_vec()), Some(text(4920)));
        }
    }

    #[test]
    fn freed_in_slices() {
        let mut list = List::default();
        (0..100).for_each(|_| list.push(End::Back, b"x", &limits(1)));
        assert_eq!(list.free_effort(), 100);
        assert_eq!((list.free_slice(70), list.free_slice(70), list.free_slice(70)), (70, 30, 0));
    }

    fn text() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            4 => (0_u8..4).prop_map(|value| value.to_string().into_bytes()),
            2 => proptest::collection::vec(any::<u8>(), 0..12),
            1 => Just(vec![b'm'; 1500]),
            1 => Just(vec![b'l'; 5000]),
        ]
    }

    #[derive(Clone, Debug)]
    enum Change {
        Push(bool, Vec<u8>),
        Pop(bool),
        Set(u8, Vec<u8>),
        Insert(Vec<u8>, bool, Vec<u8>),
        Remove(bool, Vec<u8>, usize),
        Trim(u8, u8),
    }

    fn change() -> impl Strategy<Value = Change> {
        prop_oneof![
            6 => (any::<bool>(), text()).prop_map(|(end, text)| Change::Push(end, text)),
            2 => any::<bool>().prop_map(Change::Pop),
            2 => (any::<u8>(), text()).prop_map(|(index, text)| Change::Set(index, text)),
            4 => (text(), any::<bool>(), text()).prop_map(|(pivot, end, text)| Change::Insert(pivot, end, text)),
            1 => (any::<bool>(), text(), 0_usize..4).prop_map(|(end, text, most)| Change::Remove(end, text, most)),
            1 => (0_u8..3, 0_u8..3).prop_map(|(front, back)| Change::Trim(front, back)),
        ]
    }

    fn end(back: bool) -> End {
        if back { End::Back } else { End::Front }
    }

    proptest! {
        #[test]
        fn agrees_with_a_deque(
            size in prop_oneof![Just(-1_i64), Just(-2), 0_i64..5],
            depth in 0_usize..3,
            changes in proptest::collection::vec(change(), 0..60),
        ) {
            let (mut list, mut model) = (List::default(), VecDeque::<Vec<u8>>::new());
            let limits = EncodingLimits { list_compress_depth: depth, ..limits(size) };
            for change in changes {
                match change {
                    Change::Push(back, text) => {
                        list.push(end(back), &text, &limits);
                        if back { model.push_back(text) } else { model.push_front(text) }
                    }
                    Change::Pop(back) => {
                        let expected = if back { model.pop_back() } else { model.pop_front() };
                        prop_assert_eq!(list.peek(end(back), |entry| entry.to_vec()), expected.clone());
                        prop_assert_eq!(list.pop(end(back), &limits, |entry| entry.to_vec()), expected);
                    }
                    Change::Set(index, text) => {
                        let index = usize::from(index) % (model.len() + 1);
                        prop_assert_eq!(list.set(index, &text, &limits), index < model.len());
                        if let Some(old) = model.get_mut(index) { *old = text }
                    }
                    Change::Insert(pivot, behind, text) => {
                        let found = model.iter().position(|element| *element == pivot);
                        prop_assert_eq!(list.insert(&pivot, behind, &text, &limits), found.is_some());
                        if let Some(index) = found { model.insert(index + usize::from(behind), text) }
                    }
                    Change::Remove(back, text, most) => {
                        let mut removed = 0;
                        while removed < most {
                            let mut indices = 0..model.len();
                            let is_it = |index: &usize| model[*index] == text;
                            let found = if back { indices.rfind(is_it) } else { indices.find(is_it) };
                            let Some(index) = found else { break };
                            model.remove(index);
                            removed += 1;
                        }
                        prop_assert_eq!(list.remove(end(back), &text, most), removed);
                    }
                    Change::Trim(front, back) => {
                        let last = model.len() - usize::from(back).min(model.len());
                        let first = usize::from(front).min(last);
                        list.trim(first..last);
                        model.truncate(last);
                        model.drain(..first);
                    }
                }
                check(&list, &model);
                check_compression(&list, depth);
                prop_assert_eq!(&list.clone(), &list);
            }
        }
    }
}
