//! Names, addresses and sizes of links as users write them. Nothing here touches the kernel.

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::units::is_hex;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// The longest name of a link that the kernel takes (`IFNAMSIZ` less the final zero).
const NAME_MAX: usize = 15;
/// What a veth takes (`ETH_MIN_MTU`, `ETH_MAX_MTU`).
const MTU: std::ops::RangeInclusive<u32> = 68..=65535;
/// Below this a link cannot carry IPv6 (`IPV6_MIN_MTU`).
const MTU_V6: u32 = 1280;

/// An address with the length of its network prefix: `10.9.0.1/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cidr {
    /// The address.
    pub addr: IpAddr,
    /// The length of the network prefix in bits.
    pub prefix: u8,
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.prefix)
    }
}

impl Cidr {
    /// The longest prefix of the family.
    #[must_use]
    pub fn max_prefix(addr: IpAddr) -> u8 {
        if addr.is_ipv4() { 32 } else { 128 }
    }

    /// The network that it is in: the bits after the prefix are zero.
    #[must_use]
    pub fn network(&self) -> Self {
        let mask = !self.host_bits();
        Self { addr: self.map(|bits| bits & mask), prefix: self.prefix }
    }

    /// Whether some address is in the networks of both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let prefix = self.prefix.min(other.prefix);
        let wide = |cidr: &Self| Self { addr: cidr.addr, prefix }.network();
        self.addr.is_ipv4() == other.addr.is_ipv4() && wide(self) == wide(other)
    }

    /// The host with this number in the network: its first is 1. `None` for 0, and where the network ends before it; the
    /// last address of an IPv4 network is no host's.
    #[must_use]
    pub fn host(&self, n: u32) -> Option<Self> {
        let taken = u128::from(self.addr.is_ipv4());
        let fits = n > 0 && u128::from(n) + taken <= self.host_bits();
        fits.then(|| Self { addr: self.network().map(|bits| bits | u128::from(n)), prefix: self.prefix })
    }

    /// Whether the address is neither the first of its network nor the last of an IPv4 network: those are no host's.
    #[must_use]
    pub fn is_of_a_host(&self) -> bool {
        let host = self.map(|bits| bits & self.host_bits());
        !host.is_unspecified() && (self.addr.is_ipv6() || host != self.map(|_| self.host_bits()))
    }

    /// The bits after the prefix, all set.
    fn host_bits(&self) -> u128 {
        let count = u32::from(Self::max_prefix(self.addr) - self.prefix);
        !u128::MAX.checked_shl(count).unwrap_or(0)
    }

    /// The address with other bits; those that the family does not have are lost.
    fn map(&self, change: impl FnOnce(u128) -> u128) -> IpAddr {
        match self.addr {
            IpAddr::V4(addr) => {
                let bits = change(u128::from(u32::from(addr))) & u128::from(u32::MAX);
                Ipv4Addr::from(u32::try_from(bits).unwrap_or(u32::MAX)).into()
            }
            IpAddr::V6(addr) => Ipv6Addr::from(change(u128::from(addr))).into(),
        }
    }

    /// Whether it stands for one host and not for a network.
    #[must_use]
    pub fn is_host(&self) -> bool {
        self.prefix == Self::max_prefix(self.addr)
    }
}

/// A hardware address of six bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// A locally administered unicast address made of random bytes.
    #[must_use]
    pub fn local(mut bytes: [u8; 6]) -> Self {
        bytes[0] = (bytes[0] & 0xfc) | 0x02;
        Self(bytes)
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

fn invalid(op: &'static str, what: String) -> Error {
    Error::new(ErrorKind::InvalidArgument, op, what)
}

/// Checks the name of a link as the kernel does (`dev_valid_name`), and what it takes for a pattern or a setting.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] that says what is wrong with it.
pub fn parse_name(op: &'static str, key: &str, name: &str) -> Result<String> {
    let what = if name.is_empty() {
        format!("{key} is empty")
    } else if name.len() > NAME_MAX {
        format!("{key} {name:?} has {} bytes; the kernel takes at most {NAME_MAX}", name.len())
    } else if matches!(name, "." | ".." | "all" | "default") {
        format!("{key} {name:?} has a meaning of its own in the kernel")
    } else if let Some(bad) =
        name.chars().find(|c| matches!(c, '/' | ':' | '%') || c.is_whitespace() || c.is_control())
    {
        format!("{key} {name:?} has {bad:?} in it, which names of links may not have")
    } else {
        return Ok(name.to_owned());
    };
    Err(invalid(op, what).hint("leave the name out to have a free one chosen"))
}

/// A name for a link of which none is given, made of random bytes.
pub(super) fn free_name(random: [u8; 5]) -> String {
    random.iter().fold("cs".into(), |name, byte| format!("{name}{byte:02x}"))
}

/// Whether a name is one that is chosen so, by this session or by another.
#[must_use]
pub fn is_chosen_name(name: &str) -> bool {
    let digits = name.strip_prefix("cs").unwrap_or_default();
    digits.len() == 10 && is_hex(digits)
}

/// Parses an address with its prefix.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] that says what is wrong with it.
pub fn parse_cidr(op: &'static str, key: &str, text: &str) -> Result<Cidr> {
    let (addr, prefix) = match text.split_once('/') {
        Some((addr, prefix)) => (addr, Some(prefix)),
        None => (text, None),
    };
    let example = "write an address with its prefix, such as \"10.9.0.1/24\" or \"fd00::1/64\"";
    let addr = IpAddr::from_str(addr)
        .map_err(|_| invalid(op, format!("{key}: {text:?} is not an address")).hint(example))?;
    let max = Cidr::max_prefix(addr);
    let Some(prefix) = prefix else {
        let usual = if addr.is_ipv4() { 24 } else { 64 };
        return Err(invalid(op, format!("{key}: {text:?} has no prefix length"))
            .hint(format!("write \"{addr}/{usual}\", or the prefix of your network")));
    };
    let digits = !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_digit());
    match prefix.parse::<u8>() {
        Ok(prefix) if digits && (1..=max).contains(&prefix) => Ok(Cidr { addr, prefix }),
        _ => Err(invalid(op, format!("{key}: the prefix of {text:?} is not between 1 and {max}"))),
    }
}

