//! Control groups version 1 (the `cgroup-v1` folder of the kernel's documentation), told in the terms of version 2.

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::cgroup::devices;
use crate::runtime::cgroup::dir::Dir;
use crate::runtime::cgroup::io::{Device, IoMax};
use crate::runtime::cgroup::limits::{Limit, Max};
use crate::runtime::cgroup::v2::{bfq, same_list, whole_disk};
use crate::runtime::cgroup::version::{UNLIMITED, Version, check_within, huge_pages, pages, show};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Version 1.
#[derive(Debug)]
pub struct V1;

impl Version for V1 {
    fn prepare(&self, op: &'static str, parent: &Dir, dir: &Dir) -> Result<()> {
        if !dir.has("cpuset") {
            return Ok(());
        }
        // A version 1 cpuset is born empty, and nothing can enter it then: it starts with what its parent has.
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
            Limit::MemoryLow(value) => {
                let expected = value.map_or(UNLIMITED, pages).to_string();
                dir.set(op, "memory.soft_limit_in_bytes", &show(*value, "-1"), &expected)
            }
            Limit::MemoryHigh(_) => {
                Err(untranslated(op, "memory.high", "it throttles; version 1 can only kill"))
            }
            Limit::MemoryMin(_) => {
                Err(untranslated(op, "memory.min", "version 1 protects nothing in any case"))
            }
            Limit::OomGroup(_) => {
                Err(untranslated(op, "memory.oom.group", "version 1 kills one process at a time"))
            }
            Limit::Pids(value) => {
                let text = show(*value, "max");
                dir.set(op, "pids.max", &text, &text)
            }
            Limit::Cpu { quota, period } => set_cpu(op, dir, *quota, *period),
            Limit::CpuWeight(weight) => {
                // 100 of 10000 is 1024 of 262144: both are the default. The least that the kernel holds is 2.
                let shares = (weight * 1024 / 100).max(2).to_string();
                dir.set(op, "cpu.shares", &shares, &shares)
            }
            Limit::CpusetCpus(list) => set_list(op, dir, "cpuset.cpus", list),
            Limit::CpusetMems(list) => set_list(op, dir, "cpuset.mems", list),
            Limit::Io(device, max) => set_io(op, dir, *device, max),
            Limit::IoWeight(device, weight) => set_io_weight(op, dir, *device, *weight),
            Limit::Devices(rules) => devices::set_v1(op, dir, rules),
            Limit::Hugetlb(size, value) => {
                let file = format!("hugetlb.{size}.limit_in_bytes");
                let expected = value.map_or(UNLIMITED, |value| huge_pages(size, value)).to_string();
                dir.set(op, &file, &show(*value, "-1"), &expected)
            }
            Limit::Raw(file, value) => set_raw(op, dir, file, value),
        }
    }

    fn memory_current(&self, dir: &Dir) -> Option<u64> {
        dir.number("memory.usage_in_bytes")
    }

    fn memory_peak(&self, dir: &Dir) -> Option<u64> {
        dir.number("memory.max_usage_in_bytes")
    }

    fn swap_current(&self, dir: &Dir, memory: Option<u64>) -> Option<u64> {
        let sum = dir.number("memory.memsw.usage_in_bytes")?;
        Some(sum.saturating_sub(memory?))
    }

    fn oom_kills(&self, dir: &Dir) -> Option<u64> {
        dir.field("memory.oom_control", "oom_kill")
    }

    fn io(&self, dir: &Dir) -> Vec<Value> {
        let mut devices: BTreeMap<String, serde_json::Map<String, Value>> = BTreeMap::new();
        let files = [
            ("blkio.throttle.io_service_bytes", ["rbytes", "wbytes"]),
            ("blkio.throttle.io_serviced", ["rios", "wios"]),
        ];
        for (file, [read, write]) in files {
            let text = dir.read("cgroup.stats", file).unwrap_or_default();
            for line in text.lines() {
                let words: Vec<&str> = line.split(' ').collect();
                let [device, what, count] = words[..] else { continue };
                let name = match what {
                    "Read" => read,
                    "Write" => write,
                    _ => continue,
                };
                let map = devices.entry(device.to_owned()).or_default();
                map.insert(name.to_owned(), json!(count.parse::<u64>().ok()));
            }
        }
        let with_name = |(device, mut map): (String, serde_json::Map<String, Value>)| {
            map.insert("device".to_owned(), json!(device));
            Value::from(map)
        };
        devices.into_iter().map(with_name).collect()
    }

    fn throttling(&self, dir: &Dir) -> [Option<u64>; 3] {
        let [periods, throttled, nanos] =
            dir.fields("cpu.stat", ["nr_periods", "nr_throttled", "throttled_time"]);
        [periods, throttled, nanos.map(|nanos| nanos / 1000)]
    }

    fn events(&self, dir: &Dir) -> Vec<(&'static str, u64)> {
        let oom = dir.field("memory.oom_control", "oom_kill");
        let found = [
            ("max", dir.number("memory.failcnt")),
            // Version 1 counts what it killed, not how often it had to.
            ("oom", oom),
            ("oom_kill", oom),
            ("pids_max", dir.field("pids.events", "max")),
        ];
        found.into_iter().filter_map(|(name, count)| Some((name, count?))).collect()
    }

    fn limits(&self, dir: &Dir) -> Vec<(String, String)> {
        let mut found = Vec::new();
        if dir.has("memory") {
            found.extend(memory_limits(dir));
        }
        if dir.has("cpu") {
            found.push(("cpu.max", cpu_max(dir)));
            let weight = dir.number("cpu.shares").map(|shares| ((shares * 100 + 512) / 1024).to_string());
            found.push(("cpu.weight", weight));
        }
        let text = |name| dir.read("cgroup.limits", name).ok();
        for name in ["pids.max", "cpuset.cpus", "cpuset.mems"] {
            if name.split_once('.').is_some_and(|(controller, _)| dir.has(controller)) {
                found.push((name, text(name)));
            }
        }
        if dir.has("io") {
            found.push(("io.max", Some(io_max(dir))));
            found.push((
                "io.weight",
                weight_file(dir).and_then(text).map(|weight| format!("default {weight}")),
            ));
        }
        if dir.has("devices") {
            found.push(("devices.list", text("devices.list")));
        }
        found.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }
}

