//! What a file is made of: its attributes, its extended attributes, its links; device nodes and whole-file copies.
//!
//! Everything here is relative to a folder fd and never follows a last symbolic link.

use crate::sys::file::show_dir;
use crate::sys::{Errno, Outcome, Result, call, flag_names};
use rustix::fs::{AtFlags, FileType, Mode, StatxFlags, Timespec, Timestamps};
use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The attributes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The device number of its file system.
    pub dev: u64,
    /// The inode number.
    pub ino: u64,
    /// The type.
    pub kind: FileType,
    /// The permission bits with setuid, setgid and sticky: the lower twelve bits of the mode.
    pub perm: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The size in bytes.
    pub size: u64,
    /// The number of links.
    pub nlink: u32,
    /// The device that a device node stands for: major and minor number.
    pub rdev: (u32, u32),
    /// The time of the last change of the content, in seconds since 1970.
    pub mtime: i64,
    /// The nanoseconds of that time.
    pub mtime_nanos: u32,
}

impl Outcome for Stat {
    fn show(&self) -> String {
        format!("{{ino={}, mode={:o}, size={}}}", self.ino, self.perm, self.size)
    }
}

/// The attributes of `name` below `dir`, or of `dir` itself when `name` is empty.
///
/// # Errors
/// The failed `statx`.
pub fn stat(dir: impl AsFd, name: &Path) -> Result<Stat> {
    let dir = dir.as_fd();
    let flags = if name.as_os_str().is_empty() { AtFlags::EMPTY_PATH } else { AtFlags::SYMLINK_NOFOLLOW };
    call(
        "statx",
        || {
            format!(
                "{}, {name:?}, {}, STATX_BASIC_STATS",
                show_dir(dir),
                flag_names("AT_", flags.iter_names())
            )
        },
        || {
            rustix::fs::statx(dir, name, flags, StatxFlags::BASIC_STATS).map(|stat| Stat {
                dev: rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor),
                ino: stat.stx_ino,
                kind: FileType::from_raw_mode(u32::from(stat.stx_mode)),
                perm: u32::from(stat.stx_mode) & 0o7777,
                uid: stat.stx_uid,
                gid: stat.stx_gid,
                size: stat.stx_size,
                nlink: stat.stx_nlink,
                rdev: (stat.stx_rdev_major, stat.stx_rdev_minor),
                mtime: stat.stx_mtime.tv_sec,
                mtime_nanos: stat.stx_mtime.tv_nsec,
            })
        },
    )
}

/// The text of the symbolic link `name` below `dir`.
///
/// # Errors
/// The failed `readlinkat`.
pub fn read_link(dir: impl AsFd, name: &Path) -> Result<PathBuf> {
    let dir = dir.as_fd();
    let mut target = PathBuf::new();
    call(
        "readlinkat",
        || format!("{}, {name:?}, …", show_dir(dir)),
        || {
            rustix::fs::readlinkat(dir, name, Vec::new()).map(|text| {
                target = PathBuf::from(std::ffi::OsString::from_vec(text.into_bytes()));
                target.as_os_str().len()
            })
        },
    )?;
    Ok(target)
}

/// Makes the symbolic link `name` below `dir`.
///
/// # Errors
/// The failed `symlinkat`.
pub fn symlink(target: &Path, dir: impl AsFd, name: &Path) -> Result<()> {
    let dir = dir.as_fd();
    call(
        "symlinkat",
        || format!("{target:?}, {}, {name:?}", show_dir(dir)),
        || rustix::fs::symlinkat(target, dir, name),
    )
}

/// Makes `new_name` below `new_dir` another name of the file `name` below `dir`.
///
/// # Errors
/// The failed `linkat`.
pub fn hard_link(dir: impl AsFd, name: &Path, new_dir: impl AsFd, new_name: &Path) -> Result<()> {
    let (dir, new_dir) = (dir.as_fd(), new_dir.as_fd());
    call(
        "linkat",
        || format!("{}, {name:?}, {}, {new_name:?}, 0", show_dir(dir), show_dir(new_dir)),
        || rustix::fs::linkat(dir, name, new_dir, new_name, AtFlags::empty()),
    )
}

