//! Atomicity over shards, through sockets: money moves between accounts that live on different shards, in three
//! ways at once, while others count it. The sum is the same to everybody who looks.

mod pipelines;
#[path = "../support/mod.rs"]
mod support;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use support::{Client, Server, Value, on_each_shard_count};

const ACCOUNTS: usize = 8;
const EACH: i64 = 1000;
/// Per client; many clients at once make the interleavings.
const ROUNDS: usize = if cfg!(debug_assertions) { 150 } else { 3000 };

fn account(index: usize) -> String {
    format!("account:{index}")
}

fn all_accounts(command: &str) -> Vec<String> {
    std::iter::once(command.to_owned()).chain((0..ACCOUNTS).map(account)).collect()
}

/// A pair of different accounts and an amount, from a seed.
fn choose(state: &mut u64) -> (String, String, i64) {
    let mut below = |bound: u64| {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*state >> 33) % bound
    };
    let from = below(ACCOUNTS as u64) as usize;
    let to = (from + 1 + below(ACCOUNTS as u64 - 1) as usize) % ACCOUNTS;
    (account(from), account(to), below(10) as i64)
}

fn sum(values: &Value) -> i64 {
    let items = values.as_items().expect("an array of balances");
    items.iter().map(|value| value.to_text().parse::<i64>().expect("a balance")).sum()
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

/// EXEC of two increments.
fn transfer_by_exec(client: &mut Client, mut seed: u64) {
    for _ in 0..ROUNDS {
        let (from, to, amount) = choose(&mut seed);
        let replies = client.pipeline(&[
            words("MULTI"),
            words(&format!("DECRBY {from} {amount}")),
            words(&format!("INCRBY {to} {amount}")),
            words("EXEC"),
        ]);
        assert_eq!(replies[3].as_items().map(<[Value]>::len), Some(2), "{replies:?}");
    }
}

/// Compare and set: read under WATCH, write in EXEC, again if somebody was faster. Tells how often it got through.
fn transfer_by_watch(client: &mut Client, mut seed: u64, succeeded: &AtomicU64) {
    for _ in 0..ROUNDS {
        let (from, to, amount) = choose(&mut seed);
        assert_eq!(client.command(&words(&format!("WATCH {from} {to}"))).to_text(), "OK");
        let read = client.command(&words(&format!("MGET {from} {to}")));
        let balance = |index: usize| {
            let items = read.as_items().expect("two balances");
            items[index].to_text().parse::<i64>().expect("a balance")
        };
        let (less, more) = (balance(0) - amount, balance(1) + amount);
        let replies = client.pipeline(&[
            words("MULTI"),
            words(&format!("SET {from} {less}")),
            words(&format!("SET {to} {more}")),
            words("EXEC"),
        ]);
        if !replies[3].is_null() {
            succeeded.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Looks in both ways until the others are done.
fn count_money(client: &mut Client, done: &AtomicBool) -> u64 {
    let mut looks = 0;
    while !done.load(Ordering::Relaxed) {
        let all = client.command(&all_accounts("MGET"));
        assert_eq!(sum(&all), EACH * ACCOUNTS as i64, "MGET has seen half a transfer: {all}");
        let queue: Vec<Vec<String>> = std::iter::once(words("MULTI"))
            .chain((0..ACCOUNTS).map(|index| vec!["GET".to_owned(), account(index)]))
            .chain([words("EXEC")])
            .collect();
        let replies = client.pipeline(&queue);
        let all = replies.last().expect("EXEC has a reply");
        assert_eq!(sum(all), EACH * ACCOUNTS as i64, "EXEC has seen half a transfer: {all}");
        looks += 2;
    }
    looks
}

#[test]
fn nobody_ever_sees_half_a_transfer() {
    on_each_shard_count(|server: &Server| {
        let mut setup = vec!["MSET".to_owned()];
        (0..ACCOUNTS).for_each(|index| setup.extend([account(index), EACH.to_string()]));
        assert_eq!(server.connect().command(&setup).to_text(), "OK");

        let (done, succeeded) = (AtomicBool::new(false), AtomicU64::new(0));
        let (done, succeeded) = (&done, &succeeded);
        std::thread::scope(|scope| {
            let looking: Vec<_> =
                (0..8).map(|_| scope.spawn(|| count_money(&mut server.connect(), done))).collect();
            let moving: Vec<_> = (0..12)
                .flat_map(|index| {
                    let exec = scope.spawn(move || transfer_by_exec(&mut server.connect(), index + 1));
                    let watch =
                        scope.spawn(move || transfer_by_watch(&mut server.connect(), index + 100, succeeded));
                    [exec, watch]
                })
                .collect();
            let moved: Vec<_> = moving.into_iter().map(|thread| thread.join()).collect();
            done.store(true, Ordering::Relaxed);
            for thread in looking {
                assert!(thread.join().expect("the sum was always right") > 0);
            }
            assert!(moved.iter().all(Result::is_ok));
        });
        let total = server.connect().command(&all_accounts("MGET"));
        assert_eq!(sum(&total), EACH * ACCOUNTS as i64);
    });
}

/// MSET replaces all keys at once; whoever reads them finds them equal.
#[test]
fn a_write_of_many_keys_is_one_step() {
    on_each_shard_count(|server: &Server| {
        let keys: Vec<String> = (0..10).map(|index| format!("key:{index}")).collect();
        let write = |value: u64| {
            let pairs = keys.iter().flat_map(|key| [key.clone(), value.to_string()]);
            std::iter::once("MSET".to_owned()).chain(pairs).collect::<Vec<String>>()
        };
        server.connect().command(&write(0));
        let done = AtomicBool::new(false);
        let (done, keys, write) = (&done, &keys, &write);
        std::thread::scope(|scope| {
            for reader in 0..4 {
                scope.spawn(move || {
                    let mut client = server.connect();
                    let mut order = keys.clone();
                    order.rotate_left(reader);
                    let read: Vec<String> = std::iter::once("MGET".to_owned()).chain(order).collect();
                    while !done.load(Ordering::Relaxed) {
                        let values = client.command(&read);
                        let items = values.as_items().expect("an array");
                        assert!(items.iter().all(|item| *item == items[0]), "torn: {values}");
                    }
                });
            }
            let writers: Vec<_> = (0..6u64)
                .map(|writer| {
                    scope.spawn(move || {
                        let mut client = server.connect();
                        for round in 0..ROUNDS as u64 {
                            let reply = client.command(&write(writer * 1_000_000 + round));
                            assert_eq!(reply.to_text(), "OK");
                        }
                    })
                })
                .collect();
            let written: Vec<_> = writers.into_iter().map(|thread| thread.join()).collect();
            done.store(true, Ordering::Relaxed);
            assert!(written.iter().all(Result::is_ok));
        });
    });
}

/// RENAME moves a value between shards: it is at one of the two names, never at both and never at none.
#[test]
fn a_key_that_is_renamed_is_always_somewhere() {
    on_each_shard_count(|server: &Server| {
        server.connect().command(&words("SET here x"));
        let done = AtomicBool::new(false);
        let done = &done;
        std::thread::scope(|scope| {
            let looking = scope.spawn(move || {
                let mut client = server.connect();
                while !done.load(Ordering::Relaxed) {
                    assert_eq!(client.command(&words("EXISTS here there")).as_integer(), Some(1));
                }
            });
            let mut client = server.connect();
            for _ in 0..ROUNDS {
                assert_eq!(client.command(&words("RENAME here there")).to_text(), "OK");
                assert_eq!(client.command(&words("RENAME there here")).to_text(), "OK");
            }
            done.store(true, Ordering::Relaxed);
            looking.join().expect("one of the two names always exists");
        });
    });
}
