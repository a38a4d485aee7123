//! A veth: two links joined by a wire, each in a namespace of its own.
//!
//! The second end is born in its namespace: moving it there would wait for the kernel, fifteen times as long. One end
//! is *near*: the one that lives beside this program, if either does. It is the one that the ledger knows, by an
//! unguessable hardware address that it bears from birth; the other dies with it.

use crate::error::{Error, ErrorKind, Result, SysContext};
use crate::runtime::net::addr::{check_mtu, parse_hosts};
use crate::runtime::net::link::{PRIVILEGE, not_held, refused};
use crate::runtime::net::netlink::{LO, Netlink, NewEnd};
use crate::runtime::net::netns::show;
use crate::runtime::net::{Cidr, LinkInfo, Mac, Netns, home, parse_mac, parse_name};
use crate::runtime::object::Object;
use crate::runtime::session::{Done, Handle, HandleId, Intent, Progress, Session};
use crate::sys::{self, Errno, SysError};
use std::net::IpAddr;
use std::rc::Rc;

const OP: &str = "net::veth";

/// What is asked of one end of a veth.
#[derive(Clone, Debug, Default)]
pub struct EndSpec {
    /// Its name. Without one: `eth0` in a namespace, a free one beside this program.
    pub name: Option<String>,
    /// The namespace it lives in; `None` is this program's.
    pub ns: Option<Netns>,
    /// Its addresses, with their prefixes.
    pub addr: Vec<String>,
    /// The size of its largest packet in bytes. Without one: the other end's, or the kernel's 1500.
    pub mtu: Option<u32>,
    /// Its hardware address. Without one: a random one.
    pub mac: Option<String>,
}

/// What is asked of a veth.
#[derive(Clone, Debug, Default)]
pub struct VethSpec {
    /// The first end.
    pub end: EndSpec,
    /// The other end.
    pub peer: EndSpec,
}

/// One end of a veth, as read back when it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndFacts {
    /// The link.
    pub link: LinkInfo,
    /// The inode of its network namespace.
    pub netns: u64,
}

/// A veth that a session made. See [`veth`].
#[derive(Clone, Debug)]
pub struct Veth {
    /// The first end.
    pub end: EndFacts,
    /// The other end.
    pub peer: EndFacts,
}

impl Handle for Veth {
    fn kind(&self) -> &'static str {
        "Veth"
    }

    fn name(&self) -> String {
        self.end.link.name.clone()
    }

    fn line(&self) -> String {
        format!("{} <-> {} in {}", text(&self.end.link), text(&self.peer.link), show(self.peer.netns))
    }

    fn inspect(&self) -> serde_json::Value {
        let mut value = json(&self.end);
        value["peer"] = json(&self.peer);
        value
    }
}

/// The name and the addresses, without those that the kernel gives to every link.
fn text(link: &LinkInfo) -> String {
    let automatic = |cidr: &&Cidr| matches!(cidr.addr, IpAddr::V6(addr) if addr.is_unicast_link_local());
    let addresses: Vec<String> =
        link.addresses.iter().filter(|cidr| !automatic(cidr)).map(ToString::to_string).collect();
    if addresses.is_empty() { link.name.clone() } else { format!("{} ({})", link.name, addresses.join(", ")) }
}

/// The facts of an end: the live ones while it exists, the last known ones after.
fn json(end: &EndFacts) -> serde_json::Value {
    let live = live(end);
    let link = live.as_ref().unwrap_or(&end.link);
    serde_json::json!({
        "name": link.name,
        "ifindex": link.index,
        "mac": link.mac.map(|mac| mac.to_string()),
        "mtu": link.mtu,
        "addr": link.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "netns": end.netns,
        "up": link.up && live.is_some(),
        "exists": live.is_some(),
    })
}

