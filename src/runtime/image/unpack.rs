//! Unpacking a layer into a folder of its own, in the form that overlayfs reads.
//!
//! Nothing in an archive is trusted: every folder is opened below the root's fd with `openat2(RESOLVE_IN_ROOT)`, so that
//! `..`, absolute links and links that lead outside stay inside; the last name is then made with calls that never
//! follow a link and never reuse what is there. Whiteouts become what overlayfs knows: device nodes 0:0 and attributes.

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::cancel;
use crate::runtime::fs::tree;
use crate::runtime::image::pack::{OPAQUE, WHITEOUT, is_whiteout};
use crate::runtime::image::tarfile::{Member, Reader};
use crate::runtime::image::xattr;
use crate::runtime::rootless;
use crate::sys::inode::{self, Stat};
use crate::sys::{Errno, SysError, file};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use tar::EntryType;

/// What was unpacked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Unpacked {
    pub(super) members: u64,
    pub(super) bytes: u64,
}

/// Unpacks the archive `input` into the empty folder `target`.
///
/// `lowers` are the unpacked layers below it, top first: a folder that the archive does not mention itself gets its
/// attributes from there. `blob` names the layer in errors.
pub(super) fn unpack<R: Read>(
    input: R,
    target: &Path,
    lowers: &[PathBuf],
    blob: &str,
    op: &'static str,
) -> Result<(R, Unpacked)> {
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let open = |path: &Path| {
        file::openat(CWD, path, flags, Mode::empty()).map_err(|error| {
            Error::sys(op, "cannot open the folder of a layer", error).subject(path.display())
        })
    };
    let mut unpacker = Unpacker {
        op,
        blob,
        root: Rc::new(open(target)?),
        lowers: lowers.iter().map(|path| open(path)).collect::<Result<_>>()?,
        last: None,
        folders: Vec::new(),
        done: Unpacked::default(),
        buf: vec![0; 1 << 17],
    };
    let mut reader = Reader::new(input);
    while let Some(member) = reader.next().map_err(|source| unpacker.broken(source))? {
        cancel::check(op)?;
        unpacker.member(&member, &mut reader)?;
        unpacker.done.members += 1;
    }
    unpacker.finish()?;
    Ok((reader.into_inner(), unpacker.done))
}

/// A folder whose mode and time are set at the end, when nothing is made in it any more.
struct Folder {
    path: Vec<u8>,
    ino: u64,
    perm: u32,
    mtime: i64,
}

struct Unpacker<'a> {
    op: &'static str,
    blob: &'a str,
    root: Rc<OwnedFd>,
    lowers: Vec<OwnedFd>,
    /// The folder of the member before: most members are beside each other.
    last: Option<(Vec<u8>, Rc<OwnedFd>)>,
    folders: Vec<Folder>,
    done: Unpacked,
    buf: Vec<u8>,
}

/// A path of bytes for a call.
fn path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

