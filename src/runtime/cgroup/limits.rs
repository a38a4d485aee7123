//! Limits as data: what is asked for, in the terms of version 2.

use crate::error::{Error, ErrorKind, Result};

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
}

/// The period of `cpu.max` where none is given, in microseconds.
pub const PERIOD: u64 = 100_000;

impl Limit {
    /// The controller that enforces it.
    #[must_use]
    pub const fn controller(&self) -> &'static str {
        match self {
            Self::Memory(_) | Self::Swap(_) | Self::MemoryHigh(_) => "memory",
            Self::Pids(_) => "pids",
            Self::Cpu { .. } | Self::CpuWeight(_) => "cpu",
            Self::CpusetCpus(_) | Self::CpusetMems(_) => "cpuset",
        }
    }

    /// The name of its file in version 2.
    #[must_use]
    pub const fn file(&self) -> &'static str {
        match self {
            Self::Memory(_) => "memory.max",
            Self::Swap(_) => "memory.swap.max",
            Self::MemoryHigh(_) => "memory.high",
            Self::Pids(_) => "pids.max",
            Self::Cpu { .. } => "cpu.max",
            Self::CpuWeight(_) => "cpu.weight",
            Self::CpusetCpus(_) => "cpuset.cpus",
            Self::CpusetMems(_) => "cpuset.mems",
        }
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
        let invalid = |what: String| Err(Error::new(ErrorKind::InvalidArgument, op, what));
        match self {
            Self::Pids(Some(0)) => invalid("pids: 0 would let nothing run; the least is 1".into()),
            Self::Memory(Some(bytes @ 0..4096)) => {
                invalid(format!("memory: {bytes} bytes is less than a page (4096)"))
            }
            Self::CpuWeight(weight) if !(1..=10_000).contains(weight) => {
                invalid(format!("cpu_weight: {weight} is not within 1 to 10000"))
            }
            Self::Cpu { quota: Some(quota), .. } if *quota < 1000 => {
                invalid(format!("cpu.max: a quota of {quota} us is below the kernel's least, 1000"))
            }
            Self::Cpu { period, .. } if !(1000..=1_000_000).contains(period) => {
                invalid(format!("cpu.max: a period of {period} us is not within 1000 to 1000000"))
            }
            Self::CpusetCpus(list) | Self::CpusetMems(list) => check_list(op, self.file(), list),
            _ => Ok(()),
        }
    }
}

/// A list of numbers and ranges, as cpuset(7) writes them, in the one form in which the kernel shows it: `0,1,3` is
/// `0-1,3`. `None` for what is no such list.
pub(super) fn canonical(list: &str) -> Option<String> {
    let number = |text: &str| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        if digits { text.parse::<u32>().ok() } else { None }
    };
    let part = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        (first <= last).then_some((first, last))
    };
    let mut parts = list.split(',').map(part).collect::<Option<Vec<_>>>()?;
    parts.sort_unstable();
    let mut merged: Vec<(u32, u32)> = Vec::new();
    for (first, last) in parts {
        match merged.last_mut() {
            Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
            _ => merged.push((first, last)),
        }
    }
    let show = |(first, last)| if first == last { format!("{first}") } else { format!("{first}-{last}") };
    Some(merged.into_iter().map(show).collect::<Vec<_>>().join(","))
}

/// Checks a list of numbers and ranges.
fn check_list(op: &'static str, name: &str, list: &str) -> Result<()> {
    if canonical(list).is_some() {
        return Ok(());
    }
    let what = format!("{name}: {list:?} is not a list of numbers and ranges");
    Err(Error::new(ErrorKind::InvalidArgument, op, what).hint("write it as \"0-2,4\""))
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let max = |value: &Max| value.map_or_else(|| "max".to_owned(), |value| value.to_string());
        match self {
            Self::Memory(value) | Self::Swap(value) | Self::MemoryHigh(value) | Self::Pids(value) => {
                write!(f, "{}={}", self.file(), max(value))
            }
            Self::Cpu { quota, period } => write!(f, "cpu.max={} {period}", max(quota)),
            Self::CpuWeight(weight) => write!(f, "cpu.weight={weight}"),
            Self::CpusetCpus(list) | Self::CpusetMems(list) => write!(f, "{}={list}", self.file()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn lists_have_one_form() {
        for (list, form) in [
            ("0", Some("0")),
            ("0,1", Some("0-1")),
            ("3,0-1,2", Some("0-3")),
            ("4,0-1,00", Some("0-1,4")),
            ("0-4294967295", Some("0-4294967295")),
            ("", None),
            ("1-0", None),
            ("0,", None),
            ("-1", None),
            ("0 ,1", None),
            ("+1", None),
            ("4294967296", None),
        ] {
            assert_eq!(canonical(list).as_deref(), form, "{list:?}");
        }
    }
}
