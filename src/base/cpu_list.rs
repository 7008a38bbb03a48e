//! Lists of CPUs, as the kernel and `taskset` write them.

/// Reads `0-3,8,10-14:2`.
pub fn parse(text: &str) -> Option<Vec<usize>> {
    const CPUS_MAX: usize = 1 << 16;
    let mut ids = Vec::new();
    for part in text.trim().split(',') {
        let (range, step) = part.trim().split_once(':').unwrap_or((part.trim(), "1"));
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        let step: usize = step.trim().parse().ok()?;
        if first > last || last >= CPUS_MAX || step == 0 {
            return None;
        }
        ids.extend((first..=last).step_by(step));
    }
    Some(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus() {
        assert_eq!(parse("0-3,8\n"), Some(vec![0, 1, 2, 3, 8]));
        assert_eq!(parse("10-14:2"), Some(vec![10, 12, 14]));
        for text in ["", "a", "3-1", "0-3:0", "1,,2", "0-99999999"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
