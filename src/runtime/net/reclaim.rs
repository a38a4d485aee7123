//! Deleting a link that was made here, and nothing else.

use crate::error::{Result, SysContext};
use crate::runtime::net::netlink::Netlink;
use crate::runtime::net::{LinkInfo, Netns};
use crate::runtime::object::LinkKind;
use crate::sys::{self, Errno};

/// Deletes the link if it is ours: the one of this kind that bears the hardware address it was born with (`macs[0]`) or,
/// once its index is known, the one it was given later (`macs[1]`). Never by name. Gone already is fine, and so is a
/// namespace that no fd or process holds any more: its links died with it.
///
/// # Errors
/// When it is ours and cannot be deleted.
pub fn link(
    kind: LinkKind,
    name: &str,
    macs: [Option<&str>; 2],
    ifindex: Option<u32>,
    netns: u64,
) -> Result<()> {
    let op = match kind {
        LinkKind::Veth => "net::veth",
        LinkKind::Bridge => "net::bridge",
    };
    let ns = if netns == Netns::own(op)? {
        None
    } else {
        match Netns::find(netns) {
            None => return Ok(()),
            found => found,
        }
    };
    let netlink = Netlink::open(op, ns.as_ref())?;
    let what = || format!("cannot look for the link {name}");
    let found = match ifindex {
        Some(index) => gone_is_none(netlink.link_at(index)).context(op, what())?,
        None => {
            let links = netlink.links().context(op, what())?;
            links.into_iter().find(|link| is_ours(link, kind, [macs[0], None]))
        }
    };
    let Some(link) = found.filter(|link| is_ours(link, kind, macs)) else { return Ok(()) };
    // It may die meanwhile, with the namespace of its other end.
    gone_is_none(netlink.delete(link.index)).context(op, format!("cannot delete the link {}", link.name))?;
    Ok(())
}

/// A foreign bridge or a VLAN takes over the hardware address of a link below it: so the kind counts too.
fn is_ours(link: &LinkInfo, kind: LinkKind, macs: [Option<&str>; 2]) -> bool {
    let Some(mac) = link.mac else { return false };
    link.kind == kind.name() && macs.into_iter().flatten().any(|ours| ours == mac.to_string())
}

fn gone_is_none<T>(result: sys::Result<T>) -> sys::Result<Option<T>> {
    match result {
        Err(error) if error.errno() == Errno::ENODEV => Ok(None),
        other => other.map(Some),
    }
}
