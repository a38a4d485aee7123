//! A veth: two links joined by a wire, each in a namespace of its own.
//!
//! The second end is born in its namespace: moving it there would wait for the kernel, fifteen times as long. One end
//! is *near*: the one that lives beside this program, if either does. It is the one that the ledger knows, by an
//! unguessable hardware address that it bears from birth; the other dies with it.

use crate::error::{Error, ErrorKind, Result, SysContext};
use crate::runtime::net::addr::check_mtu;
use crate::runtime::net::end::{End, EndFacts, EndSpec};
use crate::runtime::net::link::{PRIVILEGE, not_held};
use crate::runtime::net::netlink::{Netlink, NewEnd};
use crate::runtime::net::netns::show;
use crate::runtime::net::{Mac, Netns, home};
use crate::runtime::object::{LinkKind, Object};
use crate::runtime::session::{Done, Handle, HandleId, Intent, Progress, Session};
use crate::sys::{self, Errno, SysError};
use std::rc::Rc;

const OP: &str = "net::veth";

/// What is asked of a veth.
#[derive(Clone, Debug, Default)]
pub struct VethSpec {
    /// The first end.
    pub end: EndSpec,
    /// The other end.
    pub peer: EndSpec,
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
        format!("Veth {} <-> {} in {}", self.end.line(OP), self.peer.line(OP), show(self.peer.netns))
    }

    fn inspect(&self) -> serde_json::Value {
        let mut value = self.end.json(OP);
        value["peer"] = self.peer.json(OP);
        value
    }
}

/// Both ends, checked; `near` is the one that the ledger knows.
#[derive(Debug)]
struct Plan {
    near: End,
    far: End,
    swapped: bool,
    born: Mac,
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
        let home = home::make(session, OP)?;
        plan.near.stand_in(home.as_ref());
        plan.far.stand_in(home.as_ref());
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
    let mut end = End::check(OP, &spec.end, "", own, Some("eth0"), a)?;
    let mut peer = End::check(OP, &spec.peer, "peer.", own, Some("eth0"), b)?;
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
    Ok(Plan { near, far, swapped, born: Mac::local(born) })
}

impl Plan {
    fn text(&self) -> String {
        format!("join {} and {}", self.near.text(), self.far.text())
    }

    /// What the ledger records. The address that the user asked for is in it from the start, so that the link is
    /// known as ours before, while and after it is set.
    fn object(&self, ifindex: Option<u32>) -> Object {
        Object::Link {
            kind: LinkKind::Veth,
            name: self.near.name.clone(),
            mac: self.born.to_string(),
            later_mac: self.near.mac.map(|mac| mac.to_string()),
            ifindex,
            netns: self.near.inode,
        }
    }
}

fn make(plan: &Plan, progress: &Progress<'_>) -> Result<Done<(EndFacts, EndFacts)>> {
    let near = Netlink::open(OP, plan.near.place())?;
    let far = near.beside(OP, plan.far.place())?;
    for (end, netlink) in [(&plan.near, &near), (&plan.far, &far)] {
        end.refuse_taken_addresses(OP, netlink)?;
    }
    let ends = (
        NewEnd { name: &plan.near.name, mac: Some(plan.born), mtu: plan.near.mtu },
        NewEnd { name: &plan.far.name, mac: plan.far.mac, mtu: plan.far.mtu },
    );
    near.new_veth(&ends.0, &ends.1, plan.far.ns.as_ref())
        .map_err(|source| refused_pair(plan, (&near, &far), source))?;
    let born = plan.near.born(OP, &near, LinkKind::Veth, plan.born)?;
    let near_index = born.index;
    let far_index = born.peer.ok_or_else(|| not_held(OP, &plan.far.name, "the new link"))?;
    let object = plan.object(Some(near_index));
    progress.made(object.clone())?;
    plan.near.set_mac(OP, &near, near_index)?;
    plan.near.configure(OP, &near, near_index)?;
    plan.far.configure(OP, &far, far_index)?;
    let near_link = plan.near.read_back(OP, &near, near_index)?;
    let far_link = plan.far.read_back(OP, &far, far_index)?;
    let effect = format!("{} <-> {}", plan.near.effect(&near_link), plan.far.effect(&far_link));
    Ok(Done { value: (plan.near.facts(near_link), plan.far.facts(far_link)), object, effect })
}

fn refused_pair(plan: &Plan, netlinks: (&Netlink, &Netlink), source: SysError) -> Error {
    match source.errno() {
        Errno::EEXIST => {
            let ends = [(&plan.near, netlinks.0), (&plan.far, netlinks.1)];
            let taken = ends.into_iter().find(|(end, netlink)| netlink.link_named(&end.name).is_ok());
            let (end, _) = taken.unwrap_or(ends[0]);
            let place = end.place_text();
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
