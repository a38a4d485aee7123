//! The two versions of control groups behind one trait: how a limit is set and how use is read.

use crate::error::Result;
use crate::runtime::cgroup::dir::Dir;
use crate::runtime::cgroup::limits::{Limit, Max};
use crate::runtime::cgroup::{v1, v2};
use serde_json::Value;
use std::fmt::Debug;

/// What differs between the versions. Chosen for each hierarchy.
pub trait Version: Debug {
    /// Prepares a new group, before any process is in it.
    ///
    /// # Errors
    /// The failed write.
    fn prepare(&self, op: &'static str, parent: &Dir, dir: &Dir) -> Result<()>;

    /// Sets a limit and reads it back.
    ///
    /// # Errors
    /// The failed write; a value that the kernel did not take; a limit that this version does not have.
    fn set(&self, op: &'static str, dir: &Dir, limit: &Limit) -> Result<()>;

    /// The use of memory now, in bytes.
    fn memory_current(&self, dir: &Dir) -> Option<u64>;
    /// The greatest use of memory so far, in bytes.
    fn memory_peak(&self, dir: &Dir) -> Option<u64>;
    /// The use of swap now, in bytes, where `memory` is the use of memory.
    fn swap_current(&self, dir: &Dir, memory: Option<u64>) -> Option<u64>;
    /// How many processes of this very group the memory controller has killed.
    fn oom_kills(&self, dir: &Dir) -> Option<u64>;
    /// What the group has done to each device: `device rbytes wbytes rios wios`.
    fn io(&self, dir: &Dir) -> Vec<Value>;
    /// The periods of its quota, those in which it was held back, and how long that was, in microseconds.
    fn throttling(&self, dir: &Dir) -> [Option<u64>; 3];
    /// The events of the memory and pids controllers, by name.
    fn events(&self, dir: &Dir) -> Vec<(&'static str, u64)>;
    /// The limits in force, by the names of version 2; `max` where there is none.
    fn limits(&self, dir: &Dir) -> Vec<(String, String)>;
}

/// The implementation for a version number.
#[must_use]
pub fn of(version: u8) -> &'static dyn Version {
    if version == 2 { &v2::V2 } else { &v1::V1 }
}

/// The greatest number of pages of a signed 64-bit size: "no limit" of version 1, and the most that counts in version 2.
pub const UNLIMITED: u64 = 0x7fff_ffff_ffff_f000;

/// The kernel counts memory in whole pages, and rounds down.
#[must_use]
pub fn pages(bytes: u64) -> u64 {
    let page = rustix::param::page_size() as u64;
    (bytes / page * page).min(UNLIMITED)
}

/// A value that may be unlimited, as text.
#[must_use]
pub fn show(value: Max, unlimited: &str) -> String {
    value.map_or_else(|| unlimited.to_owned(), |value| value.to_string())
}

/// A limit of huge pages as the kernel rounds it: down to whole ones of `size`, such as `2MB`.
#[must_use]
pub fn huge_pages(size: &str, bytes: u64) -> u64 {
    let page = crate::runtime::units::parse_bytes(size).unwrap_or(1).max(1);
    (bytes / page * page).min(UNLIMITED)
}

/// Checks that what a group is to have of a list (processors, memory nodes) is in what its parent has.
///
/// # Errors
/// [`crate::error::ErrorKind::InvalidArgument`] that names what is there.
pub fn check_within(op: &'static str, file: &str, list: &str, available: &str) -> Result<()> {
    use crate::error::{Error, ErrorKind};
    let wanted = super::limits::parse_list(op, file, list)?;
    let there = super::limits::parse_list(op, file, available)?;
    let Some(missing) = wanted.iter().find(|number| !there.contains(number)) else { return Ok(()) };
    let kind = if file == "cpuset.cpus" { "processor" } else { "memory node" };
    let what = format!("{file}: {list:?} names the {kind} {missing}, which is not there");
    Err(Error::new(ErrorKind::InvalidArgument, op, what)
        .hint(format!("this machine, or the group above, has {available}")))
}
