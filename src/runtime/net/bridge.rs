//! A bridge: a switch in the kernel, whose ports are links of its own namespace.
//!
//! It bears an unguessable hardware address from birth, by which the ledger knows it, as it does a veth. That address is
//! its own for good: the kernel gives one without the smallest of its ports'.

use crate::error::{Error, ErrorKind, Result, SysContext};
use crate::runtime::net::addr::check_mtu;
use crate::runtime::net::end::{End, EndFacts, EndSpec};
use crate::runtime::net::link::{PRIVILEGE, not_held, refused};
use crate::runtime::net::netlink::Netlink;
use crate::runtime::net::subnet::{self, Subnet};
use crate::runtime::net::{Cidr, Mac, Netns, home};
use crate::runtime::object::{LinkKind, Object};
use crate::runtime::session::{Done, Handle, HandleId, Intent, Progress, Session};
use crate::sys::{self, Errno, SysError};
use std::rc::Rc;

const OP: &str = "net::bridge";

/// What is asked of a bridge.
#[derive(Clone, Debug, Default)]
pub struct BridgeSpec {
    /// The bridge as a link.
    pub link: EndSpec,
    /// The network that it leads: one such as `10.88.0.0/24`, or `auto` for one that is free.
    pub subnet: Option<String>,
    /// Its address in this network. Without one: the first.
    pub gateway: Option<String>,
    /// Whether its ports reach it, and each other not.
    pub isolated: bool,
}

/// A bridge that a session made. See [`bridge`].
#[derive(Clone, Debug)]
pub struct Bridge {
    /// The link, as read back when it was made.
    pub facts: EndFacts,
    /// Its address in the network that it leads.
    pub gateway: Option<Cidr>,
    /// Whether its ports reach it, and each other not.
    pub isolated: bool,
}

impl Handle for Bridge {
    fn kind(&self) -> &'static str {
        "Bridge"
    }

    fn name(&self) -> String {
        self.facts.link.name.clone()
    }

    fn line(&self) -> String {
        let isolated = if self.isolated { ", ports isolated" } else { "" };
        let ports = match super::ports(self).map_or(0, |ports| ports.len()) {
            1 => "1 port".to_owned(),
            count => format!("{count} ports"),
        };
        format!("Bridge {}, {ports}{isolated}", self.facts.line(OP))
    }

    fn inspect(&self) -> serde_json::Value {
        let mut value = self.facts.json(OP);
        value["subnet"] = self.subnet().map(|subnet| subnet.to_string()).into();
        value["gateway"] = self.gateway.map(|gateway| gateway.addr.to_string()).into();
        value["isolated"] = self.isolated.into();
        let ports = super::ports(self).unwrap_or_default();
        value["ports"] = ports.into_iter().map(|port| port.name).collect();
        value
    }
}

impl Bridge {
    /// The network that it leads.
    #[must_use]
    pub fn subnet(&self) -> Option<Cidr> {
        self.gateway.map(|gateway| gateway.network())
    }

    /// The address with its prefix of the host with this number in the network that it leads.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] when it leads none, or none with such a host, or this is its own.
    pub fn host(&self, n: u32) -> Result<Cidr> {
        let op = "Bridge.host";
        let invalid = |what: String| Error::new(ErrorKind::InvalidArgument, op, what).subject(self.name());
        let Some(gateway) = self.gateway else {
            return Err(invalid("it leads no network".into()).hint("make it with `subnet: \"auto\"`"));
        };
        match gateway.host(n) {
            None => Err(invalid(format!("{} has no host {n}", gateway.network()))),
            Some(host) if host == gateway => Err(invalid(format!("host {n} is the bridge itself"))),
            Some(host) => Ok(host),
        }
    }

    /// A conversation where it lives, which it still does.
    pub(super) fn netlink(&self, op: &'static str) -> Result<Netlink> {
        let gone = |what: &str| Error::new(ErrorKind::NotFound, op, what).subject(self.name());
        let netlink = self.facts.netlink(op)?;
        let netlink = netlink.ok_or_else(|| gone("the network namespace that it lived in is gone"))?;
        match self.facts.find(&netlink) {
            Ok(Some(_)) => Ok(netlink),
            Ok(None) => Err(gone("it is gone")),
            Err(source) => Err(Error::sys(op, "cannot look for the bridge", source).subject(self.name())),
        }
    }

