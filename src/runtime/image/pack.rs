//! Writing a folder as a layer: a sorted walk by fd, with the marks of overlayfs turned into those of OCI layers.
//!
//! overlayfs marks what was deleted by a character device 0:0 and what hides everything below by an attribute; a layer
//! does so by files named `.wh.NAME` and `.wh..wh..opq` (image-spec, layer.md). The same content gives the same bytes.

use crate::error::{Error, ErrorKind, Result, SysContext};
use crate::runtime::cancel;
use crate::runtime::fs::fuse;
use crate::runtime::image::tarfile::{Member, Writer};
use crate::runtime::image::xattr;
use crate::sys::inode::{self, Stat};
use crate::sys::{self, file};
use rustix::fs::{CWD, Dir, FileType, Mode, OFlags};
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use tar::EntryType;

/// What begins the name of a whiteout.
pub(super) const WHITEOUT: &[u8] = b".wh.";
/// The name of the mark of an opaque folder.
pub(super) const OPAQUE: &[u8] = b".wh..wh..opq";

/// What was packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Packed {
    /// Members, whiteouts included.
    pub(super) members: u64,
    /// Bytes of file content.
    pub(super) bytes: u64,
    /// Whiteouts and opaque marks.
    pub(super) whiteouts: u64,
    /// Sockets, which an archive cannot hold.
    pub(super) sockets: u64,
}

/// How to pack.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    pub(super) op: &'static str,
    /// No time is later than this, in seconds since 1970.
    pub(super) clamp: Option<i64>,
}

/// Writes what an overlay of the folders `stack` (top first) would show to `out`. A single folder keeps its marks of
/// what it deletes from layers below it; in a stack of several they have done their work and are left out.
pub(super) fn pack<W: Write>(stack: &[&Path], options: Options, out: W) -> Result<(W, Packed)> {
    let top = stack.first().copied().unwrap_or_else(|| Path::new(""));
    let mut packer = Packer {
        tar: Writer::new(out),
        options,
        root: top.to_owned(),
        marks: stack.len() == 1,
        links: HashMap::new(),
        packed: Packed::default(),
        buf: vec![0; 1 << 17],
    };
    let mut dirs = Vec::new();
    for path in stack {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let open = file::openat(CWD, path, flags, Mode::empty());
        let fd = open.and_then(|fd| inode::stat(&fd, Path::new("")).map(|stat| (fd, stat)));
        let (fd, stat) = fd.map_err(|error| packer.fail(b"", error))?;
        dirs.push(Layer { fd, dev: stat.dev, stat });
    }
    packer.folder(&dirs, &mut Vec::new())?;
    let packed = packer.packed;
    let out = packer.tar.finish().context(options.op, "cannot write the layer")?;
    Ok((out, packed))
}

/// One folder of the stack that is being walked.
struct Layer {
    fd: OwnedFd,
    /// The device of the root of its layer: what is mounted in it is not shown by an overlay.
    dev: u64,
    stat: Stat,
}

struct Packer<W> {
    tar: Writer<W>,
    options: Options,
    root: PathBuf,
    /// Whether whiteouts and opaque marks are written.
    marks: bool,
    /// The first name of each file that has several.
    links: HashMap<(u64, u64), Vec<u8>>,
    packed: Packed,
    buf: Vec<u8>,
}

impl<W: Write> Packer<W> {
    fn shown(&self, path: &[u8]) -> PathBuf {
        self.root.join(OsStr::from_bytes(path))
    }

    fn fail(&self, path: &[u8], source: sys::SysError) -> Error {
        let shown = self.shown(path);
        Error::sys(self.options.op, "cannot read it for the layer", source)
            .subject(shown.display())
            .path(shown)
    }

    fn refuse(&self, path: &[u8], kind: ErrorKind, what: &str) -> Error {
        let shown = self.shown(path);
        Error::new(kind, self.options.op, what).subject(shown.display()).path(shown)
    }

