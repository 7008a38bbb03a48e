//! LATENCY: for each kind of event the last slow ones, one per second at most, and the worst of all.

use std::collections::BTreeMap;
use std::collections::VecDeque;

/// As Redis: so many samples are kept per event.
pub(super) const HISTORY_MAX: usize = 160;

/// The kinds of events, by the names that LATENCY LATEST prints.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum LatencyEvent {
    Command,
    FastCommand,
    ExpireCycle,
    Fork,
}

impl LatencyEvent {
    pub fn name(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::FastCommand => "fast-command",
            Self::ExpireCycle => "expire-cycle",
            Self::Fork => "fork",
        }
    }
}

#[derive(Clone, Debug, Default)]
pub struct LatencyHistory {
    /// (Unix seconds, milliseconds), oldest first.
    pub samples: VecDeque<(u64, u64)>,
    pub worst_ms: u64,
}

#[derive(Clone, Debug, Default)]
pub struct LatencyMonitor {
    events: BTreeMap<LatencyEvent, LatencyHistory>,
}

impl LatencyMonitor {
    pub fn record(&mut self, event: LatencyEvent, unix_seconds: u64, milliseconds: u64) {
        let history = self.events.entry(event).or_default();
        history.worst_ms = history.worst_ms.max(milliseconds);
        // Within one second only the worst counts.
        if let Some((second, worst)) = history.samples.back_mut()
            && *second == unix_seconds
        {
            *worst = (*worst).max(milliseconds);
            return;
        }
        if history.samples.len() == HISTORY_MAX {
            history.samples.pop_front();
        }
        history.samples.push_back((unix_seconds, milliseconds));
    }

    pub fn events(&self) -> impl Iterator<Item = (LatencyEvent, &LatencyHistory)> {
        self.events.iter().map(|(event, history)| (*event, history))
    }

    /// Forgets these events, or all; tells how many it had.
    pub fn reset(&mut self, names: &[&[u8]]) -> usize {
        let before = self.events.len();
        self.events.retain(|event, _| !names.is_empty() && !names.contains(&event.name().as_bytes()));
        before - self.events.len()
    }
}