impl Unpacker<'_> {
    fn corrupt(&self, name: &[u8], what: &str) -> Error {
        Error::new(ErrorKind::Corrupt, self.op, format!("{:?}: {what}", path(name)))
            .subject(format!("layer {}", self.blob))
    }

    fn broken(&self, source: std::io::Error) -> Error {
        Error::io(self.op, "cannot read the archive", source).subject(format!("layer {}", self.blob))
    }

    fn failed(&self, name: &[u8], source: SysError) -> Error {
        let fix = rootless::why_refused(source.name(), source.errno());
        let error = Error::sys(self.op, format!("cannot make {:?}", path(name)), source)
            .subject(format!("layer {}", self.blob));
        match fix {
            Some(fix) => error.hint(fix),
            None => error,
        }
    }

    /// The path of a member, without leading, doubled and trailing slashes; never with `..`.
    fn clean(&self, name: &[u8]) -> Result<Vec<u8>> {
        if name.contains(&0) {
            return Err(self.corrupt(name, "the name has a zero byte"));
        }
        let parts = name.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b"."));
        let parts: Vec<&[u8]> = parts.collect();
        if parts.contains(&&b".."[..]) {
            return Err(self.corrupt(name, "the name has a `..` in it"));
        }
        Ok(parts.join(&b'/'))
    }

    /// Opens what `name` leads to below the root, as if that were `/`.
    fn open(&self, root: &OwnedFd, name: &[u8], flags: OFlags) -> std::result::Result<OwnedFd, SysError> {
        let name = if name.is_empty() { b"." } else { name };
        loop {
            match file::open_in_root(root, path(name), flags, Mode::empty()) {
                // A rename elsewhere on the machine disturbed the resolution of a `..` (openat2(2)).
                Err(error) if error.errno() == Errno::EAGAIN => cancel_or_retry(&error)?,
                other => return other,
            }
        }
    }

    /// The folder `name`, made if it is missing.
    fn folder(&mut self, name: &[u8]) -> Result<Rc<OwnedFd>> {
        if let Some((known, fd)) = &self.last
            && known == name
        {
            return Ok(fd.clone());
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let fd = match self.open(&self.root, name, flags) {
            Err(error) if error.errno() == Errno::ENOENT => self.make_folders(name)?,
            other => Rc::new(other.map_err(|error| self.in_the_way(name, error))?),
        };
        self.last = Some((name.to_vec(), fd.clone()));
        Ok(fd)
    }

    fn in_the_way(&self, name: &[u8], error: SysError) -> Error {
        match error.errno() {
            Errno::ENOTDIR | Errno::ELOOP => {
                self.corrupt(name, "the path leads through something that is not a folder").caused_by(error)
            }
            _ => self.failed(name, error),
        }
    }

    fn make_folders(&mut self, name: &[u8]) -> Result<Rc<OwnedFd>> {
        let mut dir = self.root.clone();
        let ends = name.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        let ends: Vec<usize> = ends.chain([name.len()]).collect();
        let mut start = 0;
        for end in ends {
            let (sofar, last) = (&name[..end], &name[start..end]);
            start = end + 1;
            let flags = OFlags::PATH | OFlags::DIRECTORY;
            dir = match self.open(&self.root, sofar, flags) {
                Err(error) if error.errno() == Errno::ENOENT => {
                    match file::mkdirat(&dir, path(last), 0o755) {
                        Err(error) if error.errno() == Errno::EEXIST => {
                            return Err(self.corrupt(sofar, "it is a link that leads nowhere"));
                        }
                        other => other.map_err(|error| self.failed(sofar, error))?,
                    }
                    Rc::new(self.inherit(&dir, last, sofar)?)
                }
                other => Rc::new(other.map_err(|error| self.in_the_way(sofar, error))?),
            };
        }
        Ok(dir)
    }

    /// Gives a folder that the archive does not mention the attributes that it has in the layers below.
    fn inherit(&mut self, dir: &OwnedFd, last: &[u8], name: &[u8]) -> Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let made = file::openat(dir, path(last), flags | OFlags::NOFOLLOW, Mode::empty())
            .map_err(|error| self.failed(name, error))?;
        let below = self.lowers.iter().find_map(|lower| self.open(lower, name, flags).ok());
        let own = |fd: &OwnedFd| inode::stat(fd, Path::new("")).map_err(|error| self.failed(name, error));
        let stat = own(&made)?;
        let like = match &below {
            Some(below) => own(below)?,
            None => Stat { perm: 0o755, ..stat },
        };
        inode::set_owner(&made, Path::new(""), like.uid, like.gid)
            .map_err(|error| self.failed(name, error))?;
        self.folders.push(Folder { path: name.to_vec(), ino: stat.ino, perm: like.perm, mtime: like.mtime });
        Ok(made)
    }

    fn member<R: Read>(&mut self, member: &Member, data: &mut Reader<R>) -> Result<()> {
        let name = self.clean(&member.path)?;
        if name.is_empty() {
            return self.root_folder(member);
        }
        let at = name.iter().rposition(|byte| *byte == b'/');
        let (parent, last) = at.map_or((&b""[..], &name[..]), |at| (&name[..at], &name[at + 1..]));
        let dir = self.folder(parent)?;
        if last == OPAQUE {
            return xattr::set_opaque(&*dir, Path::new("")).map_err(|error| self.no_marks(&name, error));
        }
        if last.starts_with(b".wh..wh.") {
            // Bookkeeping of aufs, which layers may carry and nothing reads.
            return Ok(());
        }
        if let Some(hidden) = last.strip_prefix(WHITEOUT) {
            return self.whiteout(&dir, hidden, &name);
        }
        match member.kind {
            EntryType::Directory => self.directory(&dir, last, &name, member),
            _ => self.file(&dir, last, &name, member, data),
        }
    }

    fn root_folder(&mut self, member: &Member) -> Result<()> {
        if member.kind != EntryType::Directory {
            return Err(self.corrupt(&member.path, "the root must be a folder"));
        }
        let root = self.root.clone();
        let stat = inode::stat(&*root, Path::new("")).map_err(|error| self.failed(b".", error))?;
        self.dress(&root, b"", b"", member)?;
        self.folders.push(Folder { path: Vec::new(), ino: stat.ino, perm: member.perm, mtime: member.mtime });
        Ok(())
    }

    fn existing(&self, dir: &OwnedFd, last: &[u8], name: &[u8]) -> Result<Option<Stat>> {
        match inode::stat(dir, path(last)) {
            Err(error) if error.errno() == Errno::ENOENT => Ok(None),
            other => other.map(Some).map_err(|error| self.failed(name, error)),
        }
    }

    fn no_marks(&self, name: &[u8], error: SysError) -> Error {
        self.failed(name, error)
            .hint("a layer with deleted files needs a file system that overlayfs can use, and the right to make its marks")
    }

    fn whiteout(&mut self, dir: &OwnedFd, hidden: &[u8], name: &[u8]) -> Result<()> {
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(self.corrupt(name, "it hides nothing that could exist"));
        }
        // A whiteout hides what is in layers below, never what is in its own.
        match self.existing(dir, hidden, name)? {
            None => inode::make_node(dir, path(hidden), FileType::CharacterDevice, 0, (0, 0)),
            Some(stat) if stat.kind == FileType::Directory => xattr::set_opaque(dir, path(hidden)),
            Some(_) => Ok(()),
        }
        .map_err(|error| self.no_marks(name, error))
    }

    fn directory(&mut self, dir: &OwnedFd, last: &[u8], name: &[u8], member: &Member) -> Result<()> {
        let before = self.existing(dir, last, name)?;
        if before.is_none_or(|stat| stat.kind != FileType::Directory) {
            if before.is_some() {
                self.remove(dir, last, name)?;
            }
            file::mkdirat(dir, path(last), 0o700).map_err(|error| self.failed(name, error))?;
            if before.is_some_and(|stat| is_whiteout(&stat)) {
                xattr::set_opaque(dir, path(last)).map_err(|error| self.no_marks(name, error))?;
            }
        }
        let stat = inode::stat(dir, path(last)).map_err(|error| self.failed(name, error))?;
        self.dress(dir, last, name, member)?;
        let (perm, mtime) = (member.perm, member.mtime);
        self.folders.push(Folder { path: name.to_vec(), ino: stat.ino, perm, mtime });
        Ok(())
    }

    /// Removes what an earlier member of the same name made.
    fn remove(&mut self, dir: &OwnedFd, last: &[u8], name: &[u8]) -> Result<()> {
        self.last = None;
        let shown = PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd())).join(path(last));
        tree::remove(&shown).map_err(|error| self.failed(name, error))
    }

    fn file<R: Read>(
        &mut self,
        dir: &OwnedFd,
        last: &[u8],
        name: &[u8],
        member: &Member,
        data: &mut Reader<R>,
    ) -> Result<()> {
        let link = match member.kind {
            EntryType::Link => Some(self.link_target(member, name)?),
            _ => None,
        };
        if self.existing(dir, last, name)?.is_some() {
            self.remove(dir, last, name)?;
        }
        if let Some((target_dir, target)) = link {
            return inode::hard_link(&target_dir, path(&target), dir, path(last)).map_err(|error| {
                let text =
                    format!("it is a hard link to {:?}, which is no file of this layer", path(&member.link));
                self.corrupt(name, &text).caused_by(error)
            });
        }
        let at = path(last);
        let node = |kind, device| inode::make_node(dir, at, kind, 0o600, device);
        match member.kind {
            EntryType::Regular | EntryType::Continuous => return self.regular(dir, last, name, member, data),
            EntryType::Symlink if member.link.is_empty() || member.link.contains(&0) => {
                return Err(self.corrupt(name, "it is a link without a valid target"));
            }
            EntryType::Symlink => {
                self.last = None;
                inode::symlink(path(&member.link), dir, at)
            }
            EntryType::Fifo => node(FileType::Fifo, (0, 0)),
            EntryType::Block => node(FileType::BlockDevice, member.device),
            EntryType::Char if member.device == (0, 0) => {
                return Err(self.corrupt(name, "it is a device node 0:0, which overlayfs takes for a deleted file"));
            }
            EntryType::Char => node(FileType::CharacterDevice, member.device),
            kind => return Err(self.corrupt(name, &format!("it is of a type that layers do not have ({kind:?})"))),
        }
        .map_err(|error| self.failed(name, error))?;
        self.dress(dir, last, name, member)?;
        if member.kind != EntryType::Symlink {
            inode::set_perm_at(dir, at, member.perm).map_err(|error| self.failed(name, error))?;
        }
        inode::set_mtime(dir, at, member.mtime, 0).map_err(|error| self.failed(name, error))
    }

    /// The folder and name that a hard link leads to. The folder must exist; links on the way stay below the root.
    fn link_target(&self, member: &Member, name: &[u8]) -> Result<(OwnedFd, Vec<u8>)> {
        let target = self.clean(&member.link)?;
        if target == name || target.is_empty() {
            return Err(self.corrupt(name, "it is a hard link to itself"));
        }
        let at = target.iter().rposition(|byte| *byte == b'/');
        let (parent, last) = at.map_or((&b""[..], &target[..]), |at| (&target[..at], &target[at + 1..]));
        let dir = self.open(&self.root, parent, OFlags::PATH | OFlags::DIRECTORY).map_err(|error| {
            let text =
                format!("it is a hard link to {:?}, which is no file of this layer", path(&member.link));
            self.corrupt(name, &text).caused_by(error)
        })?;
        Ok((dir, last.to_vec()))
    }

    fn regular<R: Read>(
        &mut self,
        dir: &OwnedFd,
        last: &[u8],
        name: &[u8],
        member: &Member,
        data: &mut Reader<R>,
    ) -> Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let fd = file::openat(dir, path(last), flags, Mode::from_bits_retain(0o600))
            .map_err(|error| self.failed(name, error))?;
        let mut out = std::fs::File::from(fd);
        loop {
            let len = data.read(&mut self.buf).map_err(|source| self.broken(source))?;
            if len == 0 {
                break;
            }
            cancel::check(self.op)?;
            out.write_all(&self.buf[..len]).map_err(|source| {
                Error::io(self.op, format!("cannot write {:?}", path(name)), source)
                    .subject(format!("layer {}", self.blob))
            })?;
        }
        self.done.bytes += member.size;
        // In this order: a change of the owner clears setuid and capabilities.
        self.dress(dir, last, name, member)?;
        inode::set_perm(&out, member.perm).map_err(|error| self.failed(name, error))?;
        inode::set_mtime(&out, Path::new(""), member.mtime, 0).map_err(|error| self.failed(name, error))
    }

    /// Sets owner and extended attributes.
    fn dress(&self, dir: &OwnedFd, last: &[u8], name: &[u8], member: &Member) -> Result<()> {
        let id = |value: u64| {
            u32::try_from(value)
                .ok()
                .filter(|id| *id != u32::MAX)
                .ok_or_else(|| self.corrupt(name, &format!("its owner {value} is out of range")))
        };
        inode::set_owner(dir, path(last), id(member.uid)?, id(member.gid)?)
            .map_err(|error| self.failed(name, error))?;
        for (attribute, value) in member.xattrs.iter().filter(|(attribute, _)| xattr::belongs(attribute)) {
            inode::set_xattr(dir, path(last), attribute, value).map_err(|error| self.failed(name, error))?;
        }
        Ok(())
    }

    /// Sets mode and time of the folders.
    fn finish(&mut self) -> Result<()> {
        for folder in std::mem::take(&mut self.folders) {
            let Ok(fd) = self.open(&self.root, &folder.path, OFlags::RDONLY | OFlags::DIRECTORY) else {
                continue;
            };
            let stat = inode::stat(&fd, Path::new("")).map_err(|error| self.failed(&folder.path, error))?;
            // A later member took its place.
            if stat.ino != folder.ino {
                continue;
            }
            inode::set_perm(&fd, folder.perm)
                .and_then(|()| inode::set_mtime(&fd, Path::new(""), folder.mtime, 0))
                .map_err(|error| self.failed(&folder.path, error))?;
        }
        Ok(())
    }
}

/// Lets a disturbed resolution be tried again, unless the program was asked to stop.
fn cancel_or_retry(error: &SysError) -> std::result::Result<(), SysError> {
    if cancel::requested().is_some() { Err(error.clone()) } else { Ok(()) }
}
