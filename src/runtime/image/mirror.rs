//! Copying files of this machine into a root of their own, under the paths that they have here.
//!
//! Links on the way to a file are made again as they are, so that a merged `/usr` stays merged. Everything is written
//! under its real path, which has no links in it: nothing is ever written through a link.

use crate::error::{Error, ErrorKind, Result, SysContext};
use crate::runtime::cancel;
use crate::runtime::image::xattr;
use crate::runtime::rootless;
use crate::sys::inode::{self, Stat};
use crate::sys::{Errno, SysError, file};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::OsString;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// The most links on the way to one file (as the kernel has it).
const LINKS_MAX: u32 = 40;

/// A root that is being filled.
pub(super) struct Mirror {
    op: &'static str,
    root: PathBuf,
    /// Folders made, whose mode and time are set at the end.
    folders: BTreeMap<PathBuf, Stat>,
    /// Files and links made.
    made: BTreeSet<PathBuf>,
    /// Folders of this program, which are never copied.
    own: Vec<PathBuf>,
    pub(super) files: u64,
    pub(super) bytes: u64,
    /// Files of included folders that may need libraries.
    pub(super) objects: Vec<PathBuf>,
}

impl Mirror {
    /// Fills the existing folder `root`. The folders `own` are left out of included folders.
    pub(super) fn new(root: &Path, own: Vec<PathBuf>, op: &'static str) -> Self {
        Self {
            op,
            root: root.to_owned(),
            folders: BTreeMap::new(),
            made: BTreeSet::new(),
            own,
            files: 0,
            bytes: 0,
            objects: Vec::new(),
        }
    }

