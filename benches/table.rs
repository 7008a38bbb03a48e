//! The keyspace's hash table next to the standard library's (hashbrown) with the same hash function, boxed
//! keys and values, since a keyspace of a server owns its keys.
//!
//! `cargo bench --bench table`; times are per batch of [`BATCH`] keys in random order.

use divan::{Bencher, black_box};
use pinion::keyspace::{Keyspace, Slab, Ttl};
use std::collections::HashMap;
use std::rc::Rc;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const BATCH: usize = 1000;
const SIZES: [usize; 3] = [10_000, 1_000_000, 4_000_000];
const SEEDS: [u64; 4] = [1, 2, 3, 4];

type Standard = HashMap<Box<[u8]>, Box<[u8]>, ahash::RandomState>;

fn main() {
    divan::main();
}

fn key_of(number: usize) -> [u8; 16] {
    let mut key = *b"key:000000000000";
    let mut rest = number;
    for digit in key[4..].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    key
}

fn keyspace(keys: usize) -> Keyspace {
    let mut keyspace = Keyspace::new(Rc::new(Slab::new()), SEEDS);
    for number in 0..keys {
        keyspace.set_string(&key_of(number), &[b'v'; 64], Ttl::Clear);
    }
    keyspace
}

fn standard(keys: usize) -> Standard {
    let mut map =
        Standard::with_hasher(ahash::RandomState::with_seeds(SEEDS[0], SEEDS[1], SEEDS[2], SEEDS[3]));
    for number in 0..keys {
        map.insert(key_of(number).into(), [b'v'; 64].into());
    }
    map
}

/// Keys in random order, so that neither caches nor prefetchers know what comes.
struct Random {
    state: u64,
    bound: usize,
}

impl Random {
    fn new(bound: usize) -> Self {
        Self { state: 42, bound }
    }

    fn key(&mut self) -> [u8; 16] {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        key_of(((u128::from(self.state) * self.bound as u128) >> 64) as usize)
    }

    fn keys(&mut self) -> Vec<[u8; 16]> {
        (0..BATCH).map(|_| self.key()).collect()
    }
}

#[divan::bench(args = SIZES)]
fn get(bencher: Bencher, keys: usize) {
    let keyspace = keyspace(keys);
    let mut random = Random::new(keys);
    bencher.with_inputs(|| random.keys()).bench_local_refs(|batch| {
        for key in batch.iter() {
            let entry = keyspace.find(key).expect("present");
            black_box(entry.as_string());
        }
    });
}

#[divan::bench(args = SIZES)]
fn get_prefetched(bencher: Bencher, keys: usize) {
    const AHEAD: usize = 16;
    let keyspace = keyspace(keys);
    let mut random = Random::new(keys);
    bencher.with_inputs(|| random.keys()).bench_local_refs(|batch| {
        for group in batch.chunks(AHEAD) {
            let mut hashes = [0; AHEAD];
            for (hash, key) in hashes.iter_mut().zip(group) {
                *hash = keyspace.hash(key);
                keyspace.prefetch(*hash);
            }
            for &hash in &hashes[..group.len()] {
                keyspace.prefetch_entry(hash);
            }
            for (&hash, key) in hashes.iter().zip(group) {
                let entry = keyspace.find_hashed(hash, key).expect("present");
                black_box(entry.as_string());
            }
        }
    });
}

#[divan::bench(args = SIZES)]
fn get_standard(bencher: Bencher, keys: usize) {
    let map = standard(keys);
    let mut random = Random::new(keys);
    bencher.with_inputs(|| random.keys()).bench_local_refs(|batch| {
        for key in batch.iter() {
            black_box(map.get(&key[..]).map(|value| value[0]));
        }
    });
}

#[divan::bench(args = SIZES)]
fn get_missing(bencher: Bencher, keys: usize) {
    let keyspace = keyspace(keys);
    let mut random = Random::new(keys);
    bencher.with_inputs(|| random.keys()).bench_local_refs(|batch| {
        for key in batch.iter_mut() {
            key[0] = b'm';
            black_box(keyspace.find(key).is_some());
        }
    });
}

#[divan::bench(args = SIZES)]
fn overwrite(bencher: Bencher, keys: usize) {
    let mut keyspace = keyspace(keys);
    let mut random = Random::new(keys);
    bencher.with_inputs(|| random.keys()).bench_local_refs(|batch| {
        for key in batch.iter() {
            keyspace.set_string(key, &[b'w'; 64], Ttl::Clear);
        }
    });
}

#[divan::bench(args = SIZES)]
fn overwrite_standard(bencher: Bencher, keys: usize) {
    let mut map = standard(keys);
    let mut random = Random::new(keys);
    bencher.with_inputs(|| random.keys()).bench_local_refs(|batch| {
        for key in batch.iter() {
            map.insert((*key).into(), [b'w'; 64].into());
        }
    });
}

/// From empty to `keys`, everything included: the time is for all of them.
#[divan::bench(args = [10_000, 1_000_000], sample_count = 10)]
fn fill(bencher: Bencher, keys: usize) {
    bencher.bench_local(|| keyspace(keys));
}

#[divan::bench(args = [10_000, 1_000_000], sample_count = 10)]
fn fill_standard(bencher: Bencher, keys: usize) {
    bencher.bench_local(|| standard(keys));
}

/// A key goes and another comes, at a constant size.
#[divan::bench(args = SIZES)]
fn replace(bencher: Bencher, keys: usize) {
    let mut keyspace = keyspace(keys);
    let mut next = keys;
    bencher.bench_local(|| {
        for _ in 0..BATCH {
            keyspace.remove(&key_of(next - keys));
            keyspace.set_string(&key_of(next), &[b'v'; 64], Ttl::Clear);
            next += 1;
        }
    });
}

#[divan::bench(args = SIZES)]
fn scan(bencher: Bencher, keys: usize) {
    let keyspace = keyspace(keys);
    let mut cursor = 0;
    bencher.bench_local(|| {
        let mut seen = 0;
        while seen < BATCH {
            cursor = keyspace.scan(cursor, 10, |entry| {
                black_box(entry.key());
                seen += 1;
            });
        }
    });
}
