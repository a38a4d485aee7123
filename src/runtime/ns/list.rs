//! Looking at namespaces: of a process, of all processes, and whether two are the same.

use crate::error::{Error, ErrorKind, Result, SysContext};
use crate::runtime::ns::Kind;
use crate::runtime::ns::kinds::ALL;
use crate::runtime::ns::set::unknown_kind;
use crate::sys::{Errno, nsfd};
use serde_json::json;
use std::collections::BTreeMap;

/// The namespaces of process `pid` (0: this thread), by kind.
///
/// # Errors
/// [`ErrorKind::NotFound`] when there is no such process.
pub fn of(op: &'static str, pid: i32) -> Result<BTreeMap<String, u64>> {
    ALL.into_iter().map(|kind| Ok((kind.name.to_owned(), inode(op, pid, kind)?))).collect()
}

/// The namespace of one kind of process `pid`.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] for an unknown kind; [`ErrorKind::NotFound`] when it is gone.
pub fn one(op: &'static str, pid: i32, name: &str) -> Result<u64> {
    inode(op, pid, Kind::of_name(name).ok_or_else(|| unknown_kind(op, name))?)
}

fn inode(op: &'static str, pid: i32, kind: Kind) -> Result<u64> {
    if pid < 0 {
        return Err(Error::new(ErrorKind::InvalidArgument, op, format!("{pid} is not a process id")));
    }
    nsfd::open(pid, kind.file).and_then(nsfd::inode).map_err(|source| {
        let gone = source.errno() == Errno::ENOENT;
        let error = Error::sys(op, format!("cannot identify the {} namespace", kind.name), source);
        if gone {
            error.hint(format!("there is no process {pid}, or this kernel has no such namespaces"))
        } else {
            error
        }
    })
}

/// Whether two processes are in the same namespace of a kind.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] for an unknown kind; [`ErrorKind::NotFound`] when one is gone.
pub fn same(op: &'static str, a: i32, b: i32, name: &str) -> Result<bool> {
    let kind = Kind::of_name(name).ok_or_else(|| unknown_kind(op, name))?;
    Ok(inode(op, a, kind)? == inode(op, b, kind)?)
}

/// All namespaces that a process is in that we may look at.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn all(op: &'static str) -> Result<Vec<serde_json::Value>> {
    let mut found: BTreeMap<(&'static str, u64), Vec<i32>> = BTreeMap::new();
    for entry in std::fs::read_dir("/proc").context(op, "cannot read /proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        for kind in ALL {
            // Processes come and go, and some are not ours to look at.
            if let Ok(inode) = nsfd::open(pid, kind.file).and_then(nsfd::inode) {
                found.entry((kind.name, inode)).or_default().push(pid);
            }
        }
    }
    let shown = found.into_iter().map(|((kind, inode), pids)| {
        let first = pids.iter().min();
        json!({ "kind": kind, "inode": inode, "pids": pids.len(), "pid": first })
    });
    Ok(shown.collect())
}
