//! How far loading has come, for INFO: written by whoever loads, read by any core.

use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug, Default)]
pub struct Progress {
    /// Unix seconds.
    start_time: AtomicU64,
    total_bytes: AtomicU64,
    loaded_bytes: AtomicU64,
    /// `used-mem` of the snapshot.
    pub rdb_used_memory: AtomicU64,
    /// Of the last snapshot loaded.
    pub keys_loaded: AtomicU64,
    pub keys_expired: AtomicU64,
    /// Commands of append-only files that replied with an error.
    pub errors: AtomicU64,
}

/// One look at it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LoadFigures {
    pub start_time: u64,
    pub total_bytes: u64,
    pub loaded_bytes: u64,
    pub rdb_used_memory: u64,
    pub keys_loaded: u64,
    pub keys_expired: u64,
}

impl Progress {
    pub fn begin(&self, now_s: u64, total_bytes: u64) {
        self.start_time.store(now_s, Ordering::Relaxed);
        self.total_bytes.store(total_bytes, Ordering::Relaxed);
        for figure in
            [&self.loaded_bytes, &self.rdb_used_memory, &self.keys_loaded, &self.keys_expired, &self.errors]
        {
            figure.store(0, Ordering::Relaxed);
        }
    }

    pub fn loaded(&self, bytes: u64) {
        self.loaded_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn figures(&self) -> LoadFigures {
        let load = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
        LoadFigures {
            start_time: load(&self.start_time),
            total_bytes: load(&self.total_bytes),
            loaded_bytes: load(&self.loaded_bytes),
            rdb_used_memory: load(&self.rdb_used_memory),
            keys_loaded: load(&self.keys_loaded),
            keys_expired: load(&self.keys_expired),
        }
    }
}

impl LoadFigures {
    pub fn percent(&self) -> f64 {
        if self.total_bytes == 0 { 0.0 } else { self.loaded_bytes as f64 * 100.0 / self.total_bytes as f64 }
    }

    /// Seconds to go; one where nothing is known yet, as in Redis.
    pub fn eta_s(&self, now_s: u64) -> u64 {
        let elapsed = now_s.saturating_sub(self.start_time);
        if elapsed == 0 {
            return 1;
        }
        elapsed * self.total_bytes.saturating_sub(self.loaded_bytes) / (self.loaded_bytes + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_guessed_from_the_pace_so_far() {
        let progress = Progress::default();
        progress.begin(100, 1000);
        assert_eq!((progress.figures().percent(), progress.figures().eta_s(100)), (0.0, 1));
        progress.loaded(249);
        assert_eq!(progress.figures().eta_s(110), 30);
        progress.begin(0, 0);
        assert_eq!(progress.figures(), LoadFigures::default());
    }
}