    /// Brings it up: packets pass between its ports.
    ///
    /// # Errors
    /// When it is gone, or the kernel refuses.
    pub fn up(&self, session: &Session) -> Result<()> {
        self.set_up(session, "Bridge.up", true)
    }

    /// Brings it down: nothing passes.
    ///
    /// # Errors
    /// When it is gone, or the kernel refuses.
    pub fn down(&self, session: &Session) -> Result<()> {
        self.set_up(session, "Bridge.down", false)
    }

    /// There is nothing to undo: what it changes dies with the bridge.
    fn set_up(&self, session: &Session, op: &'static str, up: bool) -> Result<()> {
        let (name, index) = (self.name(), self.facts.link.index);
        let state = if up { "up" } else { "down" };
        let intent = Intent { op, text: format!("bring {name} {state}"), claim: Object::Nothing };
        session.step(intent, |_| {
            let netlink = self.netlink(op)?;
            netlink.set_up(index, up).map_err(|source| refused(op, &name, state, source))?;
            let link = netlink.link_at(index).context(op, "cannot read the bridge back")?;
            if link.up != up {
                return Err(not_held(op, &name, &format!("the state {state}")));
            }
            Ok(Done { value: (), object: Object::Nothing, effect: format!("{name} is {state}") })
        })?;
        Ok(())
    }
}

/// A bridge that is to be made, checked.
#[derive(Debug)]
struct Plan {
    link: End,
    born: Mac,
    subnet: Option<Subnet>,
    isolated: bool,
}

/// Makes a bridge with its addresses, and up. Without a namespace it lives beside this program.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] for a bad name, address, network, size or hardware address, before anything is changed;
/// [`ErrorKind::AlreadyExists`] when a name or an address is taken, or the network is in use;
/// [`ErrorKind::PermissionDenied`] without `CAP_NET_ADMIN`; [`ErrorKind::Unsupported`] where the kernel has no bridges, or
/// does not hold what it was told.
#[expect(clippy::needless_pass_by_value, reason = "a spec is consumed by the call that it describes")]
pub fn bridge(session: &Session, spec: BridgeSpec) -> Result<(HandleId, Rc<Bridge>)> {
    let random = sys::file::random().context(OP, "cannot read random bytes")?;
    let mut plan = plan(&spec, Netns::own(OP)?, random)?;
    if plan.link.ns.is_none() {
        plan.link.stand_in(home::make(session, OP)?.as_ref());
    }
    let intent = Intent { op: OP, text: plan.text(), claim: plan.object(None) };
    let (n, bridge) = session.step(intent, |progress| make(&plan, progress))?;
    Ok(session.adopt(bridge, vec![n]))
}

/// Checks a spec. `own` is the inode of this program's namespace; `random` is what name and address are made of.
fn plan(spec: &BridgeSpec, own: u64, random: [u8; 11]) -> Result<Plan> {
    let [born @ .., _, _, _, _, _] = random;
    let [_, _, _, _, _, _, name @ ..] = random;
    let link = End::check(OP, &spec.link, "", own, None, name)?;
    let subnet = subnet::parse(OP, spec.subnet.as_deref(), spec.gateway.as_deref())?;
    let mut hosts = link.hosts.clone();
    if let Some(Subnet::Given(gateway)) = subnet {
        if let Some(within) = hosts.iter().find(|host| host.overlaps(&gateway)) {
            let what = format!("addr: {within} is in the subnet {}", gateway.network());
            let hint = "give the bridge one address in its subnet: the gateway";
            return Err(Error::new(ErrorKind::InvalidArgument, OP, what).hint(hint));
        }
        hosts.push(gateway);
    }
    check_mtu(OP, "mtu", link.mtu, &hosts)?;
    Ok(Plan { link, born: Mac::local(born), subnet, isolated: spec.isolated })
}

