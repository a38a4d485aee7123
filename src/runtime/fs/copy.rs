//! Copies of files and trees, and moving them.

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::cancel;
use crate::runtime::fs::files::{self, cannot, cannot_io, without_parent};
use crate::runtime::fs::replace;
use crate::runtime::rootless;
use crate::sys::inode::Stat;
use crate::sys::{Errno, file, inode};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

const COPY: &str = "fs::copy";
const MOVE: &str = "fs::move";
/// How much is copied between two looks at whether a signal asks to stop.
const CHUNK: u64 = 64 << 20;

/// Copies a file, or a folder with everything below it, to the path `to`.
///
/// Modes, owners (as far as this user may) and times come along, and links stay links; `from` itself is
/// followed when it is one. A file at `to` is replaced; a folder at `to` is filled. `chmod` is the mode of every
/// file that is copied, in place of its own. Extended attributes are not copied.
///
/// # Errors
/// [`ErrorKind::NotFound`]; [`ErrorKind::AlreadyExists`] when a folder and something else would have to be one;
/// [`ErrorKind::InvalidArgument`] for a copy into itself. What was copied until then stays.
pub fn copy(from: &Path, to: &Path, chmod: Option<u32>) -> Result<()> {
    let found = files::stat_followed(COPY, from)?;
    if found.kind != FileType::Directory {
        if inode::stat(CWD, to).is_ok_and(|there| there.kind == FileType::Directory) {
            let name = from.file_name().unwrap_or_default();
            return Err(taken(to, "a folder").hint(format!("name the file: {}", to.join(name).display())));
        }
        return copy_one(COPY, from, to, &found, chmod);
    }
    refuse_inside(COPY, from, to)?;
    copy_tree(COPY, from, to, &found, chmod)
}

fn taken(path: &Path, what: &str) -> Error {
    Error::new(ErrorKind::AlreadyExists, COPY, format!("{} is {what}", path.display())).path(path)
}

fn refuse_inside(op: &'static str, from: &Path, to: &Path) -> Result<()> {
    let whole = |path: &Path| std::path::absolute(path).and_then(std::fs::canonicalize);
    let from = whole(from).map_err(cannot_io(op, "resolve", from))?;
    // What is not there yet is judged by the folder that will hold it.
    let target = to
        .ancestors()
        .find_map(|part| whole(if part.as_os_str().is_empty() { Path::new(".") } else { part }).ok());
    match target {
        Some(target) if target.starts_with(&from) => {
            let what = format!("{} lies inside {}", to.display(), from.display());
            Err(Error::new(ErrorKind::InvalidArgument, op, what).path(to))
        }
        _ => Ok(()),
    }
}

fn copy_tree(op: &'static str, from: &Path, to: &Path, found: &Stat, chmod: Option<u32>) -> Result<()> {
    cancel::check(op)?;
    match file::mkdirat(CWD, to, 0o700) {
        Ok(()) => {}
        Err(source) if source.errno() == Errno::EEXIST => {
            let there = inode::stat(CWD, to).map_err(cannot(op, "examine", to))?;
            if there.kind != FileType::Directory {
                return Err(taken(to, "no folder").in_op(op));
            }
        }
        Err(source) => return Err(without_parent(cannot(op, "make the folder", to)(source), to)),
    }
    for entry in std::fs::read_dir(from).map_err(cannot_io(op, "list", from))? {
        let name = entry.map_err(cannot_io(op, "list", from))?.file_name();
        let (from, to) = (from.join(&name), to.join(&name));
        let found = inode::stat(CWD, &from).map_err(cannot(op, "examine", &from))?;
        match found.kind {
            FileType::Directory => copy_tree(op, &from, &to, &found, chmod)?,
            _ => copy_one(op, &from, &to, &found, chmod)?,
        }
    }
    // Last: a folder without the write bit could not be filled, and filling it changes its time.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let fd = file::openat(CWD, to, flags, Mode::empty()).map_err(cannot(op, "open", to))?;
    replace::give(op, to, &fd, found.uid, found.gid)?;
    inode::set_perm(&fd, found.perm).map_err(cannot(op, "set the mode of", to))?;
    set_time(op, &fd, Path::new(""), to, found)
}

