//! Control groups version 2 (cgroup-v2.rst of the kernel).

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::cgroup::devices;
use crate::runtime::cgroup::dir::Dir;
use crate::runtime::cgroup::io::{Device, IoMax};
use crate::runtime::cgroup::limits::{Limit, Max};
use crate::runtime::cgroup::version::{UNLIMITED, Version, check_within, huge_pages, pages, show};
use crate::sys::Errno;
use serde_json::{Value, json};

/// Version 2.
#[derive(Debug)]
pub struct V2;

impl Version for V2 {
    fn prepare(&self, _op: &'static str, _parent: &Dir, _dir: &Dir) -> Result<()> {
        Ok(())
    }

    fn set(&self, op: &'static str, dir: &Dir, limit: &Limit) -> Result<()> {
        let file = limit.file();
        let memory = |value: Max| dir.set(op, &file, &show(value, "max"), &show(value.map(pages), "max"));
        let same = |text: String| dir.set(op, &file, &text, &text);
        match limit {
            Limit::Memory(value) => {
                make_room(op, dir, *value)?;
                memory(*value)
            }
            Limit::Swap(value)
            | Limit::MemoryHigh(value)
            | Limit::MemoryLow(value)
            | Limit::MemoryMin(value) => memory(*value),
            Limit::OomGroup(on) => same(u8::from(*on).to_string()),
            Limit::Pids(value) => same(show(*value, "max")),
            Limit::Cpu { quota, period } => same(format!("{} {period}", show(*quota, "max"))),
            Limit::CpuWeight(weight) => same(weight.to_string()),
            Limit::CpusetCpus(list) | Limit::CpusetMems(list) => set_list(op, dir, &file, list),
            Limit::Io(device, max) => set_io(op, dir, *device, max),
            Limit::IoWeight(device, weight) => set_io_weight(op, dir, *device, *weight),
            Limit::Devices(rules) => devices::set_v2(op, dir, rules),
            Limit::Hugetlb(size, value) => {
                let expected = value.map(|value| huge_pages(size, value));
                dir.set(op, &file, &show(*value, "max"), &show(expected, "max"))
            }
            Limit::Raw(_, value) => set_raw(op, dir, &file, value),
        }
    }

    fn memory_current(&self, dir: &Dir) -> Option<u64> {
        dir.number("memory.current")
    }

    fn memory_peak(&self, dir: &Dir) -> Option<u64> {
        dir.number("memory.peak")
    }

    fn swap_current(&self, dir: &Dir, _memory: Option<u64>) -> Option<u64> {
        dir.number("memory.swap.current")
    }

    fn oom_kills(&self, dir: &Dir) -> Option<u64> {
        dir.field("memory.events.local", "oom_kill").or_else(|| dir.field("memory.events", "oom_kill"))
    }

    fn io(&self, dir: &Dir) -> Vec<Value> {
        let text = dir.read("cgroup.stats", "io.stat").unwrap_or_default();
        let line = |line: &str| {
            let (device, rest) = line.split_once(' ')?;
            let mut map = serde_json::Map::from_iter([("device".to_owned(), json!(device))]);
            for (name, value) in rest.split(' ').filter_map(|pair| pair.split_once('=')) {
                map.insert(name.to_owned(), json!(value.parse::<u64>().ok()?));
            }
            Some(Value::from(map))
        };
        text.lines().filter_map(line).collect()
    }

    fn throttling(&self, dir: &Dir) -> [Option<u64>; 3] {
        dir.fields("cpu.stat", ["nr_periods", "nr_throttled", "throttled_usec"])
    }

    fn events(&self, dir: &Dir) -> Vec<(&'static str, u64)> {
        const MEMORY: [&str; 6] = ["low", "high", "max", "oom", "oom_kill", "oom_group_kill"];
        let text = dir.read("cgroup.events", "memory.events").unwrap_or_default();
        let field = |name: &'static str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
            Some((name, value.parse().ok()?))
        };
        let pids = dir.field("pids.events", "max").map(|count| ("pids_max", count));
        MEMORY.into_iter().filter_map(field).chain(pids).collect()
    }

    fn limits(&self, dir: &Dir) -> Vec<(String, String)> {
        const FILES: [&str; 14] = [
            "memory.max",
            "memory.swap.max",
            "memory.high",
            "memory.low",
            "memory.min",
            "memory.oom.group",
            "pids.max",
            "cpu.max",
            "cpu.weight",
            "cpuset.cpus",
            "cpuset.mems",
            "io.max",
            "io.weight",
            "rdma.max",
        ];
        let sizes = crate::runtime::cgroup::stats::huge_sizes();
        let huge = sizes.iter().map(|size| format!("hugetlb.{size}.max"));
        let names = FILES.into_iter().map(str::to_owned).chain(huge);
        names
            .filter(|name| dir.has(name.split('.').next().unwrap_or_default()))
            .filter_map(|name| Some((name.clone(), unlimited(dir.read("cgroup.limits", &name).ok()?))))
            .collect()
    }
}

/// Huge pages without a limit show the number that stands for none.
fn unlimited(text: String) -> String {
    if text.parse::<u64>().is_ok_and(|number| number >= UNLIMITED) { "max".into() } else { text }
}

