//! The network of a bridge: given, or chosen among those that nothing uses.

use crate::error::{Error, ErrorKind, Result, SysContext};
use crate::runtime::net::addr::{parse_hosts, parse_network};
use crate::runtime::net::end::name_of;
use crate::runtime::net::link::refused;
use crate::runtime::net::netlink::Netlink;
use crate::runtime::net::{Cidr, route};
use crate::sys;
use std::net::{IpAddr, Ipv4Addr};

/// Where free networks of 256 addresses are looked for: private ranges, without the beginning of 10.0.0.0/8, which
/// clouds, virtual machines and slirp4netns use.
const RANGES: [(Ipv4Addr, u8); 3] = [
    (Ipv4Addr::new(10, 64, 0, 0), 10),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
];

/// The prefix of a network that is chosen.
const PREFIX: u8 = 24;

/// How often another network is chosen when the same one was chosen by another program at the same moment.
const TRIES: u32 = 64;

/// What is asked for, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subnet {
    /// One that is free.
    Auto,
    /// This one; the address in it is the bridge's.
    Given(Cidr),
}

/// Checks what is asked for: `subnet` is a network or `auto`, `gateway` the address in it that the bridge has.
pub(super) fn parse(op: &'static str, subnet: Option<&str>, gateway: Option<&str>) -> Result<Option<Subnet>> {
    let invalid = |what: String| Error::new(ErrorKind::InvalidArgument, op, what);
    let net = match (subnet, gateway) {
        (None, None) => return Ok(None),
        (Some("auto"), None) => return Ok(Some(Subnet::Auto)),
        (Some("auto") | None, Some(gateway)) => {
            return Err(invalid(format!("gateway: {gateway} is an address in a subnet that must be given"))
                .hint("give subnet as well, or addr instead"));
        }
        (Some(subnet), _) => parse_network(op, "subnet", subnet)?,
    };
    let Some(first) = net.host(1).filter(|_| net.host(2).is_some()) else {
        return Err(invalid(format!("subnet: {net} has no room for a bridge and a host")));
    };
    let gateway = match gateway {
        None => first,
        Some(text) => {
            let addr: IpAddr = text.parse().map_err(|_| {
                invalid(format!("gateway: {text:?} is not an address"))
                    .hint(format!("write it without a prefix, such as \"{}\"", first.addr))
            })?;
            let gateway = Cidr { addr, prefix: net.prefix.min(Cidr::max_prefix(addr)) };
            if !gateway.overlaps(&net) || !gateway.is_of_a_host() {
                return Err(invalid(format!("gateway: {addr} is not the address of a host in {net}")));
            }
            gateway
        }
    };
    parse_hosts(op, "subnet", &[gateway.to_string()])?;
    Ok(Some(Subnet::Given(gateway)))
}

/// Gives the link its address in the network, and returns it.
///
/// The kernel takes the same network twice. So it is looked at before, to know what is there, and after: two programs at
/// once both see the other's address then, and who sees one gives way.
pub(super) fn settle(
    op: &'static str,
    subnet: Subnet,
    netlink: &Netlink,
    link: (&str, u32),
    beyond: &[Cidr],
) -> Result<Cidr> {
    let (name, index) = link;
    let set = |gateway: Cidr| {
        let set = netlink.add_address(index, gateway);
        set.map_err(|source| refused(op, name, &gateway.to_string(), source))
    };
    if let Subnet::Given(gateway) = subnet {
        refuse_overlap(op, netlink, link, gateway)?;
        set(gateway)?;
        refuse_overlap(op, netlink, link, gateway)?;
        return Ok(gateway);
    }
    for _ in 0..TRIES {
        let mut used: Vec<Cidr> = in_use(op, netlink, index)?.into_iter().map(|(cidr, _)| cidr).collect();
        used.extend(beyond);
        let random = u32::from_ne_bytes(sys::file::random().context(op, "cannot read random bytes")?);
        let Some(gateway) = choose(&used, random) else {
            return Err(Error::new(ErrorKind::LimitReached, op, "all private networks are in use")
                .subject(name)
                .hint("give a subnet"));
        };
        set(gateway)?;
        if in_use(op, netlink, index)?.iter().all(|(cidr, _)| !cidr.overlaps(&gateway)) {
            return Ok(gateway);
        }
        netlink.delete_address(index, gateway).context(op, format!("cannot give {gateway} up again"))?;
    }
    Err(Error::new(ErrorKind::Busy, op, "each free network was taken by another program at the same moment")
        .subject(name)
        .hint("try again, or give a subnet"))
}

/// The networks that addresses of this program's namespace are in, and that routes lead to.
pub(super) fn used_here(op: &'static str, netlink: &Netlink) -> Result<Vec<Cidr>> {
    let here = netlink.beside(op, None)?;
    Ok(in_use(op, &here, 0)?.into_iter().map(|(cidr, _)| cidr).collect())
}

