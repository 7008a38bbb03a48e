//! What a message to another core costs: `cargo bench --bench mesh`.

use divan::Bencher;
use pinion::mesh::{lending, mesh};

fn main() {
    divan::main();
}

/// A turn's messages staged, published and taken, on one thread: the instructions without the cache misses.
#[divan::bench(args = [1, 16, 256])]
fn turn_of(bencher: Bencher<'_, '_>, messages: usize) {
    let mut links = mesh::<Box<usize>>(2);
    let mut other = links.pop().expect("two cores");
    let mut own = links.pop().expect("two cores");
    let mut spare: Vec<Box<usize>> = (0..messages).map(Box::new).collect();
    bencher.counter(divan::counter::ItemsCount::new(messages)).bench_local(|| {
        spare.drain(..).for_each(|message| own.send(1, message));
        own.flush(|_| {});
        while let Some(message) = other.receive(0) {
            spare.push(message);
        }
        other.flush(|_| {});
    });
}

/// There and back between two threads that both spin: two hops of a cache line.
#[divan::bench]
fn round_trip(bencher: Bencher<'_, '_>) {
    let mut links = mesh::<Option<u64>>(2);
    let mut other = links.pop().expect("two cores");
    let mut own = links.pop().expect("two cores");
    let echo = std::thread::spawn(move || {
        loop {
            match other.receive(0) {
                Some(Some(number)) => {
                    other.send(0, Some(number));
                    other.flush(|_| {});
                }
                Some(None) => return,
                None => std::hint::spin_loop(),
            }
        }
    });
    bencher.bench_local(|| {
        own.send(1, Some(7));
        own.flush(|_| {});
        while own.receive(1).is_none() {
            std::hint::spin_loop();
        }
    });
    own.send(1, None);
    own.flush(|_| {});
    echo.join().expect("the echo ends");
}

/// A shard lent and taken back around a system call, and borrowed by another core meanwhile.
#[divan::bench]
fn lend_and_take_back(bencher: Bencher<'_, '_>) {
    let mut core = lending::<u64>(1).pop().expect("one core");
    core.install(0);
    bencher.bench_local(|| {
        core.lend();
        core.take_back();
    });
}

#[divan::bench]
fn borrow(bencher: Bencher<'_, '_>) {
    let mut cores = lending::<u64>(2);
    let mut other = cores.pop().expect("two cores");
    let lender = cores.pop().expect("two cores").lender();
    other.install(0);
    other.lend();
    bencher.bench_local(|| *lender.borrow(1).expect("it is lent") += 1);
}
