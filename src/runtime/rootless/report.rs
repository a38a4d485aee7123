//! What cannot work without root, in one place: what `cshell doctor` prints, and what a test tries one by one.

use crate::runtime::cgroup;
use crate::runtime::rootless::{Entered, entered};

/// Something that this program cannot do here.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Limit {
    /// What, as a short name for programs: `idmap`.
    pub name: &'static str,
    /// What cannot be done, for people.
    pub what: &'static str,
    /// Why.
    pub why: String,
    /// What mends it, where something does.
    pub fix: Option<String>,
}

/// What no user namespace gives, whoever asks: the name, what, and why.
const ALWAYS: [(&str, &str, &str); 10] = [
    (
        "host_network",
        "links, addresses and routes of the machine's own network",
        "it belongs to the machine: ends of links beside the program live in a network of the session's own, and net::outside connects it",
    ),
    (
        "host_mounts",
        "mounts that the machine sees, and pins of namespaces",
        "mounts are made in a mount namespace of the program's own",
    ),
    (
        "block_devices",
        "mounting block devices and network file systems",
        "the kernel lets only root of the machine read file systems that somebody else may have written",
    ),
    (
        "mqueue",
        "mounting the machine's own message queues (mqueue)",
        "they belong to its ipc namespace: a command with `ns: [\"ipc\", \"mount\"]` can have its own mounted",
    ),
    (
        "covered_folders",
        "a folder of the machine without what is mounted below it: as a bind of it alone, or as a layer",
        "the kernel shows no user namespace what a mount covers: \"rbind\" takes the mounts along",
    ),
    (
        "device_nodes",
        "device nodes, in layers and elsewhere",
        "mknod(2) needs power over the machine: the usual ones are bound from /dev",
    ),
    (
        "idmap",
        "idmapped mounts of the machine's file systems",
        "owners on disk are mapped only by who owns the file system: the root of a container is copied in place",
    ),
    (
        "device_rules",
        "rules for devices of control groups",
        "the kernel takes them from root of the machine alone, also in a delegated group",
    ),
    (
        "time_join",
        "joining a time namespace that a set keeps",
        "there is no way back into the machine's own; `ns: [\"time\"]` of a command works",
    ),
    (
        "raise_limits",
        "resource limits above the user's own hard ones",
        "raising them needs CAP_SYS_RESOURCE over the machine",
    ),
];

/// What cannot work in the user namespace that this program entered, or would enter for a script. Empty as root.
#[must_use]
pub fn report() -> Vec<Limit> {
    let entered = entered();
    if entered.is_none() && nix::unistd::geteuid().is_root() {
        return Vec::new();
    }
    let always = ALWAYS.map(|(name, what, why)| Limit { name, what, why: why.into(), fix: None });
    always.into_iter().chain(entered.and_then(ids)).chain(groups()).collect()
}

/// Subordinate ids, where there are none.
fn ids(entered: &Entered) -> Option<Limit> {
    let why = entered.alone.clone()?;
    let (why, fix) = match why.split_once("; ") {
        Some((why, fix)) => (why.to_owned(), Some(fix.to_owned())),
        None => (why, None),
    };
    Some(Limit {
        name: "ids",
        what: "users other than root in a container, userns: \"auto\" and \"keep-id\", images with files of other users",
        why,
        fix,
    })
}

/// Control groups, where some or all of them are not delegated.
fn groups() -> Option<Limit> {
    let info = cgroup::info().ok()?;
    let delegation = &info["delegation"];
    (delegation["delegated"] != true).then(|| Limit {
        name: "cgroup",
        what: "control groups: limits, counts, freezing; and, once this program is killed with SIGKILL, the end of what a command without a pid namespace left behind",
        why: delegation["why"].as_str().unwrap_or("no group is delegated to this user").to_owned(),
        fix: Some("systemd-run --user --scope -p Delegate=yes cshell …, or run as root".into()),
    })
}
