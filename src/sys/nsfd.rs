//! Namespaces: open, identify, enter, leave.

use crate::sys::{Result, SysError, call, flag_names};
use nix::sched::CloneFlags;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Opens the namespace file `name` (`net`, `pid_for_children`, …) of process `pid`; 0 means this thread.
///
/// # Errors
/// The failed `openat`.
pub fn open(pid: i32, name: &str) -> Result<OwnedFd> {
    use rustix::fs::{CWD, Mode, OFlags};
    let path =
        if pid == 0 { format!("/proc/thread-self/ns/{name}") } else { format!("/proc/{pid}/ns/{name}") };
    super::file::openat(CWD, Path::new(&path), OFlags::RDONLY, Mode::empty())
}

/// The inode that identifies a namespace: what `lsns` and `readlink /proc/PID/ns/KIND` show.
///
/// # Errors
/// The failed `statx`.
pub fn inode(ns: impl AsFd) -> Result<u64> {
    super::file::identify(ns, Path::new("")).map(|id| id.ino)
}

/// Moves this thread into the namespace `ns`, which must be of the given kind.
///
/// # Errors
/// The failed `setns`.
pub fn enter(ns: impl AsFd, kind: CloneFlags) -> Result<()> {
    let fd = ns.as_fd();
    call(
        "setns",
        || format!("{}, {}", fd.as_raw_fd(), flag_names("", kind.iter_names())),
        || nix::sched::setns(fd, kind),
    )
}

/// Moves this thread, the only one of the program, into the namespaces of the process behind `pidfd`, and back to the
/// folder that it works in: a mount namespace is entered at its root (setns(2)).
///
/// # Errors
/// The failed `setns`; `openat` or `fchdir` for a folder that cannot be found again.
pub fn enter_keeping_folder(pidfd: impl AsFd, kinds: CloneFlags) -> Result<()> {
    use rustix::fs::{CWD, Mode, OFlags};
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let folder = super::file::openat(CWD, Path::new("."), flags, Mode::empty())?;
    let path = std::env::current_dir();
    enter(pidfd, kinds)?;
    let same = |there: &OwnedFd| {
        let identify =
            |fd: &OwnedFd| super::file::identify(fd, Path::new("")).map(|id| (id.dev, id.ino)).ok();
        identify(there) == identify(&folder)
    };
    // By its path, so that it is on a mount of the new namespace; without one it is still the same folder.
    let there = path.ok().and_then(|path| super::file::openat(CWD, &path, flags, Mode::empty()).ok());
    let folder = there.filter(same).unwrap_or(folder);
    call("fchdir", || folder.as_raw_fd().to_string(), || nix::unistd::fchdir(&folder))
}

/// Gives this thread new namespaces of the given kinds.
///
/// # Errors
/// The failed `unshare`.
pub fn unshare(kinds: CloneFlags) -> Result<()> {
    call("unshare", || flag_names("", kinds.iter_names()), || nix::sched::unshare(kinds))
}

/// Runs `work` on a thread of its own inside the namespace `ns`. The thread ends with the call, so that neither an
/// error nor a panic can leave this thread in the wrong namespace.
///
/// # Errors
/// The failed `setns`, or what `work` returns.
pub fn inside<T: Send, E: Send + From<SysError>>(
    ns: impl AsFd + Send,
    kind: CloneFlags,
    work: impl FnOnce() -> std::result::Result<T, E> + Send,
) -> std::result::Result<T, E> {
    let recording = super::record::is_on();
    let (outcome, calls) = std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            if recording {
                super::record::start();
            }
            // A mount namespace can only be entered by a thread with a root and working directory of its own.
            let own_fs =
                if kind.contains(CloneFlags::CLONE_NEWNS) { unshare(CloneFlags::CLONE_FS) } else { Ok(()) };
            let outcome = own_fs.and_then(|()| enter(ns, kind)).map_err(E::from).and_then(|()| work());
            (outcome, super::record::take())
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    super::record::append(calls);
    outcome
}

/// Makes a namespace of the kind `kind`, whose file is called `name`, that nothing is in: it lives as long as the
/// descriptor.
///
/// # Errors
/// The failed `unshare` or `openat`.
pub fn fresh(kind: CloneFlags, name: &'static str) -> Result<OwnedFd> {
    let recording = super::record::is_on();
    let (made, calls) = std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            if recording {
                super::record::start();
            }
            (unshare(kind).and_then(|()| open(0, name)), super::record::take())
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    super::record::append(calls);
    made
}

/// The mount namespace that was left. It stays open for the rest of the program.
static ORIGINAL_MOUNTS: Mutex<Option<&'static OwnedFd>> = Mutex::new(None);

fn original() -> MutexGuard<'static, Option<&'static OwnedFd>> {
    ORIGINAL_MOUNTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives this thread a mount namespace of its own, and remembers the one it leaves.
///
/// # Errors
/// The failed `openat` or `unshare`.
pub fn leave_mounts() -> Result<()> {
    let left = open(0, "mnt")?;
    unshare(CloneFlags::CLONE_NEWNS)?;
    // Set once: a second call leaves a namespace of our own.
    original().get_or_insert_with(|| Box::leak(Box::new(left)));
    Ok(())
}

/// The mount namespace that the program was started in, if this thread has left it.
#[must_use]
pub fn original_mounts() -> Option<BorrowedFd<'static>> {
    original().map(AsFd::as_fd)
}

/// Has the mount namespace that this process is in stand for the one that it was started in.
pub fn mounts_are_original() {
    original().take();
}
