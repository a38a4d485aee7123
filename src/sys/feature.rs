//! What the kernel can do, asked of the kernel itself.

use crate::sys::{Errno, Result, SysError, call};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};
use std::os::fd::{AsFd, AsRawFd};

/// The version of Landlock.
///
/// # Errors
/// `ENOSYS` where the kernel is built without, `EOPNOTSUPP` where it was started without.
pub fn landlock_abi() -> Result<i64> {
    call(
        "landlock_create_ruleset",
        || "NULL, 0, LANDLOCK_CREATE_RULESET_VERSION".into(),
        super::raw::landlock_abi,
    )
}

/// The version of the interface of `/dev/kvm`: 12, for ever.
///
/// # Errors
/// The failed `ioctl`.
pub fn kvm_version(kvm: impl AsFd) -> Result<i32> {
    let fd = kvm.as_fd().as_raw_fd();
    call("ioctl", || format!("{fd}, KVM_GET_API_VERSION"), || super::raw::kvm_version(fd))
}

/// Asks nf_tables for the number of its rule set, which loads it where it is a module.
///
/// # Errors
/// The failed `socket`, `send` or `recv`; what nf_tables answers: `EPERM` without privilege over the network,
/// `EINVAL` where there is none.
pub fn nftables() -> Result<()> {
    /// `nlmsghdr` and `nfgenmsg` of linux/netlink.h: `NFT_MSG_GETGEN` of `NFNL_SUBSYS_NFTABLES`, as a request.
    const REQUEST: [u8; 20] = [20, 0, 0, 0, 16, 10, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    const NLMSG_ERROR: u8 = 2;
    let socket = call(
        "socket",
        || "AF_NETLINK, SOCK_RAW|SOCK_CLOEXEC, NETLINK_NETFILTER".into(),
        || {
            let protocol = Some(netlink::NETFILTER);
            rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)
        },
    )?;
    let fd = socket.as_raw_fd();
    call(
        "send",
        || format!("{fd}, {{NFT_MSG_GETGEN}}"),
        || rustix::net::send(&socket, &REQUEST, SendFlags::empty()),
    )?;
    let mut answer = [0; 256];
    // The answer is there when `send` returns.
    let len = call(
        "recv",
        || format!("{fd}, …, MSG_DONTWAIT"),
        || rustix::net::recv(&socket, &mut answer[..], RecvFlags::DONTWAIT).map(|(len, _)| len),
    )?;
    match &answer[..len] {
        [_, _, _, _, NLMSG_ERROR, 0, _, _, _, _, _, _, _, _, _, _, a, b, c, d, ..] => {
            let errno = Errno::from_raw(-i32::from_ne_bytes([*a, *b, *c, *d]));
            Err(SysError::new("send", format!("{fd}, {{NFT_MSG_GETGEN}}"), errno))
        }
        _ => Ok(()),
    }
}
