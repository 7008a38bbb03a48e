//! How long a core that has nothing to do waits before it looks again.
//!
//! Waking up costs as much as serving a request or two. When many connections are active at once, the next
//! requests are only microseconds away: waiting for a few of them and serving them in one turn costs their
//! clients less than it saves everybody. A core with few active connections never waits: there the wait
//! would only be added to each request.
//!
//! Active are the connections that were heard from within about the last millisecond.

use crate::net::Wait;
use std::time::Duration;

/// The length of the window in which connections are counted.
const WINDOW_NS: u64 = 1_000_000;

#[derive(Default)]
pub struct Pace {
    window: u32,
    window_start_ns: u64,
    /// By stream: the last window in which it was heard from.
    heard: Vec<u32>,
    active: u32,
    active_before: u32,
}

impl Pace {
    pub fn turn(&mut self, now_ns: u64) {
        let passed = now_ns.saturating_sub(self.window_start_ns);
        if passed >= WINDOW_NS {
            self.active_before = if passed < 2 * WINDOW_NS { self.active } else { 0 };
            self.active = 0;
            self.window = self.window.wrapping_add(1).max(1);
            self.window_start_ns = now_ns;
        }
    }

    pub fn heard_from(&mut self, stream: usize) {
        if stream >= self.heard.len() {
            self.heard.resize(stream + 1, 0);
        }
        if self.heard[stream] != self.window {
            self.heard[stream] = self.window;
            self.active += 1;
        }
    }

    pub fn wait(&self, limit: Duration) -> Wait {
        let num = |n: &str, d: u32| std::env::var(n).ok().and_then(|v| v.parse().ok()).unwrap_or(d);
        static CFG: std::sync::OnceLock<(u32, u32, u32)> = std::sync::OnceLock::new();
        let (div, max, us) = *CFG.get_or_init(|| (num("DIV", 4), num("MAX", 8), num("US", 50)));
        let active = self.active.max(self.active_before);
        let count = (active / div).min(max);
        if count <= 1 || us == 0 {
            Wait::Until(limit)
        } else {
            Wait::Gather { count, within: Duration::from_micros(us as u64), limit }
        }
    }
}
