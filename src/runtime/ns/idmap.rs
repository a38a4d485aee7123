//! User and group id maps of a user namespace (user_namespaces(7)).

use crate::error::{Error, ErrorKind, Result, SysContext};
use crate::runtime::ns::subid::{self, IdKind};
use crate::runtime::rootless;
use crate::sys::child::{Op, Plan};
use crate::sys::{Errno, clone, file, nsfd};
use nix::sched::CloneFlags;
use rustix::fs::{CWD, Mode, OFlags};
use std::os::fd::OwnedFd;
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

/// Who chose the maps of a user namespace, and so who a process in it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// The user: a process becomes root inside, if there is one.
    #[default]
    Asked,
    /// The program, with ids that nobody else has: as above, and the files of a root belong to who they belong to outside.
    Auto,
    /// The program, so that the caller keeps its ids: a process stays the caller.
    Keep,
}

/// The two maps of a user namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdMaps {
    /// User ids.
    pub uid: Vec<IdMap>,
    /// Group ids.
    pub gid: Vec<IdMap>,
    /// Who chose them.
    pub shape: Shape,
}

/// The kernel takes this many ranges (Linux 4.15).
const MOST: usize = 340;

impl IdMaps {
    /// Root inside is the caller outside, and nobody else is anybody.
    #[must_use]
    pub fn root() -> Self {
        let one = |host| vec![IdMap { container: 0, host, size: 1 }];
        let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        Self { uid: one(uid), gid: one(gid), shape: Shape::Asked }
    }

    /// Whether a process becomes root inside: there is one, as a user and as a group, and the caller is not to stay itself.
    #[must_use]
    pub fn becomes_root(&self) -> bool {
        self.has_root() && self.shape != Shape::Keep
    }

    /// Who root inside is outside: its user and its group.
    #[must_use]
    pub fn root_outside(&self) -> Option<(u32, u32)> {
        let of = |map: &[IdMap]| map.iter().find(|range| range.container == 0).map(|range| range.host);
        of(&self.uid).zip(of(&self.gid))
    }

    /// A user namespace with these maps that nothing is in, as a descriptor: for the mapping of a mount.
    ///
    /// # Errors
    /// As of [`write`](Self::write); a user namespace that the kernel refuses.
    pub fn namespace(&self, op: &'static str) -> Result<OwnedFd> {
        let plan = Plan::new(vec![Op::Wait], Vec::new(), Vec::new());
        // It is ended and collected when it is dropped.
        let child = clone::start(plan, CloneFlags::CLONE_NEWUSER, None)
            .map_err(|source| rootless::no_user_ns(op, source))?;
        self.write(op, child.pid)?;
        nsfd::open(child.pid, "user").context(op, "cannot open the user namespace")
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

    /// Writes the maps for the process `pid`, a child that nobody has waited for, and reads them back.
    ///
    /// An ordinary user writes its own id alone; more are written by `newuidmap` and `newgidmap`, which know the user's
    /// subordinate ids.
    ///
    /// # Errors
    /// The failed write; ids that are not the caller's to give, with those that are.
    pub fn write(&self, op: &'static str, pid: i32) -> Result<()> {
        let root = nix::unistd::geteuid().is_root();
        let own = |map: &[IdMap], id: u32| matches!(map, [one] if (one.host, one.size) == (id, 1));
        let alone = own(&self.gid, nix::unistd::getegid().as_raw()) || self.gid.is_empty();
        // Without privilege over the ids a group map needs setgroups to be given up first (CVE-2014-8989).
        if !root && alone {
            write_file(op, pid, "setgroups", "deny")?;
        }
        for (kind, map, id) in [
            (IdKind::User, &self.uid, nix::unistd::geteuid().as_raw()),
            (IdKind::Group, &self.gid, nix::unistd::getegid().as_raw()),
        ] {
            if map.is_empty() {
                continue;
            }
            if root || own(map, id) {
                write_map(op, pid, kind, map)?;
            } else {
                subid::write(op, kind, pid, map)?;
            }
            verify(op, pid, kind, map)?;
        }
        Ok(())
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
        if container.checked_add(size).is_none() || host.checked_add(size).is_none() {
            return fail(format!("range {index} ends beyond the largest id, {}", u32::MAX - 1));
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

fn text_of(ranges: &[IdMap]) -> String {
    ranges.iter().map(|IdMap { container, host, size }| format!("{container} {host} {size}\n")).collect()
}

fn write_map(op: &'static str, pid: i32, kind: IdKind, ranges: &[IdMap]) -> Result<()> {
    let name = kind.map();
    write_file(op, pid, name, &text_of(ranges)).map_err(|error| {
        if error.errno() != Some(Errno::EPERM) {
            return error;
        }
        match beyond(op, kind, ranges) {
            Some(what) => Error::new(ErrorKind::PermissionDenied, op, what).hint(
                rootless::entered().and_then(|entered| entered.alone.clone()).unwrap_or_else(|| {
                    "only ids of this program's own user namespace can be given: see /proc/self/uid_map"
                        .into()
                }),
            ),
            None => no_power(error),
        }
    })
}

/// What was asked for beyond the ids that this program's own user namespace maps.
fn beyond(op: &'static str, kind: IdKind, ranges: &[IdMap]) -> Option<String> {
    let held = subid::held(op, kind).ok()?;
    let end = |start: u32, count: u32| u64::from(start) + u64::from(count);
    // The kernel looks for each range in what is held as one: two that meet are not one.
    let inside = |range: &IdMap| {
        held.iter().any(|known| {
            range.host >= known.start && end(range.host, range.size) <= end(known.start, known.count)
        })
    };
    let range = ranges.iter().find(|range| !inside(range))?;
    let known: Vec<String> =
        held.iter().map(|known| format!("{}-{}", known.start, end(known.start, known.count) - 1)).collect();
    let last = end(range.host, range.size) - 1;
    Some(format!(
        "{}: ids {}-{last} were asked for, and this program has {}",
        kind.map(),
        range.host,
        known.join(", ")
    ))
}

/// What a refused write means where the ids themselves are the caller's.
fn no_power(error: Error) -> Error {
    match rootless::forbidden() {
        Some((what, fix)) => error.hint(format!("{what}; {fix}")),
        None => error.hint("a map may only give ids that are the caller's own, unless the caller is root"),
    }
}

/// The kernel sorts many ranges: it has to hold the same ones, in any order.
fn verify(op: &'static str, pid: i32, kind: IdKind, ranges: &[IdMap]) -> Result<()> {
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let (name, text) = (kind.map(), text_of(ranges));
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
    write().map(drop).context(op, format!("cannot write the {name}"))
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
            (vec![map(0, u32::MAX, 1)], false),
            (vec![map(0, u32::MAX - 1, 1)], true),
            (vec![map(0, 0, 0)], false),
        ] {
            let maps = IdMaps { uid: ranges.clone(), ..IdMaps::default() };
            assert_eq!(maps.check("ns::new").is_ok(), good, "{ranges:?}");
        }
    }
}
