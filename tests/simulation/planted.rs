//! Is each planted bug found, and how soon?
//!
//! The limits are some times what one seed in so many finds, so that a change of the workload does not break them, and a
//! simulator that has gone blind does.

use crate::{Seen, simulate};
use pinion::transaction::{Fault, Faults};
use std::panic::{self, AssertUnwindSafe};

/// A bug, and the seeds within which it has to be found.
const PLANTED: &[(Fault, u64)] = &[
    (Fault::WatchReadBeforeScheduling, 200),
    (Fault::WithdrawnLeavesIntent, 100),
    (Fault::HeadNotPolledAfterWithdrawal, 100),
    (Fault::HeadNotPolledAfterConclusion, 50),
    (Fault::RunsWithoutGrant, 100),
    (Fault::RefusedTreatedAsQueued, 100),
    (Fault::ReadDoesNotHold, 300),
    (Fault::FirstHopConcludes, 100),
    (Fault::ConcludesBeforeAllAreHeld, 3000),
    (Fault::AnsweredByTheFirstShard, 20),
    (Fault::WriteOvertakesRead, 20000),
    (Fault::DeferredOvertaken, 300),
    (Fault::DeferredWriteUnwatched, 500),
    (Fault::ServedTwice, 100),
    (Fault::ServedInWrongOrder, 100),
    (Fault::WaitsAfterConclusion, 200),
    (Fault::ServedBeforeConclusion, 200),
];

/// An assertion of the server's own code finds a bug as well as the judge does.
fn complaint(seed: u64, fault: Fault) -> Option<String> {
    let run = || simulate(seed, Faults::plant(fault), false);
    match panic::catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(Seen { .. })) => None,
        Ok(Err(complaint)) => Some(complaint),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Some(format!("seed {seed}: assertion: {}", text.unwrap_or("?")))
        }
    }
}

/// With `PLANTED_SURVEY` set: how many of that many seeds find each bug, and by what.
#[test]
fn planted_bugs_are_found() {
    panic::set_hook(Box::new(|_| {}));
    let survey = crate::from_environment("PLANTED_SURVEY");
    let mut missed = Vec::new();
    for (fault, limit) in PLANTED {
        let seeds = survey.unwrap_or(*limit);
        let mut found = (0..seeds).filter_map(|seed| Some((seed, complaint(seed, *fault)?)));
        match found.next() {
            Some((seed, complaint)) => {
                let first = complaint.lines().next().unwrap_or_default();
                println!("{fault:?}: after {} seeds: {first}", seed + 1);
                if survey.is_some() {
                    let strict = |text: &String| {
                        text.lines().next().is_some_and(|line| line.ends_with("serializable"))
                    };
                    let (count, judged) = found
                        .fold((1, u64::from(strict(&complaint))), |(all, judged), (_, text)| {
                            (all + 1, judged + u64::from(strict(&text)))
                        });
                    println!("    {count} of {seeds} seeds, {judged} by the history alone");
                }
            }
            None => missed.push(fault),
        }
    }
    let _ = panic::take_hook();
    assert!(missed.is_empty(), "not found: {missed:?}");
}
