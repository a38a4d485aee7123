//! Removing links and addresses of this network namespace by what the kernel calls them.

use crate::runtime::net::netlink::Netlink;
use crate::runtime::net::parse_cidr;
use crate::sys::{Errno, Result, SysError};

fn open() -> Result<Netlink> {
    Netlink::open("test", None).map_err(|error| {
        error
            .syscall()
            .cloned()
            .unwrap_or_else(|| SysError::new("socket", "AF_NETLINK, …".into(), Errno::EIO))
    })
}

/// Deletes a link. One that is gone is fine.
///
/// # Errors
/// The failed `socket` or request.
pub fn delete_link(index: u32) -> Result<()> {
    gone_is_fine(open()?.delete(index))
}

/// Deletes an address, written as `10.0.0.1/24`. One that is gone is fine.
///
/// # Errors
/// The failed `socket` or request.
pub fn delete_address(index: u32, cidr: &str) -> Result<()> {
    let invalid = || SysError::new("RTM_DELADDR", cidr.to_owned(), Errno::EINVAL);
    let cidr = parse_cidr("test", "addr", cidr).map_err(|_| invalid())?;
    gone_is_fine(open()?.delete_address(index, cidr))
}

fn gone_is_fine(result: Result<()>) -> Result<()> {
    match result {
        Err(error) if matches!(error.errno(), Errno::ENODEV | Errno::EADDRNOTAVAIL) => Ok(()),
        other => other,
    }
}