/// Makes a device node, fifo or socket.
///
/// # Errors
/// The failed `mknodat`.
pub fn make_node(
    dir: impl AsFd,
    name: &Path,
    kind: FileType,
    perm: u32,
    (major, minor): (u32, u32),
) -> Result<()> {
    let dir = dir.as_fd();
    call(
        "mknodat",
        || format!("{}, {name:?}, {kind:?}|0o{perm:o}, makedev({major}, {minor})", show_dir(dir)),
        || {
            let device = rustix::fs::makedev(major, minor);
            rustix::fs::mknodat(dir, name, kind, Mode::from_bits_retain(perm), device)
        },
    )
}

/// Sets owner and group of `name` below `dir` (of `dir` itself when `name` is empty). Clears setuid and capabilities.
///
/// # Errors
/// The failed `fchownat`.
pub fn set_owner(dir: impl AsFd, name: &Path, uid: u32, gid: u32) -> Result<()> {
    let dir = dir.as_fd();
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH;
    call(
        "fchownat",
        || format!("{}, {name:?}, {uid}, {gid}, AT_SYMLINK_NOFOLLOW|AT_EMPTY_PATH", show_dir(dir)),
        || {
            let (uid, gid) = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid));
            rustix::fs::chownat(dir, name, Some(uid), Some(gid), flags)
        },
    )
}

/// Sets the permission bits of the open file or folder `fd`.
///
/// # Errors
/// The failed `fchmod`.
pub fn set_perm(fd: impl AsFd, perm: u32) -> Result<()> {
    let fd = fd.as_fd();
    call(
        "fchmod",
        || format!("{}, 0o{perm:o}", fd.as_raw_fd()),
        || rustix::fs::fchmod(fd, Mode::from_bits_retain(perm)),
    )
}

/// Sets the permission bits of `name` below `dir`, which must not be a symbolic link.
///
/// The caller knows that nothing else writes to `dir`: this call follows a last link.
///
/// # Errors
/// The failed `fchmodat`.
pub fn set_perm_at(dir: impl AsFd, name: &Path, perm: u32) -> Result<()> {
    let dir = dir.as_fd();
    call(
        "fchmodat",
        || format!("{}, {name:?}, 0o{perm:o}", show_dir(dir)),
        || rustix::fs::chmodat(dir, name, Mode::from_bits_retain(perm), AtFlags::empty()),
    )
}

/// Sets access and modification time of `name` below `dir` (of the open file or folder `dir` itself when `name` is empty).
///
/// # Errors
/// The failed `utimensat`.
pub fn set_mtime(dir: impl AsFd, name: &Path, seconds: i64, nanos: u32) -> Result<()> {
    let dir = dir.as_fd();
    let time = Timespec { tv_sec: seconds, tv_nsec: nanos.into() };
    let times = Timestamps { last_access: time, last_modification: time };
    call(
        "utimensat",
        || format!("{}, {name:?}, {seconds}.{nanos:09}, AT_SYMLINK_NOFOLLOW", show_dir(dir)),
        || match name.as_os_str().is_empty() {
            true => rustix::fs::futimens(dir, &times),
            false => rustix::fs::utimensat(dir, name, &times, AtFlags::SYMLINK_NOFOLLOW),
        },
    )
}

/// A path that leads to `name` below `dir` for the calls that know no folder fd. Through procfs, without following links.
fn through_proc(dir: BorrowedFd<'_>, name: &Path) -> PathBuf {
    let dir = PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd()));
    // A trailing `.` makes the magic link be followed where it is the last component.
    if name.as_os_str().is_empty() { dir.join(".") } else { dir.join(name) }
}

/// The names of the extended attributes of `name` below `dir` (of the folder `dir` itself when `name` is empty), sorted.
/// A file system without them has none.
///
/// # Errors
/// The failed `llistxattr`.
pub fn xattr_names(dir: impl AsFd, name: &Path) -> Result<Vec<Vec<u8>>> {
    let path = through_proc(dir.as_fd(), name);
    let list = call(
        "llistxattr",
        || format!("{path:?}, …"),
        || match list_xattrs(&path) {
            Err(rustix::io::Errno::OPNOTSUPP) => Ok(Vec::new()),
            other => other,
        },
    )?;
    let mut names: Vec<Vec<u8>> =
        list.split(|byte| *byte == 0).filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect();
    names.sort();
    Ok(names)
}

