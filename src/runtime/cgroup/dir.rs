//! The folder of one group in one hierarchy: opened once, checked to be a control group, and read back after writes.

use crate::error::{Error, ErrorKind, Result, SysContext};
use crate::runtime::cgroup::host;
use crate::runtime::cgroup::subtree::NO_INTERNAL;
use crate::runtime::object::FileId;
use crate::runtime::rootless;
use crate::sys::{Errno, file};
use rustix::fs::{CWD, Mode, OFlags};
use std::cell::{Cell, RefCell};
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
    /// The controllers that it has: those of its hierarchy, in version 2 those enabled for it.
    controllers: RefCell<Vec<String>>,
    /// Whether those are still the ones of the group above, of which it has no more and maybe less.
    inherited: Cell<bool>,
    /// Its identity.
    pub id: FileId,
    fd: OwnedFd,
    /// What files held before they were written, while a change of several is under way.
    journal: RefCell<Option<Vec<(String, String)>>>,
    /// The program that decides on devices, in version 2.
    program: RefCell<Option<OwnedFd>>,
    /// Whether that denies every device that it does not name.
    closes_devices: Cell<bool>,
}

impl Dir {
    /// Opens the folder at `path`, and makes sure that the kernel's control groups are behind it.
    ///
    /// A folder below an unmounted controller is an ordinary one: it takes files and limits nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] when it is not on a cgroup file system.
    pub fn open(op: &'static str, path: &Path, version: u8, controllers: &[String]) -> Result<Self> {
        let (fd, id) = open_at(op, CWD, path, path)?;
        let magic = file::fs_magic(&fd).context(op, format!("cannot examine {}", path.display()))?;
        if magic != if version == 2 { MAGIC_V2 } else { MAGIC_V1 } {
            return Err(ordinary(op, path, version));
        }
        Ok(Self::of(fd, id, path, version, controllers))
    }

    /// Makes a folder in this one, which is a group below it, and opens it.
    ///
    /// # Errors
    /// The failed `mkdirat`; as [`open`](Self::open).
    pub fn make(&self, op: &'static str, name: &str) -> Result<Self> {
        let path = self.path.join(name);
        file::mkdirat(&self.fd, Path::new(name), 0o755).map_err(|source| self.refused(op, &path, source))?;
        let (fd, id) = open_at(op, &self.fd, Path::new(name), &path)?;
        // A hierarchy is a file system of its own: on the same one it is a group as this is.
        if id.dev != self.id.dev {
            return Err(ordinary(op, &path, self.version));
        }
        let dir = Self::of(fd, id, &path, self.version, &self.controllers.borrow());
        dir.inherited.set(self.version == 2);
        Ok(dir)
    }

    fn of(fd: OwnedFd, id: FileId, path: &Path, version: u8, controllers: &[String]) -> Self {
        Self {
            path: path.to_owned(),
            version,
            controllers: RefCell::new(controllers.to_vec()),
            inherited: Cell::new(false),
            id,
            fd,
            journal: RefCell::default(),
            program: RefCell::default(),
            closes_devices: Cell::new(false),
        }
    }

    /// Its descriptor.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Whether its hierarchy has this controller.
    #[must_use]
    pub fn has(&self, controller: &str) -> bool {
        let serves = || host::serves(self.version, &self.controllers.borrow(), controller);
        if serves() && self.inherited.get() && self.refresh("cgroup.controllers").is_err() {
            self.controllers.take();
        }
        serves()
    }

    /// Reads again which controllers a version 2 group has.
    ///
    /// # Errors
    /// The failed read.
    pub fn refresh(&self, op: &'static str) -> Result<()> {
        let text = self.read(op, "cgroup.controllers")?;
        self.controllers.replace(text.split_ascii_whitespace().map(str::to_owned).collect());
        self.inherited.set(false);
        Ok(())
    }

    /// From now on remembers what files held before they are written.
    pub fn begin_change(&self) {
        self.journal.replace(Some(Vec::new()));
    }

    /// Ends a change: with `back`, files get what they held before, the last one first.
    pub fn end_change(&self, op: &'static str, back: bool) {
        for (name, value) in self.journal.take().unwrap_or_default().into_iter().rev() {
            if back {
                // The kernel took these values before. What fails now is told by the error that led here.
                let _ = self.write(op, &name, &value);
            }
        }
    }