/// Anything but a folder.
fn copy_one(op: &'static str, from: &Path, to: &Path, found: &Stat, chmod: Option<u32>) -> Result<()> {
    if inode::stat(CWD, to).is_ok_and(|there| there.kind == FileType::Directory) {
        return Err(taken(to, "a folder").in_op(op));
    }
    match found.kind {
        FileType::RegularFile | FileType::Unknown => copy_file(op, from, to, chmod),
        FileType::Symlink => {
            let target = inode::read_link(CWD, from).map_err(cannot(op, "read the link", from))?;
            make_anew(op, to, |to| inode::symlink(&target, CWD, to))?;
            finish(op, to, found)
        }
        kind => {
            make_anew(op, to, |to| inode::make_node(CWD, to, kind, found.perm, found.rdev))?;
            inode::set_perm_at(CWD, to, found.perm).map_err(cannot(op, "set the mode of", to))?;
            finish(op, to, found)
        }
    }
}

/// Makes a link or a node, in place of what may be there.
fn make_anew(op: &'static str, to: &Path, make: impl Fn(&Path) -> crate::sys::Result<()>) -> Result<()> {
    match make(to) {
        Err(source) if source.errno() == Errno::EEXIST => {
            file::unlinkat(CWD, to, false).map_err(cannot(op, "replace", to))?;
            make(to).map_err(cannot(op, "make", to))
        }
        other => other.map_err(|source| without_parent(cannot(op, "make", to)(source), to)),
    }
}

fn finish(op: &'static str, to: &Path, found: &Stat) -> Result<()> {
    let (uid, gid) = rootless::owner_of_copy(found.uid, found.gid);
    match inode::set_owner(CWD, to, uid, gid) {
        Err(source) if !matches!(source.errno(), Errno::EPERM | Errno::EINVAL) => {
            return Err(cannot(op, "set the owner of", to)(source));
        }
        _ => {}
    }
    set_time(op, CWD, to, to, found)
}

fn set_time(
    op: &'static str,
    dir: impl std::os::fd::AsFd,
    name: &Path,
    shown: &Path,
    found: &Stat,
) -> Result<()> {
    inode::set_mtime(dir, name, found.mtime, found.mtime_nanos).map_err(cannot(op, "set the time of", shown))
}

fn copy_file(op: &'static str, from: &Path, to: &Path, chmod: Option<u32>) -> Result<()> {
    let (fd, found) = files::open(op, from)?;
    let source = File::from(fd);
    if inode::stat(CWD, to).is_ok_and(|there| (there.dev, there.ino) == (found.dev, found.ino)) {
        let what = format!("{} and {} are one file", from.display(), to.display());
        return Err(Error::new(ErrorKind::InvalidArgument, op, what).path(to));
    }
    replace::replace(op, to, Some(chmod.unwrap_or(found.perm)), |mut target| {
        loop {
            cancel::check(op)?;
            // Inside the kernel, where the two file systems allow it.
            let len = std::io::copy(&mut (&source).take(CHUNK), &mut target);
            if len.map_err(cannot_io(op, "copy to", to))? == 0 {
                break;
            }
        }
        replace::give(op, to, target, found.uid, found.gid)?;
        set_time(op, target, Path::new(""), to, &found)
    })
}

/// Moves a file or folder to the path `to`, also to another file system. A file at `to` is replaced.
///
/// # Errors
/// [`ErrorKind::NotFound`]; [`ErrorKind::AlreadyExists`] or [`ErrorKind::Busy`] for a folder at `to` that is not
/// empty. Between file systems a failed copy is taken back, and `from` stays.
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    match inode::rename_over(from, to) {
        Err(source) if source.errno() == Errno::EXDEV => carry(from, to),
        Err(source) if source.errno() == Errno::EISDIR => {
            let target: PathBuf = to.join(from.file_name().unwrap_or_default());
            Err(cannot(MOVE, "move to", to)(source).hint(format!("name the file: {}", target.display())))
        }
        other => other.map_err(|source| {
            let missing = inode::stat(CWD, from).is_err();
            let shown = if missing { from } else { to };
            let error = cannot(MOVE, if missing { "move" } else { "move to" }, shown)(source);
            if missing { error } else { without_parent(error, to) }
        }),
    }
}