fn list_xattrs(path: &Path) -> rustix::io::Result<Vec<u8>> {
    loop {
        let size = rustix::fs::llistxattr_query(path)?;
        let mut buf = vec![0; size];
        if size == 0 {
            return Ok(buf);
        }
        match rustix::fs::llistxattr(path, &mut buf[..]) {
            // It grew between the two calls.
            Err(rustix::io::Errno::RANGE) => {}
            other => {
                buf.truncate(other?);
                return Ok(buf);
            }
        }
    }
}

/// The value of an extended attribute, or nothing when there is none of that name.
///
/// # Errors
/// The failed `lgetxattr`.
pub fn xattr(dir: impl AsFd, name: &Path, attribute: &[u8]) -> Result<Option<Vec<u8>>> {
    let path = through_proc(dir.as_fd(), name);
    call(
        "lgetxattr",
        || format!("{path:?}, {:?}, …", String::from_utf8_lossy(attribute)),
        || match get_xattr(&path, OsStr::from_bytes(attribute)) {
            Err(rustix::io::Errno::NODATA | rustix::io::Errno::OPNOTSUPP) => Ok(None),
            other => other.map(Some),
        },
    )
}

fn get_xattr(path: &Path, attribute: &OsStr) -> rustix::io::Result<Vec<u8>> {
    loop {
        let size = rustix::fs::lgetxattr_query(path, attribute)?;
        let mut buf = vec![0; size];
        if size == 0 {
            return Ok(buf);
        }
        match rustix::fs::lgetxattr(path, attribute, &mut buf[..]) {
            Err(rustix::io::Errno::RANGE) => {}
            other => {
                buf.truncate(other?);
                return Ok(buf);
            }
        }
    }
}

/// Sets an extended attribute of `name` below `dir` (of the folder `dir` itself when `name` is empty).
///
/// # Errors
/// The failed `lsetxattr`.
pub fn set_xattr(dir: impl AsFd, name: &Path, attribute: &[u8], value: &[u8]) -> Result<()> {
    let path = through_proc(dir.as_fd(), name);
    call(
        "lsetxattr",
        || format!("{path:?}, {:?}, …, {}, 0", String::from_utf8_lossy(attribute), value.len()),
        || {
            let attribute = OsStr::from_bytes(attribute);
            rustix::fs::lsetxattr(&path, attribute, value, rustix::fs::XattrFlags::empty())
        },
    )
}

/// Copies up to `len` bytes from one open file to another inside the kernel; 0 at the end of the input.
///
/// # Errors
/// The failed `copy_file_range`; `EXDEV`, `EINVAL`, `ENOSYS` or `EOPNOTSUPP` where the two files do not allow it.
pub fn copy_range(from: impl AsFd, to: impl AsFd, len: usize) -> Result<usize> {
    let (from, to) = (from.as_fd(), to.as_fd());
    call(
        "copy_file_range",
        || format!("{}, NULL, {}, NULL, {len}, 0", from.as_raw_fd(), to.as_raw_fd()),
        || rustix::fs::copy_file_range(from, None, to, None, len),
    )
}

/// Whether `errno` from [`copy_range`] means that these two files have to be copied through a buffer.
#[must_use]
pub fn needs_buffer(errno: Errno) -> bool {
    matches!(errno, Errno::EXDEV | Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP | Errno::EPERM)
}

/// Writes a file or folder through to the disk.
///
/// # Errors
/// The failed `fsync`.
pub fn sync(fd: impl AsFd) -> Result<()> {
    let fd = fd.as_fd();
    call("fsync", || fd.as_raw_fd().to_string(), || rustix::fs::fsync(fd))
}

/// Renames `from` to `to`, replacing what is there.
///
/// # Errors
/// The failed `rename`.
pub fn rename_over(from: &Path, to: &Path) -> Result<()> {
    call("rename", || format!("{from:?}, {to:?}"), || rustix::fs::rename(from, to))
}
