//! What the operating system says about this process: processor time, memory, limits. Its calls are behind
//! plain functions here; none of them can fail in a way that a report should end for.

use rlimit::Resource;
use std::fs;

/// Processor time in microseconds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct CpuTime {
    pub user_us: u64,
    pub system_us: u64,
}

impl CpuTime {
    pub fn add(&mut self, other: Self) {
        self.user_us += other.user_us;
        self.system_us += other.system_us;
    }

    pub fn total_us(self) -> u64 {
        self.user_us + self.system_us
    }
}

/// Whose processor time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Whose {
    Process,
    /// Children that have ended and were waited for.
    Children,
    /// The calling thread.
    Thread,
}

pub fn cpu_time(whose: Whose) -> CpuTime {
    let who = match whose {
        Whose::Process => libc::RUSAGE_SELF,
        Whose::Children => libc::RUSAGE_CHILDREN,
        Whose::Thread => libc::RUSAGE_THREAD,
    };
    // SAFETY: all-zero bytes are a valid structure, and the call gets a pointer to it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(who, &mut usage);
        usage
    };
    let micros = |time: libc::timeval| time.tv_sec as u64 * 1_000_000 + time.tv_usec as u64;
    CpuTime { user_us: micros(usage.ru_utime), system_us: micros(usage.ru_stime) }
}

/// Memory of the process that is in RAM.
pub fn resident_bytes() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|line| line.split(' ').nth(1)?.parse::<u64>().ok());
    pages.unwrap_or(0) * page_bytes()
}

/// Memory of the machine.
pub fn system_bytes() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kilobytes = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

fn page_bytes() -> u64 {
    // SAFETY: the call only reads a constant of the system.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(bytes).unwrap_or(4096)
}

/// `Linux 6.1.0 x86_64`.
pub fn operating_system() -> String {
    let word =
        |path| fs::read_to_string(path).map_or_else(|_| "unknown".into(), |word| word.trim().to_owned());
    let (name, release) = (word("/proc/sys/kernel/ostype"), word("/proc/sys/kernel/osrelease"));
    format!("{name} {release} {}", std::env::consts::ARCH)
}

/// Lets the process open `wanted` files if the system allows; returns how many it may open now.
pub fn raise_open_files(wanted: u64) -> u64 {
    let Ok((soft, hard)) = Resource::NOFILE.get() else { return wanted };
    // Beyond the hard limit only a privileged process gets.
    if soft < wanted && Resource::NOFILE.set(wanted, hard.max(wanted)).is_err() {
        // Then as far as it goes; what became of it is read below.
        let _ = Resource::NOFILE.set(wanted.min(hard), hard);
    }
    Resource::NOFILE.get().map_or(wanted, |(soft, _)| soft)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_knows_this_process() {
        assert!(resident_bytes() > 0 && system_bytes() > resident_bytes());
        assert!(operating_system().starts_with("Linux "));
        let before = cpu_time(Whose::Thread);
        assert!(cpu_time(Whose::Process).total_us() >= before.total_us());
        assert!(raise_open_files(1) >= 1);
    }
}