fn live(end: &EndFacts) -> Option<LinkInfo> {
    let ns = match Netns::own(OP) {
        Ok(own) if own == end.netns => None,
        _ => Some(Netns::find(end.netns)?),
    };
    let netlink = Netlink::open(OP, ns.as_ref()).ok()?;
    read(&netlink, end.link.index).ok()
}

/// One end, checked.
#[derive(Debug)]
struct End {
    name: String,
    ns: Option<Netns>,
    inode: u64,
    hosts: Vec<Cidr>,
    mtu: Option<u32>,
    mac: Option<Mac>,
}

/// Both ends, checked; `near` is the one that the ledger knows.
#[derive(Debug)]
struct Plan {
    near: End,
    far: End,
    swapped: bool,
    born: Mac,
    /// The network that ends beside this program live in, where that is not the host's.
    home: Option<Netns>,
}

/// Makes a veth: both ends with their addresses and up, and `lo` up in each namespace given.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] for a bad name, address, size or hardware address, before anything is changed;
/// [`ErrorKind::AlreadyExists`] when a name or an address is taken; [`ErrorKind::PermissionDenied`] without
/// `CAP_NET_ADMIN`; [`ErrorKind::Unsupported`] when the kernel does not hold what it was told.
#[expect(clippy::needless_pass_by_value, reason = "a spec is consumed by the call that it describes")]
pub fn veth(session: &Session, spec: VethSpec) -> Result<(HandleId, Rc<Veth>)> {
    let random = sys::file::random().context(OP, "cannot read random bytes")?;
    let mut plan = plan(&spec, Netns::own(OP)?, random)?;
    if plan.near.ns.is_none() {
        plan.stand_in(home::make(session, OP)?);
    }
    let intent = Intent { op: OP, text: plan.text(), claim: plan.object(None) };
    let (n, (near, far)) = session.step(intent, |progress| make(&plan, progress))?;
    let (end, peer) = if plan.swapped { (far, near) } else { (near, far) };
    Ok(session.adopt(Veth { end, peer }, vec![n]))
}

/// Checks a spec. `own` is the inode of this program's namespace; `random` is what names and addresses are made of.
fn plan(spec: &VethSpec, own: u64, random: [u8; 16]) -> Result<Plan> {
    let [born @ .., _, _, _, _, _, _, _, _, _, _] = random;
    let [_, _, _, _, _, _, a @ .., _, _, _, _, _] = random;
    let [_, _, _, _, _, _, _, _, _, _, _, b @ ..] = random;
    let mut end = check(&spec.end, "", own, a)?;
    let mut peer = check(&spec.peer, "peer.", own, b)?;
    let invalid = |what: String| Error::new(ErrorKind::InvalidArgument, OP, what);
    if end.inode == peer.inode && end.name == peer.name {
        return Err(invalid(format!("both ends are named {} in one network namespace", end.name)));
    }
    if let Some(twice) = end.hosts.iter().find(|host| peer.hosts.iter().any(|other| other.addr == host.addr))
    {
        return Err(invalid(format!("both ends have the address {}", twice.addr)));
    }
    (end.mtu, peer.mtu) = (end.mtu.or(peer.mtu), peer.mtu.or(end.mtu));
    check_mtu(OP, "mtu", end.mtu, &end.hosts)?;
    check_mtu(OP, "peer.mtu", peer.mtu, &peer.hosts)?;
    let swapped = end.ns.is_some() && peer.ns.is_none();
    let (near, far) = if swapped { (peer, end) } else { (end, peer) };
    Ok(Plan { near, far, swapped, born: Mac::local(born), home: None })
}

fn check(spec: &EndSpec, prefix: &str, own: u64, random: [u8; 5]) -> Result<End> {
    let ns = spec.ns.clone().filter(|ns| ns.inode != own);
    let name = match (&spec.name, &ns) {
        (Some(name), _) => parse_name(OP, &format!("{prefix}name"), name)?,
        (None, Some(_)) => "eth0".into(),
        (None, None) => random.iter().fold("cs".into(), |name, byte| format!("{name}{byte:02x}")),
    };
    Ok(End {
        name,
        inode: ns.as_ref().map_or(own, |ns| ns.inode),
        ns,
        hosts: parse_hosts(OP, &format!("{prefix}addr"), &spec.addr)?,
        mtu: spec.mtu,
        mac: spec.mac.as_deref().map(|mac| parse_mac(OP, &format!("{prefix}mac"), mac)).transpose()?,
    })
}

