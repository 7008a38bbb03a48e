//! A child process that writes what the server held at the moment of the fork.
//!
//! Of the server's threads only the one that forked lives on in the child. It closes everything it has inherited
//! (rings, sockets, the log), may start threads of its own, and ends with `_exit`. It speaks to the server through
//! one page of shared memory and by its exit status.
//!
//! Invariants
//!   C1  The child touches no ring, no socket, no log, and takes no lock of the server's but the allocator's, which
//!       the fork handlers of the allocator and of the C library leave free in it.
//!   C2  A child is waited for exactly once, by whoever takes it out of `Status`.

use super::status::{ChildKind, Progress};
use std::io;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The exit status of a child that could not write.
const FAILED: i32 = 1;
/// Ends a child without that counting as an error, as in Redis.
const KILL_SIGNAL: i32 = libc::SIGUSR1;
const ERROR_BYTES: usize = 1024;

/// What a writer tells while it works, and at its end. In a child it lies in shared memory.
pub struct Report {
    pub keys_done: AtomicU64,
    pub bytes: AtomicU64,
    pub cow_bytes: AtomicU64,
    pub cow_peak_bytes: AtomicU64,
    /// When `cow_bytes` was measured, in Unix seconds.
    pub cow_at_s: AtomicU64,
    pub write_us: AtomicU64,
    /// Direct writes were refused.
    pub buffered: AtomicBool,
    error_length: AtomicU32,
    error: [std::sync::atomic::AtomicU8; ERROR_BYTES],
}

impl Default for Report {
    fn default() -> Self {
        Self {
            keys_done: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            cow_bytes: AtomicU64::new(0),
            cow_peak_bytes: AtomicU64::new(0),
            cow_at_s: AtomicU64::new(0),
            write_us: AtomicU64::new(0),
            buffered: AtomicBool::new(false),
            error_length: AtomicU32::new(0),
            error: [const { std::sync::atomic::AtomicU8::new(0) }; ERROR_BYTES],
        }
    }
}

impl Report {
    /// Why it failed; as much of it as there is room for.
    pub fn set_error(&self, text: &str) {
        let bytes = &text.as_bytes()[..text.len().min(ERROR_BYTES)];
        for (place, byte) in self.error.iter().zip(bytes) {
            place.store(*byte, Relaxed);
        }
        self.error_length.store(bytes.len() as u32, Relaxed);
    }

