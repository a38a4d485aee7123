//! The session's mounts: in a mount namespace of its own, so that they die with the program whatever happens.
//!
//! Mounts of the host that come later still arrive (propagation `slave`); ours never reach the host. Look at them from
//! outside with `nsenter -t PID -m findmnt`.

use crate::error::{Error, Result};
use crate::runtime::object::Object;
use crate::runtime::session::{Done, Intent, Session};
use crate::sys::{Errno, mount, nsfd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Moves the program into a mount namespace of its own, at the first call of a session. Returns its inode.
///
/// # Errors
/// Without the privilege to make mount namespaces.
pub fn mounts(session: &Session, op: &'static str) -> Result<u64> {
    let inode = session.fact("mounts", || {
        let intent =
            Intent { op, text: "keep this session's mounts to itself".into(), claim: Object::Nothing };
        let (_, inode) = session.step(intent, |_| {
            let fail = |source| explain(op, source);
            nsfd::leave_mounts().map_err(fail)?;
            mount::set_propagation(Path::new("/"), mount::Propagation::Slave, true).map_err(fail)?;
            let inode = nsfd::open(0, "mnt").and_then(nsfd::inode).map_err(fail)?;
            Ok(Done {
                value: inode,
                object: Object::Nothing,
                effect: format!("mount namespace mnt:[{inode}]"),
            })
        })?;
        Ok(inode)
    })?;
    Ok(*inode)
}

fn explain(op: &'static str, source: crate::sys::SysError) -> Error {
    let denied = source.errno() == Errno::EPERM;
    let error = Error::sys(op, "cannot make a mount namespace", source);
    if denied { error.hint("run as root, or under `unshare -Urm`") } else { error }
}

/// The session's scratch folder on disk, made at the first call.
///
/// # Errors
/// When it cannot be made.
pub fn scratch(session: &Session, op: &'static str) -> Result<Rc<PathBuf>> {
    session.fact("scratch", || {
        let parent = session.dirs().scratch();
        crate::runtime::state::make_private(&session.dirs().root)?;
        crate::runtime::state::make_private(&parent)?;
        let path = parent.join(session.token());
        super::claim::make(session, op, &path, super::claim::New::Folder(0o700))?;
        Ok(path)
    })
}