impl End {
    fn text(&self) -> String {
        let hosts: String = self.hosts.iter().map(|host| format!(" {host}")).collect();
        let place = self.ns.as_ref().map_or_else(String::new, |ns| format!(" in {}", ns.label));
        format!("{}{hosts}{place}", self.name)
    }

    fn facts(&self, link: LinkInfo) -> EndFacts {
        EndFacts { link, netns: self.inode }
    }
}

impl Plan {
    /// Has the ends beside this program live in `home`.
    fn stand_in(&mut self, home: Option<Netns>) {
        for end in [&mut self.near, &mut self.far] {
            if let (None, Some(home)) = (&end.ns, &home) {
                end.inode = home.inode;
            }
        }
        self.home = home;
    }

    fn text(&self) -> String {
        format!("join {} and {}", self.near.text(), self.far.text())
    }

    /// What the ledger records. The address that the user asked for is in it from the start, so that the link is
    /// known as ours before, while and after it is set.
    fn object(&self, ifindex: Option<u32>) -> Object {
        Object::Link {
            name: self.near.name.clone(),
            mac: self.born.to_string(),
            later_mac: self.near.mac.map(|mac| mac.to_string()),
            ifindex,
            netns: self.near.inode,
        }
    }
}

fn make(plan: &Plan, progress: &Progress<'_>) -> Result<Done<(EndFacts, EndFacts)>> {
    let place = |end: &End| end.ns.clone().or_else(|| plan.home.clone());
    let near = Netlink::open(OP, place(&plan.near).as_ref())?;
    let far = near.beside(OP, place(&plan.far).as_ref())?;
    for (end, netlink) in [(&plan.near, &near), (&plan.far, &far)] {
        refuse_taken_addresses(end, netlink)?;
    }
    let ends = (
        NewEnd { name: &plan.near.name, mac: Some(plan.born), mtu: plan.near.mtu },
        NewEnd { name: &plan.far.name, mac: plan.far.mac, mtu: plan.far.mtu },
    );
    near.new_veth(&ends.0, &ends.1, plan.far.ns.as_ref())
        .map_err(|source| refused_pair(plan, (&near, &far), source))?;
    let (near_index, far_index) = born_indexes(plan, &near)?;
    let object = plan.object(Some(near_index));
    progress.made(object.clone())?;
    if let Some(mac) = plan.near.mac {
        // While it is down, so that its link-local address is made of this one.
        near.set_mac(near_index, mac)
            .map_err(|source| refused(OP, &plan.near.name, &mac.to_string(), source))?;
    }
    configure(&plan.near, &near, near_index)?;
    configure(&plan.far, &far, far_index)?;
    let near_link = read_back(&plan.near, &near, near_index)?;
    let far_link = read_back(&plan.far, &far, far_index)?;
    let effect = format!("{} <-> {}", effect(&plan.near, &near_link), effect(&plan.far, &far_link));
    Ok(Done { value: (plan.near.facts(near_link), plan.far.facts(far_link)), object, effect })
}

