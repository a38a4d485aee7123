//! The folder of one group in one hierarchy: opened once, checked to be a control group, and read back after writes.

use crate::error::{Error, ErrorKind, Result, SysContext};
use crate::runtime::object::FileId;
use crate::sys::{Errno, file};
use rustix::fs::{CWD, Mode, OFlags};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// `CGROUP_SUPER_MAGIC` of linux/magic.h.
const MAGIC_V1: u64 = 0x0027_e0eb;
/// `CGROUP2_SUPER_MAGIC` of linux/magic.h.
const MAGIC_V2: u64 = 0x6367_7270;

/// An open group folder.
#[derive(Debug)]
pub struct Dir {
    /// Where it is.
    pub path: PathBuf,
    /// 1 or 2.
    pub version: u8,
    /// The controllers of its hierarchy.
    pub controllers: Vec<String>,
    /// Its identity.
    pub id: FileId,
    fd: OwnedFd,
}

impl Dir {
    /// Opens the folder at `path`, and makes sure that the kernel's control groups are behind it.
    ///
    /// A folder below an unmounted controller is an ordinary one: it takes files and limits nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] when it is not on a cgroup file system.
    pub fn open(op: &'static str, path: &Path, version: u8, controllers: &[String]) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let fd = file::openat(CWD, path, flags, Mode::empty()).map_err(|source| {
            Error::sys(op, format!("cannot open the group {}", path.display()), source).path(path)
        })?;
        let magic = file::fs_magic(&fd).context(op, format!("cannot examine {}", path.display()))?;
        if magic != if version == 2 { MAGIC_V2 } else { MAGIC_V1 } {
            let what =
                format!("{} is an ordinary folder, not a version {version} control group", path.display());
            return Err(Error::new(ErrorKind::Unsupported, op, what)
                .path(path)
                .hint("mount the controller first"));
        }
        let found =
            file::identify(&fd, Path::new("")).context(op, format!("cannot identify {}", path.display()))?;
        let id = FileId { dev: found.dev, ino: found.ino };
        Ok(Self { path: path.to_owned(), version, controllers: controllers.to_vec(), id, fd })
    }

    /// Its descriptor.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Whether its hierarchy has this controller.
    #[must_use]
    pub fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|name| name == controller)
    }

    /// Opens a file of the group for writing: `tasks`, to be entered by a child.
    ///
    /// # Errors
    /// The failed open.
    pub fn open_for_writing(&self, op: &'static str, name: &str) -> Result<OwnedFd> {
        file::openat(&self.fd, Path::new(name), OFlags::WRONLY, Mode::empty())
            .map_err(|source| self.failed(op, "cannot open", name, source))
    }

    /// Writes a file of the group.
    ///
    /// # Errors
    /// The failed open or write.
    pub fn write(&self, op: &'static str, name: &str, value: &str) -> Result<()> {
        let fd = self.open_for_writing(op, name)?;
        file::write_once(&fd, value.as_bytes())
            .map(drop)
            .map_err(|source| self.failed(op, &format!("cannot write {value:?} to"), name, source))
    }

    /// Writes a file and compares what the kernel holds afterwards with `expected`.
    ///
    /// # Errors
    /// The failed write, or a difference.
    pub fn set(&self, op: &'static str, name: &str, value: &str, expected: &str) -> Result<()> {
        self.write(op, name, value)?;
        let held = self.read(op, name)?;
        if held == expected {
            return Ok(());
        }
        let what = format!("{name}: asked for {value}, the kernel holds {held}");
        Err(Error::new(ErrorKind::InvalidArgument, op, what).path(self.path.join(name)))
    }

    /// Reads a file of the group, without the line end.
    ///
    /// # Errors
    /// The failed open or read.
    pub fn read(&self, op: &'static str, name: &str) -> Result<String> {
        let open = file::openat(&self.fd, Path::new(name), OFlags::RDONLY, Mode::empty());
        let fd = open.map_err(|source| self.failed(op, "cannot open", name, source))?;
        let mut text = Vec::new();
        let mut buf = [0; 4096];
        loop {
            match file::read(&fd, &mut buf).map_err(|source| self.failed(op, "cannot read", name, source))? {
                0 => break,
                len => text.extend(&buf[..len]),
            }
        }
        Ok(String::from_utf8_lossy(&text).trim_end().to_owned())
    }

    /// Reads a number from a file of the group; `None` for `max`, a missing file or an unlimited value.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u64> {
        self.read("cgroup.stats", name).ok()?.trim().parse().ok()
    }

    /// Reads one field of a file of `name value` lines.
    #[must_use]
    pub fn field(&self, name: &str, field: &str) -> Option<u64> {
        let text = self.read("cgroup.stats", name).ok()?;
        text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(' ')?.trim().parse().ok())
    }

    fn failed(&self, op: &'static str, what: &str, name: &str, source: crate::sys::SysError) -> Error {
        let errno = source.errno();
        let error = Error::sys(op, format!("{what} {name}"), source).path(self.path.join(name));
        match errno {
            Errno::ERANGE | Errno::EINVAL | Errno::EACCES | Errno::ENOSPC if name.starts_with("cpuset.") => {
                let above = self.path.parent().map(|parent| parent.join(name));
                let held = above.and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
                error.hint(format!("the group above has {name} {}", held.trim()))
            }
            Errno::ENOENT | Errno::ENODEV if !self.path.exists() => {
                error.kind_is(ErrorKind::NotFound).hint("the control group was removed from outside")
            }
            Errno::ENOENT => error
                .kind_is(ErrorKind::Unsupported)
                .hint(format!("this kernel or hierarchy has no {name} at {}", self.path.display())),
            Errno::EROFS => error.hint("the cgroup file system is mounted read-only here"),
            Errno::EACCES | Errno::EPERM => {
                error.hint("run as root, or have the group delegated to you (cgroups(7), delegation)")
            }
            Errno::EBUSY => error.hint("the group's use is above the limit and could not be reclaimed"),
            _ => error,
        }
    }
}
