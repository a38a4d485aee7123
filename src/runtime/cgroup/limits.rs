//! Limits as data: what is asked for, in the terms of version 2.

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::cgroup::devices::Rule;
use crate::runtime::cgroup::io::{Device, IoMax};

/// A value that may be unlimited, which the kernel writes `max`.
pub type Max = Option<u64>;

/// One limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Limit {
    /// `memory.max`, in bytes.
    Memory(Max),
    /// `memory.swap.max`, in bytes of swap alone.
    Swap(Max),
    /// `memory.high`, in bytes.
    MemoryHigh(Max),
    /// `memory.low`, in bytes: protected while others have something to give.
    MemoryLow(Max),
    /// `memory.min`, in bytes: protected in any case.
    MemoryMin(Max),
    /// `memory.oom.group`: whether all processes are killed where one is.
    OomGroup(bool),
    /// `pids.max`.
    Pids(Max),
    /// `cpu.max`: microseconds of processor time in each period.
    Cpu {
        /// The time.
        quota: Max,
        /// The period.
        period: u64,
    },
    /// `cpu.weight`, 1 to 10000, 100 being the default.
    CpuWeight(u64),
    /// `cpuset.cpus`, as a list such as `0-2,4`.
    CpusetCpus(String),
    /// `cpuset.mems`, as a list.
    CpusetMems(String),
    /// `io.max` of one device.
    Io(Device, IoMax),
    /// `io.weight`, 1 to 10000, 100 being the default; of one device or of all.
    IoWeight(Option<Device>, u64),
    /// Which device files may be used. Replaces all rules that were set before.
    Devices(Vec<Rule>),
    /// `hugetlb.SIZE.max`, in bytes; the size as the kernel names it, such as `2MB`.
    Hugetlb(String, Max),
    /// Any other file of version 2, with the text to write.
    Raw(String, String),
}

/// The period of `cpu.max` where none is given, in microseconds.
pub const PERIOD: u64 = 100_000;
/// The greatest `pids.max` but `max` itself (`PID_MAX_LIMIT` of the kernel).
const PIDS_MOST: u64 = 4 << 20;
/// More processors than any machine has: a limit above this limits nothing.
const CPUS_MOST: u64 = 8192;

impl Limit {
    /// The controller that enforces it; `cgroup` for what version 2 does without one.
    #[must_use]
    pub fn controller(&self) -> &str {
        match self {
            Self::Memory(_)
            | Self::Swap(_)
            | Self::MemoryHigh(_)
            | Self::MemoryLow(_)
            | Self::MemoryMin(_)
            | Self::OomGroup(_) => "memory",
            Self::Pids(_) => "pids",
            Self::Cpu { .. } | Self::CpuWeight(_) => "cpu",
            Self::CpusetCpus(_) | Self::CpusetMems(_) => "cpuset",
            Self::Io(..) | Self::IoWeight(..) => "io",
            Self::Devices(_) => "devices",
            Self::Hugetlb(..) => "hugetlb",
            Self::Raw(file, _) => file.split_once('.').map_or(file, |(controller, _)| controller),
        }
    }

    /// The name of its file in version 2; of devices, which have none, their version 1 list.
    #[must_use]
    pub fn file(&self) -> String {
        let name = match self {
            Self::Memory(_) => "memory.max",
            Self::Swap(_) => "memory.swap.max",
            Self::MemoryHigh(_) => "memory.high",
            Self::MemoryLow(_) => "memory.low",
            Self::MemoryMin(_) => "memory.min",
            Self::OomGroup(_) => "memory.oom.group",
            Self::Pids(_) => "pids.max",
            Self::Cpu { .. } => "cpu.max",
            Self::CpuWeight(_) => "cpu.weight",
            Self::CpusetCpus(_) => "cpuset.cpus",
            Self::CpusetMems(_) => "cpuset.mems",
            Self::Io(..) => "io.max",
            Self::IoWeight(..) => "io.weight",
            Self::Devices(_) => "devices.list",
            Self::Hugetlb(size, _) => return format!("hugetlb.{size}.max"),
            Self::Raw(file, _) => file,
        };
        name.to_owned()
    }

    /// A limit in processors, in thousandths.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for a share that the kernel cannot hold (below 1 ms of each 100 ms).
    pub fn cpus(op: &'static str, millis: u64) -> Result<Self> {
        let quota = millis.saturating_mul(PERIOD / 1000);
        if quota < 1000 {
            let what = format!("cpus: {millis} thousandths of a processor is below the kernel's least, 0.01");
            return Err(Error::new(ErrorKind::InvalidArgument, op, what));
        }
        Ok(Self::Cpu { quota: Some(quota), period: PERIOD })
    }

    /// Checks the value for what the kernel would take and that means nothing.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`].
    pub fn check(&self, op: &'static str) -> Result<()> {
        match self {
            Self::Memory(Some(bytes)) => check_memory(op, *bytes),
            Self::Swap(Some(bytes))
            | Self::MemoryHigh(Some(bytes))
            | Self::MemoryLow(Some(bytes))
            | Self::MemoryMin(Some(bytes))
            | Self::Hugetlb(_, Some(bytes)) => {
                within(op, &self.file(), *bytes, 0, i64::MAX.unsigned_abs(), "bytes")
            }
            Self::Pids(Some(count)) => check_pids(op, *count),
            Self::CpuWeight(weight) => within(op, "cpu_weight", *weight, 1, 10_000, "of 100 by default"),
            Self::IoWeight(_, weight) => within(op, "io.weight", *weight, 1, 10_000, "of 100 by default"),
            Self::Cpu { quota, period } => check_cpu(op, *quota, *period),
            Self::CpusetCpus(list) | Self::CpusetMems(list) => parse_list(op, &self.file(), list).map(drop),
            Self::Raw(file, value) => check_raw(op, file, value),
            _ => Ok(()),
        }
    }
}