/// A limit below the use would kill: first asks the kernel to take back what it can, and refuses what is still too low.
fn make_room(op: &'static str, dir: &Dir, value: Max) -> Result<()> {
    let Some(limit) = value else { return Ok(()) };
    let current = dir.number("memory.current").unwrap_or(0);
    if current <= limit {
        return Ok(());
    }
    // It reports what it could not get as EAGAIN; what counts is the use afterwards.
    let _ = dir.write(op, "memory.reclaim", &(current - limit).to_string());
    let current = dir.number("memory.current").unwrap_or(0);
    if current <= limit {
        return Ok(());
    }
    let what = format!("memory.max: the group uses {current} bytes, more than {limit}");
    Err(Error::new(ErrorKind::Busy, op, what)
        .path(dir.path.join("memory.max"))
        .hint("end processes of the group first, or choose a limit above its use (.stats().memory.current)"))
}

fn set_list(op: &'static str, dir: &Dir, file: &str, list: &str) -> Result<()> {
    if let Some(above) = dir.path.parent() {
        let name = format!("{file}.effective");
        if let Ok(available) = std::fs::read_to_string(above.join(name)) {
            check_within(op, file, list, available.trim())?;
        }
    }
    dir.write(op, file, list)?;
    same_list(op, dir, file, list)
}

/// Compares a list with what the kernel holds, which writes it in its own way: `0,1` as `0-1`.
///
/// # Errors
/// When they differ.
pub fn same_list(op: &'static str, dir: &Dir, file: &str, list: &str) -> Result<()> {
    let held = dir.read(op, file)?;
    let numbers = |list: &str| super::limits::parse_list(op, file, list).ok();
    if numbers(&held) == numbers(list) { Ok(()) } else { Err(dir.differs(op, file, list, &held)) }
}

fn set_io(op: &'static str, dir: &Dir, device: Device, max: &IoMax) -> Result<()> {
    let value = format!("{device} {}", max.shown());
    dir.write(op, "io.max", &value).map_err(|error| whole_disk(error, device))?;
    let held = dir.read(op, "io.max")?;
    let line = held.lines().find_map(|line| line.strip_prefix(&device.to_string())?.strip_prefix(' '));
    let unlimited = max.parts().iter().all(|(_, _, value)| value.is_none());
    match line {
        // A device without any limit is not shown.
        None if unlimited => Ok(()),
        Some(line) if max.shown().split(' ').all(|part| line.split(' ').any(|held| held == part)) => Ok(()),
        _ => Err(dir.differs(op, "io.max", &value, &held)),
    }
}

/// Names the disk, where a part of one was given.
#[must_use]
pub fn whole_disk(error: Error, device: Device) -> Error {
    match device.disk() {
        Some(disk) if error.errno() == Some(Errno::ENODEV) => {
            error.hint(format!("{device} is a part of the disk {disk}, and the kernel limits whole disks"))
        }
        None if error.errno() == Some(Errno::ENODEV) => {
            error.hint(format!("this machine has no block device {device}, see lsblk(8)"))
        }
        _ => error,
    }
}

fn set_io_weight(op: &'static str, dir: &Dir, device: Option<Device>, weight: u64) -> Result<()> {
    let file = match ["io.weight", "io.bfq.weight"].into_iter().find(|name| dir.has_file(name)) {
        Some(file) => file,
        None => {
            let what = "io.weight: this kernel has no controller of weights";
            return Err(Error::new(ErrorKind::Unsupported, op, what)
                .hint("it needs CONFIG_BLK_CGROUP_IOCOST, or the BFQ scheduler"));
        }
    };
    // BFQ knows 1 to 1000.
    let weight = if file == "io.weight" { weight } else { bfq(weight) };
    let key = device.map_or_else(|| "default".to_owned(), |device| device.to_string());
    let value = format!("{key} {weight}");
    dir.write(op, file, &value).map_err(|error| match device {
        Some(device) => whole_disk(error, device),
        None => error,
    })?;
    let held = dir.read(op, file)?;
    if held.lines().any(|line| line == value) { Ok(()) } else { Err(dir.differs(op, file, &value, &held)) }
}

/// A weight of 1 to 10000 in the 1 to 1000 of BFQ; 100 is the default of both.
#[must_use]
pub fn bfq(weight: u64) -> u64 {
    if weight <= 100 { weight } else { 100 + (weight - 100) * 900 / 9900 }
}

/// Writes any file, and finds the value in what it holds then: as it was written, or rounded to pages.
fn set_raw(op: &'static str, dir: &Dir, file: &str, value: &str) -> Result<()> {
    // What cannot be read cannot be proven; and what is not there is better told before.
    dir.read(op, file)?;
    dir.write(op, file, value)?;
    let held = dir.read(op, file)?;
    let rounded = value.parse().map_or_else(|_| value.to_owned(), |bytes| pages(bytes).to_string());
    let words =
        |line: &str| value.split_ascii_whitespace().all(|word| line.split(' ').any(|held| held == word));
    let is_held =
        held == value || (file.starts_with("memory.") && held == rounded) || held.lines().any(words);
    if is_held { Ok(()) } else { Err(dir.differs(op, file, value, &held)) }
}
