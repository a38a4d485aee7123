//! Idmapped mounts: files that belong to root outside and, through the mount, to root of a container inside.
//!
//! The owners on disk do not change: what a container writes through such a mount belongs on disk to the id that it has
//! inside (mount_setattr(2), `MOUNT_ATTR_IDMAP`).

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::ns::idmap::IdMaps;
use crate::runtime::rootless;
use crate::sys::{Errno, SysError, file, mount};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// How owners are shown: by whom the files of a container's root and volumes are to be owned.
#[derive(Debug)]
pub struct IdMapping {
    /// A user namespace with the maps.
    pub userns: OwnedFd,
    /// The maps themselves.
    pub maps: IdMaps,
}

impl IdMapping {
    /// Has the detached mount `tree` of `shown` map its owners.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] where the file system cannot, or where it is the machine's and this program is not its root.
    pub fn apply(&self, op: &'static str, tree: impl AsFd, shown: &Path, recursive: bool) -> Result<()> {
        let tree = tree.as_fd();
        mount::set_id_map(tree, &self.userns, recursive)
            .map_err(|source| refused(op, shown, file::fs_magic(tree).ok(), source))
    }
}

fn refused(op: &'static str, shown: &Path, magic: Option<u64>, source: SysError) -> Error {
    let shown = shown.display();
    let kind = magic.and_then(name).map_or_else(String::new, |name| format!(" ({name})"));
    let errno = source.errno();
    if errno == Errno::EPERM && rootless::in_user_ns() {
        let what = format!(
            "idmap: {shown}{kind} is on a file system of the machine, whose owners only its root may map"
        );
        return Error::sys(op, what, source)
            .kind_is(ErrorKind::Unsupported)
            .hint("run as root, or keep the files in a user namespace without idmap: they belong to the caller there");
    }
    if errno != Errno::EINVAL {
        return Error::sys(op, format!("idmap: cannot map the owners of {shown}{kind}"), source);
    }
    let what = format!(
        "idmap: the file system of {shown}{kind} does not support idmapped mounts, or is one already"
    );
    let hint = if magic == Some(OVERLAY) {
        "an overlay cannot be idmapped, its layers can: give the image or #{ lowerdir: … } as rootfs"
    } else {
        "ext4, xfs, btrfs and tmpfs do: put the files there, or give them to the container's ids with fs::chown"
    };
    Error::sys(op, what, source).kind_is(ErrorKind::Unsupported).hint(hint)
}

const OVERLAY: u64 = 0x794c_7630;

/// The names of file systems that cannot (linux/magic.h).
fn name(magic: u64) -> Option<&'static str> {
    Some(match magic {
        OVERLAY => "overlay",
        0x6969 => "nfs",
        0x0102_1997 => "9p",
        0x6573_5546 => "fuse",
        0x9fa0 => "proc",
        0x6265_6572 => "sysfs",
        0x27_e0eb | 0x6367_7270 => "cgroup",
        _ => return None,
    })
}
