//! What a living thing uses at a moment: for those who watch it.

use crate::runtime::cgroup::Cgroup;
use crate::runtime::fs::overlay::Overlay;
use crate::runtime::net::{Bridge, Veth};
use crate::runtime::ns::NsSet;
use crate::runtime::ns::list;
use crate::runtime::proc::Process;
use crate::runtime::session::Handle;
use serde_json::Value;
use std::any::Any;
use std::path::Path;
use std::rc::Rc;

/// What a gauge counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Things.
    Count,
    /// Microseconds of processor time so far: its growth is a share of a processor.
    CpuTime,
    /// Bytes so far: its growth is a rate.
    Traffic,
    /// Times that something has happened so far.
    Events,
}

/// One number.
#[derive(Clone, Debug, PartialEq)]
pub struct Gauge {
    /// What it is.
    pub name: &'static str,
    /// What it counts.
    pub unit: Unit,
    /// How much there is.
    pub value: u64,
    /// How much there may be, in the same unit; for processor time, in thousandths of a processor.
    pub limit: Option<u64>,
}

fn gauge(name: &'static str, unit: Unit, value: impl Into<Option<u64>>, limit: Option<u64>) -> Option<Gauge> {
    value.into().map(|value| Gauge { name, unit, value, limit })
}

/// Looks at a thing. `None` when it is no more; empty for what has nothing to watch.
#[must_use]
pub fn sample(thing: &Rc<dyn Handle>) -> Option<Vec<Gauge>> {
    if let Some(group) = cast::<Cgroup>(thing) {
        return group.exists().then(|| of_group(&group));
    }
    if let Some(process) = cast::<Process>(thing) {
        return of_process(process.pid);
    }
    if let Some(set) = cast::<NsSet>(thing) {
        return set.alive("watch").is_ok().then(|| of_set(&set));
    }
    if let Some(veth) = cast::<Veth>(thing) {
        return veth.end.traffic("watch").or_else(|| veth.peer.traffic("watch")).map(of_link);
    }
    if let Some(bridge) = cast::<Bridge>(thing) {
        return bridge.facts.traffic("watch").map(of_link);
    }
    if let Some(overlay) = cast::<Overlay>(thing) {
        return Some(overlay.upperdir.as_deref().map(of_folder).unwrap_or_default());
    }
    Some(Vec::new())
}

fn cast<T: Handle>(thing: &Rc<dyn Handle>) -> Option<Rc<T>> {
    let any: Rc<dyn Any> = thing.clone();
    any.downcast::<T>().ok()
}

fn of_group(group: &Cgroup) -> Vec<Gauge> {
    let (stats, limits) = (group.stats(), group.limits());
    let number = |path: [&str; 2]| stats[path[0]][path[1]].as_u64();
    let most = |name: &str| limits.get(name).and_then(Value::as_u64);
    let quota = limits.get("cpu.max").and_then(Value::as_str).and_then(|text| {
        let (quota, period) = text.split_once(' ')?;
        Some(quota.parse::<u64>().ok()? * 1000 / period.parse::<u64>().ok()?.max(1))
    });
    let io = |name: &str| {
        let devices = stats["io"].as_array()?;
        Some(devices.iter().filter_map(|device| device[name].as_u64()).sum())
    };
    let gauges = [
        gauge("memory", Unit::Bytes, number(["memory", "current"]), most("memory.max")),
        gauge("cpu", Unit::CpuTime, number(["cpu", "usage_usec"]), quota),
        gauge("pids", Unit::Count, number(["pids", "current"]), most("pids.max")),
        gauge("read", Unit::Traffic, io("rbytes"), None),
        gauge("written", Unit::Traffic, io("wbytes"), None),
        gauge("throttled", Unit::Events, number(["cpu", "throttled_periods"]), None),
        gauge("oom kills", Unit::Events, number(["memory", "oom_kills"]), None),
    ];
    gauges.into_iter().flatten().collect()
}

/// From proc_pid_stat(5) and proc_pid_statm(5).
fn of_process(pid: i32) -> Option<Vec<Gauge>> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in brackets, may have spaces and brackets in it.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    if matches!(fields.first(), Some(&"Z" | &"X")) {
        return None;
    }
    let number = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok());
    let ticks = number(11)? + number(12)?;
    let micros = ticks * 1_000_000 / rustix::param::clock_ticks_per_second().max(1);
    let pages = number(21)?;
    let gauges = [
        gauge("cpu", Unit::CpuTime, micros, None),
        gauge("memory", Unit::Bytes, pages * rustix::param::page_size() as u64, None),
        gauge("threads", Unit::Count, number(17), None),
    ];
    Some(gauges.into_iter().flatten().collect())
}

fn of_set(set: &NsSet) -> Vec<Gauge> {
    let all = list::all("watch").unwrap_or_default();
    let members = |kind: &str| {
        let inode = set.inode(kind).ok()?;
        let found = all.iter().find(|entry| entry["kind"] == *kind && entry["inode"] == inode)?;
        found["pids"].as_u64()
    };
    let count = set.kinds.iter().find_map(|kind| members(kind.name));
    gauge("processes", Unit::Count, count, None).into_iter().collect()
}

fn of_link((received, sent): (u64, u64)) -> Vec<Gauge> {
    let gauges = [gauge("received", Unit::Traffic, received, None), gauge("sent", Unit::Traffic, sent, None)];
    gauges.into_iter().flatten().collect()
}

fn of_folder(folder: &Path) -> Vec<Gauge> {
    let (mut bytes, mut files) = (0, 0);
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            use std::os::unix::fs::MetadataExt;
            // What goes meanwhile is not counted.
            let Ok(data) = entry.metadata() else { continue };
            (bytes, files) = (bytes + data.blocks() * 512, files + 1);
            if data.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    let gauges = [gauge("changed", Unit::Bytes, bytes, None), gauge("files", Unit::Count, files, None)];
    gauges.into_iter().flatten().collect()
}
