//! What one core does per second just now: the mean of the last sixteen looks at its counters, a tenth of a
//! second apart, as Redis computes its `instantaneous_` figures. INFO adds the cores up.

use super::Counters;

const SAMPLES: usize = 16;
const INTERVAL_NS: u64 = 100_000_000;
/// How many seconds the largest buffers of clients are remembered.
const PEAK_SECONDS: usize = 8;

/// Per second.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Rates {
    pub commands: u64,
    pub input_bytes: u64,
    pub output_bytes: u64,
}

/// The largest buffers that a client of this core had lately.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct BufferPeaks {
    pub input: u64,
    pub output: u64,
}

#[derive(Clone, Debug, Default)]
pub struct RateMeter {
    samples: [Rates; SAMPLES],
    next: usize,
    /// The counters at the last look, and when that was.
    last: Rates,
    last_ns: u64,
    peaks: [BufferPeaks; PEAK_SECONDS],
}

impl RateMeter {
    /// Takes a look if it is time for one.
    #[inline]
    pub fn look(&mut self, now_ns: u64, counters: &Counters) {
        if now_ns.saturating_sub(self.last_ns) >= INTERVAL_NS {
            self.sample(now_ns, counters);
        }
    }

    fn sample(&mut self, now_ns: u64, counters: &Counters) {
        let current = Rates {
            commands: counters.commands_processed,
            input_bytes: counters.net_input_bytes,
            output_bytes: counters.net_output_bytes,
        };
        if self.last_ns > 0 {
            let elapsed = u128::from(now_ns - self.last_ns);
            // CONFIG RESETSTAT sets counters back.
            let per_second =
                |new: u64, old: u64| (u128::from(new.saturating_sub(old)) * 1_000_000_000 / elapsed) as u64;
            self.samples[self.next] = Rates {
                commands: per_second(current.commands, self.last.commands),
                input_bytes: per_second(current.input_bytes, self.last.input_bytes),
                output_bytes: per_second(current.output_bytes, self.last.output_bytes),
            };
            self.next = (self.next + 1) % SAMPLES;
        }
        (self.last, self.last_ns) = (current, now_ns);
    }

    pub fn rates(&self) -> Rates {
        let mean = |figure: fn(&Rates) -> u64| self.samples.iter().map(figure).sum::<u64>() / SAMPLES as u64;
        Rates {
            commands: mean(|sample| sample.commands),
            input_bytes: mean(|sample| sample.input_bytes),
            output_bytes: mean(|sample| sample.output_bytes),
        }
    }

    /// Forgets the samples: CONFIG RESETSTAT.
    pub fn reset(&mut self) {
        self.samples = Default::default();
        self.last = Rates::default();
    }

    /// The largest buffers of this second, seen once in it.
    pub fn note_peaks(&mut self, unix_seconds: u64, peaks: BufferPeaks) {
        self.peaks[unix_seconds as usize % PEAK_SECONDS] = peaks;
    }

    pub fn recent_peaks(&self) -> BufferPeaks {
        let largest = |figure: fn(&BufferPeaks) -> u64| self.peaks.iter().map(figure).max().unwrap_or(0);
        BufferPeaks { input: largest(|peaks| peaks.input), output: largest(|peaks| peaks.output) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_load_is_shown_as_it_is_and_fades_when_it_ends() {
        let mut meter = RateMeter::default();
        let mut counters = Counters::default();
        let mut now = 10 * INTERVAL_NS;
        for _ in 0..=SAMPLES {
            meter.look(now, &counters);
            meter.look(now + 1, &Counters { commands_processed: 1 << 40, ..Counters::default() });
            counters.commands_processed += 50;
            counters.net_input_bytes += 1000;
            now += INTERVAL_NS;
        }
        assert_eq!(meter.rates(), Rates { commands: 500, input_bytes: 10_000, output_bytes: 0 });
        for _ in 0..=SAMPLES {
            meter.look(now, &counters);
            now += INTERVAL_NS;
        }
        assert_eq!(meter.rates(), Rates::default());
    }

    #[test]
    fn a_reset_is_no_negative_load() {
        let mut meter = RateMeter::default();
        meter.look(INTERVAL_NS, &Counters { commands_processed: 100, ..Counters::default() });
        meter.look(2 * INTERVAL_NS, &Counters::default());
        assert_eq!(meter.rates(), Rates::default());
    }

    #[test]
    fn peaks_are_forgotten_after_some_seconds() {
        let mut meter = RateMeter::default();
        meter.note_peaks(100, BufferPeaks { input: 7, output: 1 });
        meter.note_peaks(101, BufferPeaks { input: 2, output: 9 });
        assert_eq!(meter.recent_peaks(), BufferPeaks { input: 7, output: 9 });
        meter.note_peaks(100 + PEAK_SECONDS as u64, BufferPeaks::default());
        assert_eq!(meter.recent_peaks(), BufferPeaks { input: 2, output: 9 });
    }
}
