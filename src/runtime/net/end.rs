//! What all links that sessions make have in common, be it an end of a veth or a bridge: what is asked of one, how it
//! is found again by the address that it was born with, set up, and read back.

use crate::error::{Error, ErrorKind, Result, SysContext};
use crate::runtime::net::addr::{free_name, parse_hosts};
use crate::runtime::net::link::{not_held, refused};
use crate::runtime::net::netlink::{LO, Netlink};
use crate::runtime::net::netns::show;
use crate::runtime::net::{Cidr, LinkInfo, Mac, Netns, parse_mac, parse_name};
use crate::runtime::object::LinkKind;
use crate::sys::{self, Errno};
use std::net::IpAddr;

/// What is asked of one end of a veth, or of a bridge.
#[derive(Clone, Debug, Default)]
pub struct EndSpec {
    /// Its name. Without one: a free one; for an end of a veth in a namespace, `eth0`.
    pub name: Option<String>,
    /// The namespace it lives in; `None` is this program's.
    pub ns: Option<Netns>,
    /// Its addresses, with their prefixes.
    pub addr: Vec<String>,
    /// The size of its largest packet in bytes. Without one: the other end's, the smallest of a bridge's ports, or the
    /// kernel's 1500.
    pub mtu: Option<u32>,
    /// Its hardware address. Without one: a random one.
    pub mac: Option<String>,
}

/// A link, as read back when it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndFacts {
    /// The link.
    pub link: LinkInfo,
    /// The inode of its network namespace.
    pub netns: u64,
}

impl EndFacts {
    /// The facts: the live ones while it exists, the last known ones after.
    pub(super) fn json(&self, op: &'static str) -> serde_json::Value {
        let live = self.live(op);
        let link = live.as_ref().unwrap_or(&self.link);
        serde_json::json!({
            "name": link.name,
            "ifindex": link.index,
            "mac": link.mac.map(|mac| mac.to_string()),
            "mtu": link.mtu,
            "addr": link.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "netns": self.netns,
            "up": link.up && live.is_some(),
            "exists": live.is_some(),
        })
    }

    /// The bytes that it has received and sent so far; `None` when it is gone.
    #[must_use]
    pub fn traffic(&self, op: &'static str) -> Option<(u64, u64)> {
        let netlink = self.netlink(op).ok()??;
        self.find(&netlink).ok()??;
        netlink.traffic_at(self.link.index).ok().map(|traffic| (traffic.received, traffic.sent))
    }

    /// Live facts in one line: the name, whether it is up, the addresses.
    pub(super) fn line(&self, op: &'static str) -> String {
        match self.live(op) {
            Some(link) => format!("{} {}", text(&link), if link.up { "up" } else { "down" }),
            None => format!("{} gone", self.link.name),
        }
    }

    fn live(&self, op: &'static str) -> Option<LinkInfo> {
        let netlink = self.netlink(op).ok()??;
        read(&netlink, self.link.index).ok()
    }