fn invalid(op: &'static str, what: String) -> Error {
    Error::new(ErrorKind::InvalidArgument, op, what)
}

fn within(op: &'static str, name: &str, value: u64, least: u64, most: u64, unit: &str) -> Result<()> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(invalid(op, format!("{name}: {value} is not within {least} to {most} ({unit})")))
}

fn check_memory(op: &'static str, bytes: u64) -> Result<()> {
    match bytes {
        0..4096 => Err(invalid(op, format!("memory: {bytes} bytes is less than a page (4096)"))
            .hint("a program needs some 256 KiB to start at all")),
        _ => within(op, "memory", bytes, 4096, i64::MAX.unsigned_abs(), "bytes"),
    }
}

fn check_pids(op: &'static str, count: u64) -> Result<()> {
    match count {
        0 => Err(invalid(op, "pids: 0 would let nothing run; the least is 1".into())),
        1..=PIDS_MOST => Ok(()),
        _ => {
            let what = format!("pids: {count} is more than a machine can have ({PIDS_MOST})");
            Err(invalid(op, what).hint("write \"max\" for no limit"))
        }
    }
}

fn check_cpu(op: &'static str, quota: Max, period: u64) -> Result<()> {
    if !(1000..=1_000_000).contains(&period) {
        return Err(invalid(op, format!("cpu.max: a period of {period} us is not within 1000 to 1000000")));
    }
    match quota {
        Some(quota) if quota < 1000 => {
            Err(invalid(op, format!("cpu.max: a quota of {quota} us is below the kernel's least, 1000")))
        }
        Some(quota) if quota / period >= CPUS_MOST => {
            let what = format!("cpu.max: {} processors are more than any machine has", quota / period);
            Err(invalid(op, what).hint("write \"max\" for no limit"))
        }
        _ => Ok(()),
    }
}

/// Files of version 2 that are no limits: they act, or only tell.
const NO_LIMITS: [&str; 10] = [
    "cgroup.procs",
    "cgroup.threads",
    "cgroup.type",
    "cgroup.subtree_control",
    "cgroup.controllers",
    "cgroup.events",
    "cgroup.stat",
    "cgroup.kill",
    "cgroup.freeze",
    "memory.reclaim",
];

fn check_raw(op: &'static str, file: &str, value: &str) -> Result<()> {
    if NO_LIMITS.contains(&file) {
        return Err(invalid(op, format!("{file} is not a limit"))
            .hint("the handle has the verbs: .add(pid) .kill() .freeze() .thaw() .create(name) .events()"));
    }
    if value.trim().is_empty() || value.contains(['\n', '\0']) {
        return Err(invalid(op, format!("{file}: {value:?} is not one line of text")));
    }
    Ok(())
}

/// The numbers of a list of numbers and ranges, as cpuset(7) writes them.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] for what is no such list.
pub fn parse_list(op: &'static str, name: &str, list: &str) -> Result<Vec<u32>> {
    let wrong = || {
        let what = format!("{name}: {list:?} is not a list of numbers and ranges");
        invalid(op, what).hint("write it as \"0-2,4\"")
    };
    let number = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => text.parse::<u32>().ok().filter(|number| *number < 1 << 16),
        false => None,
    };
    let mut numbers = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = number(first).zip(number(last)).ok_or_else(wrong)?;
        if first > last {
            return Err(wrong());
        }
        numbers.extend(first..=last);
    }
    numbers.sort_unstable();
    numbers.dedup();
    Ok(numbers)
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let max = |value: &Max| value.map_or_else(|| "max".to_owned(), |value| value.to_string());
        let value = match self {
            Self::Memory(value)
            | Self::Swap(value)
            | Self::MemoryHigh(value)
            | Self::MemoryLow(value)
            | Self::MemoryMin(value)
            | Self::Hugetlb(_, value)
            | Self::Pids(value) => max(value),
            Self::OomGroup(on) => u8::from(*on).to_string(),
            Self::Cpu { quota, period } => format!("{} {period}", max(quota)),
            Self::CpuWeight(weight) | Self::IoWeight(None, weight) => weight.to_string(),
            Self::IoWeight(Some(device), weight) => format!("{device} {weight}"),
            Self::Io(device, max) => format!("{device} {}", max.shown()),
            Self::Devices(rules) => rules.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
            Self::CpusetCpus(text) | Self::CpusetMems(text) | Self::Raw(_, text) => text.clone(),
        };
        write!(f, "{}={value}", self.file())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_numbers_are_read_exactly() {
        assert_eq!(parse_list("t", "cpuset", "0-2,4").unwrap(), [0, 1, 2, 4]);
        for wrong in ["", "a", "1-", "2-1", "1,,2", "+1", "70000"] {
            assert!(parse_list("t", "cpuset", wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn absurd_values_are_refused() {
        for limit in [
            Limit::Memory(Some(1)),
            Limit::Memory(Some(u64::MAX)),
            Limit::Pids(Some(0)),
            Limit::Pids(Some(1 << 40)),
            Limit::CpuWeight(0),
            Limit::Cpu { quota: Some(1 << 50), period: PERIOD },
            Limit::Raw("cgroup.kill".into(), "1".into()),
        ] {
            assert_eq!(limit.check("t").unwrap_err().kind(), ErrorKind::InvalidArgument, "{limit}");
        }
    }
}
