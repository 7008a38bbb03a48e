//! Memory as the allocator counts it: the truth behind `used_memory`, and its highest value so far.

use std::sync::atomic::{AtomicU64, Ordering};
use tikv_jemalloc_ctl::{epoch, stats, stats_print};

/// The allocator's own figures, in bytes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Allocator {
    /// Asked for by the program.
    pub allocated: u64,
    /// In pages that hold some of it.
    pub active: u64,
    /// Of those pages and the allocator's own, in RAM.
    pub resident: u64,
}

impl Allocator {
    /// The figures of this moment. Costs some ten microseconds: the allocator visits its arenas.
    pub fn now() -> Self {
        // Without it the figures are those of the last time; they cannot fail otherwise.
        let _ = epoch::advance();
        let bytes = |figure: Result<usize, _>| figure.map_or(0, |bytes| bytes as u64);
        // The slabs have most of their memory from the kernel itself.
        let slabs = crate::keyspace::region_bytes_in_use();
        Self {
            allocated: bytes(stats::allocated::read()) + slabs,
            active: bytes(stats::active::read()) + slabs,
            resident: bytes(stats::resident::read()) + slabs + crate::keyspace::region_bytes_ready(),
        }
    }

    /// `jemalloc-5.3.1`.
    pub fn name() -> String {
        let version = tikv_jemalloc_ctl::version::read().unwrap_or_default();
        let version = version.split(['-', '\0']).next().unwrap_or_default();
        format!("jemalloc-{version}")
    }

    /// Everything it can tell, for MEMORY MALLOC-STATS.
    pub fn report() -> Vec<u8> {
        let mut report = Vec::new();
        let _ = epoch::advance();
        // Writing to memory does not fail.
        let _ = stats_print::stats_print(&mut report, stats_print::Options::default());
        report
    }

    /// Gives unused pages of all arenas back to the system; whether that was possible.
    pub fn purge() -> bool {
        // `MALLCTL_ARENAS_ALL` of the allocator's header, in the name it documents for it.
        const EVERY_ARENA: &std::ffi::CStr = c"arena.4096.purge";
        // SAFETY: the name is terminated, and this control neither reads nor writes a value.
        let result = unsafe {
            tikv_jemalloc_sys::mallctl(
                EVERY_ARENA.as_ptr(),
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                0,
            )
        };
        result == 0
    }
}

/// The highest and the first value of the memory in use, seen by whoever looks at it.
#[derive(Debug, Default)]
pub struct MemoryGauge {
    startup: AtomicU64,
    peak: AtomicU64,
}

impl MemoryGauge {
    /// The server is up and holds no data yet.
    pub fn started(&self) {
        let used = self.observe().allocated;
        self.startup.store(used, Ordering::Relaxed);
    }

    /// Looks at the memory in use, and remembers it if it never was higher.
    pub fn observe(&self) -> Allocator {
        let allocator = Allocator::now();
        self.peak.fetch_max(allocator.allocated, Ordering::Relaxed);
        allocator
    }

    pub fn startup(&self) -> u64 {
        self.startup.load(Ordering::Relaxed)
    }

    pub fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_at_least_what_was_seen() {
        let gauge = MemoryGauge::default();
        gauge.started();
        let seen = gauge.observe();
        assert!(gauge.peak() >= seen.allocated && gauge.peak() >= gauge.startup());
        assert!(Allocator::name().starts_with("jemalloc-"));
    }
}
