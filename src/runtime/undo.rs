//! Taking objects back: the same code for a live session and for `cshell gc`.

use crate::error::Result;
use crate::runtime::object::Object;
use crate::runtime::{cgroup, fs, net, proc};

/// Takes `object` back. Something that is gone already, or that is no longer ours, is no error.
///
/// # Errors
/// When it is ours, exists, and cannot be taken back.
pub fn undo(object: &Object) -> Result<()> {
    match object {
        // Orphans are ended by the program that they have come to: see `Session::undo_step`.
        Object::Nothing | Object::Orphans => Ok(()),
        Object::Folder { path, from, id } => {
            from.iter().try_for_each(|from| fs::reclaim::folder(from, *id))?;
            fs::reclaim::folder(path, *id)
        }
        Object::Mount { target, mount_id, mount_ns } => fs::reclaim::mount(target, *mount_id, *mount_ns),
        Object::Cgroup { dirs, ids, token } => cgroup::reclaim::group(dirs, ids, *token),
        Object::Controllers { dir, id, names, leaf, token } => {
            cgroup::subtree::restore(dir, *id, names, leaf.as_deref(), token)
        }
        Object::Unit { name, manager, home, holder } => cgroup::scope::close(*manager, name, home, *holder),
        Object::Link { kind, name, mac, later_mac, ifindex, netns } => {
            let macs = [Some(mac.as_str()), later_mac.as_deref()];
            net::reclaim::link(*kind, name, macs, *ifindex, *netns)
        }
        Object::Process { pid, start_time } => proc::reclaim::process(*pid, *start_time),
    }
}
