//! Mounts by fd: the mount API of Linux 5.2, and unmounting.

use crate::sys::file::show_dir;
use crate::sys::{Errno, Result, call, flag_names};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// A file system that is being configured: `fsopen`, then options, then [`FsContext::mount`].
#[derive(Debug)]
pub struct FsContext {
    fd: OwnedFd,
}

impl FsContext {
    /// Opens a context for a file system type such as `overlay`.
    ///
    /// # Errors
    /// The failed `fsopen`; `ENODEV` when the kernel lacks the type.
    pub fn open(fs_type: &str) -> Result<Self> {
        let fd = call(
            "fsopen",
            || format!("{fs_type:?}, FSOPEN_CLOEXEC"),
            || rustix::mount::fsopen(fs_type, FsOpenFlags::FSOPEN_CLOEXEC),
        )?;
        Ok(Self { fd })
    }

    /// Sets an option that has a text value.
    ///
    /// # Errors
    /// The failed `fsconfig`.
    pub fn set(&self, key: &str, value: &Path) -> Result<()> {
        call(
            "fsconfig",
            || format!("{}, FSCONFIG_SET_STRING, {key:?}, {value:?}, 0", self.fd.as_raw_fd()),
            || rustix::mount::fsconfig_set_string(self.fd.as_fd(), key, value),
        )
    }

    /// Sets an option that has no value.
    ///
    /// # Errors
    /// The failed `fsconfig`.
    pub fn flag(&self, key: &str) -> Result<()> {
        call(
            "fsconfig",
            || format!("{}, FSCONFIG_SET_FLAG, {key:?}, NULL, 0", self.fd.as_raw_fd()),
            || rustix::mount::fsconfig_set_flag(self.fd.as_fd(), key),
        )
    }

    /// Creates the file system and a detached mount of it. The mount goes away with the fd unless it is attached.
    ///
    /// # Errors
    /// The failed `fsconfig` or `fsmount`.
    pub fn mount(&self, attrs: MountAttrFlags) -> Result<OwnedFd> {
        call(
            "fsconfig",
            || format!("{}, FSCONFIG_CMD_CREATE, NULL, NULL, 0", self.fd.as_raw_fd()),
            || rustix::mount::fsconfig_create(self.fd.as_fd()),
        )?;
        call(
            "fsmount",
            || format!("{}, FSMOUNT_CLOEXEC, {}", self.fd.as_raw_fd(), flag_names("", attrs.iter_names())),
            || rustix::mount::fsmount(self.fd.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attrs),
        )
    }

    /// What the kernel says about the last failure, one message a line (Linux 5.2 writes them to the context).
    #[must_use]
    pub fn messages(&self) -> Vec<String> {
        let mut messages = Vec::new();
        let mut buf = [0; 1024];
        while let Ok(len) = rustix::io::read(&self.fd, &mut buf) {
            if len == 0 {
                break;
            }
            let text = String::from_utf8_lossy(&buf[..len]);
            // Each message starts with its level: `e overlay: ...`.
            messages.push(text.trim().get(2..).unwrap_or_default().to_owned());
        }
        messages
    }
}

/// Attaches a detached mount to the folder or file `target` below `dir`.
///
/// # Errors
/// The failed `move_mount`.
pub fn attach(mount: impl AsFd, dir: impl AsFd, target: &Path) -> Result<()> {
    let (mount, dir) = (mount.as_fd(), dir.as_fd());
    call(
        "move_mount",
        || {
            let target = show_target(dir, target);
            format!("{}, \"\", {target}, MOVE_MOUNT_F_EMPTY_PATH", mount.as_raw_fd())
        },
        || {
            let mut flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
            if target.as_os_str().is_empty() {
                flags |= MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
            }
            rustix::mount::move_mount(mount, "", dir, target, flags)
        },
    )
}

fn show_target(dir: BorrowedFd<'_>, target: &Path) -> String {
    format!("{}, {target:?}", show_dir(dir))
}

/// A detached copy of the mount at `path` below `dir` (a bind mount in the making), with what is mounted below it
/// when `recursive`.
///
/// # Errors
/// The failed `open_tree`.
pub fn clone_tree(dir: impl AsFd, path: &Path, recursive: bool) -> Result<OwnedFd> {
    let dir = dir.as_fd();
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    if path.as_os_str().is_empty() {
        flags |= OpenTreeFlags::AT_EMPTY_PATH;
    }
    call(
        "open_tree",
        || {
            let recursive = if recursive { "|AT_RECURSIVE" } else { "" };
            format!("{}, OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC{recursive}", show_target(dir, path))
        },
        || rustix::mount::open_tree(dir, path, flags),
    )
}

/// Changes the attributes (and, if not 0, the propagation) of the mount that `fd` refers to.
///
/// # Errors
/// The failed `mount_setattr` (Linux 5.12).
pub fn set_attributes(fd: impl AsFd, set: u64, propagation: u64, recursive: bool) -> Result<()> {
    let fd = fd.as_fd();
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    call(
        "mount_setattr",
        || {
            format!(
                "{}, \"\", {flags:#x}, {{attr_set={set:#x}, propagation={propagation:#x}}}",
                fd.as_raw_fd()
            )
        },
        || crate::sys::raw::mount_setattr(fd.as_raw_fd(), flags, set, propagation, 0),
    )
}