/// Parses a network, whose bits after the prefix are zero.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] that says what is wrong with it.
pub(super) fn parse_network(op: &'static str, key: &str, text: &str) -> Result<Cidr> {
    let cidr = parse_cidr(op, key, text)?;
    let network = cidr.network();
    if network != cidr {
        return Err(invalid(op, format!("{key}: {text:?} has bits set after its prefix"))
            .hint(format!("the network is \"{network}\"")));
    }
    Ok(network)
}

/// Parses the addresses of one end of a link: each fit for a host, none twice.
pub(super) fn parse_hosts(op: &'static str, key: &str, texts: &[String]) -> Result<Vec<Cidr>> {
    let mut hosts: Vec<Cidr> = Vec::with_capacity(texts.len());
    for text in texts {
        let host = parse_cidr(op, key, text)?;
        if host.addr.is_unspecified() || host.addr.is_multicast() || host.addr == IpAddr::from([255; 4]) {
            return Err(invalid(op, format!("{key}: {text:?} is not the address of a host")));
        }
        if hosts.iter().any(|other| other.addr == host.addr) {
            return Err(invalid(op, format!("{key}: {} is given twice", host.addr)));
        }
        hosts.push(host);
    }
    Ok(hosts)
}

/// Parses a hardware address that a link may bear.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] that says what is wrong with it.
pub fn parse_mac(op: &'static str, key: &str, text: &str) -> Result<Mac> {
    let error = |what: &str| {
        invalid(op, format!("{key}: {text:?} {what}")).hint("write six bytes, such as \"02:00:00:00:00:01\"")
    };
    let parts: Vec<&str> = text.split(':').collect();
    let mut bytes = [0; 6];
    if parts.len() != bytes.len() {
        return Err(error("is not a hardware address"));
    }
    for (byte, part) in bytes.iter_mut().zip(parts) {
        if part.len() != 2 || !part.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(error("is not a hardware address"));
        }
        *byte = u8::from_str_radix(part, 16).map_err(|_| error("is not a hardware address"))?;
    }
    if bytes[0] & 1 == 1 {
        return Err(error("is a group address; a link bears one whose first byte is even"));
    }
    if bytes == [0; 6] {
        return Err(error("is no address of a link"));
    }
    Ok(Mac(bytes))
}

