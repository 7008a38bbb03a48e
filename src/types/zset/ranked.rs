//! A sorted set of any size: members in an arena, found by name and by rank.

use super::packed::pairs;
use crate::types::encoding::listpack::Listpack;
use crate::types::encoding::member_arena::{Handle, MemberArena};
use crate::types::encoding::member_index::MemberIndex;
use crate::types::encoding::ranked_tree::RankedTree;
use std::hash::{BuildHasher, Hasher};

/// A set of any size.
#[derive(Clone, Debug)]
pub struct Ranked {
    pub(super) arena: MemberArena,
    pub(super) index: MemberIndex,
    pub(super) tree: RankedTree,
    hasher: ahash::RandomState,
}

impl Ranked {
    pub(super) fn new(seed: u64) -> Self {
        let hasher = ahash::RandomState::with_seeds(seed, seed.rotate_left(32), !seed, 0x7a73_6574);
        let (arena, index, tree) = (MemberArena::default(), MemberIndex::default(), RankedTree::default());
        Self { arena, index, tree, hasher }
    }

    pub(super) fn from_pack(pack: &Listpack, seed: u64) -> Self {
        let mut ranked = Self::new(seed);
        let mut scratch = itoa::Buffer::new();
        for (member, score) in pairs(pack) {
            let member = member.as_bytes(&mut scratch);
            ranked.add(ranked.hash(member), member, score);
        }
        ranked
    }

    #[inline]
    pub(super) fn hash(&self, member: &[u8]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(member);
        hasher.finish()
    }

    #[inline]
    pub(super) fn find(&self, hash: u64, member: &[u8]) -> Option<Handle> {
        self.index.find(hash, |handle| self.arena.member(handle) == member)
    }

    /// Adds a member that is not there.
    pub(super) fn add(&mut self, hash: u64, member: &[u8], score: f64) {
        let handle = self.arena.insert(score, member);
        let Self { arena, index, tree, hasher } = self;
        index.insert(hash, handle, |handle| {
            let mut hasher = hasher.build_hasher();
            hasher.write(arena.member(handle));
            hasher.finish()
        });
        tree.insert(arena, handle);
    }
}
