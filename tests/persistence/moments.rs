//! A snapshot is of one moment, on all shards together.

use crate::support::{Program, Server};
use crate::*;
use std::sync::atomic::{AtomicBool, Ordering};

const ACCOUNTS: u64 = 40;
const START: u64 = 1000;

struct Stopping<'a>(&'a AtomicBool);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn account(number: u64) -> String {
    format!("account:{number}")
}

/// Money goes from account to account by EXEC, and pairs of keys are set by MSET, while dumps are written: in each the
/// sum is what it was, and the pairs are pairs.
#[test]
fn no_transaction_is_half_in_a_dump() {
    // With an append-only file that holds replies back no shard is ever lent: the freeze takes its long way.
    let always = &["--appendonly", "yes", "--appendfsync", "always"][..];
    for (shards, flags) in [(1, &[][..]), (4, &[]), (4, always)] {
        let server = Server::start(Program::Pinion { shards }, flags);
        let mut client = server.connect();
        for number in 0..ACCOUNTS {
            client.command(&["SET", &account(number), &START.to_string()]);
        }
        // So that the fork and the writing take their time.
        client.command(&["DEBUG", "POPULATE", "100000", "filler"]);
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            // Also when an assertion fails: the scope waits for its threads.
            let _stopping = Stopping(&stop);
            for teller in 0..4u64 {
                let (server, stop) = (&server, &stop);
                scope.spawn(move || {
                    let mut client = server.connect();
                    let mut state = teller + 1;
                    let mut next = |below: u64| {
                        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                        (state >> 33) % below
                    };
                    while !stop.load(Ordering::Relaxed) {
                        let (from, to, sum) = (account(next(ACCOUNTS)), account(next(ACCOUNTS)), next(100));
                        let sum = sum.to_string();
                        let mark = next(1 << 30).to_string();
                        let (left, right) = (format!("left:{teller}"), format!("right:{teller}"));
                        let replies = client.pipeline(&[
                            vec!["MULTI"],
                            vec!["DECRBY", &from, &sum],
                            vec!["INCRBY", &to, &sum],
                            vec!["EXEC"],
                            vec!["MSET", &left, &mark, &right, &mark],
                        ]);
                        assert!(replies.iter().all(|reply| !reply.is_error()), "{replies:?}");
                    }
                });
            }
            for _ in 0..5 {
                save_in_background(&mut client);
                let dump = server.directory().join("dump.rdb");
                assert_check_rdb_is_content(&dump);
                let redis = redis_with(&dump);
                let mut judge = redis.connect();
                let balance = |client: &mut Client, number| -> i64 {
                    client.command(&["GET", &account(number)]).to_text().parse().expect("a number")
                };
                let sum: i64 = (0..ACCOUNTS).map(|number| balance(&mut judge, number)).sum();
                assert_eq!(sum, (ACCOUNTS * START) as i64, "with {shards} shards");
                for teller in 0..4 {
                    let [left, right] =
                        ["left", "right"].map(|side| judge.command(&["GET", &format!("{side}:{teller}")]));
                    assert_eq!(left.to_string(), right.to_string(), "with {shards} shards");
                }
            }
        });
    }
}
