//! State of runtimes, read as what it is: files that somebody else wrote, some of them ordinary users.
//!
//! No link is followed below the place that is looked at, nothing but a regular file is opened, and what is read of
//! one place is bounded: a user's state cannot keep root waiting, nor show it another's files.

use crate::sys::{Errno, file, inode};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use std::cell::Cell;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// How large a state file may be: runc's holds its whole configuration.
const MOST_BYTES: usize = 4 << 20;
/// How much is read of one place.
const MOST_IN_ALL: usize = 64 << 20;
/// How many entries of a folder are looked at.
const MOST_ENTRIES: usize = 4096;

/// Whether a text can be the name or id of a container, and be shown.
pub(super) fn is_name(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_.+:@-".contains(&byte);
    !text.is_empty() && text.len() <= 256 && !text.starts_with(['.', '-']) && text.bytes().all(fits)
}

/// A folder that is open.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    fd: Rc<OwnedFd>,
    path: PathBuf,
    left: Rc<Cell<usize>>,
}

/// A file that was read.
#[derive(Debug)]
pub(super) struct Text {
    pub(super) bytes: Vec<u8>,
    pub(super) path: PathBuf,
    /// Who wrote it.
    pub(super) owner: u32,
    /// When, in seconds since 1970.
    pub(super) written: i64,
}

impl Folder {
    /// Opens a place to look at. Whose the place is is up to the machine: links that lead there are followed.
    pub(super) fn place(path: &Path) -> Result<Self, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let fd = file::openat(CWD, path, flags, Mode::empty()).map_err(|error| error.errno())?;
        Ok(Self { fd: Rc::new(fd), path: path.to_owned(), left: Rc::new(Cell::new(MOST_IN_ALL)) })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The folder below it.
    pub(super) fn folder(&self, name: &str) -> Result<Self, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let fd =
            file::openat(&*self.fd, Path::new(name), flags, Mode::empty()).map_err(|error| error.errno())?;
        Ok(Self { fd: Rc::new(fd), path: self.path.join(name), left: self.left.clone() })
    }

    /// The names in it that could be a container's.
    pub(super) fn names(&self) -> Vec<String> {
        let list = std::fs::read_dir(format!("/proc/self/fd/{}", self.fd.as_raw_fd()));
        let names = list.into_iter().flatten().take(MOST_ENTRIES).flatten();
        let mut names: Vec<String> = names
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| is_name(name))
            .collect();
        names.sort();
        names
    }

    /// The regular file in it. `None` for anything else, and when more was read here than there should be.
    pub(super) fn file(&self, name: &str) -> Option<Text> {
        // Looked at before it is opened: to open a FIFO or a device is to act on it.
        let flags = OFlags::PATH | OFlags::NOFOLLOW;
        let place = file::openat(&*self.fd, Path::new(name), flags, Mode::empty()).ok()?;
        let stat = inode::stat(&place, Path::new("")).ok()?;
        let size = usize::try_from(stat.size).ok().filter(|size| *size <= MOST_BYTES)?;
        if stat.kind != FileType::RegularFile {
            return None;
        }
        self.left.set(self.left.get().checked_sub(size)?);
        let fd = file::reopen(&place, OFlags::RDONLY | OFlags::NONBLOCK).ok()?;
        let mut bytes = vec![0; size];
        let mut len = 0;
        while len < size {
            match file::read(&fd, &mut bytes[len..]).ok()? {
                0 => break,
                more => len += more,
            }
        }
        bytes.truncate(len);
        Some(Text { bytes, path: self.path.join(name), owner: stat.uid, written: stat.mtime })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_regular_file_in_the_folder_itself_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("file"), "text").unwrap();
        std::os::unix::fs::symlink("file", at("link")).unwrap();
        std::os::unix::fs::symlink("/", at("out")).unwrap();
        nix::unistd::mkfifo(&at("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        std::fs::File::create(at("large")).unwrap().set_len(1 << 40).unwrap();
        std::fs::write(at("bad\nname"), "").unwrap();
        let folder = Folder::place(dir.path()).unwrap();
        assert_eq!(folder.file("file").unwrap().bytes, b"text");
        for name in ["link", "fifo", "large", "none", "out"] {
            assert!(folder.file(name).is_none(), "{name}");
        }
        assert_eq!(folder.folder("out").unwrap_err(), Errno::ENOTDIR);
        assert_eq!(folder.names(), ["fifo", "file", "large", "link", "out"]);
    }

    #[test]
    fn what_is_read_of_a_place_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::File::create(dir.path().join("file")).unwrap().set_len(MOST_BYTES as u64).unwrap();
        let folder = Folder::place(dir.path()).unwrap();
        let read = (0..100).filter(|_| folder.file("file").is_some()).count();
        assert_eq!(read, MOST_IN_ALL / MOST_BYTES);
    }

    #[test]
    fn names_are_what_runtimes_allow() {
        for name in ["web", "a.b-c_d+e", "0123456789abcdef", "pod@1:2"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", ".", "..", ".hidden", "-x", "a/b", "a b", "a\u{1b}[2J", "\u{fc}", &"x".repeat(257)] {
            assert!(!is_name(name), "{name:?}");
        }
    }
}
