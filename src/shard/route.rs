//! Which shard a key lives on.

use crate::base::crc::{SLOTS, slot_of_key};

/// Which shard owns a slot: contiguous ranges, as even as they can be.
#[inline]
pub fn shard_of_slot(slot: u16, shards: usize) -> usize {
    usize::from(slot) * shards / usize::from(SLOTS)
}

#[inline]
pub fn shard_of_key(key: &[u8], shards: usize) -> usize {
    if shards == 1 { 0 } else { shard_of_slot(slot_of_key(key), shards) }
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
