//! The clients of one core, by a key that no later client ever gets again.

use super::Client;

/// Index and generation; a key of a client that has gone finds nobody.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ClientKey {
    pub index: u32,
    pub generation: u32,
}

#[derive(Default)]
pub struct Clients {
    slots: Vec<Slot>,
    free: Vec<u32>,
    len: usize,
}

struct Slot {
    generation: u32,
    client: Option<Box<Client>>,
}

impl Clients {
    pub fn insert(&mut self, client: Client) -> ClientKey {
        self.insert_boxed(Box::new(client))
    }

    pub fn insert_boxed(&mut self, client: Box<Client>) -> ClientKey {
        self.len += 1;
        let client = Some(client);
        match self.free.pop() {
            Some(index) => {
                let slot = &mut self.slots[index as usize];
                slot.client = client;
                ClientKey { index, generation: slot.generation }
            }
            None => {
                let index = u32::try_from(self.slots.len()).expect("fewer clients than 2^32");
                self.slots.push(Slot { generation: 0, client });
                ClientKey { index, generation: 0 }
            }
        }
    }

    pub fn remove(&mut self, key: ClientKey) -> Option<Box<Client>> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.generation != key.generation {
            return None;
        }
        let client = slot.client.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(key.index);
        self.len -= 1;
        Some(client)
    }

    #[inline]
    pub fn get(&self, key: ClientKey) -> Option<&Client> {
        let slot = self.slots.get(key.index as usize)?;
        if slot.generation == key.generation { slot.client.as_deref() } else { None }
    }

    #[inline]
    pub fn get_mut(&mut self, key: ClientKey) -> Option<&mut Client> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.generation == key.generation { slot.client.as_deref_mut() } else { None }
    }

    /// The client of a request that is running: it cannot have gone.
    ///
    /// # Panics
    /// If it has.
    #[inline]
    pub fn running(&mut self, key: ClientKey) -> &mut Client {
        self.get_mut(key).expect("a client does not go while its request runs")
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn iter(&self) -> impl Iterator<Item = (ClientKey, &Client)> {
        self.slots.iter().zip(0..).filter_map(|(slot, index)| {
            let key = ClientKey { index, generation: slot.generation };
            slot.client.as_deref().map(|client| (key, client))
        })
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (ClientKey, &mut Client)> {
        self.slots.iter_mut().zip(0..).filter_map(|(slot, index)| {
            let key = ClientKey { index, generation: slot.generation };
            slot.client.as_deref_mut().map(|client| (key, client))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::UnixMillis;

    #[test]
    fn the_key_of_a_client_that_has_gone_finds_nobody() {
        let mut clients = Clients::default();
        let first = clients.insert(Client::new(1, UnixMillis(0)));
        clients.remove(first).expect("present");
        let second = clients.insert(Client::new(2, UnixMillis(0)));
        assert_eq!(first.index, second.index, "the place is used again");
        assert!(clients.get(first).is_none() && clients.remove(first).is_none());
        assert_eq!(clients.get(second).map(|client| client.id), Some(2));
        assert_eq!(clients.iter().count(), clients.len());
    }
}
