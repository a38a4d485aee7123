//! Terminals: pairs of them, raw mode, window size.

use crate::sys::{Outcome, Result, call};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::pty::OpenptFlags;
use rustix::termios::{OptionalActions, Termios, Winsize};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// A new terminal: the controlling side, and the side that a program runs on.
///
/// The second is opened through the first (`TIOCGPTPEER`), not by a path, which a mount could have replaced.
///
/// # Errors
/// The failed `openat` or `ioctl`.
pub fn pair() -> Result<(OwnedFd, OwnedFd)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let controller = call(
        "openat",
        || "AT_FDCWD, \"/dev/ptmx\", O_RDWR|O_NOCTTY|O_CLOEXEC".into(),
        || rustix::pty::openpt(flags),
    )?;
    let number = controller.as_raw_fd();
    call("ioctl", || format!("{number}, TIOCSPTLCK, [0]"), || rustix::pty::unlockpt(&controller))?;
    let peer = call(
        "ioctl",
        || format!("{number}, TIOCGPTPEER, O_RDWR|O_NOCTTY|O_CLOEXEC"),
        || rustix::pty::ioctl_tiocgptpeer(&controller, flags),
    )?;
    Ok((controller, peer))
}

/// Gives the terminal `to` the window size of the terminal `from`.
///
/// # Errors
/// The failed `ioctl`; `ENOTTY` when `from` is none.
pub fn copy_size(from: impl AsFd, to: impl AsFd) -> Result<()> {
    let (from, to) = (from.as_fd(), to.as_fd());
    let size: Winsize = rustix::termios::tcgetwinsize(from).map_err(|errno| {
        super::SysError::new("ioctl", "TIOCGWINSZ".into(), super::Errno::from_raw(errno.raw_os_error()))
    })?;
    call("ioctl", || format!("{}, TIOCSWINSZ, …", to.as_raw_fd()), || rustix::termios::tcsetwinsize(to, size))
}

/// A terminal in raw mode, until dropped.
#[derive(Debug)]
pub struct Raw {
    fd: BorrowedFd<'static>,
    before: Termios,
}

impl Raw {
    /// Puts our standard input in raw mode, if it is a terminal.
    #[must_use]
    pub fn stdin() -> Option<Self> {
        let fd = rustix::stdio::stdin();
        let before = rustix::termios::tcgetattr(fd).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        rustix::termios::tcsetattr(fd, OptionalActions::Drain, &raw).ok()?;
        Some(Self { fd, before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // The terminal may be gone; then there is nothing to restore.
        let _ = rustix::termios::tcsetattr(self.fd, OptionalActions::Drain, &self.before);
    }
}

impl Outcome for SigSet {
    fn show(&self) -> String {
        "0".into()
    }
}

impl Outcome for SignalFd {
    fn show(&self) -> String {
        self.as_fd().as_raw_fd().to_string()
    }
}

/// Tells of a new size of our terminal (SIGWINCH), by a descriptor, until dropped.
#[derive(Debug)]
pub struct Resizes {
    fd: SignalFd,
    before: SigSet,
}

impl Resizes {
    /// Blocks the signal for this thread: from now on the descriptor tells of it.
    ///
    /// # Errors
    /// The failed `rt_sigprocmask` or `signalfd4`.
    pub fn watch() -> Result<Self> {
        let mut set = SigSet::empty();
        set.add(Signal::SIGWINCH);
        let before = call(
            "rt_sigprocmask",
            || "SIG_BLOCK, [WINCH]".into(),
            || set.thread_swap_mask(SigmaskHow::SIG_BLOCK),
        )?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let fd = call("signalfd4", || "-1, [WINCH], …".into(), || SignalFd::with_flags(&set, flags))?;
        Ok(Self { fd, before })
    }

    /// Whether the size has changed since the last question.
    pub fn came(&self) -> bool {
        matches!(self.fd.read_signal(), Ok(Some(_)))
    }
}

impl AsFd for Resizes {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Resizes {
    fn drop(&mut self) {
        // The mask was valid before.
        let _ = self.before.thread_set_mask();
    }
}
