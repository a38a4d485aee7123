//! The ports of a bridge.
//!
//! That a link is a port goes with whichever of the two goes first: there is nothing to undo.

use crate::error::{Error, ErrorKind, Result, SysContext};
use crate::runtime::net::end::name_of;
use crate::runtime::net::link::{not_held, refused};
use crate::runtime::net::netlink::Netlink;
use crate::runtime::net::{Bridge, LinkInfo, Veth, parse_name};
use crate::runtime::object::Object;
use crate::runtime::session::{Done, Handle, Intent, Session};
use crate::sys::{Errno, SysError};
use std::rc::Rc;

/// A link that is to be a port, or is one.
#[derive(Clone, Debug)]
pub enum Device {
    /// The end of this veth that lives where the bridge does; the first where both do.
    Veth(Rc<Veth>),
    /// The link with this name where the bridge lives.
    Named(String),
}

impl std::fmt::Display for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Veth(veth) => f.write_str(&veth.name()),
            Self::Named(name) => f.write_str(name),
        }
    }
}

/// The links that are ports of the bridge now, in the order of their indexes.
///
/// # Errors
/// When its namespace is gone, or the kernel does not answer.
pub fn ports(bridge: &Bridge) -> Result<Vec<LinkInfo>> {
    const OP: &str = "Bridge.ports";
    let netlink = bridge.netlink(OP)?;
    let mut links = netlink.links().context(OP, "cannot list the links")?;
    links.retain(|link| link.master == Some(bridge.facts.link.index));
    links.sort_by_key(|link| link.index);
    Ok(links)
}

/// Makes a link a port of the bridge. A port of an isolated bridge is isolated.
///
/// # Errors
/// [`ErrorKind::Busy`] when it is a port already; [`ErrorKind::NotFound`] when no such link is where the bridge lives;
/// [`ErrorKind::InvalidArgument`] for a link that cannot be one; [`ErrorKind::LimitReached`] for the 1,024th.
pub fn attach(session: &Session, device: &Device, bridge: &Bridge) -> Result<()> {
    const OP: &str = "net::attach";
    let (name, index) = (bridge.name(), bridge.facts.link.index);
    let text = format!("make {device} a port of {name}");
    session.step(Intent { op: OP, text, claim: Object::Nothing }, |_| {
        let netlink = bridge.netlink(OP)?;
        let link = find(OP, &netlink, device, bridge)?;
        if let Some(master) = link.master {
            let other = name_of(&netlink, master);
            return Err(Error::new(ErrorKind::Busy, OP, format!("it is a port of {other} already"))
                .subject(&link.name)
                .hint("detach it from there first"));
        }
        // A link of ours is down until it is isolated, so that not one packet passes before. Others are left as they
        // are: their routes would not come back with them.
        let paused = bridge.isolated && link.up && matches!(device, Device::Veth(_));
        let set_up = |up: bool| {
            let state = if up { "up" } else { "down" };
            let set = if paused { netlink.set_up(link.index, up) } else { Ok(()) };
            set.map_err(|source| refused(OP, &link.name, state, source))
        };
        set_up(false)?;
        let joined = join(&netlink, &link, bridge).and_then(|()| set_up(true));
        let held = joined.and_then(|()| {
            let held = netlink.link_at(link.index).context(OP, "cannot read the port back")?;
            let holds = held.master == Some(index) && held.isolated == bridge.isolated && held.up == link.up;
            if holds { Ok(held) } else { Err(not_held(OP, &link.name, "the port")) }
        });
        match held {
            Ok(held) => {
                let isolated = if held.isolated { ", isolated" } else { "" };
                let effect = format!(
                    "{} (index {}) is a port of {name} (index {index}){isolated}",
                    held.name, held.index
                );
                Ok(Done { value: (), object: Object::Nothing, effect })
            }
            Err(error) => {
                let left = netlink.set_master(link.index, None).context(OP, "cannot take the port out again");
                Err(error.also([left.err(), set_up(true).err()].into_iter().flatten().collect()))
            }
        }
    })?;
    Ok(())
}

fn join(netlink: &Netlink, link: &LinkInfo, bridge: &Bridge) -> Result<()> {
    const OP: &str = "net::attach";
    let joined = netlink.set_master(link.index, Some(bridge.facts.link.index));
    joined.map_err(|source| refused_port(OP, link, bridge, source))?;
    if bridge.isolated {
        netlink.isolate(link.index).map_err(|source| refused(OP, &link.name, "isolated", source))?;
    }
    Ok(())
}

/// Takes a port from the bridge.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] when it is no port of this bridge; [`ErrorKind::NotFound`] when no such link is where
/// the bridge lives.
pub fn detach(session: &Session, device: &Device, bridge: &Bridge) -> Result<()> {
    const OP: &str = "Bridge.detach";
    let name = bridge.name();
    let text = format!("take the port {device} from {name}");
    session.step(Intent { op: OP, text, claim: Object::Nothing }, |_| {
        let netlink = bridge.netlink(OP)?;
        let link = find(OP, &netlink, device, bridge)?;
        if link.master != Some(bridge.facts.link.index) {
            let what = format!("it is no port of {name}");
            return Err(Error::new(ErrorKind::InvalidArgument, OP, what).subject(&link.name));
        }
        let taken = netlink.set_master(link.index, None);
        taken.map_err(|source| refused_port(OP, &link, bridge, source))?;
        let held = netlink.link_at(link.index).context(OP, "cannot read the link back")?;
        if held.master.is_some() {
            return Err(not_held(OP, &held.name, "the link without a bridge"));
        }
        let effect = format!("{} (index {}) is a port of none", held.name, held.index);
        Ok(Done { value: (), object: Object::Nothing, effect })
    })?;
    Ok(())
}

/// The link that is meant, where the bridge lives.
fn find(op: &'static str, netlink: &Netlink, device: &Device, bridge: &Bridge) -> Result<LinkInfo> {
    match device {
        Device::Veth(veth) => {
            let ends = [&veth.end, &veth.peer];
            let Some(end) = ends.into_iter().find(|end| end.netns == bridge.facts.netns) else {
                let what = format!("neither end is in the network namespace of {}", bridge.name());
                return Err(Error::new(ErrorKind::InvalidArgument, op, what)
                    .subject(veth.name())
                    .hint("make one end in the `ns` that the bridge was made in"));
            };
            let found =
                end.find(netlink).context(op, format!("cannot look for the link {}", end.link.name))?;
            found.ok_or_else(|| Error::new(ErrorKind::NotFound, op, "it is gone").subject(veth.name()))
        }
        Device::Named(name) => {
            parse_name(op, "the link", name)?;
            netlink.link_named(name).map_err(|source| {
                let what = format!("there is no link {name} in the network namespace of {}", bridge.name());
                Error::sys(op, what, source).subject(name)
            })
        }
    }
}

fn refused_port(op: &'static str, link: &LinkInfo, bridge: &Bridge, source: SysError) -> Error {
    let name = bridge.name();
    let errno = source.errno();
    match errno {
        Errno::EXFULL => Error::sys(op, format!("{name} is full: a bridge takes 1,023 ports"), source)
            .subject(&link.name)
            .hint("make another bridge"),
        Errno::ELOOP => Error::sys(op, "a bridge cannot be a port of a bridge", source).subject(&link.name),
        Errno::EINVAL | Errno::EOPNOTSUPP => {
            let what = format!("a link of the kind {} cannot be a port of a bridge", link.kind);
            Error::sys(op, what, source).kind_is(ErrorKind::InvalidArgument).subject(&link.name)
        }
        _ => refused(op, &link.name, &format!("the bridge {name}"), source),
    }
}