fn memory_limits(dir: &Dir) -> Vec<(&'static str, Option<String>)> {
    let limited = |bytes: u64| if bytes >= UNLIMITED { "max".to_owned() } else { bytes.to_string() };
    let memory = dir.number(MEMORY);
    let swap = dir.number(MEMORY_AND_SWAP).zip(memory).map(|(sum, memory)| match sum {
        UNLIMITED.. => "max".to_owned(),
        _ => sum.saturating_sub(memory).to_string(),
    });
    let low = dir.number("memory.soft_limit_in_bytes").filter(|bytes| *bytes < UNLIMITED);
    vec![
        ("memory.max", memory.map(limited)),
        ("memory.swap.max", swap),
        ("memory.low", low.map(|bytes| bytes.to_string())),
    ]
}

fn cpu_max(dir: &Dir) -> Option<String> {
    let quota = dir.read("cgroup.limits", "cpu.cfs_quota_us").ok()?;
    let period = dir.number("cpu.cfs_period_us")?;
    Some(if quota == "-1" { format!("max {period}") } else { format!("{quota} {period}") })
}

/// The throttle files, a line a device as `io.max` has it.
fn io_max(dir: &Dir) -> String {
    let all = IoMax { rbps: Some(None), wbps: Some(None), riops: Some(None), wiops: Some(None) };
    let mut devices: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, file, _) in all.parts() {
        for line in dir.read("cgroup.limits", file).unwrap_or_default().lines() {
            if let Some((device, value)) = line.split_once(' ') {
                devices.entry(device.to_owned()).or_default().push(format!("{name}={value}"));
            }
        }
    }
    let lines: Vec<String> =
        devices.iter().map(|(device, parts)| format!("{device} {}", parts.join(" "))).collect();
    lines.join("\n")
}

const MEMORY: &str = "memory.limit_in_bytes";
const MEMORY_AND_SWAP: &str = "memory.memsw.limit_in_bytes";

/// What version 2 limits stays as it is: swap alone. So the sum moves along with memory, and before it where it is
/// raised, because memory must never be above the sum.
fn set_memory(op: &'static str, dir: &Dir, value: Max) -> Result<()> {
    let new = value.map_or(UNLIMITED, pages);
    let set =
        || dir.set(op, MEMORY, &show(value, "-1"), &new.to_string()).map_err(|error| in_use(dir, error));
    let Some(together) = dir.number(MEMORY_AND_SWAP).filter(|together| *together < UNLIMITED) else {
        return set();
    };
    let Some(before) = dir.number(MEMORY) else { return set() };
    let sum = new.saturating_add(together.saturating_sub(before)).min(UNLIMITED);
    let text = if sum == UNLIMITED { "-1".to_owned() } else { sum.to_string() };
    let set_sum = || dir.set(op, MEMORY_AND_SWAP, &text, &sum.to_string());
    if sum > together { set_sum().and_then(|()| set()) } else { set().and_then(|()| set_sum()) }
}

