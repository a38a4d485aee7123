//! Routes and rules of routing in this network namespace: listing and deleting them (rtnetlink(7), linux/fib_rules.h).

use crate::sys::Result;
use crate::sys::netlink::{self, ACK, REQUEST, attributes};
use nix::sys::socket::SockProtocol;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;

/// A route or a rule that somebody has made: not those that the kernel makes for links and addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Whether it is a rule.
    pub is_rule: bool,
    /// To where.
    pub to: Option<(IpAddr, u8)>,
    /// From where.
    pub from: Option<(IpAddr, u8)>,
    /// Of a route: through which neighbour.
    pub via: Option<IpAddr>,
    /// Of a route: the index of the link by which it goes out.
    pub link: Option<u32>,
    /// The table that it is in, or to which a rule leads.
    pub table: u32,
    /// Its place among the others.
    pub priority: Option<u32>,
    /// Of a rule: the mark of what it holds for.
    pub mark: Option<u32>,
    /// Of a rule: the name of the link by which something comes in.
    pub incoming: Option<String>,
    /// Of a rule: the name of the link by which something goes out.
    pub outgoing: Option<String>,
    /// As the kernel told it, which is how it is deleted.
    body: Vec<u8>,
}

const DEL_ROUTE: u16 = 25;
const GET_ROUTE: u16 = 26;
const DEL_RULE: u16 = 33;
const GET_RULE: u16 = 34;
/// `sizeof(struct rtmsg)` and `sizeof(struct fib_rule_hdr)`.
const HEADER: usize = 12;
/// `RTPROT_REDIRECT`, `RTPROT_KERNEL`, `RTPROT_RA`: of the kernel's own making.
const OWN: [u8; 3] = [1, 2, 9];
/// `RTM_F_CLONED`: remembered, not made.
const CLONED: u32 = 0x200;

/// Those that somebody has made.
///
/// # Errors
/// The failed `socket`, `sendto` or `recvfrom`.
pub fn list() -> Result<Vec<Entry>> {
    let fd = open()?;
    let mut found = Vec::new();
    for (kind, what) in [(GET_ROUTE, "RTM_GETROUTE"), (GET_RULE, "RTM_GETRULE")] {
        let is_rule = kind == GET_RULE;
        let show = || format!("{what}, NLM_F_DUMP");
        netlink::dump(&fd, kind, &[0; HEADER], show, |body| found.extend(entry(is_rule, body)))?;
    }
    Ok(found)
}

/// Deletes one.
///
/// # Errors
/// The failed `socket`, `sendto` or `recvfrom`; what the kernel answers: `ESRCH` or `ENOENT` where it is gone.
pub fn delete(entry: &Entry) -> Result<()> {
    let (kind, what) = if entry.is_rule { (DEL_RULE, "RTM_DELRULE") } else { (DEL_ROUTE, "RTM_DELROUTE") };
    netlink::ask(&open()?, &netlink::message(kind, REQUEST | ACK, &entry.body), || what.into())
}

fn open() -> Result<OwnedFd> {
    netlink::open(SockProtocol::NetlinkRoute)
}

fn entry(is_rule: bool, body: &[u8]) -> Option<Entry> {
    let (header, rest) = body.split_at_checked(HEADER)?;
    let flags = u32::from_ne_bytes(header[8..].try_into().ok()?);
    let mut entry = Entry { is_rule, table: header[4].into(), body: body.to_vec(), ..Entry::default() };
    let mut maker = if is_rule { 0 } else { header[5] };
    for (number, value) in attributes(rest) {
        let whole = || value.try_into().ok().map(u32::from_ne_bytes);
        let text = || Some(String::from_utf8_lossy(value.strip_suffix(&[0])?).into_owned());
        match (number, is_rule) {
            (1, _) => entry.to = address(value).map(|to| (to, header[1])),
            (2, _) => entry.from = address(value).map(|from| (from, header[2])),
            (3, true) => entry.incoming = text(),
            (4, false) => entry.link = whole(),
            (5, false) => entry.via = address(value),
            (6, _) => entry.priority = whole(),
            (10, true) => entry.mark = whole(),
            (15, _) => entry.table = whole()?,
            (17, true) => entry.outgoing = text(),
            (21, true) => maker = *value.first()?,
            _ => {}
        }
    }
    let is_own = OWN.contains(&maker) || (!is_rule && flags & CLONED != 0);
    (!is_own).then_some(entry)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(four).into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|sixteen| Ipv6Addr::from(sixteen).into())
}
