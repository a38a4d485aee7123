//! The everyday calls on files: read, write, make, look at, own, link.
//!
//! They do what the user asked of paths that the user named: nothing here is undone at the end of the session.

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::cancel;
use crate::runtime::fs::{replace, tree, walk};
use crate::runtime::proc::user;
use crate::sys::inode::Stat;
use crate::sys::{Errno, SysError, file, inode};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// The largest file that is read into memory, in bytes.
pub const MOST_BYTES: usize = 256 << 20;
/// How much is read or written between two looks at whether a signal asks to stop.
const CHUNK: usize = 4 << 20;

/// The error for a call on `path` that failed: `what` is a verb.
pub(super) fn cannot(op: &'static str, what: &str, path: &Path) -> impl FnOnce(SysError) -> Error {
    move |source| explain(Error::sys(op, format!("cannot {what} {}", path.display()), source), path)
}

/// As [`cannot`], for calls of the standard library.
pub(super) fn cannot_io(op: &'static str, what: &str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    move |source| explain(Error::io(op, format!("cannot {what} {}", path.display()), source), path)
}

fn explain(error: Error, path: &Path) -> Error {
    let error = error.path(path);
    match error.errno() {
        Some(Errno::EISDIR) => error.hint("it is a folder"),
        Some(Errno::ENOTDIR) => error.hint("a part of the path is a file and not a folder"),
        Some(Errno::EROFS) => error.hint("the file system is mounted read-only"),
        Some(Errno::ELOOP) => error.hint("its links lead in a circle"),
        _ => error,
    }
}

/// The attributes of `path`, of what a last link leads to.
pub(super) fn stat_followed(op: &'static str, path: &Path) -> Result<Stat> {
    let fd = file::openat(CWD, path, OFlags::PATH, Mode::empty()).map_err(cannot(op, "open", path))?;
    inode::stat(&fd, Path::new("")).map_err(cannot(op, "examine", path))
}

/// Opens a file for reading, without ever waiting: a FIFO, which may have no writer, is refused.
pub(super) fn open(op: &'static str, path: &Path) -> Result<(OwnedFd, Stat)> {
    let fd = file::openat(CWD, path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty())
        .map_err(cannot(op, "open", path))?;
    let stat = inode::stat(&fd, Path::new("")).map_err(cannot(op, "examine", path))?;
    match stat.kind {
        FileType::Fifo => {
            Err(Error::new(ErrorKind::InvalidArgument, op, format!("{} is a FIFO", path.display()))
                .path(path)
                .hint("only files are read: it might wait for ever"))
        }
        FileType::Directory => {
            let call = SysError::new("read", format!("{path:?}"), Errno::EISDIR);
            Err(cannot(op, "read", path)(call))
        }
        _ => Ok((fd, stat)),
    }
}

/// Passes the content of a file on, a piece at a time.
fn pieces(op: &'static str, path: &Path, mut each: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let (fd, _) = open(op, path)?;
    let mut file = File::from(fd);
    let mut buf = vec![0; 256 << 10];
    loop {
        cancel::check(op)?;
        match file.read(&mut buf).map_err(cannot_io(op, "read", path))? {
            0 => return Ok(()),
            len => each(&buf[..len])?,
        }
    }
}

/// The content of a file, of at most [`MOST_BYTES`].
///
/// # Errors
/// [`ErrorKind::NotFound`]; [`ErrorKind::LimitReached`] for a larger file; what the kernel refuses.
pub fn read(op: &'static str, path: &Path) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    pieces(op, path, |piece| {
        if content.len() + piece.len() > MOST_BYTES {
            let what = format!("{} is larger than {} MiB", path.display(), MOST_BYTES >> 20);
            return Err(Error::new(ErrorKind::LimitReached, op, what).path(path));
        }
        content.extend_from_slice(piece);
        Ok(())
    })?;
    Ok(content)
}

/// The content of a file as text.
///
/// # Errors
/// As [`read`], and [`ErrorKind::Corrupt`] when it is not UTF-8.
pub fn read_text(op: &'static str, path: &Path) -> Result<String> {
    String::from_utf8(read(op, path)?).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let what = format!("{} is not text: byte {at} is not UTF-8", path.display());
        Error::new(ErrorKind::Corrupt, op, what).path(path).hint("fs::read_bytes reads any file")
    })
}

