//! `--check-system`: whether this machine can run the server well, and what to do where it cannot.
//!
//! [`gather`] reads the facts, [`check`] judges them, so that tests can make up machines.

use std::fs;
use std::io;

use crate::config::Config;
use crate::config::parameter::{MAXCLIENTS, TCP_BACKLOG};

/// What is known about the machine; `None` where it does not tell.
#[derive(Clone, Debug, Default)]
pub struct SystemFacts {
    /// Like `6.1.0-13-amd64`.
    pub kernel_release: String,
    pub ring: Ring,
    /// kernel.io_uring_disabled: 0 open, 1 for a group, 2 for nobody.
    pub io_uring_disabled: Option<u32>,
    /// System calls are filtered, as container runtimes do.
    pub seccomp_filter: bool,
    pub memlock: Option<Limit>,
    pub open_files: Option<Limit>,
    /// The choice between brackets: always, madvise or never.
    pub huge_pages: Option<String>,
    pub overcommit_memory: Option<u32>,
    pub somaxconn: Option<u32>,
    /// The distinct governors of all CPUs; empty where frequencies are not the guest's business.
    pub governors: Vec<String>,
    pub shards: u32,
    pub maxclients: u32,
    pub tcp_backlog: u32,
}

/// Whether a ring with the flags that the server uses could be made.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Ring {
    #[default]
    Works,
    /// The error number of the kernel.
    Refused(i32),
}