    /// The link as it is now; `None` when it is gone. An index is given again in time, so its address counts too.
    pub(super) fn find(&self, netlink: &Netlink) -> sys::Result<Option<LinkInfo>> {
        match netlink.link_at(self.link.index) {
            Ok(link) => {
                Ok(Some(link).filter(|link| (&link.kind, link.mac) == (&self.link.kind, self.link.mac)))
            }
            Err(error) if error.errno() == Errno::ENODEV => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A conversation where it lives; `None` when that namespace is gone.
    pub(super) fn netlink(&self, op: &'static str) -> Result<Option<Netlink>> {
        if Netns::own(op)? == self.netns {
            return Netlink::open(op, None).map(Some);
        }
        Netns::find(self.netns).map(|ns| Netlink::open(op, Some(&ns))).transpose()
    }
}

/// The name and the addresses, without those that the kernel gives to every link.
pub(super) fn text(link: &LinkInfo) -> String {
    let automatic = |cidr: &&Cidr| matches!(cidr.addr, IpAddr::V6(addr) if addr.is_unicast_link_local());
    let addresses: Vec<String> =
        link.addresses.iter().filter(|cidr| !automatic(cidr)).map(ToString::to_string).collect();
    if addresses.is_empty() { link.name.clone() } else { format!("{} ({})", link.name, addresses.join(", ")) }
}

/// A link that is to be made, checked.
#[derive(Debug)]
pub(super) struct End {
    pub(super) name: String,
    pub(super) ns: Option<Netns>,
    /// The network that stands for this program's, where that is not the host's.
    home: Option<Netns>,
    pub(super) inode: u64,
    pub(super) hosts: Vec<Cidr>,
    pub(super) mtu: Option<u32>,
    pub(super) mac: Option<Mac>,
}

impl End {
    /// Checks a spec, whose keys have `prefix` in errors. `own` is the inode of this program's namespace; `inside` is
    /// its name in another namespace where none is given, and `random` what it is made of elsewhere.
    pub(super) fn check(
        op: &'static str,
        spec: &EndSpec,
        prefix: &str,
        own: u64,
        inside: Option<&str>,
        random: [u8; 5],
    ) -> Result<Self> {
        let ns = spec.ns.clone().filter(|ns| ns.inode != own);
        let name = match (&spec.name, inside.filter(|_| ns.is_some())) {
            (Some(name), _) => parse_name(op, &format!("{prefix}name"), name)?,
            (None, Some(usual)) => usual.into(),
            (None, None) => free_name(random),
        };
        Ok(Self {
            name,
            inode: ns.as_ref().map_or(own, |ns| ns.inode),
            ns,
            home: None,
            hosts: parse_hosts(op, &format!("{prefix}addr"), &spec.addr)?,
            mtu: spec.mtu,
            mac: spec.mac.as_deref().map(|mac| parse_mac(op, &format!("{prefix}mac"), mac)).transpose()?,
        })
    }

    /// Has it live in `home` if it would live beside this program.
    pub(super) fn stand_in(&mut self, home: Option<&Netns>) {
        if let (None, Some(home)) = (&self.ns, home) {
            self.inode = home.inode;
            self.home = Some(home.clone());
        }
    }

    /// The namespace it lives in; `None` is the one that this program is in.
    pub(super) fn place(&self) -> Option<&Netns> {
        self.ns.as_ref().or(self.home.as_ref())
    }

    /// How errors call that namespace.
    pub(super) fn place_text(&self) -> &str {
        self.ns.as_ref().map_or("this network namespace", |ns| &ns.label)
    }

    pub(super) fn text(&self) -> String {
        let hosts: String = self.hosts.iter().map(|host| format!(" {host}")).collect();
        let place = self.ns.as_ref().map_or_else(String::new, |ns| format!(" in {}", ns.label));
        format!("{}{hosts}{place}", self.name)
    }

    pub(super) fn facts(&self, link: LinkInfo) -> EndFacts {
        EndFacts { link, netns: self.inode }
    }

    /// Two links with one address and network: the kernel would route to whichever came first. A second run of a
    /// script with fixed addresses would talk to the containers of the first.
    pub(super) fn refuse_taken_addresses(&self, op: &'static str, netlink: &Netlink) -> Result<()> {
        if self.hosts.iter().all(Cidr::is_host) {
            return Ok(());
        }
        let held = netlink.addresses().context(op, "cannot list the addresses")?;
        let taken = self.hosts.iter().filter(|host| !host.is_host()).find_map(|host| {
            held.iter().find(|held| held.cidr.addr == host.addr).map(|held| (host, held.index))
        });
        let Some((host, index)) = taken else { return Ok(()) };
        let link = name_of(netlink, index);
        Err(Error::new(
            ErrorKind::AlreadyExists,
            op,
            format!("the address {} is on the link {link}", host.addr),
        )
        .subject(&self.name)
        .hint("choose addresses of another network, or close what uses this one"))
    }

    /// The link that was just made, by the hardware address that only ours bears: its name may have been changed by
    /// others.
    pub(super) fn born(
        &self,
        op: &'static str,
        netlink: &Netlink,
        kind: LinkKind,
        mac: Mac,
    ) -> Result<LinkInfo> {
        let ours = |link: &LinkInfo| link.mac == Some(mac) && link.kind == kind.name();
        let link = match netlink.link_named(&self.name) {
            Ok(link) if ours(&link) => Some(link),
            Err(source) if source.errno() != Errno::ENODEV => {
                return Err(Error::sys(op, "cannot find the new link", source).subject(&self.name));
            }
            _ => netlink.links().context(op, "cannot list the links")?.into_iter().find(ours),
        };
        link.ok_or_else(|| not_held(op, &self.name, "the new link"))
    }

    /// Gives it the hardware address that was asked for: while it is down, so that its link-local address is made of
    /// this one.
    pub(super) fn set_mac(&self, op: &'static str, netlink: &Netlink, index: u32) -> Result<()> {
        let Some(mac) = self.mac else { return Ok(()) };
        netlink.set_mac(index, mac).map_err(|source| refused(op, &self.name, &mac.to_string(), source))
    }

    /// Addresses, then up: nothing passes over a link that is half configured.
    pub(super) fn configure(&self, op: &'static str, netlink: &Netlink, index: u32) -> Result<()> {
        for host in &self.hosts {
            netlink
                .add_address(index, *host)
                .map_err(|source| refused(op, &self.name, &host.to_string(), source))?;
        }
        if self.ns.is_some() {
            netlink.set_up(LO, true).map_err(|source| refused(op, "lo", "up", source))?;
        }
        netlink.set_up(index, true).map_err(|source| refused(op, &self.name, "up", source))
    }

    pub(super) fn read_back(&self, op: &'static str, netlink: &Netlink, index: u32) -> Result<LinkInfo> {
        let link = read(netlink, index).context(op, format!("cannot read {} back", self.name))?;
        match self.missing(&link) {
            None => Ok(link),
            Some(what) => Err(not_held(op, &self.name, &what)),
        }
    }

    /// The first thing that was asked for and is not so.
    fn missing(&self, link: &LinkInfo) -> Option<String> {
        if link.name != self.name {
            return Some(format!("the name: it is {}", link.name));
        }
        if let Some(mtu) = self.mtu.filter(|mtu| *mtu != link.mtu) {
            return Some(format!("the mtu {mtu}: it is {}", link.mtu));
        }
        if let Some(mac) = self.mac.filter(|mac| Some(*mac) != link.mac) {
            return Some(format!("the hardware address {mac}"));
        }
        if let Some(host) = self.hosts.iter().find(|host| !link.addresses.contains(host)) {
            return Some(format!("the address {host}"));
        }
        if !link.up {
            return Some("the state up".into());
        }
        // A bridge has a carrier when one of its ports has one; a new one has none.
        (link.kind == LinkKind::Veth.name() && !link.running).then(|| "a carrier".into())
    }

    pub(super) fn effect(&self, link: &LinkInfo) -> String {
        let place = self.ns.as_ref().map_or_else(String::new, |ns| format!(" in {}", show(ns.inode)));
        format!("{} (index {}, mtu {}) up{place}", text(link), link.index, link.mtu)
    }
}

/// The name of the link with this index, for errors.
pub(super) fn name_of(netlink: &Netlink, index: u32) -> String {
    netlink.link_at(index).map_or_else(|_| format!("index {index}"), |link| link.name)
}

fn read(netlink: &Netlink, index: u32) -> sys::Result<LinkInfo> {
    let mut link = netlink.link_at(index)?;
    let held = netlink.addresses()?;
    link.addresses = held.into_iter().filter(|held| held.index == index).map(|held| held.cidr).collect();
    Ok(link)
}
