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
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Makes `controllers` available to the groups below `dir`, a group that this session made.
///
/// # Errors
/// The failed write: `EBUSY` while processes are in it.
pub fn enable_in_ours(op: &'static str, dir: &Dir, controllers: &[&str]) -> Result<()> {
    let missing = missing(op, dir, controllers)?;
    write(op, dir, &missing)
}

/// Makes `controllers` available to the groups below `dir`, our own group, as a step of the session. `top` says that it
/// is the root of what is mounted here.
///
/// # Errors
/// The failed write: `EBUSY` while processes are in it that are not ours to move.
pub fn enable_in_own(
    session: &Session,
    op: &'static str,
    dir: &Dir,
    top: bool,
    controllers: &[&str],
) -> Result<()> {
    let names = missing(op, dir, controllers)?;
    if names.is_empty() {
        return Ok(());
    }
    let object = |leaf| Object::Controllers { dir: dir.path.clone(), id: dir.id, names: names.clone(), leaf };
    let text = format!("give {} to the groups below {}", names.join(" "), dir.path.display());
    let intent = Intent { op, text, claim: object(None) };
    session.step(intent, |progress| {
        let mut leaf = None;
        if let Err(error) = write(op, dir, &names) {
            if error.errno() != Some(Errno::EBUSY) || !is_ours(dir, top) {
                return Err(error);
            }
            let path = dir.path.join(format!("cshell-leaf-{}", session.token()));
            progress.made(object(Some(path.clone())))?;
            leaf = Some(path.clone());
            vacate(op, dir, &path)?;
            write(op, dir, &names)?;
        }
        let effect = format!("{} in cgroup.subtree_control", names.join(" "));
        Ok(Done { value: (), object: object(leaf), effect })
    })?;
    Ok(())
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

/// Whether a group that processes are in is ours to arrange: the root of a container, or delegated to us.
fn is_ours(dir: &Dir, top: bool) -> bool {
    let delegated = ["trusted.delegate", "user.delegate"].into_iter().any(|name| {
        let value = inode::xattr(dir.fd(), Path::new(""), name.as_bytes());
        value.is_ok_and(|value| value.as_deref() == Some(b"1"))
    });
    let user = nix::unistd::geteuid().as_raw();
    // Root of a user namespace owns what the machine has given to it, and nothing else shows it as the owner.
    let ordinary = user != 0 || crate::runtime::rootless::in_user_ns();
    let owned = ordinary && std::fs::metadata(&dir.path).is_ok_and(|found| found.uid() == user);
    // The root of the machine has no type, and the rule does not hold for it.
    (top && dir.has_file("cgroup.type")) || delegated || owned
}

/// Moves the processes of a group into a leaf below it.
fn vacate(op: &'static str, dir: &Dir, leaf: &Path) -> Result<()> {
    let name = leaf.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let leaf = dir.make(op, name)?;
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
    const OP: &str = "undo";
    let same = file::identify(CWD, dir).is_ok_and(|found| (found.dev, found.ino) == (id.dev, id.ino));
    let others = children(dir).into_iter().any(|child| Some(child.as_path()) != leaf);
    if !same || others {
        return Ok(());
    }
    let own = Dir::open(OP, dir, 2, &[])?;
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
