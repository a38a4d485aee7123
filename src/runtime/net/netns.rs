//! Network namespaces as this module needs them: an fd to make sockets in, and an inode to compare.

use crate::error::{Result, SysContext};
use crate::sys::{self, nsfd};
use nix::sched::CloneFlags;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

/// A network namespace.
#[derive(Clone, Debug)]
pub struct Netns {
    /// Keeps it alive, and makes sockets in it.
    pub fd: Arc<OwnedFd>,
    /// Its identity while it lives, as `lsns` shows it.
    pub inode: u64,
    /// How users know it.
    pub label: String,
}

impl Netns {
    /// The namespace behind `fd`.
    ///
    /// # Errors
    /// When the fd cannot be examined.
    pub fn new(op: &'static str, fd: OwnedFd, label: impl Into<String>) -> Result<Self> {
        let inode = nsfd::inode(&fd).context(op, "cannot examine the network namespace")?;
        Ok(Self { fd: Arc::new(fd), inode, label: label.into() })
    }

    /// The inode of the namespace that this thread is in.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn own(op: &'static str) -> Result<u64> {
        let fd = nsfd::open(0, "net").context(op, "cannot open this thread's network namespace")?;
        nsfd::inode(fd).context(op, "cannot examine this thread's network namespace")
    }

    /// Looks for the namespace with this inode: among the fds of this program and the processes that can be seen.
    /// `None` when it is gone, or when nothing that can be seen is in it.
    #[must_use]
    pub fn find(inode: u64) -> Option<Self> {
        let wanted = format!("net:[{inode}]");
        let held = entries("/proc/self/fd");
        let lived_in = entries("/proc")
            .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().parse::<u32>().is_ok()))
            .map(|path| path.join("ns/net"));
        held.chain(lived_in)
            .filter(|path| std::fs::read_link(path).is_ok_and(|target| target == Path::new(&wanted)))
            // Between the look and the open it may have become something else.
            .filter_map(|path| open_path(&path))
            .find(|ns| ns.inode == inode)
    }
}

fn entries(dir: &str) -> impl Iterator<Item = std::path::PathBuf> {
    std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path())
}

fn open_path(path: &Path) -> Option<Netns> {
    use rustix::fs::{CWD, Mode, OFlags};
    let fd = sys::file::openat(CWD, path, OFlags::RDONLY, Mode::empty()).ok()?;
    Netns::new("net", fd, path.display().to_string()).ok()
}

/// Runs `make`, which opens a socket, in the namespace `ns`, or here without one.
pub(super) fn make_in<T: Send>(
    ns: Option<&Netns>,
    make: impl FnOnce() -> sys::Result<T> + Send,
) -> sys::Result<T> {
    match ns {
        None => make(),
        Some(ns) => nsfd::inside(ns.fd.as_fd(), CloneFlags::CLONE_NEWNET, make),
    }
}

/// How a namespace is named in texts: `net:[4026532008]`.
pub(super) fn show(inode: u64) -> String {
    format!("net:[{inode}]")
}
