//! Calls, time and failures of each command, and replies by error code: INFO commandstats, latencystats
//! and errorstats, LATENCY HISTOGRAM.

use hdrhistogram::Histogram;
use std::collections::BTreeMap;

/// As Redis: 1 ns to 1 s with two significant digits; longer calls count as the longest.
const HISTOGRAM_MAX_NS: u64 = 1_000_000_000;
/// Redis stops telling error codes apart when there are too many (a script can make them up).
const ERROR_CODES_MAX: usize = 128;

#[derive(Clone, Debug, Default)]
pub struct CommandStat {
    pub calls: u64,
    /// Nanoseconds spent in all calls.
    pub nanoseconds: u64,
    /// Refused before they ran.
    pub rejected: u64,
    /// Ran and replied with an error.
    pub failed: u64,
    pub histogram: Option<Box<Histogram<u64>>>,
}

#[derive(Clone, Debug, Default)]
pub struct CommandStats {
    by_id: Vec<CommandStat>,
    errors: BTreeMap<Box<str>, u64>,
}

impl CommandStats {
    pub fn new(commands: usize) -> Self {
        Self { by_id: vec![CommandStat::default(); commands], errors: BTreeMap::new() }
    }

    #[inline]
    pub fn record(&mut self, id: u16, nanoseconds: u64, tracking: bool) {
        let stat = &mut self.by_id[usize::from(id)];
        stat.calls += 1;
        stat.nanoseconds += nanoseconds;
        if tracking {
            let histogram = stat.histogram.get_or_insert_with(|| {
                let empty = Histogram::new_with_bounds(1, HISTOGRAM_MAX_NS, 2);
                Box::new(empty.expect("the bounds are valid"))
            });
            histogram.saturating_record(nanoseconds.max(1));
        }
    }

    pub fn rejected(&mut self, id: u16) {
        self.by_id[usize::from(id)].rejected += 1;
    }

    pub fn failed(&mut self, id: u16) {
        self.by_id[usize::from(id)].failed += 1;
    }

    /// Counts an error reply by its code, the first word of its text.
    pub fn error(&mut self, text: &[u8]) {
        let end = text.iter().position(|byte| matches!(byte, b' ' | b'\r' | b'\n')).unwrap_or(text.len());
        let code = String::from_utf8_lossy(&text[..end]);
        if let Some(count) = self.errors.get_mut(code.as_ref()) {
            *count += 1;
        } else if self.errors.len() < ERROR_CODES_MAX {
            self.errors.insert(code.into(), 1);
        }
    }

    pub fn by_id(&self, id: u16) -> &CommandStat {
        &self.by_id[usize::from(id)]
    }

    /// In the order of the ids.
    pub fn iter(&self) -> impl Iterator<Item = &CommandStat> {
        self.by_id.iter()
    }

    pub fn errors(&self) -> &BTreeMap<Box<str>, u64> {
        &self.errors
    }

    pub fn reset(&mut self) {
        *self = Self::new(self.by_id.len());
    }

    /// Adds another core's figures.
    pub fn add(&mut self, other: &Self) {
        if self.by_id.len() < other.by_id.len() {
            self.by_id.resize(other.by_id.len(), CommandStat::default());
        }
        for (mine, theirs) in self.by_id.iter_mut().zip(&other.by_id) {
            mine.calls += theirs.calls;
            mine.nanoseconds += theirs.nanoseconds;
            mine.rejected += theirs.rejected;
            mine.failed += theirs.failed;
            if let Some(theirs) = &theirs.histogram {
                match &mut mine.histogram {
                    Some(mine) => mine.add(theirs.as_ref()).expect("all have the same bounds"),
                    None => mine.histogram = Some(theirs.clone()),
                }
            }
        }
        for (code, count) in &other.errors {
            *self.errors.entry(code.clone()).or_default() += count;
        }
    }

    /// Forgets the histograms of these commands, or of all.
    pub fn reset_histograms(&mut self, ids: Option<&[u16]>) {
        for (stat, id) in self.by_id.iter_mut().zip(0..) {
            if ids.is_none_or(|ids| ids.contains(&id)) {
                stat.histogram = None;
            }
        }
    }
}
