//! Files and folders by fd and path: open, read, write, stat, extended attributes.

use crate::sys::{Outcome, Result, call, flag_names};
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, StatxFlags};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// What `statx` says of a file, as far as identities need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The device number.
    pub dev: u64,
    /// The inode number.
    pub ino: u64,
    /// The kernel's unique id of the mount it lies on (never used again, unlike the short id).
    pub mount_id: u64,
    /// Whether it is the root of its mount.
    pub mount_root: bool,
    /// The file type and mode bits.
    pub mode: u32,
    /// The number of links.
    pub nlink: u32,
}

impl Outcome for Identity {
    fn show(&self) -> String {
        format!("{{ino={}, mnt_id={}}}", self.ino, self.mount_id)
    }
}

/// `STATX_MNT_ID_UNIQUE` (Linux 6.8), which rustix does not name yet.
const STATX_MNT_ID_UNIQUE: u32 = 0x4000;

/// Identifies `path` below `dir`, without following a last symbolic link.
///
/// # Errors
/// The failed `statx`.
pub fn identify(dir: impl AsFd, path: &Path) -> Result<Identity> {
    let dir = dir.as_fd();
    let flags = if path.as_os_str().is_empty() { AtFlags::EMPTY_PATH } else { AtFlags::SYMLINK_NOFOLLOW };
    let mask =
        StatxFlags::BASIC_STATS | StatxFlags::from_bits_retain(STATX_MNT_ID_UNIQUE) | StatxFlags::MNT_ID;
    call(
        "statx",
        || {
            let flags = flag_names("AT_", flags.iter_names());
            format!("{}, {path:?}, {flags}, STATX_BASIC_STATS|STATX_MNT_ID_UNIQUE", show_dir(dir))
        },
        || {
            rustix::fs::statx(dir, path, flags, mask).map(|stat| Identity {
                dev: rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor),
                ino: stat.stx_ino,
                mount_id: stat.stx_mnt_id,
                mount_root: stat.stx_attributes.contains(rustix::fs::StatxAttributes::MOUNT_ROOT),
                mode: u32::from(stat.stx_mode),
                nlink: stat.stx_nlink,
            })
        },
    )
}

/// Opens `path` below `dir`. `O_CLOEXEC` and `O_NOCTTY` are always set: no fd of ours leaks into a program
/// that we start, and no terminal becomes ours by being opened.
///
/// # Errors
/// The failed `openat`.
pub fn openat(dir: impl AsFd, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
    let dir = dir.as_fd();
    let flags = flags | OFlags::CLOEXEC | OFlags::NOCTTY;
    call(
        "openat",
        || format!("{}, {path:?}, {}, 0o{:o}", show_dir(dir), show_flags(flags), mode.bits()),
        || rustix::fs::openat(dir, path, flags, mode),
    )
}

/// Opens `path` as if `root` were the root folder: absolute links and `..` stay inside (`RESOLVE_IN_ROOT`).
///
/// # Errors
/// The failed `openat2`.
pub fn open_in_root(root: impl AsFd, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
    let root = root.as_fd();
    // openat2 refuses what has no meaning together, such as O_PATH with O_NOCTTY.
    let no_tty = if flags.contains(OFlags::PATH) { OFlags::empty() } else { OFlags::NOCTTY };
    let flags = flags | OFlags::CLOEXEC | no_tty;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    call(
        "openat2",
        || {
            format!(
                "{}, {path:?}, {{{}, RESOLVE_IN_ROOT|RESOLVE_NO_MAGICLINKS}}",
                show_dir(root),
                show_flags(flags)
            )
        },
        || rustix::fs::openat2(root, path, flags, mode, resolve),
    )
}

/// Opens the file behind a descriptor anew: what was opened with `O_PATH` and looked at, to read it.
///
/// # Errors
/// The failed `openat`.
pub fn reopen(fd: impl AsFd, flags: OFlags) -> Result<OwnedFd> {
    let path = std::path::PathBuf::from(format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd()));
    openat(rustix::fs::CWD, &path, flags, Mode::empty())
}

/// Makes the folder `path` below `dir`.
///
/// # Errors
/// The failed `mkdirat`.
pub fn mkdirat(dir: impl AsFd, path: &Path, mode: u32) -> Result<()> {
    let dir = dir.as_fd();
    call(
        "mkdirat",
        || format!("{}, {path:?}, 0o{mode:o}", show_dir(dir)),
        || rustix::fs::mkdirat(dir, path, Mode::from_bits_retain(mode)),
    )
}