/// The digest of a file's content: `sha256:…`.
///
/// # Errors
/// When it cannot be read.
pub fn digest(path: &Path) -> Result<String> {
    let mut hasher = Sha256::new();
    pieces("fs::digest", path, |piece| {
        hasher.update(piece);
        Ok(())
    })?;
    let hex: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("sha256:{hex}"))
}

/// Writes a file whole: who reads it meanwhile sees the old content or the new one. See [`replace::replace`].
///
/// # Errors
/// [`ErrorKind::NotFound`] when the folder is missing; what the kernel refuses.
pub fn write(path: &Path, data: &[u8], mode: Option<u32>) -> Result<()> {
    const OP: &str = "fs::write";
    replace::replace(OP, path, mode, |mut file| write_all(OP, path, &mut file, data))
}

/// Adds to the end of a file; makes it if it is missing.
///
/// # Errors
/// What the kernel refuses.
pub fn append(path: &Path, data: &[u8]) -> Result<()> {
    const OP: &str = "fs::append";
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::NONBLOCK;
    let fd = file::openat(CWD, path, flags, Mode::from_bits_retain(0o666))
        .map_err(cannot(OP, "open", path))
        .map_err(|error| without_parent(error, path))?;
    write_all(OP, path, &mut File::from(fd), data)
}

fn write_all(op: &'static str, path: &Path, file: &mut impl Write, data: &[u8]) -> Result<()> {
    if data.is_empty() {
        return Ok(());
    }
    for piece in data.chunks(CHUNK) {
        cancel::check(op)?;
        file.write_all(piece).map_err(cannot_io(op, "write", path))?;
    }
    Ok(())
}

/// Says so when it is the folder of `path` that is missing.
pub(super) fn without_parent(error: Error, path: &Path) -> Error {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    match parent {
        Some(parent) if error.errno() == Some(Errno::ENOENT) && !parent.exists() => {
            error.hint(format!("the folder {} is missing: fs::mkdir makes it", parent.display()))
        }
        _ => error,
    }
}

/// Makes a folder. With `parents` also those above it, and one that is there is fine.
///
/// # Errors
/// [`ErrorKind::AlreadyExists`] for what is no folder, and without `parents` for a folder as well;
/// [`ErrorKind::NotFound`] without `parents` when the one above is missing.
pub fn mkdir(path: &Path, mode: Option<u32>, parents: bool) -> Result<()> {
    const OP: &str = "fs::mkdir";
    if parents {
        let above = path.parent().filter(|above| !above.as_os_str().is_empty());
        if let Some(above) = above.filter(|above| !above.is_dir()) {
            mkdir(above, None, true)?;
        }
    }
    match file::mkdirat(CWD, path, 0o777) {
        Ok(()) => mode.map_or(Ok(()), |mode| set_mode(OP, path, mode)),
        Err(source) if source.errno() == Errno::EEXIST && parents && path.is_dir() => Ok(()),
        Err(source) => Err(without_parent(cannot(OP, "make the folder", path)(source), path)),
    }
}

/// Whether there is something at `path`: a link counts when it leads somewhere.
///
/// # Errors
/// When that cannot be found out.
pub fn exists(path: &Path) -> Result<bool> {
    match file::openat(CWD, path, OFlags::PATH, Mode::empty()) {
        Ok(_) => Ok(true),
        Err(source) if matches!(source.errno(), Errno::ENOENT | Errno::ENOTDIR) => Ok(false),
        Err(source) => Err(cannot("fs::exists", "examine", path)(source)),
    }
}

/// What is known of a file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Facts {
    /// `file`, `directory`, `symlink`, `fifo`, `socket`, `char_device` or `block_device`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The size in bytes.
    pub size: u64,
    /// The permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The last change of the content, in seconds since 1970.
    pub mtime: f64,
    /// The inode number.
    pub ino: u64,
    /// The number of links.
    pub nlink: u32,
    /// Where a link leads.
    pub target: Option<String>,
    /// The device that a device node stands for: `1:3`.
    pub device: Option<String>,
}