    /// Whether our program denies every device that it does not name. What another's does is not known.
    #[must_use]
    pub fn closes_devices(&self) -> bool {
        self.closes_devices.get()
    }

    /// Puts a program that decides on devices in place of the one before; `closes` is whether it denies all that it does
    /// not name.
    ///
    /// # Errors
    /// What `attach` fails with.
    pub fn replace_program(
        &self,
        program: OwnedFd,
        closes: bool,
        attach: impl FnOnce(BorrowedFd<'_>, &OwnedFd, Option<&OwnedFd>) -> Result<()>,
    ) -> Result<()> {
        attach(self.fd.as_fd(), &program, self.program.borrow().as_ref())?;
        self.program.replace(Some(program));
        self.closes_devices.set(closes);
        Ok(())
    }

    /// Whether the group has a file of this name.
    #[must_use]
    pub fn has_file(&self, name: &str) -> bool {
        file::identify(&self.fd, Path::new(name)).is_ok()
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
        self.remember(op, name);
        let fd = self.open_for_writing(op, name)?;
        self.write_to(op, &fd, name, value)
    }

    /// Keeps what a file holds, while a change of several is under way.
    fn remember(&self, op: &'static str, name: &str) {
        if self.journal.borrow().is_some()
            && let Ok(before) = self.read(op, name)
            && let Some(journal) = self.journal.borrow_mut().as_mut()
        {
            // Files of many lines are changed line by line, and not brought back.
            journal.extend((!before.contains('\n')).then(|| (name.to_owned(), before)));
        }
    }

    fn write_to(&self, op: &'static str, fd: &OwnedFd, name: &str, value: &str) -> Result<()> {
        file::write_once(fd, value.as_bytes())
            .map(drop)
            .map_err(|source| self.failed(op, &format!("cannot write {value:?} to"), name, source))
    }

    /// Writes a file and compares what the kernel holds afterwards with `expected`.
    ///
    /// # Errors
    /// The failed write, or a difference.
    pub fn set(&self, op: &'static str, name: &str, value: &str, expected: &str) -> Result<()> {
        self.remember(op, name);
        let fd = file::openat(&self.fd, Path::new(name), OFlags::RDWR, Mode::empty())
            .map_err(|source| self.failed(op, "cannot open", name, source))?;
        self.write_to(op, &fd, name, value)?;
        let held = self.read_from(op, &fd, name)?;
        if held == expected {
            return Ok(());
        }
        Err(self.differs(op, name, value, &held))
    }

    /// The error for a value that the kernel took and does not hold.
    #[must_use]
    pub fn differs(&self, op: &'static str, name: &str, value: &str, held: &str) -> Error {
        let what = format!("{name}: asked for {value}, the kernel holds {held}");
        Error::new(ErrorKind::InvalidArgument, op, what).path(self.path.join(name))
    }

    /// Reads a file of the group, without the line end.
    ///
    /// # Errors
    /// The failed open or read.
    pub fn read(&self, op: &'static str, name: &str) -> Result<String> {
        let fd = self.open_for_reading(op, name)?;
        self.read_from(op, &fd, name)
    }

    fn read_from(&self, op: &'static str, fd: &OwnedFd, name: &str) -> Result<String> {
        let mut text = Vec::new();
        let mut buf = [0; 4096];
        loop {
            let at = u64::try_from(text.len()).unwrap_or(u64::MAX);
            let len = file::read_at(fd, &mut buf, at);
            let len = len.map_err(|source| self.failed(op, "cannot read", name, source))?;
            text.extend(&buf[..len]);
            // A read ends early only where the next line does not fit, and no line is as long as half of this.
            if len < buf.len() / 2 {
                break;
            }
        }
        Ok(String::from_utf8_lossy(&text).trim_end().to_owned())
    }

    /// Opens a file of the group for reading, or to be told when it changes.
    ///
    /// # Errors
    /// The failed open.
    pub fn open_for_reading(&self, op: &'static str, name: &str) -> Result<OwnedFd> {
        file::openat(&self.fd, Path::new(name), OFlags::RDONLY, Mode::empty())
            .map_err(|source| self.failed(op, "cannot open", name, source))
    }

    /// Reads a number from a file of the group; `None` for `max`, a missing file or an unlimited value.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u64> {
        self.read("cgroup.stats", name).ok()?.trim().parse().ok()
    }

