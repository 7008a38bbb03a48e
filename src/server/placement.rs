//! Which CPU each shard runs on.
//!
//! Distinct physical cores come before second hyperthreads, the first package before the next. More
//! shards than CPUs share them in turn, so that `shards 4` can be tried on a machine with two.

use crate::base::cpu_list;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use crate::config::Config;
use crate::config::parameter::{SERVER_CPULIST, SHARDS};

/// What the kernel tells about a CPU.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Cpu {
    pub id: usize,
    /// The physical core, unique within its package.
    pub core: usize,
    pub package: usize,
}

/// The CPU of each shard. `allowed` are the CPUs that the process may use.
pub fn plan(allowed: &[Cpu], config: &Config) -> Result<Vec<usize>, String> {
    let cpus = match config.get(SERVER_CPULIST) {
        None => allowed.to_vec(),
        Some(list) => chosen(allowed, list)?,
    };
    let shards = match config.get(SHARDS) {
        0 => cpus.len(),
        shards => shards as usize,
    };
    Ok(place(&cpus, shards))
}

fn chosen(allowed: &[Cpu], list: &[u8]) -> Result<Vec<Cpu>, String> {
    let text = String::from_utf8_lossy(list);
    let ids =
        cpu_list::parse(&text).ok_or_else(|| format!("server_cpulist '{text}' is not a list of CPUs"))?;
    let cpus: Vec<Cpu> = allowed.iter().filter(|cpu| ids.contains(&cpu.id)).copied().collect();
    if cpus.is_empty() {
        return Err(format!("server_cpulist '{text}' names no CPU that this process may use"));
    }
    Ok(cpus)
}

/// Deals `shards` out to the CPUs, best first.
fn place(cpus: &[Cpu], shards: usize) -> Vec<usize> {
    let mut cpus = cpus.to_vec();
    cpus.sort_by_key(|cpu| cpu.id);
    let mut siblings: BTreeMap<(usize, usize), usize> = BTreeMap::new();
    let mut ranked: Vec<_> = cpus
        .iter()
        .map(|cpu| {
            let earlier = siblings.entry((cpu.package, cpu.core)).or_default();
            *earlier += 1;
            (*earlier, cpu.package, cpu.id)
        })
        .collect();
    ranked.sort_unstable();
    ranked.iter().map(|(_, _, id)| *id).cycle().take(shards).collect()
}

/// The CPUs that this thread may use and that are online.
pub fn allowed_cpus() -> io::Result<Vec<Cpu>> {
    let status = fs::read_to_string("/proc/thread-self/status")?;
    let mask = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let mask = mask.and_then(cpu_list::parse).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, "/proc/thread-self/status tells no CPUs that may be used")
    })?;
    // A machine that hides its topology is taken to have every CPU online, each a core of its own.
    let online = fs::read_to_string("/sys/devices/system/cpu/online").ok();
    let online = online.as_deref().and_then(cpu_list::parse);
    let is_online = |id: &usize| online.as_ref().is_none_or(|online| online.contains(id));
    Ok(mask.into_iter().filter(is_online).map(describe).collect())
}

fn describe(id: usize) -> Cpu {
    let topology = format!("/sys/devices/system/cpu/cpu{id}/topology");
    let number = |file: &str| -> Option<usize> {
        fs::read_to_string(Path::new(&topology).join(file)).ok()?.trim().parse().ok()
    };
    Cpu { id, core: number("core_id").unwrap_or(id), package: number("physical_package_id").unwrap_or(0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::update::{Permission, set};

    /// Two packages of two cores of two threads, numbered as Linux usually does.
    fn two_packages() -> Vec<Cpu> {
        (0..8).map(|id| Cpu { id, core: id % 2, package: id / 2 % 2 }).collect()
    }

    #[test]
    fn physical_cores_come_before_second_threads() {
        assert_eq!(place(&two_packages(), 8), [0, 1, 2, 3, 4, 5, 6, 7]);
        let neighbours: Vec<Cpu> = (0..4).map(|id| Cpu { id, core: id / 2, package: 0 }).collect();
        assert_eq!(place(&neighbours, 4), [0, 2, 1, 3]);
        assert_eq!(place(&neighbours, 2), [0, 2]);
    }

    #[test]
    fn a_package_is_filled_before_the_next() {
        let interleaved: Vec<Cpu> = (0..4).map(|id| Cpu { id, core: id, package: id % 2 }).collect();
        assert_eq!(place(&interleaved, 2), [0, 2]);
    }

    #[test]
    fn more_shards_than_cpus_take_turns() {
        assert_eq!(place(&two_packages()[..2], 5), [0, 1, 0, 1, 0]);
    }

    #[test]
    fn every_cpu_is_used_once_before_any_twice() {
        for count in 1..=8 {
            let mut used = place(&two_packages()[..count], count);
            used.sort_unstable();
            assert_eq!(used, (0..count).collect::<Vec<_>>());
        }
    }

    #[test]
    fn zero_shards_are_one_per_cpu() {
        assert_eq!(plan(&two_packages(), &Config::default()).expect("no list").len(), 8);
    }

    #[test]
    fn a_list_restricts_the_cpus() {
        let shown = |list: &[u8]| chosen(&two_packages(), list).map(|cpus| place(&cpus, cpus.len()));
        assert_eq!(shown(b"1,5-7:2,99"), Ok(vec![1, 7, 5]), "5 is the second thread of 1");
        assert!(shown(b"99").is_err());
        assert!(shown(b"a").is_err());
        let shards: [(&[u8], &[u8]); 1] = [(b"shards", b"2")];
        assert!(set(&Config::default(), &shards, Permission::default()).is_err(), "fixed at the start");
    }
}
