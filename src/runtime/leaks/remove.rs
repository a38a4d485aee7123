//! Removing what was left.

use super::{Handle, Thing};
use crate::error::{Result, SysContext};
use crate::runtime::session::Session;
use crate::runtime::{cgroup, fs, image, net};
use crate::sys::{Errno, keyring, loopdev, mount, nft, route, sysv};
use std::path::Path;
use std::time::{Duration, Instant};

const OP: &str = "test";
/// How long the kernel may take to let go of a key, and how often that is looked at.
const PATIENCE: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(5);

/// Which things are to be removed first: what holds others, and of mounts and folders the inner ones.
#[must_use]
pub fn rank(thing: &Thing) -> (u8, std::cmp::Reverse<u64>) {
    use std::cmp::Reverse;
    match &thing.handle {
        Handle::Mount(_, id) => (0, Reverse(*id)),
        Handle::Loop(_) => (1, Reverse(0)),
        Handle::Rule(..) => (2, Reverse(0)),
        Handle::Chain(..) => (3, Reverse(0)),
        Handle::Table(..) => (4, Reverse(0)),
        // A rule before the table that it leads to, a route before the address that it goes out from.
        Handle::Route(entry) => (5, Reverse(u64::from(entry.is_rule) + 1)),
        Handle::Address(..) => (5, Reverse(0)),
        Handle::Cgroup(path) | Handle::File(path) => (6, Reverse(path.as_os_str().len() as u64)),
        _ => (6, Reverse(0)),
    }
}

/// Removes a thing. One that is gone already is fine.
///
/// # Errors
/// When the kernel refuses.
pub fn remove(session: &Session, thing: &Thing) -> Result<()> {
    let what = || format!("cannot remove the {} {}", thing.kind.name(), thing.text);
    let gone = |result: crate::sys::Result<()>| match result {
        Err(error)
            if matches!(
                error.errno(),
                Errno::ENOENT | Errno::ENODEV | Errno::EINVAL | Errno::EIDRM | Errno::ESRCH
            ) =>
        {
            Ok(())
        }
        other => other,
    };
    match &thing.handle {
        Handle::Mount(target, id) => match is_mounted(target, *id) {
            true => gone(mount::detach(target)).context(OP, what()),
            false => Ok(()),
        },
        Handle::Link(index) => net::leaks::delete_link(*index).context(OP, what()),
        Handle::Address(index, cidr) => net::leaks::delete_address(*index, cidr).context(OP, what()),
        Handle::Route(entry) => gone(route::delete(entry)).context(OP, what()),
        Handle::Table(family, table) => gone(nft::delete(*family, table, None, None)).context(OP, what()),
        Handle::Chain(family, table, chain) => {
            gone(nft::delete(*family, table, Some(chain), None)).context(OP, what())
        }
        Handle::Rule(family, table, chain, number) => {
            gone(nft::delete(*family, table, Some(chain), Some(*number))).context(OP, what())
        }
        // Never with processes in it: those of the piece of work have been ended before.
        Handle::Cgroup(dir) => cgroup::reclaim::remove(dir),
        Handle::Sysv(kind, id) => gone(sysv::remove(kind, *id)).context(OP, what()),
        Handle::Loop(device) => gone(loopdev::clear(device)).context(OP, what()),
        Handle::Key(serial) => match gone(keyring::remove(*serial)) {
            // That of a session which has ended goes in the kernel's own time.
            Err(_) if key_goes(*serial) => Ok(()),
            other => other.context(OP, what()),
        },
        Handle::File(path) => file(path, &what()),
        Handle::Image(name) => image::remove(session, name).map(drop),
        Handle::Nothing => Ok(()),
    }
}

/// Whether a key is gone in a moment.
fn key_goes(serial: i32) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while keyring::list().iter().any(|key| key.serial == serial) {
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(LOOK);
    }
    true
}

fn is_mounted(target: &Path, id: u64) -> bool {
    let mounts = fs::mountinfo::list(OP, None).unwrap_or_default();
    mounts.iter().any(|mount| mount.target == target && mount.id == id)
}

fn file(path: &Path, what: &str) -> Result<()> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Ok(data) if data.is_dir() => fs::reclaim::folder(path, None),
        _ => std::fs::remove_file(path).context(OP, what),
    }
}