fn in_use(dir: &Dir, error: Error) -> Error {
    if error.errno() != Some(crate::sys::Errno::EBUSY) {
        return error;
    }
    let current = dir.number("memory.usage_in_bytes").unwrap_or(0);
    error.hint(format!(
        "the group uses {current} bytes: end processes of it first, or choose a limit above its use (.stats().memory.current)"
    ))
}

/// Version 1 limits memory and swap together; version 2 swap alone.
fn set_swap(op: &'static str, dir: &Dir, value: Max) -> Result<()> {
    let memory = dir.number(MEMORY).unwrap_or(UNLIMITED);
    let sum = value.filter(|_| memory < UNLIMITED).and_then(|swap| memory.checked_add(swap));
    let expected = sum.map_or(UNLIMITED, pages).to_string();
    dir.set(op, MEMORY_AND_SWAP, &show(sum, "-1"), &expected)
}

fn set_cpu(op: &'static str, dir: &Dir, quota: Max, period: u64) -> Result<()> {
    let (quota, period) = (show(quota, "-1"), period.to_string());
    if dir.read(op, "cpu.cfs_period_us")? != period {
        dir.set(op, "cpu.cfs_period_us", &period, &period)?;
    }
    dir.set(op, "cpu.cfs_quota_us", &quota, &quota)
}

fn set_list(op: &'static str, dir: &Dir, file: &str, list: &str) -> Result<()> {
    if let Some(above) = dir.path.parent()
        && let Ok(available) = std::fs::read_to_string(above.join(file))
    {
        check_within(op, file, list, available.trim())?;
    }
    dir.write(op, file, list)?;
    same_list(op, dir, file, list)
}

fn set_io(op: &'static str, dir: &Dir, device: Device, max: &IoMax) -> Result<()> {
    for (_, file, value) in max.parts() {
        // 0 takes the limit away.
        let text = format!("{device} {}", value.unwrap_or(0));
        dir.write(op, file, &text).map_err(|error| whole_disk(error, device))?;
        let held = dir.read(op, file)?;
        let line = held.lines().find(|line| line.split(' ').next() == Some(&device.to_string()));
        if line != value.is_some().then_some(text.as_str()) {
            return Err(dir.differs(op, file, &text, &held));
        }
    }
    Ok(())
}

fn weight_file(dir: &Dir) -> Option<&'static str> {
    ["blkio.weight", "blkio.bfq.weight"].into_iter().find(|name| dir.has_file(name))
}

fn set_io_weight(op: &'static str, dir: &Dir, device: Option<Device>, weight: u64) -> Result<()> {
    let Some(file) = weight_file(dir) else {
        let what = "io.weight: this kernel has no weights for devices";
        return Err(Error::new(ErrorKind::Unsupported, op, what).hint("it needs the BFQ scheduler"));
    };
    let weight = bfq(weight).to_string();
    let Some(device) = device else { return dir.set(op, file, &weight, &weight) };
    let file = format!("{file}_device");
    let value = format!("{device} {weight}");
    dir.write(op, &file, &value).map_err(|error| whole_disk(error, device))?;
    let held = dir.read(op, &file)?;
    if held.lines().any(|line| line == value) { Ok(()) } else { Err(dir.differs(op, &file, &value, &held)) }
}

/// Files that have another name in version 1, or the same.
const RENAMED: [(&str, &str); 4] = [
    ("cpu.idle", "cpu.idle"),
    ("cpu.max.burst", "cpu.cfs_burst_us"),
    ("rdma.max", "rdma.max"),
    ("misc.max", "misc.max"),
];

fn set_raw(op: &'static str, dir: &Dir, file: &str, value: &str) -> Result<()> {
    match RENAMED.iter().find(|(name, _)| *name == file) {
        Some((_, ours)) if file.ends_with(".max") => {
            dir.write(op, ours, value)?;
            let held = dir.read(op, ours)?;
            if held.contains(value) { Ok(()) } else { Err(dir.differs(op, ours, value, &held)) }
        }
        Some((_, ours)) => dir.set(op, ours, value, value),
        None => Err(untranslated(op, file, "no file of version 1 means the same")),
    }
}

fn untranslated(op: &'static str, name: &str, why: &str) -> Error {
    let what = format!("{name} has no counterpart in control groups version 1: {why}");
    Error::new(ErrorKind::Unsupported, op, what)
        .hint("this host has the controller on version 1 (`cgroup::info()`)")
}
