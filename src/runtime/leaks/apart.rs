//! Places of its own for a piece of work, so that what it leaves there is its own for certain.

use super::Ground;
use crate::error::Result;
use crate::runtime::fs::claim::{self, New};
use crate::runtime::session::{Session, StepId};
use crate::sys::{self, Errno, SysError, fork, keyring, mount, nsfd, process};
use nix::sched::CloneFlags;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Gives this process, which has one thread, a mount and an IPC namespace, and a folder for temporary files (`TMPDIR`), as far as the kernel lets it; orphans among its descendants come to it. What is its own then is said in `ground`.
pub fn apart(ground: &mut Ground, folder: Option<&Path>) {
    // Without it orphans go to whom they went before.
    let _ = process::set_subreaper(true);
    let made = nsfd::unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWIPC)
        .and_then(|()| mount::set_propagation(Path::new("/"), mount::Propagation::Slave, true));
    ground.own_mounts = made.is_ok();
    if ground.own_mounts {
        ground.own_shm = fresh("tmpfs", Path::new("/dev/shm"), &ground.dirs.run).is_ok();
        // Queues are those of the namespace that the mount was made in.
        let _ = fresh("mqueue", Path::new("/dev/mqueue"), Path::new("/"));
    }
    if let Some(folder) = folder {
        fork::set_env("TMPDIR", Some(folder.as_os_str()));
        ground.own_folder = Some(folder.to_owned());
    }
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

/// A file system of its own over `target`, unless the program's state is there.
fn fresh(kind: &str, target: &Path, state: &Path) -> sys::Result<()> {
    use rustix::mount::MountAttrFlags;
    if state.starts_with(target) || !target.is_dir() {
        return Err(SysError::new("mount", format!("{kind:?}, {target:?}"), Errno::EBUSY));
    }
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let made = mount::FsContext::open(kind)?.mount(attributes)?;
    mount::attach(made, rustix::fs::CWD, target)?;
    if kind == "tmpfs" {
        // Every user may make shared memory.
        let _ = std::fs::set_permissions(target, std::fs::Permissions::from_mode(0o1777));
    }
    Ok(())
}
