//! Looking at links, and changing those of a namespace.

use crate::error::{Error, ErrorKind, Result, SysContext};
use crate::runtime::net::netlink::Netlink;
use crate::runtime::net::{Cidr, Mac, Netns, addr as address};
use crate::runtime::object::Object;
use crate::runtime::session::{Done, Intent, Session};
use crate::sys::{Errno, SysError};

/// A link, as the kernel has it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkInfo {
    /// Its name.
    pub name: String,
    /// Its index in its namespace.
    pub index: u32,
    /// What made it: `veth`, `bridge`, …; `loopback`, or `device` for hardware.
    pub kind: String,
    /// Its hardware address, if it has one of six bytes.
    pub mac: Option<Mac>,
    /// The size of its largest packet in bytes.
    pub mtu: u32,
    /// Whether it was brought up.
    pub up: bool,
    /// Whether it has a carrier: for a veth, that both ends are up.
    pub running: bool,
    /// Its addresses.
    pub addresses: Vec<Cidr>,
    /// For a veth, the index of the other end in the other end's namespace.
    pub peer: Option<u32>,
    /// For a port of a bridge, the index of the bridge.
    pub master: Option<u32>,
    /// Whether it is a port of a bridge that is kept from the other ports that are.
    pub isolated: bool,
}

/// The links of a namespace, or of this program's, in the order of their indexes.
///
/// # Errors
/// When the namespace cannot be entered or the kernel does not answer.
pub fn links(ns: Option<&Netns>) -> Result<Vec<LinkInfo>> {
    const OP: &str = "net::links";
    let netlink = Netlink::open(OP, ns)?;
    let mut links = netlink.links().context(OP, "cannot list the links")?;
    let held = netlink.addresses().context(OP, "cannot list the addresses")?;
    for link in &mut links {
        link.addresses = held.iter().filter(|held| held.index == link.index).map(|held| held.cidr).collect();
    }
    links.sort_by_key(|link| link.index);
    Ok(links)
}

/// Gives the link `dev` of the namespace `ns` an address. It goes with the namespace.
///
/// # Errors
/// A bad address; no such link; [`ErrorKind::AlreadyExists`]; [`ErrorKind::Unsupported`] on this program's own
/// namespace, whose links are not the session's.
pub fn addr(session: &Session, ns: &Netns, dev: &str, addr: &str) -> Result<()> {
    const OP: &str = "net::addr";
    let hosts = address::parse_hosts(OP, "addr", &[addr.to_owned()])?;
    let host = hosts[0];
    change(session, OP, ns, dev, &format!("give {dev} the address {host}"), |netlink, index| {
        netlink.add_address(index, host).map_err(|source| refused(OP, dev, &host.to_string(), source))?;
        let held = netlink.addresses().context(OP, "cannot read the addresses back")?;
        let there = held.iter().any(|held| held.index == index && held.cidr == host);
        verified(OP, dev, there, || format!("{dev} has {host}"))
    })
}

/// Brings the link `dev` of the namespace `ns` up.
///
/// # Errors
/// No such link; [`ErrorKind::Unsupported`] on this program's own namespace, whose links are not the session's.
pub fn up(session: &Session, ns: &Netns, dev: &str) -> Result<()> {
    set_up(session, "net::up", ns, dev, true)
}

/// Brings the link `dev` of the namespace `ns` down.
///
/// # Errors
/// No such link; [`ErrorKind::Unsupported`] on this program's own namespace, whose links are not the session's.
pub fn down(session: &Session, ns: &Netns, dev: &str) -> Result<()> {
    set_up(session, "net::down", ns, dev, false)
}

fn set_up(session: &Session, op: &'static str, ns: &Netns, dev: &str, up: bool) -> Result<()> {
    let state = if up { "up" } else { "down" };
    change(session, op, ns, dev, &format!("bring {dev} {state}"), |netlink, index| {
        netlink.set_up(index, up).map_err(|source| refused(op, dev, state, source))?;
        let link = netlink.link_at(index).context(op, "cannot read the link back")?;
        verified(op, dev, link.up == up, || format!("{dev} is {state}"))
    })
}

/// A step on a link of a namespace that is not this program's own: there is nothing to undo, as what it changes dies
/// with the namespace.
fn change(
    session: &Session,
    op: &'static str,
    ns: &Netns,
    dev: &str,
    text: &str,
    act: impl FnOnce(&Netlink, u32) -> Result<String>,
) -> Result<()> {
    only_inside(op, ns)?;
    let text = format!("{text} in {}", ns.label);
    session.step(Intent { op, text, claim: Object::Nothing }, |_| {
        let netlink = Netlink::open(op, Some(ns))?;
        let index = index_of(op, &netlink, dev, &ns.label)?;
        let effect = act(&netlink, index)?;
        Ok(Done { value: (), object: Object::Nothing, effect })
    })?;
    Ok(())
}

/// Refuses this program's own namespace: what is changed there outlives the session and is not the session's.
pub(super) fn only_inside(op: &'static str, ns: &Netns) -> Result<()> {
    if ns.inode != Netns::own(op)? {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Unsupported, op, "links of the host's own namespace cannot be changed")
        .subject(&ns.label)
        .hint("give the addresses to net::veth, which takes them back with the link"))
}

/// The index of the link with this name.
pub(super) fn index_of(op: &'static str, netlink: &Netlink, dev: &str, place: &str) -> Result<u32> {
    address::parse_name(op, "the link", dev)?;
    match netlink.link_named(dev) {
        Ok(link) => Ok(link.index),
        Err(source) => Err(Error::sys(op, format!("there is no link {dev} in {place}"), source).subject(dev)),
    }
}

/// The error for a request that the kernel refused, in words where its errno means something else than usual.
pub(super) fn refused(op: &'static str, dev: &str, what: &str, source: SysError) -> Error {
    let errno = source.errno();
    let text = match errno {
        Errno::EEXIST => format!("{dev} has {what} already"),
        _ => format!("cannot set {what}"),
    };
    let error = Error::sys(op, text, source).subject(dev);
    match errno {
        Errno::EPERM => error.hint(PRIVILEGE),
        Errno::EACCES | Errno::EOPNOTSUPP if what.contains("::") => {
            error.kind_is(ErrorKind::Unsupported).hint("IPv6 is switched off in this kernel or namespace")
        }
        _ => error,
    }
}

/// What mends a missing privilege.
pub(super) const PRIVILEGE: &str =
    "it takes CAP_NET_ADMIN in the network namespace: run as root, or in a user namespace of your own";

fn verified(op: &'static str, dev: &str, holds: bool, effect: impl FnOnce() -> String) -> Result<String> {
    if holds { Ok(effect()) } else { Err(not_held(op, dev, "what was set")) }
}

/// The error for what the kernel accepted and does not hold.
pub(super) fn not_held(op: &'static str, dev: &str, what: &str) -> Error {
    Error::new(ErrorKind::Unsupported, op, format!("the kernel does not hold {what}"))
        .subject(dev)
        .hint("another program on this machine may be changing links at the same time")
}