/// Checks the largest packet of a link against what a veth takes and what its addresses need.
pub(super) fn check_mtu(op: &'static str, key: &str, mtu: Option<u32>, hosts: &[Cidr]) -> Result<()> {
    let Some(mtu) = mtu else { return Ok(()) };
    if !MTU.contains(&mtu) {
        let what = format!("{key}: {mtu} is not between {} and {}", MTU.start(), MTU.end());
        return Err(invalid(op, what));
    }
    match hosts.iter().find(|host| host.addr.is_ipv6()) {
        Some(host) if mtu < MTU_V6 => {
            Err(invalid(op, format!("{key}: {mtu} is less than the {MTU_V6} that {host} (IPv6) needs")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OP: &str = "net::veth";

    fn text<T: fmt::Debug>(result: Result<T>) -> String {
        let error = result.expect_err("it should be refused");
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        format!("{error} / {}", error.hint_text().unwrap_or_default())
    }

    #[test]
    fn names_that_the_kernel_refuses_are_refused_before() {
        for good in ["a", "veth0", "cs0123456789abc", "x.5", "a@b", "-"] {
            assert_eq!(parse_name(OP, "name", good).unwrap(), good);
        }
        for bad in ["", ".", "..", "all", "a/b", "a:1", "a b", "a\tb", "a%d", "a\0", "0123456789abcdef"] {
            assert!(parse_name(OP, "name", bad).is_err(), "{bad:?}");
        }
        // Bytes, not characters.
        assert!(text(parse_name(OP, "name", "ääääääää")).contains("has 16 bytes"));
    }

    #[test]
    fn an_address_without_its_prefix_says_what_to_write() {
        assert!(text(parse_cidr(OP, "addr", "10.9.0.1")).contains("write \"10.9.0.1/24\""));
        assert!(text(parse_cidr(OP, "addr", "fd00::1")).contains("write \"fd00::1/64\""));
        assert!(text(parse_cidr(OP, "addr", "10.9.0.1/33")).contains("between 1 and 32"));
        for bad in ["", "/24", "10.9.0/24", "10.9.0.1/", "10.9.0.1/+4", "10.9.0.1/0", "fd00::1/129", "x/24"] {
            assert!(parse_cidr(OP, "addr", bad).is_err(), "{bad:?}");
        }
        for good in ["10.9.0.1/24", "10.9.0.1/32", "fd00::1/64", "::1/128"] {
            assert_eq!(parse_cidr(OP, "addr", good).unwrap().to_string(), good);
        }
    }

    #[test]
    fn a_network_knows_its_hosts_and_its_neighbours() {
        let cidr = |text: &str| parse_cidr(OP, "addr", text).unwrap();
        assert_eq!(cidr("10.9.7.5/22").network().to_string(), "10.9.4.0/22");
        assert_eq!(cidr("fd00::7:5/112").network().to_string(), "fd00::7:0/112");
        let host = |net, n| cidr(net).host(n).map(|host| host.to_string());
        assert_eq!(host("10.9.7.0/24", 1).unwrap(), "10.9.7.1/24");
        assert_eq!(host("10.9.7.9/24", 254).unwrap(), "10.9.7.254/24");
        assert_eq!(host("fd00::/64", 256).unwrap(), "fd00::100/64");
        assert_eq!(host("fd00::/127", 1).unwrap(), "fd00::1/127");
        assert_eq!(host("10.9.7.0/30", 2).unwrap(), "10.9.7.2/30");
        for (net, n) in
            [("10.9.7.0/24", 0), ("10.9.7.0/24", 255), ("10.9.7.0/31", 1), ("10.9.7.0/32", 1), ("::1/128", 1)]
        {
            assert_eq!(host(net, n), None, "{net} {n}");
        }
        for (a, b, meet) in [
            ("10.9.0.0/24", "10.9.0.0/16", true),
            ("10.9.0.7/32", "10.9.0.0/24", true),
            ("10.9.0.0/24", "10.9.1.0/24", false),
            ("10.9.0.0/24", "fd00::/64", false),
            ("fd00::/8", "fd00:1::/64", true),
        ] {
            assert_eq!((cidr(a).overlaps(&cidr(b)), cidr(b).overlaps(&cidr(a))), (meet, meet), "{a} {b}");
        }
    }

    #[test]
    fn an_address_given_twice_or_of_no_host_is_refused() {
        let hosts = |texts: &[&str]| {
            let texts: Vec<String> = texts.iter().map(ToString::to_string).collect();
            parse_hosts(OP, "addr", &texts)
        };
        assert_eq!(hosts(&["10.9.0.1/24", "10.9.0.2/24", "fd00::1/64"]).unwrap().len(), 3);
        assert!(text(hosts(&["10.9.0.1/24", "10.9.0.1/16"])).contains("given twice"));
        for bad in ["0.0.0.0/8", "224.0.0.1/24", "255.255.255.255/32", "::/64", "ff02::1/64"] {
            assert!(hosts(&[bad]).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_group_hardware_address_is_refused() {
        assert_eq!(parse_mac(OP, "mac", "02:00:00:00:0A:ff").unwrap().to_string(), "02:00:00:00:0a:ff");
        assert!(text(parse_mac(OP, "mac", "01:00:5e:00:00:01")).contains("group address"));
        for bad in [
            "",
            "02:00:00:00:00",
            "02:00:00:00:00:00:00",
            "2:0:0:0:0:1",
            "02-00-00-00-00-01",
            "+2:00:00:00:00:01",
        ] {
            assert!(parse_mac(OP, "mac", bad).is_err(), "{bad:?}");
        }
        assert!(parse_mac(OP, "mac", "00:00:00:00:00:00").is_err());
        let token = Mac::local([0xff; 6]);
        assert_eq!(token.0[0] & 3, 2);
    }

    #[test]
    fn a_packet_size_that_ipv6_cannot_use_is_refused() {
        let v6 = [parse_cidr(OP, "addr", "fd00::1/64").unwrap()];
        assert!(check_mtu(OP, "mtu", Some(1400), &v6).is_ok());
        assert!(text(check_mtu(OP, "mtu", Some(1279), &v6)).contains("1280"));
        assert!(check_mtu(OP, "mtu", Some(68), &[]).is_ok());
        assert!(text(check_mtu(OP, "mtu", Some(67), &[])).contains("between 68 and 65535"));
        assert!(check_mtu(OP, "mtu", Some(65536), &[]).is_err());
    }
}
