//! What is in flight, and how a completion finds its owner: `user_data` carries the kind of the
//! operation, the place of its owner in a slab and that place's generation. No map, no hashing, no
//! allocation per operation.
//!
//! ```text
//!   63      56 55               32 31                          0
//!   |  kind   |    generation     |           index            |
//! ```
//!
//! Invariants
//!   O1  A place is given to a new owner only after its generation has been advanced, so an id of a
//!       former owner finds nothing.
//!   O2  Generations wrap after 2^24 owners of one place. Completions cannot be that late (N2 in
//!       `mod.rs`: a place is vacated only when all its operations are over); only an id that a caller
//!       has kept through 16 million connections of the same place would be mistaken.

/// Bits of a generation that fit into `user_data`.
const GENERATION_MASK: u32 = 0x00ff_ffff;

/// What kind of operation a completion ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(super) enum Kind {
    /// Its result matters to nobody: cancellations, messages to other rings.
    Ignored = 0,
    Receive = 1,
    Send = 2,
    Accept = 3,
    AcceptRetry = 4,
    /// Another ring has sent us a message.
    Doorbell = 5,
    /// A thread without a ring has written to our eventfd.
    DoorbellPoll = 6,
    FileWrite = 7,
    FileSync = 8,
}

impl Kind {
    fn from_bits(bits: u8) -> Kind {
        match bits {
            1 => Kind::Receive,
            2 => Kind::Send,
            3 => Kind::Accept,
            4 => Kind::AcceptRetry,
            5 => Kind::Doorbell,
            6 => Kind::DoorbellPoll,
            7 => Kind::FileWrite,
            8 => Kind::FileSync,
            _ => Kind::Ignored,
        }
    }
}

/// A place in a slab together with the generation of its owner.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Id {
    pub(super) index: u32,
    pub(super) generation: u32,
}

/// The `user_data` of an operation of `kind` that belongs to `id`.
pub(super) fn encode(kind: Kind, id: Id) -> u64 {
    (kind as u64) << 56 | u64::from(id.generation) << 32 | u64::from(id.index)
}

/// The `user_data` of an operation that belongs to the ring itself.
pub(super) fn encode_global(kind: Kind) -> u64 {
    (kind as u64) << 56
}

pub(super) fn decode(user_data: u64) -> (Kind, Id) {
    let id = Id { index: user_data as u32, generation: (user_data >> 32) as u32 & GENERATION_MASK };
    (Kind::from_bits((user_data >> 56) as u8), id)
}

/// Owners of operations at places that stay put, found by id in one indexed load.
pub(super) struct Slab<T> {
    places: Vec<Place<T>>,
    /// Vacant places, the last vacated first: its memory is the warmest.
    vacant: Vec<u32>,
}

struct Place<T> {
    generation: u32,
    owner: Option<T>,
}

impl<T> Slab<T> {
    pub(super) fn new() -> Slab<T> {
        Slab { places: Vec::new(), vacant: Vec::new() }
    }

    pub(super) fn insert(&mut self, owner: T) -> Id {
        let index = self.vacant.pop().unwrap_or_else(|| {
            let index = u32::try_from(self.places.len()).expect("fewer than 2^32 descriptors exist");
            self.places.push(Place { generation: 0, owner: None });
            index
        });
        let place = &mut self.places[index as usize];
        debug_assert!(place.owner.is_none());
        place.owner = Some(owner);
        Id { index, generation: place.generation }
    }

    #[inline]
    pub(super) fn find(&mut self, id: Id) -> Option<&mut T> {
        let place = self.places.get_mut(id.index as usize)?;
        if place.generation != id.generation {
            return None;
        }
        place.owner.as_mut()
    }

    pub(super) fn remove(&mut self, id: Id) -> Option<T> {
        let place = self.places.get_mut(id.index as usize)?;
        if place.generation != id.generation {
            return None;
        }
        let owner = place.owner.take()?;
        place.generation = (place.generation + 1) & GENERATION_MASK; // O1
        self.vacant.push(id.index);
        Some(owner)
    }

    pub(super) fn len(&self) -> usize {
        self.places.len() - self.vacant.len()
    }

    pub(super) fn ids(&self) -> Vec<Id> {
        let occupied = self.places.iter().enumerate().filter(|(_, place)| place.owner.is_some());
        occupied.map(|(index, place)| Id { index: index as u32, generation: place.generation }).collect()
    }

    /// Empties the slab without running destructors, for a ring that the kernel will not let go of.
    pub(super) fn leak(&mut self) {
        std::mem::forget(std::mem::take(&mut self.places));
        self.vacant.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_data_survives_the_kernel() {
        let kinds = [
            Kind::Ignored,
            Kind::Receive,
            Kind::Send,
            Kind::Accept,
            Kind::AcceptRetry,
            Kind::Doorbell,
            Kind::DoorbellPoll,
        ];
        for kind in kinds {
            for index in [0, 1, 0x8000_0000, u32::MAX] {
                for generation in [0, 1, GENERATION_MASK] {
                    let id = Id { index, generation };
                    assert_eq!(decode(encode(kind, id)), (kind, id));
                }
            }
            assert_eq!(decode(encode_global(kind)).0, kind);
        }
    }

    #[test]
    fn o1_a_former_owner_is_not_found() {
        let mut slab = Slab::new();
        let first = slab.insert("first");
        assert_eq!(slab.remove(first), Some("first"));
        let second = slab.insert("second");
        assert_eq!(second.index, first.index);
        assert_eq!(slab.find(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.find(second), Some(&mut "second"));
        assert_eq!(slab.len(), 1);
    }

    #[test]
    fn o2_generations_wrap_inside_their_bits() {
        let mut slab = Slab::new();
        let id = slab.insert(());
        slab.places[0].generation = GENERATION_MASK;
        let last = Id { index: id.index, generation: GENERATION_MASK };
        assert_eq!(slab.remove(last), Some(()));
        assert_eq!(slab.insert(()), Id { index: 0, generation: 0 });
    }
}