    /// Where `path` of this machine is in the root.
    pub(super) fn inside(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    fn fail(&self, path: &Path, source: SysError) -> Error {
        Error::sys(self.op, "cannot copy it", source).subject(path.display()).path(path)
    }

    /// Copies `path` with all folders and links on the way to it; of a folder, only the folder itself. Returns the real
    /// path.
    pub(super) fn place(&mut self, path: &Path) -> Result<PathBuf> {
        cancel::check(self.op)?;
        let mut real = PathBuf::from("/");
        let mut rest: VecDeque<OsString> = parts(path);
        let mut links = 0;
        while let Some(part) = rest.pop_front() {
            if part == ".." {
                real.pop();
                continue;
            }
            let next = real.join(&part);
            if self.folders.contains_key(&next) {
                real = next;
                continue;
            }
            let stat = inode::stat(CWD, &next).map_err(|error| self.fail(path, error))?;
            match stat.kind {
                FileType::Symlink => {
                    links += 1;
                    if links > LINKS_MAX {
                        let error = SysError::new("openat", format!("{path:?}"), Errno::ELOOP);
                        return Err(self.fail(path, error));
                    }
                    let target = inode::read_link(CWD, &next).map_err(|error| self.fail(&next, error))?;
                    self.link(&next, &target, &stat)?;
                    if target.is_absolute() {
                        real = PathBuf::from("/");
                    }
                    parts(&target).into_iter().rev().for_each(|part| rest.push_front(part));
                }
                FileType::Directory => {
                    self.folder(&next, &stat)?;
                    real = next;
                }
                _ if !rest.is_empty() => {
                    let error = SysError::new("openat", format!("{path:?}"), Errno::ENOTDIR);
                    return Err(self.fail(path, error));
                }
                _ => {
                    self.leaf(&next, &stat)?;
                    real = next;
                }
            }
        }
        Ok(real)
    }

    /// Copies everything below the folder with the real path `folder`, which was placed before.
    pub(super) fn tree(&mut self, folder: &Path) -> Result<()> {
        cancel::check(self.op)?;
        if self.own.iter().any(|own| folder.starts_with(own)) {
            return Ok(());
        }
        let fail = |source| {
            Error::io(self.op, "cannot read the folder", source).subject(folder.display()).path(folder)
        };
        let mut names = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(fail)? {
            names.push(entry.map_err(fail)?.file_name());
        }
        names.sort();
        for name in names {
            let path = folder.join(name);
            let stat = inode::stat(CWD, &path).map_err(|error| self.fail(&path, error))?;
            match stat.kind {
                FileType::Directory => {
                    self.folder(&path, &stat)?;
                    if !is_kernel_view(&path) {
                        self.tree(&path)?;
                    }
                }
                FileType::Symlink => {
                    let target = inode::read_link(CWD, &path).map_err(|error| self.fail(&path, error))?;
                    self.link(&path, &target, &stat)?;
                    // A file elsewhere comes along; a folder elsewhere and a link to nowhere stay what they are.
                    if std::fs::metadata(&path).is_ok_and(|data| data.is_file()) {
                        self.place(&path)?;
                    }
                }
                FileType::Socket => {}
                _ => self.leaf(&path, &stat)?,
            }
        }
        Ok(())
    }

    fn folder(&mut self, path: &Path, stat: &Stat) -> Result<()> {
        if self.folders.contains_key(path) {
            return Ok(());
        }
        let to = self.inside(path);
        match file::mkdirat(CWD, &to, 0o700) {
            Err(error) if error.errno() == Errno::EEXIST => {}
            other => other.map_err(|error| self.fail(path, error))?,
        }
        self.folders.insert(path.to_owned(), *stat);
        Ok(())
    }

    fn link(&mut self, path: &Path, target: &Path, stat: &Stat) -> Result<()> {
        if !self.made.insert(path.to_owned()) {
            return Ok(());
        }
        let to = self.inside(path);
        inode::symlink(target, CWD, &to)
            .and_then(|()| set_owner(CWD, &to, stat))
            .and_then(|()| inode::set_mtime(CWD, &to, stat.mtime, stat.mtime_nanos))
            .map_err(|error| self.fail(path, error))
    }

    fn leaf(&mut self, path: &Path, stat: &Stat) -> Result<()> {
        if !self.made.insert(path.to_owned()) {
            return Ok(());
        }
        self.files += 1;
        let to = self.inside(path);
        match stat.kind {
            FileType::RegularFile => return self.regular(path, &to),
            FileType::CharacterDevice | FileType::BlockDevice | FileType::Fifo => {}
            _ => {
                return Err(Error::new(ErrorKind::Unsupported, self.op, "a socket cannot be copied")
                    .subject(path.display())
                    .path(path));
            }
        }
        inode::make_node(CWD, &to, stat.kind, 0o600, stat.rdev)
            .and_then(|()| set_owner(CWD, &to, stat))
            .and_then(|()| inode::set_perm_at(CWD, &to, stat.perm))
            .and_then(|()| inode::set_mtime(CWD, &to, stat.mtime, stat.mtime_nanos))
            .map_err(|error| self.fail(path, error))
    }

    fn regular(&mut self, path: &Path, to: &Path) -> Result<()> {
        cancel::check(self.op)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let from = file::openat(CWD, path, flags, Mode::empty()).map_err(|error| self.fail(path, error))?;
        let stat = inode::stat(&from, Path::new("")).map_err(|error| self.fail(path, error))?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let out = file::openat(CWD, to, flags, Mode::from_bits_retain(0o600))
            .map_err(|error| self.fail(path, error))?;
        let (mut from, mut out) = (File::from(from), File::from(out));
        self.bytes += self.content(path, &mut from, &mut out)?;
        // In this order: a change of the owner clears setuid and capabilities.
        let dress = || {
            set_owner(&out, Path::new(""), &stat)?;
            inode::set_perm(&out, stat.perm)?;
            for (name, value) in xattr::read(CWD, path)?.kept {
                inode::set_xattr(CWD, to, &name, &value)?;
            }
            inode::set_mtime(&out, Path::new(""), stat.mtime, stat.mtime_nanos)
        };
        dress().map_err(|error| self.fail(path, error))?;
        let library =
            path.file_name().is_some_and(|name| name.as_bytes().windows(3).any(|part| part == b".so"));
        if stat.perm & 0o111 != 0 || library {
            self.objects.push(path.to_owned());
        }
        Ok(())
    }

    fn content(&self, path: &Path, from: &mut File, out: &mut File) -> Result<u64> {
        const CHUNK: usize = 16 << 20;
        let mut total = 0;
        loop {
            cancel::check(self.op)?;
            match inode::copy_range(&*from, &*out, CHUNK) {
                Ok(0) => return Ok(total),
                Ok(len) => total += u64::try_from(len).unwrap_or_default(),
                Err(error) if total == 0 && inode::needs_buffer(error.errno()) => {
                    return std::io::copy(from, out)
                        .context(self.op, format!("cannot copy {}", path.display()));
                }
                Err(error) => return Err(self.fail(path, error)),
            }
        }
    }

    /// Sets owner, mode and time of the folders, now that nothing is made in them any more.
    pub(super) fn finish(&self) -> Result<()> {
        for (path, stat) in self.folders.iter().rev() {
            let to = self.inside(path);
            set_owner(CWD, &to, stat)
                .and_then(|()| inode::set_perm_at(CWD, &to, stat.perm))
                .and_then(|()| inode::set_mtime(CWD, &to, stat.mtime, stat.mtime_nanos))
                .map_err(|error| self.fail(path, error))?;
        }
        Ok(())
    }
}

/// Gives a copy the owner of its original, or root where that has no id in this user namespace.
fn set_owner(dir: impl AsFd, name: &Path, stat: &Stat) -> crate::sys::Result<()> {
    let (uid, gid) = rootless::owner_of_copy(stat.uid, stat.gid);
    inode::set_owner(dir, name, uid, gid)
}

fn parts(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            _ => None,
        })
        .collect()
}

/// Whether a folder shows the kernel rather than files: `/proc`, `/sys` and their like.
fn is_kernel_view(path: &Path) -> bool {
    const MAGIC: [u64; 9] = [
        0x9fa0,      // proc
        0x6265_6572, // sysfs
        0x1cd1,      // devpts
        0x0027_e0eb, // cgroup
        0x6367_7270, // cgroup2
        0x6462_6720, // debugfs
        0x7472_6163, // tracefs
        0x7363_6673, // securityfs
        0xcafe_4a11, // bpf
    ];
    File::open(path).is_ok_and(|fd| file::fs_magic(&fd).is_ok_and(|magic| MAGIC.contains(&magic)))
}
