//! The thread that looks which cores have their CPUs, and tells those that have not to give connections away.
//!
//! Each core's thread is bound to a CPU, and stands back when it wakes up there (`process::wake_without_interrupting`): on a
//! CPU that somebody else uses, a benchmark on the same machine say, it waits for a slice of the scheduler again and
//! again. Its shard suffers little, since the other cores borrow it meanwhile (`mesh::lending`); its clients do. Ten
//! times a second this thread reads how long each core's thread has run and waited, and how much of each CPU was idle;
//! [`Plan`] decides; the cores look at their orders once per turn (`session::Moving`).

use super::balance_plan::{Plan, Reading};
use crate::base::Monotonic;
use crate::config::parameter::CONNECTION_BALANCING;
use crate::persistence::child;
use crate::session::{MoveOrder, Shared, WHOLE};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

const PERIOD: Duration = Duration::from_millis(100);
/// A reading of a shorter time says nothing.
const PERIOD_MIN_NS: u64 = 20_000_000;
/// Ticks of /proc/stat are hundredths of a second, whatever the kernel's own are.
const TICK_NS: f64 = 10_000_000.0;

/// Ends the thread when it is dropped, and waits for that.
pub struct Balance {
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Balance {
    fn drop(&mut self) {
        self.end.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the scheduler tells of the calling thread, also when another one reads it.
pub fn schedule_of_this_thread() -> io::Result<File> {
    File::open("/proc/thread-self/schedstat")
}

/// Starts the thread, on these CPUs if there are any. `None` if there is nothing to balance, or nothing is known about it.
///
/// # Errors
/// There can be no more threads.
pub fn start(
    shared: &Arc<Shared>,
    schedules: Vec<io::Result<File>>,
    cpus: Vec<usize>,
) -> io::Result<Option<Balance>> {
    let first = shared.cpus.first();
    if shared.cpus.iter().all(|cpu| Some(cpu) == first) {
        return Ok(None);
    }
    let sources = match Sources::new(schedules, &shared.cpus) {
        Ok(sources) => sources,
        Err(error) => {
            shared.log.notice(format!(
                "Connections stay on the cores to which they are dealt: the kernel does not tell how long threads wait \
                 for their CPUs ({error})"
            ));
            return Ok(None);
        }
    };
    let (end, ended) = mpsc::channel::<()>();
    let shared = shared.clone();
    let work = move || {
        child::run_on(&cpus);
        let mut balancing = Balancing { plan: Plan::new(&shared.cpus), sources, before: None };
        while ended.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
            balancing.look(&shared);
        }
    };
    let thread = std::thread::Builder::new().name("pinion-balance".into()).spawn(work)?;
    Ok(Some(Balance { end: Some(end), thread: Some(thread) }))
}

struct Balancing {
    plan: Plan,
    sources: Sources,
    before: Option<Seen>,
}

impl Balancing {
    fn look(&mut self, shared: &Shared) {
        let wanted = shared.config().get(CONNECTION_BALANCING);
        if !wanted || shared.total_connections() == 0 || shared.shutdown_requested().is_some() {
            if !wanted && self.before.is_some() {
                self.plan = Plan::new(&shared.cpus);
                self.tell_taken(shared);
            }
            self.before = None;
            return;
        }
        // A file that could be read once can be read again; if not, this period is left out.
        let Ok(seen) = self.sources.read() else { return };
        let Some(before) = &self.before else {
            self.before = Some(seen);
            return;
        };
        let nanoseconds = seen.at.0.saturating_sub(before.at.0);
        if nanoseconds < PERIOD_MIN_NS {
            return;
        }
        let counts = shared.connections.iter().map(|core| core.0.load(Ordering::Relaxed));
        let readings: Vec<Reading> = counts
            .enumerate()
            .map(|(core, connections)| seen.cores[core].since(&before.cores[core], nanoseconds, connections))
            .collect();
        self.before = Some(seen);
        for shift in self.plan.step(&readings) {
            let share = (shift.share * WHOLE as f64) as u64;
            let order = MoveOrder { to: shift.to, share, at_least_one: shift.at_least_one };
            shared.moving.order(shift.from, order);
        }
        self.tell_taken(shared);
    }

    fn tell_taken(&self, shared: &Shared) {
        for core in 0..shared.cpus.len() {
            shared.moving.set_taken(core, self.plan.is_taken(core));
        }
    }
}

/// Where the figures come from.
struct Sources {
    cpus: Vec<usize>,
    /// Of each core's thread.
    schedules: Vec<File>,
    /// /proc/stat
    cpu_times: File,
    text: Vec<u8>,
}

/// Figures of one moment, all from the start.
struct Seen {
    at: Monotonic,
    cores: Vec<Sums>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Sums {
    ran_ns: u64,
    waited_ns: u64,
    idle_ticks: u64,
}

impl Sums {
    fn since(&self, before: &Self, nanoseconds: u64, connections: usize) -> Reading {
        let share = |now: u64, then: u64, unit: f64| {
            (now.saturating_sub(then) as f64 * unit / nanoseconds as f64).clamp(0.0, 1.0)
        };
        Reading {
            connections,
            ran: share(self.ran_ns, before.ran_ns, 1.0),
            waited: share(self.waited_ns, before.waited_ns, 1.0),
            idle: share(self.idle_ticks, before.idle_ticks, TICK_NS),
        }
    }
}

impl Sources {
    /// Reads everything once: what is missing is missed at the start.
    fn new(schedules: Vec<io::Result<File>>, cpus: &[usize]) -> io::Result<Self> {
        let schedules = schedules.into_iter().collect::<io::Result<Vec<File>>>()?;
        let text = vec![0; 4096 + 256 * (cpus.iter().max().map_or(0, |cpu| cpu + 1))];
        let mut sources = Self { cpus: cpus.to_vec(), schedules, cpu_times: File::open("/proc/stat")?, text };
        let seen = sources.read()?;
        // Where the kernel does not keep these figures they are zero; a thread that has come so far has run.
        if seen.cores.iter().all(|core| core.ran_ns == 0) {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "schedstat is all zero"));
        }
        Ok(sources)
    }

    fn read(&mut self) -> io::Result<Seen> {
        let unknown =
            |what: &str| io::Error::new(io::ErrorKind::InvalidData, format!("{what} is not understood"));
        let at = Monotonic::now();
        let mut cores = Vec::with_capacity(self.cpus.len());
        for schedule in &self.schedules {
            let length = schedule.read_at(&mut self.text, 0)?;
            let (ran_ns, waited_ns) =
                run_and_wait(&self.text[..length]).ok_or_else(|| unknown("schedstat"))?;
            cores.push(Sums { ran_ns, waited_ns, idle_ticks: 0 });
        }
        let length = self.cpu_times.read_at(&mut self.text, 0)?;
        for (core, cpu) in cores.iter_mut().zip(&self.cpus) {
            let ticks = idle_ticks(&self.text[..length], *cpu);
            core.idle_ticks = ticks.ok_or_else(|| unknown("/proc/stat"))?;
        }
        Ok(Seen { at, cores })
    }
}

/// `<ns run> <ns waited> <slices>`.
fn run_and_wait(text: &[u8]) -> Option<(u64, u64)> {
    let mut words = str::from_utf8(text).ok()?.split_ascii_whitespace();
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

/// Of a line `cpu<number> <user> <nice> <system> <idle> <iowait> ...`. A CPU that waits for a disk is idle too.
fn idle_ticks(text: &[u8], cpu: usize) -> Option<u64> {
    // The end may be cut within a character of what follows the CPUs, or within the last line that is there.
    let name = format!("cpu{cpu}");
    for line in text.split(|byte| *byte == b'\n') {
        let Ok(line) = str::from_utf8(line) else { continue };
        let mut words = line.split_ascii_whitespace();
        if words.next() == Some(&name) {
            let idle: u64 = words.nth(3)?.parse().ok()?;
            let waits: u64 = words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
            return Some(idle + waits);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_texts_are_read() {
        assert_eq!(run_and_wait(b"123 45 6\n"), Some((123, 45)));
        assert!(
            [&b""[..], b"1", b"a b c", b"-1 2 3", b"\xff 1"].iter().all(|bad| run_and_wait(bad).is_none())
        );
        let stat = b"cpu  9 9 9 9 9\ncpu0 1 2 3 40 5 6 7\ncpu10 1 2 3 70\ncpu1 1 2 3 50 1\nintr \xff 7";
        assert_eq!(idle_ticks(stat, 0), Some(45));
        assert_eq!(idle_ticks(stat, 1), Some(51));
        assert_eq!(idle_ticks(stat, 10), Some(70));
        assert_eq!(idle_ticks(stat, 2), None);
        assert_eq!(idle_ticks(b"cpu0 1 2", 0), None);
    }

    #[test]
    fn readings_are_shares_of_the_time_between() {
        let before = Sums { ran_ns: 1000, waited_ns: 500, idle_ticks: 7 };
        let now = Sums { ran_ns: 50_001_000, waited_ns: 10_000_500, idle_ticks: 11 };
        let reading = now.since(&before, 100_000_000, 3);
        assert_eq!((reading.connections, reading.ran, reading.waited, reading.idle), (3, 0.5, 0.1, 0.4));
        let back = before.since(&now, 100_000_000, 3);
        assert_eq!((back.ran, back.idle), (0.0, 0.0), "a clock that went back");
    }

    #[test]
    fn this_machine_tells_how_a_thread_runs() {
        let schedules = vec![schedule_of_this_thread()];
        let cpu = *crate::server::placement::allowed_cpus().expect("some").first().expect("one");
        let Ok(mut sources) = Sources::new(schedules, &[cpu.id]) else { return };
        let before = sources.read().expect("it was read before");
        let mut sum = 0u64;
        while Monotonic::now().0 - before.at.0 < 30_000_000 {
            sum = std::hint::black_box(sum + 1);
        }
        let now = sources.read().expect("it was read before");
        assert!(now.cores[0].ran_ns > before.cores[0].ran_ns);
    }
}