/// Has the detached mount `fd`, and all below it when `recursive`, show owners as the user namespace `userns` maps them: what
/// belongs to an id on disk belongs, through this mount, to who that id is inside.
///
/// # Errors
/// The failed `mount_setattr` (Linux 5.12): `EINVAL` where the file system cannot, `EPERM` without power over it.
pub fn set_id_map(fd: impl AsFd, userns: impl AsFd, recursive: bool) -> Result<()> {
    let (fd, userns) = (fd.as_fd(), userns.as_fd());
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    call(
        "mount_setattr",
        || {
            let (fd, userns) = (fd.as_raw_fd(), userns.as_raw_fd());
            format!("{fd}, \"\", {flags:#x}, {{attr_set=MOUNT_ATTR_IDMAP, userns_fd={userns}}}")
        },
        || {
            let number = u64::from(userns.as_raw_fd().unsigned_abs());
            crate::sys::raw::mount_setattr(fd.as_raw_fd(), flags, libc::MOUNT_ATTR_IDMAP, 0, number)
        },
    )
}

/// Sets the propagation of the mount at `target` and, when `recursive`, of all below it.
///
/// # Errors
/// The failed `mount`.
pub fn set_propagation(target: &Path, kind: Propagation, recursive: bool) -> Result<()> {
    use nix::mount::MsFlags;
    let flag = match kind {
        Propagation::Private => MsFlags::MS_PRIVATE,
        Propagation::Slave => MsFlags::MS_SLAVE,
        Propagation::Shared => MsFlags::MS_SHARED,
        Propagation::Unbindable => MsFlags::MS_UNBINDABLE,
    };
    let flags = if recursive { flag | MsFlags::MS_REC } else { flag };
    call(
        "mount",
        || format!("NULL, {target:?}, NULL, {}, NULL", flag_names("", flags.iter_names())),
        || nix::mount::mount(None::<&str>, target, None::<&str>, flags, None::<&str>),
    )
}

/// How mounts and unmounts below a mount travel to its copies in other namespaces (mount_namespaces(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// In neither direction.
    Private,
    /// From the original to the copy.
    Slave,
    /// In both directions.
    Shared,
    /// As private, and it cannot be bind-mounted.
    Unbindable,
}

/// Detaches the mount at `target`: out of sight now, gone when nothing uses it.
///
/// # Errors
/// The failed `umount2`; `EINVAL` when nothing is mounted there.
pub fn detach(target: &Path) -> Result<()> {
    use nix::mount::MntFlags;
    call(
        "umount2",
        || format!("{target:?}, MNT_DETACH|UMOUNT_NOFOLLOW"),
        || nix::mount::umount2(target, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW),
    )
}

/// What `statvfs` says of the file system at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// The flags of the mount, such as read-only.
    pub flags: rustix::fs::StatVfsMountFlags,
    /// The size of the file system in bytes.
    pub size: u64,
    /// The size of a block, which the size is a multiple of.
    pub block: u64,
}

impl crate::sys::Outcome for Usage {
    fn show(&self) -> String {
        format!("{{{:?}, {} bytes}}", self.flags, self.size)
    }
}

/// Reads the flags and the size of the file system that `path` lies on.
///
/// # Errors
/// The failed `statfs`.
pub fn usage(path: &Path) -> Result<Usage> {
    call(
        "statfs",
        || format!("{path:?}"),
        || {
            rustix::fs::statvfs(path).map(|found| Usage {
                flags: found.f_flag,
                size: found.f_blocks.saturating_mul(found.f_frsize),
                block: found.f_frsize,
            })
        },
    )
}

/// Whether `errno` from `fsopen` or `mount` means that the kernel lacks the file system.
#[must_use]
pub fn is_missing(errno: Errno) -> bool {
    errno == Errno::ENODEV
}

/// Whether overlayfs takes its layers one by one, as `lowerdir+` (Linux 6.7).
///
/// Asked of the release: kernels before 6.5 only collect what a context is told, and refuse it when all is mounted.
#[must_use]
pub fn takes_single_layers() -> bool {
    kernel_version() >= (6, 7)
}

/// The version of the kernel. One that cannot be read is taken for a new one.
#[must_use]
pub fn kernel_version() -> (u32, u32) {
    let release = nix::sys::utsname::uname().ok().map(|uname| uname.release().to_string_lossy().into_owned());
    release.and_then(|release| version(&release)).unwrap_or((u32::MAX, 0))
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|number| number.parse().ok());
    numbers.next().zip(numbers.next())
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn releases_are_read() {
        for (release, known) in [
            ("6.1.0-56-cloud-amd64", Some((6, 1))),
            ("5.15.0-91-generic", Some((5, 15))),
            ("6.18", Some((6, 18))),
            ("7.0-rc1", Some((7, 0))),
            ("unknown", None),
        ] {
            assert_eq!(version(release), known, "{release}");
        }
    }
}