/// The attributes of a file; those of a link itself unless `follow`.
///
/// # Errors
/// [`ErrorKind::NotFound`]; what the kernel refuses.
pub fn stat(path: &Path, follow: bool) -> Result<Facts> {
    const OP: &str = "fs::stat";
    let found = match follow {
        true => stat_followed(OP, path)?,
        false => inode::stat(CWD, path).map_err(cannot(OP, "examine", path))?,
    };
    let (kind, device) = match found.kind {
        FileType::RegularFile => ("file", false),
        FileType::Directory => ("directory", false),
        FileType::Symlink => ("symlink", false),
        FileType::Fifo => ("fifo", false),
        FileType::Socket => ("socket", false),
        FileType::CharacterDevice => ("char_device", true),
        FileType::BlockDevice => ("block_device", true),
        FileType::Unknown => ("unknown", false),
    };
    let target = match found.kind {
        FileType::Symlink => Some(readlink_in(OP, path)?.to_string_lossy().into_owned()),
        _ => None,
    };
    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 have far fewer than 53 bits")]
    let seconds = found.mtime as f64;
    Ok(Facts {
        kind,
        size: found.size,
        mode: found.perm,
        uid: found.uid,
        gid: found.gid,
        mtime: seconds + f64::from(found.mtime_nanos) / 1e9,
        ino: found.ino,
        nlink: found.nlink,
        target,
        device: device.then(|| format!("{}:{}", found.rdev.0, found.rdev.1)),
    })
}

/// Sets the permission bits of a file or folder, and reads them back.
///
/// # Errors
/// [`ErrorKind::Unsupported`] when the file system does not hold them; what the kernel refuses.
pub fn chmod(path: &Path, mode: u32) -> Result<()> {
    set_mode("fs::chmod", path, mode)
}

fn set_mode(op: &'static str, path: &Path, mode: u32) -> Result<()> {
    inode::set_perm_at(CWD, path, mode).map_err(cannot(op, "set the mode of", path))?;
    let held = stat_followed(op, path)?.perm;
    if held == mode {
        return Ok(());
    }
    let what = format!("{} has the mode 0o{held:o} and not 0o{mode:o}", path.display());
    Err(Error::new(ErrorKind::Unsupported, op, what)
        .path(path)
        .hint("setgid needs membership of the group; some file systems hold no modes at all"))
}

/// Sets the owner: `uid`, `uid:gid` or names of this machine. Without a group the file keeps its own.
///
/// # Errors
/// [`ErrorKind::NotFound`] for an unknown name; [`ErrorKind::PermissionDenied`] without `CAP_CHOWN`.
pub fn chown(path: &Path, owner: &str, recursive: bool) -> Result<()> {
    const OP: &str = "fs::chown";
    let user = user::find(OP, None, owner)?;
    let gid = owner.contains(':').then_some(user.gid);
    let fd = file::openat(CWD, path, OFlags::PATH, Mode::empty()).map_err(cannot(OP, "open", path))?;
    own(path, &fd, Path::new(""), user.uid, gid)?;
    if recursive && path.is_dir() {
        for below in walk::list(OP, path)? {
            let below = path.join(below);
            own(&below, CWD, &below, user.uid, gid)?;
        }
    }
    Ok(())
}

fn own(shown: &Path, dir: impl std::os::fd::AsFd, name: &Path, uid: u32, gid: Option<u32>) -> Result<()> {
    const OP: &str = "fs::chown";
    let dir = dir.as_fd();
    let before = inode::stat(dir, name).map_err(cannot(OP, "examine", shown))?;
    let gid = gid.unwrap_or(before.gid);
    inode::set_owner(dir, name, uid, gid).map_err(|source| {
        let denied = source.errno() == Errno::EPERM;
        let error = cannot(OP, "set the owner of", shown)(source);
        if denied { error.hint("it takes CAP_CHOWN: run as root") } else { error }
    })?;
    let held = inode::stat(dir, name).map_err(cannot(OP, "read back the owner of", shown))?;
    if (held.uid, held.gid) == (uid, gid) {
        return Ok(());
    }
    let what = format!("{} belongs to {}:{} and not to {uid}:{gid}", shown.display(), held.uid, held.gid);
    Err(Error::new(ErrorKind::Unsupported, OP, what).path(shown))
}

