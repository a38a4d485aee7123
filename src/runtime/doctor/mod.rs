//! What this host lets the program do, and how to mend what it does not.
//!
//! A [`Check`] is data: a name, what it is for, and a look that really tries or reads. To add one, write its look and a
//! line of [`CHECKS`]. Nothing that a look does outlives it.

mod attempt;
mod groups;
mod kernel;
mod network;
mod processes;
mod security;

use serde::Serialize;

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// All is there.
    Ok,
    /// Something is not there that some calls need.
    Warn,
    /// Something is not there that every container needs.
    Missing,
}

impl State {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Missing => "missing",
        }
    }
}

/// What a look has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    state: State,
    text: String,
    fix: Option<String>,
}

impl Found {
    fn ok(text: impl Into<String>) -> Self {
        Self { state: State::Ok, text: text.into(), fix: None }
    }

    fn lacks(state: State, text: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { state, text: text.into(), fix: Some(fix.into()) }
    }
}

/// Something that is looked at.
#[derive(Debug)]
pub struct Check {
    /// Its name.
    pub name: &'static str,
    /// What it is for.
    pub purpose: &'static str,
    look: fn() -> Found,
}

const fn check(name: &'static str, purpose: &'static str, look: fn() -> Found) -> Check {
    Check { name, purpose, look }
}

/// All checks, in the order in which they are told.
pub const CHECKS: &[Check] = &[
    check("kernel", "the program", kernel::release),
    check("clone3, pidfd", "starting processes", kernel::clone3),
    check("openat2", "paths inside a root", kernel::openat2),
    check("fsopen, open_tree", "overlays, roots, binds", kernel::mount_api),
    check("mount_setattr", "options of binds", kernel::mount_setattr),
    check("lowerdir+", "many lower layers", kernel::single_layers),
    check("unique mount ids", "recognising our mounts", kernel::mount_ids),
    check("kernel limits", "many containers", kernel::limits),
    check("cgroup mode", "limits", groups::mode),
    check("cgroup controllers", "limits on memory, cpu, pids", groups::controllers),
    check("cgroup delegation", "limits, as this user", groups::delegation),
    check("cgroup driver", "limits, where systemd runs the host", groups::driver),
    check("namespace user", "containers without root", || processes::namespace("user")),
    check("namespace mount", "a root of their own", || processes::namespace("mount")),
    check("namespace pid", "processes of their own", || processes::namespace("pid")),
    check("namespace net", "a network of their own", || processes::namespace("net")),
    check("namespace ipc", "shared memory of their own", || processes::namespace("ipc")),
    check("namespace uts", "a host name of their own", || processes::namespace("uts")),
    check("namespace cgroup", "their own view of groups", || processes::namespace("cgroup")),
    check("namespace time", "clocks of their own", || processes::namespace("time")),
    check("user namespaces allowed", "containers without root", processes::user_limits),
    check("subordinate ids", "many users without root", processes::subordinate_ids),
    check("overlay", "copy-on-write roots", processes::overlay),
    check("overlay without root", "copy-on-write roots", processes::overlay_in_user),
    check("nftables", "masquerade, published ports", network::nftables),
    check("pasta", "network without root", || network::helper("pasta", "passt")),
    check("slirp4netns", "network without root", || network::helper("slirp4netns", "slirp4netns")),
    check("fuse-overlayfs", "overlays without root on old kernels", || {
        network::helper("fuse-overlayfs", "fuse-overlayfs")
    }),
    check("seccomp", "filters on system calls", security::seccomp),
    check("landlock", "filters on paths", security::landlock),
    check("security modules", "AppArmor, SELinux", security::modules),
    check("kvm", "quick virtual machines in tests", security::kvm),
];

/// What came of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The name of the check.
    pub name: &'static str,
    /// What it is for.
    #[serde(rename = "for")]
    pub purpose: &'static str,
    /// How it came out.
    pub state: State,
    /// What was found.
    pub found: String,
    /// How to mend it, where something is not there.
    pub fix: Option<String>,
}

/// Looks at everything.
#[must_use]
pub fn examine() -> Vec<Finding> {
    CHECKS.iter().map(examine_one).collect()
}

fn examine_one(check: &Check) -> Finding {
    let Found { state, text, fix } = (check.look)();
    Finding { name: check.name, purpose: check.purpose, state, found: text, fix }
}

/// The worst of them.
#[must_use]
pub fn worst(findings: &[Finding]) -> State {
    findings.iter().map(|finding| finding.state).max().unwrap_or(State::Ok)
}

/// The text of a short file, if it can be read.
fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

/// The cause of an error as people are told: the failed call, or the error itself.
fn cause(error: &crate::error::Error) -> String {
    error.syscall().map_or_else(|| error.to_string(), ToString::to_string)
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}
