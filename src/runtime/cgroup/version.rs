//! The two versions of control groups behind one trait: how a limit is set and how use is read.

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::cgroup::dir::Dir;
use crate::runtime::cgroup::limits::{self, Limit, Max};
use std::fmt::Debug;

/// What differs between the versions. Chosen for each hierarchy.
pub trait Version: Debug {
    /// Prepares a new group, before any process is in it.
    ///
    /// # Errors
    /// The failed write.
    fn prepare(&self, op: &'static str, dir: &Dir) -> Result<()>;

    /// Sets a limit and reads it back.
    ///
    /// # Errors
    /// The failed write; a value that the kernel did not take; a limit that this version does not have.
    fn set(&self, op: &'static str, dir: &Dir, limit: &Limit) -> Result<()>;

    /// The use of memory now, in bytes.
    fn memory_current(&self, dir: &Dir) -> Option<u64>;
    /// The greatest use of memory so far, in bytes.
    fn memory_peak(&self, dir: &Dir) -> Option<u64>;
    /// How many processes the memory controller has killed.
    fn oom_kills(&self, dir: &Dir) -> Option<u64>;
    /// The limits in force, by the names of version 2; `max` where there is none.
    fn limits(&self, dir: &Dir) -> Vec<(&'static str, String)>;
}

/// The implementation for a version number.
#[must_use]
pub fn of(version: u8) -> &'static dyn Version {
    if version == 2 { &V2 } else { &V1 }
}

/// Control groups version 2 (cgroup-v2.rst of the kernel).
#[derive(Debug)]
struct V2;

impl Version for V2 {
    fn prepare(&self, _op: &'static str, _dir: &Dir) -> Result<()> {
        Ok(())
    }

    fn set(&self, op: &'static str, dir: &Dir, limit: &Limit) -> Result<()> {
        let (value, expected) = match limit {
            Limit::Memory(value) | Limit::Swap(value) | Limit::MemoryHigh(value) => {
                (show(*value, "max"), show(value.map(pages), "max"))
            }
            Limit::Pids(value) => same(show(*value, "max")),
            Limit::Cpu { quota, period } => same(format!("{} {period}", show(*quota, "max"))),
            Limit::CpuWeight(weight) => same(weight.to_string()),
            Limit::CpusetCpus(list) | Limit::CpusetMems(list) => same(as_shown(list)),
        };
        dir.set(op, limit.file(), &value, &expected)
    }

    fn memory_current(&self, dir: &Dir) -> Option<u64> {
        dir.number("memory.current")
    }

    fn memory_peak(&self, dir: &Dir) -> Option<u64> {
        dir.number("memory.peak")
    }

    fn oom_kills(&self, dir: &Dir) -> Option<u64> {
        dir.field("memory.events", "oom_kill")
    }

    fn limits(&self, dir: &Dir) -> Vec<(&'static str, String)> {
        const FILES: [&str; 8] = [
            "memory.max",
            "memory.swap.max",
            "memory.high",
            "pids.max",
            "cpu.max",
            "cpu.weight",
            "cpuset.cpus",
            "cpuset.mems",
        ];
        FILES.into_iter().filter_map(|name| Some((name, dir.read("cgroup.limits", name).ok()?))).collect()
    }
}

/// Control groups version 1 (the `cgroup-v1` folder of the kernel's documentation).
#[derive(Debug)]
struct V1;

impl Version for V1 {
    fn prepare(&self, op: &'static str, dir: &Dir) -> Result<()> {
        if !dir.has("cpuset") {
            return Ok(());
        }
        // A version 1 cpuset is born empty, and nothing can enter it then: it starts with what its parent has.
        let parent = dir.path.parent().unwrap_or(&dir.path);
        let parent = Dir::open(op, parent, 1, &dir.controllers)?;
        for name in ["cpuset.cpus", "cpuset.mems"] {
            if dir.read(op, name)?.is_empty() {
                dir.write(op, name, &parent.read(op, name)?)?;
            }
        }
        Ok(())
    }

    fn set(&self, op: &'static str, dir: &Dir, limit: &Limit) -> Result<()> {
        match limit {
            Limit::Memory(value) => set_memory(op, dir, *value),
            Limit::Swap(value) => set_swap(op, dir, *value),
            Limit::MemoryHigh(_) => {
                Err(untranslated(op, "memory.high", "it throttles; version 1 can only kill"))
            }
            Limit::Pids(value) => {
                let text = show(*value, "max");
                dir.set(op, "pids.max", &text, &text)
            }
            Limit::Cpu { quota, period } => {
                let (quota, period) = (show(*quota, "-1"), period.to_string());
                dir.set(op, "cpu.cfs_period_us", &period, &period)?;
                dir.set(op, "cpu.cfs_quota_us", &quota, &quota)
            }
            Limit::CpuWeight(weight) => {
                // 100 of 10000 is 1024 of 262144: both are the default. The least that the kernel holds is 2.
                let shares = (weight * 1024 / 100).max(2).to_string();
                dir.set(op, "cpu.shares", &shares, &shares)
            }
            Limit::CpusetCpus(list) => dir.set(op, "cpuset.cpus", list, &as_shown(list)),
            Limit::CpusetMems(list) => dir.set(op, "cpuset.mems", list, &as_shown(list)),
        }
    }

    fn memory_current(&self, dir: &Dir) -> Option<u64> {
        dir.number("memory.usage_in_bytes")
    }

    fn memory_peak(&self, dir: &Dir) -> Option<u64> {
        dir.number("memory.max_usage_in_bytes")
    }

    fn oom_kills(&self, dir: &Dir) -> Option<u64> {
        dir.field("memory.oom_control", "oom_kill")
    }

    fn limits(&self, dir: &Dir) -> Vec<(&'static str, String)> {
        let limited = |bytes: u64| if bytes >= UNLIMITED { "max".to_owned() } else { bytes.to_string() };
        let memory = dir.number(MEMORY);
        let swap = dir.number(MEMORY_AND_SWAP).zip(memory).map(|(sum, memory)| match sum {
            UNLIMITED.. => "max".to_owned(),
            _ => sum.saturating_sub(memory).to_string(),
        });
        let quota = dir.read("cgroup.limits", "cpu.cfs_quota_us").ok();
        let cpu = quota.zip(dir.number("cpu.cfs_period_us")).map(|(quota, period)| match quota.as_str() {
            "-1" => format!("max {period}"),
            _ => format!("{quota} {period}"),
        });
        let text = |name| dir.read("cgroup.limits", name).ok();
        let found = [
            ("memory.max", memory.map(limited)),
            ("memory.swap.max", swap),
            ("pids.max", text("pids.max")),
            ("cpu.max", cpu),
            ("cpu.weight", dir.number("cpu.shares").map(|shares| ((shares * 100 + 512) / 1024).to_string())),
            ("cpuset.cpus", text("cpuset.cpus")),
            ("cpuset.mems", text("cpuset.mems")),
        ];
        found.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

const MEMORY: &str = "memory.limit_in_bytes";
const MEMORY_AND_SWAP: &str = "memory.memsw.limit_in_bytes";
/// What version 1 shows for "no limit": the greatest number of pages of a signed 64-bit size.
const UNLIMITED: u64 = 0x7fff_ffff_ffff_f000;

/// What version 2 limits stays as it is: swap alone. So the sum moves along with memory, and before it where it is
/// raised, because memory must never be above the sum.
fn set_memory(op: &'static str, dir: &Dir, value: Max) -> Result<()> {
    let new = value.map_or(UNLIMITED, pages);
    let set = || dir.set(op, MEMORY, &show(value, "-1"), &new.to_string());
    let (Some(before), Some(together)) = (dir.number(MEMORY), dir.number(MEMORY_AND_SWAP)) else {
        return set();
    };
    if together >= UNLIMITED {
        return set();
    }
    let sum = new.saturating_add(together.saturating_sub(before)).min(UNLIMITED);
    let text = if sum == UNLIMITED { "-1".to_owned() } else { sum.to_string() };
    let set_sum = || dir.set(op, MEMORY_AND_SWAP, &text, &sum.to_string());
    if sum > together { set_sum().and_then(|()| set()) } else { set().and_then(|()| set_sum()) }
}

/// Version 1 limits memory and swap together; version 2 swap alone.
fn set_swap(op: &'static str, dir: &Dir, value: Max) -> Result<()> {
    let memory = dir.number(MEMORY).unwrap_or(UNLIMITED);
    let sum = value.filter(|_| memory < UNLIMITED).and_then(|swap| memory.checked_add(swap));
    let expected = sum.map_or(UNLIMITED, pages).to_string();
    dir.set(op, MEMORY_AND_SWAP, &show(sum, "-1"), &expected)
}

fn untranslated(op: &'static str, name: &str, why: &str) -> Error {
    let what = format!("{name} has no counterpart in control groups version 1: {why}");
    Error::new(ErrorKind::Unsupported, op, what)
        .hint("this host has the controller on version 1 (`cgroup::info()`)")
}

/// The kernel counts memory in whole pages, and rounds down.
fn pages(bytes: u64) -> u64 {
    let page = rustix::param::page_size() as u64;
    (bytes / page * page).min(UNLIMITED)
}

fn show(value: Max, unlimited: &str) -> String {
    value.map_or_else(|| unlimited.to_owned(), |value| value.to_string())
}

/// How the kernel shows a list of processors or memory nodes. Limits are checked before they are set.
fn as_shown(list: &str) -> String {
    limits::canonical(list).unwrap_or_else(|| list.to_owned())
}

fn same(text: String) -> (String, String) {
    (text.clone(), text)
}
