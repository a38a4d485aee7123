//! Routes.

use crate::error::{Error, ErrorKind, Result, SysContext};
use crate::runtime::net::addr::parse_network;
use crate::runtime::net::link::{not_held, only_inside, refused};
use crate::runtime::net::netlink::Netlink;
use crate::runtime::net::{Cidr, Netns};
use crate::runtime::object::Object;
use crate::runtime::session::{Done, Intent, Session};
use rtnetlink::RouteMessageBuilder;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteType};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A route of the main table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where it leads; `None` is the default route.
    pub dst: Option<Cidr>,
    /// Through which neighbour.
    pub via: Option<IpAddr>,
    /// The name of the link it goes out by.
    pub dev: Option<String>,
    /// Whether it is one of IPv6.
    pub v6: bool,
}

impl std::fmt::Display for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.dst {
            None => f.write_str("default")?,
            Some(dst) => write!(f, "{dst}")?,
        }
        if let Some(via) = self.via {
            write!(f, " via {via}")?;
        }
        self.dev.as_ref().map_or(Ok(()), |dev| write!(f, " dev {dev}"))
    }
}

/// The unicast routes of the main table of a namespace, or of this program's: IPv4 first.
///
/// # Errors
/// When the namespace cannot be entered or the kernel does not answer.
pub fn routes(ns: Option<&Netns>) -> Result<Vec<Route>> {
    const OP: &str = "net::routes";
    list(OP, &Netlink::open(OP, ns)?)
}

/// The routes that a conversation sees.
pub(super) fn list(op: &'static str, netlink: &Netlink) -> Result<Vec<Route>> {
    let links = netlink.links().context(op, "cannot list the links")?;
    let name = |index: u32| links.iter().find(|link| link.index == index).map(|link| link.name.clone());
    let mut routes = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut filter = RouteMessage::default();
        filter.header.address_family = family;
        let messages = netlink.routes(&filter).context(op, "cannot list the routes")?;
        routes.extend(messages.iter().filter(|message| is_main(message)).map(|message| read(message, name)));
    }
    Ok(routes)
}

fn is_main(message: &RouteMessage) -> bool {
    message.header.table == RouteHeader::RT_TABLE_MAIN && message.header.kind == RouteType::Unicast
}

fn read(message: &RouteMessage, name: impl Fn(u32) -> Option<String>) -> Route {
    let v6 = message.header.address_family == AddressFamily::Inet6;
    let mut route = Route { dst: None, via: None, dev: None, v6 };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(dst) => {
                let prefix = message.header.destination_prefix_length;
                route.dst = ip(dst).map(|addr| Cidr { addr, prefix });
            }
            RouteAttribute::Gateway(via) => route.via = ip(via),
            RouteAttribute::Oif(index) => route.dev = name(*index),
            _ => {}
        }
    }
    route
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some(IpAddr::V4(*v4)),
        RouteAddress::Inet6(v6) => Some(IpAddr::V6(*v6)),
        _ => None,
    }
}

/// Adds a route to the namespace `ns`: `dst` is `default` or a network such as `10.0.0.0/8`, `via` a neighbour that a
/// link of the namespace reaches. It goes with the namespace.
///
/// # Errors
/// A bad `dst` or `via`; [`ErrorKind::AlreadyExists`]; [`ErrorKind::NotFound`] when no link reaches `via`;
/// [`ErrorKind::Unsupported`] on this program's own namespace.
pub fn route(session: &Session, ns: &Netns, dst: &str, via: &str) -> Result<Route> {
    const OP: &str = "net::route";
    let (wanted, message) = plan(OP, dst, via)?;
    only_inside(OP, ns)?;
    let text = format!("route {wanted} in {}", ns.label);
    let (_, route) = session.step(Intent { op: OP, text, claim: Object::Nothing }, |_| {
        let netlink = Netlink::open(OP, Some(ns))?;
        let shown = wanted.to_string();
        netlink.add_route(&shown, message).map_err(|source| match source.errno() {
            crate::sys::Errno::ENETUNREACH => {
                Error::sys(OP, format!("no link of {} reaches {via}", ns.label), source)
                    .kind_is(ErrorKind::NotFound)
                    .hint("give a link an address in the same network first, and bring it up")
            }
            _ => refused(OP, &ns.label, &format!("the route {shown}"), source),
        })?;
        let found = list(OP, &netlink)?
            .into_iter()
            .find(|route| (route.dst, route.via, route.v6) == (wanted.dst, wanted.via, wanted.v6))
            .ok_or_else(|| not_held(OP, &ns.label, &shown))?;
        Ok(Done { effect: found.to_string(), value: found, object: Object::Nothing })
    })?;
    Ok(route)
}

fn plan(op: &'static str, dst: &str, via: &str) -> Result<(Route, RouteMessage)> {
    let invalid = |what: String| Error::new(ErrorKind::InvalidArgument, op, what);
    let via: IpAddr = via.parse().map_err(|_| {
        invalid(format!("via: {via:?} is not an address"))
            .hint("write it without a prefix, such as \"10.9.0.1\"")
    })?;
    let dst = match dst {
        "default" | "0.0.0.0/0" | "::/0" => None,
        text => Some(parse_network(op, "dst", text)?),
    };
    let message = match (via, dst.map(|dst| (dst.addr, dst.prefix))) {
        (IpAddr::V4(via), None) => RouteMessageBuilder::<Ipv4Addr>::new().gateway(via).build(),
        (IpAddr::V6(via), None) => RouteMessageBuilder::<Ipv6Addr>::new().gateway(via).build(),
        (IpAddr::V4(via), Some((IpAddr::V4(addr), prefix))) => {
            RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(addr, prefix).gateway(via).build()
        }
        (IpAddr::V6(via), Some((IpAddr::V6(addr), prefix))) => {
            RouteMessageBuilder::<Ipv6Addr>::new().destination_prefix(addr, prefix).gateway(via).build()
        }
        _ => return Err(invalid(format!("{via} is not of the same family as the destination"))),
    };
    Ok((Route { dst, via: Some(via), dev: None, v6: via.is_ipv6() }, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_needs_a_network_and_a_neighbour_of_one_family() {
        let shown = |dst, via| plan("net::route", dst, via).map(|(route, _)| route.to_string());
        assert_eq!(shown("default", "10.9.0.1").unwrap(), "default via 10.9.0.1");
        assert_eq!(shown("10.0.0.0/8", "10.9.0.1").unwrap(), "10.0.0.0/8 via 10.9.0.1");
        assert_eq!(shown("fd00::/16", "fe80::1").unwrap(), "fd00::/16 via fe80::1");
        let error = shown("10.9.0.1/24", "10.9.0.1").unwrap_err();
        assert_eq!(error.hint_text(), Some("the network is \"10.9.0.0/24\""));
        for (dst, via) in
            [("default", "10.9.0.1/24"), ("fd00::/16", "10.9.0.1"), ("10.0.0.0", "10.9.0.1"), ("", "x")]
        {
            assert!(shown(dst, via).is_err(), "{dst} {via}");
        }
    }
}
