//! User and group id maps of a user namespace (user_namespaces(7)).

use crate::error::{Error, ErrorKind, Result, SysContext};
use crate::sys::{Errno, file};
use rustix::fs::{CWD, Mode, OFlags};
use std::path::Path;

/// A range of ids: `size` ids from `container` inside are those from `host` outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdMap {
    /// The first id inside.
    pub container: u32,
    /// The first id outside.
    pub host: u32,
    /// How many.
    pub size: u32,
}

/// The two maps of a user namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdMaps {
    /// User ids.
    pub uid: Vec<IdMap>,
    /// Group ids.
    pub gid: Vec<IdMap>,
}

/// The kernel takes this many ranges (Linux 4.15).
const MOST: usize = 340;

impl IdMaps {
    /// Root inside is the caller outside, and nobody else is anybody.
    #[must_use]
    pub fn root() -> Self {
        let one = |host| vec![IdMap { container: 0, host, size: 1 }];
        Self { uid: one(nix::unistd::geteuid().as_raw()), gid: one(nix::unistd::getegid().as_raw()) }
    }

    /// Checks that ranges are not empty, do not wrap and do not overlap.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] naming the range.
    pub fn check(&self, op: &'static str) -> Result<()> {
        check_ranges(op, "uid_map", &self.uid)?;
        check_ranges(op, "gid_map", &self.gid)
    }

    /// Whether root inside exists, as a user and as a group.
    #[must_use]
    pub fn has_root(&self) -> bool {
        let has = |ranges: &[IdMap]| ranges.iter().any(|range| range.container == 0);
        has(&self.uid) && has(&self.gid)
    }

    /// Writes the maps for the process `pid`, and reads them back.
    ///
    /// # Errors
    /// The failed write; `EPERM` when the ranges are not the caller's to give.
    pub fn write(&self, op: &'static str, pid: i32) -> Result<()> {
        // Without privilege over the ids a group map needs setgroups to be given up first (CVE-2014-8989).
        if !nix::unistd::geteuid().is_root() {
            write_file(op, pid, "setgroups", "deny")?;
        }
        write_map(op, pid, "uid_map", &self.uid)?;
        write_map(op, pid, "gid_map", &self.gid)
    }
}

fn check_ranges(op: &'static str, name: &str, ranges: &[IdMap]) -> Result<()> {
    let fail = |what: String| Err(Error::new(ErrorKind::InvalidArgument, op, format!("{name}: {what}")));
    if ranges.len() > MOST {
        return fail(format!("{} ranges; the kernel takes {MOST}", ranges.len()));
    }
    for (index, range) in ranges.iter().enumerate() {
        let IdMap { container, host, size } = *range;
        if size == 0 {
            return fail(format!("range {index} is empty"));
        }
        if container.checked_add(size - 1).is_none() || host.checked_add(size - 1).is_none() {
            return fail(format!("range {index} ends beyond the largest id"));
        }
        for other in &ranges[..index] {
            let overlap = |a: u32, b: u32| a <= b + (other.size - 1) && b <= a + (size - 1);
            if overlap(container, other.container) || overlap(host, other.host) {
                return fail(format!("range {index} overlaps another"));
            }
        }
    }
    Ok(())
}

fn write_map(op: &'static str, pid: i32, name: &str, ranges: &[IdMap]) -> Result<()> {
    use std::fmt::Write;
    if ranges.is_empty() {
        return Ok(());
    }
    let mut text = String::new();
    for IdMap { container, host, size } in ranges {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{container} {host} {size}");
    }
    write_file(op, pid, name, &text)?;
    // The kernel sorts many ranges: it has to hold the same ones, in any order.
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let held = read_back(op, pid, name)?;
    if sorted(&held) == sorted(&text) {
        return Ok(());
    }
    let what = format!("{name}: asked for {:?}, the kernel holds {held:?}", text.trim_end());
    Err(Error::new(ErrorKind::InvalidArgument, op, what))
}

fn write_file(op: &'static str, pid: i32, name: &str, text: &str) -> Result<()> {
    let path = format!("/proc/{pid}/{name}");
    let write = || {
        let fd = file::openat(CWD, Path::new(&path), OFlags::WRONLY, Mode::empty())?;
        file::write_once(&fd, text.as_bytes())
    };
    write().map(drop).map_err(|source| {
        let denied = source.errno() == Errno::EPERM;
        let error = Error::sys(op, format!("cannot write the {name}"), source);
        if denied {
            error.hint("a map may only give ids that are the caller's own, unless the caller is root")
        } else {
            error
        }
    })
}

/// A process's map as the kernel shows it, without the padding.
fn read_back(op: &'static str, pid: i32, name: &str) -> Result<String> {
    let path = format!("/proc/{pid}/{name}");
    let text = std::fs::read_to_string(&path).context(op, format!("cannot read {path}"))?;
    Ok(text
        .lines()
        .map(|line| line.split_ascii_whitespace().collect::<Vec<_>>().join(" "))
        .collect::<Vec<_>>()
        .join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_and_wrapping_ranges_are_refused() {
        let map = |container, host, size| IdMap { container, host, size };
        for (ranges, good) in [
            (vec![map(0, 1000, 1)], true),
            (vec![map(0, 1000, 10), map(10, 2000, 5)], true),
            (vec![map(0, 1000, 10), map(9, 2000, 5)], false),
            (vec![map(0, 1000, 10), map(20, 1005, 5)], false),
            (vec![map(0, u32::MAX, 2)], false),
            (vec![map(0, 0, 0)], false),
        ] {
            let maps = IdMaps { uid: ranges.clone(), gid: Vec::new() };
            assert_eq!(maps.check("ns::new").is_ok(), good, "{ranges:?}");
        }
    }
}
