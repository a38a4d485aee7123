//! Version 2: controllers reach the groups below a group when it says so, and only while no process is in it itself.
//!
//! Our own group may be in that way. Where it is ours to change (the root of a container, or of a subtree that was
//! delegated), its processes go into a leaf below it; where it is the user's, the error says so.

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::cgroup::dir::Dir;
use crate::runtime::object::{FileId, Object};
use crate::runtime::rootless;
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
/// [`ErrorKind::Busy`] while processes are in it; the failed write.
pub fn enable_in_ours(op: &'static str, dir: &Dir, controllers: &[&str]) -> Result<()> {
    let missing = missing(op, dir, controllers)?;
    if !missing.is_empty() && is_crowded(op, dir)? {
        let what = format!("{} has processes, and cannot limit groups below it", dir.path.display());
        return Err(Error::new(ErrorKind::Busy, op, what).path(&dir.path).hint(NO_INTERNAL));
    }
    write(op, dir, &missing)
}

/// Takes back the controllers of the groups below `dir`, a group that this session made, once there are none: it takes
/// processes then.
///
/// # Errors
/// [`ErrorKind::Busy`] while there are some; the failed write.
pub fn disable_in_ours(op: &'static str, dir: &Dir) -> Result<()> {
    let enabled = dir.read(op, "cgroup.subtree_control")?;
    if enabled.is_empty() {
        return Ok(());
    }
    if !children(&dir.path).is_empty() {
        let what = format!("{} limits groups below it, and takes no process", dir.path.display());
        return Err(Error::new(ErrorKind::Busy, op, what).path(&dir.path).hint(NO_INTERNAL));
    }
    let text: Vec<String> = enabled.split(' ').map(|name| format!("-{name}")).collect();
    dir.write(op, "cgroup.subtree_control", &text.join(" "))
}

/// What the no-internal-process rule asks of users (cgroups(7)).
pub(super) const NO_INTERNAL: &str = "in version 2 a group has processes, or groups below it with controllers, not both: put the processes into a group below it first (g.create(\"leaf\").add(pid))";

/// Whether the no-internal-process rule holds for a group, and processes are in it.
///
/// The kernel refuses most controllers then, but gives cpu, cpuset and pids: as a threaded domain, whose groups take no
/// process.
///
/// # Errors
/// The failed read.
pub fn is_crowded(op: &'static str, dir: &Dir) -> Result<bool> {
    // The root of the machine has no type, and the rule does not hold for it.
    Ok(dir.has_file("cgroup.type") && !dir.read(op, "cgroup.procs")?.is_empty())
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
    // Who may not do that is told so before anything else.
    drop(dir.open_for_writing(op, "cgroup.subtree_control")?);
    let leaf = leaf_for(session, op, dir, ours)?;
    let text = format!("give {} to the groups below {}", names.join(" "), dir.path.display());
    let object = Object::Controllers {
        dir: dir.path.clone(),
        id: dir.id,
        names: names.clone(),
        leaf: leaf.clone(),
        token: session.token().to_owned(),
    };
    session.step(Intent { op, text, claim: object.clone() }, |_| {
        if let Some(leaf) = &leaf {
            vacate(op, dir, leaf)?;
        }
        write(op, dir, &names)?;
        let effect = format!("{} in cgroup.subtree_control", names.join(" "));
        Ok(Done { value: (), object, effect })
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

/// The leaf for the processes in our own group, if there are some and they are ours to move.
fn leaf_for(session: &Session, op: &'static str, dir: &Dir, ours: bool) -> Result<Option<PathBuf>> {
    if !is_crowded(op, dir)? {
        return Ok(None);
    }
    if !ours && !is_ours(dir) {
        return Err(not_ours(op, dir));
    }
    drop(dir.open_for_writing(op, "cgroup.procs")?);
    Ok(Some(dir.path.join(format!("{LEAF}{}", session.token()))))
}

/// Our own group is somebody's who put processes there: nothing that a program may undo.
fn not_ours(op: &'static str, dir: &Dir) -> Error {
    let path = dir.path.display();
    let what = format!("{path}, the group of this program, has processes, and cannot limit groups below it");
    Error::new(ErrorKind::Busy, op, what).path(&dir.path).hint(format!(
        "in version 2 a group has processes, or groups below it with controllers, not both, and this one was not delegated: start the program as `systemd-run --scope -p Delegate=yes cshell …`, or in a group above processes of its own: `mkdir {path}/leaf; for p in $(cat {path}/cgroup.procs); do echo $p >{path}/leaf/cgroup.procs; done`"
    ))
}

/// Whether a group that processes are in is ours to arrange: it was delegated to us.
fn is_ours(dir: &Dir) -> bool {
    let user = nix::unistd::geteuid().as_raw();
    // Root of a user namespace owns what the machine has given to it, and nothing else shows it as the owner.
    let ordinary = user != 0 || rootless::in_user_ns();
    let owned = ordinary && std::fs::metadata(&dir.path).is_ok_and(|found| found.uid() == user);
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

/// Moves a process, if it is still there.
pub(super) fn move_one(to: &Dir, op: &'static str, pid: &str) -> Result<()> {
    match to.write(op, "cgroup.procs", pid) {
        // It has ended meanwhile.
        Err(error) if error.errno() == Some(Errno::ESRCH) => Ok(()),
        other => other,
    }
}

/// Takes controllers away again and moves processes back, unless somebody else has groups there by now, or one that was
/// kept.
///
/// # Errors
/// When it is still as it was left, and cannot be brought back.
pub fn restore(dir: &Path, id: FileId, names: &[String], leaf: Option<&Path>, token: &str) -> Result<()> {
    let same = || file::identify(CWD, dir).is_ok_and(|found| (found.dev, found.ino) == (id.dev, id.ino));
    if !same() {
        return Ok(());
    }
    match take_back(dir, names, leaf, token) {
        // Gone meanwhile: systemd takes a scope down as soon as it is empty.
        Err(_) if !same() => Ok(()),
        other => other,
    }
}

fn take_back(dir: &Path, names: &[String], leaf: Option<&Path>, token: &str) -> Result<()> {
    const OP: &str = "undo";
    let own = Dir::open(OP, dir, 2, &[])?;
    let enabled = own.read(OP, "cgroup.subtree_control")?;
    let mut enabled: Vec<&str> = enabled.split_ascii_whitespace().collect();
    // The leaf, and the group of what runs without one: they need no controllers.
    let ours = |child: &Path| child.file_name().is_some_and(|name| name.to_string_lossy().ends_with(token));
    let needed = children(dir).iter().any(|child| !ours(child));
    for name in names {
        let Some(at) = enabled.iter().position(|enabled| enabled == name) else { continue };
        if needed {
            return Ok(());
        }
        match own.write(OP, "cgroup.subtree_control", &format!("-{name}")) {
            // Gone with its hierarchy.
            Err(error) if matches!(error.errno(), Some(Errno::ENOENT | Errno::EINVAL)) => {}
            other => other?,
        }
        enabled.swap_remove(at);
    }
    // No process can go back while others are enabled: those of an earlier step, which has the same leaf.
    let Some(leaf) = leaf.filter(|leaf| leaf.exists() && enabled.is_empty()) else { return Ok(()) };
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
