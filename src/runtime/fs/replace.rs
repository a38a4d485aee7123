//! Writing a file whole: beside its place first, then renamed there.

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::fs::files::{cannot, without_parent};
use crate::runtime::rootless;
use crate::runtime::state::token;
use crate::sys::inode::Stat;
use crate::sys::{Errno, SysError, file, inode};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// File systems whose files are interfaces of the kernel: proc, sysfs, cgroup, cgroup2, debugfs, tracefs,
/// securityfs, configfs, selinuxfs, bpf.
const KERNEL_FILES: [u64; 10] = [
    0x9fa0,
    0x6265_6572,
    0x0027_e0eb,
    0x6367_7270,
    0x6462_6720,
    0x7472_6163,
    0x7363_6673,
    0x6265_6570,
    0xf97c_ff8c,
    0xcafe_4a11,
];

/// Puts a file with new content at `path`; `fill` writes it.
///
/// Who opens the path meanwhile finds the old file or the new one, never half of it. A link at `path` is replaced
/// and not followed: in a tree of somebody else's it might lead anywhere. The mode and the owner of a file that is
/// replaced are kept, unless a mode is given. What cannot be replaced is written in place: devices, files of
/// the kernel such as those in `/proc`, and files that something is mounted on.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] for a folder; [`ErrorKind::NotFound`] when the folder above is missing; what
/// `fill` fails with, and then the old file is as it was.
pub fn replace(
    op: &'static str,
    path: &Path,
    mode: Option<u32>,
    fill: impl FnOnce(&File) -> Result<()>,
) -> Result<()> {
    let old = match inode::stat(CWD, path) {
        Ok(old) => Some(old),
        Err(source) if source.errno() == Errno::ENOENT => None,
        Err(source) => return Err(cannot(op, "write", path)(source)),
    };
    match old {
        Some(old) if old.kind == FileType::Directory => {
            let call = SysError::new("rename", format!("…, {path:?}"), Errno::EISDIR);
            Err(cannot(op, "write", path)(call))
        }
        Some(old) if is_in_place(op, path, &old)? => {
            let flags = OFlags::WRONLY | OFlags::TRUNC | OFlags::NONBLOCK | OFlags::NOFOLLOW;
            let fd = file::openat(CWD, path, flags, Mode::empty()).map_err(cannot(op, "open", path))?;
            fill(&File::from(fd))?;
            let set = |mode| inode::set_perm_at(CWD, path, mode).map_err(cannot(op, "set the mode of", path));
            mode.map_or(Ok(()), set)
        }
        old => {
            let Some(name) = path.file_name() else {
                let what = format!("{} is no name of a file", path.display());
                return Err(Error::new(ErrorKind::InvalidArgument, op, what).path(path));
            };
            let temp = path.with_file_name(format!(".cshell-{}", token()?));
            let outcome = fill_temp(op, path, &temp, mode, old.as_ref(), fill)
                .and_then(|()| rename(op, &temp, &temp.with_file_name(name)));
            if outcome.is_err() {
                // Gone already, or never made, when this fails.
                let _ = file::unlinkat(CWD, &temp, false);
            }
            outcome
        }
    }
}

fn is_in_place(op: &'static str, path: &Path, old: &Stat) -> Result<bool> {
    if old.kind != FileType::RegularFile {
        return Ok(old.kind != FileType::Symlink);
    }
    let fail = |source| cannot(op, "examine", path)(source);
    let fd = file::openat(CWD, path, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty()).map_err(fail)?;
    let mounted = file::identify(&fd, Path::new("")).map_err(fail)?.mount_root;
    Ok(mounted || KERNEL_FILES.contains(&file::fs_magic(&fd).map_err(fail)?))
}

fn fill_temp(
    op: &'static str,
    path: &Path,
    temp: &Path,
    mode: Option<u32>,
    old: Option<&Stat>,
    fill: impl FnOnce(&File) -> Result<()>,
) -> Result<()> {
    let file = create(op, path, temp)?;
    fill(&file)?;
    let old = old.filter(|old| old.kind == FileType::RegularFile);
    if let Some(old) = old {
        give(op, path, file.as_fd(), old.uid, old.gid)?;
    }
    let set = |mode| inode::set_perm(&file, mode).map_err(cannot(op, "set the mode of", path));
    mode.or(old.map(|old| old.perm)).map_or(Ok(()), set)
}

fn create(op: &'static str, path: &Path, temp: &Path) -> Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
    let fd: OwnedFd = file::openat(CWD, temp, flags, Mode::from_bits_retain(0o666))
        .map_err(cannot(op, "write", path))
        .map_err(|error| without_parent(error, path))?;
    Ok(File::from(fd))
}

/// Sets the owner, as far as this user may.
pub(super) fn give(op: &'static str, path: &Path, fd: impl AsFd, uid: u32, gid: u32) -> Result<()> {
    let fd = fd.as_fd();
    let (uid, gid) = rootless::owner_of_copy(uid, gid);
    let made = inode::stat(fd, Path::new("")).map_err(cannot(op, "examine", path))?;
    if (made.uid, made.gid) == (uid, gid) {
        return Ok(());
    }
    match inode::set_owner(fd, Path::new(""), uid, gid) {
        Err(source) if matches!(source.errno(), Errno::EPERM | Errno::EINVAL) => Ok(()),
        other => other.map_err(cannot(op, "set the owner of", path)),
    }
}

fn rename(op: &'static str, temp: &Path, path: &Path) -> Result<()> {
    inode::rename_over(temp, path).map_err(cannot(op, "write", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::fs::{MetadataExt, symlink};

    fn put(path: &Path, text: &str, mode: Option<u32>) -> Result<()> {
        replace("t", path, mode, |mut file| {
            file.write_all(text.as_bytes()).unwrap();
            Ok(())
        })
    }

    #[test]
    fn a_file_is_replaced_whole_and_keeps_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        put(&path, "old", Some(0o640)).unwrap();
        let before = std::fs::metadata(&path).unwrap();
        put(&path, "new", None).unwrap();
        let after = std::fs::metadata(&path).unwrap();
        assert_ne!(before.ino(), after.ino());
        assert_eq!(after.mode() & 0o7777, 0o640);
        let failed = replace("t", &path, None, |mut file| {
            file.write_all(b"half").unwrap();
            Err(Error::new(ErrorKind::Interrupted, "t", "stopped"))
        });
        assert!(failed.is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_is_replaced_and_a_device_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let (outside, link) = (dir.path().join("outside"), dir.path().join("link"));
        std::fs::write(&outside, "canary").unwrap();
        symlink(&outside, &link).unwrap();
        put(&link, "x", None).unwrap();
        assert_eq!(std::fs::read_to_string(&outside).unwrap(), "canary");
        assert!(std::fs::symlink_metadata(&link).unwrap().is_file());
        put(Path::new("/dev/null"), "x", None).unwrap();
        assert!(!std::fs::metadata("/dev/null").unwrap().is_file());
        let name = "/proc/self/comm";
        put(Path::new(name), "renamed", None).unwrap();
        assert_eq!(std::fs::read_to_string(name).unwrap(), "renamed\n");
        assert_eq!(put(dir.path(), "x", None).unwrap_err().errno(), Some(Errno::EISDIR));
        let error = put(&dir.path().join("none/x"), "x", None).unwrap_err();
        assert!(error.hint_text().unwrap().contains("fs::mkdir"), "{error:?}");
    }
}
