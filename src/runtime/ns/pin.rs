//! Pinning namespaces to paths, where `nsenter --net=PATH` and `ip netns` find them.

use crate::error::{Error, ErrorKind, Result, SysContext};
use crate::runtime::fs::claim::{self, New};
use crate::runtime::ns::{Kind, NsSet};
use crate::runtime::object::Object;
use crate::runtime::rootless;
use crate::runtime::session::{Done, Intent, Session, StepId};
use crate::sys::{Errno, file, mount, nsfd};
use nix::sched::CloneFlags;
use rustix::fs::CWD;
use std::path::{Path, PathBuf};

const OP: &str = "ns::pin";

/// Binds the namespaces of `set` to `path`: a file for one kind, a folder with a file for each of several.
///
/// # Errors
/// [`ErrorKind::AlreadyExists`] when the path exists; [`ErrorKind::Unsupported`] without root.
pub fn pin(session: &Session, set: &NsSet, path: &Path) -> Result<Vec<StepId>> {
    if rootless::entered().is_some() {
        let what =
            "pins are for others to find, and without root nobody outside sees the mounts of this program";
        return Err(Error::new(ErrorKind::Unsupported, OP, what)
            .path(path)
            .hint(format!("others find the namespaces in /proc/{}/ns, while this program lives", set.pid)));
    }
    let kinds: Vec<Kind> = set.kinds.iter().collect();
    if let [kind] = kinds[..] {
        return pin_file(session, set, kind, path);
    }
    let mut steps = vec![claim::make(session, OP, path, New::Folder(0o755))?];
    for kind in kinds {
        match pin_file(session, set, kind, &path.join(kind.file)) {
            Ok(more) => steps.extend(more),
            Err(error) => return Err(session.roll_back(steps, error)),
        }
    }
    Ok(steps)
}

fn pin_file(session: &Session, set: &NsSet, kind: Kind, path: &Path) -> Result<Vec<StepId>> {
    let file_step = claim::make(session, OP, path, New::File(0o444))?;
    match bind(session, set, kind, path) {
        Ok(step) => Ok(vec![file_step, step]),
        Err(error) => Err(session.roll_back(vec![file_step], error)),
    }
}

/// Binds in the mount namespace that the program was started in: the host must see it.
fn bind(session: &Session, set: &NsSet, kind: Kind, path: &Path) -> Result<StepId> {
    let path = std::path::absolute(path).context(OP, "cannot resolve the path")?;
    let source = PathBuf::from(format!("/proc/{}/ns/{}", set.pid, kind.file));
    let host = match nsfd::original_mounts() {
        Some(host) => host.try_clone_to_owned().context(OP, "cannot open the mount namespace")?,
        None => nsfd::open(0, "mnt").context(OP, "cannot open the mount namespace")?,
    };
    let mount_ns = nsfd::inode(&host).context(OP, "cannot identify the mount namespace")?;
    let intent = Intent {
        op: OP,
        text: format!("pin the {} namespace to {}", kind.name, path.display()),
        claim: Object::Mount { target: path.clone(), mount_id: None, mount_ns },
    };
    let target = path.clone();
    let (step, ()) = session.step(intent, |_| {
        let mount_id = nsfd::inside(&host, CloneFlags::CLONE_NEWNS, || {
            // A bind in one step: a detached copy cannot be made of a namespace file of another mount namespace.
            let tree = mount::clone_tree(CWD, &source, false)?;
            mount::attach(&tree, CWD, &target)?;
            file::identify(CWD, &target).map(|id| id.mount_id)
        })
        .context(OP, format!("cannot pin the {} namespace to {}", kind.name, path.display()))
        .map_err(|error| match error.errno() {
            // The kernel compares numbers that it does not give strictly by age (mnt_ns_loop).
            Some(Errno::ELOOP) => error.hint(
                "a mount namespace is pinned to a mount of an older one alone: pin it where the machine's mounts are, or try again",
            ),
            _ => error,
        })?;
        let object = Object::Mount { target: path.clone(), mount_id: Some(mount_id), mount_ns };
        Ok(Done { value: (), effect: format!("mount id {mount_id}"), object })
    })?;
    Ok(step)
}