fn carry(from: &Path, to: &Path) -> Result<()> {
    let found = inode::stat(CWD, from).map_err(cannot(MOVE, "examine", from))?;
    let fresh = inode::stat(CWD, to).is_err();
    let copied = match found.kind {
        FileType::Directory if !fresh => {
            return Err(taken(to, "there already").in_op(MOVE));
        }
        FileType::Directory => {
            refuse_inside(MOVE, from, to).and_then(|()| copy_tree(MOVE, from, to, &found, None))
        }
        _ => copy_one(MOVE, from, to, &found, None),
    };
    match copied {
        Ok(()) => files::remove_in(MOVE, from),
        Err(error) if fresh => {
            let undone = files::remove_in(MOVE, to).err();
            Err(error.also(undone.into_iter().collect()))
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    /// A tree with a file of mode 0750 and an old time, a link, a FIFO and a folder nobody may write to.
    fn sample(root: &Path) {
        std::fs::create_dir_all(root.join("sub")).unwrap();
        std::fs::write(root.join("sub/run"), "#!").unwrap();
        std::fs::set_permissions(root.join("sub/run"), PermissionsExt::from_mode(0o4750)).unwrap();
        inode::set_mtime(CWD, &root.join("sub/run"), 1_000_000_000, 5).unwrap();
        symlink("sub/run", root.join("link")).unwrap();
        inode::make_node(CWD, &root.join("fifo"), FileType::Fifo, 0o622, (0, 0)).unwrap();
        inode::set_perm_at(CWD, &root.join("fifo"), 0o622).unwrap();
        std::fs::set_permissions(root.join("sub"), PermissionsExt::from_mode(0o555)).unwrap();
        inode::set_mtime(CWD, &root.join("sub"), 1_000_000_001, 0).unwrap();
    }

    fn check(root: &Path) {
        let run = std::fs::symlink_metadata(root.join("sub/run")).unwrap();
        assert_eq!((run.mode() & 0o7777, run.mtime(), run.mtime_nsec()), (0o4750, 1_000_000_000, 5));
        assert_eq!(std::fs::read_link(root.join("link")).unwrap(), Path::new("sub/run"));
        let fifo = inode::stat(CWD, &root.join("fifo")).unwrap();
        assert_eq!((fifo.kind, fifo.perm), (FileType::Fifo, 0o622));
        let sub = std::fs::metadata(root.join("sub")).unwrap();
        assert_eq!((sub.mode() & 0o7777, sub.mtime()), (0o555, 1_000_000_001));
    }

    #[test]
    fn a_tree_is_copied_with_what_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        sample(&from);
        copy(&from, &to, None).unwrap();
        check(&to);
        // Again, over what is there.
        copy(&from, &to, None).unwrap();
        check(&to);
        let error = copy(&from, &from.join("sub/inner"), None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(!from.join("sub/inner").exists());
        rename(&to, &dir.path().join("moved")).unwrap();
        check(&dir.path().join("moved"));
        assert!(!to.exists());
    }

    #[test]
    fn a_move_between_file_systems_copies() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir_in("/dev/shm").unwrap());
        let (from, to) = (here.path().join("from"), there.path().join("to"));
        sample(&from);
        rename(&from, &to).unwrap();
        check(&to);
        assert!(!from.exists());
    }

    #[test]
    fn a_single_file_goes_to_a_name() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        std::fs::write(&from, "x").unwrap();
        symlink("from", dir.path().join("link")).unwrap();
        copy(&dir.path().join("link"), &to, Some(0o444)).unwrap();
        let found = std::fs::symlink_metadata(&to).unwrap();
        assert!(found.is_file());
        assert_eq!(found.mode() & 0o7777, 0o444);
        let error = copy(&from, dir.path(), None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert!(error.hint_text().unwrap().ends_with("/from"), "{error:?}");
        assert_eq!(copy(&from, &from, None).unwrap_err().kind(), ErrorKind::InvalidArgument);
        assert_eq!(std::fs::read_to_string(&from).unwrap(), "x");
    }

    #[test]
    fn a_link_in_the_target_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to, outside) =
            (dir.path().join("from"), dir.path().join("to"), dir.path().join("outside"));
        std::fs::create_dir_all(from.join("etc")).unwrap();
        std::fs::write(from.join("etc/passwd"), "new").unwrap();
        std::fs::create_dir(&to).unwrap();
        std::fs::create_dir(&outside).unwrap();
        symlink(&outside, to.join("etc")).unwrap();
        assert_eq!(copy(&from, &to, None).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    }
}
