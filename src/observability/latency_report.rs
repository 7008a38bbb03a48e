//! Histograms and latency samples as the LATENCY commands and INFO show them. Pure.

use super::{LatencyEvent, LatencyHistory};
use hdrhistogram::Histogram;
use std::fmt::Write;

/// The buckets of LATENCY HISTOGRAM double from here, in nanoseconds.
const FIRST_BUCKET_NS: u64 = 1024;
const GRAPH_COLUMNS: usize = 80;
const GRAPH_ROWS: usize = 4;

/// `p50=1.003,p99=64.255`: the values in microseconds at these percentiles.
pub fn percentiles(histogram: &Histogram<u64>, wanted: &[f64]) -> String {
    let mut text = String::new();
    for percentile in wanted {
        let micros = histogram.value_at_percentile(*percentile) as f64 / 1000.0;
        let comma = if text.is_empty() { "" } else { "," };
        // Writing to a String does not fail.
        let _ = write!(text, "{comma}p{percentile}={micros:.3}");
    }
    text
}

/// How many calls took at most so many microseconds, for bounds that double; only where a bound adds calls.
pub fn cumulative(histogram: &Histogram<u64>) -> Vec<(u64, u64)> {
    let mut buckets = Vec::new();
    let (mut bound, mut before) = (FIRST_BUCKET_NS, 0);
    while before < histogram.len() {
        let bound_ns = histogram.highest_equivalent(bound);
        let count = histogram.count_between(0, bound_ns);
        if count > before {
            buckets.push((bound_ns / 1000, count));
            before = count;
        }
        bound *= 2;
    }
    buckets
}

/// One history of what several cores have seen: of one second the worst counts, and the newest stay.
pub fn merge(histories: impl IntoIterator<Item = LatencyHistory>) -> LatencyHistory {
    let mut merged = LatencyHistory::default();
    let mut samples: Vec<(u64, u64)> = Vec::new();
    for history in histories {
        merged.worst_ms = merged.worst_ms.max(history.worst_ms);
        samples.extend(history.samples);
    }
    samples.sort_unstable();
    for sample in samples {
        match merged.samples.back_mut() {
            // In order, so the later one of a second is the worse one.
            Some(last) if last.0 == sample.0 => *last = sample,
            _ => merged.samples.push_back(sample),
        }
    }
    while merged.samples.len() > super::latency_monitor::HISTORY_MAX {
        merged.samples.pop_front();
    }
    merged
}

/// LATENCY GRAPH: a bar of four rows per sample, with its age under it, eighty samples side by side.
pub fn graph(event: &str, history: &LatencyHistory, now_seconds: u64) -> String {
    let values = || history.samples.iter().map(|(_, milliseconds)| *milliseconds);
    let (high, low) = (values().max().unwrap_or(0), values().min().unwrap_or(0));
    let mut text = format!(
        "{event} - high {high} ms, low {low} ms (all time high {} ms)\n{}\n",
        history.worst_ms,
        "-".repeat(GRAPH_COLUMNS)
    );
    let samples: Vec<(u64, u64)> = history.samples.iter().copied().collect();
    for (index, block) in samples.chunks(GRAPH_COLUMNS).enumerate() {
        if index > 0 {
            text.push('\n');
        }
        for row in (0..GRAPH_ROWS).rev() {
            text.extend(block.iter().map(|(_, milliseconds)| column(*milliseconds, low, high, row)));
            text.push('\n');
        }
        text.extend(block.iter().map(|_| ' '));
        text.push('\n');
        let ages: Vec<String> = block.iter().map(|(at, _)| age(now_seconds.saturating_sub(*at))).collect();
        for row in 0..ages.iter().map(String::len).max().unwrap_or(0) {
            text.extend(ages.iter().map(|age| age.as_bytes().get(row).map_or(' ', |byte| char::from(*byte))));
            text.push('\n');
        }
    }
    text
}

/// The character of one bar in one row: full below its top, one of three heights at it.
fn column(value: u64, low: u64, high: u64, row: usize) -> char {
    const HEIGHTS: [char; 3] = ['_', 'o', '#'];
    let steps = (GRAPH_ROWS * HEIGHTS.len()) as u64;
    let step = ((value - low) * steps / (high - low).max(1)).min(steps - 1) as usize;
    let (top, height) = (step / HEIGHTS.len(), step % HEIGHTS.len());
    match row.cmp(&top) {
        std::cmp::Ordering::Less => '|',
        std::cmp::Ordering::Equal => HEIGHTS[height],
        std::cmp::Ordering::Greater => ' ',
    }
}

fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// What the doctor has to know besides the samples.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances {
    pub threshold_ms: u64,
    pub slowlog_slower_than_us: i64,
}

