//! A slab with generations: values at small stable indices, named by handles that notice when their value has gone
//! and another has moved in. A completion from the kernel for a closed connection finds nothing, not a stranger.
//!
//! Invariants
//!   G1  A place's generation is odd while it holds a value and even while it is free.
//!   G2  A handle finds the value it was given for, or nothing: generations only grow, and a place whose generation
//!       could not grow any more is never used again.
//!   G3  The free places are linked, the one freed last first.

/// Names a value in a [`Slab`]. Fits an `u64` that goes through the kernel and back.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Handle {
    generation: u32,
    index: u32,
}

impl Handle {
    /// The place, to index arrays beside the slab. Used again once the value has gone.
    pub fn index(self) -> usize {
        self.index as usize
    }

    pub fn to_bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// Undoes [`Handle::to_bits`]. Bits that never were a handle find nothing.
    pub fn from_bits(bits: u64) -> Self {
        Self { generation: (bits >> 32) as u32, index: bits as u32 }
    }
}

#[derive(Debug)]
pub struct Slab<T> {
    places: Vec<Place<T>>,
    free: Option<u32>,
    len: usize,
}

#[derive(Debug)]
struct Place<T> {
    generation: u32,
    content: Content<T>,
}

#[derive(Debug)]
enum Content<T> {
    Value(T),
    Free { next: Option<u32> },
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: None, len: 0 }
    }
}

impl<T> Slab<T> {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn with_capacity(capacity: usize) -> Self {
        Self { places: Vec::with_capacity(capacity), ..Self::default() }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn insert(&mut self, value: T) -> Handle {
        self.insert_with(|_| value)
    }

    /// Inserts a value that knows its own handle.
    pub fn insert_with(&mut self, make: impl FnOnce(Handle) -> T) -> Handle {
        let index = match self.free {
            Some(index) => index,
            None => u32::try_from(self.places.len()).expect("fewer than four billion values"),
        };
        if self.free.is_none() {
            self.places.push(Place { generation: 0, content: Content::Free { next: None } });
        }
        let place = &mut self.places[index as usize];
        let Content::Free { next } = place.content else { unreachable!("G3: a free place holds a value") };
        let handle = Handle { generation: place.generation + 1, index };
        let value = make(handle);
        place.generation = handle.generation;
        place.content = Content::Value(value);
        self.free = next;
        self.len += 1;
        handle
    }

    pub fn remove(&mut self, handle: Handle) -> Option<T> {
        let place = self.places.get_mut(handle.index())?;
        if place.generation != handle.generation || handle.generation.is_multiple_of(2) {
            return None;
        }
        // G2: the last generation of all stays odd, is linked nowhere and found by nobody.
        let reusable = place.generation < u32::MAX;
        let next = if reusable { self.free.replace(handle.index) } else { None };
        place.generation = place.generation.checked_add(1).unwrap_or(0);
        self.len -= 1;
        match std::mem::replace(&mut place.content, Content::Free { next }) {
            Content::Value(value) => Some(value),
            Content::Free { .. } => unreachable!("G1: an odd generation without a value"),
        }
    }

    #[inline]
    pub fn get(&self, handle: Handle) -> Option<&T> {
        match self.places.get(handle.index as usize)? {
            Place { generation, content: Content::Value(value) } if *generation == handle.generation => {
                Some(value)
            }
            _ => None,
        }
    }

    #[inline]
    pub fn get_mut(&mut self, handle: Handle) -> Option<&mut T> {
        match self.places.get_mut(handle.index as usize)? {
            Place { generation, content: Content::Value(value) } if *generation == handle.generation => {
                Some(value)
            }
            _ => None,
        }
    }

    pub fn contains(&self, handle: Handle) -> bool {
        self.get(handle).is_some()
    }

    /// The values and their handles, by place.
    pub fn iter(&self) -> impl Iterator<Item = (Handle, &T)> {
        self.places.iter().enumerate().filter_map(|(index, place)| match &place.content {
            Content::Value(value) => {
                Some((Handle { generation: place.generation, index: index as u32 }, value))
            }
            Content::Free { .. } => None,
        })
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Handle, &mut T)> {
        self.places.iter_mut().enumerate().filter_map(|(index, place)| match &mut place.content {
            Content::Value(value) => {
                Some((Handle { generation: place.generation, index: index as u32 }, value))
            }
            Content::Free { .. } => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    #[test]
    fn g2_a_handle_outlives_its_value_and_finds_nothing() {
        let mut slab = Slab::new();
        let first = slab.insert("first");
        assert_eq!(slab.remove(first), Some("first"));
        let second = slab.insert_with(|handle| if handle.index() == 0 { "second" } else { "elsewhere" });
        assert_eq!(second.index(), first.index());
        assert_eq!(slab.get(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.get(Handle::from_bits(second.to_bits())), Some(&"second"));
        assert_eq!(slab.get(Handle::from_bits(0)), None);
        assert_eq!(slab.remove(Handle::from_bits(u64::MAX)), None);
    }

    #[test]
    fn g2_a_place_at_its_last_generation_is_retired() {
        let mut slab = Slab::new();
        let first = slab.insert(1);
        slab.places[0].generation = u32::MAX;
        let last = Handle { generation: u32::MAX, ..first };
        assert_eq!(slab.remove(last), Some(1));
        assert_eq!(slab.insert(2).index(), 1);
        assert_eq!((slab.get(first), slab.get(last), slab.len()), (None, None, 1));
    }

    proptest! {
        #[test]
        fn agrees_with_a_map(steps in proptest::collection::vec((0..3_u8, any::<prop::sample::Index>()), 0..200)) {
            let mut slab = Slab::new();
            let mut model: HashMap<Handle, usize> = HashMap::new();
            let mut handles = Vec::new();
            for (step, (kind, index)) in steps.into_iter().enumerate() {
                if kind > 0 || handles.is_empty() {
                    let handle = slab.insert(step);
                    prop_assert!(model.insert(handle, step).is_none(), "G2");
                    handles.push(handle);
                } else {
                    let handle = *index.get(&handles);
                    prop_assert_eq!(slab.remove(handle), model.remove(&handle));
                }
                prop_assert_eq!(slab.len(), model.len());
            }
            for handle in handles {
                prop_assert_eq!(slab.get(handle), model.get(&handle));
            }
            prop_assert_eq!(slab.iter().count(), model.len());
            prop_assert!(slab.iter_mut().all(|(handle, value)| model.get(&handle) == Some(&*value)));
        }
    }
}
