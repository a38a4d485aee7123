//! Kernel parameters that belong to a namespace, set and read inside it.

use crate::error::{Error, ErrorKind, Result, SysContext};
use crate::runtime::ns::{Kinds, NsSet};
use crate::sys::{file, nsfd};
use nix::sched::CloneFlags;
use rustix::fs::{CWD, Mode, OFlags};
use std::path::{Path, PathBuf};

/// Which kind of namespace a parameter belongs to, if it belongs to one (sysctl documentation of the kernel).
fn owner(key: &str) -> Option<&'static str> {
    const IPC: [&str; 11] = [
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
        "kernel.auto_msgmni",
        "kernel.msg_next_id",
        "kernel.shm_next_id",
    ];
    match key {
        "kernel.hostname" | "kernel.domainname" => Some("uts"),
        _ if key.starts_with("net.") => Some("net"),
        _ if key.starts_with("fs.mqueue.") || IPC.contains(&key) => Some("ipc"),
        _ => None,
    }
}

/// Checks that each key belongs to one of the namespaces and names a file below `/proc/sys`.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`].
pub fn check(op: &'static str, kinds: Kinds, settings: &[(String, String)]) -> Result<()> {
    for (key, _) in settings {
        path_of(op, key)?;
        let error = match owner(key) {
            Some(kind) if kinds.has(kind) => continue,
            Some(kind) => Error::new(
                ErrorKind::InvalidArgument,
                op,
                format!("sysctl {key} without a new {kind} namespace would change the host's"),
            )
            .hint(format!("add \"{kind}\" to the kinds")),
            None => Error::new(
                ErrorKind::InvalidArgument,
                op,
                format!("sysctl {key} belongs to no namespace: it would change the whole machine"),
            )
            .hint("net.*, fs.mqueue.*, kernel.shm*, kernel.msg*, kernel.sem, kernel.hostname and kernel.domainname can be set"),
        };
        return Err(error);
    }
    Ok(())
}

fn path_of(op: &'static str, key: &str) -> Result<PathBuf> {
    let parts: Vec<&str> = key.split('.').collect();
    let bad = |part: &&str| part.is_empty() || part.contains(['/', '\0']);
    if parts.len() < 2 || parts.iter().any(bad) {
        let what = format!("{key:?} is not a sysctl name");
        return Err(
            Error::new(ErrorKind::InvalidArgument, op, what).hint("write it with dots: net.ipv4.ip_forward")
        );
    }
    Ok(Path::new("/proc/sys").join(parts.join("/")))
}

/// Sets a parameter in the namespaces of `set` and reads it back.
///
/// # Errors
/// The failed write; a value that the kernel did not take.
pub fn set(op: &'static str, set: &NsSet, key: &str, value: &str) -> Result<()> {
    check(op, set.kinds, &[(key.to_owned(), value.to_owned())])?;
    let path = path_of(op, key)?;
    let wanted = value.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    let held: Result<String> = inside(set, key, || {
        let fd = file::openat(CWD, &path, OFlags::WRONLY, Mode::empty())
            .context(op, format!("cannot set sysctl {key}"))?;
        file::write_once(&fd, wanted.as_bytes())
            .context(op, format!("cannot set sysctl {key} to {wanted:?}"))?;
        read(op, key, &path)
    });
    let held = held.map_err(|error| error.in_op(op))?;
    if held == wanted {
        return Ok(());
    }
    let what = format!("sysctl {key}: asked for {wanted:?}, the kernel holds {held:?}");
    Err(Error::new(ErrorKind::InvalidArgument, op, what))
}

/// Reads a parameter as the processes of `set` see it.
///
/// # Errors
/// When there is no such parameter.
pub fn get(op: &'static str, set: &NsSet, key: &str) -> Result<String> {
    let path = path_of(op, key)?;
    inside(set, key, || read(op, key, &path)).map_err(|error: Error| error.in_op(op))
}

fn read(op: &'static str, key: &str, path: &Path) -> Result<String> {
    let text = std::fs::read_to_string(path).context(op, format!("cannot read sysctl {key}"))?;
    Ok(text.split_ascii_whitespace().collect::<Vec<_>>().join(" "))
}

fn inside<T: Send>(set: &NsSet, key: &str, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let kind = owner(key).filter(|kind| set.kinds.has(kind)).and_then(super::Kind::of_name);
    set.alive("ns.sysctl")?;
    let outcome = match kind {
        Some(kind) => nsfd::inside(set.pidfd(), CloneFlags::from_bits_retain(kind.flag().bits()), work),
        None => work(),
    };
    outcome.map_err(|error| set.explain("ns.sysctl", error))
}