impl Plan {
    fn text(&self) -> String {
        let subnet = match self.subnet {
            None => String::new(),
            Some(Subnet::Auto) => " on a free network".into(),
            Some(Subnet::Given(gateway)) => format!(" on {}", gateway.network()),
        };
        let isolated = if self.isolated { ", its ports isolated" } else { "" };
        format!("make the bridge {}{subnet}{isolated}", self.link.text())
    }

    fn object(&self, ifindex: Option<u32>) -> Object {
        Object::Link {
            kind: LinkKind::Bridge,
            name: self.link.name.clone(),
            mac: self.born.to_string(),
            later_mac: self.link.mac.map(|mac| mac.to_string()),
            ifindex,
            netns: self.link.inode,
        }
    }
}

fn make(plan: &Plan, progress: &Progress<'_>) -> Result<Done<Bridge>> {
    let link = &plan.link;
    let netlink = Netlink::open(OP, link.place())?;
    link.refuse_taken_addresses(OP, &netlink)?;
    netlink.new_bridge(&link.name, plan.born).map_err(|source| refused_bridge(link, source))?;
    let index = link.born(OP, &netlink, LinkKind::Bridge, plan.born)?.index;
    let object = plan.object(Some(index));
    progress.made(object.clone())?;
    link.set_mac(OP, &netlink, index)?;
    if let Some(mtu) = link.mtu {
        // Not at birth: only one that is set later is kept whatever its ports have.
        let set = netlink.set_mtu(index, mtu);
        set.map_err(|source| refused(OP, &link.name, &format!("the mtu {mtu}"), source))?;
    }
    let gateway = match plan.subnet {
        None => None,
        Some(subnet) => {
            // Those that this program reaches are no good either: `net::outside` would lead there.
            let beyond = match (subnet, link.place()) {
                (Subnet::Auto, Some(_)) => subnet::used_here(OP, &netlink)?,
                _ => Vec::new(),
            };
            Some(subnet::settle(OP, subnet, &netlink, (&link.name, index), &beyond)?)
        }
    };
    link.configure(OP, &netlink, index)?;
    let held = link.read_back(OP, &netlink, index)?;
    if let Some(gateway) = gateway.filter(|gateway| !held.addresses.contains(gateway)) {
        return Err(not_held(OP, &link.name, &format!("the address {gateway}")));
    }
    let effect = link.effect(&held);
    let value = Bridge { facts: link.facts(held), gateway, isolated: plan.isolated };
    Ok(Done { value, object, effect })
}

fn refused_bridge(link: &End, source: SysError) -> Error {
    let name = &link.name;
    match source.errno() {
        Errno::EEXIST => {
            let place = link.place_text();
            Error::sys(OP, format!("the name is taken by another link in {place}"), source)
                .subject(name)
                .hint(format!("choose another name than {name}, or leave it out"))
        }
        Errno::EPERM => Error::sys(OP, "not permitted to make links", source).subject(name).hint(PRIVILEGE),
        Errno::EOPNOTSUPP => Error::sys(OP, "this kernel has no bridges", source)
            .subject(name)
            .hint("load the kernel module bridge"),
        _ => Error::sys(OP, "cannot make the bridge", source).subject(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(change: impl FnOnce(&mut BridgeSpec)) -> Result<Plan> {
        let mut spec = BridgeSpec::default();
        change(&mut spec);
        plan(&spec, 1, [0xab; 11])
    }

    #[test]
    fn a_name_not_given_is_free_and_its_address_is_born_with_it() {
        let plan = planned(|spec| spec.subnet = Some("10.88.0.0/24".into())).unwrap();
        assert_eq!(plan.text(), "make the bridge csababababab on 10.88.0.0/24");
        assert_eq!(plan.born.to_string(), "aa:ab:ab:ab:ab:ab");
    }

    #[test]
    fn a_second_address_in_the_subnet_is_refused() {
        let error = planned(|spec| {
            spec.subnet = Some("10.88.0.0/24".into());
            spec.link.addr = vec!["10.88.0.7/24".into()];
        });
        assert!(error.unwrap_err().to_string().contains("10.88.0.7/24 is in the subnet 10.88.0.0/24"));
        let error = planned(|spec| {
            spec.subnet = Some("fd88::/64".into());
            spec.link.mtu = Some(1000);
        });
        assert!(error.unwrap_err().to_string().contains("1280"));
    }
}
