//! What a group uses and what has happened to it.

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::cgroup::dir::Dir;
use crate::runtime::cgroup::group::Cgroup;
use crate::runtime::cgroup::version;
use crate::runtime::units::show_bytes;
use serde_json::{Map, Value, json};
use std::rc::Rc;

/// The sizes of huge pages that this machine has, as the files of groups name them: `2MB`, `1GB`.
#[must_use]
pub fn huge_sizes() -> Vec<String> {
    let entries = std::fs::read_dir("/sys/kernel/mm/hugepages").into_iter().flatten().flatten();
    let size = |name: String| {
        let kib: u64 = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
        Some(match kib {
            1_048_576.. => format!("{}GB", kib >> 20),
            1024.. => format!("{}MB", kib >> 10),
            _ => format!("{kib}KB"),
        })
    };
    let mut sizes: Vec<String> =
        entries.filter_map(|entry| size(entry.file_name().to_string_lossy().into_owned())).collect();
    sizes.sort();
    sizes
}

fn seconds(micros: u64) -> f64 {
    std::time::Duration::from_micros(micros).as_secs_f64()
}

/// Processor time in microseconds: all, in programs, in the kernel.
fn cpu_time(group: &Cgroup) -> [Option<u64>; 3] {
    if let Some(dir) = group.unified() {
        return dir.fields("cpu.stat", ["usage_usec", "user_usec", "system_usec"]);
    }
    let Some(dir) = group.find("cpuacct") else { return [None; 3] };
    let nanos = |name: &str| dir.number(name).map(|nanos| nanos / 1000);
    ["cpuacct.usage", "cpuacct.usage_user", "cpuacct.usage_sys"].map(nanos)
}

impl Cgroup {
    fn stat<T>(&self, controller: &str, read: impl FnOnce(&Dir) -> Option<T>) -> Option<T> {
        self.find(controller).and_then(|dir| read(&dir))
    }

