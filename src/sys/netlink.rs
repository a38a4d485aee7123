//! Messages of netlink as bytes (netlink(7)), for questions that are asked often: no runtime, no thread.

use crate::sys::{Errno, Result, call};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};
use std::os::fd::{AsRawFd, OwnedFd};

/// `NLM_F_REQUEST`.
pub(super) const REQUEST: u16 = 1;
/// `NLM_F_ACK`.
pub(super) const ACK: u16 = 4;
/// `NLM_F_DUMP`.
const DUMP: u16 = 0x300;
const HEADER: usize = 16;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;

/// A conversation with the kernel about this network namespace.
pub(super) fn open(protocol: SockProtocol) -> Result<OwnedFd> {
    call(
        "socket",
        || format!("AF_NETLINK, SOCK_RAW|SOCK_CLOEXEC, {protocol:?}"),
        || socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol),
    )
}

/// A message with its header.
pub(super) fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(HEADER + body.len()).unwrap_or(u32::MAX);
    let mut bytes = Vec::with_capacity(HEADER + body.len().next_multiple_of(4));
    bytes.extend(len.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend(body);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// Asks for all there is of one kind, and hands on the body of each answer.
///
/// # Errors
/// The failed `sendto` or `recvfrom`. What the kernel refuses to list is not there.
pub(super) fn dump(
    fd: &OwnedFd,
    kind: u16,
    body: &[u8],
    show: impl Fn() -> String,
    mut each: impl FnMut(&[u8]),
) -> Result<()> {
    let request = message(kind, REQUEST | DUMP, body);
    call("sendto", &show, || send(fd.as_raw_fd(), &request, MsgFlags::empty()))?;
    let mut buffer = vec![0; 65536];
    loop {
        let len = call("recvfrom", &show, || recv(fd.as_raw_fd(), &mut buffer, MsgFlags::empty()))?;
        let mut rest = &buffer[..len];
        while let Some((kind, body, next)) = split(rest) {
            match kind {
                NLMSG_ERROR | NLMSG_DONE => return Ok(()),
                _ => each(body),
            }
            rest = next;
        }
        if len == 0 {
            return Ok(());
        }
    }
}

/// Sends messages of which one is to be answered, and waits for that.
///
/// # Errors
/// The failed `sendto` or `recvfrom`; what the kernel answers.
pub(super) fn ask(fd: &OwnedFd, messages: &[u8], show: impl Fn() -> String) -> Result<()> {
    call("sendto", &show, || send(fd.as_raw_fd(), messages, MsgFlags::empty()))?;
    let mut buffer = [0; 8192];
    call("recvfrom", &show, || {
        let len = recv(fd.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        error_in(&buffer[..len]).map_or(Ok(()), Err)
    })
}

/// The type of the first message, its body, and what follows it.
fn split(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let len = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let body = bytes.get(HEADER..len)?;
    Some((kind, body, bytes.get(len.next_multiple_of(4)..).unwrap_or_default()))
}

fn error_in(bytes: &[u8]) -> Option<Errno> {
    let (kind, body, _) = split(bytes)?;
    let code = i32::from_ne_bytes(body.get(..4)?.try_into().ok()?);
    (kind == NLMSG_ERROR && code != 0).then(|| Errno::from_raw(-code))
}

/// The attributes that follow one another in a body, by number.
pub(super) fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let len = u16::from_ne_bytes(rest.get(..2)?.try_into().ok()?);
        // Without the flags for what is nested and for the order of bytes.
        let number = u16::from_ne_bytes(rest.get(2..4)?.try_into().ok()?) & 0x3fff;
        let value = rest.get(4..usize::from(len))?;
        rest = rest.get(usize::from(len).next_multiple_of(4)..).unwrap_or_default();
        Some((number, value))
    })
}

/// An attribute.
pub(super) fn attribute(number: u16, value: &[u8]) -> Vec<u8> {
    let len = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    let mut bytes = [len.to_ne_bytes(), number.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}