    pub fn error(&self) -> String {
        let length = self.error_length.load(Relaxed) as usize;
        let bytes: Vec<u8> =
            self.error[..length.min(ERROR_BYTES)].iter().map(|byte| byte.load(Relaxed)).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Measures the pages that parent and child no longer share.
    pub fn measure_cow(&self, now_s: u64) {
        let bytes = private_dirty_bytes();
        self.cow_bytes.store(bytes, Relaxed);
        self.cow_peak_bytes.fetch_max(bytes, Relaxed);
        self.cow_at_s.store(now_s, Relaxed);
    }
}

/// Bytes of pages that only this process has, and has not as they were: a parent that writes leaves the old page to
/// the child.
fn private_dirty_bytes() -> u64 {
    let Ok(text) = std::fs::read_to_string("/proc/self/smaps_rollup") else { return 0 };
    let line = text.lines().find_map(|line| line.strip_prefix("Private_Dirty:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

/// A report in memory that parent and child share.
struct SharedReport(NonNull<Report>);

// SAFETY: it is a pointer to atomics, and nothing in them is tied to a thread.
unsafe impl Send for SharedReport {}

impl SharedReport {
    fn new() -> io::Result<Self> {
        // SAFETY: a new mapping that concerns no other memory.
        let memory = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                size_of::<Report>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let report = NonNull::new(memory.cast::<Report>()).expect("no mapping begins at address 0");
        // SAFETY: the mapping is large enough, aligned to a page, and nobody else knows it yet.
        unsafe { report.write(Report::default()) };
        Ok(Self(report))
    }

    fn get(&self) -> &Report {
        // SAFETY: the mapping holds a `Report` until it is dropped.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for SharedReport {
    fn drop(&mut self) {
        // SAFETY: mapped with this size, and no reference outlives `self`.
        unsafe { libc::munmap(self.0.as_ptr().cast(), size_of::<Report>()) };
    }
}

pub struct Child {
    pub kind: ChildKind,
    pub pid: i32,
    pub keys_total: u64,
    /// Changes counted when it was forked.
    pub changes: u64,
    /// Where it writes before it renames.
    pub temporary: PathBuf,
    /// Whom to tell of the end, besides the figures.
    pub done: Option<Done>,
    report: SharedReport,
}

/// Told of a child's end, on the core that looks after it.
pub type Done = Box<dyn FnOnce(&mut crate::session::CoreState, &Ended) + Send>;

/// How a child has ended.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Ended {
    /// Everything is in its place and synced.
    pub succeeded: bool,
    /// It was told to stop; that is no error.
    pub killed: bool,
    pub signal: Option<i32>,
    pub error: String,
    pub bytes: u64,
    pub cow_bytes: u64,
    pub write_us: u64,
    pub buffered: bool,
}

/// What a child is to be.
pub struct ChildPlan {
    pub kind: ChildKind,
    pub keys_total: u64,
    pub changes: u64,
    /// By the child's process id.
    pub temporary: fn(i32) -> PathBuf,
    pub done: Option<Done>,
    /// As `taskset` writes it; empty: what the server's first thread may use.
    pub cpus: Vec<usize>,
}

/// Forks; `work` runs in the child, and says whether it succeeded. Also returns the microseconds the call took.
///
/// # Errors
/// What the system says; then there is no child.
pub fn fork(plan: ChildPlan, work: impl FnOnce(&Report, &Path) -> bool) -> io::Result<(Child, u64)> {
    let report = SharedReport::new()?;
    let cpus = cpu_set(&plan.cpus);
    let parent = std::process::id();
    let began = crate::base::Monotonic::now().0;
    // SAFETY: C1, the child does nothing that would need the other threads.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        settle(cpus, parent);
        let temporary = (plan.temporary)(std::process::id() as i32);
        // An unwinding child must not come back into the server's code.
        let outcome =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(report.get(), &temporary)));
        let status = if matches!(outcome, Ok(true)) { 0 } else { FAILED };
        // SAFETY: ends the process without the handlers and buffers that are the parent's.
        unsafe { libc::_exit(status) };
    }
    if pid < 0 {
        return Err(io::Error::last_os_error());
    }
    let microseconds = (crate::base::Monotonic::now().0 - began) / 1000;
    let ChildPlan { kind, keys_total, changes, temporary, done, .. } = plan;
    Ok((Child { kind, pid, keys_total, changes, temporary: temporary(pid), done, report }, microseconds))
}

/// How far the child stands back behind the cores while both want to run: about a quarter of a CPU is its own. Its further
/// threads stand back altogether (`snapshot::pace`).
const NICE: i32 = 5;
/// The first things a child does: it is a process of its own now.
fn settle(cpus: libc::cpu_set_t, parent: u32) {
    // SAFETY: each call gets valid pointers or plain numbers; what fails leaves the child as it was.
    unsafe {
        // Ends with the server, so that no old dump replaces a newer one after a crash and a quick restart.
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        if libc::getppid() as u32 != parent {
            libc::_exit(FAILED);
        }
        libc::prctl(libc::PR_SET_NAME, c"pinion-bgsave".as_ptr());
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::pthread_sigmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
        // A client whose socket stays open here would not see that the server has closed it.
        libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, 0u32);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &cpus);
    }
    stand_back(NICE);
}

/// Lets the calling thread, which a core has started, run where the server's first thread may.
pub fn leave_core() {
    let set = cpu_set(&[]);
    // SAFETY: the set lives through the call, which concerns this thread only; if it fails, it stays where it is.
    unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) };
}

/// Lets the calling thread stand back behind those that are less nice.
pub fn stand_back(nice: i32) {
    // SAFETY: plain numbers; on Linux it concerns the calling thread only. If the system refuses, it is scheduled as before.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) };
}

/// Lets the calling thread run only where a CPU has nothing else to do (SCHED_IDLE). `snapshot::pace` says why it has to yield
/// now and then all the same.
pub fn run_when_idle() {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: the structure lives through the call, which concerns the calling thread only. If the system refuses, the
    // thread is scheduled as before.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &parameters) };
}