/// Makes a symbolic link at `path`.
///
/// # Errors
/// [`ErrorKind::AlreadyExists`]; [`ErrorKind::NotFound`] when the folder is missing.
pub fn symlink(target: &Path, path: &Path) -> Result<()> {
    inode::symlink(target, CWD, path).map_err(|source| {
        let taken = source.errno() == Errno::EEXIST;
        let error = without_parent(cannot("fs::symlink", "make the link", path)(source), path);
        if taken { error.hint("something is there already: remove it first") } else { error }
    })
}

/// Where a symbolic link leads, as it is written.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] for what is no link.
pub fn readlink(path: &Path) -> Result<PathBuf> {
    readlink_in("fs::readlink", path)
}

fn readlink_in(op: &'static str, path: &Path) -> Result<PathBuf> {
    inode::read_link(CWD, path).map_err(|source| {
        let no_link = source.errno() == Errno::EINVAL;
        let error = cannot(op, "read the link", path)(source);
        if no_link { error.hint("it is not a symbolic link") } else { error }
    })
}

/// Removes a file, or a folder with everything below it. Never across a mount, never through a link.
///
/// # Errors
/// [`ErrorKind::NotFound`]; [`ErrorKind::Busy`] when something is mounted at or below it.
pub fn remove(path: &Path) -> Result<()> {
    const OP: &str = "fs::remove";
    inode::stat(CWD, path).map_err(cannot(OP, "remove", path))?;
    remove_in(OP, path)
}

pub(super) fn remove_in(op: &'static str, path: &Path) -> Result<()> {
    tree::remove(path).map_err(|source| {
        let mounted = matches!(source.errno(), Errno::EXDEV | Errno::EBUSY);
        let error = cannot(op, "remove", path)(source);
        match mounted {
            true => error
                .kind_is(ErrorKind::Busy)
                .hint("something is mounted there or below: close or unmount that first"),
            false => error,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        write(&path, b"one\n", Some(0o600)).unwrap();
        append(&path, b"two\n").unwrap();
        assert_eq!(read_text("t", &path).unwrap(), "one\ntwo\n");
        let facts = stat(&path, false).unwrap();
        assert_eq!((facts.kind, facts.size, facts.mode, facts.nlink), ("file", 8, 0o600, 1));
        let digest = digest(&path).unwrap();
        assert_eq!(digest, "sha256:c3f9c8c283a2b1f2f1896f27a01cbe3cddc0c9d93f752e4639035a0f5b36f6e8");
    }

    #[test]
    fn bytes_that_are_no_text_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        write(&path, b"ab\xff", None).unwrap();
        let error = read_text("fs::read", &path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains("byte 2"), "{error}");
        assert_eq!(read("fs::read_bytes", &path).unwrap(), b"ab\xff");
    }

    #[test]
    fn a_fifo_does_not_block() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fifo");
        inode::make_node(CWD, &path, FileType::Fifo, 0o600, (0, 0)).unwrap();
        assert_eq!(read("fs::read", &path).unwrap_err().kind(), ErrorKind::InvalidArgument);
    }

    #[test]
    fn folders_are_made_as_asked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        let error = mkdir(&path, None, false).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.hint_text().unwrap().contains("fs::mkdir"));
        mkdir(&path, Some(0o700), true).unwrap();
        mkdir(&path, None, true).unwrap();
        assert_eq!(stat(&path, false).unwrap().mode, 0o700);
        assert_eq!(mkdir(&path, None, false).unwrap_err().kind(), ErrorKind::AlreadyExists);
        std::fs::write(dir.path().join("file"), "").unwrap();
        let error = mkdir(&dir.path().join("file"), None, true).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    }

    #[test]
    fn links_are_told_from_what_they_lead_to() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        symlink(Path::new("nowhere"), &link).unwrap();
        assert!(!exists(&link).unwrap());
        assert_eq!(stat(&link, false).unwrap().target.as_deref(), Some("nowhere"));
        assert_eq!(stat(&link, true).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(readlink(dir.path()).unwrap_err().kind(), ErrorKind::InvalidArgument);
        assert_eq!(symlink(Path::new("x"), &link).unwrap_err().kind(), ErrorKind::AlreadyExists);
        remove(&link).unwrap();
        assert_eq!(remove(&link).unwrap_err().kind(), ErrorKind::NotFound);
    }
}
