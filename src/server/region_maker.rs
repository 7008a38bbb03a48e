//! The one thread that touches memory for the shards before they need it (`keyspace::RegionStock` says why).
//!
//! It sleeps until a shard asks, so that an idle or empty server has nothing of it. It is not bound to a core and
//! stands back behind the shards: where all CPUs are busy it gets a small share of them, and a shard that outruns
//! it touches its memory itself, which INFO counts as `mem_regions_late`. It does not stand back altogether (SCHED_IDLE),
//! as the threads of a snapshot do: a server that is filled with all CPUs busy would have no huge pages at all, and its
//! first fork would take four times as long. But it rests after each region, so that a core which waits for the CPU has
//! it then. The memory is of the node of the shard, whichever CPU this thread runs on.

use crate::keyspace::RegionStock;
use crate::persistence::child;
use std::io;
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// How far it stands back behind the cores: a tenth of their weight.
const NICE: i32 = 10;
/// After each region.
const REST: Duration = Duration::from_micros(50);

/// Starts the thread on these CPUs, or on those of the caller if there are none; it ends when all shards have. The
/// stocks are for the shards, one each.
///
/// # Errors
/// There can be no more threads.
pub fn start(shards: usize, cpus: Vec<usize>) -> io::Result<Vec<Arc<RegionStock>>> {
    let (give, given) = mpsc::channel::<Vec<Arc<RegionStock>>>();
    let work = move || {
        child::stand_back(NICE);
        child::run_on(&cpus);
        if let Ok(stocks) = given.recv() {
            make(&stocks);
        }
    };
    let thread = std::thread::Builder::new().name("pinion-regions".into()).spawn(work)?;
    let stock = |_| {
        let maker = thread.thread().clone();
        Arc::new(RegionStock::new(move || maker.unpark()))
    };
    let stocks: Vec<Arc<RegionStock>> = (0..shards).map(stock).collect();
    // It waits for them.
    let _ = give.send(stocks.clone());
    Ok(stocks)
}

/// One region for each shard in turn, so that one that loads does not keep the others waiting.
fn make(stocks: &[Arc<RegionStock>]) {
    while !stocks.iter().all(|stock| stock.is_ended()) {
        let mut made = false;
        for stock in stocks {
            if stock.make() {
                made = true;
                std::thread::sleep(REST);
            }
        }
        if !made {
            // Whoever asked since then has left a token, with which this returns at once.
            std::thread::park();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::{Keyspace, Slab, Ttl};
    use crate::types::StringRef;
    use std::rc::Rc;

    /// Shards that fill, empty and go while the maker works: memory that it touched after it was gone, or that two had at
    /// once, would end the process or spoil a value.
    #[test]
    fn shards_come_and_go_under_the_maker() {
        let stocks = start(2, Vec::new()).expect("there is room for a thread");
        let shards: Vec<_> = stocks
            .into_iter()
            .map(|stock| {
                std::thread::spawn(move || {
                    let mut keyspace = Keyspace::new(Rc::new(Slab::stocked(stock)), [1, 2, 3, 4]);
                    for round in 0..2u8 {
                        for number in 0..60_000u32 {
                            keyspace.set_string(&number.to_le_bytes(), &[round; 300], Ttl::Clear);
                        }
                        for number in 0..60_000u32 {
                            let entry = keyspace.find(&number.to_le_bytes()).expect("set above");
                            assert!(
                                matches!(entry.as_string(), Some(StringRef::Bytes(value)) if value == [round; 300])
                            );
                        }
                        keyspace.clear_lazily();
                        while keyspace.maintain(700) {}
                    }
                })
            })
            .collect();
        shards.into_iter().for_each(|shard| shard.join().expect("no value is spoilt"));
    }
}
