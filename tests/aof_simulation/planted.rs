//! Is each planted bug found, and how soon?

use crate::simulate;
use pinion::persistence::aof::faults::{Fault, Faults};
use std::panic::{self, AssertUnwindSafe};

/// A bug, and the seeds within which it has to be found: some times what it takes.
const PLANTED: &[(Fault, u64)] = &[
    (Fault::DurableBeforeSync, 100),
    (Fault::SyncTriedAgain, 300),
    (Fault::WrittenTakenForFile, 300),
    (Fault::ZerosOverRecords, 300),
    (Fault::PartialBlockForgotten, 20),
    (Fault::ShortWriteUnnoticed, 300),
    (Fault::PreviousSegmentForgotten, 3000),
    (Fault::ParticipantsNotAwaited, 300),
    (Fault::OthersPrefixesIgnored, 300),
    (Fault::CutOnce, 1000),
    (Fault::DamageTakenForTail, 100),
    (Fault::TailTakenForDamage, 300),
    (Fault::CutForgotten, 20),
    (Fault::GapUnnoticed, 3000),
];

fn complaint(seed: u64, fault: Fault) -> Option<String> {
    let run = || simulate(seed, Faults::plant(fault), false);
    match panic::catch_unwind(AssertUnwindSafe(run)) {
        Ok(verdict) => verdict.err(),
        Err(_) => Some(format!("seed {seed}: an assertion of the server")),
    }
}

#[test]
fn planted_bugs_are_found() {
    panic::set_hook(Box::new(|_| {}));
    let mut missed = Vec::new();
    for (fault, limit) in PLANTED {
        match (0..*limit).find_map(|seed| complaint(seed, *fault)) {
            Some(complaint) => println!("{fault:?}: {}", complaint.lines().next().unwrap_or_default()),
            None => missed.push(*fault),
        }
    }
    let _ = panic::take_hook();
    assert!(missed.is_empty(), "not found: {missed:?}");
}