/// Two links with one address and network: the kernel would route to whichever came first. A second run of a
/// script with fixed addresses would talk to the containers of the first.
fn refuse_taken_addresses(end: &End, netlink: &Netlink) -> Result<()> {
    if end.hosts.iter().all(Cidr::is_host) {
        return Ok(());
    }
    let held = netlink.addresses().context(OP, "cannot list the addresses")?;
    let taken =
        end.hosts.iter().filter(|host| !host.is_host()).find_map(|host| {
            held.iter().find(|held| held.cidr.addr == host.addr).map(|held| (host, held.index))
        });
    let Some((host, index)) = taken else { return Ok(()) };
    let link = netlink.link_at(index).map_or_else(|_| format!("index {index}"), |link| link.name);
    Err(Error::new(ErrorKind::AlreadyExists, OP, format!("the address {} is on the link {link}", host.addr))
        .subject(&end.name)
        .hint("choose addresses of another network, or close what uses this one"))
}

fn refused_pair(plan: &Plan, netlinks: (&Netlink, &Netlink), source: SysError) -> Error {
    match source.errno() {
        Errno::EEXIST => {
            let ends = [(&plan.near, netlinks.0), (&plan.far, netlinks.1)];
            let taken = ends.into_iter().find(|(end, netlink)| netlink.link_named(&end.name).is_ok());
            let (end, _) = taken.unwrap_or(ends[0]);
            let place = end.ns.as_ref().map_or("this network namespace", |ns| &ns.label);
            Error::sys(OP, format!("the name is taken by another link in {place}"), source)
                .subject(&end.name)
                .hint(format!("choose another name than {}, or leave it out", end.name))
        }
        Errno::EPERM => {
            Error::sys(OP, "not permitted to make links", source).subject(&plan.near.name).hint(PRIVILEGE)
        }
        Errno::EOPNOTSUPP => Error::sys(OP, "this kernel has no veth links", source)
            .subject(&plan.near.name)
            .hint("load the kernel module veth"),
        _ => Error::sys(OP, "cannot make the pair", source).subject(&plan.near.name),
    }
}

/// The indexes of both ends, by the hardware address that only ours bears: the name may have been changed by others.
fn born_indexes(plan: &Plan, netlink: &Netlink) -> Result<(u32, u32)> {
    let ours = |link: &LinkInfo| link.mac == Some(plan.born) && link.kind == "veth";
    let link = match netlink.link_named(&plan.near.name) {
        Ok(link) if ours(&link) => Some(link),
        Err(source) if source.errno() != Errno::ENODEV => {
            return Err(Error::sys(OP, "cannot find the new link", source).subject(&plan.near.name));
        }
        _ => netlink.links().context(OP, "cannot list the links")?.into_iter().find(ours),
    };
    link.and_then(|link| Some((link.index, link.peer?)))
        .ok_or_else(|| not_held(OP, &plan.near.name, "the new link"))
}

/// Addresses, then up: nothing passes over a link that is half configured.
fn configure(end: &End, netlink: &Netlink, index: u32) -> Result<()> {
    for host in &end.hosts {
        netlink
            .add_address(index, *host)
            .map_err(|source| refused(OP, &end.name, &host.to_string(), source))?;
    }
    if end.ns.is_some() {
        netlink.set_up(LO, true).map_err(|source| refused(OP, "lo", "up", source))?;
    }
    netlink.set_up(index, true).map_err(|source| refused(OP, &end.name, "up", source))
}

fn read(netlink: &Netlink, index: u32) -> sys::Result<LinkInfo> {
    let mut link = netlink.link_at(index)?;
    let held = netlink.addresses()?;
    link.addresses = held.into_iter().filter(|held| held.index == index).map(|held| held.cidr).collect();
    Ok(link)
}

fn read_back(end: &End, netlink: &Netlink, index: u32) -> Result<LinkInfo> {
    let link = read(netlink, index).context(OP, format!("cannot read {} back", end.name))?;
    match missing(end, &link) {
        None => Ok(link),
        Some(what) => Err(not_held(OP, &end.name, &what)),
    }
}

