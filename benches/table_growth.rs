//! What a growing keyspace costs: bytes of resident memory per key (16-byte keys, 64-byte values, everything
//! included), and the longest a single insertion takes of the core's own time on the way to 20 million keys.
//!
//! ```text
//! cargo bench --bench table_growth                     the table of bytes per key, then the longest insertion
//! cargo bench --bench table_growth -- memory 1000000   one row, as a process of its own
//! cargo bench --bench table_growth -- longest 20000000
//! cargo bench --bench table_growth -- flush 20000000   FLUSHALL ASYNC: the call, then the slices that free
//! ```

use pinion::keyspace::{Keyspace, Slab, Ttl, regions_late};
use pinion::server::region_maker;
use std::process::Command;
use std::rc::Rc;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const SIZES: [usize; 12] = [
    100_000, 500_000, 1_000_000, 1_100_000, 1_200_000, 1_300_000, 1_400_000, 1_500_000, 1_600_000, 1_700_000,
    1_850_000, 2_000_000,
];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let number = |arg: &String| arg.parse().expect("a number of keys");
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["memory", _] => memory(number(&args[1])),
        ["longest", _] => longest(number(&args[1])),
        ["flush", _] => flush(number(&args[1])),
        _ => {
            println!("      keys  RSS/key   slab/key  table/key  load");
            for keys in SIZES {
                again(&["memory", &keys.to_string()]);
            }
            again(&["longest", "20000000"]);
            again(&["flush", "20000000"]);
        }
    }
}

/// Runs this program again, so that every measurement begins with empty memory.
fn again(args: &[&str]) {
    let program = std::env::current_exe().expect("this program has a path");
    let status = Command::new(program).args(args).status().expect("it starts again");
    assert!(status.success());
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

fn resident_bytes() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: usize = text.split(' ').nth(1).and_then(|field| field.parse().ok()).expect("the second field");
    pages * 4096
}

fn memory(keys: usize) {
    let slab = Rc::new(stocked());
    let mut keyspace = Keyspace::new(Rc::clone(&slab), [1, 2, 3, 4]);
    let before = resident_bytes();
    for number in 0..keys {
        keyspace.set_string(&key_of(number), &[b'v'; 64], Ttl::Clear);
    }
    let per_key = |bytes: usize| bytes as f64 / keys as f64;
    let shape = keyspace.table_shape();
    println!(
        "{keys:>10} {:>8.2} {:>10.2} {:>10.2} {:>5.3}",
        per_key(resident_bytes() - before),
        per_key(slab.reserved_bytes()),
        per_key(shape.bytes),
        keys as f64 / shape.slots as f64,
    );
    std::process::exit(0);
}

/// Memory as a shard of the server has it.
fn stocked() -> Slab {
    let mut stocks = region_maker::start(1, Vec::new()).expect("there is room for a thread");
    Slab::stocked(stocks.pop().expect("one was asked for"))
}

fn thread_cpu_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel fills the structure it is given.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The time of every insertion, in three runs of the same work. What a neighbour on the machine or the
/// hypervisor takes is in one run only; what the keyspace itself does is in all of them, at the same key.
fn longest(keys: usize) {
    const RUNS: usize = 3;
    const BAR_NS: u32 = 2_000_000;
    let mut least = vec![u32::MAX; keys];
    let mut seen_once = 0;
    let mut total = 0;
    for run in 1..=RUNS {
        let (late_before, mut over_bar) = (regions_late(), Vec::new());
        let mut keyspace = Keyspace::new(Rc::new(stocked()), [1, 2, 3, 4]);
        let begin = thread_cpu_ns();
        let mut last = begin;
        for (number, least) in least.iter_mut().enumerate() {
            keyspace.set_string(&key_of(number), &[b'v'; 64], Ttl::Clear);
            let now = thread_cpu_ns();
            let ns = (now - last) as u32;
            *least = ns.min(*least);
            seen_once = ns.max(seen_once);
            if ns > BAR_NS {
                over_bar.push((number, ns / 1000));
            }
            last = now;
        }
        total += last - begin;
        let late = regions_late() - late_before;
        println!("run {run}: {late} regions came too late; over 2 ms (key, us): {over_bar:?}");
    }
    let mut order: Vec<usize> = (0..keys).collect();
    order.sort_unstable_by_key(|&number| std::cmp::Reverse(least[number]));
    let percentile = |part: f64| f64::from(least[order[(keys as f64 * (1.0 - part)) as usize]]) / 1000.0;
    println!("{keys} insertions, {} ns each with the clock's reading", total / (keys * RUNS) as u64);
    println!(
        "p99.9 {:.1} us, p99.99 {:.1} us, p99.999 {:.1} us",
        percentile(0.999),
        percentile(0.9999),
        percentile(0.99999)
    );
    println!("longest in any run {:.1} us; longest in every run:", f64::from(seen_once) / 1000.0);
    for &number in &order[..8] {
        println!("{:>10.1} us at key {number}", f64::from(least[number]) / 1000.0);
    }
    std::process::exit(0);
}

fn flush(keys: usize) {
    let slab = Rc::new(Slab::new());
    let mut keyspace = Keyspace::new(Rc::clone(&slab), [1, 2, 3, 4]);
    for number in 0..keys {
        keyspace.set_string(&key_of(number), &[b'v'; 64], Ttl::Clear);
    }
    let full = resident_bytes();
    let begin = thread_cpu_ns();
    keyspace.clear_lazily();
    let mut last = thread_cpu_ns();
    println!("flush of {keys} keys: the call {:.1} us", (last - begin) as f64 / 1000.0);
    let mut slices = Vec::new();
    while keyspace.maintain(700) {
        let now = thread_cpu_ns();
        slices.push(now - last);
        last = now;
    }
    slices.sort_unstable();
    let slice = |part: f64| slices[((slices.len() - 1) as f64 * part) as usize] as f64 / 1000.0;
    println!(
        "{} slices: median {:.1} us, p99.9 {:.1} us, longest {:.1} us; {} MiB resident before, {} MiB after",
        slices.len(),
        slice(0.5),
        slice(0.999),
        slice(1.0),
        full >> 20,
        resident_bytes() >> 20,
    );
    assert_eq!(slab.used_bytes() >> 20, 0);
    std::process::exit(0);
}