fn refuse_overlap(op: &'static str, netlink: &Netlink, link: (&str, u32), gateway: Cidr) -> Result<()> {
    let (name, index) = link;
    let used = in_use(op, netlink, index)?;
    let Some((_, use_)) = used.into_iter().find(|(cidr, _)| cidr.overlaps(&gateway)) else { return Ok(()) };
    let by = match use_ {
        Use::Address(cidr, index) => format!("the address {cidr} of the link {}", name_of(netlink, index)),
        Use::Route(route) => format!("the route {route}"),
    };
    let what = format!("the subnet {} overlaps {by}", gateway.network());
    let hint = "choose another subnet, or \"auto\" to have a free one chosen";
    Err(Error::new(ErrorKind::AlreadyExists, op, what).subject(name).hint(hint))
}

/// What a network is used by.
#[derive(Debug)]
enum Use {
    Address(Cidr, u32),
    Route(String),
}

/// The networks that addresses of other links than `index` are in, and that routes lead to.
fn in_use(op: &'static str, netlink: &Netlink, index: u32) -> Result<Vec<(Cidr, Use)>> {
    let held = netlink.addresses().context(op, "cannot list the addresses")?;
    let others = held.into_iter().filter(|held| held.index != index);
    let addresses = others.map(|held| (held.cidr, Use::Address(held.cidr, held.index)));
    let routes = route::list(op, netlink)?.into_iter();
    let routes = routes.filter_map(|route| Some((route.dst?, Use::Route(route.to_string()))));
    Ok(addresses.chain(routes).collect())
}

/// The address of the bridge in a network that overlaps none of `used`: any of the free ones, so that two programs at
/// once hardly ever choose the same, and not again when they did.
fn choose(used: &[Cidr], random: u32) -> Option<Cidr> {
    let free = |net: &Cidr| used.iter().all(|used| !used.overlaps(net));
    let net = RANGES.iter().find_map(|(first, prefix)| {
        let count = 1_u32 << (PREFIX - prefix);
        let nth = |n: u32| {
            let addr = Ipv4Addr::from(u32::from(*first) | n << (32 - PREFIX));
            Cidr { addr: addr.into(), prefix: PREFIX }
        };
        Some(nth(random % count)).filter(free).or_else(|| {
            let left: Vec<Cidr> = (0..count).map(nth).filter(free).collect();
            left.iter().cycle().nth(random as usize % left.len().max(1)).copied()
        })
    });
    net?.host(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::net::parse_cidr;

    const OP: &str = "net::bridge";

    fn given(subnet: &str, gateway: Option<&str>) -> String {
        match parse(OP, Some(subnet), gateway) {
            Ok(Some(Subnet::Given(gateway))) => gateway.to_string(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn the_bridge_has_the_first_address_or_the_one_given() {
        assert_eq!(given("10.88.0.0/24", None), "10.88.0.1/24");
        assert_eq!(given("fd88::/64", None), "fd88::1/64");
        assert_eq!(given("10.88.0.0/24", Some("10.88.0.254")), "10.88.0.254/24");
        assert_eq!(parse(OP, Some("auto"), None).unwrap(), Some(Subnet::Auto));
        assert_eq!(parse(OP, None, None).unwrap(), None);
        for (subnet, gateway, text) in [
            ("10.88.0.1/24", None, "has bits set after its prefix"),
            ("10.88.0.0", None, "has no prefix length"),
            ("10.88.0.0/31", None, "no room for a bridge and a host"),
            ("224.0.0.0/24", None, "not the address of a host"),
            ("10.88.0.0/24", Some("10.88.0.1/24"), "is not an address"),
            ("10.88.0.0/24", Some("10.88.1.1"), "10.88.1.1 is not the address of a host in 10.88.0.0/24"),
            ("10.88.0.0/24", Some("10.88.0.0"), "is not the address of a host in"),
            ("10.88.0.0/24", Some("10.88.0.255"), "is not the address of a host in"),
            ("10.88.0.0/24", Some("fd88::1"), "is not the address of a host in"),
            ("auto", Some("10.88.0.1"), "in a subnet that must be given"),
        ] {
            let error = parse(OP, Some(subnet), gateway).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            assert!(error.to_string().contains(text), "{error}");
        }
        assert!(parse(OP, None, Some("10.88.0.1")).is_err());
    }

    #[test]
    fn a_network_that_is_chosen_is_free() {
        let chosen = |used: &[&str], random| {
            let used: Vec<Cidr> = used.iter().map(|text| parse_cidr(OP, "used", text).unwrap()).collect();
            choose(&used, random).map(|cidr| cidr.to_string())
        };
        assert_eq!(chosen(&[], 0).unwrap(), "10.64.0.1/24");
        assert_eq!(chosen(&[], u32::MAX).unwrap(), "10.127.255.1/24");
        // What is taken is left out.
        assert_eq!(chosen(&["10.64.0.77/32", "10.64.1.0/25"], 0).unwrap(), "10.64.2.1/24");
        assert_eq!(chosen(&["10.64.0.77/32", "10.64.1.0/25"], 1).unwrap(), "10.64.3.1/24");
        assert_eq!(chosen(&["10.127.255.0/24"], 16383).unwrap(), "10.64.0.1/24");
        assert_eq!(chosen(&["10.0.0.0/8"], 1).unwrap(), "172.16.1.1/24");
        assert_eq!(chosen(&["10.0.0.0/8", "172.16.0.0/12"], 2).unwrap(), "192.168.2.1/24");
        assert_eq!(chosen(&["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"], 2), None);
    }
}