/// The first thing that was asked for and is not so.
fn missing(end: &End, link: &LinkInfo) -> Option<String> {
    if link.name != end.name {
        return Some(format!("the name: it is {}", link.name));
    }
    if let Some(mtu) = end.mtu.filter(|mtu| *mtu != link.mtu) {
        return Some(format!("the mtu {mtu}: it is {}", link.mtu));
    }
    if let Some(mac) = end.mac.filter(|mac| Some(*mac) != link.mac) {
        return Some(format!("the hardware address {mac}"));
    }
    if let Some(host) = end.hosts.iter().find(|host| !link.addresses.contains(host)) {
        return Some(format!("the address {host}"));
    }
    (!(link.up && link.running)).then(|| "the state up, with a carrier".into())
}

fn effect(end: &End, link: &LinkInfo) -> String {
    let place = end.ns.as_ref().map_or_else(String::new, |ns| format!(" in {}", show(ns.inode)));
    format!("{} (index {}, mtu {}) up{place}", text(link), link.index, link.mtu)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::OwnedFd;

    const OWN: u64 = 1;

    fn ns(inode: u64) -> Option<Netns> {
        let fd = OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        Some(Netns { fd: std::sync::Arc::new(fd), inode, label: format!("box {inode}") })
    }

    fn planned(end: EndSpec, peer: EndSpec) -> Result<Plan> {
        plan(&VethSpec { end, peer }, OWN, [0xab; 16])
    }

    #[test]
    fn a_name_not_given_is_free_here_and_eth0_in_a_namespace() {
        let plan = planned(EndSpec::default(), EndSpec { ns: ns(7), ..EndSpec::default() }).unwrap();
        assert_eq!((plan.near.name.as_str(), plan.far.name.as_str()), ("csababababab", "eth0"));
        assert!(!plan.swapped);
        assert_eq!(plan.born.to_string(), "aa:ab:ab:ab:ab:ab");
    }

    #[test]
    fn the_near_end_is_the_one_beside_this_program() {
        let inside = || EndSpec { name: Some("in".into()), ns: ns(7), ..EndSpec::default() };
        let beside = || EndSpec { name: Some("out".into()), ..EndSpec::default() };
        let plan = planned(inside(), beside()).unwrap();
        assert!(plan.swapped);
        assert_eq!((plan.near.name.as_str(), plan.near.inode), ("out", OWN));
        // A namespace that is this program's own is no namespace given.
        let own = EndSpec { ns: ns(OWN), ..beside() };
        assert!(planned(own, inside()).unwrap().near.ns.is_none());
        // Both inside: the first one.
        let plan = planned(inside(), EndSpec { ns: ns(8), ..beside() }).unwrap();
        assert_eq!((plan.near.name.as_str(), plan.near.inode, plan.swapped), ("in", 7, false));
    }

    #[test]
    fn ends_that_clash_are_refused() {
        let named = |name: &str| EndSpec { name: Some(name.into()), ..EndSpec::default() };
        let error = planned(named("a"), named("a")).unwrap_err();
        assert!(error.to_string().contains("both ends are named a"), "{error}");
        let at = |inode, addr: &str| EndSpec { ns: ns(inode), addr: vec![addr.into()], ..EndSpec::default() };
        let error = planned(at(7, "10.9.0.1/24"), at(8, "10.9.0.1/24")).unwrap_err();
        assert!(error.to_string().contains("both ends have the address 10.9.0.1"), "{error}");
        let error = planned(named("a"), EndSpec { mac: Some("x".into()), ..named("b") }).unwrap_err();
        assert!(error.to_string().contains("peer.mac"), "{error}");
    }

    #[test]
    fn one_size_given_holds_for_both_ends() {
        let end = EndSpec { mtu: Some(1400), ..EndSpec::default() };
        let plan = planned(end.clone(), EndSpec { ns: ns(7), ..EndSpec::default() }).unwrap();
        assert_eq!((plan.near.mtu, plan.far.mtu), (Some(1400), Some(1400)));
        let v6 = EndSpec { addr: vec!["fd00::1/64".into()], ..EndSpec::default() };
        assert!(planned(EndSpec { mtu: Some(1000), ..end }, v6).is_err());
    }
}
