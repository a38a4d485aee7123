//! Trees of files by fd: removal that never crosses a mount and never follows a link.

use crate::sys::{Errno, Result, SysError, file};
use rustix::fs::{CWD, Dir, FileType, Mode, OFlags};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Removes `path` and everything below it.
///
/// A mount below it stops the removal with `EXDEV`, before anything behind the mount is touched. What is gone
/// already is no error.
///
/// # Errors
/// The failed call.
pub fn remove(path: &Path) -> Result<()> {
    let (parent, name) = match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => (parent, Path::new(name)),
        _ => return Err(SysError::new("unlinkat", format!("{path:?}"), Errno::EINVAL)),
    };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let dir = match file::openat(CWD, parent, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()) {
        Err(error) if error.errno() == Errno::ENOENT => return Ok(()),
        other => other?,
    };
    remove_entry(dir.as_fd(), name, &mut PathBuf::from(path))
}

fn remove_entry(dir: impl AsFd, name: &Path, shown: &mut PathBuf) -> Result<()> {
    let dir = dir.as_fd();
    match file::unlinkat(dir, name, false) {
        Err(error) if error.errno() == Errno::ENOENT => return Ok(()),
        // Linux says EISDIR for a folder; POSIX says EPERM.
        Err(error) if matches!(error.errno(), Errno::EISDIR | Errno::EPERM) => {}
        other => return other,
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let folder = match file::openat(dir, name, flags, Mode::empty()) {
        Err(error) if error.errno() == Errno::ENOENT => return Ok(()),
        other => other?,
    };
    let identity = file::identify(&folder, Path::new(""))?;
    if identity.mount_root {
        return Err(SysError::new("unlinkat", format!("{shown:?}"), Errno::EXDEV));
    }
    remove_children(&folder, shown)?;
    match file::unlinkat(dir, name, true) {
        Err(error) if error.errno() == Errno::ENOENT => Ok(()),
        other => other,
    }
}

fn remove_children(folder: &OwnedFd, shown: &mut PathBuf) -> Result<()> {
    let fail = |errno: rustix::io::Errno, shown: &Path| {
        SysError::new("getdents64", format!("{shown:?}"), Errno::from_raw(errno.raw_os_error()))
    };
    let mut entries = Dir::read_from(folder).map_err(|errno| fail(errno, shown))?;
    while let Some(entry) = entries.read() {
        let entry = entry.map_err(|errno| fail(errno, shown))?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        let name = Path::new(std::ffi::OsStr::from_bytes(name));
        shown.push(name);
        if matches!(entry.file_type(), FileType::Directory | FileType::Unknown) {
            remove_entry(folder, name, shown)?;
        } else {
            match file::unlinkat(folder, name, false) {
                Err(error) if error.errno() == Errno::ENOENT => {}
                other => other?,
            }
        }
        shown.pop();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_goes_and_what_a_link_points_at_stays() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("canary"), "x").unwrap();
        let tree = dir.path().join("tree");
        std::fs::create_dir_all(tree.join("a/b/c")).unwrap();
        std::fs::write(tree.join("a/b/file"), "x").unwrap();
        std::os::unix::fs::symlink(&outside, tree.join("a/link")).unwrap();
        remove(&tree).unwrap();
        assert!(!tree.exists());
        assert!(outside.join("canary").exists());
        remove(&tree).unwrap();
    }
}
