//! Redis ranges: inclusive at both ends, negative indices counting from the end.

use std::ops::Range;

/// Resolves `start..=end` against a sequence of `len` elements.
///
/// Out-of-range bounds are clamped; an empty result is `0..0`.
pub fn resolve(start: i64, end: i64, len: usize) -> Range<usize> {
    let len = i64::try_from(len).expect("lengths fit in i64");
    let from_front = |index: i64| {
        if index < 0 { index.saturating_add(len) } else { index }
    };

    let start = from_front(start).max(0);
    let end = from_front(end).min(len - 1);
    if start > end {
        return 0..0;
    }
    debug_assert!(0 <= start && end < len);
    start as usize..end as usize + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, spelled out: keep each element whose own index is within both bounds.
    fn model(start: i64, end: i64, len: usize) -> Vec<usize> {
        let at_least = |index: usize, bound: i64| {
            if bound < 0 { index as i64 - len as i64 >= bound } else { index as i64 >= bound }
        };
        let at_most = |index: usize, bound: i64| {
            if bound < 0 { index as i64 - len as i64 <= bound } else { index as i64 <= bound }
        };
        (0..len).filter(|&index| at_least(index, start) && at_most(index, end)).collect()
    }

    /// The domain is small, so try all of it instead of sampling.
    #[test]
    fn agrees_with_the_model_everywhere_small() {
        for len in 0..5 {
            for start in -7..7 {
                for end in -7..7 {
                    let got: Vec<usize> = resolve(start, end, len).collect();
                    assert_eq!(got, model(start, end, len), "{start}..={end} of {len}");
                }
            }
        }
    }

    #[test]
    fn survives_the_extremes() {
        assert_eq!(resolve(i64::MIN, i64::MAX, 3), 0..3);
        assert_eq!(resolve(i64::MAX, i64::MIN, 3), 0..0);
    }
}
