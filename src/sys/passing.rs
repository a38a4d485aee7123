//! Handing a descriptor from one process to another over a pair of sockets (unix(7)).

use super::{Errno, Result, call};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType,
};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// Makes two sockets that are connected to each other.
///
/// # Errors
/// The failed `socketpair`.
pub fn pair() -> Result<(OwnedFd, OwnedFd)> {
    call(
        "socketpair",
        || "AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC, 0".into(),
        || rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None),
    )
}

/// Takes the descriptor that was sent to a socket.
///
/// # Errors
/// The failed `recvmsg`; `EAGAIN` when none was sent.
pub fn take(socket: impl AsFd) -> Result<OwnedFd> {
    let socket = socket.as_fd();
    call(
        "recvmsg",
        || format!("{}, SCM_RIGHTS, MSG_DONTWAIT|MSG_CMSG_CLOEXEC", socket.as_raw_fd()),
        || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut byte = [0];
            let mut parts = [std::io::IoSliceMut::new(&mut byte)];
            let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
            rustix::net::recvmsg(socket, &mut parts, &mut control, flags)
                .map_err(|errno| Errno::from_raw(errno.raw_os_error()))?;
            let mut messages = control.drain();
            let found = messages.find_map(|message| match message {
                RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
                _ => None,
            });
            found.ok_or(Errno::ENOMSG)
        },
    )
}