/// Removes the file `path` below `dir`, or the empty folder when `folder` is set.
///
/// # Errors
/// The failed `unlinkat`.
pub fn unlinkat(dir: impl AsFd, path: &Path, folder: bool) -> Result<()> {
    let dir = dir.as_fd();
    let flags = if folder { AtFlags::REMOVEDIR } else { AtFlags::empty() };
    call(
        "unlinkat",
        || format!("{}, {path:?}, {}", show_dir(dir), if folder { "AT_REMOVEDIR" } else { "0" }),
        || rustix::fs::unlinkat(dir, path, flags),
    )
}

/// Renames without replacing: an existing `to` is `EEXIST`.
///
/// # Errors
/// The failed `renameat2`.
pub fn rename_new(from: &Path, to: &Path) -> Result<()> {
    let cwd = rustix::fs::CWD;
    call(
        "renameat2",
        || format!("AT_FDCWD, {from:?}, AT_FDCWD, {to:?}, RENAME_NOREPLACE"),
        || rustix::fs::renameat_with(cwd, from, cwd, to, rustix::fs::RenameFlags::NOREPLACE),
    )
}

/// Writes `data` to the open file `fd` in one call, as kernel interface files want it.
///
/// # Errors
/// The failed `write`.
pub fn write_once(fd: impl AsFd, data: &[u8]) -> Result<usize> {
    let fd = fd.as_fd();
    call(
        "write",
        || format!("{}, {:?}, {}", fd.as_raw_fd(), String::from_utf8_lossy(data), data.len()),
        || rustix::io::write(fd, data),
    )
}

/// Reads up to `buf.len()` bytes.
///
/// # Errors
/// The failed `read`.
pub fn read(fd: impl AsFd, buf: &mut [u8]) -> Result<usize> {
    let fd = fd.as_fd();
    let len = buf.len();
    call("read", || format!("{}, …, {len}", fd.as_raw_fd()), || rustix::io::read(fd, buf))
}

/// Reads from a place in a file, which its own position stays at.
///
/// # Errors
/// The failed `pread64`.
pub fn read_at(fd: impl AsFd, buf: &mut [u8], at: u64) -> Result<usize> {
    let fd = fd.as_fd();
    let len = buf.len();
    call("pread64", || format!("{}, …, {len}, {at}", fd.as_raw_fd()), || rustix::io::pread(fd, buf, at))
}

/// The magic number of the file system that `fd` lies on.
///
/// # Errors
/// The failed `fstatfs`.
pub fn fs_magic(fd: impl AsFd) -> Result<u64> {
    let fd = fd.as_fd();
    call(
        "fstatfs",
        || fd.as_raw_fd().to_string(),
        || rustix::fs::fstatfs(fd).map(|stat| u64::try_from(stat.f_type).unwrap_or_default()),
    )
}

/// Unguessable bytes from the kernel.
///
/// # Errors
/// The failed `getrandom`.
pub fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    call(
        "getrandom",
        || format!("…, {N}, 0"),
        || rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty()),
    )?;
    Ok(bytes)
}

/// How a folder fd is shown: its number, or `AT_FDCWD`.
pub(crate) fn show_dir(fd: BorrowedFd<'_>) -> String {
    match fd.as_raw_fd() {
        libc::AT_FDCWD => "AT_FDCWD".into(),
        number => number.to_string(),
    }
}

fn show_flags(flags: OFlags) -> String {
    let names = [
        (OFlags::PATH, "O_PATH"),
        (OFlags::DIRECTORY, "O_DIRECTORY"),
        (OFlags::NOFOLLOW, "O_NOFOLLOW"),
        (OFlags::CREATE, "O_CREAT"),
        (OFlags::EXCL, "O_EXCL"),
        (OFlags::TRUNC, "O_TRUNC"),
        (OFlags::NONBLOCK, "O_NONBLOCK"),
        (OFlags::CLOEXEC, "O_CLOEXEC"),
    ];
    let access = match flags & OFlags::ACCMODE {
        OFlags::WRONLY => "O_WRONLY",
        OFlags::RDWR => "O_RDWR",
        _ => "O_RDONLY",
    };
    let mut text = if flags.contains(OFlags::PATH) { String::new() } else { access.to_owned() };
    for (flag, name) in names {
        if flags.contains(flag) {
            if !text.is_empty() {
                text.push('|');
            }
            text.push_str(name);
        }
    }
    text
}