    /// Writes a folder and all below it. `path` is relative and empty for the root.
    fn folder(&mut self, stack: &[Layer], path: &mut Vec<u8>) -> Result<()> {
        cancel::check(self.options.op)?;
        let Some(top) = stack.first() else { return Ok(()) };
        let mut found = xattr::read(&top.fd, Path::new("")).map_err(|error| self.fail(path, error))?;
        self.check_marks(path, &found)?;
        let name = if path.is_empty() { b"./".to_vec() } else { [path.as_slice(), b"/"].concat() };
        let mut member = self.member(name, EntryType::Directory, &top.stat);
        member.xattrs = std::mem::take(&mut found.kept);
        self.write(&member)?;
        let len = path.len();
        if !path.is_empty() {
            path.push(b'/');
        }
        let mut names = self.names(stack, path)?;
        if found.opaque | fuse::take_marks(&mut names) {
            self.whiteout([path.as_slice(), OPAQUE].concat())?;
        }
        for (name, first) in names {
            path.extend_from_slice(&name);
            self.child(&stack[first..], OsStr::from_bytes(&name).as_ref(), path)?;
            path.truncate(path.len() - name.len());
        }
        path.truncate(len);
        Ok(())
    }

    /// The names in the folders of `stack`, sorted, each with the first folder that has it.
    fn names(&self, stack: &[Layer], path: &[u8]) -> Result<BTreeMap<Vec<u8>, usize>> {
        let fail = |errno: rustix::io::Errno| {
            let errno = sys::Errno::from_raw(errno.raw_os_error());
            self.fail(path, sys::SysError::new("getdents64", format!("{:?}", self.shown(path)), errno))
        };
        let mut names = BTreeMap::new();
        for (index, layer) in stack.iter().enumerate() {
            if layer.stat.dev != layer.dev {
                continue;
            }
            for entry in Dir::read_from(&layer.fd).map_err(fail)? {
                let name = entry.map_err(fail)?.file_name().to_bytes().to_vec();
                if name != b"." && name != b".." {
                    names.entry(name).or_insert(index);
                }
            }
        }
        Ok(names)
    }

    /// Writes `name`, which the first folder of `stack` has.
    fn child(&mut self, stack: &[Layer], name: &Path, path: &mut Vec<u8>) -> Result<()> {
        let Some(top) = stack.first() else { return Ok(()) };
        let stat = inode::stat(&top.fd, name).map_err(|error| self.fail(path, error))?;
        if is_whiteout(&stat) {
            return self.hidden(path);
        }
        if name.as_os_str().as_bytes().starts_with(WHITEOUT) {
            let what = "its name begins with `.wh.`, which means a deleted file in a layer";
            return Err(self.refuse(path, ErrorKind::InvalidArgument, what).hint("rename it"));
        }
        match stat.kind {
            FileType::Directory => {
                let folders = self.merged(stack, name, path)?;
                self.folder(&folders, path)
            }
            FileType::Socket => {
                self.packed.sockets += 1;
                Ok(())
            }
            _ => self.leaf(&top.fd, name, &stat, path),
        }
    }

    /// The folders `name` in `stack` that an overlay would merge: until one is opaque, or something else has the name.
    fn merged(&self, stack: &[Layer], name: &Path, path: &[u8]) -> Result<Vec<Layer>> {
        let mut folders = Vec::new();
        for layer in stack {
            if layer.stat.dev != layer.dev {
                continue;
            }
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
            let fd = match file::openat(&layer.fd, name, flags, Mode::empty()) {
                Err(error) if error.errno() == sys::Errno::ENOENT => continue,
                Err(error) if matches!(error.errno(), sys::Errno::ENOTDIR | sys::Errno::ELOOP) => break,
                other => other.map_err(|error| self.fail(path, error))?,
            };
            let stat = inode::stat(&fd, Path::new("")).map_err(|error| self.fail(path, error))?;
            let opaque = xattr::read(&fd, Path::new("")).map_err(|error| self.fail(path, error))?.opaque;
            folders.push(Layer { fd, dev: layer.dev, stat });
            if opaque {
                break;
            }
        }
        Ok(folders)
    }

