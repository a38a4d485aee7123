//! What the writable layer of an overlay changes, read from that layer alone (overlayfs.rst: whiteouts, opaque
//! folders).

use crate::error::{Error, Result, SysContext};
use crate::runtime::cancel;
use crate::runtime::fs::fuse;
use crate::runtime::fs::overlay::Overlay;
use crate::runtime::fs::walk;
use crate::sys::inode::Stat;
use crate::sys::{Errno, file, inode};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

const OP: &str = "fs::diff";
/// What marks a folder that hides those of its name below: as root, and in a user namespace.
const OPAQUE: [&[u8]; 2] = [b"trusted.overlay.opaque", b"user.overlay.opaque"];

/// How a path differs from the layers below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It is another: the content, or for a folder its mode or owner.
    Modified,
    /// It is gone, with everything below it.
    Deleted,
}

impl ChangeKind {
    /// Its name in scripts: `added`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Modified => "modified",
            Self::Deleted => "deleted",
        }
    }
}

/// A path that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// From the root of the overlay, beginning with `/`.
    pub path: PathBuf,
    /// How it differs.
    pub kind: ChangeKind,
}

/// What was changed in an overlay, sorted by path. A folder is not modified by what happens in it.
///
/// # Errors
/// When a layer cannot be read.
pub fn changes(overlay: &Overlay) -> Result<Vec<Change>> {
    let Some(upper) = &overlay.upperdir else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    compare(upper, &overlay.lowerdir, Path::new(""), &mut found)?;
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

fn compare(upper: &Path, lowers: &[PathBuf], folder: &Path, found: &mut Vec<Change>) -> Result<()> {
    cancel::check(OP)?;
    let mut note = |path: &Path, kind| found.push(Change { path: Path::new("/").join(path), kind });
    let mut folders = Vec::new();
    let mut names = BTreeSet::new();
    let mut opaque = false;
    for (name, _) in walk::entries(OP, &upper.join(folder))? {
        if fuse::is_mark(&name) {
            opaque = true;
            continue;
        }
        let path = folder.join(&name);
        names.insert(name);
        let above = stat(&upper.join(&path))?;
        let below = lookup(lowers, &path)?;
        match (above, below) {
            (Some(above), _) if is_whiteout(&above) => note(&path, ChangeKind::Deleted),
            (Some(above), None) => {
                note(&path, ChangeKind::Added);
                folders.extend((above.kind == FileType::Directory).then_some(path));
            }
            (Some(above), Some(below)) => {
                let both = above.kind == FileType::Directory && below.kind == FileType::Directory;
                let same = (above.perm, above.uid, above.gid) == (below.perm, below.uid, below.gid);
                if !(both && same) {
                    note(&path, ChangeKind::Modified);
                }
                folders.extend((above.kind == FileType::Directory).then_some(path));
            }
            // Gone since it was listed.
            (None, _) => {}
        }
    }
    if !folder.as_os_str().is_empty() && (opaque || is_opaque(&upper.join(folder))?) {
        for name in names_below(lowers, folder)?.difference(&names) {
            note(&folder.join(name), ChangeKind::Deleted);
        }
    }
    folders.iter().try_for_each(|path| compare(upper, lowers, path, found))
}

fn stat(path: &Path) -> Result<Option<Stat>> {
    match inode::stat(CWD, path) {
        Ok(found) => Ok(Some(found)),
        Err(source) if matches!(source.errno(), Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        Err(source) => Err(Error::sys(OP, format!("cannot examine {}", path.display()), source).path(path)),
    }
}

fn is_whiteout(found: &Stat) -> bool {
    found.kind == FileType::CharacterDevice && found.rdev == (0, 0)
}

fn is_opaque(folder: &Path) -> Result<bool> {
    let fail = || format!("cannot examine {}", folder.display());
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let fd = file::openat(CWD, folder, flags, Mode::empty()).context(OP, fail())?;
    for name in OPAQUE {
        match inode::xattr(&fd, Path::new(""), name) {
            Ok(Some(value)) if value == b"y" => return Ok(true),
            // Without privilege the first kind is hidden.
            Ok(_) => {}
            Err(source) if source.errno() == Errno::EPERM => {}
            Err(source) => return Err(Error::sys(OP, fail(), source).path(folder)),
        }
    }
    Ok(false)
}

/// What the layers below the writable one show at a path.
fn lookup(lowers: &[PathBuf], path: &Path) -> Result<Option<Stat>> {
    for layer in lowers {
        let mut hidden = false;
        for part in path.ancestors().collect::<Vec<_>>().into_iter().rev().skip(1) {
            let whole = layer.join(part);
            let Some(found) = stat(&whole)? else { break };
            if is_whiteout(&found) {
                return Ok(None);
            }
            if part == path {
                return Ok(Some(found));
            }
            if found.kind != FileType::Directory {
                return Ok(None);
            }
            hidden |= is_opaque(&whole)?;
        }
        if hidden {
            return Ok(None);
        }
    }
    Ok(None)
}

fn names_below(lowers: &[PathBuf], folder: &Path) -> Result<BTreeSet<OsString>> {
    let mut names = BTreeSet::new();
    for layer in lowers {
        let whole = layer.join(folder);
        if !stat(&whole)?.is_some_and(|found| found.kind == FileType::Directory) {
            continue;
        }
        for (name, _) in walk::entries(OP, &whole)? {
            if lookup(lowers, &folder.join(&name))?.is_some() {
                names.insert(name);
            }
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_hide_one_another() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let layer = |name: &str, files: &[&str]| {
            for file in files {
                let path = dir.path().join(name).join(file);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, "x").unwrap();
            }
            dir.path().join(name)
        };
        let bottom = layer("bottom", &["a/1", "a/2", "b/1", "c"]);
        let middle = layer("middle", &["a/3", "b/2"]);
        let upper = layer("upper", &["a/3", "b/9", "new/x", "d"]);
        let whiteout =
            |path: PathBuf| inode::make_node(CWD, &path, FileType::CharacterDevice, 0, (0, 0)).unwrap();
        let opaque = |path: PathBuf| {
            let fd = file::openat(CWD, &path, OFlags::RDONLY, Mode::empty()).unwrap();
            inode::set_xattr(&fd, Path::new(""), OPAQUE[0], b"y").unwrap();
        };
        whiteout(middle.join("c"));
        whiteout(upper.join("a/2"));
        opaque(middle.join("b"));
        opaque(upper.join("b"));
        std::fs::write(upper.join("c"), "again").unwrap();
        let mut found = Vec::new();
        compare(&upper, &[middle, bottom], Path::new(""), &mut found).unwrap();
        found.sort_by(|a, b| a.path.cmp(&b.path));
        let shown: Vec<String> =
            found.iter().map(|change| format!("{:?} {}", change.kind, change.path.display())).collect();
        assert_eq!(
            shown,
            [
                "Deleted /a/2",
                "Modified /a/3",
                // `b/1` was hidden before already.
                "Deleted /b/2",
                "Added /b/9",
                "Added /c",
                "Added /d",
                "Added /new",
                "Added /new/x",
            ]
        );
    }
}