    /// Reads one field of a file of `name value` lines.
    #[must_use]
    pub fn field(&self, name: &str, field: &str) -> Option<u64> {
        self.fields(name, [field])[0]
    }

    /// Reads some fields of a file of `name value` lines, at once.
    #[must_use]
    pub fn fields<const N: usize>(&self, name: &str, fields: [&str; N]) -> [Option<u64>; N] {
        let text = self.read("cgroup.stats", name).unwrap_or_default();
        fields.map(|field| {
            text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(' ')?.trim().parse().ok())
        })
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
            Errno::ENODEV if name.starts_with("cgroup.") || name == "tasks" => {
                error.kind_is(ErrorKind::Closed).hint("the group was removed by someone else")
            }
            Errno::ENODEV => {
                error.hint("no such device, or a part of a disk: name the whole disk, see lsblk(8)")
            }
            Errno::ESRCH => error.hint("the process has ended"),
            Errno::EBUSY if name == "cgroup.procs" || name == "cgroup.subtree_control" => {
                error.hint(NO_INTERNAL)
            }
            Errno::EBUSY => error.hint("the group's use is above the limit and could not be reclaimed"),
            _ => self.forbidden(error, errno),
        }
    }

    /// Where the hierarchy is mounted.
    fn mount_point(&self) -> &Path {
        let is_root = |path: &&Path| file::identify(CWD, path).is_ok_and(|found| found.mount_root);
        self.path.ancestors().find(is_root).unwrap_or(&self.path)
    }

    /// Adds how to be allowed to change groups.
    fn forbidden(&self, error: Error, errno: Errno) -> Error {
        match errno {
            Errno::EROFS => error.hint(format!(
                "the cgroup file system is mounted read-only here: `mount -o remount,bind,rw {}`, or start the container with it writable",
                self.mount_point().display()
            )),
            Errno::EACCES | Errno::EPERM => error.hint(delegate(&self.path, self.version)),
            _ => error,
        }
    }

    fn refused(&self, op: &'static str, path: &Path, source: crate::sys::SysError) -> Error {
        let errno = source.errno();
        let error = Error::sys(op, format!("cannot make the group {}", path.display()), source).path(path);
        match errno {
            Errno::EEXIST => error.hint("the name is taken: choose another, or leave it out for a free one"),
            Errno::EAGAIN => {
                error.hint("cgroup.max.descendants or cgroup.max.depth of a group above is reached")
            }
            _ => self.forbidden(error, errno),
        }
    }
}

fn open_at(op: &'static str, at: impl AsFd, name: &Path, path: &Path) -> Result<(OwnedFd, FileId)> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let fd = file::openat(at, name, flags, Mode::empty()).map_err(|source| {
        Error::sys(op, format!("cannot open the group {}", path.display()), source).path(path)
    })?;
    let found =
        file::identify(&fd, Path::new("")).context(op, format!("cannot identify {}", path.display()))?;
    Ok((fd, FileId { dev: found.dev, ino: found.ino }))
}

fn ordinary(op: &'static str, path: &Path, version: u8) -> Error {
    let what = format!("{} is an ordinary folder, not a version {version} control group", path.display());
    Error::new(ErrorKind::Unsupported, op, what).path(path).hint("mount the controller first")
}

/// The files of a group that a user needs, to make groups below it and to put processes there (cgroups(7), delegation).
#[must_use]
pub fn delegated_files(version: u8) -> &'static [&'static str] {
    if version == 2 {
        &["cgroup.procs", "cgroup.subtree_control", "cgroup.threads"]
    } else {
        &["cgroup.procs", "tasks"]
    }
}

/// How to be given a place for groups, where the group at `path` is somebody else's.
#[must_use]
pub fn delegate(path: &Path, version: u8) -> String {
    // Outside, where the group is to be given away.
    let user = rootless::user();
    let group = path.join(format!("user-{user}"));
    let group = group.display();
    let files: Vec<String> = delegated_files(version).iter().map(|name| format!("{group}/{name}")).collect();
    let systemd = match version {
        2 => "start it as `systemd-run --user --scope -p Delegate=yes cshell …`; or, without systemd, ",
        _ => "",
    };
    format!(
        "{systemd}as root: `mkdir {group}; chown {user} {group} {}`, and have the shell that starts this program put there: `echo PID >{group}/cgroup.procs` (cgroups(7), delegation)",
        files.join(" ")
    )
}
