//! TCP and Unix sockets that never block by themselves.

use crate::sys::{Result, call};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

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
