//! When to ask for a shard's next region: early enough that it is ready when it is needed, and not earlier, since
//! what is in stock is memory that serves nobody.
//!
//! There is no clock: time is counted in spans that the shard has taken. How many it takes while a region is made is
//! how far ahead it has to ask; twice that, because the thread that makes them may have others to serve.
//!
//! Invariants
//!   F1  A shard that takes no span asks for nothing, and between one and two calls of [`Foresight::settle`] after its
//!       last span it wants no more in stock than what [`LEAST`] spans need.

use super::region_stock::PLACES;
use super::slab::HUGE_REGION_SPANS;

const REGION: usize = HUGE_REGION_SPANS as usize;

/// Spans ahead of a shard that hardly grows: one that has the rest of a second for each needs no more.
const LEAST: usize = 4;
/// Before anything is known about the machine: 1 MiB, 7 ms at 150 MB of new data a second.
const FIRST: usize = REGION / 2;
const MOST: usize = REGION * PLACES;
/// A shard that begins to grow is taken to go on, to four times what it has grown so far.
const PER_GROWN: usize = 4;

pub(super) struct Foresight {
    /// How many spans ahead a growing shard asks.
    lead: usize,
    /// Spans taken since something was asked for that has not been seen ready yet.
    waiting: Option<usize>,
    /// Spans taken since `settle` was last called, and before that.
    grown: usize,
    grown_before: usize,
}

impl Default for Foresight {
    fn default() -> Self {
        Self { lead: FIRST, waiting: None, grown: 0, grown_before: 0 }
    }
}

fn regions_for(spans: usize) -> usize {
    spans.div_ceil(REGION)
}

impl Foresight {
    pub fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// A span was taken, and so many are left. `pending`: what was asked for is not ready. Returns how many regions
    /// should be in stock or on their way.
    pub fn span_taken(&mut self, free_spans: usize, pending: bool) -> usize {
        self.grown += 1;
        match &mut self.waiting {
            Some(taken) if pending => *taken += 1,
            Some(taken) => {
                let wanted = (LEAST + 2 * *taken).min(MOST);
                // A slow one tells of what may come again, a quick one of little.
                self.lead = if wanted > self.lead { wanted } else { self.lead - (self.lead - wanted) / 4 };
                self.waiting = None;
            }
            None => {}
        }
        let grown = self.grown.max(self.grown_before);
        regions_for(self.lead.min(LEAST + PER_GROWN * grown).saturating_sub(free_spans))
    }

    pub fn has_asked(&mut self) {
        self.waiting.get_or_insert(0);
    }

    /// A region was needed before it was ready.
    pub fn was_late(&mut self) {
        self.lead = (self.lead * 2).min(MOST);
    }

    /// About once a second: how many regions are enough, if the shard has stopped growing (F1).
    pub fn settle(&mut self, free_spans: usize) -> Option<usize> {
        self.grown_before = std::mem::take(&mut self.grown);
        (self.grown_before == 0).then(|| regions_for(LEAST.saturating_sub(free_spans)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A shard that takes a span each tick, and a maker that needs `making` ticks for a region. How many regions it
    /// needed before they were ready, of so many, and the most that were ready at once.
    fn grow(foresight: &mut Foresight, regions: usize, making: usize) -> (usize, usize) {
        let (mut free, mut ready, mut making_left) = (REGION, 0, Vec::<usize>::new());
        let (mut late, mut most) = (0, 0);
        for _ in 0..regions * REGION {
            if free == 0 {
                if ready == 0 {
                    late += 1;
                    foresight.was_late();
                } else {
                    ready -= 1;
                }
                free = REGION;
            }
            free -= 1;
            let wanted = foresight.span_taken(free, !making_left.is_empty());
            while ready + making_left.len() < wanted.min(PLACES) {
                making_left.push(making);
                foresight.has_asked();
            }
            if let Some(left) = making_left.first_mut() {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    making_left.remove(0);
                    ready += 1;
                }
            }
            most = most.max(ready);
        }
        (late, most)
    }

    #[test]
    fn what_keeps_pace_is_never_late_for_long() {
        for making in 0..REGION {
            let (late, _) = grow(&mut Foresight::default(), 200, making);
            let allowed = if making < FIRST { 0 } else { 2 };
            assert!(late <= allowed, "{late} late where making takes {making} spans");
        }
    }

    #[test]
    fn little_is_kept_where_making_is_quick() {
        for making in 0..FIRST {
            assert!(grow(&mut Foresight::default(), 200, making).1 <= 1, "making takes {making} spans");
        }
    }

    /// F1
    #[test]
    fn who_stops_growing_gives_everything_up() {
        let mut foresight = Foresight::default();
        grow(&mut foresight, 50, REGION * 3);
        assert!(foresight.lead > REGION);
        assert_eq!(foresight.settle(10), None, "it has grown in this second");
        assert_eq!(foresight.settle(10), Some(0));
        assert_eq!(foresight.settle(LEAST - 1), Some(1));
        assert_eq!(foresight.span_taken(LEAST * 2, false), 0, "one span is no growth yet");
        let wanted: Vec<usize> = (0..4).map(|_| foresight.span_taken(LEAST * 2, false)).collect();
        assert!(wanted[3] > 0, "but five are: {wanted:?}");
    }
}
