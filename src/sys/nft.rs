//! Tables, chains and rules of nftables in this network namespace: listing and deleting them (linux/netfilter/nf_tables.h).

use crate::sys::{Errno, Result, call};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};
use std::os::fd::{AsRawFd, OwnedFd};

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
const HEADER: usize = 20;

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
    let fd = open()?;
    let mut attributes = attribute(1, table);
    let kind = match (chain, rule) {
        (Some(chain), Some(number)) => {
            attributes.extend(attribute(2, chain));
            attributes.extend(raw_attribute(3, &number.to_be_bytes()));
            DEL_RULE
        }
        (Some(chain), None) => {
            attributes.extend(attribute(3, chain));
            DEL_CHAIN
        }
        _ => DEL_TABLE,
    };
    // A change is a batch, or the kernel refuses it.
    let mut batch = message(BATCH_BEGIN, 1, 0, SUBSYSTEM, &[]);
    batch.extend(message(SUBSYSTEM << 8 | kind, 1 | 4, family, 0, &attributes));
    batch.extend(message(BATCH_END, 1, 0, SUBSYSTEM, &[]));
    let show = || format!("NFT_MSG_DEL…, {} {table}", family_name(family));
    call("sendto", show, || send(fd.as_raw_fd(), &batch, MsgFlags::empty()))?;
    let mut buffer = [0; 8192];
    call("recvfrom", show, || {
        let len = recv(fd.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        error_in(&buffer[..len]).map_or(Ok(()), Err)
    })
}

fn open() -> Result<OwnedFd> {
    let (family, protocol) = (AddressFamily::Netlink, SockProtocol::NetlinkNetFilter);
    call(
        "socket",
        || "AF_NETLINK, SOCK_RAW|SOCK_CLOEXEC, NETLINK_NETFILTER".into(),
        || socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol),
    )
}

/// Asks for all of one kind.
fn dump(fd: &OwnedFd, kind: u16) -> Result<Vec<Entry>> {
    let show = || format!("NLM_F_DUMP, nftables message {kind}");
    let request = message(SUBSYSTEM << 8 | kind, 1 | 0x300, 0, 0, &[]);
    call("sendto", show, || send(fd.as_raw_fd(), &request, MsgFlags::empty()))?;
    let mut found = Vec::new();
    let mut buffer = vec![0; 65536];
    loop {
        let len = call("recvfrom", show, || recv(fd.as_raw_fd(), &mut buffer, MsgFlags::empty()))?;
        let mut rest = &buffer[..len];
        while let Some((kind_here, body, next)) = split(rest) {
            match kind_here {
                // NLMSG_ERROR, NLMSG_DONE
                2 | 3 => return Ok(found),
                _ => found.extend(entry(kind, body)),
            }
            rest = next;
        }
        if len == 0 {
            return Ok(found);
        }
    }
}

/// The type of the first message, its body behind the header of the subsystem, and what follows it.
fn split(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let len = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let body = bytes.get(16..len)?;
    Some((kind, body, bytes.get(len.next_multiple_of(4)..).unwrap_or_default()))
}

fn entry(kind: u16, body: &[u8]) -> Option<Entry> {
    let (family, mut rest) = (*body.first()?, body.get(4..)?);
    let mut values: [Option<&[u8]>; 4] = [None; 4];
    while let Some(len) = rest.get(..2).and_then(|len| len.try_into().ok()).map(u16::from_ne_bytes) {
        let number = u16::from_ne_bytes(rest.get(2..4)?.try_into().ok()?) & 0x3fff;
        let value = rest.get(4..usize::from(len))?;
        if let Some(place) = values.get_mut(usize::from(number)) {
            *place = Some(value);
        }
        rest = rest.get(usize::from(len).next_multiple_of(4)..).unwrap_or_default();
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

fn error_in(bytes: &[u8]) -> Option<Errno> {
    let (kind, _, _) = split(bytes)?;
    let code = i32::from_ne_bytes(bytes.get(16..20)?.try_into().ok()?);
    (kind == 2 && code != 0).then(|| Errno::from_raw(-code))
}

fn message(kind: u16, flags: u16, family: u8, resource: u16, attributes: &[u8]) -> Vec<u8> {
    let len = u32::try_from(HEADER + attributes.len()).unwrap_or(u32::MAX);
    let mut bytes = Vec::with_capacity(HEADER + attributes.len());
    bytes.extend(len.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend([family, 0]);
    bytes.extend(resource.to_be_bytes());
    bytes.extend(attributes);
    bytes
}

fn attribute(number: u16, text: &str) -> Vec<u8> {
    raw_attribute(number, &[text.as_bytes(), &[0]].concat())
}

fn raw_attribute(number: u16, value: &[u8]) -> Vec<u8> {
    let len = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    let mut bytes = [len.to_ne_bytes(), number.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}
