//! Capabilities by name (capabilities(7)).

use crate::error::{Error, ErrorKind, Result};

/// The capabilities, by number (linux/capability.h).
const CAPABILITIES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// Docker's default set without `NET_RAW`, which lets a container forge packets on a network that it shares.
pub const DEFAULT: u64 = bits(&[
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
]);

/// Every capability that has a name.
pub const ALL: u64 = (1 << CAPABILITIES.len()) - 1;

const fn bits(names: &[&str]) -> u64 {
    let (mut set, mut at) = (0, 0);
    while at < names.len() {
        let mut number = 0;
        // An unknown name does not compile: the index ends beyond the list.
        while !same(CAPABILITIES[number], names[at]) {
            number += 1;
        }
        set |= 1 << number;
        at += 1;
    }
    set
}

const fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut at = 0;
    while at < a.len() && at < b.len() && a[at] == b[at] {
        at += 1;
    }
    at == a.len() && at == b.len()
}

/// The bit of a capability, by name with or without `CAP_`, in any case.
#[must_use]
pub fn of_name(name: &str) -> Option<u64> {
    let upper = name.to_ascii_uppercase();
    let short = upper.strip_prefix("CAP_").unwrap_or(&upper);
    CAPABILITIES.iter().position(|known| *known == short).map(|number| 1 << number)
}

/// The bit set of capabilities given by name; `ALL` is every one.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] for a name that is none.
pub fn set_of(op: &'static str, names: &[String]) -> Result<u64> {
    names.iter().try_fold(0, |set, name| match of_name(name) {
        Some(bit) => Ok(set | bit),
        None if name.eq_ignore_ascii_case("all") => Ok(ALL),
        None => Err(Error::new(ErrorKind::InvalidArgument, op, format!("capabilities: {name:?} is none"))
            .hint("names are those of capabilities(7), such as \"NET_BIND_SERVICE\", or \"ALL\"")),
    })
}

/// The names of a bit set, in the order of their numbers. A number without a name is shown as such.
#[must_use]
pub fn names(set: u64) -> Vec<String> {
    let numbers = (0..64usize).filter(|number| set >> number & 1 == 1);
    numbers
        .map(|number| CAPABILITIES.get(number).map_or_else(|| number.to_string(), |name| (*name).to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_have_names() {
        let set =
            |names: &[&str]| set_of("t", &names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(set(&["CAP_CHOWN", "kill"]).unwrap(), 1 | 1 << 5);
        assert_eq!(set(&["all"]).unwrap(), ALL);
        assert!(set(&["NET_EVERYTHING"]).is_err());
        assert_eq!(names(1 | 1 << 5 | 1 << 63), ["CHOWN", "KILL", "63"]);
    }

    #[test]
    fn the_default_is_that_of_docker_without_raw_sockets() {
        // Docker's is 00000000a80425fb in /proc/PID/status.
        assert_eq!(DEFAULT, 0xa804_25fb & !(1 << 13));
    }
}