    /// Whether it is still there.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.dirs().iter().all(|dir| dir.path.is_dir())
    }

    /// How many of its processes the memory controller has killed.
    #[must_use]
    pub fn oom_kills(&self) -> u64 {
        self.stat("memory", |dir| version::of(dir.version).oom_kills(dir)).unwrap_or(0)
    }

    /// How often it, or a group below it, could have no more memory because of its limit.
    #[must_use]
    pub fn memory_limit_met(&self) -> u64 {
        let events = |dir: &Dir| version::of(dir.version).events(dir);
        self.stat("memory", |dir| {
            events(dir).into_iter().find(|(name, _)| *name == "max").map(|(_, count)| count)
        })
        .unwrap_or(0)
    }

    /// The greatest use of memory so far, in bytes.
    #[must_use]
    pub fn memory_peak(&self) -> Option<u64> {
        self.stat("memory", |dir| version::of(dir.version).memory_peak(dir))
    }

    /// The greatest number of processes so far, where the kernel counts it.
    #[must_use]
    pub fn pids_peak(&self) -> Option<u64> {
        self.stat("pids", |dir| dir.number("pids.peak"))
    }

    /// Processor time so far, in microseconds.
    #[must_use]
    pub fn cpu_usec(&self) -> Option<u64> {
        cpu_time(self)[0]
    }

    /// The periods in which it was held back by its quota.
    #[must_use]
    pub fn throttled_periods(&self) -> Option<u64> {
        self.throttling()[1]
    }

    fn throttling(&self) -> [Option<u64>; 3] {
        self.find("cpu").map_or([None; 3], |dir| version::of(dir.version).throttling(&dir))
    }

    /// The limits that are in force, by the names of version 2: numbers, or text such as `max`.
    #[must_use]
    pub fn limits(&self) -> Map<String, Value> {
        let all = self.dirs().into_iter().flat_map(|dir| version::of(dir.version).limits(&dir));
        all.map(|(name, text)| (name, text.parse::<u64>().map_or_else(|_| json!(text), |n| json!(n))))
            .collect()
    }

    /// What the group uses.
    #[must_use]
    pub fn stats(&self) -> Value {
        let [usage, user, system] = cpu_time(self);
        let [periods, throttled_periods, throttled] = self.throttling();
        let memory = self.stat("memory", |dir| version::of(dir.version).memory_current(dir));
        json!({
            "memory": {
                "current": memory,
                "peak": self.memory_peak(),
                "swap": self.stat("memory", |dir| version::of(dir.version).swap_current(dir, memory)),
                "oom_kills": self.oom_kills(),
            },
            "cpu": {
                "usage": usage.map(seconds),
                "user": user.map(seconds),
                "system": system.map(seconds),
                "usage_usec": usage,
                "user_usec": user,
                "system_usec": system,
                "periods": periods,
                "throttled_periods": throttled_periods,
                "throttled": throttled.map(seconds),
            },
            "pids": {
                "current": self.stat("pids", |dir| dir.number("pids.current")),
                "peak": self.pids_peak(),
            },
            "io": self.stat("io", |dir| Some(version::of(dir.version).io(dir))),
            "frozen": self.is_frozen(),
        })
    }

    /// What it uses of what it may, in words: `memory 1.2MiB of 64MiB`, `pids 3 of 10`, `cpu 50%`.
    #[must_use]
    pub fn live_facts(&self) -> Vec<String> {
        const OWN: &[&str] =
            &["memory.max", "pids.max", "cpu.max", "cpu.weight", "io.weight", "devices.list"];
        let limits = self.limits();
        let limit =
            |name: &str| limits.get(name).and_then(Value::as_u64).filter(|value| *value < version::UNLIMITED);
        let mut facts = Vec::new();
        if let Some(most) = limit("memory.max") {
            let memory = self.stat("memory", |dir| version::of(dir.version).memory_current(dir));
            facts.push(format!("memory {} of {}", show_bytes(memory.unwrap_or(0)), show_bytes(most)));
        }
        if let Some(most) = limit("pids.max") {
            let pids = self.stat("pids", |dir| dir.number("pids.current"));
            facts.push(format!("pids {} of {most}", pids.unwrap_or(0)));
        }
        facts.extend(limits.get("cpu.max").and_then(Value::as_str).and_then(quota));
        let unlimited = |value: &Value| {
            value.as_str().is_some_and(|text| text.starts_with("max") || text.is_empty())
                || *value == json!(0)
                || value.as_u64().is_some_and(|value| value >= version::UNLIMITED)
        };
        let others = limits.iter().filter(|(name, value)| !unlimited(value) && !OWN.contains(&name.as_str()));
        facts.extend(others.map(|(name, value)| match value.as_u64() {
            Some(bytes) if name.starts_with("memory.") => format!("{name} {}", show_bytes(bytes)),
            _ => format!("{name} {}", value.to_string().trim_matches('"')),
        }));
        if self.is_frozen() {
            facts.push("frozen".into());
        }
        facts
    }

    /// What has happened to the group: how often each event of the memory and pids controllers came, and whether it is
    /// `frozen` and `populated`.
    #[must_use]
    pub fn events(&self) -> Map<String, Value> {
        let mut dirs: Vec<Rc<Dir>> = Vec::new();
        for dir in ["memory", "pids"].into_iter().filter_map(|controller| self.find(controller)) {
            if !dirs.iter().any(|known| known.id == dir.id) {
                dirs.push(dir);
            }
        }
        let counts = dirs.iter().flat_map(|dir| version::of(dir.version).events(dir));
        let mut events: Map<String, Value> =
            counts.map(|(name, count)| (name.to_owned(), json!(count))).collect();
        events.insert("frozen".into(), json!(self.is_frozen()));
        events.insert("populated".into(), json!(self.is_populated()));
        events
    }

    /// Whether a process is in it or in a group below it.
    #[must_use]
    pub fn is_populated(&self) -> bool {
        match self.unified().and_then(|dir| dir.field("cgroup.events", "populated")) {
            Some(populated) => populated == 1,
            None => !self.procs().is_empty(),
        }
    }

    /// How long its processes had to wait for the processor, for memory and for devices (PSI): for each, `some` and
    /// `full` with `avg10 avg60 avg300` (percent) and `total` (microseconds).
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] without a version 2 tree, or on a kernel that does not measure it.
    pub fn pressure(&self) -> Result<Value> {
        const OP: &str = "cgroup.pressure";
        let dir = self.unified_or(OP, "pressure is measured")?;
        let mut all = Map::new();
        for kind in ["cpu", "memory", "io"] {
            let text = dir.read(OP, &format!("{kind}.pressure")).map_err(no_psi)?;
            all.insert(kind.to_owned(), text.lines().filter_map(pressure_line).collect());
        }
        Ok(all.into())
    }

    /// Its folder in the version 2 tree.
    pub(super) fn unified_or(&self, op: &'static str, what: &str) -> Result<Rc<Dir>> {
        self.unified().ok_or_else(|| {
            let what = format!("{what} in the version 2 tree, and this host has none");
            Error::new(ErrorKind::Unsupported, op, what)
                .hint("mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified")
        })
    }
}

/// A quota in words: `50000 100000` is half a processor.
fn quota(text: &str) -> Option<String> {
    let (quota, period) = text.split_once(' ')?;
    let (quota, period): (f64, f64) = (quota.parse().ok()?, period.parse().ok()?);
    Some(format!("cpu {}%", (quota / period * 1000.0).round() / 10.0))
}

/// Says what a kernel without pressure files lacks.
#[must_use]
pub fn no_psi(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Unsupported => error.hint("the kernel needs CONFIG_PSI, and psi=1 on its command line"),
        _ => error,
    }
}

fn pressure_line(line: &str) -> Option<(String, Value)> {
    let (name, rest) = line.split_once(' ')?;
    let pairs = rest.split(' ').filter_map(|pair| pair.split_once('='));
    let value = |text: &str| match text.parse::<u64>() {
        Ok(whole) => json!(whole),
        Err(_) => json!(text.parse::<f64>().ok()),
    };
    let map: Map<String, Value> = pairs.map(|(name, text)| (name.to_owned(), value(text))).collect();
    Some((name.to_owned(), map.into()))
}