/// LATENCY DOCTOR: what was observed, and what to do about it.
pub fn doctor(events: &[(LatencyEvent, LatencyHistory)], now: Circumstances) -> String {
    if now.threshold_ms == 0 {
        return "I'm sorry, Dave, I can't do that. Latency monitoring is disabled in this instance. Choose how many \
                milliseconds are too long and say \"CONFIG SET latency-monitor-threshold <milliseconds>\" to enable \
                it.\n"
            .into();
    }
    if events.is_empty() {
        return "Dave, no latency spike was observed since the server started or the samples were reset. There is \
                nothing to treat.\n"
            .into();
    }
    let mut text = String::from("Dave, I have observed latency spikes in this instance:\n\n");
    for (number, (event, history)) in events.iter().enumerate() {
        let figures = Figures::of(history);
        let _ = writeln!(
            text,
            "{}. {}: {} latency spikes (average {}ms, mean deviation {}ms, period {:.2} sec). Worst all time event \
             {}ms.",
            number + 1,
            event.name(),
            history.samples.len(),
            figures.average_ms,
            figures.deviation_ms,
            figures.period_s,
            history.worst_ms
        );
    }
    text.push_str("\nWhat to look at:\n\n");
    let threshold_us = now.threshold_ms as i64 * 1000;
    let by_commands = events.iter().any(|(event, _)| *event != LatencyEvent::ExpireCycle);
    if by_commands {
        if now.slowlog_slower_than_us < 0 {
            let _ = writeln!(
                text,
                "- The slow log is switched off, so it cannot tell which commands were slow. Try 'CONFIG SET \
                 slowlog-log-slower-than {threshold_us}'."
            );
        } else if now.slowlog_slower_than_us > threshold_us {
            let _ = writeln!(
                text,
                "- The slow log ignores commands that the latency monitor counts. Try 'CONFIG SET \
                 slowlog-log-slower-than {threshold_us}'."
            );
        }
        text.push_str(
            "- SLOWLOG GET shows which commands take so long. A core runs one command at a time.\n",
        );
        text.push_str(
            "- Very large values make DEL, EXPIRE and overwriting slow: UNLINK frees in the background.\n",
        );
    }
    if events.iter().any(|(event, _)| *event == LatencyEvent::ExpireCycle) {
        text.push_str("- Many keys expire at the same time. Spread their times to live.\n");
    }
    text
}

struct Figures {
    average_ms: u64,
    deviation_ms: u64,
    period_s: f64,
}

impl Figures {
    fn of(history: &LatencyHistory) -> Self {
        let count = history.samples.len().max(1) as u64;
        let values = || history.samples.iter().map(|(_, milliseconds)| *milliseconds);
        let average_ms = values().sum::<u64>() / count;
        let deviation_ms = values().map(|value| value.abs_diff(average_ms)).sum::<u64>() / count;
        let first = history.samples.front().map_or(0, |(at, _)| *at);
        let last = history.samples.back().map_or(0, |(at, _)| *at);
        let period_s = ((last - first) as f64 / count as f64).max(1.0);
        Self { average_ms, deviation_ms, period_s }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(nanoseconds: &[u64]) -> Histogram<u64> {
        let mut histogram = Histogram::new_with_bounds(1, 1_000_000_000, 2).expect("valid bounds");
        nanoseconds.iter().for_each(|value| histogram.saturating_record(*value));
        histogram
    }

    fn history(samples: &[(u64, u64)], worst_ms: u64) -> LatencyHistory {
        LatencyHistory { samples: samples.iter().copied().collect(), worst_ms }
    }

    /// Bounds and digits as redis-server 7.0.15 prints them for such times.
    #[test]
    fn buckets_double_and_cumulate() {
        let calls = histogram(&[500, 900, 1500, 33_000, 5_000_000, 20_000_000]);
        assert_eq!(cumulative(&calls), [(1, 2), (2, 3), (33, 4), (8454, 5), (33_816, 6)]);
        assert_eq!(cumulative(&histogram(&[])), []);
        assert_eq!(cumulative(&histogram(&[u64::MAX])).len(), 1, "the longest calls are in the last bucket");
    }

    #[test]
    fn percentiles_are_shown_in_microseconds() {
        let calls = histogram(&[1000, 1000, 64_000]);
        assert_eq!(percentiles(&calls, &[50.0, 99.0, 99.9]), "p50=1.003,p99=64.255,p99.9=64.255");
        assert_eq!(percentiles(&calls, &[]), "");
    }

    #[test]
    fn cores_merge_second_by_second() {
        let merged = merge([history(&[(1, 5), (3, 9)], 20), history(&[(1, 7), (2, 1), (4, 2)], 8)]);
        assert_eq!(merged.samples, [(1, 7), (2, 1), (3, 9), (4, 2)]);
        assert_eq!(merged.worst_ms, 20);
        let long: Vec<(u64, u64)> = (0..500).map(|second| (second, 1)).collect();
        let merged = merge([history(&long, 1)]);
        assert_eq!((merged.samples.len(), merged.samples[0].0), (160, 340));
    }

    #[test]
    fn a_graph_has_a_bar_and_an_age_for_each_sample() {
        let rising = history(&[(100, 0), (160, 6), (220, 11)], 30);
        let dashes = "-".repeat(80);
        let expected = format!(
            "command - high 11 ms, low 0 ms (all time high 30 ms)\n{dashes}\n  #\n _|\n ||\n_||\n   \n211\nmms\n"
        );
        assert_eq!(graph("command", &rising, 221), expected);
        let alone = history(&[(100, 20)], 20);
        let expected =
            format!("command - high 20 ms, low 20 ms (all time high 20 ms)\n{dashes}\n \n \n \n_\n \n0\ns\n");
        assert_eq!(graph("command", &alone, 100), expected, "as redis-server draws it");
    }

    #[test]
    fn the_doctor_names_what_was_seen() {
        let now = Circumstances { threshold_ms: 10, slowlog_slower_than_us: 50_000 };
        assert!(doctor(&[], Circumstances { threshold_ms: 0, ..now }).contains("is disabled"));
        assert!(doctor(&[], now).contains("no latency spike"));
        let seen = [(LatencyEvent::Command, history(&[(1, 10), (5, 30)], 30))];
        let text = doctor(&seen, now);
        assert!(
            text.contains(
                "1. command: 2 latency spikes (average 20ms, mean deviation 10ms, period 2.00 sec)"
            )
        );
        assert!(text.contains("slowlog-log-slower-than 10000"), "{text}");
    }
}
