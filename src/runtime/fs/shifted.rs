//! A copy of a tree whose owners are those of a container: for where the kernel may not map them.
//!
//! Idmapped mounts of the machine's file systems are its root's alone. In a user namespace the files of a container's root
//! are copied, and each copy is given to the id that the owner has inside.

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::cancel;
use crate::runtime::fs::files::{cannot, cannot_io};
use crate::runtime::fs::walk;
use crate::runtime::ns::idmap::{IdMap, IdMaps};
use crate::sys::inode::{self, Stat};
use crate::sys::{Result as SysResult, file};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use std::os::fd::AsFd;
use std::path::Path;

const OP: &str = "fs::overlay";

/// Copies what is in the folder `from`, which nobody changes meanwhile, into the empty folder `to`, with the owners mapped.
/// Returns how many files that were.
///
/// # Errors
/// The failed call; [`ErrorKind::InvalidArgument`] for an owner that the maps do not have.
pub(super) fn copy(from: &Path, to: &Path, maps: &IdMaps) -> Result<u64> {
    let found = inode::stat(CWD, from).map_err(cannot(OP, "examine", from))?;
    let mut files = 0;
    for (name, _) in walk::entries(OP, from)? {
        files += entry(&from.join(&name), &to.join(&name), maps)?;
    }
    dress(from, to, &found, maps)?;
    Ok(files)
}

fn entry(from: &Path, to: &Path, maps: &IdMaps) -> Result<u64> {
    cancel::check(OP)?;
    let found = inode::stat(CWD, from).map_err(cannot(OP, "examine", from))?;
    match found.kind {
        FileType::Directory => {
            file::mkdirat(CWD, to, 0o700).map_err(cannot(OP, "make the folder", to))?;
            return copy(from, to, maps);
        }
        FileType::Symlink => {
            let target = inode::read_link(CWD, from).map_err(cannot(OP, "read the link", from))?;
            inode::symlink(&target, CWD, to).map_err(cannot(OP, "make", to))?;
        }
        FileType::RegularFile => content(from, to)?,
        // The mark of a deleted file: there is nothing below the copy that it would hide.
        FileType::CharacterDevice if found.rdev == (0, 0) => return Ok(0),
        kind => inode::make_node(CWD, to, kind, 0o600, found.rdev).map_err(cannot(OP, "make", to))?,
    }
    dress(from, to, &found, maps)?;
    Ok(1)
}

fn content(from: &Path, to: &Path) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW;
    let source = file::openat(CWD, from, flags, Mode::empty()).map_err(cannot(OP, "open", from))?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
    let target =
        file::openat(CWD, to, flags, Mode::from_bits_retain(0o600)).map_err(cannot(OP, "make", to))?;
    let (mut source, mut target) = (std::fs::File::from(source), std::fs::File::from(target));
    std::io::copy(&mut source, &mut target).map_err(cannot_io(OP, "copy", from))?;
    Ok(())
}

/// Owner, mode, attributes and time, in this order: a change of the owner clears setuid and capabilities.
fn dress(from: &Path, to: &Path, found: &Stat, maps: &IdMaps) -> Result<()> {
    let (uid, gid) = (outside(from, found.uid, &maps.uid)?, outside(from, found.gid, &maps.gid)?);
    let set = || -> SysResult<()> {
        inode::set_owner(CWD, to, uid, gid)?;
        if found.kind != FileType::Symlink {
            inode::set_perm_at(CWD, to, found.perm)?;
            copy_user_attributes(from, to)?;
        }
        inode::set_mtime(CWD, to, found.mtime, found.mtime_nanos)
    };
    set().map_err(cannot(OP, "give away", to))
}

/// Attributes of users; marks of overlayfs say nothing in a copy of the whole.
fn copy_user_attributes(from: &Path, to: &Path) -> SysResult<()> {
    let dir = CWD.as_fd();
    for name in inode::xattr_names(dir, from)? {
        let kept = name.starts_with(b"user.") && !name.starts_with(b"user.overlay.");
        if let Some(value) = kept.then(|| inode::xattr(dir, from, &name)).transpose()?.flatten() {
            inode::set_xattr(dir, to, &name, &value)?;
        }
    }
    Ok(())
}

/// Who `id` inside is outside.
fn outside(path: &Path, id: u32, map: &[IdMap]) -> Result<u32> {
    let range = map.iter().find(|range| id >= range.container && id - range.container < range.size);
    range.map(|range| range.host + (id - range.container)).ok_or_else(|| {
        let what =
            format!("{} belongs to {id}, which the container's user namespace does not have", path.display());
        Error::new(ErrorKind::InvalidArgument, OP, what)
            .path(path)
            .hint("give it more ids: userns: \"auto\" has 65536")
    })
}
