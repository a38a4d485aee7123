//! Extended attributes of files in layers: which belong to the image, and which are marks of overlayfs.

use crate::sys::{Result, inode};
use std::os::fd::AsFd;
use std::path::Path;

const OVERLAY: [&[u8]; 2] = [b"trusted.overlay.", b"user.overlay."];

/// The attributes of one file.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// What belongs to the image.
    pub(super) kept: Vec<(Vec<u8>, Vec<u8>)>,
    /// The folder hides all below it.
    pub(super) opaque: bool,
    /// The file stands for a deleted one (Linux 6.7 marks so where it cannot make device nodes).
    pub(super) whiteout: bool,
    /// A mark that says that content or children are elsewhere.
    pub(super) foreign: Option<String>,
}

/// Whether an attribute belongs to the image: capabilities, user attributes and access control lists.
///
/// Labels of a security module and `trusted.*` belong to the machine.
pub(super) fn belongs(name: &[u8]) -> bool {
    let user = name.starts_with(b"user.") && !OVERLAY.iter().any(|prefix| name.starts_with(prefix));
    user || name == b"security.capability" || name.starts_with(b"system.posix_acl_")
}

/// Reads the attributes of `name` below `dir` (of the folder or file `dir` itself when `name` is empty).
pub(super) fn read(dir: impl AsFd, name: &Path) -> Result<Found> {
    let dir = dir.as_fd();
    let mut found = Found::default();
    for attribute in inode::xattr_names(dir, name)? {
        if belongs(&attribute) {
            if let Some(value) = inode::xattr(dir, name, &attribute)? {
                found.kept.push((attribute, value));
            }
            continue;
        }
        let Some(mark) = OVERLAY.iter().find_map(|prefix| attribute.strip_prefix(*prefix)) else { continue };
        match mark {
            // `x` says only that children may be marked as whiteouts by attribute.
            b"opaque" => {
                found.opaque |= inode::xattr(dir, name, &attribute)?.is_some_and(|value| value == b"y");
            }
            b"whiteout" => found.whiteout = true,
            b"redirect" | b"metacopy" => {
                found.foreign = Some(String::from_utf8_lossy(&attribute).into_owned());
            }
            _ => {}
        }
    }
    Ok(found)
}

/// Marks the folder `name` below `dir` as hiding all below it.
///
/// Without the right to set `trusted.*` (in a user namespace), the mark is the one that overlays mounted with
/// `userxattr` read.
pub(super) fn set_opaque(dir: impl AsFd, name: &Path) -> Result<()> {
    let dir = dir.as_fd();
    match inode::set_xattr(dir, name, b"trusted.overlay.opaque", b"y") {
        Err(error) if error.errno() == crate::sys::Errno::EPERM => {
            inode::set_xattr(dir, name, b"user.overlay.opaque", b"y")
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_of_overlayfs_are_not_content() {
        for name in ["security.capability", "user.note", "system.posix_acl_access"] {
            assert!(belongs(name.as_bytes()), "{name}");
        }
        for name in ["user.overlay.opaque", "trusted.overlay.redirect", "security.selinux", "trusted.x"] {
            assert!(!belongs(name.as_bytes()), "{name}");
        }
    }
}