/// A resource limit; `u64::MAX` is "unlimited".
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limit {
    pub soft: u64,
    pub hard: u64,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Severity {
    Ok,
    /// Works, but not as well as it could.
    Warn,
    /// Does not work.
    Fail,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    pub severity: Severity,
    pub subject: &'static str,
    pub state: String,
    /// What to run or to write where.
    pub remedy: Option<String>,
}

impl Finding {
    fn ok(subject: &'static str, state: impl Into<String>) -> Self {
        Self { severity: Severity::Ok, subject, state: state.into(), remedy: None }
    }

    fn warn(subject: &'static str, state: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { severity: Severity::Warn, subject, state: state.into(), remedy: Some(remedy.into()) }
    }

    fn fail(subject: &'static str, state: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { severity: Severity::Fail, subject, state: state.into(), remedy: Some(remedy.into()) }
    }
}

const CHECKS: &[fn(&SystemFacts) -> Finding] =
    &[kernel, io_uring, locked_memory, open_files, huge_pages, overcommit, backlog, governor];

/// Judges everything, in the order in which it would stop a start.
pub fn check(facts: &SystemFacts) -> Vec<Finding> {
    CHECKS.iter().map(|check| check(facts)).collect()
}

/// The findings as text, and whether the server can run.
pub fn report(findings: &[Finding]) -> (String, bool) {
    let mut text = String::new();
    for Finding { severity, subject, state, remedy } in findings {
        let severity = match severity {
            Severity::Ok => "OK",
            Severity::Warn => "WARN",
            Severity::Fail => "FAIL",
        };
        text += &format!("{severity:<5} {subject:<14} {state}\n");
        if let Some(remedy) = remedy {
            text += &format!("{:<20} -> {remedy}\n", "");
        }
    }
    (text, findings.iter().all(|finding| finding.severity != Severity::Fail))
}

/// The first kernel with rings that defer their work to the thread that waits for it.
const KERNEL_MIN: (u32, u32) = (6, 1);

fn kernel(facts: &SystemFacts) -> Finding {
    const SUBJECT: &str = "kernel";
    let release = &facts.kernel_release;
    match version(release) {
        Some(version) if version >= KERNEL_MIN => Finding::ok(SUBJECT, format!("Linux {release}")),
        Some(_) => Finding::fail(
            SUBJECT,
            format!("Linux {release} is older than 6.1"),
            "install Linux 6.1 or later, for example: apt install -t bookworm-backports linux-image-amd64",
        ),
        None => Finding::warn(
            SUBJECT,
            format!("'{release}' tells no version"),
            "make sure that it is Linux 6.1 or later: uname -r",
        ),
    }
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|letter: char| !letter.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn io_uring(facts: &SystemFacts) -> Finding {
    const SUBJECT: &str = "io_uring";
    let number = match facts.ring {
        Ring::Works => return Finding::ok(SUBJECT, "rings with SINGLE_ISSUER and DEFER_TASKRUN work"),
        Ring::Refused(number) => number,
    };
    match (number, facts.io_uring_disabled) {
        (libc::EPERM, Some(disabled @ 1..)) => Finding::fail(
            SUBJECT,
            format!("kernel.io_uring_disabled is {disabled}"),
            "sysctl -w kernel.io_uring_disabled=0 (and the same line in /etc/sysctl.d/99-pinion.conf)",
        ),
        (libc::EPERM | libc::EACCES | libc::ENOSYS, _) if facts.seccomp_filter => Finding::fail(
            SUBJECT,
            "a seccomp filter, probably of a container, forbids io_uring",
            "allow io_uring_setup, io_uring_enter and io_uring_register in the container's seccomp profile, \
             or to try it out: docker run --security-opt seccomp=unconfined",
        ),
        (libc::ENOSYS, _) => Finding::fail(
            SUBJECT,
            "this kernel is built without io_uring",
            "use a kernel with CONFIG_IO_URING=y: grep IO_URING /boot/config-$(uname -r)",
        ),
        (libc::EINVAL, _) => Finding::fail(
            SUBJECT,
            "the kernel does not know SINGLE_ISSUER and DEFER_TASKRUN",
            "install Linux 6.1 or later",
        ),
        (libc::ENOMEM, _) => Finding::fail(
            SUBJECT,
            "no memory may be locked for a ring",
            "ulimit -l unlimited, or LimitMEMLOCK=infinity in the systemd unit",
        ),
        (libc::EMFILE | libc::ENFILE, _) => Finding::fail(
            SUBJECT,
            "no file descriptor is left for a ring",
            "ulimit -n 65536, or LimitNOFILE=65536 in the systemd unit",
        ),
        (number, _) => Finding::fail(
            SUBJECT,
            format!("a ring cannot be made: {}", io::Error::from_raw_os_error(number)),
            "ask the kernel log: dmesg | tail",
        ),
    }
}

/// Below this an executor refuses to start.
const MEMLOCK_MIN: u64 = 512 << 10;

/// What kernels since 5.16 allow by default.
const MEMLOCK_GOOD: u64 = 8 << 20;

fn locked_memory(facts: &SystemFacts) -> Finding {
    const SUBJECT: &str = "memlock";
    const REMEDY: &str = "ulimit -l unlimited, or LimitMEMLOCK=infinity in the systemd unit, \
         or docker run --ulimit memlock=-1";
    let Some(limit) = facts.memlock else {
        return Finding::warn(SUBJECT, "the limit is unknown", "ulimit -l");
    };
    let state = format!("{} of memory may be locked", size(limit.soft));
    match limit.soft {
        soft if soft < MEMLOCK_MIN => {
            Finding::fail(SUBJECT, format!("{state}, {} are needed", size(MEMLOCK_MIN)), REMEDY)
        }
        soft if soft < MEMLOCK_GOOD => Finding::warn(SUBJECT, state, REMEDY),
        _ => Finding::ok(SUBJECT, state),
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        u64::MAX => "any amount".to_owned(),
        bytes if bytes >= 1 << 20 => format!("{} MiB", bytes >> 20),
        bytes => format!("{} KiB", bytes >> 10),
    }
}

fn open_files(facts: &SystemFacts) -> Finding {
    const SUBJECT: &str = "open files";
    let Some(limit) = facts.open_files else {
        return Finding::warn(SUBJECT, "the limit is unknown", "ulimit -n");
    };
    let plan = plan_descriptors(facts.maxclients, facts.shards, limit);
    if plan.maxclients < facts.maxclients {
        return Finding::warn(
            SUBJECT,
            format!(
                "at most {} open files leave room for {} of {} clients",
                limit.hard, plan.maxclients, facts.maxclients
            ),
            format!("ulimit -n {0}, or LimitNOFILE={0} in the systemd unit", plan.needed),
        );
    }
    let state = match plan.raise_to {
        Some(raised) => format!("the limit of {} is raised to {raised} at the start", limit.soft),
        None => format!("{} are allowed, {} are needed", count(limit.soft), plan.needed),
    };
    Finding::ok(SUBJECT, state)
}

fn count(number: u64) -> String {
    if number == u64::MAX { "any number".to_owned() } else { number.to_string() }
}

/// Files beside those of clients: logs, listeners, snapshots, links to other servers.
const DESCRIPTORS_OF_SERVER: u64 = 32;

/// Rings, event and timer descriptors of one core.
const DESCRIPTORS_OF_SHARD: u64 = 16;

/// How the limit of open files and the number of clients fit together.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DescriptorPlan {
    /// Descriptors for all clients that are configured.
    pub needed: u64,
    /// The soft limit to set, if it must be raised.
    pub raise_to: Option<u64>,
    /// As many clients as there can be, at most those that are configured. Zero: the server cannot start.
    pub maxclients: u32,
}

/// As Redis does it: raise the limit, and where that is not allowed serve fewer clients.
pub fn plan_descriptors(maxclients: u32, shards: u32, limit: Limit) -> DescriptorPlan {
    let reserved = DESCRIPTORS_OF_SERVER + DESCRIPTORS_OF_SHARD * u64::from(shards.max(1));
    let needed = u64::from(maxclients) + reserved;
    let reachable = needed.min(limit.hard.max(limit.soft));
    let clients = u32::try_from(reachable.saturating_sub(reserved)).expect("at most maxclients");
    DescriptorPlan { needed, raise_to: (reachable > limit.soft).then_some(reachable), maxclients: clients }
}

impl DescriptorPlan {
    /// What the log says when fewer clients than configured can be served.
    pub fn warning(&self, maxclients: u32, limit: Limit) -> Option<String> {
        (self.maxclients < maxclients).then(|| {
            format!(
                "maxclients {maxclients} needs {} open files, but only {} are allowed, \
                 so maxclients is now {}. If you need more clients, increase 'ulimit -n'.",
                self.needed,
                limit.hard.max(limit.soft),
                self.maxclients
            )
        })
    }
}

fn huge_pages(facts: &SystemFacts) -> Finding {
    const SUBJECT: &str = "huge pages";
    match facts.huge_pages.as_deref() {
        Some("always") => Finding::warn(
            SUBJECT,
            "transparent huge pages are always used, which costs memory and makes snapshots slow",
            "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled \
             (at boot: transparent_hugepage=madvise on the kernel command line)",
        ),
        Some(choice) => Finding::ok(SUBJECT, format!("transparent huge pages: {choice}")),
        None => Finding::ok(SUBJECT, "transparent huge pages: not in this kernel"),
    }
}

fn overcommit(facts: &SystemFacts) -> Finding {
    const SUBJECT: &str = "overcommit";
    match facts.overcommit_memory {
        Some(1) => Finding::ok(SUBJECT, "vm.overcommit_memory is 1"),
        Some(choice) => Finding::warn(
            SUBJECT,
            format!("vm.overcommit_memory is {choice}: allocations can fail while memory is left"),
            "sysctl -w vm.overcommit_memory=1 (and the same line in /etc/sysctl.d/99-pinion.conf)",
        ),
        None => Finding::warn(SUBJECT, "vm.overcommit_memory is unknown", "sysctl vm.overcommit_memory"),
    }
}

fn backlog(facts: &SystemFacts) -> Finding {
    const SUBJECT: &str = "backlog";
    let wanted = facts.tcp_backlog;
    match facts.somaxconn {
        Some(most) if most < wanted => Finding::warn(
            SUBJECT,
            format!("tcp-backlog is {wanted}, but net.core.somaxconn allows {most} waiting connections"),
            format!(
                "sysctl -w net.core.somaxconn={wanted} (and the same line in /etc/sysctl.d/99-pinion.conf)"
            ),
        ),
        Some(most) => Finding::ok(SUBJECT, format!("net.core.somaxconn is {most}, tcp-backlog is {wanted}")),
        None => Finding::warn(SUBJECT, "net.core.somaxconn is unknown", "sysctl net.core.somaxconn"),
    }
}

fn governor(facts: &SystemFacts) -> Finding {
    const SUBJECT: &str = "CPU governor";
    if facts.governors.is_empty() {
        return Finding::ok(SUBJECT, "frequencies are not set by this system");
    }
    let governors = facts.governors.join(", ");
    match facts.governors.iter().all(|governor| governor == "performance") {
        true => Finding::ok(SUBJECT, governors),
        false => Finding::warn(
            SUBJECT,
            format!("{governors}: CPUs slow down between requests"),
            "cpupower frequency-set -g performance",
        ),
    }
}

/// Reads the facts. `shards` is how many there will be.
pub fn gather(config: &Config, shards: u32) -> SystemFacts {
    let limits = read("/proc/self/limits").unwrap_or_default();
    SystemFacts {
        kernel_release: read("/proc/sys/kernel/osrelease").unwrap_or_default(),
        ring: try_ring(),
        io_uring_disabled: number("/proc/sys/kernel/io_uring_disabled"),
        seccomp_filter: seccomp_filters(&read("/proc/self/status").unwrap_or_default()),
        memlock: limit(&limits, "Max locked memory"),
        open_files: limit(&limits, "Max open files"),
        huge_pages: read("/sys/kernel/mm/transparent_hugepage/enabled").as_deref().and_then(chosen),
        overcommit_memory: number("/proc/sys/vm/overcommit_memory"),
        somaxconn: number("/proc/sys/net/core/somaxconn"),
        governors: governors(),
        shards,
        maxclients: config.get(MAXCLIENTS),
        tcp_backlog: config.get(TCP_BACKLOG),
    }
}

fn read(path: &str) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

fn number(path: &str) -> Option<u32> {
    read(path)?.parse().ok()
}

fn try_ring() -> Ring {
    const ENTRIES: u32 = 8;
    let mut builder = io_uring::IoUring::<io_uring::squeue::Entry, io_uring::cqueue::Entry>::builder();
    let ring = builder.setup_single_issuer().setup_defer_taskrun().build(ENTRIES);
    match ring {
        Ok(_) => Ring::Works,
        Err(error) => Ring::Refused(error.raw_os_error().unwrap_or(libc::EIO)),
    }
}

fn seccomp_filters(status: &str) -> bool {
    let mode = status.lines().find_map(|line| line.strip_prefix("Seccomp:"));
    mode.is_some_and(|mode| mode.trim() == "2")
}

/// The line of /proc/self/limits that begins with `name`.
fn limit(limits: &str, name: &str) -> Option<Limit> {
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    let mut numbers = line.split_whitespace().map(|word| match word {
        "unlimited" => Some(u64::MAX),
        word => word.parse().ok(),
    });
    Some(Limit { soft: numbers.next()??, hard: numbers.next()?? })
}

/// The word between brackets.
fn chosen(text: &str) -> Option<String> {
    let (_, after) = text.split_once('[')?;
    Some(after.split_once(']')?.0.to_owned())
}

fn governors() -> Vec<String> {
    let Ok(cpus) = fs::read_dir("/sys/devices/system/cpu") else { return Vec::new() };
    let path = |cpu: fs::DirEntry| cpu.path().join("cpufreq/scaling_governor");
    let governor = |cpu: fs::DirEntry| Some(fs::read_to_string(path(cpu)).ok()?.trim().to_owned());
    let mut governors: Vec<String> = cpus.filter_map(|cpu| governor(cpu.ok()?)).collect();
    governors.sort();
    governors.dedup();
    governors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good_machine() -> SystemFacts {
        let unlimited = Limit { soft: u64::MAX, hard: u64::MAX };
        SystemFacts {
            kernel_release: "6.1.0-13-amd64".to_owned(),
            ring: Ring::Works,
            io_uring_disabled: Some(0),
            seccomp_filter: false,
            memlock: Some(unlimited),
            open_files: Some(unlimited),
            huge_pages: Some("madvise".to_owned()),
            overcommit_memory: Some(1),
            somaxconn: Some(4096),
            governors: vec!["performance".to_owned()],
            shards: 2,
            maxclients: 10_000,
            tcp_backlog: 511,
        }
    }

    /// The finding about `subject` on a good machine with one fault.
    fn finding(subject: &str, fault: impl FnOnce(&mut SystemFacts)) -> Finding {
        let mut facts = good_machine();
        fault(&mut facts);
        let findings = check(&facts);
        let about = |finding: &Finding| finding.subject == subject;
        let others = findings.iter().filter(|finding| !about(finding));
        assert!(others.into_iter().all(|finding| finding.severity == Severity::Ok), "{findings:?}");
        findings.into_iter().find(about).expect("a known subject")
    }

    fn expect(finding: Finding, severity: Severity, remedy: &str) {
        assert_eq!(finding.severity, severity, "{finding:?}");
        assert!(finding.remedy.as_deref().is_some_and(|text| text.contains(remedy)), "{finding:?}");
    }

    #[test]
    fn a_good_machine_is_all_right() {
        let findings = check(&good_machine());
        assert!(findings.iter().all(|finding| finding.severity == Severity::Ok), "{findings:?}");
        let (text, runs) = report(&findings);
        assert!(runs && text.lines().count() == findings.len(), "{text}");
    }

    #[test]
    fn old_kernels_fail() {
        for release in ["5.15.0-91-generic", "6.0.19"] {
            expect(
                finding("kernel", |facts| facts.kernel_release = release.to_owned()),
                Severity::Fail,
                "6.1",
            );
        }
        for release in ["6.1", "6.12.3+", "10.0.1"] {
            let finding = finding("kernel", |facts| facts.kernel_release = release.to_owned());
            assert_eq!(finding.severity, Severity::Ok, "{release}");
        }
        expect(finding("kernel", |facts| facts.kernel_release = "?".to_owned()), Severity::Warn, "uname -r");
    }

    #[test]
    fn each_reason_for_no_ring_has_its_remedy() {
        let refused = |number, disabled, filter| {
            finding("io_uring", |facts| {
                facts.ring = Ring::Refused(number);
                facts.io_uring_disabled = Some(disabled);
                facts.seccomp_filter = filter;
            })
        };
        expect(refused(libc::EPERM, 2, true), Severity::Fail, "kernel.io_uring_disabled=0");
        expect(refused(libc::EPERM, 0, true), Severity::Fail, "seccomp");
        expect(refused(libc::ENOSYS, 0, true), Severity::Fail, "seccomp");
        expect(refused(libc::ENOSYS, 0, false), Severity::Fail, "CONFIG_IO_URING");
        expect(refused(libc::EINVAL, 0, false), Severity::Fail, "6.1");
        expect(refused(libc::ENOMEM, 0, false), Severity::Fail, "memlock".to_uppercase().as_str());
        expect(refused(libc::EMFILE, 0, false), Severity::Fail, "ulimit -n");
        expect(refused(libc::EIO, 0, false), Severity::Fail, "dmesg");
    }

    #[test]
    fn memory_to_lock() {
        let with = |soft| finding("memlock", |facts| facts.memlock = Some(Limit { soft, hard: soft }));
        expect(with(64 << 10), Severity::Fail, "LimitMEMLOCK");
        expect(with(1 << 20), Severity::Warn, "LimitMEMLOCK");
        assert_eq!(with(8 << 20).severity, Severity::Ok);
    }

    #[test]
    fn few_open_files_are_raised_or_cost_clients() {
        let plan = |soft, hard| plan_descriptors(10_000, 2, Limit { soft, hard });
        assert_eq!(
            plan(20_000, 20_000),
            DescriptorPlan { needed: 10_064, raise_to: None, maxclients: 10_000 }
        );
        assert_eq!(plan(1024, 20_000).raise_to, Some(10_064));
        assert_eq!(
            plan(1024, 4096),
            DescriptorPlan { needed: 10_064, raise_to: Some(4096), maxclients: 4032 }
        );
        assert_eq!(plan(1024, 1024), DescriptorPlan { needed: 10_064, raise_to: None, maxclients: 960 });
        assert_eq!(plan(10, 10).maxclients, 0);
        let few = Limit { soft: 1024, hard: 4096 };
        let warning = plan(1024, 4096).warning(10_000, few).expect("fewer clients");
        assert!(warning.contains("maxclients is now 4032"), "{warning}");
        assert_eq!(plan(1024, 20_000).warning(10_000, few), None);

        let with = |soft, hard| finding("open files", |facts| facts.open_files = Some(Limit { soft, hard }));
        expect(with(1024, 4096), Severity::Warn, "ulimit -n 10064");
        assert_eq!(with(1024, 20_000).severity, Severity::Ok);
    }

    #[test]
    fn settings_of_the_kernel_are_warnings() {
        expect(
            finding("huge pages", |facts| facts.huge_pages = Some("always".into())),
            Severity::Warn,
            "madvise",
        );
        expect(
            finding("overcommit", |facts| facts.overcommit_memory = Some(0)),
            Severity::Warn,
            "overcommit_memory=1",
        );
        expect(finding("backlog", |facts| facts.somaxconn = Some(128)), Severity::Warn, "somaxconn=511");
        let slow = vec!["performance".to_owned(), "powersave".to_owned()];
        expect(finding("CPU governor", |facts| facts.governors = slow), Severity::Warn, "cpupower");
    }

    #[test]
    fn only_failures_stop_the_server() {
        let mut facts = good_machine();
        facts.overcommit_memory = Some(0);
        let (text, runs) = report(&check(&facts));
        assert!(runs && text.contains("-> sysctl -w vm.overcommit_memory=1"), "{text}");
        facts.ring = Ring::Refused(libc::EPERM);
        assert!(!report(&check(&facts)).1);
    }

    #[test]
    fn facts_are_read_as_the_kernel_writes_them() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max open files            1024                 524288               files     \n\
                      Max locked memory         unlimited            unlimited            bytes     \n";
        assert_eq!(limit(limits, "Max open files"), Some(Limit { soft: 1024, hard: 524_288 }));
        assert_eq!(limit(limits, "Max locked memory"), Some(Limit { soft: u64::MAX, hard: u64::MAX }));
        assert_eq!(limit(limits, "Max processes"), None);
        assert_eq!(chosen("always [madvise] never").as_deref(), Some("madvise"));
        assert!(seccomp_filters("Name:\tx\nSeccomp:\t2\nSeccomp_filters:\t1\n"));
        assert!(!seccomp_filters("Seccomp:\t0\n"));
    }
}
