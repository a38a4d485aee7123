//! Groups side by side for processes of this program that each arrange groups of their own.
//!
//! In version 2 a group has processes, or groups below it with controllers. A session that needs limits moves what is in its own
//! group into a leaf; two in one group would each move the other. So whoever starts several gives each a group of its own, which
//! is marked as delegated to it.

use crate::error::{Result, SysContext};
use crate::runtime::cgroup::dir::Dir;
use crate::runtime::cgroup::host::Ground;
use crate::runtime::cgroup::subtree;
use crate::runtime::object::Object;
use crate::runtime::session::{Done, Intent, Session, StepId};
use crate::sys::{file, inode};
use rustix::fs::{CWD, Mode, OFlags};
use std::path::{Path, PathBuf};

const OP: &str = "test";

/// Makes our own version 2 group one that has groups with controllers below it, until the session ends, and returns its folder. Nothing
/// where there is no such tree or it has no controllers, and where our own group is not ours to arrange: then nobody else's is.
#[must_use]
pub fn make(session: &Session) -> Option<PathBuf> {
    let ground = Ground::of(session, OP).ok()?;
    let host = ground.host();
    let unified = host.unified().filter(|unified| !unified.controllers.is_empty())?;
    let dir = ground.own(OP, unified).ok()?;
    // Where all controllers are given already, nothing was written yet that could have been refused.
    rustix::fs::access(&dir.path, rustix::fs::Access::WRITE_OK).ok()?;
    let names: Vec<&str> = unified.controllers.iter().map(String::as_str).collect();
    subtree::enable_in_own(session, OP, &dir, ground.is_ours(), &names).ok()?;
    Some(dir.path.clone())
}

/// Makes a group in the folder that [`make`] returned. It goes, with what is in it, when the step is undone.
///
/// # Errors
/// The failed `mkdirat`.
pub fn group(session: &Session, nest: &Path) -> Result<(StepId, PathBuf)> {
    let name = format!("cshell-{}-{}", session.token(), session.serial());
    let path = nest.join(&name);
    let object = |ids| Object::Cgroup { dirs: vec![path.clone()], ids, token: true };
    let intent = Intent { op: OP, text: format!("make the group {name}"), claim: object(Vec::new()) };
    session.step(intent, |_| {
        let parent = Dir::open(OP, nest, 2, &[])?;
        let dir = parent.make(OP, &name)?;
        // A kernel without these attributes on groups says whose it is by the owner alone.
        let _ = inode::set_xattr(dir.fd(), Path::new(""), b"user.delegate", b"1");
        Ok(Done { value: path.clone(), object: object(vec![dir.id]), effect: path.display().to_string() })
    })
}

/// Moves this program into a group.
///
/// # Errors
/// The failed `openat` or `write`.
pub fn enter(group: &Path) -> Result<()> {
    let what = || format!("cannot enter {}", group.display());
    let fd =
        file::openat(CWD, &group.join("cgroup.procs"), OFlags::WRONLY, Mode::empty()).context(OP, what())?;
    file::write_once(fd, b"0").map(drop).context(OP, what())
}
