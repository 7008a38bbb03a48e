//! From the keys of a request to the shards that own them.

use crate::base::crc::{SLOTS, slot_of_key};
use crate::command_table::Command;
use crate::resp::Argv;

/// Which shard owns a slot: contiguous ranges, as even as they can be.
#[inline]
pub fn shard_of_slot(slot: u16, shards: usize) -> usize {
    usize::from(slot) * shards / usize::from(SLOTS)
}

#[inline]
pub fn shard_of_key(key: &[u8], shards: usize) -> usize {
    if shards == 1 { 0 } else { shard_of_slot(slot_of_key(key), shards) }
}

/// Where the keys of a request live.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Owners {
    /// It names no key.
    None,
    One(usize),
    Several,
}

/// The owners of all keys of a request.
pub fn owners(command: &Command, argv: Argv<'_>, shards: usize) -> Owners {
    if command.key_is_first {
        let key = argv.get(1).expect("the arity of a command covers its keys");
        return Owners::One(shard_of_key(key, shards));
    }
    let mut owners = Owners::None;
    for spec in command.spec.keys {
        // Arguments of another shape than the declaration expects: the handler says what is wrong.
        let _ = spec.each(argv, |position| {
            let shard = argv.get(position).map_or(0, |key| shard_of_key(key, shards));
            owners = match owners {
                Owners::None => Owners::One(shard),
                Owners::One(other) if other == shard => owners,
                _ => Owners::Several,
            };
        });
    }
    owners
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_has_one_owner_and_the_ranges_are_even() {
        for shards in [1, 2, 3, 4, 7, 64, 128] {
            let mut sizes = vec![0; shards];
            let mut last = 0;
            for slot in 0..SLOTS {
                let shard = shard_of_slot(slot, shards);
                assert!(shard >= last && shard < shards, "contiguous");
                last = shard;
                sizes[shard] += 1;
            }
            let (least, most) = (sizes.iter().min(), sizes.iter().max());
            assert!(most.zip(least).is_some_and(|(most, least)| most - least <= 1), "{sizes:?}");
        }
    }
}
