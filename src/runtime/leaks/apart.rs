//! Places of its own for a piece of work, so that what it leaves there is its own for certain.

use super::Ground;
use crate::error::Result;
use crate::runtime::fs::claim::{self, New};
use crate::runtime::fs::mountinfo;
use crate::runtime::session::{Session, StepId};
use crate::sys::{self, Errno, SysError, file, fork, keyring, mount, nsfd, process};
use nix::sched::CloneFlags;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Gives this process, which has one thread, a mount and an IPC namespace, and a folder for temporary files (`TMPDIR`), as far as
/// the kernel lets it; orphans among its descendants come to it. What is its own then is said in `ground`.
pub fn apart(ground: &mut Ground, folder: Option<&Path>) {
    // Without it orphans go to whom they went before.
    let _ = process::set_subreaper(true);
    let made = nsfd::unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWIPC)
        .and_then(|()| mount::set_propagation(Path::new("/"), mount::Propagation::Slave, true));
    ground.own_mounts = made.is_ok();
    if ground.own_mounts {
        nsfd::mounts_are_original();
        ground.sources = mountinfo::list("test", None)
            .unwrap_or_default()
            .iter()
            .filter_map(|mount| mount.master)
            .collect();
        ground.own_shm = fresh("tmpfs", Path::new("/dev/shm"), &ground.dirs.run).is_ok();
        // Queues are those of the namespace that the mount was made in.
        if fresh("mqueue", Path::new("/dev/mqueue"), Path::new("/")).is_err() {
            see_detached_queues(ground);
        }
    }
    if let Some(folder) = folder {
        fork::set_env("TMPDIR", Some(folder.as_os_str()));
        ground.own_folder = Some(folder.to_owned());
    }
}

/// Has queues looked at also where the machine shows them nowhere.
pub fn see_queues(ground: &mut Ground) {
    if !ground.queues.0.is_dir() {
        see_detached_queues(ground);
    }
}

fn see_detached_queues(ground: &mut Ground) {
    // Without the privilege they stay unseen.
    if let Ok(mount) = detached("mqueue") {
        let path = format!("/proc/self/fd/{}", mount.as_raw_fd());
        ground.queues = (path.into(), Some(Rc::new(mount)));
    }
}

/// Brings this process back into the mount namespace that it was given by [`apart()`], which a session leaves when it mounts something.
pub fn come_back() {
    if let Some(original) = nsfd::original_mounts() {
        // Where it cannot, what is there is that of another namespace, and is not taken for new.
        let _ = nsfd::enter(original, CloneFlags::CLONE_NEWNS);
    }
}

/// Takes away what a piece of work has mounted over /proc in its own mount namespace, without which nothing else is seen. Whether there
/// was something.
pub fn uncover(ground: &Ground) -> bool {
    // The magic number of a proc (statfs(2)).
    const PROC: u64 = 0x9fa0;
    let is_covered =
        || File::open("/proc").is_ok_and(|proc| file::fs_magic(&proc).is_ok_and(|kind| kind != PROC));
    let mut covered = false;
    while ground.own_mounts && is_covered() && mount::detach(Path::new("/proc")).is_ok() {
        covered = true;
    }
    covered
}

/// Makes a folder for temporary files. It goes, with what is in it, when the step is undone.
///
/// # Errors
/// When it cannot be made.
pub fn folder(session: &Session) -> Result<(StepId, PathBuf)> {
    const OP: &str = "test";
    let path = std::env::temp_dir().join(format!("cshell-test-{}-{}", session.token(), session.serial()));
    // Others than this user may look for their own in it.
    let step = claim::make(session, OP, &path, New::Folder(0o755))?;
    Ok((step, path))
}

/// Gives this process a session keyring: keys in it go with it.
pub fn own_keys() {
    // A kernel without keys, or a filter, refuses: nothing is lost then.
    let _ = keyring::join_own_session();
}

/// A file system that is attached nowhere.
fn detached(kind: &str) -> sys::Result<OwnedFd> {
    use rustix::mount::MountAttrFlags;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    mount::FsContext::open(kind)?.mount(attributes)
}

/// A file system of its own over `target`, unless the program's state is there.
fn fresh(kind: &str, target: &Path, state: &Path) -> sys::Result<()> {
    if state.starts_with(target) || !target.is_dir() {
        return Err(SysError::new("mount", format!("{kind:?}, {target:?}"), Errno::EBUSY));
    }
    mount::attach(detached(kind)?, rustix::fs::CWD, target)?;
    if kind == "tmpfs" {
        // Every user may make shared memory.
        let _ = std::fs::set_permissions(target, std::fs::Permissions::from_mode(0o1777));
    }
    Ok(())
}
