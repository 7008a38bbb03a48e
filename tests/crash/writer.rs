//! A client that remembers what it was promised.
//!
//! Its writes are numbered. Each belongs to one of its *groups*: a single key; keys that are written by one MSET; keys that
//! are written by one EXEC. Afterwards all keys of a group hold the number of the same write: the last that was
//! acknowledged, or a later one that was sent.

use crate::support::Client;
use pinion::base::random::Random;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

const GROUPS: usize = 24;
/// Requests that are sent before the first reply is awaited.
const PIPELINE_MAX: usize = 6;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Single,
    Together,
    Transaction,
}

struct Group {
    kind: Kind,
    keys: Vec<String>,
    /// Numbers of writes that were sent since the last check, in order, with when they were acknowledged.
    sent: Vec<(u64, Option<Instant>)>,
    /// What was there at the last check.
    found: u64,
}

pub struct Writer {
    groups: Vec<Group>,
    random: Random,
    next: u64,
    acknowledged: u64,
}

impl Writer {
    pub fn new(number: usize, seed: u64) -> Writer {
        let group = |index: usize| {
            let kind = [Kind::Single, Kind::Together, Kind::Transaction][index % 3];
            let count = if kind == Kind::Single { 1 } else { 2 + index % 4 };
            let keys = (0..count).map(|key| format!("w{number}:g{index}:{key}")).collect();
            Group { kind, keys, sent: Vec::new(), found: 0 }
        };
        Writer {
            groups: (0..GROUPS).map(group).collect(),
            random: Random::from_seed(seed ^ (number as u64) << 32),
            next: 1,
            acknowledged: 0,
        }
    }

    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Writes until the server is gone.
    pub fn write(&mut self, address: SocketAddr, stop: &AtomicBool) {
        let Ok(mut client) = Client::connect(address) else { return };
        while !stop.load(Ordering::Relaxed) {
            let count = 1 + self.random.index(PIPELINE_MAX);
            // Groups of one pipeline are different ones, so each group's writes are in order.
            let first = self.random.index(GROUPS);
            let mut bytes = Vec::new();
            let mut waiting = Vec::new();
            for index in (0..count).map(|offset| (first + offset) % GROUPS) {
                let number = self.next;
                self.next += 1;
                let group = &mut self.groups[index];
                group.sent.push((number, None));
                waiting.push((index, group.request(number, &mut bytes)));
            }
            if client.try_send_raw(&bytes).is_err() {
                return;
            }
            for (index, replies) in waiting {
                for reply in 0..replies {
                    let Ok(value) = client.try_receive() else { return };
                    assert!(!value.is_error(), "{value}");
                    if reply + 1 == replies {
                        let group = &mut self.groups[index];
                        group.sent.last_mut().expect("just sent").1 = Some(Instant::now());
                        self.acknowledged += 1;
                    }
                }
            }
        }
    }

    /// Compares what is there with what was promised before a moment.
    pub fn check(&mut self, client: &mut Client, before: Instant) {
        for group in &mut self.groups {
            group.check(client, before);
        }
    }
}

impl Group {
    /// Appends the request for a write; how many replies it has.
    fn request(&self, number: u64, bytes: &mut Vec<u8>) -> usize {
        let number = number.to_string();
        let mut add = |argv: &[&str]| bytes.extend_from_slice(&crate::support::encode(argv));
        match self.kind {
            Kind::Single => {
                add(&["SET", &self.keys[0], &number]);
                1
            }
            Kind::Together => {
                let mut argv = vec!["MSET"];
                self.keys.iter().for_each(|key| argv.extend([key.as_str(), number.as_str()]));
                add(&argv);
                1
            }
            Kind::Transaction => {
                add(&["MULTI"]);
                for key in &self.keys {
                    add(&["SET", key, "half"]);
                    add(&["GETSET", key, &number]);
                }
                add(&["EXEC"]);
                2 + 2 * self.keys.len()
            }
        }
    }

    fn check(&mut self, client: &mut Client, before: Instant) {
        let mut values = self.keys.iter().map(|key| match client.command(&["GET", key.as_str()]) {
            value if value.is_null() => 0,
            value => value.to_text().parse::<u64>().unwrap_or_else(|_| panic!("{key} holds {value}")),
        });
        let found = values.next().expect("a group has keys");
        assert!(values.all(|other| other == found), "{:?} {:?} is half there", self.kind, self.keys);
        let promised = self.sent.iter().filter(|(_, at)| at.is_some_and(|at| at < before));
        let promised = promised.map(|(number, _)| *number).next_back().unwrap_or(self.found);
        // Of what was found before, everything is old enough: it has survived a restart.
        assert!(found >= promised, "{:?}: {promised} was acknowledged, {found} is there", self.keys);
        let was_sent = found == self.found || self.sent.iter().any(|(number, _)| *number == found);
        assert!(was_sent, "{:?}: nobody has written {found}", self.keys);
        self.found = found;
        self.sent.clear();
    }
}