/// For how long the calling thread has run.
pub fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel fills the structure; every thread has this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Lets the calling thread run on these CPUs only; on none: leaves it where it is.
pub fn run_on(cpus: &[usize]) {
    if !cpus.is_empty() {
        let set = cpu_set(cpus);
        // SAFETY: as in `leave_core`.
        unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) };
    }
}

/// The given CPUs, or those of the server's first thread: the one that forks is bound to its core's.
fn cpu_set(cpus: &[usize]) -> libc::cpu_set_t {
    // SAFETY: all-zero bytes are an empty set; the calls get pointers to it, and indices within it.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        if cpus.is_empty() {
            libc::sched_getaffinity(std::process::id() as i32, size_of::<libc::cpu_set_t>(), &mut set);
        }
        for cpu in cpus.iter().filter(|cpu| **cpu < libc::CPU_SETSIZE as usize) {
            libc::CPU_SET(*cpu, &mut set);
        }
        set
    }
}

impl Child {
    pub fn progress(&self, now_s: u64) -> Progress {
        let report = self.report.get();
        Progress {
            kind: Some(self.kind),
            keys_done: report.keys_done.load(Relaxed),
            keys_total: self.keys_total,
            bytes: report.bytes.load(Relaxed),
            cow_bytes: report.cow_bytes.load(Relaxed),
            cow_peak_bytes: report.cow_peak_bytes.load(Relaxed),
            cow_age_s: match report.cow_at_s.load(Relaxed) {
                0 => 0,
                at => now_s.saturating_sub(at),
            },
        }
    }

    /// Whether it has ended, and how. Must not be asked again then (C2).
    pub fn poll(&self) -> Option<Ended> {
        self.wait(libc::WNOHANG)
    }

    /// Waits until it has ended.
    pub fn join(&self) -> Ended {
        self.wait(0).unwrap_or_default()
    }

    fn wait(&self, options: i32) -> Option<Ended> {
        let mut status = 0;
        // SAFETY: the pointer is valid; the process is a child that nobody else waits for (C2).
        let pid = unsafe { libc::waitpid(self.pid, &mut status, options) };
        if pid == 0 {
            return None;
        }
        let report = self.report.get();
        let mut ended = Ended {
            error: report.error(),
            bytes: report.bytes.load(Relaxed),
            cow_bytes: report.cow_bytes.load(Relaxed),
            write_us: report.write_us.load(Relaxed),
            buffered: report.buffered.load(Relaxed),
            ..Ended::default()
        };
        if pid < 0 {
            ended.error = io::Error::last_os_error().to_string();
        } else if libc::WIFSIGNALED(status) {
            let signal = libc::WTERMSIG(status);
            (ended.signal, ended.killed) = (Some(signal), signal == KILL_SIGNAL);
        } else {
            ended.succeeded = libc::WEXITSTATUS(status) == 0;
        }
        Some(ended)
    }

    /// Tells it to stop; it is still to be waited for.
    pub fn kill(&self) {
        // SAFETY: the process has not been waited for, so the number is still its own.
        unsafe { libc::kill(self.pid, KILL_SIGNAL) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> ChildPlan {
        ChildPlan {
            kind: ChildKind::Rdb,
            keys_total: 3,
            changes: 0,
            temporary: |pid| PathBuf::from(format!("temp-{pid}.rdb")),
            done: None,
            cpus: Vec::new(),
        }
    }

    #[test]
    fn a_child_reports_through_shared_memory() {
        let (child, _) = fork(plan(), |report, path| {
            report.keys_done.store(2, Relaxed);
            report.set_error(&path.display().to_string());
            false
        })
        .expect("there is room for a process");
        let ended = child.join();
        assert!(!ended.succeeded && !ended.killed && ended.signal.is_none());
        assert_eq!(ended.error, child.temporary.display().to_string());
        assert_eq!(child.progress(0).keys_done, 2);
    }

    #[test]
    fn a_child_that_is_told_to_stop_has_not_failed() {
        let (child, _) = fork(plan(), |_, _| {
            loop {
                std::thread::park();
            }
        })
        .expect("there is room for a process");
        assert_eq!(child.poll(), None);
        child.kill();
        let ended = child.join();
        assert!(ended.killed && !ended.succeeded);
    }
}
