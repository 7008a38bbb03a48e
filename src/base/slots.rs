//! Things under way, each by a small number that is used again when it is over.

#[derive(Debug)]
pub struct Slots<T> {
    places: Vec<Option<T>>,
    free: Vec<usize>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slots<T> {
    pub fn insert(&mut self, thing: T) -> usize {
        match self.free.pop() {
            Some(index) => {
                self.places[index] = Some(thing);
                index
            }
            None => {
                self.places.push(Some(thing));
                self.places.len() - 1
            }
        }
    }

    /// # Panics
    /// If nothing is there.
    pub fn get_mut(&mut self, index: usize) -> &mut T {
        self.places[index].as_mut().expect("it is under way")
    }

    /// # Panics
    /// If nothing is there.
    pub fn remove(&mut self, index: usize) -> T {
        self.free.push(index);
        self.places[index].take().expect("it is under way")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_used_again_and_only_when_free() {
        let mut slots = Slots::default();
        let (a, b) = (slots.insert('a'), slots.insert('b'));
        assert_eq!(slots.remove(a), 'a');
        let c = slots.insert('c');
        assert_eq!(c, a);
        *slots.get_mut(b) = 'd';
        assert_eq!((slots.remove(b), slots.remove(c)), ('d', 'c'));
    }
}
