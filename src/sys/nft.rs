//! Tables, chains and rules of nftables in this network namespace: listing and deleting them (linux/netfilter/nf_tables.h).

use crate::sys::Result;
use crate::sys::netlink::{self, ACK, REQUEST, attribute, attributes};
use nix::sys::socket::SockProtocol;
use std::os::fd::OwnedFd;

/// One table, chain or rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The family of the table (`NFPROTO_…`).
    pub family: u8,
    /// The name of the table.
    pub table: String,
    /// The name of the chain, for a chain or rule.
    pub chain: Option<String>,
    /// The number of the rule (its handle).
    pub rule: Option<u64>,
}

const SUBSYSTEM: u16 = 10;
const GET_TABLE: u16 = 1;
const DEL_TABLE: u16 = 2;
const GET_CHAIN: u16 = 4;
const DEL_CHAIN: u16 = 5;
const GET_RULE: u16 = 7;
const DEL_RULE: u16 = 8;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;

/// The name of a family, as nft(8) has it.
#[must_use]
pub const fn family_name(family: u8) -> &'static str {
    match family {
        1 => "inet",
        2 => "ip",
        3 => "arp",
        5 => "netdev",
        7 => "bridge",
        10 => "ip6",
        _ => "family",
    }
}

/// Everything that is there. Nothing where the kernel has no nftables, or has not loaded it: asking would load it.
///
/// # Errors
/// The failed `socket`, `sendto` or `recvfrom`.
pub fn list() -> Result<Vec<Entry>> {
    let modules = std::fs::read_to_string("/proc/modules").unwrap_or_default();
    if !modules.is_empty() && !modules.lines().any(|line| line.starts_with("nf_tables ")) {
        return Ok(Vec::new());
    }
    let fd = open()?;
    let mut found = dump(&fd, GET_TABLE)?;
    if !found.is_empty() {
        found.extend(dump(&fd, GET_CHAIN)?);
        found.extend(dump(&fd, GET_RULE)?);
    }
    Ok(found)
}

/// Deletes a rule, else a chain with its rules, else a table with all that is in it.
///
/// # Errors
/// The failed `socket`, `sendto` or `recvfrom`; what the kernel answers.
pub fn delete(family: u8, table: &str, chain: Option<&str>, rule: Option<u64>) -> Result<()> {
    let mut names = text_attribute(1, table);
    let kind = match (chain, rule) {
        (Some(chain), Some(number)) => {
            names.extend(text_attribute(2, chain));
            names.extend(attribute(3, &number.to_be_bytes()));
            DEL_RULE
        }
        (Some(chain), None) => {
            names.extend(text_attribute(3, chain));
            DEL_CHAIN
        }
        _ => DEL_TABLE,
    };
    // A change is a batch, or the kernel refuses it.
    let mut batch = netlink::message(BATCH_BEGIN, REQUEST, &body(0, SUBSYSTEM, &[]));
    batch.extend(netlink::message(SUBSYSTEM << 8 | kind, REQUEST | ACK, &body(family, 0, &names)));
    batch.extend(netlink::message(BATCH_END, REQUEST, &body(0, SUBSYSTEM, &[])));
    netlink::ask(&open()?, &batch, || format!("NFT_MSG_DEL…, {} {table}", family_name(family)))
}

fn open() -> Result<OwnedFd> {
    netlink::open(SockProtocol::NetlinkNetFilter)
}

/// Asks for all of one kind.
fn dump(fd: &OwnedFd, kind: u16) -> Result<Vec<Entry>> {
    let mut found = Vec::new();
    let show = || format!("NLM_F_DUMP, nftables message {kind}");
    netlink::dump(fd, SUBSYSTEM << 8 | kind, &body(0, 0, &[]), show, |body| found.extend(entry(kind, body)))?;
    Ok(found)
}

fn entry(kind: u16, body: &[u8]) -> Option<Entry> {
    let (family, rest) = (*body.first()?, body.get(4..)?);
    let mut values: [Option<&[u8]>; 4] = [None; 4];
    for (number, value) in attributes(rest) {
        if let Some(place) = values.get_mut(usize::from(number)) {
            *place = Some(value);
        }
    }
    let text = |value: &[u8]| String::from_utf8_lossy(value.strip_suffix(&[0]).unwrap_or(value)).into_owned();
    let number = |value: &[u8]| value.try_into().ok().map(u64::from_be_bytes);
    let table = text(values[1]?);
    Some(match kind {
        GET_CHAIN => Entry { family, table, chain: Some(text(values[3]?)), rule: None },
        GET_RULE => Entry { family, table, chain: Some(text(values[2]?)), rule: number(values[3]?) },
        _ => Entry { family, table, chain: None, rule: None },
    })
}

/// The header of the subsystem, and attributes.
fn body(family: u8, resource: u16, attributes: &[u8]) -> Vec<u8> {
    let mut bytes = vec![family, 0];
    bytes.extend(resource.to_be_bytes());
    bytes.extend(attributes);
    bytes
}

fn text_attribute(number: u16, text: &str) -> Vec<u8> {
    attribute(number, &[text.as_bytes(), &[0]].concat())
}
