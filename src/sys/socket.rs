//! TCP and Unix sockets that never block by themselves, and waiting for them.

use crate::sys::{Errno, Outcome, Result, call};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

/// What ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// The socket can be read or written, or has failed.
    Ready,
    /// The time is over.
    Timeout,
    /// A signal came, or the wake fd became readable.
    Signal,
}

impl Outcome for Woken {
    fn show(&self) -> String {
        format!("{self:?}")
    }
}

/// Opens a TCP socket for the family of `peer`, in the network namespace of this thread.
///
/// # Errors
/// The failed `socket`.
pub fn tcp(peer: SocketAddr) -> Result<OwnedFd> {
    let (family, name) = match peer {
        SocketAddr::V4(_) => (AddressFamily::INET, "AF_INET"),
        SocketAddr::V6(_) => (AddressFamily::INET6, "AF_INET6"),
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    call(
        "socket",
        || format!("{name}, SOCK_STREAM|SOCK_CLOEXEC|SOCK_NONBLOCK, 0"),
        || rustix::net::socket_with(family, SocketType::STREAM, flags, None),
    )
}

/// Opens a Unix stream socket that is connected to the one at `path`.
///
/// # Errors
/// The failed `socket` or `connect`.
pub fn unix(path: &Path) -> Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = call(
        "socket",
        || "AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC|SOCK_NONBLOCK, 0".into(),
        || rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None),
    )?;
    call(
        "connect",
        || format!("{}, {path:?}", fd.as_raw_fd()),
        || rustix::net::connect(&fd, &rustix::net::SocketAddrUnix::new(path)?),
    )?;
    Ok(fd)
}

/// Starts to connect. `false` means that the outcome is to be waited for and asked for with [`outcome`].
///
/// # Errors
/// The failed `connect`, other than `EINPROGRESS`.
pub fn connect(fd: impl AsFd, peer: SocketAddr) -> Result<bool> {
    let fd = fd.as_fd();
    call(
        "connect",
        || format!("{}, {peer}", fd.as_raw_fd()),
        || match rustix::net::connect(fd, &peer) {
            Err(rustix::io::Errno::INPROGRESS) => Ok(false),
            other => other.map(|()| true),
        },
    )
}

/// How a connect that was waited for came out.
///
/// # Errors
/// The failure of the connect.
pub fn outcome(fd: impl AsFd, peer: SocketAddr) -> Result<()> {
    let fd = fd.as_fd();
    call(
        "connect",
        || format!("{}, {peer}", fd.as_raw_fd()),
        || rustix::net::sockopt::socket_error(fd).and_then(|outcome| outcome),
    )
}

/// Sends what the socket takes now, without SIGPIPE.
///
/// # Errors
/// The failed `send`; `EAGAIN` when it takes nothing.
pub fn send(fd: impl AsFd, data: &[u8]) -> Result<usize> {
    let fd = fd.as_fd();
    call(
        "send",
        || format!("{}, …, {}, MSG_NOSIGNAL", fd.as_raw_fd(), data.len()),
        || rustix::net::send(fd, data, SendFlags::NOSIGNAL),
    )
}

/// Receives what is there; 0 is the end.
///
/// # Errors
/// The failed `recv`; `EAGAIN` when there is nothing yet.
pub fn recv(fd: impl AsFd, buf: &mut [u8]) -> Result<usize> {
    let fd = fd.as_fd();
    let len = buf.len();
    call(
        "recv",
        || format!("{}, …, {len}, 0", fd.as_raw_fd()),
        || rustix::net::recv(fd, buf, RecvFlags::empty()).map(|(got, _)| got),
    )
}

/// Waits until `fd` can be read (or written), `wake` can be read, or `timeout` is over. Without `fd`, a sleep.
///
/// # Errors
/// The failed `ppoll`.
pub fn wait(
    fd: Option<(BorrowedFd<'_>, bool)>,
    wake: Option<BorrowedFd<'_>>,
    timeout: Duration,
) -> Result<Woken> {
    let mut set = Vec::with_capacity(2);
    if let Some(wake) = wake {
        set.push(PollFd::from_borrowed_fd(wake, PollFlags::IN));
    }
    if let Some((fd, write)) = fd {
        set.push(PollFd::from_borrowed_fd(fd, if write { PollFlags::OUT } else { PollFlags::IN }));
    }
    let timespec = Timespec::try_from(timeout).unwrap_or(Timespec { tv_sec: 3600, tv_nsec: 0 });
    call(
        "ppoll",
        || format!("[{} fds], {timeout:?}", usize::from(fd.is_some()) + usize::from(wake.is_some())),
        || match rustix::event::poll(&mut set, Some(&timespec)) {
            Ok(0) => Ok(Woken::Timeout),
            Ok(_) if wake.is_some() && !set[0].revents().is_empty() => Ok(Woken::Signal),
            Ok(_) => Ok(Woken::Ready),
            Err(rustix::io::Errno::INTR) => Ok(Woken::Signal),
            Err(errno) => Err(Errno::from_raw(errno.raw_os_error())),
        },
    )
}