    fn leaf(&mut self, dir: &OwnedFd, name: &Path, stat: &Stat, path: &[u8]) -> Result<()> {
        if stat.nlink > 1 {
            if let Some(first) = self.links.get(&(stat.dev, stat.ino)).cloned() {
                let mut member = self.member(path.to_vec(), EntryType::Link, stat);
                member.link = first;
                return self.write(&member);
            }
            self.links.insert((stat.dev, stat.ino), path.to_vec());
        }
        let found = xattr::read(dir, name).map_err(|error| self.fail(path, error))?;
        self.check_marks(path, &found)?;
        if found.whiteout && stat.size == 0 {
            return self.hidden(path);
        }
        let kind = match stat.kind {
            FileType::RegularFile => return self.regular(dir, name, path, found.kept),
            FileType::Symlink => EntryType::Symlink,
            FileType::CharacterDevice => EntryType::Char,
            FileType::BlockDevice => EntryType::Block,
            FileType::Fifo => EntryType::Fifo,
            _ => return Err(self.refuse(path, ErrorKind::Unsupported, "it is of an unknown type")),
        };
        let mut member = self.member(path.to_vec(), kind, stat);
        member.xattrs = found.kept;
        member.device = stat.rdev;
        if kind == EntryType::Symlink {
            let link = inode::read_link(dir, name).map_err(|error| self.fail(path, error))?;
            member.link = link.into_os_string().into_vec();
        }
        self.write(&member)
    }

    fn regular(
        &mut self,
        dir: &OwnedFd,
        name: &Path,
        path: &[u8],
        xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    ) -> Result<()> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let fd = file::openat(dir, name, flags, Mode::empty()).map_err(|error| self.fail(path, error))?;
        // The size that counts is that of the file that is open.
        let stat = inode::stat(&fd, Path::new("")).map_err(|error| self.fail(path, error))?;
        if stat.kind != FileType::RegularFile {
            return Err(self.changed(path));
        }
        let mut member = self.member(path.to_vec(), EntryType::Regular, &stat);
        member.size = stat.size;
        member.xattrs = xattrs;
        self.write(&member)?;
        let mut left = stat.size;
        let mut file = std::fs::File::from(fd);
        while left > 0 {
            cancel::check(self.options.op)?;
            let want = usize::try_from(left).unwrap_or(self.buf.len()).min(self.buf.len());
            let len = file
                .read(&mut self.buf[..want])
                .context(self.options.op, format!("cannot read {}", self.shown(path).display()))?;
            if len == 0 {
                return Err(self.changed(path));
            }
            self.tar.data(&self.buf[..len]).context(self.options.op, "cannot write the layer")?;
            left -= u64::try_from(len).unwrap_or(left);
        }
        self.packed.bytes += stat.size;
        self.tar.pad(stat.size).context(self.options.op, "cannot write the layer")
    }

    fn changed(&self, path: &[u8]) -> Error {
        self.refuse(path, ErrorKind::Busy, "it changed while it was being read")
            .hint("stop what writes to it first")
    }

    fn check_marks(&self, path: &[u8], found: &xattr::Found) -> Result<()> {
        let Some(mark) = &found.foreign else { return Ok(()) };
        let what = format!("overlayfs keeps a part of it elsewhere (attribute {mark})");
        Err(self
            .refuse(path, ErrorKind::Unsupported, &what)
            .hint("mount the overlay with redirect_dir=off and metacopy=off"))
    }

    /// A file that the folder has deleted from the layers below it.
    fn hidden(&mut self, path: &[u8]) -> Result<()> {
        let at = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
        self.whiteout([&path[..at], WHITEOUT, &path[at..]].concat())
    }

    fn whiteout(&mut self, path: Vec<u8>) -> Result<()> {
        if !self.marks {
            return Ok(());
        }
        self.packed.whiteouts += 1;
        self.write(&Member::new(path, EntryType::Regular))
    }

    fn member(&self, path: Vec<u8>, kind: EntryType, stat: &Stat) -> Member {
        let mut member = Member::new(path, kind);
        member.perm = stat.perm;
        member.uid = stat.uid.into();
        member.gid = stat.gid.into();
        member.mtime = self.options.clamp.map_or(stat.mtime, |clamp| clamp.min(stat.mtime));
        member
    }

    fn write(&mut self, member: &Member) -> Result<()> {
        cancel::check(self.options.op)?;
        self.packed.members += 1;
        self.tar.member(member).context(self.options.op, "cannot write the layer")
    }
}

/// Whether a file is overlayfs's mark of a deleted one.
pub(super) fn is_whiteout(stat: &Stat) -> bool {
    stat.kind == FileType::CharacterDevice && stat.rdev == (0, 0)
}

/// Whether a folder can be read, before anything is written for it.
pub(super) fn check_folder(path: &Path, op: &'static str) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    match file::openat(CWD, path, flags, Mode::empty()) {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::sys(op, "cannot open the folder of the layer", error)
            .subject(path.display())
            .path(path)),
    }
}
