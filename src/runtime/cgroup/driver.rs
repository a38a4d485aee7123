//! Who makes the groups: this program, in the file system (`cgroupfs`), or systemd's manager (`systemd`).
//!
//! Where systemd runs the host, each group belongs to one of its units, and it takes the liberty to change or remove what
//! others make there ("Control Group APIs and Delegation" of its documentation). So groups are made below our own only
//! where that was delegated; else in a [scope] that systemd makes for the session.

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::cgroup::host::Host;
use crate::runtime::cgroup::subtree;
use crate::runtime::systemd::{self, Manager};
use crate::sys::file;
use rustix::fs::{CWD, OFlags};
use std::path::{Path, PathBuf};

#[cfg(doc)]
use crate::runtime::cgroup::scope;

/// The environment variable that asks for one of them.
const VARIABLE: &str = "CSHELL_CGROUP_DRIVER";

/// Who makes the groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// This program, below its own group.
    Cgroupfs,
    /// This manager makes one scope, and this program all groups below it.
    Systemd(Manager),
}

impl Driver {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cgroupfs => "cgroupfs",
            Self::Systemd(_) => "systemd",
        }
    }
}

/// A driver, and why it is that one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Which.
    pub driver: Driver,
    /// Why.
    pub reason: String,
    /// Whether it was asked for.
    pub forced: bool,
}

/// The driver for this program on this host: the one that `CSHELL_CGROUP_DRIVER` asks for, else the one that fits.
///
/// # Errors
/// [`ErrorKind::Unsupported`] when systemd is asked for and does not run the host; [`ErrorKind::InvalidArgument`] for
/// what is no driver.
pub fn choose(op: &'static str, host: &Host) -> Result<Choice> {
    let wish = std::env::var_os(VARIABLE).filter(|wish| !wish.is_empty());
    let Some(wish) = wish else { return Ok(fitting(host)) };
    let driver = match wish.to_str() {
        Some("cgroupfs") => Driver::Cgroupfs,
        Some("systemd") if systemd::booted() => Driver::Systemd(Manager::own()),
        Some("systemd") => {
            let what = format!("{VARIABLE} asks for systemd, which does not run this host");
            return Err(Error::new(ErrorKind::Unsupported, op, what)
                .hint(format!("unset {VARIABLE}: there is no /run/systemd/system here (sd_booted(3))")));
        }
        _ => {
            let what = format!("{VARIABLE}: {wish:?} is not a driver");
            return Err(Error::new(ErrorKind::InvalidArgument, op, what)
                .hint("\"cgroupfs\" or \"systemd\"; without it, the one that fits the host"));
        }
    };
    Ok(Choice { driver, reason: format!("{VARIABLE} asks for it"), forced: true })
}

fn fitting(host: &Host) -> Choice {
    let cgroupfs = |reason: String| Choice { driver: Driver::Cgroupfs, reason, forced: false };
    if !systemd::booted() {
        return cgroupfs("systemd does not run this host".into());
    }
    let Some(own) = unit_group(host) else {
        return cgroupfs("systemd has no control groups here".into());
    };
    if let Some(at) = delegated_at(&own) {
        return cgroupfs(format!("systemd has delegated {} to this program", at.display()));
    }
    let manager = Manager::own();
    if manager == Manager::User && !own.iter().any(|name| name.to_str().is_some_and(is_user_manager)) {
        // A process may only be moved, or born, across groups that a user may write to.
        return cgroupfs(format!("{} is not below a manager of this user", own.display()));
    }
    let reason = format!("systemd runs this host and has not delegated {} to this program", own.display());
    Choice { driver: Driver::Systemd(manager), reason, forced: false }
}

/// Our own group in the hierarchy by which systemd knows its units: the version 2 tree where there is one.
fn unit_group(host: &Host) -> Option<PathBuf> {
    if let Some(unified) = host.unified() {
        return Some(unified.own.clone());
    }
    let own = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = own.lines().find_map(|line| line.split_once(":name=systemd:"))?.1;
    Some(Path::new("/sys/fs/cgroup/systemd").join(path.trim_start_matches('/')))
}

/// The nearest group, from `own` upwards, that was delegated to somebody who is not systemd again.
fn delegated_at(own: &Path) -> Option<&Path> {
    let groups = own.ancestors().take_while(|dir| dir.join("cgroup.procs").exists());
    let delegated = |dir: &&Path| {
        let fd = file::openat(CWD, dir, OFlags::RDONLY | OFlags::DIRECTORY, rustix::fs::Mode::empty());
        fd.is_ok_and(subtree::is_delegated)
    };
    let at = groups.into_iter().find(delegated)?;
    let name = at.file_name()?.to_str()?;
    (!is_user_manager(name)).then_some(at)
}

/// Whether this is the name of a unit that a user's manager is in, and all units of it below.
fn is_user_manager(name: &str) -> bool {
    name.starts_with("user@") && name.ends_with(".service")
}
