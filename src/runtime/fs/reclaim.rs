//! Taking back folders and mounts, from what the ledger knows of them.

use crate::error::{Error, Result, SysContext};
use crate::runtime::object::FileId;
use crate::sys::{Errno, file, mount, nsfd};
use rustix::fs::CWD;
use std::path::Path;
use std::time::{Duration, Instant};

const OP: &str = "undo";
/// How long something may still write into a folder that is removed, and how long that is waited for at a time.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(10);

/// Removes the folder at `path` with everything below it, if it is the one with the identity `id`.
///
/// # Errors
/// When it is ours and cannot be removed, for example because something is mounted below it.
pub fn folder(path: &Path, id: Option<FileId>) -> Result<()> {
    if let Some(id) = id {
        match file::identify(CWD, path) {
            Ok(found) if (found.dev, found.ino) == (id.dev, id.ino) => {}
            // Another folder under the same name.
            Ok(_) => return Ok(()),
            Err(error) if matches!(error.errno(), Errno::ENOENT | Errno::ENOTDIR) => return Ok(()),
            // Not known to be gone: it stays in the ledger.
            Err(error) => {
                return Err(Error::sys(OP, "cannot identify the folder", error).subject(path.display()));
            }
        }
    }
    let deadline = Instant::now() + PATIENCE;
    let removed = loop {
        match super::tree::remove(path) {
            // Something that is about to end still writes there, such as what another runtime leaves to clean up.
            Err(error) if error.errno() == Errno::ENOTEMPTY && Instant::now() < deadline => {
                std::thread::sleep(PAUSE);
            }
            other => break other,
        }
    };
    removed.map_err(|source| {
        let busy = source.errno() == Errno::EXDEV;
        let error = Error::sys(OP, "cannot remove the folder", source).subject(path.display()).path(path);
        if busy { error.hint("something is mounted below it: unmount that first") } else { error }
    })
}

/// Unmounts `target`, if the mount there is the one with the id `mount_id`.
///
/// # Errors
/// When it is ours and cannot be unmounted.
pub fn mount(target: &Path, mount_id: Option<u64>, mount_ns: u64) -> Result<()> {
    // Without an id nothing was attached: a detached mount goes with its fd.
    let Some(mount_id) = mount_id else { return Ok(()) };
    let here =
        nsfd::open(0, "mnt").and_then(nsfd::inode).context(OP, "cannot identify the mount namespace")?;
    if here == mount_ns {
        return detach(target, mount_id);
    }
    match nsfd::original_mounts() {
        Some(original) if nsfd::inode(original).is_ok_and(|inode| inode == mount_ns) => {
            nsfd::inside(original, nix::sched::CloneFlags::CLONE_NEWNS, || detach(target, mount_id))
        }
        // A mount namespace that only processes of the dead session were in: the mount went with it.
        _ => Ok(()),
    }
}

fn detach(target: &Path, mount_id: u64) -> Result<()> {
    match file::identify(CWD, target) {
        Ok(found) if found.mount_id == mount_id => {
            mount::detach(target).context(OP, format!("cannot unmount {}", target.display()))
        }
        _ => Ok(()),
    }
}
