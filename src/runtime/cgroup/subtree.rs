//! Version 2: controllers reach the groups below a group when it says so, and only while no process is in it itself.
//!
//! Our own group may be in that way. Where it is ours to change (the root of a container, or of a subtree that was
//! delegated), its processes go into a leaf below it; where it is the user's, the error says so.

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::cgroup::dir::Dir;
use crate::runtime::object::{FileId, Object};
use crate::runtime::session::{Done, Intent, Session};
use crate::sys::{Errno, file, inode};
use rustix::fs::CWD;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// How the name of a leaf begins.
pub const LEAF: &str = "cshell-leaf-";

/// Makes `controllers` available to the groups below `dir`, a group that this session made.
///
/// # Errors
/// The failed write: `EBUSY` while processes are in it.
pub fn enable_in_ours(op: &'static str, dir: &Dir, controllers: &[&str]) -> Result<()> {
    let missing = missing(op, dir, controllers)?;
    write(op, dir, &missing)
}

/// Makes `controllers` available to the groups below `dir`, our own group, as a step of the session. `ours` says that its
/// processes may be moved into a leaf in any case.
///
/// # Errors
/// [`ErrorKind::Busy`] while processes are in it that are not ours to move; the failed write.
pub fn enable_in_own(
    session: &Session,
    op: &'static str,
    dir: &Dir,
    ours: bool,
    controllers: &[&str],
) -> Result<()> {
    let names = missing(op, dir, controllers)?;
    if names.is_empty() {
        return Ok(());
    }
    let leaf = dir.path.join(format!("{LEAF}{}", session.token()));
    let object = |leaf| Object::Controllers { dir: dir.path.clone(), id: dir.id, names: names.clone(), leaf };
    let text = format!("give {} to the groups below {}", names.join(" "), dir.path.display());
    let in_the_way = has_processes(op, dir)?;
    if in_the_way && !ours && !is_ours(dir) {
        dir.open_for_writing(op, "cgroup.subtree_control")?;
        return Err(dir.taken(op));
    }
    let made = in_the_way.then(|| leaf.clone());
    let intent = Intent { op, text, claim: object(made.clone()) };
    session.step(intent, |_| {
        if in_the_way {
            vacate(op, dir, &leaf)?;
        }
        write(op, dir, &names)?;
        let effect = format!("{} in cgroup.subtree_control", names.join(" "));
        Ok(Done { value: (), object: object(made), effect })
    })?;
    Ok(())
}

/// Whether the rule holds for this group, as it does not for the root of the machine, and processes are in the way of it.
///
/// Some controllers can be enabled all the same (cpu, pids and others know threads), and make a group below in which no
/// process can be (cgroup-v2.rst, "Threads").
fn has_processes(op: &'static str, dir: &Dir) -> Result<bool> {
    Ok(dir.has_file("cgroup.type") && !dir.read(op, "cgroup.procs")?.is_empty())
}

fn missing(op: &'static str, dir: &Dir, controllers: &[&str]) -> Result<Vec<String>> {
    let enabled = dir.read(op, "cgroup.subtree_control")?;
    let enabled: Vec<&str> = enabled.split(' ').collect();
    let missing = controllers.iter().filter(|name| !enabled.contains(name));
    let mut missing: Vec<String> = missing.map(|name| (*name).to_owned()).collect();
    missing.sort();
    missing.dedup();
    Ok(missing)
}

fn write(op: &'static str, dir: &Dir, names: &[String]) -> Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    let text: Vec<String> = names.iter().map(|name| format!("+{name}")).collect();
    dir.write(op, "cgroup.subtree_control", &text.join(" "))
}

/// Whether a group that processes are in is ours to arrange: it was delegated to us.
fn is_ours(dir: &Dir) -> bool {
    let user = nix::unistd::geteuid().as_raw();
    let owned = user != 0 && std::fs::metadata(&dir.path).is_ok_and(|found| found.uid() == user);
    is_delegated(dir.fd()) || owned
}

/// Whether systemd has marked the folder of a group as delegated: what is below it is nobody else's to arrange.
#[must_use]
pub fn is_delegated(dir: impl AsFd) -> bool {
    ["trusted.delegate", "user.delegate"].into_iter().any(|name| {
        let value = inode::xattr(dir.as_fd(), Path::new(""), name.as_bytes());
        value.is_ok_and(|value| value.as_deref() == Some(b"1"))
    })
}

/// Moves the processes of a group into a leaf below it.
fn vacate(op: &'static str, dir: &Dir, leaf: &Path) -> Result<()> {
    let name = leaf.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    // There since an earlier call, where processes have come since.
    let known = leaf.exists();
    let leaf = if known { Dir::open(op, leaf, dir.version, &[])? } else { dir.make(op, name)? };
    // Some may be born while others are moved.
    for _ in 0..100 {
        let pids = dir.read(op, "cgroup.procs")?;
        if pids.is_empty() {
            return Ok(());
        }
        for pid in pids.lines() {
            move_one(&leaf, op, pid)?;
        }
    }
    Err(Error::new(ErrorKind::Busy, op, "processes are born faster than they can be moved into a leaf")
        .path(&dir.path))
}

fn move_one(to: &Dir, op: &'static str, pid: &str) -> Result<()> {
    match to.write(op, "cgroup.procs", pid) {
        // It has ended meanwhile.
        Err(error) if error.errno() == Some(Errno::ESRCH) => Ok(()),
        other => other,
    }
}

/// Takes controllers away again and moves processes back, unless somebody else has groups there by now.
///
/// # Errors
/// When it is still as it was left, and cannot be brought back.
pub fn restore(dir: &Path, id: FileId, names: &[String], leaf: Option<&Path>) -> Result<()> {
    let same = || file::identify(CWD, dir).is_ok_and(|found| (found.dev, found.ino) == (id.dev, id.ino));
    let others = children(dir).into_iter().any(|child| Some(child.as_path()) != leaf);
    if !same() || others {
        return Ok(());
    }
    match take_back(dir, names, leaf) {
        // Gone meanwhile: systemd takes a scope down as soon as it is empty.
        Err(_) if !same() => Ok(()),
        other => other,
    }
}

fn take_back(dir: &Path, names: &[String], leaf: Option<&Path>) -> Result<()> {
    const OP: &str = "undo";
    let own = Dir::open(OP, dir, 2, &[])?;
    let enabled = own.read(OP, "cgroup.subtree_control")?;
    // Nothing was enabled while processes were in it; what later steps enabled, they left because of the leaf.
    let names: Vec<&str> = match leaf {
        Some(_) => enabled.split_ascii_whitespace().collect(),
        None => names.iter().map(String::as_str).collect(),
    };
    for name in names {
        match own.write(OP, "cgroup.subtree_control", &format!("-{name}")) {
            // Never enabled, or gone with its hierarchy.
            Err(error) if matches!(error.errno(), Some(Errno::ENOENT | Errno::EINVAL)) => {}
            other => other?,
        }
    }
    let Some(leaf) = leaf.filter(|leaf| leaf.exists()) else { return Ok(()) };
    let text = std::fs::read_to_string(leaf.join("cgroup.procs")).unwrap_or_default();
    for pid in text.lines() {
        move_one(&own, OP, pid)?;
    }
    super::reclaim::remove(leaf)
}

/// The folders of the groups below one.
#[must_use]
pub fn children(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found
}
