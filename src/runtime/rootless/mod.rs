//! Without root: the user namespace that the program enters once, before a script starts, and what cannot work there.
//!
//! An ordinary user may make a user namespace, in which it is root over what it makes itself: mounts, namespaces,
//! links. [`enter()`] moves this program into one, with a mount namespace, while it still has one thread; from then on
//! every path that the script sees is one of that mount namespace, as under `podman unshare`. Root inside is the user
//! outside; the further ids are the user's subordinate ones ([`crate::runtime::ns::subid`]).

mod enter;
mod explain;
mod report;

pub use enter::{Entered, enter, entered, tell};
pub use explain::{forbidden, no_user_ns};
pub use report::{Limit, report};

use crate::sys::Errno;
use std::sync::OnceLock;

/// The id that a file shows whose owner has none in this user namespace (`/proc/sys/kernel/overflowuid`).
const NOBODY: u32 = 65534;

/// The map of user ids of this program's user namespace, unless that is the machine's first.
fn own_map() -> Option<&'static [u32]> {
    static MAP: OnceLock<Vec<u32>> = OnceLock::new();
    let map = MAP.get_or_init(|| {
        let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        map.split_ascii_whitespace().filter_map(|number| number.parse().ok()).collect()
    });
    (!map.is_empty() && map[..] != [0, 0, u32::MAX]).then_some(map)
}

/// Whether this program is in a user namespace other than the machine's first: entered by itself, or started in one.
#[must_use]
pub fn in_user_ns() -> bool {
    entered().is_some() || own_map().is_some()
}

/// Who root of this program's user namespace is outside of it.
#[must_use]
pub fn outer_uid() -> Option<u32> {
    own_map()?.chunks_exact(3).find(|range| range[0] == 0).map(|range| range[1])
}

/// Who runs this program, as the machine outside of its user namespace knows them.
#[must_use]
pub fn user() -> u32 {
    outer_uid().unwrap_or_else(|| nix::unistd::geteuid().as_raw())
}

/// The owner that a copy of a file is given: its own, or root where it has none in this user namespace.
#[must_use]
pub fn owner_of_copy(uid: u32, gid: u32) -> (u32, u32) {
    let own = |id: u32| if id == NOBODY && in_user_ns() { 0 } else { id };
    (own(uid), own(gid))
}

/// What mends a call on files that a user namespace refuses: an owner that has no id in it, or a device node.
#[must_use]
pub fn why_refused(call: &str, errno: Errno) -> Option<String> {
    if !in_user_ns() {
        return None;
    }
    match (call, errno) {
        ("fchownat", Errno::EINVAL) => Some(entered().and_then(|entered| entered.alone.clone()).unwrap_or_else(|| {
            "its owner is beyond the ids of this user namespace (/proc/self/uid_map): add ids to /etc/subuid and /etc/subgid"
                .into()
        })),
        ("mknodat", Errno::EPERM) => {
            Some("device nodes need root of the machine: run as root, or leave them out of the image".into())
        }
        _ => None,
    }
}
